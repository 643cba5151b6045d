"""What binds an offer, an answer to an offer, and a description that follows another (RFC 3264, RFC 6135, RFC 6714).

One description alone does not tell which of these it is: :func:`cpmspec.wire.sdp.parse_sdp` leaves these rules out,
and who knows the exchange asks here. Offsets count in the description that is judged.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from cpmspec.wire.sdp_fields import MAX_DIGITS, Origin
from cpmspec.wire.sdp_model import Media, Sdp, SdpLine
from cpmspec.wire.section import shown
from cpmspec.wire.violation import Violation

# RFC 3264 6.1: direction of the offer -> what the answer may be
ANSWER_DIRECTIONS: Final = {
    "sendrecv": ("sendrecv", "sendonly", "recvonly", "inactive"),
    "sendonly": ("recvonly", "inactive"),
    "recvonly": ("sendonly", "inactive"),
    "inactive": ("inactive",),
}
# RFC 4145 4.1: setup of the offer -> what the answer may be; without it the offerer connects (RFC 4975 5.4). An answer
# without it is of one who knows RFC 4975 alone, and says nothing. An offer of holdconn is ignored (RFC 6135 4.2.1): any
# answer goes.
ANSWER_SETUPS: Final = {
    "active": ("passive", "holdconn"),
    "passive": ("active", "holdconn"),
    "actpass": ("active", "passive", "holdconn"),
}


def offer_violations(offer: Sdp) -> tuple[Violation, ...]:
    """What is wrong with a description as an offer."""
    return tuple(
        Violation("SDP-6135-4.2.2-01", _place(media, "setup"), "a=setup:passive", "actpass or active in an offer")
        for media in offer.media
        if media.msrp and not media.rejected and media.setup == "passive"
    )


def answer_violations(offer: Sdp, answer: Sdp) -> tuple[Violation, ...]:
    """What is wrong with a description as the answer to an offer; offsets count in the answer."""
    found: list[Violation] = []
    asked, given = offer.m_lines, answer.m_lines
    if len(asked) != len(given):
        end = len(answer.octets())
        place = given[len(asked)].offset if len(given) > len(asked) else end
        found.append(Violation("SDP-3264-6-01", place, f"{len(given)} m-lines", f"{len(asked)}, as in the offer"))
    times = _times(offer), _times(answer)
    if times[0] != times[1]:
        place = next((line.offset for line in answer.session_lines if line.kind == "t"), 0)
        found.append(Violation("SDP-3264-6-04", place, shown(times[1]), f"{shown(times[0])}, as in the offer"))
    ours = {media.offset: media for media in answer.media}
    theirs = {media.offset: media for media in offer.media}
    for first, second in zip(asked, given, strict=False):
        one, other = theirs.get(first.offset), ours.get(second.offset)
        if one is not None and other is not None:
            found.extend(_media_violations(one, other))
    return tuple(sorted(found, key=lambda violation: violation.offset))


def revision_violations(previous: Sdp, current: Sdp) -> tuple[Violation, ...]:
    """What is wrong with a description that follows another of the same side in the same dialog (RFC 3264 8).

    A change of the path alone is one that RFC 4975 8.4 lets an answer make with the o-line as it was.
    """
    before, after = previous.origin_fields, current.origin_fields
    found: list[Violation] = []
    if len(current.m_lines) < len(previous.m_lines):
        expected = f"{len(previous.m_lines)} or more"
        found.append(Violation("SDP-3264-8-04", len(current.octets()), f"{len(current.m_lines)} m-lines", expected))
    if before is None or after is None:
        return tuple(found)
    place = next(line.offset for line in current.lines if line.kind == "o")
    changed = _content(previous) != _content(current)
    if _identity(before) != _identity(after):
        found.append(
            Violation("SDP-3264-8-01", place, shown(current.origin or ""), f"{previous.origin} but its version")
        )
    elif before.version == after.version:
        if changed:
            expected = f"that of version {shown(before.version)}"
            found.append(Violation("SDP-3264-8-03", place, "other content", expected))
    elif changed and _number(after) != _number(before) + 1:
        expected = f"one more than {shown(before.version)}"
        found.append(Violation("SDP-3264-8-02", place, f"version {shown(after.version)}", expected))
    return tuple(sorted(found, key=lambda violation: violation.offset))


def _media_violations(offer: Media, answer: Media) -> Iterator[Violation]:
    place = answer.offset
    if offer.kind.lower() != answer.kind.lower():
        yield Violation("SDP-3264-6-02", place, shown(answer.kind), f"{shown(offer.kind)}, as in the offer")
        return
    if answer.rejected:
        return
    if offer.protocol.upper() != answer.protocol.upper():
        yield Violation("SDP-3264-6-03", place, shown(answer.protocol), f"{shown(offer.protocol)}, as in the offer")
    if offer.rejected:
        yield Violation("SDP-3264-6-05", place, f"port {answer.port}", "0, as in the offer")
        return
    allowed = ANSWER_DIRECTIONS[offer.direction]
    if answer.direction not in allowed:
        found = f"{answer.direction} to {offer.direction}"
        yield Violation("SDP-3264-6.1-01", _place(answer, answer.direction), found, " or ".join(allowed))
    if not (offer.msrp and answer.msrp):
        return
    setups = ANSWER_SETUPS.get(offer.setup or "active")
    if setups is not None and answer.setup is not None and answer.setup not in setups:
        found = f"setup {answer.setup} to {offer.setup}"
        yield Violation("SDP-4145-4.1-01", _place(answer, "setup"), found, " or ".join(setups))
    if not offer.cema and offer.address_matches is False:
        found = "accepted, although c-line and m-line are not the path of the offer"
        yield Violation("SDP-6714-4.3-01", place, found, "port 0, or the offer refused")


def _place(media: Media, attribute: str) -> int:
    """Where an attribute stands; that of the m-line if it is the session's or absent."""
    line = media.attribute_line(attribute)
    return media.offset if line is None else line.offset


def _times(sdp: Sdp) -> str:
    return "; ".join(line.value for line in sdp.session_lines if line.kind == "t")


def _content(sdp: Sdp) -> list[tuple[str, str]]:
    """Everything but the o-line and the paths."""
    return [(line.kind, line.value) for line in sdp.lines if line.kind != "o" and not _is_path(line)]


def _is_path(line: SdpLine) -> bool:
    return line.kind == "a" and line.value.startswith("path:")


def _identity(origin: Origin) -> tuple[str, ...]:
    """What of an o-line stays the same in a session."""
    return (origin.username, origin.session_id, origin.network, origin.family, origin.host)


def _number(origin: Origin) -> int:
    """The version as far as it can be counted: its last :data:`MAX_DIGITS` digits."""
    return int(origin.version[-MAX_DIGITS:])
