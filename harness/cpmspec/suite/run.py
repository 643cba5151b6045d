"""One run as pytest's controller sees it: the lab and the IUT are started, watched and ended; run.jsonl is written."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import selectors
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cpmspec
from cpmspec.evidence.context import Context
from cpmspec.evidence.pcapng import write as write_evidence
from cpmspec.evidence.trace import Address, Frame, Trace
from cpmspec.judge.catalogue import Catalogue, CatalogueError
from cpmspec.judge.catalogue import load as load_catalogue
from cpmspec.net.clock import BASE_VARIABLE, export_base, now_us
from cpmspec.suite.bench import BenchSetup
from cpmspec.suite.control import ControlError, ControlLine, frame_from_json
from cpmspec.suite.outcome import EXIT_HARNESS, Conclusion, conclude
from cpmspec.suite.runlog import FILE, RunLog, now_iso
from cpmspec.suite.users import short_pools
from cpmspec.sut.certificates import make_certificates
from cpmspec.sut.endpoints import KEYS, addresses_text
from cpmspec.sut.launcher import (
    LaunchError,
    Running,
    RunningCore,
    RunningIut,
    RunningStore,
    attach,
    launch,
    outside_core,
    outside_store,
)
from cpmspec.sut.profile import Profile, ProfileError, load_profile
from cpmspec.sut.resources import fixtures

LAB_READY_WITHIN = 20.0  #: seconds
LAB_END_WITHIN = 10.0  #: seconds

#: parts of a run's folder that are for the run itself
FRAMES_FILE = "lab-frames.jsonl"
CASES_FILE = "cases.json"
GROUPS_FILE = "groups.json"


class RunError(Exception):
    """The run cannot start: usage or configuration. The text is one clear message for the user."""


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What the user asked for."""

    profile: Path
    out: Path
    parts: Path | None = None
    seed: int = 0
    workers: int = 1
    selection: str | None = None


def default_profile() -> Path:
    """The profile of the reference PF."""
    return fixtures() / "profiles" / "reference.toml"


def default_out() -> Path:
    """A fresh folder under ``cpmspec-runs``, named by the UTC time."""
    return Path("cpmspec-runs") / datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")


class Run:
    """A run; :meth:`start`, then cases by the workers, then :meth:`finish`; :meth:`stop` in every case."""

    def __init__(self, options: RunOptions) -> None:
        self.options = options
        self.out = options.out.resolve()
        self.lines: dict[str, dict[str, Any]] = {}
        self.interrupted = False
        self.troubles: list[str] = []
        self.conclusion: Conclusion | None = None
        self.profile: Profile
        self.catalogue: Catalogue
        self.setup: BenchSetup
        self.log: RunLog | None = None
        self._lab: subprocess.Popen[bytes] | None = None
        self._control: ControlLine | None = None
        self._running: dict[str, Running] = {}  #: what was started: the store, the IUT, the core, in this order

    def start(self) -> None:
        """Start lab and IUT, and the outside store and core if the profile has them.

        :raises RunError: the profile is wrong, a port is in use, the IUT does not start.
        """
        try:
            self.profile = load_profile(self.options.profile)
            self.catalogue = load_catalogue(fixtures() / "catalogue")
        except (ProfileError, CatalogueError) as error:
            raise RunError(str(error)) from error
        if short := short_pools(self.profile, self.options.workers):
            raise RunError("\n".join(f"{self.options.profile}: {line}" for line in short))
        if self.options.parts is not None and not self.options.parts.is_file():
            raise RunError(f"{self.options.parts}: no such file, expected one that sets PARTS")
        try:
            self.out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(f"{self.out}: cannot write there: {error.strerror}") from error
        if not os.access(self.out, os.W_OK | os.X_OK):
            raise RunError(f"{self.out}: cannot write there: Permission denied")
        os.environ[BASE_VARIABLE] = export_base()
        try:
            ready = self._start_lab(self._start_store())
            iut = self._start_iut(ready)
            access = self._start_core(ready, iut)
        except (RunError, LaunchError) as error:
            self.stop()
            raise RunError(str(error)) from error
        self.setup = BenchSetup(
            control=(ready["control"][0], ready["control"][1]), token=self._token, host=self.profile.core.host,
            access=access, endpoints=tuple(iut.endpoints), hosts=iut.sources, out=str(self.out),
            seed=self.options.seed, run=_run_tag(), attached=self.profile.attached, count=self.options.workers,
        )  # fmt: skip

    def _start_store(self) -> RunningStore | None:
        """The outside store, which must be there before the IUT is."""
        outside = self.profile.history.outside
        if not outside.used:
            return None
        placeholders = {"workdir": self._workdir("store"), "password": self.profile.history.password}
        store = outside_store(
            outside, placeholders=placeholders, log=self.out / "store.log", on_exit=self._exited("store")
        )
        self._running["store"] = store
        return store

    def _start_lab(self, store: RunningStore | None) -> dict[str, Any]:
        config = self._lab_config(store)
        with (self.out / "lab.log").open("ab") as log:
            self._lab = subprocess.Popen(
                [sys.executable, "-m", "cpmspec.suite.lab_process"],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
                env=_child_environment(), start_new_session=True,
            )  # fmt: skip
        assert self._lab.stdin is not None
        assert self._lab.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._lab.stdin.write(json.dumps(config).encode() + b"\n")
            self._lab.stdin.flush()
        line = _read_line(self._lab.stdout, LAB_READY_WITHIN)
        answer: dict[str, Any] = json.loads(line) if line else {"error": self._lab_said()}
        if "error" in answer:
            own = "the suite's own core, or the relays before an outside core and store,"
            raise RunError(f"{own} cannot start: {answer['error']}")
        ready: dict[str, Any] = answer["ready"]
        self._control = ControlLine((ready["control"][0], ready["control"][1]), config["token"])
        self._token = config["token"]
        return ready

    def _lab_config(self, store: RunningStore | None) -> dict[str, Any]:
        profile = self.profile
        if profile.core.tls_cert:
            cert, key, ca = profile.core.tls_cert, profile.core.tls_key, profile.core.ca
        else:
            made = make_certificates(self.out / "tls", profile.core.host)
            cert, key, ca = str(made.cert), str(made.key), profile.core.ca or str(made.ca)
        self._tls = {"tls_cert": cert, "tls_key": key, "tls_ca": ca}
        return {
            "token": secrets.token_hex(16), "domain": profile.users.domain, "psi": profile.psi,
            "sources": list(profile.iut.sip.sources), "t1": profile.ixit.sip_t1,
            "frames": str(self.out / FRAMES_FILE),
            "core": {
                "host": profile.core.host, "port": profile.core.port, "tls_port": profile.core.tls_port,
                "host6": profile.core.host6, "tls_cert": cert, "tls_key": key, "ca": ca,
                "outside": profile.core.outside.model_dump(include={"back_port", "back_tls_port"})
                if profile.core.outside.used else None,
            },
            "store": {
                "host": profile.history.host, "port": profile.history.port, "password": profile.history.password,
                "outside": store.address if store else None,
            },
        }  # fmt: skip

    def _start_iut(self, ready: Mapping[str, Any]) -> RunningIut:
        profile, core = self.profile, ready["front"]
        if profile.attached:
            iut = attach(profile)
        else:
            address = core.get(profile.core.transport) or core["udp"]
            placeholders = {
                "core": str(Address(*address)), "store": str(Address(*ready["store"])),
                "workdir": self._workdir("iut"), **self._tls,
            }  # fmt: skip
            iut = launch(
                profile, placeholders=placeholders, log=self.out / "iut.log", parts=self.options.parts,
                on_exit=self._iut_exited,
            )  # fmt: skip
        self._running["iut"] = iut
        assert self._control is not None
        self._control.call("iut", endpoints={key: list(value) for key, value in iut.endpoints.items()},
                           sources=list(iut.sources))  # fmt: skip
        for what, running in self._running.items():
            self._launched(what, running)
        return iut

    def _start_core(self, ready: Mapping[str, Any], iut: RunningIut) -> dict[str, tuple[str, int]]:
        """Where clients and originators send to, by leg; the outside core, which knows IUT and relay, starts last."""
        profile = self.profile
        if not profile.core.outside.used:
            host, port = ready["access"]["udp"]
            return dict.fromkeys(KEYS, (host, port))
        placeholders = {
            "workdir": self._workdir("core"), "domain": profile.users.domain, "psi": profile.psi,
            "iut": addresses_text(iut.endpoints), "front": addresses_text(ready["front"]),
            "back": addresses_text(ready["back"]), **self._tls,
        }  # fmt: skip
        core: RunningCore = outside_core(
            profile.core.outside, placeholders=placeholders, log=self.out / "core.log", on_exit=self._exited("core")
        )
        self._running["core"] = core
        self._launched("core", core)
        assert self._control is not None
        self._control.call("outside-core", isc={key: list(value) for key, value in core.isc.items()})
        return core.access

    def _workdir(self, name: str) -> str:
        folder = self.out / name
        folder.mkdir(exist_ok=True)
        return str(folder)

    def _launched(self, what: str, running: Running) -> None:
        """Have the lab end a program of ours if we are killed."""
        if running.process is not None and self._control is not None:
            self._control.call("launched", what=what, pid=running.process.pid)

    def _iut_exited(self, status: int) -> None:
        """From the launcher's watcher thread: the IUT ended without being asked to."""
        if self._control is not None:
            with contextlib.suppress(ControlError):
                reason = f"the IUT {_how(status)} in mid-run"
                self._control.call("iut-gone", time_us=now_us(), reason=reason)

    def _exited(self, what: str) -> Callable[[int], None]:
        """What to do when the outside core or store ends without being asked to: nothing can be decided any more."""

        def exited(status: int) -> None:
            reason = f"the outside {what} {_how(status)} in mid-run; see {what}.log"
            self.troubles.append(reason)
            if self._control is not None:
                with contextlib.suppress(ControlError):
                    self._control.call("stop", reason=reason)

        return exited

    def worker_setup(self, worker: str, index: int) -> dict[str, Any]:
        """What a worker needs, as plain JSON."""
        return {**self.setup.to_json(), "worker": worker, "index": index}

    def head(self, cases: list[str]) -> None:
        """Open run.jsonl and write its header, once."""
        if self.log is not None:
            return
        options = self.options
        self.log = RunLog(self.out / FILE)
        self.log.header(
            suite=cpmspec.__version__, started=now_iso(), catalogue=self.catalogue.digest, seed=options.seed,
            profile=self.profile.to_json(), profile_file=str(options.profile), selection=options.selection,
            parts=str(options.parts) if options.parts else None, cases=cases,
        )  # fmt: skip

    def case(self, line: dict[str, Any]) -> None:
        """Take a line of a case from a worker."""
        if self.log is not None:
            self.lines[line["case"]] = line
            self.log.case(line)

    def interrupt(self, reason: str) -> None:
        """The user stops the run: pending cases end at once."""
        self.interrupted = True
        if self._control is not None:
            with contextlib.suppress(ControlError):
                self._control.call("stop", reason=reason)

    def finish(self) -> None:
        """End lab and IUT, write what nobody owned and the footer; nothing is written of a run without a case."""
        self.stop()
        if self.log is None or self.log.footed:
            return
        try:
            self._write_unowned(self.log)
        except OSError as error:
            self.troubles.append(f"{self.out}: cannot write what belongs to no case: {error.strerror}")
        self.conclusion = conclude(
            self.lines.values(), self.catalogue, self.profile.flags, partial=self.options.selection is not None,
            interrupted=self.interrupted, harness_error=bool(self.troubles),
        )  # fmt: skip
        self.log.footer(
            finished=now_iso(), verdict=self.conclusion.verdict, exit=self.conclusion.exit,
            interrupted=self.interrupted, requirements=dict(self.conclusion.requirements),
            counts=dict(self.conclusion.counts), **({"troubles": self.troubles} if self.troubles else {}),
        )  # fmt: skip
        self.log.close()

    def stop(self) -> None:
        """End what is ours: the IUT, then the outside core and store, then the lab; may be called twice."""
        for what in ("iut", "core", "store"):
            running = self._running.pop(what, None)
            if running is None:
                continue
            running.stop()
            if self._control is not None:
                with contextlib.suppress(ControlError):
                    self._control.call("launched", what=what, pid=None)
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._lab is not None:
            self._end_lab(self._lab)
            self._lab = None

    def _end_lab(self, lab: subprocess.Popen[bytes]) -> None:
        assert lab.stdin is not None
        assert lab.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            lab.stdin.close()
        try:
            status = lab.wait(LAB_END_WITHIN)
        except subprocess.TimeoutExpired:
            lab.kill()
            status = lab.wait()
        lab.stdout.close()
        if status != 0 and self.log is not None:
            self.troubles.append(f"the lab ended with status {status}: {self._lab_said()}")

    def _lab_said(self) -> str:
        text = (self.out / "lab.log").read_text(encoding="utf-8", errors="replace").strip()
        return text.splitlines()[-1] if text else "it ended without a word"

    def _write_unowned(self, log: RunLog) -> None:
        """The run-level trace of what nobody owned."""
        path = self.out / FRAMES_FILE
        frames = list(_unowned(path)) if path.is_file() else []
        if frames:
            context = Context("unowned", (), psi=self.profile.psi, iut=self.setup.hosts)
            written = write_evidence(Trace.build(context, frames), self.out / "unowned")
            log.unowned(str(written.relative_to(self.out)))


def _how(status: int) -> str:
    return f"was ended by signal {-status}" if status < 0 else f"ended with status {status}"


def _unowned(path: Path) -> list[Frame]:
    frames = []
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            if line.startswith('{"cases":[],') and line.endswith("\n"):
                frames.append(frame_from_json(json.loads(line)["frame"]))
    return frames


def _run_tag() -> str:
    """A short text that differs from run to run, for the names of fresh users."""
    return f"{now_us() // 1000:x}-"


def _child_environment() -> dict[str, str]:
    source = str(Path(cpmspec.__file__).resolve().parent.parent)
    paths = [source, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths)), BASE_VARIABLE: export_base()}


def _read_line(stream: Any, timeout: float) -> bytes:
    """One line, or what came of it before the end of the stream or of the time."""
    buffer = b""
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        while not buffer.endswith(b"\n") and selector.select(timeout):
            piece = os.read(stream.fileno(), 65536)
            if not piece:
                break
            buffer += piece
    return buffer if buffer.endswith(b"\n") else b""


__all__ = ["EXIT_HARNESS", "Run", "RunError", "RunOptions", "default_out", "default_profile"]
