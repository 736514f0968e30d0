"""Is the message at fault, or the world around it?"""

import asyncpg
from sqlalchemy.exc import DBAPIError, InvalidRequestError, PendingRollbackError
from sqlalchemy.exc import TimeoutError as NoConnectionFree

from contracts.events.envelope import Fault, Undecodable
from replica.inbox.faults import DeadLettered, Reason, describe, is_messages_fault, verdict
from replica.inbox.settle import DatabaseAway


def _from_postgres(error: Exception) -> DBAPIError:
    """``error`` of the driver in SQLAlchemy's two layers."""

    class Adapted(Exception):
        sqlstate = getattr(error, "sqlstate", None)

    adapted = Adapted(str(error))
    adapted.__cause__ = error
    return DBAPIError("INSERT", {"email": "ada@example.org"}, adapted)


def _sqlstate(code: str) -> DBAPIError:
    error = asyncpg.PostgresError("ada@example.org is refused")
    vars(error)["sqlstate"] = code  # the server's answer sets it the same way
    return _from_postgres(error)


def test_the_message_is_at_fault() -> None:
    """Its data is refused, it cannot be read, or our own code fails on it."""
    for error in (
        *(_sqlstate(code) for code in ("22000", "22003", "22021", "22P02", "22P05")),
        *(_sqlstate(code) for code in ("23502", "23505", "23514")),
        _from_postgres(asyncpg.DataError("invalid input for query argument $1")),
        Undecodable(Fault.INVALID_DATA, "email: missing"),
        *(DeadLettered(), KeyError("surprise"), ValueError("surprise"), ZeroDivisionError()),
    ):
        assert is_messages_fault(error), error


def test_the_world_is_at_fault() -> None:
    """A database that is away, read-only, full, locked, busy or not migrated yet is waited for."""
    for error in (
        *(_sqlstate(code) for code in ("08003", "08006", "57P01", "57P02", "57P03", "57014")),
        *(_sqlstate(code) for code in ("25006", "25P03", "53100", "53200", "53300", "55P03")),
        *(_sqlstate(code) for code in ("40001", "40P01", "42703", "42P01", "42501", "3D000")),
        *(_sqlstate(code) for code in ("28P01", "58030", "XX000", "")),
        _from_postgres(asyncpg.InterfaceError("connection is closed")),
        *(NoConnectionFree("pool"), PendingRollbackError(), InvalidRequestError()),
        *(ConnectionRefusedError(), FileNotFoundError(), TimeoutError(), DatabaseAway()),
    ):
        assert not is_messages_fault(error), error


def test_a_verdict_has_a_stable_reason() -> None:
    for error, reason in (
        (Undecodable(Fault.UNKNOWN_SCHEMA, "urn"), Fault.UNKNOWN_SCHEMA),
        (DeadLettered(), Reason.DEAD_LETTERED),
        (_sqlstate("23514"), Reason.NOT_APPLICABLE),
        (KeyError("surprise"), Reason.NOT_APPLICABLE),
    ):
        assert verdict(error).reason == reason, error


def test_a_description_quotes_no_data() -> None:
    """What an error says may hold an e-mail address; its kind does not."""
    for error in (
        _sqlstate("23505"),
        KeyError("ada@example.org"),
        _from_postgres(ValueError("ada@example.org")),
    ):
        assert describe(error), error
        assert "ada" not in describe(error), error


def test_a_description_names_kind_sqlstate_and_constraint() -> None:
    """An operator can tell from it which rule was broken."""
    error = asyncpg.CheckViolationError("ada@example.org")
    error.constraint_name = "users_tombstone_check"
    assert describe(_from_postgres(error)) == "CheckViolationError 23514 users_tombstone_check"
