"""A bench for the lower testers: a core with a scripted PF behind it, everything on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from cpmspec.actors.client import Client
from cpmspec.actors.core import Core
from cpmspec.actors.originator import Originator
from cpmspec.evidence.trace import Frame
from cpmspec.net.sip import Hop, IncomingRequest, SipEndpoint
from cpmspec.wire.sip import SipMessage, SipRequest, SipUnreadable

DOMAIN = "home.test"
USER = f"sip:bob@{DOMAIN}"
SENDER = f"sip:alice@{DOMAIN}"
PSI = f"sip:deferred@{DOMAIN}"
T1 = 0.05


class FakePf:
    """A PF that does what a test tells it: one handler for each method; what came is kept."""

    def __init__(self) -> None:
        self.endpoint = SipEndpoint(t1=T1)
        self.endpoint.on_request = self._take
        self.requests: list[SipRequest] = []
        self.handlers: dict[str, Callable[[IncomingRequest], Awaitable[object]]] = {}
        self.addresses: dict[str, tuple[str, int]] = {}
        self._arrived = asyncio.Condition()

    async def start(self) -> None:
        for key in ("udp", "tcp", "udp6", "tcp6"):
            host = "::1" if key.endswith("6") else "127.0.0.1"
            self.addresses[key] = await self.endpoint.listen(key.rstrip("6"), host, 0)

    async def wait(self, method: str, count: int = 1) -> SipRequest:
        """The request number ``count`` of a method, once it came."""
        async with asyncio.timeout(10), self._arrived:
            await self._arrived.wait_for(lambda: len(self.of(method)) >= count)
        return self.of(method)[count - 1]

    def of(self, method: str) -> list[SipRequest]:
        return [request for request in self.requests if request.method == method]

    async def _take(self, incoming: IncomingRequest) -> None:
        async with self._arrived:
            self.requests.append(incoming.request)
            self._arrived.notify_all()
        handler = self.handlers.get(incoming.request.method)
        if handler is not None:
            await handler(incoming)
        elif not incoming.ack:
            await incoming.reply(200)


class Bench:
    """Core, PF, and what the core recorded."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []  #: of clients and originators
        self.isc: list[tuple[Frame, SipMessage | SipUnreadable | None]] = []
        self.pf = FakePf()
        self.core = Core(self._record, domain=DOMAIN, psi=PSI, t1=T1)
        self.actors: list[Client | Originator] = []
        self._recorded = asyncio.Event()

    def _record(self, frame: Frame, message: SipMessage | SipUnreadable | None) -> None:
        self.isc.append((frame, message))
        self._recorded.set()

    async def crossed(self, method: str) -> list[SipRequest]:
        """All requests that crossed isc, once one of that method did."""
        async with asyncio.timeout(10):
            while method not in [request.method for request in self.requests]:
                self._recorded.clear()
                await self._recorded.wait()
        return self.requests

    @property
    def requests(self) -> list[SipRequest]:
        return [message for _, message in self.isc if isinstance(message, SipRequest)]

    @property
    def access(self) -> Hop:
        return Hop("udp", *self.core.access["udp"])

    async def client(self, uri: str = USER) -> Client:
        client = Client(self.frames.append, uri=uri, core=self.access, domain=DOMAIN, psi=PSI, t1=T1)
        self.actors.append(client)
        await client.start()
        return client

    async def originator(self, uri: str = SENDER) -> Originator:
        originator = Originator(self.frames.append, uri=uri, core=self.access, t1=T1)
        self.actors.append(originator)
        await originator.start()
        return originator


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    bench = Bench()
    await bench.pf.start()
    await bench.core.start()
    bench.core.set_iut(bench.pf.addresses)
    yield bench
    for actor in bench.actors:
        await actor.close()
    await bench.core.close()
    await bench.pf.endpoint.close()
