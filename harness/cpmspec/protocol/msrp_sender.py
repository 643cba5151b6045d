"""The sending side of an MSRP session: chunks, pipelining, responses, REPORTs, timers (RFC 4975 7.1 and 10).

Octets and the time come in, octets and events go out; nothing here reads a clock or a socket. The owner asks for
:meth:`MsrpSender.next_octets` whenever the connection takes more, hands over every response and REPORT, and calls
:meth:`MsrpSender.tick` when :meth:`MsrpSender.deadline` has come.

Each message goes through the states of :data:`cpmspec.protocol.msrp_tables.OUTGOING_ROWS`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from cpmspec.protocol.errors import LocalProtocolError
from cpmspec.protocol.msrp_outgoing import (
    BytesContent,
    ChunkAnswered,
    Content,
    Outcome,
    OutgoingMessage,
    SenderEvent,
    Stopped,
)
from cpmspec.protocol.msrp_tables import OUTGOING, SCOPES, Out, OutDo, OutEvent, Scope, event_of
from cpmspec.protocol.ranges import Ranges
from cpmspec.wire.headers import encode
from cpmspec.wire.msrp import (
    HYPHENS,
    ByteRange,
    MsrpFrame,
    MsrpHead,
    build_end,
    build_head,
    build_request,
    new_message_id,
    new_transaction_id,
)

__all__ = [
    "CHUNK_SIZE", "PIECE", "RESPONSE_TIMEOUT", "SCOPES", "BytesContent", "ChunkAnswered", "Content", "MsrpSender",
    "Outcome", "OutgoingMessage", "Scope", "SenderEvent", "Stopped",
]  # fmt: skip

CHUNK_SIZE: Final = 2048  #: octets: no chunk but the last should be smaller, a larger one is interruptible (7.1.1)
PIECE: Final = 65_536  #: octets of body in one result of :meth:`MsrpSender.next_octets`
RESPONSE_TIMEOUT: Final = 30.0  #: seconds after the last octet of a chunk (RFC 4975 7.1.1)

# the flag of the end-line that a row begins with
_FLAGS: Final = {OutDo.END_MORE: "+", OutDo.END_LAST: "$", OutDo.END_ABORT: "#"}


@dataclass(slots=True, eq=False)
class _Message:
    outgoing: OutgoingMessage
    size: int
    state: Out = Out.QUEUED
    sent: int = 0  # octets handed out
    open: int = 0  # chunks without an outcome
    reported: Ranges = field(default_factory=Ranges)
    any_report: bool = False
    report_deadline: float | None = None
    answered: bool = False
    template: _Template | None = None

    @property
    def covered(self) -> bool:
        """Whether success REPORTs cover every octet (7.1.3)."""
        return self.reported.covers(0, self.size) if self.size else self.any_report


@dataclass(frozen=True, slots=True)
class _Template:
    """The head of a chunk without what differs in the next: the transaction identifier and the Byte-Range."""

    headers: list[tuple[str, str]]
    before: bytes
    after: bytes


@dataclass(slots=True)
class _Chunk:
    message_id: str
    first: int
    last: int
    deadline: float
    message: _Message | None  # None: the SEND without a body that binds the connection


@dataclass(slots=True)
class _Open:
    """The chunk of which the head was handed out and the end-line was not."""

    message: _Message
    transaction_id: str
    first: int
    end: int  # how far it goes, octets of the message
    tail: bytes  # the last octets handed out: a collision may begin in them


class MsrpSender:
    """Sends messages one after the other, chunks pipelined up to ``window`` of them without an answer.

    ``chunk_size`` ``None`` sends each message in one chunk. Chunks of more than 2048 octets have a range-end of ``*``
    and can be ended early by :meth:`interrupt`; those of more than ``PIECE`` octets come out in several pieces.
    """

    def __init__(
        self, to_path: Sequence[str], from_path: Sequence[str], *, chunk_size: int | None = CHUNK_SIZE, window: int = 8,
        response_timeout: float = RESPONSE_TIMEOUT,
    ) -> None:  # fmt: skip
        if window < 1 or (chunk_size is not None and chunk_size < 1):
            raise ValueError(f"window {window} and chunk_size {chunk_size} must be at least 1")
        self._to_path = tuple(to_path)
        self._from_path = tuple(from_path)
        self._chunk_size = chunk_size
        self._window = window
        self._timeout = response_timeout
        self._messages: dict[str, _Message] = {}  # those without an outcome
        self._queue: list[_Message] = []  # those of which octets are left, in the order of sending
        self._chunks: dict[str, _Chunk] = {}  # those without an outcome, by transaction identifier
        self._waiting = 0  # how many of the chunks a response of 200 is waited for
        self._open: _Open | None = None
        self._binding = False
        self._stopped = False

    @property
    def idle(self) -> bool:
        """Whether every message has its outcome and no chunk is open."""
        return not self._messages and self._open is None

    @property
    def stopped(self) -> bool:
        """Whether nothing more may be sent."""
        return self._stopped

    @property
    def in_chunk(self) -> bool:
        """Whether a chunk is open on the wire: nothing else may be written before its end-line."""
        return self._open is not None

    @property
    def pending(self) -> tuple[str, ...]:
        """The Message-IDs without an outcome, in the order in which they were submitted."""
        return tuple(self._messages)

    def bind(self) -> None:
        """First send a SEND without a body: it binds the connection to the session (RFC 4975 5.4, RFC 6135 4.2.2)."""
        self._binding = True

    def submit(self, message: OutgoingMessage) -> None:
        """Queue a message behind those of the same or a higher priority.

        :raises LocalProtocolError: the session was stopped, or that Message-ID is still without an outcome.
        """
        if self._stopped:
            raise LocalProtocolError("the session was stopped: nothing more may be sent in it")
        if message.message_id in self._messages:
            raise LocalProtocolError(f"Message-ID {message.message_id} is being sent")
        new = self._messages[message.message_id] = _Message(message, message.content.size)
        behind = sum(other.outgoing.priority >= message.priority for other in self._queue)
        self._queue.insert(behind, new)
        if self._open is not None and self._open.message.outgoing.priority < message.priority:
            self.interrupt()

    def next_octets(self, now: float) -> bytes | None:
        """The next octets to write, or ``None`` if there are none or the window is full.

        :raises LocalProtocolError: a content ended before its size.
        """
        if self._open is not None:
            return self._go_on(self._open, now)
        if self._stopped:
            return None
        if self._binding:
            return self._bind(now)
        return self._begin(self._queue[0], now) if self._queue and self._waiting < self._window else None

    def interrupt(self) -> None:
        """End the open chunk with the next octets: for when a response or a REPORT has to go out (RFC 4975 7.1.1).

        A chunk of at most 2048 octets goes on: its head has told where it ends.
        """
        if self._open is not None and self._open.end - self._open.first >= CHUNK_SIZE:
            self._enter(self._open.message, OutEvent.INTERRUPT)

    def receive(self, frame: MsrpFrame | MsrpHead, now: float) -> list[SenderEvent]:
        """Take a response or a REPORT; what belongs to no message of ours is ignored (RFC 4975 7.1.1)."""
        if frame.method == "REPORT":
            return list(self._report(frame, now))
        if frame.status is None:
            return []
        chunk = self._forget(frame.transaction_id)
        return [] if chunk is None else list(self._answer(chunk, frame.status, now))

    def tick(self, now: float) -> list[SenderEvent]:
        """The time is ``now``: what that decides."""
        events: list[SenderEvent] = []
        for transaction_id in [key for key, chunk in self._chunks.items() if chunk.deadline <= now]:
            chunk = self._forget(transaction_id)
            if chunk is None or chunk.message is None:
                continue
            if chunk.message.outgoing.wants_response:
                reason = f"no response within {self._timeout:g} s"
                events += self._fire(chunk.message, OutEvent.NO_RESPONSE, now, reason=reason)
            else:
                events += self._settle(chunk.message, now)
        for message in list(self._messages.values()):
            if message.report_deadline is not None and message.report_deadline <= now:
                reason = f"no success REPORT for all octets within {self._timeout:g} s"
                events += self._fire(message, OutEvent.NO_REPORT, now, reason=reason)
        return events

    def deadline(self) -> float | None:
        """When :meth:`tick` is due next."""
        times = [chunk.deadline for chunk in self._chunks.values()]
        times += [message.report_deadline for message in self._messages.values() if message.report_deadline is not None]
        return min(times, default=None)

    def fail_all(self, reason: str) -> list[SenderEvent]:
        """The connection or the session is gone: no message without an outcome was delivered (RFC 4975 5.4)."""
        left = list(self._messages.values())
        if self._open is not None and self._open.message not in left:
            left.append(self._open.message)  # it failed before, and its chunk cannot be ended any more
        self._stopped, self._open = True, None
        events = [event for message in left for event in self._fire(message, OutEvent.LOST, 0.0, reason=reason)]
        self._chunks.clear()
        self._waiting = 0
        return events

    def headers(self, message: OutgoingMessage, span: ByteRange) -> list[tuple[str, str]]:
        """The headers of a chunk between the paths and Content-Type: all but Byte-Range are the same in each."""
        headers = [("Message-ID", message.message_id), ("Byte-Range", str(span))]
        if message.success_report:
            headers.append(("Success-Report", "yes"))
        if message.failure_report is not None:
            headers.append(("Failure-Report", message.failure_report))
        return [*headers, *message.headers]

    def _bind(self, now: float) -> bytes:
        self._binding = False
        transaction_id, message_id = new_transaction_id(), new_message_id()
        self._chunks[transaction_id] = _Chunk(message_id, 1, 0, now + self._timeout, None)
        headers = [("Message-ID", message_id), ("Byte-Range", "1-0/0")]
        return build_request("SEND", transaction_id, self._to_path, self._from_path, headers, None)

    def _begin(self, message: _Message, now: float) -> bytes:
        """The head of the next chunk of a message, and what goes with it."""
        at, left = message.sent, message.size - message.sent
        size = min(self._chunk_size or left, left)
        piece = self._read(message, min(size, PIECE))
        transaction_id = new_transaction_id(piece)
        span = ByteRange(at + 1, None if size > CHUNK_SIZE else at + size, message.size)
        head = self._head(message, transaction_id, span)
        self._enter(message, OutEvent.CHUNK)
        message.sent += len(piece)
        self._open = _Open(message, transaction_id, at + 1, at + size, piece[-len(HYPHENS) - len(transaction_id) :])
        end = self._end(self._open, now) if len(piece) == size else b""
        return b"".join((head, piece, end))

    def _head(self, message: _Message, transaction_id: str, span: ByteRange) -> bytes:
        """The head of a chunk: the strict builder makes the first, the others repeat its octets."""
        headers, known, value = self.headers(message.outgoing, span), message.template, ""
        rest = []
        for header in headers:
            if header[0] == "Byte-Range":
                value = header[1]
            else:
                rest.append(header)
        if known is not None and known.headers == rest:
            return b"".join((b"MSRP ", encode(transaction_id), known.before, encode(value), known.after))
        head = build_head(
            "SEND", transaction_id, self._to_path, self._from_path, headers,
            content_type=message.outgoing.content_type, has_body=True,
        )  # fmt: skip
        line = encode(f"\r\nByte-Range: {value}\r\n")
        if value == str(span) and head.count(line) == 1:
            before, _, after = head[len(f"MSRP {transaction_id}") :].partition(line)
            message.template = _Template(rest, before + b"\r\nByte-Range: ", b"\r\n" + after)
        return head

    def _read(self, message: _Message, count: int) -> bytes:
        """The next octets of a message."""
        piece = message.outgoing.content.read(message.sent, count)
        if len(piece) != count:
            raise LocalProtocolError(f"the content of {message.outgoing.message_id} ended before its size")
        return piece

    def _go_on(self, chunk: _Open, now: float) -> bytes:
        """More octets of the open chunk, its end-line with the last of them."""
        message = chunk.message
        if message.state is not Out.SENDING:
            return self._end(chunk, now)
        piece = self._read(message, min(chunk.end - message.sent, PIECE))
        marker = HYPHENS + encode(chunk.transaction_id)
        if marker in chunk.tail + piece:
            self._enter(message, OutEvent.INTERRUPT)  # 7.1: the next chunk has another identifier
            return self._end(chunk, now)
        message.sent += len(piece)
        chunk.tail = (chunk.tail + piece)[-len(marker) :]
        return piece + self._end(chunk, now) if message.sent == chunk.end else piece

    def _end(self, chunk: _Open, now: float) -> bytes:
        """The end-line of the open chunk; a response is waited for unless the chunk breaks the message off."""
        message, self._open = chunk.message, None
        last = message.state is Out.SENDING and message.sent == message.size
        actions = self._enter(message, OutEvent.LAST_OCTET if last else OutEvent.CHUNK_END)
        if last:
            self._queue.remove(message)
        # 7.1.4: with Failure-Report no there are no responses, and only the end of the message is to be remembered
        if OutDo.RESPONSE_TIMER in actions and (last or message.outgoing.failure_report != "no"):
            wait = 0.0 if message.outgoing.failure_report == "no" else self._timeout
            message.open += 1
            self._waiting += message.outgoing.wants_response
            self._chunks[chunk.transaction_id] = _Chunk(
                message.outgoing.message_id, chunk.first, message.sent, now + wait, message
            )
        return build_end(chunk.transaction_id, _FLAGS[actions[0]], has_body=True)

    def _forget(self, transaction_id: str) -> _Chunk | None:
        """Take a chunk out of those without an outcome."""
        chunk = self._chunks.pop(transaction_id, None)
        if chunk is not None and chunk.message is not None:
            chunk.message.open -= 1
            self._waiting -= chunk.message.outgoing.wants_response
        return chunk

    def _answer(self, chunk: _Chunk, status: int, now: float) -> Iterator[SenderEvent]:
        yield ChunkAnswered(chunk.message_id, status, chunk.first, chunk.last)
        if chunk.message is not None:
            chunk.message.answered = True
        if status != 200:
            yield from self._refused(chunk.message, status, now)
        elif chunk.message is not None:
            yield from self._settle(chunk.message, now)

    def _report(self, frame: MsrpFrame | MsrpHead, now: float) -> Iterator[SenderEvent]:
        """A REPORT: code N of namespace 000 means what a response of N means (RFC 4975 7.3.2)."""
        message, status = self._messages.get(frame.message_id or ""), frame.status_header
        if message is None or message.state is Out.QUEUED or status is None or status[0] != "000":
            return
        if status[1] != 200:
            yield from self._refused(message, status[1], now)
            return
        span = frame.byte_range
        message.any_report = True
        if span is None:
            message.reported.add(0, message.size)
        else:
            message.reported.add(span.start - 1, min(message.size if span.end is None else span.end, message.size))
        yield from self._settle(message, now)

    def _refused(self, message: _Message | None, status: int, now: float) -> Iterator[SenderEvent]:
        """A code other than 200; without a message it answers the SEND that was to bind the connection."""
        if message is not None:
            yield from self._fire(message, event_of(status), now, status=status, reason=f"refused with {status}")
        elif SCOPES.get(status) is Scope.SESSION:
            yield from self._stop(status, now)

    def _settle(self, message: _Message, now: float) -> Iterator[SenderEvent]:
        """Every chunk that was sent may have its outcome now, or every octet its REPORT."""
        if not message.open:
            missing = message.outgoing.success_report and not message.covered
            yield from self._fire(message, OutEvent.UNREPORTED if missing else OutEvent.SETTLED, now)

    def _stop(self, status: int, now: float) -> Iterator[SenderEvent]:
        if self._stopped:
            return
        self._stopped = True
        yield Stopped(status)
        # what is on the wire completely may still be answered 200: its outcome is that answer, or the timer
        for message in list(self._messages.values()):
            yield from self._fire(message, OutEvent.STOPPED, now, reason=f"the session was stopped by {status}")

    def _enter(self, message: _Message, event: OutEvent) -> tuple[OutDo, ...]:
        """Apply the row of an event; without a row nothing happens."""
        row = OUTGOING.get((message.state, event))
        if row is None:
            return ()
        message.state = row.next
        return row.actions

    def _fire(
        self, message: _Message, event: OutEvent, now: float, *, status: int | None = None, reason: str = ""
    ) -> Iterator[SenderEvent]:
        """Apply the row of an event that comes from outside."""
        message_id = message.outgoing.message_id
        for action in self._enter(message, event):
            if action is OutDo.TELL_DELIVERED:
                del self._messages[message_id]
                yield Outcome(message_id, True, 200 if message.answered or message.any_report else None)
            elif action is OutDo.TELL_FAILED:
                self._drop(message)
                yield Outcome(message_id, False, status, reason)
            elif action is OutDo.STOP_SESSION:
                yield from self._stop(status or 0, now)
            else:  # OutDo.REPORT_TIMER
                message.report_deadline = now + self._timeout

    def _drop(self, message: _Message) -> None:
        """No more of a message; late answers to its chunks mean nothing."""
        del self._messages[message.outgoing.message_id]
        if message in self._queue:
            self._queue.remove(message)
        for transaction_id in [key for key, chunk in self._chunks.items() if chunk.message is message]:
            self._forget(transaction_id)
