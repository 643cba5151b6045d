"""A session whose timer runs (RFC 4028): refreshes on time, BYE when nobody refreshes, answers to the peer's refreshes.

Nothing of it happens by itself: a user agent that wants a timer gives one to :meth:`cpmspec.net.sip_calls.Call.keep`
or :meth:`cpmspec.net.sip_calls.IncomingRequest.keep`::

    timer = SessionTimer(Policy(interval=1800))
    call = endpoint.call(invite_with(timer.offer()))  # Supported, Session-Expires, Min-SE
    response = await call.response()
    await call.ack()
    kept = call.keep(timer)  # from here on it refreshes; kept.ended is set when the session is over

    timer = SessionTimer()  # the called side: honours what is asked for
    headers = timer.answer(incoming.request, loop.time())  # RemoteProtocolError 422: reply with timer.refusal()
    ok = await incoming.reply(200, headers=[contact, *headers], body=answer)
    kept = incoming.keep(timer, Dialog.uas(incoming.request, ok))
    await kept.take(later)  # each INVITE and UPDATE of the peer in that dialog

"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from cpmspec.net.sip_hops import Hop, SipError, hop_for
from cpmspec.protocol.dialogs import Dialog
from cpmspec.protocol.errors import ProtocolError, RemoteProtocolError
from cpmspec.protocol.offer_answer import SDP_TYPE, OfferAnswer
from cpmspec.protocol.session_timer import End, Output, Refresh, SessionTimer
from cpmspec.wire.sip import SipRequest, SipResponse

if TYPE_CHECKING:
    from cpmspec.net.sip_calls import Call, IncomingRequest

#: seconds after which a peer may offer again when its last offer has no answer yet (RFC 3261 14.2: 0 to 10)
RETRY_AFTER = "1"


class Sender(Protocol):
    """What a kept session needs of the endpoint."""

    def call(self, request: SipRequest, hop: Hop | None = None) -> Call:
        """Start a client transaction."""

    def send(self, message: SipRequest, hop: Hop | None = None) -> None:
        """Send outside of any transaction."""


class KeptSession:
    """The session of a dialog with its timer. ``ended`` is set once it is over; ``why`` tells if the timer ended it.

    ``first`` is the message of ours that made the dialog: its Contact goes into all that follows. ``peer`` is that of
    the other side: if its Allow names UPDATE, refreshes are such, else re-INVITEs with the description as it was.
    ``scale`` is how many seconds of the event loop a second of the timer takes; tests have it small.
    """

    def __init__(
        self, wire: Sender, dialog: Dialog, timer: SessionTimer, offers: OfferAnswer, *, hop: Hop,
        first: SipRequest | SipResponse, peer: SipRequest | SipResponse, scale: float = 1.0,
    ) -> None:  # fmt: skip
        self.dialog = dialog
        self.timer = timer
        self.offers = offers
        self.ended = asyncio.Event()
        self.why: str | None = None
        self.refreshes = 0  #: how many of ours were accepted
        self._wire = wire
        self._hop = hop
        self._contact = [("Contact", value) for value in first.headers.get_all("Contact")]
        self._method = "UPDATE" if "UPDATE" in peer.headers.values("Allow") else "INVITE"
        self._scale = scale
        self._loop = asyncio.get_running_loop()
        self._alarm: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._arm()

    def now(self) -> float:
        """The time of the timer, in its seconds."""
        return self._loop.time() / self._scale

    def advance(self, now: float) -> None:
        """Do what is due by then, in seconds of the timer; the event loop calls it in time, others may before."""
        self._run(self.timer.advance(now))

    def over(self) -> None:
        """The session has ended, by a BYE of either side or otherwise: no more refreshes, no BYE of ours."""
        self.timer.over(self.now())
        self._arm()
        self.ended.set()

    async def settled(self) -> None:
        """Wait until each refresh or BYE under way has its outcome."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def close(self) -> None:
        """Stop at once, whatever is under way."""
        self.over()
        for task in self._tasks:
            task.cancel()

    async def take(self, incoming: IncomingRequest) -> None:
        """Answer an INVITE or UPDATE of the peer: it refreshes the session, the description stays as it is.

        An offer that crosses ours is answered 491, one too early 500, too small an interval 422 (RFC 3261 14.2, RFC
        4028 9), a CSeq number that goes back 500.
        """
        request = incoming.request
        try:
            self.dialog.receive(request)
            self.offers.received(request)
            headers = [*self._contact, *self.timer.answer(request, self.now())]
        except RemoteProtocolError as error:
            extra = self.timer.refusal() if error.status == 422 else []
            if error.status == 500:
                extra = [("Retry-After", RETRY_AFTER)]
            self.offers.sent(await incoming.reply(error.status, headers=extra))
            return
        describes = request.method == "INVITE" or bool(request.body)
        described = self._description() if describes else ([], b"")
        response = await incoming.reply(200, headers=[*headers, *described[0]], body=described[1])
        with suppress(ProtocolError):  # there is no description to repeat: the session never had one
            self.offers.sent(response)
        self._arm()
        if request.method == "INVITE":
            with suppress(TimeoutError, ProtocolError):
                self.offers.received(await incoming.acknowledged())

    def _description(self) -> tuple[list[tuple[str, str]], bytes]:
        """Our side's description as it was agreed, and its Content-Type."""
        agreed = self.offers.agreed
        return ([], b"") if agreed is None else ([("Content-Type", SDP_TYPE)], agreed.ours)

    def _arm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        deadline = self.timer.deadline()
        if deadline is not None:
            self._alarm = self._loop.call_at(deadline * self._scale, self._wake)

    def _wake(self) -> None:
        # the loop may wake a clock tick early; what is due at the deadline is due now
        self.advance(max(self.now(), self.timer.deadline() or 0.0))

    def _run(self, outputs: list[Output]) -> None:
        for output in outputs:
            task = self._loop.create_task(self._refresh(output) if isinstance(output, Refresh) else self._end(output))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        self._arm()

    async def _refresh(self, refresh: Refresh) -> None:
        """Send the refresh, and give its outcome to the timer."""
        described = self._description() if self._method == "INVITE" else ([], b"")
        headers = [*self._contact, *refresh.headers, *described[0]]
        request = self.dialog.request(self._method, headers, described[1])
        with suppress(ProtocolError):  # an offer of the peer is pending: he will answer 491 or 500
            self.offers.sent(request)
        try:
            response = await self._wire.call(request, hop_for(request, self._hop)).response()
        except SipError:
            self.offers.gave_up()
            self._run(self.timer.no_response(self.now()))
            return
        self._follow(response)
        self._run(self.timer.response(response, self.now()))

    def _follow(self, response: SipResponse) -> None:
        """Acknowledge, and move what the response moves."""
        with suppress(ProtocolError):
            self.offers.received(response)
        if not 200 <= response.status < 300:
            return
        self.refreshes += 1
        with suppress(ProtocolError):  # its Contact is one that nothing can be sent to: the old one stays
            self.dialog.refresh(response)
        if self._method == "INVITE":
            ack = self.dialog.ack()
            self._wire.send(ack, hop_for(ack, self._hop))

    async def _end(self, end: End) -> None:
        """Send BYE (RFC 4028 10)."""
        self.why = end.why
        bye = self.dialog.request("BYE")
        with suppress(SipError):
            await self._wire.call(bye, hop_for(bye, self._hop)).response()
        self.ended.set()
