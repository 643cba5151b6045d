"""Kamailio's msrp module relays what our sender sends to our receiver, and our receiver's REPORT back (RFC 4976).

So our receiver reads frames that Kamailio wrote: the paths are changed, everything else is to be as it was sent. A
relay answers each SEND itself, and what the next hop answers ends at the relay (RFC 4976 6.4.1).
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from cpmspec.actors.msrp_push import ContentSender
from cpmspec.net.msrp import MsrpConnection, MsrpListener, listen_msrp
from cpmspec.net.tap import TapEvent
from cpmspec.net.tls import server_context
from cpmspec.protocol.msrp_receiver import BytesSink, MessageComplete, MsrpReceiver, ReceiverEvent, Reply
from cpmspec.protocol.msrp_sender import BytesContent, MsrpSender, Outcome, OutgoingMessage
from cpmspec.wire.msrp import MsrpEvent, MsrpFrame
from cpmspec.wire.uri import host_text
from msrp_peer import PATIENCE, Kamailio, Line, Sending, frames, frames_of_pieces
from peers import Peers

SEED = 4976
#: octets of a message and of its chunks: small, at the border to interruptible chunks, large
SIZES = [(1, 2048), (2047, 2048), (2049, 2048), (100_000, 2048), (300, 1), (20_000, 997), (1_000_000, 8192)]

pytestmark = pytest.mark.timeout(90)
ways = pytest.mark.parametrize(
    ("transport", "host"), [("tcp", "127.0.0.1"), ("tls", "127.0.0.1"), ("tcp", "::1"), ("tls", "::1")]
)


class Receiving:
    """Our receiving side behind the relay: a listener whose session takes messages and answers."""

    def __init__(self) -> None:
        self.path = ""
        self.octets = bytearray()  #: what Kamailio sent
        self.messages: asyncio.Queue[MessageComplete] = asyncio.Queue()
        self.others: list[ReceiverEvent] = []
        self._listener: MsrpListener
        self._connections: list[MsrpConnection] = []

    @classmethod
    @asynccontextmanager
    async def open(cls, kamailio: Kamailio, transport: str, host: str) -> AsyncIterator[Receiving]:
        """Listen; ``path`` is its URI."""
        self, files = cls(), kamailio.certificates
        context = server_context(files.cert, files.key) if transport == "tls" else None
        self._listener = await listen_msrp(host, 0, self._accept, ssl=context, tap=self._tap)
        scheme = "msrps" if transport == "tls" else "msrp"
        self.path = f"{scheme}://{host_text(host)}:{self._listener.address[1]}/receiver;tcp"
        try:
            yield self
        finally:
            self._listener.close()
            for connection in self._connections:
                connection.abort()
                await connection.wait_closed()

    async def message(self) -> MessageComplete:
        """The next message."""
        async with asyncio.timeout(PATIENCE):
            return await self.messages.get()

    def _accept(self, connection: MsrpConnection) -> None:
        self._connections.append(connection)
        receiver = MsrpReceiver((self.path,))

        def take(item: ReceiverEvent) -> None:
            if isinstance(item, Reply):
                connection.write(item.octets)
            elif isinstance(item, MessageComplete):
                connection.write(b"".join(item.answers))
                self.messages.put_nowait(item)
            else:
                self.others.append(item)

        def on_event(event: MsrpEvent) -> None:
            for item in receiver.receive(event):
                take(item)

        connection.on_event = on_event

    def _tap(self, event: TapEvent) -> None:
        if not event.sent:
            self.octets += event.octets


def as_relayed(frame: MsrpFrame) -> bytes:
    """What a relay makes of a frame: the first URI of To-Path becomes the first of From-Path (RFC 4976 6.4.1)."""
    old, (first, *others) = frame.octets(), frame.to_path
    to_path, from_path = f"To-Path: {' '.join(frame.to_path)}\r\n", f"From-Path: {' '.join(frame.from_path)}\r\n"
    new_to, new_from = f"To-Path: {' '.join(others)}\r\n", f"From-Path: {' '.join([first, *frame.from_path])}\r\n"
    assert (to_path + from_path).encode() in old
    return old.replace((to_path + from_path).encode(), (new_to + new_from).encode(), 1)


async def send(line: Line, path: tuple[str, ...], name: str, octets: bytes, size: int) -> None:
    """By the sending side of the PF: done when each chunk is answered and a REPORT covers every octet."""
    sender = MsrpSender(path, (line.path,), chunk_size=size)
    sender.submit(OutgoingMessage(name, "application/octet-stream", BytesContent(octets), success_report=True))
    assert (await Sending(line).run(sender))[-1] == Outcome(name, True, 200)


async def push(line: Line, path: tuple[str, ...], name: str, octets: bytes, size: int) -> None:
    """By the sending side of the originator, likewise."""
    headers = {"Message-ID": name, "Success-Report": "yes"}
    sender = ContentSender(line.path, octets, "application/octet-stream", headers, chunk_size=size)
    async with asyncio.timeout(PATIENCE):
        await sender.run(line.connection, path)
    assert set(sender.statuses) == {200}
    assert sender.success_reported


@ways
async def test_what_kamailio_relays_is_put_together_again(
    peers: Peers, tmp_path: Path, transport: str, host: str
) -> None:
    kamailio = Kamailio.start(peers, tmp_path)
    async with kamailio.line(transport) as line, Receiving.open(kamailio, transport, host) as receiving:
        path, chance = (line.peer, receiving.path), random.Random(SEED)
        for number, ((total, size), by) in enumerate(itertools.product(SIZES, (send, push))):
            octets, name = chance.randbytes(total), f"message-{number}"
            await by(line, path, name, octets, size)
            message = await receiving.message()
            assert isinstance(message.sink, BytesSink)
            assert (message.message_id, message.size, message.sink.value()) == (name, total, octets)
            assert message.head.from_path == (line.peer, line.path)

            sent, came = frames(bytes(line.sent)), frames_of_pieces(bytes(receiving.octets), chance)
            assert [frame.octets() for frame in came] == [as_relayed(frame) for frame in sent]
            assert all(frame.violations == () for frame in came)
            *answers, report = sorted(frames(bytes(line.received)), key=lambda frame: frame.is_request)
            assert {answer.transaction_id for answer in answers} == {frame.transaction_id for frame in sent}
            assert (report.method, report.to_path, report.from_path) == (
                "REPORT",
                (line.path,),
                (line.peer, receiving.path),
            )
            assert (report.message_id, report.status_header, report.violations) == (name, ("000", 200, "OK"), ())
            for kept in (line.sent, line.received, receiving.octets):
                kept.clear()
        assert receiving.others == []
