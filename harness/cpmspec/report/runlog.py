"""Reads ``run.jsonl``: header, the last line of each case, footer. A run that was cut off is read as far as it goes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RUN_LOG = "run.jsonl"
FORMAT = 1


class ReportError(Exception):
    """A run folder that cannot be reported on; the text names file, line, what was found and what was expected."""


@dataclass(frozen=True, slots=True)
class RunLog:
    """What a run left: ``cases`` holds the last line of each case (final over provisional), in order of the header."""

    header: Mapping[str, Any]
    cases: tuple[Mapping[str, Any], ...]
    footer: Mapping[str, Any] | None  #: None: the run was cut off
    unowned: str | None  #: folder of the trace that no case owns


def read(run_folder: Path) -> RunLog:
    """Read the log of a run.

    :raises ReportError: there is none, it does not begin with a header this version knows, or a line is no JSON object.
    """
    path = run_folder / RUN_LOG
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as problem:
        raise ReportError(f"{path}: found {problem.strerror}, expected the log of a run") from problem
    header: Mapping[str, Any] | None = None
    footer: Mapping[str, Any] | None = None
    cases: dict[str, Mapping[str, Any]] = {}
    unowned = None
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        value = _value(path, number, line, is_last=number == len(lines))
        match value.get("kind"):
            case "header":
                header = value
            case "case" if isinstance(value.get("case"), str):
                cases[value["case"]] = value
            case "unowned":
                unowned = str(value.get("frames", "")).rpartition("/")[0] or None
            case "footer":
                footer = value
    if header is None or header.get("format") != FORMAT:
        found = "no header" if header is None else f"format {header.get('format')}"
        raise ReportError(f"{path}: found {found}, expected a header of format {FORMAT}")
    order = {name: index for index, name in enumerate(header.get("cases") or ())}
    ordered = sorted(cases.values(), key=lambda line: order.get(line["case"], len(order)))
    return RunLog(header, tuple(ordered), footer, unowned)


def _value(path: Path, number: int, line: bytes, *, is_last: bool) -> Mapping[str, Any]:
    try:
        value = json.loads(line)
    except ValueError as problem:
        if is_last:  # cut off while it was written
            return {}
        raise ReportError(f"{path}, line {number}: found {problem}, expected JSON") from None
    if not isinstance(value, dict):
        raise ReportError(f"{path}, line {number}: found {type(value).__name__}, expected a JSON object")
    return value
