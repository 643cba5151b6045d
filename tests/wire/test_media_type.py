"""Content-Type and Content-Disposition: read leniently, judged by the grammar."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpmspec.wire.media_type import MediaType, is_disposition, without_comments

PIECES = ["text", "/", "plain", ";", "=", '"', "\\", "(", ")", " ", "charset", "boundary", "*0", "\r\n", "\xe9", "\0"]


@given(st.text() | st.lists(st.sampled_from(PIECES)).map("".join))
def test_any_text_is_read(text: str) -> None:
    media = MediaType.parse(text)
    assert str(media) == text
    assert not media.well_formed or media.full
    assert isinstance((media.bare_boundary, media.continued("boundary"), is_disposition(text)), tuple)


@pytest.mark.parametrize(
    ("value", "full", "params"),
    [
        ("Multipart/Mixed; Boundary=aB", "multipart/mixed", (("boundary", "aB"),)),
        ('text/plain;charset="utf\\"8" ; x=y', "text/plain", (("charset", 'utf"8'), ("x", "y"))),
        ('text/plain;a="(x)";b="\\""', "text/plain", (("a", "(x)"), ("b", '"'))),
        ("text/plain (a (b) \\) c) ; (d) charset=x", "text/plain", (("charset", "x"),)),
        ("text/plain;a=b (open", "text/plain", (("a", "b"),)),
        ("text/plain;a=)", "text/plain", (("a", ")"),)),
        ('text/plain;a="open', "text/plain", ()),
        (" text / plain", "text/plain", ()),
        ("text plain", "", ()),
        ("text", "", ()),
        ("", "", ()),
        ("a/b;", "a/b", ()),
    ],
)
def test_media_type(value: str, full: str, params: tuple[tuple[str, str], ...]) -> None:
    media = MediaType.parse(value)
    assert (media.full, media.params, str(media)) == (full, params, value)


@pytest.mark.parametrize(
    ("value", "good"),
    [
        ("a/b", True),
        ('a/b; c="d e"', True),
        ("a/b (x); c=d (y)", True),
        ("a/b;c=d;c=e", False),
        ("a/b;c", False),
        ("a/b c", False),
        ("a/b (x", False),
        ("\xe9/b", False),
        ("a", False),
    ],
)
def test_well_formed(value: str, good: bool) -> None:
    assert MediaType.parse(value).well_formed is good


@pytest.mark.parametrize(
    ("value", "bare"),
    [
        ("a/b;boundary=x", False),
        ("a/b;boundary=x?", True),
        ('a/b;boundary="x?"', False),
        ("a/b;boundary=x;boundary=y?", False),
        ("a/b;boundary=x (y?)", False),
        ("a/b", False),
        ("a", False),
    ],
)
def test_a_boundary_that_needs_quotes(value: str, bare: bool) -> None:
    assert MediaType.parse(value).bare_boundary is bare


def test_a_parameter_in_pieces() -> None:
    media = MediaType.parse('a/b;boundary*0="a b";boundary*1=c;boundary*3=d')
    assert (media.param("boundary"), media.continued("boundary"), media.continued("charset")) == (None, "a bc", None)


@pytest.mark.parametrize(("kind", "composite"), [("multipart/x", True), ("message/sip", True), ("text/plain", False)])
def test_composite(kind: str, composite: bool) -> None:
    assert MediaType.parse(kind).composite is composite


@pytest.mark.parametrize(
    ("value", "good"),
    [("inline", True), ("attachment (x); filename=y", True), ("", False), ("a;", False), ('a;filename="x', False)],
)
def test_disposition(value: str, good: bool) -> None:
    assert is_disposition(value) is good


def test_comments_are_taken_out_unless_one_has_no_end() -> None:
    assert without_comments("a (b) c") == "a   c"
    assert without_comments('"(a" (b)') == '"(a"  '
    assert without_comments("a) (b") == "a) (b"
