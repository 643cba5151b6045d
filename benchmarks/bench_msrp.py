"""MSRP: incremental framing with validation, against a floor that has the whole stream and looks at nothing."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from functools import partial

from ratio import Row, compare

from cpmspec.wire.msrp import FrameData, FrameEnd, MsrpEvent, MsrpStream, build_request, new_message_id, new_session_id

GOAL = "at least 0.4"
OCTETS = 2 * 1024 * 1024  #: of the bodies of a stream
TO, FROM = (f"msrp://192.0.2.{host}:2855/{new_session_id()};tcp" for host in (1, 2))


def stream(size: int) -> bytes:
    """A message of random octets in chunks of that size, as a sender of ours makes them."""
    message_id, total = new_message_id(), OCTETS // size * size
    return b"".join(
        build_request(
            "SEND", secrets.token_hex(10), [TO], [FROM],
            [
                ("Message-ID", message_id), ("Byte-Range", f"{first + 1}-*/{total}"), ("Success-Report", "no"),
                ("Failure-Report", "yes"),
            ],
            secrets.token_bytes(size), "$" if first + size == total else "+",
            content_type="multipart/mixed;boundary=0123456789abcdef",
        )
        for first in range(0, total, size)
    )  # fmt: skip


def floor(octets: bytes) -> list[tuple[list[list[bytes]], bytes]]:
    """The least that can be done: the end-line is looked for, headers are split, the body is copied."""
    frames, at = [], 0
    while at < len(octets):
        line = octets.find(b"\r\n", at)
        ident = octets[at:line].split(b" ")[1]
        empty = octets.find(b"\r\n\r\n", line)
        headers = [header.split(b": ", 1) for header in octets[line + 2 : empty].split(b"\r\n")]
        end = octets.find(b"\r\n-------" + ident, empty + 2)
        frames.append((headers, octets[empty + 4 : end]))
        at = octets.find(b"\r\n", end + 2) + 2
    return frames


def ours(pieces: list[bytes]) -> list[MsrpEvent]:
    """All events of our reader: heads that were checked, octets of bodies, ends with what is wrong."""
    reader, events = MsrpStream(), list[MsrpEvent]()
    for piece in pieces:
        events += reader.feed(piece)
    return events


def check(octets: bytes, pieces: list[bytes], size: int) -> None:
    """Both sides read all of the stream, and nothing in it is wrong.

    :raises ValueError: they do not.
    """
    events = ours(pieces)
    ends = [event for event in events if isinstance(event, FrameEnd)]
    bodies = b"".join(event.octets for event in events if isinstance(event, FrameData))
    if any(event.violations for event in ends) or bodies != b"".join(body for _, body in floor(octets)):
        raise ValueError("the two do not read the same")
    if (len(ends), len(bodies)) != (OCTETS // size, OCTETS):
        raise ValueError("not all of the stream was read")


def rows() -> Iterator[Row]:
    """Chunks of 2 KiB and of 64 KiB, in pieces as TCP brings them and in pieces as asyncio reads them."""
    for size, what in ((2048, "2 KiB"), (65_536, "64 KiB")):
        octets = stream(size)
        for length in (1460, 65_536):
            pieces = [octets[at : at + length] for at in range(0, len(octets), length)]
            check(octets, pieces, size)
            subject = f"MSRP framing, chunks of {what} fed in pieces of {length} octets"
            yield compare(
                subject, "bytes.find, split and copy over the whole stream",
                partial(ours, pieces), partial(floor, octets), goal=GOAL, repeat=10,
            )  # fmt: skip
