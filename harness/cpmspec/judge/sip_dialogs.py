"""The SIP dialogs in which the IUT is a user agent, and what crossed in them (RFC 3261 12); and how sure silence is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from cpmspec.evidence.trace import Role
from cpmspec.judge.facts import PARTING_US, Facts
from cpmspec.judge.octets import SipSeen
from cpmspec.judge.sip_origin import Origin, Origins, method, origins, status
from cpmspec.wire.sip import SipRequest
from cpmspec.wire.uri import NameAddr, SipUri, parse_uri, same_uri

#: RFC 3261 17.1.1.1: T1 by default; an IUT may have a larger one, which the suite's own (IXIT ``sip_t1``) hints at
T1_US = 500_000


@dataclass(frozen=True, slots=True)
class Dialog:
    """A dialog of the IUT's: made by a 2xx that it sent to an INVITE, or that it got to one of its own."""

    invite: SipSeen  #: the first copy of the INVITE that made it
    answer: SipSeen  #: the first copy of the 2xx
    callee: bool  #: whether the IUT was the one invited

    @property
    def call_id(self) -> str:
        """Its Call-ID."""
        return self.invite.message.call_id or ""

    @property
    def local_tag(self) -> str | None:
        """The IUT's tag."""
        return self.answer.tags[1] if self.callee else self.invite.tags[0]

    @property
    def remote_tag(self) -> str | None:
        """The peer's tag."""
        return self.invite.tags[0] if self.callee else self.answer.tags[1]

    @property
    def route_set(self) -> tuple[NameAddr, ...]:
        """The Record-Route of the INVITE in order for the callee, that of the 2xx reversed for the caller (12.1)."""
        return self.invite.message.record_route if self.callee else self.answer.message.record_route[::-1]

    @property
    def loose(self) -> bool:
        """Whether the first hop routes loosely: then the Request-URI is the remote target (12.2.1.1)."""
        routes = self.route_set
        return not routes or (isinstance(uri := routes[0].uri, SipUri) and uri.param("lr") is not None)

    def targets(self, facts: Facts, before: SipSeen) -> list[str]:
        """Where the peer had said that it wants its requests, up to then (12.2: each may be a refreshed target)."""
        return [
            str(contact.uri)
            for seen in origins(facts).of_call(self.call_id)
            if seen.frame.receiver is Role.IUT
            and seen.frame.number < before.frame.number
            and (cseq := seen.cseq) is not None
            and cseq.method in ("INVITE", "UPDATE")
            for contact in seen.message.contact
        ]

    def requests(self, facts: Facts, *, from_iut: bool) -> Iterator[SipSeen]:
        """The requests of one side in it, retransmissions too, in order."""
        call = origins(facts).of_call(self.call_id)
        return (seen for seen in call if seen.from_iut is from_iut and self.holds(seen))

    def holds(self, seen: SipSeen) -> bool:
        """Whether a message is a request in it, of the IUT or to the IUT."""
        message, tags = seen.message, (self.local_tag, self.remote_tag)
        return (
            isinstance(message, SipRequest)
            and (seen.from_iut or seen.frame.receiver is Role.IUT)
            and message.call_id == self.call_id
            and seen.tags == (tags if seen.from_iut else tags[::-1])
        )

    def ended_us(self, facts: Facts) -> int | None:
        """When the first BYE of either side crossed."""
        byes = (seen.us for side in (True, False) for seen in self.requests(facts, from_iut=side) if _is_bye(seen))
        return min(byes, default=None)


def _is_bye(seen: SipSeen) -> bool:
    return method(seen) == "BYE"


_FOUND: WeakKeyDictionary[Facts, tuple[Dialog, ...]] = WeakKeyDictionary()


def dialogs(facts: Facts) -> tuple[Dialog, ...]:
    """All dialogs of the IUT's own, in the order of the 2xx that made them; worked out once."""
    if (found := _FOUND.get(facts)) is None:
        found = _FOUND[facts] = _dialogs(facts)
    return found


def _dialogs(facts: Facts) -> tuple[Dialog, ...]:
    index, found, known = origins(facts), list[Dialog](), set[tuple[str, str | None, str | None]]()
    for seen in facts.isc:
        cseq = seen.cseq
        if not 200 <= status(seen) < 300 or cseq is None or cseq.method != "INVITE":
            continue
        invite = index.request_of(seen)
        if invite is None or invite.message.to_tag or not _own(index, seen, invite):
            continue
        dialog = Dialog(invite, seen, callee=seen.from_iut)
        key = (dialog.call_id, dialog.local_tag, dialog.remote_tag)
        if key not in known:
            known.add(key)
            found.append(dialog)
    return tuple(found)


def _own(index: Origins, answer: SipSeen, invite: SipSeen) -> bool:
    return index.of(answer if answer.from_iut else invite) is Origin.OWN


def same_routes(found: Sequence[NameAddr], wanted: Sequence[NameAddr]) -> bool:
    """Whether Route or Record-Route values are those meant, in order: equivalent URIs with the same parameters."""
    return len(found) == len(wanted) and all(
        same_uri(str(one.uri), str(other.uri)) and _parameters(one) == _parameters(other)
        for one, other in zip(found, wanted, strict=True)
    )


def _parameters(address: NameAddr) -> frozenset[tuple[str, str]]:
    uri = parse_uri(str(address.uri))
    params = uri.params if isinstance(uri, SipUri) else ()
    return frozenset((name.lower(), (value or "").lower()) for name, value in params)


def t1_us(facts: Facts) -> int:
    """The largest T1 that is expected of an IUT."""
    return max(T1_US, round(float(facts.context.ixit.get("sip_t1") or 0) * 1_000_000))


def timeout_us(facts: Facts) -> int:
    """64*T1 of an IUT whose T1 is no longer than the suite's or the default: from then on it may have given up."""
    told = round(float(facts.context.ixit.get("sip_t1") or 0) * 1_000_000) or T1_US
    return 64 * min(T1_US, told) * 9 // 10


def patience_us(facts: Facts) -> int:
    """How long an IUT may be silent before a retransmission is overdue: several of them are, then, by any clock."""
    return 8 * t1_us(facts) + 1_000_000 + facts.settings.late_us


def alive(facts: Facts, until_us: int) -> bool:
    """Whether the IUT was there to act up to that time."""
    gone = facts.context.iut_gone_us
    return gone is None or until_us <= gone - PARTING_US


def heard(index: Origins, seen: SipSeen) -> bool:
    """Whether what our side sent has reached the IUT for certain: by a stream, or as a datagram more than once."""
    return seen.frame.connection != 0 or len(index.copies(seen)) > 1
