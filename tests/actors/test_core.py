"""The core: registration, third-party registration, and where each kind of request goes."""

from __future__ import annotations

import asyncio
import secrets
from pathlib import Path
from typing import Any

import pytest
import trustme

from cpmspec.actors.core import Core
from cpmspec.actors.originator import Originator
from cpmspec.actors.policy import Policy
from cpmspec.actors.registrar import ThirdPartyRegistrar
from cpmspec.actors.routing import Interface, Side
from cpmspec.evidence.trace import Address, Frame, Kind, Pco, Role
from cpmspec.net.sip import Hop, IncomingRequest, SipEndpoint, hop_for
from cpmspec.net.tls import client_context, server_context
from cpmspec.protocol.dialogs import Dialog
from cpmspec.wire.headers import Headers
from cpmspec.wire.sdp import build_msrp_sdp
from cpmspec.wire.sip import SipRequest, build_request

USER = "sip:bob@home.test"
SENDER = "sip:alice@home.test"
PSI = "sip:deferred@home.test"


def forwarded(request: SipRequest) -> SipRequest:
    """What a PF that is not interested makes of a terminating request: its own Route popped (TS 24.229 5.7.3)."""
    routes = request.headers.values("Route")[1:]
    headers = request.headers.without("Route", "Via")
    return request.with_headers(Headers((*Headers.of(*(("Route", route) for route in routes)), *headers)))


def relay(bench: Any) -> Any:
    """A PF handler that forwards statefully and passes the final response back."""

    async def handle(incoming: IncomingRequest) -> None:
        sent = forwarded(incoming.request)
        response = await bench.pf.endpoint.request(sent, hop_for(sent))
        await incoming.reply(response.status)

    return handle


def answer(path: str) -> bytes:
    return build_msrp_sdp(
        host="127.0.0.1", port=9, path=[path], setup="passive", accept_types=["*"], session_id=1, version=1
    )  # fmt: skip


async def test_registration_is_told_to_the_pf(bench: Any) -> None:
    client = await bench.client()
    assert await client.register() == 200
    assert await bench.core.third_party_done(USER) == 200
    told = bench.pf.of("REGISTER")[0]
    core = f"sip:127.0.0.1:{bench.core.addresses['udp'].port};transport=udp"
    assert told.uri == f"sip:127.0.0.1:{bench.pf.addresses['udp'][1]};transport=udp"
    assert (str(told.to.uri), str(told.from_.uri), str(told.contact[0].uri)) == (USER, core, core)
    assert told.expires == 600
    assert client.service_route == (f"<sip:127.0.0.1:{bench.access.port};transport=udp;lr>",)
    assert await client.deregister() == 200
    assert await bench.core.third_party_done(USER) == 200
    assert bench.pf.of("REGISTER")[1].expires == 0
    assert bench.pf.of("REGISTER")[1].cseq.number == 2


async def test_third_party_register_is_repeated_until_it_is_answered(bench: Any) -> None:
    bench.core.set_policy(USER, Policy(drop=("to-iut REGISTER",)))
    client = await bench.client()
    assert await client.register() == 200
    bench.core.set_policy(USER, Policy())
    assert await bench.core.third_party_done(USER) == 200
    assert len(bench.pf.of("REGISTER")) == 1


async def test_a_silent_pf_makes_the_third_party_register_time_out() -> None:
    silent = Hop("udp", "127.0.0.1", 2)
    sent: list[SipRequest] = []
    registrar = ThirdPartyRegistrar(lambda request, hop, user: sent.append(request), t1=0.002)
    registrar.start(USER, 600, Interface(Side.ISC, "udp", Address("127.0.0.1", 1)), silent)
    assert await registrar.done(USER) == 408
    assert await registrar.done("sip:nobody@home.test") is None
    assert len(sent) == 11  # at 0, 1, 3, 7, 15 T1 and then every 8 T1 up to 64 (RFC 3261 17.1.2.2)
    assert len(set(sent)) == 1


async def test_terminating_message_reaches_the_pf_with_route_and_identities(bench: Any) -> None:
    originator = await bench.originator()
    sent = await originator.pager(
        USER,
        b"hello",
        headers={"P-Asserted-Identity": "<sip:mallory@evil.test>", "P-Preferred-Identity": f"<{SENDER}>"},
    )
    assert sent.status == 200
    request = bench.pf.of("MESSAGE")[0]
    assert request.uri == USER
    first, second = request.route
    assert (first.uri.host, first.uri.port) == bench.pf.addresses["udp"]
    assert (second.uri.host, second.uri.port) == bench.core.addresses["udp"]
    assert second.uri.param("odi")
    assert request.headers.get_all("P-Asserted-Identity") == (f"<{SENDER}>",)
    assert request.headers.get("P-Preferred-Identity") is None
    assert request.headers.get("P-Served-User") == f"<{USER}>;sescase=term;regstate=unreg"
    assert request.max_forwards == 69
    assert request.body == b"hello"


async def test_the_token_delivers_to_the_contact_and_never_to_the_pf_again(bench: Any) -> None:
    client = await bench.client()
    await client.register()
    await bench.core.third_party_done(USER)
    bench.pf.handlers["MESSAGE"] = relay(bench)
    sent = await (await bench.originator()).pager(USER, b"hello")
    assert sent.status == 200
    assert [message.body for message in client.messages] == [b"hello"]
    assert client.messages[0].headers.get("P-Served-User") is None
    assert client.messages[0].headers.get("Route") is None
    assert "regstate=reg" in (bench.pf.of("MESSAGE")[0].headers.get("P-Served-User") or "")
    assert len(bench.pf.of("MESSAGE")) == 1
    assert client.notifications == []


async def test_with_the_token_an_absent_user_is_480(bench: Any) -> None:
    bench.pf.handlers["MESSAGE"] = relay(bench)
    assert (await (await bench.originator()).pager(USER, b"hello")).status == 480


async def test_requests_of_the_pf_without_token_reach_the_contact_or_480(bench: Any) -> None:
    def notification() -> SipRequest:
        return build_request(
            "MESSAGE", USER,
            [("Route", f"<sip:127.0.0.1:{bench.core.addresses['udp'].port};lr>"), ("Max-Forwards", "70"),
             ("From", f"<{PSI}>;tag=a"), ("To", f"<{USER}>"), ("Call-ID", secrets.token_hex(8)), ("CSeq", "1 MESSAGE"),
             ("Content-Type", "application/simple-message-summary")],
            b"Messages-Waiting: yes\r\n",
        )  # fmt: skip

    assert (await bench.pf.endpoint.request(notification())).status == 480
    client = await bench.client()
    await client.register()
    assert (await bench.pf.endpoint.request(notification())).status == 200
    assert (await client.wait_notification(5)).body.startswith(b"Messages-Waiting")
    assert await client.wait_notification(0) is None


async def test_a_dialog_passes_in_both_directions(bench: Any) -> None:
    opened: list[Dialog] = []

    async def invite(incoming: IncomingRequest) -> None:
        contact = [("Contact", f"<sip:pf@127.0.0.1:{bench.pf.addresses['udp'][1]}>")]
        headers = [*contact, *(("Record-Route", value) for value in incoming.request.headers.get_all("Record-Route"))]
        body = answer("msrp://127.0.0.1:1/x;tcp")
        ok = await incoming.reply(200, headers=[*headers, ("Content-Type", "application/sdp")], body=body)
        opened.append(Dialog.uas(incoming.request, ok))

    bench.pf.handlers["INVITE"] = invite
    client = await bench.client()
    await client.register()
    session = await client.retrieve()
    assert session.failure is None
    asked = bench.pf.of("INVITE")[0]
    assert asked.uri == PSI
    assert asked.headers.get("P-Asserted-Identity") == f"<{USER}>"
    assert [item.uri.port for item in asked.record_route] == [bench.core.addresses["udp"].port, bench.access.port]
    await bench.pf.wait("ACK")
    assert (await bench.pf.endpoint.request(opened[0].request("BYE"))).status == 200
    assert session.bye_received.is_set()

    again = await client.retrieve()
    assert await again.bye() == 200
    assert [item.uri.param("transport") for item in bench.pf.of("BYE")[0].route] == []


@pytest.mark.parametrize("key", ["tcp", "udp6", "tcp6"])
async def test_the_policy_chooses_the_leg(bench: Any, key: str) -> None:
    bench.core.set_policy(USER, Policy(transport=key.rstrip("6"), family=6 if key.endswith("6") else 4))
    assert await (await bench.client()).register() == 200
    assert await bench.core.third_party_done(USER) == 200
    core = bench.core.addresses[key]
    contact = bench.pf.of("REGISTER")[0].contact[0].uri
    assert (contact.host, contact.port, contact.param("transport")) == (*core, key.rstrip("6"))
    assert (await (await bench.originator()).pager(USER, b"hello")).status == 200
    request = bench.pf.of("MESSAGE")[0]
    assert (request.via[0].transport.lower(), request.via[0].port) == (key.rstrip("6"), core.port)
    assert {frame.transport for frame, message in bench.isc if message is not None} == {key.rstrip("6")}


async def test_a_long_request_goes_over_tcp(bench: Any) -> None:
    assert (await (await bench.originator()).pager(USER, b"x" * 1300)).status == 200
    assert bench.pf.of("MESSAGE")[0].via[0].transport == "TCP"
    data = [(frame, message) for frame, message in bench.isc if frame.kind is Kind.DATA]
    assert {frame.transport for frame, _ in data} == {"tcp"}
    assert [frame.sender for frame, _ in data] == [Role.CORE, Role.IUT]


@pytest.mark.parametrize("key", ["udp", "tcp"])
async def test_a_pf_that_is_gone_is_503_at_once(bench: Any, key: str) -> None:
    bench.core.set_policy(USER, Policy(transport=key))
    await bench.pf.endpoint.close()
    async with asyncio.timeout(2):
        assert (await (await bench.originator()).pager(USER, b"hello")).status == 503
        assert await (await bench.client()).register() == 200
        assert await bench.core.third_party_done(USER) == 503


async def test_unknown_domain_and_exhausted_hops_are_refused(bench: Any) -> None:
    originator = await bench.originator()
    assert (await originator.pager("sip:bob@elsewhere.test", b"hello")).status == 404
    assert (await originator.pager(USER, b"hello", headers={"Max-Forwards": "0"})).status == 483
    assert bench.pf.requests == []


async def test_strangers_on_the_isc_side_are_refused_and_not_recorded(bench: Any) -> None:
    stranger = SipEndpoint(t1=0.05)
    await stranger.listen("udp", "127.0.0.2", 0)
    hop = Hop("udp", *bench.core.addresses["udp"])
    request = build_request(
        "MESSAGE", USER,
        [("Max-Forwards", "70"), ("From", f"<{SENDER}>;tag=a"), ("To", f"<{USER}>"), ("Call-ID", "c1"),
         ("CSeq", "1 MESSAGE")],
    )  # fmt: skip
    assert (await stranger.request(request, hop)).status == 403
    assert bench.isc == []
    bench.core.set_iut(bench.pf.addresses, ("127.0.0.2",))
    again = request.with_headers(request.headers.replaced("Call-ID", "c2"))
    assert (await stranger.request(again, hop)).status == 480
    assert len(bench.isc) == 2
    await stranger.close()


async def test_cancel_and_the_ack_of_487_follow_the_invite(bench: Any) -> None:
    seen: list[IncomingRequest] = []

    async def invite(incoming: IncomingRequest) -> None:
        seen.append(incoming)
        await incoming.reply(180)

    bench.pf.handlers["INVITE"] = invite
    caller = SipEndpoint(t1=0.05)
    await caller.listen("udp", "127.0.0.1", 0)
    request = build_request(
        "INVITE", USER,
        [("Max-Forwards", "70"), ("From", f"<{SENDER}>;tag=a"), ("To", f"<{USER}>"), ("Call-ID", "c1"),
         ("CSeq", "1 INVITE"), ("Contact", "<sip:alice@127.0.0.1>")],
    )  # fmt: skip
    ringing = asyncio.Event()
    call = caller.call(request, bench.access, lambda response: ringing.set())
    await asyncio.wait_for(ringing.wait(), 5)
    await call.cancel()
    assert (await call.response()).status == 487
    await asyncio.wait_for(seen[0].cancelled.wait(), 5)
    messages = await bench.crossed("ACK")
    assert {message.via[0].branch for message in messages} == {seen[0].request.via[0].branch}
    assert len({(message.uri, message.headers.get_all("Route")) for message in messages}) == 1
    await caller.close()


async def test_the_2xx_of_a_push_is_held_until_released(bench: Any) -> None:
    bench.core.set_policy(USER, Policy(hold_2xx=True))
    client = await bench.client()
    await client.register()
    await bench.core.third_party_done(USER)
    invite = build_request(
        "INVITE", USER,
        [("Route", f"<sip:127.0.0.1:{bench.core.addresses['udp'].port};lr>"), ("Max-Forwards", "70"),
         ("From", f"<{PSI}>;tag=a"), ("To", f"<{USER}>"), ("Call-ID", "push1"), ("CSeq", "1 INVITE"),
         ("Contact", f"<sip:pf@127.0.0.1:{bench.pf.addresses['udp'][1]}>"), ("Content-Type", "application/sdp")],
        answer("msrp://127.0.0.1:1/x;tcp"),
    )  # fmt: skip
    call = bench.pf.endpoint.call(invite)
    waiting = asyncio.ensure_future(client.expect_push(5))
    await asyncio.wait_for(bench.core.held(USER), 5)
    assert not [message for frame, message in bench.isc if getattr(message, "status", 0) == 200 and frame.sender is
                Role.CORE and message.cseq.method == "INVITE"]  # fmt: skip
    assert bench.core.release(USER) == 1
    assert (await call.response()).status == 200
    await call.ack()
    session = await waiting
    assert session is not None
    assert session.failure is None
    assert await session.bye() == 200
    assert bench.pf.of("BYE")[0].call_id == "push1"


async def test_the_leg_may_be_tls(bench: Any, tmp_path: Path) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1", "::1")
    ca, pem = tmp_path / "ca.pem", tmp_path / "cert.pem"
    authority.cert_pem.write_to_path(ca)
    certificate.private_key_and_cert_chain_pem.write_to_path(pem)
    server, client = server_context(pem, pem), client_context(ca)
    pf = SipEndpoint(t1=0.05, server_ssl=server, client_ssl=client)
    seen: list[SipRequest] = []

    async def take(incoming: IncomingRequest) -> None:
        seen.append(incoming.request)
        await incoming.reply(202)

    pf.on_request = take
    frames: list[Frame] = []
    core = Core(
        lambda frame, message: frames.append(frame), domain="home.test", psi=PSI, server_ssl=server, client_ssl=client,
        iut={"tls": await pf.listen("tls", "127.0.0.1", 0), "tls6": await pf.listen("tls", "::1", 0)}, t1=0.05,
    )  # fmt: skip
    await core.start()
    core.set_policy(USER, Policy(transport="tls", family=6))
    originator = Originator(frames.append, uri=SENDER, core=Hop("udp", *core.access["udp"]), t1=0.05)
    await originator.start()
    assert (await originator.pager(USER, b"hello")).status == 202
    routes = [str(item.uri) for item in seen[0].route]
    assert routes[0] == f"sip:{core.iut['tls6']};transport=tls;lr"
    assert routes[1].startswith(f"sip:{core.addresses['tls6']};transport=tls;lr;odi=")
    hop = Hop("tls", *core.addresses["tls"])
    push = build_request(
        "MESSAGE", USER,
        [("Max-Forwards", "70"), ("From", f"<{PSI}>;tag=a"), ("To", f"<{USER}>"), ("Call-ID", "n"),
         ("CSeq", "1 MESSAGE")],
    )  # fmt: skip
    assert (await pf.request(push, hop)).status == 480
    assert {frame.transport for frame in frames if frame.pco is Pco.ISC} == {"tls"}
    for each in (originator, core, pf):
        await each.close()
