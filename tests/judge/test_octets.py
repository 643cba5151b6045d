"""Messages are found with the frames that carried them, wherever these begin and end."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from cpmspec.evidence.context import Context
from cpmspec.evidence.trace import Address, Frame, Pco, Role, Trace
from cpmspec.judge.octets import msrp_messages, sip_messages, store_commands
from cpmspec.wire.msrp import build_request
from scene import Scene

IUT, CLIENT = Address("127.0.0.1", 2855), Address("127.0.0.1", 41000)
PATHS = ["msrp://127.0.0.1:41000/b;tcp"], ["msrp://127.0.0.1:2855/a;tcp"]
REPORT = build_request("REPORT", "trans1", *PATHS, [("Message-ID", "id01"), ("Status", "000 200 OK")], None)
SEND = build_request("SEND", "trans2", *PATHS, [("Message-ID", "id02")], b"some text", content_type="text/plain")


def spans(pieces: Iterable[bytes]) -> list[tuple[str, int, int]]:
    """Transaction id and indexes of the first and last piece of each message."""
    frames = [
        Frame(0, n, Pco.MSRP, Role.IUT, Role.CLIENT, "tcp", IUT, CLIENT, 1, octets=octets)
        for n, octets in enumerate(pieces)
    ]
    seen, wrong = msrp_messages(Trace.build(Context("case", ()), frames), Pco.MSRP)
    assert wrong == []
    return [(one.head.transaction_id, one.begin_us, one.end_us) for one in seen]


def test_a_message_begins_with_its_first_octet() -> None:
    """Not where its head is whole: whether it began before or after a BYE is judged by that."""
    for at in range(1, len(REPORT)):
        assert spans([SEND, REPORT[:at], REPORT[at:], SEND])[1:] == [("trans1", 1, 2), ("trans2", 3, 3)]
    for at in range(1, len(SEND)):
        assert spans([REPORT, SEND[:at], SEND[at:], REPORT])[1:] == [("trans2", 1, 2), ("trans1", 3, 3)]


def test_each_octet_in_a_frame_of_its_own() -> None:
    pieces = [bytes([octet]) for octet in REPORT + SEND]
    assert spans(pieces) == [("trans1", 0, len(REPORT) - 1), ("trans2", len(REPORT), len(REPORT + SEND) - 1)]


def test_a_frame_with_the_end_of_one_message_and_the_start_of_the_next() -> None:
    octets = REPORT + SEND + REPORT
    for at in range(1, len(REPORT)):
        pieces = [octets[:at], octets[at : len(REPORT) + at], octets[len(REPORT) + at :]]
        assert spans(pieces) == [("trans1", 0, 1), ("trans2", 1, 2), ("trans1", 2, 2)]


def test_sip_and_msrp_of_the_originator_are_told_apart() -> None:
    """Both cross the same point over TCP."""
    scene = Scene()
    scene.tcp = True
    scene.request(
        Role.CORE, Role.ORIGINATOR, "OPTIONS", "sip:o@example.com", "sip:c@example.com", "<sip:o>", "x", pco=Pco.MO
    )
    scene.put(Pco.MO, Role.IUT, Role.ORIGINATOR, SEND, connection=scene.connection("msrp"))
    trace = scene.trace()
    seen, wrong = sip_messages(trace)
    assert ([one.message.call_id for one in seen], wrong) == (["x"], [])
    assert [one.head.transaction_id for one in msrp_messages(trace, Pco.MO)[0]] == ["trans2"]


@pytest.mark.parametrize("body", [True, False])
def test_a_message_without_its_end(body: bool) -> None:
    scene = Scene()
    octets = SEND[: SEND.index(b"some")] if not body else SEND[:-18]
    scene.put(Pco.MSRP, Role.IUT, Role.CLIENT, octets, connection=1)
    ((one,), wrong) = msrp_messages(scene.trace(), Pco.MSRP)
    assert (one.flag, one.body, wrong) == (None, b"some text"[: 9 if body else 0], [])


def test_an_answer_of_the_store_to_nothing() -> None:
    scene = Scene()
    scene.imap((b"a1 NOOP\r\n", b"a1 OK\r\n"), (b"a2 NOOP\r\n", b"zz BAD what\r\na2 OK\r\n"))
    assert [(one.command.tag, one.answer) for one in store_commands(scene.trace())] == [("a1", b"OK"), ("a2", b"OK")]
