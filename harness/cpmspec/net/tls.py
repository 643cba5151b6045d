"""TLS for SIP and MSRP: contexts, and certificates known by their fingerprint (RFC 4975 14.1, RFC 8122 5)."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import ssl
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

#: how long a self-signed certificate is valid: it lives as long as its process
VALIDITY: Final = timedelta(days=365)
#: how far clocks may be apart when a certificate is checked
CLOCK_SKEW: Final = timedelta(hours=1)

# RFC 8122 5: fingerprint = hash-func SP fingerprint-bytes ; 2UHEX *(":" 2UHEX)
_HASHES: Final = {"sha-256": hashlib.sha256, "sha-384": hashlib.sha384, "sha-512": hashlib.sha512}


def fingerprint_of(der: bytes) -> str:
    """The value of ``a=fingerprint`` for a certificate in DER: ``SHA-256 AA:BB:...``."""
    return "SHA-256 " + hashlib.sha256(der).digest().hex(":").upper()


def fingerprint_matches(der: bytes | None, fingerprint: str) -> bool:
    """Whether a peer's certificate in DER is the one whose ``a=fingerprint`` value was announced.

    SHA-256, SHA-384 and SHA-512 are known; any other hash, or no certificate, does not match.
    """
    name, _, announced = fingerprint.strip().partition(" ")
    function = _HASHES.get(name.lower())
    if der is None or function is None:
        return False
    return hmac.compare_digest(function(der).digest().hex(":").upper().encode(), announced.strip().upper().encode())


def server_context(cert: Path | str, key: Path | str) -> ssl.SSLContext:
    """A context for listening, from PEM files of the certificate (chain) and its private key.

    :raises OSError: a file cannot be read, or (``ssl.SSLError``) they do not fit.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(cert, key)
    return context


def client_context(ca: Path | str | None = None, *, by_fingerprint: bool = False) -> ssl.SSLContext:
    """A context for connecting.

    ``ca`` is the PEM file of the authorities to trust (``None``: those of the system). With ``by_fingerprint`` any
    certificate passes the handshake, and the caller must then ask :func:`peer_has_fingerprint`.

    :raises OSError: the file cannot be read, or (``ssl.SSLError``) holds no certificate.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if by_fingerprint:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif ca is None:
        context.load_default_certs()
    else:
        context.load_verify_locations(ca)
    return context


def peer_has_fingerprint(connection: ssl.SSLObject | ssl.SSLSocket | None, fingerprint: str) -> bool:
    """Whether the peer of a connection (``get_extra_info("ssl_object")``) showed the announced certificate."""
    return connection is not None and fingerprint_matches(connection.getpeercert(binary_form=True), fingerprint)


def self_signed(hosts: Sequence[str] = ("127.0.0.1", "::1", "localhost")) -> tuple[ssl.SSLContext, str]:
    """A server context with a fresh self-signed certificate for ``hosts``, and its fingerprint."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hosts[0])])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + VALIDITY)
        .add_extension(x509.SubjectAlternativeName([_general_name(host) for host in hosts]), critical=False)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    # the ssl module loads a key from a file only; the folder is ours alone (mode 0700) and goes at once
    with tempfile.TemporaryDirectory() as folder:
        pem = Path(folder) / "both.pem"
        pem.write_bytes(secret + certificate.public_bytes(serialization.Encoding.PEM))
        context = server_context(pem, pem)
    return context, fingerprint_of(certificate.public_bytes(serialization.Encoding.DER))


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
