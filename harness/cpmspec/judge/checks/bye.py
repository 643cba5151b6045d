"""The BYE that ends a session: DLV-3.1 to 3.4."""

from __future__ import annotations

from collections.abc import Iterator

from cpmspec.evidence.trace import Pco
from cpmspec.judge.checks.common import Check, broken, met, missing, undecided
from cpmspec.judge.facts import Facts, ending_us
from cpmspec.judge.octets import MsrpSeen, SipSeen
from cpmspec.judge.sessions import DeliverySession, Outcome
from cpmspec.judge.transfers import Attempt
from cpmspec.judge.verdict import Blame, Finding
from cpmspec.wire.sip import SipRequest, SipResponse
from cpmspec.wire.uri import same_uri


def bye_sent(facts: Facts) -> Iterator[Finding]:
    """DLV-3.1: a BYE of the PF, unless the client's came first or crossed, or the session broke down on our side."""
    for session in facts.established:
        if not session.attempts:
            continue
        if session.bye is not None:
            yield met("DLV-3.1", "the PF sent BYE", session.bye.frame.number)
        elif not _released(facts, session):
            last = facts.last_outcome_us(session) or session.begin_us
            yield missing(
                facts,
                "DLV-3.1",
                "no BYE came after the last message",
                session.attempts[-1].frame,
                expected="a BYE of the PF in the session's dialog",
                due_us=last + facts.settings.us("bye_within"),
            )


def _released(facts: Facts, session: DeliverySession) -> bool:
    """Whether our side ended the session before the PF had to: a BYE inside ``bye_within``, a broken connection."""
    if session.broken is not None:
        return True
    last = facts.last_outcome_us(session) or session.begin_us
    return session.client_bye is not None and session.client_bye.us <= last + facts.settings.us("bye_within")


def bye_not_early(facts: Facts) -> Iterator[Finding]:
    """DLV-3.2: judged by causality and by what a quiet period rules out, not by times of arrival.

    Whatever the IUT sent before its BYE has arrived a quiet period after the BYE. What begins to arrive later than
    that, and after our answer to the BYE, was sent after it.
    """
    for session in facts.established:
        bye = session.bye
        if bye is None or not session.attempts or session.ended_by_client or facts.parting(session):
            continue
        yield _early(facts, session, bye)


def _early(facts: Facts, session: DeliverySession, bye: SipSeen) -> Finding:
    answered = min((seen.us for seen in session.bye_answers), default=None)
    landed = bye.us + facts.settings.us("quiet_period") + facts.settings.late_us
    for attempt in session.attempts:
        for chunk in attempt.chunks:
            if answered is not None and chunk.begin_us > max(answered, landed):
                return broken(
                    "DLV-3.2",
                    "a message was still being sent after the BYE was answered",
                    bye.frame.number,
                    chunk.first.number,
                    expected="every message completely sent before the BYE",
                    actual=f"a chunk {(chunk.begin_us - bye.us) / 1_000_000:.1f} s after the BYE",
                )
        if facts.closed and not attempt.complete and not _given_up(facts, attempt, session, bye):
            return broken(
                "DLV-3.2",
                "the BYE came while a message was incomplete, and it never became complete",
                bye.frame.number,
                attempt.frame,
                expected="every message completely sent before the BYE",
                actual="a message without its end",
            )
    return met("DLV-3.2", "no message was incomplete at the BYE", bye.frame.number)


def _given_up(facts: Facts, attempt: Attempt, session: DeliverySession, bye: SipSeen) -> bool:
    """Whether the PF had a reason to leave a message incomplete: it, or the session, had failed before the BYE."""
    if attempt.aborted or attempt.refusal is not None or session.broken is not None:
        return True
    timer = facts.settings.us("msrp_response_timer")
    return any(
        ((end := ending_us(one)) is not None and end <= bye.us) or one.unanswered(bye.us, timer)
        for one in session.attempts
    )


def bye_after_outcomes(facts: Facts) -> Iterator[Finding]:
    """DLV-3.2b (interpretation): the BYE waits for every outcome, or for the end of the response timer."""
    timer = facts.settings.us("msrp_response_timer")
    for session in facts.established:
        bye = session.bye
        if bye is None or not session.attempts or session.ended_by_client or session.broken is not None:
            continue
        if facts.parting(session):
            continue
        if any(attempt.refusal is not None and attempt.refusal.end_us <= bye.us for attempt in session.attempts):
            continue  # a refusal may end the session at once
        late = facts.settings.late_us  # a chunk that was read late had left the IUT earlier
        open_chunk = _outstanding(session, bye, timer * 9 // 10 - late)
        if open_chunk is None and 2 * late > timer and _outstanding(session, bye, timer * 9 // 10) is not None:
            reason = f"the suite read up to {late / 1_000_000:.1f} s late: the response timer may have run out"
            yield undecided("DLV-3.2b", reason, Blame.ENVIRONMENT, bye.frame.number)
        elif open_chunk is not None:
            yield broken(
                "DLV-3.2b",
                "the BYE came while the answer to a SEND was still out",
                bye.frame.number,
                open_chunk.first.number,
                expected="a BYE once every outcome is known",
                actual="a BYE with an answer outstanding",
            )
        else:
            yield met("DLV-3.2b", "every outcome was known at the BYE", bye.frame.number)


def _outstanding(session: DeliverySession, bye: SipSeen, within: int) -> MsrpSeen | None:
    """A chunk whose answer had not crossed at the BYE, and which had been read no longer ago than ``within``."""
    for attempt in session.attempts:
        if attempt.failure_report != "yes":
            continue
        for chunk, answer in zip(attempt.chunks, attempt.answers, strict=True):
            is_open = chunk.end_us < bye.us and (answer is None or answer.begin_us > bye.us)
            if is_open and bye.us < chunk.end_us + within:
                return chunk
    return None


def bye_valid(facts: Facts) -> Iterator[Finding]:
    """DLV-3.3: to the core, along the route set, and right in every part that RFC 3261 12.2.1.1 fixes."""
    for session in facts.established:
        for bye in session.iut_byes:
            request = bye.message
            if bye.frame.pco is not Pco.ISC or not isinstance(request, SipRequest):
                yield broken(
                    "DLV-3.3",
                    "the BYE went past the core, straight to the client",
                    bye.frame.number,
                    expected="a BYE sent to the core by the route set",
                    actual=f"a BYE at {bye.frame.destination}",
                )
                continue
            wrong = list(_bye_faults(facts, session, request))
            for expected, actual in wrong:
                yield broken(
                    "DLV-3.3", "the BYE is not valid in the dialog", bye.frame.number, expected=expected, actual=actual
                )
            if not wrong:
                yield met("DLV-3.3", "the BYE follows the dialog's route set and state", bye.frame.number)


def _bye_faults(facts: Facts, session: DeliverySession, request: SipRequest) -> Iterator[tuple[str, str]]:
    invite, pull = session.invite.message, session.kind == "pull"
    answer = session.answer.message if session.answer is not None else invite
    ours, theirs = (invite, answer) if pull else (answer, invite)
    record = [str(name.uri) for name in (invite if pull else answer).record_route]
    route_set = record if pull else record[::-1]
    found_routes = [str(name.uri) for name in request.route]
    if [uri.lower() for uri in found_routes] != [uri.lower() for uri in route_set] and not _same_routes(
        found_routes, route_set
    ):
        yield f"Route {route_set}", f"Route {found_routes}"
    targets = session.contacts  # a later request or answer of the client may have refreshed it (RFC 3261 12.2)
    if targets and not any(same_uri(request.uri, target) for target in targets):
        yield f"Request-URI {targets[-1]}, the remote target", f"Request-URI {request.uri}"
    local_tag, remote_tag = (theirs.to_tag, ours.from_tag) if pull else (theirs.from_tag, ours.to_tag)
    if request.from_tag != local_tag:
        yield f"From tag {local_tag}", f"From tag {request.from_tag}"
    if request.to_tag != remote_tag:
        yield f"To tag {remote_tag}", f"To tag {request.to_tag}"
    yield from _cseq_faults(facts, session, request)
    if request.headers.get("Max-Forwards") is None:
        yield "a Max-Forwards header", "none"
    if not request.via or not (request.via[0].branch or "").startswith("z9hG4bK"):
        yield "a Via branch that begins with z9hG4bK", f"Via {request.headers.get('Via')}"


def _same_routes(found: list[str], wanted: list[str]) -> bool:
    return len(found) == len(wanted) and all(same_uri(one, other) for one, other in zip(found, wanted, strict=True))


def _cseq_faults(facts: Facts, session: DeliverySession, request: SipRequest) -> Iterator[tuple[str, str]]:
    cseq = request.cseq
    if cseq is None or cseq.method != "BYE":
        yield "CSeq with the method BYE", f"CSeq {request.headers.get('CSeq')}"
        return
    earlier = [
        seen.message.cseq.number
        for seen in facts.isc
        if seen.from_iut
        and isinstance(seen.message, SipRequest)
        and seen.message.call_id == request.call_id
        and seen.message.method not in ("ACK", "BYE", "CANCEL")
        and seen.message.cseq is not None
    ]
    if earlier and cseq.number <= max(earlier):
        yield f"a CSeq above {max(earlier)}", f"CSeq {cseq.number}"


def one_bye_in_time(facts: Facts) -> Iterator[Finding]:
    """DLV-3.4: one BYE transaction, within ``bye_within`` of the last outcome, also after a failure."""
    for session in facts.established:
        if not session.attempts or _released(facts, session):
            continue
        last = facts.last_outcome_us(session) or session.begin_us
        if session.bye is None:
            final = facts.fate(session.attempts[-1])
            if final.outcome is Outcome.FAILED:
                yield missing(
                    facts,
                    "DLV-3.4",
                    "no BYE came after the last message had failed",
                    session.attempts[-1].frame,
                    expected="a BYE also when the last message failed",
                    due_us=last + facts.settings.us("bye_within"),
                )
            continue
        yield from _punctual(facts, session, session.bye, last)


def _punctual(facts: Facts, session: DeliverySession, bye: SipSeen, last: int) -> Iterator[Finding]:
    again = [one for one in session.iut_byes[1:] if not _rejected(facts, session.iut_byes[0])]
    if again:
        yield broken(
            "DLV-3.4",
            f"{len(session.iut_byes)} BYE transactions in one dialog",
            again[0].frame.number,
            bye.frame.number,
            expected="exactly one BYE, retransmissions aside",
            actual=f"{len(session.iut_byes)}",
        )
        return
    late = bye.us - facts.settings.late_us - last - facts.settings.us("bye_within")
    if late > 0:
        yield facts.settings.deviation(
            "DLV-3.4",
            "bye_within",
            "the BYE came too late",
            frames=(bye.frame.number,),
            expected=f"within {facts.settings.value('bye_within')} s of the last outcome",
            actual=f"{(bye.us - last) / 1_000_000:.1f} s after it",
        )
    else:
        yield met("DLV-3.4", "one BYE, in time", bye.frame.number)


def _rejected(facts: Facts, bye: SipSeen) -> bool:
    """Whether the first BYE was answered in a way that asks for another one (RFC 3261 22.2; RFC 3263 4.3 for a 503)."""
    return any(
        isinstance(seen.message, SipResponse)
        and seen.message.status in (401, 407, 503)
        and seen.transaction == bye.transaction
        for seen in facts.isc
    )


CHECKS: tuple[Check, ...] = (bye_sent, bye_not_early, bye_after_outcomes, bye_valid, one_bye_in_time)
