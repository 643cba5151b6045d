"""Typed views of a SIP message's headers, read only when asked for (RFC 3261 20 and the extensions that CPM uses).

The values themselves are in :mod:`cpmspec.wire.sip_values`.
"""

from __future__ import annotations

from datetime import datetime

from cpmspec.wire.dates import parse_sip_date
from cpmspec.wire.headers import Header, Headers, canonical, split_list
from cpmspec.wire.mime import MediaType
from cpmspec.wire.sip_values import (
    BLANKS,
    MAX_CSEQ,
    MAX_DIGITS,
    MAX_SECONDS,
    AcceptContact,
    CSeq,
    SessionExpires,
    Via,
    parse_accept_contact,
    parse_cseq,
    parse_number,
    parse_session_expires,
    parse_via,
)
from cpmspec.wire.uri import NameAddr, parse_name_addr

__all__ = [
    "BLANKS", "MAX_CSEQ", "MAX_DIGITS", "MAX_SECONDS", "MAX_VALUES", "AcceptContact", "CSeq", "SessionExpires", "Via",
    "Views", "parse_accept_contact", "parse_cseq", "parse_number", "parse_session_expires", "parse_via", "with_first",
    "without_first",
]  # fmt: skip

#: values of one list that are read: a Via for each of 70 hops and more, where a hostile header could hold 30,000
MAX_VALUES = 256


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
        return self.headers.get("Call-ID")

    @property
    def cseq(self) -> CSeq | None:
        """CSeq (RFC 3261 20.16), ``None`` if absent or unreadable."""
        value = self.headers.get("CSeq")
        return None if value is None else parse_cseq(value)

    @property
    def from_(self) -> NameAddr | None:
        """From (RFC 3261 20.20)."""
        value = self.headers.get("From")
        return None if value is None else parse_name_addr(value)

    @property
    def to(self) -> NameAddr | None:
        """To (RFC 3261 20.39)."""
        value = self.headers.get("To")
        return None if value is None else parse_name_addr(value)

    @property
    def from_tag(self) -> str | None:
        """The tag of From."""
        address = self.from_
        return None if address is None else address.tag

    @property
    def to_tag(self) -> str | None:
        """The tag of To."""
        address = self.to
        return None if address is None else address.tag

    @property
    def via(self) -> tuple[Via, ...]:
        """All Via values, topmost first (RFC 3261 20.42), up to :data:`MAX_VALUES`."""
        return tuple([parse_via(value) for value in self._values("Via")])

    @property
    def contact(self) -> tuple[NameAddr, ...]:
        """All Contact values (RFC 3261 20.10)."""
        return self._addresses("Contact")

    @property
    def route(self) -> tuple[NameAddr, ...]:
        """All Route values (RFC 3261 20.34)."""
        return self._addresses("Route")

    @property
    def record_route(self) -> tuple[NameAddr, ...]:
        """All Record-Route values (RFC 3261 20.30)."""
        return self._addresses("Record-Route")

    @property
    def p_asserted_identity(self) -> tuple[NameAddr, ...]:
        """All P-Asserted-Identity values (RFC 3325 9.1)."""
        return self._addresses("P-Asserted-Identity")

    @property
    def p_preferred_identity(self) -> tuple[NameAddr, ...]:
        """All P-Preferred-Identity values (RFC 3325 9.2)."""
        return self._addresses("P-Preferred-Identity")

    @property
    def p_served_user(self) -> NameAddr | None:
        """P-Served-User with its ``sescase`` and ``regstate`` (RFC 5502 6)."""
        value = self.headers.get("P-Served-User")
        return None if value is None else parse_name_addr(value)

    @property
    def p_asserted_service(self) -> tuple[str, ...]:
        """The service identifiers of P-Asserted-Service, as written (RFC 6050 4.1)."""
        return self.headers.values("P-Asserted-Service")

    @property
    def p_preferred_service(self) -> tuple[str, ...]:
        """The service identifiers of P-Preferred-Service, as written (RFC 6050 4.2)."""
        return self.headers.values("P-Preferred-Service")

    @property
    def privacy(self) -> tuple[str, ...]:
        """The values of Privacy in lower case; none if it is absent (RFC 3323 4.2)."""
        given = ";".join(self.headers.get_all("Privacy")).lower().split(";")
        return tuple(value.strip() for value in given if value.strip())

    @property
    def accept_contact(self) -> tuple[AcceptContact, ...]:
        """All Accept-Contact values (RFC 3841 9.2)."""
        return tuple(parse_accept_contact(value) for value in self._values("Accept-Contact"))

    @property
    def reject_contact(self) -> tuple[AcceptContact, ...]:
        """All Reject-Contact values (RFC 3841 9.2)."""
        return tuple(parse_accept_contact(value) for value in self._values("Reject-Contact"))

    @property
    def content_type(self) -> str | None:
        """The value of Content-Type with its parameters (RFC 3261 20.15)."""
        return self.headers.get("Content-Type")

    @property
    def media_type(self) -> MediaType | None:
        """Content-Type, read; ``None`` if it is absent."""
        value = self.headers.get("Content-Type")
        return None if value is None else MediaType.parse(value)

    @property
    def content_length(self) -> int | None:
        """Content-Length (RFC 3261 20.14), ``None`` if absent or no number."""
        return parse_number(self.headers.get("Content-Length"), 10**MAX_DIGITS)

    @property
    def date(self) -> datetime | None:
        """Date (RFC 3261 20.17), ``None`` if absent or not in RFC 1123 form with GMT."""
        value = self.headers.get("Date")
        return None if value is None else parse_sip_date(value)

    @property
    def expires(self) -> int | None:
        """Expires in seconds (RFC 3261 20.19), ``None`` if absent or out of range."""
        return parse_number(self.headers.get("Expires"), MAX_SECONDS)

    @property
    def max_forwards(self) -> int | None:
        """Max-Forwards (RFC 3261 20.22), ``None`` if absent or out of 0..255."""
        return parse_number(self.headers.get("Max-Forwards"), 255)

    @property
    def session_expires(self) -> SessionExpires | None:
        """Session-Expires (RFC 4028 4), ``None`` if absent or its seconds are no number."""
        value = self.headers.get("Session-Expires")
        return None if value is None else parse_session_expires(value)

    @property
    def min_se(self) -> int | None:
        """Min-SE in seconds (RFC 4028 5), ``None`` if absent or no number."""
        return parse_number((self.headers.get("Min-SE") or "").partition(";")[0].strip(), MAX_SECONDS)

    @property
    def require(self) -> tuple[str, ...]:
        """The option tags of Require (RFC 3261 20.32), as written."""
        return self.headers.values("Require")

    @property
    def supported(self) -> tuple[str, ...]:
        """The option tags of Supported (RFC 3261 20.37), as written."""
        return self.headers.values("Supported")

    def _addresses(self, name: str) -> tuple[NameAddr, ...]:
        return tuple([parse_name_addr(value) for value in self._values(name)])

    def _values(self, name: str) -> tuple[str, ...]:
        return self.headers.values(name)[:MAX_VALUES]
