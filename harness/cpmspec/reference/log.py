"""What the PF says about its work: one line for each event, with user and Call-ID, never with content."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Literal

from cpmspec.wire.headers import encode

LOGGER = logging.getLogger("cpmspec.pf")
_FIELDS = ("user", "call_id")


def setup(form: Literal["human", "json"], *, verbose: bool) -> None:
    """Send the log to standard error, in one form or the other."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json() if form == "json" else _Human())
    LOGGER.handlers[:] = [handler]
    LOGGER.setLevel(logging.DEBUG if verbose else logging.INFO)
    LOGGER.propagate = False


def say(text: str, *, user: str | None = None, call_id: str | None = None, level: int = logging.INFO) -> None:
    """Log an event; ``user`` and ``call_id`` come from the wire and are made harmless for a terminal."""
    LOGGER.log(level, "%s", text, extra={"user": user, "call_id": call_id})


def _harmless(text: str) -> str:
    """Octets from the wire for a log: control characters escaped, undecodable ones replaced, length bounded."""
    readable = encode(text).decode("utf-8", "replace")
    return "".join(mark if mark.isprintable() else f"\\x{ord(mark):02x}" for mark in readable[:200])


def _fields(record: logging.LogRecord) -> dict[str, str]:
    given = ((name, getattr(record, name, None)) for name in _FIELDS)
    return {name: _harmless(value) for name, value in given if value}


class _Human(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S.%f")[:-3]
        fields = " ".join(f"{name}={value}" for name, value in _fields(record).items())
        trouble = f"{record.levelname.lower()}: " if record.levelno >= logging.WARNING else ""
        return f"{time} {trouble}{_harmless(record.getMessage())}" + (f" ({fields})" if fields else "")


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = {"time": time, "level": record.levelname.lower(), "event": _harmless(record.getMessage())}
        return json.dumps(line | _fields(record))
