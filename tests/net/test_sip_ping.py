"""Whether somebody speaks SIP at an address."""

from __future__ import annotations

import socket

import pytest

from cpmspec.net.sip import Hop
from cpmspec.net.sip_ping import answers_options
from sip_peers import FAST, endpoints


@pytest.mark.parametrize(("transport", "host"), [("udp", "127.0.0.1"), ("tcp", "127.0.0.1"), ("udp", "::1")])
@pytest.mark.parametrize("status", [200, 404, 503])
async def test_any_answer_is_one(transport: str, host: str, status: int) -> None:
    async with endpoints(transport, host) as (_, server, hop):
        server.on_request = lambda incoming: incoming.reply(status)  # type: ignore[assignment, return-value]
        assert await answers_options(hop, domain="home.example", host="127.0.0.1")


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_nobody_there(transport: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and nobody listens
        hop = Hop(transport, *taken.getsockname())
        assert not await answers_options(hop, domain="home.example", host="127.0.0.1", t1=FAST)


async def test_somebody_silent() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        hop = Hop("udp", *silent.getsockname())
        assert not await answers_options(hop, domain="home.example", host="127.0.0.1", t1=FAST, within=0.2)
