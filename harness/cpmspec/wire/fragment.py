"""Headers and messages wrapped as a body: message/sip, message/sipfrag, message/msrpfrag.

message/sip is one entire SIP message (RFC 3261 27.5), message/sipfrag what is left of one when its start line, whole
headers or its body are deleted (RFC 3420 2). message/msrpfrag is not registered: here it is read by analogy, as an
optional MSRP start-line, headers, an optional body and an optional end-line; its violations are observations.

Which rules there are: :mod:`cpmspec.wire.fragment_rules`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from cpmspec.wire.bounded import MAX_HEADERS, readable
from cpmspec.wire.fragment_rules import (
    REQUEST_LINE,
    RULES,
    SHOULD,
    STATUS_LINE,
    Kind,
    Layout,
    msrp_violations,
    parameter_violations,
    section_faults,
    sip_violations,
    start_violations,
    whole_violations,
)
from cpmspec.wire.headers import Header, Headers, PlainHeader, decode, encode
from cpmspec.wire.media_type import MediaType
from cpmspec.wire.msrp_grammar import END_LINE, START_LINE
from cpmspec.wire.section import parse_section
from cpmspec.wire.sip_values import parse_cseq
from cpmspec.wire.violation import Violation

__all__ = [
    "SHOULD", "Fragment", "Kind", "build_message_sip", "build_msrpfrag", "build_sipfrag", "kind_of", "parse_fragment",
]  # fmt: skip

_TYPES: Final[dict[str, Kind]] = {
    "message/sip": "sip", "message/sipfrag": "sipfrag", "message/msrpfrag": "msrpfrag",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Fragment:
    """What a wrapped message holds: ``start_line`` without its line end, ``body`` ``None`` if there is none.

    The octets of the start line, of the empty line and of the end-line with the CRLF before it are in ``head``,
    ``separator`` and ``tail``.
    """

    kind: Kind
    start_line: str | None
    headers: Headers
    body: bytes | None
    violations: tuple[Violation, ...] = ()
    head: bytes = b""
    separator: bytes = b""
    tail: bytes = b""

    @classmethod
    def unchecked(
        cls, kind: Kind, headers: Iterable[Header], start_line: str | None = None, body: bytes | None = None
    ) -> Fragment:
        """Put any headers together with anything else: for sending what is wrong on purpose."""
        head = b"" if start_line is None else encode(start_line) + b"\r\n"
        return cls(kind, start_line, Headers(headers), body, (), head, b"" if body is None else b"\r\n")

    def octets(self) -> bytes:
        """The octets as received."""
        return b"".join((self.head, self.headers.octets(), self.separator, self.body or b"", self.tail))

    @property
    def method(self) -> str | None:
        """The method that the start line names, else the one in CSeq; ``None`` if neither tells."""
        if self.kind == "msrpfrag":
            found = START_LINE.fullmatch(encode(self.start_line or "") + b"\r\n")
            method = decode(found[2]) if found else ""
            return method if method.isalpha() else None
        request = REQUEST_LINE.fullmatch(self.start_line or "")
        if request is not None:
            return request[1]
        cseq = parse_cseq(self.headers.get("CSeq") or "")
        return None if cseq is None else cseq.method


def kind_of(media_type: str) -> Kind | None:
    """Which of the three kinds a Content-Type names, ``None`` for any other type."""
    return _TYPES.get(MediaType.parse(media_type).full)


def parse_fragment(media_type: str, octets: bytes) -> Fragment:
    """Read a wrapped message as what ``media_type`` says; any other type than the three is read as sipfrag.

    ``violations`` are in the order of their offsets; what is wrong with the parameters of the type stands at 0.
    """
    kind = kind_of(media_type) or "sipfrag"
    wrong = list(parameter_violations(kind, MediaType.parse(media_type).params))
    start_line, at = _start_line(octets)
    if start_line is not None or kind == "sip":
        wrong.extend(start_violations(kind, start_line, octets[:at]))
    if not readable(octets, at):
        wrong.append(Violation("FRG-LIMIT-01", at, f"{len(octets) - at} octets", "a header section that can be read"))
        return Fragment(kind, start_line, Headers(), octets[at:], tuple(wrong), octets[:at])
    end = _end_of_content(octets, start_line) if kind == "msrpfrag" else len(octets)
    section = parse_section(octets[:end], at, PlainHeader if kind == "msrpfrag" else Header)
    headers, blank = section.headers, bool(section.separator)
    wrong.extend(section_faults(kind, section))
    if len(headers) > MAX_HEADERS:
        wrong.append(Violation("FRG-LIMIT-02", at, f"{len(headers)} headers", f"at most {MAX_HEADERS}"))
    if end == len(octets) and not blank and not octets.endswith(b"\n") and len(octets) > at:
        wrong.append(Violation(RULES[kind]["line"], len(octets), "the end of the octets", "CRLF after the last header"))
    body = octets[section.end : end] if blank and (section.end < end or kind == "msrpfrag") else None
    layout = Layout(kind, start_line, headers, body, at, blank)
    if kind == "msrpfrag":
        wrong.extend(msrp_violations(layout, octets[end:], end))
    else:
        wrong.extend(sip_violations(layout))
    if kind == "sip":
        wrong.extend(whole_violations(layout))
    found = tuple(sorted(wrong, key=lambda violation: violation.offset))
    return Fragment(kind, start_line, headers, body, found, octets[:at], section.separator, octets[end:])


def _start_line(octets: bytes) -> tuple[str | None, int]:
    """The first line if it is neither empty nor a header, and how many octets it takes."""
    end = octets.find(b"\n") + 1 or len(octets)
    line = octets[:end]
    if not line.strip(b"\r\n") or _is_header(line):
        return None, 0
    return decode(line.rstrip(b"\r\n")), end


def _is_header(line: bytes) -> bool:
    """Whether a line begins with a name, then white space at will and a colon."""
    name, colon, _ = line.partition(b":")
    name = name.rstrip(b" \t")
    return bool(colon and name) and len(name.split()) == 1 and not name[:1].isspace()


def _end_of_content(octets: bytes, start_line: str | None) -> int:
    """Where the content of a msrpfrag ends that repeats its start-line's transaction identifier in an end-line."""
    begin = octets.rfind(b"-------")
    found = END_LINE.fullmatch(octets[begin:].removesuffix(b"\r\n") + b"\r\n") if begin >= 0 else None
    start = START_LINE.fullmatch(encode(start_line or "") + b"\r\n")
    if found is None or start is None or found[1] != start[1]:
        return len(octets)
    bodiless = b"\r\n\r\n" not in octets[:begin]
    return begin if bodiless or not octets[:begin].endswith(b"\r\n") else begin - 2


def build_sipfrag(
    headers: Iterable[tuple[str, str]], start_line: str | None = None, body: bytes | None = None
) -> bytes:
    """The octets of a message/sipfrag: header lines each ended by CRLF; the empty line only before a body (RFC 3420 2).

    :raises ValueError: a header or the start line holds CR, LF or NUL, the start line is none of SIP/2.0, or something
        else makes it no valid message/sipfrag.
    """
    if start_line is not None and not (REQUEST_LINE.fullmatch(start_line) or STATUS_LINE.fullmatch(start_line)):
        raise ValueError(f"start line {start_line!r} is no Request-Line or Status-Line of SIP/2.0")
    return _checked("message/sipfrag", Fragment.unchecked("sipfrag", Headers.of(*headers), start_line, body).octets())


def build_message_sip(message: bytes) -> bytes:
    """The octets of a message/sip: one entire SIP message as it stands (RFC 3261 27.5).

    :raises ValueError: it would not be a valid message/sip.
    """
    return _checked("message/sip", message)


def build_msrpfrag(headers: Iterable[tuple[str, str]]) -> bytes:
    """The octets of a header-only message/msrpfrag.

    :raises ValueError: a header holds CR, LF or NUL.
    """
    return Headers(PlainHeader.make(name, value) for name, value in headers).octets()


def _checked(media_type: str, octets: bytes) -> bytes:
    wrong = [str(one) for one in parse_fragment(media_type, octets).violations if one.id not in SHOULD]
    if wrong:
        kind = "SIP message" if media_type == "message/sip" else media_type
        raise ValueError(f"no valid {kind}: {'; '.join(wrong)}")
    return octets
