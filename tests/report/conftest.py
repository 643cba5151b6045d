"""A run folder made by hand: a pass, a fail, an inconc and an error, their evidence written by the real writer."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from cpmspec.evidence import pcapng
from cpmspec.evidence.context import Context, ServedUser
from cpmspec.evidence.recorder import Cutter, FrameSink
from cpmspec.evidence.trace import Address, Frame, Kind, Pco, Role, Trace
from cpmspec.judge.catalogue import Catalogue, load
from cpmspec.judge.verdict import Blame, Finding, Grade, Judgement, Verdict

ROOT = Path(__file__).parents[2]
TEMPLATES = ROOT / "reports" / "templates"
T0 = 1_790_000_000_123_456

ORIGINATOR, CORE, IUT = Address("127.0.0.1", 40110), Address("127.0.0.1", 40060), Address("127.0.0.1", 40070)
CLIENT, STORE = Address("127.0.0.1", 40220), Address("127.0.0.1", 40143)
USER = "sip:on-gw0-1@example.com"
PURPOSE = """TP_CPM_PF_DLV_V_021

with { a pager-mode message deferred for the user }
ensure that {
  when { the user retrieves }
  then { its stored headers and its content arrive unchanged } }"""

CATALOGUE = """
group = "DLV"
title = "Delivery"
source = "OMA-TS-CPM_Conv_Fnct"
"""
ENTRY = """
[[requirement]]
id = "{id}"
title = "{title}"
clause = "8.3.2.4.3 step {step}"
class = "{cls}"
level = "MUST"
bearer = "PF"
text = "{text}"
expected = "{expected}"
pics = {pics}
"""
REQUIREMENTS = [
    ("DLV-1.1", "Every message is sent", "1", "N", "Each message is sent.", "A SEND for each message.", "[]"),
    ("DLV-2.1", "multipart/mixed", "2", "N", "A SEND is multipart/mixed.", "multipart/mixed, in any case.", "[]"),
    ("DLV-2a.2", "The actual message", "2a", "N", "The content arrives whole.", "The same octets.", "[]"),
    ("DLV-2d.2", "msrpfrag", "2d", "D", "Judged by analogy.", "An observation.", "[]"),
    ("DLV-3.1", "BYE at the end", "3", "N", "After the last message the PF sends BYE.", "One BYE.", "[]"),
    ("DLV-5.1", "History on", "last para", "N", "A delivered message is recorded.", "One object.", '["history"]'),
]


def sip(start: str, *headers: str, body: str = "") -> bytes:
    lines = [start, *headers, f"Content-Length: {len(body)}", "", body]
    return "\r\n".join(lines).encode()


def dialog(cseq: str, *more: str) -> tuple[str, ...]:
    return (
        "Via: SIP/2.0/UDP 127.0.0.1:40060;branch=z9hG4bK776asdhds",
        "Max-Forwards: 69",
        f"To: <{USER}>",
        'From: "Alice" <sip:alice@example.com>;tag=88sja8x',
        "Call-ID: 987asjd97y7atg@127.0.0.1",
        f"CSeq: {cseq}",
        *more,
    )


class Story:
    """Frames told one after another, a few milliseconds apart."""

    def __init__(self) -> None:
        self.sink = FrameSink()
        self._now = T0

    def say(
        self, pco: Pco, sender: Role, receiver: Role, ends: tuple[Address, Address], octets: bytes, **more: Any
    ) -> None:
        self._now += 2_345
        connection = more.pop("connection", 0)
        transport = more.pop("transport", "tcp" if connection else "udp")
        kind = more.pop("kind", Kind.DATA)
        self.sink(Frame(0, self._now, pco, sender, receiver, transport, *ends, connection, kind, octets))

    def deferral(self) -> None:
        message = sip(
            f"MESSAGE {USER} SIP/2.0",
            *dialog("1 MESSAGE", "Content-Type: text/plain;charset=UTF-8"),
            body="Grüße, see you at nine",
        )
        accepted = sip("SIP/2.0 202 Accepted", *dialog("1 MESSAGE"))
        self.say(Pco.MO, Role.ORIGINATOR, Role.CORE, (ORIGINATOR, CORE), message)
        self.say(Pco.ISC, Role.CORE, Role.IUT, (CORE, IUT), message)
        self.say(Pco.ISC, Role.IUT, Role.CORE, (IUT, CORE), accepted)
        self.say(Pco.MO, Role.CORE, Role.ORIGINATOR, (CORE, ORIGINATOR), accepted)

    def session(self) -> None:
        invite = sip(
            "INVITE sip:deferred@example.com SIP/2.0",
            *dialog("1 INVITE", "Content-Type: application/sdp"),
            body="v=0\r\nm=message 9 TCP/MSRP *\r\n",
        )
        okay = sip("SIP/2.0 200 OK", *dialog("1 INVITE", "Content-Type: application/sdp"), body="v=0\r\n")
        self.say(Pco.GM, Role.CLIENT, Role.CORE, (CLIENT, CORE), invite)
        self.say(Pco.ISC, Role.CORE, Role.IUT, (CORE, IUT), invite)
        self.say(Pco.ISC, Role.IUT, Role.CORE, (IUT, CORE), okay)
        self.say(Pco.GM, Role.CORE, Role.CLIENT, (CORE, CLIENT), okay)
        self.say(Pco.GM, Role.CLIENT, Role.CORE, (CLIENT, CORE), sip(f"ACK {USER} SIP/2.0", *dialog("1 ACK")))
        self.say(Pco.MSRP, Role.CLIENT, Role.IUT, (CLIENT, IUT), b"", connection=1, kind=Kind.OPEN)

    def delivery(self, content_type: str, body: bytes) -> None:
        head = (
            "MSRP d93kswow SEND\r\nTo-Path: msrp://127.0.0.1:40220/x;tcp\r\nFrom-Path: msrp://127.0.0.1:40070/y;tcp\r\n"
        )
        head += (
            f"Message-ID: 12339sdqwer\r\nByte-Range: 1-{len(body)}/{len(body)}\r\nContent-Type: {content_type}\r\n\r\n"
        )
        for piece in Cutter().feed(head.encode() + body + b"\r\n-------d93kswow$\r\n"):
            self.say(Pco.MSRP, Role.IUT, Role.CLIENT, (IUT, CLIENT), piece, connection=1)
        answer = "MSRP d93kswow 200 OK\r\nTo-Path: msrp://127.0.0.1:40070/y;tcp\r\nFrom-Path: msrp://127.0.0.1:40220/x;tcp\r\n-------d93kswow$\r\n"
        self.say(Pco.MSRP, Role.CLIENT, Role.IUT, (CLIENT, IUT), answer.encode(), connection=1)

    def end(self) -> None:
        bye = sip(f"BYE {USER} SIP/2.0", *dialog("2 BYE"))
        self.say(Pco.ISC, Role.IUT, Role.CORE, (IUT, CORE), bye)
        self.say(Pco.GM, Role.CORE, Role.CLIENT, (CORE, CLIENT), bye)
        self.say(Pco.MSRP, Role.IUT, Role.CLIENT, (IUT, CLIENT), b"", connection=1, kind=Kind.CLOSE)
        ends = (Address("127.0.0.1", 40991), STORE)
        self.say(Pco.STORE, Role.IUT, Role.STORE, ends, b"", connection=2, kind=Kind.OPEN)
        self.say(Pco.STORE, Role.STORE, Role.IUT, ends[::-1], b"* OK IMAP4rev1 ready\r\n", connection=2)
        self.say(Pco.STORE, Role.IUT, Role.STORE, ends, b'A3 APPEND "conv-1" (\\Seen) {5}\r\n', connection=2)
        self.say(Pco.STORE, Role.STORE, Role.IUT, ends[::-1], b"+ Ready for literal data\r\n", connection=2)
        self.say(Pco.STORE, Role.IUT, Role.STORE, ends, b"hello\r\n", connection=2)
        self.say(Pco.STORE, Role.STORE, Role.IUT, ends[::-1], b"A3 OK APPEND completed.\r\n", connection=2)

    def trace(self, case: str, **more: Any) -> Trace:
        user = ServedUser(USER, True, "pull", "on-gw0-1")
        return self.sink.trace(Context(case, ("DLV-2.1",), (user,), **more))


MULTIPART = (
    b"--b1\r\nContent-Type: message/sipfrag\r\nDate: Sat, 13 Nov 2010 23:29:00 GMT\r\n\r\n"
    b"From: <sip:alice@example.com>\r\nCall-ID: 987asjd97y7atg\r\n\r\n"
    b"--b1\r\nContent-Type: text/plain;charset=UTF-8\r\n\r\nGr\xc3\xbc\xc3\x9fe, see you at nine\r\n--b1--"
)
HOSTILE = b"<script>alert(1)</script>\x00\x01\xff\xfe\x80 ]]> &amp; \xe2\x80\xae" + bytes(range(256)) * 40


def found(requirement: str, verdict: Verdict, reason: str = "", **more: Any) -> Finding:
    return Finding(requirement, verdict, reason or "as expected", **more)


def line(case: str, trace: Trace | None, findings: Iterable[Finding], **more: Any) -> dict[str, Any]:
    judged = tuple(findings)
    verdict = more.pop("verdict", None) or Verdict.worst(finding.verdict for finding in judged)
    reason = more.pop("reason", "") or next((one.reason for one in judged if one.verdict is verdict), "")
    judgement = Judgement(case, verdict, reason, more.get("blame"), True, judged)
    base = {
        "kind": "case", "stage": "final", "case": case, "title": "Stored headers and content arrive unchanged",
        "purpose": PURPOSE, "purposes": ["DLV-2.1", "DLV-2a.2"], "verdict": verdict, "reason": reason, "blame": None,
        "judgement": judgement.to_json(), "evidence": f"cases/{case}" if trace else None,
        "started": "2026-09-21T13:46:40.123Z", "seconds": 1.75, "worker": "gw0",
    }  # fmt: skip
    return base | more


def sendings(trace: Trace) -> list[int]:
    return [frame.number for frame in trace.frames if frame.octets.startswith(b"MSRP d93kswow SEND")]


def _passed(case: str) -> tuple[Trace, dict[str, Any]]:
    story = Story()
    story.deferral()
    story.session()
    story.delivery("multipart/mixed;boundary=b1", MULTIPART)
    story.end()
    trace = story.trace(case)
    met = [found(name, Verdict.PASS) for name in ("DLV-1.1", "DLV-2.1", "DLV-2a.2", "DLV-3.1")]
    met.append(found("DLV-2d.2", Verdict.PASS, "other order of parts", grade=Grade.INFORMATIONAL, frames=(1,)))
    return trace, line(case, trace, met)


def _failed(case: str) -> tuple[Trace, dict[str, Any]]:
    story = Story()
    story.deferral()
    story.session()
    story.delivery("message/cpim", HOSTILE)
    story.end()
    trace = story.trace(case, declared=("an answer is withheld",))
    wrong = found(
        "DLV-2.1", Verdict.FAIL, "a deferred message came as message/cpim",
        expected="Content-Type multipart/mixed", actual="Content-Type: message/cpim <b>\x00\ud800",
        frames=tuple(sendings(trace)),
    )  # fmt: skip
    return trace, line(case, trace, [wrong, found("DLV-1.1", Verdict.PASS), found("DLV-3.1", Verdict.PASS)])


def _undecided(case: str) -> tuple[Trace, dict[str, Any]]:
    story = Story()
    story.deferral()
    trace = story.trace(case, aborted="the IUT is gone", blame="iut")
    reason = "the IUT vanished before it delivered"
    return trace, line(
        case, trace, [found("DLV-3.1", Verdict.INCONC, reason, blame=Blame.IUT)], blame="iut", reason=reason
    )


def make_run(folder: Path, passed: int = 3, *, footer: bool = True) -> Path:
    """A run of ``passed`` + 3 cases."""
    cases: list[tuple[Trace | None, dict[str, Any]]] = [
        _passed(f"TP_CPM_PF_DLV_V_021-pager-{n:03}") for n in range(passed)
    ]
    cases.append(_failed("TP_CPM_PF_DLV_V_031-pager-pull"))
    cases.append(_undecided("TP_CPM_PF_DLV_V_041-large-push"))
    broken = line("TP_CPM_PF_DLV_V_051-a [b]/<c>", None, [], verdict=Verdict.ERROR, reason="we sent <wrong> octets\x00")
    cases.append((None, broken))
    profile = {
        "iut": {"name": "Example PF", "version": "4.2 & more", "vendor": "Example Oy"},
        "pics": {"history": False},
    }
    header = {
        "kind": "header", "format": 1, "suite": "0.1.0", "started": "2026-09-21T13:46:39Z", "catalogue": "ab" * 32,
        "seed": 4711, "profile": profile, "profile_file": "fixtures/profiles/reference.toml", "selection": None,
        "parts": None, "cases": [record["case"] for _, record in cases],
    }  # fmt: skip
    lines: list[dict[str, Any]] = [header]
    for trace, record in cases:
        if trace is not None:
            pcapng.write(trace, folder / record["evidence"])
        lines += [record | {"stage": "provisional", "verdict": "pass"}, record]
    lines.append({"kind": "unowned", "frames": "unowned/trace.pcapng"})
    if footer:
        end = {"finished": "2026-09-21T13:48:01Z", "verdict": "not conformant", "exit": 1, "interrupted": False}
        lines.append({"kind": "footer", **end})
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.jsonl").write_text("".join(json.dumps(value) + "\n" for value in lines))
    return folder


@pytest.fixture
def catalogue(tmp_path: Path) -> Catalogue:
    folder = tmp_path / "catalogue"
    folder.mkdir()
    keys = ("id", "title", "step", "cls", "text", "expected", "pics")
    entries = [ENTRY.format(**dict(zip(keys, values, strict=True))) for values in REQUIREMENTS]
    (folder / "dlv.toml").write_text(CATALOGUE + "".join(entries))
    return load(folder)


@pytest.fixture
def run_maker(tmp_path: Path) -> Callable[..., Path]:
    """Makes a run below the test's own folder."""
    return lambda **more: make_run(tmp_path / "run", **more)


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    return make_run(tmp_path / "run")


@pytest.fixture
def templates() -> Path:
    return TEMPLATES
