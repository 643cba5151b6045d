"""Identities, services, notifications of the PF, and headers that are not for the client."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from cpmspec.evidence.trace import Pco, Role
from cpmspec.judge.checks import identity_rules, imdn_rules, security_rules
from cpmspec.judge.verdict import Blame, Verdict
from scene import ALICE, Scene, Sent, verdicts

PASS, FAIL = Verdict.PASS, Verdict.FAIL
Pairs = Sequence[tuple[str, str]]
QUIET = replace(ALICE, history=False)
PUSHED = replace(QUIET, establishment="push")
VIA = "SIP/2.0/UDP 127.0.0.1:9;branch=z9hG4bK"
DEFERRED = '*;+g.3gpp.icsi-ref="urn%3Aurn-7%3A3gpp-service.ims.icsi.oma.cpm.deferred"'
CHECKS = (*identity_rules.RULES, *imdn_rules.RULES, *security_rules.RULES)


def found(scene: Scene, rule: str) -> list[Verdict]:
    return verdicts(scene, CHECKS, rule)


def own(scene: Scene, extra: Pairs, method: str = "MESSAGE", body: bytes = b"") -> list[tuple[str, str]]:
    call_id = f"own-{scene.next()}"
    return scene.request(Role.IUT, Role.CORE, method, ALICE.uri, "sip:pf", f"<{ALICE.uri}>", call_id, extra, body)


# --- P-Asserted-Identity, Accept-Contact -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["<sip:pf@example.com>"], [PASS]),
        (["<sips:pf@example.com>, <tel:+1>"], [PASS]),
        (["<sip:a>", "<sip:b>"], [FAIL]),
        (["<tel:+1>", "<tel:+2>"], [FAIL]),
        (["<sip:a>", "<tel:+1>", "<sip:b>"], [FAIL]),
        (["<http://a>"], [FAIL]),
        ([""], [FAIL]),
        ([], []),
    ],
)
def test_asserted_identities(values: list[str], expected: list[Verdict]) -> None:
    scene = Scene()
    own(scene, [("P-Asserted-Identity", value) for value in values])
    assert found(scene, "SIP-3325-9.1-02") == expected


def test_identities_that_were_given_are_the_senders() -> None:
    scene = Scene()
    scene.defer(P_Asserted_Identity="x", more={"P-Asserted-Identity": "<sip:a>, <sip:b>"})
    own(scene, [("P-Asserted-Identity", "<sip:a>, <sip:b>")])
    assert found(scene, "SIP-3325-9.1-02") == []


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (DEFERRED, [PASS]),
        (f"{DEFERRED.replace('%3A', '%3a')};require;explicit", [PASS]),
        (f"*;audio,{DEFERRED}", [PASS]),
        (DEFERRED.replace("%3A", ":"), [FAIL]),
        (DEFERRED.replace("deferred", "session"), [FAIL]),
        ("*;audio", [FAIL]),
        ("*;+g.3gpp.icsi-ref", [FAIL]),
        ("", [FAIL]),
    ],
)
@pytest.mark.parametrize("name", ["Accept-Contact", "a"])
def test_a_push_names_the_service(name: str, value: str, expected: list[Verdict]) -> None:
    scene = Scene(PUSHED, QUIET)
    scene.session(QUIET)  # a retrieval names nothing
    extra = [(name, value)] if value else []
    scene.request(Role.IUT, Role.CORE, "INVITE", ALICE.uri, "sip:pf", f"<{ALICE.uri}>", "push", extra)
    assert found(scene, "EST-3841-7.2-01") == expected


def test_a_push_without_the_service_is_a_matter_of_interpretation() -> None:
    scene = Scene(PUSHED)
    scene.session(PUSHED)
    findings = [one for one in scene.judge().findings if one.requirement == "EST-3841-7.2-01"]
    assert [(one.verdict, one.blame) for one in findings] == [(Verdict.INCONC, Blame.INTERPRETATION)]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("*;audio;require;explicit", [PASS]),
        ("*;audio;require, *;video;require", [PASS, PASS]),
        ("*;audio;require;REQUIRE", [FAIL]),
        ('*;x="<;explicit>";explicit;explicit', [FAIL]),
        ('*;x="<;explicit>";explicit', [PASS]),
    ],
)
def test_preferences_are_marked_once(value: str, expected: list[Verdict]) -> None:
    scene = Scene()
    own(scene, [("Accept-Contact", value)])
    assert found(scene, "SIP-3841-10-01") == expected


def test_preferences_that_were_given_are_the_senders() -> None:
    scene = Scene()
    scene.defer(more={"Accept-Contact": "*;audio;require;require"})
    own(scene, [("Accept-Contact", "*;audio;require;require")])
    assert found(scene, "SIP-3841-10-01") == []


@pytest.mark.parametrize(
    ("before", "after", "identity", "service"),
    [
        ([("P-Preferred-Identity", "<sip:x>")], [("P-Preferred-Identity", "<sip:x>")], [FAIL], []),
        ([("P-Preferred-Identity", "<sip:x>")], [], [PASS], []),
        ([], [], [], []),
        ([("P-Preferred-Service", "urn:x")], [("P-Preferred-Service", "urn:x")], [], []),
        (
            [("P-Preferred-Service", "urn:x"), ("P-Asserted-Service", "urn:x")],
            [("P-Preferred-Service", "urn:x"), ("P-Asserted-Service", "urn:x")],
            [],
            [FAIL],
        ),
        ([("P-Preferred-Service", "urn:x")], [("P-Asserted-Service", "urn:x")], [], [PASS]),
    ],
)
def test_what_a_user_claims_is_not_passed_on(
    before: Pairs, after: Pairs, identity: list[Verdict], service: list[Verdict]
) -> None:
    scene = Scene()
    common = [("From", "<sip:bob>;tag=1"), ("To", f"<{ALICE.uri}>"), ("Call-ID", "through"), ("CSeq", "1 MESSAGE")]
    start = f"MESSAGE {ALICE.uri} SIP/2.0"
    scene.sip(Role.CORE, Role.IUT, start, [("Via", f"{VIA}bob"), *common, *before])
    scene.sip(Role.IUT, Role.CORE, start, [("Via", f"{VIA}pf"), ("Via", f"{VIA}bob"), *common, *after])
    assert (found(scene, "SIP-3325-6-01"), found(scene, "SIP-6050-5.1.2-01")) == (identity, service)


# --- what is delivered with a message --------------------------------------------------------------------------------


def delivered_with(more: Pairs, stored: dict[str, str], body: bytes | None = None) -> Scene:
    """A message deferred with some headers, and delivered with others."""
    scene = Scene(QUIET)
    sent = scene.defer(user=QUIET, more=stored)
    scene.wait(5)
    scene.register(QUIET)
    session = scene.session(QUIET)
    wrapped = session.wrap(sent)
    wrapped.sip = [*(one for one in wrapped.sip if not one[0].startswith("P-")), *more]
    wrapped.octets = body
    session.send(wrapped)
    session.bye()
    return scene


IDENTITY, SERVICE = ("P-Asserted-Identity", "<sip:bob@example.com>"), ("P-Asserted-Service", "urn:urn-7:x")


@pytest.mark.parametrize(
    ("more", "stored", "expected"),
    [
        ([IDENTITY], {"Privacy": "id", **dict([IDENTITY])}, [FAIL]),
        ([], {"Privacy": "header;ID", **dict([IDENTITY])}, [PASS]),
        ([IDENTITY], {"Privacy": "none", **dict([IDENTITY])}, []),
        ([], {"Privacy": "id"}, []),
    ],
)
def test_a_private_identity_is_kept_back(more: Pairs, stored: dict[str, str], expected: list[Verdict]) -> None:
    assert found(delivered_with(more, stored), "SIP-3325-7-01") == expected


@pytest.mark.parametrize(
    ("more", "stored", "expected"),
    [([SERVICE], dict([SERVICE]), [FAIL]), ([], dict([SERVICE]), [PASS]), ([], {}, [])],
)
def test_an_asserted_service_is_kept_back(more: Pairs, stored: dict[str, str], expected: list[Verdict]) -> None:
    assert found(delivered_with(more, stored), "SIP-6050-5.1.2-02") == expected


@pytest.mark.parametrize(
    ("more", "expected"),
    [([("Authorization", "Digest x")], [FAIL]), ([("p-charging-vector", "x")], [FAIL]), ([], [PASS])],
)
def test_headers_that_are_not_for_the_client(more: Pairs, expected: list[Verdict]) -> None:
    assert found(delivered_with(more, {}), "SEC-CPM-8.3.2.4.3-01") == expected


def test_a_message_that_cannot_be_told_has_no_headers() -> None:
    scene = delivered_with([], {"Privacy": "id"}, b"--b0und\r\n\r\nnothing\r\n--b0und--\r\n")
    scene.defer()
    for rule in ("SEC-CPM-8.3.2.4.3-01", "SIP-3325-7-01"):
        assert found(scene, rule) == []


@pytest.mark.parametrize(
    ("extra", "status", "method", "expected"),
    [
        ([("To", "<sip:x>")], 202, "MESSAGE", [FAIL]),
        ([("To", "<sip:x>")], 400, "MESSAGE", [PASS]),
        ([("f", "<sip:x>")], 200, "INVITE", [FAIL]),
        ([("To", "<sip:x>")], None, "MESSAGE", []),
        ([("To", "<sip:x>")], 200, "OPTIONS", []),
        ([("Subject", "a")], 202, "MESSAGE", []),
    ],
)
def test_a_request_that_means_two_things(
    extra: Pairs, status: int | None, method: str, expected: list[Verdict]
) -> None:
    scene = Scene()
    copied = scene.request(
        Role.CORE, Role.IUT, method, ALICE.uri, "sip:b", f"<{ALICE.uri}>", "c", [("Subject", "s"), *extra]
    )
    scene.frames.append(scene.frames[-1])
    if status:
        scene.response(Role.IUT, Role.CORE, status, copied)
    assert found(scene, "SEC-3261-7.3.1-01") == expected


# --- notifications of the PF -----------------------------------------------------------------------------------------


def cpim(*, wants: str = "negative-delivery", kind: str = "text/plain", body: bytes = b"hi", more: str = "") -> bytes:
    head = "From: <sip:bob@example.com>\r\nTo: <sip:alice@example.com>\r\nNS: imdn <urn:ietf:params:imdn>\r\n"
    head += "imdn.Message-ID: m1\r\n" + (f"imdn.Disposition-Notification: {wants}\r\n" if wants else "") + more
    return head.encode() + f"\r\nContent-Type: {kind}\r\n\r\n".encode() + body


def imdn(status: str = "failed", kind: str = "delivery", message_id: str = "m1") -> bytes:
    return (
        f'<?xml version="1.0"?><imdn xmlns="urn:ietf:params:xml:ns:imdn"><message-id>{message_id}</message-id>'
        f"<{kind}-notification><status><{status}/></status></{kind}-notification></imdn>"
    ).encode()


def told(
    scene: Scene, notice: bytes, *, to: str = "<sip:bob@example.com>", bare: bool = False, more: str = ""
) -> Pairs:
    """A notification that the PF sends to the sender of a message."""
    head = f"From: <sip:alice@example.com>\r\nTo: {to}\r\nNS: imdn <urn:ietf:params:imdn>\r\n{more}".encode()
    body = notice if bare else head + b"\r\nContent-Type: message/imdn+xml\r\n\r\n" + notice
    kind = "message/imdn+xml" if bare else "message/cpim"
    copied = scene.request(
        Role.IUT, Role.CORE, "MESSAGE", "sip:bob@example.com", "sip:pf", "<sip:bob@example.com>", f"i-{scene.next()}",
        [("Content-Type", kind)], body,
    )  # fmt: skip
    scene.response(Role.CORE, Role.IUT, 200, copied)
    return copied


def deferred(content: bytes) -> tuple[Scene, Sent]:
    scene = Scene()
    return scene, scene.defer(content=content, kind="message/cpim")


NAME, ASKED, ONE, ABOUT, BACK = (
    "IMD-5438-12.2-01", "IMD-5438-12.2-02", "IMD-5438-7.2.1-01", "IMD-5438-7.2.1-02", "IMD-5438-7.2.1-03",
)  # fmt: skip


@pytest.mark.parametrize("bare", [False, True])
def test_a_legal_notification(bare: bool) -> None:
    scene, _ = deferred(cpim())
    told(scene, imdn(), bare=bare)
    assert [found(scene, rule) for rule in (NAME, ASKED, ONE, ABOUT)] == [[PASS]] * 4
    assert found(scene, BACK) == ([] if bare else [PASS])


def test_no_notification_in_the_recipients_name() -> None:
    scene, _ = deferred(cpim(wants="positive-delivery"))
    told(scene, imdn("delivered"))
    assert (found(scene, NAME), found(scene, ASKED)) == ([FAIL], [PASS])


@pytest.mark.parametrize("way", ["sip", "msrp"])
def test_a_notification_of_the_client_passes_through(way: str) -> None:
    scene, _ = deferred(cpim(wants="positive-delivery"))
    notice = imdn("delivered")
    if way == "sip":
        extra = [("Content-Type", "message/imdn+xml")]
        scene.request(Role.CORE, Role.IUT, "MESSAGE", "sip:bob@b", "sip:a", "<sip:bob@b>", "c", extra, notice)
    else:
        head = "MSRP t1x SEND\r\nTo-Path: msrp://a:1/x;tcp\r\nFrom-Path: msrp://b:1/y;tcp\r\nMessage-ID: abcd\r\n"
        head += "Content-Type: message/imdn+xml\r\n\r\n"
        octets = head.encode().replace(b"t1x", b"t1xx") + notice + b"\r\n-------t1xx$\r\n"
        scene.put(Pco.MSRP, Role.CLIENT, Role.IUT, octets, connection=scene.connection("m"))
    told(scene, notice)
    assert found(scene, NAME) == []


@pytest.mark.parametrize(
    ("wants", "status", "kind", "expected"),
    [
        ("positive-delivery, processing", "stored", "processing", [PASS]),
        ("positive-delivery", "stored", "processing", [FAIL]),
        ("", "failed", "delivery", [FAIL]),
        ("display", "displayed", "display", [PASS]),
    ],
)
def test_only_what_was_asked_for(wants: str, status: str, kind: str, expected: list[Verdict]) -> None:
    scene, _ = deferred(cpim(wants=wants))
    told(scene, imdn(status, kind))
    assert found(scene, ASKED) == expected


def test_a_notification_that_tells_nothing_was_not_asked_for() -> None:
    scene, _ = deferred(cpim())
    told(scene, b'<imdn xmlns="urn:ietf:params:xml:ns:imdn"><message-id>m1</message-id></imdn>')
    assert found(scene, ASKED) == [PASS]


def test_one_notification_of_a_kind() -> None:
    scene, _ = deferred(cpim(wants="processing,negative-delivery"))
    told(scene, imdn("stored", "processing"))
    told(scene, imdn())
    assert found(scene, ONE) == [PASS, PASS]
    told(scene, imdn())
    assert found(scene, ONE) == [PASS, PASS, FAIL]


@pytest.mark.parametrize("status", [503, None])
def test_a_notification_that_was_refused_may_come_again(status: int | None) -> None:
    scene, _ = deferred(cpim())
    copied = told(scene, imdn())
    scene.frames.pop()
    if status:
        scene.response(Role.CORE, Role.IUT, status, copied)
    told(scene, imdn())
    assert found(scene, ONE) == [PASS, PASS]


def test_no_notification_about_a_notification() -> None:
    scene, _ = deferred(cpim(kind="message/imdn+xml", body=imdn(message_id="m0")))
    told(scene, imdn())
    assert found(scene, ABOUT) == [FAIL]
    scene, _ = deferred(cpim())
    told(scene, imdn(), more="imdn.Disposition-Notification: display\r\n")
    assert found(scene, ABOUT) == [FAIL]


@pytest.mark.parametrize(
    ("to", "more", "expected"),
    [
        ('"Bob" <sip:bob@EXAMPLE.com>', "", [PASS]),
        ("<sip:victim@example.com>", "", [FAIL]),
        ("<sip:victim@example.com>", "imdn.IMDN-Record-Route: <sip:there>\r\n", []),
    ],
)
def test_a_notification_goes_to_the_sender(to: str, more: str, expected: list[Verdict]) -> None:
    scene, _ = deferred(cpim(more=more))
    told(scene, imdn(), to=to)
    assert found(scene, BACK) == expected


def test_what_is_no_notification_of_a_deferred_message() -> None:
    scene, _ = deferred(cpim())
    told(scene, imdn(message_id="other"))
    told(scene, imdn(message_id=""))
    own(scene, [("Content-Type", "text/plain")], body=b"hello")
    own(scene, [], "OPTIONS")
    scene.defer(content=cpim(body=b"again"), kind="message/cpim")  # the same identifier: either may be meant
    told(scene, imdn())
    assert found(scene, NAME) == []
