"""The stateless proxy of the SIP/IP core (RFC 3261 16.11) with the routing of requirements.md.

It keeps a bounded memory of where each request came from: responses of TCP peers need the connection, an unreachable
next hop is answered for, and ACK and CANCEL follow their INVITE even if a registration changed in between.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from cpmspec.actors.interfaces import Interfaces
from cpmspec.actors.policy import Policies
from cpmspec.actors.registrar import Binding, Bindings
from cpmspec.actors.routing import (
    UDP_LIMIT,
    Change,
    Interface,
    Popped,
    Side,
    branch_for,
    follow,
    identity_of,
    interface_key,
    is_initial,
    pop_own,
    rewrite,
    same_identity,
    sip_uri,
    with_vias,
)
from cpmspec.evidence.trace import Address
from cpmspec.net.sip_hops import Hop, hop_of_uri, response_hop
from cpmspec.wire.headers import encode
from cpmspec.wire.sip import SipRequest, SipResponse, response_to
from cpmspec.wire.uri import SipUri, TelUri, parse_name_addr, parse_uri

#: how many forwarded requests are remembered
MEMORY = 20_000

#: header fields that only the trust domain may set (RFC 3325 5, RFC 5502 5): taken from whoever is outside of it
_ASSERTED = ("P-Asserted-Identity", "P-Preferred-Identity", "P-Served-User")


@dataclass(slots=True)
class Passage:
    """A request that passed the core: as it came, where responses go, and how it left (or what it was answered)."""

    request: SipRequest
    reply_to: Hop
    ingress: Interface
    sent: SipRequest | None = None
    egress: Interface | None = None
    hop: Hop | None = None
    answer: SipResponse | None = None
    held: SipResponse | None = None
    finished: bool = False  #: a final response has passed


@dataclass(slots=True)
class Held:
    """The branches of one user whose 2xx waits for its release."""

    branches: list[str] = field(default_factory=list)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)


class Proxy:
    """Forwards between the sides of the core. ``iut`` tells the PF's endpoints by key; it may change at any time."""

    def __init__(
        self,
        interfaces: Interfaces,
        *,
        domain: str,
        psi: str,
        bindings: Bindings,
        policies: Policies,
        iut: Callable[[], Mapping[str, Address]],
    ) -> None:
        self._interfaces = interfaces
        self._domain = domain.lower()
        self._psi = psi
        self._bindings = bindings
        self._policies = policies
        self._iut = iut
        self._memory: OrderedDict[str, Passage] = OrderedDict()
        self._held: dict[str, Held] = {}

    # --- what arrives

    def request(self, side: Side, request: SipRequest, source: Hop) -> None:
        """Route a request; a retransmission passes as it did before."""
        branch = branch_for(request)
        passage = self._memory.get(branch)
        if passage is None:
            passage = self._remember(branch, side, request, source)
            self._route(passage, branch)
        elif request.method in ("ACK", "CANCEL") and passage.request.method != request.method:
            self._follow(passage, branch, request)
        elif passage.answer is not None:
            self.repeat(passage)
        else:
            self._transmit(passage)

    def response(self, response: SipResponse) -> None:
        """Forward a response to where its request came from; one that belongs to nothing is dropped."""
        vias = response.headers.values("Via")
        passage = self._memory.get((response.via[0].branch if response.via else None) or "")
        if passage is None or len(vias) < 2:
            return
        passage.finished |= response.status >= 200
        forwarded = response.with_headers(with_vias(response.headers, vias[1:]))
        to_iut = passage.ingress.side is Side.ISC
        policy = self._policies.of(forwarded)
        is_invite_2xx = response.status // 100 == 2 and response.cseq is not None and response.cseq.method == "INVITE"
        if to_iut and is_invite_2xx and policy.hold_2xx:
            self._hold(passage, forwarded)
        elif not policy.drops(forwarded, to_iut=to_iut):
            delay = policy.delay_of(forwarded, to_iut=to_iut)
            self._later(delay, lambda: self._reply(passage, forwarded))

    def answer(self, passage: Passage, response: SipResponse) -> None:
        """Answer a request instead of forwarding it."""
        passage.answer = response
        self._reply(passage, response)

    def repeat(self, passage: Passage) -> None:
        """Answer a retransmission of a request that the core answered itself."""
        if passage.answer is not None:
            self._reply(passage, passage.answer)

    def refuse(self, side: Side, request: SipRequest, source: Hop, status: int) -> None:
        """Answer a request with an error and forget it."""
        passage, _ = self.accept(side, request, source)
        self._refuse(passage, status)

    def accept(self, side: Side, request: SipRequest, source: Hop) -> tuple[Passage, bool]:
        """Remember a request that the core itself will answer; whether it came for the first time."""
        branch = branch_for(request)
        known = self._memory.get(branch)
        return (known, False) if known is not None else (self._remember(branch, side, request, source), True)

    def unreachable(self, side: Side, hop: Hop) -> None:
        """A hop cannot be reached: 503 to whoever waits for an answer from it (RFC 3261 16.9)."""
        for passage in tuple(self._memory.values()):
            waits = passage.hop == hop and passage.egress is not None and passage.egress.side is side
            if waits and not passage.finished and passage.answer is None:
                self._refuse(passage, 503)

    # --- held responses

    async def held(self, user: str) -> None:
        """Wait until a 2xx of that user is held."""
        await self._held.setdefault(user, Held()).arrived.wait()

    def release(self, user: str) -> int:
        """Let the held 2xx of a user go; how many there were."""
        branches = self._held.pop(user, Held()).branches
        for branch in branches:
            passage = self._memory.get(branch)
            if passage is not None and passage.held is not None:
                self._reply(passage, passage.held)
                passage.held = None
        return len(branches)

    def _hold(self, passage: Passage, response: SipResponse) -> None:
        held = self._held.setdefault(self._policies.owner(response) or "", Held())
        branch = branch_for(passage.request)
        if branch not in held.branches:
            held.branches.append(branch)
        passage.held = response
        held.arrived.set()

    # --- routing

    def _route(self, passage: Passage, branch: str) -> None:
        request = passage.request
        if request.max_forwards == 0:
            self._refuse(passage, 483)
            return
        popped = pop_own(request, self._interfaces)
        if not is_initial(request):
            self._within_dialog(passage, branch, popped)
        elif passage.ingress.side is Side.ACCESS:
            self._to_iut(passage, branch)
        else:
            self._to_client(passage, branch)

    def _within_dialog(self, passage: Passage, branch: str, popped: Popped) -> None:
        """By Route; the last own entry of a pair names the interface on which the request leaves."""
        request = passage.request
        change = Change(request.uri, popped.rest)
        hop = self._next_hop(change)
        if hop is None:
            self._refuse(passage, 404)
            return
        side = popped.own[-1].side if len(popped.own) > 1 else _other(passage.ingress.side)
        self._forward(passage, branch, change, self._interfaces.get(side, interface_key(hop.transport, hop.host)), hop)

    def _to_iut(self, passage: Passage, branch: str) -> None:
        """An initial request from the access side: to the PSI as it is, to a user as terminating traffic."""
        request = passage.request
        sender = identity_of(request)
        to_psi = same_identity(request.uri, self._psi)
        if sender is None or not (to_psi or self._is_ours(request.uri)):
            self._refuse(passage, 400 if sender is None else 404)
            return
        leg = self.leg(sender if to_psi else request.uri)
        if leg is None:
            self._refuse(passage, 503)
            return
        egress, hop = leg
        add = [("P-Asserted-Identity", f"<{sender}>")]
        routes = [f"<{sip_uri(hop.transport, (hop.host, hop.port))};lr>"]
        if not to_psi:
            state = "reg" if self._bindings.of(request.uri) else "unreg"
            add.append(("P-Served-User", f"<{request.uri}>;sescase=term;regstate={state}"))
            routes.append(f"<{egress.uri(_token(branch))}>")
        self._forward(passage, branch, Change(request.uri, tuple(routes), _ASSERTED, tuple(add)), egress, hop)

    def _to_client(self, passage: Passage, branch: str) -> None:
        """An initial request from the PF, with the token or without: to the registered contact, never to the PF."""
        request = passage.request
        bindings = self._bindings.of(request.uri)
        binding = bindings[0] if bindings else self._bindings.by_contact(request.uri)
        if binding is None:
            self._refuse(passage, 480)
            return
        private = "id" in (request.headers.get("Privacy") or "").replace(" ", "").split(";")
        remove = ("P-Served-User", "P-Asserted-Identity") if private else ("P-Served-User",)
        hop = _contact_hop(binding)
        egress = self._interfaces.get(Side.ACCESS, interface_key(hop.transport, hop.host))
        self._forward(passage, branch, Change(binding.contact, (), remove), egress, hop)

    def leg(self, user: str) -> tuple[Interface, Hop] | None:
        """The interface and the PF's endpoint for a user's traffic; another one if the PF lacks what is wanted."""
        iut = self._iut()
        wanted = self._policies[user].key
        key = wanted if wanted in iut else next(iter(iut), None)
        if key is None:
            return None
        return self._interfaces.get(Side.ISC, key), Hop(key.rstrip("6"), *iut[key])

    def _is_ours(self, uri: str) -> bool:
        parsed = parse_uri(uri)
        return isinstance(parsed, TelUri) or (isinstance(parsed, SipUri) and parsed.host.lower() == self._domain)

    def _next_hop(self, change: Change) -> Hop | None:
        """Where a request with that Request-URI and Route goes next."""
        first = str(parse_name_addr(change.routes[0]).uri) if change.routes else change.uri
        return hop_of_uri(first)

    # --- sending

    def _forward(self, passage: Passage, branch: str, change: Change, egress: Interface, hop: Hop) -> None:
        """Rewrite and send; over TCP if it grew too long for UDP and the PF has TCP (RFC 3261 18.1.1)."""
        came = passage.request
        sent = rewrite(came, change, branch=branch, ingress=passage.ingress, egress=egress)
        if egress.side is Side.ISC and hop.transport == "udp" and len(sent.octets()) > UDP_LIMIT:
            key = interface_key("tcp", hop.host)
            iut = self._iut()
            if key in iut:
                place = (
                    iut[key]
                    if (hop.host, hop.port) == iut.get(interface_key("udp", hop.host))
                    else (hop.host, hop.port)
                )
                egress, hop = self._interfaces.get(Side.ISC, key), Hop("tcp", *place)
                sent = rewrite(came, change, branch=branch, ingress=passage.ingress, egress=egress)
        passage.sent, passage.egress, passage.hop = sent, egress, hop
        self._transmit(passage)

    def _follow(self, passage: Passage, branch: str, request: SipRequest) -> None:
        """Send an ACK to a non-2xx, or a CANCEL, the way of its INVITE; what the core answered itself ends here."""
        if passage.sent is None or passage.egress is None or passage.hop is None:
            if request.method == "CANCEL":
                self._reply(passage, response_to(request, 481, to_tag=_tag(request)))
            return
        message = follow(request, passage.sent, passage.egress.via(branch))
        self._send(message, passage.egress.side, passage.hop)

    def _transmit(self, passage: Passage) -> None:
        """Put a rewritten request on the wire, for the first time or again."""
        if passage.sent is not None and passage.egress is not None and passage.hop is not None:
            self._send(passage.sent, passage.egress.side, passage.hop)

    def _send(self, message: SipRequest, side: Side, hop: Hop) -> None:
        policy = self._policies.of(message)
        to_iut = side is Side.ISC
        if not policy.drops(message, to_iut=to_iut):
            delay = policy.delay_of(message, to_iut=to_iut)
            self._later(delay, lambda: self._interfaces.put(side, message, hop))

    def _remember(self, branch: str, side: Side, request: SipRequest, source: Hop) -> Passage:
        """Note a request that came for the first time, and where responses to it go (18.2.2)."""
        back = response_hop(request) if source.transport == "udp" else None
        ingress = self._interfaces.get(side, interface_key(source.transport, source.host))
        passage = self._memory[branch] = Passage(request, back or source, ingress)
        while len(self._memory) > MEMORY:
            self._memory.popitem(last=False)
        return passage

    def _reply(self, passage: Passage, response: SipResponse) -> None:
        self._interfaces.put(passage.ingress.side, response, passage.reply_to)

    def _refuse(self, passage: Passage, status: int) -> None:
        """Answer with an error of the core's own, except an ACK."""
        if passage.request.method == "ACK":
            return
        self.answer(passage, response_to(passage.request, status, to_tag=_tag(passage.request)))

    @staticmethod
    def _later(delay: float, act: Callable[[], None]) -> None:
        if delay > 0:
            asyncio.get_running_loop().call_later(delay, act)
        else:
            act()


def _other(side: Side) -> Side:
    return Side.ISC if side is Side.ACCESS else Side.ACCESS


def _token(branch: str) -> str:
    """The mark of an original dialog: the same for retransmissions and CANCEL."""
    return branch.rpartition("-")[2]


def _tag(request: SipRequest) -> str:
    """A To tag that is the same whenever the same request is answered (RFC 3261 8.2.7)."""
    return hashlib.sha256(encode(f"{request.call_id} {request.headers.get('CSeq')}")).hexdigest()[:12]


def _contact_hop(binding: Binding) -> Hop:
    """Where a registered contact is reached: over its own connection, or at its address."""
    return binding.source if binding.source.reliable else hop_of_uri(binding.contact) or binding.source
