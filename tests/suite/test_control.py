"""The control channel: admission, replies, errors, events in order, the barrier, the blocking end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from cpmspec.evidence.trace import Address, Frame, Kind, Pco, Role
from cpmspec.suite.control import (
    ControlClient,
    ControlError,
    ControlLine,
    ControlServer,
    Line,
    Peer,
    frame_from_json,
    frame_to_json,
)

TOKEN = "0123456789abcdef"


async def echo(peer: Peer, request: Line) -> Mapping[str, Any]:
    return {"said": request["text"], "to": peer.name}


async def push(peer: Peer, request: Line) -> None:
    for number in range(request["count"]):
        peer.push("frame", number=number)


async def refuse(peer: Peer, request: Line) -> None:
    raise ValueError("not like this")


async def never(peer: Peer, request: Line) -> None:
    await asyncio.Event().wait()


class Bench:
    def __init__(self) -> None:
        self.left: list[str] = []
        self.left_now = asyncio.Event()
        handlers = {"echo": echo, "push": push, "refuse": refuse, "never": never}
        self.server = ControlServer(TOKEN, handlers, self._leave)
        self.events: list[Line] = []
        self.lost = asyncio.Event()
        self.address = ("", 0)

    def _leave(self, peer: Peer) -> None:
        self.left.append(peer.name)
        self.left_now.set()

    async def client(self, token: str = TOKEN) -> ControlClient:
        client = ControlClient(self.events.append, self.lost.set)
        try:
            await client.connect(self.address, token, "gw0")
        except ControlError:
            await client.close()
            raise
        return client


@asynccontextmanager
async def bench() -> AsyncIterator[Bench]:
    bench = Bench()
    bench.address = await bench.server.start()
    try:
        yield bench
    finally:
        await bench.server.close()


async def test_request_and_reply() -> None:
    async with bench() as lab:
        client = await lab.client()
        reply = await client.call("echo", text="grüß\n")
        assert (reply["said"], reply["to"]) == ("grüß\n", "gw0")
        await client.close()
        await asyncio.wait_for(lab.left_now.wait(), 5)
        assert lab.left == ["gw0"]


async def test_only_who_knows_the_token_is_let_in() -> None:
    async with bench() as lab:
        with pytest.raises(ControlError, match="wrong token"):
            await lab.client("wrong")
        assert not lab.server.peers


async def test_refusals_are_told() -> None:
    async with bench() as lab:
        client = await lab.client()
        with pytest.raises(ControlError, match="unknown op"):
            await client.call("dance")
        with pytest.raises(ControlError, match="ValueError: not like this"):
            await client.call("refuse")
        await client.close()


async def test_a_reply_comes_after_all_events_that_preceded_it() -> None:
    async with bench() as lab:
        client = await lab.client()
        await client.call("push", count=500)
        assert [event["number"] for event in lab.events] == list(range(500))
        await client.close()


async def test_a_slow_request_holds_up_no_other() -> None:
    async with bench() as lab:
        client = await lab.client()
        slow = asyncio.ensure_future(client.call("never"))
        assert (await client.call("echo", text="meanwhile"))["said"] == "meanwhile"
        await lab.server.close()
        with pytest.raises(ControlError, match="gone"):
            await asyncio.wait_for(slow, 5)
        await asyncio.wait_for(lab.lost.wait(), 5)
        with pytest.raises(ControlError, match="gone"):
            await client.call("echo", text="too late")
        await client.close()


async def test_the_blocking_end() -> None:
    async with bench() as lab:

        def talk() -> str:
            line = ControlLine(lab.address, TOKEN)
            try:
                lab_said: str = line.call("echo", text="hello")["said"]
                with pytest.raises(ControlError, match="not like this"):
                    line.call("refuse")
                return lab_said
            finally:
                line.close()

        assert await asyncio.to_thread(talk) == "hello"


def test_frames_survive() -> None:
    frame = Frame(
        0, 1_700_000_000_000_001, Pco.STORE, Role.IUT, Role.STORE, "tcp", Address("::1", 4), Address("::1", 5),
        (4242 << 32) + 1, Kind.DATA, bytes(range(256)),
    )  # fmt: skip
    assert frame_from_json(frame_to_json(frame)) == frame
