"""docs/profile.md names every key of a profile, with its type, default and meaning."""

from __future__ import annotations

from pathlib import Path

import pytest

from cpmspec.sut.profile import known_keys
from cpmspec.sut.reference_card import filled, main, tables

PAGE = Path(__file__).resolve().parents[2] / "docs" / "profile.md"


def test_page_is_up_to_date() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert page == filled(page), "bring it up to date: python -m cpmspec.sut.reference_card docs/profile.md"


def test_every_key_is_there() -> None:
    text = "\n".join(tables())
    missing = [
        key for key in known_keys() if f"| `{key.rpartition('.')[2]}` |" not in text and f"`[{key}]`" not in text
    ]
    assert missing == []


def test_page_without_a_place(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="keys: begin"):
        filled("nothing")


def test_main_fills_a_page(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("a\n<!-- keys: begin -->\nout of date\n<!-- keys: end -->\nb\n", encoding="utf-8")
    assert main([str(page)]) == 0
    text = page.read_text(encoding="utf-8")
    assert "| `bye_within` | number | `5.0` |" in text
    assert "out of date" not in text
    assert text.endswith("<!-- keys: end -->\nb\n")
