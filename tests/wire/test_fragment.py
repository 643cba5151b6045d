"""message/sip, message/sipfrag and message/msrpfrag: legal and wrong forms."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cpmspec.wire.fragment import (
    SHOULD,
    Fragment,
    build_message_sip,
    build_msrpfrag,
    build_sipfrag,
    kind_of,
    parse_fragment,
)
from cpmspec.wire.headers import Header

SIP = (
    "MESSAGE sip:bob@example.com SIP/2.0\r\n"
    "Via: SIP/2.0/UDP a.example;branch=z9hG4bK1\r\n"
    "Max-Forwards: 70\r\n"
    "From: Alice <sip:alice@example.com>;tag=1\r\n"
    "To: <sip:bob@example.com>\r\n"
    "Call-ID: a84b4c76e66710@a.example\r\n"
    "CSeq: 1 MESSAGE\r\n"
    "Date: Sat, 13 Nov 2010 23:29:00 GMT\r\n"
    "Content-Type: text/plain\r\n"
    "Content-Length: 5\r\n"
    "\r\n"
    "hello"
)
PIECES = [
    *SIP.encode().splitlines(keepends=True), b"MSRP d93kswow SEND\r\n", b"-------d93kswow$\r\n", b"\r\n", b"\n", b"\r",
    b"Message-ID: abcd\r\n", b"Contact: *\r\n", b" folded\r\n", b":", b"\xff", b"l: 3\r\n", b"SIP/2.0 200 OK\r\n",
]  # fmt: skip
PROPERTY = settings(deadline=None, derandomize=True, database=None)
HEADERS = [("From", "<sip:alice@example.com>;tag=1"), ("Call-ID", "1@a.example"), ("CSeq", "1 MESSAGE")]


def rules(media_type: str, octets: bytes) -> list[str]:
    return sorted({violation.id for violation in parse_fragment(media_type, octets).violations})


@PROPERTY
@given(st.sampled_from(["message/sip", "message/sipfrag", "message/msrpfrag", "", "x"]), st.binary(max_size=200))
def test_arbitrary_octets_are_kept(media_type: str, octets: bytes) -> None:
    fragment = parse_fragment(media_type, octets)
    assert fragment.octets() == octets
    assert isinstance(fragment.method, str | None)


@PROPERTY
@given(st.sampled_from(["message/sip", "message/sipfrag", "message/msrpfrag"]), st.lists(st.sampled_from(PIECES)))
def test_pieces_of_messages_in_any_order_are_kept(media_type: str, pieces: list[bytes]) -> None:
    octets = b"".join(pieces)
    fragment = parse_fragment(media_type, octets)
    assert fragment.octets() == octets
    offsets = [wrong.offset for wrong in fragment.violations]
    assert offsets == sorted(offsets)
    assert all(0 <= offset <= len(octets) for offset in offsets)


def test_a_whole_message() -> None:
    fragment = parse_fragment("message/sip", build_message_sip(SIP.encode()))
    assert fragment.kind == "sip"
    assert fragment.start_line == "MESSAGE sip:bob@example.com SIP/2.0"
    assert fragment.method == "MESSAGE"
    assert fragment.headers.get("i") == "a84b4c76e66710@a.example"
    assert fragment.body == b"hello"


LEGAL_SIP = {
    "version parameter": ("message/sip;version=2.0", SIP),
    "compact and folded": ("message/sip", SIP.replace("From: Alice", "f: Alice\r\n ").replace("To:", "t :")),
    "no Content-Length": ("message/sip", SIP.replace("Content-Length: 5\r\n", "")),
    "header-only": ("message/sip", SIP.replace("Length: 5", "Length: 0").removesuffix("hello")),
    "response": (
        "message/sip", SIP.replace("MESSAGE sip:bob@example.com SIP/2.0", "SIP/2.0 202 Accepted").replace(
            "Max-Forwards: 70\r\n", "")),
}  # fmt: skip


@pytest.mark.parametrize(("media_type", "text"), LEGAL_SIP.values(), ids=LEGAL_SIP.keys())
def test_legal_sip(media_type: str, text: str) -> None:
    assert rules(media_type, text.encode()) == []


WRONG_SIP = {
    "start line": (SIP.replace(" SIP/2.0\r\nVia", "\r\nVia"), "01"),
    "another version": (SIP.replace("SIP/2.0\r\nVia", "SIP/1.0\r\nVia"), "01"),
    "no To": (SIP.replace("To: <sip:bob@example.com>\r\n", ""), "02"),
    "no Max-Forwards": (SIP.replace("Max-Forwards: 70\r\n", ""), "02"),
    "no empty line": (SIP.partition("Content-Type")[0], "03"),
    "no colon": (SIP.replace("Max-Forwards", "nothing\r\nMax-Forwards"), "04"),
    "LF": (SIP.replace("70\r\n", "70\n"), "04"),
    "bare CR in a value": (SIP.replace("Alice", "Al\rice"), "04"),
    "space in Call-ID": (SIP.replace("a84b", "a84 b"), "04"),
    "two From": (SIP.replace("To:", "f: <sip:x@y>;tag=2\r\nTo:"), "05"),
    "Content-Length": (SIP.replace("Length: 5", "Length: 6"), "06"),
    "no Content-Type": (SIP.replace("Content-Type: text/plain\r\n", ""), "07"),
    "CSeq method": (SIP.replace("1 MESSAGE", "1 INVITE"), "08"),
    "MESSAGE with Contact": (SIP.replace("To:", "m: <sip:x@y>\r\nTo:"), "09"),
    "INVITE without Contact": (SIP.replace("MESSAGE", "INVITE"), "09"),
    "Date not GMT": (SIP.replace("GMT", "CET"), "10"),
}


@pytest.mark.parametrize(("text", "number"), WRONG_SIP.values(), ids=WRONG_SIP.keys())
def test_wrong_sip(text: str, number: str) -> None:
    assert rules("message/sip", text.encode()) == [f"FRG-3261-27.5-{number}"]
    with pytest.raises(ValueError, match="no valid SIP message"):
        build_message_sip(text.encode())


def test_another_parameter_than_version() -> None:
    assert rules("message/sip;charset=utf-8", SIP.encode()) == ["FRG-3261-27.5-11"]
    assert rules("message/sipfrag;charset=utf-8", b"To: <sip:a@b>\r\n") == ["FRG-3420-5-01"]


def test_a_remark_makes_no_message_invalid() -> None:
    headers_only = SIP.replace("Content-Length: 5\r\n", "").removesuffix("hello").encode()
    assert rules("message/sip", headers_only) == ["FRG-3261-27.5-13"]
    assert build_message_sip(headers_only) == headers_only
    assert "FRG-3261-27.5-13" in SHOULD


def test_a_header_only_sipfrag_ends_with_its_last_header() -> None:
    octets = build_sipfrag(HEADERS)
    assert octets.endswith(b"CSeq: 1 MESSAGE\r\n")
    assert not octets.endswith(b"\r\n\r\n")
    fragment = parse_fragment("message/sipfrag", octets)
    assert [(header.name, header.value) for header in fragment.headers] == HEADERS
    assert (fragment.start_line, fragment.body, fragment.violations, fragment.method) == (None, None, (), "MESSAGE")


def test_sipfrag_with_everything() -> None:
    octets = build_sipfrag([*HEADERS, ("Content-Type", "a/b")], "MESSAGE sip:a@b SIP/2.0", b"\r\nx")
    fragment = parse_fragment("Message/SipFrag;version=2.0", octets)
    assert (fragment.method, fragment.body, fragment.violations) == ("MESSAGE", b"\r\nx", ())


@pytest.mark.parametrize(
    "octets",
    [
        b"INVITE sip:a@b SIP/2.0\r\n", b"SIP/2.0 100 Trying\r\n", b"SIP/2.0 200 \r\n", b"",
        b"Content-Type: text/plain\r\nContent-Length: 99\r\n", b"From: <sip:a@b>\r\n\r\n",
        b"Content-Type: text/plain\r\n\r\nhello",
        b"P-Asserted-Identity: <sip:a@b>\r\nP-Asserted-Identity: <tel:+1>\r\n",
    ],
)  # fmt: skip
def test_legal_sipfrag(octets: bytes) -> None:
    assert rules("message/sipfrag", octets) == []


@pytest.mark.parametrize(
    ("octets", "rule"),
    [
        (b"INVITE\r\n", "FRG-3420-3.2-01"), (b"INVITE sip:a@b SIP/3.0\r\nTo: <sip:a@b>\r\n", "FRG-3420-3.2-01"),
        (b"To: <sip:a@b>\r\nt: <sip:a@b>\r\n", "FRG-3420-3.2-02"), (b"Call-ID: a b\r\n", "FRG-3420-3.2-03"),
        (b"CSeq: INVITE\r\n", "FRG-3420-3.2-03"), (b"Date: 2010-11-13T23:29:00Z\r\n", "FRG-3420-3.2-03"),
        (b"To: <sip:a@b>", "FRG-3420-2-01"), (b"To: <sip:a@b>\n", "FRG-3420-2-01"),
        (b"\r\nhello", "FRG-3420-2-05"), (b"Subject: x\r\n\r\nhello", "FRG-3420-2-02"),
        (b"Content-Type: a/b\r\nl: 4\r\n\r\nhello", "FRG-3420-2-03"),
    ],
)  # fmt: skip
def test_wrong_sipfrag(octets: bytes, rule: str) -> None:
    assert rules("message/sipfrag", octets) == [rule]


def test_a_header_cannot_be_smuggled_into_a_fragment() -> None:
    for value in ("x\r\nEvil: 1", "x\nEvil: 1", "x\0"):
        with pytest.raises(ValueError, match="CR, LF"):
            build_sipfrag([("Subject", value)])
        with pytest.raises(ValueError, match="CR, LF"):
            build_msrpfrag([("Message-ID", value)])
    with pytest.raises(ValueError, match="start line"):
        build_sipfrag([], "INVITE")
    with pytest.raises(ValueError, match="start line"):
        build_sipfrag([], "INVITE sip:a@b SIP/2.0\r\nEvil: 1")


def test_msrpfrag() -> None:
    headers = [("Message-ID", "12339sdqwer"), ("Success-Report", "yes"), ("Content-Type", "text/plain")]
    fragment = parse_fragment("message/msrpfrag", build_msrpfrag(headers))
    assert (fragment.kind, fragment.start_line, fragment.body, fragment.violations) == ("msrpfrag", None, None, ())
    assert [(header.name, header.value) for header in fragment.headers] == headers


def test_msrpfrag_with_start_line_body_and_end_line() -> None:
    text = b"MSRP d93kswow SEND\r\nMessage-ID: abcd\r\nContent-Type: a/b\r\n\r\nhello\r\n-------d93kswow$\r\n"
    fragment = parse_fragment("message/msrpfrag", text)
    assert (fragment.start_line, fragment.method) == ("MSRP d93kswow SEND", "SEND")
    assert (fragment.body, [wrong.id for wrong in fragment.violations]) == (b"hello", ["FRG-MSRP-05"])
    bodiless = parse_fragment("message/msrpfrag", b"MSRP d93kswow SEND\r\nMessage-ID: abcd\r\n-------d93kswow$\r\n")
    assert (len(bodiless.headers), bodiless.body) == (1, None)
    assert (fragment.octets(), bodiless.tail) == (text, b"-------d93kswow$\r\n")


@pytest.mark.parametrize(
    ("octets", "number"),
    [
        (b"MSRP\r\nMessage-ID: abcd\r\n", "01"), (b"nothing\r\nMessage-ID: abcd\r\n", "01"),
        (b"Message-ID: abcd", "02"), (b"Message-ID: abcd\r\nMessage-ID: abcd\r\n", "03"),
        (b"Message-ID: a@b\r\n", "04"), (b"Byte-Range: x\r\n", "04"), (b"Success-Report: maybe\r\n", "04"),
    ],
)  # fmt: skip
def test_wrong_msrpfrag(octets: bytes, number: str) -> None:
    assert rules("message/msrpfrag", octets) == [f"FRG-MSRP-{number}"]


def test_kinds() -> None:
    assert [kind_of(name) for name in ("Message/SIP", "message/sipfrag;version=2.0", "message/msrpfrag", "a/b")] == [
        "sip", "sipfrag", "msrpfrag", None,
    ]  # fmt: skip


def test_building_is_strict_and_unchecked_building_is_not() -> None:
    for headers, start_line, body in (
        ([("Subject", "x")], None, b"hello"),
        ([("To", "<sip:a@b.example>")] * 2, None, None),
        ([("Call-ID", "a b")], None, None),
        ([("CSeq", "1 INVITE")], "MESSAGE sip:a@b.example SIP/2.0", None),
    ):
        with pytest.raises(ValueError, match="no valid message/sipfrag"):
            build_sipfrag(headers, start_line, body)
    wrong = Fragment.unchecked("sipfrag", [Header.unchecked("", "", b"\0\n"), Header.make("To", "")], "INVITE", b"x")
    assert wrong.octets() == b"INVITE\r\n\0\nTo: \r\n\r\nx"
    assert wrong.method is None
    assert Fragment.unchecked("msrpfrag", []).octets() == b""


def test_what_is_too_long_to_read_is_kept() -> None:
    octets = b"INVITE sip:a@b.example SIP/2.0\r\n" + b"X-Own: 1\r\n" * 9000
    fragment = parse_fragment("message/sipfrag", octets)
    assert [wrong.id for wrong in fragment.violations] == ["FRG-LIMIT-01"]
    assert (fragment.octets(), fragment.method, len(fragment.headers)) == (octets, "INVITE", 0)
