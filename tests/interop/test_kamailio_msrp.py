"""Kamailio's msrp module reads what our MSRP senders send: framing, headers and bodies, over TCP and TLS.

The module is an MSRP parser that nobody of this project wrote; by fixtures/peers/kamailio_msrp.cfg each of its 200s
tells what it read. It is a relay's parser: it delimits frames and finds headers, and leaves chunks and sessions to
others. So what is compared is each frame. On faulty frames see test_kamailio_msrp_faults.py.

Limits of this peer (5.6.3), not ours: of a frame of 11,239 octets and more its script sees nothing, so that one which
looks at the method does not answer; a frame that does not fit ``tcp_rd_buf_size``, 16,384 octets unless set, ends the
connection.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from cpmspec.actors.msrp_push import ContentSender
from cpmspec.protocol import msrp_sender
from cpmspec.protocol.msrp_receiver import ForSender, MsrpReceiver
from cpmspec.protocol.msrp_sender import BytesContent, MsrpSender, Outcome, OutgoingMessage
from cpmspec.wire.msrp import (
    FrameBegin,
    MsrpHead,
    MsrpStream,
    build_request,
    new_message_id,
)
from msrp_peer import Kamailio, Line, Sending, frames
from peers import Peers

LARGEST = 8192  #: octets of the largest chunk
INTERRUPTIBLE = 2048  #: octets: a larger chunk has a range-end of * (RFC 4975 7.1.1)
LINES = 4  #: connections side by side
SEGMENT = 12_000  #: octets in one write: less than what Kamailio's buffer takes
SEED = 4975
#: octets that look like the border of a frame, or are hard in other ways
LOOKALIKES = (
    b"\r\n-------", b"-------", b"\r\n-------deadbeef01$\r\n", b"\r\n-------0123456789abcdef0123+\r\n",
    b"\n-------$\r\n", b"\r\n\r\n", b"\r", b"\n", b"\0", b"\0\0\r\n", b"\xff\xfe", b"\xc3\xa9", b"--------",
    b"MSRP deadbeef01 SEND\r\nTo-Path: ", b"\r\nMSRP deadbeef01 200 OK\r\n", b"\r\n------",
    b"Content-Length: 5\r\n\r\n",
)  # fmt: skip
#: the same for octets that come close to the end-line of the very frame that they are in
NEAR_MISSES = (
    "------{tid}$", "\r\n------{tid}$\r\n", "-------{upper}$\r\n", "\r\n-------{short}$\r\n", "\r\n-------{short}",
    "-{tid}$\r\n", "\r\n------- {tid}$\r\n", "{tid}$\r\n", "\r\n-------\r\n{tid}$\r\n",
)  # fmt: skip

pytestmark = pytest.mark.timeout(120)
transports = pytest.mark.parametrize("transport", ["tcp", "tls"])


def content(size: int, border: int, chance: random.Random) -> bytes:
    """Random octets with look-alikes strewn in, one of them at the border of two chunks."""
    octets = bytearray(chance.randbytes(size))
    for piece in chance.choices(LOOKALIKES, k=6):
        at = chance.randrange(size)
        octets[at : at + len(piece)] = piece
    piece = chance.choice(LOOKALIKES)
    at = max(0, border - chance.randint(0, len(piece)))
    octets[at : at + len(piece)] = piece
    return bytes(octets[:size])


async def push(line: Line, name: str, octets: bytes, size: int) -> None:
    """Send a message with the sending side of the originator."""
    sender = ContentSender(line.path, octets, "application/octet-stream", {"Message-ID": name}, chunk_size=size)
    await sender.run(line.connection, (line.peer,))
    assert set(sender.statuses) == {200}
    assert not sender.unanswered


async def send(line: Line, name: str, octets: bytes, size: int) -> None:
    """Send a message with the sending side of the PF."""
    sender = MsrpSender((line.peer,), (line.path,), chunk_size=size)
    sender.submit(OutgoingMessage(name, "application/octet-stream", BytesContent(octets)))
    events = await Sending(line).run(sender)
    assert events[-1] == Outcome(name, True, 200)


def chunks_of(octets: bytes, size: int) -> Iterator[tuple[str, bytes, str]]:
    """Byte-Range, body and flag of each chunk that a message is to have."""
    for start in range(0, len(octets), size):
        body = octets[start : start + size]
        end = "*" if len(body) > INTERRUPTIBLE else str(start + len(body))
        yield f"{start + 1}-{end}/{len(octets)}", body, "+" if start + size < len(octets) else "$"


@transports
async def test_chunks_of_every_size(peers: Peers, tmp_path: Path, transport: str) -> None:
    """Messages of 8193 octets in two chunks, of c and of 8193 - c octets: each size from 1 to 8192 once.

    Both of our sending sides take part: over TLS each sends the sizes that the other one sends over TCP.
    """
    kamailio = Kamailio.start(peers, tmp_path)
    seen: list[int] = []

    async def some(first: int) -> None:
        chance = random.Random(SEED + first)
        async with kamailio.line(transport, SEED + first) as line:
            for size in range(first, LARGEST + 1, LINES):
                octets, name = content(LARGEST + 1, size, chance), new_message_id()
                originator = (size // LINES % 2 == 0) == (transport == "tcp")
                await (push if originator else send)(line, name, octets, size)
                exchanges = line.exchanges()
                for exchange in exchanges:
                    exchange.check()
                    assert exchange.request.violations == ()
                sent = [exchange.request for exchange in exchanges]
                meant = [(name, *chunk) for chunk in chunks_of(octets, size)]
                assert [(one.message_id, str(one.byte_range), one.body, one.flag) for one in sent] == meant
                seen.extend(len(one.body or b"") for one in sent)

    async with asyncio.timeout(90), asyncio.TaskGroup() as group:
        for number in range(LINES):
            group.create_task(some(LARGEST // 2 + 1 + number))
    assert sorted(seen) == list(range(1, LARGEST + 1))


def forms(to_path: str, from_path: str) -> Iterator[bytes]:
    """SENDs of many forms, each without a fault and with a transaction identifier of its own."""
    numbers = itertools.count()

    def one(
        body: str | bytes | None, *headers: tuple[str, str], tid: str | None = None, flag: str = "$",
        kind: str = "text/plain", to: str = to_path, by: tuple[str, ...] = (from_path,), name: str = "12339sdqwer",
    ) -> bytes:  # fmt: skip
        tid = tid or f"tid{next(numbers)}z"
        octets = body.format(tid=tid, upper=tid.upper(), short=tid[:-1]).encode() if isinstance(body, str) else body
        return build_request(
            "SEND", tid, [to], by, [("Message-ID", name), *headers], octets, flag,
            content_type=None if octets is None else kind,
        )  # fmt: skip

    # no body, an empty one, bodies that come close to an end-line
    yield one(None)
    yield one(None, ("Byte-Range", "1-0/0"))
    yield one(b"", ("Byte-Range", "1-0/0"))
    for body in (*LOOKALIKES, *NEAR_MISSES, b"-", b"$", bytes(range(256))):
        yield one(body)
    # Byte-Range, and the other two flags
    for span in ("1-*/5", "1-*/*", "1-5/*", "5-9/9", "5-*/9", "99999999996-100000000000/100000000000"):
        yield one(b"hello", ("Byte-Range", span))
    for span in ("3-7/9", "3-*/9"):
        yield one(b"hello", ("Byte-Range", span), flag="+")
    yield one(b"x" * 5000, ("Byte-Range", "1-*/100000"), flag="+")
    yield one(b"hello", ("Byte-Range", "1-*/100000"), flag="#")
    yield one(None, ("Byte-Range", "1-*/100000"), flag="#")
    # reports
    for success, failure in itertools.product((None, "yes", "no"), (None, "yes", "no", "partial")):
        wanted = [("Success-Report", success), ("Failure-Report", failure)]
        yield one(b"hello", *((name, value) for name, value in wanted if value is not None))
    # identifiers, paths, types, headers that nobody knows
    for tid in ("a1b2", "0" * 32, "A.b-c+d%e=f", "z..........", "7-------", "SEND", "a=%+-."):
        yield one("------{tid}$", tid=tid, name=tid)
    for uri in (
        "msrp://[::1]:2855/s1;tcp", "msrps://[2001:db8::7:1]:9000/a.b-c;tcp", "msrp://host.example:2855/s;tcp;x=y",
        "msrp://alice@a.example:1/s;tcp", "MSRP://A.example:65535/~a_b=c/d+e;tcp",
    ):  # fmt: skip
        yield one(b"hello", to=uri, by=(uri,))
        yield one(b"hello", to=uri, by=("msrps://relay.example:9000/hjdhfha;tcp", uri))
    for kind in ('multipart/mixed;boundary="a b"', "message/cpim", "text/plain;charset=UTF-8", "a/b;c=d;e=f"):
        yield one(b"hello", ("X-Unknown", "värde: 1:2 -------"), ("X-Empty", ""), kind=kind)


def in_segments(every: list[bytes]) -> Iterator[list[bytes]]:
    """Frames side by side, as many as go into one write."""
    batch: list[bytes] = []
    for octets in every:
        if batch and sum(map(len, batch)) + len(octets) > SEGMENT:
            yield batch
            batch = []
        batch.append(octets)
    yield batch


@pytest.mark.parametrize("transport", ["tcp", "tls", "tcp6", "tls6"])
async def test_frames_of_many_forms(peers: Peers, tmp_path: Path, transport: str) -> None:
    """One at a time, and then many in one segment."""
    async with Kamailio.start(peers, tmp_path).line(transport) as line:
        every = list(forms(line.peer, line.path))
        for batch in (*([octets] for octets in every), *in_segments(every)):
            await line.ask(b"".join(batch), len(batch))
            exchanges = line.exchanges()
            assert [exchange.request.octets() for exchange in exchanges] == batch
            for exchange in exchanges:
                exchange.check()
                assert exchange.request.violations == ()


@transports
async def test_a_frame_split_at_every_octet(peers: Peers, tmp_path: Path, transport: str) -> None:
    """Each segment ends one frame and begins the next, one octet further on.

    The answer to the one shows that Kamailio has read the beginning of the other before the rest is sent.
    """
    async with Kamailio.start(peers, tmp_path).line(transport) as line:
        body = b"a\r\n-------tid\r\n-------\r\n\0\xff"
        headers = [("Message-ID", "12339sdqwer"), ("Byte-Range", f"1-{len(body)}/{len(body)}")]
        rest, count = next(forms(line.peer, line.path)), 1
        for at in itertools.count(1):
            octets = build_request(
                "SEND", f"tid{at:05}", [line.peer], [line.path], headers, body, content_type="text/plain"
            )
            if at == len(octets):
                break
            await line.ask(rest + octets[:at], 1)
            rest, count = octets[at:], count + 1
        await line.ask(rest, 1)
        first, *exchanges = line.exchanges()
        first.check()
        assert len(exchanges) == count - 1 > 200
        for exchange in exchanges:
            exchange.check()
            assert exchange.request.body == body


@transports
async def test_a_connection_is_bound_and_a_report_is_not_answered(peers: Peers, tmp_path: Path, transport: str) -> None:
    async with Kamailio.start(peers, tmp_path).line(transport) as line:
        sender = MsrpSender((line.peer,), (line.path,))
        sender.bind()
        sender.submit(OutgoingMessage("m1aa", "text/plain", BytesContent(b"hello"), failure_report="yes"))
        assert (await Sending(line).run(sender))[-1] == Outcome("m1aa", True, 200)
        binding, message = line.exchanges()
        binding.check()
        message.check()
        assert (binding.request.body, str(binding.request.byte_range)) == (None, "1-0/0")

        report = MsrpReceiver((line.path,)).report(binding.request.head, 1, 5, 5)
        await line.ask(report + next(forms(line.peer, line.path)), 1)
        unanswered, answered = line.exchanges()
        assert (unanswered.request.method, unanswered.response) == ("REPORT", None)
        answered.check()


@transports
async def test_interrupted_and_abandoned_chunks(
    peers: Peers, tmp_path: Path, transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A chunk that our sender ends early with ``+``, and one that it gives up with ``#``, are whole frames."""
    monkeypatch.setattr(msrp_sender, "PIECE", 1000)
    async with Kamailio.start(peers, tmp_path).line(transport) as line:
        sending = Sending(line)
        sender = MsrpSender((line.peer,), (line.path,), chunk_size=None)
        octets = content(7000, 1000, random.Random(SEED))
        sender.submit(OutgoingMessage("m1aa", "text/plain", BytesContent(octets)))
        for _ in range(2):
            await line.connection.send(sender.next_octets(0.0) or b"")
            sender.interrupt()
            await line.connection.send(sender.next_octets(0.0) or b"")
        assert (await sending.run(sender))[-1] == Outcome("m1aa", True, 200)
        exchanges = line.exchanges()
        for exchange in exchanges:
            exchange.check()
            assert exchange.request.violations == ()
        chunks = [exchange.request for exchange in exchanges]
        assert [(str(chunk.byte_range), len(chunk.body or b""), chunk.flag) for chunk in chunks] == [
            ("1-*/7000", 1000, "+"), ("1001-*/7000", 1000, "+"), ("2001-*/7000", 5000, "$"),
        ]  # fmt: skip
        assert b"".join(chunk.body or b"" for chunk in chunks) == octets

        sender.submit(OutgoingMessage("m2aa", "text/plain", BytesContent(octets)))
        begun = sender.next_octets(0.0) or b""
        await line.connection.send(begun)
        opening = MsrpStream().feed(begun)[0]
        assert isinstance(opening, FrameBegin)
        (stop,) = frames(MsrpReceiver((line.path,)).report(opening.head, 1, 1000, 7000, status=413))
        assert sender.receive(stop, 0.0) == [Outcome("m2aa", False, 413, "refused with 413")]
        await line.ask(sender.next_octets(0.0) or b"", 1)
        (given_up,) = line.exchanges()
        given_up.check()
        assert (given_up.request.flag, given_up.request.body) == ("#", octets[:1000])


def responses_of(pieces: list[bytes]) -> list[MsrpHead]:
    """The responses that our receiver hands on to the sending side; it may find nothing else."""
    stream, receiver = MsrpStream(), MsrpReceiver(("msrp://b.example:2855/s2;tcp",))
    items = [item for piece in pieces for event in stream.feed(piece) for item in receiver.receive(event)]
    found = [item.head for item in items if isinstance(item, ForSender)]
    assert len(found) == len(items), items
    return found


async def test_its_responses_read_the_same_in_any_pieces(peers: Peers, tmp_path: Path) -> None:
    """What Kamailio writes, split at every octet: our receiver hands on the same responses each time."""
    async with Kamailio.start(peers, tmp_path).line("tcp") as line:
        await line.ask(b"".join(itertools.islice(forms(line.peer, line.path), 2)), 2)
        octets = bytes(line.received)
        whole = responses_of([octets])
        assert [head.status for head in whole] == [200] * 2
        for at in range(1, len(octets)):
            assert responses_of([octets[:at], octets[at:]]) == whole
        assert responses_of([octets[at : at + 1] for at in range(len(octets))]) == whole
