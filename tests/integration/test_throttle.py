"""Limits in PostgreSQL: what is spent, shared and reset. Time passes by moving the rows."""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterable
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncEngine

from auth_service.secrets import Secrets
from auth_service.settings import ApiSettings, DatabaseSettings
from auth_service.throttle import sign_in_attempts as attempts
from auth_service.throttle.model import Charge
from auth_service.throttle.sign_in_attempts import Attempt
from auth_service.throttle.throttle import CLEAN_EVERY, Throttle, TooManyRequests
from service_kit.database.engines import pooled
from service_kit.process.rates import Rate
from tests.support.builders import SOURCE
from tests.support.inbox import execute, fetch
from tests.support.locks import until_waiting
from tests.support.statements import statements

SECRETS = Secrets(b"a secret of thirty-two characters")
HOME, ELSEWHERE = "192.0.2.1", "198.51.100.7"
ADA = "ada@example.org"
ATTEMPT = attempts.attempting("SELECT 1")

TIME_COLUMNS = {
    "throttle_rates": ("empty_at",),
    "throttle_failures": ("blocked_until", "forgotten_at"),
    "throttle_known_networks": ("forgotten_at",),
}


async def how_many_pass(spend: Iterable[Coroutine[Any, Any, object]]) -> int:
    """Count the concurrent requests that are not refused."""
    results = await asyncio.gather(*spend, return_exceptions=True)
    assert {type(result) for result in results} <= {dict, Attempt, TooManyRequests}, results
    return sum(not isinstance(result, Exception) for result in results)


@dataclass(frozen=True)
class Limits:
    """Limits in a database.

    Parameters:
        here: limits as one process sees them.
        there: the same in another process, as it were; it waits long for a row.
    """

    engine: AsyncEngine
    here: Throttle
    there: Throttle

    async def spend(self, *charges: Charge) -> dict[str, str]:
        return dict(await self.here.spend(*charges))

    async def refused(self, *charges: Charge) -> TooManyRequests:
        with pytest.raises(TooManyRequests) as caught:
            await self.spend(*charges)
        return caught.value

    async def passes(self, seconds: float) -> None:
        """Move all rows this many seconds into the past."""
        await execute(
            self.engine,
            *(
                f"UPDATE {table} SET {column} = {column} - interval '{seconds} s'"
                for table, columns in TIME_COLUMNS.items()
                for column in columns
            ),
        )

    async def while_all_wait(self, locked: Charge, *charges: Charge) -> int:
        """Count those that pass of eight requests that all read a row before it is unlocked."""
        async with self.engine.connect() as holder:
            lock = "SELECT FROM throttle_rates WHERE key = ANY(CAST(:keys AS bytea[])) FOR UPDATE"
            await holder.execute(text(lock), {"keys": self.here.arrays([locked])["keys"]})
            spend = (self.there.spend(*charges) for _ in range(8))
            passing = asyncio.create_task(how_many_pass(spend))
            await until_waiting(self.engine, 8)
            await holder.rollback()
        return await passing

    async def rows(self, table: str) -> list[Row[Any]]:
        return await fetch(self.engine, f"SELECT *, {table}::text AS whole FROM {table}")


@pytest.fixture
async def limits(auth_url: str, auth_engine: AsyncEngine) -> AsyncIterator[Limits]:
    settings = DatabaseSettings(
        database_url=auth_url, lock_timeout_ms=60_000, statement_timeout_ms=60_000
    )
    engine = pooled(settings)
    yield Limits(auth_engine, Throttle(auth_engine, SECRETS), Throttle(engine, SECRETS))
    await engine.dispose()


@pytest.fixture
def settings(auth_url: str) -> ApiSettings:
    """Three free attempts, delays up to 8 s, and limits that are hard to reach."""
    return ApiSettings(
        _env_file=None,
        database_url=auth_url,
        issuer=SOURCE,
        secret=SecretStr("a secret of thirty-two characters"),
        limit_signin=Rate(1000, 60),
        limit_signin_failures=Rate(1000, 60),
        limit_account_failures=Rate(1000, 3600),
        signin_failures_free=3,
        signin_delay_seconds_max=8,
        signin_memory_seconds=3600,
    )


@dataclass(frozen=True)
class Tries:
    """Attempts to sign in to Ada's account from home, unless a test says otherwise."""

    limits: Limits
    throttle: Throttle
    settings: ApiSettings

    def elsewhere(self) -> "Tries":
        """Attempts at another process."""
        return replace(self, throttle=self.limits.there)

    def having(self, **changes: object) -> "Tries":
        return replace(self, settings=self.settings.model_copy(update=changes))

    async def begin(self, network: str = HOME, account: str = ADA) -> Attempt:
        return await attempts.begin_attempt(
            self.throttle, self.settings, ATTEMPT, account=account, network=network
        )

    async def succeed(self, network: str = HOME, account: str = ADA) -> None:
        await attempts.record_success(self.throttle, await self.begin(network, account))

    async def refused(self, network: str = HOME, account: str = ADA) -> TooManyRequests:
        with pytest.raises(TooManyRequests) as caught:
            await self.begin(network, account)
        return caught.value


@pytest.fixture
def tries(limits: Limits, settings: ApiSettings) -> Tries:
    return Tries(limits, limits.here, settings)


class TestSpending:
    async def test_a_quota_is_spent_and_comes_back(self, limits: Limits) -> None:
        """All of it at once, then a unit every twenty seconds; a refusal spends nothing."""
        charge = Charge("signup", HOME, Rate(3, 60))
        spent = [await limits.spend(charge) for _ in range(3)]
        refusals = [await limits.refused(charge) for _ in range(5)]
        await limits.passes(21)
        later = await limits.spend(charge)
        await limits.refused(charge)
        await limits.passes(3600)
        much_later = await limits.spend(charge)

        shown = [headers["RateLimit"] for headers in spent]
        assert shown == [f'"signup";r={rest};t=20' for rest in (2, 1, 0)]
        assert {headers["RateLimit-Policy"] for headers in spent} == {'"signup";q=3;w=60'}
        for refusal in refusals:
            assert refusal.names == ["signup"]
            assert 19 <= int(refusal.headers["Retry-After"]) <= 20
        assert later["RateLimit"] == '"signup";r=0;t=19'
        assert much_later["RateLimit"] == '"signup";r=2;t=20'

    async def test_everybody_has_a_limit_of_their_own(self, limits: Limits) -> None:
        """By name, rate, and user or network, which are hashed with the secret."""
        once = Rate(1, 3600)
        charge = Charge("signup", HOME, once)
        await limits.spend(charge)
        await limits.spend(Charge("signup", ELSEWHERE, once))
        await limits.spend(Charge("signin", HOME, once))
        await limits.spend(Charge("signup", HOME, Rate(1, 60)))
        secrets = Secrets(b"another secret, just as long as that")
        await Throttle(limits.engine, secrets).spend(charge)
        await limits.refused(charge)

    async def test_all_charges_are_spent_or_none(self, limits: Limits) -> None:
        """One spent limit leaves the others unchanged; each request is one statement."""
        wide, narrow = Charge("wide", HOME, Rate(10, 60)), Charge("narrow", HOME, Rate(1, 60))
        with statements("throttle") as executed:
            await limits.spend(wide, narrow)
            refusals = [await limits.refused(wide, narrow) for _ in range(20)]
        assert len(executed) == 21
        assert {tuple(refusal.names) for refusal in refusals} == {("narrow",)}
        assert (await limits.spend(wide))["RateLimit"].startswith('"wide";r=8;')

    async def test_a_crowd_gets_no_more_than_the_quota(self, limits: Limits) -> None:
        charge = Charge("signin", HOME, Rate(7, 3600))
        for charges in (
            [charge],
            [Charge("other", HOME, Rate(9, 3600)), Charge("x", HOME, charge.rate)],
        ):
            both = (limits.here, limits.there)
            assert await how_many_pass(both[n % 2].spend(*charges) for n in range(100)) == 7

    async def test_a_row_is_checked_again_after_waiting_for_it(self, limits: Limits) -> None:
        """Eight see at the same moment that one is left: one gets it."""
        charge = Charge("signin", HOME, Rate(2, 3600))
        await limits.spend(charge)
        assert await limits.while_all_wait(charge, charge) == 1

    async def test_a_charge_refused_then_refunds_the_others(self, limits: Limits) -> None:
        """All or none also holds for requests that find the second row changed."""
        for n in range(4):  # so that either row is the first to be locked
            narrow, wide = (
                Charge(name, str(n), Rate(quota, 36_000))
                for name, quota in (("narrow", 2), ("wide", 50))
            )
            await limits.spend(wide, narrow)

            assert await limits.while_all_wait(narrow, wide, narrow) == 1
            assert (await limits.spend(wide))["RateLimit"].startswith('"wide";r=47;')

    async def test_the_order_of_charges_blocks_nobody(self, limits: Limits) -> None:
        """Rows are locked in one order, so that opposite requests never deadlock."""
        one, other = (Charge(name, HOME, Rate(100_000, 60)) for name in ("one", "other"))
        passed = await how_many_pass(
            (limits.here, limits.there)[n % 2].spend(*((one, other) if n % 2 else (other, one)))
            for n in range(300)
        )
        assert passed == 300

    async def test_the_tables_hold_no_addresses(self, limits: Limits, tries: Tries) -> None:
        await limits.spend(Charge("signup", HOME, Rate(3, 60)))
        await tries.succeed()
        await tries.begin(ELSEWHERE)

        for table, columns in TIME_COLUMNS.items():
            rows = await limits.rows(table)
            assert rows, table
            for row in rows:
                assert len(row.key) == 32
                assert set(row._fields) <= {"key", "count", "whole", *columns}
                for told in (ADA, ADA.encode().hex(), HOME, HOME.encode().hex()):
                    assert told not in row.whole

    async def test_outdated_rows_are_deleted_at_times(self, limits: Limits, tries: Tries) -> None:
        rate, network = Rate(3, 60), (str(n) for n in count())
        for _ in range(10):
            await limits.spend(Charge("signup", next(network), rate))
            await tries.begin(next(network))
            await attempts.remember_network(limits.here, account=ADA, network=next(network))
        await limits.passes(91 * 86_400)
        kept = Charge("kept", HOME, Rate(1, 3600))
        await limits.spend(kept)
        await attempts.remember_network(limits.here, account=ADA, network=HOME)
        await tries.begin()

        for _ in range(CLEAN_EVERY):
            await limits.spend(Charge("last", HOME, Rate(1_000_000, 60)))

        left = {table: len(await limits.rows(table)) for table in TIME_COLUMNS}
        # At most the remaining row, three of the attempt, and the last.
        assert left.pop("throttle_rates") <= 5
        assert left == {"throttle_failures": 1, "throttle_known_networks": 1}
        await limits.refused(kept)


class TestTries:
    async def test_after_the_free_attempts_each_waits_twice_as_long(self, tries: Tries) -> None:
        """1, 2, 4, 8 and again 8 seconds, the limit; a refused attempt prolongs nothing."""
        for _ in range(3):
            await tries.begin()

        waits = []
        for seconds in (1, 2, 4, 8, 8):
            refusal = [await tries.refused() for _ in range(10)][-1]
            waits.append(int(refusal.headers["Retry-After"]))
            await tries.limits.passes(seconds)
            await tries.begin()

        assert waits == [1, 2, 4, 8, 8]
        assert refusal.names == ["signin_delay"]
        assert refusal.headers["RateLimit-Policy"] == '"signin_delay";q=3;w=3600'

    async def test_failures_are_forgotten_by_success_and_by_time(self, tries: Tries) -> None:
        """Then the first attempts are free again."""
        for _ in range(2):
            await tries.begin()
        await tries.succeed()

        for _ in range(3):
            await tries.begin()
        await tries.limits.passes(3602)
        for _ in range(3):
            await tries.begin()
        await tries.refused()

    async def test_a_success_and_an_unchecked_attempt_cost_no_failure(self, tries: Tries) -> None:
        """A whole office may sign in behind one address, and one person often.

        A full hashing pool, in which nothing is checked, blocks nobody.
        """
        once = Rate(2, 3600)
        few = tries.having(limit_signin_failures=once, limit_account_failures=once)
        for n in range(10):
            await few.succeed(account=ADA if n % 2 else f"person-{n}@example.org")
            await attempts.withdraw_attempt(tries.limits.here, await few.begin())
        for _ in range(2):
            await few.begin(account="bob@example.org")
        assert (await few.refused(account="eve@example.org")).names == ["signin_failures"]

    async def test_what_a_limit_refuses_counts_as_no_failure(self, tries: Tries) -> None:
        """A network that has spent its limit delays no account."""
        few = tries.having(limit_signin=Rate(1, 3600))
        await few.begin()
        for _ in range(5):
            assert (await few.refused()).names == ["signin"]

        [row] = await tries.limits.rows("throttle_failures")
        assert (row._mapping["count"], row.blocked_until) == (1, None)
        for _ in range(2):
            await tries.begin()

    async def test_nobody_elsewhere_can_keep_the_owner_out(self, tries: Tries) -> None:
        """The account's limit stops guesses from everywhere, except where the owner is known."""
        few = tries.having(limit_account_failures=Rate(20, 3600))
        await attempts.remember_network(tries.limits.here, account=ADA, network=HOME)
        networks = (f"203.0.113.{n}" for n in count())

        guesses = await how_many_pass(few.begin(next(networks)) for _ in range(30))

        assert guesses == 20
        assert (await few.refused(ELSEWHERE)).names == ["account_failures"]
        await few.succeed()
        await tries.limits.passes(91 * 86_400)
        await how_many_pass(few.begin(next(networks)) for _ in range(30))
        await few.refused()  # by now the network is no longer known

    async def test_a_network_is_known_for_one_account_alone(self, tries: Tries) -> None:
        """An account of one's own opens no way around another's limit."""
        few = tries.having(limit_account_failures=Rate(1, 3600))
        await attempts.remember_network(
            tries.limits.here, account="eve@example.org", network=ELSEWHERE
        )
        await few.begin(ELSEWHERE)
        await few.refused(ELSEWHERE)

    async def test_many_at_once_from_one_place_all_get_in(self, tries: Tries) -> None:
        both = [each.having(signin_failures_free=100) for each in (tries, tries.elsewhere())]
        await asyncio.gather(*(both[n % 2].succeed() for n in range(90)))
