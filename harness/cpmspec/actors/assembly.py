"""Putting chunks together again, in any order and interleaved (RFC 4975 5.1, 7.3.1), independent of the reference."""

from __future__ import annotations

from dataclasses import dataclass, field

from cpmspec.wire.msrp import MsrpHead

#: octets; a Byte-Range that begins further out is taken as nonsense and its octets are appended instead
MAX_MESSAGE = 256 * 1024 * 1024


@dataclass(slots=True)
class Assembly:
    """One message under way: its octets so far, which of them are there, and how its chunks were answered."""

    index: int
    head: MsrpHead
    octets: bytearray = field(default_factory=bytearray)
    covered: list[tuple[int, int]] = field(default_factory=list)  #: half-open, sorted, disjoint
    end: int | None = None  #: where the message ends, once its last chunk came
    chunks: int = 0
    answered_200: int = 0

    @property
    def complete(self) -> bool:
        """Whether the last chunk and everything before it is there."""
        if self.end == 0:
            return True
        return (
            self.end is not None and bool(self.covered) and self.covered[0][0] == 0 and self.covered[0][1] >= self.end
        )

    def add(self, head: MsrpHead, octets: bytes, flag: str) -> None:
        """Put in the body of a chunk; what was there already is overwritten."""
        given = head.byte_range
        start = given.start - 1 if given is not None and 1 <= given.start <= MAX_MESSAGE else len(self.octets)
        if given is None:
            start = 0 if self.chunks == 0 else len(self.octets)
        stop = start + len(octets)
        if len(self.octets) < stop:
            self.octets.extend(bytes(stop - len(self.octets)))
        self.octets[start:stop] = octets
        self.chunks += 1
        if octets:
            self._cover(start, stop)
        if flag == "$":
            self.end = stop

    def body(self) -> bytes:
        """The message's octets."""
        return bytes(self.octets[: self.end])

    def _cover(self, start: int, stop: int) -> None:
        """Merge one more range into those covered."""
        kept: list[tuple[int, int]] = []
        for first, last in self.covered:
            if last < start or first > stop:
                kept.append((first, last))
            else:
                start, stop = min(first, start), max(last, stop)
        self.covered = sorted([*kept, (start, stop)])


class Assemblies:
    """All messages of a session by Message-ID."""

    def __init__(self) -> None:
        self._open: dict[str, Assembly] = {}
        self._count = 0

    def add(self, message_id: str, head: MsrpHead, octets: bytes, flag: str) -> Assembly:
        """Take a chunk; a message that is complete or aborted with it begins anew with the next of that identifier."""
        assembly = self._open.get(message_id)
        if assembly is None:
            assembly = self._open[message_id] = Assembly(self._count, head)
            self._count += 1
        assembly.add(head, octets, flag)
        if assembly.complete or flag == "#":
            del self._open[message_id]
        return assembly
