"""What stands inside the captured messages, value by value, as our readers give it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from captures import capture, facts, names
from cpmspec.evidence.reassembly import read_capture
from cpmspec.protocol.dialogs import Dialog
from cpmspec.protocol.offer_answer import answer_direction, choose_setup, connects
from cpmspec.wire.cpim import Cpim, parse_cpim
from cpmspec.wire.imap import ImapCommand, ImapResponse
from cpmspec.wire.mime import MediaType
from cpmspec.wire.sdp import Media, parse_sdp
from cpmspec.wire.section import parse_section
from cpmspec.wire.sip import SipRequest, SipResponse
from cpmspec.wire.uri import MsrpUri, NameAddr, parse_uri
from dissect_imap import literals, units
from dissect_msrp import spoken
from dissect_sip import SDP, Said, said

CALLS, PAGER, REGISTER = "sip-invite-msrp-tcp", "sip-message-cpim-udp", "sip-register-udp"
DEFERRED_TAG = "urn%3Aurn-7%3A3gpp-service.ims.icsi.oma.cpm.deferred"


def everything(name: str) -> list[Said]:
    """All messages of a capture in the order in which they began."""
    return sorted(said(read_capture(capture(name))), key=lambda one: one.packet)


def requests(name: str, direction: str, method: str) -> list[SipRequest]:
    found = [one.message for one in everything(name) if (one.direction, one.kind) == (direction, method)]
    return [message for message in found if isinstance(message, SipRequest)]


def answers(name: str, direction: str, kind: str) -> list[SipResponse]:
    found = [one.message for one in everything(name) if (one.direction, one.kind) == (direction, kind)]
    return [message for message in found if isinstance(message, SipResponse)]


def texts(addresses: Sequence[NameAddr]) -> list[str]:
    return [str(address) for address in addresses]


# --- a session with MSRP ---------------------------------------------------------------------------------------------


def media_of(message: SipRequest | SipResponse) -> Media:
    assert message.content_type == SDP
    media = parse_sdp(message.body).message
    assert media is not None
    return media


@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("direction", ["25071>25060", "34318>25080"])
def test_the_offer(direction: str, number: int) -> None:
    media = media_of(requests(CALLS, direction, "INVITE")[number - 1])
    assert (media.kind, media.port, media.protocol, media.formats) == ("message", 9, "TCP/MSRP", ("*",))
    assert (media.connection_host, media.setup, media.direction) == ("127.0.0.1", "active", "sendonly")
    assert media.accept_types == ("message/cpim",)
    assert media.accept_wrapped_types == ("*",)
    assert media.path == (f"msrp://127.0.0.1:9/s17614c{number};tcp",)
    assert (media.max_size, media.fingerprint, media.tls) == (None, None, False)


@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("direction", ["25080>34318", "25060>25071"])
def test_the_answer(direction: str, number: int) -> None:
    media = media_of(answers(CALLS, direction, "200 INVITE")[number - 1])
    assert (media.kind, media.port, media.protocol) == ("message", 25855, "TCP/MSRP")
    assert (media.connection_host, media.setup, media.direction) == ("127.0.0.1", "passive", "recvonly")
    assert (media.accept_types, media.accept_wrapped_types) == (("message/cpim",), ())
    assert media.path == (f"msrp://127.0.0.1:25855/as{number};tcp",)


def test_we_would_have_answered_so() -> None:
    for offer, answer in zip(
        requests(CALLS, "34318>25080", "INVITE"), answers(CALLS, "25080>34318", "200 INVITE"), strict=True
    ):
        offered, answered = media_of(offer), media_of(answer)
        assert choose_setup(offered.setup) == answered.setup
        assert answer_direction(offered.direction) == answered.direction
        assert connects(answered.setup, offerer=True)


@pytest.mark.parametrize("number", [0, 1])
def test_ack_and_bye_are_those_of_our_dialog(number: int) -> None:
    """RFC 3261 12.2.1.1: remote target from Contact, route set from Record-Route, numbers and tags."""
    invite = requests(CALLS, "25071>25060", "INVITE")[number]
    answer = answers(CALLS, "25060>25071", "200 INVITE")[number]
    dialog = Dialog.uac(invite, answer)
    for built, theirs in (
        (dialog.ack(), requests(CALLS, "25071>25060", "ACK")[number]),
        (dialog.request("BYE"), requests(CALLS, "25071>25060", "BYE")[number]),
    ):
        assert (built.method, built.uri, built.headers.get_all("route")) == (
            theirs.method,
            theirs.uri,
            theirs.headers.get_all("route"),
        )
        for name in ("from", "to", "call-id", "cseq", "max-forwards"):
            assert built.headers.get(name) == theirs.headers.get(name)


@pytest.mark.parametrize("number", [0, 1])
def test_our_dialog_takes_what_arrives_at_the_far_end(number: int) -> None:
    invite = requests(CALLS, "34318>25080", "INVITE")[number]
    dialog = Dialog.uas(invite, answers(CALLS, "25080>34318", "200 INVITE")[number])
    other = Dialog.uas(
        requests(CALLS, "34318>25080", "INVITE")[1 - number], answers(CALLS, "25080>34318", "200 INVITE")[1 - number]
    )
    for method in ("ACK", "BYE"):
        request = requests(CALLS, "34318>25080", method)[number]
        assert dialog.owns(request)
        assert not other.owns(request)
        dialog.receive(request)
    assert dialog.route_set == (f"<sip:127.0.0.1:25060;transport=tcp;lr=on;ftag=17614I{number + 1}>",)
    assert dialog.remote_target == "sip:alice@127.0.0.1:25071;transport=TCP"
    assert dialog.remote_seq == 2


def test_the_first_provisional_answer_makes_no_dialog() -> None:
    for trying in answers(CALLS, "25060>25071", "100 INVITE"):
        assert (trying.to_tag, trying.contact) == (None, ())
        assert trying.reason == "trying -- your call is important to us"


# --- a proxy on the way ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "method", "before", "after", "recorded"),
    [
        (CALLS, "INVITE", "25071>25060", "34318>25080", 1),
        (CALLS, "ACK", "25071>25060", "34318>25080", 0),
        (CALLS, "BYE", "25071>25060", "34318>25080", 0),
        (PAGER, "MESSAGE", "25071>5060", "5060>25080", 1),
    ],
)
def test_what_the_proxy_does_with_a_request(name: str, method: str, before: str, after: str, recorded: int) -> None:
    pairs = list(zip(requests(name, before, method), requests(name, after, method), strict=True))
    assert pairs
    for came, went in pairs:
        assert (went.uri, went.body, went.call_id, went.cseq) == (came.uri, came.body, came.call_id, came.cseq)
        assert went.max_forwards == (came.max_forwards or 0) - 1
        assert [via.branch for via in went.via[1:]] == [via.branch for via in came.via]
        assert (went.via[0].transport, went.via[0].host) == (came.via[0].transport, "127.0.0.1")
        assert (went.via[0].branch or "").startswith("z9hG4bK")
        assert went.route == ()
        place = "127.0.0.1:25060;transport=tcp" if name == CALLS else "127.0.0.1"
        assert texts(went.record_route) == [f"<sip:{place};lr=on;ftag={went.from_tag}>"] * recorded


@pytest.mark.parametrize(
    ("name", "before", "after"), [(CALLS, "25080>34318", "25060>25071"), (PAGER, "25080>5060", "5060>25071")]
)
def test_an_answer_loses_one_via_on_its_way(name: str, before: str, after: str) -> None:
    """The far end writes two Via values on one line (RFC 3261 7.3.1); the proxy takes off its own."""
    final = [
        [one.message for one in everything(name) if one.direction == way and not one.kind.startswith("1")]
        for way in (before, after)
    ]
    assert len(final[0]) == len(final[1]) > 0
    for came, went in zip(*final, strict=True):
        assert len(came.headers.get_all("via")) == 1
        assert (len(came.via), len(went.via)) == (2, 1)
        assert came.via[1] == went.via[0]
        assert (went.to_tag, went.body) == (came.to_tag, came.body)


def test_the_asserted_identity_replaces_the_preferred_one() -> None:
    for came, went in zip(
        requests(PAGER, "25071>5060", "MESSAGE"), requests(PAGER, "5060>25080", "MESSAGE"), strict=True
    ):
        assert (came.headers.get("P-Preferred-Identity"), came.p_asserted_identity) == ("<sip:alice@ims.test>", ())
        assert went.headers.get("P-Preferred-Identity") is None
        assert texts(went.p_asserted_identity) == ["<sip:alice@ims.test>"]


# --- pager mode ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("direction", ["25071>5060", "5060>25080"])
def test_a_pager_mode_message(direction: str, number: int) -> None:
    message = requests(PAGER, direction, "MESSAGE")[number - 1]
    assert (message.uri, message.content_type, message.content_length) == ("sip:bob@ims.test", "message/cpim", 247)
    assert message.headers.get("P-Preferred-Service") == "urn:urn-7:3gpp-service.ims.icsi.oma.cpm.msg"
    body = parse_cpim(message.body)
    assert body.violations == ()
    assert [header.name for header in body.headers] == [
        "From", "To", "DateTime", "NS", "imdn.Message-ID", "imdn.Disposition-Notification",
    ]  # fmt: skip
    assert (body.get("From"), body.get("To")) == ("<sip:alice@ims.test>", "<sip:bob@ims.test>")
    assert body.date_time == datetime(2025, 1, 1, tzinfo=UTC)
    assert body.namespaces == {"imdn": "urn:ietf:params:imdn"}
    assert (body.imdn_message_id, body.disposition) == (f"id-{number}", "positive-delivery")
    assert MediaType.parse(body.content_type or "").params == (("charset", "UTF-8"),)
    assert body.content == f"hello cpm {number}\r\n".encode()


# --- registration ----------------------------------------------------------------------------------------------------


def test_the_registration_has_a_feature_tag_and_the_answer_has_it_no_more() -> None:
    """RFC 3840 9: the tag is a parameter of Contact. Kamailio's registrar answers without it."""
    asked = requests(REGISTER, "25072>5060", "REGISTER")
    assert len(asked) == 2
    for request, answer in zip(asked, answers(REGISTER, "5060>25072", "200 REGISTER"), strict=True):
        (contact,), (bound,) = request.contact, answer.contact
        assert contact.param("+g.3gpp.icsi-ref") == DEFERRED_TAG
        assert bound.uri == contact.uri
        assert bound.params == (("expires", "600"),)
        assert request.expires == 600


def test_the_answer_to_a_registration() -> None:
    for answer in answers(REGISTER, "5060>25072", "200 REGISTER"):
        assert answer.headers.values("Service-Route") == ("<sip:orig@127.0.0.1:5060;lr>",)
        assert answer.headers.values("P-Associated-URI") == ("<sip:alice@ims.test>",)
        assert answer.to_tag
        assert answer.headers.get("Server") == "kamailio-core"


# --- the message store -----------------------------------------------------------------------------------------------


def store() -> tuple[list[ImapCommand], list[ImapResponse]]:
    said = [unit for stream in read_capture(capture("imap-dovecot-deferred")).streams for unit in units(stream)]
    commands = [unit for unit in said if isinstance(unit, ImapCommand)]
    return commands, [unit for unit in said if isinstance(unit, ImapResponse)]


def stored(octets: bytes) -> tuple[dict[str, str], Cpim]:
    """A stored object: its headers by name, and the CPIM message in it."""
    section = parse_section(octets)
    assert section.defects == ()
    return {header.name: header.value for header in section.headers}, parse_cpim(octets[section.end :])


def test_each_command_has_its_answer_and_they_come_in_order() -> None:
    commands, replies = store()
    assert [command.tag for command in commands] == [f"NDJA{number}" for number in range(18)]
    tagged = [reply for reply in replies if reply.tag not in ("*", "+")]
    assert [(reply.tag, reply.status) for reply in tagged] == [(command.tag, "OK") for command in commands]


def test_the_arguments_of_the_commands() -> None:
    commands, _ = store()
    given = {command.name: command.arguments for command in reversed(commands)}
    assert given["LOGIN"] == (b"alice@ims.test", b"secret")
    assert given["CREATE"] == given["SELECT"] == (b"CPM-Deferred",)
    assert given["APPEND"][:3] == (b"CPM-Deferred", rb"(\Seen $CPMx)", b"01-Jan-2025 00:00:00 +0000")
    assert given["UID SEARCH"] == (b"HEADER", b"IMDN-Message-ID", b"imdn-77")
    assert given["UID FETCH"] == (b"1:*", b"(UID FLAGS INTERNALDATE RFC822.SIZE BODYSTRUCTURE BODY.PEEK[])")
    assert given["UID STORE"] == (b"1:*", b"+FLAGS", rb"(\Deleted)")
    assert given["SETMETADATA"] == (b"", b'(/private/comment "v1")')
    assert given["GETMETADATA"] == (b"", b"(/private/comment)")
    later = [command.arguments for command in commands if command.name == "APPEND"][1:]
    assert [arguments[:1] for arguments in later] == [(b"CPM-Deferred",)] * 5
    assert {len(arguments) for arguments in later} == {2}


def test_what_is_stored_comes_back_octet_by_octet() -> None:
    commands, replies = store()
    (appended,) = {literal for command in commands for literal in literals(command)}
    (fetched,) = [reply for reply in replies if reply.literals == (appended,)]
    assert fetched.text.startswith(rb"1 FETCH (UID 1 FLAGS (\Seen \Recent $CPMx) INTERNALDATE ")
    assert fetched.text.endswith(appended + b")")
    (metadata,) = [reply for reply in replies if reply.text.startswith(b"METADATA")]
    assert metadata.literals == (b"v1",)


def test_the_stored_object() -> None:
    commands, _ = store()
    for command in commands:
        for literal in literals(command):
            headers, body = stored(literal)
            assert headers["Content-Type"] == "message/cpim"
            assert headers["IMDN-Message-ID"] == "imdn-77"
            assert (headers["Contribution-ID"], headers["Conversation-ID"]) == ("c-1", "v-1")
            assert headers["Message-Context"] == "pager-message"
            assert (body.get("From"), body.content_type) == ("<sip:alice@ims.test>", "text/plain")
            assert body.violations == ()
            assert body.content.startswith(b"hello")


# --- MSRP ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", names("msrp"))
def test_paths_are_msrp_uris_and_each_response_has_its_request(name: str) -> None:
    directions = [spoken(stream) for stream in read_capture(capture(name)).streams]
    frames = [frame for one in directions for frame in one.whole]
    for frame in frames:
        for path in (frame.to_path, frame.from_path):
            (uri,) = map(parse_uri, path)
            assert isinstance(uri, MsrpUri)
            assert (uri.scheme, uri.host, uri.transport) == ("msrp", "127.0.0.1", "tcp")
            assert uri.port
            assert uri.session_id
    asked = [frame.transaction_id for frame in frames if frame.is_request]
    assert len(asked) == len(set(asked))
    if "derived" not in facts()[name]:
        sends = [frame.transaction_id for frame in frames if frame.method == "SEND"]
        assert [frame.transaction_id for frame in frames if not frame.is_request] == sends
