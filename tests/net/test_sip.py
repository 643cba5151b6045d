"""The endpoint as user agent, on loopback."""

from __future__ import annotations

import asyncio
import socket

import pytest

from cpmspec.net.sip import (
    Hop,
    IncomingRequest,
    SipEndpoint,
    SipTimeout,
    SipTransportError,
)
from cpmspec.protocol.dialogs import Dialog
from cpmspec.protocol.errors import LocalProtocolError
from cpmspec.wire.sip import (
    SipResponse,
    response_to,
    unchecked_request,
)
from sip_peers import FAST, KINDS, Callee, Recorded, accept, contact, deaf, endpoints, message, parsed


@pytest.mark.parametrize(("transport", "host"), KINDS)
async def test_request_and_response(transport: str, host: str) -> None:
    async with endpoints(transport, host) as (client, server, hop):
        server.on_request = accept
        body = b"line\r\n" * 50
        response = await client.request(message("MESSAGE", hop, [("Content-Type", "text/plain")], body))
        assert response.status == 202
        assert response.via[0].param("received") == host
        assert response.via[0].param("rport")
        assert client.seen(sent=True) == server.seen(sent=False) == ["MESSAGE"]
        assert server.seen(sent=True) == client.seen(sent=False) == ["202"]


@pytest.mark.parametrize(("transport", "host"), KINDS)
async def test_a_whole_call(transport: str, host: str) -> None:
    async with endpoints(transport, host) as (client, server, hop):
        callee = Callee(server)
        server.on_request = callee
        rang = asyncio.Event()

        def ringing(response: SipResponse) -> None:
            assert response.status == 180
            rang.set()

        call = client.call(message("INVITE", hop, [contact(client, hop)]), on_provisional=ringing)
        await rang.wait()
        callee.release.set()
        assert (await call.response()).status == 200
        await call.ack()
        incoming = await callee.incoming.get()
        assert str((await incoming.acknowledged()).cseq) == "1 ACK"
        assert call.dialog is not None
        assert (await client.request(call.dialog.request("BYE"))).status == 200
        assert callee.dialog is not None
        assert callee.dialog.id.local_tag == call.dialog.id.remote_tag


@pytest.mark.parametrize("transport", ["tcp", "tls"])
async def test_one_connection_carries_both_directions(transport: str) -> None:
    async with endpoints(transport) as (client, server, hop):
        server.on_request = client.on_request = accept
        for _ in range(3):
            await client.request(message("MESSAGE", hop))
        opened = [event for event in client.events if event.kind == "open"]
        assert len(opened) == 1
        assert opened[0].sent
        back = Hop(transport, *opened[0].local)
        assert (await server.request(message("MESSAGE", back), back)).status == 202
        assert [event.kind for event in server.events if event.kind != "data"] == ["open"]
        await client.close()
        assert client.events[-1].kind == "close"
        assert client.events[-1].sent
        numbers = {event.connection for event in client.events}
        assert len(numbers) == 1
        assert 0 not in numbers


async def test_several_listeners_at_once() -> None:
    server, client = Recorded(), Recorded()
    server.on_request = accept
    try:
        for transport, host in KINDS:
            await server.listen(transport, host, 0)
            await client.listen(transport, host, 0)
        answers = await asyncio.gather(*(client.request(message("MESSAGE", hop)) for hop in server.listeners))
        assert [answer.status for answer in answers] == [202] * 6
        ports = {hop: client.local_address(hop)[1] for hop in server.listeners}
        assert [answer.via[0].port for answer in answers] == list(ports.values())
        assert len(set(ports.values())) >= 4
    finally:
        await client.close()
        await server.close()


async def test_udp_leaves_from_the_listening_port() -> None:
    async with endpoints() as (client, server, hop):
        hops: list[Hop] = []

        async def note(incoming: IncomingRequest) -> None:
            hops.append(incoming.hop)
            await accept(incoming)

        server.on_request = note
        await client.request(message("MESSAGE", hop))
        assert hops == [client.listeners[0]]


async def test_a_lost_request_and_a_lost_response_are_repaired() -> None:
    lost = {"MESSAGE", "SIP/2.0 202"}

    def lose(octets: bytes, _hop: Hop) -> bytes | None:
        start = next((start for start in lost if octets.startswith(start.encode())), None)
        lost.discard(start or "")
        return None if start else octets

    client, server = Recorded(t1=FAST, outbound=lose), Recorded(t1=FAST, outbound=lose)
    handled: list[IncomingRequest] = []

    async def handle(incoming: IncomingRequest) -> None:
        handled.append(incoming)
        await accept(incoming)

    server.on_request = handle
    try:
        await client.listen("udp", "127.0.0.1", 0)
        hop = Hop("udp", *await server.listen("udp", "127.0.0.1", 0))
        assert (await client.request(message("MESSAGE", hop))).status == 202
        assert len(handled) == 1
        assert not lost
        assert client.seen(sent=True).count("MESSAGE") >= 2  # the lost one never passed the tap
    finally:
        await client.close()
        await server.close()


async def test_the_hook_may_change_octets_and_the_tap_sees_the_change() -> None:
    client = Recorded(outbound=lambda octets, _hop: octets.replace(b"bob@home", b"eve@home"))
    server = Recorded()
    server.on_request = accept
    try:
        await client.listen("udp", "127.0.0.1", 0)
        hop = Hop("udp", *await server.listen("udp", "127.0.0.1", 0))
        await client.request(message("MESSAGE", hop))
        assert b"eve@home" in client.events[0].octets
        assert client.events[0].octets == server.events[0].octets
    finally:
        await client.close()
        await server.close()


async def test_no_answer_is_a_timeout() -> None:
    async with endpoints() as (_client, server, hop):
        silent = asyncio.Event()

        async def hang(_incoming: IncomingRequest) -> None:
            await silent.wait()

        server.on_request = hang
        hasty = SipEndpoint(t1=0.002)
        try:
            await hasty.listen("udp", "127.0.0.1", 0)
            with pytest.raises(SipTimeout, match="MESSAGE to udp") as caught:
                await hasty.request(message("MESSAGE", hop))
            assert caught.value.status == 408
        finally:
            await hasty.close()


@pytest.mark.parametrize(("transport", "host"), KINDS)
async def test_a_closed_port_is_told_at_once(transport: str, host: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    kind = socket.SOCK_DGRAM if transport == "udp" else socket.SOCK_STREAM
    with socket.socket(family, kind) as taken:
        port = deaf(taken, host)
        client = Recorded(t1=10)
        failures: list[Hop] = []
        client.on_send_failed = lambda hop, _why: failures.append(hop)
        try:
            await client.listen(transport, host, 0)
            async with asyncio.timeout(5):
                for method in ("MESSAGE", "INVITE"):
                    with pytest.raises(SipTransportError, match=r"refused|failed"):
                        await client.request(message(method, Hop(transport, host, port)))
            assert Hop(transport, host, port) in failures
        finally:
            await client.close()


async def test_an_icmp_error_does_not_cost_another_peer_its_datagram() -> None:
    client, server = Recorded(t1=10), Recorded()
    server.on_request = accept
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        dead = Hop("udp", "127.0.0.1", deaf(taken, "127.0.0.1"))
        try:
            await client.listen("udp", "127.0.0.1", 0)
            hop = Hop("udp", *await server.listen("udp", "127.0.0.1", 0))
            async with asyncio.timeout(5):
                for _ in range(10):
                    client.send(message("OPTIONS", dead), dead)
                    assert (await client.request(message("MESSAGE", hop))).status == 202
        finally:
            await client.close()
            await server.close()


async def test_a_lost_connection_is_told_at_once() -> None:
    async with endpoints("tcp") as (client, server, hop):
        came = asyncio.Event()

        async def reset(_incoming: IncomingRequest) -> None:
            came.set()

        server.on_request = reset
        call = client.call(message("MESSAGE", hop))
        await came.wait()
        server.reset_connections()
        with pytest.raises(SipTransportError):
            await call.response()
        server.on_request = accept
        assert (await client.request(message("MESSAGE", hop))).status == 202


async def test_where_no_way_leads() -> None:
    async with endpoints() as (client, _server, _hop):
        with pytest.raises(SipTransportError, match="no numeric address"):
            await client.request(unchecked_request("MESSAGE", "sip:bob@home.example", []))
        with pytest.raises(SipTransportError, match="no UDP socket"):
            await client.request(message("MESSAGE", Hop("udp", "::1", 5060)))
        await client.close()
        with pytest.raises(SipTransportError, match="closed"):
            await client.request(message("MESSAGE", Hop("udp", "127.0.0.1", 5060)))


async def test_a_port_in_use_is_an_os_error() -> None:
    async with endpoints() as (client, _server, hop):
        with pytest.raises(OSError, match="in use"):
            await client.listen("udp", hop.host, hop.port)


async def test_2xx_is_repeated_until_the_ack_over_any_transport() -> None:
    for transport in ("udp", "tcp"):
        async with endpoints(transport, t1=FAST) as (client, server, hop):
            callee = Callee(server)
            callee.release.set()
            server.on_request = callee
            call = client.call(message("INVITE", hop, [contact(client, hop)]))
            repeats: asyncio.Queue[SipResponse] = asyncio.Queue()
            call.on_repeat = repeats.put_nowait
            await call.response()
            assert (await repeats.get()).status == 200
            assert (await repeats.get()).status == 200
            await call.ack()
            incoming = await callee.incoming.get()
            await incoming.acknowledged()
            assert callee.acks.empty() or callee.acks.qsize() == 1


async def test_a_repeated_2xx_is_acknowledged_again_without_help() -> None:
    acks = 0

    def lose(octets: bytes, _hop: Hop) -> bytes | None:
        nonlocal acks
        acks += octets.startswith(b"ACK")
        return None if octets.startswith(b"ACK") and acks == 1 else octets

    client, server = Recorded(t1=FAST, outbound=lose), Recorded(t1=FAST)
    callee = Callee(server)
    callee.release.set()
    server.on_request = callee
    try:
        await client.listen("udp", "127.0.0.1", 0)
        hop = Hop("udp", *await server.listen("udp", "127.0.0.1", 0))
        request = message("INVITE", hop, [contact(client, hop)])
        ok = await client.request(request)
        client.send(Dialog.uac(request, ok).ack())
        ack = await callee.acks.get()
        assert acks >= 2
        assert ack.to_tag == ok.to_tag
    finally:
        await client.close()
        await server.close()


async def test_without_ack_the_callee_is_told() -> None:
    server = SipEndpoint(t1=0.002)
    callee = Callee(server)
    callee.release.set()
    server.on_request = callee
    client = Recorded()
    try:
        await client.listen("udp", "127.0.0.1", 0)
        hop = Hop("udp", *await server.listen("udp", "127.0.0.1", 0))
        await client.request(message("INVITE", hop, [contact(client, hop)]))
        incoming = await callee.incoming.get()
        with pytest.raises(TimeoutError, match="no ACK"):
            await incoming.acknowledged()
    finally:
        await client.close()
        await server.close()


async def test_a_second_fork_is_acknowledged_and_ended() -> None:
    async with endpoints() as (client, server, hop):
        forked: asyncio.Queue[str] = asyncio.Queue()

        async def fork(incoming: IncomingRequest) -> None:
            if incoming.request.method == "INVITE":
                await incoming.reply(200, headers=[contact(server, incoming.hop)])
                own = [contact(server, incoming.hop)]
                await incoming.respond(response_to(incoming.request, 200, headers=own, to_tag="other"))
            elif incoming.request.method == "BYE":
                forked.put_nowait(f"BYE {incoming.request.to_tag}")
                await incoming.reply(200)

        server.on_request = fork
        call = client.call(message("INVITE", hop, [contact(client, hop)]))
        await call.response()
        await call.ack()
        assert await forked.get() == "BYE other"


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_cancel(transport: str) -> None:
    async with endpoints(transport) as (client, server, hop):
        callee = Callee(server)
        server.on_request = callee
        call = client.call(message("INVITE", hop, [contact(client, hop)]))
        assert await call.cancel()
        response = await call.response()
        assert response.status == 487
        incoming = await callee.incoming.get()
        await incoming.cancelled.wait()
        callee.release.set()
        assert client.seen(sent=False)[-2:] in (["200", "487"], ["487", "200"])
        tags = {item.to_tag for item in parsed(client.events, sent=False) if isinstance(item, SipResponse)}
        assert len(tags) == 1  # 9.2: the CANCEL's answer, the 180 and the 487 come from one UAS
        assert not await call.cancel()


async def test_cancel_after_the_answer_changes_nothing() -> None:
    async with endpoints() as (client, server, hop):
        callee = Callee(server)
        callee.release.set()
        server.on_request = callee
        call = client.call(message("INVITE", hop, [contact(client, hop)]))
        await call.response()
        assert not await call.cancel()
        await call.ack()
        incoming = await callee.incoming.get()
        await incoming.acknowledged()
        assert not incoming.cancelled.is_set()


async def test_cancel_of_nothing_is_481() -> None:
    async with endpoints() as (client, _server, hop):
        assert (await client.request(message("CANCEL", hop))).status == 481


async def test_failure_of_an_invite_is_acknowledged_and_the_handler_does_not_see_it() -> None:
    async with endpoints() as (client, server, hop):
        asked: list[str] = []

        async def refuse(incoming: IncomingRequest) -> None:
            asked.append(incoming.request.method)
            await incoming.reply(486)

        server.on_request = refuse
        call = client.call(message("INVITE", hop))
        assert (await call.response()).status == 486
        with pytest.raises(LocalProtocolError):
            await call.ack()
        assert (await client.request(message("MESSAGE", hop))).status == 486
        assert asked == ["INVITE", "MESSAGE"]
        assert server.seen(sent=False)[:2] == ["INVITE", "ACK"]


async def test_without_handler_503_and_a_failing_handler_500(caplog: pytest.LogCaptureFixture) -> None:
    async with endpoints() as (client, server, hop):
        assert (await client.request(message("MESSAGE", hop))).status == 503

        async def broken(_incoming: IncomingRequest) -> None:
            raise KeyError("broken")

        server.on_request = broken
        assert (await client.request(message("MESSAGE", hop))).status == 500
        assert "handling MESSAGE failed" in caplog.text


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ((b"CSeq: 1 MESSAGE\r\n", b"CSeq: one MESSAGE\r\n"), "Unreadable CSeq"),
        ((b"CSeq: 1 MESSAGE\r\n", b"CSeq: 1 INVITE\r\n"), "CSeq Method Mismatch"),
        ((b"Call-ID: ", b"X-Call-ID: "), "Missing Call-Id"),
        ((b"\r\nTo: ", b"\r\nX-To: "), "Missing To"),
    ],
)
async def test_a_request_that_cannot_be_served_gets_400(change: tuple[bytes, bytes], reason: str) -> None:
    async with endpoints() as (client, _server, hop):
        answers: asyncio.Queue[SipResponse] = asyncio.Queue()
        client.on_response = lambda response, _hop: answers.put_nowait(response)
        request = message("MESSAGE", hop)
        request = request.with_headers(request.headers.added("Via", client.new_via(hop), first=True))
        client.send(request.octets().replace(*change), hop)
        answer = await answers.get()
        assert (answer.status, answer.reason) == (400, reason)


async def test_unreadable_octets_are_told() -> None:
    async with endpoints() as (client, server, hop):
        seen: asyncio.Queue[bytes] = asyncio.Queue()
        server.on_unreadable = lambda what, _hop: seen.put_nowait(what.octets)
        client.send(b"\r\n\r\n", hop)  # a keep-alive
        client.send(b"no SIP at all\r\n\r\n", hop)
        assert await seen.get() == b"no SIP at all\r\n\r\n"


async def test_closing_frees_who_waits() -> None:
    async with endpoints() as (client, server, hop):
        callee = Callee(server)
        server.on_request = callee
        call = client.call(message("INVITE", hop, [contact(client, hop)]))
        incoming = await callee.incoming.get()
        await client.close()
        with pytest.raises(SipTransportError, match="closed"):
            await call.response()
        await server.close()
        with pytest.raises(TimeoutError):
            await incoming.acknowledged()


async def test_a_response_returns_on_the_connection_of_its_request() -> None:
    async with endpoints("tcp") as (_client, server, hop):
        server.on_request = accept
        reader, writer = await asyncio.open_connection(hop.host, hop.port)
        via = ("Via", "SIP/2.0/TCP 192.0.2.1:5999;branch=z9hG4bKelsewhere")
        writer.write(message("MESSAGE", hop, [via]).octets())
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"SIP/2.0 202")
        assert b"received=127.0.0.1" in head
        assert b"rport" not in head
        writer.close()
        await writer.wait_closed()
