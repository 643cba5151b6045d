"""tshark, an independent dissector, finds SIP, MSRP and IMAP in our files, each MSRP message by itself."""

from __future__ import annotations

import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from cpmspec.evidence import pcapng
from cpmspec.evidence.context import Context
from cpmspec.evidence.recorder import Cutter
from cpmspec.evidence.trace import Address, Frame, Kind, Pco, Role, Trace

TSHARK = shutil.which("tshark")
pytestmark = pytest.mark.skipif(TSHARK is None, reason="tshark is absent: apt install tshark")

SIP = b"MESSAGE sip:bob@example.com SIP/2.0\r\nCSeq: 1 MESSAGE\r\nCall-ID: 1\r\nFrom: <sip:a@example.com>;tag=1\r\n"
SIP += b"To: <sip:bob@example.com>\r\nVia: SIP/2.0/TCP 127.0.0.1;branch=z9hG4bK1\r\nContent-Length: 2\r\n\r\nhi"
PATHS = b"To-Path: msrp://127.0.0.1:2855/a;tcp\r\nFrom-Path: msrp://127.0.0.1:41000/b;tcp\r\n"


def chunk(number: int) -> bytes:
    head = b"MSRP tr%d SEND\r\n" % number + PATHS + b"Message-ID: 1\r\nByte-Range: %d-*/9\r\n" % number
    return head + b"Content-Type: text/plain\r\n\r\nx\r\n-------tr%d+\r\n" % number


def frames(host: str, transport: str) -> list[Frame]:
    """SIP, MSRP and IMAP, on odd ports; eight MSRP chunks read in one piece."""
    iut, peer, store = Address(host, 42001), Address(host, 42002), Address(host, 42003)
    kept = [Frame(0, 1, Pco.ISC, Role.CORE, Role.IUT, transport, peer, Address(host, 5061), 1, octets=SIP)]
    pieces = Cutter().feed(b"".join(chunk(number) for number in range(1, 9)))
    kept += [Frame(0, 2, Pco.MSRP, Role.IUT, Role.CLIENT, transport, iut, peer, 2, octets=piece) for piece in pieces]
    kept.append(Frame(0, 3, Pco.STORE, Role.IUT, Role.STORE, transport, iut, store, 3, Kind.OPEN))
    kept.append(Frame(0, 4, Pco.STORE, Role.STORE, Role.IUT, transport, store, iut, 3, octets=b"* OK ready\r\n"))
    kept.append(Frame(0, 5, Pco.STORE, Role.IUT, Role.STORE, transport, iut, store, 3, octets=b"a1 LOGIN u p\r\n"))
    return kept


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("transport", ["tcp", "tls"])
def test_tshark_sees_every_message(tmp_path: Path, host: str, transport: str) -> None:
    path = pcapng.write(Trace.build(Context("case", ()), frames(host, transport)), tmp_path)
    fields = ["_ws.col.Protocol", "frame.interface_name", "msrp.transaction.id", "tcp.checksum.status"]
    command = [str(TSHARK), "-r", str(path), "-T", "fields", "-o", "tcp.check_checksum:TRUE", "-E", "occurrence=f"]
    for field in fields:
        command += ["-e", field]
    rows = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    table = [row.split("\t") for row in rows]
    protocols = Counter(row[0] for row in table if row[0] != "TCP")
    assert protocols == {"SIP": 1, "MSRP": 8, "IMAP": 2}
    assert [row[2] for row in table if row[2]] == [f"tr{number}" for number in range(1, 9)]
    assert {row[1] for row in table} == {"isc", "msrp", "store"}
    assert {row[3] for row in table} == {"1"}, "all checksums are right"
