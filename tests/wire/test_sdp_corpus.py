"""The corpus of session descriptions: each case tells what it is, and comes back octet for octet."""

from __future__ import annotations

import pytest

from corpora import Case, corpus, distinct, told
from cpmspec.wire.sdp import Sdp, parse_sdp

CASES = corpus("sdp")


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case: Case) -> None:
    description = parse_sdp(case.octets)
    assert told(description.violations) == case.violations
    assert description.octets() == case.octets
    seen = facts(description)
    assert {name: seen[name] for name in case.facts} == case.facts


def test_there_are_enough_of_them() -> None:
    assert distinct(CASES) >= 90


def facts(description: Sdp) -> dict[str, object]:
    media = next((media for media in description.media if media.msrp), None)
    found: dict[str, object] = {
        "hosts": [media.connection_host for media in description.media],
        "kinds": [media.kind for media in description.media],
        "bandwidth": len(description.bandwidth),
        "times": len(description.timing),
        "name": description.name,
        "kept": True,
    }
    if media is not None:
        found |= {
            "port": media.port,
            "setup": media.setup,
            "direction": media.direction,
            "tls": media.tls,
            "cema": media.cema,
            "rejected": media.rejected,
            "path": len(media.path),
            "types": len(media.accept_types),
            "max_size": media.max_size,
        }
    return found
