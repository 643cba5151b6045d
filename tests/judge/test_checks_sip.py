"""Rules about single SIP requests and their answers: the octets that break each, and neighbours that must not."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from cpmspec.evidence.trace import Kind, Pco, Role
from cpmspec.judge.checks import sip_message_rules
from cpmspec.judge.facts import Facts
from cpmspec.judge.sip_origin import Origin, excused, forwarded_messages, given, origins, own, own_messages
from cpmspec.judge.verdict import Verdict
from cpmspec.wire.violation import Violation
from scene import ALICE, PSI, Scene, verdicts

PASS, FAIL = Verdict.PASS, Verdict.FAIL
Pairs = Sequence[tuple[str, str]]
VIA = "SIP/2.0/UDP 127.0.0.1:9;branch="


def found(scene: Scene, rule: str) -> list[Verdict]:
    return verdicts(scene, sip_message_rules.RULES, rule)


def own_message(
    scene: Scene, extra: Pairs = (), body: bytes = b"", to: str = ALICE.uri, number: int = 0
) -> list[tuple[str, str]]:
    """A MESSAGE of the PF's own to a user."""
    headers = [*extra, ("Content-Type", "text/plain")] if body else extra
    call_id = f"own-{number or scene.next()}"
    return scene.request(Role.IUT, Role.CORE, "MESSAGE", to, "sip:pf@example.com", f"<{to}>", call_id, headers, body)


def asked(
    scene: Scene, method: str = "MESSAGE", status: int = 202, extra: Pairs = (), answer: Pairs = (),
    body: bytes = b"hi", kind: str = "text/plain", reply: bytes = b"", uri: str = ALICE.uri,
) -> None:  # fmt: skip
    """A request to the PF, and its answer."""
    headers = [*extra, ("Content-Type", kind)] if body else extra
    copied = scene.request(
        Role.CORE, Role.IUT, method, uri, "sip:bob@example.com", f"<{uri}>", f"asked-{scene.next()}", headers, body
    )
    scene.response(Role.IUT, Role.CORE, status, copied, answer, reply)


# --- MESSAGE (RFC 3428) ----------------------------------------------------------------------------------------------


def test_a_deferred_message_answered_200_is_remarked_upon() -> None:
    scene = Scene()
    scene.defer(status=200)
    scene.defer()
    scene.defer("large")
    assert found(scene, "SIP-3428-7-01") == [FAIL, PASS]
    assert scene.judge().of("SIP-3428-7-01") is PASS  # a SHOULD


def test_a_message_that_the_client_took_was_delivered() -> None:
    scene = Scene()
    request = [("Content-Type", "text/plain")]
    copied = scene.request(
        Role.CORE, Role.IUT, "MESSAGE", ALICE.uri, "sip:bob@example.com", f"<{ALICE.uri}>", "through", request, b"hi"
    )
    passed = scene.request(
        Role.IUT, Role.CORE, "MESSAGE", ALICE.uri, "sip:bob@example.com", f"<{ALICE.uri}>", "through", request, b"hi"
    )
    scene.response(Role.CORE, Role.IUT, 200, passed)
    scene.response(Role.IUT, Role.CORE, 200, copied)
    assert found(scene, "SIP-3428-7-01") == []


@pytest.mark.parametrize(
    ("answer", "reply", "expected"),
    [
        ([], b"", [PASS]),
        ([("Contact", "<sip:pf>")], b"", [FAIL]),
        ([("Content-Type", "text/plain")], b"thanks", [FAIL]),
    ],
)
def test_the_2xx_to_a_message_is_bare(answer: Pairs, reply: bytes, expected: list[Verdict]) -> None:
    scene = Scene()
    asked(scene, answer=answer, reply=reply)
    asked(scene, status=480, answer=[("Contact", "<sip:elsewhere>")])
    asked(scene, "OPTIONS", 200, answer=[("Contact", "<sip:pf>")], body=b"")
    assert found(scene, "SIP-3428-7-02") == expected


@pytest.mark.parametrize(
    ("extra", "rule"),
    [(("Contact", "<sip:pf@example.com>"), "SIP-3428-4-01"), (("Accept", "text/plain"), "SIP-3428-9-01")],
)
def test_what_a_message_must_not_have(extra: tuple[str, str], rule: str) -> None:
    scene = Scene()
    own_message(scene)
    own_message(scene, [extra])
    assert found(scene, rule) == [PASS, FAIL]


def test_a_contact_that_was_given_is_the_senders() -> None:
    scene = Scene()
    asked(scene, extra=[("Contact", "<sip:bob@host>")])
    own_message(scene, [("Contact", "<sip:bob@host>")])
    assert found(scene, "SIP-3428-4-01") == [PASS]


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        ([("Expires", "60")], [FAIL]),
        ([("Expires", "60"), ("Date", "Mon, 23 Nov 2026 10:00:00 GMT")], [PASS]),
        ([("Expires", "0")], []),
        ([], []),
    ],
)
def test_a_message_that_expires_is_dated(extra: Pairs, expected: list[Verdict]) -> None:
    scene = Scene()
    own_message(scene, extra)
    assert found(scene, "SIP-3428-4-02") == expected


@pytest.mark.parametrize(
    ("kind", "extra", "status", "expected"),
    [
        ("text/plain", [], 415, [FAIL]),
        ("Text/Plain;charset=UTF-8", [], 415, [FAIL]),
        ("text/plain", [], 202, [PASS]),
        ("text/plain", [], 400, [PASS]),
        ("text/plain", [], 100, []),
        ("text/plain;charset=utf-16", [], 415, []),
        ("text/plain", [("Content-Encoding", "gzip")], 415, []),
        ("image/png", [], 415, []),
    ],
)
def test_plain_text_is_no_unsupported_type(kind: str, extra: Pairs, status: int, expected: list[Verdict]) -> None:
    scene = Scene()
    asked(scene, status=status, extra=extra, kind=kind)
    assert found(scene, "SIP-3428-4-03") == expected


def test_an_answer_to_a_request_that_was_not_seen_is_not_judged() -> None:
    scene = Scene()
    copied = [("Via", f"{VIA}z9hG4bKunseen"), ("From", "<sip:a>;tag=1"), ("To", "<sip:b>"), ("Call-ID", "unseen")]
    scene.response(Role.IUT, Role.CORE, 415, [*copied, ("CSeq", "1 MESSAGE")], [("Accept", "text/plain")])
    scene.response(Role.IUT, Role.CORE, 420, [*copied, ("CSeq", "2 MESSAGE")], [("Unsupported", "x")])
    assert found(scene, "SIP-3428-4-03") == []
    assert found(scene, "SIP-3261-8.2.2.3-01") == [PASS]


@pytest.mark.parametrize(
    ("answered", "after", "same", "expected"),
    [
        (True, 0.0, True, [PASS, PASS]),
        (False, 0.0, True, [PASS, FAIL]),
        (False, 0.0, False, [PASS, PASS]),
        (False, 40.0, True, [PASS, PASS]),  # timed out
    ],
)
def test_one_message_at_a_time(answered: bool, after: float, same: bool, expected: list[Verdict]) -> None:
    scene = Scene()
    first = own_message(scene)
    if answered:
        scene.response(Role.CORE, Role.IUT, 200, first)
    scene.wait(after)
    own_message(scene, to=ALICE.uri if same else "sip:carol@example.com")
    if not answered and not after:
        scene.response(Role.CORE, Role.IUT, 200, first)
    assert found(scene, "SIP-3428-8-02") == expected


def test_a_message_may_have_failed_with_its_connection() -> None:
    scene = Scene()
    scene.tcp = True
    own_message(scene)
    own_message(scene)
    assert found(scene, "SIP-3428-8-02") == [PASS, FAIL]
    scene = Scene()
    scene.tcp = True
    own_message(scene)
    scene.put(Pco.ISC, Role.CORE, Role.IUT, b"", connection=scene.connection("sip-isc"), kind=Kind.RESET)
    scene._connections.clear()
    scene.connection("msrp")
    own_message(scene)
    assert found(scene, "SIP-3428-8-02") == [PASS, PASS]


def test_a_retransmission_is_no_second_message() -> None:
    scene = Scene()
    own_message(scene)
    scene.frames.append(scene.frames[-1])
    assert found(scene, "SIP-3428-8-02") == [PASS]


@pytest.mark.parametrize(("size", "tcp", "expected"), [(100, False, [PASS]), (1300, False, [FAIL]), (1300, True, [])])
def test_what_udp_can_carry(size: int, tcp: bool, expected: list[Verdict]) -> None:
    scene = Scene()
    scene.tcp = tcp
    own_message(scene, body=b"x" * size)
    assert found(scene, "SIP-3428-8-01") == expected
    assert scene.judge().of("SIP-3428-8-01") is (
        Verdict.INCONC if FAIL in expected else PASS if expected else Verdict.NONE
    )


def test_other_requests_by_udp() -> None:
    scene = Scene()
    session = scene.session(ALICE)
    session.bye()
    scene.request(Role.IUT, Role.CORE, "OPTIONS", "sip:core", "sip:pf", "<sip:core>", "big", [("Subject", "x" * 1300)])
    assert found(scene, "SIP-3261-18.1.1-01") == [PASS, FAIL]


# --- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "rule", "right"),
    [
        (405, "SIP-3261-8.2.1-01", ("Allow", "MESSAGE")),
        (415, "SIP-3261-8.2.3-01", ("Accept-Encoding", "identity")),
        (420, "SIP-3261-8.2.2.3-01", ("Unsupported", "strange")),
    ],
)
def test_a_refusal_says_what_would_be_right(status: int, rule: str, right: tuple[str, str]) -> None:
    scene = Scene()
    asked(scene, status=status, extra=[("Require", "strange")])
    asked(scene, status=status, extra=[("Require", "strange")], answer=[right])
    assert found(scene, rule) == [FAIL, PASS]


@pytest.mark.parametrize(("value", "expected"), [("", [FAIL]), ("other", [FAIL]), ("STRANGE", [PASS])])
def test_a_420_names_what_was_required(value: str, expected: list[Verdict]) -> None:
    scene = Scene()
    asked(scene, status=420, extra=[("Require", "strange")], answer=[("Unsupported", value)])
    assert found(scene, "SIP-3261-8.2.2.3-01") == expected


def merged(scene: Scene, branch: str, status: int | None, tcp: bool = False, method: str = "MESSAGE") -> None:
    copied = [
        ("Via", f"{VIA}{branch}"), ("From", "<sip:bob>;tag=1"), ("To", f"<{ALICE.uri}>"), ("Call-ID", "merged"),
        ("CSeq", f"1 {method}"),
    ]  # fmt: skip
    scene.tcp = tcp
    scene.sip(Role.CORE, Role.IUT, f"{method} {ALICE.uri} SIP/2.0", [*copied, ("Max-Forwards", "70")])
    if status:
        scene.response(Role.IUT, Role.CORE, status, copied)


@pytest.mark.parametrize(
    ("again", "status", "wait", "tcp", "method", "expected"),
    [
        ("z9hG4bKb", 482, 0, False, "MESSAGE", [PASS]),
        ("z9hG4bKb", 202, 0, False, "MESSAGE", [FAIL]),
        ("z9hG4bKb", None, 0, False, "MESSAGE", []),
        ("z9hG4bKa", 202, 0, False, "MESSAGE", []),  # a retransmission
        ("z9hG4bKb", 202, 40, False, "MESSAGE", []),  # long after
        ("z9hG4bKb", 202, 0, True, "MESSAGE", []),  # over a stream the first may be forgotten
        ("z9hG4bKb", None, 0, False, "ACK", []),
    ],
)
def test_a_merged_request(
    again: str, status: int | None, wait: float, tcp: bool, method: str, expected: list[Verdict]
) -> None:
    scene = Scene()
    merged(scene, "z9hG4bKa", 202 if method != "ACK" else None, method=method)
    scene.wait(wait)
    merged(scene, again, status, tcp, method)
    assert found(scene, "SIP-3261-8.2.2.2-01") == expected


# --- hops -------------------------------------------------------------------------------------------------------------


def test_the_hops_to_begin_with() -> None:
    scene = Scene()
    own_message(scene)
    copied = [("Via", f"{VIA}z9hG4bK1"), ("From", "<sip:pf>;tag=1"), ("To", "<sip:b>"), ("Call-ID", "few")]
    start = "OPTIONS sip:b SIP/2.0"
    scene.sip(Role.IUT, Role.CORE, start, [*copied, ("CSeq", "1 OPTIONS"), ("Max-Forwards", "30")])
    scene.sip(Role.IUT, Role.CORE, start, [*copied, ("CSeq", "2 OPTIONS")])
    asked(scene)
    assert found(scene, "SIP-3261-8.1.1.6-01") == [PASS, FAIL]


def passed_on(scene: Scene, before: str, after: str | None, method: str = "MESSAGE", below: str = "z9hG4bKbob") -> None:
    """A request that the PF proxies to the user."""
    own_via = [
        ("From", "<sip:bob>;tag=1"), ("To", f"<{ALICE.uri}>"), ("Call-ID", "through"), ("CSeq", f"1 {method}"),
    ]  # fmt: skip
    hops = [("Max-Forwards", before)] if before else []
    left = [("Max-Forwards", after)] if after else []
    start = f"{method} {ALICE.uri} SIP/2.0"
    scene.sip(Role.CORE, Role.IUT, start, [("Via", f"{VIA}{below}"), *own_via, *hops])
    vias = [("Via", f"{VIA}z9hG4bKpf"), ("Via", f"{VIA}z9hG4bKbob")]
    scene.sip(Role.IUT, Role.CORE, start, [*vias, *own_via, *left])


@pytest.mark.parametrize(
    ("before", "after", "first", "second"),
    [
        ("70", "69", [PASS], [PASS]),
        ("70", "70", [PASS], [FAIL]),
        ("70", None, [PASS], [FAIL]),
        ("0", "0", [FAIL], []),
        ("", "70", [], []),
    ],
)
def test_hops_of_a_proxied_request(before: str, after: str | None, first: list[Verdict], second: list[Verdict]) -> None:
    scene = Scene()
    passed_on(scene, before, after)
    assert (found(scene, "SIP-3261-16.3-01"), found(scene, "SIP-3261-16.6-01")) == (first, second)


@pytest.mark.parametrize(("method", "below"), [("ACK", "z9hG4bKbob"), ("MESSAGE", "z9hG4bKother")])
def test_what_was_not_seen_to_come_is_not_counted(method: str, below: str) -> None:
    scene = Scene()
    passed_on(scene, "0", "0", method, below)
    assert found(scene, "SIP-3261-16.3-01") == []


@pytest.mark.parametrize(
    ("uri", "hops", "status", "expected"),
    [(PSI, "0", 483, [FAIL]), (PSI, "0", 480, [PASS]), (PSI, "70", 483, []), (ALICE.uri, "0", 483, [])],
)
def test_hops_do_not_bind_the_end(uri: str, hops: str, status: int, expected: list[Verdict]) -> None:
    scene = Scene()
    copied = [("Via", f"{VIA}z9hG4bK1"), ("From", "<sip:bob>;tag=1"), ("To", f"<{uri}>"), ("Call-ID", "c")]
    copied.append(("CSeq", "1 MESSAGE"))
    scene.sip(Role.CORE, Role.IUT, f"MESSAGE {uri} SIP/2.0", [*copied, ("Max-Forwards", hops)])
    scene.response(Role.IUT, Role.CORE, 100, copied)
    scene.response(Role.IUT, Role.CORE, status, copied)
    assert found(scene, "SIP-3261-16.3-02") == expected


def test_hops_do_not_bind_the_end_of_a_dialog() -> None:
    scene = Scene()
    session = scene.session()
    copied = [
        ("Via", f"{VIA}z9hG4bK1"), ("From", f"<{ALICE.uri}>;tag=cl"), ("To", f"<{PSI}>;tag=pf"),
        ("Call-ID", session.call_id), ("CSeq", "2 OPTIONS"),
    ]  # fmt: skip
    scene.sip(Role.CORE, Role.IUT, "OPTIONS sip:pf SIP/2.0", [*copied, ("Max-Forwards", "0")])
    scene.response(Role.IUT, Role.CORE, 483, copied)
    assert found(scene, "SIP-3261-16.3-02") == [FAIL]


# --- whose words they are --------------------------------------------------------------------------------------------


def test_what_the_pf_composed_and_what_it_passed_on() -> None:
    scene = Scene()
    own_message(scene)
    scene.frames.append(scene.frames[-1])  # again
    asked(scene)
    passed_on(scene, "70", "69")
    vias = [("Via", f"{VIA}z9hG4bKpf"), ("Via", f"{VIA}z9hG4bKbob")]
    rest = [("From", "<sip:bob>;tag=1"), ("To", f"<{ALICE.uri}>"), ("Call-ID", "through"), ("CSeq", "1 MESSAGE")]
    scene.response(Role.IUT, Role.CORE, 100, [vias[1], *rest])
    scene.response(Role.CORE, Role.IUT, 200, [*vias, *rest], to_tag="client")
    scene.response(Role.IUT, Role.CORE, 200, [vias[1], *rest], to_tag="client")
    facts = Facts(scene.trace())
    assert [seen.message.start.split()[0:2] for seen in own_messages(facts)] == [
        [b"MESSAGE", ALICE.uri.encode()], [b"SIP/2.0", b"202"], [b"SIP/2.0", b"100"],
    ]  # fmt: skip
    assert [seen.message.start.split()[0:2] for seen in forwarded_messages(facts)] == [
        [b"MESSAGE", ALICE.uri.encode()], [b"SIP/2.0", b"200"],
    ]  # fmt: skip
    assert all(own(seen, facts) for seen in own_messages(facts))
    assert origins(facts) is origins(facts)
    assert origins(facts).of(forwarded_messages(facts)[0]) is Origin.FORWARDED
    assert len(origins(facts).copies(own_messages(facts)[0])) == 2


def test_a_hop_by_hop_ack_of_a_proxy_is_not_its_own() -> None:
    scene = Scene()
    passed_on(scene, "70", "69", "INVITE")
    headers = [
        ("Via", f"{VIA}z9hG4bKpf"),
        ("From", "<sip:bob>;tag=1"),
        ("To", f"<{ALICE.uri}>;tag=x"),
        ("Call-ID", "through"),
    ]
    scene.sip(Role.IUT, Role.CORE, f"ACK {ALICE.uri} SIP/2.0", [*headers, ("CSeq", "1 ACK")])
    assert own_messages(Facts(scene.trace())) == ()


def excuses(answer: Pairs, where: Callable[[bytes], int], found_text: str = "?") -> bool:
    scene = Scene()
    copied = scene.request(
        Role.CORE, Role.IUT, "MESSAGE", ALICE.uri, "sip:bob", f"<{ALICE.uri}>", "odd call", [("Subject", "odd")]
    )
    scene.response(Role.IUT, Role.CORE, 202, [one for one in copied if one[0] != "CSeq" or answer != ()], answer)
    facts = Facts(scene.trace())
    seen = facts.sip[-1]
    return excused(seen, Violation("SIP-X-1-01", where(seen.message.octets()), found_text, "right"), facts)


@pytest.mark.parametrize(
    ("mark", "expected"),
    [
        (b"Call-ID", True),
        (b"To:", True),  # given, but for the tag
        (b"Subject: odd", True),
        (b"Warning", False),
        (b"SIP/2.0 202", False),
        (b"\r\n\r\n", True),  # the end of the last header, Content-Length: the request said 0 too
    ],
)
def test_what_was_given_is_no_fault(mark: bytes, expected: bool) -> None:
    answer = [("Subject", "odd"), ("Warning", "399 pf strange")]
    assert excuses(answer, lambda octets: octets.index(mark)) is expected


def test_a_body_is_the_iuts_own() -> None:
    scene = Scene()
    own_message(scene, body=b"odd")
    facts = Facts(scene.trace())
    seen = facts.sip[0]
    assert not excused(seen, Violation("SIP-X-1-01", len(seen.message.octets()) - 1, "?", "right"), facts)
    assert not excused(seen, Violation("SIP-X-1-01", 0, "?", "right"), facts)  # nobody had named the user before


def test_a_request_uri_that_was_given_is_no_fault() -> None:
    scene = Scene()
    asked(scene)
    own_message(scene)
    facts = Facts(scene.trace())
    assert excused(facts.sip[-1], Violation("SIP-X-1-01", 8, "?", "right"), facts)


@pytest.mark.parametrize(("name", "expected"), [("max-forwards", True), ("call-id", False)])
def test_a_response_lacks_what_its_request_lacked(name: str, expected: bool) -> None:
    scene = Scene()
    copied = [
        ("Via", f"{VIA}z9hG4bK1"),
        ("From", "<sip:a>;tag=1"),
        ("To", "<sip:b>"),
        ("Call-ID", "c"),
        ("CSeq", "1 MESSAGE"),
    ]
    scene.sip(Role.CORE, Role.IUT, "MESSAGE sip:b SIP/2.0", copied)
    scene.sip(Role.IUT, Role.CORE, "SIP/2.0 202 X", [copied[0], ("Server", "pf"), *copied[1:]])
    facts = Facts(scene.trace())
    at = facts.sip[-1].message.octets().index(b"Server")
    assert excused(facts.sip[-1], Violation("SIP-3261-8.1.1-01", at, f"no {name}", "one"), facts) is expected


def test_a_response_to_nothing_is_the_iuts_own() -> None:
    scene = Scene()
    scene.sip(Role.IUT, Role.CORE, "SIP/2.0 202 X", [("Server", "pf")])
    facts = Facts(scene.trace())
    assert not excused(facts.sip[0], Violation("SIP-3261-8.1.1-01", 15, "no call-id", "one"), facts)


def test_values_in_lists_and_addresses_are_given_too() -> None:
    scene = Scene()
    asked(scene, extra=[("Record-Route", "<sip:a;lr>, <sip:b;lr>")])
    scene.response(Role.CORE, Role.IUT, 200, own_message(scene), [("Server", "core")])
    own_message(scene)
    facts = Facts(scene.trace())
    last = facts.sip[-1]
    for text in ("core", "<sip:b;lr>", "sip:b;lr", f"<{ALICE.uri}>;tag=mine", "<sip:a;lr>, <sip:b;lr>"):
        assert given(facts, last, text)
    assert not given(facts, last, "<sip:c;lr>")
    assert not given(facts, facts.sip[0], "<sip:b;lr>")  # not before it was said


def test_what_was_kept_or_broken_many_times_is_told_in_a_few_words() -> None:
    scene = Scene()
    for _ in range(3):
        own_message(scene, to=f"sip:{scene.next()}@example.com")
    kept = [one for one in scene.judge().findings if one.requirement == "SIP-3428-4-01"]
    assert [one.reason for one in kept] == ["no Contact; kept 3 times"]
    for _ in range(5):
        own_message(scene, [("Contact", "<sip:pf>")], to=f"sip:{scene.next()}@example.com")
    told = [one for one in scene.judge().findings if one.requirement == "SIP-3428-4-01"]
    assert [one.verdict for one in told] == [FAIL] * 3
    assert told[-1].reason.endswith("; 2 more")
