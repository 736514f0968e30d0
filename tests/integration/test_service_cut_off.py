"""Ending a service account's access also revokes its tokens, everywhere."""

import asyncio
from datetime import UTC, datetime, timedelta

import httpx
import jwt
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from auth_service.services.administer import delete_service, set_status
from auth_service.services.authenticate import WrongKey
from auth_service.services.grant import token_issue_time
from auth_service.services.keys import revoke_key, rotate_key
from auth_service.services.model import IssuedKey, NoSuchService, Status
from auth_service.settings import ApiSettings
from contracts.events import ServiceState
from tests.support.auth_api import AuthApi, Signed, assert_problem
from tests.support.inbox import fetch
from tests.support.locks import until_waiting

ACTOR = "operator:test"
WAYS = ["delete", "disable", "revoke"]


@pytest.fixture
async def feed(api: AuthApi) -> IssuedKey:
    """A service account that may reconcile replicas."""
    return await api.create_service("feed", "users:reconcile")


async def end(api: AuthApi, root: Signed, feed: IssuedKey, way: str) -> None:
    path = f"/v1/admin/services/{feed.id}"
    method, path, body = {
        "delete": ("DELETE", path, None),
        "disable": ("PATCH", path, {"status": "disabled"}),
        "enable": ("PATCH", path, {"status": "active"}),
        "revoke": ("DELETE", f"{path}/keys/{feed.key_id}", None),
    }[way]
    answer = await api.ask(root, method, path, body)
    assert answer.is_success, answer.text


async def uses(api: AuthApi, granted: httpx.Response) -> httpx.Response:
    return await api.ask(granted.json(), "GET", "/v1/reconcile/digests")


async def told(engine: AsyncEngine) -> list[ServiceState]:
    query = "SELECT payload::text AS text FROM outbox_events WHERE type = 'service.changed'"
    rows = await fetch(engine, f"{query} ORDER BY position")
    return [ServiceState.model_validate_json(row.text) for row in rows]


@pytest.mark.parametrize("way", WAYS)
async def test_earlier_tokens_are_refused(
    api: AuthApi, root: Signed, feed: IssuedKey, way: str
) -> None:
    """By the auth service at once; the event says the same, in the same transaction."""
    granted = await api.service_token(feed)
    before = await uses(api, granted)

    await end(api, root, feed, way)

    assert before.status_code == 200, before.text
    assert_problem(await uses(api, granted), 401, "invalid_token")
    assert (await api.service_token(feed)).status_code == 401
    [state] = await told(api.engine)
    issued_at = jwt.decode(granted.json()["access_token"], options={"verify_signature": False})
    status = {"delete": "deleted", "disable": "disabled", "revoke": "active"}[way]
    assert (state.client_id, state.status) == (feed.id, status)
    assert issued_at["iat"] < state.tokens_valid_after.timestamp()
    assert state.tokens_valid_after.microsecond == 0


async def test_enabling_brings_back_the_account_and_no_token(
    api: AuthApi, root: Signed, feed: IssuedKey
) -> None:
    """New tokens are valid; each change is recorded, with a higher version, and audited."""
    granted = await api.service_token(feed)

    await end(api, root, feed, "disable")
    await end(api, root, feed, "disable")
    shown = await api.ask(root, "GET", f"/v1/admin/services/{feed.id}")
    await end(api, root, feed, "enable")

    assert shown.json()["status"] == "disabled"
    assert_problem(await uses(api, granted), 401, "invalid_token")
    assert (await uses(api, await api.service_token(feed))).status_code == 200
    disabled, enabled = await told(api.engine)
    assert (disabled.status, enabled.status) == ("disabled", "active")
    assert disabled.version < enabled.version
    assert disabled.tokens_valid_after < enabled.tokens_valid_after
    entries = await api.fetch("SELECT action FROM audit_log ORDER BY id DESC LIMIT 2")
    assert [entry.action for entry in entries] == ["service_enabled", "service_disabled"]


async def test_a_token_is_issued_before_a_revocation_or_not_at_all(
    auth_engine: AsyncEngine, feed: IssuedKey
) -> None:
    """A token waits for a revocation under way, and none is issued before it then."""
    async with auth_engine.begin() as connection:
        await connection.execute(text("SELECT 1 FROM service_accounts FOR UPDATE"))
        revoking = asyncio.create_task(revoke_key(auth_engine, feed.key_id, actor=ACTOR))
        await until_waiting(auth_engine)
        asking = asyncio.create_task(token_issue_time(auth_engine, feed.id, feed.key_id))
        await until_waiting(auth_engine, 2)

    await revoking
    with pytest.raises(WrongKey):
        await asking


async def test_a_token_that_came_first_is_older(auth_engine: AsyncEngine, feed: IssuedKey) -> None:
    """However late it is signed."""
    at, valid_after = await token_issue_time(auth_engine, feed.id, feed.key_id)
    await revoke_key(auth_engine, feed.key_id, actor=ACTOR)
    [state] = await told(auth_engine)
    assert valid_after is None
    assert int(at.timestamp()) < state.tokens_valid_after.timestamp()


async def test_ends_at_the_same_time_do_not_deadlock(
    auth_engine: AsyncEngine, feed: IssuedKey, api_settings: ApiSettings
) -> None:
    statuses: tuple[Status, ...] = ("disabled", "active", "disabled")
    ways = [
        *(revoke_key(auth_engine, feed.key_id, actor=ACTOR) for _ in range(3)),
        *(set_status(auth_engine, "feed", status, actor=ACTOR) for status in statuses),
        rotate_key(auth_engine, api_settings.secrets, feed.id, key_days=90, actor=ACTOR),
        delete_service(auth_engine, feed.id, actor=ACTOR),
    ]

    results = await asyncio.gather(*ways, return_exceptions=True)

    errors = [each for each in results if isinstance(each, Exception)]
    assert all(type(error).__name__ in ("NoSuchService", "NoSuchApiKey") for error in errors)
    states = await told(auth_engine)
    assert states[-1].status == "deleted"
    assert [state.version for state in states] == sorted({state.version for state in states})
    with pytest.raises(NoSuchService):
        await set_status(auth_engine, feed.id, "active", actor=ACTOR)


async def test_a_revocation_in_the_future_is_reset(api: AuthApi, feed: IssuedKey) -> None:
    """The clock ran a day ahead and was set back: the account gets valid tokens."""
    tomorrow = "date_trunc('second', now()) + interval '1 day'"
    await api.execute(f"UPDATE service_accounts SET tokens_valid_after = {tomorrow}")
    granted = await api.service_token(feed)
    assert (await uses(api, granted)).status_code == 200
    [state] = await told(api.engine)
    assert state.tokens_valid_after < datetime.now(UTC) + timedelta(minutes=1)
