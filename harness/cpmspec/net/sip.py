"""A SIP endpoint on real sockets: transactions over UDP, TCP and TLS, IPv4 and IPv6 (RFC 3261 17, 18, RFC 6026).

As a user agent::

    endpoint = SipEndpoint(tap=tap)
    host, port = await endpoint.listen("udp", "127.0.0.1", 0)
    endpoint.on_request = handle  # async; gets an IncomingRequest: await incoming.reply(200)
    response = await endpoint.request(message)  # any method; SipTimeout or SipTransportError without an answer

    call = endpoint.call(invite, hop, on_provisional=seen)  # the INVITE leaves at once
    response = await call.response()
    await call.ack()  # repeated for each repeated 2xx; call.dialog builds what follows
    await endpoint.request(call.dialog.request("BYE"))
    await call.cancel()  # instead, while it rings

    async def handle(incoming):  # a server call
        await incoming.reply(180)
        ok = await incoming.reply(200, headers=[("Contact", ...)])  # repeated until the ACK
        dialog = Dialog.uas(incoming.request, ok)
        ack = await incoming.acknowledged()  # TimeoutError: none came
        # incoming.cancelled is set, and 487 sent, when a CANCEL came first

A request without any Via gets one; who forwards puts :meth:`SipEndpoint.new_via` on top himself. A response goes back
on the connection of its request, or by its Via (``received``, ``rport``). Requests to one hop share a connection.

As a stateless proxy: ``SipEndpoint(transactions=False)`` hands every message to ``on_message(message, source hop,
transport, local address)`` and sends with :meth:`SipEndpoint.send`. The next hop of a response whose own Via was taken
off is ``response_hop(response)``: an open connection from there is used again. With ``stamping=False`` a request is
handed over octet for octet as it came, without ``received`` and ``rport`` in its top Via: for who is no hop at all.

``outbound(octets, hop)`` is asked just before octets are written: it returns what to write instead, or ``None``.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import ssl
from collections.abc import Awaitable, Callable, Hashable
from typing import TypeAlias, TypeVar

from cpmspec.net.sip_calls import Call, IncomingRequest, OnResponse, new_tag
from cpmspec.net.sip_hops import (
    Hop,
    SipError,
    SipTimeout,
    SipTransportError,
    hop_for,
    hop_of_uri,
    host_port,
    prefer_tcp,
    response_hop,
)
from cpmspec.net.sip_sockets import Arrival, Channel, Outbound
from cpmspec.net.sip_transports import SipTransports
from cpmspec.net.tap import Address, Tap
from cpmspec.protocol.transactions import MAGIC_COOKIE, Timing, client_key, server_key
from cpmspec.wire.sip import SipMessage, SipRequest, SipResponse, SipUnreadable, response_to

__all__ = [
    "Call", "Hop", "IncomingRequest", "SipEndpoint", "SipError", "SipTimeout", "SipTransportError", "hop_for",
    "hop_of_uri", "host_port", "new_branch", "new_tag", "prefer_tcp", "response_hop",
]  # fmt: skip

OnRequest: TypeAlias = Callable[[IncomingRequest], Awaitable[None]]
OnMessage: TypeAlias = Callable[[SipMessage, Hop, str, Address], None]

_User = TypeVar("_User", Call, IncomingRequest)

_log = logging.getLogger(__name__)


def new_branch() -> str:
    """A fresh branch (RFC 3261 8.1.1.7)."""
    return MAGIC_COOKIE + secrets.token_hex(12)


class SipEndpoint:
    """One user agent (or stateless proxy) with any number of listeners. See the module for its use.

    ``t1`` is T1 in seconds; T2 and T4 keep their proportion to it.
    """

    def __init__(
        self, *, tap: Tap | None = None, outbound: Outbound | None = None, t1: float = 0.5,
        server_ssl: ssl.SSLContext | None = None, client_ssl: ssl.SSLContext | None = None, transactions: bool = True,
        stamping: bool = True,
    ) -> None:  # fmt: skip
        self.timing = Timing.scaled(t1)
        self.on_request: OnRequest | None = None
        self.on_message: OnMessage | None = None  #: without transactions: every message
        self.on_response: Callable[[SipResponse, Hop], None] | None = None  #: responses that match no request of ours
        self.on_unreadable: Callable[[SipUnreadable, Hop], None] | None = None
        self.on_send_failed: Callable[[Hop, str], None] | None = None  #: a hop refused or was lost, and why
        self._transactions = transactions
        self._transports = SipTransports(
            self, tap=tap, outbound=outbound, server_ssl=server_ssl, client_ssl=client_ssl, stamping=stamping
        )
        self._calls: dict[Hashable, Call] = {}
        self._invites: dict[Hashable, Call] = {}
        self._incoming: dict[Hashable, IncomingRequest] = {}
        self._accepted: dict[Hashable, IncomingRequest] = {}
        self._handlers: set[asyncio.Future[None]] = set()
        self._closed = False

    @property
    def listeners(self) -> tuple[Hop, ...]:
        """Where we listen, in the order of the calls of :meth:`listen`."""
        return self._transports.listeners

    async def listen(self, transport: str, host: str, port: int) -> Address:
        """Open a listener (``udp``, ``tcp``, ``tls``); port 0 takes a free one. Returns the real address.

        After :meth:`close` it opens the endpoint again.

        :raises OSError: the port is in use, or the address is not of this machine.
        """
        self._closed = False
        return await self._transports.listen(transport, host, port)

    async def close(self) -> None:
        """End handlers, transactions, connections and listeners; who waits for a response gets an error."""
        self._closed = True
        for handler in self._handlers:
            handler.cancel()
        await asyncio.gather(*self._handlers, return_exceptions=True)
        for call in list(self._calls.values()):
            call.close()
        for incoming in list(self._incoming.values()):
            incoming.close()
        self._calls.clear()
        self._invites.clear()
        self._incoming.clear()
        self._accepted.clear()
        await self._transports.close()

    def local_address(self, hop: Hop) -> Address:
        """Where the peer at ``hop`` reaches us: for Via, Contact and Record-Route."""
        return self._transports.local_address(hop)

    def local_via(self, hop: Hop) -> str:
        """``host:port`` of :meth:`local_address`, as in Via and URIs."""
        return host_port(*self.local_address(hop))

    def new_via(self, hop: Hop, branch: str | None = None) -> str:
        """The Via value for a request to ``hop``, with ``rport`` (RFC 3261 8.1.1.7, RFC 3581 3)."""
        sent_by = self.local_via(hop)
        return f"SIP/2.0/{hop.transport.upper()} {sent_by};branch={branch or new_branch()};rport"

    def call(self, request: SipRequest, hop: Hop | None = None, on_provisional: OnResponse | None = None) -> Call:
        """Send a request at once; the :class:`Call` waits for its responses.

        :raises SipTransportError: no next hop (see :func:`hop_for`), no socket to send from, or closed.
        """
        if self._closed:
            raise SipTransportError("the endpoint is closed")
        target = hop or hop_for(request)
        request = self._with_via(request, target)
        call = Call(self, request, target, on_provisional)
        self._calls[client_key(request)] = call
        if request.method == "INVITE":
            self._invites[_invite_key(request)] = call
        try:
            call.start()
        except SipTransportError:
            call.close()
            self.forget(call)
            raise
        return call

    async def request(
        self, request: SipRequest, hop: Hop | None = None, on_provisional: OnResponse | None = None
    ) -> SipResponse:
        """Send a request and wait for its final response. (After a 2xx to an INVITE, :meth:`send` the ACK.)

        :raises SipTimeout: none came in 64*T1.
        :raises SipTransportError: refused, unreachable, the connection was lost.
        """
        return await self.call(request, hop, on_provisional).response()

    def send(self, message: SipRequest | SipResponse | bytes, hop: Hop | None = None) -> None:
        """Send outside of any transaction, at once. An ACK of a 2xx is remembered and repeated as needed.

        :raises SipTransportError: no next hop, no socket to send from.
        """
        if isinstance(message, bytes):
            if hop is None:
                raise SipTransportError("octets need a hop")
            self._transports.send(message, hop, response=message.startswith(b"SIP/"))
            return
        target = hop or (response_hop(message) if isinstance(message, SipResponse) else hop_for(message))
        if target is None:
            raise SipTransportError("the response has no Via that says where to")
        if isinstance(message, SipRequest):
            message = self._with_via(message, target)
            call = self._invites.get(_invite_key(message)) if message.method == "ACK" else None
            if call is not None:
                call.remember_ack(message, target)
        self.write(message, target)

    def write(self, message: SipRequest | SipResponse, hop: Hop, channel: Channel | None = None) -> None:
        """Send a message as it is, on ``channel`` if that is usable."""
        response = isinstance(message, SipResponse)
        self._transports.send(message.octets(), hop, channel=channel, response=response)

    def is_connected(self, hop: Hop) -> bool:
        """Whether a TCP or TLS connection with that hop stands, whoever opened it."""
        return self._transports.is_connected(hop)

    def reset_connections(self) -> None:
        """Abort every TCP and TLS connection; the listeners stay."""
        self._transports.reset_connections()

    def forget(self, user: Call | IncomingRequest) -> None:
        """Drop a transaction that is over."""
        if isinstance(user, Call):
            _drop(self._calls, client_key(user.request), user)
            _drop(self._invites, _invite_key(user.request), user)
        else:
            _drop(self._incoming, server_key(user.request), user)
            _drop(self._accepted, _invite_key(user.request), user)

    # what the sockets report

    def received(self, message: SipMessage | SipUnreadable, arrival: Arrival) -> None:
        """Sort what came in. The sockets call this."""
        if self._closed:
            return
        if isinstance(message, SipUnreadable):
            if self.on_unreadable is not None:
                self.on_unreadable(message, arrival.hop)
        elif not self._transactions:
            if self.on_message is not None:
                self.on_message(message, arrival.hop, arrival.hop.transport, arrival.local)
        elif isinstance(message, SipResponse):
            self._response(message, arrival)
        else:
            self._request(message, arrival)

    def failed(self, hop: Hop, why: str) -> None:
        """Requests to that hop get no answer. The sockets call this."""
        for call in [call for call in self._calls.values() if call.hop == hop]:
            call.transport_failed(why)
        if self.on_send_failed is not None:
            self.on_send_failed(hop, why)

    def _response(self, response: SipResponse, arrival: Arrival) -> None:
        call = self._calls.get(client_key(response))
        if call is not None:
            call.receive(response)
        elif self.on_response is not None:
            self.on_response(response, arrival.hop)

    def _request(self, request: SipRequest, arrival: Arrival) -> None:
        defect = _defect(request)
        if defect is not None:
            if request.via and request.method != "ACK":
                self._stateless(request, arrival, 400, defect)
            return
        known = self._incoming.get(server_key(request))
        if request.method == "ACK":
            self._ack(request, arrival, known)
        elif known is not None:
            known.receive(request)
        elif request.method == "CANCEL":
            self._cancel(request, arrival)
        else:
            incoming = self._new(request, arrival)
            if self.on_request is None:
                incoming.respond_now(response_to(request, 503, to_tag=incoming.to_tag))
            else:
                self._handle(self.on_request, incoming)

    def _new(self, request: SipRequest, arrival: Arrival) -> IncomingRequest:
        incoming = IncomingRequest(self, request, arrival)
        self._incoming[server_key(request)] = incoming
        if request.method == "INVITE":
            self._accepted[_invite_key(request)] = incoming
        incoming.start()
        return incoming

    def _handle(self, handler: OnRequest, incoming: IncomingRequest) -> None:
        async def run() -> None:
            await handler(incoming)

        task = asyncio.ensure_future(run())
        self._handlers.add(task)
        task.add_done_callback(lambda done: self._handled(done, incoming))

    def _handled(self, task: asyncio.Future[None], incoming: IncomingRequest) -> None:
        self._handlers.discard(task)
        if task.cancelled() or (error := task.exception()) is None:
            return
        _log.error("handling %s failed", incoming.request.method, exc_info=error)
        if not incoming.ack and not self._closed:
            incoming.respond_now(response_to(incoming.request, 500, to_tag=incoming.to_tag))

    def _ack(self, ack: SipRequest, arrival: Arrival, known: IncomingRequest | None) -> None:
        """An ACK belongs to a non-2xx by its branch, to a 2xx by its dialog (17.1.1.3, 13.2.2.4)."""
        accepted = self._accepted.get(_invite_key(ack))
        final = accepted.answered if accepted is not None else None
        if accepted is not None and final is not None and final.status < 300:
            if not accepted.receive_ack(ack):
                return
        elif known is not None:
            known.receive(ack)
            return
        if self.on_request is not None:
            self._handle(self.on_request, IncomingRequest(self, ack, arrival))

    def _cancel(self, request: SipRequest, arrival: Arrival) -> None:
        target = self._incoming.get(server_key(request, method="INVITE"))
        cancel = self._new(request, arrival)
        if target is None:
            cancel.respond_now(response_to(request, 481, to_tag=cancel.to_tag))
            return
        cancel.respond_now(response_to(request, 200, to_tag=target.to_tag))
        target.cancel()

    def _stateless(self, request: SipRequest, arrival: Arrival, status: int, reason: str) -> None:
        back = arrival.hop if arrival.hop.reliable else response_hop(request)
        if back is not None:
            response = response_to(request, status, reason, to_tag=new_tag())
            self.write(response, Hop(arrival.hop.transport, back.host, back.port), arrival.channel)

    def _with_via(self, request: SipRequest, hop: Hop) -> SipRequest:
        if request.headers.get("via") is not None:
            return request
        return request.with_headers(request.headers.added("Via", self.new_via(hop), first=True))


def _drop(table: dict[Hashable, _User], key: Hashable, user: _User) -> None:
    """Remove ``user``, unless another has taken its key."""
    if table.get(key) is user:
        del table[key]


def _invite_key(request: SipRequest) -> Hashable:
    """What an INVITE and the ACK of its 2xx share on either side: Call-ID, From tag, CSeq number."""
    return (request.call_id, request.from_tag, request.cseq.number if request.cseq else None)


def _defect(request: SipRequest) -> str | None:
    """Why a request cannot be served at all: one of the headers of RFC 3261 8.1.1 is absent or unreadable."""
    if not request.via or not request.via[0].host:
        return "Unreadable Via"
    for name in ("from", "to", "call-id"):
        if request.headers.get(name) is None:
            return f"Missing {name.title()}"
    if request.cseq is None:
        return "Unreadable CSeq"
    return None if request.cseq.method == request.method else "CSeq Method Mismatch"
