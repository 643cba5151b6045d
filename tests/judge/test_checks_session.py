"""DLV-0.1, 0.2, 1.x and 3.x: what breaks the session's rules, and what only looks like it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from cpmspec.evidence.context import ServedUser
from cpmspec.evidence.trace import Pco
from cpmspec.judge.verdict import Blame, Verdict
from scene import ALICE, Scene, Sent, Session, delivered

PUSHED = replace(ALICE, establishment="push")
QUIET = replace(ALICE, history=False)
CAROL = ServedUser("sip:carol@example.com", history=False, establishment="pull", account="carol")


def opened(
    user: ServedUser = QUIET, count: int = 2, mode: str = "pager", **options: object
) -> tuple[Scene, Session, list[Sent]]:
    scene = Scene(user, CAROL)
    messages = [scene.defer(mode, user) for _ in range(count)]
    scene.wait(5)
    scene.register(user)
    return scene, scene.session(user, **options), messages


def test_a_push_before_the_2xx_breaks_0_1() -> None:
    scene, session, messages = opened(replace(PUSHED, history=False), answered=False)
    session.send(session.wrap(messages[0]))
    session.answer()
    session.send(session.wrap(messages[1]))
    session.bye()
    # a path that no description has named yet belongs to no session, whichever way it is seen
    assert scene.broken() == {"DLV-0.1"}


def test_a_retrieval_answered_only_after_the_quiet_period_breaks_0_1() -> None:
    scene, session, messages = opened(answered=False)
    tids = []
    for index, sent in enumerate(messages):
        octets = session.wrap(sent).render()
        tids.append(session.chunk("multipart/mixed;boundary=b0und", f"idx{index}", octets, 1, len(octets), "$", None))
    scene.wait(4)
    for tid in tids:
        session.reply(tid)
    session.answer()
    session.bye()
    assert scene.broken() == {"DLV-0.1"}


def test_a_2xx_that_a_send_overtakes_on_its_way_breaks_nothing() -> None:
    scene, session, messages = opened(answered=False)
    session.send(session.wrap(messages[0]))
    session.answer()
    session.send(session.wrap(messages[1]))
    session.bye()
    assert scene.broken() == set()


def test_a_send_to_an_unknown_session_breaks_0_1() -> None:
    scene, session, messages = opened(count=1)
    session.send(session.wrap(messages[0]))
    session.path = "msrp://127.0.0.1:5080/elsewhere;tcp"
    session.send(session.wrap(messages[0]))
    session.bye()
    assert scene.broken() == {"DLV-0.1"}


def test_the_mark_of_a_cpm_session_breaks_0_2() -> None:
    scene = Scene(QUIET)
    sent = scene.defer()
    scene.wait(5)
    scene.register()
    session = scene.session(answered=False)
    session.record_route.append(("P-Asserted-Service", "urn:urn-7:3gpp-service.ims.icsi.oma.cpm.session"))
    session.answer()
    session.send(session.wrap(sent))
    session.bye()
    assert scene.broken() == {"DLV-0.2"}


def test_a_message_left_out_breaks_1_1() -> None:
    scene, session, messages = opened()
    session.send(session.wrap(messages[0]))
    session.bye()
    assert scene.broken() == {"DLV-1.1"}


def test_a_refused_retrieval_with_messages_waiting_breaks_1_1() -> None:
    scene, _, _ = opened(status=480)
    assert scene.broken() == {"DLV-1.1"}


@pytest.mark.parametrize(
    "offer",
    [
        {"accept-types": "text/plain"},
        {"accept-wrapped-types": "image/png"},
        {"direction": "sendonly"},
        {"max-size": "200"},
    ],
)
def test_what_the_sdp_forbids_need_not_be_sent(offer: dict[str, str]) -> None:
    scene, session, _ = opened(offer=offer)
    session.bye()
    assert "DLV-1.1" not in scene.judge().requirements


@pytest.mark.parametrize(
    ("status", "excused"),
    [(413, False), (400, False), (403, False), (415, True), (481, True), (506, True), (499, True)],
)
def test_which_answers_excuse_the_rest(status: int, excused: bool) -> None:
    scene, session, messages = opened()
    session.send(session.wrap(messages[0]), answer=status)
    session.bye()
    assert ("DLV-1.1" not in scene.broken()) is excused


def test_a_session_that_the_client_ends_excuses_the_rest() -> None:
    scene, session, messages = opened()
    session.send(session.wrap(messages[0]))
    session.client_bye()
    assert scene.broken() == set()


def test_two_messages_in_one_break_1_2() -> None:
    scene, session, messages = opened()
    wrapped = session.wrap(messages[0])
    octets = wrapped.render().removesuffix(b"--b0und--\r\n")
    wrapped.octets = (
        octets + b"--b0und\r\nContent-Type: text/plain\r\n\r\n" + messages[1].content + b"\r\n--b0und--\r\n"
    )
    session.send(wrapped)
    session.bye()
    assert scene.broken() == {"DLV-1.2"}


def test_a_message_sent_twice_breaks_1_2() -> None:
    scene, session, messages = opened(count=1)
    session.send(session.wrap(messages[0]))
    session.send(session.wrap(messages[0]))
    session.bye()
    assert scene.broken() == {"DLV-1.2"}


def test_a_retry_of_what_failed_is_legal() -> None:
    scene, session, messages = opened(count=1)
    session.send(session.wrap(messages[0]), message_id="same1", answer=400)
    session.send(session.wrap(messages[0]), message_id="same1")
    session.bye()
    assert scene.broken() == set()


def test_a_message_of_somebody_else_breaks_1_3() -> None:
    scene, session, messages = opened()
    other = scene.defer("pager", CAROL)
    for sent in (*messages, other):
        session.send(session.wrap(sent))
    session.bye()
    assert "DLV-1.3" in scene.broken()


def test_a_message_that_nobody_sent_breaks_1_3() -> None:
    scene, session, messages = opened(count=1)
    session.send(session.wrap(messages[0]))
    wrapped = session.wrap(messages[0])
    wrapped.sip = [("From", "<sip:x@y>"), ("To", f"<{ALICE.uri}>"), ("Call-ID", "nobody@x")]
    wrapped.body = b"never sent"
    session.send(wrapped)
    session.bye()
    assert scene.broken() == {"DLV-1.3"}


def test_no_bye_breaks_3_1() -> None:
    scene, session, messages = opened(count=1)
    session.send(session.wrap(messages[0]))
    assert scene.broken() == {"DLV-3.1"}


def test_our_bye_after_the_window_excuses_nothing() -> None:
    scene, session, messages = opened(count=1)
    session.send(session.wrap(messages[0]))
    scene.wait(7)
    session.client_bye()
    assert "DLV-3.1" in scene.broken()


def test_no_bye_after_a_failed_last_message_breaks_3_4_too() -> None:
    scene, session, messages = opened(count=1)
    session.send(session.wrap(messages[0]), answer=413)
    assert {"DLV-3.1", "DLV-3.4"} <= scene.broken()


def test_what_arrives_a_quiet_period_after_the_bye_breaks_3_2() -> None:
    scene, session, messages = opened()
    session.send(session.wrap(messages[0]))
    session.bye()
    scene.wait(4)
    session.send(session.wrap(messages[1]))
    assert "DLV-3.2" in scene.broken()


def test_what_a_bye_overtook_breaks_nothing() -> None:
    scene, session, messages = opened()
    session.send(session.wrap(messages[0]))
    session.bye()
    session.send(session.wrap(messages[1]))
    assert "DLV-3.2" not in scene.broken()


def test_a_message_cut_off_by_the_bye_breaks_3_2() -> None:
    scene, session, messages = opened(mode="large")
    session.send(session.wrap(messages[0]))
    session.send(session.wrap(messages[1]), chunks=3, cut=2)
    session.bye()
    assert "DLV-3.2" in scene.broken()


def test_a_bye_with_an_answer_outstanding_breaks_3_2b_only_where_it_binds() -> None:
    scene, session, messages = opened(count=1)
    wrapped = session.wrap(messages[0])
    tid = session.chunk(wrapped.content_type, "idy0", wrapped.render(), 1, len(wrapped.render()), "$", None)
    session.bye()
    session.reply(tid)
    assert "DLV-3.2b" in scene.broken()
    scene.binds = ()
    finding = next(one for one in scene.judge().findings if one.requirement == "DLV-3.2b")
    assert (finding.verdict, finding.blame) == (Verdict.INCONC, Blame.INTERPRETATION)


@pytest.mark.parametrize(
    "bent",
    [
        {"routes": []},
        {"routes": ["<sip:core-b;lr>", "<sip:core-a;lr>"]},
        {"uri": "sip:alice@example.com"},
        {"from_tag": "other"},
        {"to_tag": "other"},
        {"pco": Pco.GM},
    ],
)
def test_a_bye_out_of_the_dialog_breaks_3_3(bent: dict[str, Any]) -> None:
    scene, session, messages = opened(count=1)
    session.send(session.wrap(messages[0]))
    session.bye(**bent)
    assert scene.broken() == {"DLV-3.3"}


def test_a_push_reverses_the_route_set() -> None:
    user = replace(PUSHED, history=False)
    scene, session, messages = opened(user, count=1)
    session.send(session.wrap(messages[0]))
    session.bye(routes=["<sip:core-a;lr>", "<sip:core-b;lr>"])
    assert scene.broken() == {"DLV-3.3"}


def test_a_cseq_that_does_not_rise_breaks_3_3() -> None:
    scene, session, messages = opened(replace(PUSHED, history=False), count=1)
    session.send(session.wrap(messages[0]))
    session.bye(cseq=1)
    assert scene.broken() == {"DLV-3.3"}


def test_two_byes_break_3_4() -> None:
    scene, session, messages = opened(count=1)
    session.send(session.wrap(messages[0]))
    session.bye()
    session.bye(cseq=3)
    assert scene.broken() == {"DLV-3.4"}


def test_a_retransmitted_bye_is_one_bye() -> None:
    scene, session, messages = opened(count=1)
    session.send(session.wrap(messages[0]))
    session.bye(answered=False)
    scene.wait(0.5)
    again = replace(scene.frames[-1], time_us=scene.us)
    scene.frames.append(again)
    assert scene.broken() == set()


def test_a_late_bye_breaks_3_4_where_the_profile_sets_the_limit() -> None:
    scene, session, messages = opened(count=1)
    session.send(session.wrap(messages[0]))
    scene.wait(6)
    session.bye()
    assert scene.broken() == {"DLV-3.4"}
    scene.explicit = ()
    assert scene.judge().of("DLV-3.4") is Verdict.INCONC


def test_a_vanished_iut_breaks_nothing_by_absence() -> None:
    scene, session, messages = opened()
    session.send(session.wrap(messages[0]))
    scene.iut_gone_us = scene.us
    judgement = scene.judge()
    assert scene.broken() == set()
    assert (judgement.verdict, judgement.blame) == (Verdict.INCONC, Blame.IUT)


def test_before_the_closing_nothing_is_missing_yet() -> None:
    scene, session, messages = opened(count=1)
    session.send(session.wrap(messages[0]))
    scene.closed = False
    assert scene.judge().verdict is Verdict.PASS
    scene.closed = True
    scene.purposes = ("DLV-3.1",)
    assert scene.judge().verdict is Verdict.FAIL


def test_a_purpose_that_did_not_occur_is_inconclusive() -> None:
    scene = Scene(QUIET)
    delivered(scene, [scene.defer()])
    scene.purposes = ("DLV-4.1",)
    judgement = scene.judge()
    assert (judgement.verdict, judgement.blame) == (Verdict.INCONC, Blame.PREAMBLE)


def test_a_message_that_only_looks_alike_is_not_taken_for_ours() -> None:
    scene, session, messages = opened(count=1)
    session.send(session.wrap(messages[0]))
    wrapped = session.wrap(messages[0])
    wrapped.sip = [
        (
            name,
            {"From": "<sip:bob@example.com>;tag=x", "To": "<sip:dave@example.com>", "Call-ID": "c@x"}.get(name, value),
        )
        for name, value in wrapped.sip
        if name != "Contribution-ID"
    ]
    wrapped.body = b"somebody else's"
    session.send(wrapped)
    session.bye()
    assert scene.broken() == {"DLV-1.3"}


@pytest.mark.parametrize("gone_after", [0.5, None])
def test_what_an_iut_that_is_told_to_stop_ends_is_not_held_against_it(gone_after: float | None) -> None:
    scene, session, messages = opened(count=2)
    wrapped = session.wrap(messages[0])
    octets = wrapped.render()
    session.chunk(wrapped.content_type, "idq0", octets, 1, len(octets), "$", None)
    session.bye()
    scene.session(QUIET, status=503)
    if gone_after is not None:
        scene.iut_gone_us = scene.us + round(gone_after * 1_000_000)
        assert scene.broken() == set()
    else:
        assert {"DLV-1.1", "DLV-3.2b"} & scene.broken()
