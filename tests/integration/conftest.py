"""What the tests of one service against real servers share."""

from collections.abc import AsyncIterator, Iterator

import pytest

from auth_service.users.passwords import Passwords
from local.embedded_postgres import EmbeddedPostgres
from local.ports import free_port
from tests.support.databases import Databases
from tests.support.servers import own_postgres
from tests.support.source import Source, source_on


@pytest.fixture
async def source(amqp_url: str) -> AsyncIterator[Source]:
    """The source's end of the fresh virtual host."""
    async with source_on(amqp_url) as source:
        yield source


@pytest.fixture(scope="session")
def mortal_postgres() -> Iterator[tuple[EmbeddedPostgres, Databases]]:
    """A PostgreSQL server that a test may stop; it has to leave it running."""
    with own_postgres() as server:
        yield server


@pytest.fixture
def unused_port() -> int:
    """A port that nobody listens on."""
    return free_port()


@pytest.fixture
def passwords() -> Iterator[Passwords]:
    """Hashing as the auth API does it."""
    passwords = Passwords(threads=2, waiting_max=100)
    yield passwords
    passwords.close()
