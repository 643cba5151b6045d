"""The way in which corpora of octets are written."""

from __future__ import annotations

import pytest

import corpora


@pytest.mark.parametrize(
    ("text", "octets"),
    [
        ("a\nb", b"a\r\nb"),
        ("a\\\nb\n", b"ab\r\n"),
        ("\\r\\n\\t\\0\\\\\\x80", b"\r\n\t\0\\\x80"),
        ("\\{ab*3}|", b"ababab|"),
        ("\\{\\n*2}", b"\n\n"),
        ("é", b"\xc3\xa9"),
    ],
)
def test_escapes(text: str, octets: bytes) -> None:
    assert corpora.unescaped(text) == octets


def test_an_unknown_escape_is_an_error() -> None:
    with pytest.raises(ValueError, match="at octet 1"):
        corpora.unescaped("a\\q")
