"""Kamailio's SIP and MSRP parsers on our corpora: what Kamailio refuses or drops, we report.

Where it is the other way round, the rule is one that Kamailio does not look at: ``docs/interop.md`` lists them, and the
list is compared here. A case that Kamailio refuses though nothing is wrong with it stands here, with the clause.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections import Counter
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path

import pytest

import corpora
from corpora import Case
from cpmspec.wire.msrp import MsrpFrame, MsrpFrameStream
from cpmspec.wire.sip import SipUnreadable, parse_message
from msrp_peer import Kamailio, Line
from peers import ROOT, Peers, require

#: octets that a datagram can carry
MAX_DATAGRAM = 65_507
#: seconds for Kamailio to answer on loopback; it does so in a millisecond
PATIENCE = 10.0
#: seconds after which Kamailio is asked what it waits for
READING = 0.3

pytestmark = pytest.mark.timeout(120)


# --- SIP -------------------------------------------------------------------------------------------------------------

# refused or dropped by Kamailio, legal by the clause, and so without a violation of ours
SIP_REFUSED = {
    "sip/wsinv": "a fold between the number and the method of CSeq: RFC 3261 25.1 has LWS there",
    "sip/intmeth": "a header name of all characters of a token: RFC 3261 25.1",
    "sip/esc02": "a percent sign in a header name is a character of a token as any other: RFC 3261 25.1",
    "sip/transports": "a transport that Kamailio does not have: RFC 3261 25.1, other-transport",
    "sip/via-other-protocol": "a protocol-name that is not SIP: RFC 3261 25.1, a token",
    "sip/unkscm": "a Request-URI of an unknown scheme is legal, and answered with 416: RFC 3261 8.2.2.1",
    "sip/novelsc": "the same, of a scheme that is no telephone's and no SIP's: RFC 3261 8.2.2.1",
    "sip/unksm2": "URIs of other schemes in To and Contact: RFC 3261 25.1, absoluteURI",
    "sip/bext01": "an option tag that Kamailio does not have is legal, and answered with 420: RFC 3261 16.3",
    "sip/regaut01": "an authorization scheme that Kamailio does not have: RFC 3261 25.1, other-response",
}
MARK = (
    "OPTIONS sip:how-far@x.example SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:9;rport;branch=z9hG4bK1\r\n"
    "Max-Forwards: 70\r\nFrom: <sip:a@x.example>;tag=1\r\nTo: <sip:how-far@x.example>\r\nCall-ID: {}\r\n"
    "CSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
)


def sip_cases() -> list[Case]:
    """All cases that fit into a datagram; a name is made of corpus and case."""
    cases = [replace(case, name=f"{name}/{case.name}") for name in ("sip", "sip_ipv6") for case in corpora.corpus(name)]
    return [case for case in cases if len(case.octets) <= MAX_DATAGRAM]


class Does(Enum):
    """What Kamailio does with a message."""

    TAKES = "takes it"
    REFUSES = "refuses it: not sane"
    DROPS = "drops it: cannot be parsed"


def kamailio_says(peers: Peers, cases: list[Case]) -> dict[str, str]:
    """What Kamailio's log says about each case: each is followed by a request that it answers, and marks in its log."""
    peer = peers.start("kamailio_sip.py")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
        line.connect(peer.address("udp"))
        line.settimeout(PATIENCE)
        for number, case in enumerate(cases):
            line.send(case.octets)
            line.send(MARK.format(f"mark-{number}").encode())
            while f"mark-{number}\r\n".encode() not in line.recv(65_535):
                pass
    left = peer.log.read_text(encoding="utf-8", errors="surrogateescape")
    said: dict[str, str] = {}
    for number, case in enumerate(cases):
        said[case.name], _, left = left.partition(f"[[mark mark-{number}]]")
    return said


def does(said: str) -> Does:
    """What Kamailio did with a message, by what it said."""
    return Does.TAKES if "[[sane" in said else Does.REFUSES if "[[insane" in said else Does.DROPS


def test_what_kamailio_refuses_of_sip_we_report(peers: Peers) -> None:
    require("kamailio")
    cases = sip_cases()
    found = {name: does(said) for name, said in kamailio_says(peers, cases).items()}
    ours = {case.name: told_of_sip(case) for case in cases}
    unreported = {name: it.value for name, it in found.items() if it is not Does.TAKES and not ours[name]}
    assert set(unreported) == set(SIP_REFUSED), unreported
    taken = [rule for name, it in found.items() if it is Does.TAKES for rule in ours[name]]
    refused = [rule for name, it in found.items() if it is not Does.TAKES for rule in ours[name]]
    compare_with_page("SIP", set(taken) - set(refused))
    # not from having looked at nothing
    counted = Counter(found.values())
    assert counted[Does.TAKES] > 20
    assert counted[Does.REFUSES] > 5
    assert counted[Does.DROPS] > 10


def told_of_sip(case: Case) -> set[str]:
    """The identifiers of what we report about a case."""
    return {violation.id for violation in parse_message(case.octets).violations}


def test_what_both_take_is_read_alike(peers: Peers) -> None:
    """Method or status, Call-ID and number of CSeq, as Kamailio wrote them into its log."""
    require("kamailio")
    cases = [case for case in sip_cases() if case.form]
    said, compared = kamailio_says(peers, cases), 0
    for case in cases:
        if read := re.search(r"\[\[read (\S+) (.*) (\d+)\]\]", said[case.name]):
            message = parse_message(case.octets)
            assert not isinstance(message, SipUnreadable)
            assert message.cseq is not None
            kind = getattr(message, "method", None) or str(getattr(message, "status", ""))
            assert read.groups() == (kind, message.call_id, str(message.cseq.number)), case.name
            compared += 1
    assert compared > 10


# --- MSRP ------------------------------------------------------------------------------------------------------------

# Kamailio ends the connection, answers with 501, or waits for another end: legal by the clause
MSRP_REFUSED = {
    "msrp/header-names-in-small-letters": "a literal of ABNF has no case: RFC 4975 9, RFC 4234 2.3",
    "msrp/header-of-sip": "Content-Length is a header that MSRP does not know: RFC 4975 9, ext-header",
    "msrp/several-hops": "no fault of reading: the next hop cannot be reached, and that is what the 408 says",
    "msrp_stream/end-line-look-alikes": "any octet is a continuation flag for Kamailio: RFC 4975 9",
    "msrp_stream/identifier-begins-like-a-flag": "the same",
}


def follower(name: str) -> bytes:
    """A SEND that Kamailio answers, if it reads it as one."""
    return (
        f"MSRP {name} SEND\r\nTo-Path: msrp://a.example:2855/s1;tcp\r\nFrom-Path: msrp://b.example:2855/s2;tcp\r\n"
        f"Message-ID: 12339sdqwer\r\nContent-Type: text/plain\r\n\r\nhello\r\n-------{name}$\r\n"
    ).encode()


#: what follows each case on its connection, and what follows an end-line that comes late
FIRST, SECOND = "follower1", "follower2"
START = re.compile(rb"(?i)^MSRP +(\S+)", re.MULTILINE)
#: a start-line that ends after the transaction identifier: it ends Kamailio 5.6.3 (docs/interop.md)
DEADLY = re.compile(rb"^MSRP [^ \r\n]*\r?\n", re.MULTILINE)


@dataclass(frozen=True)
class Outcome:
    """What Kamailio did with the messages of a case."""

    ended: bool  #: the connection
    waits: bool  #: for an end-line, though the follower came
    answers: tuple[int, ...]  #: to the case's own messages, by status

    def refuses(self, wanted: int) -> bool:
        """Whether Kamailio did less than to answer so many SENDs with 200."""
        return self.ended or self.waits or self.answers.count(200) < wanted


async def outcome(line: Line, octets: bytes) -> Outcome:
    """Send a case and the follower, and see what comes back.

    If nothing does, Kamailio is slow or takes the follower for a part of a body: then each end-line that it may wait
    for comes, with another follower behind it. The first answer tells.
    """
    await line.connection.send(octets + follower(FIRST))
    if not await told(line, READING):
        ends = (b"\r\n-------%s$\r\n" % start[1] for start in START.finditer(octets))
        await line.connection.send(b"".join(end + follower(SECOND) for end in ends))
        await told(line, PATIENCE)
    answers = [frame for frame in received(line) if frame.transaction_id not in (FIRST, SECOND)]
    waits = not followed(line, FIRST) and not line.gone.is_set()
    return Outcome(line.gone.is_set(), waits, tuple(frame.status or 0 for frame in answers))


async def told(line: Line, within: float) -> bool:
    """Whether a follower is answered, or the connection ended, within so many seconds."""
    loop = asyncio.get_running_loop()
    until = loop.time() + within
    while not (line.gone.is_set() or followed(line, FIRST, SECOND)) and loop.time() < until:
        waiting = {asyncio.ensure_future(line.something()), asyncio.ensure_future(line.gone.wait())}
        _, pending = await asyncio.wait(waiting, timeout=until - loop.time(), return_when=asyncio.FIRST_COMPLETED)
        for one in pending:
            one.cancel()
    return line.gone.is_set() or followed(line, FIRST, SECOND)


def received(line: Line) -> list[MsrpFrame]:
    """The whole frames that came back."""
    stream = MsrpFrameStream()
    return [frame for frame in stream.feed(bytes(line.received)) if isinstance(frame, MsrpFrame)]


def followed(line: Line, *names: str) -> bool:
    """Whether one of these followers has been answered."""
    return any(frame.transaction_id in names for frame in received(line))


def sends(case: Case) -> int:
    """How many whole SENDs a case has that somebody would answer: by our reader."""
    stream = MsrpFrameStream()
    frames = [frame for frame in stream.feed(case.octets) if isinstance(frame, MsrpFrame)]
    return sum(frame.method == "SEND" and frame.failure_report != "no" for frame in frames)


def told_of_msrp(case: Case) -> set[str]:
    """The identifiers of what we report about a case, and about its end."""
    stream = MsrpFrameStream()
    return {violation.id for one in (*stream.feed(case.octets), *stream.close()) for violation in one.violations}


async def test_what_kamailio_refuses_of_msrp_we_report(peers: Peers, tmp_path: Path) -> None:
    kamailio = Kamailio.start(peers, tmp_path)
    names = ("msrp", "msrp_stream")
    cases = [replace(case, name=f"{name}/{case.name}") for name in names for case in corpora.corpus(name)]
    found: dict[str, Outcome] = {}
    for case in cases:
        if not DEADLY.search(case.octets):
            async with kamailio.line("tcp") as line:
                found[case.name] = await outcome(line, case.octets)
    ours = {case.name: told_of_msrp(case) for case in cases}
    refused = {case.name for case in cases if case.name in found and found[case.name].refuses(sends(case))}
    unreported = {name: found[name] for name in refused if not ours[name]}
    assert set(unreported) == set(MSRP_REFUSED), unreported
    taken = {rule for name in found if name not in refused for rule in ours[name]}
    compare_with_page("MSR", taken - {rule for name in refused for rule in ours[name]})
    assert len(found) > 60
    assert len(refused) > 10


# --- the page --------------------------------------------------------------------------------------------------------


def compare_with_page(group: str, rules: set[str]) -> None:
    """The page lists these rules of a group, and no others, as what Kamailio does not look at."""
    page = (ROOT / "docs" / "interop.md").read_text(encoding="utf-8")
    _, _, chapter = page.partition("## What Kamailio does not look at")
    listed = set(re.findall(rf"\b{group}-[0-9A-Z.]+-[0-9][0-9A-Z.-]*\b", chapter.partition("\n## ")[0]))
    assert (sorted(rules - listed), sorted(listed - rules)) == ([], []), "docs/interop.md lacks, and has too much"
