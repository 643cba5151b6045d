"""Building the description of an MSRP session (RFC 4975 8, RFC 6135, RFC 6714), strictly.

What is wrong on purpose is put together of :meth:`cpmspec.wire.sdp_model.SdpLine.unchecked`."""

from __future__ import annotations

from collections.abc import Sequence

from cpmspec.wire.headers import encode
from cpmspec.wire.sdp_model import DIRECTIONS, TCP_MSRP, TLS_MSRP
from cpmspec.wire.sdp_msrp import MEDIA_TYPE


def build_msrp_sdp(
    *, host: str, port: int, path: Sequence[str], setup: str | None, accept_types: Sequence[str],
    accept_wrapped_types: Sequence[str] = (), direction: str = "sendrecv", max_size: int | None = None,
    tls: bool = False, fingerprint: str | None = None, session_id: int, version: int, port_zero: bool = False,
    cema: bool = False,
) -> bytes:  # fmt: skip
    """Build the description of one MSRP session (RFC 4975 8).

    ``port`` goes into the m-line as it is (9 for an active endpoint, RFC 6135 4.2.2); ``port_zero`` rejects the media;
    ``cema`` says that c-line and m-line may be other than the path (RFC 6714 4.2), and needs ``setup``.

    :raises ValueError: no path, no accept-types, an unknown direction, a wrong type, a number out of range, CEMA
        without setup, or a CR, LF or NUL anywhere.
    """
    if not path or not accept_types or direction not in DIRECTIONS:
        raise ValueError(f"path {path!r}, accept-types {accept_types!r}, direction {direction!r}")
    if not 0 <= port <= 65535 or session_id < 0 or version < 0 or (max_size or 0) < 0:
        raise ValueError(f"port {port}, session {session_id}, version {version}, max-size {max_size}: out of range")
    if cema and setup is None:
        raise ValueError("CEMA without a=setup (RFC 6714 4.2)")
    for entry in (*accept_types, *accept_wrapped_types):
        if MEDIA_TYPE.fullmatch(entry.partition(";")[0]) is None or " " in entry:
            raise ValueError(f"media type {entry!r}")
    family = "IP6" if ":" in host else "IP4"
    lines = [
        "v=0", f"o=- {session_id} {version} IN {family} {host}", "s=-", f"c=IN {family} {host}", "t=0 0",
        f"m=message {0 if port_zero else port} {TLS_MSRP if tls else TCP_MSRP} *",
        f"a=accept-types:{' '.join(accept_types)}",
    ]  # fmt: skip
    optional = {
        "accept-wrapped-types": " ".join(accept_wrapped_types) or None,
        "max-size": None if max_size is None else str(max_size),
        "path": " ".join(path),
        "setup": setup,
        "fingerprint": fingerprint,
    }
    lines += [f"a={name}:{value}" for name, value in optional.items() if value is not None]
    if cema:
        lines.append("a=msrp-cema")
    lines.append(f"a={direction}")
    text = "\r\n".join((*lines, ""))
    if text.count("\r") != len(lines) or text.count("\n") != len(lines) or "\0" in text:
        raise ValueError("a CR, LF or NUL in a value")
    return encode(text)
