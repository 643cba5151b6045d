"""8.3.2.4.3 step 4: what was not delivered stays deferred and is notified again; what was delivered is not."""

from __future__ import annotations

import pytest

from cpmspec.actors.behaviour import Chunk
from cpmspec.suite.lab import Behaviour, Lab
from cpmspec.suite.purpose import flows, modes, purpose


@purpose("TP_CPM_PF_DLV_O_041", "DLV-4.1")
@pytest.mark.parametrize("status", [400, 403, 413, 415, 481, 506])
@flows
async def test_refused_stays_deferred(lab: Lab, mode: str, establishment: str, status: int) -> None:
    """
    with { two messages deferred for the user }
    ensure that {
      when { the client refuses the first one }
      then { a later session delivers it } }
    """

    async def refuse_the_first(chunk: Chunk) -> int:
        return status if chunk.message_index == 0 else 200

    await lab.user(establishment=establishment)
    await lab.defer(mode, 2)
    await lab.deliver(behaviour=Behaviour(answer=refuse_the_first))
    await lab.deliver()


@purpose("TP_CPM_PF_DLV_O_042", "DLV-4.1", waits=True)
@flows
async def test_unanswered_stays_deferred(lab: Lab, mode: str, establishment: str) -> None:
    """
    with { two messages deferred for the user }
    ensure that {
      when { the client never answers the SEND of the last one, and the PF's response timer runs out }
      then { a later session delivers it } }
    """

    async def ignore_the_last(chunk: Chunk) -> int | None:
        return None if chunk.message_index == 1 else 200

    await lab.user(establishment=establishment)
    await lab.defer(mode, 2)
    await lab.deliver(behaviour=Behaviour(answer=ignore_the_last))
    await lab.deliver()


@purpose("TP_CPM_PF_DLV_O_043", "DLV-4.1")
@flows
async def test_connection_lost(lab: Lab, mode: str, establishment: str) -> None:
    """
    with { three messages deferred for the user }
    ensure that {
      when { the client resets the MSRP connection when the second one arrives, before it answers }
      then { a later session delivers what had no answer } }
    """

    async def break_at_the_second(chunk: Chunk) -> int | None:
        if chunk.message_index == 1:
            chunk.session.reset()
            return None
        return 200 if chunk.message_index == 0 else None

    await lab.user(establishment=establishment)
    await lab.defer(mode, 3)
    await lab.deliver(behaviour=Behaviour(answer=break_at_the_second))
    await lab.deliver()


@purpose("TP_CPM_PF_DLV_O_044", "DLV-4.1")
@flows
async def test_client_ends_the_session(lab: Lab, mode: str, establishment: str) -> None:
    """
    with { three messages deferred for the user }
    ensure that {
      when { the client sends BYE when the second one arrives, and answers it no more }
      then { a later session delivers what had no answer } }
    """

    async def leave_at_the_second(chunk: Chunk) -> int | None:
        if chunk.message_index == 1:
            await chunk.session.bye()
            return None
        return 200 if chunk.message_index == 0 else None

    await lab.user(establishment=establishment)
    await lab.defer(mode, 3)
    await lab.deliver(behaviour=Behaviour(answer=leave_at_the_second))
    await lab.deliver()


@purpose("TP_CPM_PF_DLV_O_045", "DLV-4.2", pics="pull")
@modes
async def test_the_failed_one_is_notified_again(lab: Lab, mode: str) -> None:
    """
    with { three messages deferred for the user }
    ensure that {
      when { the client refuses the second one, leaves and registers again }
      then { the next notification covers it } }
    """

    async def refuse_the_second(chunk: Chunk) -> int:
        return 413 if chunk.message_index == 1 else 200

    await lab.user(establishment="pull")
    await lab.defer(mode, 3)
    await lab.deliver(behaviour=Behaviour(answer=refuse_the_second))
    await lab.deliver()


@purpose("TP_CPM_PF_DLV_O_046", "DLV-4.2", pics="pull")
@modes
async def test_all_that_wait_are_notified(lab: Lab, mode: str) -> None:
    """
    with { two messages deferred for the user, of which the client has refused one, and a third one deferred since }
    ensure that {
      when { the user registers again }
      then { the next notification covers both that wait } }
    """

    async def refuse_the_first(chunk: Chunk) -> int:
        return 413 if chunk.message_index == 0 else 200

    await lab.user(establishment="pull")
    await lab.defer(mode, 2)
    await lab.deliver(behaviour=Behaviour(answer=refuse_the_first))
    await lab.defer(mode)
    await lab.deliver()


@purpose("TP_CPM_PF_DLV_V_047", "DLV-4.3")
@flows
async def test_delivered_is_not_delivered_again(lab: Lab, mode: str, establishment: str) -> None:
    """
    with { two messages delivered to the user, and a third one deferred since }
    ensure that {
      when { the user registers again and has it delivered }
      then { neither a notification nor a session brings the first two again } }
    """
    await lab.user(establishment=establishment)
    await lab.defer(mode, 2)
    await lab.deliver()
    await lab.defer(mode)
    await lab.deliver()


@purpose("TP_CPM_PF_DLV_O_048", "DLV-4.1", "DLV-4.3", pics="large_message_mode")
@pytest.mark.parametrize("establishment", ["pull", "push"])
async def test_broken_between_two_chunks(lab: Lab, establishment: str) -> None:
    """
    with { a message in many chunks deferred for the user }
    ensure that {
      when { the client resets the connection after some of them }
      then { a later session delivers the whole message, and none after that }
    }
    """

    async def break_at_the_third(chunk: Chunk) -> int | None:
        if chunk.chunk_index == 2 or chunk.complete:
            chunk.session.reset()
        return None if chunk.chunk_index >= 2 or chunk.complete else 200

    await lab.user(establishment=establishment)
    await lab.defer("large", content=bytes(33 + place % 90 for place in range(60_000)), content_type="text/plain")
    await lab.deliver(behaviour=Behaviour(answer=break_at_the_third))
    await lab.deliver()
