"""The reference PF's history in Dovecot, faults in front of it, and what the judge reads in the conversation."""

from __future__ import annotations

import asyncio
import email
from collections.abc import AsyncIterator
from contextlib import nullcontext, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from cpmspec.judge.octets import StoreCommand, store_commands
from cpmspec.judge.records import Record, records
from cpmspec.judge.verdict import Verdict
from cpmspec.reference import imap
from cpmspec.reference.config import load_config
from cpmspec.reference.imap import StoreFailure, Visit
from cpmspec.reference.server import Server
from cpmspec.reference.store import Mode, NewMessage
from cpmspec.wire.imap import quoted
from peers import Peers
from scene import ALICE, Scene, Sent, delivered
from stores import HEAD, PASSWORD, WITHIN, Raw, Shelf, contents, dovecot, started

CONTENTS = [
    ("text/plain", b"hello\r\n"),
    ("text/plain;charset=utf-8", "Grüße\r\n.\r\n".encode()),
    ("message/cpim", b"From: <sip:b@x>\r\nNS: imdn <urn:ietf:params:imdn>\r\nimdn.Message-ID: i1\r\n\r\n"
     b"Content-Type: text/plain\r\n\r\nhello"),
    ("application/octet-stream", b"\0\xff bare\nlines\r"),
    ("text/plain", b"x" * 5000),
    ("text/plain", b""),
]  # fmt: skip


@pytest.fixture
async def shelf(peers: Peers) -> AsyncIterator[Shelf]:
    """Dovecot behind the relay."""
    async with started(dovecot(peers)) as shelf:
        yield shelf


@pytest.fixture
async def embedded() -> AsyncIterator[Shelf]:
    """pymap behind the relay."""
    async with started(Shelf()) as shelf:
        yield shelf


@pytest.fixture
async def pf(shelf: Shelf, tmp_path: Path) -> AsyncIterator[Server]:
    """The reference PF, whose history is the store."""
    told = {"sip.port": 0, "state": str(tmp_path / "state"), "history.host": shelf.store.address.host,
            "history.port": shelf.store.address.port, "history.password": PASSWORD}  # fmt: skip
    server = Server(load_config(None, told))
    await server.start()
    yield server
    await server.stop()


async def delivered_messages(pf: Server) -> list[bytes]:
    """Have messages delivered, without a session; the objects to be recorded of them."""
    found = []
    for number, (media_type, content) in enumerate(CONTENTS):
        headers = (
            f"From: <sip:bob@example.com>\r\nTo: <sip:alice@example.com>\r\nCall-ID: call-{number}\r\n"
            f"Conversation-ID: f81d4fae.7dec/{number % 2}@host.example\r\nContent-Type: {media_type}\r\n"
        ).encode()
        line = b"MESSAGE sip:alice@example.com SIP/2.0\r\n"
        new = NewMessage("sip:alice@example.com", Mode.PAGER, 1e9 + number, None, line, headers, None, media_type)
        message = await pf.pf.store.defer(new, content)
        found.append(pf.pf.history.object_of(message))
        await pf.pf.store.delivered(message, record=True)
    return found


async def recorded(pf: Server) -> None:
    """Wait until nothing is left to record."""
    async with asyncio.timeout(WITHIN):
        while pf.pf.store.users_recording():  # noqa: ASYNC110 (the store has no events)
            await asyncio.sleep(0.01)


async def test_delivered_messages_are_recorded_and_recoverable(shelf: Shelf, pf: Server) -> None:
    objects = await delivered_messages(pf)
    pf.pf.history.wake("sip:alice@example.com")
    await recorded(pf)
    await shelf.ended()
    for part in (0, 1):
        folder = quoted(f"f81d4fae.7dec=2F{part}@host.example").decode()
        fetched, _ = await shelf.run(partial(contents, folder=folder), "alice")
        assert fetched == objects[part::2]
        for octets, (media_type, content) in zip(fetched, CONTENTS[part::2], strict=True):
            read = email.message_from_bytes(octets)
            assert read.get_content_type() == media_type.partition(";")[0]
            if media_type == "message/cpim":
                assert octets.endswith(b"\r\n\r\n" + content)
            else:
                assert read.get_payload(decode=True) == content


async def test_what_may_be_there_is_looked_for_before_it_is_recorded_again(shelf: Shelf, pf: Server) -> None:
    objects = await delivered_messages(pf)
    folders = [f"f81d4fae.7dec/{number % 2}@host.example" for number in range(len(objects))]

    def before(visit: Visit) -> None:
        for folder, octets in zip(folders[:4], objects[:4], strict=True):
            visit.append(folder, octets, 1e9)

    await shelf.visit(before, "alice")
    pf.pf.history.resume()
    await recorded(pf)
    await shelf.ended(2)
    appended = [one.command.arguments[-1] for one in shelf.commands() if one.command.name == "APPEND"]
    assert appended == objects


# --- faults, and what the judge sees -------------------------------------------------------------------------------


async def test_faults_work_in_front_of_dovecot(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    def record(visit: Visit) -> None:
        visit.append("c", HEAD, 1e9)

    shelf.store.set_fault("bob", "fail")
    with pytest.raises(StoreFailure, match="out of order"):
        await shelf.visit(record)
    shelf.store.set_fault("bob", "refuse")
    with pytest.raises(StoreFailure):
        await shelf.visit(record)
    shelf.store.set_fault("bob", "hang")
    monkeypatch.setattr(imap, "TIMEOUT", 0.3)
    with pytest.raises(StoreFailure, match="timed out"):
        await shelf.visit(record)
    monkeypatch.undo()
    shelf.store.set_fault("bob", None)
    await shelf.visit(record)
    await shelf.ended(4)
    appended = [one for one in shelf.commands() if one.command.name == "APPEND"]
    assert [one.command.arguments[-1] for one in appended] == [b"", HEAD, HEAD]
    assert [(one.answer or b"").split(b" ")[0] for one in appended] == [b"NO", b"", b"OK"]
    assert (await shelf.run(lambda client: contents(client, "c")))[0] == [HEAD]


async def test_a_refusal_of_ours_keeps_its_place_among_dovecots_answers(shelf: Shelf) -> None:
    def talk(client: Raw) -> list[tuple[str, str | None]]:
        shelf.store.set_fault("bob", "fail")
        octets = b"{%d+}\r\n%s\r\n" % (len(HEAD), HEAD)
        client.say(
            b"a SELECT INBOX\r\nb APPEND INBOX " + octets + b"c NOOP\r\nd APPEND INBOX " + octets + b"e NOOP\r\n"
        )
        answers = [client.next()]
        while answers[-1].tag != "e":
            answers.append(client.next())
        return [(one.tag, one.status) for one in answers if one.tag != "*"]

    told = [("a", "OK"), ("b", "NO"), ("c", "OK"), ("d", "NO"), ("e", "OK")]
    assert await shelf.raw(talk) == told
    assert (await shelf.run(lambda client: client.select("INBOX")[1], "bob"))[0] == [b"0"]


async def recording(shelf: Shelf, fault: str | None) -> tuple[Scene, Sent]:
    """A message was delivered, and what recording it looked like crossed a real relay."""
    scene = Scene()
    sent = scene.defer(content="Grüße\r\n.\r\n".encode())
    scene.wait(5)
    delivered(scene, [sent], recorded=False)
    head = "".join(f"{name}: {value}\r\n" for name, value in sent.headers if name not in ("To", "Content-Type"))
    octets = f"{head}Content-Type: text/plain;charset=utf-8\r\n\r\n".encode() + sent.content

    def record(visit: Visit) -> None:
        visit.append("c-1", octets, 1e9)

    shelf.store.set_fault("alice", fault)
    with suppress(StoreFailure) if fault else nullcontext():
        await shelf.visit(record, "alice")
    await shelf.ended()
    begin = shelf.frames[0][0].time_us
    for frame, _ in shelf.frames:
        time_us = scene.us + frame.time_us - begin
        scene.frames.append(replace(frame, time_us=time_us, connection=1000 + frame.connection))
    return scene, sent


@pytest.mark.parametrize("fault", [None, "fail", "hang", "refuse"])
async def test_the_judge_sees_the_same_whichever_store_it_is(
    shelf: Shelf, embedded: Shelf, fault: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if fault == "hang":
        monkeypatch.setattr(imap, "TIMEOUT", 0.5)
    (real, sent), (simulated, _) = await recording(shelf, fault), await recording(embedded, fault)
    asked, answered = store_commands(real.trace()), store_commands(simulated.trace())
    assert [_said(one) for one in asked] == [_said(one) for one in answered]
    found, expected = records(asked, (), real.users), records(answered, (), simulated.users)
    assert [_wrote(one) for one in found] == [_wrote(one) for one in expected]
    assert real.judge().requirements == simulated.judge().requirements
    assert real.broken() == set()
    assert real.judge().of("DLV-5.1") is Verdict.PASS
    if fault is None:
        (record,) = found
        assert (record.user, record.mailbox) == (ALICE, b"c-1")
        assert record.octets.endswith(b"\r\n\r\n" + sent.content)


def _said(one: StoreCommand) -> tuple[object, ...]:
    return one.account, one.command.name, one.command.arguments, one.accepted


def _wrote(one: Record) -> tuple[object, ...]:
    return one.user, one.mailbox, one.octets, one.texts
