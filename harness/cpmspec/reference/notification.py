"""The Deferred CPM Message notification: a SIP MESSAGE with a message summary (RFC 3428, RFC 3842 5.2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cpmspec.reference import message as views
from cpmspec.reference.log import say
from cpmspec.reference.store import DeferredMessage, Mode
from cpmspec.wire.sip import SipRequest
from cpmspec.wire.summary import Count, build_summary

if TYPE_CHECKING:
    from cpmspec.reference.pf import Pf

CONTENT_TYPE = "application/simple-message-summary"
LARGEST = 1300
"""Octets of a request whose path may hold a transport without congestion control (RFC 3428 8)."""
ROOM_FOR_VIA = 200
"""Octets that the Via of the PF and what proxies add may take of it."""

Detail = tuple[tuple[str, str], ...]


class Notification:
    """Tells a user what waits for him: when he registers, not when he refreshes."""

    def __init__(self, pf: Pf) -> None:
        self.pf = pf
        self._pending: set[str] = set()

    def on_reachable(self, user: str) -> None:
        """The user has registered, or a message was deferred although he is registered."""
        if self.pf.config.delivery.notify != "none":
            self.pf.tasks.start(self.notify(user), "notification")

    def on_session_ended(self, user: str) -> None:
        """A delivery session is over; what it left is told at once only where that is configured."""
        if self.pf.config.delivery.notify == "after-session" and self.pf.registrations.find(user) is not None:
            self.pf.tasks.start(self.notify(user), "notification")

    async def notify(self, user: str) -> bool:
        """Send one notification if anything waits; never a second one while one is pending (RFC 3428 8).

        Tells whether a 2xx came. Without one the next registration brings the next notification.
        """
        messages = self.to_announce(user)
        if not messages or user in self._pending:
            return False
        self._pending.add(user)
        try:
            request = self.request(user, messages)
            status = await self.pf.signalling.final_status(request)
        finally:
            self._pending.discard(user)
        say(f"notified of {len(messages)} message(s): {status}", user=user, call_id=request.call_id)
        return 200 <= status < 300

    def to_announce(self, user: str) -> Sequence[DeferredMessage]:
        """The messages that a notification covers: all that wait."""
        return self.pf.store.waiting(user, self.pf.now())

    def request(self, user: str, messages: Sequence[DeferredMessage]) -> SipRequest:
        """The notification, with as many details as fit; the counts are right in any case."""
        full = [self.details(message) for message in messages]
        brief = [tuple(pair for pair in detail if pair[0] == "Message-ID") for detail in full]
        request = self._built(user, messages, full)
        if not self._fits(request):
            request = self._built(user, messages, brief)
        while brief and not self._fits(request):
            brief = brief[: len(brief) * 3 // 4]
            request = self._built(user, messages, brief)
        return request

    def compose(self, messages: Sequence[DeferredMessage], details: Sequence[Detail]) -> bytes:
        """The summary: how many of each kind wait, and the details given."""
        kinds = {"Pager-Message": Mode.PAGER, "Multimedia-Message": Mode.LARGE}
        numbers = ((name, sum(message.mode is mode for message in messages)) for name, mode in kinds.items())
        return build_summary([Count(name, number, 0) for name, number in numbers if number], details)

    def details(self, message: DeferredMessage) -> Detail:
        """What is told of one message: To, From, Subject, Date, Message-ID."""
        headers = views.sip_headers(message)
        return tuple(
            (name, value)
            for name, value in (
                ("To", views.address(headers.get("to"))),
                ("From", views.address(headers.get("from"))),
                ("Subject", headers.get("subject")),
                ("Date", headers.get("date") or views.receipt_date(message)),
                ("Message-ID", views.identifier(message, self.pf.store.content(message))),
            )
            if value
        )

    def _built(self, user: str, messages: Sequence[DeferredMessage], details: Sequence[Detail]) -> SipRequest:
        body = self.compose(messages, details)
        return self.pf.signalling.originate("MESSAGE", user, [("Content-Type", CONTENT_TYPE)], body)

    def _fits(self, request: SipRequest) -> bool:
        return len(request.octets()) + ROOM_FOR_VIA <= LARGEST
