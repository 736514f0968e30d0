"""Sessions in a real database: how they start, are refreshed, and end, also concurrently."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Row, func, select
from structlog.testing import capture_logs

from auth_service.app import create_app
from auth_service.context import Context
from auth_service.sessions.end import EndReason, end_sessions
from auth_service.sessions.model import NewSession
from auth_service.sessions.queries import live_sessions, session_limits
from auth_service.sessions.refresh import (
    Refreshed,
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
from tests.support.locks import after_waiting, until_waiting
from tests.support.log_ids import assert_has_ids
from tests.support.relaying import outbox

CROWD = 20
BOB = "bob@example.org"


@dataclass(frozen=True)
class Ada:
    """A user, their first session with its refresh token, and the service."""

    auth: Context
    user: User
    session: NewSession

    @property
    def id(self) -> UUID:
        return self.user.id

    @property
    def first(self) -> str:
        return make_refresh_token(self.auth.secrets, self.session.id, 0)

    def having(self, **settings: object) -> "Ada":
        """The same at a service with other settings."""
        changed = self.auth.settings.model_copy(update=settings)
        return replace(self, auth=replace(self.auth, settings=changed))

    async def refreshed(self, token: str) -> Refreshed:
        return await refresh_session(self.auth, token)

    async def refresh(self, token: str) -> str:
        """Return the next refresh token."""
        return (await self.refreshed(token)).refresh_token

    async def refused(self, *tokens: str) -> None:
        for token in tokens:
            with pytest.raises(InvalidGrant):
                await self.refresh(token)

    async def start(self, password_hash: str) -> User | None:
        async with self.auth.engine.begin() as connection:
            started = await start_session(
                connection, self.id, password_hash, NewSession(), session_limits(self.auth.settings)
            )
        return None if started is None else started[0]

    async def sign_in(self) -> str:
        """Start a session without hashing; return its refresh token."""
        limits, session = session_limits(self.auth.settings), NewSession(id=uuid4())
        async with self.auth.engine.begin() as connection:
            assert await start_session(connection, self.id, await self.hash(), session, limits)
        return make_refresh_token(self.auth.secrets, session.id, 0)

    async def end_all(self, reason: EndReason = EndReason.PASSWORD_CHANGED) -> int:
        async with self.auth.engine.begin() as connection:
            await lock_user(connection, self.id)
            return await end_sessions(connection, self.id, reason)

    async def hash(self) -> str:
        [row] = await self.fetch("SELECT password_hash FROM users WHERE id = :id", id=self.id)
        return str(row.password_hash)

    async def sessions(self) -> list[Row[Any]]:
        return await self.fetch("SELECT * FROM sessions")

    async def events(self) -> list[Row[Any]]:
        return await outbox(self.auth.engine, self.id)

    async def later(self, seconds: float) -> None:
        """Let this much time pass, by moving all sessions into the past."""
        by = f"interval '{seconds} seconds'"
        moved = f"created_at = created_at - {by}, refreshed_at = refreshed_at - {by}"
        await self.execute(f"UPDATE sessions SET {moved}")

    async def after_grace(self) -> None:
        await self.later(self.auth.settings.refresh_grace_seconds)

    async def fetch(self, query: str, **values: Any) -> list[Row[Any]]:
        return await fetch(self.auth.engine, query, **values)

    async def execute(self, *statements: str) -> None:
        await execute(self.auth.engine, *statements)


@pytest.fixture
async def ada(api_settings: ApiSettings) -> AsyncIterator[Ada]:
    app, session = create_app(api_settings), NewSession("Firefox")
    async with app.router.lifespan_context(app):
        auth: Context = app.state.context
        user = await Accounts(auth.engine, auth.passwords).sign_up(ADA, session=session)
        yield Ada(auth, user, session)


class TestRotation:
    async def test_each_refresh_gives_the_next_token(self, ada: Ada) -> None:
        """A chain of different tokens, in one row with a counter, which has no part of a token."""
        tokens = [ada.first]
        for _ in range(4):
            tokens.append(await ada.refresh(tokens[-1]))

        [row] = await ada.fetch("SELECT *, s::text AS text FROM sessions AS s")
        assert len(set(tokens)) == 5
        assert (row.counter, row.ended_at) == (4, None)
        assert row.refreshed_at > row.created_at
        assert not any(token[-40:] in row.text for token in tokens)

    async def test_it_returns_the_present_user(self, ada: Ada) -> None:
        """The next access token has roles that changed since the sign-in."""
        await ada.execute("UPDATE users SET roles = '{moderator}', version = version + 1")
        refreshed = await ada.refreshed(ada.first)
        now = replace(ada.user, roles=("moderator",), version=ada.user.version + 1)
        assert refreshed.user == now
        assert refreshed.session_id == ada.session.id

    async def test_a_crowd_with_one_token_gets_the_same_successor(self, ada: Ada) -> None:
        results = await asyncio.gather(*(ada.refresh(ada.first) for _ in range(CROWD)))
        [row] = await ada.sessions()
        assert len(set(results)) == 1
        assert (row.counter, row.ended_at) == (1, None)
        assert await ada.refresh(results[0])

    async def test_a_lost_response_is_repeated_within_the_grace_period(self, ada: Ada) -> None:
        """The identical token, and the grace period is not extended."""
        child = await ada.refresh(ada.first)
        before = await ada.sessions()
        assert [await ada.refresh(ada.first) for _ in range(3)] == [child] * 3
        assert await ada.sessions() == before


class TestReuse:
    """A token used again after the grace period is in two hands."""

    async def test_it_ends_the_session_and_that_is_committed(self, ada: Ada) -> None:
        """The request is refused, the session has ended, and the audit log has ids alone."""
        child = await ada.refresh(ada.first)
        await ada.after_grace()

        with capture_logs() as logs, pytest.raises(InvalidGrant):
            await ada.refresh(ada.first)

        [row] = await ada.sessions()
        [entry] = await ada.fetch(_REUSES)
        assert row.ended_at is not None
        assert row.end_reason == "token_reused"
        assert (entry.action, entry.actor) == ("authn_token_reuse", "anonymous")
        assert (entry.subject, entry.details) == (str(ada.id), {"session_id": str(ada.session.id)})
        [line] = [line for line in logs if line["event"] == "authn_token_reuse"]
        assert line["session_id"] == str(ada.session.id)
        assert_has_ids(logs, "authn_token_reuse", user_id=ada.id)
        assert ada.first not in str(logs)
        await ada.refused(child)

    async def test_thief_and_victim_both_lose_the_session(self, ada: Ada) -> None:
        """Whichever is ahead, the other's refresh ends the session for both, and only that one."""
        stolen = await ada.sign_in()
        ahead = await ada.refresh(await ada.refresh(stolen))
        await ada.later(60)
        await ada.refused(stolen, ahead)
        assert await ada.refresh(ada.first)

    @pytest.mark.parametrize("at", ["refresh", "revocation"])
    async def test_earlier_access_tokens_are_refused_everywhere(self, ada: Ada, at: str) -> None:
        """``tokens_valid_after`` moves with the end of the session, and the event has it."""
        await ada.refresh(ada.first)
        await ada.after_grace()

        if at == "refresh":
            await ada.refused(ada.first)
        else:
            assert await end_session_of_token(ada.auth, ada.first)

        [user] = await ada.fetch("SELECT *, clock_timestamp() AS now FROM users")
        [row] = await ada.sessions()
        *_, event = await ada.events()
        assert row.end_reason == "token_reused"
        assert user.tokens_valid_after > user.now - timedelta(seconds=1)
        assert (event.type, event.version) == ("user.updated", user.version)
        recorded = event.payload["tokens_valid_after"]
        assert datetime.fromisoformat(recorded) == user.tokens_valid_after

    async def test_a_crowd_that_reuses_it_ends_the_session_once(self, ada: Ada) -> None:
        """One end, one event, one entry; no deadlock with a sign-out everywhere."""
        await ada.refresh(ada.first)
        await ada.after_grace()
        crowd = (ada.refresh(ada.first) for _ in range(CROWD))
        await asyncio.gather(*crowd, return_exceptions=True)
        assert len(await ada.events()) == 2
        assert len(await ada.fetch(_REUSES)) == 1

    @pytest.mark.parametrize("is_ahead", [False, True], ids=["two steps behind", "of the future"])
    async def test_a_token_out_of_step_is_a_reuse_even_within_the_grace_period(
        self, ada: Ada, is_ahead: bool
    ) -> None:
        """Its successor is in use; or after a restore from a backup, nobody knows who had it."""
        latest = await ada.refresh(await ada.refresh(ada.first))
        ahead = make_refresh_token(ada.auth.secrets, ada.session.id, 4)
        await ada.refused(ahead if is_ahead else ada.first, latest)


class TestOver:
    """Every end of a session ends its refresh tokens."""

    async def test_it_is_not_refreshed(self, ada: Ada) -> None:
        for change in (
            "UPDATE sessions SET refreshed_at = refreshed_at - interval '14 days'",
            "UPDATE sessions SET created_at = created_at - interval '30 days'",
            "UPDATE sessions SET ended_at = now(), end_reason = 'signed_out'",
            "DELETE FROM sessions",
            "UPDATE users SET status = 'disabled'",
        ):
            token = await ada.sign_in()
            await ada.execute(change)
            before = await ada.sessions()
            await ada.refused(token)
            assert await ada.sessions() == before, change
        assert await ada.fetch(_REUSES) == []

    async def test_refreshing_keeps_a_session_alive_until_an_absolute_limit(self, ada: Ada) -> None:
        """Thirteen idle days at a time, but at most thirty in all."""
        token = ada.first
        for _ in range(2):
            await ada.later(13 * 86_400)
            token = await ada.refresh(token)
        await ada.later(4 * 86_400)
        await ada.refused(token)

    async def test_any_of_its_tokens_ends_it(self, ada: Ada) -> None:
        """Revoking works with an old token, once, and with no other text."""
        child = await ada.refresh(ada.first)
        for token, is_ended in (("rt_x", False), (ada.first, True), (ada.first, False)):
            assert await end_session_of_token(ada.auth, token) is is_ended
        await ada.refused(child)
        [row] = await ada.sessions()
        assert row.end_reason == "revoked"

    async def test_concurrent_refreshes_and_ends_never_deadlock(self, ada: Ada) -> None:
        tokens = [await ada.sign_in() for _ in range(5)]
        for token in tokens:
            await ada.refresh(token)
        await ada.later(60)

        crowd: list[Any] = [ada.refresh(token) for token in tokens * 3]
        crowd += [ada.end_all() for _ in range(3)] + [ada.sign_in() for _ in range(3)]
        results = await asyncio.gather(*crowd, return_exceptions=True)

        assert {type(result) for result in results} <= {InvalidGrant, int, str}


class TestLimit:
    """A network's limit on refreshes."""

    async def test_it_never_hides_that_a_session_has_ended(self, ada: Ada) -> None:
        """Beyond the limit a valid token must wait, and an invalid one is refused as such."""
        ada = ada.having(limit_refresh=Rate(1, 3600))
        refresh = partial(refresh_within_limit, ada.auth, network="192.0.2.1")
        refreshed, headers = await refresh(ada.first)
        assert headers["RateLimit-Policy"] == '"refresh";q=1;w=3600'

        with pytest.raises(TooManyRequests):
            await refresh(refreshed.refresh_token)
        await ada.later(60)
        for token in (ada.first, "rt_x"):
            with pytest.raises(InvalidGrant):
                await refresh(token)

        [row] = await ada.sessions()
        assert (row.counter, row.end_reason) == (1, "token_reused")


class TestStart:
    """A session starts only for a user who may have one at that moment."""

    async def test_a_sign_up_starts_one_that_remembers_the_device(self, ada: Ada) -> None:
        """A sign-up that is refused starts none."""
        new = NewSession()
        with pytest.raises(EmailTaken):
            await Accounts(ada.auth.engine, ada.auth.passwords).sign_up(ADA, session=new)
        [row] = await ada.sessions()
        assert (row.id, row.user_id, row.counter) == (ada.session.id, ada.id, 0)
        assert (row.user_agent, row.ended_at) == ("Firefox", None)

    async def test_none_starts_after_the_user_changed(self, ada: Ada) -> None:
        """Not even if the change commits while the start waits for the row."""
        checked = await ada.hash()
        for change in (
            "UPDATE users SET status = 'disabled'",
            "UPDATE users SET password_hash = 'another'",
            "UPDATE users SET status = 'deleted', deleted_at = now(), email = NULL,"
            " password_hash = NULL",
        ):
            await ada.execute(f"UPDATE users SET status = 'active', password_hash = '{checked}'")
            assert await after_waiting(ada.auth.engine, ada.start(checked), change) is None
            assert await ada.start(checked) is None, change
        assert len(await ada.sessions()) == 1

    async def test_the_change_sees_every_session_that_started_before(self, ada: Ada) -> None:
        checked = await ada.hash()

        async with ada.auth.engine.begin() as starting:
            limits = session_limits(ada.auth.settings)
            started = await start_session(starting, ada.id, checked, NewSession(), limits)
            ending = asyncio.create_task(ada.end_all())
            await until_waiting(ada.auth.engine)

        assert started is not None
        assert started[0] == ada.user
        assert await ending == 2

    async def test_it_returns_the_user_as_read_under_the_lock(self, ada: Ada) -> None:
        """A token issued after it is not older than a revocation in between."""
        start = ada.start(await ada.hash())
        change = "UPDATE users SET tokens_valid_after = date_trunc('second', now()) + '1s'"
        started = await after_waiting(ada.auth.engine, start, change)
        assert started is not None
        assert started.tokens_valid_after is not None


class TestSignedLate:
    """Anything may happen between the read of the session and the signature."""

    async def test_a_revocation_in_between_refuses_the_token(self, ada: Ada) -> None:
        """It is as old as the read, however long signing takes: nothing else would be safe."""
        refreshed = await ada.refreshed(await ada.sign_in())
        async with ada.auth.engine.begin() as connection:
            await end_sessions(connection, ada.id, EndReason.PASSWORD_CHANGED)
            change = {"tokens_valid_after": TOKENS_VALID_FROM_NOW}
            revoked = await change_user(connection, ada.id, **change)
        assert revoked.tokens_valid_after is not None
        valid_after = revoked.tokens_valid_after.timestamp()
        await eventually(lambda: time.time() > valid_after)

        signer = await ada.auth.keys.signer()
        late = signer.for_user(
            refreshed.user,
            refreshed.session_id,
            at=refreshed.at,
            authenticated_at=refreshed.authenticated_at,
        )

        assert (await ada.auth.keys.verify(late)).issued_at < valid_after

    async def test_the_returned_time_is_that_of_the_read(self, ada: Ada) -> None:
        """By PostgreSQL's clock, which also sets the time of a revocation, under the lock."""
        checked, limits = await ada.hash(), session_limits(ada.auth.settings)
        async with ada.auth.engine.begin() as connection:
            started = await start_session(connection, ada.id, checked, NewSession(), limits)
            now = await connection.scalar(select(func.clock_timestamp()))
        [row] = await ada.fetch("SELECT clock_timestamp() AS now")
        refreshed = await ada.refreshed(await ada.sign_in())

        assert started is not None
        assert now is not None
        assert started[1] <= now
        assert refreshed.at >= row.now


class TestRoom:
    """A user has a maximum of sessions."""

    async def test_the_one_idle_the_longest_makes_room(self, ada: Ada) -> None:
        """The others continue; a recently refreshed session is not the one."""
        ada = ada.having(sessions_per_user_max=3)
        oldest, second, third = [await ada.sign_in() for _ in range(3)]
        await ada.later(60)
        oldest = await ada.refresh(oldest)

        fourth = await ada.sign_in()

        for token in (oldest, third, fourth):
            assert await ada.refresh(token)
        await ada.refused(second)
        ended = await ada.fetch("SELECT end_reason FROM sessions ORDER BY ended_at DESC NULLS LAST")
        assert ended[0].end_reason == "too_many"

    async def test_a_crowd_of_sign_ins_stays_within_the_limit(self, ada: Ada) -> None:
        ada = ada.having(sessions_per_user_max=5)
        checked = await ada.hash()
        started = await asyncio.gather(*(ada.start(checked) for _ in range(CROWD)))
        live = await ada.fetch("SELECT * FROM sessions WHERE ended_at IS NULL")
        assert all(started)
        assert len(live) == 5

    async def test_rows_of_ended_sessions_do_not_pile_up(self, ada: Ada) -> None:
        ada = ada.having(sessions_per_user_max=3)
        for _ in range(4):
            await ada.sign_in()
        await ada.later(31 * 86_400)
        expired = {row.id for row in await ada.fetch("SELECT id FROM sessions")}

        for _ in range(8):
            await ada.sign_in()

        rows = await ada.sessions()
        assert sum(row.ended_at is None for row in rows) == 3
        assert len(rows) <= 2 * 3 + 1
        assert expired.isdisjoint(row.id for row in rows)

    async def test_only_live_ones_are_listed(self, ada: Ada) -> None:
        bob = await Accounts(ada.auth.engine, ada.auth.passwords).sign_up(BOB, session=NewSession())
        for column, limit in (("refreshed_at", 14), ("created_at", 30)):
            await ada.sign_in()
            await ada.execute(
                f"UPDATE sessions SET {column} = now() - interval '{limit} days'"
                " WHERE id = (SELECT id FROM sessions ORDER BY created_at DESC, id LIMIT 1)"
            )
        await end_session_of_token(ada.auth, await ada.sign_in())
        await ada.sign_in()
        refreshed = await ada.refreshed(ada.first)

        async with ada.auth.engine.connect() as connection:
            found = await live_sessions(connection, ada.id, session_limits(ada.auth.settings))

        assert len(found) == 2
        assert found[0].id == refreshed.session_id
        assert all(each.user_id != bob.id for each in found)


_REUSES = "SELECT * FROM audit_log WHERE action = 'authn_token_reuse'"
