"""The originator as a lower tester: sends pager-mode messages and large-message-mode messages through the core."""

from __future__ import annotations

import asyncio
import secrets
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime

from cpmspec.actors.msrp_push import ContentSender
from cpmspec.actors.recording import Recorder, msrp_tap, sip_tap
from cpmspec.evidence.trace import Address, Pco, Role
from cpmspec.net.msrp import connect_msrp
from cpmspec.net.sip import Hop, IncomingRequest, SipEndpoint, SipError
from cpmspec.net.tls import client_context, self_signed
from cpmspec.protocol.dialogs import Dialog
from cpmspec.protocol.errors import RemoteProtocolError
from cpmspec.wire.msrp import new_message_id, new_session_id
from cpmspec.wire.sdp import build_msrp_sdp, parse_sdp
from cpmspec.wire.sip import SipRequest, SipResponse, build_request
from cpmspec.wire.uri import MsrpUri, SipUri, host_text, parse_uri

#: service identifiers in Accept-Contact (RFC 3841 9.2): pager mode and large message mode
ICSI = '*;+g.3gpp.icsi-ref="urn%3Aurn-7%3A3gpp-service.ims.icsi.oma.cpm.{}"'

HeaderValues = Mapping[str, str | None]


@dataclass(frozen=True, slots=True)
class PagerSent:
    """What became of a pager-mode message. ``status`` is the final one (408: none came, 503: nobody there)."""

    status: int
    call_id: str
    request: SipRequest
    response: SipResponse | None = None


@dataclass(frozen=True, slots=True)
class LargeSent:
    """What became of a large-message-mode message.

    ``status`` is the final one of the INVITE (408: none); ``msrp_statuses`` those of the chunks as far as they were
    answered, in the order in which the chunks were sent; ``bye_status`` that of our BYE, ``None`` if none was sent.
    """

    status: int
    call_id: str
    request: SipRequest
    response: SipResponse | None = None
    message_id: str = ""
    msrp_statuses: tuple[int, ...] = ()
    chunks: int = 0
    bye_status: int | None = None
    success_reported: bool = False
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class _Media:
    """Our side of an MSRP session."""

    path: str
    sdp: bytes
    client_ssl: ssl.SSLContext | None


class Originator:
    """A sender. ``core`` is the access side of the core; all frames go to ``recorder`` at PCO mo."""

    def __init__(self, recorder: Recorder, *, uri: str, core: Hop, t1: float = 0.5) -> None:
        self.uri = uri
        self.core = core
        self.requests: list[SipRequest] = []  #: what came in: IMDNs and the like, answered 200
        self._recorder = recorder
        self._endpoint = SipEndpoint(tap=sip_tap(recorder, Pco.MO, Role.ORIGINATOR, lambda _: Role.CORE), t1=t1)
        self._endpoint.on_request = self._take
        self._hosts = {4: "127.0.0.1", 6: "::1"}
        self._contact = ""
        self._tls: tuple[ssl.SSLContext, str] | None = None

    async def start(self, host: str = "127.0.0.1", host6: str = "::1") -> None:
        """Listen at the host for SIP.

        :raises OSError: the host is not ours.
        """
        self._hosts = {4: host, 6: host6}
        address = Address(*(await self._endpoint.listen(self.core.transport, host, 0))[:2])
        user = parse_uri(self.uri)
        name = user.user if isinstance(user, SipUri) and user.user else "originator"
        self._contact = f"<sip:{name}@{address};transport={self.core.transport}>"

    async def close(self) -> None:
        """Release all sockets."""
        await self._endpoint.close()

    async def pager(
        self,
        user: str,
        content: bytes,
        content_type: str = "text/plain;charset=UTF-8",
        *,
        headers: HeaderValues | None = None,
    ) -> PagerSent:
        """Send a pager-mode message (RFC 3428); ``headers`` add to ours or replace them, ``None`` leaves one out."""
        request = self._request("MESSAGE", user, "msg", headers or {}, content, content_type if content else None)
        call_id = request.call_id or ""
        try:
            response = await self._endpoint.request(request, self.core)
        except SipError as error:
            return PagerSent(error.status, call_id, request)
        return PagerSent(response.status, call_id, request, response)

    async def large(
        self,
        user: str,
        content: bytes,
        content_type: str = "text/plain;charset=UTF-8",
        *,
        headers: HeaderValues | None = None,
        send_headers: Mapping[str, str] | None = None,
        chunk_size: int | None = 2048,
        tls: bool = False,
        family: int = 4,
        abort_after: int | None = None,
        patience: float = 30.0,
    ) -> LargeSent:
        """Send a large-message-mode message: INVITE, MSRP SENDs, BYE.

        ``send_headers`` go into every SEND (Message-ID, Success-Report, Failure-Report, extensions). ``chunk_size``
        None sends one chunk. ``abort_after`` octets of content we break off: the connection is reset, no BYE is sent.
        ``patience`` is how long the last answers are waited for, in seconds.
        """
        media = self._describe(content_type, tls=tls, family=family)
        request = self._request("INVITE", user, "largemsg", headers or {}, media.sdp, "application/sdp")
        call_id = request.call_id or ""
        try:
            response = await self._endpoint.request(request, self.core)
        except SipError as error:
            return LargeSent(error.status, call_id, request)
        if response.status >= 300:
            return LargeSent(response.status, call_id, request, response)
        try:
            dialog = Dialog.uac(request, response)
        except RemoteProtocolError as error:
            return LargeSent(response.status, call_id, request, response, problem=str(error))
        self._endpoint.send(dialog.ack(), self.core)
        extra = dict(send_headers or {})
        extra.setdefault("Message-ID", new_message_id())
        sender = ContentSender(media.path, content, content_type, extra, chunk_size=chunk_size, abort_after=abort_after)
        problem = await self._send(sender, media, response, patience)
        bye_status = await self._bye(dialog) if abort_after is None else None
        return LargeSent(
            response.status,
            call_id,
            request,
            response,
            message_id=extra["Message-ID"],
            msrp_statuses=sender.statuses,
            chunks=sender.chunks,
            bye_status=bye_status,
            success_reported=sender.success_reported,
            problem=problem,
        )

    async def _send(self, sender: ContentSender, media: _Media, response: SipResponse, patience: float) -> str | None:
        """Connect and send all chunks; what went wrong, if something did."""
        peer = parse_sdp(response.body).message if response.body else None
        uri = parse_uri(peer.path[0]) if peer is not None and peer.path else None
        if peer is None or not isinstance(uri, MsrpUri):
            return "the answer has no usable MSRP media"
        tap = msrp_tap(self._recorder, Pco.MO, Role.ORIGINATOR, Role.IUT)
        client_ssl = media.client_ssl if peer.tls else None
        try:
            connection = await connect_msrp(uri.host, uri.port or 2855, ssl=client_ssl, tap=tap)
        except OSError as error:
            return f"the PF's MSRP address refused: {error}"
        try:
            async with asyncio.timeout(patience):
                await sender.run(connection, peer.path)
                hung_up = sender.unanswered
        except (OSError, TimeoutError) as error:
            return f"MSRP broke off: {error or 'no answer in time'}"
        finally:
            if sender.aborted:
                connection.abort()
            else:
                connection.close()
            await connection.wait_closed()
        return "the PF ended the connection before it answered" if hung_up else None

    async def _bye(self, dialog: Dialog) -> int:
        try:
            return (await self._endpoint.request(dialog.request("BYE"), self.core)).status
        except SipError as error:
            return error.status

    async def _take(self, incoming: IncomingRequest) -> None:
        """Answer what comes to us: BYE of the PF, IMDN, OPTIONS."""
        self.requests.append(incoming.request)
        if incoming.request.method != "ACK":
            await incoming.reply(200)

    def _describe(self, content_type: str, *, tls: bool, family: int) -> _Media:
        """Our offer: we connect (RFC 4975 8), and only send."""
        host = self._hosts[family]
        fingerprint, client_ssl = None, None
        if tls:
            if self._tls is None:
                self._tls = client_context(by_fingerprint=True), self_signed()[1]
            client_ssl, fingerprint = self._tls
        path = f"{'msrps' if tls else 'msrp'}://{host_text(host)}:9/{new_session_id()};tcp"
        sdp = build_msrp_sdp(
            host=host,
            port=9,
            path=[path],
            setup="active",
            accept_types=(content_type.partition(";")[0].strip() or "*",),
            direction="sendonly",
            tls=tls,
            fingerprint=fingerprint,
            session_id=secrets.randbits(31),
            version=1,
        )
        return _Media(path, sdp, client_ssl)

    def _request(
        self, method: str, user: str, service: str, headers: HeaderValues, body: bytes, content_type: str | None
    ) -> SipRequest:
        """Build a MESSAGE or an INVITE with the header fields of CPM."""
        fields: dict[str, str | None] = {
            "Max-Forwards": "70",
            "From": f"<{self.uri}>;tag={secrets.token_hex(6)}",
            "To": f"<{user}>",
            "Call-ID": secrets.token_hex(12),
            "CSeq": f"1 {method}",
            "Accept-Contact": ICSI.format(service),
            "Conversation-ID": secrets.token_hex(10),
            "Contribution-ID": secrets.token_hex(10),
            "Date": format_datetime(datetime.now(UTC), usegmt=True),
            "Subject": "A message",
        }
        if method == "INVITE":
            fields["Contact"] = self._contact
            fields["Allow"] = "INVITE, ACK, CANCEL, BYE, MESSAGE, OPTIONS"
        if content_type is not None:
            fields["Content-Type"] = content_type
        for name, value in headers.items():
            fields[_same_name(fields, name)] = value
        return build_request(method, user, [(name, value) for name, value in fields.items() if value is not None], body)


def _same_name(fields: Iterable[str], name: str) -> str:
    """The name as it stands in the fields already, if it does in another case."""
    return next((known for known in fields if known.lower() == name.lower()), name)
