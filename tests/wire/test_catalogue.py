"""Each rule of MIME, CPIM, IMDN and message summaries that the catalogue has is broken by a case of a corpus."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from corpora import corpus

FOLDER = Path(__file__).parents[2] / "fixtures" / "catalogue"
CORPORA = ("multipart", "cpim", "imdn", "summary")
SHOWN = {identifier for name in CORPORA for case in corpus(name) for identifier in case.ids}


@pytest.mark.parametrize("group", ["mim", "cpi", "imd", "ntf"])
def test_every_rule_has_a_case_and_every_case_a_rule(group: str) -> None:
    table = tomllib.loads((FOLDER / f"{group}.toml").read_text(encoding="utf-8"))
    rules = {entry["id"] for entry in table["requirement"] if "on" in entry}
    assert rules == {identifier for identifier in SHOWN if identifier.startswith(group.upper())}
