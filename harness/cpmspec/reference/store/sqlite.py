"""The store on SQLite: write-ahead log, ``synchronous=FULL``, one writer thread, content in pieces.

Reads happen on the caller's thread (the event loop's), each of them one indexed query; writes go through
:class:`cpmspec.reference.store.writer.Writer`.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import secrets
import sqlite3
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import IO, Any

from cpmspec.reference.store import DeferredMessage, Mode, NewMessage, Registration, StoreError
from cpmspec.reference.store.writer import Writer

SCHEMA_VERSION = 1
PIECE = 65536
"""Octets of content in one row."""
BACKLOG = 8
"""Pieces of one draft that may be under way to the disk before :meth:`SqliteDraft.drain` waits."""

SCHEMA = """
CREATE TABLE messages (
    id INTEGER PRIMARY KEY AUTOINCREMENT, user TEXT NOT NULL, mode TEXT NOT NULL, received REAL NOT NULL, expires REAL,
    start_line BLOB NOT NULL, sip_headers BLOB NOT NULL, msrp_headers BLOB, content_type BLOB,
    content INTEGER NOT NULL UNIQUE, size INTEGER NOT NULL, waiting INTEGER NOT NULL, recording INTEGER NOT NULL);
CREATE INDEX messages_waiting ON messages (user, received, id) WHERE waiting;
CREATE INDEX messages_recording ON messages (user, received, id) WHERE recording;
CREATE INDEX messages_expiring ON messages (expires) WHERE waiting AND expires IS NOT NULL;
CREATE TABLE pieces (content INTEGER NOT NULL, number INTEGER NOT NULL, octets BLOB NOT NULL);
CREATE UNIQUE INDEX pieces_order ON pieces (content, number);
CREATE TABLE drafts (content INTEGER PRIMARY KEY);
CREATE TABLE registrations (user TEXT PRIMARY KEY, uri TEXT NOT NULL, core TEXT NOT NULL, expires REAL NOT NULL);
"""

# in the order in which _message takes them
_COLUMNS = "user, mode, received, expires, start_line, sip_headers, msrp_headers, content_type, id, content, size"


class SqliteStore:
    """A :class:`cpmspec.reference.store.Store` in the folder given, which is made if need be.

    The folder is one server's at a time: a second one would drop the drafts of the first and deliver what it delivers.

    :raises StoreError: the folder or the file cannot be used, another server has it, or another version wrote it.
    """

    def __init__(self, folder: Path) -> None:
        path = folder / "messages.sqlite3"
        with contextlib.ExitStack() as opened:
            try:
                folder.mkdir(parents=True, exist_ok=True)
                self._lock = opened.enter_context(_locked(folder / "lock"))
                writing = opened.enter_context(contextlib.closing(_connect(path)))
                _migrate(writing, path)
                self._reading = opened.enter_context(contextlib.closing(_connect(path)))
                self._reading.execute("PRAGMA query_only = ON")
            except (OSError, sqlite3.Error) as error:
                raise StoreError(f"{path}: {error}") from error
            opened.pop_all()
        self._writer = Writer(writing)

    async def defer(self, message: NewMessage, content: bytes) -> DeferredMessage:
        """Take a message whose content is at hand."""
        key = secrets.randbits(62)

        def job(connection: sqlite3.Connection) -> DeferredMessage:
            _put(connection, key, 0, content)
            return _insert(connection, message, key, len(content))

        return await self._writer.do(job)

    def draft(self) -> SqliteDraft:
        """Begin a message whose content comes in pieces."""
        return SqliteDraft(self._writer)

    def waiting(self, user: str, now: float) -> Sequence[DeferredMessage]:
        """The user's undelivered, unexpired messages, oldest first."""
        condition = "waiting AND user = ? AND (expires IS NULL OR expires > ?) ORDER BY received, id"
        return self._select(condition, (user, now))

    def users_recording(self) -> Sequence[str]:
        """The users with messages still to be recorded in the history."""
        return [user for (user,) in self._reading.execute("SELECT DISTINCT user FROM messages WHERE recording")]

    def recording(self, user: str) -> Sequence[DeferredMessage]:
        """The user's messages still to be recorded in the history, oldest first; a good many, perhaps not all."""
        return self._select("recording AND user = ? ORDER BY received, id LIMIT 100", (user,))

    def content(self, message: DeferredMessage) -> SqliteContent:
        """The content of a message."""
        return SqliteContent(self._reading, message.content, message.size)

    async def delivered(self, message: DeferredMessage, *, record: bool) -> None:
        """The message waits no more: it is gone, or only kept until it is recorded."""
        await self._writer.do(lambda connection: _mark(connection, message, waiting=False, recording=record or None))

    async def record(self, message: DeferredMessage) -> None:
        """Mark for recording, whatever else happens to the message."""
        await self._writer.do(lambda connection: _mark(connection, message, recording=True))

    async def recorded(self, message: DeferredMessage) -> None:
        """It is in the history: gone, unless it still waits."""
        await self._writer.do(lambda connection: _mark(connection, message, recording=False))

    async def remove(self, message: DeferredMessage) -> None:
        """Drop the message altogether."""
        await self._writer.do(lambda connection: _mark(connection, message, waiting=False, recording=False))

    async def expire(self, now: float) -> int:
        """Drop what expired undelivered; tells how many (RFC 3428 7)."""

        def job(connection: sqlite3.Connection) -> int:
            query = f"SELECT {_COLUMNS} FROM messages WHERE waiting AND expires IS NOT NULL AND expires <= ?"
            over = [_message(row) for row in connection.execute(query, (now,)).fetchall()]
            for message in over:
                _mark(connection, message, waiting=False)
            return len(over)

        return await self._writer.do(job)

    async def register(self, registration: Registration) -> None:
        """Add or refresh a registration."""
        row = (registration.user, registration.uri, registration.core, registration.expires)
        query = "INSERT OR REPLACE INTO registrations VALUES (?, ?, ?, ?)"
        await self._writer.do(lambda connection: connection.execute(query, row).rowcount)

    async def deregister(self, user: str) -> None:
        """Remove a registration."""
        query = "DELETE FROM registrations WHERE user = ?"
        await self._writer.do(lambda connection: connection.execute(query, (user,)).rowcount)

    def registrations(self) -> Sequence[Registration]:
        """All registrations, over ones included."""
        rows = self._reading.execute("SELECT user, uri, core, expires FROM registrations ORDER BY user")
        return [Registration(*row) for row in rows]

    async def close(self) -> None:
        """Finish what is under way and close."""
        await self._writer.close()
        self._reading.close()
        self._lock.close()

    def _select(self, condition: str, values: tuple[Any, ...]) -> list[DeferredMessage]:
        query = f"SELECT {_COLUMNS} FROM messages WHERE {condition}"
        return [_message(row) for row in self._reading.execute(query, values)]


class SqliteDraft:
    """Content on its way in. Adjacent writes are gathered into whole pieces; any order and overlap is legal."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._key = secrets.randbits(62)
        self._start = 0
        self._buffer = bytearray()
        self._under_way: list[Future[None]] = []
        key = self._key
        self._writer.submit(lambda connection: connection.execute("INSERT INTO drafts VALUES (?)", (key,)).rowcount)

    def write(self, offset: int, octets: bytes) -> None:
        """Put octets at a place; what comes later wins (RFC 4975 7.3.1)."""
        if offset != self._start + len(self._buffer):
            self._flush(len(self._buffer))
            self._start = offset
        self._buffer += octets
        whole = (self._start + len(self._buffer)) // PIECE * PIECE - self._start
        if whole > 0:
            self._flush(whole)

    async def drain(self) -> None:
        """Wait until the store has caught up with what was written: the bound on memory."""
        while len(self._under_way) > BACKLOG:
            await self._wait(self._under_way.pop(0))

    async def commit(self, message: NewMessage, size: int) -> DeferredMessage:
        """Make it a deferred message of ``size`` octets, durably."""
        self._flush(len(self._buffer))
        for piece in self._under_way:
            await self._wait(piece)
        self._under_way = []
        return await self._writer.do(lambda connection: _insert(connection, message, self._key, size))

    def discard(self) -> None:
        """Forget it: the message was aborted or never complete."""
        self._buffer.clear()
        self._under_way = []
        key = self._key

        def job(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM pieces WHERE content = ?", (key,))
            connection.execute("DELETE FROM drafts WHERE content = ?", (key,))

        self._writer.submit(job)

    def _flush(self, count: int) -> None:
        if count == 0:
            return
        key, start, octets = self._key, self._start, bytes(self._buffer[:count])
        del self._buffer[:count]
        self._start += count
        self._under_way.append(self._writer.submit(lambda connection: _put(connection, key, start, octets)))

    @staticmethod
    async def _wait(future: Future[None]) -> None:
        await asyncio.wrap_future(future)


class SqliteContent:
    """Stored content, read on demand; the piece read last is kept."""

    def __init__(self, connection: sqlite3.Connection, key: int, size: int) -> None:
        self._size = size
        self._connection = connection
        self._key = key
        self._number = -1
        self._piece = b""

    @property
    def size(self) -> int:
        """All octets there are."""
        return self._size

    def read(self, offset: int, count: int) -> bytes:
        """At most ``count`` octets from ``offset``; fewer only at the end of the content."""
        end = min(offset + count, self.size)
        octets = bytearray()
        while offset < end:
            number, skip = divmod(offset, PIECE)
            if number != self._number:
                self._number, self._piece = number, _piece(self._connection, self._key, number)
            taken = self._piece[skip : skip + end - offset]
            if not taken:
                raise StoreError(f"content {self._key} ends at octet {offset} instead of {self.size}")
            octets += taken
            offset += len(taken)
        return bytes(octets)


def _locked(path: Path) -> IO[bytes]:
    """Take the lock; the kernel gives it back when the file is closed or the process ends, however it ends.

    :raises StoreError: another server holds it.
    """
    lock = path.open("ab")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        lock.close()
        raise StoreError(f"{path.parent}: another server uses this folder") from error
    except OSError:
        lock.close()
        raise
    return lock


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA busy_timeout = 5000")
    return connection


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Bring the file to this version's schema; drop drafts that a crash left behind."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version not in (0, SCHEMA_VERSION):
        raise StoreError(f"{path}: found schema version {version}, expected {SCHEMA_VERSION}")
    if version == 0:
        connection.executescript(f"BEGIN; {SCHEMA} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")
    connection.executescript(
        "BEGIN; DELETE FROM pieces WHERE content IN (SELECT content FROM drafts); DELETE FROM drafts; COMMIT;"
    )


def _piece(connection: sqlite3.Connection, key: int, number: int) -> bytes:
    query = "SELECT octets FROM pieces WHERE content = ? AND number = ?"
    row = connection.execute(query, (key, number)).fetchone()
    return bytes(row[0]) if row is not None else b""


def _put(connection: sqlite3.Connection, key: int, start: int, octets: bytes) -> None:
    """Write octets into the pieces that they touch; a gap before them is filled with zeros until it is written."""
    done = 0
    while done < len(octets):
        number, skip = divmod(start + done, PIECE)
        taken = octets[done : done + PIECE - skip]
        if len(taken) < PIECE:
            old = _piece(connection, key, number)
            taken_to = skip + len(taken)
            merged = old[:skip].ljust(skip, b"\0") + taken + old[taken_to:]
        else:
            merged = taken
        connection.execute("INSERT OR REPLACE INTO pieces VALUES (?, ?, ?)", (key, number, merged))
        done += len(taken)


def _insert(connection: sqlite3.Connection, message: NewMessage, key: int, size: int) -> DeferredMessage:
    kind = None if message.content_type is None else message.content_type.encode("utf-8", "surrogateescape")
    row = (
        message.user, message.mode.value, message.received, message.expires,
        message.start_line, message.sip_headers, message.msrp_headers, kind, key, size,
    )  # fmt: skip
    cursor = connection.execute(
        "INSERT INTO messages (user, mode, received, expires, start_line, sip_headers, msrp_headers, content_type,"
        " content, size, waiting, recording) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1, 0)",
        row,
    )
    connection.execute("DELETE FROM drafts WHERE content = ?", (key,))
    number = int(cursor.lastrowid or 0)
    return _message((*row[:8], number, key, size))


def _message(row: Sequence[Any]) -> DeferredMessage:
    user, mode, received, expires, start, sip, msrp, kind, number, key, size = row
    content_type = None if kind is None else bytes(kind).decode("utf-8", "surrogateescape")
    return DeferredMessage(user, Mode(mode), received, expires, start, sip, msrp, content_type, number, key, size)


def _mark(
    connection: sqlite3.Connection,
    message: DeferredMessage,
    *,
    waiting: bool | None = None,
    recording: bool | None = None,
) -> None:
    """Set what is given; a message that neither waits nor is to be recorded goes."""
    connection.execute(
        "UPDATE messages SET waiting = coalesce(?, waiting), recording = coalesce(?, recording) WHERE id = ?",
        (waiting, recording, message.id),
    )
    gone = connection.execute("DELETE FROM messages WHERE id = ? AND NOT waiting AND NOT recording", (message.id,))
    if gone.rowcount:
        connection.execute("DELETE FROM pieces WHERE content = ?", (message.content,))
