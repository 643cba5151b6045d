"""Typed views of SIP headers, read only when asked for (RFC 3261 20): CSeq, Via, addresses, times, counts."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import datetime

from cpmspec.wire.dates import parse_sip_date
from cpmspec.wire.headers import Header, Headers, canonical, split_list
from cpmspec.wire.params import Params, find_param, format_params, parse_params, set_param, unquoted
from cpmspec.wire.section import TOKEN
from cpmspec.wire.uri import NameAddr, host_text, parse_name_addr, split_host_port

#: RFC 3261 8.1.1.5: the sequence number is expressible in 31 bits
MAX_CSEQ = 2**31 - 1
#: RFC 3261 20.19, 25.1: delta-seconds up to 2**32 - 1
MAX_SECONDS = 2**32 - 1
#: digits of a number that are read at all: leading zeros are legal, megabytes of them are an attack on int()
MAX_DIGITS = 20

#: the white space of the grammar, and no other of Unicode's
BLANKS = re.compile(r"[ \t]+")

_SENT_PROTOCOL = re.compile(
    r"([^\s/;,]+)[ \t]*/[ \t]*([^\s/;,]+)[ \t]*/[ \t]*([^\s/;,]+)[ \t]+([^\s;,]+)(?:[ \t]*:[ \t]*([0-9]{1,5}))?"
)


@dataclass(frozen=True, slots=True)
class CSeq:
    """The number and method of a CSeq header (RFC 3261 20.16)."""

    number: int
    method: str

    def __str__(self) -> str:
        return f"{self.number} {self.method}"


@dataclass(frozen=True, slots=True)
class Via:
    """One Via value (RFC 3261 20.42); one that cannot be read has an empty transport and host, and its ``text``."""

    transport: str  #: upper case
    host: str
    port: int | None
    params: Params = ()
    text: str = ""

    def __str__(self) -> str:
        if self.text:
            return self.text
        port = "" if self.port is None else f":{self.port}"
        return f"SIP/2.0/{self.transport} {host_text(self.host)}{port}{format_params(self.params)}"

    @property
    def branch(self) -> str | None:
        """The branch parameter (RFC 3261 8.1.1.7)."""
        return self.param("branch")

    def param(self, name: str) -> str | None:
        """The value of a parameter without quotes, '' if it has none, ``None`` if it is absent."""
        value = find_param(self.params, name)
        return None if value is None else unquoted(value)

    def with_param(self, name: str, value: str | None) -> Via:
        """The same with that parameter set (``received``, ``rport``: RFC 3261 18.2.1, RFC 3581 4)."""
        return replace(self, params=set_param(self.params, name, value), text="")


# via-parm = sent-protocol LWS sent-by *( SEMI via-params ) ; sent-protocol = name SLASH version SLASH transport
def parse_via(text: str) -> Via:
    """Read one Via value; white space around the slashes and the colon is legal."""
    place, _, params = text.partition(";")
    match = _SENT_PROTOCOL.fullmatch(place.strip())
    if match is None or match[1].upper() != "SIP":
        return Via("", "", None, (), text)
    port = f":{match[5]}" if match[5] else ""
    split = split_host_port(match[4] + port)
    if split is None:
        return Via("", "", None, (), text)
    return Via(match[3].upper(), *split, parse_params(params), text)


# CSeq = "CSeq" HCOLON 1*DIGIT LWS Method
def parse_cseq(text: str) -> CSeq | None:
    """Read a CSeq value; ``None`` if it is none or its number is out of range."""
    parts = BLANKS.split(text.strip(" \t"))
    if len(parts) != 2 or TOKEN.fullmatch(parts[1]) is None:
        return None
    number = parse_number(parts[0], MAX_CSEQ)
    return None if number is None else CSeq(number, parts[1])


def parse_number(text: str | None, limit: int) -> int | None:
    """An unsigned decimal number of at most ``limit``; ``None`` for anything else."""
    if text is None or len(text) > MAX_DIGITS or not (text.isascii() and text.isdigit()):
        return None
    number = int(text)
    return number if number <= limit else None


def without_first(headers: Headers, name: str) -> Headers:
    """The headers without the first value of a name: the first of a list, or the whole header line."""
    return _first_changed(headers, name, ())


def with_first(headers: Headers, name: str, value: str) -> Headers:
    """The headers with the first value of a name exchanged; without one it is added at the start.

    :raises ValueError: the value holds a CR, LF or NUL.
    """
    fresh = Header.make(name, value)
    if headers.get(name) is None:
        return Headers((fresh, *headers))
    return _first_changed(headers, name, (value,))


def _first_changed(headers: Headers, name: str, values: tuple[str, ...]) -> Headers:
    key = canonical(name)
    for index, header in enumerate(headers):
        if header.key == key:
            kept = (*values, *split_list(header.value)[1:])
            line = (Header.unchecked(header.name, ", ".join(kept)),) if kept else ()
            return Headers((*headers[:index], *line, *headers[index + 1 :]))
    return headers


class Views:
    """What a SIP message's headers say, for requests and responses alike."""

    __slots__ = ()

    headers: Headers

    @property
    def call_id(self) -> str | None:
        """Call-ID (RFC 3261 20.8)."""
        return self.headers.get("call-id")

    @property
    def cseq(self) -> CSeq | None:
        """CSeq (RFC 3261 20.16), ``None`` if absent or unreadable."""
        value = self.headers.get("cseq")
        return None if value is None else parse_cseq(value)

    @property
    def from_(self) -> NameAddr | None:
        """From (RFC 3261 20.20)."""
        return self._address("from")

    @property
    def to(self) -> NameAddr | None:
        """To (RFC 3261 20.39)."""
        return self._address("to")

    @property
    def from_tag(self) -> str | None:
        """The tag of From."""
        address = self._address("from")
        return None if address is None else address.tag

    @property
    def to_tag(self) -> str | None:
        """The tag of To."""
        address = self._address("to")
        return None if address is None else address.tag

    @property
    def via(self) -> tuple[Via, ...]:
        """All Via values, topmost first (RFC 3261 20.42)."""
        return tuple(parse_via(value) for value in self.headers.values("via"))

    @property
    def contact(self) -> tuple[NameAddr, ...]:
        """All Contact values (RFC 3261 20.10)."""
        return self._addresses("contact")

    @property
    def route(self) -> tuple[NameAddr, ...]:
        """All Route values (RFC 3261 20.34)."""
        return self._addresses("route")

    @property
    def record_route(self) -> tuple[NameAddr, ...]:
        """All Record-Route values (RFC 3261 20.30)."""
        return self._addresses("record-route")

    @property
    def p_asserted_identity(self) -> tuple[NameAddr, ...]:
        """All P-Asserted-Identity values (RFC 3325 9.1)."""
        return self._addresses("p-asserted-identity")

    @property
    def content_type(self) -> str | None:
        """The value of Content-Type with its parameters (RFC 3261 20.15)."""
        return self.headers.get("content-type")

    @property
    def content_length(self) -> int | None:
        """Content-Length (RFC 3261 20.14), ``None`` if absent or no number."""
        return parse_number(self.headers.get("content-length"), 10**MAX_DIGITS)

    @property
    def date(self) -> datetime | None:
        """Date (RFC 3261 20.17), ``None`` if absent or not in RFC 1123 form with GMT."""
        value = self.headers.get("date")
        return None if value is None else parse_sip_date(value)

    @property
    def expires(self) -> int | None:
        """Expires in seconds (RFC 3261 20.19), ``None`` if absent or out of range."""
        return parse_number(self.headers.get("expires"), MAX_SECONDS)

    @property
    def max_forwards(self) -> int | None:
        """Max-Forwards (RFC 3261 20.22), ``None`` if absent or out of 0..255."""
        return parse_number(self.headers.get("max-forwards"), 255)

    def _address(self, name: str) -> NameAddr | None:
        value = self.headers.get(name)
        return None if value is None else parse_name_addr(value)

    def _addresses(self, name: str) -> tuple[NameAddr, ...]:
        return tuple(parse_name_addr(value) for value in self.headers.values(name))
