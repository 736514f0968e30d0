"""Use cases of users: one transaction each, rising versions, permanent deletion."""

import asyncio
from itertools import pairwise
from typing import Any

import pytest

from auth_service.mail.letters import Purpose
from auth_service.mail.request import request_mail
from auth_service.sessions.model import NewSession
from auth_service.users.model import EmailTaken, NoSuchUser, User, UserError, WrongPassword
from contracts.events import UserCreated, UserDeleted, UserUpdated
from service_kit.database.away import DATABASE_ERRORS
from tests.support.accounts import Accounts
from tests.support.inbox import everything
from tests.support.locks import after_waiting
from tests.support.statements import refusing

ADA, BOB, NEW = "ada@example.org", "bob@example.org", "new@example.org"

GIVE_LINKS = (
    "INSERT INTO mail_links (token_hash, user_id, purpose, expires_at)"
    " SELECT decode(md5(email), 'hex'), id, 'verify_email', now() + interval '1 hour' FROM users"
)

BURY_ALL = (
    "UPDATE users SET status = 'deleted', deleted_at = now(), version = version + 1,"
    " email = NULL, password_hash = NULL"
)


@pytest.fixture
async def ada(accounts: Accounts) -> User:
    return await accounts.sign_up(ADA)


class TestVersion:
    """A per-user integer: max(previous + 1, microseconds of PostgreSQL's clock)."""

    async def test_it_is_at_least_the_databases_clock(self, accounts: Accounts) -> None:
        """A database restored from a backup continues above its past."""
        before = await clock(accounts)
        user = await accounts.sign_up(ADA)
        between = await clock(accounts)
        changed = await accounts.change_email(user, NEW)
        assert before <= user.version <= between <= changed.version <= await clock(accounts)

    async def test_it_rises_though_the_clock_went_back(self, accounts: Accounts, ada: User) -> None:
        """A version ahead of the clock is followed by the next number."""
        ahead = await clock(accounts) + 10**9
        await accounts.execute(f"UPDATE users SET version = {ahead}")
        assert (await accounts.change_email(ada, NEW)).version == ahead + 1

    async def test_concurrent_changes_of_one_user_get_distinct_versions_in_order(
        self, accounts: Accounts, ada: User
    ) -> None:
        """The version is assigned under the row's lock, and recorded in the same order."""
        changes = (accounts.change_email(ada, f"ada{n}@example.org") for n in range(12))
        changed = await asyncio.gather(*changes)
        versions = await recorded_versions(accounts, ada)
        *_, event = await accounts.outbox(ada)
        [last] = await accounts.fetch("SELECT * FROM users")
        assert sorted(user.version for user in changed) == versions[1:]
        assert (last.version, last.email) == (versions[-1], event.payload["email"])


class TestRecording:
    """Row and event are committed together or not at all."""

    async def test_a_change_and_its_event_are_one(self, accounts: Accounts, ada: User) -> None:
        changed = await accounts.change_email(ada, "New@Example.org")
        created, updated = await accounts.outbox(ada)
        assert [created.type, updated.type] == [UserCreated.type, UserUpdated.type]
        assert created.text == ada.state().model_dump_json()
        assert updated.text == changed.state().model_dump_json()
        assert updated.payload["email"] == NEW
        assert "argon2" not in created.text + updated.text

    async def test_without_an_event_there_is_no_change(self, accounts: Accounts, ada: User) -> None:
        """An outbox that refuses rolls back sign-up, change and deletion."""
        before = await accounts.fetch("SELECT * FROM users")
        changes = accounts.sign_up(BOB), accounts.change_email(ada, NEW), accounts.delete(ada)
        async with refusing(accounts.engine, "outbox_events"):
            for attempt in changes:
                with pytest.raises(DATABASE_ERRORS, match="refused for a test"):
                    await attempt

        [event] = await accounts.outbox()
        assert await accounts.fetch("SELECT * FROM users") == before
        assert event.payload["email"] == ADA

    async def test_without_a_change_there_is_no_event(self, accounts: Accounts, ada: User) -> None:
        """An address is taken in any case, and one's own is no change."""
        await accounts.sign_up(BOB)
        for attempt, refusal in (
            (accounts.sign_up(ADA.upper()), EmailTaken),
            (accounts.change_email(ada, "Bob@example.org"), EmailTaken),
            (accounts.change_email(ada, NEW, "wrong"), WrongPassword),
            (accounts.delete(ada, "wrong"), WrongPassword),
        ):
            with pytest.raises(refusal):
                await attempt

        assert await accounts.change_email(ada, "Ada@example.org") == ada
        assert [row.type for row in await accounts.outbox()] == [UserCreated.type] * 2

    async def test_one_of_two_sign_ups_with_one_address_wins(self, accounts: Accounts) -> None:
        attempts = (accounts.sign_up(email) for email in (ADA, ADA.upper(), ADA.title()))
        ended = await asyncio.gather(*attempts, return_exceptions=True)
        assert sorted(type(each).__name__ for each in ended) == ["EmailTaken", "EmailTaken", "User"]
        assert len(await accounts.outbox()) == 1


class TestMail:
    async def test_a_sign_up_requests_a_mail_if_it_can(self, accounts: Accounts, ada: User) -> None:
        """In the transaction that creates the user; the same address as new one changes nothing."""
        await accounts.execute(GIVE_LINKS)
        for is_sent in (False, True):
            await accounts.change_email(ada, "Ada@example.org", mail=is_sent)
        assert await accounts.fetch("SELECT * FROM mails") == []
        assert len(await accounts.fetch("SELECT * FROM mail_links")) == 1
        assert await accounts.fetch("SELECT * FROM audit_log") == []

        bob = await accounts.sign_up(BOB, mail=True)
        assert await requested_mails(accounts) == [(bob.id, "verify_email")]

    async def test_a_new_address_needs_a_new_link(self, accounts: Accounts, ada: User) -> None:
        """A link for the old address would verify the new one; another user's link stays."""
        bob = await accounts.sign_up(BOB)
        await accounts.execute("UPDATE users SET email_verified = true", GIVE_LINKS)

        changed = await accounts.change_email(ada, NEW, mail=True)

        links = await accounts.fetch("SELECT user_id FROM mail_links")
        assert not changed.email_verified
        requested = [(ada.id, purpose) for purpose in ("email_change", "verify_email")]
        assert await requested_mails(accounts) == requested
        assert links == [(bob.id,)]
        assert await audited(accounts) == ("email_changed", f"user:{ada.id}", str(ada.id), None)


class TestDeletion:
    """Deletion is permanent, and nothing personal remains."""

    async def test_sessions_mails_and_links_are_deleted_with_the_user(
        self, accounts: Accounts
    ) -> None:
        """Theirs only; the audit log has their id and the actor."""
        ada, bob = [await accounts.sign_up(each, session=NewSession()) for each in (ADA, BOB)]
        await accounts.execute(GIVE_LINKS)
        async with accounts.engine.begin() as connection:
            for user in (ada, bob):
                await request_mail(connection, user.id, Purpose.PASSWORD_CHANGED)

        await accounts.delete(ada)

        for table in ("sessions", "mails", "mail_links"):
            assert await accounts.fetch(f"SELECT user_id FROM {table}") == [(bob.id,)]
        assert await audited(accounts) == ("user_deleted", f"user:{ada.id}", str(ada.id), None)

    async def test_nothing_personal_is_left_anywhere_in_the_database(
        self, accounts: Accounts
    ) -> None:
        """No table has any of their addresses or their hash; other users stay.

        Id, version and time stay permanently; earlier events keep only their place.
        """
        ada = await accounts.sign_up("ada@secret.example")
        bob = await accounts.sign_up("bob@other.example")
        [row] = await accounts.fetch("SELECT password_hash FROM users WHERE id = :id", id=ada.id)
        await accounts.change_email(ada, "lovelace@secret.example")
        before = await everything(accounts.engine)

        await accounts.delete(ada)

        after = await everything(accounts.engine)
        for secret in ("secret.example", "lovelace", row.password_hash):
            assert secret in before
            assert secret not in after
        for each in ("bob@other.example", str(ada.id), str(bob.id)):
            assert each in after
        await assert_is_a_tombstone(accounts, ada)

    async def test_no_use_case_changes_a_tombstone(self, accounts: Accounts, ada: User) -> None:
        """Its address is free, its id is never used again."""
        await accounts.delete(ada)
        before = await accounts.fetch("SELECT * FROM users")

        for attempt in (accounts.change_email(ada, NEW), accounts.delete(ada)):
            with pytest.raises(UserError):
                await attempt

        assert await accounts.fetch("SELECT * FROM users") == before
        assert len(await accounts.outbox(ada)) == 2
        assert (await accounts.sign_up(ADA)).id != ada.id

    async def test_a_tombstone_is_noticed_under_the_lock(self, accounts: Accounts) -> None:
        lock = "SELECT 1 FROM users FOR UPDATE"
        for email in ("change@example.org", "deletion@example.org"):
            user = await accounts.sign_up(email)
            is_change = email.startswith("change")
            work: Any = accounts.change_email(user, NEW) if is_change else accounts.delete(user)
            with pytest.raises(NoSuchUser):
                await after_waiting(accounts.engine, work, lock, then=BURY_ALL)
            assert len(await accounts.outbox(user)) == 1, email


async def assert_is_a_tombstone(accounts: Accounts, user: User) -> None:
    """Their row says deleted, and so does their last event, at the same version."""
    [row] = await accounts.fetch("SELECT * FROM users WHERE id = :id", id=user.id)
    *earlier, last = await accounts.outbox(user)
    assert (row.status, row.email, row.password_hash, row.roles) == ("deleted", None, None, [])
    assert row.deleted_at is not None
    assert (last.type, last.version) == (UserDeleted.type, row.version)
    assert last.payload.keys() == {"id", "version", "deleted_at"}
    assert all(event.payload is None and event.version < last.version for event in earlier)


async def recorded_versions(accounts: Accounts, user: User) -> list[int]:
    """The versions of the user's events, which must rise."""
    versions = [row.version for row in await accounts.outbox(user)]
    assert all(one < other for one, other in pairwise(versions))
    return versions


async def requested_mails(accounts: Accounts) -> list[tuple[object, ...]]:
    return [tuple(row) for row in await accounts.fetch("SELECT user_id, purpose FROM mails")]


async def audited(accounts: Accounts) -> tuple[object, ...]:
    """The only entry of the audit log."""
    [entry] = await accounts.fetch("SELECT action, actor, subject, details FROM audit_log")
    return tuple(entry)


async def clock(accounts: Accounts) -> int:
    [(now,)] = await accounts.fetch("SELECT extract(epoch FROM clock_timestamp()) * 1000000")
    return int(now)
