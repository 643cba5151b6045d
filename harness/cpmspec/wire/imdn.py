"""``message/imdn+xml``: what became of a message (RFC 5438 11).

A document type declaration ends the reading, so no entity is ever expanded, and nothing is ever fetched.

===================== ===========================================================================
IMD-5438-11-02        well-formed XML
IMD-5438-11-03        no document type declaration (an interpretation)
IMD-5438-11-04        the root element: imdn of its namespace
IMD-5438-11-05        an encoding that each XML parser reads, UTF-8 or UTF-16 (an interpretation)
IMD-5438-11.1-01      message-id
IMD-5438-11.1-02, -03 datetime; its form
IMD-5438-11.1-04      a notification with a status
IMD-5438-11.1-05      a status that its kind of notification has
IMD-5438-11.1-06, -07 the form of recipient-uri; of original-recipient-uri
IMD-5438-11.1-08      recipient-uri and original-recipient-uri, or neither (an interpretation)
IMD-5438-11.1-09      each element once
IMD-LIMIT-01, -02     limits of ours: octets, levels of elements
===================== ===========================================================================
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Literal
from xml.parsers import expat
from xml.sax.saxutils import escape

from cpmspec.wire.dates import parse_rfc3339
from cpmspec.wire.section import shown
from cpmspec.wire.violation import Violation

MEDIA_TYPE: Final = "message/imdn+xml"
NAMESPACE: Final = "urn:ietf:params:xml:ns:imdn"
MAX_IMDN: Final = 65_536  #: octets of a notification that are read: real ones are below 1 KB
MAX_LEVELS: Final = 32  #: levels of elements that are read: RFC 5438 has four, extensions some more

Kind = Literal["", "delivery", "display", "processing"]

# <delivery-notification>, <display-notification>, <processing-notification>
_KINDS: dict[str, Kind] = {
    "delivery-notification": "delivery",
    "display-notification": "display",
    "processing-notification": "processing",
}
_COMMON = ("forbidden", "error")
_STATUSES: dict[Kind, tuple[str, ...]] = {
    "delivery": ("delivered", "failed", *_COMMON),
    "display": ("displayed", *_COMMON),
    "processing": ("processed", "stored", *_COMMON),
}
_TEXTS = ("message-id", "datetime", "recipient-uri", "original-recipient-uri", "subject")
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:\S+")
# XMLDecl ::= '<?xml' VersionInfo EncodingDecl? ... (XML 1.0 2.8); those of one octet are all read as ISO-8859-1
_DECLARED = rb"<\?xml\s[^>]{0,100}?encoding\s{0,9}=\s{0,9}[\"']"
_ONE_OCTET = re.compile(_DECLARED + rb"(iso-8859-[0-9]{1,2}|windows-125[0-9])[\"']", re.IGNORECASE)
# Char ::= #x9 | #xA | #xD | [#x20-#xD7FF] | [#xE000-#xFFFD] | [#x10000-#x10FFFF] (XML 1.0 2.2)
_NOT_XML = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True)
class Imdn:
    """A disposition notification; texts are '' if absent."""

    message_id: str
    kind: Kind
    status: str  #: ``delivered``, ``displayed``, ``processed``, ``stored``, ``failed``, ``forbidden``, ``error``
    date_time: str = ""
    recipient_uri: str = ""
    original_recipient_uri: str = ""
    subject: str = ""
    violations: tuple[Violation, ...] = ()
    raw: bytes = b""

    def octets(self) -> bytes:
        """The octets as received."""
        return self.raw


def parse_imdn(octets: bytes) -> Imdn:
    """Read a notification; what came before a fault is kept."""
    if len(octets) > MAX_IMDN:
        found = Violation("IMD-LIMIT-01", MAX_IMDN, f"{len(octets)} octets", f"at most {MAX_IMDN}")
        return Imdn("", "", "", violations=(found,), raw=octets)
    reader = _Reader()
    reader.read(octets)
    texts = {name: value.strip() for name, value in reader.texts.items()}
    violations = reader.violations
    if not reader.broken:
        violations += _rules(reader, texts)
        violations.sort(key=lambda violation: violation.offset)
    return Imdn(
        texts.get("message-id", ""), reader.kind, reader.status, texts.get("datetime", ""),
        texts.get("recipient-uri", ""), texts.get("original-recipient-uri", ""), texts.get("subject", ""),
        tuple(violations), octets,
    )  # fmt: skip


def build_imdn(
    message_id: str, kind: Kind, status: str, date_time: str, *, recipient_uri: str = "",
    original_recipient_uri: str = "", subject: str = "",
) -> bytes:  # fmt: skip
    """Build a notification; what is to be wrong on purpose is best written as octets.

    :raises ValueError: no status of that kind, a character that XML does not have, or anything else that
        :func:`parse_imdn` would report.
    """
    if status not in _STATUSES.get(kind, ()):
        raise ValueError(f"{kind!r} has no status {status!r}")
    values = (message_id, date_time, recipient_uri, original_recipient_uri, subject)
    if wrong := [value for value in values if _NOT_XML.search(value)]:
        raise ValueError(f"a character that XML does not have in {wrong[0]!r}")
    texts = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in zip(_TEXTS, values, strict=True) if value)
    notification = f"<{kind}-notification><status><{status}/></status></{kind}-notification>"
    document = f'<?xml version="1.0" encoding="UTF-8"?>\r\n<imdn xmlns="{NAMESPACE}">{texts}{notification}</imdn>\r\n'
    octets = document.encode()
    if violations := parse_imdn(octets).violations:
        raise ValueError(str(violations[0]))
    return octets


def _rules(reader: _Reader, texts: dict[str, str]) -> Iterator[Violation]:
    """What RFC 5438 11.1 asks of a document that could be read."""
    if not texts.get("message-id"):
        yield Violation("IMD-5438-11.1-01", 0, "no message-id", "the identifier of the message")
    date_time = texts.get("datetime")
    if not date_time:
        yield Violation("IMD-5438-11.1-02", 0, "no datetime", "the time of the message")
    elif parse_rfc3339(date_time) is None:
        yield Violation("IMD-5438-11.1-03", reader.places["datetime"], shown(date_time), "an RFC 3339 date and time")
    if not reader.status:
        yield Violation("IMD-5438-11.1-04", 0, "no status", "a notification with a status")
    elif reader.status not in _STATUSES.get(reader.kind, ()):
        expected = f"one of {', '.join(_STATUSES.get(reader.kind, ()))}"
        yield Violation("IMD-5438-11.1-05", reader.places["status"], shown(reader.status), expected)
    for rule, name in (("IMD-5438-11.1-06", "recipient-uri"), ("IMD-5438-11.1-07", "original-recipient-uri")):
        if name in texts and _URI.fullmatch(texts[name]) is None:
            yield Violation(rule, reader.places[name], shown(texts[name]), "a URI")
    if ("recipient-uri" in texts) != ("original-recipient-uri" in texts):
        yield Violation("IMD-5438-11.1-08", 0, "one of two URIs", "recipient-uri and original-recipient-uri")


class _StopError(Exception):
    """The document is not read any further."""

    def __init__(self, rule: str, found: str, expected: str) -> None:
        super().__init__(found)
        self.rule, self.found, self.expected = rule, found, expected


@dataclass(slots=True)
class _Reader:
    """Collects the elements of RFC 5438 11 from expat's events."""

    texts: dict[str, str] = field(default_factory=dict)
    kind: Kind = ""
    status: str = ""
    violations: list[Violation] = field(default_factory=list)
    places: dict[str, int] = field(default_factory=dict)
    path: list[str] = field(default_factory=list)
    broken: bool = False
    at: int = 0  #: the octet at which the element begins that is being read

    def read(self, octets: bytes) -> None:
        # an encoding is forced: another one that is declared would have expat look for a codec by the peer's word; of a
        # byte order mark expat makes out UTF-16 by itself
        other = _ONE_OCTET.match(octets)
        if other is not None:
            found = shown(other[1].decode("ascii"))
            self.violations.append(Violation("IMD-5438-11-05", 0, found, "UTF-8, or UTF-16"))
        parser = expat.ParserCreate("utf-8" if other is None else "iso-8859-1", " ")

        def start(name: str, _attributes: dict[str, str]) -> None:
            self.at = parser.CurrentByteIndex
            self.start(name)

        parser.StartDoctypeDeclHandler = self.doctype
        parser.StartElementHandler = start
        parser.EndElementHandler = self.end
        parser.CharacterDataHandler = self.text
        try:
            parser.Parse(octets, True)
        except expat.ExpatError as error:
            at = max(parser.ErrorByteIndex, 0)  # -1 where there is nothing at all
            self.wrong("IMD-5438-11-02", at, expat.errors.messages[error.code], "well-formed XML")
        except _StopError as stop:
            self.wrong(stop.rule, self.at, stop.found, stop.expected)

    def wrong(self, rule: str, offset: int, found: str, expected: str) -> None:
        self.violations.append(Violation(rule, offset, found, expected))
        self.broken = True

    def doctype(self, name: str, *_: object) -> None:
        raise _StopError("IMD-5438-11-03", f"document type {shown(name)}", "no document type declaration")

    def start(self, name: str) -> None:
        namespace, _, local = name.rpartition(" ")
        if not self.path and (namespace, local) != (NAMESPACE, "imdn"):
            self.wrong("IMD-5438-11-04", self.at, shown(name), f"imdn of {NAMESPACE}")
        known = namespace == NAMESPACE
        self.path.append(local if known else "")
        if len(self.path) > MAX_LEVELS:
            raise _StopError("IMD-LIMIT-02", f"more than {MAX_LEVELS} levels", "fewer")
        if len(self.path) == 2 and local in _KINDS and known:
            self.once("notification")
            self.kind = self.kind or _KINDS[local]
        elif len(self.path) == 2 and local in _TEXTS and known:
            self.once(local)
            self.texts.setdefault(local, "")
        elif len(self.path) == 4 and self.path[1] in _KINDS and self.path[2] == "status" and known:
            self.once("status")
            self.status = self.status or local

    def once(self, what: str) -> None:
        if self.places.setdefault(what, self.at) != self.at:
            self.violations.append(Violation("IMD-5438-11.1-09", self.at, f"{what} again", "once"))

    def end(self, _name: str) -> None:
        self.path.pop()

    def text(self, data: str) -> None:
        if len(self.path) == 2 and self.path[1] in _TEXTS:
            self.texts[self.path[1]] += data
