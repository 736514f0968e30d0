"""Attacks on accounts that no single route shows: loops, and mails that go elsewhere."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from fastapi import FastAPI

from auth_service.app import create_app
from auth_service.settings import ApiSettings
from service_kit.process.rates import Rate
from tests.support.auth_api import ADA, AuthApi, Signed, assert_problem, bearer, serving, signed_up
from tests.support.eventually import eventually
from tests.support.mail_server import MailServer
from tests.support.mailboxes import change_address, forget, link, next_mail, until_sent, verify

EVE = "eve@example.org"
UNLIMITED = Rate(1000, 60)
ADDRESS_MAX = 5
CHANGES_MAX = 3


@pytest.fixture
async def app(mail_settings: ApiSettings) -> AsyncIterator[FastAPI]:
    """An API that sends mails; of its limits, only those of mails to an address are tight."""
    unlimited = ("limit_mail_network", "limit_signup", "limit_signin", "limit_password")
    limits = {"limit_mail": Rate(ADDRESS_MAX, 3600), **dict.fromkeys(unlimited, UNLIMITED)}
    app = create_app(mail_settings.model_copy(update=limits))
    async with app.router.lifespan_context(app):
        yield app


async def strangers(app: FastAPI, count: int) -> list[dict[str, Any]]:
    """Accounts of an attacker, each signed up from a network of its own."""
    found = []
    for n in range(count):
        async with AuthApi(app, f"198.51.100.{n}") as client:
            found.append(await signed_up(client, f"stranger{n}@example.net"))
    return found


class TestMails:
    """Nobody can flood a mailbox, or suppress the mail that lets its holder in."""

    async def test_strangers_cannot_use_up_the_resets_of_an_address(
        self, app: FastAPI, server: MailServer
    ) -> None:
        """By naming it as their own new address, from any number of accounts."""
        async with AuthApi(app, "192.0.2.1") as client:
            await signed_up(client, ADA)
            await verify(client, await link(server, "confirm", ADA))
        for n, stranger in enumerate(await strangers(app, ADDRESS_MAX + 2)):
            async with AuthApi(app, f"203.0.113.{n}") as client:
                assert (await change_address(client, stranger, ADA)).status_code == 200
        await until_sent(client)

        async with AuthApi(app, "192.0.2.1") as client:
            assert (await forget(client, ADA)).status_code == 202
            assert await link(server, "new password", ADA)

    async def test_mails_that_waited_count_for_the_address_that_they_go_to(
        self, app: FastAPI, server: MailServer
    ) -> None:
        """A mailbox that refuses for now collects mails, which another address then gets."""
        async with AuthApi(app, "192.0.2.1") as client:
            eve = await signed_up(client, EVE)
            await verify(client, await link(server, "confirm", EVE))
            server.refusal = "451 come back later"
            for n in range(9):
                await change_address(client, eve, f"eve{n}@example.org")
            await eventually(lambda: _all_were_tried(client, 9))
            await change_address(client, eve, ADA)
            server.refusal = None
            await client.execute("UPDATE mails SET next_try_at = now()")
            await until_sent(client)

        assert 0 < sum(mail.recipients == [ADA] for mail in server.received) < ADDRESS_MAX

    async def test_tags_make_no_further_mailboxes(self, app: FastAPI, server: MailServer) -> None:
        """Sub-addresses (RFC 5233) of one mailbox share a limit, which excludes resets."""
        for n in range(4 * ADDRESS_MAX + 4):
            async with AuthApi(app, f"198.51.100.{n}") as client:
                await signed_up(client, f"ada+{n}@example.org")
        await until_sent(client)

        assert len(server.received) == 4 * ADDRESS_MAX
        async with AuthApi(app, "192.0.2.1") as client:
            await forget(client, "ada+0@example.org")
        assert await next_mail(server, "with a new password", "ada+0@example.org")

    async def test_who_names_an_address_learns_nothing_of_its_mails(self, app: FastAPI) -> None:
        """The remaining limit would show that its holder has requested mails."""
        [eve] = await strangers(app, 1)
        async with AuthApi(app, "192.0.2.1") as client:
            ada = await signed_up(client, ADA)
            asked = await client.post("/v1/me/email/verification", headers=bearer(ada))
        async with AuthApi(app, "192.0.2.2") as client:
            await change_address(client, eve, ADA)
            for _ in range(ADDRESS_MAX):
                await client.post("/v1/me/email/verification", headers=bearer(eve))
        async with AuthApi(app, "192.0.2.3") as client:
            again = await client.post("/v1/me/email/verification", headers=bearer(ada))

        assert (asked.status_code, again.status_code) == (202, 202)


async def _all_were_tried(client: AuthApi, count: int) -> bool:
    query = "SELECT 1 FROM mails WHERE purpose = 'confirm_email' AND attempts > 0"
    return len(await client.fetch(query)) == count


async def test_who_signed_up_with_anothers_address_cannot_keep_them_out(
    mail_settings: ApiSettings,
) -> None:
    """Each change of the account invalidates its reset links, so changes in a loop are limited."""
    limits = {
        "limit_password": UNLIMITED,
        "limit_signin": UNLIMITED,
        "limit_account_changes": Rate(CHANGES_MAX, 3600),
    }
    async with serving(mail_settings.model_copy(update=limits)) as client:
        squatter: Signed = await signed_up(client, ADA)
        answers = []
        for n in range(CHANGES_MAX + 2):
            answers.append(await change_address(client, squatter, f"eve{n}@example.org"))
            squatter = (await client.sign_in()).json()
        wrong = await change_address(client, squatter, EVE, "not the password of anybody")
        passwords = await client.change_password(squatter, "another lantern, a heron")

    assert [answer.status_code for answer in answers] == [200] * CHANGES_MAX + [429] * 2
    assert answers[-1].json()["violated-policies"] == ["account_changes"]
    assert_problem(wrong, 403, "wrong_password")
    assert passwords.status_code == 429
