"""The recording relay between the PF and the message store: passes every octet on, and takes it down (PCO store).

A frame belongs to the account that logs in on its connection (LOGIN or AUTHENTICATE PLAIN, RFC 3501 6.2, RFC 4616);
what preceded the login is held back until it is known, with the time at which it happened.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import socket
import struct
from collections.abc import Callable
from contextlib import suppress

from cpmspec.actors.recording import connection_number
from cpmspec.evidence.recorder import cut
from cpmspec.evidence.trace import Address, Frame, Kind, Pco, Role
from cpmspec.net.clock import now_us
from cpmspec.net.tap import address_of, next_connection
from cpmspec.wire.imap import ImapCommand, ImapCommandStream

#: takes each frame with the account of its connection; ``None``: nobody logged in on it
StoreRecorder = Callable[[Frame, str | None], None]

_READ = 65_536


class ImapRelay:
    """Listens for the PF and connects to the store behind it. ``fault`` tells what is to go wrong for an account."""

    def __init__(self, recorder: StoreRecorder, fault: Callable[[str], str | None]) -> None:
        self.address = Address("", 0)
        self._recorder = recorder
        self._fault = fault
        self._behind = Address("", 0)
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, host: str, port: int, behind: Address) -> None:
        """Listen, and relay to ``behind``.

        :raises OSError: the address is in use.
        """
        self._behind = behind
        self._server = await asyncio.start_server(self._serve, host, port, limit=_READ)
        self.address = Address(*address_of(self._server.sockets[0].getsockname()))

    async def close(self) -> None:
        """Stop, and end all connections."""
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Relay one connection of the PF to its end."""
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        record = _Record(self._recorder, writer)
        record.life(Kind.OPEN, sent=False)
        inner: asyncio.StreamWriter | None = None
        try:
            if self._fault("*") == "refuse":
                record.life(Kind.RESET, sent=True)
                _reset(writer)
                return
            inner_reader, inner = await asyncio.open_connection(*self._behind)
            answers = asyncio.create_task(_pump(inner_reader, writer, lambda octets: record.data(octets, sent=True)))
            try:
                await self._commands(reader, writer, inner, record)
            finally:
                inner.close()
                await asyncio.wait([answers], timeout=1.0)
                answers.cancel()
        except OSError:
            record.life(Kind.RESET, sent=False)
        except asyncio.CancelledError:
            record.life(Kind.CLOSE, sent=True)
        finally:
            record.flush()
            writer.close()
            if inner is not None:
                inner.close()

    async def _commands(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, inner: asyncio.StreamWriter, record: _Record
    ) -> None:
        """Pass on what the PF sends until it sends no more."""
        login = _LoginWatch()
        while octets := await reader.read(_READ):
            account = login.feed(octets)
            if account is not None:
                record.account_is(account)
            record.data(octets, sent=False)
            if account is not None and self._fault(account) == "refuse":
                record.life(Kind.RESET, sent=True)
                _reset(writer)
                return
            inner.write(octets)
            await inner.drain()
        record.life(Kind.CLOSE, sent=False)


class _Record:
    """Makes frames of one connection and holds them back until its account is known."""

    def __init__(self, recorder: StoreRecorder, writer: asyncio.StreamWriter) -> None:
        self._recorder = recorder
        self._here = Address(*address_of(writer.get_extra_info("sockname")))
        self._there = Address(*address_of(writer.get_extra_info("peername")))
        self._connection = connection_number(next_connection())
        self._account: str | None = None
        self._held: list[Frame] | None = []
        self._ended = False

    def life(self, kind: Kind, *, sent: bool) -> None:
        """The connection opened or ended; its end is taken down once."""
        if kind is not Kind.OPEN:
            if self._ended:
                return
            self._ended = True
        self._take(kind, b"", sent=sent)

    def data(self, octets: bytes, *, sent: bool) -> None:
        """Octets of the store (``sent``) or of the PF."""
        for piece in cut(octets):
            self._take(Kind.DATA, piece, sent=sent)

    def account_is(self, account: str) -> None:
        """The account is known now."""
        self._account = account
        self.flush()

    def flush(self) -> None:
        """Give out what was held back."""
        held, self._held = self._held or [], None
        for frame in held:
            self._recorder(frame, self._account)

    def _take(self, kind: Kind, octets: bytes, *, sent: bool) -> None:
        source, destination = (self._here, self._there) if sent else (self._there, self._here)
        sender, receiver = (Role.STORE, Role.IUT) if sent else (Role.IUT, Role.STORE)
        frame = Frame(
            0, now_us(), Pco.STORE, sender, receiver, "tcp", source, destination, self._connection, kind, octets
        )
        if self._held is None:
            self._recorder(frame, self._account)
        else:
            self._held.append(frame)


class _LoginWatch:
    """Finds the account in what a client sends."""

    def __init__(self) -> None:
        self._stream: ImapCommandStream | None = ImapCommandStream()
        self._awaits_response = False

    def feed(self, octets: bytes) -> str | None:
        """Take octets; the account, once, when they complete its login."""
        if self._stream is None:
            return None
        for command in self._stream.feed(octets):
            account = self._account_in(command)
            if account is not None:
                self._stream = None
                return account
        return None

    def _account_in(self, command: ImapCommand) -> str | None:
        if self._awaits_response:
            self._awaits_response = False
            return _plain(command.raw.strip())
        if command.name == "LOGIN" and command.arguments:
            return command.arguments[0].decode("utf-8", "replace")
        if command.name == "AUTHENTICATE" and command.arguments and command.arguments[0].upper() == b"PLAIN":
            if len(command.arguments) > 1:
                return _plain(command.arguments[1])
            self._awaits_response = True
        return None


# RFC 4616 2: message = [authzid] UTF8NUL authcid UTF8NUL passwd
def _plain(octets: bytes) -> str | None:
    """The account in a response of the PLAIN mechanism."""
    try:
        fields = base64.b64decode(octets).split(b"\0")
    except (binascii.Error, ValueError):
        return None
    if len(fields) != 3:
        return None
    return (fields[0] or fields[1]).decode("utf-8", "replace")


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, record: Callable[[bytes], None]) -> None:
    """Pass on what the store answers until it ends."""
    with suppress(OSError):
        while octets := await reader.read(_READ):
            record(octets)
            writer.write(octets)
            await writer.drain()


def _reset(writer: asyncio.StreamWriter) -> None:
    """End a connection with a TCP reset."""
    handle = writer.get_extra_info("socket")
    if handle is not None:
        handle.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
