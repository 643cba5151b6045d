"""What the judge must know beside the frames: whom a case served, what the profile declares, how the case ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class ServedUser:
    """A user whose deferred messages a case observes.

    ``fresh`` tells that nobody sent to this user before; users of static pools are drained, not fresh.
    """

    uri: str
    history: bool
    establishment: str  #: "pull" or "push"
    account: str  #: the account at the message store
    fresh: bool = True


@dataclass(frozen=True, slots=True)
class Submission:
    """What an originator was told to send: for the reader, and to find our own mistakes."""

    user: str
    mode: str  #: "pager" or "large"
    call_id: str
    content_type: str
    size: int  #: octets of the content
    sha256: str  #: of the content, hexadecimal


@dataclass(frozen=True, slots=True)
class Context:
    """Everything about a case that is not octets on a wire. JSON in, JSON out; no judgement in it."""

    case: str
    purposes: tuple[str, ...]
    users: tuple[ServedUser, ...] = ()
    psi: str = ""
    pics: Mapping[str, bool] = field(default_factory=dict)
    ixit: Mapping[str, Any] = field(default_factory=dict)
    explicit: tuple[str, ...] = ()  #: IXIT entries that the profile sets itself
    binds: tuple[str, ...] = ()  #: interpretations (class D ids) that bind this IUT
    sent: tuple[Submission, ...] = ()
    declared: tuple[str, ...] = ()  #: what the harness did wrong on purpose
    iut: tuple[str, ...] = ()  #: hosts the IUT sends from
    aborted: str | None = None  #: why the case did not reach its end, for a reader
    blame: str | None = None  #: "environment", "preamble" or "iut" where ``aborted`` is set
    iut_gone_us: int | None = None  #: when the IUT was seen to have vanished
    closed_us: int | None = None  #: when the closing ended; None before it: the verdict is provisional
    read_late_us: int = 0  #: by how much at most a frame of the IUT was read later than it came, in microseconds

    def to_json(self) -> dict[str, Any]:
        """A plain JSON object."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Context:
        """The inverse of :meth:`to_json`.

        :raises TypeError: a key is unknown or a required one is missing.
        """
        plain = dict(value)
        plain["users"] = tuple(ServedUser(**user) for user in plain.get("users", ()))
        plain["sent"] = tuple(Submission(**sent) for sent in plain.get("sent", ()))
        for key in ("purposes", "explicit", "binds", "declared", "iut"):
            plain[key] = tuple(plain.get(key, ()))
        return cls(**plain)
