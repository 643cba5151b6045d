"""Headers and messages wrapped as a body: message/sip, message/sipfrag, message/msrpfrag.

message/sip is one entire SIP message (RFC 3261 27.5), message/sipfrag what is left of one when its start line, whole
headers or its body are deleted (RFC 3420 2). message/msrpfrag is not registered: here it is read by analogy, as an
optional MSRP start-line, headers, an optional body and an optional end-line; its violations are observations.

==================== =================================================================================
FRG-3261-27.5-01     message/sip begins with a complete start line of SIP/2.0
FRG-3261-27.5-02     it has To, From, CSeq, Call-ID, Via, and in a request Max-Forwards (8.1.1, 8.2.6.2)
FRG-3261-27.5-03     an empty line ends the headers, also without a body (7)
FRG-3261-27.5-04     a header line is valid and ended by CRLF (7.3, 25.1)
FRG-3261-27.5-05     a header that stands once stands once (7.3.1)
FRG-3261-27.5-06     Content-Length agrees with the body inside (20.14)
FRG-3261-27.5-07     a body has a Content-Type (20.15)
FRG-3261-27.5-08     the method in CSeq is that of the request line (8.1.1.5)
FRG-3261-27.5-09     an INVITE has exactly one Contact (8.1.1.8), a MESSAGE none (RFC 3428 4)
FRG-3261-27.5-10     Date is RFC 1123 form, in GMT (20.17)
FRG-3261-27.5-11     the only parameter of the media type is version
FRG-3420-2-01        a header line is valid and ended by CRLF
FRG-3420-2-02        a body is described by Content-Type
FRG-3420-2-03        Content-Length agrees with a body that is there
FRG-3420-3.2-01      a start line, if there is one, is complete and of SIP/2.0
FRG-3420-3.2-02      a header that stands once stands at most once
FRG-3420-3.2-03      the value of a header is valid
FRG-3420-5-01        the only parameter of the media type is version
FRG-MSRP-01          a start-line of MSRP, if there is one, is complete
FRG-MSRP-02          a header line is valid and ended by CRLF
FRG-MSRP-03          a header stands at most once
FRG-MSRP-04          the value of a header is valid
==================== =================================================================================
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Literal

from cpmspec.wire.headers import Header, Headers, PlainHeader, decode, encode
from cpmspec.wire.mime import MediaType, section_violations
from cpmspec.wire.msrp_head import END_LINE, IDENT, START_LINE, ByteRange
from cpmspec.wire.section import parse_section
from cpmspec.wire.violation import Violation

Kind = Literal["sip", "sipfrag", "msrpfrag"]

# Request-Line = Method SP Request-URI SP SIP-Version CRLF ; Status-Line = SIP-Version SP 3DIGIT SP Reason-Phrase CRLF
_TOKEN = r"[A-Za-z0-9\-.!%*_+`'~]+"
_REQUEST_LINE = re.compile(rf"({_TOKEN}) ([^ \x00-\x1f]+) SIP/2\.0")
_STATUS_LINE = re.compile(r"SIP/2\.0 [1-6][0-9]{2} [^\x00-\x08\x0a-\x1f]*")
_NAME = re.compile(rf"{_TOKEN}")
_HEADER_LIKE = re.compile(rb"[^\s:]+[ \t]*:")
# SIP-date = rfc1123-date = wkday "," SP date1 SP time SP "GMT"
_DATE = re.compile(
    r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), [0-9]{2} (Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) [0-9]{4} "
    r"([01][0-9]|2[0-3]):[0-5][0-9]:[0-6][0-9] GMT"
)
_CSEQ = re.compile(rf"([0-9]{{1,10}})[ \t]+({_TOKEN})")
# callid = word [ "@" word ]
_WORD = r"[A-Za-z0-9\-.!%*_+`'~()<>:\\\"/\[\]?{}]+"
_CALL_ID = re.compile(rf"{_WORD}(@{_WORD})?")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_MANDATORY: Final = ("to", "from", "cseq", "call-id", "via")
_SINGLE: Final = frozenset({
    "to", "from", "cseq", "call-id", "max-forwards", "content-type", "content-length", "content-disposition", "date",
    "subject", "expires", "min-expires", "mime-version", "organization", "priority", "reply-to", "retry-after",
    "server", "timestamp", "user-agent", "event", "refer-to", "session-expires",
    "conversation-id", "contribution-id", "inreplyto-contribution-id",
})  # fmt: skip
_MSRP_SINGLE: Final = frozenset({
    "to-path", "from-path", "message-id", "byte-range", "success-report", "failure-report", "status", "content-type",
})  # fmt: skip
_RULES: Final[dict[Kind, dict[str, str]]] = {
    "sip": {"start": "FRG-3261-27.5-01", "line": "FRG-3261-27.5-04", "once": "FRG-3261-27.5-05",
            "length": "FRG-3261-27.5-06", "type": "FRG-3261-27.5-07", "value": "FRG-3261-27.5-04",
            "date": "FRG-3261-27.5-10", "param": "FRG-3261-27.5-11"},
    "sipfrag": {"start": "FRG-3420-3.2-01", "line": "FRG-3420-2-01", "once": "FRG-3420-3.2-02",
                "length": "FRG-3420-2-03", "type": "FRG-3420-2-02", "value": "FRG-3420-3.2-03",
                "date": "FRG-3420-3.2-03", "param": "FRG-3420-5-01"},
    "msrpfrag": {"start": "FRG-MSRP-01", "line": "FRG-MSRP-02", "once": "FRG-MSRP-03", "value": "FRG-MSRP-04"},
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Fragment:
    """What a wrapped message holds: ``start_line`` without its line end, ``body`` ``None`` if there is none."""

    kind: Kind
    start_line: str | None
    headers: Headers
    body: bytes | None
    violations: tuple[Violation, ...]

    @property
    def method(self) -> str | None:
        """The method that the start line names, else the one in CSeq; ``None`` if neither tells."""
        if self.kind == "msrpfrag":
            found = START_LINE.fullmatch(encode(self.start_line or "") + b"\r\n")
            method = decode(found[2]) if found else ""
            return method if method.isalpha() else None
        request = _REQUEST_LINE.fullmatch(self.start_line or "")
        cseq = _CSEQ.fullmatch(self.headers.get("CSeq") or "")
        return request[1] if request else cseq[2] if cseq else None


def kind_of(media_type: str) -> Kind | None:
    """Which of the three kinds a Content-Type names, ``None`` for any other type."""
    match MediaType.parse(media_type).full:
        case "message/sip":
            return "sip"
        case "message/sipfrag":
            return "sipfrag"
        case "message/msrpfrag":
            return "msrpfrag"
    return None


def parse_fragment(media_type: str, octets: bytes) -> Fragment:
    """Read a wrapped message as what ``media_type`` says; any other type than the three is read as sipfrag."""
    kind = kind_of(media_type) or "sipfrag"
    rules, wrong = _RULES[kind], []
    other = [name for name, _ in MediaType.parse(media_type).params if name != "version"]
    if other and "param" in rules:
        wrong.append(Violation(rules["param"], 0, ", ".join(other), "no parameter but version"))
    start_line, at = _start_line(octets)
    if start_line is not None or kind == "sip":
        wrong.extend(_start_violations(kind, start_line, octets[:at]))
    end = _end_of_content(octets, start_line) if kind == "msrpfrag" else len(octets)
    section = parse_section(octets[:end], at, PlainHeader if kind == "msrpfrag" else Header)
    headers, blank = section.headers, bool(section.separator)
    wrong.extend(section_violations(section, rules["line"]))
    if end == len(octets) and not blank and not octets.endswith(b"\n") and len(octets) > at:
        wrong.append(Violation(rules["line"], len(octets), "the end of the octets", "CRLF after the last header"))
    body = octets[section.end : end] if blank and (section.end < end or kind == "msrpfrag") else None
    if kind == "msrpfrag":
        wrong.extend(_msrp_violations(headers, at))
    else:
        wrong.extend(_sip_violations(kind, headers, body, at))
    if kind == "sip":
        wrong.extend(_whole_violations(start_line, headers, blank, at))
    return Fragment(kind, start_line, headers, body, tuple(wrong))


def _start_line(octets: bytes) -> tuple[str | None, int]:
    """The first line if it is neither empty nor a header, and how many octets it takes."""
    end = octets.find(b"\n") + 1 or len(octets)
    line = octets[:end]
    if not line.strip(b"\r\n") or _HEADER_LIKE.match(line):
        return None, 0
    return decode(line.rstrip(b"\r\n")), end


def _start_violations(kind: Kind, start_line: str | None, raw: bytes) -> Iterator[Violation]:
    text = start_line or ""
    if kind == "msrpfrag":
        good = START_LINE.fullmatch(encode(text) + b"\r\n") is not None
    else:
        good = bool(_REQUEST_LINE.fullmatch(text) or _STATUS_LINE.fullmatch(text))
    if not good or not raw.endswith(b"\r\n"):
        expected = "a start-line of MSRP" if kind == "msrpfrag" else "a Request-Line or Status-Line of SIP/2.0, CRLF"
        yield Violation(_RULES[kind]["start"], 0, repr(raw[:80]), expected)


def _end_of_content(octets: bytes, start_line: str | None) -> int:
    """Where the content of a msrpfrag ends that repeats its start-line's transaction identifier in an end-line."""
    begin = octets.rfind(b"-------")
    found = END_LINE.fullmatch(octets[begin:].removesuffix(b"\r\n") + b"\r\n") if begin >= 0 else None
    start = START_LINE.fullmatch(encode(start_line or "") + b"\r\n")
    if found is None or start is None or found[1] != start[1]:
        return len(octets)
    bodiless = b"\r\n\r\n" not in octets[:begin]
    return begin if bodiless or not octets[:begin].endswith(b"\r\n") else begin - 2


def _counts(headers: Headers, single: frozenset[str], rule: str, at: int) -> Iterator[Violation]:
    keys = [header.key for header in headers]
    for key in sorted(single):
        if keys.count(key) > 1:
            yield Violation(rule, at, f"{keys.count(key)} x {key}", "the header at most once")


def _sip_violations(kind: Kind, headers: Headers, body: bytes | None, at: int) -> Iterator[Violation]:
    """What holds for headers of SIP, whole message or fragment."""
    rules, offset = _RULES[kind], at
    yield from _counts(headers, _SINGLE, rules["once"], at)
    for header in headers:
        value, key = header.value, header.key
        bad_value = (
            (key == "call-id" and not _CALL_ID.fullmatch(value))
            or (key == "cseq" and not _CSEQ.fullmatch(value))
            or (key in ("content-length", "max-forwards", "expires") and not re.fullmatch(r"[0-9]{1,10}", value))
            or (key in ("from", "to", "via", "contact", "content-type") and not value)
            or _CONTROL.search(value)
        )
        if bad_value or (header.name and not _NAME.fullmatch(header.name)):
            yield Violation(rules["value"], offset, f"{header.name}: {value[:80]!r}", "a valid header")
        if key == "date" and not _DATE.fullmatch(value):
            yield Violation(rules["date"], offset, repr(value), "RFC 1123 form, GMT")
        offset += len(header.raw)
    if body and headers.get("Content-Type") is None:
        yield Violation(rules["type"], offset, "no Content-Type", "a Content-Type with a body")
    length = headers.get("Content-Length") or ""
    # a fragment may keep the length of a body that was deleted: RFC 3420 2
    if (body is not None or kind == "sip") and re.fullmatch(r"[0-9]{1,10}", length) and int(length) != len(body or b""):
        yield Violation(rules["length"], offset, f"Content-Length {length}", f"{len(body or b'')} octets of body")


def _whole_violations(start_line: str | None, headers: Headers, blank: bool, at: int) -> Iterator[Violation]:
    """What holds for an entire SIP message only."""
    keys = [header.key for header in headers]
    request = _REQUEST_LINE.fullmatch(start_line or "")
    missing = [key for key in (*_MANDATORY, *(("max-forwards",) if request else ())) if key not in keys]
    if missing:
        yield Violation("FRG-3261-27.5-02", at, f"no {', '.join(missing)}", "the mandatory headers")
    if not blank:
        yield Violation("FRG-3261-27.5-03", at + len(headers.octets()), "the end of the octets", "an empty line")
    cseq = _CSEQ.fullmatch(headers.get("CSeq") or "")
    if request is None:
        return
    if cseq is not None and cseq[2] != request[1]:
        yield Violation("FRG-3261-27.5-08", at, f"CSeq method {cseq[2]}", request[1])
    contacts = len(headers.values("Contact"))
    if (request[1] == "INVITE" and contacts != 1) or (request[1] == "MESSAGE" and contacts):
        expected = "exactly one" if request[1] == "INVITE" else "none"
        yield Violation("FRG-3261-27.5-09", at, f"{contacts} Contact in a {request[1]}", expected)


def _msrp_violations(headers: Headers, at: int) -> Iterator[Violation]:
    yield from _counts(headers, _MSRP_SINGLE, _RULES["msrpfrag"]["once"], at)
    offset = at
    for header in headers:
        value, key = header.value, header.key
        bad_value = (
            (key == "message-id" and not IDENT.fullmatch(value))
            or (key == "byte-range" and ByteRange.parse(value) is None)
            or (key == "success-report" and value not in ("yes", "no"))
            or (key == "failure-report" and value not in ("yes", "no", "partial"))
            or _CONTROL.search(value)
        )
        if bad_value:
            yield Violation("FRG-MSRP-04", offset, f"{header.name}: {value[:80]!r}", "a valid header")
        offset += len(header.raw)


def build_sipfrag(
    headers: Iterable[tuple[str, str]], start_line: str | None = None, body: bytes | None = None
) -> bytes:
    """The octets of a message/sipfrag: header lines each ended by CRLF; the empty line only before a body (RFC 3420 2).

    :raises ValueError: a header or the start line holds CR, LF or NUL, or the start line is none of SIP/2.0.
    """
    if start_line is not None and not (_REQUEST_LINE.fullmatch(start_line) or _STATUS_LINE.fullmatch(start_line)):
        raise ValueError(f"start line {start_line!r} is no Request-Line or Status-Line of SIP/2.0")
    head = b"" if start_line is None else encode(start_line) + b"\r\n"
    return head + Headers.of(*headers).octets() + (b"" if body is None else b"\r\n" + body)


def build_message_sip(message: bytes) -> bytes:
    """The octets of a message/sip: one entire SIP message as it stands (RFC 3261 27.5).

    :raises ValueError: it would not be a valid message/sip.
    """
    wrong = parse_fragment("message/sip", message).violations
    if wrong:
        raise ValueError(f"no valid SIP message: {'; '.join(map(str, wrong))}")
    return message


def build_msrpfrag(headers: Iterable[tuple[str, str]]) -> bytes:
    """The octets of a header-only message/msrpfrag.

    :raises ValueError: a header holds CR, LF or NUL.
    """
    return Headers.of(*headers).octets()
