"""The receiving side of an MSRP session: reassembly into a sink, responses, success REPORTs (RFC 4975 7.1.4, 7.3).

Events of :class:`cpmspec.wire.msrp.MsrpStream` come in; octets to send and what became of messages go out. Nothing is
allocated by what a peer claims: lengths come from the octets that arrive (RFC 4975 7.3.1).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeAlias

from cpmspec.protocol.ranges import Ranges
from cpmspec.wire.headers import Headers
from cpmspec.wire.msrp import (
    ByteRange,
    FrameBegin,
    FrameData,
    FrameEnd,
    MsrpEvent,
    MsrpHead,
    Unreadable,
    build_request,
    build_response,
    new_transaction_id,
)
from cpmspec.wire.uri import same_uri
from cpmspec.wire.violation import Violation

MAX_INCOMPLETE: Final = 64  #: messages of one session that may be incomplete at a time
MAX_SPANS: Final = 4096  #: separate spans of octets that one incomplete message may have
MAX_REMEMBERED: Final = 1024  #: Message-IDs of finished messages that are known again
MAX_SIZE: Final = 2**40  #: octets of a message where nothing less was agreed

# response codes and comments that this side gives (RFC 4975 10)
COMMENTS: Final = {
    200: "OK", 400: "Bad Request", 403: "Forbidden", 408: "Timeout", 413: "Stop Sending", 415: "Unsupported Media Type",
    423: "Interval Out of Bounds", 481: "No Such Session", 501: "Unknown Method", 506: "Bound Elsewhere",
}  # fmt: skip


class Sink(Protocol):
    """Where the octets of one message go; chunks may come in any order, and the last to be written counts."""

    def write(self, offset: int, octets: bytes) -> None:
        """Take octets that begin at ``offset``, from 0."""
        ...

    def close(self) -> None:
        """The message is complete."""
        ...

    def abort(self) -> None:
        """The message will never be complete."""
        ...


class BytesSink:
    """A sink in memory."""

    def __init__(self) -> None:
        self._pieces: list[tuple[int, bytes]] = []
        self.closed = False
        self.aborted = False

    def write(self, offset: int, octets: bytes) -> None:
        """Keep a piece."""
        self._pieces.append((offset, octets))

    def close(self) -> None:
        """The message is complete."""
        self.closed = True

    def abort(self) -> None:
        """The message will never be complete: its pieces go."""
        self.aborted = True
        self._pieces.clear()

    def value(self) -> bytes:
        """The octets written, joined; of a complete message they have no gap."""
        if all(self._pieces[i][0] + len(self._pieces[i][1]) == self._pieces[i + 1][0] for i in range(len(self) - 1)):
            return b"".join(octets for _, octets in self._pieces)
        joined = bytearray(max((offset + len(octets) for offset, octets in self._pieces), default=0))
        for offset, octets in self._pieces:
            joined[offset : offset + len(octets)] = octets
        return bytes(joined)

    def __len__(self) -> int:
        return len(self._pieces)


@dataclass(frozen=True, slots=True)
class Reply:
    """Octets to send now: a response. ``status`` is its code."""

    octets: bytes
    status: int


@dataclass(frozen=True, slots=True)
class MessageComplete:
    """All octets of a message are in its sink.

    ``answers`` (the response to the last chunk, a success REPORT if one was asked for) are to be sent once the message
    is safe; if it cannot be kept, :meth:`refused` is what to send instead, and :meth:`MsrpReceiver.forget` lets its
    sender try again. ``head`` is that of the chunk that came first, ``last`` that of the chunk that completed it.
    """

    message_id: str
    content_type: str
    head: MsrpHead
    size: int
    sink: Sink
    answers: tuple[bytes, ...]
    last: MsrpHead

    @property
    def headers(self) -> Headers:
        """The headers of the chunk that came first."""
        return self.head.headers

    def refused(self, status: int) -> tuple[bytes, ...]:
        """The answer to the last chunk with an error code; nothing if the sender wants none (RFC 4975 7.1.4)."""
        if self.last.failure_report == "no" or not self.last.answerable:
            return ()
        return (build_response(self.last, status, COMMENTS.get(status, "")),)


@dataclass(frozen=True, slots=True)
class MessageAborted:
    """A message that will never be complete; its sink was told."""

    message_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class ForSender:
    """A response or a REPORT has ended: it is for the sending side of the session (`MsrpSender.receive`)."""

    head: MsrpHead


@dataclass(frozen=True, slots=True)
class Broken:
    """Octets that are no MSRP: the connection cannot be relied on any more."""

    violations: tuple[Violation, ...]


ReceiverEvent: TypeAlias = Reply | MessageComplete | MessageAborted | ForSender | Broken


@dataclass(slots=True)
class _Incoming:
    head: MsrpHead
    sink: Sink
    taken: Ranges = field(default_factory=Ranges)
    total: int | None = None  # known from the chunk with the flag $ only


@dataclass(slots=True)
class _Chunk:
    """The SEND that is being read; without ``message`` its octets are not wanted."""

    head: MsrpHead
    start: int
    size: int = 0
    message: _Incoming | None = None
    again: bool = False  # of a message that is complete already
    refused: bool = False


class MsrpReceiver:
    """Takes the SENDs of one session.

    ``local_path`` is our own path (one URI); a SEND to another gets 481. ``peer_path`` limits who may send. ``accepts``
    tells whether a Content-Type is taken (else 415), ``max_size`` is in octets (else 413). ``open_sink`` gives the sink
    of a message from the head of its first chunk.
    """

    def __init__(
        self,
        local_path: Sequence[str],
        *,
        open_sink: Callable[[MsrpHead], Sink] = lambda head: BytesSink(),
        max_size: int | None = None,
        peer_path: Sequence[str] | None = None,
        accepts: Callable[[str], bool] = lambda content_type: True,
    ) -> None:
        self._local = tuple(local_path)
        self._peer = None if peer_path is None else tuple(peer_path)
        self._open_sink = open_sink
        self._max_size = MAX_SIZE if max_size is None else max_size
        self._accepts = accepts
        self._incoming: dict[str, _Incoming] = {}
        self._finished: OrderedDict[str, int] = OrderedDict()  # Message-ID -> 0 if it was taken, else the refusal
        self._chunk: _Chunk | None = None
        self._other: MsrpHead | None = None

    @property
    def incomplete(self) -> tuple[str, ...]:
        """The Message-IDs of which octets are missing."""
        return tuple(self._incoming)

    def receive(self, event: MsrpEvent) -> list[ReceiverEvent]:
        """Take the next event of the stream."""
        match event:
            case FrameBegin(head):
                return self.begin(head)
            case FrameData(octets):
                return self.data(octets)
            case FrameEnd(flag):
                return self.end(flag)
            case Unreadable(_, violations):
                return [Broken(violations)] if violations else []

    def begin(self, head: MsrpHead) -> list[ReceiverEvent]:
        """A message begins. A SEND that is refused is answered at once, so that its sender can interrupt it."""
        self._chunk, self._other = None, None
        if not head.is_request or head.method == "REPORT":
            self._other = head
            return []
        status = self._refusal(head)
        self._chunk = _Chunk(head, self._start(head))
        if status is not None:
            return list(self._refuse(self._chunk, status))
        if head.has_body:
            message_id = head.message_id or ""
            self._chunk.again = message_id in self._finished
            if not self._chunk.again:
                self._chunk.message = self._incoming.get(message_id) or self._open(message_id, head)
        return []

    def data(self, octets: bytes) -> list[ReceiverEvent]:
        """Octets of the body of the open message."""
        chunk = self._chunk
        if chunk is None or chunk.message is None or not octets:
            return []
        at = chunk.start + chunk.size
        if at + len(octets) > self._max_size or (
            chunk.size == 0 and len(chunk.message.taken.spans) >= MAX_SPANS and chunk.start > chunk.message.taken.end
        ):
            return list(self._refuse(chunk, 413))
        chunk.message.sink.write(at, octets)
        chunk.size += len(octets)
        return []

    def end(self, flag: str) -> list[ReceiverEvent]:
        """The open message ends with the continuation ``flag``."""
        chunk, self._chunk = self._chunk, None
        other, self._other = self._other, None
        if other is not None:
            return [ForSender(other)]
        if chunk is None or chunk.refused:
            return []
        if chunk.message is None:
            return self._acknowledge(chunk.head)
        message, message_id = chunk.message, chunk.head.message_id or ""
        message.taken.add(chunk.start, chunk.start + chunk.size)
        if flag == "#":
            return [*self._abort(message_id, "aborted by its sender"), *self._acknowledge(chunk.head)]
        if flag == "$":
            message.total = chunk.start + chunk.size
        if message.total is None or not message.taken.covers(0, message.total):
            return self._acknowledge(chunk.head)
        return [self._complete(message_id, message, chunk.head)]

    def forget(self, message_id: str) -> None:
        """A finished message was not kept after all: the next SEND with its Message-ID begins it anew."""
        self._finished.pop(message_id, None)

    def close(self, reason: str) -> list[ReceiverEvent]:
        """The connection or the session is gone: what is incomplete stays so (RFC 4975 5.4)."""
        self._chunk, self._other = None, None
        return [event for message_id in self.incomplete for event in self._abort(message_id, reason)]

    def report(self, head: MsrpHead, first: int, last: int, total: int, *, status: int = 200) -> bytes:
        """A REPORT on octets ``first`` to ``last`` of the message that ``head`` is a SEND of (RFC 4975 7.1.2)."""
        headers = [
            ("Message-ID", head.message_id or ""),
            ("Byte-Range", str(ByteRange(first, last, total))),
            ("Status", f"000 {status:03d} {COMMENTS.get(status, '')}".rstrip()),
        ]
        return build_request("REPORT", new_transaction_id(), head.from_path, self._local, headers, None)

    def _start(self, head: MsrpHead) -> int:
        span = head.byte_range
        return 0 if span is None else span.start - 1

    def _refusal(self, head: MsrpHead) -> int | None:
        """The code that refuses a request by its head; ``None`` if it is taken."""
        span, message_id = head.byte_range, head.message_id
        if len(head.to_path) != len(self._local) or not all(map(same_uri, head.to_path, self._local)):
            return 481
        if self._peer is not None and not (
            len(head.from_path) == len(self._peer) and all(map(same_uri, head.from_path, self._peer))
        ):
            return 481
        if head.method != "SEND":
            return 501
        malformed = head.headers.get("Byte-Range") is not None and (span is None or span.start < 1)
        if message_id is None or malformed or (head.has_body and head.content_type is None):
            return 400
        if self._finished.get(message_id):
            return self._finished[message_id]
        if head.has_body and not self._accepts(head.content_type or ""):
            return 415
        claimed = max(self._start(head), 0 if span is None or span.total is None else span.total)
        fresh = message_id not in self._incoming and message_id not in self._finished
        if claimed > self._max_size or (head.has_body and fresh and len(self._incoming) >= MAX_INCOMPLETE):
            return 413
        return None

    def _open(self, message_id: str, head: MsrpHead) -> _Incoming:
        self._incoming[message_id] = _Incoming(head, self._open_sink(head))
        return self._incoming[message_id]

    def _refuse(self, chunk: _Chunk, status: int) -> Iterator[ReceiverEvent]:
        """Take no more of this chunk; with 413 and 415, of its message."""
        chunk.refused, chunk.message = True, None
        message_id = chunk.head.message_id
        if status in (413, 415) and message_id is not None and message_id not in self._finished:
            yield from self._abort(message_id, f"refused with {status}")
            self._remember(message_id, status)
        if chunk.head.failure_report != "no" and chunk.head.answerable:
            yield Reply(build_response(chunk.head, status, COMMENTS[status]), status)

    def _acknowledge(self, head: MsrpHead) -> list[ReceiverEvent]:
        return [Reply(octets, 200) for octets in self._ok(head)]

    def _ok(self, head: MsrpHead) -> tuple[bytes, ...]:
        """The 200 if Failure-Report asks for it: yes, or absent (RFC 4975 7.1.4)."""
        wanted = head.failure_report not in ("no", "partial") and head.answerable
        return (build_response(head, 200, COMMENTS[200]),) if wanted else ()

    def _complete(self, message_id: str, message: _Incoming, last: MsrpHead) -> MessageComplete:
        del self._incoming[message_id]
        self._remember(message_id, 0)
        message.sink.close()
        size = message.total or 0
        answers = self._ok(last)
        if "yes" in (message.head.success_report, last.success_report) and last.answerable:
            answers += (self.report(last, 1, size, size),)
        return MessageComplete(
            message_id, message.head.content_type or "", message.head, size, message.sink, answers, last
        )

    def _abort(self, message_id: str, reason: str) -> Iterator[ReceiverEvent]:
        message = self._incoming.pop(message_id, None)
        if message is not None:
            message.sink.abort()
            yield MessageAborted(message_id, reason)

    def _remember(self, message_id: str, status: int) -> None:
        self._finished[message_id] = status
        while len(self._finished) > MAX_REMEMBERED:
            self._finished.popitem(last=False)
