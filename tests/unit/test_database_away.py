"""What an error of the database means, the same in every process."""

import asyncpg
from sqlalchemy.exc import ArgumentError, DBAPIError, InvalidRequestError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as NoConnectionFree

from service_kit.database.away import DATABASE_AWAY, Cause, cause_of, describe, is_locked, sqlstate


def _driver(code: str) -> asyncpg.PostgresError:
    error = asyncpg.PostgresError("ada@example.org is refused")
    error.__dict__["sqlstate"] = code
    return error


def _wrapped(code: str) -> DBAPIError:
    return DBAPIError("INSERT", {"email": "ada@example.org"}, _driver(code))


def test_a_sqlstate_tells_who_is_at_fault() -> None:
    """It counts the same whether SQLAlchemy wraps the driver's error or not."""
    for cause, codes in (
        (Cause.TEXT, ("22021", "22P05")),
        (Cause.STATEMENT, ("22003", "23505", "42P01")),
        (Cause.DATABASE, ("57P01", "53300", "25006", "40001", "08006", "55P03")),
    ):
        for error in (wrap(code) for wrap in (_driver, _wrapped) for code in codes):
            assert cause_of(error) is cause, error
            assert sqlstate(error) in codes


def test_what_has_no_sqlstate_is_the_database_or_its_misuse() -> None:
    """Lost connections and a full pool pass; a wrong call of SQLAlchemy does not."""
    away = [
        asyncpg.InterfaceError("connection is closed"),
        asyncpg.InternalClientError("unexpected"),
        NoConnectionFree("QueuePool limit"),
        ConnectionRefusedError(),
        TimeoutError(),
    ]
    misused: tuple[SQLAlchemyError, ...]
    misused = ArgumentError("no such option"), InvalidRequestError("closed")

    assert {cause_of(error) for error in away} == {Cause.DATABASE}
    assert {cause_of(error) for error in misused} == {Cause.STATEMENT}
    assert all(isinstance(error, DATABASE_AWAY) for error in [*away, *misused])


def test_locks_and_deadlocks_are_other_sessions() -> None:
    """Both may pass when the statement is tried again."""
    locked = {code for code in ("55P03", "40P01", "57014", "40001") if is_locked(_wrapped(code))}
    assert locked == {"55P03", "40P01"}


def test_an_error_without_words_is_described_by_its_kind() -> None:
    assert describe(TimeoutError()) == "TimeoutError"
    assert describe(OSError(111, "Connection refused")) == "[Errno 111] Connection refused"
    assert "INSERT" not in describe(_wrapped("42P01"))
