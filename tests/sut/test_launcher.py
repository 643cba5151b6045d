"""cpmspec.sut.launcher: with small Python programs as the IUT."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from cpmspec.sut.launcher import LaunchError, RunningIut, attach, launch, outside_core, outside_store
from cpmspec.sut.profile import OutsideCore, OutsideStore, Profile

READY = r"ready(?: udp=(?P<udp>\S+))?(?: tcp6=(?P<tcp6>\S+))?(?: at (?P<host>\S+) (?P<port>\d+))?"
#: prints the line, then waits for a signal
SERVER = (
    "import signal,sys; signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM]);"
    "print('starting'); print(sys.argv[1]); signal.sigwait([signal.SIGTERM]); print('bye')"
)


def profile(
    program: str, *arguments: str, ready: str = READY, within: float = 20.0, sip: dict[str, object] | None = None
) -> Profile:
    return Profile.from_json({
        "iut": {"name": "toy", "command": ["{python}", "-c", program, *arguments], "ready": ready,
                "ready_within": within, "sip": sip or {}},
    })  # fmt: skip


def start(tmp_path: Path, made: Profile, **options: object) -> RunningIut:
    return launch(made, placeholders={"core": "127.0.0.1:9"}, log=tmp_path / "iut.log", **options)  # type: ignore[arg-type]


def test_ready_line_gives_the_endpoints(tmp_path: Path) -> None:
    running = start(
        tmp_path, profile(SERVER, "ready udp=127.0.0.1:4000 tcp6=[::1]:4001", sip={"sources": ["192.0.2.9", "[::1]"]})
    )
    assert running.endpoints == {"udp": ("127.0.0.1", 4000), "tcp6": ("::1", 4001)}
    assert running.sources == ("127.0.0.1", "::1", "192.0.2.9")
    assert running.poll() is None
    running.stop()
    assert running.poll() is not None
    assert (tmp_path / "iut.log").read_text().splitlines()[:2] == [
        "starting",
        "ready udp=127.0.0.1:4000 tcp6=[::1]:4001",
    ]


@pytest.mark.parametrize(
    ("line", "sip", "expected"),
    [
        ("ready at 127.0.0.1 4000", {}, {"udp": ("127.0.0.1", 4000)}),
        ("ready at [::1] 4000", {"transport": "tcp"}, {"tcp6": ("::1", 4000)}),
    ],
)
def test_host_and_port_are_of_the_primary_transport(
    tmp_path: Path, line: str, sip: dict[str, object], expected: dict[str, tuple[str, int]]
) -> None:
    running = start(tmp_path, profile(SERVER, line, sip=sip))
    running.stop()
    assert running.endpoints == expected


def test_stop_is_gentle_first(tmp_path: Path) -> None:
    running = start(tmp_path, profile(SERVER, "ready udp=127.0.0.1:4000"))
    assert running.stop() == 0
    assert "bye" in (tmp_path / "iut.log").read_text()


def test_stop_kills_what_does_not_end(tmp_path: Path) -> None:
    stubborn = (
        "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM]);"
        "print('ready udp=127.0.0.1:4000'); signal.sigwait([signal.SIGUSR1])"
    )
    assert start(tmp_path, profile(stubborn)).stop(timeout=0.2) == -9


def test_children_end_too(tmp_path: Path) -> None:
    parent = (
        "import subprocess,sys;"
        "child = subprocess.Popen([sys.executable, '-c', 'import signal; signal.pause()']);"
        "print('ready udp=127.0.0.1:4000'); child.wait()"
    )
    running = start(tmp_path, profile(parent))
    running.stop()
    # the child has the same standard output: its end is read only when nobody holds it any more
    assert [thread.name for thread in running._threads if thread.is_alive()] == []


def test_placeholders_and_parts(tmp_path: Path) -> None:
    shows = "import json,os,sys; print(json.dumps([sys.argv[1:], os.getcwd()])); " + SERVER.replace(
        "sys.argv[1]", "'ready udp=127.0.0.1:4000'"
    )
    parts = tmp_path / "parts.py"
    made = profile(shows, "{core}", "{suite}/x", "{workdir}", "{store}")
    running = launch(
        made, placeholders={"core": "127.0.0.1:9", "workdir": str(tmp_path)}, log=tmp_path / "iut.log", parts=parts
    )
    running.stop()
    arguments, folder = json.loads((tmp_path / "iut.log").read_text().splitlines()[0])
    assert arguments[0] == "127.0.0.1:9"
    assert arguments[1].endswith("/x")
    assert arguments[2:] == [str(tmp_path), "", "--parts", str(parts)]
    assert folder == str(tmp_path)


def test_on_exit_tells_the_status_of_a_process_that_dies(tmp_path: Path) -> None:
    told: list[int] = []
    over = threading.Event()

    def on_exit(status: int) -> None:
        told.append(status)
        over.set()

    dies = "print('ready udp=127.0.0.1:4000', flush=True); raise SystemExit(7)"
    running = start(tmp_path, profile(dies), on_exit=on_exit)
    assert over.wait(20)
    assert told == [7]
    assert running.poll() == 7
    assert running.stop() == 7


def test_on_exit_is_silent_about_a_stop(tmp_path: Path) -> None:
    told: list[int] = []
    start(tmp_path, profile(SERVER, "ready udp=127.0.0.1:4000"), on_exit=told.append).stop()
    assert told == []


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        ("print('port in use'); raise SystemExit(3)", ["toy ended with status 3 before it was ready", "| port in use"]),
        ("pass", ["ended with status 0", "(no output)"]),
        ("print('ready')", ["not where: found 'ready', expected an address in one of the named groups"]),
        ("print('ready udp=nowhere')", ["found 'ready udp=nowhere', expected address:port"]),
    ],
)
def test_no_start(tmp_path: Path, program: str, expected: list[str]) -> None:
    with pytest.raises(LaunchError) as caught:
        start(tmp_path, profile(program))
    assert [part for part in expected if part not in str(caught.value)] == [], str(caught.value)


def test_not_ready_in_time(tmp_path: Path) -> None:
    with pytest.raises(LaunchError, match=r"was not ready within 0\.3 s"):
        start(tmp_path, profile("import signal; signal.pause()", within=0.3))


def test_only_the_last_lines_are_told(tmp_path: Path) -> None:
    with pytest.raises(LaunchError) as caught:
        start(tmp_path, profile("print('\\n'.join(map(str, range(100))))"))
    assert str(caught.value).splitlines()[1:] == [f"  | {number}" for number in range(85, 100)]


def test_no_such_command(tmp_path: Path) -> None:
    made = Profile.from_json({"iut": {"name": "toy", "command": ["/nowhere/pf"], "ready": READY}})
    with pytest.raises(LaunchError, match="cannot start /nowhere/pf: No such file"):
        start(tmp_path, made)


def test_attach() -> None:
    made = Profile.from_json(
        {"iut": {"sip": {"host": "127.0.0.1", "port": 5070, "also": ["tcp6:[::1]:5071"], "sources": ["192.0.2.1"]}}}
    )
    running = attach(made)
    assert running.endpoints == {"udp": ("127.0.0.1", 5070), "tcp6": ("::1", 5071)}
    assert running.sources == ("127.0.0.1", "::1", "192.0.2.1")
    assert running.poll() is None
    assert running.stop() is None


def test_attach_to_no_address() -> None:
    with pytest.raises(LaunchError, match=r"no address for the host pf\.invalid"):
        attach(Profile.from_json({"iut": {"sip": {"host": "pf.invalid"}}}))


def test_python_of_the_suite_is_used(tmp_path: Path) -> None:
    running = start(tmp_path, profile("import sys; print(sys.executable); " + SERVER, "ready udp=127.0.0.1:4000"))
    running.stop()
    assert (tmp_path / "iut.log").read_text().splitlines()[0] == sys.executable


# --- an outside core and an outside store -----------------------------------------------------------------------------

CORE_READY = r"^ready access=(?P<access>\S+) isc=(?P<isc>\S+)"


def core(line: str) -> OutsideCore:
    return OutsideCore(command=("{python}", "-c", SERVER, line), ready=CORE_READY)


def test_outside_core_tells_its_legs(tmp_path: Path) -> None:
    line = "ready access=udp=127.0.0.1:1,tls6=127.0.0.1:2 isc=udp=127.0.0.1:3,tls6=[::1]:4"
    running = outside_core(core(line), placeholders={}, log=tmp_path / "core.log")
    try:
        assert running.access == {"udp": ("127.0.0.1", 1), "tls6": ("127.0.0.1", 2)}
        assert running.isc == {"udp": ("127.0.0.1", 3), "tls6": ("::1", 4)}
    finally:
        running.stop()
    assert running.poll() == 0


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("ready access=udp=127.0.0.1:1 isc=sctp=127.0.0.1:3", "expected key=address:port with keys out of udp, tcp"),
        ("ready access=127.0.0.1:1 isc=udp=127.0.0.1:3", "expected key=address:port with keys out of udp, tcp"),
        ("ready access=udp=here isc=udp=127.0.0.1:3", "expected address:port"),
        ("ready access=udp=127.0.0.1:1,tcp=127.0.0.1:2 isc=udp=127.0.0.1:3", "in isc for all legs of access, with tcp"),
    ],
)
def test_outside_core_that_says_nonsense(tmp_path: Path, line: str, expected: str) -> None:
    with pytest.raises(LaunchError, match="the outside core said that it is ready, but not where") as caught:
        outside_core(core(line), placeholders={}, log=tmp_path / "core.log")
    assert expected in str(caught.value)


def test_outside_core_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(LaunchError, match=r"^core\.outside\.command: cannot start no-such-core: No such file"):
        outside_core(OutsideCore(command=("no-such-core",), ready=CORE_READY), placeholders={}, log=tmp_path / "c.log")


def test_outside_store(tmp_path: Path) -> None:
    made = OutsideStore(
        command=("{python}", "-c", SERVER, "ready address=127.0.0.1:143"), ready=r"^ready address=(?P<address>\S+)"
    )
    running = outside_store(made, placeholders={}, log=tmp_path / "store.log")
    running.stop()
    assert running.address == ("127.0.0.1", 143)


def test_what_runs_already_is_found_at_its_address(tmp_path: Path) -> None:
    there = OutsideCore(access={"udp": "192.0.2.1:5060"}, isc={"udp": "[2001:db8::1]:5070"})
    found = outside_core(there, placeholders={}, log=tmp_path / "core.log")
    assert (found.access, found.isc) == ({"udp": ("192.0.2.1", 5060)}, {"udp": ("2001:db8::1", 5070)})
    assert found.stop() is None
    assert outside_store(OutsideStore(address="192.0.2.1:143"), placeholders={}, log=tmp_path / "s.log").address == (
        "192.0.2.1",
        143,
    )


def test_a_core_is_known_by_its_address_not_by_its_name(tmp_path: Path) -> None:
    """Clients tell by the address whether a request came from the core or past it."""
    there = OutsideCore(access={"udp": "localhost:5060"}, isc={"udp": "localhost:5070"})
    found = outside_core(there, placeholders={}, log=tmp_path / "core.log")
    assert {found.access["udp"][0], found.isc["udp"][0]} <= {"127.0.0.1", "::1"}
    nowhere = OutsideCore(access={"udp": "core.invalid:5060"}, isc={"udp": "127.0.0.1:5070"})
    with pytest.raises(LaunchError, match=r"^core\.outside\.access: no address for the host core\.invalid"):
        outside_core(nowhere, placeholders={}, log=tmp_path / "core.log")


def test_a_group_of_the_ready_line_that_is_empty_is_told(tmp_path: Path) -> None:
    made = OutsideStore(command=("{python}", "-c", SERVER, "ready"), ready=r"^ready( address=(?P<address>\S+))?")
    with pytest.raises(LaunchError, match="said that it is ready, but not where"):
        outside_store(made, placeholders={}, log=tmp_path / "store.log")


def test_a_start_that_is_interrupted_leaves_no_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[subprocess.Popen[bytes]] = []

    def interrupted(program: object, process: subprocess.Popen[bytes], *_: object) -> None:
        started.append(process)
        raise KeyboardInterrupt

    monkeypatch.setattr("cpmspec.sut.launcher._wait_until_ready", interrupted)
    made = OutsideStore(command=("{python}", "-c", SERVER, "x"), ready=r"^(?P<address>never)")
    with pytest.raises(KeyboardInterrupt):
        outside_store(made, placeholders={}, log=tmp_path / "store.log")
    assert [process.poll() for process in started] == [-9]
