"""What relays add to MSRP: the method AUTH and its headers (RFC 4976 4 and 7; the values are those of RFC 2617).

=================== ==================================================================================
MSR-4976-4.1-01     an AUTH has no body
MSR-4976-4.2-01     Use-Path holds MSRP URIs
MSR-4976-4.3-01     WWW-Authenticate: Digest, with realm and nonce
MSR-4976-4.3-02     a 401 brings a WWW-Authenticate
MSR-4976-4.4-01     Authorization: Digest, with username, realm, nonce and response
MSR-4976-4.5-01     Authentication-Info: the parameters of its grammar
MSR-4976-4.6-01     Expires, Min-Expires and Max-Expires are numbers of seconds
MSR-4976-4.6-02     a 423 names its bounds: Min-Expires or Max-Expires
=================== ==================================================================================
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from cpmspec.wire.msrp_grammar import MAX_DIGITS, QUOTED, TOKEN
from cpmspec.wire.msrp_paths import path_violations
from cpmspec.wire.params import unquoted
from cpmspec.wire.violation import Violation

# WWW-Authenticate = "Digest" SP digest-param *( "," SP digest-param )
# digest-param = token "=" ( token / quoted-string )
# Authentication-Info = ainfo *( "," ainfo ). The space after a comma is let pass in both and asked for in neither.
_PARAM = re.compile(rf"({TOKEN})=({TOKEN}|{QUOTED})(?:[ \t]*,[ \t]*(?=\S)|\Z)")
_NUMBER = re.compile(rf"[0-9]{{1,{MAX_DIGITS}}}")

_DIGEST: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "www-authenticate": ("MSR-4976-4.3-01", ("realm", "nonce")),
    "authorization": ("MSR-4976-4.4-01", ("username", "realm", "nonce", "response")),
}
_TIMES = ("expires", "min-expires", "max-expires")


def digest_params(value: str | None, *, scheme: bool = True) -> dict[str, str] | None:
    """The parameters of a WWW-Authenticate or Authorization of Digest, names in lower case, values without quotes.

    ``scheme`` ``False`` reads an Authentication-Info, which has no word before its parameters. ``None``: there is no
    such header, another scheme, or no list of parameters.
    """
    text = value or ""
    if scheme:
        word, _, text = text.partition(" ")
        text = text.lstrip(" ")  # one space by the grammar, but readers split at any number of them
        if word.lower() != "digest":
            return None
    params: dict[str, str] = {}
    at = 0
    while found := _PARAM.match(text, at):
        params[found[1].lower()] = unquoted(found[2])
        at = found.end()
        if at == len(text):
            return params
    return None


def seconds(value: str | None) -> int | None:
    """The number of an Expires, Min-Expires or Max-Expires; ``None`` if absent or unreadable."""
    return None if value is None or not _NUMBER.fullmatch(value) else int(value)


def value_violations(key: str, value: str, offset: int) -> Iterator[Violation]:
    """What the value of a header of RFC 4976 breaks; ``key`` is its name in lower case."""
    if key == "use-path":
        wrong = [violation.found for violation in path_violations(value, offset)]
        if wrong or not value:
            yield Violation("MSR-4976-4.2-01", offset, ", ".join(wrong) or "no URI", "MSRP URIs")
    elif key in _DIGEST:
        rule, needed = _DIGEST[key]
        params = digest_params(value)
        if params is None or any(name not in params for name in needed):
            yield Violation(rule, offset, repr(value), f"Digest with {', '.join(needed)}")
    elif key == "authentication-info":
        if digest_params(value, scheme=False) is None:
            yield Violation("MSR-4976-4.5-01", offset, repr(value), "name=value, parted by commas")
    elif key in _TIMES and seconds(value) is None:
        yield Violation("MSR-4976-4.6-01", offset, repr(value), "a number of seconds")


def message_violations(status: int | None, keys: list[str], end: int) -> Iterator[Violation]:
    """What a message of an authorisation lacks; ``end`` is where its headers end."""
    if status == 401 and "www-authenticate" not in keys:
        yield Violation("MSR-4976-4.3-02", end, "no WWW-Authenticate", "a WWW-Authenticate in a 401")
    if status == 423 and "min-expires" not in keys and "max-expires" not in keys:
        yield Violation("MSR-4976-4.6-02", end, "neither Min-Expires nor Max-Expires", "one of them in a 423")
