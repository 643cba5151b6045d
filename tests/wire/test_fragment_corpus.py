"""The corpus of wrapped messages: each case tells what it is, and comes back octet for octet."""

from __future__ import annotations

import pytest

from corpora import Case, corpus, distinct, told
from cpmspec.wire.fragment import SHOULD, Fragment, parse_fragment

CASES = corpus("fragment")


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case: Case) -> None:
    fragment = parse_fragment(case.facts["type"], case.octets)
    assert told(fragment.violations) == case.violations
    assert fragment.octets() == case.octets
    seen = facts(fragment)
    assert {name: seen[name] for name in case.facts if name != "type"} == {
        name: fact for name, fact in case.facts.items() if name != "type"
    }


def test_there_are_enough_of_them() -> None:
    assert distinct(CASES) >= 60


def test_what_is_no_must_is_named() -> None:
    told_of = {identifier for case in CASES for identifier in case.ids}
    assert told_of >= SHOULD
    assert {identifier for identifier in told_of if "MSRP" in identifier or "LIMIT" in identifier} < SHOULD


def facts(fragment: Fragment) -> dict[str, object]:
    return {
        "kind": fragment.kind,
        "method": fragment.method,
        "start": fragment.start_line,
        "headers": len(fragment.headers),
        "body": -1 if fragment.body is None else len(fragment.body),
    }
