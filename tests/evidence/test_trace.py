"""A trace in order: frames found by number, and who sent them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cpmspec.evidence.context import Context
from cpmspec.evidence.trace import Address, Frame, Kind, Pco, Role, Trace

ENDS = Address("127.0.0.1", 5060), Address("127.0.0.1", 41000)
DATA = Frame(0, 5, Pco.ISC, Role.IUT, Role.CORE, "tcp", *ENDS, 9, Kind.DATA, b"abc")


def test_connections_are_completed_and_numbered_and_frames_found() -> None:
    later = replace(DATA, time_us=9, connection=4, sender=Role.CORE, receiver=Role.IUT)
    closed = replace(later, time_us=10, kind=Kind.CLOSE, octets=b"")
    datagram = replace(DATA, time_us=7, transport="udp", connection=0)
    trace = Trace.build(Context("case", ()), [closed, later, DATA, datagram])
    assert [(frame.number, frame.connection, frame.kind, frame.time_us) for frame in trace.frames] == [
        (1, 1, Kind.OPEN, 5),
        (4, 1, Kind.DATA, 5),
        (5, 1, Kind.LEFT, 5),
        (6, 0, Kind.DATA, 7),
        (7, 2, Kind.OPEN, 9),
        (10, 2, Kind.DATA, 9),
        (11, 2, Kind.CLOSE, 10),
    ]
    assert trace.frame(6).transport == "udp"
    assert [frame.from_iut for frame in trace.frames] == [True] * 4 + [False] * 3
    for number in (0, 2, 12):
        with pytest.raises(KeyError):
            trace.frame(number)
    assert Trace.build(trace.context, trace.frames) == trace
