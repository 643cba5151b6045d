"""Session descriptions of MSRP sessions: kept, read, built."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cpmspec.wire import sdp
from cpmspec.wire.sdp import Media, Sdp, SdpLine, accepts, build_msrp_sdp, parse_sdp
from cpmspec.wire.sdp_fields import Bandwidth, Connection, Origin, Timing, fits_family, parse_bandwidth, suffix_fault

PROPERTY = settings(deadline=None, derandomize=True, database=None)

FINGERPRINT = "SHA-256 " + ":".join(f"{octet:02X}" for octet in range(32))
OFFER = (
    b"v=0\r\n"
    b"o=- 12 13 IN IP4 198.51.100.1\r\n"
    b"s=-\r\n"
    b"c=IN IP4 198.51.100.1\r\n"
    b"t=0 0\r\n"
    b"a=recvonly\r\n"
    b"a=fingerprint:" + FINGERPRINT.encode() + b"\r\n"
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
    assert (media.direction, media.fingerprint) == ("recvonly", FINGERPRINT)
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
        (b"t=0 0\r\n", b"t=0 0\r\nT=0 0\r\n", "SDP-4566-5-02"),
        (b"t=0 0\r\n", b"t=0 0\r\ns=\0\r\n", "SDP-4566-5-02"),
        (b"s=-\r\n", b"", "SDP-4566-5-03"),
        (b"m=audio 4000", b"m=audio 70000", "SDP-4566-5.14-01"),
        (b"m=audio 4000", b"m=audio", "SDP-4566-5.14-01"),
        (b"a=path:msrps://r", b"a=pat:msrps://r", "SDP-4975-8.2-01"),
        (b"a=setup:actpass", b"a=setup:actpass\r\na=path:msrp://x:1/y;tcp", "SDP-4975-8.2-01"),
        (b"a=accept-types", b"a=accept-type", "SDP-4975-8.6-01"),
        (b"MSRP *", b"MSRP x", "SDP-4975-8.1-01"),
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
    assert description.violations[0].id == "SDP-LIMIT-01"


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
    scheme = "msrps" if tls else "msrp"
    path = [f"{scheme}://a:1/x;tcp", f"{scheme}://b:2/y;tcp"]
    octets = build_msrp_sdp(
        host=host, port=9, path=path, setup="active",
        accept_types=["multipart/mixed"], accept_wrapped_types=["message/*", "*"], direction="sendonly", max_size=99,
        tls=tls, fingerprint=FINGERPRINT if tls else None, session_id=5, version=6,
    )  # fmt: skip
    description = parse_sdp(octets)
    assert description.violations == ()
    media = description.message
    assert media is not None
    assert (media.port, media.tls, media.connection_host, media.setup) == (9, tls, host, "active")
    assert media.path == tuple(path)
    assert (media.accept_types, media.accept_wrapped_types) == (("multipart/mixed",), ("message/*", "*"))
    assert (media.direction, media.max_size, description.version) == ("sendonly", 99, 6)
    assert media.fingerprint == (FINGERPRINT if tls else None)


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


@pytest.mark.parametrize(
    "wrong", [{"port": 65536}, {"version": -1}, {"session_id": -1}, {"max_size": -1}, {"cema": True}]
)
def test_numbers_out_of_range_and_cema_without_setup_are_refused(wrong: dict[str, int]) -> None:
    given = {"port": 7101, "session_id": 1, "version": 1, **wrong}
    with pytest.raises(ValueError, match=r"out of range|CEMA"):
        build_msrp_sdp(host="h", path=["msrp://h:7101/x;tcp"], setup=None, accept_types=["*"], **given)  # type: ignore[arg-type]


def test_cema_is_built_and_read() -> None:
    octets = build_msrp_sdp(
        host="192.0.2.80", port=40210, path=["msrp://192.0.2.17:7101/x;tcp"], setup="actpass", accept_types=["*"],
        session_id=1, version=1, cema=True,
    )  # fmt: skip
    description = parse_sdp(octets)
    assert description.violations == ()
    assert description.message is not None
    assert (description.message.cema, description.message.address_matches) == (True, False)


def test_the_lines_of_the_session_as_values() -> None:
    description = parse_sdp(OFFER.replace(b"t=0 0\r\n", b"b=AS:64\r\nb=?\r\nt=3946684800 0\r\nt=1\r\n"))
    assert description.origin_fields == Origin("-", "12", "13", "IN", "IP4", "198.51.100.1")
    assert description.connection == Connection("IN", "IP4", "198.51.100.1")
    assert (description.timing, description.bandwidth) == ((Timing(3946684800, 0),), (Bandwidth("AS", 64),))
    assert (description.name, description.value("u")) == ("-", None)
    assert [line.kind for line in description.session_lines] == list("voscbbttaa")
    assert [line.value.split()[0] for line in description.m_lines] == ["audio", "message"]
    nothing = parse_sdp(b"")
    assert (nothing.origin_fields, nothing.connection, nothing.name, nothing.version) == (None, None, None, None)


def test_a_number_of_too_many_digits_is_no_value() -> None:
    assert parse_bandwidth("AS:" + "1" * 30) is None
    assert parse_sdp(OFFER.replace(b"t=0 0", b"t=0 " + b"1" * 30)).timing == ()


def test_where_lines_begin() -> None:
    description = parse_sdp(OFFER)
    for line in description.lines:
        assert OFFER[line.offset :].startswith(line.raw)
    media = description.message
    assert media is not None
    assert OFFER[media.offset :].startswith(b"m=message")
    path = media.attribute_line("path")
    assert path is not None
    assert OFFER[path.offset :].startswith(b"a=path:")
    assert media.attribute_line("nothing") is None
    assert Media("message", 1, "TCP/MSRP", ("*",), None, ()).offset == 0


@pytest.mark.parametrize(
    ("old", "new", "matches"),
    [
        ("", "", True),
        ("7101/", "9999/", False),
        ("192.0.2.17:", "192.0.2.18:", False),
        ("192.0.2.17:", "phone.example.com:", None),
        ("msrp://192.0.2.17:7101", "msrp://192.0.2.17", True),
        ("message 7101", "message 9", True),
        ("c=IN IP4 192.0.2.17", "c=IN IP4 Phone.example.com", None),
        ("c=IN IP4 192.0.2.17\r\n", "", None),
        ("a=path:msrp", "a=path:sip", None),
        ("a=path:", "a=path:msrp://phone.example.com:1/x;tcp ", True),
        ("a=path:msrp://192.0.2.17:7101", "a=path:msrp://name.example.com:7101/x;tcp msrp://192.0.2.1:7101", None),
    ],
)
def test_whether_the_address_is_that_of_the_path(old: str, new: str, matches: bool | None) -> None:
    octets = build_msrp_sdp(
        host="192.0.2.17", port=7101, path=["msrp://192.0.2.17:7101/x;tcp"], setup="actpass", accept_types=["*"],
        session_id=1, version=1,
    )  # fmt: skip
    media = parse_sdp(octets.decode().replace(old, new, 1).encode()).message
    assert media is not None
    assert media.address_matches is matches


def test_attributes_of_the_media_or_of_the_session() -> None:
    media = parse_sdp(OFFER.replace(b"a=recvonly", b"a=connection: New")).message
    assert media is not None
    assert (media.connection, media.cema, media.msrp, media.rejected) == ("new", False, True, False)
    assert parse_sdp(b"m=message 0 RTP/AVP *\r\n").media[0].connection is None


@pytest.mark.parametrize(
    ("family", "host", "fits"),
    [
        ("IP4", "192.0.2.1", True), ("IP4", "::1", False), ("IP6", "::1", True), ("IP6", "[::1]", False),
        ("IP4", "pf.example.com", True), ("IP4", "192.0.2.999", False), ("IP4", "-", False), ("NSAP", "?", True),
        ("IP4", "pf_1.example.com", True),
    ],
)  # fmt: skip
def test_which_address_fits_its_family(family: str, host: str, fits: bool) -> None:
    assert fits_family(family, host) is fits


def test_a_slash_behind_a_name_or_in_another_network_is_not_judged() -> None:
    assert suffix_fault(Connection("IN", "IP4", "mcast.example.com", (127,))) is None
    assert suffix_fault(Connection("ATM", "IP4", "192.0.2.1", (127,))) is None
    assert suffix_fault(Connection("IN", "IP6", "ff3e::8:17", ())) is None
    assert suffix_fault(Connection("IN", "IP4", "233.252.0.8", (127, 3))) is None


def test_lines_are_built_strictly_or_not_at_all() -> None:
    lines = [SdpLine.make("v", "0"), SdpLine.unchecked("", "", b"\xff\0\n"), SdpLine.unchecked("s", "")]
    assert Sdp.of(lines).octets() == b"v=0\r\n\xff\0\ns=\r\n"
    for kind, value in (("V", "0"), ("", "0"), ("ab", "0"), ("s", ""), ("s", "x\r\na=y"), ("s", "\0")):
        with pytest.raises(ValueError, match=r"no letter|empty or holds"):
            SdpLine.make(kind, value)


def test_limits() -> None:
    long_line = parse_sdp(b"v=0\r\n" + b"s=" + b"x" * sdp.MAX_LINE + b"\r\n")
    assert [line.kind for line in long_line.lines] == ["v", ""]
    many = parse_sdp(b"a=x\r\n" * (sdp.MAX_LINES + 7))
    assert (len(many.lines), many.octets()) == (sdp.MAX_LINES + 1, b"a=x\r\n" * (sdp.MAX_LINES + 7))
    media = parse_sdp(b"m=audio 0 RTP/AVP 0\r\n" * (sdp.MAX_MEDIA + 7))
    assert (len(media.media), len(media.m_lines)) == (sdp.MAX_MEDIA, sdp.MAX_MEDIA + 7)
