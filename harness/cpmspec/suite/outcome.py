"""What a verdict means to pytest, to the reader and to the exit status."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from cpmspec.judge.catalogue import Catalogue, RequirementClass
from cpmspec.judge.verdict import Finding, Judgement, Verdict

EXIT_CONFORMANT = 0
EXIT_BROKEN = 1
EXIT_USAGE = 2
EXIT_INCONCLUSIVE = 3
EXIT_HARNESS = 70
EXIT_INTERRUPTED = 130


def failure_text(judgement: Judgement, purposes: Iterable[str], catalogue: Catalogue, evidence: str) -> str:
    """Why a case did not pass, for a reader: requirement, clause, expected, actual and frame of each finding."""
    wanted = set(purposes)
    blame = f", blame: {judgement.blame.value}" if judgement.blame else ""
    parts = [f"{judgement.case}: {judgement.verdict.value}{blame}: {judgement.reason}"]
    bad = [finding for finding in judgement.findings if finding.verdict.rank > Verdict.PASS.rank]
    bad.sort(key=lambda finding: (finding.requirement not in wanted, -finding.verdict.rank))
    parts += [finding_text(finding, catalogue, outside=finding.requirement not in wanted) for finding in bad]
    parts.append(f"evidence: {evidence}")
    return "\n".join(parts)


def finding_text(finding: Finding, catalogue: Catalogue, *, outside: bool = False) -> str:
    """One finding in a few lines."""
    requirement = catalogue.requirements.get(finding.requirement)
    clause = f" ({requirement.source} {requirement.clause})" if requirement else ""
    lines = [f"{finding.requirement}{clause}: {finding.verdict.value}{' (beside the purpose)' if outside else ''}"]
    expected = finding.expected or (requirement.expected if requirement else "")
    for name, text in (("reason", finding.reason), ("expected", expected), ("actual", finding.actual)):
        if text:
            lines.append(f"    {name + ':':9} {text}")
    if finding.frames:
        lines.append(f"    frame:    {', '.join(map(str, finding.frames))}")
    return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Conclusion:
    """The verdict of a run, its exit status, the worst verdict of each requirement and the cases by verdict."""

    verdict: str
    exit: int
    requirements: Mapping[str, str]
    counts: Mapping[str, int]


def vanished(cases: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether the IUT vanished before the last of these cases was closed."""
    return any(line.get("iut_gone") for line in cases.values())


def conclude(
    lines: Iterable[Mapping[str, Any]],
    catalogue: Catalogue,
    pics: Mapping[str, bool],
    *,
    partial: bool,
    interrupted: bool = False,
    harness_error: bool = False,
) -> Conclusion:
    """The conclusion of a run from the last line of each of its cases.

    A harness error wins over all, then the interruption, then a broken requirement (in whichever case it was seen),
    then what stayed undecided: an inconclusive case, an IUT that vanished before the closing was over (so nobody saw
    what it would still have sent), or in a full run an applicable N requirement without a trace.
    """
    last = {line["case"]: line for line in lines}
    requirements = {requirement.id: Verdict.NONE for requirement in catalogue.applicable(pics)}
    for line in last.values():
        for name, verdict in ((line.get("judgement") or {}).get("requirements") or {}).items():
            if name in catalogue.requirements:
                requirements[name] = Verdict.worst((requirements.get(name, Verdict.NONE), Verdict(verdict)))
    verdicts = Counter(Verdict(line["verdict"]) for line in last.values())
    untouched = [
        name
        for name, verdict in requirements.items()
        if verdict is Verdict.NONE
        and catalogue.requirements[name].cls is RequirementClass.NORMATIVE
        and catalogue.requirements[name].applies(pics)
    ]
    tried = sum(verdicts.values()) - verdicts[Verdict.NONE]
    if harness_error or verdicts[Verdict.ERROR] or Verdict.ERROR in requirements.values():
        verdict, code = "error", EXIT_HARNESS
    elif interrupted:
        verdict, code = "inconclusive", EXIT_INTERRUPTED
    elif verdicts[Verdict.FAIL] or Verdict.FAIL in requirements.values():
        verdict, code = "not conformant", EXIT_BROKEN
    elif verdicts[Verdict.INCONC] or vanished(last) or not tried or (untouched and not partial):
        verdict, code = "inconclusive", EXIT_INCONCLUSIVE
    else:
        verdict, code = ("passed (partial)" if partial else "conformant"), EXIT_CONFORMANT
    return Conclusion(
        verdict,
        code,
        {name: found.value for name, found in requirements.items()},
        {found.value: verdicts[found] for found in Verdict if verdicts[found]},
    )
