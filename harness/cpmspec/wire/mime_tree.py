"""A multipart with all multiparts inside it, read in one go, and the headers of each part (RFC 2045, 2046, 2183).

Violations beside those of :mod:`cpmspec.wire.mime`, which are found at every level here:

================= ============================================================================
MIM-2045-2.7-01   a part that says 7bit has lines of up to 998 octets, no NUL, nothing above 127
MIM-2045-2.8-01   a part that says 8bit has lines of up to 998 octets, no NUL
MIM-2045-3-01     Content-Type, -Transfer-Encoding, -ID and -Description stand once
MIM-2045-6.1-01   the form of Content-Transfer-Encoding
MIM-2045-6.7-01   quoted-printable: what follows "=" is two hexadecimal digits or the end of the line
MIM-2045-6.7-02   quoted-printable: lines of up to 76 characters
MIM-2045-6.8-01   base64 that cannot be decoded
MIM-2045-6.8-02   base64: lines of up to 76 characters
MIM-2045-7-01     the form of Content-ID
MIM-2183-2-01     the form of Content-Disposition
MIM-3261-7.4.2-01 no chunked transfer coding
MIM-LIMIT-01      a limit of ours: levels of multiparts
================= ============================================================================

A ``message/external-body`` is never fetched, and an entity inside a ``message`` is not entered.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from cpmspec.wire.headers import Headers
from cpmspec.wire.media_type import TOKEN, is_disposition, without_comments
from cpmspec.wire.mime import MAX_DEPTH, Multipart, Part, parse_multipart
from cpmspec.wire.section import shown
from cpmspec.wire.violation import Violation

MAX_LINE = 998  #: octets of a line of 7bit or 8bit data (RFC 2045 2.7, 2.8)
MAX_ENCODED_LINE = 76  #: characters of a line of base64 or quoted-printable (RFC 2045 6.7, 6.8)

_ONCE = ("Content-Type", "Content-Transfer-Encoding", "Content-ID", "Content-Description")
# encoding := "Content-Transfer-Encoding" ":" mechanism, which is a token
_MECHANISM = re.compile(rf"[ \t]*{TOKEN}[ \t]*")
# id := "Content-ID" ":" msg-id ; msg-id = "<" addr-spec ">"
_CONTENT_ID = re.compile(r'[ \t]*<(?:[^\s<>@"]+|"(?:[^"\\]|\\.)*")@[^\s<>@]+>[ \t]*')
# what may follow "=": two hexadecimal digits, or padding and the end of the line (a soft line break)
_QP_FAULT = re.compile(rb"=(?![0-9A-F]{2}|[ \t]*(?:\r?\n|\Z))")


@dataclass(frozen=True, slots=True)
class Node:
    """A part in its place: ``offset`` in the outermost body, ``level`` 1 in the outermost multipart.

    Inside a multipart with an encoding there are no places of the outermost body: there it is the encoded part's.
    """

    part: Part
    offset: int
    level: int
    inner: Multipart | None = None  #: the part as a multipart, if it is one and not too deep
    children: tuple[Node, ...] = ()

    def walk(self) -> Iterator[Node]:
        """This node and all below, in the order of the octets."""
        yield self
        for child in self.children:
            yield from child.walk()


@dataclass(frozen=True, slots=True)
class Tree:
    """A multipart and all that is in it; ``violations`` of every level, at offsets of the outermost body."""

    root: Multipart
    nodes: tuple[Node, ...]
    violations: tuple[Violation, ...]

    def octets(self) -> bytes:
        """The octets as received."""
        return self.root.octets()

    def walk(self) -> Iterator[Node]:
        """All parts, in the order of the octets."""
        for node in self.nodes:
            yield from node.walk()


def parse_tree(content_type: str, body: bytes) -> Tree:
    """Take a multipart apart, and the multiparts in it down to :data:`~cpmspec.wire.mime.MAX_DEPTH` levels.

    Every subtype is read as mixed (RFC 2046 5.1.7).
    """
    root = parse_multipart(content_type, body)
    builder = _Builder(list(root.violations))
    around = () if root.boundary is None else (root.boundary,)
    nodes = builder.nodes(root, 1, around, 0, exact=True)
    return Tree(root, nodes, tuple(sorted(builder.wrong, key=lambda violation: violation.offset)))


@dataclass(slots=True)
class _Builder:
    wrong: list[Violation]

    def nodes(
        self, multipart: Multipart, level: int, around: tuple[str, ...], base: int, *, exact: bool
    ) -> tuple[Node, ...]:
        """The parts of a multipart that begins at ``base``; where that is not ``exact``, all of it is there."""
        return tuple(
            self.node(part, level, around, base + part.offset if exact else base, exact=exact)
            for part in multipart.parts
        )

    def node(self, part: Part, level: int, around: tuple[str, ...], offset: int, *, exact: bool) -> Node:
        self.tell(part_violations(part), offset - part.offset, None if exact else offset)
        media = part.content_type
        if media.type != "multipart":
            return Node(part, offset, level)
        if level >= MAX_DEPTH:
            self.wrong.append(Violation("MIM-LIMIT-01", offset, f"{level + 1} levels", f"at most {MAX_DEPTH}"))
            return Node(part, offset, level)
        body = part.decoded()
        exact = exact and body is part.body
        inner = parse_multipart(media.text, body)
        base = offset + len(part.raw) - len(part.body) if exact else offset
        self.tell(inner.violations, base, None if exact else offset)
        if inner.boundary is not None:
            # the multipart directly around it has told of itself
            for outer in (outer for outer in around[:-1] if inner.boundary.startswith(outer)):
                expected = f"a boundary that does not begin with {outer!r}"
                self.wrong.append(Violation("MIM-2046-5.1-02", offset, repr(inner.boundary), expected))
            around = (*around, inner.boundary)
        return Node(part, offset, level, inner, self.nodes(inner, level + 1, around, base, exact=exact))

    def tell(self, violations: Iterable[Violation], by: int, pinned: int | None) -> None:
        """Violations of something that begins ``by`` octets later, or that is nowhere but at one place."""
        for violation in violations:
            self.wrong.append(violation.moved(by if pinned is None else pinned - violation.offset))


def part_violations(part: Part) -> tuple[Violation, ...]:
    """What is wrong with a part's own headers, and with its body as they describe it; offsets as the part's."""
    return (*entity_violations(part.headers, part.offset), *_encoding_violations(part))


def entity_violations(headers: Headers, offset: int) -> Iterator[Violation]:
    """What is wrong with the MIME headers of an entity by themselves, its Content-Type left out."""
    for name in _ONCE:
        count = len(headers.get_all(name))
        if count > 1:
            yield Violation("MIM-2045-3-01", offset, f"{count} times {name}", "once")
    encoding = headers.get("Content-Transfer-Encoding")
    if encoding is not None and not _MECHANISM.fullmatch(without_comments(encoding)):
        yield Violation("MIM-2045-6.1-01", offset, shown(encoding), "a token such as binary")
    content_id = headers.get("Content-ID")
    if content_id is not None and not _CONTENT_ID.fullmatch(without_comments(content_id)):
        yield Violation("MIM-2045-7-01", offset, shown(content_id), "<left@right>")
    disposition = headers.get("Content-Disposition")
    if disposition is not None and not is_disposition(disposition):
        yield Violation("MIM-2183-2-01", offset, shown(disposition), "a type *(;name=value)")
    coding = headers.get("Transfer-Encoding")
    if coding is not None and "chunked" in coding.lower():
        yield Violation("MIM-3261-7.4.2-01", offset, shown(coding), "no transfer coding of HTTP")


def _encoding_violations(part: Part) -> Iterator[Violation]:
    """Whether the body is what its Content-Transfer-Encoding says; without one nothing is said in MSRP and SIP."""
    if part.headers.get("Content-Transfer-Encoding") is None:
        return
    start = part.offset + len(part.raw) - len(part.body)
    encoding, body = part.transfer_encoding, part.body
    longest = max(map(len, body.split(b"\r\n")))
    if encoding == "7bit" and (longest > MAX_LINE or b"\0" in body or not body.isascii()):
        yield Violation("MIM-2045-2.7-01", start, "other octets, or a longer line", "lines of 998 octets up to 127")
    elif encoding == "8bit" and (longest > MAX_LINE or b"\0" in body):
        yield Violation("MIM-2045-2.8-01", start, "a NUL, or a longer line", "lines of 998 octets without NUL")
    elif encoding == "quoted-printable":
        if (fault := _QP_FAULT.search(body)) is not None:
            yield Violation("MIM-2045-6.7-01", start + fault.start(), "another character", "= and two digits")
        if longest > MAX_ENCODED_LINE:
            yield Violation("MIM-2045-6.7-02", start, f"a line of {longest}", f"at most {MAX_ENCODED_LINE}")
    elif encoding == "base64":
        if not _is_base64(body):
            yield Violation("MIM-2045-6.8-01", start, "no base64", "groups of four characters")
        if longest > MAX_ENCODED_LINE:
            yield Violation("MIM-2045-6.8-02", start, f"a line of {longest}", f"at most {MAX_ENCODED_LINE}")


def _is_base64(body: bytes) -> bool:
    try:
        binascii.a2b_base64(body)
    except binascii.Error:
        return False
    return True
