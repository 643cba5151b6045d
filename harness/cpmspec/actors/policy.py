"""What the SIP/IP core does for one user besides routing: which leg towards the PF, what it holds, loses or delays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from cpmspec.actors.routing import identities
from cpmspec.wire.sip import SipRequest, SipResponse
from cpmspec.wire.uri import aor


@dataclass(frozen=True, slots=True)
class Policy:
    """How the core treats one user's traffic.

    ``transport`` and ``family`` choose the leg towards the PF. A rule of ``drop`` and ``delay`` reads ``to-client
    MESSAGE`` or ``to-iut BYE`` for requests, ``to-iut INVITE 2xx`` for responses (class, or a status such as ``200``);
    delays are in seconds. ``hold_2xx`` keeps the 2xx of the client to an INVITE from crossing to the PF until released.
    """

    transport: str = "udp"  #: udp, tcp or tls
    family: int = 4  #: 4 or 6
    hold_2xx: bool = False
    drop: tuple[str, ...] = ()
    delay: tuple[tuple[str, float], ...] = ()

    @property
    def key(self) -> str:
        """The key of the leg: ``udp``, ``tls6`` and so on."""
        return self.transport + ("6" if self.family == 6 else "")

    def drops(self, message: SipRequest | SipResponse, *, to_iut: bool) -> bool:
        """Whether a message is lost."""
        return any(_matches(rule, message, to_iut=to_iut) for rule in self.drop)

    def delay_of(self, message: SipRequest | SipResponse, *, to_iut: bool) -> float:
        """Seconds by which a message is late."""
        return next((seconds for rule, seconds in self.delay if _matches(rule, message, to_iut=to_iut)), 0.0)

    def to_json(self) -> dict[str, Any]:
        """A plain JSON object."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Policy:
        """The inverse of :meth:`to_json`.

        :raises TypeError: a key is unknown.
        """
        plain = dict(value)
        plain["drop"] = tuple(plain.get("drop", ()))
        plain["delay"] = tuple((str(rule), float(seconds)) for rule, seconds in plain.get("delay", ()))
        return cls(**plain)


def _matches(rule: str, message: SipRequest | SipResponse, *, to_iut: bool) -> bool:
    """Whether a rule speaks of a message in that direction."""
    direction, method, *status = rule.split()
    if (direction == "to-iut") != to_iut:
        return False
    if isinstance(message, SipRequest):
        return not status and message.method == method
    if not status or message.cseq is None or message.cseq.method != method:
        return False
    code = str(message.status)
    return status[0] in (code, f"{code[0]}xx")


class Policies:
    """The policies of all users, looked up by identity."""

    def __init__(self) -> None:
        self._by_user: dict[str, Policy] = {}

    def __getitem__(self, user: str) -> Policy:
        return self._by_user.get(aor(user), Policy())

    def __setitem__(self, user: str, policy: Policy) -> None:
        self._by_user[aor(user)] = policy

    def owner(self, message: SipRequest | SipResponse) -> str | None:
        """The first identity in a message that has a policy of its own."""
        return next((key for key in identities(message) if key in self._by_user), None)

    def of(self, message: SipRequest | SipResponse) -> Policy:
        """The policy that a message falls under."""
        return self._by_user.get(self.owner(message) or "", Policy())
