"""``summary.md``: the run on one screen, for a merge request or a mail."""

from __future__ import annotations

from pathlib import Path

from cpmspec.judge.catalogue import Catalogue
from cpmspec.report.model import RunView
from cpmspec.report.templating import environment, write_whole

SUMMARY = "summary.md"


def write(run: RunView, templates: Path, catalogue: Catalogue) -> Path:
    """Write ``summary.md`` into the run's folder and return its path."""
    template = environment(templates).get_template("summary.md.j2")
    return write_whole(run.folder / SUMMARY, [template.render(run=run, catalogue=catalogue)])
