"""The four SIP transactions (RFC 3261 17, RFC 6026) without I/O, driven by the tables beside this module.

A :class:`Transaction` is given messages and the time, and gives back what to do: :class:`Send` a message,
:class:`Deliver` one to the transaction user (TU), tell it that the transaction :class:`Failed`, or forget the
transaction (:class:`Terminated`). Times are seconds on any clock that never steps back. The shell asks
:meth:`Transaction.deadline` when to call :meth:`Transaction.advance`.

:class:`SuccessRepeat` is the timer of the UAS core that repeats a 2xx to an INVITE until its ACK comes (13.3.1.4).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from cpmspec.protocol.errors import LocalProtocolError
from cpmspec.protocol.transaction_tables import (
    REPEAT,
    RUNNING,
    TABLES,
    Do,
    Event,
    Kind,
    Repeat,
    RepeatDo,
    RepeatEvent,
    State,
    Timer,
)
from cpmspec.wire.sip import SipRequest, SipResponse, build_request, response_to

#: start of every branch that is unique by itself (RFC 3261 8.1.1.7)
MAGIC_COOKIE: Final = "z9hG4bK"
#: seconds after which an INVITE server transaction answers 100 by itself (17.2.1)
TRYING_AFTER: Final = 0.2
#: least seconds for which an INVITE client transaction over UDP absorbs repeated final responses (17.1.1.2)
LEAST_TIMER_D: Final = 32.0


@dataclass(frozen=True, slots=True)
class Timing:
    """The base values in seconds (RFC 3261 17.1.1.1, 17.1.2.2); :meth:`scaled` keeps their proportions."""

    t1: float = 0.5
    t2: float = 4.0
    t4: float = 5.0

    @classmethod
    def scaled(cls, t1: float) -> Timing:
        """T2 and T4 in the same proportion to T1 as in the RFC."""
        return cls(t1, 8 * t1, 10 * t1)

    @property
    def give_up(self) -> float:
        """64*T1: timers B, F, H, J, L and M."""
        return 64 * self.t1


# RFC 3261 appendix A: (timing, reliable, previous interval or 0, state) -> seconds; None: not started
_Interval: TypeAlias = Callable[[Timing, bool, float, State], float | None]


def _give_up(timing: Timing, _reliable: bool, _last: float, _state: State) -> float:
    return timing.give_up


def _doubling(timing: Timing, reliable: bool, last: float, _state: State) -> float | None:
    return None if reliable else 2 * last or timing.t1


def _capped(timing: Timing, reliable: bool, last: float, state: State) -> float | None:
    if reliable:
        return None
    return timing.t2 if state is State.PROCEEDING else min(2 * last or timing.t1, timing.t2)


def _absorb(timing: Timing, reliable: bool, _last: float, _state: State) -> float:
    return 0.0 if reliable else timing.t4


_INTERVALS: Final[dict[Timer, _Interval]] = {
    Timer.A: _doubling,
    Timer.E: _capped,
    Timer.G: _capped,
    Timer.D: lambda timing, reliable, _last, _state: 0.0 if reliable else max(LEAST_TIMER_D, timing.give_up),
    Timer.I: _absorb,
    Timer.K: _absorb,
    Timer.J: lambda timing, reliable, _last, _state: 0.0 if reliable else timing.give_up,
    Timer.TRYING: lambda _timing, _reliable, _last, _state: TRYING_AFTER,
}


@dataclass(frozen=True, slots=True)
class Send:
    """Put this message on the wire."""

    message: SipRequest | SipResponse


@dataclass(frozen=True, slots=True)
class Deliver:
    """Hand this message to the TU."""

    message: SipRequest | SipResponse


@dataclass(frozen=True, slots=True)
class Failed:
    """The transaction came to no end of its own: no answer in time, or the transport failed."""

    why: Literal["timeout", "transport"]


@dataclass(frozen=True, slots=True)
class Terminated:
    """The transaction is over and can be forgotten."""


Output: TypeAlias = Send | Deliver | Failed | Terminated


class Transaction:
    """One transaction of either side; ``kind`` follows from the method of the request."""

    def __init__(self, request: SipRequest, *, client: bool, reliable: bool, timing: Timing | None = None) -> None:
        if request.method == "ACK":
            raise LocalProtocolError("an ACK is no transaction of its own (RFC 3261 17)")
        invite = request.method == "INVITE"
        if client:
            self.kind = Kind.INVITE_CLIENT if invite else Kind.CLIENT
        else:
            self.kind = Kind.INVITE_SERVER if invite else Kind.SERVER
        self.request = request
        self.state = State.INITIAL
        self.response: SipResponse | None = None  #: the latest one given or received
        self._client = client
        self._reliable = reliable
        self._timing = timing or Timing()
        self._due: dict[Timer, float] = {}
        self._intervals: dict[Timer, float] = {}

    def start(self, now: float) -> list[Output]:
        """Begin: sends the request (client) or delivers it (server)."""
        return self._event(Event.BEGIN, self.request, now)

    def receive(self, message: SipRequest | SipResponse, now: float) -> list[Output]:
        """Take a message that matched this transaction: a response (client), a repeated request or an ACK (server)."""
        if isinstance(message, SipResponse):
            if not self._client:
                raise LocalProtocolError("a server transaction takes no response from the network")
            return self._event(_class_of(message.status), message, now)
        return self._event(Event.ACK if message.method == "ACK" else Event.REQUEST, message, now)

    def respond(self, response: SipResponse, now: float) -> list[Output]:
        """The TU of a server transaction answers; what has no row (a second final response) is dropped (17.2.2)."""
        if self._client:
            raise LocalProtocolError("a client transaction sends no response")
        event = _class_of(response.status)
        if (self.state, event) in TABLES[self.kind]:
            self.response = response
            self._due.pop(Timer.TRYING, None)
        return self._event(event, response, now)

    def transport_error(self, now: float) -> list[Output]:
        """The transport could not carry what this transaction sent (17.1.4, 17.2.4)."""
        return self._event(Event.TRANSPORT_ERROR, self.request, now)

    def advance(self, now: float) -> list[Output]:
        """Fire the timers that are due, in the order in which they became due."""
        outputs: list[Output] = []
        while self._due:
            timer, due = min(self._due.items(), key=lambda item: item[1])
            if due > now:
                break
            del self._due[timer]
            outputs += self._step(timer, self.request, due)
        return outputs

    def deadline(self) -> float | None:
        """When :meth:`advance` is to be called next."""
        return min(self._due.values(), default=None)

    def _event(self, event: Event, message: SipRequest | SipResponse, now: float) -> list[Output]:
        return [*self.advance(now), *self._step(event, message, now), *self.advance(now)]

    def _step(self, event: Event | Timer, message: SipRequest | SipResponse, now: float) -> list[Output]:
        """Apply one row; an event without a row changes nothing (a stray response, a late timer)."""
        row = TABLES[self.kind].get((self.state, event))
        if row is None:
            return []
        if self._client and isinstance(message, SipResponse):
            self.response = message
        outputs: list[Output] = []
        self._enter(row.next)
        for action in row.actions:
            if isinstance(action, Timer):
                self._start_timer(action, now)
            else:
                outputs += self._do(action, message)
        if row.next is State.TERMINATED:
            outputs.append(Terminated())
        return outputs

    def _enter(self, state: State) -> None:
        self.state = state
        allowed = RUNNING[self.kind][state]
        self._due = {timer: due for timer, due in self._due.items() if timer in allowed}

    def _start_timer(self, timer: Timer, now: float) -> None:
        interval = _INTERVALS.get(timer, _give_up)(
            self._timing, self._reliable, self._intervals.get(timer, 0.0), self.state
        )
        if interval is not None:
            self._intervals[timer] = interval
            self._due[timer] = now + interval

    def _do(self, action: Do, message: SipRequest | SipResponse) -> list[Output]:
        match action:
            case Do.SEND:
                latest = self.request if self._client else self.response
                return [] if latest is None else [Send(latest)]
            case Do.SEND_ACK:
                return [Send(ack_of_failure(self.request, message))] if isinstance(message, SipResponse) else []
            case Do.SEND_TRYING:
                self.response = response_to(self.request, 100)
                return [Send(self.response)]
            case Do.DELIVER:
                return [Deliver(message)]
            case Do.TIMED_OUT:
                return [Failed("timeout")]
            case _:  # Do.TRANSPORT_FAILED
                return [Failed("transport")]


class SuccessRepeat:
    """Repeats a 2xx to an INVITE from T1 up to T2 until its ACK, over any transport; ends after 64*T1 (13.3.1.4)."""

    def __init__(self, response: SipResponse, now: float, timing: Timing | None = None) -> None:
        self.response = response
        self.state = Repeat.REPEATING
        self._timing = timing or Timing()
        self._interval = self._timing.t1
        self._next = now + self._interval
        self._end = now + self._timing.give_up

    def stop(self) -> None:
        """The ACK has come, or the dialog is gone."""
        self._fire(RepeatEvent.ACK)

    def deadline(self) -> float | None:
        """When :meth:`advance` is to be called next; ``None`` when stopped."""
        return min(self._next, self._end) if self.state is Repeat.REPEATING else None

    def advance(self, now: float) -> list[Output]:
        """Send again what is due, or say that no ACK came."""
        outputs: list[Output] = []
        while (due := self.deadline()) is not None and due <= now:
            outputs += self._fire(RepeatEvent.DUE if self._next < self._end else RepeatEvent.GIVE_UP)
        return outputs

    def _fire(self, event: RepeatEvent) -> list[Output]:
        row, outputs = REPEAT.get((self.state, event)), list[Output]()
        if row is None:
            return outputs
        self.state = row.next
        for action in row.actions:
            if action is RepeatDo.SEND:
                outputs.append(Send(self.response))
            elif action is RepeatDo.INTERVAL:
                self._interval = min(2 * self._interval, self._timing.t2)
                self._next += self._interval
            else:  # RepeatDo.TIMED_OUT
                outputs.append(Failed("timeout"))
        return outputs


def ack_of_failure(request: SipRequest, response: SipResponse) -> SipRequest:
    """The ACK that the client transaction sends for a final response of 300 to 699 (RFC 3261 17.1.1.3)."""
    headers = [("Via", request.headers.values("via")[0])]
    headers += [("Route", value) for value in request.headers.get_all("route")]
    headers += [
        ("Max-Forwards", request.headers.get("max-forwards") or "70"),
        ("From", request.headers.get("from") or ""),
        ("To", response.headers.get("to") or ""),
        ("Call-ID", request.call_id or ""),
        ("CSeq", f"{request.cseq.number if request.cseq else 1} ACK"),
    ]
    return build_request("ACK", request.uri, headers, whole=True)


def cancel_of(request: SipRequest) -> SipRequest:
    """The CANCEL of a request: same Request-URI, Call-ID, To, From, CSeq number, top Via and Route (RFC 3261 9.1)."""
    headers = [("Via", request.headers.values("via")[0])]
    headers += [("Route", value) for value in request.headers.get_all("route")]
    headers += [
        ("Max-Forwards", "70"),
        ("From", request.headers.get("from") or ""),
        ("To", request.headers.get("to") or ""),
        ("Call-ID", request.call_id or ""),
        ("CSeq", f"{request.cseq.number if request.cseq else 1} CANCEL"),
    ]
    return build_request("CANCEL", request.uri, headers, whole=True)


def client_key(message: SipRequest | SipResponse) -> Hashable:
    """What pairs a response with the request sent: branch of the top Via and CSeq method (RFC 3261 17.1.3)."""
    via, cseq = message.via, message.cseq
    return (via[0].branch if via else None, cseq.method if cseq else None)


def server_key(request: SipRequest, *, method: str | None = None) -> Hashable:
    """What pairs a request with its transaction (RFC 3261 17.2.3); an ACK has the key of its INVITE.

    ``method`` asks for the key that this request's branch has with another method: the INVITE of a CANCEL (9.2).
    """
    wanted = method or ("INVITE" if request.method == "ACK" else request.method)
    top = request.via[0] if request.via else None
    sent_by = (top.host.lower(), top.port) if top else None
    if top and (top.branch or "").startswith(MAGIC_COOKIE):
        return (top.branch, sent_by, wanted)
    number = request.cseq.number if request.cseq else None
    return (request.call_id, request.from_tag, number, top.branch if top else None, sent_by, wanted)


def _class_of(status: int) -> Event:
    if status < 200:
        return Event.PROVISIONAL
    return Event.SUCCESS if status < 300 else Event.FAILURE
