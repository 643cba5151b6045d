"""What the PF agrees on for MSRP, and whether it keeps to it (RFC 3264, RFC 4145, RFC 4975 8, RFC 6135, RFC 6714)."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from ipaddress import ip_address

from cpmspec.evidence.trace import Address, Frame
from cpmspec.judge.anatomy import Anatomy
from cpmspec.judge.checks.common import Check, broken, limited, met, ruled
from cpmspec.judge.facts import Facts
from cpmspec.judge.media import Description, MediaSession, MediaView, is_sdp, media_of
from cpmspec.judge.octets import MsrpSeen
from cpmspec.judge.sip_origin import origins
from cpmspec.judge.verdict import Finding
from cpmspec.wire.mime import MediaType
from cpmspec.wire.sdp import Media, accepts
from cpmspec.wire.sdp_rules import answer_violations, offer_violations, revision_violations
from cpmspec.wire.uri import MsrpUri, parse_uri
from cpmspec.wire.violation import Violation

OFFER = ("SDP-6135-4.2.2-01",)
ANSWER = (
    "SDP-3264-6-01", "SDP-3264-6-02", "SDP-3264-6-03", "SDP-3264-6-04", "SDP-3264-6-05", "SDP-3264-6.1-01",
    "SDP-4145-4.1-01", "SDP-6714-4.3-01",
)  # fmt: skip
#: the one of them that only an answerer knows who knows RFC 6714
CEMA = "SDP-6714-4.3-01"
REVISION = ("SDP-3264-8-01", "SDP-3264-8-02", "SDP-3264-8-03", "SDP-3264-8-04")
#: what is reported here under the names of the parser's rules
REPORTS = (*OFFER, *ANSWER, *REVISION)


def offers(facts: Facts) -> Iterator[Finding]:
    """SDP-6135-4.2.2-01: rules for an offer; a later one in a dialog may keep the part that its side has by now."""
    found = [
        (first.offer, offer_violations(first.offer.sdp))
        for session in media_of(facts).sessions
        if (first := session.exchanges[0]).offer.from_iut
    ]
    yield from _told(OFFER, found, "offers")


def answers(facts: Facts) -> Iterator[Finding]:
    """SDP-3264-6-01 to SDP-3264-6-05, SDP-3264-6.1-01, SDP-4145-4.1-01, SDP-6714-4.3-01: rules for an answer.

    RFC 6714 binds only who knows it: an IUT that says msrp-cema nowhere goes by the path alone (RFC 4975 8.1).
    """
    cema = any(media.cema for session in media_of(facts).sessions for media in session.own)
    found = [
        (exchange.answer, answer_violations(exchange.offer.sdp, exchange.answer.sdp))
        for session in media_of(facts).sessions
        for exchange in session.exchanges
        if exchange.answer.from_iut
    ]
    yield from _told([rule for rule in ANSWER if cema or rule != CEMA], found, "answers")


def revisions(facts: Facts) -> Iterator[Finding]:
    """SDP-3264-8-01 to SDP-3264-8-04: a description that follows another one in a dialog.

    Not judged where the IUT described itself in between otherwise: an offer that was refused counts too (RFC 3264 8).
    """
    found = []
    for session in media_of(facts).sessions:
        if _described_beside(facts, session):
            continue
        own = [one for exchange in session.exchanges for one in (exchange.offer, exchange.answer) if one.from_iut]
        found += [(after, revision_violations(before.sdp, after.sdp)) for before, after in itertools.pairwise(own)]
    yield from _told(REVISION, found, "later descriptions")


def _described_beside(facts: Facts, session: MediaSession) -> bool:
    """Whether the IUT sent descriptions in a dialog that are in none of its completed exchanges."""
    known = {one.seen.message.body for exchange in session.exchanges for one in (exchange.offer, exchange.answer)}
    return any(
        seen.from_iut and is_sdp(seen.message) and seen.message.body not in known
        for seen in origins(facts).of_call(session.call_id)
    )


def _told(
    requirements: Sequence[str], found: Sequence[tuple[Description, tuple[Violation, ...]]], what: str
) -> Iterator[Finding]:
    for requirement in requirements:
        wrong = [(one, fault) for one, faults in found for fault in faults if fault.id == requirement]
        yield from limited([_fault(one, fault) for one, fault in wrong])
        if found and not wrong:
            yield met(requirement, f"kept: {len(found)} {what}")


def _fault(one: Description, fault: Violation) -> Finding:
    reason = f"the session description, octet {fault.offset}"
    return broken(fault.id, reason, one.seen.frame.number, expected=fault.expected, actual=fault.found)


# --- what may be sent ------------------------------------------------------------------------------------------------


def _delivered(facts: Facts) -> Iterator[tuple[Anatomy, tuple[Media, ...]]]:
    """The messages of the IUT with what their receiver said of itself."""
    view = media_of(facts)
    for anatomy in facts.anatomies:
        session = view.session_of(anatomy.attempt.chunks[0])
        if session is not None:
            yield anatomy, session.peer


def accepted_types(facts: Facts) -> Iterator[Finding]:
    """SDP-4975-8.6-21: a message is of a type that its receiver accepts."""
    yield from ruled("SDP-4975-8.6-21", _outer(facts), "messages")


def _outer(facts: Facts) -> Iterator[Finding | None]:
    for anatomy, peer in _delivered(facts):
        full = MediaType.parse(anatomy.attempt.content_type or "").full
        if not full:
            continue
        if any(accepts(media.accept_types, full) or not media.accept_types for media in peer):
            yield None
        else:
            yield _not_accepted("SDP-4975-8.6-21", anatomy, full, peer[-1].accept_types)


def accepted_wrapped_types(facts: Facts) -> Iterator[Finding]:
    """SDP-4975-8.6-22: what a multipart holds is of types that its receiver accepts, at all or inside another."""
    yield from ruled("SDP-4975-8.6-22", _inner(facts), "multiparts")


def _inner(facts: Facts) -> Iterator[Finding | None]:
    for anatomy, peer in _delivered(facts):
        if anatomy.multipart is None or not anatomy.attempt.complete:
            continue
        types = [full for part in anatomy.multipart.parts if (full := part.content_type.full)]
        known = [(*media.accept_types, *media.accept_wrapped_types) for media in peer]
        if any(all(accepts(names, full) for full in types) or not names for names in known):
            yield None
        else:
            other = next(full for full in types if not accepts(known[-1], full))
            yield _not_accepted("SDP-4975-8.6-22", anatomy, other, known[-1])


def _not_accepted(requirement: str, anatomy: Anatomy, full: str, names: Sequence[str]) -> Finding:
    return broken(
        requirement,
        "a type was sent that the receiver's session description does not list",
        anatomy.attempt.frame,
        expected=" ".join(names),
        actual=full,
    )


def small_enough(facts: Facts) -> Iterator[Finding]:
    """SDP-4975-8.6-23: no message is larger than its receiver takes."""
    yield from ruled("SDP-4975-8.6-23", _sizes(facts), "messages to a receiver with a limit")


def _sizes(facts: Facts) -> Iterator[Finding | None]:
    for anatomy, peer in _delivered(facts):
        limits = [media.max_size for media in peer if media.max_size is not None]
        if len(limits) < len(peer) or not anatomy.attempt.complete:
            continue
        size = len(anatomy.attempt.body)
        yield (
            None
            if size <= max(limits)
            else broken(
                "SDP-4975-8.6-23",
                "a message was sent that is larger than its receiver takes",
                anatomy.attempt.frame,
                expected=f"at most {max(limits)} octets",
                actual=f"{size} octets",
            )
        )


def direction(facts: Facts) -> Iterator[Finding]:
    """SDP-4975-8.9-21 (interpretation): content goes only where both descriptions let it go."""
    yield from ruled("SDP-4975-8.9-21", _directions(facts), "messages")


def _directions(facts: Facts) -> Iterator[Finding | None]:
    view = media_of(facts)
    for anatomy in facts.anatomies:
        session = view.session_of(anatomy.attempt.chunks[0])
        if session is None:
            continue
        closed = all(media.direction in ("sendonly", "inactive") for media in session.peer) or all(
            media.direction in ("recvonly", "inactive") for media in session.own
        )
        yield (
            None
            if not closed
            else broken(
                "SDP-4975-8.9-21",
                "content was sent in a direction that was not agreed on",
                anatomy.attempt.frame,
                expected="no SEND with content",
                actual=f"{session.own[-1].direction} here, {session.peer[-1].direction} there",
            )
        )


# --- who connects, and where to --------------------------------------------------------------------------------------


def _connections(view: MediaView) -> Iterator[tuple[MediaSession, MsrpSeen, Frame]]:
    """Each session with its first request, and the opening of the connection that it crossed on."""
    for session in view.sessions:
        first = next(iter(session.requests), None)
        opening = view.opened(first.connection) if first is not None else None
        if first is not None and opening is not None:
            yield session, first, opening


def _shared(view: MediaView, session: MediaSession, opening: Frame) -> bool:
    """Whether a connection was there for another session before: one may be used again (RFC 4975 5.4)."""
    first = next(one for one in view.messages if one.connection == opening.connection)
    return opening.time_us < session.exchanges[0].offer.seen.us or view.session_of(first) is not session


def right_side_connects(facts: Facts) -> Iterator[Finding]:
    """SDP-4145-4.1-21, SDP-4975-8.5-21: the passive side does not connect, nor, unasked, the answerer."""
    agreed, silent = list[Finding | None](), list[Finding | None]()
    view = media_of(facts)
    for session, _, opening in _connections(view):
        if session.active is None:
            continue
        if _shared(view, session, opening):
            continue
        medias = [session.exchanges[0].offer.media, session.exchanges[0].answer.media]
        said = any(media is not None and media.setup is not None for media in medias)
        wrong = opening.from_iut and not session.active
        requirement = "SDP-4145-4.1-21" if said else "SDP-4975-8.5-21"
        (agreed if said else silent).append(_connected(requirement, opening) if wrong else None)
    yield from ruled("SDP-4145-4.1-21", agreed, "sessions with a=setup")
    yield from ruled("SDP-4975-8.5-21", silent, "sessions without a=setup")


def _connected(requirement: str, opening: Frame) -> Finding:
    return broken(
        requirement,
        "the IUT opened the connection of a session in which it is for the peer to connect",
        opening.number,
        expected="a connection that the peer opens",
        actual=f"a connection to {opening.destination}",
    )


def connects_to_the_path(facts: Facts) -> Iterator[Finding]:
    """SDP-4975-8.2-21: the IUT connects to the first URI of the peer's path, or where RFC 6714 has it connect."""
    yield from ruled("SDP-4975-8.2-21", _targets(facts), "connections that the IUT opened")


def _targets(facts: Facts) -> Iterator[Finding | None]:
    view = media_of(facts)
    for session, _, opening in _connections(view):
        wanted = [place for media in session.peer for place in _places(media)]
        if not opening.from_iut or not wanted or _shared(view, session, opening):
            continue
        yield (
            None
            if any(_same_place(opening.destination, place) for place in wanted)
            else broken(
                "SDP-4975-8.2-21",
                "the IUT connected elsewhere than the peer's path says",
                opening.number,
                expected=" or ".join(dict.fromkeys(map(str, wanted))),
                actual=str(opening.destination),
            )
        )


def _places(media: Media) -> Iterator[Address]:
    """Where a description lets one connect to; what is no numeric address cannot be told from another."""
    uri = parse_uri(media.path[0]) if media.path else None
    if isinstance(uri, MsrpUri) and uri.port is not None:
        yield Address(uri.host, uri.port)
    if media.cema and media.connection_host is not None:
        yield Address(media.connection_host, media.port)


def _same_place(found: Address, wanted: Address) -> bool:
    """Whether two addresses are one; a name may be any address."""
    if found.port != wanted.port:
        return False
    try:
        return ip_address(wanted.host.strip("[]")) == ip_address(found.host)
    except ValueError:
        return True


def without_cema(facts: Facts) -> Iterator[Finding]:
    """SDP-6714-4.2-21: where the answerer knows no msrp-cema and its lines do not fit its path, a new offer is due."""
    yield from ruled("SDP-6714-4.2-21", _unfit(facts), "answers without msrp-cema that do not fit")


def _unfit(facts: Facts) -> Iterator[Finding | None]:
    for session in media_of(facts).sessions:
        first = session.exchanges[0]
        offer, answer = first.offer.media, first.answer.media
        if offer is None or answer is None or not first.offer.from_iut:
            continue
        if not offer.cema or answer.cema or answer.address_matches is not False:
            continue
        sent = next(iter(session.sent(by_iut=True)), None)
        yield (
            None
            if sent is None or len(session.exchanges) > 1
            else broken(
                "SDP-6714-4.2-21",
                "the IUT went on with an answer that it must not use",
                sent.first.number,
                first.answer.seen.frame.number,
                expected="a new offer without msrp-cema",
                actual="a request in the session",
            )
        )


CHECKS: tuple[Check, ...] = (
    offers,
    answers,
    revisions,
    accepted_types,
    accepted_wrapped_types,
    small_enough,
    direction,
    right_side_connects,
    connects_to_the_path,
    without_cema,
)
