"""Whose frame is it: the lab attributes what crosses the core and the message store to the case that owns the user.

SIP frames by To, From, P-Asserted-Identity, P-Served-User and Request-URI (compared as addresses of record), in a
dialog by Call-ID once that is learnt; store frames by account. A frame may belong to several cases: a message that
reaches the wrong user is evidence for both.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

from cpmspec.evidence.trace import Frame, Kind
from cpmspec.wire.sip import SipRequest, SipResponse, SipUnreadable, parse_message
from cpmspec.wire.uri import aor

SipMessage = SipRequest | SipResponse | SipUnreadable

IDENTITY_HEADERS = ("to", "from", "p-asserted-identity", "p-served-user")
CALL_IDS_KEPT = 200_000


class Ownership:
    """Who owns which user, account, dialog and connection; owners are case ids."""

    def __init__(self) -> None:
        self._users: dict[str, str] = {}
        self._former: dict[str, set[str]] = {}
        self._accounts: dict[str, str] = {}
        self._calls: OrderedDict[str, tuple[str, ...]] = OrderedDict()
        self._connections: dict[int, dict[str, None]] = {}
        self._last: dict[tuple[int, bool], tuple[str, ...]] = {}

    def own(self, case: str, users: Iterable[str], accounts: Iterable[str] = ()) -> None:
        """Give users (any form of URI) and accounts of the store to a case; a former owner loses them."""
        for user in users:
            key = aor(user)
            previous = self._users.get(key)
            if previous is not None and previous != case:
                self._former.setdefault(key, set()).add(previous)
            self._users[key] = case
        for account in accounts:
            self._accounts[account] = case

    def disown(self, case: str) -> None:
        """A case is closed: what comes for its users from now on belongs to nobody."""
        for key in [key for key, owner in self._users.items() if owner == case]:
            del self._users[key]
        for account in [account for account, owner in self._accounts.items() if owner == case]:
            del self._accounts[account]
        for call_id in [call_id for call_id, owners in self._calls.items() if case in owners]:
            del self._calls[call_id]

    def of_account(self, account: str | None) -> tuple[str, ...]:
        """The owner of an account of the store."""
        owner = self._accounts.get(account or "")
        return () if owner is None else (owner,)

    def of_frame(self, frame: Frame, message: SipMessage | None = None) -> tuple[str, ...]:
        """The owners of a SIP frame, in a stable order; none if nobody owns it. ``message`` saves parsing it again.

        The end of a connection belongs to every case that the connection carried messages of.
        """
        if frame.kind is not Kind.DATA:
            owners = tuple(self._connections.get(frame.connection, ()))
            if frame.kind in (Kind.CLOSE, Kind.RESET):
                self._connections.pop(frame.connection, None)
            return owners
        owners = self._of_message(frame, parse_message(frame.octets) if message is None else message)
        if frame.connection:
            self._connections.setdefault(frame.connection, {}).update(dict.fromkeys(owners))
            self._last[frame.connection, frame.from_iut] = owners
        return owners

    def _of_message(self, frame: Frame, message: SipMessage) -> tuple[str, ...]:
        if isinstance(message, SipUnreadable):
            named = tuple(dict.fromkeys(self._named_in(frame.octets)))
            return named or self._last.get((frame.connection, frame.from_iut), ())
        identities = {aor(value) for name in IDENTITY_HEADERS for value in _uris(message.headers.values(name))}
        if isinstance(message, SipRequest):
            identities.add(aor(message.uri))
        call_id = message.call_id or ""
        owners = dict.fromkeys(self._calls.get(call_id, ()))
        for identity in sorted(identities):
            owner = self._users.get(identity)
            if owner is not None and not self._former.get(identity, set()) & owners.keys():
                owners[owner] = None
        if owners and call_id:
            self._calls[call_id] = tuple(owners)
            while len(self._calls) > CALL_IDS_KEPT:
                self._calls.popitem(last=False)
        return tuple(owners)

    def _named_in(self, octets: bytes) -> Iterable[str]:
        """Owners of users whose URI stands in octets that no parser could read."""
        text = octets.decode("utf-8", "replace").lower()
        return (owner for key, owner in self._users.items() if key in text)


def _uris(values: Iterable[str]) -> Iterable[str]:
    """The URIs of header values in name-addr or addr-spec form (RFC 3261 20.10)."""
    for value in values:
        start = value.find("<")
        end = value.find(">", start)
        yield value[start + 1 : end] if 0 <= start < end else value.split(";", 1)[0].strip()
