"""The connections of the PF's MSRP sessions: who speaks first, and that each session has one (RFC 4975 5.4)."""

from __future__ import annotations

from collections.abc import Iterator

from cpmspec.evidence.trace import Frame, Kind
from cpmspec.judge.checks.common import Check, broken, missing, ruled, settled_us
from cpmspec.judge.facts import Facts
from cpmspec.judge.media import MediaSession, MediaView, ids_of, media_of
from cpmspec.judge.octets import MsrpSeen
from cpmspec.judge.verdict import Finding


def active_sends_first(facts: Facts) -> Iterator[Finding]:
    """MSR-4975-5.4-21: who opens a connection sends a request on it at once, with content or without."""
    yield from ruled("MSR-4975-5.4-21", _opened_by_iut(facts), "connections that the IUT opened")


def _opened_by_iut(facts: Facts) -> Iterator[Finding | None]:
    view, patience = media_of(facts), settled_us(facts)
    for connection, opening in view.whole.items():
        if not opening.from_iut:
            continue
        crossed = [one for one in view.messages if one.connection == connection]
        sent = [one for one in crossed if one.from_iut]
        said = next(iter(sent), None)
        if crossed and said is not crossed[0]:  # the peer spoke before: its answer may come first
            said = next((one for one in sent if one.head.method in ("SEND", "AUTH")), said)
        if said is None:
            if not _torn_down(facts, connection, opening.time_us + patience):
                yield _silent(facts, opening, patience)
        elif said.head.method not in ("SEND", "AUTH"):
            yield _late(opening, said, f"a {said.head.method or 'response'} first")
        elif said.begin_us > opening.time_us + patience:
            yield _late(opening, said, f"a SEND {(said.begin_us - opening.time_us) / 1_000_000:.1f} s later")
        else:
            yield None


def _torn_down(facts: Facts, connection: int, until: int) -> bool:
    """Whether a connection ended before the IUT can be expected to have used it."""
    return any(
        frame.connection == connection and frame.kind in (Kind.CLOSE, Kind.RESET) and frame.time_us <= until
        for frame in facts.trace.frames
    )


def _silent(facts: Facts, opening: Frame, patience: int) -> Finding:
    return missing(
        facts,
        "MSR-4975-5.4-21",
        "the IUT opened a connection and sent nothing on it",
        opening.number,
        expected="a SEND",
        due_us=opening.time_us + patience,
    )


def _late(opening: Frame, said: MsrpSeen, actual: str) -> Finding:
    return broken(
        "MSR-4975-5.4-21",
        "a connection that the IUT opened does not begin with its SEND",
        said.first.number,
        opening.number,
        expected="a SEND at once",
        actual=actual,
    )


def passive_waits(facts: Facts) -> Iterator[Finding]:
    """MSR-4975-5.4-22: on a connection that the peer opened, nothing is sent before the peer's first request."""
    yield from ruled("MSR-4975-5.4-22", _opened_by_peer(facts), "connections that the peer opened")


def _opened_by_peer(facts: Facts) -> Iterator[Finding | None]:
    view = media_of(facts)
    for connection, opening in view.whole.items():
        if opening.from_iut or opening.transport == "tls":
            continue
        said = next((one for one in view.messages if one.from_iut and one.connection == connection), None)
        if said is None:
            continue
        heard = any(
            frame.connection == connection
            and frame.kind is Kind.DATA
            and not frame.from_iut
            and frame.number < said.first.number
            for frame in facts.trace.frames
        )
        yield (
            None
            if heard
            else broken(
                "MSR-4975-5.4-22",
                "the IUT spoke first on a connection that the peer opened",
                said.first.number,
                opening.number,
                expected="nothing before the peer's first request",
                actual=f"a {said.head.method or 'response'}",
            )
        )


def one_connection(facts: Facts) -> Iterator[Finding]:
    """MSR-4975-5.4-23: the requests of a session stay on one connection until it is negotiated anew."""
    found = (_moved(session) for session in media_of(facts).sessions if session.sent(by_iut=True))
    yield from ruled("MSR-4975-5.4-23", found, "sessions")


def _moved(session: MediaSession) -> Finding | None:
    sends = [one for one in session.sent(by_iut=True) if one.head.method == "SEND"]
    other = next((one for one in sends if one.connection != sends[0].connection), None)
    if other is None or len(session.exchanges) > 1:
        return None
    return broken(
        "MSR-4975-5.4-23",
        "a session goes on over another connection",
        other.first.number,
        sends[0].first.number,
        expected="a new session for a new connection",
        actual="the same session-id on two connections",
    )


def bound_elsewhere(facts: Facts) -> Iterator[Finding]:
    """MSR-4975-5.4-24: a request for a session that is bound to another connection is answered 506."""
    view = media_of(facts)
    found = (one for session in view.sessions for one in _intruders(facts, view, session))
    yield from ruled("MSR-4975-5.4-24", found, "requests for a session bound elsewhere")


def _intruders(facts: Facts, view: MediaView, session: MediaSession) -> Iterator[Finding | None]:
    bound: MsrpSeen | None = None
    for one in session.sent(by_iut=False):
        answer = view.answers.to(one)
        if one.head.method != "SEND" or answer is None or len(session.exchanges) > 1:
            continue
        if not any(name in session.own_ids for name in ids_of(one.head.to_path)):
            continue
        if bound is not None and one.connection != bound.connection:
            if not _torn_down(facts, bound.connection, answer.end_us):
                yield _intruder(one, answer, bound)
        elif answer.head.status == 200:
            bound = bound or answer


def _intruder(one: MsrpSeen, answer: MsrpSeen, bound: MsrpSeen) -> Finding | None:
    """What is wrong with the answer to a request on another connection than the session is bound to.

    A request that was sent before the first one was answered may have come first.
    """
    if answer.head.status == 506 or one.begin_us <= bound.end_us:
        return None
    return broken(
        "MSR-4975-5.4-24",
        "a request for a session that is bound to another connection was not refused as such",
        answer.first.number,
        one.first.number,
        bound.first.number,
        expected="506",
        actual=f"{answer.head.status}",
    )


CHECKS: tuple[Check, ...] = (active_sends_first, passive_waits, one_connection, bound_elsewhere)
