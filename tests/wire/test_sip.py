"""SIP messages: nothing is lost, any split of a stream gives the same, legal and wrong forms, strict building."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

import pytest
import sipmessage
from hypothesis import given, settings
from hypothesis import strategies as st

from cpmspec.wire import sip
from cpmspec.wire.headers import Headers
from cpmspec.wire.sip import (
    CSeq,
    SipKeepAlive,
    SipRequest,
    SipResponse,
    SipStream,
    SipUnreadable,
    Via,
    build_request,
    build_response,
    parse_cseq,
    parse_message,
    parse_via,
    response_to,
    with_first,
    without_first,
)
from cpmspec.wire.uri import SipUri

PROPERTY = settings(deadline=None, derandomize=True, database=None)

HEAD = (
    b"Via: SIP/2.0/TCP 127.0.0.1:5060;branch=z9hG4bK1\r\n"
    b"To: <sip:bob@example.com>\r\n"
    b"From: <sip:alice@example.com>;tag=a\r\n"
    b"Call-ID: c1\r\n"
    b"CSeq: 1 MESSAGE\r\n"
)
REQUEST = b"MESSAGE sip:bob@example.com SIP/2.0\r\n" + HEAD + b"Max-Forwards: 70\r\n"
BODY = b"Content-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello"
RESPONSE = b"SIP/2.0 202 Accepted\r\n" + HEAD + b"Content-Length: 0\r\n\r\n"

PIECES = [
    REQUEST, BODY, RESPONSE, b"\r\n", b"\n", b"\r", b"\0", b" ", b"SIP/2.0", b"SIP/2.0 200 OK\r\n", b"l: 3\r\n", b"abc",
    b"Content-Length: 99999999999999999999\r\n", b"Content-Length: 70000\r\n", b"\r\n\r\n", b":", b"\xff",
    b"Content-Length: x\r\n", b"junk\r\n\r\n",
]  # fmt: skip
STREAMS = st.lists(st.sampled_from(PIECES), max_size=12).map(b"".join)


def request(octets: bytes) -> SipRequest:
    message = parse_message(octets)
    assert isinstance(message, SipRequest)
    return message


def rules(message: SipRequest | SipResponse | SipUnreadable) -> list[str]:
    return [violation.id.removeprefix("SIP-3261-") for violation in message.violations]


def cut(octets: bytes, places: Iterable[int]) -> list[bytes]:
    bounds = [0, *sorted(place % (len(octets) + 1) for place in places), len(octets)]
    return [octets[first:last] for first, last in itertools.pairwise(bounds)]


def fed(pieces: Sequence[bytes]) -> tuple[list[SipRequest | SipResponse | SipUnreadable], bytes]:
    stream = SipStream()
    return [message for piece in pieces for message in stream.feed(piece)], stream.pending


def raw(message: SipRequest | SipResponse | SipUnreadable) -> bytes:
    return message.octets if isinstance(message, SipUnreadable) else message.octets()


# ---- properties


@PROPERTY
@given(STREAMS | st.binary())
def test_a_datagram_keeps_every_octet(octets: bytes) -> None:
    message = parse_message(octets)
    assert raw(message) == octets
    if not isinstance(message, SipUnreadable):
        assert isinstance((message.via, message.from_, message.to, message.contact, message.date, message.cseq), tuple)


@PROPERTY
@given(STREAMS | st.binary(), st.lists(st.integers(min_value=0), max_size=8))
def test_any_split_of_a_stream_gives_the_same_messages(octets: bytes, places: list[int]) -> None:
    assert fed(cut(octets, places)) == fed([octets])


@PROPERTY
@given(STREAMS | st.binary())
def test_a_stream_loses_nothing(octets: bytes) -> None:
    stream = SipStream()
    events = stream.events(octets)
    pieces = [event.octets if isinstance(event, SipKeepAlive) else raw(event) for event in events]
    assert b"".join(pieces) + stream.pending == octets
    assert fed([octets]) == ([event for event in events if not isinstance(event, SipKeepAlive)], stream.pending)


def test_octet_by_octet() -> None:
    octets = b"\r\n\r\n" + REQUEST + BODY + b"\r\n" + RESPONSE + REQUEST + BODY
    messages, pending = fed([bytes((octet,)) for octet in octets])
    assert [raw(message) for message in messages] == [REQUEST + BODY, RESPONSE, REQUEST + BODY]
    assert pending == b""
    assert all(not message.violations for message in messages)


# ---- legal forms


def test_a_request() -> None:
    message = request(REQUEST + BODY)
    assert (message.method, message.uri, message.body) == ("MESSAGE", "sip:bob@example.com", b"hello")
    assert isinstance(message.request_uri, SipUri)
    assert (message.call_id, message.cseq, message.max_forwards) == ("c1", CSeq(1, "MESSAGE"), 70)
    assert (message.from_tag, message.to_tag, message.content_type) == ("a", None, "text/plain")
    assert str(message.cseq) == "1 MESSAGE"
    assert message.violations == ()


def test_a_response() -> None:
    message = parse_message(RESPONSE)
    assert isinstance(message, SipResponse)
    assert (message.status, message.reason, message.content_length) == (202, "Accepted", 0)
    assert message.violations == ()


@pytest.mark.parametrize(
    ("start", "reason"),
    [(b"SIP/2.0 200 \r\n", ""), (b"SIP/2.0 200 A  B\r\n", "A  B"), ("SIP/2.0 200 \u00e4\r\n".encode(), "\u00e4")],
)
def test_reason_phrases(start: bytes, reason: str) -> None:
    message = parse_message(start + HEAD + b"\r\n")
    assert isinstance(message, SipResponse)
    assert (message.reason, message.violations) == (reason, ())


def test_compact_folded_and_oddly_spaced_headers() -> None:
    octets = (
        b"INVITE sip:[::1]:5060;transport=tcp SIP/2.0\r\n"
        b"v  :  SIP / 2.0 / tcp [::1] : 5061 ; BRANCH=z9hG4bK2 ; rport,\r\n"
        b"\tSIP/2.0/UDP a.example.com;received=10.0.0.1;branch=z9hG4bK1\r\n"
        b"VIA: SIP/2.0/TLS [2001:db8::1]\r\n"
        b"t:\"Bob, B.\"\r\n  <sip:bob@[::1]>\r\n"
        b"f: sip:alice@example.com;tag=1\r\n"
        b"i: x@[::1]\r\ncseq:\t2\r\n INVITE\r\nmAx-fOrWaRdS: 0\r\n"
        b"m: <sip:a@b>;expires=5, sip:c@d\r\n"
        b"Route: <sip:p1;lr>,<sip:p2;lr>\r\nRecord-Route: <sip:p3;lr>\r\n"
        b"P-Asserted-Identity: <sip:a@b>, <tel:+1>\r\n"
        b"Date: Sat, 13 Nov 2010 23:29:00 GMT\r\nExpires: 7200\r\nl: 0\r\n\r\n"
    )  # fmt: skip
    message = request(octets)
    assert message.violations == ()
    assert [(via.transport, via.host, via.port, via.branch) for via in message.via] == [
        ("TCP", "::1", 5061, "z9hG4bK2"),
        ("UDP", "a.example.com", None, "z9hG4bK1"),
        ("TLS", "2001:db8::1", None, None),
    ]
    assert message.via[0].param("rport") == ""
    assert message.via[1].param("received") == "10.0.0.1"
    assert message.to is not None
    assert (message.to.display, str(message.to.uri)) == ("Bob, B.", "sip:bob@[::1]")
    assert (message.call_id, message.cseq, message.max_forwards) == ("x@[::1]", CSeq(2, "INVITE"), 0)
    assert [str(contact.uri) for contact in message.contact] == ["sip:a@b", "sip:c@d"]
    assert [str(route.uri) for route in message.route] == ["sip:p1;lr", "sip:p2;lr"]
    assert [str(route.uri) for route in message.record_route] == ["sip:p3;lr"]
    assert [str(identity.uri) for identity in message.p_asserted_identity] == ["sip:a@b", "tel:+1"]
    assert (message.date, message.expires) == (datetime(2010, 11, 13, 23, 29, tzinfo=UTC), 7200)


def test_empty_lines_before_a_datagram_are_ignored() -> None:
    message = request(b"\r\n\r\n" + REQUEST + BODY)
    assert message.violations == ()
    assert message.start.startswith(b"\r\n\r\nMESSAGE ")


def test_without_content_length_the_body_ends_with_the_datagram() -> None:
    message = request(REQUEST + b"Content-Type: text/plain\r\n\r\nhello")
    assert (message.body, message.violations) == (b"hello", ())


# ---- wrong forms

TAIL = HEAD + b"Max-Forwards: 70\r\n"


@pytest.mark.parametrize(
    ("octets", "expected"),
    [
        (b"MESSAGE  sip:b@c SIP/2.0\r\n" + TAIL + b"\r\n", ["7.1-02"]),
        (b"MESSAGE sip:b@c  SIP/2.0\r\n" + TAIL + b"\r\n", ["7.1-02"]),
        (b" MESSAGE sip:b@c SIP/2.0\r\n" + TAIL + b"\r\n", ["7.1-02"]),
        (b"MESSAGE sip:b@c SIP/2.0 \r\n" + TAIL + b"\r\n", ["7.1-02"]),
        (b"MESSAGE sip:b c@d SIP/2.0\r\n" + TAIL + b"\r\n", ["7.1-02"]),
        (b"MESSAGE\tsip:b@c\tSIP/2.0\r\n" + TAIL + b"\r\n", ["7.1-02"]),
        (b"MESSAGE <sip:b@c> SIP/2.0\r\n" + TAIL + b"\r\n", ["7.1-03"]),
        (b"MESSAGE sip:b@c SIP/3.0\r\n" + TAIL + b"\r\n", ["7.1-04"]),
        (b"MESSAGE sip:b@c sip/2.0\r\n" + TAIL + b"\r\n", ["7.1-04"]),
        (b"SIP/2.0 200\r\n" + HEAD + b"\r\n", ["7.2-01"]),
        (b"SIP/2.0  200 OK\r\n" + HEAD + b"\r\n", ["7.2-01"]),
        (b"MESSAGE sip:b@c SIP/2.0\n" + TAIL + b"\r\n", ["7-01"]),
        (REQUEST + b"\n", ["7-01"]),
        (REQUEST, ["7-02"]),
        (REQUEST + b"what is this\r\n\r\n", ["7.3-01"]),
        (REQUEST + b"Sub ject: x\r\n\r\n", ["7.3-02"]),
        (REQUEST + b"Subject: a\rb\r\n\r\n", ["25.1-01"]),
        (REQUEST + b"Subject: a\0b\r\n\r\n", ["25.1-01"]),
        (b"MESSAGE sip:b@c SIP/2.0\r\n" + HEAD + b"\r\n", ["8.1.1-01"]),
        (b"SIP/2.0 200 OK\r\n\r\n", ["8.1.1-01"] * 5),
        (REQUEST + b"f: <sip:eve@example.com>;tag=2\r\n\r\n", ["7.3.1-01"]),
        (REQUEST.replace(b"1 MESSAGE", b"1 INVITE") + b"\r\n", ["8.1.1.5-02"]),
        (REQUEST.replace(b"1 MESSAGE", b"1 message") + b"\r\n", ["8.1.1.5-02"]),
        (REQUEST.replace(b"1 MESSAGE", b"2147483648 MESSAGE") + b"\r\n", ["8.1.1.5-01"]),
        (REQUEST.replace(b"1 MESSAGE", b"one MESSAGE") + b"\r\n", ["8.1.1.5-01"]),
        (REQUEST + b"Content-Type: text/plain\r\nContent-Length: 9\r\n\r\nhello", ["18.3-01"]),
        (REQUEST + b"Content-Type: text/plain\r\nContent-Length: 3\r\n\r\nhello", ["18.3-02"]),
        (REQUEST + b"Content-Type: text/plain\r\nContent-Length: -5\r\n\r\nhello", ["20.14-01"]),
        (REQUEST + b"Content-Type: a/b\r\nContent-Length: 5\r\nl: 4\r\n\r\nhello", ["7.3.1-01", "20.14-02"]),
        (REQUEST + b"\r\nhello", ["20.15-01"]),
    ],
)
def test_deviations_are_named(octets: bytes, expected: list[str]) -> None:
    message = parse_message(octets)
    assert not isinstance(message, SipUnreadable)
    assert rules(message) == expected
    assert message.octets() == octets


@pytest.mark.parametrize(
    "octets",
    [
        b"", b"\r\n", b"hello", b"GET / HTTP/1.1\r\n\r\n", b"MESSAGE sip:b@c\r\n\r\n",
        b"ME:SSAGE sip:b@c SIP/2.0\r\n\r\n",
        b"SIP/2.0 99 x\r\n\r\n", b"SIP/2.0 700 x\r\n\r\n", b"SIP/2.0 2x0 x\r\n\r\n", b"SIP/2.0\r\n\r\n",
        b"SIP/2.0 \xd9\xa2\xd9\xa0\xd9\xa0 x\r\n\r\n",
    ],
)  # fmt: skip
def test_without_a_start_line_octets_are_unreadable(octets: bytes) -> None:
    message = parse_message(octets)
    assert isinstance(message, SipUnreadable)
    assert message.octets == octets
    assert rules(message)[-1] == ("7.2-02" if octets.startswith(b"SIP/") else "7.1-01")


def test_octets_after_the_body_are_kept_apart() -> None:
    message = request(REQUEST + b"Content-Type: text/plain\r\nContent-Length: 3\r\n\r\nhello")
    assert (message.body, message.trailing) == (b"hel", b"lo")
    assert message.with_headers(message.headers).octets().endswith(b"\r\n\r\nhel")


@pytest.mark.parametrize("value", ["Sat, 13 Nov 2010 23:29:00 UTC", "Sat, 31 Feb 2010 23:29:00 GMT", "13 Nov 2010", ""])
def test_a_wrong_date_is_none(value: str) -> None:
    assert request(REQUEST + f"Date: {value}\r\n\r\n".encode()).date is None


@pytest.mark.parametrize("value", ["-1", "4294967296", "1e3", "\u0661", "9" * 5000, ""])
def test_a_wrong_number_is_none(value: str) -> None:
    message = request(REQUEST + f"Expires: {value}\r\n\r\n".encode())
    assert message.expires is None


@pytest.mark.parametrize(
    "text", ["", "SIP/2.0/UDP", "SIP/2.0 UDP h", "HTTP/2.0/UDP h", "SIP/2.0/UDP h:99999", "SIP/2.0/UDP [x]"]
)
def test_an_unreadable_via_keeps_its_text(text: str) -> None:
    via = parse_via(text)
    assert (via.transport, via.host, via.port, via.text) == ("", "", None, text)


@pytest.mark.parametrize("text", ["", "1", "MESSAGE 1", "1 2 3", "-1 MESSAGE", "1 MES SAGE", "1 (x)"])
def test_an_unreadable_cseq_is_none(text: str) -> None:
    assert parse_cseq(text) is None


# ---- streams


def test_a_missing_content_length_on_a_stream_counts_as_zero() -> None:
    messages, pending = fed([REQUEST + b"\r\n" + RESPONSE])
    assert [rules(message) for message in messages] == [["18.3-03"], []]
    assert pending == b""


def test_a_response_header_section_waits_for_its_body() -> None:
    stream = SipStream()
    assert stream.feed(REQUEST + BODY[:-1]) == []
    assert stream.pending == REQUEST + BODY[:-1]
    (message,) = stream.feed(b"o")
    assert raw(message) == REQUEST + BODY


def test_rubbish_between_messages_is_reported_and_passed_over() -> None:
    messages, _ = fed([b"rubbish\r\n\r\n" + RESPONSE])
    assert isinstance(messages[0], SipUnreadable)
    assert isinstance(messages[1], SipResponse)


def test_endless_headers_do_not_fill_the_memory() -> None:
    stream = SipStream()
    found: list[SipRequest | SipResponse | SipUnreadable] = []
    for _ in range(100):
        found += stream.feed(b"X: y\r\n" * 1000)
        assert len(stream.pending) < sip.MAX_SECTION
    assert {tuple(rules(message)) for message in found} == {("SIP-LIMIT-01",)}
    assert {len(raw(message)) for message in found} == {sip.MAX_SECTION}


def test_a_claimed_length_is_never_waited_for_in_memory() -> None:
    stream = SipStream()
    size = sip.MAX_BODY + 100_000
    head = REQUEST + f"Content-Type: a/b\r\nContent-Length: {size}\r\n\r\n".encode()
    pieces = stream.feed(head)
    sent = 0
    while sent < size:
        block = (RESPONSE * 500)[: min(100_000, size - sent)]
        pieces += stream.feed(block)
        sent += len(block)
        assert len(stream.pending) < sip.MAX_SECTION
    assert {tuple(rules(message)) for message in pieces} == {("SIP-LIMIT-02",)}
    assert sum(len(raw(message)) for message in pieces) == len(head) + size
    (after,) = stream.feed(RESPONSE)
    assert isinstance(after, SipResponse)


def test_only_line_feeds_are_read_and_reported() -> None:
    octets = (REQUEST + b"Content-Length: 0\r\n\r\n").replace(b"\r\n", b"\n")
    (message,), pending = fed([octets])
    assert set(rules(message)) == {"7-01"}
    assert (raw(message), pending) == (octets, b"")


# ---- building

FIELDS = [
    ("To", "<sip:b@c>"),
    ("From", "<sip:a@c>;tag=1"),
    ("Call-ID", "x"),
    ("Max-Forwards", "70"),
    ("Via", "SIP/2.0/UDP h"),
]


def test_what_is_built_is_valid_and_read_back() -> None:
    built = build_request(
        "MESSAGE", "sip:b@c", [*FIELDS, ("CSeq", "1 MESSAGE"), ("Content-Type", "a/b")], b"\x00\r\n\r\n"
    )
    assert parse_message(built.octets()) == built
    assert built.headers[-1].raw == b"Content-Length: 5\r\n"


@pytest.mark.parametrize(
    ("method", "uri", "headers", "body"),
    [
        ("MES SAGE", "sip:b@c", [], b""),
        ("", "sip:b@c", [], b""),
        ("MESSAGE", "sip:b@c\r\nX: y", [], b""),
        ("MESSAGE", "sip:b c", [], b""),
        ("MESSAGE", "", [], b""),
        ("MESSAGE", "sip:b@c", [("Subject", "a\r\nX: y")], b""),
        ("MESSAGE", "sip:b@c", [("Sub\nject", "a")], b""),
        ("MESSAGE", "sip:b@c", [("Sub ject", "a")], b""),
        ("MESSAGE", "sip:b@c", [("CSeq", "1 INVITE")], b""),
        ("MESSAGE", "sip:b@c", [("CSeq", "x")], b""),
        ("MESSAGE", "sip:b@c", [], b"body"),
        ("MESSAGE", "sip:b@c", [("l", "3")], b""),
    ],
)
def test_building_is_strict(method: str, uri: str, headers: list[tuple[str, str]], body: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        build_request(method, uri, headers, body)


@pytest.mark.parametrize(("status", "reason"), [(99, "x"), (700, "x"), (200, "O\r\nK")])
def test_building_a_response_is_strict(status: int, reason: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        build_response(status, reason, [])


def test_a_response_copies_what_the_transaction_needs() -> None:
    received = request(
        b"INVITE sip:b@c SIP/2.0\r\nv: SIP/2.0/UDP a;branch=1,SIP/2.0/UDP b\r\nX: y\r\nVia: SIP/2.0/UDP c\r\n"
        b"t: Bob\r\n <sip:b@c>\r\nf: <sip:a@c>;tag=1\r\ni: x\r\nCSeq: 7 INVITE\r\nMax-Forwards: 1\r\n\r\n"
    )
    response = response_to(received, 200, headers=[("Contact", "<sip:c@d>")], to_tag="t1")
    assert [via.host for via in response.via] == ["a", "b", "c"]
    assert (response.reason, response.to_tag, response.from_tag, response.call_id) == ("OK", "t1", "1", "x")
    assert (response.cseq, response.headers.get("x"), response.content_length) == (CSeq(7, "INVITE"), None, 0)
    again = parse_message(response.octets())
    assert isinstance(again, SipResponse)
    assert (again.status, again.headers, again.violations) == (200, response.headers, ())
    assert response_to(received, 100, to_tag="t1").to_tag is None
    in_dialog = received.with_headers(received.headers.replaced("To", "<sip:b@c>;tag=old"))
    assert response_to(in_dialog, 200, to_tag="t1").to_tag == "old"


def test_a_response_to_a_hostile_request_can_be_made() -> None:
    received = request(REQUEST.replace(b"c1", b"c\r1\0") + b"\r\n")
    assert response_to(received, 400, to_tag="x").octets().count(b"\r\n\r\n") == 1


def test_changed_messages() -> None:
    message = request(REQUEST + BODY)
    longer = message.with_body(b"longer", "text/html")
    assert (longer.content_type, longer.content_length, longer.body) == ("text/html", 6, b"longer")
    assert message.with_body(b"", None).octets() == REQUEST + b"Content-Length: 0\r\n\r\n"
    elsewhere = message.with_uri("sip:x@y")
    assert elsewhere.octets() == (REQUEST + BODY).replace(b"sip:bob@example.com S", b"sip:x@y S")
    with pytest.raises(ValueError, match="Request-URI"):
        message.with_uri("a b")


def test_changed_responses() -> None:
    message = parse_message(RESPONSE)
    assert isinstance(message, SipResponse)
    typed = message.with_body(b"x", "a/b")
    assert (typed.status, typed.content_type, typed.content_length) == (202, "a/b", 1)
    assert message.with_headers(Headers()).octets() == b"SIP/2.0 202 Accepted\r\n\r\n"


def test_a_response_to_a_request_without_to_has_none() -> None:
    received = request(b"OPTIONS sip:b@c SIP/2.0\r\nCall-ID: x\r\n\r\n")
    assert [header.name for header in response_to(received, 400, to_tag="t").headers] == ["Call-ID", "Content-Length"]


def test_the_first_value_of_a_list_can_be_changed() -> None:
    headers = Headers.of(("To", "x"), ("v", "a, b"), ("Via", "c"))
    assert without_first(headers, "Via").values("via") == ("b", "c")
    assert without_first(without_first(headers, "via"), "via").values("via") == ("c",)
    assert with_first(headers, "via", "n").values("via") == ("n", "b", "c")
    assert with_first(headers, "Route", "r")[0].value == "r"
    assert without_first(headers, "Route") == headers
    via = parse_via("SIP/2.0/UDP [::1];branch=1;rport").with_param("rport", "9").with_param("received", "::1")
    assert str(via) == "SIP/2.0/UDP [::1];branch=1;rport=9;received=::1"
    assert str(Via("TCP", "h", 1)) == "SIP/2.0/TCP h:1"


# ---- against an independent parser

TOKENS = st.text("abcXYZ019-._", min_size=1, max_size=12)
HOSTS = st.sampled_from(["h.example.com", "[2001:db8::1]:5060"])


@PROPERTY
@given(TOKENS, TOKENS, TOKENS, st.integers(0, 2**31 - 1), HOSTS, st.binary())
def test_another_parser_reads_the_same(user: str, tag: str, call: str, number: int, host: str, body: bytes) -> None:
    uri = f"sip:{user}@{host}"
    headers = [
        ("Via", f"SIP/2.0/UDP {host};branch=z9hG4bK{tag}"), ("To", f'"A \\"B\\"" <{uri};transport=tcp>'),
        ("From", f"<{uri}>;tag={tag}"), ("Call-ID", f"{call}@{host}"), ("CSeq", f"{number} MESSAGE"),
        ("Max-Forwards", "70"), ("Date", "Sat, 13 Nov 2010 23:29:00 GMT"), ("Content-Type", "text/plain"),
    ]  # fmt: skip
    ours = build_request("MESSAGE", uri, headers, body)
    theirs = sipmessage.Message.parse(ours.octets())
    assert isinstance(theirs, sipmessage.Request)
    assert (theirs.method, str(theirs.uri), theirs.body) == (ours.method, ours.uri, ours.body)
    assert (theirs.call_id, str(theirs.cseq), theirs.date) == (ours.call_id, str(ours.cseq), ours.date)
    assert ours.to is not None
    assert (theirs.to_address.name, str(theirs.to_address.uri)) == (ours.to.display, str(ours.to.uri))
    assert theirs.from_address.parameters.get("tag") == ours.from_tag
    assert [via.parameters.get("branch") for via in theirs.via] == [via.branch for via in ours.via]
