"""The MSRP side of a large message coming in (8.3.2.3, RFC 4975 7.3): chunks into drafts, answers once it is safe."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from cpmspec.protocol.msrp_receiver import MessageComplete, ReceiverEvent, Reply
from cpmspec.reference.log import say
from cpmspec.reference.media import MsrpSession
from cpmspec.reference.store import Draft, StoreError
from cpmspec.wire.msrp import MsrpHead, build_request, new_message_id, new_transaction_id

if TYPE_CHECKING:
    from cpmspec.reference.deferral import Deferral
    from cpmspec.reference.pf import Pf
    from cpmspec.wire.sip import SipRequest

DRAIN_EVERY = 1_048_576
"""Octets after which the peer waits until the store has caught up: the bound on memory of one session."""
BYE_AFTER_LOSS = 5.0
"""Seconds that an originator whose connection is gone has for his BYE."""


@dataclass(frozen=True, slots=True)
class ReceivedLarge:
    """A complete MSRP message: the INVITE of its session, the head of its first SEND, its content in a draft.

    ``received`` is when its last chunk came, seconds since the epoch; ``size`` counts octets.
    """

    user: str
    invite: SipRequest
    head: MsrpHead
    draft: Draft
    size: int
    received: float


@dataclass(frozen=True, slots=True)
class DraftSink:
    """A draft as the sink of an MSRP message."""

    draft: Draft
    open: set[Draft]

    def write(self, offset: int, octets: bytes) -> None:
        """Octets of the message, from ``offset``."""
        self.draft.write(offset, octets)

    def close(self) -> None:
        """The message is complete; it is committed by who is told so."""

    def abort(self) -> None:
        """The message will never be complete."""
        self.open.discard(self.draft)
        self.draft.discard()


class LargeSession(MsrpSession):
    """Takes the messages of one originator's session. Answers leave in the order of what they answer.

    A message is committed before the 200 of its last chunk; if it cannot be, that chunk is refused with 413, which
    stops its sender (RFC 4975 10.5).
    """

    def __init__(self, pf: Pf, user: str, deferral: Deferral, invite: SipRequest, *, tls: bool, host: str) -> None:
        super().__init__(pf, tls=tls, host=host)
        self._drafts: set[Draft] = set()
        self.user = user
        self._deferral = deferral
        self._invite = invite
        self._receiver = pf.parts.msrp_receiver(
            (self.uri,), open_sink=self._open_sink, max_size=pf.config.msrp.max_size
        )
        self._work: asyncio.Queue[bytes | tuple[MessageComplete, float] | None] = asyncio.Queue()
        self._worker: asyncio.Task[None] | None = None
        self._undrained = 0
        self._active_at = asyncio.get_running_loop().time()

    def on_begin(self, head: MsrpHead) -> None:
        """A SEND begins."""
        self._active_at = asyncio.get_running_loop().time()
        self._take(self._receiver.begin(head))

    def on_data(self, octets: bytes) -> None:
        """Octets of its body."""
        self._take(self._receiver.data(octets))
        self._undrained += len(octets)
        if self._undrained > DRAIN_EVERY and self.connection is not None:
            self._undrained = 0
            self.connection.pause_reading()
            self._do(None)

    def on_end(self, flag: str) -> None:
        """The SEND is complete."""
        self._take(self._receiver.end(flag))

    def bind_empty(self) -> None:
        """As the active side, say at once who we are: a SEND without a body (RFC 4975 5.4, RFC 6135 4.2.2)."""
        headers = [("Message-ID", new_message_id()), ("Byte-Range", "1-0/0")]
        self.write(build_request("SEND", new_transaction_id(), self.peer_path, (self.uri,), headers, None))

    async def until_over(self, over: asyncio.Event, idle: float) -> None:
        """Wait for the end: the peer's BYE, the loss of the connection and no BYE, or ``idle`` seconds of nothing."""
        loop = asyncio.get_running_loop()
        ends = [asyncio.ensure_future(over.wait()), asyncio.ensure_future(self.lost.wait())]
        try:
            while not over.is_set() and not self.lost.is_set():
                left = self._active_at + idle - loop.time()
                if left <= 0:
                    return
                await asyncio.wait(ends, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            if not over.is_set():
                await asyncio.wait(ends[:1], timeout=BYE_AFTER_LOSS)
        finally:
            for end in ends:
                end.cancel()

    async def finish(self) -> None:
        """Finish what is complete, forget what is not."""
        if self._worker is not None:
            await self._work.join()
            self._worker.cancel()
        self._receiver.close("the session is over")
        self.release()

    def _take(self, events: list[ReceiverEvent]) -> None:
        for event in events:
            if isinstance(event, Reply):
                self._do(event.octets)
            elif isinstance(event, MessageComplete):
                self._do((event, self.pf.now()))

    def _do(self, item: bytes | tuple[MessageComplete, float] | None) -> None:
        """Queue an answer, a complete message, or (``None``) the wish to read on when the store has caught up."""
        self._work.put_nowait(item)
        if self._worker is None:
            self._worker = self.pf.tasks.start(self._run(), "large message")

    async def _run(self) -> None:
        while True:
            item = await self._work.get()
            try:
                if item is None:
                    await self._catch_up()
                elif isinstance(item, bytes):
                    self.write(item)
                else:
                    await self._keep(*item)
            finally:
                self._work.task_done()

    async def _catch_up(self) -> None:
        try:
            await asyncio.gather(*(draft.drain() for draft in self._drafts))
        except StoreError as error:
            say(f"large message not stored: {error}", user=self.user)
        if self.connection is not None:
            self.connection.resume_reading()

    async def _keep(self, complete: MessageComplete, received: float) -> None:
        """Make a complete message durable, then answer its last chunk."""
        draft = cast("DraftSink", complete.sink).draft
        self._drafts.discard(draft)
        try:
            large = ReceivedLarge(self.user, self._invite, complete.head, draft, complete.size, received)
            await self._deferral.defer_large(large)
        except StoreError as error:
            say(f"large message not stored: {error}", user=self.user, call_id=self._invite.call_id)
            draft.discard()
            self._receiver.forget(complete.message_id)
            answers = complete.refused(413)
        else:
            answers = complete.answers
        for octets in answers:
            self.write(octets)

    def _open_sink(self, head: MsrpHead) -> DraftSink:
        draft = self.pf.store.draft()
        self._drafts.add(draft)
        return DraftSink(draft, self._drafts)
