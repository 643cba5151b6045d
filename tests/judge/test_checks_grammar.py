"""Rules about one thing by itself: what the parsers find is told of the IUT where the thing is its own."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cpmspec.evidence.trace import Kind, Pco, Role, Trace
from cpmspec.judge.catalogue import Catalogue, Requirement, RequirementClass
from cpmspec.judge.facts import Facts
from cpmspec.judge.judge import judge
from cpmspec.judge.things import things
from cpmspec.judge.verdict import Blame, Finding, Grade, Verdict
from scene import ALICE, Scene, Session, Wrapped

QUIET = replace(ALICE, history=False)


def rule(
    requirement: str, on: str, cls: RequirementClass = RequirementClass.REFERENCED, level: str = "MUST"
) -> Requirement:
    return Requirement(requirement, "X", "s", "t", "1", cls, level, "PF", "t", "e", on=on)


def judged(scene: Scene, *rules: Requirement) -> list[Finding]:
    return list(judge(scene.trace(), Catalogue({one.id: one for one in rules}, "")).findings)


def told(scene: Scene, requirement: str, on: str) -> list[tuple[Verdict, str]]:
    return [(one.verdict, one.reason) for one in judged(scene, rule(requirement, on))]


def violated(scene: Scene, *kinds: str) -> set[str]:
    """The ids of all violations that are told of things of these kinds."""
    found = (one for one in things(Facts(scene.trace())) if set(kinds) & set(one.kinds))
    return {violation.id for one in found for violation in one.violations}


def kinds(scene: Scene) -> set[str]:
    return {kind for one in things(Facts(scene.trace())) for kind in one.kinds}


def delivering(mode: str = "pager", **deferred: object) -> tuple[Scene, Session, Wrapped]:
    scene = Scene(QUIET)
    sent = scene.defer(mode, **deferred)  # type: ignore[arg-type]
    scene.wait(5)
    session = scene.session()
    return scene, session, session.wrap(sent)


# --- the findings ----------------------------------------------------------------------------------------------------

DOUBLE_TO = "SIP-3261-7.3.1-01"


def with_two_subjects(times: int = 1) -> Scene:
    """The PF sends requests in which Subject stands twice."""
    scene = Scene(QUIET)
    for number in range(times):
        extra = [("Subject", "one"), ("Subject", "two")]
        scene.request(
            Role.IUT, Role.CORE, "MESSAGE", QUIET.uri, "sip:pf@example.com", f"<{QUIET.uri}>", f"own-{number}", extra
        )
    return scene


def test_a_kept_rule_is_told_once_with_a_count() -> None:
    scene = with_two_subjects(3)
    assert told(scene, "SIP-3261-18.3-01", "sip-message") == [(Verdict.PASS, "kept 3 times: sip-message")]


def test_nothing_is_told_where_no_such_thing_was_sent() -> None:
    assert told(with_two_subjects(), "NTF-3842-5.2-01", "summary") == []


def test_a_broken_rule_is_told_with_its_place() -> None:
    (found,) = judged(with_two_subjects(), rule(DOUBLE_TO, "sip-message"))
    assert (found.verdict, found.frames) == (Verdict.FAIL, (1,))
    assert found.reason.startswith("the MESSAGE, octet ")
    assert found.expected
    assert found.actual


def test_a_rule_that_is_broken_often_is_told_three_times() -> None:
    found = told(with_two_subjects(7), DOUBLE_TO, "sip-message")
    assert [reason.partition("; ")[2] for _, reason in found] == ["", "", "4 more"]


@pytest.mark.parametrize(
    ("cls", "level", "binds", "expected"),
    [
        (RequirementClass.REFERENCED, "MUST", (), (Verdict.FAIL, None, Grade.STRICT)),
        (RequirementClass.REFERENCED, "SHOULD", (), (Verdict.PASS, None, Grade.NON_STRICT)),
        (RequirementClass.REFERENCED, "SHOULD", (DOUBLE_TO,), (Verdict.FAIL, None, Grade.STRICT)),
        (RequirementClass.INTERPRETATION, "MAY", (), (Verdict.PASS, None, Grade.INFORMATIONAL)),
        (RequirementClass.INTERPRETATION, "MAY", (DOUBLE_TO,), (Verdict.FAIL, None, Grade.STRICT)),
        (RequirementClass.INTERPRETATION, "MUST", (), (Verdict.INCONC, Blame.INTERPRETATION, Grade.STRICT)),
        (RequirementClass.INTERPRETATION, "MUST", (DOUBLE_TO,), (Verdict.FAIL, None, Grade.STRICT)),
    ],
)
def test_class_and_level_decide_what_a_broken_rule_weighs(
    cls: RequirementClass, level: str, binds: tuple[str, ...], expected: tuple[Verdict, Blame | None, Grade]
) -> None:
    scene = with_two_subjects()
    scene.binds = binds
    (found,) = judged(scene, rule(DOUBLE_TO, "sip-message", cls, level))
    assert (found.verdict, found.blame, found.grade) == expected


def test_a_requirement_that_a_check_decides_is_left_to_it() -> None:
    assert judged(with_two_subjects(), replace(rule(DOUBLE_TO, "sip-message"), on=None)) == []


# --- SIP -------------------------------------------------------------------------------------------------------------


def test_a_retransmission_is_the_same_thing() -> None:
    scene = with_two_subjects()
    scene.frames.append(replace(scene.frames[0], time_us=scene.us + 500))
    assert len(told(scene, DOUBLE_TO, "sip-message")) == 1


def test_what_the_peer_sends_is_not_the_iuts() -> None:
    scene = with_two_subjects()
    scene.frames = [replace(frame, sender=Role.CORE, receiver=Role.IUT) for frame in scene.frames]
    assert "sip-message" not in kinds(scene)


def test_what_the_iut_passes_on_is_not_its_own() -> None:
    scene = Scene(QUIET)
    extra = [("Subject", "one"), ("Subject", "two")]
    to = f"<{QUIET.uri}>"
    for sender, receiver in ((Role.CORE, Role.IUT), (Role.IUT, Role.CORE)):
        scene.request(sender, receiver, "MESSAGE", QUIET.uri, "sip:bob@example.com", to, "passed", extra)
    assert told(scene, DOUBLE_TO, "sip-message") == []


def test_a_response_repeats_the_faults_of_its_request() -> None:
    scene = Scene(QUIET)
    copied = scene.request(Role.CORE, Role.IUT, "MESSAGE", QUIET.uri, "sip:bob@example.com", f"<{QUIET.uri}>", "c")
    copied = [(name, "1 " if name == "CSeq" else value) for name, value in copied]
    scene.frames = [replace(frame, octets=frame.octets.replace(b"1 MESSAGE", b"1 ")) for frame in scene.frames]
    scene.response(Role.IUT, Role.CORE, 400, copied)
    assert "SIP-3261-8.1.1.5-01" not in violated(scene, "sip-message")
    assert [one.name for one in things(Facts(scene.trace()))] == ["the 400 to a request"]


def test_a_response_is_named_by_what_it_answers() -> None:
    scene = Scene(QUIET)
    scene.register()
    assert [(one.name, one.kinds[:2]) for one in things(Facts(scene.trace()))] == [
        ("the 200 to REGISTER", ("sip-message", "sip-response"))
    ]


def test_a_datagram_that_is_no_sip() -> None:
    scene = Scene(QUIET)
    scene.put(Pco.ISC, Role.IUT, Role.CORE, b"nothing of the kind\r\n\r\n")
    scene.put(Pco.ISC, Role.CORE, Role.IUT, b"nor this\r\n\r\n")
    assert [one.name for one in things(Facts(scene.trace())) if one.violations] == ["octets that are no SIP"]


@pytest.mark.parametrize(("seen", "count"), [(True, 1), (False, 0)])
def test_the_end_of_a_message_that_began_before_the_trace(seen: bool, count: int) -> None:
    scene = Scene(QUIET)
    connection = scene.connection("tcp")
    if seen:
        scene.put(Pco.ISC, Role.IUT, Role.CORE, b"", connection=connection, kind=Kind.OPEN)
    scene.put(Pco.ISC, Role.IUT, Role.CORE, b"rest of a body\r\n\r\n", connection=connection)
    text = with_two_subjects().frames[0].octets
    scene.put(Pco.ISC, Role.IUT, Role.CORE, text, connection=connection)
    scene.put(Pco.ISC, Role.IUT, Role.CORE, b"neither\r\n\r\n", connection=connection)
    wrong = [one for one in things(Facts(scene.trace())) if one.name == "octets that are no SIP"]
    assert len(wrong) == count + 1


# --- bodies ----------------------------------------------------------------------------------------------------------


def own_body(content_type: str, body: bytes) -> Scene:
    scene = Scene(QUIET)
    extra = [("Content-Type", content_type)]
    to = f"<{QUIET.uri}>"
    scene.request(Role.IUT, Role.CORE, "MESSAGE", QUIET.uri, "sip:pf@example.com", to, "own", extra, body)
    return scene


IMDN = b"""<?xml version="1.0"?>
<imdn xmlns="urn:ietf:params:xml:ns:imdn"><message-id>x</message-id></imdn>"""


def test_bodies_of_the_iuts_own_messages_are_looked_into() -> None:
    assert "NTF-3842-5.2-07" in violated(own_body("application/simple-message-summary", b"Nothing: 1\r\n"), "summary")
    assert "SDP-4566-5-01" in violated(own_body("application/sdp", b"v=0\n"), "sdp")
    head = b"From: <sip:a@example.com>\r\nTo: <sip:b@example.com>\r\n\r\nContent-Type: message/imdn+xml\r\n\r\n"
    scene = own_body("message/cpim", head + IMDN)
    assert kinds(scene) >= {"cpim", "imdn"}
    assert [one.name for one in things(Facts(scene.trace()))][-1] == "the IMDN in the CPIM message in the MESSAGE"
    assert violated(own_body("message/imdn+xml", b"<imdn/>"), "imdn")
    assert kinds(own_body("text/plain", b"x")) == kinds(with_two_subjects())


WRAPPED = b"From: <sip:a@example.com>\r\nTo: <sip:b@example.com>\r\n\r\nContent-Type: message/imdn+xml\r\n\r\n" + IMDN


@pytest.mark.parametrize(
    ("content_type", "body", "verdicts"),
    [
        ("message/imdn+xml", IMDN, [Verdict.FAIL]),
        ("message/cpim", WRAPPED, [Verdict.PASS]),
        ("message/cpim", WRAPPED.replace(b"imdn+xml", b"other"), []),
        ("text/plain", IMDN, []),
    ],
)
def test_a_notification_is_wrapped(content_type: str, body: bytes, verdicts: list[Verdict]) -> None:
    found = own_body(content_type, body).judge().findings
    assert [one.verdict for one in found if one.requirement == "IMD-5438-12.1.1-21"] == verdicts


# --- MSRP ------------------------------------------------------------------------------------------------------------


def test_msrp_of_the_iut_at_both_points() -> None:
    scene, session, wrapped = delivering("large")
    wrapped.date = "now"
    session.send(wrapped, message_id="no ident")
    assert "MSR-4975-9-04" in violated(scene, "msrp-send")
    assert {"msrp-message", "msrp-send", "msrp-response"} <= kinds(scene)
    names = [one.name for one in things(Facts(scene.trace())) if "msrp-response" in one.kinds]
    assert names == ["the 200 of transaction tid1"]


def test_a_report_and_another_method() -> None:
    scene, session, _ = delivering()
    for start in ("rep1 REPORT", "nick1 NICKNAME"):
        paths = [("To-Path", session.path), ("From-Path", session.pf_path)]
        scene.msrp(Role.IUT, Role.CLIENT, start, paths, connection=session.connection)
    found = {one.name: one.kinds for one in things(Facts(scene.trace())) if "msrp-message" in one.kinds}
    assert found["the REPORT of transaction rep1"] == ("msrp-message", "uri", "msrp-report")
    assert found["the NICKNAME of transaction nick1"] == ("msrp-message", "uri")


def test_octets_that_are_no_msrp_are_told_once() -> None:
    scene, session, wrapped = delivering()
    session.send(wrapped)
    scene.put(Pco.MSRP, Role.IUT, Role.CLIENT, b"other\r\nthings\r\nentirely\r\n", connection=session.connection)
    scene.put(Pco.MSRP, Role.CLIENT, Role.IUT, b"our own\r\n", connection=session.connection)
    wrong = [one for one in things(Facts(scene.trace())) if one.name == "octets that are no MSRP"]
    assert [len(one.violations) for one in wrong] == [1]


@pytest.mark.parametrize("seen", [True, False])
def test_the_end_of_a_chunk_that_began_before_the_trace(seen: bool) -> None:
    scene, session, wrapped = delivering()
    if seen:
        scene.open(Pco.MSRP, Role.CLIENT, session.connection)
    scene.put(Pco.MSRP, Role.IUT, Role.CLIENT, b"rest\r\n-------old1$\r\n", connection=session.connection)
    session.send(wrapped)
    assert ("MSR-4975-9-01" in violated(scene, "msrp-message")) is seen
    assert "msrp-send" in kinds(scene)


def test_a_chunk_without_its_end_is_judged_by_its_head() -> None:
    scene, session, _ = delivering()
    head = f"MSRP cut1 SEND\r\nTo-Path: {session.path}\r\nFrom-Path: {session.pf_path}\r\nByte-Range: 1-*/9\r\n"
    octets = head.encode() + b"Content-Type: text/plain\r\n\r\nhalf"
    scene.put(Pco.MSRP, Role.IUT, Role.CLIENT, octets, connection=session.connection)
    assert "MSR-4975-7.1.1-01" in violated(scene, "msrp-send")


# --- delivered messages ----------------------------------------------------------------------------------------------


def test_the_envelope_is_the_iuts() -> None:
    scene, session, wrapped = delivering()
    wrapped.octets = wrapped.render().replace(b"--b0und--", b"--b0und")
    session.send(wrapped)
    assert "MIM-2046-5.1.1-05" in violated(scene, "multipart")


def test_a_multipart_inside_is_the_senders() -> None:
    content = b"--x\r\nContent-Type: text/plain\r\n\r\nnever closed"
    scene, session, wrapped = delivering(content=content, kind="multipart/mixed;boundary=x")
    session.send(wrapped)
    assert violated(scene, "multipart") == set()
    assert {"multipart", "message/sipfrag"} <= kinds(scene)


def test_what_is_no_multipart_is_not_judged_as_one() -> None:
    scene, session, wrapped = delivering()
    wrapped.content_type, wrapped.octets = "text/plain", wrapped.body
    session.send(wrapped)
    assert "multipart" not in kinds(scene)
    scene, session, wrapped = delivering()
    wrapped.content_type = "text/plain;boundary=b0und"
    session.send(wrapped)
    assert "multipart" not in kinds(scene)


BAD_TYPE = "text/plain;charset"


@pytest.mark.parametrize(("kind", "given", "broken"), [(BAD_TYPE, BAD_TYPE, False), ("text/plain", BAD_TYPE, True)])
def test_the_type_of_the_content_is_the_senders(kind: str, given: str, broken: bool) -> None:
    scene, session, wrapped = delivering(kind=kind)
    wrapped.body_type = given
    session.send(wrapped)
    assert ("MIM-2045-5.1-01" in violated(scene, "multipart")) is broken
    session.bye()
    assert ("DLV-2.2" in scene.broken()) is broken


def test_a_message_that_is_nobodys_has_an_envelope_only() -> None:
    scene, session, wrapped = delivering(kind=BAD_TYPE)
    wrapped.octets = (
        b"--b0und\r\nContent-Type: message/sipfrag\r\n\r\nDate: never\r\n\r\n"
        b"--b0und\r\nContent-Type: text/plain;charset\r\n\r\nother\r\n--b0und--\r\n"
    )
    session.send(wrapped)
    scene.defer()  # so that nothing says which of two it is
    scene.frames = [*scene.frames[-2:], *scene.frames[:-2]]
    scene.frames = [replace(frame, time_us=1_790_000_000_000_000 + i) for i, frame in enumerate(scene.frames)]
    assert "message/sipfrag" not in kinds(scene)
    assert "MIM-2045-5.1-01" in violated(scene, "multipart")


def test_the_headers_of_a_part_of_the_iuts_own() -> None:
    scene, session, wrapped = delivering()
    wrapped.sip_type = "message/sipfrag\r\nContent-ID: no angle"
    session.send(wrapped)
    assert "MIM-2045-7-01" in violated(scene, "multipart")


# A header whose value is wrong, as the sender gave it
NO_DATE = "yesterday"


@pytest.mark.parametrize(("given", "broken"), [(NO_DATE, False), ("tomorrow", True)])
@pytest.mark.parametrize("kind", ["message/sipfrag", "message/sip"])
def test_a_stored_value_that_was_wrong_when_it_came(kind: str, given: str, broken: bool) -> None:
    scene, session, wrapped = delivering(Date=NO_DATE)
    wrapped.sip_type = kind
    wrapped.sip = [(name, given if name == "Date" else value) for name, value in wrapped.sip]
    session.send(wrapped)
    session.bye()
    rules = {"message/sipfrag": "FRG-3420-3.2-03", "message/sip": "FRG-3261-27.5-10"}
    assert (rules[kind] in violated(scene, kind)) is broken
    if kind == "message/sipfrag":
        assert ("DLV-2b.2" in scene.broken()) is broken


def test_a_header_that_the_sender_doubled() -> None:
    scene, session, wrapped = delivering()
    scene.frames[0] = replace(
        scene.frames[0], octets=scene.frames[0].octets.replace(b"Subject:", b"Subject: a\r\nSubject:")
    )
    wrapped.sip.insert(0, ("Subject", "a"))
    session.send(wrapped)
    assert violated(scene, "message/sipfrag") == set()


@pytest.mark.parametrize(("given", "broken"), [("no ident", False), ("an other", True)])
def test_a_value_of_the_originators_send(given: str, broken: bool) -> None:
    scene, session, wrapped = delivering("large")
    scene.frames = [replace(frame, octets=frame.octets.replace(b"msrpid1", b"no ident")) for frame in scene.frames]
    wrapped.msrp = [(name, given if name == "Message-ID" else value) for name, value in wrapped.msrp]
    session.send(wrapped)
    assert bool(violated(scene, "message/msrpfrag")) is broken


def test_an_msrpfrag_in_a_pager_message() -> None:
    scene, session, wrapped = delivering()
    wrapped.msrp = [("Message-ID", "no ident")]
    session.send(wrapped)
    assert violated(scene, "message/msrpfrag")


def test_a_remark_on_a_fragment_does_not_break_2b_2() -> None:
    scene, session, wrapped = delivering()
    wrapped.sip_type = "message/sip"
    head = [("Via", "SIP/2.0/UDP h.example.com;branch=z9hG4bK1"), ("CSeq", "1 MESSAGE"), ("Max-Forwards", "70")]
    wrapped.sip = [*head, *wrapped.sip]
    octets = wrapped.render().replace(b"\r\n\r\nVia", b"\r\n\r\nMESSAGE sip:a@example.com SIP/2.0\r\nVia")
    wrapped.octets = octets.replace(
        b"Content-Type: text/plain\r\n\r\n--b0und", b"Content-Type: text/plain\r\n\r\n\r\n--b0und"
    )
    session.send(wrapped)
    session.bye()
    found = [one for one in scene.judge().findings if one.requirement == "DLV-2b.2"]
    assert [(one.verdict, one.grade) for one in found] == [(Verdict.PASS, Grade.NON_STRICT)]


# --- CPIM in a delivered message -------------------------------------------------------------------------------------

BAD_CPIM = b"From:<sip:a@example.com>\r\n\r\nContent-Type: text/plain\r\n\r\nx"


def with_cpim_part(octets: bytes) -> tuple[Scene, Session]:
    """A delivered message with a CPIM part beside its content."""
    scene, session, wrapped = delivering()
    part = b"--b0und\r\nContent-Type: message/cpim\r\n\r\n" + octets + b"\r\n--b0und--"
    wrapped.octets = wrapped.render().replace(b"--b0und--", part)
    session.send(wrapped)
    return scene, session


def test_a_cpim_part_that_the_iut_added_is_its_own() -> None:
    scene, _ = with_cpim_part(BAD_CPIM)
    assert violated(scene, "cpim")


def test_a_cpim_message_that_was_deferred_is_the_senders() -> None:
    scene, session, wrapped = delivering(content=BAD_CPIM, kind="message/cpim")
    session.send(wrapped)
    assert "cpim" not in kinds(scene)


def test_a_cpim_part_where_the_content_cannot_be_told() -> None:
    scene, session, wrapped = delivering(content=BAD_CPIM, kind="message/cpim")
    wrapped.body = BAD_CPIM + b"!"
    session.send(wrapped)
    assert "cpim" not in kinds(scene)


def test_a_trace_with_nothing_in_it() -> None:
    trace = Scene(QUIET).trace()
    assert list(things(Facts(Trace(trace.context)))) == []
