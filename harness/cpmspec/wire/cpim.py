"""``message/cpim``: message headers, MIME headers, content (RFC 3862), read and built.

Nothing is ever changed: headers keep their octets, case and escapes count. Violations of the form; those of what the
headers say are in :mod:`cpmspec.wire.cpim_rules`, those of the headers of the content in :mod:`cpmspec.wire.mime_tree`:

================== =====================================================================================
CPI-3862-2-01      an empty line after the message headers
CPI-3862-2-02      an empty line after the MIME headers
CPI-3862-2.2-01    a line of the message headers ends with CRLF
CPI-3862-2.2-02    each of them is a header: a name, a colon, a value, in one line that begins with the name
CPI-3862-2.2-03    exactly one space after the colon, or after the parameters
CPI-3862-2.2-04    no control character
CPI-3862-2.2-05    no white space before the colon
CPI-3862-2.2-06    no white space at the end
CPI-3862-2.4-01    the content has a Content-Type
CPI-3862-2.4-02    a line of the MIME headers ends with CRLF
CPI-3862-2.4-03    each of them is a header
CPI-3862-2.4-04    no CR or NUL inside it
CPI-LIMIT-01 to 03 limits of ours: octets of the message headers, their number, octets of the MIME headers
================== =====================================================================================
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from cpmspec.wire.bounded import MAX_HEADER_OCTETS, MAX_HEADERS, readable
from cpmspec.wire.cpim_message import CPIM_NAMESPACE, IMDN_NAMESPACE, NS, Cpim, CpimHeader, escape
from cpmspec.wire.cpim_rules import cpim_violations
from cpmspec.wire.headers import Headers, decode, encode
from cpmspec.wire.mime import real_defects
from cpmspec.wire.section import Fault, next_line, parse_section, shown
from cpmspec.wire.violation import Violation

__all__ = [
    "CPIM_NAMESPACE", "IMDN_NAMESPACE", "MEDIA_TYPE", "Cpim", "CpimHeader", "build_cpim", "build_unchecked", "escape",
    "parse_cpim",
]  # fmt: skip

MEDIA_TYPE: Final = "message/cpim"

# Header = Header-name ":" *( ";" Parameter ) SP Header-value CRLF (RFC 3862 3.6)
_PARAMS = r'(?:;(?:"(?:[^"\\]|\\.)*"|[^\s;"])*)*'
_HEADER = re.compile(rf"([^\s:;]+):({_PARAMS}) ((?:[^ \t](?:.*[^ \t])?)?)", re.ASCII | re.DOTALL)
_REST = re.compile(rf"({_PARAMS})([ \t]*)(.*)", re.ASCII | re.DOTALL)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")

_MIME_FAULTS = {
    Fault.LINE_END: ("CPI-3862-2.4-02", "CRLF"),
    Fault.UNTERMINATED: ("CPI-3862-2-02", "an empty line after the MIME headers"),
    Fault.NO_COLON: ("CPI-3862-2.4-03", "a MIME header"),
    Fault.NAME: ("CPI-3862-2.4-03", "a MIME header name"),
    Fault.CONTROL: ("CPI-3862-2.4-04", "no CR or NUL inside a line"),
}


# Message = *Header CRLF ; an empty line
#           *MIME-header CRLF ; an empty line
#           content
def parse_cpim(octets: bytes) -> Cpim:
    """Read a ``message/cpim`` body."""
    headers: list[CpimHeader] = []
    wrong: list[Violation] = []
    position, separator = 0, b""
    if not readable(octets):
        wrong.append(_too_long("CPI-LIMIT-01", 0))
        return Cpim((), {}, Headers(), octets, tuple(wrong), (b"", b""))
    while position < len(octets):
        line, content = next_line(octets, position)
        if not line.endswith(b"\r\n"):
            wrong.append(Violation("CPI-3862-2.2-01", position + len(content), shown(decode(line[-1:])), "CRLF"))
        position += len(line)
        if not content:
            separator = line
            break
        headers.append(_header(line, decode(content), position - len(line), wrong))
    if len(headers) > MAX_HEADERS:
        wrong.append(Violation("CPI-LIMIT-02", 0, f"{len(headers)} headers", f"at most {MAX_HEADERS}"))
    read = Cpim(tuple(headers), _namespaces(headers), Headers(), b"", (), (separator, b""))
    if not separator:
        wrong.append(Violation("CPI-3862-2-01", position, "the end of the octets", "an empty line after the headers"))
        return replace(read, violations=tuple(wrong))
    return _with_content(read, octets, position, wrong)


def _with_content(read: Cpim, octets: bytes, position: int, wrong: list[Violation]) -> Cpim:
    """The same with what stands after the message headers, and with all that is wrong."""
    if not readable(octets, position):
        wrong.append(_too_long("CPI-LIMIT-03", position))
        return replace(read, content=octets[position:], violations=tuple(wrong))
    section = real_defects(octets, parse_section(octets, position))
    for defect in section.defects:
        rule, expected = _MIME_FAULTS[defect.fault]
        wrong.append(Violation(rule, defect.offset, defect.found, expected))
    if section.headers.get("content-type") is None:
        wrong.append(Violation("CPI-3862-2.4-01", position, "no Content-Type", "Content-Type of the content"))
    separators = (read.separators[0], section.separator)
    whole = replace(read, mime_headers=section.headers, content=octets[section.end :], separators=separators)
    wrong.extend(cpim_violations(whole))
    return replace(whole, violations=tuple(sorted(wrong, key=lambda violation: violation.offset)))


def _too_long(rule: str, offset: int) -> Violation:
    return Violation(rule, offset, "no end of the headers", f"one within {MAX_HEADER_OCTETS} octets")


def _header(line: bytes, text: str, offset: int, wrong: list[Violation]) -> CpimHeader:
    """One header line, read strictly, then leniently."""
    control = _CONTROL.search(text.strip(" \t"))
    if control is not None:
        wrong.append(Violation("CPI-3862-2.2-04", offset, shown(control[0]), "no control character"))
    match = _HEADER.fullmatch(text)
    if match is not None:
        return CpimHeader(match[1], match[3], line, match[2])
    name, colon, rest = text.partition(":")
    if not colon or text[0] in " \t:":
        expected = "a name, a colon, a space and a value on one line"
        wrong.append(Violation("CPI-3862-2.2-02", offset, shown(text), expected))
        return CpimHeader("", text, line)
    params, gap, value = _REST.fullmatch(rest).groups()  # type: ignore[union-attr]  # each piece may be empty
    for rule, good, expected in (
        ("CPI-3862-2.2-05", name.strip(" \t") == name, "no white space before the colon"),
        ("CPI-3862-2.2-03", gap == " ", "one space after the colon"),
        ("CPI-3862-2.2-06", value.rstrip(" \t") == value, "no white space at the end"),
    ):
        if not good:
            wrong.append(Violation(rule, offset, shown(text), expected))
    return CpimHeader(name.strip(" \t"), value.strip(" \t"), line, params)


def _namespaces(headers: Iterable[CpimHeader]) -> dict[str, str]:
    found: dict[str, str] = {}
    for header in headers:
        if header.name == "NS" and (match := NS.fullmatch(header.value)):
            found[match[1] or ""] = match[2]
    return found


def build_cpim(
    from_: str, to: str, content: bytes, content_type: str, *, date_time: str | None = None,
    imdn_message_id: str | None = None, disposition: str | None = None, extra: Iterable[tuple[str, str]] = (),
    mime: Iterable[tuple[str, str]] = (),
) -> bytes:  # fmt: skip
    """Build a ``message/cpim`` body.

    ``from_`` and ``to`` are URIs or ``display <uri>``; ``date_time`` is RFC 3339; ``disposition`` such as
    ``positive-delivery``; ``extra`` goes after the other message headers, ``mime`` after the Content-Type. Values are
    as they are to stand there: see :func:`~cpmspec.wire.cpim_message.escape` for texts of any characters.

    :raises ValueError: a control character in a header, or anything else that :func:`parse_cpim` would report.
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
    octets = build_unchecked(headers, [Headers.of(("Content-Type", content_type), *mime).octets()], content)
    if wrong := parse_cpim(octets).violations:
        raise ValueError(str(wrong[0]))
    return octets


def build_unchecked(
    headers: Iterable[tuple[str, str] | bytes], mime: Iterable[tuple[str, str] | bytes], content: bytes, *,
    separators: tuple[bytes, bytes] = (b"\r\n", b"\r\n"),
) -> bytes:  # fmt: skip
    """A ``message/cpim`` body with anything wrong on purpose: headers of any names and values, lines of any octets."""
    first, second = (
        b"".join(one if isinstance(one, bytes) else _line(*one) for one in lines) for lines in (headers, mime)
    )
    return b"".join((first, separators[0], second, separators[1], content))


def _line(name: str, value: str) -> bytes:
    return encode(f"{name}: {value}\r\n")


def _address(text: str) -> str:
    return text if "<" in text else f"<{text}>"
