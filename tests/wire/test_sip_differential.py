"""Well-formed SIP as an independent parser, sipmessage, reads it.

It reads no urn: and no other scheme than sip, sips and tel, undoes escapes, and has host names whose last label begins
with letters only: such URIs are left out here.
"""

from __future__ import annotations

from urllib.parse import unquote

import pytest
import sipmessage
from hypothesis import given, settings
from hypothesis import strategies as st

from corpora import Case, corpus
from cpmspec.wire.params import Params
from cpmspec.wire.sip import SipRequest, SipResponse, Via, parse_message
from cpmspec.wire.uri import NameAddr, SipUri, TelUri, host_text

PROPERTY = settings(deadline=None, derandomize=True, database=None)

TOKEN = st.text("abcXYZ019-.!%*_+`'~", min_size=1, max_size=10).map(lambda text: text.replace("%", "%25"))
WORD = st.text("abcXYZ019-._~!", min_size=1, max_size=10)
USER = st.text("abcXYZ019-_.!~*'()&=+$,;?/", min_size=1, max_size=12)
LABEL = st.text("abcxyz", min_size=1, max_size=6)
HOST = st.lists(LABEL, min_size=1, max_size=3).map(".".join) | st.sampled_from(["192.0.2.1", "[2001:db8::1]"])
PORT = st.just("") | st.integers(0, 65535).map(":{}".format)
FLAG = st.sampled_from(["", ";lr", ";transport=tcp", ";x=y;ob"])
SIP = st.builds(
    "{}:{}{}{}{}".format, st.sampled_from(["sip", "sips"]), USER.map("{}@".format) | st.just(""), HOST, PORT, FLAG
)
TEL = st.text("0123456789-.()", min_size=1, max_size=12).map("tel:+1{}".format)
DISPLAY = st.sampled_from(["", '"A, b" ', '"say \\"a\\"" ', "Al Bo ", "Al "])
PARAM = st.builds(";{}={}".format, LABEL.map("p{}".format), WORD)
PARAMS = st.lists(PARAM, max_size=3, unique_by=lambda one: one.split("=")[0]).map("".join)
ADDRESS = st.builds("{}<{}>{}".format, DISPLAY, SIP | TEL, PARAMS)
VIA = st.builds(
    "SIP/2.0/{} {}{};branch=z9hG4bK{}{}".format, st.sampled_from(["UDP", "TCP", "TLS"]), HOST, PORT, WORD, PARAMS
)
BLANKS = st.sampled_from([": ", ":", ":  "])


def plain(params: Params) -> dict[str, str | None]:
    """Parameters with the escapes undone: sipmessage does so everywhere."""
    return {unquote(name): value and unquote(value) for name, value in params}


def same_address(ours: NameAddr, theirs: sipmessage.Address) -> None:
    uri = ours.uri
    assert theirs.name == ours.display
    if isinstance(uri, TelUri):
        assert (theirs.uri.scheme, theirs.uri.user) == ("tel", uri.number)
    else:
        assert isinstance(uri, SipUri)
        assert (theirs.uri.scheme, theirs.uri.host, theirs.uri.port) == (uri.scheme, host_text(uri.host), uri.port)
        assert theirs.uri.user == (None if uri.user is None else unquote(uri.user))
        assert dict(theirs.uri.parameters) == plain(uri.params)
    assert dict(theirs.parameters) == plain(ours.params)


def same_via(ours: Via, theirs: sipmessage.Via) -> None:
    assert (theirs.transport, theirs.host, theirs.port) == (ours.transport, host_text(ours.host), ours.port)
    assert dict(theirs.parameters) == plain(ours.params)


def same(ours: SipRequest | SipResponse, theirs: sipmessage.Request | sipmessage.Response) -> None:
    if isinstance(ours, SipRequest):
        assert isinstance(theirs, sipmessage.Request)
        assert theirs.method == ours.method
        assert unquote(str(theirs.uri)).lower() == unquote(ours.uri).lower()
    else:
        assert isinstance(theirs, sipmessage.Response)
        assert (theirs.code, theirs.phrase) == (ours.status, ours.reason)
    assert len(theirs.via) == len(ours.via)
    for mine, other in zip(ours.via, theirs.via, strict=True):
        same_via(mine, other)
    assert ours.from_ is not None
    same_address(ours.from_, theirs.from_address)
    assert ours.to is not None
    same_address(ours.to, theirs.to_address)
    assert len(theirs.contact) == len(ours.contact)
    for one, their in zip(ours.contact, theirs.contact, strict=True):
        same_address(one, their)
    assert ours.cseq is not None
    assert (theirs.cseq.sequence, theirs.cseq.method) == ours.cseq
    assert (theirs.call_id, theirs.body) == (ours.call_id, ours.body)


@PROPERTY
@given(st.data())
def test_drawn_messages(data: st.DataObject) -> None:
    draw = data.draw
    method = draw(st.sampled_from(["MESSAGE", "INVITE", "X-y"]))
    start = draw(st.builds("{} {} SIP/2.0".format, st.just(method), SIP) | st.just("SIP/2.0 202 All right"))
    body = draw(st.binary(max_size=20))
    vias = draw(st.lists(VIA, min_size=1, max_size=3))
    lines = [(draw(st.sampled_from(["Via", "v", "VIA"])), via) for via in (", ".join(vias[:2]), *vias[2:])]
    lines += [("Max-Forwards", "70")] if start.startswith(method) else []
    lines += [
        (draw(st.sampled_from(["From", "f"])), draw(ADDRESS) + ";tag=t"),
        (draw(st.sampled_from(["To", "TO", "t"])), draw(ADDRESS)),
        ("Call-ID", draw(WORD)),
        ("CSeq", f"{draw(st.integers(0, 2**31 - 1))} {method}"),
    ]
    lines += [(draw(st.sampled_from(["Contact", "m"])), draw(ADDRESS)) for _ in range(draw(st.integers(0, 2)))]
    lines += [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))]
    text = "\r\n".join([start, *(f"{name}{draw(BLANKS)}{value}" for name, value in lines), "", ""])
    ours = parse_message(text.encode() + body)
    assert isinstance(ours, SipRequest | SipResponse)
    assert ours.violations == ()
    same(ours, sipmessage.Message.parse(text.encode() + body))


def readable(case: Case) -> bool:
    """Whether it is legal, and sipmessage takes it: it unfolds nothing, and refuses some legal URIs and tokens."""
    if not case.form or b"\r\n " in case.octets or b"\r\n\t" in case.octets:
        return False
    try:
        theirs = sipmessage.Message.parse(case.octets)
        _ = (theirs.via, theirs.from_address, theirs.to_address, theirs.contact, theirs.cseq, theirs.call_id)
    except (ValueError, KeyError):
        return False
    return True


@pytest.mark.parametrize("case", [case for case in (*corpus("sip"), *corpus("sip_ipv6")) if readable(case)], ids=str)
def test_messages_of_the_corpora(case: Case) -> None:
    ours = parse_message(case.octets)
    assert isinstance(ours, SipRequest | SipResponse)
    same(ours, sipmessage.Message.parse(case.octets))
