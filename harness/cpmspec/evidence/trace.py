"""The evidence of one case: what crossed each point of control and observation (PCO), in order, with its time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import NamedTuple

from cpmspec.evidence.context import Context


class Pco(StrEnum):
    """A point of control and observation (architecture: PCOs)."""

    ISC = "isc"  #: core <-> PF, SIP
    GM = "gm"  #: client <-> core, SIP
    MSRP = "msrp"  #: client <-> PF, MSRP
    MO = "mo"  #: originator side: SIP to the core, MSRP to the PF
    STORE = "store"  #: PF <-> message store, IMAP


class Role(StrEnum):
    """Who sent or received a frame."""

    IUT = "iut"
    CORE = "core"
    CLIENT = "client"
    ORIGINATOR = "originator"
    STORE = "store"


class Kind(StrEnum):
    """What a frame is: octets, or the life of a connection (TCP and TLS only)."""

    OPEN = "open"
    DATA = "data"
    CLOSE = "close"
    RESET = "reset"
    LEFT = "left"  #: no end was seen before the trace ended; in the file it is a FIN like CLOSE, so that it dissects


class Address(NamedTuple):
    """A transport address: numeric host (IPv6 without brackets) and port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Frame:
    """Octets in one direction at one PCO, or the opening or end of a connection.

    A data frame holds at most one SIP or MSRP message and begins at a message's start whenever one starts in it; a
    message longer than 65,000 octets or read in several pieces takes several frames. ``time_us`` is in microseconds
    since the epoch: taken just before the octets are handed to the socket (ours) or just after they were read (the
    IUT's), on one clock for all processes of a run. ``connection`` numbers the TCP or TLS connections of the trace from
    1; 0 is UDP. ``number`` is the number of the (first) packet in the trace's pcapng, from 1.
    """

    number: int
    time_us: int
    pco: Pco
    sender: Role
    receiver: Role
    transport: str
    source: Address
    destination: Address
    connection: int
    kind: Kind = Kind.DATA
    octets: bytes = b""

    @property
    def from_iut(self) -> bool:
        """Whether the IUT sent it: only such octets can break a requirement."""
        return self.sender is Role.IUT


#: how many packets a frame of each kind takes in the pcapng: the opening is a three-way handshake
PACKETS = {Kind.OPEN: 3, Kind.DATA: 1, Kind.CLOSE: 1, Kind.RESET: 1, Kind.LEFT: 1}


@dataclass(frozen=True, slots=True)
class Trace:
    """All frames of one case in order, with the context that the judge needs to read them."""

    context: Context
    frames: tuple[Frame, ...] = field(default=())

    @classmethod
    def build(cls, context: Context, frames: Iterable[Frame]) -> Trace:
        """Order by time (arrival decides ties), number connections and packets, and complete each connection.

        A connection that lacks its opening or its end (because other cases share it, or it outlived the case) gets an
        ``OPEN`` at the time of its first or a ``LEFT`` at the time of its last octets. Building from a built trace's
        frames changes nothing.
        """
        ordered = sorted(frames, key=lambda frame: frame.time_us)
        completed = _completed(ordered)
        numbers: dict[int, int] = {0: 0}
        built: list[Frame] = []
        number = 1
        for frame in completed:
            connection = numbers.setdefault(frame.connection, len(numbers))
            built.append(replace(frame, number=number, connection=connection))
            number += PACKETS[frame.kind]
        return cls(context, tuple(built))

    def frame(self, number: int) -> Frame:
        """The frame with that number.

        :raises KeyError: there is none.
        """
        for frame in self.frames:
            if frame.number == number:
                return frame
        raise KeyError(number)


def _completed(frames: list[Frame]) -> list[Frame]:
    """Insert the missing opening and end of each connection."""
    opened: set[int] = set()
    last: dict[int, int] = {}
    ended: set[int] = set()
    for index, frame in enumerate(frames):
        if frame.connection:
            last[frame.connection] = index
            if frame.kind in (Kind.CLOSE, Kind.RESET, Kind.LEFT):
                ended.add(frame.connection)
    completed: list[Frame] = []
    for index, frame in enumerate(frames):
        if frame.connection and frame.connection not in opened:
            opened.add(frame.connection)
            if frame.kind is not Kind.OPEN:
                completed.append(replace(frame, kind=Kind.OPEN, octets=b""))
        completed.append(frame)
        if frame.connection and last[frame.connection] == index and frame.connection not in ended:
            completed.append(replace(frame, kind=Kind.LEFT, octets=b""))
    return completed
