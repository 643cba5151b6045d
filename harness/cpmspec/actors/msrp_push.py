"""Sending one message over an MSRP connection, chunk by chunk, and taking down what it is answered (RFC 4975 7.1)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping

from cpmspec.net.msrp import MsrpConnection
from cpmspec.protocol.msrp_sender import CHUNK_SIZE
from cpmspec.wire.msrp import (
    ByteRange,
    FrameBegin,
    FrameEnd,
    MsrpEvent,
    MsrpHead,
    build_request,
    build_response,
    new_transaction_id,
)


class ContentSender:
    """Sends one content as one MSRP message.

    ``headers`` go into every SEND and must hold the Message-ID. ``abort_after``: break off after so many octets of
    content; the caller then ends the connection (``aborted``).
    """

    def __init__(
        self,
        path: str,
        content: bytes,
        content_type: str,
        headers: Mapping[str, str],
        *,
        chunk_size: int | None = 2048,
        abort_after: int | None = None,
    ) -> None:
        self.aborted = False
        self.success_reported = False
        self.heads: list[MsrpHead] = []
        self._path = path
        self._content = content
        self._content_type = content_type
        self._headers = list(headers.items())
        self._size = chunk_size or max(len(content), 1)
        self._abort_after = abort_after
        self._answers: dict[str, int | None] = {}
        self._changed = asyncio.Event()
        self._ended = False

    @property
    def statuses(self) -> tuple[int, ...]:
        """What the chunks were answered, in the order of the chunks; those without an answer are left out."""
        return tuple(status for status in self._answers.values() if status is not None)

    @property
    def chunks(self) -> int:
        """How many chunks were sent."""
        return len(self._answers)

    @property
    def unanswered(self) -> bool:
        """Whether the connection ended before every chunk that was sent had its answer."""
        return self._ended and None in self._answers.values()

    async def run(self, connection: MsrpConnection, peer_path: tuple[str, ...]) -> None:
        """Send everything and wait for the answers, or break off where told.

        An answer other than 200 stops the sending. With Success-Report: yes the report is waited for too.

        :raises ConnectionError: the connection broke.
        """
        head: list[MsrpHead] = []

        def on_event(event: MsrpEvent) -> None:
            if isinstance(event, FrameBegin):
                head[:] = [event.head]
            elif isinstance(event, FrameEnd) and head:
                self._take(connection, head[0])

        def on_close(reason: Exception | None) -> None:
            self._ended = True
            self._changed.set()

        connection.on_event, connection.on_close = on_event, on_close
        for octets in self._requests(peer_path):
            if any(status != 200 for status in self.statuses):
                break
            await connection.send(octets)
            if self.aborted:
                return
            await asyncio.sleep(0)  # lets answers in between
        await self._settled()

    def _requests(self, peer_path: tuple[str, ...]) -> Iterator[bytes]:
        """The SENDs one after the other; what is to be broken off ends in the middle of one."""
        content, total = self._content, len(self._content)
        for start in range(0, max(total, 1), self._size):
            body = content[start : start + self._size]
            flag = "$" if start + self._size >= total else "+"
            transaction_id = new_transaction_id(body)
            # 7.1.1: a chunk of more than 2048 octets can be interrupted, and says so
            span = ByteRange(start + 1, None if len(body) > CHUNK_SIZE else start + len(body), total)
            headers = [*self._headers, ("Byte-Range", str(span))]
            octets = build_request(
                "SEND", transaction_id, peer_path, [self._path], headers, body, flag, content_type=self._content_type
            )
            if self._abort_after is not None and start + len(body) > self._abort_after:
                self.aborted = True
                octets = octets[: octets.index(b"\r\n\r\n") + 4 + self._abort_after - start]
            else:
                self._answers[transaction_id] = None
            yield octets

    def _take(self, connection: MsrpConnection, head: MsrpHead) -> None:
        """Take a response, a REPORT, or a request that nobody expects."""
        self.heads.append(head)
        if head.status is not None and head.transaction_id in self._answers:
            self._answers[head.transaction_id] = head.status
        elif head.method == "REPORT":
            reported = head.status_header
            self.success_reported |= reported is not None and reported[1] == 200
        elif head.answerable:
            connection.write(build_response(head, 200 if head.method == "SEND" else 501))
        self._changed.set()

    async def _settled(self) -> None:
        """Wait until every chunk is answered, one was refused, or the connection ended."""
        wants = {name.lower(): value.lower() for name, value in self._headers}
        no_answers = wants.get("failure-report") in ("no", "partial")
        while not self._ended and all(status == 200 for status in self.statuses):
            answered = no_answers or None not in self._answers.values()
            if answered and (self.success_reported or wants.get("success-report") != "yes"):
                return
            self._changed.clear()
            await self._changed.wait()
