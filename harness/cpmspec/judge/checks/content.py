"""What a delivered message carries: the time of receipt (DLV-0.4), headers and content (DLV-2.1 to 2a.3)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from cpmspec.judge.anatomy import Anatomy
from cpmspec.judge.checks.common import Check, broken, met
from cpmspec.judge.checks.times import times_of
from cpmspec.judge.deferred import PAGER, Deferred
from cpmspec.judge.facts import Facts
from cpmspec.judge.settings import KNOWN_TIMESTAMP_PLACES
from cpmspec.judge.things import copied_part
from cpmspec.judge.verdict import Finding, Grade
from cpmspec.wire.headers import Headers, canonical
from cpmspec.wire.mime import RECOMMENDED, MediaType

#: the resolution of an RFC 1123 date
SECOND_US = 1_000_000
#: what a part without Content-Type is (RFC 2046 5.1)
DEFAULT_TYPES = (("text/plain", ()), ("text/plain", (("charset", "us-ascii"),)))
TRANSPARENT = frozenset({"7bit", "8bit", "binary"})


def receipt_time(facts: Facts) -> Iterator[Finding]:
    """DLV-0.4: at a known place, an instant from the arrival of the first request to the answer that took it over."""
    explicit = facts.settings.explicit("timestamp_locations")
    places = tuple(facts.settings.value("timestamp_locations"))
    for anatomy in facts.whole:
        one = anatomy.one
        if one is None or anatomy.multipart is None:
            continue
        found = times_of(anatomy, one, tuple(dict.fromkeys((*places, *KNOWN_TIMESTAMP_PLACES))))
        good = [place for place, us in found if _received(facts, one, us)]
        expected = f"between {_clock(one.arrived_us)} and {_clock(one.accepted_us)}"
        actual = ", ".join(f"{place} {_clock(us)}" for place, us in found) or "no time at any known place"
        frame = anatomy.attempt.frame
        if any(place in places for place in good):
            yield met("DLV-0.4", f"the time of receipt is at {good[0]}", frame)
        elif good and not explicit:
            yield facts.settings.deviation(
                "DLV-0.4",
                "timestamp_locations",
                f"the time of receipt is at {good[0]}",
                expected=f"at {', '.join(places)}",
                actual=actual,
                frames=(frame,),
            )
        else:
            yield broken(
                "DLV-0.4", f"{one.name} does not carry its time of receipt", frame, expected=expected, actual=actual
            )


def _received(facts: Facts, one: Deferred, us: int) -> bool:
    tolerance = facts.settings.us("clock_tolerance")
    return one.arrived_us - SECOND_US - tolerance < us < one.accepted_us + tolerance


def _clock(us: int) -> str:
    return datetime.fromtimestamp(us / 1_000_000, UTC).strftime("%H:%M:%S.%f")[:-3]


def outer_type(facts: Facts) -> Iterator[Finding]:
    """DLV-2.1: multipart/mixed on every chunk with content."""
    for anatomy in facts.anatomies:
        wrong = None
        for chunk in anatomy.attempt.chunks:
            declared = chunk.head.content_type
            if declared is None or MediaType.parse(declared).full != "multipart/mixed":
                wrong = (chunk, declared)
                break
        if wrong is not None:
            yield broken(
                "DLV-2.1",
                "a SEND with a deferred message is not multipart/mixed",
                wrong[0].first.number,
                expected="Content-Type: multipart/mixed",
                actual=f"Content-Type: {wrong[1]}" if wrong[1] else "no Content-Type",
            )
        else:
            yield met("DLV-2.1", "multipart/mixed", anatomy.attempt.frame)


def well_formed(facts: Facts) -> Iterator[Finding]:
    """DLV-2.2: RFC 2046 5.1 on the reassembled message."""
    for anatomy in facts.whole:
        content_type, frame = anatomy.attempt.content_type, anatomy.attempt.frame
        declared = MediaType.parse(content_type or "")
        if declared.param("boundary") is None:
            if declared.type == "multipart":
                reason = "the multipart has no boundary parameter"
                yield broken("DLV-2.2", reason, frame, expected="a boundary parameter", actual=f"{content_type}")
            continue
        found = anatomy.multipart.violations if anatomy.multipart is not None else ()
        faults = [fault for fault in found if not copied_part(anatomy, fault)]
        wrong = [fault for fault in faults if fault.id not in RECOMMENDED]
        for fault in wrong:
            reason = f"{fault.id} at octet {fault.offset}"
            yield broken("DLV-2.2", reason, frame, expected=fault.expected, actual=fault.found)
        if faults and not wrong:
            yield met("DLV-2.2", f"well formed; a remark: {faults[0]}", frame, grade=Grade.NON_STRICT)
        elif not faults:
            yield met("DLV-2.2", "well formed", frame)


def stored_headers(facts: Facts) -> Iterator[Finding]:
    """DLV-2a.1: each stored header that the request carried, with its value."""
    for anatomy in facts.whole:
        one = anatomy.by_headers[0] if len(anatomy.by_headers) == 1 else anatomy.one
        if one is None or anatomy.multipart is None:
            continue
        findings = list(_headers(facts, anatomy, one))
        yield from findings
        if not findings:
            yield met("DLV-2a.1", f"the stored headers of {one.name}, unchanged", anatomy.attempt.frame)


def _headers(facts: Facts, anatomy: Anatomy, one: Deferred) -> Iterator[Finding]:
    forbidden = set(facts.settings.forbidden)
    privacy = ";".join(one.request.headers.values("Privacy")).lower()  # RFC 3323 4.2: values are separated by ";"
    if "id" in {value.strip() for value in privacy.split(";")}:
        forbidden.add("p-asserted-identity")
    wanted = [(name, one.request.headers, "sip") for name in facts.settings.stored("sip")]
    if one.send is not None:
        wanted += [(name, one.send, "msrp") for name in facts.settings.stored("send")]
    sections = {kind: anatomy.headers_of(kind) for kind in ("sip", "msrp")}
    absent: list[str] = []
    for name, original, kind in wanted:
        values = _values(original, name)
        if not values or canonical(name) in forbidden or _elsewhere(anatomy, one, name, kind):
            continue
        found = [_values(section, name) for section in sections[kind]]
        if values in found:
            continue
        given = next((value for value in found if value), None)
        if given is None:
            absent.append(f"{name}: {', '.join(values)}")
        else:
            yield broken(
                "DLV-2a.1",
                f"the stored header {name} of {one.name} was altered",
                anatomy.attempt.frame,
                one.accepted_frame,
                expected=f"{name}: {', '.join(values)}",
                actual=f"{name}: {', '.join(given)}",
            )
    if absent:
        yield _absent(facts, anatomy, one, absent, nothing=not any(sections.values()))


def _absent(facts: Facts, anatomy: Anatomy, one: Deferred, absent: list[str], *, nothing: bool) -> Finding:
    """Headers that are not there: which ones count as stored is left to interpretation, that some do is not."""
    frames = (anatomy.attempt.frame, one.accepted_frame)
    reason = (
        f"{len(absent)} stored headers of {one.name} are missing"
        if len(absent) > 1
        else f"a stored header of {one.name} is missing"
    )
    expected, actual = "; ".join(absent), "no header of the stored request" if nothing else "not included"
    if nothing:
        return broken("DLV-2a.1", reason, *frames, expected=expected, actual=actual)
    return facts.settings.deviation(
        "DLV-2a.1", "stored_headers", reason, expected=expected, actual=actual, frames=frames
    )


def _elsewhere(anatomy: Anatomy, one: Deferred, name: str, kind: str) -> bool:
    """Whether a Content-Type need not stand in the section itself.

    It describes a body that is gone (an INVITE's SDP) or never was, or stands with the content, which DLV-2a.2 judges.
    """
    if canonical(name) != "content-type" or any(_values(section, name) for section in anatomy.headers_of(kind)):
        return canonical(name) == "content-type" and kind == "sip" and one.mode != PAGER
    if (kind == "sip" and one.mode != PAGER) or not one.content:
        return True
    return any(
        octets == one.content or (declared is not None and _same_type(declared, one.content_type))
        for octets, declared, _ in anatomy.contents
    )


def _values(headers: Headers, name: str) -> tuple[str, ...]:
    """All values of a header, lists taken apart, white space folded (RFC 3261 7.3.1)."""
    single = canonical(name) in ("date", "subject", "content-type", "from", "to")
    values = headers.get_all(name) if single else headers.values(name)
    return tuple(" ".join(value.split()) for value in values)


def actual_message(facts: Facts) -> Iterator[Finding]:
    """DLV-2a.2: octet for octet, with its own Content-Type."""
    for anatomy in facts.whole:
        one = anatomy.by_headers[0] if len(anatomy.by_headers) == 1 else anatomy.one
        if one is None:
            continue
        if len(anatomy.matched) > 1 or (anatomy.by_content and one not in anatomy.by_content):
            continue  # merged (DLV-1.2) or mixed up (DLV-2a.3)
        if not one.content:
            yield met("DLV-2a.2", f"{one.name} has no content", anatomy.attempt.frame)
            continue
        yield _content(anatomy, one)


def _content(anatomy: Anatomy, one: Deferred) -> Finding:
    frame, declared = anatomy.attempt.frame, []
    for octets, content_type, part in anatomy.contents:
        if octets != one.content:
            continue
        declared.append(content_type)
        if _same_type(content_type, one.content_type):
            coding = (
                (part.headers.get("Content-Transfer-Encoding") or "binary").strip().lower()
                if part is not None
                else "binary"
            )
            grade = Grade.STRICT if coding in TRANSPARENT else Grade.NON_STRICT
            remark = "" if grade is Grade.STRICT else f"; a remark: it came in Content-Transfer-Encoding {coding}"
            return met("DLV-2a.2", f"the content of {one.name}, octet for octet{remark}", frame, grade=grade)
    if declared:
        return broken(
            "DLV-2a.2",
            f"the content of {one.name} came with another Content-Type",
            frame,
            one.accepted_frame,
            expected=f"Content-Type: {one.content_type}",
            actual=f"Content-Type: {declared[0]}",
        )
    nearest = min(
        (octets for octets, _, _ in anatomy.contents),
        key=lambda octets: abs(len(octets) - len(one.content)),
        default=b"",
    )
    return broken(
        "DLV-2a.2",
        f"the content of {one.name} is not delivered unchanged",
        frame,
        one.accepted_frame,
        expected=f"{len(one.content)} octets, SHA-256 {one.sha256[:16]}",
        actual=_difference(one.content, nearest),
    )


def _same_type(found: str | None, wanted: str | None) -> bool:
    """Type, subtype and parameters; a part without Content-Type is text/plain in US-ASCII (RFC 2046 5.1)."""
    if found is None or wanted is None:
        return found is wanted or (wanted is not None and _type(wanted) in DEFAULT_TYPES)
    return _type(found) == _type(wanted)


def _type(text: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    """A media type as it compares: names in any case, and values of charset (RFC 2045 5.1, RFC 2046 4.1.2)."""
    media = MediaType.parse(text)
    params = ((name.lower(), value.lower() if name.lower() == "charset" else value) for name, value in media.params)
    return media.full, tuple(sorted(params))


def _difference(wanted: bytes, found: bytes) -> str:
    if not found:
        return "no content"
    place = next(
        (index for index, (one, other) in enumerate(zip(wanted, found, strict=False)) if one != other),
        min(len(wanted), len(found)),
    )
    return f"{len(found)} octets, the first difference at octet {place}"


def belongs_together(facts: Facts) -> Iterator[Finding]:
    """DLV-2a.3: what the headers identify is what the content identifies."""
    for anatomy in facts.whole:
        if len(anatomy.by_headers) != 1 or len(anatomy.by_content) != 1:
            continue
        by_headers, by_content = anatomy.by_headers[0], anatomy.by_content[0]
        if by_headers == by_content:
            yield met("DLV-2a.3", "headers and content of one message", anatomy.attempt.frame)
        else:
            yield broken(
                "DLV-2a.3",
                f"the headers of {by_headers.name} stand with the content of {by_content.name}",
                anatomy.attempt.frame,
                by_headers.accepted_frame,
                by_content.accepted_frame,
                expected="headers and content of one message",
                actual="of two messages",
            )


CHECKS: tuple[Check, ...] = (receipt_time, outer_type, well_formed, stored_headers, actual_message, belongs_together)
