"""A bug for each target, to show that its fuzzer finds what is there to be found.

Each is reached by rare inputs alone; a test knows one of them. A bug is planted by exchanging a function of a codec for
one that is wrong. Its conditions stand one inside the other, so that each that is met is a new edge for the fuzzer:
this is what guides it.
"""

# ruff: noqa: SIM102

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import seeds
from cpmspec.evidence import packets
from cpmspec.evidence.trace import Address
from cpmspec.protocol import msrp_receiver
from cpmspec.wire import cpim, fragment, imap, imdn, mime, msrp, sdp, sip, summary, uri
from cpmspec.wire.violation import Violation


@dataclass(frozen=True)
class Planted:
    """``faulty`` makes the wrong function of the right one, which is ``name`` of ``owner``."""

    what: str
    trigger: bytes  #: an input that shows it
    owner: Any
    name: str
    faulty: Callable[[Callable[..., Any]], Callable[..., Any]]

    def plant(self) -> None:
        """Exchange the function."""
        setattr(self.owner, self.name, self.faulty(getattr(self.owner, self.name)))

    @contextmanager
    def planted(self) -> Iterator[None]:
        """Exchange the function for a while."""
        right = getattr(self.owner, self.name)
        self.plant()
        try:
            yield
        finally:
            setattr(self.owner, self.name, right)


def _raises_on_a_name(right: Callable[..., Any]) -> Callable[..., Any]:
    def parse_message(octets: bytes) -> Any:
        message = right(octets)
        for header in getattr(message, "headers", ()):
            if header.name == "x-\x07":
                raise KeyError(header.name)
        return message

    return parse_message


def _loses_a_piece(right: Callable[..., Any]) -> Callable[..., Any]:
    def feed(self: Any, octets: bytes) -> Any:
        kept = octets
        if octets[:1] == b"\n":
            if octets[1:3] == b"\r\n":
                if octets[3:4] >= b"\x80":
                    kept = b""
        return right(self, kept)

    return feed


def _another_text(right: Callable[..., Any]) -> Callable[..., Any]:
    def parse_uri(text: str) -> Any:
        read = right(text)
        port = getattr(read, "port", None)
        if port is not None:
            if port < 10:
                return right("sip:x")
        return read

    return parse_uri


def _drops_of_thirteen(right: Callable[..., Any]) -> Callable[..., Any]:
    def feed(self: Any, octets: bytes) -> Any:
        events = []
        for event in right(self, octets):
            kept = event
            if isinstance(event, msrp.FrameData):
                if len(event.octets) == 13:
                    if event.octets[-1] < 0x20:
                        kept = msrp.FrameData(event.octets[1:])
            events.append(kept)
        return events

    return feed


def _loses_octets(right: Callable[..., Any]) -> Callable[..., Any]:
    def write(self: Any, offset: int, octets: bytes) -> None:
        if octets[0] >= 0x80:
            if octets[0] & 0x03 == 0x03:
                return
        right(self, offset, octets)

    return write


def _forgets_a_line(right: Callable[..., Any]) -> Callable[..., Any]:
    def parse_sdp(octets: bytes) -> Any:
        read = right(octets)
        kept = []
        for line in read.lines:
            if line.kind == "b":
                if line.value == "":
                    continue
            kept.append(line)
        return replace(read, lines=tuple(kept))

    return parse_sdp


def _part_elsewhere(right: Callable[..., Any]) -> Callable[..., Any]:
    def parse_multipart(content_type: str, body: bytes) -> Any:
        read = right(content_type, body)
        parts = []
        for part in read.parts:
            moved = part
            if not part.headers:
                if len(part.body) == 1:
                    if part.body >= b"a":
                        moved = replace(part, offset=part.offset + 1)
            parts.append(moved)
        return replace(read, parts=tuple(parts))

    return parse_multipart


def _offset_beyond(right: Callable[..., Any]) -> Callable[..., Any]:
    def parse_cpim(octets: bytes) -> Any:
        read = right(octets)
        beyond = Violation("CPI-3862-0-00", len(octets) + 1, "nothing", "nothing")
        for prefix in read.namespaces:
            if prefix > "\x7f":
                return replace(read, violations=(*read.violations, beyond))
        return read

    return parse_cpim


def _raises_on_a_status(right: Callable[..., Any]) -> Callable[..., Any]:
    def parse_imdn(octets: bytes) -> Any:
        read = right(octets)
        if len(read.message_id) == 2:
            if read.message_id[0].isdigit():
                raise RecursionError(read.message_id)
        return read

    return parse_imdn


def _raises_on_a_body(right: Callable[..., Any]) -> Callable[..., Any]:
    def parse_fragment(media_type: str, octets: bytes) -> Any:
        read = right(media_type, octets)
        if read.kind == "msrpfrag":
            if read.start_line is None:
                if read.body:
                    if len(read.body) == 1:
                        raise IndexError(read.body)
        return read

    return parse_fragment


def _raises_on_a_count(right: Callable[..., Any]) -> Callable[..., Any]:
    def parse_summary(octets: bytes) -> Any:
        read = right(octets)
        for count in read.counts:
            if count.new == 0:
                if count.old >= 5:
                    raise ZeroDivisionError(str(count))
        return read

    return parse_summary


def _loses_an_octet(right: Callable[..., Any]) -> Callable[..., Any]:
    def feed(self: Any, octets: bytes) -> Any:
        units = []
        for unit in right(self, octets):
            kept = unit
            if unit.name:
                if unit.tag[-1:] == "7":
                    kept = replace(unit, raw=unit.raw[:-1])
            units.append(kept)
        return units

    return feed


def _raises_on_a_port(right: Callable[..., Any]) -> Callable[..., Any]:
    def parse(octets: bytes, link_type: int = packets.LINK_RAW, *, verify: bool = False) -> Any:
        packet = right(octets, link_type, verify=verify)
        if packet.destination.port >= 0x8000:
            if packet.source.port >= 0x8000:
                if packet.source.port & 0xFF == 0xFF:
                    raise ValueError(packet.source.port)
        return packet

    return parse


_RAW = bytes([packets.LINK_RAW])
_DATAGRAM = packets.build(
    packets.Packet("udp", Address("::1", 0x80FF), Address("::1", 0x8000), b"MSRP"),
)

PLANTED: dict[str, Planted] = {
    "sip_message": Planted(
        "raises if a header has a certain name",
        b"MESSAGE sip:b@c SIP/2.0\r\nx-\x07: 1\r\n\r\n", sip, "parse_message", _raises_on_a_name,
    ),
    "sip_stream": Planted(
        "loses a piece that begins in the middle of the empty line, before certain bodies",
        (len(seeds.MESSAGE) - 5).to_bytes(2, "big") + b"\0\0" + seeds.MESSAGE[:-2] + b"\xff\xff",
        sip.SipStream, "feed", _loses_a_piece,
    ),
    "uri": Planted("gives another text for certain ports", b"sip:a:7", uri, "parse_uri", _another_text),
    "msrp_stream": Planted(
        "drops an octet of certain bodies of 13",
        b"\0\0\0\0" + seeds.SEND.replace(b"hello", b"hello, world\t"), msrp.MsrpStream, "feed", _drops_of_thirteen,
    ),
    "msrp_receiver": Planted(
        "its sink loses octets that begin with certain ones",
        b"\0\0\0\0" + seeds.SEND.replace(b"hello", b"\xffello"),
        msrp_receiver.BytesSink, "write", _loses_octets,
    ),
    "sdp": Planted("forgets a line b= without a value", b"v=0\r\nb=\r\n", sdp, "parse_sdp", _forgets_a_line),
    "mime": Planted(
        "puts a certain part elsewhere",
        b"a/b;boundary=c\r\n--c\r\n\r\nz\r\n--c--", mime, "parse_multipart", _part_elsewhere,
    ),
    "cpim": Planted(
        "a violation outside the octets for prefixes of a certain kind",
        b"NS: \xc3\xa9 <x>\r\n\r\n\r\n", cpim, "parse_cpim", _offset_beyond,
    ),
    "imdn": Planted(
        "raises on a certain notification",
        seeds.IMDN.replace(b">1<", b">42<").replace(b"delivery", b"display"), imdn, "parse_imdn", _raises_on_a_status,
    ),
    "fragment": Planted(
        "raises on a certain body", b"\x02A: b\r\n\r\n#", fragment, "parse_fragment", _raises_on_a_body,
    ),
    "summary": Planted(
        "raises on certain counts",
        b"Messages-Waiting: no\r\nVoice-Message: 0/9\r\n", summary, "parse_summary", _raises_on_a_count,
    ),
    "imap": Planted(
        "loses an octet of a certain command", b"\0\0\0\0a7 NOOP\r\n", imap.ImapCommandStream, "feed", _loses_an_octet,
    ),
    "pcapng": Planted(
        "raises on certain ports", seeds.PACKET + _RAW + _DATAGRAM, packets, "parse", _raises_on_a_port,
    ),
}  # fmt: skip
