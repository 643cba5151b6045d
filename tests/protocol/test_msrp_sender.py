"""The sending side of MSRP: what it puts on the wire, and what it makes of answers, reports and silence."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpmspec.protocol.errors import LocalProtocolError
from cpmspec.protocol.msrp_sender import (
    PIECE,
    SCOPES,
    BytesContent,
    ChunkAnswered,
    MsrpSender,
    Outcome,
    OutgoingMessage,
    Scope,
    SenderEvent,
    Stopped,
)
from cpmspec.wire.msrp import ByteRange, MsrpFrame, MsrpFrameStream, build_request, build_response, parse_frame

TO, FROM = ("msrp://relay.example:2855/r;tcp", "msrp://a.example:2855/s1;tcp"), ("msrp://b.example:2855/s2;tcp",)


def message(name: str, octets: bytes, *, success: bool = False, failure: str | None = None) -> OutgoingMessage:
    return OutgoingMessage(name, "multipart/mixed;boundary=b", BytesContent(octets), success, failure)


def frames_of(sender: MsrpSender, now: float = 0.0) -> list[MsrpFrame]:
    """All chunks that the sender gives out without an answer."""
    stream = MsrpFrameStream()
    frames: list[MsrpFrame] = []
    while (octets := sender.next_octets(now)) is not None:
        for frame in stream.feed(octets):
            assert isinstance(frame, MsrpFrame)
            frames.append(frame)
    assert stream.close() == []
    return frames


def answer(sender: MsrpSender, frame: MsrpFrame, status: int = 200, now: float = 1.0) -> list[SenderEvent]:
    response = parse_frame(build_response(frame, status))
    assert isinstance(response, MsrpFrame)
    return sender.receive(response, now)


def report(
    sender: MsrpSender, name: str, span: str | None, status: str = "000 200 OK", now: float = 1.0
) -> list[SenderEvent]:
    headers = [("Message-ID", name), *([] if span is None else [("Byte-Range", span)]), ("Status", "000 999")]
    octets = build_request("REPORT", "report01", FROM, TO[-1:], headers, None)
    frame = parse_frame(octets.replace(b"000 999", status.encode()))
    assert isinstance(frame, MsrpFrame)
    return sender.receive(frame, now)


def sender_with(*messages: OutgoingMessage, chunk_size: int | None = 2048, window: int = 8) -> MsrpSender:
    sender = MsrpSender(TO, FROM, chunk_size=chunk_size, window=window)
    for item in messages:
        sender.submit(item)
    return sender


def test_a_small_message_is_one_chunk() -> None:
    sender = sender_with(message("m1aa", b"hello"))
    (frame,) = frames_of(sender)
    assert (frame.method, frame.to_path, frame.from_path) == ("SEND", TO, FROM)
    assert [(header.name, header.value) for header in frame.headers[2:]] == [
        ("Message-ID", "m1aa"), ("Byte-Range", "1-5/5"), ("Content-Type", "multipart/mixed;boundary=b"),
    ]  # fmt: skip
    assert (frame.body, frame.flag, frame.violations) == (b"hello", "$", ())
    assert answer(sender, frame) == [ChunkAnswered("m1aa", 200, 1, 5), Outcome("m1aa", True, 200)]
    assert sender.idle


def test_an_empty_message_is_sent_with_a_body() -> None:
    sender = sender_with(message("m1aa", b""))
    (frame,) = frames_of(sender)
    assert (frame.body, frame.flag, str(frame.byte_range)) == (b"", "$", "1-0/0")
    assert answer(sender, frame)[-1] == Outcome("m1aa", True, 200)


@given(st.integers(min_value=0, max_value=9000), st.sampled_from([2048, 3000, 4096, None]))
def test_chunks_make_the_message(size: int, chunk_size: int | None) -> None:
    octets = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    sender = sender_with(message("m1aa", octets, success=True, failure="yes"), chunk_size=chunk_size, window=99)
    frames = frames_of(sender)
    assert b"".join(frame.body or b"" for frame in frames) == octets
    assert [frame.flag for frame in frames] == ["+"] * (len(frames) - 1) + ["$"]
    assert len({frame.transaction_id for frame in frames}) == len(frames)
    at = 1
    for frame in frames:
        assert frame.violations == ()
        assert (frame.message_id, frame.success_report, frame.failure_report) == ("m1aa", "yes", "yes")
        span, length = frame.byte_range, len(frame.body or b"")
        assert span is not None
        assert (span.start, span.total) == (at, size)
        assert span.end == (None if length > 2048 else at + length - 1)
        at += length
    assert all(len(frame.body or b"") >= 2048 for frame in frames[:-1])


def test_the_window_limits_chunks_without_an_answer() -> None:
    sender = sender_with(message("m1aa", b"x" * 2048 * 5), message("m2aa", b"y"), window=2)
    first = frames_of(sender)
    assert len(first) == 2
    assert sender.next_octets(0.0) is None
    answer(sender, first[1])
    (third,) = frames_of(sender)
    assert str(third.byte_range) == "4097-6144/10240"


def test_messages_follow_each_other_without_waiting() -> None:
    sender = sender_with(message("m1aa", b"one"), message("m2aa", b"two"))
    frames = frames_of(sender)
    assert [frame.message_id for frame in frames] == ["m1aa", "m2aa"]
    assert answer(sender, frames[1])[-1] == Outcome("m2aa", True, 200)
    assert sender.pending == ("m1aa",)


def test_a_large_chunk_comes_in_pieces_and_can_be_interrupted() -> None:
    octets = b"x" * (3 * PIECE)
    sender = sender_with(message("m1aa", octets), chunk_size=None)
    stream = MsrpFrameStream()
    assert stream.feed(sender.next_octets(0.0) or b"") == []
    assert sender.in_chunk
    sender.interrupt()
    (first,) = stream.feed(sender.next_octets(0.0) or b"")
    assert isinstance(first, MsrpFrame)
    assert (first.flag, str(first.byte_range), len(first.body or b"")) == ("+", f"1-*/{len(octets)}", PIECE)
    assert not sender.in_chunk
    (second,) = frames_of(sender)
    assert (second.flag, second.byte_range and second.byte_range.start) == ("$", PIECE + 1)
    answer(sender, first)
    assert answer(sender, second)[-1] == Outcome("m1aa", True, 200)


def test_an_end_line_in_a_later_piece_interrupts_the_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = iter(["aaaaaaaaaaaa", "bbbbbbbbbbbb"])
    monkeypatch.setattr("cpmspec.protocol.msrp_sender.new_transaction_id", lambda avoid: next(drawn))
    octets = b"x" * (PIECE - 3) + b"-------aaaaaaaaaaaa$\r\n" + b"y" * 10
    sender = sender_with(message("m1aa", octets), chunk_size=None)
    first, second = frames_of(sender)
    assert (first.flag, len(first.body or b"")) == ("+", PIECE)
    assert (first.body or b"") + (second.body or b"") == octets
    assert (second.flag, second.transaction_id, second.violations) == ("$", "bbbbbbbbbbbb", ())


# RFC 4975 10: what each response code does to its message and to the one behind it
@pytest.mark.parametrize("status", [*SCOPES, 300, 404, 499, 500, 599])
@pytest.mark.parametrize("way", ["response", "report"])
def test_every_response_code(status: int, way: str) -> None:
    sender = sender_with(message("m1aa", b"x" * 5000), message("m2aa", b"two"), window=2)
    frames = frames_of(sender)
    if way == "response":
        events = answer(sender, frames[0], status)
        assert events.pop(0) == ChunkAnswered("m1aa", status, 1, 2048)
    else:
        events = report(sender, "m1aa", "1-2048/5000", f"000 {status} text")
    refused = Outcome("m1aa", False, status, f"refused with {status}")
    if SCOPES.get(status, Scope.MESSAGE) is Scope.SESSION:
        stopped = Outcome("m2aa", False, None, f"the session was stopped by {status}")
        assert events == [refused, Stopped(status), stopped]
        assert sender.next_octets(2.0) is None
        with pytest.raises(LocalProtocolError):
            sender.submit(message("m3aa", b""))
    else:
        assert events == [refused]
        assert [frame.message_id for frame in frames_of(sender)] == ["m2aa"]
    assert answer(sender, frames[1], status) == []


def test_413_in_the_middle_of_a_chunk_ends_it_with_a_hash() -> None:
    sender = sender_with(message("m1aa", b"x" * (2 * PIECE)), message("m2aa", b"two"), chunk_size=None)
    stream = MsrpFrameStream()
    opened = sender.next_octets(0.0) or b""
    stream.feed(opened)
    assert report(sender, "m1aa", None, "000 413 Stop") == [Outcome("m1aa", False, 413, "refused with 413")]
    (frame,) = stream.feed(sender.next_octets(0.0) or b"")
    assert isinstance(frame, MsrpFrame)
    assert (frame.flag, len(frame.body or b"")) == ("#", PIECE)
    (second,) = frames_of(sender)
    assert (second.message_id, second.flag) == ("m2aa", "$")


def test_a_refused_message_can_be_submitted_again_with_its_message_id() -> None:
    sender = sender_with(message("m1aa", b"x"))
    (frame,) = frames_of(sender)
    answer(sender, frame, 400)
    sender.submit(message("m1aa", b"x"))
    (again,) = frames_of(sender)
    assert answer(sender, again)[-1] == Outcome("m1aa", True, 200)


def test_no_response_in_time() -> None:
    sender = sender_with(message("m1aa", b"x"), message("m2aa", b"y"))
    frames = frames_of(sender, 10.0)
    assert sender.deadline() == 40.0
    assert sender.tick(39.9) == []
    answer(sender, frames[1], now=39.9)
    assert sender.tick(40.0) == [Outcome("m1aa", False, None, "no response within 30 s")]
    assert sender.deadline() is None
    assert answer(sender, frames[0], now=41.0) == []


@pytest.mark.parametrize(
    ("spans", "delivered"),
    [
        (["1-5000/5000"], True), (["1-2048/5000", "4097-5000/5000", "2049-4096/5000"], True), ([None], True),
        (["1-*/5000"], True), (["1-2048/5000", "2050-5000/5000"], False), ([], False), (["5001-9000/9000"], False),
    ],
)  # fmt: skip
@pytest.mark.parametrize("early", [True, False])
def test_success_reports_must_cover_the_message(spans: Sequence[str | None], delivered: bool, early: bool) -> None:
    sender = sender_with(message("m1aa", b"x" * 5000, success=True))
    frames, events = frames_of(sender), []
    if early:
        events += [event for span in spans for event in report(sender, "m1aa", span)]
    for frame in frames:
        events += answer(sender, frame, now=5.0)
    if not early:
        events += [event for span in spans for event in report(sender, "m1aa", span)]
    outcomes = [event for event in events if isinstance(event, Outcome)]
    if delivered:
        assert outcomes == [Outcome("m1aa", True, 200)]
    else:
        assert (outcomes, sender.deadline()) == ([], 35.0)
        assert sender.tick(35.0) == [Outcome("m1aa", False, None, "no success REPORT for all octets within 30 s")]


def test_reports_that_concern_nobody_are_ignored() -> None:
    sender = sender_with(message("m1aa", b"x"))
    frames_of(sender)
    assert report(sender, "other", "1-1/1", "000 481") == []
    assert report(sender, "m1aa", "1-1/1", "001 481") == []
    assert report(sender, "m1aa", "1-1/1", "nonsense") == []
    stray = parse_frame(build_request("SEND", "send0001", FROM, TO, [("Message-ID", "m1aa")], None))
    assert isinstance(stray, MsrpFrame)
    assert sender.receive(stray, 0.0) == []


@pytest.mark.parametrize(("failure", "wait"), [("no", 0.0), ("partial", 30.0)])
def test_without_responses_silence_is_good(failure: str, wait: float) -> None:
    sender = sender_with(message("m1aa", b"x" * 2048 * 20, failure=failure), window=1)
    assert len(frames_of(sender)) == 20
    assert sender.deadline() == wait
    assert sender.tick(wait) == [Outcome("m1aa", True, None)]


def test_partial_failure_reports_still_bring_errors() -> None:
    sender = sender_with(message("m1aa", b"x", failure="partial"))
    (frame,) = frames_of(sender)
    assert answer(sender, frame, 413)[-1] == Outcome("m1aa", False, 413, "refused with 413")


def test_binding_sends_a_send_without_a_body_first() -> None:
    sender = sender_with(message("m1aa", b"x"))
    sender.bind()
    bind, first = frames_of(sender)
    assert (bind.method, bind.body, bind.content_type, bind.violations) == ("SEND", None, None, ())
    assert first.message_id == "m1aa"
    assert sender.tick(30.0) == [Outcome("m1aa", False, None, "no response within 30 s")]
    other = sender_with(message("m1aa", b"x"))
    other.bind()
    bind, _ = frames_of(other)
    assert answer(other, bind, 506)[1:] == [Stopped(506)]
    assert other.tick(30.0) == [Outcome("m1aa", False, None, "no response within 30 s")]


def test_what_was_sent_before_a_stop_keeps_its_own_answer() -> None:
    sender = sender_with(message("m1aa", b"one"), message("m2aa", b"two"))
    first, second = frames_of(sender)
    assert answer(sender, first, 506)[1:] == [Outcome("m1aa", False, 506, "refused with 506"), Stopped(506)]
    assert answer(sender, second, 200)[1:] == [Outcome("m2aa", True, 200)]


def test_a_lost_connection_fails_what_is_left() -> None:
    sender = sender_with(message("m1aa", b"x"), message("m2aa", b"y"))
    (first, _) = frames_of(sender)
    answer(sender, first)
    assert sender.fail_all("reset") == [Outcome("m2aa", False, None, "reset")]
    assert sender.idle
    assert sender.stopped
    assert sender.next_octets(0.0) is None
    assert sender.deadline() is None


def test_wrong_use() -> None:
    with pytest.raises(ValueError, match="window"):
        MsrpSender(TO, FROM, window=0)
    sender = sender_with(message("m1aa", b"x"))
    with pytest.raises(LocalProtocolError, match="being sent"):
        sender.submit(message("m1aa", b"x"))

    class Short(BytesContent):
        @property
        def size(self) -> int:
            return 10

    short = MsrpSender(TO, FROM)
    short.submit(OutgoingMessage("m2aa", "a/b", Short(b"x")))
    with pytest.raises(LocalProtocolError, match="ended before"):
        short.next_octets(0.0)


def test_a_message_of_higher_priority_interrupts_and_goes_first() -> None:
    """RFC 4975 7.1.1: a chunk of more than 2048 octets gives way to another message."""
    sender = sender_with(message("m1aa", b"x" * (3 * PIECE)), message("m2aa", b"two"), chunk_size=None)
    stream = MsrpFrameStream()
    stream.feed(sender.next_octets(0.0) or b"")
    sender.submit(OutgoingMessage("m3aa", "a/b", BytesContent(b"urgent"), priority=1))
    (first,) = stream.feed(sender.next_octets(0.0) or b"")
    rest = frames_of(sender)
    assert isinstance(first, MsrpFrame)
    assert [(frame.message_id, frame.flag) for frame in (first, *rest)] == [
        ("m1aa", "+"), ("m3aa", "$"), ("m1aa", "$"), ("m2aa", "$"),
    ]  # fmt: skip
    assert (rest[1].byte_range and rest[1].byte_range.start) == PIECE + 1


def test_a_message_of_the_same_priority_waits() -> None:
    sender = sender_with(message("m1aa", b"x" * (2 * PIECE)), chunk_size=None)
    sender.next_octets(0.0)
    sender.submit(message("m2aa", b"two"))
    assert (sender.next_octets(0.0) or b"").endswith(b"$\r\n")


def test_a_chunk_whose_head_tells_its_end_is_not_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cpmspec.protocol.msrp_sender.PIECE", 1000)
    sender = sender_with(message("m1aa", b"x" * 2048))
    stream = MsrpFrameStream()
    stream.feed(sender.next_octets(0.0) or b"")
    sender.interrupt()
    (frame,) = [*stream.feed(sender.next_octets(0.0) or b""), *stream.feed(sender.next_octets(0.0) or b"")]
    assert isinstance(frame, MsrpFrame)
    assert (frame.flag, str(frame.byte_range), frame.violations) == ("$", "1-2048/2048", ())


@pytest.mark.parametrize("status", [200, 403])
def test_a_binding_that_is_answered_otherwise_changes_nothing(status: int) -> None:
    sender = sender_with(message("m1aa", b"x"))
    sender.bind()
    bind, _ = frames_of(sender)
    assert answer(sender, bind, status) == [ChunkAnswered(bind.message_id or "", status, 1, 0)]
    assert not sender.stopped


def test_a_report_on_what_was_not_sent_yet_is_not_about_it() -> None:
    sender = sender_with(message("m1aa", b"x", success=True))
    assert report(sender, "m1aa", "1-1/1") == []
    assert report(sender, "m1aa", "1-1/1", "000 481") == []
    (frame,) = frames_of(sender)
    assert [type(event) for event in answer(sender, frame)] == [ChunkAnswered]
    assert report(sender, "m1aa", "1-1/1") == [Outcome("m1aa", True, 200)]


def test_the_session_is_stopped_once() -> None:
    sender = sender_with(message("m1aa", b"one"), message("m2aa", b"two"))
    first, second = frames_of(sender)
    assert Stopped(481) in answer(sender, first, 481)
    assert answer(sender, second, 481)[1:] == [Outcome("m2aa", False, 481, "refused with 481")]


class Offbeat(MsrpSender):
    """Has a header of its own in every second chunk, and writes ranges in its own way."""

    def headers(self, message: OutgoingMessage, span: ByteRange) -> list[tuple[str, str]]:
        odd = [("X-Odd", "yes")] if (span.start - 1) // 2048 % 2 else []
        total = "*" if span.start == 1 else span.total
        return [("Message-ID", message.message_id), ("Byte-Range", f"{span.start}-{span.end}/{total}"), *odd]


def test_a_sender_with_other_headers_in_each_chunk() -> None:
    sender = Offbeat(TO, FROM)
    sender.submit(message("m1aa", b"x" * 7000))
    frames = frames_of(sender)
    assert [str(frame.byte_range) for frame in frames] == [
        "1-2048/*", "2049-4096/7000", "4097-6144/7000", "6145-7000/7000",
    ]  # fmt: skip
    assert [frame.headers.get("X-Odd") for frame in frames] == [None, "yes", None, "yes"]
    assert b"".join(frame.body or b"" for frame in frames) == b"x" * 7000


def test_with_failure_report_no_only_the_end_of_a_message_is_remembered() -> None:
    """RFC 4975 7.1.4: no responses come, so that nothing is kept for each of many chunks."""
    sender = sender_with(message("m1aa", b"x" * 2048 * 3, failure="no"))
    frames = frames_of(sender)
    assert [answer(sender, frame, 400) for frame in frames[:2]] == [[], []]
    assert answer(sender, frames[2], 400)[1:] == [Outcome("m1aa", False, 400, "refused with 400")]


def test_a_connection_lost_while_a_chunk_is_being_broken_off() -> None:
    sender = sender_with(message("m1aa", b"x" * (2 * PIECE)), chunk_size=None)
    sender.next_octets(0.0)
    report(sender, "m1aa", None, "000 413")
    assert sender.in_chunk
    assert sender.fail_all("reset") == []
    assert sender.idle


class Endless:
    """A content that no memory holds; it counts what was asked of it."""

    size = 1 << 30

    def __init__(self) -> None:
        self.asked = 0

    def read(self, offset: int, count: int) -> bytes:
        assert offset == self.asked
        self.asked += count
        return bytes(count)


def test_a_content_is_read_as_its_octets_are_taken() -> None:
    content = Endless()
    sender = MsrpSender(TO, FROM, chunk_size=None)
    sender.submit(OutgoingMessage("m1aa", "a/b", content))
    for number in range(1, 4):
        sender.next_octets(0.0)
        assert content.asked == number * PIECE
