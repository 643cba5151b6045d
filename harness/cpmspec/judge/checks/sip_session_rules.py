"""Rules about how a session of the IUT's is made and acknowledged: INVITE, 2xx, ACK, BYE (RFC 3261 12.1, 13, 15)."""

from __future__ import annotations

from collections.abc import Iterator

from cpmspec.judge.checks.common import Check, broken, met, missing
from cpmspec.judge.checks.places import summed, unanswered
from cpmspec.judge.facts import Facts
from cpmspec.judge.octets import SipSeen
from cpmspec.judge.sip_dialogs import Dialog, alive, dialogs, heard, patience_us, same_routes, timeout_us
from cpmspec.judge.sip_origin import method, origins, status
from cpmspec.judge.verdict import Finding
from cpmspec.wire.mime import Part, leaves
from cpmspec.wire.uri import SipUri

SDP = "application/sdp"


def _acks(facts: Facts, dialog: Dialog, *, from_iut: bool) -> list[SipSeen]:
    return [seen for seen in dialog.requests(facts, from_iut=from_iut) if method(seen) == "ACK"]


def invite_says_where(facts: Facts) -> Iterator[Finding]:
    """SIP-3261-8.1.1.8-01: an INVITE of the IUT's own has one Contact, a SIP or SIPS URI."""
    rule = "SIP-3261-8.1.1.8-01"
    for seen in origins(facts).own:
        if method(seen) != "INVITE":
            continue
        uris = [contact.uri for contact in seen.message.contact]
        if len(uris) == 1 and isinstance(uris[0], SipUri):
            yield met(rule, "the INVITE has its one Contact", seen.frame.number)
        else:
            actual = f"Contact {[str(uri) for uri in uris]}"
            reason = "the INVITE does not say where requests in the dialog go"
            yield broken(rule, reason, seen.frame.number, expected="one Contact, a SIP or SIPS URI", actual=actual)


def every_2xx_acknowledged(facts: Facts) -> Iterator[Finding]:
    """SIP-3261-13.2.2.4-01: an ACK for every 2xx to an INVITE of the IUT's own, also for one that comes again.

    A repeated 2xx may have crossed the ACK; one that comes twice more after the last ACK was not acknowledged.
    """
    rule, index = "SIP-3261-13.2.2.4-01", origins(facts)
    for dialog in dialogs(facts):
        if dialog.callee:
            continue
        copies, acks = index.copies(dialog.answer), _acks(facts, dialog, from_iut=True)
        late = [copy for copy in copies if not acks or copy.us > acks[-1].us]
        if acks and len(late) < 2:
            yield met(rule, "the 2xx was acknowledged", acks[-1].frame.number, dialog.answer.frame.number)
        else:
            certain = bool(acks) or heard(index, dialog.answer) or any(dialog.requests(facts, from_iut=True))
            reason = "a 2xx was not acknowledged" + (" when it was repeated" if acks else "")
            yield unanswered(facts, rule, reason, late[-1], expected="an ACK", certain=certain)


def ack_counts_as_its_invite(facts: Facts) -> Iterator[Finding]:
    """SIP-3261-13.2.2.4-02: the ACK to a 2xx has the CSeq number of the INVITE."""
    rule, index = "SIP-3261-13.2.2.4-02", origins(facts)
    for dialog in dialogs(facts):
        invites = {
            seen.cseq.number
            for seen in (dialog.invite, *dialog.requests(facts, from_iut=True))
            if method(seen) == "INVITE" and seen.from_iut and seen.cseq is not None
        }
        for ack in _acks(facts, dialog, from_iut=True):
            if index.copies(ack)[0] is not ack:
                continue
            cseq = ack.cseq
            if cseq is None or cseq.number not in invites:
                actual = f"CSeq {ack.message.headers.get('CSeq')}"
                reason = "the ACK is not numbered as an INVITE of the dialog"
                yield broken(rule, reason, ack.frame.number, expected=f"one of {sorted(invites)}", actual=actual)
            else:
                yield met(rule, "the ACK is numbered as its INVITE", ack.frame.number)


def accepted_until_acknowledged(facts: Facts) -> Iterator[Finding]:
    """SIP-3261-13.3.1.4-01, SIP-3261-13.3.1.4-02: a 2xx of the IUT's is repeated until its ACK comes; without one, BYE.

    Judged only where our side held the ACK back for longer than several intervals, and nobody ended the session.
    """
    repeat, give_up, index = "SIP-3261-13.3.1.4-01", "SIP-3261-13.3.1.4-02", origins(facts)
    for dialog in dialogs(facts):
        if not dialog.callee:
            continue
        copies, acks = index.copies(dialog.answer), _acks(facts, dialog, from_iut=False)
        ends = [seen.us for seen in acks] + [us for us in (dialog.ended_us(facts),) if us is not None]
        last, due = min(ends, default=facts.end_us), dialog.answer.us + patience_us(facts)
        if last < due or not facts.closed or not alive(facts, due):
            continue
        if len(copies) > 1 and copies[1].us <= due:
            yield met(repeat, "the 2xx was repeated", copies[1].frame.number, copies[0].frame.number)
        else:
            reason = "a 2xx that nobody acknowledged was not repeated"
            expected, actual = "the same 2xx again after T1, 2*T1 and so on", "nothing came"
            yield broken(repeat, reason, dialog.answer.frame.number, expected=expected, actual=actual)
        if acks:
            continue
        ended = [seen for seen in dialog.requests(facts, from_iut=True) if method(seen) == "BYE"]
        over = dialog.answer.us + timeout_us(facts) * 10 // 9 + patience_us(facts) + facts.settings.us("bye_within")
        if ended:
            yield met(give_up, "the session was ended", ended[0].frame.number)
        elif last >= over:
            reason = "no ACK came, and the session was not ended"
            yield missing(facts, give_up, reason, dialog.answer.frame.number, expected="a BYE", due_us=over)


def accepted_with_routes(facts: Facts) -> Iterator[Finding]:
    """SIP-3261-12.1.1-01, SIP-3261-12.1.1-02: a 2xx to INVITE copies Record-Route in order, and has a Contact.

    A proxy inside the product may have recorded itself on top of what came to it.
    """
    for dialog in dialogs(facts):
        if not dialog.callee:
            continue
        frame, message = dialog.answer.frame.number, dialog.answer.message
        wanted, found = dialog.invite.message.record_route, message.record_route
        if same_routes(found[max(0, len(found) - len(wanted)) :], wanted):
            yield met("SIP-3261-12.1.1-01", "the 2xx has the Record-Route of the INVITE", frame)
        else:
            yield broken(
                "SIP-3261-12.1.1-01",
                "the 2xx does not have the Record-Route values of the INVITE in their order",
                frame,
                dialog.invite.frame.number,
                expected=f"Record-Route {[str(one.uri) for one in wanted]}",
                actual=f"Record-Route {[str(one.uri) for one in found]}",
            )
        uris = [contact.uri for contact in message.contact]
        if uris and all(isinstance(uri, SipUri) for uri in uris):
            yield met("SIP-3261-12.1.1-02", "the 2xx has its Contact", frame)
        else:
            actual = f"Contact {[str(uri) for uri in uris]}"
            reason = "the 2xx does not say where requests in the dialog go"
            yield broken("SIP-3261-12.1.1-02", reason, frame, expected="a Contact, a SIP or SIPS URI", actual=actual)


def bye_of_callee_after_ack(facts: Facts) -> Iterator[Finding]:
    """SIP-3261-15-01: whoever was invited sends no BYE before the ACK to his 2xx has come, or has been waited for."""
    rule = "SIP-3261-15-01"
    for dialog in dialogs(facts):
        if not dialog.callee:
            continue
        byes = [seen for seen in dialog.requests(facts, from_iut=True) if method(seen) == "BYE"]
        acks = _acks(facts, dialog, from_iut=False)
        if not byes:
            continue
        bye, frames = byes[0], (byes[0].frame.number, dialog.answer.frame.number)
        waited = bye.us >= dialog.answer.us + timeout_us(facts) - facts.settings.late_us
        if (acks and acks[0].us < bye.us) or waited or dialog.answer.us > bye.us:
            yield met(rule, "the BYE came after the ACK, or in place of it", *frames)
        else:
            yield broken(rule, "the IUT's BYE came before the ACK to its 2xx", *frames, expected="BYE after ACK")


def offer_answered(facts: Facts) -> Iterator[Finding]:
    """SIP-3261-13.2.1-01, SIP-3261-13.2.1-02: the 2xx or the ACK has the answer to the offer, or the 2xx the offer.

    A reliable provisional response may have carried it before.
    """
    index = origins(facts)
    for dialog in dialogs(facts):
        frame, offered = dialog.answer.frame.number, _has_sdp(dialog.invite)
        earlier = any(_has_sdp(seen) for seen in index.responses_to(dialog.invite) if status(seen) < 200)
        if dialog.callee:
            if _has_sdp(dialog.answer) or earlier:
                yield met("SIP-3261-13.2.1-01", "the 2xx has the session description that is due", frame)
            else:
                due = "an answer" if offered else "an offer"
                reason = f"the 2xx to the INVITE lacks {due}"
                yield broken("SIP-3261-13.2.1-01", reason, frame, expected=f"{due} in {SDP}", actual="no SDP")
        elif not offered and not earlier and _has_sdp(dialog.answer):
            acks = _acks(facts, dialog, from_iut=True)
            if acks and _has_sdp(acks[0]):
                yield met("SIP-3261-13.2.1-02", "the ACK has the answer to the offer", acks[0].frame.number)
            elif acks:
                reason = "the ACK lacks the answer to the offer in the 2xx"
                frames = (acks[0].frame.number, frame)
                yield broken("SIP-3261-13.2.1-02", reason, *frames, expected=f"an answer in {SDP}", actual="no SDP")


def _has_sdp(seen: SipSeen) -> bool:
    """Whether a message carries a session description, as its body or as a part of it."""
    headers = seen.message.headers
    part = Part(headers.where(lambda header: header.key == "content-type"), seen.message.body)
    return bool(part.body) and any(leaf.content_type.full == SDP for leaf in leaves(part))


RULES: tuple[Check, ...] = (
    invite_says_where,
    every_2xx_acknowledged,
    ack_counts_as_its_invite,
    accepted_until_acknowledged,
    accepted_with_routes,
    bye_of_callee_after_ack,
    offer_answered,
)

CHECKS: tuple[Check, ...] = tuple(summed(rule) for rule in RULES)
