"""Rules about disposition notifications that the PF sends as an intermediary (RFC 5438 7.2.1, 8, 12.2).

What a client reports passes through the PF: a notification whose like came to the PF is not its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from cpmspec.judge.checks.common import Check, broken, met
from cpmspec.judge.checks.places import summed
from cpmspec.judge.deferred import Deferred
from cpmspec.judge.facts import Facts
from cpmspec.judge.octets import SipSeen
from cpmspec.judge.sip_origin import method, origins, status
from cpmspec.judge.verdict import Finding
from cpmspec.wire.cpim import Cpim, parse_cpim
from cpmspec.wire.headers import encode
from cpmspec.wire.imdn import MEDIA_TYPE, Imdn, parse_imdn
from cpmspec.wire.mime import MediaType
from cpmspec.wire.uri import aor, parse_name_addr

CPIM = "message/cpim"
#: what only the recipient's own user agent can know (RFC 5438 7.2.1)
POSITIVE = frozenset({"delivered", "displayed"})
#: for each kind of notification the words by which a sender asks for it (RFC 5438 6.2)
ASKED = {
    ("delivery", True): "positive-delivery",
    ("delivery", False): "negative-delivery",
    ("display", True): "display",
    ("display", False): "display",
    ("processing", True): "processing",
    ("processing", False): "processing",
}


@dataclass(frozen=True, slots=True)
class Told:
    """A notification that the PF composed, and the deferred message that it is about."""

    seen: SipSeen
    imdn: Imdn
    cpim: Cpim | None
    about: Deferred


def _told(facts: Facts) -> Iterator[Told]:
    """The notifications of the PF's own about messages that it deferred."""
    for seen in origins(facts).own:
        if method(seen) != "MESSAGE":
            continue
        cpim, body = None, seen.message.body
        full = MediaType.parse(seen.message.content_type or "").full
        if full == CPIM:
            cpim = parse_cpim(body)
            full, body = MediaType.parse(cpim.content_type or "").full, cpim.content
        if full != MEDIA_TYPE:
            continue
        imdn = parse_imdn(body)
        about = [one for one in facts.deferred if imdn.message_id and one.imdn_message_id == imdn.message_id]
        if len(about) == 1 and not _passed_on(facts, seen, imdn):
            yield Told(seen, imdn, cpim, about[0])


def _passed_on(facts: Facts, seen: SipSeen, imdn: Imdn) -> bool:
    """Whether such a notification had come to the PF before, by SIP or by MSRP."""
    about = re.compile(rb"message-id\s*>\s*" + re.escape(encode(imdn.message_id)) + rb"\s*<")
    by_sip = (one.message.octets() for one in facts.isc if not one.from_iut and one.us < seen.us)
    by_msrp = (one.body or b"" for one in facts.msrp if not one.from_iut and one.begin_us < seen.us)
    return any(encode(imdn.status) in text and about.search(text) is not None for text in (*by_sip, *by_msrp))


def not_in_the_recipients_name(facts: Facts) -> Iterator[Finding]:
    """IMD-5438-12.2-01: the PF does not report as delivered what only the recipient can say is delivered."""
    rule = "IMD-5438-12.2-01"
    for told in _told(facts):
        if told.imdn.status in POSITIVE:
            reason = "the PF reports a deferred message in the recipient's place"
            actual = told.imdn.status
            yield broken(rule, reason, told.seen.frame.number, expected="no such report of the PF", actual=actual)
        else:
            yield met(rule, f"the PF reports {told.imdn.status!r}", told.seen.frame.number)


def only_what_was_asked(facts: Facts) -> Iterator[Finding]:
    """IMD-5438-12.2-02: a notification of the PF was asked for by the sender."""
    rule = "IMD-5438-12.2-02"
    for told in _told(facts):
        asked = {word.strip() for word in (parse_cpim(told.about.content).disposition or "").lower().split(",")}
        wanted = ASKED.get((told.imdn.kind, told.imdn.status in POSITIVE))
        if wanted is not None and wanted not in asked:
            reason = f"a notification of {told.about.name} that nobody had asked for"
            actual = ", ".join(sorted(asked)) or "nothing asked"
            yield broken(rule, reason, told.seen.frame.number, expected=f"{wanted} asked for", actual=actual)
        else:
            yield met(rule, "it was asked for", told.seen.frame.number)


def one_of_a_kind(facts: Facts) -> Iterator[Finding]:
    """IMD-5438-7.2.1-01: at most one notification of each kind about a message, unless the first one was refused."""
    rule = "IMD-5438-7.2.1-01"
    sent: dict[tuple[int, str], SipSeen] = {}
    for told in _told(facts):
        key = (told.about.key, told.imdn.kind)
        earlier = sent.get(key)
        if earlier is not None:
            reason = f"a second {told.imdn.kind} notification of {told.about.name}"
            frames = (told.seen.frame.number, earlier.frame.number)
            yield broken(rule, reason, *frames, expected="one of a kind")
        else:
            yield met(rule, "the first of its kind", told.seen.frame.number)
        answer = origins(facts).final(told.seen)
        if answer is not None and status(answer) < 300:
            sent[key] = told.seen


def none_about_notifications(facts: Facts) -> Iterator[Finding]:
    """IMD-5438-7.2.1-02: no notification about a notification, and none that asks for one."""
    rule = "IMD-5438-7.2.1-02"
    for told in _told(facts):
        about = MediaType.parse(parse_cpim(told.about.content).content_type or "").full
        if about == MEDIA_TYPE:
            reason = "a notification about a notification"
            yield broken(rule, reason, told.seen.frame.number, told.about.accepted_frame, expected="none")
        elif told.cpim is not None and told.cpim.disposition is not None:
            reason, actual = "a notification asks to be notified of", told.cpim.disposition
            yield broken(rule, reason, told.seen.frame.number, expected="no Disposition-Notification", actual=actual)
        else:
            yield met(rule, "it is about a message, and asks for nothing", told.seen.frame.number)


def goes_to_the_sender(facts: Facts) -> Iterator[Finding]:
    """IMD-5438-7.2.1-03: a notification is addressed to the sender of the message, by its CPIM From.

    Not judged where the message names a route back (IMDN-Record-Route). In whichever of the sender's names: a CPIM From
    may be anonymous, and the core asserts his identities.
    """
    rule = "IMD-5438-7.2.1-03"
    for told in _told(facts):
        asked = parse_cpim(told.about.content)
        sender = asked.get("From")
        routed = any(header.name.endswith("IMDN-Record-Route") for header in asked.headers)
        to = told.cpim.get("To") if told.cpim is not None else None
        if sender is None or to is None or routed:
            continue
        request = told.about.request
        names = [parse_name_addr(sender), *request.p_asserted_identity, *filter(None, [request.from_])]
        if aor(str(parse_name_addr(to).uri)) in {aor(str(name.uri)) for name in names}:
            yield met(rule, "it goes to the sender", told.seen.frame.number)
        else:
            reason = "a notification does not go to the sender of the message"
            yield broken(rule, reason, told.seen.frame.number, expected=f"To: {sender}", actual=f"To: {to}")


RULES: tuple[Check, ...] = (
    not_in_the_recipients_name,
    only_what_was_asked,
    one_of_a_kind,
    none_about_notifications,
    goes_to_the_sender,
)

CHECKS: tuple[Check, ...] = tuple(summed(rule) for rule in RULES)
