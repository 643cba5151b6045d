"""Where a delivered message may carry the time at which the PF received it (IXIT ``timestamp_locations``)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from cpmspec.judge.anatomy import Anatomy
from cpmspec.judge.deferred import Deferred
from cpmspec.wire.cpim import parse_cpim


def times_of(anatomy: Anatomy, one: Deferred, places: Sequence[str]) -> list[tuple[str, int]]:
    """Each time found at one of the places, in microseconds since the epoch.

    A value that the original already had at its place is the sender's, not the PF's, and does not count.
    """
    found = []
    for place in places:
        for text in _texts(anatomy, one, place):
            if (moment := parse_time(text)) is not None:
                found.append((place, round(moment.timestamp() * 1_000_000)))
    return found


def parse_time(text: str) -> datetime | None:
    """An RFC 1123 or RFC 3339 time; ``None`` for anything else, or a time without zone."""
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError):
        try:
            moment = datetime.fromisoformat(text.strip())
        except ValueError:
            return None
    if moment.tzinfo is None:
        return None
    return moment.astimezone(UTC)


def _texts(anatomy: Anatomy, one: Deferred, place: str) -> Iterator[str]:
    where, _, name = place.partition(":")
    if where == "part":
        for part in anatomy.encapsulated:
            yield from part.part.headers.get_all(name)
    elif where == "sip" and one.request.headers.get(name) is None:
        for headers in anatomy.headers_of("sip"):
            yield from headers.get_all(name)
    elif where == "msrp":
        for chunk in anatomy.attempt.chunks[:1]:
            yield from chunk.head.headers.get_all(name)
        if one.send is None or one.send.get(name) is None:
            for headers in anatomy.headers_of("msrp"):
                yield from headers.get_all(name)
    elif where == "cpim":
        for octets, content_type, _ in anatomy.contents:
            if content_type is not None and content_type.lower().startswith("message/cpim") and octets != one.content:
                value = parse_cpim(octets).get(name)
                if value is not None:
                    yield value
