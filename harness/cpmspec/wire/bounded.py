"""How much of a header section is read: hostile input must not drive the work, so what lies beyond stays octets."""

from __future__ import annotations

from typing import Final

#: octets of one header section: those of a whole SIP message over UDP have to fit into one datagram
MAX_HEADER_OCTETS: Final = 65_536
#: headers of one section that are no matter for remark: real ones have some tens
MAX_HEADERS: Final = 500


def readable(octets: bytes, start: int = 0) -> bool:
    """Whether the header section at ``start`` ends, by an empty line or with the octets, within the limit."""
    limit = start + MAX_HEADER_OCTETS
    return (
        len(octets) <= limit
        or octets.startswith((b"\r\n", b"\n"), start)
        or octets.find(b"\n\r\n", start, limit) >= 0
        or octets.find(b"\n\n", start, limit) >= 0
    )
