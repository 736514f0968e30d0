"""Delay attempts to guess an account's password from one network, without locking the account.

Guarantees:
- An attempt is counted before its password is checked, so that a hundred at once count as a
  hundred. A refused attempt counts nothing and prolongs nothing.
- From one network, an account's first attempts are free. Each later one must wait twice as long as
  the one before, up to a limit. A success resets the count.
- Attempts from elsewhere never delay the owner on a network where they signed in before:
  ``limit_account_failures`` counts failures from all other networks, and applies only there.
- An account is any text that was typed: nothing here knows whether it exists.

Not here: a defence against others on the owner's own network, who can delay them there (and nowhere
else) while their attempts continue.
"""

from dataclasses import dataclass
from typing import Final

import structlog
from sqlalchemy import column, literal_column, select, text

from auth_service.settings import ApiSettings
from auth_service.throttle.model import Charge, delays
from auth_service.throttle.network import network_charges
from auth_service.throttle.throttle import (
    FROM_SPENT,
    REFUND,
    SPENT,
    Throttle,
    TooManyRequests,
    spending,
)
from service_kit.database.alone import RowLike
from service_kit.database.away import DATABASE_AWAY
from service_kit.database.sessions import NO_WAIT
from service_kit.database.statements import Statement
from service_kit.http.rate_limits import rate_limit_headers
from service_kit.process.clock import AHEAD_SQL

log = structlog.get_logger()

KNOWN_DAYS: Final = 90
"""How long a network stays known: longer than any session, after which users sign in again."""

DELAY: Final = "signin_delay"

# Parallel attempts queue for the row, and each sees the block that the one before has set. After
# the free ones, each failure in a row blocks for the next delay, or the last one; before the first
# delay there is NULL. NULL blocks nothing; neither does a block longer than the last delay, which a
# clock that was set back has left. The wait is computed from the present clock, because a block may
# have been set after this statement's `now()`.
_COUNTING: Final = f"""
    rules AS (
        SELECT CAST(:delays AS integer[]) AS delays, CAST(:free AS integer) AS free,
               :memory * interval '1 second' AS memory
    ), counted AS (
        INSERT INTO throttle_failures AS failures (key, count, blocked_until, forgotten_at)
        SELECT CAST(:key AS bytea), 1, blocked_until, coalesce(blocked_until, now()) + memory
        FROM rules,
            LATERAL (
                SELECT now() + delays[1 - free + 1] * interval '1 second' AS blocked_until
            ) AS blocking
        ON CONFLICT (key) DO UPDATE SET (count, blocked_until, forgotten_at) = (
            SELECT n, blocked_until, coalesce(blocked_until, now()) + memory
            FROM rules,
                LATERAL (
                    SELECT CASE WHEN failures.forgotten_at <= now() THEN 1
                                ELSE failures.count + 1 END AS n
                ) AS counting,
                LATERAL (
                    SELECT now() + delays[least(n - free + 1, cardinality(delays))]
                        * interval '1 second' AS blocked_until
                ) AS blocking
        )
        WHERE failures.blocked_until IS NULL OR failures.blocked_until <= now()
            OR failures.blocked_until > now() + {AHEAD_SQL}
                + (SELECT delays[cardinality(delays)] FROM rules) * interval '1 second'
        RETURNING key
    ), network AS (
        SELECT EXISTS (
            SELECT FROM throttle_known_networks WHERE key = :key AND forgotten_at > now()
        ) AS is_known
    )
"""  # noqa: S608 - made of a constant

# In a known network the last charge, the account's, does not apply.
_SPENDING: Final = spending(
    which="place < cardinality(:keys) OR NOT (SELECT is_known FROM network)",
    condition="EXISTS (SELECT FROM counted)",
)


def attempting(beside: str) -> Statement:
    """Build the statement of ``begin_attempt``; make it once.

    What is counted is spent by the same statement. All statements lock the row of failures first,
    then those of rates, then that of the known network, so that none waits for another in a circle.

    Parameters:
        beside: a SELECT of at most one row, which is read for any account and on any verdict.
    """
    return Statement(
        f"""
        WITH {_COUNTING}, {_SPENDING} {SPENT},
               EXISTS (SELECT FROM counted) AS is_counted,
               (SELECT is_known FROM network) AS is_known,
               (SELECT CAST(extract(epoch FROM blocked_until - clock_timestamp()) AS float)
                FROM throttle_failures WHERE key = :key) AS wait_seconds,
               beside.*
        {FROM_SPENT} LEFT JOIN ({beside}) AS beside ON TRUE ORDER BY place
        """  # noqa: S608 - made of constants
    )


_UNCOUNT: Final = Statement(
    "UPDATE throttle_failures SET count = count - 1, blocked_until = NULL WHERE key = :key"
)

_FORGET: Final = "DELETE FROM throttle_failures WHERE key = :key RETURNING key"

_FORGOTTEN: Final = "(SELECT count(*) >= 0 FROM forgotten)"
"""Always true, once the row of failures is gone."""

# Renewing a known network once a day is enough.
_REMEMBER: Final = """
    INSERT INTO throttle_known_networks AS known (key, forgotten_at)
    SELECT CAST(:key AS bytea), now() + :days * interval '1 day' WHERE {condition}
    ON CONFLICT (key) DO UPDATE SET forgotten_at = excluded.forgotten_at
    WHERE known.forgotten_at < excluded.forgotten_at - interval '1 day'
"""

_SUCCEED: Final = Statement(
    f"""
    WITH forgotten AS ({_FORGET}), refunded AS (
        {REFUND.format(condition=_FORGOTTEN)} RETURNING rates.key
    ), remembered AS (
        {_REMEMBER.format(condition="(SELECT count(*) >= 0 FROM refunded)")} RETURNING known.key
    )
    SELECT {NO_WAIT}, (SELECT count(*) FROM remembered)
    """  # noqa: S608 - made of constants
)

_REMEMBER_OWNER: Final = f"{_REMEMBER.format(condition=_FORGOTTEN)} RETURNING known.key"

REMEMBERING: Final = tuple(
    text(sql).columns(column("key")).cte(name)
    for name, sql in (("forgotten", _FORGET), ("remembered", _REMEMBER_OWNER))
)
"""What ``remember_network`` does, to be added to a statement; its parameters are those of a
``KnownNetwork``."""

_REMEMBER_ALONE: Final = Statement(select(literal_column("1")).add_cte(*REMEMBERING))


@dataclass(frozen=True, slots=True)
class Attempt:
    """An attempt, which counts as a failure until it succeeds or is withdrawn.

    Parameters:
        headers: for the response.
        from_known_network: whether the owner signed in from this network before.
        beside: the row that was read beside it; without one, its columns are None.
    """

    key: bytes
    charges: tuple[Charge, ...]
    headers: dict[str, str]
    from_known_network: bool
    beside: RowLike


async def begin_attempt(
    throttle: Throttle,
    settings: ApiSettings,
    statement: Statement,
    *,
    account: str,
    network: str,
    **values: object,
) -> Attempt:
    """Count an attempt as a failure against all limits of failures, or against none.

    Parameters:
        statement: made by ``attempting``.
        values: the parameters of its SELECT.

    Raises:
        TooManyRequests: the attempt must wait, or a limit of the network or the account is spent.
    """
    key = throttle.key("signin", network, account)
    attempts = network_charges("signin", network, settings.limit_signin)
    failures = [
        *network_charges("signin_failures", network, settings.limit_signin_failures),
        Charge("account_failures", account, settings.limit_account_failures),  # the last one
    ]
    rules = {
        "delays": delays(settings.signin_delay_seconds_max),
        "free": settings.signin_failures_free,
        "memory": settings.signin_memory_seconds,
    }
    await throttle.clean_occasionally()
    charges = [*attempts, *failures]
    rows = await throttle.run(
        statement, {"key": key, **rules, **throttle.arrays(charges), **values}
    )
    found = rows[0]
    if not found["is_counted"]:
        # The block may be newer than the statement's view of the table, and so unknown to it.
        raise _too_early(settings, max(found["wait_seconds"] or 0, 1.0))
    if found["is_known"]:
        failures.pop()
    try:
        headers = await throttle.settle([*attempts, *failures], rows)
    except TooManyRequests:
        await throttle.run(_UNCOUNT, {"key": key})
        raise
    return Attempt(key, tuple(failures), headers, found["is_known"], found)


async def record_success(throttle: Throttle, attempt: Attempt) -> None:
    """The password was right: reset the failures and remember the network."""
    values = {"key": attempt.key, "days": KNOWN_DAYS, **throttle.arrays(attempt.charges)}
    await throttle.run(_SUCCEED, values)


async def withdraw_attempt(throttle: Throttle, attempt: Attempt) -> None:
    """Undo an attempt whose password was not checked."""
    await throttle.run(_UNCOUNT, {"key": attempt.key})
    await throttle.refund(*attempt.charges)


@dataclass(frozen=True, slots=True)
class KnownNetwork:
    """A network on which an account's owner has just proved who they are."""

    throttle: Throttle
    network: str

    def parameters(self, account: str) -> dict[str, object]:
        """The parameters of ``REMEMBERING``."""
        return {"key": self.throttle.key("signin", self.network, account), "days": KNOWN_DAYS}


async def remember_network(throttle: Throttle, *, account: str, network: str) -> None:
    """Remember a network on which the account's owner has just proved who they are.

    As after a sign-in. This runs after the proof was committed, so a failure is only logged: the
    owner then waits like anybody else.
    """
    try:
        await throttle.run(_REMEMBER_ALONE, KnownNetwork(throttle, network).parameters(account))
    except DATABASE_AWAY as error:
        log.warning("throttle.network_not_recorded", error=type(error).__name__)


def _too_early(settings: ApiSettings, wait_seconds: float) -> TooManyRequests:
    log.warning("excess_rate_limit_exceeded", limits=[DELAY])
    return TooManyRequests(
        [DELAY],
        rate_limit_headers(
            DELAY,
            quota=settings.signin_failures_free,
            window_seconds=settings.signin_memory_seconds,
            remaining=0,
            reset_seconds=wait_seconds,
            retry_after_seconds=wait_seconds,
        ),
    )
