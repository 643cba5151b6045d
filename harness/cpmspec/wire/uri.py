"""URIs of SIP, SDP and MSRP, and the name-addr form around them (RFC 3261 19.1, 25.1; 3966; 4975 6; 8141).

Reading never raises: what cannot be taken apart by its scheme becomes an :class:`OtherUri`. Reading is also lenient:
what breaks a grammar is told by :func:`cpmspec.wire.uri_rules.uri_violations`. Values of which each SIP message makes
many are named tuples, which are made in half the time of a frozen dataclass.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import NamedTuple
from urllib.parse import unquote

from cpmspec.wire.params import Params, find_param, format_params, parse_params, set_param, unquoted, usual_params

MAX_PORT = 65535

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_HOST = re.compile(r"[A-Za-z0-9._-]+")
_BLANK = re.compile(r"[\x00-\x20\x7f<>\"]")
_ESCAPED = re.compile(r"%([0-9A-Fa-f]{2})")
# the forms that nearly all SIP URIs and addresses have, each read by one expression
_USUAL = (
    r"(sips?):(?:([A-Za-z0-9_.!~*'()+-]+)@)?([A-Za-z0-9.-]+)(?::([0-9]{1,4}))?"
    r"((?:;[A-Za-z0-9_.!~*'()%+-]+(?:=[^\s<>\";?@=]+)?)*)"
)
_USUAL_SIP = re.compile(_USUAL)
_USUAL_ADDRESS = re.compile(rf"(?:\"([^\"\\]*)\" ?|([A-Za-z0-9.-]+) )?<({_USUAL})>((?:;[!#-~]*)?)")
_SEPARATORS = str.maketrans("", "", "-.()")

# RFC 3261 25.1: reserved; an escaped reserved character is not the character itself (19.1.4, RFC 3986 2.2)
_RESERVED = frozenset(";/?:@&=+$,")

# RFC 3261 19.1.4: parameters that must stand in both URIs or in neither
_BOTH_OR_NEITHER = ("user", "ttl", "method", "maddr", "transport")


class SipUri(NamedTuple):
    """A ``sip:`` or ``sips:`` URI (RFC 3261 19.1.1); ``host`` of an IPv6 reference has no brackets."""

    scheme: str  #: lower case
    user: str | None
    password: str | None
    host: str
    port: int | None
    params: Params
    headers: str | None  #: what follows the question mark
    text: str

    def __str__(self) -> str:
        return self.text

    def param(self, name: str) -> str | None:
        """The value of a URI parameter, '' if it has none, ``None`` if it is absent."""
        return find_param(self.params, name)

    @property
    def aor(self) -> str:
        """The identity alone: ``sip:user@host`` for sip and sips, host in lower case, no port and no parameters."""
        host = host_text(_host_key(self.host))
        return f"sip:{_unescaped(self.user)}@{host}" if self.user else f"sip:{host}"

    def same_as(self, other: SipUri) -> bool:
        """Whether both are equivalent by RFC 3261 19.1.4 (and RFC 5954 4.2 for IPv6)."""
        return self._key() == other._key() and _params_match(self.params, other.params)

    def _key(self) -> tuple[object, ...]:
        user = None if self.user is None else _unescaped(self.user)
        password = None if self.password is None else _unescaped(self.password)
        headers = sorted(item.partition("=") for item in _unescaped(self.headers or "").lower().split("&"))
        return (self.scheme, user, password, _host_key(self.host), self.port, tuple(headers))


@dataclass(frozen=True, slots=True)
class TelUri:
    """A ``tel:`` URI (RFC 3966 3)."""

    number: str
    params: Params
    text: str

    def __str__(self) -> str:
        return self.text

    def param(self, name: str) -> str | None:
        """The value of a parameter, '' if it has none, ``None`` if it is absent."""
        return find_param(self.params, name)

    @property
    def aor(self) -> str:
        """The number without visual separators (RFC 3966 4); a local number keeps its phone-context."""
        number = self.number.translate(_SEPARATORS).lower()
        context = _context_key(self.param("phone-context") or "")
        return f"tel:{number};phone-context={context}" if context else f"tel:{number}"

    def same_as(self, other: TelUri) -> bool:
        """Whether both are equivalent by RFC 3966 4: number without separators, parameters in any order."""
        return self.aor == other.aor and _param_set(self.params) == _param_set(other.params)


@dataclass(frozen=True, slots=True)
class MsrpUri:
    """An ``msrp:`` or ``msrps:`` URI (RFC 4975 6, 9); ``params`` begin with the transport, a flag such as ``tcp``."""

    scheme: str  #: lower case
    userinfo: str | None
    host: str
    port: int | None
    session_id: str | None
    params: Params
    text: str

    def __str__(self) -> str:
        return self.text

    @property
    def transport(self) -> str:
        """The transport in lower case, '' if there is none."""
        return self.params[0][0].lower() if self.params and self.params[0][1] is None else ""

    def same_as(self, other: MsrpUri) -> bool:
        """Whether both name the same session resource (RFC 4975 6.1): userinfo and further parameters do not count."""
        return self._key() == other._key()

    def _key(self) -> tuple[object, ...]:
        return (self.scheme, _host_key(self.host), self.port, self.session_id, self.transport)


@dataclass(frozen=True, slots=True)
class UrnUri:
    """A ``urn:`` name (RFC 8141 2); ``components`` are the r-, q- and f-component, marks included."""

    nid: str  #: lower case
    nss: str
    components: str
    text: str

    def __str__(self) -> str:
        return self.text

    @property
    def aor(self) -> str:
        """The assigned name alone, with what compares without case in one form (RFC 8141 3.1)."""
        return f"urn:{self.nid}:{_ESCAPED.sub(lambda match: match[0].upper(), self.nss)}"

    def same_as(self, other: UrnUri) -> bool:
        """Whether both are equivalent by RFC 8141 3.1: the case of the NSS counts, components do not."""
        return self.aor == other.aor


@dataclass(frozen=True, slots=True)
class OtherUri:
    """A URI of another scheme, or text that cannot be read by its scheme; ``scheme`` is '' if there is none."""

    scheme: str  #: lower case
    text: str

    def __str__(self) -> str:
        return self.text


Uri = SipUri | TelUri | MsrpUri | UrnUri | OtherUri


class NameAddr(NamedTuple):
    """A display name, a URI and header parameters (RFC 3261 20.10, 25.1: name-addr or addr-spec).

    ``display`` is without quotes and escapes; the values of ``params`` are as written, quotes included.
    """

    display: str
    uri: Uri
    params: Params = ()

    def __str__(self) -> str:
        escaped = self.display.replace("\\", "\\\\").replace('"', '\\"')
        display = f'"{escaped}" ' if self.display else ""
        return f"{display}<{self.uri}>{format_params(self.params)}"

    def param(self, name: str) -> str | None:
        """The value of a header parameter without quotes, '' if it has none, ``None`` if it is absent."""
        value = find_param(self.params, name)
        return None if value is None else unquoted(value)

    @property
    def tag(self) -> str | None:
        """The tag of From and To (RFC 3261 19.3); an empty one counts as none."""
        return self.param("tag") or None

    def with_param(self, name: str, value: str | None) -> NameAddr:
        """The same with that parameter set, at its place or at the end."""
        return self._replace(params=set_param(self.params, name, value))


# RFC 3261 25.1:  SIP-URI  =  "sip:" [ userinfo ] hostport uri-parameters [ headers ]
# RFC 3966 3:     telephone-uri = "tel:" telephone-subscriber
# RFC 8141 2:     namestring = assigned-name [ rq-components ] [ "#" f-component ] ; assigned-name = "urn:" NID ":" NSS
# RFC 4975 9:     MSRP-URI = msrp-scheme "://" authority ["/" session-id] ";" transport *( ";" URI-parameter)
def parse_uri(text: str) -> Uri:
    """Read a URI without angle brackets around it."""
    usual = _USUAL_SIP.fullmatch(text)
    if usual is not None:
        scheme, user, host, port, params = usual.groups()
        read = usual_params(params) if params else ()
        return SipUri(scheme, user, None, host, int(port) if port else None, read, None, text)
    match = _SCHEME.match(text)
    if match is None:
        return OtherUri("", text)
    scheme, rest = match[1].lower(), text[match.end() :]
    uri: Uri | None = None
    if _BLANK.search(rest) is None:
        if scheme in ("sip", "sips"):
            uri = _sip(scheme, rest, text)
        elif scheme == "tel":
            number, _, params = rest.partition(";")
            uri = TelUri(number, parse_params(params), text) if number else None
        elif scheme == "urn":
            nid, _, name = rest.partition(":")
            end = min((at for at in map(name.find, ("?", "#")) if at >= 0), default=len(name))
            uri = UrnUri(nid.lower(), name[:end], name[end:], text) if nid and name[:end] else None
        elif scheme in ("msrp", "msrps"):
            uri = _msrp(scheme, rest, text)
    return OtherUri(scheme, text) if uri is None else uri


# name-addr = [ display-name ] LAQUOT addr-spec RAQUOT ; display-name = *(token LWS) / quoted-string
def parse_name_addr(value: str) -> NameAddr:
    """Read one value of From, To, Contact, Route and their like; without brackets, parameters are the header's."""
    usual = _USUAL_ADDRESS.fullmatch(value)
    if usual is not None:
        quoted, tokens, inside, scheme, user, host, port, params, tail = usual.groups()
        read = usual_params(params) if params else ()
        uri = SipUri(scheme, user, None, host, int(port) if port else None, read, None, inside)
        return NameAddr(quoted or tokens or "", uri, usual_params(tail) if tail else ())
    text = value.strip()
    display, rest = "", text
    if text.startswith('"'):
        end = _quote_end(text)
        display, rest = unquoted(text[:end]), text[end:].lstrip()
    before, bracket, after = rest.partition("<")
    if bracket:
        address, closed, tail = after.partition(">")
        if not closed:
            return NameAddr("", OtherUri("", text))
        return NameAddr(display or before.strip(), parse_uri(address.strip()), parse_params(tail))
    if display or text.startswith('"'):
        return NameAddr("", OtherUri("", text))
    address, _, params = rest.partition(";")
    return NameAddr("", parse_uri(address.strip()), parse_params(params))


def aor(text: str) -> str:
    """The comparison key of an identity: two texts with one key name the same user.

    ``text`` may be a URI or a name-addr. sip and sips share a key (RFC 5630 3.1.2); other schemes compare as written.
    """
    uri = parse_uri(text.strip())
    if isinstance(uri, OtherUri) and ("<" in text or not uri.scheme):
        uri = parse_name_addr(text).uri
    return uri.aor if isinstance(uri, SipUri | TelUri | UrnUri) else str(uri).strip()


def same_uri(a: str, b: str) -> bool:
    """Whether two URIs are equivalent by the rules of their scheme."""
    first, second = parse_uri(a.strip()), parse_uri(b.strip())
    match first, second:
        case (SipUri(), SipUri()):
            return first.same_as(second)
        case (TelUri(), TelUri()):
            return first.same_as(second)
        case (MsrpUri(), MsrpUri()):
            return first.same_as(second)
        case (UrnUri(), UrnUri()):
            return first.same_as(second)
        case _:
            return str(first) == str(second)


def host_text(host: str) -> str:
    """A host as it stands in a URI: IPv6 in brackets."""
    return f"[{host}]" if ":" in host else host


def split_host_port(text: str) -> tuple[str, int | None] | None:
    """Read ``host [":" port]``, IPv6 in brackets; ``None`` if that is not what it is."""
    if text.startswith("["):
        host, closed, rest = text[1:].partition("]")
        if not closed or not _is_ipv6(host) or (rest and not rest.startswith(":")):
            return None
        port_text, has_port = rest[1:], bool(rest)
    else:
        host, colon, port_text = text.partition(":")
        if _HOST.fullmatch(host) is None:
            return None
        has_port = bool(colon)
    if not has_port:
        return host, None
    if not (port_text.isascii() and port_text.isdigit() and len(port_text) <= 5 and int(port_text) <= MAX_PORT):
        return None
    return host, int(port_text)


def _sip(scheme: str, rest: str, text: str) -> SipUri | None:
    userinfo, at, tail = rest.rpartition("@")
    if "@" in userinfo:
        return None
    user, colon, password = userinfo.partition(":")
    if at and not user:
        return None
    address, question, headers = tail.partition("?")
    place, _, params = address.partition(";")
    split = split_host_port(place)
    if split is None:
        return None
    return SipUri(
        scheme, user if at else None, password if colon else None, *split,
        parse_params(params), headers if question else None, text,
    )  # fmt: skip


def _msrp(scheme: str, rest: str, text: str) -> MsrpUri | None:
    if not rest.startswith("//"):
        return None
    address, _, params = rest[2:].partition(";")
    authority, slash, session = address.partition("/")
    userinfo, at, place = authority.rpartition("@")
    split = split_host_port(place)
    if split is None:
        return None
    return MsrpUri(scheme, userinfo if at else None, *split, session if slash else None, parse_params(params), text)


def _quote_end(text: str) -> int:
    """The index after the quoted string at the start of the text; the text's length if it is never closed."""
    index = 1
    while index < len(text):
        if text[index] == "\\":
            index += 1
        elif text[index] == '"':
            return index + 1
        index += 1
    return len(text)


def _unescaped(text: str | None) -> str:
    """Escapes undone but for reserved characters, whose escapes are in upper case."""
    if text is None or "%" not in text:
        return text or ""

    def plain(match: re.Match[str]) -> str:
        character = chr(int(match[1], 16))
        return f"%{match[1].upper()}" if character in _RESERVED or ord(character) > 126 else unquote(match[0])

    return _ESCAPED.sub(plain, text)


def _is_ipv6(host: str) -> bool:
    try:
        IPv6Address(host)
    except ValueError:
        return False
    return True


def _host_key(host: str) -> str:
    """A host in the form in which hosts compare: lower case, IPv6 compressed."""
    return IPv6Address(host).compressed if _is_ipv6(host) else host.lower()


def _context_key(context: str) -> str:
    """A phone-context as it compares: a domain without case, digits of a global number without separators."""
    return context.translate(_SEPARATORS) if context.startswith("+") else context.lower()


def _param_set(params: Params) -> frozenset[tuple[str, str]]:
    """All parameters as they compare but the phone-context, which :attr:`TelUri.aor` has."""
    named = ((name.lower(), (value or "").lower()) for name, value in params)
    return frozenset(pair for pair in named if pair[0] != "phone-context")


def _params_match(first: Params, second: Params) -> bool:
    """RFC 3261 19.1.4: parameters in both must match; some may not be in one alone."""
    left = {name.lower(): _unescaped(value).lower() for name, value in first}
    right = {name.lower(): _unescaped(value).lower() for name, value in second}
    return all(
        left[name] == right[name] if name in left and name in right else name not in _BOTH_OR_NEITHER
        for name in left.keys() | right.keys()
    )
