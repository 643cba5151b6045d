"""What is wrong with SIP messages: complete, lazy, the same each time; every rule shown by a case and catalogued."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from corpora import corpus
from cpmspec.wire import sip_rules
from cpmspec.wire.sip import SipRequest, parse_message
from cpmspec.wire.sip_grammar import GRAMMAR, SINGLE, Shape
from cpmspec.wire.sip_rules import NOTHING, Findings, text_violations
from cpmspec.wire.violation import Violation

CATALOGUE = Path(__file__).parents[2] / "fixtures" / "catalogue" / "sip.toml"
HEAD = (
    "INVITE sip:bea@elm.example.org SIP/2.0\r\nVia: SIP/2.0/UDP h.example.org;branch=z9hG4bK1\r\nMax-Forwards: 70\r\n"
    "From: <sip:al@oak.example.com>;tag=1\r\nTo: <sip:bea@elm.example.org>\r\nCall-ID: c1\r\nCSeq: 1 INVITE\r\n"
)


def of_a_parser() -> list[dict[str, str]]:
    """The entries of what one message breaks; the others are judged over several messages."""
    entries = tomllib.loads(CATALOGUE.read_text(encoding="utf-8"))["requirement"]
    return [one for one in entries if "on" in one]


def wrong(line: str) -> list[str]:
    return [one.id for one in parse_message(f"{HEAD}{line}\r\n\r\n".encode()).violations]


def test_each_rule_is_shown_by_a_case_and_stands_in_the_catalogue() -> None:
    shown = {rule for name in ("sip", "sip_ipv6", "sip_stream", "uri") for case in corpus(name) for rule in case.ids}
    catalogued = {one["id"] for one in of_a_parser()}
    assert shown == catalogued
    assert {rule.id for rule in GRAMMAR.values()} < catalogued


def test_the_limits_are_interpretations() -> None:
    assert {one["class"] for one in of_a_parser() if "LIMIT" in one["id"]} == {"D"}


def test_nothing_is_looked_for_before_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bytes] = []

    def noted(octets: bytes) -> Iterator[Violation]:
        asked.append(octets)
        yield from text_violations(octets)

    monkeypatch.setattr(sip_rules, "text_violations", noted)
    message = parse_message(f"{HEAD}\r\n".encode())
    assert isinstance(message, SipRequest)
    assert message.cseq is not None
    assert asked == []
    first = message.violations
    count = len(asked)
    assert count > 0
    assert message.violations is first
    assert len(asked) == count


def test_messages_are_equal_if_the_same_is_wrong_with_them() -> None:
    octets = f"{HEAD}Expires: x\r\n\r\n".encode()
    assert parse_message(octets) == parse_message(octets)
    assert hash(parse_message(octets)) == hash(parse_message(octets))
    found = Findings(lambda: (Violation("X-1", 0, "", ""),))
    assert found != NOTHING
    assert found != ()
    assert "X-1" in repr(found)


def test_what_was_read_stays_wrong_when_a_header_is_changed() -> None:
    message = parse_message(f"{HEAD}Expires: x\r\n\r\n".encode())
    assert isinstance(message, SipRequest)
    stamped = replace(message, headers=message.headers.replaced("Expires", "5"))
    assert [one.id for one in stamped.violations] == ["SIP-3261-20.19-01"]
    assert message.with_headers(stamped.headers).violations == ()


def test_violations_come_in_the_order_of_the_octets() -> None:
    message = parse_message(
        HEAD.replace("INVITE sip", "INVITE  sip").encode() + b"Expires: x\r\nDate: y\r\nno colon\n\r\n"
    )
    offsets = [one.offset for one in message.violations]
    assert offsets == sorted(offsets)
    assert [one.id.removeprefix("SIP-3261-") for one in message.violations] == [
        "7.1-02", "20.19-01", "20.17-01", "7.3-01", "7-01",
    ]  # fmt: skip


def test_a_violation_is_told_in_one_line() -> None:
    (found,) = parse_message(f"{HEAD}Expires: x\r\n\r\n".encode()).violations
    assert str(found) == f"SIP-3261-20.19-01 at octet {len(HEAD)}: found 'x', expected seconds below 2**32"


def test_the_offset_of_a_control_character_is_its_own() -> None:
    octets = f"{HEAD}Subject: ab\x07\r\n\r\n".encode()
    (found,) = parse_message(octets).violations
    assert octets[found.offset] == 7
    assert (found.id, found.found) == ("SIP-3261-25.1-01", "'\\x07'")


@pytest.mark.parametrize(
    ("octets", "rules"),
    [
        (b"a: b\r\n", []),
        (b'a: "x\\\x07y"\r\n', []),
        (b'a: "x\x07y"\r\n', ["25.1-01"]),
        (b'a: "x\\\x07y\r\n', ["25.1-01"]),
        (b'a: "fold\r\n ed"\x00\r\n', ["25.1-01"]),
        (b"a: \x7f\xff\r\n", ["25.1-01", "25.1-02"]),
        (b"a: \x80\xbf\r\n", []),
        (b"a: \xc3\r\n", ["25.1-02"]),
        (b"a: \xe2\x82\xac \xf0\x9f\x9a\x82\r\n", []),
        (b"a: \xe2\x82\r\n", ["25.1-02"]),
    ],
)
def test_text(octets: bytes, rules: list[str]) -> None:
    assert [one.id.removeprefix("SIP-3261-") for one in text_violations(octets)] == rules


# ---- soundness: what RFC 3261 25.1 and the extensions allow


@pytest.mark.parametrize(
    "line",
    [
        "Contact: *",
        "Contact: <sip:a@b>;q=0",
        "Contact: <sip:a@b>;q=1.000",
        "Contact: <sip:a@b>;q=0.5",
        "Contact: sip:a@b;expires=0000000000000000000000000000000000005",
        "Contact: <sip:a@b;q=7>;x=q",
        "m: A B\tC<sip:a@b>\t;\tx\t=\ty",
        'Contact: "a,<b>;" <sip:a@b>;+x="<urn:uuid:1>,b";y',
        "Contact: <tel:+1>",
        "Record-Route: <sip:a;lr>;x=y , A <sips:b>",
        "Reply-To: A <sip:a@b>",
        "Route: <sip:a;lr;x=[::1]>",
        "Via: SIP/2.0/UDP h.example.org",
        "v: sip / 2.0 / udp\th.example",
        "Via: SIP/2.0/X-y h:0",
        "Via: SIP/2.0/UDP [::1] : 5060;received=[::1];x=[::2]",
        "Via: SIP/2.0/UDP h;ttl=1;maddr=224.0.0.1;rport;hidden",
        "Via: SIP/2.0/TLS core_1:5061;branch=a",
        "Expires: 0",
        "Allow: INVITE,ACK ,\tBYE",
        "Allow:",
        "Accept: */*;q=0.1, a/b;x",
        "Accept:",
        "Supported:",
        "k: a",
        "Require: a, b",
        "c: a/b",
        'c: a / b ; c = "d;e=\\"f" ;g=h',
        "c: x-a/vnd.b+c;d=e",
        "Content-Disposition: session",
        "Content-Disposition: render;handling=optional;x",
        "Content-Encoding: gzip,x",
        "Date: Sat, 13 Nov 2010 23:29:00 GMT",
        "Retry-After: 5",
        "Retry-After: 5 (a \\) (b)) ;duration=3;x",
        "Retry-After: 5;duration=3",
        "Min-Expires: 4294967295",
        "MIME-Version: 1.0",
        "Privacy: none",
        "Privacy: a;b ; c",
        "P-Asserted-Identity: sip:a@b",
        'P-Asserted-Identity: "A" <sip:a@b>;x=y, <tel:+1;x=y>',
        "P-Served-User: <sip:a@b>;sescase=orig",
        "P-Asserted-Service: urn:urn-7:a",
        "P-Asserted-Service: urn:urn-7:a.b-c.d;x=y",
        "P-Preferred-Service: urn:urn-7:a, urn:urn-7:b",
        'Accept-Contact: *;audio;+g.x="a,!b,<#=5>";explicit, *;methods="INVITE"',
        "Accept-Contact: *",
        'Reject-Contact: *;actor="msg-taker"',
        "x: 90",
        "Session-Expires: 90 ; refresher=uac;y",
        "Min-SE: 90",
        "Event: a.b;id=1",
        "Allow-Events: a, b.c",
        "Subscription-State: terminated;reason=timeout;retry-after=1",
        "Refer-To: <sip:a@b;method=INVITE?X=y>",
        "r: sip:a@b;x=y",
        "P-Unknown: <<<;;;,,,",
        'User-Agent: a (b; "c) d/1',
        'Subject: "never closed',
        'Warning: 399 h "x"',
        "Timestamp: 5.0 .2",
        'Authorization: Digest a="b,c", d=e',
        'Authorization: Digest a="c"',
        "In-Reply-To: a@b, c",
    ],
)
def test_legal_forms_are_not_reported(line: str) -> None:
    assert wrong(line) == []


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ("Contact: <sip:a@b>;q=1.01", "20.10-02"),
        ("Contact: <sip:a@b>;expires=soon", "20.10-02"),
        ("Contact: *;x=y", "20.10-01"),
        ("Contact: <sip:a@b> x", "20.10-01"),
        ("Contact: a;b <sip:a@b>", "20.10-01"),
        ("Via: SIP/2.0/UDP h;a=(b)", "20.42-01"),
        ("Via: SIP/2.0/UDP [::1", "20.42-01"),
        ("Via: SIP/2.0/UDP [12345::]", "20.42-01"),
        ("Retry-After: soon", "20.33-01"),
        ("Retry-After: 5 x", "20.33-01"),
        ("Content-Disposition: a;;b", "20.11-01"),
        ("Route: <sip:a;lr>,", "7.3.1-03"),
        ("Allow: A,,B", "7.3.1-03"),
        ("Allow: ,", "7.3.1-03"),
        ("Event: a;id=1;ID=2", "7.3.1-02"),
        ('Accept-Contact: *;a="x;y";a', "7.3.1-02"),
        ("Expires:", "20.19-01"),
        ("Refer-To: <sip:a@b>, <sip:c@d>", "SIP-3515-2.1-01"),
    ],
)
def test_wrong_forms_are_reported_once(line: str, rule: str) -> None:
    assert wrong(line) == [rule if rule.startswith("SIP") else f"SIP-3261-{rule}"]


def test_headers_that_are_no_list_stand_once() -> None:
    assert {key for key, rule in GRAMMAR.items() if rule.shape is Shape.ONE} < SINGLE
    assert wrong("Subject: a\r\ns: b") == ["SIP-3261-7.3.1-01"]
    assert wrong("Route: <sip:a;lr>\r\nRoute: <sip:b;lr>") == []
    assert wrong("X-Unknown: a\r\nX-Unknown: b") == []
