"""What an object in the history says of the message in it, however its parts are coded and nested."""

from __future__ import annotations

import base64

import pytest

from cpmspec.judge.facts import Facts
from cpmspec.judge.records import MAX_DEPTH, Record
from scene import Scene

CONTENT = b"the very content \xff of it"


def recorded(octets: bytes) -> Record:
    scene = Scene()
    scene.record(scene.defer(content=CONTENT), octets=octets)
    (found,) = Facts(scene.trace()).records
    return found


def nested(levels: int) -> bytes:
    """The content inside so many multiparts, coded so that only who goes through all of them finds it."""
    entity = b"Content-Transfer-Encoding: base64\r\n\r\n" + base64.encodebytes(CONTENT)
    for level in range(levels):
        mark = b"b%d" % level
        entity = b"Content-Type: multipart/mixed;\r\n boundary=" + mark + b"\r\n\r\n--" + mark + b"\r\n" + entity
        entity += b"\r\n--" + mark + b"--\r\n"
    return entity


@pytest.mark.parametrize(
    ("levels", "found"), [(0, True), (1, True), (3, True), (MAX_DEPTH, True), (MAX_DEPTH + 2, False)]
)
def test_a_content_inside_multiparts(levels: int, found: bool) -> None:
    record = recorded(nested(levels))
    assert (len(record.matched) == 1, record.with_content) == (found, found)


def test_a_multipart_without_a_boundary_is_one_body() -> None:
    record = recorded(b"Content-Type: multipart/mixed\r\n\r\n" + CONTENT)
    assert (len(record.matched), record.with_content) == (1, True)


def test_when_it_was_written() -> None:
    record = recorded(b"\r\n" + CONTENT)
    assert record.begin_us == record.command.first.time_us
    assert record.frame == record.command.first.number
