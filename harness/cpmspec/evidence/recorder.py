"""Taking down what crosses a PCO: the types of a recorder, and the cutting of byte streams into frames."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import pairwise
from threading import Lock

from cpmspec.evidence.context import Context
from cpmspec.evidence.trace import Frame, Trace

#: longest payload of a frame, in octets: what fits into one IP packet with room for headers
MAX_OCTETS = 65_000

#: What an actor calls for each frame; the frame's ``number`` is 0, :meth:`Trace.build` numbers it. Thread-safe.
Recorder = Callable[[Frame], None]


class FrameSink:
    """The plainest recorder: keeps frames in the order of their arrival. Thread-safe."""

    def __init__(self) -> None:
        self._frames: list[Frame] = []
        self._lock = Lock()

    def __call__(self, frame: Frame) -> None:
        """Take one frame."""
        with self._lock:
            self._frames.append(frame)

    record = __call__

    def __len__(self) -> int:
        return len(self._frames)

    @property
    def frames(self) -> tuple[Frame, ...]:
        """What was taken so far."""
        with self._lock:
            return tuple(self._frames)

    def trace(self, context: Context) -> Trace:
        """The built trace of what was taken so far."""
        return Trace.build(context, self.frames)


def cut(octets: bytes, limit: int = MAX_OCTETS) -> Iterator[bytes]:
    """Cut octets into pieces of at most ``limit``: for SIP over TCP and IMAP. Nothing comes of no octets."""
    for start in range(0, len(octets), limit):
        yield octets[start : start + limit]


# RFC 4975 9, as far as a message's borders need it:
#   req-start  = pMSRP SP transact-id SP method CRLF
#   resp-start = pMSRP SP transact-id SP status-code [SP comment] CRLF
#   end-line   = "-------" transact-id continuation-flag CRLF
#   ident      = ALPHANUM 3*31ident-char
_START_LINE = re.compile(rb"MSRP ([A-Za-z0-9][A-Za-z0-9.\-+%=]{3,31}) [^\r\n]+\r\n")
_NEXT_START = re.compile(rb"\r\nMSRP (?=[A-Za-z0-9])")
_LONGEST_START_LINE = 1024
_LOST = b"\r\nMSRP "


class Cutter:
    """Cuts one direction of an MSRP connection so that each message begins a piece of its own.

    Feed it what was written or read, in any split; it hands every octet on at once, in order. Where the stream is no
    MSRP it cuts at the limit only, and picks up again at the next line that looks like a start-line.
    """

    __slots__ = ("_end", "_limit", "_seen")

    def __init__(self, limit: int = MAX_OCTETS) -> None:
        self._limit = limit
        self._end: bytes | None = None  # what ends the message under way; None: a start-line is due or under way
        self._seen = b""  # octets already handed on that a border may still need

    def feed(self, octets: bytes) -> list[bytes]:
        """The pieces that these octets make."""
        borders = self._borders(octets)
        starts = [0, *borders, len(octets)]
        return [piece for first, last in pairwise(starts) for piece in cut(octets[first:last], self._limit)]

    def _borders(self, octets: bytes) -> list[int]:
        """Where messages begin in ``octets``, the first octet left out."""
        before = len(self._seen)
        buffer = self._seen + octets
        at, borders = 0, []
        while True:
            following = self._advance(buffer, at)
            if following is None:
                break
            at, is_border = following
            if is_border and before < at < len(buffer):
                borders.append(at - before)
        self._seen = buffer[max(at, len(buffer) - self._needed()) :]
        return borders

    def _advance(self, buffer: bytes, at: int) -> tuple[int, bool] | None:
        """One step: the position after it and whether a message begins there; ``None``: more octets are needed."""
        if self._end is None:
            start = _START_LINE.match(buffer, at)
            if start:
                self._end = b"-------" + start[1]
                return start.end() - 2, False  # the CRLF may already belong to the end-line
            if not _may_start(buffer[at : at + _LONGEST_START_LINE]):
                self._end = _LOST
                return at, False
            return None
        if self._end == _LOST:
            found = _NEXT_START.search(buffer, at)
            if found is None:
                return None
            self._end = None
            return found.start() + 2, True
        end = re.compile(rb"\r\n" + re.escape(self._end) + rb"[$+#]\r\n").search(buffer, at)
        if end is None:
            return None
        self._end = None
        return end.end(), True

    def _needed(self) -> int:
        """How many of the last octets a border may still need."""
        return _LONGEST_START_LINE if self._end is None else len(self._end) + 5


def _may_start(octets: bytes) -> bool:
    """Whether more octets can still make a start-line of these."""
    if b"\n" in octets or len(octets) >= _LONGEST_START_LINE:
        return False
    return octets[:5] == b"MSRP "[: len(octets)]
