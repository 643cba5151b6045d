"""What the checks of many places share: one finding for what was kept everywhere, and silence that proves little."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import wraps

from cpmspec.judge.checks.common import Check, limited, missing, settled_us, undecided
from cpmspec.judge.facts import Facts
from cpmspec.judge.octets import SipSeen
from cpmspec.judge.verdict import Blame, Finding, Verdict


def summed(check: Check) -> Check:
    """The same check, saying once for each requirement that it was kept, and a few times at most that it was not."""

    @wraps(check)
    def told(facts: Facts) -> Iterator[Finding]:
        by_rule: dict[str, list[Finding]] = {}
        for finding in check(facts):
            by_rule.setdefault(finding.requirement, []).append(finding)
        for findings in by_rule.values():
            kept = [one for one in findings if one.verdict is Verdict.PASS]
            if len(kept) == len(findings):
                times = f"; kept {len(kept)} times" if len(kept) > 1 else ""
                yield replace(kept[0], reason=f"{kept[0].reason}{times}")
            for verdict in (Verdict.INCONC, Verdict.FAIL):
                yield from limited([one for one in findings if one.verdict is verdict])

    return told


def unanswered(facts: Facts, rule: str, reason: str, sent: SipSeen, *, expected: str, certain: bool = True) -> Finding:
    """The IUT has not reacted to what our side sent; unless ``certain``, that may have got lost on its way."""
    if certain or not facts.closed:
        due = sent.us + settled_us(facts)
        return missing(facts, rule, reason, sent.frame.number, expected=expected, due_us=due)
    return undecided(
        rule, f"{reason}; it may have been lost on its way to the IUT", Blame.ENVIRONMENT, sent.frame.number
    )
