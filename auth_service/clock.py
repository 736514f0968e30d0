"""Versions, and the second from which tokens count: by PostgreSQL's clock, under a row's lock.

SQL expressions alone, for the tables whose rows have them: users and service accounts.
"""

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import BigInteger, Column, ColumnElement, DateTime, case, func, literal_column

from service_kit.process.clock import AHEAD_SECONDS_MAX

VERSION_NOW: Final[ColumnElement[int]] = literal_column(
    "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint", BigInteger
)
"""Microseconds of the clock: a database restored from a backup starts above its past."""

_AHEAD_MAX: Final = timedelta(seconds=AHEAD_SECONDS_MAX)
"""How far ahead a ``tokens_valid_after`` may be that an accurate clock has set."""

_SECOND: Final[ColumnElement[timedelta]] = literal_column("interval '1 second'")


def next_version(version: Column[int]) -> ColumnElement[int]:
    """The version of a change; assigned while the row is locked, so two changes never share one."""
    return func.greatest(version + 1, VERSION_NOW)


def valid_from_now(valid_after: Column[datetime]) -> ColumnElement[datetime]:
    """The next whole second, for ``iat`` counts seconds: a token of this one may be of before.

    A token issued since the last move carries that move's second, so a further move within the same
    second has to go beyond it; but not beyond one that was made before the clock was set back
    (``docs/decisions/0036-a-clock-that-was-set-back.md``).
    """
    is_kept = valid_after <= func.clock_timestamp() + _AHEAD_MAX
    return func.greatest(
        func.date_trunc("second", func.clock_timestamp()) + _SECOND,
        case((is_kept, valid_after + _SECOND)),
        type_=DateTime(timezone=True),
    )
