"""Disposition notifications, and XML that attacks."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cpmspec.wire import imdn
from cpmspec.wire.imdn import parse_imdn

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


@PROPERTY
@given(
    st.lists(st.sampled_from([*NOTIFICATION.split(b" "), b"<", b">", b"</imdn>", b"&x;", b"\0"])).map(b"".join)
    | st.binary()
)
def test_any_octets_are_read(octets: bytes) -> None:
    assert isinstance(parse_imdn(octets).message_id, str)


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
        (NOTIFICATION.replace(b"message-id", b"message-no"), "11.1.2-01"),
        (NOTIFICATION.replace(b"<delivered/>", b""), "11.1.8-01"),
        (b" " * (imdn.MAX_IMDN + 1), "11-01"),
        (b"<a>" * 20_000, "11-02"),
    ],
)
def test_what_is_wrong_is_named(octets: bytes, rule: str | None) -> None:
    read = parse_imdn(octets)
    found = [violation.id.removeprefix("IMD-5438-") for violation in read.violations]
    assert (found[-1] if found else None) == rule
    assert "a" * 10 not in read.message_id
