"""8.3.2.4.3 step 3: the BYE after all deferred messages were sent."""

from __future__ import annotations

from cpmspec.actors.behaviour import Chunk
from cpmspec.suite.lab import Behaviour, Lab
from cpmspec.suite.purpose import flows, purpose


@purpose("TP_CPM_PF_DLV_V_031", "DLV-3.1", "DLV-3.4")
@flows
async def test_bye_after_delivery(lab: Lab, mode: str, establishment: str) -> None:
    """
    with { two messages deferred for the user }
    ensure that {
      when { both have been delivered }
      then { the PF sends BYE, once and in time } }
    """
    await lab.user(establishment=establishment)
    await lab.defer(mode, 2)
    await lab.deliver()


@purpose("TP_CPM_PF_DLV_V_032", "DLV-3.2", waits=True)
@flows
async def test_no_bye_before_all_is_sent(lab: Lab, mode: str, establishment: str) -> None:
    """
    with { three messages deferred for the user }
    ensure that {
      when { the client answers every SEND, and holds back its answer to a BYE until all that was under way has landed }
      then { nothing is sent in the session after that answer } }
    """
    await lab.user(establishment=establishment)
    await lab.defer(mode, 3)
    await lab.deliver(behaviour=Behaviour(hold_bye=lab.ixit.quiet_period + 0.5))


@purpose("TP_CPM_PF_DLV_V_033", "DLV-3.2", "DLV-3.2b", waits=True)
@flows
async def test_no_bye_before_the_outcome(lab: Lab, mode: str, establishment: str) -> None:
    """
    with { two messages deferred for the user }
    ensure that {
      when { the client withholds its answer to the first SEND for as long as a BYE might take }
      then { no BYE comes before every message is sent and every outcome known } }
    """

    async def withhold_the_first(chunk: Chunk) -> int:
        if (chunk.message_index, chunk.chunk_index) == (0, 0):
            patience = min(lab.ixit.bye_within, lab.ixit.msrp_response_timer * 0.6)
            await lab.wait(chunk.session.bye_received, patience)
        return 200

    await lab.user(establishment=establishment)
    await lab.defer(mode, 2)
    await lab.deliver(behaviour=Behaviour(answer=withhold_the_first, hold_bye=lab.ixit.quiet_period + 0.5))


@purpose("TP_CPM_PF_DLV_V_034", "DLV-3.3")
@flows
async def test_bye_by_the_route_set(lab: Lab, mode: str, establishment: str) -> None:
    """
    with { a message deferred for the user, and a core that records its route }
    ensure that {
      when { the PF disconnects the session }
      then { its BYE goes to the core by the route set, and is valid in the dialog } }
    """
    await lab.user(establishment=establishment)
    await lab.defer(mode)
    await lab.deliver()


@purpose("TP_CPM_PF_DLV_O_035", "DLV-3.1", "DLV-3.4")
@flows
async def test_bye_after_a_failure(lab: Lab, mode: str, establishment: str) -> None:
    """
    with { two messages deferred for the user }
    ensure that {
      when { the client answers the last of them 413 }
      then { the PF sends BYE all the same, once and in time } }
    """

    async def refuse_the_last(chunk: Chunk) -> int:
        return 413 if chunk.message_index == 1 else 200

    await lab.user(establishment=establishment)
    await lab.defer(mode, 2)
    await lab.deliver(behaviour=Behaviour(answer=refuse_the_last))
