"""The catalogue's files: what is read from them, and what each defect in them is called."""

from __future__ import annotations

import ast
import re
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

from cpmspec.judge.catalogue import SOURCES, CatalogueError, RequirementClass, load, load_sources
from cpmspec.judge.judge import CHECKS
from scene import ROOT

#: what may begin with a text that documents it
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
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


def test_rules_of_rfcs_are_told_from_the_clause() -> None:
    found = load(ROOT / "fixtures" / "catalogue").requirements
    assert {one.group for one in found.values() if not one.of_an_rfc} == {"DLV"}


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


# group, RFC, section, running number; or a limit of ours, or a wrapped type that no RFC describes
IDENTIFIER = re.compile(
    r"\b(?:[A-Z]{3}-(?:[0-9]{4}|CPM)-[0-9][0-9.]*-[0-9]{2}|[A-Z]{3}-LIMIT-[0-9]{2}|FRG-MSRP-[0-9]{2})\b"
)
CLAUSE = re.compile(r"\bDLV-\d\w*\.\d\w*\b")


def told_by_checks() -> set[str]:
    """The requirements that the checks over several messages report, by what they say of themselves."""
    named: set[str] = set()
    for check in CHECKS:
        text = check.__doc__ or ""
        named |= {*IDENTIFIER.findall(text), *CLAUSE.findall(text)}
    for module in {check.__module__ for check in CHECKS}:
        named |= set(getattr(import_module(module), "REPORTS", ()))
    return named


def told_by_parsers() -> set[str]:
    """The requirements that stand, whole, in a string of a parser, other than the text that documents it."""
    named: set[str] = set()
    for path in (ROOT / "harness" / "cpmspec" / "wire").glob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        told = {ast.get_docstring(node, clean=False) for node in ast.walk(tree) if isinstance(node, DOCUMENTED)}
        texts = [
            node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)
        ]
        named |= {text for text in texts if text not in told and IDENTIFIER.fullmatch(text)}
    return named


def test_each_requirement_is_reported_and_each_report_is_a_requirement() -> None:
    found = load(ROOT / "fixtures" / "catalogue").requirements
    alone = {name for name, one in found.items() if one.on is not None}
    assert told_by_checks() == set(found) - alone
    assert told_by_parsers() - told_by_checks() == alone


@pytest.mark.parametrize("on", ["", "sdp ", "SIP", "message"])
def test_what_a_requirement_is_judged_on_is_one_of_a_list(tmp_path: Path, on: str) -> None:
    with pytest.raises(CatalogueError, match=f"on is '{on}', expected one of sip-message, "):
        load(folder_with(tmp_path, a=HEAD + ENTRY + f'on = "{on}"\n'))


def test_what_a_requirement_is_judged_on(tmp_path: Path) -> None:
    more = ENTRY.replace("X-1", "X-2") + 'on = "message/sip"\n'
    found = load(folder_with(tmp_path, a=HEAD + ENTRY + more)).requirements
    assert [one.on for one in found.values()] == [None, "message/sip"]


# --- where the requirements come from --------------------------------------------------------------------------------

#: how many statements each group of the list has
STATEMENTS = {"B": 52, "C": 28, "D": 26, "E": 16, "F": 9, "G": 4, "H": 17, "I": 14, "J": 22, "K": 11, "L": 11, "M": 13,
              "N": 9, "O": 5, "P": 30}  # fmt: skip


def test_the_list_of_statements_is_no_file_of_requirements(tmp_path: Path) -> None:
    found = load(folder_with(tmp_path, a=HEAD + ENTRY, sources='B1 = ["X-1"]\n'))
    assert list(found.requirements) == ["X-1"]
    assert found.digest == load(folder_with(tmp_path, a=HEAD + ENTRY, sources="B1 = 1\n")).digest


def test_a_list_of_statements_is_read(tmp_path: Path) -> None:
    path = tmp_path / "sources.toml"
    path.write_text(
        'B1 = ["X-1", "X-2"]\nC26 = "not observable at any PCO, because no relay takes part"\n'
        'P3 = "binds our side: kept by cpmspec.wire.mime, which draws a fresh one"\n'
    )
    found = load_sources(path)
    assert [(one.requirements, one.kept_by) for one in found.values()] == [
        (("X-1", "X-2"), None),
        ((), None),
        ((), "cpmspec.wire.mime"),
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("B1 = [", "sources.toml: "),
        ('Q1 = ["X-1"]', "sources.toml: Q1 is no statement, expected one of B1 to P30"),
        ('B01 = ["X-1"]', "sources.toml: B01 is no statement"),
        ("B1 = []", "sources.toml: B1 is [], expected a list of requirements"),
        ("B1 = [1]", "sources.toml: B1 is [1], expected a list of requirements"),
        ('B1 = "not tested"', "sources.toml: B1 is 'not tested', expected a list of requirements"),
        ('B1 = "not observable at any PCO, because "', "sources.toml: B1 is "),
        ('B1 = "binds our side: kept by us"', "sources.toml: B1 is "),
    ],
)
def test_a_defect_of_the_list_of_statements_is_named(tmp_path: Path, text: str, expected: str) -> None:
    path = tmp_path / "sources.toml"
    path.write_text(text)
    with pytest.raises(CatalogueError, match=re.escape(expected)):
        load_sources(path)


def test_no_list_of_statements(tmp_path: Path) -> None:
    with pytest.raises(CatalogueError, match="expected the list of statements"):
        load_sources(tmp_path / "sources.toml")


def test_every_statement_became_requirements_or_has_a_reason() -> None:
    found = load_sources(ROOT / "fixtures" / "catalogue" / SOURCES)
    assert list(found) == [f"{group}{number}" for group, last in STATEMENTS.items() for number in range(1, last + 1)]


def test_what_the_statements_became_exists() -> None:
    known = load(ROOT / "fixtures" / "catalogue").requirements
    for statement, source in load_sources(ROOT / "fixtures" / "catalogue" / SOURCES).items():
        assert set(source.requirements) <= set(known), statement
        if source.kept_by is not None:
            assert find_spec(source.kept_by) is not None, statement
