"""The queue of mails and its senders, with a real SMTP server."""

import asyncio
import time
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from uuid import UUID

import pytest
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from structlog.testing import capture_logs

from auth_service.mail.erase import erase_mail
from auth_service.mail.letters import Purpose
from auth_service.mail.queue import ATTEMPTS_MAX, CLAIM_SECONDS, PAUSE_SECONDS_MAX, claim_due_mails
from auth_service.mail.request import request_mail
from auth_service.mail.sender import POLL_SECONDS, MailSender, Result
from auth_service.settings import ApiSettings
from tests.support.auth_api import ADA, serving
from tests.support.background import in_background
from tests.support.builders import SOURCE
from tests.support.eventually import eventually
from tests.support.inbox import OnDatabase
from tests.support.locks import after_waiting, until_waiting
from tests.support.mail_server import MailServer, mail_server
from tests.support.processes import Process


class Mails(OnDatabase):
    """The queue of mails, a sender that does not run by itself, and the mail server."""

    def __init__(self, engine: AsyncEngine, settings: ApiSettings, server: MailServer) -> None:
        self.engine = engine
        self.settings = settings
        self.server = server
        self.sender = MailSender(engine, settings)

    def changed(self, **settings: object) -> "Mails":
        return Mails(self.engine, self.settings.model_copy(update=settings), self.server)

    async def ask(
        self, purpose: Purpose = Purpose.VERIFY_EMAIL, *, email: str = ADA, of: UUID | None = None
    ) -> UUID:
        """Commit the request for a mail to a user, by default a new one; return their id."""
        async with self.engine.begin() as connection:
            values = "(version, email, password_hash) VALUES (1, :email, 'x')"
            insert = text(f"INSERT INTO users {values} RETURNING id")
            user_id = of or await connection.scalar(insert, {"email": email})
            assert isinstance(user_id, UUID)
            await request_mail(connection, user_id, purpose)
        return user_id

    async def queued(self) -> int:
        return len(await self.fetch("SELECT 1 FROM mails"))

    async def pause(self) -> float:
        """Return in how many seconds the only mail is tried again; then let that time pass."""
        query = "SELECT extract(epoch FROM next_try_at - now())::float AS seconds FROM mails"
        [row] = await self.fetch(query)
        await self.make_due()
        return float(row.seconds)

    async def make_due(self) -> None:
        await self.execute("UPDATE mails SET next_try_at = now()")

    def running(self) -> AbstractAsyncContextManager[None]:
        return in_background(self.sender.run())


@pytest.fixture
def mails(auth_engine: AsyncEngine, mail_settings: ApiSettings, server: MailServer) -> Mails:
    return Mails(auth_engine, mail_settings, server)


async def test_mail_brings_a_link_of_limited_life(mails: Mails) -> None:
    """Only the user gets the link: the database has its hash, once the mail is sent."""
    links = "SELECT *, extract(epoch FROM expires_at - now()) AS seconds FROM mail_links"
    for purpose, seconds in ((Purpose.VERIFY_EMAIL, 86_400), (Purpose.RESET_PASSWORD, 1800)):
        user_id = await mails.ask(purpose, email=f"{purpose}@example.org")
        assert not await mails.fetch(links)

        assert await mails.sender.run_once() == {Result.SENT: 1}

        received = mails.server.received.pop()
        assert received.recipients == [f"{purpose}@example.org"]
        assert f"\n{SOURCE}/link#{purpose}={received.token}\n" in received.text
        assert await mails.queued() == 0
        (link,) = await mails.fetch(links)
        assert (link.user_id, link.purpose) == (user_id, purpose)
        assert seconds - 60 < link.seconds <= seconds
        assert received.token.encode() not in link.token_hash
        assert len(received.token) == 43
        await mails.execute("DELETE FROM mail_links")


async def test_notice_of_a_changed_password_has_no_link(mails: Mails) -> None:
    await mails.ask(Purpose.PASSWORD_CHANGED)
    await mails.execute("UPDATE users SET email_verified = true")
    await mails.sender.run_once()
    assert "#" not in mails.server.received[0].text
    assert not await mails.fetch("SELECT 1 FROM mail_links")


async def test_link_opens_the_page_that_is_configured(mails: Mails) -> None:
    """A site's own page, or where the service is now: its former address must not get links."""
    for setting, url, page in (
        ("link_url", "https://www.example/konto", "https://www.example/konto"),
        ("public_url", "https://new.example", "https://new.example/link"),
    ):
        await mails.ask(email=f"{setting}@example.org")
        await mails.changed(**{setting: url}).sender.run_once()
        text = mails.server.received.pop().text
        assert f"\n{page}#verify_email=" in text
        assert f"{SOURCE}/link" not in text


async def test_mail_goes_to_the_address_that_the_user_has_then(mails: Mails) -> None:
    """No link is created between the deletion of an address's links and the commit."""
    await mails.ask()
    changes = "DELETE FROM mail_links", "UPDATE users SET email = 'countess@example.org'"
    await after_waiting(mails.engine, mails.sender.run_once(), *changes)
    assert mails.server.received[0].recipients == ["countess@example.org"]


async def test_a_mail_that_is_no_longer_needed_is_dropped(mails: Mails) -> None:
    deleted = "status = 'deleted', deleted_at = now(), email = NULL, password_hash = NULL"
    for n, change in enumerate(("status = 'disabled'", deleted, "email_verified = true")):
        user_id = await mails.ask(email=f"user{n}@example.org")
        await mails.execute(f"UPDATE users SET {change} WHERE id = '{user_id}'")
        assert await mails.sender.run_once() == {Result.NEEDLESS: 1}, change
        assert not mails.server.asked
        assert await mails.queued() == 0


async def test_mail_waits_for_a_server_that_is_away(mails: Mails, unused_port: int) -> None:
    mails = mails.changed(smtp_url=SecretStr(f"smtp://localhost:{unused_port}"))
    await mails.ask()

    pauses = []
    for _ in range(12):
        assert await mails.sender.run_once() == {Result.REQUEUED: 1}
        assert not await mails.sender.run_once()
        pauses.append(await mails.pause())
    async with mail_server(port=unused_port) as server:
        assert await mails.sender.run_once() == {Result.SENT: 1}

    assert pauses[0] == pytest.approx(2, abs=1)
    assert pauses[3] == pytest.approx(16, abs=1)
    assert pauses[-1] == pytest.approx(PAUSE_SECONDS_MAX, abs=1)
    assert server.received[0].recipients == [ADA]


async def test_a_mail_is_given_up_after_the_last_attempt(mails: Mails) -> None:
    """Attempts that never finish, and kill the sender, count as well."""
    mails.server.refusal = "450 come back later"
    await mails.ask()
    await mails.execute(f"UPDATE mails SET attempts = {ATTEMPTS_MAX - 2}")
    for expected in ({Result.REQUEUED: 1}, {Result.GIVEN_UP: 1}, {}):
        assert await mails.sender.run_once() == expected
        await mails.make_due()

    asked = mails.server.asked
    await mails.ask(email="user@example.org")
    await mails.execute(f"UPDATE mails SET attempts = {ATTEMPTS_MAX}")
    assert await mails.sender.run_once() == {Result.GIVEN_UP: 1}
    assert mails.server.asked == asked
    assert await mails.queued() == 0


async def test_a_permanently_refused_recipient_is_not_retried(mails: Mails) -> None:
    mails.server.refusal = "550 no such mailbox"
    await mails.ask()
    assert await mails.sender.run_once() == {Result.REFUSED: 1}
    assert mails.server.asked == 1
    assert await mails.queued() == 0


async def test_a_mail_is_sent_again_after_its_sender_was_killed(
    mails: Mails, api_environment: dict[str, str], tmp_path: Path
) -> None:
    """Killed between claim and delivery: the mail is repeated rather than lost."""
    mails.server.fall_silent()
    await mails.ask()
    environment = api_environment | {"AUTH_SMTP_URL": mails.server.url}
    process = Process("auth-service api", environment, tmp_path / "api.log")
    process.start()
    try:
        await eventually(lambda: mails.server.asked)
    finally:
        process.kill()
    mails.server.goes_on.set()

    assert not await mails.sender.run_once()
    assert 0 < await mails.pause() <= CLAIM_SECONDS
    assert await mails.sender.run_once() == {Result.SENT: 1}
    assert [mail.recipients for mail in mails.server.received] == [[ADA]]


async def test_claims_never_overlap_and_never_wait(mails: Mails) -> None:
    user_id = await mails.ask()
    for _ in range(5):
        await mails.ask(of=user_id)
    async with mails.engine.begin() as one, mails.engine.begin() as other:
        first, second = await claim_due_mails(one, 4), await claim_due_mails(other, 4)
    assert len({mail.id for mail in first}) == 4
    assert len({mail.id for mail in first + second}) == 6


async def test_a_silent_server_delays_neither_changes_nor_requests_nor_the_shutdown(
    mails: Mails,
) -> None:
    """With a mail in flight the API responds and stops at once, and no lock is held."""
    mails.server.fall_silent()
    await mails.ask()

    async with serving(mails.settings) as client:
        await eventually(lambda: mails.server.asked)
        assert (await client.get("/readyz")).status_code == 200
        await mails.execute(
            "SET LOCAL lock_timeout = '200ms'",
            "UPDATE users SET email = 'other@example.org'",
            "UPDATE mails SET attempts = attempts",
            "DELETE FROM mail_links",
        )
        began = time.monotonic()

    assert time.monotonic() - began < 2
    assert await mails.queued() == 1


async def test_wake_up_sends_at_once(mails: Mails) -> None:
    """The next poll of the queue is seconds away."""
    user_id = await mails.ask()
    async with mails.running():
        await eventually(lambda: mails.server.received)
        await mails.ask(of=user_id)
        mails.sender.wake()
        await eventually(lambda: len(mails.server.received) == 2, within=POLL_SECONDS / 2)


async def test_sender_outlives_a_database_that_fails(mails: Mails) -> None:
    """An error does not end the task, whose failure would go unnoticed."""
    await mails.ask()
    await mails.execute("ALTER TABLE mails RENAME TO away")
    async with mails.running():
        with capture_logs() as lines:
            await eventually(lambda: lines)
        await mails.execute("ALTER TABLE away RENAME TO mails")
        await eventually(lambda: mails.server.received)
    assert {line["event"] for line in lines} == {"mail.database_away"}


async def test_mails_of_a_later_version_are_left_to_it(mails: Mails) -> None:
    """During an upgrade, an unknown purpose does not block other mails."""
    user_id = await mails.ask()
    await mails.execute(f"INSERT INTO mails (user_id, purpose) VALUES ('{user_id}', 'new')")
    assert await mails.sender.run_once() == {Result.SENT: 1}
    assert await mails.queued() == 1


async def test_expired_links_are_deleted(mails: Mails) -> None:
    user_id = await mails.ask()
    await mails.execute(
        "DELETE FROM mails",
        "INSERT INTO mail_links (token_hash, user_id, purpose, expires_at) VALUES"
        f" ('old', '{user_id}', 'verify_email', now() - interval '1 second'),"
        f" ('new', '{user_id}', 'verify_email', now() + interval '1 hour')",
    )
    await mails.sender.run_once()
    assert await mails.fetch("SELECT token_hash FROM mail_links") == [(b"new",)]


async def test_a_deletion_and_a_sender_cannot_deadlock(mails: Mails) -> None:
    """Both lock the user's row before the mails: here the deletion comes while one is charged."""
    user_id = await mails.ask()
    async with mails.engine.connect() as limits:
        await limits.execute(text("LOCK TABLE throttle_rates IN EXCLUSIVE MODE"))
        sending = asyncio.create_task(mails.sender.run_once())
        await until_waiting(mails.engine)
        async with mails.engine.begin() as deletion:
            await deletion.execute(text("SELECT FROM users FOR UPDATE"))
            await limits.rollback()
            await until_waiting(mails.engine)
            await erase_mail(deletion, user_id)

    assert sum((await sending).values()) == 1
    assert await mails.queued() == 0
