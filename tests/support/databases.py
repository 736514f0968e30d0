"""Create migrated databases for tests by cloning templates.

A template is migrated once per checkout, and again only when a migration changes.
"""

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from sqlalchemy.engine import make_url

from local.lock import locked
from local.paths import CHECKOUT, LOCAL
from local.postgres_server import PostgresServer
from tests.support.database_roles import admit_roles, create_roles, prefix
from tests.support.supply import Supply

ROOT = Path(__file__).parents[2]
SERVICES = ("auth", "blog")
_WITH_RIGHTS = ("auth_service", "blog_service", "replica", "service_kit/database")


@contextmanager
def encoded(server: PostgresServer, encoding: str) -> Iterator[str]:
    """Make an empty database with another encoding for the block; yield its name.

    It is dropped afterwards, and so is one that the block has created as a remedy.
    """
    worker = os.environ.get("PYTEST_XDIST_WORKER", "alone")
    name = f"test_{CHECKOUT}_{worker}_{encoding.lower()}"
    server.drop_database(name)  # a previous run may have been killed
    server.execute(f"CREATE DATABASE {name} ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0")
    try:
        yield name
    finally:
        for database in (name, f"{name}_utf8"):
            server.drop_database(database)


class Databases:
    """The databases of one test worker, cloned from migrated templates.

    Parameters:
        spare: the number of databases of each service to create in advance.
    """

    def __init__(self, server: PostgresServer, worker: str, *, spare: int = 0) -> None:
        self._server = server
        self._prefix = f"test_{CHECKOUT}_{worker}_"
        self._templates: dict[str, str] = {}
        with locked(LOCAL / "templates.lock"):
            create_roles(server)
        for left_over in _names(server, self._prefix):  # a previous run may have been killed
            server.drop_database(left_over)
        self._supplies = {
            service: Supply(partial(self._clone, service), server.drop_database, spare=spare)
            for service in SERVICES
        }

    def make(self, service: str) -> str:
        """Return the URL of a new database for ``service``."""
        return self._server.url(self._supplies[service].take())

    def drop(self, url: str) -> None:
        name = make_url(url).database or ""
        [supply] = [self._supplies[each] for each in SERVICES if name.startswith(self._of(each))]
        supply.give_back(name)

    def close(self) -> None:
        for supply in self._supplies.values():
            supply.close()

    def _clone(self, service: str, number: int) -> str:
        # A server that a test may stop often has databases of one service only.
        if service not in self._templates:
            self._templates[service] = migrated_template(self._server, service)
        name = f"{self._of(service)}{number}"
        self._server.clone_database(self._templates[service], name)
        admit_roles(self._server, service, name)
        return name

    def _of(self, service: str) -> str:
        return f"{self._prefix}{service}_"


def migrated_template(server: PostgresServer, service: str) -> str:
    """Return the name of a database at the newest revision; create it if a migration changed."""
    digest = hashlib.sha256()
    rights = (file for folder in _WITH_RIGHTS for file in (ROOT / folder).glob("rights.py"))
    for file in sorted([*(ROOT / "migrations").rglob("*.py"), *rights]):
        digest.update(file.read_bytes())
    prefix = f"test_{CHECKOUT}_template_{service}_"
    name = f"{prefix}{digest.hexdigest()[:8]}"
    with locked(LOCAL / "templates.lock"):
        found = _names(server, prefix)
        if name not in found:
            for outdated in found:
                server.drop_database(outdated)
            unfinished = f"{prefix}unfinished"
            server.create_database(unfinished)
            migrate(service, server.url(unfinished))
            server.execute(f'ALTER DATABASE "{unfinished}" RENAME TO "{name}"')
    return name


def _names(server: PostgresServer, prefix: str) -> list[str]:
    found = server.execute("SELECT datname FROM pg_database WHERE starts_with(datname, $1)", prefix)
    return [row["datname"] for row in found]


def migrate(service: str, url: str, revision: str = "head", *, command: str = "upgrade") -> None:
    """Run ``alembic`` for ``service`` as an operator does."""
    subprocess.run(
        [str(Path(sys.executable).parent / "alembic"), "-n", service, command, revision],
        env={
            "PATH": os.environ["PATH"],
            f"{service.upper()}_DATABASE_URL": url,
            f"{service.upper()}_DATABASE_ROLES": prefix(service),
        },
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
