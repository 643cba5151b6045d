"""The scripts in fixtures/peers: wrong arguments, and what `serve` makes of a peer that ends, or does not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cpmspec.sut.launcher import Running

SCRIPTS = Path(__file__).parents[2] / "fixtures" / "peers"

#: a peer that listens, tells its process id, and does with SIGTERM what its argument says
PEER = """\
import os, signal, socket, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN if sys.argv[3] == "stubborn" else signal.SIG_DFL)
server = socket.create_server((sys.argv[1], int(sys.argv[2])))
print(os.getpid(), flush=True)
time.sleep(60)
"""
SCRIPT = """\
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from peer import Start, free_port, serve
def make():
    port = free_port()
    command = [sys.executable, sys.argv[2], "127.0.0.1", str(port), sys.argv[4]]
    return Start(command, ("127.0.0.1", port), {"address": str(port)})
sys.exit(serve("the peer", make, Path(sys.argv[3])))
"""


@pytest.mark.parametrize(
    ("script", "arguments", "expected"),
    [
        ("dovecot.py", [], "--workdir"),
        ("dovecot.py", ["--password", "a b"], "letters, digits"),
        ("kamailio_core.py", ["--pf", "nonsense"], "--pf: found 'nonsense'"),
        ("kamailio_core.py", ["--pf", ""], "--pf: found nothing"),
        ("kamailio_core.py", ["--pf", "sctp=127.0.0.1:5060"], "--pf: found sctp"),
        ("kamailio_core.py", ["--pf", "udp=127.0.0.1:5060", "--towards", "upd=127.0.0.1:5060"], "--towards: found upd"),
        ("kamailio_core.py", ["--pf", "udp=127.0.0.1:5060", "--tls-cert", "cert.pem"], "all three or none"),
        ("kamailio_msrp.py", ["--tls-cert", "cert.pem"], "go together"),
        ("kamailio_msrp.py", ["--tls-cert", "none.pem", "--tls-key", "none.pem"], "none.pem: found no file"),
        ("linphone.py", ["--identity", "sip:a@example.com", "--core", "nonsense"], "expected one address"),
        ("linphone.py", ["--identity", "sip:a@example.com", "--core", ""], "expected one address"),
        ("linphone.py", ["--identity", "sip:a@example.com", "--core", "sctp=127.0.0.1:5060"], "udp, tcp or tls"),
    ],
)
def test_wrong_arguments(script: str, arguments: list[str], expected: str, tmp_path: Path) -> None:
    places = ["--workdir", str(tmp_path / "w"), "--log", str(tmp_path / "log")] if arguments else []
    done = subprocess.run(
        [sys.executable, str(SCRIPTS / script), *places, *arguments],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert expected in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_program_that_is_missing_is_named_with_the_line_that_installs_it() -> None:
    code = "from peer import program; program('no-such-program', 'its-package')"
    done = subprocess.run([sys.executable, "-c", code], cwd=SCRIPTS, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "no-such-program not found; on Debian: apt-get install its-package\n"


def test_a_folder_that_cannot_be_made_is_told_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    script, _ = _started(tmp_path, tmp_path / "file" / "log", "obedient")
    output, errors = script.communicate(timeout=30)
    assert (script.returncode, output) == (1, "")
    assert errors == f"{tmp_path / 'file'}: cannot be made: File exists\n"


def test_a_peer_that_is_killed_is_told(tmp_path: Path) -> None:
    log = tmp_path / "deeper" / "log"
    script, ready = _started(tmp_path, log, "obedient")
    assert ready.startswith("ready address=")
    os.kill(_peer(log), signal.SIGKILL)
    _, errors = script.communicate(timeout=30)
    assert script.returncode == 1
    assert errors.startswith("the peer was ended by signal 9; its last words:\n")


def test_a_peer_that_does_not_end_is_gone_before_the_suite_loses_patience_with_its_script(tmp_path: Path) -> None:
    log = tmp_path / "log"
    script, _ = _started(tmp_path, log, "stubborn")
    peer = _peer(log)
    os.killpg(script.pid, signal.SIGTERM)
    patience = Running.stop.__defaults__
    assert patience is not None
    script.communicate(timeout=patience[0])
    assert script.returncode == 0
    with pytest.raises(ProcessLookupError):
        os.kill(peer, 0)


def _started(folder: Path, log: Path, manner: str) -> tuple[subprocess.Popen[str], str]:
    (folder / "script.py").write_text(SCRIPT, encoding="utf-8")
    (folder / "peer_program.py").write_text(PEER, encoding="utf-8")
    script = subprocess.Popen(
        [sys.executable, folder / "script.py", SCRIPTS, folder / "peer_program.py", log, manner],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    assert script.stdout is not None
    return script, script.stdout.readline()


def _peer(log: Path) -> int:
    """The peer's process id; it says it after it listens."""
    until = time.monotonic() + 10
    while not log.read_text(encoding="utf-8").endswith("\n") and time.monotonic() < until:
        time.sleep(0.01)
    return int(log.read_text(encoding="utf-8"))
