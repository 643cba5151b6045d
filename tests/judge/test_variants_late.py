"""A suite that read late must not take its own lateness for the IUT's: times prove only what is beyond it."""

from __future__ import annotations

from dataclasses import replace

from cpmspec.judge.verdict import Blame, Verdict
from scene import ALICE, Scene, Sent, Session, delivered

QUIET = replace(ALICE, history=False)
SECOND = 1_000_000


def opened(**options: bool) -> tuple[Scene, Session, Sent]:
    """A session with one waiting message."""
    scene = Scene(QUIET)
    message = scene.defer("pager", QUIET)
    scene.wait(5)
    scene.register(QUIET)
    return scene, scene.session(QUIET, **options), message


def sent(session: Session, message: Sent) -> str:
    """The message in one SEND without an answer; its transaction identifier."""
    wrapped = session.wrap(message)
    octets = wrapped.render()
    return session.chunk(wrapped.content_type, "idy0", octets, 1, len(octets), "$", None)


def unanswered(wait: float) -> Scene:
    """A BYE so long after a SEND without an answer; the response timer has 30 s."""
    scene, session, message = opened()
    sent(session, message)
    scene.wait(wait)
    session.bye()
    return scene


def test_a_chunk_read_late_does_not_make_the_bye_early() -> None:
    scene = unanswered(25)
    assert "DLV-3.2b" in scene.broken()
    scene.read_late_us = 3 * SECOND
    assert "DLV-3.2b" not in scene.broken()
    assert scene.judge().of("DLV-3.2b") is Verdict.PASS


def test_a_bye_that_is_early_beyond_our_lateness_is_early() -> None:
    scene = unanswered(20)
    scene.read_late_us = 3 * SECOND
    assert "DLV-3.2b" in scene.broken()


def test_where_lateness_alone_excuses_the_iut_nothing_is_decided() -> None:
    scene = unanswered(10)
    scene.read_late_us = 20 * SECOND
    (finding,) = [one for one in scene.judge().findings if one.requirement == "DLV-3.2b"]
    assert (finding.verdict, finding.blame) == (Verdict.INCONC, Blame.ENVIRONMENT)


def test_a_bye_read_late_is_not_late() -> None:
    scene, session, message = opened()
    session.send(session.wrap(message))
    scene.wait(6)
    session.bye()
    assert scene.broken() == {"DLV-3.4"}
    scene.read_late_us = 2 * SECOND
    assert scene.broken() == set()
    scene.read_late_us = SECOND // 2
    assert scene.broken() == {"DLV-3.4"}


def test_a_record_read_late_is_not_late() -> None:
    scene = Scene(ALICE)
    message = scene.defer("pager")
    scene.wait(5)
    delivered(scene, [message], recorded=False)
    scene.wait(6)
    scene.record(message)
    assert scene.broken() == {"DLV-5.1"}
    scene.read_late_us = 2 * SECOND
    assert scene.broken() == set()


def test_a_2xx_read_late_was_not_overtaken() -> None:
    scene, session, message = opened(answered=False)
    session.send(session.wrap(message))
    scene.wait(4)
    session.answer()
    session.bye()
    assert "DLV-0.1" in scene.broken()
    scene.read_late_us = 2 * SECOND
    assert "DLV-0.1" not in scene.broken()


def test_an_answer_near_the_end_of_the_timer_decides_nothing() -> None:
    """The chunk was read late, so the IUT's timer may have run out before our 200: it need not count as delivered."""
    scene, session, message = opened()
    tid = sent(session, message)
    scene.wait(26)
    session.reply(tid)
    session.bye()
    scene.register(QUIET, 0)
    scene.wait(10)
    again = delivered(scene, [message], QUIET)
    assert again
    assert "DLV-4.3" in scene.broken()
    scene.read_late_us = 2 * SECOND
    assert "DLV-4.3" not in scene.broken()
