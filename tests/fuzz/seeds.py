"""What each fuzz target begins with: the cases of the corpora, a few messages of our own, and words of its language."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import corpora
from cpmspec.evidence import packets, pcapng
from cpmspec.evidence.context import Context
from cpmspec.evidence.trace import Address, Frame, Pco, Role, Trace

CUTS = 4  #: octets at the start of the input of a stream: where it is cut
SINGLE = b"\xff" * CUTS  #: cut after every octet
CAPTURE, TRACE, PACKET = b"c", b"t", b"p"  #: what a file of evidence is
LOCAL = "msrp://a.example:2855/s1;tcp"  #: our end of the session of the receiver
KINDS = ("message/sip", "message/sipfrag", "message/msrpfrag", "message/sipfrag;x=y", "")  #: of fragments

#: the targets that begin with each corpus
CORPORA: dict[str, tuple[str, ...]] = {
    "sip": ("sip_message", "sip_stream"),
    "sip_ipv6": ("sip_message", "sip_stream"),
    "sip_stream": ("sip_message", "sip_stream"),
    "uri": ("uri",),
    "msrp": ("msrp_stream", "msrp_receiver"),
    "msrp_stream": ("msrp_stream", "msrp_receiver"),
    "sdp": ("sdp",),
    "multipart": ("mime",),
    "cpim": ("cpim",),
    "imdn": ("imdn",),
    "fragment": ("fragment",),
    "summary": ("summary",),
}

PATHS = b"To-Path: %s\r\nFrom-Path: msrp://b.example:2855/s2;tcp\r\n" % LOCAL.encode()
MESSAGE = (
    b"MESSAGE sip:bob@example.com SIP/2.0\r\nVia: SIP/2.0/UDP a.example;branch=z9hG4bK1\r\nMax-Forwards: 70\r\n"
    b"From: <sip:a@example.com>;tag=1\r\nTo: <sip:bob@example.com>\r\nCall-ID: 1@a\r\nCSeq: 1 MESSAGE\r\n"
    b"Content-Type: text/plain\r\nContent-Length: 2\r\n\r\nhi"
)
SEND = (
    b"MSRP abcd1234 SEND\r\n" + PATHS + b"Message-ID: 12345\r\nByte-Range: 1-5/5\r\nContent-Type: text/plain\r\n\r\n"
    b"hello\r\n-------abcd1234$\r\n"
)
_PARTS = b"multipart/mixed;boundary=b1\r\n--b1\r\nContent-Type: text/plain\r\n\r\none\r\n--b1\r\n\r\ntwo\r\n--b1--\r\n"
_SDP = (
    b"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=message 2855 TCP/MSRP *\r\n"
    b"a=accept-types:message/cpim text/plain\r\na=path:msrp://a.example:2855/s1;tcp\r\na=setup:active\r\n"
)
_CPIM = (
    b"From: <sip:a@example.com>\r\nTo: <sip:b@example.com>\r\nDateTime: 2025-01-01T00:00:00Z\r\n"
    b"NS: imdn <urn:ietf:params:imdn>\r\nimdn.Message-ID: 1\r\n\r\nContent-Type: text/plain\r\n\r\nhi\r\n"
)
IMDN = (
    b'<imdn xmlns="urn:ietf:params:xml:ns:imdn"><message-id>1</message-id><datetime>2025-01-01T00:00:00Z</datetime>'
    b"<delivery-notification><status><delivered/></status></delivery-notification></imdn>"
)
_SUMMARY = (
    b"Messages-Waiting: yes\r\nMessage-Account: sip:b@example.com\r\nMultimedia-Message: 2/0 (1/0)\r\n\r\n"
    b"From: sip:a@example.com\r\nDate: Mon, 06 Jan 2025 00:00:00 GMT\r\n\r\nFrom: sip:c@example.com\r\n"
)
_IMAP = b'a1 LOGIN "a b" {3}\r\nxyz\r\n* 1 FETCH (UID 1 BODY[] {5}\r\nhello)\r\n+ go\r\na1 OK done\r\n'
_URIS = (
    b"sip:Bob@example.com:5060;transport=tcp?subject=x\nsip:bob@EXAMPLE.com;transport=tcp",
    b"tel:+1-201-555\ntel:+1201555",
    b"msrps://u@a.example:2855/s1;tcp\nmsrp://a.example:2855/s1;tcp",
    b'"B, b" <sip:b@[2001:db8::1]:5060>;tag=1\nurn:x:y',
)


def _single(name: str, *own: bytes) -> Callable[[], Iterable[bytes]]:
    """Seeds of a target whose input is the octets of a case."""

    def seeds() -> Iterator[bytes]:
        yield from own
        yield from (case.octets for case in cases(name))

    return seeds


def _streamed(name: str, *own: bytes) -> Callable[[], Iterable[bytes]]:
    """Seeds of a stream: the octets of a case cut in the middle, and fed one by one."""

    def seeds() -> Iterator[bytes]:
        for octets in (*own, *(case.octets for case in cases(name))):
            half = len(octets) // 2
            yield half.to_bytes(2, "big") + b"\0\0" + octets
            if len(octets) < 1000:
                yield SINGLE + octets

    return seeds


def cases(target: str) -> Iterator[corpora.Case]:
    """The cases of all corpora that a target begins with."""
    for name in corpora.names():
        if target in CORPORA.get(name, ()):
            yield from corpora.corpus(name)


def _fragments() -> Iterator[bytes]:
    own = {0: MESSAGE, 1: MESSAGE.partition(b"\r\n")[2], 2: SEND}
    yield from (bytes([kind]) + octets for kind, octets in own.items())
    for case in cases("fragment"):
        kind = next((index for index, name in enumerate(KINDS) if name == case.facts.get("type")), 1)
        yield bytes([kind]) + case.octets


def trace() -> Trace:
    """A small trace."""
    ends = Address("127.0.0.1", 2855), Address("127.0.0.1", 41000)
    tcp = Frame(0, 1_700_000_000_000_001, Pco.MSRP, Role.IUT, Role.CLIENT, "tcp", *ends, 1, octets=b"MSRP")
    udp = Frame(0, 1_700_000_000_000_002, Pco.ISC, Role.CORE, Role.IUT, "udp", *ends, 0, octets=b"SIP")
    return Trace.build(Context("case", ()), [tcp, udp])


def _files() -> Iterator[bytes]:
    with tempfile.TemporaryDirectory() as folder:
        octets = pcapng.write(trace(), Path(folder)).read_bytes()
    yield from (CAPTURE + octets, TRACE + octets)
    ends = Address("127.0.0.1", 1), Address("127.0.0.1", 2)
    ends6 = Address("::1", 1), Address("::1", 2)
    for packet in (
        packets.Packet("tcp", *ends, b"abc", 1, 0, packets.SYN), packets.Packet("udp", *ends6, b"abc"),
    ):  # fmt: skip
        yield PACKET + bytes([packets.LINK_RAW]) + packets.build(packet)
    # classic: header, one record
    classic = bytes.fromhex("d4c3b2a1 0200 0400 00000000 00000000 00000400 65000000")
    record = packets.build(packets.Packet("tcp", *ends, b"abc", 1, 0, packets.ACK))
    yield CAPTURE + classic + bytes(8) + len(record).to_bytes(4, "little") * 2 + record


def _words(text: str) -> tuple[bytes, ...]:
    return tuple(word.encode("latin-1") for word in text.split())


_HEADERS = _words("Via: From: To: CSeq: Call-ID: Contact: Route: Content-Type: Content-Length: Date: v: l: i: m: \r\n")
_SIP = (*_HEADERS, b"SIP/2.0", b"\r\n\r\n", b"\n ", b"INVITE", b"MESSAGE", b";tag=", b'"', b"<sip:", b"z9hG4bK")
_MSRP = (
    b"MSRP ", b" SEND\r\n", b" REPORT\r\n", b" 200 OK\r\n", b"-------", b"$\r\n", b"+\r\n", b"#\r\n", b"To-Path: ",
    b"From-Path: ", b"Message-ID: ", b"Byte-Range: ", b"Content-Type: ", b"Status: 000 200 OK\r\n", b"1-*/*",
    b"Success-Report: yes\r\n", b"Failure-Report: no\r\n", b"abcd1234", b"\r\n\r\n",
)  # fmt: skip

SEEDS: dict[str, Callable[[], Iterable[bytes]]] = {
    "sip_message": _single("sip_message", MESSAGE),
    "sip_stream": _streamed("sip_stream", MESSAGE, MESSAGE * 2),
    "uri": _single("uri", *_URIS),
    "msrp_stream": _streamed("msrp_stream", SEND, SEND * 2),
    "msrp_receiver": _streamed("msrp_receiver", SEND, SEND * 2),
    "sdp": _single("sdp", _SDP),
    "mime": _single("mime", _PARTS),
    "cpim": _single("cpim", _CPIM),
    "imdn": _single("imdn", IMDN),
    "fragment": _fragments,
    "summary": _single("summary", _SUMMARY),
    "imap": _streamed("imap", _IMAP),
    "pcapng": _files,
}

TOKENS: dict[str, tuple[bytes, ...]] = {
    "sip_message": _SIP,
    "sip_stream": _SIP,
    "uri": _words("sip: sips: tel: msrp:// ;tcp ;lr [:: %41 <> ?a=b :65535 :7"),
    "msrp_stream": _MSRP,
    "msrp_receiver": _MSRP,
    "sdp": (*_words("v=0 o=- s=- c=IN IP4 IP6 t= m=message a=path: TCP/MSRP"), b"\r\nb="),
    "mime": (*_words("--b1 --b1-- boundary= base64 multipart/mixed"), b"\r\n", b"\r\n--b1\r\n\r\n"),
    "cpim": (*_words("From: <> imdn. ;lang= \\u0041"), b"NS: a <b>\r\n", b"\r\n\r\n"),
    "imdn": _words("<status> </status> <!DOCTYPE &amp; xmlns= <?xml"),
    "fragment": (*_SIP, *_MSRP),
    "summary": (*_words("Messages-Waiting: yes no 1/2 (0/0)"), b"\r\nVoice-Message: 1/2\r\n"),
    "imap": (*_words('{3} {3+} ~{ UID " ( ) [ ] * + OK \\ &-'), b"\r\n"),
    "pcapng": (b"\x0a\x0d\x0d\x0a", b"\x4d\x3c\x2b\x1a", b"\x06\0\0\0", b"\x45\0"),
}
