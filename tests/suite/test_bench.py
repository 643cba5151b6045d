"""The bench: how cases end, what runs side by side, and what the closing does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cpmspec.evidence.context import ServedUser
from cpmspec.evidence.pcapng import read
from cpmspec.evidence.trace import Address, Frame, Pco, Role, Trace
from cpmspec.judge.verdict import Blame, Finding, Judgement, Verdict
from cpmspec.net.clock import now_us
from cpmspec.suite.bench import Bench, BenchSetup, Entry
from cpmspec.suite.case import HARNESS, Inconclusive
from cpmspec.suite.control import frame_to_json
from cpmspec.suite.spec import CaseSpec
from cpmspec.suite.users import NotApplicable

MakeBench = Callable[..., Bench]


def spec(name: str = "TP_CPM_PF_DLV_V_001", *, waits: bool = False) -> CaseSpec:
    return CaseSpec(name, "title", "purpose", ("DLV-3.1",), "module", waits)


def run(bench: Bench, body: Callable[..., Any], name: str = "TP_CPM_PF_DLV_V_001") -> Entry:
    bench.begin(spec(name), body, {})
    return bench.result(name)


def data(octets: bytes = b"SIP/2.0 200 OK\r\n\r\n") -> Frame:
    here = Address("127.0.0.1", 5060)
    return Frame(0, now_us(), Pco.ISC, Role.IUT, Role.CORE, "udp", here, here, 0, octets=octets)


def by_context(trace: Trace) -> Judgement:
    """A judge like the real one where a case was aborted, and that takes the word FAIL in a frame for a failure."""
    context = trace.context
    final = context.closed_us is not None
    if any(b"FAIL" in frame.octets for frame in trace.frames):
        finding = Finding("DLV-3.1", Verdict.FAIL, "it says so")
        return Judgement(context.case, Verdict.FAIL, "it says so", None, final, (finding,))
    if context.aborted is not None:
        blame = None if context.blame == "harness" else Blame(context.blame or "preamble")
        return Judgement(context.case, Verdict.INCONC, context.aborted, blame, final)
    return Judgement(context.case, Verdict.PASS, "fine", None, final, (Finding("DLV-3.1", Verdict.PASS, "fine"),))


def verdict(entry: Entry) -> Verdict:
    assert entry.run.judgement is not None
    return entry.run.judgement.verdict


def test_a_case_runs_and_its_evidence_is_there(make_bench: MakeBench, tmp_path: Path) -> None:
    async def body(lab: Any) -> None:
        await lab.user()
        lab.run.record(data())

    entry = run(make_bench(), body)
    assert verdict(entry) is Verdict.PASS
    stored = read(tmp_path / "cases" / "TP_CPM_PF_DLV_V_001")
    assert stored.frames == entry.run.trace().frames
    assert stored.context.users[0].uri == "sip:on-rmain-1@example.com"


def test_frames_of_the_lab_go_to_their_case(make_bench: MakeBench, fake_lab: Any) -> None:
    async def body(lab: Any) -> None:
        await lab.user()
        fake_lab.push("frame", case="TP_CPM_PF_DLV_V_001", frame=frame_to_json(data(b"FAIL")))
        await lab.bench.lab_call("sync")

    assert verdict(run(make_bench(by_context), body)) is Verdict.FAIL


def test_inconclusive_with_its_blame(make_bench: MakeBench) -> None:
    async def body(lab: Any) -> None:
        raise Inconclusive("preamble", "nothing was deferred")

    entry = run(make_bench(by_context), body)
    assert verdict(entry) is Verdict.INCONC
    assert (entry.run.aborted, entry.run.blame) == ("nothing was deferred", "preamble")


def test_what_was_found_before_the_abort_stays(make_bench: MakeBench) -> None:
    async def body(lab: Any) -> None:
        lab.run.record(data(b"FAIL"))
        raise Inconclusive("iut", "silence")

    assert verdict(run(make_bench(by_context), body)) is Verdict.FAIL


def test_a_peer_that_refuses_is_the_iuts_doing(make_bench: MakeBench) -> None:
    async def body(lab: Any) -> None:
        raise ConnectionRefusedError("nobody listens")

    entry = run(make_bench(by_context), body)
    assert (verdict(entry), entry.run.blame) == (Verdict.INCONC, "iut")


def test_our_own_mistake_is_an_error_with_its_traceback(make_bench: MakeBench) -> None:
    async def body(lab: Any) -> None:
        raise LookupError("no such thing")

    entry = run(make_bench(), body)
    assert verdict(entry) is Verdict.ERROR
    assert "in body" in (entry.run.crash or "")
    line = entry.run.line("provisional", "main")
    assert line["error"].endswith("LookupError: no such thing\n")
    assert line["judgement"]["requirements"][HARNESS] == "error"


def test_a_judge_that_fails_is_an_error_too(make_bench: MakeBench) -> None:
    def judge(trace: Trace) -> Judgement:
        raise ArithmeticError("cannot count")

    async def body(lab: Any) -> None:
        pass

    entry = run(make_bench(judge), body)
    assert verdict(entry) is Verdict.ERROR
    assert "cannot count" in (entry.run.crash or "")


def test_not_applicable_is_not_judged(make_bench: MakeBench) -> None:
    async def body(lab: Any) -> None:
        raise NotApplicable("no such user")

    bench = make_bench()
    entry = run(bench, body)
    assert (entry.not_applicable, entry.run.judgement) == ("no such user", None)
    assert bench.close() == []


def test_cases_that_wait_run_side_by_side(make_bench: MakeBench) -> None:
    bench = make_bench()
    met = asyncio.Barrier(3)

    async def body(lab: Any) -> None:
        await asyncio.wait_for(met.wait(), 10)

    names = [f"TP_CPM_PF_DLV_V_00{number}" for number in range(3)]
    for name in names:
        bench.begin(spec(name, waits=True), body, {})
    assert [verdict(bench.result(name)) for name in names] == [Verdict.PASS] * 3


def test_the_end_of_the_iut_ends_every_wait(make_bench: MakeBench, fake_lab: Any) -> None:
    bench = make_bench(by_context)

    async def body(lab: Any) -> None:
        fake_lab.push("iut-gone", time_us=now_us(), reason="the IUT was ended by signal 9 in mid-run")
        await asyncio.Event().wait()

    entry = run(bench, body)
    assert (verdict(entry), entry.run.blame) == (Verdict.INCONC, "iut")
    assert entry.run.iut_gone_us is not None

    async def later(lab: Any) -> None:
        raise AssertionError("never run")

    assert run(bench, later, "TP_CPM_PF_DLV_V_002").run.aborted == "the IUT was ended by signal 9 in mid-run"


def test_what_had_passed_before_the_iut_ended_stays_passed(make_bench: MakeBench, fake_lab: Any) -> None:
    bench = make_bench(by_context)

    async def before(lab: Any) -> None:
        await lab.user()
        lab.run.record(data())

    async def during(lab: Any) -> None:
        fake_lab.push("iut-gone", time_us=now_us(), reason="gone")
        await asyncio.Event().wait()

    run(bench, before)
    run(bench, during, "TP_CPM_PF_DLV_V_002")
    first, second = bench.close()
    assert first.judgement is not None
    assert second.judgement is not None
    assert (first.judgement.verdict, second.judgement.verdict) == (Verdict.PASS, Verdict.INCONC)
    assert first.iut_gone_us is not None
    assert first.line("final", "main")["iut_gone"]


@pytest.mark.parametrize(("earlier_us", "blame"), [(0, "iut"), (6_000_000, "preamble")])
def test_a_preamble_that_the_iut_refused_while_it_ended_is_its_doing(
    make_bench: MakeBench, fake_lab: Any, earlier_us: int, blame: str
) -> None:
    bench = make_bench(by_context)

    async def refused(lab: Any) -> None:
        lab.run.record(data())
        raise Inconclusive("preamble", "a pager message was not deferred: 503")

    async def during(lab: Any) -> None:
        fake_lab.push("iut-gone", time_us=now_us(), reason="gone")
        await asyncio.Event().wait()

    entry = run(bench, refused)
    assert entry.run.blame == "preamble"
    entry.run.ended_us -= earlier_us
    run(bench, during, "TP_CPM_PF_DLV_V_002")
    first, _ = bench.close()
    assert first.blame == blame
    assert (first.aborted or "").endswith("; the IUT was gone soon after") == (blame == "iut")


def test_a_case_that_heard_nothing_asks_whether_the_iut_lives(make_bench: MakeBench, fake_lab: Any) -> None:
    fake_lab.answers["ping"] = {"alive": False}
    bench = make_bench(by_context)

    async def body(lab: Any) -> None:
        raise Inconclusive("iut", "no answer")

    entry = run(bench, body)
    assert fake_lab.ops("ping")
    assert fake_lab.ops("iut-gone")
    assert entry.run.blame == "iut"


def test_the_end_of_the_lab_is_the_environments_doing(make_bench: MakeBench, fake_lab: Any) -> None:
    bench = make_bench(by_context)

    async def body(lab: Any) -> None:
        await lab.bench._control.close()
        lab.bench._on_lost()
        await asyncio.Event().wait()

    entry = run(bench, body)
    assert (verdict(entry), entry.run.blame) == (Verdict.INCONC, "environment")


def test_a_bench_that_comes_late_learns_that_the_run_was_stopped(make_bench: MakeBench, fake_lab: Any) -> None:
    fake_lab.answers["state"] = {"gone": None, "stopped": "the outside core ended"}
    bench = make_bench(by_context)

    async def body(lab: Any) -> None:
        raise AssertionError("nothing is to be begun")

    entry = run(bench, body)
    assert (verdict(entry), entry.run.blame, entry.run.aborted) == (
        Verdict.INCONC, "environment", "the outside core ended",
    )  # fmt: skip


# --- the closing -----------------------------------------------------------------------------------------------------


def test_the_closing_visits_each_user_and_judges_again(make_bench: MakeBench, case_lab: Any, fake_lab: Any) -> None:
    bench = make_bench()

    async def body(lab: Any) -> None:
        await lab.user()
        await lab.user()

    run(bench, body)
    (closed,) = bench.close()
    assert sorted(case_lab.visited) == ["sip:on-rmain-1@example.com", "sip:on-rmain-2@example.com"]
    assert closed.closed_us is not None
    assert closed.judgement is not None
    assert closed.judgement.final
    assert [request["case"] for request in fake_lab.ops("disown")] == ["TP_CPM_PF_DLV_V_001"]


def test_the_closing_can_make_a_verdict_worse(make_bench: MakeBench, case_lab: Any, monkeypatch: Any) -> None:
    async def redelivered(lab: Any, user: ServedUser) -> None:
        lab.run.record(data(b"FAIL: delivered again"))

    monkeypatch.setattr(case_lab, "on_visit", redelivered)
    bench = make_bench(by_context)

    async def body(lab: Any) -> None:
        await lab.user()

    assert verdict(run(bench, body)) is Verdict.PASS
    (closed,) = bench.close()
    assert closed.judgement is not None
    assert closed.judgement.verdict is Verdict.FAIL


def test_the_closing_never_makes_a_verdict_better(make_bench: MakeBench) -> None:
    def judge(trace: Trace) -> Judgement:
        final = trace.context.closed_us is not None
        found = Verdict.PASS if final else Verdict.FAIL
        finding = Finding("DLV-3.1", found, f"{found} now")
        return Judgement(trace.context.case, found, f"{found} now", None, final, (finding,))

    bench = make_bench(judge)

    async def body(lab: Any) -> None:
        pass

    run(bench, body)
    (closed,) = bench.close()
    assert closed.judgement is not None
    assert (closed.judgement.verdict, closed.judgement.reason) == (Verdict.FAIL, "fail now")
    assert closed.judgement.of("DLV-3.1") is Verdict.FAIL


def test_a_closing_that_hears_nothing_asks_whether_the_iut_lives(make_bench: MakeBench, fake_lab: Any) -> None:
    bench = make_bench(by_context)

    async def body(lab: Any) -> None:
        await lab.user()
        lab.run.record(data())

    assert verdict(run(bench, body)) is Verdict.PASS
    assert not fake_lab.ops("ping")
    fake_lab.answers["ping"] = {"alive": False}
    (closed,) = bench.close()
    assert fake_lab.ops("ping")
    assert closed.line("final", "main")["iut_gone"]


def test_the_closing_waits_for_open_windows(make_bench: MakeBench) -> None:
    opened: list[int] = []

    def pending(trace: Trace) -> int:
        opened.append(trace.context.closed_us is None)
        return end

    bench = make_bench(pending=pending)

    async def body(lab: Any) -> None:
        await lab.user()

    run(bench, body)
    end = now_us() + 200_000
    (closed,) = bench.close()
    assert closed.closed_us is not None
    assert closed.closed_us >= end
    assert opened


def test_before_the_closing_what_has_not_come_decides_nothing(make_bench: MakeBench) -> None:
    def judge(trace: Trace) -> Judgement:
        final = trace.context.closed_us is not None
        return Judgement(trace.context.case, Verdict.INCONC, "did not come about", Blame.PREAMBLE, final)

    bench = make_bench(judge)

    async def body(lab: Any) -> None:
        pass

    assert verdict(run(bench, body)) is Verdict.NONE
    (closed,) = bench.close()
    assert closed.judgement is not None
    assert (closed.judgement.verdict, closed.judgement.reason) == (Verdict.INCONC, "did not come about")


def test_an_interrupted_run_ends_at_once_and_stays_provisional(make_bench: MakeBench, case_lab: Any) -> None:
    bench = make_bench(by_context)

    async def body(lab: Any) -> None:
        await lab.user()
        await asyncio.Event().wait()

    bench.begin(spec(), body, {})
    (ended,) = bench.close(quick=True)
    assert ended.closed_us is None
    assert (ended.blame, ended.aborted) == ("environment", "the run was interrupted")
    assert case_lab.visited == []


def test_a_pool_user_is_closed_with_his_case_before_the_next_one_has_him(
    make_bench: MakeBench, case_lab: Any, fake_lab: Any
) -> None:
    bench = make_bench()

    async def body(lab: Any) -> None:
        await lab.user(history=False)

    first = run(bench, body, "TP_CPM_PF_DLV_V_001")
    second = run(bench, body, "TP_CPM_PF_DLV_V_002")
    assert first.run.closed_us is None
    third = run(bench, body, "TP_CPM_PF_DLV_V_003")
    assert first.run.closed_us is not None
    assert third.run.users == first.run.users
    assert second.run.users != first.run.users
    assert case_lab.visited == [
        "sip:a@example.com",
        "sip:b@example.com",
        "sip:a@example.com",
    ]  # two drained, one closed
    assert [request["case"] for request in fake_lab.ops("disown")] == ["TP_CPM_PF_DLV_V_001"]
    assert len(bench.close()) == 3


def test_more_pool_users_than_there_are(make_bench: MakeBench) -> None:
    async def body(lab: Any) -> None:
        for _ in range(3):
            await lab.user(history=False)

    entry = run(make_bench(), body)
    assert entry.not_applicable is not None
    assert "this worker has 2" in entry.not_applicable


def test_the_setup_survives_the_way_to_a_worker() -> None:
    setup = BenchSetup(
        control=("127.0.0.1", 1), token="t", host="127.0.0.1", access={"udp": ("127.0.0.1", 2)},
        endpoints=("udp",), hosts=("::1",),
        out="/o", run="r", seed=1, attached=False, worker="gw1", index=1, count=2,
    )  # fmt: skip
    assert BenchSetup.from_json(setup.to_json()) == setup


@pytest.mark.parametrize("number", [1, 2])
def test_content_differs_by_message_not_by_run(make_bench: MakeBench, number: int) -> None:
    bench = make_bench()
    assert bench.nonce("case", number) == bench.nonce("case", number)
    assert bench.nonce("case", number) != bench.nonce("case", number + 1)
