"""A legal exchange around a PF, written down frame by frame, for tests of the judge: each step can be bent on its own.

No socket and no PF is involved: the octets are those that a PF would send, with a clock that the test turns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import cache
from pathlib import Path
from typing import Any

from cpmspec.evidence.context import Context, ServedUser
from cpmspec.evidence.trace import Address, Frame, Kind, Pco, Role, Trace
from cpmspec.judge.catalogue import Catalogue, load
from cpmspec.judge.judge import judge
from cpmspec.judge.verdict import Judgement, Verdict
from scene_parts import Wrapped, header_lines, sdp, verdicts

ROOT = Path(__file__).parents[2]
PSI = "sip:deferred@example.com"
PLACES = {
    Role.IUT: Address("127.0.0.1", 5060),
    Role.CORE: Address("127.0.0.1", 5070),
    Role.CLIENT: Address("127.0.0.1", 5080),
    Role.ORIGINATOR: Address("127.0.0.1", 5090),
    Role.STORE: Address("127.0.0.1", 1143),
}
IXIT: dict[str, Any] = {
    "notification": "message-summary",
    "next_notification": "registration",
    "timestamp_locations": ["part:Date"],
    "delivered_means": "200-and-report",
    "bye_within": 5.0,
    "history_within": 5.0,
    "quiet_period": 3.0,
    "clock_tolerance": 0.5,
    "msrp_response_timer": 30.0,
    "stored_headers": {
        "sip": ["From", "To", "Date", "Subject", "Call-ID", "Conversation-ID", "Contribution-ID", "Content-Type"],
        "send": ["Message-ID", "Content-Type", "Success-Report", "Failure-Report"],
    },
}
ALICE = ServedUser("sip:alice@example.com", history=True, establishment="pull", account="alice")


@cache
def catalogue() -> Catalogue:
    """The suite's own catalogue."""
    return load(ROOT / "fixtures" / "catalogue")


@dataclass
class Sent:
    """A message that was deferred in the scene."""

    user: ServedUser
    mode: str
    call_id: str
    content: bytes
    content_type: str
    headers: list[tuple[str, str]]
    send: list[tuple[str, str]] = field(default_factory=list)
    received_us: int = 0


class Scene:
    """The frames of one case; the clock goes on by a millisecond for each frame."""

    def __init__(self, *users: ServedUser, **ixit: Any) -> None:
        self.users = users or (ALICE,)
        self.ixit = {**IXIT, **ixit}
        self.explicit: tuple[str, ...] = tuple(self.ixit)
        self.binds: tuple[str, ...] = ("DLV-3.2b", "DLV-5.4")
        self.frames: list[Frame] = []
        self.us = 1_790_000_000_000_000
        self.iut_gone_us: int | None = None
        self.purposes: tuple[str, ...] = ("DLV-1.1",)
        self.closed = True
        self.read_late_us = 0
        self.tcp = False  #: SIP between core and PF over one TCP connection instead of UDP
        self._numbers = 0
        self._connections: dict[str, int] = {}

    # --- frames ------------------------------------------------------------------------------------------------------

    def next(self) -> int:
        """A number that nothing else has."""
        self._numbers += 1
        return self._numbers

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.us += round(seconds * 1_000_000)

    def put(
        self, pco: Pco, sender: Role, receiver: Role, octets: bytes, *, connection: int = 0, kind: Kind = Kind.DATA
    ) -> Frame:
        """Write a frame down."""
        self.us += 1000
        transport = "tcp" if connection else "udp"
        frame = Frame(
            0, self.us, pco, sender, receiver, transport, PLACES[sender], PLACES[receiver], connection, kind, octets
        )
        self.frames.append(frame)
        return frame

    def open(self, pco: Pco, sender: Role, connection: int) -> None:
        """``sender`` opens a connection to, or from, the PF, a while before anything is said on it."""
        peer = {Pco.MSRP: Role.CLIENT, Pco.STORE: Role.STORE}.get(pco, Role.ORIGINATOR)
        receiver = peer if sender is Role.IUT else Role.IUT
        self.put(pco, sender, receiver, b"", connection=connection, kind=Kind.OPEN)

    def msrp(
        self,
        sender: Role,
        receiver: Role,
        start: str,
        headers: Sequence[tuple[str, str]],
        body: bytes | None = None,
        flag: str = "$",
        *,
        connection: int,
        pco: Pco = Pco.MSRP,
    ) -> None:
        """Write an MSRP message down; ``start`` is its start-line without ``MSRP``."""
        head = header_lines(headers) if body is None else header_lines(headers) + b"\r\n" + body + b"\r\n"
        octets = f"MSRP {start}\r\n".encode() + head + f"-------{start.split()[0]}{flag}\r\n".encode()
        self.put(pco, sender, receiver, octets, connection=connection)

    def sip(
        self,
        sender: Role,
        receiver: Role,
        start: str,
        headers: Sequence[tuple[str, str]],
        body: bytes = b"",
        pco: Pco = Pco.ISC,
    ) -> None:
        """Write a SIP message down."""
        lines = [start, *(f"{name}: {value}" for name, value in headers), f"Content-Length: {len(body)}", "", ""]
        connection = self.connection(f"sip-{pco}") if self.tcp else 0
        self.put(pco, sender, receiver, "\r\n".join(lines).encode() + body, connection=connection)

    def request(
        self,
        sender: Role,
        receiver: Role,
        method: str,
        uri: str,
        who: str,
        to: str,
        call_id: str,
        extra: Sequence[tuple[str, str]] = (),
        body: bytes = b"",
        cseq: int = 1,
        pco: Pco = Pco.ISC,
        from_tag: str = "f",
    ) -> list[tuple[str, str]]:
        """Write a request down; returns the headers that a response copies."""
        copied = [
            ("Via", f"SIP/2.0/UDP 127.0.0.1:9;branch=z9hG4bK{self.next()}"),
            ("From", f"<{who}>;tag={from_tag}"),
            ("To", to),
            ("Call-ID", call_id),
            ("CSeq", f"{cseq} {method}"),
        ]
        self.sip(sender, receiver, f"{method} {uri} SIP/2.0", [*copied, ("Max-Forwards", "70"), *extra], body, pco)
        return copied

    def response(
        self,
        sender: Role,
        receiver: Role,
        status: int,
        copied: Sequence[tuple[str, str]],
        extra: Sequence[tuple[str, str]] = (),
        body: bytes = b"",
        to_tag: str = "t",
    ) -> None:
        """Write a response down."""
        headers = [
            (name, f"{value};tag={to_tag}" if name == "To" and "tag=" not in value else value) for name, value in copied
        ]
        self.sip(sender, receiver, f"SIP/2.0 {status} X", [*headers, *extra], body)

    # --- steps -------------------------------------------------------------------------------------------------------

    def register(self, user: ServedUser = ALICE, expires: int = 600) -> None:
        """The core's third-party registration, and the PF's 200."""
        copied = self.request(
            Role.CORE,
            Role.IUT,
            "REGISTER",
            "sip:pf",
            "sip:core",
            f"<{user.uri}>",
            f"reg-{user.account}",
            [("Contact", "<sip:core>"), ("Expires", str(expires))],
            cseq=self.next(),
        )
        self.response(Role.IUT, Role.CORE, 200, copied)

    def defer(
        self,
        mode: str = "pager",
        user: ServedUser = ALICE,
        content: bytes | None = None,
        status: int = 202,
        kind: str = "text/plain",
        call_id: str | None = None,
        more: Mapping[str, str] | None = None,
        **headers: str,
    ) -> Sent:
        """A message that the PF takes over; ``kind`` is its Content-Type, ``more`` further headers."""
        number = self.next()
        call_id = call_id or f"call-{number}@bob"
        content = f"message {number}".encode() if content is None else content
        extra = {
            "Subject": f"subject {number}",
            "Conversation-ID": f"conv-{number}",
            "Contribution-ID": f"contr-{number}",
            **(more or {}),
            **headers,
        }
        own = [
            ("From", "<sip:bob@example.com>;tag=f"),
            ("To", f"<{user.uri}>"),
            ("Call-ID", call_id),
            *extra.items(),
        ]
        sent = Sent(user, mode, call_id, content, kind, own)
        (self._pager if mode == "pager" else self._large)(sent, [*extra.items()], number, status)
        sent.received_us = self.us
        return sent

    def _pager(self, sent: Sent, extra: list[tuple[str, str]], number: int, status: int) -> None:
        sent.headers.append(("Content-Type", sent.content_type))
        copied = self.request(
            Role.CORE,
            Role.IUT,
            "MESSAGE",
            sent.user.uri,
            "sip:bob@example.com",
            f"<{sent.user.uri}>",
            sent.call_id,
            [*extra, ("Content-Type", sent.content_type)],
            sent.content,
            cseq=number,
        )
        self.response(Role.IUT, Role.CORE, status, copied)

    def _large(self, sent: Sent, extra: list[tuple[str, str]], number: int, status: int) -> None:
        path, own = f"msrp://127.0.0.1:5060/pf{number};tcp", f"msrp://127.0.0.1:5090/or{number};tcp"
        copied = self.request(
            Role.CORE,
            Role.IUT,
            "INVITE",
            sent.user.uri,
            "sip:bob@example.com",
            f"<{sent.user.uri}>",
            sent.call_id,
            [*extra, ("Contact", "<sip:bob@127.0.0.1>"), ("Content-Type", "application/sdp")],
            sdp(own),
        )
        answer = [("Contact", "<sip:pf>"), ("Content-Type", "application/sdp")]
        self.response(Role.IUT, Role.CORE, 200, copied, answer, sdp(path))
        to = f"<{sent.user.uri}>;tag=t"
        self.request(Role.CORE, Role.IUT, "ACK", "sip:pf", "sip:bob@example.com", to, sent.call_id)
        sent.send = [("Message-ID", f"msrpid{number}"), ("Success-Report", "yes"), ("Content-Type", sent.content_type)]
        connection = self.connection(f"mo-{number}")
        head = f"MSRP tid{number} SEND\r\nTo-Path: {path}\r\nFrom-Path: {own}\r\nMessage-ID: msrpid{number}\r\n"
        head += f"Byte-Range: 1-{len(sent.content)}/{len(sent.content)}\r\nSuccess-Report: yes\r\n"
        head += f"Content-Type: {sent.content_type}\r\n\r\n"
        octets = head.encode() + sent.content + f"\r\n-------tid{number}$\r\n".encode()
        self.put(Pco.MO, Role.ORIGINATOR, Role.IUT, octets, connection=connection)
        taken = f"MSRP tid{number} 200 OK\r\nTo-Path: {own}\r\nFrom-Path: {path}\r\n-------tid{number}$\r\n"
        self.put(Pco.MO, Role.IUT, Role.ORIGINATOR, taken.encode(), connection=connection)
        size = len(sent.content)
        done = f"MSRP rep{number} REPORT\r\nTo-Path: {own}\r\nFrom-Path: {path}\r\nMessage-ID: msrpid{number}\r\n"
        done += f"Byte-Range: 1-{size}/{size}\r\nStatus: 000 200 OK\r\n-------rep{number}$\r\n"
        self.put(Pco.MO, Role.IUT, Role.ORIGINATOR, done.encode(), connection=connection)

    def connection(self, name: str) -> int:
        """The number of a connection."""
        return self._connections.setdefault(name, len(self._connections) + 1)

    def notify(self, messages: Sequence[Sent], user: ServedUser = ALICE, count: int | None = None) -> None:
        """The PF's notification of what waits."""
        total = len(messages) if count is None else count
        body = f"Messages-Waiting: yes\r\nPager-Message: {total}/0\r\n"
        for sent in messages:
            body += f"\r\nTo: <{user.uri}>\r\nFrom: <sip:bob@example.com>\r\nMessage-ID: {sent.call_id}\r\n"
        copied = self.request(
            Role.IUT,
            Role.CORE,
            "MESSAGE",
            user.uri,
            "sip:pf@example.com",
            f"<{user.uri}>",
            f"note-{self.next()}",
            [("Content-Type", "application/simple-message-summary")],
            body.encode(),
        )
        self.response(Role.CORE, Role.IUT, 200, copied)

    def session(self, user: ServedUser = ALICE, **options: Any) -> Session:
        """A delivering session; options: ``status``, ``answered``, ``acked``, ``path`` and ``offer`` (SDP attributes)
        of the client, ``pf`` (SDP attributes) of the PF."""
        return Session(self, user, **options)

    def record(self, sent: Sent, account: str | None = None, octets: bytes | None = None, answer: str = "OK") -> None:
        """The PF appends an object to the user's account."""
        connection = self.connection(f"store-{self.next()}")
        head = "".join(f"{name}: {value}\r\n" for name, value in sent.headers if name not in ("To", "Content-Type"))
        octets = head.encode() + b"Content-Type: text/plain\r\n\r\n" + sent.content if octets is None else octets
        self.imap(
            (f"a1 LOGIN {account or sent.user.account} secret\r\n".encode(), b"a1 OK in\r\n"),
            (f"a2 APPEND conv {{{len(octets)}+}}\r\n".encode() + octets + b"\r\n", f"a2 {answer} done\r\n".encode()),
            connection=connection,
        )

    def imap(self, *exchanges: tuple[bytes, bytes], connection: int | None = None, opened: bool = False) -> None:
        """What the PF says to the message store on one connection, with the store's replies."""
        connection = connection or self.connection(f"store-{self.next()}")
        if opened and not any(frame.connection == connection for frame in self.frames):
            self.open(Pco.STORE, Role.IUT, connection)
        for line, reply in exchanges:
            self.put(Pco.STORE, Role.IUT, Role.STORE, line, connection=connection)
            if reply:
                self.put(Pco.STORE, Role.STORE, Role.IUT, reply, connection=connection)

    # --- judging -----------------------------------------------------------------------------------------------------

    def trace(self) -> Trace:
        """The trace, closed long after its last frame unless the scene says otherwise."""
        context = Context(
            case="TP_CPM_PF_DLV_V_000",
            purposes=self.purposes,
            users=self.users,
            psi=PSI,
            ixit=self.ixit,
            explicit=self.explicit,
            binds=self.binds,
            iut_gone_us=self.iut_gone_us,
            closed_us=self.us + 60_000_000 if self.closed else None,
            read_late_us=self.read_late_us,
        )
        return Trace.build(context, self.frames)

    def judge(self) -> Judgement:
        """The judgement of the scene."""
        return judge(self.trace(), catalogue())

    def broken(self, *groups: str) -> set[str]:
        """The requirements of the groups (none given: DLV) that fail."""
        wanted = groups or ("DLV",)
        found = self.judge().requirements.items()
        return {name for name, verdict in found if verdict is Verdict.FAIL and name.partition("-")[0] in wanted}


class Session:
    """A session between PF and client in a scene."""

    def __init__(
        self,
        scene: Scene,
        user: ServedUser,
        *,
        status: int = 200,
        answered: bool = True,
        acked: bool = True,
        offer: Mapping[str, str] | None = None,
        path: str | None = None,
        pf: Mapping[str, str] | None = None,
    ) -> None:
        self.scene, self.user, self.number = scene, user, scene.next()
        self.call_id = f"session-{self.number}"
        self.path = path or f"msrp://127.0.0.1:5080/cl{self.number};tcp"
        self.pf_path = f"msrp://127.0.0.1:5060/pf{self.number};tcp"
        self.pull = user.establishment == "pull"
        self.acked = acked
        self.offer = sdp(self.path, **(offer or {}))
        self.pf_sdp = sdp(self.pf_path, **(pf or {}))
        self.connection = scene.connection(f"msrp-{self.number}")
        self.record_route = [("Record-Route", "<sip:core-a;lr>"), ("Record-Route", "<sip:core-b;lr>")]
        to_pf, contact = (Role.CORE, Role.IUT), "<sip:alice@client:5080>"
        if self.pull:
            self.copied = scene.request(
                *to_pf,
                "INVITE",
                PSI,
                user.uri,
                f"<{PSI}>",
                self.call_id,
                [
                    ("P-Asserted-Identity", f"<{user.uri}>"),
                    ("Contact", contact),
                    *self.record_route,
                    ("Content-Type", "application/sdp"),
                ],
                self.offer,
                from_tag="cl",
            )
        else:
            self.copied = scene.request(
                Role.IUT,
                Role.CORE,
                "INVITE",
                user.uri,
                "sip:pf@example.com",
                f"<{user.uri}>",
                self.call_id,
                [("Contact", "<sip:pf>"), ("Content-Type", "application/sdp")],
                self.pf_sdp,
                from_tag="pf",
            )
        if answered:
            self.answer(status)

    def answer(self, status: int = 200) -> None:
        """The final response to the INVITE."""
        body = (self.pf_sdp if self.pull else self.offer) if status < 300 else b""
        extra = [("Content-Type", "application/sdp")] if body else []
        if self.pull:
            extra += [("Contact", "<sip:pf>"), *self.record_route]
            self.scene.response(Role.IUT, Role.CORE, status, self.copied, extra, body, to_tag="pf")
        else:
            extra += [("Contact", "<sip:alice@client:5080>"), *self.record_route]
            self.scene.response(Role.CORE, Role.IUT, status, self.copied, extra, body, to_tag="cl")
        if status < 300 and self.acked:
            acknowledge(self)

    def wrap(self, sent: Sent) -> Wrapped:
        """What a legal PF makes of a deferred message."""
        date = format_datetime(datetime.fromtimestamp(sent.received_us // 1_000_000, UTC), usegmt=True)
        return Wrapped(
            date=date,
            sip=list(sent.headers),
            msrp=list(sent.send),
            body_type=sent.content_type,
            body=sent.content,
        )

    def send(
        self,
        wrapped: Wrapped,
        *,
        message_id: str | None = None,
        chunks: int = 1,
        answer: int | None = 200,
        cut: int | None = None,
    ) -> str:
        """The PF sends it in so many chunks, each answered; ``cut`` leaves out all chunks from that one on."""
        message_id = message_id or f"id{self.scene.next()}"
        octets = wrapped.render()
        size = -(-len(octets) // chunks)
        for index in range(chunks if cut is None else cut):
            piece = octets[index * size : (index + 1) * size]
            flag = "$" if index == chunks - 1 else "+"
            self.chunk(wrapped.content_type, message_id, piece, index * size + 1, len(octets), flag, answer)
        return message_id

    def chunk(
        self,
        content_type: str,
        message_id: str,
        piece: bytes,
        start: int,
        total: int,
        flag: str,
        answer: int | None,
        **head: str,
    ) -> str:
        """One chunk, and its answer."""
        tid = f"t{self.scene.next()}xyz"
        text = f"MSRP {tid} SEND\r\nTo-Path: {self.path}\r\nFrom-Path: {self.pf_path}\r\nMessage-ID: {message_id}\r\n"
        text += f"Byte-Range: {start}-{start + len(piece) - 1}/{total}\r\n"
        text += "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in head.items())
        text += f"Content-Type: {content_type}\r\n\r\n"
        octets = text.encode() + piece + f"\r\n-------{tid}{flag}\r\n".encode()
        self.scene.put(Pco.MSRP, Role.IUT, Role.CLIENT, octets, connection=self.connection)
        if answer is not None:
            self.reply(tid, answer)
        return tid

    def reply(self, tid: str, status: int = 200) -> None:
        """The client's answer to a chunk."""
        octets = f"MSRP {tid} {status} X\r\nTo-Path: {self.pf_path}\r\nFrom-Path: {self.path}\r\n-------{tid}$\r\n"
        self.scene.put(Pco.MSRP, Role.CLIENT, Role.IUT, octets.encode(), connection=self.connection)

    def bye(self, *, answered: bool = True, **bent: Any) -> None:
        """The PF's BYE by the route set, and the answer that crosses to it."""
        routes = ["<sip:core-a;lr>", "<sip:core-b;lr>"] if self.pull else ["<sip:core-b;lr>", "<sip:core-a;lr>"]
        values = {
            "uri": "sip:alice@client:5080",
            "routes": routes,
            "from_tag": "pf",
            "to_tag": "cl",
            "cseq": 2,
            "pco": Pco.ISC,
            **bent,
        }
        receiver = Role.CORE if values["pco"] is Pco.ISC else Role.CLIENT
        copied = self.scene.request(
            Role.IUT,
            receiver,
            "BYE",
            values["uri"],
            "sip:pf@example.com",
            f"<{self.user.uri}>;tag={values['to_tag']}",
            self.call_id,
            [("Route", route) for route in values["routes"]],
            cseq=values["cseq"],
            pco=values["pco"],
            from_tag=values["from_tag"],
        )
        if answered:
            self.scene.response(receiver, Role.IUT, 200, copied)

    def client_bye(self) -> None:
        """The client's BYE."""
        copied = self.scene.request(
            Role.CORE, Role.IUT, "BYE", "sip:pf", self.user.uri, "<sip:pf>;tag=pf", self.call_id, cseq=9, from_tag="cl"
        )
        self.scene.response(Role.IUT, Role.CORE, 200, copied)

    def again(self) -> None:
        """The client offers anew in the dialog, and the PF answers (RFC 3264 8)."""
        sdp_type = [("Content-Type", "application/sdp")]
        to = f"<{PSI}>;tag=pf"
        extra = [("Contact", "<sip:alice@client:5080>"), *sdp_type]
        copied = self.scene.request(
            Role.CORE, Role.IUT, "INVITE", "sip:pf", self.user.uri, to, self.call_id, extra, self.offer,
            cseq=8, from_tag="cl",
        )  # fmt: skip
        self.scene.response(Role.IUT, Role.CORE, 200, copied, [("Contact", "<sip:pf>"), *sdp_type], self.pf_sdp)

    def reset(self) -> None:
        """The client breaks the MSRP connection."""
        self.scene.put(Pco.MSRP, Role.CLIENT, Role.IUT, b"", connection=self.connection, kind=Kind.RESET)


def acknowledge(session: Session, **bent: Any) -> None:
    """The ACK to the 2xx, by whoever sent the INVITE (RFC 3261 13.2.2.4)."""
    pull, scene = session.pull, session.scene
    routes = [] if pull else ["<sip:core-b;lr>", "<sip:core-a;lr>"]
    values = {
        "uri": "sip:pf" if pull else "sip:alice@client:5080",
        "routes": routes,
        "to_tag": "pf" if pull else "cl",
        "from_tag": "cl" if pull else "pf",
        "cseq": 1,
        "body": b"",
        **bent,
    }
    who, to = (session.user.uri, PSI) if pull else ("sip:pf@example.com", session.user.uri)
    extra = [("Route", route) for route in values["routes"]]
    if values["body"]:
        extra.append(("Content-Type", "application/sdp"))
    scene.request(
        *((Role.CORE, Role.IUT) if pull else (Role.IUT, Role.CORE)),
        "ACK",
        values["uri"],
        who,
        f"<{to}>;tag={values['to_tag']}",
        session.call_id,
        extra,
        values["body"],
        cseq=values["cseq"],
        from_tag=values["from_tag"],
    )


def delivered(scene: Scene, messages: Sequence[Sent], user: ServedUser = ALICE, *, recorded: bool = True) -> Session:
    """The whole of a legal delivery: registration, notification, session, BYE, history."""
    scene.register(user)
    if user.establishment == "pull":
        scene.notify(messages, user)
    session = scene.session(user)
    for sent in messages:
        session.send(session.wrap(sent))
    session.bye()
    if recorded and user.history:
        for sent in messages:
            scene.record(sent)
    scene.register(user, 0)
    return session


__all__ = [
    "ALICE", "Scene", "Sent", "Session", "Wrapped", "acknowledge", "catalogue", "delivered", "replace", "sdp",
    "verdicts",
]  # fmt: skip
