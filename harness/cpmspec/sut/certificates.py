"""A certificate authority for one run, and a certificate for whoever listens on the loopback addresses."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

#: the names that the certificate is good for
NAMES = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class Certificates:
    """PEM files: the authority's certificate, a server's chain and its private key."""

    ca: Path
    cert: Path
    key: Path


def make_certificates(folder: Path, *names: str) -> Certificates:
    """Write a fresh authority and a certificate for the loopback addresses and the further names given."""
    import trustme  # slow to import, and needed only where TLS is

    folder.mkdir(parents=True, exist_ok=True)
    authority = trustme.CA(organization_name="cpmspec", organization_unit_name="one run")
    issued = authority.issue_cert(*NAMES, *names)
    made = Certificates(ca=folder / "ca.pem", cert=folder / "cert.pem", key=folder / "key.pem")
    authority.cert_pem.write_to_path(str(made.ca))
    issued.private_key_pem.write_to_path(str(made.key))
    made.key.chmod(0o600)
    made.cert.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    return made
