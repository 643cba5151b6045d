"""What a case is given: the lab. It defers messages, has clients fetch them, and gathers what the judge must know.

A case only stimulates; it asserts nothing. Everything that crosses a point of observation goes to its trace, and the
trace is judged. Labs share no state, so cases may run side by side on one loop.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Coroutine, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from cpmspec.actors.client import Behaviour, Client, Offer, Session
from cpmspec.actors.originator import LargeSent, Originator, PagerSent
from cpmspec.actors.policy import Policy
from cpmspec.evidence.context import ServedUser, Submission
from cpmspec.net.clock import now_us
from cpmspec.net.sip import Hop
from cpmspec.suite.case import CaseRun, Inconclusive
from cpmspec.sut.profile import Ixit, Pics, Profile

if TYPE_CHECKING:
    from cpmspec.suite.bench import Bench

__all__ = ["Behaviour", "Inconclusive", "Lab", "Offer", "Session"]

#: octets of the content that a large message carries where the case does not choose: more than one chunk
LARGE_CONTENT = 3000

#: seconds added to a limit of the IXIT before the suite gives up waiting: the judge goes by the times in the trace
SLACK = 1.0

#: what a request comes to if nobody answers it, or an error that somebody else's silence may be the cause of
_SILENCE = (None, 408, 500, 503)

T = TypeVar("T")


class StoreHandle:
    """The message store as a case sees it: told to misbehave for one user's account."""

    def __init__(self, bench: Bench, profile: Profile) -> None:
        self._bench = bench
        self._profile = profile

    async def fault(self, user: ServedUser, fault: str | None) -> None:
        """From now on ``fail`` (answer NO), ``hang`` or ``refuse`` for that user; ``None``: behave."""
        await self._bench.lab_call("store-fault", account=user.account, fault=fault)


class Lab:
    """The lab of one case. Users, clients and originators are made on demand and are this case's alone."""

    def __init__(self, bench: Bench, run: CaseRun) -> None:
        self._bench = bench
        self._run = run
        self._clients: dict[str, Client] = {}
        self._originators: dict[tuple[str, str], Originator] = {}
        self._legs: dict[str, str] = {}
        self._default: ServedUser | None = None
        self._messages = 0
        self.store = StoreHandle(bench, run.profile)

    @property
    def profile(self) -> Profile:
        """The profile of the IUT."""
        return self._run.profile

    @property
    def ixit(self) -> Ixit:
        """How the suite reads this IUT; times in seconds."""
        return self._run.profile.ixit

    @property
    def pics(self) -> Pics:
        """What the IUT supports."""
        return self._run.profile.pics

    @property
    def case(self) -> str:
        """The id of the case."""
        return self._run.spec.id

    @property
    def users(self) -> tuple[ServedUser, ...]:
        """The users of the case so far."""
        return tuple(self._run.users)

    # --- who ---------------------------------------------------------------------------------------------------------

    async def user(
        self, *, history: bool = True, establishment: str | None = None, transport: str | None = None, family: int = 4
    ) -> ServedUser:
        """A user of that kind, unreachable and with an empty queue; the first one is the default of the other calls.

        ``transport`` and ``family`` (4 or 6) choose the leg between core and IUT.

        :raises NotApplicable: the profile has no such user, or the IUT does not listen there.
        """
        flow = establishment or self.ixit.establishment
        leg = transport or self._bench.default_transport
        self._bench.require_endpoint(leg, family)
        user = await self._bench.take_user(self._run, history=history, establishment=flow)
        if self._default is None:
            self._default = user
        self._legs[user.uri] = leg + ("6" if family == 6 else "")
        await self._bench.lab_call("policy", user=user.uri, policy=Policy(transport=leg, family=family).to_json())
        return user

    async def sender(self) -> str:
        """A fresh originator's identity."""
        uri = self._bench.users.sender()
        await self._bench.own(self._run, uri)
        return uri

    def client(self, user: ServedUser | None = None) -> Client:
        """The client of a user, started.

        :raises LookupError: the case has no such user.
        """
        chosen = user or self._default
        if chosen is None or chosen.uri not in self._clients:
            raise LookupError(f"{self.case} has no client yet: ask lab.user() and lab.register() first")
        return self._clients[chosen.uri]

    async def policy(self, user: ServedUser | None = None, **fields: Any) -> None:
        """How the core treats a user's traffic (:class:`~cpmspec.actors.policy.Policy`)."""
        chosen = await self._chosen(user)
        await self._bench.lab_call("policy", user=chosen.uri, policy=Policy(**fields).to_json())

    async def held(self, user: ServedUser | None = None) -> None:
        """Wait until the core holds a 2xx of that user's client (policy ``hold_2xx``)."""
        await self._bounded(self._bench.lab_call("held", user=(await self._chosen(user)).uri), 64 * self.ixit.sip_t1)

    async def release(self, user: ServedUser | None = None) -> None:
        """Let what the core holds for a user go."""
        await self._bench.lab_call("release", user=(await self._chosen(user)).uri)

    # --- preamble ----------------------------------------------------------------------------------------------------

    async def defer(
        self,
        mode: str,
        count: int = 1,
        *,
        user: ServedUser | None = None,
        content: bytes | None = None,
        content_type: str = "text/plain;charset=UTF-8",
        sender: str | None = None,
        headers: Mapping[str, str] | None = None,
        **options: Any,
    ) -> list[Submission]:
        """Send messages to a user who is not reachable; ``options`` go to the originator's call of that mode.

        :raises Inconclusive: the IUT did not take one (blame preamble).
        """
        chosen = await self._chosen(user)
        origin = await self._originator(sender, chosen)
        return [
            await self._submit(
                mode, chosen, origin, self._content(mode) if content is None else content, content_type,
                dict(headers or {}), options,
            )
            for _ in range(count)
        ]  # fmt: skip

    async def _submit(
        self, mode: str, user: ServedUser, origin: Originator, content: bytes, content_type: str,
        headers: dict[str, str], options: dict[str, Any],
    ) -> Submission:  # fmt: skip
        sent: PagerSent | LargeSent
        if mode == "pager":
            sent = await origin.pager(user.uri, content, content_type, headers=headers, **options)
        else:
            sent = await origin.large(user.uri, content, content_type, headers=headers, **options)
        digest = hashlib.sha256(content).hexdigest()
        submission = Submission(user.uri, mode, sent.call_id, content_type, len(content), digest)
        self._run.sent.append(submission)
        if options.get("abort_after") is None and (trouble := _trouble(sent)) is not None:
            await self._suspect(sent.status, user)
            raise Inconclusive("preamble", f"a {mode} message was not deferred: {trouble}")
        return submission

    # --- reachability ------------------------------------------------------------------------------------------------

    async def register(self, user: ServedUser | None = None) -> None:
        """The user becomes reachable; done when the IUT has answered the core's third-party REGISTER."""
        chosen = await self._chosen(user)
        client = await self._client(chosen)
        await self._registered(chosen, await self._limited(client.register(), "REGISTER"))
        await self._third_party(chosen, gone=False)

    async def deregister(self, user: ServedUser | None = None) -> None:
        """The user is gone; done when the IUT has answered."""
        chosen = await self._chosen(user)
        client = await self._client(chosen)
        await self._registered(chosen, await self._limited(client.deregister(), "REGISTER"))
        await self._third_party(chosen, gone=True)

    async def notification(self, user: ServedUser | None = None, within: float | None = None) -> Any:
        """The next notification of a user; ``None`` if none came ``within`` so many seconds (``quiet_period``)."""
        client = await self._client(await self._chosen(user))
        return await client.wait_notification(self.ixit.quiet_period if within is None else within)

    # --- delivery ----------------------------------------------------------------------------------------------------

    async def deliver(
        self,
        *,
        user: ServedUser | None = None,
        offer: Offer | None = None,
        behaviour: Behaviour | None = None,
        notified: bool = True,
        leave: bool = True,
    ) -> Session:
        """Register, have a session set up in the user's way, run it to its end, and de-register if ``leave``."""
        chosen = await self._chosen(user)
        session = await self.open(user=chosen, offer=offer, behaviour=behaviour, notified=notified)
        await self.end(session)
        if leave:
            await self.deregister(chosen)
        return session

    async def open(
        self,
        *,
        user: ServedUser | None = None,
        offer: Offer | None = None,
        behaviour: Behaviour | None = None,
        notified: bool = True,
    ) -> Session:
        """As :meth:`deliver`, but done when the session is established or was refused.

        :raises Inconclusive: in push, the IUT sent no INVITE (blame iut).
        """
        chosen = await self._chosen(user)
        client = await self._client(chosen)
        conduct, terms = behaviour or Behaviour(), offer or Offer()
        if chosen.establishment == "push":
            waiting = asyncio.ensure_future(client.expect_push(self._push_limit, behaviour=conduct, offer=terms))
            try:
                await self.register(chosen)
                session = await waiting
            finally:
                waiting.cancel()
            if session is None:
                await self._suspect(None, chosen)
                raise Inconclusive("iut", f"no INVITE from the IUT within {self._push_limit:g} s of the registration")
            return session
        await self.register(chosen)
        if notified and self.ixit.notification != "none":
            await self.notification(chosen)
        return await self._limited(client.retrieve(terms, conduct), "INVITE")

    async def end(self, session: Session) -> None:
        """Run a session to its end: the BYE, a lost connection, or ``bye_within`` after the last outcome was known.

        A session that the IUT has not ended by then is ended by the client.
        """
        opened = now_us()
        while not session.ended.is_set():
            limit = self.ixit.bye_within + SLACK
            if session.withheld:
                limit += self.ixit.msrp_response_timer
            left = limit - (now_us() - max(opened, session.last_outcome_us or 0)) / 1e6
            if session.bye_received.is_set():
                await self._limited(session.ended.wait(), "the answer to BYE")
            elif left <= 0:
                await self._limited(session.bye(), "BYE")
            else:
                await self._bounded(session.ended.wait(), left)
        if session.errors:
            raise session.errors[0]

    async def pause(self, seconds: float) -> None:
        """Let time pass, as the stimulus itself: a message has to be older, a timer has to fire."""
        await asyncio.sleep(seconds)

    async def wait(self, event: asyncio.Event, seconds: float) -> bool:
        """Wait for an event, at most so long: for a client that holds something back; whether it came."""
        return await self._bounded(event.wait(), seconds)

    def declare(self, wrong: str) -> None:
        """Tell the judge what this case does wrong on purpose."""
        self._run.declared.append(wrong)

    # --- closing -----------------------------------------------------------------------------------------------------

    async def visit(self, user: ServedUser) -> None:
        """The closing's visit: register and retrieve once, take whatever comes, and leave."""
        client = await self._client(user)
        await self.register(user)
        if user.establishment == "push":
            session = await client.expect_push(self.ixit.quiet_period, behaviour=Behaviour(), offer=Offer())
        else:
            session = await self._limited(client.retrieve(Offer(), Behaviour()), "INVITE")
        if session is not None and session.failure is None:
            await self.end(session)
        await self.deregister(user)

    async def close(self) -> None:
        """Close the sockets of all actors."""
        for client in self._clients.values():
            await client.close()
        for originator in self._originators.values():
            await originator.close()

    # --- helpers -----------------------------------------------------------------------------------------------------

    @property
    def _push_limit(self) -> float:
        return self.ixit.quiet_period + 2 * self.ixit.bye_within

    async def _chosen(self, user: ServedUser | None) -> ServedUser:
        return user or self._default or await self.user()

    async def _client(self, user: ServedUser) -> Client:
        if user.uri not in self._clients:
            client = Client(
                self._run.record, uri=user.uri, core=self._access(user), domain=self.profile.users.domain,
                psi=self.profile.psi, ixit=self.ixit, t1=self.ixit.sip_t1,
            )  # fmt: skip
            self._clients[user.uri] = client
            await client.start(self._bench.host)
        return self._clients[user.uri]

    async def _originator(self, sender: str | None, user: ServedUser) -> Originator:
        """The originator by that name, at the core's access for the leg of the user it sends to."""
        uri = sender or next((known for known, _ in self._originators), None) or await self.sender()
        access = self._access(user)
        key = uri, str(access)
        if key not in self._originators:
            await self._bench.own(self._run, uri)
            origin = self._originators[key] = Originator(self._run.record, uri=uri, core=access, t1=self.ixit.sip_t1)
            await origin.start(self._bench.host)
        return self._originators[key]

    def _access(self, user: ServedUser) -> Hop:
        """Where the core takes what concerns a user."""
        leg = self._legs.get(user.uri, self._bench.default_transport)
        return Hop("udp", *self._bench.access[leg])

    def _content(self, mode: str) -> bytes:
        """Content that no other message of the run has."""
        self._messages += 1
        text = f"Message {self._messages} of {self.case}, {self._bench.nonce(self.case, self._messages)}.\n"
        octets = text.encode()
        if mode == "pager":
            return octets
        return (octets * (LARGE_CONTENT // len(octets) + 1))[:LARGE_CONTENT]

    async def _registered(self, user: ServedUser, status: int) -> None:
        if not 200 <= status < 300:
            await self._suspect_core(status, user)
            raise Inconclusive("environment", f"the core answered {status} to a REGISTER")

    async def _third_party(self, user: ServedUser, *, gone: bool) -> None:
        call = self._bench.lab_call("third-party", user=user.uri, gone=gone)
        reply = await self._limited(call, "third-party REGISTER")
        if reply["status"] in (None, 408, 503):
            await self._suspect(reply["status"], user)
        if reply["status"] is None:
            raise Inconclusive("environment", f"the core sent no third-party REGISTER for {user.uri}")

    async def _suspect(self, status: int | None, user: ServedUser | None = None) -> None:
        """Nobody answered: if the outside core or the IUT answers nothing at all any more, the case ends here.

        :raises Inconclusive: one of them is silent (blame environment or iut).
        """
        await self._suspect_core(status, user)
        if status in _SILENCE and not await self._bench.alive():
            raise Inconclusive("iut", "the IUT does not answer any more")

    async def _suspect_core(self, status: int | None, user: ServedUser | None) -> None:
        chosen = user or self._default
        if status not in _SILENCE or chosen is None or not self.profile.core.outside.used:
            return
        if not await self._bench.core_alive(self._access(chosen)):
            raise Inconclusive("environment", "the outside core does not answer any more")

    async def _limited(self, step: Coroutine[Any, Any, T], what: str) -> T:
        """Bound a step by the longest SIP transaction and a half.

        :raises Inconclusive: it took longer (blame iut).
        """
        limit = 96 * self.ixit.sip_t1
        try:
            return await asyncio.wait_for(step, limit)
        except TimeoutError:
            await self._suspect(None)
            raise Inconclusive("iut", f"{what} was not over within {limit:g} s") from None

    async def _bounded(self, step: Coroutine[Any, Any, Any], limit: float) -> bool:
        """Whether a step was over within ``limit`` seconds."""
        try:
            await asyncio.wait_for(step, limit)
        except TimeoutError:
            return False
        return True


def _trouble(sent: PagerSent | LargeSent) -> str | None:
    """Why a message cannot have been deferred; ``None`` if all answers were good."""
    if not 200 <= sent.status < 300:
        return f"it was answered {sent.status}"
    if isinstance(sent, PagerSent):
        return None
    if sent.problem is not None:
        return sent.problem
    refused = [status for status in sent.msrp_statuses if status != 200]
    if refused or len(sent.msrp_statuses) < sent.chunks:
        return f"the IUT answered {sent.msrp_statuses} to {sent.chunks} chunks"
    return None
