"""TCP streams and UDP datagrams of a capture from anywhere; what was not captured is a gap, never made up.

RFC 9293 3.4: octets are ordered by sequence number, whatever the order of arrival; of octets seen twice the first copy
counts. A run is an unbroken stretch of octets; between runs there are gaps of known length.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cpmspec.evidence.packets import FIN, RST, SYN, Packet, PacketError, parse
from cpmspec.evidence.pcapng import EvidenceError
from cpmspec.evidence.trace import Address

_MODULUS = 1 << 32
_LONGEST_PACKET = 1 << 18


@dataclass(frozen=True, slots=True)
class Piece:
    """Octets of one packet at their place in the stream; ``packet`` is its number in the capture, from 1."""

    offset: int
    time_us: int
    packet: int
    octets: bytes

    @property
    def end(self) -> int:
        """The offset after the last octet."""
        return self.offset + len(self.octets)


@dataclass(frozen=True, slots=True)
class Run:
    """An unbroken stretch of a stream: pieces that join without a gap."""

    pieces: tuple[Piece, ...]

    @property
    def offset(self) -> int:
        """Where it begins, in octets from the start of the stream."""
        return self.pieces[0].offset

    @property
    def octets(self) -> bytes:
        """Its octets."""
        return b"".join(piece.octets for piece in self.pieces)

    def piece_at(self, offset: int) -> Piece:
        """The piece that brought the octet at an offset of the stream.

        :raises KeyError: the offset is outside the run.
        """
        index = bisect_right(self.pieces, offset, key=lambda piece: piece.offset) - 1
        if index < 0 or offset >= self.pieces[index].end:
            raise KeyError(offset)
        return self.pieces[index]


@dataclass(frozen=True, slots=True)
class Gap:
    """Octets that were sent but not captured."""

    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class Stream:
    """One direction of one TCP connection.

    Offsets count from the first octet after the SYN or, where none was captured, from the lowest octet seen.
    ``segments`` counts the packets with payload, retransmissions included; ``conflict`` tells that a retransmission
    differed from the octets it repeats.
    """

    source: Address
    destination: Address
    syn: bool
    fin: bool
    reset: bool
    segments: int
    conflict: bool
    runs: tuple[Run, ...]
    gaps: tuple[Gap, ...]


@dataclass(frozen=True, slots=True)
class Datagram:
    """One UDP datagram; ``missing`` octets of it were cut off by the capture."""

    time_us: int
    packet: int
    source: Address
    destination: Address
    octets: bytes
    missing: int = 0


@dataclass(frozen=True, slots=True)
class Capture:
    """What a capture file holds: streams by first appearance, datagrams in order, and what was not understood."""

    streams: tuple[Stream, ...]
    datagrams: tuple[Datagram, ...]
    skipped: tuple[tuple[int, str], ...] = field(default=())  #: packet number and reason


def streams(path: Path) -> tuple[Stream, ...]:
    """The TCP streams of a classic pcap or pcapng file.

    :raises EvidenceError: it is no capture file.
    """
    return read_capture(path).streams


def read_capture(path: Path) -> Capture:
    """Everything a classic pcap or pcapng file holds; a file that ends inside a packet is read up to there.

    :raises EvidenceError: it is no capture file.
    """
    under_way: dict[tuple[Address, Address], _Direction] = {}
    directions: list[_Direction] = []
    datagrams: list[Datagram] = []
    skipped: list[tuple[int, str]] = []
    for number, (octets, link_type, time_us) in enumerate(_packets(path), 1):
        try:
            packet = parse(octets, link_type)
        except PacketError as problem:
            skipped.append((number, str(problem)))
            continue
        ends = packet.source, packet.destination
        if packet.transport == "udp":
            datagrams.append(Datagram(time_us, number, *ends, packet.payload, packet.missing))
            continue
        direction = under_way.get(ends)
        if direction is None or direction.is_over(packet):
            direction = under_way[ends] = _Direction(packet)
            directions.append(direction)
        direction.take(packet, number, time_us)
    return Capture(tuple(direction.stream() for direction in directions), tuple(datagrams), tuple(skipped))


def _packets(path: Path) -> Iterator[tuple[bytes, int, int]]:
    """Octets, link type and time in microseconds of each packet, by scapy's raw reader of either format."""
    from scapy.error import Scapy_Exception
    from scapy.utils import RawPcapReader

    try:
        file: Any = path.open("rb")  # by us: scapy leaves a file open that it refuses
    except OSError as problem:
        raise EvidenceError(f"{path}: found {problem.strerror}, expected a pcap or pcapng file") from None
    with file:
        try:
            reader: Any = RawPcapReader(file)
        except (EOFError, Scapy_Exception) as problem:
            raise EvidenceError(f"{path}: found {problem}, expected a pcap or pcapng file") from None
        while True:
            try:
                octets, meta = reader._read_packet(size=_LONGEST_PACKET)  # iteration would cut at 65,535 octets
            except EOFError:
                return
            if hasattr(meta, "tshigh"):
                ticks = ((meta.tshigh or 0) << 32) + (meta.tslow or 0)
                yield octets, meta.linktype, ticks * 1_000_000 // meta.tsresol
            else:
                yield octets, reader.linktype, meta.sec * 1_000_000 + meta.usec // (1000 if reader.nano else 1)


class _Direction:
    """One direction of a connection while it is read: segments with sequence numbers unwrapped from 32 bits."""

    def __init__(self, first: Packet) -> None:
        self._source, self._destination = first.source, first.destination
        self._initial: int | None = None  # number of the SYN
        self._reference = first.sequence
        self._fin: int | None = None
        self._reset = False
        self._segments: list[tuple[int, int, int, bytes]] = []  # sequence number, packet, time, octets
        self._missing_to = first.sequence  # the furthest octet that a cut packet is known to have had

    def is_over(self, packet: Packet) -> bool:
        """Whether this packet opens a later connection between the same ends."""
        if not packet.flags & SYN:
            return False
        return self._initial is None or packet.sequence != self._initial % _MODULUS

    def take(self, packet: Packet, number: int, time_us: int) -> None:
        """Take one segment."""
        sequence = self._unwrap(packet.sequence)
        if packet.flags & SYN:
            self._initial = sequence
            sequence += 1
        self._reset = self._reset or bool(packet.flags & RST)
        if packet.payload and not packet.flags & RST:
            self._segments.append((sequence, number, time_us, packet.payload))
        end = sequence + len(packet.payload) + packet.missing
        if packet.missing:
            self._missing_to = max(self._missing_to, end)
        if packet.flags & FIN:
            self._fin = end
        self._reference = max(self._reference, end)

    def _unwrap(self, sequence: int) -> int:
        """The number nearest to the highest seen so far that is this one modulo 2**32 (RFC 9293 3.4)."""
        distance = (sequence - self._reference + _MODULUS // 2) % _MODULUS - _MODULUS // 2
        return self._reference + distance

    def stream(self) -> Stream:
        """Put the segments in order."""
        base = self._base()
        runs: list[list[Piece]] = []
        gaps: list[Gap] = []
        covered, conflict = 0, False
        for piece in self._pieces(base):
            if piece.offset > covered:
                gaps.append(Gap(covered, piece.offset - covered))
            if piece.offset > covered or not runs:
                runs.append([])
            runs[-1].append(piece)
            covered = piece.end
        end = max(self._missing_to, self._fin or 0) - base
        if end > covered:
            gaps.append(Gap(covered, end - covered))
        conflict = self._conflict(base, runs)
        return Stream(
            source=self._source,
            destination=self._destination,
            syn=self._initial is not None,
            fin=self._fin is not None,
            reset=self._reset,
            segments=len(self._segments),
            conflict=conflict,
            runs=tuple(Run(tuple(pieces)) for pieces in runs),
            gaps=tuple(gaps),
        )

    def _base(self) -> int:
        if self._initial is not None:
            return self._initial + 1
        return min((segment[0] for segment in self._segments), default=self._missing_to)

    def _pieces(self, base: int) -> list[Piece]:
        """The segments as pieces that do not overlap, by offset; of what came twice the first copy stays."""
        kept: list[Piece] = []
        for sequence, number, time_us, octets in self._segments:
            start, end = sequence - base, sequence - base + len(octets)
            index = max(bisect_right(kept, start, key=lambda piece: piece.offset) - 1, 0)
            at, fresh = max(start, 0), []
            while index < len(kept) and kept[index].offset < end:
                other = kept[index]
                if at < other.offset:
                    fresh.append(Piece(at, time_us, number, octets[at - start : other.offset - start]))
                at = max(at, other.end)
                index += 1
            if at < end:
                fresh.append(Piece(at, time_us, number, octets[at - start :]))
            for piece in fresh:
                kept.insert(bisect_right(kept, piece.offset, key=lambda kept_one: kept_one.offset), piece)
        return kept

    def _conflict(self, base: int, runs: list[list[Piece]]) -> bool:
        """Whether any segment differs from what was kept at its place."""
        whole = [(pieces[0].offset, b"".join(piece.octets for piece in pieces)) for pieces in runs]
        for sequence, _number, _time_us, octets in self._segments:
            offset = sequence - base
            if offset < 0:
                continue  # an octet before the stream: a keep-alive probe (RFC 9293 3.8.4)
            index = bisect_right(whole, offset, key=lambda run: run[0]) - 1
            start, run = whole[index]
            if run[offset - start : offset - start + len(octets)] != octets:
                return True
        return False
