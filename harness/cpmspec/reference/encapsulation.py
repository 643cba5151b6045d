"""How one deferred message is wrapped: a multipart of its stored headers and its content (8.3.2.4.3 step 2)."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cpmspec.protocol.msrp_sender import BytesContent, Content
from cpmspec.reference import message as views
from cpmspec.reference.store import DeferredMessage
from cpmspec.wire.headers import Headers
from cpmspec.wire.mime import Part, compose_multipart
from cpmspec.wire.sdp import Media, accepts

if TYPE_CHECKING:
    from cpmspec.reference.pf import Pf


@dataclass(frozen=True, slots=True)
class Enveloped:
    """Content between octets before and after it, read on demand: a multipart that is never whole in memory."""

    before: bytes
    content: Content
    after: bytes

    @property
    def size(self) -> int:
        """Octets altogether."""
        return len(self.before) + self.content.size + len(self.after)

    def read(self, offset: int, count: int) -> bytes:
        """At most ``count`` octets from ``offset``."""
        end = min(offset + count, self.size)
        octets, start = bytearray(), 0
        for piece in (self.before, self.content, self.after):
            size = len(piece) if isinstance(piece, bytes) else piece.size
            first, last = max(offset - start, 0), min(end - start, size)
            if first < last:
                octets += piece[first:last] if isinstance(piece, bytes) else piece.read(first, last - first)
            start += size
        return bytes(octets)


MULTIPART = "multipart/mixed"


class Encapsulation:
    """Step 2 of the clause, one method for each of its letters."""

    def __init__(self, pf: Pf) -> None:
        self.pf = pf

    def compose(self, message: DeferredMessage) -> tuple[str, Content]:
        """Step 2: the Content-Type of the SEND, multipart/mixed, and its body.

        The boundary is drawn anew each time from 160 random bits, so that no content can hold it (RFC 2046 5.1).
        """
        parts = list(self.header_parts(message))
        described = self.content_headers(message)
        content = self.content_of(message)
        boundary = secrets.token_hex(20)
        if not described and content.size == 0:
            content_type, body = compose_multipart(parts, boundary)
            return content_type, BytesContent(body)
        content_type, body = compose_multipart([*parts, Part.make(described, b"")], boundary)
        cut = len(body) - len(f"\r\n--{boundary}--\r\n")
        return content_type, Enveloped(body[:cut], content, body[cut:])

    def header_parts(self, message: DeferredMessage) -> Iterable[Part]:
        """Step 2a: the headers stored with the message, those of SIP first, then those of the SEND."""
        yield self.sip_part(message)
        msrp = self.msrp_part(message)
        if msrp is not None:
            yield msrp

    def sip_part(self, message: DeferredMessage) -> Part:
        """Steps 2b, 2c: the headers of the MESSAGE or INVITE; the receipt time stands among the part's own headers."""
        kept = self.stored_sip_headers(message)
        if self.pf.config.delivery.encapsulation == "sip":
            kind, octets = "message/sip", views.complete_request(message, kept, self.pf.signalling.own_via())
        else:
            kind, octets = "message/sipfrag", kept.octets()
        return Part.make([("Content-Type", kind), ("Date", self.receipt_date(message))], octets)

    def msrp_part(self, message: DeferredMessage) -> Part | None:
        """Step 2d: the headers of the SEND (large message mode)."""
        if message.msrp_headers is None:
            return None
        return Part.make([("Content-Type", "message/msrpfrag")], self.stored_msrp_headers(message).octets())

    def stored_sip_headers(self, message: DeferredMessage) -> Headers:
        """The stored headers of the MESSAGE or INVITE that go to the client, unchanged.

        An asserted identity goes only if the originator did not ask for privacy (RFC 3325 7).
        """
        headers = views.sip_headers(message)
        kept = views.projected(headers, views.PROJECTED_SIP)
        return kept.without("P-Asserted-Identity") if views.private(headers) else kept

    def stored_msrp_headers(self, message: DeferredMessage) -> Headers:
        """The stored headers of the SEND that go to the client, unchanged."""
        return views.projected(views.msrp_headers(message), views.PROJECTED_MSRP)

    def receipt_date(self, message: DeferredMessage) -> str:
        """The time at which the PF received the message (third paragraph of the clause)."""
        return views.receipt_date(message)

    def content_headers(self, message: DeferredMessage) -> tuple[tuple[str, str], ...]:
        """The headers of the part that holds the actual message: its own Content-Type first."""
        return views.content_headers(message)

    def content_of(self, message: DeferredMessage) -> Content:
        """Step 2a: the actual message, octet for octet."""
        return self.pf.store.content(message)

    def types_within(self, message: DeferredMessage) -> tuple[str, ...]:
        """The media types inside the multipart: the client's SDP must allow each of them (RFC 4975 8.6)."""
        fragment = "message/sip" if self.pf.config.delivery.encapsulation == "sip" else "message/sipfrag"
        headers = (fragment,) if message.msrp_headers is None else (fragment, "message/msrpfrag")
        empty = message.size == 0 and message.content_type is None
        return headers if empty else (*headers, views.media_type(message))

    # -- what may be sent -----------------------------------------------------------------------------------------

    def waiting(self, user: str) -> Sequence[DeferredMessage]:
        """The user's deferred messages, oldest first."""
        return self.pf.store.waiting(user, self.pf.now())

    def allowed(self, message: DeferredMessage, media: Media | None) -> bool:
        """Whether the client's SDP lets the message be sent: direction, types, size (RFC 4975 8.6, 8.9)."""
        if (
            media is None
            or media.direction not in ("recvonly", "sendrecv")
            or not accepts(media.accept_types, MULTIPART)
        ):
            return False
        within = (*media.accept_types, *media.accept_wrapped_types)
        if not all(accepts(within, one) for one in self.types_within(message)):
            return False
        return media.max_size is None or self.composed_size(message) <= media.max_size

    def composed_size(self, message: DeferredMessage) -> int:
        """Octets of the message with its envelope: what ``a=max-size`` limits."""
        return self.compose(message)[1].size
