"""The things of the IUT's own making that a trace holds, each with what its parser found wrong with it.

What the IUT passes on, and what it has to copy, is not its fault: messages that it forwards, headers of a response that
are the request's, values of stored headers that were invalid when they came.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from cpmspec.judge.anatomy import Anatomy, Encapsulated
from cpmspec.judge.deferred import Deferred
from cpmspec.judge.facts import Facts
from cpmspec.judge.octets import MsrpSeen, SipSeen
from cpmspec.judge.sip_origin import excused, own, relayed
from cpmspec.wire.cpim import parse_cpim
from cpmspec.wire.fragment import parse_fragment
from cpmspec.wire.headers import Headers
from cpmspec.wire.imdn import MEDIA_TYPE as IMDN
from cpmspec.wire.imdn import parse_imdn
from cpmspec.wire.mime import MediaType
from cpmspec.wire.mime_tree import part_violations
from cpmspec.wire.sdp import parse_sdp
from cpmspec.wire.sip import SipRequest
from cpmspec.wire.summary import MEDIA_TYPE as SUMMARY
from cpmspec.wire.summary import parse_summary
from cpmspec.wire.violation import Violation

CPIM = "message/cpim"
SDP = "application/sdp"


@dataclass(frozen=True, slots=True)
class Thing:
    """One thing that a rule is about: of which kinds it is (``on``), where it stands, what is wrong with it."""

    kinds: tuple[str, ...]
    name: str  #: for a reader, such as ``the SDP of the INVITE``
    frame: int
    violations: tuple[Violation, ...] = ()


def things(facts: Facts) -> Iterator[Thing]:
    """All of them; what was sent several times, octet for octet, counts once."""
    yield from _sip(facts)
    yield from _msrp(facts)
    for anatomy in facts.whole:
        yield from _delivered(facts, anatomy)


def _sip(facts: Facts) -> Iterator[Thing]:
    known: set[bytes] = set()
    for seen in facts.sip:
        if not seen.from_iut or not own(seen, facts):
            continue
        message = seen.message
        if (octets := message.octets()) in known:
            continue
        known.add(octets)
        request = isinstance(message, SipRequest)
        name = f"the {message.method}" if isinstance(message, SipRequest) else f"the {message.status} to {_of(seen)}"
        kinds = ("sip-message", "sip-request" if request else "sip-response", "uri")
        wrong = tuple(one for one in message.violations if not excused(seen, one, facts))
        yield Thing(kinds, name, seen.frame.number, wrong)
        if message.body and not relayed(facts, seen):
            yield from _described(message.content_type, message.body, name, seen.frame.number)
    for one in facts.sip_wrong:
        if one.frame.from_iut:
            yield Thing(("sip-message",), "octets that are no SIP", one.frame.number, one.unreadable.violations)


def _of(seen: SipSeen) -> str:
    cseq = seen.message.cseq
    return cseq.method if cseq is not None else "a request"


def _described(content_type: str | None, body: bytes, where: str, frame: int) -> Iterator[Thing]:
    """The body of a message that the IUT made itself."""
    full = MediaType.parse(content_type or "").full
    if full == SDP:
        yield Thing(("sdp",), f"the SDP of {where}", frame, parse_sdp(body).violations)
    elif full == SUMMARY:
        yield Thing(("summary",), f"the summary in {where}", frame, parse_summary(body).violations)
    elif full == CPIM:
        cpim = parse_cpim(body)
        yield Thing(("cpim",), f"the CPIM message in {where}", frame, cpim.violations)
        yield from _described(cpim.content_type, cpim.content, f"the CPIM message in {where}", frame)
    elif full == IMDN:
        yield Thing(("imdn",), f"the IMDN in {where}", frame, parse_imdn(body).violations)


def _msrp(facts: Facts) -> Iterator[Thing]:
    for one in (*facts.msrp, *facts.mo):
        if one.from_iut:
            yield Thing(_msrp_kinds(one), _msrp_name(one), one.first.number, one.violations or one.head.violations)
    for frame, unreadable in facts.msrp_wrong:
        if frame.from_iut and unreadable.violations:
            yield Thing(("msrp-message",), "octets that are no MSRP", frame.number, unreadable.violations)


def _msrp_kinds(one: MsrpSeen) -> tuple[str, ...]:
    kind = {"SEND": "msrp-send", "REPORT": "msrp-report", None: "msrp-response"}.get(one.head.method)
    return ("msrp-message", "uri") if kind is None else ("msrp-message", "uri", kind)


def _msrp_name(one: MsrpSeen) -> str:
    return f"the {one.head.method or one.head.status} of transaction {one.head.transaction_id}"


def _delivered(facts: Facts, anatomy: Anatomy) -> Iterator[Thing]:
    """The envelope of a delivered message; what is inside it came from the sender."""
    frame, name = anatomy.attempt.frame, f"the message {anatomy.attempt.message_id}"
    multipart = anatomy.multipart
    if multipart is None or MediaType.parse(anatomy.attempt.content_type or "").type != "multipart":
        return
    wrong = [one for one in multipart.violations if not copied_part(anatomy, one)]
    for part in anatomy.encapsulated:
        wrong += part_violations(part.part)
        if part.declared and anatomy.one is not None:
            found = unforced(part, anatomy.one)
            yield Thing((part.media_type,), f"the {part.media_type} of {name}", frame, found)
    yield Thing(("multipart",), name, frame, tuple(wrong))
    yield from _composed(facts, anatomy, name)


def _composed(facts: Facts, anatomy: Anatomy, name: str) -> Iterator[Thing]:
    """A CPIM part beside the actual message: the IUT put it there."""
    content = anatomy.one.content if anatomy.one is not None else None
    if content is None or not any(octets == content for octets, _, _ in anatomy.contents):
        return  # which part is the sender's cannot be told
    for part in anatomy.multipart.parts if anatomy.multipart is not None else ():
        octets = part.decoded()
        if part.content_type.full == CPIM and not any(octets == one.content for one in facts.deferred):
            yield Thing(("cpim",), f"the CPIM message in {name}", anatomy.attempt.frame, parse_cpim(octets).violations)


def copied_part(anatomy: Anatomy, violation: Violation) -> bool:
    """Whether a violation stands in the Content-Type of the actual message, which is the sender's, unaltered."""
    one = anatomy.one
    if one is None or one.content_type is None or anatomy.multipart is None:
        return False
    part = next((part for part in anatomy.multipart.parts if part.offset == violation.offset), None)
    return part is not None and part.content_type.text == one.content_type and violation.id.startswith("MIM-2045-5.1-")


def unforced(part: Encapsulated, one: Deferred) -> tuple[Violation, ...]:
    """The violations of an encapsulating part that are not the stored request's own.

    Stored values are not to be changed (8.3.2.4.3 step 2a): what was invalid when it came, and comes out the same, is
    the sender's.
    """
    if not part.fragment.violations:
        return ()
    told = {(wrong.id, wrong.found) for wrong in _original(part, one)}
    return tuple(wrong for wrong in part.fragment.violations if (wrong.id, wrong.found) not in told)


def _original(part: Encapsulated, one: Deferred) -> Iterable[Violation]:
    """What would be wrong with the stored request in the same kind of part."""
    if part.kind == "msrp":
        headers = one.send if one.send is not None else Headers()
        return parse_fragment(part.media_type, headers.octets()).violations
    return parse_fragment(part.media_type, one.request.octets()).violations
