"""MSRP messages put together from their chunks, with what they were answered (RFC 4975 5.1, 7.1, 7.3)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from cpmspec.judge.octets import MsrpSeen

if TYPE_CHECKING:
    from cpmspec.judge.sessions import DeliverySession

#: a Byte-Range is a claim: it may not make us allocate more than this
MAX_HOLE = 16 * 1024 * 1024


@dataclass(eq=False)
class Attempt:
    """One transfer of one MSRP message with content: its chunks and the answers they got."""

    session: DeliverySession | None
    message_id: str
    chunks: list[MsrpSeen]
    answers: list[MsrpSeen | None] = field(default_factory=list)
    reports: list[MsrpSeen] = field(default_factory=list)

    @property
    def begin_us(self) -> int:
        """When its first octets arrived."""
        return self.chunks[0].begin_us

    @property
    def end_us(self) -> int:
        """When its last octets arrived."""
        return self.chunks[-1].end_us

    @property
    def frame(self) -> int:
        """The packet with its start line."""
        return self.chunks[0].first.number

    @property
    def aborted(self) -> bool:
        """Whether the sender itself gave it up (continuation flag ``#``)."""
        return self.chunks[-1].flag == "#"

    @cached_property
    def body(self) -> bytes:
        """Its octets, put together."""
        return assemble(self.chunks)

    @property
    def content_type(self) -> str | None:
        """The Content-Type of its first chunk."""
        return self.chunks[0].head.content_type

    @cached_property
    def complete(self) -> bool:
        """Whether all its octets arrived: a chunk flagged ``$``, every chunk with its end, no hole in the ranges."""
        return _whole(self.chunks)

    @property
    def mended(self) -> bool:
        """Whether what was answered 200 makes a whole message, though other chunks of it were refused."""
        pairs = zip(self.chunks, self.answers, strict=True)
        return _whole([chunk for chunk, answer in pairs if answer is not None and answer.head.status == 200])

    @property
    def success_report(self) -> bool:
        """Whether success REPORTs were asked for."""
        return (self.chunks[0].head.success_report or "no").strip().lower() == "yes"

    @property
    def failure_report(self) -> str:
        """``yes``, ``partial`` or ``no`` (RFC 4975 7.1.1: absent is yes)."""
        return (self.chunks[0].head.failure_report or "yes").strip().lower()

    @property
    def refusal(self) -> MsrpSeen | None:
        """The first answer or REPORT that told the sender of a failure."""
        for answer in self.answers:
            if answer is not None and answer.head.status != 200:
                return answer
        for report in self.reports:
            status = report.head.status_header
            if status is not None and status[1] != 200:
                return report
        return None

    @property
    def accepted_us(self) -> int | None:
        """When the last 200 was sent, if every chunk got one."""
        times = [answer.end_us for answer in self.answers if answer is not None and answer.head.status == 200]
        return max(times) if self.complete and len(times) == len(self.chunks) else None

    @property
    def reported_us(self) -> int | None:
        """When a success REPORT that covers the message was sent (RFC 4975 7.1.3)."""
        good = [one for one in self.reports if (status := one.head.status_header) is not None and status[1] == 200]
        covered = 0
        for report in sorted(good, key=lambda one: one.head.byte_range.start if one.head.byte_range else 1):
            span = report.head.byte_range
            if span is None or span.end is None:
                return report.end_us
            if span.start <= covered + 1:
                covered = max(covered, span.end)
        return max(one.end_us for one in good) if good and covered >= len(self.body) else None

    def unanswered(self, us: int, timer: int) -> bool:
        """Whether the response timer of one of its chunks had (nearly) run out by then (RFC 4975 7.1.1)."""
        return self.failure_report == "yes" and any(
            chunk.end_us + timer * 9 // 10 <= us and (answer is None or answer.begin_us > us)
            for chunk, answer in zip(self.chunks, self.answers, strict=True)
        )


class Answers:
    """The MSRP responses of a trace, found by the request that they answer."""

    def __init__(self, msrp: Sequence[MsrpSeen]) -> None:
        self._by_transaction: dict[tuple[int, str, bool], list[MsrpSeen]] = {}
        for one in msrp:
            if one.head.status is not None:
                key = (one.connection, one.head.transaction_id, one.from_iut)
                self._by_transaction.setdefault(key, []).append(one)

    def to(self, request: MsrpSeen) -> MsrpSeen | None:
        """The response: same transaction id and connection, other direction, later (RFC 4975 7.2)."""
        key = (request.connection, request.head.transaction_id, not request.from_iut)
        later = (one for one in self._by_transaction.get(key, ()) if one.last.number > request.first.number)
        return next(later, None)


def attempts_of(sends: Iterable[tuple[DeliverySession | None, MsrpSeen]], msrp: Sequence[MsrpSeen]) -> list[Attempt]:
    """The transfers that SENDs with content make, each SEND given with its session, in the order of their beginning."""
    found: list[Attempt] = []
    current: dict[tuple[int, str], Attempt] = {}
    answers = Answers(msrp)
    for session, one in sends:
        key = (id(session), one.head.message_id or "")
        attempt = current.get(key)
        if attempt is None or _starts_again(attempt, one):
            attempt = current[key] = Attempt(session, key[1], [])
            found.append(attempt)
        attempt.chunks.append(one)
        attempt.answers.append(answers.to(one))
    for report in msrp:
        if report.head.method == "REPORT" and (of := [one for one in found if _reports(report, one)]):
            of[-1].reports.append(report)
    return found


def _starts_again(attempt: Attempt, chunk: MsrpSeen) -> bool:
    """Whether a chunk with a Message-ID already seen begins a further transfer of it.

    After a refusal, an abort or a complete transfer, a chunk from octet 1 does; elsewhere it fills or repeats.
    """
    byte_range = chunk.head.byte_range
    from_start = byte_range is None or byte_range.start == 1
    if not from_start:
        return False
    refused = any(
        answer is not None and answer.head.status != 200 and answer.end_us <= chunk.begin_us
        for answer in attempt.answers
    )
    return attempt.aborted or refused or _whole(attempt.chunks)


def _reports(report: MsrpSeen, attempt: Attempt) -> bool:
    sent = attempt.chunks[0]
    return (
        report.from_iut is not sent.from_iut
        and report.head.message_id == attempt.message_id
        and report.connection == sent.connection
        and report.begin_us >= attempt.begin_us
    )


def _whole(chunks: Sequence[MsrpSeen]) -> bool:
    """Whether chunks make a whole message: each with its end, one of them the last, no hole between their ranges."""
    if any(chunk.flag is None for chunk in chunks) or not any(chunk.flag == "$" for chunk in chunks):
        return False
    reached = 0
    for start, length in sorted(_extents(chunks)):
        if start > reached:
            return False
        reached = max(reached, start + length)
    return True


def _extents(chunks: Sequence[MsrpSeen]) -> list[tuple[int, int]]:
    """Start (from 0) and length of each chunk; one without Byte-Range begins where those before it end.

    The first may lack it, the others may not (RFC 4975 7.1.1): what then is meant can only be that.
    """
    found, size = [], 0
    for chunk in chunks:
        byte_range, length = chunk.head.byte_range, len(chunk.body or b"")
        start = max(0, byte_range.start - 1) if byte_range is not None else size
        found.append((start, length))
        size = max(size, start + length)
    return found


def assemble(chunks: Sequence[MsrpSeen]) -> bytes:
    """The bodies of the chunks at the places that their Byte-Range names; the last one received wins (7.3.1)."""
    whole = bytearray()
    for chunk, (start, length) in zip(chunks, _extents(chunks), strict=True):
        if start > len(whole):  # a hole: kept visible by its length, filled with NULs; completeness is judged elsewhere
            whole.extend(b"\0" * min(start - len(whole), MAX_HOLE))
            start = len(whole)
        whole[start : start + length] = chunk.body or b""
    return bytes(whole)
