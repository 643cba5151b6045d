"""The session that delivers: DLV-0.1 to 0.3."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import unquote

from cpmspec.judge.checks.common import Check, broken, met
from cpmspec.judge.facts import Facts
from cpmspec.judge.octets import SipSeen
from cpmspec.judge.sessions import DeliverySession
from cpmspec.judge.transfers import Attempt
from cpmspec.judge.verdict import Finding, Grade

#: the IMS communication service identifier of CPM sessions, as it stands in feature tags and service headers
SESSION_SERVICE = "oma.cpm.session"


def within_a_session(facts: Facts) -> Iterator[Finding]:
    """DLV-0.1: no SEND with content before the 2xx has crossed the core, none that belongs to no session."""
    for attempt in facts.strays:
        yield broken(
            "DLV-0.1",
            f"a SEND with content goes to {attempt.chunks[0].head.to_path[-1:]}, which is in no session description",
            attempt.frame,
            expected="the session-id of a client in an established session",
            actual="an unknown session-id",
        )
    for session in facts.sessions:
        for attempt in session.attempts:
            yield _confirmed(facts, session, attempt)


def _confirmed(facts: Facts, session: DeliverySession, attempt: Attempt) -> Finding:
    """Order across connections: in a push the 2xx is ours, so what comes before we sent it was sent too early; in a
    retrieval it is the IUT's own, and may only be overtaken by less than the quiet period."""
    answer = session.answer
    if answer is None or not session.established:
        reason = "a message was sent although no 2xx to the INVITE has crossed the core"
        if answer is None and not facts.closed:
            return met("DLV-0.1", "nothing against it so far; the answer to the INVITE is still out", attempt.frame)
        return broken(
            "DLV-0.1", reason, attempt.frame, session.invite.frame.number, expected="SEND after 2xx", actual="no 2xx"
        )
    ahead = answer.us - attempt.begin_us
    if session.kind == "push" and ahead > 0:
        return broken(
            "DLV-0.1",
            "a message was sent before the client's 2xx had crossed the core",
            attempt.frame,
            answer.frame.number,
            expected="SEND after 2xx",
            actual=f"SEND {ahead / 1000:.0f} ms before it",
        )
    if ahead > facts.settings.us("quiet_period") + facts.settings.late_us:
        return broken(
            "DLV-0.1",
            "a message was sent while the INVITE was still unanswered",
            attempt.frame,
            answer.frame.number,
            expected="SEND after 2xx",
            actual=f"2xx {ahead / 1_000_000:.1f} s after the SEND",
        )
    return met("DLV-0.1", "sent inside an established session", attempt.frame)


def no_cpm_session(facts: Facts) -> Iterator[Finding]:
    """DLV-0.2: nothing in the dialog, and nothing in the history, makes it a CPM session."""
    for session in facts.established:
        call_id = session.invite.message.call_id
        marked = None
        for seen in facts.isc:
            if seen.from_iut and seen.message.call_id == call_id and (name := _session_mark(seen)) is not None:
                marked = (seen, name)
                break
        if marked is not None:
            yield broken(
                "DLV-0.2",
                f"{marked[1]} marks the dialog as a CPM session",
                marked[0].frame.number,
                expected="no identifier of the CPM session service",
                actual=marked[0].message.headers.get(marked[1]) or "",
            )
        else:
            yield met("DLV-0.2", "nothing marks the dialog as a CPM session", session.invite.frame.number)
    for record in facts.records:
        head = record.octets.split(b"\r\n\r\n", 1)[0].lower()
        told = b"".join(one.request.headers.octets() for one in record.matched).lower()  # the originator's own words
        if any(mark in head and mark not in told for mark in (b"cpm-session", b"cpm.session")):
            yield broken("DLV-0.2", "an object in the history records the session as a CPM session", record.frame)


def _session_mark(seen: SipSeen) -> str | None:
    for header in seen.message.headers:
        if SESSION_SERVICE in unquote(header.value).lower():
            return header.name
    return None


def whole_or_chunked(facts: Facts) -> Iterator[Finding]:
    """DLV-0.3: both forms are right; what came is only stated."""
    for anatomy in facts.whole:
        count = len(anatomy.attempt.chunks)
        form = "one SEND" if count == 1 else f"{count} chunks"
        yield met("DLV-0.3", f"delivered in {form}", anatomy.attempt.frame, grade=Grade.INFORMATIONAL)


CHECKS: tuple[Check, ...] = (within_a_session, no_cpm_session, whole_or_chunked)
