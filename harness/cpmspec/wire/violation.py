"""A deviation found on the wire, as data: parsers never raise on a peer's octets."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Violation:
    """One deviation from a grammar or a rule.

    ``id`` names the rule (group, RFC, section, running number, e.g. ``MIM-2046-5.1.1-02``), ``offset`` counts octets
    from the start of the parsed input, ``found`` and ``expected`` are for a human reader.
    """

    id: str
    offset: int
    found: str
    expected: str

    def moved(self, by: int) -> Violation:
        """Return the same violation seen from an enclosing input that starts ``by`` octets earlier."""
        return Violation(self.id, self.offset + by, self.found, self.expected)

    def __str__(self) -> str:
        return f"{self.id} at octet {self.offset}: found {self.found}, expected {self.expected}"
