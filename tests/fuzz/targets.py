"""What is fuzzed: one target for each codec, the evidence reader and the MSRP receiver.

A target takes any octets and raises if the codec breaks one of its promises: nothing is raised, every octet comes out
again, violations lie inside the input, all views can be read, and a stream gives the same events however it is cut.
For streams the input says how: its first four octets are two numbers, the places of two cuts; ``FF FF FF FF`` feeds
single octets.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

import seeds
from cpmspec.evidence import packets, pcapng, reassembly
from cpmspec.protocol import msrp_receiver
from cpmspec.wire import cpim, fragment, imap, imdn, mime, msrp, sdp, sip, summary, uri
from cpmspec.wire.headers import decode
from cpmspec.wire.violation import Violation

_SINGLES = 256  # octets of a stream that are fed one by one: more would only take time
_DEPTH = 6  # how far views of views are read


class Broken(AssertionError):
    """A codec broke a promise; the text says which."""


@dataclass(frozen=True)
class Target:
    """Something to fuzz. ``check`` raises on a finding; ``tokens`` are words of its language for the mutator."""

    name: str
    check: Callable[[bytes], None]
    seeds: Callable[[], Iterable[bytes]]
    tokens: tuple[bytes, ...]


# --- promises --------------------------------------------------------------------------------------------------------


def _same(what: str, found: object, expected: object) -> None:
    if found != expected:
        raise Broken(f"{what}: found {found!r}, expected {expected!r}")


def _inside(violations: Iterable[Violation], size: int) -> None:
    for violation in violations:
        if not 0 <= violation.offset <= size:
            raise Broken(f"{violation}: outside the {size} octets")
        str(violation)


def _written(value: Any) -> bytes:
    """The octets that a value serialises to; some hold them, others make them."""
    octets = value.octets
    return bytes(octets() if callable(octets) else octets)


_VIEWS: dict[type[Any], tuple[str, ...]] = {}


def _views(kind: type[Any]) -> tuple[str, ...]:
    """The public fields and properties of a class of ours."""
    if kind not in _VIEWS:
        names = {name for base in kind.__mro__ for name, member in vars(base).items() if isinstance(member, property)}
        if is_dataclass(kind):
            names |= {field.name for field in fields(kind)}
        _VIEWS[kind] = tuple(sorted(name for name in names if not name.startswith("_")))
    return _VIEWS[kind]


def _look(value: Any, depth: int = _DEPTH) -> None:
    """Read all that a value offers, and what that offers in turn: none of it may raise."""
    if isinstance(value, (str, bytes, int)) or value is None or not depth:
        return
    kind: type[Any] = type(value)
    if isinstance(value, Sequence):
        for item in value:
            _look(item, depth - 1)
    elif isinstance(value, dict):
        for item in value.values():
            _look(item, depth - 1)
    if kind.__module__.startswith("cpmspec."):
        str(value)
        for name in _views(kind):
            _look(getattr(value, name), depth - 1)


def _cut(octets: bytes) -> tuple[bytes, list[bytes]]:
    """The stream in an input, whole and in pieces."""
    places, stream = octets[: seeds.CUTS], octets[seeds.CUTS :]
    if places == seeds.SINGLE:
        single = min(len(stream), _SINGLES)
        return stream, [*(stream[at : at + 1] for at in range(single)), stream[single:]]
    size = len(stream) + 1
    cuts = sorted(int.from_bytes(places[at : at + 2], "big") % size for at in (0, 2))
    return stream, [stream[first:last] for first, last in pairwise([0, *cuts, len(stream)])]


class Reader(Protocol):
    """What all our incremental readers have in common."""

    def feed(self, octets: bytes) -> Sequence[Any]:
        """Take octets; what they complete."""
        ...

    @property
    def pending(self) -> bytes:
        """What is held back."""
        ...


def _fed(reader: Reader, pieces: Iterable[bytes]) -> list[Any]:
    return [event for piece in pieces for event in reader.feed(piece)]


# --- SIP -------------------------------------------------------------------------------------------------------------


def sip_message(octets: bytes) -> None:
    """One SIP message, as a datagram brings it."""
    message = sip.parse_message(octets)
    _same("octets", _written(message), octets)
    _inside(message.violations, len(octets))
    _look(message)
    if not isinstance(message, sip.SipUnreadable):
        for name in ("via", "route"):
            _look(sip.without_first(message.headers, name))


def sip_stream(octets: bytes) -> None:
    """A stream of SIP messages."""
    stream, pieces = _cut(octets)
    whole, cut = sip.SipStream(), sip.SipStream()
    messages = _fed(whole, [stream])
    _same("events of the pieces", _fed(cut, pieces), messages)
    _same("what is held back", cut.pending, whole.pending)
    at = 0
    for part in (*map(_written, messages), whole.pending):
        while not stream.startswith(part, at):
            if stream[at : at + 1] not in (b"\r", b"\n"):
                raise Broken(f"octet {at}: found {part!r}, expected {stream[at : at + len(part)]!r}")
            at += 1  # empty lines between messages: keep-alives, RFC 5626 3.5.1
        at += len(part)
    _same("what comes after the last message", stream[at:].strip(b"\r\n"), b"")
    for message in messages:
        _inside(message.violations, len(_written(message)))


# --- URIs ------------------------------------------------------------------------------------------------------------


def uris(octets: bytes) -> None:
    """Two URIs, each in a line of its own."""
    first, _, second = decode(octets).partition("\n")
    for text in (first, second):
        read = uri.parse_uri(text)
        _same("text", str(read), text)
        _look(read)
        uri.aor(text)
        address = uri.parse_name_addr(text)
        _look(address)
        _look(address.with_param("tag", "x"))
        if not isinstance(read, uri.OtherUri):
            _same("the URI with itself", uri.same_uri(text, text), True)
    _same("compared the other way round", uri.same_uri(second, first), uri.same_uri(first, second))


# --- MSRP ------------------------------------------------------------------------------------------------------------


def msrp_stream(octets: bytes) -> None:
    """A stream of MSRP messages; if the last octet of its cuts is above 127, one that begins inside a message."""
    stream, pieces = _cut(octets)
    resuming = bool(octets[seeds.CUTS - 1 : seeds.CUTS] > b"\x7f")
    events = _events([stream], resuming=resuming)
    _same("events of the pieces", _events(pieces, resuming=resuming), events)
    _same("octets", b"".join(map(_octets_of, events)), stream)
    size = 0
    for event in events:
        match event:
            case msrp.FrameBegin(head):
                size = 0
                _inside(head.violations, len(head.raw))
                _look(head)
            case msrp.FrameEnd(_, _, violations) | msrp.Unreadable(_, violations):
                size = 0 if isinstance(event, msrp.Unreadable) else size
                _inside(violations, size + len(_octets_of(event)))
        size += len(_octets_of(event))
    frames = msrp.MsrpFrameStream(resuming=resuming)
    found = [*_fed_frames(frames, pieces), *frames.close()]
    _same("octets of the frames", b"".join(map(_written, found)), stream)
    _look(found)


def _events(pieces: Iterable[bytes], *, resuming: bool = False) -> list[msrp.MsrpEvent]:
    """The events of a stream, adjacent octets of a body joined."""
    reader = msrp.MsrpStream(resuming=resuming)
    joined: list[msrp.MsrpEvent] = []
    for event in (*(event for piece in pieces for event in reader.feed(piece)), *reader.close()):
        if isinstance(event, msrp.FrameData) and joined and isinstance(joined[-1], msrp.FrameData):
            joined[-1] = msrp.FrameData(joined[-1].octets + event.octets)
        else:
            joined.append(event)
    return joined


def _fed_frames(reader: msrp.MsrpFrameStream, pieces: Iterable[bytes]) -> Iterator[msrp.MsrpFrame | msrp.Unreadable]:
    for piece in pieces:
        yield from reader.feed(piece)


def _octets_of(event: msrp.MsrpEvent) -> bytes:
    match event:
        case msrp.FrameBegin(head):
            return head.raw
        case msrp.FrameEnd(raw=raw):
            return raw
        case msrp.FrameData(octets) | msrp.Unreadable(octets):
            return octets


def receiver(octets: bytes) -> None:
    """The receiver of one session, fed with a stream: what it does is the same however the stream is cut."""
    stream, pieces = _cut(octets)
    done = _received(pieces)
    _same("what the pieces lead to", done, _received([stream]))
    for what, value, *_ in done:
        if what == "answer" and isinstance(msrp.parse_frame(value), msrp.Unreadable):
            raise Broken(f"an answer that is no message: {value!r}")


def _received(pieces: Iterable[bytes]) -> list[tuple[Any, ...]]:
    """What a receiver does, with REPORTs told by their kind: their transaction identifiers are drawn."""
    machine = msrp_receiver.MsrpReceiver((seeds.LOCAL,), max_size=1000)
    reader = msrp.MsrpStream()
    done: list[tuple[Any, ...]] = []
    for event in (*(event for piece in pieces for event in reader.feed(piece)), *reader.close()):
        for told in machine.receive(event):
            match told:
                case msrp_receiver.Reply(answer):
                    done.append(("answer", answer))
                case msrp_receiver.MessageComplete(message_id, content_type, head, size, sink, answers):
                    value = sink.value() if isinstance(sink, msrp_receiver.BytesSink) else b""
                    _same("size", len(value), size)
                    done.append(("message", message_id, content_type, head, value, len(answers)))
                    done += [("answer", answer) for answer in answers if b" REPORT\r\n" not in answer]
                case msrp_receiver.MessageAborted(message_id, reason):
                    done.append(("aborted", message_id, reason))
                case msrp_receiver.ForSender(head):
                    done.append(("for the sender", head))
    done += [("closed", told) for told in machine.close("the end")]
    return done


# --- bodies ----------------------------------------------------------------------------------------------------------


def _body(parse: Callable[[bytes], Any]) -> Callable[[bytes], None]:
    def check(octets: bytes) -> None:
        read = parse(octets)
        _same("octets", _written(read), octets)
        _inside(read.violations, len(octets))
        _look(read)

    return check


def sdp_body(octets: bytes) -> None:
    """A session description."""
    _body(sdp.parse_sdp)(octets)


def cpim_body(octets: bytes) -> None:
    """A message/cpim."""
    _body(cpim.parse_cpim)(octets)


def imdn_body(octets: bytes) -> None:
    """A message/imdn+xml."""
    _body(imdn.parse_imdn)(octets)


def summary_body(octets: bytes) -> None:
    """A message summary."""
    _body(summary.parse_summary)(octets)


def multipart(octets: bytes) -> None:
    """A multipart: the value of its Content-Type in the first line, then the body."""
    content_type, _, body = octets.partition(b"\r\n")
    read = mime.parse_multipart(decode(content_type), body)
    _same("octets", _written(read), body)
    _inside(read.violations, len(body))
    _look(read)
    for part in read.parts:
        _same("a part at its place", body[part.offset : part.offset + len(part.raw)], part.raw)
        for leaf in mime.leaves(part):
            leaf.decoded()
            _look(leaf)


def fragments(octets: bytes) -> None:
    """A wrapped message: the first octet tells the media type."""
    kind, body = seeds.KINDS[(octets or b"\0")[0] % len(seeds.KINDS)], octets[1:]
    _body(lambda rest: fragment.parse_fragment(kind, rest))(body)


# --- IMAP ------------------------------------------------------------------------------------------------------------


def imap_stream(octets: bytes) -> None:
    """What a client, and what a server of IMAP says."""
    stream, pieces = _cut(octets)
    for kind in (imap.ImapCommandStream, imap.ImapResponseStream):
        whole, cut = kind(), kind()
        units = _fed(whole, [stream])
        _same("what the pieces hold", _fed(cut, pieces), units)
        _same("what is held back", cut.pending, whole.pending)
        _same("octets", b"".join(unit.raw for unit in units) + whole.pending, stream)
        _look(units)
    for line in stream.split(b"\r\n"):
        imap.decode_mailbox(line)


# --- evidence --------------------------------------------------------------------------------------------------------


def evidence(octets: bytes) -> None:
    """Files of evidence: the first octet says whether it is a capture, a trace of ours, or one packet."""
    what, content = octets[:1], octets[1:]
    if what == seeds.CAPTURE:
        path = _folder() / "capture"
        path.write_bytes(content)
        with suppress(pcapng.EvidenceError):
            _look(reassembly.read_capture(path))
    elif what == seeds.TRACE:
        path = _folder() / pcapng.TRACE_NAME
        path.write_bytes(content)
        with suppress(pcapng.EvidenceError):
            read = pcapng.read(_folder())
            _same("written and read again", pcapng.read(pcapng.write(read, _again()).parent), read)
    else:
        with suppress(packets.PacketError):
            _look(packets.parse(content[1:], content[0] if content else 0))


@cache
def _temporary() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None)


@cache
def _folder() -> Path:
    """A folder with the context of a trace, and room for files."""
    folder = Path(_temporary().name)
    pcapng.write(seeds.trace(), folder)
    return folder


@cache
def _again() -> Path:
    return _folder() / "again"


# --- all of them -----------------------------------------------------------------------------------------------------

_CHECKS: dict[str, Callable[[bytes], None]] = {
    "sip_message": sip_message, "sip_stream": sip_stream, "uri": uris, "msrp_stream": msrp_stream,
    "msrp_receiver": receiver, "sdp": sdp_body, "mime": multipart, "cpim": cpim_body, "imdn": imdn_body,
    "fragment": fragments, "summary": summary_body, "imap": imap_stream, "pcapng": evidence,
}  # fmt: skip

TARGETS = {name: Target(name, check, seeds.SEEDS[name], seeds.TOKENS[name]) for name, check in _CHECKS.items()}
