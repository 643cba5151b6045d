"""Verdicts after ISO/IEC 9646 and TTCN-3, and what a check finds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Verdict(StrEnum):
    """``none < pass < inconc < fail < error``; a verdict only ever gets worse."""

    NONE = "none"
    PASS = "pass"
    INCONC = "inconc"
    FAIL = "fail"
    ERROR = "error"

    @property
    def rank(self) -> int:
        """Position in the order, 0 for ``none``."""
        return _RANKS[self]

    @classmethod
    def worst(cls, verdicts: Iterable[Verdict]) -> Verdict:
        """The worst of the verdicts, ``none`` of no verdict."""
        return max(verdicts, key=lambda verdict: verdict.rank, default=cls.NONE)


_RANKS = {verdict: rank for rank, verdict in enumerate(Verdict)}


class Blame(StrEnum):
    """Whose doing an ``inconc`` is."""

    ENVIRONMENT = "environment"
    PREAMBLE = "preamble"
    IUT = "iut"
    INTERPRETATION = "interpretation"


class Grade(StrEnum):
    """How strictly a passed requirement was met."""

    STRICT = "strict"
    NON_STRICT = "non-strict"  #: a SHOULD was missed, or another remark
    INFORMATIONAL = "informational"  #: nothing binds: an observation only


#: how the ids of the clause's own requirements begin; all others are rules of the RFCs that it rests on
CLAUSE = "DLV-"


@dataclass(frozen=True, slots=True)
class Finding:
    """One application of a requirement to one place of the evidence."""

    requirement: str
    verdict: Verdict
    reason: str
    expected: str = ""
    actual: str = ""
    frames: tuple[int, ...] = ()  #: packet numbers in the case's pcapng that prove it, the telling one first
    blame: Blame | None = None
    grade: Grade = Grade.STRICT

    @property
    def plain(self) -> bool:
        """Whether it says no more than that a rule of an RFC was kept: there are hundreds of them in a case."""
        return (
            self.verdict is Verdict.PASS
            and self.grade is Grade.STRICT
            and not self.requirement.startswith(CLAUSE)
            and not (self.expected or self.actual)
        )

    def to_json(self) -> dict[str, Any]:
        """A plain JSON object; what is as by default is left out: most findings are passes with nothing to show."""
        told: dict[str, Any] = {"requirement": self.requirement, "verdict": self.verdict, "reason": self.reason}
        for name in ("expected", "actual", "blame"):
            if value := getattr(self, name):
                told[name] = value
        if self.frames:
            told["frames"] = list(self.frames)
        if self.grade is not Grade.STRICT:
            told["grade"] = self.grade
        return told


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the trace of one case says: a verdict for each requirement of the catalogue, and for the case."""

    case: str
    verdict: Verdict
    reason: str
    blame: Blame | None
    final: bool
    findings: tuple[Finding, ...] = field(default=())

    def of(self, requirement: str) -> Verdict:
        """The worst verdict that the trace gives a requirement; ``none`` if its antecedent did not occur."""
        return Verdict.worst(finding.verdict for finding in self.findings if finding.requirement == requirement)

    @property
    def requirements(self) -> dict[str, Verdict]:
        """Each requirement that the trace touches, with its verdict."""
        found: dict[str, Verdict] = {}
        for one in self.findings:
            before = found.get(one.requirement)
            if before is None or one.verdict.rank > before.rank:
                found[one.requirement] = one.verdict
        return found

    def to_json(self) -> dict[str, Any]:
        """A plain JSON object; the rules of RFCs that were simply kept stand among ``requirements`` alone."""
        return {
            "case": self.case,
            "verdict": self.verdict,
            "reason": self.reason,
            "blame": self.blame,
            "final": self.final,
            "requirements": dict(sorted(self.requirements.items())),
            "findings": [finding.to_json() for finding in self.findings if not finding.plain],
        }
