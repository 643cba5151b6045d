"""The catalogue: ``fixtures/catalogue/*.toml``, a file of requirements for each group, and where they come from."""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

#: the group of the clause that is tested: 8.3.2.4.3
CLAUSE_GROUP = "DLV"

#: the file that lists the statements of the RFCs with what became of each: no requirements in it
SOURCES = "sources.toml"

#: what of the IUT's a requirement about one thing by itself is judged on: the values of ``on``
KINDS = (
    "sip-message", "sip-request", "sip-response", "uri", "msrp-message", "msrp-send", "msrp-report", "msrp-response",
    "sdp", "multipart", "cpim", "imdn", "message/sip", "message/sipfrag", "message/msrpfrag", "summary",
)  # fmt: skip


class CatalogueError(ValueError):
    """A catalogue file is not as it has to be: the text names file, requirement, what was found and expected."""


class RequirementClass(StrEnum):
    """What a deviation from a requirement means."""

    NORMATIVE = "N"
    REFERENCED = "R"
    INTERPRETATION = "D"
    TOLERANCE = "T"


@dataclass(frozen=True, slots=True)
class Requirement:
    """One requirement: its place in the sources, our wording of it, and what decides it."""

    id: str
    group: str
    source: str  #: the specification that ``clause`` is a place in
    title: str
    clause: str
    cls: RequirementClass
    level: str  #: MUST, SHOULD or MAY
    bearer: str  #: whom it binds
    text: str
    expected: str  #: every allowed outcome
    parameter: str | None = None  #: the IXIT entry that is left to interpretation
    pics: tuple[str, ...] = ()  #: the PICS entries that must be true for it to apply
    ixit: tuple[str, ...] = ()  #: the IXIT entries that its check reads
    on: str | None = None  #: the kind of thing whose parser decides it; ``None``: a check over several messages does

    @property
    def of_an_rfc(self) -> bool:
        """Whether it is one of the many rules of the RFCs, not of the clause that is tested."""
        return self.group != CLAUSE_GROUP

    def applies(self, pics: Mapping[str, bool]) -> bool:
        """Whether an IUT with these PICS is bound by it; an entry that is not declared counts as true."""
        return all(pics.get(name, True) for name in self.pics)


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All requirements by id, in the order of the files, and the digest of the files."""

    requirements: Mapping[str, Requirement]
    digest: str  #: SHA-256 of all files, hexadecimal

    def applicable(self, pics: Mapping[str, bool]) -> tuple[Requirement, ...]:
        """The requirements that bind an IUT with these PICS."""
        return tuple(requirement for requirement in self.requirements.values() if requirement.applies(pics))


_REQUIRED = ("id", "title", "clause", "class", "level", "bearer", "text", "expected")
_OPTIONAL = ("parameter", "pics", "ixit", "on")
_LEVELS = ("MUST", "SHOULD", "MAY")


def load(folder: Path) -> Catalogue:
    """Read all ``*.toml`` of a folder but :data:`SOURCES`.

    :raises CatalogueError: no file, wrong TOML, an unknown or missing key, a wrong value, an id twice.
    """
    digest = hashlib.sha256()
    requirements: dict[str, Requirement] = {}
    for path in sorted(folder.glob("*.toml"), key=lambda path: (path.name != "dlv.toml", path.name)):
        if path.name == SOURCES:
            continue
        octets = path.read_bytes()
        digest.update(octets)
        table = _table(path.name, octets)
        for entry in _entries(path.name, table):
            requirement = _requirement(path.name, table, entry)
            if requirement.id in requirements:
                raise CatalogueError(f"{path.name}: {requirement.id} stands twice, expected each id once")
            requirements[requirement.id] = requirement
    if not requirements:
        raise CatalogueError(f"{folder}: no requirement found, expected *.toml with [[requirement]] tables")
    return Catalogue(requirements, digest.hexdigest())


def _table(file: str, octets: bytes) -> dict[str, Any]:
    try:
        return tomllib.loads(octets.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CatalogueError(f"{file}: {error}") from error


def _entries(file: str, table: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The requirements of a file, whose own keys are as they have to be."""
    for key in ("group", "source"):
        if not isinstance(table.get(key), str):
            raise CatalogueError(f"{file}: {key} is {table.get(key)!r}, expected a text")
    entries = table.get("requirement", [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise CatalogueError(f"{file}: requirement is {entries!r}, expected [[requirement]] tables")
    return entries


def _requirement(file: str, table: Mapping[str, Any], entry: Mapping[str, Any]) -> Requirement:
    name = entry.get("id", "a requirement without id")
    for key in _REQUIRED:
        if not isinstance(entry.get(key), str):
            raise CatalogueError(f"{file}: {name}: {key} is {entry.get(key)!r}, expected a text")
    if unknown := set(entry) - {*_REQUIRED, *_OPTIONAL}:
        raise CatalogueError(f"{file}: {name}: unknown key {sorted(unknown)[0]!r}")
    if not isinstance(entry.get("parameter", ""), str):
        raise CatalogueError(f"{file}: {name}: parameter is {entry['parameter']!r}, expected a text")
    for key in ("pics", "ixit"):
        found = entry.get(key, [])
        if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
            raise CatalogueError(f"{file}: {name}: {key} is {found!r}, expected a list of texts")
    if entry.get("on", KINDS[0]) not in KINDS:
        raise CatalogueError(f"{file}: {name}: on is {entry['on']!r}, expected one of {', '.join(KINDS)}")
    if entry["level"] not in _LEVELS:
        raise CatalogueError(f"{file}: {name}: level is {entry['level']!r}, expected MUST, SHOULD or MAY")
    try:
        cls = RequirementClass(entry["class"])
    except ValueError as error:
        raise CatalogueError(f"{file}: {name}: class is {entry['class']!r}, expected N, R, D or T") from error
    return Requirement(
        id=entry["id"],
        group=table["group"],
        source=table["source"],
        title=entry["title"],
        clause=entry["clause"],
        cls=cls,
        level=entry["level"],
        bearer=entry["bearer"],
        text=entry["text"],
        expected=entry["expected"],
        parameter=entry.get("parameter"),
        pics=tuple(entry.get("pics", ())),
        ixit=tuple(entry.get("ixit", ())),
        on=entry.get("on"),
    )


# A reason that stands for the ids of a statement that no requirement was made of.
_REASON = re.compile(
    r"not observable at any PCO, because \S.+|binds our side: kept by (cpmspec(?:\.\w+)+)\b.*", re.DOTALL
)
_STATEMENT = re.compile(r"[B-P][1-9][0-9]?")


@dataclass(frozen=True, slots=True)
class Source:
    """What became of one statement of the RFCs: requirements, or a reason why there are none."""

    statement: str
    requirements: tuple[str, ...] = ()
    reason: str = ""

    @property
    def kept_by(self) -> str | None:
        """The module of ours that keeps a statement which binds our side."""
        found = _REASON.fullmatch(self.reason)
        return found[1] if found is not None else None


def load_sources(path: Path) -> Mapping[str, Source]:
    """Read the list of statements: ``B1 = ["<requirement>", ...]``, or ``B1 = "<reason>"``.

    :raises CatalogueError: the file cannot be read, or an entry is neither a list of ids nor one of the two reasons.
    """
    try:
        table = _table(path.name, path.read_bytes())
    except OSError as error:
        raise CatalogueError(f"{path}: {error.strerror}, expected the list of statements") from error
    return {statement: _source(path.name, statement, value) for statement, value in table.items()}


def _source(file: str, statement: str, value: Any) -> Source:
    if _STATEMENT.fullmatch(statement) is None:
        raise CatalogueError(f"{file}: {statement} is no statement, expected one of B1 to P30")
    if isinstance(value, list) and value and all(isinstance(one, str) for one in value):
        return Source(statement, tuple(value))
    if isinstance(value, str) and _REASON.fullmatch(value):
        return Source(statement, reason=value)
    raise CatalogueError(
        f"{file}: {statement} is {value!r}, expected a list of requirements, "
        '"not observable at any PCO, because ..." or "binds our side: kept by <module>"'
    )
