"""cpmspec.actors.isc_relay: an outside core and a PF with the relay between them, over every leg."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field

import pytest

from cpmspec.actors.isc_relay import IscRelay
from cpmspec.actors.policy import Policy
from cpmspec.evidence.trace import Frame, Kind, Pco, Role
from cpmspec.net.sip import Hop, IncomingRequest, SipTimeout
from cpmspec.net.tls import client_context, self_signed
from cpmspec.protocol.transactions import Timing
from cpmspec.wire.sip import SipMessage, SipRequest, SipUnreadable, build_request, parse_message
from sip_peers import KINDS, Recorded, contact, message

USER = "sip:bob@home.example"
#: T1 of who waits for an answer in vain; the others have the usual one, so that a slow machine repeats nothing
T1 = 0.05


@dataclass
class Bench:
    """A core and a PF that answer what they are told to; what the relay recorded."""

    relay: IscRelay
    core: Recorded = field(default_factory=Recorded)
    pf: Recorded = field(default_factory=Recorded)
    frames: list[tuple[Frame, SipMessage | SipUnreadable | None]] = field(default_factory=list)
    asked: list[SipRequest] = field(default_factory=list)
    status: int | None = 200

    async def answer(self, incoming: IncomingRequest) -> None:
        self.asked.append(incoming.request)
        if incoming.request.method != "ACK" and self.status is not None:
            await incoming.reply(self.status)

    def legs(self, transport: str, host: str) -> tuple[Hop, Hop]:
        """The relay's back and front for a transport: where the core sends, and where the PF sends."""
        key = transport + ("6" if ":" in host else "")
        return Hop(transport, *self.relay.back[key]), Hop(transport, *self.relay.front[key])

    @property
    def data(self) -> list[Frame]:
        return [frame for frame, _ in self.frames if frame.kind is Kind.DATA]


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    server, _ = self_signed()
    made: list[Bench] = []
    relay = IscRelay(
        lambda frame, parsed: made[0].frames.append((frame, parsed)),
        server_ssl=server, client_ssl=client_context(by_fingerprint=True), t1=T1,
    )  # fmt: skip
    bench = Bench(relay)
    made.append(bench)
    await relay.start()
    tables = []
    for endpoint in (bench.pf, bench.core):
        endpoint.on_request = bench.answer
        table = {}
        for transport, host in KINDS:
            table[transport + ("6" if ":" in host else "")] = await endpoint.listen(transport, host, 0)
        tables.append(table)
    relay.set_iut(tables[0])
    relay.set_core(tables[1])
    yield bench
    for endpoint in (bench.core, bench.pf):
        await endpoint.close()
    await relay.close()


def sent(endpoint: Recorded) -> list[bytes]:
    return [event.octets for event in endpoint.events if event.kind == "data" and event.sent]


def got(endpoint: Recorded) -> list[bytes]:
    return [event.octets for event in endpoint.events if event.kind == "data" and not event.sent]


def in_dialog(method: str, hop: Hop, headers: Sequence[tuple[str, str]] = ()) -> SipRequest:
    request = message(method, hop, headers)
    to = f"{request.headers.get('To')};tag=theirs"
    return request.with_headers(request.headers.without("To").added("To", to))


@pytest.mark.parametrize(("transport", "host"), KINDS)
async def test_octets_cross_unchanged_both_ways(bench: Bench, transport: str, host: str) -> None:
    back, front = bench.legs(transport, host)
    assert (await bench.core.request(message("MESSAGE", back), back)).status == 200
    assert (await bench.pf.request(message("MESSAGE", front), front)).status == 200
    assert got(bench.pf) == sent(bench.core)
    assert got(bench.core) == sent(bench.pf)
    assert [(frame.sender, frame.receiver) for frame in bench.data] == [
        (Role.CORE, Role.IUT), (Role.IUT, Role.CORE), (Role.IUT, Role.CORE), (Role.CORE, Role.IUT),
    ]  # fmt: skip
    assert [frame.octets for frame in bench.data] == [got(bench.pf)[0], sent(bench.pf)[0], *got(bench.core)[1:2],
                                                      got(bench.pf)[1]]  # fmt: skip
    assert {frame.pco for frame, _ in bench.frames} == {Pco.ISC}
    assert {frame.transport for frame in bench.data} == {transport}


async def test_the_pf_meets_the_relay_at_its_front_alone(bench: Bench) -> None:
    back, front = bench.legs("udp", "127.0.0.1")
    await bench.core.request(message("MESSAGE", back), back)
    assert bench.data[0].source == (front.host, front.port)
    assert bench.data[1].destination == (front.host, front.port)


async def test_a_request_goes_to_the_contact_that_it_names(bench: Bench) -> None:
    """RFC 3261 12.2.1.1: the remote target of a dialog may be another address than that of the listener."""
    back, _ = bench.legs("udp", "127.0.0.1")
    other = Recorded()
    other.on_request = bench.answer
    try:
        address = await other.listen("udp", "127.0.0.1", 0)
        request = in_dialog("BYE", back).with_uri(f"sip:pf@127.0.0.1:{address[1]}")
        assert (await bench.core.request(request, back)).status == 200
        assert len(got(other)) == 1
        routed = in_dialog("BYE", back, [("Route", f"<sip:127.0.0.1:{address[1]};lr>")])
        assert (await bench.core.request(routed, back)).status == 200
        assert len(got(other)) == 2
        assert got(bench.pf) == []
    finally:
        await other.close()


async def test_what_no_parser_reads_is_passed_on(bench: Bench) -> None:
    back, front = bench.legs("udp", "127.0.0.1")
    arrived: asyncio.Queue[bytes] = asyncio.Queue()
    for endpoint in (bench.pf, bench.core):
        endpoint.on_unreadable = lambda found, _: arrived.put_nowait(found.octets)
    bench.core.send(b"no SIP at all\r\n\r\n", back)
    assert await asyncio.wait_for(arrived.get(), 5) == b"no SIP at all\r\n\r\n"
    bench.pf.send(b"neither is this\r\n\r\n", front)
    assert await asyncio.wait_for(arrived.get(), 5) == b"neither is this\r\n\r\n"
    assert [frame.sender for frame in bench.data] == [Role.CORE, Role.IUT]


async def test_a_stranger_is_not_the_pf(bench: Bench) -> None:
    _, front = bench.legs("udp", "127.0.0.1")
    pf = Recorded()
    try:
        bench.relay.set_iut({"udp": await pf.listen("udp", "127.0.0.2", 0)})
        bench.pf.send(message("MESSAGE", front), front)
        await pf.request(message("OPTIONS", front), front)  # on the same socket: the first one has been read by now
        assert bench.core.seen(sent=False) == ["OPTIONS"]
        assert len(bench.data) == 2
    finally:
        await pf.close()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def wire(method: str, via: str, to: str = USER, branch: str = "1") -> bytes:
    """A request as a PF may write it; ``via`` is its sent-by with parameters."""
    return (
        f"{method} {to} SIP/2.0\r\nVia: SIP/2.0/{via};branch=z9hG4bK{branch}\r\nMax-Forwards: 70\r\nTo: <{to}>\r\n"
        f"From: <sip:pf.example>;tag=1\r\nCall-ID: {branch}\r\nCSeq: 1 {method}\r\nContent-Length: 0\r\n\r\n"
    ).encode()


async def test_a_response_over_udp_goes_to_the_port_of_the_via(bench: Bench) -> None:
    """RFC 3261 18.2.2: without rport not to the port that the request came from; a PF may send from another one."""
    _, front = bench.legs("udp", "127.0.0.1")
    loop = asyncio.get_running_loop()
    sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(3)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
            one.setblocking(False)
        core, sends, listens = sockets
        bench.relay.set_core({"udp": core.getsockname()})
        for branch, rport, hears in (("1", "", listens), ("2", ";rport", sends)):
            via = f"UDP 127.0.0.1:{listens.getsockname()[1]}{rport}"
            sends.sendto(wire("OPTIONS", via, branch=branch), (front.host, front.port))
            asked, back = await asyncio.wait_for(loop.sock_recvfrom(core, 4096), 5)
            answer = asked.replace(f"OPTIONS {USER} SIP/2.0".encode(), b"SIP/2.0 200 OK", 1)
            core.sendto(answer, back)
            assert await asyncio.wait_for(loop.sock_recv(hears, 4096), 5) == answer
    finally:
        for one in sockets:
            one.close()


async def test_a_response_opens_a_connection_if_that_of_its_request_is_closed(bench: Bench) -> None:
    """RFC 3261 18.2.2: to the port of the sent-by, at the host that the request came from."""
    _, front = bench.legs("tcp", "127.0.0.1")
    heard: asyncio.Queue[bytes] = asyncio.Queue()
    bench.pf.on_response = lambda response, _: heard.put_nowait(response.octets())
    asked, answer = asyncio.Event(), asyncio.Event()

    async def late(incoming: IncomingRequest) -> None:
        asked.set()
        await answer.wait()
        await incoming.reply(200)

    bench.core.on_request = late
    listens = next(hop.port for hop in bench.pf.listeners if hop.transport == "tcp")
    _, writer = await asyncio.open_connection(front.host, front.port)
    writer.write(wire("OPTIONS", f"TCP pf.example:{listens}"))
    await asyncio.wait_for(asked.wait(), 5)
    writer.close()
    await writer.wait_closed()
    await until(lambda: any(frame.kind is Kind.CLOSE for frame, _ in bench.frames))
    answer.set()
    assert b"SIP/2.0 200" in await asyncio.wait_for(heard.get(), 5)


async def test_each_response_goes_on_the_connection_of_its_request(bench: Bench) -> None:
    """Connections side by side with one sent-by: a connection for each request is legal."""
    _, front = bench.legs("tcp", "127.0.0.1")
    streams = [await asyncio.open_connection(front.host, front.port) for _ in range(2)]
    for number, (_, writer) in enumerate(streams):
        writer.write(wire("OPTIONS", "TCP 127.0.0.1:5060", branch=str(number)))
    for number, (reader, writer) in enumerate(streams):
        assert f"z9hG4bK{number}".encode() in await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
        writer.close()


async def test_what_comes_on_a_leg_that_the_core_lacks_reaches_it_over_udp(bench: Bench) -> None:
    """RFC 3261 18.1.1: what is too long for UDP comes over TCP, whatever the leg."""
    _, front = bench.legs("tcp", "127.0.0.1")
    bench.relay.set_core({"udp": bench.relay.core["udp"]})
    assert (
        await bench.pf.request(message("MESSAGE", front, [("Content-Type", "text/plain")], b"x" * 1500), front)
    ).status == 200
    assert got(bench.core) == sent(bench.pf)


async def test_the_contact_chooses_the_transport_too(bench: Bench) -> None:
    """RFC 3263 4.1: a transport that the remote target names is the one to use."""
    back, _ = bench.legs("udp", "127.0.0.1")
    port = next(hop.port for hop in bench.pf.listeners if hop.transport == "tcp")
    request = in_dialog("BYE", back).with_uri(f"sip:pf@127.0.0.1:{port};transport=tcp")
    assert (await bench.core.request(request, back)).status == 200
    assert [event.transport for event in bench.pf.events if event.octets.startswith(b"BYE")] == ["tcp"]


async def test_the_ack_to_an_error_goes_the_way_of_its_invite(bench: Bench) -> None:
    """RFC 3261 17.1.1.3, also where the Request-URI names an address of the PF at which nobody listens."""
    back, _ = bench.legs("udp", "127.0.0.1")
    bench.status = 486
    invite = message("INVITE", back, [contact(bench.core, back)]).with_uri("sip:deferred@127.0.0.1:9")
    assert (await bench.core.request(invite, back)).status == 486
    await until(lambda: "ACK" in bench.pf.seen(sent=False))


# --- third-party registration ----------------------------------------------------------------------------------------


def register(expires: int, call_id: str = "c", number: int = 1) -> SipRequest:
    return build_request(
        "REGISTER", "sip:pf.example",
        [("Max-Forwards", "70"), ("From", "<sip:core>;tag=1"), ("To", f"<{USER}>"), ("Call-ID", call_id),
         ("CSeq", f"{number} REGISTER"), ("Contact", "<sip:core>"), ("Expires", str(expires))],
    )  # fmt: skip


async def test_third_party_register_is_waited_for(bench: Bench) -> None:
    back, _ = bench.legs("udp", "127.0.0.1")
    waiting = asyncio.ensure_future(bench.relay.third_party_done(USER, gone=False))
    await bench.core.request(register(600), back)
    assert await waiting == 200
    bench.status = 403
    await bench.core.request(register(0, number=2), back)
    assert await bench.relay.third_party_done(USER, gone=True) == 403


async def test_a_refresh_is_not_taken_for_the_end_of_a_registration(bench: Bench) -> None:
    back, _ = bench.legs("udp", "127.0.0.1")
    await bench.core.request(register(600), back)
    assert await bench.relay.third_party_done(USER, gone=False) == 200
    waiting = asyncio.ensure_future(bench.relay.third_party_done(USER, gone=True))
    await bench.core.request(register(600, number=2), back)
    assert not waiting.done()
    await bench.core.request(register(0, number=3), back)
    assert await waiting == 200


async def test_a_retransmission_is_the_same_register(bench: Bench) -> None:
    back, _ = bench.legs("udp", "127.0.0.1")
    await bench.core.request(register(600), back)
    assert await bench.relay.third_party_done(USER, gone=False) == 200
    bench.core.send(sent(bench.core)[0], back)
    assert await bench.relay.third_party_done(USER, gone=False) is None


async def test_no_third_party_register_and_no_answer_are_told_apart(bench: Bench) -> None:
    back, _ = bench.legs("udp", "127.0.0.1")
    assert await bench.relay.third_party_done(USER, gone=False) is None
    bench.status = None
    waiting = asyncio.ensure_future(bench.relay.third_party_done(USER, gone=False))
    bench.core.timing = Timing.scaled(T1)
    with pytest.raises(SipTimeout):
        await bench.core.request(register(600), back)
    assert await waiting == 408


async def test_what_an_earlier_registration_told_does_not_count_after_its_end(bench: Bench) -> None:
    """Nobody waited for the first two: a case before this one was given up."""
    back, _ = bench.legs("udp", "127.0.0.1")
    await bench.core.request(register(600), back)
    await bench.core.request(register(0, number=2), back)
    waiting = asyncio.ensure_future(bench.relay.third_party_done(USER, gone=False))
    await bench.core.request(message("INFO", back), back)  # by then the waiting has looked
    assert not waiting.done()
    bench.status = 403
    await bench.core.request(register(600, number=3), back)
    assert await waiting == 403


# --- policies --------------------------------------------------------------------------------------------------------


async def test_policies_lose_and_delay_a_users_messages(bench: Bench) -> None:
    back, front = bench.legs("udp", "127.0.0.1")
    bench.relay.set_policy(USER, Policy(drop=("to-client MESSAGE",), delay=(("to-iut INFO", 0.01),)))
    bench.pf.timing = Timing.scaled(T1)
    with pytest.raises(SipTimeout):
        await bench.pf.request(message("MESSAGE", front), front)
    assert bench.core.seen(sent=False) == []
    assert (await bench.core.request(message("INFO", back), back)).status == 200


async def test_a_2xx_is_held_until_released(bench: Bench) -> None:
    _, front = bench.legs("udp", "127.0.0.1")
    bench.relay.set_policy(USER, Policy(hold_2xx=True))
    call = bench.pf.call(message("INVITE", front, [contact(bench.pf, front)]), front)
    await asyncio.wait_for(bench.relay.held(USER), 5)
    assert [item for item in map(parse_message, got(bench.pf)) if getattr(item, "status", 0) == 200] == []
    assert bench.relay.release(USER) >= 1
    assert (await call.response()).status == 200


async def test_a_held_2xx_is_released_once(bench: Bench) -> None:
    """Its retransmissions are held with it."""
    back, front = bench.legs("udp", "127.0.0.1")
    bench.relay.set_policy(USER, Policy(hold_2xx=True))
    call = bench.pf.call(message("INVITE", front, [contact(bench.pf, front)]), front)
    await asyncio.wait_for(bench.relay.held(USER), 5)
    await until(lambda: bench.core.seen(sent=True).count("200") >= 2)
    await bench.core.request(message("INFO", back), back)  # on the same socket: the relay has both by now
    assert bench.relay.release(USER) == 1
    assert (await call.response()).status == 200
