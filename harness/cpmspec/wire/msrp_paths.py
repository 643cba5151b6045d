"""The URIs of To-Path, From-Path and Use-Path: what a URI breaks of the grammar of MSRP URIs (RFC 4975 6 and 9).

:func:`cpmspec.wire.uri.parse_uri` reads a URI for those who use it, and lets much pass; here each rule has a name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from ipaddress import AddressValueError, IPv4Address, IPv6Address

from cpmspec.wire.msrp_grammar import MAX_PORT, TOKEN
from cpmspec.wire.violation import Violation

#: a rule, what was found, what is expected
Fault = tuple[str, str, str]

# MSRP-URI = msrp-scheme "://" authority ["/" session-id] ";" transport *( ";" URI-parameter )
# authority as in RFC 3986, but without ";" in the host: it would take in the transport
_MSRP_URI = re.compile(
    r"""(?i:msrps?)://
    (?:(?P<user>[^@/\[\]]*)@)?
    (?P<host>\[[^\]@/]*\] | [^:;/@\[\]]*)
    (?: :(?P<port>[^;/@]*) )?
    (?: /(?P<session>[^;]*) )?
    (?P<params>(?:;.*)?)""",
    re.VERBOSE | re.DOTALL,
)
_SCHEME = re.compile(r"(?i:msrps?)://")
_UNRESERVED = r"[A-Za-z0-9\-._~]"
# userinfo = *( unreserved / pct-encoded / sub-delims / ":" )
_USER = re.compile(rf"(?:{_UNRESERVED}|%[0-9A-Fa-f]{{2}}|[!$&'()*+,;=:])*+")
# reg-name = *( unreserved / pct-encoded / sub-delims ), here of at least one character
_REG_NAME = re.compile(rf"(?:{_UNRESERVED}|%[0-9A-Fa-f]{{2}}|[!$&'()*+,=])++")
# session-id = 1*( unreserved / "+" / "=" / "/" )
_SESSION = re.compile(rf"(?:{_UNRESERVED}|[+=/])++")
# transport = "tcp" / 1*ALPHANUM
_TRANSPORT = re.compile(r"[A-Za-z0-9]+")
# URI-parameter = token ["=" token]
_PARAMETER = re.compile(rf"{TOKEN}(?:={TOKEN})?")


def path_violations(value: str, offset: int) -> Iterator[Violation]:
    """What the URIs of a path break; a rule that several URIs break is told once for each. ``offset`` is the line's."""
    for uri in value.split():
        for rule, found, expected in uri_faults(uri):
            yield Violation(rule, offset, found, expected)


@lru_cache(maxsize=256)
def uri_faults(uri: str) -> tuple[Fault, ...]:
    """What one URI of a path breaks."""
    return tuple(_faults(uri))


def _faults(uri: str) -> Iterator[Fault]:
    if not _SCHEME.match(uri):
        yield "MSR-4975-6-01", uri, "msrp:// or msrps://"
        return
    found = _MSRP_URI.fullmatch(uri)
    if found is None or not _USER.fullmatch(found["user"] or "") or not _is_host(found["host"]):
        yield "MSR-4975-6-04", uri, "a host after ://, perhaps with userinfo@ before it"
        return
    if not _is_port(found["port"]):
        yield "MSR-4975-6-05", uri, f"a port of 0 to {MAX_PORT}"
    if not found["port"] and _is_numeric(found["host"]):
        yield "MSR-4975-6-02", uri, "a port with a numeric host"
    if found["session"] is not None and not _SESSION.fullmatch(found["session"]):
        yield "MSR-4975-6-06", uri, "a session-id of letters, digits and - . _ ~ + = /"
    transport, *params = found["params"].split(";")[1:] or [""]
    if not _TRANSPORT.fullmatch(transport):
        yield "MSR-4975-6-03", uri, "a transport such as ;tcp after the host or the session-id"
    if any(not _PARAMETER.fullmatch(param) for param in params):
        yield "MSR-4975-6-07", uri, "parameters of the form ;name or ;name=value"


def _is_host(host: str) -> bool:
    if not host.startswith("["):
        return _REG_NAME.fullmatch(host) is not None
    try:
        IPv6Address(host[1:-1])
    except AddressValueError:
        return False
    return True


def _is_port(port: str | None) -> bool:
    return not port or (port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= MAX_PORT)


def _is_numeric(host: str) -> bool:
    try:
        IPv4Address(host)
    except AddressValueError:
        return host.startswith("[")
    return True
