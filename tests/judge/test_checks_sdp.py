"""Offers, answers and what was agreed on: the octets that break each rule, and the legal neighbours that must not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from cpmspec.evidence.trace import Pco, Role
from cpmspec.judge.facts import Facts
from cpmspec.judge.media import media_of
from cpmspec.judge.verdict import Grade, Verdict
from scene import ALICE, Scene, Session, sdp

QUIET = replace(ALICE, history=False)
PUSHED = replace(QUIET, establishment="push")

FAIL, PASS = {(Verdict.FAIL, Grade.STRICT)}, {(Verdict.PASS, Grade.STRICT)}
REMARK, OPEN = {(Verdict.PASS, Grade.NON_STRICT)}, {(Verdict.INCONC, Grade.STRICT)}
NONE: set[tuple[Verdict, Grade]] = set()

Told = set[tuple[Verdict, Grade]]
Build = Callable[[], Scene]


def delivery(
    offer: Mapping[str, str] | None = None,
    pf: Mapping[str, str] | None = None,
    *,
    push: bool = False,
    sends: bool = True,
    path: str | None = None,
    bend: Callable[[Session], None] | None = None,
    content_type: str = "multipart/mixed;boundary=b0und",
    by_pf: bool | None = None,
    cut: int | None = None,
) -> Scene:
    """A session with one message; ``offer`` are the client's attributes, ``pf`` the PF's, ``by_pf``: who connects."""
    user = PUSHED if push else QUIET
    scene = Scene(user)
    sent = scene.defer(user=user)
    scene.wait(5)
    session = scene.session(user, offer=offer, pf=pf, path=path)
    if bend is not None:
        bend(session)
    if by_pf is not None:
        scene.open(Pco.MSRP, Role.IUT if by_pf else Role.CLIENT, session.connection)
    if sends:
        session.send(replace(session.wrap(sent), content_type=content_type), cut=cut, chunks=2 if cut else 1)
    session.bye()
    return scene


def bent(octets: bytes, by: bytes, *, of_pf: bool = True, **options: Any) -> Scene:
    """A delivery with other octets in the descriptions of one side."""
    scene = delivery(**options)
    scene.frames = [
        replace(frame, octets=_resized(frame.octets, octets, by))
        if frame.from_iut is of_pf and frame.pco is Pco.ISC
        else frame
        for frame in scene.frames
    ]
    return scene


def _resized(message: bytes, octets: bytes, by: bytes) -> bytes:
    head, _, body = message.partition(b"\r\n\r\n")
    if octets not in body:
        return message
    body = body.replace(octets, by)
    lines = [line for line in head.split(b"\r\n") if not line.startswith(b"Content-Length")]
    return b"\r\n".join([*lines, b"Content-Length: %d" % len(body), b"", body])


def anew(version: int, attribute: str = "") -> Scene:
    """The client offers anew in the dialog, and the PF answers with this version of its description."""

    def again(session: Session) -> None:
        more = session.pf_sdp.replace(b"o=- 1 1 ", b"o=- 1 %d " % version) + attribute.encode()
        session.pf_sdp = more
        session.again()

    return delivery(bend=again)


def no_answer_at_all() -> Scene:
    """Nothing was agreed on: no session, and no rule about one."""
    scene = Scene(QUIET)
    scene.defer()
    scene.session(status=488)
    return scene


def early_offer_refused() -> Scene:
    """The PF rejects the media in a 200."""
    return bent(b"m=message 5060", b"m=message 0", sends=False)


RULES: list[tuple[str, str, Build, Told]] = [
    ("passive in an offer", "SDP-6135-4.2.2-01", lambda: delivery(push=True, pf={"setup": "passive"}), FAIL),
    ("actpass in an offer", "SDP-6135-4.2.2-01", lambda: delivery(push=True, pf={"setup": "actpass"}), PASS),
    ("passive in an answer", "SDP-6135-4.2.2-01", lambda: delivery({"setup": "actpass"}, {"setup": "passive"}), NONE),
    ("another protocol", "SDP-3264-6-03", lambda: bent(b"TCP/MSRP", b"TCP/TLS/MSRP"), OPEN),
    ("the same protocol", "SDP-3264-6-03", delivery, PASS),
    ("the client's fault", "SDP-3264-6-03", lambda: delivery(push=True), NONE),
    (
        "sendonly to sendonly",
        "SDP-3264-6.1-01",
        lambda: delivery({"direction": "sendonly"}, {"direction": "sendonly"}),
        FAIL,
    ),
    (
        "sendonly to recvonly",
        "SDP-3264-6.1-01",
        lambda: delivery({"direction": "recvonly"}, {"direction": "sendonly"}),
        PASS,
    ),
    ("active to active", "SDP-4145-4.1-01", lambda: delivery({"setup": "active"}, {"setup": "active"}), FAIL),
    ("passive to active", "SDP-4145-4.1-01", lambda: delivery({"setup": "active"}, {"setup": "passive"}), PASS),
    ("another media", "SDP-3264-6-02", lambda: bent(b"m=message", b"m=audio"), NONE),
    ("the same version with something else", "SDP-3264-8-03", lambda: anew(1, "a=note:more\r\n"), FAIL),
    ("the next version", "SDP-3264-8-03", lambda: anew(2, "a=note:more\r\n"), PASS),
    ("a version left out", "SDP-3264-8-02", lambda: anew(5, "a=note:more\r\n"), FAIL),
    ("nothing new", "SDP-3264-8-02", lambda: anew(1), PASS),
    ("only one description", "SDP-3264-8-02", delivery, NONE),
    ("nothing agreed on", "SDP-3264-6-03", no_answer_at_all, NONE),
    ("media rejected", "SDP-4975-8.6-21", early_offer_refused, NONE),
    ("a type that is not listed", "SDP-4975-8.6-21", lambda: delivery({"accept-types": "text/plain"}), FAIL),
    ("a type that is listed", "SDP-4975-8.6-21", delivery, PASS),
    ("a type that a wildcard covers", "SDP-4975-8.6-21", lambda: delivery({"accept-types": "multipart/*"}), PASS),
    ("no list at all", "SDP-4975-8.6-21", lambda: bent(b"a=accept-types", b"a=other", of_pf=False), PASS),
    ("no type at all", "SDP-4975-8.6-21", lambda: delivery(content_type="nothing"), NONE),
    ("nobody's message", "SDP-4975-8.6-21", lambda: stray(), NONE),
    (
        "an inner type that is not listed",
        "SDP-4975-8.6-22",
        lambda: delivery({"accept-wrapped-types": "text/plain"}),
        FAIL,
    ),
    (
        "inner types that are listed",
        "SDP-4975-8.6-22",
        lambda: delivery({"accept-wrapped-types": "message/sipfrag text/plain"}),
        PASS,
    ),
    (
        "inner types that are listed outside",
        "SDP-4975-8.6-22",
        lambda: delivery({"accept-types": "*", "accept-wrapped-types": "a/b"}),
        PASS,
    ),
    ("no list of inner types", "SDP-4975-8.6-22", lambda: bent(b"a=accept-", b"a=other-", of_pf=False), PASS),
    ("half a multipart", "SDP-4975-8.6-22", lambda: delivery({"accept-wrapped-types": "text/plain"}, cut=1), NONE),
    ("too large", "SDP-4975-8.6-23", lambda: delivery({"max-size": "100"}), REMARK),
    ("small enough", "SDP-4975-8.6-23", lambda: delivery({"max-size": "5000"}), PASS),
    ("without a limit", "SDP-4975-8.6-23", delivery, NONE),
    ("half of what is too large", "SDP-4975-8.6-23", lambda: delivery({"max-size": "100"}, cut=1), NONE),
    ("to who only sends", "SDP-4975-8.9-21", lambda: delivery({"direction": "sendonly"}), OPEN),
    ("from who only receives", "SDP-4975-8.9-21", lambda: delivery(pf={"direction": "recvonly"}), OPEN),
    (
        "to who receives",
        "SDP-4975-8.9-21",
        lambda: delivery({"direction": "recvonly"}, {"direction": "sendonly"}),
        PASS,
    ),
    ("nobody's direction", "SDP-4975-8.9-21", lambda: stray(), NONE),
    (
        "the passive one connects",
        "SDP-4145-4.1-21",
        lambda: delivery({"setup": "active"}, {"setup": "passive"}, by_pf=True),
        FAIL,
    ),
    (
        "the active one connects",
        "SDP-4145-4.1-21",
        lambda: delivery({"setup": "passive"}, {"setup": "active"}, by_pf=True),
        PASS,
    ),
    (
        "the peer connects",
        "SDP-4145-4.1-21",
        lambda: delivery({"setup": "actpass"}, {"setup": "passive"}, by_pf=False),
        PASS,
    ),
    (
        "who is to connect was left open",
        "SDP-4145-4.1-21",
        lambda: delivery({"setup": "active"}, {"setup": "active"}, by_pf=True),
        NONE,
    ),
    (
        "nobody was seen to connect",
        "SDP-4145-4.1-21",
        lambda: delivery({"setup": "active"}, {"setup": "passive"}),
        NONE,
    ),
    ("the answerer connects unasked", "SDP-4975-8.5-21", lambda: delivery(by_pf=True), FAIL),
    ("the offerer connects unasked", "SDP-4975-8.5-21", lambda: delivery(push=True, by_pf=True), PASS),
    ("to the first URI", "SDP-4975-8.2-21", lambda: delivery(push=True, by_pf=True), PASS),
    (
        "to a name",
        "SDP-4975-8.2-21",
        lambda: delivery(push=True, by_pf=True, path="msrp://client.example.com:5080/c;tcp"),
        PASS,
    ),
    (
        "to the last URI",
        "SDP-4975-8.2-21",
        lambda: delivery(push=True, by_pf=True, path="msrp://192.0.2.9:5080/r;tcp msrp://127.0.0.1:5080/c;tcp"),
        FAIL,
    ),
    (
        "to another port",
        "SDP-4975-8.2-21",
        lambda: delivery(push=True, by_pf=True, path="msrp://127.0.0.1:5081/c;tcp"),
        FAIL,
    ),
    (
        "to a URI without a port",
        "SDP-4975-8.2-21",
        lambda: delivery(push=True, by_pf=True, path="msrp://127.0.0.1/c;tcp"),
        NONE,
    ),
    ("by the peer", "SDP-4975-8.2-21", lambda: delivery(by_pf=False), NONE),
    ("to the m-line with msrp-cema", "SDP-4975-8.2-21", lambda: cema(answered=True, by_pf=True), PASS),
    ("an answer without msrp-cema, used", "SDP-6714-4.2-21", lambda: cema(answered=False), FAIL),
    ("an answer without msrp-cema, not used", "SDP-6714-4.2-21", lambda: cema(answered=False, sends=False), PASS),
    ("an answer with msrp-cema", "SDP-6714-4.2-21", lambda: cema(answered=True), NONE),
    ("an answer to an offer without msrp-cema", "SDP-6714-4.2-21", lambda: delivery(push=True), NONE),
    ("an answer of the PF", "SDP-6714-4.2-21", delivery, NONE),
]


def cema(*, answered: bool, **options: Any) -> Scene:
    """The PF offers msrp-cema; the client's lines are not its path's."""
    path = "msrp://198.51.100.7:2855/c;tcp"
    more = "*\r\na=msrp-cema" if answered else "*"
    scene = delivery(
        {"accept-wrapped-types": more}, {"accept-wrapped-types": "*\r\na=msrp-cema"}, push=True, path=path, **options
    )
    scene.frames = [
        replace(frame, octets=frame.octets.replace(b"m=message 2855", b"m=message 5080"))
        if not frame.from_iut
        else frame
        for frame in scene.frames
    ]
    return scene


def stray() -> Scene:
    """A SEND that belongs to no session that was agreed on."""
    scene = Scene(QUIET)
    sent = scene.defer()
    session = scene.session(answered=False)
    session.send(session.wrap(sent))
    return scene


@pytest.mark.parametrize(
    ("requirement", "build", "told"), [row[1:] for row in RULES], ids=[f"{row[1]}-{row[0]}" for row in RULES]
)
def test_the_octets_that_break_a_rule_and_their_legal_neighbours(requirement: str, build: Build, told: Told) -> None:
    found = [one for one in build().judge().findings if one.requirement == requirement]
    assert {(one.verdict, one.grade) for one in found} == told


def test_an_offer_in_the_2xx_is_answered_in_the_ack() -> None:
    scene = Scene(PUSHED)
    copied = scene.request(
        Role.CORE, Role.IUT, "INVITE", "sip:deferred@example.com", "sip:a@example.com", "<sip:b>", "late"
    )
    typed = [("Content-Type", "application/sdp")]
    offer, answer = sdp("msrp://127.0.0.1:5060/pf;tcp"), sdp("msrp://127.0.0.1:5080/cl;tcp")
    for _ in range(2):
        scene.response(Role.IUT, Role.CORE, 200, copied, typed, offer)
    ack = [(name, value) for name, value in copied if name != "CSeq"]
    for _ in range(2):
        scene.sip(Role.CORE, Role.IUT, "ACK sip:pf SIP/2.0", [*ack, ("CSeq", "1 ACK"), *typed], answer)
    (session,) = media_of(Facts(scene.trace())).sessions
    assert len(session.exchanges) == 1
    assert (session.exchanges[0].offer.from_iut, session.own_ids, session.peer_ids) == (
        True,
        frozenset({"pf"}),
        frozenset({"cl"}),
    )


def test_what_the_pf_passes_on_is_no_session_of_its_own() -> None:
    scene = Scene(QUIET)
    typed = [("Content-Type", "application/sdp")]
    offer, answer = sdp("msrp://127.0.0.1:5090/or;tcp"), sdp("msrp://127.0.0.1:5080/cl;tcp")
    for sender, receiver in ((Role.CORE, Role.IUT), (Role.IUT, Role.CORE)):
        copied = scene.request(
            sender, receiver, "INVITE", "sip:a@example.com", "sip:b@example.com", "<sip:a>", "x", typed, offer
        )
    for sender, receiver in ((Role.CORE, Role.IUT), (Role.IUT, Role.CORE)):
        scene.response(sender, receiver, 200, copied, typed, answer)
    scene.sip(Role.CORE, Role.IUT, "OPTIONS sip:pf SIP/2.0", [("Call-ID", "x")])
    assert media_of(Facts(scene.trace())).sessions == ()


def test_the_session_ends_with_the_first_bye() -> None:
    scene = delivery()
    (session,) = media_of(Facts(scene.trace())).sessions
    first = next(frame for frame in scene.frames if frame.octets.startswith(b"BYE"))
    assert session.ended_us == first.time_us
    assert session.begin_us < first.time_us
