"""What all checks share: the shape of a check, and short ways to say what was found."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from cpmspec.judge.facts import Facts
from cpmspec.judge.verdict import Blame, Finding, Grade, Verdict

#: a pure function from the facts of a trace to what they say about one requirement; nothing: it did not occur
Check = Callable[[Facts], Iterable[Finding]]

#: a rule that a trace breaks often is told so many times; the last time says how many there are
MOST = 3


def met(requirement: str, reason: str, *frames: int, grade: Grade = Grade.STRICT) -> Finding:
    """The requirement was met."""
    return Finding(requirement, Verdict.PASS, reason, frames=frames, grade=grade)


def broken(requirement: str, reason: str, *frames: int, expected: str = "", actual: str = "") -> Finding:
    """The IUT broke the requirement; ``frames`` prove it, the telling one first."""
    return Finding(requirement, Verdict.FAIL, reason, expected, actual, frames)


def undecided(requirement: str, reason: str, blame: Blame, *frames: int) -> Finding:
    """It cannot be told whether the requirement was met."""
    return Finding(requirement, Verdict.INCONC, reason, frames=frames, blame=blame)


def missing(facts: Facts, requirement: str, reason: str, *frames: int, expected: str = "", due_us: int = 0) -> Finding:
    """Something that had to come is not there.

    Absence is only known at the closing, and only if the IUT was alive to act: before the closing the requirement
    counts as met so far; if the IUT vanished, or the trace ends before ``due_us``, it is undecided.
    """
    if facts.context.iut_gone_us is not None:
        return undecided(requirement, f"{reason}; the IUT had vanished", Blame.IUT, *frames)
    if not facts.closed:
        return met(requirement, "nothing against it so far; the window is still open", *frames)
    if facts.end_us < due_us:
        return undecided(requirement, f"{reason}; the run ended before its window did", Blame.ENVIRONMENT, *frames)
    return broken(requirement, reason, *frames, expected=expected, actual="nothing came")


def ruled(requirement: str, places: Iterable[Finding | None], what: str) -> Iterator[Finding]:
    """A rule that applies at many places: each place where it was not kept, or that it was kept at all of them.

    ``places`` has ``None`` for each place where it was kept; ``what`` names such a place in the plural.
    """
    found = list(places)
    yield from limited([one for one in found if one is not None])
    if found and not any(found):
        yield met(requirement, f"kept: {len(found)} {what}")


def limited(findings: Sequence[Finding]) -> Iterator[Finding]:
    """At most :data:`MOST` findings of one rule; the last one says how many there are more."""
    for index, finding in enumerate(findings[:MOST], 1):
        more = len(findings) - MOST
        yield replace(finding, reason=f"{finding.reason}; {more} more") if index == MOST and more > 0 else finding


def settled_us(facts: Facts) -> int:
    """How long after we sent something the IUT may still act as if it had not read it, in microseconds."""
    return facts.settings.us("quiet_period") + facts.settings.late_us
