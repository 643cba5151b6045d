"""From taps to evidence: every octet that crosses a point of observation becomes a frame.

A frame of ours is recorded before the octets are handed to the socket, a frame of the peer's right after it was read;
both carry the time that the tap took from the run's one clock. Connections are numbered so that the frames of several
processes of a run can stand in one trace.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace

from cpmspec.evidence.recorder import Cutter, Recorder, cut
from cpmspec.evidence.trace import Address, Frame, Kind, Pco, Role
from cpmspec.net.tap import Tap, TapEvent

__all__ = ["PeerRole", "Recorder", "connection_number", "frame_of", "greeted", "msrp_tap", "sip_tap"]

#: tells who a peer is; ``None``: nobody of ours, not recorded
PeerRole = Callable[[Address], Role | None]


def connection_number(connection: int) -> int:
    """A number for a connection of this process that no other process of the run uses; 0 (UDP) stays 0."""
    return connection and (os.getpid() << 32) + connection


def frame_of(event: TapEvent, pco: Pco, me: Role, peer: Role) -> Frame:
    """The frame that a tap's event is, seen from ``me``."""
    here, there = Address(*event.local[:2]), Address(*event.remote[:2])
    return Frame(
        number=0,
        time_us=event.time_us,
        pco=pco,
        sender=me if event.sent else peer,
        receiver=peer if event.sent else me,
        transport=event.transport,
        source=here if event.sent else there,
        destination=there if event.sent else here,
        connection=connection_number(event.connection),
        kind=Kind(event.kind),
        octets=event.octets,
    )


def sip_tap(recorder: Recorder, pco: Pco, me: Role, peer_role: PeerRole) -> Tap:
    """A tap for a SIP endpoint: one data frame for each SIP message."""

    def tap(event: TapEvent) -> None:
        peer = peer_role(Address(*event.remote[:2]))
        if peer is None:
            return
        frame = frame_of(event, pco, me, peer)
        for piece in cut(frame.octets) if frame.kind is Kind.DATA else (b"",):
            recorder(replace(frame, octets=piece))

    return tap


def greeted(tap: Tap, greet: Callable[[Address, bytes], None]) -> Tap:
    """A tap in front of another one, for who must know callers by what they say: their port says nothing.

    The opening of a connection to us is held back until ``greet`` was given the caller's address and first octets.
    """
    waiting: dict[int, TapEvent] = {}

    def front(event: TapEvent) -> None:
        if event.kind == "open" and not event.sent:
            waiting[event.connection] = event
            return
        opening = waiting.pop(event.connection, None)
        if opening is not None:
            greet(Address(*event.remote[:2]), b"" if event.sent else event.octets)
            tap(opening)
        tap(event)

    return front


def msrp_tap(recorder: Recorder, pco: Pco, me: Role, peer: Role) -> Tap:
    """A tap for MSRP connections: pieces of the stream are cut so that each message starts a frame of its own."""
    cutters: dict[tuple[int, bool], Cutter] = {}

    def tap(event: TapEvent) -> None:
        frame = frame_of(event, pco, me, peer)
        if frame.kind is not Kind.DATA:
            recorder(frame)
            if frame.kind is not Kind.OPEN:
                cutters.pop((event.connection, True), None)
                cutters.pop((event.connection, False), None)
            return
        cutter = cutters.setdefault((event.connection, event.sent), Cutter())
        for piece in cutter.feed(event.octets):
            recorder(replace(frame, octets=piece))

    return tap
