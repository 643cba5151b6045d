"""cpmspec.sut.certificates: a handshake succeeds with them, and only for the names they are good for."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from cpmspec.sut.certificates import Certificates, make_certificates


def handshake(made: Certificates, name: str) -> None:
    """A TLS handshake without a socket."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(made.cert, made.key)
    client = ssl.create_default_context(cafile=str(made.ca))
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server, server_hostname=name),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    while ends:
        for end in list(ends):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            ends.remove(end)


@pytest.mark.parametrize("name", ["127.0.0.1", "::1", "localhost", "pf.example"])
def test_good_for(tmp_path: Path, name: str) -> None:
    made = make_certificates(tmp_path / "tls", "pf.example")
    handshake(made, name)
    assert made.key.stat().st_mode & 0o077 == 0


def test_not_good_for_others(tmp_path: Path) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(make_certificates(tmp_path), "other.example")
