"""TLS contexts and fingerprints, over memory: no sockets."""

from __future__ import annotations

import hashlib
import ssl
from pathlib import Path

import pytest
import trustme

from cpmspec.net.tls import (
    client_context,
    fingerprint_matches,
    fingerprint_of,
    peer_has_fingerprint,
    self_signed,
    server_context,
)


def handshake(server: ssl.SSLContext, client: ssl.SSLContext, name: str = "127.0.0.1") -> ssl.SSLObject:
    """Shake hands in memory; returns the client's side."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.wrap_bio(to_client, to_server, server_hostname=name)
    theirs = server.wrap_bio(to_server, to_client, server_side=True)
    waiting = [ours, theirs]
    for _ in range(10):
        for side in list(waiting):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            waiting.remove(side)
    assert not waiting
    return ours


def test_a_self_signed_certificate_is_known_by_its_fingerprint() -> None:
    server, fingerprint = self_signed()
    connection = handshake(server, client_context(by_fingerprint=True))
    assert peer_has_fingerprint(connection, fingerprint)
    assert not peer_has_fingerprint(connection, self_signed()[1])
    assert not peer_has_fingerprint(None, fingerprint)


def test_a_self_signed_certificate_is_not_trusted_otherwise() -> None:
    server, _ = self_signed()
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(server, client_context())


@pytest.mark.parametrize("name", ["127.0.0.1", "::1", "localhost"])
def test_an_authority_of_our_own(tmp_path: Path, name: str) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1", "::1", "localhost")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    certificate.private_key_pem.write_to_path(tmp_path / "key.pem")
    server = server_context(tmp_path / "cert.pem", tmp_path / "key.pem")
    assert handshake(server, client_context(tmp_path / "ca.pem"), name).getpeercert()


def test_a_missing_file_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        server_context(tmp_path / "none.pem", tmp_path / "none.pem")
    with pytest.raises(OSError, match="No such file"):
        client_context(tmp_path / "none.pem")


def test_the_form_of_a_fingerprint() -> None:
    digest = hashlib.sha256(b"der").hexdigest().upper()
    pairs = ":".join(digest[index : index + 2] for index in range(0, 64, 2))
    assert fingerprint_of(b"der") == f"SHA-256 {pairs}"


@pytest.mark.parametrize("fold", [str.lower, str.upper])
def test_case_and_other_hashes(fold: type[str]) -> None:
    assert fingerprint_matches(b"der", fold(fingerprint_of(b"der")))
    sha512 = "sha-512 " + hashlib.sha512(b"der").digest().hex(":")
    assert fingerprint_matches(b"der", fold(sha512))


@pytest.mark.parametrize("announced", ["", "SHA-256", "sha-1 AA:BB", "SHA-256 é", "md5 00"])
def test_what_does_not_match(announced: str) -> None:
    assert not fingerprint_matches(b"der", announced)
    assert not fingerprint_matches(None, fingerprint_of(b"der"))
