"""How late a process reads: what came while it was busy gets a time at which it was read, not at which it came.

An event loop that is busy, or a machine that is, reads later than octets arrive. How much later cannot be told for one
frame, but its bound can be measured: a timer that is late by so much stood in the same queue.
"""

from __future__ import annotations

import asyncio
from collections import deque

from cpmspec.net.clock import now_us

#: seconds between two beats
INTERVAL = 0.02
#: microseconds of lateness that every loop has, not worth remembering
USUAL_US = 5_000
#: how many late beats are remembered
REMEMBERED = 50_000


class Pulse:
    """Beats on the running loop from :meth:`start` to :meth:`stop`, and remembers when it was late."""

    def __init__(self) -> None:
        self._late: deque[tuple[int, int]] = deque(maxlen=REMEMBERED)
        self._due_us = 0
        self._next: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to beat."""
        self._due_us = now_us() + round(INTERVAL * 1e6)
        self._next = asyncio.get_running_loop().call_later(INTERVAL, self._beat)

    def stop(self) -> None:
        """Beat no more."""
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def worst_us(self, since_us: int) -> int:
        """The longest lateness since then in microseconds, a beat that is overdue now included."""
        overdue = now_us() - self._due_us if self._next is not None else 0
        return max([overdue, *(late for end, late in self._late if end >= since_us)], default=0)

    def _beat(self) -> None:
        now = now_us()
        if now - self._due_us > USUAL_US:
            self._late.append((now, now - self._due_us))
        self.start()
