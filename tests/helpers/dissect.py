"""What our own parsers find in a capture, in the shape of ``fixtures/captures/facts.toml``.

The streams come from :mod:`cpmspec.evidence.reassembly`, the messages from :mod:`cpmspec.wire`. A value that is empty
is left out: what a capture does not have is not stated about it either.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from captures import Tree, records
from cpmspec.evidence.reassembly import Capture, read_capture
from dissect_imap import imap_facts
from dissect_msrp import msrp_facts
from dissect_sip import sip_facts

_MTUS = (1500, 65536)
_ETHERNET, _IP_LENGTH = 14, slice(2, 4)
_PROTOCOLS = {"msrp": msrp_facts, "sip": sip_facts, "imap": imap_facts}


@cache
def dissect(path: Path, protocol: str) -> Tree:
    """All facts of a capture file that holds ``msrp``, ``sip`` or ``imap``."""
    held = read_capture(path)
    found = _PROTOCOLS[protocol](held)
    packets = [record.octets[_ETHERNET:] for record in records(path)]
    largest = max((int.from_bytes(packet[_IP_LENGTH], "big") for packet in packets), default=0)
    ends = [(one.source, one.destination) for one in held.streams]
    ends += [(one.source, one.destination) for one in held.datagrams]
    return _filled({
        **found,
        "protocol": protocol,
        "transport": _transport(held),
        "hosts": sorted({end.host for pair in ends for end in pair}),
        "ports": [list(pair) for pair in sorted({tuple(sorted(end.port for end in pair)) for pair in ends})],
        "frames": len(packets),
        "skipped": [f"packet {number}: {reason}" for number, reason in held.skipped],
        "happens": {**found["happens"], "mtu": next((mtu for mtu in _MTUS if largest <= mtu), None)},
    })  # fmt: skip


def _transport(held: Capture) -> str:
    return "+".join([*(["tcp"] if held.streams else []), *(["udp"] if held.datagrams else [])])


def _filled(tree: Tree) -> Tree:
    """Without what is empty, at every level; ``False`` and 0 are facts."""
    filled = {key: _filled(value) if isinstance(value, dict) else value for key, value in tree.items()}
    return {key: value for key, value in filled.items() if value is not None and value not in ({}, [], "")}
