"""Rules about requests in the dialogs of the IUT, sent and received (RFC 3261 12.2, 15.1.2).

What a BYE of the PF in a delivering session has to look like is DLV-3.3.
"""

from __future__ import annotations

from collections.abc import Iterator

from cpmspec.evidence.trace import Kind, Pco, Role
from cpmspec.judge.checks.common import Check, broken, met, undecided
from cpmspec.judge.checks.places import summed, unanswered
from cpmspec.judge.facts import Facts
from cpmspec.judge.octets import SipSeen
from cpmspec.judge.sip_dialogs import Dialog, dialogs, heard, same_routes
from cpmspec.judge.sip_origin import Origin, method, origins, status
from cpmspec.judge.verdict import Blame, Finding
from cpmspec.wire.sip import SipRequest
from cpmspec.wire.uri import same_uri

#: refusals that ask the client to say who it is
CHALLENGES = frozenset({401, 407})


def _judged_requests(facts: Facts, dialog: Dialog) -> Iterator[SipSeen]:
    """The IUT's requests in a dialog without retransmissions; a BYE of a delivering session is DLV-3.3's."""
    index = origins(facts)
    elsewhere = {bye.frame.number for session in facts.sessions for bye in session.iut_byes}
    for seen in dialog.requests(facts, from_iut=True):
        first = index.copies(seen)[0] is seen
        if first and method(seen) != "CANCEL" and not (method(seen) == "BYE" and seen.frame.number in elsewhere):
            yield seen


def requests_follow_the_dialog(facts: Facts) -> Iterator[Finding]:
    """SIP-3261-12.2.1.1-01, SIP-3261-12.2.1.1-02: Request-URI is the remote target, Route the route set."""
    for dialog in dialogs(facts):
        for seen in _judged_requests(facts, dialog):
            request, frame = seen.message, seen.frame.number
            if not isinstance(request, SipRequest) or not dialog.loose or seen.frame.pco is not Pco.ISC:
                continue
            found, wanted = request.route, dialog.route_set
            if same_routes(found, wanted):
                yield met("SIP-3261-12.2.1.1-02", f"the {request.method} follows the route set", frame)
            else:
                yield broken(
                    "SIP-3261-12.2.1.1-02",
                    f"the {request.method} does not follow the dialog's route set",
                    frame,
                    dialog.answer.frame.number,
                    expected=f"Route {[str(one.uri) for one in wanted]}",
                    actual=f"Route {[str(one.uri) for one in found]}",
                )
            targets = dialog.targets(facts, seen)
            if any(same_uri(request.uri, target) for target in targets):
                yield met("SIP-3261-12.2.1.1-01", f"the {request.method} goes to the remote target", frame)
            elif targets:
                reason = f"the {request.method} does not go to the remote target"
                expected = f"Request-URI {targets[-1]}"
                yield broken("SIP-3261-12.2.1.1-01", reason, frame, expected=expected, actual=request.uri)


def sequence_without_gaps(facts: Facts) -> Iterator[Finding]:
    """SIP-3261-12.2.1.1-03: in a dialog the CSeq numbers of the IUT's requests go up by one.

    A request that got lost with a connection is not seen; then a gap proves nothing. One that nobody answered may be
    tried again at another place under its number (RFC 3263 4.3). That a BYE of a delivering session goes up at all is
    DLV-3.3.
    """
    rule, index = "SIP-3261-12.2.1.1-03", origins(facts)
    for dialog in dialogs(facts):
        sent = [
            (seen.cseq.number, seen)
            for seen in dialog.requests(facts, from_iut=True)
            if seen.cseq is not None
            and method(seen) not in ("ACK", "CANCEL")
            and index.copies(seen)[0] is seen
            and seen.frame.pco is Pco.ISC
        ]
        invited = dialog.invite.message.cseq
        last = None if dialog.callee or invited is None else invited.number
        for number, seen in sorted(sent, key=lambda one: (one[0], one[1].frame.number)):
            rises = last is None or number > last
            if not rises and (method(seen) == "BYE" or _elsewhere_again(facts, number, seen, sent)):
                continue
            if last is not None and number != last + 1:
                reason = f"the {method(seen)} is not numbered as the next request of the dialog"
                if rises and _connection_lost(facts, dialog, seen):
                    reason = f"{reason}; one may have been lost with a connection"
                    yield undecided(rule, reason, Blame.ENVIRONMENT, seen.frame.number)
                else:
                    expected, actual = f"CSeq {last + 1}", f"CSeq {number}"
                    yield broken(rule, reason, seen.frame.number, expected=expected, actual=actual)
            else:
                yield met(rule, f"the {method(seen)} is numbered as the next request", seen.frame.number)
            last = number


def _elsewhere_again(facts: Facts, number: int, seen: SipSeen, sent: list[tuple[int, SipSeen]]) -> bool:
    """Whether a request was sent before under its number, and had no final answer by then."""
    before = [one for other, one in sent if other == number and one.us < seen.us]
    answers = [origins(facts).final(one) for one in before]
    return bool(before) and all(
        method(one) == method(seen) and (answer is None or answer.us > seen.us)
        for one, answer in zip(before, answers, strict=True)
    )


def _connection_lost(facts: Facts, dialog: Dialog, seen: SipSeen) -> bool:
    return any(
        frame.pco is Pco.ISC and frame.kind in (Kind.CLOSE, Kind.RESET) and dialog.invite.us <= frame.time_us <= seen.us
        for frame in facts.trace.frames
    )


def bye_answered(facts: Facts) -> Iterator[Finding]:
    """SIP-3261-15.1.2-01, SIP-3261-15.1.2-02: a BYE in a dialog is answered 2xx; one in no dialog, 481."""
    index, known = origins(facts), dialogs(facts)
    for seen in facts.isc:
        if method(seen) != "BYE" or seen.frame.receiver is not Role.IUT or index.copies(seen)[0] is not seen:
            continue
        answer = index.final(seen)
        if answer is not None and index.of(answer) is not Origin.OWN:
            continue
        dialog = next((one for one in known if one.holds(seen)), None)
        if dialog is not None and _plain_bye(facts, dialog, seen):
            yield from _bye_in_dialog(facts, seen, answer)
        elif answer is not None and not _addressed(facts, seen):
            frames = (answer.frame.number, seen.frame.number)
            if status(answer) == 481:
                yield met("SIP-3261-15.1.2-02", "a BYE that belongs to no dialog was answered 481", *frames)
            else:
                reason = "a BYE that belongs to no dialog was not answered 481"
                yield broken("SIP-3261-15.1.2-02", reason, *frames, expected="481", actual=str(status(answer)))


def _addressed(facts: Facts, bye: SipSeen) -> bool:
    """Whether the IUT ever gave itself the tag that a BYE calls it by: then there was such a dialog, early perhaps."""
    tags = {
        seen.message.from_tag if method(seen) else seen.tags[1]
        for seen in origins(facts).of_call(bye.message.call_id or "")
        if seen.from_iut and seen.frame.number < bye.frame.number
    }
    return bye.message.to_tag in tags


def _plain_bye(facts: Facts, dialog: Dialog, bye: SipSeen) -> bool:
    """Whether nothing stands against a BYE: the dialog was open, and the BYE is numbered as it has to be.

    A dialog is over, too, for an IUT whose request in it was answered 481 or 408, or not at all (12.2.1.2).
    """
    sent = list(dialog.requests(facts, from_iut=True))
    ours = [seen for seen in sent if method(seen) == "BYE"]
    finals = [origins(facts).final(seen) for seen in sent if method(seen) not in ("ACK", "CANCEL")]
    over = any(final is None or status(final) in (408, 481) for final in finals)
    theirs = [seen for seen in dialog.requests(facts, from_iut=False) if method(seen) not in ("ACK", "CANCEL")]
    if dialog.callee:
        theirs.insert(0, dialog.invite)
    byes = [seen for seen in theirs if method(seen) == "BYE"]
    cseq = bye.message.cseq
    numbers = [one.cseq.number for one in theirs if one.us < bye.us and one.cseq is not None]
    strange = bye.message.violations or bye.message.headers.get("Require") is not None
    return (
        not ours
        and not over
        and dialog.answer.us < bye.us
        and byes[0] is bye
        and not strange
        and cseq is not None
        and all(number < cseq.number for number in numbers)
    )


def _bye_in_dialog(facts: Facts, bye: SipSeen, answer: SipSeen | None) -> Iterator[Finding]:
    rule, index = "SIP-3261-15.1.2-01", origins(facts)
    if answer is None:
        certain = heard(index, bye)
        yield unanswered(facts, rule, "a BYE was not answered", bye, expected="200", certain=certain)
    elif status(answer) in CHALLENGES:
        return  # whoever asks for credentials may do so here too (RFC 3261 22)
    elif status(answer) < 300:
        yield met(rule, "the BYE was answered", answer.frame.number, bye.frame.number)
    else:
        reason = "a BYE in an open dialog was refused"
        frames = (answer.frame.number, bye.frame.number)
        yield broken(rule, reason, *frames, expected="200", actual=str(status(answer)))


def lower_sequence_refused(facts: Facts) -> Iterator[Finding]:
    """SIP-3261-12.2.2-01: a request in a dialog with a lower number than one before it is answered 500.

    Judged where the IUT had answered the one before when this one was sent; a dialog that is over answers 481. A
    refusal for another reason may come first (8.2).
    """
    rule, index = "SIP-3261-12.2.2-01", origins(facts)
    for dialog in dialogs(facts):
        theirs = [seen for seen in dialog.requests(facts, from_iut=False) if method(seen) not in ("ACK", "CANCEL")]
        if dialog.callee:
            theirs.insert(0, dialog.invite)
        for seen in theirs:
            answer, ended = index.final(seen), dialog.ended_us(facts)
            if index.copies(seen)[0] is not seen or answer is None or (ended is not None and ended < answer.us):
                continue
            higher = [one for one in theirs if _answered_before(facts, one, seen) and _number(one) > _number(seen) >= 0]
            frames = (answer.frame.number, seen.frame.number, *(one.frame.number for one in higher[:1]))
            if higher and status(answer) == 500:
                yield met(rule, "a request out of order was answered 500", *frames)
            elif higher and (status(answer) < 300 or status(answer) >= 600):
                reason = "a request with a lower number than one before it was not refused"
                yield broken(rule, reason, *frames, expected="500", actual=str(status(answer)))


def _number(seen: SipSeen) -> int:
    cseq = seen.cseq
    return cseq.number if cseq is not None else -1


def _answered_before(facts: Facts, one: SipSeen, seen: SipSeen) -> bool:
    answer = origins(facts).final(one)
    return answer is not None and answer.us < seen.us


def ended_by_481(facts: Facts) -> Iterator[Finding]:
    """SIP-3261-12.2.1.2-01: after a 481 or 408 to a request in a dialog, the dialog is over for the IUT."""
    rule, index = "SIP-3261-12.2.1.2-01", origins(facts)
    for dialog in dialogs(facts):
        sent = [one for one in dialog.requests(facts, from_iut=True) if index.copies(one)[0] is one]
        for seen in sent:
            answer = index.final(seen) if method(seen) not in ("ACK", "BYE", "CANCEL") else None
            if answer is None or status(answer) not in (408, 481):
                continue
            read = answer.us + facts.settings.us("quiet_period") + facts.settings.late_us
            again = [one for one in sent if one.us > read and method(one) not in ("ACK", "BYE")]
            if again:
                reason = f"a {method(again[0])} was sent in a dialog that a {status(answer)} had ended"
                frames = (again[0].frame.number, answer.frame.number)
                yield broken(rule, reason, *frames, expected="nothing but BYE", actual=method(again[0]))
            else:
                yield met(rule, f"nothing came in the dialog after a {status(answer)}", answer.frame.number)


RULES: tuple[Check, ...] = (
    requests_follow_the_dialog,
    sequence_without_gaps,
    bye_answered,
    lower_sequence_refused,
    ended_by_481,
)

CHECKS: tuple[Check, ...] = tuple(summed(rule) for rule in RULES)
