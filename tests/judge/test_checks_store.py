"""Rules about what the PF says to the message store: what breaks each, and neighbours that must not."""

from __future__ import annotations

import pytest

from cpmspec.evidence.trace import Kind, Pco, Role
from cpmspec.judge.checks import store_rules
from cpmspec.judge.verdict import Grade, Verdict
from cpmspec.wire.imap import MAX_LINE
from scene import Scene, verdicts

PASS, FAIL = Verdict.PASS, Verdict.FAIL
LINE, LITERAL, NUL, TEXT, ENDS, NAME = (
    "HIS-3501-2.2.1-01", "HIS-3501-4.3-01", "HIS-3501-9-01", "HIS-3501-9-02", "HIS-3501-2.2-01", "HIS-3501-5.1.3-01",
)  # fmt: skip
OBJECT = b"From: <sip:bob@example.com>\r\nDate: Mon, 23 Nov 2026 10:00:00 +0000\r\n\r\nhello"


def found(scene: Scene, rule: str) -> list[Verdict]:
    return verdicts(scene, store_rules.RULES, rule)


def said(*lines: bytes) -> Scene:
    scene = Scene()
    scene.imap(*((line, b"") for line in lines), opened=True)
    return scene


def appended(octets: bytes, **options: str) -> Scene:
    """A message deferred for the user, and an object that the PF writes."""
    scene = Scene()
    sent = scene.defer(content=b"hello", more=options)
    scene.record(sent, octets=octets)
    return scene


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([b"a1 NOOP\r\n"], [PASS]),
        ([b'a1 SELECT "x\r\n', b"a2 DELETE z\r\n"], [PASS, PASS]),
        ([b'a1 SELECT "x\r\n', b'y"\r\n'], [PASS, FAIL]),
        ([b"a1 AUTHENTICATE PLAIN\r\n", b"AGFsaWNlAHNlY3JldA==\r\n", b"a2 NOOP\r\n"], [PASS, PASS]),
        ([b"a1 IDLE\r\n", b"DONE\r\n", b"what\r\n"], [PASS]),
        ([b"a1 NOOP\r\n", b"\r\n"], [PASS]),
        ([b"what\r\n"], [FAIL]),
        ([b"x" * MAX_LINE, b"\r\n"], []),  # cut by the reader
        ([b"a1 APPEND c {70000000+}\r\n", b"x" * MAX_LINE, b"more\r\n"], []),  # not read
    ],
)
def test_every_line_is_a_command(lines: list[bytes], expected: list[Verdict]) -> None:
    assert found(said(*lines), LINE) == expected


@pytest.mark.parametrize(
    ("octets", "literal", "nul"),
    [
        (b"a1 APPEND c {5+}\r\nhello\r\n", [PASS], [PASS]),
        (b"a1 APPEND c {5+}\r\nhello {2+}\r\nhi\r\n", [PASS, PASS], [PASS, PASS]),
        (b"a1 SEARCH (OR TEXT {1+}\r\nx)\r\n", [PASS], [PASS]),
        (b"a1 APPEND c {4+}\r\nhello\r\n", [FAIL], [PASS]),
        (b"a1 APPEND c {5+}\r\nhe\0lo\r\n", [PASS], [FAIL]),
        (b"a1 APPEND c ~{5+}\r\nhe\0lo\r\n", [PASS], [PASS]),
        (b"a1 APPEND c {5+}\r\nhel", [], []),  # cut off with its connection
        (b"a1 NOOP\r\n", [], []),
    ],
)
def test_a_literal_is_counted(octets: bytes, literal: list[Verdict], nul: list[Verdict]) -> None:
    scene = said(octets)
    assert (found(scene, LITERAL), found(scene, NUL)) == (literal, nul)


@pytest.mark.parametrize(
    ("octets", "text", "ends"),
    [
        (b'a1 LOGIN "al" "x"\r\n', [PASS], [PASS]),
        (b'a1 LOGIN "a\\"l" "\\\\"\r\n', [PASS], [PASS]),
        (b'a1 SELECT "x\r\n', [FAIL], [PASS]),
        (b'a1 LOGIN "\xc3\xa4" "x"\r\n', [FAIL], [PASS]),
        (b'a1 LOGIN "a\0" "x"\r\n', [FAIL], [PASS]),
        (b'a1 LOGIN "a\rb" "x"\r\n', [FAIL], [PASS]),
        (b"a1 LOGIN {2+}\r\n\xc3\xa4 x\r\n", [PASS], [PASS]),
        (b"a1 NOOP\n", [PASS], [FAIL]),
        (b"a1 LOGIN {1+}\na x\r\n", [PASS], [FAIL]),
    ],
)
def test_outside_of_literals(octets: bytes, text: list[Verdict], ends: list[Verdict]) -> None:
    scene = said(octets)
    assert (found(scene, TEXT), found(scene, ENDS)) == (text, ends)


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (b"CREATE conv", [PASS]),
        (b'CREATE "a &- b"', [PASS]),
        (b"CREATE &AOQ-", [PASS]),
        (b"CREATE a&b", [FAIL]),
        (b"CREATE &AGE-", [FAIL]),  # an "a" stands for itself
        (b"CREATE &AOQ-&AOQ-", [FAIL]),
        (b"CREATE {2+}\r\n\xc3\xa4", [FAIL]),
        (b"RENAME a &", [PASS, FAIL]),
        (b"LOGIN & x", []),
        (b"CREATE", []),
    ],
)
def test_the_names_of_mailboxes(command: bytes, expected: list[Verdict]) -> None:
    assert found(said(b"a1 " + command + b"\r\n"), NAME) == expected


def test_utf8_that_was_enabled() -> None:
    scene = said(b"a1 ENABLE UTF8=ACCEPT\r\n", b'a2 CREATE "\xc3\xa4"\r\n')
    assert (found(scene, NAME), found(scene, TEXT)) == ([], [PASS, PASS])
    scene = said(b"a1 ENABLE CONDSTORE\r\n", b'a2 CREATE "\xc3\xa4"\r\n')
    assert (found(scene, NAME), found(scene, TEXT)) == ([FAIL], [PASS, FAIL])
    scene = said(b'a1 CREATE "\xc3\xa4"\r\n', b"a2 ENABLE UTF8=ACCEPT\r\n")
    scene.imap((b'a1 CREATE "\xc3\xa4"\r\n', b""), opened=True)
    assert found(scene, NAME) == [FAIL, FAIL]


# --- objects ----------------------------------------------------------------------------------------------------------

HEAD, WHO, PAIRS, LONG = "HIS-5322-2.2-01", "HIS-5322-3.6-01", "HIS-5322-2.3-01", "HIS-5322-2.1.1-01"


@pytest.mark.parametrize(
    ("octets", "broken"),
    [
        (OBJECT, ""),
        (OBJECT.replace(b"From:", b"Subject: a\r\n b\r\nFROM :"), ""),
        (OBJECT.replace(b"From:", b"not a field\r\nFrom:"), HEAD),
        (OBJECT.replace(b"From:", b"Sender:"), WHO),
        (OBJECT.replace(b"Date", b"From: <sip:x>\r\nDate"), WHO),
        (OBJECT + b"\nmore", PAIRS),
        (OBJECT + b"\rmore", PAIRS),
        (OBJECT + b"\r\n" + b"x" * 998, ""),
        (OBJECT + b"\r\n" + b"x" * 999, LONG),
    ],
)
def test_an_object_is_a_message(octets: bytes, broken: str) -> None:
    scene = appended(octets)
    wanted = {rule: [FAIL if rule == broken else PASS] for rule in (HEAD, WHO, PAIRS, LONG)}
    assert {rule: found(scene, rule) for rule in wanted} == wanted
    assert scene.broken("HIS") == set()  # APPEND only recommends that form
    grades = {one.grade for one in scene.judge().findings if one.requirement == broken}
    assert grades == ({Grade.NON_STRICT} if broken else set())


def test_what_was_not_written_whole_is_not_judged() -> None:
    scene = said(b"a1 APPEND c {50}\r\n")
    scene.put(Pco.STORE, Role.STORE, Role.IUT, b"a1 NO no\r\n", connection=scene.connection("store-1"))
    scene.imap((b"a1 APPEND c CATENATE (TEXT {1+}\r\nx)\r\n", b""))
    connection = scene.connection("store-x")
    scene.put(Pco.STORE, Role.IUT, Role.STORE, b"a1 APPEND c {1+}\r\nx\r\n", connection=connection)
    scene.put(Pco.STORE, Role.IUT, Role.STORE, b"", connection=connection, kind=Kind.RESET)
    assert found(scene, HEAD) == []


def test_the_folder_is_only_stated() -> None:
    scene = appended(OBJECT)
    scene.record(scene.defer(content=b"other"), octets=b"From: x\r\n\r\nother")
    scene.imap((b"a1 APPEND conv-1 {5+}\r\nhello\r\n", b"a1 OK\r\n"))
    assert found(scene, "HIS-CPM-8.6-01") == [PASS, PASS, PASS]
    grades = {one.grade for one in scene.judge().findings if one.requirement == "HIS-CPM-8.6-01"}
    assert grades == {Grade.INFORMATIONAL}


BOB = "<sip:bob@example.com>"


@pytest.mark.parametrize(
    ("asserted", "more", "told", "expected"),
    [
        ("<sip:mallory@example.com>", {}, b"From: <sip:mallory@example.com>", [PASS]),
        ("<sip:mallory@example.com>", {}, b'from:\r\n "M" <mallory@example.com>', [PASS]),
        ("<sip:mallory@example.com>", {}, b"From: <sip:bob@example.com>", [FAIL]),
        ("<sip:mallory@example.com>", {}, b"Sender: <sip:bob@example.com>", []),
        ("<sip:mallory@example.com>", {"Privacy": "id"}, b"From: <sip:bob@example.com>", []),
        (BOB, {}, b"From: <sip:x@example.com>", []),
        ("", {}, b"From: <sip:x@example.com>", []),
    ],
)
def test_an_object_names_whom_the_core_asserted(
    asserted: str, more: dict[str, str], told: bytes, expected: list[Verdict]
) -> None:
    headers = {"P-Asserted-Identity": asserted, **more} if asserted else more
    scene = appended(told + b"\r\n\r\nhello", **headers)
    assert found(scene, "HIS-CPM-8.6-02") == expected
