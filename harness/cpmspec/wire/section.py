"""The header section that SIP, MIME and RFC 3842 share: lines, folding, the empty line (RFC 3261 7.3, RFC 5322 2.2).

Reading never raises: what is wrong is told as a :class:`Defect`, and each protocol gives it a rule of its own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from itertools import repeat
from operator import itemgetter
from typing import Any, NamedTuple

from cpmspec.wire.headers import KNOWN, Header, Headers, PlainHeader, decode

# RFC 3261 25.1: token = 1*(alphanum / "-" / "." / "!" / "%" / "*" / "_" / "+" / "`" / "'" / "~" )
TOKEN = re.compile(r"[A-Za-z0-9.!%*_+`'~-]+")

_NONE: dict[str, str] = {}
_NAME, _COLON = itemgetter(0), itemgetter(1)
_FORBIDDEN = re.compile(rb"[\r\0]")


class Fault(StrEnum):
    """What can be wrong with a header section."""

    LINE_END = "line end"  #: LF without CR
    NO_COLON = "no colon"  #: a line that is neither a header nor a continuation
    NAME = "name"  #: the name is no token
    CONTROL = "control"  #: a CR or NUL inside a line
    UNTERMINATED = "unterminated"  #: the empty line, or the end of the last line, is missing


@dataclass(frozen=True, slots=True)
class Defect:
    """One fault, where it is (octets from the start of the input) and what stands there."""

    fault: Fault
    offset: int
    found: str


class Section(NamedTuple):
    """A header section as read: its headers, the empty line after it, where the rest begins, what was wrong."""

    headers: Headers
    separator: bytes
    end: int  #: offset of the first octet after the empty line
    defects: tuple[Defect, ...] = ()


# message-header = field-name HCOLON field-value CRLF ; HCOLON = *( SP / HTAB ) ":" SWS
# LWS = [*WSP CRLF] 1*WSP: a line that begins with white space continues the one before
def parse_section(octets: bytes, start: int = 0, kind: type[Header] = PlainHeader) -> Section:
    """Read header lines from ``start`` up to and including the empty line, or to the end of the input.

    ``kind`` is :class:`Header` where compact forms have a meaning: in SIP.
    """
    return _plain(octets, start, kind) or _any(octets, start, kind)


def _plain(octets: bytes, start: int, kind: type[Header]) -> Section | None:
    """The usual section, read in one go: CRLF everywhere, nothing folded, a colon in each line; else ``None``."""
    end = octets.find(b"\r\n\r\n", start)
    head = octets[start : end + 2]
    if end < 0 or b"\0" in head:
        return None
    raws = head.splitlines(keepends=True)
    lines = decode(head[:-2]).split("\r\n")
    if len(lines) != len(raws):  # a CR or LF by itself
        return None
    cells: list[Any] = list(map(str.partition, lines, repeat(":")))
    if not all(map(_COLON, cells)):
        return None
    known = KNOWN if kind is Header else _NONE
    keys: list[Any] = list(map(known.get, map(_NAME, cells)))
    defects = _name_unknown(cells, keys, raws, start, kind) if None in keys else []
    if defects is None:
        return None
    return Section(Headers.of_cells(cells, raws, tuple(keys), kind), b"\r\n", end + 4, tuple(defects))


def _name_unknown(
    cells: list[Any], keys: list[Any], raws: list[bytes], start: int, kind: type[Header]
) -> list[Defect] | None:
    """Give each line whose name is not a usual one its key; ``None``: one continues another."""
    defects: list[Defect] = []
    offset = start
    for index, raw in enumerate(raws):
        if keys[index] is None:
            written, colon, value = cells[index]
            if written[:1] in (" ", "\t"):
                return None
            name = written.rstrip(" \t")
            if TOKEN.fullmatch(name) is None:
                defects.append(Defect(Fault.NAME, offset, shown(name)))
            cells[index] = (name, colon, value)
            keys[index] = kind(name, value, raw).key
        offset += len(raw)
    return defects


def _any(octets: bytes, start: int, kind: type[Header]) -> Section:
    """Any section, line by line."""
    items: list[Header] = []
    defects: list[Defect] = []
    separator, position = b"", start
    group: list[bytes] = []
    group_at = start
    while position < len(octets):
        line, content = next_line(octets, position)
        defects.extend(line_defects(line, content, position))
        if not content:
            separator = line
            position += len(line)
            break
        if content[0] not in b" \t" or not group:
            if group:
                items.append(_header(group, group_at, defects, kind))
            group, group_at = [], position
        group.append(line)
        position += len(line)
    if group:
        items.append(_header(group, group_at, defects, kind))
    if not separator:
        defects.append(Defect(Fault.UNTERMINATED, position, "the end of the octets"))
    return Section(Headers(items), separator, position, tuple(defects))


def next_line(octets: bytes, position: int) -> tuple[bytes, bytes]:
    """The line at ``position`` with its end (CRLF, LF or none), and without it."""
    newline = octets.find(b"\n", position)
    line = octets[position:] if newline < 0 else octets[position : newline + 1]
    if line.endswith(b"\r\n"):
        return line, line[:-2]
    return line, line[:-1] if line.endswith(b"\n") else line


def line_defects(line: bytes, content: bytes, position: int) -> list[Defect]:
    """What is wrong with the end of a line, or with control characters in it."""
    defects: list[Defect] = []
    if len(line) == len(content) + 1:
        defects.append(Defect(Fault.LINE_END, position + len(content), "LF"))
    wrong = _FORBIDDEN.search(content)
    if wrong is not None:
        defects.append(Defect(Fault.CONTROL, position + wrong.start(), "CR" if wrong[0] == b"\r" else "NUL"))
    return defects


def _header(lines: list[bytes], offset: int, defects: list[Defect], kind: type[Header]) -> Header:
    """One header of its first line and its continuations; each fold reads as one space (RFC 3261 7.3.1)."""
    raw = b"".join(lines)
    if len(lines) == 1:
        text = decode(raw.rstrip(b"\r\n"))
    else:
        text = " ".join(part for part in (decode(line.strip(b" \t\r\n")) for line in lines) if part)
    name, colon, value = text.partition(":")
    if not colon:
        defects.append(Defect(Fault.NO_COLON, offset, shown(text)))
        return kind("", text.strip(" \t"), raw)
    name = name.rstrip(" \t")
    if TOKEN.fullmatch(name) is None:
        defects.append(Defect(Fault.NAME, offset, shown(name)))
    return kind(name, value.strip(" \t"), raw)


def shown(text: str, limit: int = 60) -> str:
    """Text from the wire for a human reader: quoted, control characters escaped, cut to ``limit`` characters."""
    return repr(text) if len(text) <= limit else f"{text[:limit]!r}..."
