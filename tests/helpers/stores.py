"""A message store behind the recording relay, and clients that drive it: by imaplib, by octets, by the reference PF."""

from __future__ import annotations

import asyncio
import imaplib
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from cpmspec.actors.message_store import MessageStore
from cpmspec.evidence.context import Context
from cpmspec.evidence.trace import Frame, Kind, Role, Trace
from cpmspec.judge.octets import StoreCommand, store_commands
from cpmspec.reference.imap import Visit
from cpmspec.wire.imap import ImapResponse, ImapResponseStream, quoted
from peers import Peers, require

PASSWORD = "cpmspec"
HEAD = b"Subject: hello\r\nMessage-ID: <1@x>\r\n\r\n"
WITHIN = 10.0

T = TypeVar("T")


class Client(imaplib.IMAP4):
    """The client of the standard library, which keeps what it says and hears, and what it makes of it."""

    def __init__(self, host: str, port: int) -> None:
        self.said, self.heard = b"", b""
        self.asked: list[tuple[str, str]] = []  #: tag and name of each command
        self.told: dict[str, str] = {}  #: OK, NO or BAD by tag
        super().__init__(host, port, timeout=WITHIN)

    def send(self, data: Any) -> None:
        self.said += bytes(data)
        super().send(data)

    def read(self, size: int) -> bytes:
        octets = super().read(size)
        self.heard += octets
        return octets

    def readline(self) -> bytes:
        line = super().readline()
        self.heard += line
        return line

    def _command(self, name: str, *arguments: Any) -> Any:
        tag: Any = super()._command(name, *arguments)  # type: ignore[misc]
        self.asked.append((tag.decode(), name))
        return tag

    def _command_complete(self, name: str, tag: Any) -> Any:
        result: Any = super()._command_complete(name, tag)  # type: ignore[misc]
        self.told[tag.decode()] = result[0]
        return result


class Raw:
    """A client that says the octets it is told to, and reads whole responses by our own framing."""

    def __init__(self, host: str, port: int) -> None:
        self._socket = socket.create_connection((host, port), timeout=WITHIN)
        self._stream = ImapResponseStream()
        self._waiting: list[ImapResponse] = []
        self.next()

    def say(self, octets: bytes) -> None:
        self._socket.sendall(octets)

    def next(self) -> ImapResponse:
        while not self._waiting:
            octets = self._socket.recv(65_536)
            if not octets:
                raise EOFError
            self._waiting += self._stream.feed(octets)
        return self._waiting.pop(0)

    def ask(self, octets: bytes, tag: str) -> list[ImapResponse]:
        """What comes to the command's tag, or to ``+``; the tagged one is the last."""
        self.say(octets)
        found = [self.next()]
        while found[-1].tag != tag:
            assert found[-1].tag in ("*", "+"), found[-1]
            found.append(self.next())
        return found

    def quiet(self) -> bool:
        """Whether nothing comes in a while."""
        self._socket.settimeout(0.3)
        try:
            self.next()
        except TimeoutError:
            return True
        return False

    def close(self) -> None:
        self._socket.close()


class Shelf:
    """A store behind the recording relay, with what was recorded."""

    def __init__(self) -> None:
        self.frames: list[tuple[Frame, str | None]] = []
        self._recorded = asyncio.Event()
        self.store = MessageStore(self._take, password=PASSWORD)

    def _take(self, frame: Frame, account: str | None) -> None:
        self.frames.append((frame, account))
        self._recorded.set()

    async def run(self, work: Callable[[Client], T], account: str = "bob") -> tuple[T, Client]:
        """Let somebody who is logged in do something in a thread."""

        def act() -> tuple[T, Client]:
            client = Client(*self.store.address)
            try:
                client.login(quoted(account).decode(), PASSWORD)
                return work(client), client
            finally:
                client.logout()

        return await asyncio.to_thread(act)

    async def visit(self, work: Callable[[Visit], T], account: str = "bob") -> T:
        """The same with the reference PF's own client."""

        def act() -> T:
            visit = Visit(*self.store.address, account, PASSWORD)
            try:
                return work(visit)
            finally:
                visit.close()

        return await asyncio.to_thread(act)

    async def raw(self, work: Callable[[Raw], T], account: str = "bob") -> T:
        """The same by octets."""

        def act() -> T:
            client = Raw(*self.store.address)
            try:
                client.ask(b"l LOGIN %s %s\r\n" % (quoted(account), PASSWORD.encode()), "l")
                return work(client)
            finally:
                client.close()

        return await asyncio.to_thread(act)

    async def ended(self, connections: int = 1) -> None:
        """Wait until the ends of so many connections are recorded."""
        async with asyncio.timeout(WITHIN):
            while sum(frame.kind not in (Kind.OPEN, Kind.DATA) for frame, _ in self.frames) < connections:
                self._recorded.clear()
                await self._recorded.wait()

    def crossed(self, sender: Role) -> bytes:
        """The octets of one side."""
        return b"".join(frame.octets for frame, _ in self.frames if frame.sender is sender)

    def commands(self) -> list[StoreCommand]:
        """What the judge reads in the conversation."""
        context = Context(case="TP_CPM_PF_DLV_V_000", purposes=())
        return store_commands(Trace.build(context, [frame for frame, _ in self.frames]))


def contents(client: imaplib.IMAP4, folder: str) -> list[bytes]:
    """The messages in a folder, as they are fetched."""
    assert client.select(folder, readonly=True)[0] == "OK"
    status, found = client.fetch("1:*", "(BODY.PEEK[])")
    assert status == "OK"
    return [item[1] for item in found if isinstance(item, tuple)]


@asynccontextmanager
async def started(shelf: Shelf) -> AsyncIterator[Shelf]:
    """The store while it runs."""
    await shelf.store.start()
    yield shelf
    await shelf.store.close()


def dovecot(peers: Peers, *options: str) -> Shelf:
    """Dovecot behind the relay; to be :func:`started`."""
    require("dovecot")
    shelf = Shelf()
    shelf.store.set_behind(*peers.start("dovecot.py", "--password", PASSWORD, *options).address("address"))
    return shelf
