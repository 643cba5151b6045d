"""The originator: pager mode, large message mode, and what becomes of them."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from cpmspec.evidence.trace import Frame, Kind, Pco, Role
from cpmspec.net.msrp import MsrpConnection, MsrpListener, listen_msrp
from cpmspec.net.sip import IncomingRequest
from cpmspec.net.tls import self_signed
from cpmspec.wire.msrp import FrameBegin, FrameData, FrameEnd, MsrpEvent, MsrpHead, build_request, build_response
from cpmspec.wire.sdp import build_msrp_sdp, parse_sdp

USER = "sip:bob@home.test"


@dataclass(frozen=True)
class Taken:
    """One SEND as the PF got it."""

    head: MsrpHead
    body: bytes
    flag: str


class Receiver:
    """A PF that takes large messages; ``status`` answers each chunk."""

    def __init__(self, bench: Any) -> None:
        self.bench = bench
        self.status = 200
        self.frames: list[Taken] = []
        self.listener: MsrpListener | None = None
        self.tls = False
        self.lost = asyncio.Event()
        self.reason: Exception | None = None
        self.report = False
        self.close_after: int | None = None

    async def start(self, *, tls: bool = False, host: str = "127.0.0.1") -> None:
        context: ssl.SSLContext | None = None
        self.fingerprint: str | None = None
        if tls:
            context, self.fingerprint = self_signed()
        self.tls, self.host = tls, host
        self.listener = await listen_msrp(host, 0, self._take, ssl=context)
        shown = f"[{host}]" if ":" in host else host
        self.path = f"{'msrps' if tls else 'msrp'}://{shown}:{self.listener.address[1]}/pf;tcp"
        self.bench.pf.handlers["INVITE"] = self._invite

    async def _invite(self, incoming: IncomingRequest) -> None:
        assert self.listener is not None
        sdp = build_msrp_sdp(
            host=self.host, port=self.listener.address[1], path=[self.path], setup="passive", accept_types=["*"],
            session_id=1, version=1, tls=self.tls, fingerprint=self.fingerprint,
        )  # fmt: skip
        routes = [("Record-Route", value) for value in incoming.request.headers.get_all("Record-Route")]
        contact = ("Contact", f"<sip:pf@127.0.0.1:{self.bench.pf.addresses['udp'][1]}>")
        await incoming.reply(200, headers=[contact, *routes, ("Content-Type", "application/sdp")], body=sdp)

    def _take(self, connection: MsrpConnection) -> None:
        head: list[MsrpHead] = []
        body = bytearray()

        def on_event(event: MsrpEvent) -> None:
            if isinstance(event, FrameBegin):
                head[:] = [event.head]
                body.clear()
            elif isinstance(event, FrameData):
                body.extend(event.octets)
            elif isinstance(event, FrameEnd) and head[0].is_request:
                self._collect(connection, Taken(head[0], bytes(body), event.flag))

        connection.on_event, connection.on_close = on_event, self._closed

    def _closed(self, reason: Exception | None) -> None:
        self.reason = reason
        self.lost.set()

    def _collect(self, connection: MsrpConnection, frame: Taken) -> None:
        self.frames.append(frame)
        if self.close_after == len(self.frames):
            connection.close()
        if not connection.is_open:
            return
        connection.write(build_response(frame.head, self.status))
        if self.report and frame.flag == "$":
            headers = [("Message-ID", frame.head.message_id or ""), ("Status", "000 200 OK")]
            connection.write(build_request("REPORT", "rep1", frame.head.from_path, [self.path], headers, None))


@pytest.fixture
async def receiver(bench: Any) -> AsyncIterator[Receiver]:
    side = Receiver(bench)
    yield side
    if side.listener is not None:
        side.listener.close()


async def test_a_pager_message_has_the_headers_of_cpm(bench: Any) -> None:
    originator = await bench.originator()
    sent = await originator.pager(USER, b"hi", headers={"Subject": None, "conversation-id": "c-1", "X-Extra": "1"})
    assert sent.status == 200
    request = bench.pf.of("MESSAGE")[0]
    assert request.call_id == sent.call_id
    assert request.headers.get("Conversation-ID") == "c-1"
    assert request.headers.get("Contribution-ID")
    assert request.headers.get("Subject") is None
    assert request.date is not None
    assert request.headers.get("X-Extra") == "1"
    assert "oma.cpm.msg" in (request.headers.get("Accept-Contact") or "")
    assert {frame.pco for frame in bench.frames} == {Pco.MO}
    senders = [frame.sender for frame in bench.frames]
    assert list(dict.fromkeys(senders)) == [Role.ORIGINATOR, Role.CORE]  # a slow machine repeats, T1 being short


@pytest.mark.parametrize(("tls", "family"), [(False, 4), (False, 6), (True, 4)])
async def test_a_large_message_goes_in_chunks(bench: Any, receiver: Receiver, tls: bool, family: int) -> None:
    await receiver.start(tls=tls, host="::1" if family == 6 else "127.0.0.1")
    content = bytes(range(256)) * 20
    sent = await (await bench.originator()).large(
        USER,
        content,
        "application/octet-stream",
        chunk_size=2000,
        send_headers={"X-Extra": "1"},
        tls=tls,
        family=family,
    )
    assert (sent.status, sent.msrp_statuses, sent.chunks, sent.bye_status) == (200, (200, 200, 200), 3, 200)
    assert sent.problem is None
    assert b"".join(frame.body for frame in receiver.frames) == content
    assert [str(frame.head.byte_range) for frame in receiver.frames] == [
        "1-2000/5120",
        "2001-4000/5120",
        "4001-5120/5120",
    ]
    assert [frame.flag for frame in receiver.frames] == ["+", "+", "$"]
    assert {frame.head.message_id for frame in receiver.frames} == {sent.message_id}
    offer = parse_sdp(bench.pf.of("INVITE")[0].body).message
    assert offer is not None
    assert (offer.setup, offer.port, offer.tls) == ("active", 9, tls)
    assert "largemsg" in (bench.pf.of("INVITE")[0].headers.get("Accept-Contact") or "")
    msrp: list[Frame] = [frame for frame in bench.frames if frame.octets.startswith(b"MSRP ")]
    assert len(msrp) == 6
    assert {frame.pco for frame in msrp} == {Pco.MO}


async def test_one_chunk_and_empty_content(bench: Any, receiver: Receiver) -> None:
    await receiver.start()
    originator = await bench.originator()
    assert (await originator.large(USER, b"x" * 10_000, chunk_size=None)).chunks == 1
    assert (await originator.large(USER, b"")).msrp_statuses == (200,)
    assert receiver.frames[1].body == b""


async def test_a_success_report_is_waited_for(bench: Any, receiver: Receiver) -> None:
    await receiver.start()
    receiver.report = True
    sent = await (await bench.originator()).large(USER, b"x", send_headers={"Success-Report": "yes"})
    assert sent.success_reported


async def test_a_refused_chunk_stops_the_message(bench: Any, receiver: Receiver) -> None:
    await receiver.start()
    receiver.status = 413
    sent = await (await bench.originator()).large(USER, b"x" * 100_000, chunk_size=100)
    assert sent.msrp_statuses[0] == 413
    assert sent.bye_status == 200


async def test_breaking_off_resets_the_connection_and_sends_no_bye(bench: Any, receiver: Receiver) -> None:
    await receiver.start()
    sent = await (await bench.originator()).large(USER, b"x" * 5000, chunk_size=2000, abort_after=3000)
    assert sent.bye_status is None
    await asyncio.wait_for(receiver.lost.wait(), 5)
    assert isinstance(receiver.reason, ConnectionResetError)
    assert bench.pf.of("BYE") == []
    assert [frame.sender for frame in bench.frames if frame.kind is Kind.RESET] == [Role.ORIGINATOR]


async def test_a_pf_that_hangs_up_is_a_problem_not_an_error(bench: Any, receiver: Receiver) -> None:
    await receiver.start()
    receiver.close_after = 1
    sent = await (await bench.originator()).large(USER, b"x" * 5000, chunk_size=2000)
    assert sent.problem
    assert 200 not in sent.msrp_statuses


async def test_refusals_are_reported(bench: Any) -> None:
    async def refuse(incoming: IncomingRequest) -> None:
        await incoming.reply(415)

    bench.pf.handlers["INVITE"] = bench.pf.handlers["MESSAGE"] = refuse
    originator = await bench.originator()
    assert (await originator.pager(USER, b"x")).status == 415
    assert (await originator.large(USER, b"x")).status == 415
