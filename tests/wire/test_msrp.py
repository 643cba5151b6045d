"""The MSRP reader and builders: properties over any octets and any split, tables of right and wrong forms."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpmspec.wire.msrp import (
    ByteRange,
    FrameBegin,
    FrameData,
    FrameEnd,
    MsrpEvent,
    MsrpFrame,
    MsrpFrameStream,
    MsrpStream,
    Unreadable,
    build_end,
    build_head,
    build_request,
    build_response,
    new_message_id,
    new_session_id,
    new_transaction_id,
    parse_frame,
)
from cpmspec.wire.msrp_head import IDENT

TO, FROM = "msrp://a.example:2855/s1;tcp", "msrp://b.example:2855/s2;tcp"
TID = "d93kswow"
PATHS = f"To-Path: {TO}\r\nFrom-Path: {FROM}\r\n"
MESSAGE_ID = ("Message-ID", "12339sdqwer")


def send(body: bytes | None, *, tid: str = TID, flag: str = "$", span: str | None = None) -> bytes:
    headers = [MESSAGE_ID] if span is None else [MESSAGE_ID, ("Byte-Range", span)]
    content_type = None if body is None else "text/plain"
    return build_request("SEND", tid, [TO], [FROM], headers, body, flag, content_type=content_type)


def merged(events: list[MsrpEvent]) -> list[MsrpEvent]:
    """The events with adjacent data joined."""
    joined: list[MsrpEvent] = []
    for event in events:
        if isinstance(event, FrameData) and joined and isinstance(joined[-1], FrameData):
            joined[-1] = FrameData(joined[-1].octets + event.octets)
        else:
            joined.append(event)
    return joined


def octets_of(events: list[MsrpEvent]) -> bytes:
    out = b""
    for event in events:
        match event:
            case FrameBegin(head):
                out += head.raw
            case FrameEnd():
                out += event.raw
            case FrameData(octets) | Unreadable(octets):
                out += octets
    return out


def run(pieces: list[bytes], *, resuming: bool = False) -> list[MsrpEvent]:
    stream = MsrpStream(resuming=resuming)
    events = [event for piece in pieces for event in stream.feed(piece)]
    return merged([*events, *stream.close()])


def cut(octets: bytes, places: list[int]) -> list[bytes]:
    borders = [0, *sorted({place % (len(octets) + 1) for place in places}), len(octets)]
    return [octets[a:b] for a, b in pairwise(borders)]


tricky = st.lists(
    st.sampled_from([
        b"-", b"-------", b"\r\n", b"\r", b"\n", b"\r\n-------", TID.encode(), b"-------" + TID.encode()[:-1],
        b"\r\n-------" + TID.encode(), b"\r\n-------deadbeef$\r\n", b"\r\n-------" + TID.encode() + b"x$\r\n", b"$\r\n",
        b"+\r\n", b"MSRP deadbeef SEND\r\n", b"To-Path: msrp://x:1/y;tcp\r\n", b"\0", b"\xff\xfe", b"abc",
    ]) | st.binary(max_size=12),
    max_size=14,
).map(b"".join)  # fmt: skip
legal_body = tricky.filter(lambda body: b"-------" + TID.encode() not in body)
wire = st.lists(
    legal_body.map(send)
    | st.just(send(None))
    | st.just(f"MSRP {TID} 200 OK\r\n{PATHS}-------{TID}$\r\n".encode())
    | tricky,
    max_size=4,
).map(b"".join)


@given(wire, st.lists(st.integers(min_value=0, max_value=4000), max_size=12))
def test_any_split_gives_the_same_events_and_loses_nothing(octets: bytes, places: list[int]) -> None:
    whole = run([octets])
    assert run(cut(octets, places)) == whole
    assert octets_of(whole) == octets


@given(wire)
def test_octet_by_octet_gives_the_same_events(octets: bytes) -> None:
    assert run([octets[i : i + 1] for i in range(len(octets))]) == run([octets])


@given(st.binary(max_size=300), st.integers(min_value=0, max_value=300))
def test_arbitrary_octets_are_data_never_an_exception(octets: bytes, place: int) -> None:
    assert octets_of(run(cut(octets, [place]))) == octets
    parse_frame(octets)


@given(legal_body, st.sampled_from("$+#"))
def test_a_built_request_reads_back(body: bytes, flag: str) -> None:
    octets = send(body, flag=flag, span="1-*/*")
    frame = parse_frame(octets)
    assert isinstance(frame, MsrpFrame)
    assert (frame.body, frame.flag, frame.octets()) == (body, flag, octets)
    assert frame.violations == ()


@given(st.lists(legal_body, min_size=1, max_size=3), st.lists(st.integers(min_value=0, max_value=2000), max_size=6))
def test_frames_of_a_stream(bodies: list[bytes], places: list[int]) -> None:
    octets = b"".join(map(send, bodies))
    stream = MsrpFrameStream()
    frames = [frame for piece in cut(octets, places) for frame in stream.feed(piece)]
    assert [frame.body for frame in frames if isinstance(frame, MsrpFrame)] == bodies
    assert stream.close() == []


def test_body_octets_are_not_held_back() -> None:
    stream = MsrpStream()
    stream.feed(build_head("SEND", TID, [TO], [FROM], [MESSAGE_ID], content_type="a/b", has_body=True))
    for _ in range(50):
        stream.feed(b"x" * 10_000)
        assert len(stream.pending) == 0
    stream.feed(b"abc\r\n-------" + TID.encode())
    assert stream.pending == b"\r\n-------" + TID.encode()
    assert stream.open_head is not None
    events = stream.feed(b"x$\r\n")
    assert octets_of(events) == b"\r\n-------" + TID.encode() + b"x$"
    assert [type(event) for event in stream.feed(build_end(TID, "$", has_body=True))] == [FrameData, FrameEnd]


def test_no_body_differs_from_an_empty_body() -> None:
    bodiless, empty = parse_frame(send(None)), parse_frame(send(b""))
    assert isinstance(bodiless, MsrpFrame)
    assert isinstance(empty, MsrpFrame)
    assert (bodiless.body, empty.body) == (None, b"")
    assert (bodiless.head.has_body, empty.head.has_body) == (False, True)


def test_views() -> None:
    lines = [
        f"MSRP {TID} REPORT", f"To-Path: {TO} {FROM}", f"From-Path: {FROM}", "Message-ID: 12339sdqwer",
        "Byte-Range: 1-*/100", "Status: 000 200 OK all", f"-------{TID}$", "",
    ]  # fmt: skip
    frame = parse_frame("\r\n".join(lines).encode())
    assert isinstance(frame, MsrpFrame)
    assert frame.violations == ()
    assert frame.is_request
    assert (frame.method, frame.status, frame.transaction_id) == ("REPORT", None, TID)
    assert frame.to_path == (TO, FROM)
    assert frame.from_path == (FROM,)
    assert frame.byte_range == ByteRange(1, None, 100)
    assert frame.status_header == ("000", 200, "OK all")
    assert (frame.content_type, frame.success_report, frame.failure_report) == (None, None, None)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("1-10/10", ByteRange(1, 10, 10)), ("1-*/*", ByteRange(1, None, None)), ("1-0/0", ByteRange(1, 0, 0)),
        ("2049-*/4096", ByteRange(2049, None, 4096)), ("1-10", None), ("-1-10/10", None), ("*-1/1", None), ("", None),
        ("1-2/" + "9" * 5000, None), ("\u0661-2/2", None),
    ],
)  # fmt: skip
def test_byte_range(value: str, expected: ByteRange | None) -> None:
    assert ByteRange.parse(value) == expected
    assert expected is None or str(expected) == value


HEAD = f"MSRP {TID} SEND\r\n{PATHS}Message-ID: 12339sdqwer\r\n"
TYPED = HEAD + "Content-Type: text/plain\r\n\r\n"
END = f"-------{TID}$\r\n"
WRONG = {
    "lower-case name": (TYPED.replace("MSRP", "msrp") + f"hi\r\n{END}", "MSR-4975-9-01"),
    "two spaces": (TYPED.replace(" SEND", "  SEND") + f"hi\r\n{END}", "MSR-4975-9-01"),
    "short transaction id": (TYPED.replace(TID, "abc") + "hi\r\n-------abc$\r\n", "MSR-4975-9-02"),
    "lower-case method": (TYPED.replace("SEND", "send") + f"hi\r\n{END}", "MSR-4975-9-08"),
    "no space after the colon": (TYPED.replace("ID: ", "ID:") + f"hi\r\n{END}", "MSR-4975-9-11"),
    "a space at the end": (TYPED.replace(FROM, f"{FROM} ") + f"hi\r\n{END}", "MSR-4975-9-12"),
    "two spaces between URIs": (TYPED.replace(TO, f"{TO}  {TO}") + f"hi\r\n{END}", "MSR-4975-9-12"),
    "LF alone": (TYPED.replace("qwer\r\n", "qwer\n") + f"hi\r\n{END}", "MSR-4975-9-09"),
    "no colon": (TYPED.replace("Message-ID:", "Subject\r\nMessage-ID:") + f"hi\r\n{END}", "MSR-4975-9-03"),
    "Message-ID with @": (TYPED.replace("12339sdqwer", "a@b.example") + f"hi\r\n{END}", "MSR-4975-9-04"),
    "Byte-Range": (TYPED.replace("Content", "Byte-Range: 1-2\r\nContent") + f"hi\r\n{END}", "MSR-4975-9-05"),
    "Success-Report": (TYPED.replace("Content", "Success-Report: true\r\nContent") + f"hi\r\n{END}", "MSR-4975-9-06"),
    "Failure-Report": (TYPED.replace("Content", "Failure-Report: maybe\r\nContent") + f"hi\r\n{END}", "MSR-4975-9-18"),
    "paths exchanged": (
        f"MSRP {TID} SEND\r\nFrom-Path: {FROM}\r\nTo-Path: {TO}\r\nMessage-ID: abcd\r\n{END}", "MSR-4975-7.1-01"),
    "no From-Path": (f"MSRP {TID} SEND\r\nTo-Path: {TO}\r\nMessage-ID: abcd\r\n{END}", "MSR-4975-7.1-10"),
    "Content-Type not last": (
        HEAD + f"Content-Type: a/b\r\nByte-Range: 1-2/2\r\n\r\nhi\r\n{END}", "MSR-4975-7.1-02"),
    "body without type": (HEAD + f"\r\nhi\r\n{END}", "MSR-4975-7.1-12"),
    "type without body": (HEAD + f"Content-Type: a/b\r\n{END}", "MSR-4975-7.1-03"),
    "empty line, then the end-line": (TYPED + END, "MSR-4975-7.1-04"),
    "no CRLF before the end-line": (TYPED + "hi" + END, "MSR-4975-7.1-04"),
    "another end-line": (HEAD + "-------deadbeef$\r\n", "MSR-4975-7.1-05"),
    "long body of another method": (
        TYPED.replace("SEND", "NICKNAME") + "x" * 10_241 + f"\r\n{END}", "MSR-4975-7.1-06"),
    "header twice": (TYPED.replace("Content", "Message-ID: abcd\r\nContent") + f"hi\r\n{END}", "MSR-4975-7.1-07"),
    "no Message-ID": (f"MSRP {TID} SEND\r\n{PATHS}{END}", "MSR-4975-7.1.1-11"),
    "long chunk with an end": (
        TYPED.replace("Content", "Byte-Range: 1-3000/3000\r\nContent") + "x" * 3000 + f"\r\n{END}",
        "MSR-4975-7.1.1-02"),
    "transfer encoding": (
        TYPED.replace("Content-T", "Content-Transfer-Encoding: binary\r\nContent-T") + f"hi\r\n{END}",
        "MSR-4975-7.1.1-03"),
    "range and body differ": (
        TYPED.replace("Content", "Byte-Range: 1-3/3\r\nContent") + f"hi\r\n{END}", "MSR-4975-7.1.1-04"),
    "range from 0": (TYPED.replace("Content", "Byte-Range: 0-1/2\r\nContent") + f"hi\r\n{END}", "MSR-4975-7.1.1-05"),
    "REPORT without Status": (f"MSRP {TID} REPORT\r\n{PATHS}Message-ID: abcd\r\n{END}", "MSR-4975-7.1.2-01"),
    "REPORT that asks for reports": (
        f"MSRP {TID} REPORT\r\n{PATHS}Message-ID: abcd\r\nStatus: 000 200\r\nSuccess-Report: no\r\n{END}",
        "MSR-4975-7.1.2-02"),
    "Status": (f"MSRP {TID} REPORT\r\n{PATHS}Message-ID: abcd\r\nStatus: 200 OK\r\n{END}", "MSR-4975-9-07"),
    "response with a body": (
        f"MSRP {TID} 200 OK\r\n{PATHS}Content-Type: a/b\r\n\r\nhi\r\n{END}", "MSR-4975-7.2-01"),
    "response with +": (f"MSRP {TID} 200 OK\r\n{PATHS}-------{TID}+\r\n", "MSR-4975-7.2-02"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "rule"), WRONG.values(), ids=WRONG.keys())
def test_wrong_forms_are_frames_with_exactly_one_violation(text: str, rule: str) -> None:
    frame = parse_frame(text.encode())
    assert isinstance(frame, MsrpFrame)
    assert [violation.id for violation in frame.violations] == [rule]
    assert frame.octets() == text.encode()


LEGAL = {
    "no Byte-Range": TYPED + f"hi\r\n{END}",
    "long chunk, open end": (
        TYPED.replace("Content", "Byte-Range: 1-*/3000\r\nContent") + "x" * 3000 + f"\r\n{END}"),
    "unknown total": TYPED.replace("Content", "Byte-Range: 1-*/*\r\nContent") + f"hi\r\n-------{TID}+\r\n",
    "aborted chunk shorter than its range": (
        TYPED.replace("Content", "Byte-Range: 1-300/300\r\nContent") + f"hi\r\n-------{TID}#\r\n"),
    "empty SEND with a range": HEAD + f"Byte-Range: 1-0/0\r\n{END}",
    "extension header": HEAD + f"X-Other: \u00e4 b\r\n{END}",
    "extension header that ends in spaces": HEAD + f"X-Other: a  b \t \r\n{END}",
    "MIME headers before Content-Type": (
        HEAD + f"Content-ID: <a@b>\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n\r\n{END}"),
    "response without comment": f"MSRP {TID} 200\r\n{PATHS}{END}",
    "unknown response": f"MSRP {TID} 499 What else\r\n{PATHS}{END}",
}  # fmt: skip


@pytest.mark.parametrize("text", LEGAL.values(), ids=LEGAL.keys())
def test_legal_forms(text: str) -> None:
    frame = parse_frame(text.encode())
    assert isinstance(frame, MsrpFrame)
    assert frame.violations == ()


def test_reading_goes_on_after_octets_that_are_no_message() -> None:
    good = send(b"hi")
    events = run([b"\xff\x00 rest of a body\r\nMSRP deadbeef SEND\r\nno path\r\n" + good])
    assert octets_of(events[:3]) == b"\xff\x00 rest of a body\r\nMSRP deadbeef SEND\r\nno path\r\n"
    assert [event.violations != () for event in events[:3] if isinstance(event, Unreadable)] == [True, False, False]
    assert events[3:] == run([good])


def test_a_line_that_only_begins_like_a_start_line_is_skipped_too() -> None:
    good = send(b"hi")
    lost = [b"\xff\r\n", b"MSRP is a protocol\r\n", b"MSRP deadbeef\r\n"]
    events = run([b"".join(lost) + good])
    assert [event.octets for event in events[:3] if isinstance(event, Unreadable)] == lost
    assert events[3:] == run([good])


def test_a_stream_that_begins_in_a_message() -> None:
    octets = b"x" * 5000 + send(b"one")[:0] + b"\r\n-------abcdefgh+\r\n" + send(b"two")
    frames = MsrpFrameStream().feed(octets)
    assert sum(len(event.octets) for event in frames if isinstance(event, Unreadable)) == 5020
    assert [frame.body for frame in frames if isinstance(frame, MsrpFrame)] == [b"two"]


def test_what_looks_like_a_start_line_in_the_rest_of_a_body_is_none() -> None:
    """Seen in a capture with a packet missing: the next one began with the words "msrp capture body line"."""
    rest = b"msrp capture body line, message 0\r\nMSRP deadbeef SEND\r\nof a body\r\n-------abcdefgh+\r\n"
    stream = MsrpFrameStream(resuming=True)
    *unread, frame = [*stream.feed(rest + send(b"two")), *stream.close()]
    assert unread == [Unreadable(line) for line in rest.splitlines(keepends=True)]
    assert frame == parse_frame(send(b"two"))
    (misread,) = MsrpFrameStream().feed(b"msrp capture body line\r\n-------abcdefgh+\r\n")
    assert isinstance(misread, MsrpFrame)  # where a stream begins that is a message, though a wrong one


@given(wire, st.lists(st.integers(min_value=0, max_value=4000), max_size=12))
def test_any_split_gives_the_same_events_where_a_stream_is_joined(octets: bytes, places: list[int]) -> None:
    whole = run([octets], resuming=True)
    assert run(cut(octets, places), resuming=True) == whole
    assert octets_of(whole) == octets


def test_a_stream_that_is_joined_at_a_start_line() -> None:
    assert run([send(b"hi")], resuming=True) == run([send(b"hi")])
    assert run([b""], resuming=True) == []
    assert run([send(b"hi")[:22]], resuming=True) == [Unreadable(send(b"hi")[:22])]


def test_a_head_that_is_cut_off_by_the_next_message() -> None:
    events = run([HEAD.encode() + send(b"hi")])
    assert isinstance(events[0], Unreadable)
    assert [violation.id for violation in events[0].violations] == ["MSR-4975-7.1-08"]
    assert events[1:] == run([send(b"hi")])


def test_a_stream_that_ends_in_a_body() -> None:
    stream = MsrpFrameStream()
    octets = send(b"x" * 100)[:-30]
    assert stream.feed(octets) == []
    (frame,) = stream.close()
    assert isinstance(frame, MsrpFrame)
    assert (frame.flag, frame.tail, frame.octets()) == ("", b"", octets)
    assert [violation.id for violation in frame.violations] == ["MSR-4975-7.1-08"]


def test_a_body_beyond_the_limit() -> None:
    stream = MsrpFrameStream(max_body=10)
    events = stream.feed(send(b"x" * 11) + send(b"y" * 10))
    assert [type(event) for event in events] == [Unreadable, MsrpFrame]
    assert [wrong.id for wrong in events[0].violations] == ["MSR-LIMIT-03"]
    assert stream.feed(send(b"x" * 20)[:-25]) != []
    assert stream.feed(b"more of it") == stream.close() == []


@pytest.mark.parametrize("octets", [b"", send(b"a") + b"x", send(b"a") * 2, send(b"a")[:-1], b"x"])
def test_parse_frame_takes_exactly_one(octets: bytes) -> None:
    found = parse_frame(octets)
    assert isinstance(found, Unreadable)
    assert found.octets == octets
    assert found.violations


def test_a_report_repeats_what_its_peer_wrote() -> None:
    theirs = ["sip:a.example", "msrp://192.0.2.1/x"]
    headers = [("Message-ID", "a  \x01\udcff"), ("Status", "000 200")]
    assert b"sip:a.example msrp://192.0.2.1/x\r\n" in build_request("REPORT", TID, theirs, [FROM], headers, None)


def test_a_response_goes_to_the_first_uri_of_from_path() -> None:
    octets = build_request("SEND", TID, [TO], [FROM, "msrp://c:1/z;tcp"], [MESSAGE_ID], None)
    frame = parse_frame(octets)
    assert isinstance(frame, MsrpFrame)
    expected = f"MSRP {TID} 200 OK\r\nTo-Path: {FROM}\r\nFrom-Path: {TO}\r\n{END}"
    assert build_response(frame, 200, "OK") == expected.encode()
    other = parse_frame(octets.replace(b"SEND", b"AUTH"))
    assert isinstance(other, MsrpFrame)
    assert f"To-Path: {FROM} msrp://c:1/z;tcp\r\n".encode() in build_response(other, 501)


def test_nobody_answers_reports_and_responses() -> None:
    for start in ("REPORT", "200 OK"):
        frame = parse_frame(f"MSRP {TID} {start}\r\n{PATHS}{END}".encode())
        assert isinstance(frame, MsrpFrame)
        with pytest.raises(ValueError, match="nor a REPORT"):
            build_response(frame, 200)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"method": "send"}, "upper-case"), ({"tid": "abc"}, "ident"), ({"tid": "ab cd"}, "ident"),
        ({"to": []}, "To-Path"), ({"to": ["a b"]}, "To-Path"), ({"flag": "x"}, "flag"), ({"flag": ""}, "flag"),
        ({"headers": [("A", "b\r\nC: d")]}, "CR, LF"), ({"headers": []}, "7.1.1-01"),
        ({"headers": [("Message-ID", "m1")]}, "9-04"), ({"headers": [MESSAGE_ID, ("Byte-Range", "what")]}, "9-05"),
        ({"method": "REPORT", "headers": [MESSAGE_ID, ("Status", "ok")]}, "9-07"),
        ({"method": "REPORT", "headers": [MESSAGE_ID]}, "7.1.2-01"), ({"to": ["sip:a.example"]}, "6-01"),
        ({"content_type": None}, "Content-Type"),
        ({"body": None}, "Content-Type"), ({"body": b"a-------d93kswow$"}, "occurs in the body"),
    ],
)  # fmt: skip
def test_building_is_strict(arguments: dict[str, object], match: str) -> None:
    given_: dict[str, object] = {
        "method": "SEND", "tid": TID, "to": [TO], "headers": [MESSAGE_ID], "body": b"", "flag": "$",
        "content_type": "a/b",
    }  # fmt: skip
    value = {**given_, **arguments}
    with pytest.raises(ValueError, match=match):
        build_request(
            value["method"], value["tid"], value["to"], [FROM], value["headers"], value["body"], value["flag"],  # type: ignore[arg-type]
            content_type=value["content_type"],  # type: ignore[arg-type]
        )  # fmt: skip


def test_content_type_is_the_last_header() -> None:
    octets = build_request("SEND", TID, [TO], [FROM], [("Content-Type", "a/b"), MESSAGE_ID], b"")
    assert b"12339sdqwer\r\nContent-Type: a/b\r\n\r\n" in octets


def test_fresh_identifiers_are_idents_and_differ() -> None:
    for make in (new_transaction_id, new_message_id, new_session_id):
        drawn = {make() for _ in range(50)}
        assert len(drawn) == 50
        assert all(IDENT.fullmatch(value) for value in drawn)


@pytest.mark.parametrize("value", ["yes", "Yes", "YES"])
def test_report_headers_are_read_in_any_case(value: str) -> None:
    """RFC 4975 9 has them as quoted literals, and these have no case (RFC 4234 2.3)."""
    reports = f"Success-Report: {value}\r\nFailure-Report: {value}\r\nContent"
    octets = (TYPED.replace("Content", reports) + f"hi\r\n{END}").encode()
    (frame,) = MsrpFrameStream().feed(octets)
    assert isinstance(frame, MsrpFrame)
    assert (frame.head.success_report, frame.head.failure_report, frame.violations) == ("yes", "yes", ())
