"""Where a SIP message goes next: addresses out of URIs and Vias (RFC 3261 18, RFC 3263 for numeric hosts, RFC 3581)."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, replace
from typing import Final

from cpmspec.net.tap import Address
from cpmspec.wire.sip import SipRequest, SipResponse, with_first
from cpmspec.wire.uri import SipUri, parse_uri

#: octets from which a request goes over TCP when the path MTU is unknown (RFC 3261 18.1.1)
UDP_LIMIT: Final = 1300
DEFAULT_PORTS: Final = {"udp": 5060, "tcp": 5060, "tls": 5061}


class SipError(Exception):
    """A request came to no final response; ``status`` is what RFC 3261 8.1.3.1 takes it for."""

    status = 500


class SipTimeout(SipError):
    """No final response in time: taken for a 408."""

    status = 408


class SipTransportError(SipError):
    """The transport could not carry the request (refused, unreachable, connection lost): taken for a 503."""

    status = 503


@dataclass(frozen=True, slots=True)
class Hop:
    """A transport address: ``udp``, ``tcp`` or ``tls``, a host (IPv6 without brackets) and a port."""

    transport: str
    host: str
    port: int

    @property
    def reliable(self) -> bool:
        """Whether the transport delivers by itself: no retransmission by transactions."""
        return self.transport != "udp"

    @property
    def ipv6(self) -> bool:
        """Whether the host is an IPv6 address."""
        return ":" in self.host

    def __str__(self) -> str:
        return f"{self.transport}:{host_port(self.host, self.port)}"


def host_port(host: str, port: int) -> str:
    """``host:port`` as in Via and URIs: IPv6 in brackets, no port if it is 0."""
    shown = f"[{host}]" if ":" in host else host
    return f"{shown}:{port}" if port else shown


def canonical_host(host: str) -> str:
    """An IP address in its one form (RFC 5952), as sockets tell it; a name as it is."""
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return host


def is_numeric(host: str) -> bool:
    """Whether the host is an IP address."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def hop_of_uri(uri: str) -> Hop | None:
    """The hop that a SIP URI with a numeric host (or ``localhost``) names, else ``None`` (RFC 3263 4.1, 4.2).

    The transport is that of the ``transport`` parameter; TLS for sips, else UDP.
    """
    parsed = parse_uri(uri)
    if not isinstance(parsed, SipUri):
        return None
    host = canonical_host("127.0.0.1" if parsed.host.lower() == "localhost" else parsed.host)
    transport = (parsed.param("transport") or "udp").lower()
    if parsed.scheme.lower() == "sips":
        transport = "tls"
    if transport not in DEFAULT_PORTS or not is_numeric(host):
        return None
    return Hop(transport, host, parsed.port or DEFAULT_PORTS[transport])


def hop_for(request: SipRequest, default: Hop | None = None) -> Hop:
    """The next hop of a request: its first Route, or its Request-URI (RFC 3261 8.1.2); ``default`` if that is a name.

    :raises SipTransportError: the URI holds no address that we can use, and there is no default.
    """
    uri = str(request.route[0].uri) if request.route else request.uri
    hop = hop_of_uri(uri) or default
    if hop is None:
        raise SipTransportError(f"no numeric address in {uri!r}, and no default next hop")
    return hop


def prefer_tcp(request_octets: int | bytes) -> bool:
    """Whether a request of that size (or these octets) must not go over UDP (RFC 3261 18.1.1)."""
    size = len(request_octets) if isinstance(request_octets, bytes) else request_octets
    return size > UDP_LIMIT


def stamp_received(request: SipRequest, source: Address) -> SipRequest:
    """Write where the request came from into its top Via (RFC 3261 18.2.1, RFC 3581 4); its violations are kept."""
    if not request.via or not request.via[0].host:
        return request
    top = request.via[0]
    wants_port = top.param("rport") is not None
    if not wants_port and _same_host(top.host, source[0]):
        return request
    top = top.with_param("received", source[0])
    if wants_port:
        top = top.with_param("rport", str(source[1]))
    try:
        return replace(request, headers=with_first(request.headers, "Via", str(top)))
    except ValueError:  # the peer's Via holds what we do not write: leave it
        return request


def response_hop(response: SipRequest | SipResponse) -> Hop | None:
    """Where a response goes by its top Via (RFC 3261 18.2.2, RFC 3581 4); ``None`` if that cannot be read.

    Given a request as received, it is where the responses to it go.
    """
    if not response.via or not response.via[0].host:
        return None
    top = response.via[0]
    transport = top.transport.lower()
    if transport not in DEFAULT_PORTS:
        return None
    host = canonical_host((top.param("received") or top.host).strip("[]"))
    rport = top.param("rport") or ""
    port = int(rport) if rport.isascii() and rport.isdigit() and len(rport) < 6 else 0
    return Hop(transport, host, port or top.port or DEFAULT_PORTS[transport])


def _same_host(left: str, right: str) -> bool:
    if is_numeric(left) and is_numeric(right):
        return ipaddress.ip_address(left) == ipaddress.ip_address(right)
    return left.lower() == right.lower()
