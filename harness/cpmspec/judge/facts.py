"""All that a trace says, worked out once and read by every check. Nothing here is a verdict."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from cpmspec.evidence.context import ServedUser
from cpmspec.evidence.trace import Frame, Pco, Trace
from cpmspec.judge.anatomy import Anatomy
from cpmspec.judge.deferred import Deferred, deferred_messages
from cpmspec.judge.notices import Notice, Registration, notices, registrations
from cpmspec.judge.octets import (
    MsrpSeen,
    SipSeen,
    SipWrong,
    StoreCommand,
    msrp_messages,
    sip_messages,
    store_commands,
)
from cpmspec.judge.records import Record, records
from cpmspec.judge.sessions import DeliverySession, Outcome, delivery_sessions
from cpmspec.judge.settings import Settings
from cpmspec.judge.transfers import Attempt
from cpmspec.wire.msrp import Unreadable
from cpmspec.wire.sip import SipRequest

#: a 200 that leaves less than this before our side breaks the connection may not have been read
UNREAD_US = 1_000_000


@dataclass(frozen=True, slots=True)
class Fate:
    """How an attempt ended: the outcome, when it was known to the IUT at the latest, and why."""

    outcome: Outcome
    us: int
    reason: str


#: answers that concern one message only: the session goes on (RFC 4975 10.2, 10.3, 10.5)
FINAL_FOR_MESSAGE = frozenset({400, 403, 413})


def ending_us(attempt: Attempt) -> int | None:
    """When an answer to an attempt, or a failure REPORT, allowed the IUT to give up the whole session."""
    refusal = attempt.refusal
    if refusal is None or refusal.head.status in FINAL_FOR_MESSAGE:
        return None
    return refusal.end_us


#: an IUT that vanished may have been told to stop so long before: what it then ends or refuses is our doing
PARTING_US = 5_000_000


class Facts:
    """The view of one trace that the checks read."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.context = trace.context
        self.settings = Settings(trace.context)

    @property
    def users(self) -> tuple[ServedUser, ...]:
        """The served users of the case."""
        return self.context.users

    @property
    def closed(self) -> bool:
        """Whether the trace is complete: then what is absent will not come."""
        return self.context.closed_us is not None

    @cached_property
    def end_us(self) -> int:
        """The last instant that the trace speaks of."""
        last = self.trace.frames[-1].time_us if self.trace.frames else 0
        return max(last, self.context.closed_us or 0)

    @cached_property
    def _sip(self) -> tuple[list[SipSeen], list[SipWrong]]:
        return sip_messages(self.trace)

    @property
    def sip(self) -> list[SipSeen]:
        """All SIP messages."""
        return self._sip[0]

    @property
    def sip_wrong(self) -> list[SipWrong]:
        """What should have been SIP messages."""
        return self._sip[1]

    @cached_property
    def isc(self) -> list[SipSeen]:
        """The SIP messages between core and PF."""
        return [seen for seen in self.sip if seen.frame.pco is Pco.ISC]

    @cached_property
    def _msrp(self) -> dict[Pco, tuple[list[MsrpSeen], list[tuple[Frame, Unreadable]]]]:
        return {pco: msrp_messages(self.trace, pco) for pco in (Pco.MSRP, Pco.MO)}

    @property
    def msrp(self) -> list[MsrpSeen]:
        """The MSRP messages between client and PF."""
        return self._msrp[Pco.MSRP][0]

    @property
    def mo(self) -> list[MsrpSeen]:
        """The MSRP messages between originator and PF."""
        return self._msrp[Pco.MO][0]

    @property
    def msrp_wrong(self) -> list[tuple[Frame, Unreadable]]:
        """What should have been MSRP messages, at both points; only the first piece of a run says what is wrong."""
        return [*self._msrp[Pco.MSRP][1], *self._msrp[Pco.MO][1]]

    @cached_property
    def deferred(self) -> tuple[Deferred, ...]:
        """The deferred messages, in the order in which the PF accepted them."""
        return deferred_messages(self.isc, self.mo, self.users)

    @cached_property
    def _sessions(self) -> tuple[tuple[DeliverySession, ...], tuple[Attempt, ...]]:
        return delivery_sessions(self.trace, self.sip, self.msrp)

    @property
    def sessions(self) -> tuple[DeliverySession, ...]:
        """All sessions that deliver, or were asked to, in order."""
        return self._sessions[0]

    @property
    def strays(self) -> tuple[Attempt, ...]:
        """SENDs with content that belong to no session."""
        return self._sessions[1]

    @cached_property
    def established(self) -> tuple[DeliverySession, ...]:
        """The sessions that got a 2xx."""
        return tuple(session for session in self.sessions if session.established)

    @cached_property
    def anatomies(self) -> tuple[Anatomy, ...]:
        """Every attempt of every session, taken apart, in order."""
        attempts = [attempt for session in self.sessions for attempt in session.attempts] + list(self.strays)
        found = tuple(Anatomy(attempt, self.deferred) for attempt in sorted(attempts, key=lambda one: one.frame))
        self._tell_apart(found)
        for session in self.sessions:
            self._assume(session, found)
        return found

    def _tell_apart(self, anatomies: tuple[Anatomy, ...]) -> None:
        """Take messages that nothing tells apart for one after the other of those that they can be."""
        given: list[tuple[Attempt, Deferred]] = []
        for anatomy in anatomies:
            attempt, rivals = anatomy.attempt, anatomy.rivals
            if not rivals:
                continue
            used = []
            for earlier, one in given:
                here = earlier.session is attempt.session
                if here and earlier.message_id == attempt.message_id:
                    anatomy.assumed = one
                elif here or self.fate(earlier).outcome is not Outcome.FAILED:
                    used.append(one)
            if anatomy.assumed is None:
                anatomy.assumed = next((one for one in rivals if one not in used), rivals[0])
            given.append((attempt, anatomy.assumed))

    def _assume(self, session: DeliverySession, anatomies: tuple[Anatomy, ...]) -> None:
        """Take whole messages that nothing identifies for those that are missing, if there are as many of both."""
        before = [one for one in anatomies if one.attempt.begin_us <= (session.end_us or self.end_us)]
        seen = {deferred.key for one in before for deferred in one.matched}
        missing = [
            one
            for one in self.deferred
            if one.firm and one.user == session.user and one.accepted_us < session.begin_us and one.key not in seen
        ]
        unknown = [
            one for one in anatomies if one.attempt.session is session and one.attempt.complete and not one.matched
        ]
        if len(unknown) == len(missing):
            for anatomy, deferred in zip(unknown, missing, strict=True):
                anatomy.assumed = deferred

    @cached_property
    def whole(self) -> tuple[Anatomy, ...]:
        """The anatomies of the attempts of which every octet arrived."""
        return tuple(one for one in self.anatomies if one.attempt.complete)

    def attempts_for(
        self, deferred: Deferred, sessions: Iterable[DeliverySession] | None = None
    ) -> tuple[Anatomy, ...]:
        """The attempts at one deferred message, in order; only those of the given sessions, if given."""
        within = None if sessions is None else {id(session) for session in sessions}
        return tuple(
            one
            for one in self.anatomies
            if deferred in one.matched and (within is None or id(one.attempt.session) in within)
        )

    @cached_property
    def notices(self) -> tuple[Notice, ...]:
        """The notifications."""
        forwarded = frozenset(
            seen.message.call_id or ""
            for seen in self.isc
            if not seen.from_iut and isinstance(seen.message, SipRequest) and seen.message.method == "MESSAGE"
        )
        return notices(self.isc, self.settings, forwarded)

    @cached_property
    def registrations(self) -> tuple[Registration, ...]:
        """The third-party registrations."""
        return registrations(self.isc, self.users)

    @cached_property
    def commands(self) -> list[StoreCommand]:
        """The IMAP commands."""
        return store_commands(self.trace)

    @cached_property
    def records(self) -> tuple[Record, ...]:
        """What was written to the message store."""
        return records(self.commands, self.deferred, self.users)

    def sessions_of(self, user: ServedUser) -> tuple[DeliverySession, ...]:
        """The sessions of one user, in order."""
        return tuple(session for session in self.sessions if session.user == user)

    def fate(self, attempt: Attempt) -> Fate:
        """How the transfer ended as far as the IUT can know (statements B27, C13, C14; IXIT ``delivered_means``)."""
        refusal = attempt.refusal
        if refusal is not None and refusal.head.status is not None and attempt.mended:
            return Fate(Outcome.UNKNOWN, attempt.end_us, "a chunk was refused, and taken when it was sent again")
        if refusal is not None:
            return Fate(Outcome.FAILED, refusal.end_us, f"answered {refusal.head.status or 'by a failure REPORT'}")
        if attempt.aborted:
            return Fate(Outcome.FAILED, attempt.end_us, "given up by the sender itself")
        if attempt.failure_report != "yes":
            return self._without_answers(attempt)
        accepted = attempt.accepted_us
        if accepted is None:
            return Fate(Outcome.FAILED, self._given_up_us(attempt, attempt.end_us), "not every chunk was answered 200")
        slowest = max(
            answer.end_us - chunk.end_us
            for chunk, answer in zip(attempt.chunks, attempt.answers, strict=True)
            if answer is not None
        )
        if (slowest + self.settings.late_us) * 10 > self.settings.us("msrp_response_timer") * 9:
            return Fate(Outcome.UNKNOWN, accepted, "the 200 came when the response timer was running out")
        if attempt.success_report and self.settings.value("delivered_means") != "200":
            return self._reported(attempt, accepted)
        return self._if_read(attempt, accepted)

    def _given_up_us(self, attempt: Attempt, since: int) -> int:
        """When an IUT that waits in vain stops waiting: with its timer, or with the session."""
        ends = [since + self.settings.us("msrp_response_timer")]
        if attempt.session is not None and attempt.session.end_us is not None:
            ends.append(max(attempt.session.end_us, since))
        return min(ends)

    def _without_answers(self, attempt: Attempt) -> Fate:
        """Failure-Report partial or no: there is no 200, so that at most a success REPORT tells (RFC 4975 7.1.2)."""
        asked = f"Failure-Report {attempt.failure_report} asks for no answer"
        if not attempt.success_report:
            return Fate(Outcome.UNKNOWN, attempt.end_us, asked)
        if attempt.reported_us is None and self.settings.value("delivered_means") == "200":
            return Fate(Outcome.UNKNOWN, self._given_up_us(attempt, attempt.end_us), asked)
        return self._reported(attempt, attempt.end_us)

    def _reported(self, attempt: Attempt, since: int) -> Fate:
        reported = attempt.reported_us
        if reported is not None:
            return self._if_read(attempt, max(since, reported))
        outcome = Outcome.FAILED if self.settings.explicit("delivered_means") else Outcome.UNKNOWN
        return Fate(outcome, self._given_up_us(attempt, since), "a success REPORT was asked for and did not come")

    def _if_read(self, attempt: Attempt, known: int) -> Fate:
        """Delivered, if the session went on long enough for the IUT to have read the last word."""
        session = attempt.session
        if session is not None:
            ends = [session.broken.time_us] if session.broken is not None else []
            ends += [seen.us for seen in (session.client_bye, session.bye) if seen is not None and seen.us < known]
            ends += [
                refusal for other in session.attempts if (refusal := ending_us(other)) is not None and refusal < known
            ]
            if any(us < known + UNREAD_US for us in ends):
                return Fate(
                    Outcome.UNKNOWN, known, "the session ended before the last 200 can have been read for certain"
                )
        return Fate(Outcome.DELIVERED, known, "the client took all of it")

    def settled(self, attempt: Attempt) -> Fate | None:
        """The fate of a delivered attempt, if a later act of the IUT shows that it read the final answer (DLV-4.3)."""
        return self.fate(attempt) if self.read_us(attempt) is not None else None

    def read_us(self, attempt: Attempt) -> int | None:
        """When a later act of the IUT showed that it had read the final answer of a delivered attempt."""
        fate, session = self.fate(attempt), attempt.session
        if fate.outcome is not Outcome.DELIVERED or session is None:
            return None
        if session.bye is not None and session.bye.us >= fate.us:
            return session.bye.us
        end, read = session.end_us, fate.us + self.settings.us("quiet_period")
        return read if end is not None and end >= read else None

    def settled_before(self, deferred: Deferred, us: int) -> Fate | None:
        """The fate of a message that was delivered for certain before that time."""
        for anatomy in self.attempts_for(deferred):
            fate = self.settled(anatomy.attempt)
            if fate is not None and fate.us < us:
                return fate
        return None

    @cached_property
    def fates(self) -> dict[int, tuple[tuple[Anatomy, Fate], ...]]:
        """For each deferred message (by key) its attempts in sessions with their fates, in order."""
        return {
            one.key: tuple(
                (anatomy, self.fate(anatomy.attempt)) for anatomy in self.attempts_for(one) if anatomy.attempt.session
            )
            for one in self.deferred
        }

    def taken(self, deferred: Deferred, before_us: int) -> bool:
        """Whether the message may count as delivered before that time: it was, or nobody can know."""
        return any(fate.outcome is not Outcome.FAILED and fate.us < before_us for _, fate in self.fates[deferred.key])

    def waiting(self, session: DeliverySession) -> tuple[Deferred, ...]:
        """What was in the user's queue all through a session: accepted before it, not delivered, not expired."""
        last = session.end_us or self.end_us
        return tuple(
            one
            for one in self.deferred
            if one.firm
            and one.user == session.user
            and one.accepted_us < session.begin_us
            and not self.taken(one, session.begin_us)
            and not one.expired(last + self.settings.us("clock_tolerance"))
        )

    def last_outcome_us(self, session: DeliverySession) -> int | None:
        """When the last outcome of the session was known."""
        return max((self.fate(attempt).us for attempt in session.attempts), default=None)

    def parting(self, session: DeliverySession) -> bool:
        """Whether the IUT was on its way out when it answered or ended a session: told to stop, it says goodbye."""
        gone = self.context.iut_gone_us
        acts = [seen.us for seen in (session.answer, session.bye) if seen is not None and seen.from_iut]
        return gone is not None and any(us > gone - PARTING_US for us in acts)

    def occupied(self, session: DeliverySession) -> bool:
        """Whether the PF may have taken the queue for busy when a session began: then it answers as if it were empty.

        Another session of the user was open (a second device), or one that was over had a SEND whose answer was
        still out and whose response timer was still running.
        """
        timer = self.settings.us("msrp_response_timer") + UNREAD_US
        for other in self.sessions_of(session.user):
            if other is session or not other.established or other.begin_us >= session.begin_us:
                continue
            if other.end_us is None or other.end_us > session.begin_us:
                return True
            if any(
                attempt.accepted_us is None and attempt.refusal is None and attempt.end_us + timer > session.begin_us
                for attempt in other.attempts
            ):
                return True
        return False
