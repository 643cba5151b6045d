"""What is sent: DLV-1.1 to 1.3."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from cpmspec.judge.anatomy import Anatomy
from cpmspec.judge.checks.common import Check, broken, met, missing, undecided
from cpmspec.judge.deferred import Deferred
from cpmspec.judge.facts import FINAL_FOR_MESSAGE, Facts
from cpmspec.judge.sessions import DeliverySession, Outcome
from cpmspec.judge.verdict import Blame, Finding
from cpmspec.wire.cpim import parse_cpim
from cpmspec.wire.fragment import Fragment
from cpmspec.wire.headers import Header, Headers
from cpmspec.wire.mime import MediaType, Part, leaves
from cpmspec.wire.sdp import accepts
from cpmspec.wire.uri import aor, parse_name_addr

#: an envelope may add this much to content and headers before ``max-size`` can be said to have room
ENVELOPE = 8192


def everything_sent(facts: Facts) -> Iterator[Finding]:
    """DLV-1.1: what waited when the session began is sent in it, unless something excuses the PF.

    What an earlier session had already failed to deliver is DLV-4.1's.
    """
    for session in facts.sessions:
        if facts.occupied(session) or facts.parting(session):
            continue  # as an empty queue
        for one in facts.waiting(session):
            if not _tried_before(facts, one, session):
                yield from _sent(facts, session, one)


def _tried_before(facts: Facts, one: Deferred, session: DeliverySession) -> bool:
    return any(
        earlier.established and one.accepted_us < earlier.begin_us < session.begin_us
        for earlier in facts.sessions_of(one.user)
    )


def _sent(facts: Facts, session: DeliverySession, one: Deferred) -> Iterator[Finding]:
    attempts = facts.attempts_for(one, [session])
    if attempts:
        yield met("DLV-1.1", f"{one.name} was sent", attempts[0].attempt.frame)
        return
    if session.refused is not None:
        if session.kind == "pull" and not forbidden_by_sdp(facts, session, one):
            yield broken(
                "DLV-1.1",
                f"the retrieval was refused with {session.refused} although {one.name} waits",
                session.answer.frame.number if session.answer else session.invite.frame.number,
                one.accepted_frame,
                expected="a session in which every deferred message is sent",
                actual=f"a final response {session.refused}",
            )
        return
    if not session.established or excused(facts, session, one):
        return
    frame = session.bye.frame.number if session.bye is not None else session.invite.frame.number
    reason = f"{one.name} was accepted before the session and not sent in it"
    if session.bye is not None and facts.closed:
        yield broken("DLV-1.1", reason, frame, one.accepted_frame, expected="a SEND with it", actual="none")
    else:
        yield missing(facts, "DLV-1.1", reason, frame, one.accepted_frame, expected="a SEND with it")


def excused(facts: Facts, session: DeliverySession, one: Deferred) -> bool:
    """Whether the PF need not have sent it in a session: ended or broken by us, forbidden by SDP or an answer."""
    if session.ended_by_client or session.broken is not None or session.unconnected:
        return True
    if forbidden_by_sdp(facts, session, one):
        return True
    for attempt in session.attempts:
        refusal = attempt.refusal
        if refusal is None:
            fate = facts.fate(attempt)
            if fate.outcome is Outcome.FAILED:
                return True  # never answered: the sender may take the session for lost
        elif refusal.head.method == "REPORT" or (refusal.head.status or 0) not in FINAL_FOR_MESSAGE:
            return (
                True  # C14, C20, C22, C24; an unknown code: the texts leave it open, so nothing is held against the PF
            )
    return False


def forbidden_by_sdp(facts: Facts, session: DeliverySession, one: Deferred) -> bool:
    """Whether the client's SDP forbids this message (RFC 4975 8.6; RFC 3264 6.1 for the direction)."""
    sdp = session.client_sdp
    media = sdp.message if sdp is not None else None
    if media is None:
        return session.kind == "push" or sdp is not None
    if media.port == 0 or media.direction in ("sendonly", "inactive"):
        return True
    if "TLS" in media.protocol.upper() and not facts.context.pics.get("msrp_tls", True):
        return True
    outer, inner = media.accept_types, (*media.accept_types, *media.accept_wrapped_types)
    if not accepts(outer, "multipart/mixed"):
        return True
    wanted = _types_within(one)
    if one.mode == "large":
        wanted.append("message/msrpfrag")
    if not all(accepts(inner, name) for name in wanted):
        return True
    if not accepts(inner, "message/sipfrag") and not accepts(inner, "message/sip"):
        return True
    size = len(one.content) + len(one.request.headers.octets()) + ENVELOPE
    return media.max_size is not None and media.max_size < size


def _types_within(one: Deferred) -> list[str]:
    """The media type of the content, and of what is wrapped in it: a careful PF looks at each (RFC 4975 8.6)."""
    if not one.content_type or not one.content:
        return []
    content = Part(Headers([Header.unchecked("Content-Type", one.content_type)]), one.content)
    found = [content.content_type.full, *(leaf.content_type.full for leaf in leaves(content))]
    if content.content_type.full == "message/cpim" and (inside := parse_cpim(one.content).content_type):
        found.append(MediaType.parse(inside).full)
    return [name for name in found if name]


def one_message_each(facts: Facts) -> Iterator[Finding]:
    """DLV-1.2: none merged, none split over two Message-IDs, none sent again after its 200 in the same session."""
    for session in facts.sessions:
        within = [anatomy for anatomy in facts.anatomies if anatomy.attempt.session is session]
        found = [*_merged(within), *_shared_ids(within)]
        for one in dict.fromkeys(one for anatomy in within for one in anatomy.matched):
            found.extend(_repeated(facts, [anatomy for anatomy in within if one in anatomy.matched], one))
        yield from found
        if within and not found:
            yield met("DLV-1.2", f"{len(within)} deferred messages, each one MSRP message", within[0].attempt.frame)


def _merged(within: Sequence[Anatomy]) -> Iterator[Finding]:
    for anatomy in within:
        if len(anatomy.by_content) > 1 or len(anatomy.by_headers) > 1:
            names = " and ".join(one.name for one in anatomy.matched)
            yield broken(
                "DLV-1.2",
                f"{names} came in one MSRP message",
                anatomy.attempt.frame,
                expected="one MSRP message for each deferred message",
                actual=f"{len(anatomy.matched)} in one",
            )


def _shared_ids(within: Sequence[Anatomy]) -> Iterator[Finding]:
    by_id: dict[str, Anatomy] = {}
    for anatomy in within:
        other = by_id.setdefault(anatomy.attempt.message_id, anatomy)
        if other is not anatomy and other.one is not None and anatomy.one is not None and other.one != anatomy.one:
            yield broken(
                "DLV-1.2",
                f"{other.one.name} and {anatomy.one.name} share the Message-ID {anatomy.attempt.message_id}",
                anatomy.attempt.frame,
                other.attempt.frame,
                expected="a Message-ID of its own for each",
                actual="one for both",
            )


def _repeated(facts: Facts, attempts: Sequence[Anatomy], one: Deferred) -> Iterator[Finding]:
    for before, after in itertools.pairwise(attempts):
        fate = facts.fate(before.attempt)
        if fate.outcome is Outcome.FAILED and fate.us <= after.attempt.begin_us:
            if before.attempt.message_id != after.attempt.message_id:
                yield undecided(
                    "DLV-1.2",
                    f"{one.name} was tried again with another Message-ID after it had failed",
                    Blame.INTERPRETATION,
                    after.attempt.frame,
                    before.attempt.frame,
                )
            continue
        same = before.attempt.message_id == after.attempt.message_id
        if same and not before.attempt.complete:
            continue  # chunks of one message that overlap or fill: not a second transfer
        reason = (
            "sent again after it was answered 200" if fate.outcome is Outcome.DELIVERED else "sent twice in one session"
        )
        yield broken(
            "DLV-1.2",
            f"{one.name} was {reason}",
            after.attempt.frame,
            before.attempt.frame,
            expected="one MSRP message for it in the session",
            actual=f"Message-IDs {before.attempt.message_id}, {after.attempt.message_id}",
        )


def only_own(facts: Facts) -> Iterator[Finding]:
    """DLV-1.3: every delivered message was deferred for the user of the session."""
    for anatomy in facts.anatomies:
        session = anatomy.attempt.session
        if session is None:
            continue
        for one in anatomy.matched:
            if one.user != session.user:
                yield broken(
                    "DLV-1.3",
                    f"{one.name} was deferred for {one.user.uri}",
                    anatomy.attempt.frame,
                    one.accepted_frame,
                    expected=f"messages for {session.user.uri}",
                    actual=f"a message for {one.user.uri}",
                )
        if not anatomy.matched:
            yield from _foreign(anatomy, session)
        elif all(one.user == session.user for one in anatomy.matched):
            yield met("DLV-1.3", "deferred for this user", anatomy.attempt.frame)


def _foreign(anatomy: Anatomy, session: DeliverySession) -> Iterator[Finding]:
    """A delivered message that nobody was seen to send to the user."""
    if not anatomy.attempt.complete:
        return
    fragments = [one.fragment for one in anatomy.encapsulated if one.kind == "sip"]
    addressed = next((to for fragment in fragments if (to := _addressee(fragment))), None)
    same_scheme = addressed is not None and aor(addressed)[:4] == aor(session.user.uri)[:4]
    if addressed is not None and same_scheme and aor(addressed) != aor(session.user.uri):
        yield broken(
            "DLV-1.3",
            "the message's own headers name another addressee",
            anatomy.attempt.frame,
            expected=f"messages for {session.user.uri}",
            actual=f"To: {addressed}",
        )
    elif not session.user.fresh:
        yield undecided(
            "DLV-1.3",
            "a message that this case did not send: left over from before?",
            Blame.ENVIRONMENT,
            anatomy.attempt.frame,
        )
    elif fragments:
        yield broken(
            "DLV-1.3",
            "the message was never sent to this user",
            anatomy.attempt.frame,
            expected=f"messages deferred for {session.user.uri}",
            actual="headers and content of no such message",
        )


def _addressee(fragment: Fragment) -> str | None:
    value = fragment.headers.get("To")
    return str(parse_name_addr(value).uri) if value else None


CHECKS: tuple[Check, ...] = (everything_sent, one_message_each, only_own)
