"""The message store: any account, recorded, and out of order on command."""

from __future__ import annotations

import asyncio
import base64
import imaplib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from cpmspec.actors.message_store import MessageStore
from cpmspec.evidence.trace import Frame, Kind, Pco, Role

MESSAGE = b"Subject: hello\r\nMessage-ID: <1@x>\r\n\r\nbody\r\n"


class Shelf:
    """The store with what it recorded."""

    def __init__(self) -> None:
        self.frames: list[tuple[Frame, str | None]] = []
        self.store = MessageStore(lambda frame, account: self.frames.append((frame, account)), password="pw")

    async def run(self, act: Callable[[imaplib.IMAP4], Any], account: str = "bob@home.test") -> Any:
        """Let a client of the standard library do something in a thread."""

        def work() -> Any:
            client = imaplib.IMAP4(self.store.address.host, self.store.address.port, timeout=10)
            try:
                client.login(f'"{account}"', "pw")
                return act(client)
            finally:
                client.shutdown()

        return await asyncio.to_thread(work)


@pytest.fixture
async def shelf() -> AsyncIterator[Shelf]:
    shelf = Shelf()
    await shelf.store.start()
    yield shelf
    await shelf.store.close()


def append(client: imaplib.IMAP4) -> Any:
    client.create("c-1/part")
    return client.append("c-1/part", "", "", MESSAGE)


async def test_any_account_may_append_to_any_folder(shelf: Shelf) -> None:
    assert (await shelf.run(append))[0] == "OK"
    assert (await shelf.run(append, "tel:+123"))[0] == "OK"
    assert shelf.store.objects("bob@home.test") == {"c-1/part": [MESSAGE]}
    assert shelf.store.objects("nobody") == {}

    def read(client: imaplib.IMAP4) -> Any:
        client.select("c-1/part")
        return client.search(None, "HEADER", "Message-ID", "1@x")

    assert await shelf.run(read) == ("OK", [b"1"])


async def test_a_wrong_password_is_refused(shelf: Shelf) -> None:
    def work() -> None:
        client = imaplib.IMAP4(shelf.store.address.host, shelf.store.address.port, timeout=10)
        try:
            client.login("bob", "other")
        finally:
            client.shutdown()

    with pytest.raises(imaplib.IMAP4.error, match=r"(?i)auth"):
        await asyncio.to_thread(work)


async def test_frames_belong_to_the_account_with_what_came_before_the_login(shelf: Shelf) -> None:
    await shelf.run(append)
    await shelf.store.close()
    assert {account for _, account in shelf.frames} == {"bob@home.test"}
    frames = [frame for frame, _ in shelf.frames]
    assert [frames[0].kind, frames[-1].kind] == [Kind.OPEN, Kind.CLOSE]
    assert {frame.pco for frame in frames} == {Pco.STORE}
    assert len({frame.connection for frame in frames}) == 1
    sent = b"".join(frame.octets for frame in frames if frame.sender is Role.IUT)
    assert MESSAGE in sent
    assert b"message store ready" in b"".join(frame.octets for frame in frames if frame.sender is Role.STORE)
    assert [frame.time_us for frame in frames] == sorted(frame.time_us for frame in frames)


@pytest.mark.parametrize("initial", [True, False])
async def test_authenticate_plain_names_the_account(shelf: Shelf, initial: bool) -> None:
    reader, writer = await asyncio.open_connection(*shelf.store.address)
    secret = base64.b64encode(b"\0bob\0pw")
    if initial:
        writer.write(b"a AUTHENTICATE PLAIN " + secret + b"\r\n")
    else:
        writer.write(b"a AUTHENTICATE PLAIN\r\n")
        assert (await reader.readuntil(b"ready\r\n"))[:4] == b"* OK"
        assert (await reader.readline()).startswith(b"+")
        writer.write(secret + b"\r\n")
    while not (line := await reader.readline()).startswith(b"a "):
        assert line
    writer.close()
    await writer.wait_closed()
    await shelf.store.close()
    assert {account for _, account in shelf.frames} == {"bob"}


async def test_a_connection_without_login_belongs_to_nobody(shelf: Shelf) -> None:
    reader, writer = await asyncio.open_connection(*shelf.store.address)
    await reader.readline()
    writer.close()
    await writer.wait_closed()
    await shelf.store.close()
    assert {account for _, account in shelf.frames} == {None}


async def test_append_can_fail_for_one_account_only(shelf: Shelf) -> None:
    shelf.store.set_fault("bob@home.test", "fail")
    assert (await shelf.run(append))[0] == "NO"
    assert (await shelf.run(append, "carol"))[0] == "OK"
    shelf.store.set_fault("bob@home.test", None)
    assert (await shelf.run(append))[0] == "OK"


async def test_append_can_hang(shelf: Shelf) -> None:
    shelf.store.set_fault("bob@home.test", "hang")

    def hanging(client: imaplib.IMAP4) -> Any:
        client.create("c-1/part")
        client.sock.settimeout(0.3)
        return client.append("c-1/part", "", "", MESSAGE)

    with pytest.raises((imaplib.IMAP4.abort, TimeoutError)):
        await shelf.run(hanging)


async def test_a_login_can_be_cut_off_and_so_can_everybody(shelf: Shelf) -> None:
    shelf.store.set_fault("bob@home.test", "refuse")
    with pytest.raises((imaplib.IMAP4.abort, ConnectionError)):
        await shelf.run(append)
    assert (await shelf.run(append, "carol"))[0] == "OK"
    shelf.store.set_fault("*", "refuse")
    with pytest.raises((imaplib.IMAP4.abort, ConnectionError)):
        await shelf.run(append, "carol")
    with pytest.raises(ValueError, match="none of"):
        shelf.store.set_fault("bob", "explode")
