"""Tells how far a run is: a progress bar on a terminal, plain lines elsewhere. It reads what the run writes."""

from __future__ import annotations

import json
import sys
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import pytest

#: seconds between two looks at run.jsonl
INTERVAL = 0.25


class Tail:
    """The complete lines that were added to a file since the last look."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[bytes] | None = None
        self._rest = b""

    def lines(self) -> list[dict[str, Any]]:
        """The new lines; none while the file does not exist."""
        if self._file is None:
            if not self._path.is_file():
                return []
            self._file = self._path.open("rb")
        *complete, self._rest = (self._rest + self._file.read()).split(b"\n")
        return [json.loads(line) for line in complete if line]

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()


@dataclass(slots=True)
class State:
    """How far a run is."""

    total: int = 0
    verdicts: dict[str, str] = field(default_factory=dict)  #: the last verdict of each case
    final: set[str] = field(default_factory=set)  #: cases that were judged for the last time

    def take(self, line: Mapping[str, Any]) -> None:
        """Read one line of run.jsonl."""
        if line["kind"] == "header":
            self.total = len(line["cases"])
        elif line["kind"] == "case":
            self.verdicts[line["case"]] = line["verdict"]
            if line["stage"] == "final":
                self.final.add(line["case"])

    @property
    def text(self) -> str:
        """One line for a reader."""
        if not self.total:
            return "starting the lab and the IUT"
        counts = Counter(self.verdicts.values())
        shown = ", ".join(f"{counts[verdict]} {verdict}" for verdict in ("pass", "fail", "inconc", "none", "error")
                          if counts[verdict])  # fmt: skip
        if len(self.verdicts) >= self.total:
            return f"closing: waiting for what may still come, {len(self.final)} of {self.total} judged ({shown})"
        return f"{len(self.verdicts)} of {self.total} cases run" + (f" ({shown})" if shown else "")


class Display(Protocol):
    """Shows the state of a run."""

    def update(self, state: State) -> None:
        """The state may have changed."""

    def close(self) -> None:
        """The run is over."""


class PlainLines:
    """A line at each tenth of the way, for a log."""

    def __init__(self) -> None:
        self._shown: tuple[object, ...] = ()

    def update(self, state: State) -> None:
        """Print a line if a tenth of the way was passed, or the closing has begun."""
        tenth = 10 * len(state.verdicts) // state.total if state.total else -1
        if self._shown != (tenth,):
            self._shown = (tenth,)
            print(state.text, flush=True)

    def close(self) -> None:
        """Nothing to do."""


class Bar:
    """A bar that redraws itself."""

    def __init__(self) -> None:
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        self._progress = Progress(
            BarColumn(bar_width=24), TextColumn("{task.description}", markup=False), TimeElapsedColumn(), transient=True
        )
        self._task = self._progress.add_task("", total=None)
        self._progress.start()

    def update(self, state: State) -> None:
        """Redraw."""
        # running is three quarters of the way, the closing the last one
        done = 3 * len(state.verdicts) + len(state.final)
        self._progress.update(self._task, total=4 * state.total or None, completed=done, description=state.text)

    def close(self) -> None:
        """Leave the terminal as it was."""
        self._progress.stop()


class Watcher:
    """A plug-in for pytest: shows the progress while a session lasts, and keeps what goes wrong outside of cases."""

    def __init__(self, out: Path, *, show: bool) -> None:
        self.messages: list[str] = []  #: problems of pytest itself: files that cannot be collected
        self._tail = Tail(out / "run.jsonl")
        self._state = State()
        self._show = show
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def pytest_sessionstart(self) -> None:
        """Begin to watch."""
        if self._show:
            self._thread = threading.Thread(target=self._watch, name="progress", daemon=True)
            self._thread.start()

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Keep why a file could not be collected."""
        if report.failed:
            self.messages.append(f"{report.nodeid}: cannot be collected:\n{report.longreprtext}")

    def pytest_unconfigure(self) -> None:
        """Stop to watch."""
        self._over.set()
        if self._thread is not None:
            self._thread.join()
        self._tail.close()

    def _watch(self) -> None:
        display: Display = Bar() if sys.stdout.isatty() else PlainLines()
        over = False
        while not over:
            over = self._over.wait(INTERVAL)
            for line in self._tail.lines():
                self._state.take(line)
            display.update(self._state)
        display.close()
