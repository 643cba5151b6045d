"""Offer and answer of the PF's MSRP sessions (RFC 3264, RFC 4975 8, RFC 6135)."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cpmspec.protocol.errors import RemoteProtocolError
from cpmspec.protocol.offer_answer import answer_direction, choose_setup, connects
from cpmspec.wire.mime import MediaType
from cpmspec.wire.sdp import TCP_MSRP, TLS_MSRP, Media, Sdp, build_msrp_sdp, parse_sdp
from cpmspec.wire.sip import SipRequest, SipResponse
from cpmspec.wire.uri import MsrpUri, parse_uri

if TYPE_CHECKING:
    from cpmspec.reference.media import MsrpSession

SDP_TYPE = "application/sdp"
ACTIVE_PORT = 9
"""In the m-line of an endpoint that only connects (RFC 6135 4.2.2, RFC 4145 4.1)."""


@dataclass(frozen=True, slots=True)
class Description:
    """The peer's session description and the MSRP media in it."""

    sdp: Sdp
    media: Media

    @property
    def tls(self) -> bool:
        """Whether MSRP runs over TLS."""
        return self.media.tls

    @property
    def host(self) -> str:
        """The peer's address: that of the c-line, else that of his path; tells the family."""
        uri = parse_uri(self.media.path[0])
        return self.media.connection_host or (uri.host if isinstance(uri, MsrpUri) else "")


def read_description(message: SipRequest | SipResponse) -> Description | None:
    """The description that a message carries; ``None`` if it has no body.

    :raises RemoteProtocolError: 415, the body is no SDP; 488, it offers no MSRP that could be used.
    """
    if not message.body:
        return None
    if MediaType.parse(message.content_type or "").full != SDP_TYPE:
        raise RemoteProtocolError(f"found {message.content_type!r}, expected {SDP_TYPE}", 415)
    sdp = parse_sdp(message.body)
    media = sdp.message
    if media is None or media.port == 0 or media.protocol.upper() not in (TCP_MSRP, TLS_MSRP):
        raise RemoteProtocolError("no MSRP media in the description", 488)
    if not media.path or not all(isinstance(parse_uri(uri), MsrpUri) for uri in media.path):
        raise RemoteProtocolError("no path of MSRP URIs in the description", 488)
    return Description(sdp, media)


def answer_to(
    offer: Description, session: MsrpSession, *, wanted: str, accept_types: tuple[str, ...], max_size: int | None = None
) -> tuple[bytes, bool]:
    """The answer to an offer, and whether we are the active side.

    ``wanted`` is the direction that the PF needs: ``sendonly`` to deliver, ``recvonly`` to take a message.

    :raises RemoteProtocolError: 488, the offered direction or setup leaves nothing.
    """
    direction = answer_direction(offer.media.direction, wanted)
    if direction != wanted:
        raise RemoteProtocolError(f"direction {offer.media.direction!r} leaves nothing to do", 488)
    offered = None if offer.media.setup == "holdconn" else offer.media.setup  # RFC 6135 4.2.1: ignored
    setup = choose_setup(offered)
    active = connects(setup, offerer=False)
    own = build_msrp_sdp(
        host=session.host,
        port=ACTIVE_PORT if active else session.port,
        path=(session.uri,),
        setup=setup,
        accept_types=accept_types,
        direction=direction,
        max_size=max_size,
        tls=offer.tls,
        fingerprint=session.pf.media.fingerprint if offer.tls else None,
        session_id=secrets.randbits(31),
        version=1,
    )
    return _with_rejected(own, offer), active


def offer_of(session: MsrpSession, *, accept_types: tuple[str, ...]) -> bytes:
    """The PF's offer of a session in which it sends; either side may connect (RFC 6135 4.2.2)."""
    return build_msrp_sdp(
        host=session.host,
        port=session.port,
        path=(session.uri,),
        setup="actpass",
        accept_types=accept_types,
        direction="sendonly",
        tls=session.tls,
        fingerprint=session.pf.media.fingerprint if session.tls else None,
        session_id=secrets.randbits(31),
        version=1,
    )


def active_after(answer: Description) -> bool:
    """Whether the answer to our offer makes us the active side; without ``a=setup`` the offerer connects (4975 5.4)."""
    return connects(answer.media.setup, offerer=True)


def _with_rejected(own: bytes, offer: Description) -> bytes:
    """The answer has as many m-lines as the offer, in the same order; others are rejected (RFC 3264 6)."""
    if len(offer.sdp.media) == 1:
        return own
    at = own.index(b"m=message")
    answer = own[:at]
    for media in offer.sdp.media:
        if media is offer.media:
            answer += own[at:]
        else:
            answer += f"m={media.kind} 0 {media.protocol} {' '.join(media.formats)}\r\n".encode(
                "utf-8", "surrogateescape"
            )
    return answer
