"""Recording (8.6) at a small IMAP server: objects, folders, failures, restarts."""

from __future__ import annotations

import asyncio
import email
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from cpmspec.reference.imap import StoreFailure, Visit, quoted, safe_folder
from cpmspec.wire.imap import ImapCommand, ImapCommandStream, decode_mailbox

ALICE = "sip:alice@example.com"


@dataclass
class Imap:
    """Keeps objects by account and folder. ``refuse`` NOs APPENDs, ``locked`` logins; ``forget`` drops an answer."""

    objects: dict[str, list[tuple[str, bytes]]] = field(default_factory=dict)
    refuse: bool = False
    locked: bool = False
    forget: bool = False
    appended: asyncio.Event = field(default_factory=asyncio.Event)
    refused: asyncio.Event = field(default_factory=asyncio.Event)
    left: asyncio.Event = field(default_factory=asyncio.Event)
    port: int = 0
    visits: set[asyncio.Task[None]] = field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        visit = asyncio.current_task()
        assert visit is not None
        self.visits.add(visit)
        try:
            await self.visit(reader, writer)
        finally:
            writer.close()

    async def visit(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        stream, account, folder = ImapCommandStream(), "", ""
        writer.write(b"* OK ready\r\n")
        while octets := await reader.read(65536):
            for command in stream.feed(octets):
                if command.name == "LOGIN":
                    account = command.arguments[0].decode()
                elif command.name in ("EXAMINE", "SELECT"):
                    folder = decode_mailbox(command.arguments[0])
                answer = self.answer(command, account, folder)
                if answer is None:
                    return
                writer.write(answer)
            if stream.pending.endswith(b"}\r\n"):
                writer.write(b"+ go on\r\n")

    def answer(self, command: ImapCommand, account: str, folder: str) -> bytes | None:
        tag = command.tag.encode()
        mine = self.objects.setdefault(account, [])
        match command.name:
            case "CAPABILITY":
                return b"* CAPABILITY IMAP4rev1\r\n" + tag + b" OK done\r\n"
            case "LOGIN" if self.locked:
                return tag + b" NO [AUTHENTICATIONFAILED] not you\r\n"
            case "LIST":
                return b'* LIST (\\Noselect) "/" ""\r\n' + tag + b" OK done\r\n"
            case "CREATE" if any(decode_mailbox(command.arguments[0]) == name for name, _ in mine):
                return tag + b" NO exists\r\n"
            case "APPEND" if self.refuse:
                self.refused.set()
                return tag + b" NO not now\r\n"
            case "APPEND":
                mine.append((decode_mailbox(command.arguments[0]), command.arguments[-1]))
                self.appended.set()
                if self.forget:
                    self.forget = False
                    return None
                return tag + b" OK done\r\n"
            case "SEARCH":
                here = [octets for name, octets in mine if name == folder]
                found = [n for n, octets in enumerate(here, 1) if command.arguments[-1] in octets]
                return b"* SEARCH %s\r\n" % b" ".join(b"%d" % n for n in found) + tag + b" OK done\r\n"
            case "LOGOUT":
                self.left.set()
                return b"* BYE\r\n" + tag + b" OK done\r\n"
            case _:
                return tag + b" OK done\r\n"


@pytest.fixture
async def imap() -> AsyncIterator[Imap]:
    store = Imap()
    server = await asyncio.start_server(store.serve, "127.0.0.1", 0)
    store.port = server.sockets[0].getsockname()[1]
    yield store
    server.close()
    for visit in store.visits:
        visit.cancel()
    await asyncio.gather(*store.visits, return_exceptions=True)


async def deliver(core: Any, status: int = 200) -> None:
    _, peer, _ = await core.retrieve(status=lambda frame: status)
    await peer.message()
    await core.bye()


async def idle(core: Any) -> None:
    """Wait until nothing is left to record."""
    async with asyncio.timeout(8):
        while core.server.pf.store.users_recording():  # noqa: ASYNC110 (the store has no events)
            await asyncio.sleep(0.01)


async def test_a_delivered_message_is_recorded_with_its_identifiers(start: Any, imap: Imap) -> None:
    core = await start(history__host="127.0.0.1", history__port=imap.port)
    await core.defer(b"hello\r\n", Subject="one", Conversation_ID="c/1", Contribution_ID="k1")
    await deliver(core)
    await idle(core)
    ((folder, octets),) = imap.objects["alice"]
    assert folder == "c=2F1"
    read = email.message_from_bytes(octets)
    assert (read["Subject"], read["Conversation-ID"], read["Contribution-ID"]) == ("one", "c/1", "k1")
    assert read["From"] == "<sip:bob@example.com>"
    assert read.get_content_type() == "text/plain"
    assert read.get_payload(decode=True) == b"hello\r\n"


@pytest.mark.parametrize("content", [b"\x00\xff", b"bare\nlines\r", b"x" * 2000, b""])
async def test_any_content_is_recoverable(start: Any, imap: Imap, content: bytes) -> None:
    core = await start(history__host="127.0.0.1", history__port=imap.port)
    await core.defer(content)
    await deliver(core)
    await idle(core)
    ((folder, octets),) = imap.objects["alice"]
    assert folder == "Messages"
    assert email.message_from_bytes(octets).get_payload(decode=True) == content


async def test_nothing_is_recorded_of_a_failed_delivery_or_where_the_setting_is_off(start: Any, imap: Imap) -> None:
    rules = [{"match": ALICE, "history": True}, {"match": "*"}]
    core = await start(history__host="127.0.0.1", history__port=imap.port, users=rules)
    await core.defer()
    await deliver(core, 413)
    await core.defer(user="sip:carol@example.com")
    _, peer, _ = await core.retrieve("sip:carol@example.com")
    await peer.message()
    await core.bye()
    await idle(core)
    assert imap.objects == {}


async def test_a_failing_store_delays_and_neither_undoes_nor_repeats(start: Any, imap: Imap) -> None:
    imap.refuse = True
    core = await start(history__host="127.0.0.1", history__port=imap.port)
    await core.defer()
    await deliver(core)
    await asyncio.wait_for(imap.refused.wait(), 5)
    assert (await core.retrieve())[2].status == 480
    imap.refuse = False
    await idle(core)
    assert len(imap.objects["alice"]) == 1


async def test_an_append_of_unknown_outcome_is_looked_for_before_it_is_repeated(start: Any, imap: Imap) -> None:
    imap.forget = True
    core = await start(history__host="127.0.0.1", history__port=imap.port)
    await core.defer()
    await deliver(core)
    await asyncio.wait_for(imap.appended.wait(), 5)
    await core.server.stop()
    again = await start(history__host="127.0.0.1", history__port=imap.port)
    await idle(again)
    assert len(imap.objects["alice"]) == 1


async def test_a_refused_login_is_a_failure_and_leaves_no_connection_behind(imap: Imap) -> None:
    imap.locked = True
    with pytest.raises(StoreFailure, match="AUTHENTICATIONFAILED"):
        await asyncio.to_thread(Visit, "127.0.0.1", imap.port, "alice", "wrong")
    await asyncio.wait_for(imap.left.wait(), 5)


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("abc@host.example", "abc@host.example"),
        ("a/b", "a=2Fb"),
        ("a=2Fb", "a=3D2Fb"),
        ('*%"\\', "=2A=25=22=5C"),
        ("INBOX", "=49NBOX"),
        ("..", "=2E."),
        ("a\r\nb", "a=0D=0Ab"),
        ("x" * 500, "x" * 120),
        ("\u3042" * 120, "\u3042" * 89),
        ("\U0001d4b3&" * 60, "\U0001d4b3&" * 24),
    ],
)
def test_folder_names_are_one_level_and_no_pattern(name: str, safe: str) -> None:
    assert safe_folder(name) == safe


def test_nothing_is_injected() -> None:
    assert quoted('a"\\b') == '"a\\"\\\\b"'
    for text in ("a\r\nb", "ä", "\0"):
        with pytest.raises(StoreFailure):
            quoted(text)
