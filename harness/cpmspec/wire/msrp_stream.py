"""The incremental reader of a stream of MSRP messages (RFC 4975 7 and 9).

It takes octets as they arrive. Any split of a stream gives the same events once adjacent :class:`FrameData` are
joined; body octets are released as soon as they cannot belong to the end-line, so that memory stays bounded.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

from cpmspec.wire.headers import decode, encode
from cpmspec.wire.msrp_head import END_LINE, START_LIKE, START_LINE, MsrpHead, end_violations, parse_head
from cpmspec.wire.violation import Violation

MAX_LINE: Final = 8192  #: octets of one start-line or header line
MAX_HEAD: Final = 65_536  #: octets of start-line and headers together
_PIECE = 4096  # octets: unreadable octets without a line end are given out in pieces of this size
HYPHENS: Final = b"-------"  #: what an end-line begins with
_RESUME = b"To-Path:"
_FLAGS = b"$+#"


@dataclass(frozen=True, slots=True)
class FrameBegin:
    """A message begins; ``head.has_body`` tells whether a body (perhaps of no octets) follows."""

    head: MsrpHead


@dataclass(frozen=True, slots=True)
class FrameData:
    """Octets of the body of the message that is open."""

    octets: bytes


@dataclass(frozen=True, slots=True)
class FrameEnd:
    """The open message ended: ``raw`` is its end-line, with the CRLF between body and end-line.

    ``violations`` are all those of the message, of its head too; offsets count from the start of the message.
    """

    flag: str
    transaction_id: str
    violations: tuple[Violation, ...]
    raw: bytes


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Octets that belong to no message. Adjacent ones are one run: only its first piece carries a violation."""

    octets: bytes
    violations: tuple[Violation, ...] = ()


MsrpEvent: TypeAlias = FrameBegin | FrameData | FrameEnd | Unreadable


class MsrpStream:
    """The incremental reader of one direction of a connection. It holds at most one head, or the length of an end-line.

    After octets that are no message it goes on at the next start-line that is followed by To-Path. ``resuming`` says
    that the first octet may be any of a message, because those before it were not seen: then it begins like that, and
    what precedes the first start-line is :class:`Unreadable` without a violation.
    """

    def __init__(self, *, resuming: bool = False) -> None:
        self._buffer = bytearray()
        self._begin()
        if resuming:
            self._seek((), fresh=True)

    def feed(self, octets: bytes) -> list[MsrpEvent]:
        """Take the next octets of the stream; the events they complete, in order."""
        self._buffer += octets
        events: list[MsrpEvent] = []
        while self._step(events):
            pass
        return events

    def close(self) -> list[MsrpEvent]:
        """The stream ended: what was held back. A message that is open then stays without its :class:`FrameEnd`."""
        events: list[MsrpEvent] = []
        if self._head is not None:
            self._release(events, len(self._buffer))
        elif self._buffer:
            wrong = Violation("MSR-4975-7.1-08", 0, "the end of the stream", "a whole message")
            events.append(Unreadable(bytes(self._buffer), self._wrong if self._lost else (wrong,)))
        self._buffer.clear()
        self._begin()
        return events

    @property
    def pending(self) -> bytes:
        """The octets that no event has given out yet."""
        return bytes(self._buffer)

    @property
    def open_head(self) -> MsrpHead | None:
        """The head of the message whose body is being read."""
        return self._head

    def _begin(self) -> None:
        self._step: Callable[[list[MsrpEvent]], bool] = self._read_head
        self._lines: list[bytes] = []
        self._mark = 0  # where the current line starts
        self._seen = 0  # up to where it was searched for its end
        self._head: MsrpHead | None = None
        self._lost = False

    def _read_head(self, events: list[MsrpEvent]) -> bool:
        if not self._lines and not _agrees(self._buffer[:5].upper(), b"MSRP "):
            return self._lose("MSR-4975-9-01", "other octets")
        end = self._buffer.find(b"\n", self._seen) + 1
        self._seen = end or len(self._buffer)
        if self._seen - self._mark > MAX_LINE or end > MAX_HEAD:
            return self._lose("MSR-LIMIT-01", f"a head of more than {MAX_HEAD} octets, or {MAX_LINE} in a line")
        if not end:
            return False
        line = bytes(self._buffer[self._mark : end])
        if not self._lines and not START_LIKE.fullmatch(line):
            return self._lose("MSR-4975-9-01", "other octets")
        if self._lines and START_LINE.fullmatch(line):
            return self._cut_head(events)
        if self._lines and (ended := END_LINE.fullmatch(line)):
            return self._end_bodiless(events, line, decode(ended[1]), decode(ended[2]))
        self._lines.append(line)
        self._mark = end
        if not line.strip(b"\r\n"):
            self._open(events)
        return True

    def _cut_head(self, events: list[MsrpEvent]) -> bool:
        """A start-line among the headers: the message before it was cut off."""
        wrong = Violation("MSR-4975-7.1-08", self._mark, "a start-line among the headers", "an end-line before it")
        events.append(Unreadable(bytes(self._buffer[: self._mark]), (wrong,)))
        del self._buffer[: self._mark]
        self._begin()
        return True

    def _end_bodiless(self, events: list[MsrpEvent], line: bytes, transaction_id: str, flag: str) -> bool:
        head = parse_head(self._lines)
        violations = [*head.violations, *end_violations(head, 0, flag)]
        if transaction_id != head.transaction_id:
            violations.append(Violation("MSR-4975-7.1-05", self._mark, repr(transaction_id), repr(head.transaction_id)))
        if not line.endswith(b"\r\n"):
            violations.append(Violation("MSR-4975-9-03", self._mark, repr(line), "CRLF after the end-line"))
        del self._buffer[: self._mark + len(line)]
        events += (FrameBegin(head), FrameEnd(flag, transaction_id, tuple(violations), line))
        self._begin()
        return True

    def _open(self, events: list[MsrpEvent]) -> None:
        self._head = parse_head(self._lines)
        del self._buffer[: self._mark]
        self._marker = HYPHENS + encode(self._head.transaction_id)
        self._from = 0
        self._size = 0
        self._step = self._read_body
        events.append(FrameBegin(self._head))

    def _read_body(self, events: list[MsrpEvent]) -> bool:
        buffer, marker = self._buffer, self._marker
        at = buffer.find(marker, self._from)
        if at < 0:
            self._release(events, len(buffer) - self._held())
            return False
        after = buffer[at + len(marker) : at + len(marker) + 3]
        if (after and after[0] not in _FLAGS) or not _agrees(after[1:], b"\r\n"):
            self._from = at + 1
            return True
        start = at - 2 if at >= 2 and buffer[at - 2 : at] == b"\r\n" else at
        if len(after) < 3:
            self._release(events, start)
            return False
        self._release(events, start)
        self._end_body(events, at - start + len(marker) + 3)
        return True

    def _held(self) -> int:
        """How many octets at the end of the buffer may be the beginning of CRLF and end-line."""
        full = b"\r\n" + self._marker
        tail = bytes(self._buffer[-len(full) :])
        for cut in range(len(tail)):
            if full.startswith(tail[cut:]) or self._marker.startswith(tail[cut:]):
                return len(tail) - cut
        return 0

    def _release(self, events: list[MsrpEvent], count: int) -> None:
        if count > 0:
            events.append(FrameData(bytes(self._buffer[:count])))
            del self._buffer[:count]
            self._size += count
        self._from = 0

    def _end_body(self, events: list[MsrpEvent], length: int) -> None:
        raw, head = bytes(self._buffer[:length]), self._head
        del self._buffer[:length]
        if head is None:
            raise RuntimeError("a body without a head")
        flag = decode(raw[-3:-2])
        violations = [*head.violations, *end_violations(head, self._size, flag)]
        if not raw.startswith(b"\r\n"):
            offset = len(head.raw) + self._size
            violations.append(Violation("MSR-4975-7.1-04", offset, "the end-line at once", "CRLF before the end-line"))
        events.append(FrameEnd(flag, head.transaction_id, tuple(violations), raw))
        self._begin()

    def _lose(self, rule: str, found: str) -> bool:
        """Give up the octets held: they are no message."""
        self._begin()
        self._seek((Violation(rule, 0, found, "an MSRP message"),), fresh=False)  # the first line was looked at already
        return True

    def _seek(self, wrong: tuple[Violation, ...], *, fresh: bool) -> None:
        """Look for a start-line, from the first octet held if it is ``fresh``; what is skipped is ``wrong`` thus."""
        self._lost = True
        self._fresh = fresh
        self._wrong = wrong
        self._step = self._skip

    def _skip(self, events: list[MsrpEvent]) -> bool:
        buffer = self._buffer
        if self._fresh:
            resumes = _resumes(buffer)
            if resumes:
                self._begin()
                return True
            if resumes is None:
                return False
        cut = buffer.find(b"\n", 0, _PIECE) + 1
        if not cut and len(buffer) < _PIECE:
            return False
        events.append(Unreadable(bytes(buffer[: cut or _PIECE]), self._wrong))
        del buffer[: cut or _PIECE]
        self._wrong, self._fresh = (), bool(cut)
        return True


def _agrees(octets: bytes | bytearray, pattern: bytes) -> bool:
    """Whether ``octets`` begin with ``pattern``, or may do so when more of them come."""
    return octets.startswith(pattern) or pattern.startswith(octets)


def _resumes(buffer: bytearray) -> bool | None:
    """Whether a start-line followed by To-Path stands at the start of ``buffer``; ``None``: more octets are needed."""
    if not _agrees(buffer[:5], b"MSRP "):
        return False
    end = buffer.find(b"\n", 0, MAX_LINE) + 1
    if not end:
        return None if len(buffer) < MAX_LINE else False
    if not START_LINE.fullmatch(bytes(buffer[:end])):
        return False
    following = bytes(buffer[end : end + len(_RESUME)])
    if not _agrees(following, _RESUME):
        return False
    return True if len(following) == len(_RESUME) else None
