"""What one MSRP message by itself can break, each rule under its own name (RFC 4975; RFC 4976 in ``msrp_auth``).

=================== ==================================================================================
MSR-4975-6-01       a URI of a path is one of ``msrp`` or ``msrps``
MSR-4975-6-02       a numeric host has a port
MSR-4975-6-03       a transport follows host or session-id
MSR-4975-6-04       the authority is a host, perhaps with userinfo before it
MSR-4975-6-05       the port is a number up to 65535
MSR-4975-6-06       the characters of a session-id
MSR-4975-6-07       the form of further parameters of a URI
MSR-4975-7.1-01     To-Path is the first header, From-Path the second
MSR-4975-7.1-02     Content-Type is the last header before a body
MSR-4975-7.1-03     no body, no Content-Type and no other MIME header
MSR-4975-7.1-04     CRLF stands between a body and its end-line
MSR-4975-7.1-05     the end-line repeats the transaction identifier of the start-line
MSR-4975-7.1-06     a request other than SEND has at most 10,240 octets of body
MSR-4975-7.1-07     a header stands at most once
MSR-4975-7.1-08     a message ends with its end-line
MSR-4975-7.1-09     there is a To-Path
MSR-4975-7.1-10     there is a From-Path
MSR-4975-7.1-11     a path holds a URI
MSR-4975-7.1-12     a body has a Content-Type
MSR-4975-7.1-13     without a body no empty line stands before the end-line
MSR-4975-7.1-14     the flag is ``$`` only where the last octet of the total ends
MSR-4975-7.1-15     the flag is not ``+`` where the last octet of the total ends
MSR-4975-7.1-16     the flag of a request other than SEND is ``$``: it is neither cut in chunks nor interrupted
MSR-4975-7.1.1-01   a SEND with a body has a Message-ID
MSR-4975-7.1.1-02   a chunk of more than 2,048 octets has no range-end but ``*``
MSR-4975-7.1.1-03   no Content-Transfer-Encoding
MSR-4975-7.1.1-04   the range-end of a chunk that was not aborted is its last octet
MSR-4975-7.1.1-05   a range-start is 1 or more
MSR-4975-7.1.1-06   no range goes beyond its total
MSR-4975-7.1.1-07   the range-start of a SEND without a body is 1
MSR-4975-7.1.1-08   a range-end is not before its range-start, but for the range of nothing
MSR-4975-7.1.1-09   a chunk of more than 2,048 octets has a Byte-Range
MSR-4975-7.1.1-11   a SEND without a body has a Message-ID
MSR-4975-7.1.2-01   a REPORT has a Status
MSR-4975-7.1.2-02   a REPORT has neither Success-Report nor Failure-Report
MSR-4975-7.1.2-03   a REPORT has a Message-ID
MSR-4975-7.1.2-04   the namespace of a Status is one that is defined: 000
MSR-4975-7.2-01     a response has no body
MSR-4975-7.2-02     the flag of a response is ``$``
MSR-4975-9-01       the start-line (or what stands where one must begin)
MSR-4975-9-02       the transaction identifier: 4 to 32 characters of ``ident``
MSR-4975-9-03       a header line: a name, a colon, a value
MSR-4975-9-04       Message-ID is an ``ident``
MSR-4975-9-05       Byte-Range
MSR-4975-9-06       Success-Report: yes, no
MSR-4975-9-07       Status
MSR-4975-9-08       a method is written in upper-case letters
MSR-4975-9-09       CRLF ends a header line, the empty line and the end-line
MSR-4975-9-10       no control characters in the value of a header
MSR-4975-9-11       one space after the colon
MSR-4975-9-12       single spaces between the URIs of a path, none at the end of a value
MSR-4975-9-13       Content-Type: type/subtype and parameters
MSR-4975-9-14       a status code has three digits
MSR-4975-9-15       the comment of a response is UTF-8 without control characters
MSR-4975-9-16       no empty line between messages
MSR-4975-9-17       the value of a header is UTF-8
MSR-4975-9-18       Failure-Report: yes, no, partial
MSR-LIMIT-01        a line beyond the limit of this reader
MSR-LIMIT-02        a head beyond the limit of this reader
MSR-LIMIT-03        a body beyond the limit of this reader
MSR-LIMIT-04        more headers than this reader takes
MSR-LIMIT-05        a number of more digits than this reader takes
=================== ==================================================================================

Names of headers have no case, nor have "yes" and the like: literals of ABNF are so (RFC 4234 2.3).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from cpmspec.wire import msrp_auth
from cpmspec.wire.headers import Header, decode
from cpmspec.wire.msrp_grammar import (
    CONTROL,
    HEADER,
    IDENT,
    MAX_DIGITS,
    MAX_NON_SEND_BODY,
    MAX_SHORT_CHUNK,
    MEDIA_TYPE,
    NO_UTF8,
    RANGE,
    START_LIKE,
    STATUS,
    ByteRange,
)
from cpmspec.wire.msrp_paths import path_violations
from cpmspec.wire.msrp_views import MsrpViews
from cpmspec.wire.violation import Violation

_ONCE = (
    "to-path", "from-path", "message-id", "byte-range", "success-report", "failure-report", "status", "content-type",
    "use-path", "expires", "min-expires", "max-expires",
)  # fmt: skip
_PATHS = ("to-path", "from-path")
# headers of the grammar in whose values only single spaces stand, and only between URIs
_TIGHT = (*_PATHS, "message-id", "byte-range", "success-report", "failure-report", "use-path")
_YES_NO = {
    "success-report": ("MSR-4975-9-06", ("yes", "no")),
    "failure-report": ("MSR-4975-9-18", ("yes", "no", "partial")),
}
_START = re.compile(r"[A-Z]+|[0-9]{3}(?: .*)?", re.DOTALL)


class HeadViews(MsrpViews):
    """What the rules look at: start-line and headers with their octets."""

    __slots__ = ()
    status: int | None
    comment: str
    raw: bytes
    has_body: bool

    @property
    def described(self) -> bool:
        """Whether a MIME header describes a body."""
        return any(header.key.startswith("content-") for header in self.headers)

    def offset(self, key: str) -> int:
        """Where the first header of that name begins; the end of the headers if there is none."""
        at = self.raw.find(b"\n") + 1
        for header in self.headers:
            if header.key == key:
                break
            at += len(header.raw)
        return at


def head_violations(head: HeadViews) -> tuple[Violation, ...]:
    """What start-line and headers break, in the order of their offsets; what depends on the body is not among it."""
    return in_order([*_start_violations(head), *_line_violations(head), *_section_violations(head)])


def end_violations(head: HeadViews, size: int, flag: str, *, crlf: bool = True) -> tuple[Violation, ...]:
    """What a message breaks that is known at its end, in the order of offsets.

    ``size`` is the number of octets of its body, ``flag`` the continuation flag, ``crlf`` tells whether CRLF stood
    before the end-line of a body.
    """
    empty_line = head.has_body and not size and not crlf and not head.described
    found = [*_flag_violations(head, size, flag)]
    if empty_line:
        found.append(Violation("MSR-4975-7.1-13", len(head.raw) - 2, "an empty line", "the end-line at once"))
    elif head.has_body:
        found += _body_violations(head, size, crlf=crlf)
    if head.is_request:
        found += _range_violations(head, size, flag, has_body=head.has_body and not empty_line)
    return in_order(found)


def in_order(violations: list[Violation]) -> tuple[Violation, ...]:
    """By offset; those of one place stay as they are."""
    return tuple(sorted(violations, key=lambda violation: violation.offset))


# --- lines -----------------------------------------------------------------------------------------------------------


def _start_violations(head: HeadViews) -> Iterator[Violation]:
    line = head.raw[: head.raw.find(b"\n") + 1]
    found = START_LIKE.fullmatch(line)
    if found is None:
        return  # a head that was not read, but made
    name, space, _, second, rest, end = found.groups()
    if (name, space, second, end) != (b"MSRP", b" ", b" ", b"\r\n"):
        yield Violation("MSR-4975-9-01", 0, repr(line[:80]), '"MSRP", one space between the parts, CRLF')
    if not IDENT.fullmatch(head.transaction_id):
        yield Violation("MSR-4975-9-02", found.start(3), repr(head.transaction_id), "an ident of 4 to 32 characters")
    text = decode(rest)
    if not _START.fullmatch(text):
        rule = "MSR-4975-9-14" if text[:1].isdigit() else "MSR-4975-9-08"
        yield Violation(rule, found.start(5), repr(text[:80]), "a method in upper case, or three digits")
    if CONTROL.search(head.comment) or NO_UTF8.search(head.comment):
        yield Violation("MSR-4975-9-15", found.start(5), repr(head.comment[:80]), "UTF-8 without control characters")


def _line_violations(head: HeadViews) -> Iterator[Violation]:
    at = head.raw.find(b"\n") + 1
    for header in head.headers:
        found = HEADER.fullmatch(header.raw)
        if found is None:
            yield Violation("MSR-4975-9-03", at, repr(header.raw[:80]), "Name: value")
        else:
            yield from _form_violations(header, found, at)
            yield from _value_violations(header.key, header.value, at)
        at += len(header.raw)
    if head.has_body and not head.raw.endswith(b"\r\n"):
        yield Violation("MSR-4975-9-09", at, repr(head.raw[at:]), "an empty line ended by CRLF")


def _form_violations(header: Header, found: re.Match[bytes], at: int) -> Iterator[Violation]:
    _, space, value, end = found.groups()
    tight = header.key in _TIGHT
    if end != b"\r\n":
        yield Violation("MSR-4975-9-09", at, repr(header.raw[-80:]), "CRLF at the end of the line")
    if CONTROL.search(header.value):
        yield Violation("MSR-4975-9-10", at, repr(header.raw[:80]), "no control character")
    if NO_UTF8.search(header.value):
        yield Violation("MSR-4975-9-17", at, repr(header.raw[:80]), "UTF-8")
    exact = tight or header.key in ("status", "content-type")
    if space != b" " if exact else not space.startswith(b" "):
        yield Violation("MSR-4975-9-11", at, repr(header.raw[:80]), "one space after the colon")
    if (tight and value != b" ".join(value.split())) or (header.key == "content-type" and value != value.rstrip()):
        yield Violation("MSR-4975-9-12", at, repr(header.raw[-80:]), "single spaces, none at the end")


def _value_violations(key: str, value: str, at: int) -> Iterator[Violation]:
    if key in _PATHS:
        if not value:
            yield Violation("MSR-4975-7.1-11", at, "an empty path", "a URI or more")
        yield from path_violations(value, at)
    elif key == "message-id" and not IDENT.fullmatch(value):
        yield Violation("MSR-4975-9-04", at, repr(value), "an ident of 4 to 32 characters")
    elif key == "byte-range":
        yield from _numbers(value, at)
    elif key in _YES_NO and value.lower() not in _YES_NO[key][1]:
        yield Violation(_YES_NO[key][0], at, repr(value), " or ".join(_YES_NO[key][1]))
    elif key == "status":
        yield from _status(value, at)
    elif key == "content-type" and not MEDIA_TYPE.fullmatch(value):
        yield Violation("MSR-4975-9-13", at, repr(value), "type/subtype, and parameters of the form ;name=value")
    elif key == "content-transfer-encoding":
        yield Violation("MSR-4975-7.1.1-03", at, "Content-Transfer-Encoding", "no such header")
    else:
        yield from msrp_auth.value_violations(key, value, at)


def _numbers(value: str, at: int) -> Iterator[Violation]:
    found = RANGE.fullmatch(value)
    if found is None:
        yield Violation("MSR-4975-9-05", at, repr(value[:80]), "start-end/total")
    elif any(len(number) > MAX_DIGITS for number in found.groups()):
        yield Violation("MSR-LIMIT-05", at, repr(value[:80]), f"at most {MAX_DIGITS} digits in a number")


def _status(value: str, at: int) -> Iterator[Violation]:
    found = STATUS.fullmatch(value)
    if found is None:
        yield Violation("MSR-4975-9-07", at, repr(value), "3 digits, a space, 3 digits [, a space, a comment]")
    elif found[1] != "000":
        yield Violation("MSR-4975-7.1.2-04", at, found[1], "the namespace 000")


# --- the section as a whole ------------------------------------------------------------------------------------------


def _section_violations(head: HeadViews) -> Iterator[Violation]:
    keys = [header.key for header in head.headers]
    first, end = head.raw.find(b"\n") + 1, head.offset("")
    expected = [key for key in _PATHS if key in keys]
    for key, rule in zip(_PATHS, ("MSR-4975-7.1-09", "MSR-4975-7.1-10"), strict=True):
        if key not in keys:
            yield Violation(rule, end, f"no {key}", "To-Path and From-Path")
    if keys[: len(expected)] != expected:
        yield Violation("MSR-4975-7.1-01", first, ", ".join(keys[:2]), "To-Path, then From-Path")
    for key in _ONCE:
        if keys.count(key) > 1:
            yield Violation("MSR-4975-7.1-07", first, f"{keys.count(key)} x {key}", "the header at most once")
    if not head.has_body and head.described:
        mime = next(key for key in keys if key.startswith("content-"))
        yield Violation("MSR-4975-7.1-03", head.offset(mime), mime, "no MIME header without a body")
    if head.method == "SEND" and "message-id" not in keys:
        rule = "MSR-4975-7.1.1-01" if head.has_body else "MSR-4975-7.1.1-11"
        yield Violation(rule, end, "no Message-ID", "a Message-ID in every SEND")
    if head.method == "REPORT":
        yield from _report_violations(head, keys, end)
    yield from msrp_auth.message_violations(head.status, keys, end)


def _report_violations(head: HeadViews, keys: list[str], end: int) -> Iterator[Violation]:
    if "status" not in keys:
        yield Violation("MSR-4975-7.1.2-01", end, "no Status", "a Status in every REPORT")
    if "message-id" not in keys:
        yield Violation("MSR-4975-7.1.2-03", end, "no Message-ID", "the Message-ID of the SEND in every REPORT")
    for key in ("success-report", "failure-report"):
        if key in keys:
            yield Violation("MSR-4975-7.1.2-02", head.offset(key), key, "no such header in a REPORT")


# --- body, range, flag -----------------------------------------------------------------------------------------------


def _flag_violations(head: HeadViews, size: int, flag: str) -> Iterator[Violation]:
    if head.method == "SEND" or flag == "$":
        return
    rule = "MSR-4975-7.1-16" if head.is_request else "MSR-4975-7.2-02"
    yield Violation(rule, len(head.raw) + size, repr(flag), "'$'")


def _body_violations(head: HeadViews, size: int, *, crlf: bool) -> Iterator[Violation]:
    at, keys = len(head.raw), [header.key for header in head.headers]
    if not head.is_request:
        yield Violation("MSR-4975-7.2-01", at, "a body", "no body in a response")
    if head.method == "AUTH":
        yield Violation("MSR-4976-4.1-01", at, "a body", "no body in an AUTH")
    if "content-type" not in keys:
        yield Violation("MSR-4975-7.1-12", at, "no Content-Type", "a Content-Type before a body")
    elif keys[-1] != "content-type":
        yield Violation("MSR-4975-7.1-02", head.offset("content-type"), keys[-1], "Content-Type as the last header")
    if head.is_request and head.method != "SEND" and size > MAX_NON_SEND_BODY:
        yield Violation("MSR-4975-7.1-06", at, f"{size} octets", f"at most {MAX_NON_SEND_BODY}")
    if not crlf:
        yield Violation("MSR-4975-7.1-04", at + size, "the end-line at once", "CRLF before the end-line")


def _range_violations(head: HeadViews, size: int, flag: str, *, has_body: bool) -> Iterator[Violation]:
    span, at = head.byte_range, head.offset("byte-range")
    if span is None:
        if head.method == "SEND" and head.value("byte-range") is None and size > MAX_SHORT_CHUNK:
            yield Violation("MSR-4975-7.1.1-09", at, f"no Byte-Range, {size} octets", "a Byte-Range that ends with *")
        return
    if span.start < 1:
        yield Violation("MSR-4975-7.1.1-05", at, str(span), "a range-start of 1 or more")
    elif span.end is not None and span.end < span.start - 1:
        yield Violation("MSR-4975-7.1.1-08", at, str(span), "a range-end that is not before its range-start")
    elif span.end is not None and span.total is not None and span.end > span.total:
        yield Violation("MSR-4975-7.1.1-06", at, str(span), "a range within its total")
    elif head.method == "SEND":
        yield from _chunk_violations(span, at, size, flag, has_body=has_body)


def _chunk_violations(span: ByteRange, at: int, size: int, flag: str, *, has_body: bool) -> Iterator[Violation]:
    """What the range of a SEND breaks, seen beside its body and its flag."""
    last, found = span.start + size - 1, f"{span} with {size} octets and {flag}"
    if not has_body and span.start != 1:
        yield Violation("MSR-4975-7.1.1-07", at, str(span), "a range-start of 1 without a body")
        return
    if size > MAX_SHORT_CHUNK and span.end is not None:
        yield Violation("MSR-4975-7.1.1-02", at, found, "range-end * beyond 2048 octets")
    if flag != "#" and span.end not in (None, last):
        yield Violation("MSR-4975-7.1.1-04", at, found, f"{span.start}-{last}")
    elif span.total is not None and last > span.total:
        yield Violation("MSR-4975-7.1.1-06", at, found, "a range within its total")
    elif flag == "$" and span.total is not None and last < span.total:
        yield Violation("MSR-4975-7.1-14", at, found, f"the flag + before octet {span.total}")
    elif flag == "+" and span.total == last:
        yield Violation("MSR-4975-7.1-15", at, found, "the flag $ where the total ends")
