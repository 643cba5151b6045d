"""cpmspec.net.pulse: a busy loop is noticed."""

from __future__ import annotations

import asyncio

from cpmspec.net import pulse
from cpmspec.net.clock import now_us
from cpmspec.net.pulse import Pulse


def busy(seconds: float) -> None:
    """Keep the loop from doing anything else."""
    end = now_us() + round(seconds * 1e6)
    while now_us() < end:
        pass


async def test_a_busy_loop_is_late() -> None:
    beat = Pulse()
    beat.start()
    begun = now_us()
    busy(0.2)
    assert beat.worst_us(begun) >= 180_000 - pulse.INTERVAL * 1e6  # overdue: it cannot have beaten yet
    await asyncio.sleep(0)
    await asyncio.sleep(pulse.INTERVAL)
    assert beat.worst_us(begun) >= 180_000 - pulse.INTERVAL * 1e6  # remembered
    beat.stop()


async def test_what_was_before_does_not_count() -> None:
    beat = Pulse()
    beat.start()
    busy(0.1)
    await asyncio.sleep(pulse.INTERVAL)
    beat.stop()
    assert beat.worst_us(0) >= 50_000
    assert beat.worst_us(now_us() + 1) == 0
