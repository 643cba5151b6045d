"""cpmspec.sut.resources"""

from __future__ import annotations

from pathlib import Path

import pytest

import cpmspec
from cpmspec.sut import resources


def package(folder: Path) -> Path:
    (folder / "cpmspec").mkdir(parents=True)
    file = folder / "cpmspec" / "__init__.py"
    file.touch()
    return file


def test_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pyproject.toml").touch()
    monkeypatch.setattr(cpmspec, "__file__", str(package(tmp_path / "harness")))
    assert resources.suite_root() == tmp_path
    assert resources.testcases() == tmp_path / "testcases"


def test_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pyproject.toml").touch()
    monkeypatch.setattr(cpmspec, "__file__", str(package(tmp_path / "site-packages")))
    assert resources.fixtures() == tmp_path / "site-packages" / "cpmspec" / "_suite" / "fixtures"
    assert resources.reports().name == "reports"


def test_the_suite_is_found() -> None:
    assert (resources.fixtures() / "catalogue").is_dir()
