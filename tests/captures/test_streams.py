"""The streams of the captures read in any pieces, and written again octet by octet."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from random import Random
from typing import Any

import pytest

from captures import capture, names
from cpmspec.evidence.reassembly import read_capture
from cpmspec.wire.cpim import parse_cpim
from cpmspec.wire.headers import Headers
from cpmspec.wire.msrp import MsrpFrame, MsrpFrameStream, build_request, build_response, parse_frame
from cpmspec.wire.sdp import build_msrp_sdp, parse_sdp
from cpmspec.wire.sip import SipRequest, SipStream, parse_message
from dissect_msrp import Spoken, spoken
from dissect_sip import SDP, said
from splits import STREAMS, cut, read, reader_of, runs

CUTS = 3  # random ways of cutting each stream
MSRP = [(name, direction) for name, direction in STREAMS if name in names("msrp")]
OTHERS = [place for place in STREAMS if place not in MSRP]


@pytest.mark.parametrize(("name", "direction"), STREAMS)
def test_octet_by_octet_is_the_same_as_in_one_piece(name: str, direction: str) -> None:
    reader = reader_of(name, direction)
    for octets in runs(name, direction):
        assert read(reader, cut(octets, range(1, len(octets)))) == read(reader, [octets])


@pytest.mark.parametrize("seed", range(CUTS))
@pytest.mark.parametrize(("name", "direction"), STREAMS)
def test_cut_at_random_is_the_same_as_in_one_piece(name: str, direction: str, seed: int) -> None:
    reader = reader_of(name, direction)
    random = Random(f"{name} {direction} {seed}")
    for octets in runs(name, direction):
        places = [random.randrange(len(octets) + 1) for _ in range(10 ** (seed + 1))]
        assert read(reader, cut(octets, places)) == read(reader, [octets])


@pytest.mark.parametrize(("name", "direction"), MSRP)
def test_all_msrp_octets_come_out_again(name: str, direction: str) -> None:
    assert runs(name, direction)
    for octets in runs(name, direction):
        reader = MsrpFrameStream()
        found = [*reader.feed(octets), *reader.close()]
        assert b"".join(one.octets() if isinstance(one, MsrpFrame) else one.octets for one in found) == octets


@pytest.mark.parametrize(("name", "direction"), OTHERS)
def test_all_octets_of_sip_and_imap_come_out_again(name: str, direction: str) -> None:
    reader = reader_of(name, direction)
    assert runs(name, direction)
    for octets in runs(name, direction):
        *units, pending = read(reader, [octets])
        assert b"".join(unit.octets() if reader is SipStream else unit.raw for unit in units) == octets
        assert pending == b""


@cache
def speech(name: str) -> tuple[Spoken, ...]:
    return tuple(spoken(stream) for stream in read_capture(capture(name)).streams)


def rebuilt(frame: MsrpFrame) -> bytes:
    """A request built anew from its values."""
    headers = [(one.name, one.value) for one in frame.headers if one.key not in ("to-path", "from-path")]
    return build_request(
        frame.method or "", frame.transaction_id, frame.to_path, frame.from_path, headers, frame.body, frame.flag
    )


@pytest.mark.parametrize("name", names("msrp"))
def test_each_msrp_message_is_read_alone_and_each_request_built_anew(name: str) -> None:
    frames = [frame for one in speech(name) for frame in one.whole]
    assert frames
    for frame in frames:
        assert parse_frame(frame.octets()) == frame
        if frame.is_request:
            assert rebuilt(frame) == frame.octets()


@pytest.mark.parametrize("name", names("msrp"))
def test_each_answer_is_the_one_that_we_would_build(name: str) -> None:
    """All but the additional Message-ID of Kamailio, which RFC 4975 9 allows in any header section."""
    asked = {frame.transaction_id: frame for one in speech(name) for frame in one.whole if frame.is_request}
    answers = [frame for one in speech(name) for frame in one.whole if frame.status is not None]
    known = [answer for answer in answers if answer.transaction_id in asked]
    assert known
    for answer in known:
        ours = parse_frame(build_response(asked[answer.transaction_id], answer.status or 0, answer.comment))
        assert isinstance(ours, MsrpFrame)
        more = answer.headers.without("To-Path", "From-Path")
        assert [header.key for header in more] == (["message-id"] if name == "msrp-msrplib-kamailio" else [])
        assert more.get("Message-ID") in (None, asked[answer.transaction_id].message_id)
        assert ours.octets() == answer.octets().replace(more.octets(), b"")


@pytest.mark.parametrize("name", names("sip"))
def test_each_sip_message_is_read_alone_and_written_again(name: str) -> None:
    for one in said(read_capture(capture(name))):
        message = one.message
        assert parse_message(message.octets()) == message
        assert message.with_headers(Headers(message.headers)).octets() == message.octets()
        if message.content_type == SDP:
            assert parse_sdp(message.body).octets() == message.body
        if message.content_type == "message/cpim":
            assert parse_cpim(message.body).octets() == message.body


def test_a_description_of_theirs_is_one_that_we_could_have_built() -> None:
    descriptions = [
        (parse_sdp(one.message.body), one.message.body)
        for one in said(read_capture(capture("sip-invite-msrp-tcp")))
        if one.message.content_type == SDP
    ]
    assert len(descriptions) == 8
    for description, octets in descriptions:
        media, version = description.message, description.version
        assert media is not None
        assert version is not None
        built = build_msrp_sdp(
            host=media.connection_host or "", port=media.port, path=media.path, setup=media.setup,
            accept_types=media.accept_types, accept_wrapped_types=media.accept_wrapped_types,
            direction=media.direction, session_id=int((description.origin or "").split()[1]), version=version,
        )  # fmt: skip
        assert built == octets


# --- the checks themselves -------------------------------------------------------------------------------------------


class Forgetful:
    """A reader that is wrong at the borders of pieces: it forgets what it would have to hold back."""

    pending = b""

    def feed(self, octets: bytes) -> Sequence[Any]:
        return [one for one in SipStream().feed(octets) if isinstance(one, SipRequest)]


def test_a_reader_that_is_wrong_at_borders_is_seen() -> None:
    (octets,) = runs("sip-invite-msrp-tcp", "25071>25060")
    whole = read(Forgetful, [octets])
    assert [one.method for one in whole[:-1]] == ["INVITE", "ACK", "BYE"] * 2
    assert read(Forgetful, cut(octets, range(1, len(octets)))) != whole
    assert read(Forgetful, cut(octets, [len(octets) // 3])) != whole
