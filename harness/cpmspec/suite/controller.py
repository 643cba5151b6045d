"""The plug-in's part in the process that controls a run: it starts and ends lab and IUT, and writes run.jsonl."""

from __future__ import annotations

import json
import secrets
from collections.abc import Generator
from typing import Any

import pytest

from cpmspec.suite.run import CASES_FILE, GROUPS_FILE, Run, RunError, RunOptions, default_out, default_profile
from cpmspec.suite.selection import run_is_wanted, selection_text, spec_of
from cpmspec.suite.spec import OUTPUT_LINES, REPORT_LINE
from cpmspec.suite.worker import Worker
from cpmspec.sut import resources


class Controller:
    """Owns the run. With xdist it is told by hooks of its nodes; without, it hands the run to ``worker`` itself."""

    def __init__(self, config: pytest.Config, worker: Worker | None) -> None:
        self._config = config
        self._worker = worker
        self.run: Run | None = None

    @property
    def distributed(self) -> bool:
        """Whether xdist runs the items in other processes."""
        return self._worker is None

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self, session: pytest.Session) -> None:
        """With xdist, start before the workers do: they need to know where the lab is."""
        if self.distributed and run_is_wanted(self._config):
            self._start()
            self._config.option.clean_alluredir = False  # done by now; a worker must not do it again

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, object, object]:
        """Without xdist, start once it is known that there are cases."""
        if self._worker is not None and not session.config.option.collectonly:
            cases = [spec.id for item in session.items if (spec := spec_of(item)) is not None]
            if cases and not session.testsfailed:
                run = self._start()
                run.head(cases)
                self._worker.given = given(run, "main", 0)
        return (yield)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_make_scheduler(self, config: pytest.Config, log: Any) -> Any:
        """Keep the cases of a module that wait on one worker."""
        if self.run is None:
            return None
        from cpmspec.suite.scheduling import GroupScheduling  # late: xdist is there, or this was not called

        return GroupScheduling(config, log, self.run.out / GROUPS_FILE)

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Hand a new worker what it needs."""
        if self.run is not None:
            name = node.gateway.id
            number = int("".join(mark for mark in name if mark.isdigit()) or "0")
            node.workerinput["cpmspec"] = json.dumps(given(self.run, name, number))

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, node: Any, ids: list[str]) -> None:
        """The first worker that has collected tells which cases there are."""
        if self.run is not None:
            cases = json.loads((self.run.out / CASES_FILE).read_text(encoding="utf-8"))
            if cases:
                self.run.head(cases)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: object) -> None:
        """A worker is done: take the lines of its closing, or note that it crashed."""
        if self.run is None:
            return
        output = getattr(node, "workeroutput", None) or {}
        self.final(json.loads(output.get(OUTPUT_LINES, "[]")))
        if error and not self.run.interrupted:
            self.run.troubles.append(f"worker {node.gateway.id} ended: {error}")

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Write the line that a case's report carries."""
        line = getattr(report, REPORT_LINE, None)
        if line is not None and self.run is not None:
            self.run.case(json.loads(line))

    def pytest_keyboard_interrupt(self) -> None:
        """Ctrl-C: nothing waits any more."""
        if self.run is not None:
            self.run.interrupt("the run was interrupted")

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Write the footer, and let a requirement that broke beside every purpose fail the session too."""
        if self.run is None:
            return
        if exitstatus == pytest.ExitCode.INTERNAL_ERROR:
            self.run.troubles.append("pytest had an internal error")
        self.run.finish()
        conclusion = self.run.conclusion
        if conclusion is not None:
            if conclusion.exit and session.exitstatus == pytest.ExitCode.OK:
                session.exitstatus = pytest.ExitCode.TESTS_FAILED
            render(self.run)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """The verdict of the run and where its report lies."""
        if self.run is None or self.run.conclusion is None:
            return
        conclusion = self.run.conclusion
        terminalreporter.section("cpmspec")
        for trouble in self.run.troubles:
            terminalreporter.line(trouble)
        counts = ", ".join(f"{count} {verdict}" for verdict, count in conclusion.counts.items())
        terminalreporter.line(f"verdict: {conclusion.verdict} (cases: {counts or 'none'})")
        broken = [name for name, verdict in conclusion.requirements.items() if verdict in ("fail", "error")]
        if broken:
            terminalreporter.line(f"broken: {', '.join(broken)}")
        terminalreporter.line(f"run: {self.run.out}")

    def pytest_unconfigure(self) -> None:
        """Whatever happened: nothing that was started outlives the session."""
        if self.run is not None:
            self.run.stop()

    def final(self, lines: list[dict[str, Any]]) -> None:
        """Write lines of a closing."""
        if self.run is not None:
            for line in lines:
                if line["stage"] == "final" or line["case"] not in self.run.lines:
                    self.run.case(line)

    def _start(self) -> Run:
        self.run = Run(run_options(self._config))
        try:
            self.run.start()
        except RunError as error:
            raise pytest.UsageError(str(error)) from None
        return self.run


def given(run: Run, worker: str, index: int) -> dict[str, Any]:
    """What a worker is handed, as plain JSON."""
    return {
        "setup": run.worker_setup(worker, index),
        "profile_file": str(run.options.profile),
        "cases_file": str(run.out / CASES_FILE),
        "groups_file": str(run.out / GROUPS_FILE),
    }


def run_options(config: pytest.Config) -> RunOptions:
    """The options of the command line; files are relative to where pytest was started."""
    option, base = config.option, config.invocation_params.dir
    return RunOptions(
        profile=(base / option.cpmspec_profile).resolve() if option.cpmspec_profile else default_profile(),
        out=base / (option.cpmspec_out or default_out()),
        parts=(base / option.cpmspec_parts).resolve() if option.cpmspec_parts else None,
        seed=secrets.randbits(32) if option.cpmspec_seed is None else option.cpmspec_seed,
        workers=max(1, len(config.getoption("tx", None) or ())),
        selection=selection_text(config),
    )


def render(run: Run) -> None:
    """Write report.html and junit.xml beside run.jsonl."""
    from cpmspec.report import ReportError  # late: templates are loaded once, at the end
    from cpmspec.report import render as render_reports

    try:
        render_reports(run.out, resources.reports(), run.catalogue)
    except (OSError, ReportError) as error:
        run.troubles.append(f"the report could not be written: {error}")
