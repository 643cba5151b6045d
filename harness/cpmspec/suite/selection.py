"""From pytest items to cases: their specs, which are selected, in which order they run, when a run is wanted."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest

from cpmspec.suite.purpose import Purpose, needed_pics, purpose_of
from cpmspec.suite.spec import CaseSpec, case_id, title_of
from cpmspec.sut import resources

#: a folder with a file of this name is a suite of cases, like the one that comes with the package
MARKER = "cpmspec-suite"

SPEC = pytest.StashKey[CaseSpec]()
NEEDS = pytest.StashKey[tuple[str, ...]]()


def parameters_of(item: pytest.Function) -> dict[str, object]:
    """The values of an item's parametrisation."""
    callspec = getattr(item, "callspec", None)
    return dict(callspec.params) if callspec else {}


def spec_of(item: pytest.Item) -> CaseSpec | None:
    """What was found out about an item by :func:`mark_cases`; ``None`` if it is no conformance case."""
    return item.stash.get(SPEC, None)


def mark_cases(items: Iterable[pytest.Item]) -> None:
    """Remember the spec of each item that is a case.

    :raises pytest.UsageError: two cases have one id.
    """
    for item in items:
        if not isinstance(item, pytest.Function) or (purpose := purpose_of(item.obj)) is None:
            continue
        spec = _spec(item, purpose)
        item.stash[SPEC] = spec
        item.extra_keyword_matches.add(spec.id)  # -k finds a case by its id too
        item.stash[NEEDS] = needed_pics(purpose, parameters_of(item))
    ids = Counter(case.id for item in items if (case := spec_of(item)) is not None)
    if double := [name for name, count in ids.items() if count > 1]:
        raise pytest.UsageError(f"case ids are not unique: {', '.join(double)}")


def _spec(item: pytest.Function, purpose: Purpose) -> CaseSpec:
    text = inspect.getdoc(item.obj) or ""
    callspec = getattr(item, "callspec", None)
    name = case_id(purpose.case, callspec.id if callspec else "")
    return CaseSpec(name, title_of(text), text, purpose.requirements, item.module.__name__, purpose.waits)


def select(
    items: list[pytest.Item], requirements: Iterable[str], cases: Iterable[str]
) -> tuple[list[pytest.Item], list[pytest.Item]]:
    """Split items into those that were asked for and the others; both in order. Nothing asked: all.

    A case is asked for by its id, by its purpose's id (all its parameters), or by a requirement of its purpose.
    """
    wanted, named = set(requirements), set(cases)
    if not wanted and not named:
        return items, []
    kept: list[pytest.Item] = []
    others: list[pytest.Item] = []
    for item in items:
        spec = spec_of(item)
        chosen = spec is not None and (not wanted or wanted & set(spec.purposes)) and (not named or _named(spec, named))
        (kept if chosen else others).append(item)
    return kept, others


def _named(spec: CaseSpec, names: set[str]) -> bool:
    return spec.id in names or spec.id.partition("-")[0] in names


def order(items: list[pytest.Item]) -> None:
    """Cases that wait go first, those of a module together; the others keep their order."""
    modules: dict[str, int] = {}

    def key(item: pytest.Item) -> tuple[int, int]:
        spec = spec_of(item)
        if spec is None or not spec.waits:
            return (1, 0)
        return (0, modules.setdefault(spec.module, len(modules)))

    items.sort(key=key)


def suite_folder(argument: str, base: Path) -> Path | None:
    """The suite that a command-line argument of pytest lies in: the package's own, or one with the marker file."""
    path = (base / argument.partition("::")[0]).resolve()
    own = resources.testcases().resolve()
    for folder in (path, *path.parents):
        if folder == own or (folder / MARKER).is_file():
            return folder
    return None


def covers_everything(arguments: Iterable[str], base: Path) -> bool:
    """Whether the arguments name a whole suite."""
    return any(
        (folder := suite_folder(argument, base)) is not None and folder == (base / argument).resolve()
        for argument in arguments
    )


def run_is_wanted(config: pytest.Config) -> bool:
    """Whether pytest is to make a run: an option of ours is given, or an argument lies in a suite of cases.

    xdist's controller collects nothing, so it cannot go by what the items are.
    """
    option = config.option
    asked = (
        option.cpmspec_profile, option.cpmspec_out, option.cpmspec_parts, option.cpmspec_requirement,
        option.cpmspec_case, option.cpmspec_seed is not None,
    )  # fmt: skip
    if option.collectonly:
        return False
    return any(asked) or any(suite_folder(argument, config.invocation_params.dir) for argument in config.args)


def selection_text(config: pytest.Config) -> str | None:
    """How less than the whole suite was asked for; ``None`` if it was the whole."""
    option = config.option
    parts = [f"--requirement {name}" for name in option.cpmspec_requirement]
    parts += [f"--case {name}" for name in option.cpmspec_case]
    for flag, value in (("-k", option.keyword), ("-m", option.markexpr), ("--deselect", option.deselect)):
        if value:
            parts.append(f"{flag} {value}")
    if getattr(option, "lf", False):
        parts.append("--last-failed")
    if getattr(option, "maxfail", 0):
        parts.append(f"--maxfail {option.maxfail}")
    if not covers_everything(config.args, config.invocation_params.dir):
        parts += config.args
    return " ".join(parts) or None
