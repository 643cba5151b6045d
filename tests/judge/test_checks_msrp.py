"""The MSRP requests of the PF seen together, and what follows from refusals: what breaks each rule, what does not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cpmspec.evidence.trace import Pco, Role
from msrp_scene import (
    FAIL,
    NONE,
    OPEN,
    PASS,
    QUIET,
    REMARK,
    TYPE,
    Build,
    Row,
    Told,
    chunked,
    halves,
    one_chunk,
    opened,
    piece,
    replied,
    report,
    verdicts,
    whole,
)  # fmt: skip
from scene import Scene, Session

# --- identifiers and paths -------------------------------------------------------------------------------------------


def two_with_one_tid(*, answered: bool, waiting: float = 0, failure_report: str | None = None) -> Session:
    session = opened()
    first, rest, size = halves(session)
    status = 200 if answered else None
    piece(session, first, 1, size, "+", tid="same1", status=status, Failure_Report=failure_report)
    session.scene.wait(waiting)
    piece(session, rest, len(first) + 1, size, "$", tid="same1", Failure_Report=failure_report)
    return session


def sent_with(**head: object) -> Session:
    session = opened()
    octets = whole(session)
    piece(session, octets, 1, len(octets), "$", **head)
    return session


def in_other_letters() -> Session:
    session = opened()
    octets = whole(session)
    path = session.path.replace("msrp", "MSRP").replace("tcp", "TCP")
    piece(session, octets, 1, len(octets), "$", To_Path=path)
    return session


def through_a_relay(order: int) -> Session:
    """The client gave a path over a relay; ``order`` turns it round."""
    scene = Scene(QUIET)
    sent = scene.defer()
    scene.wait(5)
    uris = ["msrp://relay.example.com:2855/r1;tcp", "msrp://127.0.0.1:5080/cl3;tcp"]
    session = scene.session(path=" ".join(uris))
    octets = session.wrap(sent).render()
    session.path = " ".join(uris[::order])
    piece(session, octets, 1, len(octets), "$")
    return session


def own_relay() -> Session:
    """The PF's own path has a relay in it, and so has the From-Path of what comes from it."""
    session = opened()
    octets = whole(session)
    path = session.pf_path
    session.scene.frames = [
        replace(
            frame,
            octets=frame.octets.replace(
                b"a=path:" + path.encode(), b"a=path:msrp://r.example.com:1/q;tcp " + path.encode()
            ),
        )
        for frame in session.scene.frames
    ]
    piece(session, octets, 1, len(octets), "$", From_Path=f"msrp://r.example.com:1/q;tcp {path}")
    return session


IDENTIFIERS: list[Row] = [
    ("used again while out", "MSR-4975-7.1-21", lambda: two_with_one_tid(answered=False), FAIL),
    ("used again once answered", "MSR-4975-7.1-21", lambda: two_with_one_tid(answered=True), PASS),
    ("used again when it had run out", "MSR-4975-7.1-21", lambda: two_with_one_tid(answered=False, waiting=31), PASS),
    ("no answer asked for", "MSR-4975-7.1-21", lambda: two_with_one_tid(answered=False, failure_report="no"), PASS),
    ("another host", "MSR-4975-7.1-22", lambda: sent_with(To_Path="msrp://127.0.0.2:5080/cl3;tcp"), FAIL),
    ("the path", "MSR-4975-7.1-22", sent_with, PASS),
    ("the path, in other letters", "MSR-4975-7.1-22", in_other_letters, PASS),
    ("a path over a relay", "MSR-4975-7.1-22", lambda: through_a_relay(1), PASS),
    ("a path over a relay, turned round", "MSR-4975-7.1-22", lambda: through_a_relay(-1), FAIL),
    ("a foreign From-Path", "MSR-4975-7.1-23", lambda: sent_with(From_Path="msrp://127.0.0.1:5060/other;tcp"), FAIL),
    ("no From-Path", "MSR-4975-7.1-23", lambda: sent_with(From_Path=None), FAIL),
    ("the own path", "MSR-4975-7.1-23", sent_with, PASS),
    ("the own path over a relay", "MSR-4975-7.1-23", own_relay, PASS),
]


# --- chunks ----------------------------------------------------------------------------------------------------------


def begun_in_the_middle(*, cut: bool = False) -> Session:
    """The first chunk that is seen is not the first one; ``cut``: the connection was not seen from its beginning."""
    scene = Scene(QUIET)
    sent = scene.defer()
    scene.wait(5)
    session = scene.session()
    if not cut:
        scene.open(Pco.MSRP, Role.CLIENT, session.connection)
    octets = session.wrap(sent).render()
    piece(session, octets[100:], 101, len(octets), "$")
    return session


def refused_and_again() -> Session:
    """A chunk was refused; what follows may be anything."""
    session = opened()
    first, rest, size = halves(session)
    piece(session, first, 1, size, "+", status=400)
    piece(session, rest, 7, size, "$")
    return session


def unanswered_and_again() -> Session:
    session = opened()
    first, rest, size = halves(session)
    piece(session, first, 1, size, "+", status=None)
    session.scene.wait(40)
    piece(session, rest, 7, size, "$")
    return session


def in_a_later_session() -> Session:
    """A message that a broken connection cut goes on where it stopped, in another session."""
    session = opened()
    first, rest, size = halves(session)
    piece(session, first, 1, size, "+", status=None)
    session.reset()
    session.scene.wait(40)
    later = session.scene.session()
    session.scene.open(Pco.MSRP, Role.CLIENT, later.connection)
    piece(later, rest, len(first) + 1, size, "$", To_Path=later.path, From_Path=later.pf_path)
    return later


def never_ended() -> Session:
    """A chunk without its end, and another one with the same Message-ID on the same connection's next life."""
    session = opened()
    first, _, size = halves(session)
    head = "MSRP cutoff SEND\r\nTo-Path: {}\r\nFrom-Path: {}\r\nMessage-ID: idone\r\nByte-Range: 1-*/{}\r\n"
    text = head.format(session.path, session.pf_path, size) + f"Content-Type: {TYPE}\r\n\r\n"
    session.scene.put(Pco.MSRP, Role.IUT, Role.CLIENT, text.encode() + first, connection=session.connection)
    return session


def goes_on_after_abort(start: int | None) -> Session:
    session = opened()
    first, rest, size = halves(session)
    piece(session, first, 1, size, "#")
    if start is not None:
        piece(session, rest, start, size, "$")
    return session


def two_messages(second: str) -> Session:
    session = opened(2)
    for index, message_id in enumerate(("idone", second)):
        octets = whole(session, index)
        piece(session, octets, 1, len(octets), "$", Message_ID=message_id)
    return session


def unidentified() -> Session:
    """A message that is nobody's: nothing can be said of its Message-ID."""
    session = opened()
    octets = b"--b0und\r\n\r\nnobody's\r\n--b0und--\r\n"
    for _ in range(2):
        piece(session, octets, 1, len(octets), "$")
    return session


CHUNKS: list[Row] = [
    ("renamed in its middle", "MSR-4975-7.1.1-21", lambda: chunked(Message_ID="idtwo"), FAIL),
    ("one name", "MSR-4975-7.1.1-21", chunked, PASS),
    ("one chunk", "MSR-4975-7.1.1-21", one_chunk, NONE),
    ("renamed is not out of order", "MSR-4975-7.1.1-23", lambda: chunked(Message_ID="idtwo"), PASS),
    ("renamed, and elsewhere", "MSR-4975-7.1.1-23", lambda: chunked(Message_ID="idtwo", start=3), FAIL),
    ("begun in the middle", "MSR-4975-7.1.1-23", begun_in_the_middle, FAIL),
    ("a trace that begins in the middle", "MSR-4975-7.1.1-23", lambda: begun_in_the_middle(cut=True), PASS),
    ("a gap", "MSR-4975-7.1.1-23", lambda: chunked(start=3002), FAIL),
    ("an overlap", "MSR-4975-7.1.1-23", lambda: chunked(start=3000), FAIL),
    ("in order", "MSR-4975-7.1.1-23", chunked, PASS),
    ("after a refusal", "MSR-4975-7.1.1-23", refused_and_again, PASS),
    ("after the timer", "MSR-4975-7.1.1-23", unanswered_and_again, PASS),
    ("in a later session", "MSR-4975-7.1.1-23", in_a_later_session, PASS),
    ("cut off", "MSR-4975-7.1.1-23", never_ended, PASS),
    ("without a place", "MSR-4975-7.1.1-24", lambda: chunked(Byte_Range=None), FAIL),
    ("with its place", "MSR-4975-7.1.1-24", chunked, PASS),
    ("the first without a place", "MSR-4975-7.1.1-25", lambda: one_chunk(Byte_Range=None), REMARK),
    ("the first with its place", "MSR-4975-7.1.1-25", one_chunk, PASS),
    ("no abort", "MSR-4975-7.1-24", chunked, NONE),
    ("an abort", "MSR-4975-7.1-24", lambda: goes_on_after_abort(None), PASS),
    ("an abort and another try", "MSR-4975-7.1-24", lambda: goes_on_after_abort(1), PASS),
    ("more after an abort", "MSR-4975-7.1-24", lambda: goes_on_after_abort(3001), FAIL),
    ("a name for two", "MSR-4975-7.1.1-22", lambda: two_messages("idone"), FAIL),
    ("a name for each", "MSR-4975-7.1.1-22", lambda: two_messages("idtwo"), PASS),
    ("a name for what nobody knows", "MSR-4975-7.1.1-22", unidentified, NONE),
    ("two totals", "MSR-4975-7.1.1-26", lambda: chunked(Byte_Range="3001-9000/9000"), OPEN),
    ("a wrong total", "MSR-4975-7.1.1-26", lambda: one_chunk(total=99999), OPEN),
    ("no total", "MSR-4975-7.1.1-26", lambda: one_chunk(total="*"), NONE),
    ("a total of what did not come", "MSR-4975-7.1.1-26", lambda: one_chunk("+", cut=9), PASS),
    ("a short one", "MSR-4975-7.1.1-27", lambda: short_first(Byte_Range=None), REMARK),
    ("a short one that was interrupted", "MSR-4975-7.1.1-27", lambda: short_first(Byte_Range="1-*/*"), NONE),
    ("none short", "MSR-4975-7.1.1-27", chunked, PASS),
    ("other reports", "MSR-4975-7.1.1-28", lambda: chunked(Success_Report="yes"), FAIL),
    ("other failure reports", "MSR-4975-7.1.1-28", lambda: chunked(Failure_Report="no"), FAIL),
    ("said and left out", "MSR-4975-7.1.1-28", lambda: chunked(Failure_Report="yes", Success_Report="no"), PASS),
    ("reports of one chunk", "MSR-4975-7.1.1-28", one_chunk, NONE),
]


def short_first(**head: object) -> Session:
    session = opened()
    first, rest, size = halves(session, size=500)
    piece(session, first, 1, size, "+", **head)
    piece(session, rest, 501, size, "$")
    return session


# --- after a failure -------------------------------------------------------------------------------------------------


def refused(status: int, *, then: str = "other", waiting: float = 10, by_report: bool = False) -> Session:
    """The first message is refused; ``then`` says what the PF sends later."""
    session = opened(2)
    octets, other = whole(session), whole(session, 1)
    piece(session, octets[:3000], 1, len(octets), "+", status=None if by_report else status, Failure_Report="yes")
    if by_report:
        report(session, "rep1", f"000 {status}", by=Role.CLIENT, Message_ID="idone")
    if then == "anew":
        session.again()
    session.scene.wait(waiting)
    if then == "more":
        piece(session, octets[3000:], 3001, len(octets), "$")
    elif then in ("again", "anew"):
        piece(session, octets, 1, len(octets), "$")
    elif then == "other":
        piece(session, other, 1, len(other), "$", Message_ID="idtwo")
    elif then == "elsewhere":
        connection = session.scene.connection("other")
        piece(session, other, 1, len(other), "$", Message_ID="idtwo", connection=connection)
    return session


def while_sending(status: int, flag: str, seconds: float) -> Session:
    """A message is refused while a chunk of it is being sent, which then goes on for so long."""
    session = opened()
    first, rest, size = halves(session)
    tid = piece(session, first, 1, size, "+", status=None)
    head = [
        ("To-Path", session.path), ("From-Path", session.pf_path), ("Message-ID", "idone"),
        ("Byte-Range", f"3001-*/{size}"), ("Content-Type", TYPE),
    ]  # fmt: skip
    text = "MSRP longer SEND\r\n" + "".join(f"{name}: {value}\r\n" for name, value in head) + "\r\n"
    scene = session.scene
    scene.put(Pco.MSRP, Role.IUT, Role.CLIENT, text.encode() + rest[:500], connection=session.connection)
    replied(session, tid, status)
    scene.wait(seconds)
    end = rest[500:] + f"\r\n-------longer{flag}\r\n".encode() if flag else rest[500:]
    scene.put(Pco.MSRP, Role.IUT, Role.CLIENT, end, connection=session.connection)
    return session


REACTIONS: list[Row] = [
    ("413 and on", "MSR-4975-10.5-21", lambda: refused(413, then="more"), FAIL),
    ("413 and again", "MSR-4975-10.5-21", lambda: refused(413, then="again"), FAIL),
    ("413 and on, on the way already", "MSR-4975-10.5-21", lambda: refused(413, then="more", waiting=1), PASS),
    ("413 and another message", "MSR-4975-10.5-21", lambda: refused(413), PASS),
    ("413 by a REPORT", "MSR-4975-10.5-21", lambda: refused(413, then="again", by_report=True), FAIL),
    ("no 413", "MSR-4975-10.5-21", chunked, NONE),
    ("413 while sending", "MSR-4975-10.5-22", lambda: while_sending(413, "$", 10), FAIL),
    ("413 while sending, given up", "MSR-4975-10.5-22", lambda: while_sending(413, "#", 10), PASS),
    ("413 while sending, at its end", "MSR-4975-10.5-22", lambda: while_sending(413, "$", 1), PASS),
    ("413 while sending what never ended", "MSR-4975-10.5-22", lambda: while_sending(413, "", 10), NONE),
    ("413 between chunks", "MSR-4975-10.5-22", lambda: refused(413), NONE),
    ("a failure while sending", "MSR-4975-7.3.2-22", lambda: while_sending(400, "$", 10), REMARK),
    ("a failure while sending, given up", "MSR-4975-7.3.2-22", lambda: while_sending(400, "#", 10), PASS),
    ("403 and again", "MSR-4975-10.3-21", lambda: refused(403, then="again"), REMARK),
    ("403 and another message", "MSR-4975-10.3-21", lambda: refused(403), PASS),
    ("415 and more of it", "MSR-4975-10.6-21", lambda: refused(415), REMARK),
    ("415 and no more", "MSR-4975-10.6-21", lambda: refused(415, then="nothing"), PASS),
    ("481 and more", "MSR-4975-10.8-21", lambda: refused(481), REMARK),
    ("481 and no more", "MSR-4975-10.8-21", lambda: refused(481, then="nothing"), PASS),
    ("506 and more", "MSR-4975-10.10-21", lambda: refused(506), REMARK),
    ("506 and elsewhere", "MSR-4975-10.10-21", lambda: refused(506, then="elsewhere"), PASS),
    ("failed by a REPORT and again", "MSR-4975-7.3.2-21", lambda: refused(408, then="again", by_report=True), FAIL),
    ("failed by a REPORT, agreed anew", "MSR-4975-7.3.2-21", lambda: refused(408, then="anew", by_report=True), NONE),
    ("failed by a REPORT", "MSR-4975-7.3.2-21", lambda: refused(408, by_report=True), PASS),
    ("failed by an answer", "MSR-4975-7.3.2-21", lambda: refused(400, then="again"), NONE),
]


ROWS = [*IDENTIFIERS, *CHUNKS, *REACTIONS]


@pytest.mark.parametrize(
    ("requirement", "build", "told"), [row[1:] for row in ROWS], ids=[f"{row[1]}-{row[0]}" for row in ROWS]
)
def test_the_octets_that_break_a_rule_and_their_legal_neighbours(requirement: str, build: Build, told: Told) -> None:
    assert verdicts(build().scene, requirement) == told
