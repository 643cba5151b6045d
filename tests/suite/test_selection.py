"""Which items are cases, which are selected, and in which order they run: in pytest itself, with and without xdist."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import cpmspec
from cpmspec.suite.selection import MARKER, covers_everything, suite_folder
from cpmspec.suite.spec import case_id, title_of
from cpmspec.sut import resources

CASES = '''
import pytest
from cpmspec.suite.purpose import flows, purpose

@purpose("TP_CPM_PF_DLV_V_001", "DLV-1.1")
@flows
async def test_quick(lab, mode, establishment):
    """Quick."""

@purpose("TP_CPM_PF_DLV_V_002", "DLV-3.1", waits=True)
async def test_slow(lab):
    """Slow."""

def test_plain():
    pass
'''


def run(folder: Path, *arguments: str) -> tuple[int, list[str]]:
    """Run pytest in a folder; its status and its lines of output."""
    source = str(Path(cpmspec.__file__).parent.parent)
    announced = [] if _announced() else ["-p", "cpmspec.suite.plugin"]
    found = subprocess.run(
        [sys.executable, "-m", "pytest", "-c", os.devnull, "--rootdir", str(folder), "-p", "no:cacheprovider",
         "-p", "no:randomly", "-W", "ignore", *announced, *arguments],
        capture_output=True, text=True, cwd=folder, timeout=60, env={**os.environ, "PYTHONPATH": source}, check=False,
    )  # fmt: skip
    return found.returncode, [*found.stdout.splitlines(), *found.stderr.splitlines()]


def _announced() -> bool:
    from importlib.metadata import entry_points

    return bool(entry_points(group="pytest11", name="cpmspec"))


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    (tmp_path / "test_cases.py").write_text(CASES)
    return tmp_path


def collected(lines: list[str]) -> list[str]:
    return [line.partition("::")[2] for line in lines if "::" in line]


def test_cases_that_wait_go_first(suite: Path) -> None:
    _, lines = run(suite, "--collect-only", "-q")
    assert collected(lines) == [
        "test_slow", "test_quick[pager-pull]", "test_quick[pager-push]", "test_quick[large-pull]",
        "test_quick[large-push]", "test_plain",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--cpmspec-requirement", "DLV-3.1"], ["test_slow"]),
        (["--cpmspec-case", "TP_CPM_PF_DLV_V_001-large-push"], ["test_quick[large-push]"]),
        (["--cpmspec-case", "TP_CPM_PF_DLV_V_002", "--cpmspec-requirement", "DLV-1.1"], []),
        (["--cpmspec-case", "TP_CPM_PF_DLV_V_002"], ["test_slow"]),
    ],
)
def test_selection(suite: Path, options: list[str], expected: list[str]) -> None:
    _, lines = run(suite, "--collect-only", "-q", *options)
    assert collected(lines) == expected


def test_a_case_id_stands_once(suite: Path) -> None:
    (suite / "test_more.py").write_text(CASES)
    status, lines = run(suite, "--collect-only", "-q", "--import-mode=importlib")
    assert status == pytest.ExitCode.USAGE_ERROR
    assert any("not unique: " in line and "TP_CPM_PF_DLV_V_002" in line for line in lines)


def test_nothing_is_started_where_there_are_no_cases(tmp_path: Path) -> None:
    (tmp_path / "test_other.py").write_text("def test_other():\n    pass\n")
    status, _ = run(tmp_path, "-n", "0")
    assert status == 0
    status, _ = run(tmp_path, "-n", "1")
    assert status == 0
    assert not (tmp_path / "cpmspec-runs").exists()


def test_a_profile_that_is_not_there(suite: Path) -> None:
    for workers in ("0", "1"):
        status, lines = run(suite, "--cpmspec-profile", "none.toml", "-n", workers)
        assert status == pytest.ExitCode.USAGE_ERROR
        assert any(line.startswith("ERROR: ") and "none.toml" in line for line in lines), lines
        assert not any("Traceback" in line for line in lines)


def test_the_folder_of_a_suite(tmp_path: Path) -> None:
    (tmp_path / "mine" / "deep").mkdir(parents=True)
    (tmp_path / "mine" / MARKER).touch()
    assert suite_folder("mine/deep/test_x.py::test_y", tmp_path) == tmp_path / "mine"
    assert suite_folder("other/test_x.py", tmp_path) is None
    assert suite_folder(str(resources.testcases() / "test_x.py"), tmp_path) == resources.testcases().resolve()


def test_what_covers_everything(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / MARKER).touch()
    assert covers_everything(["mine"], tmp_path)
    assert covers_everything([str(resources.testcases())], tmp_path)
    assert not covers_everything(["mine/test_x.py"], tmp_path)
    assert not covers_everything(["mine::test_y"], tmp_path)


def test_case_ids_are_file_names() -> None:
    assert case_id("TP_CPM_PF_DLV_V_021", "") == "TP_CPM_PF_DLV_V_021"
    assert case_id("TP_CPM_PF_DLV_V_021", "pager-pull") == "TP_CPM_PF_DLV_V_021-pager-pull"
    assert case_id("TP_CPM_PF_DLV_V_021", "a/b c") == "TP_CPM_PF_DLV_V_021-a_b_c"


def test_the_title_is_the_first_line_that_says_something() -> None:
    assert title_of("\n  First.\n  Second.") == "First."
    assert title_of("") == ""


def test_plain_pytest_needs_no_plug_in_of_the_projects_own_tests(tmp_path: Path) -> None:
    announced = [] if _announced() else ["-p", "cpmspec.suite.plugin"]
    found = subprocess.run(
        [sys.executable, "-m", "pytest", str(resources.testcases()), "-p", "no:asyncio", "-p", "no:cacheprovider",
         "--collect-only", "-q", *announced],
        capture_output=True, text=True, cwd=tmp_path, timeout=60, check=False,
        env={**os.environ, "PYTHONPATH": str(Path(cpmspec.__file__).parent.parent)},
    )  # fmt: skip
    assert found.returncode == 0, found.stderr


def test_a_checkout_is_a_suite_beside_the_installed_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkout = resources.testcases()
    monkeypatch.setattr(resources, "testcases", lambda: tmp_path)
    assert suite_folder("test_dlv_3_bye.py::test_x", checkout) == checkout.resolve()
    assert covers_everything([str(checkout)], tmp_path)
