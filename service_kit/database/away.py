"""Tell why a database refused: it is away, another session holds a lock, or a statement is wrong.

The one place that knows which errors SQLAlchemy and the driver raise, and what they mean.
"""

from enum import Enum, auto
from typing import Final

import asyncpg
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as NoConnectionFree
from sqlalchemy.ext.asyncio import AsyncConnection

DRIVER_ERRORS: Final = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # the server ended an idle session, and nobody has read that yet
)
"""Errors of the driver where code uses it directly."""

DATABASE_ERRORS: Final = (SQLAlchemyError, *DRIVER_ERRORS)
"""Errors that only a database raises."""

DATABASE_AWAY: Final = (*DATABASE_ERRORS, OSError)
"""Errors that a worker meets when its database stops, restarts or refuses: wait and retry."""

UNSTORABLE_TEXT: Final = frozenset({"22021", "22P05"})
"""SQLSTATEs of a text that PostgreSQL cannot store, such as one with a NUL."""

LOCKED: Final = frozenset({"55P03", "40P01"})
"""SQLSTATEs of a wait for a lock that took too long, or that ended in a deadlock."""

NO_RIGHT: Final = "42501"
"""The SQLSTATE of a role without a right: the statement succeeds once the role has it."""

_STATEMENT_WRONG: Final = ("22", "23", "42")
"""SQLSTATE classes of a statement that fails again: data, integrity, syntax."""


class Cause(Enum):
    """What is at fault when the database refuses."""

    TEXT = auto()
    """The caller sent a text that cannot be stored."""
    STATEMENT = auto()
    """Our own code: the same statement fails again."""
    DATABASE = auto()
    """The database, or the way to it; a later try may succeed."""


class NotWritable(ConnectionError):
    """The database responds but takes no changes: it is a standby, or set to read-only."""


def cause_of(error: BaseException) -> Cause:
    """Tell what is at fault for one of ``DATABASE_AWAY``."""
    state = sqlstate(error)
    if state in UNSTORABLE_TEXT:
        return Cause.TEXT
    if (state.startswith(_STATEMENT_WRONG) and state != NO_RIGHT) or is_misuse(error):
        return Cause.STATEMENT
    return Cause.DATABASE


def sqlstate(error: BaseException) -> str:
    """The SQLSTATE of an error of SQLAlchemy or the driver; empty if it has none."""
    return getattr(getattr(error, "orig", error), "sqlstate", None) or ""


def is_locked(error: BaseException) -> bool:
    """Whether another session holds a lock that the statement needs."""
    return sqlstate(error) in LOCKED


def describe(error: BaseException) -> str:
    """The error in words for an operator."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    said = str(cause) or type(cause).__name__  # a time-out has no words of its own
    if sqlstate(error) == NO_RIGHT:
        return f"{said}, for the role of …_DATABASE_URL (docs/runbook.md, permission denied)"
    return said


def is_misuse(error: BaseException) -> bool:
    """Whether SQLAlchemy refused the call before the database saw it."""
    return isinstance(error, SQLAlchemyError) and not isinstance(
        error, DBAPIError | NoConnectionFree
    )


class DatabaseRefused(ConnectionError):
    """The way to the database is not as the address demands; the message names the remedy."""


IS_READ_ONLY: Final = "SELECT current_setting('transaction_read_only')::boolean AS is_it"


async def require_writable(connection: AsyncConnection) -> None:
    """Raise ``NotWritable`` unless transactions of this session may write."""
    if await connection.scalar(text(IS_READ_ONLY)):
        raise NotWritable
