"""A whole ``cpmspec run`` with Kamailio as SIP/IP core and Dovecot as message store: the same verdicts as with ours."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from cpmspec.sut.certificates import make_certificates
from peer import free_port
from peers import Peer, Peers, require
from runs import FEW, MUTANTS, ROOT, Run, command, run_suite

PROFILE = ROOT / "fixtures" / "profiles" / "kamailio-dovecot.toml"
#: two workers, whatever the machine: the tests beside this one want their share
WORKERS = ("-n", "2")


def outside_run(folder: Path, *arguments: str | Path) -> Run:
    """A run with Kamailio and Dovecot."""
    require("kamailio", "dovecot")
    return run_suite(folder, "--profile", PROFILE, *arguments)


def requirements(run: Run) -> dict[str, dict[str, str]]:
    """The final verdict of each requirement in each case."""
    lines = [line for line in run.lines if line["kind"] == "case" and line["stage"] == "final"]
    return {line["case"]: line["judgement"]["requirements"] for line in lines}


def differences(left: Run, right: Run) -> list[str]:
    """What one run says unlike the other, case by case and requirement by requirement."""
    ours, theirs = requirements(left), requirements(right)
    found = [f"{case}: only one run has it" for case in sorted(ours.keys() ^ theirs.keys())]
    for case in sorted(ours.keys() & theirs.keys()):
        for name in sorted(ours[case].keys() | theirs[case].keys()):
            pair = ours[case].get(name), theirs[case].get(name)
            if pair[0] != pair[1]:
                found.append(f"{case}, {name}: {pair[0]} with our own, {pair[1]} with the others'")
    return found


def capture(run: Run, case: str) -> bytes:
    return (run.folder / "cases" / case / "trace.pcapng").read_bytes()


def test_whole_run_has_the_same_verdicts(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    require("kamailio", "dovecot")
    ours: Run = request.getfixturevalue("whole_run")  # late: it costs a run
    run = outside_run(tmp_path / "a folder with blanks", *WORKERS)
    assert run.status == 0, run.output + run.errors
    assert run.footer["verdict"] == "conformant"
    assert differences(ours, run) == []
    assert len(requirements(run)) == len(requirements(ours)) >= 178
    assert run.footer["requirements"] == ours.footer["requirements"]
    for case in ("TP_CPM_PF_DLV_V_031-pager-pull", "TP_CPM_PF_DLV_V_061-large-push-tls6-msrps"):
        octets = capture(run, case)  # it really was these programs, and the relay saw them
        assert b";r2=on;lr" in octets  # Kamailio's Record-Route
        assert b"Dovecot" in octets


@pytest.mark.parametrize(
    ("mutant", "purposes", "broken"),
    [
        ("bye_past_the_core", FEW, "DLV-3.3"),
        ("history_without_content", FEW, "DLV-5.4"),
        ("bye_before_last", ("--case", "TP_CPM_PF_DLV_V_032"), "DLV-3.2"),
    ],
)
def test_a_fault_is_named_as_with_our_own(tmp_path: Path, mutant: str, purposes: tuple[str, ...], broken: str) -> None:
    require("kamailio", "dovecot")
    options: tuple[str | Path, ...] = (*purposes, "--parts", MUTANTS / f"{mutant}.py")
    with ThreadPoolExecutor() as both:  # they wait more than they work
        runs = (
            both.submit(run_suite, tmp_path / "inside", *options),
            both.submit(outside_run, tmp_path / "outside", *options),
        )
    inside, outside = (run.result() for run in runs)
    assert (inside.status, outside.status) == (1, 1), outside.output + outside.errors
    assert outside.footer["requirements"][broken] == "fail"
    assert differences(inside, outside) == []


def test_core_store_and_pf_that_run_already(peers: Peers, tmp_path: Path) -> None:
    """Nothing is launched: all three are found at their addresses."""
    require("kamailio", "dovecot")
    front, back, store_port = free_port(), free_port(), free_port()
    store = peers.start("dovecot.py", "--password", "cpmspec")
    folder = tmp_path / "pf"
    folder.mkdir()
    config = ROOT / "fixtures" / "reference" / "pf-launched.toml"
    made = make_certificates(folder / "tls")
    pf = peers.launch(
        "pf",
        command(
            "serve", "--config", config, "--state", folder / "state", "--store", f"127.0.0.1:{store_port}",
            "--tls-cert", made.cert, "--tls-key", made.key, "--tls-ca", made.ca,
        ),
        folder / "pf.log", "cpmspec-pf ready ",
    )  # fmt: skip
    core = peers.start(
        "kamailio_core.py", "--pf", f"udp={pf.said['udp']},tcp={pf.said['tcp']}",
        "--towards", f"udp=127.0.0.1:{back},tcp=127.0.0.1:{back}",
        "--advertise", f"udp=127.0.0.1:{front},tcp=127.0.0.1:{front}",
    )  # fmt: skip
    profile = tmp_path / "profile.toml"
    profile.write_text(attached(pf, core, store, front, back, store_port), encoding="utf-8")
    run = run_suite(tmp_path / "run", "--profile", profile, *FEW, "--case", "TP_CPM_PF_DLV_V_061")
    assert run.status == 0, run.output + run.errors
    verdicts = [*run.verdicts.values()]
    assert verdicts.count("pass") == 8, run.verdicts  # four of V_031, V_061 over TCP; no TLS and no IPv6 here


def attached(pf: Peer, core: Peer, store: Peer, front: int, back: int, store_port: int) -> str:
    """The profile of a PF, a core and a store that somebody else has started."""
    host, _, port = pf.said["udp"].rpartition(":")
    return f"""
[iut]
name = "PF by address"
[iut.sip]
host = "{host}"
port = {port}
also = ["tcp:{pf.said["tcp"]}"]
[core]
port = {front}
[core.outside]
access = {table(core, "access")}
isc = {table(core, "isc")}
back_port = {back}
[users]
domain = "example.com"
prefix_on = "on-"
prefix_off = "off-"
prefix_push_on = "push-on-"
prefix_push_off = "push-off-"
[pics]
push = true
sip_transports = ["udp", "tcp"]
[ixit]
history_within = 10.0
[history]
store = "outside"
port = {store_port}
[history.outside]
address = "{store.said["address"]}"
"""


def table(core: Peer, key: str) -> str:
    addresses: dict[str, Any] = {leg: f"{host}:{port}" for leg, (host, port) in core.addresses(key).items()}
    return "{ " + ", ".join(f'{leg} = "{address}"' for leg, address in addresses.items()) + " }"


def test_a_core_that_dies_ends_the_run(tmp_path: Path) -> None:
    """Exit 70: it is neither the PF's fault nor a verdict; every case that was under way is inconclusive."""
    profile = tmp_path / "profile.toml"
    text = PROFILE.read_text(encoding="utf-8").replace('"{python}", "{suite}/fixtures/peers/kamailio_core.py"',
                                                       f'"{tmp_path}/core.sh"')  # fmt: skip
    profile.write_text(text, encoding="utf-8")
    script = tmp_path / "core.sh"
    script.write_text("#!/bin/sh\necho ready access=udp=127.0.0.1:9 isc=udp=127.0.0.1:9\nexit 3\n", encoding="utf-8")
    script.chmod(0o755)
    require("dovecot")
    run = run_suite(tmp_path / "run", "--profile", profile, *FEW)
    assert run.status == 70, run.output + run.errors
    assert "the outside core ended with status 3 in mid-run" in run.errors
    assert set(run.verdicts.values()) == {"inconc"}
    assert "Traceback" not in run.errors


def test_a_program_that_is_missing_is_named(tmp_path: Path) -> None:
    profile = tmp_path / "profile.toml"
    missing = str(tmp_path / "no-such-program")
    text = PROFILE.read_text(encoding="utf-8").replace(
        '"{python}", "{suite}/fixtures/peers/dovecot.py"', f'"{missing}"'
    )
    profile.write_text(text, encoding="utf-8")
    run = run_suite(tmp_path / "run", "--profile", profile, *FEW)
    assert run.status == 2
    assert f"history.outside.command: cannot start {missing}: No such file or directory" in run.errors
    assert not (tmp_path / "run" / "run.jsonl").exists()
