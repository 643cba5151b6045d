"""MIME entities and multiparts, octet for octet (RFC 2045, RFC 2046 5.1).

Violations:

=================== ==============================================================================
MIM-2045-5.1-01     the form of Content-Type
MIM-2045-6.4-01     a composite type (multipart, message) in another encoding than 7bit, 8bit, binary
MIM-2046-5.1-01     a delimiter stands at the start of a line inside a part, as a prefix of that line
MIM-2046-5.1-02     a nested multipart's boundary begins with the boundary around it
MIM-2046-5.1-03     a header line of a part
MIM-2046-5.1.1-01   a multipart has a boundary parameter
MIM-2046-5.1.1-02   the boundary is 1 to 70 characters of bchars and ends with no space
MIM-2046-5.1.1-03   a boundary with tspecials is quoted
MIM-2046-5.1.1-04   a multipart has at least one part
MIM-2046-5.1.1-05   the last delimiter ends with ``--``
MIM-2046-5.1.1-06   a delimiter line begins after CRLF and ends with CRLF
MIM-2046-5.1.1-07   preamble and epilogue are empty
MIM-2046-5.1.1-08   a composer adds no padding after a delimiter
=================== ==============================================================================
"""

from __future__ import annotations

import binascii
import re
import secrets
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from cpmspec.wire.headers import Headers, encode
from cpmspec.wire.section import Fault, Section, parse_section
from cpmspec.wire.violation import Violation

MAX_DEPTH: Final = 8  #: levels of nested multiparts that :func:`leaves` enters

# content := type "/" subtype *(";" attribute "=" value) ; value := token / quoted-string
_TOKEN = r"[^\x00-\x20\x7f()<>@,;:\\\"/\[\]?=]+"
_TYPE = re.compile(rf"\s*({_TOKEN})/({_TOKEN})\s*")
_PARAM = re.compile(rf';\s*({_TOKEN})\s*=\s*("(?:[^"\\]|\\.)*"|[^;"\s]+)\s*', re.DOTALL)
_STRICT_TYPE = re.compile(rf'{_TYPE.pattern}(?:;\s*{_TOKEN}\s*=\s*(?:{_TOKEN}|"(?:[^"\\\r\n]|\\.)*")\s*)*')
# boundary := 0*69<bchars> bcharsnospace
_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,\-./:=? ]{0,69}[0-9A-Za-z'()+_,\-./:=?]")
_IDENTITY = ("7bit", "8bit", "binary")


@dataclass(frozen=True, slots=True)
class MediaType:
    """The value of a Content-Type: names in lower case, values as they stand; ``type`` is empty if it is unreadable."""

    type: str
    subtype: str
    params: tuple[tuple[str, str], ...]
    text: str

    @classmethod
    def parse(cls, value: str) -> MediaType:
        """Read a header value; what follows the last readable parameter is left out (see :attr:`well_formed`)."""
        found = _TYPE.match(value)
        if found is None:
            return cls("", "", (), value)
        params, at = [], found.end()
        while parameter := _PARAM.match(value, at):
            params.append((parameter[1].lower(), _unquoted(parameter[2])))
            at = parameter.end()
        return cls(found[1].lower(), found[2].lower(), tuple(params), value)

    @property
    def full(self) -> str:
        """Type and subtype, e.g. ``multipart/mixed``; empty if unreadable."""
        return f"{self.type}/{self.subtype}" if self.type else ""

    @property
    def well_formed(self) -> bool:
        """Whether the text is a Content-Type by the grammar, with no parameter twice."""
        names = [name for name, _ in self.params]
        return _STRICT_TYPE.fullmatch(self.text) is not None and len(names) == len(set(names))

    @property
    def composite(self) -> bool:
        """Whether the entity holds entities: multipart or message (RFC 2046 5)."""
        return self.type in ("multipart", "message")

    def param(self, name: str) -> str | None:
        """The first parameter of that name, quotes taken off."""
        key = name.lower()
        return next((value for known, value in self.params if known == key), None)

    def __str__(self) -> str:
        return self.text


def _unquoted(value: str) -> str:
    if len(value) >= 2 and value[0] == value[-1] == '"':
        return re.sub(r"\\(.)", r"\1", value[1:-1], flags=re.DOTALL)
    return value


DEFAULT_TYPE: Final = MediaType.parse("text/plain;charset=us-ascii")  #: of a part without Content-Type (RFC 2046 5.1)


@dataclass(frozen=True, slots=True)
class Part:
    """One entity: headers and body as they stand; ``raw`` its octets, ``offset`` where they start in the multipart."""

    headers: Headers
    body: bytes
    offset: int = 0
    raw: bytes = b""

    @classmethod
    def make(cls, headers: Iterable[tuple[str, str]], body: bytes) -> Part:
        """A part to send.

        :raises ValueError: a header holds CR, LF or NUL.
        """
        section = Headers.of(*headers)
        return cls(section, body, 0, section.octets() + b"\r\n" + body)

    @property
    def content_type(self) -> MediaType:
        """Content-Type, ``text/plain;charset=us-ascii`` if absent."""
        value = self.headers.get("Content-Type")
        return DEFAULT_TYPE if value is None else MediaType.parse(value)

    @property
    def transfer_encoding(self) -> str:
        """Content-Transfer-Encoding in lower case, ``7bit`` if absent (RFC 2045 6.1)."""
        return (self.headers.get("Content-Transfer-Encoding") or "7bit").strip().lower()

    def decoded(self) -> bytes:
        """The body with its Content-Transfer-Encoding taken off; as it stands if that cannot be done."""
        if self.transfer_encoding == "base64":
            try:
                return binascii.a2b_base64(self.body)
            except binascii.Error:
                return self.body
        if self.transfer_encoding == "quoted-printable":
            return binascii.a2b_qp(self.body)
        return self.body


@dataclass(frozen=True, slots=True)
class Multipart:
    """The parts of a multipart in order, with what stands around them."""

    parts: tuple[Part, ...]
    preamble: bytes
    epilogue: bytes
    boundary: str | None
    violations: tuple[Violation, ...]


def section_violations(section: Section, rule: str) -> list[Violation]:
    """The defects of a header section as violations of ``rule``; a missing empty line is for the caller to judge."""
    return [
        Violation(rule, defect.offset, f"{defect.fault}: {defect.found}", "Name: value, CRLF")
        for defect in section.defects
        if defect.fault is not Fault.UNTERMINATED
    ]


def parse_multipart(content_type: str, body: bytes) -> Multipart:
    """Take a multipart apart; also works for a type that is no multipart but has a boundary parameter.

    Violations count octets from the start of ``body``.
    """
    media = MediaType.parse(content_type)
    wrong: list[Violation] = []
    if not media.well_formed:
        wrong.append(Violation("MIM-2045-5.1-01", 0, repr(content_type), "type/subtype *(;attribute=value)"))
    boundary = media.param("boundary")
    if not boundary:
        wrong.append(Violation("MIM-2046-5.1.1-01", 0, repr(content_type), "a boundary parameter"))
        return Multipart((), body, b"", None, tuple(wrong))
    if not _BOUNDARY.fullmatch(boundary):
        wrong.append(Violation("MIM-2046-5.1.1-02", 0, repr(boundary), "1 to 70 bchars, no space at the end"))
    if re.search(r'boundary\s*=\s*[^";]*[(),/:=?]', content_type, re.IGNORECASE):
        wrong.append(Violation("MIM-2046-5.1.1-03", 0, repr(content_type), "the boundary in quotes"))
    parts, preamble, epilogue = _cut(body, boundary, wrong)
    for part in parts:
        wrong.extend(_part_violations(part, boundary))
    return Multipart(tuple(parts), preamble, epilogue, boundary, tuple(wrong))


def _cut(body: bytes, boundary: str, wrong: list[Violation]) -> tuple[list[Part], bytes, bytes]:
    """The parts between the delimiter lines, with what stands before the first and after the last."""
    # delimiter := CRLF "--" boundary ; close-delimiter := delimiter "--" ; padding is *LWSP-char
    line = re.compile(rb"(\A|\r?\n)--" + re.escape(encode(boundary)) + rb"(--)?([ \t]*)(?=(\r?\n|\Z))")
    parts: list[Part] = []
    preamble, start, closed = body, -1, len(body)
    at = 0
    while found := line.search(body, at):
        if found[1] == b"\n" or found[4] == b"\n":
            wrong.append(Violation("MIM-2046-5.1.1-06", found.start(), "a bare LF", "CRLF"))
        if found[3]:
            wrong.append(Violation("MIM-2046-5.1.1-08", found.start(3), repr(found[3]), "no padding"))
        if start < 0:
            preamble = body[: found.start()]
        else:
            parts.append(_part(body[start : max(start, found.start())], start, wrong))
        start, closed = found.end(4), found.end()
        if found[2]:
            break
        if not found[4]:
            start = len(body)
            break
        # the CRLF that ends this line may be the one that begins the next delimiter: an entirely empty part
        at = found.end()
    if found is None or not found[2]:
        wrong.append(Violation("MIM-2046-5.1.1-05", len(body), "the end of the octets", "a delimiter ended by --"))
        if 0 <= start < len(body):
            parts.append(_part(body[start:], start, wrong))
        closed = len(body)
    if not parts:
        wrong.append(Violation("MIM-2046-5.1.1-04", 0, "no part", "at least one part"))
    epilogue = body[closed:]
    for text, where in ((preamble, 0), (epilogue.removeprefix(b"\r\n"), closed)):
        if text and parts:
            wrong.append(Violation("MIM-2046-5.1.1-07", where, f"{len(text)} octets", "neither preamble nor epilogue"))
    return parts, preamble, epilogue


def _part(raw: bytes, offset: int, wrong: list[Violation]) -> Part:
    # body-part := MIME-part-headers [CRLF *OCTET]: without an empty line, the last header's CRLF is the delimiter's
    section = parse_section(raw)
    wrong.extend(fault.moved(offset) for fault in section_violations(section, "MIM-2046-5.1-03"))
    return Part(section.headers, raw[section.end :], offset, raw)


def _part_violations(part: Part, boundary: str) -> Iterator[Violation]:
    inside = re.search(rb"(?:\A|\r\n)--" + re.escape(encode(boundary)), part.raw)
    if inside is not None:
        yield Violation("MIM-2046-5.1-01", part.offset + inside.start(), "the delimiter", "no line that begins with it")
    media = part.content_type
    if not media.well_formed:
        yield Violation("MIM-2045-5.1-01", part.offset, repr(media.text), "type/subtype *(;attribute=value)")
    if media.composite and part.transfer_encoding not in _IDENTITY:
        yield Violation("MIM-2045-6.4-01", part.offset, part.transfer_encoding, "7bit, 8bit or binary")
    inner = media.param("boundary") if media.type == "multipart" else None
    if inner is not None and inner.startswith(boundary):
        yield Violation(
            "MIM-2046-5.1-02", part.offset, repr(inner), f"a boundary that does not begin with {boundary!r}"
        )


def leaves(part: Part, depth: int = MAX_DEPTH) -> Iterator[Part]:
    """The parts that are no multipart, in order; a multipart deeper than ``depth`` levels comes whole."""
    if part.content_type.type == "multipart" and depth > 0:
        inner = parse_multipart(part.content_type.text, part.decoded())
        if inner.parts:
            for nested in inner.parts:
                yield from leaves(nested, depth - 1)
            return
    yield part


def compose_multipart(parts: Sequence[Part], boundary: str | None = None) -> tuple[str, bytes]:
    """A ``multipart/mixed`` of the parts: the value of its Content-Type, and its body.

    Without ``boundary`` an unpredictable one is drawn that occurs in no part.

    :raises ValueError: no part, or a boundary that is illegal or occurs in a part.
    """
    if not parts:
        raise ValueError("a multipart has at least one part (RFC 2046 5.1.1)")
    entities = [part.headers.octets() + b"\r\n" + part.body for part in parts]
    if boundary is None:
        boundary = secrets.token_hex(16)
        while any(encode(boundary) in entity for entity in entities):
            boundary = secrets.token_hex(16)
    if not _BOUNDARY.fullmatch(boundary):
        raise ValueError(f"boundary {boundary!r} is not 1 to 70 characters of bchars")
    delimiter = b"--" + encode(boundary)
    if any(delimiter in entity for entity in entities):
        raise ValueError(f"boundary {boundary!r} occurs in a part")
    body = b"".join(delimiter + b"\r\n" + entity + b"\r\n" for entity in entities) + delimiter + b"--\r\n"
    quoted = f'"{boundary}"' if re.search(r"[(),/:=? ]", boundary) else boundary
    return f"multipart/mixed;boundary={quoted}", body
