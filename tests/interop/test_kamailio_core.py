"""Kamailio as SIP/IP core routes as the suite's own core does (tests/actors/test_core.py): a scripted PF behind it."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from cpmspec.actors.client import Client
from cpmspec.actors.originator import Originator
from cpmspec.evidence.trace import Address
from cpmspec.net.sip import Hop, IncomingRequest, SipEndpoint, hop_for
from cpmspec.net.tap import TapEvent
from cpmspec.protocol.dialogs import Dialog
from cpmspec.wire.headers import Headers
from cpmspec.wire.sdp import build_msrp_sdp
from cpmspec.wire.sip import SipRequest, build_request, parse_message
from cpmspec.wire.uri import SipUri
from peers import Peer, Peers, require

DOMAIN = "home.test"
USER = f"sip:bob@{DOMAIN}"
SENDER = f"sip:alice@{DOMAIN}"
PSI = f"sip:deferred@{DOMAIN}"
LEGS = ("udp", "tcp", "udp6", "tcp6")


class Bench:
    """Kamailio, a PF that does what a test tells it, and what came to it."""

    def __init__(self) -> None:
        self.pf = SipEndpoint(tap=self._tap)
        self.pf.on_request = self._take
        self.arrived: list[bytes] = []  #: all octets that came to the PF, CANCEL and ACK included
        self.more = asyncio.Event()
        self.endpoints: dict[str, Address] = {}
        self.requests: list[SipRequest] = []
        self.handlers: dict[str, Callable[[IncomingRequest], Awaitable[object]]] = {}
        self.actors: list[Client | Originator] = []
        self._arrived = asyncio.Condition()

    async def start(self, peers: Peers) -> None:
        for key in LEGS:
            host = "::1" if key.endswith("6") else "127.0.0.1"
            self.endpoints[key] = Address(*await self.pf.listen(key.rstrip("6"), host, 0))
        text = ",".join(f"{key}={address}" for key, address in self.endpoints.items())
        self.core: Peer = peers.start("kamailio_core.py", "--domain", DOMAIN, "--psi", PSI, "--pf", text)

    def access(self, leg: str = "udp", transport: str = "udp") -> Hop:
        return Hop(transport, *self.core.addresses("access")[leg])

    def isc(self, leg: str = "udp") -> Address:
        return Address(*self.core.addresses("isc")[leg])

    async def client(self, access: Hop | None = None) -> Client:
        client = Client(lambda *_: None, uri=USER, core=access or self.access(), domain=DOMAIN, psi=PSI)
        self.actors.append(client)
        await client.start()
        return client

    async def originator(self, access: Hop | None = None) -> Originator:
        originator = Originator(lambda *_: None, uri=SENDER, core=access or self.access())
        self.actors.append(originator)
        await originator.start()
        return originator

    def of(self, method: str) -> list[SipRequest]:
        return [request for request in self.requests if request.method == method]

    async def came(self, method: str, count: int = 1) -> SipRequest:
        """The request number ``count`` of a method, once it came to the PF."""
        async with asyncio.timeout(10), self._arrived:
            await self._arrived.wait_for(lambda: len(self.of(method)) >= count)
        return self.of(method)[count - 1]

    def originate(self, uri: str = USER) -> SipRequest:
        """A MESSAGE of the PF's own."""
        return build_request(
            "MESSAGE", uri,
            [("Route", f"<sip:{self.isc()};transport=udp;lr>"), ("Max-Forwards", "70"), ("From", f"<{PSI}>;tag=a"),
             ("To", f"<{USER}>"), ("Call-ID", secrets.token_hex(8)), ("CSeq", "1 MESSAGE"),
             ("Content-Type", "text/plain")],
            b"hello",
        )  # fmt: skip

    async def pass_on(self, incoming: IncomingRequest) -> None:
        """A PF that is not interested: it takes its own Route off and sends the request back (TS 24.229 5.7.3)."""
        request = incoming.request
        routes = Headers.of(*(("Route", route) for route in request.headers.values("Route")[1:]))
        sent = request.with_headers(Headers((*routes, *request.headers.without("Route", "Via"))))
        await incoming.reply((await self.pf.request(sent, hop_for(sent))).status)

    def _tap(self, event: TapEvent) -> None:
        if event.kind == "data" and not event.sent:
            self.arrived.append(event.octets)
            self.more.set()

    async def _take(self, incoming: IncomingRequest) -> None:
        async with self._arrived:
            self.requests.append(incoming.request)
            self._arrived.notify_all()
        handler = self.handlers.get(incoming.request.method)
        if handler is not None:
            await handler(incoming)
        elif not incoming.ack:
            await incoming.reply(200)


@pytest.fixture(autouse=True)
def installed() -> None:
    require("kamailio")


@pytest.fixture
async def bench(installed: None, peers: Peers) -> AsyncIterator[Bench]:
    bench = Bench()
    try:
        await bench.start(peers)
        yield bench
    finally:
        for actor in bench.actors:
            await actor.close()
        await bench.pf.close()


async def invited(bench: Bench, incoming: IncomingRequest) -> Dialog:
    """The PF's 200 to an INVITE."""
    contact = ("Contact", f"<sip:pf@{bench.endpoints['udp']}>")
    routes = [("Record-Route", value) for value in incoming.request.headers.get_all("Record-Route")]
    sdp = build_msrp_sdp(
        host="127.0.0.1", port=9, path=["msrp://127.0.0.1:1/x;tcp"], setup="passive", accept_types=["*"],
        session_id=1, version=1,
    )  # fmt: skip
    ok = await incoming.reply(200, headers=[contact, *routes, ("Content-Type", "application/sdp")], body=sdp)
    return Dialog.uas(incoming.request, ok)


def place(uri: object) -> tuple[str, int | None]:
    assert isinstance(uri, SipUri)
    return uri.host, uri.port


@pytest.mark.parametrize("leg", LEGS)
@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_registration_is_told_to_the_pf(bench: Bench, leg: str, transport: str) -> None:
    client = await bench.client(bench.access(leg, transport))
    assert await client.register() == 200
    access = bench.access(leg)
    assert client.service_route == (f"<sip:127.0.0.1:{access.port};transport={transport};lr>",)
    told = await bench.came("REGISTER")
    core = f"sip:{bench.isc(leg)};transport={leg.rstrip('6')}"
    assert told.uri == f"sip:{bench.endpoints[leg]};transport={leg.rstrip('6')}"
    assert told.to is not None
    assert told.from_ is not None
    assert (str(told.to.uri), str(told.from_.uri), str(told.contact[0].uri)) == (USER, core, core)
    assert told.expires == 600
    assert told.via[0].transport.lower() == leg.rstrip("6")
    assert await client.deregister() == 200
    again = await bench.came("REGISTER", 2)
    assert again.expires == 0
    assert again.call_id != told.call_id


@pytest.mark.parametrize("leg", LEGS)
async def test_a_message_reaches_the_pf_with_route_and_identities(bench: Bench, leg: str) -> None:
    claimed = {"P-Asserted-Identity": "<sip:mallory@evil.test>", "P-Preferred-Identity": f"<{SENDER}>"}
    headers = {**claimed, "P-Served-User": "<sip:mallory@evil.test>", "Route": "<sip:127.0.0.1:9;lr>"}
    assert (await (await bench.originator(bench.access(leg))).pager(USER, b"hello", headers=headers)).status == 200
    request = await bench.came("MESSAGE")
    assert request.uri == USER
    assert [place(route.uri) for route in request.route] == [bench.endpoints[leg], bench.isc(leg)]
    assert isinstance(request.route[1].uri, SipUri)
    assert request.route[1].uri.param("odi")
    assert request.headers.get_all("P-Asserted-Identity") == (f"<{SENDER}>",)
    assert request.headers.get("P-Preferred-Identity") is None
    assert request.headers.get_all("P-Served-User") == (f"<{USER}>;sescase=term;regstate=unreg",)
    assert request.max_forwards == 69
    assert request.body == b"hello"
    assert (request.via[0].transport.lower(), request.via[0].port) == (leg.rstrip("6"), bench.isc(leg).port)


async def test_a_tel_uri_is_a_user_too(bench: Bench) -> None:
    assert (await (await bench.originator()).pager("tel:+15550100", b"hello")).status == 200
    request = await bench.came("MESSAGE")
    assert request.uri == "tel:+15550100"
    assert request.headers.get("P-Served-User") == "<tel:+15550100>;sescase=term;regstate=unreg"


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_the_token_delivers_to_the_contact_and_never_to_the_pf_again(bench: Bench, transport: str) -> None:
    client = await bench.client(bench.access("udp", transport))
    assert await client.register() == 200
    bench.handlers["MESSAGE"] = bench.pass_on
    originator = await bench.originator()
    assert (await originator.pager(USER, b"one")).status == 200
    assert (await originator.pager(USER, b"two", headers={"Privacy": "header; id"})).status == 200
    assert [message.body for message in client.messages] == [b"one", b"two"]
    assert [message.headers.get("P-Asserted-Identity") for message in client.messages] == [f"<{SENDER}>", None]
    assert {message.headers.get(name) for message in client.messages for name in ("P-Served-User", "Route")} == {None}
    assert [message.headers.get("P-Served-User") for message in bench.of("MESSAGE")] == [
        f"<{USER}>;sescase=term;regstate=reg"
    ] * 2


async def test_an_absent_user_is_480(bench: Bench) -> None:
    bench.handlers["MESSAGE"] = bench.pass_on
    assert (await (await bench.originator()).pager(USER, b"hello")).status == 480
    assert (await bench.pf.request(bench.originate())).status == 480
    assert (await bench.pf.request(bench.originate(PSI))).status == 480
    assert len(bench.of("MESSAGE")) == 1


async def test_requests_of_the_pf_reach_the_newest_contact_by_name_or_by_contact(bench: Bench) -> None:
    older, newer = await bench.client(), await bench.client()
    assert await older.register() == 200
    assert await newer.register() == 200
    assert (await bench.pf.request(bench.originate())).status == 200
    bench.handlers["INVITE"] = lambda incoming: incoming.reply(486)
    await older.retrieve()
    contact = str((await bench.came("INVITE")).contact[0].uri)
    assert (await bench.pf.request(bench.originate(contact))).status == 200
    assert (len(older.messages), len(newer.messages)) == (1, 1)


async def test_unknown_domain_and_exhausted_hops_are_refused(bench: Bench) -> None:
    originator = await bench.originator()
    assert (await originator.pager("sip:bob@elsewhere.test", b"hello")).status == 404
    assert (await originator.pager(USER, b"hello", headers={"Max-Forwards": "0"})).status == 483
    assert bench.requests == []


@pytest.mark.parametrize(("leg", "transport"), [("udp", "udp"), ("tcp", "udp"), ("udp6", "tcp")])
async def test_a_dialog_passes_in_both_directions(bench: Bench, leg: str, transport: str) -> None:
    opened: list[Dialog] = []

    async def answer(incoming: IncomingRequest) -> None:
        opened.append(await invited(bench, incoming))

    bench.handlers["INVITE"] = answer
    client = await bench.client(bench.access(leg, transport))
    session = await client.retrieve()
    assert session.failure is None
    asked = await bench.came("INVITE")
    assert asked.uri == PSI
    assert asked.headers.get("P-Asserted-Identity") == f"<{USER}>"
    assert asked.headers.get("P-Served-User") is None
    assert [place(item.uri)[1] for item in asked.record_route] == [bench.isc(leg).port, bench.access(leg).port]
    await bench.came("ACK")
    assert (await bench.pf.request(opened[0].request("BYE"))).status == 200
    assert session.bye_received.is_set()
    again = await client.retrieve()
    assert await again.bye() == 200
    assert (await bench.came("BYE")).route == ()


async def test_cancel_and_the_ack_of_487_follow_the_invite(bench: Bench) -> None:
    ringing: asyncio.Future[IncomingRequest] = asyncio.get_running_loop().create_future()

    async def ring(incoming: IncomingRequest) -> None:
        await incoming.reply(180)
        ringing.set_result(incoming)

    bench.handlers["INVITE"] = ring
    caller = SipEndpoint()
    await caller.listen("udp", "127.0.0.1", 0)
    request = build_request(
        "INVITE", USER,
        [("Max-Forwards", "70"), ("From", f"<{SENDER}>;tag=a"), ("To", f"<{USER}>"), ("Call-ID", "c1"),
         ("CSeq", "1 INVITE"), ("Contact", "<sip:alice@127.0.0.1>")],
    )  # fmt: skip
    heard = asyncio.Event()
    call = caller.call(request, bench.access(), lambda response: heard.set() if response.status == 180 else None)
    try:
        await asyncio.wait_for(heard.wait(), 5)
        await call.cancel()
        assert (await call.response()).status == 487
        async with asyncio.timeout(5):
            await (await ringing).cancelled.wait()
            while len(bench.arrived) < 3:
                bench.more.clear()
                await bench.more.wait()
    finally:
        await caller.close()
    messages = [parse_message(octets) for octets in bench.arrived]
    requests = [message for message in messages if isinstance(message, SipRequest)]
    assert [message.method for message in requests] == ["INVITE", "CANCEL", "ACK"]
    assert {message.via[0].branch for message in requests} == {requests[0].via[0].branch}
    assert len({(message.uri, message.headers.get_all("Route")) for message in requests}) == 1


async def test_what_is_too_long_for_udp_goes_over_tcp(bench: Bench) -> None:
    originator = await bench.originator()
    for size in range(300, 600, 20):
        assert (await originator.pager(USER, b"x" * size)).status == 200
    lengths = {"UDP": [0], "TCP": [0]}
    for request in bench.of("MESSAGE"):
        lengths[request.via[0].transport].append(len(request.octets()))
    assert max(lengths["UDP"]) <= 1300
    assert max(lengths["UDP"]) > 1200
    assert len(lengths["TCP"]) > 1
