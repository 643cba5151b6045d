"""Real peers: programs that nobody of this project wrote. What a failed test's peers said is part of its report."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from peers import Peers

_PEERS = pytest.StashKey[Peers]()


@pytest.fixture
def peers(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Peers]:
    """Starts peers on free loopback ports and ends them by their ids."""
    all_of_them = Peers(tmp_path / "peers")
    request.node.stash[_PEERS] = all_of_them
    yield all_of_them
    all_of_them.close()


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
