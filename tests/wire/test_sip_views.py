"""Typed views of SIP headers that extensions bring, and values by themselves."""

from __future__ import annotations

import pytest

from cpmspec.wire.sip import (
    AcceptContact,
    SessionExpires,
    SipRequest,
    parse_accept_contact,
    parse_message,
    parse_session_expires,
    parse_via,
)
from cpmspec.wire.sip_views import MAX_VALUES, parse_number
from cpmspec.wire.uri import SipUri

NONE = b"OPTIONS sip:a@b SIP/2.0\r\n\r\n"


def request(*lines: str) -> SipRequest:
    message = parse_message("\r\n".join(["OPTIONS sip:a@b SIP/2.0", *lines, "", ""]).encode())
    assert isinstance(message, SipRequest)
    return message


def test_what_is_absent() -> None:
    none = request()
    assert (none.session_expires, none.min_se, none.media_type, none.p_served_user) == (None, None, None, None)
    assert (none.require, none.supported, none.privacy, none.p_asserted_service) == ((), (), (), ())
    assert (none.p_preferred_identity, none.p_preferred_service, none.accept_contact, none.reject_contact) == ((),) * 4


def test_identities_and_services() -> None:
    message = request(
        'P-Preferred-Identity: "A" <sip:a@b>', "P-Served-User: <sip:c@d>;sescase=term;regstate=unreg",
        "P-Asserted-Service: urn:urn-7:a.b", "P-Preferred-Service: urn:urn-7:c, urn:urn-7:d", "Privacy: ID; Header",
        "c: Multipart/Mixed;boundary=x",
    )  # fmt: skip
    assert [one.display for one in message.p_preferred_identity] == ["A"]
    assert message.p_served_user is not None
    assert message.p_served_user.param("sescase") == "term"
    assert message.p_asserted_service == ("urn:urn-7:a.b",)
    assert message.p_preferred_service == ("urn:urn-7:c", "urn:urn-7:d")
    assert message.privacy == ("id", "header")
    assert message.media_type is not None
    assert (message.media_type.full, message.media_type.param("boundary")) == ("multipart/mixed", "x")


def test_features_of_contacts() -> None:
    message = request('a: *;+G.3gpp.icsi-ref="urn%3Aa, !b";video;require', "Accept-Contact: *;explicit", "j: *;audio")
    first, second = message.accept_contact
    assert (first.require, first.explicit, first.features) == (True, False, ("+g.3gpp.icsi-ref", "video"))
    assert first.values("+g.3gpp.icsi-ref") == ("urn%3Aa", "!b")
    assert (first.values("video"), first.values("none")) == ((), ())
    assert (second.require, second.explicit, second.features, str(second)) == (False, True, (), "*;explicit")
    assert message.reject_contact == (AcceptContact((("audio", None),), "*;audio"),)
    assert parse_accept_contact("*").features == ()


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ("1800", SessionExpires(1800)),
        ("1800 ; refresher = UAC ;x", SessionExpires(1800, "uac")),
        ("0090;refresher=uas", SessionExpires(90, "uas")),
        ("90;refresher=proxy", SessionExpires(90)),
        ("", None),
        ("soon", None),
        ("4294967296", None),
    ],
)
def test_session_expires(value: str, read: SessionExpires | None) -> None:
    assert parse_session_expires(value) == read
    assert request(f"x: {value}").session_expires == read
    assert read is None or parse_session_expires(str(read)) == read


def test_long_lists_are_read_up_to_a_limit() -> None:
    message = request("Via: " + ",".join(["SIP/2.0/UDP h"] * (MAX_VALUES + 5)))
    assert len(message.via) == MAX_VALUES
    assert len(message.headers.values("via")) == MAX_VALUES + 5


def test_numbers() -> None:
    assert [parse_number(text, 10) for text in ("0" * 50, "007", "10", "11", "9" * 21, "", "+1", None)] == [
        0, 7, 10, None, None, None, None, None,
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        "SIP/2.0/UDP h.example.org:5060;branch=z9;rport",
        "SIP/2.0/TCP h",
        "SIP/2.0/TCP 10.0.0.1:99999;a",
        "SIP/2.0/TLS h:0",
    ],
)
def test_the_usual_way_to_read_a_via_is_the_long_one(text: str) -> None:
    usual, spaced = parse_via(text), parse_via(text.replace("/", " / "))
    assert usual._replace(text="") == spaced._replace(text="")


def test_a_via_with_its_text_is_written_as_it_was_read() -> None:
    assert str(parse_via("SIP/2.0/UDP   h ; a")) == "SIP/2.0/UDP   h ; a"
    assert str(parse_via("SIP/2.0/UDP   h ; a").with_param("b", None)) == "SIP/2.0/UDP h;a;b"


def test_the_request_uri() -> None:
    uri = request().request_uri
    assert isinstance(uri, SipUri)
    assert uri.host == "b"
