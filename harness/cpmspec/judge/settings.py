"""The interpretations in force: what the profile sets, and what the suite assumes where it is silent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cpmspec.evidence.context import Context
from cpmspec.judge.verdict import Blame, Finding, Verdict
from cpmspec.wire.headers import canonical

# requirements.md "Interpretations": our defaults, each an IXIT entry.
STORED_SIP = (
    "From",
    "To",
    "Date",
    "Subject",
    "Call-ID",
    "Conversation-ID",
    "Contribution-ID",
    "InReplyTo-Contribution-ID",
    "Content-Type",
    "P-Asserted-Identity",
)
STORED_SEND = ("Message-ID", "Content-Type", "Success-Report", "Failure-Report")
FORBIDDEN = (
    "Authorization",
    "Proxy-Authorization",
    "P-Charging-Vector",
    "P-Charging-Function-Addresses",
    "P-Access-Network-Info",
    "To-Path",
    "From-Path",
)
TIMESTAMP_PLACES = ("part:Date",)
KNOWN_TIMESTAMP_PLACES = ("part:Date", "sip:Date", "msrp:Date", "cpim:DateTime")
NOTIFICATIONS = ("message-summary", "notify-summary", "locator", "none")

_DEFAULTS: Mapping[str, Any] = {
    "stored_headers": {"sip": list(STORED_SIP), "send": list(STORED_SEND)},
    "forbidden_headers": list(FORBIDDEN),
    "timestamp_locations": list(TIMESTAMP_PLACES),
    "delivered_means": "200-and-report",
    "notification": "message-summary",
    "notification_locators": {},
    "next_notification": "registration",
    "bye_within": 5.0,
    "history_within": 5.0,
    "quiet_period": 3.0,
    "clock_tolerance": 2.0,
    "msrp_response_timer": 30.0,
}


@dataclass(frozen=True, slots=True)
class Settings:
    """Read access to the IXIT of a trace's context."""

    context: Context

    def value(self, key: str) -> Any:
        """The value of an IXIT entry, our default if the profile says nothing."""
        found = self.context.ixit.get(key)
        return _DEFAULTS[key] if found is None else found

    def us(self, key: str) -> int:
        """A duration of the IXIT in microseconds."""
        return round(float(self.value(key)) * 1_000_000)

    @property
    def late_us(self) -> int:
        """By how much at most a frame of the IUT was read later than it came: what a time alone cannot prove."""
        return self.context.read_late_us

    def explicit(self, key: str) -> bool:
        """Whether the profile sets the entry itself: then a deviation is a failure, not a matter of interpretation."""
        return key in self.context.explicit

    def stored(self, section: str) -> tuple[str, ...]:
        """The names of the headers that count as stored: ``section`` is "sip" or "send"."""
        table = self.value("stored_headers")
        names = table.get(section) if isinstance(table, Mapping) else None
        return tuple(names if names is not None else _DEFAULTS["stored_headers"][section])

    @property
    def forbidden(self) -> frozenset[str]:
        """Canonical names of headers that must not reach the client."""
        return frozenset(canonical(name) for name in self.value("forbidden_headers"))

    def deviation(
        self,
        requirement: str,
        parameter: str,
        reason: str,
        *,
        expected: str = "",
        actual: str = "",
        frames: tuple[int, ...] = (),
    ) -> Finding:
        """A requirement broken under one value of its parameter: ``fail`` if the profile set it, else ``inconc``."""
        if self.explicit(parameter):
            return Finding(requirement, Verdict.FAIL, reason, expected, actual, frames)
        return Finding(
            requirement,
            Verdict.INCONC,
            f"{reason} (under the suite's default of {parameter})",
            expected,
            actual,
            frames,
            Blame.INTERPRETATION,
        )
