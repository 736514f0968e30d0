"""Make an authority and a certificate for each server, unless they are good for another month.

``python certificates.py postgres rabbitmq`` writes ``/authority/ca.pem``, which everyone may read,
and ``/certificates/NAME/server.pem`` and ``server.key``, which only that server can read. The
authority's key is not kept, so nobody can issue another certificate.
"""

import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization as form
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

AUTHORITY: Final = Path("/authority/ca.pem")
SERVERS: Final = Path("/certificates")

LIFE: Final = timedelta(days=365)
RENEWED_BEFORE: Final = timedelta(days=30)

SERVER_USER: Final = 999
"""Of postgres and rabbitmq, in their images."""


def main(servers: list[str]) -> None:
    """Write all certificates, or none if they are good."""
    if all(_is_good(path) for path in (AUTHORITY, *map(_certificate, servers))):
        return
    authority_key = ec.generate_private_key(ec.SECP256R1())
    authority = _named("usersync", authority_key.public_key(), "usersync").add_extension(
        x509.BasicConstraints(ca=True, path_length=0), critical=True
    )
    for server in servers:
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = (
            _named(server, key.public_key(), "usersync")
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(server)]), critical=False)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .sign(authority_key, hashes.SHA256())
        )
        pem = (form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
        _write(_certificate(server).with_suffix(".key"), key.private_bytes(*pem), 0o400)
        _write(_certificate(server), certificate.public_bytes(form.Encoding.PEM), 0o444)
    signed = authority.sign(authority_key, hashes.SHA256())
    _write(AUTHORITY, signed.public_bytes(form.Encoding.PEM), 0o444)


def _certificate(server: str) -> Path:
    return SERVERS / server / "server.pem"


def _is_good(path: Path) -> bool:
    if not path.exists():
        return False
    until = x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc
    return until - RENEWED_BEFORE > datetime.now(UTC)


def _named(name: str, key: ec.EllipticCurvePublicKey, issuer: str) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key)
        .serial_number(x509.random_serial_number())
        # A client's clock may be behind.
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + LIFE)
    )


def _write(path: Path, content: bytes, mode: int) -> None:
    part = path.with_suffix(".part")
    part.unlink(missing_ok=True)
    with os.fdopen(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
        file.write(content)
        os.fchmod(file.fileno(), mode)
        os.fchown(file.fileno(), SERVER_USER, SERVER_USER)
    part.rename(path)


if __name__ == "__main__":
    main(sys.argv[1:])
