"""Sets of octets as spans."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cpmspec.protocol.ranges import Ranges


def test_spans_join_where_they_touch_or_overlap() -> None:
    ranges = Ranges()
    assert (ranges.spans, ranges.count, ranges.end) == ((), 0, 0)
    for start, end in ((10, 20), (30, 40), (5, 5), (7, 3)):
        ranges.add(start, end)
    assert (ranges.spans, ranges.count, ranges.end) == (((10, 20), (30, 40)), 2, 40)
    ranges.add(20, 30)
    assert ranges.spans == ((10, 40),)
    ranges.add(15, 45)
    assert ranges.spans == ((10, 45),)


def test_what_is_covered() -> None:
    ranges = Ranges()
    ranges.add(0, 5)
    ranges.add(6, 9)
    assert ranges.covers(0, 5)
    assert ranges.covers(7, 8)
    assert ranges.covers(5, 5)
    assert not ranges.covers(0, 6)
    assert not ranges.covers(5, 6)
    assert not ranges.covers(4, 7)


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), max_size=20))
def test_it_holds_what_a_set_holds(spans: list[tuple[int, int]]) -> None:
    ranges, octets = Ranges(), set[int]()
    for start, end in spans:
        ranges.add(start, end)
        octets |= set(range(start, end))
    assert {octet for start, end in ranges.spans for octet in range(start, end)} == octets
    gaps = list(zip(ranges.spans, ranges.spans[1:], strict=False))
    assert all(before[1] < after[0] for before, after in gaps)
