"""What is inside a delivered message: its parts, the headers they encapsulate, and which deferred message it is.

Reading is lenient on purpose: each check looks at one thing, so a message whose Content-Type or part types are wrong
is still taken apart as far as it goes, and only the requirement that it really breaks is reported.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from cpmspec.judge.deferred import Deferred
from cpmspec.judge.transfers import Attempt
from cpmspec.wire.fragment import Fragment, parse_fragment
from cpmspec.wire.headers import Headers, decode
from cpmspec.wire.mime import MediaType, Multipart, Part, parse_multipart

SIP_TYPES = frozenset({"message/sip", "message/sipfrag"})
MSRP_TYPE = "message/msrpfrag"
#: headers beside the Call-ID that are one message's alone: From has the tag of the request (RFC 3261 8.1.1.3)
UNIQUE = ("From", "Contribution-ID")
#: what tells messages with the same Call-ID apart
TELLING = (*UNIQUE, "Conversation-ID", "InReplyTo-Contribution-ID", "To", "Subject", "Date", "Content-Type")
#: multipart inside multipart: deeper than this nothing is searched (RFC 2046 sets no limit, hostile input needs one)
MAX_DEPTH = 8

# Lines that give a SIP header section away when its part has another type.
_SIP_MARK = re.compile(
    rb"^(?:call-id|i|from|f|to|t|conversation-id|contribution-id)[ \t]*:", re.IGNORECASE | re.MULTILINE
)


# A delimiter line at the very start, for messages that do not say their boundary (RFC 2046 5.1.1).
_DELIMITER = re.compile(rb"--([0-9A-Za-z'()+_,./:=?-]{1,70})\r\n")


@dataclass(frozen=True, slots=True)
class Encapsulated:
    """A part with headers of a stored request: ``kind`` is "sip" or "msrp", ``media_type`` as declared."""

    part: Part
    media_type: str
    kind: str
    fragment: Fragment
    declared: bool  #: whether the declared type is one made for such headers


class Anatomy:
    """One attempt, taken apart, and matched with what was deferred."""

    def __init__(self, attempt: Attempt, deferred: Sequence[Deferred]) -> None:
        self.attempt = attempt
        self._deferred = deferred
        self.assumed: Deferred | None = None  #: what it must be, if nothing in it tells: the only one that is missing

    @cached_property
    def multipart(self) -> Multipart | None:
        """The message as a multipart: by the boundary that its type names, else by the first delimiter in it."""
        content_type = self.attempt.content_type or ""
        if MediaType.parse(content_type).param("boundary"):
            return parse_multipart(content_type, self.attempt.body)
        guess = _DELIMITER.match(self.attempt.body)
        return parse_multipart(f'multipart/mixed;boundary="{decode(guess[1])}"', self.attempt.body) if guess else None

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """The parts of the multipart, nested ones after the part they stand in."""
        return tuple(_nodes(self.multipart.parts, 0)) if self.multipart is not None else ()

    @cached_property
    def encapsulated(self) -> tuple[Encapsulated, ...]:
        """The top-level parts that hold headers of a stored request, whatever their type says.

        The actual message may itself be of such a type: it is what equals a deferred message's content, unless then
        nothing would be left to hold the headers of SIP.
        """
        parts = self.multipart.parts if self.multipart is not None else ()
        found = [one for part in parts if (one := self._encapsulated(part)) is not None]
        sip = [one for one in found if one.kind == "sip" and not self._is_content(one)]
        keep = sip or [one for one in found if one.kind == "sip"][:1]
        return tuple(
            one for one in found if (one in keep if one.kind == "sip" else not (one.declared and self._is_content(one)))
        )

    def _is_content(self, one: Encapsulated) -> bool:
        octets = one.part.decoded()
        return any(
            octets == other.content and one.media_type == MediaType.parse(other.content_type or "").full
            for other in self._deferred
        )

    def _encapsulated(self, part: Part) -> Encapsulated | None:
        full, octets = part.content_type.full, part.decoded()
        if full in SIP_TYPES:
            return Encapsulated(part, full, "sip", parse_fragment(part.content_type.text, octets), declared=True)
        if full == MSRP_TYPE:
            return Encapsulated(part, full, "msrp", parse_fragment(part.content_type.text, octets), declared=True)
        if any(octets == one.content for one in self._deferred):
            return None  # the actual message, even if it looks like headers
        section = octets.split(b"\r\n\r\n", 1)[0]
        if self._holds_msrp(fragment := parse_fragment(MSRP_TYPE, section)):
            return Encapsulated(part, full, "msrp", fragment, declared=False)
        if len({match.group(0).lower() for match in _SIP_MARK.finditer(section)}) >= 2:
            return Encapsulated(part, full, "sip", parse_fragment("message/sipfrag", octets), declared=False)
        return None

    def _holds_msrp(self, fragment: Fragment) -> bool:
        """Whether a section names the Message-ID of an originator's SEND."""
        message_id = fragment.headers.get("Message-ID")
        return message_id is not None and any(one.msrp_message_id == message_id for one in self._deferred)

    def headers_of(self, kind: str) -> tuple[Headers, ...]:
        """The sections that hold SIP ("sip") or MSRP ("msrp") headers; the latter also in a part of a SIP type."""
        return tuple(
            one.fragment.headers
            for one in self.encapsulated
            if one.kind == kind or (kind == "msrp" and self._holds_msrp(one.fragment))
        )

    @cached_property
    def misplaced_msrp(self) -> Encapsulated | None:
        """A part that holds MSRP headers but is not message/msrpfrag."""
        for one in self.encapsulated:
            if (one.kind == "msrp" and not one.declared) or (one.kind == "sip" and self._holds_msrp(one.fragment)):
                return one
        return None

    @cached_property
    def contents(self) -> tuple[tuple[bytes, str | None, Part | None], ...]:
        """Everything that can be the actual message: octets, its Content-Type as declared, and its part."""
        if self.multipart is None:
            return ((self.attempt.body, self.attempt.content_type, None),)
        headers = [one.part for one in self.encapsulated if one.declared]
        found: list[tuple[bytes, str | None, Part | None]] = []
        for part in self.parts:
            full = part.content_type.full
            if full in SIP_TYPES:
                body = parse_fragment(full, part.decoded())
                if body.body:
                    found.append((body.body, body.headers.get("Content-Type"), part))
            if not any(part is one for one in headers):
                found.append((part.decoded(), part.headers.get("Content-Type"), part))
        return tuple(found)

    @cached_property
    def by_headers(self) -> tuple[Deferred, ...]:
        """The deferred messages that the encapsulated headers identify."""
        found: list[Deferred] = []
        for headers in self.headers_of("sip"):
            candidates = self._narrowed(headers, _identified(headers, self._deferred))
            found.extend(candidates if len(candidates) == 1 else ())
        if not found and not self.rivals:
            found.extend(one for one in self._deferred if one.msrp_message_id in self._sent_ids and one.msrp_message_id)
        return tuple(dict.fromkeys(found))

    @cached_property
    def rivals(self) -> tuple[Deferred, ...]:
        """Several deferred messages that nothing in it tells apart."""
        found = (self._narrowed(headers, _identified(headers, self._deferred)) for headers in self.headers_of("sip"))
        return tuple(next((candidates for candidates in found if len(candidates) > 1), ()))

    @cached_property
    def _sent_ids(self) -> frozenset[str | None]:
        return frozenset(headers.get("Message-ID") for headers in self.headers_of("msrp"))

    def _narrowed(self, headers: Headers, candidates: list[Deferred]) -> list[Deferred]:
        """Those of several messages with one Call-ID that fit best: by SEND, by content, by the other headers."""
        for fit in ([one for one in candidates if one.msrp_message_id in self._sent_ids], self.by_content):
            candidates = [one for one in candidates if one in fit] or candidates
        same = [sum(headers.get(name) == one.request.headers.get(name) for name in TELLING) for one in candidates]
        return [one for one, count in zip(candidates, same, strict=True) if count == max(same)]

    @cached_property
    def by_content(self) -> tuple[Deferred, ...]:
        """The deferred messages whose content stands in it, octet for octet; contents that several share name none.

        What stands inside a part counts only where no part as a whole is such a content.
        """
        outer = self.multipart.parts if self.multipart is not None else ()
        whole = {octets for octets, _, part in self.contents if part is None or any(part is one for one in outer)}
        bodies = {octets for octets, _, _ in self.contents}
        for octets in (whole, bodies):
            found = tuple(one for one in self._deferred if one.content and one.content in octets)
            if found:
                return tuple(one for one in found if self._unique(one))
        return ()

    def _unique(self, one: Deferred) -> bool:
        rivals = [other for other in self._deferred if other.content == one.content]
        return rivals == [one] or [other for other in rivals if other.firm] == [one]

    @cached_property
    def matched(self) -> tuple[Deferred, ...]:
        """Which deferred messages it carries: by its headers, else by its content."""
        if len(self.by_content) > 1:  # several messages in one: all of them were sent
            return tuple(dict.fromkeys((*self.by_headers, *self.by_content)))
        return self.by_headers or self.by_content or ((self.assumed,) if self.assumed is not None else ())

    @property
    def one(self) -> Deferred | None:
        """The deferred message, if it is exactly one."""
        return self.matched[0] if len(self.matched) == 1 else None


def _nodes(parts: Sequence[Part], depth: int) -> Iterator[Part]:
    for part in parts:
        yield part
        if part.content_type.type == "multipart" and depth < MAX_DEPTH:
            yield from _nodes(parse_multipart(part.content_type.text, part.decoded()).parts, depth + 1)


def _identified(headers: Headers, deferred: Sequence[Deferred]) -> list[Deferred]:
    """By Call-ID; where that is missing or altered, by what else is the message's own."""
    call_id = headers.get("Call-ID")
    exact = [one for one in deferred if call_id and one.call_id == call_id]
    if exact:
        return exact
    own = [
        one
        for one in deferred
        if any((value := headers.get(name)) is not None and value == one.request.headers.get(name) for name in UNIQUE)
    ]
    return own if len(own) == 1 else []
