"""cpmspec.cli.progress"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from cpmspec.cli.progress import PlainLines, State, Tail, Watcher


def test_tail_gives_complete_lines_once(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    tail = Tail(path)
    assert tail.lines() == []
    with path.open("w", encoding="utf-8") as file:
        file.write('{"a":1}\n{"b"')
        file.flush()
        assert tail.lines() == [{"a": 1}]
        file.write(":2}\n")
        file.flush()
        assert tail.lines() == [{"b": 2}]
        assert tail.lines() == []
    tail.close()


def test_state(lines: SimpleNamespace) -> None:
    state = State()
    assert state.text == "starting the lab and the IUT"
    state.take(lines.header())
    assert state.text == "0 of 2 cases run"
    state.take(lines.case("TP_A", "pass", stage="provisional"))
    assert state.text == "1 of 2 cases run (1 pass)"
    state.take(lines.case("TP_B", "fail", stage="provisional"))
    assert state.text == "closing: waiting for what may still come, 0 of 2 judged (1 pass, 1 fail)"
    state.take(lines.case("TP_A", "fail"))
    assert state.text == "closing: waiting for what may still come, 1 of 2 judged (2 fail)"
    state.take(lines.footer("not conformant", 1))


def test_plain_lines_come_at_each_tenth(lines: SimpleNamespace, capsys: pytest.CaptureFixture[str]) -> None:
    names = [f"TP_{number}" for number in range(40)]
    state, display = State(), PlainLines()
    display.update(state)
    state.take(lines.header(cases=names))
    for name in names:
        state.take(lines.case(name, "pass"))
        display.update(state)
        display.update(state)
    display.close()
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == "starting the lab and the IUT"
    assert shown[-1].startswith("closing")
    assert len(shown) == 12


def test_watcher_shows_what_a_run_writes(
    tmp_path: Path, lines: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    watcher = Watcher(tmp_path, show=True)
    watcher.pytest_sessionstart()
    lines.write(tmp_path, lines.header(), lines.case("TP_A", "pass"), lines.case("TP_B", "pass"))
    watcher.pytest_unconfigure()
    assert "2 of 2 judged (2 pass)" in capsys.readouterr().out


def test_watcher_can_be_silent(tmp_path: Path, lines: SimpleNamespace, capsys: pytest.CaptureFixture[str]) -> None:
    watcher = Watcher(tmp_path, show=False)
    watcher.pytest_sessionstart()
    lines.write(tmp_path, lines.header())
    watcher.pytest_unconfigure()
    assert capsys.readouterr().out == ""


def test_watcher_keeps_what_cannot_be_collected(tmp_path: Path) -> None:
    watcher = Watcher(tmp_path, show=False)
    report = pytest.CollectReport(nodeid="test_x.py", outcome="failed", longrepr="SyntaxError", result=[])
    watcher.pytest_collectreport(report)
    watcher.pytest_collectreport(pytest.CollectReport(nodeid="y", outcome="passed", longrepr=None, result=[]))
    assert watcher.messages == ["test_x.py: cannot be collected:\nSyntaxError"]
