"""The life of a SIP dialog as a table (RFC 3261 12 and 15)."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from cpmspec.protocol.tables import Row, index


class State(StrEnum):
    """How far a dialog is; ``INITIAL`` is before the response that makes it."""

    INITIAL = "Initial"
    EARLY = "Early"
    CONFIRMED = "Confirmed"
    TERMINATED = "Terminated"


class Event(StrEnum):
    """What moves it. Responses are those to the INVITE that makes the dialog, or to one in it."""

    PROVISIONAL = "1xx with tag"
    SUCCESS = "2xx"
    FAILURE = "300-699"
    BYE = "BYE"  #: of either side
    GONE = "481 or 408"  #: to any request in the dialog


class Do(StrEnum):
    """What a row does."""

    MAKE = "make dialog"
    ROUTE_SET = "route set anew"  #: at the UAC: that of the 2xx counts, not that of the 1xx
    TARGET = "move target"


DialogRow = Row[State, Event, Do]
S, E, D = State, Event, Do

DIALOG_ROWS: Final[tuple[DialogRow, ...]] = (
    DialogRow(S.INITIAL, E.PROVISIONAL, (D.MAKE,), S.EARLY, "RFC 3261 12.1"),
    DialogRow(S.INITIAL, E.SUCCESS, (D.MAKE,), S.CONFIRMED, "RFC 3261 12.1"),
    DialogRow(S.EARLY, E.SUCCESS, (D.ROUTE_SET, D.TARGET), S.CONFIRMED, "RFC 3261 13.2.2.4"),
    DialogRow(S.EARLY, E.FAILURE, (), S.TERMINATED, "RFC 3261 12.3"),
    DialogRow(S.EARLY, E.GONE, (), S.TERMINATED, "RFC 3261 12.3"),
    DialogRow(S.EARLY, E.BYE, (), S.TERMINATED, "RFC 3261 15"),
    DialogRow(S.CONFIRMED, E.SUCCESS, (D.TARGET,), S.CONFIRMED, "RFC 3261 12.2.1.2"),
    DialogRow(S.CONFIRMED, E.GONE, (), S.TERMINATED, "RFC 3261 12.2.1.2"),
    DialogRow(S.CONFIRMED, E.BYE, (), S.TERMINATED, "RFC 3261 15.1"),
)
DIALOG: Final = index(DIALOG_ROWS)
