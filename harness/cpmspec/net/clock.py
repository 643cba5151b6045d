"""One clock for all processes of a run: wall time that never steps back.

The monotonic clock of the machine is the same for all its processes; what has to be shared is the distance to wall
time. The first process takes it when this module is imported and hands it on in the environment.
"""

from __future__ import annotations

import os
import time
from typing import Final

#: environment variable that carries the distance of wall time from the monotonic clock, in microseconds
BASE_VARIABLE: Final = "CPMSPEC_CLOCK_BASE_US"


def _base() -> int:
    """The distance given by the environment, else the one measured now; both in microseconds."""
    given = os.environ.get(BASE_VARIABLE, "")
    if given.isascii() and given.isdigit():
        return int(given)
    return (time.time_ns() - time.monotonic_ns()) // 1000


_BASE_US: Final = _base()


def now_us() -> int:
    """Microseconds since the epoch: never steps back, and the same in every process that shares the base."""
    return _BASE_US + time.monotonic_ns() // 1000


def export_base() -> str:
    """The value of :data:`BASE_VARIABLE` to give to a child process, so that its times compare with ours."""
    return str(_BASE_US)
