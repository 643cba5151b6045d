"""The transport layer of a SIP endpoint: listeners, connections and their reuse (RFC 3261 18).

It knows neither transactions nor dialogs.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import Final

from cpmspec.net.sip_hops import Hop, SipTransportError, is_numeric
from cpmspec.net.sip_sockets import Channel, Edge, Observer, Outbound, StreamConnection, UdpSocket, bound_socket
from cpmspec.net.tap import Address, Tap, address_of

#: seconds until an attempt to connect, TLS handshake included, is given up
CONNECT_TIMEOUT: Final = 10.0
#: seconds for a TLS connection to be shut down in order
SHUTDOWN_TIMEOUT: Final = 2.0


class SipTransports:
    """All sockets of an endpoint."""

    def __init__(
        self, observer: Observer, *, tap: Tap | None, outbound: Outbound | None,
        server_ssl: ssl.SSLContext | None, client_ssl: ssl.SSLContext | None, stamping: bool = True,
    ) -> None:  # fmt: skip
        self._edge = Edge(observer, tap, outbound, stamping)
        self._server_ssl = server_ssl
        self._client_ssl = client_ssl
        self._udp: list[UdpSocket] = []
        self._servers: list[asyncio.Server] = []
        self._listeners: list[Hop] = []
        self._connecting: set[asyncio.Task[None]] = set()
        self._accepted: set[StreamConnection] = set()

    @property
    def listeners(self) -> tuple[Hop, ...]:
        """Where we listen, in the order of the calls."""
        return tuple(self._listeners)

    async def listen(self, transport: str, host: str, port: int) -> Address:
        """Open a listener; port 0 takes a free one. Returns the address with its real port.

        :raises OSError: the port is in use, or the address is not of this machine.
        """
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        sock = bound_socket(family, socket.SOCK_DGRAM if transport == "udp" else socket.SOCK_STREAM, host, port)
        loop = asyncio.get_running_loop()
        if transport == "udp":
            _, protocol = await loop.create_datagram_endpoint(lambda: UdpSocket(self._edge, sock), sock=sock)
            self._udp.append(protocol)
        else:
            context = self._server_ssl if transport == "tls" else None
            if transport == "tls" and context is None:
                sock.close()
                raise SipTransportError("no certificate to listen on TLS with")
            limit = None if context is None else SHUTDOWN_TIMEOUT
            server = await loop.create_server(
                lambda: self._accept(transport), sock=sock, ssl=context, backlog=512, ssl_shutdown_timeout=limit
            )
            self._servers.append(server)
        address = address_of(sock.getsockname())
        self._listeners.append(Hop(transport, *address))
        return address

    def local_address(self, hop: Hop) -> Address:
        """Where the peer at ``hop`` reaches us: a listener of that transport and family, else one of that family.

        Port 0 if there is none at all.
        """
        family = [listener for listener in self._listeners if listener.ipv6 == hop.ipv6]
        same = [listener for listener in family if listener.transport == hop.transport] or family
        source = _source_host(hop) if len(same) != 1 or _is_wildcard(same[0].host) else ""
        chosen = next((listener for listener in same if listener.host == source), same[0] if same else None)
        if chosen is None:
            return source, 0
        return (source if _is_wildcard(chosen.host) else chosen.host), chosen.port

    def send(self, octets: bytes, hop: Hop, *, channel: Channel | None = None, response: bool = False) -> None:
        """Send one message: on ``channel`` if that is usable, else to ``hop``, over a connection that stands or anew.

        :raises SipTransportError: there is no socket for that hop.
        """
        if channel is not None and channel.usable:
            channel.send(octets, (hop.host, hop.port))
            return
        if hop.transport == "udp":
            self._udp_socket(hop).send(octets, (hop.host, hop.port))
            return
        connection = self._edge.connections.get(hop)
        if connection is None and response:
            connection = self._edge.aliases.get(hop)
        if connection is None or not connection.usable:
            connection = self._connect(hop)
        connection.send(octets)

    def is_connected(self, hop: Hop) -> bool:
        """Whether a connection with that hop stands."""
        connection = self._edge.connections.get(hop)
        return connection is not None and connection.usable

    def reset_connections(self) -> None:
        """Abort every connection, listeners stay: for the tests of what then happens."""
        for connection in self._connections():
            connection.abort()

    async def close(self) -> None:
        """Close listeners and connections, and wait until they are closed."""
        for server in self._servers:
            server.close()
        for task in self._connecting:
            task.cancel()
        await asyncio.gather(*self._connecting, return_exceptions=True)
        for connection in self._connections():
            connection.close()
        for sock in self._udp:
            sock.close()
        ends = [item.ended for item in self._connections()] + [sock.ended for sock in self._udp]
        if ends:
            await asyncio.wait(ends, timeout=SHUTDOWN_TIMEOUT + 1)
        for connection in self._connections():
            connection.abort()
        for server in self._servers:
            await server.wait_closed()
        self._udp.clear()
        self._servers.clear()
        self._listeners.clear()

    def _connections(self) -> list[StreamConnection]:
        return list({*self._edge.connections.values(), *self._accepted})

    def _accept(self, transport: str) -> StreamConnection:
        connection = StreamConnection(self._edge, transport)
        self._accepted.add(connection)
        connection.ended.add_done_callback(lambda _: self._accepted.discard(connection))
        return connection

    def _udp_socket(self, hop: Hop) -> UdpSocket:
        family = [sock for sock in self._udp if (":" in sock.local[0]) == hop.ipv6]
        if not family:
            raise SipTransportError(f"no UDP socket to send to {hop} from")
        local = self.local_address(hop)
        return next((sock for sock in family if sock.local == local), family[0])

    def _connect(self, hop: Hop) -> StreamConnection:
        if hop.transport == "tls" and self._client_ssl is None:
            raise SipTransportError(f"no TLS settings to connect to {hop}")
        connection = StreamConnection(self._edge, hop.transport, hop)
        self._edge.connections[hop] = connection
        task = asyncio.get_running_loop().create_task(self._open(connection, hop))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)
        return connection

    async def _open(self, connection: StreamConnection, hop: Hop) -> None:
        source = next((item.host for item in self._listeners if item.ipv6 == hop.ipv6), "")
        local = (source, 0) if source and not _is_wildcard(source) else None
        tls = {"ssl": self._client_ssl, "ssl_shutdown_timeout": SHUTDOWN_TIMEOUT} if hop.transport == "tls" else {}
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                await loop.create_connection(lambda: connection, hop.host, hop.port, local_addr=local, **tls)  # type: ignore[call-overload]
        except OSError as error:
            connection.give_up(str(error) or type(error).__name__)


def _is_wildcard(host: str) -> bool:
    return host in {"", "0.0.0.0", "::"}


def _source_host(hop: Hop) -> str:
    """The address that the system would send from to that hop; no packet is sent."""
    fallback = "::1" if hop.ipv6 else "127.0.0.1"
    if not is_numeric(hop.host):
        return fallback
    with socket.socket(socket.AF_INET6 if hop.ipv6 else socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((hop.host, hop.port or 9))
        except OSError:
            return fallback
        return address_of(probe.getsockname())[0]
