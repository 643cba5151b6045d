"""What a state machine's table is made of: a row for each arrow, with the clause that it comes from."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Generic, NamedTuple, TypeVar

S = TypeVar("S", bound=StrEnum)
E = TypeVar("E", bound=StrEnum)
A = TypeVar("A", bound=StrEnum)


class Row(NamedTuple, Generic[S, E, A]):
    """In ``state``, ``event`` does ``actions`` and leads to ``next``; ``section`` is where that is written."""

    state: S
    event: E
    actions: tuple[A, ...]
    next: S
    section: str


def index(rows: Iterable[Row[S, E, A]]) -> dict[tuple[S, E], Row[S, E, A]]:
    """The row of each state and event; a pair without a row changes nothing."""
    return {(row.state, row.event): row for row in rows}
