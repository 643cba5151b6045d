"""The Jinja2 environment of the reports: escaping on, an unknown name is an error, no octet reaches a page unseen."""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from cpmspec.judge.verdict import Verdict
from cpmspec.report.lines import visible

#: how a verdict is called in words
VERDICT_NAMES = {
    Verdict.ERROR: "error",
    Verdict.FAIL: "fail",
    Verdict.INCONC: "inconclusive",
    Verdict.NONE: "not observed",
    Verdict.PASS: "pass",
}


def environment(templates: Path) -> Environment:
    """The environment over a folder of templates; only ``*.html.j2`` and ``*.css.j2`` are escaped as HTML."""
    made = Environment(
        loader=FileSystemLoader(templates, encoding="utf-8"),
        autoescape=lambda name: name is None or ".md." not in name,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_finalize,
    )
    made.filters["verdict_name"] = lambda verdict: VERDICT_NAMES[Verdict(verdict)]
    made.filters["thousands"] = lambda number: f"{number:,}".replace(",", "\N{NO-BREAK SPACE}")
    made.filters["duration"] = duration
    made.filters["moment"] = moment
    made.filters["cell"] = cell
    made.filters["file_name"] = file_name
    return made


def _finalize(value: Any) -> Any:
    """Every text that a template puts out is text that can be shown."""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def duration(seconds: float | None) -> str:
    """Seconds as people write them."""
    if seconds is None:
        return "unknown"
    if seconds < 10:
        return f"{seconds:.2f} s"
    if seconds < 120:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s"


def moment(text: str) -> str:
    """An RFC 3339 time as date and time in UTC; any other text as it is."""
    try:
        return datetime.fromisoformat(text).astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except ValueError:
        return text


def file_name(path: str) -> str:
    """The name of a file: where it lies on one machine says nothing to the reader of a report on another."""
    return path.replace("\\", "/").rpartition("/")[2]


def cell(text: str) -> str:
    """Text for a cell of a Markdown table: one line, nothing in it is markup."""
    flat = " ".join(text.split())
    for mark in "\\`*_[]<>|#":
        flat = flat.replace(mark, "\\" + mark)
    return flat


def write_whole(path: Path, pieces: Iterable[str]) -> Path:
    """Write a file in pieces; it appears whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("w", encoding="utf-8", newline="\n") as file:
            file.writelines(pieces)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return path
