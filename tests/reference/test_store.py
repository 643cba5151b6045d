"""The store keeps its promises: durable when it says so, all or nothing, bounded memory."""

from __future__ import annotations

import asyncio
import itertools
import random
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from cpmspec.reference.store import Mode, NewMessage, Registration, StoreError
from cpmspec.reference.store.sqlite import PIECE, SqliteStore

CRASH = """
import asyncio, os, sys
from pathlib import Path
from cpmspec.reference.store import Mode, NewMessage, Registration
from cpmspec.reference.store.sqlite import SqliteStore

async def main():
    store = SqliteStore(Path(sys.argv[1]))
    message = NewMessage("sip:a@x", Mode.PAGER, 1.5, None, b"start", b"headers", None, "text/plain")
    await store.defer(message, b"kept")
    await store.register(Registration("sip:a@x", "sip:a@x", "sip:core", 5.0))
    draft = store.draft()
    draft.write(0, b"x" * 300_000)
    await asyncio.sleep(0.01)
    os._exit(9)

asyncio.run(main())
"""


def message(user: str = "sip:a@x", received: float = 1.0, expires: float | None = None) -> NewMessage:
    return NewMessage(user, Mode.PAGER, received, expires, b"start", b"headers", None, "text/plain")


async def test_what_was_confirmed_survives_a_crash_and_drafts_do_not(tmp_path: Path) -> None:
    crashed = subprocess.run([sys.executable, "-c", CRASH, str(tmp_path)], check=False)  # noqa: ASYNC221
    assert crashed.returncode == 9
    store = SqliteStore(tmp_path)
    (kept,) = store.waiting("sip:a@x", 0.0)
    assert (kept.received, store.content(kept).read(0, 99)) == (1.5, b"kept")
    assert [entry.core for entry in store.registrations()] == ["sip:core"]
    await store.close()
    with sqlite3.connect(tmp_path / "messages.sqlite3") as connection:
        assert connection.execute("SELECT count(*) FROM pieces").fetchone() == (1,)
    connection.close()


async def test_messages_come_oldest_first_by_user_and_unexpired(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)
    for received in (3.0, 1.0, 2.0):
        await store.defer(message(received=received), b"")
    await store.defer(message(received=0.5, expires=10.0), b"over")
    await store.defer(message("sip:b@x"), b"")
    assert [one.received for one in store.waiting("sip:a@x", 9.0)] == [0.5, 1.0, 2.0, 3.0]
    assert [one.received for one in store.waiting("sip:a@x", 10.0)] == [1.0, 2.0, 3.0]
    assert await store.expire(10.0) == 1
    assert await store.expire(10.0) == 0
    await store.close()


async def test_a_message_goes_when_it_neither_waits_nor_is_to_be_recorded(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)
    stored = await store.defer(message(), b"content")
    await store.delivered(stored, record=True)
    assert not store.waiting("sip:a@x", 0.0)
    assert store.users_recording() == ["sip:a@x"]
    assert store.content(store.recording("sip:a@x")[0]).read(0, 99) == b"content"
    await store.recorded(stored)
    assert not store.users_recording()
    other = await store.defer(message(), b"content")
    await store.record(other)
    await store.recorded(other)
    assert [one.id for one in store.waiting("sip:a@x", 0.0)] == [other.id]
    await store.remove(other)
    assert not store.waiting("sip:a@x", 0.0)
    await store.close()


@pytest.mark.parametrize("seed", range(4))
async def test_pieces_written_in_any_order_and_overlap_read_back(tmp_path: Path, seed: int) -> None:
    store, chance = SqliteStore(tmp_path), random.Random(seed)
    content = bytearray(chance.randbytes(PIECE * 2 + 777))
    draft = store.draft()
    cuts = sorted({0, len(content), *(chance.randrange(len(content)) for _ in range(40))})
    spans = list(itertools.pairwise(cuts))
    if seed:
        chance.shuffle(spans)
        draft.write(100, b"to be overwritten")
    for start, end in spans:
        draft.write(start, bytes(content[start:end]))
        await draft.drain()
    stored = await draft.commit(message(), len(content))
    read = store.content(stored)
    assert read.read(0, len(content)) == content
    for _ in range(20):
        start = chance.randrange(len(content))
        assert read.read(start, 3000) == content[start : start + 3000]
    await store.close()


async def test_writes_that_wait_together_are_committed_together(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)
    stored = await asyncio.gather(*(store.defer(message(), b"%d" % number) for number in range(300)))
    assert len({one.id for one in stored}) == 300
    await store.close()
    with pytest.raises(StoreError, match="closed"):
        await store.defer(message(), b"")


async def test_a_failing_write_is_told_and_changes_nothing(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)
    first = store.draft()
    stored = await first.commit(message(), 0)
    with pytest.raises(StoreError):
        await first.commit(message(), 0)  # the same content twice
    with pytest.raises(StoreError):
        await store.defer(message("sip:\udcff@x"), b"")  # no text that a database takes
    assert [one.id for one in store.waiting("sip:a@x", 0.0)] == [stored.id]
    await store.defer(message(), b"and it goes on")
    await store.close()


def test_another_schema_is_refused(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "messages.sqlite3") as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(StoreError, match="found schema version 99"):
        SqliteStore(tmp_path)


def test_a_folder_that_cannot_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError):
        SqliteStore(tmp_path / "file")


async def test_a_folder_is_one_servers_at_a_time(tmp_path: Path) -> None:
    first = SqliteStore(tmp_path)
    draft = first.draft()
    draft.write(0, b"under way")
    await draft.drain()
    with pytest.raises(StoreError, match="another server uses this folder"):
        SqliteStore(tmp_path)
    stored = await draft.commit(message(), 9)
    assert first.content(stored).read(0, 9) == b"under way"
    await first.close()
    await SqliteStore(tmp_path).close()


async def test_registrations_are_replaced_and_removed(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)
    for expires in (1.0, 2.0):
        await store.register(Registration("sip:a@x", "sip:A@x", "sip:core", expires))
    assert store.registrations() == [Registration("sip:a@x", "sip:A@x", "sip:core", 2.0)]
    await store.deregister("sip:a@x")
    assert store.registrations() == []
    await store.close()
