"""DLV-4.x and 5.x: what becomes of a message after its session."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cpmspec.judge.verdict import Verdict
from scene import ALICE, Scene, Sent, Session, delivered

QUIET = replace(ALICE, history=False)


def failed_once(status: int = 413) -> tuple[Scene, list[Sent]]:
    """Two messages, the second of which the client refused; the user has left."""
    scene = Scene(QUIET)
    messages = [scene.defer(), scene.defer()]
    scene.wait(5)
    scene.register()
    scene.notify(messages)
    session = scene.session()
    session.send(session.wrap(messages[0]))
    session.send(session.wrap(messages[1]), answer=status)
    session.bye()
    scene.register(expires=0)
    scene.wait(5)
    return scene, messages


def again(scene: Scene, messages: list[Sent]) -> Session:
    session = scene.session()
    for sent in messages:
        session.send(session.wrap(sent))
    session.bye()
    return session


def test_a_failed_message_delivered_later_is_right() -> None:
    scene, messages = failed_once()
    scene.register()
    scene.notify(messages[1:])
    again(scene, messages[1:])
    judgement = scene.judge()
    assert scene.broken() == set()
    assert judgement.of("DLV-4.1") is judgement.of("DLV-4.2") is judgement.of("DLV-4.3") is Verdict.PASS


def test_a_failed_message_dropped_breaks_4_1() -> None:
    scene, _ = failed_once()
    scene.register()
    scene.session(status=480)
    assert scene.broken() == {"DLV-4.1", "DLV-4.2"}


def test_a_failed_message_left_out_of_the_next_session_breaks_4_1() -> None:
    scene, messages = failed_once()
    third = scene.defer()
    scene.register()
    scene.notify([messages[1], third])
    again(scene, [third])
    assert scene.broken() == {"DLV-4.1"}


def test_a_failed_message_not_notified_breaks_4_2() -> None:
    scene, messages = failed_once()
    scene.register()
    scene.wait(3)
    again(scene, messages[1:])
    assert scene.broken() == {"DLV-4.2"}
    scene.explicit = ()
    assert scene.judge().of("DLV-4.2") is Verdict.INCONC


def test_a_retrieval_before_the_notification_was_due_decides_nothing() -> None:
    scene, messages = failed_once()
    scene.register()
    again(scene, messages[1:])
    assert scene.judge().of("DLV-4.2") is Verdict.NONE


def test_a_notification_that_crosses_the_retrieval_counts() -> None:
    scene, messages = failed_once()
    scene.register()
    session = scene.session()
    scene.notify(messages[1:])
    session.send(session.wrap(messages[1]))
    session.bye()
    assert scene.judge().of("DLV-4.2") is Verdict.PASS


def test_a_count_that_leaves_it_out_breaks_4_2() -> None:
    scene, messages = failed_once()
    third = scene.defer()
    scene.register()
    scene.notify([third])
    again(scene, [messages[1], third])
    assert scene.broken() == {"DLV-4.2"}


def test_a_complete_list_that_names_another_breaks_4_2() -> None:
    scene, messages = failed_once()
    third = scene.defer()
    scene.register()
    scene.notify([third, third])
    again(scene, [messages[1], third])
    assert scene.broken() == {"DLV-4.2"}


def test_a_cut_list_with_the_right_count_is_right() -> None:
    scene, messages = failed_once()
    third = scene.defer()
    scene.register()
    scene.notify([third], count=2)
    again(scene, [messages[1], third])
    assert scene.broken() == set()


def test_a_delivered_message_sent_again_breaks_4_3() -> None:
    scene = Scene(QUIET)
    sent = scene.defer()
    scene.wait(5)
    delivered(scene, [sent], recorded=False)
    scene.register()
    again(scene, [sent])
    assert scene.broken() == {"DLV-4.3"}


def test_a_delivered_message_notified_again_breaks_4_3() -> None:
    scene = Scene(QUIET)
    sent = scene.defer()
    scene.wait(5)
    delivered(scene, [sent], recorded=False)
    scene.register()
    scene.notify([sent])
    scene.session(status=480)
    assert scene.broken() == {"DLV-4.3"}


def test_delivered_again_is_not_held_against_a_pf_that_may_not_have_read_the_200() -> None:
    scene = Scene(QUIET)
    sent = scene.defer()
    scene.wait(5)
    scene.register()
    session = scene.session()
    session.send(session.wrap(sent))
    session.reset()
    scene.wait(5)
    again(scene, [sent])
    assert scene.broken() == set()


def test_an_unanswered_message_counts_as_failed() -> None:
    scene = Scene(QUIET)
    sent = scene.defer()
    scene.wait(5)
    scene.register()
    session = scene.session()
    session.send(session.wrap(sent), answer=None)
    scene.wait(31)
    session.bye()
    scene.register(expires=0)
    scene.register()
    scene.session(status=480)
    assert {"DLV-4.1", "DLV-4.2"} <= scene.broken()


def test_a_delivered_message_not_recorded_breaks_5_1() -> None:
    scene = Scene()
    sent = scene.defer()
    scene.wait(5)
    delivered(scene, [sent], recorded=False)
    assert scene.broken() == {"DLV-5.1"}


def test_a_late_record_breaks_5_1_where_the_profile_sets_the_limit() -> None:
    scene = Scene()
    sent = scene.defer()
    scene.wait(5)
    delivered(scene, [sent], recorded=False)
    scene.wait(6)
    scene.record(sent)
    assert scene.broken() == {"DLV-5.1"}
    scene.explicit = ()
    assert scene.judge().of("DLV-5.1") is Verdict.INCONC


def test_a_record_in_another_account_does_not_count() -> None:
    scene = Scene()
    sent = scene.defer()
    scene.wait(5)
    delivered(scene, [sent], recorded=False)
    scene.record(sent, account="mallory")
    assert scene.broken() == {"DLV-5.1"}


def test_a_store_that_refuses_is_not_the_pfs_fault() -> None:
    scene = Scene()
    sent = scene.defer()
    scene.wait(5)
    delivered(scene, [sent], recorded=False)
    scene.record(sent, answer="NO")
    assert scene.broken() == set()


def test_a_record_with_the_setting_off_breaks_5_2() -> None:
    scene = Scene(QUIET)
    sent = scene.defer()
    scene.wait(5)
    delivered(scene, [sent])
    scene.record(sent)
    assert scene.broken() == {"DLV-5.2"}


def test_a_record_before_the_answer_breaks_5_3() -> None:
    scene = Scene()
    sent = scene.defer()
    scene.wait(5)
    scene.register()
    session = scene.session()
    octets = session.wrap(sent).render()
    tid = session.chunk("multipart/mixed;boundary=b0und", "idz0", octets, 1, len(octets), "$", None)
    scene.record(sent)
    session.reply(tid)
    session.bye()
    assert scene.broken() == {"DLV-5.3"}


def test_a_record_of_a_failed_message_breaks_5_3() -> None:
    scene = Scene()
    sent = scene.defer()
    scene.wait(5)
    scene.register()
    session = scene.session()
    session.send(session.wrap(sent), answer=413)
    session.bye()
    scene.record(sent)
    assert scene.broken() == {"DLV-5.3"}


@pytest.mark.parametrize("octets", [b"Subject: nothing\r\n\r\nnothing", None])
def test_an_object_without_the_message_or_twice_breaks_5_4(octets: bytes | None) -> None:
    scene = Scene()
    sent = scene.defer()
    scene.wait(5)
    delivered(scene, [sent], recorded=octets is None)
    if octets is None:
        scene.record(sent)
    else:
        scene.record(sent, octets=f"Call-ID: {sent.call_id}\r\n".encode() + octets)
    assert scene.broken() == {"DLV-5.4"}


@pytest.mark.parametrize("report", [True, False])
def test_a_success_report_that_was_asked_for_decides_too(report: bool) -> None:
    scene = Scene(QUIET)
    sent = scene.defer()
    scene.wait(5)
    scene.register()
    session = scene.session()
    octets = session.wrap(sent).render()
    session.chunk("multipart/mixed;boundary=b0und", "idr0", octets, 1, len(octets), "$", 200, Success_Report="yes")
    if report:
        head = f"MSRP rep0rt REPORT\r\nTo-Path: {session.pf_path}\r\nFrom-Path: {session.path}\r\nMessage-ID: idr0\r\n"
        text = f"{head}Byte-Range: 1-{len(octets)}/{len(octets)}\r\nStatus: 000 200 OK\r\n-------rep0rt$\r\n"
        from cpmspec.evidence.trace import Pco, Role

        scene.put(Pco.MSRP, Role.CLIENT, Role.IUT, text.encode(), connection=session.connection)
    session.bye()
    scene.register(expires=0)
    scene.register()
    scene.session(status=480)
    assert ("DLV-4.1" in scene.broken()) is not report


def test_a_queue_that_may_be_busy_may_be_refused_once() -> None:
    scene = Scene(QUIET)
    sent = scene.defer()
    scene.wait(5)
    scene.register()
    session = scene.session()
    session.send(session.wrap(sent), answer=None)
    session.bye()
    scene.session(status=480)
    assert "DLV-4.1" not in scene.judge().requirements
    scene.wait(40)
    scene.session(status=480)
    assert "DLV-4.1" in scene.broken()
