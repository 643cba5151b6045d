"""One frame as packets and back: what fits no packet is refused, and a comment that is not ours is named."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cpmspec.evidence.framing import Sequences, comment, direction, frame_of
from cpmspec.evidence.packets import ACK, FIN, PSH, RST, SYN, Packet, PacketError
from cpmspec.evidence.trace import Address, Frame, Kind, Pco, Role

A, B = Address("127.0.0.1", 5060), Address("127.0.0.1", 41000)
DATA = Frame(7, 5, Pco.ISC, Role.IUT, Role.CORE, "tcp", A, B, 2, Kind.DATA, b"abc")
OPEN = replace(DATA, kind=Kind.OPEN, octets=b"")


def packets(*frames: Frame) -> list[Packet]:
    sequences = Sequences()
    return [packet for frame in frames for packet in sequences.packets(frame)]


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (replace(DATA, transport="sctp"), "found transport 'sctp'"),
        (replace(DATA, transport="udp"), "found connection 2 over udp"),
        (replace(DATA, connection=0), "found connection 0 over tcp"),
        (replace(DATA, kind=Kind.CLOSE), "found close with 3 octets over tcp"),
        (replace(DATA, transport="udp", connection=0, kind=Kind.OPEN, octets=b""), "found open with 0 octets over udp"),
        (replace(DATA, time_us=-1), "found time -1"),
        (replace(DATA, time_us=1 << 64), "found time 18446744073709551616"),
        (replace(DATA, source=Address("127.0.0.1", 65536)), "found port 65536"),
        (replace(DATA, destination=Address("127.0.0.1", -1)), "found port -1"),
        (DATA, "found octets of connection 2, expected its handshake first"),
    ],
)
def test_what_could_not_be_read_back_is_refused(wrong: Frame, told: str) -> None:
    with pytest.raises(PacketError, match=told):
        packets(wrong)


def test_a_connection_from_its_opening_to_its_end() -> None:
    back = replace(DATA, source=B, destination=A, sender=Role.CORE, receiver=Role.IUT, octets=b"defgh")
    found = packets(OPEN, DATA, back, replace(DATA, octets=b""), replace(OPEN, kind=Kind.CLOSE))
    base, other = 2 << 20, (2 << 20) + (1 << 19)
    assert [(one.flags, one.sequence - base, one.acknowledgement - base) for one in found] == [
        (SYN, 0, -base),
        (SYN | ACK, other - base, 1),
        (ACK, 1, other - base + 1),
        (PSH | ACK, 1, other - base + 1),
        (PSH | ACK, other - base + 1, 4),
        (PSH | ACK, 4, other - base + 6),
        (FIN | ACK, 4, other - base + 6),
    ]


KINDS = [(Kind.OPEN, SYN), (Kind.DATA, PSH | ACK), (Kind.CLOSE, FIN | ACK), (Kind.LEFT, FIN | ACK), (Kind.RESET, RST)]


@pytest.mark.parametrize(("kind", "flags"), KINDS)
@pytest.mark.parametrize("transport", ["tcp", "tls"])
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_packet_with_its_comment_is_the_frame(kind: Kind, flags: int, transport: str, host: str) -> None:
    source, destination = Address(host, 5061), Address(host, 41000)
    octets = b"abc" if kind is Kind.DATA else b""
    frame = replace(DATA, source=source, destination=destination, transport=transport, kind=kind, octets=octets)
    packet = packets(frame)[0] if kind is Kind.OPEN else packets(replace(frame, kind=Kind.OPEN, octets=b""), frame)[-1]
    assert packet.flags & flags == flags
    assert frame_of(7, 5, Pco.ISC, comment(frame, packet), packet) == frame


def test_a_datagram_with_its_comment_is_the_frame() -> None:
    frame = replace(DATA, transport="udp", connection=0)
    (packet,) = packets(frame)
    assert comment(frame, packet) == "iut > core"
    assert frame_of(7, 5, Pco.ISC, "iut > core", packet) == frame


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "expected e.g. 'iut > core; connection=1'"),
        ("iut > core", "found comment 'iut > core' on tcp"),
        ("iut > moon; connection=1", "'moon' is not a valid Role"),
        ("iut > core; connection=1; from=a:b to=c:d", "invalid literal"),
    ],
)
def test_a_comment_that_is_not_ours_is_named(text: str, told: str) -> None:
    with pytest.raises(PacketError, match=told):
        frame_of(1, 0, Pco.ISC, text, packets(OPEN)[0])


def test_directions_are_those_of_the_harness() -> None:
    syn, answer, _ = packets(OPEN)
    assert [direction(OPEN, packet) for packet in (syn, answer)] == [1, 2]
    beside = replace(OPEN, sender=Role.CLIENT)
    assert direction(beside, syn) is None
