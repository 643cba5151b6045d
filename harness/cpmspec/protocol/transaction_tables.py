"""The four SIP transactions as tables (RFC 3261 17 as corrected by RFC 6026): one row for each arrow of the figures."""

from __future__ import annotations

from enum import StrEnum
from typing import Final, TypeAlias

from cpmspec.protocol.tables import Row as AnyRow
from cpmspec.protocol.tables import index


class Kind(StrEnum):
    """Which of the four machines."""

    INVITE_CLIENT = "INVITE client"  #: 17.1.1, RFC 6026 7.2
    CLIENT = "non-INVITE client"  #: 17.1.2
    INVITE_SERVER = "INVITE server"  #: 17.2.1, RFC 6026 7.1
    SERVER = "non-INVITE server"  #: 17.2.2


class State(StrEnum):
    """The states of the figures; ``INITIAL`` is before the first message."""

    INITIAL = "Initial"
    CALLING = "Calling"
    TRYING = "Trying"
    PROCEEDING = "Proceeding"
    ACCEPTED = "Accepted"
    COMPLETED = "Completed"
    CONFIRMED = "Confirmed"
    TERMINATED = "Terminated"


class Timer(StrEnum):
    """The timers of RFC 3261 appendix A and RFC 6026; ``TRYING`` is the unnamed one of 200 ms in 17.2.1."""

    A = "A"
    B = "B"
    D = "D"
    E = "E"
    F = "F"
    G = "G"
    H = "H"
    I = "I"  # noqa: E741  the letter is the timer's name
    J = "J"
    K = "K"
    L = "L"
    M = "M"
    TRYING = "100"


class Event(StrEnum):
    """What drives a machine, apart from the timers, which are events of their own."""

    BEGIN = "begin"  #: the TU's request (client) or the first request (server)
    PROVISIONAL = "1xx"  #: received (client) or given by the TU (server)
    SUCCESS = "2xx"
    FAILURE = "300-699"
    REQUEST = "request again"
    ACK = "ACK"
    TRANSPORT_ERROR = "transport error"


class Do(StrEnum):
    """What a row does; a :class:`Timer` among the actions of a row is started (again)."""

    SEND = "send"  #: the request (client), the latest response (server)
    SEND_ACK = "send ACK"
    SEND_TRYING = "send 100"
    DELIVER = "to the TU"
    TIMED_OUT = "TU: timed out"
    TRANSPORT_FAILED = "TU: transport error"


#: one arrow of a figure, and where it is written
Row: TypeAlias = AnyRow[State, Event | Timer, Do | Timer]

S, E, T = State, Event, Timer

INVITE_CLIENT_ROWS: Final[tuple[Row, ...]] = (
    Row(S.INITIAL, E.BEGIN, (Do.SEND, T.A, T.B), S.CALLING, "RFC 3261 17.1.1.2"),
    Row(S.CALLING, T.A, (Do.SEND, T.A), S.CALLING, "RFC 3261 17.1.1.2"),
    Row(S.CALLING, T.B, (Do.TIMED_OUT,), S.TERMINATED, "RFC 3261 17.1.1.2"),
    Row(S.CALLING, E.TRANSPORT_ERROR, (Do.TRANSPORT_FAILED,), S.TERMINATED, "RFC 3261 17.1.4"),
    Row(S.CALLING, E.PROVISIONAL, (Do.DELIVER,), S.PROCEEDING, "RFC 3261 17.1.1.2"),
    Row(S.CALLING, E.SUCCESS, (Do.DELIVER, T.M), S.ACCEPTED, "RFC 6026 7.2"),
    Row(S.CALLING, E.FAILURE, (Do.DELIVER, Do.SEND_ACK, T.D), S.COMPLETED, "RFC 3261 17.1.1.2"),
    Row(S.PROCEEDING, E.PROVISIONAL, (Do.DELIVER,), S.PROCEEDING, "RFC 3261 17.1.1.2"),
    Row(S.PROCEEDING, E.SUCCESS, (Do.DELIVER, T.M), S.ACCEPTED, "RFC 6026 7.2"),
    Row(S.PROCEEDING, E.FAILURE, (Do.DELIVER, Do.SEND_ACK, T.D), S.COMPLETED, "RFC 3261 17.1.1.2"),
    Row(S.ACCEPTED, E.SUCCESS, (Do.DELIVER,), S.ACCEPTED, "RFC 6026 7.2"),
    Row(S.ACCEPTED, T.M, (), S.TERMINATED, "RFC 6026 7.2"),
    Row(S.COMPLETED, E.FAILURE, (Do.SEND_ACK,), S.COMPLETED, "RFC 3261 17.1.1.2"),
    Row(S.COMPLETED, E.TRANSPORT_ERROR, (Do.TRANSPORT_FAILED,), S.TERMINATED, "RFC 3261 17.1.1.2"),
    Row(S.COMPLETED, T.D, (), S.TERMINATED, "RFC 3261 17.1.1.2"),
)

CLIENT_ROWS: Final[tuple[Row, ...]] = (
    Row(S.INITIAL, E.BEGIN, (Do.SEND, T.E, T.F), S.TRYING, "RFC 3261 17.1.2.2"),
    Row(S.TRYING, T.E, (Do.SEND, T.E), S.TRYING, "RFC 3261 17.1.2.2"),
    Row(S.TRYING, T.F, (Do.TIMED_OUT,), S.TERMINATED, "RFC 3261 17.1.2.2"),
    Row(S.TRYING, E.TRANSPORT_ERROR, (Do.TRANSPORT_FAILED,), S.TERMINATED, "RFC 3261 17.1.4"),
    Row(S.TRYING, E.PROVISIONAL, (Do.DELIVER,), S.PROCEEDING, "RFC 3261 17.1.2.2"),
    Row(S.TRYING, E.SUCCESS, (Do.DELIVER, T.K), S.COMPLETED, "RFC 3261 17.1.2.2"),
    Row(S.TRYING, E.FAILURE, (Do.DELIVER, T.K), S.COMPLETED, "RFC 3261 17.1.2.2"),
    Row(S.PROCEEDING, T.E, (Do.SEND, T.E), S.PROCEEDING, "RFC 3261 17.1.2.2"),
    Row(S.PROCEEDING, T.F, (Do.TIMED_OUT,), S.TERMINATED, "RFC 3261 17.1.2.2"),
    Row(S.PROCEEDING, E.TRANSPORT_ERROR, (Do.TRANSPORT_FAILED,), S.TERMINATED, "RFC 3261 17.1.4"),
    Row(S.PROCEEDING, E.PROVISIONAL, (Do.DELIVER,), S.PROCEEDING, "RFC 3261 17.1.2.2"),
    Row(S.PROCEEDING, E.SUCCESS, (Do.DELIVER, T.K), S.COMPLETED, "RFC 3261 17.1.2.2"),
    Row(S.PROCEEDING, E.FAILURE, (Do.DELIVER, T.K), S.COMPLETED, "RFC 3261 17.1.2.2"),
    Row(S.COMPLETED, T.K, (), S.TERMINATED, "RFC 3261 17.1.2.2"),
)

INVITE_SERVER_ROWS: Final[tuple[Row, ...]] = (
    Row(S.INITIAL, E.BEGIN, (Do.DELIVER, T.TRYING), S.PROCEEDING, "RFC 3261 17.2.1"),
    Row(S.PROCEEDING, T.TRYING, (Do.SEND_TRYING,), S.PROCEEDING, "RFC 3261 17.2.1"),
    Row(S.PROCEEDING, E.REQUEST, (Do.SEND,), S.PROCEEDING, "RFC 3261 17.2.1"),
    Row(S.PROCEEDING, E.PROVISIONAL, (Do.SEND,), S.PROCEEDING, "RFC 3261 17.2.1"),
    Row(S.PROCEEDING, E.SUCCESS, (Do.SEND, T.L), S.ACCEPTED, "RFC 6026 7.1"),
    Row(S.PROCEEDING, E.FAILURE, (Do.SEND, T.G, T.H), S.COMPLETED, "RFC 3261 17.2.1"),
    Row(S.PROCEEDING, E.TRANSPORT_ERROR, (Do.TRANSPORT_FAILED,), S.PROCEEDING, "RFC 6026 7.1"),
    Row(S.ACCEPTED, E.REQUEST, (), S.ACCEPTED, "RFC 6026 7.1"),
    Row(S.ACCEPTED, E.SUCCESS, (Do.SEND,), S.ACCEPTED, "RFC 6026 7.1"),
    Row(S.ACCEPTED, E.ACK, (Do.DELIVER,), S.ACCEPTED, "RFC 6026 7.1"),
    Row(S.ACCEPTED, E.TRANSPORT_ERROR, (Do.TRANSPORT_FAILED,), S.ACCEPTED, "RFC 6026 7.1"),
    Row(S.ACCEPTED, T.L, (), S.TERMINATED, "RFC 6026 7.1"),
    Row(S.COMPLETED, E.REQUEST, (Do.SEND,), S.COMPLETED, "RFC 3261 17.2.1"),
    Row(S.COMPLETED, T.G, (Do.SEND, T.G), S.COMPLETED, "RFC 3261 17.2.1"),
    Row(S.COMPLETED, T.H, (Do.TIMED_OUT,), S.TERMINATED, "RFC 3261 17.2.1"),
    Row(S.COMPLETED, E.ACK, (T.I,), S.CONFIRMED, "RFC 3261 17.2.1"),
    Row(S.COMPLETED, E.TRANSPORT_ERROR, (Do.TRANSPORT_FAILED,), S.COMPLETED, "RFC 6026 7.1"),
    Row(S.CONFIRMED, E.ACK, (), S.CONFIRMED, "RFC 3261 17.2.1"),
    Row(S.CONFIRMED, T.I, (), S.TERMINATED, "RFC 3261 17.2.1"),
)

SERVER_ROWS: Final[tuple[Row, ...]] = (
    Row(S.INITIAL, E.BEGIN, (Do.DELIVER,), S.TRYING, "RFC 3261 17.2.2"),
    Row(S.TRYING, E.REQUEST, (), S.TRYING, "RFC 3261 17.2.2"),
    Row(S.TRYING, E.PROVISIONAL, (Do.SEND,), S.PROCEEDING, "RFC 3261 17.2.2"),
    Row(S.TRYING, E.SUCCESS, (Do.SEND, T.J), S.COMPLETED, "RFC 3261 17.2.2"),
    Row(S.TRYING, E.FAILURE, (Do.SEND, T.J), S.COMPLETED, "RFC 3261 17.2.2"),
    Row(S.PROCEEDING, E.REQUEST, (Do.SEND,), S.PROCEEDING, "RFC 3261 17.2.2"),
    Row(S.PROCEEDING, E.PROVISIONAL, (Do.SEND,), S.PROCEEDING, "RFC 3261 17.2.2"),
    Row(S.PROCEEDING, E.SUCCESS, (Do.SEND, T.J), S.COMPLETED, "RFC 3261 17.2.2"),
    Row(S.PROCEEDING, E.FAILURE, (Do.SEND, T.J), S.COMPLETED, "RFC 3261 17.2.2"),
    Row(S.PROCEEDING, E.TRANSPORT_ERROR, (Do.TRANSPORT_FAILED,), S.TERMINATED, "RFC 3261 17.2.4"),
    Row(S.COMPLETED, E.REQUEST, (Do.SEND,), S.COMPLETED, "RFC 3261 17.2.2"),
    Row(S.COMPLETED, E.TRANSPORT_ERROR, (Do.TRANSPORT_FAILED,), S.TERMINATED, "RFC 3261 17.2.4"),
    Row(S.COMPLETED, T.J, (), S.TERMINATED, "RFC 3261 17.2.2"),
)

ROWS: Final = {
    Kind.INVITE_CLIENT: INVITE_CLIENT_ROWS,
    Kind.CLIENT: CLIENT_ROWS,
    Kind.INVITE_SERVER: INVITE_SERVER_ROWS,
    Kind.SERVER: SERVER_ROWS,
}
#: the row of a state and an event
TABLES: Final = {kind: index(rows) for kind, rows in ROWS.items()}
#: timers that may run in a state; entering a state stops all others
RUNNING: Final = {
    kind: {state: {row.event for row in rows if row.state is state and isinstance(row.event, Timer)} for state in State}
    for kind, rows in ROWS.items()
}


# --- the 2xx to an INVITE, which the UAS core repeats itself


class Repeat(StrEnum):
    """What became of a 2xx to an INVITE (RFC 3261 13.3.1.4)."""

    REPEATING = "Repeating"
    ACKNOWLEDGED = "Acknowledged"
    ABANDONED = "Abandoned"


class RepeatEvent(StrEnum):
    """What drives its repetition."""

    DUE = "interval over"  #: T1 first, then twice the last one up to T2
    ACK = "ACK"  #: or the end of the dialog
    GIVE_UP = "64*T1 over"


class RepeatDo(StrEnum):
    """What a row of it does."""

    SEND = "send 2xx"
    INTERVAL = "next interval"
    TIMED_OUT = "TU: no ACK"


RepeatRow: TypeAlias = AnyRow[Repeat, RepeatEvent, RepeatDo]

REPEAT_ROWS: Final[tuple[RepeatRow, ...]] = (
    AnyRow(
        Repeat.REPEATING, RepeatEvent.DUE, (RepeatDo.SEND, RepeatDo.INTERVAL), Repeat.REPEATING, "RFC 3261 13.3.1.4"
    ),
    AnyRow(Repeat.REPEATING, RepeatEvent.ACK, (), Repeat.ACKNOWLEDGED, "RFC 3261 13.3.1.4"),
    AnyRow(Repeat.REPEATING, RepeatEvent.GIVE_UP, (RepeatDo.TIMED_OUT,), Repeat.ABANDONED, "RFC 3261 13.3.1.4"),
)
REPEAT: Final = index(REPEAT_ROWS)
