"""Where a time of receipt may stand, and in which forms."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from cpmspec.judge.checks.times import parse_time, times_of
from cpmspec.judge.facts import Facts
from cpmspec.wire.cpim import build_cpim
from scene import ALICE, Scene, Wrapped

QUIET = replace(ALICE, history=False)
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
NOON_US = round(NOON.timestamp() * 1_000_000)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Sun, 01 Mar 2026 12:00:00 GMT", NOON),
        ("2026-03-01T12:00:00Z", NOON),
        ("2026-03-01T13:00:00+01:00", NOON),
        (" 2026-03-01 12:00:00+00:00 ", NOON),
        ("2026-03-01T12:00:00", None),
        ("Sun, 01 Mar 2026 12:00:00 -0000", None),
        ("noon", None),
        ("", None),
    ],
)
def test_forms_of_a_time(text: str, expected: datetime | None) -> None:
    assert parse_time(text) == expected


def found(
    mode: str, *places: str, cpim: bytes = b"", kind: str = "text/plain", dated: bool = False, **head: str
) -> list[tuple[str, int]]:
    """The times at these places of a delivered message; ``dated``: the SEND that was deferred had a Date."""
    scene = Scene(QUIET)
    content = cpim if kind == "message/cpim" else b"text"
    sent = scene.defer(mode, content=content, kind=kind)
    if dated:
        scene.frames = [
            replace(
                one, octets=one.octets.replace(b"Success-Report: yes\r\n", b"Success-Report: yes\r\nDate: x\r\n", 1)
            )
            for one in scene.frames
        ]
    session = scene.session()
    wrapped: Wrapped = session.wrap(sent)
    wrapped.date = None
    if mode == "large":
        wrapped.msrp.append(("Date", "2026-03-01T12:00:00Z"))
    if cpim and kind != "message/cpim":
        part = b"--b0und\r\nContent-Type: message/cpim\r\n\r\n" + cpim + b"\r\n--b0und--"
        wrapped.octets = wrapped.render().replace(b"--b0und--", part)
    octets = wrapped.render()
    session.chunk(wrapped.content_type, "idone", octets, 1, len(octets), "$", 200, **head)
    facts = Facts(scene.trace())
    return times_of(facts.anatomies[0], facts.deferred[0], places)


CPIM = build_cpim("sip:a@example.com", "sip:b@example.com", b"x", "text/plain", date_time="2026-03-01T12:00:00Z")
UNDATED = build_cpim("sip:a@example.com", "sip:b@example.com", b"x", "text/plain")
NOON_TEXT = "Sun, 01 Mar 2026 12:00:00 GMT"


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        (lambda: found("pager", "msrp:Date", Date=NOON_TEXT), [("msrp:Date", NOON_US)]),
        (lambda: found("pager", "msrp:Date", Date="never"), []),
        (lambda: found("large", "msrp:Date"), [("msrp:Date", NOON_US)]),
        (lambda: found("large", "msrp:Date", dated=True), []),
        (lambda: found("pager", "cpim:DateTime", cpim=CPIM), [("cpim:DateTime", NOON_US)]),
        (lambda: found("pager", "cpim:DateTime", cpim=UNDATED), []),
        (lambda: found("pager", "cpim:DateTime", cpim=CPIM, kind="message/cpim"), []),
        (lambda: found("pager", "somewhere:Date"), []),
    ],
)
def test_places_of_a_time(times: object, expected: list[tuple[str, int]]) -> None:
    assert callable(times)
    assert times() == expected
