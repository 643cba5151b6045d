"""What a user gets from whole runs: verdicts, files, exit status, and a report that a browser can read."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
from pathlib import Path

import pytest

from cpmspec.evidence.pcapng import read
from cpmspec.judge.catalogue import load
from cpmspec.judge.judge import judge
from cpmspec.sut.resources import fixtures
from runs import FEW, MUTANTS, Run, command, run_suite

CHROMIUM = Path(os.environ.get("CHROMIUM", "/usr/bin/chromium"))
needs_chromium = pytest.mark.skipif(not CHROMIUM.exists(), reason=f"no Chromium at {CHROMIUM}: apt install chromium")


def test_the_reference_passes(clean_run: Run) -> None:
    assert clean_run.status == 0, clean_run.errors
    assert set(clean_run.verdicts.values()) == {"pass"}
    assert clean_run.footer["verdict"] == "passed (partial)"
    assert "conformant" not in clean_run.output


def test_a_mutant_fails_with_the_requirement_that_it_breaks(mutant_run: Run) -> None:
    assert mutant_run.status == 1, mutant_run.errors
    failed = {name for name, verdict in mutant_run.footer["requirements"].items() if verdict == "fail"}
    assert failed == {"DLV-2.1", "SDP-4975-8.6-21"}  # the client's SDP accepts no multipart but mixed


def test_stored_evidence_gives_the_same_verdicts(clean_run: Run, mutant_run: Run) -> None:
    catalogue = load(fixtures() / "catalogue")
    for run in (clean_run, mutant_run):
        finals = {line["case"]: line for line in run.lines if line["kind"] == "case" and line["stage"] == "final"}
        assert finals
        for case, line in finals.items():
            again = judge(read(run.folder / "cases" / case), catalogue)
            assert json.loads(json.dumps(again.to_json())) == line["judgement"]
        assert asked("judge", run.folder).returncode == run.status


@pytest.mark.parametrize("arguments", [("-n", "2"), ("-n", "2", "--seed", "7"), ("-n", "0", "--seed", "8")])
def test_workers_and_order_change_no_verdict(clean_run: Run, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    run = run_suite(tmp_path / "run", *FEW, *arguments)
    assert (run.verdicts, run.footer["requirements"]) == (clean_run.verdicts, clean_run.footer["requirements"])


#: a PF that is ended in the middle of everything: SIGKILL leaves it no time to say goodbye, SIGTERM does
DYING = """
import os
import signal

from cpmspec.reference.parts import Parts

sent = 0


def dying(pco, octets):
    global sent
    sent += 1
    if sent == 60:
        os.kill(os.getpid(), signal.{signal})
    return octets


PARTS = Parts(outbound=dying)
"""


@pytest.mark.parametrize("workers", ["0", "2"])
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_pf_that_ends_is_blamed_and_breaks_nothing(tmp_path: Path, how: signal.Signals, workers: str) -> None:
    parts = tmp_path / "dying.py"
    parts.write_text(DYING.format(signal=how.name), encoding="utf-8")
    run = run_suite(tmp_path / "run", "--case", "TP_CPM_PF_DLV_V_023", "--parts", parts, "-n", workers)
    assert run.status == 3, run.errors
    assert "Traceback" not in run.errors + run.output
    assert set(run.verdicts.values()) <= {"pass", "inconc"}
    last = {line["case"]: line for line in run.lines if line["kind"] == "case"}
    blames = {line["blame"] for line in last.values() if line["verdict"] == "inconc"}
    assert blames <= {"iut"}
    if how is signal.SIGKILL:
        assert blames, "a PF that was killed cannot have served every case"


#: a PF that kills the run that started it, having written down its own process id
PARRICIDE = """
import os
import pathlib
import signal

from cpmspec.reference.parts import Parts

sent = 0


def parricide(pco, octets):
    global sent
    sent += 1
    if sent == 60:
        pathlib.Path({path!r}).write_text(str(os.getpid()))
        os.kill(os.getppid(), signal.SIGKILL)
    return octets


PARTS = Parts(outbound=parricide)
"""


def test_a_killed_run_leaves_nothing_behind(tmp_path: Path) -> None:
    parts, written = tmp_path / "parricide.py", tmp_path / "pid"
    parts.write_text(PARRICIDE.format(path=str(written)), encoding="utf-8")
    run = run_suite(tmp_path / "run", "--case", "TP_CPM_PF_DLV_V_023", "--parts", parts)
    assert run.status == -signal.SIGKILL
    try:
        pf = os.pidfd_open(int(written.read_text(encoding="utf-8")))
    except ProcessLookupError:
        return  # it has ended already
    ended, _, _ = select.select([pf], [], [], 30)
    os.close(pf)
    assert ended, "the PF outlived the run that started it"


def asked(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """What a command answers."""
    return subprocess.run(command(*arguments), capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)


def test_wrong_use_is_told_in_one_go(tmp_path: Path) -> None:
    profile = tmp_path / "pf.toml"
    profile.write_text('[iut]\nname = 5\ncomand = ["x"]\n[core]\nport = "high"\n', encoding="utf-8")
    done = subprocess.run(
        command("run", "--profile", profile), capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 2
    for key in ("iut.name", "iut.comand", "core.port"):
        assert key in done.stderr
    assert "Traceback" not in done.stderr
    absent = subprocess.run(
        command("run", "--profile", "no.toml"), capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert absent.returncode == 2
    assert "no.toml" in absent.stderr


def test_allure_results_carry_verdict_requirements_ladder_and_capture(tmp_path: Path) -> None:
    results = tmp_path / "allure"
    run = run_suite(
        tmp_path / "run", "--case", "TP_CPM_PF_DLV_V_021-pager-pull", "--allure", results,
        "--parts", MUTANTS / "multipart_related.py",
    )  # fmt: skip
    assert run.status == 1
    texts = [path.read_text(encoding="utf-8") for path in results.glob("*-result.json")]
    assert any("DLV-2.1" in text and "fail" in text for text in texts)
    kinds = {path.suffix for path in results.glob("*-attachment.*")}
    assert ".pcapng" in kinds
    assert len(kinds) > 1


@needs_chromium
@pytest.mark.parametrize("which", ["clean", "mutant"])
def test_a_browser_reads_the_report(which: str, clean_run: Run, mutant_run: Run) -> None:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is absent: pip install playwright")
    run = clean_run if which == "clean" else mutant_run
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=str(CHROMIUM), args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        )
        page = browser.new_context(java_script_enabled=False, offline=True).new_page()
        page.goto((run.folder / "report.html").as_uri())
        assert page.locator("#verdict").inner_text() == run.footer["verdict"]
        text = page.content()
        assert "MSRP " in text, "octets of the ladder"
        assert "8.3.2.4.3 step 3" in text
        if which == "mutant":
            assert "multipart/related" in text
            row = page.locator("[id='req-DLV-2.1']")
            assert "8.3.2.4.3 step 2" in row.inner_text()
            row.get_by_role("link").first.click()
            target = page.url.partition("#")[2]
            assert "multipart/related" in page.locator(f"[id='{target}'] pre").inner_text()
        browser.close()
