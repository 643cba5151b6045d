"""The endpoint without transactions, as a stateless proxy uses it, on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from cpmspec.net.sip import (
    Hop,
    SipEndpoint,
    response_hop,
)
from cpmspec.wire.sip import (
    SipMessage,
    SipRequest,
    without_first,
)
from sip_peers import Callee, Recorded, accept, contact, message


class TestStateless:
    """A stateless proxy between a client and a server."""

    @staticmethod
    def proxy(target: Callable[[], Hop]) -> SipEndpoint:
        endpoint = SipEndpoint(transactions=False)

        def forward(item: SipMessage, source: Hop, transport: str, local: tuple[str, int]) -> None:
            assert source.transport == transport
            assert local[0] == "127.0.0.1"
            if isinstance(item, SipRequest):
                branch = f"z9hG4bK{hash(item.via[0].branch) & 0xFFFFFFFF}"
                via = endpoint.new_via(target(), branch)
                endpoint.send(item.with_headers(item.headers.added("Via", via, first=True)), target())
            else:
                item = item.with_headers(without_first(item.headers, "Via"))
                back = response_hop(item)
                assert back is not None
                endpoint.send(item, back)

        endpoint.on_message = forward
        return endpoint

    @pytest.mark.parametrize("inner", ["udp", "tcp"])
    @pytest.mark.parametrize("outer", ["udp", "tcp"])
    async def test_a_call_through_it(self, outer: str, inner: str) -> None:
        client, server = Recorded(), Recorded()
        callee = Callee(server)
        callee.release.set()
        server.on_request = callee
        hops: list[Hop] = []
        proxy = self.proxy(lambda: hops[0])
        try:
            await client.listen(outer, "127.0.0.1", 0)
            hops.append(Hop(inner, *await server.listen(inner, "127.0.0.1", 0)))
            entry = Hop(outer, *await proxy.listen(outer, "127.0.0.1", 0))
            if inner != outer:
                await proxy.listen(inner, "127.0.0.1", 0)
            call = client.call(message("INVITE", entry, [contact(client, entry)]), entry)
            assert (await call.response()).status == 200
            await call.ack(hop=entry)
            await callee.acks.get()
            assert call.dialog is not None
            assert (await client.request(call.dialog.request("BYE"), entry)).status == 200
        finally:
            for endpoint in (client, proxy, server):
                await endpoint.close()

    async def test_responses_return_to_a_client_that_asked_for_no_rport(self) -> None:
        server = Recorded()
        server.on_request = accept
        hops: list[Hop] = []
        proxy = self.proxy(lambda: hops[0])
        try:
            hops.append(Hop("tcp", *await server.listen("tcp", "127.0.0.1", 0)))
            entry = Hop("tcp", *await proxy.listen("tcp", "127.0.0.1", 0))
            reader, writer = await asyncio.open_connection(entry.host, entry.port)
            via = ("Via", "SIP/2.0/TCP client.example:5999;branch=z9hG4bKq")
            writer.write(message("MESSAGE", entry, [via]).octets())
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"SIP/2.0 202")
            writer.close()
            await writer.wait_closed()
        finally:
            await proxy.close()
            await server.close()
