"""From taps to frames."""

from __future__ import annotations

from typing import Any

import pytest

from cpmspec.actors.recording import connection_number, greeted, msrp_tap, sip_tap
from cpmspec.evidence.trace import Address, Frame, Kind, Pco, Role
from cpmspec.net.tap import TapEvent

HERE, THERE = ("127.0.0.1", 1000), ("127.0.0.1", 2000)


def event(octets: bytes = b"", *, kind: Any = "data", sent: bool = True, connection: int = 7) -> TapEvent:
    return TapEvent(kind, 123, "tcp" if connection else "udp", HERE, THERE, sent, octets, connection)


def test_direction_gives_roles_and_addresses() -> None:
    frames: list[Frame] = []
    tap = sip_tap(frames.append, Pco.GM, Role.CLIENT, lambda _: Role.CORE)
    tap(event(b"out", connection=0))
    tap(event(b"in", sent=False))
    assert [(frame.sender, frame.receiver, frame.source, frame.octets) for frame in frames] == [
        (Role.CLIENT, Role.CORE, Address(*HERE), b"out"),
        (Role.CORE, Role.CLIENT, Address(*THERE), b"in"),
    ]
    assert frames[0].connection == 0
    assert (frames[0].number, frames[0].time_us, frames[0].transport) == (0, 123, "udp")


def test_nobody_is_not_recorded() -> None:
    frames: list[Frame] = []
    sip_tap(frames.append, Pco.ISC, Role.CORE, lambda _: None)(event(b"x"))
    assert frames == []


@pytest.mark.parametrize(("kind", "octets"), [("data", b"in"), ("close", b"")])
def test_an_opening_waits_for_what_the_caller_says(kind: Any, octets: bytes) -> None:
    told: list[object] = []
    tap = greeted(told.append, lambda caller, octets: told.append((caller, octets)))
    opening, first, second = event(kind="open", sent=False), event(octets, kind=kind, sent=False), event(b"out")
    tap(opening)
    assert told == []
    tap(first)
    tap(second)
    assert told == [(Address(*THERE), octets), opening, first, second]


def test_what_we_open_waits_for_nothing() -> None:
    told: list[object] = []
    tap = greeted(told.append, lambda caller, octets: told.append((caller, octets)))
    events = [event(kind="open"), event(b"in", sent=False), event(b"datagram", sent=False, connection=0)]
    for one in events:
        tap(one)
    assert told == events


def test_long_messages_take_several_frames() -> None:
    frames: list[Frame] = []
    sip_tap(frames.append, Pco.ISC, Role.CORE, lambda _: Role.IUT)(event(b"x" * 130_001))
    assert [len(frame.octets) for frame in frames] == [65_000, 65_000, 1]


def test_msrp_is_cut_at_the_start_of_each_message_by_direction_and_connection() -> None:
    frames: list[Frame] = []
    tap = msrp_tap(frames.append, Pco.MSRP, Role.CLIENT, Role.IUT)
    message = b"MSRP abcd SEND\r\nTo-Path: x\r\nFrom-Path: y\r\n-------abcd$\r\n"
    tap(event(kind="open"))
    tap(event(message + message[:10]))
    tap(event(message, sent=False))
    tap(event(message[10:]))
    tap(event(kind="close", sent=False))
    data = [frame.octets for frame in frames if frame.kind is Kind.DATA]
    assert data == [message, message[:10], message, message[10:]]
    assert [frame.kind for frame in frames if frame.kind is not Kind.DATA] == [Kind.OPEN, Kind.CLOSE]
    assert frames[-1].sender is Role.IUT


def test_connection_numbers_differ_between_processes() -> None:
    assert connection_number(0) == 0
    assert connection_number(1) > 2**32
    assert connection_number(1) != connection_number(2)
