"""The sockets under a SIP endpoint: one UDP listener, one TCP or TLS connection (RFC 3261 18).

They frame and parse what comes in, and put what goes out past the hook and the tap.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeAlias, cast

from cpmspec.net.clock import now_us
from cpmspec.net.sip_hops import Hop, response_hop, stamp_received
from cpmspec.net.tap import Address, Tap, TapEvent, TapKind, address_of, next_connection
from cpmspec.wire.sip import SipMessage, SipRequest, SipStream, SipUnreadable, parse_message

#: octets of receive buffer asked for on UDP sockets: bursts of a loaded run must not be lost on loopback
UDP_RECEIVE_BUFFER: Final = 4 * 1024 * 1024

#: octets that a peer may leave untaken on a connection before nothing more is read from him: each request that is read
#: may add an answer. Two endpoints would have to leave so much to each other, beyond what their systems buffer, to wait
#: for each other in vain.
MAX_UNSENT: Final = 1024 * 1024

# Linux: errors of earlier datagrams are queued, with the address they were sent to (man 7 ip, IP_RECVERR)
_IP_RECVERR: Final = 11
_IPV6_RECVERR: Final = 25
_ERROR_QUEUE: Final[int] = getattr(socket, "MSG_ERRQUEUE", 0)


class Channel(Protocol):
    """What a message came in on: its response goes out on the same."""

    transport: str
    local: Address

    @property
    def usable(self) -> bool:
        """Whether octets can still be sent on it."""

    def send(self, octets: bytes, remote: Address) -> None:
        """Send one message to the peer."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """How a message came: from which hop, to which local address, on which channel."""

    hop: Hop
    local: Address
    channel: Channel


class Observer(Protocol):
    """Who is told of what happens at the sockets."""

    def received(self, message: SipMessage | SipUnreadable, arrival: Arrival) -> None:
        """One message came in; a request has ``received`` and ``rport`` in its top Via, if requests are stamped."""

    def failed(self, hop: Hop, why: str) -> None:
        """What was sent to that hop did not arrive, or its connection is lost."""


#: called with octets just before they are written; returns what to write instead, or None
Outbound: TypeAlias = Callable[[bytes, Hop], bytes | None]


@dataclass(slots=True)
class Edge:
    """What every socket of an endpoint shares: its observer, the tap and the hook before writing."""

    observer: Observer
    tap: Tap | None = None
    outbound: Outbound | None = None
    stamping: bool = True  #: whether a request gets ``received`` and ``rport`` (RFC 3261 18.2.1, RFC 3581 4)
    connections: dict[Hop, StreamConnection] = field(default_factory=dict)
    #: by the sent-by of the top Via of a request, the connection on which it came: for responses only
    aliases: dict[Hop, StreamConnection] = field(default_factory=dict)

    def outgoing(self, octets: bytes, hop: Hop, local: Address, connection: int) -> bytes | None:
        """What to write in place of ``octets``, after the hook and past the tap; ``None``: nothing."""
        written = octets if self.outbound is None else self.outbound(octets, hop)
        if written is not None:
            self.tell("data", hop, local, connection, sent=True, octets=written)
        return written

    def tell(
        self, kind: TapKind, hop: Hop, local: Address, connection: int, *, sent: bool, octets: bytes = b"",
        time_us: int | None = None,
    ) -> None:  # fmt: skip
        """Let the tap know."""
        if self.tap is not None:
            time = now_us() if time_us is None else time_us
            self.tap(TapEvent(kind, time, hop.transport, local, (hop.host, hop.port), sent, octets, connection))

    def later(self, hop: Hop, why: str) -> None:
        """Report a failure, but not from inside a call to send."""
        asyncio.get_running_loop().call_soon(self.observer.failed, hop, why)


def octets_of(message: SipMessage | SipUnreadable) -> bytes:
    """The octets of a parsed message, readable or not."""
    return message.octets if isinstance(message, SipUnreadable) else message.octets()


class UdpSocket(asyncio.DatagramProtocol):
    """A UDP listener, which is also where requests are sent from (RFC 3261 18.1.1, RFC 3581 4)."""

    transport = "udp"

    def __init__(self, edge: Edge, sock: socket.socket) -> None:
        self.local: Address = address_of(sock.getsockname())
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._edge = edge
        self._socket = sock
        self._sending: Address | None = None
        self._datagrams: asyncio.DatagramTransport | None = None

    @property
    def usable(self) -> bool:
        """Whether the socket is open."""
        return self._datagrams is not None and not self._datagrams.is_closing()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is open."""
        self._datagrams = cast("asyncio.DatagramTransport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is closed."""
        self._datagrams = None
        if not self.ended.done():
            self.ended.set_result(None)

    def datagram_received(self, data: bytes, addr: tuple[str | object, int]) -> None:
        """One datagram is one message; empty lines only are a keep-alive."""
        time_us = now_us()
        if not data.strip(b"\r\n\0"):
            return
        remote = address_of(addr)
        hop = Hop("udp", *remote)
        self._edge.tell("data", hop, self.local, 0, sent=False, octets=data, time_us=time_us)
        message = parse_message(data)
        if isinstance(message, SipRequest) and self._edge.stamping:
            message = stamp_received(message, remote)
        self._edge.observer.received(message, Arrival(hop, self.local, self))

    def send(self, octets: bytes, remote: Address) -> None:
        """Send a datagram; an error of the network is reported afterwards."""
        if self._datagrams is None:
            return
        self._drain_errors()  # an error of an earlier datagram would make the kernel drop this one
        hop = Hop("udp", *remote)
        written = self._edge.outgoing(octets, hop, self.local, 0)
        if written is None:
            return
        self._sending = remote
        self._datagrams.sendto(written, remote)
        self._sending = None

    def error_received(self, exc: Exception) -> None:
        """An ICMP error for an earlier datagram, or the kernel refused this one."""
        drained = self._drain_errors()
        if self._sending is not None and not drained:
            self._edge.later(Hop("udp", *self._sending), str(exc))

    def close(self) -> None:
        """Close the socket."""
        if self._datagrams is not None:
            self._datagrams.close()

    def _drain_errors(self) -> bool:
        """Report each queued ICMP error with the address that the datagram was sent to."""
        drained = False
        while _ERROR_QUEUE:
            try:
                _data, ancillary, _flags, name = self._socket.recvmsg(512, 512, _ERROR_QUEUE | socket.MSG_DONTWAIT)
            except OSError:  # the queue is empty
                break
            drained = True
            code = struct.unpack_from("=I", ancillary[0][2])[0] if ancillary and len(ancillary[0][2]) >= 4 else 0
            remote = address_of(name)
            if code != errno.EMSGSIZE and remote[1]:
                self._edge.later(Hop("udp", *remote), os.strerror(code))
        return drained


class StreamConnection(asyncio.Protocol):
    """One TCP or TLS connection of either direction; what is sent before it stands waits."""

    def __init__(self, edge: Edge, transport: str, hop: Hop | None = None) -> None:
        self.transport = transport
        self.local: Address = ("", 0)
        self.number = next_connection()
        self.hop = hop or Hop(transport, "", 0)
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._edge = edge
        self._opened_by_us = hop is not None
        self._stream: asyncio.Transport | None = None
        self._parser = SipStream()
        self._waiting: list[bytes] = []
        self._closed_by_us = False

    @property
    def usable(self) -> bool:
        """Whether octets can be sent on it, now or once it stands."""
        if self._stream is None:
            return self._opened_by_us and not self.ended.done()
        return not self._stream.is_closing()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection stands (TLS: after the handshake)."""
        self._stream = stream = cast("asyncio.Transport", transport)
        stream.set_write_buffer_limits(MAX_UNSENT)
        self.local = address_of(stream.get_extra_info("sockname"))
        if not self._opened_by_us:
            self.hop = Hop(self.transport, *address_of(stream.get_extra_info("peername")))
        if not self._opened_by_us or self.hop not in self._edge.connections:
            self._edge.connections[self.hop] = self
        self._edge.tell("open", self.hop, self.local, self.number, sent=self._opened_by_us)
        waiting, self._waiting = self._waiting, []
        for octets in waiting:
            self.send(octets)

    def data_received(self, data: bytes) -> None:
        """Cut the stream into messages."""
        time_us = now_us()
        for message in self._parser.feed(data):
            octets = octets_of(message)
            self._edge.tell("data", self.hop, self.local, self.number, sent=False, octets=octets, time_us=time_us)
            if isinstance(message, SipRequest):
                self._alias(message)
                if self._edge.stamping:
                    message = stamp_received(message, (self.hop.host, self.hop.port))
            self._edge.observer.received(message, Arrival(self.hop, self.local, self))

    def pause_writing(self) -> None:
        """The peer takes nothing: nothing is taken from him either."""
        if self._stream is not None:
            self._stream.pause_reading()

    def resume_writing(self) -> None:
        """The peer takes octets again."""
        if self._stream is not None:
            self._stream.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection; whoever waits for an answer on it is told."""
        self._stream = None
        for table in (self._edge.connections, self._edge.aliases):
            for hop in [hop for hop, connection in table.items() if connection is self]:
                del table[hop]
        kind: TapKind = "reset" if isinstance(exc, ConnectionError) else "close"
        self._edge.tell(kind, self.hop, self.local, self.number, sent=self._closed_by_us)
        if not self.ended.done():
            self.ended.set_result(None)
        if not self._closed_by_us and self.hop not in self._edge.connections:  # not yet replaced by a new one
            self._edge.observer.failed(self.hop, str(exc) if exc else "connection closed by the peer")

    def send(self, octets: bytes, remote: Address = ("", 0)) -> None:
        """Send one message, or keep it until the connection stands; ``remote`` is that of the connection."""
        if self._stream is None:
            self._waiting.append(octets)
            return
        written = self._edge.outgoing(octets, self.hop, self.local, self.number)
        if written is not None:
            self._stream.write(written)

    def give_up(self, why: str) -> None:
        """The connection could not be opened."""
        if self._edge.connections.get(self.hop) is self:
            del self._edge.connections[self.hop]
        if not self.ended.done():
            self.ended.set_result(None)
        self._waiting = []
        if not self._closed_by_us:
            self._edge.observer.failed(self.hop, why)

    def close(self) -> None:
        """Close in order: what was written is still sent."""
        self._closed_by_us = True
        if self._stream is not None:
            self._stream.close()

    def abort(self) -> None:
        """Close at once, with a RST if octets wait."""
        self._closed_by_us = True
        if self._stream is not None:
            self._stream.abort()

    def _alias(self, request: SipRequest) -> None:
        back = response_hop(request)
        if back is not None:
            self._edge.aliases[Hop(self.transport, self.hop.host, back.port)] = self


def bound_socket(family: socket.AddressFamily, kind: socket.SocketKind, host: str, port: int) -> socket.socket:
    """A bound socket; for IPv6, of IPv6 only."""
    sock = socket.socket(family, kind)
    try:
        sock.setblocking(False)
        if kind is socket.SOCK_STREAM:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family is socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if kind is socket.SOCK_DGRAM:
            _prepare_udp(sock)
        sock.bind((host, port))
    except OSError as error:
        sock.close()
        raise OSError(error.errno, f"cannot listen on {host} port {port}: {error.strerror}") from error
    return sock


def _prepare_udp(sock: socket.socket) -> None:
    with suppress(OSError):  # the system's limit is lower: it gives what it can
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, UDP_RECEIVE_BUFFER)
    if not _ERROR_QUEUE:
        return
    if sock.family is socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVERR, 1)
    else:
        sock.setsockopt(socket.IPPROTO_IP, _IP_RECVERR, 1)
