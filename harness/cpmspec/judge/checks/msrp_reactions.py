"""What the PF does once it was told of a failure: by response code, and by failure REPORTs (RFC 4975 7.3.2, 10)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from cpmspec.judge.checks.common import Check, broken, ruled, settled_us
from cpmspec.judge.facts import Facts
from cpmspec.judge.octets import MsrpSeen
from cpmspec.judge.transfers import Attempt
from cpmspec.judge.verdict import Finding
from cpmspec.wire.mime import MediaType


def _code(refusal: MsrpSeen) -> int | None:
    """The code of a response, or of a REPORT: the same is to be done (RFC 4975 7.3.2)."""
    status = refusal.head.status_header
    return refusal.head.status if status is None else status[1]


def _refused(facts: Facts, *codes: int) -> Iterator[tuple[Attempt, MsrpSeen]]:
    """The attempts that were refused with one of the codes (no code: with any), with what refused them."""
    for anatomy in facts.anatomies:
        refusal = anatomy.attempt.refusal
        if refusal is not None and anatomy.attempt.session is not None and (not codes or _code(refusal) in codes):
            yield anatomy.attempt, refusal


def _later(facts: Facts, attempt: Attempt, us: int) -> Iterator[tuple[Attempt, MsrpSeen]]:
    """The chunks of the attempt's session that begin after that time."""
    for anatomy in facts.anatomies:
        if anatomy.attempt.session is attempt.session:
            for chunk in anatomy.attempt.chunks:
                if chunk.begin_us > us:
                    yield anatomy.attempt, chunk


def _still_sent(
    facts: Facts,
    requirement: str,
    refused: Iterable[tuple[Attempt, MsrpSeen]],
    concerned: Callable[[Attempt, Attempt, MsrpSeen], bool],
    expected: str,
) -> Iterator[Finding]:
    """Whether a chunk that the refusal concerns was begun when the refusal must have been read."""

    def places() -> Iterator[Finding | None]:
        for attempt, refusal in refused:
            us = refusal.end_us + settled_us(facts)
            more = next((one for other, one in _later(facts, attempt, us) if concerned(attempt, other, one)), None)
            yield (
                None
                if more is None
                else broken(
                    requirement,
                    f"a chunk was begun although {_code(refusal)} had come",
                    more.first.number,
                    refusal.first.number,
                    expected=expected,
                    actual=f"a chunk {(more.begin_us - refusal.end_us) / 1_000_000:.1f} s after it",
                )
            )

    yield from ruled(requirement, places(), "refusals")


def _same_message(attempt: Attempt, other: Attempt, _chunk: MsrpSeen) -> bool:
    return other.message_id == attempt.message_id


def after_413(facts: Facts) -> Iterator[Finding]:
    """MSR-4975-10.5-21: no further chunk of a message that was refused with 413."""
    refused = _refused(facts, 413)
    yield from _still_sent(facts, "MSR-4975-10.5-21", refused, _same_message, "no more chunks of that message")


def interrupted_after_413(facts: Facts) -> Iterator[Finding]:
    """MSR-4975-10.5-22: a chunk that can be interrupted is, when 413 comes."""
    found = _carried_on(facts, "MSR-4975-10.5-22", _refused(facts, 413), open_end=True)
    yield from ruled("MSR-4975-10.5-22", found, "refusals")


def aborted_after_failure(facts: Facts) -> Iterator[Finding]:
    """MSR-4975-7.3.2-22: a message that failed while one of its chunks was being sent is given up with ``#``."""
    yield from ruled("MSR-4975-7.3.2-22", _carried_on(facts, "MSR-4975-7.3.2-22", _refused(facts)), "refusals")


def _carried_on(
    facts: Facts, requirement: str, refused: Iterable[tuple[Attempt, MsrpSeen]], *, open_end: bool = False
) -> Iterator[Finding | None]:
    """Chunks that were being sent when the refusal came; ``open_end``: only those that said so, by range-end ``*``."""
    for attempt, refusal in refused:
        us = refusal.end_us + settled_us(facts)
        running = [
            one
            for one in attempt.chunks
            if one.begin_us < refusal.begin_us < one.end_us and one.flag and not (open_end and _fixed(one))
        ]
        if not running:
            continue
        wrong = next((one for one in running if one.flag != "#" and one.end_us > us), None)
        yield (
            None
            if wrong is None
            else broken(
                requirement,
                f"a chunk was sent on although {_code(refusal)} had come",
                wrong.last.number,
                refusal.first.number,
                expected="the chunk ended with #",
                actual=f"its end {(wrong.end_us - refusal.end_us) / 1_000_000:.1f} s after it, with {wrong.flag}",
            )
        )


def _fixed(chunk: MsrpSeen) -> bool:
    """Whether a chunk had said where it ends: such a one cannot be interrupted (RFC 4975 7.1.1)."""
    return chunk.head.byte_range is not None and chunk.head.byte_range.end is not None


def after_403(facts: Facts) -> Iterator[Finding]:
    """MSR-4975-10.3-21: what was refused with 403 is not tried again."""
    refused = _refused(facts, 403)
    yield from _still_sent(facts, "MSR-4975-10.3-21", refused, _same_message, "no second try in this session")


def after_415(facts: Facts) -> Iterator[Finding]:
    """MSR-4975-10.6-21: after 415 no more messages of that type in the session."""
    expected = "no more messages of that type in this session"
    yield from _still_sent(facts, "MSR-4975-10.6-21", _refused(facts, 415), _same_type, expected)


def _same_type(attempt: Attempt, other: Attempt, _chunk: MsrpSeen) -> bool:
    first, second = (MediaType.parse(one.content_type or "").full for one in (attempt, other))
    return first == second


def after_481(facts: Facts) -> Iterator[Finding]:
    """MSR-4975-10.8-21: a session that the peer does not know is at an end."""

    def concerned(_attempt: Attempt, _other: Attempt, _chunk: MsrpSeen) -> bool:
        return True

    yield from _still_sent(facts, "MSR-4975-10.8-21", _refused(facts, 481), concerned, "no more chunks, and BYE")


def after_506(facts: Facts) -> Iterator[Finding]:
    """MSR-4975-10.10-21: after 506 nothing more on that connection."""

    def concerned(attempt: Attempt, _other: Attempt, chunk: MsrpSeen) -> bool:
        return chunk.connection == attempt.chunks[0].connection

    expected = "nothing more on this connection"
    yield from _still_sent(facts, "MSR-4975-10.10-21", _refused(facts, 506), concerned, expected)


def after_failure_report(facts: Facts) -> Iterator[Finding]:
    """MSR-4975-7.3.2-21: after a failure REPORT the message is not sent again unless the session is negotiated anew."""
    refused = (
        (attempt, refusal)
        for attempt, refusal in _refused(facts)
        if refusal.head.method == "REPORT" and attempt.session is not None and len(attempt.session.descriptions) < 2
    )
    expected = "no second try in this session"
    yield from _still_sent(facts, "MSR-4975-7.3.2-21", refused, _same_message, expected)


CHECKS: tuple[Check, ...] = (
    after_413,
    interrupted_after_413,
    aborted_after_failure,
    after_403,
    after_415,
    after_481,
    after_506,
    after_failure_report,
)
