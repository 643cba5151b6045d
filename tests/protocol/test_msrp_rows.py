"""Every row of the tables of MSRP is gone through by what a session does; what has no row changes nothing."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import pytest

from cpmspec.protocol import msrp_receiver, msrp_sender
from cpmspec.protocol.msrp_receiver import BytesSink, MessageAborted, MessageComplete, MsrpReceiver, Reply
from cpmspec.protocol.msrp_sender import PIECE, BytesContent, MsrpSender, Outcome, OutgoingMessage, Stopped
from cpmspec.protocol.msrp_tables import (
    CODES,
    INCOMING,
    INCOMING_ROWS,
    OUTGOING,
    OUTGOING_ROWS,
    In,
    InDo,
    InEvent,
    InRow,
    Out,
    OutDo,
    OutEvent,
    OutRow,
)
from cpmspec.protocol.tables import Row
from cpmspec.wire.msrp import (
    MsrpFrame,
    MsrpFrameStream,
    MsrpStream,
    build_request,
    build_response,
    build_unchecked,
    parse_frame,
)

A, B = ("msrp://a.example:2855/s1;tcp",), ("msrp://b.example:2855/s2;tcp",)


class Recording(dict[Any, Any]):
    """A table that remembers the rows that were applied, and the pairs that had none."""

    def __init__(self, table: Mapping[Any, Any]) -> None:
        super().__init__(table)
        self.hit: list[Row[Any, Any, Any]] = []
        self.missed: list[tuple[StrEnum, StrEnum]] = []

    def get(self, key: Any, default: Any = None) -> Any:
        row = super().get(key, default)
        if row is None:
            self.missed.append(key)
        else:
            self.hit.append(row)
        return row


def named(row: Row[Any, Any, Any]) -> str:
    return f"{row.state}, {row.event}"


@pytest.mark.parametrize("rows", [OUTGOING_ROWS, INCOMING_ROWS], ids=["sent", "received"])
class TestTables:
    def test_each_row_cites_its_section(self, rows: tuple[Row[Any, Any, Any], ...]) -> None:
        for row in rows:
            assert re.fullmatch(r"RFC 4975 \d+(\.\d+)*", row.section), row

    def test_no_two_rows_for_the_same_event(self, rows: tuple[Row[Any, Any, Any], ...]) -> None:
        assert len({(row.state, row.event) for row in rows}) == len(rows)

    def test_every_state_but_the_first_is_reached_and_left_or_final(self, rows: tuple[Row[Any, Any, Any], ...]) -> None:
        left, reached = {row.state for row in rows}, {row.next for row in rows}
        assert left - reached <= {Out.QUEUED}
        assert reached - left == ({Out.DELIVERED, Out.FAILED} if Out.QUEUED in left else {In.ABORTED})


# --- a message that is sent


class Sending:
    """A sender with one message of three pieces, in chunks of two."""

    def __init__(self, *, success: bool = False) -> None:
        self.sender = MsrpSender(A, B, chunk_size=2 * PIECE)
        self.sender.bind()
        self.stream = MsrpFrameStream()
        self.frames: list[MsrpFrame] = []
        self.events: list[object] = []
        self.sender.submit(OutgoingMessage("m1aa", "a/b", BytesContent(b"x" * (3 * PIECE)), success))
        self.next()  # the SEND that binds

    def next(self) -> bytes:
        octets = self.sender.next_octets(0.0) or b""
        self.frames += [frame for frame in self.stream.feed(octets) if isinstance(frame, MsrpFrame)]
        return octets

    def answer(self, number: int, status: int = 200) -> None:
        response = parse_frame(build_response(self.frames[number], status))
        assert isinstance(response, MsrpFrame)
        self.events += self.sender.receive(response, 1.0)

    def report(self, status: int, span: str | None = None) -> None:
        headers = [("Message-ID", "m1aa"), *([("Byte-Range", span)] if span else []), ("Status", f"000 {status}")]
        frame = parse_frame(build_request("REPORT", "report01", B, A, headers, None))
        assert isinstance(frame, MsrpFrame)
        self.events += self.sender.receive(frame, 1.0)

    def tick(self) -> None:
        self.events += self.sender.tick(1000.0)

    def lose(self) -> None:
        self.events += self.sender.fail_all("gone")

    def to(self, state: Out) -> None:
        """Bring the message into a state; wherever that can be, a chunk of it waits for its answer."""
        match state:
            case Out.SENDING:
                self.to(Out.BETWEEN)
                self.next()
            case Out.INTERRUPTED:
                self.to(Out.SENDING)
                self.sender.interrupt()
            case Out.BETWEEN:
                self.next()
                self.sender.interrupt()
                self.next()
            case Out.AWAITING_RESPONSES:
                for _ in range(3):
                    self.next()
            case Out.AWAITING_REPORT:
                self.to(Out.AWAITING_RESPONSES)
                self.answer(1)
                self.answer(2)
            case Out.ABORTING:
                self.to(Out.SENDING)
                self.answer(1, 403)


def do(sending: Sending, event: OutEvent, state: Out) -> None:
    """Make an event happen."""
    match event:
        case OutEvent.CHUNK | OutEvent.CHUNK_END | OutEvent.LAST_OCTET:
            sending.next()
        case OutEvent.INTERRUPT:
            sending.sender.interrupt()
        case OutEvent.SETTLED if state is Out.AWAITING_REPORT:
            sending.report(200)
        case OutEvent.SETTLED | OutEvent.UNREPORTED:
            sending.answer(1)
            sending.answer(2)
        case OutEvent.NO_RESPONSE | OutEvent.NO_REPORT:
            sending.tick()
        case OutEvent.STOPPED:
            sending.answer(0, 481)
        case OutEvent.LOST:
            sending.lose()
        case OutEvent.OTHER:
            sending.report(499)
        case _:
            sending.report(int(event))


@pytest.mark.parametrize("row", OUTGOING_ROWS, ids=named)
def test_each_row_of_a_message_that_is_sent(row: OutRow, monkeypatch: pytest.MonkeyPatch) -> None:
    table = Recording(OUTGOING)
    monkeypatch.setattr(msrp_sender, "OUTGOING", table)
    sending = Sending(success=row.event is OutEvent.UNREPORTED or row.state is Out.AWAITING_REPORT)
    sending.to(row.state)
    if (row.state, row.event) == (Out.SENDING, OutEvent.CHUNK_END):
        sending = Sending()
        sending.next()
    table.hit.clear()
    sending.events.clear()
    do(sending, row.event, row.state)
    assert row in table.hit
    told = [event for event in sending.events if isinstance(event, Outcome) and event.message_id == "m1aa"]
    assert [event.delivered for event in told] == [True] * (OutDo.TELL_DELIVERED in row.actions) + [False] * (
        OutDo.TELL_FAILED in row.actions
    )
    stopped = [event.status for event in sending.events if isinstance(event, Stopped)]
    stops = {OutEvent.STOPPED: [481], **{event: [int(event)] for event in CODES if event is not OutEvent.OTHER}}
    whole_session = row.event is OutEvent.STOPPED or OutDo.STOP_SESSION in row.actions
    assert stopped == (stops[row.event] if whole_session else [])
    flags = {OutDo.END_MORE: "+", OutDo.END_LAST: "$", OutDo.END_ABORT: "#"}
    for action in row.actions:
        if action in flags:
            assert sending.frames[-1].flag == flags[action]


@pytest.mark.parametrize("state", [Out.AWAITING_RESPONSES, Out.ABORTING])
def test_what_has_no_row_changes_nothing(state: Out, monkeypatch: pytest.MonkeyPatch) -> None:
    table = Recording(OUTGOING)
    monkeypatch.setattr(msrp_sender, "OUTGOING", table)
    sending = Sending()
    sending.to(state)
    table.hit.clear()
    sending.events.clear()
    sending.sender.interrupt()
    sending.report(200, "1-1/1")
    sending.answer(0, 506)  # the session is stopped, and what was sent completely waits for its answer
    assert (table.hit, sending.events[1:]) == ([], [Stopped(506)])


# --- a message that is received


class Receiving:
    """A receiver and what it tells; it takes text/plain of at most 100 octets."""

    def __init__(self) -> None:
        self.sinks: list[BytesSink] = []
        self.receiver = MsrpReceiver(
            A, open_sink=self.open, max_size=100, accepts=lambda content_type: content_type == "text/plain"
        )
        self.stream = MsrpStream()
        self.events: list[object] = []

    def open(self, head: object) -> BytesSink:
        self.sinks.append(BytesSink())
        return self.sinks[-1]

    def take(
        self, body: bytes | None, span: str, flag: str = "$", *, content_type: str = "text/plain", method: str = "SEND",
        to: str = A[0], cut: int = 0,
    ) -> None:  # fmt: skip
        headers = [("Message-ID", "m1aa"), ("Byte-Range", span)]
        given = [] if body is None else [("Content-Type", content_type)]
        paths = [("To-Path", to), ("From-Path", " ".join(B))]
        octets = build_unchecked(f"MSRP transact1 {method}", [*paths, *headers, *given], body, flag)
        for event in self.stream.feed(octets[: len(octets) - cut]):
            self.events += self.receiver.receive(event)

    def open_chunk(self) -> None:
        """A chunk whose end is still to come; the reader begins anew behind it."""
        self.take(b"abc", "1-*/10", "+", cut=17)
        self.stream = MsrpStream()

    def to(self, state: In) -> None:
        match state:
            case In.OPEN:
                self.open_chunk()
            case In.PARTIAL:
                self.take(b"abc", "1-3/6", "+")
            case In.COMPLETE:
                self.take(b"abcdef", "1-6/6")
            case In.REFUSED:
                self.take(b"x", "101-101/200")

    def end(self, flag: str) -> None:
        self.events += self.receiver.end(flag)


def happen(receiving: Receiving, event: InEvent, state: In) -> None:
    """Make an event happen."""
    match event:
        case InEvent.CHUNK:
            receiving.take(b"def", "4-6/6")
        case InEvent.EMPTY:
            receiving.take(None, "1-0/0")
        case InEvent.C400:
            receiving.take(b"x", "what")
        case InEvent.C413 if state is In.OPEN:
            receiving.events += receiving.receiver.data(b"x" * 101)
        case InEvent.C413:
            receiving.take(b"x", "1-1/101")
        case InEvent.C415:
            receiving.take(b"x", "1-1/1", content_type="image/png")
        case InEvent.C481:
            receiving.take(b"x", "1-1/1", to=B[0])
        case InEvent.C501:
            receiving.take(None, "1-0/0", method="NICKNAME")
        case InEvent.GAP:
            receiving.end("+")
        case InEvent.WHOLE:
            receiving.end("$")
        case InEvent.HASH:
            receiving.end("#")
        case InEvent.AGAIN:
            receiving.take(b"abcdef", "1-6/6")
        case InEvent.CUT:
            receiving.take(b"x", "1-1/1", cut=17)
        case InEvent.LOST:
            receiving.events += receiving.receiver.close("gone")
        case InEvent.FORGET:
            receiving.receiver.forget("m1aa")


@pytest.mark.parametrize("row", INCOMING_ROWS, ids=named)
def test_each_row_of_a_message_that_is_received(row: InRow, monkeypatch: pytest.MonkeyPatch) -> None:
    table = Recording(INCOMING)
    monkeypatch.setattr(msrp_receiver, "INCOMING", table)
    receiving = Receiving()
    receiving.to(row.state)
    table.hit.clear()
    receiving.events.clear()
    happen(receiving, row.event, row.state)
    assert row in table.hit
    statuses = [event.status for event in receiving.events if isinstance(event, Reply)]
    code = 413 if InDo.REFUSE_AGAIN in row.actions else int(row.event) if InDo.REFUSE in row.actions else 200
    answered = {action for action in row.actions if action in (InDo.ANSWER, InDo.REFUSE, InDo.REFUSE_AGAIN)}
    assert statuses[:1] == [code] * len(answered) or not answered
    aborted = [event for event in receiving.events if isinstance(event, MessageAborted)]
    assert len(aborted) == (InDo.TELL_ABORTED in row.actions)
    complete = [event for event in receiving.events if isinstance(event, MessageComplete)]
    assert bool(complete) is (
        InDo.TELL_COMPLETE in row.actions or (row.state, row.event) == (In.PARTIAL, InEvent.CHUNK)
    )
    assert any(sink.aborted for sink in receiving.sinks) is (InDo.ABORT_SINK in row.actions)


def test_forgetting_what_is_not_finished_changes_nothing() -> None:
    receiving = Receiving()
    receiving.to(In.PARTIAL)
    receiving.receiver.forget("m1aa")
    receiving.take(b"def", "4-6/6")
    assert isinstance(receiving.events[-1], MessageComplete)


def test_octets_of_a_chunk_that_was_cut_off_are_still_missing() -> None:
    receiving = Receiving()
    receiving.open_chunk()
    receiving.take(b"def", "4-6/6")
    assert [type(event) for event in receiving.events] == [Reply]
    assert receiving.receiver.incomplete == ("m1aa",)


def test_a_chunk_that_comes_again_may_be_cut_off_too() -> None:
    receiving = Receiving()
    receiving.to(In.COMPLETE)
    receiving.open_chunk()
    receiving.take(b"abcdef", "1-6/6")
    assert [type(event) for event in receiving.events] == [MessageComplete, Reply]
