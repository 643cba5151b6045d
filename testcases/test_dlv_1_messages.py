"""8.3.2.4.3 step 1: one MSRP SEND request for each deferred message."""

from __future__ import annotations

from cpmspec.actors.behaviour import Chunk
from cpmspec.suite.lab import Behaviour, Lab
from cpmspec.suite.purpose import establishments, flows, purpose


@purpose("TP_CPM_PF_DLV_V_011", "DLV-1.1", "DLV-1.2")
@flows
async def test_every_message_once(lab: Lab, mode: str, establishment: str) -> None:
    """
    with { three messages deferred for the user }
    ensure that {
      when { they are delivered }
      then { each of them is sent, as one MSRP message of its own } }
    """
    await lab.user(establishment=establishment)
    await lab.defer(mode, 3)
    await lab.deliver()


@purpose("TP_CPM_PF_DLV_V_012", "DLV-1.1", "DLV-1.2", pics=("pager_mode", "large_message_mode"))
@establishments
async def test_both_modes_in_one_queue(lab: Lab, establishment: str) -> None:
    """
    with { a pager-mode, a large-mode and another pager-mode message deferred for the user, from two senders }
    ensure that {
      when { they are delivered }
      then { each of them is sent, as one MSRP message of its own } }
    """
    await lab.user(establishment=establishment)
    other = await lab.sender()
    await lab.defer("pager")
    await lab.defer("large", sender=other)
    await lab.defer("pager", sender=other)
    await lab.deliver()


@purpose("TP_CPM_PF_DLV_V_013", "DLV-1.3")
@flows
async def test_only_the_served_users_messages(lab: Lab, mode: str, establishment: str) -> None:
    """
    with { two messages deferred for each of two users, by turns and from one sender }
    ensure that {
      when { first the one, then the other has his delivered }
      then { each client receives only what was sent to its user } }
    """
    first = await lab.user(establishment=establishment)
    second = await lab.user(establishment=establishment)
    for user in (first, second, first, second):
        await lab.defer(mode, user=user)
    await lab.deliver(user=first)
    await lab.deliver(user=second)


@purpose("TP_CPM_PF_DLV_O_014", "DLV-1.1", "DLV-4.1")
@flows
async def test_one_too_large_stops_only_itself(lab: Lab, mode: str, establishment: str) -> None:
    """
    with { three messages deferred for the user }
    ensure that {
      when { the client answers the first of them 413 }
      then { the others are sent all the same, and the first one by a later session } }
    """

    async def refuse_the_first(chunk: Chunk) -> int:
        return 413 if chunk.message_index == 0 else 200

    await lab.user(establishment=establishment)
    await lab.defer(mode, 3)
    await lab.deliver(behaviour=Behaviour(answer=refuse_the_first))
    await lab.deliver()
