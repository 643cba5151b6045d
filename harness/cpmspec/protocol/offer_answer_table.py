"""Offer and answer in a dialog as tables: where a description may stand, and what it does (RFC 3264, RFC 6337 2.2)."""

from __future__ import annotations

from enum import StrEnum
from typing import Final, NamedTuple

from cpmspec.protocol.tables import Row, index


class State(StrEnum):
    """Where an exchange of descriptions stands."""

    IDLE = "Nothing agreed"
    LOCAL_OFFER = "We offered"
    REMOTE_OFFER = "The peer offered"
    LOCAL_EARLY = "We offered, answered early"  #: in a 1xx, which is no reliable answer yet
    REMOTE_EARLY = "The peer offered, we answered early"
    STABLE = "Agreed"


class Event(StrEnum):
    """What drives it. A refusal is the first one's, or that of an offer that would have changed what is agreed."""

    OFFER_SENT = "offer sent"
    OFFER_RECEIVED = "offer received"
    EARLY_SENT = "answer sent in a 1xx"
    EARLY_RECEIVED = "answer received in a 1xx"
    ANSWER_SENT = "answer sent"
    ANSWER_RECEIVED = "answer received"
    FIRST_REFUSED = "first offer refused"
    LATER_REFUSED = "later offer refused"


class Do(StrEnum):
    """What a row does."""

    HOLD = "hold the offer"
    AGREE = "offer and answer count"
    DROP = "drop the offer"
    RESTORE = "what was agreed before counts again"
    GLARE = "refuse with 491"
    BUSY = "refuse with 500"


class Carrier(StrEnum):
    """Which message a description stands in."""

    INVITE = "INVITE"
    EARLY = "1xx to INVITE"
    SUCCESS = "2xx to INVITE"
    ACK = "ACK"
    UPDATE = "UPDATE"
    UPDATED = "2xx to UPDATE"


class Pattern(NamedTuple):
    """An offer in one message is answered in another; ``section`` is where that is written."""

    offer: Carrier
    answer: Carrier
    section: str


OfferAnswerRow = Row[State, Event, Do]
S, E, D, C = State, Event, Do, Carrier

OFFER_ANSWER_ROWS: Final[tuple[OfferAnswerRow, ...]] = (
    OfferAnswerRow(S.IDLE, E.OFFER_SENT, (D.HOLD,), S.LOCAL_OFFER, "RFC 3261 13.2.1"),
    OfferAnswerRow(S.IDLE, E.OFFER_RECEIVED, (D.HOLD,), S.REMOTE_OFFER, "RFC 3261 13.3.1"),
    OfferAnswerRow(S.LOCAL_OFFER, E.EARLY_RECEIVED, (D.AGREE,), S.LOCAL_EARLY, "RFC 3261 13.2.1"),
    OfferAnswerRow(S.LOCAL_OFFER, E.ANSWER_RECEIVED, (D.AGREE, D.DROP), S.STABLE, "RFC 3264 4"),
    OfferAnswerRow(S.LOCAL_OFFER, E.OFFER_RECEIVED, (D.GLARE,), S.LOCAL_OFFER, "RFC 3261 14.2"),
    OfferAnswerRow(S.LOCAL_OFFER, E.FIRST_REFUSED, (D.DROP,), S.IDLE, "RFC 3261 13.2.2.3"),
    OfferAnswerRow(S.LOCAL_OFFER, E.LATER_REFUSED, (D.DROP,), S.STABLE, "RFC 3261 14.1"),
    OfferAnswerRow(S.REMOTE_OFFER, E.EARLY_SENT, (D.AGREE,), S.REMOTE_EARLY, "RFC 3261 13.2.1"),
    OfferAnswerRow(S.REMOTE_OFFER, E.ANSWER_SENT, (D.AGREE, D.DROP), S.STABLE, "RFC 3264 4"),
    OfferAnswerRow(S.REMOTE_OFFER, E.OFFER_RECEIVED, (D.BUSY,), S.REMOTE_OFFER, "RFC 3261 14.2"),
    OfferAnswerRow(S.REMOTE_OFFER, E.FIRST_REFUSED, (D.DROP,), S.IDLE, "RFC 3261 13.3.1.3"),
    OfferAnswerRow(S.REMOTE_OFFER, E.LATER_REFUSED, (D.DROP,), S.STABLE, "RFC 3261 14.2"),
    # the first answer in a 1xx counts, and what follows repeats it (RFC 3261 13.2.1)
    OfferAnswerRow(S.LOCAL_EARLY, E.EARLY_RECEIVED, (), S.LOCAL_EARLY, "RFC 3261 13.2.1"),
    OfferAnswerRow(S.LOCAL_EARLY, E.ANSWER_RECEIVED, (D.DROP,), S.STABLE, "RFC 3261 13.2.1"),
    OfferAnswerRow(S.LOCAL_EARLY, E.OFFER_RECEIVED, (D.GLARE,), S.LOCAL_EARLY, "RFC 6337 2.2"),
    OfferAnswerRow(S.LOCAL_EARLY, E.FIRST_REFUSED, (D.RESTORE, D.DROP), S.IDLE, "RFC 3261 13.2.2.3"),
    OfferAnswerRow(S.LOCAL_EARLY, E.LATER_REFUSED, (D.RESTORE, D.DROP), S.STABLE, "RFC 3261 14.1"),
    OfferAnswerRow(S.REMOTE_EARLY, E.EARLY_SENT, (), S.REMOTE_EARLY, "RFC 3261 13.2.1"),
    OfferAnswerRow(S.REMOTE_EARLY, E.ANSWER_SENT, (D.DROP,), S.STABLE, "RFC 3261 13.2.1"),
    OfferAnswerRow(S.REMOTE_EARLY, E.OFFER_RECEIVED, (D.BUSY,), S.REMOTE_EARLY, "RFC 3261 14.2"),
    OfferAnswerRow(S.REMOTE_EARLY, E.FIRST_REFUSED, (D.RESTORE, D.DROP), S.IDLE, "RFC 3261 13.3.1.3"),
    OfferAnswerRow(S.REMOTE_EARLY, E.LATER_REFUSED, (D.RESTORE, D.DROP), S.STABLE, "RFC 3261 14.2"),
    OfferAnswerRow(S.STABLE, E.OFFER_SENT, (D.HOLD,), S.LOCAL_OFFER, "RFC 3264 8"),
    OfferAnswerRow(S.STABLE, E.OFFER_RECEIVED, (D.HOLD,), S.REMOTE_OFFER, "RFC 3264 8"),
)
#: the row of a state and an event
TABLE: Final = index(OFFER_ANSWER_ROWS)

#: which message may answer which; offers in reliable 1xx and in PRACK need 100rel (RFC 3262), which is not spoken here
PATTERNS: Final = (
    Pattern(C.INVITE, C.EARLY, "RFC 3261 13.2.1"),
    Pattern(C.INVITE, C.SUCCESS, "RFC 3261 13.2.1; RFC 6337 2.2 pattern 1"),
    Pattern(C.SUCCESS, C.ACK, "RFC 3261 13.2.2.4; RFC 6337 2.2 pattern 2"),
    Pattern(C.UPDATE, C.UPDATED, "RFC 3311 5.1, 5.2; RFC 6337 2.2 pattern 6"),
)
#: offer -> the messages that answer it
ANSWERS: Final = {
    offer: tuple(pattern.answer for pattern in PATTERNS if pattern.offer is offer)
    for offer in (pattern.offer for pattern in PATTERNS)
}
