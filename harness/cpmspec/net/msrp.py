"""MSRP over TCP and TLS: connections with back-pressure both ways, and a listener (RFC 4975 5.4).

A connection says what arrives as events of :class:`cpmspec.wire.msrp.MsrpStream`. Given the endpoint's sessions
(:class:`cpmspec.protocol.msrp_binding.Bindings`), it hands on only what is for one of them and answers the rest itself;
without, it decides nothing about sessions.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import Callable
from typing import TypeAlias, cast

from cpmspec.net.clock import now_us
from cpmspec.net.tap import Address, Tap, TapEvent, TapKind, address_of, next_connection
from cpmspec.protocol.msrp_binding import Binding, Bindings, Event
from cpmspec.wire.msrp import FrameBegin, FrameEnd, MsrpEvent, MsrpHead, MsrpStream, Unreadable, build_response

#: told each event of the stream, in order
OnEvent: TypeAlias = Callable[[MsrpEvent], None]
#: told once that the connection is gone: ``None`` after an orderly end, else why (``ConnectionResetError`` for a reset)
OnClose: TypeAlias = Callable[[Exception | None], None]
#: sees octets before they are written and returns what to write instead, ``None`` for nothing
Outbound: TypeAlias = Callable[[bytes], bytes | None]


class MsrpConnection(asyncio.Protocol):
    """One TCP or TLS connection that carries MSRP.

    Events that arrive before :attr:`on_event` is set wait for it; so does the end for :attr:`on_close`.
    """

    def __init__(
        self, *, tls: bool = False, tap: Tap | None = None, outbound: Outbound | None = None,
        bindings: Bindings | None = None,
    ) -> None:  # fmt: skip
        self.tls = tls
        self.session: Binding | None = None  #: with bindings: whose the message is that is being told
        self.on_writable: Callable[[], None] | None = None  #: told when the peer takes octets again
        self.number = next_connection()  #: the tap's number of this connection
        self.local: Address = ("", 0)
        self.remote: Address = ("", 0)
        self._tap = tap
        self._outbound = outbound
        self._bindings = bindings
        self._refused: tuple[MsrpHead, int] | None = None
        self._corked: list[bytes] | None = None
        self._made: Callable[[MsrpConnection], None] | None = None
        self._active = True
        self._transport: asyncio.Transport | None = None
        self._stream = MsrpStream()
        self._backlog: list[MsrpEvent] = []
        self._on_event: OnEvent | None = None
        self._on_close: OnClose | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._gone = asyncio.Event()
        self._reason: Exception | None = None
        self._end_told = False

    @property
    def on_event(self) -> OnEvent | None:
        """Who is told the events of the stream; setting it hands over what has arrived so far."""
        return self._on_event

    @on_event.setter
    def on_event(self, observer: OnEvent | None) -> None:
        self._on_event = observer
        backlog, self._backlog = self._backlog, []
        self._deliver(backlog)

    @property
    def on_close(self) -> OnClose | None:
        """Who is told that the connection is gone; setting it afterwards tells at once."""
        return self._on_close

    @on_close.setter
    def on_close(self, observer: OnClose | None) -> None:
        self._on_close = observer
        if observer is not None and self._gone.is_set():
            observer(self._reason)

    @property
    def transport(self) -> str:
        """``tcp`` or ``tls``."""
        return "tls" if self.tls else "tcp"

    @property
    def is_open(self) -> bool:
        """Whether octets can still be sent."""
        return self._transport is not None and not self._transport.is_closing()

    @property
    def blocked(self) -> bool:
        """Whether :meth:`send` waits now because the peer does not take octets."""
        return not self._writable.is_set()

    @property
    def unsent(self) -> int:
        """How many octets were written that the system did not take yet."""
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    @property
    def reason(self) -> Exception | None:
        """Why the connection is gone: ``None`` while it is there and after an orderly end."""
        return self._reason

    @property
    def peer_certificate(self) -> bytes | None:
        """The peer's certificate (DER), to compare with an SDP fingerprint (RFC 4975 14.4); ``None`` without one."""
        session = None if self._transport is None else self._transport.get_extra_info("ssl_object")
        return cast("ssl.SSLObject", session).getpeercert(binary_form=True) if session is not None else None

    async def send(self, octets: bytes) -> None:
        """Write octets, and wait while the peer does not take them.

        :raises ConnectionError: the connection is gone, or goes while we wait.
        """
        self.write(octets)
        while not self._writable.is_set():
            await self._writable.wait()
            if self._gone.is_set():
                raise self._broken()

    def write(self, octets: bytes) -> None:
        """Write octets without waiting: for short answers; the transport keeps what the peer does not take yet.

        :raises ConnectionError: the connection is gone or closing.
        """
        transport = self._transport
        if transport is None or transport.is_closing():
            raise self._broken()
        changed = octets if self._outbound is None else self._outbound(octets)
        if changed:
            if self._tap is not None:
                self._observe("data", sent=True, octets=changed)
            if self._corked is None:
                transport.write(changed)
            else:
                self._corked.append(changed)

    def pause_reading(self) -> None:
        """Take no more octets from the peer until :meth:`resume_reading`."""
        if self.is_open and self._transport is not None:
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Take octets again."""
        if self.is_open and self._transport is not None:
            self._transport.resume_reading()

    def close(self) -> None:
        """End in order: what was written is sent first, then FIN."""
        if self.is_open and self._transport is not None:
            self._uncork()
            self._observe("close", sent=True)
            self._transport.close()

    def abort(self) -> None:
        """End with a TCP reset; what was written and not sent is lost."""
        if self._transport is None or self._gone.is_set():
            return
        self._observe("reset", sent=True)
        self._corked = None
        handle = self._transport.get_extra_info("socket")
        if handle is not None:
            cast("socket.socket", handle).setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()

    def half_close(self) -> None:
        """Send FIN and keep reading; over TLS, which knows no half-close, nothing happens."""
        if self.is_open and self._transport is not None and self._transport.can_write_eof():
            self._uncork()
            self._transport.write_eof()

    async def wait_closed(self) -> None:
        """Wait until the connection is gone."""
        await self._gone.wait()

    def _broken(self) -> ConnectionError:
        if isinstance(self._reason, ConnectionError):
            return self._reason
        return ConnectionResetError(f"the MSRP connection to {self.remote[0]} port {self.remote[1]} is closed")

    def _observe(self, kind: TapKind, *, sent: bool, octets: bytes = b"") -> None:
        """Tell the tap; the end of a connection is told once, by whoever ended it first."""
        if kind in ("close", "reset"):
            if self._end_told:
                return
            self._end_told = True
        if self._tap is not None:
            time_us = now_us()
            self._tap(TapEvent(kind, time_us, self.transport, self.local, self.remote, sent, octets, self.number))

    def _deliver(self, events: list[MsrpEvent]) -> None:
        for event in events:
            if self._on_event is None:
                self._backlog.append(event)
            elif self._bindings is None or self._belongs(event, self._bindings):
                self._on_event(event)

    def _belongs(self, event: MsrpEvent, bindings: Bindings) -> bool:
        """Whether an event is part of a message for a session; a request that is for none is answered at its end."""
        if isinstance(event, FrameBegin):
            found = bindings.route(event.head, self.number, tls=self.tls)
            if isinstance(found, Binding):
                self.session, self._refused = found, None
                return True
            self.session, self._refused = None, (event.head, found)
            return False
        if self._refused is None or isinstance(event, Unreadable):
            return True
        if isinstance(event, FrameEnd):
            (head, status), self._refused = self._refused, None
            # RFC 4975 7.1.4: no answer to a request that wants none; a request without paths has no way back
            if head.failure_report != "no" and head.answerable and self.is_open:
                self.write(build_response(head, status))
        return False

    def _uncork(self) -> None:
        """Write what was kept while events were told: many short answers are one packet."""
        corked, self._corked = self._corked, None
        if corked and self._transport is not None:
            self._transport.write(b"".join(corked))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the event loop: the connection, and its TLS session, stands."""
        self._transport = cast("asyncio.Transport", transport)
        self.local = address_of(transport.get_extra_info("sockname"))
        self.remote = address_of(transport.get_extra_info("peername"))
        self._observe("open", sent=self._active)
        if self._made is not None:
            self._made(self)

    def data_received(self, data: bytes) -> None:
        """Called by the event loop: octets arrived."""
        self._observe("data", sent=False, octets=data)
        self._corked = []
        try:
            self._deliver(self._stream.feed(data))
        finally:
            self._uncork()

    def eof_received(self) -> None:
        """Called by the event loop: the peer ended in order; what was written is still sent, then we close too."""
        self._observe("close", sent=False)

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the event loop: the connection is gone."""
        self._observe("reset" if isinstance(exc, ConnectionError) else "close", sent=False)
        self._reason = exc
        self._gone.set()
        self._writable.set()
        self._deliver(self._stream.close())
        if self._bindings is not None:
            self._bindings.lost(self.number)
        if self._on_close is not None:
            self._on_close(exc)

    def pause_writing(self) -> None:
        """Called by the event loop: the peer takes no more for now."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """Called by the event loop: the peer takes octets again."""
        self._writable.set()
        if self.on_writable is not None:
            self.on_writable()

    @classmethod
    def accepted(
        cls, made: Callable[[MsrpConnection], None], *, tls: bool, tap: Tap | None, outbound: Outbound | None,
        bindings: Bindings | None = None,
    ) -> MsrpConnection:  # fmt: skip
        """A connection that a listener takes: ``made`` is called with it when it stands."""
        connection = cls(tls=tls, tap=tap, outbound=outbound, bindings=bindings)
        connection._made, connection._active = made, False
        return connection


class MsrpListener:
    """A listening socket; closing it leaves the connections it accepted alone."""

    def __init__(self, server: asyncio.Server) -> None:
        self._server = server
        self.address: Address = address_of(server.sockets[0].getsockname())

    def close(self) -> None:
        """Accept no more."""
        self._server.close()


async def listen_msrp(
    host: str,
    port: int,
    on_connection: Callable[[MsrpConnection], None],
    *,
    ssl: ssl.SSLContext | None = None,
    tap: Tap | None = None,
    outbound: Outbound | None = None,
    bindings: Bindings | None = None,
) -> MsrpListener:
    """Listen on a numeric address, IPv4 or IPv6; port 0 takes a free one.

    ``on_connection`` is called for each connection as soon as it stands and sets its ``on_event`` and ``on_close``.
    ``bindings`` are the endpoint's sessions, if the connections are to know them.

    :raises OSError: the address cannot be had.
    """

    def accept() -> MsrpConnection:
        return MsrpConnection.accepted(
            on_connection, tls=ssl is not None, tap=tap, outbound=outbound, bindings=bindings
        )

    return MsrpListener(await asyncio.get_running_loop().create_server(accept, host, port, ssl=ssl))


async def connect_msrp(
    host: str,
    port: int,
    *,
    ssl: ssl.SSLContext | None = None,
    server_hostname: str | None = None,
    local: Address | None = None,
    tap: Tap | None = None,
    outbound: Outbound | None = None,
    bindings: Bindings | None = None,
    session: Binding | None = None,
) -> MsrpConnection:
    """Connect to a numeric address, IPv4 or IPv6, from ``local`` if given.

    ``session`` is the one of ``bindings`` that we connect for as the active side: it is told how that came out, and its
    first SEND is to be sent at once (RFC 4975 5.4).

    :raises OSError: nobody listens there, or (``ssl.SSLError``) TLS fails.
    """
    try:
        _, connection = await asyncio.get_running_loop().create_connection(
            lambda: MsrpConnection(tls=ssl is not None, tap=tap, outbound=outbound, bindings=bindings),
            host,
            port,
            ssl=ssl,
            server_hostname=server_hostname,
            local_addr=local,
        )
    except OSError:
        if session is not None:
            session.fire(Event.NOT_CONNECTED)
        raise
    if session is not None:
        session.connected(connection.number)
    return connection
