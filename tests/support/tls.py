"""Certificates for servers that a test runs: self-signed, or of an authority that it makes."""

import ssl
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.support.pems import pem


def self_signed(folder: Path, hosts: Sequence[str]) -> tuple[Path, Path]:
    """Create a certificate for names or IP addresses; return its file and that of the key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, hosts[0])])
    now, day = datetime.now(UTC), timedelta(days=1)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - day)
        .not_valid_after(now + day)
        .add_extension(x509.SubjectAlternativeName([_host(host) for host in hosts]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    public, private = folder / f"{hosts[0]}.crt", folder / f"{hosts[0]}.key"
    public.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_text(pem(key))
    return public, private


def _host(host: str) -> x509.GeneralName:
    with suppress(ValueError):
        return x509.IPAddress(ip_address(host))
    return x509.DNSName(host)


def server_context(folder: Path, host: str = "localhost") -> tuple[ssl.SSLContext, Path]:
    """Create a server's TLS context with such a certificate, and the certificate's file."""
    public, private = self_signed(folder, [host])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(public, private)
    return context, public


class Authority:
    """A certificate authority whose files are in ``folder``.

    ``file`` is its certificate; servers and clients are issued theirs by ``issue``.
    """

    def __init__(self, folder: Path, name: str = "authority") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self.file, key = self_signed(folder, [name])
        self._certificate = x509.load_pem_x509_certificate(self.file.read_bytes())
        self._key = serialization.load_pem_private_key(key.read_bytes(), None)

    def issue(self, *hosts: str, days: int = 1) -> tuple[Path, Path]:
        """Issue a certificate for names or IP addresses; return its file and that of the key.

        Parameters:
            days: until it expires; it has expired if they are negative.
        """
        assert isinstance(self._key, ec.EllipticCurvePrivateKey)
        key = ec.generate_private_key(ec.SECP256R1())
        now, day = datetime.now(UTC), timedelta(days=1)
        names = x509.SubjectAlternativeName([_host(host) for host in hosts])
        made = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, hosts[0])]))
            .issuer_name(self._certificate.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - 10 * day)
            .not_valid_after(now + days * day)
            .add_extension(names, critical=False)
            .sign(self._key, hashes.SHA256())
        )
        stem = f"{hosts[0]}-{made.serial_number:x}"
        public, private = self._folder / f"{stem}.crt", self._folder / f"{stem}.key"
        public.write_bytes(made.public_bytes(serialization.Encoding.PEM))
        private.write_text(pem(key))
        private.chmod(0o600)
        return public, private
