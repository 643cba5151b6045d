"""cpmspec.cli.report"""

from __future__ import annotations

from pathlib import Path

import pytest

from cpmspec import cli


def test_renders_into_the_run(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["report", str(finished)]) == 0
    assert (finished / "report.html").is_file()
    assert capsys.readouterr().out == f"Report:  {finished}/report.html\n"


def test_no_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["report", str(tmp_path)]) == 2
    assert "run.jsonl: found" in capsys.readouterr().err
