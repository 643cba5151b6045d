"""The grammar of the lines of a session description, one reader for each (RFC 4566 5 and 9, now RFC 8866).

A reader returns the typed value, or ``None`` for what the grammar does not cover; :data:`GRAMMAR` has for each type of
line the rule that its value follows.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

#: decimal digits of a number that are read; more is no number that anybody needs, and an attack on int()
MAX_DIGITS: Final = 20
MAX_PORT: Final = 65535

# RFC 4566 9: token-char = %x21 / %x23-27 / %x2A-2B / %x2D-2E / %x30-39 / %x41-5A / %x5E-7E
TOKEN: Final = r"[!#$%&'*+\-.0-9A-Z^_`a-z{|}~]+"

# origin-field = "o=" username SP sess-id SP sess-version SP nettype SP addrtype SP unicast-address
_ORIGIN: Final = re.compile(rf"([^ ]+) ([0-9]+) ([0-9]+) ({TOKEN}) ({TOKEN}) ([^ ]+)")
# connection-field = "c=" nettype SP addrtype SP connection-address
# IP4-multicast = m1 3( "." decimal-uchar ) "/" ttl [ "/" integer ] ; IP6-multicast = hexpart [ "/" integer ]
_CONNECTION: Final = re.compile(rf"({TOKEN}) +({TOKEN}) +([^ /]+)((?:/[0-9]{{1,5}})*) *")
_CONNECTION_STRICT: Final = re.compile(rf"{TOKEN} {TOKEN} [^ /]+(?:/[0-9]{{1,5}}){{0,2}}")
# media-field = "m=" media SP port ["/" integer] SP proto 1*(SP fmt) ; proto = token *("/" token)
_MEDIA: Final = re.compile(r"([^\s/]+) +([0-9]{1,5})(?:/([0-9]{1,5}))? +(\S+)((?: +\S+)*) *")
_MEDIA_STRICT: Final = re.compile(rf"{TOKEN} [0-9]{{1,5}}(?:/[1-9][0-9]{{0,4}})? {TOKEN}(?:/{TOKEN})*(?: {TOKEN})+")
# FQDN = 4*(alpha-numeric / "-" / "."), but shorter names are used too, and "_" is legal as extn-addr = non-ws-string
_NAME: Final = re.compile(r"[._-]*[A-Za-z0-9][A-Za-z0-9._-]*")

_VERSION: Final = re.compile(r"0")
_TEXT: Final = re.compile(r"[^\x00\r\n]+")
_URI: Final = re.compile(r"[^\s\x00-\x1f<>\"]+")
# phone = ["+"] DIGIT 1*(SP / "-" / DIGIT) ; email-address = address-and-comment / dispname-and-address / addr-spec
_PHONE_NUMBER: Final = r"\+?[0-9][0-9 -]+"
_PHONE: Final = re.compile(rf"{_PHONE_NUMBER}|{_PHONE_NUMBER}\([^()<>]+\)|[^()<>]+<{_PHONE_NUMBER}>")
_ADDRESS: Final = r'(?:[^\s()<>@"]+|"[^"]+")@[^\s()<>@]+'
_EMAIL: Final = re.compile(rf"{_ADDRESS}|{_ADDRESS} +\([^()<>]+\)|[^()<>]+<{_ADDRESS}>")
# bandwidth-field = "b=" bwtype ":" 1*DIGIT
_BANDWIDTH: Final = re.compile(rf"({TOKEN}):([0-9]+)")
# time-field = "t=" start-time SP stop-time ; each "0" or POS-DIGIT 9*DIGIT
_NTP: Final = r"(?:0|[1-9][0-9]{9,})"
_TIMING: Final = re.compile(rf"({_NTP}) ({_NTP})")
# repeat-fields = "r=" repeat-interval SP typed-time 1*(SP typed-time) ; typed-time = 1*DIGIT [ "d" / "h" / "m" / "s" ]
_REPEAT: Final = re.compile(r"[1-9][0-9]*[dhms]?(?: [0-9]+[dhms]?){2,}")
# zone-adjustments = "z=" time SP ["-"] typed-time *(SP time SP ["-"] typed-time)
_ZONE_PAIR: Final = rf"{_NTP} -?[0-9]+[dhms]?"
_ZONES: Final = re.compile(rf"{_ZONE_PAIR}(?: {_ZONE_PAIR})*")
# key-field = "k=" ("prompt" / "clear:" text / "base64:" base64 / "uri:" uri)
_KEY: Final = re.compile(r"prompt|clear:[^\x00]+|base64:[A-Za-z0-9+/]*={0,2}|uri:[^\s]+")
# attribute = att-field [ ":" att-value ] ; att-field = token ; att-value = byte-string, at least one octet
_ATTRIBUTE: Final = re.compile(rf"{TOKEN}(?::[^\x00]+)?")


@dataclass(frozen=True, slots=True)
class Origin:
    """The value of an o-line (RFC 4566 5.2); numbers as text, as they may be of any length."""

    username: str
    session_id: str
    version: str
    network: str
    family: str  #: ``IP4``, ``IP6`` or what stands there
    host: str


@dataclass(frozen=True, slots=True)
class Connection:
    """The value of a c-line (RFC 4566 5.7): ``suffix`` has the numbers behind slashes, TTL and count."""

    network: str
    family: str
    host: str  #: IPv6 without brackets
    suffix: tuple[int, ...] = ()
    exact: bool = True  #: whether the white space is as the grammar has it


@dataclass(frozen=True, slots=True)
class MediaLine:
    """The value of an m-line (RFC 4566 5.14)."""

    kind: str
    port: int
    count: int | None
    protocol: str
    formats: tuple[str, ...]
    exact: bool = True  #: whether tokens and white space are as the grammar has them


@dataclass(frozen=True, slots=True)
class Bandwidth:
    """The value of a b-line (RFC 4566 5.8); kilobits in a second for ``CT`` and ``AS``."""

    kind: str
    value: int


@dataclass(frozen=True, slots=True)
class Timing:
    """The value of a t-line (RFC 4566 5.9): NTP seconds, 0 for none."""

    start: int
    stop: int


def parse_origin(value: str) -> Origin | None:
    """Read an o-line."""
    match = _ORIGIN.fullmatch(value)
    return Origin(*match.groups()) if match is not None else None


def parse_connection(value: str) -> Connection | None:
    """Read a c-line; more white space than allowed is read, and told by ``exact``."""
    match = _CONNECTION.fullmatch(value)
    if match is None:
        return None
    suffix = tuple(int(number) for number in match[4].split("/")[1:])
    return Connection(match[1], match[2], match[3], suffix, _CONNECTION_STRICT.fullmatch(value) is not None)


def parse_media_line(value: str) -> MediaLine | None:
    """Read an m-line; other white space or characters than allowed are read, and told by ``exact``."""
    match = _MEDIA.fullmatch(value)
    if match is None or int(match[2]) > MAX_PORT:
        return None
    exact = _MEDIA_STRICT.fullmatch(value) is not None
    count = int(match[3]) if match[3] else None
    return MediaLine(match[1], int(match[2]), count, match[4], tuple(match[5].split()), exact)


def parse_bandwidth(value: str) -> Bandwidth | None:
    """Read a b-line."""
    match = _BANDWIDTH.fullmatch(value)
    number = parse_count(match[2]) if match is not None else None
    return Bandwidth(match[1], number) if match is not None and number is not None else None


def parse_timing(value: str) -> Timing | None:
    """Read a t-line."""
    match = _TIMING.fullmatch(value)
    if match is None or max(map(len, match.groups())) > MAX_DIGITS:
        return None
    return Timing(int(match[1]), int(match[2]))


def parse_count(text: str) -> int | None:
    """A decimal number of at most :data:`MAX_DIGITS` digits; ``None`` for anything else."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS else None


def numeric(host: str) -> IPv4Address | IPv6Address | None:
    """A host as an address, IPv6 with or without brackets; ``None`` if it is a name."""
    try:
        return ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        return None


def fits_family(family: str, host: str) -> bool:
    """Whether a host is an address of that family, or a name, which may stand for either (RFC 4566 5.2, 5.7)."""
    if family not in ("IP4", "IP6"):
        return True
    address = numeric(host)
    if address is None:
        return _NAME.fullmatch(host) is not None and not host.replace(".", "").isdigit()
    return not host.startswith("[") and address.version == int(family[2])


def suffix_fault(connection: Connection) -> str | None:
    """What is wrong with TTL and count behind an address, ``None`` if nothing is (RFC 4566 5.7)."""
    address = numeric(connection.host)
    if address is None or connection.network != "IN":
        return None
    if not address.is_multicast:
        return "a slash behind a unicast address" if connection.suffix else None
    if address.version == 6:
        return "a TTL with IPv6" if len(connection.suffix) > 1 else None
    if not connection.suffix:
        return "IPv4 multicast without TTL"
    return "a TTL over 255" if connection.suffix[0] > 255 else None


def _matches(pattern: re.Pattern[str]) -> Callable[[str], bool]:
    return lambda value: pattern.fullmatch(value) is not None


def _media_is_exact(value: str) -> bool:
    line = parse_media_line(value)
    return line is not None and line.exact


#: type of line -> the rule about its value, what is expected, and whether a value is that; o and c have more rules
GRAMMAR: Final[dict[str, tuple[str, str, Callable[[str], bool]]]] = {
    "v": ("SDP-4566-5.1-01", "0", _matches(_VERSION)),
    "o": ("SDP-4566-5.2-01", "username, id, version, nettype, addrtype, address", _matches(_ORIGIN)),
    "s": ("SDP-4566-5.3-01", "at least one character", _matches(_TEXT)),
    "i": ("SDP-4566-5.4-01", "at least one character", _matches(_TEXT)),
    "u": ("SDP-4566-5.5-01", "a URI", _matches(_URI)),
    "e": ("SDP-4566-5.6-01", "an email address", _matches(_EMAIL)),
    "p": ("SDP-4566-5.6-02", "a phone number", _matches(_PHONE)),
    "c": ("SDP-4566-5.7-02", "nettype, addrtype, address", _matches(_CONNECTION_STRICT)),
    "b": ("SDP-4566-5.8-01", "bwtype, colon, digits", lambda value: parse_bandwidth(value) is not None),
    "t": ("SDP-4566-5.9-01", "start and stop, each 0 or ten digits or more", _matches(_TIMING)),
    "r": ("SDP-4566-5.10-01", "interval, duration, offsets", _matches(_REPEAT)),
    "z": ("SDP-4566-5.11-01", "pairs of a time and an offset", _matches(_ZONES)),
    "k": ("SDP-4566-5.12-01", "prompt, clear:, base64: or uri:", _matches(_KEY)),
    "a": ("SDP-4566-5.13-01", "a token, or a token, colon and value", _matches(_ATTRIBUTE)),
    "m": ("SDP-4566-5.14-01", "media, port, protocol, formats", _media_is_exact),
}
