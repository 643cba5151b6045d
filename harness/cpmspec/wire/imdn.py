"""``message/imdn+xml``: what became of a message (RFC 5438 11).

A document type declaration ends the reading, so no entity is ever expanded.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal
from xml.parsers import expat

from cpmspec.wire.section import shown
from cpmspec.wire.violation import Violation

MEDIA_TYPE = "message/imdn+xml"
NAMESPACE = "urn:ietf:params:xml:ns:imdn"
#: octets of a notification that are read: real ones are below 1 KB
MAX_IMDN = 65_536

# RFC 5438 11.1.8, 11.1.9: <delivery-notification>, <display-notification>, <processing-notification>
_KINDS: dict[str, Literal["delivery", "display", "processing"]] = {
    "delivery-notification": "delivery",
    "display-notification": "display",
    "processing-notification": "processing",
}
_TEXTS = ("message-id", "datetime", "recipient-uri", "original-recipient-uri", "subject")


@dataclass(frozen=True, slots=True)
class Imdn:
    """A disposition notification; texts are '' if absent."""

    message_id: str
    kind: Literal["", "delivery", "display", "processing"]
    status: str  #: ``delivered``, ``displayed``, ``processed``, ``stored``, ``failed``, ``forbidden``, ``error``
    date_time: str = ""
    recipient_uri: str = ""
    original_recipient_uri: str = ""
    subject: str = ""
    violations: tuple[Violation, ...] = ()


def parse_imdn(octets: bytes) -> Imdn:
    """Read a notification; what came before a fault is kept."""
    if len(octets) > MAX_IMDN:
        found = Violation("IMD-5438-11-01", MAX_IMDN, f"{len(octets)} octets", f"at most {MAX_IMDN}")
        return Imdn("", "", "", violations=(found,))
    reader = _Reader()
    reader.read(octets)
    texts = {name: value.strip() for name, value in reader.texts.items()}
    violations = reader.violations
    if not violations and not texts.get("message-id"):
        violations.append(Violation("IMD-5438-11.1.2-01", 0, "no message-id", "the identifier of the message"))
    if not violations and not reader.status:
        violations.append(Violation("IMD-5438-11.1.8-01", 0, "no status", "a notification with a status"))
    return Imdn(
        texts.get("message-id", ""), reader.kind, reader.status, texts.get("datetime", ""),
        texts.get("recipient-uri", ""), texts.get("original-recipient-uri", ""), texts.get("subject", ""),
        tuple(violations),
    )  # fmt: skip


class _DoctypeError(Exception):
    """The document has a document type declaration."""


@dataclass(slots=True)
class _Reader:
    """Collects the elements of RFC 5438 11 from expat's events."""

    texts: dict[str, str] = field(default_factory=dict)
    kind: Literal["", "delivery", "display", "processing"] = ""
    status: str = ""
    violations: list[Violation] = field(default_factory=list)
    path: list[str] = field(default_factory=list)

    def read(self, octets: bytes) -> None:
        # UTF-8 is forced: a declaration of another encoding would have expat look for a codec by the peer's word
        parser = expat.ParserCreate("utf-8", " ")
        parser.StartDoctypeDeclHandler = self.doctype
        parser.StartElementHandler = self.start
        parser.EndElementHandler = self.end
        parser.CharacterDataHandler = self.text
        try:
            parser.Parse(octets, True)
        except expat.ExpatError as error:
            found = expat.errors.messages[error.code]
            self.violations.append(Violation("IMD-5438-11-02", parser.ErrorByteIndex, found, "well-formed XML"))
        except _DoctypeError as error:
            self.violations.append(Violation("IMD-5438-11-03", 0, str(error), "no document type declaration"))

    def doctype(self, name: str, *_: object) -> None:
        raise _DoctypeError(f"document type {shown(name)}")

    def start(self, name: str, _attributes: dict[str, str]) -> None:
        namespace, _, local = name.rpartition(" ")
        if not self.path and (namespace, local) != (NAMESPACE, "imdn"):
            self.violations.append(Violation("IMD-5438-11-04", 0, shown(name), f"imdn of {NAMESPACE}"))
        self.path.append(local if namespace == NAMESPACE else "")
        if len(self.path) == 2 and local in _KINDS:
            self.kind = _KINDS[local]
        elif len(self.path) == 4 and self.path[1] in _KINDS and self.path[2] == "status" and not self.status:
            self.status = local

    def end(self, _name: str) -> None:
        self.path.pop()

    def text(self, data: str) -> None:
        if len(self.path) == 2 and self.path[1] in _TEXTS:
            self.texts[self.path[1]] = self.texts.get(self.path[1], "") + data
