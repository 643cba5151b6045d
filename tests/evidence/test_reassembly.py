"""Streams of captures from elsewhere: order, retransmission, overlap, gaps, both file formats."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cpmspec.evidence.packets import ACK, FIN, RST, SYN, Packet, build
from cpmspec.evidence.pcapng import EvidenceError
from cpmspec.evidence.reassembly import Gap, Stream, _Direction, read_capture, streams
from cpmspec.evidence.trace import Address

A, B = Address("127.0.0.1", 40902), Address("127.0.0.1", 2855)
A6, B6 = Address("::1", 40902), Address("::1", 2855)
TEXT = bytes(range(97, 123))


def segment(sequence: int, payload: bytes = b"", flags: int = ACK, ends: tuple[Address, Address] = (A, B)) -> Packet:
    return Packet("tcp", *ends, payload, sequence % (1 << 32), 0, flags)


def data(base: int, *spans: tuple[int, int]) -> list[Packet]:
    return [segment(base + first, TEXT[first:last]) for first, last in spans]


def stream_of(packets: Iterable[Packet]) -> Stream:
    direction = None
    for number, packet in enumerate(packets, 1):
        direction = direction or _Direction(packet)
        direction.take(packet, number, number * 10)
    assert direction is not None
    return direction.stream()


def pcap(path: Path, packets: Iterable[bytes], *, order: str = "<", magic: int = 0xA1B2C3D4, link: int = 101) -> Path:
    octets = struct.pack(order + "IHHIIII", magic, 2, 4, 0, 0, 262144, link)
    for index, packet in enumerate(packets):
        octets += struct.pack(order + "IIII", 1_700_000_000, index, len(packet), len(packet)) + packet
    path.write_bytes(octets)
    return path


@settings(deadline=None)
@given(
    st.integers(0, (1 << 32) - 1),
    st.lists(st.tuples(st.integers(0, 26), st.integers(0, 26)).map(sorted).map(tuple), max_size=12),
    st.booleans(),
)
def test_any_order_gives_the_octets_that_were_there(isn: int, spans: list[tuple[int, int]], syn: bool) -> None:
    spans = [span for span in spans if span[0] < span[1]]
    packets = [*([segment(isn, flags=SYN)] if syn else []), *data(isn + 1, *spans)]
    if not packets:
        return
    stream = stream_of(packets)
    base = 0 if syn else min((first for first, _ in spans), default=0)
    covered = {at for first, last in spans for at in range(first, last)}
    assert {run.offset + at for run in stream.runs for at in range(len(run.octets))} == {at - base for at in covered}
    for run in stream.runs:
        assert run.octets == TEXT[base + run.offset : base + run.offset + len(run.octets)]
        assert all(run.piece_at(piece.offset) is piece for piece in run.pieces)
    edges = sorted([(run.offset, len(run.octets)) for run in stream.runs] + [(g.offset, g.length) for g in stream.gaps])
    assert all(first[0] + first[1] == second[0] for first, second in pairwise(edges))
    assert not edges or edges[0][0] == 0
    assert not stream.conflict


def test_sequence_numbers_wrap() -> None:
    isn = (1 << 32) - 6
    stream = stream_of([segment(isn, flags=SYN), *data(isn + 1, (0, 4), (8, 12), (4, 8))])
    assert [run.octets for run in stream.runs] == [TEXT[:12]]


def test_the_first_copy_counts_and_a_difference_is_told() -> None:
    stream = stream_of([segment(1, b"abcd"), segment(3, b"XXef"), segment(5, b"ef")])
    assert [run.octets for run in stream.runs] == [b"abcdef"]
    assert stream.conflict
    assert stream.segments == 3
    assert [piece.packet for piece in stream.runs[0].pieces] == [1, 2]


def test_octets_lost_at_the_start_and_at_the_end_are_gaps() -> None:
    stream = stream_of([segment(0, flags=SYN), *data(1, (3, 6)), segment(11, flags=FIN | ACK)])
    assert (stream.syn, stream.fin, stream.reset) == (True, True, False)
    assert stream.gaps == (Gap(0, 3), Gap(6, 4))
    with pytest.raises(KeyError):
        stream.runs[0].piece_at(2)


def test_a_reset_carries_no_octets() -> None:
    stream = stream_of([segment(5, b"ab"), segment(7, b"why", RST)])
    assert stream.reset
    assert [run.octets for run in stream.runs] == [b"ab"]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("magic", [0xA1B2C3D4, 0xA1B23C4D])
def test_classic_files_of_either_byte_order_and_resolution(tmp_path: Path, order: str, magic: int) -> None:
    file = pcap(tmp_path / "a.pcap", [build(segment(1, b"ab")), build(segment(3, b"cd"))], order=order, magic=magic)
    (stream,) = streams(file)
    assert stream.runs[0].octets == b"abcd"
    assert stream.runs[0].pieces[1].time_us == 1_700_000_000_000_000 + (0 if magic == 0xA1B23C4D else 1)


@pytest.mark.parametrize(
    ("link", "header"),
    [
        (1, bytes(12) + b"\x08\x00"),
        (1, bytes(12) + b"\x81\x00\x00\x07\x08\x00"),
        (0, b"\x02\0\0\0"),
        (113, bytes(16)),
        (276, bytes(20)),
    ],
)
def test_link_headers_are_taken_off(tmp_path: Path, link: int, header: bytes) -> None:
    file = pcap(tmp_path / "a.pcap", [header + build(segment(1, b"ab")) + b"padding"], link=link)
    assert streams(file)[0].runs[0].octets == b"ab"


def test_both_families_datagrams_and_a_second_connection(tmp_path: Path) -> None:
    packets = [
        build(segment(100, flags=SYN, ends=(A6, B6))),
        build(segment(101, b"one", ends=(A6, B6))),
        build(Packet("udp", A6, B6, b"datagram")),
        build(segment(100, flags=SYN, ends=(A6, B6))),  # the same SYN once more
        build(segment(900, flags=SYN, ends=(A6, B6))),
        build(segment(901, b"two", ends=(A6, B6))),
    ]
    capture = read_capture(pcap(tmp_path / "a.pcap", packets))
    assert [stream.runs[0].octets for stream in capture.streams] == [b"one", b"two"]
    assert [(one.packet, one.octets, one.source) for one in capture.datagrams] == [(3, b"datagram", A6)]


def test_what_is_not_understood_is_told(tmp_path: Path) -> None:
    fragment = bytearray(build(Packet("udp", A, B, b"x" * 64)))
    fragment[6:8] = b"\x20\x00"
    icmp = bytearray(build(Packet("udp", A, B, b"x")))
    icmp[9] = 1
    capture = read_capture(pcap(tmp_path / "a.pcap", [bytes(fragment), bytes(icmp), b"\x45", b"\x00" * 40]))
    assert [number for number, _ in capture.skipped] == [1, 2, 3, 4]
    assert "fragment" in capture.skipped[0][1]


def test_a_packet_cut_off_by_the_capture_leaves_a_gap(tmp_path: Path) -> None:
    whole = [build(segment(1, TEXT[:10])), build(segment(11, TEXT[10:20]))]
    (stream,) = streams(pcap(tmp_path / "a.pcap", [whole[0][:-4], whole[1]]))
    assert [run.octets for run in stream.runs] == [TEXT[:6], TEXT[10:20]]
    assert stream.gaps == (Gap(6, 4),)


def test_a_file_that_ends_inside_a_packet_is_read_up_to_there(tmp_path: Path) -> None:
    file = pcap(tmp_path / "a.pcap", [build(segment(1, b"ab")), build(segment(3, b"cd"))])
    file.write_bytes(file.read_bytes()[:-1])
    (stream,) = streams(file)
    assert stream.runs[0].octets == b"abc"
    assert stream.gaps == (Gap(3, 1),)


@pytest.mark.parametrize("octets", [b"", b"not a capture", b"\xd4\xc3\xb2\xa1"])
def test_no_capture_file(tmp_path: Path, octets: bytes) -> None:
    file = tmp_path / "a.pcap"
    file.write_bytes(octets)
    with pytest.raises(EvidenceError, match=r"a\.pcap: found .*, expected a pcap or pcapng file"):
        read_capture(file)
    with pytest.raises(EvidenceError, match=r"b\.pcap"):
        read_capture(tmp_path / "b.pcap")


def test_a_segment_that_spans_what_is_there_fills_in_both_sides() -> None:
    stream = stream_of([segment(100, flags=SYN), *data(101, (4, 6), (9, 12), (0, 26))])
    assert [run.octets for run in stream.runs] == [TEXT]
    assert [(piece.packet, piece.offset, len(piece.octets)) for piece in stream.runs[0].pieces] == [
        (4, 0, 4), (2, 4, 2), (4, 6, 3), (3, 9, 3), (4, 12, 14),
    ]  # fmt: skip
    assert (stream.runs[0].offset, stream.runs[0].piece_at(25).packet, stream.conflict) == (0, 4, False)
    with pytest.raises(KeyError):
        stream.runs[0].piece_at(26)


def test_a_keep_alive_probe_brings_no_octet() -> None:
    """RFC 9293 3.8.4: it repeats the octet before the next one, which may be that of the SYN."""
    stream = stream_of([segment(100, flags=SYN), segment(100, b"?"), *data(101, (0, 6))])
    assert [run.octets for run in stream.runs] == [TEXT[:6]]
    assert not stream.conflict
