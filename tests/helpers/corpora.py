"""Corpora of octets with what is expected of them: ``fixtures/corpus/wire/*.toml``.

A file holds ``[[case]]`` tables::

    name = "lws-in-uri"                     # unique in its file
    source = "RFC 4475 3.1.2.8"             # where the idea is from; "" if it is our own
    octets = '''...'''                      # the input, see below
    violations = ["SIP-3261-7.1-02@0"]      # identifier and offset of each, in the order in which they are reported
    form = "a start line with ..."          # or, instead of violations: the legal form that the case shows
    facts = { method = "INVITE" }           # what else a test of that codec compares; optional

Each line of ``octets`` ends with CRLF; a backslash at the end of a line takes that away. Within a line, ``\\\\``,
``\\r``, ``\\n``, ``\\t``, ``\\0`` and ``\\xNN`` stand for octets, ``\\{text*N}`` for N times the text; all else is
UTF-8.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from cpmspec.wire.violation import Violation

FOLDER = Path(__file__).parents[2] / "fixtures" / "corpus" / "wire"

_ESCAPE = re.compile(rb"\\(?:(\r\n)|([\\rnt0])|x([0-9A-Fa-f]{2})|\{((?:[^\\}]|\\[^{])*)\*([0-9]+)\}|)")
_MARKS = {b"\\": b"\\", b"r": b"\r", b"n": b"\n", b"t": b"\t", b"0": b"\0"}


@dataclass(frozen=True)
class Case:
    """One input and what is expected of it."""

    name: str
    source: str
    octets: bytes
    violations: tuple[str, ...] = ()  #: ``identifier@offset``
    form: str = ""
    facts: dict[str, Any] = field(default_factory=dict, hash=False)

    @property
    def ids(self) -> tuple[str, ...]:
        """The identifiers of the expected violations."""
        return tuple(violation.partition("@")[0] for violation in self.violations)

    def __str__(self) -> str:
        return self.name


@cache
def corpus(name: str) -> tuple[Case, ...]:
    """The cases of ``fixtures/corpus/wire/<name>.toml``, in order.

    :raises ValueError: a case is not as it has to be, or two bear one name.
    """
    path = FOLDER / f"{name}.toml"
    table = tomllib.loads(path.read_text(encoding="utf-8"))
    cases = tuple(_case(path.name, entry) for entry in table["case"])
    names = [case.name for case in cases]
    if twice := {one for one in names if names.count(one) > 1}:
        raise ValueError(f"{path.name}: {sorted(twice)} more than once")
    return cases


def names() -> tuple[str, ...]:
    """The names of all corpora."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.toml")))


def distinct(cases: Iterable[Case]) -> int:
    """How many distinct things the cases show: sets of expected identifiers, and legal forms."""
    return len({case.form or frozenset(case.ids) for case in cases})


def told(violations: Iterable[Violation]) -> tuple[str, ...]:
    """Violations as a corpus writes them."""
    return tuple(f"{violation.id}@{violation.offset}" for violation in violations)


def unescaped(text: str) -> bytes:
    """The octets that the ``octets`` of a case stand for.

    :raises ValueError: a backslash that begins none of the forms above.
    """
    return _ESCAPE.sub(_octets, text.replace("\n", "\r\n").encode())


def _octets(match: re.Match[bytes]) -> bytes:
    if match[1] is not None:
        return b""
    if match[2] is not None:
        return _MARKS[match[2]]
    if match[3] is not None:
        return bytes.fromhex(match[3].decode())
    if match[5] is not None:
        return _ESCAPE.sub(_octets, match[4]) * int(match[5])
    raise ValueError(f"a backslash that begins no escape, at octet {match.start()} of {match.string!r}")


def _case(file: str, entry: dict[str, Any]) -> Case:
    name = entry.get("name", "a case without name")
    if unknown := set(entry) - {"name", "source", "octets", "violations", "form", "facts"}:
        raise ValueError(f"{file}: {name}: unknown keys {sorted(unknown)}")
    if bool(entry.get("violations")) == bool(entry.get("form")):
        raise ValueError(f"{file}: {name}: either violations or a form is expected")
    return Case(
        name, entry["source"], unescaped(entry["octets"]), tuple(entry.get("violations", ())), entry.get("form", ""),
        entry.get("facts", {}),
    )  # fmt: skip
