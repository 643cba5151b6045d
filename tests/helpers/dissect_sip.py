"""Facts about the SIP messages of a capture, and about the descriptions and CPIM messages in them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from captures import Tree
from cpmspec.evidence.reassembly import Capture
from cpmspec.wire.cpim import MEDIA_TYPE, parse_cpim
from cpmspec.wire.sdp import parse_sdp
from cpmspec.wire.sip import SipRequest, SipResponse, SipStream, SipUnreadable, parse_message
from cpmspec.wire.violation import Violation

SDP = "application/sdp"
_FROM_REGISTRAR = ("P-Associated-URI", "Service-Route")


@dataclass(frozen=True)
class Said:
    """One SIP message of a capture; ``packet`` is the number of the packet in which it begins."""

    direction: str
    packet: int
    message: SipRequest | SipResponse

    @property
    def kind(self) -> str:
        """``INVITE``; ``200 INVITE`` for an answer to it."""
        if isinstance(self.message, SipRequest):
            return self.message.method
        return f"{self.message.status} {self.message.cseq.method if self.message.cseq else '?'}"


def said(held: Capture) -> list[Said]:
    """All SIP messages of a capture, direction by direction.

    :raises ValueError: there are octets that are no SIP message.
    """
    found = [
        Said(f"{one.source.port}>{one.destination.port}", one.packet, _readable(parse_message(one.octets)))
        for one in held.datagrams
    ]
    for stream in held.streams:
        for run in stream.runs:
            reader, offset = SipStream(), run.offset
            for one in reader.feed(run.octets):
                message, packet = _readable(one), run.piece_at(offset).packet
                found.append(Said(f"{stream.source.port}>{stream.destination.port}", packet, message))
                offset += len(message.octets())
            if offset != run.offset + len(run.octets):
                raise ValueError(f"{len(reader.pending)} octets are left after the last message")
    return found


def _readable(message: SipRequest | SipResponse | SipUnreadable) -> SipRequest | SipResponse:
    if isinstance(message, SipUnreadable):
        raise ValueError(f"{message}")  # noqa: TRY004  # octets are wrong, not a type
    return message


def sip_facts(held: Capture) -> Tree:
    """The facts of a capture file with SIP in it."""
    everything = said(held)
    bodies = Counter((one.message.content_type, one.message.body) for one in everything if one.message.body)
    direction: Tree = {}
    for one in everything:
        place = direction.setdefault(one.direction, {"requests": {}, "responses": {}, "violation": []})
        kinds = place["requests" if isinstance(one.message, SipRequest) else "responses"]
        kinds[one.kind] = kinds.get(one.kind, 0) + 1
        wrong = (*one.message.violations, *_body_violations(one.message))
        place["violation"] += [{"clause": each.id, "found": f"{one.kind}: {each.found}"} for each in wrong]
    return {
        "call_ids": sorted({one.message.call_id or "" for one in everything}),
        "record_route": sum(bool(one.message.record_route) for one in everything),
        "route": sum(bool(one.message.route) for one in everything),
        "direction": direction,
        "body": [
            {"type": kind, "octets": len(body), "sha256": sha256(body).hexdigest(), "times": times}
            for (kind, body), times in bodies.items()
        ],
        "happens": _story(everything),
    }


def _body_violations(message: SipRequest | SipResponse) -> tuple[Violation, ...]:
    """What the reader of its content finds wrong in the body."""
    if message.content_type == SDP:
        return parse_sdp(message.body).violations
    return parse_cpim(message.body).violations if message.content_type == MEDIA_TYPE else ()


def _story(everything: Sequence[Said]) -> Tree:
    requests = [one for one in everything if isinstance(one.message, SipRequest)]
    answers = [one.message for one in everything if one.kind.startswith("200 ")]
    described = [parse_sdp(one.message.body).message for one in everything if one.message.content_type == SDP]
    media = {each.protocol if each else "none" for each in described}
    flows = {_flow(everything, one) for one in requests if one.kind == "INVITE"}
    return {
        "flow": list(flows.pop()) if len(flows) == 1 else [],
        "routed": sorted({one.kind for one in requests if one.message.route}),
        "media": media.pop() if len(media) == 1 else None,
        "feature_tag": all(_has_feature_tag(one.message) for one in requests if one.kind == "REGISTER"),
        "answers_carry": [name for name in _FROM_REGISTRAR if all(each.headers.get(name) for each in answers)],
    }


def _has_feature_tag(message: SipRequest | SipResponse) -> bool:
    """Whether a Contact parameter is a feature tag of a tree of its own, which begins with + (RFC 3840 9)."""
    return any(name.startswith("+") for contact in message.contact for name, _ in contact.params)


def _flow(everything: Sequence[Said], first: Said) -> tuple[str, ...]:
    """A call as it is seen on the connection of its INVITE, up to the BYE, without provisional answers."""
    ends = set(first.direction.split(">"))
    kinds = [
        one.kind
        for one in sorted(everything, key=lambda one: one.packet)
        if one.message.call_id == first.message.call_id and set(one.direction.split(">")) == ends
        if isinstance(one.message, SipRequest) or one.message.status >= 200
    ]
    return tuple(kinds[: kinds.index("BYE") + 1])
