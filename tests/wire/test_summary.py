"""Message summaries of RFC 3842."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpora import Case, corpus, distinct, told
from cpmspec.wire.headers import Header, Headers
from cpmspec.wire.summary import MAX_COUNT, Count, build_summary, build_unchecked, parse_summary

PROPERTY = settings(deadline=None, derandomize=True, database=None)

SUMMARY = (
    b"Messages-Waiting: yes\r\n"
    b"Message-Account: sip:alice@example.com\r\n"
    b"Pager-Message: 2/0\r\n"
    b"multimedia-message:1 / 3 (1/ 0)\r\n"
    b"\r\n"
    b"To: <sip:alice@example.com>\r\n"
    b"Message-ID: c1\r\n"
    b"\r\n"
    b"To: <sip:alice@example.com>\r\n"
    b"Subject: long\r\n words\r\n"
)

CASES = corpus("summary")


def test_the_corpus_has_many_distinct_cases() -> None:
    assert distinct(CASES) >= 30


@pytest.mark.parametrize("case", CASES, ids=str)
def test_corpus(case: Case) -> None:
    summary = parse_summary(case.octets)
    assert told(summary.violations) == case.violations
    assert summary.octets() == case.octets
    if case.facts:
        assert (summary.waiting, summary.account or "") == (case.facts["waiting"], case.facts["account"])
        assert [str(count) for count in summary.counts] == case.facts["counts"]
        assert len(summary.messages) == case.facts["messages"]


@PROPERTY
@given(st.sampled_from(CASES), st.integers(min_value=0), st.integers(min_value=0, max_value=40), st.binary())
def test_what_is_spoiled_is_kept(case: Case, at: int, cut: int, dirt: bytes) -> None:
    octets = case.octets[:1000]
    place = at % (len(octets) + 1)
    spoiled = octets[:place] + dirt + octets[place + cut :]
    summary = parse_summary(spoiled)
    assert summary.octets() == spoiled
    assert all(0 <= violation.offset <= len(spoiled) for violation in summary.violations)


def test_the_first_of_two_statuses_counts() -> None:
    assert parse_summary(b"Messages-Waiting: yes\r\nMessages-Waiting: no\r\n").waiting is True


@PROPERTY
@given(
    st.lists(st.sampled_from([*SUMMARY.splitlines(keepends=True), b"\n", b"\r", b"1/", b"\xff"])).map(b"".join)
    | st.binary()
)
def test_any_octets_are_kept(octets: bytes) -> None:
    assert parse_summary(octets).octets() == octets


def test_a_summary() -> None:
    summary = parse_summary(SUMMARY)
    assert summary.violations == ()
    assert (summary.waiting, summary.account) == (True, "sip:alice@example.com")
    assert summary.count("PAGER-message") == Count("Pager-Message", 2, 0)
    assert summary.count("Multimedia-Message") == Count("multimedia-message", 1, 3, 1, 0)
    assert summary.count("Voice-Message") is None
    assert [message.get("to") for message in summary.messages] == ["<sip:alice@example.com>"] * 2
    assert summary.messages[0].get("message-id") == "c1"
    assert summary.messages[1].get("subject") == "long words"


@pytest.mark.parametrize("ending", [b"", b"\r\n", b"\r\n\r\n"])
def test_empty_lines_at_the_end_are_no_messages(ending: bytes) -> None:
    summary = parse_summary(b"Messages-Waiting: no\r\n" + ending)
    assert (summary.waiting, summary.messages, summary.violations) == (False, (), ())


@pytest.mark.parametrize(
    ("octets", "rules"),
    [
        (b"", ["02", "07"]),
        (b"Messages-Waiting: yes", ["02"]),
        (b"Messages-Waiting: yes\n", ["01"]),
        (b"Messages-Waiting: maybe\r\n", ["08"]),
        (b"Pager-Message: 1/0\r\nMessages-Waiting: yes\r\n", ["07"]),
        (b"Messages-Waiting: yes\r\nPager-Message: 1\r\n", ["09"]),
        (b"Messages-Waiting: yes\r\nPager-Message: -1/0\r\n", ["09"]),
        (b"Messages-Waiting: yes\r\nPager-Message: 1/0 (1)\r\n", ["09"]),
        (b"Messages-Waiting: yes\r\nwhat\r\n", ["03"]),
        (b"Messages-Waiting: yes\r\n\r\nTo: a\rb\r\n", ["05"]),
        (b"Messages-Waiting: yes\r\n\r\nTo you: a\r\n", ["04"]),
    ],
)
def test_deviations_are_named(octets: bytes, rules: list[str]) -> None:
    summary = parse_summary(octets)
    assert [violation.id for violation in summary.violations] == [f"NTF-3842-5.2-{rule}" for rule in rules]


def test_what_is_built_is_read_back() -> None:
    messages = [[("To", "a"), ("Message-ID", "1")], [("To", "b")]]
    octets = build_summary([("Pager-Message", 2, 0), Count("Fax-Message", 0, 1, 0, 1)], messages, "sip:a@b")
    summary = parse_summary(octets)
    assert summary.violations == ()
    assert (summary.waiting, summary.account) == (True, "sip:a@b")
    assert summary.counts == (Count("Pager-Message", 2, 0), Count("Fax-Message", 0, 1, 0, 1))
    assert [[(header.name, header.value) for header in message] for message in summary.messages] == messages


def test_nothing_new_does_not_wait() -> None:
    assert build_summary([("Pager-Message", 0, 4)], []) == b"Messages-Waiting: no\r\nPager-Message: 0/4\r\n"


def test_building_refuses_injection_and_nonsense() -> None:
    with pytest.raises(ValueError, match="CR, LF or NUL"):
        build_summary([], [[("Subject", "a\r\n\r\nTo: b")]])
    for wrong in (("x", -1, 0), Count("x", 0, 0, 0, -1), ("x", 0, MAX_COUNT + 1)):
        with pytest.raises(ValueError, match="negative count, or one above"):
            build_summary([wrong], [])
    with pytest.raises(ValueError, match="no token"):
        build_summary([("Pager Message", 1, 0)], [])
    with pytest.raises(ValueError, match="no URI"):
        build_summary([], [], "alice")


def test_anything_wrong_can_be_built() -> None:
    octets = build_unchecked([Headers(), Headers([Header.unchecked("To", "a", b"To a\n")])])
    assert octets == b"\r\nTo a\n"
