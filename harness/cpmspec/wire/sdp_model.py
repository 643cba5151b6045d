"""What a session description is once it is read: lines, attributes, media (RFC 4566 5, RFC 4975 8)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from cpmspec.wire.sdp_fields import (
    Bandwidth,
    Connection,
    Origin,
    Timing,
    numeric,
    parse_bandwidth,
    parse_connection,
    parse_count,
    parse_origin,
    parse_timing,
)
from cpmspec.wire.uri import MsrpUri, parse_uri
from cpmspec.wire.violation import Violation

DIRECTIONS: Final = ("sendrecv", "sendonly", "recvonly", "inactive")
TCP_MSRP: Final = "TCP/MSRP"
TLS_MSRP: Final = "TCP/TLS/MSRP"
#: the port of an m-line whose endpoint connects and does not listen (RFC 4145 4.1, RFC 6135 4.2.2)
DISCARD_PORT: Final = 9

Attributes = tuple[tuple[str, str | None], ...]


@dataclass(frozen=True, slots=True)
class SdpLine:
    """One line: its type letter ('' if it has none), its value, its octets with the line end, and where it begins."""

    kind: str
    value: str
    raw: bytes
    offset: int = 0

    @classmethod
    def make(cls, kind: str, value: str) -> SdpLine:
        """Build a line to send.

        :raises ValueError: the type is no lower-case letter, or the value is empty or holds a CR, LF or NUL.
        """
        if not (len(kind) == 1 and "a" <= kind <= "z"):
            raise ValueError(f"type {kind!r} is no letter from a to z")
        if not value or any(mark in value for mark in "\r\n\0"):
            raise ValueError(f"value {value!r} of a {kind}-line is empty or holds a CR, LF or NUL")
        return cls.unchecked(kind, value)

    @classmethod
    def unchecked(cls, kind: str, value: str, raw: bytes | None = None) -> SdpLine:
        """Build a line with any octets at all: for sending what is wrong on purpose."""
        text = f"{kind}={value}\r\n"
        return cls(kind, value, text.encode("utf-8", "surrogateescape") if raw is None else raw)


@dataclass(frozen=True, slots=True)
class Media:
    """One media description: its m-line and the lines up to the next (RFC 4566 5.14)."""

    kind: str
    port: int
    protocol: str
    formats: tuple[str, ...]
    connection_host: str | None  #: of its own c-line, else of the session's; numeric IPv6 without brackets
    attributes: Attributes
    session_attributes: Attributes = ()
    lines: tuple[SdpLine, ...] = ()  #: the m-line first

    @property
    def offset(self) -> int:
        """Where its m-line begins in the description."""
        return self.lines[0].offset if self.lines else 0

    def attribute(self, name: str) -> str | None:
        """The value of its first attribute of that name, '' for a flag, ``None`` if it is absent."""
        return attribute_of(self.attributes, name)

    def attribute_line(self, name: str) -> SdpLine | None:
        """The line of its first attribute of that name."""
        return next((line for line in self.lines if attribute_name(line) == name), None)

    @property
    def direction(self) -> str:
        """The direction of the media, else of the session, else ``sendrecv`` (RFC 4566 6)."""
        for attributes in (self.attributes, self.session_attributes):
            for name, value in attributes:
                if value is None and name in DIRECTIONS:
                    return name
        return "sendrecv"

    @property
    def path(self) -> tuple[str, ...]:
        """The MSRP URIs of ``a=path``, leftmost first (RFC 4975 8.2)."""
        return tuple((self.attribute("path") or "").split())

    @property
    def accept_types(self) -> tuple[str, ...]:
        """The media types of ``a=accept-types`` (RFC 4975 8.6)."""
        return tuple((self.attribute("accept-types") or "").split())

    @property
    def accept_wrapped_types(self) -> tuple[str, ...]:
        """The media types of ``a=accept-wrapped-types`` (RFC 4975 8.6)."""
        return tuple((self.attribute("accept-wrapped-types") or "").split())

    @property
    def max_size(self) -> int | None:
        """``a=max-size`` in octets (RFC 4975 8.6), ``None`` if absent or no number."""
        return parse_count((self.attribute("max-size") or "").strip())

    @property
    def setup(self) -> str | None:
        """``a=setup`` in lower case (RFC 4145 4), of the media or of the session."""
        value = self.either("setup")
        return None if value is None else value.strip().lower()

    @property
    def connection(self) -> str | None:
        """``a=connection`` in lower case (RFC 4145 5); MSRP ignores it (RFC 6135 4.4)."""
        value = self.either("connection")
        return None if value is None else value.strip().lower()

    @property
    def fingerprint(self) -> str | None:
        """``a=fingerprint``: hash function, space, digest (RFC 8122 5), of the media or of the session."""
        value = self.either("fingerprint")
        return None if value is None else value.strip()

    @property
    def cema(self) -> bool:
        """Whether it has ``a=msrp-cema`` (RFC 6714 5)."""
        return self.attribute("msrp-cema") is not None

    @property
    def tls(self) -> bool:
        """Whether the protocol is MSRP over TLS (RFC 4975 8.1)."""
        return self.protocol.upper() == TLS_MSRP

    @property
    def msrp(self) -> bool:
        """Whether the protocol is MSRP, with TLS or without."""
        return self.protocol.upper() in (TCP_MSRP, TLS_MSRP)

    @property
    def rejected(self) -> bool:
        """Whether the port is 0: the media is refused, or was ended (RFC 3264 6)."""
        return self.port == 0

    @property
    def address_matches(self) -> bool | None:
        """Whether c-line and m-line name the host and port of the path (RFC 4975 8.1, RFC 6714 4.3).

        With relays the path has several URIs: its own is the last, where to connect is the first; either will do.
        Port 9 matches any. ``None`` if it can't be told: a name on one side, or no path.
        """
        told = [self._matches(uri) for uri in self.ends]
        if True in told:
            return True
        return None if None in told or not told else False

    @property
    def ends(self) -> tuple[MsrpUri, ...]:
        """The first and the last URI of the path, as far as they are MSRP URIs; one if it is the same."""
        path = self.path
        uris = [parse_uri(text) for text in dict.fromkeys((*path[:1], *path[-1:]))]
        return tuple(uri for uri in uris if isinstance(uri, MsrpUri))

    def port_matches(self, uri: MsrpUri) -> bool:
        """Whether the port of the m-line is that of a URI; port 9 stands for none, and any goes with it."""
        return self.port == DISCARD_PORT or uri.port is None or uri.port == self.port

    def host_matches(self, uri: MsrpUri) -> bool | None:
        """Whether the address of the c-line is that of a URI, ``None`` if one is a name and the other is not it."""
        ours = self.connection_host or ""
        if ours.lower() == uri.host.lower():
            return True
        first, second = numeric(ours), numeric(uri.host)
        return None if first is None or second is None else first == second

    def either(self, name: str) -> str | None:
        """The value of an attribute of the media, else of the session; '' for a flag, ``None`` if it is absent."""
        value = attribute_of(self.attributes, name)
        return attribute_of(self.session_attributes, name) if value is None else value

    def _matches(self, uri: MsrpUri) -> bool | None:
        return self.host_matches(uri) if self.port_matches(uri) else False


@dataclass(frozen=True, slots=True)
class Sdp:
    """A session description: all its lines, and what was read from them."""

    lines: tuple[SdpLine, ...]
    origin: str | None  #: the value of the o-line
    connection_host: str | None  #: of the c-line before the first m-line
    media: tuple[Media, ...]  #: those whose m-line could be read
    violations: tuple[Violation, ...] = ()

    @classmethod
    def of(cls, lines: Sequence[SdpLine]) -> Sdp:
        """A description to send, of lines as they are; its octets are what counts, nothing else is read."""
        return cls(tuple(lines), None, None, ())

    def octets(self) -> bytes:
        """The octets as received."""
        return b"".join(line.raw for line in self.lines)

    @property
    def message(self) -> Media | None:
        """The first ``m=message`` media, or ``None``."""
        return next((media for media in self.media if media.kind.lower() == "message"), None)

    @property
    def version(self) -> int | None:
        """The session version of the o-line (RFC 4566 5.2), ``None`` if unreadable."""
        fields = (self.origin or "").split()
        return parse_count(fields[2]) if len(fields) == 6 else None

    @property
    def origin_fields(self) -> Origin | None:
        """The o-line taken apart (RFC 4566 5.2), ``None`` if it is not as it has to be."""
        return parse_origin(self.origin or "")

    @property
    def name(self) -> str | None:
        """The s-line (RFC 4566 5.3), ``None`` if there is none."""
        return self.value("s")

    @property
    def connection(self) -> Connection | None:
        """The c-line of the session (RFC 4566 5.7), ``None`` if there is none that can be read."""
        return parse_connection(self.value("c") or "")

    @property
    def timing(self) -> tuple[Timing, ...]:
        """The t-lines that can be read (RFC 4566 5.9)."""
        read = (parse_timing(line.value) for line in self.session_lines if line.kind == "t")
        return tuple(timing for timing in read if timing is not None)

    @property
    def bandwidth(self) -> tuple[Bandwidth, ...]:
        """The b-lines of the session that can be read (RFC 4566 5.8)."""
        read = (parse_bandwidth(line.value) for line in self.session_lines if line.kind == "b")
        return tuple(bandwidth for bandwidth in read if bandwidth is not None)

    @property
    def session_lines(self) -> tuple[SdpLine, ...]:
        """The lines before the first m-line."""
        end = next((index for index, line in enumerate(self.lines) if line.kind == "m"), len(self.lines))
        return self.lines[:end]

    @property
    def m_lines(self) -> tuple[SdpLine, ...]:
        """All m-lines, also those that cannot be read."""
        return tuple(line for line in self.lines if line.kind == "m")

    def value(self, kind: str) -> str | None:
        """The value of the first line of that type before the first m-line, ``None`` if there is none."""
        return next((line.value for line in self.session_lines if line.kind == kind), None)


def accepts(types: Sequence[str], media_type: str) -> bool:
    """Whether a list of accept-types or accept-wrapped-types covers a media type (RFC 4975 8.6).

    Wildcards are ``*`` and ``text/*``; parameters on either side do not count, nor does case.
    """
    wanted = bare_type(media_type)
    container = wanted.partition("/")[0] + "/*"
    return any(bare_type(entry) in ("*", "*/*", wanted, container) for entry in types)


def bare_type(media_type: str) -> str:
    """A media type without parameters, in lower case."""
    return media_type.partition(";")[0].strip().lower()


def attribute_name(line: SdpLine) -> str:
    """The name of the attribute in an a-line, '' for any other line."""
    return line.value.partition(":")[0].strip() if line.kind == "a" else ""


def attributes_of(lines: Sequence[SdpLine]) -> Attributes:
    """The attributes of some lines: name and value, ``None`` for a flag."""
    found: list[tuple[str, str | None]] = []
    for line in lines:
        if line.kind == "a":
            name, colon, value = line.value.partition(":")
            found.append((name.strip(), value if colon else None))
    return tuple(found)


def attribute_of(attributes: Attributes, name: str) -> str | None:
    """The value of the first attribute of that name, '' for a flag, ``None`` if it is absent."""
    return next((value or "" for given, value in attributes if given == name), None)
