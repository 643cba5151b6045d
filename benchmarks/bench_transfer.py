"""Speed of an acknowledged MSRP transfer on loopback, against octets that are just written to a socket.

Both ends run in one event loop, ours and the raw one: our sender and receiver on their connections, each chunk answered
with 200; and two bare :class:`asyncio.Protocol` that write pieces of the chunk's size and count them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from functools import partial

from ratio import Row, compare

from cpmspec.net.msrp import MsrpConnection, connect_msrp, listen_msrp
from cpmspec.net.msrp_runner import MsrpRunner
from cpmspec.protocol.msrp_binding import Bindings
from cpmspec.protocol.msrp_receiver import MessageComplete, MsrpReceiver, ReceiverEvent
from cpmspec.protocol.msrp_sender import MsrpSender, Outcome, OutgoingMessage, SenderEvent
from cpmspec.wire.msrp import MsrpHead

PATHS = "msrp://127.0.0.1:2855/sendersession1;tcp", "msrp://127.0.0.1:2856/receiversession1;tcp"
#: octets of one transfer, by the size of its chunks
SIZES = {65_536: 64 << 20, 2048: 8 << 20}
WINDOW = 32


class Octets:
    """A content that is made as it is read."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._block = bytes(range(256)) * 1024

    def read(self, offset: int, count: int) -> bytes:
        """So many octets, whatever the offset."""
        return self._block[: min(count, self.size - offset)]


class Counter:
    """A sink that only counts."""

    def __init__(self) -> None:
        self.octets = 0

    def write(self, offset: int, octets: bytes) -> None:
        """Count."""
        self.octets += len(octets)

    def close(self) -> None:
        """The message is complete."""

    def abort(self) -> None:
        """It will never be."""


async def transfer(size: int, chunk_size: int) -> None:
    """Send one message, and wait until its last chunk is acknowledged."""
    loop, bindings, sink = asyncio.get_running_loop(), Bindings(), Counter()
    delivered: asyncio.Future[bool] = loop.create_future()
    runners: list[MsrpRunner] = []

    def open_sink(head: MsrpHead) -> Counter:
        return sink

    def accept(connection: MsrpConnection) -> None:
        def tell(event: SenderEvent | ReceiverEvent) -> None:
            if isinstance(event, MessageComplete):
                runners[0].answer(*event.answers)

        receiver = MsrpReceiver(PATHS[1:], open_sink=open_sink)
        runners.append(MsrpRunner(connection, MsrpSender(PATHS[:1], PATHS[1:]), receiver, tell))

    def tell(event: SenderEvent | ReceiverEvent) -> None:
        if isinstance(event, Outcome) and not delivered.done():
            delivered.set_result(event.delivered)

    passive = bindings.add(PATHS[1])
    passive.begin(active=False)
    listener = await listen_msrp("127.0.0.1", 0, accept, bindings=bindings)
    connection = await connect_msrp(*listener.address)
    sender = MsrpSender(PATHS[1:], PATHS[:1], chunk_size=chunk_size, window=WINDOW)
    runner = MsrpRunner(connection, sender, MsrpReceiver(PATHS[:1]), tell)
    runner.submit(OutgoingMessage("message1", "application/octet-stream", Octets(size)))
    if not await delivered or sink.octets != size:
        raise RuntimeError(f"{sink.octets} of {size} octets arrived")
    runner.close()
    await connection.wait_closed()
    listener.close()


class RawSender(asyncio.Protocol):
    """Writes pieces until all is written; stops while the peer takes none."""

    def __init__(self, size: int, piece: int) -> None:
        self._left, self._piece = size, bytes(range(256)) * (piece // 256)
        self._open = True
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self.resume_writing()

    def pause_writing(self) -> None:
        """Wait."""
        self._open = False

    def resume_writing(self) -> None:
        """Go on."""
        self._open = True
        while self._open and self._left:
            self._left -= len(self._piece)
            self._transport.write(self._piece)


class RawReceiver(asyncio.Protocol):
    """Counts what arrives."""

    def __init__(self, size: int, done: asyncio.Future[None]) -> None:
        self._left, self._done = size, done

    def data_received(self, data: bytes) -> None:
        """Count."""
        self._left -= len(data)
        if not self._left:
            self._done.set_result(None)


async def raw(size: int, piece: int) -> None:
    """Write the octets, and wait until the last has arrived."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()
    server = await loop.create_server(lambda: RawReceiver(size, done), "127.0.0.1", 0)
    transport, _ = await loop.create_connection(lambda: RawSender(size, piece), *server.sockets[0].getsockname()[:2])
    await done
    transport.close()
    server.close()


def _run(work: Callable[[int, int], Coroutine[None, None, None]], size: int, piece: int) -> None:
    asyncio.run(work(size, piece))


def rows() -> Iterator[Row]:
    """The transfer at both sizes of chunks."""
    for chunk_size, size in SIZES.items():
        yield compare(
            f"MSRP transfer, chunks of {chunk_size // 1024} KiB, each acknowledged",
            f"asyncio.Protocol, writes of {chunk_size // 1024} KiB",
            partial(_run, transfer, size, chunk_size),
            partial(_run, raw, size, chunk_size),
            goal="at least 0.5" if chunk_size > 2048 else "at least 0.15",
        )


if __name__ == "__main__":
    for row in rows():
        print(row)
