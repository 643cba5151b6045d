"""The session timer on a clock that the test turns: negotiation, refreshes, the end."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cpmspec.protocol.errors import LocalProtocolError, RemoteProtocolError
from cpmspec.protocol.session_timer import End, Policy, Refresh, SessionTimer
from cpmspec.protocol.session_timer_table import SESSION_TIMER_ROWS, TABLE, Do, State
from cpmspec.wire.sip import SipRequest, SipResponse, build_request, response_to

START = 1000.0


def request(headers: Iterable[tuple[str, str]] = (), method: str = "INVITE") -> SipRequest:
    common = [
        ("Via", "SIP/2.0/TCP 192.0.2.17;branch=z9hG4bK1"),
        ("Max-Forwards", "70"),
        ("From", "<sip:a@example.com>;tag=a"),
        ("To", "<sip:b@example.org>;tag=b"),
        ("Call-ID", "one"),
        ("CSeq", f"1 {method}"),
    ]
    return build_request(method, "sip:b@192.0.2.18", [*common, *headers])


def response(status: int = 200, **headers: str) -> SipResponse:
    names = {"expires": "Session-Expires", "least": "Min-SE"}
    return response_to(request(), status, None, [(names[name], value) for name, value in headers.items()])


def running(policy: Policy | None = None, expires: str = "90;refresher=uac") -> SessionTimer:
    """A timer that a 2xx to our INVITE started at :data:`START`."""
    timer = SessionTimer(policy)
    assert timer.response(response(expires=expires), START) == []
    return timer


def until(timer: SessionTimer, end: float) -> list[tuple[float, Refresh | End]]:
    """Fire what is due up to then, as a shell would."""
    said: list[tuple[float, Refresh | End]] = []
    while (due := timer.deadline()) is not None and due <= end:
        said += [(due - START, output) for output in timer.advance(due)]
    return said


# --- negotiation: the side that asks ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "headers"),
    [
        (None, [("Supported", "timer")]),
        (Policy(1800), [("Supported", "timer"), ("Session-Expires", "1800")]),
        (Policy(90, refresher="us"), [("Supported", "timer"), ("Session-Expires", "90;refresher=uac")]),
        (
            Policy(600, 300, "peer"),
            [("Supported", "timer"), ("Session-Expires", "600;refresher=uas"), ("Min-SE", "300")],
        ),
    ],
)
def test_what_is_asked_for(policy: Policy | None, headers: list[tuple[str, str]]) -> None:
    assert SessionTimer(policy).offer() == headers


@pytest.mark.parametrize(("interval", "least"), [(60, 90), (None, 60), (100, 120)])
def test_a_policy_below_the_least_interval_is_refused(interval: int | None, least: int) -> None:
    with pytest.raises(LocalProtocolError, match="RFC 4028"):
        Policy(interval, least)


def test_a_422_raises_what_is_asked_for() -> None:
    timer = SessionTimer(Policy(90))
    assert timer.response(response(100), START) == []
    assert timer.response(response(422, least="300"), START) == []
    assert (timer.state, timer.deadline()) == (State.OFF, None)
    assert timer.offer() == [("Supported", "timer"), ("Session-Expires", "300"), ("Min-SE", "300")]


@pytest.mark.parametrize("answer", [response(422), response(422, least="90"), response(486)])
def test_other_refusals_raise_nothing(answer: SipResponse) -> None:
    timer = SessionTimer(Policy(90))
    assert timer.response(answer, START) == []
    assert timer.offer() == [("Supported", "timer"), ("Session-Expires", "90")]


@pytest.mark.parametrize(
    ("expires", "state", "deadline"),
    [
        ("90;refresher=uac", State.REFRESHER, 45),
        ("90", State.REFRESHER, 45),
        ("90;refresher=uas", State.WATCHING, 60),
        ("1800;refresher=uas", State.WATCHING, 1768),
        ("89;refresher=uac", State.OFF, None),
    ],
)
def test_what_a_2xx_agrees(expires: str, state: State, deadline: float | None) -> None:
    timer = running(None, expires)
    assert timer.state is state
    assert timer.deadline() == (None if deadline is None else START + deadline)


def test_a_2xx_without_timer_is_none() -> None:
    timer = running()
    assert timer.response(response(), START + 1) == []
    assert (timer.state, timer.interval, timer.deadline()) == (State.OFF, None, None)


# --- negotiation: the side that answers ------------------------------------------------------------------------------

SUPPORTED = ("Supported", "100rel, Timer")


def answered(policy: Policy | None, *headers: tuple[str, str]) -> tuple[list[tuple[str, str]], State]:
    timer = SessionTimer(policy)
    return [pair for pair in timer.answer(request(headers), START) if pair[0] != "Supported"], timer.state


@pytest.mark.parametrize(
    ("policy", "headers", "expected", "state"),
    [
        (None, [SUPPORTED], [], State.OFF),
        (None, [], [], State.OFF),
        (None, [("Session-Expires", "60")], [], State.OFF),
        (Policy(600), [("Session-Expires", "60")], [], State.OFF),
        (None, [("Session-Expires", "90")], [("Session-Expires", "90;refresher=uas")], State.REFRESHER),
        (None, [("Session-Expires", "90;refresher=uac")], [("Session-Expires", "90;refresher=uas")], State.REFRESHER),
        (
            None,
            [SUPPORTED, ("Session-Expires", "90")],
            [("Require", "timer"), ("Session-Expires", "90;refresher=uac")],
            State.WATCHING,
        ),
        (
            None,
            [SUPPORTED, ("Session-Expires", "90;refresher=uas")],
            [("Session-Expires", "90;refresher=uas")],
            State.REFRESHER,
        ),
        (
            Policy(300, refresher="us"),
            [SUPPORTED, ("x", "1800;refresher=uac")],
            [("Require", "timer"), ("Session-Expires", "300;refresher=uac")],
            State.WATCHING,
        ),
        (
            Policy(300, refresher="us"),
            [SUPPORTED, ("x", "1800"), ("Min-SE", "900")],
            [("Session-Expires", "900;refresher=uas")],
            State.REFRESHER,
        ),
        (Policy(300), [("Min-SE", "400")], [("Session-Expires", "400;refresher=uas")], State.REFRESHER),
        (
            Policy(300),
            [SUPPORTED, ("x", "120")],
            [("Require", "timer"), ("Session-Expires", "120;refresher=uac")],
            State.WATCHING,
        ),
        (Policy(300, 200), [("x", "120")], [("Session-Expires", "120;refresher=uas")], State.REFRESHER),
    ],
)
def test_what_is_answered(
    policy: Policy | None, headers: list[tuple[str, str]], expected: list[tuple[str, str]], state: State
) -> None:
    assert answered(policy, *headers) == (expected, state)


def test_too_small_an_interval_is_refused_with_422() -> None:
    timer = SessionTimer(Policy(min_se=120))
    with pytest.raises(RemoteProtocolError) as caught:
        timer.answer(request([SUPPORTED, ("Session-Expires", "119")]), START)
    assert caught.value.status == 422
    assert timer.refusal() == [("Min-SE", "120")]
    assert timer.state is State.OFF


# --- refreshes and the end -------------------------------------------------------------------------------------------


def test_the_refresher_refreshes_at_half() -> None:
    timer = running()
    ((when, refresh),) = until(timer, START + 50)
    assert when == 45
    assert refresh == Refresh((("Supported", "timer"), ("Session-Expires", "90;refresher=uac")))
    assert timer.response(response(expires="90;refresher=uac"), START + 46) == []
    assert until(timer, START + 92) == [(91, refresh)]


def test_a_refresh_without_answer_ends_the_session() -> None:
    timer = running()
    until(timer, START + 45)
    assert timer.no_response(START + 50) == [End("the refresh got no answer")]
    assert (timer.state, timer.deadline()) == (State.ENDED, None)
    assert timer.response(response(expires="90;refresher=uac"), START + 51) == []


def test_a_refresh_that_nobody_answers_at_all_ends_in_time() -> None:
    timer = running()
    assert [when for when, _ in until(timer, START + 90)] == [45, 60]
    assert timer.state is State.ENDED


@pytest.mark.parametrize("status", [408, 481])
def test_a_refresh_that_finds_nobody_ends_the_session(status: int) -> None:
    timer = running()
    until(timer, START + 45)
    assert timer.response(response(status), START + 46) == [End("the refresh got no answer")]


def test_a_refused_refresh_is_not_repeated() -> None:
    timer = running()
    until(timer, START + 45)
    assert timer.response(response(500), START + 46) == []
    assert until(timer, START + 90) == [(60, End("no refresh in time"))]


def test_a_422_to_a_refresh_is_tried_again() -> None:
    timer = running()
    until(timer, START + 45)
    (again,) = timer.response(response(422, least="400"), START + 46)
    assert again == Refresh((("Supported", "timer"), ("Session-Expires", "400;refresher=uac"), ("Min-SE", "400")))
    assert timer.response(response(422, least="400"), START + 47) == []
    assert timer.state is State.WATCHING


def test_without_a_refresh_of_the_peer_the_session_ends() -> None:
    timer = running(None, "1800;refresher=uas")
    assert until(timer, START + 1767) == []
    assert until(timer, START + 1800) == [(1768, End("no refresh in time"))]


def test_a_refresh_of_the_peer_starts_anew_and_may_change_roles() -> None:
    timer = running(None, "90;refresher=uas")
    assert timer.offer() == [("Supported", "timer"), ("Session-Expires", "90;refresher=uas")]
    update = request([SUPPORTED, ("Session-Expires", "90;refresher=uac")], "UPDATE")
    assert ("Require", "timer") in timer.answer(update, START + 40)
    assert (timer.state, timer.deadline()) == (State.WATCHING, START + 100)
    timer.answer(request([SUPPORTED, ("Session-Expires", "90;refresher=uas")]), START + 60)
    assert (timer.state, timer.deadline()) == (State.REFRESHER, START + 105)
    timer.answer(request([SUPPORTED]), START + 70)
    assert (timer.state, timer.deadline()) == (State.OFF, None)


def test_a_shell_that_wakes_late_does_both() -> None:
    timer = running()
    assert [type(output) for output in timer.advance(START + 500)] == [Refresh, End]
    assert timer.advance(START + 501) == []


@pytest.mark.parametrize("expires", ["90;refresher=uac", "90;refresher=uas"])
def test_after_bye_nothing_happens(expires: str) -> None:
    timer = running(None, expires)
    timer.over(START + 10)
    assert (timer.state, timer.deadline(), timer.advance(START + 500)) == (State.ENDED, None, [])
    timer.over(START + 11)


# --- the table -------------------------------------------------------------------------------------------------------


def test_each_row_cites_a_clause_and_stands_once() -> None:
    assert len(TABLE) == len(SESSION_TIMER_ROWS)
    assert all(row.section.startswith("RFC 4028 ") for row in SESSION_TIMER_ROWS)
    assert {action for row in SESSION_TIMER_ROWS for action in row.actions} == set(Do)
    assert {row.next for row in SESSION_TIMER_ROWS} == set(State)


EVENTS = st.sampled_from(
    ["ours", "theirs", "none", "100", "422", "408", "500", "lost", "update", "bare", "wait", "over"]
)


@settings(deadline=None, derandomize=True, database=None)
@given(st.lists(EVENTS, max_size=30))
def test_whatever_happens_no_deadline_is_missed(events: list[str]) -> None:
    timer, now = SessionTimer(Policy(90)), START
    answers = {
        "ours": response(expires="90;refresher=uac"), "theirs": response(expires="90;refresher=uas"),
        "none": response(), "100": response(100), "422": response(422, least="300"), "408": response(408),
        "500": response(500),
    }  # fmt: skip
    for event in events:
        if event == "lost":
            timer.no_response(now)
        elif event == "over":
            timer.over(now)
        elif event == "wait":
            now = timer.deadline() or now + 1
            timer.advance(now)
        elif event in ("update", "bare"):
            timer.answer(request([SUPPORTED, *([("x", "90")] if event == "update" else [])], "UPDATE"), now)
        else:
            timer.response(answers[event], now)
        assert (timer.deadline() is None) == (timer.state in (State.OFF, State.ENDED))
        assert (timer.deadline() or now + 1) > now
