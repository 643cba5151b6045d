"""Packets are built right: their own reader and scapy's independent one agree."""

from __future__ import annotations

from contextlib import suppress

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
