"""Run servers for tests that stop or kill them."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from local.embedded_postgres import EmbeddedPostgres
from local.private_rabbitmq import PrivateRabbitMQ
from tests.support.databases import Databases
from tests.support.memory import folder_for_data


@contextmanager
def own_postgres() -> Iterator[tuple[EmbeddedPostgres, Databases]]:
    """Run a PostgreSQL server that a test may stop and kill, with migrated databases."""
    with folder_for_servers() as folder:
        postgres = EmbeddedPostgres(folder / "pg")
        try:
            yield postgres, Databases(postgres.start(), "own")
        finally:
            postgres.stop()


@contextmanager
def own_rabbitmq() -> Iterator[PrivateRabbitMQ]:
    """Run a RabbitMQ node that a test may stop and kill."""
    with folder_for_servers() as folder:
        node = PrivateRabbitMQ(folder / "mq")
        try:
            node.start()
            yield node
        finally:
            node.kill()
            node.stop()


@contextmanager
def folder_for_servers() -> Iterator[Path]:
    """Yield a folder that a PostgreSQL server may use; remove it afterwards."""
    # Not tmp_path: PostgreSQL opens the parent folders to other users, and pytest closes them.
    folder = Path(tempfile.mkdtemp(prefix="usersync-test-", dir=folder_for_data()))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
