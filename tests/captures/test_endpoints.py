"""Our receiver takes what the captured programs sent, our sender what they answered."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from hashlib import sha256
from itertools import pairwise

import pytest

from captures import Tree, capture, differences, facts, names
from cpmspec.evidence.reassembly import read_capture
from cpmspec.protocol.msrp_receiver import (
    BytesSink,
    ForSender,
    MessageAborted,
    MessageComplete,
    MsrpReceiver,
    ReceiverEvent,
    Reply,
)
from cpmspec.protocol.msrp_sender import (
    BytesContent,
    ChunkAnswered,
    MsrpSender,
    Outcome,
    OutgoingMessage,
    SenderEvent,
    Stopped,
)
from cpmspec.protocol.ranges import Ranges
from cpmspec.wire.msrp import MsrpFrame, MsrpFrameStream, MsrpHead, MsrpStream, parse_frame
from dissect_msrp import Spoken, joined, messages, missing, spoken

MSRP = names("msrp")
WHOLE = [name for name in MSRP if "derived" not in facts()[name]]
REFUSED = "msrp-msrplib-msrplib-415"
UTF8 = "msrp-node-node-utf8"


class Kept(BytesSink):
    """A sink that also remembers which octets were written, and keeps them when a message is given up."""

    def __init__(self) -> None:
        super().__init__()
        self.written = Ranges()
        self.pieces: list[tuple[int, bytes]] = []

    def write(self, offset: int, octets: bytes) -> None:
        super().write(offset, octets)
        self.written.add(offset, offset + len(octets))
        self.pieces.append((offset, octets))

    @property
    def octets(self) -> bytes:
        return b"".join(octets for _, octets in sorted(self.pieces))


@dataclass
class Reception:
    """What came of feeding one direction of a capture to our receiver."""

    receiver: MsrpReceiver
    sinks: dict[str, Kept] = field(default_factory=dict)
    events: list[ReceiverEvent] = field(default_factory=list)

    @property
    def complete(self) -> list[MessageComplete]:
        return [event for event in self.events if isinstance(event, MessageComplete)]

    @property
    def answered(self) -> list[bytes]:
        """All that it would have sent, in order."""
        octets: list[bytes] = []
        for event in self.events:
            octets += [event.octets] if isinstance(event, Reply) else []
            octets += event.answers if isinstance(event, MessageComplete) else []
        return octets


@cache
def directions(name: str) -> tuple[Spoken, Spoken]:
    """The direction with the SENDs, and the other."""
    first, second = (spoken(stream) for stream in read_capture(capture(name)).streams)
    return (first, second) if first.sends else (second, first)


def received(name: str, accepts: str = "", piece: int = 1 << 20) -> Reception:
    """Feed the SENDs of a capture to our receiver, in pieces; a new reader after each gap, the session goes on."""
    sent, _ = directions(name)
    sinks: dict[str, Kept] = {}

    def open_sink(head: MsrpHead) -> Kept:
        return sinks.setdefault(head.message_id or "", Kept())

    receiver = MsrpReceiver(
        sent.sends[0].to_path,
        peer_path=sent.sends[0].from_path,
        open_sink=open_sink,
        accepts=lambda content_type: accepts in ("", content_type),
    )
    reception = Reception(receiver, sinks)
    for run in sent.stream.runs:
        reader = MsrpStream(resuming=not (sent.stream.syn and run.offset == 0))
        pieces = [run.octets[at : at + piece] for at in range(0, len(run.octets), piece)]
        for events in (*map(reader.feed, pieces), reader.close()):
            reception.events += [found for event in events for found in receiver.receive(event)]
    return reception


def stated_messages(name: str) -> dict[str, Tree]:
    """The facts about the messages with a body that were sent in a capture."""
    table = facts()[name]["direction"][directions(name)[0].name]["message"]
    return {message_id: fact for message_id, fact in table.items() if not fact.get("bind")}


def seen_by(reception: Reception) -> dict[str, Tree]:
    """What our receiver knows of the messages, in the shape of the facts about them."""
    found: dict[str, Tree] = {}
    for event in reception.complete:
        sink = reception.sinks[event.message_id]
        octets = sink.value()
        assert (event.size, sink.closed, sink.aborted) == (len(octets), True, False)
        digest = sha256(octets).hexdigest()
        found[event.message_id] = {
            "octets": len(octets),
            "complete": True,
            "type": event.content_type,
            "sha256": digest,
        }
    for message_id in reception.receiver.incomplete:
        sink = reception.sinks[message_id]
        spans = [[first + 1, last] for first, last in sink.written.spans]
        digest = sha256(sink.octets).hexdigest()
        found[message_id] = {"octets": len(sink.octets), "complete": False, "present": spans, "sha256": digest}
    return found


def chosen(stated: Tree, found: dict[str, Tree]) -> Tree:
    """The stated facts that a receiver can know."""
    kept: Tree = {}
    for message_id, fact in stated.items():
        kept[message_id] = {key: fact.get(key) for key in found.get(message_id) or fact}
    return kept


@pytest.mark.parametrize("piece", [1 << 20, 1448, 7])
@pytest.mark.parametrize("name", MSRP)
def test_our_receiver_takes_each_message_whole_or_tells_that_it_is_not(name: str, piece: int) -> None:
    found = seen_by(received(name, piece=piece))
    assert differences(chosen(stated_messages(name), found), found, name) == []


@pytest.mark.parametrize("name", MSRP)
def test_what_is_incomplete_is_given_up_at_the_end(name: str) -> None:
    reception = received(name)
    missed = [message_id for message_id, fact in stated_messages(name).items() if not fact["complete"]]
    events = reception.receiver.close("the capture ended")
    assert [event.message_id for event in events if isinstance(event, MessageAborted)] == missed
    for message_id in missed:
        fact, sink = stated_messages(name)[message_id], reception.sinks[message_id]
        assert sink.aborted
        edges = [0, *(place for first, last in fact["present"] for place in (first - 1, last)), fact["total"]]
        gaps = [[first + 1, last] for first, last in list(pairwise(edges))[::2] if first < last]
        assert missing(sink.written, fact["total"]) == gaps


@pytest.mark.parametrize("name", WHOLE)
def test_our_receiver_answers_each_send_as_theirs_did(name: str) -> None:
    """Code and paths; the comment is free, and Kamailio adds the Message-ID."""
    theirs = [frame for frame in directions(name)[1].whole if frame.status is not None]
    ours = [frame for frame in read_answers(received(name, accepts_of(name))) if frame.status is not None]
    assert [(one.transaction_id, one.status, one.to_path, one.from_path) for one in ours] == [
        (one.transaction_id, one.status, one.to_path, one.from_path) for one in theirs
    ]


@pytest.mark.parametrize("name", WHOLE)
def test_our_receiver_reports_what_theirs_did(name: str) -> None:
    """As many octets of the same messages to the same path, in one REPORT where some send one for each chunk."""
    theirs = messages(directions(name)[1].reports)
    ours = messages(frame for frame in read_answers(received(name, accepts_of(name))) if frame.method == "REPORT")
    assert list(ours) == list(theirs)
    for message_id, (report,) in ours.items():
        octets = stated_messages(name)[message_id]["octets"]
        assert str(report.byte_range) == f"1-{octets}/{octets}"
        assert {(one.to_path, one.from_path) for one in theirs[message_id]} == {(report.to_path, report.from_path)}
        assert {one.status_header[:2] for one in theirs[message_id] if one.status_header} == {("000", 200)}


def accepts_of(name: str) -> str:
    """What the program in the capture accepted: all, or message/cpim alone."""
    return "message/cpim" if name == REFUSED else ""


def read_answers(reception: Reception) -> Iterator[MsrpFrame]:
    for octets in reception.answered:
        frame = parse_frame(octets)
        assert isinstance(frame, MsrpFrame)
        assert not frame.violations
        yield frame


@pytest.mark.parametrize("name", MSRP)
def test_answers_and_reports_are_handed_to_the_sending_side(name: str) -> None:
    _, back = directions(name)
    receiver, reader = MsrpReceiver(back.frames[0].to_path), MsrpStream()
    heads = [
        event.head
        for run in back.stream.runs
        for read in reader.feed(run.octets)
        for event in receiver.receive(read)
        if isinstance(event, ForSender)
    ]
    assert heads == [frame.head for frame in back.whole]


# --- our sender in the place of theirs ------------------------------------------------------------------------------


def concluded(name: str) -> list[SenderEvent]:
    """Send the messages of a capture by our sender and answer it as the captured program answered.

    The n-th SEND gets the n-th response, with the transaction identifier exchanged; REPORTs come as they are, each
    after as many responses as in the capture. In the end the time for REPORTs has run out.
    """
    sent, back = directions(name)
    sends, size = sent.sends, facts()[name]["happens"].get("chunk") or len(sent.sends[1].body or b"")
    sender = MsrpSender(sends[0].to_path, sends[0].from_path, chunk_size=size)
    sender.bind()
    for message_id, frames in messages(sends[1:]).items():
        first = frames[0]
        wanted = first.success_report == "yes"
        content = BytesContent(joined(frames))
        sender.submit(OutgoingMessage(message_id, first.content_type or "", content, wanted, first.failure_report))
    ours, events = MsrpFrameStream(), list[SenderEvent]()
    waiting: list[MsrpFrame] = []
    for answer in back.whole:
        while (octets := sender.next_octets(0.0)) is not None:
            waiting += [frame for frame in ours.feed(octets) if isinstance(frame, MsrpFrame)]
        if answer.status is not None:
            asked = waiting.pop(0).transaction_id
            exchanged = parse_frame(answer.octets().replace(answer.transaction_id.encode(), asked.encode()))
            assert isinstance(exchanged, MsrpFrame)
            events += sender.receive(exchanged, 0.0)
        else:
            events += sender.receive(answer, 0.0)
    assert not waiting
    assert ours.close() == []
    while (due := sender.deadline()) is not None:
        events += sender.tick(due)
    return events


DELIVERED = [name for name in WHOLE if name not in (REFUSED, UTF8, "msrp-msrplib-msrplib-sender-killed")]


@pytest.mark.parametrize("name", DELIVERED)
def test_our_sender_concludes_from_their_answers_that_all_was_delivered(name: str) -> None:
    outcomes = [event for event in concluded(name) if isinstance(event, Outcome)]
    assert outcomes == [Outcome(message_id, True, 200) for message_id in stated_messages(name)]


def test_our_sender_stops_at_their_415() -> None:
    (message_id,) = stated_messages(REFUSED)
    events = [event for event in concluded(REFUSED) if not isinstance(event, ChunkAnswered)]
    assert events == [Outcome(message_id, False, 415, "refused with 415"), Stopped(415)]


def test_reports_that_count_characters_leave_octets_unconfirmed() -> None:
    """RFC 4975 7.1.3: the success REPORTs together cover all octets; without that nothing is known to be delivered."""
    (message_id,) = stated_messages(UTF8)
    outcomes = [event for event in concluded(UTF8) if isinstance(event, Outcome)]
    assert outcomes == [Outcome(message_id, False, None, "no success REPORT for all octets within 30 s")]


# --- the checks themselves ------------------------------------------------------------------------------------------


def test_a_message_that_differs_is_named() -> None:
    name = "msrp-msrplib-kamailio"
    found = seen_by(received(name))
    ((message_id, fact),) = stated_messages(name).items()
    stated = {message_id: fact | {"sha256": "0" * 64}}
    (line,) = differences(chosen(stated, found), found, name)
    assert line.startswith(f"{name}/{message_id}/sha256: stated '0000")
    assert differences({}, found, name)
