"""Mutants of the reference PF: each run of the suite must report the requirement that its mutant breaks, and no other.

A mutant is a file for ``--parts`` whose header says what it breaks, what it may break beside, and what falls silent.
"""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

#: a mutant's header may name so many requirements beside those it breaks
MOST_BESIDE = 5


class MutantError(ValueError):
    """A mutant's header is not as it has to be: the text names file, what was found and what was expected."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """What a mutant says of itself. ``may_break`` and ``silences`` give a reason for each requirement.

    What falls silent together may be named together: ``HIS-*`` is every requirement of that group.
    """

    path: Path
    title: str
    breaks: tuple[str, ...]
    may_break: Mapping[str, str]
    silences: Mapping[str, str]

    @property
    def name(self) -> str:
        """The name of its file."""
        return self.path.stem


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run of the suite found: its exit status and the verdict of each requirement."""

    exit: int
    requirements: Mapping[str, str]
    output: str = ""  #: what the command printed, where there is no result

    @property
    def failed(self) -> frozenset[str]:
        """The requirements that failed."""
        return frozenset(name for name, verdict in self.requirements.items() if verdict == "fail")


@dataclass(frozen=True, slots=True)
class Result:
    """A mutant, what was found, and what is wrong with that: nothing if the mutant was caught for the right reason."""

    mutant: Mutant
    outcome: Outcome
    faults: tuple[str, ...] = field(default=())


def read_mutant(path: Path) -> Mutant:
    """Read the header of a mutant without running it.

    :raises MutantError: it has none, or names more than five requirements beside.
    """
    try:
        module = ast.parse(path.read_bytes(), str(path))
    except (OSError, SyntaxError) as error:
        raise MutantError(f"{path}: found {error}, expected a Python file") from error
    values: dict[str, Any] = {}
    for node in module.body:
        target = (
            node.targets[0]
            if isinstance(node, ast.Assign)
            else node.target
            if isinstance(node, ast.AnnAssign)
            else None
        )
        if isinstance(target, ast.Name) and target.id in ("BREAKS", "MAY_BREAK", "SILENCES"):
            assert isinstance(node, ast.Assign | ast.AnnAssign)
            try:
                values[target.id] = ast.literal_eval(node.value) if node.value is not None else None
            except ValueError as error:
                raise MutantError(f"{path}: {target.id}: found an expression, expected plain values") from error
    breaks = values.get("BREAKS")
    if not isinstance(breaks, tuple) or not breaks:
        raise MutantError(f"{path}: BREAKS: found {breaks!r}, expected the ids of the requirements that it breaks")
    beside = values.get("MAY_BREAK", {})
    if len(beside) > MOST_BESIDE:
        raise MutantError(f"{path}: MAY_BREAK: found {len(beside)} requirements, expected at most {MOST_BESIDE}")
    title = (ast.get_docstring(module) or path.stem).splitlines()[0]
    return Mutant(path, title, breaks, beside, values.get("SILENCES", {}))


def compare(mutant: Mutant, plain: Outcome, found: Outcome) -> Result:
    """Whether the suite caught the mutant, and for the right reason.

    Its exit status is 1; every requirement that it breaks failed, and none beside those that it may break; every other
    requirement has the verdict of the unmutated PF, or ``none`` where the mutant silences it.
    """
    faults = []
    if not found.requirements:
        return Result(mutant, found, (f"no result: {(found.output.strip().splitlines() or ['nothing printed'])[-1]}",))
    if found.exit != 1:
        faults.append(f"exit status {found.exit}, expected 1")
    if missed := sorted(set(mutant.breaks) - found.failed):
        faults.append(f"missed: {', '.join(missed)}")
    if wrong := sorted(found.failed - set(mutant.breaks) - set(mutant.may_break)):
        faults.append(f"wrong reason: {', '.join(wrong)}")
    named = {*mutant.breaks, *mutant.may_break}
    for name, verdict in found.requirements.items():
        before = plain.requirements.get(name)
        silent = verdict == "none" and any(fnmatchcase(name, pattern) for pattern in mutant.silences)
        if name not in named and verdict not in ("fail", before) and not silent:
            faults.append(f"{name} became {verdict}, was {before}")
    return Result(mutant, found, tuple(faults))


def run_suite(out: Path, parts: Path | None, arguments: Sequence[str]) -> Outcome:
    """Run ``cpmspec run`` in a process of its own and read its footer."""
    command = [sys.executable, "-m", "cpmspec", "run", "-q", "--out", str(out), *arguments]
    if parts is not None:
        command += ["--parts", str(parts)]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    try:
        lines = [json.loads(line) for line in (out / "run.jsonl").read_text(encoding="utf-8").splitlines()]
    except (OSError, json.JSONDecodeError):
        lines = []
    footer: dict[str, Any] = next((line for line in lines if line["kind"] == "footer"), {})
    return Outcome(done.returncode, footer.get("requirements", {}), done.stderr or done.stdout)


def campaign(mutants: Iterable[Mutant], out: Path, *, jobs: int, arguments: Sequence[str] = ()) -> Iterator[Result]:
    """Run the suite against the plain reference PF, then against each mutant, ``jobs`` at a time; results in order.

    :raises MutantError: the plain reference PF is not conformant: then nothing can be said of mutants.
    """
    plain = run_suite(out / "plain", None, arguments)
    if plain.exit != 0:
        raise MutantError(f"the unmutated reference PF ended with {plain.exit}, expected 0: {plain.output.strip()}")
    with ThreadPoolExecutor(jobs) as pool:
        runs = [(mutant, pool.submit(run_suite, out / mutant.name, mutant.path, arguments)) for mutant in mutants]
        for mutant, running in runs:
            yield compare(mutant, plain, running.result())
