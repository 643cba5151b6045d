"""The one thread that writes to a SQLite database: jobs that wait together are committed together (group commit)."""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from cpmspec.reference.store import StoreError

T = TypeVar("T")
Job = Callable[[sqlite3.Connection], Any]

BATCH = 256
"""At most so many jobs share one transaction: bounds the time until the first of them is durable."""


class Writer:
    """Runs jobs in the order given; a job's future is done when the transaction that holds it has been committed.

    If a commit, or any job of a transaction, fails, the whole transaction is rolled back and every job in it fails
    with :class:`StoreError`: nobody is told that something is durable which is not.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._jobs: queue.SimpleQueue[tuple[Job, Future[Any]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)
        self._closed = False
        self._thread.start()

    def submit(self, job: Callable[[sqlite3.Connection], T]) -> Future[T]:
        """Queue a job; its result or :class:`StoreError` comes with the future."""
        future: Future[T] = Future()
        if self._closed:
            future.set_exception(StoreError("the store is closed"))
        else:
            self._jobs.put((job, future))
        return future

    async def do(self, job: Callable[[sqlite3.Connection], T]) -> T:
        """Run a job and wait until it is durable."""
        return await asyncio.wrap_future(self.submit(job))

    async def close(self) -> None:
        """Do what is queued, then end the thread and close the connection."""
        if self._closed:
            return
        self._closed = True
        self._jobs.put(None)
        await asyncio.to_thread(self._thread.join)
        self._connection.close()

    def _run(self) -> None:
        ending = False
        while not ending:
            batch = []
            item = self._jobs.get()
            while item is not None:
                batch.append(item)
                if len(batch) == BATCH or self._jobs.empty():
                    break
                item = self._jobs.get()
            ending = item is None
            if batch:
                self._transaction(batch)

    def _transaction(self, batch: list[tuple[Job, Future[Any]]]) -> None:
        results = []
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            results = [job(self._connection) for job, _ in batch]
            self._connection.execute("COMMIT")
        except (sqlite3.Error, OverflowError, ValueError) as error:
            if self._connection.in_transaction:
                self._connection.rollback()
            for _, future in batch:
                if future.set_running_or_notify_cancel():
                    future.set_exception(StoreError(str(error)))
            return
        for (_, future), result in zip(batch, results, strict=True):
            if future.set_running_or_notify_cancel():
                future.set_result(result)
