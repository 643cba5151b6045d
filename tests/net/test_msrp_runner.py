"""A session's two sides on loopback: back-pressure both ways, interruption, timers, and the loss of a connection."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

import pytest
import trustme

from cpmspec.net import msrp_runner
from cpmspec.net.msrp import MsrpConnection, connect_msrp, listen_msrp
from cpmspec.net.msrp_runner import MsrpRunner
from cpmspec.protocol.errors import LocalProtocolError
from cpmspec.protocol.msrp_binding import Binding, Bindings, State
from cpmspec.protocol.msrp_receiver import BytesSink, MessageAborted, MessageComplete, MsrpReceiver, ReceiverEvent
from cpmspec.protocol.msrp_sender import BytesContent, Content, MsrpSender, Outcome, OutgoingMessage, SenderEvent
from cpmspec.wire.msrp import FrameBegin, FrameEnd, MsrpEvent, MsrpHead, build_request

A, B = "msrp://127.0.0.1:2855/sessionofa1;tcp", "msrp://127.0.0.1:2856/sessionofb1;tcp"
LARGE = 24 << 20
pytestmark = pytest.mark.timeout(60)


T = TypeVar("T", Outcome, MessageComplete, MessageAborted)


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


class Made:
    """A content that is made as it is read; it tells how far that went."""

    def __init__(self, size: int, *, until: int | None = None) -> None:
        self.size = size
        self.asked = 0
        self._until = size if until is None else until

    def read(self, offset: int, count: int) -> bytes:
        self.asked = max(self.asked, min(offset + count, self._until))
        return bytes(min(count, self._until - offset))


class Counter(BytesSink):
    """A sink that keeps nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.octets = 0

    def write(self, offset: int, octets: bytes) -> None:
        self.octets += len(octets)


class Side:
    """One end of a session, and what it was told."""

    def __init__(self, path: str, peer: str, **options: float) -> None:
        self.path, self.peer = path, peer
        self.sink = Counter()
        self.events: list[SenderEvent | ReceiverEvent] = []
        self.told = asyncio.Event()
        self.ready = asyncio.Event()
        self.heads: list[MsrpHead] = []
        self.flags: list[str] = []
        self.drain: Callable[[], Awaitable[None]] | None = None
        self._options = options
        self.runner: MsrpRunner

    def start(self, connection: MsrpConnection) -> None:
        sender = MsrpSender((self.peer,), (self.path,), chunk_size=None, **self._options)  # type: ignore[arg-type]
        receiver = MsrpReceiver((self.path,), open_sink=lambda head: self.sink)
        self.runner = MsrpRunner(connection, sender, receiver, self.tell, drain=self.drain)
        observer = connection.on_event

        def watch(event: MsrpEvent) -> None:
            if isinstance(event, FrameBegin):
                self.heads.append(event.head)
            elif isinstance(event, FrameEnd):
                self.flags.append(event.flag)
            assert observer is not None
            observer(event)

        connection.on_event = watch
        self.ready.set()

    def tell(self, event: SenderEvent | ReceiverEvent) -> None:
        self.events.append(event)
        if isinstance(event, MessageComplete):
            self.runner.answer(*event.answers)
        self.told.set()

    async def until(self, kind: type[T]) -> T:
        while True:
            for event in self.events:
                if isinstance(event, kind):
                    return event
            self.told.clear()
            await self.told.wait()

    def submit(self, content: Content, name: str = "m1aa", *, success: bool = False) -> None:
        self.runner.submit(OutgoingMessage(name, "a/b", content, success))


@asynccontextmanager
async def session(
    a: Side, b: Side, contexts: tuple[ssl.SSLContext, ssl.SSLContext] | None = None
) -> AsyncIterator[None]:
    """A connection from ``a`` to ``b``."""
    server, client = contexts or (None, None)
    listener = await listen_msrp("127.0.0.1", 0, b.start, ssl=server)
    name = "localhost" if client else None
    a.start(await connect_msrp(*listener.address, ssl=client, server_hostname=name))
    await b.ready.wait()
    yield
    for side in (a, b):
        side.runner.close()
    for side in (a, b):
        await side.runner.connection.wait_closed()
    listener.close()


@pytest.fixture(scope="module")
def contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    authority = trustme.CA()
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.issue_cert("localhost").configure_cert(server)
    authority.configure_trust(client)
    return server, client


@pytest.mark.parametrize("tls", [False, True], ids=["tcp", "tls"])
async def test_messages_cross_in_both_directions(tls: bool, contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    a, b = Side(A, B), Side(B, A)
    async with session(a, b, contexts if tls else None):
        a.submit(Made(300_000), success=True)
        b.submit(Made(200_000), success=True)
        assert await a.until(Outcome) == await b.until(Outcome) == Outcome("m1aa", True, 200)
        assert (a.sink.octets, b.sink.octets) == (200_000, 300_000)
        assert a.sink.closed
        assert b.sink.closed


@pytest.mark.parametrize("tls", [False, True], ids=["tcp", "tls"])
async def test_no_content_is_read_while_the_peer_takes_nothing(
    tls: bool, contexts: tuple[ssl.SSLContext, ssl.SSLContext]
) -> None:
    a, b, content = Side(A, B), Side(B, A), Made(LARGE)
    async with session(a, b, contexts if tls else None):
        b.runner.connection.pause_reading()
        a.submit(content)
        await happens(lambda: a.runner.connection.blocked)
        asked = content.asked
        a.runner.submit(OutgoingMessage("m2aa", "a/b", BytesContent(b"x")))
        assert content.asked == asked < LARGE // 2
        b.runner.connection.resume_reading()
        assert await a.until(Outcome) == Outcome("m1aa", True, 200)
        assert content.asked == LARGE


async def test_nothing_is_read_from_the_connection_while_the_sink_is_behind() -> None:
    a, b, content, drained = Side(A, B), Side(B, A), Made(LARGE), asyncio.Event()
    waits = asyncio.Event()

    async def drain() -> None:
        waits.set()
        await drained.wait()

    b.drain = drain
    async with session(a, b):
        a.submit(content)
        await waits.wait()
        await happens(lambda: a.runner.connection.blocked)
        taken = b.sink.octets
        assert taken < LARGE // 2
        await asyncio.sleep(0)
        assert b.sink.octets == taken
        drained.set()
        assert await a.until(Outcome) == Outcome("m1aa", True, 200)
        assert b.sink.octets == LARGE


async def test_an_answer_interrupts_the_chunk_that_is_open() -> None:
    """RFC 4975 7.1.1: what has to be answered does not wait for the end of a large message."""
    a, b = Side(A, B), Side(B, A)
    async with session(a, b):
        b.runner.connection.pause_reading()
        a.submit(Made(LARGE))
        await happens(lambda: a.runner.connection.blocked)
        b.submit(BytesContent(b"question"))
        await a.until(MessageComplete)
        b.runner.connection.resume_reading()
        assert await b.until(Outcome) == Outcome("m1aa", True, 200)
        assert await a.until(Outcome) == Outcome("m1aa", True, 200)
        ends = [(head.method or head.status, flag) for head, flag in zip(b.heads, b.flags, strict=True)]
        assert ends == [("SEND", "+"), (200, "$"), ("SEND", "$")]


async def test_a_peer_that_takes_no_answers_is_not_read_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(msrp_runner, "MAX_UNSENT", 100_000)
    side, made = Side(B, A), asyncio.Event()

    def accept(connection: MsrpConnection) -> None:
        side.start(connection)
        made.set()

    listener = await listen_msrp("127.0.0.1", 0, accept)
    peer = await connect_msrp(*listener.address)
    await made.wait()
    answers = 0

    def count(event: MsrpEvent) -> None:
        nonlocal answers
        answers += isinstance(event, FrameEnd)

    peer.on_event = count
    peer.pause_reading()
    names = [f"message{number}" for number in range(20)]
    far = A.replace("sessionofa1", "a" * 6000)  # for long answers
    sends = b"".join(
        build_request("SEND", name, [B], [far], [("Message-ID", name)], b"x", content_type="a/b") for name in names
    )
    written = 0
    while not peer.blocked:
        peer.write(sends)
        written += len(names)
        await asyncio.sleep(0)
    assert side.runner.connection.unsent < 10_000_000
    peer.resume_reading()
    await happens(lambda: answers >= written)
    side.runner.close()
    peer.close()
    await peer.wait_closed()
    listener.close()


async def test_a_lost_connection_is_told_to_both_sides() -> None:
    a, b = Side(A, B), Side(B, A)
    async with session(a, b):
        b.runner.connection.pause_reading()
        a.submit(Made(LARGE))
        await happens(lambda: a.runner.connection.blocked)
        b.runner.connection.resume_reading()
        await happens(lambda: b.sink.octets > 0)
        b.runner.connection.abort()
        outcome = await a.until(Outcome)
        assert not outcome.delivered
        aborted = await b.until(MessageAborted)
        assert aborted.message_id == "m1aa"
        assert b.sink.aborted
        with pytest.raises(LocalProtocolError):
            a.submit(BytesContent(b"x"), "m2aa")
        b.runner.answer(b"nobody hears this")


async def test_a_close_fails_what_has_no_outcome() -> None:
    a, b = Side(A, B), Side(B, A)
    async with session(a, b):
        b.runner.connection.pause_reading()
        a.submit(BytesContent(b"x"))
        a.runner.close()
        assert await a.until(Outcome) == Outcome("m1aa", False, None, "the session is over")


async def test_a_content_that_ends_early_breaks_the_connection() -> None:
    a, b = Side(A, B), Side(B, A)
    async with session(a, b):
        a.submit(Made(LARGE, until=200_000))
        outcome = await a.until(Outcome)
        assert "ended before its size" in outcome.reason
        await b.runner.connection.wait_closed()


async def test_silence_is_noticed() -> None:
    a, b = Side(A, B, response_timeout=0.05), Side(B, A)
    async with session(a, b):
        b.runner.connection.on_event = lambda event: None
        a.submit(BytesContent(b"x"))
        assert await a.until(Outcome) == Outcome("m1aa", False, None, "no response within 0.05 s")


class TestBinding:
    """RFC 4975 5.4, 7.3: which session a connection has is found out by the shell itself."""

    @staticmethod
    def send(to: str, name: str, *, failure: str | None = None, body: bytes | None = b"x") -> bytes:
        headers = [("Message-ID", name), *([("Failure-Report", failure)] if failure else [])]
        content_type = None if body is None else "a/b"
        return build_request("SEND", name, [to], [A], headers, body, content_type=content_type)

    async def test_481_506_and_the_end(self) -> None:
        bindings, got = Bindings(), list[tuple[Binding | None, MsrpEvent]]()
        mine = bindings.add(B)
        mine.begin(active=False)

        def accept(connection: MsrpConnection) -> None:
            connection.on_event = lambda event: got.append((connection.session, event))

        listener = await listen_msrp("127.0.0.1", 0, accept, bindings=bindings)
        first, second = await connect_msrp(*listener.address), await connect_msrp(*listener.address)
        answers: dict[str, int | None] = {}

        def note(event: MsrpEvent) -> None:
            if isinstance(event, FrameBegin):
                answers[event.head.transaction_id] = event.head.status

        first.on_event = second.on_event = note
        await first.send(self.send(A, "unknown1", failure="no") + self.send(A, "unknown2") + self.send(B, "right001"))
        await happens(lambda: len(got) >= 3)
        await second.send(self.send(B, "wrong001") + b"GET / HTTP/1.1\r\n")
        await happens(lambda: len(got) >= 4 and len(answers) >= 2)
        assert answers == {"unknown2": 481, "wrong001": 506}
        assert [session for session, _ in got] == [mine] * 3 + [None]
        assert mine.state is State.BOUND
        first.close()
        await happens(lambda: mine.state is not State.BOUND)
        assert mine.state.value == "Failed"
        second.close()
        for connection in (first, second):
            await connection.wait_closed()
        listener.close()

    async def test_the_active_side(self) -> None:
        listener = await listen_msrp("127.0.0.1", 0, lambda connection: None)
        bindings = Bindings()
        mine = bindings.add(A)
        mine.begin(active=True)
        connection = await connect_msrp(*listener.address, bindings=bindings, session=mine)
        assert (mine.state, mine.connection, mine.may_send) == (State.ANNOUNCING, connection.number, True)
        connection.abort()
        await connection.wait_closed()
        assert mine.state.value == "Failed"
        other = bindings.add(A.replace("sessionofa1", "sessionofa2"))
        other.begin(active=True)
        listener.close()
        with pytest.raises(OSError, match="onnect"):
            await connect_msrp(*listener.address, bindings=bindings, session=other)
        assert other.state is State.FAILED


async def test_many_short_answers_are_written_together() -> None:
    """Answers to what came in one read leave in one write."""
    a, b = Side(A, B), Side(B, A)
    async with session(a, b):
        pieces: list[bytes] = []
        stream = a.runner.connection
        received = stream.data_received

        def watch(data: bytes) -> None:
            pieces.append(data)
            received(data)

        stream.data_received = watch  # type: ignore[method-assign]
        for number in range(5):
            a.submit(BytesContent(b"x"), f"m{number}aaa")
        await happens(lambda: sum(isinstance(event, Outcome) for event in a.events) == 5)
        assert len(pieces) < 5


async def test_the_end_does_not_wait_for_a_sink_that_is_behind() -> None:
    a, b, waits = Side(A, B), Side(B, A), asyncio.Event()
    cancelled = asyncio.Event()

    async def drain() -> None:
        waits.set()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            cancelled.set()

    b.drain = drain
    async with session(a, b):
        a.submit(Made(LARGE))
        await waits.wait()
        b.runner.close()
        await cancelled.wait()
        aborted = await b.until(MessageAborted)
        assert aborted.reason == "the session is over"
        b.runner.connection.abort()
        assert not (await a.until(Outcome)).delivered
