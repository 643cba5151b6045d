"""Evidence survives the way through a file exactly, and damage is named."""

from __future__ import annotations

import json
import struct
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cpmspec.evidence import pcapng
from cpmspec.evidence.context import Context, ServedUser, Submission
from cpmspec.evidence.pcapng import CONTEXT_NAME, TRACE_NAME, EvidenceError
from cpmspec.evidence.reassembly import read_capture
from cpmspec.evidence.recorder import MAX_OCTETS
from cpmspec.evidence.trace import Address, Frame, Kind, Pco, Role, Trace

T0 = 1_700_000_000_000_001
CONTEXT = Context("TP_CPM_PF_DLV_V_001-pager-pull", ("DLV-1.1",))

ports = st.sampled_from([0, 143, 5060, 5061, 40001, 65535])
hosts = {
    4: st.ip_addresses(v=4).map(str),
    6: st.ip_addresses(v=6).map(str) | st.sampled_from(["::1", "0:0:0:0:0:0:0:1", "fe80::1%lo"]),
}
times = st.integers(0, 5_000_000).map(lambda us: T0 + us) | st.integers(0, (1 << 53) + 3)
roles = st.sampled_from(Role)


@st.composite
def conversations(draw: st.DrawFn, connection: int) -> list[Frame]:
    """Frames of one connection, or of datagrams between two ends where ``connection`` is 0."""
    version = draw(st.sampled_from([4, 6]))
    ends = [Address(draw(hosts[version]), draw(ports)) for _ in range(2)]
    sides = [draw(roles), draw(roles)]
    pco = draw(st.sampled_from(Pco))
    transport = "udp" if connection == 0 else draw(st.sampled_from(["tcp", "tls"]))
    kinds = [Kind.DATA] if connection == 0 else [Kind.DATA, Kind.DATA, Kind.OPEN, Kind.CLOSE, Kind.RESET]
    frames = []
    for _ in range(draw(st.integers(1, 5))):
        way, kind = draw(st.sampled_from([1, -1])), draw(st.sampled_from(kinds))
        octets = draw(st.binary(max_size=60)) if kind is Kind.DATA else b""
        (sender, receiver), (source, destination) = sides[::way], ends[::way]
        time_us = draw(times)
        frames.append(
            Frame(0, time_us, pco, sender, receiver, transport, source, destination, connection, kind, octets)
        )
    return frames


@st.composite
def traces(draw: st.DrawFn) -> Trace:
    parts = [draw(conversations(connection)) for connection in draw(st.lists(st.integers(0, 4), max_size=4))]
    case = draw(st.text(max_size=20))
    user = ServedUser("sip:on-1@example.com", draw(st.booleans()), "pull", "on-1")
    sent = Submission(user.uri, "pager", draw(st.text(max_size=9)) + "\udcff", "text/plain", 3, "ab" * 32)
    context = Context(
        case, ("DLV-1.1",), (user,), sent=(sent,), ixit={"bye_within": 5.0, "stored": ["To", {"a": None}]}
    )
    return Trace.build(context, [frame for part in parts for frame in part])


@settings(max_examples=150, deadline=None)
@given(traces())
def test_what_is_written_is_read(trace: Trace) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = pcapng.write(trace, Path(folder))
        assert pcapng.read(Path(folder)) == trace
        assert sorted(entry.name for entry in Path(folder).iterdir()) == [CONTEXT_NAME, TRACE_NAME]
        whole = path.read_bytes()
        pcapng.write(trace, Path(folder))
        assert path.read_bytes() == whole, "the same trace makes the same file"


def frame(octets: bytes, *, transport: str = "tcp", kind: Kind = Kind.DATA, us: int = 0) -> Frame:
    ends = Address("127.0.0.1", 2855), Address("127.0.0.1", 41000)
    connection = 0 if transport == "udp" else 1
    return Frame(0, T0 + us, Pco.MSRP, Role.IUT, Role.CLIENT, transport, *ends, connection, kind, octets)


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    """A small trace on disk: 3 packets of handshake, 3 of data, 1 of the end."""
    frames = [frame(f"MSRP abc{index} SEND\r\n".encode(), us=index) for index in range(3)]
    pcapng.write(Trace.build(CONTEXT, frames), tmp_path)
    return tmp_path


def block_offsets(octets: bytes) -> list[tuple[int, int]]:
    """Offset and length of each packet's block."""
    found, at = [], 0
    while at < len(octets):
        kind, length = struct.unpack_from("<II", octets, at)
        if kind == 6:
            found.append((at, length))
        at += length
    return found


def test_longest_frames_survive(tmp_path: Path) -> None:
    frames = [frame(b"x" * MAX_OCTETS), frame(b"y" * 65_507, transport="udp", us=1)]
    trace = Trace.build(CONTEXT, frames)
    pcapng.write(trace, tmp_path)
    assert pcapng.read(tmp_path) == trace


def test_longest_datagram_over_ipv6_survives(tmp_path: Path) -> None:
    ends = Address("::1", 5060), Address("::1", 5070)
    trace = Trace.build(
        CONTEXT, [Frame(0, T0, Pco.ISC, Role.CORE, Role.IUT, "udp", *ends, 0, Kind.DATA, b"z" * 65_527)]
    )
    pcapng.write(trace, tmp_path)
    assert pcapng.read(tmp_path) == trace


def test_a_capture_reader_sees_the_connection(stored: Path) -> None:
    capture = read_capture(stored / TRACE_NAME)
    there = capture.streams[0]
    assert (there.syn, there.fin, there.gaps, len(there.runs)) == (True, True, (), 1)
    assert there.runs[0].octets == b"MSRP abc0 SEND\r\nMSRP abc1 SEND\r\nMSRP abc2 SEND\r\n"
    assert [piece.packet for piece in there.runs[0].pieces] == [4, 5, 6]
    assert capture.skipped == ()


def test_interfaces_are_the_pcos(stored: Path) -> None:
    from scapy.utils import RawPcapNgReader

    reader: Any = RawPcapNgReader(str(stored / TRACE_NAME))
    with reader:
        packets = list(reader)
        assert [options["name"] for _, _, options in reader.interfaces] == [pco.value.encode() for pco in Pco]
    assert {meta.ifname for _, meta in packets} == {b"msrp"}
    assert packets[0][1].comments[0] == b"iut > client; connection=1"


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        (frame(b"x" * 65_496), "fits into one IPv4 packet"),
        (frame(b"x", kind=Kind.CLOSE), "expected data"),
        (frame(b"", transport="udp", kind=Kind.RESET), "expected data"),
        (frame(b"", transport="sctp"), "expected udp, tcp or tls"),
    ],
)
def test_frames_that_fit_no_packet_are_refused(tmp_path: Path, bad: Frame, told: str) -> None:
    with pytest.raises(EvidenceError, match=told):
        pcapng.write(Trace.build(CONTEXT, [bad]), tmp_path)
    assert list(tmp_path.iterdir()) == [], "nothing half written is left"


def test_names_and_mixed_families_are_refused(tmp_path: Path) -> None:
    for host in ("localhost", "::1"):
        ends = Address(host, 1), Address("127.0.0.1", 2)
        bad = Frame(0, T0, Pco.ISC, Role.CORE, Role.IUT, "udp", *ends, 0)
        with pytest.raises(EvidenceError, match=r"packet 1: found .*, expected"):
            pcapng.write(Trace.build(CONTEXT, [bad]), tmp_path)


def test_an_unbuilt_trace_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EvidenceError, match=r"Trace\.build"):
        pcapng.write(Trace(CONTEXT, (frame(b"x"),)), tmp_path)


def test_a_failed_write_leaves_the_old_evidence(stored: Path) -> None:
    before = pcapng.read(stored)
    with pytest.raises(EvidenceError):
        pcapng.write(Trace.build(CONTEXT, [frame(b"x" * 70_000)]), stored)
    assert pcapng.read(stored) == before


@pytest.mark.parametrize("name", [CONTEXT_NAME, TRACE_NAME])
def test_a_missing_file_is_named(stored: Path, name: str) -> None:
    (stored / name).unlink()
    with pytest.raises(EvidenceError, match=rf"{name}: found No such file"):
        pcapng.read(stored)


def test_every_truncation_is_noticed(stored: Path) -> None:
    path = stored / TRACE_NAME
    whole = path.read_bytes()
    first = block_offsets(whole)[0][0]
    for length in range(first + 1, len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(
            EvidenceError, match=r"trace\.pcapng(, (after )?packet \d+ at|: found \d packets, expected 7)"
        ):
            pcapng.read(stored)


def test_a_flipped_octet_is_noticed(stored: Path) -> None:
    path = stored / TRACE_NAME
    whole = bytearray(path.read_bytes())
    at = whole.index(b"MSRP abc1")
    whole[at] ^= 1
    path.write_bytes(whole)
    with pytest.raises(EvidenceError, match="packet 5: found a wrong checksum"):
        pcapng.read(stored)


def test_a_packet_taken_out_is_noticed(stored: Path) -> None:
    path = stored / TRACE_NAME
    whole = path.read_bytes()
    at, length = block_offsets(whole)[4]
    path.write_bytes((whole[:at] + whole[at + length :]).replace(b"packets=7", b"packets=6"))
    with pytest.raises(EvidenceError, match=r"packet 5: found sequence number .* missing or was changed"):
        pcapng.read(stored)


def test_another_context_is_noticed(stored: Path) -> None:
    path = stored / CONTEXT_NAME
    path.write_text(path.read_text().replace("DLV-1.1", "DLV-1.2"))
    with pytest.raises(EvidenceError, match=r"packet 1: found the digest of another context\.json"):
        pcapng.read(stored)


@pytest.mark.parametrize("text", ["", "[]", "{", json.dumps({"case": "x", "purposes": [], "colour": "red"})])
def test_a_context_that_is_none_is_named(stored: Path, text: str) -> None:
    (stored / CONTEXT_NAME).write_text(text)
    with pytest.raises(EvidenceError, match=r"context\.json: found .*, expected a case's context"):
        pcapng.read(stored)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_no_damage_raises_anything_else(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pcapng.write(Trace.build(CONTEXT, [frame(b"MSRP abc1 SEND\r\n")]), folder)
        octets = bytearray((folder / TRACE_NAME).read_bytes())
        for _ in range(data.draw(st.integers(1, 3))):
            octets[data.draw(st.integers(0, len(octets) - 1))] = data.draw(st.integers(0, 255))
        (folder / TRACE_NAME).write_bytes(octets)
        with suppress(EvidenceError):
            pcapng.read(folder)


def section(length: int = 28) -> bytes:
    """A section header block of any length."""
    body = struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1)[: length - 12]
    return struct.pack("<II", 0x0A0D0D0A, length) + body + struct.pack("<I", length)


@pytest.mark.parametrize(
    ("octets", "told"),
    [
        (b"", "found nothing, expected a pcapng section header"),
        (b"\x0a\x0d\x0d\x0a" + bytes(24), "expected a pcapng section header"),
        (section() + b"\x06\0\0\0", "expected a whole block"),
        (section() + struct.pack("<III", 6, 12, 16), "a block whose two lengths differ, expected 12 twice"),
        (section(16), r"found .*, expected a pcapng section header"),
        (section() + struct.pack("<III", 6, 12, 12), "packet 1: found damaged fields, expected a packet"),
    ],
)
def test_blocks_that_are_none_are_named(stored: Path, octets: bytes, told: str) -> None:
    (stored / TRACE_NAME).write_bytes(octets)
    with pytest.raises(EvidenceError, match=told):
        pcapng.read(stored)


def test_packets_are_counted(stored: Path) -> None:
    assert pcapng.packet_count(stored / TRACE_NAME) == 7


def changed(stored: Path, old: bytes, new: bytes) -> None:
    path = stored / TRACE_NAME
    whole = path.read_bytes()
    assert len(old) == len(new)
    assert old in whole
    path.write_bytes(whole.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (b"context.json sha", b"content.json sha", "found comment 'content.json .*', expected the digest of context"),
        (b"packets=7", b"packets=8", "found 7 packets, expected 8"),
        (b"iut > client; connection=1", b"iut > clyent; connection=1", "packet 1: found comment"),
    ],
)
def test_changed_comments_are_named(stored: Path, old: bytes, new: bytes, told: str) -> None:
    changed(stored, old, new)
    with pytest.raises(EvidenceError, match=told):
        pcapng.read(stored)


def test_a_handshake_without_its_answer_is_noticed(stored: Path) -> None:
    path = stored / TRACE_NAME
    whole = path.read_bytes()
    at, length = block_offsets(whole)[1]
    path.write_bytes((whole[:at] + whole[at + length :]).replace(b"packets=7", b"packets=6"))
    with pytest.raises(EvidenceError, match=r"found TCP flags \[2, 16, 24\], expected a handshake"):
        pcapng.read(stored)


def test_another_resolution_of_time_is_noticed(stored: Path) -> None:
    """Another program may have written the file anew, with nanoseconds (option if_tsresol of the interface)."""
    octets = bytearray((stored / TRACE_NAME).read_bytes())
    at = octets.index(struct.pack("<HH", 2, 3) + b"isc\0")  # option if_name of the first interface
    assert octets[at : at + 8] == struct.pack("<HH", 2, 3) + b"isc\0"
    octets[at : at + 8] = struct.pack("<HH", 9, 1) + b"\x09\0\0\0"
    at = octets.index(struct.pack("<HH", 2, 4) + b"msrp")
    octets[at : at + 8] = struct.pack("<HH", 9, 1) + b"\x09\0\0\0"
    (stored / TRACE_NAME).write_bytes(octets)
    with pytest.raises(EvidenceError, match="packet 1: found another time format, expected microseconds"):
        pcapng.read(stored)
