"""Limits in PostgreSQL: what is spent, shared and reset. Time passes by moving the rows."""

import asyncio
import time
from collections.abc import AsyncIterator, Coroutine, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import event, text
from sqlalchemy.engine import Engine
from sqlalchemy.ext.asyncio import AsyncEngine

from auth_service.secrets import Secrets
from auth_service.settings import ApiSettings, DatabaseSettings
from auth_service.throttle.model import Charge
from auth_service.throttle.sign_in_attempts import (
    Attempt,
    begin_attempt,
    record_success,
    remember_network,
    withdraw_attempt,
)
from auth_service.throttle.throttle import CLEAN_EVERY, Throttle, TooManyRequests
from service_kit.database.engines import pooled
from service_kit.process.rates import Rate
from tests.support.builders import SOURCE
from tests.support.eventually import eventually
from tests.support.guesses import guesses_allowed
from tests.support.inbox import execute, fetch
from tests.support.locks import lock_waits

SECRETS = Secrets(b"a secret of thirty-two characters")
HOME, ELSEWHERE = "192.0.2.1", "198.51.100.7"
ADA = "ada@example.org"

TIME_COLUMNS = {
    "throttle_rates": ("empty_at",),
    "throttle_failures": ("blocked_until", "forgotten_at"),
    "throttle_known_networks": ("forgotten_at",),
}


@pytest.fixture
def throttle(auth_engine: AsyncEngine) -> Throttle:
    return Throttle(auth_engine, SECRETS)


@pytest.fixture
async def replica(auth_url: str) -> AsyncIterator[Throttle]:
    """The same limits in another process, as it were; it waits long for a row."""
    settings = DatabaseSettings(
        database_url=auth_url, lock_timeout_ms=60_000, statement_timeout_ms=60_000
    )
    engine = pooled(settings)
    yield Throttle(engine, SECRETS)
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


async def passes(engine: AsyncEngine, seconds: float) -> None:
    """Move all rows this many seconds into the past."""
    await execute(
        engine,
        *(
            f"UPDATE {table} SET {column} = {column} - interval '{seconds} s'"
            for table, columns in TIME_COLUMNS.items()
            for column in columns
        ),
    )


async def refused(throttle: Throttle, *charges: Charge) -> TooManyRequests:
    with pytest.raises(TooManyRequests) as caught:
        await throttle.spend(*charges)
    return caught.value


async def how_many_pass(spend: Iterable[Coroutine[Any, Any, object]]) -> int:
    """Count the concurrent requests that are not refused."""
    results = await asyncio.gather(*spend, return_exceptions=True)
    assert {type(result) for result in results} <= {dict, Attempt, TooManyRequests}, results
    return sum(not isinstance(result, Exception) for result in results)


async def while_all_wait(
    throttle: Throttle,
    engine: AsyncEngine,
    locked: Charge,
    spend: Sequence[Coroutine[Any, Any, object]],
) -> int:
    """Count those that pass of requests that all read a row before it is unlocked."""
    async with engine.connect() as holder:
        await holder.execute(
            text("SELECT 1 FROM throttle_rates WHERE key = ANY(CAST(:keys AS bytea[])) FOR UPDATE"),
            {"keys": throttle.arrays([locked])["keys"]},
        )
        passing = asyncio.create_task(how_many_pass(spend))

        async def all_wait() -> bool:
            return await lock_waits(engine) == len(spend)

        await eventually(all_wait)
        await holder.rollback()
    return await passing


@contextmanager
def statements() -> Iterator[list[str]]:
    """Record what is executed inside the block, on any engine."""
    executed: list[str] = []

    def note(_: object, __: object, statement: str, *___: object) -> None:
        executed.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield executed
    finally:
        event.remove(Engine, "before_cursor_execute", note)


@dataclass(frozen=True)
class Tries:
    """Attempts to sign in to Ada's account from home, unless a test says otherwise."""

    throttle: Throttle
    settings: ApiSettings

    def having(self, **changes: object) -> "Tries":
        return replace(self, settings=self.settings.model_copy(update=changes))

    async def begin(self, network: str = HOME, account: str = ADA) -> Attempt:
        return await begin_attempt(self.throttle, self.settings, account=account, network=network)

    async def succeed(self, network: str = HOME, account: str = ADA) -> None:
        await record_success(self.throttle, await self.begin(network, account))

    async def refused(self, network: str = HOME, account: str = ADA) -> TooManyRequests:
        with pytest.raises(TooManyRequests) as caught:
            await self.begin(network, account)
        return caught.value


@pytest.fixture
def tries(throttle: Throttle, settings: ApiSettings) -> Tries:
    return Tries(throttle, settings)


@pytest.fixture
def elsewhere(replica: Throttle, settings: ApiSettings) -> Tries:
    """Attempts at another process."""
    return Tries(replica, settings)


class TestSpending:
    async def test_a_quota_is_spent_and_comes_back(
        self, throttle: Throttle, auth_engine: AsyncEngine
    ) -> None:
        """All of it at once, then a unit every twenty seconds; a refusal spends nothing."""
        charge = Charge("signup", HOME, Rate(3, 60))
        spent = [await throttle.spend(charge) for _ in range(3)]
        refusals = [await refused(throttle, charge) for _ in range(5)]
        await passes(auth_engine, 21)
        later = await throttle.spend(charge)
        await refused(throttle, charge)
        await passes(auth_engine, 3600)
        much_later = await throttle.spend(charge)

        assert [headers["RateLimit"] for headers in spent] == [
            '"signup";r=2;t=20',
            '"signup";r=1;t=20',
            '"signup";r=0;t=20',
        ]
        assert {headers["RateLimit-Policy"] for headers in spent} == {'"signup";q=3;w=60'}
        for refusal in refusals:
            assert refusal.names == ["signup"]
            assert 19 <= int(refusal.headers["Retry-After"]) <= 20
        assert later["RateLimit"] == '"signup";r=0;t=19'
        assert much_later["RateLimit"] == '"signup";r=2;t=20'

    async def test_everybody_has_a_limit_of_their_own(
        self, throttle: Throttle, auth_engine: AsyncEngine
    ) -> None:
        """By name, rate, and user or network, which are hashed with the secret."""
        once = Rate(1, 3600)
        charge = Charge("signup", HOME, once)
        await throttle.spend(charge)
        await throttle.spend(Charge("signup", ELSEWHERE, once))
        await throttle.spend(Charge("signin", HOME, once))
        await throttle.spend(Charge("signup", HOME, Rate(1, 60)))
        await Throttle(auth_engine, Secrets(b"another secret, just as long as that")).spend(charge)
        await refused(throttle, charge)

    async def test_all_charges_are_spent_or_none(self, throttle: Throttle) -> None:
        """One spent limit leaves the others unchanged; each request is one statement."""
        wide, narrow = Charge("wide", HOME, Rate(10, 60)), Charge("narrow", HOME, Rate(1, 60))
        with statements() as executed:
            await throttle.spend(wide, narrow)
            refusals = [await refused(throttle, wide, narrow) for _ in range(20)]
        assert len(executed) == 21
        assert {tuple(refusal.names) for refusal in refusals} == {("narrow",)}
        assert (await throttle.spend(wide))["RateLimit"].startswith('"wide";r=8;')

    async def test_a_crowd_gets_no_more_than_the_quota(
        self, throttle: Throttle, replica: Throttle
    ) -> None:
        charge = Charge("signin", HOME, Rate(7, 3600))
        for charges in (
            [charge],
            [Charge("other", HOME, Rate(9, 3600)), Charge("x", HOME, charge.rate)],
        ):
            passed = await how_many_pass(
                (throttle, replica)[n % 2].spend(*charges) for n in range(100)
            )

            assert passed == 7

    async def test_a_row_is_checked_again_after_waiting_for_it(
        self, replica: Throttle, auth_engine: AsyncEngine
    ) -> None:
        """Eight see at the same moment that one is left: one gets it."""
        charge = Charge("signin", HOME, Rate(2, 3600))
        await replica.spend(charge)
        passed = await while_all_wait(
            replica, auth_engine, charge, [replica.spend(charge) for _ in range(8)]
        )
        assert passed == 1

    async def test_a_charge_refused_then_refunds_the_others(
        self, replica: Throttle, auth_engine: AsyncEngine
    ) -> None:
        """All or none also holds for requests that find the second row changed."""
        for n in range(4):  # so that either row is the first to be locked
            narrow, wide = (
                Charge(name, str(n), Rate(quota, 36_000))
                for name, quota in (("narrow", 2), ("wide", 50))
            )
            await replica.spend(wide, narrow)

            passed = await while_all_wait(
                replica, auth_engine, narrow, [replica.spend(wide, narrow) for _ in range(8)]
            )

            assert passed == 1
            assert (await replica.spend(wide))["RateLimit"].startswith('"wide";r=47;')

    async def test_the_order_of_charges_blocks_nobody(
        self, throttle: Throttle, replica: Throttle
    ) -> None:
        """Rows are locked in one order, so that opposite requests never deadlock."""
        one, other = (Charge(name, HOME, Rate(100_000, 60)) for name in ("one", "other"))
        passed = await how_many_pass(
            (throttle, replica)[n % 2].spend(*((one, other) if n % 2 else (other, one)))
            for n in range(300)
        )
        assert passed == 300

    async def test_the_tables_hold_neither_addresses_nor_e_mails(
        self, throttle: Throttle, tries: Tries, auth_engine: AsyncEngine
    ) -> None:
        await throttle.spend(Charge("signup", HOME, Rate(3, 60)))
        await tries.succeed()
        await tries.begin(ELSEWHERE)

        for table, columns in TIME_COLUMNS.items():
            rows = await fetch(auth_engine, f"SELECT *, {table}::text AS whole FROM {table}")
            assert rows, table
            for row in rows:
                assert len(row.key) == 32
                assert set(row._fields) <= {"key", "count", "whole", *columns}
                for told in (ADA, ADA.encode().hex(), HOME, HOME.encode().hex()):
                    assert told not in row.whole

    async def test_outdated_rows_are_deleted_occasionally(
        self, throttle: Throttle, tries: Tries, auth_engine: AsyncEngine
    ) -> None:
        rate, network = Rate(3, 60), (str(n) for n in count())
        for _ in range(10):
            await throttle.spend(Charge("signup", next(network), rate))
            await tries.begin(next(network))
            await remember_network(throttle, account=ADA, network=next(network))
        await passes(auth_engine, 91 * 86_400)
        kept = Charge("kept", HOME, Rate(1, 3600))
        await throttle.spend(kept)
        await remember_network(throttle, account=ADA, network=HOME)
        await tries.begin()

        for _ in range(CLEAN_EVERY):
            await throttle.spend(Charge("last", HOME, Rate(1_000_000, 60)))

        left = {
            table: len(await fetch(auth_engine, f"SELECT 1 FROM {table}")) for table in TIME_COLUMNS
        }
        # At most the remaining row, three of the attempt, and the last.
        assert left.pop("throttle_rates") <= 5
        assert left == {"throttle_failures": 1, "throttle_known_networks": 1}
        await refused(throttle, kept)


class TestTries:
    async def test_after_the_free_attempts_each_waits_twice_as_long(
        self, tries: Tries, auth_engine: AsyncEngine
    ) -> None:
        """1, 2, 4, 8 and again 8 seconds, the limit; a refused attempt prolongs nothing."""
        for _ in range(3):
            await tries.begin()

        waits = []
        for seconds in (1, 2, 4, 8, 8):
            refusal = [await tries.refused() for _ in range(10)][-1]
            waits.append(int(refusal.headers["Retry-After"]))
            await passes(auth_engine, seconds)
            await tries.begin()

        assert waits == [1, 2, 4, 8, 8]
        assert refusal.names == ["signin_delay"]
        assert refusal.headers["RateLimit-Policy"] == '"signin_delay";q=3;w=3600'

    async def test_a_hundred_guesses_at_once_count_as_a_hundred(
        self, tries: Tries, elsewhere: Tries
    ) -> None:
        began = time.monotonic()
        passed = await how_many_pass((tries, elsewhere)[n % 2].begin() for n in range(100))
        assert 3 <= passed <= guesses_allowed(3, time.monotonic() - began)

    async def test_failures_are_forgotten_by_success_and_by_time(
        self, tries: Tries, auth_engine: AsyncEngine
    ) -> None:
        """Then the first attempts are free again."""
        for _ in range(2):
            await tries.begin()
        await tries.succeed()

        for _ in range(3):
            await tries.begin()
        await passes(auth_engine, 3602)
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
            await withdraw_attempt(tries.throttle, await few.begin())

        for _ in range(2):
            await few.begin(account="bob@example.org")
        assert (await few.refused(account="eve@example.org")).names == ["signin_failures"]

    async def test_what_a_limit_refuses_counts_as_no_failure(
        self, tries: Tries, auth_engine: AsyncEngine
    ) -> None:
        """A network that has spent its limit delays no account."""
        few = tries.having(limit_signin=Rate(1, 3600))
        await few.begin()
        for _ in range(5):
            assert (await few.refused()).names == ["signin"]

        rows = await fetch(auth_engine, "SELECT count, blocked_until FROM throttle_failures")
        assert rows == [(1, None)]
        for _ in range(2):
            await tries.begin()

    async def test_nobody_elsewhere_can_keep_the_owner_out(
        self, tries: Tries, auth_engine: AsyncEngine
    ) -> None:
        """The account's limit stops guesses from everywhere, except where the owner is known."""
        few = tries.having(limit_account_failures=Rate(20, 3600))
        await remember_network(tries.throttle, account=ADA, network=HOME)
        networks = (f"203.0.113.{n}" for n in count())

        guesses = await how_many_pass(few.begin(next(networks)) for _ in range(30))

        assert guesses == 20
        assert (await few.refused(ELSEWHERE)).names == ["account_failures"]
        await few.succeed()
        await passes(auth_engine, 91 * 86_400)
        await how_many_pass(few.begin(next(networks)) for _ in range(30))
        await few.refused()  # by now the network is no longer known

    async def test_a_network_is_known_for_one_account_alone(self, tries: Tries) -> None:
        """An account of one's own opens no way around another's limit."""
        few = tries.having(limit_account_failures=Rate(1, 3600))
        await remember_network(tries.throttle, account="eve@example.org", network=ELSEWHERE)
        await few.begin(ELSEWHERE)
        await few.refused(ELSEWHERE)

    async def test_many_at_once_from_one_place_all_get_in(
        self, tries: Tries, elsewhere: Tries
    ) -> None:
        both = [each.having(signin_failures_free=100) for each in (tries, elsewhere)]
        await asyncio.gather(*(both[n % 2].succeed() for n in range(90)))
