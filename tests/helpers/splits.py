"""Streams cut into pieces: whatever the cuts, a reader must give the same events."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from itertools import pairwise
from typing import Any, Protocol

from captures import capture, facts, names
from cpmspec.evidence.reassembly import read_capture
from cpmspec.wire.imap import ImapCommandStream, ImapResponseStream
from cpmspec.wire.msrp import FrameBegin, FrameData, FrameEnd, MsrpEvent, MsrpStream, Unreadable
from cpmspec.wire.sip import SipStream
from dissect_imap import PORT

#: every direction of every capture
STREAMS = [(name, direction) for name in names() for direction in facts()[name]["direction"]]


class Reader(Protocol):
    """What all our incremental readers have in common."""

    def feed(self, octets: bytes) -> Sequence[Any]: ...


@cache
def runs(name: str, direction: str) -> list[bytes]:
    """Every unbroken stretch of octets of a direction; datagrams are joined, for they tell their lengths too."""
    held = read_capture(capture(name))
    datagrams = [one.octets for one in held.datagrams if f"{one.source.port}>{one.destination.port}" == direction]
    streams = [one for one in held.streams if f"{one.source.port}>{one.destination.port}" == direction]
    return [*([b"".join(datagrams)] if datagrams else []), *(run.octets for one in streams for run in one.runs)]


def reader_of(name: str, direction: str) -> type[Reader]:
    """The reader of what a direction of a capture speaks."""
    if name in names("msrp"):
        return MsrpStream
    if name in names("sip"):
        return SipStream
    return ImapCommandStream if direction.endswith(f">{PORT}") else ImapResponseStream


def read(reader: type[Reader], pieces: Iterable[bytes]) -> list[Any]:
    """What a reader gives for octets in these pieces, adjacent body octets joined, and what it keeps at the end."""
    stream = reader()
    events = [event for piece in pieces for event in stream.feed(piece)]
    if isinstance(stream, MsrpStream):
        return merged([*events, *stream.close()])
    return [*events, stream.pending]  # type: ignore[attr-defined]  # the others have it


def merged(events: Sequence[MsrpEvent]) -> list[MsrpEvent]:
    """The events with adjacent octets of one body in one."""
    joined: list[MsrpEvent] = []
    for event in events:
        if isinstance(event, FrameData) and joined and isinstance(joined[-1], FrameData):
            joined[-1] = FrameData(joined[-1].octets + event.octets)
        else:
            joined.append(event)
    return joined


def cut(octets: bytes, places: Iterable[int]) -> list[bytes]:
    """The octets in pieces."""
    return [octets[first:last] for first, last in pairwise([0, *sorted(places), len(octets)])]


def borders(reader: type[Reader], octets: bytes) -> list[int]:
    """Where the messages of a stream begin, and where the last one ends."""
    found = [0]
    for unit in read(reader, [octets]):
        match unit:
            case FrameBegin(head):
                found.append(found[-1] + len(head.raw))
            case FrameData(piece):
                found[-1] += len(piece)
            case FrameEnd(raw=raw):
                found[-1] += len(raw)
            case Unreadable(piece):
                found.append(found[-1] + len(piece))
            case bytes():
                found.append(found[-1] + len(unit))
            case _:
                whole = unit.raw if hasattr(unit, "raw") else unit.octets
                found.append(found[-1] + len(whole() if callable(whole) else whole))
    return found


def differing(reader: type[Reader], octets: bytes, places: Iterable[int]) -> list[int]:
    """The places at which a cut into two changes what is read."""
    whole = read(reader, [octets])
    return [place for place in places if read(reader, [octets[:place], octets[place:]]) != whole]
