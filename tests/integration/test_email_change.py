"""A new address is pending until its link is opened, and the old one's holder can undo it."""

import asyncio
from collections.abc import Awaitable, Callable
from uuid import UUID

import httpx
import pytest
from structlog.testing import capture_logs

from auth_service.settings import ApiSettings
from service_kit.process.rates import Rate
from tests.support.auth_api import ADA, NEW_PASSWORD, PASSWORD, Signed, assert_problem, statuses
from tests.support.eventually import eventually
from tests.support.inbox import everything
from tests.support.mail_server import MailServer
from tests.support.mailboxes import Post, posting

NEW = "countess@example.org"
THIEF = "thief@example.org"
LINK = "address is being changed"


@pytest.fixture
def mail_settings(mail_settings: ApiSettings) -> ApiSettings:
    """Settings of an API that sends mails, as many as a test needs."""
    limits = {"limit_mail": Rate(100, 3600), "limit_password": Rate(100, 60)}
    return mail_settings.model_copy(update=limits)


@pytest.fixture
async def ada(post: Post) -> Signed:
    """A user with a verified address."""
    ada = await post.sign_up()
    assert (await post.verify(await post.link("confirm"))).status_code == 204
    return ada


async def moved(post: Post, signed_in: Signed, to: str) -> str:
    """Change the address and confirm it; return the token of the link that undoes it."""
    old = (await post.me(signed_in)).json()["email"]
    assert (await post.change_address(signed_in, to)).status_code == 200
    undo = await post.link(LINK, old)
    assert (await post.verify(await post.link("confirm", to))).status_code == 204
    return undo


async def pending(post: Post, signed_in: Signed, email: str) -> str:
    """Request another address; return the token of the link that confirms it."""
    await post.change_address(signed_in, email)
    return await post.link("new e-mail", email)


async def recorded(post: Post) -> list[str]:
    """The addresses in events, oldest first."""
    rows = await post.fetch("SELECT payload FROM outbox_events ORDER BY position")
    return [row.payload["email"] for row in rows if row.payload and "email" in row.payload]


async def reset_password(post: Post, email: str) -> None:
    await post.reset(await post.reset_token(email))


async def assert_useless(*opened: Awaitable[httpx.Response]) -> None:
    for answer in opened:
        assert_problem(await answer, 422, "invalid_link")


class TestPending:
    """Until its link is opened, the new address has no effect."""

    async def test_the_old_address_stays_in_force(self, post: Post, ada: Signed) -> None:
        """For sign-in, resets and events; only the owner sees the pending address."""
        answer = await post.change_address(ada, NEW)

        body = answer.json()
        assert (answer.status_code, body["email"], body["email_verified"]) == (200, ADA, True)
        assert body["pending_email"] == (await post.me(ada)).json()["pending_email"] == NEW
        assert await statuses(post.sign_in(), post.sign_in(NEW)) == [200, 401]
        await post.forget(NEW)
        await post.forget()
        assert (await post.next_mail("new password")).recipients == [ADA]
        await post.next_mail(LINK, ADA)
        await post.next_mail("confirm", NEW)
        await post.until_sent()
        assert not post.server.received
        assert set(await recorded(post)) == {ADA}

    async def test_its_link_puts_it_in_force(self, post: Post, ada: Signed) -> None:
        """Verified, in the next event, once; links to the old address stop working."""
        old_reset = await post.reset_token()
        token = await pending(post, ada, NEW)

        answers = await asyncio.gather(*(post.verify(token) for _ in range(5)))

        assert sorted(answer.status_code for answer in answers) == [204] + [422] * 4
        after = (await post.me(ada)).json()
        found = (after["email"], after["email_verified"], after.get("pending_email"))
        assert found == (NEW, True, None)
        assert await recorded(post) == [ADA, ADA, NEW]
        assert await statuses(post.sign_in(NEW), post.sign_in()) == [200, 401]
        await assert_useless(post.reset(old_reset))

    async def test_only_the_latest_is_pending(self, post: Post, ada: Signed) -> None:
        """A change replaces the one before, and the present address withdraws it."""
        first = await pending(post, ada, THIEF)
        second = await pending(post, ada, NEW)
        await assert_useless(post.verify(first))
        withdrawn = await post.change_address(ada, ADA.upper())
        assert (withdrawn.status_code, withdrawn.json().get("pending_email")) == (200, None)
        await assert_useless(post.verify(second))
        assert (await post.me(ada)).json()["email"] == ADA

    async def test_its_mail_can_be_sent_again_and_its_owner_may_change_back(
        self, post: Post, ada: Signed
    ) -> None:
        """What keeps others from the former address does not keep its owner from it."""
        await post.change_address(ada, NEW)
        await post.next_mail("confirm", NEW)
        assert (await post.send_again(ada)).status_code == 202
        assert (await post.verify(await post.link("confirm", NEW))).status_code == 204
        await moved(post, ada, ADA)
        assert (await post.me(ada)).json()["email"] == ADA

    async def test_it_ends_with_whatever_confirmed_it(self, post: Post) -> None:
        """Its time, the account's activity, the password that confirmed it."""
        ends: dict[str, Callable[[Signed], Awaitable[object]]] = {
            "expired": lambda _: post.execute("UPDATE mail_links SET expires_at = now()"),
            "disabled": lambda _: post.execute("UPDATE users SET status = 'disabled'"),
            "password": lambda user: post.change_password(user, NEW_PASSWORD),
            "reset": lambda user: reset_password(post, user["user"]["email"]),
        }
        for name, end in ends.items():
            user = await post.sign_up(f"{name}@example.org")
            await post.execute("UPDATE users SET email_verified = true WHERE status = 'active'")
            token = await pending(post, user, NEW)
            await end(user)
            await assert_useless(post.verify(token))
        emails = await post.fetch("SELECT email FROM users")
        assert {row.email for row in emails} == {f"{name}@example.org" for name in ends}

    async def test_nothing_of_it_outlives_the_user(self, post: Post, ada: Signed) -> None:
        """No table holds an address after the deletion: pending, former, or in a queue."""
        await moved(post, ada, NEW)
        token = await pending(post, ada, THIEF)
        deleted = await post.delete_me(ada)
        assert deleted.status_code == 204
        await assert_useless(post.verify(token))
        left = await everything(post.engine)
        assert not [email for email in (ADA, NEW, THIEF) if email in left]

    async def test_an_expired_pending_address_is_erased(
        self, post: Post, ada: Signed, mail_settings: ApiSettings
    ) -> None:
        """A mistyped address is a stranger's, and is deleted once it is useless."""
        await post.change_address(ada, NEW)
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
        async with posting(mail_settings, post.server):
            await eventually(is_erased)


class TestTaken:
    """A change does not reveal whether an address is taken; only its holder learns of it."""

    async def test_the_answer_is_that_of_a_free_address(self, post: Post, ada: Signed) -> None:
        """The mail tells its reader that they have an account, and has no link."""
        await post.sign_up("bob@example.org")
        await post.verify(await post.link("confirm", "bob@example.org"))

        free = await post.change_address(ada, NEW)
        taken = await post.change_address(ada, "Bob@Example.org")

        same = {**free.json(), "pending_email": "bob@example.org"}
        assert (taken.status_code, taken.json()) == (200, same)
        mail = await post.next_mail("already has an account", "bob@example.org")
        assert "#" not in mail.text

    async def test_the_first_to_confirm_gets_the_address(self, post: Post, ada: Signed) -> None:
        """Of many at once, one; a free address may be taken by the time it is confirmed."""
        tokens = []
        for n in range(4):
            user = await post.sign_up(f"user{n}@example.org")
            await post.change_address(user, NEW)
            tokens.append(await post.link("new e-mail", NEW))
        late = await pending(post, ada, NEW)

        answers = await asyncio.gather(*(post.verify(token) for token in tokens))

        assert sorted(answer.status_code for answer in answers) == [204, 409, 409, 409]
        for _ in range(2):
            assert_problem(await post.verify(late), 409, "email_taken")
        assert (await post.me(ada)).json()["email"] == ADA


class TestUndone:
    """The link in the notice restores the address and locks out the author of the change."""

    @pytest.mark.parametrize("has_taken_effect", [False, True])
    async def test_the_thief_is_locked_out_and_the_owner_gets_the_account_back(
        self, has_taken_effect: bool, post: Post, ada: Signed
    ) -> None:
        """The thief's sessions, tokens, password, pending change and links stop working."""
        await post.change_address(ada, THIEF)
        undo = await post.link(LINK, ADA)
        confirm = await post.link("confirm", THIEF)
        thief_reset = None
        if has_taken_effect:
            await post.verify(confirm)
            thief_reset = await post.reset_token(THIEF)

        answers = await asyncio.gather(*(post.restore(undo) for _ in range(4)))

        assert sorted(answer.status_code for answer in answers) == [204] + [422] * 3
        assert_problem(await post.me(ada), 401, "invalid_token")
        used = post.refresh(ada["refresh_token"]), post.sign_in(), post.sign_in(THIEF)
        assert await statuses(*used) == [400, 401, 401]
        await assert_useless(post.verify(confirm))
        if thief_reset:
            await assert_useless(post.reset(thief_reset))
        [row] = await post.fetch("SELECT * FROM users")
        assert (row.email, row.email_verified, row.pending_email) == (ADA, True, None)
        assert row.tokens_valid_after is not None
        assert (await recorded(post))[-1] == ADA

        token = await post.link("new password", ADA)
        back = post.reset(token), post.sign_in(ADA, NEW_PASSWORD)
        assert await statuses(*back) == [204, 200]

    async def test_the_thief_cannot_invalidate_the_link(self, post: Post, ada: Signed) -> None:
        """Not by a second change, a new password or a reset; nor can they undo the undoing."""
        undo = await moved(post, ada, THIEF)
        back_to_thief = await moved(post, ada, NEW)
        await reset_password(post, NEW)
        assert (await post.restore(undo)).status_code == 204
        await assert_useless(post.restore(back_to_thief))
        token = await post.link("new password", ADA)
        assert await statuses(post.reset(token, PASSWORD), post.sign_in()) == [204, 200]

    async def test_an_earlier_link_takes_precedence(self, post: Post, ada: Signed) -> None:
        """A thief who moved the account twice gains nothing by opening their own link first."""
        undo = await moved(post, ada, THIEF)
        back_to_thief = await moved(post, ada, NEW)
        assert await statuses(post.restore(back_to_thief), post.restore(undo)) == [204, 204]
        assert await post.link("new password", ADA)

    async def test_its_time_begins_with_the_effect(self, post: Post, ada: Signed) -> None:
        """72 hours, whenever the mail was opened; then the change is final."""
        undo = await moved(post, ada, NEW)
        [(hours,)] = await post.fetch(
            "SELECT extract(epoch FROM expires_at - now())::float / 3600 FROM mail_links"
            " WHERE former_email_id IS NOT NULL"
        )
        await post.execute("UPDATE mail_links SET expires_at = now()")

        assert hours == pytest.approx(72, abs=0.1)
        await assert_useless(post.restore(undo))
        assert (await post.me(ada)).json()["email"] == NEW

    async def test_nobody_can_take_an_address_that_can_return(
        self, post: Post, ada: Signed
    ) -> None:
        """A thief who takes the address does not prevent its holder's return."""
        undo = await moved(post, ada, THIEF)
        mallory = await post.sign_up("mallory@example.org")
        confirm = await pending(post, mallory, ADA)
        taken = await post.post("/v1/signup", json={"email": ADA, "password": PASSWORD})
        assert_problem(taken, 409, "email_taken")
        assert_problem(await post.verify(confirm), 409, "email_taken")
        assert (await post.restore(undo)).status_code == 204

    async def test_an_immediate_change_is_undone_too(
        self, mail_settings: ApiSettings, server: MailServer
    ) -> None:
        """With AUTH_EMAIL_CHANGE=immediate the address takes effect at once, with the notice."""
        immediate = mail_settings.model_copy(update={"email_change": "immediate"})
        async with posting(immediate, server) as post:
            ada = await post.sign_up()
            await post.verify(await post.link("confirm"))
            changed = (await post.change_address(ada, THIEF)).json()
            undo = await post.link(LINK, ADA)

            assert (changed["email"], changed["email_verified"]) == (THIEF, False)
            assert (await post.restore(undo)).status_code == 204
            assert await post.link("new password", ADA)


class TestUnverified:
    """An unverified address gets no notice, and its holder can evict squatters."""

    async def test_it_gets_no_notice(self, post: Post) -> None:
        """A typo at sign-up is corrected: the stranger at that address gets no mail."""
        ada = await post.sign_up()
        await post.next_mail("confirm", ADA)

        await post.change_address(ada, NEW)

        await post.verify(await post.link("confirm", NEW))
        await post.until_sent()
        assert not post.server.received
        assert not await post.fetch("SELECT 1 FROM former_emails")
        assert (await post.me(ada)).json()["email"] == NEW

    async def test_a_reset_evicts_a_squatter(self, post: Post) -> None:
        """It ends session, password and a pending change to the squatter's own address."""
        squatter = await post.sign_up()
        await post.next_mail("confirm", ADA)
        confirm = await pending(post, squatter, THIEF)

        await post.forget()
        mail = await post.next_mail("new password", ADA)
        assert (await post.reset(mail.token)).status_code == 204

        assert "confirm" in mail.message["Subject"]
        await assert_useless(post.verify(confirm))
        assert await statuses(post.me(squatter), post.sign_in()) == [401, 401]
        owner = (await post.sign_in(ADA, NEW_PASSWORD)).json()
        assert owner["user"]["email_verified"]
        assert "pending_email" not in owner["user"]

    async def test_verifying_it_drops_a_pending_change(self, post: Post) -> None:
        """It was requested before anybody had shown that the account is theirs."""
        squatter = await post.sign_up()
        confirm = await pending(post, squatter, THIEF)
        await post.execute(
            "INSERT INTO mails (user_id, purpose)"
            f" VALUES ('{UUID(squatter['user']['id'])}', 'verify_email')"
        )
        tokens = await asyncio.gather(*(post.next_mail("confirm", ADA) for _ in range(2)))

        answers = [await post.verify(mail.token) for mail in tokens]

        assert 204 in [answer.status_code for answer in answers]
        await assert_useless(post.verify(confirm))


async def test_no_log_and_no_event_holds_a_pending_address(post: Post, ada: Signed) -> None:
    """Through a change that the mail server refuses, withdrawn, and undone."""
    with capture_logs() as lines:
        post.server.refusal = "550 no such mailbox"
        await post.change_address(ada, NEW)
        await post.until_sent()
        post.server.refusal = None
        await post.change_address(ada, NEW)
        undo = await post.link(LINK, ADA)
        await post.restore(undo)

    written = repr(lines) + repr(await post.fetch("SELECT * FROM audit_log"))
    assert NEW not in written
    assert ADA not in written
    assert NEW not in repr(await recorded(post))
