"""The gate in the relay: everything passes as it came, but an APPEND that is to go wrong; order is kept."""

from __future__ import annotations

import base64
import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cpmspec.actors.imap_gate import ImapGate

PROPERTY = settings(deadline=None, derandomize=True, database=None)

LOGIN = b"l LOGIN bob pw\r\n"
REFUSED = b" NO The store is out of order.\r\n"
GO_ON = b"+ Ready for literal data\r\n"
BODY = b"A: b\r\n\r\nc APPEND x {3}\r\n"
ASKED = [
    LOGIN, b"a NOOP\r\n", b"b APPEND x {%d+}\r\n%s\r\n" % (len(BODY), BODY), b"c APPEND x {9}\r\n", b"A: b\r\n\r\nc",
    b"\r\n", b"DONE\r\n", b"{99999999999}\r\n", b"\n", b"\xff", b"d APPEND", b" ", b'"', b"e APPEND x {0}\r\n",
]  # fmt: skip
ANSWERED = [
    b"* OK ready\r\n", b"a OK done\r\n", b"b NO no\r\n", b"c BAD what\r\n", b"l OK in\r\n", GO_ON, b"\r\n", b"\xff",
    b"* 1 ", b"FETCH (BODY[] {4}\r\na\r\nb)\r\n",
]  # fmt: skip


def b64(octets: bytes) -> bytes:
    return base64.b64encode(octets) + b"\r\n"


PLACES = st.lists(st.integers(min_value=0), max_size=8)


def cut(octets: bytes, places: list[int]) -> list[bytes]:
    bounds = [0, *sorted(place % (len(octets) + 1) for place in places), len(octets)]
    return [octets[first:last] for first, last in itertools.pairwise(bounds)]


class Pf:
    """A gate between us, who are the PF and the store in one."""

    def __init__(self, fault: str | None = None) -> None:
        self.fault = fault
        self.gate = ImapGate(lambda account: self.fault if account == "bob" else None)
        self.asks(LOGIN)
        self.store_says(b"* OK ready\r\nl OK in\r\n")

    def asks(self, *pieces: bytes) -> tuple[bytes, bytes]:
        """What of it reaches the store, and what the PF gets."""
        onward = b"".join(self.gate.commands(piece) for piece in pieces)
        return onward, self.gate.for_pf()

    def store_says(self, *pieces: bytes) -> bytes:
        """What the PF gets."""
        got = []
        for piece in pieces:
            self.gate.responses(piece)
            got.append(self.gate.for_pf())
        return b"".join(got)


@PROPERTY
@given(st.lists(st.tuples(st.booleans(), st.sampled_from(ASKED + ANSWERED) | st.binary()), max_size=20))
def test_without_a_fault_every_octet_passes_at_once(said: list[tuple[bool, bytes]]) -> None:
    gate = ImapGate(lambda account: None)
    for by_store, octets in said:
        if by_store:
            gate.responses(octets)
        else:
            assert gate.commands(octets) == octets
        assert gate.for_pf() == (octets if by_store else b"")


@PROPERTY
@given(st.lists(st.sampled_from(ASKED), max_size=15).map(b"".join), PLACES)
def test_with_a_fault_any_split_lets_the_same_through(octets: bytes, places: list[int]) -> None:
    """Clients that do not wait for leave to send a literal are left out: there the split is what tells."""
    octets = octets.replace(b"{9}", b"{9+}").replace(b"{0}", b"{0+}").replace(b"{99999999999}", b"{99999999999+}")
    whole, pieces = Pf("fail"), Pf("fail")
    expected = whole.asks(octets)
    got = pieces.asks(*cut(octets, places))
    assert got == expected
    assert pieces.store_says(b"a OK done\r\nb OK done\r\n") == whole.store_says(b"a OK done\r\nb OK done\r\n")


@PROPERTY
@given(PLACES, PLACES)
def test_a_refusal_stands_between_the_answers_to_its_neighbours(asked: list[int], answered: list[int]) -> None:
    pf = Pf("fail")
    append = b"b APPEND x (\\Seen) {%d+}\r\n%s\r\n" % (len(BODY), BODY)
    octets = b"a NOOP\r\n" + append + b"c FETCH 1 BODY[]\r\n" + append.replace(b"b", b"d", 1)
    assert pf.asks(*cut(octets, asked)) == (b"a NOOP\r\nc FETCH 1 BODY[]\r\n", b"")
    first, second = b"* 1 EXISTS\r\na OK done\r\n", b"* 1 FETCH (BODY[] {6}\r\nb OK\r\n)\r\nc OK done\r\n"
    got = pf.store_says(*cut(first + second, answered))
    assert got == first + b"b" + REFUSED + second + b"d" + REFUSED


def test_a_synchronising_literal_is_refused_before_it_comes() -> None:
    pf = Pf("fail")
    assert pf.asks(b"a APPEND x {9}\r\n") == (b"", b"a" + REFUSED)
    assert pf.asks(b"b NOOP\r\n") == (b"b NOOP\r\n", b"")
    assert pf.store_says(b"b OK done\r\n") == b"b OK done\r\n"


@pytest.mark.parametrize("literal", [b"{0}", b"~{9}", b"{9999999}", b"{4+}\r\nA: b {7}", b"{4+}\r\nA: b ~{0}"])
def test_each_form_of_a_synchronising_literal_is_refused_when_it_is_announced(literal: bytes) -> None:
    pf = Pf("fail")
    assert pf.asks(b"a append x " + literal + b"\r\n") == (b"", b"a" + REFUSED)
    assert pf.asks(b"b NOOP\r\n") == (b"b NOOP\r\n", b"")


def test_a_refusal_waits_for_the_answers_to_earlier_commands() -> None:
    pf = Pf("fail")
    assert pf.asks(b"a NOOP\r\nb APPEND x {9}\r\n") == (b"a NOOP\r\n", b"")
    assert pf.store_says(b"* 1 EXISTS\r\n") == b"* 1 EXISTS\r\n"
    assert pf.store_says(b"a OK done\r\n") == b"a OK done\r\nb" + REFUSED


def test_a_refusal_never_parts_a_response() -> None:
    pf = Pf("fail")
    assert pf.store_says(b"* 1 FETCH (BODY[] {4}\r\na") == b"* 1 FETCH (BODY[] {4}\r\na"
    assert pf.asks(b"b APPEND x {9}\r\n") == (b"", b"")
    assert pf.store_says(b"bcd)") == b"bcd)"
    assert pf.store_says(b"\r\n* 2") == b"\r\nb" + REFUSED + b"* 2"


@pytest.mark.parametrize("announced", [b"{9}", b"{9+}"])
def test_an_append_that_hangs_crosses_and_nothing_is_answered_any_more(announced: bytes) -> None:
    pf = Pf("hang")
    leave = GO_ON if announced == b"{9}" else b""
    assert pf.asks(b"a NOOP\r\nb APPEND x " + announced + b"\r\n") == (b"a NOOP\r\n", b"")
    assert pf.store_says(b"a OK done\r\n") == b"a OK done\r\n" + leave
    assert pf.asks(b"A: b\r\n", b"\r\nc\r\n", b"c NOOP\r\nd APPEND x {9}\r\n", b"x") == (b"", b"")
    assert pf.store_says(b"* BYE too long\r\n") == b"* BYE too long\r\n"


def test_a_literal_that_the_store_itself_refuses_is_not_waited_for() -> None:
    pf = Pf()
    assert pf.asks(b"a APPEND x {9}\r\n") == (b"a APPEND x {9}\r\n", b"")
    assert pf.store_says(b"a NO [TRYCREATE] none\r\n") == b"a NO [TRYCREATE] none\r\n"
    pf.fault = "fail"
    assert pf.asks(b"b APPEND x {9}\r\n") == (b"", b"b" + REFUSED)


def test_an_answer_before_the_end_of_its_command_is_an_answer() -> None:
    pf = Pf()
    pf.asks(b"a APPEND x {9+}\r\nA: b")
    assert pf.store_says(b"a NO [TRYCREATE] none\r\n") == b"a NO [TRYCREATE] none\r\n"
    pf.fault = "fail"
    assert pf.asks(b"\r\n\r\nc\r\nb APPEND x {9}\r\n") == (b"\r\n\r\nc\r\n", b"b" + REFUSED)


def test_what_has_begun_to_pass_passes_whole() -> None:
    pf = Pf()
    assert pf.asks(b"a APP") == (b"a APP", b"")
    pf.fault = "fail"
    assert pf.asks(b"END x {3}\r\n") == (b"END x {3}\r\n", b"")
    assert pf.store_says(GO_ON) == GO_ON
    assert pf.asks(b"abc\r\n") == (b"abc\r\n", b"")
    assert pf.store_says(b"a OK done\r\n") == b"a OK done\r\n"


@pytest.mark.parametrize("line", [b"a NOOP\r\n", b"a APPENDED x\r\n", b"a UID APPEND x {3}\r\n", b"DONE\r\n"])
def test_other_commands_of_the_account_pass(line: bytes) -> None:
    pf = Pf("fail")
    assert pf.asks(line[:4], line[4:]) == (line, b"")


def test_the_fault_is_that_of_the_account_that_logged_in() -> None:
    pf = Pf("fail")
    assert pf.asks(b"a LOGIN carol pw\r\nb APPEND x {3+}\r\nabc\r\n")[0].endswith(b"abc\r\n")
    assert pf.gate.account == "carol"


@pytest.mark.parametrize(
    ("lines", "account"),
    [
        ([b"a LOGIN {3}\r\n", b"bob {2}\r\n", b"pw\r\n"], "bob"),
        ([b'a LOGIN "b\\"ob" pw\r\n'], 'b"ob'),
        ([b"a AUTHENTICATE PLAIN " + base64.b64encode(b"\0bob\0pw") + b"\r\n"], "bob"),
        ([b"a AUTHENTICATE plain\r\n", base64.b64encode(b"carol\0bob\0pw") + b"\r\n"], "carol"),
        ([b"a AUTHENTICATE PLAIN\r\n", b"*\r\n", b"b LOGIN bob pw\r\n"], "bob"),
        ([b"a AUTHENTICATE PLAIN\r\n", b"b LOGIN bob pw\r\n"], "bob"),
        ([b"a AUTHENTICATE EXTERNAL Ym9i\r\n"], None),
        ([b"a AUTHENTICATE LOGIN\r\n", b64(b"bob"), b64(b"pw")], "bob"),
        ([b"a AUTHENTICATE LOGIN " + b64(b"bob"), b64(b"pw")], "bob"),
        ([b"a AUTHENTICATE CRAM-MD5\r\n", b64(b"tim b " + b"0" * 32)], "tim b"),
        ([b"a AUTHENTICATE CRAM-MD5\r\n", b64(b"what?")], None),
    ],
)
def test_the_account_is_read_off_the_login(lines: list[bytes], account: str | None) -> None:
    gate = ImapGate(lambda account: None)
    for line in lines:
        gate.commands(line)
    assert gate.account == account
