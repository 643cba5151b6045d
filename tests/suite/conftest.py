"""A lab made of nothing, and benches on it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from cpmspec.evidence.context import ServedUser
from cpmspec.evidence.trace import Trace
from cpmspec.judge.verdict import Finding, Judgement, Verdict
from cpmspec.suite import bench as bench_module
from cpmspec.suite.bench import Bench, BenchSetup
from cpmspec.suite.case import CaseRun
from cpmspec.suite.control import ControlServer, Line, Peer
from cpmspec.sut.profile import Profile

TOKEN = "0123456789abcdef"

PROFILE = {
    "iut": {"name": "nothing", "sip": {"host": "127.0.0.1", "port": 9}},
    "users": {"domain": "example.com", "prefix_on": "on-", "pool_off": ["sip:a@example.com", "sip:b@example.com"]},
    "ixit": {"quiet_period": 0.0, "bye_within": 0.0, "history_within": 0.0, "sip_t1": 0.01},
}


class FakeLab:
    """A control server on a thread of its own; ``asked`` holds every request, ``answers`` the replies by op."""

    def __init__(self) -> None:
        self.asked: list[Line] = []
        self.answers: dict[str, Mapping[str, Any]] = {
            "state": {"gone": None, "stopped": None}, "ping": {"alive": True}, "third-party": {"status": 200},
        }  # fmt: skip
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        ops = ("own", "disown", "policy", "held", "release", "third-party", "store-fault", "sync", "ping", "unowned",
               "iut-gone", "state", "stop")  # fmt: skip
        self._server = ControlServer(TOKEN, dict.fromkeys(ops, self._answer), lambda peer: None)
        self._thread.start()
        self.address = asyncio.run_coroutine_threadsafe(self._server.start(), self._loop).result()

    async def _answer(self, peer: Peer, request: Line) -> Mapping[str, Any] | None:
        self.asked.append(request)
        if request["op"] == "iut-gone":
            self._server.broadcast("iut-gone", time_us=request["time_us"], reason=request["reason"])
        elif request["op"] == "stop":
            self._server.broadcast("stop", reason=request["reason"])
        return self.answers.get(request["op"])

    def push(self, event: str, **fields: Any) -> None:
        """Send an event to every bench."""
        self._loop.call_soon_threadsafe(lambda: self._server.broadcast(event, **fields))

    def ops(self, name: str) -> list[Line]:
        """The requests of one kind."""
        return [request for request in self.asked if request["op"] == name]

    def close(self) -> None:
        """End the thread."""
        asyncio.run_coroutine_threadsafe(self._server.close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class CaseLab:
    """Stands for the lab of a case: users, and a closing visit that a test can give something to do."""

    visited: list[str]
    on_visit: Callable[[CaseLab, ServedUser], Any] | None = None

    def __init__(self, bench: Bench, run: CaseRun) -> None:
        self.bench, self.run = bench, run

    async def user(self, *, history: bool = True) -> ServedUser:
        return await self.bench.take_user(self.run, history=history, establishment="pull")

    async def visit(self, user: ServedUser) -> None:
        type(self).visited.append(user.uri)
        act = type(self).on_visit
        if act is not None:
            await act(self, user)

    async def close(self) -> None:
        pass


def passes(trace: Trace) -> Judgement:
    """A judge that finds nothing wrong."""
    finding = Finding("DLV-3.1", Verdict.PASS, "fine")
    return Judgement(trace.context.case, Verdict.PASS, "fine", None, trace.context.closed_us is not None, (finding,))


MakeBench = Callable[..., Bench]


@pytest.fixture
def fake_lab() -> Iterator[FakeLab]:
    lab = FakeLab()
    yield lab
    lab.close()


@pytest.fixture
def case_lab(monkeypatch: pytest.MonkeyPatch) -> type[CaseLab]:
    monkeypatch.setattr(bench_module, "Lab", CaseLab)
    monkeypatch.setattr(CaseLab, "visited", [], raising=False)
    monkeypatch.setattr(CaseLab, "on_visit", None)
    return CaseLab


@pytest.fixture
def make_bench(fake_lab: FakeLab, case_lab: type[CaseLab], tmp_path: Path) -> Iterator[MakeBench]:
    made: list[Bench] = []

    def make(judge: Callable[[Trace], Judgement] = passes, pending: Callable[[Trace], int] = lambda trace: 0) -> Bench:
        setup = BenchSetup(
            control=fake_lab.address, token=TOKEN, host="127.0.0.1", access={"udp": ("127.0.0.1", 9)},
            endpoints=("udp",), hosts=("127.0.0.1",), out=str(tmp_path), run="r", seed=1, attached=True,
        )  # fmt: skip
        bench = Bench(setup, Profile.from_json(PROFILE), judge, pending)
        bench.start()
        made.append(bench)
        return bench

    yield make
    for bench in made:
        bench.stop()
