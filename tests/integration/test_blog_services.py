"""Service accounts at the blog: what the source says of them counts with the next request."""

import itertools
import time
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine

from blog_service.settings import ConsumerSettings
from contracts.events import VERSION_MAX, Data, ServiceState
from contracts.sync.merge import Outcome
from replica.inbox.apply import apply
from replica.inbox.settle import Settler
from tests.integration.test_settling import delivery
from tests.support.auth_api import assert_problem
from tests.support.builders import a_state, an_event
from tests.support.content import IMPORTER, People
from tests.support.eventually import eventually
from tests.support.inbox import consuming, execute, fetch, parked
from tests.support.inbox import replica as replica_of
from tests.support.source import Source

NOW = int(time.time())
"""When the tokens of these tests were issued, and when they are cut off."""


def state(version: int = 1, status: Any = "active", *, after: int = NOW) -> ServiceState:
    """The importer's account; tokens from before ``after`` are refused."""
    valid_after = datetime.fromtimestamp(after, UTC)
    return ServiceState(
        client_id=IMPORTER, version=version, status=status, tokens_valid_after=valid_after
    )


async def keeps(people: People, *, iat: int = NOW, service: str = IMPORTER) -> httpx.Response:
    """What a service is answered that keeps a post, with a token issued at ``iat``."""
    author = await people.user()
    token = people.token(service, iat=iat, exp=iat + 1800)  # a slow run is not at fault
    return await people.client.put(
        f"/v1/posts/{uuid4()}",
        headers={"Authorization": f"Bearer {token}"},
        json={"author_id": str(author), "title": "Kept", "body": "By a service"},
    )


class TestRefused:
    """A token's signature is not enough."""

    @pytest.mark.parametrize("status", ["deleted", "disabled"])
    async def test_of_an_account_that_is_deleted_or_disabled(
        self, people: People, status: str
    ) -> None:
        """Whenever it was issued; nobody else's is."""
        before = await keeps(people)
        await people.apply(state(status=status, after=NOW - 100))
        after = await keeps(people)
        other = await keeps(people, service="svc_other")

        assert (before.status_code, other.status_code) == (201, 201)
        assert_problem(after, 401, "invalid_token")
        assert 'error="invalid_token"' in after.headers["WWW-Authenticate"]

    async def test_that_was_issued_before_a_key_was_revoked(self, people: People) -> None:
        """One of the second from which tokens count is good; so the account goes on."""
        await people.apply(state(after=NOW))

        assert_problem(await keeps(people, iat=NOW - 1), 401, "invalid_token")
        assert (await keeps(people, iat=NOW)).status_code == 201

    async def test_that_was_issued_before_an_account_was_enabled_again(
        self, people: People
    ) -> None:
        """Enabling brings none of them back."""
        await people.apply(state(1, "disabled", after=NOW), state(2, "active", after=NOW))

        assert_problem(await keeps(people, iat=NOW - 1), 401, "invalid_token")
        assert (await keeps(people, iat=NOW)).status_code == 201

    async def test_in_the_query_that_reads_the_caller(self, people: People) -> None:
        """It costs no statement of its own, and a user's token none either."""
        transport: Any = people.client._transport
        statements: list[str] = []

        @event.listens_for(transport.app.state.context.engine.sync_engine, "before_cursor_execute")
        def note(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
            statements.append(statement)

        answer = await people.ask(await people.user(), "GET", "/v1/admin/users")

        assert answer.status_code == 403
        [statement] = statements
        assert "services" in statement
        assert "revoked_keys" in statement


class TestMerging:
    """By (deleted, version): late, repeated and reordered events are harmless."""

    async def test_every_order_ends_in_the_same_row(self, blog_engine: AsyncEngine) -> None:
        """Each of four states comes twice, in one batch or several."""
        states = [
            state(1, "disabled", after=NOW),
            state(2, "active", after=NOW + 1),
            state(3, "deleted", after=NOW + 2),
            state(4, "active", after=NOW + 3),
        ]
        for order in itertools.permutations(states):
            for batches in ([*order, *order], order):
                async with blog_engine.begin() as connection:
                    await apply(connection, [an_event(each) for each in batches])

            [row] = await fetch(blog_engine, "SELECT * FROM services")
            assert tuple(row) == (IMPORTER, 3, "deleted", states[2].tokens_valid_after)
            await execute(blog_engine, "DELETE FROM services")

    async def test_what_it_did_is_told_apart(self, blog_engine: AsyncEngine) -> None:
        """In the order of the batch, whatever else is in it."""
        other = state(5).model_copy(update={"client_id": "svc_a"})
        batch: list[Data] = [
            state(2),
            a_state(),
            state(2),
            other,
            state(1),
            a_state(),
            state(VERSION_MAX),
        ]
        async with blog_engine.begin() as connection:
            outcomes = await apply(connection, [an_event(each) for each in batch])

        assert [outcome is Outcome.APPLIED for outcome in outcomes] == [
            True,
            True,
            False,
            True,
            False,
            True,
            True,
        ]

    async def test_the_consumer_learns_it_from_the_broker(
        self, consumer_settings: ConsumerSettings, blog_engine: AsyncEngine, source: Source
    ) -> None:
        """The queue is bound to events about services."""
        async with consuming(consumer_settings, blog_engine):
            await source.publish(an_event(state()), an_event(state()), an_event(user := a_state()))

            async def has_user() -> bool:
                return user.id in await replica_of(blog_engine)

            await eventually(has_user)

        [row] = await fetch(blog_engine, "SELECT * FROM services")
        assert (row.client_id, row.version, row.status) == (IMPORTER, 1, "active")
        assert await parked(blog_engine) == []

    @pytest.mark.parametrize(
        "body",
        [
            b"{}",
            b'{"client_id": "ada", "version": 1, "status": "active",'
            b' "tokens_valid_after": "2026-01-01T12:00:00Z"}',
            b'{"client_id": "svc_a", "version": 0, "status": "active",'
            b' "tokens_valid_after": "2026-01-01T12:00:00Z"}',
            b'{"client_id": "svc_a", "version": 1, "status": "gone",'
            b' "tokens_valid_after": "2026-01-01T12:00:00Z"}',
            b'{"client_id": "svc_a", "version": 1, "status": "active", "tokens_valid_after": null}',
        ],
    )
    async def test_one_that_cannot_be_read_is_parked(
        self, consumer_settings: ConsumerSettings, blog_engine: AsyncEngine, body: bytes
    ) -> None:
        """It is for an operator to look at."""
        settler = Settler(consumer_settings, blog_engine)

        outcomes = await settler.settle([delivery(an_event(state()), body=body)])

        assert outcomes == [Outcome.PARKED]
        assert await fetch(blog_engine, "SELECT * FROM services") == []
