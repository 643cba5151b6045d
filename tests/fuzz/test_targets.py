"""The fuzz targets take what they begin with, and each can fail: its planted bug makes it. No fuzzing here."""

from __future__ import annotations

import pytest

import corpora
from driver import State
from planted import PLANTED
from seeds import CORPORA, LOCAL, SINGLE
from targets import TARGETS, Broken


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_takes_its_seeds(name: str) -> None:
    seeds = list(TARGETS[name].seeds())
    assert seeds
    for octets in seeds:
        TARGETS[name].check(octets)


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_takes_nothing_and_anything(name: str) -> None:
    for octets in (b"", *(bytes([octet]) * size for octet in range(256) for size in (1, 5, 9))):
        TARGETS[name].check(octets)


@pytest.mark.parametrize("name", TARGETS)
def test_a_planted_bug_makes_its_target_fail(name: str) -> None:
    planted = PLANTED[name]
    TARGETS[name].check(planted.trigger)
    with planted.planted(), pytest.raises((Broken, LookupError, RecursionError, ArithmeticError, ValueError)):
        TARGETS[name].check(planted.trigger)
    TARGETS[name].check(planted.trigger)


@pytest.mark.parametrize("name", TARGETS)
def test_no_seed_shows_the_planted_bug(name: str) -> None:
    """It has to be searched for."""
    with PLANTED[name].planted():
        for octets in TARGETS[name].seeds():
            TARGETS[name].check(octets)


def test_each_target_has_a_planted_bug_and_each_corpus_a_target() -> None:
    assert list(PLANTED) == list(TARGETS)
    assert set(corpora.names()) <= set(CORPORA)
    assert {target for some in CORPORA.values() for target in some} <= set(TARGETS)


def told(planted: bool, status: int, *lines: str) -> State:
    state = State("sip_message", planted)
    for line in lines:
        state.take(line)
    state.status = status
    return state


RUN = ("#2\tINITED cov: 3 ft: 4 corp: 1/1b", "#4096\tpulse  cov: 700 ft: 2300 corp: 12/34b lim: 4 exec/s: 99 rss: 46Mb")
CRASH = (" === Uncaught Python exception: ===\n", "KeyError: 'x'\n", "Test unit written to /tmp/f/a-crash-1\n")
END = "stat::number_of_executed_units: 5000"


def test_a_run_without_a_finding() -> None:
    state = told(False, 0, *RUN, END)
    assert (state.good, state.executions, state.coverage, state.features) == (True, 5000, 700, 2300)
    assert str(state).endswith("nothing found")
    assert not told(True, 0, *RUN, END).good


def test_a_run_with_a_finding() -> None:
    state = told(False, 77, *RUN, *CRASH, END)
    assert not state.good
    assert "FOUND KeyError: 'x'" in str(state)
    assert "/tmp/f/a-crash-1" in str(state)
    planted = told(True, 77, *RUN, *CRASH, END)
    assert planted.good
    assert "found after 5000 executions: KeyError: 'x'" in str(planted)


def test_a_run_that_could_not_begin_is_not_good() -> None:
    assert not told(False, 1).good
    assert "ended with status 1" in str(told(False, 1))


def test_what_takes_too_long_is_a_finding() -> None:
    state = told(False, 70, "ALARM: working on the last Unit for 11 seconds\n", "Test unit written to /tmp/f/timeout-1")
    assert (state.good, state.raised) == (False, "takes too long, or too much memory")


def test_a_report_that_is_the_only_answer_is_no_difference() -> None:
    """Found by the fuzzer: its drawn transaction identifier made two readings of one stream differ."""
    send = (
        f"MSRP abcd1234 SEND\r\nTo-Path: {LOCAL}\r\nFrom-Path: msrp://b.example:2855/s2;tcp\r\nMessage-ID: m1.a\r\n"
        "Success-Report: yes\r\nFailure-Report: no\r\nByte-Range: 1-5/5\r\nContent-Type: text/plain\r\n\r\n"
        "hello\r\n-------abcd1234$\r\n"
    )
    TARGETS["msrp_receiver"].check(SINGLE + send.encode())
