"""The server as a whole: deferring, notifying, delivering, over sockets on loopback."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cpmspec.net.tls import client_context
from cpmspec.protocol.dialogs import Dialog
from cpmspec.reference.delivery import Delivery
from cpmspec.reference.parts import Parts
from cpmspec.wire.headers import Header, Headers
from cpmspec.wire.mime import parse_multipart
from cpmspec.wire.sdp import parse_sdp
from cpmspec.wire.section import parse_section
from cpmspec.wire.sip import SipRequest
from cpmspec.wire.summary import parse_summary

ALICE, CAROL, BOB = "sip:alice@example.com", "sip:carol@example.com", "sip:bob@example.com"
PSI = "sip:deferred@example.com"


async def notice(core: Any) -> SipRequest:
    return await asyncio.wait_for(core.messages.get(), 5)


def waiting(core: Any, user: str = ALICE) -> Any:
    return core.server.pf.store.waiting(user, core.server.pf.now())


async def settled(core: Any, count: int = 0, user: str = ALICE) -> None:
    """Wait until the store shows that many waiting messages (the last 200 has been read)."""
    async with asyncio.timeout(5):
        while len(waiting(core, user)) != count:  # noqa: ASYNC110 (the store has no events)
            await asyncio.sleep(0.005)


async def test_message_waits_is_announced_delivered_and_gone(start: Any) -> None:
    core = await start()
    deferred = await core.defer(b"hello \x00\xff", Subject="one", Conversation_ID="c1")
    assert deferred.status == 202
    assert not deferred.body
    assert (await core.register()).status == 200
    summary = parse_summary((await notice(core)).body)
    assert str(summary.count("Pager-Message")) == "Pager-Message: 1/0"
    assert (summary.messages[0].get("Message-ID") or "").startswith("call-")

    dialog, peer, response = await core.retrieve()
    assert response.status == 200
    content_type, body = await peer.message()
    assert content_type.lower().startswith("multipart/mixed")
    parts = parse_multipart(content_type, body)
    assert not parts.violations
    assert [part.content_type.full for part in parts.parts] == ["message/sipfrag", "text/plain"]
    stored = parse_section(parts.parts[0].body, 0, Header).headers
    assert (stored.get("Subject"), stored.get("Conversation-ID")) == ("one", "c1")
    assert parts.parts[1].body == b"hello \x00\xff"

    bye = await core.bye()
    assert dialog is not None
    assert dialog.owns(bye)
    assert str(bye.route[0].uri) == core.uri
    assert not waiting(core)
    dialog, _, response = await core.retrieve()
    assert (dialog, response.status) == (None, 480)


async def test_every_message_once_oldest_first_in_chunks(start: Any) -> None:
    core = await start(msrp__chunk_size=2048)
    contents = [bytes([65 + number]) * 5000 for number in range(5)]
    for content in contents:
        assert (await core.defer(content)).status == 202
    _, peer, _ = await core.retrieve()
    got = [parse_multipart(*await peer.message()).parts[-1].body for _ in contents]
    assert got == contents
    await core.bye()
    assert not waiting(core)


async def test_what_failed_stays_and_is_announced_again(start: Any) -> None:
    core = await start()
    await core.defer(b"first")
    await core.defer(b"second")
    _, peer, _ = await core.retrieve(status=lambda frame: 413 if b"first" in frame.body else 200)
    await peer.message()
    await peer.message()
    await core.bye()
    assert [core.server.pf.store.content(message).read(0, 99) for message in waiting(core)] == [b"first"]
    await core.register()
    assert str(parse_summary((await notice(core)).body).count("Pager-Message")) == "Pager-Message: 1/0"


@pytest.mark.parametrize("status", [481, 506, 415])
async def test_a_stopped_session_ends_with_bye_and_everything_waits(start: Any, status: int) -> None:
    core = await start()
    await core.defer(b"first")
    await core.defer(b"second")
    await core.retrieve(status=lambda frame: status if frame.body else 200)
    await core.bye()
    assert len(waiting(core)) == 2


async def test_bye_waits_for_the_last_answer(start: Any) -> None:
    core = await start(msrp__response_timer=0.3)
    await core.defer()
    _, peer, _ = await core.retrieve(status=lambda frame: None)
    await peer.message()
    assert core.byes.empty()
    await core.bye()
    assert len(waiting(core)) == 1


async def test_client_bye_and_connection_loss_leave_the_rest(start: Any) -> None:
    core = await start()
    await core.defer()
    dialog, peer, _ = await core.retrieve(status=lambda frame: None)
    await peer.message()
    assert isinstance(dialog, Dialog)
    assert (await core.ask(dialog.request("BYE"))).status == 200
    await asyncio.wait_for(peer.lost.wait(), 5)
    assert core.byes.empty()
    _, peer, response = await core.retrieve(status=lambda frame: None)
    assert response.status == 200
    await peer.message()
    assert peer.connection is not None
    peer.connection.abort()
    await core.bye()
    assert len(waiting(core)) == 1


async def test_a_queue_is_its_owners_alone_and_held_by_one_session(start: Any) -> None:
    core = await start()
    await core.defer()
    assert (await core.retrieve(CAROL))[2].status == 480
    _, peer, _ = await core.retrieve(status=lambda frame: None)
    await peer.message()
    assert (await core.retrieve())[2].status == 480


@pytest.mark.parametrize(
    "offer",
    [
        {"accept_types": ("text/plain",)},
        {"accept_wrapped_types": ("text/plain",)},
        {"direction": "sendonly"},
        {"max_size": 10},
    ],
)
async def test_an_offer_that_forbids_everything_is_refused(start: Any, offer: dict[str, Any]) -> None:
    core = await start()
    await core.defer()
    assert (await core.retrieve(**offer))[2].status == 488
    assert len(waiting(core)) == 1


async def test_a_message_beyond_max_size_waits_while_others_go(start: Any) -> None:
    core = await start()
    await core.defer(b"x" * 5000)
    await core.defer(b"short")
    _, peer, _ = await core.retrieve(max_size=3000)
    assert parse_multipart(*await peer.message()).parts[-1].body == b"short"
    await core.bye()
    assert [message.size for message in waiting(core)] == [5000]


async def test_large_message_is_deferred_chunk_by_chunk(start: Any) -> None:
    core = await start()
    content = bytes(range(256)) * 700
    await send_large(core, content)
    assert [message.size for message in waiting(core)] == [len(content)]
    await core.register()
    assert str(parse_summary((await notice(core)).body).count("Multimedia-Message")) == "Multimedia-Message: 1/0"
    _, peer, _ = await core.retrieve()
    parts = parse_multipart(*await peer.message()).parts
    assert [part.content_type.full for part in parts] == ["message/sipfrag", "message/msrpfrag", "image/png"]
    assert parts[2].body == content
    msrp = parse_section(parts[1].body).headers
    assert [header.name for header in msrp] == ["Message-ID", "Content-Type"]
    assert parse_section(parts[0].body).headers.get("Subject") == "large"
    await core.bye()
    assert not waiting(core)


async def send_large(core: Any, content: bytes, *, last: str = "$", expect: int = 200) -> Any:
    """INVITE the user, send the content in chunks, wait for their answers, BYE."""
    peer = core.peer()
    sdp = core.description(peer, direction="sendonly", accept_types=("*",), accept_wrapped_types=())
    call = core.invite(ALICE, sdp, BOB, ("Subject", "large"), ("Expires", "0"))
    response = await asyncio.wait_for(call.response(), 5)
    assert response.status == 200
    await call.ack(hop=core.pf)
    media = parse_sdp(response.body).message
    assert media is not None
    assert (media.direction, media.setup) == ("recvonly", "passive")
    await peer.connect(media.path)
    size, step = len(content), 2048
    for start in range(0, size, step):
        piece = content[start : start + step]
        flag = last if start + step >= size else "+"
        span = ("Byte-Range", f"{start + 1}-{start + len(piece)}/{size}")
        peer.send("SEND", f"tid{start:08d}", [("Message-ID", "large001"), span], piece, flag, "image/png")
    answers = [await peer.frame() for _ in range(0, size, step)]
    assert [frame.head.status for frame in answers][-1] == expect
    assert call.dialog is not None
    assert (await core.ask(call.dialog.request("BYE"))).status == 200
    return answers


async def test_an_aborted_large_message_is_not_stored(start: Any) -> None:
    core = await start()
    await send_large(core, b"x" * 5000, last="#")
    assert not waiting(core)
    await send_large(core, b"x" * 5000, last="+")
    assert not waiting(core)


async def test_a_registered_user_is_told_of_a_large_message_at_once(start: Any) -> None:
    core = await start()
    await core.register()
    await send_large(core, b"x" * 3000)
    assert parse_summary((await notice(core)).body).waiting


async def test_push_brings_messages_at_registration(start: Any) -> None:
    rule = {"match": f"{ALICE}", "establishment": "push"}
    core = await start(users=[rule])
    await core.defer(b"pushed")
    await core.register()
    incoming = await asyncio.wait_for(core.invites.get(), 5)
    request = incoming.request
    assert "oma.cpm.deferred" in (request.headers.get("Accept-Contact") or "")
    offer = parse_sdp(request.body).message
    assert offer is not None
    assert (offer.setup, offer.direction) == ("actpass", "sendonly")
    peer = core.peer()
    sdp = core.description(peer)
    routes = [("Record-Route", f"<{core.uri}>"), ("Contact", f"<{core.uri}>"), ("Content-Type", "application/sdp")]
    ok = await incoming.reply(200, None, routes, sdp)
    dialog = Dialog.uas(request, ok)
    await peer.connect(offer.path)
    await incoming.acknowledged()
    peer.bind()
    assert parse_multipart(*await peer.message()).parts[-1].body == b"pushed"
    assert dialog.owns(await core.bye())
    assert not waiting(core)


async def test_a_refused_push_leaves_everything(start: Any) -> None:
    core = await start(users=[{"match": "*", "establishment": "push"}])
    await core.defer()
    await core.register()
    await (await asyncio.wait_for(core.invites.get(), 5)).reply(486)
    await core.register(expires=0)
    assert len(waiting(core)) == 1


async def test_tls_with_the_fingerprint_of_the_answer(start: Any) -> None:
    core = await start()
    await core.defer()
    peer = core.peer()
    peer.uri = peer.uri.replace("msrp:", "msrps:")
    call = core.invite(PSI, core.description(peer, tls=True), ALICE)
    response = await asyncio.wait_for(call.response(), 5)
    media = parse_sdp(response.body).message
    assert media is not None
    assert media.tls
    await call.ack(hop=core.pf)
    await peer.connect(media.path, client_context(by_fingerprint=True))
    assert media.fingerprint == core.server.pf.media.fingerprint
    peer.bind()
    await peer.message()
    await core.bye()


async def test_a_registered_user_gets_the_message_forwarded(start: Any) -> None:
    core = await start()
    await core.register()
    response = await core.defer(b"direct")
    assert response.status == 200
    forwarded = await notice(core)
    assert forwarded.body == b"direct"
    assert [str(address.uri) for address in forwarded.route] == [f"{core.uri};odi=1"]
    assert forwarded.max_forwards == 69
    assert not waiting(core)


@pytest.mark.parametrize(("status", "expected", "left"), [(408, 202, 1), (480, 202, 1), (503, 202, 1), (486, 486, 0)])
async def test_what_cannot_be_forwarded_is_deferred(start: Any, status: int, expected: int, left: int) -> None:
    core = await start()
    await core.register()
    core.answer = lambda request: status
    assert (await core.defer()).status == expected
    assert len(waiting(core)) == left


async def test_a_silent_client_is_deferred_and_its_late_answer_withdraws_the_copy(start: Any) -> None:
    core = await start(sip__answer_timeout=0.1)
    await core.register()
    requests = []
    original = core.on_request

    async def hold(incoming: Any) -> None:
        if incoming.request.method == "MESSAGE":
            requests.append(incoming)
        else:
            await original(incoming)

    core.endpoint.on_request = hold
    assert (await core.defer()).status == 202
    assert len(waiting(core)) == 1
    await requests[0].reply(200)
    await settled(core)


async def test_registrations_and_messages_outlive_the_server(start: Any) -> None:
    core = await start()
    await core.register()
    core.answer = lambda request: 480
    await core.defer(b"kept")
    await core.server.stop()
    again = await start()
    assert again.server.pf.registrations.find(ALICE) is not None
    assert len(waiting(again)) == 1


async def test_a_refresh_does_not_notify(start: Any) -> None:
    core = await start()
    await core.register()
    core.answer = lambda request: 480
    await core.defer()
    await notice(core)
    await core.register()
    await core.register(expires=0)
    core.answer = lambda request: 200
    await core.register()
    assert parse_summary((await notice(core)).body).waiting
    assert core.messages.empty()


async def test_a_notification_stays_small_and_counts_all(start: Any) -> None:
    core = await start()
    for number in range(40):
        await core.defer(b"x", Subject=f"message number {number}")
    await core.register()
    request = await notice(core)
    assert len(request.octets()) <= 1300
    assert str(parse_summary(request.body).count("Pager-Message")) == "Pager-Message: 40/0"


@pytest.mark.parametrize("value", ["0", "1"])
async def test_what_is_over_is_never_delivered(start: Any, value: str) -> None:
    core = await start()
    response = await core.defer(b"old", Expires=value, Date="Mon, 01 Jan 2024 00:00:00 GMT")
    assert response.status == 480
    assert (await core.retrieve())[2].status == 480


async def test_bad_requests_are_refused_and_not_stored(start: Any) -> None:
    core = await start(users=[{"match": ALICE}])
    assert (await core.defer(user=CAROL)).status == 404
    assert (await core.defer(Expires="soon")).status == 400
    assert (await core.defer(Require="thing")).status == 420
    doubled = core.build("MESSAGE", ALICE, ("Content-Type", "text/plain"), body=b"x")
    doubled = doubled.with_headers(
        Headers((*doubled.headers, Header.make("Subject", "a"), Header.make("Subject", "b")))
    )
    assert (await core.ask(doubled)).status == 400
    assert (await core.ask(core.build("PUBLISH", ALICE))).status == 405
    assert (await core.ask(core.build("NONSENSE", ALICE))).status == 501
    no_dialog = core.build("BYE", ALICE)
    no_dialog = no_dialog.with_headers(no_dialog.headers.replaced("To", f"<{ALICE}>;tag=none"))
    assert (await core.ask(no_dialog)).status == 481
    assert not waiting(core)


@pytest.mark.parametrize(
    ("name", "value", "status"),
    [
        ("Contact", f"<{ALICE}>;expires=soon", 202),  # a remark: RFC 3261 20.10 has a default for it
        ("Accept", "", 202),
        ("Supported", "", 202),
        ("Allow", ", ".join(f"M{number}" for number in range(300)), 513),  # legal, but more than is looked at
        ("Allow", f"INVITE INVITE, {', '.join(f'M{number}' for number in range(300))}", 400),
    ],
)
async def test_what_is_refused_is_what_cannot_be_read(start: Any, name: str, value: str, status: int) -> None:
    core = await start(users=[{"match": ALICE}])
    request = core.build("MESSAGE", ALICE, ("Content-Type", "text/plain"), body=b"x")
    request = request.with_headers(Headers((*request.headers, Header.make(name, value))))
    assert (await core.ask(request)).status == status


async def test_only_the_core_is_believed(start: Any) -> None:
    core = await start()
    await core.defer()
    config = core.server.pf.config
    core.server.pf.config = replace(
        config, core=replace(config.core, address="192.0.2.1:5060"), sip=replace(config.sip, listen=("192.0.2.9",))
    )
    assert (await core.register()).status == 403
    assert (await core.defer()).status == 403
    assert (await core.retrieve())[2].status == 403
    core.server.pf.config = config


async def test_a_stopping_server_says_bye_and_keeps_what_was_not_answered(start: Any, tmp_path: Path) -> None:
    core = await start()
    await core.defer()
    _, peer, _ = await core.retrieve(status=lambda frame: None)
    await peer.message()
    await core.server.stop()
    assert core.byes.qsize() == 1
    again = await start()
    assert len(waiting(again)) == 1


async def test_parts_replace_parts_and_see_the_octets(start: Any) -> None:
    seen = set()

    class Loud(Delivery):
        def content_headers(self, message: Any) -> Any:
            return (("Content-Type", "text/loud"),)

    def outbound(pco: str, octets: bytes) -> bytes:
        seen.add(pco)
        return octets

    core = await start(Parts(delivery=Loud, outbound=outbound))
    await core.defer(b"hello")
    _, peer, _ = await core.retrieve()
    assert parse_multipart(*await peer.message()).parts[-1].content_type.full == "text/loud"
    await core.bye()
    assert seen == {"isc", "msrp"}


def unknown(uri: str) -> str:
    """The URI with a session-id that nobody has given out."""
    head, _, tail = uri.rpartition("/")
    return f"{head}/{'1' if tail.startswith('0') else '0'}{tail[1:]}"


async def test_msrp_requests_without_a_session_get_481_and_a_second_connection_506(start: Any) -> None:
    core = await start()
    await core.defer()
    _, peer, _ = await core.retrieve(status=lambda frame: None)
    await peer.message()
    second = core.peer()
    await second.connect(peer.peer)
    second.bind()
    assert (await second.frame()).head.status == 506
    lost = core.peer()
    await lost.connect((unknown(peer.peer[0]),))
    lost.bind()
    assert (await lost.frame()).head.status == 481


async def test_an_msrp_request_that_no_response_can_repeat_is_not_answered_and_harms_nobody(start: Any) -> None:
    core = await start()
    await core.defer()
    _, peer, _ = await core.retrieve(status=lambda frame: None)
    await peer.message()
    stranger = core.peer()
    await stranger.connect((unknown(peer.peer[0]),))
    for one, status in ((peer, 200), (stranger, 481)):
        paths = f"To-Path: {one.peer[0]}\r\nFrom-Path: {one.uri}\r\n"
        one.connection.write(f"MSRP abc SEND\r\n{paths}Message-ID: m1aa\r\n-------abc$\r\n".encode())
        one.bind()
        answer = await one.frame()
        assert (answer.head.transaction_id, answer.head.status) == ("bind0001", status)
        assert not one.lost.is_set()
