"""The SIP side of the PF: whom it trusts, how it names itself, what it originates, how it answers."""

from __future__ import annotations

import errno
import secrets
import socket
from collections.abc import Sequence
from typing import TYPE_CHECKING

from cpmspec.net.sip import Hop, SipEndpoint, SipError, hop_for
from cpmspec.reference.config import parse_address
from cpmspec.reference.log import say
from cpmspec.reference.users import identity
from cpmspec.wire.sip import SipRequest, SipResponse, build_request
from cpmspec.wire.uri import SipUri, host_text

if TYPE_CHECKING:
    from cpmspec.net.sip import IncomingRequest
    from cpmspec.protocol.dialogs import Dialog, DialogId
    from cpmspec.reference.pf import Pf
    from cpmspec.reference.session import SipSession

ALLOW = "INVITE, ACK, CANCEL, BYE, OPTIONS, MESSAGE, REGISTER"

Pairs = Sequence[tuple[str, str]]


class Signalling:
    """Requests in and out of the PF's SIP endpoint, and the sessions that its dialogs belong to."""

    def __init__(self, pf: Pf, endpoint: SipEndpoint) -> None:
        self.pf = pf
        self.endpoint = endpoint
        self.listening: dict[str, tuple[str, int]] = {}
        self.sessions: dict[DialogId, SipSession] = {}

    async def listen(self) -> None:
        """Open all sockets: UDP and TCP share their port, on every host alike.

        :raises OSError: an address is not there, or a port is in use.
        """
        sip = self.pf.config.sip
        port = sip.port or free_port(sip.listen)
        for host in sip.listen:
            for transport in ("udp", "tcp"):
                await self._open(transport, host, port)
        if sip.tls_cert is not None:
            port = 5061 if sip.tls_port is None else sip.tls_port
            for host in sip.listen:
                port = await self._open("tls", host, port or free_port(sip.listen))

    async def _open(self, transport: str, host: str, port: int) -> int:
        address = await self.endpoint.listen(transport, host, port)
        self.listening.setdefault(f"{transport}6" if ":" in host else transport, address)
        return address[1]

    def trusts(self, incoming: IncomingRequest) -> bool:
        """Whether the request comes from a node whose assertions count (RFC 3325 8): the core."""
        return incoming.hop.host in self.pf.config.trusted

    def asserted(self, incoming: IncomingRequest) -> tuple[str, ...]:
        """Who sent the request, as the trusted core asserts it; nothing else says so (RFC 3325 8)."""
        if not self.trusts(incoming):
            return ()
        return tuple(identity(str(address.uri)) for address in incoming.request.p_asserted_identity)

    async def respond(self, incoming: IncomingRequest, status: int, headers: Pairs = ()) -> None:
        """Answer a request."""
        await incoming.reply(status, None, headers)

    async def refuse(
        self, incoming: IncomingRequest, status: int, reason: str | None = None, headers: Pairs = ()
    ) -> None:
        """Answer a request with an error, and say so in the log."""
        response = await incoming.reply(status, reason, headers)
        say(f"{incoming.request.method} refused: {status} {response.reason}", call_id=incoming.request.call_id)

    def originate(self, method: str, user: str, headers: Pairs = (), body: bytes = b"") -> SipRequest:
        """A request of the PF's own to a user, outside of a dialog, routed to the core."""
        registration = self.pf.registrations.find(user)
        uri = user if registration is None else registration.uri
        psi = self.pf.config.psi_uri
        route = self.core_route(user)
        own: list[tuple[str, str]] = [] if route is None else [("Route", route)]
        own += [
            ("Max-Forwards", "70"),
            ("From", f"<{psi}>;tag={secrets.token_hex(8)}"),
            ("To", f"<{uri}>"),
            ("Call-ID", f"{secrets.token_hex(16)}@{self.pf.config.domain}"),
            ("CSeq", f"1 {method}"),
            ("P-Asserted-Identity", f"<{psi}>"),
        ]
        return build_request(method, uri, [*own, *headers], body)

    def core_route(self, user: str) -> str | None:
        """The Route to the core: configured, else the Contact of the user's third-party REGISTER."""
        core = self.pf.config.core
        if core.address is not None:
            host, port = parse_address(core.address)
            return f"<sip:{host_text(host)}:{port};transport={core.transport};lr>"
        registration = self.pf.registrations.find(user)
        if registration is None:
            return None
        return f"<{registration.core}>" if ";lr" in registration.core else f"<{registration.core};lr>"

    async def final_status(self, request: SipRequest) -> int:
        """Send a request; the status of its final answer: 408 if none came, 503 if it could not be sent."""
        answer = await self.ask(request)
        return answer if isinstance(answer, int) else answer.status

    async def ask(self, request: SipRequest) -> SipResponse | int:
        """Send a request; its final answer, else 408 or 503 (RFC 3261 8.1.3.1)."""
        try:
            return await self.endpoint.request(request)
        except SipError as error:
            say(f"no answer: {error}", call_id=request.call_id)
            return error.status

    async def forward(self, request: SipRequest) -> SipResponse | int:
        """Send on a request of somebody else, with our Via on top (RFC 3261 16.6); its final answer as :meth:`ask`."""
        try:
            via = self.endpoint.new_via(hop_for(request))
        except SipError as error:
            say(f"no next hop: {error}", call_id=request.call_id)
            return error.status
        return await self.ask(request.with_headers(request.headers.added("Via", via, first=True)))

    def contact(self, hop: Hop) -> str:
        """The PF's Contact for the peer at ``hop``: same transport, same address family."""
        return f"<sip:{self.endpoint.local_via(hop)};transport={hop.transport}>"

    def dialog_headers(self, incoming: IncomingRequest, content_type: str) -> list[tuple[str, str]]:
        """The headers of a 2xx to INVITE that make the dialog: Record-Route in order, and Contact (RFC 3261 12.1.1)."""
        routes = [("Record-Route", value) for value in incoming.request.headers.get_all("Record-Route")]
        contact = ("Contact", self.contact(incoming.hop))
        return [*routes, contact, ("Allow", ALLOW), ("Content-Type", content_type)]

    def own_via(self) -> str:
        """The sent-protocol and sent-by of a Via of this server."""
        first = self.endpoint.listeners[0]
        return f"SIP/2.0/{first.transport.upper()} {self.endpoint.local_via(first)}"

    def is_own(self, uri: SipUri) -> bool:
        """Whether a Route names this server."""
        port = uri.port or (5061 if uri.param("transport") == "tls" or uri.scheme == "sips" else 5060)
        return (uri.host, port) in self.listening.values()

    def join(self, dialog: Dialog, session: SipSession) -> None:
        """Requests within ``dialog`` go to ``session`` from now on."""
        self.sessions[dialog.id] = session

    def leave(self, dialog: Dialog) -> None:
        """The dialog is over."""
        self.sessions.pop(dialog.id, None)


def free_port(hosts: Sequence[str]) -> int:
    """A port that is free now for UDP and TCP on all hosts.

    :raises OSError: a host is no address of this machine.
    """
    for _ in range(64):
        port, sockets = 0, []
        try:
            for host in hosts:
                for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, kind)
                    sockets.append(sock)
                    sock.bind((host, port))
                    port = sock.getsockname()[1]
            return port
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
        finally:
            for sock in sockets:
                sock.close()
    raise OSError(errno.EADDRINUSE, "no port is free on all addresses")
