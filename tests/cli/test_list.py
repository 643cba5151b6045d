"""cpmspec.cli.list_"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable

import pytest

from cpmspec import cli
from cpmspec.judge import catalogue
from cpmspec.sut import resources

Python = Callable[..., subprocess.CompletedProcess[str]]


def test_requirements_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["list", "requirements", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found) == ["requirements"]
    known = catalogue.load(resources.fixtures() / "catalogue").requirements
    assert [entry["id"] for entry in found["requirements"]] == list(known)
    assert {"class", "clause", "source", "title", "text", "expected"} <= set(found["requirements"][0])


def test_one_requirement_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["list", "requirements", "--requirement", "DLV-3.1"]) == 0
    first, *_, last = capsys.readouterr().out.splitlines()
    assert first.split()[:2] == ["DLV-3.1", "N"]
    assert last == "1 requirements"


def test_unknown_requirement(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["list", "--requirement", "DLV-99"]) == 2
    assert "found DLV-99" in capsys.readouterr().err


def test_cases_as_json(python: Python) -> None:
    ended = python("-m", "cpmspec", "list", "cases", "--json")
    assert ended.returncode == 0, ended.stderr
    cases = json.loads(ended.stdout)["cases"]
    known = catalogue.load(resources.fixtures() / "catalogue").requirements
    assert cases
    for case in cases:
        assert re.match(r"TP_CPM_PF_[A-Z]{3}_[VIO]_\d{3}(-|$)", case["id"])
        assert set(case["requirements"]) <= set(known)
        assert case["title"]
    assert len({case["id"] for case in cases}) == len(cases)


def test_cases_of_a_requirement(python: Python) -> None:
    ended = python("-m", "cpmspec", "list", "--requirement", "DLV-3.1")
    assert ended.returncode == 0, ended.stderr
    assert "TP_CPM_PF_" in ended.stdout
    assert re.search(r"\d+ cases, 1 requirements$", ended.stdout.strip())
