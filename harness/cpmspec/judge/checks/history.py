"""The history of 8.6: DLV-5.1 to 5.4."""

from __future__ import annotations

from collections.abc import Iterator

from cpmspec.judge.anatomy import Anatomy
from cpmspec.judge.checks.common import Check, broken, met, missing
from cpmspec.judge.deferred import Deferred
from cpmspec.judge.facts import Facts, Fate
from cpmspec.judge.octets import StoreCommand
from cpmspec.judge.records import Record
from cpmspec.judge.sessions import Outcome
from cpmspec.judge.verdict import Finding


def _delivered(facts: Facts) -> Iterator[tuple[Deferred, Anatomy, Fate]]:
    """Each deferred message that was delivered for certain, with the attempt that did it."""
    for one in facts.deferred:
        for anatomy in facts.attempts_for(one):
            fate = facts.settled(anatomy.attempt)
            if fate is not None:
                yield one, anatomy, fate
                break


def _records_of(facts: Facts, one: Deferred) -> list[Record]:
    """What was written of a message to its user's account, or to one that cannot be read off the octets."""
    return [
        record
        for record in facts.records
        if one in record.matched and (record.user == one.user or record.command.account is None)
    ]


def _hindered(facts: Facts, one: Deferred, since: int, due: int) -> StoreCommand | None:
    """An attempt to record in time that the store did not let through; a folder may be missing, that hinders nobody."""
    for command in facts.commands:
        answer = (command.answer or b"").upper()
        if (
            command.account in (one.user.account, None)
            and command.command.name in ("LOGIN", "AUTHENTICATE", "CREATE", "APPEND")
            and since <= command.first.time_us <= due
            and not command.accepted
            and b"TRYCREATE" not in answer
            and b"ALREADYEXISTS" not in answer
        ):
            return command
    return None


def recorded(facts: Facts) -> Iterator[Finding]:
    """DLV-5.1: with the setting on, an object in the user's account, in time."""
    for one, anatomy, fate in _delivered(facts):
        if not one.user.history:
            continue
        session = anatomy.attempt.session
        end = (session.end_us if session is not None else None) or fate.us
        due = max(end, fate.us) + facts.settings.us("history_within")
        stored = [record for record in _records_of(facts, one) if record.command.accepted]
        hindered = _hindered(facts, one, fate.us, due)
        if stored and hindered is not None:
            yield met("DLV-5.1", f"{one.name} was recorded, once the store let it be", stored[0].frame)
        elif stored:
            yield _in_time(facts, one, stored[0], due, anatomy.attempt.frame)
        elif hindered is not None:
            yield met("DLV-5.1", f"recording {one.name} was tried; the store refused", hindered.first.number)
        else:
            yield missing(
                facts,
                "DLV-5.1",
                f"{one.name} was delivered and not recorded",
                anatomy.attempt.frame,
                expected=f"an object with it in the account {one.user.account}",
                due_us=due,
            )


def _in_time(facts: Facts, one: Deferred, record: Record, due: int, origin: int) -> Finding:
    if record.begin_us - facts.settings.late_us <= due:
        return met("DLV-5.1", f"{one.name} was recorded", record.frame)
    return facts.settings.deviation(
        "DLV-5.1",
        "history_within",
        f"{one.name} was recorded too late",
        frames=(record.frame, origin),
        expected=f"within {facts.settings.value('history_within')} s of the session's end",
        actual=f"{(record.begin_us - due) / 1_000_000:.1f} s later than that",
    )


def not_recorded(facts: Facts) -> Iterator[Finding]:
    """DLV-5.2: with the setting off, no object at all."""
    for user in facts.users:
        if user.history:
            continue
        written = [
            record for record in facts.records if record.user == user or any(one.user == user for one in record.matched)
        ]
        if written:
            yield broken(
                "DLV-5.2",
                f"an object was written for {user.uri}, whose setting is off",
                written[0].frame,
                expected="nothing recorded",
                actual=f"APPEND to {written[0].mailbox!r}",
            )
        elif any(one.user == user for one, _, _ in _delivered(facts)):
            yield met("DLV-5.2", f"nothing was recorded for {user.uri}")


def after_delivery(facts: Facts) -> Iterator[Finding]:
    """DLV-5.3: no object of a message whose final answer we had not sent, or that failed.

    An object that may be of several messages is held to be of the one for which it is right.
    """
    for record in facts.records:
        judged = [(one, _outcome(facts, record, one)) for one in record.matched if one.user.history and one.firm]
        right = [one for one, wrong in judged if wrong == ""]
        if right:
            yield met("DLV-5.3", f"{right[0].name} was recorded after its delivery", record.frame)
        elif judged and all(judged_wrong for _, judged_wrong in judged):
            one, wrong = judged[0]
            yield broken(
                "DLV-5.3",
                f"{one.name} was recorded without having been delivered",
                record.frame,
                one.accepted_frame,
                expected="a record after the client's final 200",
                actual=wrong or "",
            )


def _outcome(facts: Facts, record: Record, one: Deferred) -> str | None:
    """What is wrong with recording a message then; '' if nothing is, ``None`` if nobody can know."""
    attempts = (anatomy.attempt for anatomy in facts.attempts_for(one) if anatomy.attempt.session is not None)
    fates = [fate for attempt in attempts if (fate := facts.fate(attempt)).outcome is not Outcome.FAILED]
    if any(fate.us < record.begin_us for fate in fates):
        return ""
    if any(fate.outcome is Outcome.UNKNOWN for fate in fates):
        return None
    return "its final 200 was sent later" if fates else "it was never answered 200"


def the_object(facts: Facts) -> Iterator[Finding]:
    """DLV-5.4 (interpretation): the object holds the message and its identifiers, and there is one of it."""
    for one, _, _ in _delivered(facts):
        stored = [record for record in _records_of(facts, one) if record.command.accepted]
        if not stored or not one.user.history or not one.firm:
            continue
        if len(stored) > 1 and all(len(record.matched) == 1 for record in stored):
            yield broken(
                "DLV-5.4",
                f"{one.name} was recorded {len(stored)} times",
                stored[1].frame,
                stored[0].frame,
                expected="one object",
                actual=f"{len(stored)}",
            )
            continue
        record = stored[0]
        lacking = [
            name
            for name, value in _identifiers(one)
            if not any(value.encode("utf-8", "surrogateescape") in text for text in record.texts)
        ]
        if one.content and not record.with_content:
            yield broken(
                "DLV-5.4",
                f"the object of {one.name} lacks its content",
                record.frame,
                expected="the content",
                actual="none of it",
            )
        elif lacking:
            yield broken(
                "DLV-5.4",
                f"the object of {one.name} lacks identifiers",
                record.frame,
                expected=", ".join(lacking),
                actual="not in the object",
            )
        else:
            yield met("DLV-5.4", f"the object of {one.name} holds content and identifiers", record.frame)


def _identifiers(one: Deferred) -> list[tuple[str, str]]:
    found = [(name, one.request.headers.get(name)) for name in ("Conversation-ID", "Contribution-ID")]
    found.append(("imdn.Message-ID", one.imdn_message_id))
    return [(name, value) for name, value in found if value]


CHECKS: tuple[Check, ...] = (recorded, not_recorded, after_delivery, the_object)
