"""cpmspec.cli.judge: with evidence of a trace that the judge is told how to judge."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from cpmspec import cli
from cpmspec.evidence import pcapng
from cpmspec.evidence.context import Context
from cpmspec.evidence.trace import Trace
from cpmspec.judge.catalogue import Catalogue
from cpmspec.judge.verdict import Blame, Finding, Judgement, Verdict


@pytest.fixture
def verdicts(monkeypatch: pytest.MonkeyPatch) -> dict[str, Verdict]:
    """What the judge finds in the trace of each case."""
    found: dict[str, Verdict] = {}

    def judge(trace: Trace, catalogue: Catalogue) -> Judgement:
        verdict = found[trace.context.case]
        findings = tuple(Finding(name, verdict, "seen") for name in catalogue.requirements)
        blame = Blame.IUT if verdict is Verdict.INCONC else None
        return Judgement(trace.context.case, verdict, "judged", blame, True, findings)

    monkeypatch.setattr("cpmspec.judge.judge.judge", judge)
    return found


def stored(folder: Path, name: str) -> str:
    """The evidence of a case without a frame."""
    pcapng.write(Trace.build(Context(name, ("DLV-3.1",)), ()), folder / "cases" / name)
    return f"cases/{name}"


def test_same_verdicts(
    tmp_path: Path, lines: SimpleNamespace, verdicts: dict[str, Verdict], capsys: pytest.CaptureFixture[str]
) -> None:
    verdicts.update(TP_A=Verdict.PASS, TP_B=Verdict.PASS)
    cases = [lines.case(name, "pass", evidence=stored(tmp_path, name)) for name in ("TP_A", "TP_B")]
    folder = lines.write(tmp_path, lines.header(), *cases, lines.footer("conformant", 0))
    assert cli.main(["judge", str(folder)]) == 0
    text = capsys.readouterr().out
    assert "all 2 cases have the verdict that the run gave them" in text
    assert "Verdict: conformant" in text


def test_a_verdict_that_changed_is_named(
    tmp_path: Path, lines: SimpleNamespace, verdicts: dict[str, Verdict], capsys: pytest.CaptureFixture[str]
) -> None:
    verdicts["TP_A"] = Verdict.FAIL
    line = lines.case("TP_A", "pass", evidence=stored(tmp_path, "TP_A"))
    folder = lines.write(tmp_path, lines.header(catalogue="other"), line, lines.footer("conformant", 0))
    assert cli.main(["judge", "-q", str(folder)]) == 1
    text = capsys.readouterr().out
    assert "TP_A: was pass, is fail now" in text
    assert "the catalogue has changed since the run" in text


@pytest.mark.parametrize(("verdict", "status"), [(Verdict.PASS, 3), (Verdict.FAIL, 1), (Verdict.INCONC, 3)])
def test_an_interrupted_run_is_judged_as_far_as_it_came(
    tmp_path: Path,
    lines: SimpleNamespace,
    verdicts: dict[str, Verdict],
    capsys: pytest.CaptureFixture[str],
    verdict: Verdict,
    status: int,
) -> None:
    verdicts["TP_A"] = verdict
    line = lines.case("TP_A", "pass", stage="provisional", evidence=stored(tmp_path, "TP_A"))
    folder = lines.write(tmp_path, lines.header(), line)
    with (folder / "run.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"kind":"case","case":"TP')
    assert cli.main(["judge", str(folder)]) == status
    assert "the run was interrupted: 1 of 2 cases were judged" in capsys.readouterr().out


def test_what_a_case_has_not_shown_yet_decides_nothing(
    tmp_path: Path, lines: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    absent = Judgement("TP_A", Verdict.INCONC, "DLV-3.1 did not come about in this trace", Blame.PREAMBLE, False)
    monkeypatch.setattr("cpmspec.judge.judge.judge", lambda trace, catalogue: absent)
    line = lines.case("TP_A", "none", stage="provisional", evidence=stored(tmp_path, "TP_A"))
    folder = lines.write(tmp_path, lines.header(), line)
    assert cli.main(["judge", str(folder)]) == 3
    assert "all 1 cases have the verdict that the run gave them" in capsys.readouterr().out


def test_a_selection_is_never_conformant(
    tmp_path: Path, lines: SimpleNamespace, verdicts: dict[str, Verdict], capsys: pytest.CaptureFixture[str]
) -> None:
    verdicts["TP_A"] = Verdict.PASS
    line = lines.case("TP_A", "pass", evidence=stored(tmp_path, "TP_A"))
    folder = lines.write(tmp_path, lines.header(selection="-k A"), line, lines.footer("passed (partial)", 0))
    assert cli.main(["judge", str(folder)]) == 0
    assert "Verdict: passed (partial)" in capsys.readouterr().out


def test_an_error_of_the_harness_stays_one(
    tmp_path: Path, lines: SimpleNamespace, verdicts: dict[str, Verdict], capsys: pytest.CaptureFixture[str]
) -> None:
    verdicts["TP_A"] = Verdict.PASS
    line = lines.case("TP_A", "error", evidence=stored(tmp_path, "TP_A"), error="Traceback\nKeyError: 'x'")
    folder = lines.write(tmp_path, lines.header(), line, lines.footer("error", 70))
    assert cli.main(["judge", str(folder)]) == 70
    assert "KeyError: 'x'" in capsys.readouterr().out


def test_lost_evidence_is_an_error(tmp_path: Path, lines: SimpleNamespace, capsys: pytest.CaptureFixture[str]) -> None:
    line = lines.case("TP_A", "pass", evidence="cases/TP_A")
    folder = lines.write(tmp_path, lines.header(), line, lines.footer("conformant", 0))
    assert cli.main(["judge", str(folder)]) == 70
    assert "the evidence cannot be read" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "found no readable file"),
        ("", "found no header"),
        ('{"kind":"footer"}\n', "found no header"),
        ("{\n{}\n", "line 1 is no JSON"),
        ('{"kind":"header","cases":[],"profile":{"iut":{"name":3}}}\n', "a profile that this version cannot read"),
    ],
)
def test_no_run(tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str | None, said: str) -> None:
    if text is not None:
        (tmp_path / "run.jsonl").write_text(text, encoding="utf-8")
    assert cli.main(["judge", str(tmp_path)]) == 2
    captured = capsys.readouterr()
    assert said in captured.err
    assert captured.err.startswith("cpmspec: ")
