"""Runs for the commands: folders as a run leaves them, made by hand; and the command as a process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import cpmspec
from cpmspec.judge import catalogue
from cpmspec.sut import resources
from cpmspec.sut.profile import load_profile

REFERENCE = resources.fixtures() / "profiles" / "reference.toml"


def header(**changes: Any) -> dict[str, Any]:
    digest = catalogue.load(resources.fixtures() / "catalogue").digest
    return {
        "kind": "header", "format": 1, "suite": "0", "started": "2030-01-01T00:00:00.000Z", "catalogue": digest,
        "seed": 0, "profile": load_profile(REFERENCE).to_json(), "profile_file": str(REFERENCE), "selection": None,
        "parts": None, "cases": ["TP_A", "TP_B"], **changes,
    }  # fmt: skip


def case(name: str, verdict: str, requirement: str = "DLV-3.1", **changes: Any) -> dict[str, Any]:
    finding = {"requirement": requirement, "verdict": verdict, "reason": "no BYE came", "frames": [31]}
    return {
        "kind": "case", "stage": "final", "case": name, "title": "t", "purpose": "p", "purposes": [requirement],
        "verdict": verdict, "reason": "because", "blame": None, "evidence": None, "seconds": 1.0, "worker": "main",
        "started": "2030-01-01T00:00:00.000Z",
        "judgement": {"requirements": {requirement: verdict}, "findings": [finding]}, **changes,
    }  # fmt: skip


def footer(verdict: str, status: int, **changes: Any) -> dict[str, Any]:
    return {
        "kind": "footer", "finished": "2030-01-01T00:01:00.000Z", "verdict": verdict, "exit": status,
        "interrupted": False, "requirements": {"DLV-3.1": "pass"}, "counts": {"pass": 2}, **changes,
    }  # fmt: skip


def write_run(folder: Path, *lines: dict[str, Any]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "run.jsonl").write_text(text, encoding="utf-8")
    return folder


@pytest.fixture
def lines() -> SimpleNamespace:
    """Makers of the lines of a run.jsonl, and of the file."""
    return SimpleNamespace(header=header, case=case, footer=footer, write=write_run)


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    """A run of two cases that passed."""
    return write_run(
        tmp_path / "finished", header(), case("TP_A", "pass"), case("TP_B", "pass"), footer("conformant", 0)
    )


@pytest.fixture
def python() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs Python with these arguments and this package."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        paths = [str(Path(cpmspec.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
        return subprocess.run(
            [sys.executable, *arguments], env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    return run
