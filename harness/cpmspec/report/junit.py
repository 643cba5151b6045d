"""``junit.xml``: verdicts as continuous integration understands them.

``fail`` is a failure of type ``fail``; ``inconc``, ``error`` and ``none`` are errors of that type: a missing
precondition is never green.
"""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from cpmspec.judge.verdict import Verdict
from cpmspec.report.lines import visible
from cpmspec.report.model import CaseView, FindingView, RunView
from cpmspec.report.templating import file_name, write_whole

JUNIT = "junit.xml"
_DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>\n'


def write(run: RunView) -> Path:
    """Write ``junit.xml`` into the run's folder and return its path."""
    counts = run.counts
    numbers = {
        "tests": str(len(run.cases)),
        "failures": str(counts.get(Verdict.FAIL, 0)),
        "errors": str(sum(counts.get(one, 0) for one in (Verdict.ERROR, Verdict.INCONC, Verdict.NONE))),
        "skipped": "0",
        "time": f"{sum(case.seconds for case in run.cases):.3f}",
    }
    root = ElementTree.Element("testsuites", {"name": "cpmspec", **numbers})
    started = str(run.header.get("started", "")).removesuffix("Z")
    suite = ElementTree.SubElement(root, "testsuite", {"name": "cpmspec", **numbers, "timestamp": _text(started)})
    facts = {key: run.header.get(key) for key in ("suite", "catalogue", "seed", "selection")}
    facts |= {key: file_name(path) for key in ("profile_file", "parts") if (path := run.header.get(key))}
    _properties(suite, [("verdict", run.verdict), *((k, str(v)) for k, v in facts.items() if v is not None)])
    for case in sorted(run.cases, key=lambda one: one.id):
        _case(suite, case)
    ElementTree.indent(root)
    return write_whole(run.folder / JUNIT, [_DECLARATION, ElementTree.tostring(root, "unicode"), "\n"])


def _case(suite: ElementTree.Element, case: CaseView) -> None:
    name, _, parameters = case.id.partition("-")
    element = ElementTree.SubElement(
        suite,
        "testcase",
        {"classname": _text(name), "name": _text(parameters or name), "time": f"{case.seconds:.3f}"},
    )
    properties = [("case", case.id), ("verdict", case.verdict.value)]
    properties += [("requirement", name) for name in case.purposes]
    properties += [("broken", name) for name in sorted({one.id for one in case.broken if one.verdict is Verdict.FAIL})]
    properties += [("blame", case.blame)] if case.blame else []
    properties += [("evidence", f"{case.evidence}/trace.pcapng")] if case.evidence else []
    _properties(element, properties)
    if case.verdict is Verdict.PASS:
        return
    kind = "failure" if case.verdict is Verdict.FAIL else "error"
    told = ElementTree.SubElement(element, kind, {"type": case.verdict.value, "message": _text(case.reason)})
    told.text = _text("\n\n".join(map(_finding, case.broken)) or case.reason)


def _finding(one: FindingView) -> str:
    """Requirement, clause, expected, actual, frames: what a failure has to say."""
    lines = [f"{one.id} ({one.clause}): {one.verdict.value}" if one.clause else f"{one.id}: {one.verdict.value}"]
    lines += [f"  {name}: {text}" for name, text in _facts(one) if text]
    return "\n".join(lines)


def _facts(one: FindingView) -> tuple[tuple[str, str], ...]:
    frames = ", ".join(map(str, one.frames))
    return ("reason", one.reason), ("expected", one.expected), ("actual", one.actual), ("frames", frames)


def _properties(parent: ElementTree.Element, pairs: list[tuple[str, str]]) -> None:
    properties = ElementTree.SubElement(parent, "properties")
    for name, value in pairs:
        ElementTree.SubElement(properties, "property", {"name": name, "value": _text(value)})


def _text(text: str) -> str:
    """Text without the characters that XML 1.0 forbids (2.2)."""
    return visible(text)
