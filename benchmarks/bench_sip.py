"""SIP: parse a CPM MESSAGE, read five headers typed, change one, serialise; against sipmessage and against a split.

sipmessage is the maintained SIP codec of Python. It splits lines and strips values, and loses the octets, the order and
the folding of headers on the way; ours keeps them, and finds every deviation when it is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator

import sipmessage
from ratio import Row, compare

from cpmspec.wire.sip import parse_message

_CONTENT = b"\r\n".join([
    b"From: <sip:alice@home.example.com>",
    b"To: <sip:bob@home.example.com>",
    b"DateTime: 2026-03-02T10:15:30Z",
    b"NS: imdn <urn:ietf:params:imdn>",
    b"imdn.Message-ID: Ue31vFzYq0aT",
    b"imdn.Disposition-Notification: positive-delivery, display",
    b"",
    b"Content-Type: text/plain; charset=utf-8",
    b"",
    b"The train is late again, start without me; the key is with the neighbours.",
])  # fmt: skip

_HEAD = b"\r\n".join([
    b"MESSAGE sip:bob@home.example.com SIP/2.0",
    b"Via: SIP/2.0/TCP core.home.example.com:5060;branch=z9hG4bK7f3a9c1d2e;rport",
    b"Via: SIP/2.0/UDP 192.0.2.17:5066;branch=z9hG4bK0b77;received=192.0.2.17;rport=5066",
    b"Max-Forwards: 69",
    b"Route: <sip:pf.home.example.com:5070;transport=tcp;lr>",
    b'From: "Alice" <sip:alice@home.example.com>;tag=8f1c7a52',
    b"To: <sip:bob@home.example.com>",
    b"Call-ID: 4d1c0a9e77b2@192.0.2.17",
    b"CSeq: 41 MESSAGE",
    b"Date: Mon, 02 Mar 2026 10:15:30 GMT",
    b"P-Asserted-Identity: <sip:alice@home.example.com>, <tel:+15550100>",
    b"P-Asserted-Service: urn:urn-7:3gpp-service.ims.icsi.oma.cpm.msg",
    b'Accept-Contact: *;+g.3gpp.icsi-ref="urn%3Aurn-7%3A3gpp-service.ims.icsi.oma.cpm.msg"',
    b"Conversation-ID: f81d4fae-7dec-11d0-a765-00a0c91e6bf6",
    b"Contribution-ID: abcdef-1234-5678-90ab-cdef01234567",
    b"User-Agent: example-client/1.0",
    b"Content-Type: message/cpim",
])  # fmt: skip

MESSAGE = _HEAD + b"\r\nContent-Length: %d\r\n\r\n" % len(_CONTENT) + _CONTENT
REPEAT = 2000


def ours() -> bytes:
    """Parse, read, change, serialise."""
    message = parse_message(MESSAGE)
    typed = (message.via, message.from_, message.to, message.cseq, message.content_type)  # type: ignore[union-attr]
    assert typed
    return message.with_headers(message.headers.replaced("Max-Forwards", "68")).octets()  # type: ignore[union-attr]


def theirs() -> bytes:
    """The same with sipmessage."""
    message = sipmessage.Message.parse(MESSAGE)
    typed = (message.via, message.from_address, message.to_address, message.cseq, message.content_type)
    assert typed
    message.max_forwards = 68
    return bytes(message)


def ours_in_full() -> bytes:
    """As :func:`ours`, and every deviation looked for."""
    message = parse_message(MESSAGE)
    assert not message.violations
    typed = (message.via, message.from_, message.to, message.cseq, message.content_type)  # type: ignore[union-attr]
    assert typed
    return message.with_headers(message.headers.replaced("Max-Forwards", "68")).octets()  # type: ignore[union-attr]


def split() -> bytes:
    """The floor: head and body apart, the head's lines apart, and together again."""
    head, _, body = MESSAGE.partition(b"\r\n\r\n")
    return b"\r\n".join(head.split(b"\r\n")) + b"\r\n\r\n" + body


def rows() -> Iterator[Row]:
    """The table's lines."""
    subject = f"SIP: parse {len(MESSAGE)} octets, read 5 headers, change 1, serialise"
    yield compare(subject, "sipmessage", ours, theirs, goal="at least 2.5", repeat=REPEAT)
    yield compare(f"{subject}, and look for violations", "sipmessage", ours_in_full, theirs, repeat=REPEAT)
    yield compare(subject, "bytes.split and join", ours, split, repeat=REPEAT)
