"""The same deliveries over TCP, TLS and IPv6, with the PF as the active side, and by a late offer; and the command."""

from __future__ import annotations

import asyncio
import re
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
import trustme

from cpmspec.net.msrp import MsrpConnection, listen_msrp
from cpmspec.net.sip import Hop, SipEndpoint
from cpmspec.net.tls import client_context, self_signed
from cpmspec.wire.mime import parse_multipart
from cpmspec.wire.sdp import parse_sdp
from cpmspec.wire.sip import SipResponse

ALICE, PSI = "sip:alice@example.com", "sip:deferred@example.com"


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Files of a certificate for loopback and of who signed it."""
    folder = tmp_path_factory.mktemp("pem")
    authority = trustme.CA()
    authority.issue_cert("127.0.0.1", "::1").private_key_and_cert_chain_pem.write_to_path(folder / "pf.pem")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    return {"sip.tls_cert": str(folder / "pf.pem"), "sip.tls_ca": str(folder / "ca.pem"), "sip.tls_port": "0"}


@pytest.mark.parametrize("transport", ["tcp", "tls", "udp6", "tcp6", "tls6"])
async def test_a_message_makes_its_way(start: Any, pem: dict[str, str], transport: str) -> None:
    keys = {key.replace(".", "__"): value for key, value in pem.items()} | {"sip__tls_port": 0}
    core = await start(sip__listen=["127.0.0.1", "::1"], **keys)
    await core.endpoint.close()
    name, host = transport.rstrip("6"), "::1" if transport.endswith("6") else "127.0.0.1"
    core.endpoint = SipEndpoint(client_ssl=client_context(pem["sip.tls_ca"]))
    core.address = await core.endpoint.listen("tcp" if name == "tls" else name, host, 0)
    core.endpoint.on_request = core.on_request
    core.pf = Hop(name, *core.server.pf.signalling.listening[transport])
    core.transport = "tcp" if name == "tls" else name
    assert (await core.defer(b"over " + transport.encode())).status == 202
    _, peer, response = await core.retrieve()
    assert f";transport={name}" in str(response.contact[0].uri)
    assert parse_multipart(*await peer.message()).parts[-1].body == b"over " + transport.encode()
    await core.bye()


async def accepting(peer: Any, ssl: Any = None) -> tuple[int, Any]:
    """The peer listens for MSRP: its port, and what to close."""

    def made(connection: MsrpConnection) -> None:
        peer.take(connection)

    listener = await listen_msrp("127.0.0.1", 0, made, ssl=ssl)
    scheme = "msrps" if ssl else "msrp"
    peer.uri = f"{scheme}://127.0.0.1:{listener.address[1]}/{peer.session};tcp"
    return listener.address[1], listener


@pytest.mark.parametrize("setup", ["passive", "actpass"])
@pytest.mark.parametrize("tls", [False, True])
async def test_the_pf_connects_and_sends_at_once(start: Any, setup: str, tls: bool) -> None:
    core = await start()
    await core.defer(b"active")
    peer = core.peer()
    context, fingerprint = self_signed() if tls else (None, None)
    _, listener = await accepting(peer, context)
    call = core.invite(PSI, core.description(peer, setup=setup, tls=tls, fingerprint=fingerprint), ALICE)
    response = await asyncio.wait_for(call.response(), 5)
    media = parse_sdp(response.body).message
    assert media is not None
    assert (media.setup, media.port, media.direction) == ("active", 9, "sendonly")
    peer.peer = media.path
    await call.ack(hop=core.pf)
    assert parse_multipart(*await peer.message()).parts[-1].body == b"active"
    await core.bye()
    listener.close()


async def test_another_certificate_than_announced_gets_nothing(start: Any) -> None:
    core = await start()
    await core.defer()
    peer = core.peer()
    context, _ = self_signed()
    _, listener = await accepting(peer, context)
    wrong = "SHA-256 " + ":".join(["00"] * 32)
    call = core.invite(PSI, core.description(peer, setup="passive", tls=True, fingerprint=wrong), ALICE)
    await asyncio.wait_for(call.response(), 5)
    await call.ack(hop=core.pf)
    await core.bye()
    assert peer.frames.empty()
    listener.close()


async def test_an_invite_without_offer_is_offered_and_answered_in_the_ack(start: Any) -> None:
    core = await start()
    await core.defer(b"late")
    call = core.invite(PSI, b"", ALICE)
    response: SipResponse = await asyncio.wait_for(call.response(), 5)
    media = parse_sdp(response.body).message
    assert media is not None
    assert (media.setup, media.direction) == ("actpass", "sendonly")
    peer = core.peer()
    await call.ack([("Content-Type", "application/sdp")], core.description(peer), hop=core.pf)
    await peer.connect(media.path)
    peer.bind()
    assert parse_multipart(*await peer.message()).parts[-1].body == b"late"
    await core.bye()


async def test_other_media_of_an_offer_are_rejected_in_order(start: Any) -> None:
    core = await start()
    await core.defer()
    peer = core.peer()
    head, at, message = core.description(peer).partition(b"m=message")
    call = core.invite(PSI, head + b"m=audio 4000 RTP/AVP 0\r\n" + at + message, ALICE)
    response = await asyncio.wait_for(call.response(), 5)
    media = parse_sdp(response.body).media
    assert [(one.kind, one.port > 0) for one in media] == [("audio", False), ("message", True)]
    await call.ack(hop=core.pf)
    await peer.connect(media[1].path)
    peer.bind()
    await peer.message()
    await core.bye()


async def test_the_command_tells_where_it_listens_and_ends_on_a_signal(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "cpmspec",
        "serve",
        "--port",
        "0",
        "--state",
        str(tmp_path),
        "--log-format",
        "json",
    ]
    server = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    assert server.stdout is not None
    while not (line := (await asyncio.wait_for(server.stdout.readline(), 20)).decode()).startswith("cpmspec-pf ready"):
        assert line
    assert re.fullmatch(r"cpmspec-pf ready udp=127\.0\.0\.1:(\d+) tcp=127\.0\.0\.1:\1\n", line)
    server.send_signal(signal.SIGTERM)
    _, errors = await asyncio.wait_for(server.communicate(), 20)
    assert server.returncode == 0
    assert b'"event": "stopping"' in errors


async def test_the_command_tells_in_one_line_that_a_port_is_in_use(start: Any, tmp_path: Path) -> None:
    core = await start()
    port = str(core.pf.port)
    command = [sys.executable, "-m", "cpmspec", "serve", "--port", port, "--state", str(tmp_path / "other")]
    server = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, errors = await asyncio.wait_for(server.communicate(), 20)
    assert (server.returncode, out) == (2, b"")
    assert len(errors.splitlines()) == 1
    assert port.encode() in errors
