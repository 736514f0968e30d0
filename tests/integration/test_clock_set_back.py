"""The clock was a day ahead and was set back: times in the tables are a day in the future."""

from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine
from structlog.testing import capture_logs

import auth_service.outbox.clock
import blog_service.settings
from auth_service.mail.letters import Purpose
from auth_service.mail.queue import claim_due_mails
from auth_service.mail.request import request_mail
from auth_service.outbox.metrics import figures
from auth_service.settings import ApiSettings
from blog_service.replica_of_users import USERS
from blog_service.settings import DatabaseSettings
from replica.proof.current import current, note_verdict, turn, why_degraded
from replica.proof.model import NOT_PROVED, Proved, State, state
from replica.samples.clock import latest
from replica.samples.read import presence
from replica.status.read import status
from service_kit.database.clock import watch
from service_kit.process.rates import Rate
from tests.support.auth_api import PASSWORD, AuthApi, assert_problem, bearer, serving, signed_up
from tests.support.background import in_background
from tests.support.content import people_of
from tests.support.database_sessions import committed, reading
from tests.support.eventually import eventually
from tests.support.inbox import execute, fetch
from tests.support.log_ids import assert_has_ids
from tests.support.relaying import outbox
from tests.support.settings import having

ADA = {"email": "ada@example.org", "password": PASSWORD}
NEW = "another horse battery staple"
REVOKED_NOW = "UPDATE users SET tokens_valid_after = date_trunc('second', now())"


async def set_back(engine: AsyncEngine) -> None:
    """Move all times in the tables a day ahead, as if the clock had been set back by a day."""
    columns = await fetch(
        engine,
        "SELECT table_name, column_name FROM information_schema.columns"
        " WHERE table_schema = 'public' AND data_type = 'timestamp with time zone'"
        " AND table_name <> 'audit_log'",  # which cannot be changed
    )
    assert columns
    later = "UPDATE {0} SET {1} = {1} + interval '1 day'"
    await execute(engine, *(later.format(*row) for row in columns))


def a_sample() -> str:
    """SQL that writes what a consumer writes every few seconds."""
    return f"INSERT INTO samples (process, state, applied) VALUES ('{uuid4()}', 'consuming', 0)"


class TestLimits:
    """No limit lasts longer than intended."""

    async def test_a_spent_limit_is_available_again(
        self, api_settings: ApiSettings, auth_engine: AsyncEngine
    ) -> None:
        """Then it is a limit like any other, with a wait of seconds."""
        async with serving(having(api_settings, limit_signup=Rate(3, 60))) as api:
            for number in range(3):
                await signed_up(api, f"before{number}@example.org")
            await set_back(auth_engine)

            for number in range(3):
                await signed_up(api, f"after{number}@example.org")
            body = {"email": "last@example.org", "password": PASSWORD}
            refused = await api.post("/v1/signup", json=body)

        assert_problem(refused, 429, "too_many_requests")
        assert 0 < int(refused.headers["Retry-After"]) <= 20

    async def test_wrong_passwords_lock_no_one_out_for_a_day(
        self, api_settings: ApiSettings, auth_engine: AsyncEngine
    ) -> None:
        """Neither by their own delay nor by a limit."""
        few = {"signin_failures_free": 1, "limit_signin_failures": Rate(1, 60)}
        async with serving(having(api_settings, **few)) as api:
            await signed_up(api, ADA["email"])
            wrong = await api.post("/v1/signin", json={**ADA, "password": "wrong horse"})
            assert_problem(wrong, 401, "invalid_credentials")
            await set_back(auth_engine)

            answer = await api.post("/v1/signin", json=ADA)

        assert answer.status_code == 200, answer.text

    async def test_a_mail_is_sent_now(self, api: AuthApi, auth_engine: AsyncEngine) -> None:
        """Not only when the clock has caught up."""
        ada = await signed_up(api, ADA["email"])
        user_id = UUID(ada["user"]["id"])
        await committed(auth_engine, request_mail, user_id, Purpose.VERIFY_EMAIL)
        await set_back(auth_engine)

        assert len(await committed(auth_engine, claim_due_mails, 10)) == 1
        assert not await committed(auth_engine, claim_due_mails, 10)

    async def test_posts_of_the_future_do_not_count(
        self, blog_settings: blog_service.settings.ApiSettings, signing_key: Any
    ) -> None:
        """Their author would otherwise wait for a day."""
        settings = having(blog_settings, limit_posts=Rate(2, 3600))
        async with people_of(settings, signing_key) as people:
            ada = await people.user()
            for _ in range(2):
                await people.post(ada)
            await set_back(people.engine)

            for _ in range(2):
                await people.post(ada)
            text = {"title": "One more", "body": "A body"}
            refused = await people.ask(ada, "POST", "/v1/posts", text)

        assert_problem(refused, 429, "too_many_requests")
        assert 3500 < int(refused.headers["Retry-After"]) <= 3600


class TestTokens:
    """Users whose tokens were revoked while the clock was ahead can use new tokens."""

    @pytest.fixture
    async def ada(self, api: AuthApi) -> dict[str, Any]:
        """A user who changed the password a day from now."""
        ada = await signed_up(api, ADA["email"])
        answer = await api.change_password(ada, NEW)
        assert answer.status_code == 200, answer.text
        await set_back(api.engine)
        return ada

    async def test_signing_in_issues_valid_tokens(self, api: AuthApi, ada: dict[str, Any]) -> None:
        """Other services learn of it by an event; earlier tokens stay refused."""
        first = await api.post("/v1/signin", json={**ADA, "password": NEW})
        assert first.status_code == 200, first.text

        assert (await api.me(first.json())).status_code == 200
        assert (await api.me(ada)).status_code == 401
        *_, event = await outbox(api.engine, UUID(ada["user"]["id"]))
        is_back = "tokens_valid_after - now() < interval '2 s' AS is_back"
        [row] = await fetch(api.engine, f"SELECT version, {is_back} FROM users")
        assert (event.type, event.version, row.is_back) == ("user.updated", row.version, True)

    async def test_refreshing_issues_valid_tokens(self, api: AuthApi) -> None:
        """A session from before the change of the clock needs no password."""
        ada = await signed_up(api, ADA["email"])
        await execute(api.engine, REVOKED_NOW)
        await set_back(api.engine)

        answer = await api.refresh(ada["refresh_token"])

        assert (await api.me(answer.json())).status_code == 200

    async def test_a_later_revocation_counts_from_now(self, api: AuthApi) -> None:
        """It also refuses tokens that were issued since the clock was set back."""
        ada = await signed_up(api, ADA["email"])
        await execute(api.engine, REVOKED_NOW)
        await set_back(api.engine)
        with capture_logs() as lines:
            first = (await api.post("/v1/signin", json=ADA)).json()
            everywhere = await api.post("/v1/signout?scope=global", headers=bearer(first))
        assert everywhere.status_code == 204, everywhere.text
        for event in ("user.tokens_brought_back", "authn_logout"):
            assert_has_ids(lines, event, user_id=ada["user"]["id"])

        assert (await api.me(first)).status_code == 401
        second = (await api.post("/v1/signin", json=ADA)).json()
        assert (await api.me(second)).status_code == 200


class TestPresence:
    """A process that was seen in the future does not count as present."""

    async def test_a_consumer_of_the_future_is_not_present(self, blog_engine: AsyncEngine) -> None:
        """A consumer that has ended would otherwise count for a day."""
        await execute(blog_engine, a_sample())
        await set_back(blog_engine)

        assert (await reading(blog_engine, presence)).consumers == 0

    async def test_a_proof_of_the_future_proves_nothing(self, blog_engine: AsyncEngine) -> None:
        """Without a source it would otherwise be called new for a day."""
        counts = {"heartbeat": 1, "users": 1, "tombstones": 0, "in_flight": 0}
        proved = Proved(source=uuid4(), **counts, differing={}, findings=(), run_id=None)
        async with blog_engine.begin() as connection:
            await turn(connection, on=True)
            await note_verdict(connection, proved, covered=1)

        async def known() -> tuple[State, str | None]:
            async with blog_engine.connect() as connection:
                found = await current(connection)
                return state(found, 45), await why_degraded(connection, heartbeat_seconds_max=45)

        assert await known() == (State.EQUAL, None)
        await set_back(blog_engine)
        assert await known() == (State.UNKNOWN, NOT_PROVED)


class TestReporting:
    """Status and log report the clock, with the remedy."""

    async def test_status_of_both_services_reports_the_clock(
        self, api: AuthApi, blog_engine: AsyncEngine
    ) -> None:
        """By how much it was set back, and where to read on; nothing while it is right."""
        of_blog = DatabaseSettings(_env_file=None, database_url="postgresql:///")

        async def clocks() -> list[Any]:
            async with api.engine.connect() as auth, blog_engine.connect() as blog:
                of_auth = (await figures(auth, heartbeat_seconds=15)).clock
                return [of_auth, (await status(USERS, of_blog, blog))["clock"]]

        await signed_up(api, ADA["email"])
        await execute(blog_engine, a_sample())
        assert await clocks() == [None, None]

        await set_back(api.engine)
        await set_back(blog_engine)
        for named in await clocks():
            assert "86,39" in named or "86,400" in named
            assert "docs/runbook.md" in named

    async def test_the_log_of_both_services_reports_the_clock(
        self, api: AuthApi, blog_engine: AsyncEngine
    ) -> None:
        """Once, as an alarm."""
        await signed_up(api, ADA["email"])
        await execute(blog_engine, a_sample())
        await set_back(api.engine)
        await set_back(blog_engine)

        def noticed() -> list[tuple[str, str]]:
            return [(line["event"], line["log_level"]) for line in logs]

        with capture_logs() as logs:
            async with (
                in_background(watch(api.engine, auth_service.outbox.clock.LATEST)),
                in_background(watch(blog_engine, latest(USERS))),
            ):
                await eventually(lambda: noticed() == [("clock.set_back", "critical")] * 2)
