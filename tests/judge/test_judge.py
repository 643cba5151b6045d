"""From findings to the verdict of a case: classes, bindings, purposes, blame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from cpmspec.evidence.trace import Trace
from cpmspec.judge.catalogue import Catalogue, RequirementClass
from cpmspec.judge.judge import judge
from cpmspec.judge.verdict import Blame, Finding, Grade, Judgement, Verdict
from scene import ALICE, Scene, Session, catalogue, delivered

QUIET = replace(ALICE, history=False)


def legal() -> Scene:
    """A delivery without a fault."""
    scene = Scene(QUIET)
    sent = scene.defer()
    scene.wait(5)
    delivered(scene, [sent], recorded=False)
    return scene


def opened() -> tuple[Scene, Session]:
    scene = Scene(QUIET)
    messages = [scene.defer(), scene.defer()]
    scene.wait(5)
    scene.register()
    session = scene.session()
    for sent in messages:
        session.send(session.wrap(sent))
    return scene, session


def impatient() -> Scene:
    """A BYE while an answer is still out: breaks DLV-3.2b, an interpretation."""
    scene = Scene(QUIET)
    sent = scene.defer()
    scene.wait(5)
    session = scene.session()
    octets = session.wrap(sent).render()
    tid = session.chunk("multipart/mixed;boundary=b0und", "idy0", octets, 1, len(octets), "$", None)
    session.bye()
    session.reply(tid)
    scene.purposes = ("DLV-3.2b",)
    return scene


def reclassed(requirement: str, cls: RequirementClass, level: str) -> Catalogue:
    found = catalogue()
    one = replace(found.requirements[requirement], cls=cls, level=level)
    return replace(found, requirements={**found.requirements, requirement: one})


def findings(judgement: Judgement, requirement: str) -> Sequence[Finding]:
    return [one for one in judgement.findings if one.requirement == requirement]


def changed(scene: Scene, **context: object) -> Judgement:
    trace = scene.trace()
    return judge(Trace(replace(trace.context, **context), trace.frames), catalogue())  # type: ignore[arg-type]


def test_an_interpretation_fails_only_where_it_binds() -> None:
    scene = impatient()
    judgement = scene.judge()
    assert (judgement.verdict, judgement.of("DLV-3.2b")) == (Verdict.FAIL, Verdict.FAIL)
    scene.binds = ("DLV-5.4",)
    judgement = scene.judge()
    assert (judgement.verdict, judgement.blame) == (Verdict.INCONC, Blame.INTERPRETATION)
    assert judgement.reason.startswith("DLV-3.2b: ")


def test_a_should_of_an_rfc_is_a_remark_unless_it_binds() -> None:
    _, session = opened()
    session.bye(routes=[])
    scene = session.scene
    must, should = (reclassed("DLV-3.3", RequirementClass.REFERENCED, level) for level in ("MUST", "SHOULD"))
    assert judge(scene.trace(), must).of("DLV-3.3") is Verdict.FAIL
    found = findings(judge(scene.trace(), should), "DLV-3.3")
    assert {(one.verdict, one.grade) for one in found} == {(Verdict.PASS, Grade.NON_STRICT)}
    scene.binds = ("DLV-3.3",)
    assert judge(scene.trace(), should).of("DLV-3.3") is Verdict.FAIL


def test_a_should_of_the_clause_itself_is_no_remark() -> None:
    _, session = opened()
    session.bye(routes=[])
    normative = reclassed("DLV-3.3", RequirementClass.NORMATIVE, "SHOULD")
    assert judge(session.scene.trace(), normative).of("DLV-3.3") is Verdict.FAIL


@pytest.mark.parametrize(
    ("purposes", "verdict", "blame"),
    [
        (("DLV-1.1",), Verdict.PASS, None),
        (("DLV-1.1", "DLV-3.1", "DLV-3.3"), Verdict.PASS, None),
        (("DLV-4.1",), Verdict.INCONC, Blame.PREAMBLE),
        (("DLV-1.1", "DLV-4.1"), Verdict.INCONC, Blame.PREAMBLE),
        ((), Verdict.INCONC, Blame.PREAMBLE),
        (("DLV-99.9",), Verdict.INCONC, Blame.PREAMBLE),
    ],
)
def test_purposes_that_came_about_or_not(purposes: tuple[str, ...], verdict: Verdict, blame: Blame | None) -> None:
    scene = legal()
    scene.purposes = purposes
    judgement = scene.judge()
    assert (judgement.verdict, judgement.blame, judgement.final) == (verdict, blame, True)


def test_the_worst_purpose_decides() -> None:
    scene = impatient()
    scene.binds = ()
    scene.purposes = ("DLV-1.1", "DLV-3.2b", "DLV-3.1")
    assert scene.judge().verdict is Verdict.INCONC
    scene.purposes = ("DLV-4.1", "DLV-3.2b", "DLV-1.1")
    assert scene.judge().blame is Blame.INTERPRETATION
    scene = Scene(QUIET)
    scene.defer()
    scene.wait(5)
    scene.session().bye()
    scene.purposes = ("DLV-0.1", "DLV-1.1")
    assert (scene.judge().verdict, scene.judge().blame) == (Verdict.FAIL, None)


def test_what_breaks_outside_the_purposes_is_found_and_leaves_the_case_alone() -> None:
    _, session = opened()
    session.bye(routes=[])
    judgement = session.scene.judge()
    assert (judgement.verdict, judgement.of("DLV-3.3")) == (Verdict.PASS, Verdict.FAIL)


def test_the_harness_own_failure_is_an_error_whatever_else() -> None:
    scene = legal()
    judgement = changed(scene, blame="harness", aborted="a mistake")
    assert (judgement.verdict, judgement.reason) == (Verdict.ERROR, "a mistake")
    assert changed(scene, blame="harness").verdict is Verdict.ERROR
    scene = impatient()
    assert changed(scene, blame="harness").verdict is Verdict.ERROR


@pytest.mark.parametrize("blame", ["environment", "preamble", "iut", None])
def test_a_case_that_was_broken_off(blame: str | None) -> None:
    judgement = changed(legal(), blame=blame, aborted="it stopped")
    expected = Blame(blame) if blame else Blame.PREAMBLE
    assert (judgement.verdict, judgement.reason, judgement.blame) == (Verdict.INCONC, "it stopped", expected)


def test_a_fault_stays_one_in_a_case_that_was_broken_off() -> None:
    judgement = changed(impatient(), blame="environment", aborted="it stopped")
    assert judgement.verdict is Verdict.FAIL


def test_an_iut_that_vanished_before_it_came_to_it() -> None:
    scene = legal()
    scene.purposes, scene.iut_gone_us = ("DLV-4.1",), scene.us
    assert (scene.judge().verdict, scene.judge().blame) == (Verdict.INCONC, Blame.IUT)


def test_requirements_that_do_not_apply_are_not_judged() -> None:
    scene = Scene()
    sent = scene.defer()
    scene.wait(5)
    delivered(scene, [sent], recorded=False)
    assert scene.judge().of("DLV-5.1") is Verdict.FAIL
    judgement = changed(scene, pics={"history": False}, purposes=("DLV-5.1",))
    assert (judgement.of("DLV-5.1"), judgement.verdict) == (Verdict.NONE, Verdict.INCONC)


def test_before_the_closing_the_verdict_is_provisional_and_may_get_worse() -> None:
    scene, _ = opened()
    scene.purposes, scene.closed = ("DLV-3.1",), False
    assert (scene.judge().verdict, scene.judge().final) == (Verdict.PASS, False)
    scene.closed = True
    assert (scene.judge().verdict, scene.judge().final) == (Verdict.FAIL, True)


def test_the_same_trace_gives_the_same_judgement() -> None:
    scene = impatient()
    assert scene.judge() == scene.judge()
    told = scene.judge().to_json()
    assert told["requirements"]["DLV-3.2b"] == "fail"
    assert told["verdict"] == "fail"


def test_rules_that_were_simply_kept_are_told_in_a_word() -> None:
    judgement = impatient().judge()
    told = judgement.to_json()
    kept = {one.requirement for one in judgement.findings if one.plain}
    assert any(name.startswith("SIP-") for name in kept)
    assert kept.isdisjoint(one["requirement"] for one in told["findings"])
    assert {told["requirements"][name] for name in kept} == {"pass"}
    assert [one.to_json() for one in judgement.findings if not one.plain] == told["findings"]
    plain = Finding("SIP-1-1-01", Verdict.PASS, "kept")
    assert plain.to_json() == {"requirement": "SIP-1-1-01", "verdict": "pass", "reason": "kept"}
    for other in ({"requirement": "DLV-1.1"}, {"verdict": Verdict.FAIL}, {"grade": Grade.NON_STRICT}, {"actual": "x"}):
        assert plain.plain
        assert not replace(plain, **other).plain


def test_verdicts_are_ordered() -> None:
    order = (Verdict.NONE, Verdict.PASS, Verdict.INCONC, Verdict.FAIL, Verdict.ERROR)
    assert [one.rank for one in order] == [0, 1, 2, 3, 4]
    assert Verdict.worst([]) is Verdict.NONE
    assert Verdict.worst(reversed(order)) is Verdict.ERROR
