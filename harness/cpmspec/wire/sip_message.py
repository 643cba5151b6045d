"""SIP messages as values, and their strict building (RFC 3261 7, 8.1.1, 8.2.6).

A message knows its octets: those it was read from, or those it was built of.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Self

from cpmspec.wire.headers import Header, Headers, canonical, encode
from cpmspec.wire.section import TOKEN
from cpmspec.wire.sip_rules import MANDATORY, NOTHING, Findings
from cpmspec.wire.sip_views import Views, parse_cseq
from cpmspec.wire.uri import Uri, parse_name_addr, parse_uri
from cpmspec.wire.violation import Violation

#: RFC 3261 21 and the extensions in use here: default reason phrases
REASONS = {
    100: "Trying", 180: "Ringing", 181: "Call Is Being Forwarded", 182: "Queued", 183: "Session Progress",
    200: "OK", 202: "Accepted", 204: "No Notification",
    300: "Multiple Choices", 301: "Moved Permanently", 302: "Moved Temporarily", 305: "Use Proxy",
    380: "Alternative Service",
    400: "Bad Request", 401: "Unauthorized", 402: "Payment Required", 403: "Forbidden", 404: "Not Found",
    405: "Method Not Allowed", 406: "Not Acceptable", 407: "Proxy Authentication Required", 408: "Request Timeout",
    410: "Gone", 412: "Conditional Request Failed", 413: "Request Entity Too Large", 414: "Request-URI Too Long",
    415: "Unsupported Media Type", 416: "Unsupported URI Scheme", 420: "Bad Extension", 421: "Extension Required",
    422: "Session Interval Too Small", 423: "Interval Too Brief", 433: "Anonymity Disallowed",
    480: "Temporarily Unavailable", 481: "Call/Transaction Does Not Exist", 482: "Loop Detected", 483: "Too Many Hops",
    484: "Address Incomplete", 485: "Ambiguous", 486: "Busy Here", 487: "Request Terminated",
    488: "Not Acceptable Here", 489: "Bad Event", 491: "Request Pending", 493: "Undecipherable",
    500: "Server Internal Error", 501: "Not Implemented", 502: "Bad Gateway", 503: "Service Unavailable",
    504: "Server Time-out", 505: "Version Not Supported", 513: "Message Too Large", 580: "Precondition Failure",
    600: "Busy Everywhere", 603: "Decline", 604: "Does Not Exist Anywhere", 606: "Not Acceptable",
}  # fmt: skip


class _Message(Views):
    """What requests and responses share."""

    __slots__ = ()

    body: bytes
    start: bytes
    separator: bytes
    findings: Findings
    trailing: bytes

    @property
    def violations(self) -> tuple[Violation, ...]:
        """What is wrong with the octets that were read, in their order; looked for when first asked for."""
        return self.findings.violations

    def octets(self) -> bytes:
        """The octets on the wire: as received, or as built."""
        return b"".join((self.start, self.headers.octets(), self.separator, self.body, self.trailing))


@dataclass(frozen=True, slots=True)
class SipRequest(_Message):
    """A SIP request (RFC 3261 7.1).

    ``start`` is the raw start line with its end and any empty lines before it; ``separator`` the raw empty line after
    the headers; ``trailing`` what followed the body in its datagram, which no receiver reads (18.3).
    """

    method: str
    uri: str  #: the Request-URI as written
    headers: Headers
    body: bytes = b""
    start: bytes = b""
    separator: bytes = b"\r\n"
    findings: Findings = NOTHING
    trailing: bytes = b""

    @property
    def request_uri(self) -> Uri:
        """The Request-URI, read."""
        return parse_uri(self.uri)

    def with_headers(self, headers: Headers) -> Self:
        """The same request with other headers; violations and trailing octets of the original are gone."""
        return type(self)(self.method, self.uri, headers, self.body, self.start, self.separator or b"\r\n")

    def with_body(self, body: bytes, content_type: str | None) -> Self:
        """The same request with another body, its Content-Type (``None``: none) and Content-Length."""
        return replace(self.with_headers(_described(self.headers, body, content_type)), body=body)

    def with_uri(self, uri: str | Uri) -> Self:
        """The same request with another Request-URI.

        :raises ValueError: the URI holds white space or control characters.
        """
        start = _request_line(self.method, str(uri))
        return replace(self.with_headers(self.headers), uri=str(uri), start=start)


@dataclass(frozen=True, slots=True)
class SipResponse(_Message):
    """A SIP response (RFC 3261 7.2); raw fields as in :class:`SipRequest`."""

    status: int
    reason: str
    headers: Headers
    body: bytes = b""
    start: bytes = b""
    separator: bytes = b"\r\n"
    findings: Findings = NOTHING
    trailing: bytes = b""

    def with_headers(self, headers: Headers) -> Self:
        """The same response with other headers; violations and trailing octets of the original are gone."""
        return type(self)(self.status, self.reason, headers, self.body, self.start, self.separator or b"\r\n")

    def with_body(self, body: bytes, content_type: str | None) -> Self:
        """The same response with another body, its Content-Type (``None``: none) and Content-Length."""
        return replace(self.with_headers(_described(self.headers, body, content_type)), body=body)


@dataclass(frozen=True, slots=True)
class SipUnreadable:
    """Octets without a SIP start line, or beyond a limit, and why."""

    octets: bytes
    violations: tuple[Violation, ...]


SipMessage = SipRequest | SipResponse


def build_request(
    method: str, uri: str | Uri, headers: Iterable[tuple[str, str]], body: bytes = b"", *, whole: bool = False
) -> SipRequest:
    """Build a request; Content-Length is set, as the last header.

    ``whole``: it is to be sent as it is; else dialog, transaction and transport have still to add their headers.

    :raises ValueError: a CR, LF or NUL in a header, a method that is no token, white space in the URI, a CSeq of
        another method (RFC 3261 8.1.1.5), a body without Content-Type (20.15), a Content-Length that differs; a header
        that 8.1.1 makes mandatory is missing from a ``whole`` request.
    """
    section = _strict_headers(headers, body)
    if whole and (missing := [name for name in MANDATORY if name not in section.keys]):
        raise ValueError(f"a request without {', '.join(missing)}")
    cseq = section.get("CSeq")
    if cseq is not None and ((read := parse_cseq(cseq)) is None or read.method != method):
        raise ValueError(f"CSeq {cseq!r} in a {method} request")
    return SipRequest(method, str(uri), section, body, _request_line(method, str(uri)))


def build_response(
    status: int, reason: str | None, headers: Iterable[tuple[str, str]], body: bytes = b""
) -> SipResponse:
    """Build a response; ``reason`` defaults to the phrase of :data:`REASONS`, Content-Length is set as the last header.

    :raises ValueError: a status outside 100..699, a CR, LF or NUL in reason or header, a body without Content-Type.
    """
    phrase = REASONS.get(status, "Unknown") if reason is None else reason
    if not 100 <= status <= 699:
        raise ValueError(f"status {status}")
    if any(mark in phrase for mark in "\r\n\0"):
        raise ValueError(f"reason {phrase!r} holds a CR, LF or NUL")
    start = encode(f"SIP/2.0 {status} {phrase}\r\n")
    return SipResponse(status, phrase, _strict_headers(headers, body), body, start)


def unchecked_request(
    method: str, uri: str, headers: Iterable[tuple[str, str] | Header], body: bytes = b"", *,
    start: bytes | None = None, line_end: bytes = b"\r\n", separator: bytes | None = None,
) -> SipRequest:  # fmt: skip
    """Build a request with anything at all in it: for sending what is wrong on purpose.

    Nothing is checked, added or left out: no Content-Length but what ``headers`` has. ``line_end`` ends each line but
    those of headers given with their octets; ``start`` is put in place of the start line, ``separator`` in place of
    the empty line.
    """
    line = encode(f"{method} {uri} SIP/2.0") + line_end if start is None else start
    return SipRequest(method, uri, _any_headers(headers, line_end), body, line, _or(separator, line_end))


def unchecked_response(
    status: int, reason: str, headers: Iterable[tuple[str, str] | Header], body: bytes = b"", *,
    start: bytes | None = None, line_end: bytes = b"\r\n", separator: bytes | None = None,
) -> SipResponse:  # fmt: skip
    """Build a response with anything at all in it; see :func:`unchecked_request`."""
    line = encode(f"SIP/2.0 {status} {reason}") + line_end if start is None else start
    return SipResponse(status, reason, _any_headers(headers, line_end), body, line, _or(separator, line_end))


def _or(octets: bytes | None, other: bytes) -> bytes:
    return other if octets is None else octets


def _any_headers(headers: Iterable[tuple[str, str] | Header], line_end: bytes) -> Headers:
    """Headers as they are, and those of pairs with any line end."""
    return Headers(
        item if isinstance(item, Header) else Header.unchecked(*item, encode(f"{item[0]}: {item[1]}") + line_end)
        for item in headers
    )


def response_to(
    request: SipRequest, status: int, reason: str | None = None, headers: Iterable[tuple[str, str]] = (),
    body: bytes = b"", to_tag: str | None = None,
) -> SipResponse:  # fmt: skip
    """The response to a request by RFC 3261 8.2.6.2: Via, From, To, Call-ID and CSeq are the request's.

    They are copied as they are, octet for octet. ``to_tag`` is added to To if the request has none there and the status
    is not 100.

    :raises ValueError: as :func:`build_response`.
    """
    copied = [header for header in request.headers if header.key == "via"]
    for name in ("from", "to", "call-id", "cseq"):
        header = next((header for header in request.headers if header.key == name), None)
        if header is None:
            continue
        if name == "to" and to_tag and status != 100 and parse_name_addr(header.value).tag is None:
            Header.make("To", to_tag)
            header = Header.unchecked("To", f"{header.value};tag={to_tag}")
        copied.append(header)
    response = build_response(status, reason, headers, body)
    return replace(response, headers=Headers((*copied, *response.headers)))


def _request_line(method: str, uri: str) -> bytes:
    if TOKEN.fullmatch(method) is None:
        raise ValueError(f"method {method!r} is no token")
    if not uri or any(mark <= " " or mark == "\x7f" for mark in uri):
        raise ValueError(f"Request-URI {uri!r}")
    return encode(f"{method} {uri} SIP/2.0\r\n")


def _strict_headers(headers: Iterable[tuple[str, str]], body: bytes) -> Headers:
    items: list[Header] = []
    described = not body
    for name, value in headers:
        if TOKEN.fullmatch(name) is None:
            raise ValueError(f"header name {name!r} is no token")
        key = canonical(name)
        described = described or key == "content-type"
        if key == "content-length":
            if value != str(len(body)):
                raise ValueError(f"Content-Length {value} for a body of {len(body)} octets")
            continue
        items.append(Header.make(name, value))
    if not described:
        raise ValueError("a body without Content-Type")
    return Headers((*items, Header.make("Content-Length", str(len(body)))))


def _described(headers: Headers, body: bytes, content_type: str | None) -> Headers:
    """The headers with Content-Type and Content-Length of a body."""
    kept = headers.without("content-length")
    typed = kept.without("content-type") if content_type is None else kept.replaced("Content-Type", content_type)
    return typed.added("Content-Length", str(len(body)))
