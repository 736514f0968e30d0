"""Sessions in a real database: how they start, are refreshed, and end, also concurrently."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Row, func, select
from sqlalchemy.ext.asyncio import AsyncEngine
from structlog.testing import capture_logs

from auth_service.app import create_app
from auth_service.context import Context
from auth_service.sessions.end import EndReason, end_sessions
from auth_service.sessions.model import NewSession
from auth_service.sessions.queries import live_sessions, session_limits
from auth_service.sessions.refresh import (
    end_session_of_token,
    refresh_session,
    refresh_within_limit,
)
from auth_service.sessions.refresh_token import InvalidGrant, make_refresh_token
from auth_service.sessions.start import start_session
from auth_service.settings import ApiSettings
from auth_service.throttle.throttle import TooManyRequests
from auth_service.users.model import EmailTaken, User
from auth_service.users.table import TOKENS_VALID_FROM_NOW
from auth_service.users.transaction import change_user, lock_user
from service_kit.process.rates import Rate
from tests.support.accounts import Accounts
from tests.support.auth_api import ADA
from tests.support.eventually import eventually
from tests.support.inbox import execute, fetch
from tests.support.locks import lock_waits
from tests.support.relaying import outbox

CROWD = 20
BOB = "bob@example.org"


@pytest.fixture
async def auth(api_settings: ApiSettings) -> AsyncIterator[Context]:
    app = create_app(api_settings)
    async with app.router.lifespan_context(app):
        yield app.state.context


@pytest.fixture
def session() -> NewSession:
    return NewSession("Firefox")


@pytest.fixture
async def ada(auth: Context, session: NewSession) -> User:
    return await Accounts(auth.engine, auth.passwords).sign_up(ADA, session=session)


@pytest.fixture
def first(auth: Context, ada: User, session: NewSession) -> str:
    assert ada
    return make_refresh_token(auth.secrets, session.id, 0)


class TestRotation:
    async def test_each_refresh_gives_the_next_token(self, auth: Context, first: str) -> None:
        """A chain of different tokens, in one row with a counter, which has no part of a token."""
        tokens = [first]
        for _ in range(4):
            tokens.append((await refresh_session(auth, tokens[-1])).refresh_token)

        [row] = await fetch(auth.engine, "SELECT *, s::text AS text FROM sessions AS s")
        assert len(set(tokens)) == 5
        assert (row.counter, row.ended_at) == (4, None)
        assert row.refreshed_at > row.created_at
        assert not any(token[-40:] in row.text for token in tokens)

    async def test_it_returns_the_present_user(
        self, auth: Context, ada: User, session: NewSession, first: str
    ) -> None:
        """The next access token has roles that changed since the sign-in."""
        await execute(auth.engine, "UPDATE users SET roles = '{moderator}', version = version + 1")
        refreshed = await refresh_session(auth, first)
        assert refreshed.user == replace(ada, roles=("moderator",), version=ada.version + 1)
        assert refreshed.session_id == session.id

    async def test_a_crowd_with_one_token_gets_the_same_successor(
        self, auth: Context, first: str
    ) -> None:
        results = await asyncio.gather(*(refresh_session(auth, first) for _ in range(CROWD)))
        [row] = await _sessions(auth)
        assert len({result.refresh_token for result in results}) == 1
        assert (row.counter, row.ended_at) == (1, None)
        assert (await refresh_session(auth, results[0].refresh_token)).refresh_token

    async def test_a_lost_response_is_repeated_within_the_grace_period(
        self, auth: Context, first: str
    ) -> None:
        """The identical token, and the grace period is not extended."""
        child = await refresh_session(auth, first)
        before = await _sessions(auth)
        again = [await refresh_session(auth, first) for _ in range(3)]
        assert [each.refresh_token for each in again] == [child.refresh_token] * 3
        assert await _sessions(auth) == before


class TestReuse:
    """A token used again after the grace period is in two hands."""

    async def test_it_ends_the_session_and_that_is_committed(
        self, auth: Context, ada: User, session: NewSession, first: str
    ) -> None:
        """The request is refused, the session has ended, and the audit log has ids alone."""
        child = (await refresh_session(auth, first)).refresh_token
        await _later(auth.engine, auth.settings.refresh_grace_seconds)

        with capture_logs() as logs, pytest.raises(InvalidGrant):
            await refresh_session(auth, first)

        [row] = await _sessions(auth)
        [entry] = await fetch(auth.engine, _REUSES)
        assert row.ended_at is not None
        assert row.end_reason == "token_reused"
        assert (entry.action, entry.actor) == ("authn_token_reuse", "anonymous")
        assert (entry.subject, entry.details) == (str(ada.id), {"session_id": str(session.id)})
        [line] = [line for line in logs if line["event"] == "authn_token_reuse"]
        assert line["session_id"] == str(session.id)
        assert first not in str(logs)
        with pytest.raises(InvalidGrant):
            await refresh_session(auth, child)

    async def test_thief_and_victim_both_lose_the_session(self, auth: Context, first: str) -> None:
        """Whichever is ahead, the other's refresh ends the session for both, and only that one."""
        stolen = await _sign_in(auth)
        ahead = (await refresh_session(auth, stolen)).refresh_token
        ahead = (await refresh_session(auth, ahead)).refresh_token
        await _later(auth.engine, 60)

        for token in (stolen, ahead):
            with pytest.raises(InvalidGrant):
                await refresh_session(auth, token)
        assert (await refresh_session(auth, first)).refresh_token

    @pytest.mark.parametrize("at", ["refresh", "revocation"])
    async def test_earlier_access_tokens_are_refused_everywhere(
        self, auth: Context, ada: User, first: str, at: str
    ) -> None:
        """``tokens_valid_after`` moves with the end of the session, and the event has it."""
        await refresh_session(auth, first)
        await _later(auth.engine, auth.settings.refresh_grace_seconds)

        if at == "refresh":
            with pytest.raises(InvalidGrant):
                await refresh_session(auth, first)
        else:
            assert await end_session_of_token(auth, first)

        [user] = await fetch(auth.engine, "SELECT *, clock_timestamp() AS now FROM users")
        [row] = await _sessions(auth)
        *_, event = await outbox(auth.engine, ada.id)
        assert row.end_reason == "token_reused"
        assert user.tokens_valid_after > user.now - timedelta(seconds=1)
        assert (event.type, event.version) == ("user.updated", user.version)
        recorded = event.payload["tokens_valid_after"]
        assert datetime.fromisoformat(recorded) == user.tokens_valid_after

    async def test_a_crowd_that_reuses_it_ends_the_session_once(
        self, auth: Context, ada: User, first: str
    ) -> None:
        """One end, one event, one entry; no deadlock with a sign-out everywhere."""
        await refresh_session(auth, first)
        await _later(auth.engine, auth.settings.refresh_grace_seconds)

        await asyncio.gather(
            *(refresh_session(auth, first) for _ in range(CROWD)), return_exceptions=True
        )

        assert len(await outbox(auth.engine, ada.id)) == 2
        assert len(await fetch(auth.engine, _REUSES)) == 1

    @pytest.mark.parametrize("is_ahead", [False, True], ids=["two steps behind", "of the future"])
    async def test_a_token_out_of_step_is_a_reuse_even_within_the_grace_period(
        self, auth: Context, session: NewSession, first: str, is_ahead: bool
    ) -> None:
        """Its successor is in use; or after a restore from a backup, nobody knows who had it."""
        child = (await refresh_session(auth, first)).refresh_token
        latest = (await refresh_session(auth, child)).refresh_token
        ahead = make_refresh_token(auth.secrets, session.id, 4)
        for token in (ahead if is_ahead else first, latest):
            with pytest.raises(InvalidGrant):
                await refresh_session(auth, token)


class TestOver:
    """Every end of a session ends its refresh tokens."""

    async def test_it_is_not_refreshed(self, auth: Context, ada: User) -> None:
        assert ada
        for change in (
            "UPDATE sessions SET refreshed_at = refreshed_at - interval '14 days'",
            "UPDATE sessions SET created_at = created_at - interval '30 days'",
            "UPDATE sessions SET ended_at = now(), end_reason = 'signed_out'",
            "DELETE FROM sessions",
            "UPDATE users SET status = 'disabled'",
        ):
            token = await _sign_in(auth)
            await execute(auth.engine, change)
            before = await _sessions(auth)
            with pytest.raises(InvalidGrant):
                await refresh_session(auth, token)
            assert await _sessions(auth) == before, change
        assert await fetch(auth.engine, _REUSES) == []

    async def test_refreshing_keeps_a_session_alive_until_the_absolute_limit(
        self, auth: Context, first: str
    ) -> None:
        """Thirteen idle days at a time, but at most thirty in all."""
        token = first
        for _ in range(2):
            await _later(auth.engine, 13 * 86_400)
            token = (await refresh_session(auth, token)).refresh_token
        await _later(auth.engine, 4 * 86_400)

        with pytest.raises(InvalidGrant):
            await refresh_session(auth, token)

    async def test_any_of_its_tokens_ends_it(self, auth: Context, first: str) -> None:
        """Revoking works with an old token, once, and with no other text."""
        child = (await refresh_session(auth, first)).refresh_token

        ended = [await end_session_of_token(auth, token) for token in ("rt_x", first, first)]

        assert ended == [False, True, False]
        with pytest.raises(InvalidGrant):
            await refresh_session(auth, child)
        [row] = await _sessions(auth)
        assert row.end_reason == "revoked"

    async def test_concurrent_refreshes_and_ends_never_deadlock(
        self, auth: Context, ada: User
    ) -> None:
        tokens = [await _sign_in(auth) for _ in range(5)]
        for token in tokens:
            await refresh_session(auth, token)
        await _later(auth.engine, 60)

        async def end_all() -> None:
            async with auth.engine.begin() as connection:
                await lock_user(connection, ada.id)
                await end_sessions(connection, ada.id, EndReason.SIGNED_OUT)

        crowd: list[Any] = [refresh_session(auth, token) for token in tokens * 3]
        crowd += [end_all() for _ in range(3)] + [_sign_in(auth) for _ in range(3)]
        results = await asyncio.gather(*crowd, return_exceptions=True)

        assert {type(result) for result in results} <= {InvalidGrant, type(None), str}


class TestLimit:
    """A network's limit on refreshes."""

    async def test_it_never_hides_that_a_session_has_ended(self, auth: Context, first: str) -> None:
        """Beyond the limit a valid token must wait, and an invalid one is refused as such."""
        auth = _with(auth, limit_refresh=Rate(1, 3600))
        refreshed, headers = await refresh_within_limit(auth, first, network="192.0.2.1")
        assert headers["RateLimit-Policy"] == '"refresh";q=1;w=3600'

        with pytest.raises(TooManyRequests):
            await refresh_within_limit(auth, refreshed.refresh_token, network="192.0.2.1")
        await _later(auth.engine, 60)
        with pytest.raises(InvalidGrant):
            await refresh_within_limit(auth, first, network="192.0.2.1")
        with pytest.raises(InvalidGrant):
            await refresh_within_limit(auth, "rt_x", network="192.0.2.1")

        [row] = await _sessions(auth)
        assert (row.counter, row.end_reason) == (1, "token_reused")


class TestStart:
    """A session starts only for a user who may have one at that moment."""

    async def test_a_sign_up_starts_one_that_remembers_the_device(
        self, auth: Context, ada: User, session: NewSession
    ) -> None:
        """A sign-up that is refused starts none."""
        new = NewSession()
        with pytest.raises(EmailTaken):
            await Accounts(auth.engine, auth.passwords).sign_up(ADA, session=new)
        [row] = await _sessions(auth)
        assert (row.id, row.user_id, row.counter) == (session.id, ada.id, 0)
        assert (row.user_agent, row.ended_at) == ("Firefox", None)

    async def test_none_starts_after_the_user_changed(self, auth: Context, ada: User) -> None:
        """Not even if the change commits while the start waits for the row."""
        checked = await _hash(auth.engine)
        for change in (
            "UPDATE users SET status = 'disabled'",
            "UPDATE users SET password_hash = 'another'",
            "UPDATE users SET status = 'deleted', deleted_at = now(), email = NULL,"
            " password_hash = NULL",
        ):
            await execute(
                auth.engine, f"UPDATE users SET status = 'active', password_hash = '{checked}'"
            )
            async with auth.engine.begin() as changing:
                await changing.exec_driver_sql(change)
                starting = asyncio.create_task(_start(auth, ada.id, checked))
                await eventually(lambda: lock_waits(auth.engine))
            assert await starting is None, change
            assert await _start(auth, ada.id, checked) is None, change
        assert len(await _sessions(auth)) == 1

    async def test_the_change_sees_every_session_that_started_before(
        self, auth: Context, ada: User
    ) -> None:
        checked = await _hash(auth.engine)

        async def end_all() -> int:
            async with auth.engine.begin() as connection:
                await lock_user(connection, ada.id)
                return await end_sessions(connection, ada.id, EndReason.PASSWORD_CHANGED)

        async with auth.engine.begin() as starting:
            started = await start_session(
                starting, ada.id, checked, NewSession(), session_limits(auth.settings)
            )
            ending = asyncio.create_task(end_all())
            await eventually(lambda: lock_waits(auth.engine))

        assert started is not None
        assert started[0] == ada
        assert await ending == 2

    async def test_it_returns_the_user_as_read_under_the_lock(
        self, auth: Context, ada: User
    ) -> None:
        """A token issued after it is not older than a revocation in between."""
        checked = await _hash(auth.engine)
        async with auth.engine.begin() as change:
            await change.exec_driver_sql(
                "UPDATE users SET tokens_valid_after = date_trunc('second', now()) + '1s'"
            )
            starting = asyncio.create_task(_start(auth, ada.id, checked))
            await eventually(lambda: lock_waits(auth.engine))

        started = await starting
        assert started is not None
        assert started.tokens_valid_after is not None


class TestSignedLate:
    """Anything may happen between the read of the session and the signature."""

    async def test_a_revocation_in_between_refuses_the_token(
        self, auth: Context, ada: User
    ) -> None:
        """It is as old as the read, however long signing takes: nothing else would be safe."""
        refreshed = await refresh_session(auth, await _sign_in(auth))
        async with auth.engine.begin() as connection:
            await end_sessions(connection, ada.id, EndReason.PASSWORD_CHANGED)
            revoked = await change_user(
                connection, ada.id, tokens_valid_after=TOKENS_VALID_FROM_NOW
            )
        assert revoked.tokens_valid_after is not None
        valid_after = revoked.tokens_valid_after.timestamp()
        await eventually(lambda: time.time() > valid_after)

        signer = await auth.keys.signer()
        late = signer.for_user(refreshed.user, refreshed.session_id, at=refreshed.at)

        assert (await auth.keys.verify(late)).issued_at < valid_after

    async def test_the_returned_time_is_that_of_the_read(self, auth: Context, ada: User) -> None:
        """By PostgreSQL's clock, which also sets the time of a revocation, under the lock."""
        checked, limits = await _hash(auth.engine), session_limits(auth.settings)
        async with auth.engine.begin() as connection:
            started = await start_session(connection, ada.id, checked, NewSession(), limits)
            now = await connection.scalar(select(func.clock_timestamp()))
        [row] = await fetch(auth.engine, "SELECT clock_timestamp() AS now")
        refreshed = await refresh_session(auth, await _sign_in(auth))

        assert started is not None
        assert now is not None
        assert started[1] <= now
        assert refreshed.at >= row.now


class TestRoom:
    """A user has a maximum of sessions."""

    async def test_the_one_idle_the_longest_makes_room(self, auth: Context, ada: User) -> None:
        """The others continue; a recently refreshed session is not the one."""
        auth = _with(auth, sessions_per_user_max=3)
        oldest, second, third = [await _sign_in(auth) for _ in range(3)]
        await _later(auth.engine, 60)
        oldest = (await refresh_session(auth, oldest)).refresh_token

        fourth = await _sign_in(auth)

        assert ada
        for token in (oldest, third, fourth):
            assert (await refresh_session(auth, token)).refresh_token
        with pytest.raises(InvalidGrant):
            await refresh_session(auth, second)
        [row] = await fetch(
            auth.engine,
            "SELECT * FROM sessions WHERE ended_at IS NOT NULL ORDER BY ended_at DESC LIMIT 1",
        )
        assert row.end_reason == "too_many"

    async def test_a_crowd_of_sign_ins_stays_within_the_limit(
        self, auth: Context, ada: User
    ) -> None:
        auth = _with(auth, sessions_per_user_max=5)
        checked = await _hash(auth.engine)
        started = await asyncio.gather(*(_start(auth, ada.id, checked) for _ in range(CROWD)))
        live = await fetch(auth.engine, "SELECT * FROM sessions WHERE ended_at IS NULL")
        assert all(started)
        assert len(live) == 5

    async def test_rows_of_ended_sessions_do_not_pile_up(self, auth: Context, ada: User) -> None:
        auth = _with(auth, sessions_per_user_max=3)
        for _ in range(4):
            await _sign_in(auth)
        await _later(auth.engine, 31 * 86_400)
        expired = {row.id for row in await fetch(auth.engine, "SELECT id FROM sessions")}

        for _ in range(8):
            await _sign_in(auth)

        rows = await _sessions(auth)
        assert ada
        assert sum(row.ended_at is None for row in rows) == 3
        assert len(rows) <= 2 * 3 + 1
        assert expired.isdisjoint(row.id for row in rows)

    async def test_only_live_ones_are_listed(self, auth: Context, ada: User, first: str) -> None:
        bob = await Accounts(auth.engine, auth.passwords).sign_up(BOB, session=NewSession())
        for column, limit in (("refreshed_at", 14), ("created_at", 30)):
            await _sign_in(auth)
            await execute(
                auth.engine,
                f"UPDATE sessions SET {column} = now() - interval '{limit} days'"
                " WHERE id = (SELECT id FROM sessions ORDER BY created_at DESC, id LIMIT 1)",
            )
        await end_session_of_token(auth, await _sign_in(auth))
        await _sign_in(auth)
        refreshed = await refresh_session(auth, first)

        async with auth.engine.connect() as connection:
            found = await live_sessions(connection, ada.id, session_limits(auth.settings))

        assert len(found) == 2
        assert found[0].id == refreshed.session_id
        assert all(each.user_id != bob.id for each in found)


_REUSES = "SELECT * FROM audit_log WHERE action = 'authn_token_reuse'"


def _with(auth: Context, **settings: object) -> Context:
    return replace(auth, settings=auth.settings.model_copy(update=settings))


async def _sessions(auth: Context) -> list[Row[Any]]:
    return await fetch(auth.engine, "SELECT * FROM sessions")


async def _hash(engine: AsyncEngine) -> str:
    [row] = await fetch(engine, "SELECT password_hash FROM users")
    return str(row.password_hash)


async def _start(auth: Context, user_id: UUID, password_hash: str) -> User | None:
    async with auth.engine.begin() as connection:
        started = await start_session(
            connection, user_id, password_hash, NewSession(), session_limits(auth.settings)
        )
    return None if started is None else started[0]


async def _sign_in(auth: Context) -> str:
    """Start a session for Ada without hashing; return its refresh token."""
    [row] = await fetch(
        auth.engine, "SELECT id, password_hash FROM users WHERE email = 'ada@example.org'"
    )
    session = NewSession(id=uuid4())
    async with auth.engine.begin() as connection:
        assert await start_session(
            connection, row.id, row.password_hash, session, session_limits(auth.settings)
        )
    return make_refresh_token(auth.secrets, session.id, 0)


async def _later(engine: AsyncEngine, seconds: float) -> None:
    """Let this much time pass, by moving all sessions into the past."""
    by = f"interval '{timedelta(seconds=seconds).total_seconds()} seconds'"
    await execute(
        engine,
        f"UPDATE sessions SET created_at = created_at - {by}, refreshed_at = refreshed_at - {by}",
    )
