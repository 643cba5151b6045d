"""MSRP messages as tables: one that is sent and one that is received (RFC 4975 7 and 10).

:mod:`cpmspec.protocol.msrp_sender` and :mod:`cpmspec.protocol.msrp_receiver` run them: they find out which event
occurred and do what the row says. The binding of sessions to connections is in :mod:`cpmspec.protocol.msrp_binding`.
"""

from __future__ import annotations

from enum import Enum, StrEnum
from typing import Final

from cpmspec.protocol.tables import Row, index


class Scope(Enum):
    """How far a failure reaches."""

    MESSAGE = "this message"
    SESSION = "all messages of the session"


# --- a message that is sent


class Out(StrEnum):
    """What has become of an outgoing message so far."""

    QUEUED = "Queued"
    SENDING = "Sending"  #: a chunk is open: its head was handed out, its end-line was not
    INTERRUPTED = "Interrupted"  #: the open chunk is to be ended with the next octets
    BETWEEN = "Between chunks"  #: some octets were sent, no chunk is open
    AWAITING_RESPONSES = "Awaiting responses"  #: all octets were sent
    AWAITING_REPORT = "Awaiting report"  #: every chunk was answered, success REPORTs do not cover all octets yet
    DELIVERED = "Delivered"
    ABORTING = "Aborting"  #: it failed while a chunk was open
    FAILED = "Failed"


class OutEvent(StrEnum):
    """What drives an outgoing message. A failure REPORT is the event of its code, as a response is (7.3.2)."""

    CHUNK = "chunk begins"
    CHUNK_END = "chunk ends"  #: and octets of the message are left
    LAST_OCTET = "last octet"
    INTERRUPT = "interrupt"  #: something else has to be written, or the octets to come hold the end-line
    SETTLED = "nothing missing"  #: every chunk answered or its time over, and covered by REPORTs if it asked for them
    UNREPORTED = "REPORT missing"  #: every chunk answered, and it asked for REPORTs
    NO_RESPONSE = "no response"  #: the response timer of a chunk ended
    NO_REPORT = "no REPORT"  #: the time for REPORTs ended
    STOPPED = "session stopped"
    LOST = "connection lost"
    C400 = "400"
    C403 = "403"
    C408 = "408"
    C413 = "413"
    C415 = "415"
    C423 = "423"
    C481 = "481"
    C501 = "501"
    C506 = "506"
    OTHER = "other code"


class OutDo(StrEnum):
    """What a row of an outgoing message does."""

    HEAD = "head"
    END_MORE = "end-line +"
    END_LAST = "end-line $"
    END_ABORT = "end-line #"
    RESPONSE_TIMER = "response timer"
    REPORT_TIMER = "report timer"
    TELL_DELIVERED = "tell: delivered"
    TELL_FAILED = "tell: failed"
    STOP_SESSION = "stop session"


#: response code or code of a failure REPORT -> how far it reaches, and its section; any other code but 200 is OTHER
CODES: Final[dict[OutEvent, tuple[Scope, str]]] = {
    OutEvent.C400: (Scope.MESSAGE, "RFC 4975 10.2"),  # a corrected request may be tried
    OutEvent.C403: (Scope.MESSAGE, "RFC 4975 10.3"),  # this request is not tried again
    OutEvent.C408: (Scope.MESSAGE, "RFC 4975 10.4"),  # as if the transaction had timed out
    OutEvent.C413: (Scope.MESSAGE, "RFC 4975 10.5"),  # no more chunks of this message
    OutEvent.C415: (Scope.SESSION, "RFC 4975 10.6"),  # no more of this type, and all deferred messages have the same
    OutEvent.C423: (Scope.MESSAGE, "RFC 4975 10.7"),  # for AUTH at a relay
    OutEvent.C481: (Scope.SESSION, "RFC 4975 10.8"),  # the session does not exist: it is to be terminated
    OutEvent.C501: (Scope.MESSAGE, "RFC 4975 10.9"),  # the method is unknown
    OutEvent.C506: (Scope.SESSION, "RFC 4975 10.10"),  # the session is bound to another connection
    OutEvent.OTHER: (Scope.MESSAGE, "RFC 4975 7.2"),
}
#: the same by number
SCOPES: Final = {int(event): scope for event, (scope, _) in CODES.items() if event is not OutEvent.OTHER}

_EVENT_OF: Final = {int(event): event for event in CODES if event is not OutEvent.OTHER}


def event_of(status: int) -> OutEvent:
    """The event of a code other than 200."""
    return _EVENT_OF.get(status, OutEvent.OTHER)


OutRow = Row[Out, OutEvent, OutDo]
O, V, D = Out, OutEvent, OutDo  # noqa: E741  short, for the table

_FAIL, _FAIL_ALL = (D.TELL_FAILED,), (D.TELL_FAILED, D.STOP_SESSION)

OUTGOING_ROWS: Final[tuple[OutRow, ...]] = (
    OutRow(O.QUEUED, V.CHUNK, (D.HEAD,), O.SENDING, "RFC 4975 7.1"),
    OutRow(O.BETWEEN, V.CHUNK, (D.HEAD,), O.SENDING, "RFC 4975 7.1.1"),
    OutRow(O.SENDING, V.CHUNK_END, (D.END_MORE, D.RESPONSE_TIMER), O.BETWEEN, "RFC 4975 7.1.1"),
    OutRow(O.SENDING, V.INTERRUPT, (), O.INTERRUPTED, "RFC 4975 7.1.1"),
    OutRow(O.INTERRUPTED, V.CHUNK_END, (D.END_MORE, D.RESPONSE_TIMER), O.BETWEEN, "RFC 4975 7.1.1"),
    OutRow(O.SENDING, V.LAST_OCTET, (D.END_LAST, D.RESPONSE_TIMER), O.AWAITING_RESPONSES, "RFC 4975 7.1"),
    OutRow(O.AWAITING_RESPONSES, V.SETTLED, (D.TELL_DELIVERED,), O.DELIVERED, "RFC 4975 10.1"),
    OutRow(O.AWAITING_RESPONSES, V.UNREPORTED, (D.REPORT_TIMER,), O.AWAITING_REPORT, "RFC 4975 7.1.3"),
    OutRow(O.AWAITING_REPORT, V.SETTLED, (D.TELL_DELIVERED,), O.DELIVERED, "RFC 4975 7.1.3"),
    OutRow(O.AWAITING_REPORT, V.NO_REPORT, _FAIL, O.FAILED, "RFC 4975 7.1.3"),
    OutRow(O.BETWEEN, V.NO_RESPONSE, _FAIL, O.FAILED, "RFC 4975 7.1.1"),
    OutRow(O.AWAITING_RESPONSES, V.NO_RESPONSE, _FAIL, O.FAILED, "RFC 4975 7.1.1"),
    OutRow(O.SENDING, V.NO_RESPONSE, _FAIL, O.ABORTING, "RFC 4975 7.1.1"),
    OutRow(O.INTERRUPTED, V.NO_RESPONSE, _FAIL, O.ABORTING, "RFC 4975 7.1.1"),
    *(
        OutRow(state, event, _FAIL_ALL if scope is Scope.SESSION else _FAIL, after, section)
        for state, after in (
            (O.BETWEEN, O.FAILED), (O.AWAITING_RESPONSES, O.FAILED), (O.AWAITING_REPORT, O.FAILED),
            (O.SENDING, O.ABORTING), (O.INTERRUPTED, O.ABORTING),
        )
        for event, (scope, section) in CODES.items()
    ),
    OutRow(O.ABORTING, V.CHUNK_END, (D.END_ABORT,), O.FAILED, "RFC 4975 7.3.2"),
    OutRow(O.QUEUED, V.STOPPED, _FAIL, O.FAILED, "RFC 4975 10"),
    OutRow(O.BETWEEN, V.STOPPED, _FAIL, O.FAILED, "RFC 4975 10"),
    OutRow(O.SENDING, V.STOPPED, _FAIL, O.ABORTING, "RFC 4975 10"),
    OutRow(O.INTERRUPTED, V.STOPPED, _FAIL, O.ABORTING, "RFC 4975 10"),
    *(
        OutRow(state, V.LOST, _FAIL, O.FAILED, "RFC 4975 5.4")
        for state in (
            O.QUEUED, O.SENDING, O.INTERRUPTED, O.BETWEEN, O.AWAITING_RESPONSES, O.AWAITING_REPORT,
        )
    ),
    OutRow(O.ABORTING, V.LOST, (), O.FAILED, "RFC 4975 5.4"),
)  # fmt: skip
OUTGOING: Final = index(OUTGOING_ROWS)


# --- a message that is received


class In(StrEnum):
    """What a receiver knows of a Message-ID."""

    NEW = "New"  #: nothing, or nothing any more
    OPEN = "Chunk open"
    PARTIAL = "Partial"  #: octets are missing, no chunk is open
    COMPLETE = "Complete"
    REFUSED = "Refused"  #: nothing more of it is taken
    ABORTED = "Aborted"  #: it will never be complete; its Message-ID is unknown again


class InEvent(StrEnum):
    """What drives an incoming message: the head of a SEND as it was judged, the octets, the end, the session."""

    CHUNK = "SEND with body"
    EMPTY = "SEND without body"
    C400 = "400"  #: deserves 400; the other codes likewise
    C413 = "413"
    C415 = "415"
    C481 = "481"
    C501 = "501"
    GAP = "ends, octets missing"
    WHOLE = "ends, none missing"
    HASH = "ends with #"
    AGAIN = "chunk ends"  #: of a message that is complete already
    CUT = "cut off"  #: another message begins before the end-line
    LOST = "connection lost"
    FORGET = "not kept"  #: who took the message could not keep it


class InDo(StrEnum):
    """What a row of an incoming message does."""

    OPEN_SINK = "open sink"
    CLOSE_SINK = "close sink"
    ABORT_SINK = "abort sink"
    ANSWER = "200"
    REFUSE = "refuse"  #: answer the code of the event
    REFUSE_AGAIN = "refuse again"  #: answer the code that the message was refused with
    TELL_COMPLETE = "tell: complete"  #: with the 200 and the success REPORT, to be sent once the message is safe
    TELL_ABORTED = "tell: aborted"


InRow = Row[In, InEvent, InDo]
I, W, A = In, InEvent, InDo  # noqa: E741  short, for the table

_GIVE_UP: Final = (A.ABORT_SINK, A.TELL_ABORTED)

INCOMING_ROWS: Final[tuple[InRow, ...]] = (
    InRow(I.NEW, W.CHUNK, (A.OPEN_SINK,), I.OPEN, "RFC 4975 7.3.1"),
    InRow(I.PARTIAL, W.CHUNK, (), I.OPEN, "RFC 4975 7.3.1"),
    InRow(I.OPEN, W.GAP, (A.ANSWER,), I.PARTIAL, "RFC 4975 7.2"),
    InRow(I.OPEN, W.WHOLE, (A.CLOSE_SINK, A.TELL_COMPLETE), I.COMPLETE, "RFC 4975 7.3.1"),
    InRow(I.OPEN, W.HASH, (*_GIVE_UP, A.ANSWER), I.ABORTED, "RFC 4975 7.3.1"),
    InRow(I.OPEN, W.CUT, (), I.PARTIAL, "RFC 4975 7.3.1"),
    InRow(I.OPEN, W.LOST, _GIVE_UP, I.ABORTED, "RFC 4975 5.4"),
    InRow(I.PARTIAL, W.LOST, _GIVE_UP, I.ABORTED, "RFC 4975 5.4"),
    InRow(I.COMPLETE, W.CHUNK, (), I.COMPLETE, "RFC 4975 5.4"),
    InRow(I.COMPLETE, W.AGAIN, (A.ANSWER,), I.COMPLETE, "RFC 4975 5.4"),
    InRow(I.COMPLETE, W.FORGET, (), I.NEW, "RFC 4975 7.3.1"),
    InRow(I.REFUSED, W.FORGET, (), I.NEW, "RFC 4975 7.3.1"),
    InRow(I.REFUSED, W.CHUNK, (A.REFUSE_AGAIN,), I.REFUSED, "RFC 4975 10.5"),
    InRow(I.REFUSED, W.EMPTY, (A.REFUSE_AGAIN,), I.REFUSED, "RFC 4975 10.5"),
    InRow(I.NEW, W.C413, (A.REFUSE,), I.REFUSED, "RFC 4975 10.5"),
    InRow(I.NEW, W.C415, (A.REFUSE,), I.REFUSED, "RFC 4975 10.6"),
    InRow(I.PARTIAL, W.C413, (*_GIVE_UP, A.REFUSE), I.REFUSED, "RFC 4975 10.5"),
    InRow(I.PARTIAL, W.C415, (*_GIVE_UP, A.REFUSE), I.REFUSED, "RFC 4975 10.6"),
    InRow(I.OPEN, W.C413, (*_GIVE_UP, A.REFUSE), I.REFUSED, "RFC 4975 10.5"),
    InRow(I.COMPLETE, W.C413, (A.REFUSE,), I.COMPLETE, "RFC 4975 10.5"),
    InRow(I.COMPLETE, W.C415, (A.REFUSE,), I.COMPLETE, "RFC 4975 10.6"),
    *(InRow(state, W.EMPTY, (A.ANSWER,), state, "RFC 4975 7.2") for state in (I.NEW, I.PARTIAL, I.COMPLETE)),
    *(
        InRow(state, event, (A.REFUSE,), state, section)
        for state in (I.NEW, I.PARTIAL, I.COMPLETE, I.REFUSED)
        for event, section in (
            (W.C400, "RFC 4975 10.2"), (W.C481, "RFC 4975 7.3"), (W.C501, "RFC 4975 10.9"),
        )
    ),
)  # fmt: skip
INCOMING: Final = index(INCOMING_ROWS)
