"""The view of a run that the templates show: facts of ``run.jsonl`` in the order in which a reader wants them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from cpmspec.judge.catalogue import Catalogue, Requirement
from cpmspec.judge.verdict import Verdict
from cpmspec.report import runlog
from cpmspec.report.runlog import ReportError, RunLog

#: the worst first; ``none`` before ``pass``: what was not seen needs a look
ORDER = (Verdict.ERROR, Verdict.FAIL, Verdict.INCONC, Verdict.NONE, Verdict.PASS)
BROKEN = (Verdict.ERROR, Verdict.FAIL, Verdict.INCONC)

_CLASSES = {
    "N": "normative",
    "R": "referenced RFC",
    "D": "interpretation",
    "T": "tolerance",
}


@dataclass(frozen=True, slots=True)
class FindingView:
    """One finding of a case, with the requirement it is about (``None``: unknown to this catalogue)."""

    id: str
    requirement: Requirement | None
    verdict: Verdict
    reason: str
    expected: str
    actual: str
    frames: tuple[int, ...]
    blame: str
    grade: str

    @property
    def clause(self) -> str:
        """Source and clause, or nothing."""
        return f"{self.requirement.source} {self.requirement.clause}" if self.requirement else ""


@dataclass(frozen=True, slots=True)
class CaseView:
    """One case as its last line in ``run.jsonl`` has it; ``anchor`` is unique in the page."""

    id: str
    anchor: str
    title: str
    purpose: str
    purposes: tuple[str, ...]
    verdict: Verdict
    reason: str
    blame: str
    evidence: str  #: folder relative to the run, or nothing
    started: str
    seconds: float
    worker: str
    final: bool
    findings: tuple[FindingView, ...]

    @property
    def broken(self) -> tuple[FindingView, ...]:
        """The findings that are worse than pass, worst first, those of the purpose before others."""
        bad = [finding for finding in self.findings if finding.verdict in BROKEN]
        return tuple(sorted(bad, key=lambda one: (ORDER.index(one.verdict), one.id not in self.purposes)))

    @property
    def remarks(self) -> tuple[FindingView, ...]:
        """Passed, but not strictly: a SHOULD was missed, or an observation was made."""
        return tuple(one for one in self.findings if one.verdict is Verdict.PASS and one.grade != "strict")

    @property
    def passed(self) -> tuple[str, ...]:
        """Ids of the requirements that this case met."""
        worst: dict[str, Verdict] = {}
        for one in self.findings:
            worst[one.id] = Verdict.worst((one.verdict, worst.get(one.id, Verdict.NONE)))
        return tuple(sorted(name for name, verdict in worst.items() if verdict is Verdict.PASS))

    @property
    def passed_rules(self) -> Mapping[str, int]:
        """How many rules of the RFCs the case met, by group."""
        rules = {one.id: one.requirement for one in self.findings if one.requirement is not None}
        met = (rules[name] for name in self.passed if name in rules)
        return Counter(one.group for one in met if one.of_an_rfc)

    @property
    def passed_clauses(self) -> tuple[str, ...]:
        """Ids of the requirements that this case met, without the rules of the RFCs."""
        rules = {one.id for one in self.findings if one.requirement is not None and one.requirement.of_an_rfc}
        return tuple(name for name in self.passed if name not in rules)

    def frame_anchor(self, number: int) -> str:
        """The anchor of a message in this case's ladder."""
        return f"{self.anchor}-f{number}"


@dataclass(frozen=True, slots=True)
class Sighting:
    """Where a requirement was seen: a case, with what verdict, and the telling frame of it."""

    case: CaseView
    verdict: Verdict
    frame: int | None

    @property
    def anchor(self) -> str:
        """Where a link to it leads: the offending message, or the case."""
        return self.case.anchor if self.frame is None else self.case.frame_anchor(self.frame)


@dataclass(frozen=True, slots=True)
class RequirementView:
    """One row of the table requirement x verdict."""

    id: str
    requirement: Requirement | None
    verdict: Verdict
    applicable: bool
    sightings: tuple[Sighting, ...]  #: the worst first
    class_name: str = ""

    @property
    def counts(self) -> Mapping[Verdict, int]:
        """In how many cases it has which verdict, the worst first."""
        counted = Counter(sighting.verdict for sighting in self.sightings)
        return {verdict: counted[verdict] for verdict in ORDER if counted[verdict]}

    @property
    def bad(self) -> tuple[Sighting, ...]:
        """Where it is worse than pass."""
        return tuple(sighting for sighting in self.sightings if sighting.verdict in BROKEN)

    @property
    def good(self) -> tuple[Sighting, ...]:
        """The other cases that touch it."""
        return tuple(sighting for sighting in self.sightings if sighting.verdict not in BROKEN)


@dataclass(frozen=True, slots=True)
class RunView:
    """A whole run."""

    folder: Path
    header: Mapping[str, Any]
    verdict: str
    interrupted: bool
    finished: str
    requirements: tuple[RequirementView, ...]
    cases: tuple[CaseView, ...]  #: the worst first, then by id
    unowned: str | None
    planned: int
    vanished: bool = False  #: the IUT was gone before the closing was over
    iut: Mapping[str, Any] = field(default_factory=dict)
    core: str = ""  #: the outside core, if one took part
    store: str = ""  #: the outside message store

    @property
    def counts(self) -> Mapping[Verdict, int]:
        """Cases by verdict, the worst first; every verdict but ``none`` is always there."""
        counted = Counter(case.verdict for case in self.cases)
        return {verdict: counted[verdict] for verdict in ORDER if counted[verdict] or verdict is not Verdict.NONE}

    @property
    def requirement_counts(self) -> Mapping[Verdict, int]:
        """Applicable requirements by verdict, the worst first."""
        counted = Counter(row.verdict for row in self.requirements if row.applicable)
        return {verdict: counted[verdict] for verdict in ORDER if counted[verdict] or verdict is not Verdict.ERROR}

    @property
    def failing(self) -> tuple[RequirementView, ...]:
        """The requirements that are broken."""
        return tuple(row for row in self.requirements if row.verdict is Verdict.FAIL)

    @property
    def failing_cases(self) -> int:
        """How many cases show a broken requirement, be it their purpose or not."""
        return len({one.case.id for row in self.failing for one in row.bad if one.verdict is Verdict.FAIL})

    @property
    def seconds(self) -> float | None:
        """How long the run took, in seconds; ``None`` if it was cut off."""
        try:
            return (_time(self.finished) - _time(str(self.header.get("started", "")))).total_seconds()
        except (ValueError, TypeError):
            return None


def load(run_folder: Path, catalogue: Catalogue) -> RunView:
    """The view of a run folder.

    :raises ReportError: ``run.jsonl`` is missing or is none.
    """
    log = runlog.read(run_folder)
    try:
        cases = tuple(sorted(_cases(log, catalogue), key=lambda case: (ORDER.index(case.verdict), case.id)))
    except (KeyError, TypeError, ValueError) as problem:
        raise ReportError(f"{run_folder / runlog.RUN_LOG}: found {problem!r}, expected lines of cases") from problem
    footer = log.footer or {}
    profile = log.header.get("profile") or {}
    return RunView(
        folder=run_folder,
        header=log.header,
        verdict=str(footer.get("verdict") or "interrupted"),
        interrupted=log.footer is None or bool(footer.get("interrupted")),
        finished=str(footer.get("finished") or ""),
        requirements=_requirements(cases, catalogue, profile.get("pics") or {}),
        cases=cases,
        unowned=log.unowned,
        planned=len(log.header.get("cases") or ()),
        vanished=any(line.get("iut_gone") for line in log.cases),
        iut=profile.get("iut") or {},
        core=_outside(profile.get("core") or {}, "access"),
        store=_outside(profile.get("history") or {}, "address"),
    )


def _outside(table: Mapping[str, Any], address: str) -> str:
    """What stood in the place of the suite's own core or store; empty if nothing did."""
    outside = table.get("outside") or {}
    if not outside.get("command") and not outside.get(address):
        return ""
    return str(outside.get("name") or ("launched by its command" if outside.get("command") else "by address"))


def _cases(log: RunLog, catalogue: Catalogue) -> Iterator[CaseView]:
    taken: set[str] = set()
    for line in log.cases:
        anchor = "case-" + re.sub(r"[^A-Za-z0-9_.-]+", "_", line["case"])
        while anchor in taken:
            anchor += "_"
        taken.add(anchor)
        judgement = line.get("judgement") or {}
        findings = [*(judgement.get("findings") or ()), *_kept(judgement)]
        yield CaseView(
            id=line["case"],
            anchor=anchor,
            title=str(line.get("title") or ""),
            purpose=str(line.get("purpose") or ""),
            purposes=tuple(line.get("purposes") or ()),
            verdict=Verdict(line.get("verdict") or "none"),
            reason=str(line.get("reason") or ""),
            blame=str(line.get("blame") or ""),
            evidence=str(line.get("evidence") or ""),
            started=str(line.get("started") or ""),
            seconds=float(line.get("seconds") or 0),
            worker=str(line.get("worker") or ""),
            final=line.get("stage") == "final",
            findings=tuple(_finding(value, catalogue) for value in findings),
        )


def _kept(judgement: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The rules that were simply kept: a run's log names them among the requirements alone."""
    told = {finding["requirement"] for finding in judgement.get("findings") or ()}
    for name, verdict in (judgement.get("requirements") or {}).items():
        if name not in told:
            yield {"requirement": name, "verdict": verdict}


def _finding(value: Mapping[str, Any], catalogue: Catalogue) -> FindingView:
    requirement = catalogue.requirements.get(value["requirement"])
    return FindingView(
        id=value["requirement"],
        requirement=requirement,
        verdict=Verdict(value["verdict"]),
        reason=str(value.get("reason") or ""),
        expected=str(value.get("expected") or (requirement.expected if requirement else "")),
        actual=str(value.get("actual") or ""),
        frames=tuple(value.get("frames") or ()),
        blame=str(value.get("blame") or ""),
        grade=str(value.get("grade") or "strict"),
    )


def _requirements(
    cases: tuple[CaseView, ...], catalogue: Catalogue, pics: Mapping[str, bool]
) -> tuple[RequirementView, ...]:
    """All requirements of the catalogue and any others that were found, the worst first, else in catalogue order."""
    sightings: dict[str, dict[str, Sighting]] = {name: {} for name in catalogue.requirements}
    for case in cases:
        for finding in case.findings:
            of_requirement = sightings.setdefault(finding.id, {})
            before = of_requirement.get(case.id)
            if before is None or finding.verdict.rank > before.verdict.rank:
                frame = finding.frames[0] if finding.frames and finding.verdict in BROKEN else None
                of_requirement[case.id] = Sighting(case, finding.verdict, frame)
    rows = []
    for name, by_case in sightings.items():
        requirement = catalogue.requirements.get(name)
        seen = sorted(by_case.values(), key=lambda one: ORDER.index(one.verdict))
        rows.append(
            RequirementView(
                id=name,
                requirement=requirement,
                verdict=Verdict.worst(sighting.verdict for sighting in seen),
                applicable=bool(seen) or requirement is None or requirement.applies(pics),
                sightings=tuple(seen),
                class_name=_CLASSES.get(requirement.cls, "") if requirement else "",
            )
        )
    return tuple(sorted(rows, key=lambda row: (not row.applicable, ORDER.index(row.verdict))))


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
