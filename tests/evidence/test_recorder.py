"""Every octet is handed on at once and in order, and each MSRP message begins a piece of its own."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from cpmspec.evidence.context import Context
from cpmspec.evidence.recorder import MAX_OCTETS, Cutter, FrameSink, cut
from cpmspec.evidence.trace import Address, Frame, Pco, Role

SEND = b"MSRP %s SEND\r\nTo-Path: msrp://a\r\nMessage-ID: 1\r\nContent-Type: text/plain\r\n\r\n%s\r\n-------%s%s\r\n"
BODIES = [b"", b"hello", b"-------abc1", b"\r\n-------zzzz$\r\n", b"MSRP abcd SEND\r\n", b"x" * 300, b"\r\n" * 9]


def send(tid: bytes, body: bytes, flag: bytes = b"$") -> bytes:
    return SEND % (tid, body, tid, flag)


def answer(tid: bytes) -> bytes:
    return b"MSRP %s 200 OK\r\nTo-Path: msrp://a\r\n-------%s$\r\n" % (tid, tid)


messages = st.lists(
    st.builds(
        send, st.sampled_from([b"abc1", b"T.x-+%="]), st.sampled_from(BODIES), st.sampled_from([b"$", b"+", b"#"])
    )
    | st.builds(answer, st.sampled_from([b"abc1", b"k9k9"])),
    max_size=6,
)


@settings(deadline=None)
@given(messages, st.lists(st.integers(0, 2000)))
def test_each_message_begins_a_piece_whatever_the_split(stream: list[bytes], splits: list[int]) -> None:
    octets = b"".join(stream)
    marks = sorted({0, len(octets), *(split for split in splits if split < len(octets))})
    cutter = Cutter()
    fed = [cutter.feed(octets[first:last]) for first, last in pairwise(marks)]
    pieces = [piece for some in fed for piece in some]
    assert b"".join(pieces) == octets
    assert [b"".join(some) for some in fed] == [octets[a:b] for a, b in pairwise(marks)]
    begun = {sum(map(len, pieces[:index])) for index in range(len(pieces))}
    starts = {sum(map(len, stream[:index])) for index in range(len(stream))}
    assert starts <= begun
    assert begun <= starts | set(marks), "nothing else is cut"


@settings(deadline=None)
@given(st.lists(st.binary(max_size=40)))
def test_no_octets_are_lost_whatever_they_are(feeds: list[bytes]) -> None:
    cutter = Cutter()
    assert b"".join(piece for octets in feeds for piece in cutter.feed(octets)) == b"".join(feeds)


def test_it_picks_up_again_after_octets_that_are_no_msrp() -> None:
    first, second = send(b"abc1", b"one"), send(b"abc2", b"two")
    assert Cutter().feed(first + b"???\r\n" + second) == [first, b"???\r\n", second]
    assert Cutter().feed(b"\r\n" + first + second) == [b"\r\n", first, second]
    assert Cutter().feed(b"MSRP x\r\nMSRP abc1 SEND\r\n") == [b"MSRP x\r\n", b"MSRP abc1 SEND\r\n"]


def test_what_it_keeps_is_bounded() -> None:
    cutter = Cutter()
    cutter.feed(b"MSRP abc1 SEND\r\n\r\n")
    for _ in range(50):
        cutter.feed(b"x" * 10_000)
        assert len(cutter._seen) < 2048
    lost = Cutter()
    for _ in range(5):
        lost.feed(b"MSRP " + b"x" * 10_000)
        assert len(lost._seen) < 2048


def test_long_pieces_are_cut_at_the_limit() -> None:
    octets = send(b"abc1", b"x" * (2 * MAX_OCTETS))
    assert [len(piece) for piece in Cutter().feed(octets)] == [MAX_OCTETS, MAX_OCTETS, len(octets) - 2 * MAX_OCTETS]
    assert list(cut(b"")) == []
    assert list(cut(b"abcde", 2)) == [b"ab", b"cd", b"e"]


def test_a_sink_keeps_the_order_of_arrival() -> None:
    sink = FrameSink()
    ends = Address("127.0.0.1", 1), Address("127.0.0.1", 2)
    for octets in (b"1", b"2", b"3"):
        sink(Frame(0, 5, Pco.ISC, Role.CORE, Role.IUT, "udp", *ends, 0, octets=octets))
    assert len(sink) == 3
    assert [frame.number for frame in sink.trace(Context("case", ())).frames] == [1, 2, 3]
