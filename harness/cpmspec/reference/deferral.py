"""Defer CPM Messages (8.3.2.3): take what cannot be delivered now, with its headers and its time, before answering."""

from __future__ import annotations

import asyncio
from datetime import UTC
from typing import TYPE_CHECKING

from cpmspec.protocol.dialogs import Dialog
from cpmspec.protocol.errors import RemoteProtocolError
from cpmspec.reference.admission import bad_content
from cpmspec.reference.large import LargeSession, ReceivedLarge
from cpmspec.reference.log import say
from cpmspec.reference.negotiation import SDP_TYPE, Description, answer_to, read_description
from cpmspec.reference.session import SipSession
from cpmspec.reference.store import DeferredMessage, Mode, NewMessage, StoreError
from cpmspec.reference.users import identity
from cpmspec.wire.sip import SipRequest, SipResponse, response_to
from cpmspec.wire.sip_views import MAX_SECONDS, parse_number, without_first
from cpmspec.wire.uri import SipUri

if TYPE_CHECKING:
    from cpmspec.net.sip import IncomingRequest
    from cpmspec.reference.pf import Pf

DEFERRING = frozenset({408, 480, 503})
"""Answers to a forwarded MESSAGE that mean: not reachable now (class D, ``reachability``)."""
COPIED_BY_RULE = ("Via", "From", "To", "Call-ID", "CSeq", "Content-Length")
"""Headers of a response that :func:`cpmspec.wire.sip.response_to` writes itself."""
ABANDONED_AFTER = 300.0
"""Seconds without a message after which a large-message session is ended."""


class Deferral:
    """MESSAGE and INVITE for a served user.

    A large message is always deferred, also for a registered user (store and forward): its session ends here, and he is
    told, or it is brought to him, as soon as it is stored.
    """

    def __init__(self, pf: Pf) -> None:
        self.pf = pf
        self.sessions: set[SipSession] = set()

    # -- pager mode -----------------------------------------------------------------------------------------------

    async def on_message(self, incoming: IncomingRequest) -> None:
        """A MESSAGE for a served user: forward it if he is registered, defer it if that fails or he is not."""
        received = self.pf.now()
        request, user = incoming.request, identity(incoming.request.uri)
        bad = bad_content(request)
        if bad is not None:
            await self.pf.signalling.refuse(incoming, bad.status, bad.reason, bad.headers)
        elif self.pf.registrations.find(user) is None:
            await self.defer_message(incoming, user, received)
        elif request.max_forwards == 0:
            await self.pf.signalling.refuse(incoming, 483)
        else:
            await self._forward_or_defer(incoming, user, received)

    async def _forward_or_defer(self, incoming: IncomingRequest, user: str, received: float) -> None:
        forwarding = self.pf.tasks.start(self.forward(incoming.request, user), "forwarding")
        timeout = self.pf.config.sip.answer_timeout
        done, _ = await asyncio.wait({forwarding}, timeout=timeout)
        answer = forwarding.result() if done else 408
        status = answer if isinstance(answer, int) else answer.status
        if status not in DEFERRING and not isinstance(answer, int):
            await incoming.respond(self.relayed(incoming, answer))
            say(f"MESSAGE forwarded: {status}", user=user, call_id=incoming.request.call_id)
            return
        say(f"MESSAGE not forwarded: {status}", user=user, call_id=incoming.request.call_id)
        message = await self.defer_message(incoming, user, received)
        if message is not None and not done:
            late = await forwarding
            if not isinstance(late, int) and 200 <= late.status < 300:
                await self.withdraw(message)

    async def forward(self, request: SipRequest, user: str) -> SipResponse | int:
        """Send the MESSAGE on by the rest of its Route, as a proxy does (RFC 3261 16.6); its final answer."""
        headers = request.headers
        while (routes := request.with_headers(headers).route) and (uri := routes[0].uri):
            if not (isinstance(uri, SipUri) and self.pf.signalling.is_own(uri)):
                break
            headers = without_first(headers, "Route")
        if not routes and (core := self.pf.signalling.core_route(user)) is not None:
            headers = headers.added("Route", core, first=True)
        left = 70 if request.max_forwards is None else request.max_forwards - 1
        return await self.pf.signalling.forward(request.with_headers(headers.replaced("Max-Forwards", str(left))))

    def relayed(self, incoming: IncomingRequest, answer: SipResponse) -> SipResponse:
        """The answer of the next hop, for the previous one (RFC 3261 16.7)."""
        tag = answer.to_tag or incoming.to_tag
        kept = answer.headers.without(*COPIED_BY_RULE)
        pairs = [(header.name, header.value) for header in kept]
        return response_to(incoming.request, answer.status, answer.reason, pairs, answer.body, tag)

    async def defer_message(self, incoming: IncomingRequest, user: str, received: float) -> DeferredMessage | None:
        """Store a MESSAGE durably, then answer 202 (RFC 3428 7); 480 if it may not wait at all."""
        request = incoming.request
        message = self.pager_message(request, user, received)
        if message.expires is not None and message.expires <= self.pf.now():
            await self.pf.signalling.refuse(incoming, 480)
            return None
        try:
            stored = await self.pf.store.defer(message, request.body)
        except StoreError as error:
            say(f"not stored: {error}", user=user, call_id=request.call_id)
            await self.pf.signalling.refuse(incoming, 500)
            return None
        await self.pf.signalling.respond(incoming, 202)
        say("MESSAGE deferred", user=user, call_id=request.call_id)
        return stored

    def pager_message(self, request: SipRequest, user: str, received: float) -> NewMessage:
        """What is stored of a MESSAGE: its complete header section and when it arrived."""
        expires = None if request.headers.get("expires") is None else self.seconds(request.headers.get("expires"))
        if expires is not None:
            sent = request.date
            expires += received if sent is None else sent.astimezone(UTC).timestamp()
        headers = request.headers.octets()
        return NewMessage(
            user, Mode.PAGER, received, expires, request.start.lstrip(b"\r\n"), headers, None, request.content_type
        )

    @staticmethod
    def seconds(value: str | None) -> float | None:
        """Delta-seconds, at most 2**32 - 1 (RFC 3261 20.19); ``None`` if it is no number."""
        number = parse_number(value, 10**19)
        return None if number is None else float(min(number, MAX_SECONDS))

    async def withdraw(self, message: DeferredMessage) -> None:
        """The client took the message after all: the stored copy goes, unless it was delivered meanwhile."""
        try:
            await self.pf.store.remove(message)
        except StoreError as error:
            say(f"not withdrawn: {error}", user=message.user)
        else:
            say("late answer of the client: deferred copy withdrawn", user=message.user)

    # -- large message mode ---------------------------------------------------------------------------------------

    async def on_invite(self, incoming: IncomingRequest) -> None:
        """An INVITE for a served user: take his large messages by MSRP."""
        request, user = incoming.request, identity(incoming.request.uri)
        bad = bad_content(request)
        if bad is not None:
            await self.pf.signalling.refuse(incoming, bad.status, bad.reason, bad.headers)
            return
        try:
            offer = read_description(request)
            if offer is None:
                await self.pf.signalling.refuse(incoming, 488)  # the originator has the message, so he makes the offer
                return
            media = LargeSession(self.pf, user, self, request, tls=offer.tls, host=offer.host)
            media.take_description(offer.media)
            body, active = self._answer(offer, media)
            headers = self.pf.signalling.dialog_headers(incoming, SDP_TYPE)
            response = response_to(request, 200, None, headers, body, incoming.to_tag)
            session = SipSession(self.pf, Dialog.uas(request, response), user)
        except RemoteProtocolError as error:
            accept = [("Accept", SDP_TYPE)] if error.status == 415 else []
            await self.pf.signalling.refuse(incoming, error.status, None, accept)
            return
        await incoming.respond(response)
        say("large message session accepted", user=user, call_id=request.call_id)
        await self._receive(incoming, session, media, active=active)

    def _answer(self, offer: Description, media: LargeSession) -> tuple[bytes, bool]:
        """Any type is taken: what the client can read is decided at delivery."""
        largest = self.pf.config.msrp.max_size
        try:
            return answer_to(offer, media, wanted="recvonly", accept_types=("*",), max_size=largest)
        except RemoteProtocolError:
            media.release()
            raise

    async def _receive(
        self, incoming: IncomingRequest, session: SipSession, media: LargeSession, *, active: bool
    ) -> None:
        """Take messages until the originator ends the session, or is gone."""
        self.sessions.add(session)
        try:
            await incoming.acknowledged()
            if active:
                await media.connect()
                media.bind_empty()
            await media.until_over(session.over, ABANDONED_AFTER)
        except TimeoutError:
            say("no ACK for the 200", user=session.user, call_id=session.call_id)
        except OSError as error:
            say(f"no MSRP connection: {error}", user=session.user, call_id=session.call_id)
        finally:
            self.sessions.discard(session)
            await media.finish()
        await session.bye()

    async def defer_large(self, large: ReceivedLarge) -> DeferredMessage:
        """Store a complete MSRP message durably; its last chunk is answered afterwards.

        :raises StoreError: it could not be stored; the originator is told so.
        """
        message = self.large_message(large)
        if message.expires is not None and message.expires <= self.pf.now():
            raise StoreError("the message is over already")
        stored = await large.draft.commit(message, large.size)
        say("large message deferred", user=message.user, call_id=large.invite.call_id)
        self.on_deferred(message.user)
        return stored

    def large_message(self, large: ReceivedLarge) -> NewMessage:
        """What is stored of a large message: INVITE and SEND with all their headers, and when its last chunk came.

        It expires by Message-Expires, never by the Expires of the INVITE: that limits the invitation (RFC 3261 13.3.1).
        """
        given = large.invite.headers.get("Message-Expires") or large.head.headers.get("Message-Expires")
        seconds = None if given is None else self.seconds(given.strip())
        expires = None if seconds is None else large.received + seconds
        return NewMessage(
            large.user, Mode.LARGE, large.received, expires, large.invite.start.lstrip(b"\r\n"),
            large.invite.headers.octets(), large.head.headers.octets(), large.head.content_type,
        )  # fmt: skip

    def on_deferred(self, user: str) -> None:
        """A message was deferred for a user who is registered: he need not register anew to hear of it."""
        if self.pf.registrations.find(user) is not None:
            self.pf.reachable(user)

    async def close(self) -> None:
        """End the sessions that are open."""
        await asyncio.gather(*(session.bye() for session in list(self.sessions)))
