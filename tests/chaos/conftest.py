"""The system and the servers that chaos tests kill, cut off and fill up."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from local.embedded_postgres import EmbeddedPostgres
from local.private_rabbitmq import PrivateRabbitMQ
from tests.support.databases import Databases
from tests.support.servers import own_postgres, own_rabbitmq
from tests.support.source import Source, source_on
from tests.support.system import System


@pytest.fixture
def system(
    auth_url: str, blog_url: str, amqp_url: str, private_pem: str, public_pem: str, tmp_path: Path
) -> System:
    return System(auth_url, blog_url, amqp_url, private_pem, public_pem, tmp_path)


@pytest.fixture
async def source(system: System) -> AsyncIterator[Source]:
    async with source_on(system.amqp_url) as source:
        yield source


@pytest.fixture(scope="session")
def mortal_postgres() -> Iterator[tuple[EmbeddedPostgres, Databases]]:
    """A PostgreSQL server that a test may stop; the test must leave it running."""
    with own_postgres() as server:
        yield server


@pytest.fixture(scope="session")
def mortal_rabbitmq() -> Iterator[PrivateRabbitMQ]:
    """A RabbitMQ node that a test may stop; the test must leave it running."""
    with own_rabbitmq() as node:
        yield node
