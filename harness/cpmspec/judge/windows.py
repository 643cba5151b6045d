"""Until when something may still come that a trace has to wait for."""

from __future__ import annotations

from cpmspec.evidence.trace import Trace
from cpmspec.judge.facts import Facts
from cpmspec.judge.sessions import Outcome
from cpmspec.judge.transfers import Attempt


def pending_until_us(trace: Trace) -> int:
    """The end of the last open ``bye_within`` or ``history_within`` window, in microseconds; 0: none is open."""
    facts = Facts(trace)
    ends = [0]
    for session in facts.established:
        last = facts.last_outcome_us(session) or session.begin_us
        ended = session.end_us
        if ended is None:
            ended = last + facts.settings.us("bye_within")
            ends.append(ended)
        if session.user.history and not all(_recorded(facts, attempt) for attempt in session.attempts):
            ends.append(max(ended, last) + facts.settings.us("history_within"))
    return max(ends)


def _recorded(facts: Facts, attempt: Attempt) -> bool:
    """Whether nothing is left to be recorded of an attempt: it failed, or the object is in the store."""
    if facts.fate(attempt).outcome is Outcome.FAILED:
        return True
    carried = {one.key for anatomy in facts.anatomies if anatomy.attempt is attempt for one in anatomy.matched}
    stored = {one.key for record in facts.records if record.command.accepted for one in record.matched}
    return bool(carried) and carried <= stored
