"""8.3.2.4.3 last paragraph, and 8.6: recording what was delivered in the user's history."""

from __future__ import annotations

from cpmspec.actors.behaviour import Chunk
from cpmspec.suite.lab import Behaviour, Lab
from cpmspec.suite.purpose import flows, purpose


@purpose("TP_CPM_PF_DLV_V_051", "DLV-5.1", "DLV-5.4", pics="history")
@flows
async def test_recorded_with_the_setting_on(lab: Lab, mode: str, establishment: str) -> None:
    """
    with { two messages deferred for a user whose history setting is on }
    ensure that {
      when { they have been delivered }
      then { each is recorded once in the user's account, with its content and identifiers } }
    """
    await lab.user(establishment=establishment, history=True)
    await lab.defer(mode, 2)
    await lab.deliver()


@purpose("TP_CPM_PF_DLV_V_052", "DLV-5.2", pics="history")
@flows
async def test_not_recorded_with_the_setting_off(lab: Lab, mode: str, establishment: str) -> None:
    """
    with { two messages deferred for a user whose history setting is off }
    ensure that {
      when { they have been delivered }
      then { nothing is recorded } }
    """
    await lab.user(establishment=establishment, history=False)
    await lab.defer(mode, 2)
    await lab.deliver()


@purpose("TP_CPM_PF_DLV_V_053", "DLV-5.3", pics="history", waits=True)
@flows
async def test_recorded_after_delivery(lab: Lab, mode: str, establishment: str) -> None:
    """
    with { a message deferred for a user whose history setting is on }
    ensure that {
      when { the client withholds its answer for a second }
      then { the message is not recorded before that answer } }
    """

    async def late(chunk: Chunk) -> int:
        if chunk.complete:
            await lab.wait(chunk.session.bye_received, min(1.0, lab.ixit.msrp_response_timer / 2))
        return 200

    await lab.user(establishment=establishment, history=True)
    await lab.defer(mode)
    await lab.deliver(behaviour=Behaviour(answer=late))


@purpose("TP_CPM_PF_DLV_O_054", "DLV-5.3", pics="history")
@flows
async def test_the_failed_one_is_not_recorded(lab: Lab, mode: str, establishment: str) -> None:
    """
    with { two messages deferred for a user whose history setting is on }
    ensure that {
      when { the client refuses the first one, and takes it in a later session }
      then { it is recorded only after that } }
    """

    async def refuse_the_first(chunk: Chunk) -> int:
        return 413 if chunk.message_index == 0 else 200

    await lab.user(establishment=establishment, history=True)
    await lab.defer(mode, 2)
    await lab.deliver(behaviour=Behaviour(answer=refuse_the_first))
    await lab.deliver()


@purpose("TP_CPM_PF_DLV_O_055", "DLV-4.3", pics="history")
@flows
async def test_a_failing_store_repeats_nothing(lab: Lab, mode: str, establishment: str) -> None:
    """
    with { a message deferred for a user whose history setting is on, and a message store that refuses to append }
    ensure that {
      when { the message has been delivered, and the user registers again }
      then { it is neither notified nor delivered again } }
    """
    user = await lab.user(establishment=establishment, history=True)
    await lab.store.fault(user, "fail")
    await lab.defer(mode)
    await lab.deliver()
    await lab.store.fault(user, None)
    await lab.register()
    await lab.deregister()
