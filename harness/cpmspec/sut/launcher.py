"""Start an implementation under test by its command line, or attach to one that somebody else runs.

The same for an outside SIP/IP core and message store, where a profile has them.
"""

from __future__ import annotations

import collections
import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Self, TypeVar

import cpmspec
from cpmspec.sut.endpoints import KEYS, parse_address, parse_addresses
from cpmspec.sut.profile import OutsideCore, OutsideStore, Profile
from cpmspec.sut.resources import suite_root

Said = TypeVar("Said")

#: lines of output that a :class:`LaunchError` repeats
LAST_LINES = 15


class LaunchError(Exception):
    """A program did not start, or cannot be found; the text says why and ends with its last output."""


@dataclass(slots=True, kw_only=True)
class Running:
    """A program under observation that is ready: a process of ours, or one that somebody else runs."""

    process: subprocess.Popen[bytes] | None = None
    #: called once, from a watcher thread, with the exit status of a process that ended without being stopped
    on_exit: Callable[[int], None] | None = None
    _stopping: bool = field(default=False, repr=False)
    _threads: list[threading.Thread] = field(default_factory=list, repr=False)

    def poll(self) -> int | None:
        """The exit status of the process; ``None`` while it runs, and always for one that somebody else runs."""
        return self.process.poll() if self.process else None

    def stop(self, timeout: float = 5.0) -> int | None:
        """End the process: SIGTERM, after ``timeout`` seconds SIGKILL. Nothing happens to one of somebody else's."""
        self._stopping = True
        if self.process is None:
            return None
        if self.process.poll() is None:
            _signal(self.process, signal.SIGTERM)
            try:
                self.process.wait(timeout)
            except subprocess.TimeoutExpired:
                _signal(self.process, signal.SIGKILL)
                self.process.wait()
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(timeout)
        return self.process.returncode

    def watched(self, process: subprocess.Popen[bytes], pump: threading.Thread) -> Self:
        """Watch over a process of ours: its end is told to ``on_exit``."""
        self.process = process
        watcher = threading.Thread(target=self._watch, name="program-watcher", daemon=True)
        self._threads += [pump, watcher]
        watcher.start()
        return self

    def _watch(self) -> None:
        if self.process is not None:
            status = self.process.wait()
            if not self._stopping and self.on_exit is not None:
                self.on_exit(status)


@dataclass(slots=True, kw_only=True)
class RunningIut(Running):
    """An IUT that listens: the one process of a run, or an address where somebody else runs it."""

    endpoints: dict[str, tuple[str, int]]  #: ``udp``, ``tcp``, ``tls``, ``udp6``, ``tcp6``, ``tls6``: host and port
    sources: tuple[str, ...]  #: all hosts that it sends from


@dataclass(slots=True, kw_only=True)
class RunningCore(Running):
    """An outside core: where clients and originators send to, and its sockets that face the IUT; both by leg."""

    access: dict[str, tuple[str, int]]
    isc: dict[str, tuple[str, int]]


@dataclass(slots=True, kw_only=True)
class RunningStore(Running):
    """An outside message store, at its address."""

    address: tuple[str, int]


def attach(profile: Profile) -> RunningIut:
    """Find an IUT that somebody else runs, at the addresses of its profile.

    :raises LaunchError: a host name has no address.
    """
    endpoints = {
        endpoint.key: (_numeric("iut.sip", endpoint.host), endpoint.port) for endpoint in profile.iut.sip.endpoints
    }
    return RunningIut(endpoints=endpoints, sources=_sources(profile, endpoints))


def launch(
    profile: Profile,
    *,
    placeholders: Mapping[str, str],
    log: Path,
    parts: Path | None = None,
    on_exit: Callable[[int], None] | None = None,
) -> RunningIut:
    """Start the IUT and wait until it says that it is ready.

    :param placeholders: values for ``{core}``, ``{store}``, ``{workdir}`` and so on; ``{python}`` and ``{suite}`` are
        known already. The process is started in ``{workdir}`` if there is one.
    :param log: where all its output goes.
    :param parts: a file for ``--parts``, appended to the command.
    :raises LaunchError: it cannot be started, ends, or is not ready within ``iut.ready_within`` seconds.
    """
    command = [*_filled(profile.iut.command, placeholders), *(["--parts", str(parts.resolve())] if parts else [])]
    program = _Program("iut.command", profile.iut.name, command, profile.iut.ready or "", profile.iut.ready_within)
    endpoints, process, pump = _start(program, placeholders, log, lambda match: _endpoints(profile, match))
    running = RunningIut(endpoints=endpoints, sources=_sources(profile, endpoints), on_exit=on_exit)
    return running.watched(process, pump)


def outside_core(
    core: OutsideCore, *, placeholders: Mapping[str, str], log: Path, on_exit: Callable[[int], None] | None = None
) -> RunningCore:
    """Start an outside core, or attach to it at the addresses of the profile. Parameters as for :func:`launch`.

    :raises LaunchError: it cannot be started, ends, is not ready within ``ready_within`` seconds, or a host name has no
        address.
    """
    if not core.command:
        access, isc = ({key: parse_address(text) for key, text in table.items()} for table in (core.access, core.isc))
        return RunningCore(
            access=_all_numeric("core.outside.access", access), isc=_all_numeric("core.outside.isc", isc)
        )
    command = _filled(core.command, placeholders)
    program = _Program("core.outside.command", "the outside core", command, core.ready or "", core.ready_within)

    def read(match: re.Match[str]) -> tuple[dict[str, tuple[str, int]], dict[str, tuple[str, int]]]:
        access, isc = parse_addresses(match["access"] or ""), parse_addresses(match["isc"] or "")
        if lacking := access.keys() - isc.keys():
            raise ValueError(f"addresses in isc for all legs of access, with {', '.join(sorted(lacking))}")
        return _all_numeric("core.outside.ready", access), _all_numeric("core.outside.ready", isc)

    (access, isc), process, pump = _start(program, placeholders, log, read)
    return RunningCore(access=access, isc=isc, on_exit=on_exit).watched(process, pump)


def outside_store(
    store: OutsideStore, *, placeholders: Mapping[str, str], log: Path, on_exit: Callable[[int], None] | None = None
) -> RunningStore:
    """Start an outside message store, or attach to it. Parameters as for :func:`launch`.

    :raises LaunchError: it cannot be started, ends, or is not ready within ``ready_within`` seconds.
    """
    if not store.command:
        return RunningStore(address=parse_address(store.address))
    command = _filled(store.command, placeholders)
    program = _Program("history.outside.command", "the outside store", command, store.ready or "", store.ready_within)
    address, process, pump = _start(program, placeholders, log, lambda match: parse_address(match["address"] or ""))
    return RunningStore(address=address, on_exit=on_exit).watched(process, pump)


@dataclass(frozen=True, slots=True)
class _Program:
    """What to start: the profile's key for it, what it is called in an error, and when it is ready."""

    key: str
    name: str
    command: Sequence[str]
    ready: str
    ready_within: float


def _start(
    program: _Program, placeholders: Mapping[str, str], log: Path, read: Callable[[re.Match[str]], Said]
) -> tuple[Said, subprocess.Popen[bytes], threading.Thread]:
    """Start a program and wait for its ready line; what ``read`` makes of it.

    :raises LaunchError: it did not come so far; it is ended then.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    try:
        process = subprocess.Popen(
            program.command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=placeholders.get("workdir"),
            env=_environment(),
            start_new_session=True,
        )
    except OSError as error:
        raise LaunchError(f"{program.key}: cannot start {program.command[0]}: {error.strerror}") from error
    output = _Output(program.ready, log)
    pump = threading.Thread(target=output.pump, args=(process.stdout,), name="program-output", daemon=True)
    pump.start()
    try:
        return _wait_until_ready(program, process, output, pump, read), process, pump
    except BaseException:  # Ctrl-C as well: nobody else knows of the process yet
        if process.poll() is None:
            _signal(process, signal.SIGKILL)
            process.wait()
        raise


class _Output:
    """Reads the process's output line by line: into the log, and until the ready line is found."""

    def __init__(self, ready: str, log: Path) -> None:
        self.ready = re.compile(ready)
        self.log = log
        self.last: collections.deque[str] = collections.deque(maxlen=LAST_LINES)
        self.match: re.Match[str] | None = None
        self.settled = threading.Event()  #: the ready line was read, or the output has ended

    def pump(self, stream: IO[bytes]) -> None:
        """Read to the end of ``stream``."""
        with stream, self.log.open("ab") as log:
            for line in stream:
                log.write(line)
                log.flush()
                if self.match is None:
                    text = line.decode("utf-8", "replace").rstrip()
                    self.last.append(text)
                    self.match = self.ready.search(text)
                    if self.match:
                        self.settled.set()
        self.settled.set()


def _wait_until_ready(
    program: _Program, process: subprocess.Popen[bytes], output: _Output, pump: threading.Thread,
    read: Callable[[re.Match[str]], Said],
) -> Said:  # fmt: skip
    """What the ready line says; otherwise the process is ended and the reason raised."""
    in_time = output.settled.wait(program.ready_within)
    reason = f"was not ready within {program.ready_within:g} s"
    if in_time and output.match is None:
        try:
            reason = f"ended with status {process.wait(1.0)} before it was ready"
        except subprocess.TimeoutExpired:
            reason = "closed its output before it was ready"
    if output.match is not None:
        try:
            return read(output.match)
        except ValueError as error:
            reason = f"said that it is ready, but not where: found {output.match[0]!r}, expected {error}"
    _signal(process, signal.SIGKILL)
    process.wait()
    pump.join(1.0)
    shown = "".join(f"\n  | {line}" for line in output.last) or " (no output)"
    raise LaunchError(f"{program.name} {reason}; its last output:{shown}")


def _endpoints(profile: Profile, match: re.Match[str]) -> dict[str, tuple[str, int]]:
    """Read the named groups of the ready line.

    :raises ValueError: says what was expected.
    """
    groups = {name: value for name, value in match.groupdict().items() if value}
    endpoints = {key: parse_address(groups[key]) for key in KEYS if key in groups}
    if "port" in groups:
        host, port = parse_address(f"{groups.get('host') or profile.iut.sip.host or '127.0.0.1'}:{groups['port']}")
        endpoints[profile.iut.sip.transport + ("6" if ":" in host else "")] = (host, port)
    if not endpoints:
        raise ValueError("an address in one of the named groups")
    return endpoints


def _filled(command: Sequence[str], placeholders: Mapping[str, str]) -> list[str]:
    """The command with its placeholders replaced."""
    values = {"python": sys.executable, "suite": str(suite_root()), **placeholders}
    return [re.sub(r"\{(\w+)\}", lambda found: values.get(found[1], ""), argument) for argument in command]


def _environment() -> dict[str, str]:
    """Ours, with the folder of this package in reach and output unbuffered, for programs written in Python."""
    source = str(Path(cpmspec.__file__).resolve().parent.parent)
    paths = [source, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths)), "PYTHONUNBUFFERED": "1"}


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Signal the process and what it has started: it leads a session of its own."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def _all_numeric(key: str, table: Mapping[str, tuple[str, int]]) -> dict[str, tuple[str, int]]:
    """Who sent something is told by its address: names would make a stranger of a core."""
    return {leg: (_numeric(key, host), port) for leg, (host, port) in table.items()}


def _numeric(key: str, host: str) -> str:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_DGRAM)
    except OSError as error:
        raise LaunchError(f"{key}: no address for the host {host}: {error.strerror}") from error
    return str(found[0][4][0])


def _sources(profile: Profile, endpoints: Mapping[str, tuple[str, int]]) -> tuple[str, ...]:
    hosts = [host for host, _ in endpoints.values()]
    return tuple(dict.fromkeys([*hosts, *(source.strip("[]") for source in profile.iut.sip.sources)]))
