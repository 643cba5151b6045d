"""The MSRP reader over its corpora: each case as expected, octet for octet, however it is cut; memory stays bounded."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterable, Iterator
from itertools import groupby, pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpora import Case, corpus, distinct, told
from cpmspec.wire.msrp import (
    MAX_HEAD,
    MAX_HEADERS,
    MAX_HELD,
    MAX_LINE,
    FrameBegin,
    FrameData,
    FrameEnd,
    MsrpEvent,
    MsrpFrame,
    MsrpFrameStream,
    MsrpStream,
    Unreadable,
    build_request,
)
from cpmspec.wire.msrp_stream import HYPHENS

MESSAGES, STREAMS = corpus("msrp"), corpus("msrp_stream")
#: octets of a stream that is cut at every place; of a longer one these ends are
EDGE = 700
PATHS = (["msrp://a.example.org:2855/s1;tcp"], ["msrp://b.example.org:2855/s2;tcp"])


def frames(case: Case) -> list[MsrpFrame | Unreadable]:
    stream = MsrpFrameStream(resuming=case.facts.get("resuming", False))
    return [*stream.feed(case.octets), *stream.close()]


def octets_of(found: Iterable[MsrpFrame | Unreadable]) -> bytes:
    return b"".join(one.octets if isinstance(one, Unreadable) else one.octets() for one in found)


def facts_of(found: MsrpFrame | Unreadable) -> dict[str, Any]:
    """What a case may tell of its message."""
    if isinstance(found, Unreadable):
        return {}
    status = found.status_header
    return {
        "method": found.method or "",
        "status": found.status,
        "comment": found.comment,
        "flag": found.flag,
        "transaction_id": found.transaction_id,
        "body": -1 if found.body is None else len(found.body),
        "byte_range": str(found.byte_range or ""),
        "status_header": "{} {:03d} {}".format(*status) if status else "",
        "message_id": found.message_id or "",
        **{name: getattr(found, name) for name in ("content_type", "success_report", "failure_report")},
        **{name: list(getattr(found, name)) for name in ("to_path", "from_path", "use_path")},
        **{name: getattr(found, name) for name in ("expires", "min_expires", "max_expires")},
        **{name: getattr(found, name) for name in ("challenge", "credentials", "authentication_info")},
    }


def shown(found: Iterable[MsrpFrame | Unreadable]) -> Iterator[str]:
    """The events of a stream as its case tells them."""
    for unreadable, group in groupby(found, lambda one: isinstance(one, Unreadable)):
        if unreadable:
            yield f"? {sum(len(one.octets) for one in group if isinstance(one, Unreadable))}"
            continue
        for one in group:
            assert isinstance(one, MsrpFrame)
            size = "-" if one.body is None else len(one.body)
            yield f"{one.method or one.status} {one.transaction_id} {size} {one.flag}"


@pytest.mark.parametrize("case", MESSAGES, ids=str)
def test_each_message(case: Case) -> None:
    found = frames(case)
    assert told(wrong for one in found for wrong in one.violations) == case.violations
    assert octets_of(found) == case.octets
    facts = facts_of(found[0])
    assert {name: facts[name] for name in case.facts} == case.facts


@pytest.mark.parametrize("case", STREAMS, ids=str)
def test_each_stream(case: Case) -> None:
    found = frames(case)
    assert told(wrong for one in found for wrong in one.violations) == case.violations
    assert octets_of(found) == case.octets
    assert list(shown(found)) == case.facts["events"]


def test_the_corpora_show_many_things() -> None:
    assert distinct(MESSAGES) >= 140
    assert distinct(STREAMS) >= 35


# --- splits ----------------------------------------------------------------------------------------------------------


def read(pieces: Iterable[bytes], *, resuming: bool = False) -> list[MsrpEvent]:
    """The events of a stream, adjacent data joined."""
    stream, events = MsrpStream(resuming=resuming), list[MsrpEvent]()
    for event in [event for piece in pieces for event in stream.feed(piece)] + stream.close():
        if isinstance(event, FrameData) and events and isinstance(events[-1], FrameData):
            event = FrameData(events.pop().octets + event.octets)  # type: ignore[union-attr]
        events.append(event)
    return events


def raw(events: Iterable[MsrpEvent]) -> bytes:
    """The octets that events were made of."""
    parts: list[bytes] = []
    for event in events:
        match event:
            case FrameBegin(head):
                parts.append(head.raw)
            case FrameEnd():
                parts.append(event.raw)
            case FrameData(octets) | Unreadable(octets):
                parts.append(octets)
    return b"".join(parts)


@pytest.mark.parametrize("case", [*MESSAGES, *STREAMS], ids=str)
def test_no_split_makes_a_difference(case: Case) -> None:
    octets, resuming = case.octets, case.facts.get("resuming", False)
    whole = read([octets], resuming=resuming)
    assert raw(whole) == octets
    assert read([octets[i : i + 1] for i in range(len(octets))], resuming=resuming) == whole
    for place in {*range(min(EDGE, len(octets))), *range(max(0, len(octets) - EDGE), len(octets))}:
        assert read([octets[:place], octets[place:]], resuming=resuming) == whole, place


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A stream of some cases, in which some octets were taken out, put in, doubled or changed."""
    octets = bytearray(b"".join(case.octets[:2000] for case in draw(st.lists(st.sampled_from(STREAMS), max_size=2))))
    for _ in range(draw(st.integers(0, 4))):
        place = draw(st.integers(0, len(octets)))
        size = draw(st.integers(0, 40))
        piece = draw(st.binary(max_size=6) | st.sampled_from([b"\r", b"\n", b"\r\n", b"-------", b"MSRP ", b"$", b" "]))
        octets[place : place + size] = draw(st.sampled_from([b"", piece, bytes(octets[place : place + size]) * 2]))
    return bytes(octets)


@settings(deadline=None)
@given(mutated(), st.lists(st.integers(0, 5000), max_size=10), st.booleans())
def test_no_split_of_anything_makes_a_difference(octets: bytes, places: list[int], resuming: bool) -> None:
    whole = read([octets], resuming=resuming)
    assert raw(whole) == octets
    marks = sorted({0, len(octets), *(place % (len(octets) + 1) for place in places)})
    assert read([octets[a:b] for a, b in pairwise(marks)], resuming=resuming) == whole


# --- limits ----------------------------------------------------------------------------------------------------------


def head(*lines: str) -> bytes:
    paths = f"To-Path: {PATHS[0][0]}\r\nFrom-Path: {PATHS[1][0]}\r\n"
    return f"MSRP t7Yk2q SEND\r\n{paths}".encode() + "".join(f"{line}\r\n" for line in lines).encode()


@pytest.mark.parametrize(
    ("start", "piece"),
    [
        (b"", b"MSRP"), (b"MSRP ", b"x" * 100), (head(), b"x" * 100), (head("X: 1"), b"X-Y: 1\r\n"),
        (head() + b"Byte-Range: 1-*/", b"9" * 100), (head() + b"X: ", b"\0\xff"), (b"", b"\r\n"), (b"MSRP ", b"\r"),
        (head(), b"X: %s\r\n" % (b"y" * 4000)), (b"MSRP %s SEND\r\n\r\n" % (b"x" * 8000), b"-" * 100),
    ],
)  # fmt: skip
def test_a_head_without_end_is_not_held(start: bytes, piece: bytes) -> None:
    stream, most = MsrpStream(), 0
    stream.feed(start)
    for _ in range(200_000 // len(piece) + 1):
        stream.feed(piece)
        most = max(most, len(stream.pending))
    assert most <= MAX_HELD


def test_a_body_is_handed_on_as_it_comes() -> None:
    """10 MB in pieces of all sizes: of a body no more is held than CRLF and an end-line."""
    stream, size = MsrpStream(), 0
    tail = b"\r\n" + HYPHENS + b"t7Yk2q"
    stream.feed(head("Message-ID: m4.Zz-1", "Byte-Range: 1-*/*", "Content-Type: a/b") + b"\r\n")
    piece = b"some text\r\n-------t7Yk2\r\n------" * 50
    tracemalloc.start()
    while size < 10_000_000:
        for count in (1, 7, 1460, len(piece)):
            fed = stream.feed(piece[:count])
            size += sum(len(event.octets) for event in fed if isinstance(event, FrameData))
            assert len(stream.pending) <= len(tail) + 2
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200_000


def test_a_claimed_length_allocates_nothing() -> None:
    octets = head("Message-ID: m4.Zz-1", f"Byte-Range: {2**63}-*/{2**64}", "Content-Type: a/b") + b"\r\nhello"
    tracemalloc.start()
    events = MsrpFrameStream().feed(octets)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (events, peak < 100_000) == ([], True)


@pytest.mark.parametrize(
    ("octets", "rule"),
    [
        (head("X: " + "y" * MAX_LINE), "MSR-LIMIT-01"), (b"MSRP " + b"x" * MAX_LINE, "MSR-LIMIT-01"),
        (head(*["X: " + "y" * 4000] * (MAX_HEAD // 4000 + 1)), "MSR-LIMIT-02"),
        (head(*["X: " + "y" * 4090] * 15, "X: " + "y" * 5000), "MSR-LIMIT-02"),
        (head(*["X: 1"] * MAX_HEADERS), "MSR-LIMIT-04"),
    ],
)  # fmt: skip
def test_what_is_beyond_a_limit_is_told_alike_in_any_split(octets: bytes, rule: str) -> None:
    events = read([octets])
    assert [wrong.id for event in events if isinstance(event, Unreadable) for wrong in event.violations] == [rule]
    assert read([octets[i : i + 100] for i in range(0, len(octets), 100)]) == events


def test_what_fits_the_limits_is_read() -> None:
    longest = "X: " + "y" * (MAX_LINE - len("X: \r\n"))
    octets = head(longest, *["X: 1"] * (MAX_HEADERS - 4), "Message-ID: m4.Zz-1") + b"-------t7Yk2q$\r\n"
    (found,) = MsrpFrameStream().feed(octets)
    assert isinstance(found, MsrpFrame)
    assert (len(found.headers), found.violations) == (MAX_HEADERS, ())


def test_a_stream_of_short_pieces_is_read_in_time_that_grows_with_its_length() -> None:
    """A quick look at a head is given up before it costs more than reading it line by line."""
    octets = (
        head("Message-ID: m4.Zz-1", *["X: " + "y" * 100] * 30, "Content-Type: a/b") + b"\r\nhello\r\n-------t7Yk2q$\r\n"
    )
    assert read([octets[i : i + 1] for i in range(len(octets))]) == read([octets])


def test_chunks_of_two_messages_are_told_apart_by_their_message_ids() -> None:
    (case,) = [case for case in STREAMS if case.name == "interleaved"]
    bodies: dict[str | None, bytes] = {}
    for one in frames(case):
        assert isinstance(one, MsrpFrame)
        bodies[one.message_id] = bodies.get(one.message_id, b"") + (one.body or b"")
    assert bodies == {"one.1": b"abcdef", "two.1": b"uvwxyz!!!"}


def test_each_octet_of_a_long_body_in_one_piece() -> None:
    body = bytes(range(256)) * 1000
    octets = build_request("SEND", "t7Yk2q", *PATHS, [("Message-ID", "m4.Zz-1"), ("Byte-Range", "1-*/256000")], body,
                           content_type="a/b")  # fmt: skip
    (found,) = MsrpFrameStream().feed(octets)
    assert isinstance(found, MsrpFrame)
    assert (found.body, found.violations) == (body, ())
