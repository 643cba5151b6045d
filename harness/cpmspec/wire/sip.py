"""SIP messages from octets: datagrams, and framing on streams (RFC 3261 7, 18.3, 25.1).

A parsed message keeps every octet: ``parse_message(octets).octets() == octets``. The values themselves and their
building are in :mod:`cpmspec.wire.sip_message`, typed header views in :mod:`cpmspec.wire.sip_views`; all of their
public names can be had from here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from cpmspec.wire.headers import Header, decode
from cpmspec.wire.section import TOKEN, Defect, Section, line_defects, next_line, parse_section, shown
from cpmspec.wire.sip_message import (
    REASONS,
    SipMessage,
    SipRequest,
    SipResponse,
    SipUnreadable,
    build_request,
    build_response,
    response_to,
    unchecked_request,
    unchecked_response,
)
from cpmspec.wire.sip_rules import Findings, StartLine, find, of_defect
from cpmspec.wire.sip_views import (
    BLANKS,
    AcceptContact,
    CSeq,
    SessionExpires,
    Via,
    parse_accept_contact,
    parse_cseq,
    parse_number,
    parse_session_expires,
    parse_via,
    with_first,
    without_first,
)
from cpmspec.wire.violation import Violation

__all__ = [
    "MAX_BODY", "MAX_SECTION", "REASONS", "AcceptContact", "CSeq", "SessionExpires", "SipEvent", "SipKeepAlive",
    "SipMessage", "SipRequest", "SipResponse", "SipStream", "SipUnreadable", "Via", "build_request", "build_response",
    "parse_accept_contact", "parse_cseq", "parse_message", "parse_session_expires", "parse_via", "response_to",
    "unchecked_request", "unchecked_response", "with_first", "without_first",
]  # fmt: skip

#: octets of a start line and headers on a stream: as much as a UDP datagram could carry, 30 times what is usual
MAX_SECTION = 65_536
#: octets of a body on a stream: SDP and pager-mode messages are far below; large content goes by MSRP
MAX_BODY = 16 * 1024 * 1024
#: a Content-Length is read up to here; who claims more gets his octets skipped, never buffered
MAX_LENGTH = 10**18

# the request line that nearly all requests have: what it does not match is read by _any_start
_USUAL_REQUEST = re.compile(rb"([A-Z]+) ([!-;=?-~]+) SIP/2\.0\r\n")


def parse_message(octets: bytes) -> SipRequest | SipResponse | SipUnreadable:
    """Read a datagram, or exactly one message.

    With a Content-Length below what is there, the body is cut (RFC 3261 18.3) and the rest is ``trailing``.
    """
    head = _read_head(octets)
    if isinstance(head, SipUnreadable):
        return head
    end = head.section.end
    rest = octets[end:]
    length, violations = _content_length(head, stream=False)
    if length is None or length == len(rest):
        return head.message(rest, b"", violations)
    if length > len(rest):
        violations = (
            *violations,
            Violation("SIP-3261-18.3-01", end, f"{len(rest)} octets", f"{length} octets of body"),
        )
    else:
        more = f"{len(rest) - length} octets more"
        violations = (*violations, Violation("SIP-3261-18.3-02", end + length, more, "the end of the message"))
    return head.message(rest[:length], rest[length:], violations)


@dataclass(frozen=True, slots=True)
class SipKeepAlive:
    """CRLF between the messages of a stream (RFC 3261 7.5, RFC 5626 3.5.1)."""

    octets: bytes = b"\r\n"


SipEvent = SipRequest | SipResponse | SipUnreadable | SipKeepAlive


class SipStream:
    """The messages in a stream of octets (RFC 3261 18.3): any split of the stream gives the same events.

    No octet is lost: the octets of all events and :attr:`pending` are the stream. What is no message comes out as
    :class:`SipUnreadable`, in pieces of at most :data:`MAX_SECTION`.
    """

    __slots__ = ("_buffer", "_head", "_length", "_searched", "_skip", "_violations")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._searched = 0
        self._head: _Head | None = None
        self._length = 0
        self._violations: tuple[Violation, ...] = ()
        self._skip = 0

    @property
    def pending(self) -> bytes:
        """The octets that do not make a message yet."""
        return bytes(self._buffer)

    def events(self, octets: bytes) -> list[SipEvent]:
        """Take octets, give what they complete: messages, what is none, and keep-alives."""
        self._buffer += octets
        return list(iter(self._event, None))

    def feed(self, octets: bytes) -> list[SipRequest | SipResponse | SipUnreadable]:
        """As :meth:`events`, without the keep-alives."""
        return [event for event in self.events(octets) if not isinstance(event, SipKeepAlive)]

    def _event(self) -> SipEvent | None:
        """The next whole event, if there is one."""
        if self._skip:
            return self._skipped()
        if self._head is None:
            if self._buffer[:2] == b"\r\n":
                return SipKeepAlive(self._take(2))
            if self._buffer[:2] == b"\r":
                return None
            end = self._section_end()
            if end is None:
                if len(self._buffer) < MAX_SECTION:
                    return None
                reason = Violation("SIP-LIMIT-01", 0, f"{MAX_SECTION} octets without an empty line", "a header section")
                return SipUnreadable(self._take(MAX_SECTION), (reason,))
            head = _read_head(bytes(self._buffer[:end]))
            if isinstance(head, SipUnreadable):
                self._take(end)
                return head
            length, self._violations = _content_length(head, stream=True)
            self._head, self._length = head, length or 0
        return self._message(self._head)

    def _message(self, head: _Head) -> SipRequest | SipResponse | SipUnreadable | None:
        """The message with that head, once its body is there."""
        if self._length > MAX_BODY:
            self._head, self._skip = None, self._length
            reason = Violation("SIP-LIMIT-02", head.end, f"Content-Length {self._length}", f"at most {MAX_BODY}")
            return SipUnreadable(self._take(head.end), (reason,))
        if len(self._buffer) < head.end + self._length:
            return None
        body = self._take(head.end + self._length)[head.end :]
        self._head = None
        return head.message(body, b"", self._violations)

    def _skipped(self) -> SipUnreadable | None:
        """The next whole piece of a body above the limit."""
        size = min(self._skip, MAX_SECTION)
        if len(self._buffer) < size:
            return None
        self._skip -= size
        reason = Violation("SIP-LIMIT-02", 0, "a piece of a body above the limit", f"at most {MAX_BODY} octets of body")
        return SipUnreadable(self._take(size), (reason,))

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
_LEADING = re.compile(rb"\A(?:\r?\n)+")
_BARE = re.compile(rb"(?<!\r)\n")


class _Head(NamedTuple):
    """A start line and its headers, the body still to come."""

    start: bytes
    line: StartLine
    section: Section
    violations: tuple[Violation, ...]

    @property
    def end(self) -> int:
        """Offset of the body."""
        return self.section.end

    def message(self, body: bytes, trailing: bytes, violations: tuple[Violation, ...]) -> SipRequest | SipResponse:
        """The message with its body."""
        start, line, (headers, separator, *_), known = self
        findings = Findings(partial(find, known + violations, start, line, headers, body))
        rest = (headers, body, start, separator, findings, trailing)
        first, second = line
        return SipRequest(first, second, *rest) if isinstance(first, str) else SipResponse(first, second, *rest)


def _read_head(octets: bytes) -> _Head | SipUnreadable:
    known: tuple[Violation, ...] = ()
    usual = _USUAL_REQUEST.match(octets)
    if usual is not None:
        start, line = usual[0], (usual[1].decode(), usual[2].decode())
    else:
        read = _any_start(octets)
        if isinstance(read, SipUnreadable):
            return read
        start, line, known = read
    section = parse_section(octets, len(start), Header)
    if section.end > MAX_SECTION:
        found = f"{section.end} octets of start line and headers"
        return SipUnreadable(octets, (Violation("SIP-LIMIT-01", MAX_SECTION, found, f"at most {MAX_SECTION}"),))
    return _Head(start, line, section, (*known, *_defects(section.defects)) if section.defects else known)


def _any_start(octets: bytes) -> tuple[bytes, StartLine, tuple[Violation, ...]] | SipUnreadable:
    """The start line with the empty lines before it, read, and what is wrong with it."""
    at = len(octets) - len(_LEADING.sub(b"", octets, count=1))
    violations = [Violation("SIP-3261-7-01", bare.start(), "LF", "CRLF") for bare in _BARE.finditer(octets, 0, at)]
    line, content = next_line(octets, at)
    violations += _defects(line_defects(line, content, at))
    text = decode(content)
    read = (_status_line if text[:4].upper() == "SIP/" else _request_line)(text, at, violations)
    found = tuple(violations)
    return SipUnreadable(octets, found) if read is None else (octets[: at + len(line)], read, found)


# Status-Line = SIP-Version SP Status-Code SP Reason-Phrase CRLF ; Status-Code = 3DIGIT
def _status_line(text: str, at: int, violations: list[Violation]) -> StartLine | None:
    version, _, rest = text.partition(" ")
    code, space, reason = rest.lstrip(" ").partition(" ")
    if not (len(code) == 3 and code.isascii() and code.isdigit() and 100 <= int(code) <= 699):
        violations.append(Violation("SIP-3261-7.2-02", at, shown(text), "a status code from 100 to 699"))
        return None
    if not space or rest.startswith(" "):
        violations.append(Violation("SIP-3261-7.2-01", at, shown(text), "single spaces around the status code"))
    _version_rule(version, at, violations)
    return int(code), reason


# Request-Line = Method SP Request-URI SP SIP-Version CRLF
def _request_line(text: str, at: int, violations: list[Violation]) -> StartLine | None:
    parts = BLANKS.split(text.strip(" \t"))
    if len(parts) < 3 or TOKEN.fullmatch(parts[0]) is None or parts[-1][:4].upper() != "SIP/":
        violations.append(Violation("SIP-3261-7.1-01", at, shown(text), "a request line or a status line"))
        return None
    method, uri, version = parts[0], " ".join(parts[1:-1]), parts[-1]
    if text != f"{method} {uri} {version}" or len(parts) > 3:
        violations.append(
            Violation("SIP-3261-7.1-02", at, shown(text), "single spaces, and none inside the Request-URI")
        )
    if uri.startswith("<"):
        violations.append(Violation("SIP-3261-7.1-03", at, shown(uri), "a Request-URI without angle brackets"))
    _version_rule(version, at, violations)
    return method, uri


def _version_rule(version: str, at: int, violations: list[Violation]) -> None:
    if version != "SIP/2.0":
        violations.append(Violation("SIP-3261-7.1-04", at, shown(version), "SIP/2.0"))


def _defects(defects: Iterable[Defect]) -> list[Violation]:
    """The rules that defects break; a NUL may be part of a quoted pair, which the rules of headers look into."""
    return [of_defect(one) for one in defects if one.found != "NUL"]


def _content_length(head: _Head, *, stream: bool) -> tuple[int | None, tuple[Violation, ...]]:
    """The length of the body by Content-Length; ``None``: to the end of the datagram (RFC 3261 18.3, 20.14).

    The first value counts. On a stream a missing or unreadable one counts as 0, which 18.3 calls for an error of.
    """
    headers = head.section.headers
    count = headers.keys.count("content-length")
    if not count:
        missing = Violation("SIP-3261-18.3-03", head.section.end, "no Content-Length", "Content-Length on a stream")
        return None, (missing,) if stream else ()
    length = parse_number(headers.get("Content-Length"), MAX_LENGTH)
    if length is not None and count == 1:
        return length, ()
    return length, tuple(_wrong_lengths(head, length))


def _wrong_lengths(head: _Head, length: int | None) -> Iterator[Violation]:
    """The first Content-Length if it is no number, and each that says something else."""
    at, first = len(head.start), None
    for header, key in zip(head.section.headers, head.section.headers.keys, strict=True):
        if key == "content-length" and first is None:
            first = header.value
            if length is None:
                yield Violation("SIP-3261-20.14-01", at, shown(first), "a number of octets")
        elif key == "content-length" and header.value != first and parse_number(header.value, MAX_LENGTH) != length:
            yield Violation("SIP-3261-20.14-02", at, shown(f"{first}, {header.value}"), "one Content-Length")
        at += len(header.raw)
