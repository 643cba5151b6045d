"""URIs, name-addr, identities and their equality."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cpmspec.wire.uri import (
    MsrpUri,
    NameAddr,
    OtherUri,
    SipUri,
    TelUri,
    aor,
    parse_name_addr,
    parse_uri,
    same_uri,
)

PROPERTY = settings(deadline=None, derandomize=True, database=None)
PIECES = ["sip:", "tel:", "msrp://", "a", "%41", "@", ":", ";", "=", "?", "[::1]", "<", ">", '"', "\\", " ", "\udcff"]
TEXTS = st.lists(st.sampled_from(PIECES)).map("".join)


@PROPERTY
@given(TEXTS | st.text())
def test_any_text_is_read_and_kept(text: str) -> None:
    assert str(parse_uri(text)) == text
    address = parse_name_addr(text)
    assert isinstance(str(address), str)
    assert isinstance(aor(text), str)


@PROPERTY
@given(TEXTS | st.text())
def test_a_uri_equals_itself(text: str) -> None:
    assert same_uri(text, text)


@PROPERTY
@given(st.text(st.characters(exclude_characters="\0")), st.sampled_from(["sip:a@b", "tel:+1;x=y", "urn:x:y"]))
def test_a_built_name_addr_is_read_back(display: str, uri: str) -> None:
    built = NameAddr(display, parse_uri(uri), (("tag", "x"), ("q", '"a;b"')))
    assert parse_name_addr(str(built)) == built


def test_the_components_of_a_sip_uri() -> None:
    uri = parse_uri("SIPS:al%20ice;x?y:se:cret@[2001:DB8::1]:5061;transport=TCP;lr;maddr=239.1.1.1?Subject=a&To=b")
    assert isinstance(uri, SipUri)
    assert (uri.scheme, uri.user, uri.password) == ("sips", "al%20ice;x?y", "se:cret")
    assert (uri.host, uri.port, uri.headers) == ("2001:DB8::1", 5061, "Subject=a&To=b")
    assert (uri.param("TRANSPORT"), uri.param("lr"), uri.param("ttl")) == ("TCP", "", None)


@pytest.mark.parametrize(
    ("text", "user", "host", "port"),
    [
        ("sip:example.com", None, "example.com", None),
        ("sip:10.0.0.1:5060;lr", None, "10.0.0.1", 5060),
        ("sip:a;b=c@h", "a;b=c", "h", None),
        ("sip:+1-212@h;user=phone", "+1-212", "h", None),
        ("sip:a@h:65535", "a", "h", 65535),
        ("sip:[::1]", None, "::1", None),
    ],
)
def test_legal_sip_uris(text: str, user: str | None, host: str, port: int | None) -> None:
    uri = parse_uri(text)
    assert isinstance(uri, SipUri)
    assert (uri.user, uri.host, uri.port) == (user, host, port)


@pytest.mark.parametrize(
    "text",
    [
        "", "sip:", "sip:@h", "sip:a@", "sip:a@b@c", "sip:a@h:65536", "sip:a@h:", "sip:a@h:x", "sip:a@[::1",
        "sip:a@::1", "sip:a b@h", "sip:a@h\r\nX: y", "<sip:a@h>", "tel:", "msrp:h:1/x;tcp", "msrp://:1/x;tcp", "alice",
        "sip:a@h\u0661", "sip:a@h:\u0661",
    ],
)  # fmt: skip
def test_what_breaks_its_grammar_is_other(text: str) -> None:
    assert isinstance(parse_uri(text), OtherUri)


# RFC 3261 19.1.4 and RFC 5954 4.2
@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtlanTa.CoM;Transport=tcp", True),
        ("sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5", True),
        ("sip:carol@chicago.com;security=on", "sip:carol@chicago.com;newparam=5", True),
        ("sip:carol@chicago.com;security=on", "sip:carol@chicago.com;security=off", False),
        ("sip:biloxi.com;transport=tcp;method=REGISTER", "sip:biloxi.com;method=REGISTER;transport=tcp", True),
        ("sip:a@h?to=x&from=y", "sip:a@h?from=y&to=x", True),
        ("sip:a@h?to=x", "sip:a@h", False),
        ("SIP:ALICE@AtLanTa.CoM", "sip:alice@AtLanTa.CoM", False),
        ("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060", False),
        ("sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp", False),
        ("sip:bob@biloxi.com", "sips:bob@biloxi.com", False),
        ("sip:a:x@h", "sip:a@h", False),
        ("sip:a@[2001:db8::1]", "sip:a@[2001:DB8:0:0::1]", True),
        ("sip:a%3bb@h", "sip:a;b@h", False),
        ("sip:a%3bb@h", "sip:a%3Bb@h", True),
        ("tel:+1-201-555-0123", "tel:+12015550123", True),
        ("tel:7042;phone-context=example.com", "tel:7042;phone-context=Example.com", True),
        ("tel:7042;phone-context=example.com", "tel:7042;phone-context=example.org", False),
        ("tel:+1;isub=1;x=2", "tel:+1;x=2;isub=1", True),
        ("msrp://H:2855/abc;tcp", "MSRP://h:2855/abc;TCP", True),
        ("msrp://u@h:2855/abc;tcp", "msrp://h:2855/abc;tcp;x=y", True),
        ("msrp://h:2855/abc;tcp", "msrp://h:2855/ABC;tcp", False),
        ("msrp://h:2855/abc;tcp", "msrp://h/abc;tcp", False),
        ("msrp://h:2855/abc;tcp", "msrps://h:2855/abc;tcp", False),
        ("msrp://[::1]:1/a;tcp", "msrp://[0:0::1]:1/a;tcp", True),
        ("urn:service:sos", "urn:service:sos", True),
        ("sip:a@h", "tel:+1", False),
    ],
)
def test_equality(first: str, second: str, same: bool) -> None:
    assert same_uri(first, second) is same
    assert same_uri(second, first) is same


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("sip:Alice@Example.COM;user=phone", "sip:Alice@example.com"),
        ("sips:Alice@example.com:5061", "sip:Alice@example.com"),
        ('"Alice" <sip:%41lice@example.com>;tag=1', "sip:Alice@example.com"),
        ("<tel:+1-201-555>", "tel:+1201555"),
        ("tel:+1(201)555;x=y", "tel:+1201555"),
        ("sip:[2001:DB8:0::1]", "sip:[2001:db8::1]"),
        ("urn:x:Y", "urn:x:Y"),
        ("anonymous", "anonymous"),
    ],
)
def test_identities(text: str, key: str) -> None:
    assert aor(text) == key


@pytest.mark.parametrize(
    ("text", "display", "uri", "tag"),
    [
        ("<sip:a@b>", "", "sip:a@b", None),
        ("sip:a@b;tag=x", "", "sip:a@b", "x"),
        ("<sip:a@b;lr>;tag=x", "", "sip:a@b;lr", "x"),
        ("Alice Smith <sip:a@b> ; TAG = x", "Alice Smith", "sip:a@b", "x"),
        (r'"A \"<\" \\" <sip:a@b>;tag=x', 'A "<" \\', "sip:a@b", "x"),
        ('"A;tag=no" <sip:a@b>', "A;tag=no", "sip:a@b", None),
        ("<sip:a@b>;tag=", "", "sip:a@b", None),
        ('<sip:a@b>;x="a;tag=no";tag=x', "", "sip:a@b", "x"),
        ("*", "", "*", None),
    ],
)
def test_name_addr(text: str, display: str, uri: str, tag: str | None) -> None:
    address = parse_name_addr(text)
    assert (address.display, str(address.uri), address.tag) == (display, uri, tag)


@pytest.mark.parametrize("text", ['"open <sip:a@b>', '"closed" sip:a@b', "<sip:a@b", "", '"'])
def test_a_broken_name_addr_has_no_readable_uri(text: str) -> None:
    assert parse_name_addr(text).uri == OtherUri("", text)


def test_parameters_of_a_name_addr() -> None:
    address = parse_name_addr('<sip:a@b>;+g.3gpp.icsi-ref="urn%3Aurn-7%3Ax";expires=5;ob')
    assert address.param("+G.3GPP.icsi-ref") == "urn%3Aurn-7%3Ax"
    assert (address.param("ob"), address.param("q")) == ("", None)
    assert str(address.with_param("expires", "0")) == '<sip:a@b>;+g.3gpp.icsi-ref="urn%3Aurn-7%3Ax";expires=0;ob'
    assert address.with_param("q", "1").param("q") == "1"


def test_the_components_of_tel_and_msrp() -> None:
    tel = parse_uri("tel:7042;phone-context=example.com")
    assert isinstance(tel, TelUri)
    assert (tel.number, tel.param("phone-context"), tel.aor) == (
        "7042",
        "example.com",
        "tel:7042;phone-context=example.com",
    )
    msrp = parse_uri("msrps://me@[::1]:7777/s+x/y;tcp;relay")
    assert isinstance(msrp, MsrpUri)
    assert (msrp.scheme, msrp.userinfo, msrp.host, msrp.port) == ("msrps", "me", "::1", 7777)
    assert (msrp.session_id, msrp.transport) == ("s+x/y", "tcp")
