"""Header sections as ordered values that keep the octets they came from (RFC 3261 7.3, RFC 4975 7.1, RFC 2045 3).

Text is decoded as UTF-8 with ``surrogateescape``: any octet survives the way through ``str`` and back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import overload

from typing_extensions import override

CODEC = "utf-8"
ERRORS = "surrogateescape"

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
    lower = name.strip().lower()
    return COMPACT.get(lower, lower)


@dataclass(frozen=True, slots=True)
class Header:
    """One header: its name as written, its value unfolded and trimmed, and its octets, line ends included."""

    name: str
    value: str
    raw: bytes

    @classmethod
    def make(cls, name: str, value: str) -> Header:
        """Build a header to send.

        :raises ValueError: the name or the value holds a CR, LF or NUL (header injection, RFC 3261 25.1).
        """
        for what, text in (("name", name), ("value", value)):
            if any(mark in text for mark in "\r\n\0"):
                raise ValueError(f"header {what} {text!r} holds a CR, LF or NUL")
        return cls(name, value, encode(f"{name}: {value}\r\n"))

    @classmethod
    def unchecked(cls, name: str, value: str, raw: bytes | None = None) -> Header:
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


class Headers(Sequence[Header]):
    """An immutable, ordered header section; names compare without case, and SIP's compact forms equal long ones."""

    __slots__ = ("_items",)

    def __init__(self, items: Iterable[Header] = ()) -> None:
        self._items = tuple(items)

    @classmethod
    def of(cls, *pairs: tuple[str, str]) -> Headers:
        """Build from ``(name, value)`` pairs, each checked by :meth:`Header.make`."""
        return cls(Header.make(name, value) for name, value in pairs)

    @overload
    def __getitem__(self, index: int) -> Header: ...
    @overload
    def __getitem__(self, index: slice) -> Headers: ...
    def __getitem__(self, index: int | slice) -> Header | Headers:
        return Headers(self._items[index]) if isinstance(index, slice) else self._items[index]

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[Header]:
        return iter(self._items)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Headers) and self._items == other._items

    def __hash__(self) -> int:
        return hash(self._items)

    def __repr__(self) -> str:
        return f"Headers({[(header.name, header.value) for header in self._items]!r})"

    def get(self, name: str) -> str | None:
        """The value of the first header of that name, or ``None``."""
        key = canonical(name)
        return next((header.value for header in self._items if header.key == key), None)

    def get_all(self, name: str) -> tuple[str, ...]:
        """The values of all headers of that name, one for each header line, in order."""
        key = canonical(name)
        return tuple(header.value for header in self._items if header.key == key)

    def values(self, name: str) -> tuple[str, ...]:
        """As :meth:`get_all`, comma-separated lists taken apart (commas in quotes and angle brackets do not count)."""
        return tuple(item for value in self.get_all(name) for item in split_list(value))

    def where(self, keep: Callable[[Header], bool]) -> Headers:
        """Only the headers that ``keep`` accepts, in order."""
        return Headers(header for header in self._items if keep(header))

    def without(self, *names: str) -> Headers:
        """All headers but those of the names given."""
        keys = {canonical(name) for name in names}
        return self.where(lambda header: header.key not in keys)

    def added(self, name: str, value: str, *, first: bool = False) -> Headers:
        """One more header, at the end or at the start."""
        header = Header.make(name, value)
        return Headers((header, *self._items) if first else (*self._items, header))

    def replaced(self, name: str, value: str) -> Headers:
        """The first header of that name gets the value, further ones go; without one it is added at the end."""
        key, fresh, done = canonical(name), Header.make(name, value), False
        items: list[Header] = []
        for header in self._items:
            if header.key != key:
                items.append(header)
            elif not done:
                items.append(fresh)
                done = True
        return Headers(items if done else (*items, fresh))

    def octets(self) -> bytes:
        """The octets of all header lines, without the empty line."""
        return b"".join(header.raw for header in self._items)


def split_list(value: str) -> tuple[str, ...]:
    """Split a comma-separated header value; commas inside quotes or angle brackets do not count (RFC 3261 7.3.1)."""
    if "," not in value:
        return (value.strip(),) if value.strip() else ()
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
    return tuple(item for item in items if item)
