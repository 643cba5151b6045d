"""The two kinds of protocol error: ours and the peer's."""

from __future__ import annotations


class ProtocolError(Exception):
    """Base of both kinds."""


class LocalProtocolError(ProtocolError):
    """We were asked to do what the protocol does not allow at this point; nothing was sent."""


class RemoteProtocolError(ProtocolError):
    """The peer did what the protocol does not allow; ``status`` is the suggested response code (SIP or MSRP)."""

    def __init__(self, reason: str, status: int = 400) -> None:
        super().__init__(reason)
        self.status = status
