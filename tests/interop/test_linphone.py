"""linphonec, a SIP client of others, writes to somebody who is away, through Kamailio; later he gets it from the PF."""

from __future__ import annotations

import asyncio
import contextlib
import re
import sys
import zlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from cpmspec.actors.client import Client, ReceivedMessage
from cpmspec.actors.originator import Originator
from cpmspec.evidence.trace import Frame
from cpmspec.net.sip import Hop
from cpmspec.sut.certificates import make_certificates
from cpmspec.wire.headers import Headers
from cpmspec.wire.imdn import parse_imdn
from cpmspec.wire.mime import Part, parse_multipart
from cpmspec.wire.section import parse_section
from cpmspec.wire.summary import MEDIA_TYPE, parse_summary
from cpmspec.wire.uri import host_text
from peers import Peer, Peers, require

DOMAIN = "example.com"
PSI = f"sip:deferred@{DOMAIN}"
ALICE, BOB = f"sip:alice@{DOMAIN}", f"sip:bob@{DOMAIN}"
WITHIN = 10.0  #: seconds for any one step
TEXTS = (
    "Hello Bob, are you there?",
    "Grüße aus Zürich, Łódź und Αθήνα: 你好 🎉",
    "A long one. " + "".join(f"{number:04}, " for number in range(250)) + "the end: ÄÖÜ",
)
#: headers of the MESSAGE that the client has to get as they were sent
STORED = ("From", "To", "Call-ID", "Date", "Content-Type")

SENT = re.compile(rb"message sent to \[(\w+)://[^]]*\], size: \[(\d+)\] bytes")
STATE = re.compile(rb"Chat message .* moving from InProgress to (\w+)")


@dataclass(frozen=True)
class Sent:
    """A MESSAGE as linphonec's log shows it, and what linphonec thinks became of it."""

    transport: str
    size: int
    headers: Headers
    state: str


class Linphone:
    """linphonec by its commands and its log, which is read from the first line on."""

    def __init__(self, peer: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.peer = peer
        self.reader = reader
        self.writer = writer

    async def chat(self, to: str, text: str) -> Sent:
        """Write to somebody; done when linphonec knows what became of it."""
        self.writer.write(f"chat {to} {text}\n".encode())
        start = b""
        while not start.startswith(f"MESSAGE {to} SIP/2.0".encode()):
            sent = await self.until(SENT)
            start = await self.line()
        headers = bytearray()
        while not headers.endswith(b"\r\n\r\n"):
            headers += (await self.line()).rstrip(b"\r\n") + b"\r\n"
        state = await self.until(STATE)
        parsed = parse_section(bytes(headers)).headers
        return Sent(sent[1].decode().lower(), int(sent[2]), parsed, state[1].decode())

    async def until(self, pattern: re.Pattern[bytes]) -> re.Match[bytes]:
        """Read on to the line that the pattern is found in."""
        while (found := pattern.search(await self.line())) is None:
            pass
        return found

    async def line(self) -> bytes:
        async with asyncio.timeout(WITHIN):
            line = await self.reader.readline()
        assert line, "linphonec has ended"
        return line


class Scene:
    """The PF and Kamailio in front of it; who talks through Kamailio is closed at the end."""

    def __init__(self, peers: Peers) -> None:
        self.peers = peers
        folder = peers.folder / "pf"
        self.certificates = make_certificates(folder)
        made = self.certificates
        tls = ["--tls-cert", str(made.cert), "--tls-key", str(made.key), "--tls-ca", str(made.ca)]
        command = [sys.executable, "-m", "cpmspec", "serve", "--port", "0", "--tls-port", "0", *tls]
        pf = peers.launch("pf", command, folder / "pf.log", "cpmspec-pf ready ")
        legs = ",".join(f"{leg}={pf.said[leg]}" for leg in ("udp", "tcp", "tls"))
        self.kamailio = peers.start("kamailio_core.py", "--domain", DOMAIN, "--psi", PSI, "--pf", legs, *tls)
        self.access = {**self.kamailio.addresses("access"), "tls": self.kamailio.address("access-tls")}
        self.closing = contextlib.AsyncExitStack()

    async def linphone(self, identity: str, transport: str = "udp") -> Linphone:
        """linphonec, registered."""
        host, port = self.access[transport]
        core = f"{transport}={host_text(host)}:{port}"
        options = ["--core", core, "--identity", identity, "--ca", self.certificates.ca]
        peer = self.peers.start("linphone.py", *options)
        reader, writer = await asyncio.open_connection(*peer.address("commands"), limit=1 << 20)
        self.closing.push_async_callback(writer.wait_closed)
        self.closing.callback(writer.close)
        return Linphone(peer, reader, writer)

    async def client(self, identity: str) -> Client:
        """Our own client, not yet registered."""
        client = Client(no_record, uri=identity, core=self.core, domain=DOMAIN, psi=PSI)
        self.closing.push_async_callback(client.close)
        await client.start()
        return client

    async def originator(self, identity: str) -> Originator:
        """Somebody who sends and is not registered."""
        originator = Originator(no_record, uri=identity, core=self.core)
        self.closing.push_async_callback(originator.close)
        await originator.start()
        return originator

    @property
    def core(self) -> Hop:
        return Hop("udp", *self.access["udp"])


def no_record(frame: Frame) -> None:
    """What our own clients send and take is not kept here."""


@pytest.fixture
async def scene(peers: Peers) -> AsyncIterator[Scene]:
    require("kamailio", "linphonec")
    made = Scene(peers)
    yield made
    await made.closing.aclose()


@dataclass(frozen=True)
class Delivered:
    """One deferred message as it was delivered: the stored headers, and the part with what was sent."""

    headers: Headers
    content: Part


async def fetch(client: Client, count: int) -> list[Delivered]:
    """Register, be told of so many messages, retrieve them, and see that nothing waits afterwards."""
    assert await client.register() == 200
    notification = await client.wait_notification(WITHIN)
    assert notification is not None
    assert notification.content_type == MEDIA_TYPE
    assert len(parse_summary(notification.body).messages) == count

    session = await client.retrieve()
    assert session.failure is None
    async with asyncio.timeout(WITHIN):
        await session.ended.wait()
    assert session.bye_received.is_set()
    delivered = [taken_apart(message) for message in session.received]
    assert len(delivered) == count

    nothing = await client.retrieve()
    assert nothing.failure == 480
    return delivered


def taken_apart(message: ReceivedMessage) -> Delivered:
    multipart = parse_multipart(message.content_type, message.body)
    assert not multipart.violations
    fragment, content = multipart.parts
    assert fragment.content_type.full == "message/sipfrag"
    return Delivered(parse_section(fragment.body).headers, content)


@pytest.mark.parametrize("transport", ["udp", "tcp", "tls"])
async def test_what_linphonec_writes_to_somebody_away_comes_later(scene: Scene, transport: str) -> None:
    linphone = await scene.linphone(ALICE, transport)
    sent = [await linphone.chat(BOB, text) for text in TEXTS]
    assert [one.state for one in sent] == ["Delivered"] * len(TEXTS)

    delivered = await fetch(await scene.client(BOB), len(TEXTS))
    for got, one, text in zip(delivered, sent, TEXTS, strict=True):
        assert {name: got.headers.get_all(name) for name in STORED} == {
            name: one.headers.get_all(name) for name in STORED
        }
        assert got.headers.get_all("P-Asserted-Identity") == (f"<{ALICE}>",)
        assert got.content.headers.get("Content-Type") == "text/plain"
        assert got.content.body == text.encode()


async def test_what_is_too_long_for_udp_reaches_the_pf_over_tcp(scene: Scene) -> None:
    """linphonec itself sends any length over UDP; from the core on RFC 3261 18.1.1 is kept."""
    linphone = await scene.linphone(ALICE, "udp")
    long = await linphone.chat(BOB, TEXTS[-1])
    assert (long.state, long.size > 1300) == ("Delivered", True)
    said = scene.kamailio.log.read_text(encoding="utf-8", errors="replace")
    assert f"sent MESSAGE {long.headers.get('Call-ID')} by tcp" in said


async def test_linphonec_comes_back_and_what_it_cannot_take_stays(scene: Scene) -> None:
    """A client without MSRP refuses the notification; what waits goes to the next client of the same user.

    A message that finds linphonec registered goes to it. Its own answer to that, an IMDN in compressed octets, finds
    the sender away and waits for him.
    """
    alice = await scene.originator(ALICE)
    first = await alice.pager(BOB, b"first")
    assert first.status == 202

    linphone = await scene.linphone(BOB)
    await linphone.until(re.compile(rb"^SIP/2.0 415 "))
    second = await alice.pager(BOB, "sécond".encode())
    assert second.status == 200
    await linphone.until(re.compile(rb"^SIP/2.0 202 "))
    scene.peers.stop(linphone.peer)

    [imdn] = await fetch(await scene.client(ALICE), 1)
    assert imdn.headers.get_all("From")[0].startswith(f"<{BOB}>")
    assert imdn.content.headers.get("Content-Type") == "message/imdn+xml"
    assert imdn.content.headers.get("Content-Encoding") == "deflate"
    told = parse_imdn(zlib.decompress(imdn.content.body))
    assert (told.message_id, told.status, told.violations) == (second.call_id, "delivered", ())

    [waiting] = await fetch(await scene.client(BOB), 1)
    assert waiting.headers.get("Call-ID") == first.call_id
    assert waiting.content.body == b"first"
