"""cpmspec.cli.summary"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from cpmspec.cli import summary


def shown(capsys: pytest.CaptureFixture[str], folder: Path, *lines: dict[str, object]) -> str:
    summary.show(lines, folder)
    return capsys.readouterr().out


def test_table_by_requirement(tmp_path: Path, lines: SimpleNamespace, capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(
        capsys, tmp_path, lines.header(), lines.case("TP_A", "pass"), lines.case("TP_B", "pass"),
        lines.footer("conformant", 0, requirements={"DLV-3.1": "pass", "DLV-5.1": "none"}),
    )  # fmt: skip
    head, first, second = text.splitlines()[:3]
    assert head.split() == ["requirement", "clause", "class", "verdict", "cases", "title"]
    assert first.split()[:1] == ["DLV-3.1"]
    assert " N " in first
    assert "pass" in first
    assert " 2 " in first
    assert "none" in second
    assert text.splitlines()[-2:] == [
        "Verdict: conformant  [cpmspec reference PF; 2 cases: 2 pass]",
        f"Report:  {tmp_path}",
    ]


def test_rules_of_rfcs_that_were_kept_share_a_row(
    tmp_path: Path, lines: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    kept, kept_too, broken, silent = "MSR-4975-7.1-21", "MSR-4975-7.1.1-26", "MSR-4975-7.1-22", "MSR-4975-7.3-21"
    cases = [lines.case("TP_A", "pass", kept), lines.case("TP_B", "pass", kept_too), lines.case("TP_C", "fail", broken)]
    requirements = {"DLV-3.1": "pass", kept: "pass", silent: "none", broken: "fail", kept_too: "pass"}
    footer = lines.footer("not conformant", 1, requirements=requirements)
    rows = [line.split() for line in shown(capsys, tmp_path, lines.header(), *cases, footer).splitlines()[1:5]]
    assert [row[0] for row in rows] == ["DLV-3.1", broken, "MSR-*", "MSR-*"]
    assert [row[7:] for row in rows[2:]] == [
        ["none", "0", "1", "rule", "of", "which", "nothing", "was", "seen"],
        ["pass", "2", "2", "rules", "kept"],
    ]
    assert [row[6] for row in rows[2:]] == ["R", "DR"]


def test_what_broke_names_frame_and_cases(
    tmp_path: Path, lines: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    cases = [lines.case(f"TP_{number}", "fail") for number in range(5)]
    text = shown(
        capsys, tmp_path, lines.header(), lines.case("TP_A", "pass"), *cases,
        lines.footer("not conformant", 1, requirements={"DLV-3.1": "fail"}),
    )  # fmt: skip
    assert "DLV-3.1: fail in 5 of 6 cases (OMA-TS-CPM_Conv_Fnct 8.3.2.4.3 step 3)" in text
    assert "  TP_0: no BYE came (frame 31)" in text
    assert "  and 2 more" in text


def test_undecided_cases_say_whose_doing_it_is(
    tmp_path: Path, lines: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = lines.case("TP_A", "inconc", blame="iut", reason="the IUT ended with status 9", judgement=None)
    text = shown(capsys, tmp_path, lines.header(), gone, lines.footer("inconclusive", 3, interrupted=True))
    assert "inconc, blame: iut: the IUT ended with status 9\n  TP_A\n" in text
    assert "Note:    interrupted: cases are missing" in text


def test_an_iut_that_vanished_is_told_though_every_case_passed(
    tmp_path: Path, lines: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    text = shown(
        capsys, tmp_path, lines.header(), lines.case("TP_A", "pass", iut_gone=True), lines.footer("inconclusive", 3)
    )
    assert "Note:    the IUT vanished before the closing was over" in text


def test_a_requirement_that_this_catalogue_does_not_know(
    tmp_path: Path, lines: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    text = shown(capsys, tmp_path, lines.header(), lines.footer("error", 70, requirements={"OLD-1": "error"}))
    assert "not in this catalogue" in text


def test_the_report_is_named_if_there_is_one(
    tmp_path: Path, lines: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "report.html").touch()
    text = shown(capsys, tmp_path, lines.header(), lines.footer("conformant", 0))
    assert text.endswith(f"Report:  {tmp_path}/report.html\n")
