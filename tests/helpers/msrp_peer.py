"""Connections to fixtures/peers/kamailio_msrp.py of which every octet is read again: by our parsers, and by Kamailio.

Kamailio's 200 tells in ``X-Read-...`` headers what Kamailio read in the SEND. :func:`our_reading` makes the same table
from our parser's frame, :func:`their_reading` takes Kamailio's: the two are to be equal.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from cpmspec.net.msrp import MsrpConnection, connect_msrp
from cpmspec.net.tap import Address, TapEvent
from cpmspec.net.tls import client_context
from cpmspec.protocol.msrp_receiver import ForSender, MsrpReceiver
from cpmspec.protocol.msrp_sender import MsrpSender, SenderEvent
from cpmspec.sut.certificates import Certificates, make_certificates
from cpmspec.wire.msrp import FrameEnd, MsrpEvent, MsrpFrame, MsrpFrameStream, Unreadable, new_session_id
from cpmspec.wire.uri import host_text
from peers import Peers, require

#: seconds for anything that is waited for
PATIENCE = 30.0
#: sizes of the pieces in which what arrived is fed to our parser once more
ODD_PIECES = (1, 2, 3, 5, 17, 63, 64, 65, 512, 1459, 4096)
_MARK = "X-Read-"


def _sha256(octets: bytes) -> str:
    return hashlib.sha256(octets).hexdigest()


def our_reading(frame: MsrpFrame) -> dict[str, str]:
    """What our parser read in a request, in the words of kamailio_msrp.cfg.

    Kamailio counts the CRLF before the end-line to the body. By RFC 4975 9 (``data CRLF``) it is no part of it.
    """
    to_path, from_path, octets = frame.to_path, frame.from_path, frame.octets()
    next_hop = to_path[1] if len(to_path) > 1 else ""
    body = None if frame.body is None else frame.body + b"\r\n"
    return {
        "First-Line": frame.head.raw.partition(b"\n")[0].rstrip(b"\r").decode(),
        "Method": frame.method or "",
        "Transaction": frame.transaction_id,
        "To": f"{to_path[0]} {next_hop} {to_path[-1]} {len(to_path) - 1}",
        "From": f"{from_path[0]} {from_path[-1]} {len(from_path)}",
        "Session": to_path[0].partition("://")[2].partition("/")[2].partition(";")[0],
        "Message-ID": frame.message_id or "",
        "Byte-Range": "" if frame.byte_range is None else str(frame.byte_range),
        "Success-Report": frame.success_report or "",
        "Failure-Report": frame.failure_report or "",
        "Content-Type": frame.content_type or "",
        "Headers": _sha256(frame.headers.octets()),
        "Body": "0" if body is None else f"{len(body)} {_sha256(body)}",
        "Frame": f"{len(octets)} {_sha256(octets)}",
        "Flag": frame.flag,
    }


def their_reading(answer: MsrpFrame) -> dict[str, str]:
    """What Kamailio read in the request that it answers."""
    return {header.name[len(_MARK) :]: header.value for header in answer.headers if header.name.startswith(_MARK)}


def frames(octets: bytes) -> list[MsrpFrame]:
    """The frames in octets that hold nothing else."""
    stream = MsrpFrameStream()
    return _only_frames([*stream.feed(octets), *stream.close()])


def frames_of_pieces(octets: bytes, chance: random.Random) -> list[MsrpFrame]:
    """As :func:`frames`, fed in pieces of odd sizes."""
    stream = MsrpFrameStream()
    found = [frame for piece in _pieces(octets, chance) for frame in stream.feed(piece)]
    return _only_frames([*found, *stream.close()])


def _only_frames(found: list[MsrpFrame | Unreadable]) -> list[MsrpFrame]:
    whole = [frame for frame in found if isinstance(frame, MsrpFrame) and frame.flag]
    assert len(whole) == len(found), found
    return whole


def _pieces(octets: bytes, chance: random.Random) -> Iterator[bytes]:
    at = 0
    while at < len(octets):
        size = chance.choice(ODD_PIECES)
        yield octets[at : at + size]
        at += size


@dataclass(frozen=True)
class Exchange:
    """A request as our parser reads the octets that were sent, and Kamailio's response to it, if there is one."""

    request: MsrpFrame
    response: MsrpFrame | None

    def check(self) -> None:
        """Kamailio answered 200 to this very transaction, without a fault, and read what we read."""
        assert self.response is not None, self.request
        assert self.response.status == 200, self.response
        assert self.response.violations == ()
        assert (self.response.body, self.response.flag) == (None, "$")
        assert self.response.to_path == self.request.from_path[:1]
        assert self.response.from_path == self.request.to_path[:1]
        assert self.response.message_id == self.request.message_id
        assert their_reading(self.response) == our_reading(self.request)


@dataclass(frozen=True)
class Kamailio:
    """Kamailio with its msrp module: its addresses by ``tcp``, ``tls``, ``tcp6``, ``tls6``."""

    addresses: dict[str, Address]
    certificates: Certificates

    @classmethod
    def start(cls, peers: Peers, folder: Path) -> Kamailio:
        """Start it; skips the test if it is not installed."""
        require("kamailio")
        made = make_certificates(folder / "tls")
        peer = peers.start("kamailio_msrp.py", "--tls-cert", made.cert, "--tls-key", made.key)
        return cls({transport: peer.address(transport) for transport in peer.said}, made)

    @asynccontextmanager
    async def line(self, transport: str, seed: int = 4975) -> AsyncIterator[Line]:
        """A connection to it."""
        context = client_context(self.certificates.ca) if transport.startswith("tls") else None
        line = await Line.open(self.addresses[transport], client_ssl=context, seed=seed)
        try:
            yield line
        finally:
            line.connection.abort()
            await line.connection.wait_closed()


class Line:
    """A connection to Kamailio; it keeps what crossed it since :meth:`exchanges` was last called."""

    def __init__(self, seed: int) -> None:
        self.sent = bytearray()
        self.received = bytearray()
        self.connection: MsrpConnection
        self.path = ""  #: our URI: the address that the connection has at our end
        self.peer = ""  #: Kamailio's
        self.gone = asyncio.Event()  #: Kamailio ended the connection
        self._chance = random.Random(seed)
        self._ends = 0
        self._arrived = asyncio.Event()

    @classmethod
    async def open(cls, address: Address, *, client_ssl: ssl.SSLContext | None, seed: int) -> Line:
        """Connect."""
        line = cls(seed)
        line.connection = await connect_msrp(*address, ssl=client_ssl, tap=line._tap)
        scheme = "msrp" if client_ssl is None else "msrps"
        line.path, line.peer = (
            f"{scheme}://{host_text(host)}:{port}/{new_session_id()};tcp"
            for host, port in (line.connection.local, address)
        )
        line.connection.on_close = lambda reason: line.gone.set()
        line.listen(lambda event: None)
        return line

    def listen(self, observer: Callable[[MsrpEvent], None]) -> None:
        """Who is told what arrives from now on."""

        def on_event(event: MsrpEvent) -> None:
            observer(event)
            if isinstance(event, FrameEnd):
                self._ends += 1
            self._arrived.set()

        self.connection.on_event = on_event

    async def something(self) -> None:
        """Wait until anything arrives."""
        self._arrived.clear()
        async with asyncio.timeout(PATIENCE):
            await self._arrived.wait()

    async def ask(self, octets: bytes, answers: int) -> None:
        """Write octets at once and wait until so many frames have come back."""
        wanted = self._ends + answers
        await self.connection.send(octets)
        while self._ends < wanted:
            await self.something()

    def exchanges(self) -> list[Exchange]:
        """The requests since the last call with their responses; all of it is read anew in odd pieces."""
        sent, received = bytes(self.sent), bytes(self.received)
        self.sent.clear()
        self.received.clear()
        requests, responses = frames_of_pieces(sent, self._chance), frames_of_pieces(received, self._chance)
        table = {response.transaction_id: response for response in responses if response.status is not None}
        assert len(table) == len(responses), "a transaction was answered twice, or a request came"
        found = [Exchange(request, table.pop(request.transaction_id, None)) for request in requests]
        assert not table, table
        return found

    def _tap(self, event: TapEvent) -> None:
        (self.sent if event.sent else self.received).extend(event.octets)


class Sending:
    """Our sending side on a line, wired as the PF wires it: the session's receiver hands it responses and REPORTs."""

    def __init__(self, line: Line) -> None:
        self.events: list[SenderEvent] = []
        self._line = line
        self._sender: MsrpSender
        self._receiver = MsrpReceiver((line.path,))
        line.listen(self._take)

    async def run(self, sender: MsrpSender) -> list[SenderEvent]:
        """Send everything; the events until each message has its outcome and each response is there."""
        self._sender, self.events = sender, []
        while True:
            while (octets := sender.next_octets(0.0)) is not None:
                await self._line.connection.send(octets)
            self.events += sender.tick(0.0)
            if sender.idle and sender.deadline() is None:
                return self.events
            await self._line.something()

    def _take(self, event: MsrpEvent) -> None:
        for item in self._receiver.receive(event):
            assert isinstance(item, ForSender), item
            self.events += self._sender.receive(item.head, 0.0)
