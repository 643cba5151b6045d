"""``cpmspec report``: render the reports of a run again, for example with newer templates."""

from __future__ import annotations

import argparse
from pathlib import Path

from cpmspec.cli.common import Mistake

_DESCRIPTION = """\
Renders report.html, junit.xml and summary.md from what a run has written: run.jsonl and the evidence. Nothing is
judged. The run may have been interrupted.
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser("report", help="render the reports of a run again", description=_DESCRIPTION)
    parser.add_argument("folder", type=Path, metavar="RUN", help="folder of a run")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the command.

    :raises Mistake: there is no run in the folder, or it cannot be written to.
    """
    from cpmspec.judge import catalogue
    from cpmspec.report import ReportError, render
    from cpmspec.sut import resources

    try:
        written = render(arguments.folder, resources.reports(), catalogue.load(resources.fixtures() / "catalogue"))
    except ReportError as error:
        raise Mistake(str(error)) from error
    except OSError as error:
        raise Mistake(f"{error.filename}: cannot write there: {error.strerror}") from error
    print(f"Report:  {written[0]}")
    return 0
