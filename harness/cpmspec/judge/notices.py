"""What the PF told the user: notifications of deferred messages, and the registrations that call for them."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cpmspec.evidence.context import ServedUser
from cpmspec.judge.deferred import user_of
from cpmspec.judge.octets import SipSeen
from cpmspec.judge.settings import Settings
from cpmspec.wire.headers import decode
from cpmspec.wire.mime import MediaType
from cpmspec.wire.sip import SipRequest, SipResponse
from cpmspec.wire.summary import parse_summary

SUMMARY = "application/simple-message-summary"


@dataclass(frozen=True, slots=True)
class Notice:
    """One notification: how many messages wait by its word, and which ones it names."""

    user: ServedUser
    seen: SipSeen
    count: int | None  #: those that are new by its word; ``None``: it states no number
    identifiers: tuple[str, ...]
    details: int  #: how many messages it describes one by one
    old: int = 0  #: those that it counts as told before (RFC 3842 5.2: new/old)


@dataclass(frozen=True, slots=True)
class Registration:
    """A third-party registration that the PF answered (TS 24.229 5.4.1.7); ``present`` is false for Expires 0."""

    user: ServedUser
    seen: SipSeen
    present: bool


def registrations(isc: Sequence[SipSeen], users: Sequence[ServedUser]) -> tuple[Registration, ...]:
    """All third-party registrations of served users that the PF accepted, without retransmissions."""
    found: list[Registration] = []
    done: set[tuple[str, int, str]] = set()
    for seen in isc:
        request = seen.message
        if seen.from_iut or not isinstance(request, SipRequest) or request.method != "REGISTER":
            continue
        user = user_of(users, str(request.to.uri) if request.to else None)
        if user is None or seen.transaction in done or not _accepted(isc, seen):
            continue
        done.add(seen.transaction)
        expires = request.expires
        if expires is None and request.contact:
            text = request.contact[0].param("expires")
            expires = int(text) if text and text.isdigit() else None
        found.append(Registration(user, seen, expires != 0))
    return tuple(found)


def _accepted(isc: Sequence[SipSeen], request: SipSeen) -> bool:
    return any(
        isinstance(seen.message, SipResponse)
        and seen.from_iut
        and seen.transaction == request.transaction
        and 200 <= seen.message.status < 300
        for seen in isc
    )


def notices(isc: Sequence[SipSeen], settings: Settings, forwarded: frozenset[str]) -> tuple[Notice, ...]:
    """All notifications that the PF sent to served users; ``forwarded`` are the Call-IDs of messages passed through."""
    found: list[Notice] = []
    done: set[tuple[str, int, str]] = set()
    for seen in isc:
        request = seen.message
        if not seen.from_iut or not isinstance(request, SipRequest) or request.method not in ("MESSAGE", "NOTIFY"):
            continue
        user = user_of(settings.context.users, str(request.to.uri) if request.to else request.uri)
        user = user or user_of(settings.context.users, request.uri)
        if user is None or seen.transaction in done or (request.call_id or "") in forwarded:
            continue
        done.add(seen.transaction)
        if (notice := _read(user, seen, request, settings)) is not None:
            found.append(notice)
    return tuple(found)


def _read(user: ServedUser, seen: SipSeen, request: SipRequest, settings: Settings) -> Notice | None:
    full = MediaType.parse(request.content_type or "").full
    if full == SUMMARY:
        summary = parse_summary(request.body)
        names = ("Message-ID", "imdn.Message-ID", "Call-ID", "Contribution-ID")
        identifiers = tuple(
            _bare(value) for message in summary.messages for name in names for value in message.get_all(name)
        )
        count = sum(one.new for one in summary.counts) if summary.counts else 0 if summary.waiting is False else None
        old = sum(one.old for one in summary.counts)
        return Notice(user, seen, count, identifiers, len(summary.messages), old)
    locator = settings.value("notification_locators")
    if isinstance(locator, Mapping) and str(locator.get("content_type", "")).strip().lower() == full:
        return _locate(user, seen, request.body, locator)
    return None


def _bare(identifier: str) -> str:
    return identifier[1:-1] if identifier.startswith("<") and identifier.endswith(">") else identifier


def _locate(user: ServedUser, seen: SipSeen, body: bytes, locator: Mapping[str, Any]) -> Notice:
    """Read any other form by the profile's locator: regular expressions, or XPath behind ``xpath:``."""
    counts = _find(body, str(locator.get("count", "")))
    identifiers = _find(body, str(locator.get("identifiers", "")))
    numbers = [int(text) for text in counts if text.strip().isdigit()]
    return Notice(user, seen, sum(numbers) if numbers else None, identifiers, len(identifiers))


def _find(body: bytes, where: str) -> tuple[str, ...]:
    if not where:
        return ()
    if where.startswith("xpath:"):
        return _xpath(body, where.removeprefix("xpath:"))
    return tuple(match.group(1) if match.re.groups else match.group(0) for match in re.finditer(where, decode(body)))


def _xpath(body: bytes, path: str) -> tuple[str, ...]:
    """The text of the nodes, or the values of the attribute that the path ends in; namespaces are left out of names."""
    if b"<!DOCTYPE" in body:  # no document type, so no entities to expand
        return ()
    try:
        root = ElementTree.fromstring(body)
    except ElementTree.ParseError:
        return ()
    for node in root.iter():
        node.tag = node.tag.rpartition("}")[2] if isinstance(node.tag, str) else node.tag
    steps, _, attribute = path.strip("/").partition("@")
    names = [name for name in steps.strip("/").split("/") if name]
    if not names or names[0] not in (root.tag, "*"):
        return ()
    try:
        nodes = root.findall("/".join(names[1:])) if names[1:] else [root]
    except (SyntaxError, TypeError):  # ElementTree raises either for a path that it cannot read
        return ()
    if attribute:
        return tuple(value for node in nodes if (value := node.get(attribute)) is not None)
    return tuple((node.text or "").strip() for node in nodes)
