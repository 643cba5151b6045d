"""8.3.2.4.3, first paragraphs: the session in which deferred messages travel, and the time that goes with them."""

from __future__ import annotations

import asyncio

from cpmspec.actors.behaviour import Chunk
from cpmspec.suite.lab import Behaviour, Lab, Offer
from cpmspec.suite.purpose import flows, modes, purpose


@purpose("TP_CPM_PF_DLV_V_001", "DLV-0.1", pics="pull", waits=True)
@modes
async def test_nothing_before_the_2xx_of_a_retrieval(lab: Lab, mode: str) -> None:
    """
    with { a message deferred for the user }
    ensure that {
      when { the client retrieves, and answers no SEND before it has the 2xx to its INVITE or a quiet period is over }
      then { the PF sends the message only once its 2xx has crossed the core } }
    """
    await lab.user(establishment="pull")
    await lab.defer(mode)

    async def after_the_2xx(chunk: Chunk) -> int:
        await lab.wait(chunk.session.established, lab.ixit.quiet_period + 1)
        return 200

    await lab.deliver(offer=Offer(setup="actpass"), behaviour=Behaviour(answer=after_the_2xx))


@purpose("TP_CPM_PF_DLV_V_002", "DLV-0.1", pics="push", waits=True)
@modes
async def test_nothing_before_the_2xx_of_a_push(lab: Lab, mode: str) -> None:
    """
    with { a message deferred for the user }
    ensure that {
      when { the client answers the PF's INVITE with 183 and its SDP, and with 200 a second later }
      then { the PF sends the message only after the 200 has crossed the core } }
    """
    await lab.user(establishment="push")
    await lab.defer(mode)
    release = asyncio.Event()
    behaviour = Behaviour(early_answer=True, release=release)
    asyncio.get_running_loop().call_later(1.0 + lab.ixit.sip_t1, release.set)
    await lab.deliver(behaviour=behaviour)


@purpose("TP_CPM_PF_DLV_V_003", "DLV-0.2")
@flows
async def test_no_mark_of_a_cpm_session(lab: Lab, mode: str, establishment: str) -> None:
    """
    with { a message deferred for the user }
    ensure that {
      when { it is delivered }
      then { no request or response of the PF in that dialog carries the service identifier of CPM sessions } }
    """
    await lab.user(establishment=establishment)
    await lab.defer(mode)
    await lab.deliver()


@purpose("TP_CPM_PF_DLV_V_004", "DLV-0.3", "DLV-2.2", "DLV-2a.2")
@flows
async def test_chunks_are_put_together(lab: Lab, mode: str, establishment: str) -> None:
    """
    with { a message deferred for the user that is as long as its mode allows without effort }
    ensure that {
      when { it is delivered, in one SEND or in chunks }
      then { what the chunks make together is a well-formed multipart with the content unchanged } }
    """
    await lab.user(establishment=establishment)
    length = 300 if mode == "pager" else 20_000
    await lab.defer(mode, content=bytes(33 + place % 90 for place in range(length)), content_type="text/plain")
    await lab.deliver()


@purpose("TP_CPM_PF_DLV_V_005", "DLV-0.4", waits=True)
@flows
async def test_time_of_receipt_not_of_delivery(lab: Lab, mode: str, establishment: str) -> None:
    """
    with { a message deferred for the user, longer ago than the resolution and the tolerance of a time }
    ensure that {
      when { it is delivered }
      then { it carries the time at which the PF received it } }
    """
    await lab.user(establishment=establishment)
    await lab.defer(mode)
    await lab.pause(1 + 2 * lab.ixit.clock_tolerance + 0.5)
    await lab.deliver()
