"""The certificates of the profile ``tls``: verified by clients, made once, renewed in time."""

import ssl
from datetime import timedelta
from pathlib import Path

import pytest

from deploy import certificates


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(certificates, "AUTHORITY", tmp_path / "ca.pem")
    monkeypatch.setattr(certificates, "SERVERS", tmp_path)
    monkeypatch.setattr(certificates, "SERVER_USER", -1)  # leaves the owner
    for server in ("postgres", "rabbitmq"):
        (tmp_path / server).mkdir()
    return tmp_path


def handshake(folder: Path, server: str, name: str) -> None:
    """Connect a client that verifies to a server, in memory."""
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(folder / server / "server.pem", folder / server / "server.key")
    asking = ssl.create_default_context(cafile=folder / "ca.pem")
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = asking.wrap_bio(to_client, to_server, server_hostname=name)
    served = serving.wrap_bio(to_server, to_client, server_side=True)
    for side in (client, served, client, served):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue


def test_a_client_verifies_each_server_by_its_name(folder: Path) -> None:
    certificates.main(["postgres", "rabbitmq"])
    handshake(folder, "postgres", "postgres")
    handshake(folder, "rabbitmq", "rabbitmq")
    with pytest.raises(ssl.SSLCertVerificationError, match="not valid for 'rabbitmq'"):
        handshake(folder, "postgres", "rabbitmq")
    assert (folder / "postgres/server.key").stat().st_mode & 0o077 == 0


def test_they_are_replaced_in_their_last_month(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificates.main(["postgres"])
    first = (folder / "ca.pem").read_bytes()
    certificates.main(["postgres"])
    assert (folder / "ca.pem").read_bytes() == first
    monkeypatch.setattr(certificates, "RENEWED_BEFORE", certificates.LIFE + timedelta(days=1))
    certificates.main(["postgres"])
    assert (folder / "ca.pem").read_bytes() != first
    handshake(folder, "postgres", "postgres")
