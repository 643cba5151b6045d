"""The control channel between the lab, the workers and the controller: JSON lines over loopback TCP.

A line is a JSON object. Requests: ``{"id": n, "op": name, ...}``; replies: ``{"re": n, "ok": true, ...}`` or
``{"re": n, "ok": false, "error": text}``; events of the lab: ``{"event": name, ...}``. The first request of each
connection is ``hello`` with the token of the run. Replies and events leave in the order in which the lab made them, so
a reply to ``sync`` is a barrier: every frame recorded before it has been received when it is.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hmac
import itertools
import json
import socket
import threading
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from cpmspec.evidence.trace import Address, Frame, Kind, Pco, Role

LINE_LIMIT = 4 * 1024 * 1024

Line = dict[str, Any]
Handler = Callable[["Peer", Line], Awaitable[Mapping[str, Any] | None]]


class ControlError(RuntimeError):
    """The lab refused a request, or is not there any more."""


def frame_to_json(frame: Frame) -> list[Any]:
    """A frame as a JSON array; octets in base64."""
    return [
        frame.number, frame.time_us, frame.pco.value, frame.sender.value, frame.receiver.value, frame.transport,
        list(frame.source), list(frame.destination), frame.connection, frame.kind.value,
        base64.b64encode(frame.octets).decode("ascii"),
    ]  # fmt: skip


def frame_from_json(value: list[Any]) -> Frame:
    """The inverse of :func:`frame_to_json`."""
    number, time_us, pco, sender, receiver, transport, source, destination, connection, kind, octets = value
    return Frame(
        number, time_us, Pco(pco), Role(sender), Role(receiver), transport, Address(*source), Address(*destination),
        connection, Kind(kind), base64.b64decode(octets),
    )  # fmt: skip


def _encode(line: Mapping[str, Any]) -> bytes:
    return json.dumps(line, separators=(",", ":")).encode("utf-8") + b"\n"


class Peer:
    """One connection at the lab's side: a worker or the controller, known by ``name`` after its ``hello``."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self.name = ""

    def push(self, event: str, **fields: Any) -> None:
        """Send an event; nothing happens if the peer is gone."""
        if not self._writer.is_closing():
            self._writer.write(_encode({"event": event, **fields}))

    def reply(self, number: int, fields: Mapping[str, Any]) -> None:
        """Answer a request."""
        if not self._writer.is_closing():
            self._writer.write(_encode({"re": number, **fields}))

    def close(self) -> None:
        """Close the connection."""
        self._writer.close()


class ControlServer:
    """The lab's end: dispatches requests to ``handlers`` by op, each peer's requests one after the other or not.

    A handler gets the peer and the request and returns the fields of the reply. :class:`ControlError` is answered;
    requests run as tasks, so a slow one holds up no other.
    """

    def __init__(self, token: str, handlers: Mapping[str, Handler], on_leave: Callable[[Peer], None]) -> None:
        self._token = token
        self._handlers = handlers
        self._on_leave = on_leave
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.peers: set[Peer] = set()

    async def start(self, host: str = "127.0.0.1") -> tuple[str, int]:
        """Listen; return host and port."""
        self._server = await asyncio.start_server(self._serve, host, 0, limit=LINE_LIMIT)
        name = self._server.sockets[0].getsockname()
        return name[0], name[1]

    def broadcast(self, event: str, **fields: Any) -> None:
        """Send an event to every peer."""
        for peer in self.peers:
            peer.push(event, **fields)

    async def close(self) -> None:
        """Stop listening and close every connection."""
        if self._server is not None:
            self._server.close()
        for peer in tuple(self.peers):
            peer.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = Peer(writer)
        try:
            while line := await reader.readline():
                request = json.loads(line)
                if peer not in self.peers:
                    if not self._admit(peer, request):
                        return
                    continue
                task = asyncio.ensure_future(self._answer(peer, request))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
        except (ConnectionError, ValueError):
            return
        finally:
            if peer in self.peers:
                self.peers.discard(peer)
                self._on_leave(peer)
            peer.close()

    def _admit(self, peer: Peer, request: Line) -> bool:
        known = request.get("op") == "hello" and hmac.compare_digest(str(request.get("token", "")), self._token)
        if known:
            peer.name = str(request.get("name", ""))
            self.peers.add(peer)
        peer.reply(request.get("id", 0), {"ok": known} if known else {"ok": False, "error": "wrong token"})
        return known

    async def _answer(self, peer: Peer, request: Line) -> None:
        handler = self._handlers.get(request.get("op", ""))
        if handler is None:
            peer.reply(request["id"], {"ok": False, "error": f"unknown op {request.get('op')!r}"})
            return
        try:
            fields = await handler(peer, request) or {}
        except (ControlError, OSError, KeyError, ValueError) as error:
            peer.reply(request["id"], {"ok": False, "error": f"{type(error).__name__}: {error}"})
            return
        peer.reply(request["id"], {"ok": True, **fields})


class ControlClient:
    """A worker's end, on the worker's loop; ``on_event`` gets the lab's events in order, ``on_lost`` its end."""

    def __init__(self, on_event: Callable[[Line], None], on_lost: Callable[[], None]) -> None:
        self._on_event = on_event
        self._on_lost = on_lost
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Line]] = {}
        self._writer: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task[None] | None = None
        self._over = False

    async def connect(self, address: tuple[str, int], token: str, name: str) -> None:
        """Connect and say hello.

        :raises ControlError: the lab does not know the token. OSError: it does not listen.
        """
        reader, self._writer = await asyncio.open_connection(*address, limit=LINE_LIMIT)
        self._reading = asyncio.ensure_future(self._read(reader))
        await self.call("hello", token=token, name=name)

    async def call(self, op: str, **fields: Any) -> Line:
        """Send a request and wait for its reply.

        :raises ControlError: the lab refused it or is gone.
        """
        if self._writer is None or self._over:
            raise ControlError("the lab is gone")
        number = next(self._numbers)
        reply: asyncio.Future[Line] = asyncio.get_running_loop().create_future()
        self._waiting[number] = reply
        self._writer.write(_encode({"id": number, "op": op, **fields}))
        try:
            line = await reply
        finally:
            self._waiting.pop(number, None)
        if not line["ok"]:
            raise ControlError(f"{op}: {line['error']}")
        return line

    async def close(self) -> None:
        """Close the connection; nothing is reported as lost then."""
        self._over = True
        self._on_lost = lambda: None
        if self._writer is not None:
            self._writer.close()
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)

    async def _read(self, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(ConnectionError):
            while raw := await reader.readline():
                line = json.loads(raw)
                if "event" in line:
                    self._on_event(line)
                elif (reply := self._waiting.get(line["re"])) is not None and not reply.done():
                    reply.set_result(line)
        self._over = True
        for reply in self._waiting.values():
            if not reply.done():
                reply.set_exception(ControlError("the lab is gone"))
        self._on_lost()


class ControlLine:
    """The controller's end: blocking, usable from any thread; events are not for it."""

    def __init__(self, address: tuple[str, int], token: str, name: str = "controller", timeout: float = 10.0) -> None:
        self._socket = socket.create_connection(address, timeout)
        self._file = self._socket.makefile("rb")
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self.call("hello", token=token, name=name)

    def call(self, op: str, **fields: Any) -> Line:
        """Send a request and wait for its reply.

        :raises ControlError: the lab refused it, is gone or is silent.
        """
        with self._lock:
            number = next(self._numbers)
            try:
                self._socket.sendall(_encode({"id": number, "op": op, **fields}))
                while raw := self._file.readline():
                    line: Line = json.loads(raw)
                    if line.get("re") == number:
                        if not line["ok"]:
                            raise ControlError(f"{op}: {line['error']}")
                        return line
            except OSError as error:
                raise ControlError(f"the lab does not answer: {error}") from error
        raise ControlError("the lab is gone")

    def close(self) -> None:
        """Close the connection."""
        self._file.close()
        self._socket.close()
