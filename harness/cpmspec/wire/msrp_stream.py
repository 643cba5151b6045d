"""The incremental reader of a stream of MSRP messages (RFC 4975 7 and 9).

It takes octets as they arrive. Any split of a stream gives the same events once adjacent :class:`FrameData` are
joined; body octets are released as soon as they cannot belong to the end-line, so that memory stays bounded.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeAlias

from cpmspec.wire.headers import decode, encode
from cpmspec.wire.msrp_grammar import MAX_SHORT_CHUNK
from cpmspec.wire.msrp_head import END_LINE, QUICK, START_LIKE, START_LINE, MsrpHead, parse_head, repeats
from cpmspec.wire.msrp_rules import end_violations, in_order
from cpmspec.wire.violation import Violation

MAX_LINE: Final = 8192  #: octets of one start-line or header line: a path of 50 URIs of the longest kind fits
MAX_HEAD: Final = 65_536  #: octets of start-line and headers together: what a peer can make us hold
MAX_HEADERS: Final = 256  #: headers of one message: each costs more memory than its octets
MAX_HELD: Final = MAX_HEAD + MAX_LINE  #: octets that the reader never holds more of between two feeds
_PIECE = 4096  # octets: unreadable octets without a line end are given out in pieces of this size
HYPHENS: Final = b"-------"  #: what an end-line begins with
_SHORT_HEAD = 2048  # octets: a head of which more are there is read line by line
_RESUME = b"To-Path:"
_FLAGS = {b"$\r\n": "$", b"+\r\n": "+", b"#\r\n": "#"}  # what follows the transaction identifier of an end-line
_FLAG_STARTS = frozenset(end[:count] for end in _FLAGS for count in range(3))


@dataclass(frozen=True, slots=True)
class FrameBegin:
    """A message begins; ``head.has_body`` tells whether a body (perhaps of no octets) follows."""

    head: MsrpHead


@dataclass(frozen=True, slots=True)
class FrameData:
    """Octets of the body of the message that is open."""

    octets: bytes


class FrameEnd(NamedTuple):
    """The open message ended: ``raw`` is its end-line, with the CRLF between body and end-line.

    ``violations`` are all those of the message, of its head too; offsets count from the start of the message.
    (A named tuple is made in half the time of a frozen dataclass of so many fields, and every message needs one.)
    """

    flag: str
    transaction_id: str
    violations: tuple[Violation, ...]
    raw: bytes


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Octets that belong to no message. Adjacent ones are one run: only its first piece carries a violation.

    An empty line between messages is such a run by itself.
    """

    octets: bytes
    violations: tuple[Violation, ...] = ()


MsrpEvent: TypeAlias = FrameBegin | FrameData | FrameEnd | Unreadable
#: range-start, range-end and total as they stand, each perhaps absent
_Span: TypeAlias = tuple[bytes | None, bytes | None, bytes | None]


class MsrpStream:
    """The incremental reader of one direction of a connection. It holds at most one head, or the length of an end-line.

    After octets that are no message it goes on at the next start-line that is followed by To-Path. ``resuming`` says
    that the first octet may be any of a message, because those before it were not seen: then it begins like that, and
    what precedes the first start-line is :class:`Unreadable` without a violation.
    """

    def __init__(self, *, resuming: bool = False) -> None:
        self._buffer = b""
        self._at = 0  # up to where events have given out the buffer; other places count from here
        self._ending = False
        self._begin()
        if resuming:
            self._seek((), fresh=True)

    def feed(self, octets: bytes) -> list[MsrpEvent]:
        """Take the next octets of the stream; the events they complete, in order."""
        self._buffer = self._buffer + octets if self._buffer else bytes(octets)
        events: list[MsrpEvent] = []
        while self._step(events):
            pass
        self._buffer = self._buffer[self._at :]
        self._at = 0
        return events

    def close(self) -> list[MsrpEvent]:
        """The stream ended: what was held back. A message that is open then stays without its :class:`FrameEnd`."""
        self._ending = True
        events = self.feed(b"")
        self._ending = False
        if self._head is not None:
            self._release(events, len(self._buffer))
        elif self._buffer:
            wrong = Violation("MSR-4975-7.1-08", 0, "the end of the stream", "a whole message")
            events.append(Unreadable(self._buffer, self._wrong if self._lost else (wrong,)))
        self._buffer, self._at = b"", 0
        self._begin()
        return events

    @property
    def pending(self) -> bytes:
        """The octets that no event has given out yet."""
        return self._buffer

    @property
    def open_head(self) -> MsrpHead | None:
        """The head of the message whose body is being read."""
        return self._head

    # --- heads -------------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        self._step: Callable[[list[MsrpEvent]], bool] = self._read_head
        self._head: MsrpHead | None = None
        self._lost = False

    def _read_head(self, events: list[MsrpEvent]) -> bool:
        """The head of a message as a whole, if it is there and in its plain form."""
        if self._at == len(self._buffer):
            return False
        if not self._read_quickly(events):
            if not self._ending and self._may_be_quick():
                return False
            self._lines = 0  # how many were read
            self._mark = 0  # where the current one starts
            self._seen = 0  # up to where it was searched for its end
            self._step = self._read_lines
        return True

    def _may_be_quick(self) -> bool:
        """Whether more octets may make a head in its plain form: then its lines are not looked at one by one yet."""
        held = self._buffer[self._at :]
        return (
            len(held) < _SHORT_HEAD
            and b"\n\r\n" not in held
            and b"\n-------" not in held
            and (START_LINE.match(held) is not None or (b"\n" not in held and _agrees(held, b"MSRP ")))
        )

    def _read_quickly(self, events: list[MsrpEvent]) -> bool:
        """Take a head in its plain form; whether there was one."""
        found = QUICK.match(self._buffer, self._at)
        if found is None:
            return False
        ident, _, first, last, total, success, failure, status, comment = found.groups()
        raw, transaction_id = found[0], ident.decode()
        if status is not None:
            head = MsrpHead(transaction_id, None, int(status), decode(comment or b""), None, raw, False, ())
            end = HYPHENS + ident + b"$\r\n"
            self._at = found.end() + len(end)
            events += (FrameBegin(head), FrameEnd("$", transaction_id, (), end))
            self._begin()
            return True
        if repeats(raw, first, success, failure):
            return False
        self._at += len(raw)
        head = MsrpHead(transaction_id, "SEND", None, "", None, raw, True, ())
        self._open(events, head, HYPHENS + ident, (first, last, total))
        return True

    def _read_lines(self, events: list[MsrpEvent]) -> bool:
        """The next line of a head; places count from the start of the message."""
        buffer, at = self._buffer, self._at
        if not self._lines and not _agrees(buffer[at : at + 5].upper(), b"MSRP "):
            return self._pass_over(events)
        end = buffer.find(b"\n", at + self._seen) + 1
        self._seen = (end or len(buffer)) - at
        if self._seen > min(MAX_HEAD, self._mark + MAX_LINE):
            return self._too_long()
        if not end:
            return False
        line = buffer[at + self._mark : end]
        if not self._lines:
            if not START_LIKE.fullmatch(line):
                return self._lose("MSR-4975-9-01", "other octets")
        elif START_LINE.fullmatch(line):
            return self._cut_head(events)
        elif ended := END_LINE.fullmatch(line):
            return self._end_bodiless(events, line, decode(ended[1]), decode(ended[2]))
        elif not line.strip(b"\r\n"):
            self._at = end
            head = parse_head(buffer[at:end], has_body=True)
            self._open(events, head, HYPHENS + encode(head.transaction_id), None)
            return True
        elif self._lines > MAX_HEADERS:
            return self._lose("MSR-LIMIT-04", f"more than {MAX_HEADERS} headers")
        self._lines += 1
        self._mark = self._seen
        return True

    def _pass_over(self, events: list[MsrpEvent]) -> bool:
        """An empty line where a message must begin; what is none either is lost."""
        following = self._buffer[self._at : self._at + 2]
        if not b"\r\n".startswith(following):
            return self._lose("MSR-4975-9-01", "other octets")
        if len(following) < 2:
            return False
        events.append(Unreadable(following, (Violation("MSR-4975-9-16", 0, "an empty line", "an MSRP message"),)))
        self._at += 2
        self._begin()
        return True

    def _too_long(self) -> bool:
        if self._mark + MAX_LINE <= MAX_HEAD:
            return self._lose("MSR-LIMIT-01", f"more than {MAX_LINE} octets in a line")
        return self._lose("MSR-LIMIT-02", f"a head of more than {MAX_HEAD} octets")

    def _cut_head(self, events: list[MsrpEvent]) -> bool:
        """A start-line among the headers: the message before it was cut off."""
        wrong = Violation("MSR-4975-7.1-08", self._mark, "a start-line among the headers", "an end-line before it")
        events.append(Unreadable(self._buffer[self._at : self._at + self._mark], (wrong,)))
        self._at += self._mark
        self._begin()
        return True

    def _end_bodiless(self, events: list[MsrpEvent], line: bytes, transaction_id: str, flag: str) -> bool:
        head = parse_head(self._buffer[self._at : self._at + self._mark], has_body=False)
        found = [*head.violations, *end_violations(head, 0, flag)]
        if transaction_id != head.transaction_id:
            found.append(Violation("MSR-4975-7.1-05", self._mark, repr(transaction_id), repr(head.transaction_id)))
        if not line.endswith(b"\r\n"):
            found.append(Violation("MSR-4975-9-09", self._mark, repr(line), "CRLF after the end-line"))
        self._at += self._mark + len(line)
        events += (FrameBegin(head), FrameEnd(flag, transaction_id, in_order(found), line))
        self._begin()
        return True

    # --- bodies ------------------------------------------------------------------------------------------------------

    def _open(self, events: list[MsrpEvent], head: MsrpHead, marker: bytes, span: _Span | None) -> None:
        """A body begins; ``span`` is the Byte-Range of a head in its plain form."""
        self._head = self._begun = head
        self._span = span
        self._marker = marker
        self._size = 0
        self._step = self._read_body
        events.append(FrameBegin(head))

    def _read_body(self, events: list[MsrpEvent]) -> bool:
        buffer, marker, at = self._buffer, self._marker, self._at
        place = buffer.find(marker, at)
        while place >= 0:
            after = place + len(marker)
            following = buffer[after : after + 3]
            flag = _FLAGS.get(following)
            if flag is not None:
                self._end_body(events, place, after + 3, flag)
                return True
            if after + len(following) == len(buffer) and following in _FLAG_STARTS:
                self._release(events, place - 2 if place - 2 >= at and buffer.startswith(b"\r\n", place - 2) else place)
                return False
            place = buffer.find(marker, place + 1)
        self._release(events, len(buffer) - self._held())
        return False

    def _held(self) -> int:
        """How many octets at the end of the buffer may be the beginning of CRLF and end-line."""
        tail = self._buffer[max(self._at, len(self._buffer) - len(self._marker) - 1) :]
        place = tail.rfind(b"\r")  # no other octet of CRLF and end-line is a CR
        if place >= 0 and (b"\r\n" + self._marker).startswith(tail[place:]):
            return len(tail) - place
        place = tail.find(b"-")
        while place >= 0:
            if self._marker.startswith(tail[place:]):
                return len(tail) - place
            place = tail.find(b"-", place + 1)
        return 0

    def _release(self, events: list[MsrpEvent], stop: int) -> None:
        """Give out the buffer up to there as data."""
        if stop > self._at:
            events.append(FrameData(self._buffer[self._at : stop]))
            self._size += stop - self._at
            self._at = stop

    def _end_body(self, events: list[MsrpEvent], place: int, end: int, flag: str) -> None:
        """The end-line stands at ``place`` and goes to ``end``."""
        buffer, at, size, head = self._buffer, self._at, self._size, self._begun
        crlf = place - 2 >= at and buffer.startswith(b"\r\n", place - 2)
        if crlf:
            place -= 2
        if place > at:
            events.append(FrameData(buffer[at:place]))
            size += place - at
        violations: tuple[Violation, ...] = ()
        if not (crlf and self._span is not None and _is_plain(self._span, size, flag)):
            violations = in_order([*head.violations, *end_violations(head, size, flag, crlf=crlf)])
        events.append(FrameEnd(flag, head.transaction_id, violations, buffer[place:end]))
        self._at = end
        self._head = None
        self._step = self._read_head

    # --- what is no message ------------------------------------------------------------------------------------------

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
        buffer, at = self._buffer, self._at
        if self._fresh:
            resumes = _resumes(buffer, at)
            if resumes:
                self._begin()
                return True
            if resumes is None:
                return False
        cut = buffer.find(b"\n", at, at + _PIECE) + 1
        if not cut and len(buffer) - at < _PIECE:
            return False
        self._at = cut or at + _PIECE
        events.append(Unreadable(buffer[at : self._at], self._wrong))
        self._wrong, self._fresh = (), bool(cut)
        return True


def _agrees(octets: bytes, pattern: bytes) -> bool:
    """Whether ``octets`` begin with ``pattern``, or may do so when more of them come."""
    return octets.startswith(pattern) or pattern.startswith(octets)


def _is_plain(span: _Span, size: int, flag: str) -> bool:
    """Whether body, range and flag of a SEND agree in the usual way; what is not plain is not wrong yet."""
    first, last, total = span
    if first is None or last is None or total is None:
        return size <= MAX_SHORT_CHUNK
    start = int(first)
    end = start + size - 1
    if start < 1 or (last != b"*" and (size > MAX_SHORT_CHUNK or int(last) != end)):
        return False
    return total == b"*" or (end == int(total) if flag == "$" else flag == "+" and end < int(total))


def _resumes(buffer: bytes, at: int) -> bool | None:
    """Whether a start-line followed by To-Path stands at ``at``; ``None``: more octets are needed."""
    if not _agrees(buffer[at : at + 5], b"MSRP "):
        return False
    end = buffer.find(b"\n", at, at + MAX_LINE) + 1
    if not end:
        return None if len(buffer) - at < MAX_LINE else False
    if not START_LINE.fullmatch(buffer, at, end):
        return False
    following = buffer[end : end + len(_RESUME)]
    if not _agrees(following, _RESUME):
        return False
    return True if len(following) == len(_RESUME) else None
