"""MSRP messages: whole frames, strict builders, fresh identifiers (RFC 4975 7, 9 and 14.1).

The incremental reader and its events live in :mod:`cpmspec.wire.msrp_stream`, heads in :mod:`cpmspec.wire.msrp_head`;
both are offered here too.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from cpmspec.wire.headers import Header, Headers, encode
from cpmspec.wire.msrp_head import IDENT, ByteRange, MsrpHead, MsrpViews
from cpmspec.wire.msrp_stream import (
    HYPHENS,
    MAX_HEAD,
    MAX_LINE,
    FrameBegin,
    FrameData,
    FrameEnd,
    MsrpEvent,
    MsrpStream,
    Unreadable,
)
from cpmspec.wire.violation import Violation

__all__ = [
    "HYPHENS", "MAX_BODY", "MAX_HEAD", "MAX_LINE", "ByteRange", "FrameBegin", "FrameData", "FrameEnd", "MsrpEvent",
    "MsrpFrame", "MsrpFrameStream", "MsrpHead", "MsrpStream", "Unreadable", "build_end", "build_head", "build_request",
    "build_response", "new_message_id", "new_session_id", "new_transaction_id", "parse_frame",
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
    def transaction_id(self) -> str:
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
                case Unreadable():
                    frames.append(event)
        return frames

    def _collect(self, octets: bytes, frames: list[MsrpFrame | Unreadable]) -> None:
        if self._dropped or self._head is None:
            return
        if len(self._body) + len(octets) > self._max_body:
            kept = bytes(self._body) + octets[: self._max_body - len(self._body)]
            wrong = Violation("MSR-LIMIT-01", len(self._head.raw), "a longer body", f"at most {self._max_body} octets")
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


def new_transaction_id(avoid: bytes = b"") -> str:
    """A fresh transaction identifier of 80 random bits (RFC 4975 7.1) whose end-line does not occur in ``avoid``."""
    while True:
        candidate = secrets.token_hex(10)
        if encode(candidate) not in avoid:
            return candidate


def new_message_id() -> str:
    """A fresh Message-ID: an ``ident`` of 96 random bits (RFC 4975 7.1.1)."""
    return secrets.token_hex(12)


def new_session_id() -> str:
    """A fresh session-id of 128 random bits; at least 80 are asked for (RFC 4975 14.1)."""
    return secrets.token_hex(16)


def build_request(
    method: str, transaction_id: str, to_path: Sequence[str], from_path: Sequence[str],
    headers: Iterable[tuple[str, str]], body: bytes | None, flag: str = "$", *, content_type: str | None = None,
) -> bytes:  # fmt: skip
    """A request. Content-Type is moved to the end of the headers; ``body`` ``None`` makes a request without one.

    :raises ValueError: a part breaks the grammar, a body has no Content-Type (or the reverse), or the end-line of
        ``transaction_id`` occurs in the body (RFC 4975 7.1: take another identifier).
    """
    if body is not None and HYPHENS + encode(transaction_id) in body:
        raise ValueError(f"the end-line of {transaction_id!r} occurs in the body")
    head = build_head(
        method, transaction_id, to_path, from_path, headers, content_type=content_type, has_body=body is not None
    )
    return head + (body or b"") + build_end(transaction_id, flag, has_body=body is not None)


def build_head(
    method: str, transaction_id: str, to_path: Sequence[str], from_path: Sequence[str],
    headers: Iterable[tuple[str, str]], *, content_type: str | None = None, has_body: bool,
) -> bytes:  # fmt: skip
    """What comes before the body of a request: for those who send the body in pieces.

    :raises ValueError: a part breaks the grammar, or a body has no Content-Type (or the reverse).
    """
    if not re.fullmatch(r"[A-Z]+", method):
        raise ValueError(f"method {method!r} is not in upper-case letters")
    kept: list[tuple[str, str]] = []
    for name, value in headers:
        if name.lower() == "content-type":
            content_type = value
        else:
            kept.append((name, value))
    if has_body != (content_type is not None):
        raise ValueError(f"a body and a Content-Type go together: Content-Type is {content_type!r}")
    last = [] if content_type is None else [("Content-Type", content_type)]
    start = _start(transaction_id, method, to_path, from_path)
    return start + Headers.of(*kept, *last).octets() + (b"\r\n" if has_body else b"")


def build_end(transaction_id: str, flag: str, *, has_body: bool) -> bytes:
    """The end-line, with the CRLF that stands between it and a body (RFC 4975 7.1).

    :raises ValueError: ``flag`` is none of ``$``, ``+``, ``#``.
    """
    if len(flag) != 1 or flag not in "$+#":
        raise ValueError(f"continuation flag {flag!r} is none of $, +, #")
    return (b"\r\n" if has_body else b"") + HYPHENS + encode(transaction_id + flag) + b"\r\n"


def build_response(request: MsrpFrame | MsrpHead, status: int, comment: str = "") -> bytes:
    """The response to a request: To-Path is the first URI of a SEND's From-Path, else the whole of it (RFC 4975 7.2).

    :raises ValueError: ``request`` is a response or a REPORT, which nobody answers, or lacks a path.
    """
    if not request.is_request or request.method == "REPORT":
        raise ValueError("neither a response nor a REPORT is answered (RFC 4975 7.1.2)")
    if not 100 <= status <= 999:
        raise ValueError(f"status {status} does not have three digits")
    to_path = request.from_path[:1] if request.method == "SEND" else request.from_path
    text = f"{status:03d} {comment}" if comment else f"{status:03d}"
    start = _start(request.transaction_id, text, to_path, request.to_path[:1])
    return start + build_end(request.transaction_id, "$", has_body=False)


def _start(transaction_id: str, what: str, to_path: Sequence[str], from_path: Sequence[str]) -> bytes:
    if not IDENT.fullmatch(transaction_id):
        raise ValueError(f"transaction identifier {transaction_id!r} is no ident of 4 to 32 characters")
    if any(mark in what for mark in "\r\n\0"):
        raise ValueError(f"start-line {what!r} holds a CR, LF or NUL")
    for name, path in (("To-Path", to_path), ("From-Path", from_path)):
        if not path or any(not uri or re.search(r"\s", uri) for uri in path):
            raise ValueError(f"{name} {tuple(path)!r} is not a list of URIs")
    paths = Header.make("To-Path", " ".join(to_path)).raw + Header.make("From-Path", " ".join(from_path)).raw
    return encode(f"MSRP {transaction_id} {what}\r\n") + paths
