"""Offer, answer, and a description that follows another."""

from __future__ import annotations

import pytest

from corpora import told
from cpmspec.wire.sdp import Sdp, build_msrp_sdp, parse_sdp
from cpmspec.wire.sdp_rules import answer_violations, offer_violations, revision_violations

SIDE = """v=0
o=- 77 4 IN IP4 192.0.2.17
s=-
c=IN IP4 192.0.2.17
t=0 0
m=audio 0 RTP/AVP 0
m=message 7101 TCP/MSRP *
a=accept-types:*
a=path:msrp://192.0.2.17:7101/q8w2;tcp
a=setup:actpass
a=sendrecv
"""


def side(*changes: tuple[str, str]) -> Sdp:
    text = SIDE
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    return parse_sdp(text.replace("\n", "\r\n").encode())


def at(description: Sdp, text: str) -> int:
    return description.octets().index(text.encode())


ACTIVE = ("a=setup:actpass", "a=setup:active")
PASSIVE = ("a=setup:actpass", "a=setup:passive")
NO_SETUP = ("a=setup:actpass\n", "")
HOLDCONN = ("a=setup:actpass", "a=setup:holdconn")


def direction(word: str) -> tuple[str, str]:
    return ("a=sendrecv", f"a={word}")


def test_what_is_built_for_offer_and_answer_is_right() -> None:
    assert side().violations == ()
    offer = build_msrp_sdp(
        host="192.0.2.1", port=1, path=["msrp://192.0.2.1:1/x;tcp"], setup="actpass", accept_types=["*"],
        direction="sendonly", session_id=1, version=1,
    )  # fmt: skip
    answer = build_msrp_sdp(
        host="192.0.2.2", port=9, path=["msrp://192.0.2.2:2/y;tcp"], setup="active", accept_types=["*"],
        direction="recvonly", session_id=1, version=1,
    )  # fmt: skip
    assert offer_violations(parse_sdp(offer)) == ()
    assert answer_violations(parse_sdp(offer), parse_sdp(answer)) == ()


def test_an_offer_is_not_passive() -> None:
    offer = side(PASSIVE)
    assert told(offer_violations(offer)) == (f"SDP-6135-4.2.2-01@{at(offer, 'a=setup')}",)
    assert offer_violations(side(PASSIVE, ("message 7101", "message 0"))) == ()
    assert offer_violations(side(PASSIVE, ("TCP/MSRP", "TCP/BFCP"))) == ()


@pytest.mark.parametrize(
    ("offer", "answer", "rule", "place"),
    [
        ((), (("m=audio 0 RTP/AVP 0\n", ""),), "SDP-3264-6-01", None),
        ((("m=audio 0 RTP/AVP 0\n", ""),), (PASSIVE,), "SDP-3264-6-01", "m=message"),
        ((), (PASSIVE, ("t=0 0", "t=3946684800 0")), "SDP-3264-6-04", "t="),
        ((), (PASSIVE, ("t=0 0\n", "")), "SDP-3264-6-04", "v="),
        ((), (PASSIVE, ("m=audio", "m=video")), "SDP-3264-6-02", "m=video"),
        ((), (PASSIVE, ("TCP/MSRP", "TCP/TLS/MSRP")), "SDP-3264-6-03", "m=message"),
        ((("message 7101", "message 0"),), (PASSIVE,), "SDP-3264-6-05", "m=message"),
        ((direction("sendonly"),), (PASSIVE,), "SDP-3264-6.1-01", "a=sendrecv"),
        ((direction("sendonly"),), (PASSIVE, direction("sendonly")), "SDP-3264-6.1-01", "a=sendonly"),
        ((direction("recvonly"),), (PASSIVE, direction("recvonly")), "SDP-3264-6.1-01", "a=recvonly"),
        ((direction("inactive"),), (PASSIVE, ("a=sendrecv\n", "")), "SDP-3264-6.1-01", "m=message"),
        ((), (), "SDP-4145-4.1-01", "a=setup"),
        ((ACTIVE,), (ACTIVE,), "SDP-4145-4.1-01", "a=setup"),
        ((NO_SETUP,), (ACTIVE,), "SDP-4145-4.1-01", "a=setup"),
        ((("IP4 192.0.2.17\nt", "IP4 192.0.2.80\nt"),), (PASSIVE,), "SDP-6714-4.3-01", "m=message"),
    ],
)
def test_a_wrong_answer(
    offer: tuple[tuple[str, str], ...], answer: tuple[tuple[str, str], ...], rule: str, place: str | None
) -> None:
    given = side(*answer)
    offset = len(given.octets()) if place is None else at(given, place)
    found = told(answer_violations(side(*offer), given))
    if rule == "SDP-3264-6-01":
        assert f"{rule}@{offset}" in found
    else:
        assert found == (f"{rule}@{offset}",)


def test_an_answer_with_more_m_lines_is_told_at_the_first_of_them() -> None:
    given = side(PASSIVE, ("m=message", "m=video 0 RTP/AVP 31\nm=message"))
    offer = side(("m=message", "m=video 0 RTP/AVP 31\nm=application"))
    text = given.octets() + b"m=audio 0 RTP/AVP 0\r\n"
    assert told(answer_violations(given, parse_sdp(text)))[-1] == f"SDP-3264-6-01@{len(given.octets())}"
    assert told(answer_violations(offer, given)) == (f"SDP-3264-6-02@{at(given, 'm=message')}",)


@pytest.mark.parametrize(
    ("offer", "answer"),
    [
        ((), (PASSIVE,)),
        ((), (ACTIVE,)),
        ((), (HOLDCONN,)),
        ((HOLDCONN,), ()),
        ((ACTIVE,), (NO_SETUP,)),
        ((NO_SETUP,), (PASSIVE,)),
        ((PASSIVE,), (ACTIVE,)),
        ((PASSIVE,), (NO_SETUP,)),
        ((), (("message 7101 TCP/MSRP", "message 0 TCP/TLS/MSRP"),)),
        ((("a=setup:actpass", "a=setup:sideways"),), ()),
        ((), (("message 7101", "message 0"), direction("inactive"))),
        ((("message 7101", "message 0"),), (("message 7101", "message 0"),)),
        ((direction("sendonly"),), (PASSIVE, direction("inactive"))),
        ((("IP4 192.0.2.17\nt", "IP4 192.0.2.80\nt"),), (("message 7101", "message 0"),)),
        ((("IP4 192.0.2.17\nt", "IP4 192.0.2.80\nt"), ("a=sendrecv", "a=msrp-cema")), (PASSIVE,)),
        ((("IP4 192.0.2.17\nt", "IP4 pf.example.com\nt"),), (PASSIVE,)),
        ((("m=audio 0 RTP/AVP 0", "m=audio"),), (PASSIVE,)),
        ((), (PASSIVE, ("m=audio 0 RTP/AVP 0", "m=audio"))),
        ((("TCP/MSRP", "TCP/BFCP"),), (("TCP/MSRP", "TCP/BFCP"),)),
    ],
)
def test_a_right_answer(offer: tuple[tuple[str, str], ...], answer: tuple[tuple[str, str], ...]) -> None:
    assert answer_violations(side(*offer), side(*answer)) == ()


@pytest.mark.parametrize(
    ("changes", "rule", "place"),
    [
        ((("- 77 4", "- 78 4"),), "SDP-3264-8-01", "o="),
        ((("- 77 4", "me 77 5"), direction("sendonly")), "SDP-3264-8-01", "o="),
        ((direction("sendonly"),), "SDP-3264-8-03", "o="),
        ((direction("sendonly"), ("- 77 4", "- 77 6")), "SDP-3264-8-02", "o="),
        ((direction("sendonly"), ("- 77 4", "- 77 3")), "SDP-3264-8-02", "o="),
        ((("m=audio 0 RTP/AVP 0\n", ""), ("- 77 4", "- 77 5")), "SDP-3264-8-04", None),
    ],
)
def test_a_wrong_revision(changes: tuple[tuple[str, str], ...], rule: str, place: str | None) -> None:
    current = side(*changes)
    offset = len(current.octets()) if place is None else at(current, place)
    assert told(revision_violations(side(), current)) == (f"{rule}@{offset}",)


@pytest.mark.parametrize(
    "changes",
    [
        (),
        (("/q8w2;tcp", "/other;tcp"),),
        (direction("sendonly"), ("- 77 4", "- 77 5")),
        (("- 77 4", "- 77 5"),),
        (("- 77 4", "- 4"), direction("sendonly")),
    ],
)
def test_a_right_revision(changes: tuple[tuple[str, str], ...]) -> None:
    assert revision_violations(side(), side(*changes)) == ()


def test_versions_of_any_length_are_compared() -> None:
    before, after = ("- 77 4", "- 77 " + "9" * 6000 + "1"), ("- 77 4", "- 77 " + "9" * 6000 + "2")
    assert revision_violations(side(before), side(after, direction("sendonly"))) == ()
    assert len(revision_violations(side(after), side(before, direction("sendonly")))) == 1
