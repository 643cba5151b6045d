"""Disposition notifications, and XML that attacks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpora import Case, corpus, distinct, told
from cpmspec.wire import imdn
from cpmspec.wire.imdn import build_imdn, parse_imdn

PROPERTY = settings(deadline=None, derandomize=True, database=None)

NOTIFICATION = (
    b'<?xml version="1.0" encoding="UTF-8"?>\n'
    b'<imdn xmlns="urn:ietf:params:xml:ns:imdn">\n'
    b" <message-id> 34jk324j </message-id>\n"
    b" <datetime>2008-04-04T12:16:49-05:00</datetime>\n"
    b" <recipient-uri>im:bob@example.com</recipient-uri>\n"
    b" <original-recipient-uri>im:bob@example.com</original-recipient-uri>\n"
    b" <subject>a &lt; b</subject>\n"
    b" <delivery-notification><status><delivered/></status></delivery-notification>\n"
    b"</imdn>\n"
)

CASES = corpus("imdn")


def test_the_corpus_has_many_distinct_cases() -> None:
    assert distinct(CASES) >= 28


@pytest.mark.parametrize("case", CASES, ids=str)
def test_corpus(case: Case) -> None:
    read = parse_imdn(case.octets)
    assert told(read.violations) == case.violations
    assert read.octets() == case.octets
    assert {name: getattr(read, name) for name in case.facts} == case.facts


@pytest.mark.parametrize("case", [case for case in CASES if case.form], ids=str)
def test_what_is_legal_is_built_and_read_back(case: Case) -> None:
    read = parse_imdn(case.octets)
    octets = build_imdn(
        read.message_id, read.kind, read.status, read.date_time, recipient_uri=read.recipient_uri,
        original_recipient_uri=read.original_recipient_uri, subject=read.subject,
    )  # fmt: skip
    assert replace(parse_imdn(octets), raw=b"") == replace(read, raw=b"")


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"message_id": ""}, "IMD-5438-11.1-01"),
        ({"status": "displayed"}, "'delivery' has no status 'displayed'"),
        ({"kind": "other"}, "'other' has no status"),
        ({"status": "delivered/><failed"}, "has no status"),
        ({"date_time": "now"}, "IMD-5438-11.1-03"),
        ({"subject": "a\0b"}, "a character that XML does not have"),
        ({"subject": "a\ud800b"}, "a character that XML does not have"),
        ({"recipient_uri": "sip:bob@example.com"}, "IMD-5438-11.1-08"),
    ],
)
def test_building_is_strict(changed: dict[str, Any], reason: str) -> None:
    given_ = {"message_id": "m1", "kind": "delivery", "status": "delivered", "date_time": "2025-01-01T00:00:00Z"}
    with pytest.raises(ValueError, match=reason):
        build_imdn(**(given_ | changed))


@PROPERTY
@given(st.sampled_from(CASES), st.integers(min_value=0), st.integers(min_value=0, max_value=40), st.binary())
def test_what_is_spoiled_is_kept(case: Case, at: int, cut: int, dirt: bytes) -> None:
    octets = case.octets[:1000]
    place = at % (len(octets) + 1)
    spoiled = octets[:place] + dirt + octets[place + cut :]
    read = parse_imdn(spoiled)
    assert read.octets() == spoiled
    assert all(0 <= violation.offset <= len(spoiled) for violation in read.violations)


@PROPERTY
@given(
    st.lists(st.sampled_from([*NOTIFICATION.split(b" "), b"<", b">", b"</imdn>", b"&x;", b"\0"])).map(b"".join)
    | st.binary()
)
def test_any_octets_are_read(octets: bytes) -> None:
    read = parse_imdn(octets)
    assert read.octets() == octets
    assert all(0 <= violation.offset <= len(octets) for violation in read.violations)


def test_a_notification() -> None:
    read = parse_imdn(NOTIFICATION)
    assert read.violations == ()
    assert (read.message_id, read.kind, read.status) == ("34jk324j", "delivery", "delivered")
    assert (read.recipient_uri, read.original_recipient_uri) == ("im:bob@example.com", "im:bob@example.com")
    assert (read.date_time, read.subject) == ("2008-04-04T12:16:49-05:00", "a < b")


@pytest.mark.parametrize(
    ("kind", "status"),
    [("delivery", "failed"), ("display", "displayed"), ("display", "forbidden"), ("processing", "stored")],
)
def test_kinds_and_states_with_any_prefix(kind: str, status: str) -> None:
    octets = (
        f'<i:imdn xmlns:i="{imdn.NAMESPACE}"><i:message-id>1</i:message-id>'
        "<i:datetime>2025-01-01T00:00:00Z</i:datetime>"
        f"<i:{kind}-notification><i:status><i:{status}/></i:status></i:{kind}-notification></i:imdn>"
    )
    read = parse_imdn(octets.encode())
    assert (read.message_id, read.kind, read.status, read.violations) == ("1", kind, status, ())


ENTITIES = b'<!DOCTYPE imdn [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]>' + NOTIFICATION.partition(b"\n")[
    2
].replace(b"34jk324j", b"&b;")


@pytest.mark.parametrize(
    ("octets", "rule"),
    [
        (b"", "11-02"),
        (b"<imdn", "11-02"),
        (NOTIFICATION[:-10], "11-02"),
        (NOTIFICATION.replace(b"UTF-8", b"idna"), None),
        (NOTIFICATION.replace(b"34jk324j", b"&x;"), "11-02"),
        (NOTIFICATION.replace(b"34jk324j", b"\xff"), "11-02"),
        (ENTITIES, "11-03"),
        (b'<!DOCTYPE x SYSTEM "file:///etc/passwd"><imdn/>', "11-03"),
        (NOTIFICATION.replace(b"ns:imdn", b"ns:other"), "11-04"),
        (NOTIFICATION.replace(b"message-id", b"message-no"), "11.1-01"),
        (NOTIFICATION.replace(b"<delivered/>", b""), "11.1-04"),
    ],
)
def test_what_is_wrong_is_named(octets: bytes, rule: str | None) -> None:
    read = parse_imdn(octets)
    found = [violation.id.removeprefix("IMD-5438-") for violation in read.violations]
    assert (found[-1] if found else None) == rule
    assert "a" * 10 not in read.message_id
