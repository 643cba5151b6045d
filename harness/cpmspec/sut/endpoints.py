"""Listening endpoints of an implementation under test, as profiles and ready lines write them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import IPv6Address
from typing import NamedTuple

#: the keys under which an endpoint is known: transport, with 6 for IPv6
KEYS = ("udp", "tcp", "tls", "udp6", "tcp6", "tls6")


class Endpoint(NamedTuple):
    """Where something listens. ``host`` has no brackets."""

    key: str  #: one of :data:`KEYS`
    host: str
    port: int


# address  = ( IPv4-or-name / "[" IPv6 "]" ) ":" port
_ADDRESS = re.compile(r"(?P<host>[^:\[\]\s]+|\[[0-9A-Fa-f:.]+\]):(?P<port>[0-9]{1,5})")


def parse_address(text: str) -> tuple[str, int]:
    """Read ``host:port`` or ``[host]:port``; the host comes without brackets, an IPv6 one as RFC 5952 writes it.

    :raises ValueError: says what was expected.
    """
    match = _ADDRESS.fullmatch(text)
    if match is None or int(match["port"]) > 65535:
        raise ValueError("address:port, with brackets around an IPv6 address")
    host = match["host"]
    if host.startswith("["):
        try:
            host = str(IPv6Address(host.strip("[]")))
        except ValueError:
            raise ValueError("address:port, with an IPv6 address in the brackets") from None
    return host, int(match["port"])


def parse_endpoint(text: str) -> Endpoint:
    """Read ``transport:address:port``, for example ``udp6:[::1]:5060``; an IPv6 address always gives a key with 6.

    :raises ValueError: says what was expected.
    """
    key, _, address = text.partition(":")
    if key not in KEYS:
        raise ValueError(f"transport:address:port with a transport out of {', '.join(KEYS)}")
    host, port = parse_address(address)
    six = ":" in host
    if key.endswith("6") and not six:
        raise ValueError("an IPv6 address in brackets, or a transport without 6")
    return Endpoint(key.rstrip("6") + ("6" if six else ""), host, port)


def parse_addresses(text: str) -> dict[str, tuple[str, int]]:
    """Read addresses by key: ``udp=192.0.2.7:5060,udp6=[2001:db8::7]:5060``.

    :raises ValueError: says what was expected.
    """
    table: dict[str, tuple[str, int]] = {}
    for item in text.split(","):
        key, _, address = item.partition("=")
        if key not in KEYS:
            raise ValueError(f"key=address:port with keys out of {', '.join(KEYS)}, separated by commas")
        table[key] = parse_address(address)
    return table


def addresses_text(table: Mapping[str, tuple[str, int]]) -> str:
    """The inverse of :func:`parse_addresses`."""
    return ",".join(
        f"{key}=[{host}]:{port}" if ":" in host else f"{key}={host}:{port}" for key, (host, port) in table.items()
    )
