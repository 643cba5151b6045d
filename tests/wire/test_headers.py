"""Header sections: lookup without case, compact forms, lists, what is refused when building."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cpmspec.wire import section
from cpmspec.wire.headers import COMPACT, Header, Headers, PlainHeader, canonical, decode, encode, split_list
from cpmspec.wire.section import Fault, parse_section

PROPERTY = settings(deadline=None, derandomize=True, database=None)

#: octets that look like header sections more often than chance would have it
SECTIONS = st.lists(st.sampled_from([b"a", b"B", b":", b" ", b"\t", b"\r\n", b"\n", b"\r", b"\0", b",", b"\xff", b'"']))


@PROPERTY
@given(st.binary())
def test_decoding_loses_no_octet(octets: bytes) -> None:
    assert encode(decode(octets)) == octets


@PROPERTY
@given(SECTIONS.map(b"".join))
def test_a_section_keeps_every_octet(octets: bytes) -> None:
    section = parse_section(octets)
    assert section.headers.octets() + section.separator + octets[section.end :] == octets


@pytest.mark.parametrize(("short", "long"), sorted(COMPACT.items()))
def test_compact_forms_equal_long_ones(short: str, long: str) -> None:
    headers = Headers.of((short.upper(), "value"))
    assert headers.get(long.title()) == "value"
    assert canonical(f" {short} ") == canonical(long)


@pytest.mark.parametrize(
    ("octets", "value"),
    [
        (b"Subject: one\r\n\r\n", "one"),
        (b"Subject:one\r\n\r\n", "one"),
        (b"Subject \t: \t one \t\r\n\r\n", "one"),
        (b"SUBJECT: one\r\n two\r\n\r\n", "one two"),
        (b"subject:\r\n\t one\r\n  two \r\n\r\n", "one two"),
        (b"s: one\r\n\r\n", "one"),
        (b"Subject:\r\n\r\n", ""),
        (b"Subject: a:b\r\n\r\n", "a:b"),
        (b"Subject: \xc3\xa4\r\n\r\n", "\u00e4"),
    ],
)
def test_legal_forms_of_a_header(octets: bytes, value: str) -> None:
    section = parse_section(octets, 0, Header)
    assert section.headers.get("Subject") == value
    assert section.defects == ()
    assert section.end == len(octets)


@pytest.mark.parametrize(
    ("octets", "fault", "offset"),
    [
        (b"Subject: one\n\r\n", Fault.LINE_END, 12),
        (b"Subject: one\r\n\n", Fault.LINE_END, 14),
        (b"no colon here\r\n\r\n", Fault.NO_COLON, 0),
        (b" continues nothing: x\r\n\r\n", Fault.NAME, 0),
        (b"a: b\r\nSub ject: one\r\n\r\n", Fault.NAME, 6),
        (b": one\r\n\r\n", Fault.NAME, 0),
        (b"Subject: o\rne\r\n\r\n", Fault.CONTROL, 10),
        (b"Subject: o\0ne\r\n\r\n", Fault.CONTROL, 10),
        (b"Subject: one\r\n", Fault.UNTERMINATED, 14),
        (b"Subject: one", Fault.UNTERMINATED, 12),
        (b"", Fault.UNTERMINATED, 0),
    ],
)
def test_faults_of_a_section(octets: bytes, fault: Fault, offset: int) -> None:
    assert [(defect.fault, defect.offset) for defect in parse_section(octets).defects] == [(fault, offset)]


def test_a_line_without_colon_is_kept_whole() -> None:
    section = parse_section(b"no colon here\r\nA: b\r\n\r\n", 0, Header)
    assert section.headers[0] == Header("", "no colon here", b"no colon here\r\n")
    assert section.headers.get("a") == "b"


@pytest.mark.parametrize(
    ("value", "items"),
    [
        ("", ()),
        ("a", ("a",)),
        ("a, b ,c", ("a", "b", "c")),
        ('"x, y" <sip:a@b>, <sip:c,d@e>', ('"x, y" <sip:a@b>', "<sip:c,d@e>")),
        (r'"a\", b", c', (r'"a\", b"', "c")),
        (",,a,", ("a",)),
        ('"never closed, b', ('"never closed, b',)),
    ],
)
def test_lists(value: str, items: tuple[str, ...]) -> None:
    assert split_list(value) == items


@pytest.mark.parametrize(("name", "value"), [("A\r\nB", "c"), ("A", "b\r\nC: d"), ("A", "b\nc"), ("A", "b\0")])
def test_building_refuses_injection(name: str, value: str) -> None:
    with pytest.raises(ValueError, match="CR, LF or NUL"):
        Header.make(name, value)
    assert Header.unchecked(name, value).raw.endswith(b"\r\n")


def test_changes_leave_the_original_and_the_order() -> None:
    headers = Headers.of(("Via", "1"), ("To", "x"), ("v", "2"), ("From", "y"))
    assert headers.get_all("via") == ("1", "2")
    assert [h.value for h in headers.replaced("via", "3")] == ["3", "x", "y"]
    assert [h.value for h in headers.without("VIA", "from")] == ["x"]
    assert [h.value for h in headers.added("Via", "0", first=True)] == ["0", "1", "x", "2", "y"]
    assert [h.value for h in headers.replaced("Date", "d")] == ["1", "x", "2", "y", "d"]
    assert len(headers) == 4
    assert headers[1:3].octets() == b"To: x\r\nv: 2\r\n"


def test_a_section_shows_its_names_and_values_and_can_be_filtered() -> None:
    headers = parse_section(b"Via: 1\r\nX-y : z\r\n\r\n", 0, Header).headers
    assert repr(headers) == "Headers([('Via', '1'), ('X-y', 'z')])"
    assert headers.where(lambda header: header.key != "via").octets() == b"X-y : z\r\n"
    assert headers == Headers(headers)
    assert (hash(headers), headers.keys) == (hash(Headers(headers)), ("via", "x-y"))
    assert headers[-1] == Header("X-y", "z", b"X-y : z\r\n")


LINES = [
    "Via: a\r\n", "X:b\r\n", " fold\r\n", "c : d\r\n", ": e\r\n", "no\r\n", "l: 5\n", "f\rg: h\r\n", "\r\n", "To\r\n",
]  # fmt: skip


@PROPERTY
@given(st.lists(st.sampled_from(LINES)).map("".join), st.sampled_from([Header, PlainHeader]))
def test_the_usual_way_to_read_a_section_is_the_long_way(text: str, kind: type[Header]) -> None:
    octets = f"{text}\r\n".encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(section, "_plain", lambda *_: None)
        long = parse_section(octets, 0, kind)
    assert parse_section(octets, 0, kind) == long
    assert parse_section(octets, 0, kind).headers.keys == long.headers.keys


def test_compact_forms_are_sips_alone() -> None:
    """RFC 3261 7.3.3 gives them; RFC 4975 and RFC 2045 know none."""
    section = b"c: text/plain\r\nContent-Type: text/html\r\n\r\n"
    plain, sip = parse_section(section).headers, parse_section(section, 0, Header).headers
    assert plain.get_all("Content-Type") == ("text/html",)
    assert sip.get_all("Content-Type") == ("text/plain", "text/html")
    assert plain.octets() == sip.octets()
