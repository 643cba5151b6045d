"""Speed as a ratio against a peer in the same run: the two take turns, so that a noisy machine slows both."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One line of the table: what was measured, against what, how it came out, and what was hoped for."""

    subject: str
    peer: str
    figures: tuple[float, float, float]  #: minimum, median, maximum
    goal: str = ""  #: such as "at least 0.4"; '' is for orientation only
    unit: str = "x"  #: "x" for a ratio of speeds: above 1 we are faster


def compare(
    subject: str, peer: str, ours: Callable[[], object], theirs: Callable[[], object], *, goal: str = "",
    rounds: int = 9, repeat: int = 1,
) -> Row:  # fmt: skip
    """Time both by turns, ``rounds`` times ``repeat`` calls each; the ratio is their time over ours."""
    ours(), theirs()
    ratios = []
    for _ in range(rounds):
        mine = _timed(ours, repeat)
        ratios.append(_timed(theirs, repeat) / mine)
    return Row(subject, peer, (min(ratios), statistics.median(ratios), max(ratios)), goal)


def _timed(work: Callable[[], object], repeat: int) -> float:
    gc.collect()
    begin = time.perf_counter()
    for _ in range(repeat):
        work()
    return time.perf_counter() - begin
