"""Backups of a database, made and restored while no session is connected to it."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.engine import make_url

from local.postgres_server import PostgresServer
from tests.support.database_roles import RIGHTS, admit_roles


class Backup:
    """The content of a database at one moment."""

    def __init__(self, server: PostgresServer, url: str) -> None:
        self._server = server
        self._name = make_url(url).database or ""
        self._copy = f"{self._name}_backup"
        server.drop_database(self._copy)
        self._end_connections()
        server.clone_database(self._name, self._copy)

    def restore(self) -> None:
        """Restore the database; connections to it end."""
        self._server.drop_database(self._name)
        self._server.clone_database(self._copy, self._name)
        # A right to the database is not part of a copy: run the migrations, or grant it.
        [service] = [each for each in RIGHTS if f"_{each}_" in self._name]
        admit_roles(self._server, service, self._name)

    def drop(self) -> None:
        self._server.drop_database(self._copy)

    def _end_connections(self) -> None:
        self._server.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", self._name
        )


@contextmanager
def backed_up(server: PostgresServer, url: str) -> Iterator[Backup]:
    """Make a backup, and drop it after the block."""
    backup = Backup(server, url)
    try:
        yield backup
    finally:
        backup.drop()
