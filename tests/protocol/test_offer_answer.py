"""Direction, setup and who connects; which message may hold an offer or an answer, and what counts then."""

from __future__ import annotations

import pytest

from cpmspec.protocol.errors import LocalProtocolError, RemoteProtocolError
from cpmspec.protocol.offer_answer import OfferAnswer, answer_direction, choose_setup, connects
from cpmspec.protocol.offer_answer_table import ANSWERS, OFFER_ANSWER_ROWS, PATTERNS, TABLE, Carrier, Do, State
from cpmspec.wire.sdp import build_msrp_sdp
from cpmspec.wire.sip import SipRequest, SipResponse, build_request, response_to


@pytest.mark.parametrize(
    ("offered", "wanted", "answer"),
    [
        ("sendrecv", "sendrecv", "sendrecv"),
        ("recvonly", "sendrecv", "sendonly"),
        ("sendonly", "sendrecv", "recvonly"),
        ("inactive", "sendrecv", "inactive"),
        ("sendrecv", "sendonly", "sendonly"),
        ("sendrecv", "recvonly", "recvonly"),
        ("sendonly", "sendonly", "inactive"),
        ("recvonly", "sendonly", "sendonly"),
        ("sendrecv", "inactive", "inactive"),
    ],
)
def test_direction(offered: str, wanted: str, answer: str) -> None:
    assert answer_direction(offered, wanted) == answer


@pytest.mark.parametrize(
    ("offered", "answer"),
    [("active", "passive"), ("passive", "active"), ("actpass", "active"), ("ACTPASS", "active"), (None, "passive")],
)
def test_setup(offered: str | None, answer: str) -> None:
    assert choose_setup(offered) == answer


def test_setup_preference_decides_actpass_only() -> None:
    assert choose_setup("actpass", prefer="passive") == "passive"
    assert choose_setup("passive", prefer="passive") == "active"
    assert choose_setup("holdconn") == "holdconn"


@pytest.mark.parametrize(("answer", "offerer"), [("passive", True), ("active", False), (None, True)])
def test_exactly_one_side_connects(answer: str | None, offerer: bool) -> None:
    assert connects(answer, offerer=offerer)
    assert not connects(answer, offerer=not offerer)


def test_unknown_words_are_refused_with_488() -> None:
    for call in (answer_direction, choose_setup):
        with pytest.raises(RemoteProtocolError) as caught:
            call("sideways")
        assert caught.value.status == 488


# --- the machine -----------------------------------------------------------------------------------------------------

OFFER, ANSWER, OTHER = b"v=0\r\no=offer\r\n", b"v=0\r\no=answer\r\n", b"v=0\r\no=other\r\n"
SDP = ("Content-Type", "application/sdp")


def request(method: str, body: bytes = b"", number: int = 1) -> SipRequest:
    common = [
        ("Via", "SIP/2.0/TCP 192.0.2.17;branch=z9hG4bK1"),
        ("Max-Forwards", "70"),
        ("From", "<sip:a@example.com>;tag=a"),
        ("To", "<sip:b@example.org>;tag=b"),
        ("Call-ID", "one"),
        ("CSeq", f"{number} {method}"),
    ]
    return build_request(method, "sip:b@192.0.2.18", [*common, *([SDP] if body else [])], body)


def response(status: int, method: str = "INVITE", body: bytes = b"", number: int = 1) -> SipResponse:
    return response_to(request(method, number=number), status, None, [SDP] if body else [], body)


class Talk:
    """A machine and a shorthand for what passes: ``sent`` by us if it begins with ``>``, else received."""

    def __init__(self, *, established: bool = False) -> None:
        self.machine = OfferAnswer(established=established)

    def __call__(self, what: str, body: bytes = b"", number: int = 1) -> Talk:
        way, name, method = what[0], what[1:].split()[0], what.split()[-1].lstrip("<>")
        one = response(int(name), method, body, number) if name.isdigit() else request(name, body, number)
        (self.machine.sent if way == ">" else self.machine.received)(one)
        return self

    @property
    def agreed(self) -> tuple[bytes, bytes] | None:
        agreed = self.machine.agreed
        return None if agreed is None else (agreed.ours, agreed.theirs)


def test_offer_in_invite_answer_in_2xx() -> None:
    talk = Talk()(">INVITE", OFFER)
    assert (talk.machine.state, talk.agreed) == (State.LOCAL_OFFER, None)
    talk("<100 INVITE")("<180 INVITE")("<200 INVITE", ANSWER)(">ACK")
    assert (talk.machine.state, talk.agreed, talk.machine.pending) == (State.STABLE, (OFFER, ANSWER), None)


def test_the_same_at_the_other_side() -> None:
    talk = Talk()("<INVITE", OFFER)(">180 INVITE")(">200 INVITE", ANSWER)("<ACK")
    assert (talk.machine.state, talk.agreed) == (State.STABLE, (ANSWER, OFFER))


@pytest.mark.parametrize(("ours", "theirs"), [("<", ">"), (">", "<")])
def test_offer_in_2xx_answer_in_ack(ours: str, theirs: str) -> None:
    talk = Talk()(f"{theirs}INVITE")(f"{ours}200 INVITE", OFFER)(f"{theirs}ACK", ANSWER)
    assert talk.machine.state is State.STABLE
    assert talk.agreed == ((OFFER, ANSWER) if ours == ">" else (ANSWER, OFFER))


def test_the_first_answer_counts_and_2xx_repeats_it() -> None:
    talk = Talk()(">INVITE", OFFER)("<183 INVITE", ANSWER)
    assert (talk.machine.state, talk.agreed) == (State.LOCAL_EARLY, (OFFER, ANSWER))
    talk("<183 INVITE", OTHER)("<200 INVITE", OTHER)
    assert (talk.machine.state, talk.agreed) == (State.STABLE, (OFFER, ANSWER))
    other = Talk()("<INVITE", OFFER)(">183 INVITE", ANSWER)(">183 INVITE", ANSWER)(">200 INVITE")
    assert (other.machine.state, other.agreed) == (State.STABLE, (ANSWER, OFFER))
    assert Talk()(">INVITE", OFFER)("<183 INVITE", ANSWER)("<200 INVITE").machine.state is State.STABLE


@pytest.mark.parametrize(("ours", "theirs"), [("<", ">"), (">", "<")])
def test_a_refused_first_offer_leaves_nothing(ours: str, theirs: str) -> None:
    talk = Talk()(f"{ours}INVITE", OFFER)(f"{theirs}488 INVITE")(f"{ours}ACK")
    assert (talk.machine.state, talk.agreed) == (State.IDLE, None)
    early = Talk()(f"{ours}INVITE", OFFER)(f"{theirs}183 INVITE", ANSWER)(f"{theirs}486 INVITE")
    assert (early.machine.state, early.agreed) == (State.IDLE, None)


@pytest.mark.parametrize(("ours", "theirs"), [("<", ">"), (">", "<")])
def test_a_refused_later_offer_keeps_the_old(ours: str, theirs: str) -> None:
    talk = Talk()(">INVITE", OFFER)("<200 INVITE", ANSWER)
    talk(f"{ours}INVITE", OTHER, 2)(f"{theirs}488 INVITE", b"", 2)
    assert (talk.machine.state, talk.agreed) == (State.STABLE, (OFFER, ANSWER))
    talk(f"{ours}INVITE", OTHER, 3)(f"{theirs}183 INVITE", OTHER, 3)
    assert talk.agreed == (OTHER, OTHER)
    talk(f"{theirs}488 INVITE", b"", 3)
    assert (talk.machine.state, talk.agreed) == (State.STABLE, (OFFER, ANSWER))
    talk(f"{ours}UPDATE", OTHER, 4)(f"{theirs}488 INVITE", b"", 4)
    assert talk.machine.pending is not None
    talk(f"{theirs}200 UPDATE", OTHER, 4)
    assert talk.agreed == (OTHER, OTHER)


def test_a_machine_of_a_later_call_knows_that_there_was_one() -> None:
    talk = Talk(established=True)(">INVITE", OFFER)("<488 INVITE")
    assert (talk.machine.state, talk.agreed) == (State.STABLE, None)


def test_an_offer_whose_transaction_just_ends_is_dropped() -> None:
    talk = Talk()(">INVITE", OFFER)
    talk.machine.gave_up()
    talk.machine.gave_up()
    assert talk.machine.state is State.IDLE


def test_offers_that_cross() -> None:
    talk = Talk()(">INVITE", OFFER)("<200 INVITE", ANSWER)(">INVITE", OTHER, 2)
    with pytest.raises(RemoteProtocolError) as caught:
        talk("<INVITE", OTHER, 2)
    assert caught.value.status == 491
    talk(">491 INVITE", b"", 2)
    assert talk.machine.state is State.LOCAL_OFFER
    with pytest.raises(LocalProtocolError, match="not allowed here"):
        talk(">UPDATE", OTHER, 3)
    talk("<200 INVITE", ANSWER, 2)("<UPDATE", OFFER, 3)
    with pytest.raises(RemoteProtocolError) as caught:
        talk("<INVITE", OTHER, 4)
    assert caught.value.status == 500


@pytest.mark.parametrize(("before", "last"), [(">INVITE", "<200 INVITE"), ("<INVITE", ">200 INVITE")])
def test_a_2xx_has_to_answer(before: str, last: str) -> None:
    talk = Talk()(before, OFFER)
    with pytest.raises(RemoteProtocolError if last[0] == "<" else LocalProtocolError, match="no answer in the 2xx"):
        talk(last)
    assert talk.machine.state is State.IDLE


def test_an_ack_has_to_answer_and_may_not_without_an_offer() -> None:
    talk = Talk()("<INVITE")(">200 INVITE", OFFER)
    with pytest.raises(RemoteProtocolError, match="no answer in the ACK"):
        talk("<ACK")
    with pytest.raises(RemoteProtocolError, match="answers no offer"):
        talk("<ACK", ANSWER)
    with pytest.raises(LocalProtocolError, match="answers no offer"):
        talk(">ACK", ANSWER)
    assert talk.agreed is None


def test_what_is_no_description_is_not_looked_at() -> None:
    talk = Talk()("<183 INVITE", OFFER)("<MESSAGE", b"v=0")("<200 BYE", b"v=0")("<200 UPDATE")("<302 UPDATE")
    assert talk.machine.state is State.IDLE
    text = build_request("INVITE", "sip:b@192.0.2.18", [*_pairs(), ("Content-Type", "text/plain")], b"v=0")
    talk.machine.sent(text)
    assert talk.machine.state is State.IDLE
    bare = response(200, body=OFFER)
    talk.machine.received(bare.with_headers(bare.headers.without("CSeq")))
    assert talk.machine.state is State.IDLE


def _pairs() -> list[tuple[str, str]]:
    return [(header.name, header.value) for header in request("INVITE").headers.without("Content-Length")]


def test_what_is_wrong_with_the_peers_description() -> None:
    def side(setup: str, port: int) -> bytes:
        return build_msrp_sdp(
            host="192.0.2.1", port=port, path=[f"msrp://192.0.2.1:{port}/x;tcp"], setup=setup, accept_types=["*"],
            session_id=1, version=1,
        )  # fmt: skip

    answered = Talk()(">INVITE", side("actpass", 7))("<200 INVITE", side("actpass", 8)).machine.agreed
    offered = Talk()("<INVITE", side("passive", 7))(">200 INVITE", side("active", 9)).machine.agreed
    assert answered is not None
    assert offered is not None
    assert [wrong.id for wrong in answered.violations] == ["SDP-4145-4.1-01"]
    assert [wrong.id for wrong in offered.violations] == ["SDP-6135-4.2.2-01"]


def test_each_row_cites_a_clause_and_stands_once() -> None:
    assert len(TABLE) == len(OFFER_ANSWER_ROWS)
    assert all(row.section.startswith("RFC ") for row in OFFER_ANSWER_ROWS)
    assert all(pattern.section.startswith("RFC ") for pattern in PATTERNS)
    assert {action for row in OFFER_ANSWER_ROWS for action in row.actions} == set(Do)
    assert {row.next for row in OFFER_ANSWER_ROWS} == set(State)
    assert ANSWERS[Carrier.INVITE] == (Carrier.EARLY, Carrier.SUCCESS)
