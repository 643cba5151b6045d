"""What the messages of a scene are made of (headers, multipart, SDP), and what checks find in a scene."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from cpmspec.judge.checks.common import Check
from cpmspec.judge.facts import Facts
from cpmspec.judge.verdict import Verdict

if TYPE_CHECKING:
    from scene import Scene


@dataclass
class Wrapped:
    """What the PF makes of a deferred message: everything that a test may bend before it is sent."""

    content_type: str = "multipart/mixed;boundary=b0und"
    date: str | None = None
    sip_type: str = "message/sipfrag"
    sip: list[tuple[str, str]] = field(default_factory=list)
    msrp_type: str = "message/msrpfrag"
    msrp: list[tuple[str, str]] = field(default_factory=list)
    body_type: str = "text/plain"
    body: bytes = b""
    body_headers: list[str] = field(default_factory=list)
    octets: bytes | None = None  #: instead of all that

    def render(self) -> bytes:
        """The octets of the multipart."""
        if self.octets is not None:
            return self.octets
        date = [("Date", self.date)] if self.date else []
        parts = [header_lines([("Content-Type", self.sip_type), *date]) + b"\r\n" + header_lines(self.sip)]
        if self.msrp:
            parts.append(header_lines([("Content-Type", self.msrp_type)]) + b"\r\n" + header_lines(self.msrp))
        extra = "".join(f"{line}\r\n" for line in self.body_headers).encode()
        parts.append(header_lines([("Content-Type", self.body_type)]) + extra + b"\r\n" + self.body)
        return b"".join(b"--b0und\r\n" + part + b"\r\n" for part in parts) + b"--b0und--\r\n"


def header_lines(pairs: Sequence[tuple[str, str]]) -> bytes:
    return b"".join(f"{name}: {value}\r\n".encode() for name, value in pairs)


def sdp(path: str, **attributes: str) -> bytes:
    """A session description with one MSRP medium."""
    given = {
        "accept-types": "multipart/mixed",
        "accept-wrapped-types": "*",
        **{name.replace("_", "-"): value for name, value in attributes.items()},
    }
    direction = given.pop("direction", "sendrecv")
    port = urlsplit(path.split()[-1]).port or 2855
    lines = [
        "v=0",
        "o=- 1 1 IN IP4 127.0.0.1",
        "s=-",
        "c=IN IP4 127.0.0.1",
        "t=0 0",
        f"m=message {port} TCP/MSRP *",
        f"a=path:{path}",
    ]
    return "\r\n".join([*lines, *(f"a={name}:{value}" for name, value in given.items()), f"a={direction}", ""]).encode()


def verdicts(scene: Scene, checks: Sequence[Check], rule: str) -> list[Verdict]:
    """What some checks find about one requirement, in order."""
    facts = Facts(scene.trace())
    return [found.verdict for check in checks for found in check(facts) if found.requirement == rule]
