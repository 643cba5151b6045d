"""Who is reachable, by the core's third-party registrations (TS 24.229 5.4.1.7)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cpmspec.reference.log import say
from cpmspec.reference.store import Registration, StoreError
from cpmspec.reference.users import identity
from cpmspec.wire.sip import SipRequest
from cpmspec.wire.sip_views import MAX_SECONDS, parse_number

if TYPE_CHECKING:
    from cpmspec.net.sip import IncomingRequest
    from cpmspec.reference.pf import Pf

DEFAULT_EXPIRES = 3600
"""Seconds, if a REGISTER names none (RFC 3261 10.3 leaves it to the server)."""


class Registrations:
    """The table of registered users; it survives a restart in the store."""

    def __init__(self, pf: Pf) -> None:
        self.pf = pf
        self._table: dict[str, Registration] = {}

    def load(self) -> None:
        """Take over what the store remembers."""
        self._table = {entry.user: entry for entry in self.pf.store.registrations()}

    def find(self, user: str) -> Registration | None:
        """The user's registration, ``None`` if he is not registered now."""
        entry = self._table.get(user)
        return entry if entry is not None and entry.expires > self.pf.now() else None

    async def on_register(self, incoming: IncomingRequest) -> None:
        """Take a third-party REGISTER: To = user, Contact = the core, Expires 0 = gone. Only from the trusted core."""
        request = incoming.request
        user = identity(str(request.to.uri)) if request.to is not None else ""
        if not self.pf.signalling.trusts(incoming):
            await self.pf.signalling.refuse(incoming, 403)
        elif not user or not self.pf.users.served(user):
            await self.pf.signalling.refuse(incoming, 404)
        elif not request.contact:
            await self.pf.signalling.refuse(incoming, 400, "Bad Request: no Contact")
        else:
            await self._take(incoming, user)

    async def _take(self, incoming: IncomingRequest, user: str) -> None:
        request = incoming.request
        seconds, before = self.lifetime(request), self.find(user)
        try:
            if seconds == 0:
                self._table.pop(user, None)
                await self.pf.store.deregister(user)
            else:
                uri = str(request.to.uri) if request.to is not None else user
                entry = Registration(user, uri, str(request.contact[0].uri), self.pf.now() + seconds)
                self._table[user] = entry
                await self.pf.store.register(entry)
        except StoreError as error:
            say(f"registration not stored: {error}", user=user, call_id=request.call_id)
            await self.pf.signalling.refuse(incoming, 500)
            return
        await self.pf.signalling.respond(incoming, 200, [("Expires", str(seconds))])
        say(f"registered for {seconds} s" if seconds else "de-registered", user=user, call_id=request.call_id)
        if seconds and before is None:
            self.pf.reachable(user)

    def lifetime(self, request: SipRequest) -> int:
        """Seconds of the registration: the Contact's parameter, else Expires, else the default (RFC 3261 10.2.1.1)."""
        value = request.contact[0].param("expires") if request.contact else None
        seconds = parse_number(value, MAX_SECONDS)
        if seconds is None:
            seconds = request.expires
        return DEFAULT_EXPIRES if seconds is None else seconds
