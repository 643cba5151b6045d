"""What an observer of a socket is told: each message or piece with its time, and the life of each connection."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

#: numeric host (IPv6 without brackets and without a scope) and port
Address: TypeAlias = tuple[str, int]

TapKind: TypeAlias = Literal["open", "data", "close", "reset"]


@dataclass(frozen=True, slots=True)
class TapEvent:
    """One thing that happened at a socket.

    ``time_us`` is :func:`cpmspec.net.clock.now_us`, taken just before octets are written or just after they were read.
    ``sent`` tells who did it: we (octets written, connection opened or closed by us) or the peer. ``octets`` is one
    whole SIP message, or a raw piece of an MSRP stream; empty for other kinds than ``data``. ``connection`` numbers the
    TCP and TLS connections of this process from 1; it is 0 for UDP.
    """

    kind: TapKind
    time_us: int
    transport: str  #: "udp", "tcp" or "tls"
    local: Address
    remote: Address
    sent: bool
    octets: bytes
    connection: int


#: an observer; it must not block and must not raise
Tap: TypeAlias = Callable[[TapEvent], None]

_numbers = itertools.count(1)


def next_connection() -> int:
    """A fresh number for a TCP or TLS connection, unique in this process."""
    return next(_numbers)


def address_of(name: object) -> Address:
    """The address in what ``getsockname`` or asyncio's ``peername`` gives; ``("", 0)`` if there is none any more."""
    if isinstance(name, tuple) and len(name) >= 2 and isinstance(name[0], str) and isinstance(name[1], int):
        return name[0].partition("%")[0], name[1]
    return "", 0
