"""A new address is pending until its link is opened, and the old one's holder can undo it."""

import asyncio
from collections.abc import Awaitable, Callable
from uuid import UUID

import pytest
from structlog.testing import capture_logs

from auth_service.settings import ApiSettings
from service_kit.process.rates import Rate
from tests.support.auth_api import (
    ADA,
    PASSWORD,
    AuthApi,
    Signed,
    assert_problem,
    bearer,
    serving,
    signed_up,
)
from tests.support.eventually import eventually
from tests.support.inbox import everything
from tests.support.mail_server import MailServer
from tests.support.mailboxes import (
    change_address,
    forget,
    link,
    next_mail,
    reset,
    restore,
    until_sent,
    verify,
)

NEW = "countess@example.org"
THIEF = "thief@example.org"
OTHER_PASSWORD = "another lantern for the heron"
LINK = "address is being changed"


@pytest.fixture
def mail_settings(mail_settings: ApiSettings) -> ApiSettings:
    """Settings of an API that sends mails, as many as a test needs."""
    limits = {"limit_mail": Rate(100, 3600), "limit_password": Rate(100, 60)}
    return mail_settings.model_copy(update=limits)


@pytest.fixture
async def ada(post: AuthApi, server: MailServer) -> Signed:
    """A user with a verified address."""
    ada = await signed_up(post, ADA)
    assert (await verify(post, await link(server, "confirm"))).status_code == 204
    return ada


async def moved(client: AuthApi, server: MailServer, signed_in: Signed, to: str) -> str:
    """Change the address and confirm it; return the token of the link that undoes it."""
    old = (await client.me(signed_in)).json()["email"]
    assert (await change_address(client, signed_in, to)).status_code == 200
    undo = await link(server, LINK, old)
    confirm = await link(server, "confirm", to)
    assert (await verify(client, confirm)).status_code == 204
    return undo


async def pending(client: AuthApi, server: MailServer, signed_in: Signed, email: str) -> str:
    """Request another address; return the token of the link that confirms it."""
    await change_address(client, signed_in, email)
    return await link(server, "new e-mail", email)


async def recorded(client: AuthApi) -> list[str]:
    """The addresses in events, oldest first."""
    rows = await client.fetch("SELECT payload FROM outbox_events ORDER BY position")
    return [row.payload["email"] for row in rows if row.payload and "email" in row.payload]


async def reset_password(client: AuthApi, server: MailServer, email: str) -> None:
    await forget(client, email)
    await reset(client, await link(server, "new password", email), OTHER_PASSWORD)


class TestPending:
    """Until its link is opened, the new address has no effect."""

    async def test_the_old_address_stays_in_force(
        self, post: AuthApi, server: MailServer, ada: Signed
    ) -> None:
        """For sign-in, resets and events; only the owner sees the pending address."""
        answer = await change_address(post, ada, NEW)

        body = answer.json()
        assert (answer.status_code, body["email"], body["email_verified"]) == (200, ADA, True)
        assert body["pending_email"] == (await post.me(ada)).json()["pending_email"] == NEW
        assert (await post.sign_in()).status_code == 200
        assert (await post.sign_in(NEW)).status_code == 401
        await forget(post, NEW)
        await forget(post, ADA)
        assert (await next_mail(server, "new password")).recipients == [ADA]
        await next_mail(server, LINK, ADA)
        await next_mail(server, "confirm", NEW)
        await until_sent(post)
        assert not server.received
        assert set(await recorded(post)) == {ADA}

    async def test_its_link_puts_it_in_force(
        self, post: AuthApi, server: MailServer, ada: Signed
    ) -> None:
        """Verified, in the next event, once; links to the old address stop working."""
        await forget(post, ADA)
        old_reset = await link(server, "new password")
        token = await pending(post, server, ada, NEW)

        answers = await asyncio.gather(*(verify(post, token) for _ in range(5)))

        assert sorted(answer.status_code for answer in answers) == [204] + [422] * 4
        after = (await post.me(ada)).json()
        found = (after["email"], after["email_verified"], after.get("pending_email"))
        assert found == (NEW, True, None)
        assert await recorded(post) == [ADA, ADA, NEW]
        assert (await post.sign_in(NEW)).status_code == 200
        assert (await post.sign_in()).status_code == 401
        assert_problem(await reset(post, old_reset, OTHER_PASSWORD), 422, "invalid_link")

    async def test_only_the_latest_is_pending(
        self, post: AuthApi, server: MailServer, ada: Signed
    ) -> None:
        """A change replaces the one before, and the present address withdraws it."""
        first = await pending(post, server, ada, THIEF)
        second = await pending(post, server, ada, NEW)
        assert_problem(await verify(post, first), 422, "invalid_link")

        withdrawn = await change_address(post, ada, ADA.upper())

        assert (withdrawn.status_code, withdrawn.json().get("pending_email")) == (200, None)
        assert_problem(await verify(post, second), 422, "invalid_link")
        assert (await post.me(ada)).json()["email"] == ADA

    async def test_its_mail_can_be_sent_again_and_its_owner_may_change_back(
        self, post: AuthApi, server: MailServer, ada: Signed
    ) -> None:
        """What keeps others from the former address does not keep its owner from it."""
        await change_address(post, ada, NEW)
        await next_mail(server, "confirm", NEW)
        again = await post.post("/v1/me/email/verification", headers=bearer(ada))
        assert again.status_code == 202
        assert (await verify(post, await link(server, "confirm", NEW))).status_code == 204
        await moved(post, server, ada, ADA)
        assert (await post.me(ada)).json()["email"] == ADA

    async def test_it_ends_with_whatever_confirmed_it(
        self, post: AuthApi, server: MailServer
    ) -> None:
        """Its time, the account's activity, the password that confirmed it."""
        ends: dict[str, Callable[[Signed], Awaitable[object]]] = {
            "expired": lambda _: post.execute("UPDATE mail_links SET expires_at = now()"),
            "disabled": lambda _: post.execute("UPDATE users SET status = 'disabled'"),
            "password": lambda user: post.change_password(user, OTHER_PASSWORD),
            "reset": lambda user: reset_password(post, server, user["user"]["email"]),
        }
        for name, end in ends.items():
            user = await signed_up(post, f"{name}@example.org")
            await post.execute("UPDATE users SET email_verified = true WHERE status = 'active'")
            token = await pending(post, server, user, NEW)
            await end(user)
            assert_problem(await verify(post, token), 422, "invalid_link")
        emails = await post.fetch("SELECT email FROM users")
        assert {row.email for row in emails} == {f"{name}@example.org" for name in ends}

    async def test_nothing_of_it_outlives_the_user(
        self, post: AuthApi, server: MailServer, ada: Signed
    ) -> None:
        """No table holds an address after the deletion: pending, former, or in a queue."""
        await moved(post, server, ada, NEW)
        token = await pending(post, server, ada, THIEF)

        deleted = await post.delete_me(ada)

        assert deleted.status_code == 204
        assert_problem(await verify(post, token), 422, "invalid_link")
        left = await everything(post.engine)
        assert not [email for email in (ADA, NEW, THIEF) if email in left]

    async def test_an_expired_pending_address_is_erased(
        self, post: AuthApi, mail_settings: ApiSettings
    ) -> None:
        """A mistyped address is a stranger's, and is deleted once it is useless."""
        ada = await signed_up(post, ADA)
        await post.execute("UPDATE users SET email_verified = true")
        await change_address(post, ada, NEW)
        await post.execute(
            "UPDATE users SET pending_email_until = now() - interval '1 second'",
            "UPDATE former_emails SET until = now() - interval '1 second'",
        )

        async def is_erased() -> bool:
            left = await post.fetch(
                "SELECT 1 FROM users WHERE pending_email IS NOT NULL"
                " UNION ALL SELECT 1 FROM former_emails"
            )
            return not left

        # Another instance deletes expired addresses when it starts.
        async with serving(mail_settings):
            await eventually(is_erased)


class TestTaken:
    """A change does not reveal whether an address is taken; only its holder learns of it."""

    async def test_the_answer_is_that_of_a_free_address(
        self, post: AuthApi, server: MailServer, ada: Signed
    ) -> None:
        """The mail tells its reader that they have an account, and has no link."""
        await signed_up(post, "bob@example.org")
        await verify(post, await link(server, "confirm", "bob@example.org"))

        free = await change_address(post, ada, NEW)
        taken = await change_address(post, ada, "Bob@Example.org")

        same = {**free.json(), "pending_email": "bob@example.org"}
        assert (taken.status_code, taken.json()) == (200, same)
        mail = await next_mail(server, "already has an account", "bob@example.org")
        assert "#" not in mail.text

    async def test_the_first_to_confirm_gets_the_address(
        self, post: AuthApi, server: MailServer, ada: Signed
    ) -> None:
        """Of many at once, one; a free address may be taken by the time it is confirmed."""
        tokens = []
        for n in range(4):
            user = await signed_up(post, f"user{n}@example.org")
            await change_address(post, user, NEW)
            tokens.append(await link(server, "new e-mail", NEW))
        late = await pending(post, server, ada, NEW)

        answers = await asyncio.gather(*(verify(post, token) for token in tokens))

        assert sorted(answer.status_code for answer in answers) == [204, 409, 409, 409]
        for _ in range(2):
            assert_problem(await verify(post, late), 409, "email_taken")
        assert (await post.me(ada)).json()["email"] == ADA


class TestUndone:
    """The link in the notice restores the address and locks out the author of the change."""

    @pytest.mark.parametrize("has_taken_effect", [False, True])
    async def test_the_thief_is_locked_out_and_the_owner_gets_the_account_back(
        self, has_taken_effect: bool, post: AuthApi, server: MailServer, ada: Signed
    ) -> None:
        """The thief's sessions, tokens, password, pending change and links stop working."""
        await change_address(post, ada, THIEF)
        undo = await link(server, LINK, ADA)
        confirm = await link(server, "confirm", THIEF)
        thief_reset = None
        if has_taken_effect:
            await verify(post, confirm)
            await forget(post, THIEF)
            thief_reset = await link(server, "new password", THIEF)

        answers = await asyncio.gather(*(restore(post, undo) for _ in range(4)))

        assert sorted(answer.status_code for answer in answers) == [204] + [422] * 3
        assert_problem(await post.me(ada), 401, "invalid_token")
        assert (await post.refresh(ada["refresh_token"])).status_code == 400
        for email in (ADA, THIEF):
            assert (await post.sign_in(email)).status_code == 401
        assert_problem(await verify(post, confirm), 422, "invalid_link")
        if thief_reset:
            assert_problem(await reset(post, thief_reset, OTHER_PASSWORD), 422, "invalid_link")
        [row] = await post.fetch("SELECT * FROM users")
        assert (row.email, row.email_verified, row.pending_email) == (ADA, True, None)
        assert row.tokens_valid_after is not None
        assert (await recorded(post))[-1] == ADA

        mail = await next_mail(server, "new password", ADA)
        assert (await reset(post, mail.token, OTHER_PASSWORD)).status_code == 204
        assert (await post.sign_in(ADA, OTHER_PASSWORD)).status_code == 200

    async def test_the_thief_cannot_invalidate_the_link(
        self, post: AuthApi, server: MailServer, ada: Signed
    ) -> None:
        """Not by a second change, a new password or a reset; nor can they undo the undoing."""
        undo = await moved(post, server, ada, THIEF)
        back_to_thief = await moved(post, server, ada, NEW)
        await forget(post, NEW)
        await reset(post, await link(server, "new password", NEW), OTHER_PASSWORD)

        assert (await restore(post, undo)).status_code == 204

        assert_problem(await restore(post, back_to_thief), 422, "invalid_link")
        mail = await next_mail(server, "new password", ADA)
        assert (await reset(post, mail.token, PASSWORD)).status_code == 204
        assert (await post.sign_in()).status_code == 200

    async def test_an_earlier_link_takes_precedence(
        self, post: AuthApi, server: MailServer, ada: Signed
    ) -> None:
        """A thief who moved the account twice gains nothing by opening their own link first."""
        undo = await moved(post, server, ada, THIEF)
        back_to_thief = await moved(post, server, ada, NEW)
        assert (await restore(post, back_to_thief)).status_code == 204
        assert (await restore(post, undo)).status_code == 204
        assert await link(server, "new password", ADA)

    async def test_its_time_begins_when_the_change_takes_effect(
        self, post: AuthApi, server: MailServer, ada: Signed
    ) -> None:
        """72 hours, whenever the mail was opened; then the change is final."""
        undo = await moved(post, server, ada, NEW)
        [(hours,)] = await post.fetch(
            "SELECT extract(epoch FROM expires_at - now())::float / 3600 FROM mail_links"
            " WHERE former_email_id IS NOT NULL"
        )
        await post.execute("UPDATE mail_links SET expires_at = now()")

        assert hours == pytest.approx(72, abs=0.1)
        assert_problem(await restore(post, undo), 422, "invalid_link")
        assert (await post.me(ada)).json()["email"] == NEW

    async def test_nobody_can_take_an_address_that_can_return(
        self, post: AuthApi, server: MailServer, ada: Signed
    ) -> None:
        """A thief who takes the address does not prevent its holder's return."""
        undo = await moved(post, server, ada, THIEF)
        mallory = await signed_up(post, "mallory@example.org")
        confirm = await pending(post, server, mallory, ADA)

        taken = await post.post("/v1/signup", json={"email": ADA, "password": PASSWORD})

        assert_problem(taken, 409, "email_taken")
        assert_problem(await verify(post, confirm), 409, "email_taken")
        assert (await restore(post, undo)).status_code == 204

    async def test_an_immediate_change_is_undone_too(
        self, mail_settings: ApiSettings, server: MailServer
    ) -> None:
        """With AUTH_EMAIL_CHANGE=immediate the address takes effect at once, with the notice."""
        immediate = mail_settings.model_copy(update={"email_change": "immediate"})
        async with serving(immediate) as client:
            ada = await signed_up(client, ADA)
            await verify(client, await link(server, "confirm"))
            changed = (await change_address(client, ada, THIEF)).json()
            undo = await link(server, LINK, ADA)

            assert (changed["email"], changed["email_verified"]) == (THIEF, False)
            assert (await restore(client, undo)).status_code == 204
            assert await link(server, "new password", ADA)


class TestUnverified:
    """An unverified address gets no notice, and its holder can evict squatters."""

    async def test_it_gets_no_notice(self, post: AuthApi, server: MailServer) -> None:
        """A typo at sign-up is corrected: the stranger at that address gets no mail."""
        ada = await signed_up(post, ADA)
        await next_mail(server, "confirm", ADA)

        await change_address(post, ada, NEW)

        await verify(post, await link(server, "confirm", NEW))
        await until_sent(post)
        assert not server.received
        assert not await post.fetch("SELECT 1 FROM former_emails")
        assert (await post.me(ada)).json()["email"] == NEW

    async def test_a_reset_evicts_a_squatter(self, post: AuthApi, server: MailServer) -> None:
        """It ends session, password and a pending change to the squatter's own address."""
        squatter = await signed_up(post, ADA)
        await next_mail(server, "confirm", ADA)
        confirm = await pending(post, server, squatter, THIEF)

        await forget(post, ADA)
        mail = await next_mail(server, "new password", ADA)
        assert (await reset(post, mail.token, OTHER_PASSWORD)).status_code == 204

        assert "confirm" in mail.message["Subject"]
        assert_problem(await verify(post, confirm), 422, "invalid_link")
        assert (await post.me(squatter)).status_code == 401
        assert (await post.sign_in()).status_code == 401
        owner = (await post.sign_in(ADA, OTHER_PASSWORD)).json()
        assert owner["user"]["email_verified"]
        assert "pending_email" not in owner["user"]

    async def test_verifying_it_drops_a_pending_change(
        self, post: AuthApi, server: MailServer
    ) -> None:
        """It was requested before anybody had shown that the account is theirs."""
        squatter = await signed_up(post, ADA)
        confirm = await pending(post, server, squatter, THIEF)
        await post.execute(
            "INSERT INTO mails (user_id, purpose)"
            f" VALUES ('{UUID(squatter['user']['id'])}', 'verify_email')"
        )
        tokens = await asyncio.gather(*(next_mail(server, "confirm", ADA) for _ in range(2)))

        answers = [await verify(post, mail.token) for mail in tokens]

        assert 204 in [answer.status_code for answer in answers]
        assert_problem(await verify(post, confirm), 422, "invalid_link")


async def test_no_log_and_no_event_holds_a_pending_address(
    post: AuthApi, server: MailServer, ada: Signed
) -> None:
    """Through a change that the mail server refuses, withdrawn, and undone."""
    with capture_logs() as lines:
        server.refusal = "550 no such mailbox"
        await change_address(post, ada, NEW)
        await until_sent(post)
        server.refusal = None
        await change_address(post, ada, NEW)
        undo = await link(server, LINK, ADA)
        await restore(post, undo)

    written = repr(lines) + repr(await post.fetch("SELECT * FROM audit_log"))
    assert NEW not in written
    assert ADA not in written
    assert NEW not in repr(await recorded(post))
