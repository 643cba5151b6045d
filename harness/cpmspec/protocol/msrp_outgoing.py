"""What the sending side of MSRP is given and what it tells: content, messages, outcomes (RFC 4975 7.1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TypeAlias


class Content(Protocol):
    """The octets of a message, read piece by piece."""

    @property
    def size(self) -> int:
        """All octets there are."""
        ...

    def read(self, offset: int, count: int) -> bytes:
        """``count`` octets from ``offset`` (from 0); fewer only at the end."""
        ...


@dataclass(frozen=True, slots=True)
class BytesContent:
    """Content that is in memory."""

    octets: bytes

    @property
    def size(self) -> int:
        """All octets there are."""
        return len(self.octets)

    def read(self, offset: int, count: int) -> bytes:
        """``count`` octets from ``offset``."""
        return self.octets[offset : offset + count]


@dataclass(frozen=True, slots=True)
class OutgoingMessage:
    """A message to send. ``failure_report`` ``None`` leaves the header out, which means ``yes`` (RFC 4975 7.1.1)."""

    message_id: str
    content_type: str
    content: Content
    success_report: bool = False
    failure_report: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    priority: int = 0  #: one of higher priority goes before others, and interrupts an open chunk of theirs (7.1.1)

    @property
    def wants_response(self) -> bool:
        """Whether a response of 200 is to be waited for: Failure-Report yes, which is the default (7.1.1)."""
        return self.failure_report in (None, "yes")


@dataclass(frozen=True, slots=True)
class ChunkAnswered:
    """The response to one chunk: its octets are ``first`` to ``last``, from 1."""

    message_id: str
    status: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a message; told once. ``status`` is the code that decided it, ``None`` if none did."""

    message_id: str
    delivered: bool
    status: int | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Stopped:
    """Nothing more may be sent in the session because of ``status``; what is not sent completely has failed.

    Messages that were sent completely still wait for their answers.
    """

    status: int


SenderEvent: TypeAlias = ChunkAnswered | Outcome | Stopped
