"""What verdicts come to: the text of a failure, the verdict and the exit status of a run."""

from __future__ import annotations

from typing import Any

import pytest

from cpmspec.judge.catalogue import Catalogue, Requirement, RequirementClass
from cpmspec.judge.verdict import Blame, Finding, Judgement, Verdict
from cpmspec.suite.outcome import conclude, failure_text


def requirement(name: str, cls: RequirementClass, *pics: str) -> Requirement:
    return Requirement(
        id=name, group="DLV", source="TS", title=name, clause="8.3 step 3", cls=cls, level="MUST", bearer="PF",
        text="text", expected="what is allowed", pics=pics,
    )  # fmt: skip


CATALOGUE = Catalogue(
    {
        each.id: each
        for each in (
            requirement("DLV-1", RequirementClass.NORMATIVE),
            requirement("DLV-2", RequirementClass.INTERPRETATION),
            requirement("DLV-9", RequirementClass.NORMATIVE, "history"),
        )
    },
    "digest",
)
PICS = {"history": False}


def line(case: str, verdict: str, **requirements: str) -> dict[str, Any]:
    table = {name.replace("_", "-"): value for name, value in requirements.items()}
    return {"case": case, "verdict": verdict, "judgement": {"requirements": table}}


@pytest.mark.parametrize(
    ("lines", "options", "verdict", "code"),
    [
        ([line("a", "pass", DLV_1="pass")], {}, "conformant", 0),
        ([line("a", "pass", DLV_1="pass")], {"partial": True}, "passed (partial)", 0),
        ([line("a", "pass", DLV_2="pass")], {}, "inconclusive", 3),
        ([line("a", "pass", DLV_2="pass")], {"partial": True}, "passed (partial)", 0),
        ([line("a", "fail", DLV_1="fail")], {"partial": True}, "not conformant", 1),
        ([line("a", "pass", DLV_1="pass", DLV_2="fail")], {}, "not conformant", 1),
        ([line("a", "inconc", DLV_1="pass")], {}, "inconclusive", 3),
        ([line("a", "pass", DLV_1="pass") | {"iut_gone": True}], {}, "inconclusive", 3),
        ([line("a", "fail", DLV_1="fail") | {"iut_gone": True}], {}, "not conformant", 1),
        ([line("a", "inconc"), line("b", "fail", DLV_1="fail")], {}, "not conformant", 1),
        ([line("a", "fail", DLV_1="fail"), line("b", "error")], {}, "error", 70),
        ([line("a", "pass", DLV_1="pass")], {"harness_error": True}, "error", 70),
        ([line("a", "fail", DLV_1="fail")], {"interrupted": True}, "inconclusive", 130),
        ([line("a", "none")], {"partial": True}, "inconclusive", 3),
        ([], {"partial": True}, "inconclusive", 3),
    ],
)
def test_conclusion(lines: list[dict[str, Any]], options: dict[str, bool], verdict: str, code: int) -> None:
    conclusion = conclude(lines, CATALOGUE, PICS, **{"partial": False, **options})
    assert (conclusion.verdict, conclusion.exit) == (verdict, code)


def test_the_last_line_of_a_case_counts() -> None:
    lines = [line("a", "fail", DLV_1="fail"), line("a", "pass", DLV_1="pass"), line("b", "pass", DLV_1="pass")]
    conclusion = conclude(lines, CATALOGUE, PICS, partial=False)
    assert conclusion.counts == {"pass": 2}
    assert conclusion.requirements == {"DLV-1": "pass", "DLV-2": "none"}


def test_a_case_that_does_not_apply_has_no_judgement() -> None:
    lines = [{"case": "a", "verdict": "none", "judgement": None}, line("b", "pass", DLV_1="pass")]
    assert conclude(lines, CATALOGUE, PICS, partial=False).verdict == "conformant"


def test_a_failure_reads() -> None:
    findings = (
        Finding("DLV-2", Verdict.INCONC, "odd", blame=Blame.INTERPRETATION),
        Finding("DLV-1", Verdict.FAIL, "no BYE came", actual="nothing for 5 s", frames=(42, 43)),
        Finding("DLV-9", Verdict.PASS, "fine"),
    )
    judgement = Judgement("CASE-x", Verdict.FAIL, "DLV-1: no BYE came", None, True, findings)
    text = failure_text(judgement, ["DLV-1"], CATALOGUE, "cases/CASE-x")
    assert text.splitlines() == [
        "CASE-x: fail: DLV-1: no BYE came",
        "DLV-1 (TS 8.3 step 3): fail",
        "    reason:   no BYE came",
        "    expected: what is allowed",
        "    actual:   nothing for 5 s",
        "    frame:    42, 43",
        "DLV-2 (TS 8.3 step 3): inconc (beside the purpose)",
        "    reason:   odd",
        "    expected: what is allowed",
        "evidence: cases/CASE-x",
    ]
