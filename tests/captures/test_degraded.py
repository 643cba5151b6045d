"""Captures with packets missing, repeated or out of order: the degraded files, and every capture made worse here."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import accumulate, islice, pairwise
from pathlib import Path
from random import Random

import pytest

from captures import Record, capture, differences, facts, names, records, write
from cpmspec.evidence.packets import LINK_RAW, parse
from cpmspec.evidence.reassembly import Gap, Piece, Run, Stream, read_capture
from dissect_msrp import spoken

REMOVED, REORDERED = "degraded-segment-removed-a", "degraded-reordered-retransmitted-a"
MIDDLE = "degraded-mid-stream-no-syn-a"
WHOLE = [name for name in names("msrp") if "derived" not in facts()[name]]
LOSSES = 6  # packets of each capture that are taken out, one at a time


def payload(record: Record) -> bytes:
    return parse(record.octets, facts()["all"]["link_type"]).payload


def source_of(name: str) -> list[Record]:
    return records(capture(facts()[name]["derived"]["source"]))


def streams(path: Path) -> dict[str, Stream]:
    return {f"{one.source.port}>{one.destination.port}": one for one in read_capture(path).streams}


def octets_of(stream: Stream) -> bytes:
    (run,) = stream.runs
    return run.octets


# --- how the degraded files were made --------------------------------------------------------------------------------


def test_the_removed_segment_is_the_stated_one() -> None:
    stated = facts()[REMOVED]["derived"]
    (number,) = stated["dropped"]
    source = source_of(REMOVED)
    assert records(capture(REMOVED)) == source[: number - 1] + source[number:]
    stream = streams(capture(stated["source"]))[stated["direction"]]
    (piece,) = [piece for run in stream.runs for piece in run.pieces if piece.packet == number]
    assert [piece.offset, piece.end - 1] == stated["lost"]
    assert len(piece.octets) == stated["lost_octets"]
    assert streams(capture(REMOVED))[stated["direction"]].gaps == (Gap(piece.offset, len(piece.octets)),)


def test_the_first_packets_are_gone() -> None:
    assert records(capture(MIDDLE)) == source_of(MIDDLE)[facts()[MIDDLE]["derived"]["dropped_first"] :]


def test_packets_are_exchanged_and_repeated_as_stated() -> None:
    stated = facts()[REORDERED]["derived"]
    source = source_of(REORDERED)
    order = list(range(1, len(source) + 1))
    for first, second in stated["exchanged"]:
        order[first - 1], order[second - 1] = second, first
    overlap, made = stated["overlap"], []
    for place, number in enumerate(order, 1):
        made.append(source[number - 1].octets)
        made += [source[one["frame"] - 1].octets for one in stated["repeated"] if one["after"] == place]
        made += [b""] if overlap["after"] == place else []
    found = [record.octets for record in records(capture(REORDERED))]
    at = made.index(b"")
    assert found[:at] + found[at + 1 :] == made[:at] + made[at + 1 :]
    before, after = payload(source[overlap["of"] - 1]), payload(source[overlap["all_of"] - 1])
    assert payload(records(capture(REORDERED))[at]) == before[-overlap["last_octets"] :] + after


def test_the_reordered_streams_equal_their_source_octet_by_octet() -> None:
    found, source = streams(capture(REORDERED)), streams(capture(facts()[REORDERED]["derived"]["source"]))
    assert found.keys() == source.keys()
    for direction, stream in found.items():
        assert octets_of(stream) == octets_of(source[direction])
        assert not stream.gaps
        assert not stream.conflict


@pytest.mark.parametrize("name", names())
def test_no_repeated_octet_differs_and_nothing_is_reset(name: str) -> None:
    assert not [one for one in streams(capture(name)).values() if one.conflict or one.reset]


# --- made worse here -------------------------------------------------------------------------------------------------


def after_loss(stream: Stream, lost: Gap) -> tuple[list[bytes], dict[int, int]]:
    """What must be read of a whole stream without some octets: its whole frames, and what precedes the next start."""
    frames = [frame.octets() for frame in spoken(stream).whole]
    borders = list(pairwise([0, *accumulate(map(len, frames))]))
    end = lost.offset + lost.length
    kept = [frame for frame, (first, last) in zip(frames, borders, strict=True) if last <= lost.offset or first >= end]
    resumed = min((first for first, _ in borders if first >= end), default=borders[-1][1])
    return kept, {end: resumed - end} if resumed > end else {}


@pytest.mark.parametrize("name", WHOLE)
def test_without_one_packet_the_gap_is_told_and_reading_goes_on(tmp_path: Path, name: str) -> None:
    held = records(capture(name))
    numbers = [number for number, record in enumerate(held, 1) if payload(record)]
    random = Random(name)
    for number in [numbers[0], numbers[-1], *random.sample(numbers[1:-1], min(LOSSES, len(numbers) - 2))]:
        path = write(tmp_path / f"{number}.pcap", held[: number - 1] + held[number:])
        for direction, whole in streams(capture(name)).items():
            there = streams(path)[direction]
            lost = [
                Gap(one.offset, len(one.octets)) for run in whole.runs for one in run.pieces if one.packet == number
            ]
            assert there.gaps == tuple(lost), f"{direction} without packet {number}"
            expected = after_loss(whole, lost[0]) if lost else ([one.octets() for one in spoken(whole).whole], {})
            found = spoken(there)
            assert ([frame.octets() for frame in found.whole], found.before_start) == expected, number


@pytest.mark.parametrize("name", WHOLE)
def test_without_some_octets_anywhere_no_message_is_made_up(name: str) -> None:
    """Also where what follows the gap looks like a start-line: there are bodies with the words "msrp capture body"."""
    random = Random(name)
    for whole in streams(capture(name)).values():
        octets = octets_of(whole)
        places = [random.randrange(1, len(octets)) for _ in range(LOSSES * 4)]
        places += [found.start() for found in islice(re.finditer(rb"(?i)msrp |-------|To-Path", octets), LOSSES * 4)]
        for end in places:
            start = max(0, end - random.choice((1, 5, 100, 3000)))
            lost = Gap(start, end - start)
            before = [Run((Piece(0, 0, 1, octets[: lost.offset]),))] if lost.offset else []
            after = Run((Piece(end, 0, 2, octets[end:]),))
            found = spoken(replace(whole, runs=(*before, after), gaps=(lost,)))
            assert ([frame.octets() for frame in found.whole], found.before_start) == after_loss(whole, lost), lost


@pytest.mark.parametrize("name", WHOLE)
def test_in_any_order_and_twice_the_streams_are_the_same(tmp_path: Path, name: str) -> None:
    held = records(capture(name))
    random = Random(name)
    shuffled = [*held[:2], *random.sample(held[2:], len(held) - 2), *random.sample(held[2:], len(held) // 2)]
    found = streams(write(tmp_path / "shuffled.pcap", shuffled))
    assert {key: octets_of(one) for key, one in found.items()} == {
        key: octets_of(one) for key, one in streams(capture(name)).items()
    }


# --- the checks themselves -------------------------------------------------------------------------------------------


def test_a_retransmission_that_differs_is_seen(tmp_path: Path) -> None:
    held = records(capture(REORDERED))
    (direction,) = [key for key in streams(capture(REORDERED)) if key.startswith("51549")]
    changed = [Record(one.header, one.octets[:-1] + b"?") if index == 23 else one for index, one in enumerate(held)]
    assert payload(held[23]) == payload(held[19])
    assert streams(write(tmp_path / "a.pcap", changed))[direction].conflict


def test_a_swapped_packet_is_seen() -> None:
    source = [record.octets for record in source_of(REORDERED)]
    assert differences(source[:16], [record.octets for record in records(capture(REORDERED))[:16]]) == []
    assert differences(source[16], records(capture(REORDERED))[16].octets, "17")
    assert facts()["all"]["link_type"] != LINK_RAW
