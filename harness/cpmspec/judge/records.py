"""What the PF wrote to the user's history: each APPEND, and the deferred message that it records (8.6)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from cpmspec.evidence.context import ServedUser
from cpmspec.judge.deferred import Deferred
from cpmspec.judge.octets import StoreCommand
from cpmspec.wire.headers import Header, Headers
from cpmspec.wire.mime import MediaType, Part, parse_multipart

#: nesting of an object's parts that is searched for the message
MAX_DEPTH = 8
# date-time = DQUOTE date-day-fixed "-" date-month "-" date-year SP time SP zone DQUOTE (RFC 3501 9)
_DATE_TIME = re.compile(rb"[ 0-9][0-9]-[A-Za-z]{3}-[0-9]{4} [0-9:]{8} [-+][0-9]{4}")
# headers that name a message
_NAMED = re.compile(rb"^(?:call-id|conversation-id|contribution-id|imdn\.message-id) *:", re.IGNORECASE | re.MULTILINE)
# what an identifier may consist of: beside one, such a character makes it another one
_INNER = rb"[A-Za-z0-9._%+@-]"


@dataclass(frozen=True, slots=True)
class Record:
    """One APPEND: whose account, into which folder, what, and which deferred messages are in it."""

    command: StoreCommand
    user: ServedUser | None
    mailbox: bytes
    octets: bytes
    matched: tuple[Deferred, ...]
    with_content: bool  #: whether the message's octets are in it, not only its identifiers
    texts: tuple[bytes, ...]  #: the object, and the bodies in it, decoded

    @property
    def begin_us(self) -> int:
        """When the first octets of the command crossed."""
        return self.command.first.time_us

    @property
    def frame(self) -> int:
        """The packet with the start of the command."""
        return self.command.first.number


def records(
    commands: Sequence[StoreCommand], deferred: Sequence[Deferred], users: Sequence[ServedUser]
) -> tuple[Record, ...]:
    """All objects that the IUT wrote or tried to write."""
    found = []
    for command in commands:
        arguments = command.command.arguments
        if command.command.name != "APPEND" or len(arguments) < 2:
            continue
        user = next((user for user in users if user.account == command.account), None)
        for octets in _messages(arguments[1:]):
            texts = (octets, *_bodies(octets))
            matched, with_content = _match(texts, deferred, user)
            found.append(Record(command, user, arguments[0], octets, matched, with_content, texts))
    return tuple(found)


def _messages(arguments: Sequence[bytes]) -> list[bytes]:
    """The messages of an APPEND, which may be several (RFC 3502), without their flags and dates."""
    messages = [one for one in arguments if one and not one.startswith(b"(") and not _DATE_TIME.fullmatch(one)]
    return messages or [arguments[-1]]


def _match(
    texts: Sequence[bytes], deferred: Sequence[Deferred], user: ServedUser | None
) -> tuple[tuple[Deferred, ...], bool]:
    """The messages that an object names, with their content if it can be; else those whose content it is.

    A content alone may be several messages'; then it is one of the account's user, if he has any such. In an account
    that is nobody's, an object that names another message is not one of ours.
    """
    flat = [_unix(text) for text in texts]
    exact = [one for one in deferred if one.content and _unix(one.content) in flat]
    holding = [one for one in deferred if one.content and any(_unix(one.content) in text for text in flat)]
    names = {one.key: _names(one, texts) for one in deferred}
    named = [one for one in deferred if names[one.key] and names[one.key] == max(names.values())]
    both = [one for one in holding if one in named]
    bare = [] if user is None and _NAMED.search(texts[0].split(b"\r\n\r\n", 1)[0]) else exact or holding
    matched = both or named or [one for one in bare if one.user == user] or bare
    return tuple(matched), bool(matched) and all(one in holding or not one.content for one in matched)


def _names(one: Deferred, texts: Sequence[bytes]) -> int:
    """How many identifiers of a message stand in an object, each as a whole word."""
    own = (one.call_id, one.imdn_message_id, one.msrp_message_id)
    words = [re.escape(identifier.encode("utf-8", "surrogateescape")) for identifier in own if identifier]
    patterns = (re.compile(b"(?<!" + _INNER + b")" + word + b"(?!" + _INNER + b")") for word in words)
    return sum(any(pattern.search(text) for text in texts) for pattern in patterns)


def _unix(octets: bytes) -> bytes:
    """Line ends made equal: a store may not keep a lone LF, and an object's last line end is its own (RFC 5322 2.1)."""
    return octets.replace(b"\r\n", b"\n").strip(b"\n")


def _bodies(octets: bytes, depth: int = 0) -> list[bytes]:
    """The decoded leaves of an RFC 5322 object."""
    head, _, body = octets.partition(b"\r\n\r\n")
    part = Part(_fields(head), body)
    media_type: MediaType = part.content_type
    if media_type.type == "multipart" and media_type.param("boundary") and depth < MAX_DEPTH:
        found = [part.decoded()]
        for inner in parse_multipart(media_type.text, body).parts:
            found.append(inner.decoded())
            found.extend(_bodies(inner.headers.octets() + b"\r\n" + inner.body, depth + 1))
        return found
    return [part.decoded()]


def _fields(head: bytes) -> Headers:
    """The fields of an RFC 5322 head that say how the body is coded, whatever octets stand in them."""
    lines = head.replace(b"\r\n ", b" ").replace(b"\r\n\t", b" ").split(b"\r\n")
    pairs = [line.decode("utf-8", "surrogateescape").partition(":")[::2] for line in lines if b":" in line]
    told = [(name.strip(), value.strip()) for name, value in pairs]
    return Headers(Header.unchecked(name, value) for name, value in told if name.lower().startswith("content-"))
