"""The CPM Client as a lower tester: registers, takes notifications, retrieves, is pushed to, and behaves as told."""

from __future__ import annotations

import asyncio
import secrets
import ssl
from collections.abc import Awaitable, Callable
from typing import Any

from cpmspec.actors.behaviour import Answer, Behaviour, Chunk, Offer, ReceivedMessage
from cpmspec.actors.recording import Recorder, greeted, msrp_tap, sip_tap
from cpmspec.actors.session import SDP_HEADER, Session
from cpmspec.evidence.trace import Address, Pco, Role
from cpmspec.net.sip import Hop, IncomingRequest, SipEndpoint, SipError, response_hop
from cpmspec.net.tls import client_context, self_signed
from cpmspec.protocol.dialogs import Dialog
from cpmspec.protocol.errors import RemoteProtocolError
from cpmspec.wire.sdp import parse_sdp
from cpmspec.wire.sip import SipRequest, SipResponse, build_request, parse_message, response_to
from cpmspec.wire.uri import SipUri, parse_uri

__all__ = ["Answer", "Behaviour", "Chunk", "Client", "Offer", "ReceivedMessage", "Session"]

#: communication service identifiers of CPM, as they stand in Accept-Contact and Contact (RFC 3840, TS 24.229 7.2A.8)
ICSI = 'g.3gpp.icsi-ref="urn%3Aurn-7%3A3gpp-service.ims.icsi.oma.cpm.{}"'
ALLOW = "INVITE, ACK, CANCEL, BYE, MESSAGE, NOTIFY, OPTIONS"

#: what a MESSAGE is answered: a status, or ``None`` for no answer; it may wait first
AnswerMessage = Callable[[SipRequest], Awaitable[int | None]]


async def accept_message(request: SipRequest) -> int | None:
    """Answer 200 (RFC 3428 7)."""
    return 200


def is_notification(request: SipRequest) -> bool:
    """Whether a request may tell of waiting messages: a NOTIFY, or a MESSAGE that is not itself a CPM message."""
    asked = "".join(request.headers.get_all("Accept-Contact")).lower()
    return request.method == "NOTIFY" or "oma.cpm.msg" not in asked


class Client:
    """One CPM Client of one user. ``core`` is the access side of the core; frames go to ``recorder`` (gm, msrp).

    ``ixit`` is kept for cases; nothing here reads it.
    """

    def __init__(
        self, recorder: Recorder, *, uri: str, core: Hop, domain: str, psi: str, ixit: Any = None, t1: float = 0.5
    ) -> None:
        self.uri = uri
        self.core = core
        self.domain = domain
        self.psi = psi
        self.ixit = ixit
        self.messages: list[SipRequest] = []  #: every MESSAGE and NOTIFY that came, each once
        self.notifications: list[SipRequest] = []  #: those of them that may tell of waiting messages
        self.sessions: list[Session] = []
        self.service_route: tuple[str, ...] = ()
        self.answer_message: AnswerMessage = accept_message
        self.is_notification: Callable[[SipRequest], bool] = is_notification
        self._seen = 0
        self._arrived = asyncio.Condition()
        self._invites: asyncio.Queue[IncomingRequest] = asyncio.Queue()
        self._recorder = recorder
        tap = greeted(sip_tap(recorder, Pco.GM, Role.CLIENT, self._peer_role), self._greet)
        self._endpoint = SipEndpoint(tap=tap, t1=t1)
        self._endpoint.on_request = self._take
        self._core_calls: set[Address] = set()  #: from where the core opened connections to us
        self._hosts = {4: "127.0.0.1", 6: "::1"}
        self._tls: tuple[ssl.SSLContext, ssl.SSLContext, str] | None = None
        self._contact = ""
        self._register_id = secrets.token_hex(10)
        self._register_tag = secrets.token_hex(6)
        self._register_seq = 0

    async def start(self, host: str = "127.0.0.1", host6: str = "::1") -> None:
        """Listen at the host for SIP; MSRP is listened for at the host of the session's address family.

        :raises OSError: the host is not ours.
        """
        self._hosts = {4: host, 6: host6}
        address = Address(*(await self._endpoint.listen(self.core.transport, host, 0))[:2])
        user = parse_uri(self.uri)
        name = user.user if isinstance(user, SipUri) and user.user else "client"
        self._contact = f"sip:{name}@{address};transport={self.core.transport}"

    async def close(self) -> None:
        """Release all sockets."""
        for session in self.sessions:
            await session.close()
        await self._endpoint.close()

    # --- registration

    async def register(self, expires: int = 600) -> int:
        """Register at the core; the final status (408: none came, 503: the core is not there)."""
        self._register_seq += 1
        request = build_request(
            "REGISTER",
            f"sip:{self.domain}",
            [
                ("Max-Forwards", "70"),
                ("From", f"<{self.uri}>;tag={self._register_tag}"),
                ("To", f"<{self.uri}>"),
                ("Call-ID", self._register_id),
                ("CSeq", f"{self._register_seq} REGISTER"),
                ("Contact", f"<{self._contact}>;+{ICSI.format('msg')}"),
                ("Expires", str(expires)),
                ("Allow", ALLOW),
            ],
        )
        try:
            response = await self._endpoint.request(request, self.core)
        except SipError as error:
            return error.status
        self.service_route = response.headers.values("Service-Route")
        return response.status

    async def deregister(self) -> int:
        """Leave; the final status as for :meth:`register`."""
        return await self.register(0)

    # --- notifications

    async def wait_notification(self, timeout: float) -> SipRequest | None:  # noqa: ASYNC109 - None is an answer here
        """The next notification that no call returned yet; ``None`` if none comes within ``timeout`` seconds."""
        try:
            async with asyncio.timeout(timeout), self._arrived:
                await self._arrived.wait_for(lambda: len(self.notifications) > self._seen)
                self._seen += 1
                return self.notifications[self._seen - 1]
        except TimeoutError:
            return None

    # --- sessions

    async def retrieve(self, offer: Offer | None = None, behaviour: Behaviour | None = None) -> Session:
        """Set up a session by an INVITE to the PSI; done when it is established or refused (``failure``)."""
        session = self._session(behaviour, offer)
        session.invite = invite = self._invite(await session.describe())
        try:
            response = await self._endpoint.request(invite, self.core)
        except SipError as error:
            session.fail(error.status)
            return session
        session.response = response
        if response.status >= 300:
            session.fail(response.status)
            return session
        try:
            dialog = Dialog.uac(invite, response)
        except RemoteProtocolError as error:
            session.behaviour.log.append(f"the 2xx makes no dialog: {error}")
            session.fail(error.status)
            return session
        session.confirm(dialog)
        self._endpoint.send(dialog.ack(), self.core)
        await session.start_media(response.body, offerer=True)
        return session

    async def expect_push(
        self,
        timeout: float,  # noqa: ASYNC109 - for the INVITE only, and None is an answer here
        behaviour: Behaviour | None = None,
        offer: Offer | None = None,
    ) -> Session | None:
        """Take the next INVITE of the PF, one that waits already included; ``None`` if none comes in time (seconds).

        Done when the session is established (the ACK came), was refused, or was cancelled.
        """
        try:
            async with asyncio.timeout(timeout):
                incoming = await self._invites.get()
        except TimeoutError:
            return None
        session = self._session(behaviour, offer)
        session.invite = incoming.request
        try:
            await self._answer_invite(session, incoming)
        except RemoteProtocolError as error:
            await self._refuse(session, incoming, error.status)
        return session

    def msrp_host(self, family: int) -> str:
        """The address of the client for MSRP over IPv4 or IPv6."""
        return self._hosts[family]

    def msrp_tls(self) -> tuple[ssl.SSLContext, ssl.SSLContext, str]:
        """TLS contexts to be called with and to call with, and the fingerprint of the certificate."""
        if self._tls is None:
            server, fingerprint = self_signed()
            self._tls = server, client_context(by_fingerprint=True), fingerprint
        return self._tls

    async def in_dialog(self, request: SipRequest) -> SipResponse:
        """Send a request within a dialog; its final response.

        :raises SipError: there is none.
        """
        return await self._endpoint.request(request, self.core)

    # --- outgoing

    def _session(self, behaviour: Behaviour | None, offer: Offer | None) -> Session:
        tap = msrp_tap(self._recorder, Pco.MSRP, Role.CLIENT, Role.IUT)
        session = Session(self, behaviour or Behaviour(), offer or Offer(), tap)
        self.sessions.append(session)
        return session

    def _invite(self, sdp: bytes) -> SipRequest:
        routes = [("Route", route) for route in self.service_route]
        return build_request(
            "INVITE",
            self.psi,
            [
                *routes,
                ("Max-Forwards", "70"),
                ("From", f"<{self.uri}>;tag={secrets.token_hex(6)}"),
                ("To", f"<{self.psi}>"),
                ("Call-ID", secrets.token_hex(12)),
                ("CSeq", "1 INVITE"),
                ("Contact", self._own_contact()),
                ("Accept-Contact", f"*;+{ICSI.format('deferred')}"),
                ("Allow", ALLOW),
                *SDP_HEADER,
            ],
            sdp,
        )

    def _own_contact(self) -> str:
        return f"<{self._contact}>;+{ICSI.format('deferred')}"

    # --- incoming

    async def _take(self, incoming: IncomingRequest) -> None:
        """Answer whatever arrives."""
        request = incoming.request
        if request.to_tag is not None:
            await self._take_in_dialog(incoming)
        elif request.method == "INVITE":
            self._invites.put_nowait(incoming)
        elif request.method in ("MESSAGE", "NOTIFY"):
            await self._take_message(incoming)
        elif request.method == "OPTIONS":
            await incoming.reply(200, headers=[("Allow", ALLOW)])
        elif request.method != "ACK":
            await incoming.reply(405, headers=[("Allow", ALLOW)])

    async def _take_in_dialog(self, incoming: IncomingRequest) -> None:
        request = incoming.request
        owner = next((item for item in self.sessions if item.dialog is not None and item.dialog.owns(request)), None)
        if owner is not None:
            if request.method != "ACK":
                await owner.take(incoming)
        elif request.method == "NOTIFY":
            await self._take_message(incoming)
        elif request.method != "ACK":
            await incoming.reply(481)

    async def _take_message(self, incoming: IncomingRequest) -> None:
        request = incoming.request
        async with self._arrived:
            self.messages.append(request)
            if self.is_notification(request):
                self.notifications.append(request)
            self._arrived.notify_all()
        status = await self.answer_message(request)
        if status is not None:
            await incoming.reply(status)

    def _peer_role(self, address: Address) -> Role:
        """Who is at the other end: what does not come from the core came past it, from the IUT."""
        core = (self.core.host, self.core.port)
        return Role.CORE if address == core or address in self._core_calls else Role.IUT

    def _greet(self, caller: Address, octets: bytes) -> None:
        """Know who opened a connection to us: the core, if it put the top Via on its first request (RFC 3261 16.6)."""
        message = parse_message(octets)
        hop = response_hop(message) if isinstance(message, SipRequest) else None
        if hop is not None and (hop.host, hop.port) == (self.core.host, self.core.port):
            self._core_calls.add(caller)
        else:
            self._core_calls.discard(caller)

    async def _answer_invite(self, session: Session, incoming: IncomingRequest) -> None:
        """Play the called side of a session (RFC 3261 13.3)."""
        request, behaviour = incoming.request, session.behaviour
        if request.headers.get("Require"):
            await self._refuse(session, incoming, 420)
            return
        if behaviour.reject is not None:
            await self._refuse(session, incoming, behaviour.reject)
            return
        offered = parse_sdp(request.body).message if request.body else None
        if request.body and offered is None:
            raise RemoteProtocolError("no MSRP media in the offer", 488)
        sdp = await session.describe(offered)
        # RFC 3261 12.1.1: whatever makes a dialog repeats the Record-Route
        routes = [("Record-Route", route) for route in request.headers.get_all("Record-Route")]
        tag, contact = incoming.to_tag, [*routes, ("Contact", self._own_contact())]
        answer = response_to(request, 200, headers=[*contact, ("Allow", ALLOW), *SDP_HEADER], body=sdp, to_tag=tag)
        dialog = Dialog.uas(request, answer)
        if behaviour.ring_first:
            await incoming.respond(response_to(request, 180, headers=contact, to_tag=tag))
        if behaviour.early_answer:
            early = response_to(request, 183, headers=[*contact, *SDP_HEADER], body=sdp, to_tag=tag)
            await incoming.respond(early)
            await session.start_media(request.body, offerer=False)
        if behaviour.release is not None:
            await _first(behaviour.release, incoming.cancelled)
        if incoming.cancelled.is_set():
            session.fail(487)
            return
        session.dialog = dialog
        await incoming.respond(answer)
        if offered is not None and not behaviour.early_answer:
            await session.start_media(request.body, offerer=False)
        try:
            ack = await incoming.acknowledged()
        except TimeoutError:
            behaviour.log.append("no ACK to our 200")
            session.confirm(dialog)
            return
        session.response = answer
        session.confirm(dialog)
        if offered is None:
            await session.start_media(ack.body, offerer=True)

    async def _refuse(self, session: Session, incoming: IncomingRequest, status: int) -> None:
        await incoming.reply(status)
        session.fail(status)


async def _first(*events: asyncio.Event) -> None:
    """Wait until one of the events is set."""
    tasks = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
