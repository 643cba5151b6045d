"""The view of a run: which line of a case counts, what comes first, where a requirement was seen."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from cpmspec.judge.catalogue import Catalogue
from cpmspec.judge.verdict import Verdict
from cpmspec.report import ReportError
from cpmspec.report.ladder import LEAST_OCTETS, MOST_OCTETS, ladder_of, limit_for_passed
from cpmspec.report.model import load


def test_the_worst_comes_first(run_folder: Path, catalogue: Catalogue) -> None:
    run = load(run_folder, catalogue)
    assert [case.verdict.value for case in run.cases] == ["error", "fail", "inconc", "pass", "pass", "pass"]
    assert [row.id for row in run.requirements][:2] == ["DLV-2.1", "DLV-3.1"]
    assert run.counts == {Verdict.ERROR: 1, Verdict.FAIL: 1, Verdict.INCONC: 1, Verdict.PASS: 3}
    assert ([row.id for row in run.failing], run.failing_cases) == (["DLV-2.1"], 1)
    assert (run.verdict, run.seconds, run.interrupted) == ("not conformant", 82.0, False)


def test_a_requirement_knows_where_it_was_seen(run_folder: Path, catalogue: Catalogue) -> None:
    rows = {row.id: row for row in load(run_folder, catalogue).requirements}
    (bad,) = rows["DLV-2.1"].bad
    assert bad.anchor == "case-TP_CPM_PF_DLV_V_031-pager-pull-f13"
    assert rows["DLV-2.1"].counts == {Verdict.FAIL: 1, Verdict.PASS: 3}
    assert rows["DLV-3.1"].bad[0].anchor == "case-TP_CPM_PF_DLV_V_041-large-push", "no frame: the case"
    assert not rows["DLV-5.1"].applicable, "the profile says that history is not supported"
    assert [row.id for row in rows.values() if not row.applicable] == ["DLV-5.1"]


def test_remarks_are_told_apart(run_folder: Path, catalogue: Catalogue) -> None:
    case = load(run_folder, catalogue).cases[-1]
    assert [one.id for one in case.remarks] == ["DLV-2d.2"]
    assert case.passed == ("DLV-1.1", "DLV-2.1", "DLV-2a.2", "DLV-2d.2", "DLV-3.1")
    assert (case.passed_clauses, case.passed_rules) == (case.passed, {})


def test_rules_of_rfcs_that_a_case_met_are_counted(run_folder: Path, catalogue: Catalogue) -> None:
    case = load(run_folder, catalogue).cases[-1]
    first = next(iter(catalogue.requirements.values()))
    rules = [
        replace(first, id=name, group=name[:3]) for name in ("MSR-4975-7.1-21", "MSR-4975-7.1-22", "SDP-4975-8.6-21")
    ]
    met = [replace(case.findings[0], id=rule.id, requirement=rule, verdict=Verdict.PASS) for rule in rules]
    broken = replace(met[0], id="MSR-4975-7.1-23", verdict=Verdict.FAIL)
    unknown = replace(met[0], id="OLD-1", requirement=None)
    case = replace(case, findings=(*case.findings, *met, broken, unknown))
    assert case.passed_rules == {"MSR": 2, "SDP": 1}
    assert case.passed_clauses == ("DLV-1.1", "DLV-2.1", "DLV-2a.2", "DLV-2d.2", "DLV-3.1", "OLD-1")


def test_a_run_that_was_cut_off(run_maker: Callable[..., Path], catalogue: Catalogue) -> None:
    folder = run_maker(passed=1, footer=False)
    log = folder / "run.jsonl"
    log.write_text(log.read_text() + '{"kind":"case","ca')
    run = load(folder, catalogue)
    assert (run.verdict, run.interrupted, run.seconds) == ("interrupted", True, None)
    assert len(run.cases) == 4


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "found no header"),
        ('{"kind":"header","format":2}\n', "found format 2, expected a header of format 1"),
        ('{"kind":"header","format":1}\nnonsense\n\n', "line 2: found .*, expected JSON"),
        ("[]\n\n", "line 1: found list, expected a JSON object"),
        ('{"kind":"header","format":1}\n{"kind":"case","case":"a","verdict":"good"}\n', "expected lines of cases"),
    ],
)
def test_what_is_no_log_is_named(tmp_path: Path, catalogue: Catalogue, text: str, told: str) -> None:
    (tmp_path / "run.jsonl").write_text(text)
    with pytest.raises(ReportError, match=rf"run\.jsonl.*{told}"):
        load(tmp_path, catalogue)


def test_no_log_at_all(tmp_path: Path, catalogue: Catalogue) -> None:
    with pytest.raises(ReportError, match=r"run\.jsonl: found No such file"):
        load(tmp_path, catalogue)


def test_ids_that_look_alike_get_anchors_of_their_own(run_folder: Path, catalogue: Catalogue) -> None:
    log = run_folder / "run.jsonl"
    extra = [{"kind": "case", "case": name, "verdict": "pass"} for name in ("a b", "a/b", "a_b")]
    log.write_text(log.read_text() + "".join(json.dumps(line) + "\n" for line in extra))
    anchors = [case.anchor for case in load(run_folder, catalogue).cases]
    assert len(set(anchors)) == len(anchors) == 9


def test_a_broken_message_is_marked_in_the_ladder(run_folder: Path, catalogue: Catalogue) -> None:
    case = load(run_folder, catalogue).cases[1]
    ladder = ladder_of(run_folder, case)
    marked = [row for row in ladder.rows if row.marks]
    assert [(row.frame.number, row.marks, row.ends) for row in marked] == [
        (13, (("DLV-2.1", Verdict.FAIL),), "PF (IUT) → Client")
    ]
    assert ladder.rows[0].seconds == 0
    assert marked[0].octets.shown == MOST_OCTETS


def test_evidence_that_is_missing_or_damaged_is_told(run_folder: Path, catalogue: Catalogue) -> None:
    error, failed, *_ = load(run_folder, catalogue).cases
    assert ladder_of(run_folder, error).problem == "No evidence was recorded for this case."
    trace = run_folder / failed.evidence / "trace.pcapng"
    trace.write_bytes(trace.read_bytes()[:-7])
    assert "expected a whole block" in ladder_of(run_folder, failed).problem


def test_many_passed_cases_show_fewer_octets(
    run_folder: Path, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    cases = load(run_folder, catalogue).cases
    assert limit_for_passed(run_folder, cases) == MOST_OCTETS
    monkeypatch.setattr("cpmspec.report.ladder.BUDGET", 26 * 3 * 500)
    assert limit_for_passed(run_folder, cases) == 500
    monkeypatch.setattr("cpmspec.report.ladder.BUDGET", 1)
    assert limit_for_passed(run_folder, cases) == LEAST_OCTETS


def test_a_long_passed_ladder_is_shortened(
    run_folder: Path, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cpmspec.report.ladder._FIRST_ROWS", 3)
    monkeypatch.setattr("cpmspec.report.ladder._LAST_ROWS", 2)
    _, failed, _, passed, *_ = load(run_folder, catalogue).cases
    short = ladder_of(run_folder, passed)
    assert (len(short.rows), short.omitted_at) == (5, 3)
    assert short.trace is not None
    assert short.omitted == len(short.trace.frames) - 5
    assert ladder_of(run_folder, failed).omitted == 0


def test_what_is_broken_beside_the_purpose_is_seen(run_folder: Path, catalogue: Catalogue) -> None:
    log = run_folder / "run.jsonl"
    finding = {"requirement": "DLV-1.1", "verdict": "fail", "reason": "none came", "frames": [5]}
    line = {"kind": "case", "case": "TP_Z", "verdict": "pass", "judgement": {"findings": [finding]}}
    log.write_text(log.read_text() + json.dumps(line) + "\n")
    run = load(run_folder, catalogue)
    assert ([row.id for row in run.failing], run.failing_cases) == (["DLV-1.1", "DLV-2.1"], 2)
    assert run.cases[-1].id == "TP_Z"
    assert [one.id for one in run.cases[-1].broken] == ["DLV-1.1"]


def test_rules_that_were_simply_kept_stand_among_the_requirements(run_folder: Path, catalogue: Catalogue) -> None:
    log = run_folder / "run.jsonl"
    finding = {"requirement": "DLV-1.1", "verdict": "fail", "reason": "none came"}
    known = {"DLV-1.1": "fail", "DLV-1.2": "pass"}
    line = {
        "kind": "case",
        "case": "TP_Z",
        "verdict": "fail",
        "judgement": {"findings": [finding], "requirements": known},
    }
    log.write_text(log.read_text() + json.dumps(line) + "\n")
    case = next(case for case in load(run_folder, catalogue).cases if case.id == "TP_Z")
    assert ([one.id for one in case.broken], case.passed) == (["DLV-1.1"], ("DLV-1.2",))


@pytest.mark.parametrize(
    ("outside", "shown"),
    [
        ({}, ""),
        ({"name": "Kamailio", "command": ["kamailio"]}, "Kamailio"),
        ({"command": ["kamailio"]}, "launched by its command"),
        ({"access": {"udp": "192.0.2.1:5060"}}, "by address"),
    ],
)
def test_an_outside_core_is_named(
    run_folder: Path, catalogue: Catalogue, outside: dict[str, object], shown: str
) -> None:
    """A reader must see that somebody else's program took part."""
    path = run_folder / "run.jsonl"
    first, _, rest = path.read_text(encoding="utf-8").partition("\n")
    header = json.loads(first)
    header["profile"]["core"] = {"outside": outside}
    path.write_text(json.dumps(header) + "\n" + rest, encoding="utf-8")
    assert load(run_folder, catalogue).core == shown
    assert load(run_folder, catalogue).store == ""
