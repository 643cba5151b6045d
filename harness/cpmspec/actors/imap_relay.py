"""The recording relay between the PF and the message store: takes down every octet that crosses (PCO store).

It passes on what the PF and the store say, but for what a fault stops (:mod:`cpmspec.actors.imap_gate`), and knows
nothing else of the store: any IMAP server may stand behind it. A frame belongs to the account that logs in on its
connection; what preceded the login is held back until it is known, with the time at which it happened.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from contextlib import suppress

from cpmspec.actors.imap_gate import EVERYBODY, FaultOf, ImapGate
from cpmspec.actors.recording import connection_number
from cpmspec.evidence.recorder import cut
from cpmspec.evidence.trace import Address, Frame, Kind, Pco, Role
from cpmspec.net.clock import now_us
from cpmspec.net.tap import address_of, next_connection

#: takes each frame with the account of its connection; ``None``: nobody logged in on it
StoreRecorder = Callable[[Frame, str | None], None]

_READ = 65_536
#: seconds that the store has to end a connection which the PF ended
_LEAVING = 1.0


class ImapRelay:
    """Listens for the PF and connects to the store behind it. ``fault`` tells what is to go wrong for an account.

    ``refuse`` cuts a connection when the account logs in, for everybody (``*``) at once; the other faults are the
    gate's. ``on_unreachable`` is told why the store could not be connected to: what the PF then fails to record is not
    its fault.
    """

    def __init__(
        self, recorder: StoreRecorder, fault: FaultOf, on_unreachable: Callable[[str], None] | None = None
    ) -> None:
        self.address = Address("", 0)
        self.behind = Address("", 0)  #: the store; connections that come from now on go there
        self._recorder = recorder
        self._fault = fault
        self._on_unreachable = on_unreachable
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, host: str, port: int) -> None:
        """Listen.

        :raises OSError: the address is in use.
        """
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
        try:
            if self._fault(EVERYBODY) == "refuse":
                record.life(Kind.RESET, sent=True)
                _reset(writer)
                return
            await self._relay(reader, writer, record)
        except asyncio.CancelledError:
            record.life(Kind.CLOSE, sent=True)
        finally:
            record.flush()
            writer.close()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, record: _Record) -> None:
        try:
            store_reader, store = await asyncio.open_connection(*self.behind)
        except OSError as error:
            record.life(Kind.RESET, sent=True)
            _reset(writer)
            if self._on_unreachable is not None:
                self._on_unreachable(f"the message store at {self.behind} cannot be reached: {error}")
            return
        passage = _Passage(self._fault, writer, record, self._refused)
        answers = asyncio.create_task(passage.answers(store_reader))
        try:
            await passage.commands(reader, store)
            with suppress(OSError):
                store.write_eof()  # what the store still has to say it may say
            await asyncio.wait([answers], timeout=_LEAVING)
        finally:
            answers.cancel()
            record.life(Kind.CLOSE, sent=False)
            store.transport.abort()

    def _refused(self, greeting: bytes) -> None:
        """The store takes no connection (RFC 3501 7.1.5)."""
        if self._on_unreachable is not None:
            said = greeting.strip().decode("utf-8", "replace")[:200]
            self._on_unreachable(f"the message store at {self.behind} refused a connection: {said}")


class _Passage:
    """Both directions of one connection."""

    def __init__(
        self, fault: FaultOf, writer: asyncio.StreamWriter, record: _Record, refused: Callable[[bytes], None]
    ) -> None:
        self._fault = fault
        self._gate = ImapGate(fault)
        self._writer = writer
        self._record = record
        self._refused = refused
        self._pf_left = False  #: the PF has closed its side

    async def commands(self, reader: asyncio.StreamReader, store: asyncio.StreamWriter) -> None:
        """Pass on what the PF sends until it sends no more."""
        try:
            while octets := await reader.read(_READ):
                onward = self._take(octets)
                if self._record.ended:
                    return
                await self._tell()
                if onward:
                    with suppress(OSError):  # what ended the store's side is told there
                        store.write(onward)
                        await store.drain()
        except OSError:
            self._record.life(Kind.RESET, sent=False)
        else:
            self._pf_left = True

    def _take(self, octets: bytes) -> bytes:
        """Take down what the PF sent; what of it is for the store. A login may end the connection."""
        before = self._gate.account
        onward = self._gate.commands(octets)
        account = self._gate.account
        if account is None or account == before:
            self._record.data(octets, sent=False)
            return onward
        self._record.account_is(account)
        self._record.data(octets, sent=False)
        if self._fault(account) == "refuse":
            self._record.life(Kind.RESET, sent=True)
            _reset(self._writer)
        return onward

    async def answers(self, reader: asyncio.StreamReader) -> None:
        """Pass on what the store answers until it ends, and then end the PF's connection as it did."""
        greeting = True
        try:
            while octets := await reader.read(_READ):
                if greeting and octets.upper().startswith(b"* BYE"):
                    self._refused(octets)
                greeting = False
                self._gate.responses(octets)
                with suppress(OSError):  # what ended the PF's side is told there
                    await self._tell()
        except OSError:
            self._record.life(Kind.RESET, sent=True)
            _reset(self._writer)
        else:
            self._record.life(Kind.CLOSE, sent=not self._pf_left)
            self._writer.close()

    async def _tell(self) -> None:
        """Send the PF what is for it."""
        octets = self._gate.for_pf()
        if octets and not self._record.ended:
            self._record.data(octets, sent=True)
            self._writer.write(octets)
            await self._writer.drain()


class _Record:
    """Makes frames of one connection and holds them back until its account is known."""

    def __init__(self, recorder: StoreRecorder, writer: asyncio.StreamWriter) -> None:
        self._recorder = recorder
        self._here = Address(*address_of(writer.get_extra_info("sockname")))
        self._there = Address(*address_of(writer.get_extra_info("peername")))
        self._connection = connection_number(next_connection())
        self._account: str | None = None
        self._held: list[Frame] | None = []
        self.ended = False  #: whether the connection has

    def life(self, kind: Kind, *, sent: bool) -> None:
        """The connection opened or ended; its end is taken down once."""
        if kind is not Kind.OPEN:
            if self.ended:
                return
            self.ended = True
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


def _reset(writer: asyncio.StreamWriter) -> None:
    """End a connection with a TCP reset."""
    handle = writer.get_extra_info("socket")
    if handle is not None:
        handle.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
