"""Whether somebody speaks SIP at an address: an OPTIONS, answered with anything at all (RFC 3261 11)."""

from __future__ import annotations

import asyncio
import secrets
import ssl

from cpmspec.net.sip import Hop, SipEndpoint, SipError, host_port
from cpmspec.wire.sip import build_request


async def answers_options(
    hop: Hop, *, domain: str, host: str, t1: float = 0.5, within: float = 5.0, client_ssl: ssl.SSLContext | None = None
) -> bool:
    """Ask ``hop`` from an own socket at ``host``; whether any response came ``within`` so many seconds."""
    endpoint = SipEndpoint(client_ssl=client_ssl, t1=t1)
    place, me = host_port(hop.host, hop.port), f"<sip:ping@{domain}>;tag={secrets.token_hex(6)}"
    try:
        if hop.transport == "udp":
            await endpoint.listen("udp", "::" if hop.ipv6 else host, 0)
        ask = build_request(
            "OPTIONS", f"sip:{place};transport={hop.transport}",
            [("Max-Forwards", "70"), ("From", me), ("To", f"<sip:{place}>"),
             ("Call-ID", secrets.token_hex(12)), ("CSeq", "1 OPTIONS")],
        )  # fmt: skip
        await asyncio.wait_for(endpoint.request(ask, hop), within)
    except (TimeoutError, SipError, OSError):
        return False
    else:
        return True
    finally:
        await endpoint.close()
