"""One frame as packets, and a packet as a frame: addresses shown, comments, sequence numbers.

What an IP packet cannot say stands in its comment: ``iut > client; connection=2; tls=1; from=127.0.0.1:5061
to=127.0.0.1:40001``. IMAP is shown on port 143 and plaintext taken at a TLS endpoint never on port 5061, so that
dissectors know them; then ``from`` and ``to`` are the true addresses.
"""

from __future__ import annotations

import re

from cpmspec.evidence.packets import ACK, FIN, PSH, RST, SYN, Packet, PacketError, ip
from cpmspec.evidence.trace import Address, Frame, Kind, Pco, Role

IMAP_PORT = 143
_SIPS_PORT, _SIP_PORT = 5061, 5060
_FLAGS = {Kind.DATA: PSH | ACK, Kind.CLOSE: FIN | ACK, Kind.LEFT: FIN | ACK, Kind.RESET: RST | ACK}

# comment = role " > " role ["; connection=" 1*DIGIT] ["; tls=1"] ["; from=" address " to=" address] ["; left=1"]
#           left: the trace ends here, the connection did not
_COMMENT = re.compile(r"(\w+) > (\w+)(?:; connection=(\d+))?(; tls=1)?(?:; from=(\S+) to=(\S+))?(; left=1)?")


class Sequences:
    """The sequence numbers of all connections of one file. They are fixed: the same trace makes the same file."""

    def __init__(self) -> None:
        self._following: dict[int, dict[Address, int]] = {}

    def packets(self, frame: Frame) -> list[Packet]:
        """The packets of the next frame: three for an opening, else one.

        :raises PacketError: the frame could not be read back as it is.
        """
        _check(frame)
        source = _shown(frame, frame.source, frame.sender)
        destination = _shown(frame, frame.destination, frame.receiver)
        if frame.transport == "udp":
            return [Packet("udp", source, destination, frame.octets)]
        if frame.kind is Kind.OPEN:
            first, answer = self._open(frame.connection, source, destination)
            return [
                Packet("tcp", source, destination, b"", first, 0, SYN),
                Packet("tcp", destination, source, b"", answer, first + 1, SYN | ACK),
                Packet("tcp", source, destination, b"", first + 1, answer + 1, ACK),
            ]
        acknowledged = self._next(frame.connection, destination)
        sequence = self._advance(frame, source)
        return [Packet("tcp", source, destination, frame.octets, sequence, acknowledged, _FLAGS[frame.kind])]

    def check(self, frame: Frame, packet: Packet) -> None:
        """Compare a packet that was read with what :meth:`packets` would have made.

        :raises PacketError: its sequence number differs: a packet before it is missing or was changed.
        """
        if packet.transport == "udp":
            return
        if frame.kind is Kind.OPEN:
            expected, _ = self._open(frame.connection, packet.source, packet.destination)
        else:
            expected = self._advance(frame, packet.source)
        if packet.sequence != expected & 0xFFFFFFFF:
            raise PacketError(
                f"found sequence number {packet.sequence} in connection {frame.connection}, "
                f"expected {expected & 0xFFFFFFFF}: a packet before it is missing or was changed"
            )

    def _open(self, connection: int, opener: Address, other: Address) -> tuple[int, int]:
        first, answer = connection << 20, (connection << 20) + (1 << 19)
        self._following[connection] = {opener: first + 1, other: answer + 1}
        return first, answer

    def _next(self, connection: int, end: Address) -> int:
        if connection not in self._following:
            raise PacketError(f"found octets of connection {connection}, expected its handshake first")
        return self._following[connection].setdefault(end, connection << 20)

    def _advance(self, frame: Frame, end: Address) -> int:
        sequence = self._next(frame.connection, end)
        self._following[frame.connection][end] = sequence + len(frame.octets) + (frame.kind in (Kind.CLOSE, Kind.LEFT))
        return sequence


def _check(frame: Frame) -> None:
    if frame.transport not in ("udp", "tcp", "tls"):
        raise PacketError(f"found transport {frame.transport!r}, expected udp, tcp or tls")
    if (frame.transport == "udp") != (frame.connection == 0):
        raise PacketError(f"found connection {frame.connection} over {frame.transport}, expected 0 for udp only")
    if frame.kind is not Kind.DATA and (frame.octets or frame.transport == "udp"):
        raise PacketError(f"found {frame.kind} with {len(frame.octets)} octets over {frame.transport}, expected data")
    if not 0 <= frame.time_us < 1 << 64:
        raise PacketError(f"found time {frame.time_us}, expected microseconds since the epoch")
    for end in (frame.source, frame.destination):
        if not 0 <= end.port <= 0xFFFF:
            raise PacketError(f"found port {end.port}, expected 0 to 65535")


def _shown(frame: Frame, end: Address, role: Role) -> Address:
    """The address that a dissector shall see."""
    port = end.port
    if frame.pco is Pco.STORE and role is Role.STORE:
        port = IMAP_PORT
    elif frame.transport == "tls" and port == _SIPS_PORT:
        port = _SIP_PORT
    return Address(str(ip(end.host)).partition("%")[0], port)


def comment(frame: Frame, packet: Packet) -> str:
    """The comment of one of the frame's packets."""
    back = packet.flags == SYN | ACK
    sender, receiver = (frame.receiver, frame.sender) if back else (frame.sender, frame.receiver)
    true = (frame.destination, frame.source) if back else (frame.source, frame.destination)
    text = f"{sender} > {receiver}"
    if frame.connection:
        text += f"; connection={frame.connection}"
    if frame.transport == "tls":
        text += "; tls=1"
    if frame.transport == "tls" or true != (packet.source, packet.destination):
        text += f"; from={true[0]} to={true[1]}"
    return text + ("; left=1" if frame.kind is Kind.LEFT else "")


def direction(frame: Frame, packet: Packet) -> int | None:
    """As pcapng counts: 1 came in to the harness from the IUT, 2 went out to it; ``None`` passed beside it."""
    if Role.IUT not in (frame.sender, frame.receiver):
        return None
    return 1 if (frame.sender is Role.IUT) != (packet.flags == SYN | ACK) else 2


def frame_of(number: int, time_us: int, pco: Pco, text: str, packet: Packet) -> Frame:
    """The frame that a packet with this comment stands for; of an opening, its first packet.

    :raises PacketError: the comment is not one of :func:`comment`.
    """
    found = _COMMENT.fullmatch(text)
    if found is None or (packet.transport == "udp") != (found[3] is None):
        raise PacketError(f"found comment {text!r} on {packet.transport}, expected e.g. 'iut > core; connection=1'")
    try:
        sender, receiver = Role(found[1]), Role(found[2])
        source, destination = (
            (_address(found[5]), _address(found[6])) if found[5] else (packet.source, packet.destination)
        )
    except ValueError as problem:
        raise PacketError(f"found comment {text!r}: {problem}") from None
    kind = Kind.DATA
    if packet.flags & SYN:
        kind = Kind.OPEN
    elif packet.flags & FIN:
        kind = Kind.LEFT if found[7] else Kind.CLOSE
    elif packet.flags & RST:
        kind = Kind.RESET
    return Frame(
        number=number,
        time_us=time_us,
        pco=pco,
        sender=sender,
        receiver=receiver,
        transport="tls" if found[4] else packet.transport,
        source=source,
        destination=destination,
        connection=int(found[3] or 0),
        kind=kind,
        octets=packet.payload,
    )


def _address(text: str) -> Address:
    host, _, port = text.rpartition(":")
    return Address(host.removeprefix("[").removesuffix("]"), int(port))
