"""A newsletter: a service with its own proven copy of the users, and few of their fields.

The library ``replica`` keeps the copy; what is here is what a newsletter is about.
"""

from collections.abc import Sequence

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Integer,
    MetaData,
    Table,
    Text,
    Uuid,
    update,
)
from sqlalchemy.ext.asyncio import AsyncEngine

from replica.commands import commands
from replica.service import Service
from replica.table import Replica
from service_kit.database.commands import on_database
from service_kit.process.load import load
from service_kit.process.terminal import failing_with_a_sentence

readers = Table(
    "readers",
    MetaData(),
    Column("id", Uuid, primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("email", Text),
    Column("email_verified", Boolean, nullable=False),
    Column("deleted_at", DateTime(timezone=True)),
    # The service's own, which no event touches: the last edition that they got.
    Column("edition", Integer, nullable=False, server_default="0"),
)
service = Service.of(Replica(readers, service="newsletter", command="python newsletter.py"))
app = commands("python newsletter.py", lambda: service, prefix="NEWSLETTER_", creates_tables=True)


@app.command()
@failing_with_a_sentence
def send(edition: int) -> None:
    """Print the addresses that an edition goes to; no reader gets it twice."""
    for address in on_database(load(service.database), lambda engine: _claim(engine, edition)):
        print(address)


async def _claim(engine: AsyncEngine, edition: int) -> Sequence[str | None]:
    waiting = readers.c.email_verified & (readers.c.edition < edition)
    claimed = update(readers).where(waiting).values(edition=edition).returning(readers.c.email)
    async with engine.begin() as connection:
        return (await connection.scalars(claimed)).all()


if __name__ == "__main__":
    app()
