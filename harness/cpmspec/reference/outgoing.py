"""The MSRP side of a delivery session: the sender, its connection, the outcome of each message (RFC 4975 7.1)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from cpmspec.protocol.errors import LocalProtocolError
from cpmspec.protocol.msrp_sender import MsrpSender, Outcome, OutgoingMessage, SenderEvent, Stopped
from cpmspec.reference.log import say
from cpmspec.reference.media import MsrpSession
from cpmspec.reference.store import StoreError
from cpmspec.wire.msrp import MsrpHead, build_response

if TYPE_CHECKING:
    from cpmspec.reference.pf import Pf


class OutgoingSession(MsrpSession):
    """Sends messages; takes responses, REPORTs and the SEND by which an active client binds its connection."""

    def __init__(self, pf: Pf, *, tls: bool, host: str) -> None:
        super().__init__(pf, tls=tls, host=host)
        self.sender: MsrpSender | None = None
        self.stopped = asyncio.Event()
        self._outcomes: asyncio.Queue[Outcome] = asyncio.Queue()
        self._wake = asyncio.Event()
        self._pump: asyncio.Task[None] | None = None
        self._head: MsrpHead | None = None
        self._answers: list[bytes] = []

    def begin(self) -> None:
        """The session stands and its connection is bound: messages may be sent."""
        told = self.pf.config.msrp
        self.sender = self.pf.parts.msrp_sender(
            self.peer_path,
            (self.uri,),
            chunk_size=told.chunk_size or None,
            window=told.window,
            response_timeout=told.response_timer,
        )
        self._pump = self.pf.tasks.start(self._run(self.sender), "MSRP sender")

    def submit(self, message: OutgoingMessage) -> bool:
        """Queue a message; tells whether the session still takes any."""
        if self.sender is None or self.sender.stopped:
            return False
        self.sender.submit(message)
        self._wake.set()
        return True

    async def outcome(self) -> Outcome:
        """The next outcome; there is exactly one for each message that was queued."""
        return await self._outcomes.get()

    def stop(self, reason: str) -> None:
        """Send nothing more: what has no outcome yet was not delivered (RFC 4975 5.4, RFC 3261 15.1)."""
        self.stopped.set()
        if self._pump is not None:
            self._pump.cancel()
        if self.sender is not None:
            self._take(self.sender.fail_all(reason))

    def release(self) -> None:
        """The session is over."""
        self.stop("the session is over")
        super().release()

    def on_begin(self, head: MsrpHead) -> None:
        """A response, a REPORT or a SEND of the client's begins."""
        self._head = head

    def on_data(self, octets: bytes) -> None:
        """The client's content is not taken: the session is one-way."""

    def on_end(self, flag: str) -> None:
        """It is complete: the sender is told of responses and REPORTs; a SEND is answered."""
        head, self._head = self._head, None
        if head is None:
            return
        if head.method == "SEND":
            if head.failure_report != "no" and head.answerable:
                status, comment = (403, "Forbidden") if head.has_body else (200, "OK")
                self._answer(build_response(head, status, comment))
        elif self.sender is not None:
            self._take(self.sender.receive(head, asyncio.get_running_loop().time()))

    def on_lost(self) -> None:
        """The connection is gone, and the session with it (RFC 4975 5.4)."""
        super().on_lost()
        self.stop("the connection was lost")

    def _answer(self, octets: bytes) -> None:
        """Answer now, or when the chunk that is open on the wire was ended (RFC 4975 7.1.1)."""
        if self.sender is not None and self.sender.in_chunk:
            self.sender.interrupt()
            self._answers.append(octets)
        else:
            self.write(octets)

    def _take(self, events: list[SenderEvent]) -> None:
        for event in events:
            if isinstance(event, Outcome):
                self._outcomes.put_nowait(event)
            elif isinstance(event, Stopped):
                say(f"the client stopped the session with {event.status}")
                self.stopped.set()
        self._wake.set()

    async def _run(self, sender: MsrpSender) -> None:
        """Write what the sender has, as fast as the client takes it; keep its timers."""
        loop = asyncio.get_running_loop()
        try:
            while self.connection is not None:
                self._wake.clear()
                octets = sender.next_octets(loop.time())
                if octets is not None:
                    async with asyncio.timeout(self.pf.config.msrp.response_timer):
                        await self.connection.send(octets)
                    if not sender.in_chunk:
                        for answer in self._answers:
                            self.write(answer)
                        self._answers.clear()
                    continue
                try:
                    async with asyncio.timeout_at(sender.deadline()):
                        await self._wake.wait()
                except TimeoutError:
                    self._take(sender.tick(loop.time()))
        except (OSError, StoreError, LocalProtocolError) as error:
            say(f"nothing more can be sent: {error or type(error).__name__}")
            self.stopped.set()
            self._take(sender.fail_all(str(error)))
