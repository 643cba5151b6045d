"""Whole runs by the public command, as a user starts them, each in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
MUTANTS = ROOT / "fixtures" / "mutants"
#: one case of each flow: enough to see every part of a run
FEW = ("--case", "TP_CPM_PF_DLV_V_031")


@dataclass(frozen=True)
class Run:
    """A run that is over: its folder, its exit status, what it printed."""

    folder: Path
    status: int
    output: str
    errors: str

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The lines of run.jsonl."""
        return [json.loads(line) for line in (self.folder / "run.jsonl").read_text(encoding="utf-8").splitlines()]

    @property
    def verdicts(self) -> dict[str, str]:
        """The final verdict of each case."""
        return {line["case"]: line["verdict"] for line in self.lines if line["kind"] == "case"}

    @property
    def footer(self) -> dict[str, Any]:
        """The last line."""
        return self.lines[-1]


def command(*arguments: str | Path) -> list[str]:
    """The command line of ``cpmspec``."""
    return [sys.executable, "-m", "cpmspec", *map(str, arguments)]


def run_suite(folder: Path, *arguments: str | Path) -> Run:
    """Run cases against the reference PF and wait for the end."""
    done = subprocess.run(
        command("run", "--out", folder, *arguments),
        capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=300, check=False,
    )  # fmt: skip
    return Run(folder, done.returncode, done.stdout, done.stderr)
