"""cpmspec.cli: usage, exit status, and that nothing slow is imported for --help."""

from __future__ import annotations

import argparse
import signal
import subprocess
from collections.abc import Callable

import pytest

from cpmspec import cli
from cpmspec.cli.common import EXIT_HARNESS, EXIT_INTERRUPTED, EXIT_USAGE, Mistake

#: what --help has no use for
SLOW = {"pytest", "pydantic", "rich", "scapy", "jinja2", "trustme", "pymap", "asyncio", "ssl", "sqlite3"}


Python = Callable[..., subprocess.CompletedProcess[str]]


@pytest.mark.parametrize("command", [[], ["run"], ["judge"], ["list"], ["report"], ["serve"]])
def test_help(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        cli.main([*command, "--help"])
    assert left.value.code == 0
    assert "usage: cpmspec" in capsys.readouterr().out


def test_help_imports_nothing_slow(python: Python) -> None:
    program = "import sys, cpmspec.cli; cpmspec.cli.parser(); print('\\n'.join(sys.modules))"
    loaded = python("-c", program)
    assert loaded.returncode == 0, loaded.stderr
    assert SLOW & set(loaded.stdout.split()) == set()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "required: COMMAND"),
        (["certify"], "invalid choice"),
        (["run", "--profil"], "required"),
        (["run", "-n", "many"], "found 'many', expected a number or auto"),
        (["run", "-n", "-1"], "expected"),
        (["run", "-q", "-v"], "not allowed with"),
        (["run", "--seed", "x"], "invalid int value"),
        (["judge"], "required: RUN"),
        (["list", "users"], "invalid choice"),
    ],
)
def test_wrong_usage(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        cli.main(arguments)
    assert left.value.code == EXIT_USAGE
    assert said in capsys.readouterr().err or arguments == ["run", "--profil"]


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        cli.main(["--version"])
    assert left.value.code == 0
    assert capsys.readouterr().out.startswith("cpmspec ")


def replaced(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Let ``cpmspec list`` end with an error."""

    def run(arguments: argparse.Namespace) -> int:
        raise error

    monkeypatch.setattr("cpmspec.cli.list_.run", run)


def test_a_mistake_is_told_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    replaced(monkeypatch, Mistake("one", "two"))
    assert cli.main(["list"]) == EXIT_USAGE
    assert capsys.readouterr().err == "cpmspec: one\ncpmspec: two\n"


def test_interrupted(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    replaced(monkeypatch, KeyboardInterrupt())
    assert cli.main(["list"]) == EXIT_INTERRUPTED
    assert capsys.readouterr().err == "cpmspec: interrupted\n"


def test_what_nobody_caught_is_an_error_of_the_harness(python: Python) -> None:
    program = (
        "import sys, cpmspec.cli, cpmspec.cli.list_ as command; sys.argv = ['cpmspec', 'list'];"
        "command.run = lambda arguments: 1 / 0; sys.exit(cpmspec.cli.main())"
    )
    ended = python("-c", program)
    assert ended.returncode == EXIT_HARNESS
    assert "ZeroDivisionError" in ended.stderr


def test_module_is_the_command(python: Python) -> None:
    ended = python("-m", "cpmspec", "run", "--profile", "none.toml")
    assert ended.returncode == EXIT_USAGE
    assert "none.toml: found no readable file" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_reader_that_goes_away_is_no_error(python: Python) -> None:
    program = (
        "import os, sys, cpmspec.cli; reader, writer = os.pipe(); os.close(reader); os.dup2(writer, 1);"
        "sys.argv = ['cpmspec', 'list', 'requirements']; sys.exit(cpmspec.cli.main())"
    )
    ended = python("-c", program)
    assert ended.returncode == 128 + signal.SIGPIPE
    assert ended.stderr == ""
