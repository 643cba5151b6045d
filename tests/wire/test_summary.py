"""Message summaries of RFC 3842."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cpmspec.wire.summary import Count, build_summary, parse_summary

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
    with pytest.raises(ValueError, match="negative"):
        build_summary([("Pager-Message", -1, 0)], [])
