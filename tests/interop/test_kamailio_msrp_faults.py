"""Faulty MSRP frames: what Kamailio's msrp module (5.6.3) does with them, and the violations that our reader reports.

The table documents where the two differ and holds our side of it; it is no test of Kamailio.

What is not in it: ``MSRP abcd1234`` CRLF, a start-line that ends after the transaction identifier, ends a process of
Kamailio 5.6.3 with a segmentation fault, and thereby Kamailio. Our reader: MSR-4975-9-01, on with the next start-line.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path

import pytest

from cpmspec.wire.msrp import MsrpFrame, MsrpFrameStream, Unreadable
from msrp_peer import PATIENCE, Kamailio, Line, frames, our_reading, their_reading
from peers import Peers

TID = "abcd1234"
TO, FROM = "msrp://a.example:2855/s1;tcp", "msrp://b.example:2855/s2;tcp"
END = f"-------{TID}$\r\n"
HEADERS = ("Message-ID: 12339sdqwer", "Byte-Range: 1-5/5")
NO_RANGE = HEADERS[:1]

pytestmark = pytest.mark.timeout(60)


def frame(
    start: str = f"MSRP {TID} SEND", to: str | None = f"To-Path: {TO}", by: str | None = f"From-Path: {FROM}",
    headers: tuple[str, ...] = HEADERS, kind: str | None = "Content-Type: text/plain", body: str | None = "hello",
    crlf: str = "\r\n", end: str = END,
) -> bytes:  # fmt: skip
    """A SEND of which any line can be bent."""
    lines = [line for line in (start, to, by, *headers, kind) if line is not None]
    content = "" if body is None else f"\r\n{body}{crlf}"
    return ("".join(f"{line}\r\n" for line in lines) + content + end).encode("latin-1")


#: what follows each faulty frame on the same connection
NEXT = frame("MSRP follower SEND", end="-------follower$\r\n")
#: ends for Kamailio what it has not seen the end of
LATE_END = f"\r\n{END}".encode()
#: what an answer lacks in which line ends are missing
BROKEN = ("MSR-4975-7.1-09", "MSR-4975-7.1-10", "MSR-4975-7.1-11")


class Does(Enum):
    """What Kamailio does with a frame."""

    ANSWERS = "answers it with 200"
    IGNORES = "reads over it without an answer"
    REFUSES = "answers it with 501"
    CLOSES = "ends the connection"
    READS_ON = "takes what follows for its body, until the right end-line comes"
    GARBLES = "answers it with 200, and breaks the lines of the answer"


@dataclass(frozen=True)
class Fault:
    """A faulty frame, what Kamailio does with it, and the violations that our reader reports.

    ``-`` stands for no frame at all. ``differs`` names what the two read differently where they see the same frame.
    """

    name: str
    octets: bytes
    does: Does
    ours: str = ""
    differs: str = ""


FAULTS = [
    Fault("none", frame(), Does.ANSWERS),
    # paths: we go on with the next frame. A frame without both paths cannot be answered (7.2)
    Fault("no From-Path", frame(by=None), Does.CLOSES, "MSR-4975-7.1-10"),
    Fault("no To-Path", frame(to=None), Does.CLOSES, "MSR-4975-7.1-09"),
    Fault("no path", frame(to=None, by=None), Does.CLOSES, "MSR-4975-7.1-09 MSR-4975-7.1-10"),
    Fault("From-Path first", frame(to=f"From-Path: {FROM}", by=f"To-Path: {TO}"), Does.CLOSES, "MSR-4975-7.1-01"),
    Fault("a header first", frame(to=f"X-A: b\r\nTo-Path: {TO}"), Does.CLOSES, "MSR-4975-7.1-01"),
    Fault("a header between", frame(to=f"To-Path: {TO}\r\nX-A: b"), Does.CLOSES, "MSR-4975-7.1-01"),
    Fault("two To-Path", frame(to=f"To-Path: {TO}\r\nTo-Path: {TO}"), Does.CLOSES, "MSR-4975-7.1-01 MSR-4975-7.1-07"),
    # no fault: literals of ABNF have no case (RFC 4234 2.3)
    Fault("to-path in small letters", frame(to=f"to-path: {TO}"), Does.CLOSES),
    # its answer lacks line ends then. 9: URIs are parted by one space, and none is at the end
    Fault(
        "a space after the paths",
        frame(to=f"To-Path: {TO} ", by=f"From-Path: {FROM} "), Does.GARBLES, "MSR-4975-9-12 MSR-4975-9-12",
    ),
    Fault("To-Path without a URI", frame(to="To-Path: "), Does.GARBLES, "MSR-4975-7.1-11"),
    # end-lines
    Fault("end-line of another transaction", frame(headers=NO_RANGE, end="-------zzzz9999$\r\n"), Does.READS_ON),
    Fault("end-line in other case", frame(headers=NO_RANGE, end="-------ABCD1234$\r\n"), Does.READS_ON),
    Fault("end-line without a flag", frame(headers=NO_RANGE, end=f"-------{TID}\r\n"), Does.READS_ON),
    Fault("end-line of six hyphens", frame(headers=NO_RANGE, end=f"------{TID}$\r\n"), Does.READS_ON),
    Fault("end-line without CR", frame(headers=NO_RANGE, end=f"-------{TID}$\n"), Does.READS_ON),
    # 9: the flag is one of $, + and #. Kamailio takes any octet for it
    Fault("end-line with flag x", frame(end=f"-------{TID}x\r\n"), Does.ANSWERS, "-"),
    # 9: CRLF comes before an end-line. 7.1: its octets must not occur in a body at all: so we end the frame there
    Fault("no CRLF before the end-line", frame(crlf=""), Does.READS_ON, "MSR-4975-7.1-04"),
    Fault("no CRLF after an empty body", frame(body="", crlf="", headers=NO_RANGE), Does.READS_ON, "MSR-4975-7.1-04"),
    Fault("end-line of eight hyphens", frame(end=f"-{END}", headers=NO_RANGE), Does.READS_ON, "MSR-4975-7.1-04"),
    # Kamailio takes the LF to the body, as it does the CRLF
    Fault("LF before the end-line", frame(crlf="\n", headers=NO_RANGE), Does.ANSWERS, "MSR-4975-7.1-04", "Body"),
    # Kamailio reads on here too, and then finds that a header line has no colon
    Fault(
        "end-line of another transaction, no body",
        frame(headers=NO_RANGE, kind=None, body=None, end="-------zzzz9999$\r\n") + LATE_END, Does.CLOSES,
        "MSR-4975-7.1-05",
    ),
    # transaction identifiers: Kamailio takes any word
    Fault("identifier of 3", frame("MSRP abc SEND", end="-------abc$\r\n"), Does.ANSWERS, "MSR-4975-9-02"),
    Fault(
        "identifier of 33",
        frame(f"MSRP {'a' * 33} SEND", end=f"-------{'a' * 33}$\r\n"), Does.ANSWERS, "MSR-4975-9-02",
    ),
    Fault("identifier with @", frame("MSRP ab@d1 SEND", end="-------ab@d1$\r\n"), Does.ANSWERS, "MSR-4975-9-02"),
    Fault("identifier with - first", frame("MSRP -abc1 SEND", end="--------abc1$\r\n"), Does.ANSWERS, "MSR-4975-9-02"),
    # start-lines
    Fault("msrp in small letters", frame(f"msrp {TID} SEND"), Does.CLOSES, "MSR-4975-9-01"),
    Fault("two spaces before the method", frame(f"MSRP {TID}  SEND"), Does.ANSWERS, "MSR-4975-9-01"),
    Fault("a space after the method", frame(f"MSRP {TID} SEND "), Does.CLOSES, "MSR-4975-9-08"),
    Fault("method in small letters", frame(f"MSRP {TID} send"), Does.REFUSES, "MSR-4975-9-08"),
    Fault("unknown method", frame(f"MSRP {TID} FOO"), Does.REFUSES),
    Fault("start-line without CR", frame().replace(b"SEND\r\n", b"SEND\n", 1), Does.ANSWERS, "MSR-4975-9-01"),
    # Byte-Range, Message-ID, Content-Type: Kamailio hands them on as they are
    Fault("no Byte-Range", frame(headers=NO_RANGE), Does.ANSWERS),
    Fault(
        "Byte-Range without a total",
        frame(headers=(HEADERS[0], "Byte-Range: 1-5")), Does.ANSWERS, "MSR-4975-9-05", "Byte-Range",
    ),
    Fault("Byte-Range from 0", frame(headers=(HEADERS[0], "Byte-Range: 0-4/5")), Does.ANSWERS, "MSR-4975-7.1.1-05"),
    Fault(
        "Byte-Range of other length",
        frame(headers=(HEADERS[0], "Byte-Range: 1-9/9")), Does.ANSWERS, "MSR-4975-7.1.1-04",
    ),
    Fault("no Message-ID", frame(headers=HEADERS[1:]), Does.ANSWERS, "MSR-4975-7.1.1-01"),
    Fault("two Message-ID", frame(headers=(HEADERS[0], *HEADERS)), Does.ANSWERS, "MSR-4975-7.1-07"),
    Fault("Message-ID with @", frame(headers=("Message-ID: ab@d1", HEADERS[1])), Does.ANSWERS, "MSR-4975-9-04"),
    Fault("no Content-Type", frame(kind=None), Does.ANSWERS, "MSR-4975-7.1-12"),
    Fault("Content-Type not last", frame(kind="Content-Type: text/plain\r\nX-A: b"), Does.ANSWERS, "MSR-4975-7.1-02"),
    Fault(
        "Content-Type without a body", frame(headers=NO_RANGE, body=None), Does.ANSWERS, "MSR-4975-7.1-03",
    ),
    Fault(
        "Content-Transfer-Encoding",
        frame(kind="Content-Transfer-Encoding: 8bit\r\nContent-Type: a/b"), Does.ANSWERS, "MSR-4975-7.1.1-03",
    ),
    # no fault: a header that MSRP does not know. Kamailio's TCP reader takes it for SIP's
    Fault("Content-Length", frame(headers=(*HEADERS, "Content-Length: 3")), Does.CLOSES),
    # header lines
    Fault(
        "no space after the colon",
        frame(headers=("Message-ID:12339sdqwer", HEADERS[1])), Does.ANSWERS, "MSR-4975-9-11",
    ),
    Fault(
        "a tab after the colon", frame(headers=("Message-ID:\t12339sdqwer", HEADERS[1])), Does.ANSWERS, "MSR-4975-9-11",
    ),
    Fault("NUL in a header", frame(headers=(*HEADERS, "X-A: a\0b")), Does.ANSWERS, "MSR-4975-9-10"),
    Fault(
        "header without a colon",
        frame(headers=("Message-ID 12339sdqwer", HEADERS[1])), Does.CLOSES, "MSR-4975-9-03 MSR-4975-7.1.1-01",
    ),
    Fault("folded header", frame(headers=(*HEADERS, "X-A: a\r\n b")), Does.CLOSES, "MSR-4975-9-03"),
    # responses: never answered
    Fault("response", frame(f"MSRP {TID} 200 OK", headers=(), kind=None, body=None), Does.IGNORES),
    Fault(
        "response with flag +", frame(f"MSRP {TID} 200 OK", headers=(), kind=None, body=None, end=f"-------{TID}+\r\n"),
        Does.IGNORES, "MSR-4975-7.2-02",
    ),
    Fault("response with a body", frame(f"MSRP {TID} 200 OK"), Does.IGNORES, "MSR-4975-7.2-01"),
    # no fault: the comment may be left out (9). Kamailio takes the code for a method and answers
    Fault("response without a comment", frame(f"MSRP {TID} 200", headers=(), kind=None, body=None), Does.REFUSES),
    # between frames: Kamailio answers the double CRLF with CRLF as SIP over TCP has it (RFC 5626 4.4.1)
    Fault("one CRLF between frames", b"\r\n", Does.IGNORES, "-"),
    Fault("no MSRP", b"junk\r\n", Does.CLOSES, "-"),
]  # fmt: skip


def our_side(octets: bytes) -> tuple[MsrpFrame | None, str]:
    """What our reader reads first: a frame with its violations, or none."""
    stream = MsrpFrameStream()
    first = [*stream.feed(octets), *stream.close()][0]
    if isinstance(first, Unreadable) or not first.flag:
        return None, "-"
    return first, " ".join(violation.id for violation in first.violations)


async def answers_to(line: Line, octets: bytes, fault: Fault) -> list[MsrpFrame]:
    """All that Kamailio sends back, as many frames as the table has it, or until it ends the connection."""
    count = {Does.CLOSES: 0, Does.IGNORES: 1}.get(fault.does, 2)
    await line.ask(octets, count)
    if count == 0:
        async with asyncio.timeout(PATIENCE):
            await line.gone.wait()
    return frames(bytes(line.received))


def done(answers: list[MsrpFrame], size: int) -> Does:
    """What Kamailio did with the first ``size`` octets, or with fewer."""
    if not answers:
        return Does.CLOSES
    first = answers[0]
    if first.transaction_id == "follower":
        return Does.IGNORES
    if first.status == 501:
        return Does.REFUSES
    if their_reading(first)["Frame"].startswith(f"{size} "):
        return Does.READS_ON
    broken = any(violation.id in BROKEN for violation in first.violations)
    return Does.GARBLES if broken else Does.ANSWERS


async def observed(kamailio: Kamailio, fault: Fault) -> Fault:
    """The row of the table as it is."""
    late = fault.octets + NEXT + LATE_END
    octets = (late if fault.does is Does.READS_ON else fault.octets) + NEXT
    async with kamailio.line("tcp") as line:
        answers = await answers_to(line, octets, fault)
    frame, violations = our_side(octets)
    differs = ""
    read = their_reading(answers[0]) if answers else {}
    if frame is not None and frame.to_path and frame.from_path:
        mine = our_reading(frame)
        if read.get("Frame") == mine["Frame"]:
            differs = " ".join(key for key in read if read[key] != mine[key])
    return replace(fault, does=done(answers, len(late)), ours=violations, differs=differs)


async def test_faulty_frames(peers: Peers, tmp_path: Path) -> None:
    kamailio = Kamailio.start(peers, tmp_path)
    assert [await observed(kamailio, fault) for fault in FAULTS] == FAULTS
