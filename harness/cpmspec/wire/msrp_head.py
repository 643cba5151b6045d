"""The start-line and the headers of an MSRP message as values, and what is wrong with them (RFC 4975 7 and 9).

Violations that can be seen in one message by itself, with the clause each comes from:

=================== ==================================================================================
MSR-4975-9-01       the start-line (or what stands where one must begin)
MSR-4975-9-02       the transaction identifier: 4 to 32 characters of ``ident``
MSR-4975-9-03       a header line: ``Name: value``, CRLF at its end, no control characters, no needless space
MSR-4975-9-04       Message-ID is an ``ident``
MSR-4975-9-05       Byte-Range
MSR-4975-9-06       Success-Report (yes, no), Failure-Report (yes, no, partial)
MSR-4975-9-07       Status
MSR-4975-9-08       a method is written in upper-case letters
MSR-4975-7.1-01     To-Path is the first header, From-Path the second
MSR-4975-7.1-02     a body has a Content-Type, and that is the last header
MSR-4975-7.1-03     no body, no Content-Type and no other MIME header
MSR-4975-7.1-04     CRLF stands between a body and its end-line
MSR-4975-7.1-05     the end-line repeats the transaction identifier of the start-line
MSR-4975-7.1-06     a request other than SEND has at most 10,240 octets of body
MSR-4975-7.1-07     a header stands at most once
MSR-4975-7.1-08     a message ends with its end-line
MSR-4975-7.1.1-01   a SEND has a Message-ID
MSR-4975-7.1.1-02   a body of more than 2,048 octets has a range-end of ``*``
MSR-4975-7.1.1-03   no Content-Transfer-Encoding
MSR-4975-7.1.1-04   the Byte-Range of an uninterrupted chunk agrees with its body
MSR-4975-7.1.2-01   a REPORT has Message-ID and Status
MSR-4975-7.1.2-02   a REPORT has neither Success-Report nor Failure-Report
MSR-4975-7.2-01     a response has no body
MSR-4975-7.2-02     the flag of a response is ``$``
MSR-LIMIT-01        a line, a head or a body beyond the limits of this reader
=================== ==================================================================================
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from cpmspec.wire.headers import Header, Headers, PlainHeader, decode
from cpmspec.wire.violation import Violation

MAX_SHORT_CHUNK: Final = 2048  #: octets: longer chunks must be interruptible (RFC 4975 7.1.1)
MAX_NON_SEND_BODY: Final = 10_240  #: octets (RFC 4975 7.1)

# ident = ALPHANUM 3*31ident-char ; ident-char = ALPHANUM / "." / "-" / "+" / "%" / "="
IDENT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9.\-+%=]{3,31}")
# req-start = "MSRP" SP transact-id SP method CRLF ; resp-start = "MSRP" SP transact-id SP status-code [SP comment] CRLF
START_LINE: Final = re.compile(rb"MSRP ([A-Za-z0-9][A-Za-z0-9.\-+%=]{3,31}) ([A-Z]+|[0-9]{3}(?: [^\r\n]*)?)\r\n")
START_LIKE: Final = re.compile(rb"([Mm][Ss][Rr][Pp])( +)([^\s]+)( +)([^\r\n]*)(\r?\n)")
# end-line = "-------" transact-id continuation-flag CRLF ; continuation-flag = "+" / "$" / "#"
END_LINE: Final = re.compile(rb"-{7}(\S+)([$+#])(\r?\n)")
# Byte-Range: range-start "-" range-end "/" total ; range-start = 1*DIGIT ; range-end, total = 1*DIGIT / "*"
_RANGE = re.compile(r"([0-9]{1,20})-([0-9]{1,20}|\*)/([0-9]{1,20}|\*)")
# Status: namespace SP status-code [SP comment] ; namespace = 3(DIGIT)
_STATUS = re.compile(r"([0-9]{3}) ([0-9]{3})(?: (.*))?")
_HEADER = re.compile(rb"([A-Za-z][A-Za-z0-9!#$%&'*+\-.^_`|~]*):( ?)([^\r\n]*)(\r?\n)")
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_ONCE = (
    "to-path", "from-path", "message-id", "byte-range", "success-report", "failure-report", "status", "content-type",
)  # fmt: skip
# headers of the grammar in whose values only single spaces stand, and only between URIs
_TIGHT = ("to-path", "from-path", "message-id", "byte-range", "success-report", "failure-report")
_REPORTS = {"success-report": ("yes", "no"), "failure-report": ("yes", "no", "partial")}


@dataclass(frozen=True, slots=True)
class ByteRange:
    """A Byte-Range: 1-based octet numbers; ``end`` and ``total`` are ``None`` for ``*`` (RFC 4975 7.1.1)."""

    start: int
    end: int | None
    total: int | None

    def __str__(self) -> str:
        end, total = (("*" if number is None else number) for number in (self.end, self.total))
        return f"{self.start}-{end}/{total}"

    @classmethod
    def parse(cls, value: str) -> ByteRange | None:
        """Read a header value; ``None`` if it is not one (numbers of more than 20 digits are not taken)."""
        found = _RANGE.fullmatch(value.strip())
        if found is None:
            return None
        start, end, total = found.groups()
        return cls(int(start), None if end == "*" else int(end), None if total == "*" else int(total))


class MsrpViews:
    """Typed views on the headers of an MSRP message; each is computed when asked for."""

    __slots__ = ()
    headers: Headers
    method: str | None

    @property
    def is_request(self) -> bool:
        """Whether it is a request: it has a method, a response has a status."""
        return self.method is not None

    @property
    def to_path(self) -> tuple[str, ...]:
        """The URIs of To-Path, next hop first (RFC 4975 7.1)."""
        return tuple((self.headers.get("To-Path") or "").split())

    @property
    def from_path(self) -> tuple[str, ...]:
        """The URIs of From-Path, last hop first (RFC 4975 7.1)."""
        return tuple((self.headers.get("From-Path") or "").split())

    @property
    def message_id(self) -> str | None:
        """Message-ID, the same in all chunks of one message (RFC 4975 7.1.1)."""
        return self.headers.get("Message-ID")

    @property
    def byte_range(self) -> ByteRange | None:
        """Byte-Range, ``None`` if absent or unreadable."""
        value = self.headers.get("Byte-Range")
        return None if value is None else ByteRange.parse(value)

    @property
    def content_type(self) -> str | None:
        """The value of Content-Type as it stands."""
        return self.headers.get("Content-Type")

    @property
    def success_report(self) -> str | None:
        """Success-Report in lower case (9: "yes" / "no", RFC 4234 2.3); absent means ``no`` (RFC 4975 7.1.1)."""
        return _lower(self.headers.get("Success-Report"))

    @property
    def failure_report(self) -> str | None:
        """Failure-Report in lower case; absent means ``yes`` (RFC 4975 7.1.1)."""
        return _lower(self.headers.get("Failure-Report"))

    @property
    def status_header(self) -> tuple[str, int, str] | None:
        """Status of a REPORT: namespace, code, comment; ``None`` if absent or unreadable (RFC 4975 7.1.2)."""
        found = _STATUS.fullmatch(self.headers.get("Status") or "")
        return None if found is None else (found[1], int(found[2]), found[3] or "")


@dataclass(frozen=True, slots=True)
class MsrpHead(MsrpViews):
    """Start-line and headers of one message.

    ``raw`` holds their octets, the empty line before a body included; ``has_body`` tells whether that line was there.
    ``method`` is ``None`` in a response, ``status`` in a request. ``violations`` are those of the head alone.
    """

    transaction_id: str
    method: str | None
    status: int | None
    comment: str
    headers: Headers
    raw: bytes
    has_body: bool
    violations: tuple[Violation, ...] = ()

    @property
    def answerable(self) -> bool:
        """Whether a response can be written: what it repeats of the request is there and fits the grammar (9).

        A response and a REPORT are never answered (RFC 4975 7.1.2, 7.2).
        """
        if not self.is_request or self.method == "REPORT" or not IDENT.fullmatch(self.transaction_id):
            return False
        repeated = (self.message_id or "", *self.to_path, *self.from_path)
        return bool(self.to_path and self.from_path) and not any(mark in text for text in repeated for mark in "\r\n\0")


def parse_head(lines: Sequence[bytes]) -> MsrpHead:
    """The head that ``lines`` make: the start-line, the headers, and the empty line if a body follows.

    The first line must match ``START_LIKE``; every other line may hold anything.
    """
    start = START_LIKE.fullmatch(lines[0])
    if start is None:
        raise ValueError(f"{lines[0]!r} is no start-line of MSRP")
    transaction_id, rest = decode(start[3]), decode(start[5])
    response = re.fullmatch(r"([0-9]{3})(?: (.*))?", rest, re.DOTALL)
    has_body = len(lines) > 1 and not lines[-1].strip(b"\r\n")
    headers, violations, offset = [], list(_start_violations(lines[0], transaction_id, rest)), len(lines[0])
    for line in lines[1 : len(lines) - has_body]:
        header, wrong = _parse_header(line, offset)
        headers.append(header)
        violations.extend(wrong)
        offset += len(line)
    if has_body and lines[-1] != b"\r\n":
        violations.append(Violation("MSR-4975-9-03", offset, repr(lines[-1]), "an empty line ended by CRLF"))
    head = MsrpHead(
        transaction_id=transaction_id,
        method=None if response else rest,
        status=int(response[1]) if response else None,
        comment=(response[2] or "") if response else "",
        headers=Headers(headers), raw=b"".join(lines), has_body=has_body,
    )  # fmt: skip
    violations.extend(_head_violations(head))
    return MsrpHead(
        head.transaction_id, head.method, head.status, head.comment, head.headers, head.raw, has_body, tuple(violations)
    )


def _start_violations(line: bytes, transaction_id: str, rest: str) -> Iterator[Violation]:
    if START_LINE.fullmatch(line):
        return
    method = rest.split(" ")[0]
    if not IDENT.fullmatch(transaction_id):
        yield Violation("MSR-4975-9-02", 5, repr(transaction_id), "an ident of 4 to 32 characters")
    if not re.fullmatch(r"[A-Z]+|[0-9]{3}( .*)?", rest, re.DOTALL):
        yield Violation("MSR-4975-9-08", line.find(b" ", 6) + 1, repr(method), "a method in upper case, or 3 digits")
    if not line.startswith(b"MSRP ") or not line.endswith(b"\r\n") or b"  " in line[:40]:
        yield Violation("MSR-4975-9-01", 0, repr(line[:80]), '"MSRP", one space between the parts, CRLF')


def _parse_header(line: bytes, offset: int) -> tuple[Header, list[Violation]]:
    """One header line; what is no header keeps its octets under an empty name."""
    found = _HEADER.fullmatch(line)
    if found is None:
        before, colon, after = decode(line.rstrip(b"\r\n")).partition(":")
        header = PlainHeader(before.strip(), after.strip(), line) if colon else PlainHeader("", before, line)
        return header, [Violation("MSR-4975-9-03", offset, repr(line[:80]), "Name: value CRLF")]
    name, space, value, end = found.groups()
    header, wrong = PlainHeader(decode(name), decode(value).strip(" \t"), line), []
    if not space or end != b"\r\n" or _CONTROL.search(value):
        wrong.append(
            Violation("MSR-4975-9-03", offset, repr(line[:80]), "one space after the colon, no control character, CRLF")
        )
    elif header.key in _TIGHT and value != b" ".join(value.split()):
        wrong.append(Violation("MSR-4975-9-03", offset, repr(line[-80:]), "single spaces, none at the end"))
    return header, wrong


def _lower(value: str | None) -> str | None:
    return None if value is None else value.lower()


def _head_violations(head: MsrpHead) -> Iterator[Violation]:
    """What the headers of one message break, seen together."""
    keys = [header.key for header in head.headers]
    first = len(head.raw) - len(head.headers.octets()) - (2 if head.has_body else 0)
    if keys[:2] != ["to-path", "from-path"] or not head.to_path or not head.from_path:
        found = ", ".join(header.name for header in head.headers[:2]) or "no header"
        yield Violation("MSR-4975-7.1-01", first, found, "To-Path, then From-Path, each with a URI")
    for key in _ONCE:
        if keys.count(key) > 1:
            yield Violation("MSR-4975-7.1-07", first, f"{keys.count(key)} x {key}", "the header at most once")
    if "content-transfer-encoding" in keys:
        yield Violation("MSR-4975-7.1.1-03", first, "Content-Transfer-Encoding", "no such header")
    yield from _value_violations(head, first)
    yield from _body_header_violations(head, keys, first)
    if head.method == "SEND" and head.message_id is None:
        yield Violation("MSR-4975-7.1.1-01", first, "no Message-ID", "a Message-ID in every SEND")
    if head.method == "REPORT":
        if head.message_id is None or "status" not in keys:
            yield Violation("MSR-4975-7.1.2-01", first, ", ".join(keys), "Message-ID and Status in a REPORT")
        if "success-report" in keys or "failure-report" in keys:
            yield Violation("MSR-4975-7.1.2-02", first, ", ".join(keys), "no Success-Report, no Failure-Report")


def _value_violations(head: MsrpHead, first: int) -> Iterator[Violation]:
    offset = first
    for header in head.headers:
        value = header.value
        if header.key == "message-id" and not IDENT.fullmatch(value):
            yield Violation("MSR-4975-9-04", offset, repr(value), "an ident of 4 to 32 characters")
        if header.key == "byte-range" and ByteRange.parse(value) is None:
            yield Violation("MSR-4975-9-05", offset, repr(value), "start-end/total")
        if header.key in _REPORTS and value.lower() not in _REPORTS[header.key]:
            yield Violation("MSR-4975-9-06", offset, repr(value), " or ".join(_REPORTS[header.key]))
        if header.key == "status" and not _STATUS.fullmatch(value):
            yield Violation("MSR-4975-9-07", offset, repr(value), "3 digits, a space, 3 digits [, a space, a comment]")
        offset += len(header.raw)


def _body_header_violations(head: MsrpHead, keys: list[str], first: int) -> Iterator[Violation]:
    if head.has_body and not head.is_request:
        yield Violation("MSR-4975-7.2-01", len(head.raw), "a body", "no body in a response")
    if head.has_body and (not keys or keys[-1] != "content-type"):
        yield Violation("MSR-4975-7.1-02", first, keys[-1] if keys else "no header", "Content-Type as the last header")
    if not head.has_body:
        mime = [key for key in keys if key.startswith("content-")]
        if mime:
            yield Violation("MSR-4975-7.1-03", first, ", ".join(mime), "no MIME header without a body")


def end_violations(head: MsrpHead, size: int, flag: str) -> Iterator[Violation]:
    """What a message breaks that is known at its end: ``size`` octets of body, continuation ``flag``."""
    if not head.is_request:
        if flag != "$":
            yield Violation("MSR-4975-7.2-02", len(head.raw) + size, repr(flag), "'$'")
        return
    if head.method != "SEND" and size > MAX_NON_SEND_BODY:
        yield Violation("MSR-4975-7.1-06", len(head.raw), f"{size} octets", f"at most {MAX_NON_SEND_BODY}")
    span = head.byte_range
    if head.method != "SEND" or not head.has_body:
        return
    if size > MAX_SHORT_CHUNK and (span is None or span.end is not None):
        found = "no Byte-Range" if span is None else f"range-end {span.end}"
        yield Violation("MSR-4975-7.1.1-02", len(head.raw), f"{size} octets, {found}", "range-end * beyond 2048 octets")
    if span is None or flag == "#":
        return
    last = span.start + size - 1
    beyond = span.total is not None and last > span.total
    if span.start < 1 or beyond or (span.end is not None and span.end != last):
        yield Violation("MSR-4975-7.1.1-04", len(head.raw), f"{span} with {size} octets", f"{span.start}-{last}")
