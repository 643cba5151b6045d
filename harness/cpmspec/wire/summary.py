"""``application/simple-message-summary``: how many messages wait, and which (RFC 3842 5.2)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cpmspec.wire.headers import Header, Headers
from cpmspec.wire.section import Defect, Fault, parse_section, shown
from cpmspec.wire.violation import Violation

MEDIA_TYPE = "application/simple-message-summary"

#: message blocks that are read; more is reported: a SIP body has no room for many
MAX_MESSAGES = 10_000

# msg-summary-line = message-context-class HCOLON newmsgs SLASH oldmsgs [LPAREN urgent SLASH urgent RPAREN]
_COUNT = re.compile(
    r"([0-9]{1,18})[ \t]*/[ \t]*([0-9]{1,18})(?:[ \t]*\([ \t]*([0-9]{1,18})[ \t]*/[ \t]*([0-9]{1,18})[ \t]*\))?"
)

# RFC 3458 6.2 and its registry: message-context-class
_CLASSES = frozenset({"voice-message", "fax-message", "pager-message", "multimedia-message", "text-message", "none"})

_FAULTS = {
    Fault.LINE_END: ("01", "CRLF"),
    Fault.UNTERMINATED: ("02", "CRLF at the end of the last line"),
    Fault.NO_COLON: ("03", "a header name, a colon and a value"),
    Fault.NAME: ("04", "a header name that is a token"),
    Fault.CONTROL: ("05", "no CR or NUL inside a line"),
}


@dataclass(frozen=True, slots=True)
class Count:
    """How many messages of a context class are new and old; the urgent ones among them if told."""

    name: str
    new: int
    old: int
    urgent_new: int | None = None
    urgent_old: int | None = None

    def __str__(self) -> str:
        urgent = "" if self.urgent_new is None else f" ({self.urgent_new}/{self.urgent_old or 0})"
        return f"{self.name}: {self.new}/{self.old}{urgent}"


@dataclass(frozen=True, slots=True)
class Summary:
    """A message summary: the status line, counts by class, and a header block for each message."""

    waiting: bool | None  #: ``None``: the status line is missing or says neither yes nor no
    account: str | None
    counts: tuple[Count, ...]
    messages: tuple[Headers, ...]
    violations: tuple[Violation, ...] = ()
    raw: bytes = b""

    def octets(self) -> bytes:
        """The octets as received."""
        return self.raw

    def count(self, name: str) -> Count | None:
        """The first count of a class, in any case of letters, or ``None``."""
        return next((count for count in self.counts if count.name.lower() == name.lower()), None)


# messages-summary = msg-status-line CRLF [msg-account CRLF] [*(msg-summary-line CRLF)] *opt-msg-headers
# opt-msg-headers  = CRLF 1*(extension-header CRLF)
def parse_summary(octets: bytes) -> Summary:
    """Read a message summary."""
    section = parse_section(octets)
    violations = _defects(section.defects, octets)
    waiting, account, counts = _status(section.headers, violations)
    messages: list[Headers] = []
    position = section.end
    while position < len(octets) and len(messages) < MAX_MESSAGES:
        block = parse_section(octets, position, Header)
        violations += _defects(block.defects, octets)
        if block.headers:
            messages.append(block.headers)
        position = block.end
    if position < len(octets):
        violations.append(_violation("06", position, f"more than {MAX_MESSAGES} messages", "fewer"))
    return Summary(waiting, account, tuple(counts), tuple(messages), tuple(violations), octets)


def build_summary(
    counts: Iterable[Count | tuple[str, int, int]],
    messages: Sequence[Sequence[tuple[str, str]]],
    account: str | None = None,
) -> bytes:
    """Build a message summary; messages wait if any count of new ones is above 0.

    :raises ValueError: a CR, LF or NUL in a value, a negative count.
    """
    read = [count if isinstance(count, Count) else Count(*count) for count in counts]
    if any(count.new < 0 or count.old < 0 for count in read):
        raise ValueError(f"a negative count in {read!r}")
    lines = [Header.make("Messages-Waiting", "yes" if any(count.new for count in read) else "no")]
    if account is not None:
        lines.append(Header.make("Message-Account", account))
    lines += [Header.make(count.name, str(count).partition(": ")[2]) for count in read]
    blocks = [Headers(lines), *(Headers.of(*message) for message in messages if message)]
    return b"\r\n".join(block.octets() for block in blocks)


def _status(headers: Headers, violations: list[Violation]) -> tuple[bool | None, str | None, list[Count]]:
    """The first block: status line, account, counts."""
    waiting: bool | None = None
    account: str | None = None
    counts: list[Count] = []
    offset = 0
    if not headers or headers[0].key != "messages-waiting":
        violations.append(_violation("07", 0, "another line", "Messages-Waiting first"))
    for header in headers:
        if header.key == "messages-waiting":
            waiting = {"yes": True, "no": False}.get(header.value.lower())
            if waiting is None:
                violations.append(_violation("08", offset, shown(header.value), "yes or no"))
        elif header.key == "message-account":
            account = header.value
        elif (match := _COUNT.fullmatch(header.value)) is not None:
            urgent = (int(match[3]), int(match[4])) if match[3] else (None, None)
            counts.append(Count(header.name, int(match[1]), int(match[2]), *urgent))
        elif header.key in _CLASSES:
            violations.append(_violation("09", offset, shown(header.value), "new/old"))
        offset += len(header.raw)
    return waiting, account, counts


def _defects(defects: Iterable[Defect], octets: bytes) -> list[Violation]:
    """Defects as violations; the end of the octets after a whole line is the end of the summary, and no defect."""
    ended = octets.endswith(b"\n")
    violations: list[Violation] = []
    for defect in defects:
        if defect.fault is not Fault.UNTERMINATED or not ended:
            rule, expected = _FAULTS[defect.fault]
            violations.append(_violation(rule, defect.offset, defect.found, expected))
    return violations


def _violation(rule: str, offset: int, found: str, expected: str) -> Violation:
    return Violation(f"NTF-3842-5.2-{rule}", offset, found, expected)
