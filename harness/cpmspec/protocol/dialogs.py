"""SIP dialogs (RFC 3261 12): what both sides remember, and requests built from it.

A :class:`Dialog` is made from the request and the response that created it, by :meth:`Dialog.uac` or
:meth:`Dialog.uas`. It builds requests (:meth:`Dialog.request`, :meth:`Dialog.ack`), checks those received
(:meth:`Dialog.receive`) and follows the peer's Contact (:meth:`Dialog.refresh`). No I/O.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, Self

from cpmspec.protocol.dialog_table import DIALOG, Do, Event, State
from cpmspec.protocol.errors import LocalProtocolError, RemoteProtocolError
from cpmspec.wire.sip import SipRequest, SipResponse, build_request
from cpmspec.wire.uri import SipUri, parse_name_addr, parse_uri

#: methods whose Contact moves the remote target (RFC 3261 12.2, RFC 3311 5.1, RFC 6665 4.4)
TARGET_REFRESH: Final = frozenset({"INVITE", "UPDATE", "SUBSCRIBE", "NOTIFY", "REFER"})


class DialogId(NamedTuple):
    """Call-ID, own tag, peer's tag (RFC 3261 12)."""

    call_id: str
    local_tag: str
    remote_tag: str


@dataclass(slots=True)
class Dialog:
    """The state of one dialog, early or confirmed. ``local`` and ``remote`` are From and To values with their tags."""

    id: DialogId
    side: Literal["uac", "uas"]
    local: str
    remote: str
    remote_target: str  #: URI of the peer's Contact
    route_set: tuple[str, ...]  #: name-addrs, in the order in which they are visited
    local_seq: int | None  #: CSeq number of the latest request we sent; None: none yet
    remote_seq: int | None  #: CSeq number of the latest request we received; None: none yet
    invite_seq: int | None = None  #: CSeq number of the latest INVITE we sent: an ACK carries it
    state: State = State.INITIAL

    @property
    def confirmed(self) -> bool:
        """Whether a 2xx came."""
        return self.state is State.CONFIRMED

    @classmethod
    def uac(cls, request: SipRequest, response: SipResponse) -> Dialog:
        """The dialog of the side that sent ``request`` and got ``response``, a 1xx with To tag or a 2xx (12.1.2).

        :raises RemoteProtocolError: the response lacks what makes a dialog: a Contact, a To tag.
        """
        cseq = request.cseq
        if cseq is None or request.call_id is None or request.from_tag is None:
            raise LocalProtocolError("the request lacks CSeq, Call-ID or From tag")
        return cls(
            id=DialogId(request.call_id, request.from_tag, _tag(response.to_tag, response)),
            side="uac",
            local=request.headers.get("from") or "",
            remote=response.headers.get("to") or "",
            remote_target=_contact(response),
            route_set=tuple(reversed(response.headers.values("record-route"))),
            local_seq=cseq.number,
            remote_seq=None,
            invite_seq=cseq.number if cseq.method == "INVITE" else None,
        )._made(response.status)

    @classmethod
    def uas(cls, request: SipRequest, response: SipResponse) -> Dialog:
        """The dialog of the side that got ``request`` and answers it with ``response`` (12.1.1).

        :raises RemoteProtocolError: the request lacks what makes a dialog: Contact, CSeq, Call-ID.
        """
        cseq = request.cseq
        if cseq is None or request.call_id is None:
            raise RemoteProtocolError("the request lacks CSeq or Call-ID", 400)
        if response.to_tag is None:
            raise LocalProtocolError("the response has no To tag: it makes no dialog (RFC 3261 12.1.1)")
        return cls(
            id=DialogId(request.call_id, response.to_tag, request.from_tag or ""),
            side="uas",
            local=response.headers.get("to") or "",
            remote=request.headers.get("from") or "",
            remote_target=_contact(request),
            route_set=request.headers.values("record-route"),
            local_seq=None,
            remote_seq=cseq.number,
        )._made(response.status)

    def owns(self, message: SipRequest | SipResponse) -> bool:
        """Whether a received request, or the response to a request of ours, belongs to this dialog (12.2.2)."""
        ours, theirs = message.to_tag, message.from_tag
        if isinstance(message, SipResponse):
            ours, theirs = theirs, ours
        return self.id == (message.call_id, ours, theirs or "")

    def request(
        self, method: str, headers: Iterable[tuple[str, str]] = (), body: bytes = b"", *, cseq: int | None = None
    ) -> SipRequest:
        """Build the next request of the dialog, without a Via (12.2.1.1).

        ``headers`` come after those of the dialog (Contact, Content-Type, ...). ``cseq`` overrides the number, to do
        wrong on purpose.

        :raises LocalProtocolError: for ACK (see :meth:`ack`) and CANCEL, which are not built this way.
        """
        if method in {"ACK", "CANCEL"}:
            raise LocalProtocolError(f"{method} takes no new CSeq number (RFC 3261 12.2.1.1)")
        if cseq is None:
            self.local_seq = 1 if self.local_seq is None else self.local_seq + 1
            cseq = self.local_seq
        if method == "INVITE":
            self.invite_seq = cseq
        request = self._build(method, cseq, headers, body)
        if method == "BYE":
            self._fire(Event.BYE)
        return request

    def ack(self, headers: Iterable[tuple[str, str]] = (), body: bytes = b"", *, cseq: int | None = None) -> SipRequest:
        """Build the ACK of a 2xx, without a Via: its CSeq number is that of the INVITE (13.2.2.4).

        :raises LocalProtocolError: no INVITE of ours is in this dialog.
        """
        number = self.invite_seq if cseq is None else cseq
        if number is None:
            raise LocalProtocolError("no INVITE of ours to acknowledge in this dialog")
        return self._build("ACK", number, headers, body)

    def receive(self, request: SipRequest) -> None:
        """Check and take the CSeq number of a received request; a target refresh moves the remote target (12.2.2).

        An ACK or CANCEL carries the number of its INVITE and is not checked. A gap is no error.

        :raises RemoteProtocolError: 500, the number is lower than that of an earlier request; 400, there is none.
        """
        if request.method in {"ACK", "CANCEL"}:
            return
        cseq = request.cseq
        if cseq is None:
            raise RemoteProtocolError("the request has no CSeq", 400)
        if self.remote_seq is not None and cseq.number < self.remote_seq:
            raise RemoteProtocolError(f"CSeq {cseq.number} after {self.remote_seq}", 500)
        self.remote_seq = cseq.number
        if request.method == "BYE":
            self._fire(Event.BYE)
        if request.method in TARGET_REFRESH and request.contact:
            self._target(str(request.contact[0].uri))

    def refresh(self, response: SipResponse) -> None:
        """Take a response to an INVITE or another target refresh of ours.

        A 2xx confirms an early dialog, and with that its route set is taken anew (13.2.2.4); in a confirmed one it only
        moves the remote target (12.2.1.2). A failure ends an early dialog (12.3), and 481 and 408 any (12.2.1.2).
        """
        actions = self._fire(_event_of(response.status))
        if Do.TARGET in actions and response.contact:
            self._target(str(response.contact[0].uri))
        if Do.ROUTE_SET in actions and self.side == "uac":
            self.route_set = tuple(reversed(response.headers.values("record-route")))

    def _made(self, status: int) -> Self:
        """The dialog that a response of that status makes."""
        self._fire(Event.SUCCESS if status >= 200 else Event.PROVISIONAL)
        return self._usable()

    def _fire(self, event: Event) -> tuple[Do, ...]:
        """Apply the row of an event; without a row nothing happens."""
        row = DIALOG.get((self.state, event))
        if row is None:
            return ()
        self.state = row.next
        return row.actions

    def _target(self, uri: str) -> None:
        """Move the remote target.

        :raises RemoteProtocolError: no request can be sent to it; the old one stays.
        """
        old, self.remote_target = self.remote_target, uri
        try:
            self._usable()
        except RemoteProtocolError:
            self.remote_target = old
            raise

    def _usable(self) -> Self:
        """The dialog, if requests can be built from what the peer gave us.

        :raises RemoteProtocolError: its Contact, Record-Route, tag or Call-ID holds what no request can carry.
        """
        try:
            self._build("BYE", 1, (), b"")
        except ValueError as problem:
            raise RemoteProtocolError(f"no request of the dialog can be written: {problem}", 400) from problem
        return self

    def _build(self, method: str, cseq: int, extra: Iterable[tuple[str, str]], body: bytes) -> SipRequest:
        uri, routes = self._path()
        headers = [("Route", route) for route in routes]
        headers += [
            ("Max-Forwards", "70"),
            ("From", self.local),
            ("To", self.remote),
            ("Call-ID", self.id.call_id),
            ("CSeq", f"{cseq} {method}"),
            *extra,
        ]
        return build_request(method, uri, headers, body)

    def _path(self) -> tuple[str, tuple[str, ...]]:
        """Request-URI and Route values; a first route without ``lr`` is a strict router (12.2.1.1)."""
        if not self.route_set:
            return self.remote_target, ()
        first = parse_name_addr(self.route_set[0]).uri
        if isinstance(first, SipUri) and first.param("lr") is None:
            return str(first), (*self.route_set[1:], f"<{self.remote_target}>")
        return self.remote_target, self.route_set


def next_hop_uri(request: SipRequest) -> str:
    """The URI whose host a request goes to: its first Route, or its Request-URI (RFC 3261 8.1.2)."""
    return str(request.route[0].uri) if request.route else str(parse_uri(request.uri))


def _event_of(status: int) -> Event:
    if status in (408, 481):
        return Event.GONE
    if status >= 300:
        return Event.FAILURE
    return Event.SUCCESS if status >= 200 else Event.PROVISIONAL


def _contact(message: SipRequest | SipResponse) -> str:
    if not message.contact:
        raise RemoteProtocolError("no Contact: there is no remote target (RFC 3261 12.1)", 400)
    return str(message.contact[0].uri)


def _tag(tag: str | None, response: SipResponse) -> str:
    if tag is None and response.status < 200:
        raise RemoteProtocolError("a provisional response without To tag makes no dialog (RFC 3261 12.1)")
    return tag or ""
