"""The sockets under a SIP endpoint by themselves: what a peer does to them that takes no answers."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable

import pytest
import trustme

from cpmspec.net import sip_sockets
from cpmspec.net.sip_hops import Hop
from cpmspec.net.sip_sockets import Arrival
from cpmspec.net.sip_transports import SipTransports
from cpmspec.wire.sip import SipMessage, SipRequest, SipUnreadable, build_request, response_to

pytestmark = pytest.mark.timeout(30)
FILLING = "x" * 20_000


class Answering:
    """Answers each request at once, at length."""

    def __init__(self) -> None:
        self.transports: SipTransports
        self.received_count = 0

    def received(self, message: SipMessage | SipUnreadable, arrival: Arrival) -> None:
        assert isinstance(message, SipRequest)
        self.received_count += 1
        answer = response_to(message, 200, headers=[("X-Filling", FILLING)]).octets()
        self.transports.send(answer, arrival.hop, channel=arrival.channel, response=True)

    def failed(self, hop: Hop, why: str) -> None:
        """The peer has gone: the test is over."""


class Peer(asyncio.Protocol):
    """Writes requests and, until it is told to, reads nothing."""

    def __init__(self) -> None:
        self.blocked = False
        self.answers = 0
        self._rest = b""
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.pause_reading()

    def pause_writing(self) -> None:
        self.blocked = True

    def resume_writing(self) -> None:
        self.blocked = False

    def data_received(self, data: bytes) -> None:
        data = self._rest + data
        self.answers += data.count(b"SIP/2.0 200 ")
        self._rest = data[-11:] if b"SIP/2.0 200 " not in data[-12:] else b""


async def happens(check: Callable[[], bool]) -> None:
    """Look again with each turn of the event loop."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()

    def look() -> None:
        if check():
            done.set_result(None)
        else:
            loop.call_soon(look)

    look()
    await done


@pytest.mark.parametrize("transport", ["tcp", "tls"])
async def test_a_peer_that_takes_no_answers_is_not_read_from(transport: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sip_sockets, "MAX_UNSENT", 100_000)
    authority = trustme.CA()
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.issue_cert("localhost").configure_cert(server)
    authority.configure_trust(client)
    observer = Answering()
    observer.transports = SipTransports(observer, tap=None, outbound=None, server_ssl=server, client_ssl=None)
    address = await observer.transports.listen(transport, "127.0.0.1", 0)
    _, peer = await asyncio.get_running_loop().create_connection(
        Peer, *address, ssl=client if transport == "tls" else None,
        server_hostname="localhost" if transport == "tls" else None,
    )  # fmt: skip
    headers = [
        ("Via", f"SIP/2.0/{transport.upper()} 127.0.0.1:5070;branch=z9hG4bKone"),
        ("Max-Forwards", "70"), ("From", "<sip:a@home.example>;tag=a"), ("To", "<sip:b@home.example>"),
        ("Call-ID", "call-1"), ("CSeq", "1 OPTIONS"), ("X-Filling", FILLING), ("Content-Length", "0"),
    ]  # fmt: skip
    octets = build_request("OPTIONS", "sip:b@home.example", headers).octets()
    written = 0

    def flood() -> bool:
        nonlocal written
        if not peer.blocked:
            peer.transport.write(octets)
            written += 1
        return peer.blocked

    await happens(flood)
    taken = observer.received_count
    assert taken < written
    peer.transport.resume_reading()
    await happens(lambda: peer.answers == written == observer.received_count)
    peer.transport.close()
    await observer.transports.close()
