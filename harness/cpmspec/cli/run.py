"""``cpmspec run``: run the cases against the IUT of a profile and judge what crossed the wire."""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from cpmspec.cli.common import EXIT_HARNESS, EXIT_INTERRUPTED, EXIT_USAGE, Mistake, run_lines

if TYPE_CHECKING:
    from cpmspec.sut.profile import Profile

# pytest's own exit codes (pytest.ExitCode), repeated here so that --help need not import pytest
_PYTEST_INTERRUPTED, _PYTEST_INTERNAL, _PYTEST_USAGE, _PYTEST_NOTHING = 2, 3, 4, 5

#: what Allure's results are called: nothing else is deleted for them
_ALLURE_FILE = re.compile(r"[0-9a-f-]{36}-(?:result\.json|container\.json|attachment(?:\.\w+)?)(?:\.tmp)?")

_DESCRIPTION = """\
Runs the cases against an implementation under test (IUT) and judges what crossed the wire. Without --profile the IUT
is the reference Participating Function, started as a process of its own. The results lie in one folder: run.jsonl,
the evidence of each case (pcapng), report.html and junit.xml.
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser("run", help="run the cases against an IUT", description=_DESCRIPTION)
    parser.add_argument("--profile", type=Path, metavar="FILE", help="profile of the IUT (default: the reference PF)")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="folder for the results (default: cpmspec-runs/<UTC time>)"
    )
    parser.add_argument(
        "-n", dest="workers", type=_workers, default="0", metavar="N", help="workers, or auto (default: 0, none beside)"
    )
    parser.add_argument("-k", dest="expression", metavar="EXPR", help="only cases whose names match, as with pytest -k")
    parser.add_argument(
        "--requirement",
        action="append",
        default=[],
        metavar="ID",
        help="only cases about this requirement (repeatable)",
    )
    parser.add_argument(
        "--case",
        action="append",
        default=[],
        metavar="ID",
        help="only this case, or all of this test purpose (repeatable)",
    )
    parser.add_argument("--parts", type=Path, metavar="FILE", help="replaces parts of the launched IUT (mutants)")
    parser.add_argument("--seed", type=int, metavar="N", help="seed of the run (default: a fresh one)")
    parser.add_argument(
        "--allure", type=Path, metavar="DIR", help="write results for Allure too, in place of earlier ones"
    )
    volume = parser.add_mutually_exclusive_group()
    volume.add_argument("-q", "--quiet", action="store_true", help="print only the verdict")
    volume.add_argument("-v", "--verbose", action="store_true", help="show pytest's own output")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the command.

    :raises Mistake: the profile, an option or the selection is wrong.
    """
    from cpmspec.cli import progress, summary

    path, profile = _profile(arguments)
    out = _out(arguments)
    if arguments.allure:
        _make_allure_folder(arguments.allure)
    command = pytest_arguments(arguments, path, profile, out)
    watcher = progress.Watcher(out, show=not (arguments.quiet or arguments.verbose))
    status = _drive(command, watcher)
    if not (out / "run.jsonl").is_file():
        return _nothing_ran(status, watcher.messages)
    lines = run_lines(out)
    footer = next((line for line in lines if line["kind"] == "footer"), None)
    if footer is None:
        print(f"cpmspec: the run was cut off; judge what there is with: cpmspec judge {out}", file=sys.stderr)
        return EXIT_INTERRUPTED if status == _PYTEST_INTERRUPTED else EXIT_HARNESS
    for message in (*watcher.messages, *footer.get("troubles", ())):
        print(f"cpmspec: {message}", file=sys.stderr)
    summary.show(lines, out, quiet=arguments.quiet)
    return int(footer["exit"])


def pytest_arguments(arguments: argparse.Namespace, path: Path, profile: Profile, out: Path) -> list[str]:
    """The command line for pytest: the same everywhere, whatever configuration files lie around."""
    from cpmspec.sut import resources

    command = [
        str(resources.testcases()), "-c", os.devnull, "--rootdir", str(resources.suite_root()),
        "--import-mode=importlib", "-p", "no:cacheprovider", "-p", "no:asyncio", *plugin_arguments(),
        "-n", _worker_count(arguments.workers, profile),
        "--cpmspec-profile", str(path), "--cpmspec-out", str(out),
    ]  # fmt: skip
    if not arguments.verbose:
        command += ["-p", "no:terminal"]
    if arguments.expression:
        command += ["-k", arguments.expression]
    for requirement in arguments.requirement:
        command += ["--cpmspec-requirement", requirement]
    for case in arguments.case:
        command += ["--cpmspec-case", case]
    if arguments.parts:
        command += ["--cpmspec-parts", str(arguments.parts.resolve())]
    if arguments.seed is not None:
        command += ["--cpmspec-seed", str(arguments.seed)]
    if arguments.allure:
        command += ["--alluredir", str(arguments.allure.resolve()), "--clean-alluredir"]
    return command


def _profile(arguments: argparse.Namespace) -> tuple[Path, Profile]:
    """The profile that is asked for; all mistakes of the options are told together with those of the profile."""
    from cpmspec.sut import resources
    from cpmspec.sut.profile import ProfileError, load_profile

    mistakes = list(_unknown_requirements(arguments.requirement))
    if arguments.parts and not arguments.parts.is_file():
        mistakes.append(f"--parts: found no file {arguments.parts}, expected a Python file with PARTS")
    path = (arguments.profile or resources.fixtures() / "profiles" / "reference.toml").resolve()
    try:
        profile = load_profile(path)
    except ProfileError as error:
        raise Mistake(*mistakes, *error.messages) from error
    if arguments.parts and profile.attached:
        mistakes.append(f"--parts: {path} attaches to a running IUT, expected a profile with iut.command")
    if mistakes:
        raise Mistake(*mistakes)
    return path, profile


def _unknown_requirements(asked: list[str]) -> list[str]:
    if not asked:
        return []
    import difflib

    from cpmspec.judge import catalogue
    from cpmspec.sut import resources

    known = catalogue.load(resources.fixtures() / "catalogue").requirements
    lines = []
    for name in asked:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {close[0]}?" if close else ""
            lines.append(f"--requirement: found {name}, expected an id that `cpmspec list requirements` shows{hint}")
    return lines


def _out(arguments: argparse.Namespace) -> Path:
    """The folder of the results: it holds no other run."""
    if arguments.out is None:
        from cpmspec.suite.run import default_out

        return default_out().resolve()
    out: Path = arguments.out.resolve()
    if out.exists() and not out.is_dir():
        raise Mistake(f"--out: found a file at {out}, expected a folder")
    if (out / "run.jsonl").exists():
        raise Mistake(f"--out: found a run in {out} already, expected a new or empty folder")
    return out


def _make_allure_folder(folder: Path) -> None:
    """Make the folder of Allure's results; whatever is in it will be deleted, so it may hold nothing else."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        others = [entry.name for entry in folder.iterdir() if not _ALLURE_FILE.fullmatch(entry.name)]
    except OSError as error:
        raise Mistake(f"--allure: found {error.strerror} at {folder}, expected a folder to write to") from error
    if others:
        raise Mistake(f"--allure: found {min(others)} in {folder}, expected a new folder, or one of earlier results")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise Mistake(f"--allure: found {folder}, which cannot be written to, expected a folder to write to")


def _workers(text: str) -> str:
    if text != "auto" and not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"found {text!r}, expected a number or auto")
    return text


def _worker_count(asked: str, profile: Profile) -> str:
    """``auto`` is the number of processors, but leaves each worker two users of every static pool."""
    if asked != "auto":
        return asked
    users = profile.users
    pools = [pool for pool in (users.pool_on, users.pool_off, users.pool_push_on, users.pool_push_off) if pool]
    return str(max(1, min([_processors(), *(len(pool) // 2 for pool in pools)])))


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def plugin_arguments() -> list[str]:
    """How pytest gets the suite's plug-in: an installed package announces it, a source tree does not."""
    announced = importlib.metadata.entry_points(group="pytest11", name="cpmspec")
    return [] if announced else ["-p", "cpmspec.suite.plugin"]


def _drive(command: list[str], watcher: object) -> int:
    import pytest

    return int(pytest.main(command, plugins=[watcher]))


def _nothing_ran(status: int, messages: list[str]) -> int:
    """No run.jsonl was written: say why."""
    for message in messages:
        print(f"cpmspec: {message}", file=sys.stderr)
    if status == _PYTEST_NOTHING:
        raise Mistake("no case is selected; `cpmspec list` shows all cases")
    if status == _PYTEST_INTERRUPTED:
        return EXIT_INTERRUPTED
    return EXIT_USAGE if status == _PYTEST_USAGE else EXIT_HARNESS
