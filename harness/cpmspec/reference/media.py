"""The MSRP endpoint of the PF: listeners, connections, and which session a request belongs to (RFC 4975 5.4, 7.3)."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from cpmspec.net.msrp import MsrpConnection, MsrpListener, connect_msrp, listen_msrp
from cpmspec.net.tls import client_context, fingerprint_matches, self_signed
from cpmspec.reference.log import say
from cpmspec.wire.msrp import (
    FrameBegin,
    FrameData,
    FrameEnd,
    MsrpEvent,
    MsrpHead,
    Unreadable,
    build_response,
    new_session_id,
)
from cpmspec.wire.sdp import Media as MediaDescription
from cpmspec.wire.uri import MsrpUri, host_text, parse_uri

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
        pf.media.sessions[self.id] = self

    def take_description(self, media: MediaDescription) -> None:
        """Learn the peer's path and fingerprint from his SDP."""
        self.peer_path = media.path
        self.peer_fingerprint = media.fingerprint

    async def connect(self) -> None:
        """Be the active side: connect to the first URI of the peer's path (RFC 4975 5.4, 7.1).

        :raises OSError: no connection, or a peer with another certificate than his SDP says (RFC 4975 14.4).
        """
        uri = parse_uri(self.peer_path[0]) if self.peer_path else None
        if not isinstance(uri, MsrpUri):
            raise OSError(f"{self.peer_path!r} is no path of MSRP URIs")
        ssl = client_context(by_fingerprint=True) if self.tls else None
        wire = await connect_msrp(uri.host, uri.port or 2855, ssl=ssl, outbound=self.pf.media.outbound)
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
        self.pf.media.sessions.pop(self.id, None)
        if self.connection is not None:
            self.connection.close()


class Wire:
    """One connection: hands each frame to the session that its To-Path names, and answers 481, 501 and 506 itself."""

    def __init__(self, media: Media, connection: MsrpConnection) -> None:
        self._media = media
        self._connection = connection
        self._session: MsrpSession | None = None
        self._refused: tuple[MsrpHead, int] | None = None
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
                self._begin(head)
            case FrameData(octets):
                if self._session is not None:
                    self._session.on_data(octets)
            case FrameEnd(flag):
                self._end(flag)
            case Unreadable():
                say("octets that are no MSRP: connection dropped")
                self._connection.abort()

    def _begin(self, head: MsrpHead) -> None:
        session = self._find(head)
        status = self._verdict(head, session)
        self._session, self._refused = (session, None) if status is None else (None, (head, status))
        if self._session is not None:
            if self._session.connection is None:
                self._session.bind(self._connection)
            self._session.on_begin(head)

    def _end(self, flag: str) -> None:
        session, refused = self._session, self._refused
        self._session = self._refused = None
        if session is not None:
            session.on_end(flag)
        elif refused is not None:
            head, status = refused
            # RFC 4975 7.1.4: no answer to a request that wants none; a request without paths has no way back
            if head.failure_report != "no" and head.answerable and self._connection.is_open:
                self._connection.write(build_response(head, status))

    def _find(self, head: MsrpHead) -> MsrpSession | None:
        """The session of the first To-Path URI, compared by RFC 4975 6.1."""
        uri = parse_uri(head.to_path[0]) if head.to_path else None
        if not isinstance(uri, MsrpUri) or uri.session_id is None:
            return None
        session = self._media.sessions.get(uri.session_id)
        if session is None or session.tls != self._connection.tls:
            return None
        own = parse_uri(session.uri)
        return session if isinstance(own, MsrpUri) and own.same_as(uri) else None

    def _verdict(self, head: MsrpHead, session: MsrpSession | None) -> int | None:
        """Why the session does not get the frame (RFC 4975 7.3, 10.8 to 10.10)."""
        if session is None:
            return 481
        if session.connection is not None and session.connection is not self._connection:
            return 506
        if head.is_request and head.method not in ("SEND", "REPORT"):
            return 501
        return None

    def _on_close(self, reason: Exception | None) -> None:
        self._idle.cancel()
        self._media.connections.discard(self._connection)
        for session in list(self._media.sessions.values()):
            if session.connection is self._connection:
                session.on_lost()


class Media:
    """The listeners of the PF, and its sessions by session-id."""

    def __init__(self, pf: Pf) -> None:
        self.pf = pf
        self.sessions: dict[str, MsrpSession] = {}
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
                listener = await listen_msrp(host, port, self._accept, ssl=ssl, outbound=self.outbound)
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
