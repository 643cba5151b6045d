"""SIP messages from octets: datagrams, and framing on streams (RFC 3261 7, 18.3, 25.1).

A parsed message keeps every octet: ``parse_message(octets).octets() == octets``. The values themselves and their
building are in :mod:`cpmspec.wire.sip_message`, typed header views in :mod:`cpmspec.wire.sip_views`; all of their
public names can be had from here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from cpmspec.wire.headers import Header, Headers, decode
from cpmspec.wire.section import TOKEN, Defect, Fault, Section, line_defects, next_line, parse_section, shown
from cpmspec.wire.sip_message import (
    REASONS,
    SipMessage,
    SipRequest,
    SipResponse,
    SipUnreadable,
    build_request,
    build_response,
    response_to,
)
from cpmspec.wire.sip_views import (
    BLANKS,
    CSeq,
    Via,
    parse_cseq,
    parse_number,
    parse_via,
    with_first,
    without_first,
)
from cpmspec.wire.violation import Violation

__all__ = [
    "MAX_BODY", "MAX_SECTION", "REASONS", "CSeq", "SipMessage", "SipRequest", "SipResponse", "SipStream",
    "SipUnreadable", "Via", "build_request", "build_response", "parse_cseq", "parse_message", "parse_via",
    "response_to", "with_first", "without_first",
]  # fmt: skip

#: octets of a start line and headers on a stream: as much as a UDP datagram could carry, 30 times what is usual
MAX_SECTION = 65_536
#: octets of a body on a stream: SDP and pager-mode messages are far below; large content goes by MSRP
MAX_BODY = 16 * 1024 * 1024
#: a Content-Length is read up to here; who claims more gets his octets skipped, never buffered
MAX_LENGTH = 10**18


# RFC 3261 8.1.1 (requests) and 8.2.6.2 (responses): without these no transaction can be told
_MANDATORY = ("to", "from", "cseq", "call-id", "via")
# RFC 3261 7.3.1, 20: headers whose grammar is no list stand at most once
_SINGLE = frozenset(
    {
        "to", "from", "cseq", "call-id", "max-forwards", "content-length", "content-type", "date", "expires", "subject",
    }
)  # fmt: skip

_FAULTS = {
    Fault.LINE_END: ("SIP-3261-7-01", "CRLF"),
    Fault.UNTERMINATED: ("SIP-3261-7-02", "an empty line after the headers"),
    Fault.NO_COLON: ("SIP-3261-7.3-01", "a header name, a colon and a value"),
    Fault.NAME: ("SIP-3261-7.3-02", "a header name that is a token"),
    Fault.CONTROL: ("SIP-3261-25.1-01", "no CR or NUL inside a line"),
}


def parse_message(octets: bytes) -> SipRequest | SipResponse | SipUnreadable:
    """Read a datagram, or exactly one message.

    With a Content-Length below what is there, the body is cut (RFC 3261 18.3) and the rest is ``trailing``.
    """
    head = _read_head(octets)
    if isinstance(head, SipUnreadable):
        return head
    rest = octets[head.end :]
    length, violations = _content_length(head, stream=False)
    if length is not None and length > len(rest):
        violations.append(_violation("18.3-01", head.end, f"{len(rest)} octets", f"{length} octets of body"))
    elif length is not None and length < len(rest):
        at = head.end + length
        violations.append(_violation("18.3-02", at, f"{len(rest) - length} octets more", "the end of the message"))
    cut = len(rest) if length is None else min(length, len(rest))
    return head.message(rest[:cut], rest[cut:], violations)


class SipStream:
    """The messages in a stream of octets (RFC 3261 18.3): any split of the stream gives the same messages.

    Octets between messages are never lost: what is no message comes out as :class:`SipUnreadable`, in pieces of at
    most :data:`MAX_SECTION`. Only CRLF between messages (keep-alives, RFC 5626 3.5.1) is skipped.
    """

    __slots__ = ("_buffer", "_head", "_length", "_searched", "_skip", "_violations")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._searched = 0
        self._head: _Head | None = None
        self._length = 0
        self._violations: list[Violation] = []
        self._skip = 0

    @property
    def pending(self) -> bytes:
        """The octets that do not make a message yet."""
        return bytes(self._buffer)

    def feed(self, octets: bytes) -> list[SipRequest | SipResponse | SipUnreadable]:
        """Take octets, give the messages that they complete."""
        self._buffer += octets
        return list(self._messages())

    def _messages(self) -> Iterator[SipRequest | SipResponse | SipUnreadable]:
        while True:
            message = self._skipped() if self._skip else self._next()
            if message is None:
                return
            yield message

    def _next(self) -> SipRequest | SipResponse | SipUnreadable | None:
        """The next whole message, if there is one."""
        if self._head is None:
            self._drop_keep_alives()
            end = self._section_end()
            if end is None:
                if len(self._buffer) < MAX_SECTION:
                    return None
                reason = _violation("7-03", 0, f"{MAX_SECTION} octets without an empty line", "a header section")
                return SipUnreadable(self._take(MAX_SECTION), (reason,))
            head = _read_head(bytes(self._buffer[:end]))
            if isinstance(head, SipUnreadable):
                self._take(end)
                return head
            length, self._violations = _content_length(head, stream=True)
            self._head, self._length = head, length or 0
        head, end = self._head, self._head.end
        if self._length > MAX_BODY:
            self._head, self._skip = None, self._length
            reason = _violation("18.3-04", end, f"Content-Length {self._length}", f"at most {MAX_BODY}")
            return SipUnreadable(self._take(end), (reason,))
        if len(self._buffer) < end + self._length:
            return None
        body = self._take(end + self._length)[end:]
        self._head = None
        return head.message(body, b"", self._violations)

    def _skipped(self) -> SipUnreadable | None:
        """The next whole piece of a body above the limit."""
        size = min(self._skip, MAX_SECTION)
        if len(self._buffer) < size:
            return None
        self._skip -= size
        reason = _violation("18.3-04", 0, "a piece of a body above the limit", f"at most {MAX_BODY} octets of body")
        return SipUnreadable(self._take(size), (reason,))

    def _drop_keep_alives(self) -> None:
        """Remove empty lines before a start line (RFC 3261 7.5)."""
        position = _empty_lines(self._buffer)
        if position:
            self._take(position)

    def _section_end(self) -> int | None:
        """The offset after the first empty line within the limit; the search goes on where it ended before."""
        match = _EMPTY_LINE.search(self._buffer, self._searched, MAX_SECTION)
        if match is not None:
            return match.end()
        self._searched = max(0, min(len(self._buffer), MAX_SECTION) - 2)
        return None

    def _take(self, size: int) -> bytes:
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        self._searched = 0
        return taken


# RFC 3261 25.1: the null line; LF alone is found too, so that it can be reported
_EMPTY_LINE = re.compile(rb"\n\r?\n")
_LEADING = re.compile(rb"(?:\r?\n)*")


@dataclass(frozen=True, slots=True)
class _Head:
    """A start line and its headers, the body still to come."""

    start: bytes
    line: tuple[str, str] | tuple[int, str]
    section: Section
    violations: tuple[Violation, ...]

    @property
    def end(self) -> int:
        """Offset of the body."""
        return self.section.end

    def message(self, body: bytes, trailing: bytes, violations: list[Violation]) -> SipRequest | SipResponse:
        """The message with its body."""
        headers, separator = self.section.headers, self.section.separator
        found = [*self.violations, *violations]
        if body and headers.get("content-type") is None:
            found.append(_violation("20.15-01", self.end, "a body without Content-Type", "Content-Type"))
        rest = (headers, body, self.start, separator, tuple(found), trailing)
        first, second = self.line
        return SipRequest(first, second, *rest) if isinstance(first, str) else SipResponse(first, second, *rest)


def _empty_lines(octets: bytes | bytearray) -> int:
    """How many octets of empty lines the input begins with."""
    match = _LEADING.match(octets)
    return match.end() if match else 0


def _read_head(octets: bytes) -> _Head | SipUnreadable:
    at = _empty_lines(octets)
    line, content = next_line(octets, at)
    violations = [_of_defect(defect) for defect in line_defects(line, content, at)]
    read = _start_line(decode(content), at, violations)
    if read is None:
        expected = "a request line or a status line"
        return SipUnreadable(octets, (*violations, _violation("7.1-01", at, shown(decode(content)), expected)))
    section = parse_section(octets, at + len(line), Header)
    violations += [_of_defect(defect) for defect in section.defects]
    violations += _header_rules(read, section.headers, at + len(line))
    return _Head(octets[: at + len(line)], read, section, tuple(violations))


# Request-Line = Method SP Request-URI SP SIP-Version CRLF
# Status-Line  = SIP-Version SP Status-Code SP Reason-Phrase CRLF ; Status-Code = 3DIGIT
def _start_line(text: str, at: int, violations: list[Violation]) -> tuple[str, str] | tuple[int, str] | None:
    if text[:4].upper() == "SIP/":
        version, _, rest = text.partition(" ")
        code, space, reason = rest.lstrip(" ").partition(" ")
        if not (len(code) == 3 and code.isascii() and code.isdigit() and 100 <= int(code) <= 699):
            return None
        if not space or rest.startswith(" "):
            violations.append(_violation("7.2-01", at, shown(text), "single spaces around the status code"))
        violations += _version_rule(version, at)
        return int(code), reason
    parts = BLANKS.split(text.strip(" \t"))
    if len(parts) < 3 or TOKEN.fullmatch(parts[0]) is None or parts[-1][:4].upper() != "SIP/":
        return None
    method, uri, version = parts[0], " ".join(parts[1:-1]), parts[-1]
    if text != f"{method} {uri} {version}" or len(parts) > 3:
        violations.append(_violation("7.1-02", at, shown(text), "single spaces, and none inside the Request-URI"))
    if uri.startswith("<"):
        violations.append(_violation("7.1-03", at, shown(uri), "a Request-URI without angle brackets"))
    violations += _version_rule(version, at)
    return method, uri


def _version_rule(version: str, at: int) -> list[Violation]:
    return [] if version == "SIP/2.0" else [_violation("7.1-04", at, shown(version), "SIP/2.0")]


def _header_rules(line: tuple[str, str] | tuple[int, str], headers: Headers, at: int) -> list[Violation]:
    """Headers that are missing, doubled, or contradict the start line (RFC 3261 8.1.1, 7.3.1, 8.1.1.5)."""
    keys = [header.key for header in headers]
    violations: list[Violation] = []
    method = line[0] if isinstance(line[0], str) else None
    wanted = _MANDATORY if method is None else (*_MANDATORY, "max-forwards")
    missing = [name for name in wanted if name not in keys]
    violations.extend(_violation("8.1.1-01", at, f"no {name}", f"a {name} header") for name in missing)
    seen: set[str] = set()
    for header, key in zip(headers, keys, strict=True):
        if key in _SINGLE and key in seen:
            violations.append(_violation("7.3.1-01", at, f"another {header.name}", f"at most one {key} header"))
        seen.add(key)
        at += len(header.raw)
    value = headers.get("cseq")
    if value is not None:
        cseq = parse_cseq(value)
        if cseq is None:
            violations.append(_violation("8.1.1.5-01", at, shown(value), "a number below 2**31 and a method"))
        elif method is not None and cseq.method != method:
            violations.append(_violation("8.1.1.5-02", at, shown(value), f"the method {method}"))
    return violations


def _content_length(head: _Head, *, stream: bool) -> tuple[int | None, list[Violation]]:
    """The length of the body by Content-Length; ``None``: to the end of the datagram (RFC 3261 18.3, 20.14).

    The first value counts. On a stream a missing or unreadable one counts as 0, which 18.3 calls for an error of.
    """
    values = head.section.headers.get_all("content-length")
    if not values:
        missing = _violation("18.3-03", head.end, "no Content-Length", "Content-Length on a stream")
        return None, [missing] if stream else []
    length = parse_number(values[0], MAX_LENGTH)
    if length is None:
        return None, [_violation("20.14-01", head.end, shown(values[0]), "a number of octets")]
    if len(set(values)) > 1:
        return length, [_violation("20.14-02", head.end, shown(", ".join(values)), "one Content-Length")]
    return length, []


def _of_defect(defect: Defect) -> Violation:
    rule, expected = _FAULTS[defect.fault]
    return Violation(rule, defect.offset, defect.found, expected)


def _violation(rule: str, offset: int, found: str, expected: str) -> Violation:
    return Violation(f"SIP-3261-{rule}", offset, found, expected)
