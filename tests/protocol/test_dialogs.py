"""Dialogs of both sides: route sets, numbers, targets."""

from __future__ import annotations

import re

import pytest

from cpmspec.protocol.dialog_table import DIALOG, DIALOG_ROWS, Event, State
from cpmspec.protocol.dialogs import Dialog, next_hop_uri
from cpmspec.protocol.errors import LocalProtocolError, RemoteProtocolError
from cpmspec.wire.sip import SipRequest, SipResponse, build_request, parse_message, response_to, unchecked_request

ROUTES = ("<sip:p1.example;lr>", "<sip:p2.example;lr>")


def invite(*, routes: tuple[str, ...] = ROUTES, contact: str | None = "<sip:alice@192.0.2.1:5070>") -> SipRequest:
    headers = [("Via", "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKx"), ("Max-Forwards", "70")]
    headers += [("Record-Route", route) for route in routes]
    headers += [
        ("From", '"Alice" <sip:alice@home.example>;tag=a'),
        ("To", "<sip:psi@home.example>"),
        ("Call-ID", "c1"),
        ("CSeq", "10 INVITE"),
    ]
    if contact:
        headers.append(("Contact", contact))
    return build_request("INVITE", "sip:psi@home.example", headers)


def ok(request: SipRequest, status: int = 200, *, tag: str = "b", contact: str = "<sip:pf@192.0.2.9>") -> SipResponse:
    routes = [("Record-Route", value) for value in request.headers.get_all("record-route")]
    return response_to(request, status, headers=[*routes, ("Contact", contact)], to_tag=tag)


def uac(routes: tuple[str, ...] = ROUTES) -> Dialog:
    request = invite(routes=routes)
    return Dialog.uac(request, ok(request))


def uas(routes: tuple[str, ...] = ROUTES) -> Dialog:
    request = invite(routes=routes)
    return Dialog.uas(request, ok(request))


def in_dialog(method: str, cseq: int, contact: str | None = None) -> SipRequest:
    headers = [
        ("Via", "SIP/2.0/UDP 192.0.2.9;branch=z9hG4bKy"),
        ("Max-Forwards", "70"),
        ("From", "<sip:psi@home.example>;tag=b"),
        ("To", "<sip:alice@home.example>;tag=a"),
        ("Call-ID", "c1"),
        ("CSeq", f"{cseq} {method}"),
    ]
    if contact:
        headers.append(("Contact", contact))
    return build_request(method, "sip:alice@192.0.2.1:5070", headers)


def without_number(request: SipRequest) -> SipRequest:
    parsed = parse_message(re.sub(rb"CSeq: [^\r]*\r\n", b"", request.octets()))
    assert isinstance(parsed, SipRequest)
    return parsed


class TestCreation:
    def test_the_uac_reverses_the_record_route(self) -> None:
        dialog = uac()
        assert dialog.route_set == tuple(reversed(ROUTES))
        assert dialog.remote_target == "sip:pf@192.0.2.9"
        assert dialog.id == ("c1", "a", "b")
        assert dialog.confirmed

    def test_the_uas_keeps_its_order(self) -> None:
        dialog = uas()
        assert dialog.route_set == ROUTES
        assert dialog.remote_target == "sip:alice@192.0.2.1:5070"
        assert dialog.id == ("c1", "b", "a")

    def test_a_list_in_one_header_line_counts_like_several_lines(self) -> None:
        assert uas((", ".join(ROUTES),)).route_set == ROUTES

    def test_a_provisional_response_makes_an_early_dialog(self) -> None:
        request = invite()
        dialog = Dialog.uac(request, ok(request, 183))
        assert not dialog.confirmed
        dialog.refresh(ok(request, 200, contact="<sip:pf@192.0.2.10>"))
        assert dialog.confirmed
        assert dialog.remote_target == "sip:pf@192.0.2.10"

    def test_without_contact_there_is_no_dialog(self) -> None:
        request = invite(contact=None)
        with pytest.raises(RemoteProtocolError, match="Contact"):
            Dialog.uac(request, response_to(request, 200, to_tag="b"))
        with pytest.raises(RemoteProtocolError, match="Contact") as caught:
            Dialog.uas(request, ok(request))
        assert caught.value.status == 400

    def test_a_uas_must_tag_its_response(self) -> None:
        request = invite()
        with pytest.raises(LocalProtocolError, match="tag"):
            Dialog.uas(request, response_to(request, 200))


class TestRequests:
    def test_bye_of_the_uac(self) -> None:
        bye = uac().request("BYE")
        assert bye.uri == "sip:pf@192.0.2.9"
        assert bye.headers.get_all("route") == tuple(reversed(ROUTES))
        assert (bye.call_id, bye.from_tag, bye.to_tag, str(bye.cseq)) == ("c1", "a", "b", "11 BYE")
        assert bye.max_forwards == 70
        assert bye.headers.get("via") is None

    def test_bye_of_the_uas_starts_its_own_numbers(self) -> None:
        dialog = uas()
        bye = dialog.request("BYE")
        assert (bye.from_tag, bye.to_tag, str(bye.cseq)) == ("b", "a", "1 BYE")
        assert str(dialog.request("BYE").cseq) == "2 BYE"

    def test_numbers_are_contiguous_and_the_ack_takes_that_of_the_invite(self) -> None:
        dialog = uac()
        assert str(dialog.ack().cseq) == "10 ACK"
        assert str(dialog.request("INFO").cseq) == "11 INFO"
        assert str(dialog.request("INVITE").cseq) == "12 INVITE"
        assert str(dialog.ack().cseq) == "12 ACK"

    def test_a_number_can_be_forced(self) -> None:
        dialog = uac()
        assert str(dialog.request("BYE", cseq=3).cseq) == "3 BYE"
        assert str(dialog.request("BYE").cseq) == "11 BYE"

    def test_headers_and_body(self) -> None:
        update = uac().request("UPDATE", [("Contact", "<sip:x@y>"), ("Content-Type", "application/sdp")], b"v=0\r\n")
        assert update.body == b"v=0\r\n"
        assert update.content_type == "application/sdp"

    def test_a_strict_router_gets_the_request_uri(self) -> None:
        dialog = uas(("<sip:strict.example>", "<sip:p2.example;lr>"))
        bye = dialog.request("BYE")
        assert bye.uri == "sip:strict.example"
        assert bye.headers.get_all("route") == ("<sip:p2.example;lr>", "<sip:alice@192.0.2.1:5070>")

    def test_without_routes_it_goes_to_the_target(self) -> None:
        bye = uac(()).request("BYE")
        assert bye.headers.get_all("route") == ()
        assert next_hop_uri(bye) == "sip:pf@192.0.2.9"

    def test_the_next_hop_is_the_first_route(self) -> None:
        assert next_hop_uri(uac().request("BYE")) == "sip:p2.example;lr"

    @pytest.mark.parametrize("method", ["ACK", "CANCEL"])
    def test_no_new_number_for(self, method: str) -> None:
        with pytest.raises(LocalProtocolError):
            uac().request(method)

    def test_the_uas_has_nothing_to_acknowledge(self) -> None:
        with pytest.raises(LocalProtocolError):
            uas().ack()


class TestReceived:
    def test_it_owns_what_has_its_tags(self) -> None:
        dialog = uac()
        assert dialog.owns(in_dialog("BYE", 1))
        assert not uas().owns(in_dialog("BYE", 1))
        bye = dialog.request("BYE")
        assert dialog.owns(response_to(bye, 200))

    def test_gaps_are_no_error_but_going_back_is(self) -> None:
        dialog = uac()
        dialog.receive(in_dialog("INFO", 5))
        dialog.receive(in_dialog("INFO", 50))
        with pytest.raises(RemoteProtocolError) as caught:
            dialog.receive(in_dialog("BYE", 49))
        assert caught.value.status == 500

    def test_an_ack_is_not_checked(self) -> None:
        dialog = uac()
        dialog.receive(in_dialog("INVITE", 5))
        dialog.receive(in_dialog("ACK", 5))

    def test_the_target_moves_only_with_a_target_refresh(self) -> None:
        dialog = uac()
        dialog.receive(in_dialog("INFO", 1, "<sip:other@192.0.2.20>"))
        assert dialog.remote_target == "sip:pf@192.0.2.9"
        dialog.receive(in_dialog("UPDATE", 2, "<sip:other@192.0.2.20>"))
        assert dialog.remote_target == "sip:other@192.0.2.20"

    def test_a_failure_refreshes_nothing(self) -> None:
        dialog = uac()
        dialog.refresh(ok(invite(), 488, contact="<sip:x@192.0.2.30>"))
        assert dialog.remote_target == "sip:pf@192.0.2.9"

    def test_a_refresh_keeps_the_route_set_of_a_confirmed_dialog(self) -> None:
        dialog = uac()
        dialog.refresh(ok(invite(routes=())))
        assert dialog.route_set == tuple(reversed(ROUTES))


class TestTheTable:
    """RFC 3261 12 and 15: what a dialog goes through."""

    @staticmethod
    def early() -> Dialog:
        request = invite()
        return Dialog.uac(request, ok(request, 183))

    @staticmethod
    def happen(dialog: Dialog, event: Event) -> None:
        match event:
            case Event.PROVISIONAL:
                dialog.refresh(ok(invite(), 180))
            case Event.SUCCESS:
                dialog.refresh(ok(invite()))
            case Event.FAILURE:
                dialog.refresh(ok(invite(), 486))
            case Event.GONE:
                dialog.refresh(ok(invite(), 481))
            case Event.BYE:
                dialog.request("BYE")

    def test_each_row_cites_its_section_and_no_two_are_for_the_same_event(self) -> None:
        assert all(re.fullmatch(r"RFC 3261 1[235](\.\d)*", row.section) for row in DIALOG_ROWS)
        assert len({(row.state, row.event) for row in DIALOG_ROWS}) == len(DIALOG_ROWS)

    @pytest.mark.parametrize("state", State)
    @pytest.mark.parametrize("event", Event)
    def test_each_pair(self, state: State, event: Event) -> None:
        """A row leads to its next state, and what has no row changes nothing."""
        row = DIALOG.get((state, event))
        match state:
            case State.INITIAL:
                if row is not None:
                    made = self.early() if event is Event.PROVISIONAL else uac()
                    assert made.state is row.next
                return
            case State.EARLY:
                dialog = self.early()
            case State.CONFIRMED:
                dialog = uac()
            case State.TERMINATED:
                dialog = uac()
                dialog.receive(in_dialog("BYE", 1))
        assert dialog.state is state
        self.happen(dialog, event)
        assert dialog.state is (state if row is None else row.next)

    @pytest.mark.parametrize("status", [408, 481])
    def test_a_request_that_nobody_knows_ends_the_dialog(self, status: int) -> None:
        dialog = uac()
        dialog.refresh(ok(invite(), status))
        assert dialog.state is State.TERMINATED
        assert not dialog.confirmed

    def test_a_re_invite_that_fails_leaves_it(self) -> None:
        dialog = uac()
        dialog.refresh(ok(invite(), 488))
        assert dialog.confirmed

    def test_the_route_set_of_the_2xx_replaces_that_of_the_1xx_at_the_uac_only(self) -> None:
        dialog = self.early()
        dialog.refresh(ok(invite(routes=ROUTES[:1])))
        assert dialog.route_set == ROUTES[:1]
        request = invite()
        other = Dialog.uas(request, ok(request, 183))
        other.refresh(ok(invite(routes=ROUTES[:1])))
        assert (other.confirmed, other.route_set) == (True, ROUTES)


class TestWhatMakesNoDialog:
    def test_our_request_without_a_tag(self) -> None:
        request = unchecked_request(
            "INVITE", "sip:psi@home.example", [("From", "<sip:a@b>"), ("Call-ID", "c1"), ("CSeq", "1 INVITE")]
        )
        with pytest.raises(LocalProtocolError, match="From tag"):
            Dialog.uac(request, ok(invite()))

    def test_their_request_without_a_number(self) -> None:
        request = without_number(invite())
        with pytest.raises(RemoteProtocolError, match="CSeq") as caught:
            Dialog.uas(request, ok(invite()))
        assert caught.value.status == 400

    def test_a_provisional_response_without_tag(self) -> None:
        request = invite()
        with pytest.raises(RemoteProtocolError, match="To tag"):
            Dialog.uac(request, response_to(request, 180, headers=[("Contact", "<sip:pf@192.0.2.9>")]))

    def test_a_2xx_without_tag_is_tolerated(self) -> None:
        """12.1.2: a UAC must be prepared for it, for the sake of RFC 2543."""
        request = invite()
        response = response_to(request, 200, headers=[("Contact", "<sip:pf@192.0.2.9>")])
        assert Dialog.uac(request, response).id == ("c1", "a", "")

    def test_a_request_in_a_dialog_without_a_number(self) -> None:
        with pytest.raises(RemoteProtocolError, match="CSeq") as caught:
            uac().receive(without_number(in_dialog("INFO", 1)))
        assert caught.value.status == 400


class TestWhatNoRequestCanCarry:
    """A peer's octets never make a later request of ours fail: the dialog is refused when it is made."""

    BAD = ("<sip:pf@192.0.2.9;x=a b>", "<sip:pf@192.0.2.9;x=\x00>")

    @staticmethod
    def answer(contact: str) -> SipResponse:
        good = ok(invite()).octets()
        parsed = parse_message(good.replace(b"<sip:pf@192.0.2.9>", contact.encode()))
        assert isinstance(parsed, SipResponse)
        return parsed

    @pytest.mark.parametrize("contact", BAD)
    def test_in_the_contact_of_a_2xx(self, contact: str) -> None:
        with pytest.raises(RemoteProtocolError, match="no request of the dialog can be written"):
            Dialog.uac(invite(), self.answer(contact))

    @pytest.mark.parametrize("contact", BAD)
    def test_in_a_target_refresh_the_old_target_stays(self, contact: str) -> None:
        dialog = uac()
        with pytest.raises(RemoteProtocolError):
            dialog.refresh(self.answer(contact))
        assert dialog.remote_target == "sip:pf@192.0.2.9"
        assert dialog.request("BYE").uri == "sip:pf@192.0.2.9"

    def test_in_a_request_that_makes_a_dialog(self) -> None:
        octets = invite().octets().replace(b"<sip:alice@192.0.2.1:5070>", b"<sip:alice@192.0.2.1;x=\x00>")
        request = parse_message(octets)
        assert isinstance(request, SipRequest)
        with pytest.raises(RemoteProtocolError) as caught:
            Dialog.uas(request, ok(invite()))
        assert caught.value.status == 400
