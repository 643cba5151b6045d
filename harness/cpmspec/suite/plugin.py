"""The pytest plug-in. It does nothing unless conformance cases (``@purpose``) are run.

A session is a run if it collected such cases; with xdist, whose controller collects nothing, if an argument lies in a
suite of cases (the package's own ``testcases``, or a folder with the file ``cpmspec-suite``), or if any
``--cpmspec-*`` option is given. Then the controller starts the lab and the IUT, the workers run the cases, and
run.jsonl, evidence and reports are written to the run's folder.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cpmspec.suite import selection
from cpmspec.suite.spec import OUTPUT_LINES, REPORT_VERDICT


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of a run."""
    group = parser.getgroup("cpmspec", "conformance of deferred message delivery")
    group.addoption("--cpmspec-profile", metavar="FILE", help="profile of the IUT (default: the reference PF)")
    group.addoption("--cpmspec-out", metavar="DIR", help="folder of the run (default: cpmspec-runs/<UTC time>)")
    group.addoption("--cpmspec-parts", metavar="FILE", help="handed to the IUT's command as --parts FILE")
    group.addoption("--cpmspec-seed", metavar="N", type=int, help="seed of the run (default: a fresh one)")
    for name, what in (("requirement", "cases about this requirement"), ("case", "this case, or all of this purpose")):
        group.addoption(
            f"--cpmspec-{name}", metavar="ID", action="append", default=[], help=f"run only {what}; may be repeated"
        )


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """With xdist, the controller of a run takes its part now: the workers have to be told where the lab is."""
    if _is_distributed(config) and selection.run_is_wanted(config):
        from cpmspec.suite.controller import Controller  # late: who runs no cases does not pay for it

        config.pluginmanager.register(Controller(config, None))


@pytest.fixture(name="lab")
def lab_fixture() -> None:
    """The place of the lab among a case's arguments; the case gets its own :class:`cpmspec.suite.lab.Lab`."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Find the cases among the items, select and order them."""
    selection.mark_cases(items)
    option = config.option
    kept, others = selection.select(items, option.cpmspec_requirement, option.cpmspec_case)
    if others:
        config.hook.pytest_deselected(items=others)
        items[:] = kept
    selection.order(items)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_finish(session: pytest.Session) -> None:
    """Where items run, take that part if there are cases among them: in a worker, or without xdist both at once."""
    config = session.config
    if _is_distributed(config) or config.option.collectonly:
        return
    cases = [spec.id for item in session.items if (spec := selection.spec_of(item)) is not None]
    given = json.loads(getattr(config, "workerinput", {}).get("cpmspec", "null"))
    if given is not None:
        groups = {item.nodeid: "waits" for item in session.items if (spec := selection.spec_of(item)) and spec.waits}
        _tell(groups, Path(given["groups_file"]), given["setup"]["worker"])
        _tell(cases, Path(given["cases_file"]), given["setup"]["worker"])
    if not cases:
        return
    from cpmspec.suite.controller import Controller
    from cpmspec.suite.worker import Worker

    if hasattr(config, "workerinput"):
        output: dict[str, Any] = config.workeroutput  # type: ignore[attr-defined]
        worker = Worker(config, lambda lines: output.update({OUTPUT_LINES: json.dumps(lines)}))
        worker.given = given
        config.pluginmanager.register(worker)
    else:
        worker = Worker(config, lambda lines: controller.final(lines))
        controller = Controller(config, worker)
        config.pluginmanager.register(worker)
        config.pluginmanager.register(controller)


def pytest_report_teststatus(report: pytest.TestReport) -> tuple[str, str, Any] | None:
    """Show an inconclusive case and an error of the harness as what they are."""
    verdict = getattr(report, REPORT_VERDICT, None)
    if not report.failed or verdict not in ("inconc", "error"):
        return None
    letter, word = {"inconc": ("I", "INCONC"), "error": ("E", "ERROR")}[verdict]
    return "error", letter, word


def _is_distributed(config: pytest.Config) -> bool:
    """Whether this process is a controller of xdist."""
    return config.getoption("dist", "no") != "no" and bool(config.getoption("tx", None))


def _tell(found: list[str] | dict[str, str], path: Path, worker: str) -> None:
    """Write down cases or groups, before xdist tells the controller that this worker has collected."""
    temporary = path.with_name(f".{path.name}.{worker}")
    temporary.write_text(json.dumps(found), encoding="utf-8")
    temporary.replace(path)
