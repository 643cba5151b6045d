"""Notifications: the ways in which a PF may tell of waiting messages, and the locator that finds it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cpmspec.evidence.trace import Role
from cpmspec.judge.facts import Facts
from cpmspec.judge.notices import Notice
from scene import ALICE, Scene

TYPE = "application/vnd.waiting+xml"
XML = b"""<?xml version="1.0"?>
<w:list xmlns:w="urn:w" w:total="2"><w:message id="one@bob"><w:count> 2 </w:count></w:message>
<w:message id="two@bob"/><w:empty/><!-- a remark --></w:list>"""


def notices(content_type: str, body: bytes, locator: object = None, method: str = "MESSAGE") -> tuple[Notice, ...]:
    scene = Scene(ALICE, notification_locators={} if locator is None else locator)
    extra = [("Content-Type", content_type)]
    scene.request(Role.IUT, Role.CORE, method, ALICE.uri, "sip:pf@example.com", f"<{ALICE.uri}>", "note", extra, body)
    return Facts(scene.trace()).notices


def located(body: bytes, count: str = "", identifiers: str = "") -> tuple[int | None, tuple[str, ...]]:
    (found,) = notices(TYPE, body, {"content_type": TYPE, "count": count, "identifiers": identifiers})
    return found.count, found.identifiers


@pytest.mark.parametrize("method", ["MESSAGE", "NOTIFY"])
def test_a_summary(method: str) -> None:
    body = b"Messages-Waiting: yes\r\nPager-Message: 2/1\r\n\r\nMessage-ID: <one@bob>\r\n\r\nCall-ID: two@bob\r\n"
    (found,) = notices("application/simple-message-summary", body, method=method)
    assert (found.count, found.old, found.details, found.identifiers) == (2, 1, 2, ("one@bob", "two@bob"))


@pytest.mark.parametrize(("waiting", "count"), [("yes", None), ("no", 0)])
def test_a_summary_without_a_number(waiting: str, count: int | None) -> None:
    (found,) = notices("application/simple-message-summary", f"Messages-Waiting: {waiting}\r\n".encode())
    assert found.count == count


def test_a_form_that_nobody_described() -> None:
    assert notices(TYPE, XML) == ()
    assert notices(TYPE, XML, {"content_type": "text/plain"}) == ()
    assert notices(TYPE, XML, "text/plain") == ()


@pytest.mark.parametrize(
    ("count", "identifiers", "expected"),
    [
        (r"total=\"(\d+)\"", r"id=\"([^\"]+)\"", (2, ("one@bob", "two@bob"))),
        (r"\b2\b", r"\w+@bob", (4, ("one@bob", "two@bob"))),
        ("", "", (None, ())),
        ("none of this", "nor that", (None, ())),
        ("xpath:/list/message/count", "xpath:/list/message/@id", (2, ("one@bob", "two@bob"))),
        ("xpath:list@total", "xpath:/*/message/@id", (None, ("one@bob", "two@bob"))),
        ("xpath:/list/empty", "xpath:/other/message/@id", (None, ())),
        ("xpath:", "xpath:/list/message[", (None, ())),
        ("xpath:/list/a:b", "xpath:/list/message[@id='two@bob'/@id", (None, ())),
        ("xpath:list", "xpath:/list/message/@nothing", (None, ())),
    ],
)
def test_a_locator(count: str, identifiers: str, expected: tuple[int | None, tuple[str, ...]]) -> None:
    assert located(XML, count, identifiers) == expected


@pytest.mark.parametrize("body", [b"no xml", b"<!DOCTYPE list [<!ENTITY a '1'>]><list><n>1</n></list>"])
def test_xml_that_is_not_read(body: bytes) -> None:
    assert located(body, "xpath:/list/n") == (None, ())


@pytest.mark.parametrize(
    ("head", "present"),
    [
        ([("Contact", "<sip:core>;expires=0")], False),
        ([("Contact", "<sip:core>;expires=9")], True),
        ([("Contact", "<sip:core>;expires=soon")], True),
        ([], True),
        ([("Expires", "0")], False),
    ],
)
def test_a_registration_ends_by_either_header(head: list[tuple[str, str]], present: bool) -> None:
    scene = Scene()
    for number in range(2):
        copied = scene.request(
            Role.CORE, Role.IUT, "REGISTER", "sip:pf", "sip:core", f"<{ALICE.uri}>", "reg", head, cseq=1 + number
        )
        scene.response(Role.IUT, Role.CORE, 200 if number else 403, copied)
    (found,) = Facts(scene.trace()).registrations
    assert (found.user, found.present) == (ALICE, present)


def test_what_is_no_registration_of_a_served_user() -> None:
    scene = Scene()
    scene.register(replace(ALICE, uri="sip:carol@example.com"))
    assert Facts(scene.trace()).registrations == ()
