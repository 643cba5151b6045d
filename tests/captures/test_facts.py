"""Every stated fact about every capture, found by our own parsers; and that a difference would be seen and named."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from captures import (
    FOLDER,
    Record,
    altered,
    capture,
    compare,
    differences,
    facts,
    file_header,
    groups,
    leaves,
    names,
    records,
    write,
)
from cpmspec.evidence.packets import PacketError, parse
from dissect import dissect

NAMES = names()
STATED = [(name, group) for name in NAMES for group in groups(facts()[name], {})]


def protocol(name: str) -> str:
    return str(facts()[name]["protocol"])


def test_every_file_has_facts_and_every_fact_a_file() -> None:
    assert sorted(NAMES) == sorted(path.stem for path in FOLDER.glob("*.pcap"))


@pytest.mark.parametrize(("name", "group"), STATED, ids=[f"{name}:{group}" for name, group in STATED])
def test_fact(name: str, group: str) -> None:
    stated, found = groups(facts()[name], dissect(capture(name), protocol(name)))[group]
    assert differences(stated, found, f"{name}/{group}") == []


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_found_that_is_not_stated(name: str) -> None:
    assert compare(facts()[name], dissect(capture(name), protocol(name))) == []


@pytest.mark.parametrize("name", NAMES)
def test_the_form_of_the_file(name: str) -> None:
    magic, link_type = file_header(capture(name))
    assert {"magic": magic.hex(), "link_type": link_type}.items() <= facts()["all"].items()


def test_most_checksums_are_unfilled_and_nothing_is_refused_for_it() -> None:
    packets = [record.octets for name in NAMES for record in records(capture(name))]
    assert all(parse(octets, facts()["all"]["link_type"]) for octets in packets)
    filled = [octets for octets in packets if has_right_checksum(octets)]
    assert (len(filled) < len(packets) / 2) == (facts()["all"]["checksums"] == "mostly unfilled")


def has_right_checksum(octets: bytes) -> bool:
    try:
        parse(octets, facts()["all"]["link_type"], verify=True)
    except PacketError:
        return False
    return True


# --- each kind of check has been seen to fail ------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_a_fact_that_is_altered_is_named(name: str) -> None:
    stated, found = facts()[name], dissect(capture(name), protocol(name))
    places = list(leaves(stated))
    assert len(places) > 10
    for at in places:
        if at == ("protocol",):
            continue  # it says which parser is asked
        where = "/".join(map(str, at))
        assert [line.partition(": stated ")[0] for line in compare(altered(stated, at), found)] == [where]


@pytest.mark.parametrize("name", NAMES)
def test_a_fact_that_is_left_out_is_named(name: str) -> None:
    stated, found = facts()[name], dissect(capture(name), protocol(name))
    for key in stated["direction"]:
        without = stated | {"direction": {other: table for other, table in stated["direction"].items() if other != key}}
        assert [line.partition(", found ")[0] for line in compare(without, found)] == [
            f"direction/{key}: stated nothing"
        ]


def packets_dropped(first: int, last: int) -> Callable[[list[Record]], list[Record]]:
    """Without the packets of these numbers, from 1."""
    return lambda kept: kept[: first - 1] + kept[last:]


def octets_changed(old: bytes, new: bytes) -> Callable[[list[Record]], list[Record]]:
    """With other octets of the same length in the first packet that has the old ones."""
    assert len(old) == len(new)

    def change(kept: list[Record]) -> list[Record]:
        index = next(index for index, record in enumerate(kept) if old in record.octets)
        record = kept[index]
        return [*kept[:index], Record(record.header, record.octets.replace(old, new, 1)), *kept[index + 1 :]]

    return change


def cut_short(number: int, octets: int) -> Callable[[list[Record]], list[Record]]:
    """With the last octets of a packet not captured; the length on the wire stays."""

    def change(kept: list[Record]) -> list[Record]:
        seconds, fraction, captured, length = struct.unpack("<IIII", kept[number - 1].header)
        header = struct.pack("<IIII", seconds, fraction, captured - octets, length)
        return [*kept[: number - 1], Record(header, kept[number - 1].octets[:-octets]), *kept[number:]]

    return change


CHUNKED, KILLED = "msrp-msrplib-msrplib-100k-chunked", "msrp-msrplib-msrplib-sender-killed"
SHORT, UTF8, REFUSED = "msrp-msrplib-msrplib-short-success-report", "msrp-node-node-utf8", "msrp-msrplib-msrplib-415"
PAGER, CALLS, REGISTER = "sip-message-cpim-udp", "sip-invite-msrp-tcp", "sip-register-udp"
IMAP = "imap-dovecot-deferred"
ALTERATIONS = {
    "a packet gone": (CHUNKED, packets_dropped(104, 104), r"gaps: stated nothing, found \[\[55134, 1448\]\]"),
    "an incomplete message": (CHUNKED, packets_dropped(104, 104), r"557525/complete: stated True, found False"),
    "no handshake": (CHUNKED, packets_dropped(1, 84), r"direction/40902>2855/syn: stated True, found False"),
    "the last packet gone": (CHUNKED, packets_dropped(207, 207), r"frames: stated 207, found 206"),
    "a packet cut": (CHUNKED, cut_short(104, 7), r"gaps: stated nothing, found \[\[56575, 7\]\]"),
    "another body": (
        KILLED,
        octets_changed(b"body line", b"body LINE"),
        r"4345/sha256: stated '48e8cb",
    ),
    "another Status": (SHORT, octets_changed(b"000 200", b"000 413"), r"statuses/000 413 OK: stated nothing, found 1"),
    "another Byte-Range": (SHORT, octets_changed(b"nge: 1-126", b"nge: 1-125"), r"violation: .*MSR-4975-7.1.1-04"),
    "another line in it": (SHORT, octets_changed(b"-deadbeef", b"-2a5066fa"), r"lookalikes: stated \['-------deadbeef"),
    "a range corrected": (
        UTF8,
        octets_changed(b"1-1174/", b"1-2048/"),
        r"violation/1/found: .* found 'octets 3215-40",
    ),
    "another flag": (UTF8, octets_changed(b"xwta179w+", b"xwta179w$"), r"63762>2863/flags/\+: stated 2, found 1"),
    "not refused": (REFUSED, octets_changed(b" 415 ", b" 200 "), r"refused: stated {'text/plain': 415}, found nothing"),
    "no Route": (CALLS, octets_changed(b"\nRoute: ", b"\nRooty: "), r"route: stated 4, found 3"),
    "another SDP": (CALLS, octets_changed(b"a=sendonly", b"a=sendrecv"), r"body: stated \[.*c1fa9e6f.*, found \["),
    "an answer gone": (PAGER, packets_dropped(3, 3), r"25080>5060/responses/202 MESSAGE: stated 3, found 2"),
    "another Call-ID": (PAGER, octets_changed(b": 2-17551@", b": 7-17551@"), r"call_ids: stated \["),
    "an unknown prefix": (PAGER, octets_changed(b"imdn.Mess", b"imdx.Mess"), r"violation: .*CPI-3862-3.4-01"),
    "no Service-Route": (REGISTER, octets_changed(b"Service-R", b"Servile-R"), r"answers_carry: stated \["),
    "another literal": (IMAP, octets_changed(b"imdn-77\r\nM", b"imdn-78\r\nM"), r"literal: stated \[.*'times': 6"),
    "a search refused": (IMAP, octets_changed(b" OK Sea", b" NO Sea"), r"tagged/NO: stated nothing, found 1"),
    "another command": (IMAP, octets_changed(b"UID STORE", b"UID STORX"), r"commands/UID STORX: stated nothing, found"),
}


@pytest.mark.parametrize(("name", "change", "expected"), ALTERATIONS.values(), ids=ALTERATIONS.keys())
def test_a_capture_that_is_altered_is_named(
    tmp_path: Path, name: str, change: Callable[[list[Record]], list[Record]], expected: str
) -> None:
    path = write(tmp_path / "altered.pcap", change(records(capture(name))))
    lines = compare(facts()[name], dissect(path, protocol(name)))
    assert [line for line in lines if re.search(expected, line)], lines


@pytest.mark.parametrize("name", NAMES)
def test_a_capture_copied_packet_by_packet_is_the_same(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / "copied.pcap", records(capture(name)))
    assert path.read_bytes() == capture(name).read_bytes()
