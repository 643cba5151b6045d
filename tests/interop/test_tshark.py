"""tshark reads the evidence of a whole run, and of every kind of message, as we do; where it does not, it is named."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import chain
from pathlib import Path

import pytest

import tshark
from cpmspec.evidence import pcapng
from cpmspec.evidence.context import Context
from cpmspec.evidence.recorder import MAX_OCTETS, cut
from cpmspec.evidence.trace import Address, Frame, Pco, Role, Trace
from cpmspec.judge.octets import msrp_messages
from cpmspec.judge.transfers import Attempt, attempts_of
from cpmspec.wire.msrp import build_request
from peers import require
from runs import Run
from tshark import Comparison, Reading, ours, theirs

IUT, PEER = Address("127.0.0.1", 42001), Address("127.0.0.1", 42002)
PATHS = ["msrp://127.0.0.1:2855/a;tcp"], ["msrp://127.0.0.1:41000/b;tcp"]


@pytest.fixture(scope="module", autouse=True)
def _peer() -> None:
    require("tshark")


# --- messages of every kind ------------------------------------------------------------------------------------------

INNER = b"--in\r\nContent-Type: text/plain\r\n\r\none\r\n--in\r\nContent-Type: image/png\r\n\r\n\x89\0\r\n--in--\r\n"
NESTED = (
    b"--out\r\nContent-Type: message/sipfrag\r\n\r\nSubject: x\r\n\r\n--out\r\n"
    b"Content-Type: multipart/related;boundary=in\r\n\r\n" + INNER + b"\r\n--out--\r\n"
)
MIXED = "multipart/mixed;boundary=out"


def send(number: int, body: bytes, content_type: str = MIXED, flag: str = "$", **headers: str) -> bytes:
    wanted = {"Message-ID": f"id{number:02}", "Byte-Range": f"1-{len(body)}/{len(body)}", **headers}
    return build_request("SEND", f"trans{number}", *PATHS, wanted.items(), body, flag, content_type=content_type)


def sip(start: str, cseq: str, content_type: str, body: bytes) -> bytes:
    lines = [
        start, "Via: SIP/2.0/UDP 127.0.0.1:42002;branch=z9hG4bK1", "Max-Forwards: 70",
        "From: <sip:a@example.com>;tag=1", "To: <sip:b@example.com>", "Call-ID: call1@here", f"CSeq: {cseq}",
        f"Content-Type: {content_type}", f"Content-Length: {len(body)}",
    ]  # fmt: skip
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


MESSAGE = sip("MESSAGE sip:b@example.com SIP/2.0", "41 MESSAGE", MIXED, NESTED)
ACCEPTED = sip("SIP/2.0 202 Accepted", "41 MESSAGE", "text/plain", b"x")
SEND = send(1, NESTED)
# two chunks: the first ends inside the last part
CUT = NESTED.index(b"one")
TOTAL = len(NESTED)
CHUNK = send(2, NESTED[:CUT], flag="+", **{"Byte-Range": f"1-{CUT}/{TOTAL}"})
LAST_CHUNK = send(3, NESTED[CUT:], **{"Byte-Range": f"{CUT + 1}-{TOTAL}/{TOTAL}"})
LARGE = send(4, b"--out\r\n\r\n" + b"x" * (2 * MAX_OCTETS) + b"\r\n--out--", **{"Byte-Range": "1-*/*"})
PLAIN = send(5, b"plain", "text/plain;charset=UTF-8", "#")
OK = b"MSRP trans1 200 OK\r\nTo-Path: msrp://h:9/b;tcp\r\nFrom-Path: msrp://h:9/a;tcp\r\n-------trans1$\r\n"
REPORT = build_request(
    "REPORT", "trans6", *PATHS, {"Message-ID": "id01", "Byte-Range": "1-9/9", "Status": "000 413 No"}.items(), None
)


def udp(pco: Pco, octets: bytes) -> Frame:
    return Frame(0, 0, pco, Role.CORE, Role.IUT, "udp", PEER, IUT, 0, octets=octets)


def tcp(pco: Pco, octets: bytes, connection: int, transport: str = "tcp") -> Frame:
    return Frame(0, 0, pco, Role.IUT, Role.CLIENT, transport, IUT, Address("127.0.0.1", 42100 + connection), connection,
                 octets=octets)  # fmt: skip


def frames() -> list[Frame]:
    """Every kind of message, at every interface; two of them in several frames."""
    msrp = (SEND, CHUNK, LAST_CHUNK, *cut(LARGE), PLAIN, OK, REPORT)
    return [
        udp(Pco.ISC, MESSAGE), udp(Pco.GM, ACCEPTED), udp(Pco.MO, MESSAGE),
        tcp(Pco.ISC, MESSAGE, 1), tcp(Pco.ISC, ACCEPTED[:99], 1), tcp(Pco.ISC, ACCEPTED[99:], 1),
        *(tcp(Pco.MSRP, octets, 2) for octets in msrp),
        *(tcp(Pco.MO, octets, 3, "tls") for octets in msrp),
    ]  # fmt: skip


def traced(given: Iterable[Frame]) -> Trace:
    """The trace of frames, one each millisecond."""
    numbered = [replace(frame, time_us=1_700_000_000_000_000 + 1000 * n) for n, frame in enumerate(given)]
    return Trace.build(Context("case", ()), numbered)


def written(folder: Path, trace: Trace) -> Path:
    pcapng.write(trace, folder)
    return folder


def read(workdir: Path, *traces: Trace) -> list[Reading]:
    """What tshark reads in the files of some traces."""
    return theirs([written(workdir / str(number), trace) for number, trace in enumerate(traces)], workdir)


def compared(trace: Trace, reading: Reading) -> Comparison:
    comparison = Comparison()
    comparison.add("case", ours(trace), reading.messages)
    return comparison


def test_every_kind_of_message_is_read_alike(tmp_path: Path) -> None:
    trace = traced(frames())
    (reading,) = read(tmp_path, trace)
    found = compared(trace, reading)
    assert found.differences == []
    assert not found.hidden
    assert not reading.malformed
    assert (found.compared["sip"], found.compared["msrp"]) == (5, 14)
    bodies = [message.bodies for message in ours(trace) if message.bodies]
    assert bodies.count(["multipart/mixed", "message/sipfrag", ["multipart/related", "text/plain", "image/png"]]) == 5
    assert bodies.count(["multipart/mixed", "message/sipfrag"]) == 2, "the part that the chunk cuts is left out"
    assert bodies.count(["multipart/mixed"]) == 2, "where the chunk after it begins there is no delimiter before it"


# --- each comparison has been seen to fail ---------------------------------------------------------------------------


def changed(octets: bytes, old: bytes, new: bytes) -> Trace:
    """All frames, with a change in the first one of these octets."""
    kept = frames()
    at = next(index for index, frame in enumerate(kept) if frame.octets == octets)
    kept[at] = replace(kept[at], octets=octets.replace(old, new, 1))
    assert kept != frames()
    return traced(kept)


# the message that tshark is shown changed, the change, and the difference that has to be named
CHANGES: dict[str, tuple[bytes, bytes, bytes, str]] = {
    "SIP method": (MESSAGE, b"MESSAGE sip", b"PUBLISH sip", "method: ours 'MESSAGE', tshark's 'PUBLISH'"),
    "SIP status": (ACCEPTED, b" 202 ", b" 200 ", "status: ours 202, tshark's 200"),
    "Call-ID": (MESSAGE, b"call1@", b"call2@", "Call-ID: ours 'call1@here', tshark's 'call2@here'"),
    "CSeq number": (MESSAGE, b"41 MESS", b"42 MESS", "CSeq number: ours 41, tshark's 42"),
    "CSeq method": (MESSAGE, b"41 MESS", b"41 MASS", "CSeq method: ours 'MESSAGE', tshark's 'MASSAGE'"),
    "SIP type": (ACCEPTED, b"text/plain", b"text/troff", "Content-Type: ours 'text/plain', tshark's 'text/troff'"),
    "SIP type of a part": (MESSAGE, b"image/png", b"image/gif", "'image/png']], tshark's ['multipart/mixed',"),
    "SIP number of parts": (MESSAGE, b"one\r\n--in", b"one\r\n--on", "multipart: ours ['multipart/mixed',"),
    "SIP message missing": (ACCEPTED, ACCEPTED, b"\r\n", "message: ours \"sip {'interface': 'gm',"),
    "MSRP method": (SEND, b" SEND", b" SENT", "method: ours 'SEND', tshark's 'SENT'"),
    "MSRP status": (OK, b" 200 OK", b" 501 OK", "status: ours 200, tshark's 501"),
    "transaction id": (OK, b"trans1", b"trans9", "transaction id: ours 'trans1', tshark's 'trans9'"),
    "that of the end-line": (OK, b"--trans1", b"--trans9", "id of the end-line: ours 'trans1', tshark's 'trans9'"),
    "Message-ID": (REPORT, b"id01", b"id02", "Message-ID: ours 'id01', tshark's 'id02'"),
    "Byte-Range start": (REPORT, b" 1-9/9", b" 2-9/9", "Byte-Range: ours '1-9/9', tshark's '2-9/9'"),
    "Byte-Range end": (REPORT, b" 1-9/9", b" 1-8/9", "Byte-Range: ours '1-9/9', tshark's '1-8/9'"),
    "Byte-Range total": (REPORT, b" 1-9/9", b" 1-9/*", "Byte-Range: ours '1-9/9', tshark's '1-9/*'"),
    "Status of a REPORT": (REPORT, b"413 No", b"403 No", "Status: ours '000 413 No', tshark's '000 403 No'"),
    "MSRP type": (PLAIN, b"=UTF-8", b"=UTF-7", "plain;charset=UTF-8', tshark's 'text/plain;charset=UTF-7'"),
    "MSRP type of a part": (SEND, b"text/plain", b"text/troff", "'image/png']], tshark's ['multipart/mixed',"),
    "MSRP number of parts": (CHUNK, b"--out\r\nContent-Type: mu", b"--ouz\r\nContent-Type: mu", "multipart: ours"),
    "continuation flag": (CHUNK, b"trans2+", b"trans2$", "continuation flag: ours '+', tshark's '$'"),
    "MSRP message missing": (PLAIN, PLAIN, b"\r\n", "message: ours \"msrp {'interface': 'msrp',"),
}  # fmt: skip


@pytest.fixture(scope="module")
def readings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Reading]:
    """What tshark reads in the changed files, by the name of the change."""
    traces = [changed(octets, old, new) for octets, old, new, _ in CHANGES.values()]
    return dict(zip(CHANGES, read(tmp_path_factory.mktemp("changed"), *traces), strict=True))


@pytest.mark.parametrize("change", CHANGES)
def test_a_difference_is_named(change: str, readings: dict[str, Reading]) -> None:
    trace = traced(frames())
    octets, named = CHANGES[change][0], CHANGES[change][-1]
    (difference,) = compared(trace, readings[change]).differences
    frame = next(frame.number for frame in trace.frames if frame.octets == octets)
    assert difference.startswith(f"case, frame {frame}, ")
    assert named in difference


def test_another_interface_is_named(tmp_path: Path) -> None:
    first, *others = frames()
    (reading,) = read(tmp_path, traced([replace(first, pco=Pco.GM), *others]))
    found = compared(traced(frames()), reading)
    assert found.differences == ["case, frame 1, interface: ours 'isc', tshark's 'gm'"]


def test_a_message_that_only_tshark_has_is_named(tmp_path: Path) -> None:
    trace = traced(frames())
    (reading,) = read(tmp_path, trace)
    for message in ours(trace):
        found = Comparison()
        found.add("case", [one for one in ours(trace) if one != message], reading.messages)
        (difference,) = found.differences
        assert difference.startswith(f"case, frame {message.frame}, message: ours None, tshark's \"{message.protocol} ")


# --- out of tshark's reach -------------------------------------------------------------------------------------------


def hidden(trace: Trace, reading: Reading) -> set[str]:
    """The reasons for which something was not compared, when all else was alike."""
    found = compared(trace, reading)
    assert found.differences == []
    return {reason for _, reason in found.hidden}


def lines(*bodies: bytes, content_type: str = "text/plain") -> Trace:
    """A SEND with each body, each in a frame."""
    return traced(tcp(Pco.MSRP, send(n, body, content_type, "+"), 1) for n, body in enumerate(bodies, 10))


def test_each_excuse_is_needed(tmp_path: Path) -> None:
    """Where something is called hidden, tshark does read it wrongly; one octet further it does not."""
    if tshark.version() != "4.0":
        pytest.skip(f"the faults are those of tshark 4.0, this is {tshark.version()}")
    traces = [
        lines(b"x", b"0123456789;"),
        lines(b"x", b"012345678;"),
        lines(b"x", b"012345678;", content_type="text/plain;charset=UTF-8"),
        lines(b"x", b"a\r\n------b"),
        lines(b"x", b"a\r\n-------b"),
        lines(b"x", b"a\n-------b"),
        lines(b"x", b"-------b"),
        lines(b"x", b"a-------b"),
    ]
    readings = read(tmp_path, *traces)
    reasons = [hidden(trace, reading) for trace, reading in zip(traces, readings, strict=True)]
    lookalike, semicolon = {tshark.LOOKALIKE}, {tshark.SEMICOLON}
    assert reasons == [set(), semicolon, set(), set(), lookalike, lookalike, lookalike, set()]
    for reason, trace, reading in zip(reasons, traces, readings, strict=True):
        alike = [one.fields == other.fields for one, other in zip(ours(trace), reading.messages, strict=True)]
        assert alike == [True, not reason]
        assert bool(reading.malformed) is (reason == semicolon)


def test_wherever_a_message_is_cut_the_rest_is_compared(tmp_path: Path) -> None:
    """tshark joins the segments of a message, but it must see the start-line and the end-line each in one piece."""
    whole = [SEND, OK, REPORT]
    cuts = [(octets, at) for octets in whole for at in range(1, len(octets))]
    kept = [
        tcp(Pco.MSRP, octets, number)
        for number, (message, at) in enumerate(cuts, 1)
        for octets in (PLAIN, message[:at], message[at:], PLAIN)
    ]
    trace = traced(kept)
    (reading,) = read(tmp_path, trace)
    found = compared(trace, reading)
    assert found.differences == []
    start, end = len(b"MSRP trans1"), len(b"trans1$\r\n")
    assert found.hidden["message", tshark.START_CUT] == len(whole) * start
    assert found.hidden["continuation flag", tshark.END_CUT] == len(whole) * end
    assert found.compared["msrp"] == 2 * len(cuts) + len(cuts) - len(whole) * start


@pytest.mark.parametrize("port", [34980, 44818, 48898])
def test_a_port_of_another_protocol_hides_nothing(tmp_path: Path, port: int) -> None:
    """EtherCAT, EtherNet/IP and AMS have ports in the range that the system gives out."""
    kept = [replace(frame, source=Address(frame.source.host, port)) for frame in frames()]
    trace = traced(kept)
    (reading,) = read(tmp_path, trace)
    assert compared(trace, reading).differences == []


def test_files_put_behind_one_another_are_read_as_each_by_itself(tmp_path: Path) -> None:
    """Their connections have equal ends and equal sequence numbers."""
    traces = [traced(frames()), traced(frames()[3:]), traced(reversed(frames()))]
    single = [read(tmp_path / f"by-itself-{number}", trace)[0] for number, trace in enumerate(traces)]
    assert read(tmp_path, *traces) == single
    assert len({str(reading) for reading in single}) == len(single)


# --- a whole run -----------------------------------------------------------------------------------------------------


def transfers(trace: Trace) -> list[Attempt]:
    """The MSRP messages of several chunks that arrived whole."""
    seen = msrp_messages(trace, Pco.MSRP)[0] + msrp_messages(trace, Pco.MO)[0]
    found = attempts_of(((None, one) for one in seen if one.head.method == "SEND" and one.head.content_type), seen)
    return [one for one in found if len(one.chunks) > 1 and one.complete]


def joined(attempts: Iterable[Attempt]) -> Trace:
    """Each message in one chunk: tshark joins segments, not chunks."""
    kept = [
        send(number, one.body, one.content_type or "", **{"Byte-Range": "1-*/*"})
        for number, one in enumerate(attempts, 100)
    ]
    return traced(tcp(Pco.MSRP, piece, 1) for octets in kept for piece in cut(octets))


def test_tshark_reads_a_whole_run_as_we_do(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    run: Run = request.getfixturevalue("whole_run")  # not before it is known that tshark is there
    folders = sorted((run.folder / "cases").iterdir())
    traces = [pcapng.read(folder) for folder in folders]
    chunked = [one for trace in traces for one in transfers(trace) if (one.content_type or "").startswith("multipart/")]
    again = joined(chunked)
    *readings, other = theirs([*folders, written(tmp_path / "joined", again)], tmp_path)

    found, all_of_ours = Comparison(), []
    for folder, trace, reading in zip(folders, traces, readings, strict=True):
        messages = ours(trace)
        found.add(folder.name, messages, reading.messages)
        all_of_ours += messages
        excused = (range(one.first, one.frame + 1) for one in messages if "continuation flag" in one.hidden)
        assert set(reading.malformed) <= set(chain.from_iterable(excused)), folder.name
    assert found.differences == []

    # not from having looked at nothing
    assert len(folders) == len(run.verdicts) >= 178
    unseen = found.hidden["message", tshark.START_CUT]
    assert found.compared["sip"] + found.compared["msrp"] + unseen == len(all_of_ours) > 10_000
    assert all(found.compared[f"sip at {pco}"] > 1000 for pco in (Pco.ISC, Pco.GM, Pco.MO))
    assert all(found.compared[f"msrp at {pco}"] > 500 for pco in (Pco.MSRP, Pco.MO))
    assert found.compared["msrp Status"] > 0
    assert found.compared["msrp continuation flag"] > 0.98 * found.compared["msrp"]

    # each multipart: as it stands in its frame, and those of several chunks once more when they are put together
    in_one_frame = sum(one.bodies is not None and one.first == one.frame for one in all_of_ours)
    assert found.compared["sip multipart"] + found.compared["msrp multipart"] >= in_one_frame > 500
    whole = Comparison()
    whole.add("chunks put together", ours(again), other.messages)
    assert whole.differences == []
    assert whole.compared["msrp multipart"] == len(chunked) > 100
