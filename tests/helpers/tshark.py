"""What tshark, a dissector of others, reads in our captures, message by message beside what we read in them.

One call reads any number of files. A start of tshark takes a quarter of a second, so the files of a run are put behind
one another (a pcapng file may have several sections), octet for octet but for the hosts: connections of two cases
may have equal ends and equal sequence numbers, and tshark would take them for one.
"""

from __future__ import annotations

import json
import os
import re
import struct
import subprocess
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any

from cpmspec.evidence import pcapng
from cpmspec.evidence.trace import Pco, Trace
from cpmspec.judge.octets import MsrpSeen, SipSeen, msrp_messages, sip_messages
from cpmspec.wire.headers import decode
from cpmspec.wire.mime import MediaType, parse_multipart
from cpmspec.wire.msrp import HYPHENS

_ENHANCED_PACKET = 6
_PACKET_DATA = 28  # octets of an Enhanced Packet Block before the packet

#: A body: its media type or, of a multipart, a list of its type and of the bodies in it.
Body = str | list["Body"]

# Why tshark cannot tell something that we can: faults and limits of its MSRP dissector, seen in version 4.0.
START_CUT = "the frame ends inside the start-line: tshark does not take what comes for MSRP"
END_CUT = "the frame ends inside the end-line: tshark takes what is there for the whole of it"
SEMICOLON = (
    "Content-Type has no parameter, and a semicolon stands at the start of the body: tshark looks for parameters "
    "beyond the header, as many octets as the header's name is long, and gives up"
)
LOOKALIKE = "a line of the body begins like an end-line: tshark takes every line of seven hyphens for one"


@dataclass(frozen=True, slots=True)
class Message:
    """A SIP or MSRP message as one reader sees it; a field that it does not have is ``None``.

    ``frame`` is the packet that completes it, ``first`` the one that begins it (tshark knows only the former).
    ``hidden`` are the fields of ours that tshark cannot tell, with the reason.
    """

    frame: int
    protocol: str
    fields: Mapping[str, Any]
    first: int = 0
    hidden: Mapping[str, str] = field(default_factory=dict)

    @property
    def bodies(self) -> Body | None:
        """Its multipart."""
        found: Body | None = self.fields["multipart"]
        return found


# --- ours ------------------------------------------------------------------------------------------------------------


def ours(trace: Trace) -> list[Message]:
    """All messages of a trace, as the judge reads them."""
    found = [_our_sip(seen) for seen in sip_messages(trace)[0]]
    for pco in (Pco.MSRP, Pco.MO):
        found.extend(_our_msrp(seen) for seen in msrp_messages(trace, pco)[0])
    return sorted(found, key=lambda message: message.frame)


def _our_sip(seen: SipSeen) -> Message:
    message, cseq = seen.message, seen.message.cseq
    content_type = message.headers.get("Content-Type")
    fields = {
        "interface": seen.frame.pco.value,
        "method": getattr(message, "method", None),
        "status": getattr(message, "status", None),
        "Call-ID": message.call_id,
        "CSeq number": cseq.number if cseq else None,
        "CSeq method": cseq.method if cseq else None,
        "Content-Type": content_type,
        "multipart": multipart(content_type, message.body),
    }
    return Message(seen.frame.number, "sip", fields, seen.frame.number)


def _our_msrp(seen: MsrpSeen) -> Message:
    head, status = seen.head, seen.head.status_header
    fields = {
        "interface": seen.first.pco.value,
        "method": head.method,
        "status": head.status,
        "transaction id": head.transaction_id,
        "Message-ID": head.message_id,
        "Byte-Range": str(head.byte_range) if head.byte_range else None,
        "Status": f"{status[0]} {status[1]:03} {status[2]}".strip() if status else None,
        "Content-Type": head.content_type,
        "multipart": multipart(head.content_type, seen.body or b""),
        "transaction id of the end-line": head.transaction_id if seen.flag is not None else None,
        "continuation flag": seen.flag,
    }
    return Message(seen.last.number, "msrp", fields, seen.first.number, _hidden(seen))


def multipart(content_type: str | None, body: bytes) -> Body | None:
    """The media types in a multipart; ``None`` if it is none.

    Only parts that a delimiter ends: a chunk may end inside a part, which tshark then does not look into.
    """
    media = MediaType.parse(content_type or "")
    if media.type != "multipart":
        return None
    ended = [part for part in parse_multipart(media.text, body).parts if part.offset + len(part.raw) < len(body)]
    types = [(part.headers.get("Content-Type") or "", part.decoded()) for part in ended]
    return [media.full, *(multipart(text, inner) or MediaType.parse(text).full for text, inner in types)]


def _hidden(seen: MsrpSeen) -> dict[str, str]:
    """What tshark cannot tell of an MSRP message, and why."""
    end = ("transaction id of the end-line", "continuation flag")
    head, body = seen.head, seen.body or b""
    several = seen.last is not seen.first
    if several and len(seen.first.octets) < len(f"MSRP {head.transaction_id} "):
        return {"message": START_CUT}
    # CRLF, seven hyphens, transaction id, flag, CRLF: tshark needs the hyphens in the frame that has the rest
    if several and len(seen.last.octets) <= len(head.transaction_id) + 3:
        return dict.fromkeys((*end, "multipart"), END_CUT)
    header = next((header for header in head.headers if header.key == "content-type"), None)
    if header is not None and ";" not in header.value:
        beyond = len(header.raw.rstrip()) - len(header.value) - len(b"\r\n\r\n")
        if b";" in body[:beyond]:
            return dict.fromkeys(end, SEMICOLON)
    if any(line.startswith(HYPHENS) for line in body.splitlines()):
        return dict.fromkeys((*end, "multipart") if several else end, LOOKALIKE)
    return {}


# --- theirs ----------------------------------------------------------------------------------------------------------

_SIP_FIELDS = {
    "method": "sip.Method", "status": "sip.Status-Code", "Call-ID": "sip.Call-ID", "CSeq number": "sip.CSeq.seq",
    "CSeq method": "sip.CSeq.method", "Content-Type": "sip.Content-Type",
}  # fmt: skip
_MSRP_FIELDS = {
    "method": "msrp.method", "status": "msrp.status.code", "Message-ID": "msrp.messageid",
    "Byte-Range": "msrp.byte.range", "Status": "msrp.status", "Content-Type": "msrp.content.type",
    "continuation flag": "msrp.cnt.flg",
}  # fmt: skip
_NUMBERS = ("status", "CSeq number")
# our ports are whatever was free, and some belong to other protocols: tshark shall look at the octets first
_BY_CONTENT = ("-o", "tcp.try_heuristic_first:TRUE", "-o", "udp.try_heuristic_first:TRUE")


@dataclass(frozen=True, slots=True)
class Reading:
    """What tshark found in one file: the messages, and the packets that it calls malformed."""

    messages: list[Message]
    malformed: list[int]


def version() -> str:
    """Its version, major and minor number."""
    said = subprocess.run(["tshark", "--version"], capture_output=True, stdin=subprocess.DEVNULL, check=True).stdout
    found = re.search(rb"TShark \D*(\d+\.\d+)", said)
    return decode(found[1]) if found else ""


def theirs(folders: Sequence[Path], workdir: Path) -> list[Reading]:
    """What tshark reads in the ``trace.pcapng`` of each folder, in one call; ``workdir`` is for files of its own."""
    merged, settings = workdir / "merged.pcapng", workdir / "settings"
    settings.mkdir(exist_ok=True)  # the user's preferences do not count
    ends = list(accumulate(_merge(folders, merged)))
    command = ["tshark", "-n", "-r", str(merged), *_BY_CONTENT, "-Y", "sip or msrp", "-T", "json"]
    done = subprocess.run(
        [*command, "--no-duplicate-keys", "-J", "frame sip msrp"], capture_output=True, stdin=subprocess.DEVNULL,
        timeout=120, check=False, env={**os.environ, "WIRESHARK_CONFIG_DIR": str(settings)},
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"tshark ended with {done.returncode}: {decode(done.stderr)}")
    readings = [Reading([], []) for _ in folders]
    for packet in json.loads(done.stdout):
        layers = packet["_source"]["layers"]
        number = int(layers["frame"]["frame.number"])
        index = bisect_right(ends, number - 1)
        frame = number - (ends[index - 1] if index else 0)
        readings[index].messages.extend(_their_messages(frame, layers))
        if "_ws.malformed" in layers:
            readings[index].malformed.append(frame)
    return readings


def _merge(folders: Sequence[Path], path: Path) -> Iterator[int]:
    """Put the files behind one another, each with hosts of its own; how many packets each has."""
    with path.open("wb") as out:
        for index, folder in enumerate(folders):
            octets = bytearray((folder / pcapng.TRACE_NAME).read_bytes())
            yield _move(octets, index)
            out.write(octets)


def _move(octets: bytearray, index: int) -> int:
    """Replace the loopback hosts of each packet by 127.<index>.1 and ::<index>:1; how many packets there are.

    Checksums become wrong, which tshark does not look at unless it is told to.
    """
    order = "<" if octets[8:12] == b"\x4d\x3c\x2b\x1a" else ">"
    mark, count, at = index.to_bytes(2, "big"), 0, 0
    while at < len(octets):
        kind, length = struct.unpack_from(order + "II", octets, at)
        if kind == _ENHANCED_PACKET:
            count += 1
            packet = at + _PACKET_DATA
            spots, prefix = ((13, 17), b"") if octets[packet] >> 4 == 4 else ((20, 36), bytes(12))
            for spot in (packet + offset for offset in spots):
                zeros = octets[spot - len(prefix) : spot + 2]
                if any(zeros):
                    raise ValueError(f"packet {count}: found another host than 127.0.0.1 or ::1")
                octets[spot : spot + 2] = mark
        at += length
    return count


def _their_messages(frame: int, layers: Mapping[str, Any]) -> Iterator[Message]:
    interface = next(_values(layers["frame"], "frame", "frame.interface_name"), None)
    for protocol, names in (("sip", _SIP_FIELDS), ("msrp", _MSRP_FIELDS)):
        for layer in _listed(layers.get(protocol)):
            fields: dict[str, Any] = {"interface": interface}
            for name, key in names.items():
                value = next(_values(layer, protocol, key), None)
                fields[name] = int(value) if value is not None and name in _NUMBERS else value
            if protocol == "msrp":
                numbers = [*_values(layer, protocol, "msrp.transaction.id"), None, None]
                fields["transaction id"], fields["transaction id of the end-line"] = numbers[:2]
            fields["multipart"] = next((_their_body(found) for found in _multiparts(layer)), None)
            yield Message(frame, protocol, fields)


def _listed(value: Any) -> list[Any]:
    """tshark writes one value as it is and several as a list."""
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _values(node: Any, protocol: str, key: str) -> Iterator[str]:
    """The values of a field in one layer, but not in layers inside it, be they of the same protocol."""
    for one in _listed(node):
        if isinstance(one, dict):
            for name, value in one.items():
                if name == key:
                    yield from _listed(value)
                elif name.startswith(protocol + "."):
                    yield from _values(value, protocol, key)


def _multiparts(node: Any) -> Iterator[Mapping[str, Any]]:
    """The outermost multiparts in a layer or a part."""
    for one in _listed(node):
        if isinstance(one, dict):
            for name, value in one.items():
                if name == "mime_multipart":
                    yield from _listed(value)
                else:
                    yield from _multiparts(value)


def _their_body(node: Mapping[str, Any]) -> Body:
    """As :func:`multipart`; behind the last delimiter tshark shows a part more that it does not look into."""
    ended = len(_listed(node.get("mime_multipart.boundary"))) + len(_listed(node.get("mime_multipart.last_boundary")))
    bodies: list[Body] = [node["mime_multipart.type"]]
    for part in _listed(node.get("mime_multipart.part_tree"))[:ended]:
        text = next(_values(part, "mime_multipart", "mime_multipart.header.content-type"), "")
        media = text.partition(";")[0].strip().lower()
        inner = next(_multiparts(part), None) if media.startswith("multipart/") else None
        bodies.append(_their_body(inner) if inner else media)
    return bodies


# --- beside each other -----------------------------------------------------------------------------------------------


@dataclass
class Comparison:
    """What differs, each with case, frame, field and both readings; how often each field was compared or hidden."""

    differences: list[str] = field(default_factory=list)
    compared: Counter[str] = field(default_factory=Counter)
    hidden: Counter[tuple[str, str]] = field(default_factory=Counter)

    def add(self, case: str, we: Sequence[Message], they: Sequence[Message]) -> None:
        """Compare the messages of one case, both ways."""
        left = list(they)
        for message in we:
            if "message" in message.hidden:
                self.hidden["message", message.hidden["message"]] += 1
                continue
            other = next((one for one in left if _same_place(message, one)), None)
            if other is None:
                self._differ(case, message.frame, "message", f"{message.protocol} {dict(message.fields)}", None)
                continue
            left.remove(other)
            self._compare(case, message, other)
        for one in left:
            self._differ(case, one.frame, "message", None, f"{one.protocol} {dict(one.fields)}")

    def _compare(self, case: str, message: Message, other: Message) -> None:
        self.compared[message.protocol] += 1
        self.compared[f"{message.protocol} at {message.fields['interface']}"] += 1
        for name in dict.fromkeys((*message.fields, *other.fields)):
            value, found = message.fields.get(name), other.fields.get(name)
            if name in message.hidden:
                self.hidden[name, message.hidden[name]] += 1
                continue
            if value is not None:
                self.compared[f"{message.protocol} {name}"] += 1
            if value != found:
                self._differ(case, message.frame, name, value, found)

    def _differ(self, case: str, frame: int, name: str, value: object, found: object) -> None:
        self.differences.append(f"{case}, frame {frame}, {name}: ours {value!r}, tshark's {found!r}")


def _same_place(message: Message, other: Message) -> bool:
    """Whether a message of tshark's is this one: in the same frame or, where its end-line is hidden, in one before."""
    if message.protocol != other.protocol:
        return False
    if message.frame == other.frame:
        return True
    early = "continuation flag" in message.hidden and message.first <= other.frame < message.frame
    return early and message.fields["transaction id"] == other.fields["transaction id"]
