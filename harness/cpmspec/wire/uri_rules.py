"""What is wrong with a URI by the grammar of its scheme.

=================== ==================================================================================
SIP-3261-19.1.1-01  the form of a SIP or SIPS URI (19.1.1, 25.1; RFC 5954 for IPv6)
SIP-3261-19.1.1-02  a URI parameter stands at most once
SIP-3261-19.1.1-03  a Request-URI has neither headers nor a method parameter
SIP-3966-3-01       the form of a tel URI; a local number has a phone-context
SIP-3966-3-02       a parameter of a tel URI stands at most once
SIP-8141-2-01       the form of a URN
SIP-3986-3-01       the form of any other URI: a scheme, a colon, characters of URIs
SIP-LIMIT-06        more parameters than this reader looks at
=================== ==================================================================================

Two leniencies: a host may have underscores (names of containers have), and an MSRP URI is judged where it stands, by
the rules of MSRP.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from cpmspec.wire.params import Params
from cpmspec.wire.section import shown
from cpmspec.wire.uri import OtherUri, SipUri, TelUri, Uri, UrnUri, parse_uri
from cpmspec.wire.violation import Violation

#: parameters of one URI or header value that are looked at: ten is much, and each costs time
MAX_PARAMS: Final = 256

# RFC 3261 25.1: unreserved = alphanum / mark ; mark = "-" / "_" / "." / "!" / "~" / "*" / "'" / "(" / ")"
# The loops are possessive: none gives back what it took, so that the time is linear in the length.
_UNRESERVED = r"A-Za-z0-9\-_.!~*'()"
_ESCAPED = r"%[0-9A-Fa-f]{2}"
# host = hostname / IPv4address / IPv6reference (whose digits are checked by the address's own reader)
_HOST = r"(?:[A-Za-z0-9][A-Za-z0-9._-]*+|\[[0-9A-Fa-f:.]++\])"
# uri-parameter = pname [ "=" pvalue ] ; paramchar = param-unreserved / unreserved / escaped
_PARAMCHARS = rf"(?:[\[\]/:&+${_UNRESERVED}]|{_ESCAPED})++"
_PARAMS = rf"(?:;{_PARAMCHARS}(?:={_PARAMCHARS})?+)*+"
# header = hname "=" hvalue ; hnv-unreserved = "[" / "]" / "/" / "?" / ":" / "+" / "$"
_HEADER = rf"(?:[\[\]/?:+${_UNRESERVED}]|{_ESCAPED})++=(?:[\[\]/?:+${_UNRESERVED}]|{_ESCAPED})*+"
# SIP-URI = "sip:" [ userinfo ] hostport uri-parameters [ headers ] ; userinfo = ( user / telephone-subscriber )
# [ ":" password ] "@"
_SIP: Final = re.compile(
    rf"sips?:(?:(?:[&=+$,;?/{_UNRESERVED}]|{_ESCAPED})++(?::(?:[&=+$,{_UNRESERVED}]|{_ESCAPED})*+)?@)?"
    rf"{_HOST}(?::[0-9]++)?+{_PARAMS}(?:\?{_HEADER}(?:&{_HEADER})*+)?",
    re.IGNORECASE,
)
# RFC 3966 3: telephone-subscriber = global-number / local-number ; global-number = global-number-digits *par
# local-number = local-number-digits *par context *par ; par = ";" pname ["=" pvalue] / ext / isub
# isdn-subaddress = ";isub=" 1*uric: of its reserved characters the semicolon begins the next parameter
_TEL_PAR = rf"(?:;isub=(?:[@=,?\[\]/:&+${_UNRESERVED}]|{_ESCAPED})++|;[A-Za-z0-9-]++(?:={_PARAMCHARS})?+)*+"
_GLOBAL = r"\+(?=[.()-]*+[0-9])[0-9.()-]++"
_LOCAL = r"(?=[.()-]*+[0-9A-F*#])[0-9A-F*#.()-]++(?=.*;phone-context=)"
_TEL: Final = re.compile(rf"tel:(?:{_GLOBAL}|{_LOCAL}){_TEL_PAR}", re.IGNORECASE)
# descriptor = domainname / global-number-digits
_CONTEXT: Final = re.compile(rf"{_GLOBAL}|[A-Za-z0-9][A-Za-z0-9.-]*+")
# RFC 8141 2: NID = (alphanum) 0*30(ldh) (alphanum) ; NSS = pchar *(pchar / "/")
# rq-components = [ "?+" r-component ] [ "?=" q-component ] ; f-component = fragment
_PCHAR = rf"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@]|{_ESCAPED})"
_URN: Final = re.compile(
    rf"urn:[A-Za-z0-9][A-Za-z0-9-]{{0,30}}[A-Za-z0-9]:{_PCHAR}(?:{_PCHAR}|/)*+"
    rf"(?:\?\+{_PCHAR}(?:{_PCHAR}|/|\?(?!=))*+)?(?:\?={_PCHAR}(?:{_PCHAR}|[/?])*+)?(?:\#(?:{_PCHAR}|[/?])*+)?",
    re.IGNORECASE,
)
# RFC 3986 3 and 2: URI = scheme ":" hier-part [ "?" query ] [ "#" fragment ], as sets of characters
_OTHER: Final = re.compile(rf"[A-Za-z][A-Za-z0-9+.-]*+:(?:[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=]|{_ESCAPED})++")


def uri_violations(text: str, *, request: bool = False) -> tuple[Violation, ...]:
    """What is wrong with a URI, each at the offset 0; ``request``: whether it is a Request-URI (RFC 3261 19.1.1)."""
    return tuple(_all(text, parse_uri(text), request=request))


def _all(text: str, uri: Uri, *, request: bool) -> Iterator[Violation]:
    match uri:
        case SipUri() | OtherUri(scheme="sip" | "sips"):
            if isinstance(uri, OtherUri) or _SIP.fullmatch(text) is None:
                yield Violation("SIP-3261-19.1.1-01", 0, shown(text), "a SIP URI")
            if isinstance(uri, SipUri):
                yield from _once(uri.params, "SIP-3261-19.1.1-02")
                if request and (uri.headers is not None or uri.param("method") is not None):
                    expected = "a Request-URI without headers and method parameter"
                    yield Violation("SIP-3261-19.1.1-03", 0, shown(text), expected)
        case TelUri() | OtherUri(scheme="tel"):
            yield from _tel(text, uri)
        case UrnUri() | OtherUri(scheme="urn"):
            if _URN.fullmatch(text) is None:
                yield Violation("SIP-8141-2-01", 0, shown(text), "a URN")
        case OtherUri():
            if _OTHER.fullmatch(text) is None:
                yield Violation("SIP-3986-3-01", 0, shown(text), "a URI")


def _tel(text: str, uri: TelUri | OtherUri) -> Iterator[Violation]:
    context = uri.param("phone-context") if isinstance(uri, TelUri) else None
    if _TEL.fullmatch(text) is None or (context is not None and _CONTEXT.fullmatch(context) is None):
        yield Violation("SIP-3966-3-01", 0, shown(text), "a global number, or a local one with its phone-context")
    if isinstance(uri, TelUri):
        yield from _once(uri.params, "SIP-3966-3-02")


def _once(params: Params, rule: str) -> Iterator[Violation]:
    """Parameters that stand twice, and too many of them."""
    names = [name.lower() for name, _ in params[:MAX_PARAMS]]
    if len(names) != len(set(names)):
        twice = sorted({name for name in names if names.count(name) > 1})
        yield Violation(rule, 0, shown(", ".join(twice)), "each parameter once")
    if len(params) > MAX_PARAMS:
        yield Violation("SIP-LIMIT-06", 0, f"{len(params)} parameters", f"at most {MAX_PARAMS}")
