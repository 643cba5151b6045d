"""One SIP session of the PF: a confirmed dialog, ended by BYE from either side (RFC 3261 12, 15)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from cpmspec.protocol.dialogs import Dialog
from cpmspec.protocol.errors import RemoteProtocolError
from cpmspec.reference.log import say

if TYPE_CHECKING:
    from cpmspec.net.sip import IncomingRequest
    from cpmspec.reference.pf import Pf


class SipSession:
    """A session from its 2xx to its BYE. ``over`` is set as soon as the peer ended it."""

    def __init__(self, pf: Pf, dialog: Dialog, user: str) -> None:
        self.pf = pf
        self.dialog = dialog
        self.user = user
        self.over = asyncio.Event()
        self._ended = False
        pf.signalling.join(dialog, self)

    @property
    def call_id(self) -> str:
        """The dialog's Call-ID."""
        return self.dialog.id.call_id

    async def on_request(self, incoming: IncomingRequest) -> None:
        """A request within the dialog (RFC 3261 12.2.2)."""
        try:
            self.dialog.receive(incoming.request)
        except RemoteProtocolError as error:
            await self.pf.signalling.refuse(incoming, error.status)
            return
        match incoming.request.method:
            case "BYE":
                self.over.set()
                self._ended = True
                self.pf.signalling.leave(self.dialog)
                await self.pf.signalling.respond(incoming, 200)
                say("the peer ended the session", user=self.user, call_id=self.call_id)
            case "INVITE" | "UPDATE":
                await self.pf.signalling.refuse(incoming, 488)  # the session goes on as it was (RFC 3261 14.2)
            case "OPTIONS":
                await self.pf.signalling.respond(incoming, 200, [("Allow", "INVITE, ACK, CANCEL, BYE, OPTIONS")])
            case _:
                await self.pf.signalling.refuse(incoming, 405, None, [("Allow", "INVITE, ACK, CANCEL, BYE, OPTIONS")])

    async def bye(self) -> None:
        """End the session by the dialog's route set, once, unless the peer did (RFC 3261 15.1.1).

        Whatever the answer, or none, the session is over.
        """
        if self._ended:
            return
        self._ended = True
        try:
            status = await self.pf.signalling.final_status(self.dialog.request("BYE"))
        finally:
            self.pf.signalling.leave(self.dialog)
        say(f"BYE sent: {status}", user=self.user, call_id=self.call_id)
