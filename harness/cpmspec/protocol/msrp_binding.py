"""Which connection an MSRP session has (RFC 4975 5.4, RFC 6135 4.2, RFC 6714 4): a table, and an endpoint's sessions.

A :class:`Binding` is one session's; it goes through the states of :data:`BINDING_ROWS`. :class:`Bindings` are all of an
endpoint: they tell to which session a request on a connection belongs, or the code that refuses it. A connection is
anything hashable that stays the same as long as it lives.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from enum import StrEnum
from typing import Final

from cpmspec.protocol.errors import LocalProtocolError
from cpmspec.protocol.tables import Row, index
from cpmspec.wire.msrp import MsrpHead
from cpmspec.wire.uri import MsrpUri, parse_uri

#: the port of an MSRP URI without one (RFC 4975 15.4); a path in SDP always has one (8.2)
DEFAULT_PORT: Final = 2855


class State(StrEnum):
    """Where a session stands with its connection."""

    UNBOUND = "Unbound"  #: described in SDP, roles not known yet
    CONNECTING = "Connecting"  #: we are active: the connection is being opened
    AWAITING = "Awaiting the first request"  #: we are passive: nothing may be sent
    ANNOUNCING = "Announcing"  #: connected; the first SEND tells the peer which session this is
    BOUND = "Bound"
    REFUSED = "Refused"  #: the peer knows no such session, or has it on another connection
    FAILED = "Failed"
    CLOSED = "Closed"


class Event(StrEnum):
    """What drives it."""

    ACTIVE = "we are active"
    PASSIVE = "we are passive"
    CONNECTED = "connected"
    NOT_CONNECTED = "cannot connect"
    REQUEST = "request"  #: for this session, on its connection, or on one where it has none
    ELSEWHERE = "request elsewhere"  #: on another connection than its own
    ANSWERED = "first SEND answered"  #: with any code but 481 and 506
    C481 = "481"
    C506 = "506"
    LOST = "connection lost"
    CLOSE = "session over"


class Do(StrEnum):
    """What a row does."""

    CONNECT = "connect"
    BIND = "bind"  #: the connection of the event is the session's from now on
    SEND = "SEND at once"  #: with content or without
    TAKE = "take"  #: the request is the session's
    ANSWER_481 = "answer 481"
    ANSWER_506 = "answer 506"
    RELEASE = "release"  #: the connection is the session's no more
    TELL_FAILED = "tell: failed"


BindingRow = Row[State, Event, Do]
S, E, D = State, Event, Do

BINDING_ROWS: Final[tuple[BindingRow, ...]] = (
    BindingRow(S.UNBOUND, E.ACTIVE, (D.CONNECT,), S.CONNECTING, "RFC 6135 4.2.2"),
    BindingRow(S.UNBOUND, E.PASSIVE, (), S.AWAITING, "RFC 6135 4.2.2"),
    BindingRow(S.UNBOUND, E.REQUEST, (D.BIND, D.TAKE), S.BOUND, "RFC 4975 5.4"),
    BindingRow(S.CONNECTING, E.CONNECTED, (D.BIND, D.SEND), S.ANNOUNCING, "RFC 4975 5.4"),
    BindingRow(S.CONNECTING, E.NOT_CONNECTED, (D.TELL_FAILED,), S.FAILED, "RFC 4975 5.4"),
    BindingRow(S.CONNECTING, E.REQUEST, (D.BIND, D.TAKE), S.BOUND, "RFC 4975 5.4"),
    BindingRow(S.AWAITING, E.REQUEST, (D.BIND, D.TAKE), S.BOUND, "RFC 4975 7.3"),
    BindingRow(S.ANNOUNCING, E.REQUEST, (D.TAKE,), S.BOUND, "RFC 4975 7.3"),
    BindingRow(S.ANNOUNCING, E.ANSWERED, (), S.BOUND, "RFC 4975 5.4"),
    BindingRow(S.ANNOUNCING, E.C481, (D.TELL_FAILED,), S.REFUSED, "RFC 4975 10.8"),
    BindingRow(S.ANNOUNCING, E.C506, (D.TELL_FAILED,), S.REFUSED, "RFC 4975 10.10"),
    BindingRow(S.BOUND, E.REQUEST, (D.TAKE,), S.BOUND, "RFC 4975 7.3"),
    BindingRow(S.BOUND, E.C481, (D.TELL_FAILED,), S.REFUSED, "RFC 4975 10.8"),
    BindingRow(S.BOUND, E.C506, (D.TELL_FAILED,), S.REFUSED, "RFC 4975 10.10"),
    *(
        row
        for state in (S.ANNOUNCING, S.BOUND)
        for row in (
            BindingRow(state, E.ELSEWHERE, (D.ANSWER_506,), state, "RFC 4975 5.4"),
            BindingRow(state, E.LOST, (D.RELEASE, D.TELL_FAILED), S.FAILED, "RFC 4975 5.4"),
            BindingRow(state, E.CLOSE, (D.RELEASE,), S.CLOSED, "RFC 3261 15.1"),
        )
    ),
    # what the peer still says on that connection, such as REPORTs on what came before, is heard
    BindingRow(S.REFUSED, E.REQUEST, (D.TAKE,), S.REFUSED, "RFC 4975 7.3"),
    BindingRow(S.REFUSED, E.ELSEWHERE, (D.ANSWER_506,), S.REFUSED, "RFC 4975 5.4"),
    BindingRow(S.REFUSED, E.LOST, (D.RELEASE,), S.FAILED, "RFC 4975 5.4"),
    BindingRow(S.REFUSED, E.CLOSE, (D.RELEASE,), S.CLOSED, "RFC 3261 15.1"),
    *(
        BindingRow(state, E.CLOSE, (), S.CLOSED, "RFC 3261 15.1")
        for state in (S.UNBOUND, S.CONNECTING, S.AWAITING, S.FAILED)
    ),
    *(BindingRow(state, E.REQUEST, (D.ANSWER_481,), state, "RFC 4975 5.4") for state in (S.FAILED, S.CLOSED)),
)
BINDING: Final = index(BINDING_ROWS)


class Binding:
    """The connection of one session. ``path`` is our own URI, which the peer writes into To-Path.

    :raises LocalProtocolError: ``path`` is no MSRP URI with a session-id.
    """

    def __init__(self, path: str) -> None:
        uri = parse_uri(path)
        if not isinstance(uri, MsrpUri) or uri.session_id is None:
            raise LocalProtocolError(f"{path!r} is no MSRP URI with a session-id")
        self.path = path
        self.uri = uri
        self.state = State.UNBOUND
        self.connection: Hashable | None = None

    @property
    def tls(self) -> bool:
        """Whether only a TLS connection will do (RFC 4975 6: ``msrps``)."""
        return self.uri.scheme == "msrps"

    @property
    def may_send(self) -> bool:
        """Whether requests may be sent: a passive side waits for the first one of the peer (RFC 4975 5.4)."""
        return self.state in (State.ANNOUNCING, State.BOUND)

    def begin(self, *, active: bool) -> tuple[Do, ...]:
        """Offer and answer have told who connects (RFC 6135 4.2.2)."""
        return self.fire(Event.ACTIVE if active else Event.PASSIVE)

    def connected(self, connection: Hashable) -> tuple[Do, ...]:
        """The connection that we opened stands."""
        return self.fire(Event.CONNECTED, connection)

    def request(self, connection: Hashable) -> tuple[Do, ...]:
        """A request for the session came on a connection."""
        elsewhere = self.connection is not None and self.connection != connection
        return self.fire(Event.ELSEWHERE if elsewhere else Event.REQUEST, connection)

    def response(self, status: int) -> tuple[Do, ...]:
        """A request of ours was answered."""
        return self.fire({481: Event.C481, 506: Event.C506}.get(status, Event.ANSWERED))

    def fire(self, event: Event, connection: Hashable | None = None) -> tuple[Do, ...]:
        """Apply the row of an event, and tell what is to be done; without a row, nothing."""
        row = BINDING.get((self.state, event))
        if row is None:
            return ()
        self.state = row.next
        if Do.BIND in row.actions:
            self.connection = connection
        elif Do.RELEASE in row.actions:
            self.connection = None
        return row.actions


class Bindings:
    """The sessions of an endpoint by session-id, for all of its connections."""

    def __init__(self) -> None:
        self._sessions: dict[str, Binding] = {}
        self._latest: tuple[bytes, bool, Binding] | None = None  # a To-Path line and what it led to: most follow alike

    def __len__(self) -> int:
        return len(self._sessions)

    def add(self, path: str) -> Binding:
        """A new session.

        :raises LocalProtocolError: ``path`` is no MSRP URI, or its session-id is in use (RFC 4975 14.1).
        """
        binding = Binding(path)
        if self._sessions.setdefault(binding.uri.session_id or "", binding) is not binding:
            raise LocalProtocolError(f"the session-id of {path} is in use")
        return binding

    def remove(self, binding: Binding) -> None:
        """The session is over: its URI means nothing any more."""
        binding.fire(Event.CLOSE)
        if self._sessions.get(binding.uri.session_id or "") is binding:
            del self._sessions[binding.uri.session_id or ""]
            self._latest = None

    def find(self, to_path: Sequence[str], *, tls: bool) -> Binding | None:
        """The session of the first URI of To-Path, compared by RFC 4975 6.1."""
        uri = parse_uri(to_path[0]) if to_path else None
        if not isinstance(uri, MsrpUri) or uri.session_id is None:
            return None
        binding = self._sessions.get(uri.session_id)
        return binding if binding is not None and binding.tls is tls and binding.uri.same_as(uri) else None

    def route(self, head: MsrpHead, connection: Hashable, *, tls: bool) -> Binding | int:
        """The session that gets a message of a connection, or the code that refuses it (RFC 4975 7.3).

        A request binds a session that has no connection yet. A response belongs to the session only on its connection.
        """
        binding = self._session_of(head, tls=tls)
        if binding is None:
            return 481
        if not head.is_request:
            if binding.connection != connection:
                return 481
            binding.response(head.status or 0)
            return binding
        if head.method not in ("SEND", "REPORT"):
            return 501
        actions = binding.request(connection)
        if Do.TAKE in actions:
            return binding
        return 506 if Do.ANSWER_506 in actions else 481

    def _session_of(self, head: MsrpHead, *, tls: bool) -> Binding | None:
        begin = head.raw.find(b"\n") + 1
        line = head.raw[begin : head.raw.find(b"\n", begin)]
        if self._latest is not None and self._latest[0] == line and self._latest[1] is tls:
            return self._latest[2]
        binding = self.find(head.to_path, tls=tls)
        if binding is not None and line.startswith(b"To-Path: "):
            self._latest = line, tls, binding
        return binding

    def lost(self, connection: Hashable) -> list[Binding]:
        """A connection is gone: the sessions that fail with it (RFC 4975 5.4)."""
        return [
            binding
            for binding in self._sessions.values()
            if binding.connection == connection and binding.fire(Event.LOST)
        ]


def where_to_connect(path: Sequence[str], media: tuple[str, int] | None = None) -> tuple[str, int]:
    """Host and port that the active side connects to: those of the first URI of the peer's path (RFC 4975 8.3).

    ``media`` is the address of the peer's c-line and the port of its m-line where both sides have ``a=msrp-cema``: then
    that is the place (RFC 6714 4.2).

    :raises LocalProtocolError: the path does not begin with an MSRP URI.
    """
    uri = parse_uri(path[0]) if path else None
    if not isinstance(uri, MsrpUri):
        raise LocalProtocolError(f"{tuple(path)!r} is no path of MSRP URIs")
    return media or (uri.host, uri.port or DEFAULT_PORT)
