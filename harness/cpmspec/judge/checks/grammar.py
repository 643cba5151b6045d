"""What one thing of the IUT's breaks by itself: the violations of the parsers, for every requirement with ``on``.

A requirement that no such thing occurred for stays ``none``; one that nothing broke is met once, with a count.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from cpmspec.judge.catalogue import Requirement
from cpmspec.judge.checks.common import broken, limited, met
from cpmspec.judge.facts import Facts
from cpmspec.judge.things import Thing, things
from cpmspec.judge.verdict import Finding
from cpmspec.wire.violation import Violation


@dataclass(frozen=True, slots=True)
class _Fault:
    thing: Thing
    violation: Violation


def judged(facts: Facts, requirements: Iterable[Requirement]) -> Iterator[Finding]:
    """The findings for the requirements that have ``on``, in their order."""
    counts: Counter[str] = Counter()
    faults: dict[str, list[_Fault]] = {}
    for thing in things(facts):
        counts.update(thing.kinds)
        for violation in thing.violations:
            faults.setdefault(violation.id, []).append(_Fault(thing, violation))
    for requirement in requirements:
        if requirement.on is None:
            continue
        if found := faults.get(requirement.id):
            yield from limited([_broken(fault) for fault in found])
        elif count := counts[requirement.on]:
            yield met(requirement.id, f"kept {count} times: {requirement.on}")


def _broken(fault: _Fault) -> Finding:
    thing, violation = fault.thing, fault.violation
    reason = f"{thing.name}, octet {violation.offset}"
    return broken(violation.id, reason, thing.frame, expected=violation.expected, actual=violation.found)
