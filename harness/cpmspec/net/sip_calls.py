"""The two ends of a SIP request as its users see them: :class:`Call` (ours) and :class:`IncomingRequest` (the peer's).

Both are made by :class:`cpmspec.net.sip.SipEndpoint` and drive their machines of :mod:`cpmspec.protocol.transactions`.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Protocol, TypeAlias

from cpmspec.net.sip_hops import Hop, SipError, SipTimeout, SipTransportError, hop_for, response_hop
from cpmspec.net.sip_refresh import KeptSession
from cpmspec.net.sip_runner import Runner
from cpmspec.net.sip_sockets import Arrival, Channel
from cpmspec.net.tap import Address
from cpmspec.protocol.dialogs import Dialog
from cpmspec.protocol.errors import LocalProtocolError, ProtocolError, RemoteProtocolError
from cpmspec.protocol.offer_answer import OfferAnswer
from cpmspec.protocol.session_timer import SessionTimer
from cpmspec.protocol.transaction_tables import State
from cpmspec.protocol.transactions import (
    Deliver,
    Failed,
    Output,
    SuccessRepeat,
    Terminated,
    Timing,
    Transaction,
    cancel_of,
)
from cpmspec.wire.sip import SipRequest, SipResponse, response_to

OnResponse: TypeAlias = Callable[[SipResponse], None]


def new_tag() -> str:
    """A fresh From or To tag: 64 random bits (RFC 3261 19.3 asks for 32)."""
    return secrets.token_hex(8)


class Wire(Protocol):
    """What calls need of their endpoint."""

    timing: Timing

    def call(self, request: SipRequest, hop: Hop | None = None, on_provisional: OnResponse | None = None) -> Call:
        """Start a client transaction."""

    def send(self, message: SipRequest | SipResponse | bytes, hop: Hop | None = None) -> None:
        """Send outside of any transaction."""

    def write(self, message: SipRequest | SipResponse, hop: Hop, channel: Channel | None = None) -> None:
        """Send as it is."""

    def forget(self, user: Call | IncomingRequest) -> None:
        """The transaction is over."""


class Call:
    """A request of ours, from sending to its final response; for an INVITE also ACK, CANCEL and the dialog.

    ``dialog`` appears with the first response that makes one and is confirmed by the 2xx; ``answered`` is the final
    response once there is one. ``offers`` knows which descriptions were offered and answered, and ``problem`` what of
    the peer's was out of place (RFC 3264, RFC 6337).
    """

    def __init__(self, wire: Wire, request: SipRequest, hop: Hop, on_provisional: OnResponse | None) -> None:
        self.request = request  #: as sent, with our Via
        self.hop = hop
        self.dialog: Dialog | None = None
        self.answered: SipResponse | None = None
        self.offers = OfferAnswer(established=request.to_tag is not None)
        self.problem: ProtocolError | None = None
        self.on_provisional = on_provisional
        self.on_repeat: OnResponse | None = None  #: called with each 2xx to an INVITE after the first
        self._wire = wire
        self._transaction = Transaction(request, client=True, reliable=hop.reliable, timing=wire.timing)
        self._runner = Runner(self._transaction, lambda message: wire.write(message, hop), self._told)
        self._final: asyncio.Future[SipResponse] = asyncio.get_running_loop().create_future()
        self._final.add_done_callback(lambda future: future.cancelled() or future.exception())
        self._heard = asyncio.Event()
        self._acks: dict[str | None, tuple[SipRequest, Hop]] = {}
        self._give_up: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Send the request. The endpoint calls this."""
        self.offers.sent(self.request)
        self._runner.run(self._transaction.start(self._runner.now()))

    async def response(self) -> SipResponse:
        """The final response.

        :raises SipTimeout: none came in 64*T1.
        :raises SipTransportError: refused, unreachable, the connection was lost, or the endpoint was closed.
        """
        return await asyncio.shield(self._final)

    async def ack(
        self, headers: Iterable[tuple[str, str]] = (), body: bytes = b"", *, hop: Hop | None = None
    ) -> SipRequest:
        """Acknowledge the 2xx to an INVITE; repeated on its own for each repeated 2xx (RFC 3261 13.2.2.4).

        :raises LocalProtocolError: there is no 2xx, or it lacked the Contact that makes a dialog; or the answer to an
            offer in the 2xx is missing, or there was none to be answered (13.2.2.4; :meth:`Wire.send` sends anything).
        """
        if self.dialog is None or self.answered is None or not 200 <= self.answered.status < 300:
            raise LocalProtocolError("there is no 2xx with a dialog to acknowledge")
        ack = self.dialog.ack(headers, body)
        self.offers.sent(ack)
        self._wire.send(ack, hop or hop_for(ack, self.hop))
        return ack

    def keep(self, timer: SessionTimer, *, scale: float = 1.0) -> KeptSession:
        """Let the session timer run that our INVITE asked for and its 2xx agreed to, or not (RFC 4028 7.2).

        :raises LocalProtocolError: there is no 2xx with a dialog.
        """
        if self.dialog is None or self.answered is None or not 200 <= self.answered.status < 300:
            raise LocalProtocolError("there is no session to keep")
        timer.response(self.answered, asyncio.get_running_loop().time() / scale)
        return KeptSession(
            self._wire, self.dialog, timer, self.offers, hop=self.hop, first=self.request, peer=self.answered,
            scale=scale,
        )  # fmt: skip

    async def cancel(self) -> bool:
        """Cancel the request once a provisional response is there (RFC 3261 9.1).

        Returns whether a CANCEL was sent: not if the final response came first. The INVITE's own final response (487,
        or a 2xx that crossed) is still to be awaited.
        """
        await self._heard.wait()
        if self._final.done():
            return False
        self._give_up = asyncio.get_running_loop().call_later(self._wire.timing.give_up, self._fail, "timeout")
        with suppress(SipError):
            await self._wire.call(cancel_of(self.request), self.hop).response()
        return True

    def receive(self, response: SipResponse) -> None:
        """Take a response that matches. The endpoint calls this."""
        self._runner.run(self._transaction.receive(response, self._runner.now()))

    def remember_ack(self, ack: SipRequest, hop: Hop) -> None:
        """Keep an ACK that was sent, to repeat it. The endpoint calls this."""
        self._acks[ack.to_tag] = (ack, hop)

    def transport_failed(self, why: str) -> None:
        """What was sent did not arrive. The endpoint calls this."""
        self._fail("transport", why)

    def close(self) -> None:
        """Stop all timers; who waits gets a :class:`SipTransportError`. The endpoint calls this."""
        self._runner.stop()
        if self._give_up is not None:
            self._give_up.cancel()
        self._heard.set()
        if not self._final.done():
            self._final.set_exception(SipTransportError("the endpoint was closed"))

    def _fail(self, kind: str, why: str = "") -> None:
        """End without a final response; with one, only an ACK was lost."""
        if kind == "transport":
            self._runner.run(self._transaction.transport_error(self._runner.now()))
        if self._final.done():
            return
        self.offers.gave_up()
        asked = f"{self.request.method} to {self.hop}"
        if kind == "transport":
            self._final.set_exception(SipTransportError(f"{asked}: {why}"))
        else:
            self._final.set_exception(SipTimeout(f"{asked}: no final response in time"))
        self._heard.set()
        self._runner.stop()
        self._wire.forget(self)

    def _told(self, output: Output) -> None:
        match output:
            case Deliver(SipResponse() as response):
                self._take(response)
            case Failed("timeout"):
                self._fail("timeout")
            case Terminated():
                self._wire.forget(self)
            case _:
                pass

    def _take(self, response: SipResponse) -> None:
        if self.answered is not None:
            self._repeat(response)
            return
        self._follow(response)
        try:
            self.offers.received(response)
        except RemoteProtocolError as problem:
            self.problem = problem
        if response.status < 200:
            self._heard.set()
            if self.on_provisional is not None:
                self.on_provisional(response)
            return
        self.answered = response
        if not self._final.done():
            self._final.set_result(response)
        if self._give_up is not None:
            self._give_up.cancel()
        self._heard.set()

    def _follow(self, response: SipResponse) -> None:
        """Make or confirm the dialog."""
        if self.request.method not in {"INVITE", "SUBSCRIBE"} or not 100 < response.status < 300:
            return
        with suppress(ProtocolError):  # no Contact or no tag: no dialog (12.1); or none that a request can be built of
            if self.dialog is not None and self.dialog.owns(response):
                self.dialog.refresh(response)
            elif response.status >= 200 or self.dialog is None:
                self.dialog = Dialog.uac(self.request, response)

    def _repeat(self, response: SipResponse) -> None:
        """A further 2xx: the same again is acknowledged again, that of another fork is ended (13.2.2.4)."""
        if self.on_repeat is not None:
            self.on_repeat(response)
            return
        known = self._acks.get(response.to_tag)
        if known is not None:
            self._wire.write(*known)
        elif self.answered is not None and response.to_tag != self.answered.to_tag:
            with suppress(RemoteProtocolError):
                fork = Dialog.uac(self.request, response)
                ack = fork.ack()
                self._wire.send(ack, hop_for(ack, self.hop))
                bye = fork.request("BYE")
                self._wire.call(bye, hop_for(bye, self.hop))


class IncomingRequest:
    """A request of the peer. Answer it with :meth:`respond` or :meth:`reply`.

    ``hop`` is where it came from, ``local`` the address it came to. ``ack`` tells that it is an ACK of a 2xx, which
    takes no answer. ``cancelled`` is set when a CANCEL came in time; the 487 has then been sent already. ``to_tag`` is
    the tag for the To of our answers. ``offers`` knows which descriptions were offered and answered, and ``problem``
    which was out of place or missing, on either side: who answers wrong on purpose is not hindered.
    """

    def __init__(self, wire: Wire, request: SipRequest, arrival: Arrival) -> None:
        self.request = request
        self.hop = arrival.hop
        self.transport = arrival.hop.transport
        self.local: Address = arrival.local
        self.ack = request.method == "ACK"
        self.cancelled = asyncio.Event()
        self.to_tag = request.to_tag or new_tag()
        self.answered: SipResponse | None = None  #: the final response
        self.offers = OfferAnswer(established=request.to_tag is not None)
        self.problem: ProtocolError | None = None
        self._wire = wire
        self._arrival = arrival
        self._repeat: SuccessRepeat | None = None
        self._repeat_runner: Runner | None = None
        self._acknowledged: asyncio.Future[SipRequest] = asyncio.get_running_loop().create_future()
        self._acknowledged.add_done_callback(lambda future: future.cancelled() or future.exception())
        self._transaction: Transaction | None = None
        self._runner: Runner | None = None
        if not self.ack:
            self._transaction = Transaction(request, client=False, reliable=arrival.hop.reliable, timing=wire.timing)
            self._runner = Runner(self._transaction, self._send, self._told)
            self.offers.received(request)

    def start(self) -> None:
        """Begin the server transaction. The endpoint calls this."""
        if self._transaction is not None and self._runner is not None:
            self._runner.run(self._transaction.start(self._runner.now()))

    async def respond(self, response: SipResponse, *, repeat: bool = True) -> None:
        """Send a response as it is. A 2xx to an INVITE is repeated until its ACK unless ``repeat`` is false.

        After a final response, and after a CANCEL was answered with 487, others are dropped without an error: the peer
        may cancel at any time. Only a 2xx to an INVITE may be sent again (by a proxy that sees it again).

        :raises LocalProtocolError: an ACK takes no response.
        """
        self.respond_now(response, repeat=repeat)

    def respond_now(self, response: SipResponse, *, repeat: bool = True) -> None:
        """As :meth:`respond`, for callers outside of a coroutine."""
        if self._transaction is None or self._runner is None:
            raise LocalProtocolError("an ACK takes no response (RFC 3261 17)")
        success = 200 <= response.status < 300
        first_final = self.answered is None and response.status >= 200
        if self.answered is not None and not (success and self._transaction.state is State.ACCEPTED):
            return
        if response.status > 100 and response.to_tag is not None:
            self.to_tag = response.to_tag
        if first_final:
            self.answered = response
        if first_final or response.status < 200:
            self._observe(self.offers.sent, response)
        self._runner.run(self._transaction.respond(response, self._runner.now()))
        if first_final and success and repeat and self.request.method == "INVITE":
            self._repeat = SuccessRepeat(response, self._runner.now(), self._wire.timing)
            self._repeat_runner = Runner(self._repeat, self._send, self._no_ack)
            self._repeat_runner.run(())

    async def reply(
        self, status: int, reason: str | None = None, headers: Iterable[tuple[str, str]] = (), body: bytes = b""
    ) -> SipResponse:
        """Build the response by RFC 3261 8.2.6, with our To tag, and send it; returns what was sent."""
        response = response_to(self.request, status, reason, headers, body, to_tag=self.to_tag)
        self.respond_now(response)
        return response

    async def acknowledged(self) -> SipRequest:
        """The ACK of our 2xx.

        :raises TimeoutError: none came in 64*T1: the session is to be ended with BYE (RFC 3261 13.3.1.4).
        """
        return await asyncio.shield(self._acknowledged)

    def receive(self, request: SipRequest) -> None:
        """Take the request again, or the ACK of a non-2xx. The endpoint calls this."""
        if self._transaction is not None and self._runner is not None:
            self._runner.run(self._transaction.receive(request, self._runner.now()))

    def receive_ack(self, ack: SipRequest) -> bool:
        """Take an ACK of our 2xx; returns whether it is news to the handler. The endpoint calls this.

        The first one is, and every one where the 2xx is not ours to repeat (a proxy's).
        """
        self._stop_repeat()
        if self._acknowledged.done():
            return self._repeat is None
        self._observe(self.offers.received, ack)
        self._acknowledged.set_result(ack)
        return True

    def keep(self, timer: SessionTimer, dialog: Dialog, *, scale: float = 1.0) -> KeptSession:
        """Let the session timer run that our 2xx agreed to: ``timer`` has told its headers (RFC 4028 9).

        ``dialog`` is the one that the 2xx made. Give the peer's later INVITEs and UPDATEs to :meth:`KeptSession.take`.

        :raises LocalProtocolError: there is no 2xx of ours.
        """
        if self.answered is None or not 200 <= self.answered.status < 300:
            raise LocalProtocolError("there is no session to keep")
        return KeptSession(
            self._wire, dialog, timer, self.offers, hop=self.hop, first=self.answered, peer=self.request, scale=scale
        )

    def cancel(self) -> None:
        """A CANCEL came: 487 unless answered already (RFC 3261 9.2). The endpoint calls this."""
        if self.answered is None and self.request.method == "INVITE":
            self.respond_now(response_to(self.request, 487, to_tag=self.to_tag))
            self.cancelled.set()

    def close(self) -> None:
        """Stop all timers. The endpoint calls this."""
        if self._runner is not None:
            self._runner.stop()
        self._stop_repeat()
        if not self._acknowledged.done():
            self._acknowledged.set_exception(TimeoutError("the endpoint was closed"))

    def _observe(self, take: Callable[[SipRequest | SipResponse], None], message: SipRequest | SipResponse) -> None:
        """Give a message to the machine of offer and answer, and keep what it says against it."""
        try:
            take(message)
        except ProtocolError as problem:
            self.problem = problem

    def _send(self, message: SipRequest | SipResponse) -> None:
        # the channel goes first; a lost connection is replaced by what the top Via says (18.2.2)
        channel = self._arrival.channel
        hop = response_hop(message) or self.hop
        if self.transport == "udp":
            hop = Hop("udp", hop.host, hop.port)
        elif channel.usable:
            hop = self.hop
        else:
            hop = Hop(self.transport, hop.host, hop.port)
        self._wire.write(message, hop, channel)

    def _stop_repeat(self) -> None:
        if self._repeat is not None and self._repeat_runner is not None:
            self._repeat.stop()
            self._repeat_runner.stop()

    def _no_ack(self, output: Output) -> None:
        if isinstance(output, Failed) and not self._acknowledged.done():
            self._acknowledged.set_exception(TimeoutError("no ACK for the 2xx in 64*T1"))

    def _told(self, output: Output) -> None:
        if isinstance(output, Terminated):
            self._wire.forget(self)
