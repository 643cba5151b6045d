"""IMAP streams: commands with literals, responses, mailbox names; any split gives the same."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cpmspec.wire import imap
from cpmspec.wire.imap import (
    ImapCommandStream,
    ImapResponseStream,
    decode_mailbox,
    encode_mailbox,
    quoted,
)

PROPERTY = settings(deadline=None, derandomize=True, database=None)

APPEND = b'a2 APPEND "INBOX" (\\Seen) " 1-Jan-2025 00:00:00 +0000" {9}\r\nA: b\r\n\r\nc\r\n'
PIECES = [
    b"a1 LOGIN alice secret\r\n", APPEND, b"a", b" ", b"{3}\r\n", b"{2+}\r\n", b"{99999999999}\r\n", b"\r\n", b"\n",
    b'"', b"\\", b"(", b")", b"[", b"]", b"UID FETCH 1:* (FLAGS BODY[HEADER.FIELDS (TO)])\r\n", b"* OK x\r\n",
    b"+ \r\n", b"\xff",
]  # fmt: skip
STREAMS = st.lists(st.sampled_from(PIECES), max_size=15).map(b"".join) | st.binary()


def cut(octets: bytes, places: list[int]) -> list[bytes]:
    bounds = [0, *sorted(place % (len(octets) + 1) for place in places), len(octets)]
    return [octets[first:last] for first, last in itertools.pairwise(bounds)]


@PROPERTY
@given(STREAMS, st.lists(st.integers(min_value=0), max_size=8))
def test_any_split_gives_the_same_and_nothing_is_lost(octets: bytes, places: list[int]) -> None:
    commands, responses = ImapCommandStream(), ImapResponseStream()
    read = [command for piece in cut(octets, places) for command in commands.feed(piece)]
    answers = [response for piece in cut(octets, places) for response in responses.feed(piece)]
    assert read == ImapCommandStream().feed(octets)
    assert answers == ImapResponseStream().feed(octets)
    assert b"".join(command.raw for command in read) + commands.pending == octets
    assert b"".join(response.raw for response in answers) + responses.pending == octets


@pytest.mark.parametrize(
    ("octets", "name", "arguments"),
    [
        (b"a NOOP\r\n", "NOOP", ()),
        (b"a noop\n", "NOOP", ()),
        (b"a LOGIN alice \"se cr\\\"et\\\\\"\r\n", "LOGIN", (b"alice", b'se cr"et\\')),
        (b'a LOGIN "" ""\r\n', "LOGIN", (b"", b"")),
        (b"a LOGIN {5}\r\nalice {6+}\r\nsecret\r\n", "LOGIN", (b"alice", b"secret")),
        (b"a CREATE {4}\r\n\r\n{9\r\n", "CREATE", (b"\r\n{9",)),
        (b"a CREATE {0}\r\n\r\n", "CREATE", (b"",)),
        (b"a uid fetch 1:* (FLAGS BODY.PEEK[])\r\n", "UID FETCH", (b"1:*", b"(FLAGS BODY.PEEK[])")),
        (b"a FETCH 1 BODY[HEADER.FIELDS (TO FROM)]\r\n", "FETCH", (b"1", b"BODY[HEADER.FIELDS (TO FROM)]")),
        (b'a STORE 1 +FLAGS (\\Seen "a)b")\r\n', "STORE", (b"1", b"+FLAGS", b'(\\Seen "a)b")')),
        (b'a SETMETADATA "" (/x {2}\r\nab)\r\n', "SETMETADATA", (b"", b"(/x {2}\r\nab)")),
        (b"a APPEND x ~{3}\r\na\0b\r\n", "APPEND", (b"x", b"a\0b")),
        (b"a AUTHENTICATE PLAIN AGEAYg==\r\n", "AUTHENTICATE", (b"PLAIN", b"AGEAYg==")),
        (b"a STORE 1 (\\Seen\r\n", "STORE", (b"1", b"(\\Seen")),
        (b'a LOGIN alice "sec\\\r\n', "LOGIN", (b"alice", b'"sec\\')),
        (b'a LOGIN alice "secret\r\n', "LOGIN", (b"alice", b'"secret')),
        (b"a NOOP )\r\n", "NOOP", (b")",)),
    ],
)  # fmt: skip
def test_commands(octets: bytes, name: str, arguments: tuple[bytes, ...]) -> None:
    stream = ImapCommandStream()
    (command,) = stream.feed(octets)
    assert (command.tag, command.name, command.arguments, command.raw) == ("a", name, arguments, octets)
    assert stream.pending == b""


def test_append_has_its_mailbox_first_and_its_message_last() -> None:
    (command,) = ImapCommandStream().feed(APPEND)
    assert (command.tag, command.name) == ("a2", "APPEND")
    assert command.arguments == (b"INBOX", b"(\\Seen)", b" 1-Jan-2025 00:00:00 +0000", b"A: b\r\n\r\nc")


@pytest.mark.parametrize(
    "octets", [b"\r\n", b"DONE\r\n", b"AGEAYg==\r\n", b"+ x\r\n", b"\xff\xfe x\r\n", b"a 1\r\n", b" a NOOP\r\n"]
)
def test_what_is_no_command_has_no_name(octets: bytes) -> None:
    (command,) = ImapCommandStream().feed(octets)
    assert (command.tag, command.name, command.arguments, command.raw) == ("", "", (), octets)


def test_a_refused_literal_is_abandoned() -> None:
    stream = ImapCommandStream()
    assert stream.abandon() is None
    assert stream.feed(b"a APPEND x {100}\r\n") == []
    command = stream.abandon()
    assert command is not None
    assert (command.name, command.arguments, command.raw) == ("APPEND", (b"x", b""), b"a APPEND x {100}\r\n")
    assert [next_one.name for next_one in stream.feed(b"b NOOP\r\n")] == ["NOOP"]


@pytest.mark.parametrize("announced", [b"{3}", b"~{3}", b"{0}", b"{99999999}"])
def test_a_client_waits_for_leave_to_send_a_synchronising_literal(announced: bytes) -> None:
    stream = ImapCommandStream()
    waits = []
    for piece in (b"a APPEND x ", announced, b"\r", b"\n"):
        stream.feed(piece)
        waits.append(stream.awaiting)
    assert waits == [False, False, False, True]
    stream.feed(b"\r\n" if announced == b"{0}" else b"a")
    assert not stream.awaiting


@pytest.mark.parametrize("octets", [b"", b"a NOOP", b"a NOOP\r\n", b"a APPEND x {3+}\r\n", b"a APPEND x {3}\r\nabc"])
def test_else_it_waits_for_nothing(octets: bytes) -> None:
    stream = ImapCommandStream()
    stream.feed(octets)
    assert not stream.awaiting


@pytest.mark.parametrize("announced", [b"{0}", b"{99999999}"])
def test_a_refused_literal_of_any_size_is_abandoned(announced: bytes) -> None:
    stream = ImapCommandStream()
    stream.feed(b"a APPEND x " + announced + b"\r\n")
    stream.abandon()
    assert [command.name for command in stream.feed(b"b NOOP\r\n")] == ["NOOP"]


@pytest.mark.parametrize(
    ("octets", "tag", "text", "status", "literals"),
    [
        (b"* OK [UIDVALIDITY 1] hello\r\n", "*", b"OK [UIDVALIDITY 1] hello", "OK", ()),
        (b"a1 no [TRYCREATE] x\r\n", "a1", b"no [TRYCREATE] x", "NO", ()),
        (b"+ \r\n", "+", b"", None, ()),
        (b"+\r\n", "+", b"", None, ()),
        (b"+ OK\r\n", "+", b"OK", None, ()),
        (b"* 3 EXISTS\r\n", "*", b"3 EXISTS", None, ()),
        (b"* OKAY\r\n", "*", b"OKAY", None, ()),
        (
            b"* 1 FETCH (BODY[] {4}\r\na\r\nb UID 7)\r\n",
            "*",
            b"1 FETCH (BODY[] {4}\r\na\r\nb UID 7)",
            None,
            (b"a\r\nb",),
        ),
        (b"\xff rubbish\r\n", "", b"\xff rubbish", None, ()),
    ],
)
def test_responses(octets: bytes, tag: str, text: bytes, status: str | None, literals: tuple[bytes, ...]) -> None:
    (response,) = ImapResponseStream().feed(octets)
    assert (response.tag, response.text, response.status) == (tag, text, status)
    assert (response.literals, response.raw) == (literals, octets)


def test_what_makes_no_response_yet_is_pending() -> None:
    stream = ImapResponseStream()
    assert stream.feed(b"* 1 FETCH (BODY[] {4}\r\nab") == []
    assert stream.pending == b"* 1 FETCH (BODY[] {4}\r\nab"


@pytest.mark.parametrize("octets", [b"&A-", b"&AGE,-", b"&=-", b"&", b"\xff"])
def test_what_is_no_modified_utf_7_stays(octets: bytes) -> None:
    assert decode_mailbox(octets).encode("utf-8", "surrogateescape") == octets


def test_an_endless_line_comes_out_in_pieces() -> None:
    stream = ImapCommandStream()
    commands = stream.feed(b"x" * (2 * imap.MAX_LINE + 10))
    assert [len(command.raw) for command in commands] == [imap.MAX_LINE] * 2
    assert {command.name for command in commands} == {""}
    assert stream.pending == b"x" * 10


def test_a_claimed_literal_is_never_waited_for_in_memory() -> None:
    stream = ImapCommandStream()
    (command,) = stream.feed(b"a APPEND x {%d}\r\n" % (imap.MAX_UNIT + 1))
    assert command.name == ""
    pieces = [piece for _ in range(10) for piece in stream.feed(b"b NOOP\r\n" * 10_000)]
    assert {piece.name for piece in pieces} == {""}
    assert len(stream.pending) < imap.MAX_LINE


@pytest.mark.parametrize(
    ("name", "octets"),
    [
        ("INBOX", b"INBOX"),
        ("R&D", b"R&-D"),
        ("~peter/mail/\u53f0\u5317/\u65e5\u672c\u8a9e", b"~peter/mail/&U,BTFw-/&ZeVnLIqe-"),
        ("a\r\nb", b"a&AA0ACg-b"),
        ("\U0001f600", b"&2D3eAA-"),
        ("", b""),
    ],
)
def test_mailbox_names(name: str, octets: bytes) -> None:
    assert encode_mailbox(name) == octets
    assert decode_mailbox(octets) == name


@PROPERTY
@given(st.text())
def test_any_mailbox_name_survives_in_printable_ascii(name: str) -> None:
    octets = encode_mailbox(name)
    assert all(0x20 <= octet <= 0x7E for octet in octets)
    assert decode_mailbox(octets) == name


@PROPERTY
@given(st.binary() | st.lists(st.sampled_from([b"&", b"-", b"A", b",", b"AA", b"2D0", b"="])).map(b"".join))
def test_any_octets_as_mailbox_name_are_read(octets: bytes) -> None:
    assert isinstance(decode_mailbox(octets), str)


def test_quoted_strings() -> None:
    assert quoted('a"b\\c') == b'"a\\"b\\\\c"'
    for wrong in ("a\r\nb", "\0", "\u00e4"):
        with pytest.raises(ValueError, match="quoted string"):
            quoted(wrong)


@PROPERTY
@given(st.text(st.characters(min_codepoint=1, max_codepoint=127, exclude_characters="\r\n")))
def test_a_quoted_string_is_read_back(text: str) -> None:
    (command,) = ImapCommandStream().feed(b"a CREATE " + quoted(text) + b"\r\n")
    assert command.arguments == (text.encode(),)
