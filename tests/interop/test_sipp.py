"""SIPp, Kamailio, the reference PF, our client and Dovecot: pager-mode messages for a user who is away."""

from __future__ import annotations

import asyncio
import imaplib
import re
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path

import pytest

from cpmspec.actors.client import Client, ReceivedMessage
from cpmspec.actors.isc_relay import IscRelay
from cpmspec.actors.message_store import MessageStore
from cpmspec.evidence.context import Context, ServedUser
from cpmspec.evidence.trace import Address, Frame, Trace
from cpmspec.judge.judge import judge
from cpmspec.judge.verdict import Verdict
from cpmspec.judge.windows import pending_until_us
from cpmspec.net.clock import now_us
from cpmspec.net.sip import Hop
from cpmspec.net.tls import client_context, server_context
from cpmspec.sut.certificates import Certificates, make_certificates
from cpmspec.sut.profile import load_profile
from cpmspec.wire.sip import SipRequest
from peers import ROOT, SCRIPTS, Peer, Peers, require
from scene import catalogue

DOMAIN = "example.com"
PSI = f"sip:deferred@{DOMAIN}"
SENDER = f"sip:sipp@{DOMAIN}"
PASSWORD = "cpmspec"
SCENARIO = SCRIPTS / "sipp" / "pager.xml"
#: RFC 3428 8: a MESSAGE outside of a session is no longer; with what the core adds it is too long for UDP (3261 18.1.1)
LONGEST = 1300
#: what the judge must find kept in a delivery of pager-mode messages with history
JUDGED = (
    "DLV-0.1", "DLV-1.1", "DLV-1.2", "DLV-2.1", "DLV-2a.1", "DLV-2a.2", "DLV-2b.1", "DLV-2b.2",
    "DLV-3.1", "DLV-3.2", "DLV-3.3", "DLV-3.4", "DLV-4.3", "DLV-5.1", "DLV-5.3",
)  # fmt: skip
PF = """
domain = "{domain}"
psi    = "{psi}"

[sip]
listen = ["127.0.0.1", "::1"]
port   = 0
"""


@dataclass(frozen=True)
class Leg:
    """How core and PF talk, and how SIPp and the client talk to the core (Debian's SIPp has no TLS)."""

    key: str
    access: str

    @property
    def transport(self) -> str:
        return self.key.rstrip("6")


LEGS = [
    Leg("udp", "udp"), Leg("tcp", "tcp"), Leg("tls", "tcp"), Leg("udp6", "udp"), Leg("tcp6", "tcp"), Leg("tls6", "tcp"),
]  # fmt: skip


@dataclass(frozen=True)
class Sent:
    """A MESSAGE as SIPp says that it sent it."""

    call_id: str
    octets: bytes

    @property
    def body(self) -> bytes:
        return self.octets.partition(b"\r\n\r\n")[2]


@dataclass(frozen=True)
class Part:
    """A part of a multipart, cut out without our own parsers."""

    kind: str
    octets: bytes


@dataclass
class Fetched:
    """What the client got."""

    notification: SipRequest | None
    messages: list[ReceivedMessage]
    bye: bool
    call_id: str


@dataclass(frozen=True)
class Passed:
    """A request that Kamailio got or sent, as its log has it."""

    way: str
    method: str
    call_id: str
    transport: str
    host: str
    port: int


class Relays:
    """What lets the judge see what crosses between core and PF, and between PF and store."""

    def __init__(self, certificates: Certificates) -> None:
        self.frames: list[Frame] = []
        self.isc = IscRelay(
            lambda frame, message: self.frames.append(frame),
            server_ssl=server_context(certificates.cert, certificates.key),
            client_ssl=client_context(certificates.ca),
        )
        self.store = MessageStore(lambda frame, account: self.frames.append(frame), password=PASSWORD)

    @property
    def options(self) -> list[str]:
        """What the core has to be told."""
        return ["--towards", leg_table(self.isc.back), "--advertise", leg_table(self.isc.front)]

    async def start(self) -> None:
        await self.isc.start()
        await self.store.start()

    async def close(self) -> None:
        await self.isc.close()
        await self.store.close()


class Row:
    """All peers in a row, each in its own process, and one user who is away."""

    def __init__(
        self, peers: Peers, leg: Leg, folder: Path, certificates: Certificates, relays: Relays | None = None
    ) -> None:
        self.peers, self.leg, self.folder = peers, leg, folder
        self.run = secrets.token_hex(6)
        self.name = f"alice-{self.run}"
        self.user = f"sip:{self.name}@{DOMAIN}"
        self.frames: list[Frame] = []
        files = ["--tls-cert", certificates.cert, "--tls-key", certificates.key, "--tls-ca", certificates.ca]
        tls = [str(item) for item in files]
        self.store = peers.start("dovecot.py", "--password", PASSWORD)
        if relays is not None:
            relays.store.set_behind(*self.store.address("address"))
        self.pf = self._pf(tls, self.store.said["address"] if relays is None else str(relays.store.address))
        endpoints = {leg: self.pf.address(leg) for leg in ("udp", "tcp", "tls", "udp6", "tcp6", "tls6")}
        options = ["--domain", DOMAIN, "--psi", PSI, "--pf", leg_table(endpoints), *tls]
        self.core = peers.start("kamailio_core.py", *options, *([] if relays is None else relays.options))
        if relays is not None:
            relays.isc.set_iut(endpoints)
            relays.isc.set_core(self.core.addresses("isc"))

    def _pf(self, tls: Sequence[str], store: str) -> Peer:
        folder = self.folder / "pf"
        folder.mkdir()
        config = folder / "pf.toml"
        config.write_text(PF.format(domain=DOMAIN, psi=PSI), encoding="utf-8")
        command = [sys.executable, "-m", "cpmspec", "serve", "--config", str(config), "--state", str(folder / "state")]
        command += ["--store", store, "--tls-port", "0", *tls]
        return self.peers.launch("pf", command, folder / "pf.log", "cpmspec-pf ready ")

    @property
    def access(self) -> Hop:
        return Hop(self.leg.access, *self.core.addresses("access")[self.leg.key])

    def send(self, *texts: str) -> list[Sent]:
        """Have SIPp send these texts at once, each in a message of its own; all are taken over."""
        run = secrets.token_hex(6)
        log = self.folder / f"sipp-{run}.log"
        lines = self.folder / f"sipp-{run}.csv"
        lines.write_text("\n".join(["SEQUENTIAL", *texts, ""]), encoding="utf-8")
        keys = {"user": self.name, "sender": "sipp", "domain": DOMAIN, "run": run}
        command = ["sipp", f"{self.access.host}:{self.access.port}", "-sf", str(SCENARIO), "-inf", str(lines)]
        command += ["-i", "127.0.0.1", "-p", str(free_port(self.leg.access)), "-bind_local", "-nostdin"]
        command += ["-t", "u1" if self.leg.access == "udp" else "t1", "-cid_str", f"%u-{run}@sipp"]
        command += ["-m", str(len(texts)), "-r", str(len(texts)), "-rp", "1", "-timeout", "20", "-timeout_error"]
        command += ["-trace_msg", "-message_file", str(log), "-trace_err", "-error_file", f"{log}.errors"]
        for key, value in keys.items():
            command += ["-key", key, value]
        self.peers.logs += [log, Path(f"{log}.errors"), Path(f"{log}.screen")]
        with Path(f"{log}.screen").open("wb") as screen:
            status = subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=screen, stderr=screen, timeout=30, check=False,
                cwd=self.folder,
            ).returncode  # fmt: skip
        assert status == 0, "SIPp says that not all messages were answered as they should"
        return sent_by_sipp(log)

    async def fetch(self) -> Fetched:
        """Our client registers, is notified, retrieves until the PF's BYE, finds nothing more, and leaves."""

        def record(frame: Frame, *_: object) -> None:
            self.frames.append(frame)

        client = Client(record, uri=self.user, core=self.access, domain=DOMAIN, psi=PSI)
        await client.start()
        try:
            async with asyncio.timeout(20):
                assert await client.register() == 200
                notification = await client.wait_notification(10)
                session = await client.retrieve()
                assert session.failure is None
                await session.ended.wait()
                assert (await client.retrieve()).failure == 480  # the reference PF's way to say that nothing waits
                assert await client.deregister() == 200
        finally:
            await client.close()
        assert session.invite is not None
        return Fetched(notification, session.received, session.bye_received.is_set(), session.invite.call_id or "")

    def history(self, folder: str, count: int) -> list[bytes]:
        """The objects in a folder of the user's account, once there are so many."""
        with imaplib.IMAP4(*self.store.address("address"), timeout=10) as imap:
            imap.login(self.name, PASSWORD)
            eventually(lambda: f"MESSAGES {count})" in str(imap.status(f'"{folder}"', "(MESSAGES)")))
            imap.select(f'"{folder}"', readonly=True)
            _, fetched = imap.fetch("1:*", "(BODY.PEEK[])")
        return [item[1] for item in fetched if isinstance(item, tuple)]

    def trace(self, relays: Relays) -> Trace:
        """What crossed, as the judge takes it."""
        profile = load_profile(ROOT / "fixtures" / "profiles" / "reference.toml")
        context = Context(
            case="TP_CPM_PF_DLV_V_000", purposes=JUDGED, psi=PSI, pics=profile.flags, explicit=profile.explicit,
            users=(ServedUser(self.user, history=True, establishment="pull", account=self.name),), binds=profile.binds,
            ixit=profile.ixit.model_dump(mode="json"), iut=("127.0.0.1",), closed_us=now_us(),
        )  # fmt: skip
        return Trace.build(context, [*relays.frames, *self.frames])

    def passed(self) -> list[Passed]:
        """What passed Kamailio, by its own log."""
        found = re.findall(r"(got|sent) (\S+) (\S+) by (\w+) (?:from|to) (\S+):(\d+)$", self.core.log.read_text(), re.M)
        return [Passed(way, method, call_id, by, host, int(port)) for way, method, call_id, by, host, port in found]


def eventually(holds: Callable[[], bool], within: float = 15.0) -> None:
    """Wait until something holds that only shows when it is asked for."""
    until = time.monotonic() + within
    while not holds():
        assert time.monotonic() < until, f"not within {within:g} s"
        time.sleep(0.02)


def leg_table(table: Mapping[str, tuple[str, int]]) -> str:
    """``udp=127.0.0.1:5060,udp6=[::1]:5060``: as the scripts of fixtures/peers take it."""
    return ",".join(f"{leg}={Address(*address)}" for leg, address in table.items())


def free_port(transport: str) -> int:
    """A port of 127.0.0.1 that is free at this moment: SIPp by itself would begin at 5060."""
    kind = socket.SOCK_DGRAM if transport == "udp" else socket.SOCK_STREAM
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def sent_by_sipp(log: Path) -> list[Sent]:
    """Each MESSAGE in SIPp's log, once."""
    octets = log.read_bytes()
    found: dict[str, Sent] = {}
    for match in re.finditer(rb"\n(?:UDP|TCP) message sent [(\[](\d+)[)\]]? bytes\)?:\n\n", octets):
        message = octets[match.end() : match.end() + int(match[1])]
        call_id = values("Call-ID", message)[0]
        found.setdefault(call_id, Sent(call_id, message))
    return list(found.values())


def texts(count: int) -> list[str]:
    """So many texts, no two alike."""
    return [f"Message {number}: Grüße, 你好 🙂 {secrets.token_hex(4)}" for number in range(count)]


def values(name: str, octets: bytes) -> list[str]:
    """The values of a header field, found without our own parsers."""
    return re.findall(rf"^{name}: ?(.*?)\r?$", octets.decode(), re.M | re.I)


def parts(message: ReceivedMessage) -> list[Part]:
    """The parts of a delivered message."""
    boundary = re.fullmatch(r'multipart/mixed;\s*boundary="?([^";]+)"?', message.content_type)
    assert boundary is not None
    first, *sections, last = (b"\r\n" + message.body).split(b"\r\n--" + boundary[1].encode())
    assert (first, last) == (b"", b"--\r\n")
    found = []
    for section in sections:
        head, _, octets = section.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        found.append(Part(values("Content-Type", head)[0], octets))
    return found


def check_delivery(sent: Sequence[Sent], fetched: Fetched) -> None:
    """Each message arrived once, with the octets that SIPp sent and the identity that Kamailio asserted."""
    assert fetched.notification is not None
    assert f"Pager-Message: {len(sent)}/0".encode() in fetched.notification.body
    assert fetched.bye
    assert len({message.message_id for message in fetched.messages}) == len(fetched.messages) == len(sent)
    found = {}
    for message in fetched.messages:
        fragment, content = parts(message)
        assert (fragment.kind, content.kind) == ("message/sipfrag", "message/cpim")
        assert values("P-Asserted-Identity", fragment.octets) == [f"<{SENDER}>"]
        found[values("Call-ID", fragment.octets)[0]] = content.octets
    assert found == {one.call_id: one.body for one in sent}


def check_history(row: Row, sent: Sequence[Sent]) -> None:
    """Dovecot holds one object for each message, with its octets."""
    folders: dict[str, dict[str, bytes]] = {}
    for one in sent:
        folders.setdefault(values("Conversation-ID", one.octets)[0], {})[one.call_id] = one.body
    for name, expected in folders.items():
        found = {}
        for octets in row.history(name, len(expected)):
            head, _, body = octets.partition(b"\r\n\r\n")
            assert values("Content-Type", head) == ["message/cpim"]
            assert values("P-Asserted-Identity", head) == [f"<{SENDER}>"]
            found[values("Call-ID", head)[0]] = body
        assert found == expected


def check_transports(row: Row, sent: Sequence[Sent], fetched: Fetched, messages_by: str) -> None:
    """By Kamailio's own log, all between it and the PF took the leg, both ways; only the messages may differ."""
    assert fetched.notification is not None
    eventually(lambda: [one.way for one in row.passed() if one.method == "REGISTER"].count("sent") == 2)
    passed = row.passed()
    pf = {row.pf.address(leg) for leg in ("udp", "udp6", "tls", "tls6")}
    left = {(one.method, one.call_id): one for one in passed if one.way == "sent" and (one.host, one.port) in pf}
    came = {(one.method, one.call_id): one for one in passed if one.way == "got"}
    assert {left["MESSAGE", one.call_id].transport for one in sent} == {messages_by}
    own = [one for one in left.values() if one.method == "REGISTER" or one.call_id == fetched.call_id]
    assert sorted(one.method for one in own) == ["ACK", "INVITE", "REGISTER", "REGISTER"]
    assert {one.transport for one in own} == {row.leg.transport}
    assert {(one.host, one.port) for one in own} == {row.pf.address(row.leg.key)}
    notification = came["MESSAGE", fetched.notification.call_id or ""]
    assert {one.transport for one in (notification, came["BYE", fetched.call_id])} == {row.leg.transport}


@pytest.fixture(autouse=True)
def installed() -> None:
    require("sipp", "kamailio", "dovecot")


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return make_certificates(tmp_path / "certificates")


@pytest.mark.parametrize("leg", LEGS, ids=attrgetter("key"))
def test_a_burst_of_twenty(peers: Peers, tmp_path: Path, certificates: Certificates, leg: Leg) -> None:
    row = Row(peers, leg, tmp_path, certificates)
    sent = row.send(*texts(20))
    assert len({one.body for one in sent}) == 20
    fetched = asyncio.run(row.fetch())
    check_delivery(sent, fetched)
    check_history(row, sent)
    check_transports(row, sent, fetched, leg.transport)


@pytest.mark.parametrize("leg", LEGS, ids=attrgetter("key"))
def test_one_of_1300_octets(peers: Peers, tmp_path: Path, certificates: Certificates, leg: Leg) -> None:
    """The whole MESSAGE has 1300 octets when SIPp sends it."""
    row = Row(peers, leg, tmp_path, certificates)
    (short,) = row.send("x")
    (long,) = row.send("x" * (1 + LONGEST - len(short.octets)))
    assert len(long.octets) == LONGEST
    fetched = asyncio.run(row.fetch())
    check_delivery([short, long], fetched)
    check_history(row, [short, long])
    check_transports(row, [long], fetched, "tcp" if leg.transport == "udp" else leg.transport)


@pytest.mark.parametrize("leg", LEGS[:3], ids=attrgetter("key"))
async def test_the_judge_sees_it_alike(peers: Peers, tmp_path: Path, certificates: Certificates, leg: Leg) -> None:
    """With relays between core, PF and store: the judge finds every requirement kept."""
    relays = Relays(certificates)
    await relays.start()
    try:
        row = await asyncio.to_thread(Row, peers, leg, tmp_path, certificates, relays)
        sent = await asyncio.to_thread(row.send, *texts(20))
        fetched = await row.fetch()
        check_delivery(sent, fetched)
        await asyncio.to_thread(check_history, row, sent)
        await asyncio.to_thread(eventually, lambda: pending_until_us(row.trace(relays)) == 0)
        trace = row.trace(relays)
    finally:
        await relays.close()
    judgement = judge(trace, catalogue())
    assert (judgement.reason, judgement.verdict) == ("every purpose was met", Verdict.PASS)
    assert set(judgement.requirements.values()) <= {Verdict.PASS, Verdict.NONE}
