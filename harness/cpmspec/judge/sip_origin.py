"""Whose words a SIP message of the IUT is: what it composed itself, what it passed on, and which values it was given.

Only what an IUT composed can break a rule about composing. A proxied request is the sender's, but for the Via on top
(RFC 3261 16.6); a forwarded response is the UAS's (16.7); a response repeats what the request said (8.2.6.2), and a
request in a dialog what the peer said before (12.2.1.1).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from enum import StrEnum
from functools import cached_property
from weakref import WeakKeyDictionary

from cpmspec.evidence.trace import Role
from cpmspec.judge.facts import Facts
from cpmspec.judge.octets import SipSeen
from cpmspec.wire.headers import Header, split_list
from cpmspec.wire.sip import SipRequest, SipResponse
from cpmspec.wire.uri import parse_name_addr
from cpmspec.wire.violation import Violation

#: what is equal for a message and its retransmissions: kind or status, Call-ID, CSeq, branch, both tags, who sent it
Mark = tuple[str, str, str, str, str, str, bool]


class Origin(StrEnum):
    """Who composed a message that the IUT sent."""

    OWN = "own"
    FORWARDED = "forwarded"


class Origins:
    """The SIP messages of a trace by who composed them; retransmissions are told from new messages."""

    def __init__(self, sip: Sequence[SipSeen]) -> None:
        self._sip = sip
        self._asked: set[tuple[str, int, str]] = set()
        self._answered: set[tuple[str, str, int, str]] = set()
        self._copies: dict[Mark, list[SipSeen]] = {}
        for seen in self._sip:
            self._copies.setdefault(mark(seen), []).append(seen)
            if seen.frame.receiver is Role.IUT:
                self._received(seen)

    def _received(self, seen: SipSeen) -> None:
        if isinstance(seen.message, SipRequest):
            self._asked.add(_asker(seen.message))
        else:
            self._answered.add(_answer(seen.message))

    def of(self, seen: SipSeen) -> Origin:
        """Who composed a message that the IUT sent.

        A user agent's own request has its one Via (RFC 3261 8.1.1.7) and a Call-ID and From tag that nobody sent to
        it. When in doubt it was passed on: then nothing in it is judged.
        """
        message = seen.message
        if isinstance(message, SipRequest):
            passed = len(message.via) > 1 or _asker(message) in self._asked
        else:
            passed = message.status > 100 and _answer(message) in self._answered
        return Origin.FORWARDED if passed else Origin.OWN

    @cached_property
    def _sent(self) -> tuple[tuple[SipSeen, Origin], ...]:
        return tuple((seen, self.of(seen)) for seen in self._sip if seen.from_iut and self.copies(seen)[0] is seen)

    @cached_property
    def own(self) -> tuple[SipSeen, ...]:
        """What the IUT composed, in order, without retransmissions."""
        return tuple(seen for seen, origin in self._sent if origin is Origin.OWN)

    @cached_property
    def forwarded(self) -> tuple[SipSeen, ...]:
        """What the IUT passed on, in order, without retransmissions."""
        return tuple(seen for seen, origin in self._sent if origin is Origin.FORWARDED)

    def copies(self, seen: SipSeen) -> tuple[SipSeen, ...]:
        """A message and its retransmissions, in order (RFC 3261 17): the same transaction, sender and kind."""
        return tuple(self._copies[mark(seen)])

    @cached_property
    def _texts(self) -> dict[str, int]:
        """What was said to the IUT, with the number of the frame that said it first."""
        texts: dict[str, int] = {}
        for seen in self._sip:
            if seen.frame.receiver is Role.IUT:
                for text in _said(seen):
                    texts.setdefault(text, seen.frame.number)
        return texts

    def said(self, texts: Set[str], before: int) -> bool:
        """Whether any of these texts was said to the IUT before the frame of that number."""
        return any(self._texts.get(text, before) < before for text in texts)

    @cached_property
    def _bodies(self) -> dict[bytes, int]:
        """The bodies that came to the IUT, with the number of the frame that brought each first."""
        bodies: dict[bytes, int] = {}
        for seen in self._sip:
            if seen.frame.receiver is Role.IUT and seen.message.body:
                bodies.setdefault(seen.message.body, seen.frame.number)
        return bodies

    def carried(self, body: bytes, before: int) -> bool:
        """Whether a message with that body came to the IUT before the frame of that number."""
        return self._bodies.get(body, before) < before

    @cached_property
    def _calls(self) -> dict[str, list[SipSeen]]:
        calls: dict[str, list[SipSeen]] = {}
        for seen in self._sip:
            calls.setdefault(seen.message.call_id or "", []).append(seen)
        return calls

    def of_call(self, call_id: str) -> tuple[SipSeen, ...]:
        """All messages with a Call-ID, retransmissions too, in order."""
        return tuple(self._calls.get(call_id, ()))

    @cached_property
    def _requests(self) -> dict[tuple[bool, str, str, str], SipSeen]:
        requests: dict[tuple[bool, str, str, str], SipSeen] = {}
        for seen in self._sip:
            if isinstance(seen.message, SipRequest):
                requests.setdefault((seen.from_iut, *_transaction(seen)), seen)
        return requests

    def request_of(self, response: SipSeen) -> SipSeen | None:
        """The first copy of the request that a response answers (RFC 3261 17.1.3)."""
        return self._requests.get((not response.from_iut, *_transaction(response)))

    @cached_property
    def _responses(self) -> dict[tuple[bool, str, str, str], list[SipSeen]]:
        responses: dict[tuple[bool, str, str, str], list[SipSeen]] = {}
        for seen in self._sip:
            if isinstance(seen.message, SipResponse):
                responses.setdefault((not seen.from_iut, *_transaction(seen)), []).append(seen)
        return responses

    def responses_to(self, request: SipSeen) -> tuple[SipSeen, ...]:
        """All responses to a request, retransmissions too, in order."""
        return tuple(self._responses.get((request.from_iut, *_transaction(request)), ()))

    def final(self, request: SipSeen) -> SipSeen | None:
        """The first final response to a request."""
        return next((seen for seen in self.responses_to(request) if status(seen) >= 200), None)


def status(seen: SipSeen) -> int:
    """The status of a response, 0 of a request."""
    return seen.message.status if isinstance(seen.message, SipResponse) else 0


def method(seen: SipSeen) -> str:
    """The method of a request, '' of a response."""
    return seen.message.method if isinstance(seen.message, SipRequest) else ""


def request_uri(seen: SipSeen) -> str:
    """The Request-URI of a request, '' of a response."""
    return seen.message.uri if isinstance(seen.message, SipRequest) else ""


def mark(seen: SipSeen) -> Mark:
    """What a message and its retransmissions have in common, and nothing else has."""
    message = seen.message
    kind = message.method if isinstance(message, SipRequest) else str(message.status)
    cseq = message.headers.get("cseq") or ""
    tags = (seen.tags[0] or "", seen.tags[1] or "")
    return (kind, message.call_id or "", cseq, seen.branch, *tags, seen.from_iut)


def _transaction(seen: SipSeen) -> tuple[str, str, str]:
    """What a request and the responses to it have in common on their hop (RFC 3261 17.1.3, 17.2.3)."""
    cseq = seen.cseq
    return (seen.message.call_id or "", str(cseq) if cseq is not None else "", seen.branch)


def _asker(request: SipRequest) -> tuple[str, int, str]:
    """What a proxy does not change in a request: its Call-ID, the number of its CSeq, the tag of its From."""
    cseq = request.cseq
    return (request.call_id or "", cseq.number if cseq is not None else -1, request.from_tag or "")


def _answer(response: SipResponse) -> tuple[str, str, int, str]:
    """What a proxy does not change in a response: its Call-ID, CSeq, status and the tag of its To."""
    return (response.call_id or "", response.headers.get("cseq") or "", response.status, response.to_tag or "")


#: the index of each trace, made once: several checks ask for it, one of them for every message
_INDEXES: WeakKeyDictionary[Facts, Origins] = WeakKeyDictionary()


def origins(facts: Facts) -> Origins:
    """The messages of a trace by who composed them."""
    if (found := _INDEXES.get(facts)) is None:
        found = _INDEXES[facts] = Origins(facts.sip)
    return found


def own_messages(facts: Facts) -> tuple[SipSeen, ...]:
    """The SIP messages that the IUT composed, in order, without retransmissions."""
    return origins(facts).own


def forwarded_messages(facts: Facts) -> tuple[SipSeen, ...]:
    """The SIP messages that the IUT passed on, in order, without retransmissions."""
    return origins(facts).forwarded


def own(seen: SipSeen, facts: Facts) -> bool:
    """Whether the IUT composed a message that it sent."""
    return origins(facts).of(seen) is Origin.OWN


def excused(seen: SipSeen, violation: Violation, facts: Facts) -> bool:
    """Whether a violation in a message that the IUT composed stands in a value that it was given.

    A response also lacks what its request lacked (RFC 3261 8.2.6.2).
    """
    message = seen.message
    header = _header_at(seen, violation.offset)
    if isinstance(message, SipResponse) and (request := origins(facts).request_of(seen)) is not None:
        if violation.found.startswith("no ") and request.message.headers.get(violation.found[3:]) is None:
            return True
        # a Via comes back with received and rport (RFC 3261 18.2.1, RFC 3581), a To with a tag: not octet for octet
        if header is not None and (violation.id, header.key) in _wrong(request):
            return True
    if violation.offset < len(message.start):
        return isinstance(message, SipRequest) and given(facts, seen, message.uri)
    return header is not None and given(facts, seen, header.value)


def _wrong(seen: SipSeen) -> set[tuple[str, str]]:
    """What is wrong with a message, each with the header that it stands in."""
    places = ((one.id, _header_at(seen, one.offset)) for one in seen.message.violations)
    return {(rule, header.key) for rule, header in places if header is not None}


def _header_at(seen: SipSeen, offset: int) -> Header | None:
    """The header that an octet of a message belongs to; ``None``: it is none of a header."""
    at = len(seen.message.start)
    for header in seen.message.headers:
        at += len(header.raw)
        if offset < at:
            return header
    return None


def given(facts: Facts, seen: SipSeen, header_value: str) -> bool:
    """Whether the other side had said a value of a message of the IUT's first, in anything that was sent to the IUT.

    A value counts as a whole, as an item of a list, as an address or the URI in it, and also with a tag behind it,
    which a UAS adds to To (RFC 3261 8.2.6.2).
    """
    wanted = header_value.strip()
    untagged = wanted.rpartition(";tag=")[0].strip() if ";tag=" in wanted else wanted
    return origins(facts).said({wanted, untagged}, seen.frame.number)


def relayed(facts: Facts, seen: SipSeen) -> bool:
    """Whether the body of a message of the IUT had come to it before: then it is another's, also through a B2BUA."""
    return origins(facts).carried(seen.message.body, seen.frame.number)


def _said(seen: SipSeen) -> Iterator[str]:
    """Every text of a message that an IUT may repeat."""
    message = seen.message
    if isinstance(message, SipRequest):
        yield message.uri
        yield f"<{message.uri}>"
    for header in message.headers:
        for text in (header.value.strip(), *split_list(header.value)):
            uri = str(parse_name_addr(text).uri)
            yield from (text, uri, f"<{uri}>")
