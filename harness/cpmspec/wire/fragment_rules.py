"""The rules of message/sip (RFC 3261 27.5), message/sipfrag (RFC 3420) and, by analogy, message/msrpfrag.

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
FRG-3261-27.5-11     the only parameter of the media type is version: a remark, readers pass over others (RFC 2045 5)
FRG-3261-27.5-12     the parameter version, if it is there, is that of the message: 2.0
FRG-3261-27.5-13     without a body there is no Content-Type, unless Content-Length tells that it is empty: a remark
FRG-3261-27.5-14     a MESSAGE has no Record-Route (RFC 3428 table 1): a remark
FRG-3261-27.5-15     the Contact of an INVITE is a sip or sips URI (8.1.1.8)
FRG-3261-27.5-16     no chunked transfer coding of HTTP (7.4.2)
FRG-3420-2-01        a header line is valid and ended by CRLF
FRG-3420-2-02        a body is described by Content-Type
FRG-3420-2-03        Content-Length agrees with a body that is there
FRG-3420-2-04        no chunked transfer coding of HTTP (RFC 3261 7.4.2)
FRG-3420-2-05        a body has headers that describe it; the grammar allows none at all: a remark
FRG-3420-2-06        it can be had of a valid message by deletion: CSeq names the method of the request line
FRG-3420-3.2-01      a start line, if there is one, is complete and of SIP/2.0
FRG-3420-3.2-02      a header that stands once stands at most once
FRG-3420-3.2-03      the value of a header is valid
FRG-3420-5-01        the only parameter of the media type is version: a remark, readers pass over others (RFC 2045 5)
FRG-3420-5-02        the parameter version, if it is there, is that of the message: 2.0
FRG-MSRP-01          a start-line of MSRP, if there is one, is complete
FRG-MSRP-02          a header line is valid and ended by CRLF
FRG-MSRP-03          a header stands at most once
FRG-MSRP-04          the value of a header is valid
FRG-MSRP-05          no end-line of the original goes along: it could end the chunk that carries it
FRG-MSRP-06          no To-Path and From-Path: they tell the secrets of the original's session (RFC 4975 14.1)
FRG-MSRP-07          a Byte-Range is that of the whole message: 1-N/N
FRG-LIMIT-01         the header section is no longer than what is read
FRG-LIMIT-02         there are no more headers than are looked into
==================== =================================================================================
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from cpmspec.wire.headers import Header, Headers, encode, split_list
from cpmspec.wire.msrp_grammar import IDENT, MEDIA_TYPE, START_LINE, STATUS, ByteRange
from cpmspec.wire.section import Fault, Section
from cpmspec.wire.sip_grammar import GRAMMAR, SINGLE, Shape
from cpmspec.wire.sip_values import parse_cseq
from cpmspec.wire.uri import SipUri, parse_name_addr
from cpmspec.wire.violation import Violation

Kind = Literal["sip", "sipfrag", "msrpfrag"]

# Request-Line = Method SP Request-URI SP SIP-Version CRLF ; Status-Line = SIP-Version SP 3DIGIT SP Reason-Phrase CRLF
_TOKEN = r"[A-Za-z0-9\-.!%*_+`'~]+"
REQUEST_LINE: Final = re.compile(rf"({_TOKEN}) ([^ \x00-\x1f]+) SIP/2\.0")
STATUS_LINE: Final = re.compile(r"SIP/2\.0 [1-6][0-9]{2} [^\x00-\x08\x0a-\x1f]*")
# CR and NUL in a line are told of the line; these are not
_CONTROL: Final = re.compile(r"[\x01-\x08\x0b\x0c\x0e-\x1f\x7f]")
_LENGTH: Final = re.compile(r"0{0,20}[0-9]{1,10}")
_MANDATORY: Final = ("to", "from", "cseq", "call-id", "via")
#: headers whose values are held against the grammar of SIP, as far as their wrong forms are seen to do harm
_CHECKED: Final = frozenset({
    "call-id", "contact", "content-type", "cseq", "expires", "from", "max-forwards", "p-asserted-identity",
    "record-route", "route", "to", "via",
})  # fmt: skip
_ONCE: Final = SINGLE | {"conversation-id", "contribution-id", "inreplyto-contribution-id"}
_MSRP_SINGLE: Final = frozenset({
    "to-path", "from-path", "message-id", "byte-range", "success-report", "failure-report", "status", "content-type",
})  # fmt: skip
#: what of the rules is another for each kind
RULES: Final[dict[Kind, dict[str, str]]] = {
    "sip": {"start": "FRG-3261-27.5-01", "line": "FRG-3261-27.5-04", "once": "FRG-3261-27.5-05",
            "length": "FRG-3261-27.5-06", "type": "FRG-3261-27.5-07", "value": "FRG-3261-27.5-04",
            "date": "FRG-3261-27.5-10", "param": "FRG-3261-27.5-11", "version": "FRG-3261-27.5-12",
            "coding": "FRG-3261-27.5-16", "method": "FRG-3261-27.5-08"},
    "sipfrag": {"start": "FRG-3420-3.2-01", "line": "FRG-3420-2-01", "once": "FRG-3420-3.2-02",
                "length": "FRG-3420-2-03", "type": "FRG-3420-2-02", "value": "FRG-3420-3.2-03",
                "date": "FRG-3420-3.2-03", "param": "FRG-3420-5-01", "version": "FRG-3420-5-02",
                "coding": "FRG-3420-2-04", "method": "FRG-3420-2-06"},
    "msrpfrag": {"start": "FRG-MSRP-01", "line": "FRG-MSRP-02", "once": "FRG-MSRP-03", "value": "FRG-MSRP-04"},
}  # fmt: skip
#: what breaks only a SHOULD, an analogy or a limit of ours: none of it makes a message/sip or sipfrag invalid
SHOULD: Final = frozenset({
    "FRG-3261-27.5-11", "FRG-3261-27.5-13", "FRG-3261-27.5-14", "FRG-3420-2-05", "FRG-3420-5-01", "FRG-MSRP-01",
    "FRG-MSRP-02", "FRG-MSRP-03", "FRG-MSRP-04", "FRG-MSRP-05", "FRG-MSRP-06", "FRG-MSRP-07", "FRG-LIMIT-01",
    "FRG-LIMIT-02",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Layout:
    """What the rules look at: the pieces of a fragment; ``at`` is where its headers begin, ``blank`` the empty line."""

    kind: Kind
    start_line: str | None
    headers: Headers
    body: bytes | None
    at: int
    blank: bool

    def placed(self) -> Iterator[tuple[int, Header]]:
        """Each header and where it begins."""
        offset = self.at
        for header in self.headers:
            yield offset, header
            offset += len(header.raw)

    def place(self, key: str) -> int:
        """Where the first header of that key begins; where the headers begin if there is none."""
        return next((offset for offset, header in self.placed() if header.key == key), self.at)

    @property
    def end(self) -> int:
        """Where the octets after the headers begin."""
        return self.at + len(self.headers.octets())

    @property
    def request(self) -> str | None:
        """The method of the request line, ``None`` if there is no such line."""
        found = REQUEST_LINE.fullmatch(self.start_line or "")
        return found[1] if found is not None else None


def parameter_violations(kind: Kind, params: tuple[tuple[str, str], ...]) -> Iterator[Violation]:
    """What is wrong with the parameters of the media type; msrpfrag is registered nowhere, and has no rule."""
    if kind == "msrpfrag":
        return
    other = [name for name, _ in params if name.lower() != "version"]
    if other:
        yield Violation(RULES[kind]["param"], 0, ", ".join(other), "no parameter but version")
    for name, value in params:
        if name.lower() == "version" and value != "2.0":
            yield Violation(RULES[kind]["version"], 0, f"version={value[:20]}", "version=2.0")


def start_violations(kind: Kind, start_line: str | None, raw: bytes) -> Iterator[Violation]:
    """What is wrong with a start line, or with its absence."""
    text = start_line or ""
    if kind == "msrpfrag":
        good = START_LINE.fullmatch(encode(text) + b"\r\n") is not None
    else:
        good = bool(REQUEST_LINE.fullmatch(text) or STATUS_LINE.fullmatch(text))
    if not good or not raw.endswith(b"\r\n"):
        expected = "a start-line of MSRP" if kind == "msrpfrag" else "a Request-Line or Status-Line of SIP/2.0, CRLF"
        yield Violation(RULES[kind]["start"], 0, repr(raw[:80]), expected)


def section_faults(kind: Kind, section: Section) -> Iterator[Violation]:
    """The defects of the header lines; that the empty line is missing is told elsewhere."""
    for defect in section.defects:
        if defect.fault is not Fault.UNTERMINATED:
            found = f"{defect.fault}: {defect.found}"
            yield Violation(RULES[kind]["line"], defect.offset, found, "Name: value, CRLF")


def sip_violations(layout: Layout) -> Iterator[Violation]:
    """What holds for headers of SIP, whole message or fragment."""
    rules = RULES[layout.kind]
    yield from _repeated(layout, _ONCE)
    for offset, header in layout.placed():
        value, key = header.value, header.key
        if not _valid(key, value):
            yield Violation(rules["value"], offset, f"{header.name}: {value[:80]!r}", "a valid header")
        elif key == "date" and not GRAMMAR["date"].valid(value):
            yield Violation(rules["date"], offset, repr(value[:80]), "RFC 1123 form, GMT")
        elif key == "transfer-encoding" and "chunked" in value.lower():
            yield Violation(rules["coding"], offset, repr(value[:80]), "no chunked transfer coding")
    cseq = parse_cseq(layout.headers.get("CSeq") or "")
    if layout.request is not None and cseq is not None and cseq.method != layout.request:
        yield Violation(rules["method"], layout.place("cseq"), f"CSeq method {cseq.method}", layout.request)
    yield from _body_violations(layout)


def _body_violations(layout: Layout) -> Iterator[Violation]:
    rules, headers, size = RULES[layout.kind], layout.headers, len(layout.body or b"")
    if layout.body and headers.get("Content-Type") is None:
        bare = layout.kind == "sipfrag" and not headers
        rule = "FRG-3420-2-05" if bare else rules["type"]
        yield Violation(rule, layout.end, "no Content-Type", "a Content-Type with a body")
    length = headers.get("Content-Length") or ""
    # a fragment may keep the length of a body that was deleted: RFC 3420 2
    told = layout.body is not None or layout.kind == "sip"
    if told and _LENGTH.fullmatch(length) and int(length) != size:
        yield Violation(rules["length"], layout.place("content-length"), f"Content-Length {length}", f"{size} octets")


def whole_violations(layout: Layout) -> Iterator[Violation]:
    """What holds for an entire SIP message only."""
    keys, method = layout.headers.keys, layout.request
    missing = [key for key in (*_MANDATORY, *(("max-forwards",) if method else ())) if key not in keys]
    if missing:
        yield Violation("FRG-3261-27.5-02", layout.at, f"no {', '.join(missing)}", "the mandatory headers")
    if not layout.blank:
        yield Violation("FRG-3261-27.5-03", layout.end, "the end of the octets", "an empty line")
    if not layout.body and "content-type" in keys and "content-length" not in keys:  # with 0 it is told to be empty
        place = layout.place("content-type")
        yield Violation("FRG-3261-27.5-13", place, "a Content-Type without a body", "no Content-Type")
    if method is not None:
        yield from _method_violations(layout, method)


def _method_violations(layout: Layout, method: str) -> Iterator[Violation]:
    contacts = layout.headers.values("Contact")
    if (method == "INVITE" and len(contacts) != 1) or (method == "MESSAGE" and contacts):
        expected = "exactly one" if method == "INVITE" else "none"
        found = f"{len(contacts)} Contact in a {method}"
        yield Violation("FRG-3261-27.5-09", layout.place("contact"), found, expected)
    elif method == "INVITE" and not isinstance(parse_name_addr(contacts[0]).uri, SipUri):
        found = f"Contact: {contacts[0][:80]!r}"
        yield Violation("FRG-3261-27.5-15", layout.place("contact"), found, "a sip or sips URI")
    if method == "MESSAGE" and "record-route" in layout.headers.keys:
        place = layout.place("record-route")
        yield Violation("FRG-3261-27.5-14", place, "Record-Route in a MESSAGE", "none")


def msrp_violations(layout: Layout, tail: bytes, end: int) -> Iterator[Violation]:
    """What is unlike message/sipfrag in a message/msrpfrag, or unwise; ``tail`` is its end-line at ``end``, if any."""
    yield from _repeated(layout, _MSRP_SINGLE)
    for offset, header in layout.placed():
        value, key = header.value, header.key
        if not _msrp_valid(key, value):
            yield Violation("FRG-MSRP-04", offset, f"{header.name}: {value[:80]!r}", "a valid header")
        elif key in ("to-path", "from-path"):
            yield Violation("FRG-MSRP-06", offset, header.name, "no path of the original session")
        elif key == "byte-range" and not _whole(value):
            yield Violation("FRG-MSRP-07", offset, repr(value[:80]), "1-N/N, or no Byte-Range")
    if tail:
        yield Violation("FRG-MSRP-05", end, repr(tail[:80]), "no end-line")


def _repeated(layout: Layout, single: frozenset[str]) -> Iterator[Violation]:
    seen: set[str] = set()
    for offset, header in layout.placed():
        if header.key in seen and header.key in single:
            yield Violation(RULES[layout.kind]["once"], offset, f"a second {header.key}", "the header at most once")
        seen.add(header.key)


def _valid(key: str, value: str) -> bool:
    """Whether the value of a SIP header is one that the grammar allows."""
    if _CONTROL.search(value) is not None:
        return False
    if key == "content-length":
        return _LENGTH.fullmatch(value) is not None
    if key not in _CHECKED or (key == "contact" and value == "*"):
        return True
    rule = GRAMMAR[key]
    values = (value,) if rule.shape is Shape.ONE else split_list(value)
    return bool(values) and all(rule.valid(one) for one in values)


def _msrp_valid(key: str, value: str) -> bool:
    """Whether the value of an MSRP header is one that the grammar allows."""
    if _CONTROL.search(value) is not None:
        return False
    match key:
        case "message-id":
            return IDENT.fullmatch(value) is not None
        case "byte-range":
            return ByteRange.parse(value) is not None
        case "success-report":
            return value in ("yes", "no")
        case "failure-report":
            return value in ("yes", "no", "partial")
        case "status":
            return STATUS.fullmatch(value) is not None
        case "content-type":
            return MEDIA_TYPE.fullmatch(value) is not None
    return True


def _whole(value: str) -> bool:
    """Whether a Byte-Range that can be read is that of a whole message."""
    given = ByteRange.parse(value)
    return given is not None and given.start == 1 and given.end is not None and given.end == given.total
