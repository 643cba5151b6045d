"""The papers at the top of the project say what the project does."""

from __future__ import annotations

import configparser
import os
import re
import tomllib
from pathlib import Path

import pytest

import peers

ROOT = Path(__file__).resolve().parents[2]
PAGES = [f"docs/{page.name}" for page in sorted((ROOT / "docs").glob("*.md"))]
SET_UP = "python3 -m venv .venv && .venv/bin/pip install tox && .venv/bin/tox"


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_readme_has_the_two_commands_word_for_word() -> None:
    lines = read("README.md").splitlines()
    assert f"{SET_UP} -e certify" in lines
    assert SET_UP in lines


def test_ci_runs_the_readme_s_command_then_the_rest() -> None:
    text = read(".ci/run")
    assert SET_UP in text.splitlines()
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
    environments = re.findall(r"for environment in (.*); do", text)
    assert environments == ["lint types coverage interop interop wheel certify mutants"]
    assert ".venv/bin/tox -e fuzz -- --seconds 10" in text.splitlines()


def test_ci_installs_the_peers_and_requires_them() -> None:
    """What CI installs is what a skipped test tells a user to install, and the page too."""
    text = read(".ci/run").replace("\\\n", " ")
    installed = re.search(r"for package in (.*); do", text)
    assert installed is not None
    packages = peers.INSTALL.removeprefix("apt-get install ").split()
    assert installed[1].split() == ["chromium", *packages]
    assert f"export {peers.REQUIRED}=1" in text
    assert peers.INSTALL in read("docs/interop.md")


def test_tox_has_the_environments() -> None:
    config = configparser.ConfigParser(interpolation=None)
    config.read_string(read("tox.ini"))
    assert config["tox"]["env_list"] == "tests"
    told = re.findall(r"^# tox -e ([a-z,]+) ", read("tox.ini"), re.MULTILINE)
    environments = [name.removeprefix("testenv:") for name in config.sections() if name.startswith("testenv:")]
    assert sorted(",".join(told).split(",")) == sorted(set(environments) - {"tests"})
    assert all(config[f"testenv:{name}"]["commands"] for name in environments)


def test_all_benchmarks_are_there() -> None:
    found = {path.stem for path in (ROOT / "benchmarks").glob("bench_*.py")}
    assert found == {"bench_sip", "bench_msrp", "bench_transfer", "bench_memory"}


def test_coverage_is_asked_of_whole_floors_and_leaves_out_nothing_else() -> None:
    """Every branch of what reads, decides and judges; a line is left out for a reason that is written here."""
    settings = tomllib.loads(read("pyproject.toml"))["tool"]["coverage"]
    assert settings["run"] == {
        "branch": True,
        "source_pkgs": ["cpmspec.wire", "cpmspec.protocol", "cpmspec.evidence", "cpmspec.judge"],
    }
    assert len(settings["report"]["exclude_also"]) == 3
    config = configparser.ConfigParser(interpolation=None)
    config.read_string(read("tox.ini"))
    assert "--cov-fail-under=100" in config["testenv:coverage"]["commands"]
    marked = [path for path in (ROOT / "harness").rglob("*.py") if "pragma: no " in path.read_text(encoding="utf-8")]
    assert marked == []


@pytest.mark.parametrize("page", ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", *PAGES])
def test_links_lead_somewhere(page: str) -> None:
    targets = re.findall(r"\]\(([^)#]+)[^)]*\)", read(page))
    missing = [
        target for target in targets if "://" not in target and not ((ROOT / page).parent / target).resolve().exists()
    ]
    assert missing == []


def test_readme_shows_every_exit_status() -> None:
    from cpmspec.cli import common

    rows = {int(row) for row in re.findall(r"^\| (\d+) \|", read("README.md"), re.MULTILINE)}
    assert rows == {value for name, value in vars(common).items() if name.startswith("EXIT_")}
