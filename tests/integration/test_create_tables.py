"""A service without migrations gets its tables, digests and rights from the library."""

from collections.abc import Iterator
from uuid import uuid4

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from contracts.sync.digest import DigestKind, Digests
from contracts.sync.merge import State
from local.postgres_server import PostgresServer
from replica.create_tables import create_tables
from replica.reconcile.staging import replica_digests
from replica.table import Replica
from tests.support.builders import a_state, a_tombstone
from tests.support.database_roles import acting_as, admit_roles, create_roles, prefix

metadata = sa.MetaData()
readers = sa.Table(
    "readers",
    metadata,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("email", sa.Text),
    sa.Column("deleted_at", sa.DateTime(timezone=True)),
)
notes = sa.Table("notes", metadata, sa.Column("text", sa.Text))


@pytest.fixture
def empty_url(postgres: PostgresServer) -> Iterator[str]:
    name = f"test_create_tables_{uuid4().hex[:12]}"
    create_roles(postgres)
    postgres.create_database(name)
    admit_roles(postgres, "blog", name)
    yield postgres.url(name)
    postgres.drop_database(name)


async def test_a_repetition_changes_nothing_and_every_role_has_its_rights(empty_url: str) -> None:
    """Digests count the rows that were there; a consumer may write users, and alter no table."""
    replica = Replica(readers, service=prefix("blog"))
    states: list[State] = [a_state(version=1), a_tombstone(version=2)]
    owner = create_async_engine(empty_url)
    consumer = create_async_engine(acting_as("blog_consumer", empty_url))
    try:
        async with owner.begin() as connection:
            await connection.run_sync(metadata.create_all)
            await replica.write(connection, states[:1])
        await create_tables(replica, owner)
        await create_tables(replica, owner)

        async with consumer.begin() as connection:
            await replica.write(connection, states[1:])
            await connection.execute(sa.insert(notes).values(text="ours"))
        async with owner.connect() as connection:
            found = await replica_digests(connection, DigestKind.VERSIONS)
        assert found.versions_root == Digests.of_states(states).versions_root
        with pytest.raises(ProgrammingError, match="must be owner"):
            await _run(consumer, "ALTER TABLE readers ADD COLUMN mine text")
        with pytest.raises(ProgrammingError, match="permission denied"):
            await _run(consumer, "DELETE FROM discarded_messages")
    finally:
        await owner.dispose()
        await consumer.dispose()


async def _run(engine: AsyncEngine, sql: str) -> None:
    async with engine.begin() as connection:
        await connection.execute(sa.text(sql))
