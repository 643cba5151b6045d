"""Where the suite's files are: in a checkout beside ``harness/``, in an installed wheel under ``cpmspec/_suite``."""

from __future__ import annotations

from pathlib import Path

import cpmspec


def suite_root() -> Path:
    """The folder that holds ``testcases``, ``fixtures`` and ``reports``."""
    package = Path(cpmspec.__file__).resolve().parent
    checkout = package.parent.parent
    if package.parent.name == "harness" and (checkout / "pyproject.toml").is_file():
        return checkout
    return package / "_suite"


def testcases() -> Path:
    """The folder of the test cases."""
    return suite_root() / "testcases"


def fixtures() -> Path:
    """The folder of the data: profiles, catalogue, corpus, mutants."""
    return suite_root() / "fixtures"


def reports() -> Path:
    """The folder of the report templates."""
    return suite_root() / "reports"
