"""A fresh, migrated pair of databases for each test, copied from a template."""

import os
import subprocess
import sys
from pathlib import Path

from sqlalchemy.engine import make_url

from local.places import CHECKOUT
from local.postgres_server import PostgresServer

ROOT = Path(__file__).parents[2]
SERVICES = ("auth", "blog")


class Databases:
    """Makes databases of one test worker from migrated templates."""

    def __init__(self, server: PostgresServer, worker: str) -> None:
        self._server = server
        self._prefix = f"test_{CHECKOUT}_{worker}"
        self._made = 0
        for service in SERVICES:
            template = self._template(service)
            server.drop_database(template)
            server.create_database(template)
            migrate(service, server.url(template))

    def make(self, service: str) -> str:
        """The address of a fresh database for ``service``."""
        self._made += 1
        name = f"{self._prefix}_{service}_{self._made}"
        self._server.drop_database(name)
        self._server.clone_database(self._template(service), name)
        return self._server.url(name)

    def drop(self, url: str) -> None:
        """Drop a database that ``make`` made."""
        self._server.drop_database(make_url(url).database or "")

    def close(self) -> None:
        """Drop the templates."""
        for service in SERVICES:
            self._server.drop_database(self._template(service))

    def _template(self, service: str) -> str:
        return f"{self._prefix}_{service}_template"


def migrate(service: str, url: str, revision: str = "head", *, command: str = "upgrade") -> None:
    """Run ``alembic`` for ``service`` the way an operator does."""
    variable = f"{service.upper()}_DATABASE_URL"
    subprocess.run(
        [str(Path(sys.executable).parent / "alembic"), "-n", service, command, revision],
        env={"PATH": os.environ["PATH"], variable: url},
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
