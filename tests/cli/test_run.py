"""cpmspec.cli.run: what pytest is told, what the user is told, the exit status."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from types import SimpleNamespace
from typing import Any

import pytest

from cpmspec import cli
from cpmspec.cli import run
from cpmspec.cli.common import EXIT_HARNESS, EXIT_INTERRUPTED, EXIT_USAGE
from cpmspec.sut import resources
from cpmspec.sut.models import Profile

REFERENCE = resources.fixtures() / "profiles" / "reference.toml"
BY_ADDRESS = resources.fixtures() / "profiles" / "by-address.toml"


@pytest.fixture
def driven(monkeypatch: pytest.MonkeyPatch, lines: SimpleNamespace) -> Callable[..., list[str]]:
    """Replaces pytest: keeps its arguments, writes the lines of a run, returns a status."""
    told: list[str] = []

    def prepare(status: int, *written: dict[str, Any]) -> list[str]:
        def drive(command: list[str], watcher: object) -> int:
            told.extend(command)
            if written:
                lines.write(Path(command[command.index("--cpmspec-out") + 1]), *written)
            return status

        monkeypatch.setattr(run, "_drive", drive)
        return told

    return prepare


def complain(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> list[str]:
    assert cli.main(["run", *arguments]) == EXIT_USAGE
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    return [line.removeprefix("cpmspec: ") for line in captured.err.splitlines()]


def test_missing_profile(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    lines = complain(["--profile", str(tmp_path / "my.toml")], capsys)
    assert lines == [
        f"{tmp_path}/my.toml: found no readable file (No such file or directory), expected a profile in TOML"
    ]


def test_all_mistakes_at_once(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    profile = tmp_path / "my.toml"
    profile.write_text('[iut]\nnam = "x"\n[ixit]\nbye_within = -1\n', encoding="utf-8")
    lines = complain(
        ["--profile", str(profile), "--requirement", "DLV-3.12", "--parts", str(tmp_path / "no.py")], capsys
    )
    text = "\n".join(lines)
    for part in ("DLV-3.12", "did you mean DLV-", "no.py", "iut.nam:", "ixit.bye_within:", "users.domain:"):
        assert part in text


def test_parts_need_a_launched_iut(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    parts = tmp_path / "parts.py"
    parts.touch()
    (line,) = complain(["--profile", str(BY_ADDRESS), "--parts", str(parts)], capsys)
    assert "expected a profile with iut.command" in line


def test_out_is_never_written_over(capsys: pytest.CaptureFixture[str], finished: Path) -> None:
    before = (finished / "run.jsonl").read_bytes()
    (line,) = complain(["--out", str(finished)], capsys)
    assert "found a run in" in line
    (line,) = complain(["--out", str(finished / "run.jsonl")], capsys)
    assert "expected a folder" in line
    assert (finished / "run.jsonl").read_bytes() == before


def test_allure_deletes_nothing_but_its_own(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "2babf6fa-92ab-414e-a998-8a5cf71ab7c9-result.json").touch()
    (folder / "thesis.odt").write_text("years of work")
    (line,) = complain(["--allure", str(folder)], capsys)
    assert line.startswith(f"--allure: found thesis.odt in {folder}, expected a new folder")
    assert (folder / "thesis.odt").read_text() == "years of work"
    (line,) = complain(["--allure", str(folder / "thesis.odt")], capsys)
    assert "expected a folder to write to" in line


def test_allure_needs_a_folder_that_can_be_written_to(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.access", lambda path, mode: False)
    (line,) = complain(["--allure", str(tmp_path / "new")], capsys)
    assert "cannot be written to" in line


def test_earlier_results_of_allure_are_replaced(
    driven: Callable[..., list[str]], lines: SimpleNamespace, tmp_path: Path
) -> None:
    told = driven(0, lines.header(), lines.case("TP_A", "pass"), lines.footer("passed (partial)", 0))
    for name in ("result.json", "container.json", "attachment.pcapng", "attachment"):
        (tmp_path / f"2babf6fa-92ab-414e-a998-8a5cf71ab7c9-{name}").touch()
    assert cli.main(["run", "--allure", str(tmp_path), "--out", str(tmp_path.with_name("out"))]) == 0
    assert "--clean-alluredir" in told


def test_what_pytest_is_told(driven: Callable[..., list[str]], lines: SimpleNamespace, tmp_path: Path) -> None:
    told = driven(0, lines.header(), lines.case("TP_A", "pass"), lines.footer("passed (partial)", 0))
    parts = tmp_path / "parts.py"
    parts.touch()
    arguments = [
        "-n", "3", "-k", "BYE", "--requirement", "DLV-3.1", "--requirement", "DLV-3.2", "--case", "TP_A", "--seed", "0",
        "--parts", str(parts), "--allure", str(tmp_path / "allure"), "--out", str(tmp_path / "out"),
    ]  # fmt: skip
    assert cli.main(["run", *arguments]) == 0
    text = " ".join(told)
    for part in (
        f"{resources.testcases()} ", "-n 3", "-k BYE", "--cpmspec-requirement DLV-3.1",
        "--cpmspec-requirement DLV-3.2", "--cpmspec-case TP_A", "--cpmspec-seed 0", f"--cpmspec-parts {parts}",
        f"--alluredir {tmp_path}/allure", f"--cpmspec-out {tmp_path}/out", f"--cpmspec-profile {REFERENCE}",
        "-p no:terminal",
    ):  # fmt: skip
        assert part in text


def test_verbose_shows_pytest_s_own_output(
    driven: Callable[..., list[str]], lines: SimpleNamespace, tmp_path: Path
) -> None:
    told = driven(0, lines.header(), lines.case("TP_A", "pass"), lines.footer("conformant", 0))
    cli.main(["run", "-v", "--out", str(tmp_path / "out")])
    assert "no:terminal" not in told


@pytest.mark.parametrize(
    ("verdict", "status"), [("conformant", 0), ("not conformant", 1), ("inconclusive", 3), ("error", 70)]
)
def test_status_is_that_of_the_footer(
    driven: Callable[..., list[str]],
    lines: SimpleNamespace,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    verdict: str,
    status: int,
) -> None:
    driven(1, lines.header(), lines.case("TP_A", "pass"), lines.footer(verdict, status, troubles=["a worker crashed"]))
    assert cli.main(["run", "--out", str(tmp_path / "out")]) == status
    captured = capsys.readouterr()
    assert f"Verdict: {verdict}  [cpmspec reference PF; 1 cases: 1 pass]" in captured.out
    assert f"Report:  {tmp_path}/out" in captured.out
    assert captured.err == "cpmspec: a worker crashed\n"


def test_quiet_prints_the_verdict_only(
    driven: Callable[..., list[str]], lines: SimpleNamespace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    driven(0, lines.header(), lines.case("TP_A", "pass"), lines.footer("conformant", 0))
    cli.main(["run", "-q", "--out", str(tmp_path / "out")])
    assert [line.partition(":")[0] for line in capsys.readouterr().out.splitlines()] == ["Verdict", "Report"]


@pytest.mark.parametrize(("pytest_status", "status"), [(2, EXIT_INTERRUPTED), (3, EXIT_HARNESS), (1, EXIT_HARNESS)])
def test_cut_off(
    driven: Callable[..., list[str]],
    lines: SimpleNamespace,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    pytest_status: int,
    status: int,
) -> None:
    driven(pytest_status, lines.header(), lines.case("TP_A", "pass"))
    assert cli.main(["run", "--out", str(tmp_path / "out")]) == status
    assert f"cpmspec judge {tmp_path}/out" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("pytest_status", "status"), [(2, EXIT_INTERRUPTED), (3, EXIT_HARNESS), (4, EXIT_USAGE), (5, EXIT_USAGE)]
)
def test_nothing_ran(
    driven: Callable[..., list[str]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    pytest_status: int,
    status: int,
) -> None:
    driven(pytest_status)
    assert cli.main(["run", "--out", str(tmp_path / "out")]) == status
    assert ("no case is selected" in capsys.readouterr().err) == (pytest_status == 5)


@pytest.mark.parametrize(
    ("asked", "pools", "count"),
    [
        ("7", {"pool_on": ["sip:a@b", "sip:c@b"]}, "7"),
        ("auto", {"pool_on": ["sip:a@b", "sip:c@b"]}, "1"),
        ("auto", {"pool_on": [f"sip:{number}@b" for number in range(9)]}, "4"),
        ("auto", {"prefix_on": "on-"}, "6"),
    ],
)
def test_worker_count(monkeypatch: pytest.MonkeyPatch, asked: str, pools: dict[str, object], count: str) -> None:
    monkeypatch.setattr(run, "_processors", lambda: 6)
    assert run._worker_count(asked, Profile.from_json({"users": pools})) == count


def test_a_whole_session_with_a_port_in_use(tmp_path: Path, python: Callable[..., CompletedProcess[str]]) -> None:
    """No stand-in here: pytest, plug-in and lab find that the core's port is taken."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        profile = tmp_path / "my.toml"
        text = BY_ADDRESS.read_text(encoding="utf-8").replace("port = 15070", f"port = {port}")
        profile.write_text(text.replace("port     = 15143", "port     = 0"), encoding="utf-8")
        ended = python("-m", "cpmspec", "run", "--profile", str(profile), "--out", str(tmp_path / "out"))
    assert ended.returncode == EXIT_USAGE, ended.stderr
    assert "in use" in ended.stderr
    assert str(port) in ended.stderr
    assert "Traceback" not in ended.stderr
