"""Rules about single SIP requests and their answers: MESSAGE (RFC 3428), refusals and limits (RFC 3261 8, 16, 18)."""

from __future__ import annotations

from collections.abc import Iterator

from cpmspec.evidence.trace import Kind, Role
from cpmspec.judge.checks.common import Check, broken, met
from cpmspec.judge.checks.places import summed
from cpmspec.judge.deferred import PAGER
from cpmspec.judge.facts import Facts
from cpmspec.judge.octets import SipSeen
from cpmspec.judge.sip_dialogs import dialogs, timeout_us
from cpmspec.judge.sip_origin import given, method, origins, relayed, status
from cpmspec.judge.verdict import Finding
from cpmspec.wire.mime import MediaType
from cpmspec.wire.sip import SipRequest
from cpmspec.wire.uri import aor, same_uri

#: octets of a request above which it needs a transport with congestion control (RFC 3261 18.1.1, RFC 3428 8)
UDP_LIMIT = 1300
#: charsets in which every implementation of MESSAGE reads text/plain
PLAIN_CHARSETS = frozenset({"", "utf-8", "us-ascii"})


def deferred_answered_202(facts: Facts) -> Iterator[Finding]:
    """SIP-3428-7-01: a MESSAGE that was taken over for later is answered 202."""
    rule = "SIP-3428-7-01"
    for one in facts.deferred:
        if one.mode != PAGER or not one.firm:
            continue
        if one.status == 202:
            yield met(rule, "the deferred MESSAGE was answered 202", one.accepted_frame)
        else:
            reason = "a MESSAGE that was only stored was answered as if it had been delivered"
            yield broken(rule, reason, one.accepted_frame, expected="202", actual=str(one.status))


def _answers(facts: Facts, asked: str) -> Iterator[SipSeen]:
    """The IUT's own responses to requests of a method."""
    for seen in origins(facts).own:
        cseq = seen.cseq
        if status(seen) and cseq is not None and cseq.method == asked:
            yield seen


def message_accepted_bare(facts: Facts) -> Iterator[Finding]:
    """SIP-3428-7-02: a 2xx to MESSAGE has neither body nor Contact."""
    rule = "SIP-3428-7-02"
    for seen in _answers(facts, "MESSAGE"):
        if not 200 <= status(seen) < 300:
            continue
        actual = f"{len(seen.message.body)} octets of body, {len(seen.message.contact)} Contact"
        if seen.message.body or seen.message.contact:
            reason = "the 2xx to a MESSAGE says more than that it was accepted"
            yield broken(rule, reason, seen.frame.number, expected="no body, no Contact", actual=actual)
        else:
            yield met(rule, "the 2xx has neither body nor Contact", seen.frame.number)


def _own_messages(facts: Facts) -> Iterator[SipSeen]:
    """The MESSAGE requests that the IUT composed."""
    return (seen for seen in origins(facts).own if method(seen) == "MESSAGE")


def message_without_contact(facts: Facts) -> Iterator[Finding]:
    """SIP-3428-4-01, SIP-3428-9-01: a MESSAGE of the IUT's own has no Contact, and no Accept."""
    for rule, name in (("SIP-3428-4-01", "Contact"), ("SIP-3428-9-01", "Accept")):
        for seen in _own_messages(facts):
            value = seen.message.headers.get(name)
            if value is not None and not given(facts, seen, value):
                reason = f"a MESSAGE with a header that it must not have, {name}"
                yield broken(rule, reason, seen.frame.number, expected=f"no {name}", actual=value)
            else:
                yield met(rule, f"no {name}", seen.frame.number)


def expiring_message_is_dated(facts: Facts) -> Iterator[Finding]:
    """SIP-3428-4-02: a MESSAGE of the IUT's own that expires says when it was sent."""
    rule = "SIP-3428-4-02"
    for seen in _own_messages(facts):
        if not seen.message.expires:
            continue
        if seen.message.headers.get("Date") is None:
            reason = "a MESSAGE expires and does not say since when"
            yield broken(rule, reason, seen.frame.number, expected="a Date header", actual="none")
        else:
            yield met(rule, "Expires comes with a Date", seen.frame.number)


def plain_text_taken(facts: Facts) -> Iterator[Finding]:
    """SIP-3428-4-03: text/plain is not an unsupported media type.

    A PF that passes a MESSAGE on as a user agent of its own (B2BUA) hands the client's 415 back.
    """
    rule = "SIP-3428-4-03"
    for seen in _answers(facts, "MESSAGE"):
        if any(status(one) == 415 and not one.from_iut and one.us <= seen.us for one in facts.isc):
            continue
        request = origins(facts).request_of(seen)
        if request is None or status(seen) < 200 or not _plain(request):
            continue
        if status(seen) == 415:
            reason = "text/plain was refused as an unsupported media type"
            expected = "any other answer"
            yield broken(rule, reason, seen.frame.number, request.frame.number, expected=expected, actual="415")
        else:
            yield met(rule, "text/plain was not refused for its type", seen.frame.number)


def _plain(request: SipSeen) -> bool:
    headers = request.message.headers
    media_type = MediaType.parse(headers.get("Content-Type") or "")
    charset = (media_type.param("charset") or "").lower()
    coded = any(headers.get(name) is not None for name in ("Content-Encoding", "Content-Transfer-Encoding"))
    return media_type.full == "text/plain" and charset in PLAIN_CHARSETS and not coded and bool(request.message.body)


def one_message_at_a_time(facts: Facts) -> Iterator[Finding]:
    """SIP-3428-8-02: no new MESSAGE outside of a dialog to a URI while one to it waits for its final answer.

    Both were under way at once if both had arrived before either was answered. One that was answered by nobody may have
    timed out. What others sent is theirs, also where the PF passes it on as a user agent of its own (B2BUA).
    """
    rule = "SIP-3428-8-02"
    sent = [seen for seen in _own_messages(facts) if not seen.tags[1] and not relayed(facts, seen)]
    for place, second in enumerate(sent):
        pending = [first for first in sent[:place] if _same_target(first, second) and _open(facts, first, second)]
        if pending:
            yield broken(
                rule,
                "a MESSAGE was sent while another one to the same URI was still unanswered",
                second.frame.number,
                pending[0].frame.number,
                expected="the final answer to the first one before the second is sent",
                actual=f"{(second.us - pending[0].us) / 1_000_000:.3f} s later, before any final answer",
            )
        else:
            yield met(rule, "no other MESSAGE to that URI was pending", second.frame.number)


def _same_target(first: SipSeen, second: SipSeen) -> bool:
    one, other = first.message, second.message
    return isinstance(one, SipRequest) and isinstance(other, SipRequest) and same_uri(one.uri, other.uri)


def _open(facts: Facts, first: SipSeen, second: SipSeen) -> bool:
    """Whether a request was still without final answer when another one had been sent."""
    answer = origins(facts).final(first)
    if answer is not None:
        return answer.us > second.us
    if first.frame.connection and any(
        frame.connection == first.frame.connection and frame.kind in (Kind.CLOSE, Kind.RESET)
        for frame in facts.trace.frames
    ):
        return False  # it may have failed with its connection (RFC 3261 8.1.3.1)
    return second.us < first.us + timeout_us(facts) - facts.settings.late_us


def datagram_not_too_large(facts: Facts) -> Iterator[Finding]:
    """SIP-3428-8-01, SIP-3261-18.1.1-01: no request above 1300 octets by UDP, as far as the path MTU is unknown."""
    for seen in origins(facts).own:
        kind = method(seen)
        if not kind or seen.frame.transport != "udp":
            continue
        rule = "SIP-3428-8-01" if kind == "MESSAGE" and not seen.tags[1] else "SIP-3261-18.1.1-01"
        size = len(seen.message.octets())
        if size > UDP_LIMIT:
            reason = f"a {kind} is too large for UDP, if the path MTU is not known to be larger"
            expected = f"at most {UDP_LIMIT} octets, or a transport with congestion control"
            yield broken(rule, reason, seen.frame.number, expected=expected, actual=f"{size} octets by UDP")
        else:
            yield met(rule, f"{size} octets by UDP", seen.frame.number)


#: what a refusal has to say so that the sender can do better (RFC 3261 8.2.1, 8.2.2.3, 8.2.3)
_EXPLAINED = (
    (405, "SIP-3261-8.2.1-01", ("Allow",)),
    (415, "SIP-3261-8.2.3-01", ("Accept", "Accept-Encoding", "Accept-Language")),
    (420, "SIP-3261-8.2.2.3-01", ("Unsupported",)),
)


def refusal_explained(facts: Facts) -> Iterator[Finding]:
    """SIP-3261-8.2.1-01, SIP-3261-8.2.3-01, SIP-3261-8.2.2.3-01: 405 says Allow, 415 Accept, 420 Unsupported.

    An empty Allow or Accept is a legal one (RFC 3261 20.1, 20.5); Unsupported names at least one option.
    """
    for code, rule, names in _EXPLAINED:
        for seen in origins(facts).own:
            if status(seen) != code:
                continue
            told = [name for name in names if seen.message.headers.get(name) is not None]
            if not told or (code == 420 and not _unsupported(facts, seen)):
                reason = f"a {code} does not say what would have been right"
                expected = " or ".join(names) + (" with options that the request required" if code == 420 else "")
                actual = f"{told[0]}: {seen.message.headers.get(told[0])}" if told else "none"
                yield broken(rule, reason, seen.frame.number, expected=expected, actual=actual)
            else:
                yield met(rule, f"the {code} has {told[0]}", seen.frame.number)


def _unsupported(facts: Facts, seen: SipSeen) -> bool:
    """Whether a 420 names options, and only such as the request had required."""
    request = origins(facts).request_of(seen)
    named = {value.lower() for value in seen.message.headers.values("Unsupported")}
    if request is None:
        return bool(named)
    headers = request.message.headers
    required = {value.lower() for name in ("Require", "Proxy-Require") for value in headers.values(name)}
    return bool(named) and named <= required


def merged_request_refused(facts: Facts) -> Iterator[Finding]:
    """SIP-3261-8.2.2.2-01: a request that arrives a second time by another way is answered 482.

    Judged over UDP alone: there a server transaction lasts 64*T1 after its final answer, and nobody can have forgotten
    the first one.
    """
    rule, index = "SIP-3261-8.2.2.2-01", origins(facts)
    first: dict[tuple[str, str, str], SipSeen] = {}
    for seen in facts.isc:
        request = seen.message
        if seen.frame.receiver is not Role.IUT or seen.frame.transport != "udp" or request.to_tag:
            continue
        if method(seen) in ("", "ACK", "CANCEL") or index.copies(seen)[0] is not seen:
            continue
        key = (request.call_id or "", request.headers.get("CSeq") or "", request.from_tag or "")
        earlier = first.setdefault(key, seen)
        answer = index.final(seen)
        if earlier is seen or answer is None or seen.us > earlier.us + timeout_us(facts):
            continue
        frames = (answer.frame.number, seen.frame.number, earlier.frame.number)
        if status(answer) == 482:
            yield met(rule, "the merged request was answered 482", *frames)
        else:
            reason = "a request that had arrived before by another way was handled again"
            yield broken(rule, reason, *frames, expected="482", actual=str(status(answer)))


def max_forwards_initial(facts: Facts) -> Iterator[Finding]:
    """SIP-3261-8.1.1.6-01: a request of the IUT's own begins with Max-Forwards 70."""
    rule = "SIP-3261-8.1.1.6-01"
    for seen in origins(facts).own:
        if not method(seen):
            continue
        value = seen.message.headers.get("Max-Forwards")
        if value is not None and value.strip() != "70":
            reason = "a request of its own begins with another Max-Forwards than 70"
            yield broken(rule, reason, seen.frame.number, expected="Max-Forwards: 70", actual=value)
        elif value is not None:
            yield met(rule, "Max-Forwards is 70", seen.frame.number)


def max_forwards_of_proxy(facts: Facts) -> Iterator[Finding]:
    """SIP-3261-16.3-01, SIP-3261-16.6-01: what is passed on had hops left, and has one less."""
    for seen in origins(facts).forwarded:
        request = seen.message
        if not isinstance(request, SipRequest) or request.method in ("ACK", "CANCEL"):
            continue
        received = _as_received(facts, seen)
        if received is None or received.message.max_forwards is None:
            continue
        before, frames = received.message.max_forwards, (seen.frame.number, received.frame.number)
        if before == 0:
            reason = "a request without hops left was passed on"
            yield broken("SIP-3261-16.3-01", reason, *frames, expected="483", actual="it was forwarded")
            continue
        yield met("SIP-3261-16.3-01", "it had hops left", *frames)
        if request.max_forwards is None or request.max_forwards >= before:
            actual = request.headers.get("Max-Forwards") or "none"
            reason = "a request was passed on without counting the hop"
            yield broken("SIP-3261-16.6-01", reason, *frames, expected=f"below {before}", actual=actual)
        else:
            yield met("SIP-3261-16.6-01", "the hop was counted", *frames)


def _as_received(facts: Facts, forwarded: SipSeen) -> SipSeen | None:
    """The request that the IUT passed on, as it came to it: below the IUT's own Via are those that it had."""
    below = [via.branch for via in forwarded.message.via[1:]]
    for seen in facts.isc:
        if (
            seen.frame.receiver is Role.IUT
            and method(seen) == method(forwarded)
            and seen.message.call_id == forwarded.message.call_id
            and seen.cseq == forwarded.message.cseq
            and [via.branch for via in seen.message.via] == below
        ):
            return seen
    return None


def hops_do_not_bind_the_end(facts: Facts) -> Iterator[Finding]:
    """SIP-3261-16.3-02: whoever is meant himself takes a request without hops left (interpretation).

    Meant is the PF by the PSI, and in its own dialogs.
    """
    rule, index = "SIP-3261-16.3-02", origins(facts)
    inside = {(dialog.call_id, dialog.local_tag) for dialog in dialogs(facts)}
    for seen in index.own:
        request = index.request_of(seen) if status(seen) >= 200 else None
        if request is None or request.message.max_forwards != 0 or not isinstance(request.message, SipRequest):
            continue
        psi = facts.context.psi
        if (request.message.call_id, request.message.to_tag) not in inside and (
            not psi or aor(request.message.uri) != aor(psi)
        ):
            continue
        frames = (seen.frame.number, request.frame.number)
        if status(seen) == 483:
            yield broken(rule, "a request to the PF itself was refused", *frames, expected="not 483", actual="483")
        else:
            yield met(rule, "it was taken without hops left", *frames)


RULES: tuple[Check, ...] = (
    deferred_answered_202,
    message_accepted_bare,
    message_without_contact,
    expiring_message_is_dated,
    plain_text_taken,
    one_message_at_a_time,
    datagram_not_too_large,
    refusal_explained,
    merged_request_refused,
    max_forwards_initial,
    max_forwards_of_proxy,
    hops_do_not_bind_the_end,
)

CHECKS: tuple[Check, ...] = tuple(summed(rule) for rule in RULES)
