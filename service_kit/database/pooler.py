"""A connection through a pooler such as pgbouncer, which lends a session for one transaction.

The next transaction may get another session, with settings of its own. So each begins with the
settings that the code relies on, in the same round trip, and no statement is prepared beyond it.

Guarantees: what is run outside a transaction gets one. No prepared statement has a name, and no
setting outlives its transaction.

Costs: two round trips for a statement that is prepared each time, and two more for one outside a
transaction.

Not here: sessions of one's own (``engines``), which locks and notifications need.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import asyncpg

from service_kit.database.sessions import SINCE_17, Session

REFUSES_PARAMETER: Final = "startup parameter"
"""In what pgbouncer says about a setting of the session that it cannot keep."""

_DEFAULT_ISOLATION: Final = "BEGIN ISOLATION LEVEL READ COMMITTED"

_AT_LEAST_ON: Final = (
    "SELECT set_config('synchronous_commit', 'on', true)"
    " WHERE current_setting('synchronous_commit') NOT IN ('on', 'remote_apply')"
)


def opening(session: Session) -> str:
    """Build the SQL with which each transaction begins, after BEGIN."""
    settings = session.startup()
    # First, so that a role's own limit is over at once.
    first = f"SET LOCAL statement_timeout = {settings.pop('statement_timeout')};"
    del settings["application_name"]  # the pooler keeps it
    since_17 = "".join(
        f" SELECT {_set(name, value)} WHERE current_setting('{name}', true) IS NOT NULL;"
        for name, value in SINCE_17.items()
    )
    all_others = ", ".join(_set(name, value) for name, value in settings.items())
    durable = f" {_AT_LEAST_ON};" if session.is_durable else ""
    return f"{first} SELECT {all_others};{since_17}{durable}"


def _set(name: str, value: str) -> str:
    doubled = value.replace("'", "''")
    return f"set_config('{name}', '{doubled}', true)"


async def is_lent(driver: "asyncpg.Connection[Any]", also: str = "") -> bool:
    """Tell whether a pooler lends this session: its process is not the one that was announced.

    Parameters:
        also: SQL to run before, in the same round trip.
    """
    pid = driver.get_server_pid()
    return await driver.execute(f"{also} SELECT 1 WHERE pg_backend_pid() = {pid}") == "SELECT 0"


if TYPE_CHECKING:
    _Connection = asyncpg.Connection[Any]
else:
    _Connection = asyncpg.Connection  # generic for type checkers only


class PooledConnection(_Connection):
    """The driver's connection, for a pooler; ``opening`` has to be set before its first use."""

    __slots__ = ("opening",)

    opening: str

    async def execute(self, query: str, *args: Any, timeout: float | None = None) -> str:
        """Run a script; what begins a transaction also makes its settings."""
        if not args and query.startswith("BEGIN"):
            isolated = query if "ISOLATION" in query else query.replace("BEGIN", _DEFAULT_ISOLATION)
            query = f"{isolated} {self.opening}"
        return await super().execute(query, *args, timeout=timeout)

    async def fetch(self, query: str, *args: Any, **options: Any) -> Any:
        """Return the rows of a statement."""
        async with self.transacting():
            return await super().fetch(query, *args, **options)

    async def fetchrow(self, query: str, *args: Any, **options: Any) -> Any:
        """Return the first row of a statement."""
        async with self.transacting():
            return await super().fetchrow(query, *args, **options)

    async def fetchval(self, query: str, *args: Any, **options: Any) -> Any:
        """Return the first value of a statement."""
        async with self.transacting():
            return await super().fetchval(query, *args, **options)

    async def executemany(self, command: str, args: Any, **options: Any) -> Any:
        """Run a statement for each of ``args``."""
        async with self.transacting():
            return await super().executemany(command, args, **options)

    async def set_type_codec(self, typename: str, **options: Any) -> Any:
        """Register a codec, whose type is looked up in the database."""
        async with self.transacting():
            return await super().set_type_codec(typename, **options)

    async def prepare(self, query: str, **options: Any) -> Any:
        """Return a statement that is prepared again each time it runs, in any session."""
        del options  # a name
        async with self.transacting():
            attributes = (await self.prepare_unnamed(query)).get_attributes()
        return _Statement(self, query, attributes)

    async def prepare_unnamed(self, query: str) -> Any:
        """Prepare a statement in the transaction at hand; the next one replaces it."""
        return await super().prepare(query, name="")

    @asynccontextmanager
    async def transacting(self) -> AsyncIterator[None]:
        """Be in a transaction inside the block: the one at hand, or one of its own."""
        if self.is_in_transaction():
            yield
            return
        async with self.transaction():
            yield


def is_pooled(driver: object) -> bool:
    """Whether this connection of the driver leads to a pooler.

    ``isinstance`` does not tell: for the driver's classes it says yes to each other's connections.
    """
    return type(driver) is PooledConnection


class _Statement:
    """A statement as SQLAlchemy uses it: it may keep it longer than the session that knew it."""

    def __init__(self, connection: PooledConnection, query: str, attributes: Any) -> None:
        self._connection = connection
        self._query = query
        self._attributes = attributes
        self._status = ""

    def get_attributes(self) -> Any:
        """Return the columns of its result."""
        return self._attributes

    def get_statusmsg(self) -> str:
        """Return what the server said of the last run, such as ``UPDATE 1``."""
        return self._status

    async def fetch(self, *values: Any) -> Any:
        """Run it, and return its rows."""
        async with self._connection.transacting():
            prepared = await self._connection.prepare_unnamed(self._query)
            rows = await prepared.fetch(*values)
        self._status = prepared.get_statusmsg()
        return rows

    async def cursor(self, *values: Any) -> Any:
        """Open a cursor in the transaction at hand."""
        return await (await self._connection.prepare_unnamed(self._query)).cursor(*values)


WITHOUT_CACHE: Final[Mapping[str, Any]] = {
    "connection_class": PooledConnection,
    "statement_cache_size": 0,
}
"""Arguments of the driver's ``connect``."""
