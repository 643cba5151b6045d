"""The multipart of a deferred message: parts, projected headers, receipt time, content (8.3.2.4.3 step 2)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from cpmspec.protocol.msrp_sender import BytesContent
from cpmspec.reference.config import load_config
from cpmspec.reference.encapsulation import Enveloped
from cpmspec.reference.server import Server
from cpmspec.reference.store import DeferredMessage, Mode, NewMessage
from cpmspec.wire.fragment import parse_fragment
from cpmspec.wire.mime import Multipart, parse_multipart
from cpmspec.wire.sdp import Media, parse_sdp

SIP = b"".join(
    line + b"\r\n"
    for line in (
        b"Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKa", b"Max-Forwards: 68", b"Route: <sip:pf;lr>",
        b"f: \"B\xc3\xb6b\" <sip:bob@example.com>;tag=1", b"To: <sip:alice@example.com>", b"Call-ID: abc",
        b"CSeq: 7 MESSAGE", b"Subject: folded", b" line", b"Conversation-ID: c1", b"Contribution-ID: k1",
        b"Proxy-Authorization: Digest secret", b"P-Charging-Vector: icid-value=1",
        b"P-Access-Network-Info: IEEE-802.11", b"P-Asserted-Identity: <sip:bob@example.com>",
        b"Contact: <sip:bob@192.0.2.1>", b"Content-Type: text/plain", b"Content-Language: de", b"Content-Length: 5",
    )
)  # fmt: skip
SEND = b"".join(
    line + b"\r\n"
    for line in (
        b"To-Path: msrp://a/1;tcp", b"From-Path: msrp://b/2;tcp", b"Message-ID: m1m1", b"Byte-Range: 1-5/5",
        b"Success-Report: yes", b"Content-Type: image/png",
    )
)  # fmt: skip


def pager(headers: bytes = SIP, content_type: str | None = "text/plain") -> NewMessage:
    start = b"MESSAGE sip:alice@example.com SIP/2.0\r\n"
    return NewMessage("sip:alice@example.com", Mode.PAGER, 1_700_000_000.9, None, start, headers, None, content_type)


def large() -> NewMessage:
    headers = SIP.replace(b"MESSAGE", b"INVITE").replace(b"text/plain", b"application/sdp")
    start = b"INVITE sip:alice@example.com SIP/2.0\r\n"
    return NewMessage("sip:alice@example.com", Mode.LARGE, 1_700_000_000.9, None, start, headers, SEND, "image/png")


class Bench:
    """A server that is not started, but has its store."""

    def __init__(self, folder: Path, **keys: str) -> None:
        told = {"state": str(folder), "sip.port": 0} | {key.replace("__", "."): value for key, value in keys.items()}
        self.server = Server(load_config(None, told))
        self.delivery = self.server.pf.delivery

    async def store(self, message: NewMessage, content: bytes = b"hello") -> DeferredMessage:
        return await self.server.pf.store.defer(message, content)

    def composed(self, message: DeferredMessage) -> Multipart:
        content_type, body = self.delivery.compose(message)
        octets = body.read(0, body.size)
        assert len(octets) == body.size
        parts = parse_multipart(content_type, octets)
        assert parts.violations == ()
        return parts


@pytest.fixture
async def bench(tmp_path: Path, request: Any) -> AsyncIterator[Bench]:
    made = Bench(tmp_path, **getattr(request, "param", {}))
    await made.server.start()
    yield made
    await made.server.stop()


async def test_pager_mode(bench: Bench) -> None:
    sip, content = bench.composed(await bench.store(pager())).parts
    assert sip.content_type.full == "message/sipfrag"
    assert sip.headers.get("Date") == "Tue, 14 Nov 2023 22:13:20 GMT"
    fragment = parse_fragment("message/sipfrag", sip.body)
    assert not fragment.violations
    names = [header.key for header in fragment.headers]
    assert names == [
        "from", "to", "call-id", "subject", "conversation-id", "contribution-id", "p-asserted-identity", "content-type",
    ]  # fmt: skip
    assert fragment.headers.get("subject") == "folded line"
    assert [(header.name, header.value) for header in content.headers] == [
        ("Content-Type", "text/plain"),
        ("Content-Language", "de"),
    ]
    assert content.body == b"hello"


async def test_large_message_mode(bench: Bench) -> None:
    sip, msrp, content = bench.composed(await bench.store(large())).parts
    assert [part.content_type.full for part in (sip, msrp, content)] == [
        "message/sipfrag",
        "message/msrpfrag",
        "image/png",
    ]
    assert msrp.body == b"Message-ID: m1m1\r\nSuccess-Report: yes\r\nContent-Type: image/png\r\n"
    assert content.body == b"hello"


@pytest.mark.parametrize("bench", [{"delivery__encapsulation": "sip"}], indirect=True)
@pytest.mark.parametrize("kind", [pager, large])
async def test_complete_message_sip(bench: Bench, kind: Any) -> None:
    sip = bench.composed(await bench.store(kind())).parts[0]
    assert sip.content_type.full == "message/sip"
    assert not parse_fragment("message/sip", sip.body).violations
    assert b"192.0.2.1;branch" not in sip.body
    assert b"secret" not in sip.body


async def test_privacy_keeps_the_asserted_identity_back(bench: Bench) -> None:
    sip = bench.composed(await bench.store(pager(SIP + b"Privacy: header;ID\r\n"))).parts[0]
    assert b"P-Asserted-Identity" not in sip.body


async def test_a_message_without_content_has_no_content_part(bench: Bench) -> None:
    message = await bench.store(pager(b"From: <sip:b@x>\r\n", None), b"")
    assert [part.content_type.full for part in bench.composed(message).parts] == ["message/sipfrag"]
    assert bench.delivery.types_within(message) == ("message/sipfrag",)


async def test_a_boundary_is_drawn_for_each_delivery(bench: Bench) -> None:
    message = await bench.store(pager())
    assert bench.delivery.compose(message)[0] != bench.delivery.compose(message)[0]


@pytest.mark.parametrize(
    ("lines", "allowed"),
    [
        ("a=accept-types:*", True),
        ("a=accept-types:multipart/* message/sipfrag text/plain", True),
        ("a=accept-types:multipart/mixed\r\na=accept-wrapped-types:*", True),
        ("a=accept-types:multipart/mixed text/plain", False),
        ("a=accept-types:text/plain message/sipfrag", False),
        ("a=accept-types:*\r\na=sendonly", False),
        ("a=accept-types:*\r\na=inactive", False),
        ("a=accept-types:*\r\na=max-size:100", False),
    ],
)
async def test_what_an_sdp_allows(bench: Bench, lines: str, allowed: bool) -> None:
    sdp = f"v=0\r\no=- 1 1 IN IP4 h\r\ns=-\r\nc=IN IP4 h\r\nt=0 0\r\nm=message 9 TCP/MSRP *\r\na=path:msrp://h:9/s;tcp\r\n{lines}\r\n"
    media = parse_sdp(sdp.encode()).message
    assert isinstance(media, Media)
    assert bench.delivery.allowed(await bench.store(pager()), media) is allowed


def test_enveloped_content_reads_like_one() -> None:
    whole = b"before" + b"content" + b"after"
    content = Enveloped(b"before", BytesContent(b"content"), b"after")
    assert content.size == len(whole)
    for start in range(len(whole)):
        for count in range(len(whole) + 2):
            assert content.read(start, count) == whole[start : start + count]
