"""Rules about the transactions of the IUT: branches, retransmissions, the ACK to a refusal, CANCEL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from cpmspec.evidence.trace import Pco, Role
from cpmspec.judge.checks import sip_transaction_rules
from cpmspec.judge.verdict import Verdict
from scene import ALICE, PSI, Scene, acknowledge, verdicts

PASS, FAIL, INCONC = Verdict.PASS, Verdict.FAIL, Verdict.INCONC
Pairs = Sequence[tuple[str, str]]
PUSHED = replace(ALICE, establishment="push", history=False)
VIA = "SIP/2.0/UDP 127.0.0.1:9;branch="


def found(scene: Scene, rule: str) -> list[Verdict]:
    return verdicts(scene, sip_transaction_rules.RULES, rule)


def sent(
    scene: Scene, method: str, branch: str, *, number: int = 1, call: str = "c", to: str = "<sip:alice@example.com>",
    uri: str = "sip:alice@example.com", extra: Pairs = (), ours: bool = False,
) -> list[tuple[str, str]]:  # fmt: skip
    """A request of the IUT (``ours``: to the IUT); without a branch, its Via has none."""
    via = f"{VIA}{branch}" if branch else VIA.removesuffix(";branch=")
    copied = [("Via", via), ("From", "<sip:pf>;tag=f"), ("To", to), ("Call-ID", call), ("CSeq", f"{number} {method}")]
    ends = (Role.CORE, Role.IUT) if ours else (Role.IUT, Role.CORE)
    scene.sip(*ends, f"{method} {uri} SIP/2.0", [*copied, ("Max-Forwards", "70"), *extra])
    return copied


# --- branches --------------------------------------------------------------------------------------------------------

MARKED, NEW = "SIP-3261-8.1.1.7-01", "SIP-3261-8.1.1.7-02"


@pytest.mark.parametrize(
    ("branch", "expected"), [("z9hG4bKx", [PASS]), ("Z9HG4BKx", [PASS]), ("old", [FAIL]), ("", [FAIL])]
)
def test_a_branch_is_marked(branch: str, expected: list[Verdict]) -> None:
    scene = Scene()
    sent(scene, "MESSAGE", branch)
    assert found(scene, MARKED) == expected


def test_the_branch_of_a_proxied_request_is_the_iuts_too() -> None:
    scene = Scene()
    sent(scene, "MESSAGE", "z9hG4bKbob", ours=True)
    sent(scene, "MESSAGE", "old", extra=[("Via", f"{VIA}z9hG4bKbob")])
    assert found(scene, MARKED) == [FAIL]
    assert found(scene, NEW) == []


def test_a_request_without_via_has_no_branch() -> None:
    scene = Scene()
    scene.sip(Role.IUT, Role.CORE, "OPTIONS sip:x SIP/2.0", [("Call-ID", "c"), ("CSeq", "1 OPTIONS")])
    assert found(scene, MARKED) == [FAIL]
    assert found(scene, NEW) == []


def test_a_branch_is_new() -> None:
    scene = Scene()
    sent(scene, "MESSAGE", "z9hG4bKx")
    scene.frames.append(scene.frames[-1])
    assert found(scene, NEW) == [PASS]
    sent(scene, "MESSAGE", "z9hG4bKy", call="d")
    assert found(scene, NEW) == [PASS, PASS]
    sent(scene, "MESSAGE", "z9hG4bKx", call="e")
    assert found(scene, NEW) == [PASS, PASS, FAIL]


def test_a_cancel_shares_the_branch_of_its_invite() -> None:
    scene = Scene(PUSHED)
    copied = sent(scene, "INVITE", "z9hG4bKx")
    sent(scene, "CANCEL", "z9hG4bKx")
    scene.response(Role.CORE, Role.IUT, 487, copied)
    sent(scene, "ACK", "z9hG4bKx", to="<sip:alice@example.com>;tag=t")
    assert found(scene, NEW) == [PASS]


@pytest.mark.parametrize(("branch", "expected"), [("z9hG4bKy", [PASS, PASS]), ("z9hG4bKx", [PASS, FAIL])])
def test_an_ack_to_a_2xx_does_not(branch: str, expected: list[Verdict]) -> None:
    scene = Scene(PUSHED)
    scene.response(Role.CORE, Role.IUT, 200, sent(scene, "INVITE", "z9hG4bKx"))
    scene.response(Role.CORE, Role.IUT, 200, [("Call-ID", "c"), ("CSeq", "odd"), ("To", "<sip:a>;tag=t")])
    scene.frames.append(scene.frames[-1])
    sent(scene, "ACK", branch, to="<sip:alice@example.com>;tag=t")
    assert found(scene, NEW) == expected


# --- retransmissions -------------------------------------------------------------------------------------------------

INVITE_AGAIN, AGAIN = "SIP-3261-17.1.1.2-01", "SIP-3261-17.1.2.2-01"


@pytest.mark.parametrize(("method", "rule"), [("INVITE", INVITE_AGAIN), ("MESSAGE", AGAIN), ("BYE", AGAIN)])
def test_what_nobody_answers_is_repeated(method: str, rule: str) -> None:
    scene = Scene()
    sent(scene, method, "z9hG4bKx")
    assert found(scene, rule) == [FAIL]
    again = scene.frames[-1].octets
    scene.wait(1)
    scene.put(Pco.ISC, Role.IUT, Role.CORE, again)
    assert found(scene, rule) == [PASS]


def test_a_repetition_long_after_is_none() -> None:
    scene = Scene()
    sent(scene, "MESSAGE", "z9hG4bKx")
    again = scene.frames[-1].octets
    scene.wait(20)
    scene.put(Pco.ISC, Role.IUT, Role.CORE, again)
    assert found(scene, AGAIN) == [FAIL]


@pytest.mark.parametrize("why", ["answered", "provisional", "stream", "gone", "late", "cancelled", "slow", "ack"])
def test_what_need_not_be_repeated(why: str) -> None:
    scene = Scene(sip_t1=20.0) if why == "slow" else Scene()
    scene.tcp = why == "stream"
    method = "ACK" if why == "ack" else "MESSAGE"
    copied = sent(scene, method, "z9hG4bKx")
    if why in ("answered", "provisional"):
        scene.response(Role.CORE, Role.IUT, 200 if why == "answered" else 100, copied)
    elif why == "gone":
        scene.iut_gone_us = scene.us + 2_000_000
    elif why == "late":
        scene.read_late_us = 100_000_000
    elif why == "cancelled":
        sent(scene, "BYE", "z9hG4bKy", number=2, ours=True)
    assert found(scene, AGAIN) == []


# --- the ACK to a refusal --------------------------------------------------------------------------------------------

ACKED, COPIED = "SIP-3261-17.1.1.3-01", "SIP-3261-17.1.1.3-02"


def refused(scene: Scene, branch: str | None, ack: Mapping[str, str] | None = None, *, times: int = 1) -> None:
    """An INVITE of the IUT that is refused, and its ACK."""
    routes = [("Route", "<sip:core;lr>")]
    copied = sent(scene, "INVITE", "z9hG4bKx", extra=routes)
    for _ in range(times):
        scene.response(Role.CORE, Role.IUT, 486, copied)
    if branch is not None:
        bent = {"to": "<sip:alice@example.com>;tag=t", "uri": "sip:alice@example.com", "route": "<sip:core;lr>"}
        bent.update(ack or {})
        sent(scene, "ACK", branch, to=bent["to"], uri=bent["uri"], extra=[("Route", bent["route"])])


def test_a_refusal_is_acknowledged_in_its_transaction() -> None:
    scene = Scene(PUSHED)
    refused(scene, "z9hG4bKx")
    assert (found(scene, ACKED), found(scene, COPIED)) == ([PASS], [PASS])
    scene = Scene(PUSHED)
    refused(scene, "z9hG4bKy")
    assert (found(scene, ACKED), found(scene, COPIED)) == ([FAIL], [])


@pytest.mark.parametrize(("times", "expected"), [(1, [INCONC]), (2, [FAIL])])
def test_a_refusal_without_ack(times: int, expected: list[Verdict]) -> None:
    scene = Scene(PUSHED)
    refused(scene, None, times=times)
    assert found(scene, ACKED) == expected


@pytest.mark.parametrize(
    ("ack", "expected"),
    [
        ({"uri": "sip:elsewhere"}, [FAIL]),
        ({"route": "<sip:other;lr>"}, [FAIL]),
        ({"to": "<sip:alice@example.com>"}, [FAIL]),
        ({"to": '"Alice" <sip:alice@example.com>;tag=t'}, [PASS]),
    ],
)
def test_what_the_ack_to_a_refusal_repeats(ack: dict[str, str], expected: list[Verdict]) -> None:
    scene = Scene(PUSHED)
    refused(scene, "z9hG4bKx", ack)
    assert found(scene, COPIED) == expected


def test_a_2xx_and_an_open_invite_have_no_such_ack() -> None:
    scene = Scene(PUSHED)
    scene.session(PUSHED)
    scene.session(PUSHED, answered=False)
    acknowledge(scene.session(PUSHED, acked=False), cseq=1)
    assert found(scene, ACKED) == []


def test_an_ack_with_an_odd_cseq_is_none_of_that_invite() -> None:
    scene = Scene(PUSHED)
    refused(scene, None, times=2)
    headers = [("Via", f"{VIA}z9hG4bKx"), ("Call-ID", "c"), ("CSeq", "odd"), ("From", "<sip:pf>;tag=f")]
    scene.sip(Role.IUT, Role.CORE, "ACK sip:alice@example.com SIP/2.0", headers)
    assert found(scene, ACKED) == [FAIL]


# --- CANCEL ----------------------------------------------------------------------------------------------------------

CANCELLED, ENDED = "SIP-3261-9.2-01", "SIP-3261-9.2-02"


@pytest.mark.parametrize(
    ("answer", "final", "first", "second"),
    [
        (200, 487, [PASS], [PASS]),
        (200, 200, [PASS], [PASS]),
        (200, 480, [PASS], [FAIL]),
        (481, 487, [FAIL], [PASS]),
        (200, None, [PASS], []),
        (None, 487, [], []),
    ],
)
def test_a_cancel_is_answered(
    answer: int | None, final: int | None, first: list[Verdict], second: list[Verdict]
) -> None:
    scene = Scene()
    invite = sent(scene, "INVITE", "z9hG4bKx", uri=PSI, ours=True)
    cancel = sent(scene, "CANCEL", "z9hG4bKx", uri=PSI, ours=True)
    if answer:
        scene.response(Role.IUT, Role.CORE, answer, cancel)
    if final:
        scene.response(Role.IUT, Role.CORE, final, invite)
    assert (found(scene, CANCELLED), found(scene, ENDED)) == (first, second)


def test_a_cancel_that_comes_too_late_or_fits_nothing() -> None:
    scene = Scene()
    scene.response(Role.IUT, Role.CORE, 480, sent(scene, "INVITE", "z9hG4bKx", uri=PSI, ours=True))
    scene.response(Role.IUT, Role.CORE, 200, sent(scene, "CANCEL", "z9hG4bKx", uri=PSI, ours=True))
    scene.frames.append(scene.frames[-2])
    scene.response(Role.IUT, Role.CORE, 481, sent(scene, "CANCEL", "z9hG4bKother", uri=PSI, ours=True))
    assert (found(scene, CANCELLED), found(scene, ENDED)) == ([PASS], [])
