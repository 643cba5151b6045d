"""A set of octets of a message, as few spans as they make."""

from __future__ import annotations

from bisect import bisect_left


class Ranges:
    """Half-open spans ``start`` to ``end``, from 0, joined where they touch or overlap."""

    def __init__(self) -> None:
        self._spans: list[tuple[int, int]] = []

    def add(self, start: int, end: int) -> None:
        """Add the octets from ``start`` up to and without ``end``; nothing if there are none."""
        if start >= end:
            return
        if self._spans and self._spans[-1][0] <= start <= self._spans[-1][1]:  # most go on where the last one ended
            self._spans[-1] = self._spans[-1][0], max(end, self._spans[-1][1])
            return
        low = bisect_left(self._spans, start, key=lambda span: span[1])
        high = low
        while high < len(self._spans) and self._spans[high][0] <= end:
            start, end = min(start, self._spans[high][0]), max(end, self._spans[high][1])
            high += 1
        self._spans[low:high] = [(start, end)]

    def covers(self, start: int, end: int) -> bool:
        """Whether every octet from ``start`` up to and without ``end`` is in the set."""
        return start >= end or any(first <= start and end <= last for first, last in self._spans)

    @property
    def count(self) -> int:
        """How many spans there are."""
        return len(self._spans)

    @property
    def spans(self) -> tuple[tuple[int, int], ...]:
        """The spans in order."""
        return tuple(self._spans)

    @property
    def end(self) -> int:
        """The end of the last span, 0 if the set is empty."""
        return self._spans[-1][1] if self._spans else 0
