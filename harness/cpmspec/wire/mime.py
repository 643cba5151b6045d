"""MIME entities and multiparts, octet for octet (RFC 2045, RFC 2046 5.1).

Violations of the outermost level; :mod:`cpmspec.wire.mime_tree` goes deeper, and looks at the headers of the parts:

=================== ==============================================================================
MIM-2045-5.1-01     the form of Content-Type
MIM-2045-5.1-02     a parameter of Content-Type stands once
MIM-2045-6.4-01     a composite type (multipart, message) in another encoding than 7bit, 8bit, binary
MIM-2046-5.1-01     a delimiter stands at the start of a line inside a part, as a prefix of that line
MIM-2046-5.1-02     a nested multipart's boundary begins with the boundary around it
MIM-2046-5.1-03     a header line of a part
MIM-2046-5.1.1-01   a multipart has a boundary parameter
MIM-2046-5.1.1-02   the boundary is made of bchars
MIM-2046-5.1.1-03   a boundary with tspecials is quoted
MIM-2046-5.1.1-04   a multipart has at least one part
MIM-2046-5.1.1-05   the last delimiter ends with ``--``
MIM-2046-5.1.1-06   a delimiter line begins after CRLF and ends with CRLF
MIM-2046-5.1.1-07   preamble and epilogue are empty (a recommendation)
MIM-2046-5.1.1-08   a composer adds no padding after a delimiter
MIM-2046-5.1.1-09   the boundary is 1 to 70 characters long
MIM-2046-5.1.1-10   the boundary ends with no space
MIM-2231-3-01       a boundary in pieces: only readers that know RFC 2231 put it together (an interpretation)
MIM-LIMIT-02 to 05  limits of ours: parts, octets of a part's headers, their number, length of a boundary
=================== ==============================================================================
"""

from __future__ import annotations

import binascii
import re
import secrets
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from cpmspec.wire.bounded import MAX_HEADER_OCTETS, MAX_HEADERS, readable
from cpmspec.wire.headers import Headers, encode
from cpmspec.wire.media_type import DEFAULT_TYPE, DIGEST_TYPE, MediaType, without_comments
from cpmspec.wire.section import Fault, Section, parse_section
from cpmspec.wire.violation import Violation

__all__ = [
    "DEFAULT_TYPE", "MAX_BOUNDARY", "MAX_DEPTH", "MAX_PARTS", "RECOMMENDED", "MediaType", "Multipart", "Part",
    "compose_multipart", "compose_unchecked", "leaves", "parse_multipart", "real_defects", "section_violations",
    "type_violations",
]  # fmt: skip

MAX_DEPTH: Final = 8  #: levels of nested multiparts that are entered: each one copies what is in it
MAX_PARTS: Final = 1000  #: parts of one multipart that are cut out; 1 GB of delimiters must not become as many objects
MAX_BOUNDARY: Final = (
    512  #: characters of a boundary that is searched for: legal ones have 70, the search costs its length
)

#: what RFC 2046 only recommends, and what is our own: no reason to call a multipart ill-formed
RECOMMENDED: Final = frozenset({
    "MIM-2046-5.1.1-07", "MIM-2231-3-01", "MIM-LIMIT-01", "MIM-LIMIT-02", "MIM-LIMIT-03", "MIM-LIMIT-04",
    "MIM-LIMIT-05",
})  # fmt: skip

# boundary := 0*69<bchars> bcharsnospace
_BCHARS = re.compile(r"[0-9A-Za-z'()+_,\-./:=? ]+")
_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,\-./:=? ]{0,69}[0-9A-Za-z'()+_,\-./:=?]")
# field-name = 1*<any CHAR, excluding CTLs, SPACE, and ":"> (RFC 822 3.2): more than a token
_FIELD_NAME = re.compile(rb"[\x21-\x39\x3b-\x7e]+")
_IDENTITY = ("7bit", "8bit", "binary")
#: messages whose registration lets them be encoded: RFC 6532 3.7, RFC 6533 6; RFC 5438 15 (as text/xml)
_ENCODABLE = re.compile(r"message/(?:global(?:-.*)?|imdn\+xml)")


@dataclass(frozen=True, slots=True)
class Part:
    """One entity: headers and body as they stand; ``raw`` its octets, ``offset`` where they start in the multipart."""

    headers: Headers
    body: bytes
    offset: int = 0
    raw: bytes = b""
    default: MediaType = DEFAULT_TYPE  #: what it is without a Content-Type

    @classmethod
    def make(cls, headers: Iterable[tuple[str, str]], body: bytes) -> Part:
        """A part to send.

        :raises ValueError: a header holds CR, LF or NUL.
        """
        section = Headers.of(*headers)
        return cls(section, body, 0, section.octets() + b"\r\n" + body)

    @property
    def content_type(self) -> MediaType:
        """Content-Type; without, ``text/plain;charset=us-ascii`` but in a digest (RFC 2046 5.1, 5.1.5)."""
        value = self.headers.get("Content-Type")
        return self.default if value is None else MediaType.parse(value)

    @property
    def transfer_encoding(self) -> str:
        """Content-Transfer-Encoding in lower case, ``7bit`` if absent (RFC 2045 6.1)."""
        return without_comments(self.headers.get("Content-Transfer-Encoding") or "7bit").strip(" \t").lower()

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
    """The parts of a multipart in order, with what stands around them.

    After each of ``delimiters``, as they stand, comes a part, but for the last one. Where two delimiters follow upon
    each other, with one CRLF between them, it belongs to the first.
    """

    parts: tuple[Part, ...]
    preamble: bytes
    epilogue: bytes
    boundary: str | None
    violations: tuple[Violation, ...]
    delimiters: tuple[bytes, ...] = ()

    def octets(self) -> bytes:
        """The octets as received."""
        pieces = [self.preamble]
        for index, delimiter in enumerate(self.delimiters):
            pieces.append(delimiter)
            pieces.extend(part.raw for part in self.parts[index : index + 1])
        return b"".join((*pieces, self.epilogue))


def section_violations(section: Section, rule: str) -> list[Violation]:
    """The defects of a header section as violations of ``rule``; a missing empty line is for the caller to judge."""
    return [
        Violation(rule, defect.offset, f"{defect.fault}: {defect.found}", "Name: value, CRLF")
        for defect in section.defects
        if defect.fault is not Fault.UNTERMINATED
    ]


def parse_multipart(content_type: str, body: bytes) -> Multipart:
    """Take a multipart apart; also works for a type that is no multipart but has a boundary parameter.

    Violations count octets from the start of ``body``, and come in that order.
    """
    media = MediaType.parse(content_type)
    wrong = list(_grammar(media, 0))
    boundary = media.param("boundary")
    if boundary is None and (boundary := media.continued("boundary")) is not None:
        wrong.append(Violation("MIM-2231-3-01", 0, repr(content_type), "the boundary in one piece"))
    if not boundary:
        found = "an empty boundary" if boundary == "" else "no boundary"
        rule = "MIM-2046-5.1.1-01" if boundary is None else "MIM-2046-5.1.1-09"
        wrong.append(Violation(rule, 0, f"{found} in {content_type!r}", "a boundary parameter"))
        return Multipart((), body, b"", None, tuple(wrong))
    wrong.extend(_boundary_violations(boundary, media))
    if len(boundary) > MAX_BOUNDARY:
        return Multipart((), body, b"", boundary, tuple(wrong))
    default = DIGEST_TYPE if media.full == "multipart/digest" else DEFAULT_TYPE
    cutter = _Cutter(body, boundary, default, wrong)
    cutter.cut()
    for part in cutter.parts:
        wrong.extend(_part_violations(part, boundary))
    wrong.sort(key=lambda violation: violation.offset)
    return Multipart(
        tuple(cutter.parts), cutter.preamble, cutter.epilogue, boundary, tuple(wrong), tuple(cutter.delimiters)
    )


def type_violations(part: Part) -> Iterator[Violation]:
    """What is wrong with the Content-Type of a part, or with its encoding if it is of a composite type."""
    media = part.content_type
    yield from _grammar(media, part.offset)
    if media.composite and not _ENCODABLE.fullmatch(media.full) and part.transfer_encoding not in _IDENTITY:
        yield Violation("MIM-2045-6.4-01", part.offset, part.transfer_encoding, "7bit, 8bit or binary")


def _grammar(media: MediaType, offset: int) -> Iterator[Violation]:
    if not media.grammatical:
        yield Violation("MIM-2045-5.1-01", offset, repr(media.text), "type/subtype *(;attribute=value)")
    if media.repeated:
        yield Violation("MIM-2045-5.1-02", offset, repr(media.text), "each parameter once")


def _boundary_violations(boundary: str, media: MediaType) -> Iterator[Violation]:
    if not _BCHARS.fullmatch(boundary):
        yield Violation("MIM-2046-5.1.1-02", 0, repr(boundary), "digits, letters, '()+_,-./:=? and space")
    if media.bare_boundary:
        yield Violation("MIM-2046-5.1.1-03", 0, repr(media.text), "the boundary in quotes")
    if len(boundary) > 70:
        yield Violation("MIM-2046-5.1.1-09", 0, f"{len(boundary)} characters", "1 to 70 characters")
    if boundary.endswith(" "):
        yield Violation("MIM-2046-5.1.1-10", 0, repr(boundary), "no space at the end")
    if len(boundary) > MAX_BOUNDARY:
        yield Violation("MIM-LIMIT-05", 0, f"{len(boundary)} characters", f"at most {MAX_BOUNDARY}")


class _Cutter:
    """Cuts a body at its delimiter lines."""

    def __init__(self, body: bytes, boundary: str, default: MediaType, wrong: list[Violation]) -> None:
        # delimiter := CRLF "--" boundary ; close-delimiter := delimiter "--" ; padding is *LWSP-char
        delimiter = re.escape(encode(boundary))
        self.line = re.compile(rb"(\A|\r?\n)--" + delimiter + rb"(--)?([ \t]*)(?=(\r?\n|\Z))")
        self.body, self.default, self.wrong = body, default, wrong
        self.parts: list[Part] = []
        self.delimiters: list[bytes] = []
        self.preamble, self.epilogue = body, b""

    def cut(self) -> None:
        """Find the parts between the delimiter lines, what stands before the first and after the last."""
        closed = False
        start, position = -1, 0  # of the part that is open, -1 before the first; from where the next line is searched
        while not closed and (found := self.line.search(self.body, position)):
            begin = max(start, found.start())
            if start < 0:
                self.preamble = self.body[:begin]
            else:
                self._add(self.body[start:begin], start)
            if len(self.parts) >= MAX_PARTS and not found[2]:
                self._wrong("MIM-LIMIT-02", begin, f"more than {MAX_PARTS} parts", "fewer")
                self.epilogue = self.body[begin:]
                return
            self._judge(found, start)
            # the CRLF that ends this line may have to begin the next one, too
            position, closed = found.end(), found[2] is not None
            start = position if closed else found.end(4)
            self.delimiters.append(self.body[begin:start])
        if closed:
            self.epilogue = self.body[start:]
        else:
            self._wrong("MIM-2046-5.1.1-05", len(self.body), "the end of the octets", "a delimiter ended by --")
            if 0 <= start < len(self.body):
                self._add(self.body[start:], start)
        if not self.parts:
            self._wrong("MIM-2046-5.1.1-04", 0, "no part", "at least one part")
            return
        for text, where in ((self.preamble, 0), (self.epilogue.removeprefix(b"\r").removeprefix(b"\n"), start)):
            if text:
                self._wrong("MIM-2046-5.1.1-07", where, f"{len(text)} octets", "neither preamble nor epilogue")

    def _judge(self, found: re.Match[bytes], start: int) -> None:
        if found.start() < start:
            self._wrong("MIM-2046-5.1.1-06", found.start(), "the line end of the delimiter before", "one of its own")
        if found[1] == b"\n" or found[4] == b"\n":
            self._wrong("MIM-2046-5.1.1-06", found.start(), "a bare LF", "CRLF")
        if found[3]:
            self._wrong("MIM-2046-5.1.1-08", found.start(3), repr(found[3]), "no padding")

    def _add(self, raw: bytes, offset: int) -> None:
        # body-part := MIME-part-headers [CRLF *OCTET]: without an empty line, the last header's CRLF is the delimiter's
        if not readable(raw):
            self._wrong("MIM-LIMIT-03", offset, "no end of the headers", f"one within {MAX_HEADER_OCTETS} octets")
            self.parts.append(Part(Headers(), raw, offset, raw, self.default))
            return
        section = real_defects(raw, parse_section(raw))
        faults = section_violations(section, "MIM-2046-5.1-03")
        self.wrong.extend(fault.moved(offset) for fault in faults)
        if len(section.headers) > MAX_HEADERS:
            self._wrong("MIM-LIMIT-04", offset, f"{len(section.headers)} headers", f"at most {MAX_HEADERS}")
        self.parts.append(Part(section.headers, raw[section.end :], offset, raw, self.default))

    def _wrong(self, rule: str, offset: int, found: str, expected: str) -> None:
        self.wrong.append(Violation(rule, offset, found, expected))


def real_defects(octets: bytes, section: Section) -> Section:
    """The section without the defects of header names that are legal in MIME: any printable US-ASCII but the colon."""
    names = (defect for defect in section.defects if defect.fault is Fault.NAME)
    legal = {defect for defect in names if _FIELD_NAME.fullmatch(_name_at(octets, defect.offset))}
    defects = tuple(defect for defect in section.defects if defect not in legal)
    return Section(section.headers, section.separator, section.end, defects)


def _name_at(octets: bytes, offset: int) -> bytes:
    return octets[offset : octets.find(b":", offset)].rstrip(b" \t")


def _part_violations(part: Part, boundary: str) -> Iterator[Violation]:
    inside = re.search(rb"(?:\A|\r\n)--" + re.escape(encode(boundary)), part.raw)
    if inside is not None:
        yield Violation("MIM-2046-5.1-01", part.offset + inside.start(), "the delimiter", "no line that begins with it")
    yield from type_violations(part)
    media = part.content_type
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


def compose_multipart(
    parts: Sequence[Part], boundary: str | None = None, *, subtype: str = "mixed"
) -> tuple[str, bytes]:
    """A multipart of the parts, ``multipart/mixed`` unless told otherwise: the value of its Content-Type, and its body.

    Without ``boundary`` an unpredictable one is drawn that occurs nowhere in a part, so neither as a prefix of the
    boundaries of multiparts at any depth.

    :raises ValueError: no part, or a boundary that is illegal, occurs in a part, or begins that of a nested multipart.
    """
    if not parts:
        raise ValueError("a multipart has at least one part (RFC 2046 5.1.1)")
    entities = [_entity(part) for part in parts]
    if boundary is None:
        boundary = secrets.token_hex(16)
        while any(encode(boundary) in entity for entity in entities):
            boundary = secrets.token_hex(16)
    if not _BOUNDARY.fullmatch(boundary):
        raise ValueError(f"boundary {boundary!r} is not 1 to 70 characters of bchars")
    if any(b"--" + encode(boundary) in entity for entity in entities):
        raise ValueError(f"boundary {boundary!r} occurs in a part")
    for inner in (inner for part in parts for inner in _boundaries(part, MAX_DEPTH)):
        if inner.startswith(boundary):
            raise ValueError(f"boundary {boundary!r} begins that of a nested multipart, {inner!r} (RFC 2046 5.1)")
    return compose_unchecked(parts, boundary, subtype=subtype)


def compose_unchecked(
    parts: Sequence[Part | bytes], boundary: str, *, subtype: str = "mixed", preamble: bytes = b"",
    before: bytes = b"\r\n", after: bytes = b"\r\n", close: bytes = b"--\r\n",
) -> tuple[str, bytes]:  # fmt: skip
    """A multipart with anything wrong on purpose: parts of any octets, a boundary that collides, other line ends.

    ``before`` stands between a part and its delimiter, ``after`` behind a delimiter, ``close`` behind the last.
    """
    delimiter = b"--" + encode(boundary)
    entities = [part if isinstance(part, bytes) else _entity(part) for part in parts]
    body = b"".join(delimiter + after + entity + before for entity in entities)
    quoted = f'"{boundary}"' if re.search(r"[(),/:=? ]", boundary) else boundary
    return f"multipart/{subtype};boundary={quoted}", preamble + body + delimiter + close


def _entity(part: Part) -> bytes:
    return part.headers.octets() + b"\r\n" + part.body


def _boundaries(part: Part, depth: int) -> Iterator[str]:
    """The boundaries of the multiparts in a part, itself first."""
    media = part.content_type
    if media.type != "multipart" or depth <= 0:
        return
    if (boundary := media.param("boundary")) is not None:
        yield boundary
    for inner in parse_multipart(media.text, part.decoded()).parts:
        yield from _boundaries(inner, depth - 1)
