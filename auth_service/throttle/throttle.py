"""Spend from rates in PostgreSQL, so that all instances of the API share them.

Guarantees: one statement decides and spends, and decides again under each row's lock, so that no
crowd of parallel requests exceeds a limit. Rows are locked in the same order, so that requests
never deadlock. Keys are keyed hashes, so that the table holds neither network nor e-mail addresses.
The clock is PostgreSQL's. Outdated rows are deleted from time to time. A row further in the future
than its limit can last, which a clock that was set back has left, counts as outdated.

Changing a rate or the secret resets what was spent.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from auth_service.secrets import Secrets
from auth_service.throttle.model import Balance, Charge, headers
from service_kit.database.alone import RowLike
from service_kit.database.sessions import NO_WAIT
from service_kit.database.statements import Statement
from service_kit.http.problems import Problem
from service_kit.http.rate_limits import too_many_requests
from service_kit.process.clock import AHEAD_SQL

log = structlog.get_logger()

CLEAN_EVERY: Final = 100
"""Charging requests between two deletions of outdated rows."""

CLEANED_MAX: Final = 1_000
"""Rows deleted from a table at once: more than are added in between, within milliseconds."""

# When everything spent has returned. A time beyond what the limit can last, plus what another
# transaction may be ahead of this one, was set by a clock that was set back since.
_EMPTY_AT: Final = (
    f"CASE WHEN rates.empty_at <= now() + {{size}} + {AHEAD_SQL}"
    " THEN greatest(rates.empty_at, now()) ELSE now() END"
)
_SIZE: Final = "(SELECT size FROM charges WHERE charges.key = excluded.key)"

# A unit is spent if it fits; `now()` is the statement's, which is a transaction of its own. If
# another request changes a row in the meantime, the second WHERE checks it again. A charge may
# therefore be refused there after others were spent, which are then refunded.
_SPENDING: Final = f"""
    charges AS (
        SELECT key, unit * interval '1 microsecond' AS unit,
               size * interval '1 microsecond' AS size, place
        FROM unnest(CAST(:keys AS bytea[]), CAST(:units AS bigint[]), CAST(:sizes AS bigint[]))
            WITH ORDINALITY AS charges (key, unit, size, place)
        WHERE {{which}}
    ), seen AS (
        SELECT place, key, size, known.empty_at, known.empty_at + unit <= now() + size AS fits
        FROM charges LEFT JOIN throttle_rates AS rates USING (key),
            LATERAL (SELECT {_EMPTY_AT.format(size="size")} AS empty_at) AS known
    ), spent AS (
        INSERT INTO throttle_rates AS rates (key, empty_at)
        SELECT key, now() + unit FROM charges
        WHERE {{condition}} AND (SELECT bool_and(fits) FROM seen)
        ORDER BY key
        ON CONFLICT (key) DO UPDATE
        SET empty_at = {_EMPTY_AT.format(size=_SIZE)} + (excluded.empty_at - now())
        WHERE {_EMPTY_AT.format(size=_SIZE)} + (excluded.empty_at - now()) <= now() + {_SIZE}
        RETURNING key, empty_at
    )
"""  # noqa: S608 - made of a constant

SPENT: Final = f"""
    SELECT seen.fits AND (spent.key IS NOT NULL OR NOT (SELECT bool_and(fits) FROM seen)) AS fits,
           spent.key IS NOT NULL AS is_spent,
           CAST(extract(epoch FROM least(coalesce(spent.empty_at, seen.empty_at) - now(), size))
               * 1000000 AS bigint) AS out_us,
           {NO_WAIT}
"""  # noqa: S608 - made of a constant
"""SQL that selects what ``Throttle.settle`` reads from ``FROM_SPENT``: a row for each charge, which
``place`` puts in order."""

FROM_SPENT: Final = "FROM seen LEFT JOIN spent USING (key)"


def spending(*, which: str = "TRUE", condition: str = "TRUE") -> str:
    """SQL of the tables ``charges``, ``seen`` and ``spent``, which spend all charges or none.

    Parameters:
        which: SQL that is true for a charge that counts; ``place`` is its number, from 1.
        condition: SQL that must be true, or nothing is spent. It is evaluated before any row of
            ``throttle_rates`` is locked.
    """
    return _SPENDING.format(which=which, condition=condition)


_SPEND: Final = Statement(f"WITH {spending()} {SPENT} {FROM_SPENT} ORDER BY place")

# The planner knows the length of a parameter, but not of what a SELECT returns: with the length, it
# would find a plan of its own for each execution, which takes longer than executing it.
REFUND: Final = """
    UPDATE throttle_rates AS rates SET empty_at = rates.empty_at - unit * interval '1 microsecond'
    FROM (
        SELECT key, unit
        FROM unnest((SELECT CAST(:keys AS bytea[])), (SELECT CAST(:units AS bigint[])))
                AS charges (key, unit)
            JOIN throttle_rates USING (key)
        WHERE {condition}
        ORDER BY key
        FOR UPDATE OF throttle_rates
    ) AS locked
    WHERE rates.key = locked.key
"""
"""SQL that returns ``units`` of ``keys``."""

_REFUND: Final = Statement(REFUND.format(condition="TRUE"))


def _clean(table: str, outdated_at: str) -> Statement:
    return Statement(
        f"""
        DELETE FROM {table} WHERE key IN (
            SELECT key FROM {table} WHERE {outdated_at} < now()
            ORDER BY {outdated_at} LIMIT {CLEANED_MAX} FOR UPDATE SKIP LOCKED
        )
        """  # noqa: S608 - made of constant names
    )


_CLEAN: Final = (
    _clean("throttle_rates", "empty_at"),
    _clean("throttle_failures", "forgotten_at"),
    _clean("throttle_known_networks", "forgotten_at"),
)


class TooManyRequests(Exception):
    """A limit is spent; the response is 429 with ``headers``."""

    def __init__(self, names: list[str], headers: dict[str, str]) -> None:
        super().__init__(", ".join(names))
        self.names = names
        self.headers = headers

    def problem(self) -> Problem:
        """The problem of the response."""
        return too_many_requests(self.names, self.headers)


class Throttle:
    """The limits of this service."""

    def __init__(self, engine: AsyncEngine, secrets: Secrets) -> None:
        self._engine = engine
        self._secrets = secrets
        self._calls = 0

    def key(self, *of: str) -> bytes:
        """The keyed hash of ``of`` for the tables."""
        return self._secrets.mac("throttle", "\0".join(of).encode())

    async def spend(self, *charges: Charge) -> dict[str, str]:
        """Spend all charges, or none if one limit is spent.

        Parameters:
            charges: of different limits.

        Returns:
            The headers for the response (``RateLimit``, ``RateLimit-Policy``).

        Raises:
            TooManyRequests: a limit is spent.
        """
        await self.clean_occasionally()
        return await self.settle(charges, await self.run(_SPEND, self.arrays(charges)))

    async def run(self, statement: Statement, values: Mapping[str, object]) -> Sequence[RowLike]:
        """Run ``statement`` as a transaction of its own; return its rows."""
        return await statement.alone(self._engine, values)

    async def settle(self, charges: Sequence[Charge], rows: Sequence[RowLike]) -> dict[str, str]:
        """Return or raise what ``spend`` does, given the ``rows`` of ``SPENT`` for ``charges``."""
        found = list(zip(charges, rows, strict=True))
        spent = [charge for charge, row in found if row["is_spent"]]
        if spent and len(spent) < len(charges):
            await self.refund(*spent)
        balances = [Balance(charge, row["fits"], row["out_us"]) for charge, row in found]
        violated = [balance.charge.name for balance in balances if not balance.fits]
        if violated:
            log.warning("excess_rate_limit_exceeded", limits=violated)
            raise TooManyRequests(violated, headers(balances))
        return headers(balances)

    async def refund(self, *charges: Charge) -> None:
        """Refund spent charges that turned out not to count."""
        await self.run(_REFUND, self.arrays(charges))

    def arrays(self, charges: Sequence[Charge]) -> dict[str, Any]:
        """The statement parameters for ``charges``."""
        return {
            # Includes the rate: units spent at another rate may take longer to return.
            "keys": [self.key(charge.name, charge.who, str(charge.rate)) for charge in charges],
            "units": [charge.rate.unit_us for charge in charges],
            "sizes": [charge.rate.window_us for charge in charges],
        }

    async def clean_occasionally(self) -> None:
        """Delete outdated rows, once in ``CLEAN_EVERY`` calls."""
        self._calls += 1
        if self._calls % CLEAN_EVERY == 0:
            for statement in _CLEAN:
                await self.run(statement, {})
