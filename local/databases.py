"""The databases of the system, and the role of each process in them.

Guarantees: on the embedded server the owner migrates, each process has a role of its own, and
commands have the operators'; a database from the environment is used with the role that it names.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import auth_service.rights
import blog_service.rights
from local import environment
from local.postgres import embedded
from local.postgres_server import PostgresServer
from service_kit.database.rights import OPERATOR, role

_KINDS: Final = {
    "AUTH": auth_service.rights.RIGHTS.kinds,
    "BLOG": blog_service.rights.RIGHTS.kinds,
}


@dataclass(frozen=True)
class Database:
    """The addresses of one service's database."""

    owner: str
    """For the migrations."""
    roles: Mapping[str, str]
    """By kind of process; the operators' for commands."""

    @property
    def operator(self) -> str:
        """For commands."""
        return self.roles[OPERATOR]


def ensure_databases() -> dict[str, Database]:
    """Return the database of each service; on the embedded server, create it and its roles.

    Raises:
        LocalError: a server does not start, does not respond, or refuses.
    """
    return {service: _ensure(service) for service in environment.SERVICES}


def _ensure(service: str) -> Database:
    kinds = _KINDS[service]
    given = environment.database_url(service)
    if given is not None:
        owner = environment.migrations_url(service) or given
        for address in dict.fromkeys((given, owner)):
            PostgresServer(address).execute("SELECT 1")
        return Database(owner, dict.fromkeys(kinds, given))
    name = service.lower()
    server = embedded().start()
    for each in (name, *(role(name, kind) for kind in kinds)):
        server.create_role(each)
    server.create_database(name, owner=name)
    return Database(
        server.url(name, role=name),
        {kind: server.url(name, role=role(name, kind)) for kind in kinds},
    )
