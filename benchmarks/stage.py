"""Create databases and a virtual host for the measurements alone.

Guarantees: those of the running system are never touched. All of it is removed at the end, after a
failure too. The servers are those of this checkout (``local``) and stay up.
"""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import aio_pika
import asyncpg

from auth_service.outbox.publisher import publisher
from benchmarks.processes import environment
from blog_service.replica_of_users import USERS
from local.broker import Broker
from local.lock import locked
from local.paths import CHECKOUT, LOCAL, ROOT, VHOST, program
from local.postgres import find_postgres
from local.postgres_server import PostgresServer
from local.rabbitmq import find_broker
from replica.inbox.topology import bind_replays, declare

ISSUER = "https://auth.example.org"

_VHOST = f"{VHOST}-bench"
_AUTH, _LONG, _BLOG = (f"bench_{CHECKOUT}_{name}" for name in ("auth", "long", "blog"))


@dataclass(frozen=True, slots=True)
class Stage:
    """The two servers, and the addresses of the benchmarks' databases and virtual host.

    ``long_url`` is a second auth database, for the relay beside a long log.
    """

    postgres: PostgresServer
    broker: Broker
    auth_url: str
    long_url: str
    blog_url: str
    amqp_url: str

    async def empty(self) -> None:
        """Remove all events, users and messages."""
        await self.run(self.auth_url, "TRUNCATE outbox_events, users, replays CASCADE")
        await self.empty_replica()

    async def empty_replica(self) -> None:
        """Remove all messages and the replica's content; the source does not change."""
        await self.run(self.blog_url, "TRUNCATE users, heartbeats, reconcile_runs CASCADE")
        async with await aio_pika.connect(self.amqp_url) as connection:
            channel = await connection.channel()
            for name in (USERS.queues.live, USERS.queues.replay):
                await (await channel.get_queue(name)).purge()

    async def run(self, database_url: str, statement: str) -> None:
        """Run one statement in one of the databases, in autocommit."""
        connection = await connect(database_url)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()


@contextmanager
def staged() -> Iterator[Stage]:
    """Create the stage for the block, and remove it afterwards. One run at a time."""
    with locked(LOCAL / "bench.lock"):
        postgres, broker = find_postgres(), find_broker()
        stage = Stage(
            postgres=postgres,
            broker=broker,
            auth_url=postgres.url(_AUTH),
            long_url=postgres.url(_LONG),
            blog_url=postgres.url(_BLOG),
            amqp_url=broker.amqp_url(_VHOST),
        )
        try:
            _remove(stage)  # a killed run may have left something
            for name in (_AUTH, _LONG, _BLOG):
                postgres.create_database(name)
            for service, url in (
                ("auth", stage.auth_url),
                ("auth", stage.long_url),
                ("blog", stage.blog_url),
            ):
                _migrate(service, url)
            broker.create_vhost(_VHOST)
            yield stage
        finally:
            _remove(stage)


async def declare_names(stage: Stage) -> None:
    """Declare exchanges, queues and bindings as the services do."""
    async with publisher(stage.amqp_url, source=ISSUER, timeout_seconds=10):
        pass
    async with await aio_pika.connect(stage.amqp_url) as connection:
        await declare(connection, USERS.queues)
        await bind_replays(connection, USERS.queues)


async def connect(database_url: str) -> asyncpg.Connection:
    """Open a connection without SQLAlchemy, so that measuring costs little."""
    return await asyncpg.connect(database_url.replace("+asyncpg", ""))


def _migrate(service: str, database_url: str) -> None:
    settings = environment({f"{service.upper()}_DATABASE_URL": database_url})
    command = [str(program("alembic")), "-n", service, "upgrade", "head"]
    done = subprocess.run(  # noqa: S603 - a program of our own environment
        command, cwd=ROOT, env=settings, capture_output=True, text=True
    )
    if done.returncode != 0:
        sys.exit(f"The benchmarks' database cannot be migrated:\n{done.stderr[-2000:]}")


def _remove(stage: Stage) -> None:
    stage.broker.delete_vhost(_VHOST)
    for name in (_AUTH, _LONG, _BLOG):
        stage.postgres.drop_database(name)
