"""Captures of programs that others wrote: the files, the facts stated about them, and how a difference is told.

What our own parsers find in a capture comes from :mod:`dissect`; here it is only compared with ``facts.toml``.
"""

from __future__ import annotations

import struct
import tomllib
from collections.abc import Iterable, Iterator
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "fixtures" / "captures"
#: a table of facts: by name a value or another table
Tree: TypeAlias = dict[str, Any]

_FILE_HEADER, _RECORD_HEADER = 24, 16
# who speaks, and how a degraded file was made: no parser finds these (the latter has tests of its own)
_TOLD = ("program", "derived")
# facts from the prose about a capture: each file states those that matter for it
_CHOSEN = "happens"


class Record(NamedTuple):
    """One packet of a classic pcap file: its record header (times, lengths) and its octets from the link layer on."""

    header: bytes
    octets: bytes


@cache
def facts() -> Tree:
    """Everything in ``facts.toml``."""
    return tomllib.loads((FOLDER / "facts.toml").read_text(encoding="utf-8"))


def names(protocol: str = "") -> list[str]:
    """The captures by name, all of them or those of one protocol (``msrp``, ``sip``, ``imap``)."""
    return [name for name, table in facts().items() if name != "all" and protocol in ("", table["protocol"])]


def capture(name: str) -> Path:
    """The file of a capture."""
    return FOLDER / f"{name}.pcap"


# --- the files -------------------------------------------------------------------------------------------------------


def file_header(path: Path) -> tuple[bytes, int]:
    """Magic number as it stands, and link type, of a little-endian classic pcap file."""
    octets = path.read_bytes()[:_FILE_HEADER]
    return octets[:4], int(struct.unpack_from("<I", octets, 20)[0])


def records(path: Path) -> list[Record]:
    """The packets of a little-endian classic pcap file: no code under test takes part."""
    octets, at, found = path.read_bytes(), _FILE_HEADER, []
    while at < len(octets):
        end = at + _RECORD_HEADER + int(struct.unpack_from("<I", octets, at + 8)[0])
        found.append(Record(octets[at : at + _RECORD_HEADER], octets[at + _RECORD_HEADER : end]))
        at = end
    return found


def write(path: Path, kept: Iterable[Record]) -> Path:
    """A capture file of these packets, headed like the captures here."""
    header = capture(names()[0]).read_bytes()[:_FILE_HEADER]
    path.write_bytes(header + b"".join(record.header + record.octets for record in kept))
    return path


# --- stated and found ------------------------------------------------------------------------------------------------


def compare(stated: Tree, found: Tree) -> list[str]:
    """All differences between the facts of a file and what was found in it; none if they agree."""
    return differences(*_comparable(stated, found))


def differences(stated: object, found: object, at: str = "") -> list[str]:
    """One line for each value that differs, or that only one of the two has; the line names where it stands."""
    if isinstance(stated, dict) and isinstance(found, dict):
        keys = [*stated, *(key for key in found if key not in stated)]
        return [
            line for key in keys for line in differences(stated.get(key), found.get(key), f"{at}/{key}" if at else key)
        ]
    if isinstance(stated, list) and isinstance(found, list) and len(stated) == len(found):
        pairs = enumerate(zip(stated, found, strict=True))
        return [line for index, pair in pairs for line in differences(*pair, f"{at}/{index}")]
    if stated == found and type(stated) is type(found):
        return []
    return [f"{at}: stated {_shown(stated)}, found {_shown(found)}"]


def groups(stated: Tree, found: Tree) -> dict[str, tuple[Tree, Tree]]:
    """What is to be compared, by table: the values that stand in it directly, stated and found."""
    return _grouped(*_comparable(stated, found), "capture")


def leaves(tree: object, at: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Where the single values of a tree stand; those that are only told are left out."""
    items: Iterable[tuple[str | int, object]]
    if isinstance(tree, dict):
        items = [(key, value) for key, value in tree.items() if key not in _TOLD]
    elif isinstance(tree, list) and tree:
        items = list(enumerate(tree))
    else:
        yield at
        return
    for key, value in items:
        yield from leaves(value, (*at, key))


def altered(tree: Tree, at: tuple[str | int, ...]) -> Tree:
    """A copy of a tree with one single value changed."""
    copy: Any = deepcopy(tree)
    place = copy
    for key in at[:-1]:
        place = place[key]
    value = place[at[-1]]
    place[at[-1]] = not value if isinstance(value, bool) else value + 1 if isinstance(value, int) else f"{value}x"
    return dict(copy)


def _comparable(stated: Tree, found: Tree) -> tuple[Tree, Tree]:
    """Both without what is only told, and of the chosen facts those that the file states."""
    chosen = stated.get(_CHOSEN, {})
    kept = {key: value for key, value in found.get(_CHOSEN, {}).items() if key in chosen}
    others = {key: value for key, value in found.items() if key != _CHOSEN}
    return _without_told(stated), others | ({_CHOSEN: kept} if kept else {})


def _without_told(tree: Tree) -> Tree:
    return {
        key: _without_told(value) if isinstance(value, dict) else value
        for key, value in tree.items()
        if key not in _TOLD
    }


def _grouped(stated: Tree, found: Tree, name: str) -> dict[str, tuple[Tree, Tree]]:
    def split(tree: Tree) -> tuple[Tree, Tree]:
        tables = {key: value for key, value in tree.items() if isinstance(value, dict) and value}
        return {key: value for key, value in tree.items() if key not in tables}, tables

    (own, tables), (found_own, found_tables) = split(stated), split(found)
    result = {name: (own, found_own)} if own or found_own else {}
    for key in [*tables, *(key for key in found_tables if key not in tables)]:
        below = key if name == "capture" else f"{name}/{key}"
        result |= _grouped(tables.get(key, {}), found_tables.get(key, {}), below)
    return result


def _shown(value: object) -> str:
    return "nothing" if value is None else repr(value)
