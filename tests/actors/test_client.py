"""The client: sessions both ways, chunks in every legal form, and peers that do wrong."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from cpmspec.actors.client import Behaviour, Chunk, Client, Offer, Session
from cpmspec.evidence.trace import Kind, Pco, Role
from cpmspec.net.msrp import MsrpConnection, MsrpListener, connect_msrp, listen_msrp
from cpmspec.net.sip import Hop, IncomingRequest
from cpmspec.net.tls import client_context, self_signed
from cpmspec.protocol.dialogs import Dialog
from cpmspec.protocol.offer_answer import choose_setup
from cpmspec.wire.msrp import FrameBegin, FrameEnd, MsrpHead, build_unchecked
from cpmspec.wire.sdp import Media, build_msrp_sdp, parse_sdp
from cpmspec.wire.sip import SipRequest, SipResponse
from cpmspec.wire.sip import build_request as build_sip
from cpmspec.wire.uri import parse_uri

USER = "sip:bob@home.test"
PSI = "sip:deferred@home.test"
PATH = "msrp://127.0.0.1:7/pf;tcp"


class PfMedia:
    """The PF's MSRP side: a listener or a connection, and what the client sent over it."""

    def __init__(self, bench: Any) -> None:
        self.bench = bench
        self.heads: list[MsrpHead] = []
        self.offer: Media | None = None
        self.dialog: Dialog | None = None
        self.connections: list[MsrpConnection] = []
        self.lost = asyncio.Event()
        self.reason: Exception | None = None
        self._changed = asyncio.Event()
        self.listener: MsrpListener | None = None

    async def start(self, *, tls: bool = False) -> None:
        self.context: ssl.SSLContext | None = None
        self.fingerprint: str | None = None
        if tls:
            self.context, self.fingerprint = self_signed()
        self.listener = await listen_msrp("127.0.0.1", 0, self.take, ssl=self.context)
        scheme = "msrps" if tls else "msrp"
        self.path = f"{scheme}://127.0.0.1:{self.listener.address[1]}/pf;tcp"

    def sdp(self, setup: str | None) -> bytes:
        assert self.listener is not None
        return build_msrp_sdp(
            host="127.0.0.1", port=self.listener.address[1], path=[self.path], setup=setup, accept_types=["*"],
            tls=self.context is not None, fingerprint=self.fingerprint, session_id=1, version=1,
            direction="sendonly",
        )  # fmt: skip

    def take(self, connection: MsrpConnection) -> None:
        self.connections.append(connection)

        def on_event(event: Any) -> None:
            if isinstance(event, FrameBegin):
                self.heads.append(event.head)
            if isinstance(event, FrameEnd):
                self._changed.set()

        def on_close(reason: Exception | None) -> None:
            self.reason = reason
            self.lost.set()

        connection.on_event, connection.on_close = on_event, on_close
        self._changed.set()

    async def invite(self, incoming: IncomingRequest) -> None:
        """Answer a retrieval."""
        self.offer = parse_sdp(incoming.request.body).message
        assert self.offer is not None
        setup = None if self.offer.setup is None else choose_setup(self.offer.setup, prefer="passive")
        contact = [("Contact", f"<sip:pf@127.0.0.1:{self.bench.pf.addresses['udp'][1]}>")]
        routes = [("Record-Route", value) for value in incoming.request.headers.get_all("Record-Route")]
        headers = [*contact, *routes, ("Content-Type", "application/sdp")]
        ok = await incoming.reply(200, headers=headers, body=self.sdp(setup))
        self.dialog = Dialog.uas(incoming.request, ok)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def connect(self) -> MsrpConnection:
        assert self.offer is not None
        uri = parse_uri(self.offer.path[0])
        tls = client_context(by_fingerprint=True) if self.offer.tls else None
        self.take(await connect_msrp(uri.host, uri.port, ssl=tls))  # type: ignore[union-attr, arg-type]
        return self.connections[-1]

    async def send(self, body: bytes | None, flag: str = "$", *, number: int = 1, **changes: Any) -> None:
        """One SEND to the client."""
        assert self.offer is not None
        headers = [("Message-ID", changes.get("message", "m1"))]
        if "range" in changes:
            headers.append(("Byte-Range", changes["range"]))
        headers += changes.get("headers", [])
        paths = [("To-Path", changes.get("to", self.offer.path[0])), ("From-Path", self.path)]
        described = [] if body is None else [("Content-Type", "text/plain")]
        start = f"MSRP tr{number:04} {changes.get('method', 'SEND')}"
        octets = build_unchecked(start, [*paths, *headers, *described], body, flag)
        await self.connections[-1].send(octets)

    def statuses(self) -> dict[str, int]:
        return {head.transaction_id: head.status for head in self.heads if head.status is not None}

    async def bye(self) -> int:
        assert self.dialog is not None
        response: SipResponse = await self.bench.pf.endpoint.request(self.dialog.request("BYE"))
        return response.status


@pytest.fixture
async def media(bench: Any) -> Any:
    side = PfMedia(bench)
    await side.start()
    bench.pf.handlers["INVITE"] = side.invite
    yield side
    for connection in side.connections:
        connection.abort()
    if side.listener is not None:
        side.listener.close()


async def opened(bench: Any, media: Any, behaviour: Behaviour | None = None, **terms: Any) -> Session:
    """A retrieval with its media connected."""
    client: Client = await bench.client()
    await client.register()
    session = await client.retrieve(Offer(**terms), behaviour)
    assert session.failure is None
    if not media.connections and terms.get("setup") == "passive":
        await media.connect()
    await media.until(lambda: bool(media.connections))
    return session


async def test_a_message_is_received_answered_and_the_session_ends(bench: Any, media: Any) -> None:
    session = await opened(bench, media)
    await media.until(lambda: bool(media.heads))
    assert (media.heads[0].method, media.heads[0].has_body) == ("SEND", False)  # binds the connection
    await media.send(b"hello")
    await media.until(lambda: "tr0001" in media.statuses())
    assert [message.body for message in session.received] == [b"hello"]
    assert session.last_outcome_us is not None
    assert not session.ended.is_set()
    assert await media.bye() == 200
    assert session.ended.is_set()
    assert session.bye_received.is_set()
    assert not session.withheld
    roles = {(frame.sender, frame.pco) for frame in bench.frames}
    assert {(Role.CLIENT, Pco.MSRP), (Role.IUT, Pco.MSRP), (Role.CORE, Pco.GM), (Role.CLIENT, Pco.GM)} <= roles


@pytest.mark.parametrize("past", [False, True])
async def test_a_caller_over_tcp_is_known_by_its_via(bench: Any, media: Any, past: bool) -> None:
    """The core opens a connection of its own to the client's Contact; its port is any, as is that of a PF's."""
    client = Client(
        bench.frames.append, uri=USER, core=Hop("tcp", *bench.core.access["tcp"]), domain="home.test", psi=PSI
    )
    bench.actors.append(client)
    await client.start()
    assert await client.register() == 200
    session = await client.retrieve()
    assert session.failure is None
    request = media.dialog.request("BYE")
    if past:
        request = request.with_headers(request.headers.without("Route"))
    assert (await bench.pf.endpoint.request(request)).status == 200
    byes = [frame for frame in bench.frames if frame.octets.startswith(b"BYE")]
    sender = Role.IUT if past else Role.CORE
    assert {(bye.pco, bye.sender, bye.receiver) for bye in byes} == {(Pco.GM, sender, Role.CLIENT)}
    (opening,) = [frame for frame in bench.frames if (frame.kind, frame.connection) == (Kind.OPEN, byes[0].connection)]
    assert opening.sender is sender


async def test_every_legal_form_of_chunking_is_put_together(bench: Any, media: Any) -> None:
    chunks: list[Chunk] = []

    async def answer(chunk: Chunk) -> int | None:
        chunks.append(chunk)
        return 200

    session = await opened(bench, media, Behaviour(answer=answer), setup="passive")
    report = [("Success-Report", "yes")]
    await media.send(b"cc", "$", number=1, message="a", range="5-6/6", headers=report)
    await media.send(b"XX", "+", number=2, message="b", range="1-*/*")
    await media.send(b"aa", "+", number=3, message="a", range="1-2/6", headers=report)
    await media.send(b"YY", "$", number=4, message="b", range="3-4/4")
    await media.send(b"bb", "+", number=5, message="a", range="3-4/6", headers=report)
    await media.send(b"no", "#", number=6, message="c", range="1-*/9")
    await media.send(b"", "$", number=7, message="d", range="1-0/0")
    await media.until(lambda: len(media.statuses()) == 7 and any(head.method == "REPORT" for head in media.heads))
    assert set(media.statuses().values()) == {200}
    assert [(message.message_id, message.body) for message in session.received] == [
        ("b", b"XXYY"),
        ("a", b"aabbcc"),
        ("d", b""),
    ]
    assert [(chunk.message_index, chunk.chunk_index) for chunk in chunks][:5] == [
        (0, 0),
        (1, 0),
        (0, 1),
        (1, 1),
        (0, 2),
    ]
    reports = [head for head in media.heads if head.method == "REPORT"]
    assert [(head.message_id, str(head.byte_range), head.status_header) for head in reports] == [
        ("a", "1-6/6", ("000", 200, "OK"))
    ]


async def test_an_answer_can_be_withheld_refused_or_left_out(bench: Any, media: Any) -> None:
    release = asyncio.Event()

    async def answer(chunk: Chunk) -> int | None:
        if chunk.message_index == 0:
            await release.wait()
            return 200
        return 413 if chunk.message_index == 1 else None

    session = await opened(bench, media, Behaviour(answer=answer))
    for number, message in enumerate(("first", "second", "third"), 1):
        await media.send(b"x", number=number, message=message, headers=[("Success-Report", "yes")])
    await media.until(lambda: "tr0002" in media.statuses())
    assert media.statuses() == {"tr0002": 413}
    assert session.withheld
    release.set()
    await media.until(lambda: "tr0001" in media.statuses())
    assert media.statuses() == {"tr0001": 200, "tr0002": 413}
    await media.until(lambda: any(head.method == "REPORT" for head in media.heads))
    assert [head.message_id for head in media.heads if head.method == "REPORT"] == ["first"]


async def test_failure_report_no_and_partial_silence_the_200(bench: Any, media: Any) -> None:
    await opened(bench, media)
    await media.send(b"x", number=1, message="no", headers=[("Failure-Report", "no")])
    await media.send(b"x", number=2, message="partial", headers=[("Failure-Report", "partial")])
    await media.send(b"x", number=3, message="yes")
    await media.until(lambda: "tr0003" in media.statuses())
    assert media.statuses() == {"tr0003": 200}


async def test_wrong_requests_get_their_status_and_garbage_is_survived(bench: Any, media: Any) -> None:
    session = await opened(bench, media)
    await media.send(b"x", number=1, to="msrp://127.0.0.1:1/other;tcp")
    await media.send(None, number=2, method="NICKNAME")
    await media.connections[-1].send(b"\x00\xff garbage\r\n\r\n")
    await media.send(b"x", number=3)
    await media.until(lambda: "tr0003" in media.statuses())
    assert media.statuses() == {"tr0001": 481, "tr0002": 501, "tr0003": 200}
    assert b"garbage" in b"".join(session.leg.unreadable)


async def test_the_peer_may_connect_again(bench: Any, media: Any) -> None:
    session = await opened(bench, media, setup="passive")
    await media.send(b"ab", "+", number=1, range="1-2/4")
    await media.until(lambda: "tr0001" in media.statuses())
    media.connections[-1].close()
    await asyncio.wait_for(session.connection_lost.wait(), 5)
    assert not session.ended.is_set()
    await media.connect()
    await media.send(b"cd", "$", number=2, range="3-4/4")
    await media.until(lambda: "tr0002" in media.statuses())
    assert [message.body for message in session.received] == [b"abcd"]


@pytest.mark.parametrize("setup", ["active", "passive"])
async def test_sessions_over_tls(bench: Any, setup: str) -> None:
    media = PfMedia(bench)
    await media.start(tls=True)
    bench.pf.handlers["INVITE"] = media.invite
    session = await opened(bench, media, setup=setup, tls=True)
    assert media.offer is not None
    assert media.offer.fingerprint
    await media.send(b"secret")
    await media.until(lambda: "tr0001" in media.statuses())
    assert session.received[0].body == b"secret"
    assert {frame.transport for frame in bench.frames if frame.pco is Pco.MSRP} == {"tls"}
    for connection in media.connections:
        connection.close()
        await connection.wait_closed()
    assert media.listener is not None
    media.listener.close()


async def test_ipv6_media(bench: Any, media: Any) -> None:
    await opened(bench, media, setup="passive", family=6)
    assert media.offer.connection_host == "::1"
    await media.send(b"six")
    await media.until(lambda: "tr0001" in media.statuses())


async def test_hooks_end_the_session_by_bye_or_reset(bench: Any, media: Any) -> None:
    async def bye(session: Session, before: int) -> None:
        await session.bye()

    session = await opened(bench, media, Behaviour(after_message=bye))
    await media.send(b"x")
    await asyncio.wait_for(session.ended.wait(), 5)
    assert len(bench.pf.of("BYE")) == 1
    assert await session.bye() is None
    assert session.errors == []


async def test_reset_breaks_the_connection(bench: Any, media: Any) -> None:
    session = await opened(bench, media)
    session.reset()
    await asyncio.wait_for(media.lost.wait(), 5)
    assert isinstance(media.reason, ConnectionResetError)
    assert session.ended.is_set()
    assert [frame.sender for frame in bench.frames if frame.kind is Kind.RESET] == [Role.CLIENT]


async def test_half_close_keeps_reading(bench: Any, media: Any) -> None:
    session = await opened(bench, media)
    session.half_close()
    await asyncio.wait_for(media.lost.wait(), 5)
    assert media.reason is None


async def test_a_refusal_is_a_failure(bench: Any) -> None:
    async def refuse(incoming: IncomingRequest) -> None:
        await incoming.reply(480)

    bench.pf.handlers["INVITE"] = refuse
    client = await bench.client()
    session = await client.retrieve()
    assert session.failure == 480
    assert session.ended.is_set()


async def test_a_2xx_without_contact_or_media_is_survived(bench: Any) -> None:
    client = await bench.client()
    session = await client.retrieve()
    assert session.failure == 400
    assert session.behaviour.log


# --- push


def push(bench: Any, media: Any, setup: str | None, body: bytes | None = None) -> SipRequest:
    sdp = media.sdp(setup) if body is None else body
    headers = [
        ("Route", f"<sip:127.0.0.1:{bench.core.addresses['udp'].port};lr>"), ("Max-Forwards", "70"),
        ("From", f"<{PSI}>;tag=a"), ("To", f"<{USER}>"), ("Call-ID", "push"), ("CSeq", "1 INVITE"),
        ("Contact", f"<sip:pf@127.0.0.1:{bench.pf.addresses['udp'][1]}>"),
    ]  # fmt: skip
    if sdp:
        headers.append(("Content-Type", "application/sdp"))
    return build_sip("INVITE", USER, headers, sdp)


@pytest.mark.parametrize("setup", ["actpass", "active", "passive", None])
async def test_push_is_answered_for_each_setup(bench: Any, media: Any, setup: str | None) -> None:
    client = await bench.client()
    await client.register()
    call = bench.pf.endpoint.call(push(bench, media, setup))
    waiting = asyncio.ensure_future(client.expect_push(5))
    ok = await call.response()
    await call.ack()
    session = await waiting
    media.offer = parse_sdp(ok.body).message
    assert media.offer.setup == {"actpass": "active", "active": "passive", "passive": "active", None: None}[setup]
    if media.offer.setup == "active":
        await media.until(lambda: bool(media.connections))
    else:
        await media.connect()
    await media.send(b"pushed")
    await media.until(lambda: "tr0001" in media.statuses())
    assert session.received[0].body == b"pushed"
    assert (await bench.pf.endpoint.request(call.dialog.request("BYE"))).status == 200
    assert session.bye_received.is_set()


async def test_push_rings_answers_early_and_waits_for_its_release(bench: Any, media: Any) -> None:
    client = await bench.client()
    await client.register()
    release = asyncio.Event()
    early: list[int] = []
    answered = asyncio.Event()

    def provisional(response: Any) -> None:
        early.append(response.status)
        if response.status == 183 and response.body:
            answered.set()

    call = bench.pf.endpoint.call(push(bench, media, "actpass"), None, provisional)
    behaviour = Behaviour(ring_first=True, early_answer=True, release=release)
    waiting = asyncio.ensure_future(client.expect_push(5, behaviour))
    await asyncio.wait_for(answered.wait(), 5)
    assert [status for status in early if status != 100] == [180, 183]
    assert not waiting.done()
    release.set()
    assert (await call.response()).status == 200
    await call.ack()
    assert (await waiting).dialog.id.call_id == "push"


async def test_push_can_be_refused_or_cancelled_and_may_lack_an_offer(bench: Any, media: Any) -> None:
    client = await bench.client()
    await client.register()
    assert await client.expect_push(0) is None

    call = bench.pf.endpoint.call(push(bench, media, "actpass"))
    assert (await client.expect_push(5, Behaviour(reject=486))).failure == 486
    assert (await call.response()).status == 486

    ringing = asyncio.Event()
    call = bench.pf.endpoint.call(push(bench, media, "actpass"), None, lambda response: ringing.set())
    waiting = asyncio.ensure_future(client.expect_push(5, Behaviour(ring_first=True, release=asyncio.Event())))
    await asyncio.wait_for(ringing.wait(), 5)
    await call.cancel()
    assert (await call.response()).status == 487
    assert (await waiting).failure == 487


async def test_push_without_offer_gets_one_in_the_200(bench: Any, media: Any) -> None:
    client = await bench.client()
    await client.register()
    call = bench.pf.endpoint.call(push(bench, media, None, b""))
    waiting: Awaitable[Session | None] = asyncio.ensure_future(client.expect_push(5))
    ok = await call.response()
    assert parse_sdp(ok.body).message is not None
    await call.ack([("Content-Type", "application/sdp")], media.sdp("passive"))
    assert (await waiting) is not None
    await media.until(lambda: bool(media.connections))


# --- outside of sessions


async def test_messages_can_be_refused_and_unknown_requests_are_answered(bench: Any) -> None:
    async def busy(request: SipRequest) -> int | None:
        return 486

    client = await bench.client()
    client.answer_message = busy
    await client.register()

    def request(method: str, to: str = f"<{USER}>") -> SipRequest:
        return build_sip(
            method, USER,
            [("Route", f"<sip:127.0.0.1:{bench.core.addresses['udp'].port};lr>"), ("Max-Forwards", "70"),
             ("From", f"<{PSI}>;tag=a"), ("To", to), ("Call-ID", method), ("CSeq", f"1 {method}")],
        )  # fmt: skip

    statuses = [
        (await bench.pf.endpoint.request(request(method))).status for method in ("MESSAGE", "OPTIONS", "PUBLISH")
    ]
    assert statuses == [486, 200, 405]
    assert len(client.notifications) == 1
