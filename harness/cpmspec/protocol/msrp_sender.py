"""The sending side of an MSRP session: chunks, pipelining, responses, REPORTs, timers (RFC 4975 7.1 and 10).

Octets and the time come in, octets and events go out; nothing here reads a clock or a socket. The owner asks for
:meth:`MsrpSender.next_octets` whenever the connection takes more, hands over every response and REPORT, and calls
:meth:`MsrpSender.tick` when :meth:`MsrpSender.deadline` has come.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, Protocol, TypeAlias

from cpmspec.protocol.errors import LocalProtocolError
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

CHUNK_SIZE: Final = 2048  #: octets: no chunk but the last should be smaller, a larger one is interruptible (7.1.1)
PIECE: Final = 65_536  #: octets of body in one result of :meth:`MsrpSender.next_octets`
RESPONSE_TIMEOUT: Final = 30.0  #: seconds after the last octet of a chunk (RFC 4975 7.1.1)


class Content(Protocol):
    """The octets of a message, read piece by piece."""

    @property
    def size(self) -> int:
        """All octets there are."""
        ...

    def read(self, offset: int, count: int) -> bytes:
        """``count`` octets from ``offset`` (from 0); fewer only at the end."""
        ...


@dataclass(frozen=True, slots=True)
class BytesContent:
    """Content that is in memory."""

    octets: bytes

    @property
    def size(self) -> int:
        """All octets there are."""
        return len(self.octets)

    def read(self, offset: int, count: int) -> bytes:
        """``count`` octets from ``offset``."""
        return self.octets[offset : offset + count]


@dataclass(frozen=True, slots=True)
class OutgoingMessage:
    """A message to send. ``failure_report`` ``None`` leaves the header out, which means ``yes`` (RFC 4975 7.1.1)."""

    message_id: str
    content_type: str
    content: Content
    success_report: bool = False
    failure_report: str | None = None
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class ChunkAnswered:
    """The response to one chunk: its octets are ``first`` to ``last``, from 1."""

    message_id: str
    status: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a message; told once. ``status`` is the code that decided it, ``None`` if none did."""

    message_id: str
    delivered: bool
    status: int | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Stopped:
    """Nothing more may be sent in the session because of ``status``; what is not sent completely has failed.

    Messages that were sent completely still wait for their answers.
    """

    status: int


SenderEvent: TypeAlias = ChunkAnswered | Outcome | Stopped


class Scope(Enum):
    """How far a failure reaches."""

    MESSAGE = "this message"
    SESSION = "all messages of the session"


# response code -> how far it reaches (the clause says what the sender does); any other code but 200: Scope.MESSAGE
SCOPES: Final[dict[int, Scope]] = {
    400: Scope.MESSAGE,  # 10.2: a corrected request may be tried
    403: Scope.MESSAGE,  # 10.3: this request is not tried again
    408: Scope.MESSAGE,  # 10.4: as if the transaction had timed out
    413: Scope.MESSAGE,  # 10.5: no more chunks of this message
    415: Scope.SESSION,  # 10.6: nothing more of this type; all deferred messages have the same type
    423: Scope.MESSAGE,  # 10.7: for AUTH at a relay
    481: Scope.SESSION,  # 10.8: the session does not exist: it is to be terminated
    501: Scope.MESSAGE,  # 10.9: the method is unknown
    506: Scope.SESSION,  # 10.10: the session is bound to another connection
}


@dataclass(slots=True)
class _Message:
    outgoing: OutgoingMessage
    sent: int = 0  # octets handed out
    complete: bool = False  # the chunk with the flag $ was handed out
    open: int = 0  # chunks without an outcome
    reported: Ranges = field(default_factory=Ranges)
    any_report: bool = False
    report_deadline: float | None = None
    answered: bool = False

    @property
    def wants_response(self) -> bool:
        """Whether a response of 200 is to be waited for: Failure-Report yes, which is the default (7.1.1)."""
        return self.outgoing.failure_report in (None, "yes")

    @property
    def covered(self) -> bool:
        """Whether success REPORTs cover every octet (7.1.3)."""
        size = self.outgoing.content.size
        return self.reported.covers(0, size) if size else self.any_report


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
    tail: bytes = b""  # the last octets handed out: a collision may begin in them
    interrupted: bool = False
    aborted: bool = False


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
        self._messages: dict[str, _Message] = {}
        self._chunks: dict[str, _Chunk] = {}
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
        """Queue a message.

        :raises LocalProtocolError: the session was stopped, or that Message-ID is still without an outcome.
        """
        if self._stopped:
            raise LocalProtocolError("the session was stopped: nothing more may be sent in it")
        if message.message_id in self._messages:
            raise LocalProtocolError(f"Message-ID {message.message_id} is being sent")
        self._messages[message.message_id] = _Message(message)

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
        waiting = sum(chunk.message is not None and chunk.message.wants_response for chunk in self._chunks.values())
        message = next((message for message in self._messages.values() if not message.complete), None)
        return None if message is None or waiting >= self._window else self._begin(message, now)

    def interrupt(self) -> None:
        """End the open chunk with the next octets: for when a response or a REPORT has to go out (RFC 4975 7.1.1)."""
        if self._open is not None:
            self._open.interrupted = True

    def receive(self, frame: MsrpFrame | MsrpHead, now: float) -> list[SenderEvent]:
        """Take a response or a REPORT; what belongs to no message of ours is ignored (RFC 4975 7.1.1)."""
        if frame.method == "REPORT":
            return list(self._report(frame, now))
        if frame.status is None:
            return []
        chunk = self._chunks.pop(frame.transaction_id, None)
        return [] if chunk is None else list(self._answer(chunk, frame.status, now))

    def tick(self, now: float) -> list[SenderEvent]:
        """The time is ``now``: what that decides."""
        events: list[SenderEvent] = []
        for transaction_id, chunk in list(self._chunks.items()):
            if chunk.deadline > now or transaction_id not in self._chunks:
                continue
            del self._chunks[transaction_id]
            if chunk.message is None:
                continue
            chunk.message.open -= 1
            if chunk.message.wants_response:
                events += self._fail(chunk.message, None, f"no response within {self._timeout:g} s")
            else:
                events += self._settle(chunk.message, now)
        for message in list(self._messages.values()):
            if message.report_deadline is not None and message.report_deadline <= now:
                events += self._fail(message, None, f"no success REPORT for all octets within {self._timeout:g} s")
        return events

    def deadline(self) -> float | None:
        """When :meth:`tick` is due next."""
        times = [chunk.deadline for chunk in self._chunks.values()]
        times += [message.report_deadline for message in self._messages.values() if message.report_deadline is not None]
        return min(times, default=None)

    def fail_all(self, reason: str) -> list[SenderEvent]:
        """The connection or the session is gone: no message without an outcome was delivered (RFC 4975 5.4)."""
        self._stopped, self._open = True, None
        events = [Outcome(message_id, False, None, reason) for message_id in self._messages]
        self._messages.clear()
        self._chunks.clear()
        return list(events)

    def _bind(self, now: float) -> bytes:
        self._binding = False
        transaction_id, message_id = new_transaction_id(), new_message_id()
        self._chunks[transaction_id] = _Chunk(message_id, 1, 0, now + self._timeout, None)
        headers = [("Message-ID", message_id), ("Byte-Range", "1-0/0")]
        return build_request("SEND", transaction_id, self._to_path, self._from_path, headers, None)

    def _begin(self, message: _Message, now: float) -> bytes:
        """The head of the next chunk of a message, and what goes with it."""
        outgoing, total = message.outgoing, message.outgoing.content.size
        size = min(self._chunk_size or total, total - message.sent)
        first = message.sent + 1
        span = ByteRange(first, None if size > CHUNK_SIZE else message.sent + size, total)
        transaction_id = new_transaction_id(outgoing.content.read(message.sent, min(size, PIECE)))
        head = build_head(
            "SEND", transaction_id, self._to_path, self._from_path, self.headers(outgoing, span),
            content_type=outgoing.content_type, has_body=True,
        )  # fmt: skip
        self._open = _Open(message, transaction_id, first, message.sent + size)
        return head + self._go_on(self._open, now)

    def headers(self, message: OutgoingMessage, span: ByteRange) -> list[tuple[str, str]]:
        """The headers of a chunk between the paths and Content-Type: all but Byte-Range are the same in each."""
        headers = [("Message-ID", message.message_id), ("Byte-Range", str(span))]
        if message.success_report:
            headers.append(("Success-Report", "yes"))
        if message.failure_report is not None:
            headers.append(("Failure-Report", message.failure_report))
        return [*headers, *message.headers]

    def _go_on(self, chunk: _Open, now: float) -> bytes:
        """More octets of the open chunk, its end-line with the last of them."""
        message = chunk.message
        if chunk.interrupted or chunk.aborted:
            return self._end(chunk, now)
        wanted = min(chunk.end - message.sent, PIECE)
        piece = message.outgoing.content.read(message.sent, wanted)
        if len(piece) != wanted:
            raise LocalProtocolError(f"the content of {message.outgoing.message_id} ended before its size")
        marker = HYPHENS + encode(chunk.transaction_id)
        if marker in chunk.tail + piece:
            return self._end(chunk, now)  # 7.1: interrupt the chunk, the next one has another identifier
        message.sent += len(piece)
        chunk.tail = (chunk.tail + piece)[-len(marker) :]
        return piece + self._end(chunk, now) if message.sent == chunk.end else piece

    def _end(self, chunk: _Open, now: float) -> bytes:
        message = chunk.message
        message.complete = message.sent == message.outgoing.content.size
        flag = "#" if chunk.aborted else "$" if message.complete else "+"
        self._open = None
        if not chunk.aborted:
            wait = 0.0 if message.outgoing.failure_report == "no" else self._timeout
            message.open += 1
            self._chunks[chunk.transaction_id] = _Chunk(
                message.outgoing.message_id, chunk.first, message.sent, now + wait, message
            )
        return build_end(chunk.transaction_id, flag, has_body=True)

    def _answer(self, chunk: _Chunk, status: int, now: float) -> Iterator[SenderEvent]:
        yield ChunkAnswered(chunk.message_id, status, chunk.first, chunk.last)
        if chunk.message is not None:
            chunk.message.open -= 1
            chunk.message.answered = True
        if status != 200:
            yield from self._refused(chunk.message, status)
        elif chunk.message is not None:
            yield from self._settle(chunk.message, now)

    def _report(self, frame: MsrpFrame | MsrpHead, now: float) -> Iterator[SenderEvent]:
        """A REPORT: code N of namespace 000 means what a response of N means (RFC 4975 7.3.2)."""
        message, status = self._messages.get(frame.message_id or ""), frame.status_header
        if message is None or status is None or status[0] != "000":
            return
        if status[1] != 200:
            yield from self._refused(message, status[1])
            return
        span, size = frame.byte_range, message.outgoing.content.size
        message.any_report = True
        if span is None:
            message.reported.add(0, size)
        else:
            message.reported.add(span.start - 1, min(size if span.end is None else span.end, size))
        yield from self._settle(message, now)

    def _settle(self, message: _Message, now: float) -> Iterator[SenderEvent]:
        """Tell the outcome if nothing is missing any more."""
        if not message.complete or message.open or message.outgoing.message_id not in self._messages:
            return
        if message.outgoing.success_report and not message.covered:
            if message.report_deadline is None:
                message.report_deadline = now + self._timeout
            return
        del self._messages[message.outgoing.message_id]
        yield Outcome(message.outgoing.message_id, True, 200 if message.answered or message.any_report else None)

    def _refused(self, message: _Message | None, status: int) -> Iterator[SenderEvent]:
        if message is not None:
            yield from self._fail(message, status, f"refused with {status}")
        if SCOPES.get(status, Scope.MESSAGE) is Scope.SESSION and not self._stopped:
            self._stopped = True
            yield Stopped(status)
            # what is on the wire completely may still be answered 200: its outcome is that answer, or the timer
            for rest in [one for one in self._messages.values() if not one.complete]:
                yield from self._fail(rest, None, f"the session was stopped by {status}")

    def _fail(self, message: _Message, status: int | None, reason: str) -> Iterator[SenderEvent]:
        """No more of this message; a chunk of it that is open is ended with ``#`` (RFC 4975 7.1, 10.5)."""
        message_id = message.outgoing.message_id
        if self._messages.get(message_id) is not message:
            return
        del self._messages[message_id]
        self._chunks = {key: chunk for key, chunk in self._chunks.items() if chunk.message is not message}
        if self._open is not None and self._open.message is message:
            self._open.aborted = True
        yield Outcome(message_id, False, status, reason)
