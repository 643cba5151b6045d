"""Calls on loopback with descriptions and a session timer whose seconds are short (RFC 3264, RFC 4028)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import pytest

from cpmspec.net.sip import Call, Hop, IncomingRequest, SipTransportError
from cpmspec.net.sip_refresh import KeptSession
from cpmspec.protocol.dialogs import Dialog
from cpmspec.protocol.errors import LocalProtocolError, RemoteProtocolError
from cpmspec.protocol.session_timer import Policy, SessionTimer
from cpmspec.protocol.session_timer_table import State
from cpmspec.wire.sip import SipRequest, SipResponse, response_to
from sip_peers import FAST, Recorded, contact, endpoints, message

OFFER, ANSWER, OTHER = b"v=0\r\no=offer\r\n", b"v=0\r\no=answer\r\n", b"v=0\r\no=other\r\n"
SDP = ("Content-Type", "application/sdp")
#: a second of the timer on the event loop: 90 seconds are less than one
SCALE = 0.005
#: one for which nothing happens by itself as long as a test runs: the test tells when it is time
SLOW = 100.0
HeaderPairs = list[tuple[str, str]]


def described(body: bytes) -> HeaderPairs:
    return [SDP] if body else []


class Called:
    """The called side: answers an INVITE as it is told, and keeps the session if it has a timer."""

    def __init__(
        self, endpoint: Recorded, policy: Policy | None = None, *, answer: bytes = ANSWER,
        allow: str = "INVITE, UPDATE", scale: float = SLOW,
    ) -> None:  # fmt: skip
        self.endpoint = endpoint
        self.policy = policy
        self.answer = answer
        self.allow = allow
        self.scale = scale
        self.refuse: list[tuple[int, HeaderPairs]] = []  #: how the next requests in the dialog are answered
        self.later: asyncio.Queue[SipRequest] = asyncio.Queue()
        self.taken: asyncio.Queue[IncomingRequest] = asyncio.Queue()
        self.incoming: asyncio.Queue[IncomingRequest] = asyncio.Queue()
        self.kept: KeptSession | None = None
        endpoint.on_request = self

    async def __call__(self, incoming: IncomingRequest) -> None:
        request = incoming.request
        if incoming.ack:
            return
        if request.to_tag is not None:
            self.later.put_nowait(request)
            await self.in_dialog(incoming)
            return
        timer = SessionTimer(self.policy)
        try:
            headers = timer.answer(request, asyncio.get_running_loop().time() / self.scale)
        except RemoteProtocolError as error:
            await incoming.reply(error.status, headers=timer.refusal())
            return
        headers += [contact(self.endpoint, incoming.hop), ("Allow", self.allow), *described(self.answer)]
        ok = await incoming.reply(200, headers=headers, body=self.answer)
        self.kept = incoming.keep(timer, Dialog.uas(request, ok), scale=self.scale)
        self.incoming.put_nowait(incoming)

    async def in_dialog(self, incoming: IncomingRequest) -> None:
        if incoming.request.method == "BYE":
            assert self.kept is not None
            self.kept.over()
            await incoming.reply(200)
        elif self.refuse:
            status, headers = self.refuse.pop(0)
            await incoming.reply(status, headers=headers)
        else:
            assert self.kept is not None
            await self.kept.take(incoming)
            self.taken.put_nowait(incoming)


@asynccontextmanager
async def pair(t1: float = 0.5) -> AsyncIterator[tuple[Recorded, Recorded, Hop]]:
    async with endpoints("tcp", t1=t1) as (client, server, hop):
        yield client, server, hop


async def called_up(
    client: Recorded, hop: Hop, headers: Iterable[tuple[str, str]] = (), offer: bytes = OFFER
) -> tuple[Call, SipResponse]:
    """Call, and acknowledge what is a 2xx."""
    own = [contact(client, hop), ("Allow", "INVITE, UPDATE"), *headers, *described(offer)]
    call = client.call(message("INVITE", hop, own, offer))
    response = await call.response()
    if response.status == 200:
        await call.ack()
    return call, response


def due(kept: KeptSession) -> None:
    """It is time for what comes next."""
    deadline = kept.timer.deadline()
    assert deadline is not None
    kept.advance(deadline)


async def next_of(called: Called, method: str) -> SipRequest:
    request = await called.later.get()
    assert request.method == method
    return request


# --- offer and answer ------------------------------------------------------------------------------------------------


async def test_both_sides_know_what_was_agreed() -> None:
    async with pair() as (client, server, hop):
        called = Called(server)
        call, _ = await called_up(client, hop)
        incoming = await called.incoming.get()
        await incoming.acknowledged()
        assert call.offers.agreed is not None
        assert incoming.offers.agreed is not None
        assert (call.offers.agreed.ours, call.offers.agreed.theirs) == (OFFER, ANSWER)
        assert (incoming.offers.agreed.ours, incoming.offers.agreed.theirs) == (ANSWER, OFFER)
        assert (call.problem, incoming.problem) == (None, None)


async def test_an_answer_that_is_missing_is_told_to_both() -> None:
    async with pair() as (client, server, hop):
        called = Called(server, answer=b"")
        call, _ = await called_up(client, hop)
        incoming = await called.incoming.get()
        assert isinstance(call.problem, RemoteProtocolError)
        assert isinstance(incoming.problem, LocalProtocolError)


async def test_an_offer_in_the_2xx_is_to_be_answered_in_the_ack() -> None:
    async with pair() as (client, server, hop):
        called = Called(server, answer=OFFER)
        call = client.call(message("INVITE", hop, [contact(client, hop)]))
        await call.response()
        with pytest.raises(LocalProtocolError, match="no answer in the ACK"):
            await call.ack()
        assert call.dialog is not None
        client.send(call.dialog.ack())  # sends anything
        incoming = await called.incoming.get()
        await incoming.acknowledged()
        assert isinstance(incoming.problem, RemoteProtocolError)


async def test_an_ack_without_an_offer_to_answer_holds_no_description() -> None:
    async with pair() as (client, server, hop):
        Called(server)
        call = client.call(message("INVITE", hop, [contact(client, hop), SDP], OFFER))
        await call.response()
        with pytest.raises(LocalProtocolError, match="answers no offer"):
            await call.ack([SDP], ANSWER)
        await call.ack()


# --- the timer -------------------------------------------------------------------------------------------------------


async def test_without_a_timer_nothing_is_kept_or_sent() -> None:
    async with pair() as (client, server, hop):
        called = Called(server)
        call, response = await called_up(client, hop)
        kept = call.keep(SessionTimer(), scale=SCALE)
        assert response.session_expires is None
        assert (kept.timer.state, kept.timer.deadline()) == (State.OFF, None)
        assert called.kept is not None
        assert called.kept.timer.deadline() is None


async def test_keeping_needs_a_session() -> None:
    async with pair() as (client, server, hop):

        async def refuse(incoming: IncomingRequest) -> None:
            await incoming.reply(486)
            with pytest.raises(LocalProtocolError, match="no session"):
                incoming.keep(SessionTimer(), Dialog.uac(incoming.request, _ok(incoming)))

        server.on_request = refuse
        call, response = await called_up(client, hop)
        assert response.status == 486
        with pytest.raises(LocalProtocolError, match="no session"):
            call.keep(SessionTimer())


def _ok(incoming: IncomingRequest) -> SipResponse:
    return response_to(incoming.request, 200, headers=[("Contact", "<sip:192.0.2.1>")], to_tag="x")


async def test_the_caller_refreshes_by_update() -> None:
    async with pair() as (client, server, hop):
        called = Called(server)
        timer = SessionTimer(Policy(90, refresher="us"))
        call, response = await called_up(client, hop, timer.offer())
        assert str(response.session_expires) == "90;refresher=uac"
        assert response.require == ("timer",)
        kept = call.keep(timer, scale=SLOW)
        for number in (1, 2):
            due(kept)
            refresh = await next_of(called, "UPDATE")
            assert str(refresh.session_expires) == "90;refresher=uac"
            assert (refresh.body, len(refresh.contact)) == (b"", 1)
            await kept.settled()
            assert kept.refreshes == number
        assert (kept.why, timer.state) == (None, State.REFRESHER)
        await client.request(kept.dialog.request("BYE"))
        kept.over()
        assert called.kept is not None
        assert called.kept.ended.is_set()
        assert (timer.deadline(), called.kept.timer.deadline()) == (None, None)


async def test_who_does_not_allow_update_gets_re_invites_with_the_same_description() -> None:
    async with pair() as (client, server, hop):
        called = Called(server, allow="INVITE")
        timer = SessionTimer(Policy(90, refresher="us"))
        call, _ = await called_up(client, hop, timer.offer())
        kept = call.keep(timer, scale=SLOW)
        for number in (1, 2):
            due(kept)
            refresh = await next_of(called, "INVITE")
            assert (refresh.body, str(refresh.cseq)) == (OFFER, f"{number + 1} INVITE")
            await kept.settled()
            assert kept.refreshes == number
        assert kept.offers.agreed is not None
        assert kept.offers.agreed.theirs == ANSWER
        assert "ACK" in client.seen(sent=True)[1:]
        kept.close()


async def test_the_called_side_refreshes_if_the_caller_knows_no_timer() -> None:
    async with pair() as (client, server, hop):
        called = Called(server, Policy(90))
        updates: asyncio.Queue[SipRequest] = asyncio.Queue()

        async def at_the_caller(incoming: IncomingRequest) -> None:
            updates.put_nowait(incoming.request)
            await incoming.reply(200)

        client.on_request = at_the_caller
        _, response = await called_up(client, hop)
        assert str(response.session_expires) == "90;refresher=uas"
        assert called.kept is not None
        due(called.kept)
        update = await updates.get()
        assert (update.method, str(update.session_expires)) == ("UPDATE", "90;refresher=uac")
        await called.kept.settled()
        assert called.kept.refreshes == 1
        assert called.kept.timer.state is State.OFF  # the 2xx had no Session-Expires: RFC 4028 7.2


async def test_the_loop_wakes_the_refresher_in_time() -> None:
    async with pair() as (client, server, hop):
        called = Called(server)
        timer = SessionTimer(Policy(90, refresher="us"))
        call, _ = await called_up(client, hop, timer.offer())
        kept = call.keep(timer, scale=SCALE)
        await next_of(called, "UPDATE")
        kept.close()


async def test_who_is_not_refreshed_says_bye() -> None:
    async with pair() as (client, server, hop):
        called = Called(server, scale=SCALE)
        byes: asyncio.Queue[SipRequest] = asyncio.Queue()

        async def at_the_caller(incoming: IncomingRequest) -> None:
            byes.put_nowait(incoming.request)
            await incoming.reply(200)

        client.on_request = at_the_caller
        await called_up(client, hop, SessionTimer(Policy(90, refresher="us")).offer())  # and then forgets it
        assert (await byes.get()).method == "BYE"
        assert called.kept is not None
        await called.kept.ended.wait()
        assert called.kept.why == "no refresh in time"


@pytest.mark.parametrize("status", [481, 500])
async def test_a_refresh_that_fails_ends_the_session(status: int) -> None:
    async with pair() as (client, server, hop):
        called = Called(server)
        called.refuse = [(status, [])]
        timer = SessionTimer(Policy(90, refresher="us"))
        call, _ = await called_up(client, hop, timer.offer())
        kept = call.keep(timer, scale=SLOW)
        due(kept)
        await next_of(called, "UPDATE")
        if status == 500:
            await kept.settled()
            assert timer.state is State.WATCHING
            due(kept)
        await next_of(called, "BYE")
        await kept.ended.wait()
        assert kept.why == ("the refresh got no answer" if status == 481 else "no refresh in time")
        assert kept.refreshes == 0


async def test_a_refresh_that_cannot_be_sent_ends_the_session() -> None:
    async with pair(t1=FAST) as (client, server, hop):
        Called(server)
        timer = SessionTimer(Policy(90, refresher="us"))
        call, _ = await called_up(client, hop, timer.offer())
        kept = call.keep(timer, scale=SLOW)
        await server.close()
        due(kept)
        await kept.ended.wait()
        assert kept.why == "the refresh got no answer"
        with pytest.raises(SipTransportError):
            await client.request(kept.dialog.request("BYE"))


async def test_a_refresh_refused_with_422_is_sent_again() -> None:
    async with pair() as (client, server, hop):
        called = Called(server)
        called.refuse = [(422, [("Min-SE", "100")])]
        timer = SessionTimer(Policy(90, refresher="us"))
        call, _ = await called_up(client, hop, timer.offer())
        kept = call.keep(timer, scale=SLOW)
        due(kept)
        first, second = await next_of(called, "UPDATE"), await next_of(called, "UPDATE")
        assert [one.session_expires and one.session_expires.seconds for one in (first, second)] == [90, 100]
        assert second.min_se == 100
        kept.close()


async def test_a_call_refused_with_422_may_ask_for_more() -> None:
    async with pair() as (client, server, hop):
        Called(server, Policy(min_se=120))
        timer = SessionTimer(Policy(90))
        call, response = await called_up(client, hop, timer.offer())
        assert (response.status, response.min_se) == (422, 120)
        assert timer.response(response, 0) == []
        call, response = await called_up(client, hop, timer.offer())
        assert str(response.session_expires) == "120;refresher=uac"
        assert call.keep(timer, scale=SLOW).timer.interval == 120


# --- what the peer sends in a kept session ---------------------------------------------------------------------------


async def test_a_re_invite_of_the_peer_is_answered_with_the_same_description() -> None:
    async with pair() as (client, server, hop):
        called = Called(server)
        call, _ = await called_up(client, hop, SessionTimer(Policy(90, refresher="us")).offer())
        assert call.dialog is not None
        again = client.call(call.dialog.request("INVITE", [contact(client, hop), SDP], OTHER))
        answer = await again.response()
        assert (answer.status, answer.body, answer.session_expires) == (200, ANSWER, None)
        await again.ack()
        assert called.kept is not None
        assert called.kept.timer.state is State.OFF
        assert called.kept.offers.agreed is not None
        assert called.kept.offers.agreed.theirs == OTHER


async def test_a_re_invite_without_a_description_gets_an_offer() -> None:
    async with pair() as (client, server, hop):
        called = Called(server)
        call, _ = await called_up(client, hop)
        assert call.dialog is not None
        again = client.call(call.dialog.request("INVITE", [contact(client, hop)]))
        assert (await again.response()).body == ANSWER
        await again.ack([SDP], OTHER)
        assert called.kept is not None
        await called.taken.get()
        assert called.kept.offers.agreed is not None
        assert (called.kept.offers.agreed.ours, called.kept.offers.agreed.theirs) == (ANSWER, OTHER)


async def test_a_session_without_descriptions_is_refreshed_without() -> None:
    async with pair() as (client, server, hop):
        Called(server, answer=b"", allow="INVITE")
        timer = SessionTimer(Policy(90, refresher="us"))
        call, _ = await called_up(client, hop, timer.offer(), offer=b"")
        kept = call.keep(timer, scale=SLOW)
        due(kept)
        await kept.settled()
        assert kept.refreshes == 1
        kept.close()
        await client.request(kept.dialog.request("UPDATE", [contact(client, hop), SDP], OFFER))


async def test_what_crosses_or_comes_too_early_or_too_late_is_refused() -> None:
    async with pair() as (client, server, hop):
        called = Called(server, Policy(min_se=300))
        call, _ = await called_up(client, hop)
        dialog, kept = call.dialog, called.kept
        assert dialog is not None
        assert kept is not None
        pending = kept.dialog.request("UPDATE", [SDP], OTHER)
        kept.offers.sent(pending)
        crossed = await client.request(dialog.request("UPDATE", [contact(client, hop), SDP], OTHER))
        assert crossed.status == 491
        kept.offers.gave_up()
        small = await client.request(dialog.request("UPDATE", [("Supported", "timer"), ("Session-Expires", "90")]))
        assert (small.status, small.min_se) == (422, 300)
        late = await client.request(dialog.request("UPDATE", cseq=1))
        assert (late.status, late.headers.get("Retry-After")) == (500, "1")


async def test_a_pending_offer_of_the_peer_does_not_hinder_our_refresh() -> None:
    async with pair() as (client, server, hop):
        called = Called(server, allow="INVITE")
        called.refuse = [(491, [])]
        timer = SessionTimer(Policy(90, refresher="us"))
        call, _ = await called_up(client, hop, timer.offer())
        kept = call.keep(timer, scale=SLOW)
        kept.offers.received(message("UPDATE", hop, [SDP], OTHER))
        due(kept)
        await next_of(called, "INVITE")
        await kept.settled()
        assert timer.state is State.WATCHING
        due(kept)
        await next_of(called, "BYE")
        await kept.ended.wait()


async def test_closing_stops_what_is_under_way() -> None:
    async with pair() as (client, server, hop):
        called = Called(server)
        asked = asyncio.Event()
        timer = SessionTimer(Policy(90, refresher="us"))
        call, _ = await called_up(client, hop, timer.offer())

        async def silent(incoming: IncomingRequest) -> None:
            asked.set()

        server.on_request = silent
        kept = call.keep(timer, scale=SLOW)
        due(kept)
        await asked.wait()
        kept.close()
        assert kept.ended.is_set()
        assert (kept.why, called.kept is not None) == (None, True)
