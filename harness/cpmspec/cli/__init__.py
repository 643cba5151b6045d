"""The command ``cpmspec``. A command is a module with ``add_parser`` and ``run``; slow imports wait in ``run``."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from types import TracebackType

from cpmspec import __version__
from cpmspec.cli import judge, list_, mutants, report, run, serve
from cpmspec.cli.common import EXIT_HARNESS, EXIT_INTERRUPTED, EXIT_USAGE, Mistake

COMMANDS = (run, judge, list_, report, serve, mutants)

_EXIT_STATUS = """\
exit status of run and judge:
  0    conformant, or a selection without failure ("passed (partial)")
  1    a requirement is broken
  2    wrong usage or configuration, nothing to run
  3    inconclusive
  70   the harness itself failed (wins over all others)
  130  interrupted
"""


def parser() -> argparse.ArgumentParser:
    """The command line with all its commands."""
    top = argparse.ArgumentParser(
        prog="cpmspec",
        description="Judges how a CPM Participating Function delivers deferred messages.",
        epilog=_EXIT_STATUS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"cpmspec {__version__}")
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in COMMANDS:
        command.add_parser(commands)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    if argv is None:
        sys.excepthook = _harness_error
    arguments = parser().parse_args(argv)
    try:
        status: int = arguments.run(arguments)
        sys.stdout.flush()
    except Mistake as mistake:
        for line in mistake.lines:
            print(f"cpmspec: {line}", file=sys.stderr)
        return EXIT_USAGE
    except KeyboardInterrupt:
        print("cpmspec: interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # the reader (head, less) has gone: what is left to print goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    return status


def _harness_error(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Python's own status for an uncaught exception is 1, which here means that the IUT broke a requirement."""
    traceback.print_exception(kind, error, trace)
    raise SystemExit(EXIT_HARNESS)
