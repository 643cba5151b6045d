"""The listening points of the SIP/IP core on its two sides, and the sending through them."""

from __future__ import annotations

import errno
import itertools
import ssl
from collections.abc import Callable, Iterable, Iterator, Sequence

from cpmspec.actors.routing import Interface, Side, interface_key
from cpmspec.evidence.trace import Address
from cpmspec.net.sip import Hop, SipEndpoint, SipTransportError
from cpmspec.net.tap import Address as Local
from cpmspec.net.tap import Tap
from cpmspec.wire.sip import SipMessage

#: takes each message that arrives: on which side, what, from where
Receive = Callable[[Side, SipMessage, Hop], None]
#: told that a hop refused what was sent to it, or could not be reached
Failed = Callable[[Side, Hop], None]

_PORT_TRIES = 20


class Interfaces:
    """UDP and TCP listeners at one port for each side, TLS on the isc side; IPv4 and IPv6."""

    def __init__(
        self,
        receive: Receive,
        failed: Failed,
        *,
        tap: Tap,
        server_ssl: ssl.SSLContext | None,
        client_ssl: ssl.SSLContext | None,
    ) -> None:
        self._receive = receive
        self._failed = failed
        self._tap = tap
        self._server_ssl = server_ssl
        self._client_ssl = client_ssl
        self._endpoints: dict[Side, SipEndpoint] = {}
        self._known: dict[tuple[Side, str], Interface] = {}

    def __iter__(self) -> Iterator[Interface]:
        return iter(self._known.values())

    def of(self, side: Side) -> dict[str, Address]:
        """The addresses of one side by key."""
        return {key: item.address for (which, key), item in self._known.items() if which is side}

    def get(self, side: Side, key: str) -> Interface:
        """The interface of a side, with the nearest substitute if it has none of that key."""
        exact = self._known.get((side, key))
        if exact is not None:
            return exact
        return self._known.get((side, key.rstrip("6"))) or self._known[side, "udp"]

    async def start(self, host: str, port: int, tls_port: int, host6: str | None) -> None:
        """Listen.

        :raises OSError: an address is in use.
        """
        hosts = [host, *([host6] if host6 else [])]
        for side, wanted in ((Side.ISC, port), (Side.ACCESS, 0)):
            self._endpoints[side] = endpoint = self._endpoint(side)
            tls = tls_port if side is Side.ISC and self._server_ssl is not None else None
            for key, address in (await listen_all(endpoint, hosts, wanted, tls)).items():
                self._known[side, key] = Interface(side, key, address)

    def put(self, side: Side, message: SipMessage, hop: Hop) -> None:
        """Send a message as it is; whether the hop refuses it is told later."""
        try:
            self._endpoints[side].write(message, hop)
        except SipTransportError:
            self._failed(side, hop)

    async def close(self) -> None:
        """Stop listening, end all connections."""
        for endpoint in self._endpoints.values():
            await endpoint.close()

    def _endpoint(self, side: Side) -> SipEndpoint:
        """An endpoint without transactions; only the isc side is observed and has TLS."""
        if side is Side.ISC:
            endpoint = SipEndpoint(
                transactions=False, tap=self._tap, server_ssl=self._server_ssl, client_ssl=self._client_ssl
            )
        else:
            endpoint = SipEndpoint(transactions=False)

        def on_message(message: SipMessage, source: Hop, transport: str, local: Local) -> None:
            self._receive(side, message, source)

        endpoint.on_message = on_message
        endpoint.on_send_failed = lambda hop, why: self._failed(side, hop)
        return endpoint


async def listen_all(
    endpoint: SipEndpoint, hosts: Sequence[str], port: int, tls_port: int | None = None
) -> dict[str, Address]:
    """Open UDP and TCP on all hosts at one port, and TLS at ``tls_port`` unless that is ``None``; where, by key.

    Port 0 takes one that is free everywhere.

    :raises OSError: an address is in use.
    """
    for _ in range(_PORT_TRIES):
        try:
            opened = await _listen(endpoint, itertools.product(("udp", "tcp"), hosts), port)
            if tls_port is not None:
                opened |= await _listen(endpoint, itertools.product(("tls",), hosts), tls_port)
        except OSError:
            await endpoint.close()
            if port or tls_port:
                raise
        else:
            return opened
    raise OSError(errno.EADDRINUSE, "no port is free for both UDP and TCP")


async def _listen(endpoint: SipEndpoint, places: Iterable[tuple[str, str]], port: int) -> dict[str, Address]:
    """Open listeners at one port, whichever the first one gets."""
    opened: dict[str, Address] = {}
    for transport, host in places:
        address = Address(*(await endpoint.listen(transport, host, port))[:2])
        opened[interface_key(transport, host)] = address
        port = address.port
    return opened
