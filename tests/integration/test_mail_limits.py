"""Limits of mails: to an address, from a network; no loop or detour gets around them."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from fastapi import FastAPI

from auth_service.app import create_app
from auth_service.mail.sender import MailSender
from auth_service.settings import ApiSettings
from service_kit.process.rates import Rate
from tests.support.auth_api import ADA, PASSWORD, AuthApi, Signed, assert_problem, serving, statuses
from tests.support.mail_server import MailServer

UNLIMITED = Rate(1000, 60)
ADDRESS_MAX = 5
NETWORK_MAX = 4
NOTICES_MAX = 2
CHANGES_MAX = 3
EVE = "eve@example.org"


@pytest.fixture
def settings(mail_settings: ApiSettings) -> ApiSettings:
    """Settings of an API on which only the limits of mails are tight."""
    tight = {"limit_mail": Rate(ADDRESS_MAX, 3600), "limit_mail_notices": Rate(NOTICES_MAX, 3600)}
    others = (f"limit_{name}" for name in ("mail_network", "signup", "signin", "password"))
    return mail_settings.model_copy(update=tight | dict.fromkeys(others, UNLIMITED))


@pytest.fixture
async def app(settings: ApiSettings) -> AsyncIterator[FastAPI]:
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        yield app


async def sent(server: MailServer, client: AuthApi) -> list[str]:
    """The subjects of all mails, once the queue is empty."""
    await client.until_sent()
    return [mail.message["Subject"] for mail in server.received]


async def a_verified_user(client: AuthApi, server: MailServer, email: str = ADA) -> Signed:
    user = await client.sign_up(email)
    assert (await client.verify(await server.link("confirm", email))).status_code == 204
    return user


async def change_passwords(client: AuthApi, user: Signed, times: int) -> tuple[Signed, str]:
    """Change a user's password so often; return the last sign-in and password."""
    password = PASSWORD
    for n in range(times):
        new = f"heron lantern gravel number {n}"
        answer = await client.change_password(user, new, password)
        assert answer.status_code == 200
        user, password = answer.json(), new
    return user, password


async def test_unverified_addresses_get_only_verification(app: FastAPI, server: MailServer) -> None:
    """Whichever changes a squatter makes to the account, and however often."""
    client = AuthApi(app)
    user, password = await change_passwords(client, await client.sign_up(), 4)
    await client.sign_in(ADA, password)
    await client.change_address(user, "other@example.org", password)
    assert len(await sent(server, client)) == 2
    to_ada = [m.message["Subject"] for m in server.received if m.recipients == [ADA]]
    assert to_ada == ["Please confirm your e-mail address"]


async def test_password_changes_in_a_loop_fill_no_mailbox_and_hide_no_notice(
    app: FastAPI, server: MailServer
) -> None:
    """All succeed, and a few notices arrive; that of a new address arrives all the same."""
    client = AuthApi(app)
    user = await a_verified_user(client, server)  # the first mail to the address
    user, password = await change_passwords(client, user, ADDRESS_MAX + NOTICES_MAX + 2)
    assert len(await sent(server, client)) == ADDRESS_MAX - 1 + NOTICES_MAX
    for _ in range(ADDRESS_MAX):
        await client.forget()
    answer = await client.change_address(user, "thief@example.org", password)

    assert answer.status_code == 200
    assert len(await server.link("address is being changed", ADA)) == 43


async def test_signing_up_and_leaving_fills_no_mailbox(app: FastAPI, server: MailServer) -> None:
    """From one network after another: the address is charged, not the account."""
    for n in range(ADDRESS_MAX + 4):
        client = AuthApi(app, f"192.0.2.{n}")
        user = await client.sign_up()
        await client.until_sent()  # otherwise the deletion erases the mail
        assert (await client.delete_me(user)).status_code == 204
    assert len(server.received) == ADDRESS_MAX
    assert "ada@" not in repr(await client.fetch("SELECT * FROM throttle_rates"))


async def test_every_kind_of_mail_counts(app: FastAPI, server: MailServer) -> None:
    client = AuthApi(app, "192.0.2.100")
    await client.sign_up()
    others = await strangers(app, 6)

    async def cause(n: int) -> None:
        client = AuthApi(app, f"203.0.113.{n}")
        await client.forget()
        await client.change_address(others[n], ADA)

    await asyncio.gather(*(cause(n) for n in range(6)))
    await client.until_sent()

    assert sum(mail.recipients == [ADA] for mail in server.received) == ADDRESS_MAX


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
    networks: list[str], limit: int, settings: ApiSettings, server: MailServer
) -> None:
    """To all addresses together: an IPv4 address, an IPv6 /64, and four times that for a /48."""
    app = create_app(settings.model_copy(update={"limit_mail_network": Rate(NETWORK_MAX, 3600)}))

    async def sign_up(n: int) -> None:
        await AuthApi(app, networks[n % len(networks)]).sign_up(f"user{n}@example.org")

    async with app.router.lifespan_context(app):
        await asyncio.gather(*(sign_up(n) for n in range(limit + 3)))
        assert len(await sent(server, AuthApi(app))) == limit


async def test_queue_of_a_user_is_bounded_while_the_mail_server_is_away(
    app: FastAPI, server: MailServer
) -> None:
    """Requests in a loop do not pile up, and do not displace other kinds of mail."""
    server.refusal = "450 come back later"
    client = AuthApi(app)
    user = await client.sign_up()
    await client.execute("UPDATE users SET email_verified = true")
    user, password = await change_passwords(client, user, 14)
    await client.change_address(user, "new@example.org", password)
    rows = await client.fetch("SELECT purpose, count(*) AS n FROM mails GROUP BY purpose")

    counts = {row.purpose: row.n for row in rows}
    assert counts["password_changed"] <= 10
    assert counts["email_change"] == counts["confirm_email"] == 1


async def test_the_owner_is_told_of_a_reused_token(
    settings: ApiSettings, server: MailServer
) -> None:
    """A reused refresh token ends the session, and its user is told why."""
    async with serving(settings.model_copy(update={"refresh_grace_seconds": 0})) as client:
        ada = await a_verified_user(client, server)
        used = (client.refresh(ada["refresh_token"]) for _ in range(3))
        assert await statuses(*used) == [200, 400, 400]
        mail = await server.next_mail("signed out for your safety", ADA)
    assert "#" not in mail.text


@pytest.mark.parametrize(("is_on", "expected"), [(True, [0, 1, 1, 2, 2]), (False, [0] * 5)])
async def test_a_new_device_is_reported_once_if_the_setting_is_on(
    settings: ApiSettings, server: MailServer, is_on: bool, expected: list[int]
) -> None:
    """Another browser or network. By default not: people who travel would get a mail a day."""
    update = {"limit_mail": UNLIMITED} | ({"mail_new_device": True} if is_on else {})
    app = create_app(settings.model_copy(update=update))
    counts = []
    async with app.router.lifespan_context(app):
        client = AuthApi(app, "192.0.2.1")
        client.headers["User-Agent"] = "Browser/1"
        await a_verified_user(client, server)
        for network, agent in (
            ("192.0.2.1", "Browser/1"),
            ("192.0.2.1", "Thief/1"),
            ("192.0.2.1", "Thief/1"),
            ("198.51.100.1", "Browser/1"),
            ("198.51.100.1", "Browser/1"),
        ):
            client = AuthApi(app, network)
            client.headers["User-Agent"] = agent
            assert (await client.sign_in()).status_code == 200
            counts.append(len(await sent(server, client)))

    assert counts == expected


async def strangers(app: FastAPI, count: int) -> list[Signed]:
    """Accounts of an attacker, each signed up from a network of its own."""
    clients = [AuthApi(app, f"198.51.100.{n}") for n in range(count)]
    return [await each.sign_up(f"stranger{n}@example.net") for n, each in enumerate(clients)]


async def test_strangers_cannot_use_up_the_resets_of_an_address(
    app: FastAPI, server: MailServer
) -> None:
    """By naming it as their own new address, from any number of accounts."""
    home = AuthApi(app, "192.0.2.1")
    await a_verified_user(home, server)
    for n, stranger in enumerate(await strangers(app, ADDRESS_MAX + 2)):
        changed = await AuthApi(app, f"203.0.113.{n}").change_address(stranger, ADA)
        assert changed.status_code == 200
    await home.until_sent()

    assert (await home.forget()).status_code == 202
    assert await server.link("new password", ADA)


async def test_mails_that_waited_count_for_the_address_that_they_go_to(
    settings: ApiSettings, server: MailServer
) -> None:
    """A mailbox that refuses for now collects mails, which another address then gets."""
    # Not started: a sender of its own would try a mail again while the address changes further.
    # It would charge that address, and drop the mail if its limit is spent.
    client = AuthApi(create_app(settings), "192.0.2.1")
    sender = MailSender(client.engine, settings)
    eve = await client.sign_up(EVE)
    await sender.run_once()
    assert (await client.verify(await server.link("confirm", EVE))).status_code == 204
    server.refusal = "451 come back later"
    for n in range(9):
        await client.change_address(eve, f"eve{n}@example.org")
        await sender.run_once()
        await client.execute("UPDATE mails SET next_try_at = now() + interval '10 minutes'")
    assert len(await client.fetch(REFUSED)) == 9

    await client.change_address(eve, ADA)
    server.refusal = None
    await client.execute("UPDATE mails SET next_try_at = now()")
    while await sender.run_once():
        pass
    await client.context.disconnect()

    assert 0 < sum(mail.recipients == [ADA] for mail in server.received) < ADDRESS_MAX


REFUSED = "SELECT 1 FROM mails WHERE purpose = 'confirm_email' AND charged_to IS NOT NULL"


async def test_tags_make_no_further_mailboxes(app: FastAPI, server: MailServer) -> None:
    """Sub-addresses (RFC 5233) of one mailbox share a limit, which excludes resets."""
    for n in range(4 * ADDRESS_MAX + 4):
        await AuthApi(app, f"198.51.100.{n}").sign_up(f"ada+{n}@example.org")
    home = AuthApi(app, "192.0.2.1")
    await home.until_sent()
    assert len(server.received) == 4 * ADDRESS_MAX
    await home.forget("ada+0@example.org")
    assert await server.next_mail("with a new password", "ada+0@example.org")


async def test_who_names_an_address_learns_nothing_of_its_mails(app: FastAPI) -> None:
    """The remaining limit would show that its holder has requested mails."""
    [eve] = await strangers(app, 1)
    home, away = AuthApi(app, "192.0.2.1"), AuthApi(app, "192.0.2.2")
    ada = await home.sign_up()
    asked = await home.send_again(ada)
    await away.change_address(eve, ADA)
    for _ in range(ADDRESS_MAX):
        await away.send_again(eve)
    again = await AuthApi(app, "192.0.2.3").send_again(ada)

    assert (asked.status_code, again.status_code) == (202, 202)


async def test_who_signed_up_with_anothers_address_cannot_keep_them_out(
    settings: ApiSettings,
) -> None:
    """Each change of the account invalidates its reset links, so changes in a loop are limited."""
    limits = {"limit_account_changes": Rate(CHANGES_MAX, 3600)}
    async with serving(settings.model_copy(update=limits)) as client:
        squatter = await client.sign_up()
        answers = []
        for n in range(CHANGES_MAX + 2):
            answers.append(await client.change_address(squatter, f"eve{n}@example.org"))
            squatter = (await client.sign_in()).json()
        wrong = await client.change_address(squatter, EVE, "not the password of anybody")
        passwords = await client.change_password(squatter, "another lantern, a heron")

    assert [answer.status_code for answer in answers] == [200] * CHANGES_MAX + [429] * 2
    assert answers[-1].json()["violated-policies"] == ["account_changes"]
    assert_problem(wrong, 403, "wrong_password")
    assert passwords.status_code == 429
