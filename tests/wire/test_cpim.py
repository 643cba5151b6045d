"""message/cpim: kept to the octet, namespaces by declaration, strict lines."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpora import Case, corpus, distinct, told
from cpmspec.wire.cpim import CPIM_NAMESPACE, IMDN_NAMESPACE, build_cpim, build_unchecked, escape, parse_cpim
from cpmspec.wire.cpim_rules import msrp_violations

PROPERTY = settings(deadline=None, derandomize=True, database=None)

MESSAGE = (
    b"From: Alice <sip:alice@example.com>\r\n"
    b"To: <sip:bob@example.com>\r\n"
    b"DateTime: 2010-11-13T23:29:00-08:00\r\n"
    b"Subject: the weather\\u0007\\n\r\n"
    b"Subject:;lang=fr beau temps\r\n"
    b"NS: x <urn:ietf:params:imdn>\r\n"
    b"x.Message-ID: 34jk324j\r\n"
    b"x.Disposition-Notification: positive-delivery, display\r\n"
    b"\r\n"
    b"Content-Type: text/plain;\r\n charset=utf-8\r\n"
    b"Content-ID: <1@x>\r\n"
    b"\r\n"
    b"Hello\r\n\r\nWorld\0\xff"
)

CASES = corpus("cpim")


def test_the_corpus_has_many_distinct_cases() -> None:
    assert distinct(CASES) >= 90


@pytest.mark.parametrize("case", CASES, ids=str)
def test_corpus(case: Case) -> None:
    message = parse_cpim(case.octets)
    over = msrp_violations(message) if case.facts.get("over") == "msrp" else ()
    assert told((*message.violations, *over)) == case.violations
    assert message.octets() == case.octets
    if "headers" in case.facts:
        assert [header.name for header in message.headers] == case.facts["headers"]
        assert len(message.content) == case.facts["content"]


@PROPERTY
@given(
    st.sampled_from(CASES), st.integers(min_value=0), st.integers(min_value=0, max_value=40),
    st.sampled_from([b"\r\n", b"\n", b"\\", b"\\u", b" ", b":", b";", b"<", b'"', b"NS: a <b:c>\r\n"]) | st.binary(),
)  # fmt: skip
def test_what_is_spoiled_is_kept(case: Case, at: int, cut: int, dirt: bytes) -> None:
    octets = case.octets[:2000]
    place = at % (len(octets) + 1)
    spoiled = octets[:place] + dirt + octets[place + cut :]
    message = parse_cpim(spoiled)
    assert message.octets() == spoiled
    assert all(0 <= violation.offset <= len(spoiled) for violation in (*message.violations, *msrp_violations(message)))
    assert isinstance((message.required, [header.text for header in message.headers]), tuple)


@PROPERTY
@given(
    st.lists(st.sampled_from([*MESSAGE.splitlines(keepends=True), b"\n", b"\r", b":", b" "])).map(b"".join)
    | st.binary()
)
def test_any_octets_are_kept(octets: bytes) -> None:
    message = parse_cpim(octets)
    assert message.octets() == octets
    assert isinstance((message.imdn_message_id, message.date_time, message.disposition, message.content_type), tuple)


def test_a_message() -> None:
    message = parse_cpim(MESSAGE)
    assert message.violations == ()
    assert message.get("From") == "Alice <sip:alice@example.com>"
    assert (message.get("from"), message.get("x.Message-ID")) == (None, "34jk324j")
    assert (message.headers[3].value, message.headers[3].text) == ("the weather\\u0007\\n", "the weather\a\n")
    assert (message.headers[4].value, message.headers[4].params) == ("beau temps", ";lang=fr")
    assert message.namespaces == {"x": IMDN_NAMESPACE}
    assert (message.imdn_message_id, message.disposition) == ("34jk324j", "positive-delivery, display")
    assert message.date_time == datetime(2010, 11, 13, 23, 29, tzinfo=timezone(-timedelta(hours=8)))
    assert message.content_type == "text/plain; charset=utf-8"
    assert message.content == b"Hello\r\n\r\nWorld\0\xff"


@pytest.mark.parametrize(
    ("old", "new", "rules"),
    [
        (b"To: <", b"To:<", ["2.2-03"]),
        (b"To: <", b"To:  <", ["2.2-03"]),
        (b"To: <", b"To : <", ["2.2-05"]),
        (b".com>\r\nTo", b".com> \r\nTo", ["2.2-06"]),
        (b"To: <", b"To\r\n: <", ["2.2-02", "2.2-02"]),
        (b"To: <", b"\tfolded\r\nTo: <", ["2.2-02"]),
        (b"To: <", b"nothing\r\nTo: <", ["2.2-02"]),
        (b"To: <sip", b"To: \x01<sip", ["2.2-04", "3.6-03"]),
        (b"\r\nTo", b"\nTo", ["2.2-01"]),
        (b"NS: x <", b"NS: y <", ["3.4-01", "3.4-01"]),
        (b"NS: x <urn", b"NS: x urn", ["4.6-01", "3.4-01", "3.4-01"]),
        (b"2010-11-13T", b"2010-11-13 ", ["4.4-01"]),
        (b"2010-11-13T", b"2010-13-13T", ["4.4-01"]),
        (b"Content-Type", b"Content-Sort", ["2.4-01"]),
        (b"Content-ID: <1@x>\r\n", b"Content-ID: <1@x>\n", ["2.4-02"]),
        (b"Content-ID: <1@x>\r\n", b"what\r\n", ["2.4-03"]),
    ],
)
def test_deviations_are_named(old: bytes, new: bytes, rules: list[str]) -> None:
    octets = MESSAGE.replace(old, new, 1)
    message = parse_cpim(octets)
    assert [violation.id.removeprefix("CPI-3862-") for violation in message.violations] == rules
    assert message.octets() == octets


def test_truncated_messages() -> None:
    assert [v.id for v in parse_cpim(b"From: <sip:a@b>\r\n").violations] == ["CPI-3862-2-01"]
    headers_only = parse_cpim(b"From: <sip:a@b>\r\n\r\nContent-Type: a/b\r\n")
    assert [v.id for v in headers_only.violations] == ["CPI-3862-2-02"]
    assert (headers_only.content_type, headers_only.content) == ("a/b", b"")


def test_a_prefix_may_be_declared_anew() -> None:
    message = parse_cpim(
        b"NS: a <urn:one>\r\na.X: 1\r\nNS: a <urn:two>\r\na.X: 2\r\nX: 3\r\n\r\nContent-Type: a/b\r\n\r\n"
    )
    assert (message.find("urn:one", "X"), message.find("urn:two", "X"), message.find("urn:three", "X")) == (
        "1",
        "2",
        None,
    )


def test_the_usual_imdn_prefix_is_understood_undeclared_but_reported() -> None:
    message = parse_cpim(b"imdn.Message-ID: 7\r\n\r\nContent-Type: a/b\r\n\r\n")
    assert message.imdn_message_id == "7"
    assert [violation.id for violation in message.violations] == ["CPI-3862-3.4-01"]
    other = parse_cpim(b"NS: imdn <urn:other>\r\nimdn.Message-ID: 7\r\n\r\nContent-Type: a/b\r\n\r\n")
    assert other.imdn_message_id is None


def test_what_is_built_is_read_back() -> None:
    octets = build_cpim(
        "sip:a@b", "Bob <sip:b@c>", b"\r\n\r\n\xff", "text/plain", date_time="2025-01-01T00:00:00Z",
        imdn_message_id="m1", disposition="positive-delivery", extra=[("Subject", "x")],
    )  # fmt: skip
    message = parse_cpim(octets)
    assert message.violations == ()
    assert (message.get("From"), message.get("To"), message.get("Subject")) == ("<sip:a@b>", "Bob <sip:b@c>", "x")
    assert (message.imdn_message_id, message.disposition) == ("m1", "positive-delivery")
    assert message.date_time == datetime(2025, 1, 1, tzinfo=UTC)
    assert (message.content_type, message.content) == ("text/plain", b"\r\n\r\n\xff")


def test_a_plain_message_declares_no_namespace() -> None:
    assert build_cpim("sip:a@b", "sip:b@c", b"x", "a/b") == (
        b"From: <sip:a@b>\r\nTo: <sip:b@c>\r\n\r\nContent-Type: a/b\r\n\r\nx"
    )


def test_headers_that_have_to_be_understood() -> None:
    message = parse_cpim(
        b"NS: v <urn:vital>\r\nRequire: v.One, Subject,w.Two\r\nNS: w <urn:w>\r\n\r\nContent-Type: a/b\r\n\r\n"
    )
    assert message.required == (("urn:vital", "One"), (CPIM_NAMESPACE, "Subject"), (None, "Two"))
    assert parse_cpim(MESSAGE).required == ()


def test_a_default_namespace_counts_from_its_declaration_on() -> None:
    message = parse_cpim(b"From: a\r\nNS: <urn:x>\r\nFrom: b\r\nNS: broken\r\n\r\nContent-Type: a/b\r\n\r\n")
    assert (message.find(CPIM_NAMESPACE, "From"), message.find("urn:x", "From")) == ("a", "b")


@PROPERTY
@given(st.text(st.characters(codec="utf-8")))
def test_any_text_can_be_escaped(text: str) -> None:
    octets = build_cpim("sip:a@b", "sip:b@c", b"", "a/b", extra=[("Subject", f"<{escape(text)}>")])
    assert parse_cpim(octets).headers[2].text == f"<{text}>"


def test_escapes() -> None:
    assert escape('a\\b\t\0\x7fü"') == 'a\\\\b\\t\\u0000\\u007fü"'
    assert parse_cpim(b"X: \\a\\'\r\n\r\n").headers[0].text == "a'"


@pytest.mark.parametrize(
    ("changed", "rule"),
    [
        ({"to": "<b@c>"}, "CPI-3862-4.2-01"),
        ({"content_type": "text"}, "MIM-2045-5.1-01"),
        ({"date_time": "today"}, "CPI-3862-4.4-01"),
        ({"disposition": "display"}, "IMD-5438-7.1.1.1-01"),
        ({"extra": [("Subject", "a\\b\\c")]}, "CPI-3862-2.3.1-01"),
        ({"extra": [("m.Mood", "x")]}, "CPI-3862-3.4-01"),
        ({"extra": [("My Mood", "x")]}, "CPI-3862-3.6-01"),
        ({"mime": [("Content-ID", "1")]}, "MIM-2045-7-01"),
    ],
)
def test_building_is_strict(changed: dict[str, Any], rule: str) -> None:
    given_ = {"from_": "sip:a@b", "to": "sip:b@c", "content": b"", "content_type": "text/plain"}
    with pytest.raises(ValueError, match=rule):
        build_cpim(**(given_ | changed))


def test_a_notification_is_built() -> None:
    octets = build_cpim(
        "sip:a@b", "sip:b@c", b"<imdn/>", "message/imdn+xml", imdn_message_id="n1",
        mime=[("Content-Disposition", "notification")],
    )  # fmt: skip
    assert parse_cpim(octets).mime_headers.get("content-disposition") == "notification"


def test_anything_wrong_can_be_built() -> None:
    octets = build_unchecked([("From", "x\r\ny"), b"To:z\n"], [("Content-Type", "")], b"c", separators=(b"\n", b""))
    assert octets == b"From: x\r\ny\r\nTo:z\n\nContent-Type: \r\nc"
    assert parse_cpim(octets).octets() == octets


def test_building_refuses_injection() -> None:
    with pytest.raises(ValueError, match="control character"):
        build_cpim("sip:a@b", "sip:b@c", b"", "a/b", extra=[("Subject", "x\r\nTo: y")])
    with pytest.raises(ValueError, match="CR, LF or NUL"):
        build_cpim("sip:a@b", "sip:b@c", b"", "a/b\r\nX: y")
