"""8.3.2.4.3 over every transport: SIP over UDP, TCP and TLS, MSRP over TCP and TLS, IPv4 and IPv6."""

from __future__ import annotations

import pytest

from cpmspec.suite.lab import Lab, Offer
from cpmspec.suite.purpose import flows, purpose

LEGS = pytest.mark.parametrize(
    ("transport", "family", "tls"),
    [
        pytest.param("tcp", 4, False, id="tcp"),
        pytest.param("tls", 4, True, id="tls-msrps"),
        pytest.param("udp", 6, False, id="udp6"),
        pytest.param("tls", 6, True, id="tls6-msrps"),
    ],
)


@purpose("TP_CPM_PF_DLV_V_061", "DLV-1.1", "DLV-2a.2", "DLV-3.1", "DLV-3.3")
@LEGS
@flows
async def test_delivery(lab: Lab, mode: str, establishment: str, transport: str, family: int, tls: bool) -> None:
    """
    with { two messages deferred for a user whose core reaches the PF over the given transport and IP version }
    ensure that {
      when { they are delivered over MSRP, with TLS where it is asked for }
      then { both arrive unchanged, and the PF's BYE follows the route set } }
    """
    await lab.user(establishment=establishment, transport=transport, family=family)
    await lab.defer(mode, 2)
    await lab.deliver(offer=Offer(tls=tls, family=family))


@purpose("TP_CPM_PF_DLV_V_062", "DLV-1.1", "DLV-3.1")
@pytest.mark.parametrize("setup", ["active", "actpass"])
@flows
async def test_either_side_connects(lab: Lab, mode: str, establishment: str, setup: str) -> None:
    """
    with { two messages deferred for the user }
    ensure that {
      when { the client's SDP lets itself, or either side, set up the MSRP connection }
      then { both messages are sent } }
    """
    await lab.user(establishment=establishment)
    await lab.defer(mode, 2)
    await lab.deliver(offer=Offer(setup=setup))
