"""Torture messages and streams, case by case: what is wrong, what they say, every octet kept, any split the same."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpora import Case, corpus, told
from cpmspec.wire.sip import (
    SipEvent,
    SipKeepAlive,
    SipMessage,
    SipRequest,
    SipResponse,
    SipStream,
    SipUnreadable,
    parse_message,
)
from cpmspec.wire.uri import MsrpUri, NameAddr, SipUri, host_text

PROPERTY = settings(deadline=None, derandomize=True, database=None)
DATAGRAMS = (*corpus("sip"), *corpus("sip_ipv6"))
STREAMS = corpus("sip_stream")
#: what is fed octet by octet and cut everywhere: longer ones would take minutes
SHORT = [case for case in STREAMS if len(case.octets) < 4000]
LONG = [case for case in STREAMS if len(case.octets) >= 4000]

#: the names of RFC 4475's messages
TORTURE = {
    "wsinv", "intmeth", "esc01", "escnull", "esc02", "lwsdisp", "longreq", "dblreq", "semiuri", "transports",
    "mpart01", "unreason", "noreason", "badinv01", "clerr", "ncl", "scalar02", "scalarlg", "quotbal", "ltgtruri",
    "lwsruri", "lwsstart", "trws", "escruri", "baddate", "regbadct", "badaspec", "baddn", "badvers", "mismatch01",
    "mismatch02", "bigcode", "badbranch", "insuf", "unkscm", "novelsc", "unksm2", "bext01", "invut", "regaut01",
    "multi01", "mcl01", "bcast", "zeromf", "cparam01", "cparam02", "regescrt", "sdp01", "inv2543",
}  # fmt: skip


def raw(event: SipEvent) -> bytes:
    return event.octets() if isinstance(event, SipRequest | SipResponse) else event.octets


def host(message: SipRequest) -> tuple[str, int | None]:
    uri = message.request_uri
    assert isinstance(uri, SipUri | MsrpUri)
    return uri.host, uri.port


def uri(address: NameAddr | None) -> str | None:
    return None if address is None else str(address.uri)


def places(message: SipMessage) -> list[str]:
    return [
        f"{via.transport} {host_text(via.host)}" + ("" if via.port is None else f":{via.port}") for via in message.via
    ]


ANY: dict[str, Callable[[Any], object]] = {
    "kind": lambda m: {SipRequest: "request", SipResponse: "response"}[type(m)],
    "call_id": lambda m: m.call_id, "cseq": lambda m: str(m.cseq), "from": lambda m: uri(m.from_),
    "to": lambda m: uri(m.to), "from_display": lambda m: m.from_.display, "to_display": lambda m: m.to.display,
    "from_tag": lambda m: m.from_tag, "to_tag": lambda m: m.to_tag, "vias": places,
    "via_count": lambda m: len(m.via), "branch": lambda m: m.via[0].branch,
    "received": lambda m: m.via[0].param("received"), "contacts": lambda m: [uri(one) for one in m.contact],
    "contact_count": lambda m: len(m.contact), "routes": lambda m: [uri(one) for one in m.route],
    "identities": lambda m: [uri(one) for one in m.p_asserted_identity], "served": lambda m: uri(m.p_served_user),
    "body": lambda m: len(m.body), "trailing": lambda m: len(m.trailing), "content_type": lambda m: m.content_type,
    "media": lambda m: m.media_type.full, "content_length": lambda m: m.content_length,
    "date": lambda m: m.date.isoformat() if m.date else "", "expires": lambda m: m.expires,
    "max_forwards": lambda m: m.max_forwards, "require": lambda m: list(m.require),
    "supported": lambda m: list(m.supported), "privacy": lambda m: list(m.privacy),
    "service": lambda m: list(m.p_asserted_service), "features": lambda m: list(m.accept_contact[0].features),
    "session_expires": lambda m: str(m.session_expires), "min_se": lambda m: m.min_se,
}  # fmt: skip
REQUEST: dict[str, Callable[[Any], object]] = {
    "method": lambda m: m.method, "uri": lambda m: m.uri, "user": lambda m: m.request_uri.user,
    "host": lambda m: host(m)[0], "port": lambda m: host(m)[1] or 0,
}  # fmt: skip
RESPONSE: dict[str, Callable[[Any], object]] = {"status": lambda m: m.status, "reason": lambda m: m.reason}


@pytest.mark.parametrize("case", DATAGRAMS, ids=str)
def test_a_message_is_read_as_told(case: Case) -> None:
    message = parse_message(case.octets)
    assert told(message.violations) == case.violations
    assert raw(message) == case.octets
    if isinstance(message, SipUnreadable):
        assert case.facts == {"kind": "unreadable"} or not case.facts
        return
    views = {**ANY, **(REQUEST if isinstance(message, SipRequest) else RESPONSE)}
    assert {name: views[name](message) for name in case.facts} == case.facts


def test_all_torture_messages_are_there() -> None:
    assert {case.name for case in corpus("sip") if case.source.startswith("RFC 4475")} == TORTURE
    assert {case.source.partition(",")[0] for case in corpus("sip_ipv6") if "5118" in case.source} == {
        f"RFC 5118 4.{number}" for number in range(1, 11)
    }


# ---- streams


def name(event: SipEvent) -> str:
    match event:
        case SipKeepAlive():
            return "keep-alive"
        case SipUnreadable():
            return "unreadable"
        case SipRequest():
            return f"{event.method} {event.cseq.number if event.cseq else ''}"
        case SipResponse():
            return f"{event.status} {event.cseq.number if event.cseq else ''}"


def fed(pieces: Iterable[bytes]) -> tuple[list[SipEvent], bytes]:
    stream = SipStream()
    return [event for piece in pieces for event in stream.events(piece)], stream.pending


def cut(octets: bytes, at: Iterable[int]) -> list[bytes]:
    bounds = [0, *sorted(place % (len(octets) + 1) for place in at), len(octets)]
    return [octets[first:last] for first, last in itertools.pairwise(bounds)]


def accounted(events: Sequence[SipEvent], pending: bytes, octets: bytes) -> bool:
    return b"".join(map(raw, events)) + pending == octets


@pytest.mark.parametrize("case", STREAMS, ids=str)
def test_a_stream_is_read_as_told(case: Case) -> None:
    events, pending = fed([case.octets])
    wrong = [event.violations for event in events if not isinstance(event, SipKeepAlive)]
    assert told(itertools.chain.from_iterable(wrong)) == case.violations
    assert {"events": [name(event) for event in events], "pending": len(pending)} == case.facts
    assert accounted(events, pending, case.octets)


@pytest.mark.parametrize("case", SHORT, ids=str)
def test_every_cut_in_two_and_single_octets_give_the_same_events(case: Case) -> None:
    whole = fed([case.octets])
    assert fed([case.octets[at : at + 1] for at in range(len(case.octets))]) == whole
    for at in range(1, len(case.octets)):
        assert fed([case.octets[:at], case.octets[at:]]) == whole, f"cut at {at}"


@pytest.mark.parametrize("case", LONG, ids=str)
def test_long_streams_cut_near_their_limits_give_the_same_events(case: Case) -> None:
    whole = fed([case.octets])
    near = range(65_530, 65_542)
    for at in (*range(1, 60), *near, *range(len(case.octets) - 20, len(case.octets))):
        assert fed([case.octets[:at], case.octets[at:]]) == whole, f"cut at {at}"


MARKS = [b"", b"\n", b'"', b"<", b"\0", b",;="]
#: messages that end where their Content-Length says, so that the next one can begin
WHOLE = [
    case.octets for case in DATAGRAMS
    if len(case.octets) < 4000 and fed([case.octets])[1] == b"" and len(fed([case.octets])[0]) == 1
]  # fmt: skip
ROWS = st.lists(st.sampled_from([*WHOLE, b"\r\n", b"\n", b"\r"]), max_size=6).map(b"".join)


@PROPERTY
@given(ROWS | st.sampled_from([case.octets for case in SHORT]), st.lists(st.integers(min_value=0), max_size=8))
def test_any_cut_of_any_row_of_messages_gives_the_same_events(octets: bytes, at: list[int]) -> None:
    whole = fed([octets])
    assert fed(cut(octets, at)) == whole
    assert accounted(*whole, octets)


@PROPERTY
@given(st.sampled_from([case.octets for case in (*DATAGRAMS, *SHORT)]), st.data())
def test_mutated_octets_are_all_kept(octets: bytes, data: st.DataObject) -> None:
    mutated = bytearray(octets)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(mutated)))
        mutated[at : at + data.draw(st.integers(0, 3))] = data.draw(
            st.sampled_from([b"", b"\n", b'"', b"<", b"\0", b",;="])
        )
    message = parse_message(bytes(mutated))
    assert raw(message) == bytes(mutated)
    assert all(0 <= one.offset <= len(mutated) for one in message.violations)
    assert accounted(*fed([bytes(mutated)]), bytes(mutated))
