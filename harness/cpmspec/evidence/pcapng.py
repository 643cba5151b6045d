"""A trace as a pcapng file with a JSON sidecar, and back without loss (architecture: evidence is the wire).

``trace.pcapng`` has one interface for each PCO, named after it, and raw IP packets, commented as :mod:`.framing` says.
The first packet's second comment binds the context: ``context.json sha256=...; packets=57; case TP_...``.

scapy writes and reads the blocks. Its reader takes a damaged file for one that ends early, so :func:`packet_count`
walks the blocks first.
"""

from __future__ import annotations

import json
import os
import re
import struct
from collections.abc import Iterator
from fractions import Fraction
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

from cpmspec.evidence import packets as ip
from cpmspec.evidence.context import Context
from cpmspec.evidence.framing import Sequences, comment, direction, frame_of
from cpmspec.evidence.packets import ACK, LINK_RAW, SYN, Packet, PacketError
from cpmspec.evidence.trace import PACKETS, Frame, Kind, Pco, Trace

TRACE_NAME = "trace.pcapng"
CONTEXT_NAME = "context.json"
_ENHANCED_PACKET = 6
_BYTE_ORDERS = {b"\x4d\x3c\x2b\x1a": "<", b"\x1a\x2b\x3c\x4d": ">"}
_LONGEST_PACKET = 0xFFFF + 40
_RESOLUTION = 1_000_000  # ticks in a second
_BINDING = re.compile(r"context\.json sha256=([0-9a-f]{64}); packets=(\d+)")

#: number, time in microseconds, PCO, comment, packet
_Numbered = tuple[int, int, Pco, str, Packet]


class EvidenceError(Exception):
    """Evidence that cannot be written or read back; the text names the file, the packet, and what was expected."""


class _Captured(bytes):
    """A packet's octets with what scapy's writer looks for on a packet."""

    comments: list[bytes]
    sniffed_on: str
    direction: int | None


def write(trace: Trace, folder: Path) -> Path:
    """Write ``trace.pcapng`` and ``context.json`` into ``folder`` (made if absent) and return the former's path.

    Both files appear whole or not at all. The values in the context's ``pics`` and ``ixit`` must be plain JSON.

    :raises EvidenceError: the trace was not made by :meth:`Trace.build`, or a frame fits no packet.
    """
    path = folder / TRACE_NAME
    if Trace.build(trace.context, trace.frames) != trace:
        raise EvidenceError(f"{path}: found frames in free order, expected what Trace.build makes of them")
    context = json.dumps(trace.context.to_json(), indent=1, sort_keys=True).encode()
    folder.mkdir(parents=True, exist_ok=True)
    temporary = [folder / f".{name}.{os.getpid()}" for name in (TRACE_NAME, CONTEXT_NAME)]
    try:
        _write_blocks(temporary[0], _captured(path, trace, context))
        temporary[1].write_bytes(context)
        temporary[0].replace(path)
        temporary[1].replace(folder / CONTEXT_NAME)
    finally:
        for leftover in temporary:
            leftover.unlink(missing_ok=True)
    return path


def read(folder: Path) -> Trace:
    """Read what :func:`write` wrote; the result equals the trace that was written.

    :raises EvidenceError: a file is missing, damaged, or not written by :func:`write`.
    """
    path = folder / TRACE_NAME
    octets = _octets_of(folder / CONTEXT_NAME)
    try:
        context = Context.from_json(json.loads(octets))
    except (ValueError, TypeError, AttributeError) as problem:
        raise EvidenceError(f"{folder / CONTEXT_NAME}: found {problem}, expected a case's context") from problem
    return Trace(context, tuple(_frames(path, octets)))


def packet_count(path: Path) -> int:
    """Walk the blocks of a pcapng file and count its packets; each block repeats its length at its end.

    :raises EvidenceError: the file is missing, a block is cut short or its two lengths differ.
    """
    return _count(path, _octets_of(path))


def _count(path: Path, octets: bytes) -> int:
    order = _BYTE_ORDERS.get(octets[8:12])
    if octets[:4] != b"\x0a\x0d\x0d\x0a" or order is None:
        raise EvidenceError(f"{path}: found {octets[:12].hex(' ') or 'nothing'}, expected a pcapng section header")
    at, count = 0, 0
    while at < len(octets):
        kind, length = struct.unpack_from(order + "II", octets, at) if at + 8 <= len(octets) else (0, 12)
        count += kind == _ENHANCED_PACKET
        where = f"{path}, {'' if kind == _ENHANCED_PACKET else 'after '}packet {count} at octet {at}"
        if length < 12 or length % 4 or at + length > len(octets):
            raise EvidenceError(f"{where}: found {len(octets) - at} octets, expected a whole block (length {length})")
        if struct.unpack_from(order + "I", octets, at + length - 4)[0] != length:
            raise EvidenceError(f"{where}: found a block whose two lengths differ, expected {length} twice")
        at += length
    return count


# --- writing ---------------------------------------------------------------------------------------------------------


def _write_blocks(path: Path, captured: Iterator[tuple[_Captured, int]]) -> None:
    """Write the file; every PCO's interface is described first, so that scapy adds no nameless one."""
    from scapy.utils import RawPcapNgWriter  # late: only who writes evidence pays for scapy's import

    writer = RawPcapNgWriter(str(path))
    try:
        writer.linktype = LINK_RAW
        writer.header_present = True
        writer._write_block_shb()
        for pco in Pco:
            writer._write_block_idb(linktype=LINK_RAW, ifname=pco.value.encode())
        writer.interfaces2id = {pco.value.encode(): index for index, pco in enumerate(Pco)}
        for packet, time_us in captured:
            seconds: Any = Fraction(time_us, _RESOLUTION)  # scapy multiplies it by a million: exact, unlike a float
            writer.write_packet(packet, sec=seconds)
    finally:
        writer.close()


def _captured(path: Path, trace: Trace, context: bytes) -> Iterator[tuple[_Captured, int]]:
    """The packets of a trace, each with its time in microseconds."""
    sequences = Sequences()
    total = sum(PACKETS[frame.kind] for frame in trace.frames)
    binding = f"context.json sha256={sha256(context).hexdigest()}; packets={total}; case {trace.context.case}"
    for frame in trace.frames:
        try:
            for number, packet in enumerate(sequences.packets(frame), frame.number):
                captured = _Captured(ip.build(packet, number))
                captured.sniffed_on = frame.pco.value
                captured.direction = direction(frame, packet)
                captured.comments = [comment(frame, packet).encode()]
                if number == 1:
                    captured.comments.append(binding.encode("utf-8", "replace")[:1000])
                yield captured, frame.time_us
        except PacketError as problem:
            raise EvidenceError(f"{path}, packet {frame.number}: {problem}") from None


# --- reading ---------------------------------------------------------------------------------------------------------


def _octets_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as problem:
        raise EvidenceError(f"{path}: found {problem.strerror}, expected a file of evidence") from problem


def _frames(path: Path, context: bytes) -> Iterator[Frame]:
    """The frames of the file, checked against the context's octets and their own sequence numbers."""
    sequences = Sequences()
    captured = _packets(path, context)
    for number, time_us, pco, text, packet in captured:
        try:
            frame = frame_of(number, time_us, pco, text, packet)
            sequences.check(frame, packet)
            if frame.kind is Kind.OPEN:
                _check_handshake(packet, next(captured, None), next(captured, None))
        except PacketError as problem:
            raise EvidenceError(f"{path}, packet {number}: {problem}") from None
        yield frame


def _check_handshake(syn: Packet, *others: _Numbered | None) -> None:
    flags = [syn.flags, *(other[4].flags for other in others if other is not None)]
    if flags != [SYN, SYN | ACK, ACK]:
        raise PacketError(f"found TCP flags {flags}, expected a handshake of SYN, SYN+ACK and ACK")


def _packets(path: Path, context: bytes) -> Iterator[_Numbered]:
    """Each packet of the file, checked as far as one packet can be."""
    from scapy.error import Scapy_Exception
    from scapy.utils import RawPcapNgReader

    file = _octets_of(path)
    count = _count(path, file)
    opened: Any = BytesIO(file)  # not the path: scapy leaves a file open that it refuses
    try:
        reader = RawPcapNgReader(opened)
    except (EOFError, Scapy_Exception) as problem:
        raise EvidenceError(f"{path}: found {problem}, expected a pcapng section header") from None
    for number in range(1, count + 1):
        meta: Any
        try:
            octets, meta = reader._read_packet(size=_LONGEST_PACKET)  # iteration would cut at 65,535 octets
        except EOFError:
            raise EvidenceError(f"{path}, packet {number}: found damaged fields, expected a packet") from None
        if meta.tshigh is None or meta.tsresol != _RESOLUTION:
            raise EvidenceError(f"{path}, packet {number}: found another time format, expected microseconds")
        comments = [text.decode("utf-8", "replace") for text in meta.comments or ()]
        if number == 1:
            _check_binding(path, comments[1] if len(comments) > 1 else "", context, count)
        try:
            pco = Pco((meta.ifname or b"").decode("utf-8", "replace"))
            packet = ip.parse(octets, meta.linktype, verify=True)
        except ValueError as problem:
            raise EvidenceError(f"{path}, packet {number}: {problem}") from None
        yield number, (meta.tshigh << 32) + meta.tslow, pco, comments[0] if comments else "", packet


def _check_binding(path: Path, text: str, context: bytes, count: int) -> None:
    binding = _BINDING.match(text)
    if binding is None:
        raise EvidenceError(f"{path}, packet 1: found comment {text!r}, expected the digest of {CONTEXT_NAME}")
    if binding[1] != sha256(context).hexdigest():
        raise EvidenceError(f"{path}, packet 1: found the digest of another {CONTEXT_NAME} than the one beside it")
    if int(binding[2]) != count:
        raise EvidenceError(f"{path}: found {count} packets, expected {binding[2]}")
