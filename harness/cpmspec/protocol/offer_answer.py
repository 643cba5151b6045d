"""Offer and answer of a dialog (RFC 3264) as a machine without I/O, and the small decisions of MSRP in it.

An :class:`OfferAnswer` sees the messages of a dialog that set up or change a session, in order, and knows what was
offered, what was answered, and what counts. What it does is in :mod:`cpmspec.protocol.offer_answer_table`. Who may
connect, and in which direction messages go, follows from RFC 4145, RFC 6135 and RFC 3264 6.1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

from cpmspec.protocol.errors import LocalProtocolError, RemoteProtocolError
from cpmspec.protocol.offer_answer_table import ANSWERS, TABLE, Carrier, Do, Event, State
from cpmspec.wire.media_type import MediaType
from cpmspec.wire.sdp import parse_sdp
from cpmspec.wire.sdp_rules import answer_violations, offer_violations
from cpmspec.wire.sip import SipRequest, SipResponse
from cpmspec.wire.violation import Violation

Message: TypeAlias = SipRequest | SipResponse

SDP_TYPE: Final = "application/sdp"

# RFC 3264 6.1: what is left when the answerer can do all it is asked for
_REVERSED: Final = {"sendrecv": "sendrecv", "sendonly": "recvonly", "recvonly": "sendonly", "inactive": "inactive"}


def answer_direction(offered: str, wanted: str = "sendrecv") -> str:
    """The direction of the answer: what the offer leaves of what we want (RFC 3264 6.1).

    Both arguments are one of ``sendrecv``, ``sendonly``, ``recvonly``, ``inactive``; so is the result.

    :raises RemoteProtocolError: 488, the offer holds no such word.
    """
    if offered not in _REVERSED:
        raise RemoteProtocolError(f"unknown direction {offered!r}", 488)
    mirrored = _REVERSED[offered]
    send = mirrored in ("sendrecv", "sendonly") and wanted in ("sendrecv", "sendonly")
    receive = mirrored in ("sendrecv", "recvonly") and wanted in ("sendrecv", "recvonly")
    if send and receive:
        return "sendrecv"
    if send:
        return "sendonly"
    return "recvonly" if receive else "inactive"


def choose_setup(offered: str | None, *, prefer: str = "active") -> str:
    """The ``a=setup`` of the answer (RFC 4145 4.1): ``active`` means that we connect.

    Without the attribute the offerer connects, as RFC 4975 has it (RFC 6135 4.2): we are ``passive``. ``prefer``
    decides an offer of ``actpass``; ``holdconn`` is answered in kind.

    :raises RemoteProtocolError: 488, the offer holds no such word.
    """
    match (offered or "active").lower():
        case "active":
            return "passive"
        case "passive":
            return "active"
        case "actpass":
            return prefer
        case "holdconn":
            return "holdconn"
        case _:
            raise RemoteProtocolError(f"unknown setup {offered!r}", 488)


def connects(setup: str | None, *, offerer: bool) -> bool:
    """Whether the side that wrote ``setup`` into its final SDP opens the connection.

    ``setup`` is that of the answer (``None`` if it had none: the offerer connects, RFC 4975 5.4); ``offerer`` tells
    whether we ask for the offerer's side.
    """
    answerer_connects = (setup or "passive").lower() == "active"
    return answerer_connects is not offerer


@dataclass(frozen=True, slots=True)
class Offer:
    """An offer that has no answer yet: in which message and transaction (``number`` of its CSeq), and by whom."""

    carrier: Carrier
    number: int | None
    local: bool
    description: bytes


@dataclass(frozen=True, slots=True)
class Agreement:
    """An offer and its answer: what counts from the answer on. ``local``: the offer was ours."""

    offer: bytes
    answer: bytes
    local: bool

    @property
    def ours(self) -> bytes:
        """The description of our side."""
        return self.offer if self.local else self.answer

    @property
    def theirs(self) -> bytes:
        """The description of the peer's side."""
        return self.answer if self.local else self.offer

    @property
    def violations(self) -> tuple[Violation, ...]:
        """What is wrong with the peer's description as the offer, or the answer, that it is."""
        offer, answer = parse_sdp(self.offer), parse_sdp(self.answer)
        return answer_violations(offer, answer) if self.local else offer_violations(offer)


class OfferAnswer:
    """The exchange of descriptions in one dialog, or one call that will make one.

    Give it each INVITE, UPDATE and ACK of the dialog and each response to them, once and in order, by :meth:`sent` and
    :meth:`received`; others it ignores. An error changes nothing but for an answer that is missing, which ends the
    offer. ``established``: there has been an exchange before (a re-INVITE's call), whose descriptions are not known.
    """

    def __init__(self, *, established: bool = False) -> None:
        self.state = State.STABLE if established else State.IDLE
        self.pending: Offer | None = None
        self.agreed: Agreement | None = None
        self._established = established
        self._before: Agreement | None = None

    def sent(self, message: Message) -> None:
        """A message of ours is about to leave.

        :raises LocalProtocolError: it would hold an offer or an answer that has no place there, or lack its answer.
        """
        try:
            self._take(message, local=True)
        except RemoteProtocolError as error:
            raise LocalProtocolError(str(error)) from error

    def received(self, message: Message) -> None:
        """A message of the peer came.

        :raises RemoteProtocolError: 491 or 500, its offer crosses another (RFC 3261 14.2); 400, a description has no
            place there, or the answer is missing.
        """
        self._take(message, local=False)

    def gave_up(self) -> None:
        """The transaction of the offer ended without any response: what was agreed before stays."""
        if self.pending is not None:
            self._refused()

    def _take(self, message: Message, *, local: bool) -> None:
        if self._refuses(message, local=local):
            self._refused()
            return
        carrier = _carrier(message)
        if carrier is None:
            return
        description, pending = _description(message), self.pending
        answers = self._same(message, local=local) and pending is not None and carrier in ANSWERS[pending.carrier]
        if answers and description:
            self._answer(carrier, description, local=local)
        elif answers and carrier is not Carrier.EARLY:
            self._unanswered(carrier, local=local)
        elif description and carrier in ANSWERS:
            self._offer(Offer(carrier, _number(message), local, description))
        elif description and carrier is not Carrier.EARLY:
            raise RemoteProtocolError(f"a description in the {carrier} answers no offer")

    def _offer(self, offer: Offer) -> None:
        event = Event.OFFER_SENT if offer.local else Event.OFFER_RECEIVED
        if self._fire(event, f"an offer in the {offer.carrier}, state {self.state!s}") == (Do.HOLD,):
            self.pending = offer

    def _answer(self, carrier: Carrier, description: bytes, *, local: bool) -> None:
        early = carrier is Carrier.EARLY
        if local:
            event = Event.EARLY_SENT if early else Event.ANSWER_SENT
        else:
            event = Event.EARLY_RECEIVED if early else Event.ANSWER_RECEIVED
        pending = self.pending
        actions = self._fire(event, f"an answer in the {carrier}, state {self.state!s}")
        if Do.AGREE in actions and pending is not None:
            self._before = self.agreed
            self.agreed = Agreement(pending.description, description, pending.local)

    def _unanswered(self, carrier: Carrier, *, local: bool) -> None:
        """What has to hold the answer holds none; after an early one that will do."""
        if self.state in (State.LOCAL_EARLY, State.REMOTE_EARLY):
            self._fire(Event.ANSWER_SENT if local else Event.ANSWER_RECEIVED, "")
            return
        self._refused()
        raise RemoteProtocolError(f"no answer in the {carrier}")

    def _refused(self) -> None:
        first = not self._established and (self.agreed is None or self._first_early)
        self._fire(Event.FIRST_REFUSED if first else Event.LATER_REFUSED, "")

    @property
    def _first_early(self) -> bool:
        """Whether all that is agreed is an early answer to the first offer."""
        return self.state in (State.LOCAL_EARLY, State.REMOTE_EARLY) and self._before is None

    def _fire(self, event: Event, what: str) -> tuple[Do, ...]:
        row = TABLE.get((self.state, event))
        if row is None:
            raise RemoteProtocolError(f"not allowed here: {what}")
        if Do.GLARE in row.actions:
            raise RemoteProtocolError(f"{what}: offers cross", 491)
        if Do.BUSY in row.actions:
            raise RemoteProtocolError(f"{what}: the one before has no answer", 500)
        if Do.RESTORE in row.actions:
            self.agreed = self._before
        if Do.DROP in row.actions:
            self.pending = None
        self.state = row.next
        return row.actions

    def _refuses(self, message: Message, *, local: bool) -> bool:
        """Whether it is the final response that refuses the request with the offer."""
        if not isinstance(message, SipResponse) or message.status < 300 or not self._same(message, local=local):
            return False
        return self.pending is not None and message.cseq is not None and message.cseq.method == self.pending.carrier

    def _same(self, message: Message, *, local: bool) -> bool:
        """Whether a message may belong to the offer: it comes from the other side, and has the same CSeq number."""
        pending = self.pending
        return pending is not None and pending.local is not local and _number(message) == pending.number


def _carrier(message: Message) -> Carrier | None:
    """Which message it is, of those that may hold a description (a 100 holds none)."""
    if isinstance(message, SipRequest):
        return _REQUESTS.get(message.method)
    method = message.cseq.method if message.cseq is not None else ""
    if method == "INVITE" and 100 < message.status < 300:
        return Carrier.EARLY if message.status < 200 else Carrier.SUCCESS
    return Carrier.UPDATED if method == "UPDATE" and 200 <= message.status < 300 else None


_REQUESTS: Final = {"INVITE": Carrier.INVITE, "ACK": Carrier.ACK, "UPDATE": Carrier.UPDATE}


def _description(message: Message) -> bytes:
    """The SDP that a message holds, empty if it holds none."""
    return message.body if MediaType.parse(message.content_type or "").full == SDP_TYPE else b""


def _number(message: Message) -> int | None:
    return None if message.cseq is None else message.cseq.number
