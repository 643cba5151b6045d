"""What holds deferred messages until they are delivered: a narrow interface, for any engine that keeps its promises.

Every ``async`` method has happened durably when it returns: it survives a crash of the process or of the machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from cpmspec.protocol.msrp_sender import Content


class StoreError(Exception):
    """The store could not do what was asked: disk full or failing, unknown schema. Nothing was changed."""


class Mode(StrEnum):
    """How the message reached the PF."""

    PAGER = "pager"
    LARGE = "large"


@dataclass(frozen=True, slots=True)
class NewMessage:
    """A message to be deferred (8.3.2.3): whose it is, when it came, and every header it came with, as octets.

    ``received`` and ``expires`` are seconds since the epoch (``None``: never expires). ``start_line`` holds the line
    with its CRLF, ``sip_headers`` the complete header section of the MESSAGE or INVITE, ``msrp_headers`` that of the
    first SEND (large message mode), each line with its CRLF, without the empty line.
    """

    user: str
    mode: Mode
    received: float
    expires: float | None
    start_line: bytes
    sip_headers: bytes
    msrp_headers: bytes | None
    content_type: str | None


@dataclass(frozen=True, slots=True)
class DeferredMessage(NewMessage):
    """A message in the store. ``id`` grows with each message, ``size`` counts the octets of its content."""

    id: int
    content: int
    size: int


@dataclass(frozen=True, slots=True)
class Registration:
    """A reachable user: his public identity as registered, the core that did it (its Contact), and until when."""

    user: str
    uri: str
    core: str
    expires: float


class Draft(Protocol):
    """The content of a message that is still coming in: nobody sees it before :meth:`commit`."""

    def write(self, offset: int, octets: bytes) -> None:
        """Put octets at a place; what comes later wins (RFC 4975 7.3.1)."""

    async def drain(self) -> None:
        """Wait until the store has caught up with what was written: the bound on memory."""

    async def commit(self, message: NewMessage, size: int) -> DeferredMessage:
        """Make it a deferred message of ``size`` octets, durably."""

    def discard(self) -> None:
        """Forget it: the message was aborted or never complete."""


class Store(Protocol):
    """Deferred messages and registrations."""

    async def defer(self, message: NewMessage, content: bytes) -> DeferredMessage:
        """Take a message whose content is at hand."""

    def draft(self) -> Draft:
        """Begin a message whose content comes in pieces."""

    def waiting(self, user: str, now: float) -> Sequence[DeferredMessage]:
        """The user's undelivered, unexpired messages, oldest first."""

    def users_recording(self) -> Sequence[str]:
        """The users with messages still to be recorded in the history."""

    def recording(self, user: str) -> Sequence[DeferredMessage]:
        """The user's messages still to be recorded in the history, oldest first; a good many, perhaps not all."""

    def content(self, message: DeferredMessage) -> Content:
        """The content of a message, read in pieces."""

    async def delivered(self, message: DeferredMessage, *, record: bool) -> None:
        """The message waits no more: it is gone, or only kept until it is recorded."""

    async def record(self, message: DeferredMessage) -> None:
        """Mark for recording, whatever else happens to the message."""

    async def recorded(self, message: DeferredMessage) -> None:
        """It is in the history: gone, unless it still waits."""

    async def remove(self, message: DeferredMessage) -> None:
        """Drop the message altogether."""

    async def expire(self, now: float) -> int:
        """Drop what expired undelivered; tells how many (RFC 3428 7)."""

    async def register(self, registration: Registration) -> None:
        """Add or refresh a registration."""

    async def deregister(self, user: str) -> None:
        """Remove a registration."""

    def registrations(self) -> Sequence[Registration]:
        """All registrations, over ones included."""

    async def close(self) -> None:
        """Finish what is under way and close."""
