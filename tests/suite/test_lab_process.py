"""The lab's process: tells where it listens, refuses an address in use, and ends with its standard input."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import cpmspec
from cpmspec.suite.control import ControlLine

TOKEN = "0123456789abcdef"


def config(tmp_path: Path, **core: Any) -> bytes:
    plain = {
        "token": TOKEN, "domain": "example.com", "psi": "sip:deferred@example.com", "sources": [], "t1": 0.01,
        "frames": str(tmp_path / "frames.jsonl"),
        "core": {"host": "127.0.0.1", "port": 0, "tls_port": 0, "host6": "", "tls_cert": "", "tls_key": "", "ca": "",
                 "outside": None, **core},
        "store": {"host": "127.0.0.1", "port": 0, "password": "cpmspec", "outside": None},
    }  # fmt: skip
    return json.dumps(plain).encode() + b"\n"


def start(first_line: bytes) -> subprocess.Popen[bytes]:
    source = str(Path(cpmspec.__file__).parent.parent)
    process = subprocess.Popen(
        [sys.executable, "-m", "cpmspec.suite.lab_process"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": source},
    )  # fmt: skip
    assert process.stdin is not None
    process.stdin.write(first_line)
    process.stdin.flush()
    return process


def end(process: subprocess.Popen[bytes]) -> int:
    process.communicate(timeout=20)
    return process.returncode


def test_it_tells_where_it_listens_and_ends_with_its_input(tmp_path: Path) -> None:
    process = start(config(tmp_path))
    assert process.stdout is not None
    ready = json.loads(process.stdout.readline())["ready"]
    assert set(ready) == {"control", "front", "access", "store"}
    assert {"udp", "tcp"} <= ready["front"].keys()
    line = ControlLine((ready["control"][0], ready["control"][1]), TOKEN)
    assert line.call("state")["gone"] is None
    line.call("iut", endpoints={"udp": ["127.0.0.1", 9]}, sources=[])
    assert line.call("ping", timeout=0.2)["alive"] is False
    line.call("iut-gone", time_us=5, reason="it died")
    assert line.call("state")["gone"] == {"time_us": 5, "reason": "it died"}
    line.call("stop", reason="no core")
    line.call("stop", reason="no store either")
    assert line.call("state")["stopped"] == "no core"  # a worker may still be to come
    line.close()
    assert end(process) == 0
    assert (tmp_path / "frames.jsonl").is_file()


def test_cases_end_when_the_store_is_not_there(tmp_path: Path) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        wanted = json.loads(config(tmp_path))
        wanted["store"]["outside"] = nobody.getsockname()
        process = start(json.dumps(wanted).encode() + b"\n")
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())["ready"]
        line = ControlLine((ready["control"][0], ready["control"][1]), TOKEN)
        with socket.create_connection(tuple(ready["store"])) as pf, pytest.raises(ConnectionResetError):
            pf.recv(1)
        assert "the message store at 127.0.0.1:" in line.call("state")["stopped"]
        line.close()
        assert end(process) == 0


def test_with_an_outside_core_it_relays(tmp_path: Path) -> None:
    process = start(config(tmp_path, outside={"back_port": 0, "back_tls_port": 0}))
    assert process.stdout is not None
    ready = json.loads(process.stdout.readline())["ready"]
    assert set(ready) == {"control", "front", "back", "store"}
    line = ControlLine((ready["control"][0], ready["control"][1]), TOKEN)
    line.call("outside-core", isc={"udp": ["127.0.0.1", 9]})
    assert line.call("third-party", user="sip:nobody@example.com", gone=False)["status"] is None
    line.close()
    assert end(process) == 0


def test_an_address_in_use(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        process = start(config(tmp_path, port=taken.getsockname()[1]))
        assert process.stdout is not None
        assert "address already in use" in json.loads(process.stdout.readline())["error"].lower()
        assert end(process) == 1


def test_no_configuration(tmp_path: Path) -> None:
    assert end(start(b"")) == 1
