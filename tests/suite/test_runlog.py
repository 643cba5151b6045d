"""run.jsonl: header, cases, footer; every line there as soon as it was written."""

from __future__ import annotations

from pathlib import Path

import pytest

from cpmspec.suite.runlog import FORMAT, RunLog, read


def test_lines_in_order(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "run.jsonl"
    with RunLog(path) as log:
        log.header(seed=1, cases=["a"])
        log.case({"case": "a", "stage": "provisional", "reason": "grüß\udcff"})
        log.unowned("unowned/trace.pcapng")
        log.footer(verdict="conformant", exit=0)
    lines = list(read(path))
    assert [line["kind"] for line in lines] == ["header", "case", "unowned", "footer"]
    assert lines[0]["format"] == FORMAT
    assert lines[1]["reason"] == "grüß\udcff"


def test_a_line_is_there_before_the_file_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    with RunLog(path) as log:
        log.header(seed=1)
        assert len(list(read(path))) == 1


def test_one_header_and_one_footer(tmp_path: Path) -> None:
    with RunLog(tmp_path / "run.jsonl") as log:
        log.header()
        log.footer()
        with pytest.raises(ValueError, match="header"):
            log.header()
        with pytest.raises(ValueError, match="footer"):
            log.footer()


def test_a_last_line_that_was_cut_off_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    path.write_text('{"kind":"header"}\n{"kind":"ca')
    assert [line["kind"] for line in read(path)] == ["header"]


def test_a_damaged_line_in_between_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    path.write_text('{"kind":"ca\n{"kind":"footer"}\n')
    with pytest.raises(ValueError, match="line 1"):
        list(read(path))


def test_every_line_is_an_object(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    path.write_text("[1]\n")
    with pytest.raises(ValueError, match="line 1"):
        list(read(path))
