"""The three reports of one run: complete, self-contained, and safe whatever the octets were."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import jinja2
import pytest

from cpmspec.judge.catalogue import Catalogue
from cpmspec.report import render

VOID = {"meta", "input", "br"}


class Checker(HTMLParser):
    """Insists on balanced tags and unique ids, and collects links."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.names: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            assert not name.startswith("on"), f"a script in <{tag}>"
            assert name != "src"
            if name == "id":
                self.ids.append(str(value))
            if name == "href":
                self.links.append(str(value))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture
def page(run_folder: Path, templates: Path, catalogue: Catalogue) -> str:
    html, junit, summary = render(run_folder, templates, catalogue)
    assert [path.name for path in (html, junit, summary)] == ["report.html", "junit.xml", "summary.md"]
    return html.read_text("utf-8")


def test_the_page_is_sound_and_self_contained(page: str, run_folder: Path) -> None:
    checker = Checker()
    checker.feed(page)
    checker.close()
    assert checker.open == []
    assert len(checker.ids) == len(set(checker.ids))
    assert not checker.names & {"script", "link", "img", "iframe", "object"}
    assert "@import" not in page
    assert "url(" not in page
    assert {link[1:] for link in checker.links if link.startswith("#")} <= set(checker.ids)
    for link in checker.links:
        if not link.startswith(("#", "unowned/")):
            assert (run_folder / link).is_file()


def test_the_page_says_what_was_found(page: str) -> None:
    text = re.sub(r"<[^>]+>", " ", page)
    for told in ("not conformant", "Example PF", "Example Oy", "4711", "ab" * 8, "DLV-2.1", "8.3.2.4.3 step 2",
                 "a deferred message came as message/cpim", "the IUT vanished before it delivered",
                 "TP_CPM_PF_DLV_V_031-pager-pull", "SEND 1-10284/10284 $", "APPEND &#34;conv-1&#34;",
                 "202 Accepted (MESSAGE)", "Grüße, see you at nine", "octets are not shown here: packet 13 of",
                 "an answer is withheld", "not applicable"):  # fmt: skip
        assert told in text, told


def test_hostile_octets_stay_text(page: str) -> None:
    assert "<script>" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;‹00›‹01›‹FF›‹FE›‹80›" in page
    assert "‹D800›" in page
    assert not re.search("[\x00-\x08\x0b-\x1f\u202e]", page)


def test_a_run_cut_off_says_so(run_maker: Callable[..., Path], templates: Path, catalogue: Catalogue) -> None:
    folder = run_maker(footer=False)
    html, _, summary = render(folder, templates, catalogue)
    assert "The run was cut off" in html.read_text("utf-8")
    assert "**the run was cut off**: 6 of 6 cases" in summary.read_text("utf-8")


def test_an_iut_that_vanished_is_told(run_folder: Path, templates: Path, catalogue: Catalogue) -> None:
    html, _, summary = render(run_folder, templates, catalogue)
    assert "vanished</strong> before the closing" not in html.read_text("utf-8")
    log = run_folder / "run.jsonl"
    log.write_text(log.read_text("utf-8").replace('"stage": "final"', '"stage": "final", "iut_gone": true'), "utf-8")
    html, _, summary = render(run_folder, templates, catalogue)
    assert "<strong>The IUT vanished</strong> before the closing" in html.read_text("utf-8")
    assert "**the IUT vanished** before the closing" in summary.read_text("utf-8")


def test_the_least_log_is_rendered(tmp_path: Path, templates: Path, catalogue: Catalogue) -> None:
    (tmp_path / "run.jsonl").write_text('{"kind":"header","format":1}\n{"kind":"case","case":"TP_X"}\n')
    html, junit, _ = render(tmp_path, templates, catalogue)
    assert "TP_X" in html.read_text("utf-8")
    assert ElementTree.parse(junit).getroot().get("errors") == "1", "no verdict is never green"


def test_junit_has_a_type_for_each_verdict(page: str, run_folder: Path) -> None:
    root = ElementTree.parse(run_folder / "junit.xml").getroot()
    assert (root.get("tests"), root.get("failures"), root.get("errors")) == ("6", "1", "2")
    cases = {f"{case.get('classname')}-{case.get('name')}": case for case in root.iter("testcase")}
    failed = cases["TP_CPM_PF_DLV_V_031-pager-pull"]
    failure = failed.find("failure")
    assert failure is not None
    assert failure.get("type") == "fail"
    assert "DLV-2.1 (OMA-TS-CPM_Conv_Fnct 8.3.2.4.3 step 2): fail" in str(failure.text)
    assert "expected: Content-Type multipart/mixed" in str(failure.text)
    assert "frames: 13" in str(failure.text)
    types = {error.get("type") for error in root.iter("error")}
    assert types == {"inconc", "error"}
    properties = [(one.get("name"), one.get("value")) for one in failed.iter("property")]
    assert [value for name, value in properties if name == "requirement"] == ["DLV-2.1", "DLV-2a.2"]
    assert ("broken", "DLV-2.1") in properties


def test_the_summary_names_what_is_not_met(page: str, run_folder: Path) -> None:
    text = (run_folder / "summary.md").read_text("utf-8")
    assert text.startswith("# not conformant: Example PF 4.2 & more\n")
    assert "| cases |  1 | 1 | 1 | 3 |" in text
    assert re.search(
        r"\| DLV-2\.1 multipart/mixed \| 8\.3\.2\.4\.3 step 2 \| N \| fail \| 1 \| .*, message 13 \|", text
    )
    tables = [line for line in text.splitlines() if line.startswith("|")]
    assert {line.count("|") - line.count("\\|") for line in tables} == {6, 7}


def test_rendering_twice_gives_the_same(page: str, run_folder: Path, templates: Path, catalogue: Catalogue) -> None:
    render(run_folder, templates.parent, catalogue)
    assert (run_folder / "report.html").read_text("utf-8") == page
    assert not [path for path in run_folder.iterdir() if path.name.startswith(".")]


def test_a_wrong_name_in_a_template_is_an_error(
    run_folder: Path, templates: Path, catalogue: Catalogue, tmp_path: Path
) -> None:
    folder = tmp_path / "own"
    shutil.copytree(templates, folder)
    (folder / "report.html.j2").write_text("{{ run.colour }}")
    with pytest.raises(jinja2.UndefinedError):
        render(run_folder, folder, catalogue)
    assert not (run_folder / "report.html").exists()


def test_hundreds_of_cases_make_a_page_that_can_be_mailed(
    run_maker: Callable[..., Path], templates: Path, catalogue: Catalogue
) -> None:
    folder = run_maker(passed=1)
    log = folder / "run.jsonl"
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    passed = next(line for line in lines if line.get("verdict") == "pass" and line["stage"] == "final")
    with log.open("a") as file:
        for number in range(400):
            file.write(json.dumps(passed | {"case": f"TP_CPM_PF_DLV_V_900-{number}"}) + "\n")
    html, *_ = render(folder, templates, catalogue)
    assert html.stat().st_size < 12_000_000
