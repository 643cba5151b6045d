"""The chunks that the originator sends, read by our parser: none has a fault of its own."""

from __future__ import annotations

import asyncio

import pytest

from cpmspec.actors.msrp_push import ContentSender
from cpmspec.net.msrp import MsrpConnection, connect_msrp, listen_msrp
from cpmspec.wire.msrp import FrameBegin, FrameEnd, MsrpEvent, MsrpHead, build_response

pytestmark = pytest.mark.timeout(30)


async def pushed(size: int, chunk_size: int | None) -> list[tuple[MsrpHead, FrameEnd]]:
    """Head and end of each chunk of a message, each answered 200."""
    seen: list[tuple[MsrpHead, FrameEnd]] = []
    connections: list[MsrpConnection] = []

    def accept(connection: MsrpConnection) -> None:
        connections.append(connection)
        heads: list[MsrpHead] = []

        def on_event(event: MsrpEvent) -> None:
            if isinstance(event, FrameBegin):
                heads.append(event.head)
            elif isinstance(event, FrameEnd):
                seen.append((heads[-1], event))
                connection.write(build_response(heads[-1], 200, "OK"))

        connection.on_event = on_event

    listener = await listen_msrp("127.0.0.1", 0, accept)
    connection = await connect_msrp(*listener.address)
    sender = ContentSender(
        "msrp://a:1/s;tcp", b"x" * size, "text/plain", {"Message-ID": "m1aa"}, chunk_size=chunk_size
    )  # fmt: skip
    async with asyncio.timeout(20):
        await sender.run(connection, ("msrp://b:2/s;tcp",))
    listener.close()
    for one in (connection, *connections):
        one.close()
        await one.wait_closed()
    return seen


@pytest.mark.parametrize(
    ("size", "chunk_size", "ranges"),
    [
        (5000, 2048, ["1-2048/5000", "2049-4096/5000", "4097-5000/5000"]),
        (5000, 2049, ["1-*/5000", "2050-*/5000", "4099-5000/5000"]),
        (100_000, None, ["1-*/100000"]),
        (0, 2048, ["1-0/0"]),
    ],
)
async def test_a_chunk_of_more_than_2048_octets_can_be_interrupted(
    size: int, chunk_size: int | None, ranges: list[str]
) -> None:
    """RFC 4975 7.1.1: its range-end is ``*``. Found when chunks of every size went to Kamailio."""
    chunks = await pushed(size, chunk_size)
    assert [str(head.byte_range) for head, _ in chunks] == ranges
    assert [end.flag for _, end in chunks] == ["+"] * (len(chunks) - 1) + ["$"]
    assert all(end.violations == () for _, end in chunks)
