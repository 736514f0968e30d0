"""Administer a PostgreSQL server: create, copy and drop databases, create roles.

Guarantees: works on the embedded server and on given ones; an error is one sentence.

Not here: starting a server (`embedded_postgres`), choosing one (`postgres`), and the schema.
"""

from typing import Any
from urllib.parse import urlencode

import asyncpg
from sqlalchemy.engine import URL, make_url

from local.errors import LocalError
from local.waiting import result_of

CONNECT_TIMEOUT_SECONDS = 5.0  # a server on this machine or network responds in milliseconds
STATEMENT_TIMEOUT_SECONDS = 60.0  # copying a large template takes longest


class PostgresServer:
    """A server, and a role on it that may create databases."""

    def __init__(self, admin_url: str | URL) -> None:
        """`admin_url`: SQLAlchemy URL of an existing database, with the role to act as."""
        self._admin = make_url(admin_url).set(drivername="postgresql+asyncpg")

    def url(self, database: str, role: str | None = None, password: str | None = None) -> str:
        """Return the SQLAlchemy URL of a database, for `role` or the administering role."""
        url = _render(self._admin.set(database=database))
        return url if role is None else as_role(url, role, password)

    @property
    def password(self) -> str | None:
        """The password of the administering role."""
        return self._admin.password

    def is_reachable(self) -> bool:
        """Return whether a connection succeeds now; only that proves that a server runs."""
        try:
            self.execute("SELECT 1")
        except LocalError:
            return False
        return True

    def create_role(self, name: str, password: str | None = None) -> None:
        """Create a role that may log in; do not change an existing one."""
        secret = "" if password is None else f" PASSWORD {_literal(password)}"
        try:
            self._administer(f"CREATE ROLE {_name(name)} LOGIN{secret}")
        except asyncpg.DuplicateObjectError:
            return

    def create_database(self, name: str, owner: str | None = None) -> bool:
        """Create a database that only its owner may connect to; False if it exists already."""
        return self._create(name, owner, template=None)

    def clone_database(self, template: str, name: str, owner: str | None = None) -> bool:
        """Copy a database without open connections; False if the copy exists already."""
        return self._create(name, owner, template)

    def admit(self, name: str, *roles: str, temporary_tables: bool = False) -> None:
        """Let roles connect to a database, or also create temporary tables there."""
        rights = "CONNECT, TEMPORARY" if temporary_tables else "CONNECT"
        to = ", ".join(map(_name, roles))
        self._administer(f"GRANT {rights} ON DATABASE {_name(name)} TO {to}")

    def drop_database(self, name: str) -> None:
        """Drop a database if it exists, and end the connections to it."""
        self._administer(f"DROP DATABASE IF EXISTS {_name(name)} WITH (FORCE)")

    def execute(self, statement: str, *values: Any, database: str | None = None) -> list[Any]:
        """Run one statement as the administering role, and return its rows.

        Raises:
            LocalError: the server does not respond, or refuses.
        """
        try:
            return result_of(self._fetch(statement, values, database))
        except asyncpg.PostgresError as error:
            raise LocalError(f"PostgreSQL {self._place} refused: {_sentence(error)}.") from error

    def _create(self, name: str, owner: str | None, template: str | None) -> bool:
        options = "" if owner is None else f" OWNER {_name(owner)}"
        # Copying files takes a third of the CPU time of the default, which logs each block.
        options += "" if template is None else f" TEMPLATE {_name(template)} STRATEGY FILE_COPY"
        try:
            self._administer(f"CREATE DATABASE {_name(name)}{options}")
        except asyncpg.DuplicateDatabaseError:
            is_new = False
        else:
            is_new = True
        self._administer(f"REVOKE ALL ON DATABASE {_name(name)} FROM PUBLIC")
        return is_new

    def _administer(self, statement: str) -> None:
        try:
            result_of(self._fetch(statement, (), None))
        except (asyncpg.DuplicateObjectError, asyncpg.DuplicateDatabaseError):
            raise
        except asyncpg.InsufficientPrivilegeError as error:
            raise LocalError(
                f"The role {self._admin.username} may not do this on PostgreSQL {self._place}: "
                f"{_sentence(error)}; give it CREATEDB and CREATEROLE, or unset "
                "AUTH_DATABASE_URL and BLOG_DATABASE_URL to use the embedded server."
            ) from error
        except asyncpg.PostgresError as error:
            raise LocalError(f"PostgreSQL {self._place} refused: {_sentence(error)}.") from error

    async def _fetch(
        self, statement: str, values: tuple[Any, ...], database: str | None
    ) -> list[Any]:
        try:
            connection = await asyncpg.connect(
                _dsn(self._admin.set(database=database) if database else self._admin),
                timeout=CONNECT_TIMEOUT_SECONDS,
                command_timeout=STATEMENT_TIMEOUT_SECONDS,
            )
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise LocalError(
                f"PostgreSQL {self._place} refuses the connection: {_sentence(error)}."
            ) from error
        try:
            return list(await connection.fetch(statement, *values))
        finally:
            await connection.close(timeout=CONNECT_TIMEOUT_SECONDS)

    @property
    def _place(self) -> str:
        return f"at {self._admin.query.get('host') or self._admin.host or 'localhost'}"


def as_role(url: str, role: str, password: str | None) -> str:
    """Return the same address for another role."""
    given = make_url(url)
    # URL.set ignores None, and the password of one role is not another's.
    return _render(
        URL.create(
            given.drivername,
            role,
            password,
            given.host,
            given.port,
            given.database,
            given.query,
        )
    )


def _dsn(url: URL) -> str:
    # SQLAlchemy says ssl and repeats host; libpq's and asyncpg's URLs say sslmode and host=a,b.
    query = {
        ("sslmode" if key == "ssl" else key): value if isinstance(value, str) else ",".join(value)
        for key, value in url.query.items()
    }
    if "," in query.get("host", ""):
        query.setdefault("target_session_attrs", "read-write")
    return _render(url.set(drivername="postgresql", query=query))


def _render(url: URL) -> str:
    # SQLAlchemy would write a socket's folder with %2F for each slash, which is hard to read and
    # which ConfigParser, and so Alembic, treats as interpolation.
    plain = url.set(query={}).render_as_string(hide_password=False)
    query = urlencode(dict(url.query), doseq=True, safe="/")
    return f"{plain}?{query}" if query else plain


def _sentence(error: Exception) -> str:
    lines = str(error).splitlines() or [type(error).__name__]
    return lines[0].rstrip(".")


def _name(name: str) -> str:
    doubled = name.replace('"', '""')
    return f'"{doubled}"'


def _literal(text: str) -> str:
    doubled = text.replace("'", "''")
    return f"'{doubled}'"
