"""A ``message/cpim`` as values: headers with their namespaces and escapes (RFC 3862 2.3.1, 3.4), the content."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from cpmspec.wire.dates import parse_rfc3339
from cpmspec.wire.headers import Headers
from cpmspec.wire.violation import Violation

IMDN_NAMESPACE: Final = "urn:ietf:params:imdn"
#: RFC 3862 3.4, 4: the namespace of the headers without prefix
CPIM_NAMESPACE: Final = "urn:ietf:params:cpim-headers:"

# NS = [ Name-prefix SP ] "<" URI ">"
NS: Final = re.compile(r"(?:([^\s<>]+) +)?<([^<>]*)>")
# Escape = "\" ( "u" 4(HEXDIG) / "b" / "t" / "n" / "r" / DQUOTE / "'" / "\" )
_ESCAPE = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|(.))", re.DOTALL)
_ESCAPES = {"b": "\b", "t": "\t", "n": "\n", "r": "\r"}
_NEEDS_ESCAPE = re.compile(r"[\x00-\x1f\x7f\\]")
_SHORT = {"\b": r"\b", "\t": r"\t", "\n": r"\n", "\r": r"\r", "\\": r"\\"}


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
class Resolved:
    """A message header with the namespace that its prefix, or the lack of one, stands for at its place."""

    namespace: str | None  #: ``None``: the prefix is not declared before
    name: str  #: without the prefix
    header: CpimHeader
    offset: int
    required: tuple[tuple[str | None, str], ...] = ()  #: namespace and name of each header that a Require names


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
        found = (one.header.value for one in self.resolved() if (one.namespace, one.name) == (namespace, name))
        return next(found, None)

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

    @property
    def required(self) -> tuple[tuple[str | None, str], ...]:
        """Namespace and name of the headers that a reader has to understand, or refuse it all (RFC 3862 3.5)."""
        return tuple(name for one in self.resolved() for name in one.required)

    def resolved(self) -> Iterator[Resolved]:
        """Each header with its namespace; a prefix counts from its declaration on (RFC 3862 3.4)."""
        known = {"": CPIM_NAMESPACE}
        offset = 0
        for header in self.headers:
            namespace, name = _resolve(header.name, known)
            required: tuple[tuple[str | None, str], ...] = ()
            if header.name == "NS":
                # whatever the default namespace is: else it could never be changed back
                namespace = CPIM_NAMESPACE
                if match := NS.fullmatch(header.value):
                    known[match[1] or ""] = match[2]
            elif (namespace, name) == (CPIM_NAMESPACE, "Require"):
                required = tuple(_resolve(one.strip(), known) for one in header.value.split(","))
            yield Resolved(namespace, name, header, offset, required)
            offset += len(header.raw)


def _resolve(name: str, known: dict[str, str]) -> tuple[str | None, str]:
    prefix, dot, local = name.partition(".")
    return (known.get(prefix), local) if dot else (known[""], name)


def escape(text: str) -> str:
    r"""Any text as a header value: backslashes and control characters written as RFC 3862 2.3.1 has it."""
    return _NEEDS_ESCAPE.sub(lambda match: _SHORT.get(match[0], f"\\u{ord(match[0]):04x}"), text)


def _unescaped(match: re.Match[str]) -> str:
    if match[1]:
        return chr(int(match[1], 16))
    return _ESCAPES.get(match[2], match[2])
