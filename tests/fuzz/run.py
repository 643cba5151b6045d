"""Coverage-guided fuzzing of the codecs: see docs/wire.md.

    python tests/fuzz/run.py [--seconds 120] [--target NAME ...] [--jobs N] [--planted]
    python tests/fuzz/run.py --target NAME --input FILE     # no fuzzing: what does this input do?

Exit status: 0 nothing was found (with --planted: every planted bug was); 1 otherwise; 130 interrupted.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from rich.console import Console

HELPERS = Path(__file__).parents[1] / "helpers"


def main(arguments: list[str] | None = None) -> int:
    """Read the options and run; exit status."""
    sys.path.insert(0, str(HELPERS))
    from driver import Fuzzing
    from targets import TARGETS

    parser = argparse.ArgumentParser(description="Coverage-guided fuzzing of the codecs (docs/wire.md)")
    parser.add_argument("--seconds", type=int, default=120, help="for each target (120)")
    parser.add_argument("--target", action="append", choices=sorted(TARGETS), help="only this one; may be repeated")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="targets at a time (one for each core)")
    parser.add_argument("--planted", action="store_true", help="plant a bug for each target: it has to be found")
    parser.add_argument("--input", type=Path, help="give one target this input, and end with its traceback if it fails")
    options = parser.parse_args(arguments)
    if options.input is not None:
        if len(options.target or ()) != 1:
            parser.error("--input goes with one --target")
        TARGETS[options.target[0]].check(options.input.read_bytes())
        return 0
    if options.seconds < 1 or options.jobs < 1:
        parser.error("--seconds and --jobs are at least 1")
    names = options.target or list(TARGETS)
    console = Console()
    console.print(
        f"{len(names)} targets, {options.seconds} s each, {options.jobs} at a time"
        f"{', each with a planted bug' if options.planted else ''}",
        highlight=False,
    )
    try:
        done = Fuzzing(options.seconds, planted=options.planted, console=console).run(names, options.jobs)
    except KeyboardInterrupt:
        console.print("interrupted")
        return 130
    wrong = [state for state in done if not state.good]
    if options.planted:
        console.print(f"{len(done) - len(wrong)} of {len(done)} planted bugs found")
    else:
        executions = sum(state.executions for state in done)
        console.print(f"{len(wrong)} of {len(done)} targets with a finding, {executions} executions", highlight=False)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
