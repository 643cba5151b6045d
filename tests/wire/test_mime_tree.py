"""Multiparts inside multiparts: the corpus case by case, and places that are places of the outermost body."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpora import Case, corpus, distinct, told
from cpmspec.wire.headers import decode
from cpmspec.wire.mime import Part, compose_multipart, compose_unchecked, leaves
from cpmspec.wire.mime_tree import parse_tree, part_violations

CASES = corpus("multipart")


def split(octets: bytes) -> tuple[str, bytes]:
    """The Content-Type in the first line of a case, and the body."""
    head, _, body = octets.partition(b"\r\n")
    return decode(head), body


def test_the_corpus_has_many_distinct_cases() -> None:
    assert distinct(CASES) >= 80


@pytest.mark.parametrize("case", CASES, ids=str)
def test_corpus(case: Case) -> None:
    content_type, body = split(case.octets)
    tree = parse_tree(content_type, body)
    assert told(tree.violations) == case.violations
    assert tree.octets() == body
    if case.facts:
        parts = [node.part for node in tree.walk()]
        assert [part.content_type.full for part in parts] == case.facts["types"]
        assert [len(part.body) for part in parts] == case.facts["sizes"]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_part_is_at_its_place(case: Case) -> None:
    content_type, body = split(case.octets)
    for node in parse_tree(content_type, body).walk():
        if node.level == 1 or "MIM-2045-6.4-01" not in case.ids:
            assert body[node.offset : node.offset + len(node.part.raw)] == node.part.raw


DIRT = st.sampled_from(
    [b"\r\n", b"--b1", b"\r\n--in\r\n", b"\r\n--in--", b"=", b"\0", b"Content-Transfer-Encoding: base64\r\n"]
)


@given(st.sampled_from(CASES), st.integers(min_value=0), st.integers(min_value=0, max_value=40), DIRT | st.binary())
def test_what_is_spoiled_is_read_and_kept(case: Case, at: int, cut: int, dirt: bytes) -> None:
    octets = case.octets[:3000]
    place = at % (len(octets) + 1)
    content_type, body = split(octets[:place] + dirt + octets[place + cut :])
    tree = parse_tree(content_type, body)
    assert tree.octets() == body
    assert all(0 <= violation.offset <= len(body) for violation in tree.violations)


def test_the_leaves_are_those_of_the_walk() -> None:
    inner = compose_multipart([Part.make([], b"one"), Part.make([], b"two")], "in")
    outer = compose_multipart([Part.make([("Content-Type", inner[0])], inner[1]), Part.make([], b"three")], "b1")
    tree = parse_tree(*outer)
    assert [(node.level, node.part.body) for node in tree.walk() if not node.children] == [
        (2, b"one"), (2, b"two"), (1, b"three"),
    ]  # fmt: skip
    assert [leaf.body for part in tree.root.parts for leaf in leaves(part)] == [b"one", b"two", b"three"]
    first, second = tree.nodes
    assert (first.inner is not None, second.inner) == (True, None)


def test_a_part_that_stands_alone_is_judged_at_its_own_place() -> None:
    part = Part.make([("Content-Transfer-Encoding", "base64")], b"a")
    assert told(part_violations(part)) == ("MIM-2045-6.8-01@37",)


def test_every_case_can_be_sent_on_purpose() -> None:
    content_type, body = compose_unchecked([b"Content-ID: 1\r\n\r\nx"], "b1", subtype="related")
    assert told(parse_tree(content_type, body).violations) == ("MIM-2045-7-01@6",)
