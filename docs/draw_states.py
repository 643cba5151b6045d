"""Draws the state machines of cpmspec.protocol from their tables: docs/states.md and a picture each in docs/states/.

Run it after a table was changed: ``python docs/draw_states.py``. It needs ``dot`` (Debian package graphviz). Each
picture holds the digest of the text that it was drawn from, so that a test without ``dot`` can tell whether it is
current.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cpmspec.protocol.dialog_table import DIALOG_ROWS
from cpmspec.protocol.msrp_binding import BINDING_ROWS
from cpmspec.protocol.msrp_tables import INCOMING_ROWS, OUTGOING_ROWS
from cpmspec.protocol.offer_answer_table import OFFER_ANSWER_ROWS
from cpmspec.protocol.session_timer_table import SESSION_TIMER_ROWS
from cpmspec.protocol.tables import Row
from cpmspec.protocol.transaction_tables import REPEAT_ROWS, ROWS, Kind, Timer

DOCS: Final = Path(__file__).parent
#: characters after which a label goes on in the next line
WIDTH: Final = 30
#: a space that SVG keeps: between a label and its edge
GAP: Final = "\N{NO-BREAK SPACE}\N{NO-BREAK SPACE}"

AnyRow = Row[Any, Any, Any]


@dataclass(frozen=True)
class Machine:
    """One state machine: what its file is called, what it is for, and its table."""

    name: str
    title: str
    about: str
    module: str
    rows: Sequence[AnyRow]

    def dot(self) -> str:
        """The text that the picture is drawn from.

        An edge stands for each pair of states, with a line for each kind of event; events that stay in a state stand in
        its box.
        """
        first = self.rows[0].state
        final = {row.next for row in self.rows} - {row.state for row in self.rows}
        edges = self._edges()
        lines = [
            f"digraph {self.name} {{",
            '  graph [fontname="Helvetica", nodesep=0.7, ranksep=0.7, bgcolor=white, outputorder=edgesfirst];',
            '  node [fontname="Helvetica", fontsize=12, shape=Mrecord, style="filled", fillcolor="#eef3fa"];',
            '  edge [fontname="Helvetica", fontsize=10, color="#777777"];',
        ]
        for state in dict.fromkeys(state for row in self.rows for state in (row.state, row.next)):
            marks = ", penwidth=2.5" if state == first else ', shape=box, style="rounded,filled", peripheries=2'
            inside = edges.pop((state, state), "")
            label = f"{{{state}|{inside}}}" if inside else state
            lines.append(f'  "{state}" [label="{label}"{marks if state == first or state in final else ""}];')
        for (state, after), label in edges.items():
            lines.append(f'  "{state}" -> "{after}" [label="{label}"];')
        return "\n".join([*lines, "}", ""])

    def _edges(self) -> dict[tuple[str, str], str]:
        """What stands at the arrow from a state to another, or to itself."""
        pairs: dict[tuple[str, str], dict[tuple[Any, ...], list[str]]] = {}
        for row in self.rows:
            pairs.setdefault((row.state, row.next), {}).setdefault(row.actions, []).append(row.event)
        return {
            pair: "".join(_label(events, actions) for actions, events in kinds.items()) for pair, kinds in pairs.items()
        }

    def section(self) -> Iterator[str]:
        """Its part of the page."""
        yield from (f"## {self.title}", "", f"{self.about} (`{self.module}`)", "")
        yield from (f"![{self.title}](states/{self.name}.svg)", "")
        yield from ("| State | Event | Actions | Next state | Clause |", "|---|---|---|---|---|")
        for row in self.rows:
            actions = _words(row.actions) or "–"
            yield f"| {row.state} | {_words([row.event])} | {actions} | {row.next} | {row.section} |"
        yield ""


def _label(events: Sequence[str], actions: Sequence[str]) -> str:
    """Events, and after a slash what they do; lines are set to the left, further ones indented."""
    text = _words(events) + (f" / {_words(actions)}" if actions else "")
    lines = textwrap.wrap(text, WIDTH, break_on_hyphens=False)
    return "".join(f"{GAP}{'' if line is lines[0] else GAP}{line}{GAP}\\l" for line in lines)


def _words(names: Sequence[str]) -> str:
    """Names in a row; that of a SIP timer is but a letter."""
    return ", ".join(f"timer {name}" if isinstance(name, Timer) else name for name in names)


MACHINES: Final = (
    Machine(
        "invite_client", "INVITE client transaction", "Sends an INVITE until it is answered, acknowledges failures.",
        "cpmspec.protocol.transactions", ROWS[Kind.INVITE_CLIENT],
    ),
    Machine(
        "client", "Non-INVITE client transaction", "Sends a request until it is answered.",
        "cpmspec.protocol.transactions", ROWS[Kind.CLIENT],
    ),
    Machine(
        "invite_server", "INVITE server transaction", "Answers an INVITE, and repeats a failure until its ACK comes.",
        "cpmspec.protocol.transactions", ROWS[Kind.INVITE_SERVER],
    ),
    Machine(
        "server", "Non-INVITE server transaction", "Answers a request, and again when it is repeated.",
        "cpmspec.protocol.transactions", ROWS[Kind.SERVER],
    ),
    Machine(
        "success", "Repetition of a 2xx to an INVITE", "The UAS core repeats it until its ACK comes.",
        "cpmspec.protocol.transactions", REPEAT_ROWS,
    ),
    Machine(
        "dialog", "Dialog", "What two user agents remember of each other between the first response and the BYE.",
        "cpmspec.protocol.dialogs", DIALOG_ROWS,
    ),
    Machine(
        "offer_answer", "Offer and answer", "Whose description of the session is waiting for whose.",
        "cpmspec.protocol.offer_answer", OFFER_ANSWER_ROWS,
    ),
    Machine(
        "session_timer", "Session timer", "Who refreshes the session, and when it ends because nobody does.",
        "cpmspec.protocol.session_timer", SESSION_TIMER_ROWS,
    ),
    Machine(
        "msrp_binding", "Binding of an MSRP session", "Who connects, and what connection a session has.",
        "cpmspec.protocol.msrp_binding", BINDING_ROWS,
    ),
    Machine(
        "msrp_outgoing", "MSRP message that is sent", "Its chunks, the answers to them, and what becomes of it.",
        "cpmspec.protocol.msrp_sender", OUTGOING_ROWS,
    ),
    Machine(
        "msrp_incoming", "MSRP message that is received", "What a receiver knows of a Message-ID.",
        "cpmspec.protocol.msrp_receiver", INCOMING_ROWS,
    ),
)  # fmt: skip

HEAD: Final = """# State machines

Drawn by `docs/draw_states.py` from the tables in `harness/cpmspec/protocol/`; do not edit. A thick frame is where a
machine begins, a double frame where it ends. An arrow tells the events, and after a slash what is done; what does not
lead to another state stands in the box of its state. An event that is not there changes nothing.
"""


def page() -> str:
    """The text of docs/states.md."""
    return "\n".join([HEAD, *(line for machine in MACHINES for line in machine.section())])


def digest(dot: str) -> str:
    """What a picture says about the text that it was drawn from."""
    return f"<!-- drawn from text with sha256 {hashlib.sha256(dot.encode()).hexdigest()} -->"


def main() -> int:
    """Write the page and all pictures; status 2 where Graphviz is missing."""
    argparse.ArgumentParser(
        description="Draws the tables of cpmspec.protocol into docs/states.md and docs/states/"
    ).parse_args()
    if shutil.which("dot") is None:
        print("draw_states: no dot found, expected Graphviz: apt install graphviz", file=sys.stderr)  # noqa: T201
        return 2
    (DOCS / "states").mkdir(exist_ok=True)
    for machine in MACHINES:
        drawn = subprocess.run(  # the text is ours
            ["dot", "-Tsvg"], input=machine.dot().encode(), capture_output=True, check=True
        ).stdout.decode()
        (DOCS / "states" / f"{machine.name}.svg").write_text(f"{drawn.rstrip()}\n{digest(machine.dot())}\n", "utf-8")
    (DOCS / "states.md").write_text(page(), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
