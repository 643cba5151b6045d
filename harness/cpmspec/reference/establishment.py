"""How a delivery session comes about: by the client's INVITE to the PSI (pull), or the PF's to the client (push)."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from typing import TYPE_CHECKING

from cpmspec.net.sip import Call, SipError, hop_for
from cpmspec.protocol.dialogs import Dialog
from cpmspec.protocol.errors import ProtocolError, RemoteProtocolError
from cpmspec.reference.encapsulation import MULTIPART, Encapsulation
from cpmspec.reference.log import say
from cpmspec.reference.negotiation import SDP_TYPE, active_after, answer_to, offer_of, read_description
from cpmspec.reference.outgoing import OutgoingSession
from cpmspec.reference.session import SipSession
from cpmspec.reference.store import DeferredMessage
from cpmspec.wire.sdp import Media
from cpmspec.wire.sip import SipRequest, SipResponse, response_to

if TYPE_CHECKING:
    from cpmspec.net.sip import IncomingRequest
    from cpmspec.reference.pf import Pf

ICSI = "urn%3Aurn-7%3A3gpp-service.ims.icsi.oma.cpm.deferred"
"""In Accept-Contact of the PF's INVITE (RFC 3841, RFC 6050)."""
RING = 60.0
"""Seconds that a client has to accept the PF's INVITE."""


class Hold:
    """Who serves a user's queue: one session at a time; a second one finds an empty queue."""

    def __init__(self, holds: dict[str, Hold], user: str) -> None:
        self._holds = holds
        self._user = user
        holds[user] = self

    def release(self) -> None:
        """Let another session serve the user; once is enough."""
        if self._holds.get(self._user) is self:
            del self._holds[self._user]


class DeliverySession(SipSession):
    """A session in which deferred messages are brought to a client. ``media`` is what the client's SDP says."""

    def __init__(self, pf: Pf, dialog: Dialog, user: str, msrp: OutgoingSession, hold: Hold) -> None:
        super().__init__(pf, dialog, user)
        self.msrp = msrp
        self.hold = hold
        self.media: Media | None = None
        self.attempted: set[int] = set()
        self.pending: dict[str, tuple[DeferredMessage, ...]] = {}
        self.backlog: deque[DeferredMessage] = deque()

    def take_description(self, media: Media) -> None:
        """Learn what the client accepts and where he is."""
        self.media = media
        self.msrp.take_description(media)

    @property
    def stopped(self) -> bool:
        """Whether nothing more may be sent: the client's BYE, the connection's loss, 415, 481 or 506."""
        return self.over.is_set() or self.msrp.lost.is_set() or self.msrp.stopped.is_set()


class Establishment(Encapsulation, ABC):
    """Sets up sessions and hands them to :meth:`run`."""

    def __init__(self, pf: Pf) -> None:
        super().__init__(pf)
        self.sessions: set[DeliverySession] = set()
        self.holds: dict[str, Hold] = {}
        self._calls: set[Call] = set()

    @abstractmethod
    async def run(self, session: DeliverySession, *, active: bool) -> None:
        """What is done in a session; ``active``: the PF makes the MSRP connection."""

    # -- pull -----------------------------------------------------------------------------------------------------

    async def on_retrieval(self, incoming: IncomingRequest) -> None:
        """An INVITE to the PSI asks for the messages of whoever the core says it is from."""
        user = self.owner_of(incoming)
        if user is None or not self.pf.users.served(user):
            await self.pf.signalling.refuse(incoming, 403 if user is None else 404)
        elif user in self.holds or not self.waiting(user):
            await self.pf.signalling.refuse(incoming, 480)
        else:
            hold = Hold(self.holds, user)
            try:
                await self._accept(incoming, user, hold)
            finally:
                hold.release()

    def owner_of(self, incoming: IncomingRequest) -> str | None:
        """Whose queue is asked for: the identity that the core asserts, nothing else (RFC 3325 8)."""
        asserted = self.pf.signalling.asserted(incoming)
        return next((user for user in asserted if self.pf.users.served(user)), asserted[0] if asserted else None)

    async def _accept(self, incoming: IncomingRequest, user: str, hold: Hold) -> None:
        try:
            session, response, active = self._answered(incoming, user, hold)
        except RemoteProtocolError as error:
            accept = [("Accept", SDP_TYPE)] if error.status == 415 else []
            await self.pf.signalling.refuse(incoming, error.status, None, accept)
            return
        await incoming.respond(response)
        say("retrieval accepted", user=user, call_id=session.call_id)
        try:
            ack = await incoming.acknowledged()
            if session.media is None:
                active = self._late_answer(session, ack)
        except (TimeoutError, RemoteProtocolError) as error:  # RFC 3261 13.3.1.4
            say(f"session given up: {error}", user=user, call_id=session.call_id)
            await session.bye()
            session.msrp.release()
        else:
            await self.run(session, active=active)

    def _answered(self, incoming: IncomingRequest, user: str, hold: Hold) -> tuple[DeliverySession, SipResponse, bool]:
        """The session, the 200 that makes it, and whether we connect; without an offer the 200 holds one (13.3.1.4).

        :raises RemoteProtocolError: the offer cannot be used, or forbids everything that waits (488).
        """
        request = incoming.request
        offer = read_description(request)
        if offer is not None:
            self._any_allowed(user, offer.media)
        tls = self.pf.config.msrp.tls if offer is None else offer.tls
        msrp = OutgoingSession(self.pf, tls=tls, host=incoming.hop.host if offer is None else offer.host)
        try:
            if offer is None:
                body, active = offer_of(msrp, accept_types=(MULTIPART,)), False
            else:
                body, active = answer_to(offer, msrp, wanted="sendonly", accept_types=(MULTIPART,))
            headers = self.pf.signalling.dialog_headers(incoming, SDP_TYPE)
            response = response_to(request, 200, None, headers, body, incoming.to_tag)
            session = DeliverySession(self.pf, Dialog.uas(request, response), user, msrp, hold)
        except RemoteProtocolError:
            msrp.release()
            raise
        if offer is not None:
            session.take_description(offer.media)
        return session, response, active

    def _any_allowed(self, user: str, media: Media) -> None:
        if not any(self.allowed(message, media) for message in self.waiting(user)):
            raise RemoteProtocolError("nothing that waits may be sent to this client", 488)

    def _late_answer(self, session: DeliverySession, message: SipRequest | SipResponse) -> bool:
        """The answer to our offer, and whether we connect.

        :raises RemoteProtocolError: it does not let us send.
        """
        answer = read_description(message)
        if answer is None or answer.tls != session.msrp.tls or answer.media.direction not in ("recvonly", "sendrecv"):
            raise RemoteProtocolError("the answer does not let us send", 488)
        session.take_description(answer.media)
        return active_after(answer)

    # -- push -----------------------------------------------------------------------------------------------------

    def on_reachable(self, user: str) -> None:
        """The user has registered, and his messages are to be pushed."""
        self.pf.tasks.start(self.push(user), "push")

    async def push(self, user: str) -> None:
        """Invite the client for deferred messages; if it does not accept, everything stays deferred."""
        if user in self.holds or not self.waiting(user):
            return
        hold = Hold(self.holds, user)
        try:
            await self._invite(user, hold)
        finally:
            hold.release()

    async def _invite(self, user: str, hold: Hold) -> None:
        signalling = self.pf.signalling
        try:
            hop = hop_for(signalling.originate("OPTIONS", user))  # where any request to the user goes
        except (SipError, ValueError) as error:
            say(f"not invited: {error}", user=user)
            return
        msrp = OutgoingSession(self.pf, tls=self.pf.config.msrp.tls, host=hop.host)
        headers = [("Contact", signalling.contact(hop)), *self.invite_headers(), ("Content-Type", SDP_TYPE)]
        request = signalling.originate("INVITE", user, headers, offer_of(msrp, accept_types=(MULTIPART,)))
        session: SipSession | None = None
        try:
            call = signalling.endpoint.call(request, hop)
            response = await self._final(call)
            say(f"invited the client: {response.status}", user=user, call_id=request.call_id)
            if 200 <= response.status < 300 and call.dialog is not None:
                session = delivery = DeliverySession(self.pf, call.dialog, user, msrp, hold)
                await call.ack()
                active = self._late_answer(delivery, response)
                await self.run(delivery, active=active)
        except (SipError, ProtocolError) as error:
            say(f"push failed: {error}", user=user, call_id=request.call_id)
            if session is not None:
                await session.bye()
        finally:
            msrp.release()

    def invite_headers(self) -> list[tuple[str, str]]:
        """What the PF's INVITE says beside its SDP: whom to ring (RFC 3841 9.2)."""
        return [("Accept-Contact", f'*;+g.3gpp.icsi-ref="{ICSI}"'), ("Allow", "INVITE, ACK, CANCEL, BYE, OPTIONS")]

    async def _final(self, call: Call) -> SipResponse:
        """The final response; a client that rings too long is cancelled (RFC 3261 9.1)."""
        self._calls.add(call)
        try:
            async with asyncio.timeout(RING):
                return await call.response()
        except TimeoutError:
            await call.cancel()
            return await call.response()
        finally:
            self._calls.discard(call)

    async def cancel_calls(self) -> None:
        """The server stops: cancel what still rings."""
        await asyncio.gather(*(call.cancel() for call in self._calls))
