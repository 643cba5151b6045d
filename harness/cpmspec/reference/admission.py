"""What the PF refuses before it looks at what is asked (RFC 3261 8.2, 16.3)."""

from __future__ import annotations

from dataclasses import dataclass

from cpmspec.wire.mime import MediaType
from cpmspec.wire.sip import SipRequest
from cpmspec.wire.sip_views import parse_number
from cpmspec.wire.uri import OtherUri

TOLERATED = frozenset({"SIP-3261-18.3-02", "SIP-3261-20.10-02"})
"""What two readers read alike: octets after the body of a datagram, which every receiver cuts off (RFC 3261 18.3), and
a wrong q or expires of a Contact, for which there is a default (20.10)."""
LIMITS = "SIP-LIMIT-"
"""Rules of what is legal but more than our reader looks at: 513, too large (RFC 3261 21.5.14), not malformed."""
MAX_DIGITS = 20


@dataclass(frozen=True, slots=True)
class Refusal:
    """A final answer to give instead of serving."""

    status: int
    reason: str | None = None
    headers: tuple[tuple[str, str], ...] = ()


def refusal(request: SipRequest) -> Refusal | None:
    """Why the request is not served, or ``None``.

    What is malformed is not stored: two readers might read it in two ways (header injection, doubled headers). Nor is
    what was not looked at for its size. It is 400 if one thing is malformed, whatever else is too large.
    """
    found = [one for one in request.violations if one.id not in TOLERATED]
    wrong = min(found, key=lambda one: one.id.startswith(LIMITS), default=None)
    if wrong is not None and wrong.id.startswith(LIMITS):
        return Refusal(513)
    if wrong is not None:
        return Refusal(505) if wrong.id == "SIP-3261-7.1-04" else Refusal(400, f"Bad Request: {wrong.id}")
    required = request.headers.values("Require")
    if required:
        return Refusal(420, None, (("Unsupported", ", ".join(required)),))
    return None


def bad_content(request: SipRequest) -> Refusal | None:
    """Why a MESSAGE is malformed in what only matters for storing it, or ``None``."""
    for name in ("from", "to"):
        address = request.from_ if name == "from" else request.to
        if address is None or (isinstance(address.uri, OtherUri) and not address.uri.scheme):
            return Refusal(400, f"Bad Request: {name.capitalize()}")
    if request.headers.get("date") is not None and request.date is None:
        return Refusal(400, "Bad Request: Date")
    expires = request.headers.get("expires")
    if expires is not None and parse_number(expires, 10**MAX_DIGITS) is None:
        return Refusal(400, "Bad Request: Expires")
    if request.content_type is not None and not MediaType.parse(request.content_type).well_formed:
        return Refusal(400, "Bad Request: Content-Type")
    return None
