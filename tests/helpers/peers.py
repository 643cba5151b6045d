"""Programs of others for the tests in tests/interop: each started by its script in fixtures/peers, ended by its id."""

from __future__ import annotations

import os
import queue
import shutil
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / "fixtures" / "peers"
INSTALL = (
    "apt-get install kamailio kamailio-ims-modules kamailio-tls-modules kamailio-extra-modules sip-tester "
    "dovecot-imapd tshark linphone-cli"
)
#: set where a missing peer is a failure, not a skip
REQUIRED = "CPMSPEC_REQUIRE_PEERS"


def require(*programs: str) -> None:
    """Skip the test, visibly and with the line that installs them, if a program is missing; fail where all are due."""
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    missing = [program for program in programs if shutil.which(program, path=path) is None]
    if not missing:
        return
    text = f"{', '.join(missing)} not found; on Debian: {INSTALL}"
    if os.environ.get(REQUIRED):
        pytest.fail(text)
    pytest.skip(text)


@dataclass
class Peer:
    """A peer that runs. ``said`` is its ready line by key, for example ``{"access": "udp=127.0.0.1:40001"}``."""

    name: str
    process: subprocess.Popen[str]
    log: Path
    said: dict[str, str] = field(default_factory=dict)

    def addresses(self, key: str) -> dict[str, tuple[str, int]]:
        """Host and port by name out of ``udp=127.0.0.1:5060,...``."""
        table = {}
        for item in filter(None, self.said[key].split(",")):
            name, _, address = item.partition("=")
            host, _, port = address.rpartition(":")
            table[name] = (host.strip("[]"), int(port))
        return table

    def address(self, key: str) -> tuple[str, int]:
        """Host and port out of ``127.0.0.1:143``."""
        host, _, port = self.said[key].rpartition(":")
        return host.strip("[]"), int(port)


class Peers:
    """The peers of one test, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.running: list[Peer] = []
        self.logs: list[Path] = []

    def start(self, script: str, *arguments: object, ready_within: float = 30.0) -> Peer:
        """Start ``fixtures/peers/<script>`` in a folder of its own (``--workdir``) and wait for its ready line."""
        name = f"{len(self.running)}-{Path(script).stem}"
        workdir = self.folder / name
        workdir.mkdir(parents=True)
        log = workdir / "peer.log"
        command = [sys.executable, str(SCRIPTS / script), "--workdir", str(workdir), "--log", str(log)]
        return self.launch(name, [*command, *map(str, arguments)], log, "ready ", ready_within)

    def launch(self, name: str, command: list[str], log: Path, ready: str, ready_within: float = 30.0) -> Peer:
        """Start a command and wait for the line of its output that begins with ``ready``."""
        self.logs.append(log)
        with log.with_suffix(".err").open("ab") as errors:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, text=True,
                start_new_session=True, env=_environment(), cwd=log.parent,
            )  # fmt: skip
        self.logs.append(log.with_suffix(".err"))
        peer = Peer(name, process, log)
        self.running.append(peer)
        lines: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=_pump, args=(process, lines, log.with_suffix(".out")), daemon=True).start()
        self.logs.append(log.with_suffix(".out"))
        while (line := _next(lines, ready_within)) is not None:
            if line.startswith(ready):
                words = line[len(ready) :].split()
                peer.said = {key: value for key, _, value in (word.partition("=") for word in words)}
                return peer
        raise RuntimeError(f"{name} was not ready within {ready_within:g} s:\n{self.words(peer)}")

    def words(self, peer: Peer) -> str:
        """The end of what a peer said."""
        return "".join(_tail(log) for log in self.logs if log.stem == peer.log.stem and log.parent == peer.log.parent)

    def stop(self, peer: Peer) -> None:
        """End a peer: SIGTERM to its process group, SIGKILL if it stays."""
        if peer.process.poll() is None:
            os.killpg(peer.process.pid, signal.SIGTERM)
            try:
                peer.process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(peer.process.pid, signal.SIGKILL)
                peer.process.wait()

    def close(self) -> None:
        """End all peers, the last one first."""
        for peer in reversed(self.running):
            self.stop(peer)

    def report(self) -> str:
        """The end of every log, for a test that failed."""
        return "\n".join(f"--- {log} ---\n{_tail(log)}" for log in self.logs if log.is_file() and log.stat().st_size)


def _environment() -> dict[str, str]:
    source = str(ROOT / "harness")
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    return {**os.environ, "PATH": path, "PYTHONPATH": source, "PYTHONUNBUFFERED": "1"}


def _pump(process: subprocess.Popen[str], lines: queue.Queue[str | None], copy: Path) -> None:
    assert process.stdout is not None
    with process.stdout, copy.open("a", encoding="utf-8") as out:
        for line in process.stdout:
            out.write(line)
            out.flush()
            lines.put(line.rstrip("\n"))
    lines.put(None)


def _next(lines: queue.Queue[str | None], within: float) -> str | None:
    try:
        return lines.get(timeout=within)
    except queue.Empty:
        return None


def _tail(log: Path, octets: int = 3000) -> str:
    return log.read_bytes()[-octets:].decode("utf-8", "replace") if log.is_file() else ""
