"""Corners of what is worked out from a trace: which message is which, who took what, how a transfer ended."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cpmspec.evidence.context import ServedUser
from cpmspec.evidence.trace import Pco, Role
from cpmspec.judge.catalogue import Catalogue
from cpmspec.judge.facts import Facts
from cpmspec.judge.judge import judge
from cpmspec.judge.sessions import Outcome
from cpmspec.judge.verdict import Blame, Finding, Verdict
from scene import ALICE, Scene, Sent, Session, catalogue

QUIET = replace(ALICE, history=False)
PUSHED = replace(QUIET, establishment="push")
TYPE = "multipart/mixed;boundary=b0und"
CATALOGUE: Catalogue = catalogue()


def findings(scene: Scene, requirement: str) -> list[Finding]:
    return [one for one in judge(scene.trace(), CATALOGUE).findings if one.requirement == requirement]


def deferred(count: int = 1, user: ServedUser = QUIET, **options: object) -> tuple[Scene, list[Sent]]:
    scene = Scene(user, **options)
    found = [scene.defer(user=user) for _ in range(count)]
    scene.wait(5)
    scene.register(user)
    return scene, found


def send(
    session: Session, octets: bytes, message_id: str, flag: str = "$", answer: int | None = 200, **head: str
) -> str:
    return session.chunk(TYPE, message_id, octets, 1, len(octets), flag, answer, **head)


# --- messages that nothing tells apart -------------------------------------------------------------------------------


def alike() -> tuple[Scene, list[Sent]]:
    """Two messages that have everything in common but their CSeq, which is not stored."""
    scene = Scene(QUIET)
    same = {"Subject": "s", "Conversation-ID": "c", "Contribution-ID": "n"}
    messages = [scene.defer(call_id="same@bob", content=b"same", more=same) for _ in range(2)]
    scene.wait(5)
    scene.register()
    return scene, messages


def sent_as(session: Session, sent: Sent, message_id: str, answer: int = 200) -> None:
    send(session, session.wrap(sent).render(), message_id, answer=answer)


def taken_for(scene: Scene) -> list[int]:
    """Which of the deferred messages each attempt is taken for."""
    facts = Facts(scene.trace())
    return [anatomy.one.key for anatomy in facts.anatomies if anatomy.one is not None]


def test_two_alike_are_taken_one_after_the_other() -> None:
    scene, messages = alike()
    session = scene.session()
    for sent, name in zip(messages, ("one1", "two2"), strict=True):
        sent_as(session, sent, name)
    assert taken_for(scene) == [0, 1]


def test_a_second_try_under_the_same_message_id_is_the_same_message() -> None:
    scene, messages = alike()
    session = scene.session()
    sent_as(session, messages[0], "one1", 400)
    sent_as(session, messages[0], "one1")
    sent_as(session, messages[1], "two2")
    assert taken_for(scene) == [0, 0, 1]


def test_what_an_earlier_session_failed_to_deliver_may_come_again() -> None:
    scene, messages = alike()
    first = scene.session()
    sent_as(first, messages[0], "one1", 400)
    sent_as(first, messages[1], "two2")
    first.bye()
    second = scene.session()
    sent_as(second, messages[0], "new1")
    assert taken_for(scene) == [0, 1, 0]


# --- who took what ---------------------------------------------------------------------------------------------------


def test_a_message_that_the_served_user_sends_is_not_for_him() -> None:
    scene = Scene(QUIET)
    scene.defer(more={"P-Served-User": f"<{QUIET.uri}>;sescase=orig"})
    assert Facts(scene.trace()).deferred == ()


def test_a_forwarded_message_that_the_client_refuses_is_deferred() -> None:
    scene = Scene(QUIET)
    sent = scene.defer()
    answer = scene.frames.pop()
    extra = [("Content-Type", "text/plain")]
    to = f"<{QUIET.uri}>"
    copied = scene.request(
        Role.IUT, Role.CORE, "MESSAGE", QUIET.uri, "sip:bob@example.com", to, sent.call_id, extra, sent.content, cseq=1
    )
    scene.response(Role.CORE, Role.IUT, 480, copied)
    scene.frames.append(replace(answer, time_us=scene.us + 1))
    assert [one.firm for one in Facts(scene.trace()).deferred] == [True]


def test_an_invitation_that_was_refused_brings_no_message() -> None:
    scene = Scene(QUIET)
    copied = scene.request(Role.CORE, Role.IUT, "INVITE", QUIET.uri, "sip:bob@example.com", f"<{QUIET.uri}>", "inv")
    scene.response(Role.IUT, Role.CORE, 480, copied)
    assert Facts(scene.trace()).deferred == ()


@pytest.mark.parametrize("answered", [True, False])
def test_a_push_without_a_description_of_the_client(answered: bool) -> None:
    scene, (sent,) = deferred(user=PUSHED)
    session = scene.session(PUSHED, answered=False)
    if answered:
        scene.response(Role.CORE, Role.IUT, 200, session.copied, [("Contact", "<sip:c>")], to_tag="cl")
    (found,) = Facts(scene.trace()).sessions
    assert (found.client_sdp, sent.user) == (None, PUSHED)
    assert findings(scene, "DLV-1.1") == []


def test_an_invitation_that_the_pf_passes_on_is_no_session() -> None:
    scene = Scene(QUIET)
    for sender, receiver in ((Role.CORE, Role.IUT), (Role.IUT, Role.CORE)):
        cseq = scene.next()
        scene.request(sender, receiver, "INVITE", QUIET.uri, "sip:bob@example.com", f"<{QUIET.uri}>", "inv", cseq=cseq)
    assert Facts(scene.trace()).sessions == ()


def test_a_record_written_before_an_answer_that_came_too_late_to_tell() -> None:
    scene, (sent,) = deferred(user=ALICE)
    session = scene.session()
    octets = session.wrap(sent).render()
    tid = send(session, octets, "one1", answer=None)
    scene.record(sent)
    scene.wait(29)
    session.reply(tid)
    assert findings(scene, "DLV-5.3") == []


# --- how a transfer ended --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spans", "reported"),
    [
        (["1-*/*"], True),
        ([""], True),
        (["1-10/{0}", "5-{0}/{0}"], True),
        (["11-{0}/{0}", "1-10/{0}"], True),
        (["1-10/{0}"], False),
        (["1-10/{0}", "12-{0}/{0}"], False),
        ([], False),
    ],
)
def test_success_reports_and_what_they_cover(spans: list[str], reported: bool) -> None:
    scene, (sent,) = deferred()
    session = scene.session()
    octets = session.wrap(sent).render()
    send(session, octets, "one1", Success_Report="yes")
    for span in spans:
        head = [("To-Path", session.pf_path), ("From-Path", session.path), ("Message-ID", "one1")]
        head += [("Byte-Range", span.format(len(octets)))] if span else []
        head.append(("Status", "000 200 OK"))
        scene.msrp(Role.CLIENT, Role.IUT, f"rep{scene.next()} REPORT", head, connection=session.connection)
    (attempt,) = Facts(scene.trace()).sessions[0].attempts
    assert (attempt.reported_us is not None) is reported


@pytest.mark.parametrize(("means", "outcome"), [("200", Outcome.UNKNOWN), ("200-and-report", Outcome.FAILED)])
def test_no_answer_and_no_report_where_only_a_report_could_tell(means: str, outcome: Outcome) -> None:
    scene, (sent,) = deferred(delivered_means=means)
    session = scene.session()
    octets = session.wrap(sent).render()
    send(session, octets, "one1", answer=None, Success_Report="yes", Failure_Report="no")
    facts = Facts(scene.trace())
    assert facts.fate(facts.sessions[0].attempts[0]).outcome is outcome


# --- corners of single checks ----------------------------------------------------------------------------------------


def test_a_run_that_ended_before_a_window_did_decides_nothing() -> None:
    scene, (sent,) = deferred()
    session = scene.session()
    session.send(session.wrap(sent))
    trace = scene.trace()
    cut = replace(trace, context=replace(trace.context, closed_us=scene.us + 1))
    found = [one for one in judge(cut, CATALOGUE).findings if one.requirement == "DLV-3.1"]
    assert [(one.verdict, one.blame) for one in found] == [(Verdict.INCONC, Blame.ENVIRONMENT)]


def test_a_push_that_the_client_refuses_breaks_nothing() -> None:
    scene, _ = deferred(user=PUSHED)
    scene.session(PUSHED, status=486)
    assert findings(scene, "DLV-1.1") == []


@pytest.mark.parametrize(("tls", "verdicts"), [(True, {Verdict.FAIL}), (False, set())])
def test_a_client_that_asks_for_tls(tls: bool, verdicts: set[Verdict]) -> None:
    scene, _ = deferred()
    session = scene.session()
    session.bye()
    trace = scene.trace()
    frames = tuple(replace(one, octets=one.octets.replace(b"TCP/MSRP", b"TCP/TLS/MSRP")) for one in trace.frames)
    frames = tuple(replace(one, octets=one.octets.replace(b"Content-Length: ", b"Content-Length: 0")) for one in frames)
    trace = replace(trace, frames=frames, context=replace(trace.context, pics={"msrp_tls": tls}))
    assert {one.verdict for one in judge(trace, CATALOGUE).findings if one.requirement == "DLV-1.1"} == verdicts


@pytest.mark.parametrize(
    ("wrapped", "verdicts"),
    [
        ("message/sipfrag text/plain", {Verdict.FAIL}),
        ("message/sip text/plain", {Verdict.FAIL}),
        ("text/plain", set()),
    ],
)
def test_a_client_that_takes_no_headers(wrapped: str, verdicts: set[Verdict]) -> None:
    scene, _ = deferred()
    scene.session(offer={"accept-wrapped-types": wrapped}).bye()
    assert {one.verdict for one in findings(scene, "DLV-1.1")} == verdicts


def test_a_late_refusal_of_an_earlier_chunk_is_no_second_transfer() -> None:
    """A message is begun again because its second chunk was refused; then the first one is refused as well."""
    scene, (sent,) = deferred()
    session = scene.session()
    octets = session.wrap(sent).render()
    cut = len(octets) - 30
    first = session.chunk(TYPE, "one1", octets[:cut], 1, len(octets), "+", None)
    session.chunk(TYPE, "one1", octets[cut:-5], cut + 1, len(octets), "+", 400)
    send(session, octets, "one1")
    session.reply(first, 400)
    session.bye()
    assert {one.verdict for one in findings(scene, "DLV-1.2")} == {Verdict.PASS}


def test_no_headers_at_all() -> None:
    scene, (sent,) = deferred(stored_headers={"sip": ["Subject"], "send": []})
    scene.explicit = ()
    session = scene.session()
    wrapped = session.wrap(sent)
    wrapped.octets = b"--b0und\r\nContent-Type: text/plain\r\n\r\n" + sent.content + b"\r\n--b0und--\r\n"
    session.send(wrapped)
    session.bye()
    (found,) = findings(scene, "DLV-2a.1")
    assert (found.verdict, found.actual) == (Verdict.FAIL, "no header of the stored request")
    assert findings(scene, "DLV-2b.1") == []


@pytest.mark.parametrize(("closed", "verdict"), [(True, Verdict.FAIL), (False, Verdict.PASS)])
def test_a_later_session_that_does_not_end(closed: bool, verdict: Verdict) -> None:
    scene, messages = deferred(2)
    session = scene.session()
    session.send(session.wrap(messages[0]), answer=413)
    session.send(session.wrap(messages[1]))
    session.bye()
    scene.wait(2)
    scene.session(offer={"setup": "passive"}, pf={"setup": "active"})
    scene.wait(10)
    scene.closed = closed
    assert {one.verdict for one in findings(scene, "DLV-4.1")} == {verdict}


@pytest.mark.parametrize(("form", "verdicts"), [("none", set()), ("message-summary", {Verdict.FAIL})])
def test_a_pf_that_does_not_notify(form: str, verdicts: set[Verdict]) -> None:
    scene, (sent,) = deferred(notification=form)
    session = scene.session()
    session.send(session.wrap(sent), answer=413)
    session.bye()
    scene.register(expires=0)
    scene.register()
    scene.wait(10)
    assert {one.verdict for one in findings(scene, "DLV-4.2")} == verdicts


@pytest.mark.parametrize(("closed", "verdict"), [(True, Verdict.FAIL), (False, Verdict.PASS)])
def test_a_message_while_the_answer_to_the_invite_is_out(closed: bool, verdict: Verdict) -> None:
    scene, (sent,) = deferred()
    session = scene.session(answered=False)
    session.send(session.wrap(sent))
    scene.closed = closed
    assert {one.verdict for one in findings(scene, "DLV-0.1")} == {verdict}


@pytest.mark.parametrize(
    ("octets", "by", "expected"),
    [
        (b"Max-Forwards: 70\r\n", b"", "a Max-Forwards header"),
        (b";branch=z9hG4bK", b";branch=old", "a Via branch that begins with z9hG4bK"),
        (b"CSeq: 2 BYE", b"CSeq: 2 BYF", "CSeq with the method BYE"),
        (b"CSeq: 2 BYE", b"CSeq: none", "CSeq with the method BYE"),
    ],
)
def test_a_bye_that_is_wrong_by_itself(octets: bytes, by: bytes, expected: str) -> None:
    scene, (sent,) = deferred()
    session = scene.session()
    session.send(session.wrap(sent))
    session.bye()
    scene.frames = [
        replace(one, octets=one.octets.replace(octets, by))
        if one.octets.startswith(b"BYE") and one.pco is Pco.ISC
        else one
        for one in scene.frames
    ]
    found = [one for one in findings(scene, "DLV-3.3") if one.verdict is Verdict.FAIL]
    assert [one.expected for one in found] == [expected]
