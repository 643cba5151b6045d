"""The grammar of SIP header values: for each header that is looked into, what its values have to be.

Every legal form of RFC 3261 25.1 passes, and of the extensions named. What is not in the table is opaque. Values come
unfolded and trimmed, so that linear white space is spaces and tabs. Loops are possessive, so that time is linear.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final

from cpmspec.wire.dates import parse_sip_date
from cpmspec.wire.section import TOKEN as _TOKEN_RE
from cpmspec.wire.sip_values import MAX_CSEQ, MAX_SECONDS, parse_number, parse_via
from cpmspec.wire.uri import NameAddr


class Shape(Enum):
    """How a header's value is made up of values."""

    ONE = "one"  #: no list: the header stands at most once (RFC 3261 7.3.1)
    LIST = "list"  #: one or more, with commas between
    MAYBE = "maybe"  #: none or more


@dataclass(frozen=True, slots=True)
class Rule:
    """What is expected of a header.

    ``valid`` says whether one value is right by the grammar. ``address`` tells that values are addresses, whose URIs
    are looked into, ``params`` that they have parameters, each of which may stand once (7.3.1).
    """

    id: str
    shape: Shape
    valid: Callable[[str], object]
    expected: str
    address: bool = False
    params: bool = True


#: q and expires of a Contact out of range: a remark, for as parameters of any kind the grammar lets them pass
CONTACT_RANGE: Final = "SIP-3261-20.10-02"

_TOKEN = _TOKEN_RE.pattern
# quoted-string = SWS DQUOTE *(qdtext / quoted-pair ) DQUOTE; its control characters are looked at elsewhere
_QUOTED = r'"(?:[^"\\]|\\.)*+"'
# host = hostname / IPv4address / IPv6reference ; underscores are let pass, as in URIs
_HOST = r"(?:[A-Za-z0-9][A-Za-z0-9._-]*|\[[0-9A-Fa-f:.]+\])"
_S = r"[ \t]*+"
# generic-param = token [ EQUAL gen-value ] ; gen-value = token / host / quoted-string
# via-received = "received" EQUAL (IPv4address / IPv6address), also in brackets (RFC 5118 4.5)
_END = r"(?=[ \t]*(?:;|\Z))"
_GEN = rf"(?:{_TOKEN}|{_HOST}|{_QUOTED})"
_PARAMS = rf"(?:{_S};{_S}{_TOKEN}(?:{_S}={_S}{_GEN}{_END}|{_END}))*+"
_VIA_PARAMS = rf"(?:{_S};{_S}{_TOKEN}(?:{_S}={_S}(?:{_GEN}|[0-9A-Fa-f]*:[0-9A-Fa-f:.]*){_END}|{_END}))*+"
# name-addr = [ display-name ] LAQUOT addr-spec RAQUOT ; display-name = *(token LWS) / quoted-string
# addr-spec with a comma, question mark or semicolon stands in angle brackets (20.10)
_IN_BRACKETS = rf'(?:{_QUOTED}|(?:{_TOKEN}(?:[ \t]++|(?=<)))*+){_S}<[^<>\s"]++>{_PARAMS}'
_BARE = r"[A-Za-z][A-Za-z0-9+.-]*+:[^;,?<>\s\"]++"
# m-type SLASH m-subtype *(SEMI m-parameter) ; types and names as in RFC 2045 5.1, which allows more than token
_MIME = r"[^\x00-\x20\x7f()<>@,;:\\\"/\[\]?=]++"
_MIME_PARAMS = rf"(?:{_S};{_S}{_MIME}{_S}={_S}(?:{_MIME}|{_QUOTED}))*+"
# callid = word [ "@" word ]
_WORD = r"[A-Za-z0-9\-.!%*_+`'~()<>:\\\"/\[\]?{}]++"


def _like(pattern: str) -> Callable[[str], object]:
    return re.compile(pattern, re.DOTALL).fullmatch


def _up_to(limit: int) -> Callable[[str], object]:
    def number(value: str) -> bool:
        return parse_number(value, limit) is not None

    return number


_VIA: Final = _like(rf"{_TOKEN}{_S}/{_S}{_TOKEN}{_S}/{_S}{_TOKEN}[ \t]++{_HOST}(?:{_S}:{_S}[0-9]++)?{_VIA_PARAMS}")
_CONTACT: Final = _like(rf"{_IN_BRACKETS}|{_BARE}{_PARAMS}")
_QVALUE: Final = _like(r"0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?")
_SECONDS: Final = _up_to(MAX_SECONDS)
_DELTA: Final = re.compile(r"[0-9]+")


def _via(value: str) -> bool:
    """Whether the grammar allows it, and host and port are some (a name that is not SIP cannot be read, but stand)."""
    return _VIA(value) is not None and (parse_via(value).host != "" or value[:3].upper() != "SIP")


def contact_in_range(address: NameAddr) -> bool:
    """Whether ``q`` and ``expires`` of a Contact, if it has them, are what they are to be (20.10)."""
    q, expires = address.param("q"), address.param("expires")
    return (q is None or _QVALUE(q) is not None) and (expires is None or bool(_SECONDS(expires)))


def _seconds_with(tail: str) -> Callable[[str], object]:
    """delta-seconds in range, and what may follow."""
    rest = _like(tail)

    def valid(value: str) -> bool:
        digits = _DELTA.match(value)
        return digits is not None and bool(_SECONDS(digits[0])) and rest(value[digits.end() :]) is not None

    return valid


def _cseq(value: str) -> bool:
    number, _, method = value.replace("\t", " ").partition(" ")
    return bool(_up_to(MAX_CSEQ)(number)) and _TOKEN_RE.fullmatch(method.lstrip(" ")) is not None


_TOKENS: Final = _like(_TOKEN)
_TOKEN_PARAMS: Final = _like(rf"{_TOKEN}{_PARAMS}")
_NAME_ADDR: Final = _like(_IN_BRACKETS)
# Service-ID = "urn:urn-7:" top-level *("." sub-service-id)
_SERVICE: Final = _like(rf"[Uu][Rr][Nn]:[Uu][Rr][Nn]-7:[A-Za-z0-9-]++(?:\.[A-Za-z0-9-]++)*+{_PARAMS}")
# ac-value = "*" *(SEMI ac-params)
_FEATURES: Final = _like(rf"\*{_PARAMS}")
# Privacy-hdr = "Privacy" HCOLON priv-value *(";" priv-value)
_PRIVACY: Final = _like(rf"{_TOKEN}(?:{_S};{_S}{_TOKEN})*+")
_MEDIA: Final = _like(rf"{_MIME}{_S}/{_S}{_MIME}{_MIME_PARAMS}")
# accept-range = media-range *(SEMI accept-param)
_RANGE: Final = _like(rf"{_MIME}{_S}/{_S}{_MIME}(?:{_S};{_S}{_MIME}(?:{_S}={_S}(?:{_MIME}|{_QUOTED}))?)*+")


def _address(rule: str, shape: Shape, expected: str = "an address") -> Rule:
    return Rule(rule, shape, _CONTACT, expected, address=True)


def _plain(rule: str, shape: Shape, valid: Callable[[str], object], expected: str) -> Rule:
    return Rule(rule, shape, valid, expected, params=False)


_BRACKETS: Final = "an address in angle brackets"
_OPTION: Final = "option tags, with single commas between"

#: by canonical name
GRAMMAR: Final[dict[str, Rule]] = {
    "via": Rule("SIP-3261-20.42-01", Shape.LIST, _via, "protocol, version, transport and sent-by, then parameters"),
    "from": _address("SIP-3261-20.20-01", Shape.ONE),
    "to": _address("SIP-3261-20.39-01", Shape.ONE),
    "contact": _address("SIP-3261-20.10-01", Shape.LIST, "addresses"),
    "reply-to": _address("SIP-3261-20.31-01", Shape.ONE),
    "route": Rule("SIP-3261-20.34-01", Shape.LIST, _NAME_ADDR, _BRACKETS, address=True),
    "record-route": Rule("SIP-3261-20.30-01", Shape.LIST, _NAME_ADDR, _BRACKETS, address=True),
    "path": Rule("SIP-3327-4-01", Shape.LIST, _NAME_ADDR, _BRACKETS, address=True),
    "service-route": Rule("SIP-3608-5-01", Shape.LIST, _NAME_ADDR, _BRACKETS, address=True),
    "p-asserted-identity": _address("SIP-3325-9.1-01", Shape.LIST),
    "p-preferred-identity": _address("SIP-3325-9.2-01", Shape.LIST),
    "p-served-user": _address("SIP-5502-6-01", Shape.ONE),
    "refer-to": _address("SIP-3515-2.1-01", Shape.ONE),
    "p-asserted-service": Rule("SIP-6050-4.1-01", Shape.LIST, _SERVICE, "a service identifier under urn:urn-7:"),
    "p-preferred-service": Rule("SIP-6050-4.2-01", Shape.LIST, _SERVICE, "a service identifier under urn:urn-7:"),
    "accept-contact": Rule("SIP-3841-9.2-01", Shape.LIST, _FEATURES, "an asterisk and feature parameters"),
    "reject-contact": Rule("SIP-3841-9.2-02", Shape.LIST, _FEATURES, "an asterisk and feature parameters"),
    "privacy": _plain("SIP-3323-4.2-01", Shape.ONE, _PRIVACY, "tokens, with semicolons between"),
    "cseq": _plain("SIP-3261-8.1.1.5-01", Shape.ONE, _cseq, "a number below 2**31 and a method"),
    "call-id": _plain("SIP-3261-20.8-01", Shape.ONE, _like(rf"{_WORD}(?:@{_WORD})?"), "a word, or two with @ between"),
    "max-forwards": _plain("SIP-3261-20.22-01", Shape.ONE, _up_to(255), "a number up to 255"),
    "content-type": Rule("SIP-3261-20.15-02", Shape.ONE, _MEDIA, "a media type"),
    "content-disposition": Rule("SIP-3261-20.11-01", Shape.ONE, _TOKEN_PARAMS, "a token and parameters"),
    "content-encoding": _plain("SIP-3261-20.12-01", Shape.LIST, _TOKENS, "content codings"),
    "mime-version": _plain("SIP-3261-20.24-01", Shape.ONE, _like(r"[0-9]++\.[0-9]++"), "two numbers, a dot between"),
    "date": _plain("SIP-3261-20.17-01", Shape.ONE, parse_sip_date, "a date of RFC 1123's form, in GMT"),
    "expires": _plain("SIP-3261-20.19-01", Shape.ONE, _SECONDS, "seconds below 2**32"),
    "min-expires": _plain("SIP-3261-20.23-01", Shape.ONE, _SECONDS, "seconds below 2**32"),
    "retry-after": _plain(
        "SIP-3261-20.33-01", Shape.ONE, _seconds_with(rf"(?:{_S}\(.*\))?{_PARAMS}"), "seconds below 2**32"
    ),
    "session-expires": Rule("SIP-4028-4-01", Shape.ONE, _seconds_with(_PARAMS), "seconds below 2**32"),
    "min-se": Rule("SIP-4028-5-01", Shape.ONE, _seconds_with(_PARAMS), "seconds below 2**32"),
    "require": _plain("SIP-3261-20.32-01", Shape.LIST, _TOKENS, _OPTION),
    "proxy-require": _plain("SIP-3261-20.29-01", Shape.LIST, _TOKENS, _OPTION),
    "unsupported": _plain("SIP-3261-20.40-01", Shape.LIST, _TOKENS, _OPTION),
    "supported": _plain("SIP-3261-20.37-01", Shape.MAYBE, _TOKENS, _OPTION),
    "allow": _plain("SIP-3261-20.5-01", Shape.MAYBE, _TOKENS, "methods, with single commas between"),
    "accept": Rule("SIP-3261-20.1-01", Shape.MAYBE, _RANGE, "media ranges"),
    "event": Rule("SIP-6665-8.2.1-01", Shape.ONE, _TOKEN_PARAMS, "an event package and parameters"),
    "allow-events": _plain("SIP-6665-8.2.2-01", Shape.LIST, _TOKENS, "event packages"),
    "subscription-state": Rule("SIP-6665-8.2.3-01", Shape.ONE, _TOKEN_PARAMS, "a state and parameters"),
}  # fmt: skip

#: headers that stand at most once: what the grammar makes no list of, and text (RFC 3261 7.3.1, 20)
SINGLE: Final = frozenset({key for key, rule in GRAMMAR.items() if rule.shape is Shape.ONE}) | {
    "content-length", "organization", "priority", "server", "subject", "timestamp", "user-agent", "referred-by",
}  # fmt: skip
