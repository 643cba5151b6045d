"""docs/states.md and its pictures show the tables as they are now; ``python docs/draw_states.py`` draws them."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

DOCS = Path(__file__).parents[2] / "docs"


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("draw_states", DOCS / "draw_states.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["draw_states"] = module
    spec.loader.exec_module(module)
    return module


DRAWN = load()


@pytest.mark.parametrize("machine", DRAWN.MACHINES, ids=lambda machine: machine.name)
def test_each_picture_is_current(machine: DRAWN.Machine) -> None:  # type: ignore[name-defined]
    svg = (DOCS / "states" / f"{machine.name}.svg").read_text("utf-8")
    assert svg.rstrip().endswith(DRAWN.digest(machine.dot())), "run: python docs/draw_states.py"


def test_the_page_is_current() -> None:
    assert (DOCS / "states.md").read_text("utf-8") == DRAWN.page(), "run: python docs/draw_states.py"


def test_no_other_picture_lies_there() -> None:
    assert {path.stem for path in (DOCS / "states").iterdir()} == {machine.name for machine in DRAWN.MACHINES}
