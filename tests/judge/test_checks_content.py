"""DLV-0.4 and DLV-2.x: the bytes that break each requirement, and the legal forms that must not."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import replace

import pytest

from cpmspec.judge.verdict import Grade, Verdict
from scene import ALICE, Scene, Sent, Session, Wrapped

Bend = Callable[[Wrapped, Sent], None]


def bent_delivery(mode: str, bend: Bend, establishment: str = "pull", **ixit: object) -> Scene:
    user = replace(ALICE, establishment=establishment)
    scene = Scene(user, **ixit)
    messages = [scene.defer(mode, user), scene.defer(mode, user)]
    scene.wait(5)
    scene.register(user)
    session = scene.session(user)
    for index, sent in enumerate(messages):
        wrapped = session.wrap(sent)
        if index == 1:
            bend(wrapped, sent)
        session.send(wrapped)
    session.bye()
    for sent in messages:
        scene.record(sent)
    return scene


def set_(**values: object) -> Bend:
    def bend(wrapped: Wrapped, sent: Sent) -> None:
        for name, value in values.items():
            setattr(wrapped, name, value)

    return bend


def without(name: str) -> Bend:
    def bend(wrapped: Wrapped, sent: Sent) -> None:
        wrapped.sip = [pair for pair in wrapped.sip if pair[0] != name]

    return bend


def altered(name: str, value: str) -> Bend:
    def bend(wrapped: Wrapped, sent: Sent) -> None:
        wrapped.sip = [(key, value if key == name else old) for key, old in wrapped.sip]

    return bend


def octet_changed(wrapped: Wrapped, sent: Sent) -> None:
    wrapped.body = wrapped.body[:-1] + b"!"


def crlf_eaten(wrapped: Wrapped, sent: Sent) -> None:
    wrapped.octets = wrapped.render().replace(b"\r\n--b0und--", b"--b0und--")


def bare(wrapped: Wrapped, sent: Sent) -> None:
    wrapped.content_type, wrapped.octets = "text/plain", wrapped.body


def spaced_call_id(wrapped: Wrapped, sent: Sent) -> None:
    wrapped.sip.append(("To", "<sip:twice@example.com>"))


BREAKS = [
    ("pager", set_(date="Sat, 01 Jan 2000 00:00:00 GMT"), {"DLV-0.4"}),
    ("pager", set_(date=None), {"DLV-0.4"}),
    ("pager", set_(content_type="multipart/related;boundary=b0und"), {"DLV-2.1"}),
    ("pager", bare, {"DLV-2.1"}),
    ("pager", set_(content_type="multipart/mixed"), {"DLV-2.2"}),
    ("pager", without("Subject"), {"DLV-2a.1"}),
    ("large", without("Conversation-ID"), {"DLV-2a.1"}),
    ("pager", altered("Subject", "other"), {"DLV-2a.1"}),
    ("large", set_(msrp=[]), {"DLV-2a.1"}),
    ("pager", octet_changed, {"DLV-2a.2"}),
    ("large", octet_changed, {"DLV-2a.2"}),
    ("pager", set_(body_type="text/html"), {"DLV-2a.2"}),
    ("pager", set_(sip_type="text/plain"), {"DLV-2b.1"}),
    ("pager", set_(sip_type="message/rfc822"), {"DLV-2b.1"}),
    ("pager", spaced_call_id, {"DLV-2a.1", "DLV-2b.2"}),
    ("pager", set_(sip_type="message/sip"), {"DLV-2b.2"}),
    ("large", set_(sip_type="text/plain"), {"DLV-2c.1"}),
    ("large", set_(sip_type="message/sip"), {"DLV-2c.2"}),
    ("large", set_(msrp_type="message/sipfrag"), {"DLV-2d.1"}),
    ("large", set_(msrp_type="text/plain"), {"DLV-2d.1"}),
]


@pytest.mark.parametrize(("mode", "bend", "expected"), BREAKS)
@pytest.mark.parametrize("establishment", ["pull", "push"])
def test_a_bent_message_breaks_just_that(mode: str, bend: Bend, expected: set[str], establishment: str) -> None:
    assert bent_delivery(mode, bend, establishment).broken() == expected


def test_a_boundary_whose_line_end_was_eaten_breaks_2_2() -> None:
    assert "DLV-2.2" in bent_delivery("pager", crlf_eaten).broken()


def test_headers_of_one_with_content_of_another_break_2a_3() -> None:
    scene = Scene()
    first, second = scene.defer(), scene.defer()
    scene.wait(5)
    scene.register()
    session = scene.session()
    session.send(replace(session.wrap(first), body=second.content))
    session.send(replace(session.wrap(second), body=first.content))
    session.bye()
    for sent in (first, second):
        scene.record(sent)
    assert scene.broken() == {"DLV-2a.3"}


def compact(wrapped: Wrapped, sent: Sent) -> None:
    short = {"From": "f", "To": "t", "Call-ID": "i", "Subject": "s", "Content-Type": "c"}
    wrapped.sip = [(short.get(name, name.upper()), value) for name, value in wrapped.sip]


def folded(wrapped: Wrapped, sent: Sent) -> None:
    wrapped.sip = [(name, value.replace(" ", "\r\n ")) for name, value in wrapped.sip]


def reordered(wrapped: Wrapped, sent: Sent) -> None:
    wrapped.sip = [*reversed(wrapped.sip), ("X-More", "1"), ("Via", "SIP/2.0/UDP h;branch=z9hG4bKq")]


def preamble(wrapped: Wrapped, sent: Sent) -> None:
    wrapped.octets = b"preamble\r\n" + wrapped.render() + b"\r\nepilogue"


def quoted(wrapped: Wrapped, sent: Sent) -> None:
    wrapped.content_type = 'Multipart/Mixed; boundary="b0und"'


def content_first(wrapped: Wrapped, sent: Sent) -> None:
    parts = wrapped.render().removesuffix(b"--b0und--\r\n").split(b"--b0und\r\n")[1:]
    wrapped.octets = b"".join(b"--b0und\r\n" + part for part in reversed(parts)) + b"--b0und--\r\n"


def inside_sip(wrapped: Wrapped, sent: Sent) -> None:
    head = "".join(f"{name}: {value}\r\n" for name, value in wrapped.sip if name != "Content-Type")
    head = f"Via: SIP/2.0/UDP h;branch=z9hG4bKq\r\nMax-Forwards: 70\r\nCSeq: 1 MESSAGE\r\n{head}"
    head = f"MESSAGE sip:a@b SIP/2.0\r\n{head}"
    head += f"Content-Type: text/plain\r\nContent-Length: {len(wrapped.body)}\r\n\r\n"
    octets = f"--b0und\r\nDate: {wrapped.date}\r\nContent-Type: message/sip\r\n\r\n{head}".encode() + wrapped.body
    wrapped.octets = octets + b"\r\n--b0und--\r\n"


LEGAL = [
    ("pager", compact),
    ("large", compact),
    ("pager", folded),
    ("pager", reordered),
    ("large", preamble),
    ("pager", quoted),
    ("large", content_first),
    ("pager", inside_sip),
]


@pytest.mark.parametrize(("mode", "bend"), LEGAL)
def test_a_legal_form_breaks_nothing(mode: str, bend: Bend) -> None:
    scene = bent_delivery(mode, bend)
    assert [finding for finding in scene.judge().findings if finding.verdict is not Verdict.PASS] == []


@pytest.mark.parametrize("chunks", [2, 3, 7])
def test_a_chunked_delivery_is_judged_like_a_whole_one(chunks: int) -> None:
    scene = Scene()
    sent = scene.defer("large")
    scene.wait(5)
    scene.register()
    session = scene.session()
    session.send(session.wrap(sent), chunks=chunks)
    session.bye()
    scene.record(sent)
    judgement = scene.judge()
    assert scene.broken() == set()
    assert judgement.of("DLV-2a.2") is Verdict.PASS
    assert (
        next(one for one in judgement.findings if one.requirement == "DLV-0.3").reason
        == f"delivered in {chunks} chunks"
    )


def test_base64_content_is_a_remark() -> None:
    def coded(wrapped: Wrapped, sent: Sent) -> None:
        wrapped.body = base64.b64encode(wrapped.body)
        wrapped.body_headers = ["Content-Transfer-Encoding: base64"]

    findings = [one for one in bent_delivery("pager", coded).judge().findings if one.requirement == "DLV-2a.2"]
    assert [(one.verdict, one.grade) for one in findings] == [
        (Verdict.PASS, Grade.STRICT),
        (Verdict.PASS, Grade.NON_STRICT),
    ]


def test_a_missing_header_is_a_matter_of_interpretation_where_the_profile_is_silent() -> None:
    scene = bent_delivery("pager", without("Subject"))
    scene.explicit = ()
    judgement = scene.judge()
    assert judgement.of("DLV-2a.1") is Verdict.INCONC
    scene = bent_delivery("pager", altered("Subject", "other"))
    scene.explicit = ()
    assert scene.judge().of("DLV-2a.1") is Verdict.FAIL


def test_time_at_another_known_place_is_a_matter_of_interpretation() -> None:
    def moved(wrapped: Wrapped, sent: Sent) -> None:
        wrapped.sip.append(("Date", wrapped.date or ""))
        wrapped.date = None

    scene = bent_delivery("pager", moved)
    assert scene.broken() == {"DLV-0.4"}
    scene.explicit = ()
    assert scene.judge().of("DLV-0.4") is Verdict.INCONC


def test_the_senders_own_date_is_not_the_time_of_receipt() -> None:
    scene = Scene(timestamp_locations=["sip:Date"])
    sent = scene.defer(Date="Wed, 23 Sep 2026 06:00:00 GMT")
    scene.wait(5)
    scene.register()
    session = scene.session()
    session.send(replace(session.wrap(sent), date=None))
    session.bye()
    assert "DLV-0.4" in scene.broken()


def test_every_chunk_needs_the_type() -> None:
    scene = Scene()
    sent = scene.defer("large")
    scene.wait(5)
    scene.register()
    session: Session = scene.session()
    octets = session.wrap(sent).render()
    session.chunk("multipart/mixed;boundary=b0und", "idx0", octets[:100], 1, len(octets), "+", 200)
    session.chunk("application/octet-stream", "idx0", octets[100:], 101, len(octets), "$", 200)
    session.bye()
    scene.record(sent)
    assert scene.broken() == {"DLV-2.1"}
