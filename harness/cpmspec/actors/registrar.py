"""Registration in the SIP/IP core: the bindings of clients, and the third-party REGISTER that tells the PF about them.

TS 24.229 5.4.1.7: Request-URI of the third-party REGISTER is the PF, To the served user, From and Contact the core;
Expires 0 tells that the user is gone.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field

from cpmspec.actors.routing import COOKIE, Interface, contact_key, sip_uri
from cpmspec.net.sip import Hop
from cpmspec.wire.sip import SipRequest, SipResponse, build_request, response_to
from cpmspec.wire.uri import aor

#: seconds a registration lasts if the client does not say (RFC 3261 10.2.1.1)
DEFAULT_EXPIRES = 600_000
#: RFC 3261 17.1.1.1: T2, the longest interval between retransmissions of a non-INVITE request, in T1
T2 = 8


@dataclass(frozen=True, slots=True)
class Binding:
    """Where a registered user is reached: the contact as the client gave it, and where its REGISTER came from."""

    contact: str
    source: Hop
    expires: int


class Bindings:
    """Contacts by identity. The newest contact of a user comes first."""

    def __init__(self) -> None:
        self._by_user: dict[str, list[Binding]] = {}

    def of(self, user: str) -> tuple[Binding, ...]:
        """The bindings of an identity, the newest first."""
        return tuple(self._by_user.get(aor(user), ()))

    def by_contact(self, uri: str) -> Binding | None:
        """The binding whose contact is that URI."""
        wanted = contact_key(uri)
        everyone = (binding for bindings in self._by_user.values() for binding in bindings)
        return next((binding for binding in everyone if wanted and contact_key(binding.contact) == wanted), None)

    def register(self, request: SipRequest, source: Hop) -> tuple[Binding, ...]:
        """Apply a REGISTER (RFC 3261 10.3); the bindings that the user has then, the newest first."""
        user = aor(str(request.to.uri)) if request.to else ""
        kept = list(self._by_user.get(user, ()))
        if request.headers.get("Contact") == "*":
            kept = []
        default = DEFAULT_EXPIRES if request.expires is None else request.expires
        for contact in request.contact:
            text = str(contact.uri)
            asked = contact.param("expires")
            expires = int(asked) if asked is not None and asked.isdecimal() else default
            kept = [binding for binding in kept if binding.contact != text]
            if expires:
                kept.insert(0, Binding(text, source, expires))
        self._by_user[user] = kept
        return tuple(kept)


def register_response(request: SipRequest, bindings: tuple[Binding, ...], interface: Interface) -> SipResponse:
    """The 200 to a client's REGISTER, with Contact, Service-Route (RFC 3608) and P-Associated-URI (RFC 7315 4.1)."""
    user = str(request.to.uri) if request.to else ""
    contacts = [("Contact", f"<{binding.contact}>;expires={binding.expires}") for binding in bindings]
    headers = [*contacts, ("Service-Route", f"<{interface.uri()}>"), ("P-Associated-URI", f"<{user}>")]
    return response_to(request, 200, headers=headers, to_tag=secrets.token_hex(6))


@dataclass(slots=True)
class ThirdParty:
    """The state of one user's third-party registration: what was sent last and what the PF answered."""

    user: str
    call_id: str = field(default_factory=lambda: secrets.token_hex(10))
    tag: str = field(default_factory=lambda: secrets.token_hex(6))
    cseq: int = 0
    expires: int = 0
    status: int | None = None  #: final status of the last REGISTER, 408 if none came; None while it is under way
    done: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None


class ThirdPartyRegistrar:
    """The core as a UAC of third-party REGISTER requests, with the retransmissions of RFC 3261 17.1.2.2.

    ``send(request, hop, user)`` puts one request on the wire; responses come back through :meth:`receive`.
    """

    def __init__(self, send: Callable[[SipRequest, Hop, str], None], t1: float) -> None:
        self._send = send
        self._t1 = t1
        self._users: dict[str, ThirdParty] = {}
        self._waiting: dict[str, tuple[Hop, asyncio.Future[int]]] = {}

    def of(self, user: str) -> ThirdParty | None:
        """The state for an identity, ``None`` if nothing was ever sent for it."""
        return self._users.get(aor(user))

    async def done(self, user: str) -> int | None:
        """Wait until the last third-party REGISTER of a user is answered or given up; its status."""
        state = self.of(user)
        if state is None:
            return None
        while state.status is None:
            await state.done.wait()  # a newer REGISTER sets it as well, without a status
        return state.status

    def start(self, user: str, expires: int, interface: Interface, hop: Hop) -> None:
        """Send a third-party REGISTER; one that is still under way for that user is given up."""
        state = self._users.setdefault(aor(user), ThirdParty(user))
        if state.task is not None:
            state.task.cancel()
        state.cseq += 1
        state.expires, state.status = expires, None
        state.done.set()
        state.done = asyncio.Event()
        state.task = asyncio.create_task(self._run(state, interface, hop))

    def receive(self, response: SipResponse) -> bool:
        """Take a response; whether it was one to a third-party REGISTER."""
        branch = response.via[0].branch if response.via else None
        waiting = self._waiting.get(branch or "")
        if waiting is None:
            return (branch or "").startswith(_BRANCH)
        if response.status >= 200 and not waiting[1].done():
            waiting[1].set_result(response.status)
        return True

    def refused(self, hop: Hop) -> None:
        """The PF cannot be reached at that hop: what waits for an answer from there counts as answered 503."""
        for where, answer in self._waiting.values():
            if where == hop and not answer.done():
                answer.set_result(503)

    async def close(self) -> None:
        """Give up what is under way."""
        tasks = [state.task for state in self._users.values() if state.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, state: ThirdParty, interface: Interface, hop: Hop) -> None:
        """One non-INVITE client transaction."""
        branch = f"{_BRANCH}{secrets.token_hex(10)}"
        request = third_party_request(state, interface, hop, branch)
        answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting[branch] = hop, answer
        interval, left = self._t1, 64 * self._t1
        try:
            self._send(request, hop, state.user)
            while not answer.done() and left > 0:
                pause = left if hop.reliable else min(interval, left)
                await asyncio.wait([answer], timeout=pause)
                left -= pause
                interval = min(2 * interval, T2 * self._t1)
                if not answer.done() and left > 0:
                    self._send(request, hop, state.user)
            state.status = answer.result() if answer.done() else 408
            state.done.set()
        finally:
            del self._waiting[branch]


_BRANCH = f"{COOKIE}-tpr-"


def third_party_request(state: ThirdParty, interface: Interface, hop: Hop, branch: str) -> SipRequest:
    """Build a third-party REGISTER for the state of a user."""
    core = sip_uri(interface.transport, interface.address)
    return build_request(
        "REGISTER",
        sip_uri(hop.transport, (hop.host, hop.port)),
        [
            ("Via", interface.via(branch)),
            ("Max-Forwards", "70"),
            ("From", f"<{core}>;tag={state.tag}"),
            ("To", f"<{state.user}>"),
            ("Call-ID", state.call_id),
            ("CSeq", f"{state.cseq} REGISTER"),
            ("Contact", f"<{core}>"),
            ("Expires", str(state.expires)),
        ],
        whole=True,
    )
