"""``cpmspec mutants``: run the suite against faulty reference PFs and show whether it names the fault."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from pathlib import Path

from cpmspec.cli.common import Mistake

_DESCRIPTION = """\
Runs all cases against mutants of the reference PF, each with one fault. A mutant is caught if the run ends with exit
status 1, the requirements that the mutant breaks failed, and no others changed but those its header allows for.
Exit status: 0 all caught for the right reason, 1 not, 2 wrong usage.
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "mutants",
        help="run the suite against faulty reference PFs",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="mutants (default: all of the suite)")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="runs at the same time (default: 2)")
    parser.add_argument("-n", dest="workers", default="2", metavar="N", help="workers of each run (default: 2)")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="folder for the runs (default: cpmspec-runs/mutants-<UTC time>)"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the command.

    :raises Mistake: a file is no mutant, or the plain reference PF does not pass.
    """
    from rich.console import Console
    from rich.markup import escape

    from cpmspec.suite import mutation
    from cpmspec.sut import resources

    if arguments.jobs < 1:
        raise Mistake(f"--jobs: found {arguments.jobs}, expected 1 or more")
    files = arguments.files or sorted((resources.fixtures() / "mutants").glob("*.py"))
    out = arguments.out or Path("cpmspec-runs") / f"mutants-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    console = Console(highlight=False)
    caught = done = 0
    try:
        mutants = [mutation.read_mutant(path.resolve()) for path in files]
        console.print(f"{len(mutants)} mutants, first the unmutated reference PF", markup=False)
        for result in mutation.campaign(
            mutants, out.resolve(), jobs=arguments.jobs, arguments=["-n", arguments.workers]
        ):
            done += 1
            caught += not result.faults
            state = "[red]WRONG [/red]" if result.faults else "[green]caught[/green]"
            failed = ", ".join(sorted(result.outcome.failed)) or "nothing"
            console.print(
                f"{state} {done:3}/{len(mutants)} {result.mutant.name:26} failed: {escape(failed)}", soft_wrap=True
            )
            for fault in result.faults:
                console.print(f"        {fault}", markup=False, soft_wrap=True)
    except mutation.MutantError as error:
        raise Mistake(str(error)) from error
    console.print(
        f"{caught} of {len(mutants)} mutants caught for the right reason; the runs lie in {out}", markup=False
    )
    return 0 if caught == len(mutants) else 1
