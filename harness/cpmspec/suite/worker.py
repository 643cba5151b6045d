"""The plug-in's part in a process that runs cases: an xdist worker, or pytest itself without xdist."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest

from cpmspec.evidence.trace import Trace
from cpmspec.judge.catalogue import Catalogue
from cpmspec.judge.catalogue import load as load_catalogue
from cpmspec.judge.verdict import Judgement, Verdict
from cpmspec.suite import allure_results
from cpmspec.suite.bench import Bench, BenchSetup, Entry
from cpmspec.suite.case import CaseRun, not_run_line
from cpmspec.suite.outcome import failure_text
from cpmspec.suite.purpose import purpose_of
from cpmspec.suite.runlog import now_iso
from cpmspec.suite.selection import NEEDS, parameters_of, spec_of
from cpmspec.suite.spec import REPORT_LINE, REPORT_VERDICT, CaseSpec
from cpmspec.sut.profile import Profile, load_profile
from cpmspec.sut.resources import fixtures

LINE = pytest.StashKey[dict[str, Any]]()


def windows(trace: Trace) -> int:
    """Until when, in microseconds, a window of the trace stays open in which something may still have to come."""
    from cpmspec.judge.windows import pending_until_us

    return pending_until_us(trace)


def make_bench(setup: BenchSetup, profile: Profile, catalogue: Catalogue) -> Bench:
    """The bench of a worker, with the suite's own judge."""
    from cpmspec.judge.judge import judge

    def judged(trace: Trace) -> Judgement:
        return judge(trace, catalogue)

    return Bench(setup, profile, judged, windows)


class Worker:
    """Runs cases on the bench and tells pytest and the controller how they ended.

    ``given`` holds ``setup`` and ``profile_file``, ``cases_file``; without xdist it is there only when the run has
    started. ``on_final`` gets the lines of the closing.
    """

    def __init__(self, config: pytest.Config, on_final: Callable[[list[dict[str, Any]]], None]) -> None:
        self._config = config
        self._on_final = on_final
        self._bench: Bench | None = None
        self._items: dict[str, pytest.Item] = {}
        self.given: dict[str, Any] | None = None
        self.setup: BenchSetup
        self.profile: Profile
        self.catalogue: Catalogue

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, object, object]:
        """Run the items, then hold the closing."""
        self._items = {spec.id: item for item in session.items if (spec := spec_of(item)) is not None}
        if self.given is None or not self._items or session.config.option.collectonly:
            return (yield)
        self._open(self.given)
        quick = True
        try:
            result = yield
            quick = False
            return result
        except (session.Failed, session.Interrupted) as stop:
            quick = not isinstance(stop, session.Failed)
            raise
        finally:
            self._close(session, quick=quick)

    @pytest.hookimpl(tryfirst=True)
    def pytest_pyfunc_call(self, pyfuncitem: pytest.Function) -> object:
        """Run a case on the bench; any other test function is left to pytest."""
        spec = spec_of(pyfuncitem)
        if spec is None:
            return None
        if self._bench is None:
            pytest.fail(
                "a conformance case needs a lab: name the suite's folder, or give --cpmspec-profile", pytrace=False
            )
        started = now_iso()
        if reason := self._not_applicable(pyfuncitem):
            self._skip(pyfuncitem, spec, reason, started)
        for sibling in self._siblings(pyfuncitem, spec):
            self._begin(self._bench, sibling)
        entry = self._bench.result(spec.id)
        if entry.not_applicable is not None:
            self._skip(pyfuncitem, spec, entry.not_applicable, started)
        line = entry.run.line("provisional", self.setup.worker)
        pyfuncitem.stash[LINE] = line
        allure_results.label(self._config, spec)
        self._raise_unless_passed(entry)
        return True

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
        """Let the report of a case's call carry its line."""
        report = yield
        line = item.stash.get(LINE, None)
        if line is not None and call.when == "call":
            setattr(report, REPORT_LINE, json.dumps(line))
            setattr(report, REPORT_VERDICT, line["verdict"])
        return report

    # --- helpers -----------------------------------------------------------------------------------------------------

    def _open(self, given: dict[str, Any]) -> None:
        self.setup = BenchSetup.from_json(given["setup"])
        self.profile = load_profile(Path(given["profile_file"]))
        self.catalogue = load_catalogue(fixtures() / "catalogue")
        self._bench = make_bench(self.setup, self.profile, self.catalogue)
        self._bench.start()

    def _not_applicable(self, item: pytest.Item) -> str | None:
        flags = self.profile.flags
        needs = item.stash[NEEDS]
        if unknown := [name for name in needs if name not in flags]:
            return pytest.fail(f"unknown PICS {', '.join(unknown)}, expected some of {', '.join(flags)}", pytrace=False)
        missing = [name for name in needs if not flags[name]]
        return f"the IUT does not declare {', '.join(missing)} (PICS)" if missing else None

    def _skip(self, item: pytest.Item, spec: CaseSpec, reason: str, started: str) -> None:
        item.stash[LINE] = not_run_line(spec, reason, started, self.setup.worker)
        pytest.skip(f"not applicable: {reason}")

    def _siblings(self, item: pytest.Function, spec: CaseSpec) -> list[pytest.Function]:
        """The cases that run side by side with this one: all that wait, if they are on one worker."""
        together = self.setup.count == 1 or hasattr(self._config, "workerinput")
        if not spec.waits or not together:
            return [item]
        found = [item]
        for other in self._items.values():
            other_spec = spec_of(other)
            if other_spec is None or not isinstance(other, pytest.Function) or other is item:
                continue
            if other_spec.waits and self._not_applicable(other) is None:
                found.append(other)
        return found

    def _begin(self, bench: Bench, item: pytest.Function) -> None:
        spec = spec_of(item)
        assert spec is not None
        assert purpose_of(item.obj) is not None
        bench.begin(spec, item.obj, parameters_of(item))

    def _raise_unless_passed(self, entry: Entry) -> None:
        judgement = entry.run.judgement
        assert judgement is not None
        if judgement.verdict.rank > Verdict.PASS.rank:
            pytest.fail(self._text(entry.run, judgement), pytrace=False)

    def _text(self, run: CaseRun, judgement: Judgement) -> str:
        evidence = str(Path(self.setup.out) / "cases" / run.spec.id)
        text = failure_text(judgement, run.spec.purposes, self.catalogue, evidence)
        return f"{text}\n{run.crash}" if run.crash else text

    # --- the closing -------------------------------------------------------------------------------------------------

    def _close(self, session: pytest.Session, *, quick: bool) -> None:
        if self._bench is None:
            return
        before = {case: entry.run.judgement for case, entry in self._bench.entries.items()}
        interrupt: KeyboardInterrupt | None = None
        try:
            runs = self._bench.close(quick=quick)
        except KeyboardInterrupt as error:
            interrupt = error
            runs = self._bench.close(quick=True)
        lines = []
        for run in runs:
            final = run.closed_us is not None
            line = run.line("final" if final else "provisional", self.setup.worker)
            lines.append(line)
            if final:
                allure_results.finish(self._config, line, Path(self.setup.out))
                self._report_if_worse(session, run, before.get(run.spec.id))
        self._bench.stop()
        self._bench = None
        self._on_final(lines)
        if interrupt is not None:
            raise interrupt

    def _report_if_worse(self, session: pytest.Session, run: CaseRun, before: Judgement | None) -> None:
        after = run.judgement
        if after is None or before is None or after.verdict.rank <= max(before.verdict.rank, Verdict.PASS.rank):
            return
        item = self._items[run.spec.id]
        report = pytest.TestReport(
            nodeid=item.nodeid, location=item.location, keywords={}, outcome="failed",
            longrepr=f"after the closing: {self._text(run, after)}", when="teardown", sections=[], duration=0.0,
            start=run.ended_us / 1e6, stop=(run.closed_us or run.ended_us) / 1e6,
        )  # fmt: skip
        setattr(report, REPORT_VERDICT, after.verdict.value)
        _point_xdist_at(session, item)
        self._config.hook.pytest_runtest_logreport(report=report)


def _point_xdist_at(session: pytest.Session, item: pytest.Item) -> None:
    """Let xdist's worker, if this is one, send a report on an item that is not the one it ran last."""
    for plugin in session.config.pluginmanager.get_plugins():
        if type(plugin).__name__ == "WorkerInteractor":
            plugin.item_index = session.items.index(item)
