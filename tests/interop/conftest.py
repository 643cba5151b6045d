"""Real peers: programs that nobody of this project wrote. What a failed test's peers said is part of its report."""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
from collections.abc import Generator, Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from peers import Peers
from runs import Run, run_suite

_PEERS = pytest.StashKey[Peers]()


@pytest.fixture
def peers(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Peers]:
    """Starts peers on free loopback ports and ends them by their ids."""
    all_of_them = Peers(tmp_path / "peers")
    request.node.stash[_PEERS] = all_of_them
    yield all_of_them
    all_of_them.close()


@pytest.fixture(scope="session")
def whole_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """All cases against the reference PF: run once in a session, by the first worker of pytest-xdist that wants it."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "whole-run"
    folder.mkdir(exist_ok=True)
    kept = folder / "run.json"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the others wait here; a worker that is killed lets it go
        if not kept.exists():
            done = run_suite(Path(tempfile.mkdtemp(dir=folder)) / "run", "-n", "auto")
            fresh = kept.with_suffix(".new")
            fresh.write_text(json.dumps(asdict(done), default=str), encoding="utf-8")
            fresh.replace(kept)
    said = json.loads(kept.read_text(encoding="utf-8"))
    run = Run(**{**said, "folder": Path(said["folder"])})
    if run.status != 0 or run.footer["verdict"] != "conformant":
        pytest.fail(
            f"the whole run ended with {run.status}:\n{run.output[-4000:]}\n{run.errors[-4000:]}", pytrace=False
        )
    return run


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the end of each peer's log with a failure; the whole files stay in pytest's temporary folder."""
    report = yield
    known = item.stash.get(_PEERS, None)
    if report.failed and known is not None:
        report.sections.append(("peers", known.report()))
    return report
