"""The receiving side of an MSRP session: reassembly into a sink, responses, success REPORTs (RFC 4975 7.1.4, 7.3).

Events of :class:`cpmspec.wire.msrp.MsrpStream` come in; octets to send and what became of messages go out. Nothing is
allocated by what a peer claims: lengths come from the octets that arrive (RFC 4975 7.3.1).

Each Message-ID goes through the states of :data:`cpmspec.protocol.msrp_tables.INCOMING_ROWS`.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from cpmspec.protocol.msrp_incoming import (
    COMMENTS,
    Broken,
    BytesSink,
    ForSender,
    MessageAborted,
    MessageComplete,
    ReceiverEvent,
    Reply,
    Sink,
)
from cpmspec.protocol.msrp_tables import INCOMING, In, InDo, InEvent
from cpmspec.protocol.ranges import Ranges
from cpmspec.wire.headers import encode
from cpmspec.wire.msrp import (
    ByteRange,
    FrameBegin,
    FrameData,
    FrameEnd,
    MsrpEvent,
    MsrpHead,
    build_request,
    build_response,
    new_transaction_id,
)
from cpmspec.wire.msrp_head import IDENT
from cpmspec.wire.uri import same_uri

__all__ = [
    "COMMENTS", "MAX_INCOMPLETE", "MAX_REMEMBERED", "MAX_SIZE", "MAX_SPANS", "Broken", "BytesSink", "ForSender",
    "MessageAborted", "MessageComplete", "MsrpReceiver", "ReceiverEvent", "Reply", "Sink",
]  # fmt: skip

MAX_INCOMPLETE: Final = 64  #: messages of one session that may be incomplete at a time
MAX_SPANS: Final = 4096  #: separate spans of octets that one incomplete message may have
MAX_REMEMBERED: Final = 1024  #: Message-IDs of finished messages that are known again
MAX_SIZE: Final = 2**40  #: octets of a message where nothing less was agreed

# Byte-Range: range-start "-" range-end "/" total ; numbers that no message reaches are left to the full grammar
_SPAN: Final = re.compile(rb"([0-9]{1,18})-(?:[0-9]{1,18}|\*)/([0-9]{1,18}|\*)")
_CODES: Final = {event: int(event) for event in InEvent if event.isdigit()}


@dataclass(slots=True)
class _Incoming:
    """A message of which octets are missing."""

    head: MsrpHead
    sink: Sink
    state: In = In.OPEN
    taken: Ranges = field(default_factory=Ranges)
    total: int | None = None  # known from the chunk with the flag $ only


@dataclass(frozen=True, slots=True)
class _Familiar:
    """A head that was taken: the next chunk of its message differs in transaction identifier and Byte-Range only.

    Such a head is known by its octets ``before`` and ``after`` the range, and need not be read again. ``answer`` is
    what stands between the two identifiers of its 200, nothing if it gets none.
    """

    message_id: str
    before: bytes
    after: bytes
    answer: bytes

    @classmethod
    def of(cls, head: MsrpHead, answers: tuple[bytes, ...]) -> _Familiar | None:
        """What makes a head familiar; ``answers`` holds its 200, or nothing."""
        line = encode(f"\r\nByte-Range: {head.headers.get('Byte-Range')}\r\n")
        if head.raw.count(line) != 1:
            return None
        size = len(encode(head.transaction_id))
        before, _, after = head.raw[5 + size :].partition(line)
        answer = b"".join(answers)[5 + size : -3 - size]
        return cls(head.message_id or "", before + b"\r\nByte-Range: ", b"\r\n" + after, answer)

    def span(self, head: MsrpHead) -> tuple[int, int | None] | None:
        """Where the chunk of a head that is like this one begins, and the total it claims; ``None`` if it is not."""
        raw, begin = head.raw, 5 + len(head.transaction_id)
        if not raw.startswith(self.before, begin) or not raw.endswith(self.after):
            return None
        found = _SPAN.fullmatch(raw, begin + len(self.before), len(raw) - len(self.after))
        return None if found is None else (int(found[1]), None if found[2] == b"*" else int(found[2]))

    def ok(self, head: MsrpHead) -> tuple[bytes, ...]:
        """The 200 to a head that is like this one."""
        identifier = encode(head.transaction_id)
        if not self.answer or not IDENT.fullmatch(head.transaction_id):
            return ()
        return (b"MSRP " + identifier + self.answer + identifier + b"$\r\n",)


@dataclass(slots=True)
class _Chunk:
    """The SEND that is being read; without ``message`` its octets are not wanted."""

    head: MsrpHead
    message_id: str
    start: int
    familiar: _Familiar | None = None
    size: int = 0
    message: _Incoming | None = None
    refused: bool = False


class MsrpReceiver:
    """Takes the SENDs of one session.

    ``local_path`` is our own path (one URI); a SEND to another gets 481. ``peer_path`` limits who may send. ``accepts``
    tells whether a Content-Type is taken (else 415), ``max_size`` is in octets (else 413). ``open_sink`` gives the sink
    of a message from the head of its first chunk.
    """

    def __init__(
        self,
        local_path: Sequence[str],
        *,
        open_sink: Callable[[MsrpHead], Sink] = lambda head: BytesSink(),
        max_size: int | None = None,
        peer_path: Sequence[str] | None = None,
        accepts: Callable[[str], bool] = lambda content_type: True,
    ) -> None:
        self._local = tuple(local_path)
        self._peer = None if peer_path is None else tuple(peer_path)
        self._open_sink = open_sink
        self._max_size = MAX_SIZE if max_size is None else max_size
        self._accepts = accepts
        self._incoming: dict[str, _Incoming] = {}
        # Message-IDs that are COMPLETE, or REFUSED with the code
        self._finished: OrderedDict[str, tuple[In, int]] = OrderedDict()
        self._chunk: _Chunk | None = None
        self._other: MsrpHead | None = None
        self._familiar: _Familiar | None = None

    @property
    def incomplete(self) -> tuple[str, ...]:
        """The Message-IDs of which octets are missing."""
        return tuple(self._incoming)

    def receive(self, event: MsrpEvent) -> list[ReceiverEvent]:
        """Take the next event of the stream."""
        match event:
            case FrameBegin(head):
                return self.begin(head)
            case FrameData(octets):
                return self.data(octets)
            case FrameEnd(flag):
                return self.end(flag)
            case _:
                return [Broken(event.violations)] if event.violations else []

    def begin(self, head: MsrpHead) -> list[ReceiverEvent]:
        """A message begins. A SEND that is refused is answered at once, so that its sender can interrupt it."""
        self._other = None
        if self._chunk is not None:
            self._cut_off(self._chunk)
        if head.method is None or head.method == "REPORT":
            self._other = head
            return []
        familiar = self._familiar
        known = None if familiar is None else familiar.span(head)
        if familiar is not None and known is not None:
            (start, total), message_id = known, familiar.message_id
        else:
            familiar, message_id, span = None, head.message_id or "", head.byte_range
            start, total = (1, None) if span is None else (span.start, span.total)
        chunk = self._chunk = _Chunk(head, message_id, start - 1, familiar)
        event = self._judge(chunk, total or 0)
        if event is InEvent.CHUNK and chunk.familiar is None:
            self._familiar = _Familiar.of(head, self._ok(chunk))
        return [] if event is InEvent.EMPTY else self._fire(event, chunk)

    def data(self, octets: bytes) -> list[ReceiverEvent]:
        """Octets of the body of the open message."""
        chunk = self._chunk
        if chunk is None or chunk.message is None or not octets:
            return []
        at, taken = chunk.start + chunk.size, chunk.message.taken
        if at + len(octets) > self._max_size or (
            chunk.size == 0 and chunk.start > taken.end and taken.count >= MAX_SPANS
        ):
            return self._fire(InEvent.C413, chunk)
        chunk.message.sink.write(at, octets)
        chunk.size += len(octets)
        return []

    def end(self, flag: str) -> list[ReceiverEvent]:
        """The open message ends with the continuation ``flag``."""
        chunk, self._chunk = self._chunk, None
        other, self._other = self._other, None
        if other is not None:
            return [ForSender(other)]
        if chunk is None or chunk.refused:
            return []
        if not chunk.head.has_body:
            return self._fire(InEvent.EMPTY, chunk)
        if chunk.message is None:
            return self._fire(InEvent.AGAIN, chunk)
        return self._fire(_ending(chunk, chunk.message, flag), chunk, "aborted by its sender")

    def forget(self, message_id: str) -> None:
        """A finished message was not kept after all: the next SEND with its Message-ID begins it anew."""
        self._enter(message_id, InEvent.FORGET)

    def close(self, reason: str) -> list[ReceiverEvent]:
        """The connection or the session is gone: what is incomplete stays so (RFC 4975 5.4)."""
        self._chunk, self._other = None, None
        left = [_Chunk(message.head, message_id, 0) for message_id, message in self._incoming.items()]
        return [event for chunk in left for event in self._fire(InEvent.LOST, chunk, reason)]

    def report(self, head: MsrpHead, first: int, last: int, total: int, *, status: int = 200) -> bytes:
        """A REPORT on octets ``first`` to ``last`` of the message that ``head`` is a SEND of (RFC 4975 7.1.2)."""
        headers = [
            ("Message-ID", head.message_id or ""),
            ("Byte-Range", str(ByteRange(first, last, total))),
            ("Status", f"000 {status:03d} {COMMENTS.get(status, '')}".rstrip()),
        ]
        return build_request("REPORT", new_transaction_id(), head.from_path, self._local, headers, None)

    def _cut_off(self, chunk: _Chunk) -> None:
        """What was open has no end: its octets do not count."""
        self._chunk = None
        if chunk.message is not None:
            self._enter(chunk.message_id, InEvent.CUT)

    def _judge(self, chunk: _Chunk, total: int) -> InEvent:
        """What the head of a request amounts to; of one that is familiar only what its range says is new."""
        head, familiar = chunk.head, chunk.familiar is not None
        if not familiar and (misfit := self._misfit(head)) is not None:
            return misfit
        if chunk.start < 0:
            return InEvent.C400
        state, event = self._state(chunk.message_id), InEvent.CHUNK if head.has_body else InEvent.EMPTY
        if state is In.REFUSED:
            return event
        if not familiar and head.has_body and not self._accepts(head.content_type or ""):
            return InEvent.C415
        crowded = state is In.NEW and head.has_body and len(self._incoming) >= MAX_INCOMPLETE
        if chunk.start > self._max_size or total > self._max_size or crowded:
            return InEvent.C413
        return event

    def _misfit(self, head: MsrpHead) -> InEvent | None:
        """Why a request cannot be a SEND of this session (7.3)."""
        ours = _same_path(head.to_path, self._local)
        if not ours or (self._peer is not None and not _same_path(head.from_path, self._peer)):
            return InEvent.C481
        if head.method != "SEND":
            return InEvent.C501
        malformed = head.byte_range is None and head.headers.get("Byte-Range") is not None
        if not head.message_id or malformed or (head.has_body and head.content_type is None):
            return InEvent.C400
        return None

    def _state(self, message_id: str) -> In:
        message = self._incoming.get(message_id)
        return self._finished.get(message_id, (In.NEW, 0))[0] if message is None else message.state

    def _enter(self, message_id: str, event: InEvent, code: int = 0) -> tuple[InDo, ...]:
        """Apply the row of an event; without a row nothing happens. What is no longer known is forgotten."""
        row = INCOMING.get((self._state(message_id), event))
        if row is None:
            return ()
        if row.next in (In.OPEN, In.PARTIAL):
            if message_id in self._incoming:
                self._incoming[message_id].state = row.next
        elif row.next is not row.state:
            self._incoming.pop(message_id, None)
            self._finished.pop(message_id, None)
            if row.next in (In.COMPLETE, In.REFUSED):
                self._finished[message_id] = row.next, code
                while len(self._finished) > MAX_REMEMBERED:
                    self._finished.popitem(last=False)
        return row.actions

    def _fire(self, event: InEvent, chunk: _Chunk, reason: str = "") -> list[ReceiverEvent]:
        """Apply the row of an event; ``chunk`` is the SEND that it comes from, ``reason`` why it ends a message."""
        head, message_id, message = chunk.head, chunk.message_id, self._incoming.get(chunk.message_id)
        code = _CODES.get(event, 0)
        if code:
            reason = f"refused with {code}"
        elif message is None and message_id in self._finished:
            code = self._finished[message_id][1]
        told: list[ReceiverEvent] = []
        for action in self._enter(message_id, event, code):
            if action is InDo.ANSWER:
                told += [Reply(octets, 200) for octets in self._ok(chunk)]
            elif action is InDo.OPEN_SINK:
                message = self._incoming[message_id] = _Incoming(head, self._open_sink(head))
            elif action is InDo.CLOSE_SINK and message is not None:
                message.sink.close()
            elif action is InDo.ABORT_SINK and message is not None:
                message.sink.abort()
            elif action is InDo.TELL_COMPLETE and message is not None:
                told.append(self._completion(chunk, message))
            elif action is InDo.TELL_ABORTED:
                told.append(MessageAborted(message_id, reason))
            else:  # InDo.REFUSE, InDo.REFUSE_AGAIN
                chunk.refused, message = True, None
                if head.failure_report != "no" and head.answerable:
                    told.append(Reply(build_response(head, code, COMMENTS[code]), code))
        chunk.message = message if event is InEvent.CHUNK else None
        return told

    def _ok(self, chunk: _Chunk) -> tuple[bytes, ...]:
        """The 200 if Failure-Report asks for it: yes, or absent (RFC 4975 7.1.4)."""
        if chunk.familiar is not None:
            return chunk.familiar.ok(chunk.head)
        wanted = chunk.head.failure_report not in ("no", "partial") and chunk.head.answerable
        return (build_response(chunk.head, 200, COMMENTS[200]),) if wanted else ()

    def _completion(self, chunk: _Chunk, message: _Incoming) -> MessageComplete:
        head, last, size, answers = message.head, chunk.head, message.total or 0, self._ok(chunk)
        if "yes" in (head.success_report, last.success_report) and last.answerable:
            answers += (self.report(last, 1, size, size),)
        return MessageComplete(chunk.message_id, head.content_type or "", head, size, message.sink, answers, last)


def _ending(chunk: _Chunk, message: _Incoming, flag: str) -> InEvent:
    """Which end of a chunk this is; the octets that came count, whatever its head claims (7.3.1)."""
    end = chunk.start + chunk.size
    message.taken.add(chunk.start, end)
    if flag == "#":
        return InEvent.HASH
    if flag == "$":
        message.total = end
    whole = message.total is not None and message.taken.covers(0, message.total)
    return InEvent.WHOLE if whole else InEvent.GAP


def _same_path(path: Sequence[str], wanted: Sequence[str]) -> bool:
    return len(path) == len(wanted) and all(map(same_uri, path, wanted))
