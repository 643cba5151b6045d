"""``run.jsonl``: the single source of truth of a run. A header, lines of cases, a footer; each line flushed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

FORMAT = 1
FILE = "run.jsonl"


def now_iso() -> str:
    """The time now in RFC 3339 form, UTC, milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class RunLog:
    """Writes the lines of one run; a line that was written stays, whatever happens afterwards."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("w", encoding="utf-8")
        self.path = path
        self.headed = False
        self.footed = False

    def header(self, **fields: Any) -> None:
        """The first line: what was run, with which catalogue, seed and profile.

        :raises ValueError: there is one already.
        """
        if self.headed:
            raise ValueError("the run has its header already")
        self.headed = True
        self._write({"kind": "header", "format": FORMAT, **fields})

    def case(self, record: Mapping[str, Any]) -> None:
        """A provisional or final line of a case."""
        self._write({"kind": "case", **record})

    def unowned(self, frames: str) -> None:
        """Where the trace of what nobody owns lies, relative to the run."""
        self._write({"kind": "unowned", "frames": frames})

    def footer(self, **fields: Any) -> None:
        """The last line; without it the run was cut off.

        :raises ValueError: there is one already.
        """
        if self.footed:
            raise ValueError("the run has its footer already")
        self.footed = True
        self._write({"kind": "footer", **fields})

    def close(self) -> None:
        """Close the file; may be called twice."""
        self._file.close()

    def __enter__(self) -> RunLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _write(self, line: Mapping[str, Any]) -> None:
        self._file.write(json.dumps(line, ensure_ascii=True, separators=(",", ":")) + "\n")
        self._file.flush()


def read(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a run in order; a last line that was cut off while being written is left out.

    :raises ValueError: a line before the last one is no JSON object.
    """
    lines = path.read_text(encoding="utf-8").split("\n")
    for number, line in enumerate(lines, start=1):
        if not line:
            continue
        try:
            value = json.loads(line)
        except json.JSONDecodeError as error:
            if number >= len(lines):
                return
            raise ValueError(f"{path}: line {number} is no JSON: {error}") from error
        if not isinstance(value, dict):
            raise ValueError(f"{path}: line {number} is no JSON object")  # noqa: TRY004 - the text is wrong, not a type
        yield value
