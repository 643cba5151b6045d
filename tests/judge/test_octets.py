"""Messages are found with the frames that carried them, wherever these begin and end."""

from __future__ import annotations

from collections.abc import Iterable

from cpmspec.evidence.context import Context
from cpmspec.evidence.trace import Address, Frame, Pco, Role, Trace
from cpmspec.judge.octets import msrp_messages
from cpmspec.wire.msrp import build_request

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
