"""Session descriptions as MSRP sessions use them (RFC 4566 5, RFC 4975 8, RFC 4145, RFC 8122).

A parsed description keeps every octet. Only what MSRP needs is read; every other line is kept as it is.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from cpmspec.wire.headers import decode, encode
from cpmspec.wire.section import next_line, shown
from cpmspec.wire.violation import Violation

#: octets of a description that are read; more is kept, unread, and reported: offers are below 2 KB
MAX_SDP = 262_144
DIRECTIONS = ("sendrecv", "sendonly", "recvonly", "inactive")
TCP_MSRP = "TCP/MSRP"
TLS_MSRP = "TCP/TLS/MSRP"

# RFC 4566 9: media-field = "m=" media SP port ["/" integer] SP proto 1*(SP fmt) CRLF
_MEDIA = re.compile(r"([^\s/]+) +([0-9]{1,5})(?:/([0-9]{1,5}))? +(\S+)((?: +\S+)*) *")
# RFC 4566 9: connection-field = "c=" nettype SP addrtype SP connection-address
_CONNECTION = re.compile(r"IN +(IP4|IP6) +(\S+) *")
_MEDIA_TYPE = re.compile(r"[A-Za-z0-9!#$&^_.+-]+/[A-Za-z0-9!#$&^_.+*-]+|\*")
_FIRST = ("v", "o", "s")  # RFC 4566 5: the description begins with these, in this order


@dataclass(frozen=True, slots=True)
class SdpLine:
    """One line: its type letter ('' if it has none), its value, its octets with the line end."""

    kind: str
    value: str
    raw: bytes


@dataclass(frozen=True, slots=True)
class Media:
    """One media description: its m-line and the lines up to the next (RFC 4566 5.14)."""

    kind: str
    port: int
    protocol: str
    formats: tuple[str, ...]
    connection_host: str | None  #: of its own c-line, else of the session's; numeric IPv6 without brackets
    attributes: tuple[tuple[str, str | None], ...]
    session_attributes: tuple[tuple[str, str | None], ...] = ()

    def attribute(self, name: str) -> str | None:
        """The value of its first attribute of that name, '' for a flag, ``None`` if it is absent."""
        return _attribute(self.attributes, name)

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
        text = (self.attribute("max-size") or "").strip()
        return int(text) if text.isascii() and text.isdigit() and len(text) <= 20 else None

    @property
    def setup(self) -> str | None:
        """``a=setup`` in lower case (RFC 4145 4), of the media or of the session."""
        value = self._either("setup")
        return None if value is None else value.strip().lower()

    @property
    def fingerprint(self) -> str | None:
        """``a=fingerprint``: hash function, space, digest (RFC 8122 5), of the media or of the session."""
        value = self._either("fingerprint")
        return None if value is None else value.strip()

    @property
    def tls(self) -> bool:
        """Whether the protocol is MSRP over TLS (RFC 4975 8.1)."""
        return self.protocol.upper() == TLS_MSRP

    def _either(self, name: str) -> str | None:
        value = _attribute(self.attributes, name)
        return _attribute(self.session_attributes, name) if value is None else value


@dataclass(frozen=True, slots=True)
class Sdp:
    """A session description: all its lines, and what was read from them."""

    lines: tuple[SdpLine, ...]
    origin: str | None  #: the value of the o-line
    connection_host: str | None  #: of the c-line before the first m-line
    media: tuple[Media, ...]
    violations: tuple[Violation, ...] = ()

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
        text = fields[2] if len(fields) == 6 else ""
        return int(text) if text.isascii() and text.isdigit() and len(text) <= 20 else None


# session-description: *( type "=" value CRLF ), type one letter, no white space around "="
def parse_sdp(octets: bytes) -> Sdp:
    """Read a session description."""
    lines, violations = _lines(octets)
    kinds = tuple(line.kind for line in lines[:3])
    if kinds != _FIRST:
        violations.append(_violation("5-03", 0, shown("".join(kinds)), "lines v, o, s at the start"))
    blocks: list[list[SdpLine]] = [[]]
    for line in lines:
        if line.kind == "m":
            blocks.append([])
        blocks[-1].append(line)
    session = _attributes(blocks[0])
    host = _connection(blocks[0])
    media: list[Media] = []
    offset = sum(len(line.raw) for line in blocks[0])
    for block in blocks[1:]:
        match = _MEDIA.fullmatch(block[0].value)
        if match is None or int(match[2]) > 65535:
            violations.append(_violation("5.14-01", offset, shown(block[0].value), "media, port, protocol, formats"))
        else:
            formats, own = tuple(match[5].split()), _connection(block)
            media.append(Media(match[1], int(match[2]), match[4], formats, own or host, _attributes(block), session))
            violations.extend(_msrp_rules(media[-1], offset))
        offset += sum(len(line.raw) for line in block)
    origin = next((line.value for line in blocks[0] if line.kind == "o"), None)
    return Sdp(tuple(lines), origin, host, tuple(media), tuple(violations))


def accepts(types: Sequence[str], media_type: str) -> bool:
    """Whether a list of accept-types or accept-wrapped-types covers a media type (RFC 4975 8.6).

    Wildcards are ``*`` and ``text/*``; parameters on either side do not count, nor does case.
    """
    wanted = _bare(media_type)
    container = wanted.partition("/")[0] + "/*"
    return any(_bare(entry) in ("*", "*/*", wanted, container) for entry in types)


def build_msrp_sdp(
    *, host: str, port: int, path: Sequence[str], setup: str | None, accept_types: Sequence[str],
    accept_wrapped_types: Sequence[str] = (), direction: str = "sendrecv", max_size: int | None = None,
    tls: bool = False, fingerprint: str | None = None, session_id: int, version: int, port_zero: bool = False,
) -> bytes:  # fmt: skip
    """Build the description of one MSRP session (RFC 4975 8).

    ``port`` goes into the m-line as it is (9 for an active endpoint, RFC 6135 4.2.2); ``port_zero`` rejects the media.

    :raises ValueError: no path, no accept-types, an unknown direction, a wrong type, or a CR, LF or NUL anywhere.
    """
    if not path or not accept_types or direction not in DIRECTIONS:
        raise ValueError(f"path {path!r}, accept-types {accept_types!r}, direction {direction!r}")
    for entry in (*accept_types, *accept_wrapped_types):
        if _MEDIA_TYPE.fullmatch(entry.partition(";")[0]) is None or " " in entry:
            raise ValueError(f"media type {entry!r}")
    family = "IP6" if ":" in host else "IP4"
    lines = [
        "v=0", f"o=- {session_id} {version} IN {family} {host}", "s=-", f"c=IN {family} {host}", "t=0 0",
        f"m=message {0 if port_zero else port} {TLS_MSRP if tls else TCP_MSRP} *",
        f"a=accept-types:{' '.join(accept_types)}",
    ]  # fmt: skip
    if accept_wrapped_types:
        lines.append(f"a=accept-wrapped-types:{' '.join(accept_wrapped_types)}")
    if max_size is not None:
        lines.append(f"a=max-size:{max_size}")
    lines.append(f"a=path:{' '.join(path)}")
    if setup is not None:
        lines.append(f"a=setup:{setup}")
    if fingerprint is not None:
        lines.append(f"a=fingerprint:{fingerprint}")
    lines.append(f"a={direction}")
    text = "\r\n".join((*lines, ""))
    if text.count("\r") != len(lines) or text.count("\n") != len(lines) or "\0" in text:
        raise ValueError("a CR, LF or NUL in a value")
    return encode(text)


def _lines(octets: bytes) -> tuple[list[SdpLine], list[Violation]]:
    lines: list[SdpLine] = []
    violations: list[Violation] = []
    position = 0
    if len(octets) > MAX_SDP:
        violations.append(_violation("5-04", MAX_SDP, f"{len(octets)} octets", f"at most {MAX_SDP}"))
        return [SdpLine("", "", octets)], violations
    while position < len(octets):
        raw, content = next_line(octets, position)
        text = decode(content)
        if not raw.endswith(b"\r\n"):
            violations.append(_violation("5-01", position + len(content), shown(decode(raw[-1:])), "CRLF"))
        if len(text) > 1 and text[1] == "=" and "a" <= text[0] <= "z" and "\0" not in text and "\r" not in text:
            lines.append(SdpLine(text[0], text[2:], raw))
        else:
            lines.append(SdpLine("", text, raw))
            violations.append(_violation("5-02", position, shown(text), "a letter, an equals sign and a value"))
        position += len(raw)
    return lines, violations


def _attributes(lines: Sequence[SdpLine]) -> tuple[tuple[str, str | None], ...]:
    found: list[tuple[str, str | None]] = []
    for line in lines:
        if line.kind == "a":
            name, colon, value = line.value.partition(":")
            found.append((name.strip(), value if colon else None))
    return tuple(found)


def _attribute(attributes: tuple[tuple[str, str | None], ...], name: str) -> str | None:
    return next((value or "" for given, value in attributes if given == name), None)


def _connection(lines: Sequence[SdpLine]) -> str | None:
    for line in lines:
        if line.kind == "c" and (match := _CONNECTION.fullmatch(line.value)):
            return match[2]
    return None


def _msrp_rules(media: Media, offset: int) -> list[Violation]:
    """What RFC 4975 8 asks of an MSRP media description that is not rejected."""
    if media.protocol.upper() not in (TCP_MSRP, TLS_MSRP) or media.port == 0:
        return []
    violations: list[Violation] = []
    paths = sum(1 for name, _ in media.attributes if name == "path")
    if paths != 1 or not media.path:
        violations.append(Violation("MSR-4975-8.2-01", offset, f"{paths} path attributes", "one, with a URI or more"))
    if not media.accept_types:
        violations.append(Violation("MSR-4975-8.6-01", offset, "no accept-types", "a=accept-types"))
    if media.formats != ("*",):
        violations.append(Violation("MSR-4975-8.1-01", offset, shown(" ".join(media.formats)), "the format *"))
    if media.connection_host is None:
        violations.append(_violation("5.7-01", offset, "no connection address", "a c-line for each media"))
    return violations


def _bare(media_type: str) -> str:
    """A media type without parameters, in lower case."""
    return media_type.partition(";")[0].strip().lower()


def _violation(rule: str, offset: int, found: str, expected: str) -> Violation:
    return Violation(f"SDP-4566-{rule}", offset, found, expected)
