"""What the commands share: exit status, mistakes of the user, finding a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

EXIT_CONFORMANT = 0
EXIT_BROKEN = 1
EXIT_USAGE = 2
EXIT_INCONCLUSIVE = 3
EXIT_HARNESS = 70
EXIT_INTERRUPTED = 130


class Mistake(Exception):
    """Wrong usage or configuration: ``lines`` say what was found and what was expected."""

    def __init__(self, *lines: str) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines


def run_lines(folder: Path) -> list[dict[str, Any]]:
    """The lines of the ``run.jsonl`` of a run.

    :raises Mistake: there is no run in the folder.
    """
    from cpmspec.suite import runlog

    path = folder / runlog.FILE
    try:
        lines = list(runlog.read(path))
    except OSError as error:
        raise Mistake(f"{path}: found no readable file ({error.strerror}), expected the folder of a run") from error
    except (UnicodeDecodeError, ValueError) as error:
        raise Mistake(f"{path}: found {error}, expected the lines of a run") from error
    if not lines or lines[0].get("kind") != "header":
        raise Mistake(f"{path}: found no header, expected the lines of a run")
    return lines


def last_lines(lines: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The last line of each case, in the order in which the cases first appear."""
    cases: dict[str, dict[str, Any]] = {}
    for line in lines:
        if line.get("kind") == "case":
            cases[line["case"]] = line
    return cases
