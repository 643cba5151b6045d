"""The parts that hold the headers: their types, and their form (DLV-2b.1 to 2d.2)."""

from __future__ import annotations

from collections.abc import Iterator

from cpmspec.judge.anatomy import SIP_TYPES, Anatomy, Encapsulated
from cpmspec.judge.checks.common import Check, broken, met
from cpmspec.judge.deferred import Deferred
from cpmspec.judge.facts import Facts
from cpmspec.judge.things import unforced
from cpmspec.judge.verdict import Finding, Grade
from cpmspec.wire.fragment import SHOULD


def _requests(facts: Facts, mode: str) -> Iterator[tuple[Anatomy, Deferred]]:
    for anatomy in facts.whole:
        for one in anatomy.matched:
            if one.mode == mode and anatomy.multipart is not None:
                yield anatomy, one
                break


def _only_msrp(anatomy: Anatomy, part: Encapsulated) -> bool:
    """Whether a part of a SIP type holds headers of MSRP alone."""
    headers = part.fragment.headers
    return part is anatomy.misplaced_msrp and headers.get("Call-ID") is None and headers.get("From") is None


def _sip_part(facts: Facts, requirement: str, mode: str) -> Iterator[Finding]:
    for anatomy, one in _requests(facts, mode):
        parts = [part for part in anatomy.encapsulated if part.kind == "sip"]
        right = [part for part in parts if part.declared and not _only_msrp(anatomy, part)]
        if right:
            yield met(requirement, f"in a part of type {right[0].media_type}", anatomy.attempt.frame)
        elif parts:
            yield broken(
                requirement,
                f"the {one.request.method}'s headers stand in a part of another type",
                anatomy.attempt.frame,
                expected=" or ".join(sorted(SIP_TYPES)),
                actual=next((part for part in parts if not part.declared), parts[0]).media_type,
            )


def _sip_part_valid(facts: Facts, requirement: str, mode: str) -> Iterator[Finding]:
    for anatomy, one in _requests(facts, mode):
        for part in anatomy.encapsulated:
            if part.kind != "sip" or not part.declared or part is anatomy.misplaced_msrp:
                continue
            faults = unforced(part, one)
            wrong = [fault for fault in faults if fault.id not in SHOULD]
            for fault in wrong:
                yield broken(
                    requirement,
                    f"{fault.id} at octet {fault.offset} of the part",
                    anatomy.attempt.frame,
                    expected=fault.expected,
                    actual=fault.found,
                )
            if faults and not wrong:
                reason = f"a valid {part.media_type}; a remark: {faults[0]}"
                yield met(requirement, reason, anatomy.attempt.frame, grade=Grade.NON_STRICT)
            elif not faults:
                yield met(requirement, f"a valid {part.media_type}", anatomy.attempt.frame)


def message_headers(facts: Facts) -> Iterator[Finding]:
    """DLV-2b.1: the MESSAGE's headers in message/sip or message/sipfrag."""
    return _sip_part(facts, "DLV-2b.1", "pager")


def message_headers_valid(facts: Facts) -> Iterator[Finding]:
    """DLV-2b.2: valid by RFC 3261 27.5 or RFC 3420."""
    return _sip_part_valid(facts, "DLV-2b.2", "pager")


def invite_headers(facts: Facts) -> Iterator[Finding]:
    """DLV-2c.1: the INVITE's headers in message/sip or message/sipfrag."""
    return _sip_part(facts, "DLV-2c.1", "large")


def invite_headers_valid(facts: Facts) -> Iterator[Finding]:
    """DLV-2c.2: valid by RFC 3261 27.5 or RFC 3420."""
    return _sip_part_valid(facts, "DLV-2c.2", "large")


def send_headers(facts: Facts) -> Iterator[Finding]:
    """DLV-2d.1: the originator's SEND headers in message/msrpfrag."""
    for anatomy, _ in _requests(facts, "large"):
        misplaced = anatomy.misplaced_msrp
        if misplaced is not None:
            yield broken(
                "DLV-2d.1",
                "the SEND's headers stand in a part of another type",
                anatomy.attempt.frame,
                expected="message/msrpfrag",
                actual=misplaced.media_type,
            )
        elif anatomy.headers_of("msrp"):
            yield met("DLV-2d.1", "in a part of type message/msrpfrag", anatomy.attempt.frame)


def send_headers_form(facts: Facts) -> Iterator[Finding]:
    """DLV-2d.2: by analogy with message/sipfrag, for information only."""
    for anatomy, _ in _requests(facts, "large"):
        for part in anatomy.encapsulated:
            if part.kind == "msrp" and part.declared:
                faults = "; ".join(str(fault) for fault in part.fragment.violations)
                reason = f"unlike message/sipfrag: {faults}" if faults else "formed like message/sipfrag"
                yield met("DLV-2d.2", reason, anatomy.attempt.frame, grade=Grade.INFORMATIONAL)


CHECKS: tuple[Check, ...] = (
    message_headers,
    message_headers_valid,
    invite_headers,
    invite_headers_valid,
    send_headers,
    send_headers_form,
)
