"""``message/cpim``: message headers, MIME headers, content (RFC 3862), with the IMDN namespace of RFC 5438.

Nothing is ever changed: headers keep their octets, case and escapes count.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from cpmspec.wire.dates import parse_rfc3339
from cpmspec.wire.headers import Headers, decode, encode
from cpmspec.wire.section import Defect, Fault, next_line, parse_section, shown
from cpmspec.wire.violation import Violation

MEDIA_TYPE = "message/cpim"
IMDN_NAMESPACE = "urn:ietf:params:imdn"
#: RFC 3862 3.4, 4: the namespace of the headers without prefix
CPIM_NAMESPACE = "urn:ietf:params:cpim-headers:"

# RFC 3862 3.6: Header = Header-name ":" *( ";" Parameter ) SP Header-value CRLF
# Header-name = [ Name-prefix "." ] Name
_HEADER = re.compile(r"([^\s:;]+):((?:;[^\s;]+)*) (\S(?:.*\S)?)?", re.ASCII)
_ESCAPE = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|(.))", re.DOTALL)
_ESCAPES = {"b": "\b", "t": "\t", "n": "\n", "r": "\r"}
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
# NS = [ Name-prefix SP ] "<" URI ">"
_NS = re.compile(r"(?:([^\s<>]+) +)?<([^<>]*)>")

_MIME_FAULTS = {
    Fault.LINE_END: ("2.4-02", "CRLF"),
    Fault.UNTERMINATED: ("2-02", "an empty line after the MIME headers"),
    Fault.NO_COLON: ("2.4-03", "a MIME header"),
    Fault.NAME: ("2.4-03", "a MIME header name"),
    Fault.CONTROL: ("2.4-04", "no CR or NUL inside a line"),
}


@dataclass(frozen=True, slots=True)
class CpimHeader:
    """One message header: name as written (with its prefix), value as written, octets; '' as name: unreadable."""

    name: str
    value: str
    raw: bytes
    params: str = ""  #: with the leading semicolon, such as ``;lang=fr``

    @property
    def text(self) -> str:
        r"""The value with its escapes undone (RFC 3862 2.3.1): ``\n``, ``\uXXXX`` and their like."""
        return _ESCAPE.sub(_unescaped, self.value)


@dataclass(frozen=True, slots=True)
class Cpim:
    """A CPIM message as read; ``separators`` are the two raw empty lines."""

    headers: tuple[CpimHeader, ...]
    namespaces: dict[str, str]  #: prefix -> URI, '' is the default one
    mime_headers: Headers
    content: bytes
    violations: tuple[Violation, ...] = ()
    separators: tuple[bytes, bytes] = (b"\r\n", b"\r\n")

    def octets(self) -> bytes:
        """The octets as received."""
        first, second = self.separators
        headers = b"".join(header.raw for header in self.headers)
        return b"".join((headers, first, self.mime_headers.octets(), second, self.content))

    def get(self, name: str) -> str | None:
        """The value of the first header of exactly that name, prefix included (RFC 3862 2.2), or ``None``."""
        return next((header.value for header in self.headers if header.name == name), None)

    def find(self, namespace: str, name: str) -> str | None:
        """The value of the first header of that name in a namespace, whatever its prefix is, or ``None``."""
        return next((value for uri, local, value in self._resolved() if (uri, local) == (namespace, name)), None)

    @property
    def content_type(self) -> str | None:
        """The Content-Type of the content."""
        return self.mime_headers.get("content-type")

    @property
    def imdn_message_id(self) -> str | None:
        """The IMDN Message-ID (RFC 5438 6.3); the prefix ``imdn`` is understood undeclared, too."""
        found = self.find(IMDN_NAMESPACE, "Message-ID")
        return self.get("imdn.Message-ID") if found is None and "imdn" not in self.namespaces else found

    @property
    def disposition(self) -> str | None:
        """The IMDN Disposition-Notification (RFC 5438 6.2)."""
        found = self.find(IMDN_NAMESPACE, "Disposition-Notification")
        return self.get("imdn.Disposition-Notification") if found is None and "imdn" not in self.namespaces else found

    @property
    def date_time(self) -> datetime | None:
        """DateTime (RFC 3862 4.4), ``None`` if absent or not RFC 3339."""
        value = self.get("DateTime")
        return None if value is None else parse_rfc3339(value)

    def _resolved(self) -> Iterator[tuple[str, str, str]]:
        """Namespace, local name and value of each header; a prefix counts from its declaration on (RFC 3862 3.4)."""
        known: dict[str, str] = {"": CPIM_NAMESPACE}
        for header in self.headers:
            if header.name == "NS" and (match := _NS.fullmatch(header.value)):
                known[match[1] or ""] = match[2]
                continue
            prefix, dot, local = header.name.partition(".")
            if not dot:
                prefix, local = "", header.name
            yield known.get(prefix, ""), local, header.value


# Message = *Header CRLF ; an empty line
#           *MIME-header CRLF ; an empty line
#           content
def parse_cpim(octets: bytes) -> Cpim:
    """Read a ``message/cpim`` body."""
    headers: list[CpimHeader] = []
    violations: list[Violation] = []
    position, separator = 0, b""
    while position < len(octets):
        line, content = next_line(octets, position)
        if not line.endswith(b"\r\n"):
            violations.append(_violation("2.2-01", position + len(content), shown(decode(line[-1:])), "CRLF"))
        if not content:
            separator = line
            position += len(line)
            break
        headers.append(_header(line, decode(content), position, violations))
        position += len(line)
    if not separator:
        violations.append(_violation("2-01", position, "the end of the octets", "an empty line after the headers"))
        return Cpim(tuple(headers), _namespaces(headers), Headers(), b"", tuple(violations), (b"", b""))
    section = parse_section(octets, position)
    violations += [_of_defect(defect) for defect in section.defects]
    if section.headers.get("content-type") is None:
        violations.append(_violation("2.4-01", position, "no Content-Type", "Content-Type of the content"))
    violations += _header_rules(headers)
    separators = (separator, section.separator)
    content = octets[section.end :]
    return Cpim(tuple(headers), _namespaces(headers), section.headers, content, tuple(violations), separators)


def build_cpim(
    from_: str, to: str, content: bytes, content_type: str, *, date_time: str | None = None,
    imdn_message_id: str | None = None, disposition: str | None = None, extra: Iterable[tuple[str, str]] = (),
) -> bytes:  # fmt: skip
    """Build a ``message/cpim`` body.

    ``from_`` and ``to`` are URIs or ``display <uri>``; ``date_time`` is RFC 3339; ``disposition`` such as
    ``positive-delivery``; ``extra`` goes after the other message headers.

    :raises ValueError: a control character in a header.
    """
    headers = [("From", _address(from_)), ("To", _address(to))]
    if imdn_message_id is not None or disposition is not None:
        headers.append(("NS", f"imdn <{IMDN_NAMESPACE}>"))
    if date_time is not None:
        headers.append(("DateTime", date_time))
    if imdn_message_id is not None:
        headers.append(("imdn.Message-ID", imdn_message_id))
    if disposition is not None:
        headers.append(("imdn.Disposition-Notification", disposition))
    headers.extend(extra)
    for name, value in headers:
        if _CONTROL.search(name + value):
            raise ValueError(f"a control character in {name}: {value!r}")
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
    return b"".join((encode(lines), b"\r\n", Headers.of(("Content-Type", content_type)).octets(), b"\r\n", content))


def _address(text: str) -> str:
    return text if "<" in text else f"<{text}>"


def _header(line: bytes, text: str, offset: int, violations: list[Violation]) -> CpimHeader:
    """One header line, read strictly, then leniently."""
    control = _CONTROL.search(text)
    if control is not None:
        violations.append(_violation("2.2-04", offset, shown(control[0]), "no control character"))
    match = _HEADER.fullmatch(text)
    if match is not None:
        return CpimHeader(match[1], match[3] or "", line, match[2])
    name, colon, value = text.partition(":")
    if not colon or text[0] in " \t":
        violations.append(_violation("2.2-02", offset, shown(text), "a name, a colon, a space and a value on one line"))
        return CpimHeader("", text, line)
    violations.append(_violation("2.2-03", offset, shown(text), "one space after the colon and none elsewhere around"))
    return CpimHeader(name.strip(" \t"), value.strip(" \t"), line)


def _namespaces(headers: Iterable[CpimHeader]) -> dict[str, str]:
    found: dict[str, str] = {}
    for header in headers:
        if header.name == "NS" and (match := _NS.fullmatch(header.value)):
            found[match[1] or ""] = match[2]
    return found


def _header_rules(headers: Iterable[CpimHeader]) -> list[Violation]:
    """Prefixes before their declaration (RFC 3862 3.4), NS and DateTime that cannot be read (4.6, 4.4)."""
    violations: list[Violation] = []
    declared: set[str] = set()
    offset = 0
    for header in headers:
        prefix, dot, _ = header.name.partition(".")
        if header.name == "NS":
            match = _NS.fullmatch(header.value)
            if match is None:
                violations.append(_violation("4.6-01", offset, shown(header.value), "an optional prefix and <URI>"))
            else:
                declared.add(match[1] or "")
        elif dot and prefix not in declared:
            violations.append(_violation("3.4-01", offset, shown(header.name), "the prefix declared by NS before"))
        elif header.name == "DateTime" and parse_rfc3339(header.value) is None:
            violations.append(_violation("4.4-01", offset, shown(header.value), "an RFC 3339 date and time"))
        offset += len(header.raw)
    return violations


def _unescaped(match: re.Match[str]) -> str:
    if match[1]:
        return chr(int(match[1], 16))
    return _ESCAPES.get(match[2], match[2])


def _of_defect(defect: Defect) -> Violation:
    rule, expected = _MIME_FAULTS[defect.fault]
    return _violation(rule, defect.offset, defect.found, expected)


def _violation(rule: str, offset: int, found: str, expected: str) -> Violation:
    return Violation(f"CPI-3862-{rule}", offset, found, expected)
