"""Test that a client can wait at the blog for what it changed at the auth service."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

import pytest

from blog_service.replica_of_users import USERS
from contracts.events import VERSION_MAX
from replica.caught_up import (
    WAIT_SECONDS_MAX,
    WAITING_MAX,
    WAITING_OF_A_NETWORK_MAX,
    CaughtUp,
    TooManyWait,
)
from service_kit.database.away import DATABASE_ERRORS
from tests.support.auth_api import assert_problem
from tests.support.builders import a_state, a_tombstone
from tests.support.content import People
from tests.support.in_turn import in_turn
from tests.support.inbox import execute

STILL_SECONDS = 0.1
"""How long requests that must wait are seen to wait: several looks."""


async def _still_waiting(*tasks: "asyncio.Task[bool]") -> bool:
    done, _ = await asyncio.wait(tasks, timeout=STILL_SECONDS)
    return not done


class TestRoute:
    """``GET /v1/users/{id}?at_least=&wait=``."""

    async def test_a_version_that_has_arrived_is_shown_at_once(self, people: People) -> None:
        ada = await people.user(version=3)
        for at_least in (1, 3):
            shown = await people.done(
                None, "GET", f"/v1/users/{ada}", at_least=at_least, wait=WAIT_SECONDS_MAX
            )
            assert shown["version"] == 3

    async def test_without_wait_a_late_version_is_refused_at_once(self, people: People) -> None:
        ada = await people.user(version=3)
        for user_id in (ada, uuid4()):
            late = await people.ask(None, "GET", f"/v1/users/{user_id}", at_least=4)
            assert_problem(late, 409, "not_caught_up")
            assert late.headers["Retry-After"] == "1"

    async def test_a_request_waits_until_the_version_arrives(self, people: People) -> None:
        ada = uuid4()
        waiting = asyncio.create_task(
            people.ask(None, "GET", f"/v1/users/{ada}", at_least=2, wait=WAIT_SECONDS_MAX)
        )
        await people.user(ada, version=1)
        await asyncio.wait({waiting}, timeout=STILL_SECONDS)
        assert not waiting.done()
        await people.user(ada, version=2)
        assert (await waiting).json()["version"] == 2

    async def test_a_deletion_is_waited_for_as_well(self, people: People) -> None:
        ada = await people.user(version=1)
        asked = ("GET", f"/v1/users/{ada}")
        waiting = asyncio.create_task(
            people.ask(None, *asked, at_least=VERSION_MAX, wait=WAIT_SECONDS_MAX)
        )
        await people.apply(a_tombstone(ada, version=VERSION_MAX))
        assert_problem(await waiting, 404, "not_found")

    @in_turn(
        "params",
        [
            {"at_least": 0},
            {"at_least": VERSION_MAX + 1},
            {"at_least": "two"},
            {"at_least": 1, "wait": -1},
            {"at_least": 1, "wait": WAIT_SECONDS_MAX + 0.1},
            {"at_least": 1, "wait": "nan"},
        ],
    )
    async def test_bad_parameters_are_refused(self, people: People, params: dict[str, Any]) -> None:
        ada = await people.user()
        answer = await people.ask(None, "GET", f"/v1/users/{ada}", **params)
        assert_problem(answer, 422, "invalid_request")


class TestCaughtUp:
    """``CaughtUp``, on the blog's database."""

    async def test_each_of_many_goes_on_with_its_own_version(self, people: People) -> None:
        ids = [uuid4() for _ in range(20)]
        caught_up = CaughtUp(people.engine, USERS)

        def until(version: int) -> "list[asyncio.Task[bool]]":
            return [_waiting(caught_up, user_id, version) for user_id in ids]

        first, second = until(1), until(2)
        assert await _still_waiting(*first, *second)
        await people.apply(*(a_state(user_id, version=1) for user_id in ids))
        assert await asyncio.gather(*first) == [True] * len(ids)
        assert await _still_waiting(*second)
        await people.apply(*(a_state(user_id, version=2) for user_id in ids))
        assert await asyncio.gather(*second) == [True] * len(ids)

    async def test_waiting_ends_when_the_time_is_up(self, people: People) -> None:
        caught_up, nobody = CaughtUp(people.engine, USERS), uuid4()
        assert not await caught_up.reaches(nobody, 1, seconds=STILL_SECONDS, network="")
        # Looking ended with it; the next request starts it again.
        waiting = _waiting(caught_up, nobody, 1)
        assert await _still_waiting(waiting)
        await people.user(nobody)
        assert await waiting

    @pytest.mark.parametrize(
        ("networks", "waiting_max"),
        [(WAITING_MAX + 1, WAITING_MAX), (1, WAITING_OF_A_NETWORK_MAX)],
        ids=["in all", "of a network"],
    )
    async def test_so_many_may_wait_and_no_more(
        self, people: People, networks: int, waiting_max: int
    ) -> None:
        caught_up, ada = CaughtUp(people.engine, USERS), uuid4()
        crowd = [
            _waiting(caught_up, uuid4(), 1, network=f"192.0.2.{number % networks}")
            for number in range(waiting_max + 1)
        ]
        refused, waiting = await asyncio.wait(crowd, return_when=asyncio.FIRST_EXCEPTION)
        assert [type(each.exception()) for each in refused] == [TooManyWait]
        waiting.pop().cancel()
        last = _waiting(caught_up, ada, 1, network="192.0.2.0")
        await people.user(ada)
        assert await last
        for each in waiting:
            each.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)

    async def test_a_failing_database_fails_all_who_wait_and_none_later(
        self, people: People
    ) -> None:
        caught_up, ada = CaughtUp(people.engine, USERS), uuid4()
        crowd = [_waiting(caught_up, uuid4(), 1) for _ in range(3)]
        assert await _still_waiting(*crowd)
        await execute(people.engine, "ALTER TABLE users RENAME TO hidden")
        failed = await asyncio.gather(*crowd, return_exceptions=True)
        await execute(people.engine, "ALTER TABLE hidden RENAME TO users")
        assert all(isinstance(each, DATABASE_ERRORS) for each in failed)
        waiting = _waiting(caught_up, ada, 1)
        assert await _still_waiting(waiting)
        await people.user(ada)
        assert await waiting


def _waiting(
    caught_up: CaughtUp, user_id: UUID, version: int, *, network: str | None = None
) -> "asyncio.Task[bool]":
    """Let a request wait, by default from a network of its own."""
    return asyncio.create_task(
        caught_up.reaches(
            user_id,
            version,
            seconds=12 * WAIT_SECONDS_MAX,
            network=network or str(user_id),
        )
    )
