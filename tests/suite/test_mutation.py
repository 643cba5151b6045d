"""Mutants: their headers, and what counts as caught for the right reason."""

from __future__ import annotations

import fnmatch
from pathlib import Path

import pytest

from cpmspec.judge.catalogue import RequirementClass, load
from cpmspec.suite.mutation import Mutant, MutantError, Outcome, compare, read_mutant
from cpmspec.sut.resources import fixtures

PLAIN = Outcome(0, {"DLV-1.1": "pass", "DLV-2.1": "pass", "DLV-3.1": "pass"})
MUTANT = Mutant(Path("m.py"), "m", ("DLV-2.1",), {"DLV-1.1": "why"}, {"DLV-3.1": "why"})


@pytest.mark.parametrize(
    ("status", "verdicts", "faults"),
    [
        (1, {"DLV-1.1": "pass", "DLV-2.1": "fail", "DLV-3.1": "pass"}, []),
        (1, {"DLV-1.1": "fail", "DLV-2.1": "fail", "DLV-3.1": "none"}, []),
        (0, {"DLV-1.1": "pass", "DLV-2.1": "fail", "DLV-3.1": "pass"}, ["exit status 0, expected 1"]),
        (1, {"DLV-1.1": "fail", "DLV-2.1": "pass", "DLV-3.1": "pass"}, ["missed: DLV-2.1"]),
        (1, {"DLV-1.1": "pass", "DLV-2.1": "fail", "DLV-3.1": "fail"}, ["wrong reason: DLV-3.1"]),
        (1, {"DLV-1.1": "pass", "DLV-2.1": "fail", "DLV-3.1": "inconc"}, ["DLV-3.1 became inconc, was pass"]),
    ],
)
def test_what_counts_as_caught(status: int, verdicts: dict[str, str], faults: list[str]) -> None:
    assert list(compare(MUTANT, PLAIN, Outcome(status, verdicts)).faults) == faults


def test_what_falls_silent_together_may_be_named_together() -> None:
    mutant = Mutant(Path("m.py"), "m", ("DLV-2.1",), {}, {"HIS-*": "why"})
    plain = Outcome(0, {"DLV-2.1": "pass", "HIS-1": "pass", "HIS-2": "pass", "SIP-1": "pass"})
    found = {"DLV-2.1": "fail", "HIS-1": "none", "HIS-2": "inconc", "SIP-1": "none"}
    faults = compare(mutant, plain, Outcome(1, found)).faults
    assert faults == ("HIS-2 became inconc, was pass", "SIP-1 became none, was pass")


def test_a_run_without_a_result_is_not_caught() -> None:
    assert compare(MUTANT, PLAIN, Outcome(70, {}, "it broke")).faults == ("no result: it broke",)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("PARTS = 1\n", "BREAKS"),
        ("BREAKS = ()\n", "BREAKS"),
        ("BREAKS = (f(),)\n", "plain values"),
        ("def\n", "a Python file"),
        ('BREAKS = ("A",)\nMAY_BREAK = {"1": "", "2": "", "3": "", "4": "", "5": "", "6": ""}\n', "at most 5"),
    ],
)
def test_a_wrong_header_is_told(tmp_path: Path, text: str, expected: str) -> None:
    path = tmp_path / "m.py"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(MutantError, match=expected):
        read_mutant(path)


def test_every_normative_requirement_has_a_mutant_and_every_id_is_known() -> None:
    requirements = load(fixtures() / "catalogue").requirements
    mutants = [read_mutant(path) for path in sorted((fixtures() / "mutants").glob("*.py"))]
    broken = {name for mutant in mutants for name in mutant.breaks}
    for mutant in mutants:
        assert {*mutant.breaks, *mutant.may_break} <= requirements.keys(), mutant.name
        assert all(fnmatch.filter(requirements, pattern) for pattern in mutant.silences), mutant.name
        assert all(mutant.may_break.values()), mutant.name
        assert all(mutant.silences.values()), mutant.name
    normative = {name for name, one in requirements.items() if one.cls is RequirementClass.NORMATIVE}
    assert normative <= broken
