"""Session descriptions as MSRP sessions use them (RFC 4566 5, RFC 4975 8, RFC 4145, RFC 8122).

A parsed description keeps every line in order and every octet. Each line is held against its grammar, the lines
against their order, MSRP media against their rules; what tells an offer from an answer is in
:mod:`cpmspec.wire.sdp_rules`. RFC 8866 has replaced RFC 4566; sections and rules are the same, where nothing else is
said.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from cpmspec.wire.headers import decode
from cpmspec.wire.sdp_build import build_msrp_sdp
from cpmspec.wire.sdp_fields import (
    GRAMMAR,
    fits_family,
    parse_connection,
    parse_media_line,
    parse_origin,
    suffix_fault,
)
from cpmspec.wire.sdp_model import (
    DIRECTIONS,
    DISCARD_PORT,
    TCP_MSRP,
    TLS_MSRP,
    Attributes,
    Media,
    Sdp,
    SdpLine,
    accepts,
    attributes_of,
)
from cpmspec.wire.sdp_msrp import attribute_violations, msrp_violations
from cpmspec.wire.section import next_line, shown
from cpmspec.wire.violation import Violation

__all__ = [
    "DIRECTIONS", "DISCARD_PORT", "MAX_LINE", "MAX_LINES", "MAX_MEDIA", "MAX_SDP", "TCP_MSRP", "TLS_MSRP", "Media",
    "Sdp", "SdpLine", "accepts", "build_msrp_sdp", "parse_sdp",
]  # fmt: skip

#: octets of a description that are read; more is kept, unread, and reported: offers are below 2 KB
MAX_SDP: Final = 262_144
#: lines that are read, the rest is kept as one: an offer of MSRP has about 15, one of a video conference below 200
MAX_LINES: Final = 2_000
#: octets of a line that is read: the longest in use are accept-types, of some hundred octets
MAX_LINE: Final = 8_192
#: media that are read, others are only kept: no call has more than a dozen
MAX_MEDIA: Final = 64

_FIRST: Final = ("v", "o", "s")  # RFC 4566 5: the description begins with these, in this order
# RFC 4566 5, 9: the order of the lines before the first m-line, and of those behind each; t, r and z go together
_SESSION_KINDS: Final = ("v", "o", "s", "i", "u", "e", "p", "c", "b", "trz", "k", "a")
_SESSION_ORDER: Final = {kind: rank for rank, kinds in enumerate(_SESSION_KINDS) for kind in kinds}
_MEDIA_ORDER: Final = {kind: rank for rank, kind in enumerate("micbka")}
_ONCE_IN_SESSION: Final = frozenset("vosiuck")
_ONCE_IN_MEDIA: Final = frozenset("ik")


# session-description: *( type "=" value CRLF ), type one letter, no white space around "="
def parse_sdp(octets: bytes) -> Sdp:
    """Read a session description; ``violations`` are in the order of their offsets."""
    if len(octets) > MAX_SDP:
        limit = Violation("SDP-LIMIT-01", MAX_SDP, f"{len(octets)} octets", f"at most {MAX_SDP}")
        return Sdp((SdpLine("", "", octets),), None, None, (), (limit,))
    lines, violations = _lines(octets)
    for line in lines:
        violations.extend(_value_violations(line))
    blocks = _blocks(lines)
    violations.extend(_beginning(blocks[0]))
    session, host = attributes_of(blocks[0]), _connection_host(blocks[0])
    violations.extend(attribute_violations(blocks[0]))
    media: list[Media] = []
    for block in blocks[1:]:
        violations.extend(_ordered(block, _MEDIA_ORDER, _ONCE_IN_MEDIA, "SDP-4566-5-07"))
        if len(media) == MAX_MEDIA:
            place = block[0].offset
            violations.append(Violation("SDP-LIMIT-04", place, f"{len(blocks) - 1} media", f"at most {MAX_MEDIA}"))
            break
        violations.extend(attribute_violations(block))
        one = _media(block, host, session)
        if one is not None:
            media.append(one)
            violations.extend(msrp_violations(one))
    open_media = (one for one in media if one.msrp and not one.rejected)
    unplaced = next((one for one in open_media if not _is_placed((*blocks[0], *one.lines))), None)
    if unplaced is not None:
        place = unplaced.offset
        violations.append(Violation("SDP-4566-5.7-01", place, "no connection address", "a c-line for each media"))
    origin = next((line.value for line in blocks[0] if line.kind == "o"), None)
    return Sdp(tuple(lines), origin, host, tuple(media), tuple(sorted(violations, key=lambda one: one.offset)))


def _lines(octets: bytes) -> tuple[list[SdpLine], list[Violation]]:
    lines: list[SdpLine] = []
    violations: list[Violation] = []
    position = 0
    while position < len(octets):
        if len(lines) == MAX_LINES:
            violations.append(Violation("SDP-LIMIT-02", position, "more lines", f"at most {MAX_LINES}"))
            lines.append(SdpLine("", "", octets[position:], position))
            break
        raw, content = next_line(octets, position)
        line, fault = _line(raw, content, position)
        lines.append(line)
        if not raw.endswith(b"\r\n"):
            place = position + len(content)
            violations.append(Violation("SDP-4566-5-01", place, shown(decode(raw[-1:])), "CRLF"))
        if fault is not None:
            violations.append(fault)
        position += len(raw)
    return lines, violations


def _line(raw: bytes, content: bytes, position: int) -> tuple[SdpLine, Violation | None]:
    if len(content) > MAX_LINE:
        fault = Violation("SDP-LIMIT-03", position, f"{len(content)} octets", f"at most {MAX_LINE} in a line")
        return SdpLine("", "", raw, position), fault
    text = decode(content)
    if len(text) > 1 and text[1] == "=" and "a" <= text[0] <= "z" and "\0" not in text and "\r" not in text:
        return SdpLine(text[0], text[2:], raw, position), None
    fault = Violation("SDP-4566-5-02", position, shown(text), "a letter, an equals sign and a value")
    return SdpLine("", text, raw, position), fault


def _value_violations(line: SdpLine) -> Iterator[Violation]:
    """What is wrong with the value of a line by itself."""
    if not line.kind:
        return
    if line.kind not in GRAMMAR:
        yield Violation("SDP-4566-5-05", line.offset, f"{line.kind}=", "one of the types of RFC 4566 5")
        return
    rule, expected, legal = GRAMMAR[line.kind]
    if not legal(line.value):
        yield Violation(rule, line.offset, shown(line.value), expected)
    elif line.kind == "o":
        origin = parse_origin(line.value)
        if origin is not None and not fits_family(origin.family, origin.host):
            yield Violation("SDP-4566-5.2-02", line.offset, shown(line.value), "an address of the type named")
    elif line.kind == "c":
        yield from _connection_violations(line)


def _connection_violations(line: SdpLine) -> Iterator[Violation]:
    connection = parse_connection(line.value)
    if connection is not None and not fits_family(connection.family, connection.host):
        yield Violation("SDP-4566-5.7-03", line.offset, shown(line.value), "an address of the type named")
    fault = suffix_fault(connection) if connection is not None else None
    if fault is not None:
        expected = "a TTL behind IPv4 multicast, a count behind multicast, nothing behind unicast"
        yield Violation("SDP-4566-5.7-04", line.offset, fault, expected)


def _blocks(lines: Sequence[SdpLine]) -> list[list[SdpLine]]:
    """The lines of the session, and those of each media."""
    blocks: list[list[SdpLine]] = [[]]
    for line in lines:
        if line.kind == "m":
            blocks.append([])
        blocks[-1].append(line)
    return blocks


def _beginning(lines: Sequence[SdpLine]) -> Iterator[Violation]:
    """What is wrong with the lines of the session as a whole: which there are, and in which order."""
    kinds = tuple(line.kind for line in lines[:3])
    if kinds == _FIRST:
        yield from _ordered(lines, _SESSION_ORDER, _ONCE_IN_SESSION, "SDP-4566-5-06")
    else:
        wrong = next(index for index in range(3) if kinds[: index + 1] != _FIRST[: index + 1])
        place = lines[wrong].offset if wrong < len(lines) else _end(lines)
        yield Violation("SDP-4566-5-03", place, shown("".join(kinds)), "lines v, o, s at the start")
        rest = [line for line in lines if line.kind not in _FIRST]
        yield from _ordered(rest, _SESSION_ORDER, _ONCE_IN_SESSION, "SDP-4566-5-06")
    if all(line.kind != "t" for line in lines):
        yield Violation("SDP-4566-5.9-02", _end(lines), "no t-line", "one or more")


def _end(lines: Sequence[SdpLine]) -> int:
    """Where the octets after some lines begin."""
    return lines[-1].offset + len(lines[-1].raw) if lines else 0


def _ordered(lines: Sequence[SdpLine], order: dict[str, int], once: frozenset[str], rule: str) -> Iterator[Violation]:
    """Lines that come too late, have no place here, or stand more often than they may."""
    reached, seen = 0, set[str]()
    for line in lines:
        if line.kind not in GRAMMAR:
            continue
        rank = order.get(line.kind)
        if line.kind in once and line.kind in seen:
            yield Violation("SDP-4566-5-08", line.offset, f"a second {line.kind}-line", "one")
        elif rank is None or rank < reached or (line.kind in "rz" and "t" not in seen):
            yield Violation(rule, line.offset, f"a {line.kind}-line", f"the order {' '.join(order)}")
        reached = max(reached, rank or 0)
        seen.add(line.kind)


def _media(block: Sequence[SdpLine], host: str | None, session: Attributes) -> Media | None:
    line = parse_media_line(block[0].value)
    if line is None:
        return None
    own = _connection_host(block) or host
    return Media(line.kind, line.port, line.protocol, line.formats, own, attributes_of(block), session, tuple(block))


def _is_placed(lines: Sequence[SdpLine]) -> bool:
    """Whether there is a c-line that can be read, of whatever network and type of address."""
    return any(line.kind == "c" and parse_connection(line.value) is not None for line in lines)


def _connection_host(lines: Sequence[SdpLine]) -> str | None:
    """The address of the first c-line of IP4 or IP6 that can be read."""
    for line in lines:
        if line.kind == "c":
            connection = parse_connection(line.value)
            if connection is not None and connection.network == "IN" and connection.family in ("IP4", "IP6"):
                return connection.host
    return None
