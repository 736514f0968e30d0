"""Build a statement with SQLAlchemy once, and run it on the driver, past SQLAlchemy.

What SQLAlchemy does to execute a statement that is built takes several times as long as the driver
does, and the memory that it reads is not in the caches beside argon2. So the statements of the most
frequent requests are compiled once.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.sql import ClauseElement

from service_kit.database.alone import RowLike, fetch_alone
from service_kit.database.transactions import Transaction

_DIALECT: Final = PGDialect_asyncpg()  # type: ignore[no-untyped-call]

_NONE: Final[Mapping[str, object]] = MappingProxyType({})


class Statement:
    """A statement, compiled for the driver; make it once.

    Parameters:
        built: made with SQLAlchemy, or a text; its parameters are named.
    """

    def __init__(self, built: ClauseElement | str) -> None:
        whole = text(built) if isinstance(built, str) else built
        compiled: Any = whole.compile(dialect=_DIALECT)
        self.sql: Final = str(compiled)
        self._names: Final[Sequence[str]] = compiled.positiontup or ()
        self._constants: Final = {
            name: value
            for name, value in compiled.params.items()
            if not compiled.binds[name].required
        }

    def values(self, named: Mapping[str, object]) -> list[object]:
        """The values of $1, $2 and so on.

        Raises:
            KeyError: a parameter without a value.
        """
        known = {**self._constants, **named}
        return [known[name] for name in self._names]

    async def alone(
        self, engine: AsyncEngine, named: Mapping[str, object] = _NONE
    ) -> Sequence[RowLike]:
        """Run it as a transaction of its own; return its rows.

        Raises:
            Exception: the driver's errors, as they are.
        """
        return await fetch_alone(engine, self.sql, *self.values(named))

    async def on(
        self, connection: AsyncConnection | Transaction, named: Mapping[str, object] = _NONE
    ) -> Sequence[RowLike]:
        """Run it in the transaction of ``connection``; return its rows."""
        if isinstance(connection, Transaction):
            return await connection.fetch(self.sql, *self.values(named))
        done = await connection.exec_driver_sql(self.sql, tuple(self.values(named)))
        return done.mappings().all() if done.returns_rows else ()
