"""The lab of a case in front of an outside core: which leg a user's traffic takes, and whether the core registers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from cpmspec.evidence.context import ServedUser
from cpmspec.net.sip import IncomingRequest, SipEndpoint
from cpmspec.suite.bench import Bench
from cpmspec.suite.case import CaseRun, Inconclusive
from cpmspec.suite.lab import Lab
from cpmspec.suite.spec import CaseSpec
from cpmspec.suite.users import NotApplicable
from cpmspec.sut.profile import OutsideCore

MakeBench = Callable[..., Bench]
SPEC = CaseSpec("TP_CPM_PF_DLV_V_001", "title", "purpose", ("DLV-3.1",), "module", waits=False)


class Registrar:
    """An access address of a core: answers 200 and counts."""

    def __init__(self, status: int | None = 200) -> None:
        self.status = status
        self.endpoint = SipEndpoint()
        self.endpoint.on_request = self._take
        self.address = ("", 0)
        self.asked: list[str] = []

    async def _take(self, incoming: IncomingRequest) -> None:
        self.asked.append(incoming.request.method)
        if self.status is not None:
            await incoming.reply(self.status)


@asynccontextmanager
async def core(bench: Bench, status: int | None = 200) -> AsyncIterator[dict[str, Registrar]]:
    """An outside core with an access for two legs."""
    legs = {"udp": Registrar(status), "tls6": Registrar(status)}
    outside = OutsideCore(access={"udp": "127.0.0.1:9"}, isc={"udp": "127.0.0.1:9"})
    bench.profile = bench.profile.model_copy(
        update={"core": bench.profile.core.model_copy(update={"outside": outside})}
    )
    for registrar in legs.values():
        registrar.address = await registrar.endpoint.listen("udp", "127.0.0.1", 0)
    access = {leg: registrar.address for leg, registrar in legs.items()}
    bench.setup = replace(bench.setup, access=access, endpoints=("udp", "tcp", "tls6"))
    bench.access = access
    yield legs
    for registrar in legs.values():
        await registrar.endpoint.close()


def test_a_leg_needs_the_iut_and_the_core(make_bench: MakeBench) -> None:
    bench = make_bench()

    async def check() -> None:
        async with core(bench):
            bench.require_endpoint("tls", 6)
            assert bench.default_transport == "udp"
            with pytest.raises(NotApplicable, match="the IUT does not listen on tls, it has udp, tcp, tls6"):
                bench.require_endpoint("tls", 4)
            with pytest.raises(NotApplicable, match="the outside core has no access for the leg tcp, it has udp, tls6"):
                bench.require_endpoint("tcp", 4)

    bench.wait(check())


def test_a_users_traffic_takes_the_access_of_its_leg(make_bench: MakeBench, fake_lab: Any) -> None:
    bench = make_bench()

    async def check() -> None:
        async with core(bench) as legs:
            lab = Lab(bench, CaseRun(SPEC, bench.profile, ("127.0.0.1",)))
            user = await lab.user(transport="tls", family=6)
            await lab.register(user)
            await lab.defer("pager", user=user)
            await lab.deregister(user)
            assert legs["tls6"].asked == ["REGISTER", "MESSAGE", "REGISTER"]
            assert legs["udp"].asked == []
            await lab.close()

    bench.wait(check())
    assert [asked["gone"] for asked in fake_lab.ops("third-party")] == [False, True]


def test_a_core_without_third_party_registration_is_to_blame(make_bench: MakeBench, fake_lab: Any) -> None:
    fake_lab.answers["third-party"] = {"status": None}
    bench = make_bench()

    async def check() -> tuple[str, str, ServedUser]:
        async with core(bench):
            lab = Lab(bench, CaseRun(SPEC, bench.profile, ("127.0.0.1",)))
            user = await lab.user()
            try:
                await lab.register(user)
            except Inconclusive as error:
                return error.blame, error.reason, user
            finally:
                await lab.close()
            raise AssertionError("expected the case to end")

    blame, reason, user = bench.wait(check())
    assert (blame, reason) == ("environment", f"the core sent no third-party REGISTER for {user.uri}")


@pytest.mark.parametrize(("status", "blame"), [(None, "environment"), (503, "preamble")])
def test_a_core_that_answers_nothing_ends_the_run(
    make_bench: MakeBench, fake_lab: Any, status: int | None, blame: str
) -> None:
    """And one that answers with an error has answered: then it is not the core that is silent."""
    bench = make_bench()

    async def check() -> str:
        async with core(bench, status):
            lab = Lab(bench, CaseRun(SPEC, bench.profile, ("127.0.0.1",)))
            user = await lab.user()
            try:
                await lab.defer("pager", user=user)
            except Inconclusive as error:
                return error.blame
            finally:
                await lab.close()
            raise AssertionError("expected the case to end")

    assert bench.wait(check()) == blame
    assert len(fake_lab.ops("stop")) == (blame == "environment")
