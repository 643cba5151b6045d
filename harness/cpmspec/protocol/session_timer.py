"""The session timer of one dialog (RFC 4028) without I/O: negotiation, refreshes, the end of a dead session.

A :class:`SessionTimer` is the same on both sides. Who sends an INVITE or UPDATE puts :meth:`SessionTimer.offer` into it
and gives the final response to :meth:`SessionTimer.response`; who answers one asks :meth:`SessionTimer.answer` what
goes into the 2xx. From then on the shell asks :meth:`SessionTimer.deadline` when to call :meth:`SessionTimer.advance`,
and does what comes back: :class:`Refresh` the session, or :class:`End` it with BYE. Times are seconds on any clock that
never steps back. The rows are in :mod:`cpmspec.protocol.session_timer_table`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from cpmspec.protocol.errors import LocalProtocolError, RemoteProtocolError
from cpmspec.protocol.session_timer_table import TABLE, Do, Event, State
from cpmspec.wire.sip import SipRequest, SipResponse
from cpmspec.wire.sip_values import SessionExpires

OPTION: Final = "timer"
#: no interval is shorter, in seconds (RFC 4028 4)
LEAST: Final = 90
#: seconds before the end of the interval at which BYE is sent, at most; else a third of it (RFC 4028 10)
BYE_BEFORE: Final = 32

Side: TypeAlias = Literal["uac", "uas"]
HeaderPairs: TypeAlias = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Policy:
    """What a user agent wants of session timers.

    ``interval`` is what it asks for, in seconds; ``None``: it asks for none, but honours what the peer asks for.
    ``min_se`` is the least that it takes. ``refresher`` is who it wants to refresh, it or the peer; ``None``: either.

    :raises LocalProtocolError: ``min_se`` is below 90, or the interval below that (RFC 4028 4, 5).
    """

    interval: int | None = None
    min_se: int = LEAST
    refresher: Literal["us", "peer"] | None = None

    def __post_init__(self) -> None:
        if self.min_se < LEAST or (self.interval is not None and self.interval < self.min_se):
            raise LocalProtocolError(f"interval {self.interval}, at least {self.min_se}: RFC 4028 has {LEAST} or more")


@dataclass(frozen=True, slots=True)
class Refresh:
    """Send a re-INVITE or UPDATE that has these headers, and give its outcome to the timer."""

    headers: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class End:
    """Send BYE: nobody has refreshed the session in time."""

    why: str


Output: TypeAlias = Refresh | End


class SessionTimer:
    """The timer of one session. ``interval`` is the one agreed, in seconds, while a timer runs."""

    def __init__(self, policy: Policy | None = None) -> None:
        self.policy = policy or Policy()
        self.state = State.OFF
        self.interval: int | None = None
        self._least = self.policy.min_se  #: for our requests: grows with each 422 (7.3)
        self._told = 0  #: what the last 422 asked for
        self._half: float | None = None
        self._expiry: float | None = None

    # -- as the side that sends the request ---------------------------------------------------------------------------

    def offer(self) -> HeaderPairs:
        """The headers of an INVITE or UPDATE of ours, first or later (RFC 4028 7.1, 7.4)."""
        headers: HeaderPairs = [("Supported", OPTION)]
        wanted = self.interval or self.policy.interval
        if wanted is not None:
            headers.append(("Session-Expires", str(SessionExpires(max(wanted, self._least), self._wanted()))))
        if self._least > LEAST or self._told:
            headers.append(("Min-SE", str(self._least)))
        return headers

    def response(self, response: SipResponse, now: float) -> list[Output]:
        """Take the final response to an INVITE or UPDATE of ours; a provisional one does nothing.

        After a 422 to the first INVITE the next :meth:`offer` asks for what the peer takes; that to a refresh is sent
        again at once. A 422 that asks for no more than we offered refuses.
        """
        if response.status < 200:
            return []
        if response.status < 300:
            return self._agreed(response.session_expires, "uac", now)
        asked = max(self.interval or self.policy.interval or 0, self._least)
        if response.status == 422 and (response.min_se or 0) > asked:
            self._told = response.min_se or 0
            return self._fire(Event.TOO_SMALL, now)
        return self._fire(Event.GONE if response.status in (408, 481) else Event.REFUSED, now)

    def no_response(self, now: float) -> list[Output]:
        """Our INVITE or UPDATE got no final response at all."""
        return self._fire(Event.GONE, now)

    # -- as the side that answers -------------------------------------------------------------------------------------

    def answer(self, request: SipRequest, now: float) -> HeaderPairs:
        """What goes into the 2xx to an INVITE or UPDATE of the peer, which is sent now (RFC 4028 9).

        :raises RemoteProtocolError: 422, the peer asks for less than we take; :meth:`refusal` has what goes into it.
        """
        asked = request.session_expires
        supported = OPTION in [option.lower() for option in request.supported]
        if asked is not None and asked.seconds < self.policy.min_se and supported:
            raise RemoteProtocolError(f"Session-Expires {asked.seconds}, at least {self.policy.min_se}", 422)
        interval = self._interval(asked, request.min_se)
        if interval is None:
            self._agreed(None, "uas", now)
            return []
        refresher: Side = "uas"
        if supported:
            refresher = _side(asked) or ("uac" if self.policy.refresher != "us" else "uas")
        agreed = SessionExpires(interval, refresher)
        self._agreed(agreed, "uas", now)
        # who has to refresh has to know that (RFC 4028 9)
        required = [("Require", OPTION)] if refresher == "uac" else []
        return [*required, ("Session-Expires", str(agreed)), ("Supported", OPTION)]

    def refusal(self) -> HeaderPairs:
        """The headers of a 422 (RFC 4028 9)."""
        return [("Min-SE", str(self.policy.min_se))]

    # -- time ---------------------------------------------------------------------------------------------------------

    def deadline(self) -> float | None:
        """When to call :meth:`advance`; ``None`` if no timer runs."""
        return min((time for time in (self._half, self._expiry) if time is not None), default=None)

    def advance(self, now: float) -> list[Output]:
        """Do what is due."""
        outputs: list[Output] = []
        if self._half is not None and now >= self._half:
            self._half = None
            outputs += self._fire(Event.HALF, now)
        if self._expiry is not None and now >= self._expiry:
            outputs += self._fire(Event.EXPIRY, now)
        return outputs

    def over(self, now: float) -> None:
        """The session has ended, by a BYE of either side."""
        self._fire(Event.OVER, now)

    # -- inside -------------------------------------------------------------------------------------------------------

    def _wanted(self) -> Side | None:
        """The refresher for a request of ours: as it is, if a timer runs (7.4), else as the policy has it."""
        match self.state, self.policy.refresher:
            case (State.REFRESHER | State.REFRESHING, _) | (State.OFF, "us"):
                return "uac"
            case (State.WATCHING, _) | (State.OFF, "peer"):
                return "uas"
        return None

    def _interval(self, asked: SessionExpires | None, least: int | None) -> int | None:
        """The interval for the answer: never more than asked, never less than what both take (9)."""
        ours = self.policy.interval
        if asked is None or asked.seconds < LEAST:
            return None if ours is None or asked is not None else max(ours, least or LEAST)
        floor = max(self.policy.min_se, least or LEAST)
        return asked.seconds if ours is None else min(asked.seconds, max(ours, floor))

    def _agreed(self, agreed: SessionExpires | None, role: Side, now: float) -> list[Output]:
        """A 2xx tells the interval and who refreshes; ``role`` is ours in its transaction."""
        if agreed is None or agreed.seconds < LEAST:  # RFC 4028 4: less is no session timer
            self.interval = None
            return self._fire(Event.NO_TIMER, now)
        self.interval = agreed.seconds
        # without the parameter, which the UAS must give, the UAC of the transaction refreshes: it has asked
        ours = (_side(agreed) or "uac") == role
        return self._fire(Event.OURS if ours else Event.THEIRS, now)

    def _fire(self, event: Event, now: float) -> list[Output]:
        row = TABLE.get((self.state, event))
        if row is None:
            return []
        outputs: list[Output] = []
        self.state = row.next
        if Do.START in row.actions or Do.START_EXPIRY in row.actions:
            interval = float(self.interval or LEAST)
            self._half = now + interval / 2 if Do.START in row.actions else None
            self._expiry = now + interval - min(BYE_BEFORE, interval / 3)
        if Do.RAISE in row.actions:
            self._least = self._told
        if Do.REFRESH in row.actions:
            outputs.append(Refresh(tuple(self.offer())))
        if Do.BYE in row.actions:
            why = "the refresh got no answer" if event is Event.GONE else "no refresh in time"
            outputs.append(End(why))
        if row.next in (State.OFF, State.ENDED):
            self._half = self._expiry = None
        return outputs


def _side(value: SessionExpires | None) -> Side | None:
    """The refresher of a Session-Expires that has one."""
    match value.refresher if value is not None else None:
        case "uac":
            return "uac"
        case "uas":
            return "uas"
    return None
