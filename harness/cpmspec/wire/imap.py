"""IMAP as it crosses the wire: commands with their literals, responses, mailbox names (RFC 3501, RFC 7888).

Both streams take octets in any pieces and keep every octet in ``raw``. Nothing here knows what a command does.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Iterator
from dataclasses import dataclass

from cpmspec.wire.headers import decode, encode

#: octets of a line without literals: RFC 7162 4 advises servers to take 65,536
MAX_LINE = 65_536
#: octets of a command or response with its literals: far above a stored message, far below memory
MAX_UNIT = 64 * 1024 * 1024

# RFC 3501 9: literal = "{" number "}" CRLF *CHAR8 ; RFC 7888 4: "+" ; RFC 3516 4.4: literal8 = "~{"
_LITERAL = re.compile(rb"(~?)\{([0-9]{1,20})(\+?)\}\r?\n\Z")
# tag = 1*<any ASTRING-CHAR except "+">
_TAG = re.compile(rb"[^\x00-\x20\x7f-\xff(){%*\"\\+]+")
_NAME = re.compile(rb"[A-Za-z][A-Za-z0-9-]*")
_ATOM_END = re.compile(rb"[ \"(){\[\r\n]")
_IN_LIST = re.compile(rb"[^\"()\[\] {]+")
_QUOTED_PAIR = re.compile(rb"\\(.)", re.DOTALL)
_STATUS = re.compile(rb"(OK|NO|BAD|BYE|PREAUTH)(?= |\Z)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ImapCommand:
    """One client command, or a line that is none (``name`` is '').

    ``arguments`` are atoms, contents of quoted strings and of literals; a parenthesised list is one argument, as it
    stands on the wire.
    """

    tag: str
    name: str  #: upper case; after UID both words: ``UID FETCH``
    arguments: tuple[bytes, ...]
    raw: bytes


@dataclass(frozen=True, slots=True)
class ImapResponse:
    """One server response: ``tag`` is ``*``, ``+`` or a command's; ``text`` the rest, literals in their wire form."""

    tag: str
    text: bytes
    literals: tuple[bytes, ...] = ()
    raw: bytes = b""

    @property
    def status(self) -> str | None:
        """OK, NO, BAD, BYE or PREAUTH (RFC 3501 7.1), ``None`` for data and continuation requests."""
        match = None if self.tag == "+" else _STATUS.match(self.text)
        return None if match is None else decode(match[0]).upper()


class ImapCommandStream:
    """The commands in what a client sends."""

    __slots__ = ("_units",)

    def __init__(self) -> None:
        self._units = _Units()

    @property
    def pending(self) -> bytes:
        """The octets that do not make a command yet."""
        return self._units.pending

    @property
    def awaiting(self) -> bool:
        """Whether the client waits for a continuation request before it sends a literal (RFC 3501 4.3, 7.5)."""
        return self._units.awaiting

    def feed(self, octets: bytes) -> list[ImapCommand]:
        """Take octets, give the commands that they complete."""
        return [_command(unit) for unit in self._units.feed(octets)]

    def abandon(self) -> ImapCommand | None:
        """End the command whose literal is due and never comes; without such a literal do nothing.

        To be called at the end of a stream, and on a tagged NO or BAD while the stream is ``awaiting``: a client that
        announced a literal as non-synchronising sends it whatever the server says meanwhile (RFC 7888 4).
        """
        unit = self._units.abandon()
        return None if unit is None else _command(unit)


class ImapResponseStream:
    """The responses in what a server sends."""

    __slots__ = ("_units",)

    def __init__(self) -> None:
        self._units = _Units()

    @property
    def pending(self) -> bytes:
        """The octets that do not make a response yet."""
        return self._units.pending

    def feed(self, octets: bytes) -> list[ImapResponse]:
        """Take octets, give the responses that they complete."""
        return [_response(unit) for unit in self._units.feed(octets)]


# RFC 3501 5.1.3: printable US-ASCII stands for itself but "&", written "&-"; all else is "&", base64 of UTF-16BE with
# "," for "/" and without "=", "-"
def encode_mailbox(name: str) -> bytes:
    """A mailbox name in modified UTF-7, not quoted."""
    written: list[bytes] = []
    for shifted in re.finditer(r"[\x20-\x7e]+|[^\x20-\x7e]+", name):
        text = shifted[0]
        if " " <= text[0] <= "~":
            written.append(text.replace("&", "&-").encode("ascii"))
        else:
            coded = b64encode(text.encode("utf-16-be", "surrogatepass")).rstrip(b"=").replace(b"/", b",")
            written.append(b"&" + coded + b"-")
    return b"".join(written)


def decode_mailbox(octets: bytes) -> str:
    """The inverse of :func:`encode_mailbox`; what is not modified UTF-7 stays as it stands."""
    return re.sub(r"&([A-Za-z0-9+,]*)-", _unshifted, decode(octets))


def _unshifted(match: re.Match[str]) -> str:
    coded = match[1].replace(",", "/")
    if not coded:
        return "&"
    try:
        return b64decode(coded + "=" * (-len(coded) % 4), validate=True).decode("utf-16-be", "surrogatepass")
    except (Base64Error, UnicodeDecodeError):
        return match[0]


@dataclass(frozen=True, slots=True)
class _Unit:
    """One line with its literals: text and literals alternate, beginning and ending with text."""

    pieces: tuple[bytes, ...]
    raw: bytes
    broken: bool = False


class _Units:
    """Frames a stream into lines, literals taken in."""

    __slots__ = ("_buffer", "_need", "_pieces", "_raw", "_searched", "_size", "_skip", "_synchronising")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._searched = 0
        self._skip = 0
        self._synchronising = False
        self._clear()

    def _clear(self) -> None:
        self._pieces: list[bytes] = []
        self._raw: list[bytes] = []
        self._size = 0
        self._need: int | None = None

    @property
    def pending(self) -> bytes:
        return b"".join(self._raw) + bytes(self._buffer)

    @property
    def awaiting(self) -> bool:
        due = self._need is not None or self._skip > 0
        return due and self._synchronising and not self._buffer

    def feed(self, octets: bytes) -> list[_Unit]:
        self._buffer += octets
        return list(self._complete())

    def abandon(self) -> _Unit | None:
        self._skip = 0
        if self._need is None:
            return None
        self._pieces.append(b"")
        return self._finish()

    def _complete(self) -> Iterator[_Unit]:
        while True:
            if self._skip:
                size = min(self._skip, MAX_LINE)
                if len(self._buffer) < size:
                    return
                self._skip -= size
                self._synchronising = False
                yield _Unit((b"",), self._take(size), broken=True)
                continue
            if self._need is not None:
                if len(self._buffer) < max(self._need, 1):  # even an empty literal waits for what follows it
                    return
                self._add(self._take(self._need), literal=True)
                self._need = None
            end = self._line_end()
            if end is None:
                return
            yield from self._line(self._take(end))

    def _line_end(self) -> int | None:
        """The offset after the next line, or after as much as a line may have."""
        newline = self._buffer.find(b"\n", self._searched, MAX_LINE)
        if newline >= 0:
            return newline + 1
        self._searched = min(len(self._buffer), MAX_LINE)
        return MAX_LINE if len(self._buffer) >= MAX_LINE else None

    def _line(self, line: bytes) -> Iterator[_Unit]:
        self._add(line, literal=False)
        match = _LITERAL.search(line)
        if match is None:
            yield self._finish(broken=not line.endswith(b"\n"))
            return
        self._pieces[-1] = line[: match.start()]
        length, self._synchronising = int(match[2]), not match[3]
        if self._size + length > MAX_UNIT:
            self._skip = length
            yield self._finish(broken=True)
        else:
            self._need = length

    def _add(self, octets: bytes, *, literal: bool) -> None:
        self._pieces.append(octets if literal else octets.rstrip(b"\r\n"))
        self._raw.append(octets)
        self._size += len(octets)

    def _finish(self, *, broken: bool = False) -> _Unit:
        unit = _Unit(tuple(self._pieces), b"".join(self._raw), broken)
        self._clear()
        return unit

    def _take(self, size: int) -> bytes:
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        self._searched = 0
        return taken


# command = tag SP command-name *(SP argument) CRLF ; uid = "UID" SP (copy / fetch / search / store)
def _command(unit: _Unit) -> ImapCommand:
    first, _, rest = unit.pieces[0].partition(b" ")
    if unit.broken or _TAG.fullmatch(first) is None:
        return ImapCommand("", "", (), unit.raw)
    word, _, rest = rest.partition(b" ")
    if _NAME.fullmatch(word) is None:
        return ImapCommand("", "", (), unit.raw)
    name = decode(word).upper()
    if name == "UID":
        second, _, rest = rest.partition(b" ")
        name = f"UID {decode(second).upper()}"
    return ImapCommand(decode(first), name, _arguments((rest, *unit.pieces[1:])), unit.raw)


def _response(unit: _Unit) -> ImapResponse:
    literals = unit.pieces[1::2]
    tag, space, _ = unit.pieces[0].partition(b" ")
    line = unit.raw.removesuffix(b"\n").removesuffix(b"\r")
    if unit.broken or (tag not in (b"*", b"+") and _TAG.fullmatch(tag) is None):
        return ImapResponse("", line, literals, unit.raw)
    return ImapResponse(decode(tag), line[len(tag) + len(space) :], literals, unit.raw)


def _arguments(pieces: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """The arguments of a command; a literal inside parentheses stays in the list that it is part of."""
    arguments: list[bytes] = []
    open_list: list[bytes] = []
    depth = 0
    for index, piece in enumerate(pieces):
        if index % 2:
            if depth:
                open_list.append(b"{%d}\r\n%s" % (len(piece), piece))
            else:
                arguments.append(piece)
            continue
        position = 0
        while position < len(piece):
            token, position, change = _token(piece, position, depth)
            if depth or change:
                open_list.append(token)
            elif token:
                arguments.append(_value(token))
            depth = max(0, depth + change)
            if open_list and not depth:
                arguments.append(b"".join(open_list))
                open_list = []
    if open_list:
        arguments.append(b"".join(open_list))
    return tuple(arguments)


def _token(piece: bytes, position: int, depth: int) -> tuple[bytes, int, int]:
    """The token at a position, where the next begins, and by how much it opens or closes brackets."""
    mark = piece[position : position + 1]
    if mark == b'"':
        end = _quote_end(piece, position)
        return piece[position:end], end, 0
    if mark in (b"(", b"["):
        return mark, position + 1, 1
    if mark in (b")", b"]"):
        return mark, position + 1, -1 if depth else 0
    if mark in (b" ", b"{"):
        return (mark if depth else b""), position + 1, 0
    if depth:
        match = _IN_LIST.match(piece, position)
        end = match.end() if match else position + 1
        return piece[position:end], end, 0
    match = _ATOM_END.search(piece, position)
    end = match.start() if match else len(piece)
    if piece[end : end + 1] == b"[":
        return piece[position : end + 1], end + 1, 1
    return piece[position:end], max(end, position + 1), 0


def _quote_end(piece: bytes, start: int) -> int:
    index = start + 1
    while index < len(piece):
        if piece[index] == 0x5C:
            index += 1
        elif piece[index] == 0x22:
            return index + 1
        index += 1
    return len(piece)


def _value(token: bytes) -> bytes:
    """The value of an atom or a quoted string."""
    if len(token) >= 2 and token[:1] == b'"' and token[-1:] == b'"':
        return _QUOTED_PAIR.sub(rb"\1", token[1:-1])
    return token


def quoted(text: bytes | str) -> bytes:
    """A quoted string to send (RFC 3501 9).

    :raises ValueError: it holds a CR, LF, NUL or an octet above 127: only a literal can carry that.
    """
    octets = encode(text) if isinstance(text, str) else text
    if any(octet in b"\r\n\0" or octet > 127 for octet in octets):
        raise ValueError(f"{octets!r} cannot be a quoted string")
    return b'"' + octets.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'
