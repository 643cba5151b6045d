"""Rules about what must not pass the PF: headers that are not for the client, requests that mean two things."""

from __future__ import annotations

from collections.abc import Iterator

from cpmspec.evidence.trace import Role
from cpmspec.judge.checks.common import Check, broken, met
from cpmspec.judge.checks.places import summed
from cpmspec.judge.facts import Facts
from cpmspec.judge.sip_origin import Origin, method, origins, status
from cpmspec.judge.verdict import Finding
from cpmspec.wire.headers import canonical

#: headers whose second value lets two readers see two different messages
TELLING = frozenset({"to", "from", "call-id", "cseq", "content-length", "content-type"})


def forbidden_headers_kept_back(facts: Facts) -> Iterator[Finding]:
    """SEC-CPM-8.3.2.4.3-01: headers of the IXIT's ``forbidden_headers`` are not delivered (interpretation)."""
    rule = "SEC-CPM-8.3.2.4.3-01"
    for anatomy in facts.whole:
        sections = [section for kind in ("sip", "msrp") for section in anatomy.headers_of(kind)]
        if not sections:
            continue
        names = {header.name for section in sections for header in section}
        leaked = sorted(name for name in names if canonical(name) in facts.settings.forbidden)
        if leaked:
            reason = "headers that are not for the client were delivered"
            expected, actual = "none of the forbidden headers", ", ".join(leaked)
            yield broken(rule, reason, anatomy.attempt.frame, expected=expected, actual=actual)
        else:
            yield met(rule, "none of the forbidden headers", anatomy.attempt.frame)


def ambiguous_request_refused(facts: Facts) -> Iterator[Finding]:
    """SEC-3261-7.3.1-01: a request whose decisive headers stand twice is not taken (interpretation)."""
    rule, index = "SEC-3261-7.3.1-01", origins(facts)
    for seen in facts.isc:
        if seen.frame.receiver is not Role.IUT or method(seen) not in ("MESSAGE", "INVITE"):
            continue
        headers = [header.key for header in seen.message.headers]
        twice = sorted({key for key in headers if key in TELLING and headers.count(key) > 1})
        answer = index.final(seen) if twice and index.copies(seen)[0] is seen else None
        if answer is None or index.of(answer) is not Origin.OWN:
            continue
        frames = (answer.frame.number, seen.frame.number)
        if status(answer) < 300:
            reason = f"a {method(seen)} with two values of {', '.join(twice)} was taken"
            yield broken(rule, reason, *frames, expected="400", actual=str(status(answer)))
        else:
            yield met(rule, f"a request that means two things was answered {status(answer)}", *frames)


RULES: tuple[Check, ...] = (forbidden_headers_kept_back, ambiguous_request_refused)

CHECKS: tuple[Check, ...] = tuple(summed(rule) for rule in RULES)
