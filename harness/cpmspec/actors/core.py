"""The SIP/IP core as a lower tester: registrar, third-party registration, and a stateless proxy in front of the PF.

It has two sides. The *isc* side (:attr:`Core.addresses`) is what the PF is configured with and nobody else talks to;
every frame on it is recorded at PCO ``isc``. The *access* side (:attr:`Core.access`) is where clients and originators
send to; they record ``gm`` and ``mo`` themselves. So a request's origin never has to be guessed from addresses, and a
dialog through the core always has a pair of Record-Route entries, one of each side (RFC 5658).

Routing (requirements, "Addresses and routing"): an initial request from the access side for a user goes to the PF with
Route = PF, then the core with a token; coming back with the token it is delivered to the registered contact, or 480;
without a token a request of the PF is delivered likewise and never goes to the PF again. A request for the PSI goes to
the PF. Requests within a dialog follow their Route.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from dataclasses import replace

from cpmspec.actors.interfaces import Interfaces
from cpmspec.actors.policy import Policies, Policy
from cpmspec.actors.proxy import Proxy
from cpmspec.actors.recording import sip_tap
from cpmspec.actors.registrar import Bindings, ThirdPartyRegistrar, register_response
from cpmspec.actors.routing import Side
from cpmspec.evidence.trace import Address, Frame, Kind, Pco, Role
from cpmspec.net.sip import Hop
from cpmspec.wire.sip import SipMessage, SipRequest, SipResponse, SipUnreadable, parse_message
from cpmspec.wire.uri import aor

#: takes each frame of PCO isc with the SIP message in it (``None``: a connection was opened or ended)
CoreRecorder = Callable[[Frame, SipMessage | SipUnreadable | None], None]


class Core:
    """The core. ``iut`` names the PF's endpoints by ``udp``, ``tcp``, ``tls``, ``udp6``, ``tcp6``, ``tls6`` and may be
    set later, since the PF may need the core's address to start; ``iut_sources`` are further hosts it sends from.
    ``t1`` is in seconds (RFC 3261 17.1.1.1).
    """

    def __init__(
        self,
        recorder: CoreRecorder,
        *,
        domain: str,
        psi: str,
        iut: Mapping[str, tuple[str, int]] | None = None,
        iut_sources: tuple[str, ...] = (),
        server_ssl: ssl.SSLContext | None = None,
        client_ssl: ssl.SSLContext | None = None,
        t1: float = 0.5,
    ) -> None:
        self.iut: dict[str, Address] = {key: Address(*value) for key, value in (iut or {}).items()}
        self.iut_sources = iut_sources
        self.bindings = Bindings()
        self.policies = Policies()
        self._recorder = recorder
        self._interfaces = Interfaces(
            self._receive,
            self._failed,
            tap=sip_tap(self._record, Pco.ISC, Role.CORE, self._peer_role),
            server_ssl=server_ssl,
            client_ssl=client_ssl,
        )
        self._proxy = Proxy(
            self._interfaces,
            domain=domain,
            psi=psi,
            bindings=self.bindings,
            policies=self.policies,
            iut=lambda: self.iut,
        )
        self.third_party = ThirdPartyRegistrar(self._send_register, t1)

    @property
    def addresses(self) -> dict[str, Address]:
        """Where the PF reaches the core, by ``udp``, ``tcp``, ``tls``, ``udp6``, ``tcp6``, ``tls6``."""
        return self._interfaces.of(Side.ISC)

    @property
    def access(self) -> dict[str, Address]:
        """Where clients and originators reach the core, by ``udp``, ``tcp``, ``udp6``, ``tcp6``."""
        return self._interfaces.of(Side.ACCESS)

    async def start(self, host: str = "127.0.0.1", port: int = 0, tls_port: int = 0, host6: str | None = "::1") -> None:
        """Listen: the isc side at the addresses given (0: any port, one for UDP and TCP), the access side at any port.

        :raises OSError: an address is in use.
        """
        await self._interfaces.start(host, port, tls_port, host6)

    async def close(self) -> None:
        """Stop everything."""
        await self.third_party.close()
        await self._interfaces.close()

    def set_iut(self, endpoints: Mapping[str, tuple[str, int]], sources: tuple[str, ...] | None = None) -> None:
        """Tell where the PF listens and, if given, from which further hosts it sends."""
        self.iut = {key: Address(*value) for key, value in endpoints.items()}
        if sources is not None:
            self.iut_sources = tuple(sources)

    def set_policy(self, user: str, policy: Policy) -> None:
        """Treat a user's traffic that way from now on."""
        self.policies[user] = policy

    def policy(self, user: str) -> Policy:
        """How a user's traffic is treated."""
        return self.policies[user]

    async def third_party_done(self, user: str, *, gone: bool = False) -> int | None:
        """Wait for the end of the user's last third-party REGISTER: its status, 408 without one, ``None`` if none.

        What it tells (``gone`` or not) is known here without asking.
        """
        return await self.third_party.done(user)

    async def held(self, user: str) -> None:
        """Wait until a 2xx of that user's client is being held (policy ``hold_2xx``)."""
        await self._proxy.held(aor(user))

    def release(self, user: str) -> int:
        """Let the held 2xx of that user go and hold no more; how many there were."""
        self.policies[user] = replace(self.policies[user], hold_2xx=False)
        return self._proxy.release(aor(user))

    def _receive(self, side: Side, message: SipMessage, source: Hop) -> None:
        """Take what arrived on either side."""
        if isinstance(message, SipResponse):
            if side is Side.ACCESS or not self.third_party.receive(message):
                self._proxy.response(message)
        elif side is Side.ISC and self._is_stray(source.host):
            self._proxy.refuse(side, message, source, 403)
        elif side is Side.ACCESS and message.method == "REGISTER":
            self._register(message, source)
        else:
            self._proxy.request(side, message, source)

    def _register(self, request: SipRequest, source: Hop) -> None:
        """A client's REGISTER: 200, then the third-party REGISTER to the PF; a retransmission gets the same 200."""
        passage, is_new = self._proxy.accept(Side.ACCESS, request, source)
        if not is_new:
            self._proxy.repeat(passage)
            return
        if request.to is None:
            self._proxy.refuse(Side.ACCESS, request, source, 400)
            return
        bindings = self.bindings.register(request, source)
        self._proxy.answer(passage, register_response(passage.request, bindings, passage.ingress))
        user = request.to.uri.text
        leg = self._proxy.leg(user)
        if leg is not None:
            self.third_party.start(user, max((binding.expires for binding in bindings), default=0), *leg)

    def _send_register(self, request: SipRequest, hop: Hop, user: str) -> None:
        """Put a third-party REGISTER on the wire, unless the user's policy loses it."""
        if not self.policies[user].drops(request, to_iut=True):
            self._interfaces.put(Side.ISC, request, hop)

    def _failed(self, side: Side, hop: Hop) -> None:
        """A hop cannot be reached: whoever waits for an answer from it gets 503 (RFC 3261 16.9)."""
        if side is Side.ISC:
            self.third_party.refused(hop)
        self._proxy.unreachable(side, hop)

    def _record(self, frame: Frame) -> None:
        self._recorder(frame, parse_message(frame.octets) if frame.kind is Kind.DATA else None)

    def _peer_role(self, address: Address) -> Role | None:
        """The PF, or nobody of ours if the sender's host is none of the PF's."""
        return None if self._is_stray(address.host) else Role.IUT

    def _is_stray(self, host: str) -> bool:
        known = {item.host for item in self.iut.values()} | set(self.iut_sources)
        return bool(known) and host not in known
