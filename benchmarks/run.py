"""Runs the benchmarks and prints a table of ratios: see docs/wire.md. Nothing is asserted.

    python benchmarks/run.py [--only NAME ...]

A benchmark is a module ``bench_<NAME>.py`` in this folder with ``rows()``, which yields a :class:`ratio.Row` for each
thing that it measures.
"""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import sys
from collections.abc import Iterator
from pathlib import Path

from ratio import Row
from rich.console import Console
from rich.table import Table

FOLDER = Path(__file__).parent

NOTE = (
    "A ratio is their time over ours, taken by turns in one process: 2.0x is twice as fast as what it is compared "
    "with, 0.5x half as fast. Above or below the goal is for a reader to judge: a busy machine moves minimum and "
    "maximum, and the median much less."
)


def names() -> tuple[str, ...]:
    """The benchmarks there are."""
    return tuple(sorted(path.stem.removeprefix("bench_") for path in FOLDER.glob("bench_*.py")))


def rows(name: str) -> Iterator[Row]:
    """What a benchmark measures, as it goes."""
    yield from importlib.import_module(f"bench_{name}").rows()


def machine() -> str:
    """Where the figures were taken."""
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return f"{python}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}, load {os.getloadavg()[0]:.1f}"


def shown(figure: float, unit: str) -> str:
    """A figure with its unit, in three digits."""
    text = f"{figure:.0f}" if figure >= 100 else f"{figure:.3g}"
    return f"{text}{unit}" if unit == "x" else f"{text} {unit}"


def main(arguments: list[str] | None = None) -> int:
    """Read the options, run, print the table; exit status."""
    parser = argparse.ArgumentParser(description="Speed and memory as ratios (docs/wire.md)")
    parser.add_argument("--only", action="append", choices=names(), help="only this benchmark; may be repeated")
    options = parser.parse_args(arguments)
    console = Console(width=max(Console().width, 120))
    console.print(machine(), highlight=False)
    table = Table("subject", "against", "minimum", "median", "maximum", "goal")
    for column in table.columns[2:5]:
        column.justify = "right"
    for name in options.only or names():
        with console.status(name):
            for row in rows(name):
                table.add_row(row.subject, row.peer, *(shown(figure, row.unit) for figure in row.figures), row.goal)
        table.add_section()
    console.print(table)
    console.print(NOTE, highlight=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
