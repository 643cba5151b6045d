"""Runs that several tests look at."""

from __future__ import annotations

import pytest

from runs import FEW, MUTANTS, Run, run_suite


@pytest.fixture(scope="session")
def clean_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A few cases against the reference PF."""
    return run_suite(tmp_path_factory.mktemp("clean") / "run", *FEW)


@pytest.fixture(scope="session")
def mutant_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The same against a PF that drops the subtype of the multipart."""
    return run_suite(tmp_path_factory.mktemp("mutant") / "run", *FEW, "--parts", MUTANTS / "multipart_related.py")
