"""Views on a deferred message: the headers that came with it, what identifies it, what must not leave the PF."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime

from cpmspec.protocol.msrp_sender import Content
from cpmspec.reference.store import DeferredMessage
from cpmspec.wire.cpim import parse_cpim
from cpmspec.wire.dates import format_sip_date
from cpmspec.wire.headers import Header, Headers, canonical
from cpmspec.wire.mime import MediaType
from cpmspec.wire.section import parse_section
from cpmspec.wire.uri import NameAddr, parse_name_addr

# The headers of MESSAGE or INVITE that count as stored (class D, IXIT `stored_headers`). A list of what may pass keeps
# everything else in: credentials, charging and access data (RFC 3323, RFC 3455), routing.
PROJECTED_SIP = frozenset(
    canonical(name)
    for name in (
        "From", "To", "Date", "Subject", "Call-ID", "Conversation-ID", "Contribution-ID", "InReplyTo-Contribution-ID",
        "Content-Type", "P-Asserted-Identity",
    )
)  # fmt: skip
# The same for the SEND of large message mode; its paths would give away a session (RFC 4975 14.1).
PROJECTED_MSRP = frozenset(
    canonical(name) for name in ("Message-ID", "Content-Type", "Success-Report", "Failure-Report")
)

_CPIM_HEAD = 16_384  # octets: a CPIM header section beyond this is not looked at


def sip_headers(message: DeferredMessage) -> Headers:
    """All headers of the MESSAGE or INVITE, as they came."""
    return parse_section(message.sip_headers, 0, Header).headers


def msrp_headers(message: DeferredMessage) -> Headers:
    """All headers of the first SEND; none in pager mode."""
    return parse_section(message.msrp_headers or b"").headers


def private(headers: Headers) -> bool:
    """Whether the originator asked to keep his asserted identity back (``Privacy: id``, RFC 3325 7, 9.3)."""
    values = (value for text in headers.values("privacy") for value in text.split(";"))
    return any(value.strip().lower() == "id" for value in values)


def content_headers(message: DeferredMessage) -> tuple[tuple[str, str], ...]:
    """The headers that describe the content, Content-Type first.

    Length and transfer encoding describe the transport of SIP, not the content, and stay behind.
    """
    source = sip_headers(message) if message.msrp_headers is None else msrp_headers(message)
    described: list[tuple[str, str]] = []
    if message.content_type is not None:
        described.append(("Content-Type", message.content_type))
    left = ("content-type", "content-length", "content-transfer-encoding")
    described += [(one.name, one.value) for one in source if one.key.startswith("content-") and one.key not in left]
    return tuple(described)


def media_type(message: DeferredMessage) -> str:
    """Type and subtype of the content, in lower case; ``text/plain`` if none was given (RFC 2046 5.1)."""
    return MediaType.parse(message.content_type or "text/plain").full or "application/octet-stream"


def imdn_identifier(message: DeferredMessage, content: Content) -> str | None:
    """The imdn.Message-ID of a message/cpim content (RFC 5438 6.3), ``None`` if there is none."""
    if media_type(message) != "message/cpim":
        return None
    return parse_cpim(content.read(0, _CPIM_HEAD)).imdn_message_id


def identifier(message: DeferredMessage, content: Content) -> str:
    """What names the message in a notification: imdn.Message-ID, else the Call-ID of its request."""
    return imdn_identifier(message, content) or sip_headers(message).get("call-id") or ""


def address(value: str | None) -> str:
    """A From or To value without its parameters: the tag belongs to another dialog."""
    if value is None:
        return ""
    parsed = parse_name_addr(value)
    return str(NameAddr(parsed.display, parsed.uri, ()))


def receipt_date(message: DeferredMessage) -> str:
    """When the PF received the message, in the form of RFC 1123, GMT."""
    return format_sip_date(datetime.fromtimestamp(message.received, UTC))


def projected(headers: Headers, names: frozenset[str]) -> Headers:
    """Only the headers of those names, octets and order kept."""
    return headers.where(lambda header: header.key in names)


def complete_request(message: DeferredMessage, kept: Headers, via: str) -> bytes:
    """A whole request for ``message/sip`` (RFC 3261 27.5): the start line, the mandatory headers, those ``kept``.

    Via and Max-Forwards are the PF's own: the path that the original took is nobody's business (RFC 3323).
    """
    stored = sip_headers(message)
    own = (Header.make("Via", f"{via};branch=z9hG4bK{secrets.token_hex(8)}"), Header.make("Max-Forwards", "70"))
    missing = {"cseq", "contact"} if message.msrp_headers is not None else {"cseq"}
    section = (*own, *stored.where(lambda header: header.key in missing), *kept, Header.make("Content-Length", "0"))
    return message.start_line + Headers(section).octets() + b"\r\n"
