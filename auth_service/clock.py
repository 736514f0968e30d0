"""SQL expressions for versions and for ``tokens_valid_after``, by PostgreSQL's clock.

For the tables of users and service accounts, whose rows are locked when they are evaluated.
"""

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import BigInteger, Column, ColumnElement, DateTime, case, func, literal_column

from service_kit.process.clock import AHEAD_SECONDS_MAX

VERSION_NOW: Final[ColumnElement[int]] = literal_column(
    "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint", BigInteger
)
"""Microseconds of the clock: a database restored from a backup continues above its past."""

_AHEAD_MAX: Final = timedelta(seconds=AHEAD_SECONDS_MAX)
"""How far ahead a ``tokens_valid_after`` may be that an accurate clock has set."""

_SECOND: Final[ColumnElement[timedelta]] = literal_column("interval '1 second'")


def next_version(version: Column[int]) -> ColumnElement[int]:
    """The version of a change, assigned while the row is locked: two changes never share one."""
    return func.greatest(version + 1, VERSION_NOW)


def valid_from_now(valid_after: Column[datetime]) -> ColumnElement[datetime]:
    """The next whole second: ``iat`` has whole seconds, so a token of this one may be older.

    A token issued since the last revocation has that revocation's second as ``iat``. So another
    revocation within the same second must go beyond it, except beyond one that was made before the
    clock was set back (``docs/decisions/0036-a-clock-that-was-set-back.md``).
    """
    is_accurate = valid_after <= func.clock_timestamp() + _AHEAD_MAX
    return func.greatest(
        func.date_trunc("second", func.clock_timestamp()) + _SECOND,
        case((is_accurate, valid_after + _SECOND)),
        type_=DateTime(timezone=True),
    )
