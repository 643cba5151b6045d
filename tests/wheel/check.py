"""What the installed wheel does by itself: every command from an empty folder, with no checkout in reach.

Run by ``tox -e wheel`` with the Python of an environment that holds the wheel and what it depends on, nothing else. The
first surprise ends it with status 1; the folder of the commands then stays for a look.

While the commands run, each Python of that environment takes down which files of the checkout it opens (an audit hook,
PEP 578, put in place by a .pth file): it must be none.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

CHECKOUT = Path(__file__).resolve().parents[2]
PACKAGES = Path(sysconfig.get_path("purelib")).resolve()
COMMAND = Path(sysconfig.get_path("scripts")) / "cpmspec"
#: what the wheel is made of: folder in the checkout, folder in site-packages
SOURCES = {
    "harness/cpmspec": "cpmspec",
    "testcases": "cpmspec/_suite/testcases",
    "fixtures": "cpmspec/_suite/fixtures",
    "reports": "cpmspec/_suite/reports",
}
#: data of the project's own tests, which no installed command needs
LEFT_OUT = ("fixtures/captures/", "fixtures/corpus/wire/")
#: what the commands cannot do without
NEEDED = ("catalogue", "mutants", "peers", "profiles", "reference")
#: a mutant, the requirement that it breaks, and a case that shows it
MUTANT, BROKEN, CASE = "two_byes.py", "DLV-3.4", "TP_CPM_PF_DLV_V_031-pager-pull"
WITHIN = 300.0  #: seconds for one command

HOOK = """\
import os
import sys

HERE, CHECKOUT, LOG = {here!r}, {checkout!r}, {log!r}


def watch(event, arguments):
    if event != "open" or not isinstance(arguments[0], (str, bytes)):
        return
    path = os.path.abspath(os.fsdecode(arguments[0]))
    if path.startswith(CHECKOUT) and not path.startswith(HERE):
        log = os.open(LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(log, os.fsencode(path) + b"\\n")
        os.close(log)


sys.addaudithook(watch)
"""


class Surprise(Exception):
    """Something is not as it has to be; the text says what was found and what was expected."""


def main() -> int:
    """Check everything; exit status."""
    folder = Path(tempfile.mkdtemp(prefix="cpmspec-wheel-"))
    empty = folder / "empty"
    empty.mkdir()
    try:
        check_place()
        check_content()
        with watched(folder / "opened") as opened:
            check_commands(empty)
        expect(not opened(), "files of the checkout were opened:\n" + "\n".join(sorted(set(opened()))))
    except Surprise as surprise:
        say(f"tests/wheel: {surprise}\n(what the commands left: {folder})")
        return 1
    shutil.rmtree(folder)
    say("the wheel stands on its own")
    return 0


def check_place() -> None:
    """The package that is imported is the installed one, and nothing leads to the checkout."""
    expect("PYTHONPATH" not in os.environ, "PYTHONPATH is set, expected it unset")
    import cpmspec
    from cpmspec.sut.resources import suite_root

    expect(PACKAGES in Path(cpmspec.__file__).resolve().parents, f"found {cpmspec.__file__}, expected it in {PACKAGES}")
    expect(suite_root() == PACKAGES / "cpmspec" / "_suite", f"found the suite in {suite_root()}, expected it beside")
    say(f"{importlib.metadata.version('cpmspec')} in {PACKAGES}")


def check_content() -> None:
    """The wheel holds the files of the package and of the suite, all of them and no others."""
    expected: dict[str, Path] = {}
    for source, target in SOURCES.items():
        for path in (CHECKOUT / source).rglob("*"):
            name = path.relative_to(CHECKOUT).as_posix()
            if path.is_file() and not is_cache(name) and not name.startswith(LEFT_OUT):
                expected[target + name.removeprefix(source)] = path
    listed = (file.as_posix() for file in importlib.metadata.files("cpmspec") or ())
    found = {name for name in listed if name.startswith("cpmspec/") and not name.endswith(".pyc")}
    expect(not expected.keys() - found, f"the wheel lacks {sorted(expected.keys() - found)}")
    expect(not found - expected.keys(), f"the wheel holds {sorted(found - expected.keys())}, expected nothing of that")
    for name, path in expected.items():
        expect((PACKAGES / name).read_bytes() == path.read_bytes(), f"{name} differs from {path}")
    folders = {name.split("/")[3] for name in found if name.startswith(f"{SOURCES['fixtures']}/")}
    expect(folders.issuperset(NEEDED), f"found the fixtures {sorted(folders)}, expected {sorted(NEEDED)} among them")
    say(f"{len(found)} files, fixtures: {', '.join(sorted(folders))}")


def is_cache(name: str) -> bool:
    """Whether a file is in a folder that Python or pytest keep for themselves."""
    return any(part == "__pycache__" or part.startswith(".") for part in name.split("/"))


def check_commands(empty: Path) -> None:
    """Every command that needs nothing but the suite, in an empty folder."""
    said(empty, 0, "run", "list", "judge", "report", "serve", "mutants", arguments=["--help"])
    listed = json.loads(said(empty, 0, arguments=["list", "--json"]))
    cases, requirements = listed["cases"], listed["requirements"]
    expect(bool(cases and requirements), f"found {len(cases)} cases and {len(requirements)} requirements")
    said(empty, 0, f"{len(cases)} cases, {len(requirements)} requirements", arguments=["list"])
    said(empty, 0, BROKEN, f"{len(requirements)} requirements", arguments=["list", "requirements"])
    check_run(empty, {case["id"] for case in cases})
    check_mutant(empty)
    left = sorted(path.name for path in empty.iterdir())
    expect(left == ["cpmspec-runs", "mutant"], f"the commands left {left}, expected the two folders of the runs only")


def check_run(empty: Path, cases: set[str]) -> None:
    """The whole suite against the reference PF; its folder judged and reported again."""
    said(empty, 0, "Verdict: conformant", arguments=["run", "-n", "auto"])
    runs = list((empty / "cpmspec-runs").iterdir())
    expect(len(runs) == 1, f"found {len(runs)} folders of runs, expected one")
    [run] = runs
    judged = {line["case"] for line in lines(run) if line["kind"] == "case"}
    expect(judged == cases, f"{sorted(judged ^ cases)} are only among the cases that are listed or that were judged")
    in_junit = len(list(ElementTree.parse(run / "junit.xml").iter("testcase")))
    expect(in_junit == len(cases), f"junit.xml has {in_junit} cases, expected {len(cases)}")
    said(empty, 0, "Verdict: conformant", arguments=["judge", str(run)])
    report = run / "report.html"
    first = file_size(report)
    report.unlink()
    said(empty, 0, arguments=["report", str(run)])
    expect(file_size(report) == first, f"the report again has {file_size(report)} octets, expected {first} as before")
    expect((run / "summary.md").is_file(), "no summary.md")


def check_mutant(empty: Path) -> None:
    """A mutant that came with the wheel is found out."""
    parts = PACKAGES / SOURCES["fixtures"] / "mutants" / MUTANT
    options = ["--parts", str(parts), "--case", CASE, "--out", "mutant"]
    said(empty, 1, BROKEN, arguments=["run", *options])
    verdicts: dict[str, str] = lines(empty / "mutant")[-1]["requirements"]
    broken = [name for name, verdict in verdicts.items() if verdict == "fail"]
    expect(broken == [BROKEN], f"{MUTANT} broke {broken}, expected {BROKEN} alone")
    said(empty, 1, BROKEN, arguments=["judge", "mutant"])


def said(folder: Path, status: int, *words: str, arguments: list[str]) -> str:
    """Run the command in the folder; what it printed. Its exit status and some words of its output are checked."""
    began = time.monotonic()
    done = subprocess.run(
        [COMMAND, *arguments], cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL,
        timeout=WITHIN, check=False,
    )  # fmt: skip
    named = f"cpmspec {' '.join(arguments)}"
    printed = f"\n--- output\n{done.stdout[-3000:]}\n--- errors\n{done.stderr[-3000:]}"
    expect(done.returncode == status, f"{named}: found exit status {done.returncode}, expected {status}{printed}")
    missing = [word for word in words if word not in done.stdout]
    expect(not missing, f"{named}: did not say {missing}{printed}")
    say(f"{named}: {status} after {time.monotonic() - began:.1f} s")
    return done.stdout


def lines(run: Path) -> list[dict[str, Any]]:
    """The lines of the run.jsonl of a run."""
    return [json.loads(line) for line in (run / "run.jsonl").read_text(encoding="utf-8").splitlines()]


def file_size(path: Path) -> int:
    """Octets of a file that has to be there."""
    expect(path.is_file(), f"no {path.name}")
    return path.stat().st_size


@contextlib.contextmanager
def watched(log: Path) -> Iterator[Any]:
    """Have each Python of this environment take down the files of the checkout that it opens."""
    here = os.path.join(sys.prefix, "")  # the environment itself may lie in the checkout
    module, hook = PACKAGES / "_cpmspec_wheel_check.py", PACKAGES / "_cpmspec_wheel_check.pth"
    module.write_text(HOOK.format(here=here, checkout=os.path.join(CHECKOUT, ""), log=str(log)), encoding="utf-8")
    hook.write_text("import _cpmspec_wheel_check\n", encoding="utf-8")
    try:
        with_hook = f"open({str(CHECKOUT / 'pyproject.toml')!r}).close()"
        subprocess.run([sys.executable, "-c", with_hook], check=True, timeout=WITHIN)
        expect(log.is_file(), "the hook that tells what is opened does not work")
        log.write_bytes(b"")
        yield lambda: log.read_text(encoding="utf-8").splitlines()
    finally:
        module.unlink()
        hook.unlink()


def expect(condition: bool, otherwise: str) -> None:
    """Go on only if it is so.

    :raises Surprise: it is not.
    """
    if not condition:
        raise Surprise(otherwise)


def say(text: str) -> None:
    """Tell the reader of the log."""
    print(text, flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
