"""Endpoints and handlers for tests of the SIP endpoint."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager

from cpmspec.net.sip import (
    Hop,
    IncomingRequest,
    SipEndpoint,
    new_tag,
)
from cpmspec.net.tap import TapEvent
from cpmspec.net.tls import client_context, self_signed
from cpmspec.protocol.dialogs import Dialog
from cpmspec.wire.sip import (
    SipRequest,
    build_request,
    parse_message,
)

#: T1 of tests that wait for retransmissions; the others have the usual one, so that a slow machine makes none
FAST = 0.05
KINDS = [(transport, host) for transport in ("udp", "tcp", "tls") for host in ("127.0.0.1", "::1")]


def message(method: str, hop: Hop, headers: Iterable[tuple[str, str]] = (), body: bytes = b"") -> SipRequest:
    host = f"[{hop.host}]" if hop.ipv6 else hop.host
    common = [
        ("Max-Forwards", "70"),
        ("From", f"<sip:alice@home.example>;tag={new_tag()}"),
        ("To", "<sip:bob@home.example>"),
        ("Call-ID", new_tag()),
        ("CSeq", f"1 {method}"),
    ]
    uri = f"sip:bob@{host}:{hop.port};transport={hop.transport}"
    return build_request(method, uri, [*common, *headers], body)


def contact(endpoint: SipEndpoint, hop: Hop) -> tuple[str, str]:
    return "Contact", f"<sip:{endpoint.local_via(hop)};transport={hop.transport}>"


class Recorded(SipEndpoint):
    """An endpoint that keeps what its tap saw and what it was asked."""

    def __init__(self, *, t1: float = 0.5, outbound: Callable[[bytes, Hop], bytes | None] | None = None) -> None:
        self.events: list[TapEvent] = []
        server, _ = self_signed()
        super().__init__(
            tap=self.events.append,
            outbound=outbound,
            t1=t1,
            server_ssl=server,
            client_ssl=client_context(by_fingerprint=True),
        )

    def seen(self, *, sent: bool) -> list[str]:
        """The start lines without version, in order."""
        wanted = [parse_message(event.octets) for event in self.events if event.kind == "data" and event.sent is sent]
        return [item.method if isinstance(item, SipRequest) else str(getattr(item, "status", "?")) for item in wanted]


@asynccontextmanager
async def endpoints(
    transport: str = "udp", host: str = "127.0.0.1", t1: float = 0.5
) -> AsyncIterator[tuple[Recorded, Recorded, Hop]]:
    """A client, a server, and the server's hop; the client listens too."""
    client, server = Recorded(t1=t1), Recorded(t1=t1)
    try:
        await client.listen(transport, host, 0)
        address = await server.listen(transport, host, 0)
        yield client, server, Hop(transport, *address)
    finally:
        await client.close()
        await server.close()


async def accept(incoming: IncomingRequest) -> None:
    await incoming.reply(202 if incoming.request.method == "MESSAGE" else 200)


def deaf(sock: socket.socket, host: str) -> int:
    """Take a port that answers nobody (and that nobody else can get): bound, and if UDP connected to another port."""
    sock.bind((host, 0))
    if sock.type is socket.SOCK_DGRAM:
        sock.connect((host, 9))
    port: int = sock.getsockname()[1]
    return port


class Callee:
    """Answers INVITE after ringing, when told to, and everything else with 200."""

    def __init__(self, endpoint: SipEndpoint) -> None:
        self.endpoint = endpoint
        self.release = asyncio.Event()
        self.incoming: asyncio.Queue[IncomingRequest] = asyncio.Queue()
        self.acks: asyncio.Queue[SipRequest] = asyncio.Queue()
        self.dialog: Dialog | None = None

    async def __call__(self, incoming: IncomingRequest) -> None:
        self.incoming.put_nowait(incoming)
        if incoming.ack:
            self.acks.put_nowait(incoming.request)
        elif incoming.request.method != "INVITE":
            await incoming.reply(200)
        else:
            await incoming.reply(180)
            await self.release.wait()
            ok = await incoming.reply(200, headers=[contact(self.endpoint, incoming.hop)])
            self.dialog = Dialog.uas(incoming.request, ok)


def parsed(events: Iterable[TapEvent], *, sent: bool) -> list[object]:
    return [parse_message(event.octets) for event in events if event.kind == "data" and event.sent is sent]
