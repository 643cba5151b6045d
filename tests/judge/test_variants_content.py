"""Contents and wrappings that are easily misread: each is legal, or breaks just what is named."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from cpmspec.evidence.trace import Pco, Role
from cpmspec.judge.verdict import Grade, Verdict
from scene import ALICE, Scene, Sent, Wrapped

QUIET = replace(ALICE, history=False)
Bend = Callable[[Wrapped], None]
#: octets that are no fragment of SIP by any reading
NO_FRAGMENT = b"Call-ID: a b c\r\nFrom: <sip:x@y>\r\nnot a header line"


def handed_over(scene: Scene, messages: Sequence[Sent], bends: Sequence[Bend | None] = ()) -> Scene:
    """The delivery of messages, each bent in its way."""
    scene.wait(5)
    scene.register()
    session = scene.session()
    for index, sent in enumerate(messages):
        wrapped = session.wrap(sent)
        if index < len(bends) and (bend := bends[index]) is not None:
            bend(wrapped)
        session.send(wrapped)
    session.bye()
    return scene


def without_type(wrapped: Wrapped) -> None:
    """The header section without Content-Type: it stands with the content."""
    wrapped.sip = [pair for pair in wrapped.sip if pair[0] != "Content-Type"]


@pytest.mark.parametrize("mode", ["pager", "large"])
@pytest.mark.parametrize("kind", ["message/sipfrag", "message/sip", "message/msrpfrag", "message/cpim"])
def test_a_content_that_is_a_fragment_itself(mode: str, kind: str) -> None:
    scene = Scene(QUIET)
    messages = [scene.defer(mode, kind=kind, content=NO_FRAGMENT), scene.defer(mode)]
    assert handed_over(scene, messages).broken() == set()
    assert scene.judge().of("DLV-2a.2") is Verdict.PASS


def test_a_content_that_quotes_another_message() -> None:
    scene = Scene(QUIET)
    first = scene.defer()
    quote = "".join(f"{name}: {value}\r\n" for name, value in first.headers).encode()
    messages = [first, scene.defer(kind="message/sipfrag", content=quote)]
    assert handed_over(scene, messages).broken() == set()


def test_a_fragment_as_content_is_no_place_for_the_headers() -> None:
    def as_text(wrapped: Wrapped) -> None:
        wrapped.sip_type = "text/plain"

    scene = Scene(QUIET)
    messages = [scene.defer(kind="message/sipfrag", content=b"Subject: quoted\r\n")]
    assert handed_over(scene, messages, [as_text]).broken() == {"DLV-2b.1"}


def test_a_multipart_content_that_holds_what_another_message_is() -> None:
    scene = Scene(QUIET)
    first = scene.defer(content=b"hello")
    inner = b"--in\r\nContent-Type: text/plain\r\n\r\nhello\r\n--in--\r\n"
    messages = [first, scene.defer(kind="multipart/alternative;boundary=in", content=inner)]
    assert handed_over(scene, messages).broken() == set()


@pytest.mark.parametrize("privacy", ["id", "id;critical", "header; id", "ID"])
def test_an_asserted_identity_is_not_missed_where_privacy_forbids_it(privacy: str) -> None:
    def private(wrapped: Wrapped) -> None:
        wrapped.sip = [pair for pair in wrapped.sip if pair[0] != "P-Asserted-Identity"]

    stored = {"sip": ["From", "To", "Call-ID", "P-Asserted-Identity"], "send": []}
    scene = Scene(QUIET, stored_headers=stored)
    asserted = {"P-Asserted-Identity": "<sip:bob@example.com>, <tel:+1555>"}
    hidden, open_ = scene.defer(Privacy=privacy, more=asserted), scene.defer(more=asserted)
    assert handed_over(scene, [hidden, open_], [private]).broken() == set()


@pytest.mark.parametrize("part", [True, False])
@pytest.mark.parametrize("section", [True, False])
def test_a_message_without_content(part: bool, section: bool) -> None:
    def empty(wrapped: Wrapped) -> None:
        if not section:
            without_type(wrapped)
        if not part:
            octets = wrapped.render()
            wrapped.octets = octets[: octets.rindex(b"--b0und\r\n")] + b"--b0und--\r\n"

    scene = Scene(QUIET)
    messages = [scene.defer(content=b""), scene.defer()]
    assert handed_over(scene, messages, [empty]).broken() == set()


def test_an_altered_content_whose_type_stands_with_it_breaks_2a_2_alone() -> None:
    def altered(wrapped: Wrapped) -> None:
        without_type(wrapped)
        wrapped.body = wrapped.body[:-1] + b"!"

    scene = Scene(QUIET)
    messages = [scene.defer(), scene.defer()]
    assert handed_over(scene, messages, [altered]).broken() == {"DLV-2a.2"}


@pytest.mark.parametrize(
    ("kind", "found", "right"),
    [
        ("text/plain", None, True),
        ("text/plain;charset=us-ascii", None, True),
        ("text/plain;charset=UTF-8", None, False),
        ("text/html", None, False),
        ("text/plain;charset=UTF-8", "text/plain; Charset=utf-8", True),
        ("Text/Plain", "text/plain", True),
        ("application/x;name=A", "application/x;name=a", False),
    ],
)
def test_what_counts_as_the_same_type(kind: str, found: str | None, right: bool) -> None:
    def typed(wrapped: Wrapped) -> None:
        if found is not None:
            wrapped.body_type = found
        else:
            line = f"Content-Type: {kind}\r\n".encode()
            before, _, after = wrapped.render().rpartition(line)
            wrapped.octets = before + after

    scene = Scene(QUIET)
    broken = handed_over(scene, [scene.defer(kind=kind)], [typed]).broken()
    assert broken == (set() if right else {"DLV-2a.2"})


def test_headers_of_invite_and_send_both_misplaced() -> None:
    def swapped(wrapped: Wrapped) -> None:
        wrapped.sip_type, wrapped.msrp_type = "text/plain", "message/sipfrag"

    scene = Scene(QUIET)
    assert handed_over(scene, [scene.defer("large")], [swapped]).broken() == {"DLV-2c.1", "DLV-2d.1"}


def test_headers_of_invite_and_send_in_one_sipfrag() -> None:
    def together(wrapped: Wrapped) -> None:
        wrapped.sip, wrapped.msrp = [*wrapped.sip, *wrapped.msrp], []

    stored = {"sip": ["From", "To", "Call-ID"], "send": ["Message-ID"]}
    scene = Scene(QUIET, stored_headers=stored)
    assert handed_over(scene, [scene.defer("large")], [together]).broken() == {"DLV-2d.1"}


def conversation(scene: Scene, contents: Sequence[bytes]) -> list[Sent]:
    """Several large messages in one session of the originator."""
    first = scene.defer("large", content=contents[0])
    path = next(line for line in first_frame(scene, first).split(b"\r\n") if line.startswith(b"To-Path")).decode()
    found = [first]
    for content in contents[1:]:
        number = scene.next()
        head = f"MSRP tid{number} SEND\r\n{path}\r\nFrom-Path: msrp://127.0.0.1:5090/or;tcp\r\nMessage-ID: more{number}"
        head += f"\r\nByte-Range: 1-{len(content)}/{len(content)}\r\nContent-Type: text/plain\r\n\r\n"
        octets = head.encode() + content + f"\r\n-------tid{number}$\r\n".encode()
        connection = scene.frames[-1].connection
        scene.put(Pco.MO, Role.ORIGINATOR, Role.IUT, octets, connection=connection)
        answer = f"MSRP tid{number} 200 OK\r\nTo-Path: msrp://127.0.0.1:5090/or;tcp\r\nFrom-{path[3:]}\r\n"
        answer += f"-------tid{number}$\r\n"
        scene.put(Pco.MO, Role.IUT, Role.ORIGINATOR, answer.encode(), connection=connection)
        send = [("Message-ID", f"more{number}"), ("Content-Type", "text/plain")]
        found.append(replace(first, content=content, send=send, received_us=scene.us))
    return found


def first_frame(scene: Scene, sent: Sent) -> bytes:
    mark = f"Message-ID: {sent.send[0][1]}\r\n".encode()
    return next(frame.octets for frame in scene.frames if mark in frame.octets)


@pytest.mark.parametrize("contents", [(b"one", b"two", b"three"), (b"same", b"same", b"same")])
def test_several_messages_of_one_large_session(contents: tuple[bytes, ...]) -> None:
    scene = Scene(QUIET)
    messages = conversation(scene, contents)
    assert handed_over(scene, messages).broken() == set()
    scene = Scene(QUIET)
    messages = conversation(scene, contents)
    assert handed_over(scene, messages[:2]).broken() == {"DLV-1.1"}


@pytest.mark.parametrize("same", [True, False])
def test_two_messages_with_one_call_id(same: bool) -> None:
    def messages(scene: Scene) -> list[Sent]:
        contents = [b"same", b"same" if same else b"other"]
        return [scene.defer(call_id="one@bob", content=content) for content in contents]

    scene = Scene(QUIET)
    assert handed_over(scene, messages(scene)).broken() == set()
    scene = Scene(QUIET)
    assert handed_over(scene, messages(scene)[1:]).broken() == {"DLV-1.1"}


def test_two_messages_that_nothing_tells_apart() -> None:
    scene = Scene(QUIET)
    own = {"Subject": "s", "Conversation-ID": "c", "Contribution-ID": "d"}
    messages = [scene.defer(call_id="one@bob", content=b"same", more=own) for _ in range(2)]
    assert handed_over(scene, messages).broken() == set()


def test_identical_contents() -> None:
    scene = Scene(QUIET)
    messages = [scene.defer(mode, content=b"same") for mode in ("pager", "large", "pager")]
    assert handed_over(scene, messages).broken() == set()


def test_quoted_printable_is_a_remark() -> None:
    def coded(wrapped: Wrapped) -> None:
        wrapped.body, wrapped.body_headers = b"caf=C3=A9", ["Content-Transfer-Encoding: quoted-printable"]

    scene = Scene(QUIET)
    handed_over(scene, [scene.defer(content="café".encode())], [coded])
    finding = next(one for one in scene.judge().findings if one.requirement == "DLV-2a.2")
    assert (finding.verdict, finding.grade) == (Verdict.PASS, Grade.NON_STRICT)
