"""The recording relay between an outside SIP/IP core and the PF (PCO isc): passes every message on, octet for octet.

It is no SIP hop: no Via, no Record-Route, no transaction of its own. It has two sides. The *front* faces the PF: these
are the addresses that the core advertises in its Via, Record-Route, Route and Contact, so the PF meets the core here
and nowhere else. The *back* faces the core: there the core sends whatever is for the PF, leg by leg.

A relay, not a capture: it needs no privilege, it reads TLS, its clock is the one of all actors, and a message of the
PF is taken down before the core can have seen it.

What goes where: a response to the core goes back where its request came from, one to the PF where RFC 3261 18.2.2 and
RFC 3581 have it. A request of the PF goes to the core's socket of the same leg. A request of the core goes to the PF's
endpoint of the same leg, but within a dialog to the address that its first Route or its Request-URI names, if that is
on a host of the PF's: its Contact may differ from where it listens. An ACK to an error and a CANCEL go the way of their
INVITE. In place of a leg that the other side does not have there is UDP.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace

from cpmspec.actors.interfaces import listen_all
from cpmspec.actors.policy import Policies, Policy
from cpmspec.actors.recording import sip_tap
from cpmspec.actors.routing import Side, interface_key, is_initial
from cpmspec.evidence.trace import Address, Frame, Kind, Pco, Role
from cpmspec.net.sip import Hop, SipEndpoint, SipTransportError, hop_of_uri
from cpmspec.net.sip_hops import DEFAULT_PORTS
from cpmspec.net.tap import Address as Local
from cpmspec.wire.sip import SipMessage, SipRequest, SipResponse, SipUnreadable, parse_message
from cpmspec.wire.uri import SipUri, aor, parse_uri

#: takes each frame of PCO isc with the SIP message in it (``None``: a connection was opened or ended)
CoreRecorder = Callable[[Frame, SipMessage | SipUnreadable | None], None]

#: how many requests are remembered until their responses come
MEMORY = 20_000


@dataclass(slots=True)
class Registrations:
    """One user's third-party REGISTER requests, in the order in which the core sent them."""

    requests: list[tuple[Hashable, bool]] = field(default_factory=list)  #: key, and whether the user is gone
    answers: dict[Hashable, int] = field(default_factory=dict)  #: final status by key
    told: int = 0  #: how many of them somebody has waited for
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def latest(self, *, gone: bool) -> Hashable | None:
        """The key of the latest one, if nobody has waited for it and it tells this."""
        key, tells = self.requests[-1] if len(self.requests) > self.told else (None, gone)
        return key if tells == gone else None


@dataclass(frozen=True, slots=True)
class Passage:
    """A request that passed: where it came from, where its top Via wants responses, and where it went."""

    source: Hop
    sent_by: Hop
    target: Hop | None


class IscRelay:
    """The relay. ``iut_sources`` are hosts that the PF sends from beside those it listens at; ``t1`` in seconds."""

    def __init__(
        self,
        recorder: CoreRecorder,
        *,
        iut_sources: tuple[str, ...] = (),
        server_ssl: ssl.SSLContext | None = None,
        client_ssl: ssl.SSLContext | None = None,
        t1: float = 0.5,
    ) -> None:
        self.iut: dict[str, Address] = {}
        self.core: dict[str, Address] = {}  #: the core's sockets that face the PF, by leg
        self.iut_sources = iut_sources
        self.policies = Policies()
        self.front: dict[str, Address] = {}
        self.back: dict[str, Address] = {}
        self._recorder = recorder
        self._t1 = t1
        self._tls = server_ssl, client_ssl
        self._endpoints = {side: self._endpoint(side) for side in Side}
        self._passages: OrderedDict[Hashable, Passage] = OrderedDict()
        self._registrations: dict[str, Registrations] = {}
        self._held: dict[str, dict[Hashable, tuple[SipResponse, Hop]]] = {}
        self._held_news: dict[str, asyncio.Event] = {}

    @property
    def addresses(self) -> dict[str, Address]:
        """Where the PF reaches the core: the front, by ``udp``, ``tcp``, ``tls``, ``udp6``, ``tcp6``, ``tls6``."""
        return self.front

    async def start(
        self, host: str = "127.0.0.1", port: int = 0, tls_port: int = 0, host6: str | None = "::1",
        *, back_port: int = 0, back_tls_port: int = 0,
    ) -> None:  # fmt: skip
        """Listen on both sides (0: any port, one for UDP and TCP).

        :raises OSError: an address is in use.
        """
        hosts = [host, *([host6] if host6 else [])]
        tls = self._tls[0] is not None
        self.front = await listen_all(self._endpoints[Side.ISC], hosts, port, tls_port if tls else None)
        self.back = await listen_all(self._endpoints[Side.ACCESS], hosts, back_port, back_tls_port if tls else None)

    async def close(self) -> None:
        """Stop everything."""
        for endpoint in self._endpoints.values():
            await endpoint.close()

    def set_iut(self, endpoints: Mapping[str, tuple[str, int]], sources: tuple[str, ...] | None = None) -> None:
        """Tell where the PF listens and, if given, from which further hosts it sends."""
        self.iut = {key: Address(*value) for key, value in endpoints.items()}
        if sources is not None:
            self.iut_sources = tuple(sources)

    def set_core(self, endpoints: Mapping[str, tuple[str, int]]) -> None:
        """Tell where the core listens for what comes from the PF."""
        self.core = {key: Address(*value) for key, value in endpoints.items()}

    # --- policies ----------------------------------------------------------------------------------------------------

    def set_policy(self, user: str, policy: Policy) -> None:
        """Treat a user's traffic that way from now on; the leg is the core's business."""
        self.policies[user] = policy

    async def held(self, user: str) -> None:
        """Wait until a 2xx of that user's client is being held (policy ``hold_2xx``)."""
        await self._held_news.setdefault(aor(user), asyncio.Event()).wait()

    def release(self, user: str) -> int:
        """Let the held 2xx of that user go and hold no more; how many there were."""
        self.policies[user] = replace(self.policies[user], hold_2xx=False)
        self._held_news.pop(aor(user), None)
        held = self._held.pop(aor(user), {})
        for response, hop in held.values():
            self._put(Side.ISC, response.octets(), hop)
        return len(held)

    # --- third-party registration ------------------------------------------------------------------------------------

    async def third_party_done(self, user: str, *, gone: bool) -> int | None:
        """Wait for the end of the third-party REGISTER by which the core tells that a user came, or is ``gone``.

        Its status; 408: the PF did not answer; ``None``: the core sent none within 64*T1.
        """
        seen = self._registrations.setdefault(aor(user), Registrations())
        key: Hashable | None = None
        with suppress(TimeoutError):
            async with asyncio.timeout(64 * self._t1):
                while (key := seen.latest(gone=gone)) is None or key not in seen.answers:
                    seen.news.clear()
                    await seen.news.wait()
        seen.told = len(seen.requests)
        return None if key is None else seen.answers.get(key, 408)

    def _note_register(self, message: SipRequest | SipResponse, key: Hashable) -> None:
        """Take note of a REGISTER of the core, or of the PF's final response to one."""
        if message.to is None or message.cseq is None or message.cseq.method != "REGISTER":
            return
        seen = self._registrations.setdefault(aor(str(message.to.uri)), Registrations())
        if isinstance(message, SipResponse):
            if message.status >= 200:
                seen.answers.setdefault(key, message.status)
        elif all(known != key for known, _ in seen.requests):
            seen.requests.append((key, _expires(message) == 0))
        seen.news.set()

    # --- passing on --------------------------------------------------------------------------------------------------

    def _endpoint(self, side: Side) -> SipEndpoint:
        """One side; only what crosses the front is recorded."""
        server_ssl, client_ssl = self._tls
        tap = sip_tap(self._record, Pco.ISC, Role.CORE, self._peer_role) if side is Side.ISC else None
        endpoint = SipEndpoint(
            transactions=False, stamping=False, tap=tap, server_ssl=server_ssl, client_ssl=client_ssl, t1=self._t1
        )

        def on_message(message: SipMessage, source: Hop, transport: str, local: Local) -> None:
            self._receive(side, message, source)

        endpoint.on_message = on_message
        endpoint.on_unreadable = lambda message, source: self._unreadable(side, message, source)
        return endpoint

    def _receive(self, side: Side, message: SipMessage, source: Hop) -> None:
        """Take a message that arrived on a side and send it out on the other one."""
        if side is Side.ISC and self._is_stray(source.host):
            return
        to_iut = side is Side.ACCESS
        if isinstance(message, SipRequest):
            key = _key(message, message.method)
            target = self._next_hop(message, source) if to_iut else self._core_hop(source)
            self._passages[key] = Passage(source, _sent_by(message, source), target)
            while len(self._passages) > MEMORY:
                self._passages.popitem(last=False)
        else:
            key = _key(message, message.cseq.method if message.cseq else "")
            target = self._way_back(source, self._passages.get(key), to_iut=to_iut)
        if to_iut == isinstance(message, SipRequest):
            self._note_register(message, key)
        if target is not None:
            self._forward(message, target, to_iut=to_iut)

    def _forward(self, message: SipMessage, target: Hop, *, to_iut: bool) -> None:
        policy = self.policies.of(message)
        if policy.drops(message, to_iut=to_iut):
            return
        side = Side.ISC if to_iut else Side.ACCESS
        if to_iut and policy.hold_2xx and _is_invite_2xx(message) and isinstance(message, SipResponse):
            user = self.policies.owner(message) or ""
            self._held.setdefault(user, {})[_key(message, "INVITE")] = message, target
            self._held_news.setdefault(user, asyncio.Event()).set()
            return
        delay = policy.delay_of(message, to_iut=to_iut)
        if delay > 0:
            asyncio.get_running_loop().call_later(delay, self._put, side, message.octets(), target)
        else:
            self._put(side, message.octets(), target)

    def _unreadable(self, side: Side, message: SipUnreadable, source: Hop) -> None:
        """What no parser can read goes the plain way of its leg: whoever gets it may judge for itself."""
        if side is Side.ISC and self._is_stray(source.host):
            return
        target = self._leg_hop(source) if side is Side.ACCESS else self._core_hop(source)
        if target is not None:
            self._put(Side.ISC if side is Side.ACCESS else Side.ACCESS, message.octets, target)

    def _put(self, side: Side, octets: bytes, hop: Hop) -> None:
        """Write octets; a hop that cannot be reached shows to the core as what it is: no answer."""
        try:
            self._endpoints[side].send(octets, hop)
        except SipTransportError:
            return

    def _way_back(self, source: Hop, passage: Passage | None, *, to_iut: bool) -> Hop | None:
        """Where a response goes: over TCP and TLS on the connection of its request, as long as that stands."""
        leg = self._leg_hop(source) if to_iut else self._core_hop(source)
        if passage is None:
            return leg
        back = passage.source
        if back.reliable and self._endpoints[Side.ISC if to_iut else Side.ACCESS].is_connected(back):
            return back
        if to_iut:
            return passage.sent_by
        return leg if back.reliable else back  # the core's Via names the front

    def _core_hop(self, source: Hop) -> Hop | None:
        """The core's socket of the leg that something of the PF came on."""
        return _hop(self.core, source)

    def _leg_hop(self, source: Hop) -> Hop | None:
        """The PF's endpoint of the leg that something of the core came on."""
        return _hop(self.iut, source)

    def _next_hop(self, request: SipRequest, source: Hop) -> Hop | None:
        """Where a request of the core goes: in a dialog to the PF's address that it names, else by its leg."""
        if request.method in ("ACK", "CANCEL") and (invite := self._passages.get(_key(request, "INVITE"))) is not None:
            return invite.target
        uri = str(request.route[0].uri) if request.route else request.uri
        named = hop_of_uri(uri)
        if named is None or is_initial(request) or named.host not in self._hosts():
            return self._leg_hop(source)
        return named if _names_transport(uri) else Hop(source.transport, named.host, named.port)

    # --- who is who --------------------------------------------------------------------------------------------------

    def _hosts(self) -> set[str]:
        return {item.host for item in self.iut.values()} | set(self.iut_sources)

    def _is_stray(self, host: str) -> bool:
        known = self._hosts()
        return bool(known) and host not in known

    def _peer_role(self, address: Address) -> Role | None:
        return None if self._is_stray(address.host) else Role.IUT

    def _record(self, frame: Frame) -> None:
        self._recorder(frame, parse_message(frame.octets) if frame.kind is Kind.DATA else None)


def _key(message: SipRequest | SipResponse, method: str) -> Hashable:
    """What a request and its responses share: the top Via and the method (RFC 3261 17.1.3)."""
    via = message.via[0] if message.via else None
    return (via.branch, via.host, via.port, method, message.call_id) if via else (None, method, message.call_id)


def _sent_by(request: SipRequest, source: Hop) -> Hop:
    """Where responses to a request go by its top Via (RFC 3261 18.2.2, RFC 3581 4), at the host that it came from."""
    via = request.via[0] if request.via else None
    if via is None or not via.host or (via.param("rport") is not None and not source.reliable):
        return source
    return Hop(source.transport, source.host, via.port or DEFAULT_PORTS[source.transport])


def _expires(request: SipRequest) -> int | None:
    """How long a REGISTER asks for: the parameter of its first Contact, else its Expires (RFC 3261 10.2.1.1)."""
    asked = request.contact[0].param("expires") if request.contact else None
    return int(asked) if asked is not None and asked.isdecimal() else request.expires


def _hop(table: Mapping[str, Address], source: Hop) -> Hop | None:
    """The other side's address for the leg that something came on, or for UDP: nothing that came is lost."""
    for transport in (source.transport, "udp"):
        address = table.get(interface_key(transport, source.host))
        if address is not None:
            return Hop(transport, *address)
    return None


def _names_transport(uri: str) -> bool:
    parsed = parse_uri(uri)
    return isinstance(parsed, SipUri) and (parsed.scheme == "sips" or parsed.param("transport") is not None)


def _is_invite_2xx(message: SipMessage) -> bool:
    return (
        isinstance(message, SipResponse)
        and message.status // 100 == 2
        and message.cseq is not None
        and message.cseq.method == "INVITE"
    )
