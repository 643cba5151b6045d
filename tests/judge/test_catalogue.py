"""The catalogue's files: what is read from them, and what each defect in them is called."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cpmspec.judge.catalogue import CatalogueError, RequirementClass, load
from cpmspec.judge.judge import CHECKS
from scene import ROOT

HEAD = 'group = "X"\ntitle = "t"\nsource = "s"\n'
ENTRY = """
[[requirement]]
id = "X-1"
title = "t"
clause = "1"
class = "N"
level = "MUST"
bearer = "PF"
text = "t"
expected = "e"
"""


def folder_with(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / f"{name}.toml").write_text(text, encoding="utf-8")
    return folder


def test_a_file_is_read(tmp_path: Path) -> None:
    more = ENTRY.replace("X-1", "X-2") + 'parameter = "bye_within"\npics = ["history"]\nixit = ["bye_within"]\n'
    found = load(folder_with(tmp_path, a=HEAD + ENTRY + more))
    assert list(found.requirements) == ["X-1", "X-2"]
    second = found.requirements["X-2"]
    assert (second.group, second.source, second.cls) == ("X", "s", RequirementClass.NORMATIVE)
    assert (second.parameter, second.pics, second.ixit) == ("bye_within", ("history",), ("bye_within",))


def test_what_applies(tmp_path: Path) -> None:
    found = load(folder_with(tmp_path, a=HEAD + ENTRY + 'pics = ["history", "pull"]\n'))
    assert [len(found.applicable(pics)) for pics in ({}, {"history": True}, {"history": False})] == [1, 1, 0]


def test_the_digest_is_that_of_all_files(tmp_path: Path) -> None:
    first = load(folder_with(tmp_path, a=HEAD + ENTRY)).digest
    second = load(folder_with(tmp_path, b=HEAD + ENTRY.replace("X-1", "X-2"))).digest
    assert re.fullmatch("[0-9a-f]{64}", first)
    assert first != second


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("group = ", "a.toml: "),
        (HEAD + ENTRY + 'colour = "red"\n', "a.toml: X-1: unknown key 'colour'"),
        (HEAD + ENTRY.replace('bearer = "PF"\n', ""), "a.toml: X-1: bearer is None, expected a text"),
        (HEAD + ENTRY.replace('"MUST"', "1"), "a.toml: X-1: level is 1, expected a text"),
        (HEAD + ENTRY.replace('id = "X-1"\n', ""), "a.toml: a requirement without id: id is None, expected a text"),
        (HEAD + ENTRY + ENTRY, "a.toml: X-1 stands twice, expected each id once"),
        (HEAD + ENTRY.replace('"N"', '"Q"'), "a.toml: X-1: class is 'Q', expected N, R, D or T"),
        (HEAD + ENTRY.replace('"MUST"', '"OUGHT"'), "a.toml: X-1: level is 'OUGHT', expected MUST, SHOULD or MAY"),
        (HEAD + ENTRY + 'pics = "history"\n', "a.toml: X-1: pics is 'history', expected a list of texts"),
        (HEAD + ENTRY + "ixit = [1]\n", "a.toml: X-1: ixit is [1], expected a list of texts"),
        (HEAD + ENTRY + "parameter = 1\n", "a.toml: X-1: parameter is 1, expected a text"),
        (HEAD.replace('group = "X"\n', "") + ENTRY, "a.toml: group is None, expected a text"),
        (HEAD.replace('source = "s"\n', "") + ENTRY, "a.toml: source is None, expected a text"),
        ("requirement = 1\n" + HEAD, "a.toml: requirement is 1, expected [[requirement]] tables"),
        (HEAD, "no requirement found, expected *.toml with [[requirement]] tables"),
    ],
)
def test_a_defect_is_named(tmp_path: Path, text: str, expected: str) -> None:
    with pytest.raises(CatalogueError, match=re.escape(expected)):
        load(folder_with(tmp_path, a=text))


def test_an_id_in_two_files_is_named_with_the_second(tmp_path: Path) -> None:
    with pytest.raises(CatalogueError, match=r"b\.toml: X-1 stands twice"):
        load(folder_with(tmp_path, a=HEAD + ENTRY, b=HEAD + ENTRY))


def test_octets_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_bytes(b"\xff")
    with pytest.raises(CatalogueError, match=r"a\.toml"):
        load(tmp_path)


@pytest.mark.parametrize("folder", [".", "absent"])
def test_no_file(tmp_path: Path, folder: str) -> None:
    with pytest.raises(CatalogueError, match="no requirement found"):
        load(tmp_path / folder)


def test_the_suites_own_catalogue_is_what_the_checks_judge() -> None:
    found = load(ROOT / "fixtures" / "catalogue")
    docs = " ".join(check.__doc__ or "" for check in CHECKS)
    named = set(re.findall(r"DLV-\d\w*\.\d\w*", docs))
    assert named == set(found.requirements)
    assert {one.level for one in found.requirements.values()} <= {"MUST", "SHOULD", "MAY"}
