"""The receiving side of MSRP: reassembly, answers, refusals; and against the sending side with any chunking."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpmspec.protocol.msrp_receiver import (
    MAX_INCOMPLETE,
    MAX_REMEMBERED,
    MAX_SPANS,
    Broken,
    BytesSink,
    ForSender,
    MessageAborted,
    MessageComplete,
    MsrpReceiver,
    ReceiverEvent,
    Reply,
)
from cpmspec.protocol.msrp_sender import BytesContent, MsrpSender, Outcome, OutgoingMessage
from cpmspec.wire.msrp import MsrpFrame, MsrpStream, build_unchecked, new_transaction_id, parse_frame

LOCAL, PEER = ("msrp://a.example:2855/s1;tcp",), ("msrp://b.example:2855/s2;tcp", "msrp://c.example:1/s3;tcp")


def send(
    body: bytes | None, span: str | None = None, *, name: str | None = "m1aa", flag: str = "$", to: str = LOCAL[0],
    extra: tuple[tuple[str, str], ...] = (), method: str = "SEND", tid: str | None = None,
) -> bytes:  # fmt: skip
    headers = [*([("Message-ID", name)] if name else []), *([("Byte-Range", span)] if span else []), *extra]
    tid = tid or new_transaction_id(body or b"")
    described = [] if body is None else [("Content-Type", "text/plain")]
    paths = [("To-Path", to), ("From-Path", " ".join(PEER))]
    return build_unchecked(f"MSRP {tid} {method}", [*paths, *headers, *described], body, flag)


def feed(receiver: MsrpReceiver, *frames: bytes) -> list[ReceiverEvent]:
    stream = MsrpStream()
    return [found for event in stream.feed(b"".join(frames)) for found in receiver.receive(event)]


def statuses(events: list[ReceiverEvent]) -> list[int]:
    return [event.status for event in events if isinstance(event, Reply)]


def content(event: ReceiverEvent) -> bytes:
    assert isinstance(event, MessageComplete)
    assert isinstance(event.sink, BytesSink)
    assert event.sink.closed
    return event.sink.value()


def read(octets: bytes) -> MsrpFrame:
    frame = parse_frame(octets)
    assert isinstance(frame, MsrpFrame)
    assert frame.violations == ()
    return frame


def test_a_message_in_one_chunk() -> None:
    (event,) = feed(MsrpReceiver(LOCAL), send(b"hello", "1-5/5", tid="transact1"))
    assert isinstance(event, MessageComplete)
    assert (event.message_id, event.content_type, event.size, content(event)) == ("m1aa", "text/plain", 5, b"hello")
    assert event.headers.get("Byte-Range") == "1-5/5"
    (ok,) = map(read, event.answers)
    assert (ok.status, ok.transaction_id, ok.to_path, ok.from_path) == (200, "transact1", PEER[:1], LOCAL)
    (sorry,) = map(read, event.refused(413))
    assert (sorry.status, sorry.transaction_id) == (413, "transact1")


def test_a_success_report_goes_out_whatever_the_peer_calls_itself_and_its_message() -> None:
    octets = send(b"hello", name="m1", extra=(("Success-Report", "yes"),)).replace(b"c.example:1/", b"192.0.2.1/")
    (event,) = feed(MsrpReceiver(LOCAL), octets)
    assert isinstance(event, MessageComplete)
    assert b"Message-ID: m1\r\n" in event.answers[-1]
    assert b"msrp://192.0.2.1/s3;tcp\r\n" in event.answers[-1]


def test_a_success_report_covers_the_message_and_takes_the_whole_path_back() -> None:
    (event,) = feed(MsrpReceiver(LOCAL), send(b"hello", extra=(("Success-Report", "yes"),)))
    assert isinstance(event, MessageComplete)
    ok, report = map(read, event.answers)
    assert (ok.status, report.method, report.to_path, report.from_path) == (200, "REPORT", PEER, LOCAL)
    assert (report.message_id, str(report.byte_range)) == ("m1aa", "1-5/5")
    assert report.status_header == ("000", 200, "OK")
    assert (report.success_report, report.failure_report) == (None, None)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0), (0, 2, 1), (0, 0, 1, 2)])
def test_chunks_in_any_order(order: tuple[int, ...]) -> None:
    chunks = [
        send(b"abc", "1-3/8", flag="+"), send(b"defg", "4-*/8", flag="+"), send(b"h", "8-8/8"),
    ]  # fmt: skip
    events = feed(MsrpReceiver(LOCAL), *(chunks[index] for index in order))
    assert statuses(events) == [200] * (len(order) - 1)
    assert content(events[-1]) == b"abcdefgh"


def test_overlap_the_last_counts() -> None:
    events = feed(MsrpReceiver(LOCAL), send(b"abc", "1-3/5", flag="+"), send(b"xyz", "3-5/5"))
    assert content(events[-1]) == b"abxyz"


def test_the_last_chunk_says_how_long_a_message_is() -> None:
    events = feed(MsrpReceiver(LOCAL), send(b"abc", "1-3/99", flag="+"), send(b"de", "4-99/99"))
    assert (content(events[-1]), statuses(events)) == (b"abcde", [200])


def test_an_empty_message_and_a_send_without_a_body() -> None:
    receiver = MsrpReceiver(LOCAL)
    assert statuses(feed(receiver, send(None, "1-0/0", name="bind"))) == [200]
    (event,) = feed(receiver, send(b"", "1-0/0"))
    assert content(event) == b""


def test_messages_side_by_side() -> None:
    receiver = MsrpReceiver(LOCAL)
    assert statuses(feed(receiver, send(b"ab", "1-2/4", flag="+"), send(b"12", "1-2/4", name="m2aa", flag="+"))) == [
        200, 200,
    ]  # fmt: skip
    assert receiver.incomplete == ("m1aa", "m2aa")
    assert [content(event) for event in feed(receiver, send(b"34", "3-4/4", name="m2aa"), send(b"cd", "3-4/4"))] == [
        b"1234", b"abcd",
    ]  # fmt: skip


def test_a_message_comes_once() -> None:
    receiver = MsrpReceiver(LOCAL)
    (event,) = feed(receiver, send(b"hello"))
    assert content(event) == b"hello"
    assert statuses(feed(receiver, send(b"hello"))) == [200]
    receiver.forget("m1aa")
    assert content(feed(receiver, send(b"hello"))[0]) == b"hello"


def test_aborted_by_its_sender() -> None:
    receiver = MsrpReceiver(LOCAL)
    events = feed(receiver, send(b"abc", "1-3/8", flag="+"), send(b"d", "4-8/8", flag="#"))
    assert MessageAborted("m1aa", "aborted by its sender") in events
    assert statuses(events) == [200, 200]
    assert content(feed(receiver, send(b"again"))[0]) == b"again"


def test_aborted_with_the_connection() -> None:
    sinks: list[BytesSink] = []
    receiver = MsrpReceiver(LOCAL, open_sink=lambda head: sinks.append(BytesSink()) or sinks[-1])  # type: ignore[func-returns-value]
    feed(receiver, send(b"abc", "1-3/8", flag="+"))
    assert receiver.close("reset") == [MessageAborted("m1aa", "reset")]
    assert sinks[0].aborted
    assert receiver.incomplete == ()


# RFC 4975 10 and 7.3: what is refused, and how
REFUSED = {
    "another session": (send(b"x", to="msrp://a.example:2855/other;tcp"), 481),
    "session-id in another case": (send(b"x", to="msrp://a.example:2855/S1;tcp"), 481),
    "unknown method": (send(None, method="NICKNAME"), 501),
    "no Message-ID": (send(b"x", name=None), 400),
    "Byte-Range": (send(b"x", "what"), 400),
    "Byte-Range from 0": (send(b"x", "0-0/1"), 400),
    "media type": (send(b"x").replace(b"text/plain", b"image/jpeg"), 415),
    "claimed too large": (send(b"x", "1-1/1001", flag="+"), 413),
    "starts beyond the limit": (send(b"x", "9223372036854775808-*/*", flag="+"), 413),
    "is too large": (send(b"x" * 1001, "1-*/*", flag="+"), 413),
}


def strict() -> MsrpReceiver:
    return MsrpReceiver(LOCAL, max_size=1000, accepts=lambda content_type: content_type == "text/plain")


@pytest.mark.parametrize(("octets", "status"), REFUSED.values(), ids=REFUSED.keys())
def test_refusals(octets: bytes, status: int) -> None:
    receiver = strict()
    events = feed(receiver, octets)
    assert statuses(events) == [status]
    assert [event for event in events if isinstance(event, MessageComplete)] == []
    assert content(feed(receiver, send(b"fine", name="m2aa"))[0]) == b"fine"


@pytest.mark.parametrize(("octets", "status"), REFUSED.values(), ids=REFUSED.keys())
def test_nothing_is_answered_if_no_failure_report_is_wanted(octets: bytes, status: int) -> None:
    quiet = octets.replace(b"Content-Type", b"Failure-Report: no\r\nContent-Type")
    if quiet != octets:
        assert statuses(feed(strict(), quiet)) == []
    partial = octets.replace(b"Content-Type", b"Failure-Report: partial\r\nContent-Type")
    assert statuses(feed(strict(), partial)) == [status]


@pytest.mark.parametrize("failure", ["no", "partial"])
def test_no_200_unless_wanted(failure: str) -> None:
    (event,) = feed(MsrpReceiver(LOCAL), send(b"x", extra=(("Failure-Report", failure), ("Success-Report", "yes"))))
    assert isinstance(event, MessageComplete)
    assert [read(octets).method for octets in event.answers] == ["REPORT"]
    assert len(event.refused(413)) == (failure == "partial")


@pytest.mark.parametrize("failure", ["yes", "no"])
@pytest.mark.parametrize(
    ("found", "instead"),
    [
        (b"MSRP transact1 ", b"MSRP abc "), (b"MSRP transact1 ", b"MSRP " + b"x" * 33 + b" "),
        (b"From-Path: msrp:", b"From-Path: msrp\0:"), (b"m1aa", b"m1\raa"), (b"From-Path: ", b"From-Path:\r\nX: "),
    ],
)  # fmt: skip
def test_what_no_response_can_repeat_is_not_answered(found: bytes, instead: bytes, failure: str) -> None:
    """RFC 4975 9: neither identifier nor paths of a response may be what these requests have."""
    extra = (("Failure-Report", failure), ("Success-Report", "yes"))
    whole = send(b"x", tid="transact1", extra=extra).replace(found, instead)
    (event,) = feed(MsrpReceiver(LOCAL), whole.replace(b"-------transact1", b"-------" + whole.split()[1]))
    assert isinstance(event, MessageComplete)
    assert (event.answers, event.refused(413)) == ((), ())
    bind = send(None, tid="transact1").replace(found, instead)
    assert feed(MsrpReceiver(LOCAL), bind) == []
    assert feed(MsrpReceiver(PEER), bind) == []


def test_413_comes_while_the_chunk_is_still_being_sent() -> None:
    receiver, stream = MsrpReceiver(LOCAL, max_size=10), MsrpStream()
    octets = send(b"x" * 50, "1-*/*", flag="+")
    events = [found for event in stream.feed(octets[:-40]) for found in receiver.receive(event)]
    assert statuses(events) == [413]
    assert isinstance(events[0], MessageAborted)
    assert [found for event in stream.feed(octets[-40:]) for found in receiver.receive(event)] == []
    assert statuses(feed(receiver, send(b"x", "51-51/51"))) == [413]


def test_the_path_is_compared_as_a_uri() -> None:
    assert content(feed(MsrpReceiver(LOCAL), send(b"x", to="MSRP://A.EXAMPLE:2855/s1;TCP"))[0]) == b"x"
    only = MsrpReceiver(LOCAL, peer_path=PEER[:1])
    assert statuses(feed(only, send(b"x"))) == [481]


def test_incomplete_messages_are_limited() -> None:
    chunks = [send(b"x", "1-1/2", name=f"m{index:04}", flag="+") for index in range(MAX_INCOMPLETE + 1)]
    assert statuses(feed(MsrpReceiver(LOCAL), *chunks)) == [200] * MAX_INCOMPLETE + [413]


def test_what_is_not_for_the_receiver() -> None:
    receiver = MsrpReceiver(LOCAL)
    report = send(None, "1-1/1", method="REPORT", extra=(("Status", "000 200 OK"),))
    (event,) = feed(receiver, report)
    assert isinstance(event, ForSender)
    assert event.head.status_header == ("000", 200, "OK")
    broken = feed(receiver, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert [type(event) for event in broken] == [Broken]


def test_only_so_many_finished_messages_are_remembered() -> None:
    receiver = MsrpReceiver(LOCAL)
    for index in range(MAX_REMEMBERED + 1):
        feed(receiver, send(b"x", name=f"m{index:06}"))
    assert statuses(feed(receiver, send(b"x", name="m000001"))) == [200]
    assert content(feed(receiver, send(b"x", name="m000000"))[0]) == b"x"


def test_spans_of_one_message_are_limited() -> None:
    receiver = MsrpReceiver(LOCAL)
    chunks = [send(b"x", f"{place}-{place}/*", flag="+") for place in range(1, 2 * MAX_SPANS, 2)]
    assert set(statuses(feed(receiver, *chunks))) == {200}
    assert statuses(feed(receiver, send(b"x", "2-2/*", flag="+"))) == [200]  # joins two
    assert statuses(feed(receiver, send(b"x", f"{2 * MAX_SPANS + 1}-*/*", flag="+"))) == [200]
    assert statuses(feed(receiver, send(b"x", f"{2 * MAX_SPANS + 5}-*/*", flag="+"))) == [413]


class TestChunksThatFollowTheirLike:
    """A head that differs from the one before in identifier and Byte-Range only is not read again, and judged alike."""

    def test_the_answers_are_the_same_but_for_the_identifier(self) -> None:
        chunks = [send(b"ab", f"{at}-{at + 1}/8", flag="+", tid=f"transact{at}") for at in (1, 3, 5)]
        replies = [read(event.octets) for event in feed(MsrpReceiver(LOCAL), *chunks) if isinstance(event, Reply)]
        assert [reply.transaction_id for reply in replies] == ["transact1", "transact3", "transact5"]
        assert {(reply.status, reply.comment, reply.to_path, reply.from_path) for reply in replies} == {
            (200, "OK", PEER[:1], LOCAL)
        }

    @pytest.mark.parametrize("failure", ["no", "partial"])
    def test_nor_are_they_answered_if_the_first_was_not(self, failure: str) -> None:
        extra = (("Failure-Report", failure),)
        chunks = [send(b"ab", f"{at}-{at + 1}/8", flag="+", extra=extra) for at in (1, 3, 5)]
        assert feed(MsrpReceiver(LOCAL), *chunks) == []

    @pytest.mark.parametrize(
        ("span", "status"), [("0-1/8", 400), ("what", 400), ("3-4/1001", 413), ("1001-1002/*", 413), ("3-4/*", 200)]
    )
    def test_what_the_range_says_is_judged_anew(self, span: str, status: int) -> None:
        receiver = strict()
        assert statuses(feed(receiver, send(b"ab", "1-2/8", flag="+"))) == [200]
        assert statuses(feed(receiver, send(b"ab", span, flag="+"))) == [status]

    def test_an_identifier_that_no_response_can_repeat(self) -> None:
        receiver = MsrpReceiver(LOCAL)
        feed(receiver, send(b"ab", "1-2/8", flag="+", tid="transact1"))
        long = "x" * 33
        octets = send(b"ab", "3-4/8", flag="+", tid="transact2").replace(b"transact2", long.encode())
        assert feed(receiver, octets) == []

    def test_another_message_is_not_taken_for_the_same(self) -> None:
        receiver = MsrpReceiver(LOCAL)
        feed(receiver, send(b"ab", "1-2/4", flag="+"), send(b"12", "1-2/4", name="m2aa", flag="+"))
        events = feed(receiver, send(b"cd", "3-4/4"), send(b"34", "3-4/4", name="m2aa"))
        assert [content(event) for event in events] == [b"abcd", b"1234"]

    def test_a_message_that_was_refused_stays_so(self) -> None:
        receiver = strict()
        assert statuses(feed(receiver, send(b"ab", "1-2/8", flag="+"), send(b"x" * 1001, "3-*/*", flag="+"))) == [
            200,
            413,
        ]
        assert statuses(feed(receiver, send(b"cd", "5-6/8", flag="+"))) == [413]


@given(
    st.lists(st.binary(max_size=9000), min_size=1, max_size=4),
    st.sampled_from([2048, 4000, None]),
    st.integers(min_value=1, max_value=4),
    st.booleans(),
    st.integers(min_value=0, max_value=2**32),
)
def test_sender_against_receiver(
    contents: list[bytes], chunk_size: int | None, window: int, success: bool, seed: int
) -> None:
    """Whatever the pieces in which octets arrive, every message comes through once and is known to have."""
    drawn = random.Random(seed)
    sender = MsrpSender(LOCAL, PEER[:1], chunk_size=chunk_size, window=window)
    receiver, other, there, back = MsrpReceiver(LOCAL), MsrpReceiver(PEER[:1]), MsrpStream(), MsrpStream()
    for index, octets in enumerate(contents):
        sender.submit(OutgoingMessage(f"m{index:04}", "a/b", BytesContent(octets), success))
    sent, answered, got, outcomes = bytearray(), bytearray(), [], []
    while not sender.idle:
        while (piece := sender.next_octets(0.0)) is not None:
            sent += piece
        count = drawn.randint(0, len(sent))
        for event in there.feed(bytes(sent[:count])):
            for found in receiver.receive(event):
                if isinstance(found, MessageComplete):
                    got.append(content(found))
                    answered += b"".join(found.answers)
                elif isinstance(found, Reply):
                    answered += found.octets
        del sent[:count]
        count = drawn.randint(0, len(answered))
        for event in back.feed(bytes(answered[:count])):
            for passed in other.receive(event):
                assert isinstance(passed, ForSender)
                outcomes += [told for told in sender.receive(passed.head, 0.0) if isinstance(told, Outcome)]
        del answered[:count]
    assert got == contents
    assert outcomes == [Outcome(f"m{index:04}", True, 200) for index in range(len(contents))]
