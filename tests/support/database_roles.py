"""The roles of the processes in the databases of tests, with their real rights."""

from typing import Final

from sqlalchemy.engine import URL, make_url

import auth_service.rights
import blog_service.rights
from local import environment
from local.paths import CHECKOUT
from local.postgres_server import PostgresServer, as_role
from service_kit.database.rights import Rights, role

_ROLES: Final = f"test_{CHECKOUT}_"
"""Roles belong to the whole server: each checkout has its own."""

RIGHTS: Final[dict[str, Rights]] = {
    "auth": auth_service.rights.RIGHTS,
    "blog": blog_service.rights.RIGHTS,
}


def prefix(service: str) -> str:
    """Return the prefix of the roles of a service."""
    return f"{_ROLES}{service}"


def create_roles(server: PostgresServer) -> None:
    """Create the roles that are missing, before a database is migrated."""
    for service, rights in RIGHTS.items():
        for kind in rights.kinds:
            server.create_role(role(prefix(service), kind), password=server.password)


def admit_roles(server: PostgresServer, service: str, database: str) -> None:
    """Let the roles of a service into a database that was copied, with the rights they have."""
    rights = RIGHTS[service]
    roles = {kind: role(prefix(service), kind) for kind in rights.kinds}
    server.admit(database, *roles.values())
    staging = [roles[kind] for kind in rights.kinds if rights.is_temporary(kind)]
    if staging:
        server.admit(database, *staging, temporary_tables=True)


def as_owner(url: str) -> str:
    """Return the address of a process's database for the owner of the tables."""
    if not (make_url(url).username or "").startswith(_ROLES):
        return url
    given = next(filter(None, map(environment.database_url, environment.SERVICES)), None)
    owner = URL.create("postgresql", "postgres") if given is None else make_url(given)
    return as_role(url, owner.username or "postgres", owner.password)


def acting_as(kind: str, url: str) -> str:
    """Return the address of a database for a role, such as ``auth_relay``.

    Parameters:
        kind: the service and the kind of process.
        url: the address for the owner.
    """
    service, _, process = kind.partition("_")
    return as_role(url, role(prefix(service), process), make_url(url).password)
