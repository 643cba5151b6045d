"""The session timer as a table: who refreshes, and when the session ends without (RFC 4028)."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from cpmspec.protocol.tables import Row, index


class State(StrEnum):
    """Where the timer of a session stands."""

    OFF = "Off"  #: before the first 2xx, or none was agreed
    REFRESHER = "We refresh"
    REFRESHING = "Refreshing"  #: our refresh has no final response yet
    WATCHING = "Watching"  #: the peer refreshes, or we gave it up
    ENDED = "Ended"


class Event(StrEnum):
    """What drives it."""

    OURS = "2xx: we refresh"
    THEIRS = "2xx: the peer refreshes"
    NO_TIMER = "2xx without timer"
    TOO_SMALL = "422"
    GONE = "408, 481 or no answer"
    REFUSED = "refused otherwise"
    HALF = "half the interval is over"
    EXPIRY = "the interval is nearly over"
    OVER = "BYE"


class Do(StrEnum):
    """What a row does. A row that does not start the timers leaves them as they are; in Off and Ended none runs."""

    START = "start both timers"
    START_EXPIRY = "start the timer of the end"
    RAISE = "take the peer's least interval"
    REFRESH = "send a refresh"
    BYE = "send BYE"


SessionTimerRow = Row[State, Event, Do]
S, E, D = State, Event, Do

SESSION_TIMER_ROWS: Final[tuple[SessionTimerRow, ...]] = (
    SessionTimerRow(S.OFF, E.OURS, (D.START,), S.REFRESHER, "RFC 4028 7.2, 9"),
    SessionTimerRow(S.OFF, E.THEIRS, (D.START_EXPIRY,), S.WATCHING, "RFC 4028 7.2, 9"),
    SessionTimerRow(S.OFF, E.NO_TIMER, (), S.OFF, "RFC 4028 7.2"),
    SessionTimerRow(S.OFF, E.TOO_SMALL, (D.RAISE,), S.OFF, "RFC 4028 7.3"),
    SessionTimerRow(S.OFF, E.OVER, (), S.ENDED, "RFC 4028 10"),
    SessionTimerRow(S.REFRESHER, E.HALF, (D.REFRESH,), S.REFRESHING, "RFC 4028 7.2, 10"),
    SessionTimerRow(S.REFRESHER, E.OURS, (D.START,), S.REFRESHER, "RFC 4028 10"),
    SessionTimerRow(S.REFRESHER, E.THEIRS, (D.START_EXPIRY,), S.WATCHING, "RFC 4028 7.4"),
    SessionTimerRow(S.REFRESHER, E.NO_TIMER, (), S.OFF, "RFC 4028 7.2"),
    SessionTimerRow(S.REFRESHER, E.OVER, (), S.ENDED, "RFC 4028 10"),
    SessionTimerRow(S.REFRESHING, E.OURS, (D.START,), S.REFRESHER, "RFC 4028 10"),
    SessionTimerRow(S.REFRESHING, E.THEIRS, (D.START_EXPIRY,), S.WATCHING, "RFC 4028 7.4"),
    SessionTimerRow(S.REFRESHING, E.NO_TIMER, (), S.OFF, "RFC 4028 7.2"),
    SessionTimerRow(S.REFRESHING, E.TOO_SMALL, (D.RAISE, D.REFRESH), S.REFRESHING, "RFC 4028 7.3"),
    SessionTimerRow(S.REFRESHING, E.GONE, (D.BYE,), S.ENDED, "RFC 4028 10; RFC 3261 12.2.1.2"),
    SessionTimerRow(S.REFRESHING, E.REFUSED, (), S.WATCHING, "RFC 4028 10"),
    SessionTimerRow(S.REFRESHING, E.EXPIRY, (D.BYE,), S.ENDED, "RFC 4028 10"),
    SessionTimerRow(S.REFRESHING, E.OVER, (), S.ENDED, "RFC 4028 10"),
    SessionTimerRow(S.WATCHING, E.THEIRS, (D.START_EXPIRY,), S.WATCHING, "RFC 4028 10"),
    SessionTimerRow(S.WATCHING, E.OURS, (D.START,), S.REFRESHER, "RFC 4028 7.4"),
    SessionTimerRow(S.WATCHING, E.NO_TIMER, (), S.OFF, "RFC 4028 7.2"),
    SessionTimerRow(S.WATCHING, E.EXPIRY, (D.BYE,), S.ENDED, "RFC 4028 10"),
    SessionTimerRow(S.WATCHING, E.OVER, (), S.ENDED, "RFC 4028 10"),
)
#: the row of a state and an event
TABLE: Final = index(SESSION_TIMER_ROWS)
