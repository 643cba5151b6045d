"""The SIP sessions that deliver: their dialogs, their MSRP messages, and how each message fared (8.3.2.4.3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property

from cpmspec.evidence.context import ServedUser
from cpmspec.evidence.trace import Frame, Kind, Pco, Trace
from cpmspec.judge.deferred import last_session_id, session_ids, user_of
from cpmspec.judge.octets import MsrpSeen, SipSeen
from cpmspec.judge.transfers import Attempt, attempts_of
from cpmspec.wire.sdp import Sdp, parse_sdp
from cpmspec.wire.sip import SipRequest, SipResponse
from cpmspec.wire.uri import aor


class Outcome(StrEnum):
    """How the transfer of one MSRP message ended, as far as the sender can know."""

    DELIVERED = "delivered"
    FAILED = "failed"
    UNKNOWN = "unknown"  #: e.g. the last answer was sent, but the connection was broken before it can have been read


#: answers by which a UAS asks for the same request in another form or elsewhere (RFC 3261 8.1.3.5, RFC 4028, RFC 3329)
TO_BE_REPEATED = frozenset({401, 407, 420, 421, 422, 494})
#: a PF that waits for its client to connect does so for longer than this
CONNECT_US = 1_000_000


@dataclass(eq=False)
class DeliverySession:
    """A session between PF and client that is there to deliver: retrieved by the client or pushed by the PF."""

    user: ServedUser
    kind: str  #: "pull" or "push"
    invite: SipSeen
    answer: SipSeen | None = None  #: the first final response that crossed ``isc``
    iut_byes: list[SipSeen] = field(default_factory=list)  #: by transaction, retransmissions left out, at any PCO
    client_bye: SipSeen | None = None
    bye_answers: list[SipSeen] = field(default_factory=list)  #: what crossed ``isc`` towards the IUT
    attempts: list[Attempt] = field(default_factory=list)
    broken: Frame | None = None  #: where the client's side broke the MSRP connection before any BYE
    ids: set[str] = field(default_factory=set)  #: session-ids of the client's MSRP paths
    connections: set[int] = field(default_factory=set)  #: on which MSRP of the session crossed, in either direction
    descriptions: list[bytes] = field(default_factory=list)  #: the client's, in order
    contacts: list[str] = field(default_factory=list)  #: where the client wants requests in the dialog to go
    cancelled: bool = False  #: whether the INVITE was cancelled

    @property
    def established(self) -> bool:
        """Whether a 2xx crossed."""
        return (
            self.answer is not None
            and isinstance(self.answer.message, SipResponse)
            and self.answer.message.status < 300
        )

    @property
    def refused(self) -> int | None:
        """The final status of 300 or more, if that turned down a request that was all right.

        It was not if it is to be repeated, was cancelled, or came from nobody whom the core asserts.
        """
        message = self.answer.message if self.answer is not None else None
        if not isinstance(message, SipResponse) or message.status < 400 or message.status in TO_BE_REPEATED:
            return None
        asserted = self.kind == "push" or bool(self.invite.message.p_asserted_identity)
        return message.status if asserted and not self.cancelled else None

    @property
    def begin_us(self) -> int:
        """When the INVITE crossed ``isc``."""
        return self.invite.us

    @property
    def bye(self) -> SipSeen | None:
        """The IUT's first BYE."""
        return self.iut_byes[0] if self.iut_byes else None

    @property
    def end_us(self) -> int | None:
        """When it ended: by the first BYE of either side, or with its connection."""
        ends = [seen.us for seen in (self.bye, self.client_bye) if seen is not None]
        if self.broken is not None:
            ends.append(self.broken.time_us)
        return min(ends) if ends else None

    @property
    def ended_by_client(self) -> bool:
        """Whether the client's BYE came first."""
        return self.client_bye is not None and (self.bye is None or self.client_bye.us <= self.bye.us)

    @cached_property
    def client_sdp(self) -> Sdp | None:
        """The client's session description: the offer of a retrieval, the answer to a push."""
        message = self.invite.message if self.kind == "pull" else self.answer.message if self.answer else None
        if message is not None and message.body:
            return parse_sdp(message.body)
        return parse_sdp(self.descriptions[0]) if self.descriptions else None

    @property
    def unconnected(self) -> bool:
        """Whether it was for the client to connect (RFC 4145 4, RFC 4975 5.4), and it sent not even a first SEND."""
        answer = self.answer
        if self.connections or answer is None or not self.established:
            return False
        offer, reply = parse_sdp(self.invite.message.body).message, parse_sdp(answer.message.body).message
        setup = ((reply.attribute("setup") if reply is not None else None) or "").strip().lower()
        by_offerer = setup == "passive" or (not setup and (offer is None or offer.attribute("setup") != "passive"))
        ended = self.bye.us if self.bye is not None else None
        return by_offerer is (self.kind == "pull") and (ended is None or ended >= answer.us + CONNECT_US)


def delivery_sessions(
    trace: Trace, sip: Sequence[SipSeen], msrp: Sequence[MsrpSeen]
) -> tuple[tuple[DeliverySession, ...], tuple[Attempt, ...]]:
    """All delivering sessions of a trace in order, and the attempts that belong to none of them."""
    isc = [seen for seen in sip if seen.frame.pco is Pco.ISC]
    sessions = [session for seen in isc if (session := _begin(trace, isc, seen)) is not None]
    for session in sessions:
        _dialog(session, sip)
    strays = _attempts(sessions, msrp)
    for session in sessions:
        session.broken = _broken(trace, session)
    return tuple(sessions), tuple(strays)


def _begin(trace: Trace, isc: Sequence[SipSeen], seen: SipSeen) -> DeliverySession | None:
    """The session that an INVITE at ``isc`` asks for, if it is one that delivers and no retransmission."""
    request, users = seen.message, trace.context.users
    if not isinstance(request, SipRequest) or request.method != "INVITE" or request.to_tag:
        return None
    first = next(one for one in isc if isinstance(one.message, SipRequest) and one.transaction == seen.transaction)
    if first is not seen:
        return None
    if seen.from_iut:
        user = user_of(users, request.uri)
        towards = (one for one in isc if one.message.call_id == request.call_id and not one.from_iut)
        if user is None or any(
            isinstance(one.message, SipRequest) and one.message.method == "INVITE" for one in towards
        ):
            return None  # a forwarded invitation of somebody else
        return DeliverySession(user, "push", seen)
    if not trace.context.psi or aor(request.uri) != aor(trace.context.psi):
        return None
    asserted = request.p_asserted_identity
    identities = [str(name.uri) for name in asserted] or ([str(request.from_.uri)] if request.from_ is not None else [])
    user = next((user for identity in identities if (user := user_of(users, identity)) is not None), None)
    return DeliverySession(user, "pull", seen) if user is not None else None


def _dialog(session: DeliverySession, sip: Sequence[SipSeen]) -> None:
    call_id, seen_byes = session.invite.message.call_id, set[str]()
    for seen in sip:
        message = seen.message
        if message.call_id != call_id:
            continue
        if seen.frame.pco is Pco.ISC and not seen.from_iut:
            _told(session, message)
        if isinstance(message, SipResponse):
            _response(session, seen, message)
        elif message.method == "CANCEL":
            session.cancelled = True
        elif message.method == "BYE" and seen.from_iut:
            branch = message.via[0].branch if message.via else None
            mark = f"{branch} {message.headers.get('CSeq')}"
            if mark not in seen_byes:
                seen_byes.add(mark)
                session.iut_byes.append(seen)
        elif message.method == "BYE" and session.client_bye is None and not _relayed(session, seen):
            session.client_bye = seen


def _told(session: DeliverySession, message: SipRequest | SipResponse) -> None:
    """What the client says of itself in the dialog: its descriptions, also later ones, and its Contact."""
    if message.body and (ids := session_ids(message.body)):
        session.ids |= ids
        session.descriptions.append(message.body)
    cseq = message.cseq
    if cseq is not None and cseq.method in ("INVITE", "UPDATE"):
        session.contacts.extend(str(contact.uri) for contact in message.contact)


def _relayed(session: DeliverySession, seen: SipSeen) -> bool:
    """Whether a BYE that we see is the IUT's own, on its way from the core to the client."""
    return any(bye.message.from_tag == seen.message.from_tag for bye in session.iut_byes)


def _response(session: DeliverySession, seen: SipSeen, message: SipResponse) -> None:
    cseq = message.cseq
    if seen.frame.pco is not Pco.ISC or cseq is None or message.status < 200:
        return
    invited = seen.transaction == session.invite.transaction and seen.from_iut is (session.kind == "pull")
    if invited and session.answer is None:
        session.answer = seen
    elif cseq.method == "BYE" and not seen.from_iut:
        session.bye_answers.append(seen)


def _attempts(sessions: Sequence[DeliverySession], msrp: Sequence[MsrpSeen]) -> list[Attempt]:
    """Give each SEND with content to its session and message; return those that belong to no session."""
    by_id = {session_id: session for session in sessions for session_id in session.ids}
    sends: list[tuple[DeliverySession | None, MsrpSeen]] = []
    for one in msrp:
        ends = (last_session_id(path) for path in (one.head.to_path, one.head.from_path))
        session = next((by_id[end] for end in ends if end in by_id), None)
        if session is not None:
            session.connections.add(one.connection)
        if one.from_iut and one.head.method == "SEND" and one.body:
            sends.append((by_id.get(last_session_id(one.head.to_path) or ""), one))
    strays: list[Attempt] = []
    for attempt in attempts_of(sends, msrp):
        (attempt.session.attempts if attempt.session is not None else strays).append(attempt)
    return strays


def _broken(trace: Trace, session: DeliverySession) -> Frame | None:
    """Where our side closed or reset a connection of the session before any BYE."""
    byes = [seen.us for seen in (session.bye, session.client_bye) if seen is not None]
    for frame in trace.frames:
        if (
            frame.pco is Pco.MSRP
            and frame.connection in session.connections
            and frame.kind in (Kind.CLOSE, Kind.RESET)
            and not frame.from_iut
            and all(frame.time_us < us for us in byes)
        ):
            return frame
    return None
