"""The composition root: builds the PF from its parts, opens the sockets, hands each request to the part it is for."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress

from cpmspec.net.sip import IncomingRequest, SipEndpoint
from cpmspec.net.tls import client_context, server_context
from cpmspec.protocol.dialogs import DialogId
from cpmspec.reference.admission import refusal
from cpmspec.reference.config import Config
from cpmspec.reference.log import say
from cpmspec.reference.media import Media
from cpmspec.reference.parts import Parts
from cpmspec.reference.pf import Pf
from cpmspec.reference.signalling import ALLOW, Signalling
from cpmspec.reference.store import StoreError
from cpmspec.reference.users import UserRule, Users, identity
from cpmspec.wire.uri import host_text

KNOWN = frozenset({"UPDATE", "INFO", "PRACK", "SUBSCRIBE", "NOTIFY", "REFER", "PUBLISH", "BYE", "CANCEL"})
"""Methods that are understood and not served here: 405; others: 501 (RFC 3261 8.2.1, 21.5.2)."""
EXPIRY_EVERY = 60.0
"""Seconds between two looks for expired messages; until then they are only not delivered."""
EXPIRY_GRACE = 3600.0
"""Seconds that an expired message is kept: a session that began to send it may finish."""
FAREWELL = 3.0
"""Seconds that sessions have to end when the server stops."""


class Server:
    """The reference Participating Function. :meth:`start`, then :meth:`stop`."""

    def __init__(self, config: Config, parts: Parts | None = None) -> None:
        self._stopping = False
        parts = parts or Parts()
        default = UserRule("*", history=config.history.host is not None)
        pf = Pf(config, parts, Users(config.users, default))
        hook = parts.outbound
        pf.signalling = Signalling(
            pf,
            SipEndpoint(
                outbound=None if hook is None else lambda octets, hop: hook("isc", octets),
                t1=config.sip.t1,
                server_ssl=self._server_tls(config),
                client_ssl=client_context(config.sip.tls_ca) if config.sip.tls_cert or config.sip.tls_ca else None,
            ),
        )
        pf.registrations = parts.registrations(pf)
        pf.notification = parts.notification(pf)
        pf.deferral = parts.deferral(pf)
        pf.delivery = parts.delivery(pf)
        pf.history = parts.history(pf)
        self.pf = pf

    @staticmethod
    def _server_tls(config: Config) -> ssl.SSLContext | None:
        certificate = config.sip.tls_cert
        return None if certificate is None else server_context(certificate, config.sip.tls_key or certificate)

    async def start(self) -> None:
        """Open store and sockets; take up what an earlier life left.

        :raises StoreError: the store cannot be used.
        :raises OSError: an address is not there, or a port is in use.
        """
        pf = self.pf
        pf.store = pf.parts.store(pf.config.state)
        try:
            pf.registrations.load()
            pf.media = Media(pf)
            await pf.media.listen()
            await pf.signalling.listen()
        except OSError:
            await pf.signalling.endpoint.close()
            await pf.media.close()
            await pf.store.close()
            raise
        pf.signalling.endpoint.on_request = self.on_request
        pf.history.resume()
        pf.tasks.start(self._expire(), "expiry")

    async def stop(self) -> None:
        """Take nothing new, end the sessions with BYE, leave what is undelivered deferred, close everything."""
        pf = self.pf
        self._stopping = True
        with suppress(TimeoutError):
            async with asyncio.timeout(FAREWELL):
                await asyncio.gather(pf.delivery.close(), pf.deferral.close())
        await pf.history.close()
        await pf.tasks.finish(0)
        await pf.signalling.endpoint.close()
        await pf.media.close()
        await pf.store.close()

    def ready_line(self) -> str:
        """Where SIP is listened for, for a machine: ``cpmspec-pf ready udp=127.0.0.1:5060 ...``."""
        order = ("udp", "tcp", "tls", "udp6", "tcp6", "tls6")
        listening = self.pf.signalling.listening
        named = [f"{key}={host_text(listening[key][0])}:{listening[key][1]}" for key in order if key in listening]
        return " ".join(("cpmspec-pf ready", *named))

    def listening_in_words(self) -> list[str]:
        """Where the server listens and what it does, for a human reader."""
        pf, config = self.pf, self.pf.config
        lines = [f"CPM Participating Function for {config.domain}"]
        for key, (host, port) in pf.signalling.listening.items():
            lines.append(f"  SIP over {key.rstrip('6').upper()} at {host_text(host)}:{port}")
        for (tls, _), (host, port) in pf.media.listening.items():
            lines.append(f"  MSRP over {'TLS' if tls else 'TCP'} at {host_text(host)}:{port}")
        lines.append(f"  clients retrieve at {config.psi_uri}")
        lines.append(f"  core: {config.core.address or 'the Contact of its third-party REGISTER'}")
        store = f"{config.history.host}:{config.history.port}" if config.history.host else "none, history is off"
        lines.append(f"  message store: {store}")
        lines.append(f"  deferred messages are kept in {config.state.resolve()}")
        return lines

    async def on_request(self, incoming: IncomingRequest) -> None:
        """Hand a request to the part it is for."""
        request, signalling = incoming.request, self.pf.signalling
        if incoming.ack:
            return
        wrong = refusal(request)
        if wrong is not None:
            await signalling.refuse(incoming, wrong.status, wrong.reason, wrong.headers)
        elif request.to_tag is not None:
            key = DialogId(request.call_id or "", request.to_tag, request.from_tag or "")
            session = signalling.sessions.get(key)
            if session is None:
                await signalling.refuse(incoming, 481)
            else:
                await session.on_request(incoming)
        elif self._stopping:
            await signalling.refuse(incoming, 503)
        elif request.method == "REGISTER":
            await self.pf.registrations.on_register(incoming)
        elif request.method == "OPTIONS":
            await signalling.respond(incoming, 200, [("Allow", ALLOW), ("Accept", "application/sdp")])
        elif request.method in ("MESSAGE", "INVITE"):
            await self._for_user(incoming)
        elif request.method in KNOWN:
            await signalling.refuse(incoming, 405, None, [("Allow", ALLOW)])
        else:
            await signalling.refuse(incoming, 501)

    async def _for_user(self, incoming: IncomingRequest) -> None:
        """A MESSAGE or INVITE outside of a dialog: from the trusted core, for the PSI or for a served user."""
        request, pf = incoming.request, self.pf
        user = identity(request.uri)
        if not pf.signalling.trusts(incoming):
            await pf.signalling.refuse(incoming, 403)
        elif user == identity(pf.config.psi_uri):
            if request.method == "INVITE":
                await pf.delivery.on_retrieval(incoming)
            else:
                await pf.signalling.refuse(incoming, 405, None, [("Allow", "INVITE, ACK, CANCEL, BYE, OPTIONS")])
        elif not pf.users.served(user):
            await pf.signalling.refuse(incoming, 404)
        elif request.method == "MESSAGE":
            await pf.deferral.on_message(incoming)
        else:
            await pf.deferral.on_invite(incoming)

    async def _expire(self) -> None:
        while True:
            try:
                gone = await self.pf.store.expire(self.pf.now() - EXPIRY_GRACE)
                if gone:
                    say(f"{gone} expired message(s) dropped")
            except StoreError as error:
                say(f"expiry failed: {error}")
            await asyncio.sleep(EXPIRY_EVERY)
