"""Deferred CPM Message Delivery (8.3.2.4.3): one MSRP message for each deferred message, then BYE."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from cpmspec.protocol.msrp_sender import BytesContent, Content, Outcome, OutgoingMessage
from cpmspec.reference.establishment import DeliverySession, Establishment
from cpmspec.reference.log import say
from cpmspec.reference.store import DeferredMessage, StoreError
from cpmspec.wire.msrp import new_message_id

AT_ONCE = 16
"""Messages of one session that are under way at the same time."""


class Delivery(Establishment):
    """The procedure, step by step; each step is a method."""

    async def run(self, session: DeliverySession, *, active: bool) -> None:
        """The clause: send all deferred messages (steps 1, 2), then BYE (step 3); what failed stays (step 4)."""
        self.sessions.add(session)
        try:
            if await self.connect(session, active=active):
                await self.send_all(session)
            session.hold.release()
            await self.conclude(session)
        finally:
            self.release(session)
        self.pf.notification.on_session_ended(session.user)

    async def connect(self, session: DeliverySession, *, active: bool) -> bool:
        """Make the MSRP connection, or wait for the client's first request (RFC 4975 5.4); tells whether it stands."""
        timer = self.pf.config.msrp.response_timer
        try:
            async with asyncio.timeout(timer):
                if active:
                    await session.msrp.connect()
                else:
                    await self._either(session.msrp.bound, session.over)
        except OSError as error:  # TimeoutError included
            say(f"no MSRP connection: {error}", user=session.user, call_id=session.call_id)
        if not session.msrp.bound.is_set() or session.stopped:
            return False
        session.msrp.begin()
        self.pf.tasks.start(self._watch(session), "session watch")
        return True

    async def send_all(self, session: DeliverySession) -> None:
        """Step 1: an MSRP message for each deferred message, oldest first, until every outcome is known.

        What the client's SDP forbids is left deferred; what arrives meanwhile goes along.
        """
        while True:
            await self._send_more(session)
            if not session.pending:
                return
            await self.settle(session, await session.msrp.outcome())

    async def _send_more(self, session: DeliverySession) -> None:
        while not session.stopped and len(session.pending) < AT_ONCE:
            if not session.backlog:
                fresh = (message for message in self.waiting(session.user) if message.id not in session.attempted)
                session.backlog.extend(message for message in fresh if self.allowed(message, session.media))
            if not session.backlog:
                return
            message = session.backlog.popleft()
            session.attempted.add(message.id)
            await self.send(session, message)

    async def send(self, session: DeliverySession, message: DeferredMessage) -> None:
        """Steps 1 and 2: one SEND (or a series of chunks) with one deferred message."""
        content_type, body = self.compose(message)
        self.submit(session, [message], content_type, body)

    def submit(
        self, session: DeliverySession, messages: Sequence[DeferredMessage], content_type: str, body: Content | bytes
    ) -> None:
        """Hand a body to the MSRP sender; its outcome is that of ``messages``."""
        content = BytesContent(body) if isinstance(body, bytes) else body
        report = self.pf.config.msrp.success_report
        outgoing = OutgoingMessage(new_message_id(), content_type, content, report)
        if session.msrp.submit(outgoing):
            session.pending[outgoing.message_id] = tuple(messages)

    async def conclude(self, session: DeliverySession) -> None:
        """Step 3: a BYE to the SIP/IP core, by the dialog's route set; none if the client's came first."""
        await session.bye()

    def release(self, session: DeliverySession) -> None:
        """Give back what the session held."""
        session.msrp.release()
        self.sessions.discard(session)

    # -- what became of a message ---------------------------------------------------------------------------------

    async def settle(self, session: DeliverySession, outcome: Outcome) -> None:
        """Take the outcome of a message."""
        for message in session.pending.pop(outcome.message_id, ()):
            try:
                if outcome.delivered:
                    await self.settle_delivered(session, message)
                else:
                    await self.settle_failed(session, message, outcome)
            except StoreError as error:
                say(f"outcome not stored: {error}", user=message.user, call_id=session.call_id)

    async def settle_delivered(self, session: DeliverySession, message: DeferredMessage) -> None:
        """It was delivered: it waits no more, and is recorded if the user's setting says so (last paragraph)."""
        record = self.wants_history(message)
        await self.pf.store.delivered(message, record=record)
        say("message delivered", user=message.user, call_id=session.call_id)
        if record:
            self.pf.history.wake(message.user)

    async def settle_failed(self, session: DeliverySession, message: DeferredMessage, outcome: Outcome) -> None:
        """Step 4: what was not delivered is left deferred, for the next notification."""
        say(f"message left deferred: {outcome.reason}", user=message.user, call_id=session.call_id)

    def wants_history(self, message: DeferredMessage) -> bool:
        """The user's history recording setting, now that the message has been delivered."""
        return self.pf.history.wanted(message.user)

    async def record(self, message: DeferredMessage) -> None:
        """Have a message recorded (8.6), whatever else happens to it."""
        await self.pf.store.record(message)
        self.pf.history.wake(message.user)

    # -- helpers --------------------------------------------------------------------------------------------------

    async def _watch(self, session: DeliverySession) -> None:
        """The client's BYE ends the sending at once (RFC 3261 15.1.2)."""
        await self._either(session.over, session.msrp.stopped)
        if session.over.is_set():
            session.msrp.stop("the client ended the session")

    @staticmethod
    async def _either(first: asyncio.Event, second: asyncio.Event) -> None:
        waits = [asyncio.ensure_future(first.wait()), asyncio.ensure_future(second.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def close(self) -> None:
        """Release all sessions: what has no outcome stays deferred."""
        await self.cancel_calls()
        for session in list(self.sessions):
            session.msrp.stop("the server stops")
        await asyncio.gather(*(self.conclude(session) for session in list(self.sessions)))
