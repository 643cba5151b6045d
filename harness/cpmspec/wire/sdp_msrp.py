"""What one media description of MSRP has to be (RFC 4975 8, RFC 4145, RFC 6135, RFC 6714), and attributes of any media.

What depends on whether it is an offer or an answer is in :mod:`cpmspec.wire.sdp_rules`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final

from cpmspec.wire.sdp_fields import TOKEN
from cpmspec.wire.sdp_model import DIRECTIONS, DISCARD_PORT, Media, SdpLine, attribute_name, bare_type
from cpmspec.wire.section import shown
from cpmspec.wire.uri import MsrpUri, parse_uri
from cpmspec.wire.violation import Violation

# RFC 4975 8.6: format-list = format-entry *( SP format-entry )
#   format-entry = ( ( (type "/" subtype) / (type "/" "*") ) *( ";" type-param ) ) / "*"
#   type-param = parm-attribute "=" parm-value
# type and subtype are tokens, which may hold an asterisk: */* is one; a space at either end does no harm
_ENTRY = rf'(?:{TOKEN}/{TOKEN}(?: ?; ?{TOKEN}=(?:{TOKEN}|"(?:[^"\\]|\\.)*"))*|\*)'
_FORMAT_LIST: Final = re.compile(rf" *{_ENTRY}(?: {_ENTRY})* *")
_NAME = r"[A-Za-z0-9!#$&^_.+-]+"
MEDIA_TYPE: Final = re.compile(rf"{_NAME}/(?:{_NAME}|\*)|\*")
# max-size = "max-size" ":" 1*DIGIT
_MAX_SIZE: Final = re.compile(r"[0-9]+")
# RFC 4145 4: setup-attr = "a=setup:" ( "active" / "passive" / "actpass" / "holdconn" ) ; literals in any case
SETUPS: Final = ("active", "passive", "actpass", "holdconn")
# RFC 4145 5: connection-attr = "a=connection:" ( "new" / "existing" )
_CONNECTIONS: Final = ("new", "existing")
# RFC 8122 5: fingerprint-attribute = "fingerprint" ":" hash-func SP fingerprint ; fingerprint = 2UHEX *(":" 2UHEX)
FINGERPRINT: Final = re.compile(rf"({TOKEN}) ([0-9A-F]{{2}}(?::[0-9A-F]{{2}})*)")
#: octets of the digests of the hash functions that RFC 8122 5 names
_DIGESTS: Final = {"md2": 16, "md5": 16, "sha-1": 20, "sha-224": 28, "sha-256": 32, "sha-384": 48, "sha-512": 64}
_BROKEN_HASHES: Final = ("md2", "md5")
#: types that can hold parts of other types
_CONTAINERS: Final = ("*", "multipart", "message")
_ONCE: Final = ("accept-types", "accept-wrapped-types", "max-size")


def attribute_violations(lines: Iterable[SdpLine]) -> Iterator[Violation]:
    """Attributes of one level, session or media: direction, setup, connection, fingerprint."""
    directions = 0
    for line in lines:
        name, (_, colon, value) = attribute_name(line), line.value.partition(":")
        if name in DIRECTIONS:
            directions += 1
            if colon:
                yield Violation("SDP-8866-6.7-02", line.offset, shown(line.value), "a direction without a value")
            elif directions > 1:
                yield Violation("SDP-8866-6.7-01", line.offset, shown(line.value), "one direction at each level")
        elif name == "setup" and value.lower() not in SETUPS:
            yield Violation("SDP-4145-4-01", line.offset, shown(value), " or ".join(SETUPS))
        elif name == "connection" and value.lower() not in _CONNECTIONS:
            yield Violation("SDP-4145-5-01", line.offset, shown(value), "new or existing")
        elif name == "fingerprint":
            yield from _fingerprint_violations(line.offset, value)


def msrp_violations(media: Media) -> Iterator[Violation]:
    """What RFC 4975 8 and those that add to it ask of an MSRP media description that is not rejected."""
    if not media.msrp or media.rejected:
        return
    if media.formats != ("*",):
        yield Violation("SDP-4975-8.1-01", media.offset, shown(" ".join(media.formats)), "the format *")
    if media.kind.lower() != "message":
        yield Violation("SDP-4975-8.1-02", media.offset, shown(media.kind), "message")
    yield from _path_violations(media)
    yield from _type_violations(media)
    yield from _setup_violations(media)
    yield from _cema_violations(media)


def _path_violations(media: Media) -> Iterator[Violation]:
    lines = [line for line in media.lines if attribute_name(line) == "path"]
    if len(lines) != 1 or not media.path:
        place = lines[1] if len(lines) > 1 else (lines or media.lines)[0]
        yield Violation("SDP-4975-8.2-01", place.offset, f"{len(lines)} path attributes", "one, with a URI or more")
        return
    place = lines[0]
    for text in media.path:
        uri = parse_uri(text)
        if not isinstance(uri, MsrpUri) or not uri.params:
            yield Violation("SDP-4975-8.2-02", place.offset, shown(text), "an MSRP URI with its transport")
        elif uri.port is None:
            yield Violation("SDP-4975-8.2-03", place.offset, shown(text), "an explicit port")
    ends = media.ends
    if not ends:
        return
    scheme = "msrps" if media.tls else "msrp"
    if all(uri.scheme != scheme for uri in ends):
        yield Violation("SDP-4975-8.1-05", place.offset, f"{ends[0].scheme} with {media.protocol}", f"scheme {scheme}")
    if media.address_matches is False and not media.cema:
        port = any(media.port_matches(uri) for uri in ends)
        found = f"{media.connection_host} port {media.port}, {shown(str(ends[-1]))}"
        expected = "the host of the path" if port else "the port of the path"
        yield Violation("SDP-4975-8.1-04" if port else "SDP-4975-8.1-03", media.offset, found, expected)


def _type_violations(media: Media) -> Iterator[Violation]:
    lines = [(attribute_name(line), line) for line in media.lines]
    seen = Counter[str]()
    for name, line in lines:
        value = line.value.partition(":")[2]
        if name in _ONCE:
            seen[name] += 1
            if seen[name] > 1:
                yield Violation("SDP-4975-8.6-05", line.offset, f"a second {name}", "one")
        if name == "accept-types" and value.strip() and not _FORMAT_LIST.fullmatch(value):
            yield Violation("SDP-4975-8.6-02", line.offset, shown(value), "media types with one space between")
        elif name == "accept-wrapped-types" and not _FORMAT_LIST.fullmatch(value):
            yield Violation("SDP-4975-8.6-03", line.offset, shown(value), "media types with one space between")
        elif name == "max-size" and not _MAX_SIZE.fullmatch(value):
            yield Violation("SDP-4975-8.6-04", line.offset, shown(value), "a number of octets")
    if not media.accept_types:
        line = media.attribute_line("accept-types") or media.lines[0]
        yield Violation("SDP-4975-8.6-01", line.offset, "no accept-types", "a=accept-types with a type or more")
    wrapped = media.attribute_line("accept-wrapped-types")
    if wrapped is None or not media.accept_types:
        return
    types = [bare_type(entry) for entry in media.accept_types]
    if not any(entry.partition("/")[0] in _CONTAINERS for entry in types):
        found = shown(" ".join(media.accept_types))
        yield Violation("SDP-4975-8.6-06", wrapped.offset, found, "a type in accept-types that can wrap others")
    again = [entry for entry in media.accept_wrapped_types if entry != "*" and bare_type(entry) in types]
    if again:
        yield Violation("SDP-4975-8.6-07", wrapped.offset, shown(" ".join(again)), "types not in accept-types already")


def _setup_violations(media: Media) -> Iterator[Violation]:
    setup = media.setup
    if setup is None:
        yield Violation("SDP-6135-4.2.1-01", media.offset, "no a=setup", "a=setup in each offer and answer")
    elif setup == "holdconn":
        place = (media.attribute_line("setup") or media.lines[0]).offset
        yield Violation("SDP-6135-4.2.1-02", place, "a=setup:holdconn", "active, passive or actpass")
    elif setup == "active" and media.port != DISCARD_PORT:
        yield Violation("SDP-6135-4.2.2-02", media.offset, f"port {media.port} with a=setup:active", "port 9")
    # one of the session may be meant for other media that go over TCP
    if (line := media.attribute_line("connection")) is not None:
        yield Violation("SDP-6135-4.4-01", line.offset, shown(line.value), "no a=connection")


def _cema_violations(media: Media) -> Iterator[Violation]:
    lines = [line for line in media.lines if attribute_name(line) == "msrp-cema"]
    for number, line in enumerate(lines):
        if number or line.value != "msrp-cema":
            yield Violation("SDP-6714-5-01", line.offset, shown(line.value), "a=msrp-cema once, without a value")
    if lines and media.setup is None:
        yield Violation("SDP-6714-4.2-01", lines[0].offset, "a=msrp-cema without a=setup", "both")


def _fingerprint_violations(offset: int, value: str) -> Iterator[Violation]:
    match = FINGERPRINT.fullmatch(value)
    if match is None:
        yield Violation("SDP-8122-5-01", offset, shown(value), "hash function, space, pairs of upper-case hex digits")
        return
    name, octets = match[1].lower(), match[2].count(":") + 1
    if octets != _DIGESTS.get(name, octets):
        yield Violation("SDP-8122-5-02", offset, f"{octets} octets", f"{_DIGESTS[name]} octets of {name}")
    if name in _BROKEN_HASHES:
        yield Violation("SDP-8122-5-03", offset, name, "a hash function that is not MD2 or MD5")
