"""The ladder of a case: its frames as arrows between the parties, each with its octets."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cpmspec.evidence import pcapng
from cpmspec.evidence.pcapng import TRACE_NAME, EvidenceError
from cpmspec.evidence.trace import Frame, Kind, Role, Trace
from cpmspec.judge.verdict import Verdict
from cpmspec.report.lines import Line, Octets, line_of, readable
from cpmspec.report.model import ORDER, CaseView

#: the columns, from left to right
COLUMNS = (Role.ORIGINATOR, Role.CORE, Role.IUT, Role.CLIENT, Role.STORE)
COLUMN_NAMES = ("Originator", "Core", "PF (IUT)", "Client", "Store")
#: octets shown of one message: enough to see any header section
MOST_OCTETS = 4096
LEAST_OCTETS = 240
#: octets shown of all messages of the passed cases together: keeps the page at a size that can be mailed
BUDGET = 6_000_000
#: rows of a passed case; the ladder of any other case is complete
_FIRST_ROWS, _LAST_ROWS = 80, 40


@dataclass(frozen=True, slots=True)
class Row:
    """One arrow. ``marks`` are the broken requirements that name this message, with their verdicts."""

    frame: Frame
    seconds: float  #: since the first frame of the case
    line: Line
    octets: Octets
    marks: tuple[tuple[str, Verdict], ...]

    @property
    def columns(self) -> tuple[int, int]:
        """Sender's and receiver's column, from 1."""
        return COLUMNS.index(self.frame.sender) + 1, COLUMNS.index(self.frame.receiver) + 1

    @property
    def ends(self) -> str:
        """Who sends to whom, in words."""
        sender, receiver = self.columns
        return f"{COLUMN_NAMES[sender - 1]} → {COLUMN_NAMES[receiver - 1]}"

    @property
    def verdict(self) -> Verdict | None:
        """The worst verdict that names this message."""
        return min((verdict for _, verdict in self.marks), key=ORDER.index, default=None)

    @property
    def is_life(self) -> bool:
        """Whether it is the opening or end of a connection, without octets."""
        return self.frame.kind is not Kind.DATA


@dataclass(frozen=True, slots=True)
class Ladder:
    """The rows of a case; ``omitted`` ones are left out before row ``omitted_at``; ``problem``: why there is none."""

    rows: tuple[Row, ...]
    trace: Trace | None
    omitted: int = 0
    omitted_at: int = 0
    problem: str = ""


def ladder_of(run_folder: Path, case: CaseView, limit: int = MOST_OCTETS) -> Ladder:
    """Read a case's evidence and lay it out; ``limit`` octets of each message are shown."""
    if not case.evidence:
        return Ladder((), None, problem="No evidence was recorded for this case.")
    try:
        trace = pcapng.read(run_folder / case.evidence)
    except EvidenceError as problem:
        return Ladder((), None, problem=f"The evidence of this case cannot be read: {problem}")
    marks: dict[int, dict[str, Verdict]] = {}
    for finding in case.broken:
        for number in finding.frames:
            marks.setdefault(number, {}).setdefault(finding.id, finding.verdict)
    frames = trace.frames
    omitted = max(0, len(frames) - _FIRST_ROWS - _LAST_ROWS) if case.verdict is Verdict.PASS and not marks else 0
    if omitted:
        frames = frames[:_FIRST_ROWS] + frames[-_LAST_ROWS:]
    start = trace.frames[0].time_us if trace.frames else 0
    rows = tuple(
        Row(
            frame=frame,
            seconds=(frame.time_us - start) / 1e6,
            line=line_of(frame),
            octets=readable(frame.octets, MOST_OCTETS if frame.number in marks else limit),
            marks=tuple(marks.get(frame.number, {}).items()),
        )
        for frame in frames
    )
    return Ladder(rows, trace, omitted, _FIRST_ROWS)


def limit_for_passed(run_folder: Path, cases: tuple[CaseView, ...]) -> int:
    """How many octets of a message may be shown in passed cases, so that the page stays within its budget."""
    packets = 0
    for case in cases:
        if case.verdict is Verdict.PASS and case.evidence:
            try:
                packets += min(pcapng.packet_count(run_folder / case.evidence / TRACE_NAME), _FIRST_ROWS + _LAST_ROWS)
            except EvidenceError:
                continue
    return max(LEAST_OCTETS, min(MOST_OCTETS, BUDGET // max(packets, 1)))
