"""Packets are built right: their own reader and scapy's independent one agree."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cpmspec.evidence.packets import Packet, PacketError, build, parse
from cpmspec.evidence.trace import Address

ports = st.integers(0, 65535)
words = st.integers(0, (1 << 32) - 1)
pairs = st.tuples(st.ip_addresses(v=4), st.ip_addresses(v=4)) | st.tuples(st.ip_addresses(v=6), st.ip_addresses(v=6))


@st.composite
def packets(draw: st.DrawFn) -> Packet:
    source, destination = (Address(str(host), draw(ports)) for host in draw(pairs))
    if draw(st.booleans()):
        return Packet("udp", source, destination, draw(st.binary(max_size=99)))
    return Packet(
        "tcp", source, destination, draw(st.binary(max_size=99)), draw(words), draw(words), draw(st.integers(0, 63))
    )


@settings(deadline=None)
@given(packets())
def test_what_is_built_is_parsed(packet: Packet) -> None:
    assert parse(build(packet), verify=True) == packet


@settings(deadline=None)
@given(packets())
def test_scapy_computes_the_same_checksums(packet: Packet) -> None:
    from scapy.layers.inet import IP, TCP, UDP
    from scapy.layers.inet6 import IPv6

    octets = build(packet)
    layers = (IPv6 if octets[0] >> 4 == 6 else IP)(octets)
    assert bytes(layers[TCP if packet.transport == "tcp" else UDP].payload) == packet.payload
    for kind in (IP, TCP, UDP):
        if kind in layers:
            del layers[kind].chksum
    assert bytes(layers) == octets


@settings(deadline=None)
@given(st.binary(max_size=80), st.sampled_from([0, 1, 101, 113, 7]))
def test_any_octets_are_a_packet_or_a_packet_error(octets: bytes, link_type: int) -> None:
    for version in (b"\x45", b"\x60"):
        with suppress(PacketError):
            parse(version + octets, link_type)


def test_a_changed_octet_is_found() -> None:
    octets = bytearray(build(Packet("udp", Address("::1", 1), Address("::1", 2), b"abcdef")))
    octets[-2] ^= 4
    with pytest.raises(PacketError, match="checksum"):
        parse(bytes(octets), verify=True)


SEGMENT = Packet("tcp", Address("2001:db8::1", 7), Address("2001:db8::2", 8), b"abcdef", 9, 10, 16)
DATAGRAM = Packet("udp", Address("127.0.0.1", 7), Address("127.0.0.2", 8), b"abc")


@pytest.mark.parametrize("packet", [SEGMENT, DATAGRAM])
def test_one_of_each_kind_is_built_and_parsed(packet: Packet) -> None:
    assert parse(build(packet), verify=True) == packet


@pytest.mark.parametrize(
    ("packet", "told"),
    [
        (replace(SEGMENT, payload=b"x" * 65_516), "fits into one IPv6 packet"),
        (replace(DATAGRAM, payload=b"x" * 65_528), "at most 65527 in a UDP datagram"),
        (replace(DATAGRAM, payload=b"x" * 65_508), "fits into one IPv4 packet"),
    ],
)
def test_what_is_too_long_is_refused(packet: Packet, told: str) -> None:
    with pytest.raises(PacketError, match=told):
        build(packet)


def extended(kind: int, header: bytes) -> bytes:
    """The segment behind an IPv6 extension header of that kind (RFC 8200 4)."""
    whole = build(SEGMENT)
    octets = bytearray(whole[:40] + header + whole[40:])
    octets[4:6] = (len(octets) - 40).to_bytes(2, "big")
    octets[6] = kind
    return bytes(octets)


@pytest.mark.parametrize("kind", [0, 43, 60])
@pytest.mark.parametrize("size", [8, 16])
def test_extension_headers_are_taken_off(kind: int, size: int) -> None:
    assert parse(extended(kind, bytes([6, size // 8 - 1]) + bytes(size - 2)), verify=True) == SEGMENT


@pytest.mark.parametrize(
    ("octets", "link_type", "told"),
    [
        (extended(44, bytes([6]) + bytes(7)), 101, "found an IPv6 fragment"),
        (extended(0, bytes([44]) + bytes(7)), 101, "found an IPv6 fragment"),
        (extended(0, bytes([6]) + bytes(7))[:44], 101, "found IP protocol 0"),
        (build(SEGMENT)[:39], 101, "found 39 octets, expected a whole IPv6 header"),
        (build(DATAGRAM)[:19], 101, "expected a whole IPv4 header"),
        (b"\x44" + build(DATAGRAM)[1:], 101, "found 31 octets and header length 16"),
        (build(DATAGRAM)[:27], 101, "found 7 octets after the IP header, expected at least 8"),
        (build(DATAGRAM), 7, "found link type 7"),
        (b"\0" * 14, 1, "found 14 octets, expected an IP header after 14"),
        (b"\x10" + build(DATAGRAM)[1:], 101, "found IP version 1"),
        (b"", 101, "found 0 octets, expected an IP header after 0"),
    ],
)
def test_what_is_no_such_packet_is_named(octets: bytes, link_type: int, told: str) -> None:
    with pytest.raises(PacketError, match=told):
        parse(octets, link_type)


def test_a_cut_packet_is_read_unless_it_must_be_whole() -> None:
    cut = build(DATAGRAM)[:-1]
    assert parse(cut) == replace(DATAGRAM, payload=b"ab", missing=1)
    with pytest.raises(PacketError, match="found 10 octets after the IP header, expected 11"):
        parse(cut, verify=True)
