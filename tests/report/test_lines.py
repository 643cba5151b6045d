"""What a ladder says of each frame, and how octets are shown."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cpmspec.evidence.trace import Address, Frame, Kind, Pco, Role
from cpmspec.report.lines import line_of, readable, visible

A, B = Address("127.0.0.1", 1), Address("::1", 2)


def frame(
    octets: bytes, pco: Pco = Pco.ISC, sender: Role = Role.IUT, kind: Kind = Kind.DATA, connection: int = 0
) -> Frame:
    transport = "tcp" if connection else "udp"
    return Frame(1, 1, pco, sender, Role.CORE, transport, A, B, connection, kind, octets)


@pytest.mark.parametrize(
    ("octets", "label", "text"),
    [
        (b"MESSAGE sip:b@x SIP/2.0\r\nc: text/plain;x=1\r\n\r\nhi", "MESSAGE", "MESSAGE sip:b@x · text/plain"),
        (b"REGISTER sip:x SIP/2.0\r\nexpires : 0\r\n\r\n", "REGISTER", "REGISTER sip:x · Expires 0"),
        (b"SIP/2.0 202 Accepted\r\nCSeq: 7 MESSAGE\r\n\r\n", "202", "202 Accepted (MESSAGE)"),
        (b"SIP/2.0 200\r\n\r\n", "200", "200 "),
        (
            b"MSRP a1b2 SEND\r\nByte-Range: 1-2048/5000\r\nMessage-ID: m1\r\n"
            b"Content-Type: multipart/mixed;boundary=b\r\n\r\nx\r\n-------a1b2+\r\n",
            "SEND +",
            "SEND 1-2048/5000 + Message-ID m1 · multipart/mixed",
        ),
        (b"MSRP a1b2 SEND\r\nMessage-ID: m1\r\n\r\nhalf of", "SEND …", "SEND … Message-ID m1"),
        (b"MSRP a1b2 200 OK\r\n-------a1b2$\r\n", "200", "200 OK · transaction a1b2"),
        (b"MSRP a1b2 REPORT\r\nStatus: 000 200 OK\r\n-------a1b2$\r\n", "REPORT $", "REPORT 000 200 OK $"),
        (b"the rest\r\n-------a1b2$\r\n", "… $", "24 octets more"),
        (b"\xff\x00", "…", "2 octets more"),
        (b"", "…", "0 octets more"),
    ],
)
def test_sip_and_msrp(octets: bytes, label: str, text: str) -> None:
    line = line_of(frame(octets))
    assert (line.label, line.text) == (label, text)


@pytest.mark.parametrize(
    ("sender", "octets", "label", "text"),
    [
        (Role.IUT, b'A3 APPEND "conv 1" {5}\r\n', "APPEND", 'APPEND "conv 1" {5}'),
        (Role.IUT, b"A4 uid fetch 1 (FLAGS)\r\n", "UID FETCH", "UID FETCH 1 (FLAGS)"),
        (Role.IUT, b"From: a\r\nhello\r\n", "…", "16 octets more"),
        (Role.STORE, b"+ go on\r\n", "+", "+ go on"),
        (Role.STORE, b"* OK ready\r\n", "* OK", "* OK ready"),
        (Role.STORE, b"A3 NO [TRYCREATE] no\r\n", "NO", "A3 NO [TRYCREATE] no"),
    ],
)
def test_imap(sender: Role, octets: bytes, label: str, text: str) -> None:
    line = line_of(frame(octets, Pco.STORE, sender, connection=1))
    assert (line.label, line.text, line.protocol) == (label, text, "imap")


def test_the_life_of_a_connection() -> None:
    lines = [line_of(frame(b"", kind=kind, connection=4)) for kind in Kind if kind is not Kind.DATA]
    assert [line.protocol for line in lines] == ["tcp"] * 4
    assert lines[0].text == "TCP connection 4: 127.0.0.1:1 opens to [::1]:2"
    assert all("TCP connection 4" in line.text for line in lines)


@settings(deadline=None)
@given(st.binary(max_size=300), st.sampled_from(Pco), st.sampled_from([Role.IUT, Role.STORE]))
def test_any_octets_have_a_short_line(octets: bytes, pco: Pco, sender: Role) -> None:
    for start in (b"", b"MSRP a1b2 SEND", b"SIP/2.0 200", b"INVITE sip:a SIP/2.0\r\n"):
        assert len(line_of(frame(start + octets, pco, sender)).text) <= 160


def test_octets_are_shown_with_their_line_ends() -> None:
    shown = readable(b"a\r\nb\nc\rd\t\x00\xff\xc3\xbc\xe2\x80\xae", 100)
    assert shown.text == "a\nb‹LF›\nc‹CR›d\t‹00›‹FF›ü‹202E›"
    assert (shown.shown, shown.hidden) == (16, 0)
    assert readable(b"abcdef", 4).hidden == 2


@settings(deadline=None)
@given(st.text(st.characters()))
def test_what_is_visible_is_legal_xml(text: str) -> None:
    for character in visible(text):
        number = ord(character)
        assert number in (9, 10) or 0x20 <= number <= 0xD7FF or 0xE000 <= number <= 0xFFFD or number > 0xFFFF
