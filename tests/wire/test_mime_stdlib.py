"""Well-formed multiparts read by us and by the standard library: the same parts with the same content.

Where the standard library differs, a test of its own shows it, and by which clause which of the two is right.
"""

from __future__ import annotations

from collections.abc import Iterator
from email.message import Message
from email.parser import BytesParser
from email.policy import compat32

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from cpmspec.wire.mime import Part, compose_multipart
from cpmspec.wire.mime_tree import Node, parse_tree

#: content type, header names and values, decoded content; or the same with the parts instead of the content
Read = tuple[str, list[tuple[str, str]], object]

PROPERTY = settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.filter_too_much])

BCHARS = "0123456789ABCabcxyz'()+_,-./:=? "
boundaries = st.text(BCHARS, min_size=1, max_size=70).filter(lambda text: not text.endswith(" "))
values = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=20)
names = st.sampled_from(["Content-Description", "X-One", "Date", "x{y}"])
bodies = st.lists(
    st.sampled_from([b"\r\n", b"\n", b"\r", b"--", b"--b", b"--b1--", b"A: b\r\n", b"=", b"=41", b"YQ==", b" "])
    | st.binary(max_size=12),
    max_size=8,
).map(b"".join)


@st.composite
def leaf_parts(draw: st.DrawFn) -> Part:
    kind = draw(st.sampled_from([None, "text/plain", "text/html; charset=utf-8", "application/x-any", "image/png"]))
    encoding = draw(st.sampled_from([None, "binary", "8bit", "quoted-printable"]))
    described = [("Content-Type", kind), ("Content-Transfer-Encoding", encoding)]
    headers = [(name, value) for name, value in described if value is not None]
    return Part.make([*headers, *draw(st.lists(st.tuples(names, values), max_size=2))], draw(bodies))


@st.composite
def multiparts(draw: st.DrawFn, depth: int = 0) -> tuple[str, bytes]:
    parts = []
    for _ in range(draw(st.integers(min_value=1, max_value=3))):
        if depth < 3 and draw(st.integers(min_value=0, max_value=3)) == 0:
            content_type, body = draw(multiparts(depth + 1))
            parts.append(Part.make([("Content-Type", content_type)], body))
        else:
            parts.append(draw(leaf_parts()))
    subtype = draw(st.sampled_from(["mixed", "alternative", "related", "x-unknown"]))
    try:
        return compose_multipart(parts, draw(boundaries | st.none()), subtype=subtype)
    except ValueError:
        assume(condition=False)
        raise


def ours(nodes: tuple[Node, ...]) -> Iterator[Read]:
    for node in nodes:
        headers = [(header.name, header.value) for header in node.part.headers]
        kind = node.part.content_type.full
        yield kind, headers, node.part.decoded() if node.inner is None else list(ours(node.children))


def theirs(content_type: str, body: bytes) -> Message:
    return BytesParser(policy=compat32).parsebytes(f"Content-Type: {content_type}\r\n\r\n".encode() + body)


def parts_of(message: Message) -> list[Message]:
    payload = message.get_payload()
    parts = [part for part in payload if isinstance(part, Message)]
    assert len(parts) == len(payload)
    return parts


def read(message: Message) -> Iterator[Read]:
    for part in parts_of(message):
        nested = part.is_multipart()
        yield part.get_content_type(), part.items(), list(read(part)) if nested else part.get_payload(decode=True)


@PROPERTY
@given(multiparts())
def test_the_same_parts(given_: tuple[str, bytes]) -> None:
    content_type, body = given_
    tree = parse_tree(content_type, body)
    message = theirs(content_type, body)
    assert list(ours(tree.nodes)) == list(read(message))
    assert message.defects == []
    assert tree.octets() == body


M = "multipart/mixed;boundary=b1"
#: content type, body, the bodies that the standard library reads (``None``: something else), and those that we read
DEVIATIONS: dict[str, tuple[str, bytes, list[bytes | None], list[bytes]]] = {
    # RFC 2046 5.1.1: a delimiter begins with CRLF; a CR in binary content ends no line
    "a CR alone ends a line": (
        M, b"--b1\r\n\r\nx\r--b1\r\ny\r\n--b1--\r\n", [b"x", b"y"], [b"x\r--b1\r\ny"]),
    # RFC 822 3.2, RFC 2046 5.1: only an empty line ends the headers; the standard library begins the body before it
    "a line that is no header ends the headers": (
        M, b"--b1\r\nno header\r\nA: b\r\n\r\nx\r\n--b1--\r\n", [b"no header\r\nA: b\r\n\r\nx"], [b"x"]),
    # RFC 2046 5.2.4: a message of another subtype is to be taken as octets; the standard library reads headers into it
    "any message is an RFC 822 message": (
        M, b"--b1\r\nContent-Type: message/sipfrag\r\n\r\nFrom : a\r\n\r\n--b1--\r\n", [None], [b"From : a\r\n"]),
    # RFC 2046 5.1.5: right, but what was read cannot be had back as it stood
    "so is a part of a digest": (
        "multipart/digest;boundary=b1", b"--b1\r\n\r\nA: b\r\n\r\n--b1--\r\n", [None], [b"A: b\r\n"]),
    # RFC 2046 5.1.1: the boundary must not end with a space, so both may do as they like; we look for what was said
    "a space at the end of a boundary is taken off": (
        'multipart/mixed;boundary="b1 "', b"--b1 \r\n\r\nx\r\n--b1 --\r\n", [b"x\r\n--b1 --"], [b"x"]),
    # RFC 2046 5.1.1: the last line end belongs to a delimiter only if there is one
    "a line end at the end of a multipart that is not closed is taken off": (
        M, b"--b1\r\n\r\nx\r\n", [b"x"], [b"x\r\n"]),
    # RFC 2046 5.1.1: body-part may be empty but each delimiter has a CRLF of its own; we report it and read a part
    "two delimiters in a row count as one": (
        M, b"--b1\r\n--b1\r\n\r\nx\r\n--b1--", [b"x"], [b"", b"x"]),
    # RFC 2045 6.8: groups of four; we report it and leave it as it stands
    "base64 needs no padding": (
        M, b"--b1\r\nContent-Transfer-Encoding: base64\r\n\r\nYQ\r\n--b1--", [b"a"], [b"YQ"]),
    # RFC 822 3.4.3, 3.3: comments and quoted-pairs are taken off before a parameter is used
    "a comment hides the boundary": (
        "multipart/mixed (x); boundary=b1 (y)", b"--b1\r\n\r\nx\r\n--b1--", [], [b"x"]),
    "a quoted-pair stays in the boundary": (
        'multipart/mixed; boundary="b\\1"', b"--b1\r\n\r\nx\r\n--b1--", [], [b"x"]),
}  # fmt: skip


@pytest.mark.parametrize(("content_type", "body", "them", "us"), DEVIATIONS.values(), ids=DEVIATIONS.keys())
def test_deviations_of_the_standard_library(
    content_type: str, body: bytes, them: list[bytes | None], us: list[bytes]
) -> None:
    message = theirs(content_type, body)
    found = [part.get_payload(decode=True) for part in parts_of(message)] if message.is_multipart() else []
    assert found == them
    assert [node.part.decoded() for node in parse_tree(content_type, body).walk()] == us


def test_a_carriage_return_in_a_header_makes_two_of_it_there_but_not_here() -> None:
    """RFC 822 3.2: only CRLF ends a header; to split at a CR lets a value bring in headers of its own."""
    body = b"--b1\r\nX: a\rB: c\r\n\r\nx\r\n--b1--\r\n"
    assert parts_of(theirs(M, body))[0].keys() == ["X", "B"]
    tree = parse_tree(M, body)
    assert [(header.name, header.value) for header in tree.root.parts[0].headers] == [("X", "a\rB: c")]
    assert [violation.id for violation in tree.violations] == ["MIM-2046-5.1-03"]


def test_a_line_feed_is_a_line_end_for_both_but_we_say_so() -> None:
    """RFC 2046 5.1.1: lines end with CRLF."""
    body = b"--b1\n\nx\n--b1--\n"
    assert [part.get_payload() for part in parts_of(theirs(M, body))] == ["x"]
    tree = parse_tree(M, body)
    assert [part.body for part in tree.root.parts] == [b"x"]
    assert {violation.id for violation in tree.violations} == {"MIM-2046-5.1.1-06", "MIM-2046-5.1-03"}
