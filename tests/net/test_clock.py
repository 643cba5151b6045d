"""The shared clock."""

from __future__ import annotations

import os
import subprocess
import sys
import time

from cpmspec.net.clock import BASE_VARIABLE, export_base, now_us


def test_is_wall_time_and_never_steps_back() -> None:
    times = [now_us() for _ in range(1000)]
    assert times == sorted(times)
    assert abs(times[-1] - time.time_ns() // 1000) < 60_000_000


def child(base: str) -> tuple[int, str]:
    script = "from cpmspec.net.clock import export_base, now_us; print(now_us(), export_base())"
    environment = {**os.environ, BASE_VARIABLE: base, "PYTHONPATH": os.pathsep.join(sys.path)}
    run = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    time_us, exported = run.stdout.split()
    return int(time_us), exported


def test_a_child_with_our_base_shares_our_time() -> None:
    before = now_us()
    time_us, exported = child(export_base())
    assert before < time_us < now_us()
    assert exported == export_base()


def test_the_base_of_the_environment_counts_and_nonsense_does_not() -> None:
    assert child("5")[1] == "5"
    assert abs(child("nonsense")[0] - now_us()) < 60_000_000
