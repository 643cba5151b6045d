"""Where messages go, by URI and by Via."""

from __future__ import annotations

import pytest

from cpmspec.net.sip_hops import Hop, SipTransportError, hop_for, hop_of_uri, prefer_tcp, response_hop, stamp_received
from cpmspec.wire.sip import SipRequest, parse_message, unchecked_request


def request(uri: str = "sip:bob@192.0.2.1", *headers: tuple[str, str]) -> SipRequest:
    return unchecked_request("MESSAGE", uri, headers)


@pytest.mark.parametrize(
    ("uri", "hop"),
    [
        ("sip:192.0.2.1", Hop("udp", "192.0.2.1", 5060)),
        ("sip:bob@192.0.2.1:5080;transport=TCP", Hop("tcp", "192.0.2.1", 5080)),
        ("sip:bob@192.0.2.1;transport=tls", Hop("tls", "192.0.2.1", 5061)),
        ("sips:bob@192.0.2.1", Hop("tls", "192.0.2.1", 5061)),
        ("sip:bob@[2001:db8::1]:5070", Hop("udp", "2001:db8::1", 5070)),
        ("sip:localhost:5070", Hop("udp", "127.0.0.1", 5070)),
        ("sip:bob@home.example", None),
        ("sip:bob@192.0.2.1;transport=sctp", None),
        ("tel:+4912345", None),
        ("nonsense", None),
    ],
)
def test_hop_of_uri(uri: str, hop: Hop | None) -> None:
    assert hop_of_uri(uri) == hop


def test_a_route_comes_before_the_request_uri() -> None:
    routed = request(
        "sip:bob@192.0.2.1", ("Route", "<sip:[::1]:5090;transport=tcp;lr>"), ("Route", "<sip:192.0.2.7;lr>")
    )
    assert hop_for(routed) == Hop("tcp", "::1", 5090)


def test_a_name_needs_a_default() -> None:
    named = request("sip:bob@home.example")
    default = Hop("udp", "192.0.2.5", 5060)
    assert hop_for(named, default) is default
    assert hop_for(request(), default) == Hop("udp", "192.0.2.1", 5060)
    with pytest.raises(SipTransportError, match=r"home\.example"):
        hop_for(named)


def test_large_requests_prefer_tcp() -> None:
    assert not prefer_tcp(1300)
    assert prefer_tcp(1301)
    assert prefer_tcp(bytes(1301))


@pytest.mark.parametrize(
    ("via", "stamped"),
    [
        ("SIP/2.0/UDP 192.0.2.1:5070;branch=z9hG4bK1", "SIP/2.0/UDP 192.0.2.1:5070;branch=z9hG4bK1"),
        ("SIP/2.0/UDP a.example;branch=z9hG4bK1", "SIP/2.0/UDP a.example;branch=z9hG4bK1;received=192.0.2.1"),
        ("SIP/2.0/UDP 192.0.2.1;rport;branch=x", "SIP/2.0/UDP 192.0.2.1;rport=4000;branch=x;received=192.0.2.1"),
        ("SIP/2.0/UDP 10.0.0.1;received=9.9.9.9;branch=x", "SIP/2.0/UDP 10.0.0.1;received=192.0.2.1;branch=x"),
        ("no via at all", "no via at all"),
    ],
)
def test_received_and_rport(via: str, stamped: str) -> None:
    came = request("sip:bob@192.0.2.9", ("Via", via), ("Via", "SIP/2.0/UDP earlier;branch=y"))
    result = stamp_received(came, ("192.0.2.1", 4000))
    assert result.headers.get_all("via") == (stamped, "SIP/2.0/UDP earlier;branch=y")


def test_stamping_keeps_violations() -> None:
    octets = b"MESSAGE sip:bob@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP a.example;branch=z\r\nbroken\r\n\r\n"
    came = parse_message(octets)
    assert isinstance(came, SipRequest)
    assert came.violations
    assert stamp_received(came, ("192.0.2.1", 1)).violations == came.violations


@pytest.mark.parametrize(
    ("via", "hop"),
    [
        ("SIP/2.0/UDP 192.0.2.1;branch=x", Hop("udp", "192.0.2.1", 5060)),
        ("SIP/2.0/TLS 192.0.2.1;branch=x", Hop("tls", "192.0.2.1", 5061)),
        ("SIP/2.0/TCP a.example:5070;received=192.0.2.2", Hop("tcp", "192.0.2.2", 5070)),
        ("SIP/2.0/UDP a.example:5070;received=192.0.2.2;rport=4001", Hop("udp", "192.0.2.2", 4001)),
        ("SIP/2.0/UDP [::1]:5070;rport=x", Hop("udp", "::1", 5070)),
        ("SIP/2.0/UDP [2001:db8::1];received=[::1]", Hop("udp", "::1", 5060)),
        ("SIP/2.0/SCTP 192.0.2.1", None),
        ("nothing", None),
    ],
)
def test_response_hop(via: str, hop: Hop | None) -> None:
    assert response_hop(request("sip:bob@192.0.2.9", ("Via", via))) == hop


def test_text() -> None:
    assert str(Hop("udp", "::1", 5060)) == "udp:[::1]:5060"
    assert str(Hop("tcp", "192.0.2.1", 5060)) == "tcp:192.0.2.1:5060"


def test_an_ipv6_address_has_one_form() -> None:
    """Sockets tell the short form; a peer may write another one."""
    assert hop_of_uri("sip:pf@[2001:DB8:0:0::7]:5070") == Hop("udp", "2001:db8::7", 5070)
    request = unchecked_request(
        "OPTIONS", "sip:x@home.example", [("Via", "SIP/2.0/UDP [2001:DB8::7]:5070;branch=z9hG4bKx")]
    )
    assert response_hop(request) == Hop("udp", "2001:db8::7", 5070)
