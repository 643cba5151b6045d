"""cpmspec.suite.run: what stops a run before it starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from cpmspec.suite.run import Run, RunError, RunOptions, default_profile


def test_a_folder_that_cannot_be_written_to_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda path, mode: False)
    with pytest.raises(RunError, match=f"^{tmp_path}: cannot write there: Permission denied$"):
        Run(RunOptions(default_profile(), tmp_path)).start()
    assert list(tmp_path.iterdir()) == []
