"""Reads a run's folder and renders it: ``report.html``, ``junit.xml``, ``summary.md``. Nothing is judged here."""

from __future__ import annotations

from pathlib import Path

from cpmspec.judge.catalogue import Catalogue
from cpmspec.report.runlog import ReportError

__all__ = ["ReportError", "render"]


def render(run_folder: Path, templates: Path, catalogue: Catalogue) -> tuple[Path, ...]:
    """Write all reports of a run into its folder and return their paths, ``report.html`` first.

    ``templates`` is the folder ``reports/templates`` or its parent. Reports of an earlier call are replaced.

    :raises ReportError: the folder holds no run.
    """
    from cpmspec.report import html, junit, markdown, model  # late: Jinja2 is not needed for ``--help``

    folder = templates / "templates" if (templates / "templates").is_dir() else templates
    run = model.load(run_folder, catalogue)
    return html.write(run, folder, catalogue), junit.write(run), markdown.write(run, folder, catalogue)
