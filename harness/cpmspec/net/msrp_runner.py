"""Runs the sending and the receiving side of one MSRP session on its connection (RFC 4975 7).

Nothing is read from a content while the peer does not take octets, and nothing is read from the connection while the
sinks are behind: what is in memory is bounded in both directions, whatever the size of the messages.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

from cpmspec.net.msrp import MsrpConnection
from cpmspec.protocol.errors import LocalProtocolError
from cpmspec.protocol.msrp_receiver import ForSender, MsrpReceiver, ReceiverEvent, Reply
from cpmspec.protocol.msrp_sender import MsrpSender, OutgoingMessage, SenderEvent
from cpmspec.wire.msrp import FrameData, MsrpEvent

#: octets that are collected from the sender for one write: short chunks share it
BATCH: Final = 65_536
#: octets that are written before the event loop gets its turn
TURN: Final = 1_048_576
#: octets of answers that a peer may leave untaken before nothing more is read from him
MAX_UNSENT: Final = 1_048_576
#: octets of content after which the sinks are waited for
DRAIN_EVERY: Final = 1_048_576

#: told what becomes of messages, in order
Tell: TypeAlias = Callable[[SenderEvent | ReceiverEvent], None]


class MsrpRunner:
    """A session on a connection that is bound to it, or will be by the first SEND.

    ``tell`` hears all events but those that the runner deals with itself (:class:`Reply`, :class:`ForSender`). The
    answers of a complete message are given to :meth:`answer` by who hears of it, once it is safe. ``drain`` waits until
    the sinks have caught up.
    """

    def __init__(
        self, connection: MsrpConnection, sender: MsrpSender, receiver: MsrpReceiver, tell: Tell,
        *, drain: Callable[[], Awaitable[None]] | None = None,
    ) -> None:  # fmt: skip
        self.connection = connection
        self._sender = sender
        self._receiver = receiver
        self._tell = tell
        self._drain = drain
        self._undrained = 0
        self._draining: asyncio.Task[None] | None = None
        self._crowded = False  # the peer does not take our answers
        self._answers: list[bytes] = []
        self._timer: asyncio.TimerHandle | None = None
        self._again: asyncio.Handle | None = None
        self._loop = asyncio.get_running_loop()
        self._ended = False
        connection.on_writable = self._on_writable
        connection.on_close = self._on_close
        connection.on_event = self._on_event

    def submit(self, message: OutgoingMessage) -> None:
        """Queue a message.

        :raises LocalProtocolError: as :meth:`MsrpSender.submit`.
        """
        self._sender.submit(message)
        self._pump()

    def answer(self, *octets: bytes) -> None:
        """Write responses or REPORTs: now, or when the open chunk was interrupted for them (RFC 4975 7.1.1)."""
        if self._sender.in_chunk:
            self._sender.interrupt()
            self._answers += octets
            self._pump()
            return
        if self.connection.is_open:
            for item in octets:
                self.connection.write(item)
            if self.connection.unsent > MAX_UNSENT:
                self._check_reading()

    def close(self) -> None:
        """Send nothing more; what has no outcome was not delivered. The connection is closed in order."""
        self._end("the session is over")
        self.connection.close()

    def _on_event(self, event: MsrpEvent) -> None:
        for item in self._receiver.receive(event):
            if isinstance(item, Reply):
                self.answer(item.octets)
            elif isinstance(item, ForSender):
                self._tell_all(self._sender.receive(item.head, self._loop.time()))
                self._pump_soon()
            else:
                self._tell(item)
        if self._drain is not None and isinstance(event, FrameData):
            self._undrained += len(event.octets)
            if self._undrained > DRAIN_EVERY and self._draining is None:
                self._draining = self._loop.create_task(self._catch_up(self._drain))
                self._check_reading()

    async def _catch_up(self, drain: Callable[[], Awaitable[None]]) -> None:
        try:
            await drain()
        finally:
            self._undrained, self._draining = 0, None
            self._check_reading()

    def _check_reading(self) -> None:
        """Read on, or not: while the sinks are behind, or the peer leaves our answers where they are."""
        self._crowded = self.connection.unsent > MAX_UNSENT
        if self._crowded or self._draining is not None:
            self.connection.pause_reading()
        else:
            self.connection.resume_reading()

    def _on_writable(self) -> None:
        if self._crowded:
            self._check_reading()
        self._pump()

    def _on_close(self, reason: Exception | None) -> None:
        self._end("the connection was lost" if reason is None else str(reason))

    def _end(self, reason: str) -> None:
        if self._ended:
            return
        self._ended = True
        for handle in (self._timer, self._again):
            if handle is not None:
                handle.cancel()
        if self._draining is not None:
            self._draining.cancel()
        self._tell_all([*self._sender.fail_all(reason), *self._receiver.close(reason)])

    def _pump_soon(self) -> None:
        """Send on after the other events that came with this one: several answers are one turn of the window."""
        if self._again is None and not self._ended:
            self._again = self._loop.call_soon(self._pump)

    def _pump(self) -> None:
        """Write what the sender has as long as the peer takes it."""
        if self._again is not None:
            self._again.cancel()
            self._again = None
        written = 0
        while not self._ended and not self.connection.blocked and self.connection.is_open:
            try:
                octets = self._collect()
            except LocalProtocolError as error:
                self._end(str(error))
                self.connection.abort()
                return
            if not octets:
                break
            self.connection.write(octets)
            written += len(octets)
            if written >= TURN:
                self._pump_soon()
                break
        self._arm()

    def _collect(self) -> bytes:
        """Octets for one write: chunks, and the answers that waited for a chunk to end."""
        now, size, batch = self._loop.time(), 0, []
        while size < BATCH and (octets := self._sender.next_octets(now)) is not None:
            batch.append(octets)
            size += len(octets)
            if self._answers and not self._sender.in_chunk:
                batch += self._answers
                self._answers = []
        return batch[0] if len(batch) == 1 else b"".join(batch)

    def _arm(self) -> None:
        """Have the sender told when its next time has come; a timer that comes early looks again."""
        if self._timer is None and not self._ended and (due := self._sender.deadline()) is not None:
            self._timer = self._loop.call_at(due, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self._tell_all(self._sender.tick(self._loop.time()))
        self._pump()

    def _tell_all(self, events: list[SenderEvent] | list[ReceiverEvent] | list[SenderEvent | ReceiverEvent]) -> None:
        for event in events:
            self._tell(event)
