"""What a CPM Client offers and how it behaves in a session: data and hooks that a case sets."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cpmspec.wire.msrp import MsrpHead

if TYPE_CHECKING:
    from cpmspec.actors.session import Session

#: what the client accepts unless a case says otherwise: all that a deferred message may hold
ACCEPT_TYPES = ("multipart/mixed", "message/cpim", "text/plain")
ACCEPT_WRAPPED_TYPES = ("*",)


@dataclass(frozen=True, slots=True)
class Offer:
    """The client's side of the media, in an offer or in an answer (RFC 4975 8, RFC 4145, RFC 6135).

    In an answer ``setup`` and ``tls`` follow the offer where it leaves no choice. ``direction`` None: ``recvonly`` in
    an offer, the mirror of the offer in an answer.
    """

    setup: str | None = "active"  #: active, passive, actpass or None (no attribute: RFC 4975, the offerer connects)
    tls: bool = False
    family: int = 4  #: 4 or 6
    accept_types: tuple[str, ...] = ACCEPT_TYPES
    accept_wrapped_types: tuple[str, ...] = ACCEPT_WRAPPED_TYPES
    max_size: int | None = None  #: octets
    direction: str | None = None
    port_zero: bool = False  #: a media line that is refused: port 0


@dataclass(frozen=True, slots=True)
class Chunk:
    """One SEND with a body that the client received. Indices count from 0.

    ``message_index`` is the place of its message by first chunk; ``octets`` is this chunk's body; ``complete`` tells
    that with it the whole message is there.
    """

    session: Session
    message_index: int
    chunk_index: int
    head: MsrpHead
    octets: bytes
    flag: str
    complete: bool


@dataclass(frozen=True, slots=True)
class ReceivedMessage:
    """A message that arrived whole; ``head`` is that of its first chunk."""

    message_id: str
    content_type: str
    body: bytes
    head: MsrpHead


#: what a SEND is answered: a status, or ``None`` for no answer; it may wait first, which withholds the answer
Answer = Callable[[Chunk], Awaitable[int | None]]


async def ok(chunk: Chunk) -> int | None:
    """Answer 200: the chunk was received (RFC 4975 7.2)."""
    return 200


@dataclass(slots=True)
class Behaviour:
    """How the client acts in one session. Everything has a cooperative default.

    ``on_frame`` sees the head of each MSRP request and response. ``after_message`` runs after the answer to the chunk
    that completed a message left, with the number of messages complete before it: the place for BYE or reset.
    """

    answer: Answer = ok
    on_frame: Callable[[Session, MsrpHead], None] | None = None
    after_message: Callable[[Session, int], Awaitable[None]] | None = None
    reports: bool = True  #: send a success REPORT when asked
    connect: bool = True  #: as active endpoint: connect at all
    bind: bool = True  #: as active endpoint: send the empty SEND that binds the connection (RFC 4975 5.4)
    answer_bye: int | None = 200  #: status for the PF's BYE; None: no answer
    hold_bye: float = 0.0  #: seconds for which that answer is held back, so that what is in flight can land
    # what follows is for sessions that the PF sets up
    ring_first: bool = False  #: 180 before anything else
    early_answer: bool = False  #: 183 with the answer before the 200
    release: asyncio.Event | None = None  #: the 200 waits for it
    reject: int | None = None  #: refuse the INVITE with this status
    log: list[str] = field(default_factory=list)  #: what the peer did that no rule covers, for a reader
