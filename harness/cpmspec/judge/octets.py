"""From frames to protocol messages: each message with the frames that carried it. Nothing is interpreted here."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property

from cpmspec.evidence.trace import Frame, Kind, Pco, Role, Trace
from cpmspec.wire.imap import ImapCommand, ImapCommandStream, ImapResponse, ImapResponseStream
from cpmspec.wire.msrp import FrameBegin, FrameData, FrameEnd, MsrpHead, MsrpStream, Unreadable
from cpmspec.wire.sip import SipRequest, SipResponse, SipStream, SipUnreadable, parse_message
from cpmspec.wire.sip_views import CSeq
from cpmspec.wire.violation import Violation


@dataclass(frozen=True)
class SipSeen:
    """A SIP message and the frame in which it was complete; what many checks ask of it is read once."""

    frame: Frame
    message: SipRequest | SipResponse

    @property
    def us(self) -> int:
        """When it crossed, in microseconds since the epoch."""
        return self.frame.time_us

    @property
    def from_iut(self) -> bool:
        """Whether the IUT sent it."""
        return self.frame.from_iut

    @cached_property
    def cseq(self) -> CSeq | None:
        """Its CSeq."""
        return self.message.cseq

    @cached_property
    def branch(self) -> str:
        """The branch of its topmost Via, '' without one; equal for a request and the responses to it."""
        via = self.message.via
        return (via[0].branch or "") if via else ""

    @cached_property
    def tags(self) -> tuple[str | None, str | None]:
        """The tags of its From and its To."""
        return (self.message.from_tag, self.message.to_tag)

    @property
    def transaction(self) -> tuple[str, int, str]:
        """Call-ID and CSeq: equal for a message and its retransmissions."""
        cseq = self.cseq
        return (self.message.call_id or "", cseq.number if cseq else -1, cseq.method if cseq else "")


@dataclass(frozen=True, slots=True)
class SipWrong:
    """Octets of a SIP stream or datagram that are no SIP message."""

    frame: Frame
    unreadable: SipUnreadable


@dataclass(slots=True)
class MsrpSeen:
    """An MSRP request or response, from its first frame to its last; ``flag`` is ``None`` if its end never came."""

    first: Frame
    last: Frame
    head: MsrpHead
    body: bytes | None = None
    flag: str | None = None
    violations: tuple[Violation, ...] = ()
    pieces: list[bytes] = field(default_factory=list)

    @property
    def from_iut(self) -> bool:
        """Whether the IUT sent it."""
        return self.first.from_iut

    @property
    def begin_us(self) -> int:
        """When its first octets crossed."""
        return self.first.time_us

    @property
    def end_us(self) -> int:
        """When its last octets crossed."""
        return self.last.time_us

    @property
    def connection(self) -> int:
        """The connection it crossed on."""
        return self.first.connection


@dataclass(frozen=True, slots=True)
class StoreCommand:
    """An IMAP command of the IUT, with the account that had logged in and the store's final answer to it."""

    first: Frame
    last: Frame
    account: str | None
    command: ImapCommand
    answer: bytes | None  #: the text after the tag of the tagged response, e.g. ``OK done``; ``None``: none came

    @property
    def accepted(self) -> bool:
        """Whether the store said OK."""
        return self.answer is not None and self.answer.upper().startswith(b"OK")


def _streams(trace: Trace, pcos: Iterable[Pco]) -> dict[tuple[Pco, int, Role], list[Frame]]:
    """The data frames of each connection and direction; each UDP sender of a PCO counts as one 'connection' 0."""
    wanted = frozenset(pcos)
    streams: dict[tuple[Pco, int, Role], list[Frame]] = {}
    for frame in trace.frames:
        if frame.pco in wanted and frame.kind is Kind.DATA:
            streams.setdefault((frame.pco, frame.connection, frame.sender), []).append(frame)
    return streams


def _msrp_connections(trace: Trace) -> frozenset[int]:
    """The connections that carry MSRP: what either side says first on one of them begins so."""
    return frozenset(
        connection
        for (_, connection, _), frames in _streams(trace, Pco).items()
        if connection and frames[0].octets.lstrip(b"\r\n")[:5].upper() == b"MSRP "
    )


def _cut(trace: Trace, frames: list[Frame]) -> bool:
    """Whether octets before the first frame of a stream may be missing.

    The opening of a connection that the trace did not see is written down with the time of its first octets.
    """
    first = frames[0]
    return first.connection != 0 and any(
        frame.kind is Kind.OPEN and frame.connection == first.connection and frame.time_us >= first.time_us
        for frame in trace.frames
    )


def sip_messages(trace: Trace) -> tuple[list[SipSeen], list[SipWrong]]:
    """All SIP messages of the trace in order, and what should have been one."""
    seen: list[SipSeen] = []
    wrong: list[SipWrong] = []
    msrp = _msrp_connections(trace)
    for (_, connection, _), frames in _streams(trace, (Pco.ISC, Pco.GM, Pco.MO)).items():
        if connection in msrp:
            continue
        stream = SipStream() if connection else None
        resuming = _cut(trace, frames)  # what precedes the first message may be the end of another
        for frame in frames:
            parsed = stream.feed(frame.octets) if stream else _datagram(frame.octets)
            for message in parsed:
                if not isinstance(message, SipUnreadable):
                    seen.append(SipSeen(frame, message))
                    resuming = False
                elif not resuming:
                    wrong.append(SipWrong(frame, message))
    return sorted(seen, key=lambda one: one.frame.number), wrong


def _datagram(octets: bytes) -> list[SipRequest | SipResponse | SipUnreadable]:
    """A datagram holds one message; line ends alone are a keep-alive (RFC 5626 3.5.1)."""
    return [parse_message(octets)] if octets.strip(b"\r\n\0") else []


def msrp_messages(trace: Trace, pco: Pco) -> tuple[list[MsrpSeen], list[tuple[Frame, Unreadable]]]:
    """All MSRP requests and responses at a PCO in the order of their first octets, and what is none."""
    seen: list[MsrpSeen] = []
    wrong: list[tuple[Frame, Unreadable]] = []
    msrp = _msrp_connections(trace)
    for (_, connection, _), frames in _streams(trace, (pco,)).items():
        if pco is Pco.MO and connection not in msrp:
            continue
        resuming = _cut(trace, frames) and frames[0].octets[:5].upper() != b"MSRP "
        seen.extend(_msrp_stream(frames, wrong, resuming=resuming))
    return sorted(seen, key=lambda one: (one.first.number, one.last.number)), wrong


def _msrp_stream(frames: list[Frame], wrong: list[tuple[Frame, Unreadable]], *, resuming: bool) -> Iterator[MsrpSeen]:
    stream = MsrpStream(resuming=resuming)
    current: list[MsrpSeen] = []  # the message that is open, if one is
    begun: Frame | None = None  # where the octets begin that the stream holds back, a head cut by the end of a frame
    for frame in frames:
        for event in stream.feed(frame.octets):
            match event:
                case FrameBegin():
                    current.append(MsrpSeen(begun or frame, frame, event.head))
                case FrameData():
                    current[-1].pieces.append(event.octets)
                    current[-1].last = frame
                case FrameEnd():
                    one = current.pop()
                    one.last, one.flag, one.violations = frame, event.flag, event.violations
                    yield _with_body(one)
                case _:
                    wrong.append((frame, event))
            begun = frame
        begun = (begun or frame) if stream.pending and stream.open_head is None else None
    yield from map(_with_body, current)


def _with_body(one: MsrpSeen) -> MsrpSeen:
    one.body = b"".join(one.pieces) if one.pieces or one.head.content_type else None
    return one


@dataclass(slots=True)
class _Pending:
    first: Frame
    last: Frame
    account: str | None
    command: ImapCommand
    answer: bytes | None = None


def store_commands(trace: Trace) -> list[StoreCommand]:
    """All IMAP commands of the IUT in order, with their accounts and answers (RFC 3501 2.2)."""
    commands: list[StoreCommand] = []
    connections = {frame.connection for frame in trace.frames if frame.pco is Pco.STORE and frame.connection}
    for connection in sorted(connections):
        commands.extend(_store_connection(trace, connection))
    return sorted(commands, key=lambda one: one.last.number)


def _store_connection(trace: Trace, connection: int) -> Iterator[StoreCommand]:
    asked, answered = ImapCommandStream(), ImapResponseStream()
    pending: list[_Pending] = []
    early: dict[str, bytes] = {}  # answers to commands that are not complete yet
    begun: Frame | None = None
    account: str | None = None
    for frame in trace.frames:
        if frame.connection != connection or frame.kind is not Kind.DATA:
            continue
        if frame.from_iut:
            begun = begun or frame
            for command in asked.feed(frame.octets):
                account = _account(command) or account
                pending.append(_Pending(begun, frame, account, command, early.pop(command.tag, None)))
                begun = frame
            if not asked.pending:
                begun = None
        else:
            for response in answered.feed(frame.octets):
                if response.tag in ("*", "+") or _settle(pending, response):
                    continue
                # a literal that was announced and refused (RFC 3501 7.5)
                if asked.awaiting and (refused := asked.abandon()) is not None and begun is not None:
                    pending.append(_Pending(begun, begun, account, refused, response.text))
                    begun = None
                elif asked.pending:
                    early[response.tag] = response.text  # a literal that comes although it is refused (RFC 7888 4)
    unfinished = asked.abandon()
    if unfinished is not None and begun is not None:
        pending.append(_Pending(begun, begun, account, unfinished, early.pop(unfinished.tag, None)))
    for one in pending:
        yield StoreCommand(one.first, one.last, one.account, one.command, one.answer)


def _account(command: ImapCommand) -> str | None:
    """The account that LOGIN or AUTHENTICATE PLAIN names (RFC 3501 6.2, RFC 4616 2)."""
    if command.name == "LOGIN" and command.arguments:
        return command.arguments[0].decode("utf-8", "surrogateescape")
    plain = command.arguments[-1] if command.name == "AUTHENTICATE" and len(command.arguments) > 1 else command.raw
    if command.name in ("AUTHENTICATE", ""):
        try:
            fields = base64.b64decode(plain.strip(), validate=True).split(b"\0")
        except binascii.Error:
            return None
        # authzid, authcid, password: whoever logs in for somebody else says for whom
        return (fields[0] or fields[1]).decode("utf-8", "surrogateescape") if len(fields) == 3 else None
    return None


def _settle(pending: list[_Pending], response: ImapResponse) -> bool:
    """Give an answer to its command; whether there was one."""
    for one in pending:
        if one.answer is None and one.command.tag == response.tag:
            one.answer = response.text
            return True
    return False
