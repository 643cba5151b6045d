"""tshark and our parsers on every well-formed case of the SIP and MSRP corpora, field by field.

A field that tshark reads otherwise stands here, with the clause that says who is right. So does a case that tshark does
not take for what it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import corpora
from cpmspec.evidence import pcapng
from cpmspec.evidence.context import Context
from cpmspec.evidence.recorder import Cutter
from cpmspec.evidence.trace import Address, Frame, Pco, Role, Trace
from peers import require
from tshark import Comparison, Message, ours, theirs, version

IUT = Address("127.0.0.1", 42001)
#: octets that a datagram can carry
MAX_DATAGRAM = 65_507

# case -> the fields that differ, and why we are right
DIFFERENCES = {
    "intmeth": {"CSeq method": "a method is any token: RFC 3261 25.1. tshark reads letters, digits and some marks"},
    "leading-noughts": {
        "Byte-Range": "numbers, so that leading noughts do not count: RFC 4975 9. tshark shows the text"
    },
}


@pytest.fixture(scope="module", autouse=True)
def _peer() -> None:
    require("tshark")


def well_formed(name: str) -> list[corpora.Case]:
    """The legal cases of a corpus that fit into a datagram and do not begin inside a message."""
    legal = [case for case in corpora.corpus(name) if case.form and not case.facts.get("resuming")]
    return [case for case in legal if len(case.octets) <= MAX_DATAGRAM]


def frames(number: int, case: corpora.Case, pco: Pco) -> Iterator[Frame]:
    """A case in packets of its own: SIP as a datagram, MSRP as our recorder cuts it, each message by itself."""
    peer = Address("127.0.0.1", 43000 + number)
    transport, connection = ("udp", 0) if pco is Pco.ISC else ("tcp", number)
    pieces = [case.octets] if pco is Pco.ISC else Cutter().feed(case.octets)
    for piece in pieces:
        at = 1_700_000_000_000_000 + 1000 * number
        yield Frame(0, at, pco, Role.IUT, Role.CORE, transport, IUT, peer, connection, octets=piece)


def traced() -> tuple[Trace, dict[int, str]]:
    """One trace of all cases, and which case each packet belongs to."""
    cases = [
        *((Pco.ISC, case) for name in ("sip", "sip_ipv6") for case in well_formed(name)),
        *((Pco.MSRP, case) for name in ("msrp", "msrp_stream") for case in well_formed(name)),
    ]
    kept = [frame for number, (pco, case) in enumerate(cases, 1) for frame in frames(number, case, pco)]
    trace = Trace.build(Context("case", ()), kept)
    names = {43000 + number: case.name for number, (_, case) in enumerate(cases, 1)}
    return trace, {frame.number: names[frame.destination.port] for frame in trace.frames}


def by_case(messages: list[Message], owner: dict[int, str]) -> dict[str, list[Message]]:
    """Messages by the case that they are of."""
    found: dict[str, list[Message]] = {}
    for message in messages:
        found.setdefault(owner[message.frame], []).append(message)
    return found


def test_tshark_reads_what_is_well_formed_as_we_do(tmp_path: Path) -> None:
    trace, owner = traced()
    pcapng.write(trace, tmp_path / "corpus")
    (reading,) = theirs([tmp_path / "corpus"], tmp_path)
    we, they = by_case(ours(trace), owner), by_case(reading.messages, owner)
    found: dict[str, set[str]] = {}
    compared = 0
    for name in sorted({*we, *they}):
        one = Comparison()
        one.add(name, we.get(name, []), they.get(name, []))
        compared += one.compared["sip"] + one.compared["msrp"]
        if one.differences:
            found[name] = {difference.split(", ")[2].partition(":")[0] for difference in one.differences}
    if version() == "4.0":  # another version may have other faults
        assert found == {name: set(fields) for name, fields in DIFFERENCES.items()}
    assert compared > 40
