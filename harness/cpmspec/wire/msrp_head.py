"""The head of an MSRP message, start-line and headers: a value that is read no further than it is asked (RFC 4975 9).

Which rules a head can break is told in :mod:`cpmspec.wire.msrp_rules`. A head in the form in which they nearly all come
is recognised by one expression, :data:`QUICK`: that form breaks no rule, so that nothing more has to be looked at.
"""

from __future__ import annotations

import re
from typing import Final

from typing_extensions import override

from cpmspec.wire.headers import Header, Headers, PlainHeader, decode
from cpmspec.wire.msrp_grammar import (
    END_LINE,
    HEADER,
    IDENT,
    MAX_NON_SEND_BODY,
    MAX_SHORT_CHUNK,
    START_LIKE,
    START_LINE,
    ByteRange,
)
from cpmspec.wire.msrp_rules import HeadViews, head_violations
from cpmspec.wire.msrp_views import MsrpViews
from cpmspec.wire.violation import Violation

__all__ = [
    "END_LINE", "IDENT", "MAX_NON_SEND_BODY", "MAX_SHORT_CHUNK", "QUICK", "START_LIKE", "START_LINE", "ByteRange",
    "MsrpHead", "MsrpViews", "parse_head", "repeats",
]  # fmt: skip

_LINE = re.compile(rb"[^\n]*\n")
_RESPONSE = re.compile(r"([0-9]{3})(?: (.*))?", re.DOTALL)

_ID = r"[A-Za-z0-9][A-Za-z0-9.\-+%=]{3,31}"
_PORT = r"(?:[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3})"
_URI = rf"msrps?://[A-Za-z0-9.\-]++:{_PORT}/[A-Za-z0-9\-._~+=/]++;tcp"
_WORD = r"[A-Za-z0-9!#$%&'*+\-.^_`|~]++"
_SPAN = r"(?P<first>[0-9]{1,18}+)-(?P<last>[0-9]{1,18}+|\*)/(?P<total>[0-9]{1,18}+|\*)"
# The plain form of a SEND with a body and of a response: a part of the grammar of RFC 4975 9, in which no rule is
# broken but for those of the end, and for the one that no header stands twice.
QUICK: Final = re.compile(
    rf"MSRP (?P<id>{_ID}) (?:"
    rf"SEND\r\nTo-Path: {_URI}(?: {_URI})*+\r\nFrom-Path: {_URI}(?: {_URI})*+\r\n"
    rf"(?:Message-ID: (?P<message>){_ID}\r\n"
    rf"|Byte-Range: {_SPAN}\r\n"
    r"|Success-Report: (?P<success>)(?:yes|no)\r\n"
    r"|Failure-Report: (?P<failure>)(?:yes|no|partial)\r\n)*+"
    rf"(?(message)|(?!))Content-Type: {_WORD}/{_WORD}(?:; ?{_WORD}=(?:{_WORD}|\"[ !#-\[\]-~]*+\"))*+\r\n\r\n"
    r"|(?P<status>2[0-9]{2}|4(?!01|23)[0-9]{2}|5[0-9]{2})(?: (?P<comment>[ -~]*+))?\r\n"
    rf"To-Path: {_URI}(?: {_URI})*+\r\nFrom-Path: {_URI}(?: {_URI})*+\r\n"
    r"(?=-------(?P=id)\$\r\n))".encode()
)


class MsrpHead(HeadViews):
    """Start-line and headers of one message. Not to be changed; equal if made of equal octets.

    ``raw`` holds their octets, the empty line before a body included; ``has_body`` tells whether that line was there.
    ``method`` is ``None`` in a response, ``status`` in a request. Headers and violations are read when asked for:
    those who build a head give both.
    """

    __slots__ = (
        "_headers", "_values", "_violations", "comment", "has_body", "method", "raw", "status", "transaction_id",
    )  # fmt: skip

    def __init__(
        self, transaction_id: str, method: str | None, status: int | None, comment: str, headers: Headers | None,
        raw: bytes, has_body: bool, violations: tuple[Violation, ...] | None = (),
    ) -> None:  # fmt: skip
        self.transaction_id = transaction_id
        self.method = method
        self.status = status
        self.comment = comment
        self.raw = raw
        self.has_body = has_body
        self._headers = headers
        self._violations = violations
        self._values: dict[str, str] | None = None

    @override
    def value(self, key: str) -> str | None:
        """The value of the first header of that name, which is to be given in lower case."""
        if self._values is None:
            self._values = {header.key: header.value for header in reversed(self.headers)}
        return self._values.get(key)

    @property
    def headers(self) -> Headers:  # type: ignore[override]
        """All headers in order."""
        if self._headers is None:
            lines = _LINE.findall(self.raw)
            self._headers = Headers(map(_parse_header, lines[1 : len(lines) - self.has_body]))
        return self._headers

    @property
    def violations(self) -> tuple[Violation, ...]:
        """What the head breaks by itself; what depends on the body is among those of the message only."""
        if self._violations is None:
            self._violations = head_violations(self)
        return self._violations

    @property
    def answerable(self) -> bool:
        """Whether a response can be written: what it repeats of the request is there and fits the grammar (9).

        A response and a REPORT are never answered (RFC 4975 7.1.2, 7.2).
        """
        if not self.is_request or self.method == "REPORT" or not IDENT.fullmatch(self.transaction_id):
            return False
        repeated = (self.message_id or "", *self.to_path, *self.from_path)
        return bool(self.to_path and self.from_path) and not any(mark in text for text in repeated for mark in "\r\n\0")

    def _key(self) -> tuple[object, ...]:
        return (self.transaction_id, self.method, self.status, self.comment, self.headers, self.raw, self.has_body)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MsrpHead) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __repr__(self) -> str:
        return f"MsrpHead({self.raw!r})"


def repeats(raw: bytes, first: bytes | None, success: bytes | None, failure: bytes | None) -> bool:
    """Whether a header stands twice in a SEND that :data:`QUICK` found; the others are its groups of these names."""
    return raw.count(b"\n") != 6 + (first is not None) + (success is not None) + (failure is not None)


def parse_head(raw: bytes, *, has_body: bool) -> MsrpHead:
    """The head that ``raw`` holds: the start-line, the headers, and the empty line if ``has_body``.

    :raises ValueError: the first line is nothing like a start-line. Every other line may hold anything.
    """
    start = START_LIKE.match(raw)
    if start is None:
        raise ValueError(f"{raw[:80]!r} is no start-line of MSRP")
    rest = decode(start[5])
    response = _RESPONSE.fullmatch(rest)
    return MsrpHead(
        transaction_id=decode(start[3]),
        method=None if response else rest,
        status=int(response[1]) if response else None,
        comment=(response[2] or "") if response else "",
        headers=None, raw=raw, has_body=has_body, violations=None,
    )  # fmt: skip


def _parse_header(line: bytes) -> Header:
    """One header line; what is no header keeps its octets under an empty name."""
    found = HEADER.fullmatch(line)
    if found is not None:
        return PlainHeader(decode(found[1]), decode(found[3]).strip(" \t"), line)
    before, colon, after = decode(line.rstrip(b"\r\n")).partition(":")
    return PlainHeader(before.strip(), after.strip(), line) if colon else PlainHeader("", before, line)
