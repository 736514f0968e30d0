"""The queue of mails and its senders, with a real SMTP server."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from uuid import UUID

import pytest
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from structlog.testing import capture_logs

from auth_service.mail.letters import Purpose
from auth_service.mail.queue import ATTEMPTS_MAX, CLAIM_SECONDS, PAUSE_SECONDS_MAX, claim_due_mails
from auth_service.mail.request import request_mail
from auth_service.mail.sender import POLL_SECONDS, MailSender, Result
from auth_service.settings import ApiSettings
from tests.support.auth_api import serving
from tests.support.builders import SOURCE
from tests.support.eventually import eventually
from tests.support.inbox import execute, fetch
from tests.support.mail_server import MailServer, mail_server
from tests.support.processes import Process

ADA = "ada@example.org"


@pytest.fixture
async def server() -> AsyncIterator[MailServer]:
    async with mail_server() as server:
        yield server


def over(settings: ApiSettings, server: MailServer) -> ApiSettings:
    return settings.model_copy(update={"smtp_url": SecretStr(server.url)})


@pytest.fixture
def sender(api_settings: ApiSettings, auth_engine: AsyncEngine, server: MailServer) -> MailSender:
    return MailSender(auth_engine, over(api_settings, server))


@asynccontextmanager
async def running(sender: MailSender) -> AsyncIterator[None]:
    task = asyncio.create_task(sender.run())
    try:
        yield
        assert not task.done()
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def a_user(engine: AsyncEngine, email: str = ADA) -> UUID:
    async with engine.begin() as connection:
        query = text(
            "INSERT INTO users (version, email, password_hash) VALUES (1, :email, 'x') RETURNING id"
        )
        user_id = await connection.scalar(query, {"email": email})
    assert isinstance(user_id, UUID)
    return user_id


async def ask(engine: AsyncEngine, user_id: UUID, purpose: Purpose = Purpose.VERIFY_EMAIL) -> None:
    async with engine.begin() as connection:
        await request_mail(connection, user_id, purpose)


async def queued(engine: AsyncEngine) -> int:
    return len(await fetch(engine, "SELECT 1 FROM mails"))


async def is_empty(engine: AsyncEngine) -> bool:
    return await queued(engine) == 0


async def make_due(engine: AsyncEngine) -> None:
    """Let the time pass for which queued mails must wait."""
    await execute(engine, "UPDATE mails SET next_try_at = now()")


@pytest.mark.parametrize(
    ("purpose", "seconds"), [(Purpose.VERIFY_EMAIL, 86_400), (Purpose.RESET_PASSWORD, 1800)]
)
async def test_mail_brings_a_link_of_limited_life(
    purpose: Purpose, seconds: int, sender: MailSender, auth_engine: AsyncEngine, server: MailServer
) -> None:
    """Only the user gets the link: the database has its hash, once the mail is sent."""
    user_id = await a_user(auth_engine)
    await ask(auth_engine, user_id, purpose)
    assert not await fetch(auth_engine, "SELECT 1 FROM mail_links")

    assert await sender.run_once() == {Result.SENT: 1}

    (received,) = server.received
    assert received.recipients == [ADA]
    assert f"\n{SOURCE}/link#{purpose}={received.token}\n" in received.text
    assert await queued(auth_engine) == 0
    (link,) = await fetch(
        auth_engine, "SELECT *, extract(epoch FROM expires_at - now()) AS seconds FROM mail_links"
    )
    assert (link.user_id, link.purpose) == (user_id, purpose)
    assert seconds - 60 < link.seconds <= seconds
    assert received.token.encode() not in link.token_hash
    assert len(received.token) == 43


async def test_notice_of_a_changed_password_has_no_link(
    sender: MailSender, auth_engine: AsyncEngine, server: MailServer
) -> None:
    await ask(auth_engine, await a_user(auth_engine), Purpose.PASSWORD_CHANGED)
    await execute(auth_engine, "UPDATE users SET email_verified = true")
    await sender.run_once()
    assert "#" not in server.received[0].text
    assert not await fetch(auth_engine, "SELECT 1 FROM mail_links")


async def test_link_opens_the_page_that_is_configured(
    api_settings: ApiSettings, auth_engine: AsyncEngine, server: MailServer
) -> None:
    """A site may have a page of its own for the links."""
    settings = over(api_settings, server).model_copy(
        update={"link_url": "https://www.example/konto"}
    )
    await ask(auth_engine, await a_user(auth_engine))
    await MailSender(auth_engine, settings).run_once()
    assert "\nhttps://www.example/konto#verify_email=" in server.received[0].text


async def test_link_opens_the_service_where_it_is_and_not_where_it_was(
    api_settings: ApiSettings, auth_engine: AsyncEngine, server: MailServer
) -> None:
    """The issuer stays when the address changes; its old address must not get the link."""
    moved = over(api_settings, server).model_copy(update={"public_url": "https://new.example"})
    await ask(auth_engine, await a_user(auth_engine))
    await MailSender(auth_engine, moved).run_once()
    assert "\nhttps://new.example/link#verify_email=" in server.received[0].text
    assert moved.issuer not in server.received[0].text


async def test_mail_goes_to_the_address_that_the_user_has_then(
    sender: MailSender, auth_engine: AsyncEngine, server: MailServer
) -> None:
    """No mail goes to an address that the user has given up since."""
    await ask(auth_engine, await a_user(auth_engine))
    await execute(auth_engine, "UPDATE users SET email = 'countess@example.org'")
    await sender.run_once()
    assert server.received[0].recipients == ["countess@example.org"]


async def test_mail_waits_for_a_change_of_address_that_is_under_way(
    sender: MailSender, auth_engine: AsyncEngine, server: MailServer
) -> None:
    """No link is created between the deletion of an address's links and the commit."""
    await ask(auth_engine, await a_user(auth_engine))

    async with auth_engine.begin() as changing:
        await changing.execute(text("DELETE FROM mail_links"))
        await changing.execute(text("UPDATE users SET email = 'countess@example.org'"))
        sending = asyncio.create_task(sender.run_once())
        await eventually(lambda: sending.done() or is_waiting_for_a_lock(auth_engine))
    await sending

    assert server.received[0].recipients == ["countess@example.org"]


async def is_waiting_for_a_lock(engine: AsyncEngine) -> bool:
    """Whether a transaction waits for another one to end."""
    query = (
        "SELECT 1 FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    return bool(await fetch(engine, query))


@pytest.mark.parametrize(
    "change",
    [
        "status = 'disabled'",
        "status = 'deleted', deleted_at = now(), email = NULL, password_hash = NULL",
        "email_verified = true",
    ],
)
async def test_a_mail_that_is_no_longer_needed_is_dropped(
    change: str, sender: MailSender, auth_engine: AsyncEngine, server: MailServer
) -> None:
    """Disabled, deleted, or verified in the meantime: the mail is dropped."""
    await ask(auth_engine, await a_user(auth_engine))
    await execute(auth_engine, f"UPDATE users SET {change}")
    assert await sender.run_once() == {Result.NEEDLESS: 1}
    assert not server.asked
    assert await queued(auth_engine) == 0


async def test_mail_waits_for_a_server_that_is_away(
    api_settings: ApiSettings, auth_engine: AsyncEngine, unused_port: int
) -> None:
    """It is retried with growing pauses, and sent once the server is back."""
    settings = api_settings.model_copy(
        update={"smtp_url": SecretStr(f"smtp://localhost:{unused_port}")}
    )
    sender = MailSender(auth_engine, settings)
    await ask(auth_engine, await a_user(auth_engine))

    pauses = []
    for _ in range(12):
        assert await sender.run_once() == {Result.REQUEUED: 1}
        assert not await sender.run_once()
        [(pause,)] = await fetch(
            auth_engine, "SELECT extract(epoch FROM next_try_at - now())::float FROM mails"
        )
        pauses.append(pause)
        await make_due(auth_engine)
    async with mail_server(port=unused_port) as server:
        assert await sender.run_once() == {Result.SENT: 1}

    assert pauses[0] == pytest.approx(2, abs=1)
    assert pauses[3] == pytest.approx(16, abs=1)
    assert pauses[-1] == pytest.approx(PAUSE_SECONDS_MAX, abs=1)
    assert server.received[0].recipients == [ADA]


async def test_a_mail_is_given_up_after_the_last_attempt(
    sender: MailSender, auth_engine: AsyncEngine, server: MailServer
) -> None:
    server.refusal = "450 come back later"
    await ask(auth_engine, await a_user(auth_engine))
    await execute(auth_engine, f"UPDATE mails SET attempts = {ATTEMPTS_MAX - 2}")

    results = []
    for _ in range(3):
        results.append(await sender.run_once())
        await make_due(auth_engine)

    assert results == [{Result.REQUEUED: 1}, {Result.GIVEN_UP: 1}, {}]


async def test_a_mail_that_kills_its_senders_is_given_up(
    sender: MailSender, auth_engine: AsyncEngine, server: MailServer
) -> None:
    """Attempts that never finish count as well: then it is not even tried."""
    await ask(auth_engine, await a_user(auth_engine))
    await execute(auth_engine, f"UPDATE mails SET attempts = {ATTEMPTS_MAX}")
    assert await sender.run_once() == {Result.GIVEN_UP: 1}
    assert not server.asked
    assert await queued(auth_engine) == 0


async def test_a_permanently_refused_recipient_is_not_retried(
    sender: MailSender, auth_engine: AsyncEngine, server: MailServer
) -> None:
    server.refusal = "550 no such mailbox"
    await ask(auth_engine, await a_user(auth_engine))
    assert await sender.run_once() == {Result.REFUSED: 1}
    assert server.asked == 1
    assert await queued(auth_engine) == 0


async def test_a_mail_is_sent_again_after_its_sender_was_killed(
    auth_url: str,
    private_pem: str,
    sender: MailSender,
    auth_engine: AsyncEngine,
    server: MailServer,
    unused_port: int,
    tmp_path: Path,
) -> None:
    """Killed between claim and delivery: the mail is repeated rather than lost."""
    server.fall_silent()
    await ask(auth_engine, await a_user(auth_engine))
    process = Process(
        "auth-service api",
        {
            "AUTH_DATABASE_URL": auth_url,
            "AUTH_ISSUER": SOURCE,
            "AUTH_PRIVATE_KEY": private_pem,
            "AUTH_PORT": str(unused_port),
            "AUTH_SMTP_URL": server.url,
        },
        tmp_path / "api.log",
    )

    process.start()
    try:
        await eventually(lambda: server.asked)
    finally:
        process.kill()
    server.goes_on.set()
    assert not await sender.run_once()
    [(left,)] = await fetch(
        auth_engine, "SELECT extract(epoch FROM next_try_at - now())::float FROM mails"
    )
    await make_due(auth_engine)
    assert await sender.run_once() == {Result.SENT: 1}

    assert 0 < left <= CLAIM_SECONDS
    assert [mail.recipients for mail in server.received] == [[ADA]]


async def test_two_senders_send_each_mail_once(
    api_settings: ApiSettings, auth_engine: AsyncEngine, server: MailServer
) -> None:
    addresses = [f"user{n}@example.org" for n in range(40)]
    for address in addresses:
        await ask(auth_engine, await a_user(auth_engine, address))
    one, other = (MailSender(auth_engine, over(api_settings, server)) for _ in range(2))

    async with running(one), running(other):
        await eventually(lambda: len(server.received) >= 40)
        await eventually(lambda: is_empty(auth_engine))

    assert sorted(mail.recipients[0] for mail in server.received) == sorted(addresses)


async def test_claims_never_overlap_and_never_wait(auth_engine: AsyncEngine) -> None:
    """A concurrent claim gets other mails."""
    user_id = await a_user(auth_engine)
    for _ in range(6):
        await ask(auth_engine, user_id)

    async with auth_engine.begin() as one, auth_engine.begin() as other:
        first, second = await claim_due_mails(one, 4), await claim_due_mails(other, 4)

    assert len({mail.id for mail in first}) == 4
    assert len({mail.id for mail in first + second}) == 6


async def test_silent_server_holds_no_lock(
    sender: MailSender, auth_engine: AsyncEngine, server: MailServer
) -> None:
    """Meanwhile the user can be changed, and their mails erased."""
    server.fall_silent()
    await ask(auth_engine, await a_user(auth_engine))

    async with running(sender):
        await eventually(lambda: server.asked)
        await execute(
            auth_engine,
            "SET LOCAL lock_timeout = '200ms'",
            "UPDATE users SET email = 'other@example.org'",
            "DELETE FROM mails",
            "DELETE FROM mail_links",
        )


async def test_a_silent_server_delays_neither_requests_nor_shutdown(
    api_settings: ApiSettings, auth_engine: AsyncEngine, server: MailServer
) -> None:
    """The API responds, and exits at once, with a mail in flight."""
    server.fall_silent()
    await ask(auth_engine, await a_user(auth_engine))

    async with serving(over(api_settings, server)) as client:
        await eventually(lambda: server.asked)
        assert (await client.get("/readyz")).status_code == 200
        began = time.monotonic()

    assert time.monotonic() - began < 2
    assert await queued(auth_engine) == 1


async def test_wake_up_sends_at_once(
    sender: MailSender, auth_engine: AsyncEngine, server: MailServer
) -> None:
    """The next poll of the queue is seconds away."""
    user_id = await a_user(auth_engine)
    await ask(auth_engine, user_id)

    async with running(sender):
        await eventually(lambda: server.received)
        await ask(auth_engine, user_id)
        sender.wake()
        await eventually(lambda: len(server.received) == 2, within=POLL_SECONDS / 2)


async def test_sender_outlives_a_database_that_fails(
    sender: MailSender, auth_engine: AsyncEngine, server: MailServer
) -> None:
    """An error does not end the task, whose failure would go unnoticed."""
    await ask(auth_engine, await a_user(auth_engine))
    await execute(auth_engine, "ALTER TABLE mails RENAME TO away")

    async with running(sender):
        with capture_logs() as lines:
            await eventually(lambda: lines)
        await execute(auth_engine, "ALTER TABLE away RENAME TO mails")
        await eventually(lambda: server.received)
    assert {line["event"] for line in lines} == {"mail.database_away"}


async def test_mails_of_a_later_version_are_left_to_it(
    sender: MailSender, auth_engine: AsyncEngine
) -> None:
    """During an upgrade, an unknown purpose does not block other mails."""
    user_id = await a_user(auth_engine)
    await ask(auth_engine, user_id)
    await execute(auth_engine, f"INSERT INTO mails (user_id, purpose) VALUES ('{user_id}', 'new')")
    assert await sender.run_once() == {Result.SENT: 1}
    assert await queued(auth_engine) == 1


async def test_expired_links_are_deleted(sender: MailSender, auth_engine: AsyncEngine) -> None:
    user_id = await a_user(auth_engine)
    await execute(
        auth_engine,
        "INSERT INTO mail_links (token_hash, user_id, purpose, expires_at) VALUES"
        f" ('old', '{user_id}', 'verify_email', now() - interval '1 second'),"
        f" ('new', '{user_id}', 'verify_email', now() + interval '1 hour')",
    )

    await sender.run_once()

    assert await fetch(auth_engine, "SELECT token_hash FROM mail_links") == [(b"new",)]
