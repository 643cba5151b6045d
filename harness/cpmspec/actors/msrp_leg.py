"""The MSRP side of a client's session: its connections, what arrives on them, and what is answered (RFC 4975).

Whatever octets a peer sends, they are taken down and the leg goes on: a request for another session is answered 481,
one that cannot be understood 400, a method that is unknown 501 (RFC 4975 7.2, 10).
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING

from cpmspec.actors.assembly import Assemblies, Assembly
from cpmspec.actors.behaviour import Behaviour, Chunk, ReceivedMessage
from cpmspec.net.clock import now_us
from cpmspec.net.msrp import MsrpConnection, MsrpListener, connect_msrp, listen_msrp
from cpmspec.net.tap import Tap
from cpmspec.wire.msrp import (
    FrameBegin,
    FrameData,
    FrameEnd,
    MsrpEvent,
    MsrpHead,
    Unreadable,
    build_request,
    build_response,
    new_message_id,
    new_session_id,
    new_transaction_id,
)
from cpmspec.wire.uri import host_text, same_uri

if TYPE_CHECKING:
    from cpmspec.actors.session import Session

#: octets of one chunk's body that are kept; what is longer is cut
MAX_CHUNK = 256 * 1024 * 1024


class MsrpLeg:
    """One MSRP session at the client. ``path`` is its own URI; connections are accepted, or made by :meth:`connect`."""

    def __init__(self, session: Session, behaviour: Behaviour, tap: Tap) -> None:
        self.received: list[ReceivedMessage] = []
        self.heads: list[MsrpHead] = []
        self.unreadable: list[bytes] = []
        self.path = ""
        self.connected = asyncio.Event()
        self.lost = asyncio.Event()  #: a connection ended that the peer closed
        self.last_outcome_us: int | None = None
        self.errors: list[BaseException] = []  #: what a hook of the case raised
        self.unanswered = 0  #: chunks whose answer is being withheld, or never comes
        self._session = session
        self._behaviour = behaviour
        self._tap = tap
        self._listener: MsrpListener | None = None
        self._connections: list[MsrpConnection] = []
        self._assemblies = Assemblies()
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = False

    async def listen(self, host: str, *, server_ssl: ssl.SSLContext | None) -> tuple[str, int]:
        """Open the listener and make the path; its address.

        :raises OSError: the host is not ours.
        """
        self._listener = await listen_msrp(host, 0, self._accept, ssl=server_ssl, tap=self._tap)
        address = self._listener.address
        scheme = "msrp" if server_ssl is None else "msrps"
        self.path = f"{scheme}://{host_text(address[0])}:{address[1]}/{new_session_id()};tcp"
        return address[0], address[1]

    async def connect(
        self, host: str, port: int, peer_path: tuple[str, ...], *, client_ssl: ssl.SSLContext | None, bind: bool
    ) -> None:
        """Connect to the peer and bind the connection with an empty SEND (RFC 4975 5.4).

        :raises OSError: the peer refuses.
        """
        connection = await connect_msrp(host, port, ssl=client_ssl, tap=self._tap)
        self._accept(connection)
        if bind:
            headers = [("Message-ID", new_message_id()), ("Byte-Range", "1-0/0")]
            octets = build_request("SEND", new_transaction_id(), peer_path, [self.path], headers, None)
            await self._put(connection, octets)

    def reset(self) -> None:
        """Break every connection with a TCP reset."""
        self._closing = True
        for connection in tuple(self._connections):
            connection.abort()

    def half_close(self) -> None:
        """Send no more on any connection, but keep reading."""
        for connection in self._connections:
            connection.half_close()

    async def close(self) -> None:
        """End all connections and stop listening."""
        self._closing = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for connection in tuple(self._connections):
            connection.close()
            await connection.wait_closed()
        if self._listener is not None:
            self._listener.close()

    def _accept(self, connection: MsrpConnection) -> None:
        """Take a new connection, ours or the peer's."""
        self._connections.append(connection)
        reader = _Reader(lambda head, body, flag: self._frame(connection, head, body, flag), self.unreadable.append)
        connection.on_event = reader.event
        connection.on_close = lambda reason: self._closed(connection)
        self.connected.set()

    def _closed(self, connection: MsrpConnection) -> None:
        if connection in self._connections:
            self._connections.remove(connection)
        if not self._closing:
            self.lost.set()

    def _frame(self, connection: MsrpConnection, head: MsrpHead, body: bytes | None, flag: str) -> None:
        """Take one whole frame."""
        self.heads.append(head)
        if self._behaviour.on_frame is not None:
            self._behaviour.on_frame(self._session, head)
        if not head.is_request or head.method == "REPORT":
            return
        status = self._refusal(head)
        if status is not None:
            self._spawn(self._respond(connection, head, status))
        elif body is None:
            self._spawn(self._respond(connection, head, 200))
        else:
            self._chunk(connection, head, body, flag)

    def _refusal(self, head: MsrpHead) -> int | None:
        """The error that a request deserves before its content is looked at."""
        if not head.to_path or not head.from_path:
            return 400
        if not same_uri(head.to_path[0], self.path):
            return 481
        if head.method != "SEND":
            return 501
        return 400 if not head.message_id else None

    def _chunk(self, connection: MsrpConnection, head: MsrpHead, body: bytes, flag: str) -> None:
        """Put a chunk to its message, and have it answered."""
        assembly = self._assemblies.add(head.message_id or "", head, body, flag)
        chunk = Chunk(self._session, assembly.index, assembly.chunks - 1, head, body, flag, assembly.complete)
        number: int | None = None
        if assembly.complete:
            number = len(self.received)
            first = assembly.head
            self.received.append(
                ReceivedMessage(first.message_id or "", first.content_type or "", assembly.body(), first)
            )
        self.unanswered += 1
        self._spawn(self._answer(connection, chunk, assembly, number))

    async def _answer(self, connection: MsrpConnection, chunk: Chunk, assembly: Assembly, number: int | None) -> None:
        """Answer a chunk as the case wants it, then report success and run the hook if it completed its message."""
        status = await self._behaviour.answer(chunk)
        if status is not None:
            self.unanswered -= 1
            await self._respond(connection, chunk.head, status)
            self.last_outcome_us = now_us()
        if status == 200:
            assembly.answered_200 += 1
            if assembly.complete and assembly.answered_200 == assembly.chunks:
                await self._report(connection, assembly)
        if number is not None and self._behaviour.after_message is not None:
            await self._behaviour.after_message(self._session, number)

    async def _respond(self, connection: MsrpConnection, head: MsrpHead, status: int) -> None:
        """Send a response unless the Failure-Report of the request forbids it (RFC 4975 7.2)."""
        wanted = (head.failure_report or "yes").lower()
        if wanted == "no" or (wanted == "partial" and status == 200):
            return
        with contextlib.suppress(ValueError):  # a request without paths cannot be answered
            await self._put(connection, build_response(head, status, COMMENTS.get(status, "")))

    async def _report(self, connection: MsrpConnection, assembly: Assembly) -> None:
        """Send the success REPORT of a whole message if it asks for one (RFC 4975 7.1.2, 7.1.3)."""
        head = assembly.head
        if (head.success_report or "no").lower() != "yes" or not self._behaviour.reports:
            return
        size = len(assembly.body())
        headers = [
            ("Message-ID", head.message_id or ""),
            ("Byte-Range", f"1-{size}/{size}"),
            ("Status", "000 200 OK"),
        ]
        octets = build_request("REPORT", new_transaction_id(), head.from_path, [self.path], headers, None)
        await self._put(connection, octets)
        self.last_outcome_us = now_us()

    async def _put(self, connection: MsrpConnection, octets: bytes) -> None:
        """Write; a connection that is gone swallows it."""
        with contextlib.suppress(OSError):
            await connection.send(octets)

    def _spawn(self, coroutine: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.errors.append(error)


#: comments of the responses that the client sends (RFC 4975 10)
COMMENTS = {
    200: "OK", 400: "Bad Request", 403: "Forbidden", 408: "Timeout", 413: "Stop Sending", 415: "Unknown Media Type",
    423: "Out of Bounds", 481: "No Such Session", 501: "Unknown Method", 506: "Wrong Connection",
}  # fmt: skip


class _Reader:
    """Collects the events of one connection into whole frames."""

    def __init__(
        self, frame: Callable[[MsrpHead, bytes | None, str], None], unreadable: Callable[[bytes], None]
    ) -> None:
        self._frame = frame
        self._unreadable = unreadable
        self._head: MsrpHead | None = None
        self._body = bytearray()

    def event(self, event: MsrpEvent) -> None:
        """Take one event."""
        if isinstance(event, FrameBegin):
            self._head, self._body = event.head, bytearray()
        elif isinstance(event, FrameData):
            if len(self._body) < MAX_CHUNK:
                self._body += event.octets
        elif isinstance(event, FrameEnd):
            head, self._head = self._head, None
            if head is not None:
                self._frame(head, bytes(self._body) if head.has_body else None, event.flag)
        elif isinstance(event, Unreadable):
            self._unreadable(event.octets)
