"""How the PF's own disposition notifications travel over SIP (RFC 5438 12.1.1)."""

from __future__ import annotations

from collections.abc import Iterator

from cpmspec.judge.checks.common import Check, broken, ruled
from cpmspec.judge.facts import Facts
from cpmspec.judge.sip_origin import own_messages, relayed
from cpmspec.judge.things import CPIM
from cpmspec.judge.verdict import Finding
from cpmspec.wire.cpim import parse_cpim
from cpmspec.wire.imdn import MEDIA_TYPE as IMDN
from cpmspec.wire.mime import MediaType
from cpmspec.wire.sip import SipRequest


def wrapped(facts: Facts) -> Iterator[Finding]:
    """IMD-5438-12.1.1-21: a notification in a SIP request stands inside message/cpim."""
    yield from ruled("IMD-5438-12.1.1-21", _notifications(facts), "notifications")


def _notifications(facts: Facts) -> Iterator[Finding | None]:
    for seen in own_messages(facts):
        if not isinstance(seen.message, SipRequest) or relayed(facts, seen):
            continue
        full = MediaType.parse(seen.message.content_type or "").full
        if full == CPIM and MediaType.parse(parse_cpim(seen.message.body).content_type or "").full == IMDN:
            yield None
        elif full == IMDN:
            yield broken(
                "IMD-5438-12.1.1-21",
                "a disposition notification that is not wrapped",
                seen.frame.number,
                expected=f"Content-Type: {CPIM}",
                actual=f"Content-Type: {full}",
            )


CHECKS: tuple[Check, ...] = (wrapped,)
