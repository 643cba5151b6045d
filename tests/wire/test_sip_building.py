"""Building SIP: strict by default, anything at all on purpose."""

from __future__ import annotations

import pytest

from cpmspec.wire.headers import Header
from cpmspec.wire.sip import build_request, parse_message, unchecked_request, unchecked_response

FIELDS = [
    ("Via", "SIP/2.0/UDP h;branch=z9hG4bK1"), ("Max-Forwards", "70"), ("To", "<sip:b@c>"), ("From", "<sip:a@c>;tag=1"),
    ("Call-ID", "x"), ("CSeq", "1 MESSAGE"),
]  # fmt: skip


def wrong(octets: bytes) -> list[str]:
    return [one.id.removeprefix("SIP-3261-") for one in parse_message(octets).violations]


@pytest.mark.parametrize("name", [name for name, _ in FIELDS])
def test_a_whole_request_lacks_nothing(name: str) -> None:
    some = [(other, value) for other, value in FIELDS if other != name]
    assert build_request("MESSAGE", "sip:b@c", FIELDS, whole=True).violations == ()
    assert build_request("MESSAGE", "sip:b@c", some).headers.get(name) is None
    with pytest.raises(ValueError, match=f"without {name.lower()}"):
        build_request("MESSAGE", "sip:b@c", some, whole=True)


def test_a_content_length_that_is_right_is_taken() -> None:
    fields = [*FIELDS, ("Content-Type", "a/b"), ("l", "1")]
    assert build_request("MESSAGE", "sip:b@c", fields, b"x").headers.get_all("Content-Length") == ("1",)


def test_a_request_that_is_right_unchecked_is_the_one_built() -> None:
    built = build_request("MESSAGE", "sip:b@c", FIELDS)
    assert unchecked_request("MESSAGE", "sip:b@c", [*FIELDS, ("Content-Length", "0")]) == built


def test_the_method_of_cseq() -> None:
    built = unchecked_request("INFO", "sip:b@c", FIELDS)
    assert wrong(built.octets()) == ["8.1.1.5-02"]


def test_missing_headers() -> None:
    assert wrong(unchecked_request("MESSAGE", "sip:b@c", FIELDS[2:]).octets()) == ["8.1.1-01", "8.1.1-01"]


def test_two_lengths() -> None:
    lengths = [("Content-Type", "a/b"), ("Content-Length", "2"), ("l", "1")]
    assert wrong(unchecked_request("MESSAGE", "sip:b@c", [*FIELDS, *lengths], b"ab").octets()) == [
        "7.3.1-01",
        "20.14-02",
    ]


def test_line_ends() -> None:
    built = unchecked_request("MESSAGE", "sip:b@c", FIELDS, line_end=b"\n")
    assert b"\r" not in built.octets()
    assert set(wrong(built.octets())) == {"7-01"}


def test_another_start_line_and_no_empty_line() -> None:
    built = unchecked_request("MESSAGE", "sip:b@c", FIELDS, start=b"MESSAGE  sip:b@c SIP/2.0\r\n", separator=b"")
    assert wrong(built.octets()) == ["7.1-02", "7-02"]
    assert (built.method, built.uri) == ("MESSAGE", "sip:b@c")


def test_a_header_with_octets_of_its_own() -> None:
    injected = Header.unchecked("Subject", "a", b"Subject: a\r\nX-Injected: b\r\n")
    built = unchecked_request("MESSAGE", "sip:b@c", [*FIELDS, injected, ("X", "c\r\nd: e")])
    assert b"\r\nX-Injected: b\r\nX: c\r\nd: e\r\n" in built.octets()


def test_responses() -> None:
    fields = [field for field in FIELDS if field[0] != "Max-Forwards"]
    assert wrong(unchecked_response(200, "OK", fields).octets()) == []
    assert wrong(unchecked_response(999, "O\rK", fields).octets())[-1] == "7.2-02"
    built = unchecked_response(200, "OK", fields, b"x", start=b"SIP/2.0 200\r\n", line_end=b"\n", separator=b"\r\n")
    assert built.octets().endswith(b"CSeq: 1 MESSAGE\n\r\nx")
    assert set(wrong(built.octets())) == {"7.2-01", "7-01", "20.15-01"}
