"""Rewriting by the proxy."""

from __future__ import annotations

from cpmspec.actors.policy import Policy
from cpmspec.actors.routing import Change, Interface, Side, branch_for, follow, identity_of, pop_own, rewrite
from cpmspec.evidence.trace import Address
from cpmspec.wire.headers import Headers
from cpmspec.wire.sip import SipRequest, build_request, parse_message, response_to

ISC = Interface(Side.ISC, "udp", Address("127.0.0.1", 5060))
ISC6 = Interface(Side.ISC, "tls6", Address("::1", 5061))
ACCESS = Interface(Side.ACCESS, "udp", Address("127.0.0.1", 5070))


def request(method: str = "INVITE", *headers: tuple[str, str]) -> SipRequest:
    return build_request(
        method, "sip:bob@home.test",
        [("Via", "SIP/2.0/UDP 127.0.0.1:9;branch=z9hG4bKabc"), ("Max-Forwards", "70"), ("From", "<sip:a@b>;tag=1"),
         ("To", "<sip:bob@home.test>"), ("Call-ID", "c"), ("CSeq", f"1 {method}"), *headers],
    )  # fmt: skip


def test_interfaces_as_uris() -> None:
    assert ISC.uri() == "sip:127.0.0.1:5060;transport=udp;lr"
    assert ISC6.uri("t1") == "sip:[::1]:5061;transport=tls;lr;odi=t1"
    assert ISC6.via("z9hG4bKx") == "SIP/2.0/TLS [::1]:5061;branch=z9hG4bKx"


def test_own_entries_are_popped_as_far_as_they_go() -> None:
    routes = [("Route", f"<{ACCESS.uri()}>, <{ISC6.uri('tok')}>"), ("Route", "<sip:pf@127.0.0.1:6000;lr>"),
              ("Route", f"<{ISC.uri()}>")]  # fmt: skip
    popped = pop_own(request("BYE", *routes), [ISC, ISC6, ACCESS])
    assert popped.own == (ACCESS, ISC6)
    assert popped.token == "tok"
    assert popped.rest == ("<sip:pf@127.0.0.1:6000;lr>", f"<{ISC.uri()}>")
    assert pop_own(request("BYE", ("Route", "<tel:+1>")), [ISC]).own == ()
    assert pop_own(request("BYE", ("Route", "<sip:127.0.0.1;lr>")), [ISC]).own == (ISC,)


def test_branches_follow_the_transaction() -> None:
    invite = request()
    assert branch_for(invite) == branch_for(request("ACK")) == branch_for(request("CANCEL"))
    other = invite.with_headers(invite.headers.replaced("Via", "SIP/2.0/UDP 127.0.0.1:9;branch=z9hG4bKdef"))
    assert branch_for(other) != branch_for(invite)
    old = invite.with_headers(invite.headers.replaced("Via", "SIP/2.0/UDP 127.0.0.1:9;branch=1"))
    assert branch_for(old).startswith("z9hG4bK")
    assert branch_for(old) != branch_for(invite)


def test_rewriting_keeps_the_rest_octet_for_octet() -> None:
    octets = (
        b"INVITE sip:bob@home.test SIP/2.0\r\nv: SIP/2.0/UDP 127.0.0.1:9;branch=z9hG4bKabc\r\nf: <sip:a@b>;tag=1\r\n"
        b"X-Odd:   \x01 \xff\r\n folded\r\nTo: <sip:bob@home.test>\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\n\r\nbody"
    )
    came = parse_message(octets)
    assert isinstance(came, SipRequest)
    change = Change("sip:bob@127.0.0.1:9", ("<sip:pf;lr>",), ("X-Gone",), (("P-Asserted-Identity", "<sip:a@b>"),))
    sent = rewrite(came, change, branch="z9hG4bKnew", ingress=ACCESS, egress=ISC)
    assert sent.octets() == (
        b"INVITE sip:bob@127.0.0.1:9 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:5060;branch=z9hG4bKnew\r\n"
        b"v: SIP/2.0/UDP 127.0.0.1:9;branch=z9hG4bKabc\r\nRoute: <sip:pf;lr>\r\nMax-Forwards: 70\r\n"
        b"P-Asserted-Identity: <sip:a@b>\r\nRecord-Route: <sip:127.0.0.1:5060;transport=udp;lr>\r\n"
        b"Record-Route: <sip:127.0.0.1:5070;transport=udp;lr>\r\nf: <sip:a@b>;tag=1\r\n"
        b"X-Odd:   \x01 \xff\r\n folded\r\nTo: <sip:bob@home.test>\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\n"
        b"Content-Length: 4\r\n\r\nbody"
    )
    ack = follow(request("ACK", ("Route", "<sip:x;lr>")), sent, ISC.via("z9hG4bKnew"))
    assert ack.uri == sent.uri
    assert ack.headers.get_all("Route") == ("<sip:pf;lr>",)
    assert ack.via[0].branch == "z9hG4bKnew"


def test_identity() -> None:
    assert identity_of(request()) == "sip:a@b"
    nobody = request().with_headers(Headers(()))
    assert identity_of(nobody) is None


def test_policy_rules() -> None:
    policy = Policy(
        drop=("to-iut INVITE 2xx", "to-client MESSAGE"), delay=(("to-iut BYE", 0.5), ("to-iut INVITE 180", 1))
    )
    invite = request()
    assert policy.drops(response_to(invite, 202), to_iut=True)
    assert not policy.drops(response_to(invite, 202), to_iut=False)
    assert not policy.drops(response_to(invite, 300), to_iut=True)
    assert not policy.drops(invite, to_iut=True)
    assert policy.drops(request("MESSAGE"), to_iut=False)
    assert policy.delay_of(request("BYE"), to_iut=True) == 0.5
    assert policy.delay_of(response_to(invite, 180), to_iut=True) == 1
    assert policy.delay_of(invite, to_iut=True) == 0
    assert Policy.from_json(policy.to_json()) == policy
    assert Policy(transport="tls", family=6).key == "tls6"
