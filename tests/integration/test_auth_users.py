"""Use cases of users: one transaction each, rising versions, permanent deletion."""

import asyncio
from itertools import pairwise
from uuid import UUID

import pytest
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from auth_service.accounts.change_email import change_email
from auth_service.accounts.delete import delete
from auth_service.accounts.sign_up import sign_up
from auth_service.mail.letters import Purpose
from auth_service.mail.request import request_mail
from auth_service.sessions.model import NewSession
from auth_service.users.model import (
    EmailTaken,
    LastAdministrator,
    NoSuchUser,
    User,
    UserError,
    WrongPassword,
)
from auth_service.users.passwords import Passwords
from contracts.events import UserCreated, UserDeleted, UserUpdated
from tests.support.eventually import eventually
from tests.support.inbox import execute, fetch
from tests.support.locks import lock_waits
from tests.support.relaying import outbox

PASSWORD = "heron lantern gravel sonnet"


@pytest.fixture
async def ada(auth_engine: AsyncEngine, passwords: Passwords) -> User:
    return await sign_up(auth_engine, passwords, email="ada@example.org", password=PASSWORD)


class TestVersion:
    """A per-user integer: max(previous + 1, microseconds of PostgreSQL's clock)."""

    async def test_it_is_at_least_the_databases_clock(
        self, auth_engine: AsyncEngine, passwords: Passwords
    ) -> None:
        """A database restored from a backup continues above its past."""
        before = await clock(auth_engine)

        user = await sign_up(auth_engine, passwords, email="a@example.org", password=PASSWORD)
        between = await clock(auth_engine)
        changed = await change_email(
            auth_engine, passwords, user.id, email="b@example.org", password=PASSWORD
        )

        assert before <= user.version <= between <= changed.version <= await clock(auth_engine)

    async def test_it_rises_with_every_change(
        self, auth_engine: AsyncEngine, passwords: Passwords, ada: User
    ) -> None:
        for n in range(3):
            await change_email(
                auth_engine, passwords, ada.id, email=f"ada{n}@example.org", password=PASSWORD
            )
        await delete(auth_engine, passwords, ada.id, password=PASSWORD)

        versions = [row.version for row in await outbox(auth_engine, ada.id)]
        [row] = await fetch(auth_engine, "SELECT version FROM users")
        assert len(versions) == 5
        assert all(one < other for one, other in pairwise(versions))
        assert row.version == versions[-1]

    async def test_it_rises_though_the_clock_went_back(
        self, auth_engine: AsyncEngine, passwords: Passwords, ada: User
    ) -> None:
        """A version ahead of the clock is followed by the next number."""
        ahead = await clock(auth_engine) + 10**9
        await execute(auth_engine, f"UPDATE users SET version = {ahead}")
        changed = await change_email(
            auth_engine, passwords, ada.id, email="a@example.org", password=PASSWORD
        )
        assert changed.version == ahead + 1

    async def test_concurrent_changes_of_one_user_get_distinct_versions_in_order(
        self, auth_engine: AsyncEngine, passwords: Passwords, ada: User
    ) -> None:
        """The version is assigned under the row's lock, and recorded in the same order."""
        changed = await asyncio.gather(
            *(
                change_email(
                    auth_engine, passwords, ada.id, email=f"ada{n}@example.org", password=PASSWORD
                )
                for n in range(12)
            )
        )

        rows = await outbox(auth_engine, ada.id)
        versions = [row.version for row in rows]
        [last] = await fetch(auth_engine, "SELECT * FROM users")
        assert len(rows) == 13
        assert all(one < other for one, other in pairwise(versions))
        assert sorted(user.version for user in changed) == versions[1:]
        assert (last.version, last.email) == (versions[-1], rows[-1].payload["email"])


class TestRecording:
    """Row and event are committed together or not at all."""

    async def test_a_change_and_its_event_are_one(
        self, auth_engine: AsyncEngine, passwords: Passwords, ada: User
    ) -> None:
        """The event holds the full state of the row, at the row's version."""
        changed = await change_email(
            auth_engine, passwords, ada.id, email="Lovelace@Example.org", password=PASSWORD
        )

        created, updated = await outbox(auth_engine, ada.id)
        assert [created.type, updated.type] == [UserCreated.type, UserUpdated.type]
        assert created.text == ada.state().model_dump_json()
        assert updated.text == changed.state().model_dump_json()
        assert updated.payload["email"] == "lovelace@example.org"
        assert "argon2" not in created.text + updated.text

    async def test_without_the_event_there_is_no_change(
        self, auth_engine: AsyncEngine, passwords: Passwords, ada: User
    ) -> None:
        """An outbox that refuses rolls back sign-up, change and deletion."""
        before = await fetch(auth_engine, "SELECT * FROM users")
        await execute(
            auth_engine,
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN RAISE EXCEPTION 'refused for a test'; END $$",
            "CREATE TRIGGER refuse BEFORE INSERT ON outbox_events"
            " FOR EACH ROW EXECUTE FUNCTION refuse()",
        )

        with pytest.raises(DBAPIError):
            await sign_up(auth_engine, passwords, email="bob@example.org", password=PASSWORD)
        with pytest.raises(DBAPIError):
            await change_email(
                auth_engine, passwords, ada.id, email="a@example.org", password=PASSWORD
            )
        with pytest.raises(DBAPIError):
            await delete(auth_engine, passwords, ada.id, password=PASSWORD)

        [event] = await outbox(auth_engine)
        assert await fetch(auth_engine, "SELECT * FROM users") == before
        assert event.payload["email"] == "ada@example.org"

    async def test_without_the_change_there_is_no_event(
        self, auth_engine: AsyncEngine, passwords: Passwords, ada: User
    ) -> None:
        await sign_up(auth_engine, passwords, email="bob@example.org", password=PASSWORD)
        with pytest.raises(EmailTaken):
            await sign_up(auth_engine, passwords, email="ADA@example.org", password=PASSWORD)
        with pytest.raises(EmailTaken):
            await change_email(
                auth_engine, passwords, ada.id, email="Bob@example.org", password=PASSWORD
            )
        with pytest.raises(WrongPassword):
            await change_email(
                auth_engine, passwords, ada.id, email="a@example.org", password="wrong"
            )
        with pytest.raises(WrongPassword):
            await delete(auth_engine, passwords, ada.id, password="wrong")
        same = await change_email(
            auth_engine, passwords, ada.id, email="Ada@Example.org", password=PASSWORD
        )

        assert same == ada
        assert [row.type for row in await outbox(auth_engine)] == [UserCreated.type] * 2

    async def test_one_of_two_sign_ups_with_one_address_wins(
        self, auth_engine: AsyncEngine, passwords: Passwords
    ) -> None:
        results = await asyncio.gather(
            *(
                sign_up(auth_engine, passwords, email=email, password=PASSWORD)
                for email in ("ada@example.org", "ADA@example.org", "Ada@Example.Org")
            ),
            return_exceptions=True,
        )

        assert sorted(type(result).__name__ for result in results) == [
            "EmailTaken",
            "EmailTaken",
            "User",
        ]
        assert len(await outbox(auth_engine)) == 1


class TestMail:
    async def test_a_sign_up_requests_a_mail_if_mail_is_configured(
        self, auth_engine: AsyncEngine, passwords: Passwords, ada: User
    ) -> None:
        """In the transaction that creates the user; the same address as new one changes nothing."""
        await give_links(auth_engine)
        for is_sent in (False, True):
            await change_email(
                auth_engine,
                passwords,
                ada.id,
                email="Ada@example.org",
                password=PASSWORD,
                mail=is_sent,
            )
        assert await fetch(auth_engine, "SELECT * FROM mails") == []
        assert len(await fetch(auth_engine, "SELECT * FROM mail_links")) == 1
        assert await fetch(auth_engine, "SELECT * FROM audit_log") == []
        bob = await sign_up(
            auth_engine, passwords, email="bob@example.org", password=PASSWORD, mail=True
        )
        mails = await fetch(auth_engine, "SELECT user_id, purpose FROM mails")
        assert [tuple(mail) for mail in mails] == [(bob.id, "verify_email")]

    async def test_a_new_address_needs_a_new_link(
        self, auth_engine: AsyncEngine, passwords: Passwords, ada: User
    ) -> None:
        """A link for the old address would verify the new one; another user's link stays."""
        bob = await sign_up(auth_engine, passwords, email="bob@example.org", password=PASSWORD)
        await execute(auth_engine, "UPDATE users SET email_verified = true")
        await give_links(auth_engine)

        changed = await change_email(
            auth_engine, passwords, ada.id, email="a@example.org", password=PASSWORD, mail=True
        )

        mails = await fetch(auth_engine, "SELECT user_id, purpose FROM mails")
        links = await fetch(auth_engine, "SELECT user_id FROM mail_links")
        [entry] = await fetch(auth_engine, "SELECT * FROM audit_log")
        assert not changed.email_verified
        assert [tuple(mail) for mail in mails] == [
            (ada.id, "email_change"),
            (ada.id, "verify_email"),
        ]
        assert [link.user_id for link in links] == [bob.id]
        assert (entry.action, entry.actor) == ("email_changed", f"user:{ada.id}")
        assert (entry.subject, entry.details) == (str(ada.id), None)


class TestDeletion:
    """Deletion is permanent, and nothing personal remains."""

    async def test_sessions_mails_and_links_are_deleted_with_the_user(
        self, auth_engine: AsyncEngine, passwords: Passwords
    ) -> None:
        """Theirs only; the audit log has their id and the actor."""
        ada, bob = [
            await sign_up(
                auth_engine,
                passwords,
                email=f"{name}@example.org",
                password=PASSWORD,
                session=NewSession(f"{name}'s telephone"),
            )
            for name in ("ada", "bob")
        ]
        await give_links(auth_engine)
        async with auth_engine.begin() as connection:
            for user in (ada, bob):
                await request_mail(connection, user.id, Purpose.PASSWORD_CHANGED)

        await delete(auth_engine, passwords, ada.id, password=PASSWORD)

        for table in ("sessions", "mails", "mail_links"):
            rows = await fetch(auth_engine, f"SELECT user_id FROM {table}")
            assert [row.user_id for row in rows] == [bob.id]
        [entry] = await fetch(auth_engine, "SELECT * FROM audit_log")
        assert (entry.action, entry.actor) == ("user_deleted", f"user:{ada.id}")
        assert entry.subject == str(ada.id)

    async def test_the_last_administrator_stays(
        self, auth_engine: AsyncEngine, passwords: Passwords, ada: User
    ) -> None:
        """Until there is another one; of two who leave at the same time, one stays."""
        bob = await sign_up(auth_engine, passwords, email="bob@example.org", password=PASSWORD)
        await execute(auth_engine, f"UPDATE users SET roles = '{{admin}}' WHERE id = '{ada.id}'")
        with pytest.raises(LastAdministrator):
            await delete(auth_engine, passwords, ada.id, password=PASSWORD)
        await execute(auth_engine, "UPDATE users SET roles = '{admin}'")

        results = await asyncio.gather(
            *(delete(auth_engine, passwords, one, password=PASSWORD) for one in (ada.id, bob.id)),
            return_exceptions=True,
        )

        left = await fetch(auth_engine, "SELECT * FROM users WHERE status = 'active'")
        assert sorted(type(result).__name__ for result in results) == [
            "LastAdministrator",
            "NoneType",
        ]
        assert len(left) == 1

    async def test_the_row_becomes_a_tombstone_and_earlier_payloads_are_erased(
        self, auth_engine: AsyncEngine, passwords: Passwords, ada: User
    ) -> None:
        """Id, version and time stay permanently; earlier events keep only their place."""
        await change_email(auth_engine, passwords, ada.id, email="a@example.org", password=PASSWORD)

        await delete(auth_engine, passwords, ada.id, password=PASSWORD)

        [row] = await fetch(auth_engine, "SELECT * FROM users")
        *earlier, last = await outbox(auth_engine, ada.id)
        assert (row.id, row.status, row.version) == (ada.id, "deleted", last.version)
        assert (row.email, row.password_hash, row.roles) == (None, None, [])
        assert row.deleted_at is not None
        assert [event.payload for event in earlier] == [None, None]
        assert last.type == UserDeleted.type
        assert last.payload.keys() == {"id", "version", "deleted_at"}

    async def test_nothing_personal_is_left_anywhere_in_the_database(
        self, auth_engine: AsyncEngine, passwords: Passwords
    ) -> None:
        """No table has any of their addresses or their hash; other users stay."""
        ada = await sign_up(auth_engine, passwords, email="ada@secret.example", password=PASSWORD)
        bob = await sign_up(auth_engine, passwords, email="bob@other.example", password=PASSWORD)
        [row] = await fetch(
            auth_engine, "SELECT password_hash FROM users WHERE id = :id", id=ada.id
        )
        await change_email(
            auth_engine, passwords, ada.id, email="lovelace@secret.example", password=PASSWORD
        )
        before = await everything(auth_engine)

        await delete(auth_engine, passwords, ada.id, password=PASSWORD)

        after = await everything(auth_engine)
        secrets = ("secret.example", "lovelace", row.password_hash)
        assert all(secret in before for secret in secrets)
        assert not any(secret in after for secret in secrets)
        assert "bob@other.example" in after
        assert str(ada.id) in after
        assert str(bob.id) in after

    async def test_no_use_case_changes_a_tombstone(
        self, auth_engine: AsyncEngine, passwords: Passwords, ada: User
    ) -> None:
        """Its address is free, its id is never used again."""
        await delete(auth_engine, passwords, ada.id, password=PASSWORD)
        before = await fetch(auth_engine, "SELECT * FROM users")

        with pytest.raises(UserError):
            await change_email(
                auth_engine, passwords, ada.id, email="a@example.org", password=PASSWORD
            )
        with pytest.raises(UserError):
            await delete(auth_engine, passwords, ada.id, password=PASSWORD)

        assert await fetch(auth_engine, "SELECT * FROM users") == before
        assert len(await outbox(auth_engine, ada.id)) == 2
        other = await sign_up(auth_engine, passwords, email=ada.email, password=PASSWORD)
        assert other.id != ada.id

    @pytest.mark.parametrize("late", [change_email, delete], ids=["change", "deletion"])
    async def test_a_tombstone_is_noticed_under_the_lock(
        self, late: object, auth_engine: AsyncEngine, passwords: Passwords, ada: User
    ) -> None:
        """A change that waited while the row became a tombstone changes nothing."""
        async with auth_engine.begin() as deletion:
            await deletion.exec_driver_sql("SELECT 1 FROM users FOR UPDATE")
            email = {"email": "a@example.org"} if late is change_email else {}
            waiting = asyncio.ensure_future(
                late(auth_engine, passwords, ada.id, password=PASSWORD, **email)  # type: ignore[operator]
            )
            await eventually(lambda: lock_waits(auth_engine))
            await deletion.exec_driver_sql(
                "UPDATE users SET status = 'deleted', deleted_at = now(), version = version + 1,"
                " email = NULL, password_hash = NULL"
            )

        with pytest.raises(NoSuchUser):
            await waiting

        assert len(await outbox(auth_engine, ada.id)) == 1

    async def test_a_deletion_wins_over_every_concurrent_change(
        self, auth_engine: AsyncEngine, passwords: Passwords
    ) -> None:
        """Twenty users each change and delete at once: all end as tombstones."""
        users = [
            await sign_up(auth_engine, passwords, email=f"u{n}@example.org", password=PASSWORD)
            for n in range(20)
        ]

        for user in users:
            first, second, _ = await asyncio.gather(
                change_email(
                    auth_engine, passwords, user.id, email=f"1{user.email}", password=PASSWORD
                ),
                change_email(
                    auth_engine, passwords, user.id, email=f"2{user.email}", password=PASSWORD
                ),
                delete(auth_engine, passwords, user.id, password=PASSWORD),
                return_exceptions=True,
            )

            await assert_is_a_tombstone(auth_engine, user.id)
            assert all(isinstance(result, User | UserError) for result in (first, second))


async def assert_is_a_tombstone(engine: AsyncEngine, user_id: UUID) -> None:
    """Their row says deleted, and so does their last event, at the same version."""
    [row] = await fetch(engine, "SELECT * FROM users WHERE id = :id", id=user_id)
    *earlier, last = await outbox(engine, user_id)
    assert (row.status, row.email, row.password_hash) == ("deleted", None, None)
    assert (last.type, last.version) == (UserDeleted.type, row.version)
    assert all(event.payload is None and event.version < last.version for event in earlier)


async def give_links(engine: AsyncEngine) -> None:
    await execute(
        engine,
        "INSERT INTO mail_links (token_hash, user_id, purpose, expires_at)"
        " SELECT decode(md5(email), 'hex'), id, 'verify_email', now() + interval '1 hour'"
        " FROM users",
    )


async def clock(engine: AsyncEngine) -> int:
    """Microseconds of PostgreSQL's clock."""
    [row] = await fetch(
        engine, "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS now"
    )
    return int(row.now)


async def everything(engine: AsyncEngine) -> str:
    tables = await fetch(
        engine,
        "SELECT table_name AS name FROM information_schema.tables WHERE table_schema = 'public'",
    )
    rows = [
        row.text
        for table in tables
        for row in await fetch(engine, f'SELECT t::text AS text FROM "{table.name}" AS t')
    ]
    assert len(tables) >= 4
    return "\n".join(rows)
