"""IP, TCP and UDP packets from values and back (RFC 791, 8200, 9293, 768): no sockets, no files."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address

from cpmspec.evidence.trace import Address

FIN, SYN, RST, PSH, ACK = 0x01, 0x02, 0x04, 0x08, 0x10
WINDOW = 65535
_TCP, _UDP = 6, 17
_TCP_OPTION_MSS = struct.pack("!BBH", 2, 4, 65495)

# Link types (https://www.tcpdump.org/linktypes.html) -> octets before the IP header
LINK_RAW = 101
_LINK_HEADERS = {0: 4, 1: 14, 12: 0, 14: 0, LINK_RAW: 0, 108: 4, 113: 16, 228: 0, 229: 0, 276: 20}
_VLAN_TYPES = (0x8100, 0x88A8)
_EXTENSIONS = (0, 43, 60)  # IPv6 hop-by-hop, routing, destination options: skipped


class PacketError(ValueError):
    """A packet that cannot be built or read; the text says what was found and what was expected."""


@dataclass(frozen=True, slots=True)
class Packet:
    """One TCP segment or UDP datagram. ``sequence``, ``acknowledgement`` and ``flags`` are 0 for UDP."""

    transport: str  #: "tcp" or "udp"
    source: Address
    destination: Address
    payload: bytes
    sequence: int = 0
    acknowledgement: int = 0
    flags: int = 0
    missing: int = 0  #: octets of the payload that the capture cut off


@lru_cache(maxsize=1024)
def ip(host: str) -> IPv4Address | IPv6Address:
    """The numeric address of a host text.

    :raises PacketError: it is a name or no address at all.
    """
    try:
        return ip_address(host)
    except ValueError:
        raise PacketError(f"found host {host!r}, expected a numeric IPv4 or IPv6 address") from None


def build(packet: Packet, identification: int = 0) -> bytes:
    """The IP packet, checksums filled in.

    :raises PacketError: the payload is too long for one packet, or the two addresses are of different families.
    """
    source, destination = ip(packet.source.host), ip(packet.destination.host)
    if source.version != destination.version:
        raise PacketError(f"found {source} and {destination}, expected addresses of one family")
    pseudo = source.packed + destination.packed
    protocol = _TCP if packet.transport == "tcp" else _UDP
    segment = _tcp(packet, pseudo) if protocol == _TCP else _udp(packet, pseudo)
    if source.version == 6:
        if len(segment) > 0xFFFF:
            raise PacketError(f"found {len(packet.payload)} octets, expected what fits into one IPv6 packet")
        return struct.pack("!IHBB", 6 << 28, len(segment), protocol, 64) + pseudo + segment
    total = 20 + len(segment)
    if total > 0xFFFF:
        raise PacketError(f"found {len(packet.payload)} octets, expected what fits into one IPv4 packet")
    fields = struct.pack("!BBHHHBB", 0x45, 0, total, identification & 0xFFFF, 0x4000, 64, protocol)
    checksum = _checksum(fields + b"\0\0" + pseudo)
    return fields + struct.pack("!H", checksum) + pseudo + segment


def _tcp(packet: Packet, pseudo: bytes) -> bytes:
    options = _TCP_OPTION_MSS if packet.flags & SYN else b""
    length = 20 + len(options) + len(packet.payload)
    before = struct.pack(
        "!HHIIBBH",
        packet.source.port,
        packet.destination.port,
        packet.sequence & 0xFFFFFFFF,
        packet.acknowledgement & 0xFFFFFFFF,
        (20 + len(options)) // 4 << 4,
        packet.flags,
        WINDOW,
    )
    after = b"\0\0" + options + packet.payload
    checksum = _checksum(pseudo + struct.pack("!II", length, _TCP) + before + b"\0\0" + after)
    return before + struct.pack("!H", checksum) + after


def _udp(packet: Packet, pseudo: bytes) -> bytes:
    length = 8 + len(packet.payload)
    if length > 0xFFFF:
        raise PacketError(f"found {len(packet.payload)} octets, expected at most {0xFFFF - 8} in a UDP datagram")
    before = struct.pack("!HHH", packet.source.port, packet.destination.port, length)
    checksum = _checksum(pseudo + struct.pack("!II", length, _UDP) + before + b"\0\0" + packet.payload)
    return before + struct.pack("!H", checksum or 0xFFFF) + packet.payload  # RFC 768: 0 means "none"


def _checksum(octets: bytes) -> int:
    """The Internet checksum (RFC 1071): a sum in ones' complement is a remainder by 65535."""
    if len(octets) % 2:
        octets += b"\0"
    return (0xFFFF - int.from_bytes(octets, "big") % 0xFFFF) % 0xFFFF


def parse(octets: bytes, link_type: int = LINK_RAW, *, verify: bool = False) -> Packet:
    """Read one captured packet; ``verify`` insists on a whole packet and on its TCP or UDP checksum.

    Without it a cut packet is read as far as it goes: most captures of a loopback interface have wrong checksums.

    :raises PacketError: it is not a TCP segment or UDP datagram that this code can read.
    """
    octets = octets[_link_header(octets, link_type) :]
    version = octets[0] >> 4 if octets else 0
    if version == 4:
        protocol, source, destination, segment, length = _parse_v4(octets)
    elif version == 6:
        protocol, source, destination, segment, length = _parse_v6(octets)
    else:
        raise PacketError(f"found IP version {version}, expected 4 or 6")
    if verify:
        _verify(source + destination, protocol, segment, length)
    hosts = str(ip_address(source)), str(ip_address(destination))
    minimum = {_TCP: 20, _UDP: 8}.get(protocol)
    if minimum is None:
        raise PacketError(f"found IP protocol {protocol}, expected TCP or UDP")
    if len(segment) < minimum:
        raise PacketError(f"found {len(segment)} octets after the IP header, expected at least {minimum}")
    ports = struct.unpack_from("!HH", segment)
    ends = Address(hosts[0], ports[0]), Address(hosts[1], ports[1])
    missing = max(0, length - len(segment))
    if protocol == _UDP:
        return Packet("udp", *ends, segment[8:], missing=missing)
    sequence, acknowledgement, offset, flags = struct.unpack_from("!IIBB", segment, 4)
    return Packet("tcp", *ends, segment[(offset >> 4) * 4 :], sequence, acknowledgement, flags, missing)


def _link_header(octets: bytes, link_type: int) -> int:
    """How many octets stand before the IP header."""
    length = _LINK_HEADERS.get(link_type)
    if length is None:
        raise PacketError(f"found link type {link_type}, expected one of {sorted(_LINK_HEADERS)}")
    if link_type == 1:
        while len(octets) >= length + 4 and int.from_bytes(octets[length - 2 : length], "big") in _VLAN_TYPES:
            length += 4
    if len(octets) <= length:
        raise PacketError(f"found {len(octets)} octets, expected an IP header after {length} of link header")
    return length


def _parse_v4(octets: bytes) -> tuple[int, bytes, bytes, bytes, int]:
    header = (octets[0] & 15) * 4
    if header < 20 or len(octets) < header:
        raise PacketError(f"found {len(octets)} octets and header length {header}, expected a whole IPv4 header")
    total, _identification, fragment, _ttl, protocol = struct.unpack_from("!HHHBB", octets, 2)
    if fragment & 0x3FFF:
        raise PacketError("found an IPv4 fragment, expected a whole packet")
    total = total or len(octets)  # 0: left to the network card by segmentation offload
    return protocol, octets[12:16], octets[16:20], octets[header:total], total - header


def _parse_v6(octets: bytes) -> tuple[int, bytes, bytes, bytes, int]:
    if len(octets) < 40:
        raise PacketError(f"found {len(octets)} octets, expected a whole IPv6 header")
    length, protocol = struct.unpack_from("!HB", octets, 4)
    length = length or len(octets) - 40
    segment = octets[40 : 40 + length]
    while protocol in _EXTENSIONS and len(segment) >= 8:
        protocol, size = segment[0], (segment[1] + 1) * 8
        segment, length = segment[size:], length - size
    if protocol == 44:
        raise PacketError("found an IPv6 fragment, expected a whole packet")
    return protocol, octets[8:24], octets[24:40], segment, length


def _verify(pseudo: bytes, protocol: int, segment: bytes, length: int) -> None:
    if len(segment) != length:
        raise PacketError(f"found {len(segment)} octets after the IP header, expected {length}")
    if _checksum(pseudo + struct.pack("!II", length, protocol) + segment):
        raise PacketError("found a wrong checksum, expected octets as they were written")
