"""Rules about asserted identities, services and capabilities (RFC 3325, RFC 6050, RFC 3841)."""

from __future__ import annotations

from collections.abc import Iterator

from cpmspec.judge.anatomy import Anatomy
from cpmspec.judge.checks.common import Check, broken, met
from cpmspec.judge.checks.places import summed
from cpmspec.judge.deferred import Deferred
from cpmspec.judge.facts import Facts
from cpmspec.judge.octets import SipSeen
from cpmspec.judge.sip_origin import given, origins
from cpmspec.judge.verdict import Finding
from cpmspec.wire.params import parse_params, split_outside_quotes, unquoted
from cpmspec.wire.uri import SipUri, TelUri

#: the service of deferred delivery, as a feature tag names it: percent-encoded, since a colon cannot stand there
DEFERRED_SERVICE = "urn%3aurn-7%3a3gpp-service.ims.icsi.oma.cpm.deferred"
#: the feature tag of an IMS communication service (TS 24.229 7.9.2)
ICSI_TAG = "+g.3gpp.icsi-ref"


def asserted_identities(facts: Facts) -> Iterator[Finding]:
    """SIP-3325-9.1-02: P-Asserted-Identity has one value, or two of which one is SIP or SIPS and the other tel."""
    rule = "SIP-3325-9.1-02"
    for seen in origins(facts).own:
        value = seen.message.headers.get("P-Asserted-Identity")
        if value is None or given(facts, seen, value):
            continue
        uris = [address.uri for address in seen.message.p_asserted_identity]
        sip, tel = (sum(isinstance(uri, kind) for uri in uris) for kind in (SipUri, TelUri))
        if sip + tel == len(uris) and sip <= 1 and tel <= 1 and uris:
            yield met(rule, "one identity, or one of each kind", seen.frame.number)
        else:
            expected, actual = "a SIP or SIPS URI, a tel URI, or one of each", f"{[str(uri) for uri in uris]}"
            yield broken(rule, "asserts identities as it must not", seen.frame.number, expected=expected, actual=actual)


def push_names_the_service(facts: Facts) -> Iterator[Finding]:
    """EST-3841-7.2-01: the PF's INVITE asks for a client of deferred delivery, by Accept-Contact (interpretation)."""
    rule = "EST-3841-7.2-01"
    for session in facts.sessions:
        if session.kind != "push":
            continue
        values = session.invite.message.headers.values("Accept-Contact")
        tags = [text for value in values for text in _services(value)]
        if DEFERRED_SERVICE in tags:
            yield met(rule, "Accept-Contact names deferred delivery", session.invite.frame.number)
        else:
            reason = "the PF's INVITE does not ask for a client of deferred delivery"
            expected, actual = f'{ICSI_TAG}="{DEFERRED_SERVICE}"', "; ".join(values) or "no Accept-Contact"
            yield broken(rule, reason, session.invite.frame.number, expected=expected, actual=actual)


def _services(value: str) -> Iterator[str]:
    """The communication services that a value of Accept-Contact names, in lower case."""
    for name, text in parse_params(value.partition(";")[2]):
        if name.lower() == ICSI_TAG:
            for item in unquoted(text or "").split(","):
                yield item.strip().strip("<>").lower()


def preferences_marked_once(facts: Facts) -> Iterator[Finding]:
    """SIP-3841-10-01: a value of Accept-Contact has require and explicit once at most."""
    rule = "SIP-3841-10-01"
    for seen in origins(facts).own:
        for value in seen.message.headers.values("Accept-Contact"):
            if given(facts, seen, value):
                continue
            names = [text.partition("=")[0].strip().lower() for text in split_outside_quotes(value, ";")]
            if any(names.count(name) > 1 for name in ("require", "explicit")):
                reason = "a value of Accept-Contact says require or explicit twice"
                yield broken(rule, reason, seen.frame.number, expected="each at most once", actual=value)
            else:
                yield met(rule, "require and explicit at most once", seen.frame.number)


def preferences_removed(facts: Facts) -> Iterator[Finding]:
    """SIP-3325-6-01, SIP-6050-5.1.2-01: what a user claims of himself is not passed on (interpretation).

    P-Preferred-Identity, and P-Preferred-Service beside P-Asserted-Service: the core ought to have taken them away, but
    a PF that gets them from it need not trust in that.
    """
    for seen in origins(facts).forwarded:
        headers = seen.message.headers
        claims = [("SIP-3325-6-01", "P-Preferred-Identity")]
        if headers.get("P-Asserted-Service") is not None:
            claims.append(("SIP-6050-5.1.2-01", "P-Preferred-Service"))
        for rule, name in claims:
            value = headers.get(name)
            if value is not None:
                reason = "what a user claims of himself was passed on"
                yield broken(rule, reason, seen.frame.number, expected=f"no {name}", actual=value)
            elif any(other.message.headers.get(name) is not None for other in _received(facts, seen.message.call_id)):
                yield met(rule, f"{name} was taken away", seen.frame.number)


def _received(facts: Facts, call_id: str | None) -> Iterator[SipSeen]:
    return (seen for seen in origins(facts).of_call(call_id or "") if not seen.from_iut)


def _delivered(facts: Facts) -> Iterator[tuple[Anatomy, Deferred]]:
    for anatomy in facts.whole:
        if anatomy.one is not None:
            yield anatomy, anatomy.one


def private_identity_kept_back(facts: Facts) -> Iterator[Finding]:
    """SIP-3325-7-01: an identity that its owner keeps private is not told to the client (interpretation)."""
    rule = "SIP-3325-7-01"
    for anatomy, one in _delivered(facts):
        privacy = ";".join(one.request.headers.values("Privacy")).lower()
        asserted = {str(address.uri) for address in one.request.p_asserted_identity}
        if "id" not in {value.strip() for value in privacy.split(";")} or not asserted:
            continue
        told = [value for section in anatomy.headers_of("sip") for value in section.get_all("P-Asserted-Identity")]
        if told:
            reason = f"the asserted identity of {one.name} is private, and was told"
            expected = "no P-Asserted-Identity"
            yield broken(rule, reason, anatomy.attempt.frame, expected=expected, actual=", ".join(told))
        else:
            yield met(rule, "the private identity was kept back", anatomy.attempt.frame)


def asserted_service_kept_back(facts: Facts) -> Iterator[Finding]:
    """SIP-6050-5.1.2-02: P-Asserted-Service does not leave the trust domain (interpretation)."""
    rule = "SIP-6050-5.1.2-02"
    for anatomy, one in _delivered(facts):
        if one.request.headers.get("P-Asserted-Service") is None:
            continue
        told = [value for section in anatomy.headers_of("sip") for value in section.get_all("P-Asserted-Service")]
        if told:
            reason = f"the asserted service of {one.name} was told to the client"
            expected = "no P-Asserted-Service"
            yield broken(rule, reason, anatomy.attempt.frame, expected=expected, actual=", ".join(told))
        else:
            yield met(rule, "the asserted service was kept back", anatomy.attempt.frame)


RULES: tuple[Check, ...] = (
    asserted_identities,
    push_names_the_service,
    preferences_marked_once,
    preferences_removed,
    private_identity_kept_back,
    asserted_service_kept_back,
)

CHECKS: tuple[Check, ...] = tuple(summed(rule) for rule in RULES)
