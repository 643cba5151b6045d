"""How a PF may talk to the message store, and how a store may answer."""

from __future__ import annotations

import base64
from dataclasses import replace

import pytest

from cpmspec.evidence.trace import Pco, Role
from cpmspec.judge.octets import store_commands
from cpmspec.judge.verdict import Verdict
from scene import ALICE, Scene, Sent, delivered

OFF = replace(ALICE, uri="sip:carol@example.com", history=False, account="carol")


def opened(count: int = 1, content: bytes | None = None) -> tuple[Scene, list[Sent]]:
    """Messages that have just been delivered, and not recorded yet."""
    scene = Scene()
    messages = [scene.defer(content=content) for _ in range(count)]
    scene.wait(5)
    delivered(scene, messages, recorded=False)
    return scene, messages


def object_of(sent: Sent, *, named: bool = True) -> bytes:
    pairs = [pair for pair in sent.headers if named and pair[0] not in ("To", "Content-Type")]
    head = "".join(f"{name}: {value}\r\n" for name, value in pairs)
    return f"{head}Content-Type: text/plain\r\n\r\n".encode() + sent.content


def append(sent: Sent, tag: str = "a2") -> tuple[bytes, bytes]:
    octets = object_of(sent)
    return f"{tag} APPEND conv {{{len(octets)}+}}\r\n".encode() + octets + b"\r\n", f"{tag} OK done\r\n".encode()


LOGIN = (b"a1 LOGIN alice secret\r\n", b"a1 OK in\r\n")


def plain(authzid: str, authcid: str) -> str:
    return base64.b64encode(f"{authzid}\0{authcid}\0secret".encode()).decode()


@pytest.mark.parametrize(
    "entering",
    [
        [(b'a1 LOGIN "alice" {6+}\r\nsecret\r\n', b"a1 OK in\r\n")],
        [(f"a1 AUTHENTICATE PLAIN {plain('', 'alice')}\r\n".encode(), b"a1 OK in\r\n")],
        [(f"a1 AUTHENTICATE PLAIN {plain('alice', 'master')}\r\n".encode(), b"a1 OK in\r\n")],
        [(b"a1 AUTHENTICATE PLAIN\r\n", b"+ \r\n"), (f"{plain('', 'alice')}\r\n".encode(), b"a1 OK in\r\n")],
        [(b"a1 AUTHENTICATE PLAIN\r\n", b"+ \r\n"), (f"{plain('alice', 'pf')}\r\n".encode(), b"a1 OK in\r\n")],
        [(b"a1 AUTHENTICATE XOAUTH2 dXNlcj1hbGljZQ==\r\n", b"a1 OK in\r\n")],
    ],
)
def test_ways_into_an_account(entering: list[tuple[bytes, bytes]]) -> None:
    scene, (sent,) = opened()
    scene.imap(*entering, append(sent))
    assert scene.broken() == set()
    assert scene.judge().of("DLV-5.1") is Verdict.PASS


def test_several_messages_in_one_append() -> None:
    scene, messages = opened(3)
    parts, date = [], b' (\\Seen) "17-Sep-2026 02:44:25 +0000"'
    for index, sent in enumerate(messages):
        octets = object_of(sent)
        parts.append((date, b" (\\Seen)", b"")[index] + f" {{{len(octets)}+}}\r\n".encode() + octets)
    scene.imap(LOGIN, (b"a2 APPEND conv" + b"".join(parts) + b"\r\n", b"a2 OK done\r\n"))
    assert scene.broken() == set()
    assert {scene.judge().of(name) for name in ("DLV-5.1", "DLV-5.3", "DLV-5.4")} == {Verdict.PASS}


def test_a_literal_that_waits_for_its_continuation() -> None:
    scene, (sent,) = opened()
    octets = object_of(sent)
    scene.imap(
        LOGIN,
        (f"a2 APPEND conv {{{len(octets)}}}\r\n".encode(), b"+ go\r\n"),
        (octets[:20], b""),
        (octets[20:] + b"\r\n", b"a2 OK done\r\n"),
    )
    assert scene.broken() == set()


REFUSED = [
    [LOGIN, (b"a2 APPEND conv {500}\r\n", b"a2 NO [OVERQUOTA] full\r\n")],
    [(b"a1 LOGIN alice secret\r\n", b"a1 NO [UNAVAILABLE] later\r\n")],
    [LOGIN, (b"a2 CREATE conv\r\n", b"a2 NO no room\r\n")],
    [(b"a1 LOGIN alice secret\r\n", b"")],
    [LOGIN, (b"a2 APPEND conv {500}\r\n", b"")],
]


@pytest.mark.parametrize("refused", REFUSED)
def test_a_store_that_refuses_before_there_is_an_object(refused: list[tuple[bytes, bytes]]) -> None:
    scene, (sent,) = opened()
    scene.imap(*refused)
    assert scene.broken() == set()
    scene.wait(20)
    scene.imap(LOGIN, append(sent))
    assert scene.broken() == set()
    assert scene.judge().of("DLV-5.1") is Verdict.PASS


def test_a_refusal_of_somebody_elses_account_excuses_nothing() -> None:
    scene, _ = opened()
    scene.imap((b"a1 LOGIN mallory secret\r\n", b"a1 NO who\r\n"))
    assert scene.broken() == {"DLV-5.1"}


def test_a_refusal_before_the_delivery_excuses_nothing() -> None:
    scene = Scene()
    sent = scene.defer()
    scene.imap((b"a1 LOGIN alice secret\r\n", b"a1 NO later\r\n"))
    scene.wait(5)
    delivered(scene, [sent], recorded=False)
    assert scene.broken() == {"DLV-5.1"}


def test_an_append_that_was_refused_in_time_and_tried_again_late() -> None:
    scene, (sent,) = opened()
    scene.record(sent, answer="NO")
    scene.wait(20)
    scene.record(sent)
    assert scene.broken() == set()


@pytest.mark.parametrize("named", [True, False])
def test_what_another_user_got_too_is_not_taken_for_his(named: bool) -> None:
    scene = Scene(ALICE, OFF)
    own, other = scene.defer(content=b"same"), scene.defer(user=OFF, content=b"same")
    scene.wait(5)
    delivered(scene, [own], recorded=False)
    delivered(scene, [other], OFF)
    scene.record(own, octets=object_of(own, named=named))
    assert scene.broken() <= {"DLV-5.4"}
    scene.record(other)
    assert "DLV-5.2" in scene.broken()


@pytest.mark.parametrize("named", [True, False])
def test_the_one_that_was_delivered_of_two_alike_is_recorded(named: bool) -> None:
    scene = Scene()
    ids = ("11-4711@10.0.0.1", "1-4711@10.0.0.1")
    first, second = (scene.defer(content=b"same", call_id=call_id) for call_id in ids)
    scene.wait(5)
    scene.register()
    session = scene.session()
    session.send(session.wrap(first))
    session.send(session.wrap(second), answer=413)
    session.bye()
    scene.record(first, octets=object_of(first, named=named))
    assert scene.broken() <= {"DLV-5.4"}
    if named:
        assert scene.broken() == set()
        scene.record(second)
        assert scene.broken() == {"DLV-5.3"}


def test_a_short_message_that_stands_in_another_one() -> None:
    scene = Scene()
    short, long = scene.defer(content=b"hi"), scene.defer(content=b"this is another")
    scene.wait(5)
    scene.register()
    session = scene.session()
    session.send(session.wrap(short), answer=413)
    session.send(session.wrap(long))
    session.bye()
    scene.record(long, octets=object_of(long, named=False))
    assert scene.broken() <= {"DLV-5.4"}


def test_a_strangers_object_with_the_same_content_on_a_connection_that_was_there_before() -> None:
    scene = Scene()
    sent = scene.defer(content=b"same")
    stranger = replace(sent, headers=[("Call-ID", "stranger@x"), ("Conversation-ID", "elsewhere")])
    scene.imap(append(stranger))
    scene.wait(5)
    delivered(scene, [sent])
    assert scene.broken() == set()


def test_an_imdn_message_id_inside_a_coded_body() -> None:
    cpim = b"From: <sip:b@x>\r\nNS: imdn <urn:ietf:params:imdn>\r\nimdn.Message-ID: im1\r\n\r\n\r\nhi"
    scene = Scene()
    sent = scene.defer(content=cpim, kind="message/cpim")
    scene.wait(5)
    delivered(scene, [sent], recorded=False)
    head = object_of(sent).split(b"\r\n\r\n")[0].replace(b"text/plain", b"message/cpim")
    coded = head + b"\r\nContent-Transfer-Encoding: base64\r\n\r\n" + base64.encodebytes(cpim)
    scene.record(sent, octets=coded)
    assert scene.broken() == set()


def test_a_forwarded_message_may_be_recorded_too() -> None:
    scene = Scene()
    sent = scene.defer()
    again = [(name, value) for name, value in sent.headers if name not in ("From", "To", "Call-ID")]
    copied = scene.request(
        Role.IUT, Role.CORE, "MESSAGE", ALICE.uri, "sip:bob@example.com", f"<{ALICE.uri}>", sent.call_id, again,
        sent.content,
    )  # fmt: skip
    scene.response(Role.CORE, Role.IUT, 200, copied)
    scene.record(sent)
    assert scene.broken() == set()


def test_a_subject_about_sessions_marks_nothing() -> None:
    scene = Scene()
    sent = scene.defer(Subject="what is a CPM-Session?")
    scene.wait(5)
    delivered(scene, [sent])
    assert scene.broken() == set()
    scene.record(sent, octets=b"Content-Type: application/x-cpm-session\r\n\r\n<session/>")
    assert scene.broken() == {"DLV-0.2"}


def test_one_store_connection_for_all() -> None:
    scene, messages = opened(2)
    connection = scene.connection("store")
    scene.imap(LOGIN, append(messages[0], "a2"), append(messages[1], "a3"), connection=connection)
    scene.put(Pco.STORE, Role.IUT, Role.STORE, b"a4 LOGOUT\r\n", connection=connection)
    assert scene.broken() == set()


def test_a_refusal_amid_a_literal_that_comes_anyway() -> None:
    """RFC 7888 4: a client sends a non-synchronising literal whatever the store says; Dovecot says NO before it."""
    scene, messages = opened(1)
    name, octets = b"a2 APPEND conv", object_of(messages[0])
    connection = scene.connection("store")
    announced = name + b" {%d+}\r\n" % len(octets)
    scene.imap(LOGIN, (announced, b"a2 NO [TRYCREATE] no such mailbox\r\n"), connection=connection)
    scene.imap((octets[:20], b""), (octets[20:] + b"\r\n", b""), append(messages[0], "a3"), connection=connection)
    commands = store_commands(scene.trace())
    assert [(one.command.tag, one.command.name, one.accepted) for one in commands] == [
        ("a1", "LOGIN", True), ("a2", "APPEND", False), ("a3", "APPEND", True),
    ]  # fmt: skip
    assert commands[1].command.arguments == (b"conv", octets)
    assert commands[1].answer == b"NO [TRYCREATE] no such mailbox"
    assert scene.broken() == set()
