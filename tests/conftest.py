"""Servers, databases, a virtual host and keys for the tests.

Nothing of a running system is touched: the tests have a PostgreSQL of their own unless the
environment names one, and each test has databases and a virtual host of its own. A server that was
not running before is stopped in the end.
"""

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import hypothesis
import pytest
import structlog
from cryptography.hazmat.primitives.asymmetric import rsa
from sqlalchemy.ext.asyncio import AsyncEngine

from auth_service.settings import DatabaseSettings, RelaySettings
from auth_service.users import passwords
from blog_service.settings import ConsumerSettings
from blog_service.settings import DatabaseSettings as BlogDatabase
from local.broker import Broker
from local.embedded_postgres import EmbeddedPostgres
from local.environment import refuse_others_exports
from local.errors import LocalError
from local.postgres import given_postgres
from local.postgres_server import PostgresServer
from local.rabbitmq import find_broker, private_node
from service_kit.database.engines import pooled
from tests.support.broker_accounts import as_consumer, as_relay
from tests.support.builders import SOURCE
from tests.support.database_roles import acting_as
from tests.support.databases import Databases
from tests.support.memory import folder_for_data
from tests.support.pems import pem
from tests.support.servers import own_postgres
from tests.support.source import Source, source_on
from tests.support.system import System, new_system
from tests.support.virtual_hosts import VirtualHosts

OWN_POSTGRES = EmbeddedPostgres(folder_for_data() / "postgres", durable=False)
"""Its data are worth nothing, and waiting for the disk would take a third of the time."""

WORKER = os.environ.get("PYTEST_XDIST_WORKER", "alone")

# A test says what it needs; settings of the machine's user are none of its business.
for name in [name for name in os.environ if name.startswith(("AUTH_", "BLOG_"))]:
    if not name.endswith(("_DATABASE_URL", "_AMQP_URL", "_AMQP_PLAIN")):
        del os.environ[name]


# A time limit for one example says how busy the machine is.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")

# By default structlog formats a logged exception with all local variables, for seconds.
structlog.configure(
    processors=[
        *structlog.get_config()["processors"][:-1],
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback),
    ]
)


def pytest_sessionstart(session: pytest.Session) -> None:
    """Refuse another checkout's settings; remember which servers run already."""
    try:
        refuse_others_exports()
    except LocalError as error:
        raise pytest.UsageError(str(error)) from None
    if not hasattr(session.config, "workerinput"):
        session.config.stash[_RUNNING] = (OWN_POSTGRES.is_running(), private_node().is_running())


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Stop the servers that the tests started."""
    if hasattr(session.config, "workerinput"):
        return
    postgres_ran, rabbitmq_ran = session.config.stash[_RUNNING]
    if not postgres_ran and OWN_POSTGRES.is_running():
        OWN_POSTGRES.stop()
    if not rabbitmq_ran and private_node().is_running():
        private_node().stop()


_RUNNING = pytest.StashKey[tuple[bool, bool]]()


@pytest.fixture(scope="session")
def postgres() -> PostgresServer:
    """A PostgreSQL server in which databases can be made."""
    return given_postgres() or OWN_POSTGRES.start()


@pytest.fixture(scope="session")
def broker() -> Broker:
    """A RabbitMQ server in which virtual hosts can be made."""
    return find_broker()


@pytest.fixture(scope="session")
def databases(postgres: PostgresServer) -> Iterator[Databases]:
    """Where a test gets its databases from."""
    databases = Databases(postgres, WORKER, spare=2)
    yield databases
    databases.close()


@pytest.fixture
def auth_url(databases: Databases) -> Iterator[str]:
    """The address of a fresh auth database."""
    url = databases.make("auth")
    yield url
    databases.drop(url)


@pytest.fixture
def blog_url(databases: Databases) -> Iterator[str]:
    """The address of a fresh blog database."""
    url = databases.make("blog")
    yield url
    databases.drop(url)


@pytest.fixture(scope="session")
def vhosts(broker: Broker) -> Iterator[VirtualHosts]:
    """Where a test gets its virtual host from."""
    vhosts = VirtualHosts(broker, WORKER)
    yield vhosts
    vhosts.close()


@pytest.fixture
def vhost(vhosts: VirtualHosts) -> Iterator[str]:
    """The name of a fresh virtual host."""
    name = vhosts.take()
    yield name
    vhosts.give_back(name)


@pytest.fixture
def amqp_url(broker: Broker, vhost: str) -> str:
    """The address of a fresh virtual host."""
    return broker.amqp_url(vhost)


@pytest.fixture
async def source(amqp_url: str) -> AsyncIterator[Source]:
    """The source's end of the fresh virtual host."""
    async with source_on(amqp_url) as source:
        yield source


@pytest.fixture
def system(
    auth_url: str, blog_url: str, amqp_url: str, private_pem: str, public_pem: str, tmp_path: Path
) -> System:
    """The system on fresh databases and a fresh virtual host; nothing is started."""
    return System(auth_url, blog_url, amqp_url, private_pem, public_pem, tmp_path)


@pytest.fixture(scope="module")
def shared_system(
    databases: Databases,
    broker: Broker,
    vhosts: VirtualHosts,
    private_pem: str,
    public_pem: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[System]:
    """The same for all tests of a file."""
    folder = tmp_path_factory.mktemp("system")
    with new_system(databases, broker, vhosts, (private_pem, public_pem), folder) as system:
        yield system


@pytest.fixture(scope="session")
def mortal_postgres() -> Iterator[tuple[EmbeddedPostgres, Databases]]:
    """A PostgreSQL server that a test may stop; it has to leave it running."""
    with own_postgres() as server:
        yield server


@pytest.fixture
def relay_settings(auth_url: str, amqp_url: str) -> RelaySettings:
    """Settings of a relay between the fresh database and the fresh virtual host."""
    return RelaySettings(
        _env_file=None,
        database_url=acting_as("auth_relay", auth_url),
        amqp_url=as_relay(amqp_url),
        issuer=SOURCE,
    )


@pytest.fixture
def consumer_settings(blog_url: str, amqp_url: str) -> ConsumerSettings:
    """Settings of a consumer between the fresh virtual host and the fresh database."""
    return ConsumerSettings(
        _env_file=None,
        database_url=acting_as("blog_consumer", blog_url),
        amqp_url=as_consumer(amqp_url),
    )


@pytest.fixture
async def auth_engine(auth_url: str) -> AsyncIterator[AsyncEngine]:
    """Connections to the fresh auth database."""
    engine = pooled(DatabaseSettings(database_url=auth_url))
    yield engine
    await engine.dispose()


@pytest.fixture
async def blog_engine(blog_url: str) -> AsyncIterator[AsyncEngine]:
    """Connections to the fresh blog database."""
    engine = pooled(BlogDatabase(_env_file=None, database_url=blog_url))
    yield engine
    await engine.dispose()


@pytest.fixture
def cheap_hashing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hash passwords with cheap parameters in this process; production's take 80 ms each."""
    monkeypatch.setattr(passwords, "MEMORY_KIB", 8)
    monkeypatch.setattr(passwords, "PASSES", 1)


@pytest.fixture(scope="session")
def signing_key() -> rsa.RSAPrivateKey:
    """An RSA key; of the smallest size that is accepted, for speed."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture(scope="session")
def private_pem(signing_key: rsa.RSAPrivateKey) -> str:
    """The private key as PEM."""
    return pem(signing_key)


@pytest.fixture(scope="session")
def public_pem(signing_key: rsa.RSAPrivateKey) -> str:
    """The public key as PEM."""
    return pem(signing_key.public_key())
