"""One SIP session with MSRP at a CPM Client, set up by the client (retrieval) or by the PF (push)."""

from __future__ import annotations

import asyncio
import secrets
import ssl
from collections.abc import Callable, Sequence
from typing import Protocol

from cpmspec.actors.behaviour import Behaviour, Offer, ReceivedMessage
from cpmspec.actors.msrp_leg import MsrpLeg
from cpmspec.net.clock import now_us
from cpmspec.net.sip import IncomingRequest, SipError
from cpmspec.net.tap import Tap
from cpmspec.protocol.dialogs import Dialog
from cpmspec.protocol.errors import RemoteProtocolError
from cpmspec.protocol.offer_answer import answer_direction, choose_setup, connects
from cpmspec.wire.msrp import MsrpHead
from cpmspec.wire.sdp import Media, build_msrp_sdp, parse_sdp
from cpmspec.wire.sip import SipRequest, SipResponse
from cpmspec.wire.uri import MsrpUri, parse_uri

#: the port of an m-line whose endpoint connects and does not listen (RFC 4145 4.1, RFC 6135 4.2.2)
DISCARD = 9


class Home(Protocol):
    """What a session needs of its client."""

    def msrp_host(self, family: int) -> str:
        """The address of the client for MSRP over IPv4 or IPv6."""

    def msrp_tls(self) -> tuple[ssl.SSLContext, ssl.SSLContext, str]:
        """TLS contexts to be called with and to call with, and the fingerprint of the certificate."""

    async def in_dialog(self, request: SipRequest) -> SipResponse:
        """Send a request within a dialog; its final response.

        :raises SipError: there is none.
        """


class Session:
    """The session. ``failure`` is the status that refused it, ``None`` if it was established or is being set up.

    ``ended`` is set by a BYE either way, a refusal, or our own reset; a connection that the peer closes sets
    ``connection_lost`` only, since the BYE may still come and the peer may connect again.
    """

    def __init__(self, home: Home, behaviour: Behaviour, offer: Offer, tap: Tap) -> None:
        self.behaviour = behaviour
        self.offer = offer
        self.failure: int | None = None
        self.dialog: Dialog | None = None
        self.response: SipResponse | None = None  #: the final response to the INVITE
        self.invite: SipRequest | None = None
        self.media: Media | None = None  #: the PF's
        self.bye_request: SipRequest | None = None
        self.bye_received = asyncio.Event()
        self.established = asyncio.Event()
        self.ended = asyncio.Event()
        self.leg = MsrpLeg(self, behaviour, tap)
        self._home = home
        self._established_us: int | None = None
        self._host, self._port = "", 0
        self._setup: str | None = None
        self._fingerprint: str | None = None
        self._origin = secrets.randbits(31)
        self._direction = "recvonly"

    @property
    def received(self) -> list[ReceivedMessage]:
        """The messages that arrived whole, in the order in which they became complete."""
        return self.leg.received

    @property
    def heads(self) -> list[MsrpHead]:
        """The heads of all MSRP requests and responses that arrived."""
        return self.leg.heads

    @property
    def connected(self) -> asyncio.Event:
        """Set when the first MSRP connection stands."""
        return self.leg.connected

    @property
    def connection_lost(self) -> asyncio.Event:
        """Set when the peer closed an MSRP connection."""
        return self.leg.lost

    @property
    def withheld(self) -> bool:
        """Whether an answer to a SEND is being withheld, or never comes."""
        return self.leg.unanswered > 0

    @property
    def last_outcome_us(self) -> int | None:
        """When the last answer or REPORT left, at least when the session was established; microseconds."""
        return max((time for time in (self.leg.last_outcome_us, self._established_us) if time), default=None)

    @property
    def errors(self) -> list[BaseException]:
        """What the case's own hooks raised."""
        return self.leg.errors

    async def describe(self, offered: Media | None = None) -> bytes:
        """Open the listener and write our SDP: an offer, or the answer to what was offered.

        :raises RemoteProtocolError: 488, nothing can answer that offer.
        """
        offer = self.offer
        tls = offer.tls if offered is None else offered.tls
        self._setup = offer.setup if offered is None else _answer_setup(offered, offer)
        self._direction = offer.direction or (
            "recvonly" if offered is None else answer_direction(offered.direction, "sendrecv")
        )
        server_ssl = None
        if tls:
            server_ssl, _, self._fingerprint = self._home.msrp_tls()
        if not self.leg.path:
            self._host, self._port = await self.leg.listen(self._home.msrp_host(offer.family), server_ssl=server_ssl)
        return self._sdp(tls=tls)

    def repeat_description(self) -> bytes:
        """Our SDP once more, unchanged: for a re-INVITE."""
        return self._sdp(tls=self._fingerprint is not None)

    def _sdp(self, *, tls: bool) -> bytes:
        offer = self.offer
        return build_msrp_sdp(
            host=self._host,
            port=DISCARD if self._setup == "active" else self._port,
            path=[self.leg.path],
            setup=self._setup,
            accept_types=offer.accept_types,
            accept_wrapped_types=offer.accept_wrapped_types,
            direction=self._direction,
            max_size=offer.max_size,
            tls=tls,
            fingerprint=self._fingerprint,
            session_id=self._origin,
            version=self._origin,
            port_zero=offer.port_zero,
        )

    def fail(self, status: int) -> None:
        """The session was refused."""
        self.failure = status
        self.ended.set()

    def confirm(self, dialog: Dialog) -> None:
        """The dialog stands."""
        self.dialog = dialog
        self._established_us = now_us()
        self.established.set()

    async def start_media(self, body: bytes, *, offerer: bool) -> None:
        """Read the PF's SDP and connect if that is our part; a refused connection is the case's evidence, no error."""
        media = parse_sdp(body).message if body else None
        if media is None or media.port == 0 or not media.path:
            self.behaviour.log.append("the PF's SDP has no usable MSRP media")
            return
        self.media = media
        answered = media.setup if offerer else self._setup
        if not self.behaviour.connect or not connects(answered, offerer=offerer):
            return
        uri = parse_uri(media.path[0])
        if not isinstance(uri, MsrpUri):
            self.behaviour.log.append(f"the PF's path is no MSRP URI: {media.path[0]}")
            return
        client_ssl = self._home.msrp_tls()[1] if media.tls else None
        port = uri.port or (2856 if media.port == DISCARD else media.port)
        try:
            await self.leg.connect(uri.host, port, media.path, client_ssl=client_ssl, bind=self.behaviour.bind)
        except OSError as error:
            self.behaviour.log.append(f"the PF's MSRP address refused: {error}")

    async def bye(self) -> int | None:
        """End the session with a BYE; its final status (408: none came), ``None`` if there is nothing to end."""
        if self.dialog is None or self.ended.is_set():
            return None
        try:
            response = await self._home.in_dialog(self.dialog.request("BYE"))
        except SipError as error:
            return error.status
        finally:
            self.ended.set()
        return response.status

    async def take(self, incoming: IncomingRequest) -> None:
        """Answer a request of the PF within the dialog."""
        request = incoming.request
        if self.dialog is None:
            return
        try:
            self.dialog.receive(request)
        except RemoteProtocolError as error:
            await incoming.reply(error.status)
            return
        if request.method == "BYE":
            await self._take_bye(incoming)
        elif request.method == "INVITE":
            await incoming.reply(200, headers=SDP_HEADER, body=self.repeat_description())
        else:
            await incoming.reply(200)

    async def _take_bye(self, incoming: IncomingRequest) -> None:
        self.bye_request = incoming.request
        self.bye_received.set()
        status = self.behaviour.answer_bye
        if self.behaviour.hold_bye:
            await asyncio.sleep(self.behaviour.hold_bye)  # the stimulus itself: see Behaviour.hold_bye
        if status is not None:
            await incoming.reply(status)
        self.ended.set()

    def reset(self) -> None:
        """Break the MSRP connections with a TCP reset; the dialog is left to the PF."""
        self.leg.reset()
        self.ended.set()

    def half_close(self) -> None:
        """Send no more over MSRP, but keep reading."""
        self.leg.half_close()

    async def close(self) -> None:
        """Release all sockets; nothing is said to the PF."""
        self.ended.set()
        await self.leg.close()


SDP_HEADER: Sequence[tuple[str, str]] = (("Content-Type", "application/sdp"),)

#: makes sessions for a client
Opener = Callable[[Behaviour, Offer], Session]


def _answer_setup(offered: Media, wanted: Offer) -> str | None:
    """The setup of our answer: none if the offer has none (RFC 4975 then has the offerer connect)."""
    if offered.setup is None:
        return None
    return choose_setup(offered.setup, prefer="passive" if wanted.setup == "passive" else "active")
