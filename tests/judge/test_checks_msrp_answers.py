"""What the PF answers over MSRP, and the connections of its sessions: what breaks each rule, and what does not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from cpmspec.evidence.trace import Kind, Pco, Role
from msrp_scene import (
    FAIL,
    NONE,
    OPEN,
    PASS,
    QUIET,
    Build,
    Row,
    Told,
    answer,
    asked,
    bound,
    chunked,
    halves,
    of,
    one_chunk,
    opened,
    piece,
    report,
    verdicts,
)  # fmt: skip
from scene import Scene, Session

# --- what the PF answers ---------------------------------------------------------------------------------------------


def asked_and(
    status: int | None = 200,
    *,
    body: bytes | None = None,
    times: int = 1,
    head: dict[str, Any] | None = None,
    **of_answer: Any,
) -> Session:
    """A SEND of the client, and the PF's answer; ``head`` is the SEND's, the rest is the answer's."""
    session = opened()
    asked(session, "ask1", body, **(head or {}))
    for _ in range(times if status is not None else 0):
        answer(session, "ask1", status or 0, **of_answer)
    session.scene.wait(10)
    return session


def answer_to_nothing(*, cut: bool = False, unreadable: bool = False) -> Session:
    scene = Scene(QUIET)
    scene.defer()
    session = scene.session()
    if not cut:
        scene.open(Pco.MSRP, Role.CLIENT, session.connection)
    if unreadable:
        scene.put(Pco.MSRP, Role.CLIENT, Role.IUT, b"MSRP x\r\n\r\n", connection=session.connection)
    answer(session, "ghost")
    return session


def silent_and(what: str) -> Session:
    """A SEND without an answer, and what may excuse that."""
    session = opened()
    scene = session.scene
    head = {"To-Path": session.pf_path, "From-Path": session.path, "Message-ID": "ask1-id"}
    if what == "wrong":
        del head["Message-ID"]
    scene.msrp(Role.CLIENT, Role.IUT, "ask1 SEND", list(head.items()), connection=session.connection)
    if what == "reset":
        session.reset()
    elif what == "bye":
        session.bye()
    elif what == "gone":
        scene.iut_gone_us = scene.us
    elif what == "open":
        scene.closed = False
    scene.wait(10)
    return session


def without_paths() -> Session:
    session = opened()
    session.scene.msrp(Role.CLIENT, Role.IUT, "ask1 SEND", [("Message-ID", "abcd")], connection=session.connection)
    answer(session, "ask1")
    return session


def auth_answered(to: str) -> Session:
    """Another method than SEND is answered along the whole way back."""
    session = opened()
    way = [session.path, "msrp://relay.example.com:1/x;tcp"]
    headers = [("To-Path", session.pf_path), ("From-Path", " ".join(way))]
    session.scene.msrp(Role.CLIENT, Role.IUT, "ask1 NICKNAME", headers, connection=session.connection)
    answer(session, "ask1", 501, To_Path=to or " ".join(way))
    return session


def over_a_relay(to: int) -> Session:
    """A SEND that came over a relay is answered to the relay."""
    session = opened()
    way = ["msrp://relay.example.com:1/x;tcp", session.path]
    asked(session, "ask1", From_Path=" ".join(way))
    answer(session, "ask1", To_Path=" ".join(way[:to]))
    return session


def reported(
    tid: str = "rep1", *, success: str = "yes", body: bytes = b"four", failure: str = "", **head: Any
) -> Session:
    """A SEND with content, answered, and a REPORT on it."""
    session = opened()
    wishes: dict[str, Any] = {"Success_Report": success} | ({"Failure_Report": failure} if failure else {})
    asked(session, "one", body, **wishes)
    if failure not in ("no", "partial"):
        answer(session, "one")
    if tid:
        report(session, tid, head.pop("status", "000 200 OK"), **head)
    session.scene.wait(10)
    return session


def unreported(what: str) -> Session:
    session = reported("")
    if what == "bye at once":
        session = opened()
        asked(session, "one", b"four", Success_Report="yes")
        answer(session, "one")
        session.bye()
    elif what == "refused":
        session = opened()
        asked(session, "one", b"four", Success_Report="yes")
        answer(session, "one", 413)
        session.scene.wait(10)
    return session


def report_in_a_cut_trace() -> Session:
    scene = Scene(QUIET)
    scene.defer()
    session = scene.session()
    report(session, "rep1")
    return session


def report_answered(*, by: bool) -> Session:
    """A REPORT of the client on a message of the PF; ``by``: the PF answers it."""
    session = one_chunk(Success_Report="yes")
    report(session, "rep1", by=Role.CLIENT, Message_ID="idone")
    if by:
        answer(session, "rep1")
    return session


def for_nobody(status: int | None, *, from_path: str = "") -> Session:
    session = opened()
    head: dict[str, Any] = {"To_Path": "msrp://127.0.0.1:5060/nobody;tcp"} | (
        {"From_Path": from_path} if from_path else {}
    )
    asked(session, "ask1", **head)
    if status is not None:
        answer(session, "ask1", status)
    return session


STRANGER = "msrp://127.0.0.9:5060/stranger;tcp"

ANSWERS: list[Row] = [
    ("to no request", "MSR-4975-7.2-21", answer_to_nothing, FAIL),
    ("to what was not seen", "MSR-4975-7.2-21", lambda: answer_to_nothing(cut=True), NONE),
    ("to what cannot be read", "MSR-4975-7.2-21", lambda: answer_to_nothing(unreadable=True), NONE),
    ("to a request", "MSR-4975-7.2-21", asked_and, PASS),
    ("twice", "MSR-4975-7.2-22", lambda: asked_and(times=2), FAIL),
    ("four times", "MSR-4975-7.2-22", lambda: asked_and(times=6), FAIL),
    ("once", "MSR-4975-7.2-22", asked_and, PASS),
    ("to nothing is not twice", "MSR-4975-7.2-22", answer_to_nothing, NONE),
    ("to somebody else", "MSR-4975-7.2-23", lambda: asked_and(To_Path=STRANGER), FAIL),
    ("to nobody", "MSR-4975-7.2-23", lambda: asked_and(To_Path=""), FAIL),
    ("to the client", "MSR-4975-7.2-23", asked_and, PASS),
    ("to the relay", "MSR-4975-7.2-23", lambda: over_a_relay(1), PASS),
    ("past the relay", "MSR-4975-7.2-23", lambda: over_a_relay(2), FAIL),
    ("all the way back", "MSR-4975-7.2-23", lambda: auth_answered(""), PASS),
    ("half the way back", "MSR-4975-7.2-23", lambda: auth_answered("msrp://127.0.0.1:5080/x;tcp"), FAIL),
    ("from somebody else", "MSR-4975-7.2-24", lambda: asked_and(From_Path=STRANGER), FAIL),
    ("from the PF", "MSR-4975-7.2-24", asked_and, PASS),
    ("of a request without paths", "MSR-4975-7.2-24", without_paths, PASS),
    ("never", "MSR-4975-7.2-25", lambda: silent_and(""), FAIL),
    ("never, and the IUT is gone", "MSR-4975-7.2-25", lambda: silent_and("gone"), OPEN),
    ("not yet", "MSR-4975-7.2-25", lambda: silent_and("open"), PASS),
    ("never, but we broke off", "MSR-4975-7.2-25", lambda: silent_and("reset"), PASS),
    ("never, but the session ended", "MSR-4975-7.2-25", lambda: silent_and("bye"), PASS),
    ("never, but it was wrong", "MSR-4975-7.2-25", lambda: silent_and("wrong"), PASS),
    ("answered", "MSR-4975-7.2-25", asked_and, PASS),
    ("not asked for", "MSR-4975-7.2-25", lambda: asked_and(None, head={"Failure_Report": "no"}), PASS),
    ("unwanted", "MSR-4975-7.1.4-21", lambda: asked_and(head={"Failure_Report": "no"}), FAIL),
    ("unwanted 481", "MSR-4975-7.1.4-21", lambda: asked_and(481, head={"Failure_Report": "no"}), FAIL),
    ("silence", "MSR-4975-7.1.4-21", lambda: asked_and(None, head={"Failure_Report": "no"}), PASS),
    ("wanted", "MSR-4975-7.1.4-21", asked_and, NONE),
    ("an unwanted 200", "MSR-4975-7.1.4-22", lambda: asked_and(head={"Failure_Report": "partial"}), FAIL),
    ("a wanted 413", "MSR-4975-7.1.4-22", lambda: asked_and(413, head={"Failure_Report": "partial"}), PASS),
    ("nothing", "MSR-4975-7.1.4-22", lambda: asked_and(None, head={"Failure_Report": "partial"}), PASS),
    ("an unknown method", "MSR-4975-10.9-21", lambda: asked_and(501), OPEN),
    ("a known method", "MSR-4975-10.9-21", asked_and, PASS),
    ("an answer to a REPORT", "MSR-4975-7.1.2-22", lambda: report_answered(by=True), FAIL),
    ("no answer to a REPORT", "MSR-4975-7.1.2-22", lambda: report_answered(by=False), PASS),
    ("on nothing", "MSR-4975-7.1.2-21", lambda: reported(Message_ID="other"), FAIL),
    ("on nothing that was seen", "MSR-4975-7.1.2-21", report_in_a_cut_trace, NONE),
    ("on a message", "MSR-4975-7.1.2-21", reported, PASS),
    ("unasked", "MSR-4975-7.1.3-21", lambda: reported(success="no"), FAIL),
    ("asked", "MSR-4975-7.1.3-21", reported, PASS),
    ("without a status", "MSR-4975-7.1.3-21", lambda: reported(status=""), NONE),
    ("no success REPORT", "MSR-4975-7.1.3-22", lambda: unreported(""), FAIL),
    ("half a success REPORT", "MSR-4975-7.1.3-22", lambda: reported(Byte_Range="1-2/4"), FAIL),
    ("a success REPORT", "MSR-4975-7.1.3-22", reported, PASS),
    ("no time for a success REPORT", "MSR-4975-7.1.3-22", lambda: unreported("bye at once"), NONE),
    ("no success to REPORT", "MSR-4975-7.1.3-22", lambda: unreported("refused"), NONE),
    ("nobody asked for a success REPORT", "MSR-4975-7.1.3-22", lambda: reported("", success="no"), NONE),
    ("a REPORT to somebody else", "MSR-4975-7.1.3-23", lambda: reported(To_Path=STRANGER), FAIL),
    ("a REPORT to the sender", "MSR-4975-7.1.3-23", reported, PASS),
    ("an unwanted failure", "MSR-4975-7.1.4-23", lambda: reported(failure="no", status="000 413"), FAIL),
    ("a wanted failure", "MSR-4975-7.1.4-23", lambda: reported(failure="partial", status="000 413"), PASS),
    ("a failure somewhere", "MSR-4975-7.1.4-24", lambda: reported(status="000 413", Byte_Range=""), FAIL),
    ("a failure at its place", "MSR-4975-7.1.4-24", lambda: reported(status="000 413"), PASS),
    ("200 for nobody", "MSR-4975-7.3-21", lambda: for_nobody(200), FAIL),
    ("481 for nobody", "MSR-4975-7.3-21", lambda: for_nobody(481), PASS),
    ("no answer for nobody", "MSR-4975-7.3-21", lambda: for_nobody(None), NONE),
    ("from nobody for nobody", "MSR-4975-7.3-21", lambda: for_nobody(200, from_path=STRANGER), NONE),
]


# --- connections -----------------------------------------------------------------------------------------------------


def by_the_pf(what: str) -> Session:
    """The PF opens the connection of its session."""
    scene = Scene(QUIET)
    sent = scene.defer()
    scene.wait(5)
    session = scene.session(offer={"setup": "passive"}, pf={"setup": "active"})
    scene.open(Pco.MSRP, Role.IUT, session.connection)
    octets = session.wrap(sent).render()
    if what == "late":
        scene.wait(10)
    if what in ("sends", "late"):
        piece(session, octets, 1, len(octets), "$")
    elif what == "answers":
        asked(session, "ask1")
        answer(session, "ask1")
    elif what == "broken":
        session.reset()
    elif what == "gone":
        scene.iut_gone_us = scene.us
    scene.wait(10)
    return session


def spoken_first(*, by_pf: bool, tls: bool = False) -> Session:
    scene = Scene(QUIET)
    sent = scene.defer()
    scene.wait(5)
    session = scene.session(offer={"setup": "active"}, pf={"setup": "passive"})
    scene.open(Pco.MSRP, Role.CLIENT, session.connection)
    if not by_pf:
        bound(session)
    octets = session.wrap(sent).render()
    piece(session, octets, 1, len(octets), "$")
    if tls:
        scene.frames = [replace(frame, transport="tls") if frame.connection else frame for frame in scene.frames]
    return session


def said_nothing() -> Session:
    """The peer opened a connection, and nobody said anything."""
    session = opened()
    session.scene.open(Pco.MSRP, Role.CLIENT, 77)
    session.scene.put(Pco.MSRP, Role.CLIENT, Role.IUT, b"", connection=77, kind=Kind.CLOSE)
    return session


def moved(*, negotiated: bool) -> Session:
    """A session that goes on over another connection."""
    session = opened()
    first, rest, size = halves(session)
    piece(session, first, 1, size, "+")
    session.scene.wait(1)
    session.reset()
    if negotiated:
        session.again()
    other = session.scene.connection("other")
    session.scene.open(Pco.MSRP, Role.CLIENT, other)
    piece(session, rest, len(first) + 1, size, "$", connection=other)
    return session


def intruder(
    status: int | None = 200,
    *,
    torn: bool = False,
    first: int = 200,
    early: bool = False,
    known: bool = True,
    anew: bool = False,
) -> Session:
    """A second connection on which a request for the same session comes."""
    session = opened()
    scene, other = session.scene, session.scene.connection("other")
    scene.open(Pco.MSRP, Role.CLIENT, other)
    if early or first != 200:
        scene.frames = scene.frames[:-3] + scene.frames[-1:]  # not bound yet
    if early:
        asked(session, "ask2", connection=other)
        bound(session)
    elif first != 200:
        bound(session, status=first)
    if torn:
        session.reset()
    if anew:
        session.again()
    if not early:
        head: dict[str, Any] = {} if known else {"To_Path": "msrp://127.0.0.1:5060/nobody;tcp"}
        asked(session, "ask2", connection=other, **head)
    if status is not None:
        answer(session, "ask2", status, connection=other)
    return session


CONNECTIONS: list[Row] = [
    ("opened and silent", "MSR-4975-5.4-21", lambda: by_the_pf("nothing"), FAIL),
    ("opened and silent, gone", "MSR-4975-5.4-21", lambda: by_the_pf("gone"), OPEN),
    ("opened and torn down", "MSR-4975-5.4-21", lambda: by_the_pf("broken"), NONE),
    ("opened and late", "MSR-4975-5.4-21", lambda: by_the_pf("late"), FAIL),
    ("opened, and an answer first", "MSR-4975-5.4-21", lambda: by_the_pf("answers"), FAIL),
    ("opened and sent", "MSR-4975-5.4-21", lambda: by_the_pf("sends"), PASS),
    ("opened by the peer", "MSR-4975-5.4-21", opened, NONE),
    ("the PF first", "MSR-4975-5.4-22", lambda: spoken_first(by_pf=True), FAIL),
    ("the PF first, over TLS", "MSR-4975-5.4-22", lambda: spoken_first(by_pf=True, tls=True), NONE),
    ("the peer first", "MSR-4975-5.4-22", lambda: spoken_first(by_pf=False), PASS),
    ("nobody", "MSR-4975-5.4-22", said_nothing, PASS),
    ("moved", "MSR-4975-5.4-23", lambda: moved(negotiated=False), FAIL),
    ("moved, once agreed anew", "MSR-4975-5.4-23", lambda: moved(negotiated=True), PASS),
    ("not moved", "MSR-4975-5.4-23", chunked, PASS),
    ("another connection", "MSR-4975-5.4-24", intruder, FAIL),
    ("another connection, refused", "MSR-4975-5.4-24", lambda: intruder(506), PASS),
    ("another connection, no answer", "MSR-4975-5.4-24", lambda: intruder(None), NONE),
    ("another connection after the first", "MSR-4975-5.4-24", lambda: intruder(torn=True), NONE),
    ("another connection once agreed anew", "MSR-4975-5.4-24", lambda: intruder(anew=True), NONE),
    ("another connection for nobody", "MSR-4975-5.4-24", lambda: intruder(known=False), NONE),
    ("two connections at once", "MSR-4975-5.4-24", lambda: intruder(early=True), PASS),
    ("the first was refused", "MSR-4975-5.4-24", lambda: intruder(first=413), NONE),
]


ROWS = [*ANSWERS, *CONNECTIONS]


@pytest.mark.parametrize(
    ("requirement", "build", "told"), [row[1:] for row in ROWS], ids=[f"{row[1]}-{row[0]}" for row in ROWS]
)
def test_the_octets_that_break_a_rule_and_their_legal_neighbours(requirement: str, build: Build, told: Told) -> None:
    assert verdicts(build().scene, requirement) == told


def test_a_rule_that_is_broken_often_is_told_three_times() -> None:
    found = of(asked_and(times=6).scene, "MSR-4975-7.2-22")
    assert [one.reason.partition("; ")[2] for one in found] == ["", "", "2 more"]
