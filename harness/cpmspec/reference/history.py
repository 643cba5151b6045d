"""Record CPM Conversation History (8.6): delivered messages go into the user's message store, later if need be.

The queue is the store's: a message to be recorded is marked in the same transaction that ends its waiting. Recording
has no way back into delivery.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import re
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import partial
from typing import TYPE_CHECKING, ParamSpec, TypeVar, cast

from cpmspec.reference import message as views
from cpmspec.reference.imap import StoreFailure, Visit
from cpmspec.reference.log import say
from cpmspec.reference.store import DeferredMessage, StoreError
from cpmspec.wire.headers import Header, Headers
from cpmspec.wire.uri import SipUri, parse_uri

if TYPE_CHECKING:
    from cpmspec.reference.pf import Pf

FOLDER = "Messages"
"""Where messages go that belong to no conversation and no contribution."""
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 60.0
"""Seconds before the first and at most before further attempts; each pause doubles."""
AT_ONCE = 8
"""Accounts that are recorded to at the same time."""

_LONG_LINE = re.compile(rb"[^\n]{999,}")
_BARE = re.compile(rb"\r(?!\n)|(?<!\r)\n|\0")
_COPIED = ("Subject", "Call-ID", "Conversation-ID", "Contribution-ID", "InReplyTo-Contribution-ID")

P = ParamSpec("P")
T = TypeVar("T")


async def aside(work: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
    """Run blocking work in a thread of its own: unlike those of an executor it does not keep the server from ending."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: Exception | None) -> None:
        if not done.done():
            done.set_exception(error) if error is not None else done.set_result(cast("T", result))
        elif isinstance(result, Visit):  # whoever asked for it has gone: it leaves too
            threading.Thread(target=result.close, name="history", daemon=True).start()

    def run() -> None:
        result, failure = None, None
        try:
            result = work(*arguments, **named)
        except (StoreFailure, StoreError, ValueError) as error:
            failure = error
        with suppress(RuntimeError):  # the server has ended meanwhile
            loop.call_soon_threadsafe(settle, result, failure)

    threading.Thread(target=run, name="history", daemon=True).start()
    return await done


class History:
    """One worker for each user with something to record."""

    def __init__(self, pf: Pf) -> None:
        self.pf = pf
        self._workers: dict[str, asyncio.Task[None]] = {}
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._doubtful: set[int] = set()

    def wanted(self, user: str) -> bool:
        """The user's history recording setting, read at completion of a delivery."""
        return self.pf.config.history.host is not None and self.pf.users.history(user)

    def resume(self) -> None:
        """After a start: whatever is marked may have been appended already, so it is looked for first."""
        if self.pf.config.history.host is None:
            return
        for user in self.pf.store.users_recording():
            self._doubtful.update(message.id for message in self.pf.store.recording(user))
            self.wake(user)

    def wake(self, user: str) -> None:
        """There is something to record for the user."""
        worker = self._workers.get(user)
        if worker is None or worker.done():
            self._workers[user] = self.pf.tasks.start(self._work(user), "history")

    async def close(self) -> None:
        """Stop; what is left is recorded after the next start."""
        workers = list(self._workers.values())
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)

    async def _work(self, user: str) -> None:
        pause = FIRST_PAUSE
        while messages := self.pf.store.recording(user):
            try:
                async with self._slots:
                    await self.record_all(user, messages)
                pause = FIRST_PAUSE
            except (StoreFailure, StoreError) as error:
                say(f"history waits {pause:g} s: {error}", user=user, level=logging.WARNING)
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
        del self._workers[user]

    async def record_all(self, user: str, messages: Sequence[DeferredMessage]) -> None:
        """Record messages over one connection.

        :raises StoreFailure: the message store refused or vanished; what was not recorded stays marked.
        """
        visit = await aside(self._enter, user)
        try:
            for message in messages:
                await self.record_one(visit, message)
        finally:
            await aside(visit.close)

    async def record_one(self, visit: Visit, message: DeferredMessage) -> None:
        """Append one message, unless an earlier attempt of unknown outcome did."""
        folder, octets = self.folder(message), self.object_of(message)
        there = message.id in self._doubtful and await aside(visit.holds, folder, self.unique(message))
        if not there:
            self._doubtful.add(message.id)
            await aside(visit.append, folder, octets, message.received)
        await self.pf.store.recorded(message)
        self._doubtful.discard(message.id)
        say("recorded in the history", user=message.user, call_id=views.sip_headers(message).get("call-id"))

    def account(self, user: str) -> str:
        """The user's account at the message store."""
        uri = parse_uri(user)
        name, host = (uri.user or "", uri.host) if isinstance(uri, SipUri) else (user.partition(":")[2], "")
        return self.pf.config.history.account.format(user=name, domain=host, uri=user)

    def folder(self, message: DeferredMessage) -> str:
        """One folder for each conversation; without a Conversation-ID by Contribution-ID, else a common one."""
        headers = views.sip_headers(message)
        return headers.get("Conversation-ID") or headers.get("Contribution-ID") or FOLDER

    def unique(self, message: DeferredMessage) -> str:
        """The object's Message-ID (RFC 5322 3.6.4): the same in every attempt, that of no other object."""
        return f"<{message.content:016x}@{self.pf.config.domain}>"

    def headers_of(self, message: DeferredMessage) -> Headers:
        """The object's headers: those stored that say who wrote what to whom, and the message's identifiers."""
        stored = views.sip_headers(message)
        pairs = [
            ("From", views.address(stored.get("from"))),
            ("To", views.address(stored.get("to"))),
            ("Date", format_datetime(datetime.fromtimestamp(message.received, UTC))),
            ("Message-ID", self.unique(message)),
        ]
        pairs += [(name, value) for name in _COPIED if (value := stored.get(name)) is not None]
        if not views.private(stored):
            pairs += [("P-Asserted-Identity", value) for value in stored.get_all("P-Asserted-Identity")]
        imdn = views.imdn_identifier(message, self.pf.store.content(message))
        if imdn is not None:
            pairs.append(("imdn.Message-ID", imdn))
        msrp = views.msrp_headers(message).get("Message-ID")
        if msrp is not None:
            pairs.append(("MSRP-Message-ID", msrp))
        return Headers(Header.make(name, value) for name, value in pairs)

    def object_of(self, message: DeferredMessage) -> bytes:
        """The recorded object: an RFC 5322 message whose body is the content, recoverable octet for octet."""
        content = self.pf.store.content(message)
        octets = content.read(0, content.size)
        described = Headers.of(("MIME-Version", "1.0"), *views.content_headers(message))
        plain = not _BARE.search(octets) and not _LONG_LINE.search(octets)
        if plain:
            encoding = "7bit" if octets.isascii() else "8bit"
        else:
            # RFC 2045 6.4 has no base64 around a multipart, but RFC 3501 9 no NUL in a literal: the octets win
            encoding, octets = "base64", base64.encodebytes(octets).replace(b"\n", b"\r\n")
        section = self.headers_of(message).octets() + described.octets()
        return section + Header.make("Content-Transfer-Encoding", encoding).raw + b"\r\n" + octets

    def _enter(self, user: str) -> Visit:
        told = self.pf.config.history
        hook = None if self.pf.parts.outbound is None else partial(self.pf.parts.outbound, "store")
        return Visit(told.host or "", told.port, self.account(user), told.password, hook)
