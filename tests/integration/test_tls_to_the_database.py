"""TLS to PostgreSQL is verified as the address says, and a refusal names what to correct."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import text

from auth_service.settings import DatabaseSettings
from local.embedded_postgres import EmbeddedPostgres
from local.ports import LOOPBACK
from service_kit.database.away import DatabaseRefused
from service_kit.database.engines import pooled
from tests.support.databases import Databases
from tests.support.debian_postgres import DebianPostgres, debian_postgres
from tests.support.eventually import eventually
from tests.support.in_turn import in_turn
from tests.support.processes import run
from tests.support.proxy import proxy_to
from tests.support.standby import PORT, sockets_of
from tests.support.tls import Authority


@dataclass(frozen=True)
class Encrypted:
    """A server with TLS, and the authorities that its certificate is from, and is not from."""

    server: DebianPostgres
    authority: Authority
    stranger: Authority

    def show(self, certificate: tuple[Path, Path]) -> None:
        """Have the server show this certificate to new connections."""
        for file, name in zip(certificate, ("server.crt", "server.key"), strict=True):
            self.server.put(file, name)
        if self.server.server.is_reachable():
            self.server.server.execute("SELECT pg_reload_conf()")

    def url(self, parameters: str) -> str:
        return f"postgresql://postgres@{LOOPBACK}:{self.server.port}/postgres?{parameters}"


@pytest.fixture(scope="module")
def encrypted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Encrypted]:
    files = tmp_path_factory.mktemp("certificates")
    with debian_postgres() as server:
        made = Encrypted(server, Authority(files), Authority(files / "other"))
        made.show(made.authority.issue(LOOPBACK))
        server.start({"ssl": "on"})
        yield made


async def test_a_verified_connection_is_encrypted(encrypted: Encrypted) -> None:
    given = f"sslmode=verify-full&sslrootcert={encrypted.authority.file}"
    await eventually(lambda: _uses_tls(encrypted.url(given)))
    assert await _uses_tls(encrypted.url("sslmode=require"))
    assert not await _uses_tls(encrypted.url("sslmode=disable"))


@in_turn("mode", ["verify-full", "verify-ca", "require"])
async def test_a_certificate_of_another_authority_is_refused(
    encrypted: Encrypted, mode: str
) -> None:
    """As libpq does, ``require`` verifies too if it has an authority to do so."""
    given = f"sslmode={mode}&sslrootcert={encrypted.stranger.file}"
    assert await _refusal(encrypted.url(given)) == (
        f"TLS with the database on {LOOPBACK} fails: its certificate is not from an authority that"
        " we trust; name the authority's file (sslrootcert=… in …_DATABASE_URL)"
    )


async def test_another_name_is_refused_by_verify_full_only(encrypted: Encrypted) -> None:
    encrypted.show(encrypted.authority.issue("db.example"))
    given = f"sslrootcert={encrypted.authority.file}"
    refused = await eventually(
        lambda: _refusal(encrypted.url(f"sslmode=verify-full&{given}"), "not for the name")
    )
    assert refused == (
        f"TLS with the database on {LOOPBACK} fails: its certificate is not for the name"
        f" {LOOPBACK}; write a name that it is for in …_DATABASE_URL"
    )
    assert await _uses_tls(encrypted.url(f"sslmode=verify-ca&{given}"))


async def test_a_certificate_that_has_expired_is_refused(encrypted: Encrypted) -> None:
    encrypted.show(encrypted.authority.issue(LOOPBACK, days=-1))
    given = f"sslmode=verify-full&sslrootcert={encrypted.authority.file}"
    assert "its certificate has expired" in await eventually(
        lambda: _refusal(encrypted.url(given), "has expired")
    )


async def test_a_server_without_tls_is_refused(
    mortal_postgres: tuple[EmbeddedPostgres, Databases], tmp_path: Path
) -> None:
    """The command says the same sentence, without a traceback."""
    async with proxy_to(sockets_of(mortal_postgres[0].server), PORT) as proxy:
        url = f"postgresql://postgres@{LOOPBACK}:{proxy.port}/postgres?sslmode=require"
        said = await _refusal(url)
        told = await asyncio.to_thread(
            run, "auth-service status", {"AUTH_DATABASE_URL": url}, tmp_path
        )
    assert said == (
        f"TLS with the database on {LOOPBACK} fails: the server does not offer it; turn it on there"
        " (ssl = on), or write sslmode=disable in …_DATABASE_URL"
    )
    assert said in told.stderr
    assert "Traceback" not in told.stderr


async def _uses_tls(url: str) -> bool:
    engine = pooled(DatabaseSettings(_env_file=None, database_url=url))
    query = text("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
    try:
        async with engine.connect() as connection:
            return bool(await connection.scalar(query))
    finally:
        await engine.dispose()


async def _refusal(url: str, expected: str = "") -> str:
    engine = pooled(DatabaseSettings(_env_file=None, database_url=url))
    try:
        with pytest.raises(DatabaseRefused) as refused:
            async with engine.connect():
                pass
    finally:
        await engine.dispose()
    assert expected in str(refused.value)
    return str(refused.value)
