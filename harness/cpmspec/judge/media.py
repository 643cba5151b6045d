"""The MSRP sessions that the IUT agreed on: offers and answers by dialog, and what crossed in each (RFC 4975 8)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from weakref import WeakKeyDictionary

from cpmspec.evidence.trace import Frame, Kind, Pco, Trace
from cpmspec.judge.facts import Facts
from cpmspec.judge.octets import MsrpSeen, SipSeen
from cpmspec.judge.sip_origin import own_messages
from cpmspec.judge.transfers import Answers
from cpmspec.wire.mime import MediaType
from cpmspec.wire.sdp import Media, Sdp, parse_sdp
from cpmspec.wire.sip import SipRequest, SipResponse
from cpmspec.wire.uri import MsrpUri, parse_uri

SDP_TYPE = "application/sdp"
#: a=setup of offer and answer -> whether the answerer connects; what is not here is wrong or left open
_ANSWERER_CONNECTS = {
    (None, None): False,
    (None, "passive"): False,
    ("active", None): False,
    ("active", "passive"): False,
    ("actpass", "passive"): False,
    ("actpass", "active"): True,
    ("passive", "active"): True,
}


@dataclass(frozen=True, slots=True)
class Description:
    """A session description as it crossed ``isc``."""

    seen: SipSeen
    sdp: Sdp

    @property
    def from_iut(self) -> bool:
        """Whether it is the IUT's."""
        return self.seen.from_iut

    @property
    def media(self) -> Media | None:
        """Its MSRP media, if it has one and does not reject it."""
        found = self.sdp.message
        return None if found is None or found.port == 0 else found


@dataclass(frozen=True, slots=True)
class Exchange:
    """An offer and its answer (RFC 3264 5, 6)."""

    offer: Description
    answer: Description

    @property
    def us(self) -> int:
        """When the answer crossed."""
        return self.answer.seen.us


@dataclass(eq=False)
class MediaSession:
    """A dialog in which the IUT agreed on MSRP: what was offered and answered, what crossed, when it ended."""

    call_id: str
    exchanges: list[Exchange] = field(default_factory=list)
    requests: list[MsrpSeen] = field(default_factory=list)  #: of both sides, in order; responses are not among them
    ended_us: int | None = None  #: the first BYE of either side

    def _descriptions(self, *, of_iut: bool) -> Iterator[Media]:
        for exchange in self.exchanges:
            for one in (exchange.offer, exchange.answer):
                if one.from_iut is of_iut and one.media is not None:
                    yield one.media

    @cached_property
    def own(self) -> tuple[Media, ...]:
        """What the IUT said of itself, in order."""
        return tuple(self._descriptions(of_iut=True))

    @cached_property
    def peer(self) -> tuple[Media, ...]:
        """What the other side said of itself."""
        return tuple(self._descriptions(of_iut=False))

    @cached_property
    def own_ids(self) -> frozenset[str]:
        """The session-ids of the IUT's paths."""
        return frozenset(one for media in self.own for one in ids_of(media.path))

    @cached_property
    def peer_ids(self) -> frozenset[str]:
        """The session-ids of the other side's paths."""
        return frozenset(one for media in self.peer for one in ids_of(media.path))

    @property
    def begin_us(self) -> int:
        """When the first answer crossed."""
        return self.exchanges[0].us

    @property
    def active(self) -> bool | None:
        """Whether the IUT is the side that connects (RFC 4145 4.1, RFC 4975 5.4); ``None`` if the texts leave it open.

        Without ``a=setup`` the offerer connects.
        """
        first = self.exchanges[0]
        offer, answer = first.offer.media, first.answer.media
        if offer is None or answer is None or len(self.exchanges) > 1:
            return None
        answerer = _ANSWERER_CONNECTS.get((offer.setup, answer.setup))
        return None if answerer is None else answerer is first.answer.from_iut

    def sent(self, *, by_iut: bool) -> list[MsrpSeen]:
        """The requests of one side."""
        return [one for one in self.requests if one.from_iut is by_iut]


_VIEWS: WeakKeyDictionary[Facts, MediaView] = WeakKeyDictionary()


def media_of(facts: Facts) -> MediaView:
    """The MSRP sessions of a trace, worked out once."""
    if (found := _VIEWS.get(facts)) is None:
        found = _VIEWS[facts] = MediaView(facts.trace, own_messages(facts), facts.isc, (*facts.msrp, *facts.mo))
    return found


def ids_of(path: Sequence[str]) -> tuple[str, ...]:
    """The session-ids in a path."""
    uris = (parse_uri(text) for text in path)
    return tuple(uri.session_id for uri in uris if isinstance(uri, MsrpUri) and uri.session_id)


class MediaView:
    """All MSRP sessions of a trace, and the MSRP messages of both points of observation."""

    def __init__(self, trace: Trace, own: Sequence[SipSeen], isc: Sequence[SipSeen], msrp: Sequence[MsrpSeen]) -> None:
        self.messages = sorted(msrp, key=lambda one: (one.first.number, one.last.number))
        self.answers = Answers(self.messages)
        self.sessions = tuple(_sessions(own, isc))
        self.whole = _whole_connections(trace)
        self._by_own = {one: session for session in self.sessions for one in session.own_ids}
        self._by_peer = {one: session for session in self.sessions for one in session.peer_ids}
        self._asked: dict[tuple[int, str], list[MsrpSeen]] = {}
        for one in self.messages:
            if one.head.method is not None and not one.from_iut:
                self._asked.setdefault((one.connection, one.head.transaction_id), []).append(one)
            session = self.session_of(one)
            if session is not None and one.head.method is not None:
                session.requests.append(one)

    def session_of(self, one: MsrpSeen) -> MediaSession | None:
        """The session that a message belongs to: by the session-ids of both its ends, else by any in its paths."""
        to, from_ = ids_of(one.head.to_path), ids_of(one.head.from_path)
        own, peer = (from_, to) if one.from_iut else (to, from_)
        both = (one for one in self.sessions if one.own_ids.intersection(own) and one.peer_ids.intersection(peer))
        found = (next(both, None), *(self._by_own.get(name) for name in own))
        others = (self._by_peer.get(name) for name in peer)
        return next((session for session in (*found, *others) if session is not None), None)

    def request_of(self, response: MsrpSeen) -> MsrpSeen | None:
        """The request of the other side that a response of the IUT answers: the last one so far with its id."""
        asked = self._asked.get((response.connection, response.head.transaction_id), ())
        return next((one for one in reversed(asked) if one.first.number <= response.last.number), None)

    def opened(self, connection: int) -> Frame | None:
        """The opening of a connection, if the trace saw it: then nothing on it is missing before."""
        return self.whole.get(connection)


def _whole_connections(trace: Trace) -> dict[int, Frame]:
    """The openings that were seen: one that was not is written down with the time of the first octets."""
    opened: dict[int, Frame] = {}
    begun: set[int] = set()
    for frame in trace.frames:
        if frame.pco not in (Pco.MSRP, Pco.MO) or not frame.connection:
            continue
        if frame.kind is Kind.OPEN:
            opened[frame.connection] = frame
        elif frame.kind is Kind.DATA and frame.connection not in begun:
            begun.add(frame.connection)
            if frame.connection in opened and opened[frame.connection].time_us >= frame.time_us:
                del opened[frame.connection]
    return opened


def _sessions(own: Sequence[SipSeen], isc: Sequence[SipSeen]) -> Iterator[MediaSession]:
    """The dialogs in which the IUT is one end: it composed the offer or the answer itself."""
    ours = {id(seen) for seen in own}
    found: dict[str, MediaSession] = {}
    # each side counts its requests for itself (RFC 3261 12.2.1.1): a key says whose request it was
    offers: dict[tuple[str, int, bool], Description] = {}
    late: dict[tuple[str, int, bool], Description] = {}  # offers in a 2xx, answered in the ACK (RFC 3261 13.2.1)
    answered: set[tuple[str, int, bool, str]] = set()
    for seen in isc:
        message, call_id = seen.message, seen.message.call_id or ""
        if isinstance(message, SipRequest) and message.method == "BYE":
            session = found.get(call_id)
            if session is not None and session.ended_us is None:
                session.ended_us = seen.us
        cseq = message.cseq
        if cseq is None or cseq.method not in ("INVITE", "UPDATE", "ACK") or (seen.from_iut and id(seen) not in ours):
            continue
        asked_by_iut = seen.from_iut is isinstance(message, SipRequest)
        key = (call_id, cseq.number, asked_by_iut)
        branch = (*key, message.to_tag or "")  # an INVITE that was forked is answered by several (13.2.2.4)
        description = _description(seen)
        if isinstance(message, SipResponse):
            if not 200 <= message.status < 300 or branch in answered or description is None:
                continue
            answered.add(branch)
            offer = offers.get(key)
            if offer is None:
                late.setdefault(key, description)
            else:
                _agree(found, call_id, Exchange(offer, description))
        elif message.method == "ACK":
            offer = late.pop(key, None)
            if offer is not None and description is not None:
                _agree(found, call_id, Exchange(offer, description))
        elif description is not None and key not in offers:
            offers[key] = description
    yield from found.values()


def _agree(found: dict[str, MediaSession], call_id: str, exchange: Exchange) -> None:
    if exchange.offer.media is not None and exchange.answer.media is not None:
        found.setdefault(call_id, MediaSession(call_id)).exchanges.append(exchange)


def is_sdp(message: SipRequest | SipResponse) -> bool:
    """Whether the body of a message is a session description."""
    return bool(message.body) and MediaType.parse(message.content_type or "").full == SDP_TYPE


def _description(seen: SipSeen) -> Description | None:
    return Description(seen, parse_sdp(seen.message.body)) if is_sdp(seen.message) else None
