"""Whose frame is it: attribution by user, dialog, connection and account."""

from __future__ import annotations

from cpmspec.evidence.trace import Address, Frame, Kind, Pco, Role
from cpmspec.suite.ownership import Ownership

ALICE = "sip:alice@example.com"
BOB = "sip:bob@example.com"
PSI = "sip:deferred@example.com"


def request(
    method: str = "MESSAGE", *, uri: str = ALICE, to: str = ALICE, sender: str = PSI, call: str = "c1", more: str = ""
) -> bytes:
    return (
        f"{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:5060;branch=z9hG4bK1\r\n"
        f"From: <{sender}>;tag=1\r\nTo: <{to}>\r\nCall-ID: {call}\r\nCSeq: 1 {method}\r\n{more}"
        "Content-Length: 0\r\n\r\n"
    ).encode()


def response(*, to: str, sender: str, call: str) -> bytes:
    return (
        f"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 127.0.0.1:5060;branch=z9hG4bK1\r\nFrom: <{sender}>;tag=1\r\n"
        f"To: <{to}>;tag=2\r\nCall-ID: {call}\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n"
    ).encode()


def frame(octets: bytes, *, kind: Kind = Kind.DATA, connection: int = 0, sender: Role = Role.IUT) -> Frame:
    receiver = Role.CORE if sender is Role.IUT else Role.IUT
    address = Address("127.0.0.1", 5060)
    return Frame(0, 1, Pco.ISC, sender, receiver, "udp", address, address, connection, kind, octets)


def owned(**cases: str) -> Ownership:
    ownership = Ownership()
    for case, user in cases.items():
        ownership.own(case, [user], [f"account-{case}"])
    return ownership


def test_by_each_header_that_names_the_user() -> None:
    ownership = owned(A=ALICE)
    for octets in (
        request(to=ALICE, uri=PSI, sender=PSI, call="1"),
        request(to=PSI, uri=PSI, sender=ALICE, call="2"),
        request(to=PSI, uri="sip:ALICE@Example.com;x=y".replace("ALICE", "alice"), sender=PSI, call="3"),
        request(to=PSI, uri=PSI, call="4", more=f"P-Asserted-Identity: <{ALICE}>\r\n"),
        request(to=PSI, uri=PSI, call="5", more=f"P-Served-User: <{ALICE}>;sescase=term\r\n"),
    ):
        assert ownership.of_frame(frame(octets)) == ("A",)


def test_what_nobody_owns() -> None:
    assert owned(A=ALICE).of_frame(frame(request(to=BOB, uri=BOB))) == ()


def test_a_message_that_reaches_the_wrong_user_is_evidence_for_both() -> None:
    ownership = owned(A=ALICE, B=BOB)
    assert set(ownership.of_frame(frame(request(to=ALICE, uri=BOB)))) == {"A", "B"}


def test_in_a_dialog_by_call_id() -> None:
    ownership = owned(A=ALICE)
    ownership.of_frame(frame(request("INVITE", uri=PSI, to=PSI, sender=ALICE, call="dialog")))
    assert ownership.of_frame(frame(response(to=PSI, sender=PSI, call="dialog"))) == ("A",)
    assert ownership.of_frame(frame(response(to=PSI, sender=PSI, call="other"))) == ()


def test_a_pool_user_moves_to_the_next_case_but_his_old_dialog_does_not() -> None:
    ownership = owned(A=ALICE)
    ownership.of_frame(frame(request("INVITE", uri=PSI, to=PSI, sender=ALICE, call="old")))
    ownership.own("B", [ALICE], ["account-A"])
    assert ownership.of_frame(frame(response(to=PSI, sender=ALICE, call="old"))) == ("A",)
    assert ownership.of_frame(frame(request(to=ALICE, call="new"))) == ("B",)
    assert ownership.of_account("account-A") == ("B",)


def test_a_closed_case_gets_nothing_any_more() -> None:
    ownership = owned(A=ALICE)
    ownership.of_frame(frame(request(call="old")))
    ownership.disown("A")
    assert ownership.of_frame(frame(request(call="old"))) == ()
    assert ownership.of_account("account-A") == ()


def test_octets_that_no_parser_can_read_belong_to_whom_they_name() -> None:
    ownership = owned(A=ALICE)
    assert ownership.of_frame(frame(b"\x00 garbage sip:alice@example.com \xff\r\n\r\n")) == ("A",)
    assert ownership.of_frame(frame(b"\x00 garbage\r\n\r\n")) == ()


def test_the_rest_of_a_long_message_follows_its_beginning() -> None:
    ownership = owned(A=ALICE)
    ownership.of_frame(frame(request(), connection=7))
    assert ownership.of_frame(frame(b"the rest of its body", connection=7)) == ("A",)


def test_the_end_of_a_connection_belongs_to_all_that_it_carried() -> None:
    ownership = owned(A=ALICE, B=BOB)
    assert ownership.of_frame(frame(b"", kind=Kind.OPEN, connection=7)) == ()
    ownership.of_frame(frame(request(call="1"), connection=7))
    ownership.of_frame(frame(request(to=BOB, uri=BOB, call="2"), connection=7, sender=Role.CORE))
    assert ownership.of_frame(frame(b"", kind=Kind.CLOSE, connection=7)) == ("A", "B")
    assert ownership.of_frame(frame(b"", kind=Kind.CLOSE, connection=7)) == ()


def test_store_frames_by_account() -> None:
    ownership = owned(A=ALICE)
    assert ownership.of_account("account-A") == ("A",)
    assert ownership.of_account("account-B") == ()
    assert ownership.of_account(None) == ()
