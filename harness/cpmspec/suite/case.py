"""A case while it runs and until its trace is judged for the last time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from cpmspec.evidence.context import Context, ServedUser, Submission
from cpmspec.evidence.trace import Frame, Trace
from cpmspec.judge.verdict import Blame, Finding, Judgement, Verdict
from cpmspec.suite.spec import CaseSpec
from cpmspec.sut.profile import Profile

#: under this name a mistake of the harness itself stands among the findings
HARNESS = "HARNESS"
#: microseconds: an IUT that is told to stop refuses what is new while it finishes the rest
ENDING_US = 5_000_000


class Inconclusive(Exception):
    """A case cannot go on: ``blame`` is ``environment``, ``preamble`` or ``iut``."""

    def __init__(self, blame: str, reason: str) -> None:
        super().__init__(reason)
        self.blame = Blame(blame).value
        self.reason = reason


@dataclass(slots=True)
class CaseRun:
    """Everything that one case gathers. Frames may come from any thread's recorder; lists only grow."""

    spec: CaseSpec
    profile: Profile
    iut_hosts: tuple[str, ...] = ()
    frames: list[Frame] = field(default_factory=list)
    users: list[ServedUser] = field(default_factory=list)
    sent: list[Submission] = field(default_factory=list)
    declared: list[str] = field(default_factory=list)
    started_us: int = 0
    ended_us: int = 0
    aborted: str | None = None
    blame: str | None = None
    crash: str | None = None  #: traceback of a mistake of ours
    iut_gone_us: int | None = None
    closed_us: int | None = None
    read_late_us: int = 0  #: how late worker or lab were at most
    judgement: Judgement | None = None

    def record(self, frame: Frame) -> None:
        """Take a frame, of the worker's own actors or of the lab: connection numbers differ by process."""
        self.frames.append(frame)

    def crashed(self, trace: str) -> None:
        """The harness itself failed: the verdict is ``error``."""
        self.crash = trace
        self.aborted, self.blame = f"the harness failed: {last_line(trace)}", "harness"

    def abort(self, blame: str, reason: str) -> None:
        """Remember why the case did not reach its end; the first reason stays."""
        if self.aborted is None:
            self.aborted, self.blame = reason, blame

    def iut_vanished(self, us: int) -> None:
        """The IUT was gone at ``us``: what it refused in the moments before, it refused because it was ending."""
        self.iut_gone_us = us
        if self.blame == "preamble" and self.ended_us > us - ENDING_US:
            self.aborted, self.blame = f"{self.aborted}; the IUT was gone soon after", "iut"

    def heard(self, since_us: int = 0) -> bool:
        """Whether the IUT sent anything in this case, or in its closing."""
        return any(frame.from_iut and frame.octets and frame.time_us >= since_us for frame in self.frames)

    def context(self) -> Context:
        """The context of the trace as it stands."""
        ixit = self.profile.ixit.model_dump(mode="json")
        return Context(
            case=self.spec.id, purposes=self.spec.purposes, users=tuple(self.users), psi=self.profile.psi,
            pics=self.profile.flags, ixit=ixit, explicit=self.profile.explicit, binds=self.profile.binds,
            sent=tuple(self.sent), declared=tuple(self.declared), iut=self.iut_hosts, aborted=self.aborted,
            blame=self.blame, iut_gone_us=self.iut_gone_us, closed_us=self.closed_us,
            read_late_us=self.read_late_us,
        )  # fmt: skip

    def trace(self) -> Trace:
        """The evidence as it stands."""
        return Trace.build(self.context(), tuple(self.frames))

    def judged(self, judge: Callable[[Trace], Judgement]) -> Trace:
        """Judge the evidence as it stands; a verdict never gets better than the one before."""
        trace = self.trace()
        fresh = weighed(judge(trace), trace.context)
        if self.crash is not None:
            fresh = with_error(fresh, self.crash)
        self.judgement = never_better(self.judgement, fresh)
        return trace

    def line(self, stage: str, worker: str) -> dict[str, Any]:
        """The case's line of run.jsonl.

        :raises ValueError: it was not judged yet.
        """
        if self.judgement is None:
            raise ValueError(f"{self.spec.id} was not judged yet")
        started = datetime.fromtimestamp(self.started_us / 1e6, UTC)
        line: dict[str, Any] = {
            "stage": stage, "case": self.spec.id, "title": self.spec.title, "purpose": self.spec.purpose,
            "purposes": list(self.spec.purposes), "verdict": self.judgement.verdict.value,
            "reason": self.judgement.reason, "blame": self.judgement.blame.value if self.judgement.blame else None,
            "judgement": self.judgement.to_json(), "evidence": f"cases/{self.spec.id}",
            "started": started.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "seconds": round((self.ended_us - self.started_us) / 1e6, 3), "worker": worker,
        }  # fmt: skip
        if self.iut_gone_us is not None:
            line["iut_gone"] = True
        if self.crash is not None:
            line["error"] = self.crash
        return line


def not_run_line(spec: CaseSpec, reason: str, started: str, worker: str) -> dict[str, Any]:
    """The line of a case that does not apply to this IUT: verdict ``none``, no evidence."""
    return {
        "stage": "final", "case": spec.id, "title": spec.title, "purpose": spec.purpose,
        "purposes": list(spec.purposes), "verdict": Verdict.NONE.value, "reason": reason, "blame": None,
        "judgement": None, "evidence": None, "started": started, "seconds": 0.0, "worker": worker,
    }  # fmt: skip


def last_line(trace: str) -> str:
    """The line of a traceback that tells what happened."""
    lines = trace.strip().splitlines()
    return lines[-1] if lines else "unknown"


def with_error(judgement: Judgement, trace: str) -> Judgement:
    """The judgement of a case in which the harness itself failed: ``error``, with the traceback's last line."""
    finding = Finding(HARNESS, Verdict.ERROR, f"the harness failed: {last_line(trace)}", actual=trace)
    return replace(
        judgement, verdict=Verdict.ERROR, reason=finding.reason, blame=None, findings=(*judgement.findings, finding)
    )


def weighed(judgement: Judgement, context: Context) -> Judgement:
    """A judgement as it counts: before the closing, what a case that is not over has not shown decides nothing."""
    if context.closed_us is None and context.aborted is None:
        return not_yet(judgement, context.purposes)
    return judgement


def not_yet(judgement: Judgement, purposes: Iterable[str]) -> Judgement:
    """A judgement before the closing: what has not come about may still come, so that alone decides nothing."""
    worst = Verdict.worst(judgement.of(purpose) for purpose in purposes)
    if judgement.verdict is not Verdict.INCONC or worst.rank >= Verdict.INCONC.rank:
        return judgement
    return replace(judgement, verdict=Verdict.NONE, reason="undecided until the closing", blame=None)


def never_better(before: Judgement | None, after: Judgement) -> Judgement:
    """The later judgement, but with the earlier verdict where that was worse."""
    if before is None or after.verdict.rank >= before.verdict.rank:
        return after
    kept = tuple(
        finding
        for finding in before.findings
        if finding.verdict.rank > after.of(finding.requirement).rank and finding.verdict.rank > Verdict.PASS.rank
    )
    return replace(
        after, verdict=before.verdict, reason=before.reason, blame=before.blame, findings=(*after.findings, *kept)
    )
