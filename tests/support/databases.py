"""Create migrated databases for tests by cloning templates."""

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

from sqlalchemy.engine import make_url

from local.paths import CHECKOUT
from local.postgres_server import PostgresServer
from tests.support.supply import Supply

ROOT = Path(__file__).parents[2]
SERVICES = ("auth", "blog")


class Databases:
    """The databases of one test worker, cloned from migrated templates.

    Parameters:
        spare: the number of databases of each service to create in advance.
    """

    def __init__(self, server: PostgresServer, worker: str, *, spare: int = 0) -> None:
        self._server = server
        self._prefix = f"test_{CHECKOUT}_{worker}"
        self._remove_leftovers()
        for service in SERVICES:
            template = self._template(service)
            server.create_database(template)
            migrate(service, server.url(template))
        self._supplies = {
            service: Supply(partial(self._clone, service), server.drop_database, spare=spare)
            for service in SERVICES
        }

    def make(self, service: str) -> str:
        """Return the URL of a new database for ``service``."""
        return self._server.url(self._supplies[service].take())

    def drop(self, url: str) -> None:
        """Drop a database that ``make`` returned."""
        name = make_url(url).database or ""
        [supply] = [self._supplies[each] for each in SERVICES if name.startswith(self._of(each))]
        supply.give_back(name)

    def close(self) -> None:
        """Drop the unused databases and the templates."""
        for service in SERVICES:
            self._supplies[service].close()
            self._server.drop_database(self._template(service))

    def _clone(self, service: str, number: int) -> str:
        name = f"{self._of(service)}{number}"
        self._server.clone_database(self._template(service), name)
        return name

    def _remove_leftovers(self) -> None:
        # A previous run may have been killed.
        found = self._server.execute(
            "SELECT datname FROM pg_database WHERE starts_with(datname, $1)", f"{self._prefix}_"
        )
        for row in found:
            self._server.drop_database(row["datname"])

    def _of(self, service: str) -> str:
        return f"{self._prefix}_{service}_"

    def _template(self, service: str) -> str:
        return f"{self._of(service)}template"


def migrate(service: str, url: str, revision: str = "head", *, command: str = "upgrade") -> None:
    """Run ``alembic`` for ``service`` as an operator does."""
    variable = f"{service.upper()}_DATABASE_URL"
    subprocess.run(
        [str(Path(sys.executable).parent / "alembic"), "-n", service, command, revision],
        env={"PATH": os.environ["PATH"], variable: url},
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
