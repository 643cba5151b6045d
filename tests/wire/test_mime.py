"""Multiparts go through composing and parsing octet for octet; wrong ones are read with the violation they deserve."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpmspec.wire.mime import MediaType, Part, compose_multipart, leaves, parse_multipart

MIXED = "multipart/mixed;boundary=b1"

bodies = st.lists(
    st.sampled_from([b"\r\n", b"--", b"--b1", b"\r\n--b1--\r\n", b"\n", b"\r", b"Content-Type: a/b\r\n\r\n", b"\0\xff"])
    | st.binary(max_size=20),
    max_size=8,
).map(b"".join)
texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zl", "Zp", "Zs"]), min_size=1, max_size=8)
headers = st.lists(st.tuples(st.sampled_from(["Content-Type", "Date", "X-Any"]), texts), max_size=3)


@given(st.lists(st.tuples(headers, bodies), min_size=1, max_size=4))
def test_round_trip_is_exact(parts: list[tuple[list[tuple[str, str]], bytes]]) -> None:
    content_type, body = compose_multipart([Part.make(head, content) for head, content in parts])
    parsed = parse_multipart(content_type, body)
    assert [
        ([(header.name, header.value) for header in part.headers], part.body) for part in parsed.parts
    ] == [([(name, value.strip(" \t")) for name, value in head], content) for head, content in parts]  # fmt: skip
    assert all(body[part.offset : part.offset + len(part.raw)] == part.raw for part in parsed.parts)
    assert not {v.id for v in parsed.violations} - {"MIM-2045-5.1-01"}


@given(st.text(max_size=60), st.binary(max_size=200))
def test_arbitrary_octets_never_raise(content_type: str, body: bytes) -> None:
    parse_multipart(content_type, body)
    parse_multipart(MIXED, body)


@given(bodies)
def test_any_body_with_the_delimiter_in_it_is_read(body: bytes) -> None:
    parsed = parse_multipart(MIXED, b"--b1\r\n" + body + b"\r\n--b1--\r\n")
    for part in parsed.parts:
        list(leaves(part))
        part.decoded()


def test_the_boundary_is_fresh_and_collides_with_nothing() -> None:
    drawn = [compose_multipart([Part.make([], b"x")]) for _ in range(20)]
    assert len({content_type for content_type, _ in drawn}) == 20
    content_type, body = drawn[0]
    again = compose_multipart([Part.make([("Content-Type", content_type)], body)])
    assert parse_multipart(*again).parts[0].body == body


@pytest.mark.parametrize("boundary", ["", "x" * 71, "ends with space ", 'a"b', "a;b"])
def test_an_illegal_boundary_is_not_composed(boundary: str) -> None:
    with pytest.raises(ValueError, match="boundary"):
        compose_multipart([Part.make([], b"")], boundary)


def test_composing_is_strict() -> None:
    with pytest.raises(ValueError, match="at least one part"):
        compose_multipart([])
    with pytest.raises(ValueError, match="occurs in a part"):
        compose_multipart([Part.make([], b"\r\n--b1 \r\n")], "b1")
    with pytest.raises(ValueError, match="CR, LF"):
        Part.make([("Date", "x\r\nY: z")], b"")
    assert compose_multipart([Part.make([], b"")], "a=b")[0] == 'multipart/mixed;boundary="a=b"'


@pytest.mark.parametrize(
    ("body", "parts"),
    [
        (b"--b1\r\n\r\nx\r\n--b1--", [b"x"]),
        (b"--b1\r\n\r\n--b1--", [b""]),
        (b"--b1\r\nA: b\r\n--b1--\r\n", [b""]),
        (b"--b1\r\nA: b\r\n\r\n--b1--\r\n", [b""]),
        (b"--b1\r\nA: b\r\n\r\n\r\n--b1--\r\n", [b""]),
        (b"--b1\r\nA: b\r\n\r\n\r\n\r\n--b1--\r\n", [b"\r\n"]),
        (b"--b1\r\n\r\nx\n--b0\r\n\r\n--b1\r\n\r\ny\r\n--b1--\r\n", [b"x\n--b0\r\n", b"y"]),
        (b"\r\n--b1\r\n\r\nx\r\n--b1--\r\n", [b"x"]),
    ],
)
def test_legal_multiparts(body: bytes, parts: list[bytes]) -> None:
    parsed = parse_multipart(MIXED, body)
    assert [part.body for part in parsed.parts] == parts
    assert parsed.violations == ()


INNER = 'multipart/mixed;boundary="b12"'
WRONG = {
    "no boundary": ("multipart/mixed", b"--b1\r\n\r\nx\r\n--b1--", 0, ["MIM-2046-5.1.1-01"]),
    "no Content-Type at all": ("nonsense", b"x", 0, ["MIM-2045-5.1-01", "MIM-2046-5.1.1-01"]),
    "boundary too long": ("a/b;boundary=" + "x" * 71, b"--" + b"x" * 71 + b"\r\n\r\n\r\n--" + b"x" * 71 + b"--", 1,
                          ["MIM-2046-5.1.1-02"]),
    "boundary not quoted": ("multipart/mixed;boundary=a=b", b"--a=b\r\n\r\nx\r\n--a=b--", 1,
                            ["MIM-2045-5.1-01", "MIM-2046-5.1.1-03"]),
    "no part": (MIXED, b"text", 0, ["MIM-2046-5.1.1-04", "MIM-2046-5.1.1-05"]),
    "only a close delimiter": (MIXED, b"--b1--", 0, ["MIM-2046-5.1.1-04"]),
    "no close delimiter": (MIXED, b"--b1\r\n\r\nx", 1, ["MIM-2046-5.1.1-05"]),
    "no close delimiter after the last": (MIXED, b"--b1\r\n\r\nx\r\n--b1\r\n", 1, ["MIM-2046-5.1.1-05"]),
    "LF": (MIXED, b"--b1\n\r\nx\n--b1--", 1, ["MIM-2046-5.1.1-06"]),
    "preamble": (MIXED, b"hello\r\n--b1\r\n\r\nx\r\n--b1--", 1, ["MIM-2046-5.1.1-07"]),
    "epilogue": (MIXED, b"--b1\r\n\r\nx\r\n--b1--\r\nbye", 1, ["MIM-2046-5.1.1-07"]),
    "padding": (MIXED, b"--b1 \r\n\r\nx\r\n--b1--", 1, ["MIM-2046-5.1.1-08"]),
    "header line": (MIXED, b"--b1\r\nno header\r\n\r\nx\r\n--b1--", 1, ["MIM-2046-5.1-03"]),
    "delimiter as a prefix": (MIXED, b"--b1\r\n\r\nx\r\n--b1x\r\n--b1--", 1, ["MIM-2046-5.1-01"]),
    "nested boundary": (MIXED, f"--b1\r\nContent-Type: {INNER}\r\n\r\nx\r\n--b1--".encode(), 1, ["MIM-2046-5.1-02"]),
    "encoded composite": (
        MIXED, b"--b1\r\nContent-Type: message/sip\r\nContent-Transfer-Encoding: base64\r\n\r\neA==\r\n--b1--", 1,
        ["MIM-2045-6.4-01"]),
    "type of a part": (MIXED, b"--b1\r\nContent-Type: text\r\n\r\nx\r\n--b1--", 1, ["MIM-2045-5.1-01"]),
}  # fmt: skip


@pytest.mark.parametrize(("content_type", "body", "count", "rules"), WRONG.values(), ids=WRONG.keys())
def test_wrong_multiparts(content_type: str, body: bytes, count: int, rules: list[str]) -> None:
    parsed = parse_multipart(content_type, body)
    assert (len(parsed.parts), sorted({violation.id for violation in parsed.violations})) == (count, rules)


@pytest.mark.parametrize(
    ("value", "full", "params"),
    [
        ("Multipart/Mixed; Boundary=aB", "multipart/mixed", (("boundary", "aB"),)),
        ('text/plain;charset="utf\\"8" ; x=y', "text/plain", (("charset", 'utf"8'), ("x", "y"))),
        (" text / plain", "", ()), ("text", "", ()), ("", "", ()), ("a/b;", "a/b", ()),
    ],
)  # fmt: skip
def test_media_type(value: str, full: str, params: tuple[tuple[str, str], ...]) -> None:
    media = MediaType.parse(value)
    assert (media.full, media.params, str(media)) == (full, params, value)


@pytest.mark.parametrize(
    ("value", "good"),
    [("a/b", True), ('a/b; c="d e"', True), ("a/b;c=d;c=e", False), ("a/b;c", False), ("a/b c", False), ("a", False)],
)
def test_well_formed(value: str, good: bool) -> None:
    assert MediaType.parse(value).well_formed is good


def test_transfer_encodings() -> None:
    def part(encoding: str, body: bytes) -> Part:
        return Part.make([("Content-Transfer-Encoding", encoding)], body)

    assert part("BASE64", base64.b64encode(b"\0x")).decoded() == b"\0x"
    assert part("base64", b"=").decoded() in (b"", b"=")
    assert part("base64", b"eHg").decoded() == b"eHg"
    assert part("quoted-printable", b"a=3Db").decoded() == b"a=b"
    assert part("8bit", b"a=3Db").decoded() == b"a=3Db"
    assert Part.make([], b"x").content_type.full == "text/plain"


def test_leaves_go_to_a_bounded_depth() -> None:
    part = Part.make([("Content-Type", "text/plain")], b"core")
    for _ in range(12):
        content_type, body = compose_multipart([part])
        part = Part.make([("Content-Type", content_type)], body)
    (whole,) = leaves(part)
    assert whole.content_type.type == "multipart"
    (core,) = leaves(part, depth=12)
    assert core.body == b"core"
