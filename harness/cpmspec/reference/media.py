"""The MSRP endpoint of the PF: listeners, connections, and which session a request belongs to (RFC 4975 5.4, 7.3)."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from cpmspec.net.msrp import MsrpConnection, MsrpListener, connect_msrp, listen_msrp
from cpmspec.net.tls import client_context, fingerprint_matches, self_signed
from cpmspec.protocol.errors import LocalProtocolError
from cpmspec.protocol.msrp_binding import Binding, Bindings, where_to_connect
from cpmspec.reference.log import say
from cpmspec.wire.msrp import (
    FrameBegin,
    FrameData,
    FrameEnd,
    MsrpEvent,
    MsrpHead,
    Unreadable,
    new_session_id,
)
from cpmspec.wire.sdp import Media as MediaDescription
from cpmspec.wire.uri import host_text

if TYPE_CHECKING:
    from cpmspec.reference.pf import Pf

BIND_WITHIN = 30.0
"""Seconds that a connection may stay without a request that binds it to a session (RFC 4976 6.1 has the same)."""


class MsrpSession(ABC):
    """One MSRP session: our URI, the peer's path, and the connection that binds it.

    Subclasses take the frames of the session. ``bound`` is set with the first request of the peer (or our connection
    to him), ``lost`` when that connection is gone: a session never outlives it (RFC 4975 5.4).
    """

    def __init__(self, pf: Pf, *, tls: bool, host: str) -> None:
        self.pf = pf
        self.tls = tls
        self.id = new_session_id()
        self.host, self.port = pf.media.address(host, tls=tls)
        self.uri = f"{'msrps' if tls else 'msrp'}://{host_text(self.host)}:{self.port}/{self.id};tcp"
        self.peer_path: tuple[str, ...] = ()
        self.peer_fingerprint: str | None = None
        self.connection: MsrpConnection | None = None
        self.bound = asyncio.Event()
        self.lost = asyncio.Event()
        self.binding = pf.media.bindings.add(self.uri)
        pf.media.sessions[self.binding] = self

    def take_description(self, media: MediaDescription) -> None:
        """Learn the peer's path and fingerprint from his SDP."""
        self.peer_path = media.path
        self.peer_fingerprint = media.fingerprint

    async def connect(self) -> None:
        """Be the active side: connect to the first URI of the peer's path (RFC 4975 5.4, 7.1).

        :raises OSError: no connection, or a peer with another certificate than his SDP says (RFC 4975 14.4).
        """
        try:
            host, port = where_to_connect(self.peer_path)
        except LocalProtocolError as error:
            raise OSError(str(error)) from error
        media, ssl = self.pf.media, client_context(by_fingerprint=True) if self.tls else None
        self.binding.begin(active=True)
        wire = await connect_msrp(
            host, port, ssl=ssl, outbound=media.outbound, bindings=media.bindings, session=self.binding
        )
        if self.tls and not fingerprint_matches(wire.peer_certificate, self.peer_fingerprint or ""):
            wire.abort()
            raise OSError("the peer's certificate is not the one of a=fingerprint")
        self.bind(wire)
        Wire(self.pf.media, wire)

    def bind(self, connection: MsrpConnection) -> None:
        """The session now has its connection."""
        self.connection = connection
        self.bound.set()

    def write(self, octets: bytes) -> None:
        """Send a short answer; without a connection it is lost, as the peer is."""
        if self.connection is not None and self.connection.is_open:
            self.connection.write(octets)

    @abstractmethod
    def on_begin(self, head: MsrpHead) -> None:
        """A frame for the session begins."""

    @abstractmethod
    def on_data(self, octets: bytes) -> None:
        """Octets of its body."""

    @abstractmethod
    def on_end(self, flag: str) -> None:
        """The frame is complete."""

    def on_lost(self) -> None:
        """The connection is gone."""
        self.lost.set()

    def release(self) -> None:
        """The session is over: its URI means nothing any more, its connection is closed."""
        self.pf.media.sessions.pop(self.binding, None)
        self.pf.media.bindings.remove(self.binding)
        if self.connection is not None:
            self.connection.close()


class Wire:
    """One connection: hands each frame to the session that it is for; the connection answers what is for none."""

    def __init__(self, media: Media, connection: MsrpConnection) -> None:
        self._media = media
        self._connection = connection
        self._session: MsrpSession | None = None
        self._idle = asyncio.get_running_loop().call_later(BIND_WITHIN, self._expire)
        media.connections.add(connection)
        connection.on_close = self._on_close
        connection.on_event = self._on_event

    def _expire(self) -> None:
        if not any(session.connection is self._connection for session in self._media.sessions.values()):
            self._connection.close()

    def _on_event(self, event: MsrpEvent) -> None:
        match event:
            case FrameBegin(head):
                binding = self._connection.session
                self._session = None if binding is None else self._media.sessions.get(binding)
                if self._session is not None:
                    if self._session.connection is None:
                        self._session.bind(self._connection)
                    self._session.on_begin(head)
            case FrameData(octets):
                if self._session is not None:
                    self._session.on_data(octets)
            case FrameEnd(flag):
                if self._session is not None:
                    self._session.on_end(flag)
            case Unreadable():
                say("octets that are no MSRP: connection dropped")
                self._connection.abort()

    def _on_close(self, reason: Exception | None) -> None:
        self._idle.cancel()
        self._media.connections.discard(self._connection)
        for session in list(self._media.sessions.values()):
            if session.connection is self._connection:
                session.on_lost()


class Media:
    """The listeners of the PF, and its sessions by what binds them to connections."""

    def __init__(self, pf: Pf) -> None:
        self.pf = pf
        self.bindings = Bindings()
        self.sessions: dict[Binding, MsrpSession] = {}
        self.connections: set[MsrpConnection] = set()
        self.listening: dict[tuple[bool, bool], tuple[str, int]] = {}
        self._listeners: list[MsrpListener] = []
        self._server_context, self.fingerprint = self_signed(pf.config.msrp_hosts)

    async def listen(self) -> None:
        """Open the listeners: TCP and TLS on each host.

        :raises OSError: an address is not there, or a port is in use.
        """
        told = self.pf.config.msrp
        for host in self.pf.config.msrp_hosts:
            for tls, port in ((False, told.port), (True, told.tls_port)):
                ssl = self._server_context if tls else None
                listener = await listen_msrp(
                    host, port, self._accept, ssl=ssl, outbound=self.outbound, bindings=self.bindings
                )
                self._listeners.append(listener)
                self.listening.setdefault((tls, ":" in host), listener.address)

    def outbound(self, octets: bytes) -> bytes | None:
        """The hook of the parts at the edge of the sockets."""
        hook = self.pf.parts.outbound
        return octets if hook is None else hook("msrp", octets)

    def address(self, host: str, *, tls: bool) -> tuple[str, int]:
        """Our address for a peer at ``host``: the same family if we have it."""
        return self.listening.get((tls, ":" in host)) or self.listening[(tls, ":" not in host)]

    async def close(self) -> None:
        """Accept no more, and drop what is left."""
        for listener in self._listeners:
            listener.close()
        for connection in list(self.connections):
            connection.abort()

    def _accept(self, connection: MsrpConnection) -> None:
        Wire(self, connection)
