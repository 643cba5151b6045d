"""Rules about what the PF says to the message store: commands (RFC 3501) and the objects in them (RFC 5322)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from cpmspec.evidence.trace import Kind, Pco
from cpmspec.judge.checks.common import Check, broken, met
from cpmspec.judge.checks.places import summed
from cpmspec.judge.facts import Facts
from cpmspec.judge.octets import StoreCommand
from cpmspec.judge.records import Record
from cpmspec.judge.verdict import Finding, Grade
from cpmspec.wire.headers import decode
from cpmspec.wire.imap import MAX_LINE, decode_mailbox, encode_mailbox
from cpmspec.wire.uri import aor, parse_name_addr

# literal = "{" number "}" CRLF *CHAR8 ; RFC 7888 4: "+" ; RFC 3516 4.4: "~" before it, and then NUL is legal
_LITERAL = re.compile(rb"(~?)\{([0-9]{1,9})\+?\}\r?\n")
#: what may follow a literal: the next argument, the end of a list, the end of the command
_AFTER_LITERAL = (b" ", b")", b"\r\n", b"\n")
#: commands with the names of mailboxes as their arguments, and how many (RFC 3501 6.3)
_MAILBOXES = {
    "SELECT": 1, "EXAMINE": 1, "CREATE": 1, "DELETE": 1, "RENAME": 2, "SUBSCRIBE": 1, "UNSUBSCRIBE": 1, "STATUS": 1,
    "APPEND": 1,
}  # fmt: skip
#: commands after which the client's lines are none: an exchange of credentials, waiting (RFC 2177), encryption
_OVERSIZE = "a literal above the limit"
_OTHER_LINES = frozenset({"AUTHENTICATE", "IDLE", "STARTTLS", "COMPRESS", _OVERSIZE})
# quoted = DQUOTE *QUOTED-CHAR DQUOTE ; a quote that is left over has lost its other end
_QUOTED = re.compile(rb'"(?:[^"\\\r\n]|\\.)*"')
#: octets of a line of a message without its CRLF (RFC 5322 2.1.1)
LINE_LIMIT = 998
# field-name ":" ; or a line that continues one (RFC 5322 2.2, 2.2.3)
_FIELD = re.compile(rb"[!-9;-~]+[ \t]*:.*|[ \t].*", re.DOTALL)
_FROM = re.compile(rb"(?:\A|\r\n)from[ \t]*:(.*?)\r\n(?![ \t])", re.IGNORECASE | re.DOTALL)
_ALONE = re.compile(rb"\r(?!\n)|(?<!\r)\n")


@dataclass(frozen=True, slots=True)
class _Piece:
    """Text outside of literals, or a literal; ``binary`` is one in which NUL may stand."""

    octets: bytes
    literal: bool = False
    binary: bool = False


def _pieces(raw: bytes) -> list[_Piece]:
    """A command's text and literals in order, as their counts tell them apart."""
    pieces, position = list[_Piece](), 0
    while (found := _LITERAL.search(raw, position)) is not None:
        end = found.end() + int(found[2])
        pieces.append(_Piece(raw[position : found.end()]))
        pieces.append(_Piece(raw[found.end() : end], literal=True, binary=bool(found[1])))
        position = end
    return [*pieces, _Piece(raw[position:])]


def _judged(facts: Facts) -> Iterator[StoreCommand]:
    """The commands, and lines that are none, but for those that are so by right or are more than this suite reads."""
    last: dict[int, str] = {}
    for one in facts.commands:
        connection, command = one.first.connection, one.command
        if command.name:
            last[connection] = command.name
            yield one
            continue
        pieces = _pieces(command.raw)
        if len(pieces) > 1:
            last[connection] = _OVERSIZE  # what follows is the rest of it, in pieces
        if connection not in last and _begun_before(facts, connection):
            last[connection] = "IDLE"  # perhaps, or in the middle of a command
        within = last.get(connection, "") in _OTHER_LINES
        if not within and command.raw.strip() and len(command.raw) < MAX_LINE:
            yield one


def _begun_before(facts: Facts, connection: int) -> bool:
    """Whether a connection was there before the trace: what was agreed on, or begun, on it is not known.

    Its opening is then written down with the time of the first octets.
    """
    frames = [frame for frame in facts.trace.frames if frame.pco is Pco.STORE and frame.connection == connection]
    first = min((frame.time_us for frame in frames if frame.kind is Kind.DATA), default=0)
    return any(frame.kind is Kind.OPEN and frame.time_us >= first for frame in frames)


def _utf8(facts: Facts, one: StoreCommand) -> bool:
    """Whether the connection had asked for UTF-8 in names and quoted strings (RFC 6855 3, RFC 9051 6.3.1)."""
    return _begun_before(facts, one.first.connection) or any(
        other.command.name == "ENABLE"
        and other.first.connection == one.first.connection
        and other.first.number < one.first.number
        and any(argument.upper().startswith((b"UTF8=", b"IMAP4REV2")) for argument in other.command.arguments)
        for other in facts.commands
    )


def every_line_a_command(facts: Facts) -> Iterator[Finding]:
    """HIS-3501-2.2.1-01: whatever the PF says to the store is a command: a tag, a name, arguments."""
    rule = "HIS-3501-2.2.1-01"
    for one in _judged(facts):
        if one.command.name:
            yield met(rule, f"{one.command.name} is a command", one.first.number)
        else:
            reason = "a line to the message store is no command"
            actual = decode(one.command.raw[:60]).strip()
            yield broken(rule, reason, one.first.number, expected="a tag and a command", actual=actual)


def literals_counted(facts: Facts) -> Iterator[Finding]:
    """HIS-3501-4.3-01, HIS-3501-9-01: a literal has the octets that it was announced with, and no NUL."""
    for one in _judged(facts):
        pieces = _pieces(one.command.raw)
        for literal, after in zip(pieces[1::2], pieces[2::2], strict=True):
            if not after.octets:
                continue  # the command was cut off, or refused before the literal
            if after.octets.startswith(_AFTER_LITERAL):
                yield met("HIS-3501-4.3-01", f"a literal of {len(literal.octets)} octets", one.first.number)
            else:
                reason = "a literal does not end where its count says"
                actual = f"{decode(after.octets[:40])!r} behind it"
                expected = f"the next argument or the end after {len(literal.octets)} octets"
                yield broken("HIS-3501-4.3-01", reason, one.first.number, expected=expected, actual=actual)
            if b"\0" in literal.octets and not literal.binary:
                reason = "a literal holds a NUL"
                actual = f"a NUL at octet {literal.octets.index(0)}"
                yield broken("HIS-3501-9-01", reason, one.first.number, expected="no NUL", actual=actual)
            else:
                yield met("HIS-3501-9-01", "no NUL in the literal", one.first.number)


def commands_written(facts: Facts) -> Iterator[Finding]:
    """HIS-3501-9-02, HIS-3501-2.2-01: outside of literals a command is US-ASCII without control characters, and CRLF.

    Names and passwords in quoted strings are 7-bit; what is not has to be a literal.
    """
    for one in _judged(facts):
        texts = [piece.octets for piece in _pieces(one.command.raw) if not piece.literal]
        strange = {octet for text in texts for octet in text.rstrip(b"\r\n") if octet in b"\0\r\n"}
        strange |= {octet for text in texts for octet in _QUOTED.sub(b"", text) if octet in b'"'}
        if not _utf8(facts, one):
            strange |= {octet for text in texts for octet in text if octet > 127}
        if strange:
            reason = "a command holds octets that only a literal may hold"
            actual = ", ".join(f"{octet:#04x}" for octet in sorted(strange))
            yield broken("HIS-3501-9-02", reason, one.first.number, expected="US-ASCII", actual=actual)
        else:
            yield met("HIS-3501-9-02", "nothing but US-ASCII outside of literals", one.first.number)
        if any(text.endswith(b"\n") and not text.endswith(b"\r\n") for text in texts):
            reason = "a line to the message store ends in LF alone"
            yield broken("HIS-3501-2.2-01", reason, one.first.number, expected="CRLF", actual="LF")
        else:
            yield met("HIS-3501-2.2-01", "lines end in CRLF", one.first.number)


def mailboxes_named(facts: Facts) -> Iterator[Finding]:
    """HIS-3501-5.1.3-01: the names of mailboxes are in modified UTF-7, and in its one form.

    A name that the store itself had said is repeated as it is.
    """
    rule = "HIS-3501-5.1.3-01"
    for one in _judged(facts):
        if _utf8(facts, one):
            continue
        for name in one.command.arguments[: _MAILBOXES.get(one.command.name, 0)]:
            right = encode_mailbox(decode_mailbox(name))
            if right == name or _told_by_store(facts, name, one.first.number):
                yield met(rule, f"{decode_mailbox(name)!r}", one.first.number)
            else:
                reason = "the name of a mailbox is not in modified UTF-7"
                frame = one.first.number
                yield broken(rule, reason, frame, expected=f"such as {decode(right)}", actual=f"{decode(name)!r}")


def _told_by_store(facts: Facts, name: bytes, before: int) -> bool:
    """Whether the store had said that name of a mailbox, in a LIST perhaps (RFC 3501 7.2.2)."""
    return any(
        name in frame.octets
        for frame in facts.trace.frames
        if frame.pco is Pco.STORE and not frame.from_iut and frame.number < before
    )


def _objects(facts: Facts) -> Iterator[Record]:
    """The objects that were written whole and in one piece."""
    for record in facts.records:
        if b"CATENATE" not in record.command.command.arguments and record.octets and not _cut(facts, record):
            yield record


def _cut(facts: Facts, record: Record) -> bool:
    """Whether the command was not finished: refused before its literal, or its connection was broken off."""
    command = record.command
    broken_off = command.answer is None and any(
        frame.pco is Pco.STORE and frame.connection == command.first.connection and frame.kind is Kind.RESET
        for frame in facts.trace.frames
    )
    return broken_off or not _pieces(command.command.raw)[-1].octets


def objects_are_messages(facts: Facts) -> Iterator[Finding]:
    """HIS-5322-2.2-01, HIS-5322-3.6-01: an object is header fields and a body, with one From and one Date.

    RFC 3501 6.3.11 only recommends that form, so that a deviation is a remark.
    """
    for record in _objects(facts):
        head = record.octets.partition(b"\r\n\r\n")[0]
        wrong = [line for line in head.split(b"\r\n") if line and _FIELD.fullmatch(line) is None]
        if wrong:
            reason, actual = "a line of the object's head is no header field", f"{decode(wrong[0][:60])!r}"
            yield broken("HIS-5322-2.2-01", reason, record.frame, expected="a name and a colon", actual=actual)
        else:
            yield met("HIS-5322-2.2-01", "its head consists of header fields", record.frame)
        names = [
            line.partition(b":")[0].strip().lower() for line in head.split(b"\r\n") if line[:1] not in (b" ", b"\t")
        ]
        counts = {name: names.count(name.lower().encode()) for name in ("From", "Date")}
        if all(count == 1 for count in counts.values()):
            yield met("HIS-5322-3.6-01", "one From and one Date", record.frame)
        else:
            actual = ", ".join(f"{count} {name}" for name, count in counts.items())
            reason = "the object does not say once from whom and when"
            yield broken("HIS-5322-3.6-01", reason, record.frame, expected="one From, one Date", actual=actual)


def objects_in_lines(facts: Facts) -> Iterator[Finding]:
    """HIS-5322-2.3-01, HIS-5322-2.1.1-01: CR and LF only together, and at most 998 octets between them.

    RFC 3501 6.3.11 only recommends that form, so that a deviation is a remark.
    """
    for record in _objects(facts):
        alone = _ALONE.search(record.octets)
        if alone is not None:
            actual = f"{alone[0]!r} at octet {alone.start()}"
            reason = "a CR or LF stands alone in the object"
            yield broken("HIS-5322-2.3-01", reason, record.frame, expected="CRLF", actual=actual)
        else:
            yield met("HIS-5322-2.3-01", "CR and LF stand together", record.frame)
        longest = max(len(line) for line in record.octets.split(b"\r\n"))
        if longest > LINE_LIMIT:
            reason, expected = "a line of the object is too long", f"at most {LINE_LIMIT} octets"
            yield broken("HIS-5322-2.1.1-01", reason, record.frame, expected=expected, actual=f"{longest} octets")
        else:
            yield met("HIS-5322-2.1.1-01", f"no line above {longest} octets", record.frame)


def folder_of_the_conversation(facts: Facts) -> Iterator[Finding]:
    """HIS-CPM-8.6-01: in which folder an object lies is only stated, since any store will do (interpretation)."""
    for record in facts.records:
        folder = decode_mailbox(record.mailbox)
        for one in record.matched:
            named = one.request.headers.get("Conversation-ID") or one.request.headers.get("Contribution-ID")
            by = "named after its conversation" if named and named in folder else "not named after its conversation"
            yield met("HIS-CPM-8.6-01", f"{one.name} lies in a folder {by}", record.frame, grade=Grade.INFORMATIONAL)


def recorded_in_the_asserted_name(facts: Facts) -> Iterator[Finding]:
    """HIS-CPM-8.6-02: an object names the sender whom the core asserted, where From is another (interpretation).

    Not judged where the sender keeps his identity private.
    """
    rule = "HIS-CPM-8.6-02"
    for record in _objects(facts):
        requests = [one.request for one in record.matched]
        asserted = {aor(str(one.uri)) for request in requests for one in request.p_asserted_identity}
        claimed = {aor(str(request.from_.uri)) for request in requests if request.from_ is not None}
        private = any(request.headers.get("Privacy") is not None for request in requests)
        if len(requests) != 1 or not asserted or claimed <= asserted or private:
            continue
        fields = _FROM.search(record.octets.partition(b"\r\n\r\n")[0] + b"\r\n")
        if fields is None:
            continue
        told = decode(fields[1]).strip()
        if aor(str(parse_name_addr(told).uri)) in asserted or any(
            name.removeprefix("sip:") in told for name in asserted
        ):
            yield met(rule, "the object names the asserted identity", record.frame)
        else:
            reason = "the object names a sender whom nobody asserted"
            yield broken(rule, reason, record.frame, expected=" or ".join(sorted(asserted)), actual=told)


RULES: tuple[Check, ...] = (
    every_line_a_command,
    literals_counted,
    commands_written,
    mailboxes_named,
    objects_are_messages,
    objects_in_lines,
    folder_of_the_conversation,
    recorded_in_the_asserted_name,
)

CHECKS: tuple[Check, ...] = tuple(summed(rule) for rule in RULES)
