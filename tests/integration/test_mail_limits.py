"""One limit for all mails to an address, and one for all mails that a network causes."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from pydantic import SecretStr
from sqlalchemy.ext.asyncio import AsyncEngine

from auth_service.app import create_app
from auth_service.settings import ApiSettings
from service_kit.process.rates import Rate
from tests.support.auth_api import PASSWORD, bearer, serving, signed_up
from tests.support.eventually import eventually
from tests.support.inbox import execute, fetch
from tests.support.mail_server import MailServer, mail_server
from tests.support.mailboxes import change_address, forget, next_mail, sign_in, verify

ADA = "ada@example.org"
UNLIMITED = Rate(1000, 60)
ADDRESS_MAX = 5
NETWORK_MAX = 4
NOTICES_MAX = 2


@pytest.fixture
async def server() -> AsyncIterator[MailServer]:
    async with mail_server() as server:
        yield server


@pytest.fixture
def settings(api_settings: ApiSettings, server: MailServer) -> ApiSettings:
    """Settings of an API on which only the limits of mails are tight."""
    return api_settings.model_copy(
        update={
            "smtp_url": SecretStr(server.url),
            "limit_mail": Rate(ADDRESS_MAX, 3600),
            "limit_mail_network": UNLIMITED,
            "limit_mail_notices": Rate(NOTICES_MAX, 3600),
            "limit_signup": UNLIMITED,
            "limit_signin": UNLIMITED,
            "limit_password": UNLIMITED,
        }
    )


@pytest.fixture
async def app(settings: ApiSettings) -> AsyncIterator[FastAPI]:
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        yield app


def at(app: FastAPI, network: str) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app, client=(network, 1))
    return httpx.AsyncClient(transport=transport, base_url="http://auth.test")


async def sent(server: MailServer, engine: AsyncEngine) -> list[str]:
    """The subjects of all mails, once the queue is empty."""

    async def is_idle() -> bool:
        return not await fetch(engine, "SELECT 1 FROM mails")

    await eventually(is_idle)
    return [mail.message["Subject"] for mail in server.received]


async def set_password(client: httpx.AsyncClient, user: dict[str, Any], new: str, old: str) -> Any:
    answer = await client.post(
        "/v1/me/password", headers=bearer(user), json={"current_password": old, "new_password": new}
    )
    assert answer.status_code == 200
    return answer.json()


async def delete(client: httpx.AsyncClient, user: dict[str, Any]) -> None:
    answer = await client.request(
        "DELETE", "/v1/me", headers=bearer(user), json={"password": PASSWORD}
    )
    assert answer.status_code == 204


async def test_nothing_but_verification_goes_to_an_unverified_address(
    app: FastAPI, server: MailServer, auth_engine: AsyncEngine
) -> None:
    """Whichever changes a squatter makes to the account, and however often."""
    async with at(app, "192.0.2.1") as client:
        user = await signed_up(client, ADA)
        password = PASSWORD
        for n in range(4):
            new = f"heron lantern gravel number {n}"
            user = await set_password(client, user, new, password)
            password = new
        await sign_in(client, ADA, password)
        await change_address(client, user, "other@example.org", password)

    subjects = await sent(server, auth_engine)

    to_ada = [m.message["Subject"] for m in server.received if m.recipients == [ADA]]
    assert to_ada == ["Please confirm your e-mail address"]
    assert len(subjects) == 2


async def test_password_changes_in_a_loop_fill_no_mailbox(
    app: FastAPI, server: MailServer, auth_engine: AsyncEngine
) -> None:
    async with at(app, "192.0.2.1") as client:
        user = await signed_up(client, ADA)
        await verify(client, (await next_mail(server, "confirm")).token)
        password = PASSWORD
        for n in range(12):
            new = f"heron lantern gravel number {n}"
            user = await set_password(client, user, new, password)
            password = new

    subjects = await sent(server, auth_engine)

    assert len(subjects) == ADDRESS_MAX - 1 + NOTICES_MAX  # the first one verified the address


async def test_signing_up_and_deleting_in_a_loop_fills_no_mailbox(
    app: FastAPI, server: MailServer, auth_engine: AsyncEngine
) -> None:
    """From one network after another: the address is charged, not the account."""
    for n in range(ADDRESS_MAX + 4):
        async with at(app, f"192.0.2.{n}") as client:
            user = await signed_up(client, ADA)
            await sent(server, auth_engine)  # otherwise the deletion erases the mail
            await delete(client, user)

    assert len(server.received) == ADDRESS_MAX
    rows = repr(await fetch(auth_engine, "SELECT * FROM throttle_rates"))
    assert "ada@" not in rows


async def test_every_kind_of_mail_counts(
    app: FastAPI, server: MailServer, auth_engine: AsyncEngine
) -> None:
    async with at(app, "192.0.2.100") as client:
        await signed_up(client, ADA)
    others = []
    for n in range(6):
        async with at(app, f"198.51.100.{n}") as client:
            others.append(await signed_up(client, f"user{n}@example.org"))

    async def cause(n: int) -> None:
        async with at(app, f"203.0.113.{n}") as client:
            await forget(client, ADA)
            await change_address(client, others[n], ADA)

    await asyncio.gather(*(cause(n) for n in range(6)))
    await sent(server, auth_engine)

    assert sum(mail.recipients == [ADA] for mail in server.received) == ADDRESS_MAX


async def test_a_spent_limit_suppresses_no_notice(
    app: FastAPI, server: MailServer, auth_engine: AsyncEngine
) -> None:
    """Using up the limit with resets and new passwords cannot hide a new address."""
    async with at(app, "192.0.2.1") as client:
        user = await signed_up(client, ADA)
        await verify(client, (await next_mail(server, "confirm")).token)
        password = PASSWORD
        for n in range(ADDRESS_MAX + NOTICES_MAX):
            await forget(client, ADA)
            new = f"heron lantern gravel number {n}"
            user = await set_password(client, user, new, password)
            password = new
        await sent(server, auth_engine)
        before = len(server.received)

        answer = await change_address(client, user, "thief@example.org", password)

    assert answer.status_code == 200
    notice = await next_mail(server, "address is being changed", ADA)
    assert len(notice.token) == 43
    assert before == ADDRESS_MAX - 1 + NOTICES_MAX


@pytest.mark.parametrize(
    ("networks", "limit"),
    [
        (["192.0.2.1"], NETWORK_MAX),
        (["2001:db8::1", "2001:db8::2"], NETWORK_MAX),
        ([f"2001:db8:0:{n:x}::1" for n in range(19)], 4 * NETWORK_MAX),
        (["192.0.2.1", "::ffff:192.0.2.1"], NETWORK_MAX),
    ],
)
async def test_a_network_causes_so_many_mails(
    networks: list[str],
    limit: int,
    settings: ApiSettings,
    server: MailServer,
    auth_engine: AsyncEngine,
) -> None:
    """To all addresses together: an IPv4 address, an IPv6 /64, and four times that for a /48."""
    app = create_app(settings.model_copy(update={"limit_mail_network": Rate(NETWORK_MAX, 3600)}))

    async def sign_up(n: int) -> None:
        async with at(app, networks[n % len(networks)]) as client:
            await signed_up(client, f"user{n}@example.org")

    async with app.router.lifespan_context(app):
        await asyncio.gather(*(sign_up(n) for n in range(limit + 3)))
        assert len(await sent(server, auth_engine)) == limit


async def test_queue_of_a_user_is_bounded_while_the_mail_server_is_away(
    settings: ApiSettings, server: MailServer, auth_engine: AsyncEngine
) -> None:
    """Requests in a loop do not pile up, and do not displace other kinds of mail."""
    server.refusal = "450 come back later"
    async with serving(settings) as client:
        user = await signed_up(client, ADA)
        await execute(auth_engine, "UPDATE users SET email_verified = true")
        password = PASSWORD
        for n in range(14):
            new = f"heron lantern gravel number {n}"
            user = await set_password(client, user, new, password)
            password = new
        await change_address(client, user, "new@example.org", password)

        rows = await fetch(auth_engine, "SELECT purpose, count(*) AS n FROM mails GROUP BY purpose")

    counts = {row.purpose: row.n for row in rows}
    assert counts["password_changed"] <= 10
    assert counts["email_change"] == counts["confirm_email"] == 1


async def test_the_owner_is_told_of_a_reused_token(
    settings: ApiSettings, server: MailServer
) -> None:
    """A reused refresh token ends the session, and its user is told why."""
    async with serving(settings.model_copy(update={"refresh_grace_seconds": 0})) as client:
        ada = await signed_up(client, ADA)
        await verify(client, (await next_mail(server, "confirm")).token)
        form = {"grant_type": "refresh_token", "refresh_token": ada["refresh_token"]}
        answers = [await client.post("/oauth/token", data=form) for _ in range(3)]

        assert [answer.status_code for answer in answers] == [200, 400, 400]
        mail = await next_mail(server, "signed out for your safety", ADA)
        assert "#" not in mail.text


async def test_a_new_device_is_reported_if_the_setting_is_on(
    settings: ApiSettings, server: MailServer, auth_engine: AsyncEngine
) -> None:
    """Another browser or another network; each is reported once."""
    app = create_app(settings.model_copy(update={"mail_new_device": True, "limit_mail": UNLIMITED}))
    known = {"User-Agent": "Browser/1"}

    async def enter(network: str, agent: str) -> None:
        async with at(app, network) as client:
            answer = await client.post(
                "/v1/signin",
                json={"email": ADA, "password": PASSWORD},
                headers={"User-Agent": agent},
            )
            assert answer.status_code == 200

    async with app.router.lifespan_context(app):
        async with at(app, "192.0.2.1") as client:
            credentials = {"email": ADA, "password": PASSWORD}
            await client.post("/v1/signup", json=credentials, headers=known)
            await verify(client, (await next_mail(server, "confirm")).token)
        counts = []
        for network, agent in (
            ("192.0.2.1", "Browser/1"),
            ("192.0.2.1", "Thief/1"),
            ("192.0.2.1", "Thief/1"),
            ("198.51.100.1", "Browser/1"),
            ("198.51.100.1", "Browser/1"),
        ):
            await enter(network, agent)
            counts.append(len(await sent(server, auth_engine)))

    assert counts == [0, 1, 1, 2, 2]


async def test_a_new_device_is_not_reported_by_default(
    app: FastAPI, server: MailServer, auth_engine: AsyncEngine
) -> None:
    """People who travel would get a mail a day."""
    async with at(app, "192.0.2.1") as client:
        await signed_up(client, ADA)
        await verify(client, (await next_mail(server, "confirm")).token)
    async with at(app, "198.51.100.1") as client:
        await sign_in(client, ADA)
    assert not await sent(server, auth_engine)
