"""MSRP messages as whole frames (RFC 4975 7), and all that those who use MSRP need of the modules beside this one.

The incremental reader and its events live in :mod:`cpmspec.wire.msrp_stream`, heads in :mod:`cpmspec.wire.msrp_head`,
what one message can break in :mod:`cpmspec.wire.msrp_rules`, builders in :mod:`cpmspec.wire.msrp_build`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from cpmspec.wire.headers import Headers
from cpmspec.wire.msrp_build import (
    build_end,
    build_head,
    build_request,
    build_response,
    build_unchecked,
    new_message_id,
    new_session_id,
    new_transaction_id,
)
from cpmspec.wire.msrp_grammar import ByteRange
from cpmspec.wire.msrp_head import MsrpHead
from cpmspec.wire.msrp_stream import (
    HYPHENS,
    MAX_HEAD,
    MAX_HEADERS,
    MAX_HELD,
    MAX_LINE,
    FrameBegin,
    FrameData,
    FrameEnd,
    MsrpEvent,
    MsrpStream,
    Unreadable,
)
from cpmspec.wire.msrp_views import MsrpViews
from cpmspec.wire.violation import Violation

__all__ = [
    "HYPHENS", "MAX_BODY", "MAX_HEAD", "MAX_HEADERS", "MAX_HELD", "MAX_LINE", "ByteRange", "FrameBegin", "FrameData",
    "FrameEnd", "MsrpEvent", "MsrpFrame", "MsrpFrameStream", "MsrpHead", "MsrpStream", "MsrpViews", "Unreadable",
    "build_end", "build_head", "build_request", "build_response", "build_unchecked", "new_message_id", "new_session_id",
    "new_transaction_id", "parse_frame",
]  # fmt: skip

MAX_BODY: Final = 64 * 1024 * 1024  #: octets of body that :class:`MsrpFrameStream` collects unless told otherwise


@dataclass(frozen=True, slots=True)
class MsrpFrame(MsrpViews):
    """A whole message. ``body`` is ``None`` if it has none, which differs from a body of no octets (RFC 4975 7.1).

    ``tail`` is the end-line with the CRLF before it; a message that was cut off has flag ``""`` and an empty tail.
    """

    head: MsrpHead
    body: bytes | None
    flag: str
    violations: tuple[Violation, ...]
    tail: bytes

    def octets(self) -> bytes:
        """The octets it was read from."""
        return self.head.raw + (self.body or b"") + self.tail

    @property
    def transaction_id(self) -> str:  # type: ignore[override]
        """The transaction identifier of the start-line."""
        return self.head.transaction_id

    @property
    def method(self) -> str | None:  # type: ignore[override]
        """The method of a request."""
        return self.head.method

    @property
    def status(self) -> int | None:
        """The status code of a response."""
        return self.head.status

    @property
    def comment(self) -> str:
        """The comment of a response."""
        return self.head.comment

    @property
    def headers(self) -> Headers:  # type: ignore[override]
        """All headers in order."""
        return self.head.headers


class MsrpFrameStream:
    """Whole messages out of a stream; one with a body of more than ``max_body`` octets comes as :class:`Unreadable`.

    ``resuming``: the stream may begin inside a message (see :class:`MsrpStream`).
    """

    def __init__(self, max_body: int = MAX_BODY, *, resuming: bool = False) -> None:
        self._stream = MsrpStream(resuming=resuming)
        self._max_body = max_body
        self._reset()

    def _reset(self) -> None:
        self._head: MsrpHead | None = None
        self._body = bytearray()
        self._dropped = False

    def feed(self, octets: bytes) -> list[MsrpFrame | Unreadable]:
        """Take the next octets; the messages they complete."""
        return self._take(self._stream.feed(octets))

    def close(self) -> list[MsrpFrame | Unreadable]:
        """The stream ended: a message without its end-line comes with flag ``""``."""
        frames = self._take(self._stream.close())
        if self._head is not None and not self._dropped:
            offset = len(self._head.raw) + len(self._body)
            cut = Violation("MSR-4975-7.1-08", offset, "the end of the stream", "an end-line")
            frames.append(MsrpFrame(self._head, bytes(self._body), "", (*self._head.violations, cut), b""))
        self._reset()
        return frames

    def _take(self, events: Iterable[MsrpEvent]) -> list[MsrpFrame | Unreadable]:
        frames: list[MsrpFrame | Unreadable] = []
        for event in events:
            match event:
                case FrameBegin(head):
                    self._reset()
                    self._head = head
                case FrameData(octets):
                    self._collect(octets, frames)
                case FrameEnd(flag, _, violations, raw):
                    if self._head is not None and not self._dropped:
                        body = bytes(self._body) if self._head.has_body else None
                        frames.append(MsrpFrame(self._head, body, flag, violations, raw))
                    self._reset()
                case _:
                    frames.append(event)
        return frames

    def _collect(self, octets: bytes, frames: list[MsrpFrame | Unreadable]) -> None:
        if self._dropped or self._head is None:
            return
        if len(self._body) + len(octets) > self._max_body:
            kept = bytes(self._body) + octets[: self._max_body - len(self._body)]
            wrong = Violation("MSR-LIMIT-03", len(self._head.raw), "a longer body", f"at most {self._max_body} octets")
            frames.append(Unreadable(self._head.raw + kept, (wrong,)))
            self._dropped = True
            self._body.clear()
        else:
            self._body += octets


def parse_frame(octets: bytes) -> MsrpFrame | Unreadable:
    """Read exactly one message; anything else, octets after it included, is :class:`Unreadable`."""
    stream = MsrpFrameStream(max_body=len(octets))
    found = [*stream.feed(octets), *stream.close()]
    if len(found) == 1 and isinstance(found[0], MsrpFrame) and found[0].flag:
        return found[0]
    violations = [item for event in found for item in event.violations]
    return Unreadable(octets, (*violations, Violation("MSR-4975-7.1-08", 0, "other octets", "exactly one message")))
