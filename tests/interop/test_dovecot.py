"""Dovecot as the message store behind our recording relay: what crosses it, what we read in it, what the judge sees."""

from __future__ import annotations

import asyncio
import imaplib
from collections.abc import AsyncIterator
from functools import partial

import pytest

from cpmspec.evidence.trace import Role
from cpmspec.reference.imap import StoreFailure, Visit, safe_folder
from cpmspec.wire.imap import ImapResponse, ImapResponseStream, decode_mailbox
from peers import Peers
from stores import HEAD, PASSWORD, Client, Raw, Shelf, contents, dovecot, started

#: what RFC 5322 2.1, 2.3 and RFC 3501 9 (CHAR8) let a message be
BODIES = {
    "8-bit": "Grüße, あ\r\n".encode() + bytes(range(0x80, 0x100)),
    "controls": bytes(octet for octet in range(1, 0x20) if octet not in b"\r\n") + b"\x7f\r\n",
    "dots": b".\r\n..\r\n...\r\n.\r\n",
    "no end of line": b"last",
    "empty": b"",
    "looks like IMAP": b'a1 OK done\r\n* BYE\r\n+ go\r\nb2 APPEND x {4}\r\nabc {7+}\r\n)\r\n"',
    "long line": b"x" * 70_000 + b"\r\n",
    "From line": b"From me\r\nFrom you\r\n",
}
#: round the borders of literals and buffers (RFC 7888 5 has 4096)
SIZES = [4095, 4096, 4097, 8192, 65_535, 65_536, 65_537, 131_073, 1_000_000]
#: what comes of ends of line that RFC 5322 2.3 does not allow: Dovecot keeps no lone LF, and a CR within a line only
BARE_ENDS = {
    b"a\nb\n": b"a\r\nb\r\n",
    b"a\rb": b"a\rb",
    b"a\r": b"a",
    b"a\r\r\nb": b"a\r\nb",
    b"\n\r\n": b"\r\n\r\n",
}
ACCOUNTS = [
    "bob", "Bob", "bob@home.test", "sip:bob@home.test", "tel:+491234567", "bob+box", "100%u", "../../up", "/etc/passwd",
    'a b"c\\d', "{5}", "*", "~root",
]  # fmt: skip
FOLDERS = [
    "f81d4fae-7dec-11d0-a765-00a0c91e6bf6@host.example", "a.b.c", "a/b", "a&b", "Grüße", "あいう", "𝒳", "INBOX",
    "inbox", "..", "~root", "*", "%", '"', "a\\b", "a b", " a ", "{5}", "#news", "=2F", "a\tb", "あ" * 120, "é" * 120,
    "x" * 120,
]  # fmt: skip


@pytest.fixture
async def shelf(peers: Peers) -> AsyncIterator[Shelf]:
    """Dovecot behind the relay."""
    async with started(dovecot(peers)) as shelf:
        yield shelf


# --- octets --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("plus", [False, True], ids=["synchronising", "LITERAL+"])
async def test_objects_come_back_octet_for_octet(shelf: Shelf, plus: bool) -> None:
    objects = [HEAD + body for body in BODIES.values()]
    for size in SIZES:
        lines, rest = divmod(size - len(HEAD), 64)
        objects.append(HEAD + b"%062d\r\n" % size * lines + b"x" * rest)
    assert [len(octets) for octets in objects[len(BODIES) :]] == SIZES

    def append(client: Raw) -> None:
        for number, octets in enumerate(objects):
            command = b"a%d APPEND INBOX (\\Seen) {%d" % (number, len(octets))
            if plus:
                client.say(command + b"+}\r\n")
            else:
                assert client.ask(command + b"}\r\n", "+")[-1].tag == "+"
            assert client.ask(octets + b"\r\n", f"a{number}")[-1].status == "OK"

    await shelf.raw(append)
    fetched, client = await shelf.run(lambda client: contents(client, "INBOX"))
    assert fetched == objects
    await shelf.ended(2)
    appended = [command for command in shelf.commands() if command.command.name == "APPEND"]
    assert [command.command.arguments[-1] for command in appended] == objects
    assert all(command.accepted for command in appended)
    assert client.heard in shelf.crossed(Role.STORE)


async def test_what_dovecot_makes_of_bare_ends_of_line_is_not_ours(shelf: Shelf) -> None:
    """RFC 5322 2.3: CR and LF only together. Our records show what the PF sent, and what the store gave back."""

    def append(client: Raw) -> None:
        for body in BARE_ENDS:
            octets = HEAD + body
            assert client.ask(b"a APPEND INBOX {%d+}\r\n%s\r\n" % (len(octets), octets), "a")[-1].status == "OK"

    await shelf.raw(append)
    fetched, _ = await shelf.run(lambda client: contents(client, "INBOX"))
    await shelf.ended(2)
    assert [octets.removeprefix(HEAD) for octets in fetched] == list(BARE_ENDS.values())
    appended = [command for command in shelf.commands() if command.command.name == "APPEND"]
    assert [command.command.arguments[-1].removeprefix(HEAD) for command in appended] == list(BARE_ENDS)


def conversation(client: Client) -> None:
    """Each kind of command and response that a PF may need."""
    client.capability()
    client.create('"a b"')
    client.create('"a b"')
    client.append('"a b"', r"(\Seen)", imaplib.Time2Internaldate(1e9), HEAD + b"one\r\n")
    client.append("missing", "", "", HEAD)
    client.append('"a b"', "", "", HEAD + "zwölf\r\n".encode())
    client.list()
    client.select('"a b"')
    client.search(None, "HEADER", "Message-ID", '"<1@x>"')
    client.uid("FETCH", "1:*", "(FLAGS RFC822.SIZE BODY.PEEK[] BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
    client.store("1", "+FLAGS", r"(\Deleted)")
    client.expunge()
    client.noop()
    client.close()


async def test_our_framing_reads_what_imaplib_and_dovecot_said(shelf: Shelf) -> None:
    _, client = await shelf.run(conversation)
    await shelf.ended()
    said, heard = shelf.crossed(Role.IUT), shelf.crossed(Role.STORE)
    assert said == client.said
    assert heard.startswith(client.heard)  # imaplib leaves with the BYE, and does not read the end

    read = shelf.commands()
    assert [(one.command.tag, one.command.name.split()[0]) for one in read] == client.asked
    told = {one.command.tag: (one.answer or b"").split()[0].decode() for one in read}
    assert told == client.told | {client.asked[-1][0]: "OK"}
    assert b"".join(one.command.raw for one in read) == said
    appended = [(one.command.arguments, one.accepted) for one in read if one.command.name == "APPEND"]
    date = imaplib.Time2Internaldate(1e9).strip('"').encode()
    assert appended == [
        ((b"a b", b"(\\Seen)", date, HEAD + b"one\r\n"), True),
        ((b"missing", b""), False),  # refused when it was announced: the literal never came (RFC 3501 7.5)
        ((b"a b", HEAD + "zwölf\r\n".encode()), True),
    ]

    stream = ImapResponseStream()
    answers = stream.feed(heard)
    assert stream.pending == b""
    assert [(one.tag, one.status) for one in answers if one.tag not in ("*", "+")] == list(told.items())
    fetched = [one.literals for one in answers if one.literals]
    assert [octets for octets, _ in fetched] == [HEAD + b"one\r\n", HEAD + "zwölf\r\n".encode()]
    assert {fields for _, fields in fetched} == {b"Subject: hello\r\n\r\n"}


async def test_what_dovecot_offers_and_says_unasked(shelf: Shelf) -> None:
    """Capabilities in the greeting, LITERAL+, data without a command (RFC 3501 7.1, 7.2.1, 7.3.1; RFC 2177)."""

    def idle(client: Raw) -> list[ImapResponse]:
        assert client.ask(b"a SELECT INBOX\r\n", "a")[-1].status == "OK"
        assert client.ask(b"b IDLE\r\n", "+")[-1].tag == "+"
        other = Raw(*shelf.store.address)
        other.ask(b"a AUTHENTICATE PLAIN AGJvYgBjcG1zcGVj\r\n", "a")
        assert other.ask(b"b APPEND INBOX {3+}\r\nx\r\n\r\n", "b")[-1].status == "OK"
        other.close()
        unasked = [client.next()]
        while not unasked[-1].text.endswith(b"EXISTS"):
            unasked.append(client.next())
        return unasked + client.ask(b"DONE\r\n", "b")

    said = await shelf.raw(idle)
    await shelf.ended(2)
    assert said[-1].status == "OK"
    assert {one.tag for one in said[:-1]} == {"*"}
    assert {account for _, account in shelf.frames} == {"bob"}
    first = ImapResponseStream().feed(shelf.crossed(Role.STORE))[0]
    assert (first.tag, first.status) == ("*", "OK")
    assert first.text.startswith(b"OK [CAPABILITY IMAP4rev1 ")
    assert b" LITERAL+ " in first.text
    commands = [(one.command.tag, one.command.name, one.accepted) for one in shelf.commands()]
    assert ("b", "IDLE", True) in commands
    assert ("b", "APPEND", True) in commands
    assert ("", "", False) in commands  # DONE: a line that is no command


async def test_a_refusal_before_a_literal_that_comes_anyway(shelf: Shelf) -> None:
    """RFC 7888 4: Dovecot refuses at the announcement, the client sends its octets nevertheless."""
    octets = HEAD + b"c NOOP\r\n"

    def append(client: Raw) -> list[str | None]:
        answers = client.ask(b"a APPEND missing {%d+}\r\n" % len(octets), "a")
        client.say(octets)
        answers += client.ask(b"\r\nb APPEND INBOX {%d+}\r\n%s\r\n" % (len(octets), octets), "b")
        return [one.status for one in answers if one.tag != "*"]

    assert await shelf.raw(append) == ["NO", "OK"]
    await shelf.ended()
    _, *read = shelf.commands()
    assert [(one.command.tag, one.command.arguments, one.accepted) for one in read] == [
        ("a", (b"missing", octets), False), ("b", (b"INBOX", octets), True),
    ]  # fmt: skip
    assert b"[TRYCREATE]" in (read[0].answer or b"")


# --- accounts and folders ------------------------------------------------------------------------------------------


async def test_any_account_name_is_an_account_of_its_own(shelf: Shelf) -> None:
    for account in ACCOUNTS:
        octets = account.encode()
        command = b"a APPEND INBOX {%d+}\r\n%s\r\n" % (len(octets), octets)
        assert (await shelf.raw(partial(Raw.ask, octets=command, tag="a"), account))[-1].status == "OK"
    for account in ACCOUNTS:
        assert (await shelf.run(lambda client: contents(client, "INBOX"), account))[0] == [account.encode()]
    await shelf.ended(2 * len(ACCOUNTS))
    assert {account for _, account in shelf.frames} == set(ACCOUNTS)
    assert {command.account for command in shelf.commands()} - {None} == set(ACCOUNTS)  # imaplib asks before its login


async def test_a_wrong_password_is_refused(shelf: Shelf) -> None:
    def enter() -> None:
        Visit(*shelf.store.address, "bob", "other").close()

    with pytest.raises(StoreFailure, match="AUTHENTICATIONFAILED"):
        await asyncio.to_thread(enter)


@pytest.mark.parametrize("separator", ["/", "."])
async def test_folder_names_are_kept_in_modified_utf_7(peers: Peers, separator: str) -> None:
    def record(visit: Visit) -> None:
        for number, name in enumerate(FOLDERS):
            visit.append(name, b"Message-ID: <%d@x>\r\n\r\n" % number, 1e9)
            visit.append(name, b"Message-ID: <again-%d@x>\r\n\r\n" % number, 1e9)
            assert visit.holds(name, f"<{number}@x>")
            assert not visit.holds(name, "<none@x>")

    async with started(dovecot(peers, "--separator", separator)) as shelf:
        await shelf.visit(record)
        (_, found), _ = await shelf.run(lambda client: client.list())
        await shelf.ended(2)
    names = [safe_folder(name, separator) for name in FOLDERS]
    lines = [line for line in found if isinstance(line, bytes)]
    listed = [decode_mailbox(line.split(b' "%s" ' % separator.encode(), 1)[1].strip(b'"')) for line in lines]
    assert sorted(listed) == sorted([*names, "INBOX"])
    appended = [one for one in shelf.commands() if one.command.name == "APPEND"]
    assert [decode_mailbox(one.command.arguments[0]) for one in appended[::2]] == names
    assert all(one.accepted for one in appended)


async def test_as_many_connections_as_a_run_needs(shelf: Shelf) -> None:
    def crowd() -> None:
        clients = [Raw(*shelf.store.address) for _ in range(200)]
        for number, client in enumerate(clients):
            client.say(b"a LOGIN user%d %s\r\nb APPEND INBOX {3+}\r\nx\r\n\r\n" % (number % 50, PASSWORD.encode()))
        for client in clients:
            while (answer := client.next()).tag != "b":
                assert answer.status in ("OK", None)
            assert answer.status == "OK"
            client.close()

    await asyncio.to_thread(crowd)
