"""Rules about the transactions of the IUT: branches, retransmissions, ACK, CANCEL (RFC 3261 8.1.1.7, 9, 17)."""

from __future__ import annotations

from collections.abc import Iterator

from cpmspec.evidence.trace import Role
from cpmspec.judge.checks.common import Check, broken, met
from cpmspec.judge.checks.places import summed, unanswered
from cpmspec.judge.facts import Facts
from cpmspec.judge.octets import SipSeen
from cpmspec.judge.sip_dialogs import alive, heard, patience_us
from cpmspec.judge.sip_origin import Origin, method, origins, request_uri, status
from cpmspec.judge.verdict import Finding
from cpmspec.wire.uri import same_uri

#: RFC 3261 8.1.1.7: what every branch begins with
COOKIE = "z9hg4bk"


def _own_requests(facts: Facts) -> Iterator[SipSeen]:
    return (seen for seen in origins(facts).own if method(seen))


def branch_marked(facts: Facts) -> Iterator[Finding]:
    """SIP-3261-8.1.1.7-01: the branch of the IUT's Via begins with the magic cookie."""
    rule = "SIP-3261-8.1.1.7-01"
    for seen in (*_own_requests(facts), *(one for one in origins(facts).forwarded if method(one))):
        branch = seen.branch
        if branch.lower().startswith(COOKIE):
            yield met(rule, "the branch has the cookie", seen.frame.number)
        else:
            reason = f"the branch of the {method(seen)} is not one of RFC 3261"
            yield broken(rule, reason, seen.frame.number, expected="z9hG4bK...", actual=branch or "no branch")


def branch_new(facts: Facts) -> Iterator[Finding]:
    """SIP-3261-8.1.1.7-02: a request of the IUT's own has a branch that none before it had.

    A CANCEL and the ACK to a refusal share that of their INVITE; an ACK to a 2xx does not.
    """
    rule, index = "SIP-3261-8.1.1.7-02", origins(facts)
    used: dict[str, SipSeen] = {}
    for seen in _own_requests(facts):
        branch, kind = seen.branch, method(seen)
        if not branch or kind == "CANCEL" or (kind == "ACK" and not _acknowledges_2xx(facts, seen)):
            continue
        earlier = used.setdefault(branch, seen)
        if earlier is not seen and index.copies(earlier)[0] is not index.copies(seen)[0]:
            reason = f"the {kind} has the branch of another transaction, a {method(earlier)}"
            frames = (seen.frame.number, earlier.frame.number)
            yield broken(rule, reason, *frames, expected="a new branch", actual=branch)
        else:
            yield met(rule, f"the {kind} has a branch of its own", seen.frame.number)


def _acknowledges_2xx(facts: Facts, ack: SipSeen) -> bool:
    """Whether an ACK is for a 2xx: one with the tag that it names had come, and no refusal."""
    answers = [
        status(seen)
        for seen in origins(facts).of_call(ack.message.call_id or "")
        if not seen.from_iut
        and status(seen) >= 200
        and seen.tags[1] == ack.tags[1]
        and (cseq := seen.cseq) is not None
        and cseq.method == "INVITE"
    ]
    return bool(answers) and all(code < 300 for code in answers)


def repeated_until_answered(facts: Facts) -> Iterator[Finding]:
    """SIP-3261-17.1.1.2-01, SIP-3261-17.1.2.2-01: over UDP a request comes again until it is answered (timers A, E).

    Judged only where nothing at all was answered for longer than several intervals; how long they are is not judged.
    """
    index = origins(facts)
    for seen in _own_requests(facts):
        kind = method(seen)
        if seen.frame.transport != "udp" or kind == "ACK":
            continue
        rule = "SIP-3261-17.1.1.2-01" if kind == "INVITE" else "SIP-3261-17.1.2.2-01"
        answers, copies = index.responses_to(seen), index.copies(seen)
        due = seen.us + patience_us(facts)
        until = min((one.us for one in answers), default=facts.end_us)
        if until < due or not facts.closed or not alive(facts, due) or _cancelled(facts, seen, due):
            continue
        if len(copies) > 1 and copies[1].us <= due:
            yield met(rule, f"the {kind} was repeated", copies[1].frame.number, seen.frame.number)
        else:
            reason = f"a {kind} that nobody answered was not repeated"
            expected = "the same request again after T1, 2*T1 and so on"
            yield broken(rule, reason, seen.frame.number, expected=expected, actual="nothing came")


def _cancelled(facts: Facts, seen: SipSeen, due: int) -> bool:
    """Whether somebody had ended what a request was for: then it may have been given up."""
    return any(
        other.us <= due and method(other) in ("CANCEL", "BYE") and other not in origins(facts).copies(seen)
        for other in origins(facts).of_call(seen.message.call_id or "")
    )


def refusal_acknowledged(facts: Facts) -> Iterator[Finding]:
    """SIP-3261-17.1.1.3-01, SIP-3261-17.1.1.3-02: the ACK to a refusal belongs to the transaction of its INVITE.

    It comes at all, with the INVITE's branch; and with its Request-URI and Route, and the To of the refusal.
    """
    index = origins(facts)
    for invite in _own_requests(facts):
        refusal = index.final(invite) if method(invite) == "INVITE" else None
        if refusal is None or status(refusal) < 300 or refusal.from_iut:
            continue
        acks = [
            seen
            for seen in index.of_call(invite.message.call_id or "")
            if seen.from_iut and method(seen) == "ACK" and _number(seen) == _number(invite) and seen.us >= refusal.us
        ]
        yield from _acknowledged(facts, invite, refusal, acks)


def _acknowledged(facts: Facts, invite: SipSeen, refusal: SipSeen, acks: list[SipSeen]) -> Iterator[Finding]:
    rule = "SIP-3261-17.1.1.3-01"
    if not acks:
        reason = f"a {status(refusal)} to the INVITE was not acknowledged"
        yield unanswered(facts, rule, reason, refusal, expected="an ACK", certain=heard(origins(facts), refusal))
        return
    ack, frames = acks[0], (acks[0].frame.number, invite.frame.number)
    if ack.branch != invite.branch:
        reason = "the ACK to a refusal is not in the transaction of its INVITE"
        yield broken(rule, reason, *frames, expected=f"branch {invite.branch}", actual=f"branch {ack.branch}")
        return
    yield met(rule, "the ACK is in the transaction of the INVITE", *frames)
    wrong = [what for what, right in _copied(invite, refusal, ack) if not right]
    if wrong:
        reason = "the ACK to a refusal differs from what it has to repeat"
        yield broken("SIP-3261-17.1.1.3-02", reason, *frames, expected="the same " + ", ".join(wrong), actual="another")
    else:
        yield met("SIP-3261-17.1.1.3-02", "the ACK repeats what it has to", *frames)


def _copied(invite: SipSeen, refusal: SipSeen, ack: SipSeen) -> Iterator[tuple[str, bool]]:
    asked, sent = invite.message, ack.message
    yield "Request-URI", same_uri(request_uri(invite), request_uri(ack))
    yield "Route", [str(one.uri) for one in asked.route] == [str(one.uri) for one in sent.route]
    yield "To tag", refusal.message.to_tag == sent.to_tag


def _number(seen: SipSeen) -> int:
    cseq = seen.cseq
    return cseq.number if cseq is not None else -1


def cancel_answered(facts: Facts) -> Iterator[Finding]:
    """SIP-3261-9.2-01, SIP-3261-9.2-02: a CANCEL that fits a request is answered 200, and an open INVITE then 487.

    A 2xx that crosses the CANCEL is legal.
    """
    index = origins(facts)
    for cancel in facts.isc:
        if method(cancel) != "CANCEL" or cancel.frame.receiver is not Role.IUT or index.copies(cancel)[0] is not cancel:
            continue
        invite = next(
            (
                seen
                for seen in index.of_call(cancel.message.call_id or "")
                if method(seen) == "INVITE" and not seen.from_iut and seen.branch == cancel.branch
            ),
            None,
        )
        answer = index.final(cancel)
        if invite is None or answer is None or index.of(answer) is not Origin.OWN:
            continue
        frames = (answer.frame.number, cancel.frame.number)
        if status(answer) == 200:
            yield met("SIP-3261-9.2-01", "the CANCEL was answered 200", *frames)
        else:
            reason = "a CANCEL that fits a request was not answered 200"
            yield broken("SIP-3261-9.2-01", reason, *frames, expected="200", actual=str(status(answer)))
        final = index.final(invite)
        if final is None or index.of(final) is not Origin.OWN or final.us < cancel.us:
            continue
        frames = (final.frame.number, cancel.frame.number)
        if status(final) == 487 or status(final) < 300:
            yield met("SIP-3261-9.2-02", "the cancelled INVITE was answered 487, or had been accepted", *frames)
        else:
            reason = "a cancelled INVITE was not answered as such"
            yield broken("SIP-3261-9.2-02", reason, *frames, expected="487, or a 2xx", actual=str(status(final)))


RULES: tuple[Check, ...] = (
    branch_marked,
    branch_new,
    repeated_until_answered,
    refusal_acknowledged,
    cancel_answered,
)

CHECKS: tuple[Check, ...] = tuple(summed(rule) for rule in RULES)
