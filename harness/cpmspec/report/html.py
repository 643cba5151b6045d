"""``report.html``: the whole run as one page that needs no network and no script."""

from __future__ import annotations

import json
from pathlib import Path

from cpmspec.judge.catalogue import Catalogue
from cpmspec.judge.verdict import Verdict
from cpmspec.report.ladder import COLUMN_NAMES, MOST_OCTETS, Ladder, ladder_of, limit_for_passed
from cpmspec.report.model import CaseView, RunView
from cpmspec.report.templating import environment, write_whole

REPORT = "report.html"
_TONES = {"conformant": "pass", "passed (partial)": "pass", "not conformant": "fail", "error": "error"}


def write(run: RunView, templates: Path, catalogue: Catalogue) -> Path:
    """Write ``report.html`` into the run's folder and return its path; one trace at a time is in memory."""
    limit = limit_for_passed(run.folder, run.cases)

    def open_case(case: CaseView) -> Ladder:
        return ladder_of(run.folder, case, limit if case.verdict is Verdict.PASS else MOST_OCTETS)

    template = environment(templates).get_template("report.html.j2")
    pieces = template.generate(
        run=run,
        catalogue=catalogue,
        tone=_TONES.get(run.verdict, "inconc"),
        profile=json.dumps(run.header.get("profile") or {}, indent=2, ensure_ascii=False, sort_keys=True),
        columns=COLUMN_NAMES,
        open_case=open_case,
        passed_limit=limit,
        most_octets=MOST_OCTETS,
    )
    return write_whole(run.folder / REPORT, pieces)
