"""Session descriptions of MSRP sessions: kept, read, built."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cpmspec.wire import sdp
from cpmspec.wire.sdp import accepts, build_msrp_sdp, parse_sdp

PROPERTY = settings(deadline=None, derandomize=True, database=None)

OFFER = (
    b"v=0\r\n"
    b"o=- 12 13 IN IP4 198.51.100.1\r\n"
    b"s=-\r\n"
    b"c=IN IP4 198.51.100.1\r\n"
    b"t=0 0\r\n"
    b"a=recvonly\r\n"
    b"a=fingerprint:SHA-256 AB:CD\r\n"
    b"m=audio 4000 RTP/AVP 0 8\r\n"
    b"a=rtpmap:0 PCMU/8000\r\n"
    b"m=message 7654 TCP/TLS/MSRP *\r\n"
    b"c=IN IP6 2001:db8::1\r\n"
    b"a=accept-types:multipart/mixed message/cpim;x=y\r\n"
    b"a=accept-wrapped-types:*\r\n"
    b"a=max-size:5000\r\n"
    b"a=path:msrps://r.example.com:9/x;tcp msrps://[2001:db8::1]:7654/s;tcp\r\n"
    b"a=setup:actpass\r\n"
)
LINES = st.lists(
    st.sampled_from(
        [*OFFER.splitlines(keepends=True), b"m=message", b"a=", b"=", b"\r\n", b"\n", b"\r", b"\xff", b"c=IN "]
    )
).map(b"".join)


@PROPERTY
@given(LINES | st.binary())
def test_any_octets_are_kept(octets: bytes) -> None:
    description = parse_sdp(octets)
    assert description.octets() == octets
    for media in description.media:
        assert isinstance(
            (media.direction, media.path, media.max_size, media.setup, media.fingerprint, media.tls), tuple
        )


def test_an_offer() -> None:
    description = parse_sdp(OFFER)
    assert description.violations == ()
    assert (description.origin, description.version) == ("- 12 13 IN IP4 198.51.100.1", 13)
    assert [media.kind for media in description.media] == ["audio", "message"]
    assert (description.media[0].formats, description.media[0].connection_host) == (("0", "8"), "198.51.100.1")
    media = description.message
    assert media is not None
    assert (media.port, media.protocol, media.formats, media.tls) == (7654, "TCP/TLS/MSRP", ("*",), True)
    assert (media.connection_host, description.connection_host) == ("2001:db8::1", "198.51.100.1")
    assert media.path == ("msrps://r.example.com:9/x;tcp", "msrps://[2001:db8::1]:7654/s;tcp")
    assert (media.accept_types, media.accept_wrapped_types) == (("multipart/mixed", "message/cpim;x=y"), ("*",))
    assert (media.max_size, media.setup) == (5000, "actpass")
    assert (media.direction, media.fingerprint) == ("recvonly", "SHA-256 AB:CD")
    assert (media.attribute("path"), media.attribute("nothing")) == (" ".join(media.path), None)


def test_the_direction_of_the_media_wins() -> None:
    media = parse_sdp(OFFER + b"a=inactive\r\n").message
    assert media is not None
    assert (media.direction, media.attribute("inactive")) == ("inactive", "")
    plain = parse_sdp(OFFER.replace(b"a=recvonly\r\n", b"")).message
    assert plain is not None
    assert plain.direction == "sendrecv"


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        (b"v=0\r\n", b"v=0\n", "SDP-4566-5-01"),
        (b"t=0 0\r\n", b"t=0 0\r\nwhat\r\n", "SDP-4566-5-02"),
        (b"t=0 0\r\n", b"T=0 0\r\n", "SDP-4566-5-02"),
        (b"t=0 0\r\n", b"t=0 0\r\ns=\0\r\n", "SDP-4566-5-02"),
        (b"s=-\r\n", b"", "SDP-4566-5-03"),
        (b"m=audio 4000", b"m=audio 70000", "SDP-4566-5.14-01"),
        (b"m=audio 4000", b"m=audio", "SDP-4566-5.14-01"),
        (b"a=path:msrps://r", b"a=pat:msrps://r", "MSR-4975-8.2-01"),
        (b"a=setup:actpass", b"a=path:msrp://x:1/y;tcp", "MSR-4975-8.2-01"),
        (b"a=accept-types", b"a=accept-type", "MSR-4975-8.6-01"),
        (b"MSRP *", b"MSRP x", "MSR-4975-8.1-01"),
    ],
)
def test_deviations_are_named(old: bytes, new: bytes, rule: str) -> None:
    octets = OFFER.replace(old, new, 1)
    description = parse_sdp(octets)
    assert [violation.id for violation in description.violations] == [rule]
    assert description.octets() == octets


def test_a_rejected_media_needs_no_attributes() -> None:
    description = parse_sdp(b"v=0\r\no=- 1 1 IN IP4 h\r\ns=-\r\nt=0 0\r\nm=message 0 TCP/MSRP *\r\n")
    assert description.violations == ()
    assert description.message is not None
    assert description.message.connection_host is None


def test_a_missing_connection_address() -> None:
    octets = OFFER.replace(b"c=IN IP4 198.51.100.1\r\n", b"").replace(b"c=IN IP6 2001:db8::1\r\n", b"")
    assert [violation.id for violation in parse_sdp(octets).violations] == ["SDP-4566-5.7-01"]


def test_more_than_the_limit_is_kept_unread() -> None:
    octets = b"a=x\r\n" * (sdp.MAX_SDP // 5 + 1)
    description = parse_sdp(octets)
    assert (description.octets(), description.media) == (octets, ())
    assert description.violations[0].id == "SDP-4566-5-04"


@pytest.mark.parametrize("value", ["", "x", "-1", "1" * 30, "\u0661"])
def test_a_wrong_max_size_is_none(value: str) -> None:
    media = parse_sdp(OFFER.replace(b"5000", value.encode())).message
    assert media is not None
    assert media.max_size is None


@pytest.mark.parametrize(
    ("types", "media_type", "covered"),
    [
        (("*",), "text/plain", True),
        (("text/*",), "TEXT/plain", True),
        (("text/*",), "textual/plain", False),
        (("Text/Plain",), "text/plain;charset=UTF-8", True),
        (("text/plain;format=flowed",), "text/plain", True),
        (("message/sip",), "message/sipfrag", False),
        (("multipart/mixed", "message/cpim"), "multipart/mixed; boundary=x", True),
        ((), "text/plain", False),
    ],
)
def test_accepted_types(types: tuple[str, ...], media_type: str, covered: bool) -> None:
    assert accepts(types, media_type) is covered


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("tls", [False, True])
def test_what_is_built_is_read_back(host: str, tls: bool) -> None:
    octets = build_msrp_sdp(
        host=host, port=9, path=["msrp://a:1/x;tcp", "msrp://b:2/y;tcp"], setup="active",
        accept_types=["multipart/mixed"], accept_wrapped_types=["message/*", "*"], direction="sendonly", max_size=99,
        tls=tls, fingerprint="SHA-256 00:11" if tls else None, session_id=5, version=6,
    )  # fmt: skip
    description = parse_sdp(octets)
    assert description.violations == ()
    media = description.message
    assert media is not None
    assert (media.port, media.tls, media.connection_host, media.setup) == (9, tls, host, "active")
    assert media.path == ("msrp://a:1/x;tcp", "msrp://b:2/y;tcp")
    assert (media.accept_types, media.accept_wrapped_types) == (("multipart/mixed",), ("message/*", "*"))
    assert (media.direction, media.max_size, description.version) == ("sendonly", 99, 6)
    assert media.fingerprint == ("SHA-256 00:11" if tls else None)


def test_a_rejection_is_built_with_port_zero() -> None:
    octets = build_msrp_sdp(
        host="h",
        port=7,
        path=["msrp://a:1/x;tcp"],
        setup=None,
        accept_types=["*"],
        session_id=1,
        version=1,
        port_zero=True,
    )
    assert b"m=message 0 TCP/MSRP *\r\n" in octets
    assert b"a=setup" not in octets


@pytest.mark.parametrize(
    ("path", "accept_types", "direction", "setup"),
    [
        ([], ["*"], "sendrecv", None),
        (["msrp://a:1/x;tcp"], [], "sendrecv", None),
        (["msrp://a:1/x;tcp"], ["text"], "sendrecv", None),
        (["msrp://a:1/x;tcp"], ["text/plain x/y"], "sendrecv", None),
        (["msrp://a:1/x;tcp"], ["*"], "both", None),
        (["msrp://a:1/x;tcp\r\na=x"], ["*"], "sendrecv", None),
        (["msrp://a:1/x;tcp"], ["*"], "sendrecv", "active\n"),
    ],
)
def test_building_is_strict(path: list[str], accept_types: list[str], direction: str, setup: str | None) -> None:
    with pytest.raises(ValueError, match=r"."):
        build_msrp_sdp(
            host="h",
            port=1,
            path=path,
            setup=setup,
            accept_types=accept_types,
            direction=direction,
            session_id=1,
            version=1,
        )
