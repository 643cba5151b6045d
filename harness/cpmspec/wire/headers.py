"""Header sections as ordered values that keep the octets they came from (RFC 3261 7.3, RFC 4975 7.1, RFC 2045 3).

Text is decoded as UTF-8 with ``surrogateescape``: any octet survives the way through ``str`` and back.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, Self, TypeAlias, overload

from typing_extensions import override

CODEC = "utf-8"
ERRORS = "surrogateescape"

_INJECTION = re.compile(r"[\r\n\0]")

# RFC 3261 7.3.3 and 20, RFC 3841 10, RFC 6665 8.2, RFC 4028 4: compact form -> long form, both in lower case.
COMPACT = {
    "a": "accept-contact", "b": "referred-by", "c": "content-type", "d": "request-disposition",
    "e": "content-encoding", "f": "from", "i": "call-id", "j": "reject-contact", "k": "supported",
    "l": "content-length", "m": "contact", "o": "event", "r": "refer-to", "s": "subject", "t": "to",
    "u": "allow-events", "v": "via", "x": "session-expires",
}  # fmt: skip


def decode(octets: bytes) -> str:
    """Octets as text, losslessly."""
    return octets.decode(CODEC, ERRORS)


def encode(text: str) -> bytes:
    """The octets that :func:`decode` made ``text`` from."""
    return text.encode(CODEC, ERRORS)


def canonical(name: str) -> str:
    """The long form of a header name in lower case: the key under which names compare."""
    known = KNOWN.get(name)
    if known is not None:
        return known
    lower = name.strip().lower()
    return COMPACT.get(lower, lower)


_USUAL = (
    "Accept", "Accept-Contact", "Allow", "Allow-Events", "Call-ID", "Contact", "Content-Disposition", "Content-Length",
    "Content-Transfer-Encoding", "Content-Type", "Contribution-ID", "Conversation-ID", "CSeq", "Date", "Event",
    "Expires", "From", "Max-Forwards", "Min-SE", "P-Asserted-Identity", "P-Asserted-Service",
    "P-Preferred-Identity", "P-Served-User", "Path", "Privacy", "Record-Route", "Require", "Route", "Server",
    "Session-Expires", "Subject", "Supported", "To", "User-Agent", "Via",
)  # fmt: skip
#: the keys of usual names in their usual spellings, so that most look-ups compute nothing
KNOWN = {
    **{name: name.lower() for name in _USUAL},
    **{name.lower(): name.lower() for name in _USUAL},
    **COMPACT,
}


class Header(NamedTuple):
    """One header: its name as written, its value unfolded and trimmed, and its octets, line ends included."""

    name: str
    value: str
    raw: bytes

    @classmethod
    def make(cls, name: str, value: str) -> Self:
        """Build a header to send.

        :raises ValueError: the name or the value holds a CR, LF or NUL (header injection, RFC 3261 25.1).
        """
        if _INJECTION.search(name + value) is not None:
            what, text = ("name", name) if _INJECTION.search(name) else ("value", value)
            raise ValueError(f"header {what} {text!r} holds a CR, LF or NUL")
        return cls(name, value, encode(f"{name}: {value}\r\n"))

    @classmethod
    def unchecked(cls, name: str, value: str, raw: bytes | None = None) -> Self:
        """Build a header with any octets at all: for sending what is wrong on purpose."""
        return cls(name, value, encode(f"{name}: {value}\r\n") if raw is None else raw)

    @property
    def key(self) -> str:
        """The canonical name: lower case, long form."""
        return canonical(self.name)


class PlainHeader(Header):
    """A header of MSRP, MIME or CPIM: compact forms are SIP's alone (RFC 3261 7.3.3), so that ``c`` is just ``c``."""

    __slots__ = ()

    @property
    @override
    def key(self) -> str:
        """The name in lower case."""
        return self.name.strip().lower()


#: a header line taken apart at its first colon, or the header made of that
Cell: TypeAlias = "tuple[str, str, str] | Header"


class Headers(Sequence[Header]):
    """An immutable, ordered header section; names compare without case, and SIP's compact forms equal long ones.

    Of a section that was read, only the keys are made at once; a :class:`Header` is made when it is asked for.
    """

    __slots__ = ("_cells", "_keys", "_kind", "_raws")

    def __init__(self, items: Iterable[Header] = ()) -> None:
        self._cells: list[Cell] = list(items)
        self._raws = [item.raw for item in self]
        self._keys: tuple[str, ...] | None = None
        self._kind: type[Header] = Header

    @classmethod
    def of(cls, *pairs: tuple[str, str]) -> Headers:
        """Build from ``(name, value)`` pairs, each checked by :meth:`Header.make`."""
        return cls(Header.make(name, value) for name, value in pairs)

    @classmethod
    def of_cells(
        cls, cells: list[Cell], raws: list[bytes], keys: tuple[str, ...] | None, kind: type[Header] = Header
    ) -> Headers:
        """Build from the parts of lines, with the octets and the key of each; the lists are the section's then."""
        headers = cls.__new__(cls)
        headers._cells, headers._raws, headers._keys, headers._kind = cells, raws, keys, kind
        return headers

    @property
    def keys(self) -> tuple[str, ...]:
        """The key of each header, in order."""
        if self._keys is None:
            self._keys = tuple(item.key for item in self)
        return self._keys

    @overload
    def __getitem__(self, index: int) -> Header: ...
    @overload
    def __getitem__(self, index: slice) -> Headers: ...
    def __getitem__(self, index: int | slice) -> Header | Headers:
        if isinstance(index, slice):
            keys = None if self._keys is None else self._keys[index]
            return Headers.of_cells(self._cells[index], self._raws[index], keys, self._kind)
        cell = self._cells[index]
        if isinstance(cell, Header):
            return cell
        self._cells[index] = header = self._kind(cell[0], cell[2].strip(" \t"), self._raws[index])
        return header

    def __len__(self) -> int:
        return len(self._cells)

    def __iter__(self) -> Iterator[Header]:
        return map(self.__getitem__, range(len(self._cells)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Headers) and self._raws == other._raws and tuple(self) == tuple(other)

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return f"Headers({[(header.name, header.value) for header in self]!r})"

    def get(self, name: str) -> str | None:
        """The value of the first header of that name, or ``None``."""
        key, keys = KNOWN.get(name) or canonical(name), self._keys or self.keys
        if key not in keys:
            return None
        cell = self._cells[keys.index(key)]
        return cell.value if isinstance(cell, Header) else cell[2].strip(" \t")

    def get_all(self, name: str) -> tuple[str, ...]:
        """The values of all headers of that name, one for each header line, in order."""
        key, keys = KNOWN.get(name) or canonical(name), self._keys or self.keys
        found: list[str] = []
        at = -1
        for _ in range(keys.count(key)):
            at = keys.index(key, at + 1)
            cell = self._cells[at]
            found.append(cell.value if isinstance(cell, Header) else cell[2].strip(" \t"))
        return tuple(found)

    def values(self, name: str) -> tuple[str, ...]:
        """As :meth:`get_all`, comma-separated lists taken apart (commas in quotes and angle brackets do not count)."""
        items: list[str] = []
        for value in self.get_all(name):
            if "," in value:
                items += split_list(value)
            elif value:
                items.append(value)
        return tuple(items)

    def where(self, keep: Callable[[Header], bool]) -> Headers:
        """Only the headers that ``keep`` accepts, in order."""
        return Headers(header for header in self if keep(header))

    def without(self, *names: str) -> Headers:
        """All headers but those of the names given."""
        keys = {canonical(name) for name in names}
        return Headers(item for item, key in zip(self, self.keys, strict=True) if key not in keys)

    def added(self, name: str, value: str, *, first: bool = False) -> Headers:
        """One more header, at the end or at the start."""
        header = Header.make(name, value)
        return Headers((header, *self) if first else (*self, header))

    def replaced(self, name: str, value: str) -> Headers:
        """The first header of that name gets the value, further ones go; without one it is added at the end."""
        key, keys, fresh = canonical(name), self.keys, Header.make(name, value)
        if key not in keys:
            return Headers((*self, fresh))
        at = keys.index(key)
        if keys.count(key) > 1:
            rest = [item for item, other in zip(self[at:], keys[at:], strict=True) if other != key]
            return Headers((*self[:at], fresh, *rest))
        cells, raws = self._cells.copy(), self._raws.copy()
        cells[at], raws[at] = fresh, fresh.raw
        return Headers.of_cells(cells, raws, keys, self._kind)

    def octets(self) -> bytes:
        """The octets of all header lines, without the empty line."""
        return b"".join(self._raws)


def split_list(value: str) -> tuple[str, ...]:
    """Split a comma-separated header value; commas inside quotes or angle brackets do not count (RFC 3261 7.3.1)."""
    if "," not in value:
        return (value.strip(),) if value.strip() else ()
    return tuple([item for item in split_items(value) if item])


def split_items(value: str) -> list[str]:
    """As :func:`split_list`, with the items that are empty."""
    items, start, quoted, angle, escaped = [], 0, False, False, False
    for index, mark in enumerate(value):
        if escaped:
            escaped = False
        elif quoted:
            escaped, quoted = mark == "\\", mark != '"'
        elif mark == '"' and not angle:
            quoted = True
        elif mark == "<":
            angle = True
        elif mark == ">":
            angle = False
        elif mark == "," and not angle:
            items.append(value[start:index].strip())
            start = index + 1
    items.append(value[start:].strip())
    return items
