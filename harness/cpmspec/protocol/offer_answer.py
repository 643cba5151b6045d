"""Small decisions of SDP offer/answer (RFC 3264) for MSRP over TCP and TLS (RFC 4145, RFC 6135)."""

from __future__ import annotations

from typing import Final

from cpmspec.protocol.errors import RemoteProtocolError

# RFC 3264 6.1: what is left when the answerer can do all it is asked for
_REVERSED: Final = {"sendrecv": "sendrecv", "sendonly": "recvonly", "recvonly": "sendonly", "inactive": "inactive"}


def answer_direction(offered: str, wanted: str = "sendrecv") -> str:
    """The direction of the answer: what the offer leaves of what we want (RFC 3264 6.1).

    Both arguments are one of ``sendrecv``, ``sendonly``, ``recvonly``, ``inactive``; so is the result.

    :raises RemoteProtocolError: 488, the offer holds no such word.
    """
    if offered not in _REVERSED:
        raise RemoteProtocolError(f"unknown direction {offered!r}", 488)
    mirrored = _REVERSED[offered]
    send = mirrored in ("sendrecv", "sendonly") and wanted in ("sendrecv", "sendonly")
    receive = mirrored in ("sendrecv", "recvonly") and wanted in ("sendrecv", "recvonly")
    if send and receive:
        return "sendrecv"
    if send:
        return "sendonly"
    return "recvonly" if receive else "inactive"


def choose_setup(offered: str | None, *, prefer: str = "active") -> str:
    """The ``a=setup`` of the answer (RFC 4145 4.1): ``active`` means that we connect.

    Without the attribute the offerer connects, as RFC 4975 has it (RFC 6135 4.2): we are ``passive``. ``prefer``
    decides an offer of ``actpass``; ``holdconn`` is answered in kind.

    :raises RemoteProtocolError: 488, the offer holds no such word.
    """
    match (offered or "active").lower():
        case "active":
            return "passive"
        case "passive":
            return "active"
        case "actpass":
            return prefer
        case "holdconn":
            return "holdconn"
        case _:
            raise RemoteProtocolError(f"unknown setup {offered!r}", 488)


def connects(setup: str | None, *, offerer: bool) -> bool:
    """Whether the side that wrote ``setup`` into its final SDP opens the connection.

    ``setup`` is that of the answer (``None`` if it had none: the offerer connects, RFC 4975 5.4); ``offerer`` tells
    whether we ask for the offerer's side.
    """
    answerer_connects = (setup or "passive").lower() == "active"
    return answerer_connects is not offerer
