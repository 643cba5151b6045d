"""The message store: any account, recorded, and out of order on command."""

from __future__ import annotations

import asyncio
import base64
import imaplib
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from cpmspec.actors.message_store import EmbeddedStore, MessageStore
from cpmspec.evidence.trace import Address, Frame, Kind, Pco, Role

MESSAGE = b"Subject: hello\r\nMessage-ID: <1@x>\r\n\r\nbody\r\n"
REFUSED = b" NO The store is out of order.\r\n"
WITHIN = 10.0


class Shelf:
    """The store with what it recorded."""

    def __init__(self) -> None:
        self.frames: list[tuple[Frame, str | None]] = []
        self.recorded = asyncio.Event()
        self.store = MessageStore(self.take, password="pw")
        self.appended: dict[str, dict[str, list[bytes]]] | None = None  #: of an outside store

    def take(self, frame: Frame, account: str | None) -> None:
        self.frames.append((frame, account))
        self.recorded.set()

    def objects(self, account: str) -> dict[str, list[bytes]]:
        """What stands in the account's folders."""
        return self.store.objects(account) if self.appended is None else self.appended.get(account, {})

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

    def crossed(self, sender: Role) -> bytes:
        """What was recorded of one side."""
        return b"".join(frame.octets for frame, _ in self.frames if frame.sender is sender)

    async def ended(self) -> Frame:
        """The end of the connection, once it is recorded."""
        async with asyncio.timeout(WITHIN):
            while not self.frames or self.frames[-1][0].kind in (Kind.OPEN, Kind.DATA):
                await self.recorded.wait()
                self.recorded.clear()
        return self.frames[-1][0]


class Talk:
    """A connection to the store, octet by octet; keeps what crossed."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.said, self.got = b"", b""

    @classmethod
    async def open(cls, shelf: Shelf, account: str | None = "bob") -> Talk:
        """Connect, and log in."""
        talk = cls(*await asyncio.open_connection(*shelf.store.address))
        await talk.line()
        if account is not None:
            talk.say(b"l LOGIN " + account.encode() + b" pw\r\n")
            assert (await talk.answer(b"l")).startswith(b"l OK")
        return talk

    def say(self, octets: bytes) -> None:
        self.said += octets
        self.writer.write(octets)

    async def line(self) -> bytes:
        line = await asyncio.wait_for(self.reader.readline(), WITHIN)
        self.got += line
        return line

    async def answer(self, tag: bytes) -> bytes:
        """The next line that is tagged so (``+``: a continuation request); nothing tagged otherwise precedes it."""
        while (line := await self.line()).startswith(b"* "):
            pass
        assert line.startswith(tag + b" "), line
        return line

    async def silent(self) -> None:
        """Nothing more comes, although the store has answered whatever it had to."""
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(self.reader.readline(), 0.2)

    async def close(self) -> None:
        self.writer.close()
        with suppress(ConnectionResetError):
            await self.writer.wait_closed()


@asynccontextmanager
async def scripted(
    shelf: Shelf, serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
) -> AsyncIterator[Talk]:
    """A connection to a store that does what the test says."""
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        shelf.store.set_behind(*server.sockets[0].getsockname()[:2])
        await shelf.store.start()
        talk = await Talk.open(shelf, None)
        yield talk
        await talk.close()


@pytest.fixture(params=["embedded", "outside"])
async def shelf(request: pytest.FixtureRequest) -> AsyncIterator[Shelf]:
    """The store; outside: another pymap of which it knows the address only."""
    shelf, outside = Shelf(), EmbeddedStore("pw")
    if request.param == "outside":
        await outside.start()
        shelf.store.set_behind(*outside.address)
        shelf.appended = outside.appended
    await shelf.store.start()
    yield shelf
    await shelf.store.close()
    await outside.close()


@pytest.fixture
async def bare() -> AsyncIterator[Shelf]:
    """The store, not started."""
    shelf = Shelf()
    yield shelf
    await shelf.store.close()


def append(client: imaplib.IMAP4) -> Any:
    client.create("c-1/part")
    return client.append("c-1/part", "", "", MESSAGE)


async def test_any_account_may_append_to_any_folder(shelf: Shelf) -> None:
    assert (await shelf.run(append))[0] == "OK"
    assert (await shelf.run(append, "tel:+123"))[0] == "OK"
    assert shelf.objects("bob@home.test") == {"c-1/part": [MESSAGE]}
    assert shelf.objects("nobody") == {}

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


async def test_a_store_that_is_not_there_is_told(bare: Shelf) -> None:
    """What the PF cannot record then is not its fault, and no command of its would show that it tried."""
    told: list[str] = []
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        bare.store = MessageStore(bare.take, outside=Address(*nobody.getsockname()), on_unreachable=told.append)
        await bare.store.start()
        reader, writer = await asyncio.open_connection(*bare.store.address)
        with pytest.raises(ConnectionResetError):
            await reader.readline()
        writer.close()
        assert [text.partition(": ")[0] for text in told] == [
            f"the message store at 127.0.0.1:{nobody.getsockname()[1]} cannot be reached"
        ]


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
    assert MESSAGE in shelf.crossed(Role.IUT)
    assert shelf.objects("bob@home.test") == {}


def literal(plus: bytes = b"") -> bytes:
    return b"{%d%s}\r\n" % (len(MESSAGE), plus)


async def test_a_refused_append_is_recorded_as_it_crossed_and_the_store_goes_on(shelf: Shelf) -> None:
    talk = await Talk.open(shelf)
    shelf.store.set_fault("bob", "fail")
    talk.say(b"a CREATE x\r\nb APPEND x " + literal())
    assert (await talk.answer(b"a")).startswith(b"a OK")
    assert await talk.line() == b"b" + REFUSED
    talk.say(b"c APPEND x " + literal(b"+") + MESSAGE + b"\r\nd APPEND x " + literal(b"+") + MESSAGE[:9])
    assert await talk.line() == b"c" + REFUSED
    talk.say(MESSAGE[9:] + b"\r\n")
    assert await talk.line() == b"d" + REFUSED
    shelf.store.set_fault("bob", None)
    talk.say(b"e APPEND x " + literal())
    await talk.answer(b"+")
    talk.say(MESSAGE + b"\r\n")
    assert (await talk.answer(b"e")).startswith(b"e OK")
    await talk.close()
    await shelf.ended()
    assert shelf.objects("bob") == {"x": [MESSAGE]}
    assert shelf.crossed(Role.IUT) == talk.said
    assert shelf.crossed(Role.STORE) == talk.got


@pytest.mark.parametrize("plus", [b"", b"+"])
async def test_an_append_that_hangs_crosses_whole(shelf: Shelf, plus: bytes) -> None:
    talk = await Talk.open(shelf)
    shelf.store.set_fault("bob", "hang")
    talk.say(b"a CREATE x\r\nb APPEND x " + literal(plus))
    assert (await talk.answer(b"a")).startswith(b"a OK")
    if not plus:
        await talk.answer(b"+")
    talk.say(MESSAGE + b"\r\nc NOOP\r\n")
    await talk.silent()
    await talk.close()
    await shelf.ended()
    assert shelf.objects("bob") == {}
    assert shelf.crossed(Role.IUT) == talk.said
    assert shelf.crossed(Role.STORE) == talk.got


async def test_another_store_may_take_over(shelf: Shelf) -> None:
    before = await Talk.open(shelf)
    other = EmbeddedStore("pw")
    await other.start()
    shelf.store.set_behind(*other.address)
    after = await Talk.open(shelf, "carol")
    for talk in (before, after):
        talk.say(b"a CREATE x\r\nb APPEND x " + literal(b"+") + MESSAGE + b"\r\n")
        assert (await talk.answer(b"a")).startswith(b"a OK")
        assert (await talk.answer(b"b")).startswith(b"b OK")
        await talk.close()
    assert shelf.objects("bob") == {"x": [MESSAGE]}
    assert other.appended == {"carol": {"x": [MESSAGE]}}
    await other.close()


async def test_a_refusal_keeps_its_place_before_a_slow_store(bare: Shelf) -> None:
    heard: asyncio.Queue[bytes] = asyncio.Queue()
    may_answer = asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"* PREAUTH ready\r\n")
        while line := await reader.readline():
            heard.put_nowait(line)
            if line.startswith(b"b"):
                writer.write(b"* 1 EX")
                await may_answer.wait()
                writer.write(b"ISTS\r\na OK in\r\nb OK done\r\n")
        writer.close()

    bare.store.set_fault("bob", "fail")
    async with scripted(bare, slow) as talk:
        talk.say(b"a LOGIN bob pw\r\nb NOOP\r\nc APPEND x " + literal(b"+") + MESSAGE + b"\r\nd APPEND x " + literal())
        assert [await heard.get(), await heard.get()] == [b"a LOGIN bob pw\r\n", b"b NOOP\r\n"]
        assert await asyncio.wait_for(talk.reader.readexactly(6), WITHIN) == b"* 1 EX"
        may_answer.set()
        lines = [await talk.line() for _ in range(5)]
        assert lines == [b"ISTS\r\n", b"a OK in\r\n", b"b OK done\r\n", b"c" + REFUSED, b"d" + REFUSED]


@pytest.mark.parametrize("end", [Kind.CLOSE, Kind.RESET])
async def test_a_connection_that_the_store_ends_is_ended(bare: Shelf, end: Kind) -> None:
    async def leave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"* BYE full\r\n")
        await writer.drain()
        await reader.readline()
        if end is Kind.RESET:
            linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        writer.close()

    async with scripted(bare, leave) as talk:
        talk.say(b"a LOGOUT\r\n")
        if end is Kind.CLOSE:
            assert await talk.line() == b""
        else:
            with pytest.raises(ConnectionResetError):
                await talk.line()
        last = await bare.ended()
        assert (last.kind, last.sender) == (end, Role.STORE)


async def test_a_store_that_is_not_there_is_a_reset_connection() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and nobody listens
        shelf = Shelf()
        shelf.store = MessageStore(shelf.take, outside=Address(*taken.getsockname()))
        await shelf.store.start()
        talk = Talk(*await asyncio.open_connection(*shelf.store.address))
        with pytest.raises(ConnectionResetError):
            await talk.line()
        last = await shelf.ended()
        assert (last.kind, last.sender) == (Kind.RESET, Role.STORE)
        talk.writer.close()
        await shelf.store.close()


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


async def test_a_client_that_half_closes_still_hears_the_answers(bare: Shelf) -> None:
    """A PF may close its side after its last command; what is answered then crosses, and is recorded."""
    may_answer = asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"* OK ready\r\n")
        await reader.readline()
        await reader.read()
        await may_answer.wait()
        writer.write(b"a OK in\r\n")
        writer.close()

    async with scripted(bare, slow) as talk:
        talk.say(b"a LOGIN bob pw\r\n")
        talk.writer.write_eof()
        may_answer.set()
        assert await talk.line() == b"a OK in\r\n"
        assert await talk.line() == b""
        last = await bare.ended()
        assert (last.kind, last.sender) == (Kind.CLOSE, Role.IUT)
    assert bare.crossed(Role.STORE).endswith(b"a OK in\r\n")


async def test_a_greeting_that_refuses_is_told(bare: Shelf) -> None:
    told: list[str] = []
    bare.store = MessageStore(bare.take, on_unreachable=told.append)

    async def full(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"* BYE too many connections\r\n")
        await writer.drain()
        writer.close()

    async with scripted(bare, full) as talk:
        assert await talk.line() == b""
    assert [text.partition(" refused a connection: ")[2] for text in told] == ["* BYE too many connections"]
