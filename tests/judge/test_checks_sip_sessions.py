"""Rules about making, using and ending the dialogs of the IUT: what breaks each, and neighbours that must not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from cpmspec.evidence.trace import Kind, Pco, Role
from cpmspec.judge.checks import sip_dialog_rules, sip_session_rules
from cpmspec.judge.verdict import Verdict
from scene import ALICE, PSI, Scene, Session, acknowledge, sdp, verdicts

PASS, FAIL, INCONC = Verdict.PASS, Verdict.FAIL, Verdict.INCONC
Pairs = Sequence[tuple[str, str]]
PULLED = replace(ALICE, history=False)
PUSHED = replace(PULLED, establishment="push")
VIA = "SIP/2.0/UDP 127.0.0.1:9;branch=z9hG4bK"
RECORDED = [("Record-Route", "<sip:core-a;lr>"), ("Record-Route", "<sip:core-b;lr>")]


def found(scene: Scene, rule: str) -> list[Verdict]:
    return verdicts(scene, (*sip_session_rules.RULES, *sip_dialog_rules.RULES), rule)


def pushed(**options: Any) -> tuple[Scene, Session]:
    scene = Scene(PUSHED)
    return scene, scene.session(PUSHED, **options)


def pulled(**options: Any) -> tuple[Scene, Session]:
    scene = Scene(PULLED)
    return scene, scene.session(PULLED, **options)


def in_dialog(
    session: Session, method: str, cseq: int, *, status: int | None = 200, ours: bool = False, tag: str | None = None,
    extra: Pairs = (), routes: Sequence[str] | None = None, uri: str | None = None, pco: Pco = Pco.ISC,
) -> None:  # fmt: skip
    """A request in the session's dialog, of the PF (``ours``: of our side), and its answer."""
    near, far = ("cl", "pf") if ours else ("pf", "cl")
    sender, receiver = (Role.CORE, Role.IUT) if ours else (Role.IUT, Role.CORE)
    default = [] if ours else ["<sip:core-a;lr>", "<sip:core-b;lr>"]
    if not ours and not session.pull:
        default.reverse()
    route = [("Route", one) for one in (default if routes is None else routes)]
    copied = session.scene.request(
        sender, receiver, method, uri or ("sip:pf" if ours else "sip:alice@client:5080"), "sip:x",
        f"<sip:y>;tag={tag or far}", session.call_id, [*route, *extra], cseq=cseq, from_tag=near, pco=pco,
    )  # fmt: skip
    if status is not None:
        session.scene.response(receiver, sender, status, copied)


def repeat(scene: Scene, octets: bytes, times: int = 1) -> None:
    """Our side sends a datagram again."""
    for _ in range(times):
        scene.put(Pco.ISC, Role.CORE, Role.IUT, octets)


# --- INVITE, 2xx, ACK ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("contacts", "expected"),
    [
        (["<sip:pf>"], [PASS]),
        (["sips:pf;x=y"], [PASS]),
        ([], [FAIL]),
        (["<sip:pf>", "<sip:pf2>"], [FAIL]),
        (["<tel:+1>"], [FAIL]),
    ],
)
def test_an_invite_says_where_it_comes_from(contacts: list[str], expected: list[Verdict]) -> None:
    scene = Scene(PUSHED)
    extra = [("Contact", one) for one in contacts]
    scene.request(Role.IUT, Role.CORE, "INVITE", ALICE.uri, "sip:pf", f"<{ALICE.uri}>", "c1", extra)
    assert found(scene, "SIP-3261-8.1.1.8-01") == expected


RULE_ACK = "SIP-3261-13.2.2.4-01"


def test_a_2xx_without_ack() -> None:
    scene, session = pushed(acked=False)
    assert found(scene, RULE_ACK) == [INCONC]  # the one datagram may have been lost
    repeat(scene, scene.frames[-1].octets)
    assert found(scene, RULE_ACK) == [FAIL]
    scene.iut_gone_us = scene.us
    assert found(scene, RULE_ACK) == [INCONC]
    scene.iut_gone_us, scene.closed = None, False
    assert found(scene, RULE_ACK) == [PASS]  # it may still come
    acknowledge(session)
    assert found(scene, RULE_ACK) == [PASS]


def test_an_iut_that_goes_on_has_read_the_2xx() -> None:
    scene, session = pushed(acked=False)
    session.bye()
    assert found(scene, RULE_ACK) == [FAIL]


def test_a_2xx_that_comes_again() -> None:
    scene, _ = pushed()
    answer = scene.frames[-2].octets
    repeat(scene, answer)  # it crossed the ACK
    assert found(scene, RULE_ACK) == [PASS]
    repeat(scene, answer)
    assert found(scene, RULE_ACK) == [FAIL]


def test_each_fork_has_its_ack() -> None:
    scene, session = pushed()
    scene.response(Role.CORE, Role.IUT, 200, session.copied, [("Contact", "<sip:other>")], to_tag="second")
    scene.response(Role.CORE, Role.IUT, 200, session.copied, [("Contact", "<sip:other>")], to_tag="second")
    assert found(scene, RULE_ACK) == [PASS, FAIL]


def test_a_2xx_by_a_stream_has_come() -> None:
    scene = Scene(PUSHED)
    scene.tcp = True
    scene.session(PUSHED, acked=False)
    assert found(scene, RULE_ACK) == [FAIL]


@pytest.mark.parametrize(("cseq", "expected"), [(1, [PASS]), (2, [FAIL])])
def test_the_ack_counts_as_its_invite(cseq: int, expected: list[Verdict]) -> None:
    scene, session = pushed(acked=False)
    acknowledge(session, cseq=cseq)
    scene.frames.append(scene.frames[-1])
    assert found(scene, "SIP-3261-13.2.2.4-02") == expected
    assert found(pulled()[0], "SIP-3261-13.2.2.4-02") == []


def test_an_invite_of_somebody_else_makes_no_dialog_of_the_iuts() -> None:
    scene = Scene(PUSHED)
    common = [("From", "<sip:bob>;tag=1"), ("To", f"<{ALICE.uri}>"), ("Call-ID", "through"), ("CSeq", "1 INVITE")]
    scene.sip(Role.CORE, Role.IUT, f"INVITE {ALICE.uri} SIP/2.0", [("Via", f"{VIA}bob"), *common])
    vias = [("Via", f"{VIA}pf"), ("Via", f"{VIA}bob")]
    scene.sip(Role.IUT, Role.CORE, f"INVITE {ALICE.uri} SIP/2.0", [*vias, *common])
    scene.response(Role.CORE, Role.IUT, 200, [*vias, *common], [("Contact", "<sip:alice>")], to_tag="al")
    scene.response(Role.IUT, Role.CORE, 200, [vias[1], *common], [("Contact", "<sip:alice>")], to_tag="al")
    assert found(scene, RULE_ACK) == found(scene, "SIP-3261-12.1.1-01") == []


def test_a_2xx_to_nothing_makes_no_dialog() -> None:
    scene = Scene(PUSHED)
    scene.response(Role.CORE, Role.IUT, 200, [("Call-ID", "x"), ("CSeq", "1 INVITE"), ("Via", f"{VIA}x")])
    scene.response(Role.CORE, Role.IUT, 200, [("Call-ID", "x"), ("CSeq", "odd"), ("Via", f"{VIA}x")])
    assert found(scene, RULE_ACK) == []


# --- the IUT's own 2xx -----------------------------------------------------------------------------------------------

REPEATED, GIVEN_UP = "SIP-3261-13.3.1.4-01", "SIP-3261-13.3.1.4-02"


def test_a_2xx_is_repeated_until_its_ack() -> None:
    scene, session = pulled(acked=False)
    answer = scene.frames[-1].octets
    scene.wait(6)
    acknowledge(session)
    assert found(scene, REPEATED) == [FAIL]
    assert found(scene, GIVEN_UP) == []
    scene, session = pulled(acked=False)
    scene.wait(0.5)
    scene.put(Pco.ISC, Role.IUT, Role.CORE, answer.replace(b"session-1", session.call_id.encode()))
    scene.wait(6)
    acknowledge(session)
    assert found(scene, REPEATED) == [PASS]


@pytest.mark.parametrize("end", ["ack", "bye", "gone", "late"])
def test_a_2xx_need_not_be_repeated(end: str) -> None:
    scene, session = pulled(acked=False)
    if end == "ack":
        acknowledge(session)
    elif end == "bye":
        session.client_bye()
    elif end == "gone":
        scene.iut_gone_us = scene.us + 1_000_000
    else:
        scene.read_late_us = 100_000_000
    assert found(scene, REPEATED) == []


def test_a_repetition_long_after_is_none() -> None:
    scene, _ = pulled(acked=False)
    answer = scene.frames[-1].octets
    scene.wait(10)
    scene.put(Pco.ISC, Role.IUT, Role.CORE, answer)
    assert found(scene, REPEATED) == [FAIL]


def test_without_an_ack_the_session_is_ended() -> None:
    scene, session = pulled(acked=False)
    assert found(scene, GIVEN_UP) == [FAIL]
    scene.wait(33)
    session.bye()
    assert found(scene, GIVEN_UP) == [PASS]
    assert found(pushed()[0], GIVEN_UP) == []
    scene, session = pulled(acked=False)
    scene.wait(20)
    session.client_bye()
    assert found(scene, GIVEN_UP) == []


@pytest.mark.parametrize(
    ("routes", "expected"),
    [
        (["<sip:core-a;lr>", "<sip:core-b;lr>"], [PASS]),
        (["<sip:core-a;lr>,<sip:core-b;LR>"], [PASS]),
        (["<sip:core-b;lr>", "<sip:core-a;lr>"], [FAIL]),
        (["<sip:core-a;lr>"], [FAIL]),
        (["<sip:core-a>", "<sip:core-b>"], [FAIL]),
        (["<sip:core-a;lr;x=1>", "<sip:core-b;lr>"], [FAIL]),
        (["<tel:1>", "<sip:core-b;lr>"], [FAIL]),
        ([], [FAIL]),
    ],
)
def test_a_2xx_hands_the_route_set_on(routes: list[str], expected: list[Verdict]) -> None:
    scene, session = pulled(answered=False)
    session.record_route = [("Record-Route", one) for one in routes]
    session.answer()
    assert found(scene, "SIP-3261-12.1.1-01") == expected


@pytest.mark.parametrize(("contacts", "expected"), [(1, [PASS]), (0, [FAIL]), (2, [PASS])])
def test_a_2xx_says_where_requests_go(contacts: int, expected: list[Verdict]) -> None:
    scene, session = pulled(answered=False)
    extra = [("Contact", "<sip:pf>")] * contacts
    scene.response(Role.IUT, Role.CORE, 200, session.copied, [*RECORDED, *extra], to_tag="pf")
    assert found(scene, "SIP-3261-12.1.1-02") == expected
    assert found(pushed()[0], "SIP-3261-12.1.1-02") == []


@pytest.mark.parametrize(
    ("when", "expected"), [("after", [PASS]), ("before", [FAIL]), ("waited", [PASS]), ("never", [])]
)
def test_no_bye_before_the_ack(when: str, expected: list[Verdict]) -> None:
    scene, session = pulled(acked=when == "after")
    scene.wait(32 if when == "waited" else 0)
    if when != "never":
        session.bye()
    if when == "before":
        acknowledge(session)
    assert found(scene, "SIP-3261-15-01") == expected


def test_a_bye_that_was_read_before_the_2xx_is_not_judged() -> None:
    scene, session = pulled(answered=False)
    session.bye()
    session.answer()
    assert found(scene, "SIP-3261-15-01") == [PASS]
    assert found(pushed()[0], "SIP-3261-15-01") == []


# --- offer and answer ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offer", "early", "reply", "expected"),
    [
        (True, False, True, [PASS]),
        (True, False, False, [FAIL]),
        (False, False, False, [FAIL]),
        (True, True, False, [PASS]),
        (False, False, True, [PASS]),
    ],
)
def test_the_2xx_has_its_session_description(offer: bool, early: bool, reply: bool, expected: list[Verdict]) -> None:
    scene = Scene(PULLED)
    sdp_type = [("Content-Type", "application/sdp")]
    body = sdp("msrp://a:1/x;tcp")
    copied = scene.request(
        Role.CORE,
        Role.IUT,
        "INVITE",
        PSI,
        ALICE.uri,
        f"<{PSI}>",
        "c",
        sdp_type if offer else [],
        body if offer else b"",
    )
    if early:
        scene.response(Role.IUT, Role.CORE, 183, copied, [*sdp_type, ("RSeq", "1")], body)
    multipart = [("Content-Type", "multipart/mixed;boundary=b")]
    whole = b"--b\r\nContent-Type: application/sdp\r\n\r\n" + body + b"\r\n--b--\r\n"
    scene.response(Role.IUT, Role.CORE, 200, copied, multipart if reply else [], whole if reply else b"")
    assert found(scene, "SIP-3261-13.2.1-01") == expected


@pytest.mark.parametrize(
    ("body", "acked", "expected"), [(b"v=0\r\n", True, [PASS]), (b"", True, [FAIL]), (b"", False, [])]
)
def test_the_ack_has_the_answer_to_a_late_offer(body: bytes, acked: bool, expected: list[Verdict]) -> None:
    scene, session = pushed(answered=False)
    scene.frames[-1] = replace(scene.frames[-1], octets=scene.frames[-1].octets.split(b"Content-Type")[0] + b"\r\n")
    session.acked = False
    session.answer()
    if acked:
        acknowledge(session, body=body)
    assert found(scene, "SIP-3261-13.2.1-02") == expected
    assert found(pushed()[0], "SIP-3261-13.2.1-02") == []


# --- requests in the dialog ------------------------------------------------------------------------------------------

TARGET, ROUTES, COUNT = "SIP-3261-12.2.1.1-01", "SIP-3261-12.2.1.1-02", "SIP-3261-12.2.1.1-03"


def test_requests_follow_the_dialog() -> None:
    for scene, session in (pushed(), pulled()):
        session.bye()  # judged by DLV-3.3
        acks = [] if session.pull else [PASS]
        assert (found(scene, TARGET), found(scene, ROUTES)) == (acks, acks)
        in_dialog(session, "OPTIONS", 3, status=None)
        scene.frames.append(scene.frames[-1])
        in_dialog(session, "CANCEL", 3, status=None)
        assert (found(scene, TARGET), found(scene, ROUTES)) == ([*acks, PASS], [*acks, PASS])
        in_dialog(session, "OPTIONS", 4, status=None, routes=[], uri="sip:elsewhere")
        assert (found(scene, TARGET), found(scene, ROUTES)) == ([*acks, PASS, FAIL], [*acks, PASS, FAIL])
        in_dialog(session, "OPTIONS", 5, routes=[], uri="sip:elsewhere", pco=Pco.GM)
        assert len(found(scene, ROUTES)) == len(acks) + 2


def test_a_target_may_be_refreshed() -> None:
    scene, session = pushed()
    in_dialog(session, "UPDATE", 7, ours=True, extra=[("Contact", "<sip:alice@new>")])
    in_dialog(session, "OPTIONS", 2, uri="sip:alice@new")
    assert found(scene, TARGET) == [PASS, PASS]


def test_a_strict_router_and_a_peer_without_contact_are_not_judged() -> None:
    for routes, contact in ((["<sip:old>"], "<sip:c>"), (["<tel:1>"], "<sip:c>"), ([], "")):
        scene = Scene(PUSHED)
        copied = scene.request(Role.IUT, Role.CORE, "INVITE", ALICE.uri, "sip:pf", f"<{ALICE.uri}>", "c")
        extra = [("Record-Route", one) for one in routes] + ([("Contact", contact)] if contact else [])
        scene.response(Role.CORE, Role.IUT, 200, copied, extra)
        scene.request(Role.IUT, Role.CORE, "ACK", "sip:z", "sip:pf", f"<{ALICE.uri}>;tag=t", "c")
        assert found(scene, TARGET) == []
        assert found(scene, ROUTES) == ([] if routes else [PASS])


@pytest.mark.parametrize(
    ("session", "numbers", "expected"),
    [
        (pushed, [2, 3], [PASS, PASS]),
        (pushed, [3], [FAIL]),
        (pushed, [2, 2], [PASS, FAIL]),
        (pulled, [7, 8], [PASS, PASS]),
        (pulled, [7, 9, 10], [PASS, FAIL, PASS]),
    ],
)
def test_requests_are_counted(session: Any, numbers: list[int], expected: list[Verdict]) -> None:
    scene, made = session()
    for number in numbers:
        in_dialog(made, "OPTIONS", number)
    assert found(scene, COUNT) == expected


def test_a_gap_may_come_of_a_lost_connection() -> None:
    scene, session = pushed()
    scene.put(Pco.ISC, Role.CORE, Role.IUT, b"", connection=scene.connection("sip"), kind=Kind.CLOSE)
    in_dialog(session, "OPTIONS", 5)
    assert found(scene, COUNT) == [INCONC]
    in_dialog(session, "OPTIONS", 5)
    assert found(scene, COUNT) == [INCONC, FAIL]


def test_a_bye_that_does_not_rise_is_dlv_3_3s() -> None:
    scene, session = pushed()
    session.bye(cseq=1)
    assert found(scene, COUNT) == []
    scene, session = pushed()
    session.bye(cseq=3)
    assert found(scene, COUNT) == [FAIL]


# --- BYE to the IUT ---------------------------------------------------------------------------------------------------

ANSWERED, NOWHERE = "SIP-3261-15.1.2-01", "SIP-3261-15.1.2-02"


@pytest.mark.parametrize("session", [pushed, pulled])
@pytest.mark.parametrize(("status", "expected"), [(200, [PASS]), (481, [FAIL]), (None, [INCONC])])
def test_a_bye_is_answered(session: Any, status: int | None, expected: list[Verdict]) -> None:
    scene, made = session()
    in_dialog(made, "BYE", 9, ours=True, status=status)
    assert found(scene, ANSWERED) == expected
    assert found(scene, NOWHERE) == []


def test_a_bye_that_came_for_certain_is_answered() -> None:
    scene, session = pulled()
    in_dialog(session, "BYE", 9, ours=True, status=None)
    repeat(scene, scene.frames[-1].octets)
    assert found(scene, ANSWERED) == [FAIL]


@pytest.mark.parametrize("why", ["low", "required", "crossed", "second", "odd"])
def test_a_bye_that_may_be_refused(why: str) -> None:
    scene, session = pulled()
    if why == "crossed":
        session.bye()
    if why == "second":
        in_dialog(session, "BYE", 8, ours=True)
    extra = {"required": [("Require", "strange")], "odd": [("CSeq", "odd")]}.get(why, [])
    in_dialog(session, "BYE", 1 if why == "low" else 9, ours=True, status=481, extra=extra)
    assert found(scene, ANSWERED) == ([PASS] if why == "second" else [])


@pytest.mark.parametrize(("status", "expected"), [(481, [PASS]), (200, [FAIL]), (None, [])])
def test_a_bye_from_nowhere(status: int | None, expected: list[Verdict]) -> None:
    scene, session = pulled()
    in_dialog(session, "BYE", 9, ours=True, status=status, tag="guessed")
    assert found(scene, NOWHERE) == expected


def test_a_bye_to_an_early_dialog_is_not_from_nowhere() -> None:
    scene, session = pulled(answered=False)
    scene.response(Role.IUT, Role.CORE, 180, session.copied, to_tag="pf")
    in_dialog(session, "BYE", 9, ours=True)
    assert found(scene, NOWHERE) == []


def test_a_bye_that_was_passed_on_is_not_the_iuts() -> None:
    scene = Scene(PULLED)
    common = [("From", "<sip:bob>;tag=1"), ("To", f"<{ALICE.uri}>;tag=2"), ("Call-ID", "through"), ("CSeq", "2 BYE")]
    scene.sip(Role.CORE, Role.IUT, "BYE sip:alice SIP/2.0", [("Via", f"{VIA}bob"), *common])
    vias = [("Via", f"{VIA}pf"), ("Via", f"{VIA}bob")]
    scene.sip(Role.IUT, Role.CORE, "BYE sip:alice SIP/2.0", [*vias, *common])
    scene.response(Role.CORE, Role.IUT, 200, [*vias, *common])
    scene.response(Role.IUT, Role.CORE, 200, [vias[1], *common])
    assert found(scene, NOWHERE) == []


# --- order and end ---------------------------------------------------------------------------------------------------

ORDER, OVER = "SIP-3261-12.2.2-01", "SIP-3261-12.2.1.2-01"


@pytest.mark.parametrize(("status", "expected"), [(500, [PASS]), (200, [FAIL])])
def test_a_request_out_of_order(status: int, expected: list[Verdict]) -> None:
    scene, session = pushed()
    in_dialog(session, "OPTIONS", 9, ours=True)
    in_dialog(session, "OPTIONS", 8, ours=True, status=status)
    assert found(scene, ORDER) == expected


@pytest.mark.parametrize("why", ["higher", "unanswered", "over", "odd", "early", "again"])
def test_what_is_not_out_of_order(why: str) -> None:
    scene, session = pulled()
    if why == "early":
        in_dialog(session, "OPTIONS", 9, ours=True, status=None)
    elif why == "over":
        in_dialog(session, "BYE", 9, ours=True)
    else:
        in_dialog(session, "OPTIONS", 9, ours=True)
    number, status = (10, 200) if why == "higher" else (5, None if why == "unanswered" else 200)
    if why == "again":
        repeat(scene, scene.frames[-2].octets)
        number = 10
    in_dialog(session, "OPTIONS", number, ours=True, status=status, extra=[("X", "y")])
    if why == "odd":
        last = scene.frames[-2]
        scene.frames[-2] = replace(last, octets=last.octets.replace(b"CSeq: 5 OPTIONS", b"CSeq: odd"))
        last = scene.frames[-1]
        scene.frames[-1] = replace(last, octets=last.octets.replace(b"CSeq: 5 OPTIONS", b"CSeq: odd"))
    assert found(scene, ORDER) == []


@pytest.mark.parametrize(("after", "expected"), [("BYE", [PASS]), ("INFO", [FAIL]), ("at once", [PASS])])
def test_a_dialog_that_the_peer_does_not_know_is_over(after: str, expected: list[Verdict]) -> None:
    scene, session = pushed()
    in_dialog(session, "OPTIONS", 2, status=481)
    scene.wait(0 if after == "at once" else 10)
    in_dialog(session, "INFO" if after == "at once" else after, 3, status=None)
    assert found(scene, OVER) == expected


def test_the_verdicts_of_the_whole_judge() -> None:
    scene, session = pulled(acked=False)
    session.bye()
    assert scene.judge().of("SIP-3261-15-01") is FAIL
    assert scene.broken("SIP") == {"SIP-3261-15-01"}
