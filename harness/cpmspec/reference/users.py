"""Provisioning: which users the PF serves and how, by pattern, the first match wins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import ClassVar, Literal

from cpmspec.wire.uri import aor

Establishment = Literal["pull", "push"]


@dataclass(frozen=True, slots=True)
class UserRule:
    """``[[users]]``: identities that ``match`` (shell pattern on the public identity) and their settings."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}
    match: str
    history: bool = False
    establishment: Establishment = "pull"


class Users:
    """The provisioned users. Without any rule everybody is served, with the settings of ``default``."""

    def __init__(self, rules: Sequence[UserRule], default: UserRule) -> None:
        self._rules = tuple(rules) or (default,)

    def rule(self, user: str) -> UserRule | None:
        """The settings of ``user`` (an identity as :func:`cpmspec.wire.uri.aor` gives it), ``None``: not served."""
        return next((rule for rule in self._rules if fnmatchcase(user, _pattern(rule.match))), None)

    def served(self, user: str) -> bool:
        """Whether the PF serves that user at all."""
        return self.rule(user) is not None

    def history(self, user: str) -> bool:
        """The user's history recording setting (8.6)."""
        rule = self.rule(user)
        return rule is not None and rule.history

    def pushes(self, user: str) -> bool:
        """Whether the PF sets up the session (push) instead of waiting for the client's INVITE (pull)."""
        rule = self.rule(user)
        return rule is not None and rule.establishment == "push"


def _pattern(match: str) -> str:
    """A pattern with its host in lower case, as identities compare; without a scheme ``sip:`` is meant."""
    whole = match if match.startswith(("*", "sip:", "sips:", "tel:")) else f"sip:{match}"
    name, at, host = whole.partition("@")
    return f"{name}{at}{host.lower()}"


def identity(uri: str) -> str:
    """The key under which a user is known: the address of record without parameters (RFC 3261 19.1.4)."""
    return aor(uri)
