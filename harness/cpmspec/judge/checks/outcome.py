"""What became of each message: DLV-4.1 to 4.3."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from cpmspec.judge.checks.common import Check, broken, met, missing, undecided
from cpmspec.judge.checks.completeness import excused
from cpmspec.judge.deferred import Deferred
from cpmspec.judge.facts import Facts
from cpmspec.judge.notices import Notice, Registration
from cpmspec.judge.sessions import DeliverySession, Outcome
from cpmspec.judge.verdict import Blame, Finding


def _left_by(facts: Facts, session: DeliverySession) -> tuple[Deferred, ...]:
    """What a session left undelivered, for certain: waiting when it began, and every attempt in it failed (or none)."""
    if not session.established:
        return ()
    left = []
    for one in facts.waiting(session):
        fates = [facts.fate(anatomy.attempt) for anatomy in facts.attempts_for(one, [session])]
        if all(fate.outcome is Outcome.FAILED for fate in fates) and (fates or not facts.occupied(session)):
            left.append(one)
    return tuple(left)


def stays_deferred(facts: Facts) -> Iterator[Finding]:
    """DLV-4.1: what a session failed to deliver is sent by the next one that can."""
    for session in facts.sessions:
        left = _left_by(facts, session)
        if not left:
            continue
        later = [
            other
            for other in facts.sessions_of(session.user)
            if other.begin_us > (session.end_us or session.begin_us) and other is not session
        ]
        for one in left:
            yield from _later(facts, session, one, later)


def _later(facts: Facts, session: DeliverySession, one: Deferred, later: list[DeliverySession]) -> Iterator[Finding]:
    tried = facts.attempts_for(one, [session])
    origin = tried[0].attempt.frame if tried else session.invite.frame.number
    for other in later:
        if one.expired(other.end_us or facts.end_us) or facts.taken(one, other.begin_us):
            return
        attempts = facts.attempts_for(one, [other])
        if attempts:
            yield met("DLV-4.1", f"{one.name} was delivered by a later session", attempts[0].attempt.frame, origin)
            return
        if facts.occupied(other) or facts.parting(other):
            continue
        if other.refused is not None:
            if other.kind == "pull" and not excused(facts, other, one):
                yield broken(
                    "DLV-4.1",
                    f"{one.name} had failed, and the next retrieval was refused with {other.refused}",
                    other.answer.frame.number if other.answer else other.invite.frame.number,
                    origin,
                    expected="a later session that delivers it",
                    actual=f"a final response {other.refused}",
                )
                return
            continue
        if not other.established or excused(facts, other, one):
            continue
        frame = other.bye.frame.number if other.bye is not None else other.invite.frame.number
        reason = f"{one.name} had failed, and the next session did not send it"
        if other.bye is not None and facts.closed:
            yield broken("DLV-4.1", reason, frame, origin, expected="a SEND with it", actual="none")
        else:
            yield missing(facts, "DLV-4.1", reason, frame, origin, expected="a SEND with it")
        return


def in_next_notification(facts: Facts) -> Iterator[Finding]:
    """DLV-4.2: the next notification covers what was left, at the user's next registration at the latest."""
    for session in facts.sessions:
        left = _left_by(facts, session)
        end = session.end_us
        if not left or end is None or session.kind == "push":
            continue
        following = [
            other.begin_us for other in facts.sessions_of(session.user) if other.begin_us > end and other.established
        ]
        until = min(following, default=facts.end_us)
        calls = _calls(facts, session, end)
        patience = facts.settings.us("quiet_period")
        latest = max([until, *(call.seen.us + patience for call in calls[:1])])
        notices = [notice for notice in facts.notices if notice.user == session.user and end < notice.seen.us <= latest]
        if notices:
            yield from _covered(facts, notices[0], left, end)
        elif calls and (due := calls[0].seen.us + patience * 9 // 10) <= until:
            last = calls[0].seen.us + patience + facts.settings.us("clock_tolerance")
            still = tuple(one for one in left if not one.expired(last) and not facts.taken(one, due))
            if still:
                yield from _not_notified(facts, calls[0], still)


def _calls(facts: Facts, session: DeliverySession, end: int) -> list[Registration]:
    """The registrations after the session that begin anew: a refresh need not notify."""
    own = [one for one in facts.registrations if one.user == session.user]
    return [one for before, one in itertools.pairwise(own) if one.present and not before.present and one.seen.us > end]


def _not_notified(facts: Facts, call: Registration, left: tuple[Deferred, ...]) -> Iterator[Finding]:
    names = ", ".join(one.name for one in left)
    if facts.settings.value("notification") == "none":
        return
    if not facts.settings.explicit("notification"):
        yield undecided(
            "DLV-4.2",
            f"no notification in a form that the suite knows came for {names}",
            Blame.INTERPRETATION,
            call.seen.frame.number,
        )
        return
    yield missing(
        facts,
        "DLV-4.2",
        f"the user registered again, and no notification of {names} came",
        call.seen.frame.number,
        expected="a notification that covers it",
        due_us=call.seen.us + facts.settings.us("quiet_period"),
    )


def _covered(facts: Facts, notice: Notice, left: tuple[Deferred, ...], end: int) -> Iterator[Finding]:
    """What waited when the PF had reason to notify: at the last registration, or when the session ended.

    What it accepted later may have crossed the notification.
    """
    us, frame = notice.seen.us, notice.seen.frame.number
    called = [one.seen.us for one in facts.registrations if one.user == notice.user and one.seen.us < us]
    waiting = [
        one
        for one in facts.deferred
        if one.firm
        and one.user == notice.user
        and one.accepted_us < max([end, *called])
        and not facts.taken(one, us)
        and not one.expired(us)
    ]
    if notice.count is not None and notice.count + notice.old < len(waiting):
        yield broken(
            "DLV-4.2",
            "the next notification counts fewer messages than wait",
            frame,
            expected=f"{len(waiting)} waiting",
            actual=f"{notice.count}",
        )
        return
    complete = notice.details >= len(waiting) and bool(notice.identifiers)
    for one in (one for one in left if one in waiting):
        named = bool(one.identifiers & set(notice.identifiers))
        shared = any(other is not one and other.identifiers & one.identifiers for other in waiting)
        if complete and not named and not shared:
            yield broken(
                "DLV-4.2",
                f"the next notification does not name {one.name}",
                frame,
                one.accepted_frame,
                expected=f"one of {', '.join(sorted(one.identifiers))}",
                actual=", ".join(notice.identifiers),
            )
        else:
            yield met("DLV-4.2", f"the next notification covers {one.name}", frame)


def delivered_once(facts: Facts) -> Iterator[Finding]:
    """DLV-4.3: neither delivered nor notified again, judged where the IUT is known to have read the final 200."""
    for one in facts.deferred:
        for anatomy in facts.attempts_for(one):
            read = facts.read_us(anatomy.attempt)
            if read is not None:
                yield from _again(facts, one, read, anatomy.attempt.session, anatomy.attempt.frame)
                break


def _again(facts: Facts, one: Deferred, read: int, session: DeliverySession | None, origin: int) -> Iterator[Finding]:
    for other in facts.attempts_for(one):
        if other.attempt.session not in (None, session) and other.attempt.begin_us > read:
            yield broken(
                "DLV-4.3",
                f"{one.name} was delivered again",
                other.attempt.frame,
                origin,
                expected="delivered once",
                actual=f"sent again {(other.attempt.begin_us - read) / 1_000_000:.1f} s after its 200 had been read",
            )
            return
    for notice in facts.notices:
        if notice.user != one.user or notice.seen.us <= read or _may_be_older(facts, notice, read):
            continue
        if _names_delivered(facts, notice, one):
            yield broken(
                "DLV-4.3",
                f"{one.name} was notified again after it had been delivered",
                notice.seen.frame.number,
                origin,
                expected="no notification of it",
                actual=f"a notification of {notice.count} messages",
            )
            return
    yield met("DLV-4.3", f"{one.name} was not delivered or notified again", origin)


def _may_be_older(facts: Facts, notice: Notice, read: int) -> bool:
    """Whether a notification that comes just after a delivery may have been made before it.

    So it is if it is the first one since a registration that came before the delivery.
    """
    us = notice.seen.us
    called = max(
        (one.seen.us for one in facts.registrations if one.user == notice.user and one.present and one.seen.us < us),
        default=us,
    )
    between = [one for one in facts.notices if one.user == notice.user and called < one.seen.us < us]
    return called < read and not between and us <= read + facts.settings.us("quiet_period")


def _names_delivered(facts: Facts, notice: Notice, one: Deferred) -> bool:
    """Whether a notification still counts or names a delivered message, whatever else may be waiting."""
    us = notice.seen.us
    others = [
        other for other in facts.deferred if other is not one and other.user == one.user and other.arrived_us < us
    ]
    shared = frozenset(identifier for other in others for identifier in other.identifiers)
    if (one.identifiers & set(notice.identifiers)) - shared:
        return True
    possible = [other for other in others if facts.settled_before(other, us) is None]
    return one.user.fresh and notice.count is not None and notice.count > len(possible)


CHECKS: tuple[Check, ...] = (stays_deferred, in_next_notification, delivered_once)
