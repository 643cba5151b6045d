"""What a run came to, for a terminal: a table by requirement, what broke and where to see it, the verdict."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

from cpmspec.cli.common import last_lines
from cpmspec.judge.catalogue import Catalogue, load
from cpmspec.suite.outcome import vanished
from cpmspec.sut.resources import fixtures

_STYLES = {"pass": "green", "fail": "bold red", "error": "bold magenta", "inconc": "yellow", "none": "dim"}
#: width of the output where there is no terminal
PLAIN_WIDTH = 120
#: columns that a terminal needs for the titles of the requirements too
WIDTH_FOR_TITLES = 100
#: characters of what a group of rules is from
LONGEST_SOURCE = 44
#: how many cases are named for a requirement that did not pass
NAMED_CASES = 3

VANISHED = "the IUT vanished before the closing was over: what it would still have sent, nobody saw"

_COLUMNS = ("requirement", "clause", "class", "verdict", "cases", "title")

Line = Mapping[str, Any]
#: the last line of each case
Lines = Mapping[str, Line]


def show(lines: Sequence[Line], out: Path, *, quiet: bool = False) -> None:
    """Print the summary of a finished run from the lines of its run.jsonl."""
    footer = next(line for line in lines if line["kind"] == "footer")
    cases = last_lines([dict(line) for line in lines])
    show_conclusion(
        header=lines[0],
        cases=cases,
        requirements=footer["requirements"],
        verdict=footer["verdict"],
        quiet=quiet,
        notes=["interrupted: cases are missing"] if footer.get("interrupted") else [],
    )
    _line(_console(), "Report", str(out / "report.html") if (out / "report.html").is_file() else str(out))


def show_conclusion(
    *,
    header: Line,
    cases: Lines,
    requirements: Mapping[str, str],
    verdict: str,
    quiet: bool = False,
    notes: Iterable[str] = (),
) -> None:
    """Print table, findings and verdict."""
    console = _console()
    catalogue = load(fixtures() / "catalogue")
    if not quiet:
        console.print(_table(catalogue, requirements, cases, console.width))
        for text in _findings(catalogue, requirements, cases):
            console.print(text, soft_wrap=True)
    for note in (*notes, *([VANISHED] if vanished(cases) else [])):
        _line(console, "Note", note)
    iut = header.get("profile", {}).get("iut", {})
    name = " ".join(filter(None, (iut.get("vendor"), iut.get("name"), iut.get("version"))))
    counts = ", ".join(f"{count} {found}" for found, count in sorted(_counts(cases).items()))
    style = {"conformant": "green", "passed (partial)": "green", "inconclusive": "yellow"}.get(verdict, "red")
    _line(console, "Verdict", f"{verdict}  [{name}; {len(cases)} cases: {counts}]", style=f"bold {style}")


def _console() -> Console:
    console = Console(highlight=False, soft_wrap=False)
    return console if console.is_terminal else Console(highlight=False, width=PLAIN_WIDTH, color_system=None)


def _line(console: Console, name: str, text: str, *, style: str = "") -> None:
    """One line that is never broken: it is meant to be copied, or searched for in a log."""
    console.print(Text(f"{name + ':':9}{text}", style=style), soft_wrap=True)


def _table(catalogue: Catalogue, verdicts: Mapping[str, str], cases: Lines, width: int) -> Table:
    """One row for each requirement that applies or that some trace touched; titles only where there is room.

    The rules of the RFCs are many: those of a group that were kept, or that nothing was seen of, share two rows.
    """
    touched = _touched(cases)
    rows: list[tuple[str, ...]] = []
    shared: dict[tuple[str, str], list[str]] = {}
    for name, verdict in verdicts.items():
        requirement = catalogue.requirements.get(name)
        if requirement is None:
            rows.append((name, "?", "?", verdict, str(len(touched.get(name, ()))), "not in this catalogue"))
        elif requirement.of_an_rfc and verdict in ("pass", "none"):
            shared.setdefault((requirement.group, verdict), []).append(name)
        else:
            clause, cls = requirement.clause, requirement.cls.value
            rows.append((name, clause, cls, verdict, str(len(touched.get(name, ()))), requirement.title))
    rows += [_shared(catalogue, names, verdict, touched) for (_, verdict), names in sorted(shared.items())]
    columns = _COLUMNS if width >= WIDTH_FOR_TITLES else _COLUMNS[:-1]
    widths = [max(len(row[index]) for row in (_COLUMNS, *rows)) for index in range(len(columns))]
    if columns == _COLUMNS:
        widths[-1] = max(10, min(widths[-1], width - sum(widths[:-1]) - 2 * (len(columns) - 1)))
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column, room in zip(columns, widths, strict=True):
        justify: Literal["left", "right"] = "right" if column == "cases" else "left"
        table.add_column(column, no_wrap=True, overflow="ellipsis", justify=justify, width=room)
    for row in rows:
        styled = [Text(cell, style=_STYLES.get(cell, "")) for cell in row]
        table.add_row(*styled[: len(columns)])
    return table


def _shared(
    catalogue: Catalogue, names: Sequence[str], verdict: str, touched: Mapping[str, Sequence[str]]
) -> tuple[str, ...]:
    """The row of the rules of a group that have one verdict."""
    requirements = [catalogue.requirements[name] for name in names]
    classes = "".join(sorted({one.cls.value for one in requirements}))
    seen = {case for name in names for case in touched.get(name, ())}
    said = "kept" if verdict == "pass" else "of which nothing was seen"
    first = requirements[0]
    rules = f"{len(names)} rule{'s' if len(names) > 1 else ''} {said}"
    source = first.source if len(first.source) <= LONGEST_SOURCE else f"{first.source[: LONGEST_SOURCE - 1]}…"
    return f"{first.group}-*", source, classes, verdict, str(len(seen)), rules


def _touched(cases: Lines) -> dict[str, list[str]]:
    """The cases whose traces touch each requirement."""
    touched: dict[str, list[str]] = {}
    for case, line in cases.items():
        for name, verdict in ((line.get("judgement") or {}).get("requirements") or {}).items():
            if verdict != "none":
                touched.setdefault(name, []).append(case)
    return touched


def _counts(cases: Lines) -> dict[str, int]:
    counts: dict[str, int] = {}
    for line in cases.values():
        counts[line["verdict"]] = counts.get(line["verdict"], 0) + 1
    return counts


def _findings(catalogue: Catalogue, verdicts: Mapping[str, str], cases: Lines) -> Iterable[Text]:
    """For each requirement that did not pass: how often, the first place, the cases."""
    touched = _touched(cases)
    order = {"error": 0, "fail": 1, "inconc": 2}
    bad = sorted(
        (name for name, verdict in verdicts.items() if verdict in order), key=lambda name: order[verdicts[name]]
    )
    for name in bad:
        worst = verdicts[name]
        seen = [case for case in touched.get(name, ()) if cases[case]["judgement"]["requirements"][name] == worst]
        text = Text()
        text.append(f"\n{name}: {worst}", style=_STYLES[worst])
        requirement = catalogue.requirements.get(name)
        clause = f"{requirement.source} {requirement.clause}" if requirement else "unknown requirement"
        text.append(f" in {len(seen)} of {len(touched.get(name, ()))} cases ({clause})")
        for case in seen[:NAMED_CASES]:
            text.append(f"\n  {case}: {_reason(cases[case], name, worst)}")
        if len(seen) > NAMED_CASES:
            text.append(f"\n  and {len(seen) - NAMED_CASES} more")
        yield text
    yield from _undecided(cases)


def _undecided(cases: Lines) -> Iterable[Text]:
    """The cases that are inconclusive or in error, those with one reason together."""
    reasons: dict[tuple[str, str, str], list[str]] = {}
    for case, line in cases.items():
        if line["verdict"] in ("inconc", "error"):
            reasons.setdefault((line["verdict"], line.get("blame") or "", line["reason"]), []).append(case)
    for (verdict, blame, reason), names in sorted(reasons.items()):
        text = Text(f"\n{verdict}{f', blame: {blame}' if blame else ''}: {reason}", style=_STYLES[verdict])
        more = f" and {len(names) - NAMED_CASES} more" if len(names) > NAMED_CASES else ""
        text.append(f"\n  {', '.join(names[:NAMED_CASES])}{more}", style="default")
        yield text


def _reason(line: Line, requirement: str, verdict: str) -> str:
    for finding in line["judgement"]["findings"]:
        if finding["requirement"] == requirement and finding["verdict"] == verdict:
            frames = f" (frame {finding['frames'][0]})" if finding.get("frames") else ""
            return f"{finding['reason']}{frames}"
    return str(line["reason"])
