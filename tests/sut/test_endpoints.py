"""cpmspec.sut.endpoints"""

from __future__ import annotations

import pytest

from cpmspec.sut.endpoints import Endpoint, addresses_text, parse_address, parse_addresses, parse_endpoint


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("udp:127.0.0.1:5060", Endpoint("udp", "127.0.0.1", 5060)),
        ("tls:pf.example.com:5061", Endpoint("tls", "pf.example.com", 5061)),
        ("udp6:[::1]:5060", Endpoint("udp6", "::1", 5060)),
        ("tcp:[2001:db8::7]:0", Endpoint("tcp6", "2001:db8::7", 0)),
    ],
)
def test_endpoint(text: str, endpoint: Endpoint) -> None:
    assert parse_endpoint(text) == endpoint


@pytest.mark.parametrize(
    "text",
    ["", "udp", "udp:", "sctp:127.0.0.1:1", "udp6:127.0.0.1:5060", "udp:127.0.0.1:65536", "udp:::1:5060", "udp:a:b"],
)
def test_no_endpoint(text: str) -> None:
    with pytest.raises(ValueError, match=r"transport|address"):
        parse_endpoint(text)


@pytest.mark.parametrize("text", ["127.0.0.1", "127.0.0.1:", ":5060", "[::1]", "[::1:5060", "127.0.0.1:١"])
def test_no_address(text: str) -> None:
    with pytest.raises(ValueError, match="address:port"):
        parse_address(text)


def test_addresses_by_key() -> None:
    text = "udp=127.0.0.1:5060,tls6=[::1]:5061"
    assert parse_addresses(text) == {"udp": ("127.0.0.1", 5060), "tls6": ("::1", 5061)}
    assert addresses_text(parse_addresses(text)) == text


@pytest.mark.parametrize("text", ["", "udp", "sctp=127.0.0.1:1", "udp=127.0.0.1", "udp=127.0.0.1:1,"])
def test_no_addresses_by_key(text: str) -> None:
    with pytest.raises(ValueError, match="address:port"):
        parse_addresses(text)


def test_an_ipv6_address_has_one_form() -> None:
    """Who sent something is told by comparing addresses."""
    assert parse_address("[2001:DB8:0::7]:5060") == ("2001:db8::7", 5060)
    with pytest.raises(ValueError, match="an IPv6 address in the brackets"):
        parse_address("[1::2::3]:5060")
