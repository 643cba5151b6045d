"""Runs fuzz targets, each in a process of its own, and tells what came out: atheris, with libFuzzer inside.

A run of a target keeps its corpus in ``.fuzz/corpus/NAME``, so that the next one goes on from there; what makes a
target fail is written to ``.fuzz/findings``. With a planted bug it begins with the seeds alone and leaves nothing.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock

from rich.console import Console
from rich.live import Live
from rich.table import Table

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / ".fuzz"
#: octets of an input: messages of interest are short, and short inputs run fast
MAX_INPUT = 2048
#: seconds for one input; beyond that it hangs
MAX_SECONDS = 10
#: megabytes of a process; beyond that a length from the wire drove an allocation
MAX_MEMORY = 1024

# "#12345	NEW    cov: 700 ft: 2300 corp: 123/4567b lim: 100 exec/s: 5000 rss: 46Mb ..."
_PROGRESS = re.compile(r"#(\d+)\s+\w+\s+cov: (\d+) ft: (\d+)")
_ARTIFACT = re.compile(r"Test unit written to (\S+)")
_DONE = re.compile(r"stat::number_of_executed_units: (\d+)")
_RAISED = re.compile(r"^(\w[\w.]*(?:Error|Exception|Broken|Interrupt)?): ?(.*)")


@dataclass
class State:
    """How far a target has come."""

    target: str
    planted: bool
    began: float = field(default_factory=time.monotonic)
    seconds: float = 0.0
    executions: int = 0
    coverage: int = 0
    features: int = 0
    artifact: Path | None = None
    raised: str = ""
    real: bytes = b""  #: with a planted bug: an input that fails without it as well
    status: int | None = None  #: of its process; ``None`` while it runs

    @property
    def found(self) -> bool:
        """Whether an input made the target fail."""
        return self.artifact is not None

    @property
    def good(self) -> bool:
        """Whether it came out as it should: a planted bug is found, else nothing is."""
        return self.found and not self.real if self.planted else not self.found and self.status == 0

    def take(self, line: str) -> None:
        """Read a line of libFuzzer's or of Python's."""
        if progress := _PROGRESS.match(line):
            self.executions, self.coverage, self.features = map(int, progress.groups())
        elif done := _DONE.match(line):
            self.executions = int(done[1])
        elif written := _ARTIFACT.search(line):
            self.artifact = Path(written[1])
        elif line.startswith("ALARM: working on the last Unit") or "out-of-memory" in line:
            self.raised = "takes too long, or too much memory"
        elif not self.raised and self._raising and (raised := _RAISED.match(line)):
            self.raised = f"{raised[1]}: {raised[2]}"[:300]
        self._raising = self._raising or "Uncaught Python exception" in line

    _raising: bool = False

    def __str__(self) -> str:
        figures = f"{self.executions:>9} executions, {self.coverage:>5} edges, {self.features:>6} features"
        text = f"{self.target:<14} {self.seconds:>5.0f} s  {figures}"
        if self.status and not self.found:
            return f"{text}  ended with status {self.status}:\n{self.raised}"
        if self.real:
            return f"{text}  FOUND something that was not planted: {self.raised}\n{'':<14} {self.real!r}"
        if self.planted:
            after = f"found after {self.executions} executions: {self.raised}"
            return f"{text}  {after if self.found else 'NOT FOUND'}"
        if self.found:
            return f"{text}  FOUND {self.raised}\n{'':<14} {self.artifact}"
        return f"{text}  nothing found"


class Fuzzing:
    """A number of targets, some of them at a time."""

    def __init__(self, seconds: int, *, planted: bool, console: Console) -> None:
        self._seconds = seconds
        self._planted = planted
        self._console = console
        self._lock = Lock()
        self._processes: set[subprocess.Popen[str]] = set()
        self._states: dict[str, State] = {}
        self._ending = False

    def run(self, names: Sequence[str], jobs: int) -> list[State]:
        """Run them; each is told as it ends. An interruption ends the processes and is handed on."""
        done: list[State] = []
        pool = ThreadPoolExecutor(jobs)
        try:
            with Live(get_renderable=self._shown, console=self._console, refresh_per_second=2, transient=True):
                for future in as_completed([pool.submit(self._run, name) for name in names]):
                    done.append(future.result())
                    self._console.print(str(done[-1]), highlight=False, markup=False, soft_wrap=True)
        finally:
            self._end()
            pool.shutdown(cancel_futures=True)
        return done

    def _end(self) -> None:
        with self._lock:
            self._ending = True
            for process in self._processes:
                process.send_signal(signal.SIGKILL)

    def _shown(self) -> Table:
        """What runs now, for a terminal."""
        table = Table.grid(padding=(0, 2))
        with self._lock:
            for state in self._states.values():
                passed = f"{time.monotonic() - state.began:.0f} of {self._seconds} s"
                table.add_row(state.target, passed, f"{state.executions} executions", f"{state.features} features")
        return table

    def _run(self, name: str) -> State:
        state = State(name, self._planted)
        with _folders(name, planted=self._planted) as (corpus, seeds, findings):
            options = [
                f"-max_total_time={self._seconds}", f"-max_len={MAX_INPUT}", f"-timeout={MAX_SECONDS}",
                f"-rss_limit_mb={MAX_MEMORY}", "-use_value_profile=1",
                f"-dict={seeds.with_suffix('.dict')}", "-print_final_stats=1", str(corpus), str(seeds),
            ]  # fmt: skip
            path = os.pathsep.join(str(ROOT / part) for part in ("harness", "tests/helpers", "tests/fuzz"))
            with self._lock:
                if self._ending:
                    return state
                process = subprocess.Popen(
                    [sys.executable, str(Path(__file__).with_name("one.py")), name, str(int(self._planted)),
                     str(findings), *options],
                    stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                    errors="replace", env={**os.environ, "PYTHONPATH": path}, start_new_session=True,
                )  # fmt: skip
                self._processes.add(process)
                self._states[name] = state
            said: list[str] = []
            with process:
                for line in process.stdout or ():
                    said = [*said[-8:], line]
                    state.take(line)
            state.status, state.seconds = process.returncode, time.monotonic() - state.began
            if self._planted and state.artifact is not None:
                state.real = _fails(name, state.artifact)
        with self._lock:
            self._processes.discard(process)
            del self._states[name]
        if state.status and not state.found and not self._ending:
            state.raised = "".join(said)
        return state


def _fails(name: str, artifact: Path) -> bytes:
    """The octets of a file, if they make a target fail where no bug is planted."""
    command = [sys.executable, str(Path(__file__).with_name("run.py")), "--target", name, "--input", str(artifact)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    return artifact.read_bytes() if done.returncode else b""


@contextmanager
def _folders(name: str, *, planted: bool) -> Iterator[tuple[Path, Path, Path]]:
    """The folders of a target: its corpus, its seeds (with a dictionary beside them), and where findings go."""
    from targets import TARGETS

    with tempfile.TemporaryDirectory(prefix="fuzz-") as temporary:
        base = Path(temporary) if planted else FOLDER
        corpus, findings, seeds = base / "corpus" / name, base / "findings", Path(temporary) / "seeds"
        for folder in (corpus, findings, seeds):
            folder.mkdir(parents=True, exist_ok=True)
        for number, octets in enumerate(TARGETS[name].seeds()):
            if len(octets) <= MAX_INPUT:
                (seeds / str(number)).write_bytes(octets)
        words = ("".join(f"\\x{octet:02x}" for octet in word) for word in TARGETS[name].tokens)
        seeds.with_suffix(".dict").write_text("".join(f'"{word}"\n' for word in words), encoding="ascii")
        yield corpus, seeds, findings / f"{name}-"
