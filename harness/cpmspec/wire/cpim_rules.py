"""What the headers of a ``message/cpim`` say, by themselves and for IMDN (RFC 3862 2 to 4, RFC 5438, RFC 4975 13).

======================== =====================================================================================
CPI-3862-2-03            no MIME header among the message headers (an interpretation)
CPI-3862-2.3-01          headers are UTF-8
CPI-3862-2.3.1-01        a backslash begins one of the escapes
CPI-3862-2.3.1-02        four hexadecimal digits after ``\\u``
CPI-3862-2.3.1-03        only what needs an escape has one
CPI-3862-3.3-01          the form of a language tag
CPI-3862-3.4-01          a prefix is declared before it is used
CPI-3862-3.6-01          the form of a header name
CPI-3862-3.6-02          the form of parameters
CPI-3862-3.6-03          the form of a formal name
CPI-3862-3.6-04          From, To, cc, DateTime, NS and Require have no parameters
CPI-3862-4.1-01, -02     From has a URI in angle brackets; it stands once (an interpretation)
CPI-3862-4.2-01          To has a URI in angle brackets
CPI-3862-4.3-01          cc has a URI in angle brackets
CPI-3862-4.4-01, -02     DateTime is RFC 3339; it stands once (an interpretation)
CPI-3862-4.5-01, -02     Subject has no parameter but lang; one for each language (an interpretation)
CPI-3862-4.6-01          the form of NS
CPI-3862-4.7-01, -02     the form of Require; the prefixes in it are declared before
CPI-4975-13-01 to 03     in MSRP: From; To; DateTime if it is signed or encrypted
IMD-5438-6.2-01          the form of Disposition-Notification
IMD-5438-6.3-01, -02     the form of Message-ID; it stands once (interpretations)
IMD-5438-6.4-01, -02     the form of Original-To; it stands once
IMD-5438-6.5-01, 6.6-01  the form of IMDN-Record-Route; of IMDN-Route
IMD-5438-7.1.1.1-01      who asks for notifications gives a Message-ID
IMD-5438-7.1.1.2-01      who asks for notifications gives a DateTime
IMD-5438-7.2.1-11        no notification of a notification is asked for
IMD-5438-7.2.1-12        a notification has Content-Disposition: notification
IMD-5438-9-01            a notification does not share a multipart with other content
======================== =====================================================================================
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Final

from cpmspec.wire.cpim_message import CPIM_NAMESPACE, IMDN_NAMESPACE, NS, Cpim, Resolved
from cpmspec.wire.dates import parse_rfc3339
from cpmspec.wire.media_type import MediaType, without_comments
from cpmspec.wire.mime import Part, leaves, type_violations
from cpmspec.wire.mime_tree import entity_violations
from cpmspec.wire.section import shown
from cpmspec.wire.violation import Violation

IMDN_TYPE: Final = "message/imdn+xml"

# NAMECHAR = %x21 / %x23-27 / %x2a-2b / %x2d / %x5e-60 / %x7c / %x7e / ALPHA / DIGIT
_NAMECHAR = r"!#$%&'*+\-^_`|~0-9A-Za-z"
_NAME = rf"[{_NAMECHAR}]+"
# TOKENCHAR = NAMECHAR / "." / UCS-high
_TOKEN = rf"[{_NAMECHAR}.\x80-\U0010ffff]+"
# String = DQUOTE *( Str-char / Escape ) DQUOTE
_STRING = r'"(?:[ !#-\[\]-~\x80-\U0010ffff]|\\(?:u[0-9A-Fa-f]{4}|["\\\'btnr]))*"'
# Header-name = [ Name-prefix "." ] Name
_HEADER_NAME = re.compile(rf"{_NAME}(?:\.{_NAME})?")
# Parameter = Lang-param / Ext-param ; Ext-param = Param-name "=" Param-value ; Param-value = Token / Number / String
_PARAMS = re.compile(rf"(?:;{_NAME}=(?:{_TOKEN}|{_STRING}))*")
_PARAM = re.compile(r';([^=;"]*)=("(?:[^"\\]|\\.)*"|[^;"]*)', re.DOTALL)
# Language-tag = Primary-subtag *( "-" Subtag ), each 1*8 letters, or digits after the first (RFC 3066 2.1)
_LANGUAGE = re.compile(r"[A-Za-z]{1,8}(?:-[0-9A-Za-z]{1,8})*")
# [ Formal-name ] "<" URI ">" ; Formal-name = 1*( Token SP ) / String ; a space after a String does no harm
_FORMAL = re.compile(rf"(?:{_TOKEN} )*|{_STRING} ?")
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:[!#-;=?-~]+")
_NS_PREFIX = re.compile(_NAME)
_BACKSLASH = re.compile(r"\\(?:u([0-9A-Fa-f]{0,4})|([btnr\"'\\])|(.)|\Z)", re.DOTALL)
_NOT_UTF8 = re.compile("[\udc80-\udcff]")
# [(notify-req *(COMMA notify-req))] ; notify-req = Token *(SEMI disp-notify-params) (RFC 5438 10)
_REQUEST = rf"{_TOKEN}(?:[ \t]*;[ \t]*{_NAME}=(?:{_TOKEN}|{_STRING}))*"
_REQUESTS = re.compile(rf"(?:{_REQUEST}(?:[ \t]*,[ \t]*{_REQUEST})*)?")

_ADDRESSES = {
    (CPIM_NAMESPACE, "From"): "CPI-3862-4.1-01",
    (CPIM_NAMESPACE, "To"): "CPI-3862-4.2-01",
    (CPIM_NAMESPACE, "cc"): "CPI-3862-4.3-01",
    (IMDN_NAMESPACE, "Original-To"): "IMD-5438-6.4-01",
    (IMDN_NAMESPACE, "IMDN-Record-Route"): "IMD-5438-6.5-01",
    (IMDN_NAMESPACE, "IMDN-Route"): "IMD-5438-6.6-01",
}
_BARE = frozenset({"From", "To", "cc", "DateTime", "NS", "Require"})
_ONCE = {
    (CPIM_NAMESPACE, "From"): "CPI-3862-4.1-02",
    (CPIM_NAMESPACE, "DateTime"): "CPI-3862-4.4-02",
    (CPIM_NAMESPACE, "Subject"): "CPI-3862-4.5-02",
    (IMDN_NAMESPACE, "Message-ID"): "IMD-5438-6.3-02",
    (IMDN_NAMESPACE, "Original-To"): "IMD-5438-6.4-02",
}
#: characters that RFC 3862 2.3.1 gives an escape, beside the control characters
_ESCAPABLE = frozenset("\\\"'")
_SECURED = frozenset({"multipart/signed", "multipart/encrypted", "application/pkcs7-mime", "application/x-pkcs7-mime"})


def cpim_violations(message: Cpim) -> Iterator[Violation]:
    """What is wrong with the headers of a message whose form is read, with those of its content, and with its IMDN."""
    resolved = tuple(message.resolved())
    for one in resolved:
        if one.header.name:
            yield from _header(one)
    yield from _repeated(resolved)
    start = sum(len(header.raw) for header in message.headers) + len(message.separators[0])
    yield from entity_violations(message.mime_headers, start)
    yield from type_violations(Part(message.mime_headers, message.content, start))
    yield from _notifications(message, resolved, start)


def msrp_violations(message: Cpim) -> Iterator[Violation]:
    """What is wrong with a message for having come over MSRP (RFC 4975 13)."""
    names = {(one.namespace, one.name) for one in message.resolved()}
    if (CPIM_NAMESPACE, "From") not in names:
        yield Violation("CPI-4975-13-01", 0, "no From", "From")
    if (CPIM_NAMESPACE, "To") not in names:
        yield Violation("CPI-4975-13-02", 0, "no To", "To")
    secured = MediaType.parse(message.content_type or "").full in _SECURED
    if secured and (CPIM_NAMESPACE, "DateTime") not in names:
        yield Violation("CPI-4975-13-03", 0, "no DateTime", "DateTime with S/MIME")


def _header(one: Resolved) -> Iterator[Violation]:
    """One header by itself."""
    name, value = one.header.name, one.header.value
    if _HEADER_NAME.fullmatch(name) is None:
        yield Violation("CPI-3862-3.6-01", one.offset, shown(name), "an optional prefix with a dot, and a name")
    elif one.namespace is None:
        yield Violation("CPI-3862-3.4-01", one.offset, shown(name), "the prefix declared by NS before")
    if one.namespace == CPIM_NAMESPACE and name.lower().startswith("content-"):
        yield Violation("CPI-3862-2-03", one.offset, shown(name), "an empty line before the MIME headers")
    if _NOT_UTF8.search(name + one.header.params + value):
        yield Violation("CPI-3862-2.3-01", one.offset, shown(value), "UTF-8")
    yield from _escapes(one)
    yield from _parameters(one)
    if (rule := _ADDRESSES.get((one.namespace or "", one.name))) is not None:
        yield from _address(one, rule)
    elif one.namespace == CPIM_NAMESPACE:
        yield from _of_cpim(one)
    elif one.namespace == IMDN_NAMESPACE:
        yield from _of_imdn(one)


def _escapes(one: Resolved) -> Iterator[Violation]:
    for match in _BACKSLASH.finditer(one.header.value):
        if match[1] is None:
            if match[2] is None:
                yield Violation("CPI-3862-2.3.1-01", one.offset, shown(match[0]), r"one of \\ \b \t \n \r \' \" \u")
        elif len(match[1]) < 4:
            yield Violation("CPI-3862-2.3.1-02", one.offset, shown(match[0]), "four hexadecimal digits")
        elif (character := chr(int(match[1], 16))) >= " " and character != "\x7f" and character not in _ESCAPABLE:
            yield Violation("CPI-3862-2.3.1-03", one.offset, shown(match[0]), "the character itself")


def _parameters(one: Resolved) -> Iterator[Violation]:
    params = one.header.params
    if not params:
        return
    if _PARAMS.fullmatch(params) is None:
        yield Violation("CPI-3862-3.6-02", one.offset, shown(params), ";name=value")
    if one.namespace == CPIM_NAMESPACE and one.name in _BARE:
        yield Violation("CPI-3862-3.6-04", one.offset, shown(params), "no parameters")
    for match in _PARAM.finditer(params):
        if match[1] != "lang":
            if (one.namespace, one.name) == (CPIM_NAMESPACE, "Subject"):
                yield Violation("CPI-3862-4.5-01", one.offset, shown(match[0]), "no parameter but lang")
        elif _LANGUAGE.fullmatch(match[2]) is None:
            yield Violation("CPI-3862-3.3-01", one.offset, shown(match[2]), "a language tag")


def _address(one: Resolved, rule: str) -> Iterator[Violation]:
    name, opened, rest = one.header.value.rpartition("<")
    if not opened or not rest.endswith(">") or _URI.fullmatch(rest[:-1]) is None:
        yield Violation(rule, one.offset, shown(one.header.value), "an optional name and <URI>")
    elif _FORMAL.fullmatch(name) is None:
        yield Violation(
            "CPI-3862-3.6-03", one.offset, shown(name), "words with a space after each, or a string in quotes"
        )


def _of_cpim(one: Resolved) -> Iterator[Violation]:
    value = one.header.value
    if one.name == "NS":
        match = NS.fullmatch(value)
        if match is None or _URI.fullmatch(match[2]) is None or not _NS_PREFIX.fullmatch(match[1] or "x"):
            yield Violation("CPI-3862-4.6-01", one.offset, shown(value), "an optional prefix and <URI>")
    elif one.name == "DateTime" and parse_rfc3339(value) is None:
        yield Violation("CPI-3862-4.4-01", one.offset, shown(value), "an RFC 3339 date and time")
    elif one.name == "Require":
        if not all(_HEADER_NAME.fullmatch(name.strip()) for name in value.split(",")):
            yield Violation("CPI-3862-4.7-01", one.offset, shown(value), "names of headers, with commas between")
        if any(namespace is None for namespace, _ in one.required):
            yield Violation("CPI-3862-4.7-02", one.offset, shown(value), "prefixes declared by NS before")


def _of_imdn(one: Resolved) -> Iterator[Violation]:
    value = one.header.value
    if one.name == "Disposition-Notification" and _REQUESTS.fullmatch(value) is None:
        yield Violation("IMD-5438-6.2-01", one.offset, shown(value), "kinds of notifications, with commas between")
    elif one.name == "Message-ID" and re.fullmatch(_TOKEN, value) is None:
        yield Violation("IMD-5438-6.3-01", one.offset, shown(value), "a token")


def _repeated(resolved: tuple[Resolved, ...]) -> Iterator[Violation]:
    """Headers that stand once; Subject once in each language (RFC 3862 4.5)."""
    seen: Counter[tuple[str | None, str, str]] = Counter()
    for one in resolved:
        rule = _ONCE.get((one.namespace or "", one.name))
        key = (one.namespace, one.name, one.header.params if one.name == "Subject" else "")
        seen[key] += 1
        if rule is not None and seen[key] == 2:
            yield Violation(rule, one.offset, f"{one.header.name} again", "once")


def _notifications(message: Cpim, resolved: tuple[Resolved, ...], start: int) -> Iterator[Violation]:
    """Who asks for notifications, and what is one (RFC 5438 6.3, 7.1.1, 7.2.1, 9)."""
    places = {(one.namespace, one.name): one.offset for one in reversed(resolved)}
    asks = bool(message.find(IMDN_NAMESPACE, "Disposition-Notification"))
    at = places.get((IMDN_NAMESPACE, "Disposition-Notification"), 0)
    if asks and (IMDN_NAMESPACE, "Message-ID") not in places:
        yield Violation("IMD-5438-7.1.1.1-01", at, "no Message-ID", "imdn.Message-ID")
    if asks and (CPIM_NAMESPACE, "DateTime") not in places:
        yield Violation("IMD-5438-7.1.1.2-01", at, "no DateTime", "DateTime")
    kind = MediaType.parse(message.content_type or "")
    if kind.full == IMDN_TYPE:
        if asks:
            yield Violation("IMD-5438-7.2.1-11", at, "a request for notifications", "none in a notification")
        disposition = without_comments(message.mime_headers.get("Content-Disposition") or "")
        if disposition.partition(";")[0].strip().lower() != "notification":
            yield Violation("IMD-5438-7.2.1-12", start, shown(disposition), "Content-Disposition: notification")
    elif kind.type == "multipart":
        kinds = {leaf.content_type.full == IMDN_TYPE for leaf in leaves(Part(message.mime_headers, message.content))}
        if kinds == {True, False}:
            yield Violation("IMD-5438-9-01", start, "a notification beside other content", "one of them")
