"""Facts about the MSRP connections of a capture, found by our own reader."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import pairwise

from captures import Tree
from cpmspec.evidence.reassembly import Capture, Stream
from cpmspec.protocol.ranges import Ranges
from cpmspec.wire.headers import decode
from cpmspec.wire.msrp import MsrpFrame, MsrpFrameStream, Unreadable

#: characters that an identifier must have to hold 64 bits: an ``ident`` has 67 different ones, some 6.07 bits each
_SHORTEST_TRANSACTION_ID = 11
# lines of a body that look like an end-line or a start-line
_LOOKALIKE = re.compile(rb"^(-{7}[^\s$+#]+[$+#]|MSRP \S+ [A-Z]+)\r$", re.MULTILINE)


@dataclass(frozen=True)
class Spoken:
    """One direction of an MSRP connection: its frames in order, and the octets that belong to none.

    ``before_start`` has, by the offset of a run, the octets in front of its first start-line; only a run that begins
    where octets are missing can have them. A frame that was cut off has the flag ``""``.
    """

    stream: Stream
    frames: tuple[MsrpFrame, ...]
    before_start: dict[int, int]
    unread: tuple[Unreadable, ...]

    @property
    def name(self) -> str:
        """As the facts name a direction: source and destination port."""
        return f"{self.stream.source.port}>{self.stream.destination.port}"

    @property
    def sends(self) -> list[MsrpFrame]:
        """Its SENDs, cut ones too."""
        return [frame for frame in self.frames if frame.method == "SEND"]

    @property
    def whole(self) -> list[MsrpFrame]:
        """Its whole frames."""
        return [frame for frame in self.frames if frame.flag]

    @property
    def reports(self) -> list[MsrpFrame]:
        """Its REPORTs."""
        return [frame for frame in self.whole if frame.method == "REPORT"]


def spoken(stream: Stream) -> Spoken:
    """Read one direction, run by run."""
    frames: list[MsrpFrame] = []
    before_start: dict[int, int] = {}
    unread: list[Unreadable] = []
    for run in stream.runs:
        begun = stream.syn and run.offset == 0
        reader = MsrpFrameStream(resuming=not begun)
        for one in (*reader.feed(run.octets), *reader.close()):
            if isinstance(one, MsrpFrame):
                begun = True
                frames.append(one)
            elif begun:
                unread.append(one)
            else:
                before_start[run.offset] = before_start.get(run.offset, 0) + len(one.octets)
    return Spoken(stream, tuple(frames), before_start, tuple(unread))


def messages(sends: Iterable[MsrpFrame]) -> dict[str, list[MsrpFrame]]:
    """SENDs by Message-ID, in the order of their first."""
    found: dict[str, list[MsrpFrame]] = {}
    for frame in sends:
        found.setdefault(frame.message_id or "", []).append(frame)
    return found


def start_of(frame: MsrpFrame) -> int:
    """The number of the first octet of a SEND, from 1."""
    return 1 if frame.byte_range is None else frame.byte_range.start


def present(frames: Iterable[MsrpFrame]) -> tuple[list[list[int]], int | None]:
    """Which octets of a message are there, from 1, and how many it has if its last chunk is there."""
    ranges, total = Ranges(), None
    for frame in frames:
        end = start_of(frame) - 1 + len(frame.body or b"")
        ranges.add(start_of(frame) - 1, end)
        if frame.flag == "$":
            total = end
    return [[first + 1, last] for first, last in ranges.spans], total


def missing(ranges: Ranges, total: int) -> list[list[int]]:
    """The octets from 1 to ``total`` that are not in ``ranges``, first and last of each stretch."""
    spans = [(0, 0), *ranges.spans, (total, total)]
    return [[left[1] + 1, right[0]] for left, right in pairwise(spans) if left[1] < right[0]]


def joined(frames: Iterable[MsrpFrame]) -> bytes:
    """The bodies of a message's SENDs in the order of their places."""
    return b"".join(frame.body or b"" for frame in sorted(frames, key=start_of))


def msrp_facts(held: Capture) -> Tree:
    """The facts of a capture file with MSRP in it."""
    directions = [spoken(stream) for stream in held.streams]
    return {
        "direction": {one.name: _direction(one, directions) for one in directions},
        "happens": _story(directions),
    }


def _direction(one: Spoken, everybody: Sequence[Spoken]) -> Tree:
    stream = one.stream
    return {
        "octets": sum(len(run.octets) for run in stream.runs),
        "segments": stream.segments,
        "syn": stream.syn,
        "fin": stream.fin,
        "requests": dict(Counter(frame.method for frame in one.whole if frame.method)),
        "flags": dict(Counter(frame.flag for frame in one.whole if frame.method == "SEND")),
        "responses": dict(Counter(str(frame.status) for frame in one.whole if frame.status)),
        "statuses": dict(Counter(frame.headers.get("Status") or "" for frame in one.reports)),
        "gaps": [[gap.offset, gap.length] for gap in stream.gaps],
        "before_start": {str(offset): octets for offset, octets in one.before_start.items()},
        "message": {message_id: _message(frames) for message_id, frames in messages(one.sends).items()},
        "violation": [*_told_by_the_reader(one), *_short_identifiers(one), *_unreported(one, everybody)],
    }


def _message(frames: Sequence[MsrpFrame]) -> Tree:
    """One message, from all its SENDs."""
    first, octets = frames[0], joined(frames)
    facts: Tree = {
        "sends": sum(bool(frame.flag) for frame in frames),
        "octets": len(octets),
        "byte_range": first.headers.get("Byte-Range"),
    }
    if all(frame.body is None for frame in frames):
        return facts | {"bind": True}
    there, total = present(frames)
    facts |= {"type": first.content_type, "sha256": sha256(octets).hexdigest(), "complete": there == [[1, total]]}
    if not facts["complete"]:
        facts |= {"present": there, "total": first.byte_range.total if first.byte_range else None}
    return facts


# --- violations ------------------------------------------------------------------------------------------------------


def _told_by_the_reader(one: Spoken) -> list[dict[str, str]]:
    found = [(frame.transaction_id, wrong) for frame in one.frames for wrong in frame.violations]
    found += [(f"{len(unread.octets)} octets", wrong) for unread in one.unread for wrong in unread.violations]
    return [{"clause": wrong.id, "found": f"{where}: {wrong.found}"} for where, wrong in found]


def _short_identifiers(one: Spoken) -> list[dict[str, str]]:
    """RFC 4975 7.1: a transaction identifier has 64 bits of randomness, which a short one cannot hold."""
    requests = Counter((frame.method, len(frame.transaction_id)) for frame in one.whole if frame.method)
    return [
        {"clause": "RFC 4975 7.1", "found": f"{count} {method} with a transaction identifier of {length} characters"}
        for (method, length), count in requests.items()
        if length < _SHORTEST_TRANSACTION_ID
    ]


def _unreported(one: Spoken, everybody: Sequence[Spoken]) -> list[dict[str, str]]:
    """RFC 4975 7.1.3: success REPORTs together cover every octet of a message that came whole."""
    wrong = []
    for message_id, reports in messages(one.reports).items():
        sends = [frame for other in everybody for frame in other.sends if frame.message_id == message_id]
        there, total = present(sends)
        covered = Ranges()
        for report in reports:
            if report.byte_range is not None and report.byte_range.end is not None:
                covered.add(report.byte_range.start - 1, report.byte_range.end)
        left = ", ".join(f"{first}-{last}" for first, last in missing(covered, total or 0))
        if left and there == [[1, total]]:
            found = f"octets {left} of message {message_id} in no success REPORT"
            wrong.append({"clause": "RFC 4975 7.1.3", "found": found})
    return wrong


# --- what is told in prose -------------------------------------------------------------------------------------------


def _story(directions: Sequence[Spoken]) -> Tree:
    sends = [frame for one in directions for frame in one.sends if frame.body is not None]
    reports = [frame for one in directions for frame in one.reports]
    answers = {frame.transaction_id: frame.status for one in directions for frame in one.whole if frame.status}
    ends = {frame.byte_range.end for frame in sends if frame.byte_range}
    bodies = [frame.body or b"" for frame in sends]
    marks = b"".join(bodies).decode("utf-8", "replace")
    alike = set.intersection(*(set(_LOOKALIKE.findall(body)) for body in bodies)) if bodies else set()
    return {
        "chunk": _only({len(frame.body or b"") for frame in sends if frame.flag == "+"}),
        "range_end": "*" if ends == {None} else "exact" if None not in ends else "either",
        "success_report": _only({frame.success_report for frame in sends}),
        "reports": _reported(sends, reports),
        "report_ranges": [report.headers.get("Byte-Range") for report in reports],
        "characters": sorted({len(mark.encode()) for mark in set(marks)} - {1}),
        "lookalikes": sorted(decode(line) for line in alike),
        "refused": {
            frame.content_type or "": answers[frame.transaction_id]
            for frame in sends
            if answers.get(frame.transaction_id, 200) != 200
        },
        "ends_between_chunks": [one.frames[-1].flag for one in directions if one.sends] == ["+"],
    }


def _only(values: set[int] | set[str | None]) -> int | str | None:
    """The value if there is but one."""
    return next(iter(values)) if len(values) == 1 else None


def _reported(sends: Sequence[MsrpFrame], reports: Sequence[MsrpFrame]) -> str | None:
    """How REPORTs go with SENDs, if there are some of both."""
    chunks = [(one.message_id, start_of(one), start_of(one) - 1 + len(one.body or b"")) for one in sends]
    told = [(one.message_id, one.byte_range.start, one.byte_range.end) for one in reports if one.byte_range]
    if told == chunks:
        return "each chunk"
    return "whole message" if [[list(span) for _, *span in told]] == [present(sends)[0]] else None
