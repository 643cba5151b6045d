"""What the receiving side of MSRP writes to and what it tells: sinks, responses, complete messages (RFC 4975 7.3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

from cpmspec.wire.headers import Headers
from cpmspec.wire.msrp import MsrpHead, build_response
from cpmspec.wire.violation import Violation

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
