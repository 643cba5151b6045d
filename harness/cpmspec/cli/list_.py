"""``cpmspec list``: the cases and the requirements that the suite knows."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import io
import json
import os
from typing import TYPE_CHECKING, Any

from cpmspec.cli.common import Mistake

if TYPE_CHECKING:
    import pytest

    from cpmspec.judge.catalogue import Requirement


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "list", help="list cases and requirements", description="Lists the cases and the requirements of the suite."
    )
    parser.add_argument(
        "what",
        nargs="?",
        choices=("cases", "requirements"),
        help="only these (default: both)",
        metavar="cases|requirements",
    )
    parser.add_argument("--requirement", metavar="ID", help="only this requirement and the cases about it")
    parser.add_argument("--json", action="store_true", help="as JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the command.

    :raises Mistake: the requirement is unknown.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    known = requirements(arguments.requirement)
    if arguments.what != "requirements":
        found["cases"] = cases(arguments.requirement)
    if arguments.what != "cases":
        found["requirements"] = known
    if arguments.json:
        print(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        _print(found)
    return 0


def requirements(only: str | None = None) -> list[dict[str, Any]]:
    """The requirements of the catalogue as plain objects.

    :raises Mistake: ``only`` names none.
    """
    from cpmspec.judge import catalogue
    from cpmspec.sut import resources

    known = catalogue.load(resources.fixtures() / "catalogue").requirements
    if only is not None and only not in known:
        raise Mistake(f"--requirement: found {only}, expected an id that `cpmspec list requirements` shows")
    return [_plain(requirement) for requirement in known.values() if only in (None, requirement.id)]


def _plain(requirement: Requirement) -> dict[str, Any]:
    plain = dataclasses.asdict(requirement)
    plain["class"] = plain.pop("cls")
    return plain


def cases(only: str | None = None) -> list[dict[str, Any]]:
    """The cases as plain objects, as pytest collects them.

    :raises Mistake: a file of the suite cannot be read.
    """
    import pytest

    from cpmspec.cli.run import plugin_arguments
    from cpmspec.sut import resources

    collector = _Collector()
    command = [
        str(resources.testcases()), "--collect-only", "-c", os.devnull, "--rootdir", str(resources.suite_root()),
        "--import-mode=importlib", "-p", "no:cacheprovider", "-p", "no:terminal", "-p", "no:randomly",
        "-p", "no:asyncio",
        "-n", "0", *plugin_arguments(),
    ]  # fmt: skip
    with contextlib.redirect_stdout(io.StringIO()):
        pytest.main(command, plugins=[collector])
    if collector.messages:
        raise Mistake(*collector.messages)
    found = sorted(collector.cases, key=lambda case: str(case["id"]))
    return [case for case in found if only is None or only in case["requirements"]]


class _Collector:
    """Handed to pytest as a plug-in: keeps what is collected."""

    def __init__(self) -> None:
        self.cases: list[dict[str, Any]] = []
        self.messages: list[str] = []

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Keep why a file could not be collected."""
        if report.failed:
            self.messages.append(f"{report.nodeid}: cannot be collected:\n{report.longreprtext}")

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Keep the cases."""
        for item in session.items:
            self.cases += _described(item)


def _described(item: pytest.Item) -> list[dict[str, Any]]:
    from cpmspec.suite.selection import NEEDS, spec_of

    spec = spec_of(item)
    if spec is None:
        return []
    needs: tuple[str, ...] = item.stash.get(NEEDS, ())
    return [{
        "id": spec.id,
        "title": spec.title,
        "purpose": spec.purpose,
        "requirements": list(spec.purposes),
        "pics": list(needs),
        "waits": spec.waits,
        "file": item.nodeid.partition("::")[0],
    }]  # fmt: skip


def _print(found: dict[str, list[dict[str, Any]]]) -> None:
    for requirement in found.get("requirements", ()):
        print(f"{requirement['id']:24} {requirement['class']}  {requirement['clause']:28} {requirement['title']}")
    if len(found) > 1:
        print()
    for case in found.get("cases", ()):
        print(f"{case['id']:36} {', '.join(case['requirements']):24} {case['title']}")
    counts = [f"{len(entries)} {name}" for name, entries in found.items()]
    print(f"\n{', '.join(counts)}")
