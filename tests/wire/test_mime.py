"""Multiparts go through composing and parsing octet for octet; wrong ones are read with the violation they deserve."""

from __future__ import annotations

import base64
import secrets
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpora import Case, corpus
from cpmspec.wire import mime
from cpmspec.wire.headers import decode
from cpmspec.wire.mime import Part, compose_multipart, compose_unchecked, leaves, parse_multipart

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
def test_arbitrary_octets_never_raise_and_are_kept(content_type: str, body: bytes) -> None:
    assert parse_multipart(content_type, body).octets() == body
    assert parse_multipart(MIXED, body).octets() == body


@given(bodies)
def test_any_body_with_the_delimiter_in_it_is_read(body: bytes) -> None:
    octets = b"--b1\r\n" + body + b"\r\n--b1--\r\n"
    parsed = parse_multipart(MIXED, octets)
    assert parsed.octets() == octets
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
                          ["MIM-2046-5.1.1-09"]),
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


def test_transfer_encodings() -> None:
    def part(encoding: str, body: bytes) -> Part:
        return Part.make([("Content-Transfer-Encoding", encoding)], body)

    assert part("BASE64", base64.b64encode(b"\0x")).decoded() == b"\0x"
    assert part("base64", b"=").decoded() in (b"", b"=")
    assert part("base64", b"eHg").decoded() == b"eHg"
    assert part("quoted-printable", b"a=3Db").decoded() == b"a=b"
    assert part("8bit", b"a=3Db").decoded() == b"a=3Db"
    assert Part.make([], b"x").content_type.full == "text/plain"


@pytest.mark.parametrize("case", corpus("multipart"), ids=str)
def test_every_case_of_the_corpus_is_kept_at_any_cut(case: Case) -> None:
    head, _, body = case.octets.partition(b"\r\n")
    for cut in (body, body[: len(body) // 2], body[:-1], body[1:]):
        parsed = parse_multipart(decode(head), cut)
        assert parsed.octets() == cut
        assert all(cut[part.offset : part.offset + len(part.raw)] == part.raw for part in parsed.parts)
        assert all(0 <= violation.offset <= len(cut) for violation in parsed.violations)


def test_what_is_recommended_or_ours_is_told_apart() -> None:
    for content_type, body, _, rules in WRONG.values():
        told = [violation.id for violation in parse_multipart(content_type, body).violations]
        assert set(told) & mime.RECOMMENDED == set(rules) & {"MIM-2046-5.1.1-07"}


def test_a_part_of_a_digest_is_a_message() -> None:
    (part,) = parse_multipart("multipart/digest;boundary=b1", b"--b1\r\n\r\nx\r\n--b1--").parts
    assert part.content_type.full == "message/rfc822"


def test_an_internationalised_message_may_be_encoded() -> None:
    part = Part.make([("Content-Type", "message/global"), ("Content-Transfer-Encoding", "base64")], b"eA==")
    assert parse_multipart(*compose_multipart([part])).violations == ()


@pytest.mark.parametrize("inner", ["b1", "b12", "b1x"])
def test_a_boundary_that_begins_a_nested_one_is_not_composed(inner: str) -> None:
    nested = Part.make([("Content-Type", f"multipart/mixed;boundary={inner}")], b"not even used")
    around = Part.make([("Content-Type", "multipart/mixed;boundary=z9")], compose_multipart([nested], "z9")[1])
    for part in (nested, around):
        with pytest.raises(ValueError, match="begins that of a nested multipart"):
            compose_multipart([part], "b1")
        assert compose_multipart([part], "b2")[0] == "multipart/mixed;boundary=b2"


def test_a_nested_multipart_without_boundary_or_too_deep_is_no_matter() -> None:
    part = Part.make([("Content-Type", "multipart/mixed")], b"x")
    assert compose_multipart([part], "b1")[1].startswith(b"--b1\r\n")
    for level in range(mime.MAX_DEPTH + 2):
        part = Part.make([("Content-Type", f"multipart/mixed;boundary=x{level}x")], b"--x%dx\r\n" % level + part.raw)
    assert compose_multipart([part], "b1")[1].startswith(b"--b1\r\n")


def test_a_drawn_boundary_that_occurs_is_drawn_again(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = iter(["aa", "ab", "ac"])
    monkeypatch.setattr(secrets, "token_hex", lambda _: next(drawn))
    assert compose_multipart([Part.make([], b"aa"), Part.make([("X", "ab")], b"")])[0] == "multipart/mixed;boundary=ac"


def test_the_subtype_is_told() -> None:
    assert compose_multipart([Part.make([], b"")], "b1", subtype="related")[0] == "multipart/related;boundary=b1"


PART = Part.make([("Content-Type", "text/plain")], b"x")
ON_PURPOSE = {
    "right": ({}, []),
    "no part": ({"parts": []}, ["MIM-2046-5.1.1-04"]),
    "not closed": ({"close": b"\r\n"}, ["MIM-2046-5.1.1-05"]),
    "line feeds": ({"before": b"\n", "after": b"\n"}, ["MIM-2046-5.1.1-06"]),
    "nothing before a delimiter": ({"before": b""}, ["MIM-2046-5.1.1-05"]),
    "preamble": ({"preamble": b"hello\r\n"}, ["MIM-2046-5.1.1-07"]),
    "padding": ({"after": b" \r\n"}, ["MIM-2046-5.1.1-08"]),
    "epilogue": ({"close": b"--\r\nbye"}, ["MIM-2046-5.1.1-07"]),
    "a collision": ({"parts": [b"\r\n--b1x"]}, ["MIM-2046-5.1-01"]),
    "a header of any octets": ({"parts": [b"no header\r\n\r\nx"]}, ["MIM-2046-5.1-03"]),
    "an illegal boundary": ({"boundary": "a*?"}, ["MIM-2046-5.1.1-02"]),
}


@pytest.mark.parametrize(("changed", "rules"), ON_PURPOSE.values(), ids=ON_PURPOSE.keys())
def test_anything_wrong_can_be_composed(changed: dict[str, Any], rules: list[str]) -> None:
    given = {"parts": [PART], "boundary": "b1"} | changed
    parsed = parse_multipart(*compose_unchecked(given.pop("parts"), given.pop("boundary"), **given))
    assert [violation.id for violation in parsed.violations][: len(rules) or None] == rules


def test_leaves_go_to_a_bounded_depth() -> None:
    part = Part.make([("Content-Type", "text/plain")], b"core")
    for _ in range(12):
        content_type, body = compose_multipart([part])
        part = Part.make([("Content-Type", content_type)], body)
    (whole,) = leaves(part)
    assert whole.content_type.type == "multipart"
    (core,) = leaves(part, depth=12)
    assert core.body == b"core"


def test_a_multipart_that_cannot_be_taken_apart_is_a_leaf() -> None:
    part = Part.make([("Content-Type", "multipart/mixed")], b"x")
    assert list(leaves(part)) == [part]
