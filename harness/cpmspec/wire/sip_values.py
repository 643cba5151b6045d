"""Values of SIP headers, read one at a time (RFC 3261 20): CSeq, Via, Session-Expires, Accept-Contact, numbers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

from cpmspec.wire.params import Params, find_param, format_params, parse_params, set_param, unquoted, usual_params
from cpmspec.wire.section import TOKEN
from cpmspec.wire.uri import host_text, split_host_port

#: RFC 3261 8.1.1.5: the sequence number is expressible in 31 bits
MAX_CSEQ = 2**31 - 1
#: RFC 3261 20.19, 25.1: delta-seconds up to 2**32 - 1
MAX_SECONDS = 2**32 - 1
#: digits of a number, leading zeros apart, that are read at all: int() takes long for more
MAX_DIGITS = 20

#: the white space of the grammar, and no other of Unicode's
BLANKS = re.compile(r"[ \t]+")

_CSEQ = re.compile(rf"[ \t]*0*([0-9]{{1,{MAX_DIGITS}}})[ \t]+({TOKEN.pattern})[ \t]*")
# sent-protocol LWS sent-by: the usual form, then any, with white space around slashes and colon
_USUAL_VIA = re.compile(r"SIP/2\.0/([A-Z]+) ([A-Za-z0-9.-]+)(?::([0-9]{1,4}))?(?:;([!#-~]*))?")
_SENT_PROTOCOL = re.compile(
    r"([^\s/;,]+)[ \t]*/[ \t]*([^\s/;,]+)[ \t]*/[ \t]*([^\s/;,]+)[ \t]+([^\s;,]+?)(?:[ \t]*:[ \t]*([0-9]{1,5}))?"
)


class CSeq(NamedTuple):
    """The number and method of a CSeq header (RFC 3261 20.16)."""

    number: int
    method: str

    def __str__(self) -> str:
        return f"{self.number} {self.method}"


@dataclass(frozen=True, slots=True)
class SessionExpires:
    """The value of a Session-Expires header (RFC 4028 4)."""

    seconds: int
    refresher: str | None = None  #: ``uac`` or ``uas``, in lower case; ``None`` if the parameter is absent

    def __str__(self) -> str:
        return f"{self.seconds}" if self.refresher is None else f"{self.seconds};refresher={self.refresher}"


class Via(NamedTuple):
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
        return self._replace(params=set_param(self.params, name, value), text="")


@dataclass(frozen=True, slots=True)
class AcceptContact:
    """One value of Accept-Contact or Reject-Contact (RFC 3841 9.2): feature tags and their sets of values."""

    params: Params
    text: str

    def __str__(self) -> str:
        return self.text

    @property
    def require(self) -> bool:
        """Whether contacts that do not match are left out (RFC 3841 7.2.4)."""
        return find_param(self.params, "require") is not None

    @property
    def explicit(self) -> bool:
        """Whether contacts must name the feature themselves to match (RFC 3841 7.2.4)."""
        return find_param(self.params, "explicit") is not None

    @property
    def features(self) -> tuple[str, ...]:
        """The feature tags in lower case, in order, without ``require`` and ``explicit``."""
        names = (name.lower() for name, _ in self.params)
        return tuple(name for name in names if name not in ("require", "explicit"))

    def values(self, feature: str) -> tuple[str, ...]:
        """The values that a feature tag names, as written, quotes taken off; none if it is absent or a flag."""
        value = find_param(self.params, feature)
        return () if value is None else tuple(item.strip() for item in unquoted(value).split(",") if item.strip())


# via-parm = sent-protocol LWS sent-by *( SEMI via-params ) ; sent-protocol = name SLASH version SLASH transport
def parse_via(text: str) -> Via:
    """Read one Via value; white space around the slashes and the colon is legal."""
    usual = _USUAL_VIA.fullmatch(text)
    if usual is not None:
        transport, host, port, params = usual.groups()
        return Via(transport, host, int(port) if port else None, usual_params(params) if params else (), text)
    place, _, params = text.partition(";")
    match = _SENT_PROTOCOL.fullmatch(place.strip())
    if match is None or match[1].upper() != "SIP":
        return Via("", "", None, (), text)
    split = split_host_port(f"{match[4]}:{match[5]}" if match[5] else match[4])
    if split is None:
        return Via("", "", None, (), text)
    return Via(match[3].upper(), *split, parse_params(params), text)


# CSeq = "CSeq" HCOLON 1*DIGIT LWS Method
def parse_cseq(text: str) -> CSeq | None:
    """Read a CSeq value; ``None`` if it is none or its number is out of range."""
    match = _CSEQ.fullmatch(text)
    number = int(match[1]) if match else 0
    return CSeq(number, match[2]) if match and number <= MAX_CSEQ else None


# Session-Expires = delta-seconds *( SEMI se-params ) ; refresher-param = "refresher" EQUAL ("uas" / "uac")
def parse_session_expires(text: str) -> SessionExpires | None:
    """Read a Session-Expires value; ``None`` if its seconds are no number. An unknown refresher is none."""
    seconds, _, params = text.partition(";")
    number = parse_number(seconds.strip(), MAX_SECONDS)
    if number is None:
        return None
    refresher = (find_param(parse_params(params), "refresher") or "").lower()
    return SessionExpires(number, refresher if refresher in ("uac", "uas") else None)


# ac-value = "*" *(SEMI ac-params)
def parse_accept_contact(text: str) -> AcceptContact:
    """Read one value of Accept-Contact or Reject-Contact; what stands before the first semicolon is not looked at."""
    return AcceptContact(parse_params(text.partition(";")[2]), text)


def parse_number(text: str | None, limit: int) -> int | None:
    """An unsigned decimal number of at most ``limit``; ``None`` for anything else."""
    if text is None or not (text.isascii() and text.isdigit()):
        return None
    digits = text.lstrip("0") or "0"
    if len(digits) > MAX_DIGITS:
        return None
    number = int(digits)
    return number if number <= limit else None
