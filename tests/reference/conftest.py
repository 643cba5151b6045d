"""A PF in this process, and a core with its client around it, made of SIP endpoints and an MSRP connection alone."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from cpmspec.net.msrp import MsrpConnection, connect_msrp
from cpmspec.net.sip import Call, Hop, IncomingRequest, SipEndpoint
from cpmspec.protocol.dialogs import Dialog
from cpmspec.reference.config import load_config
from cpmspec.reference.parts import Parts
from cpmspec.reference.server import Server
from cpmspec.wire.mime import Multipart, parse_multipart
from cpmspec.wire.msrp import (
    FrameBegin,
    FrameData,
    FrameEnd,
    MsrpEvent,
    MsrpHead,
    build_request,
    build_response,
    new_session_id,
)
from cpmspec.wire.sdp import build_msrp_sdp, parse_sdp
from cpmspec.wire.sip import SipRequest, SipResponse
from cpmspec.wire.sip import build_request as sip_request
from cpmspec.wire.uri import MsrpUri, host_text, parse_uri

USER = "sip:alice@example.com"
WITHIN = 10.0
_numbers = itertools.count(1)


@dataclass
class Frame:
    """A whole MSRP frame as the client saw it."""

    head: MsrpHead
    body: bytes
    flag: str


class MsrpPeer:
    """The client's or originator's end: collects frames, answers SENDs with what ``status`` says."""

    def __init__(self) -> None:
        self.session = new_session_id()
        self.uri = f"msrp://127.0.0.1:9999/{self.session};tcp"
        self.peer: tuple[str, ...] = ()
        self.frames: asyncio.Queue[Frame] = asyncio.Queue()
        self.status: Callable[[Frame], int | None] = lambda frame: 200
        self.lost = asyncio.Event()
        self._head: MsrpHead | None = None
        self._body = bytearray()
        self.connection: MsrpConnection | None = None

    async def connect(self, path: tuple[str, ...], ssl: Any = None) -> None:
        self.peer = path
        uri = parse_uri(path[0])
        assert isinstance(uri, MsrpUri)
        self.take(await connect_msrp(uri.host, uri.port or 0, ssl=ssl))

    def take(self, connection: MsrpConnection) -> None:
        self.connection = connection
        self.connection.on_event = self._event
        self.connection.on_close = lambda reason: self.lost.set()

    def send(
        self,
        method: str,
        transaction: str,
        headers: list[tuple[str, str]],
        body: bytes | None,
        flag: str,
        kind: str | None = None,
    ) -> None:
        assert self.connection is not None
        octets = build_request(method, transaction, self.peer, (self.uri,), headers, body, flag, content_type=kind)
        self.connection.write(octets)

    def bind(self) -> None:
        self.send("SEND", "bind0001", [("Message-ID", "bind0001"), ("Byte-Range", "1-0/0")], None, "$")

    def _event(self, event: MsrpEvent) -> None:
        if isinstance(event, FrameBegin):
            self._head, self._body = event.head, bytearray()
        elif isinstance(event, FrameData):
            self._body += event.octets
        elif isinstance(event, FrameEnd) and self._head is not None:
            frame = Frame(self._head, bytes(self._body), event.flag)
            if frame.head.method == "SEND":
                status = self.status(frame)
                if status is not None and self.connection is not None:
                    self.connection.write(build_response(frame.head, status))
            self.frames.put_nowait(frame)

    async def frame(self) -> Frame:
        return await asyncio.wait_for(self.frames.get(), WITHIN)

    async def message(self) -> tuple[str, bytes]:
        """The next message: its Content-Type and its body."""
        body, kind = bytearray(), ""
        while True:
            frame = await self.frame()
            if frame.head.method != "SEND":
                continue
            body += frame.body
            kind = frame.head.content_type or ""
            if frame.flag == "$":
                return kind, bytes(body)


@dataclass
class Core:
    """The SIP/IP core and everybody behind it: one endpoint that asserts whatever identity a test wants."""

    server: Server
    endpoint: SipEndpoint
    address: tuple[str, int]
    pf: Hop
    messages: asyncio.Queue[SipRequest] = field(default_factory=asyncio.Queue)
    byes: asyncio.Queue[SipRequest] = field(default_factory=asyncio.Queue)
    invites: asyncio.Queue[IncomingRequest] = field(default_factory=asyncio.Queue)
    answer: Callable[[SipRequest], int | None] = lambda request: 200
    transport: str = "udp"

    @property
    def uri(self) -> str:
        return f"sip:{host_text(self.address[0])}:{self.address[1]};transport={self.transport};lr"

    @staticmethod
    def peer() -> MsrpPeer:
        return MsrpPeer()

    async def on_request(self, incoming: IncomingRequest) -> None:
        if incoming.ack:
            return
        request = incoming.request
        if request.method == "INVITE":
            self.invites.put_nowait(incoming)
            return
        (self.byes if request.method == "BYE" else self.messages).put_nowait(request)
        status = self.answer(request)
        if status is not None:
            await incoming.reply(status)

    def build(
        self, method: str, uri: str, *headers: tuple[str, str], body: bytes = b"", sender: str = "sip:bob@example.com"
    ) -> SipRequest:
        number = next(_numbers)
        own = [
            ("Max-Forwards", "70"),
            ("From", f"<{sender}>;tag=f{number}"),
            ("To", f"<{uri}>"),
            ("Call-ID", f"call-{number}"),
            ("CSeq", f"1 {method}"),
        ]
        return sip_request(method, uri, [*own, *headers], body)

    async def ask(self, request: SipRequest) -> SipResponse:
        return await asyncio.wait_for(self.endpoint.request(request, self.pf), WITHIN)

    async def register(self, user: str = USER, expires: int = 600) -> SipResponse:
        pf = f"sip:{self.pf.host}:{self.pf.port}"
        request = self.build("REGISTER", pf, ("Contact", f"<{self.uri}>"), ("Expires", str(expires)), sender=self.uri)
        return await self.ask(request.with_headers(request.headers.replaced("To", f"<{user}>")))

    async def defer(self, content: bytes = b"hello", user: str = USER, **more: str) -> SipResponse:
        headers = [(name.replace("_", "-"), value) for name, value in more.items()]
        routes = ("Route", f"<sip:{host_text(self.pf.host)}:{self.pf.port};lr>, <{self.uri};odi=1>")
        return await self.ask(
            self.build(
                "MESSAGE",
                user,
                routes,
                ("P-Asserted-Identity", "<sip:bob@example.com>"),
                ("Content-Type", "text/plain"),
                *headers,
                body=content,
            )
        )

    def description(
        self, peer: MsrpPeer, direction: str = "recvonly", setup: str | None = "active", **more: Any
    ) -> bytes:
        told: dict[str, Any] = {"accept_types": ("multipart/mixed",), "accept_wrapped_types": ("*",)} | more
        return build_msrp_sdp(
            host="127.0.0.1",
            port=9999,
            path=(peer.uri,),
            setup=setup,
            direction=direction,
            session_id=1,
            version=1,
            **told,
        )

    def invite(self, uri: str, sdp: bytes, owner: str, *headers: tuple[str, str]) -> Call:
        contact = ("Contact", f"<{self.uri}>")
        pai = ("P-Asserted-Identity", f"<{owner}>")
        routes = ("Record-Route", f"<{self.uri}>")
        request = self.build(
            "INVITE", uri, routes, contact, pai, ("Content-Type", "application/sdp"), *headers, body=sdp, sender=owner
        )
        return self.endpoint.call(request, self.pf)

    async def retrieve(self, user: str = USER, **offer: Any) -> tuple[Dialog | None, MsrpPeer, SipResponse]:
        """INVITE the PSI, connect and bind; the dialog is ``None`` if the PF refused."""
        peer = MsrpPeer()
        peer.status = offer.pop("status", peer.status)
        call = self.invite("sip:deferred@example.com", self.description(peer, **offer), user)
        response = await asyncio.wait_for(call.response(), WITHIN)
        if response.status >= 300:
            return None, peer, response
        await call.ack(hop=self.pf)
        media = parse_sdp(response.body).message
        assert media is not None
        await peer.connect(media.path)
        peer.bind()
        return call.dialog, peer, response

    async def bye(self) -> SipRequest:
        return await asyncio.wait_for(self.byes.get(), WITHIN)


def taken_apart(message: tuple[str, bytes]) -> Multipart:
    return parse_multipart(*message)


Start = Callable[..., Awaitable[Core]]


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """Starts a PF with the configuration keys given, and the core around it."""
    running: list[Core] = []

    async def begin(parts: Parts | None = None, **keys: Any) -> Core:
        told = {"sip.port": 0, "state": str(tmp_path / "state")} | {
            key.replace("__", "."): value for key, value in keys.items()
        }
        server = Server(load_config(None, told), parts)
        await server.start()
        endpoint = SipEndpoint()
        address = await endpoint.listen("udp", "127.0.0.1", 0)
        core = Core(server, endpoint, address, Hop("udp", *server.pf.signalling.listening["udp"]))
        endpoint.on_request = core.on_request
        running.append(core)
        return core

    yield begin
    for core in running:
        await core.server.stop()
        await core.endpoint.close()
