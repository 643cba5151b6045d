"""Routing rules of the SIP/IP core's stateless proxy: pure functions (RFC 3261 16, RFC 5658, RFC 3325)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from cpmspec.evidence.trace import Address
from cpmspec.wire.headers import Header, Headers, encode
from cpmspec.wire.sip import SipRequest, SipResponse
from cpmspec.wire.uri import SipUri, aor, parse_name_addr, parse_uri

#: RFC 3261 8.1.1.7: the magic cookie of a branch
COOKIE = "z9hG4bK"
#: RFC 3261 18.1.1: a longer request does not go over UDP where a congestion controlled transport exists
UDP_LIMIT = 1300
#: the URI parameter of the core's Route entry that marks the original dialog (TS 24.229 5.4.3.3)
TOKEN = "odi"

_DEFAULT_PORT = {"udp": 5060, "tcp": 5060, "tls": 5061}


class Side(StrEnum):
    """Whom an interface of the core faces."""

    ISC = "isc"  #: the Participating Function
    ACCESS = "access"  #: clients and originators


@dataclass(frozen=True, slots=True)
class Interface:
    """One listening point of the core. ``key`` is ``udp``, ``tcp``, ``tls`` or the same with a 6 for IPv6."""

    side: Side
    key: str
    address: Address

    @property
    def transport(self) -> str:
        """udp, tcp or tls."""
        return self.key.rstrip("6")

    def uri(self, token: str | None = None) -> str:
        """The interface as a loose-routing SIP URI, with the token of a dialog if one is given."""
        return f"{sip_uri(self.transport, self.address)};lr" + (f";{TOKEN}={token}" if token else "")

    def via(self, branch: str) -> str:
        """A Via value with this interface as sent-by."""
        return f"SIP/2.0/{self.transport.upper()} {self.address};branch={branch}"


@dataclass(frozen=True, slots=True)
class Popped:
    """What stood on top of a request's Route: the core's own entries, the token in them, and what remains."""

    own: tuple[Interface, ...]
    token: str | None
    rest: tuple[str, ...]


def interface_key(transport: str, host: str) -> str:
    """``udp6`` for UDP over IPv6 and so on."""
    return transport + ("6" if ":" in host else "")


def sip_uri(transport: str, address: tuple[str, int], user: str = "") -> str:
    """A SIP URI with explicit port and transport; an IPv6 host gets its brackets."""
    return f"sip:{user}{'@' if user else ''}{Address(*address)};transport={transport}"


def pop_own(request: SipRequest, interfaces: Iterable[Interface]) -> Popped:
    """Take the core's own entries off the top of the Route (RFC 3261 16.4, RFC 5658 5: both of a pair)."""
    known = {(item.transport, item.address): item for item in interfaces}
    routes = request.headers.values("Route")
    own: list[Interface] = []
    token: str | None = None
    for route in routes:
        uri = parse_name_addr(route).uri
        interface = _interface_of(uri, known) if isinstance(uri, SipUri) else None
        if interface is None or not isinstance(uri, SipUri):
            break
        own.append(interface)
        token = uri.param(TOKEN) or token
    return Popped(tuple(own), token, routes[len(own) :])


def _interface_of(uri: SipUri, known: Mapping[tuple[str, Address], Interface]) -> Interface | None:
    """The own interface that a URI names, if it names one."""
    transport = (uri.param("transport") or ("tls" if uri.scheme.lower() == "sips" else "udp")).lower()
    address = Address(uri.host, uri.port or _DEFAULT_PORT.get(transport, 5060))
    return known.get((transport, address))


def branch_for(request: SipRequest) -> str:
    """The branch of the forwarded request: equal for retransmissions, and for CANCEL and ACK of an INVITE (16.11)."""
    top = request.via[0] if request.via else None
    if top is not None and (top.branch or "").startswith(COOKIE):
        seed = f"{top.branch} {top.host} {top.port} {request.call_id}"
    else:
        number = request.cseq.number if request.cseq else 0
        seed = f"{request.headers.get('Via')} {request.from_tag} {request.call_id} {number} {request.uri}"
    return COOKIE + "-core-" + hashlib.sha256(encode(seed)).hexdigest()[:24]


def identity_of(request: SipRequest) -> str | None:
    """The sender as the core asserts it: the URI of From without parameters; ``None`` without a readable From."""
    sender = request.from_
    if sender is None:
        return None
    return sender.uri.aor if isinstance(sender.uri, SipUri) else str(sender.uri).partition(";")[0]


def identities(message: SipRequest | SipResponse) -> tuple[str, ...]:
    """Comparison keys of everybody a message concerns: Request-URI, To, From and asserted identities, in that order."""
    texts: list[str] = [message.uri] if isinstance(message, SipRequest) else []
    parties = (message.to, message.from_, *message.p_asserted_identity)
    texts += [str(party.uri) for party in parties if party is not None]
    return tuple(dict.fromkeys(aor(text) for text in texts))


def with_vias(headers: Headers, vias: Iterable[str]) -> Headers:
    """The headers with these Via values on top, one header line each."""
    return Headers((*(Header.unchecked("Via", via) for via in vias), *headers.without("Via")))


def is_initial(request: SipRequest) -> bool:
    """Whether a request is outside of any dialog (RFC 3261 12.2: inside, To has a tag)."""
    return request.to_tag is None


def same_identity(left: str, right: str) -> bool:
    """Whether two URIs name the same identity."""
    return aor(left) == aor(right)


def contact_key(uri: str) -> tuple[str, int, str] | None:
    """Host, port and transport of a contact URI: what a delivered request is recognised by."""
    parsed = parse_uri(uri)
    if not isinstance(parsed, SipUri):
        return None
    transport = (parsed.param("transport") or "udp").lower()
    return parsed.host, parsed.port or _DEFAULT_PORT.get(transport, 5060), transport


@dataclass(frozen=True, slots=True)
class Change:
    """How a forwarded request differs from the one that came, beside Via, Max-Forwards and Record-Route."""

    uri: str
    routes: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()
    add: tuple[tuple[str, str], ...] = ()


def rewrite(request: SipRequest, change: Change, *, branch: str, ingress: Interface, egress: Interface) -> SipRequest:
    """The request as it leaves the core (RFC 3261 16.6): own Via on top, Route, Record-Route pair on an INVITE.

    The entry of the egress interface stands above that of the ingress interface: whoever answers meets the core at the
    egress interface first (RFC 5658 5).
    """
    kept = request.headers.without("Route", "Max-Forwards", *change.remove)
    hops = 70 if request.max_forwards is None else request.max_forwards - 1
    below = [("Route", route) for route in change.routes] + [("Max-Forwards", str(hops)), *change.add]
    if request.method == "INVITE":
        below += [("Record-Route", f"<{egress.uri()}>"), ("Record-Route", f"<{ingress.uri()}>")]
    vias = kept.where(lambda header: header.key == "via")
    headers = Headers((*_fields([("Via", egress.via(branch))]), *vias, *_fields(below), *kept.without("Via")))
    if headers.get("Content-Length") is None:
        headers = headers.added("Content-Length", str(len(request.body)))
    changed = request.with_headers(headers)
    return changed if change.uri == request.uri else changed.with_uri(change.uri)


def follow(request: SipRequest, invite: SipRequest, own_via: str) -> SipRequest:
    """An ACK or CANCEL as it leaves on the way that its INVITE took (RFC 3261 9.1, 17.1.1.3)."""
    routes = [("Route", route) for route in invite.headers.get_all("Route")]
    headers = Headers((*_fields([("Via", own_via)]), *request.headers.without("Route"), *_fields(routes)))
    return request.with_headers(headers).with_uri(invite.uri)


def _fields(pairs: Iterable[tuple[str, str]]) -> list[Header]:
    """Headers with values that may be a peer's: passed on as they are."""
    return [Header.unchecked(name, value) for name, value in pairs]
