"""Legal courses of a session that are easily taken for faults, and faults that are easily taken for legal ones."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cpmspec.evidence.trace import Kind, Pco, Role
from cpmspec.judge.verdict import Verdict
from scene import ALICE, PSI, Scene, Sent, Session, sdp

QUIET = replace(ALICE, history=False)
PUSHED = replace(QUIET, establishment="push")
MIXED = "multipart/mixed;boundary=b0und"


def opened(
    user: object = QUIET, count: int = 2, mode: str = "pager", **options: object
) -> tuple[Scene, Session, list[Sent]]:
    assert isinstance(user, type(ALICE))
    scene = Scene(user)
    messages = [scene.defer(mode, user) for _ in range(count)]
    scene.wait(5)
    scene.register(user)
    return scene, scene.session(user, **options), messages


def closing(scene: Scene, status: int = 480) -> None:
    """What every run ends with: the user registers, retrieves and leaves."""
    scene.wait(10)
    scene.register(expires=0)
    scene.register()
    scene.wait(4)
    scene.session(status=status)
    scene.register(expires=0)


def retried(session: Session, cseq: int) -> None:
    """The INVITE of the session again, as after a challenge."""
    copied = [(name, f"{cseq} INVITE" if name == "CSeq" else value) for name, value in session.copied]
    sender, receiver = (Role.CORE, Role.IUT) if session.pull else (Role.IUT, Role.CORE)
    extra = [("Max-Forwards", "70"), ("Contact", "<sip:alice@client:5080>" if session.pull else "<sip:pf>")]
    if session.pull:
        extra += [("P-Asserted-Identity", f"<{session.user.uri}>"), *session.record_route]
    uri = PSI if session.pull else session.user.uri
    body = session.offer if session.pull else sdp(session.pf_path)
    head = [*copied, *extra, ("Content-Type", "application/sdp")]
    session.scene.sip(sender, receiver, f"INVITE {uri} SIP/2.0", head, body)
    session.copied = copied


def test_a_push_that_was_challenged_first() -> None:
    scene, session, messages = opened(PUSHED, status=407)
    retried(session, 2)
    session.answer()
    for sent in messages:
        session.send(session.wrap(sent))
    session.bye(cseq=3)
    assert scene.broken() == set()
    assert scene.judge().of("DLV-3.3") is Verdict.PASS


@pytest.mark.parametrize("status", [401, 407, 422])
def test_a_retrieval_that_was_asked_to_be_repeated(status: int) -> None:
    scene, session, messages = opened(status=status)
    retried(session, 2)
    session.answer()
    for sent in messages:
        session.send(session.wrap(sent))
    session.bye()
    assert scene.broken() == set()
    assert scene.judge().of("DLV-1.1") is Verdict.PASS


def test_a_retrieval_that_the_client_cancelled() -> None:
    scene, session, _ = opened(answered=False)
    cancel = [(name, value.replace("INVITE", "CANCEL")) for name, value in session.copied]
    scene.sip(Role.CORE, Role.IUT, f"CANCEL {PSI} SIP/2.0", [*cancel, ("Max-Forwards", "70")])
    scene.response(Role.IUT, Role.CORE, 200, cancel)
    session.answer(487)
    assert "DLV-1.1" not in scene.judge().requirements


def test_a_retrieval_whose_user_the_core_does_not_assert_may_be_refused() -> None:
    scene = Scene(QUIET)
    scene.defer()
    scene.wait(5)
    extra = [("Contact", "<sip:alice@client>"), ("Content-Type", "application/sdp")]
    path = sdp("msrp://127.0.0.1:5080/x;tcp")
    copied = scene.request(Role.CORE, Role.IUT, "INVITE", PSI, QUIET.uri, f"<{PSI}>", "unasserted", extra, path)
    scene.response(Role.IUT, Role.CORE, 403, copied)
    assert scene.broken() == set()


def test_a_session_whose_path_changes_in_the_dialog() -> None:
    scene, session, messages = opened()
    session.send(session.wrap(messages[0]))
    session.path = "msrp://127.0.0.1:5080/moved;tcp"
    to, kind = f"<{QUIET.uri}>;tag=cl", ("Content-Type", "application/sdp")
    extra = [("Contact", "<sip:pf>"), kind]
    copied = scene.request(
        Role.IUT, Role.CORE, "INVITE", "sip:alice@client:5080", "sip:pf", to, session.call_id, extra,
        sdp(session.pf_path), from_tag="pf",
    )  # fmt: skip
    scene.response(Role.CORE, Role.IUT, 200, copied, [("Contact", "<sip:alice@client:5080>"), kind], sdp(session.path))
    session.send(session.wrap(messages[1]))
    session.bye()
    assert scene.broken() == set()


def test_a_retrieval_whose_description_comes_with_the_ack() -> None:
    scene = Scene(QUIET)
    sent = scene.defer()
    scene.wait(5)
    session = scene.session(answered=False)
    frame = scene.frames.pop()
    head = frame.octets.split(b"\r\n\r\n")[0].split(b"\r\n")
    kept = [line for line in head if not line.startswith((b"Content-Length", b"Content-Type"))]
    scene.frames.append(replace(frame, octets=b"\r\n".join([*kept, b"Content-Length: 0", b"", b""])))
    session.answer()
    to = f"<{PSI}>;tag=pf"
    scene.request(
        Role.CORE, Role.IUT, "ACK", "sip:pf", QUIET.uri, to, session.call_id,
        [("Content-Type", "application/sdp")], session.offer, from_tag="cl",
    )  # fmt: skip
    session.send(session.wrap(sent))
    session.bye()
    assert scene.broken() == set()


def test_a_second_device_while_the_first_is_served() -> None:
    scene, session, messages = opened()
    session.send(session.wrap(messages[0]))
    second = scene.session()
    second.bye()
    session.send(session.wrap(messages[1]))
    session.bye()
    closing(scene)
    assert scene.broken() == set()


def test_the_next_retrieval_forbids_what_had_failed() -> None:
    scene, session, messages = opened(count=1)
    session.send(session.wrap(messages[0]), answer=413)
    session.bye()
    scene.session(status=488, offer={"accept-types": "text/plain"})
    assert scene.broken() == set()


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("multipart/alternative;boundary=in", b"--in\r\nContent-Type: text/html\r\n\r\n<p>\r\n--in--\r\n"),
        ("message/cpim", b"From: <sip:b@x>\r\n\r\nContent-Type: text/html\r\n\r\n<p>"),
    ],
)
def test_a_type_deep_inside_that_the_client_does_not_take(kind: str, content: bytes) -> None:
    scene = Scene(QUIET)
    scene.defer(kind=kind, content=content)
    scene.wait(5)
    taken = "message/sipfrag message/cpim multipart/alternative text/plain"
    scene.session(offer={"accept-wrapped-types": taken}).bye()
    assert "DLV-1.1" not in scene.judge().requirements
    scene.session(offer={"accept-wrapped-types": f"{taken} text/html"}).bye()
    assert "DLV-4.1" in scene.broken()


def test_a_message_given_up_because_a_chunk_was_never_answered() -> None:
    scene, session, messages = opened(count=1, mode="large")
    session.send(session.wrap(messages[0]), chunks=3, cut=1, answer=None)
    scene.wait(30)
    session.bye()
    assert "DLV-3.2" not in scene.broken()


def test_a_message_given_up_because_another_one_ended_the_session() -> None:
    scene, session, messages = opened(mode="large")
    session.send(session.wrap(messages[1]), chunks=3, cut=2)
    session.send(session.wrap(messages[0]), answer=481)
    session.bye()
    assert scene.broken() == set()


def test_a_message_that_the_pf_aborts_and_sends_anew() -> None:
    scene, session, messages = opened(count=1)
    octets = session.wrap(messages[0]).render()
    session.chunk(MIXED, "idq0", octets[:-10], 1, len(octets), "#", 200)
    session.send(session.wrap(messages[0]))
    session.bye()
    assert scene.broken() == set()
    assert scene.judge().of("DLV-1.2") is Verdict.INCONC


def report(session: Session, message_id: str, size: int, status: int = 200) -> None:
    head = f"MSRP rep0rt REPORT\r\nTo-Path: {session.pf_path}\r\nFrom-Path: {session.path}\r\nMessage-ID: {message_id}"
    text = f"{head}\r\nByte-Range: 1-{size}/{size}\r\nStatus: 000 {status} OK\r\n-------rep0rt$\r\n"
    session.scene.put(Pco.MSRP, Role.CLIENT, Role.IUT, text.encode(), connection=session.connection)


@pytest.mark.parametrize("failure", ["no", "partial"])
def test_a_success_report_alone_tells_of_delivery(failure: str) -> None:
    scene, session, messages = opened(count=1)
    octets = session.wrap(messages[0]).render()
    wanted = {"Success_Report": "yes", "Failure_Report": failure}
    session.chunk(MIXED, "idr0", octets, 1, len(octets), "$", None, **wanted)
    report(session, "idr0", len(octets))
    session.bye()
    closing(scene)
    assert scene.broken() == set()
    assert scene.judge().of("DLV-4.3") is Verdict.PASS


def test_a_success_report_that_never_comes_may_be_waited_for() -> None:
    scene, session, messages = opened(count=1)
    octets = session.wrap(messages[0]).render()
    session.chunk(MIXED, "idr0", octets, 1, len(octets), "$", 200, Success_Report="yes")
    scene.wait(20)
    session.bye()
    assert scene.broken() == set()


def test_the_report_of_a_second_transfer_says_nothing_of_the_first() -> None:
    scene, session, messages = opened(count=1)
    octets = session.wrap(messages[0]).render()
    session.send(session.wrap(messages[0]), message_id="idr0")
    session.chunk(MIXED, "idr0", octets, 1, len(octets), "$", 200)
    report(session, "idr0", len(octets), 413)
    session.bye()
    scene.session(status=480)
    assert scene.broken() == {"DLV-1.2"}


def test_a_first_chunk_without_byte_range() -> None:
    scene, session, messages = opened(count=1)
    octets = session.wrap(messages[0]).render()
    session.chunk(MIXED, "idb0", octets[:60], 1, len(octets), "+", 200)
    for index in (-2, -1):
        frame = scene.frames[index]
        lines = [line for line in frame.octets.split(b"\r\n") if not line.startswith(b"Byte-Range")]
        scene.frames[index] = replace(frame, octets=b"\r\n".join(lines))
    session.chunk(MIXED, "idb0", octets[60:], 61, len(octets), "$", 200)
    session.bye()
    assert scene.broken() == set()
    assert scene.judge().of("DLV-2a.2") is Verdict.PASS


def test_chunks_of_two_messages_interleaved() -> None:
    scene, session, messages = opened(mode="large")
    both = [session.wrap(sent).render() for sent in messages]
    for start in (0, 100):
        for index, octets in enumerate(both):
            piece, flag = (octets[:100], "+") if start == 0 else (octets[100:], "$")
            session.chunk(MIXED, f"idm{index}", piece, start + 1, len(octets), flag, 200)
    session.bye()
    assert scene.broken() == set()


def test_one_refused_chunk_sent_again() -> None:
    scene, session, messages = opened(count=1)
    octets = session.wrap(messages[0]).render()
    session.chunk(MIXED, "idc0", octets[:60], 1, len(octets), "+", 200)
    session.chunk(MIXED, "idc0", octets[60:90], 61, len(octets), "+", 400)
    session.chunk(MIXED, "idc0", octets[60:90], 61, len(octets), "+", 200)
    session.chunk(MIXED, "idc0", octets[90:], 91, len(octets), "$", 200)
    session.bye()
    closing(scene)
    assert scene.broken() == set()


@pytest.mark.parametrize("status", [401, 407, 503])
def test_a_bye_sent_again_because_of_its_answer(status: int) -> None:
    scene, session, messages = opened(count=1)
    session.send(session.wrap(messages[0]))
    session.bye(answered=False)
    last = scene.frames[-1].octets.decode()
    copied = [(name, line.partition(": ")[2]) for line in last.split("\r\n") if (name := line.partition(":")[0]) in (
        "Via", "From", "To", "Call-ID", "CSeq")]  # fmt: skip
    scene.response(Role.CORE, Role.IUT, status, copied)
    session.bye(cseq=2 if status == 503 else 3)
    assert scene.broken() == set()


def test_a_connection_that_the_client_closes_before_anything_is_sent() -> None:
    scene, session, _ = opened()
    head = f"MSRP b1nd SEND\r\nTo-Path: {session.pf_path}\r\nFrom-Path: {session.path}\r\nMessage-ID: bind1\r\n"
    bind = f"{head}Byte-Range: 1-0/0\r\n-------b1nd$\r\n".encode()
    scene.put(Pco.MSRP, Role.CLIENT, Role.IUT, bind, connection=session.connection)
    scene.put(Pco.MSRP, Role.CLIENT, Role.IUT, b"", connection=session.connection, kind=Kind.CLOSE)
    session.bye()
    assert "DLV-1.1" not in scene.judge().requirements


def test_nothing_sent_and_bye_breaks_1_1() -> None:
    scene, session, _ = opened()
    session.bye()
    assert scene.broken() == {"DLV-1.1"}


def test_a_second_device_that_gets_what_was_just_answered() -> None:
    scene, session, messages = opened(count=1)
    second = scene.session()
    session.send(session.wrap(messages[0]))
    second.send(second.wrap(messages[0]))
    session.bye()
    second.bye()
    assert "DLV-4.3" not in scene.broken()
    third = scene.session()
    third.send(third.wrap(messages[0]))
    third.bye()
    assert "DLV-4.3" in scene.broken()


def test_a_target_that_was_refreshed_is_where_the_bye_goes() -> None:
    scene, session, messages = opened(count=1)
    to, kind = "<sip:pf>;tag=pf", ("Content-Type", "application/sdp")
    copied = scene.request(
        Role.CORE, Role.IUT, "INVITE", "sip:pf", QUIET.uri, to, session.call_id,
        [("Contact", "<sip:alice@elsewhere:5080>"), kind], session.offer, cseq=2, from_tag="cl",
    )  # fmt: skip
    scene.response(Role.IUT, Role.CORE, 200, copied, [("Contact", "<sip:pf>"), kind], sdp(session.pf_path))
    session.send(session.wrap(messages[0]))
    session.bye(uri="sip:alice@elsewhere:5080")
    assert scene.broken() == set()
