"""``cpmspec judge``: judge the stored evidence of a run again."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cpmspec.cli.common import EXIT_INCONCLUSIVE, Mistake, last_lines, run_lines

if TYPE_CHECKING:
    from cpmspec.judge.catalogue import Catalogue

_DESCRIPTION = """\
Reads the evidence of a run back and judges it again, without any IUT. The verdicts are the same as those of the run,
unless a check or the catalogue has changed since: then each case whose verdict differs is named. An interrupted run is
judged as far as it came.
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser("judge", help="judge the evidence of a run again", description=_DESCRIPTION)
    parser.add_argument("folder", type=Path, metavar="RUN", help="folder of a run")
    parser.add_argument("-q", "--quiet", action="store_true", help="print only the verdict")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the command.

    :raises Mistake: there is no run in the folder, or this version cannot read it.
    """
    from cpmspec.cli import summary
    from cpmspec.judge import catalogue
    from cpmspec.suite.outcome import conclude
    from cpmspec.sut import resources

    lines = run_lines(arguments.folder)
    header, stored = lines[0], last_lines(lines)
    requirements = catalogue.load(resources.fixtures() / "catalogue")
    cases = {name: _judged(line, arguments.folder, requirements) for name, line in stored.items()}
    cut_off = _cut_off(lines)
    conclusion = conclude(
        cases.values(), requirements, _flags(header), partial=cut_off or header.get("selection") is not None
    )
    verdict, status = conclusion.verdict, conclusion.exit
    notes = _notes(header, stored, cases, requirements)
    if cut_off:
        notes.append(f"the run was interrupted: {len(stored)} of {len(header['cases'])} cases were judged")
        if status == 0:
            verdict, status = "inconclusive", EXIT_INCONCLUSIVE
    summary.show_conclusion(
        header=header,
        cases=cases,
        requirements=conclusion.requirements,
        verdict=verdict,
        quiet=arguments.quiet,
        notes=notes,
    )
    return status


def _judged(line: Mapping[str, Any], folder: Path, catalogue: Catalogue) -> dict[str, Any]:
    """The line of a case with the judgement that its evidence gets now."""
    from cpmspec.evidence import pcapng
    from cpmspec.judge.judge import judge
    from cpmspec.suite.case import weighed, with_error

    if not line.get("evidence"):
        return dict(line)
    try:
        trace = pcapng.read(folder / line["evidence"])
    except (OSError, pcapng.EvidenceError) as error:
        reason = f"the evidence cannot be read: {error}"
        return {**line, "verdict": "error", "reason": reason, "blame": None, "judgement": None}
    judgement = weighed(judge(trace, catalogue), trace.context)
    if line.get("error"):
        judgement = with_error(judgement, line["error"])
    return {
        **line,
        "verdict": judgement.verdict.value,
        "reason": judgement.reason,
        "blame": judgement.blame.value if judgement.blame else None,
        "judgement": judgement.to_json(),
    }


def _cut_off(lines: list[dict[str, Any]]) -> bool:
    footer = next((line for line in lines if line["kind"] == "footer"), None)
    return footer is None or bool(footer.get("interrupted"))


def _flags(header: Mapping[str, Any]) -> dict[str, bool]:
    """The PICS of the run.

    :raises Mistake: the profile is not one of this version.
    """
    from pydantic import ValidationError

    from cpmspec.sut.models import Profile

    try:
        return Profile.from_json(header["profile"]).flags
    except (KeyError, ValidationError) as error:
        raise Mistake(f"run.jsonl: found a profile that this version cannot read: {error}") from error


def _notes(
    header: Mapping[str, Any],
    before: Mapping[str, Mapping[str, Any]],
    after: Mapping[str, Mapping[str, Any]],
    catalogue: Catalogue,
) -> list[str]:
    """What differs from the run as it was judged then."""
    notes = []
    if header.get("catalogue") != catalogue.digest:
        notes.append("the catalogue has changed since the run")
    changed = [name for name in before if before[name]["verdict"] != after[name]["verdict"]]
    notes += [f"{name}: was {before[name]['verdict']}, is {after[name]['verdict']} now" for name in changed]
    if before and not changed:
        notes.append(f"all {len(before)} cases have the verdict that the run gave them")
    return notes
