"""A worker's bench: one thread with one event loop, on which all its cases run, from the first one to the closing."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import hashlib
import resource
import threading
import traceback
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from cpmspec.evidence.context import ServedUser
from cpmspec.evidence.pcapng import write as write_evidence
from cpmspec.evidence.trace import Frame, Trace
from cpmspec.judge.verdict import Judgement, Verdict
from cpmspec.net.clock import now_us
from cpmspec.net.pulse import Pulse
from cpmspec.net.sip import Hop, SipError
from cpmspec.net.sip_ping import answers_options
from cpmspec.suite.case import CaseRun, Inconclusive, with_error
from cpmspec.suite.control import ControlClient, ControlError, Line, frame_from_json, frame_to_json
from cpmspec.suite.lab import Lab
from cpmspec.suite.spec import CaseSpec
from cpmspec.suite.users import NotApplicable, UserBook
from cpmspec.sut.profile import Profile

Judge = Callable[[Trace], Judgement]
Pending = Callable[[Trace], int]
CaseFunction = Callable[..., Coroutine[Any, Any, Any]]
T = TypeVar("T")

#: what an actor meets when the peer is silent, gone or refuses a connection: the IUT's doing, not ours
PEER_TROUBLE = (ConnectionError, TimeoutError, SipError)
_OF_THE_IUT = (*PEER_TROUBLE, Inconclusive)

CASE_LIMIT = 1800.0  #: seconds after which a case that never ends is a mistake of ours
PING_TIMEOUT = 5.0  #: seconds that the IUT has to answer an OPTIONS with anything
VISITS = 128  #: closing visits under way at the same time
FILES = 8192  #: open files that the bench asks for: each case's client listens until the closing


@dataclass(frozen=True, slots=True)
class BenchSetup:
    """What a worker must know of the run: plain JSON, handed from the controller to each worker."""

    control: tuple[str, int]
    token: str
    host: str  #: where clients and originators listen
    access: Mapping[str, tuple[str, int]]  #: where they send to, by the leg between core and IUT
    endpoints: tuple[str, ...]
    hosts: tuple[str, ...]
    out: str
    run: str
    seed: int
    attached: bool
    worker: str = "main"
    index: int = 0
    count: int = 1

    def to_json(self) -> dict[str, Any]:
        """A plain JSON object."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> BenchSetup:
        """The inverse of :meth:`to_json`."""
        plain = dict(value)
        plain["control"] = (plain["control"][0], plain["control"][1])
        plain["access"] = {key: (host, port) for key, (host, port) in plain["access"].items()}
        plain["endpoints"], plain["hosts"] = tuple(plain["endpoints"]), tuple(plain["hosts"])
        return cls(**plain)


@dataclass(slots=True)
class Entry:
    """A case on the bench: its record, its lab, and whether it turned out not to apply."""

    run: CaseRun
    lab: Lab | None = None
    not_applicable: str | None = None
    closed: bool = False
    finished: asyncio.Event = field(default_factory=asyncio.Event)


class Bench:
    """Runs the cases of one worker. Public methods without ``async`` are for the worker's main thread.

    ``judge`` and ``pending`` (until when windows of a trace stay open) are given, so that a test can replace them.
    """

    def __init__(self, setup: BenchSetup, profile: Profile, judge: Judge, pending: Pending) -> None:
        self.setup = setup
        self.profile = profile
        self.users = UserBook(profile, worker=setup.worker, index=setup.index, count=setup.count, run=setup.run)
        self.access = setup.access
        self.host = setup.host
        self.entries: dict[str, Entry] = {}
        self._judge, self._pending = judge, pending
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="cpmspec-bench", daemon=True)
        self._control = ControlClient(self._on_event, self._on_lost)
        self._pulse = Pulse()
        self._gone: Line | None = None
        self._stopped: str | None = None
        self._halt = asyncio.Event()
        self._active: dict[asyncio.Task[Any], CaseRun] = {}
        self._started: dict[str, concurrent.futures.Future[Entry]] = {}

    # --- from the main thread ----------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the thread and connect to the lab.

        :raises OSError, ControlError: the lab is not there.
        """
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
        if soft < wanted:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        self._thread.start()
        self.wait(self._connect())

    def wait(self, step: Coroutine[Any, Any, T]) -> T:
        """Run a step on the bench's loop and wait for it."""
        return asyncio.run_coroutine_threadsafe(step, self._loop).result()

    def begin(self, spec: CaseSpec, function: CaseFunction, parameters: Mapping[str, Any]) -> None:
        """Start a case; nothing happens if it was started already."""
        if spec.id not in self._started:
            step = self._run(spec, function, parameters)
            self._started[spec.id] = asyncio.run_coroutine_threadsafe(step, self._loop)

    def result(self, case: str) -> Entry:
        """Wait for a case that was started; it is judged provisionally and its evidence is written."""
        return self._started[case].result()

    def close(self, *, quick: bool = False) -> list[CaseRun]:
        """The closing: wait, visit each user once, judge a last time. The cases that were judged, in order.

        ``quick`` (an interrupted run) only ends what is under way; the verdicts stay provisional.
        """
        if quick:
            self._loop.call_soon_threadsafe(self._stop, "the run was interrupted")
        for future in self._started.values():
            with contextlib.suppress(concurrent.futures.CancelledError):
                future.result()
        entries = [entry for entry in self.entries.values() if entry.not_applicable is None]
        if not quick:
            self.wait(self._close_all(entries))
        return [entry.run for entry in entries if entry.run.judgement is not None]

    def stop(self) -> None:
        """End the thread."""
        if self._thread.is_alive():
            self.wait(self._leave())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
        self._loop.close()

    # --- for the labs, on the loop -----------------------------------------------------------------------------------

    @property
    def default_transport(self) -> str:
        """The transport between core and IUT where a case does not choose: UDP, or the first that both have."""
        legs = [key for key in self.setup.endpoints if key in self.access]
        return "udp" if "udp" in legs or not legs else legs[0].rstrip("6")

    def require_endpoint(self, transport: str, family: int) -> None:
        """Check that the IUT listens there, and that the core can reach it so.

        :raises NotApplicable: it does not.
        """
        key = transport + ("6" if family == 6 else "")
        if key not in self.setup.endpoints:
            raise NotApplicable(f"the IUT does not listen on {key}, it has {', '.join(self.setup.endpoints)}")
        if key not in self.access:
            raise NotApplicable(f"the outside core has no access for the leg {key}, it has {', '.join(self.access)}")

    def nonce(self, case: str, number: int) -> str:
        """Text that differs for each message and is the same in every run with the same seed."""
        return hashlib.sha256(f"{self.setup.seed} {case} {number}".encode()).hexdigest()[:16]

    async def lab_call(self, op: str, **fields: Any) -> Line:
        """Ask the lab.

        :raises Inconclusive: it is gone (blame environment).
        """
        try:
            return await self._control.call(op, **fields)
        except ControlError as error:
            raise Inconclusive("environment", str(error)) from error

    async def own(self, run: CaseRun, *uris: str, accounts: tuple[str, ...] = ()) -> None:
        """Have the lab send what concerns these users and accounts to a case."""
        await self.lab_call("own", case=run.spec.id, users=list(uris), accounts=list(accounts))

    async def take_user(self, run: CaseRun, *, history: bool, establishment: str) -> ServedUser:
        """A user for a case; one of a static pool is drained first.

        :raises NotApplicable: the profile has none of that kind.
        """
        taken = await self.users.take(run.spec.id, history=history, establishment=establishment)
        if taken.previous is not None and (before := self.entries.get(taken.previous)) is not None:
            await before.finished.wait()
            await self._close_one(before)
        elif taken.drain:
            await self._drain(taken.user)
        run.users.append(taken.user)
        await self.own(run, taken.user.uri, accounts=(taken.user.account,))
        return taken.user

    async def alive(self) -> bool:
        """Whether the IUT answers anything at all; if not, it is gone for the whole run."""
        if self._gone is None and not (await self.lab_call("ping", timeout=PING_TIMEOUT))["alive"]:
            await self.lab_call("iut-gone", time_us=now_us(), reason="the IUT answers nothing, not even OPTIONS")
        return self._gone is None

    async def core_alive(self, access: Hop) -> bool:
        """Whether the outside core answers anything at all; if not, nothing can be decided in the run any more."""
        host, domain = self.host, self.profile.users.domain
        alive = await answers_options(
            access, domain=domain, host=host, t1=self.profile.ixit.sip_t1, within=PING_TIMEOUT
        )
        if not alive and self._stopped is None:
            await self.lab_call("stop", reason="the outside core answers nothing, not even OPTIONS")
        return alive

    # --- a case ------------------------------------------------------------------------------------------------------

    async def _run(self, spec: CaseSpec, function: CaseFunction, parameters: Mapping[str, Any]) -> Entry:
        run = CaseRun(spec, self.profile, self.setup.hosts)
        entry = self.entries[spec.id] = Entry(run)
        entry.lab = Lab(self, run)
        run.started_us = now_us()
        if self._halt.is_set():
            self._blame_iut(run)
            self._blame_end(run)
        else:
            await self._perform(entry, function(lab=entry.lab, **parameters))
        run.ended_us = now_us()
        await self.users.release(spec.id)
        if entry.not_applicable is None:
            await self._judged(entry)
        entry.finished.set()
        return entry

    async def _perform(self, entry: Entry, body: Coroutine[Any, Any, Any]) -> None:
        run = entry.run
        task = asyncio.ensure_future(body)
        self._active[task] = run
        _, late = await asyncio.wait({task}, timeout=CASE_LIMIT)
        del self._active[task]
        if late:
            task.cancel()
            await asyncio.wait({task})
            run.crashed(f"TimeoutError: {run.spec.id} did not end within {CASE_LIMIT:g} s")
        elif task.cancelled():
            self._blame_end(run)
        elif (error := task.exception()) is not None:
            self._take_error(entry, error)
        if entry.not_applicable is None and run.crash is None and not run.heard():
            await self._look_after_iut()
        if self._gone is not None:
            self._blame_iut(run)

    async def _look_after_iut(self) -> None:
        """Nothing came from the IUT: does it still live?"""
        if self._gone is None and self._stopped is None:
            with contextlib.suppress(Inconclusive):
                await self.alive()

    def _take_error(self, entry: Entry, error: BaseException) -> None:
        """What the end of a case by an exception means."""
        if isinstance(error, NotApplicable):
            entry.not_applicable = error.reason
        elif isinstance(error, Inconclusive):
            entry.run.abort(error.blame, error.reason)
        elif isinstance(error, PEER_TROUBLE):
            entry.run.abort("iut", f"{type(error).__name__}: {error}")
        else:
            entry.run.crashed("".join(traceback.format_exception(error)))

    def _blame_iut(self, run: CaseRun) -> None:
        if self._gone is not None:
            run.iut_gone_us = self._gone["time_us"]
            run.abort("iut", self._gone["reason"])

    def _blame_end(self, run: CaseRun) -> None:
        if self._gone is None:
            run.abort("environment", self._stopped or "the case was cancelled")

    async def _judged(self, entry: Entry) -> None:
        """Judge what is there and write it down; mistakes of ours make the verdict ``error``."""
        run = entry.run
        late = [run.read_late_us, self._pulse.worst_us(run.started_us)]
        if self._control_alive:
            with contextlib.suppress(Inconclusive):
                late.append((await self.lab_call("sync", since_us=run.started_us)).get("late_us", 0))
        run.read_late_us = max(late)
        trace, crash = await self._guarded(lambda: run.judged(self._judge))
        if crash is not None:
            run.crashed(crash)
            blank = Judgement(run.spec.id, Verdict.ERROR, "", None, final=run.closed_us is not None)
            run.judgement = with_error(run.judgement or blank, crash)
            trace = run.trace()
        folder = Path(self.setup.out) / "cases" / run.spec.id
        _, crash = await self._guarded(lambda: write_evidence(trace, folder) if trace else None)
        if crash is not None and run.judgement is not None:
            run.crashed(crash)
            run.judgement = with_error(run.judgement, crash)

    async def _guarded(self, work: Callable[[], T]) -> tuple[T | None, str | None]:
        """Do work of our own in a thread: its result, or the traceback of whatever it raised."""
        future = self._loop.run_in_executor(None, work)
        await asyncio.wait({future})
        error = future.exception()
        return (None, "".join(traceback.format_exception(error))) if error else (future.result(), None)

    # --- the closing -------------------------------------------------------------------------------------------------

    async def _close_all(self, entries: list[Entry]) -> None:
        open_entries = [entry for entry in entries if not entry.closed and self._stopped is None]
        await self._settle(open_entries)
        limit = asyncio.Semaphore(VISITS)
        await asyncio.gather(*(self._visit(entry, limit) for entry in open_entries))
        await self._settle(open_entries, quiet=0.0)
        for entry in open_entries:
            if self._stopped is None:  # else the verdicts stay provisional
                await self._finish(entry)

    async def _close_one(self, entry: Entry) -> None:
        """Close a case whose user another case needs."""
        if not entry.closed:
            await self._settle([entry])
            await self._visit(entry, asyncio.Semaphore(VISITS))
            await self._settle([entry], quiet=0.0)
            await self._finish(entry)

    async def _settle(self, entries: list[Entry], quiet: float | None = None) -> None:
        """Wait until the quiet period and every open window of these cases is over, or there is no use any more."""
        if not entries or self._halt.is_set():
            return
        period = self.profile.ixit.quiet_period if quiet is None else quiet
        with contextlib.suppress(Inconclusive):
            await self.lab_call("sync", since_us=now_us())
        until = max(entry.run.ended_us for entry in entries) + round(period * 1e6)
        for entry in entries:
            pending, _ = await self._guarded(lambda run=entry.run: self._pending(run.trace()))  # type: ignore[misc]
            until = max(until, pending or 0)
        left = (until - now_us()) / 1e6
        if left > 0:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._halt.wait(), left)

    async def _visit(self, entry: Entry, limit: asyncio.Semaphore) -> None:
        async def one(user: ServedUser) -> None:
            async with limit:
                if entry.lab is not None and not self._halt.is_set():
                    await entry.lab.visit(user)

        begun = now_us()
        tasks = [asyncio.ensure_future(one(user)) for user in entry.run.users]
        for task in tasks:
            self._active[task] = entry.run
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=CASE_LIMIT)
            for task in late:
                task.cancel()
            await asyncio.wait(tasks)
        for task in tasks:
            del self._active[task]
            if task.cancelled():
                self._blame_end(entry.run)
            elif (error := task.exception()) is not None and not (self._gone and isinstance(error, _OF_THE_IUT)):
                self._take_error(entry, error)
        if tasks and not entry.run.heard(begun):
            await self._look_after_iut()

    async def _finish(self, entry: Entry) -> None:
        entry.closed = True
        entry.run.closed_us = now_us()
        if self._gone is not None:  # the case itself had ended: what it saw stays as it is
            entry.run.iut_vanished(self._gone["time_us"])
        await self._judged(entry)
        if entry.lab is not None:
            await entry.lab.close()
        with contextlib.suppress(Inconclusive):
            await self.lab_call("disown", case=entry.run.spec.id)

    async def _drain(self, user: ServedUser) -> None:
        """Empty the queue of a pool user whom this run has not had before; its frames are nobody's.

        :raises Inconclusive: the IUT does not answer.
        """
        run = CaseRun(CaseSpec(f"drain-{self.setup.worker}", "", "", ()), self.profile, self.setup.hosts)
        lab = Lab(self, run)
        try:
            await lab.visit(user)
        finally:
            await lab.close()
            for frame in run.frames:
                await self.lab_call("unowned", frame=frame_to_json(frame))

    # --- events of the lab -------------------------------------------------------------------------------------------

    @property
    def _control_alive(self) -> bool:
        return self._stopped != _LAB_LOST

    async def _connect(self) -> None:
        setup = self.setup
        self._pulse.start()
        await self._control.connect(setup.control, setup.token, setup.worker)
        state = await self._control.call("state")
        if state["gone"] is not None:
            self._iut_gone(state["gone"])
        if state["stopped"] is not None:
            self._stop(state["stopped"])

    async def _leave(self) -> None:
        for task in tuple(self._active):
            task.cancel()
        for entry in self.entries.values():
            if entry.lab is not None:
                await entry.lab.close()
        await self._control.close()
        self._pulse.stop()
        await self._loop.shutdown_default_executor()

    def _on_event(self, line: Line) -> None:
        if line["event"] == "frame":
            self._frame(line["case"], frame_from_json(line["frame"]))
        elif line["event"] == "iut-gone":
            self._iut_gone(line)
        elif line["event"] == "stop":
            self._stop(line["reason"])

    def _on_lost(self) -> None:
        self._stop(_LAB_LOST)

    def _frame(self, case: str, frame: Frame) -> None:
        if (entry := self.entries.get(case)) is not None:
            entry.run.record(frame)

    def _iut_gone(self, gone: Line) -> None:
        """No case can get anywhere now: what is pending ends at once."""
        self._gone = gone
        self._end_all()

    def _stop(self, reason: str) -> None:
        self._stopped = self._stopped or reason
        self._end_all()

    def _end_all(self) -> None:
        self._halt.set()
        for task in tuple(self._active):
            task.cancel()


_LAB_LOST = "the lab ended"
