"""The four SIP transactions and the repetition of a 2xx, on a clock that the test turns."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpmspec.protocol import transactions
from cpmspec.protocol.errors import LocalProtocolError
from cpmspec.protocol.transaction_tables import REPEAT, REPEAT_ROWS, ROWS, TABLES, Do, Event, Kind, State, Timer
from cpmspec.protocol.transactions import (
    Deliver,
    Failed,
    Output,
    Send,
    SuccessRepeat,
    Terminated,
    Timing,
    Transaction,
    ack_of_failure,
    cancel_of,
    client_key,
    server_key,
)
from cpmspec.wire.sip import SipRequest, SipResponse, build_request, response_to

VIA = "SIP/2.0/UDP 127.0.0.1:5070;branch=z9hG4bKone;rport"


def request(method: str = "MESSAGE", via: str = VIA, cseq: int = 7) -> SipRequest:
    headers = [
        ("Via", via),
        ("Route", "<sip:127.0.0.1:5060;lr>"),
        ("Max-Forwards", "70"),
        ("From", "<sip:alice@home.example>;tag=a"),
        ("To", "<sip:bob@home.example>"),
        ("Call-ID", "call-1"),
        ("CSeq", f"{cseq} {method}"),
    ]
    return build_request(method, "sip:bob@home.example", headers)


def answer(to: SipRequest, status: int, tag: str = "b") -> SipResponse:
    return response_to(to, status, to_tag=tag)


class Bench:
    """A transaction, the time, and everything that it said, with the time of it."""

    def __init__(self, method: str, *, client: bool, reliable: bool = False) -> None:
        self.request = request(method)
        self.machine = Transaction(self.request, client=client, reliable=reliable)
        self.now = 100.0
        self.said: list[tuple[float, Output]] = []
        self.note(self.machine.start(self.now))

    def note(self, outputs: Iterable[Output]) -> None:
        self.said += [(round(self.now - 100.0, 6), output) for output in outputs]

    def until(self, seconds: float) -> None:
        """Fire timers one by one, as an event loop would, up to that time."""
        while (due := self.machine.deadline()) is not None and due <= 100.0 + seconds:
            self.now = due
            self.note(self.machine.advance(self.now))
        self.now = 100.0 + seconds

    def get(self, status: int) -> None:
        self.note(self.machine.receive(answer(self.request, status), self.now))

    def give(self, status: int) -> None:
        self.note(self.machine.respond(answer(self.request, status), self.now))

    def take(self, method: str) -> None:
        self.note(self.machine.receive(request(method), self.now))

    def sent_at(self, kind: type[SipRequest | SipResponse] | None = None) -> list[float]:
        return [
            at for at, out in self.said if isinstance(out, Send) and (kind is None or isinstance(out.message, kind))
        ]

    def sent(self) -> list[SipRequest | SipResponse]:
        return [out.message for _, out in self.said if isinstance(out, Send)]

    def delivered(self) -> list[SipRequest | SipResponse]:
        return [out.message for _, out in self.said if isinstance(out, Deliver)]

    def ended_at(self) -> float | None:
        return next((at for at, out in self.said if isinstance(out, Terminated)), None)


class TestTables:
    @pytest.mark.parametrize("kind", Kind)
    def test_each_row_cites_its_section(self, kind: Kind) -> None:
        for row in ROWS[kind]:
            assert re.fullmatch(r"RFC (3261 17(\.\d)+|6026 7\.[12])", row.section), row

    @pytest.mark.parametrize("kind", Kind)
    def test_no_two_rows_for_the_same_event(self, kind: Kind) -> None:
        keys = [(row.state, row.event) for row in ROWS[kind]]
        assert len(keys) == len(set(keys))

    @pytest.mark.parametrize("kind", Kind)
    def test_every_state_is_reached_and_left(self, kind: Kind) -> None:
        reached = {row.next for row in ROWS[kind]} | {State.INITIAL}
        left = {row.state for row in ROWS[kind]}
        assert reached - {State.TERMINATED} == left

    @pytest.mark.parametrize("kind", Kind)
    def test_every_timer_that_is_started_is_awaited_in_the_next_state(self, kind: Kind) -> None:
        awaited = {(row.state, row.event) for row in ROWS[kind] if isinstance(row.event, Timer)}
        for row in ROWS[kind]:
            for action in row.actions:
                assert isinstance(action, Do) or (row.next, action) in awaited, row


class Recording(dict[Any, Any]):
    """A table that remembers which rows were applied."""

    def __init__(self, table: Mapping[Any, Any]) -> None:
        super().__init__(table)
        self.hit: set[Any] = set()

    def get(self, key: Any, default: Any = None) -> Any:
        row = super().get(key, default)
        self.hit |= {row} - {None}
        return row


class TestEveryRow:
    """All rows of the four tables are gone through by what can happen; what has no row changes nothing."""

    @staticmethod
    def happen(bench: Bench, event: str) -> None:
        """Make an event happen, if it can on this side; a timer if it runs."""
        status = {"1xx": 183, "2xx": 200, "failure": 486}.get(event)
        client = bench.machine.kind in (Kind.INVITE_CLIENT, Kind.CLIENT)
        if status is not None:
            bench.get(status) if client else bench.give(status)
        elif event == "error":
            bench.note(bench.machine.transport_error(bench.now))
        elif event in ("again", "ACK"):
            if not client:
                bench.take("ACK" if event == "ACK" else bench.request.method)
        elif (due := bench.machine.deadline()) is not None:
            bench.until(due - 100)

    @pytest.mark.parametrize("kind", Kind)
    def test_is_gone_through(self, kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
        table = Recording(TABLES[kind])
        monkeypatch.setattr(transactions, "TABLES", {**TABLES, kind: table})
        method = "INVITE" if kind in (Kind.INVITE_CLIENT, Kind.INVITE_SERVER) else "BYE"
        for events in product(("1xx", "2xx", "failure", "again", "ACK", "error", "timer"), repeat=3):
            bench = Bench(method, client=kind in (Kind.INVITE_CLIENT, Kind.CLIENT))
            for event in events:
                self.happen(bench, event)
            bench.until(200)
        assert set(ROWS[kind]) == table.hit

    @pytest.mark.parametrize("kind", Kind)
    @pytest.mark.parametrize("state", State)
    def test_what_has_none_changes_nothing(self, kind: Kind, state: State) -> None:
        client = kind in (Kind.INVITE_CLIENT, Kind.CLIENT)
        method = "INVITE" if kind in (Kind.INVITE_CLIENT, Kind.INVITE_SERVER) else "BYE"
        for event, status in ((Event.PROVISIONAL, 183), (Event.SUCCESS, 200), (Event.FAILURE, 486), (Event.ACK, None)):
            if (state, event) in TABLES[kind] or (event is Event.ACK and client):
                continue
            bench = Bench(method, client=client)
            bench.machine.state = state
            bench.said.clear()
            if status is None:
                bench.take("ACK")
            elif client:
                bench.get(status)
            else:
                bench.give(status)
            assert (bench.said, bench.machine.state) == ([], state)

    def test_the_repeated_2xx(self, monkeypatch: pytest.MonkeyPatch) -> None:
        table = Recording(REPEAT)
        monkeypatch.setattr(transactions, "REPEAT", table)
        for stop in (True, False):
            repeat = SuccessRepeat(answer(request("INVITE"), 200), 0)
            repeat.advance(1)
            if stop:
                repeat.stop()
            repeat.advance(100)
            before = repeat.state
            repeat.stop()
            assert repeat.state is before
        assert set(REPEAT_ROWS) == table.hit


class TestInviteClient:
    def test_retransmits_with_doubling_intervals_and_times_out(self) -> None:
        bench = Bench("INVITE", client=True)
        bench.until(60)
        assert bench.sent_at() == [0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5]
        assert bench.said[-2:] == [(32.0, Failed("timeout")), (32.0, Terminated())]

    def test_does_not_retransmit_on_a_reliable_transport(self) -> None:
        bench = Bench("INVITE", client=True, reliable=True)
        bench.until(60)
        assert bench.sent_at() == [0]
        assert (32.0, Failed("timeout")) in bench.said

    def test_a_provisional_response_stops_retransmission_for_good(self) -> None:
        bench = Bench("INVITE", client=True)
        bench.until(1)
        bench.get(180)
        bench.until(1000)
        assert bench.sent_at() == [0, 0.5]
        assert bench.machine.state is State.PROCEEDING
        assert bench.machine.deadline() is None

    @pytest.mark.parametrize("first", [[], [180]])
    def test_acknowledges_a_failure_again_and_again_and_delivers_it_once(self, first: list[int]) -> None:
        bench = Bench("INVITE", client=True)
        for status in [*first, 486, 486]:
            bench.get(status)
        acks = [message for message in bench.sent() if isinstance(message, SipRequest) and message.method == "ACK"]
        assert len(acks) == 2
        assert len(bench.delivered()) == len(first) + 1
        bench.until(40)
        assert bench.ended_at() == 32.0

    def test_over_a_reliable_transport_it_ends_with_the_failure(self) -> None:
        bench = Bench("INVITE", client=True, reliable=True)
        bench.get(503)
        assert bench.ended_at() == 0

    def test_delivers_every_2xx_and_acknowledges_none(self) -> None:
        bench = Bench("INVITE", client=True)
        bench.get(200)
        bench.until(10)
        bench.get(200)
        assert [message.status for message in bench.delivered() if isinstance(message, SipResponse)] == [200, 200]
        assert bench.sent_at() == [0]
        bench.until(40)
        assert bench.ended_at() == 32.0

    def test_a_transport_error_ends_it(self) -> None:
        bench = Bench("INVITE", client=True)
        bench.note(bench.machine.transport_error(bench.now))
        assert [out for _, out in bench.said[-2:]] == [Failed("transport"), Terminated()]


class TestClient:
    def test_retransmits_up_to_t2_and_times_out(self) -> None:
        bench = Bench("MESSAGE", client=True)
        bench.until(60)
        assert bench.sent_at() == [0, 0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]
        assert bench.said[-2:] == [(32.0, Failed("timeout")), (32.0, Terminated())]

    def test_goes_on_at_t2_after_a_provisional_response(self) -> None:
        bench = Bench("MESSAGE", client=True)
        bench.until(0.1)
        bench.get(100)
        bench.until(10)
        assert bench.sent_at() == [0, 0.5, 4.5, 8.5]

    @pytest.mark.parametrize(("reliable", "end"), [(False, 6.0), (True, 1.0)])
    def test_absorbs_repeated_final_responses_for_t4(self, reliable: bool, end: float) -> None:
        bench = Bench("MESSAGE", client=True, reliable=reliable)
        bench.until(1)
        bench.get(202)
        bench.get(202)
        bench.until(50)
        assert len(bench.delivered()) == 1
        assert bench.ended_at() == end

    @pytest.mark.parametrize("before", [[], [100]])
    def test_a_transport_error_ends_it(self, before: list[int]) -> None:
        bench = Bench("BYE", client=True)
        for status in before:
            bench.get(status)
        bench.note(bench.machine.transport_error(bench.now))
        assert [out for _, out in bench.said[-2:]] == [Failed("transport"), Terminated()]


class TestInviteServer:
    def test_answers_100_when_the_user_is_silent_for_200_ms(self) -> None:
        bench = Bench("INVITE", client=False)
        bench.until(1)
        [trying] = bench.sent()
        assert isinstance(trying, SipResponse)
        assert trying.status == 100
        assert trying.to_tag is None
        assert bench.sent_at() == [0.2]

    def test_an_early_answer_prevents_the_100(self) -> None:
        bench = Bench("INVITE", client=False)
        bench.give(180)
        bench.until(1)
        assert [message.status for message in bench.sent() if isinstance(message, SipResponse)] == [180]

    def test_repeats_the_latest_response_for_a_repeated_request(self) -> None:
        bench = Bench("INVITE", client=False)
        bench.give(180)
        bench.take("INVITE")
        assert len(bench.sent()) == 2
        assert len(bench.delivered()) == 1

    def test_repeats_a_failure_until_the_ack(self) -> None:
        bench = Bench("INVITE", client=False)
        bench.give(486)
        bench.until(8)
        assert bench.sent_at() == [0, 0.5, 1.5, 3.5, 7.5]
        bench.take("ACK")
        bench.until(100)
        assert bench.sent_at() == [0, 0.5, 1.5, 3.5, 7.5]
        assert bench.ended_at() == 13.0
        assert len(bench.delivered()) == 1

    def test_gives_up_without_an_ack(self) -> None:
        bench = Bench("INVITE", client=False)
        bench.give(486)
        bench.until(100)
        assert bench.sent_at()[-1] == 31.5
        assert bench.said[-2:] == [(32.0, Failed("timeout")), (32.0, Terminated())]

    def test_a_failure_over_tcp_is_sent_once(self) -> None:
        bench = Bench("INVITE", client=False, reliable=True)
        bench.give(486)
        bench.until(10)
        bench.take("ACK")
        assert bench.sent_at() == [0]
        assert bench.ended_at() == 10

    def test_after_a_2xx_repeated_invites_are_absorbed_and_acks_delivered(self) -> None:
        bench = Bench("INVITE", client=False)
        bench.give(200)
        bench.take("INVITE")
        bench.take("ACK")
        bench.give(200)
        assert len(bench.sent()) == 2
        assert [message.method for message in bench.delivered() if isinstance(message, SipRequest)] == ["INVITE", "ACK"]
        bench.until(40)
        assert bench.ended_at() == 32.0

    @pytest.mark.parametrize("given", [[], [200], [486]])
    def test_a_transport_error_is_told_and_changes_nothing(self, given: list[int]) -> None:
        bench = Bench("INVITE", client=False)
        for status in given:
            bench.give(status)
        before = bench.machine.state
        bench.note(bench.machine.transport_error(bench.now))
        assert bench.said[-1][1] == Failed("transport")
        assert bench.machine.state is before


class TestServer:
    def test_is_silent_until_the_user_answers(self) -> None:
        bench = Bench("MESSAGE", client=False)
        bench.take("MESSAGE")
        bench.until(30)
        assert bench.sent() == []

    def test_repeats_its_answer_for_64_t1(self) -> None:
        bench = Bench("MESSAGE", client=False)
        bench.give(100)
        bench.take("MESSAGE")
        bench.give(202)
        bench.take("MESSAGE")
        assert [message.status for message in bench.sent() if isinstance(message, SipResponse)] == [100, 100, 202, 202]
        bench.until(50)
        assert bench.ended_at() == 32.0

    def test_a_second_final_response_is_dropped(self) -> None:
        bench = Bench("MESSAGE", client=False)
        bench.give(202)
        bench.give(500)
        bench.take("MESSAGE")
        assert [message.status for message in bench.sent() if isinstance(message, SipResponse)] == [202, 202]

    def test_over_tcp_it_ends_with_the_final_response(self) -> None:
        bench = Bench("MESSAGE", client=False, reliable=True)
        bench.give(202)
        assert bench.ended_at() == 0


class TestAnyOrder:
    EVENTS = st.lists(
        st.one_of(
            st.sampled_from([100, 180, 200, 202, 302, 404, 503, 603]),
            st.sampled_from(["again", "ACK", "error"]),
            st.floats(0.01, 40),
        ),
        max_size=25,
    )

    @given(events=EVENTS, method=st.sampled_from(["INVITE", "MESSAGE"]), client=st.booleans(), reliable=st.booleans())
    def test_it_delivers_at_most_one_final_answer_and_always_ends(
        self, events: list[int | str | float], method: str, client: bool, reliable: bool
    ) -> None:
        bench = Bench(method, client=client, reliable=reliable)
        for event in events:
            match event:
                case int():
                    bench.get(event) if client else bench.give(event)
                case float():
                    bench.until(bench.now - 100 + event)
                case "error":
                    bench.note(bench.machine.transport_error(bench.now))
                case _:
                    if not client:
                        bench.take("ACK" if event == "ACK" and method == "INVITE" else method)
        bench.get(500) if client else bench.give(500)
        bench.until(bench.now - 100 + 100)
        assert bench.machine.state is State.TERMINATED
        assert bench.machine.deadline() is None
        assert sum(isinstance(out, Terminated) for _, out in bench.said) == 1
        finals = [message for message in bench.delivered() if isinstance(message, SipResponse) and message.status > 199]
        assert len(finals) <= 1 or (method == "INVITE" and all(final.status < 300 for final in finals))


class TestBuiltByTheTransaction:
    def test_the_ack_of_a_failure(self) -> None:
        invite = request("INVITE")
        ack = ack_of_failure(invite, answer(invite, 486))
        assert (ack.method, ack.uri) == ("ACK", invite.uri)
        assert ack.headers.get_all("via") == (VIA,)
        assert ack.headers.get_all("route") == invite.headers.get_all("route")
        assert (ack.from_tag, ack.to_tag, ack.call_id) == ("a", "b", "call-1")
        assert str(ack.cseq) == "7 ACK"

    def test_only_the_top_via_is_taken(self) -> None:
        invite = request("INVITE", via=f"{VIA}, SIP/2.0/TCP 192.0.2.1;branch=z9hG4bKtwo")
        assert ack_of_failure(invite, answer(invite, 486)).headers.get_all("via") == (VIA,)
        assert cancel_of(invite).headers.get_all("via") == (VIA,)

    def test_the_cancel(self) -> None:
        invite = request("INVITE")
        cancel = cancel_of(invite)
        assert str(cancel.cseq) == "7 CANCEL"
        assert cancel.to_tag is None
        assert cancel.headers.get("to") == invite.headers.get("to")

    @pytest.mark.parametrize("client", [True, False])
    def test_an_ack_makes_no_transaction(self, client: bool) -> None:
        with pytest.raises(LocalProtocolError):
            Transaction(request("ACK"), client=client, reliable=False)

    def test_each_side_refuses_what_is_the_others(self) -> None:
        message = request()
        server = Transaction(message, client=False, reliable=False)
        with pytest.raises(LocalProtocolError):
            server.receive(answer(message, 200), 0)
        with pytest.raises(LocalProtocolError):
            Transaction(message, client=True, reliable=False).respond(answer(message, 200), 0)


class TestKeys:
    def test_a_response_has_the_key_of_its_request(self) -> None:
        message = request()
        assert client_key(message) == client_key(answer(message, 200))

    def test_a_cancel_is_a_transaction_of_its_own(self) -> None:
        invite = request("INVITE")
        assert client_key(invite) != client_key(cancel_of(invite))
        assert server_key(invite) != server_key(cancel_of(invite))
        assert server_key(invite) == server_key(cancel_of(invite), method="INVITE")

    def test_an_ack_has_the_key_of_its_invite(self) -> None:
        invite = request("INVITE")
        assert server_key(ack_of_failure(invite, answer(invite, 404))) == server_key(invite)

    def test_sent_by_counts(self) -> None:
        other = request(via=VIA.replace("5070", "5071"))
        assert server_key(request()) != server_key(other)

    def test_without_the_magic_cookie_more_is_compared(self) -> None:
        old = VIA.replace("z9hG4bK", "")
        assert server_key(request(via=old)) == server_key(request(via=old))
        assert server_key(request(via=old)) != server_key(request(via=old, cseq=8))


class TestSuccessRepeat:
    def run(self, repeat: SuccessRepeat, until: float) -> list[tuple[float, Output]]:
        said: list[tuple[float, Output]] = []
        while (due := repeat.deadline()) is not None and due <= until:
            said += [(due, output) for output in repeat.advance(due)]
        return said

    def test_from_t1_up_to_t2_until_64_t1(self) -> None:
        ok = answer(request("INVITE"), 200)
        said = self.run(SuccessRepeat(ok, 0), 100)
        assert [at for at, out in said if out == Send(ok)] == [0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]
        assert said[-1] == (32.0, Failed("timeout"))

    def test_the_ack_ends_it(self) -> None:
        repeat = SuccessRepeat(answer(request("INVITE"), 200), 0, Timing.scaled(0.1))
        assert len(self.run(repeat, 0.4)) == 2
        repeat.stop()
        assert repeat.deadline() is None
        assert repeat.advance(1000) == []


def test_scaled_timing_keeps_the_proportions() -> None:
    assert Timing.scaled(0.5) == Timing()
    assert Timing.scaled(0.1).give_up == pytest.approx(6.4)
