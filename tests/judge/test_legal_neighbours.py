"""What legal PFs do that looks like a fault: each beside the fault that it must not be taken for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from cpmspec.evidence.trace import Pco, Role
from cpmspec.judge.checks import (
    imdn_rules,
    imdn_wrapping,
    sip_dialog_rules,
    sip_message_rules,
    sip_session_rules,
    store_rules,
)
from cpmspec.judge.facts import Facts
from cpmspec.judge.things import things
from cpmspec.judge.verdict import Verdict
from msrp_scene import (
    FAIL,
    NONE,
    PASS,
    QUIET,
    Told,
    answer,
    asked,
    halves,
    opened,
    piece,
    replied,
    report,
    verdicts,
)  # fmt: skip
from scene import ALICE, PSI, Scene, Session, acknowledge, sdp
from scene import verdicts as of_checks

PUSHED = replace(QUIET, establishment="push")
SDP = [("Content-Type", "application/sdp")]
SIP = (
    *imdn_rules.RULES, *imdn_wrapping.CHECKS, *sip_dialog_rules.RULES, *sip_message_rules.RULES,
    *sip_session_rules.RULES, *store_rules.RULES,
)  # fmt: skip
KEPT, BROKEN = [Verdict.PASS], [Verdict.FAIL]


def sip(scene: Scene, rule: str) -> list[Verdict]:
    return of_checks(scene, SIP, rule)


def by_pf(session: Session, method: str, cseq: int, status: int | None, body: bytes = b"", reply: bytes = b"") -> None:
    """A request of the PF in a dialog to which it was invited, and the answer."""
    extra = [
        ("Contact", "<sip:pf>"),
        ("Route", "<sip:core-a;lr>"),
        ("Route", "<sip:core-b;lr>"),
        *(SDP if body else []),
    ]
    copied = session.scene.request(
        Role.IUT, Role.CORE, method, "sip:alice@client:5080", PSI, f"<{ALICE.uri}>;tag=cl", session.call_id, extra,
        body, cseq=cseq, from_tag="pf",
    )  # fmt: skip
    if status is not None:
        session.scene.response(Role.CORE, Role.IUT, status, copied, SDP if reply else [], reply)


def to_pf(session: Session, method: str, cseq: int, status: int) -> None:
    """A request to the PF in a session, and its answer."""
    copied = session.scene.request(
        Role.CORE, Role.IUT, method, "sip:pf", ALICE.uri, "<sip:pf>;tag=pf", session.call_id, cseq=cseq, from_tag="cl"
    )
    session.scene.response(Role.IUT, Role.CORE, status, copied)


def moved(session: Session, path: str) -> bytes:
    """The PF's description with another path, one version later."""
    return session.pf_sdp.replace(session.pf_path.encode(), path.encode()).replace(b"o=- 1 1 ", b"o=- 1 2 ")


# --- offers and answers ----------------------------------------------------------------------------------------------


def pulled(**options: Any) -> tuple[Scene, Session, Any]:
    scene = Scene(QUIET)
    sent = scene.defer()
    session = scene.session(QUIET, **options)
    return scene, session, session.wrap(sent)


@pytest.mark.parametrize(("refreshed", "told"), [(True, PASS), (False, FAIL)])
def test_each_side_counts_its_own_requests(refreshed: bool, told: Told) -> None:
    scene, session, wrapped = pulled()
    path = "msrp://127.0.0.1:5060/other;tcp"
    if refreshed:  # its first request in the dialog has the number of the client's INVITE
        by_pf(session, "UPDATE", 1, 200, moved(session, path), session.offer)
    session.pf_path = path
    session.send(wrapped)
    assert verdicts(scene, "MSR-4975-7.1-23") == told


@pytest.mark.parametrize(("answered", "told"), [(True, PASS), (False, FAIL)])
def test_each_fork_has_its_own_path(answered: bool, told: Told) -> None:
    scene = Scene(PUSHED)
    sent = scene.defer(user=PUSHED)
    session = scene.session(PUSHED)
    path = "msrp://127.0.0.1:5081/second;tcp"
    if answered:
        extra = [("Contact", "<sip:alice@second>"), *SDP]
        scene.response(Role.CORE, Role.IUT, 200, session.copied, extra, sdp(path), to_tag="second")
    session.path = path
    session.send(session.wrap(sent))
    assert verdicts(scene, "MSR-4975-7.1-22") == told


@pytest.mark.parametrize(("refused", "told"), [(True, NONE), (False, FAIL)])
def test_an_offer_that_was_refused_has_its_version_too(refused: bool, told: Told) -> None:
    scene, session, _ = pulled()
    if refused:
        by_pf(session, "INVITE", 1, 491, session.pf_sdp.replace(b"o=- 1 1 ", b"o=- 1 2 ") + b"a=note:x\r\n")
    session.pf_sdp = session.pf_sdp.replace(b"o=- 1 1 ", b"o=- 1 3 ") + b"a=note:y\r\n"
    session.again()
    assert verdicts(scene, "SDP-3264-8-02") == told


@pytest.mark.parametrize(("cema", "told"), [("*", NONE), ("*\r\na=msrp-cema", FAIL)])
def test_who_does_not_know_msrp_cema_goes_by_the_path(cema: str, told: Told) -> None:
    scene, session, wrapped = pulled(
        path="msrp://198.51.100.7:5080/c;tcp", pf={"accept-wrapped-types": cema, "setup": "passive"}
    )
    session.send(wrapped)
    assert verdicts(scene, "SDP-6714-4.3-01") == told


def test_a_later_offer_may_say_the_part_that_its_side_has() -> None:
    scene, session, _ = pulled(pf={"setup": "passive"}, offer={"setup": "actpass"})
    body = session.pf_sdp.replace(b"o=- 1 1 ", b"o=- 1 2 ") + b"a=note:x\r\n"
    by_pf(session, "INVITE", 1, 200, body, session.offer)
    assert verdicts(scene, "SDP-6135-4.2.2-01") == NONE


@pytest.mark.parametrize(("used", "rest"), [(True, PASS), (False, FAIL)])
@pytest.mark.parametrize(("rule", "path"), [
    ("SDP-4975-8.5-21", "msrp://127.0.0.1:5080/cl9;tcp"), ("SDP-4975-8.2-21", "msrp://127.0.0.1:5099/cl9;tcp"),
])  # fmt: skip
def test_a_connection_may_serve_several_sessions(rule: str, path: str, used: bool, rest: Told) -> None:
    scene = Scene(PUSHED)
    first, second = (scene.defer(user=PUSHED) for _ in range(2))
    session = scene.session(PUSHED)
    scene.open(Pco.MSRP, Role.IUT, session.connection)
    session.send(session.wrap(first))
    other = scene.session(QUIET, path=path)
    if used:
        other.connection = session.connection
    else:
        scene.open(Pco.MSRP, Role.IUT, other.connection)
    other.send(other.wrap(second))
    assert verdicts(scene, rule) == rest


# --- MSRP ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("why", "told"), [("nothing", FAIL), ("connection", PASS), ("report", PASS), ("refused", PASS), ("late", PASS)]
)
def test_a_message_may_begin_again(why: str, told: Told) -> None:
    session = opened()
    first, rest, size = halves(session)
    answered = {"refused": 400, "late": None, "connection": None}.get(why, 200)
    piece(session, first, 1, size, "+", Message_ID="one-id", status=answered)
    if why == "report":
        report(session, "rep1", "000 408 X", by=Role.CLIENT)
    if why == "connection":
        session.reset()
        session.again()
        session.connection += 1
    if why == "late":
        session.scene.wait(31)
    piece(session, first, 1, size, "+", Message_ID="one-id")
    piece(session, rest, len(first) + 1, size, "$", Message_ID="one-id")
    assert verdicts(session.scene, "MSR-4975-7.1.1-23") == told


@pytest.mark.parametrize(("to", "told"), [("msrp://127.0.0.1:5080/later;tcp", PASS), ("msrp://a:1/b;tcp", FAIL)])
def test_a_report_goes_back_to_either_way_that_the_message_came(to: str, told: Told) -> None:
    session = opened()
    for tid, path in (("ask1", session.path), ("ask2", "msrp://127.0.0.1:5080/later;tcp")):
        asked(session, tid, b"text", Message_ID="one-id", From_Path=path, Success_Report="yes")
        answer(session, tid)
    report(session, "rep1", To_Path=to)
    assert verdicts(session.scene, "MSR-4975-7.1.3-23") == told


@pytest.mark.parametrize(("unreadable", "told"), [(True, NONE), (False, FAIL)])
def test_a_report_may_be_about_what_could_not_be_read(unreadable: bool, told: Told) -> None:
    session = opened()
    if unreadable:
        connection = session.scene.connection("other")
        session.scene.put(Pco.MSRP, Role.CLIENT, Role.IUT, b"MSRP x\r\n\r\n", connection=connection)
    report(session, "rep1")
    assert verdicts(session.scene, "MSR-4975-7.1.2-21") == told


def test_who_opened_a_connection_may_answer_before_it_speaks() -> None:
    scene, session, wrapped = pulled()
    scene.open(Pco.MSRP, Role.IUT, session.connection)
    asked(session, "ask1")
    answer(session, "ask1")
    session.send(wrapped)
    assert verdicts(scene, "MSR-4975-5.4-21") == PASS


@pytest.mark.parametrize(("end", "told"), [("*", FAIL), ("6000", NONE)])
def test_only_a_chunk_with_an_open_end_can_be_interrupted(end: str, told: Told) -> None:
    session = opened()
    head = f"MSRP run1 SEND\r\nTo-Path: {session.path}\r\nFrom-Path: {session.pf_path}\r\nMessage-ID: idone\r\n"
    head += f"Byte-Range: 1-{end}/6000\r\nContent-Type: multipart/mixed;boundary=b0und\r\n\r\n"
    put = session.scene.put
    put(Pco.MSRP, Role.IUT, Role.CLIENT, head.encode() + b"x" * 3000, connection=session.connection)
    replied(session, "run1", 413)
    session.scene.wait(10)
    put(Pco.MSRP, Role.IUT, Role.CLIENT, b"x" * 3000 + b"\r\n-------run1$\r\n", connection=session.connection)
    assert verdicts(session.scene, "MSR-4975-10.5-22") == told


# --- SIP -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("on_top", "expected"), [(["<sip:inside.pf;lr>"], KEPT), ([], KEPT), (["<sip:core-b;lr>", "<sip:core-a;lr>"], KEPT)]
)
def test_a_proxy_inside_the_product_may_record_itself(on_top: list[str], expected: list[Verdict]) -> None:
    scene = Scene(QUIET)
    session = scene.session(QUIET, answered=False)
    session.record_route = [*(("Record-Route", one) for one in on_top), *session.record_route]
    session.answer()
    assert sip(scene, "SIP-3261-12.1.1-01") == expected


@pytest.mark.parametrize(("early", "expected"), [(True, []), (False, BROKEN)])
def test_an_offer_may_have_been_answered_before_the_ack(early: bool, expected: list[Verdict]) -> None:
    scene = Scene(PUSHED)
    session = scene.session(PUSHED, answered=False)
    scene.frames[-1] = replace(scene.frames[-1], octets=scene.frames[-1].octets.split(b"Content-Type")[0] + b"\r\n")
    if early:  # answered in the PRACK
        scene.response(Role.CORE, Role.IUT, 183, session.copied, [*SDP, ("RSeq", "1")], session.offer, to_tag="cl")
    session.acked = False
    session.answer()
    acknowledge(session)
    assert sip(scene, "SIP-3261-13.2.1-02") == expected


@pytest.mark.parametrize(
    ("first", "second", "expected"), [(None, "OPTIONS", KEPT), (200, "OPTIONS", [*KEPT, *BROKEN]),
                                      (None, "INFO", [*KEPT, *BROKEN])],
)  # fmt: skip
def test_a_request_may_be_tried_elsewhere(first: int | None, second: str, expected: list[Verdict]) -> None:
    _, session, _ = pulled()
    by_pf(session, "OPTIONS", 4, first)
    by_pf(session, second, 4, 200)
    assert sip(session.scene, "SIP-3261-12.2.1.1-03") == expected


@pytest.mark.parametrize(
    ("before", "status", "expected"),
    [(200, 481, BROKEN), (481, 481, []), (408, 481, []), (None, 481, []), (200, 407, []), (200, 200, KEPT)],
)
def test_a_bye_that_may_be_refused(before: int | None, status: int, expected: list[Verdict]) -> None:
    _, session, _ = pulled()
    by_pf(session, "OPTIONS", 4, before)
    to_pf(session, "BYE", 9, status)
    assert sip(session.scene, "SIP-3261-15.1.2-01") == expected


@pytest.mark.parametrize(("status", "expected"), [(200, BROKEN), (405, []), (603, BROKEN), (500, KEPT)])
def test_a_request_out_of_order_may_be_refused_for_more(status: int, expected: list[Verdict]) -> None:
    _, session, _ = pulled()
    to_pf(session, "OPTIONS", 9, 200)
    to_pf(session, "OPTIONS", 8, status)
    assert sip(session.scene, "SIP-3261-12.2.2-01") == expected


TEXT = [("Content-Type", "text/plain")]


def to_user(scene: Scene, body: bytes, call_id: str, *, to_iut: bool = False) -> list[tuple[str, str]]:
    """A MESSAGE to a user, before or behind the PF."""
    ends = (Role.CORE, Role.IUT) if to_iut else (Role.IUT, Role.CORE)
    return scene.request(*ends, "MESSAGE", ALICE.uri, "sip:b@b", f"<{ALICE.uri}>", call_id, TEXT, body)


@pytest.mark.parametrize(("given", "expected"), [(True, []), (False, [*KEPT, *BROKEN])])
def test_what_passes_through_a_b2bua_may_overlap(given: bool, expected: list[Verdict]) -> None:
    scene = Scene()
    for number in range(2):
        if given:
            to_user(scene, b"text %d" % number, f"in-{number}", to_iut=True)
    for number in range(2):
        copied = to_user(scene, b"text %d" % number, f"out-{number}")
    scene.response(Role.CORE, Role.IUT, 200, copied)
    assert sip(scene, "SIP-3428-8-02") == expected


@pytest.mark.parametrize(("relayed", "expected"), [(True, []), (False, BROKEN)])
def test_the_415_of_a_client_comes_back_through_a_b2bua(relayed: bool, expected: list[Verdict]) -> None:
    scene = Scene()
    copied = to_user(scene, b"text", "in", to_iut=True)
    if relayed:
        scene.response(Role.CORE, Role.IUT, 415, to_user(scene, b"text", "out"), [("Accept", "message/cpim")])
    scene.response(Role.IUT, Role.CORE, 415, copied, [("Accept", "message/cpim")], to_tag="pf")
    assert sip(scene, "SIP-3428-4-03") == expected


IMDN = b'<imdn xmlns="urn:ietf:params:xml:ns:imdn"><message-id>m</message-id></imdn>'


@pytest.mark.parametrize(("given", "wrapped", "faulty"), [(True, [], False), (False, BROKEN, True)])
def test_a_body_that_passes_through_a_b2bua_is_the_senders(given: bool, wrapped: list[Verdict], faulty: bool) -> None:
    scene = Scene()
    kind = [("Content-Type", "message/imdn+xml")]
    ends: list[tuple[Role, Role]] = [(Role.CORE, Role.IUT)] * given + [(Role.IUT, Role.CORE)]
    for number, (sender, receiver) in enumerate(ends):
        scene.request(sender, receiver, "MESSAGE", ALICE.uri, "sip:b@b", f"<{ALICE.uri}>", f"c{number}", kind, IMDN)
    assert sip(scene, "IMD-5438-12.1.1-21") == wrapped
    assert any(thing.violations for thing in things(Facts(scene.trace())) if "imdn" in thing.kinds) is faulty


@pytest.mark.parametrize(("via", "faulty"), [("SIP/2.0/UDP a b;branch=z9hG4bKx", False), ("SIP/2.0/UDP a", True)])
def test_a_via_comes_back_with_where_it_came_from(via: str, faulty: bool) -> None:
    scene = Scene()
    rest = [("From", "<sip:b>;tag=1"), ("To", f"<{ALICE.uri}>"), ("Call-ID", "odd"), ("CSeq", "1 OPTIONS")]
    scene.sip(Role.CORE, Role.IUT, f"OPTIONS {ALICE.uri} SIP/2.0", [("Via", via), *rest, ("Max-Forwards", "70")])
    odd = "SIP/2.0/UDP a b;branch=z9hG4bKx;received=127.0.0.1"
    scene.response(Role.IUT, Role.CORE, 405, [("Via", odd), *rest], [("Allow", "MESSAGE")])
    told = [thing for thing in things(Facts(scene.trace())) if "sip-response" in thing.kinds]
    assert len(told) == 1
    assert any(one.id.startswith("SIP") for one in told[0].violations) is faulty


@pytest.mark.parametrize(
    ("to", "expected"),
    [("<sip:bob@example.com>", KEPT), ("<sip:anonymous@anonymous.invalid>", KEPT), ("<sip:victim@a>", BROKEN)],
)
def test_a_notification_goes_to_any_name_of_the_sender(to: str, expected: list[Verdict]) -> None:
    scene = Scene()
    head = (
        b"From: <sip:anonymous@anonymous.invalid>\r\nTo: <sip:alice@example.com>\r\nNS: imdn <urn:ietf:params:imdn>\r\n"
    )
    more = b"imdn.Message-ID: m1\r\nimdn.Disposition-Notification: negative-delivery\r\n\r\nContent-Type: text/plain"
    scene.defer(content=head + more + b"\r\n\r\nhi", kind="message/cpim")
    notice = b'<imdn xmlns="urn:ietf:params:xml:ns:imdn"><message-id>m1</message-id>'
    notice += b"<delivery-notification><status><failed/></status></delivery-notification></imdn>"
    body = f"From: <sip:alice@example.com>\r\nTo: {to}\r\n\r\nContent-Type: message/imdn+xml\r\n\r\n".encode() + notice
    kind = [("Content-Type", "message/cpim")]
    scene.request(Role.IUT, Role.CORE, "MESSAGE", "sip:b@b", "sip:pf", "<sip:b@b>", "i1", kind, body)
    assert sip(scene, "IMD-5438-7.2.1-03") == expected


# --- the message store -----------------------------------------------------------------------------------------------

Lines = list[tuple[bytes, bytes]]


def stored(lines: Lines, *, opened: bool = True) -> Scene:
    scene = Scene()
    scene.imap(*lines, opened=opened)
    return scene


DONE: Lines = [(b"DONE\r\n", b"a1 OK\r\n"), (b"a2 NOOP\r\n", b"a2 OK\r\n"), (b"what\r\n", b"")]
GREEK: Lines = [(b'a2 CREATE "\xce\xb1"\r\n', b"")]
LISTED: Lines = [(b'a1 LIST "" *\r\n', b'* LIST () "/" a&b\r\na1 OK\r\n'), (b"a2 SELECT a&b\r\n", b"")]


@pytest.mark.parametrize(
    ("build", "rule", "expected"),
    [
        (lambda: stored(DONE), "HIS-3501-2.2.1-01", [*BROKEN, *KEPT, *BROKEN]),
        (lambda: stored(DONE, opened=False), "HIS-3501-2.2.1-01", [*KEPT, *BROKEN]),  # idle since before
        (lambda: stored(GREEK), "HIS-3501-9-02", BROKEN),
        (lambda: stored(GREEK, opened=False), "HIS-3501-9-02", KEPT),  # UTF-8 may have been enabled before
        (lambda: stored([(b"a1 ENABLE IMAP4rev2\r\n", b""), *GREEK]), "HIS-3501-9-02", [*KEPT, *KEPT]),
        (lambda: stored(LISTED), "HIS-3501-5.1.3-01", KEPT),
        (lambda: stored(LISTED[1:]), "HIS-3501-5.1.3-01", BROKEN),
    ],
)
def test_what_an_imap_client_may_say(build: Callable[[], Scene], rule: str, expected: list[Verdict]) -> None:
    assert sip(build(), rule) == expected


# --- nothing to deliver ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("sent", "told"), [(True, PASS), (False, FAIL)])
def test_a_message_without_content_is_delivered_too(sent: bool, told: Told) -> None:
    scene = Scene(QUIET)
    empty = scene.defer(content=b"")
    session = scene.session(QUIET)
    if sent:
        session.send(session.wrap(empty))
    session.bye()
    assert verdicts(scene, "DLV-1.1") == told
