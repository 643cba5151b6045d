"""What is wrong with a SIP message: found when it is asked for, complete, and in the order of the octets.

=================== ==================================================================================
SIP-3261-7-01       a line ends with CRLF
SIP-3261-7-02       an empty line ends the headers
SIP-3261-7.1-01     a message begins with a start line
SIP-3261-7.1-02     a request line has single spaces, and none inside the Request-URI
SIP-3261-7.1-03     a Request-URI stands without angle brackets
SIP-3261-7.1-04     the version is SIP/2.0, in upper case
SIP-3261-7.2-01     a status line has single spaces around its code
SIP-3261-7.2-02     a status code is three digits from 100 to 699
SIP-3261-7.3-01     a header line has a colon
SIP-3261-7.3-02     a header name is a token
SIP-3261-7.3.1-01   a header that is no list stands at most once
SIP-3261-7.3.1-02   a parameter stands at most once in a header value
SIP-3261-7.3.1-03   a list has no empty values
SIP-3261-8.1.1-01   To, From, CSeq, Call-ID, Via are there, and in a request Max-Forwards (8.1.1, 8.2.6.2)
SIP-3261-8.1.1.5-01 CSeq is a number below 2**31 and a method
SIP-3261-8.1.1.5-02 the method of CSeq is that of the request line
SIP-3261-18.3-01    the body is as long as Content-Length says
SIP-3261-18.3-02    nothing follows the body in its datagram
SIP-3261-18.3-03    a message on a stream has a Content-Length
SIP-3261-20.14-01   Content-Length is a number
SIP-3261-20.14-02   two Content-Lengths do not contradict each other
SIP-3261-20.15-01   a body has a Content-Type
SIP-3261-25.1-01    no control characters but in quoted pairs
SIP-3261-25.1-02    text is UTF-8
SIP-LIMIT-01        the start line and the headers are longer than this reader takes
SIP-LIMIT-02        the body on a stream is longer than this reader takes
SIP-LIMIT-03        more headers than this reader looks into
SIP-LIMIT-04        a header that is longer than this reader looks into
SIP-LIMIT-05        more values or parameters in a header than this reader looks at
=================== ==================================================================================

The values of single headers have rules of their own in :mod:`cpmspec.wire.sip_grammar`, the URIs in them and in the
request line in :mod:`cpmspec.wire.uri_rules`. What takes several messages to be seen is not looked for here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from operator import attrgetter
from typing import Final

from cpmspec.wire.headers import Header, Headers, encode, split_items
from cpmspec.wire.params import split_outside_quotes
from cpmspec.wire.section import Defect, Fault, shown
from cpmspec.wire.sip_grammar import CONTACT_RANGE, GRAMMAR, SINGLE, Rule, Shape, contact_in_range
from cpmspec.wire.sip_values import parse_cseq
from cpmspec.wire.sip_views import MAX_VALUES
from cpmspec.wire.uri import parse_name_addr
from cpmspec.wire.uri_rules import MAX_PARAMS, uri_violations
from cpmspec.wire.violation import Violation

#: headers of one message that are looked into: a message of today has 20 to 40
MAX_HEADERS: Final = 512
#: octets of one header that is looked into: tokens and certificates in headers are far below
MAX_HEADER: Final = 16_384

StartLine = tuple[str, str] | tuple[int, str]

#: RFC 3261 8.1.1 (requests); 8.2.6.2 (responses) has all but the last: without these no transaction can be told
MANDATORY: Final = ("to", "from", "cseq", "call-id", "via", "max-forwards")

# quoted-string, in which a quoted pair may hold a control character; anything else must not
_QUOTED = rb'"(?:[^"\\\x00-\x08\x0a-\x1f\x7f]|\r\n[ \t]|\\[\x00-\x09\x0b\x0c\x0e-\x7f])*+"'
_CONTROL = re.compile(rb"%b|([\x00-\x08\x0b\x0c\x0e-\x1f\x7f])" % _QUOTED)
# UTF8-NONASCII, and UTF8-CONT wherever it stands (25.1: header-value, Reason-Phrase)
_UTF8 = re.compile(
    rb"[\xc0-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf7][\x80-\xbf]{3}|[\xf8-\xfb][\x80-\xbf]{4}"
    rb"|[\xfc\xfd][\x80-\xbf]{5}|([\xc0-\xff])"
)
_TEXT = (
    (_CONTROL, "SIP-3261-25.1-01", "no control characters but in quoted pairs"),
    (_UTF8, "SIP-3261-25.1-02", "UTF-8"),
)
_USUAL = bytes((9, 10, 13, *range(32, 127)))

_FAULTS = {
    Fault.LINE_END: ("SIP-3261-7-01", "CRLF"),
    Fault.UNTERMINATED: ("SIP-3261-7-02", "an empty line after the headers"),
    Fault.NO_COLON: ("SIP-3261-7.3-01", "a header name, a colon and a value"),
    Fault.NAME: ("SIP-3261-7.3-02", "a header name that is a token"),
    Fault.CONTROL: ("SIP-3261-25.1-01", "no CR or NUL inside a line"),
}


class Findings:
    """Violations that are looked for when first asked for; two are equal if they found the same."""

    __slots__ = ("_find", "_found")

    def __init__(self, find: Callable[[], tuple[Violation, ...]]) -> None:
        self._find = find
        self._found: tuple[Violation, ...] | None = None

    @property
    def violations(self) -> tuple[Violation, ...]:
        """What was found."""
        if self._found is None:
            self._found = self._find()
        return self._found

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Findings) and self.violations == other.violations

    def __hash__(self) -> int:
        return hash(self.violations)

    def __repr__(self) -> str:
        return f"Findings({self.violations!r})"


#: nothing is looked for: what was built
NOTHING: Final = Findings(tuple)


def of_defect(defect: Defect) -> Violation:
    """The rule that a defect of a header section breaks."""
    rule, expected = _FAULTS[defect.fault]
    return Violation(rule, defect.offset, defect.found, expected)


def find(
    known: tuple[Violation, ...], start: bytes, line: StartLine, headers: Headers, body: bytes
) -> tuple[Violation, ...]:
    """All violations of a message: ``known`` are those that reading it showed; in the order of their offsets."""
    at = len(start)
    found = list(_start(start, line, known))
    found.extend(_missing(line, headers, at))
    seen: set[str] = set()
    offset = at
    for number, (header, key) in enumerate(zip(headers, headers.keys, strict=True)):
        if number == MAX_HEADERS:
            found.append(Violation("SIP-LIMIT-03", offset, f"{len(headers)} headers", f"at most {MAX_HEADERS}"))
            break
        if key in SINGLE and key in seen:
            found.append(Violation("SIP-3261-7.3.1-01", offset, f"another {header.name}", f"at most one {key} header"))
        seen.add(key)
        found.extend(one.moved(offset) for one in _of_header(header, key, line))
        offset += len(header.raw)
    if body and "content-type" not in headers.keys:
        end = at + sum(len(header.raw) for header in headers)
        found.append(Violation("SIP-3261-20.15-01", end, "a body without Content-Type", "Content-Type"))
    found.extend(known)
    return tuple(sorted(found, key=attrgetter("offset")))


def text_violations(octets: bytes) -> Iterator[Violation]:
    """Control characters outside quoted pairs, and text that is no UTF-8: the first of each (RFC 3261 25.1)."""
    if not octets.translate(None, _USUAL):
        return
    for pattern, rule, expected in _TEXT:
        wrong = next((match for match in pattern.finditer(octets) if match[1]), None)
        if wrong is not None:
            yield Violation(rule, wrong.start(), repr(wrong[1])[1:], expected)


def _start(start: bytes, line: StartLine, known: tuple[Violation, ...]) -> Iterator[Violation]:
    """What is wrong with the text of a start line, and with a Request-URI that stands clear."""
    yield from text_violations(start)
    first, second = line
    if isinstance(first, str) and not any(one.id.startswith(("SIP-3261-7.1-02", "SIP-3261-7.1-03")) for one in known):
        at = len(start) - len(start.lstrip(b"\r\n")) + len(encode(first)) + 1
        for one in uri_violations(second, request=True):
            yield one.moved(at)


def _missing(line: StartLine, headers: Headers, at: int) -> Iterator[Violation]:
    for name in MANDATORY if isinstance(line[0], str) else MANDATORY[:-1]:
        if name not in headers.keys:
            yield Violation("SIP-3261-8.1.1-01", at, f"no {name}", f"a {name} header")


def _of_header(header: Header, key: str, line: StartLine) -> Iterator[Violation]:
    """What is wrong with one header, offsets counted from its start."""
    if len(header.raw) > MAX_HEADER:
        yield Violation("SIP-LIMIT-04", 0, f"{len(header.raw)} octets of {key}", f"at most {MAX_HEADER}")
        return
    yield from text_violations(header.raw)
    rule = GRAMMAR.get(key)
    if rule is None:
        return
    if key == "contact" and header.value == "*":  # RFC 3261 20.10: STAR
        return
    values = [header.value] if rule.shape is Shape.ONE else _values(header.value)
    if len(values) > MAX_VALUES:
        yield Violation("SIP-LIMIT-05", 0, f"{len(values)} values", f"at most {MAX_VALUES}")
    if "" in values and rule.shape is not Shape.ONE and not (rule.shape is Shape.MAYBE and len(values) == 1):
        yield Violation("SIP-3261-7.3.1-03", 0, shown(header.value), f"{key} values, with single commas between")
    for value in values[:MAX_VALUES]:
        if value:
            yield from _of_value(value, rule)
        elif rule.shape is Shape.ONE:
            yield Violation(rule.id, 0, "nothing", rule.expected)
    if key == "cseq" and isinstance(line[0], str):
        cseq = parse_cseq(header.value)
        if cseq is not None and cseq.method != line[0]:
            yield Violation("SIP-3261-8.1.1.5-02", 0, shown(header.value), f"the method {line[0]}")


def _values(value: str) -> list[str]:
    return split_items(value) if "," in value else [value]


def _of_value(value: str, rule: Rule) -> Iterator[Violation]:
    if not rule.valid(value):
        yield Violation(rule.id, 0, shown(value), rule.expected)
    elif rule.address:
        address = parse_name_addr(value)
        if rule is GRAMMAR["contact"] and not contact_in_range(address):
            yield Violation(CONTACT_RANGE, 0, shown(value), "q from 0 to 1, expires in seconds below 2**32")
        yield from uri_violations(str(address.uri))
        yield from _once([name for name, _ in address.params])
    elif rule.params and ";" in value:
        yield from _once([item.partition("=")[0].strip() for item in split_outside_quotes(value, ";")[1:]])


def _once(names: list[str]) -> Iterator[Violation]:
    """Parameters that stand twice (RFC 3261 7.3.1), and too many of them."""
    read = [name.lower() for name in names[:MAX_PARAMS]]
    if len(read) != len(set(read)):
        twice = sorted({name for name in read if read.count(name) > 1})
        yield Violation("SIP-3261-7.3.1-02", 0, shown(", ".join(twice)), "each parameter once")
    if len(names) > MAX_PARAMS:
        yield Violation("SIP-LIMIT-05", 0, f"{len(names)} parameters", f"at most {MAX_PARAMS}")
