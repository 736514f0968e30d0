"""Attacks on accounts that no single route shows: loops, and mails that go elsewhere."""

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
from tests.support.auth_api import PASSWORD, assert_problem, bearer, signed_up
from tests.support.eventually import eventually
from tests.support.inbox import execute, fetch
from tests.support.mail_server import MailServer, mail_server
from tests.support.mailboxes import change_address, forget, next_mail, verify

ADA = "ada@example.org"
EVE = "eve@example.org"
UNLIMITED = Rate(1000, 60)
ADDRESS_MAX = 5
CHANGES_MAX = 3


@pytest.fixture
async def server() -> AsyncIterator[MailServer]:
    async with mail_server() as server:
        yield server


@pytest.fixture
async def app(api_settings: ApiSettings, server: MailServer) -> AsyncIterator[FastAPI]:
    """An API that sends mails; of its limits, only those of mails to an address are tight."""
    app = create_app(
        api_settings.model_copy(
            update={
                "smtp_url": SecretStr(server.url),
                "limit_mail": Rate(ADDRESS_MAX, 3600),
                "limit_mail_network": UNLIMITED,
                "limit_signup": UNLIMITED,
                "limit_signin": UNLIMITED,
                "limit_password": UNLIMITED,
            }
        )
    )
    async with app.router.lifespan_context(app):
        yield app


def at(app: FastAPI, network: str) -> httpx.AsyncClient:
    """A client there, on another network."""
    transport = httpx.ASGITransport(app, client=(network, 1), raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://auth.test")


async def until_idle(engine: AsyncEngine) -> None:
    async def is_idle() -> bool:
        return not await fetch(engine, "SELECT 1 FROM mails")

    await eventually(is_idle)


async def strangers(app: FastAPI, count: int) -> list[dict[str, Any]]:
    """Accounts of an attacker, each signed up from a network of its own."""
    found = []
    for n in range(count):
        async with at(app, f"198.51.100.{n}") as client:
            found.append(await signed_up(client, f"stranger{n}@example.net"))
    return found


class TestMails:
    """Nobody can flood a mailbox, or suppress the mail that lets its holder in."""

    async def test_strangers_cannot_use_up_the_resets_of_an_address(
        self, app: FastAPI, server: MailServer, auth_engine: AsyncEngine
    ) -> None:
        """By naming it as their own new address, from any number of accounts."""
        async with at(app, "192.0.2.1") as client:
            await signed_up(client, ADA)
            await verify(client, (await next_mail(server, "confirm", ADA)).token)
        for n, stranger in enumerate(await strangers(app, ADDRESS_MAX + 2)):
            async with at(app, f"203.0.113.{n}") as client:
                assert (await change_address(client, stranger, ADA)).status_code == 200
        await until_idle(auth_engine)

        async with at(app, "192.0.2.1") as client:
            assert (await forget(client, ADA)).status_code == 202
            assert (await next_mail(server, "new password", ADA)).token

    async def test_mails_that_waited_count_for_the_address_that_they_go_to(
        self, app: FastAPI, server: MailServer, auth_engine: AsyncEngine
    ) -> None:
        """A mailbox that refuses for now collects mails, which another address then gets."""
        async with at(app, "192.0.2.1") as client:
            eve = await signed_up(client, EVE)
            await verify(client, (await next_mail(server, "confirm", EVE)).token)
            server.refusal = "451 come back later"
            for n in range(9):
                await change_address(client, eve, f"eve{n}@example.org")
            await eventually(lambda: _all_were_tried(auth_engine, 9))
            await change_address(client, eve, ADA)
            server.refusal = None
            await execute(auth_engine, "UPDATE mails SET next_try_at = now()")
            await until_idle(auth_engine)

        assert 0 < sum(mail.recipients == [ADA] for mail in server.received) < ADDRESS_MAX

    async def test_tags_make_no_further_mailboxes(
        self, app: FastAPI, server: MailServer, auth_engine: AsyncEngine
    ) -> None:
        """Sub-addresses (RFC 5233) of one mailbox share a limit, which excludes resets."""
        for n in range(4 * ADDRESS_MAX + 4):
            async with at(app, f"198.51.100.{n}") as client:
                await signed_up(client, f"ada+{n}@example.org")
        await until_idle(auth_engine)

        assert len(server.received) == 4 * ADDRESS_MAX
        async with at(app, "192.0.2.1") as client:
            await forget(client, "ada+0@example.org")
        assert await next_mail(server, "with a new password", "ada+0@example.org")

    async def test_who_names_an_address_learns_nothing_of_its_mails(self, app: FastAPI) -> None:
        """The remaining limit would show that its holder has requested mails."""
        [eve] = await strangers(app, 1)
        async with at(app, "192.0.2.1") as client:
            ada = await signed_up(client, ADA)
            asked = await client.post("/v1/me/email/verification", headers=bearer(ada))
        async with at(app, "192.0.2.2") as client:
            await change_address(client, eve, ADA)
            for _ in range(ADDRESS_MAX):
                await client.post("/v1/me/email/verification", headers=bearer(eve))
        async with at(app, "192.0.2.3") as client:
            again = await client.post("/v1/me/email/verification", headers=bearer(ada))

        assert (asked.status_code, again.status_code) == (202, 202)


async def _all_were_tried(engine: AsyncEngine, count: int) -> bool:
    rows = await fetch(
        engine, "SELECT 1 FROM mails WHERE purpose = 'confirm_email' AND attempts > 0"
    )
    return len(rows) == count


async def test_who_signed_up_with_anothers_address_cannot_keep_them_out(
    api_settings: ApiSettings, server: MailServer
) -> None:
    """Each change of the account invalidates its reset links, so changes in a loop are limited."""
    settings = api_settings.model_copy(
        update={
            "smtp_url": SecretStr(server.url),
            "limit_password": UNLIMITED,
            "limit_signin": UNLIMITED,
            "limit_account_changes": Rate(CHANGES_MAX, 3600),
        }
    )
    app = create_app(settings)
    async with app.router.lifespan_context(app), at(app, "192.0.2.1") as client:
        squatter = await signed_up(client, ADA)
        answers = []
        for n in range(CHANGES_MAX + 2):
            answers.append(await change_address(client, squatter, f"eve{n}@example.org"))
            signed_in = await client.post("/v1/signin", json={"email": ADA, "password": PASSWORD})
            squatter = signed_in.json()
        wrong = await change_address(client, squatter, EVE, "not the password of anybody")
        passwords = await client.post(
            "/v1/me/password",
            headers=bearer(squatter),
            json={"current_password": PASSWORD, "new_password": "another lantern, a heron"},
        )

    assert [answer.status_code for answer in answers] == [200] * CHANGES_MAX + [429] * 2
    assert answers[-1].json()["violated-policies"] == ["account_changes"]
    assert_problem(wrong, 403, "wrong_password")
    assert passwords.status_code == 429
