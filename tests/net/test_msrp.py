"""MSRP connections on loopback: TCP and TLS, IPv4 and IPv6, back-pressure, resets, and what the tap is told."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable

import pytest
import trustme

from cpmspec.net.msrp import MsrpConnection, MsrpListener, connect_msrp, listen_msrp
from cpmspec.net.tap import Tap, TapEvent
from cpmspec.wire.msrp import FrameBegin, FrameData, FrameEnd, MsrpEvent, build_head, build_request

TO, FROM = "msrp://a.example:2855/s1;tcp", "msrp://b.example:2855/s2;tcp"
pytestmark = pytest.mark.timeout(30)


def send(body: bytes) -> bytes:
    span = ("Byte-Range", f"1-*/{len(body)}")
    headers = [("Message-ID", "m1aa"), span]
    return build_request("SEND", "transact1", [TO], [FROM], headers, body, content_type="text/plain")


class Peer:
    """What one end of a connection saw; every wait is for an event."""

    def __init__(self) -> None:
        self.connected = asyncio.Event()
        self.ended = asyncio.Event()
        self.gone = asyncio.Event()
        self.events: list[MsrpEvent] = []
        self.reason: Exception | None = None
        self.paused = False

    def take(self, connection: MsrpConnection) -> None:
        self.connection = connection
        connection.on_event = self.event
        connection.on_close = self.close
        if self.paused:
            connection.pause_reading()
        self.connected.set()

    def event(self, event: MsrpEvent) -> None:
        self.events.append(event)
        if isinstance(event, FrameEnd):
            self.ended.set()

    def close(self, reason: Exception | None) -> None:
        self.reason = reason
        self.gone.set()

    @property
    def data(self) -> bytes:
        return b"".join(event.octets for event in self.events if isinstance(event, FrameData))


async def pair(
    peer: Peer, *, host: str = "127.0.0.1", tap: Tap | None = None, contexts: tuple[ssl.SSLContext, ssl.SSLContext]
    | tuple[None, None] = (None, None), outbound: Callable[[bytes], bytes | None] | None = None,
) -> tuple[MsrpListener, MsrpConnection]:  # fmt: skip
    listener = await listen_msrp(host, 0, peer.take, ssl=contexts[0])
    connection = await connect_msrp(
        *listener.address, ssl=contexts[1], server_hostname="localhost" if contexts[1] else None, tap=tap,
        outbound=outbound,
    )  # fmt: skip
    await peer.connected.wait()
    return listener, connection


async def end(listener: MsrpListener, *connections: MsrpConnection) -> None:
    listener.close()
    for connection in connections:
        connection.close()
        await connection.wait_closed()


@pytest.fixture(scope="module")
def contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    authority = trustme.CA()
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.issue_cert("localhost").configure_cert(server)
    authority.configure_trust(client)
    return server, client


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("tls", [False, True], ids=["tcp", "tls"])
async def test_a_message_crosses(host: str, tls: bool, contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    peer = Peer()
    listener, connection = await pair(peer, host=host, contexts=contexts if tls else (None, None))
    await connection.send(send(b"hello"))
    await peer.ended.wait()
    assert [type(event) for event in peer.events] == [FrameBegin, FrameData, FrameEnd]
    assert peer.data == b"hello"
    assert connection.local == peer.connection.remote
    assert connection.remote == listener.address == peer.connection.local
    assert (connection.transport, connection.tls) == (("tls", True) if tls else ("tcp", False))
    assert (connection.peer_certificate is not None) is tls
    connection.close()
    await peer.gone.wait()
    assert peer.reason is None
    await end(listener, peer.connection, connection)


async def test_a_certificate_that_is_not_trusted(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    listener = await listen_msrp("127.0.0.1", 0, Peer().take, ssl=contexts[0])
    with pytest.raises(ssl.SSLError):
        await connect_msrp(*listener.address, ssl=ssl.create_default_context(), server_hostname="localhost")
    listener.close()


async def test_nobody_listens() -> None:
    listener = await listen_msrp("127.0.0.1", 0, Peer().take)
    address = listener.address
    await end(listener)
    with pytest.raises(ConnectionError):
        await connect_msrp(*address)


async def test_the_tap_sees_every_octet_and_the_life_of_the_connection() -> None:
    seen: list[TapEvent] = []
    peer = Peer()
    listener, connection = await pair(peer, tap=seen.append)
    octets = send(b"hello")
    await connection.send(octets)
    await peer.ended.wait()
    await peer.connection.send(octets)
    peer.connection.close()
    await connection.wait_closed()
    assert [(event.kind, event.sent) for event in seen if event.kind != "data"] == [("open", True), ("close", False)]
    assert b"".join(event.octets for event in seen if event.sent) == octets
    assert b"".join(event.octets for event in seen if not event.sent) == octets
    assert {(event.transport, event.local, event.remote, event.connection) for event in seen} == {
        ("tcp", connection.local, connection.remote, connection.number),
    }  # fmt: skip
    assert [event.time_us for event in seen] == sorted(event.time_us for event in seen)
    await end(listener, peer.connection)


@pytest.mark.parametrize("tls", [False, True], ids=["tcp", "tls"])
async def test_a_reset_is_seen(tls: bool, contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    seen: list[TapEvent] = []
    peer = Peer()
    listener, connection = await pair(peer, tap=seen.append, contexts=contexts if tls else (None, None))
    connection.write(send(b"hello")[:-5])
    connection.abort()
    await peer.gone.wait()
    await connection.wait_closed()
    assert isinstance(peer.reason, ConnectionResetError)
    assert peer.connection.reason is peer.reason
    assert [(event.kind, event.sent) for event in seen][-1] == ("reset", True)
    with pytest.raises(ConnectionError):
        await peer.connection.send(b"x")
    await end(listener)


async def test_a_reset_by_the_peer_is_told_to_the_tap() -> None:
    seen: list[TapEvent] = []
    peer = Peer()
    listener, connection = await pair(peer, tap=seen.append)
    peer.connection.abort()
    await connection.wait_closed()
    assert [(event.kind, event.sent) for event in seen] == [("open", True), ("reset", False)]
    listener.close()


async def test_send_waits_while_the_peer_does_not_read() -> None:
    peer = Peer()
    peer.paused = True
    listener, connection = await pair(peer)
    body, sent = b"x" * 500_000, 1
    while not connection.blocked:
        connection.write(send(body))
        sent += 1
    sending = asyncio.create_task(connection.send(send(body)))
    await asyncio.sleep(0)
    assert not sending.done()
    peer.connection.resume_reading()
    await sending
    while sum(isinstance(event, FrameEnd) for event in peer.events) < sent:
        peer.ended.clear()
        await peer.ended.wait()
    assert len(peer.data) == sent * len(body)
    await end(listener, connection, peer.connection)


async def test_a_send_that_waits_learns_that_the_connection_is_gone() -> None:
    peer = Peer()
    peer.paused = True
    listener, connection = await pair(peer)

    while not connection.blocked:
        connection.write(b"x" * 500_000)
    sending = asyncio.create_task(connection.send(b"x"))
    await asyncio.sleep(0)
    assert not sending.done()
    peer.connection.abort()
    with pytest.raises(ConnectionError):
        await sending
    await end(listener, connection)


async def test_what_comes_before_there_is_an_observer_waits_for_it() -> None:
    greeted = asyncio.Event()

    def greet(connection: MsrpConnection) -> None:
        connection.write(send(b"hello"))
        connection.close()
        greeted.set()

    listener = await listen_msrp("127.0.0.1", 0, greet)
    connection = await connect_msrp(*listener.address)
    await greeted.wait()
    await connection.wait_closed()
    peer = Peer()
    peer.take(connection)
    assert peer.data == b"hello"
    assert peer.gone.is_set()
    listener.close()


async def test_a_message_that_is_cut_off_has_no_end() -> None:
    peer = Peer()
    listener, connection = await pair(peer)
    head = build_head("SEND", "transact1", [TO], [FROM], [("Message-ID", "m1aa")], content_type="a/b", has_body=True)
    await connection.send(head + b"abc\r\n-------trans")
    connection.close()
    await peer.gone.wait()
    assert peer.data == b"abc\r\n-------trans"
    assert not peer.ended.is_set()
    await end(listener, peer.connection)


async def test_the_outbound_hook_changes_and_drops_what_is_written() -> None:
    seen: list[TapEvent] = []
    peer = Peer()

    def change(octets: bytes) -> bytes | None:
        return None if b"drop" in octets else octets.replace(b"hello", b"HELLO")

    listener, connection = await pair(peer, tap=seen.append, outbound=change)
    await connection.send(send(b"drop"))
    await connection.send(send(b"hello"))
    await peer.ended.wait()
    assert peer.data == b"HELLO"
    assert [event.octets for event in seen if event.kind == "data"] == [send(b"HELLO")]
    await end(listener, connection, peer.connection)


async def test_half_closed_it_still_reads() -> None:
    peer = Peer()
    listener, connection = await pair(peer)
    assert connection.on_event is None
    assert connection.on_close is None
    mine = Peer()
    mine.take(connection)
    assert connection.on_event == mine.event
    assert connection.on_close == mine.close
    connection.half_close()
    peer.connection.write(send(b"hello"))
    await mine.ended.wait()
    assert mine.data == b"hello"
    await end(listener, connection, peer.connection)


async def test_a_connection_that_never_stood_takes_nothing() -> None:
    connection = MsrpConnection()
    assert (connection.unsent, connection.is_open, connection.peer_certificate) == (0, False, None)
    connection.pause_reading()
    connection.resume_reading()
    connection.half_close()
    connection.close()
    connection.abort()
    with pytest.raises(ConnectionResetError):
        connection.write(b"x")
