"""From a trace to its judgement: every check on every trace, then the verdict of the case (ISO/IEC 9646)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from cpmspec.evidence.trace import Trace
from cpmspec.judge.catalogue import Catalogue, Requirement, RequirementClass
from cpmspec.judge.checks import (
    bye,
    completeness,
    content,
    fragments,
    grammar,
    history,
    identity_rules,
    imdn_rules,
    imdn_wrapping,
    msrp_answers,
    msrp_binding,
    msrp_reactions,
    msrp_rules,
    outcome,
    sdp_rules,
    security_rules,
    session,
    sip_dialog_rules,
    sip_message_rules,
    sip_session_rules,
    sip_transaction_rules,
    store_rules,
)
from cpmspec.judge.facts import Facts
from cpmspec.judge.verdict import Blame, Finding, Grade, Judgement, Verdict

CHECKS = (
    *session.CHECKS,
    *completeness.CHECKS,
    *content.CHECKS,
    *fragments.CHECKS,
    *bye.CHECKS,
    *outcome.CHECKS,
    *history.CHECKS,
    *msrp_rules.CHECKS,
    *msrp_answers.CHECKS,
    *msrp_binding.CHECKS,
    *msrp_reactions.CHECKS,
    *sdp_rules.CHECKS,
    *sip_message_rules.CHECKS,
    *sip_session_rules.CHECKS,
    *sip_dialog_rules.CHECKS,
    *sip_transaction_rules.CHECKS,
    *identity_rules.CHECKS,
    *imdn_rules.CHECKS,
    *imdn_wrapping.CHECKS,
    *store_rules.CHECKS,
    *security_rules.CHECKS,
)


def judge(trace: Trace, catalogue: Catalogue) -> Judgement:
    """Judge a trace against every applicable requirement of the catalogue.

    The case's verdict is the worst of its purposes; a purpose whose antecedent did not occur makes it inconclusive, and
    so does a case that did not reach its end. Pure: the same trace gives the same judgement.
    """
    facts = Facts(trace)
    context = trace.context
    applicable = {requirement.id: requirement for requirement in catalogue.applicable(context.pics)}
    over_all = (finding for check in CHECKS for finding in check(facts))
    findings = tuple(
        _classed(finding, applicable[finding.requirement], context.binds)
        for finding in (*over_all, *grammar.judged(facts, applicable.values()))
        if finding.requirement in applicable
    )
    found = Judgement(context.case, Verdict.NONE, "", None, facts.closed, findings)
    verdict, reason, blame = _of_case(found, trace, [purpose for purpose in context.purposes if purpose in applicable])
    return replace(found, verdict=verdict, reason=reason, blame=blame)


def _classed(finding: Finding, requirement: Requirement, binds: Iterable[str]) -> Finding:
    """Give a finding the weight of its requirement's class: an interpretation fails only where it binds."""
    if finding.verdict is not Verdict.FAIL or requirement.id in binds:
        return finding
    if requirement.level == "MAY":  # never judged: a limit of ours, or a freedom
        return replace(finding, verdict=Verdict.PASS, grade=Grade.INFORMATIONAL)
    if requirement.cls is RequirementClass.INTERPRETATION:
        return replace(finding, verdict=Verdict.INCONC, blame=Blame.INTERPRETATION)
    if requirement.cls is RequirementClass.REFERENCED and requirement.level == "SHOULD":
        return replace(finding, verdict=Verdict.PASS, grade=Grade.NON_STRICT)
    return finding


def _of_case(found: Judgement, trace: Trace, purposes: list[str]) -> tuple[Verdict, str, Blame | None]:
    context = trace.context
    if context.blame == "harness":
        return Verdict.ERROR, context.aborted or "the harness failed", None
    worst = max(
        (finding for finding in found.findings if finding.requirement in purposes),
        key=lambda finding: finding.verdict.rank,
        default=None,
    )
    if worst is not None and worst.verdict is Verdict.FAIL:
        return Verdict.FAIL, f"{worst.requirement}: {worst.reason}", None
    if context.aborted is not None:
        return Verdict.INCONC, context.aborted, Blame(context.blame) if context.blame else Blame.PREAMBLE
    if worst is not None and worst.verdict is Verdict.INCONC:
        return Verdict.INCONC, f"{worst.requirement}: {worst.reason}", worst.blame
    absent = [purpose for purpose in purposes if found.of(purpose) is Verdict.NONE]
    if absent or not purposes:
        if context.iut_gone_us is not None:
            return Verdict.INCONC, "the IUT vanished before it came to it", Blame.IUT
        return Verdict.INCONC, f"{', '.join(absent) or 'no purpose'} did not come about in this trace", Blame.PREAMBLE
    return Verdict.PASS, "every purpose was met", None
