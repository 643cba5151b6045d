"""``application/simple-message-summary``: how many messages wait, and which (RFC 3842 5.2).

=================== ======================================================================================
NTF-3842-5.2-01     a line ends with CRLF
NTF-3842-5.2-02     so does the last one
NTF-3842-5.2-03     a line is a header
NTF-3842-5.2-04     the form of a header name
NTF-3842-5.2-05     no CR or NUL inside a line
NTF-3842-5.2-07     Messages-Waiting comes first
NTF-3842-5.2-08     it says yes or no
NTF-3842-5.2-09     the form of a count
NTF-3842-5.2-10     Message-Account is a URI
NTF-3842-5.2-11     nothing but Messages-Waiting, Message-Account and counts before the first empty line
NTF-3842-5.2-12     Messages-Waiting and Message-Account stand once
NTF-3842-5.2-13     Message-Account stands before the counts
NTF-3842-5.2-14     a count is below 2 to the power of 32
NTF-3842-5.2-15     headers after each empty line
NTF-3842-5.2-16     the urgent messages are among those that are counted (an interpretation)
NTF-LIMIT-01, -02   limits of ours: messages that are listed; octets
=================== ======================================================================================
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from cpmspec.wire.headers import Header, Headers
from cpmspec.wire.section import TOKEN, Fault, Section, parse_section, shown
from cpmspec.wire.violation import Violation

MEDIA_TYPE: Final = "application/simple-message-summary"

MAX_MESSAGES: Final = 10_000  #: message blocks that are read: a SIP body has no room for many
MAX_SUMMARY: Final = 262_144  #: octets that are read: a notification is one SIP message
MAX_COUNT: Final = 2**32 - 1

# msg-summary-line = message-context-class HCOLON newmsgs SLASH oldmsgs [LPAREN urgent SLASH urgent RPAREN]
_NUMBER = r"[ \t]*([0-9]{1,100})[ \t]*"  # 1*DIGIT; far fewer digits than Python refuses
_COUNT = re.compile(rf"{_NUMBER}/{_NUMBER}(?:\({_NUMBER}/{_NUMBER}\))?")
# Account-URI = SIP-URI / SIPS-URI / absoluteURI
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:[!-~]+")

_EMPTY_LINES = re.compile(rb"(?:\r?\n)+")
_BARE_LF = re.compile(rb"(?<!\r)\n")
_BLOCK_END = re.compile(rb"(?:\A|\n)\r?\n")

# RFC 3458 6.2 and its registry: message-context-class
_CLASSES = frozenset({
    "voice-message", "video-message", "fax-message", "pager-message", "multimedia-message", "text-message", "none",
})  # fmt: skip

_FAULTS = {
    Fault.LINE_END: ("NTF-3842-5.2-01", "CRLF"),
    Fault.UNTERMINATED: ("NTF-3842-5.2-02", "CRLF at the end of the last line"),
    Fault.NO_COLON: ("NTF-3842-5.2-03", "a header name, a colon and a value"),
    Fault.NAME: ("NTF-3842-5.2-04", "a header name that is a token"),
    Fault.CONTROL: ("NTF-3842-5.2-05", "no CR or NUL inside a line"),
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
    if len(octets) > MAX_SUMMARY:
        found = Violation("NTF-LIMIT-02", MAX_SUMMARY, f"{len(octets)} octets", f"at most {MAX_SUMMARY}")
        return Summary(None, None, (), (), (found,), octets)
    violations: list[Violation] = []
    section = _block(octets, 0, violations)
    status = _Status(violations)
    status.read(section.headers)
    messages: list[Headers] = []
    position = section.end
    while position < len(octets) and len(messages) < MAX_MESSAGES:
        if (empty := _EMPTY_LINES.match(octets, position)) is not None:
            if (bare := _BARE_LF.search(empty[0])) is not None:
                violations.append(Violation("NTF-3842-5.2-01", position + bare.start(), "LF", "CRLF"))
            if empty.end() < len(octets):
                violations.append(Violation("NTF-3842-5.2-15", position, "an empty line", "headers"))
            position = empty.end()
        else:
            block = _block(octets, position, violations)
            messages.append(block.headers)
            position += block.end
    if position < len(octets):
        violations.append(Violation("NTF-LIMIT-01", position, f"more than {MAX_MESSAGES} messages", "fewer"))
    violations.sort(key=lambda violation: violation.offset)
    return Summary(status.waiting, status.account, tuple(status.counts), tuple(messages), tuple(violations), octets)


def build_summary(
    counts: Iterable[Count | tuple[str, int, int]],
    messages: Sequence[Sequence[tuple[str, str]]],
    account: str | None = None,
) -> bytes:
    """Build a message summary; messages wait if any count of new ones is above 0.

    :raises ValueError: a CR, LF or NUL in a value, a count that is negative or too large, the name of one that is no
        token, an account that is no URI.
    """
    read = [count if isinstance(count, Count) else Count(*count) for count in counts]
    for count in read:
        numbers = (count.new, count.old, count.urgent_new or 0, count.urgent_old or 0)
        if any(number < 0 for number in numbers) or any(number > MAX_COUNT for number in numbers):
            raise ValueError(f"a negative count, or one above {MAX_COUNT}, in {count!r}")
        if TOKEN.fullmatch(count.name) is None:
            raise ValueError(f"{count.name!r} is no token")
    lines = [("Messages-Waiting", "yes" if any(count.new for count in read) else "no")]
    if account is not None:
        if _URI.fullmatch(account) is None:
            raise ValueError(f"the account {account!r} is no URI")
        lines.append(("Message-Account", account))
    lines += [(count.name, str(count).partition(": ")[2]) for count in read]
    return build_unchecked([Headers.of(*lines), *(Headers.of(*message) for message in messages if message)])


def build_unchecked(blocks: Iterable[Headers]) -> bytes:
    """A message summary with anything wrong on purpose: the status block, then one for each message."""
    return b"\r\n".join(block.octets() for block in blocks)


class _Status:
    """The first block: status line, account, counts."""

    def __init__(self, violations: list[Violation]) -> None:
        self.waiting: bool | None = None
        self.account: str | None = None
        self.counts: list[Count] = []
        self._seen: set[str] = set()
        self._offset = 0
        self._violations = violations

    def read(self, headers: Headers) -> None:
        if not headers or headers[0].key != "messages-waiting":
            self._wrong("NTF-3842-5.2-07", "another line", "Messages-Waiting first")
        for header in headers:
            if header.key in ("messages-waiting", "message-account"):
                self._once(header)
            elif (match := _COUNT.fullmatch(header.value)) is not None:
                self._count(header.name, [None if digits is None else int(digits) for digits in match.groups()])
            elif header.key in _CLASSES:
                self._wrong("NTF-3842-5.2-09", shown(header.value), "new/old, or new/old (urgent new/urgent old)")
            elif header.name:
                self._wrong("NTF-3842-5.2-11", shown(header.name), "a count, or an empty line before")
            self._offset += len(header.raw)

    def _once(self, header: Header) -> None:
        if header.key in self._seen:
            self._wrong("NTF-3842-5.2-12", f"{header.name} again", "once")
            return
        self._seen.add(header.key)
        if header.key == "message-account":
            self.account = header.value
            if _URI.fullmatch(header.value) is None:
                self._wrong("NTF-3842-5.2-10", shown(header.value), "a URI")
            if self.counts:
                self._wrong("NTF-3842-5.2-13", "Message-Account after a count", "before the counts")
            return
        self.waiting = {"yes": True, "no": False}.get(header.value.lower())
        if self.waiting is None:
            self._wrong("NTF-3842-5.2-08", shown(header.value), "yes or no")

    def _count(self, name: str, numbers: Sequence[int | None]) -> None:
        new, old = numbers[0] or 0, numbers[1] or 0
        count = Count(name, new, old, numbers[2], numbers[3])
        self.counts.append(count)
        if max(new, old, count.urgent_new or 0, count.urgent_old or 0) > MAX_COUNT:
            self._wrong("NTF-3842-5.2-14", str(count), f"at most {MAX_COUNT}")
        if (count.urgent_new or 0) > new or (count.urgent_old or 0) > old:
            self._wrong("NTF-3842-5.2-16", str(count), "no more urgent ones than there are")

    def _wrong(self, rule: str, found: str, expected: str) -> None:
        self._violations.append(Violation(rule, self._offset, found, expected))


def _block(octets: bytes, position: int, violations: list[Violation]) -> Section:
    """The headers up to the next empty line; only they are searched, however much comes after them.

    The end of the octets after a whole line is the end of the summary, and no defect.
    """
    found = _BLOCK_END.search(octets, position)
    piece = octets[position : len(octets) if found is None else found.end()]
    section = parse_section(piece, 0, Header)
    for defect in section.defects:
        if defect.fault is not Fault.UNTERMINATED or not piece.endswith(b"\n"):
            rule, expected = _FAULTS[defect.fault]
            violations.append(Violation(rule, position + defect.offset, defect.found, expected))
    return section
