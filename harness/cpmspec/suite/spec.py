"""What is known of a case before it runs, and the names under which its outcome travels with pytest's reports."""

from __future__ import annotations

import re
from dataclasses import dataclass

#: attribute of a test report that carries a line of run.jsonl, as JSON text
REPORT_LINE = "cpmspec_line"
#: attribute of a test report that carries the verdict of its case
REPORT_VERDICT = "cpmspec_verdict"
#: key of xdist's workeroutput that carries the lines of the closing, as JSON text
OUTPUT_LINES = "cpmspec_final"


@dataclass(frozen=True, slots=True)
class CaseSpec:
    """A case: its id, the first line of its docstring, the docstring, the requirements of its purpose."""

    id: str
    title: str
    purpose: str
    purposes: tuple[str, ...]
    module: str = ""
    waits: bool = False


def case_id(base: str, parameters: str) -> str:
    """The id of a case: the purpose's, with the ids of its parameters; fit for a file name."""
    return base if not parameters else f"{base}-{re.sub(r'[^A-Za-z0-9._-]+', '_', parameters)}"


def title_of(docstring: str) -> str:
    """The first line of a docstring that says something."""
    return next((line.strip() for line in docstring.splitlines() if line.strip()), "")
