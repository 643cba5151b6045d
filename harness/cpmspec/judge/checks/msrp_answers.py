"""What the PF answers to the requests of its peers: responses and REPORTs (RFC 4975 7.1.2 to 7.1.4, 7.2, 7.3)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from cpmspec.evidence.trace import Kind
from cpmspec.judge.checks.common import Check, broken, missing, ruled, settled_us
from cpmspec.judge.checks.msrp_rules import same_path
from cpmspec.judge.facts import Facts
from cpmspec.judge.media import MediaSession, ids_of, media_of
from cpmspec.judge.octets import MsrpSeen
from cpmspec.judge.transfers import Attempt, attempts_of
from cpmspec.judge.verdict import Finding


def _responses(facts: Facts) -> Iterator[tuple[MsrpSeen, MsrpSeen | None]]:
    """Each response of the IUT with the request that it answers.

    On a connection whose beginning was not seen, or on which our side sent what is no MSRP, the request may be one that
    cannot be seen.
    """
    view = media_of(facts)
    unclear = {frame.connection for frame, _ in facts.msrp_wrong if not frame.from_iut}
    for one in view.messages:
        if not one.from_iut or one.head.status is None:
            continue
        request = view.request_of(one)
        if request is not None or (view.opened(one.connection) is not None and one.connection not in unclear):
            yield one, request


def answers_a_request(facts: Facts) -> Iterator[Finding]:
    """MSR-4975-7.2-21: a response has the transaction id of a request that came on the same connection."""
    found = (
        None
        if request is not None
        else broken(
            "MSR-4975-7.2-21",
            "a response to no request of its connection",
            response.first.number,
            expected="the transaction id of a request that came on this connection",
            actual=response.head.transaction_id,
        )
        for response, request in _responses(facts)
    )
    yield from ruled("MSR-4975-7.2-21", found, "responses")


def answers_once(facts: Facts) -> Iterator[Finding]:
    """MSR-4975-7.2-22: a request gets one response."""
    yield from ruled("MSR-4975-7.2-22", _twice(facts), "responses")


def _twice(facts: Facts) -> Iterator[Finding | None]:
    asked = Counter(
        (one.connection, one.head.transaction_id)
        for one in media_of(facts).messages
        if not one.from_iut and one.head.method is not None
    )
    given: Counter[tuple[int, str]] = Counter()
    for response, request in _responses(facts):
        key = (response.connection, response.head.transaction_id)
        given[key] += 1
        if request is None:
            continue
        yield (
            None
            if given[key] <= asked[key]
            else broken(
                "MSR-4975-7.2-22",
                "a second response to one request",
                response.first.number,
                request.first.number,
                expected="one response",
                actual=f"{given[key]}",
            )
        )


def response_paths(facts: Facts) -> Iterator[Finding]:
    """MSR-4975-7.2-23, MSR-4975-7.2-24: a response goes to the hop that the request came from, and says its own URI."""
    to, own = list[Finding | None](), list[Finding | None]()
    for response, request in _responses(facts):
        if request is None or not request.head.from_path or not request.head.to_path:
            continue
        wanted = request.head.from_path[:1] if request.head.method == "SEND" else request.head.from_path
        to.append(_path("MSR-4975-7.2-23", "To-Path", response, request, response.head.to_path, wanted))
        here = request.head.to_path[:1]
        own.append(_path("MSR-4975-7.2-24", "From-Path", response, request, response.head.from_path, here))
    yield from ruled("MSR-4975-7.2-23", to, "responses")
    yield from ruled("MSR-4975-7.2-24", own, "responses")


def _path(
    requirement: str, name: str, one: MsrpSeen, request: MsrpSeen, found: tuple[str, ...], wanted: tuple[str, ...]
) -> Finding | None:
    if same_path(found, wanted):
        return None
    return broken(
        requirement,
        f"{name} of a {one.head.method or 'response'} does not follow from the request",
        one.first.number,
        request.first.number,
        expected=" ".join(wanted),
        actual=" ".join(found) or "none",
    )


def _asked(facts: Facts) -> Iterator[tuple[MediaSession, MsrpSeen]]:
    """The whole SENDs that came to the IUT, each with its session; ours that are wrong by themselves are left out."""
    for session in media_of(facts).sessions:
        for one in session.sent(by_iut=False):
            if one.head.method == "SEND" and one.flag is not None and not one.violations:
                yield session, one


def answers_at_all(facts: Facts) -> Iterator[Finding]:
    """MSR-4975-7.2-25: a SEND whose Failure-Report is yes, or absent, gets a response."""
    yield from ruled("MSR-4975-7.2-25", _unanswered(facts), "SENDs that ask for a response")


def _unanswered(facts: Facts) -> Iterator[Finding | None]:
    view, patience = media_of(facts), settled_us(facts)
    for session, one in _asked(facts):
        if (one.head.failure_report or "yes") != "yes":
            continue
        if view.answers.to(one) is not None:
            yield None
        elif _left_open(facts, session, one, patience):
            yield missing(
                facts,
                "MSR-4975-7.2-25",
                "a SEND got no response",
                one.first.number,
                expected="a response",
                due_us=one.end_us + patience,
            )


def _left_open(facts: Facts, session: MediaSession, one: MsrpSeen, patience: int) -> bool:
    """Whether connection and session stayed long enough for the IUT to act on a request."""
    until = one.end_us + patience
    if session.ended_us is not None and session.ended_us <= until:
        return False
    return not any(
        frame.connection == one.connection and frame.kind in (Kind.CLOSE, Kind.RESET) and frame.time_us <= until
        for frame in facts.trace.frames
    )


def silent_where_asked(facts: Facts) -> Iterator[Finding]:
    """MSR-4975-7.1.4-21, MSR-4975-7.1.4-22: no response where Failure-Report is no, no 200 where it is partial."""
    view = media_of(facts)
    never, partly = list[Finding | None](), list[Finding | None]()
    for _, one in _asked(facts):
        wish, answer = one.head.failure_report, view.answers.to(one)
        if wish == "no":
            never.append(_unwanted("MSR-4975-7.1.4-21", one, answer, "no response"))
        elif wish == "partial":
            good = answer if answer is not None and answer.head.status == 200 else None
            partly.append(_unwanted("MSR-4975-7.1.4-22", one, good, "no response, or one that tells of a failure"))
    yield from ruled("MSR-4975-7.1.4-21", never, "SENDs with Failure-Report no")
    yield from ruled("MSR-4975-7.1.4-22", partly, "SENDs with Failure-Report partial")


def _unwanted(requirement: str, request: MsrpSeen, answer: MsrpSeen | None, expected: str) -> Finding | None:
    if answer is None:
        return None
    return broken(
        requirement,
        f"a response to a SEND with Failure-Report {request.head.failure_report}",
        answer.first.number,
        request.first.number,
        expected=expected,
        actual=f"{answer.head.status}",
    )


def no_unknown_method(facts: Facts) -> Iterator[Finding]:
    """MSR-4975-10.9-21 (interpretation): SEND is a method that every endpoint knows."""
    found = (
        None
        if response.head.status != 501
        else broken(
            "MSR-4975-10.9-21",
            "a SEND was answered as if its method were unknown",
            response.first.number,
            expected="any other response",
            actual="501",
        )
        for response, request in _responses(facts)
        if request is not None and request.head.method == "SEND"
    )
    yield from ruled("MSR-4975-10.9-21", found, "responses to SEND")


def report_not_answered(facts: Facts) -> Iterator[Finding]:
    """MSR-4975-7.1.2-22: a REPORT gets no response."""
    view = media_of(facts)
    found = (
        None
        if (answer := view.answers.to(one)) is None
        else broken(
            "MSR-4975-7.1.2-22",
            "a REPORT was answered",
            answer.first.number,
            one.first.number,
            expected="no response",
            actual=f"{answer.head.status}",
        )
        for one in view.messages
        if one.head.method == "REPORT" and not one.from_iut
    )
    yield from ruled("MSR-4975-7.1.2-22", found, "REPORTs received")


def _reports(facts: Facts) -> Iterator[tuple[MsrpSeen, list[MsrpSeen]]]:
    """Each REPORT of the IUT, with the chunks that came before it under its Message-ID.

    Where our side sent what is no MSRP, the message may be one that cannot be seen.
    """
    view = media_of(facts)
    unclear = any(not frame.from_iut for frame, _ in facts.msrp_wrong)
    for session in view.sessions:
        for one in session.sent(by_iut=True):
            if one.head.method != "REPORT" or view.opened(one.connection) is None:
                continue
            sends = [
                send
                for send in session.sent(by_iut=False)
                if send.head.method == "SEND"
                and send.head.message_id == one.head.message_id
                and send.first.number < one.first.number
            ]
            if sends or not unclear:
                yield one, sends


def reports(facts: Facts) -> Iterator[Finding]:
    """MSR-4975-7.1.2-21, MSR-4975-7.1.3-21, MSR-4975-7.1.3-23, MSR-4975-7.1.4-23, MSR-4975-7.1.4-24: REPORTs fit.

    Each is about a message that came, was asked for, and goes back the way that the message came.
    """
    named, wished, path, failed, placed = (list[Finding | None]() for _ in range(5))
    for one, sends in _reports(facts):
        named.append(_unnamed(one) if not sends else None)
        if not sends:
            continue
        back = next((send for send in sends if same_path(one.head.to_path, send.head.from_path)), sends[-1])
        path.append(_path("MSR-4975-7.1.3-23", "To-Path", one, back, one.head.to_path, back.head.from_path))
        status = one.head.status_header
        if status is None:
            continue
        if status[1] == 200:
            asked = any(send.head.success_report == "yes" for send in sends)
            wished.append(None if asked else _unasked("MSR-4975-7.1.3-21", one, sends[0], "Success-Report yes"))
            continue
        asked = any(send.head.failure_report != "no" for send in sends)
        failed.append(None if asked else _unasked("MSR-4975-7.1.4-23", one, sends[0], "Failure-Report yes or partial"))
        placed.append(None if one.head.byte_range is not None else _unplaced(one))
    yield from ruled("MSR-4975-7.1.2-21", named, "REPORTs")
    yield from ruled("MSR-4975-7.1.3-21", wished, "success REPORTs")
    yield from ruled("MSR-4975-7.1.3-23", path, "REPORTs")
    yield from ruled("MSR-4975-7.1.4-23", failed, "failure REPORTs")
    yield from ruled("MSR-4975-7.1.4-24", placed, "failure REPORTs")


def _unnamed(one: MsrpSeen) -> Finding:
    reason, actual = "a REPORT on a message that never came", f"Message-ID {one.head.message_id}"
    expected = "the Message-ID of a SEND of this session"
    return broken("MSR-4975-7.1.2-21", reason, one.first.number, expected=expected, actual=actual)


def _unasked(requirement: str, one: MsrpSeen, send: MsrpSeen, expected: str) -> Finding:
    reason = "a REPORT that nobody asked for"
    actual = f"Success-Report {send.head.success_report or 'absent'}, Failure-Report {send.head.failure_report}"
    frames = (one.first.number, send.first.number)
    return broken(requirement, reason, *frames, expected=f"a SEND with {expected}", actual=actual)


def _unplaced(one: MsrpSeen) -> Finding:
    reason = "a failure REPORT does not say which octets it is about"
    return broken("MSR-4975-7.1.4-24", reason, one.first.number, expected="a Byte-Range", actual="none")


def reports_all(facts: Facts) -> Iterator[Finding]:
    """MSR-4975-7.1.3-22: success REPORTs cover a message that asked for them and came whole."""
    yield from ruled("MSR-4975-7.1.3-22", _unreported(facts), "messages that ask for a success REPORT")


def _unreported(facts: Facts) -> Iterator[Finding | None]:
    patience = settled_us(facts)
    for session in media_of(facts).sessions:
        for attempt in _received(facts, session):
            taken = attempt.accepted_us
            if not attempt.success_report or taken is None:
                continue
            if attempt.reported_us is not None:
                yield None
            elif _left_open(facts, session, attempt.chunks[-1], taken - attempt.end_us + patience):
                yield missing(
                    facts,
                    "MSR-4975-7.1.3-22",
                    "no success REPORT covers a message that asked for it",
                    attempt.frame,
                    expected="success REPORTs for all of its octets",
                    due_us=taken + patience,
                )


def _received(facts: Facts, session: MediaSession) -> list[Attempt]:
    """The messages with content that came to the IUT in a session."""
    sends = [(None, one) for one in session.sent(by_iut=False) if one.head.method == "SEND" and one.body]
    return attempts_of(sends, media_of(facts).messages)


def unknown_session(facts: Facts) -> Iterator[Finding]:
    """MSR-4975-7.3-21: what comes for a session-id that the IUT never gave is answered 481."""
    yield from ruled("MSR-4975-7.3-21", _for_nobody(facts), "requests for an unknown session")


def _for_nobody(facts: Facts) -> Iterator[Finding | None]:
    view = media_of(facts)
    for session, one in _asked(facts):
        answer = view.answers.to(one)
        known = any(name in other.own_ids for other in view.sessions for name in ids_of(one.head.to_path))
        if known or answer is None or not set(ids_of(one.head.from_path)) & session.peer_ids:
            continue
        yield (
            None
            if answer.head.status == 481
            else broken(
                "MSR-4975-7.3-21",
                "a request for a session that does not exist was not refused as such",
                answer.first.number,
                one.first.number,
                expected="481",
                actual=f"{answer.head.status}",
            )
        )


CHECKS: tuple[Check, ...] = (
    answers_a_request,
    answers_once,
    response_paths,
    answers_at_all,
    silent_where_asked,
    no_unknown_method,
    report_not_answered,
    reports,
    reports_all,
    unknown_session,
)
