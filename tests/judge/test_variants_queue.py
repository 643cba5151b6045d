"""What gets into the queue, and what is told of it: originators, forwarding, identities, notifications."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cpmspec.evidence.trace import Pco, Role
from cpmspec.judge.verdict import Verdict
from scene import ALICE, Scene, Sent, Session, delivered

QUIET = replace(ALICE, history=False)
TEL = "tel:+1-555-0100"


def fetched(scene: Scene, messages: list[Sent]) -> Session:
    scene.wait(5)
    scene.register()
    session = scene.session()
    for sent in messages:
        session.send(session.wrap(sent))
    session.bye()
    return session


def mo(scene: Scene, sender: Role, octets: bytes, connection: int) -> None:
    receiver = Role.IUT if sender is Role.ORIGINATOR else Role.ORIGINATOR
    scene.put(Pco.MO, sender, receiver, octets, connection=connection)


def test_an_originator_that_tries_again_with_the_same_message_id() -> None:
    scene = Scene(QUIET)
    sent = scene.defer("large")
    scene.frames.pop()  # no success REPORT
    request, answer = scene.frames[-2:]
    scene.frames[-1] = replace(answer, octets=answer.octets.replace(b"200 OK", b"400 No"))
    for frame in (request, answer):
        octets = frame.octets.replace(b"MSRP tid", b"MSRP again").replace(b"-------tid", b"-------again")
        mo(scene, frame.sender, octets, frame.connection)
    sent.received_us = scene.us
    fetched(scene, [sent])
    assert scene.broken() == set()
    assert scene.judge().of("DLV-1.1") is Verdict.PASS
    scene = Scene(QUIET)
    scene.defer("large")
    scene.frames.pop()
    answer = scene.frames[-1]
    scene.frames[-1] = replace(answer, octets=answer.octets.replace(b"200 OK", b"413 No"))
    fetched(scene, [])
    assert "DLV-1.1" not in scene.judge().requirements


@pytest.mark.parametrize("kept", [True, False])
def test_an_originator_that_asks_for_no_answer(kept: bool) -> None:
    scene = Scene(QUIET)
    sent = scene.defer("large")
    del scene.frames[-2:]  # neither the 200 nor the success REPORT
    request = scene.frames[-1]
    octets = request.octets.replace(b"Success-Report: yes", b"Success-Report: yes\r\nFailure-Report: no")
    scene.frames[-1] = replace(request, octets=octets)
    sent.send.append(("Failure-Report", "no"))
    fetched(scene, [sent] if kept else [])
    assert scene.broken() == set()


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize("mode", ["pager", "large"])
def test_a_message_whose_answer_was_lost_with_the_pf(mode: str, kept: bool) -> None:
    scene = Scene(QUIET)
    sent = scene.defer(mode)
    del scene.frames[-1 if mode == "pager" else -2 :]
    fetched(scene, [sent] if kept else [])
    assert scene.broken() == set()


@pytest.mark.parametrize("kept", [True, False])
def test_a_forwarded_message_that_the_client_takes_late(kept: bool) -> None:
    scene = Scene(QUIET)
    sent = scene.defer()
    again = [(name, value) for name, value in sent.headers if name not in ("From", "To", "Call-ID")]
    copied = scene.request(
        Role.IUT, Role.CORE, "MESSAGE", QUIET.uri, "sip:bob@example.com", f"<{QUIET.uri}>", sent.call_id, again,
        sent.content, cseq=1,
    )  # fmt: skip
    if kept:
        session = fetched(scene, [sent])
        assert session.call_id
        scene.response(Role.CORE, Role.IUT, 200, copied)
    else:
        scene.response(Role.CORE, Role.IUT, 200, copied)
        fetched(scene, [])
    assert scene.broken() == set()


def test_a_message_forwarded_by_a_pf_that_stands_between() -> None:
    scene = Scene(QUIET)
    scene.defer(content=b"passed on")
    answer = scene.frames.pop()
    copied = scene.request(
        Role.IUT, Role.CORE, "MESSAGE", QUIET.uri, "sip:bob@example.com", f"<{QUIET.uri}>", "other@pf",
        [("Content-Type", "text/plain")], b"passed on",
    )  # fmt: skip
    scene.response(Role.CORE, Role.IUT, 200, copied)
    scene.frames.append(replace(answer, time_us=scene.us + 1))
    fetched(scene, [])
    assert scene.broken() == set()


def test_a_failed_message_that_expires_before_the_next_registration() -> None:
    scene = Scene(QUIET)
    messages = [scene.defer(), scene.defer(Expires="20")]
    session = fetched(scene, [])
    del scene.frames[-2:]
    session.send(session.wrap(messages[0]))
    session.send(session.wrap(messages[1]), answer=413)
    session.bye()
    scene.register(expires=0)
    scene.wait(60)
    scene.register()
    scene.wait(4)
    scene.session(status=480)
    assert scene.broken() == set()


def test_a_message_tried_again_after_a_challenge() -> None:
    scene = Scene(QUIET)
    scene.defer(call_id="one@bob", content=b"same", status=407)
    sent = scene.defer(call_id="one@bob", content=b"same")
    fetched(scene, [sent])
    assert scene.broken() == set()
    assert scene.judge().of("DLV-1.1") is Verdict.PASS


def test_a_message_to_another_identity_of_the_served_user() -> None:
    scene = Scene(QUIET)
    phone = replace(QUIET, uri=TEL)
    sent = scene.defer(user=phone, more={"P-Served-User": f"<{QUIET.uri}>;sescase=term;regstate=reg"})
    fetched(scene, [replace(sent, user=QUIET)])
    assert scene.broken() == set()
    assert scene.judge().of("DLV-1.1") is Verdict.PASS


@pytest.mark.parametrize(("to", "verdict"), [(TEL, Verdict.INCONC), ("sip:carol@example.com", Verdict.FAIL)])
def test_a_message_from_before_the_case(to: str, verdict: Verdict) -> None:
    user = replace(QUIET, fresh=False)
    scene = Scene(user)
    scene.register(user)
    session = scene.session(user)
    other = Sent(user, "pager", "x@y", b"old", "text/plain", [("From", "<sip:x@y>"), ("To", f"<{to}>")])
    session.send(session.wrap(other))
    session.bye()
    assert scene.judge().of("DLV-1.3") is verdict


def test_an_originator_whose_chunks_leave_a_hole_has_delivered_nothing() -> None:
    scene = Scene(QUIET)
    scene.defer("large")
    scene.frames.pop()
    request = scene.frames[-2]
    scene.frames[-2] = replace(request, octets=request.octets.replace(b"Byte-Range: 1-", b"Byte-Range: 5-"))
    fetched(scene, [])
    assert "DLV-1.1" not in scene.judge().requirements


def failed_once() -> tuple[Scene, list[Sent]]:
    """Two messages, of which the client refused the second; the user has left."""
    scene = Scene(QUIET)
    messages = [scene.defer(), scene.defer()]
    scene.wait(5)
    scene.register()
    session = scene.session()
    session.send(session.wrap(messages[0]))
    session.send(session.wrap(messages[1]), answer=413)
    session.bye()
    scene.register(expires=0)
    scene.wait(5)
    return scene, messages


def told(scene: Scene, body: str, method: str = "MESSAGE", call_id: str = "note@pf") -> None:
    copied = scene.request(
        Role.IUT, Role.CORE, method, QUIET.uri, "sip:pf@example.com", f"<{QUIET.uri}>;tag=s", call_id,
        [("Content-Type", "application/simple-message-summary")], body.encode(), cseq=scene.next(),
    )  # fmt: skip
    scene.response(Role.CORE, Role.IUT, 200, copied)


def one_left(scene: Scene, message: Sent) -> None:
    scene.wait(4)
    session = scene.session()
    session.send(session.wrap(message))
    session.bye()


def test_a_notify_in_a_subscription_of_the_client() -> None:
    scene, messages = failed_once()
    scene.register()
    copied = scene.request(
        Role.CORE, Role.IUT, "SUBSCRIBE", QUIET.uri, QUIET.uri, f"<{QUIET.uri}>", "sub@alice",
        [("Event", "message-summary")],
    )  # fmt: skip
    scene.response(Role.IUT, Role.CORE, 200, copied)
    told(scene, f"Messages-Waiting: yes\r\nPager-Message: 1/0\r\n\r\nCall-ID: {messages[1].call_id}\r\n", "NOTIFY",
         "sub@alice")  # fmt: skip
    one_left(scene, messages[1])
    assert scene.broken() == set()
    assert scene.judge().of("DLV-4.2") is Verdict.PASS


@pytest.mark.parametrize(
    ("body", "verdict"),
    [
        ("Messages-Waiting: yes\r\n", Verdict.PASS),
        ("Messages-Waiting: no\r\n", Verdict.FAIL),
        ("Messages-Waiting: yes\r\nPager-Message: 0/1\r\n", Verdict.PASS),
        ("Messages-Waiting: yes\r\nPager-Message: 1/0\r\n\r\nMessage-ID: <{0}>\r\n", Verdict.PASS),
        ("Messages-Waiting: yes\r\nPager-Message: 1/0\r\n\r\nimdn.Message-ID: x\r\nCall-ID: {0}\r\n", Verdict.PASS),
        ("Messages-Waiting: yes\r\nPager-Message: 1/0\r\n\r\nMessage-ID: other\r\n", Verdict.FAIL),
    ],
)
def test_what_a_summary_says(body: str, verdict: Verdict) -> None:
    scene, messages = failed_once()
    scene.register()
    told(scene, body.format(messages[1].call_id))
    one_left(scene, messages[1])
    assert scene.judge().of("DLV-4.2") is verdict


def test_a_message_that_arrives_as_the_notification_leaves() -> None:
    scene, messages = failed_once()
    scene.register()
    third = scene.defer()
    scene.notify(messages[1:])
    scene.wait(4)
    fetched(scene, [messages[1], third])
    assert scene.broken() == set()


def test_a_notification_that_the_delivery_overtook() -> None:
    scene = Scene(QUIET)
    sent = scene.defer()
    session = fetched(scene, [sent])
    assert session.pull
    scene.notify([sent])
    assert scene.broken() == set()
    scene.notify([sent])
    assert scene.broken() == {"DLV-4.3"}


def test_the_one_of_two_that_was_delivered_is_named_by_what_is_its_own() -> None:
    scene = Scene(QUIET)
    thread = {"Contribution-ID": "thread"}
    messages = [scene.defer(more=thread), scene.defer(more=thread)]
    delivered(scene, messages[:1], recorded=False)
    scene.register()
    scene.notify(messages[:1])
    assert "DLV-4.3" in scene.broken()


def test_an_imdn_message_id_names_a_message() -> None:
    cpim = "From: <sip:bob@example.com>\r\nNS: imdn <urn:ietf:params:imdn>\r\nimdn.Message-ID: im1\r\n\r\n"
    content = f"{cpim}Content-Type: text/plain\r\n\r\nhi".encode()
    scene = Scene(QUIET)
    sent = scene.defer(content=content, kind="message/cpim")
    scene.wait(5)
    scene.register()
    session = scene.session()
    session.send(session.wrap(sent), answer=413)
    session.bye()
    scene.register(expires=0)
    scene.register()
    told(scene, "Messages-Waiting: yes\r\nPager-Message: 1/0\r\n\r\nimdn.Message-ID: im1\r\n")
    one_left(scene, sent)
    assert scene.judge().of("DLV-4.2") is Verdict.PASS
