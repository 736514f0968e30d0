"""Service accounts at the blog: a change at the source takes effect with the next request."""

import itertools
import json
import time
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import httpx
from sqlalchemy.ext.asyncio import AsyncEngine

from blog_service.replica_of_users import USERS
from blog_service.settings import ConsumerSettings
from contracts.events import VERSION_MAX, Data, RevokedKey, ServiceState
from contracts.sync.merge import Outcome
from replica.inbox.apply import apply
from replica.inbox.settle import Settler
from tests.support.auth_api import assert_problem
from tests.support.builders import NOON, a_state, an_event
from tests.support.content import IMPORTER, People
from tests.support.inbox import Inbox, execute, fetch, parked
from tests.support.parked_messages import a_delivery
from tests.support.statements import statements

NOON_TEXT = "2026-01-01T12:00:00Z"
NOW = int(time.time())
"""The second in which these tests' tokens are issued and cut off."""


def state(version: int = 1, status: Any = "active", *, after: int = NOW) -> ServiceState:
    """Return the importer's state; tokens issued before ``after`` are refused."""
    valid_after = datetime.fromtimestamp(after, UTC)
    return ServiceState(
        client_id=IMPORTER, version=version, status=status, tokens_valid_after=valid_after
    )


async def put_post(people: People, *, iat: int = NOW, service: str = IMPORTER) -> httpx.Response:
    author = await people.user()
    token = people.token(service, iat=iat, exp=iat + 1800)  # long enough for a slow run
    return await people.client.put(
        f"/v1/posts/{uuid4()}",
        headers={"Authorization": f"Bearer {token}"},
        json={"author_id": str(author), "title": "Kept", "body": "By a service"},
    )


class TestServiceTokens:
    """A valid signature is not sufficient."""

    async def test_tokens_of_deleted_or_disabled_accounts_are_refused(self, people: People) -> None:
        assert (await put_post(people)).status_code == 201
        for version, status in enumerate(("disabled", "deleted"), start=1):
            await people.apply(state(version, status, after=NOW - 100))
            after = await put_post(people)
            assert_problem(after, 401, "invalid_token")
            assert 'error="invalid_token"' in after.headers["WWW-Authenticate"]
        assert (await put_post(people, service="svc_other")).status_code == 201

    async def test_tokens_issued_before_a_key_was_revoked_or_the_account_disabled_are_refused(
        self, people: People
    ) -> None:
        """Those issued in the cut-off second are valid, so the account can continue at once."""
        enabled_again = (state(2, "disabled", after=NOW + 1), state(3, "active", after=NOW + 1))
        for states, second in (((state(after=NOW),), NOW), (enabled_again, NOW + 1)):
            await people.apply(*states)
            assert_problem(await put_post(people, iat=second - 1), 401, "invalid_token")
            assert (await put_post(people, iat=second)).status_code == 201

    async def test_the_account_is_checked_in_the_query_of_the_caller(self, people: People) -> None:
        user = await people.user()
        with statements() as executed:
            response = await people.ask(user, "GET", "/v1/admin/users")
        assert response.status_code == 403
        [statement] = executed
        assert "services" in statement
        assert "revoked_keys" in statement


class TestMerging:
    """Merging by (deleted, version) makes late, repeated and reordered events harmless."""

    async def test_every_order_ends_in_the_same_row(self, blog_engine: AsyncEngine) -> None:
        """Each of four states arrives twice, in one batch or in several."""
        states = [
            state(1, "disabled", after=NOW),
            state(2, "active", after=NOW + 1),
            state(3, "deleted", after=NOW + 2),
            state(4, "active", after=NOW + 3),
        ]
        for order in itertools.permutations(states):
            for batches in ([*order, *order], order):
                async with blog_engine.begin() as connection:
                    await apply(USERS, connection, [an_event(each) for each in batches])

            [row] = await fetch(blog_engine, "SELECT * FROM services")
            assert tuple(row) == (IMPORTER, 3, "deleted", states[2].tokens_valid_after)
            await execute(blog_engine, "DELETE FROM services")

    async def test_outcomes_follow_the_order_of_the_batch(self, blog_engine: AsyncEngine) -> None:
        """In a batch of service and user events."""
        other = state(5).model_copy(update={"client_id": "svc_a"})
        is_applied: list[tuple[Data, bool]] = [
            (state(2), True),
            (a_state(), True),
            (state(2), False),
            (other, True),
            (state(1), False),
            (a_state(), True),
            (state(VERSION_MAX), True),
        ]
        async with blog_engine.begin() as connection:
            outcomes = await apply(USERS, connection, [an_event(each) for each, _ in is_applied])
        applied = [outcome is Outcome.APPLIED for outcome in outcomes]
        assert applied == [expected for _, expected in is_applied]

    async def test_the_consumer_receives_service_and_key_events(self, inbox: Inbox) -> None:
        """The queue is bound to both; repeated ones change nothing."""
        events = [an_event(state()), an_event(RevokedKey(kid="k", revoked_at=NOON))]
        async with inbox.consuming():
            await inbox.source.publish(*events, *events, an_event(a_state()))
            await inbox.has_applied(1)

        [row] = await fetch(inbox.engine, "SELECT * FROM services")
        assert (row.client_id, row.version, row.status) == (IMPORTER, 1, "active")
        [key] = await fetch(inbox.engine, "SELECT * FROM revoked_keys")
        assert (key.kid, key.revoked_at) == ("k", NOON)
        assert await parked(inbox.engine) == []

    async def test_unreadable_service_and_key_events_are_parked(
        self, consumer_settings: ConsumerSettings, blog_engine: AsyncEngine
    ) -> None:
        settler = Settler(USERS, consumer_settings, blog_engine)
        good = {"client_id": "svc_a", "version": 1, "status": "active"}
        good["tokens_valid_after"] = NOON_TEXT
        service, key = an_event(state()), an_event(RevokedKey(kid="k", revoked_at=NOON))
        for event, body in (
            (service, good | {"client_id": "ada"}),
            (service, good | {"version": 0}),
            (service, good | {"status": "gone"}),
            (service, good | {"tokens_valid_after": None}),
            (service, {}),
            (key, {"kid": "a b", "revoked_at": NOON_TEXT}),
        ):
            message = a_delivery(event, body=json.dumps(body).encode())
            assert await settler.settle([message]) == [Outcome.PARKED], body
        assert await fetch(blog_engine, "SELECT * FROM services") == []
        assert await fetch(blog_engine, "SELECT * FROM revoked_keys") == []
