"""Which connection a session has: every row of the table, and an endpoint with several sessions and connections."""

from __future__ import annotations

import re

import pytest

from cpmspec.protocol.errors import LocalProtocolError
from cpmspec.protocol.msrp_binding import (
    BINDING_ROWS,
    Binding,
    BindingRow,
    Bindings,
    Do,
    Event,
    State,
    where_to_connect,
)
from cpmspec.wire.msrp import MsrpHead, build_request, build_response, parse_frame

OURS, OTHER = "msrp://a.example:2855/session1;tcp", "msrp://a.example:2855/session2;tcp"
PEER = "msrp://b.example:2855/theirs;tcp"
#: how a binding gets into each state
WAYS: dict[State, tuple[Event, ...]] = {
    State.UNBOUND: (),
    State.CONNECTING: (Event.ACTIVE,),
    State.AWAITING: (Event.PASSIVE,),
    State.ANNOUNCING: (Event.ACTIVE, Event.CONNECTED),
    State.BOUND: (Event.PASSIVE, Event.REQUEST),
    State.REFUSED: (Event.ACTIVE, Event.CONNECTED, Event.C506),
    State.FAILED: (Event.ACTIVE, Event.NOT_CONNECTED),
    State.CLOSED: (Event.CLOSE,),
}


def head(to: str = OURS, method: str = "SEND") -> MsrpHead:
    octets = build_request(method, "transact1", [OURS], [PEER], [("Message-ID", "m1aa")], None)
    frame = parse_frame(octets.replace(OURS.encode(), to.encode()))
    return frame.head  # type: ignore[union-attr]


def response(status: int, to: str = OURS) -> MsrpHead:
    asked = parse_frame(build_request("SEND", "transact1", [PEER], [to], [("Message-ID", "m1aa")], None))
    frame = parse_frame(build_response(asked, status))  # type: ignore[arg-type]
    return frame.head  # type: ignore[union-attr]


def binding_in(state: State) -> Binding:
    binding = Binding(OURS)
    for event in WAYS[state]:
        binding.fire(event, "ours")
    assert binding.state is state
    return binding


class TestTable:
    def test_each_row_cites_its_section(self) -> None:
        for row in BINDING_ROWS:
            assert re.fullmatch(r"RFC (4975|6135|3261) \d+(\.\d+)*", row.section), row

    def test_no_two_rows_for_the_same_event(self) -> None:
        assert len({(row.state, row.event) for row in BINDING_ROWS}) == len(BINDING_ROWS)

    @pytest.mark.parametrize("row", BINDING_ROWS, ids=lambda row: f"{row.state}, {row.event}")
    def test_each_row(self, row: BindingRow) -> None:
        binding = binding_in(row.state)
        before = binding.connection
        assert binding.fire(row.event, "new") == row.actions
        assert binding.state is row.next
        if Do.BIND in row.actions:
            assert binding.connection == "new"
        else:
            assert binding.connection == (None if Do.RELEASE in row.actions else before)

    @pytest.mark.parametrize("state", State)
    def test_what_has_no_row_changes_nothing(self, state: State) -> None:
        known = {row.event for row in BINDING_ROWS if row.state is state}
        for event in set(Event) - known:
            binding = binding_in(state)
            before = binding.connection
            assert binding.fire(event, "new") == ()
            assert (binding.state, binding.connection) == (state, before)

    @pytest.mark.parametrize("state", State)
    def test_only_who_has_a_connection_may_send(self, state: State) -> None:
        assert binding_in(state).may_send is (state in (State.ANNOUNCING, State.BOUND))


class TestOneSession:
    def test_the_active_side_connects_and_sends_at_once(self) -> None:
        binding = Binding(OURS)
        assert binding.begin(active=True) == (Do.CONNECT,)
        assert binding.connected(7) == (Do.BIND, Do.SEND)
        assert binding.connection == 7
        binding.response(200)
        assert binding.state is State.BOUND

    def test_the_passive_side_waits_for_the_first_request(self) -> None:
        binding = Binding(OURS)
        assert binding.begin(active=False) == ()
        assert not binding.may_send
        assert binding.request(7) == (Do.BIND, Do.TAKE)
        assert binding.request(8) == (Do.ANSWER_506,)
        assert binding.connection == 7

    @pytest.mark.parametrize(("status", "state"), [(200, State.BOUND), (413, State.BOUND), (481, State.REFUSED)])
    def test_the_answer_to_the_first_send(self, status: int, state: State) -> None:
        binding = binding_in(State.ANNOUNCING)
        binding.response(status)
        assert binding.state is state

    @pytest.mark.parametrize("path", ["sip:a.example", "msrp://a.example:2855;tcp"])
    def test_a_path_needs_a_session_id(self, path: str) -> None:
        with pytest.raises(LocalProtocolError):
            Binding(path)

    def test_the_scheme_tells_whether_tls_is_needed(self) -> None:
        assert Binding(OURS.replace("msrp:", "msrps:")).tls
        assert not Binding(OURS).tls


class TestEndpoint:
    def test_requests_go_to_their_sessions_over_one_connection(self) -> None:
        bindings = Bindings()
        first, second = bindings.add(OURS), bindings.add(OTHER)
        for _ in range(2):
            assert bindings.route(head(), 1, tls=False) is first
            assert bindings.route(head(OTHER), 1, tls=False) is second
        assert len(bindings) == 2
        assert bindings.lost(2) == []
        assert bindings.lost(1) == [first, second]
        assert bindings.route(head(), 3, tls=False) == 481

    @pytest.mark.parametrize("to", ["MSRP://A.EXAMPLE:2855/session1;TCP", "msrp://who@a.example:2855/session1;tcp;x=y"])
    def test_the_uri_is_compared_as_such(self, to: str) -> None:
        bindings = Bindings()
        binding = bindings.add(OURS)
        assert bindings.route(head(to), 1, tls=False) is binding

    @pytest.mark.parametrize(
        "to",
        [
            OTHER, OURS.replace("session1", "SESSION1"), OURS.replace("2855", "2856"), OURS.replace("a.ex", "c.ex"),
            "msrp://a.example:2855;tcp", "sip:a.example",
        ],
    )  # fmt: skip
    def test_what_names_no_session_is_481(self, to: str) -> None:
        bindings = Bindings()
        binding = bindings.add(OURS)
        assert bindings.route(head(to), 1, tls=False) == 481
        assert binding.state is State.UNBOUND
        assert bindings.find((), tls=False) is None

    def test_tls_is_part_of_it(self) -> None:
        bindings = Bindings()
        bindings.add(OURS)
        assert bindings.route(head(), 1, tls=True) == 481

    def test_the_second_connection_is_506_and_the_session_stays(self) -> None:
        bindings = Bindings()
        binding = bindings.add(OURS)
        assert bindings.route(head(), 1, tls=False) is binding
        assert bindings.route(head(), 2, tls=False) == 506
        assert bindings.route(head(), 1, tls=False) is binding

    def test_an_unknown_method_is_501(self) -> None:
        bindings = Bindings()
        binding = bindings.add(OURS)
        assert bindings.route(head(method="NICKNAME"), 1, tls=False) == 501
        assert binding.state is State.UNBOUND

    def test_a_response_moves_the_session_of_its_connection_only(self) -> None:
        bindings = Bindings()
        binding = bindings.add(OURS)
        binding.begin(active=True)
        binding.connected(1)
        assert bindings.route(response(481), 2, tls=False) == 481
        assert binding.state is State.ANNOUNCING
        assert bindings.route(response(200), 1, tls=False) is binding
        assert binding.state.value == "Bound"
        assert bindings.route(response(506), 1, tls=False) is binding
        assert binding.state.value == "Refused"

    def test_a_session_that_is_over_is_unknown(self) -> None:
        bindings = Bindings()
        binding = bindings.add(OURS)
        bindings.route(head(), 1, tls=False)
        bindings.remove(binding)
        bindings.remove(binding)
        assert (len(bindings), binding.state) == (0, State.CLOSED)
        assert bindings.route(head(), 1, tls=False) == 481

    def test_a_session_id_is_given_once(self) -> None:
        bindings = Bindings()
        bindings.add(OURS)
        with pytest.raises(LocalProtocolError, match="in use"):
            bindings.add(OURS)


class TestWhereToConnect:
    def test_the_first_uri_of_the_path(self) -> None:
        assert where_to_connect(["msrp://r.example:9000/x;tcp", PEER]) == ("r.example", 9000)
        assert where_to_connect(["msrp://r.example/x;tcp"]) == ("r.example", 2855)

    def test_with_cema_on_both_sides_the_media_address(self) -> None:
        assert where_to_connect([PEER], ("192.0.2.7", 4000)) == ("192.0.2.7", 4000)

    @pytest.mark.parametrize("path", [[], ["sip:x.example"]])
    def test_no_path(self, path: list[str]) -> None:
        with pytest.raises(LocalProtocolError):
            where_to_connect(path)
