"""Facts about the IMAP connections of a capture."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from hashlib import sha256
from itertools import groupby

from captures import Tree
from cpmspec.evidence.reassembly import Capture, Stream
from cpmspec.wire.imap import ImapCommand, ImapCommandStream, ImapResponse, ImapResponseStream
from cpmspec.wire.section import parse_section

PORT = 143
_LITERAL = re.compile(rb"\{[0-9]+(\+?)\}\r\n")


def units(stream: Stream) -> list[ImapCommand | ImapResponse]:
    """What a client (to port 143) or a server says.

    :raises ValueError: the stream ends inside a command or a response.
    """
    reader = ImapCommandStream() if stream.destination.port == PORT else ImapResponseStream()
    found = [unit for run in stream.runs for unit in reader.feed(run.octets)]
    if reader.pending:
        raise ValueError(f"{len(reader.pending)} octets are left after the last line")
    return found


def literals(unit: ImapCommand | ImapResponse) -> tuple[bytes, ...]:
    """The literals of a command (in these captures at most one, the last argument) or of a response."""
    if isinstance(unit, ImapResponse):
        return unit.literals
    return unit.arguments[-1:] if _LITERAL.search(unit.raw) else ()


def imap_facts(held: Capture) -> Tree:
    """The facts of a capture file with IMAP in it."""
    spoken = {f"{one.source.port}>{one.destination.port}": (one, units(one)) for one in held.streams}
    commands = [unit for _, said in spoken.values() for unit in said if isinstance(unit, ImapCommand)]
    return {
        "direction": {name: _direction(*one) for name, one in spoken.items()},
        "happens": _story(commands),
    }


def _direction(stream: Stream, said: Sequence[ImapCommand | ImapResponse]) -> Tree:
    replies = [unit for unit in said if isinstance(unit, ImapResponse)]
    carried = Counter(literal for unit in said for literal in literals(unit))
    return {
        "octets": sum(len(run.octets) for run in stream.runs),
        "commands": dict(Counter(unit.name for unit in said if isinstance(unit, ImapCommand))),
        "tagged": dict(Counter(reply.status or "" for reply in replies if reply.tag not in ("*", "+"))),
        "continuations": sum(reply.tag == "+" for reply in replies) if replies else None,
        "untagged": sum(reply.tag == "*" for reply in replies) if replies else None,
        "literal": [
            {"octets": len(literal), "sha256": sha256(literal).hexdigest(), "times": times}
            for literal, times in carried.items()
        ],
    }


def _story(commands: Sequence[ImapCommand]) -> Tree:
    named = [command.name.removeprefix("UID ") for command in commands if command.name != "CAPABILITY"]
    runs = [(name, len(list(same))) for name, same in groupby(named)]
    announced = {found[1] for command in commands if (found := _LITERAL.search(command.raw))}
    types = {parse_section(literal).headers.get("Content-Type") for one in commands for literal in literals(one)}
    return {
        "order": [name for name, _ in runs],
        "appends": [times for name, times in runs if name == "APPEND"],
        "appended": types.pop() if len(types) == 1 else None,
        "literals": "synchronising" if announced == {b""} else "not synchronising",
    }
