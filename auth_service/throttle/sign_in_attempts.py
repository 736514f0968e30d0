"""Tries of a password for an account from a network: delayed, never locked.

Guarantees:
- A try is counted before its password is looked at, so that a hundred at once count as a hundred;
  one that is refused counts nothing and prolongs nothing.
- From one network, an account's first tries are free; after that each has to wait, for twice as
  long each time, up to a limit. A success forgets them.
- What others do elsewhere never delays the owner at a network where he signed in before: the cap on
  an account's failures is for all other networks.
- An account is a text that somebody typed: nothing here knows whether it exists.

Not here: a defence against others in the owner's own network, who can delay him there (and nowhere
else) for as long as they go on.
"""

from dataclasses import dataclass
from typing import Final

import structlog
from sqlalchemy import text

from auth_service.settings import ApiSettings
from auth_service.throttle.model import Charge, delays
from auth_service.throttle.network import network_charges
from auth_service.throttle.throttle import NO_WAIT, REFUND, Throttle, TooManyRequests
from service_kit.database.away import DATABASE_AWAY
from service_kit.http.rate_limits import rate_limit_headers
from service_kit.process.clock import AHEAD_SQL

log = structlog.get_logger()

KNOWN_DAYS: Final = 90
"""How long a network stays known: longer than any session lasts, after which one signs in again."""

DELAY: Final = "signin_delay"

# Parallel tries stand in line for the row, and each sees the block that the one before it set. The
# n-th failure in a row blocks for the n-th delay, or the last one; NULL blocks nothing, nor does a
# block that is longer than the last delay: the clock was set back. The wait is told by the clock of
# the moment: a block may have been set after this statement's `now()`.
_COUNT: Final = text(
    f"""
    WITH rules AS (
        SELECT CAST(:delays AS integer[]) AS delays, :memory * interval '1 second' AS memory
    ), counted AS (
        INSERT INTO throttle_failures AS failures (key, count, blocked_until, forgotten_at)
        SELECT CAST(:key AS bytea), 1, blocked_until, coalesce(blocked_until, now()) + memory
        FROM rules,
            LATERAL (SELECT now() + delays[1] * interval '1 second' AS blocked_until) AS blocking
        ON CONFLICT (key) DO UPDATE SET (count, blocked_until, forgotten_at) = (
            SELECT n, blocked_until, coalesce(blocked_until, now()) + memory
            FROM rules,
                LATERAL (
                    SELECT CASE WHEN failures.forgotten_at <= now() THEN 1
                                ELSE failures.count + 1 END AS n
                ) AS counting,
                LATERAL (
                    SELECT now() + delays[least(n, cardinality(delays))] * interval '1 second'
                        AS blocked_until
                ) AS blocking
        )
        WHERE failures.blocked_until IS NULL OR failures.blocked_until <= now()
            OR failures.blocked_until > now() + {AHEAD_SQL}
                + (SELECT delays[cardinality(delays)] FROM rules) * interval '1 second'
        RETURNING key
    )
    SELECT EXISTS (SELECT FROM counted) AS is_counted,
           EXISTS (
               SELECT FROM throttle_known_networks WHERE key = :key AND forgotten_at > now()
           ) AS is_known,
           (SELECT extract(epoch FROM blocked_until - clock_timestamp())
            FROM throttle_failures WHERE key = :key) AS wait_seconds,
           {NO_WAIT}
    """  # noqa: S608 - made of a constant
)

_UNCOUNT: Final = text(
    "UPDATE throttle_failures SET count = count - 1, blocked_until = NULL WHERE key = :key"
)

# Once a day is often enough to say that a network is still known.
_KNOW: Final = """
    INSERT INTO throttle_known_networks AS known (key, forgotten_at)
    VALUES (:key, now() + :days * interval '1 day')
    ON CONFLICT (key) DO UPDATE SET forgotten_at = excluded.forgotten_at
    WHERE known.forgotten_at < excluded.forgotten_at - interval '1 day'
"""

_SUCCEED: Final = text(
    f"""
    WITH forgotten AS (DELETE FROM throttle_failures WHERE key = :key), known AS ({_KNOW})
    {REFUND}
    """  # noqa: S608 - made of constants
)


_WELCOME: Final = text(
    f"WITH forgotten AS (DELETE FROM throttle_failures WHERE key = :key) {_KNOW}"  # noqa: S608 - made of constants
)


@dataclass(frozen=True, slots=True)
class Attempt:
    """A try that counts as a failure, until ``succeed`` or ``take_back`` says otherwise.

    ``headers`` are for the answer; ``is_known`` tells whether the owner was seen at the network.
    """

    key: bytes
    charges: tuple[Charge, ...]
    headers: dict[str, str]
    is_known: bool


async def begin_attempt(
    throttle: Throttle, settings: ApiSettings, *, account: str, network: str
) -> Attempt:
    """Count a try as a failure, in every way in which failures are limited; all of it or nothing.

    Raises:
        TooManyRequests: it has to wait, or a limit of the network or the account is spent.
    """
    key = throttle.key("signin", network, account)
    tried = network_charges("signin", network, settings.limit_signin)
    failed = [
        *network_charges("signin_failures", network, settings.limit_signin_failures),
        Charge("account_failures", account, settings.limit_account_failures),  # the last one
    ]
    rules = {
        "delays": delays(settings.signin_failures_free, settings.signin_delay_seconds_max),
        "memory": settings.signin_memory_seconds,
    }
    async with throttle.connect() as connection:
        found = (await connection.execute(_COUNT, {"key": key, **rules})).one()
        if not found.is_counted:
            # The block may be younger than what this statement saw of the table, and unknown to it.
            raise _too_early(settings, max(float(found.wait_seconds or 0), 1.0))
        if found.is_known:
            failed.pop()
        try:
            headers = await throttle.spend_on(connection, *tried, *failed)
        except TooManyRequests:
            await connection.execute(_UNCOUNT, {"key": key})
            raise
    return Attempt(key, tuple(failed), headers, found.is_known)


async def record_success(throttle: Throttle, tried: Attempt) -> None:
    """The password was right: forget the failures, and know the network from now on."""
    values = {"key": tried.key, "days": KNOWN_DAYS, **throttle.arrays(tried.charges)}
    async with throttle.connect() as connection:
        await connection.execute(_SUCCEED, values)


async def withdraw_attempt(throttle: Throttle, tried: Attempt) -> None:
    """No password was looked at: as if the try had never been made."""
    async with throttle.connect() as connection:
        await connection.execute(_UNCOUNT, {"key": tried.key})
        await throttle.refund_on(connection, *tried.charges)


async def remember_network(throttle: Throttle, *, account: str, network: str) -> None:
    """Know a network where somebody has just proved to be the account's owner.

    As if he had signed in there. It is done after what proved it was committed, and so it is no
    reason to fail: without it he only waits like anybody.
    """
    values = {"key": throttle.key("signin", network, account), "days": KNOWN_DAYS}
    try:
        async with throttle.connect() as connection:
            await connection.execute(_WELCOME, values)
    except DATABASE_AWAY as error:
        log.warning("throttle.not_known", error=type(error).__name__)


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
