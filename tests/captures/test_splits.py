"""Every stream of the captures and of the corpora, cut into two anywhere: the events are always the same.

Single octets, and cuts at random into many pieces, of the captures' streams are in ``test_streams.py``. Streams of up
to 4000 octets, and all cases of the corpora, are cut at every place. To read 100 kB once for each of its octets would
take minutes, and a reader keeps nothing of a message that has ended: so a longer stream is cut message by message, each
with the one before and the one after it, at every place near its start and its end and at every seventh between them;
and as a whole at some two hundred places.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import corpora
from captures import facts
from cpmspec.wire.imap import ImapCommandStream
from cpmspec.wire.msrp import MsrpStream
from cpmspec.wire.sip import SipStream
from splits import STREAMS, Reader, borders, cut, differing, read, reader_of, runs

#: octets of a stream that is cut as a whole at every place
SHORT = 4000
#: places at which a longer one is cut as a whole
PLACES = 199
#: octets at the start and at the end of a message of such a stream that are cut at every place, and the step between
EDGE, STEP = 350, 7

# the degraded captures hold the octets of others
LONG = [
    (name, direction)
    for name, direction in STREAMS
    if "derived" not in facts()[name] and max(map(len, runs(name, direction))) > SHORT
]
CORPORA: dict[str, type[Reader]] = {
    name: SipStream if name.startswith("sip") else MsrpStream
    for name in corpora.names()
    if name.startswith(("sip", "msrp"))
}


def places(octets: bytes) -> range:
    """Where a stream is cut as a whole: everywhere, or at places spread over it by a step that is no round number."""
    return range(len(octets) + 1) if len(octets) <= SHORT else range(1, len(octets), len(octets) // PLACES | 1)


def windows(reader: type[Reader], octets: bytes) -> Iterator[tuple[bytes, list[int]]]:
    """Each message of a stream with its neighbours, and the places in it."""
    marks = borders(reader, octets)
    for index, (first, last) in enumerate(pairwise(marks)):
        begin = marks[max(0, index - 1)]
        end = marks[min(len(marks) - 1, index + 2)]
        between = range(first + EDGE, last - EDGE, STEP)
        inside = {*range(first, min(first + EDGE, last)), *between, *range(max(first, last - EDGE), last)}
        yield octets[begin:end], sorted(place - begin for place in inside)


@pytest.mark.parametrize(("name", "direction"), STREAMS)
def test_cut_into_two_anywhere_is_the_same_as_in_one_piece(name: str, direction: str) -> None:
    reader = reader_of(name, direction)
    for octets in runs(name, direction):
        assert differing(reader, octets, places(octets)) == []


@pytest.mark.parametrize(("name", "direction"), LONG)
def test_each_message_of_a_long_stream_cut_into_two_anywhere(name: str, direction: str) -> None:
    reader = reader_of(name, direction)
    (octets,) = runs(name, direction)
    for window, inside in windows(reader, octets):
        assert differing(reader, window, inside) == []


@settings(deadline=None, max_examples=200)
@given(st.sampled_from(STREAMS), st.data())
def test_cut_into_any_pieces_is_the_same_as_in_one(place: tuple[str, str], data: st.DataObject) -> None:
    reader = reader_of(*place)
    for octets in runs(*place):
        cuts = data.draw(st.lists(st.integers(0, len(octets)), max_size=30))
        assert read(reader, cut(octets, cuts)) == read(reader, [octets])


@pytest.mark.parametrize("name", CORPORA)
def test_each_case_of_a_corpus_cut_anywhere(name: str) -> None:
    """Faulty streams too: what is wrong is told alike."""
    reader = CORPORA[name]
    for case in corpora.corpus(name):
        octets = case.octets[:SHORT]
        assert differing(reader, octets, range(len(octets) + 1)) == [], case.name
        assert read(reader, cut(octets, range(1, len(octets)))) == read(reader, [octets]), case.name


# --- the checks themselves -------------------------------------------------------------------------------------------


class Hasty:
    """A reader of lines that takes a piece that ends with CR for a whole line."""

    def __init__(self) -> None:
        self.pending = b""

    def feed(self, octets: bytes) -> list[bytes]:
        self.pending += octets
        *lines, self.pending = self.pending.split(b"\r\n")
        if self.pending.endswith(b"\r"):
            lines.append(self.pending)
            self.pending = b""
        return lines


def test_the_places_that_make_a_difference_are_named() -> None:
    assert differing(Hasty, b"ab\r\ncd\r\n", range(9)) == [3, 7]
    assert differing(ImapCommandStream, b"ab\r\ncd\r\n", range(9)) == []


def test_windows_cover_a_stream() -> None:
    octets = b"a1 NOOP\r\na2 LOGIN x {3}\r\nabc\r\na3 LOGOUT\r\n"
    assert borders(ImapCommandStream, octets) == [0, 9, 30, 41, 41]
    assert list(windows(ImapCommandStream, octets)) == [
        (octets[:30], list(range(9))),
        (octets, list(range(9, 30))),
        (octets[9:], list(range(21, 32))),
        (octets[30:], []),
    ]
    assert len(places(bytes(SHORT))) == SHORT + 1
    assert PLACES - 2 <= len(places(bytes(112_032))) <= PLACES
    assert len(LONG) == 8
    assert len(CORPORA) >= 4
    long = b"a1 NOOP %s\r\n" % bytes(2000)
    ((_, inside),) = [one for one in windows(ImapCommandStream, long) if one[1]]
    assert inside == sorted({*range(EDGE), *range(EDGE, 2010 - EDGE, STEP), *range(2010 - EDGE, 2010)})
