"""Heads: read lazily or line by line they are the same; values, builders, and what is wrong on purpose."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpora import corpus
from cpmspec.wire import msrp_auth, msrp_paths, msrp_rules
from cpmspec.wire.headers import Headers
from cpmspec.wire.msrp import (
    FrameBegin,
    FrameData,
    FrameEnd,
    MsrpFrame,
    MsrpHead,
    MsrpStream,
    Unreadable,
    build_end,
    build_head,
    build_request,
    build_response,
    build_unchecked,
    new_transaction_id,
    parse_frame,
)
from cpmspec.wire.msrp_head import QUICK, parse_head, repeats
from cpmspec.wire.msrp_rules import end_violations, in_order
from cpmspec.wire.uri import MsrpUri, parse_uri

TO, BY = "msrp://pager.example.net:2855/rcv81;tcp", "msrps://store.example.org:5090/snd42;tcp"
PATHS = (("To-Path", TO), ("From-Path", BY))
MID = ("Message-ID", "m4.Zz-1")
CASES = [*corpus("msrp"), *corpus("msrp_stream")]
CATALOGUE = Path(__file__).parents[2] / "fixtures" / "catalogue" / "msr.toml"

#: heads in their plain form
PLAIN = [
    build_head("SEND", "t7Yk2q", [TO], [BY], [MID], content_type="text/plain", has_body=True),
    build_head("SEND", "t7Yk2q", [TO, BY], [BY], [MID, ("Byte-Range", "1-*/9")], content_type="a/b;c=d", has_body=True),
    build_head(
        "SEND", "t7Yk2q", [TO], [BY], [("Failure-Report", "no"), ("Success-Report", "yes"), MID],
        content_type='multipart/mixed; boundary="a b";x=y', has_body=True,
    ),
]  # fmt: skip


def check_every_message(octets: bytes) -> int:
    """Each message of a stream breaks what reading it line by line shows; how many were read quickly."""
    stream, quick = MsrpStream(), 0
    head: MsrpHead | None = None
    size = 0
    for event in [*stream.feed(octets), *stream.close()]:
        match event:
            case FrameBegin():
                head, size = event.head, 0
            case FrameData(octets):
                size += len(octets)
            case FrameEnd(flag, ident, violations, raw):
                assert head is not None
                slow = parse_head(head.raw, has_body=head.has_body)
                assert slow == head
                assert slow.violations == head.violations
                crlf = raw.startswith(b"\r\n")
                expected = in_order([*slow.violations, *end_violations(slow, size, flag, crlf=crlf)])
                ends = [one for one in violations if one.offset >= len(head.raw) and one not in expected]
                assert {one.id for one in ends} <= {"MSR-4975-7.1-05", "MSR-4975-9-09"}
                assert [one for one in violations if one not in ends] == list(expected)
                assert ident == slow.transaction_id or ends
                quick += bool(QUICK.match(head.raw))
    return quick


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_quick_look_overlooks_nothing(case: object) -> None:
    check_every_message(case.octets)  # type: ignore[attr-defined]


@settings(deadline=None)
@given(st.sampled_from(PLAIN), st.integers(0, 400), st.integers(0, 9), st.binary(max_size=3), st.sampled_from("$+#"))
def test_a_quick_look_at_anything_overlooks_nothing(raw: bytes, place: int, size: int, put: bytes, flag: str) -> None:
    place %= len(raw) + 1
    check_every_message(raw[:place] + put + raw[place + size :] + b"hello\r\n-------t7Yk2q" + flag.encode() + b"\r\n")


@pytest.mark.parametrize("size", [0, 5, 2047, 2048, 2049])
@pytest.mark.parametrize(
    "span", ["1-*/*", "1-{0}/*", "1-{0}/{0}", "1-*/{0}", "8-*/{0}", "1-{0}/9999", "1-3/*", "0-*/{0}", ""]
)
@pytest.mark.parametrize("flag", "$+#")
def test_ranges_are_looked_at_quickly_and_rightly(size: int, span: str, flag: str) -> None:
    headers = [MID, ("Byte-Range", span.format(size))] if span else [MID]
    head = build_head("SEND", "t7Yk2q", [TO], [BY], headers, content_type="a/b", has_body=True)
    check_every_message(head + b"x" * size + f"\r\n-------t7Yk2q{flag}\r\n".encode())


@pytest.mark.parametrize("raw", PLAIN)
def test_plain_heads_are_read_quickly(raw: bytes) -> None:
    assert check_every_message(raw + b"hello\r\n-------t7Yk2q#\r\n") == 1


def test_a_header_that_stands_twice_is_no_plain_form() -> None:
    (octets,) = [case.octets for case in CASES if case.name == "message-id-twice"]
    found = QUICK.match(octets)
    assert found is not None
    assert repeats(found[0], *found.group("first", "success", "failure"))


# --- values ----------------------------------------------------------------------------------------------------------


def test_heads_are_values() -> None:
    first, same = (parse_head(PLAIN[0], has_body=True) for _ in range(2))
    assert first == same
    assert hash(first) == hash(same)
    assert first != parse_head(PLAIN[1], has_body=True)
    assert first != PLAIN[0]
    assert repr(first) == f"MsrpHead({PLAIN[0]!r})"
    assert first.headers is first.headers


def test_a_head_that_was_made() -> None:
    head = MsrpHead("t7Yk2q", "SEND", None, "", Headers.of(*PATHS, MID), b"", has_body=False)
    assert (head.to_path, head.message_id, head.violations) == ((TO,), "m4.Zz-1", ())
    assert msrp_rules.head_violations(head) == ()  # without octets there is no start-line to look at


def test_the_first_of_several_headers_counts() -> None:
    octets = build_unchecked("MSRP t7Yk2q SEND", [*PATHS, MID, ("Message-ID", "other")])
    frame = parse_frame(octets)
    assert isinstance(frame, MsrpFrame)
    assert frame.message_id == frame.value("message-id") == "m4.Zz-1"
    assert frame.value("x-none") is None


@pytest.mark.parametrize("raw", [b"", b"MSRP\r\n", b"MSRP a b"])
def test_what_is_no_start_line_makes_no_head(raw: bytes) -> None:
    with pytest.raises(ValueError, match="no start-line"):
        parse_head(raw, has_body=False)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None), ("", None), ("Digest", None), ("Digest a", None), ("Basic a=b", None), ("Digest a=b,", None),
        ('digest A="b\\"c" , d=e', {"a": 'b"c', "d": "e"}), ("Digest a=b c=d", None), ('Digest a="b', None),
    ],
)  # fmt: skip
def test_digest_parameters(value: str | None, expected: dict[str, str] | None) -> None:
    assert msrp_auth.digest_params(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"), [(None, None), ("", None), ("900", 900), ("9" * 21, None), ("1.5", None)]
)
def test_seconds(value: str | None, expected: int | None) -> None:
    assert msrp_auth.seconds(value) == expected


HOSTS = st.sampled_from(["a.example", "192.0.2.1", "[2001:db8::1]", "192.0.2.256", "[::g]", "", "a b"])


@given(
    st.sampled_from(["msrp", "MSRPS", "sip", ""]), HOSTS, st.sampled_from(["", ":1", ":65536", ":x", ":٣"]),
    st.sampled_from(["", "/s", "/", "/a@b", "/a/b"]), st.sampled_from(["", ";tcp", ";TCP;x=1", ";;", ";tcp;=", ";a=b"]),
)  # fmt: skip
def test_what_is_right_in_a_path_can_be_used(scheme: str, host: str, port: str, session: str, params: str) -> None:
    """A URI without a fault is one that those who connect can read."""
    uri = f"{scheme}://{host}{port}{session}{params}"
    if not msrp_paths.uri_faults(uri):
        found = parse_uri(uri)
        assert isinstance(found, MsrpUri)
        assert found.transport != ""


def test_who_is_answered() -> None:
    head = parse_head(PLAIN[0], has_body=True)
    assert head.answerable
    for old, new in ((b"SEND", b"REPORT"), (b"SEND", b"200 OK"), (b"t7Yk2q", b"t7"), (b"m4", b"\0"), (b"To-", b"X-")):
        assert not parse_head(PLAIN[0].replace(old, new), has_body=True).answerable


# --- builders --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "match"),
    [
        ([("X Y", "a")], "9-03"), ([("", "a")], "9-03"), ([("X", "a\x01b")], "9-10"), ([("X", "a\udcff")], "9-17"),
        ([("To-Path", TO)], "7.1-07"), ([MID, MID], "7.1-07"), ([("Success-Report", "maybe")], "9-06"),
        ([("Content-Transfer-Encoding", "binary")], "7.1.1-03"), ([("X", "a\nb")], "CR, LF"),
    ],
)  # fmt: skip
def test_a_head_that_breaks_a_rule_is_not_built(headers: list[tuple[str, str]], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        build_head("SEND", "t7Yk2q", [TO], [BY], headers, content_type="a/b", has_body=True)


@pytest.mark.parametrize(
    "path", ["msrp://192.0.2.1/s;tcp", "msrp://a.example:2855/s", "msrp://a.example:99999/s;tcp", "msrp:///s;tcp"]
)
def test_a_uri_that_breaks_a_rule_is_not_built(path: str) -> None:
    with pytest.raises(ValueError, match="MSR-4975-6-0"):
        build_request("SEND", "t7Yk2q", [path], [BY], [MID], None)


def test_mime_headers_go_with_a_body_only() -> None:
    with pytest.raises(ValueError, match=r"7\.1-03"):
        build_request("SEND", "t7Yk2q", [TO], [BY], [MID, ("Content-ID", "<a@b>")], None)


@pytest.mark.parametrize(("ident", "flag"), [("a b", "$"), ("t7Y", "$"), ("t7Yk2q", "!"), ("t7Yk2q", "$$")])
def test_an_end_line_that_breaks_a_rule_is_not_built(ident: str, flag: str) -> None:
    with pytest.raises(ValueError, match=r"ident|flag"):
        build_end(ident, flag, has_body=True)


@pytest.mark.parametrize(("status", "comment"), [(99, ""), (1000, ""), (200, "a\r\nb"), (200, "a\0b")])
def test_a_response_that_breaks_a_rule_is_not_built(status: int, comment: str) -> None:
    with pytest.raises(ValueError, match=r"three digits|CR, LF"):
        build_response(parse_head(PLAIN[0], has_body=True), status, comment)


def test_a_response_needs_the_paths_of_its_request() -> None:
    frame = parse_frame(build_unchecked("MSRP t7Yk2q SEND", [MID]))
    assert isinstance(frame, MsrpFrame)
    assert not frame.head.answerable
    with pytest.raises(ValueError, match="To-Path"):
        build_response(frame, 200)


def test_a_transaction_id_does_not_occur_in_what_it_has_to_avoid(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = iter(["aaaa", "bbbb"])
    monkeypatch.setattr("cpmspec.wire.msrp_build.secrets.token_hex", lambda size: next(drawn))
    assert new_transaction_id(b"xaaaax") == "bbbb"


def rules(octets: bytes) -> list[str]:
    found = parse_frame(octets)
    assert isinstance(found, Unreadable) or found.octets() == octets
    return [one.id.removeprefix("MSR-4975-") for one in found.violations]


def test_anything_can_be_sent_unchecked() -> None:
    start, typed = "MSRP t7Yk2q SEND", [*PATHS, MID, ("Content-Type", "a/b")]
    assert build_unchecked(start, typed, b"hi") == build_request(
        "SEND", "t7Yk2q", [TO], [BY], [MID], b"hi", content_type="a/b"
    )
    assert rules(build_unchecked("msrp t7Yk2q SEND", typed, b"hi")) == ["9-01"]
    assert rules(build_unchecked(start, [PATHS[1], PATHS[0], MID])) == ["7.1-01"]
    assert rules(build_unchecked(start, [*PATHS, "Message-ID:m4.Zz-1"])) == ["9-11"]
    assert rules(build_unchecked(start, [*PATHS, MID], line_end="\n")) == ["9-01", "9-09", "9-09", "9-09"]
    assert rules(build_unchecked(start, typed, b"hi", before_end=b"")) == ["7.1-04"]
    assert rules(build_unchecked(start, typed, b"x" * 2049)) == ["7.1.1-09"]
    assert rules(build_unchecked(start, [*PATHS, MID], transaction_id="other")) == ["7.1-05"]
    assert rules(build_unchecked(start, [*PATHS, MID], end=b"-------t7Yk2q$\n")) == ["9-09"]
    assert rules(build_unchecked("hello", [], end=b"")) == ["9-01", "7.1-08"]
    assert build_unchecked("", []) == b"\r\n-------$\r\n"


# --- the catalogue ---------------------------------------------------------------------------------------------------


def test_every_rule_that_the_reader_tells_is_in_the_catalogue() -> None:
    told = {one.partition("@")[0] for case in CASES for one in case.violations} | {"MSR-LIMIT-03"}
    listed = {
        rule
        for module in (msrp_rules, msrp_auth)
        for rule in re.findall(r"^(MSR-\S+) +\S", module.__doc__ or "", re.MULTILINE)
    }
    assert told == listed, "the corpus shows each rule, and no other"
    text = CATALOGUE.read_text(encoding="utf-8")
    assert told <= set(re.findall(r'^id = "(\S+)"$', text, re.MULTILINE))
