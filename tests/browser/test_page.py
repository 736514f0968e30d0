"""Test the blog's page in Chromium, with both services and the broker running."""

import html
import re
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import httpx
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric import rsa
from playwright.async_api import Dialog, Page, Request, Route, expect

from tests.browser.conftest import POSTS_MAX, Visiting
from tests.support.auth_api import PASSWORD, bearer
from tests.support.blog_api import a_token
from tests.support.eventually import eventually
from tests.support.site import Site

pytestmark = pytest.mark.asyncio(loop_scope="module")

OTHER_PASSWORD = "a lantern under seven bridges"

PATIENCE_MS = 20_000
"""For steps that wait for an event or for a process to start."""


class Person:
    """A user in front of a page, who acts through its controls."""

    def __init__(self, page: Page, email: str) -> None:
        self.page = page
        self.email = email

    async def sign_up(self) -> None:
        await self.page.locator("#menu").get_by_role("link", name="Sign up").click()
        await self._enter("Create account", PASSWORD)

    async def sign_in(self, password: str = PASSWORD) -> None:
        await self.page.locator("#menu").get_by_role("link", name="Sign in").click()
        await self._enter("Sign in", password)

    async def _enter(self, button: str, password: str) -> None:
        main = self.page.get_by_role("main")
        await main.get_by_label("E-mail address").fill(self.email)
        await main.get_by_label("Password", exact=True).fill(password)
        await main.get_by_role("button", name=button).click()

    async def write(self, title: str, body: str) -> None:
        """Enter a post, and do not publish it."""
        await self.page.get_by_role("link", name="Write", exact=True).click()
        await self.page.get_by_label("Title").fill(title)
        await self.page.get_by_label("Text").fill(body)

    async def publish(self, title: str, body: str) -> None:
        """Publish a post, which opens its view."""
        await self.write(title, body)
        await self.page.get_by_role("button", name="Publish").click()
        await headed(self.page, title)

    async def comment(self, text: str) -> None:
        await self.page.get_by_label("Write a comment").fill(text)
        await self.page.get_by_role("button", name="Comment", exact=True).click()

    def comments(self) -> Any:
        return self.page.get_by_role("region", name="Comments").get_by_role("article")

    async def is_signed_in(self) -> None:
        await expect(self.page.get_by_role("button", name="Sign out", exact=True)).to_be_visible()


@asynccontextmanager
async def newcomer(visit: Visiting, email: str) -> AsyncIterator[Person]:
    """A new user with an account, at the list of posts."""
    async with visit() as visitor:
        person = Person(visitor.page, email)
        await person.page.goto("/")
        await person.sign_up()
        await person.is_signed_in()
        yield person


@asynccontextmanager
async def returning(visit: Visiting, email: str, at: str = "/") -> AsyncIterator[Person]:
    """A user who has an account and signs in at this view."""
    async with visit() as visitor:
        person = Person(visitor.page, email)
        await person.page.goto(at)
        await person.sign_in()
        await person.is_signed_in()
        yield person


async def sign_out(page: Page) -> None:
    """Sign out, and wait: opening a page at once would break off the request for it."""
    await page.get_by_role("button", name="Sign out", exact=True).click()
    await expect(page.get_by_text("You are signed out.")).to_be_visible()


async def headed(page: Page, heading: str) -> None:
    await expect(page.get_by_role("heading", level=1)).to_have_text(heading)


async def loaded(page: Page) -> None:
    await expect(page.get_by_role("main")).not_to_have_attribute("aria-busy", "true")


@pytest_asyncio.fixture(loop_scope="module")
async def blog(site: Site) -> AsyncIterator[httpx.AsyncClient]:
    async with site.blog_api.client() as client:
        yield client


async def posted(blog: httpx.AsyncClient, author: dict[str, Any], **post: str) -> str:
    return await _sent(blog, author, "/v1/posts", {"title": "Soup", "body": "Onions.", **post})


async def _sent(
    blog: httpx.AsyncClient, author: dict[str, Any], path: str, body: dict[str, str]
) -> str:
    answer = await blog.post(path, json=body, headers=bearer(author))
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


async def refused(blog: httpx.AsyncClient, signed_in: dict[str, Any]) -> None:
    """Wait until the blog rejects this token."""

    async def is_refused() -> bool:
        return (await blog.get("/v1/me", headers=bearer(signed_in))).status_code in (401, 403)

    await eventually(is_refused)


async def _sign_out_everywhere(site: Site, signed_in: dict[str, Any]) -> None:
    async with site.auth_api.client() as auth:
        answer = await auth.post("/v1/signout?scope=global", headers=bearer(signed_in))
    assert answer.status_code == 204


async def delete_account(page: Page) -> None:
    """Delete the account in the page and wait for the auth service's response."""
    await page.goto("/account")
    await page.get_by_role("button", name="Delete account").click()
    await page.get_by_role("dialog").get_by_label("Your password").fill(PASSWORD)
    async with page.expect_response(lambda answer: answer.request.method == "DELETE"):
        await page.get_by_role("button", name="Delete my account").click()


DEAF = "addEventListener('storage', (event) => event.stopImmediatePropagation(), true)"
"""Block events of other tabs, as in a page that is frozen or in the back/forward cache."""

BACK = "void dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }))"
"""Simulate the return of the page from the back/forward cache."""


class TestStory:
    """Two users, from the first visit to the deletion of an account."""

    async def test_a_new_user_writes_at_once_and_their_content_goes_with_their_account(
        self, visit: Visiting
    ) -> None:
        """Post with the first token; another user's comment goes with the account too."""
        async with visit() as of_ada, visit() as of_bob:
            ada = Person(of_ada.page, "ada.story@example.org")
            bob = Person(of_bob.page, "bob.story@example.org")
            await ada.page.goto("/")
            await ada.sign_up()
            await ada.publish("On two copies", "Both are right.\n\nThey agree.")
            reader = ada.page.get_by_text(re.compile(r"^Reader [0-9a-f]{6}$"))
            await expect(reader.last).to_be_visible()

            await bob.page.goto("/")
            await bob.page.get_by_role("link", name="On two copies").click()
            await expect(bob.page.get_by_role("main").get_by_text("They agree.")).to_be_visible()
            await bob.sign_up()
            # Sign-up returns to the post.
            await bob.comment("I see none of them.")
            await expect(bob.comments()).to_contain_text(["I see none of them."])

            await ada.page.reload()
            await expect(ada.comments()).to_contain_text(["I see none of them."])
            await ada.page.goto("/account")
            await ada.page.get_by_role("button", name="Delete account").click()
            dialog = ada.page.get_by_role("dialog", name="Delete your account?")
            await expect(dialog).to_contain_text("Your posts and comments disappear")
            await dialog.get_by_label("Your password").fill("not this one")
            await dialog.get_by_role("button", name="Delete my account").click()
            await expect(dialog.get_by_text("This password is wrong.")).to_be_visible()
            await dialog.get_by_label("Your password").fill(PASSWORD)
            await dialog.get_by_role("button", name="Delete my account").click()
            await expect(ada.page.get_by_text("Your account has been deleted.")).to_be_visible()
            await headed(ada.page, "Latest posts")

            async def is_gone() -> bool:
                await bob.page.reload()
                heading = bob.page.get_by_role("heading", level=1)
                return await heading.text_content() == "Page not found"

            await eventually(is_gone)
            await bob.is_signed_in()
            await ada.sign_in()
            wrong = ada.page.get_by_text("E-mail address or password is wrong")
            await expect(wrong).to_be_visible()

    async def test_a_new_user_sees_how_long_the_blog_took_and_no_script_reads_their_tokens(
        self, visit: Visiting
    ) -> None:
        """The refresh token is in an HttpOnly cookie, the access token only in memory."""
        async with newcomer(visit, "ada.known@example.org") as ada:
            notice = re.compile(r"received your account \d+ ms after")
            status = ada.page.get_by_role("status").get_by_text(notice)
            await expect(status).to_be_visible(timeout=PATIENCE_MS)
            kept = await ada.page.evaluate(
                "JSON.stringify([document.cookie, {...localStorage}, {...sessionStorage}])"
            )
            [cookie] = [dict(each) for each in await ada.page.context.cookies()]

        assert kept == '["",{"session":"maybe"},{}]'
        assert cookie["name"] == "__Host-refresh"
        assert (cookie["httpOnly"], cookie["secure"], cookie["sameSite"]) == (True, True, "Strict")

    async def test_a_user_can_write_before_the_event_has_arrived(
        self, site: Site, visit: Visiting
    ) -> None:
        """Without the consumer the author has no name yet, and a notice says so."""
        site.consumer.kill()
        async with newcomer(visit, "ada.early@example.org") as ada:
            await ada.publish("Early", "Before anybody knew.")
            # Shown after ten seconds, in any view.
            late = ada.page.get_by_text("Your account is still being synced")
            await expect(late).to_be_visible(timeout=PATIENCE_MS)

            await site.consumer.ready()
            await ada.page.goto("/account")
            await ada.page.get_by_label("Display name").fill("Ada Early")
            await ada.page.get_by_role("button", name="Save profile").click()
            await expect(ada.page.get_by_text("Profile saved.")).to_be_visible()
            await ada.page.goto("/")
            early = ada.page.get_by_role("article").filter(has_text="Before anybody knew.")
            await expect(early.get_by_role("link", name="Ada Early")).to_be_visible()


class TestWriting:
    """Posts, comments and drafts."""

    async def test_posts_and_comments_are_changed_and_deleted(self, visit: Visiting) -> None:
        async with newcomer(visit, "ada.edits@example.org") as ada:
            page = ada.page
            await ada.publish("Draft of a title", "First.")
            await page.get_by_role("link", name="Edit", exact=True).click()
            await page.get_by_label("Title").fill("The title")
            await page.get_by_label("Text").fill("Second.")
            await page.get_by_label("Text").press("Control+Enter")
            await headed(page, "The title")
            await expect(page.get_by_text("· edited")).to_be_visible()

            await ada.comment("A thought")
            await expect(ada.comments()).to_have_count(1)
            await ada.comments().get_by_role("button", name="Edit").click()
            await page.get_by_label("Edit your comment").fill("A better thought")
            await page.get_by_role("button", name="Save").click()
            await expect(ada.comments()).to_contain_text(["A better thought"])
            await ada.comments().get_by_role("button", name="Delete").click()
            await page.get_by_role("dialog").get_by_role("button", name="Delete").click()
            await expect(page.get_by_text("No comments yet.")).to_be_visible()

            await page.get_by_role("button", name="Delete", exact=True).click()
            await page.get_by_role("button", name="Cancel").click()
            await headed(page, "The title")
            await page.get_by_role("button", name="Delete", exact=True).click()
            await page.get_by_role("button", name="Delete post").click()
            await expect(page.get_by_text("Post deleted.")).to_be_visible()
            await expect(page.get_by_role("link", name="The title")).to_have_count(0)

    async def test_a_post_is_sent_once_however_often_it_is_submitted(self, visit: Visiting) -> None:
        """While the first request is in flight, neither the button nor a key sends another."""
        async with newcomer(visit, "ada.once@example.org") as ada:
            page = ada.page
            held: list[Route] = []

            async def hold(route: Route) -> None:
                if route.request.method == "POST":
                    held.append(route)
                else:
                    await route.continue_()

            await page.route("**/v1/posts", hold)
            await ada.write("Once", "And not twice.")
            button = page.get_by_role("button", name="Publish")
            await button.click()
            busy = page.get_by_role("button", name="Publishing")
            await expect(busy).to_have_attribute("aria-disabled", "true")
            await busy.click(force=True)
            await page.get_by_label("Text").press("Control+Enter")
            assert len(held) == 1
            await held[0].continue_()
            await headed(page, "Once")
            assert len(held) == 1

    async def test_a_draft_survives_a_reload_and_is_shown_to_its_author_only(
        self, visit: Visiting
    ) -> None:
        """It returns after a reload and is deleted at sign-out."""
        async with visit() as visitor:
            page = visitor.page
            ada = Person(page, "ada.draft@example.org")
            await page.goto("/write")
            await ada.sign_up()
            await page.get_by_label("Text").fill("Half a thought")
            await page.reload()
            await expect(page.get_by_label("Text")).to_have_value("Half a thought")
            await expect(page.get_by_text("Restored from your draft.")).to_be_visible()

            await sign_out(page)
            await page.goto("/write")
            await Person(page, "bob.draft@example.org").sign_up()
            await expect(page.get_by_label("Text")).to_have_value("")
            assert await page.evaluate("sessionStorage.length") == 0

    async def test_a_user_over_the_limit_sees_when_they_may_write_again(
        self, site: Site, blog: httpx.AsyncClient, visit: Visiting
    ) -> None:
        signed_in = await site.signed_up("ada.much@example.org")
        for _ in range(POSTS_MAX):
            await posted(blog, signed_in)
        async with returning(visit, "ada.much@example.org") as ada:
            page = ada.page
            await ada.write("One more", "And another.")
            await page.get_by_role("button", name="Publish").click()

            await expect(page.get_by_role("alert")).to_contain_text("Too many attempts")
            button = page.get_by_role("button", name=re.compile(r"Try again in \d+ min"))
            await expect(button).to_have_attribute("aria-disabled", "true")
            await expect(page.get_by_label("Text")).to_have_value("And another.")

    async def test_errors_are_shown_at_their_fields(self, visit: Visiting) -> None:
        async with visit() as visitor:
            page = visitor.page
            await page.goto("/sign-up")
            ada = Person(page, "ada.wrong@example.org")
            email = page.get_by_label("E-mail address")
            password = page.get_by_label("Password", exact=True)
            await page.get_by_role("button", name="Create account").click()
            await expect(email).to_be_focused()
            await expect(email).to_have_attribute("aria-invalid", "true")
            await expect(email).to_have_accessible_description("Required.")

            await email.fill(ada.email)
            await password.fill("short")
            await page.get_by_role("button", name="Create account").click()
            await expect(password).to_be_focused()
            await expect(password).to_have_accessible_description(
                re.compile("Use at least 15 characters.")
            )
            await password.fill(PASSWORD)
            await page.get_by_role("button", name="Create account").click()
            await ada.is_signed_in()

            await sign_out(page)
            await ada.sign_up()
            await expect(email).to_have_accessible_description(
                re.compile("^An account with this address already exists")
            )


class TestSession:
    """How a session lasts and ends."""

    async def test_an_expired_token_is_refreshed_once_and_silently(
        self, site: Site, visit: Visiting, signing_key: rsa.RSAPrivateKey
    ) -> None:
        """However many calls fail with it."""
        async with visit() as visitor:
            page = visitor.page
            ada = Person(page, "ada.expired@example.org")

            async def expired(route: Route) -> None:
                answer = await route.fetch()
                body = await answer.json()
                user_id, issuer = UUID(body["user"]["id"]), site.auth_api.url
                body["access_token"] = a_token(signing_key, user_id, iat=1_700_000_000, iss=issuer)
                await route.fulfill(response=answer, json=body)

            await page.route("**/v1/signup", expired)
            await page.goto("/")
            await ada.sign_up()
            await expect(page.get_by_text("ms after")).to_be_visible(timeout=PATIENCE_MS)
            await ada.publish("With a fresh token", "It worked.")

            refreshed = [url for url in visitor.requests if url.endswith("/v1/session/refresh")]
            assert len(refreshed) == 1

    async def test_a_revoked_token_ends_the_session_with_a_notice(
        self, site: Site, blog: httpx.AsyncClient, visit: Visiting
    ) -> None:
        async with self.revoked(site, blog, visit, "ada.revoked@example.org") as ada:
            await ada.sign_in()
            kept = ada.page.get_by_label("Write a comment")
            await expect(kept).to_have_value("In the middle of a sen")

    async def test_a_draft_is_not_shown_to_the_next_user(
        self, site: Site, blog: httpx.AsyncClient, visit: Visiting
    ) -> None:
        async with self.revoked(site, blog, visit, "ada.away.from.desk@example.org") as ada:
            await Person(ada.page, "bob.at.desk@example.org").sign_up()
            await expect(ada.page.get_by_label("Write a comment")).to_have_value("")

    @asynccontextmanager
    async def revoked(
        self, site: Site, blog: httpx.AsyncClient, visit: Visiting, email: str
    ) -> AsyncIterator[Person]:
        """A user whose session was ended elsewhere while they were typing."""
        signed_in = await site.signed_up(email)
        post = await posted(blog, signed_in, title="Read by all")
        async with returning(visit, email, f"/posts/{post}") as person:
            await person.page.get_by_label("Write a comment").fill("In the middle of a sen")
            await _sign_out_everywhere(site, signed_in)
            await refused(blog, signed_in)
            await person.page.get_by_role("button", name="Comment", exact=True).click()
            await expect(person.page.get_by_text("Your session has ended")).to_be_visible()
            await headed(person.page, "Read by all")
            yield person

    async def test_a_disabled_account_is_signed_out_with_a_notice(
        self, site: Site, blog: httpx.AsyncClient, visit: Visiting
    ) -> None:
        """They can still read posts."""
        signed_in = await site.signed_up("ada.disabled@example.org")
        async with returning(visit, "ada.disabled@example.org", "/account") as ada:
            page = ada.page
            await expect(page.get_by_label("Display name")).to_be_visible()
            await site.disable(UUID(signed_in["user"]["id"]))
            await refused(blog, signed_in)
            await page.get_by_role("button", name="Save profile").click()
            await expect(page.get_by_text("has disabled your account")).to_be_visible()
            await headed(page, "Sign in first")

    async def test_a_sign_out_in_one_tab_is_noticed_in_the_others(self, visit: Visiting) -> None:
        """And so is a sign-in."""
        async with newcomer(visit, "ada.tabs@example.org") as ada:
            await ada.is_signed_in()
            other = Person(await ada.page.context.new_page(), ada.email)
            await other.page.goto("/write")
            await other.is_signed_in()
            await other.page.get_by_label("Text").fill("Half a thought")

            await sign_out(ada.page)
            await expect(other.page.get_by_text("signed out in another tab")).to_be_visible()
            await expect(other.page.locator("#menu").get_by_text("Sign in")).to_be_visible()
            assert await other.page.evaluate("sessionStorage.length") == 0
            await ada.sign_in()
            await other.is_signed_in()

    async def test_a_request_is_never_sent_as_a_different_user(
        self, site: Site, blog: httpx.AsyncClient, visit: Visiting
    ) -> None:
        """Not even from a tab that missed the change of the user."""
        async with visit() as visitor:
            await visitor.page.add_init_script(DEAF)
            ada = await site.signed_up("ada.deaf@example.org")
            post = await posted(blog, ada)
            await visitor.page.goto(f"/posts/{post}")
            await Person(visitor.page, "ada.deaf@example.org").sign_in()
            await visitor.page.get_by_label("Write a comment").fill("In my own name")
            other = await visitor.page.context.new_page()
            await other.goto("/")
            await sign_out(other)
            await Person(other, "bob.deaf@example.org").sign_up()
            await Person(other, "bob.deaf@example.org").is_signed_in()
            await _sign_out_everywhere(site, ada)
            await refused(blog, ada)

            sent: list[str] = []
            visitor.page.on("request", lambda request: sent.append(request.method))
            async with visitor.page.expect_response("**/v1/session/refresh"):
                await visitor.page.get_by_role("button", name="Comment", exact=True).click()
            await expect(visitor.page.get_by_label("Write a comment")).to_have_value("")
            # Requests after this one come later.
            async with visitor.page.expect_response(re.compile(r"/v1/posts(\?|$)")):
                await visitor.page.get_by_role("link", name="Daybook").click()

            assert sent.count("POST") == 2, "the comment, and the refresh of the session"
            assert (await blog.get(f"/v1/posts/{post}/comments")).json()["items"] == []

    async def test_a_page_restored_from_the_history_shows_the_current_user(
        self, visit: Visiting
    ) -> None:
        """Although it missed a sign-out or a change of the user meanwhile."""
        async with visit() as visitor:
            page = visitor.page
            await page.add_init_script(DEAF)
            await page.goto("/")
            ada = Person(page, "ada.history@example.org")
            await ada.sign_up()
            await ada.is_signed_in()
            other = await page.context.new_page()
            await other.goto("/")
            await sign_out(other)

            await page.evaluate(BACK)
            await expect(page.get_by_text("signed out in another tab")).to_be_visible()
            bob = Person(other, "bob.history@example.org")
            await bob.sign_up()
            await bob.is_signed_in()
            await page.evaluate(BACK)
            await ada.is_signed_in()
            await page.goto("/account")
            await expect(page.get_by_text(bob.email).first).to_be_visible()

    async def test_the_page_moves_to_the_host_name_of_the_auth_service(
        self, site: Site, visit: Visiting
    ) -> None:
        """Because cookies are not shared between localhost and 127.0.0.1."""
        async with visit() as visitor:
            address = site.url.replace("127.0.0.1", "localhost")
            await visitor.page.goto(f"{address}/sign-in")
            await expect(visitor.page).to_have_url(f"{site.url}/sign-in")
            await headed(visitor.page, "Sign in")


AGENTS = {
    "Firefox on Windows": "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:133.0) Gecko/20100101"
    " Firefox/133.0",
    "Edge on Mac": "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like"
    " Gecko) Chrome/131.0.0.0 Safari/537.36 Edg/131.0.0.0",
    "Safari on iPhone": "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X)"
    " AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Mobile/15E148 Safari/604.1",
    "Samsung Internet on Android": "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML,"
    " like Gecko) SamsungBrowser/27.0 Chrome/125.0.0.0 Mobile Safari/537.36",
    "curl": "curl/8.5.0",
    "Unknown device": "",
}
"""User-Agents by the name that the page gives to their device."""

NAMES = """async agents => {
    const {deviceName} = await import("/web/device_names.js");
    return agents.map(deviceName);
}"""


class TestAccount:
    """Changes of the account."""

    async def test_devices_are_named_and_signed_out_one_by_one(self, visit: Visiting) -> None:
        """The notice about it leaves by itself, but not while someone is at it."""
        async with newcomer(visit, "ada.devices@example.org") as ada, visit() as elsewhere:
            phone = Person(elsewhere.page, ada.email)
            await phone.page.goto("/")
            await phone.sign_in()
            await phone.is_signed_in()
            page = ada.page
            await ada.is_signed_in()
            await page.goto("/account")
            shown = page.locator(".devices li")
            await expect(shown).to_have_count(2)
            await expect(shown.first).to_contain_text("Chrome on Linux")
            await expect(shown.first).to_contain_text("this device")
            assert await page.evaluate(NAMES, list(AGENTS.values())) == list(AGENTS)
            await expect(shown.last).to_contain_text("last seen just now")
            await page.clock.install()
            await shown.last.get_by_role("button", name="Sign out Chrome on Linux").click()
            await expect(shown).to_have_count(1)

            notice = page.get_by_text("Chrome on Linux has been signed out.")
            await notice.hover()
            await page.clock.fast_forward(60_000)
            await expect(notice).to_be_visible()
            await page.mouse.move(0, 0)
            await page.clock.run_for(10_000)
            await expect(notice).to_have_count(0)

    async def test_address_and_password_are_changed(self, visit: Visiting, site: Site) -> None:
        """With the password and the link in the e-mail; sign-in then needs the new ones."""
        async with newcomer(visit, "ada.before@example.org") as ada:
            page = ada.page
            await page.goto("/account")
            await page.get_by_text("Change your address").click()
            await page.get_by_label("New e-mail address").fill("ada.after@example.org")
            await page.get_by_label("Your password").fill(PASSWORD)
            await page.get_by_role("button", name="Change address").click()
            await expect(page.get_by_text("Open the link in it to change")).to_be_visible()
            main = page.get_by_role("main")
            await expect(main).to_contain_text("ada.before@example.org (not confirmed)")
            await expect(main).to_contain_text("the link in the e-mail to ada.after@example.org")
            link = await eventually(lambda: site.link_to("ada.after@example.org"))
            assert link is not None
            opened = await page.context.new_page()
            await opened.goto(link)
            await opened.get_by_role("button", name="Confirm my address").click()
            await expect(opened.get_by_text("your address is confirmed")).to_be_visible()
            await opened.close()
            await page.reload()
            await expect(main).to_contain_text("ada.after@example.org (confirmed)")
            await page.get_by_text("Change your password").click()
            current = page.get_by_label("Current password")
            await current.fill(OTHER_PASSWORD)
            await page.get_by_label("New password", exact=True).fill(OTHER_PASSWORD)
            await page.get_by_role("button", name="Change password").click()
            await expect(current).to_have_accessible_description("This password is wrong.")
            await current.fill(PASSWORD)
            await page.get_by_role("button", name="Change password").click()
            await expect(page.get_by_text("Password changed.")).to_be_visible()

            await sign_out(page)
            ada.email = "ada.after@example.org"
            await ada.sign_in(OTHER_PASSWORD)
            await ada.is_signed_in()

    async def test_users_download_what_is_known_of_them(self, visit: Visiting) -> None:
        """One archive from each service; a wrong password is said at its field."""
        async with newcomer(visit, "ada.data@example.org") as ada:
            page = ada.page
            await page.goto("/account")
            await page.get_by_text("Download a copy of your data").click()
            data = page.get_by_role("group").filter(has_text="Download a copy of your data")
            await data.get_by_label("Password").fill(OTHER_PASSWORD)
            await data.get_by_role("button", name="Download").click()
            await expect(data.get_by_label("Password")).to_have_accessible_description(
                "This password is wrong."
            )
            await data.get_by_label("Password").fill(PASSWORD)
            saved: list[str] = []
            page.on("download", lambda download: saved.append(download.suggested_filename))
            await data.get_by_role("button", name="Download").click()
            await expect(page.get_by_text("Your data: one archive")).to_be_visible()

            async def both_are_saved() -> bool:
                return sorted(saved) == ["auth.zip", "blog.zip"]

            await eventually(both_are_saved)

    async def test_other_users_see_the_profile(self, visit: Visiting) -> None:
        async with newcomer(visit, "ada.profile@example.org") as ada:
            page = ada.page
            await ada.publish("By Ada", "With a name.")
            await page.goto("/account")
            await page.get_by_label("Display name").fill("Ada Lovelace")
            await page.get_by_label("About you").fill("Engines, rivers.")
            await page.get_by_role("button", name="Save profile").click()
            await expect(page.get_by_role("navigation")).to_contain_text("Ada Lovelace")

            await page.get_by_role("main").get_by_role("link", name="Ada Lovelace").click()
            await headed(page, "Ada Lovelace")
            await expect(page).to_have_title("Ada Lovelace · Daybook")
            await expect(page.get_by_text("Engines, rivers.")).to_be_visible()
            await page.get_by_role("link", name="By Ada").click()
            author = page.get_by_role("article").get_by_role("link", name="Ada Lovelace")
            await expect(author).to_be_visible()


class TestAway:
    """An outage of either service."""

    async def test_posts_can_be_read_without_the_account_service(
        self, site: Site, blog: httpx.AsyncClient, visit: Visiting
    ) -> None:
        signed_in = await site.signed_up("ada.away@example.org")
        post = await posted(blog, signed_in, title="Still there")
        async with returning(visit, "ada.away@example.org") as ada:
            page = ada.page
            await ada.is_signed_in()
            site.auth_api.kill()
            try:
                await page.goto(f"/posts/{post}")
                await page.reload()
                notice = page.get_by_role("status").filter(has_text="signed out for now")
                await expect(notice).to_be_visible()
                await headed(page, "Still there")

                await ada.sign_in()
                alert = page.get_by_role("alert")
                await expect(alert).to_contain_text("The account service is not responding")
            finally:
                await site.auth_api.ready()
            await page.get_by_role("main").get_by_role("button", name="Try again").click()
            await ada.is_signed_in()
            await headed(page, "Still there")

    async def test_a_read_that_the_browser_broke_off_is_repeated_once(
        self, visit: Visiting
    ) -> None:
        """As when the network changes. A write is not: nobody knows whether it has arrived."""
        asked: list[tuple[str, str]] = []

        async def broken_off_at_first(route: Route) -> None:
            request = (route.request.method, urlsplit(route.request.url).path)
            asked.append(request)
            is_first = asked.count(request) == 1
            await (route.abort("connectionreset") if is_first else route.continue_())

        async with newcomer(visit, "ada.moving@example.org") as ada:
            page = ada.page
            await ada.write("On a train", "In and out of tunnels.")
            await page.route("**/v1/posts**", broken_off_at_first)
            await page.get_by_role("button", name="Publish").click()
            await expect(page.get_by_role("alert")).to_contain_text("The blog is not responding")
            await page.get_by_role("button", name="Try again").click()
            await headed(page, "On a train")
            post = urlsplit(page.url).path
        assert Counter(asked) == {
            ("POST", "/v1/posts"): 2,
            ("GET", f"/v1{post}"): 2,
            ("GET", f"/v1{post}/comments"): 2,
        }

    async def test_typed_text_survives_an_outage_of_the_blog(
        self, site: Site, visit: Visiting
    ) -> None:
        """Unsaved text stays, and a view that failed can be retried."""
        async with newcomer(visit, "ada.down@example.org") as ada:
            page = ada.page
            await ada.write("Through the storm", "Not lost.")
            site.blog_api.kill()
            try:
                await page.get_by_role("button", name="Publish").click()
                alert = page.get_by_role("alert")
                await expect(alert).to_contain_text("The blog is not responding")
                await page.get_by_role("link", name="Daybook").click()
                await headed(page, "The blog is not responding")
            finally:
                await site.blog_api.ready()
            await page.get_by_role("button", name="Try again").click()
            await headed(page, "Latest posts")
            await page.get_by_role("link", name="Write", exact=True).click()
            await page.get_by_role("button", name="Publish").click()
            await headed(page, "Through the storm")


class TestWays:
    """Addresses, the back button, keyboard and accessibility."""

    async def test_the_back_button_restores_the_list_and_its_position(
        self, site: Site, blog: httpx.AsyncClient, visit: Visiting
    ) -> None:
        """With the same posts and scroll position; reload and title match the address."""
        signed_in = await site.signed_up("ada.many@example.org")
        user_id = signed_in["user"]["id"]
        for number in range(25):
            await posted(blog, signed_in, title=f"Number {number:02}")
        async with visit(viewport={"width": 360, "height": 740}) as visitor:
            page = visitor.page
            await page.goto(f"/users/{user_id}")
            posts = page.get_by_role("article")
            await expect(posts).to_have_count(20)
            await page.get_by_role("button", name="More posts").click()
            await expect(posts).to_have_count(25)
            await expect(page.get_by_role("button", name="More posts")).to_be_hidden()
            # The first new post has the focus.
            await expect(page.get_by_role("link", name="Number 04")).to_be_focused()

            await page.get_by_role("link", name="Number 02").click()
            await headed(page, "Number 02")
            await expect(page.get_by_role("heading", level=1)).to_be_focused()
            await expect(page).to_have_title("Number 02 · Daybook")
            assert await page.evaluate("scrollY") == 0
            await page.reload()
            await headed(page, "Number 02")

            await page.get_by_role("link", name="Daybook").click()
            await headed(page, "Latest posts")
            await page.get_by_role("link", name="Number 20").click()
            await headed(page, "Number 20")
            await page.go_back()
            await headed(page, "Latest posts")
            await expect(page.get_by_role("link", name="Number 20")).to_be_in_viewport()
            assert await page.evaluate("scrollY") > 0

    async def test_an_unknown_address_shows_page_not_found(self, visit: Visiting) -> None:
        async with visit() as visitor:
            for address in ("/#/nowhere", "/#/posts/0", f"/users/{UUID(int=0)}"):
                await visitor.page.goto(address)
                await headed(visitor.page, "Page not found")

    async def test_without_javascript_everything_can_be_read(
        self, site: Site, blog: httpx.AsyncClient, visit: Visiting
    ) -> None:
        """By following links, in the same look, in light and dark, on a phone and on a desk."""
        signed_in = await site.signed_up("ada.plain@example.org")
        text = "# Part\n\n> quote\n\n1. `code`\n\n```\nblock\n```\n\nhttps://example.org"
        post = await posted(blog, signed_in, title="Readable by all", body=text)
        await _sent(blog, signed_in, f"/v1/posts/{post}/comments", {"body": "*Indeed.*"})
        for width in (360, 1280):
            size: Any = {"width": width, "height": 740}
            async with visit(viewport=size, java_script_enabled=False) as plain:
                page = plain.page
                await page.goto("/")
                await page.get_by_role("link", name="Readable by all").click()
                await headed(page, "Readable by all")
                await expect(page).to_have_title("Readable by all · Daybook")
                await expect(page.get_by_role("heading", name="Part", level=2)).to_be_visible()
                await expect(page.get_by_role("emphasis")).to_have_text("Indeed.")
                await page.get_by_role("article").get_by_role("link", name="Reader").first.click()
                await expect(page.get_by_role("heading", name="Posts")).to_be_visible()
                await page.goto("/write")
                await headed(page, "This page needs JavaScript")
            # The same pages before a script has changed them.
            async with visit(viewport=size) as scripted:
                page = scripted.page
                await page.route("**/web/*.js", lambda route: route.abort())
                for path in ("/", f"/posts/{post}", f"/users/{signed_in['user']['id']}"):
                    await page.goto(path)
                    for scheme in ("light", "dark"):
                        await page.emulate_media(color_scheme=scheme)
                        assert await page.evaluate(FAULTS) == [], (path, width, scheme)

    async def test_the_scripts_take_over_what_the_server_has_sent(
        self, site: Site, blog: httpx.AsyncClient, visit: Visiting
    ) -> None:
        """No heading leaves meanwhile; a link from before still leads to its view."""
        signed_in = await site.signed_up("ada.over@example.org")
        post = await posted(blog, signed_in, title="Taken over")
        async with visit() as visitor:
            page = visitor.page
            held: list[Route] = []
            await page.route(f"**/v1/posts/{post}", lambda route: held.append(route))
            await page.goto(f"/posts/{post}")
            await eventually(lambda: held)
            await headed(page, "Taken over")
            await page.wait_for_timeout(300)  # longer than until a view shows that it is loading
            await headed(page, "Taken over")
            await held[0].continue_()
            await page.unroute(f"**/v1/posts/{post}")
            await expect(page.get_by_text("to comment.")).to_be_visible()

            await page.goto(f"/#/users/{signed_in['user']['id']}")
            await expect(page).to_have_url(f"{site.url}/users/{signed_in['user']['id']}")
            await page.get_by_role("link", name="Taken over").click()
            await expect(page).to_have_url(f"{site.url}/posts/{post}")
            await headed(page, "Taken over")

    async def test_posts_are_searched_by_keys(
        self, site: Site, blog: httpx.AsyncClient, visit: Visiting
    ) -> None:
        """The address has the words, so that a reload and the way back find the same."""
        signed_in = await site.signed_up("ada.finds@example.org")
        await posted(blog, signed_in, title="A marmalade recipe")
        async with visit() as visitor:
            page = visitor.page
            await page.goto("/")
            await page.get_by_role("link", name="Search").press("Enter")
            await expect(page.get_by_role("heading", name="Search")).to_be_focused()
            await page.keyboard.press("Tab")
            await page.keyboard.type("marmalades")
            await page.keyboard.press("Enter")
            await expect(page).to_have_url(f"{site.url}/search?q=marmalades")
            await page.get_by_role("link", name="A marmalade recipe").press("Enter")
            await headed(page, "A marmalade recipe")
            await page.go_back()
            await expect(page.get_by_label("Words")).to_have_value("marmalades")
            await expect(page.get_by_role("article")).to_have_count(1)
            await page.get_by_label("Words").fill("no such word")
            await page.get_by_label("Words").press("Enter")
            await expect(page.get_by_text("No post has these words.")).to_be_visible()

    async def test_the_keyboard_is_enough(self, visit: Visiting) -> None:
        async with visit() as visitor:
            page, keyboard = visitor.page, visitor.page.keyboard
            focused = page.locator(":focus")

            async def type_into_next(*texts: str) -> None:
                for text in texts:
                    await keyboard.press("Tab")
                    await keyboard.type(text)

            async def focuses(heading: str) -> None:
                await expect(page.get_by_role("heading", name=heading)).to_be_focused()

            await page.goto("/")
            await expect(page.get_by_role("link", name="Sign up")).to_be_visible()
            await keyboard.press("Tab")
            await expect(focused).to_have_text("Skip to content")
            await keyboard.press("Enter")
            await expect(page.get_by_role("main")).to_be_focused()
            await keyboard.press("Shift+Tab")
            await expect(focused).to_have_text("Sign up")
            await keyboard.press("Enter")
            await focuses("Sign up")
            await type_into_next("ada.keys@example.org", PASSWORD)
            await keyboard.press("Tab")
            await expect(focused).to_have_text("Show password")
            await type_into_next("Ada Keys")
            await keyboard.press("Enter")
            await focuses("Latest posts")
            await expect(page.get_by_role("navigation")).to_contain_text("Ada Keys")
            await page.get_by_role("button", name="Sign out", exact=True).press("Enter")
            await expect(page.get_by_text("You are signed out.")).to_be_visible()
            await page.get_by_role("link", name="Sign in").first.press("Enter")
            await focuses("Sign in")
            await type_into_next("ada.keys@example.org", PASSWORD)
            await keyboard.press("Enter")
            await focuses("Latest posts")
            await page.get_by_role("link", name="Write", exact=True).focus()
            await keyboard.press("Enter")
            await focuses("New post")
            await type_into_next("By keys", "**Alone**, at https://example.org")
            await keyboard.press("Tab")
            await expect(focused).to_have_text("Preview")
            await keyboard.press("Enter")
            preview = page.get_by_role("group").filter(has_text="Preview")
            await expect(preview.get_by_role("strong")).to_have_text("Alone")
            await keyboard.press("Shift+Tab")
            await keyboard.press("Control+Enter")
            await focuses("By keys")
            await expect(page.get_by_role("article").get_by_role("strong")).to_have_text("Alone")
            link = page.get_by_role("article").get_by_role("link", name="https://example.org")
            await expect(link).to_have_attribute("rel", re.compile("nofollow ugc noopener"))

    async def test_after_a_deletion_the_list_is_without_the_account(
        self, site: Site, blog: httpx.AsyncClient, visit: Visiting
    ) -> None:
        signed_in = await site.signed_up("ada.goodbye@example.org")
        await posted(blog, signed_in, title="Not for long")
        async with returning(visit, "ada.goodbye@example.org") as ada:
            page = ada.page
            await expect(page.get_by_role("link", name="Not for long")).to_be_visible()
            site.consumer.signal(signal.SIGSTOP)
            try:
                await delete_account(page)
                await expect(page.get_by_role("button", name="Deleting …")).to_be_visible()
            finally:
                site.consumer.signal(signal.SIGCONT)

            notice = page.get_by_text("Your account has been deleted.", exact=True)
            await expect(notice).to_be_visible()
            await headed(page, "Latest posts")
            await loaded(page)
            assert await page.get_by_role("link", name="Not for long").count() == 0

    async def test_a_slow_blog_does_not_block_a_deletion_and_the_list_catches_up(
        self, site: Site, blog: httpx.AsyncClient, visit: Visiting
    ) -> None:
        """The notice comes after some seconds, and the list updates by itself."""
        signed_in = await site.signed_up("ada.late@example.org")
        await posted(blog, signed_in, title="For a while yet")
        async with returning(visit, "ada.late@example.org") as ada:
            page = ada.page
            site.consumer.signal(signal.SIGSTOP)
            try:
                await delete_account(page)
                await expect(page.get_by_text("The blog will reflect this")).to_be_visible()
                await expect(page.get_by_role("link", name="For a while yet")).to_be_visible()
            finally:
                site.consumer.signal(signal.SIGCONT)

            await expect(page.get_by_role("link", name="For a while yet")).to_have_count(0)

    async def test_each_view_has_heading_order_labels_and_contrast(
        self, site: Site, blog: httpx.AsyncClient, visit: Visiting
    ) -> None:
        """One level-one heading, no level skipped, and a label on every control; light and dark."""
        signed_in = await site.signed_up("ada.views@example.org")
        post = await posted(blog, signed_in)
        await _sent(blog, signed_in, f"/v1/posts/{post}/comments", {"body": "Yes."})
        views = ("", f"posts/{post}", f"users/{signed_in['user']['id']}", "search?q=soup", "write")
        async with visit(viewport={"width": 360, "height": 740}) as visitor:
            page = visitor.page

            async def are_faultless(*views: str) -> None:
                for view in views:
                    await page.goto(f"/{view}")
                    await loaded(page)
                    for scheme in ("light", "dark"):
                        await page.emulate_media(color_scheme=scheme)
                        assert await page.evaluate(FAULTS) == [], (view, scheme)

            await are_faultless(*views, "sign-in", "sign-up", "forgot", "#/nowhere")
            ada = Person(page, "ada.views@example.org")
            await ada.sign_in()
            await ada.is_signed_in()
            await are_faultless(*views, f"posts/{post}/edit", "account")


FAULTS = """() => {
  const faults = [];
  const levels = [...document.querySelectorAll("h1, h2, h3")].map((h) => Number(h.tagName[1]));
  if (levels.filter((level) => level === 1).length !== 1) faults.push("not one h1");
  if (levels.some((level, at) => level > (levels[at - 1] ?? 0) + 1)) faults.push("a level is out");
  const ids = [...document.querySelectorAll("[id]")].map((element) => element.id);
  if (new Set(ids).size < ids.length) faults.push("an id stands twice");
  for (const control of document.querySelectorAll("input, textarea, button, a")) {
    const named = control.labels?.[0]?.textContent || control.ariaLabel || control.textContent;
    if (!named?.trim()) faults.push(`no name: ${control.outerHTML}`);
  }
  for (const image of document.images) if (!image.hasAttribute("alt")) faults.push("no alt");
  if (document.documentElement.scrollWidth > innerWidth) faults.push("wider than the phone");
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const paint = (colour) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const luminance = ([r, g, b]) => {
    const linear = (x) => (x <= 10.31 ? x / 3294.6 : ((x / 255 + 0.055) / 1.055) ** 2.4);
    return 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  };
  const ground = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = paint(getComputedStyle(at).backgroundColor);
      if (colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !element.checkVisibility()) continue;
    const colours = [paint(getComputedStyle(element).color), ground(element)];
    const [darker, lighter] = colours.map(luminance).sort((a, b) => a - b);
    const contrast = (lighter + 0.05) / (darker + 0.05);
    if (contrast < 4.5) faults.push(`contrast ${contrast.toFixed(1)}: ${walker.currentNode.data}`);
  }
  return faults;
}"""
"""Returns accessibility faults and horizontal overflow. The contrast is WCAG's for small text."""


HOSTILE = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    '"><svg/onload=alert(1)>',
    "javascript:alert(1)",
    "</textarea><iframe srcdoc='<script>parent.alert(1)</script>'>",
    "{{7*7}} ${alert(1)} &lt;b&gt;",
)

PICTURE = "https://pictures.invalid/a.png"


async def test_user_content_never_executes(
    site: Site, blog: httpx.AsyncClient, visit: Visiting
) -> None:
    """It is text everywhere: no dialog, no blocked script, no request except for the picture."""
    signed_in = await site.signed_up("mallory@example.org")
    text = "\n\n".join(HOSTILE)
    post = await posted(blog, signed_in, title="".join(HOSTILE[:2]), body=text)
    await _sent(blog, signed_in, f"/v1/posts/{post}/comments", {"body": text})
    profile = {"display_name": HOSTILE[1], "bio": text, "avatar_url": PICTURE}
    answer = await blog.patch("/v1/me", json=profile, headers=bearer(signed_in))
    assert answer.status_code == 200, answer.text
    dialogs: list[Dialog] = []
    requests: list[Request] = []

    async with visit() as visitor:
        page = visitor.page
        page.on("dialog", lambda dialog: dialogs.append(dialog))
        page.on("request", lambda request: requests.append(request))
        await page.goto("/sign-in")
        mallory = Person(page, "mallory@example.org")
        await mallory.sign_in()
        await mallory.is_signed_in()
        of_mallory = f"users/{signed_in['user']['id']}"
        for view in ("", f"posts/{post}", of_mallory, f"posts/{post}/edit", "account"):
            await page.goto(f"/{view}")
            await loaded(page)
            await expect(page.get_by_role("navigation")).to_contain_text(HOSTILE[1])
        await page.goto(f"/posts/{post}")
        for hostile in map(html.unescape, HOSTILE):
            await expect(page.get_by_role("article").get_by_text(hostile).first).to_be_visible()
        assert await page.locator("main :is(script, iframe, svg, [onerror], [onload])").count() == 0
        own = (site.url, site.auth_api.url)
        elsewhere = {url for url in visitor.requests if not url.startswith(own)}
        # The host of the picture does not learn the page or the reader.
        for picture in [request for request in requests if request.url == PICTURE]:
            assert not picture.headers.get("referer")
            assert "cookie" not in picture.headers

    assert not dialogs
    assert elsewhere == {PICTURE}


async def test_a_picture_is_fetched_over_https_or_not_at_all(
    site: Site, blog: httpx.AsyncClient, visit: Visiting
) -> None:
    """For any URL from the blog, initials replace the picture."""
    await posted(blog, await site.signed_up("painter@example.org"), title="With a picture")
    addresses = ["http://127.0.0.1:1/a.png", "javascript:alert(1)", "data:image/png;base64,AA"]

    async def changed(route: Route) -> None:
        answer = await route.fetch()
        body = await answer.json()
        [post, *_] = body["items"]
        body["items"] = [
            post | {"id": str(uuid4()), "author": post["author"] | {"avatar_url": address}}
            for address in addresses
        ]
        await route.fulfill(response=answer, json=body)

    async with visit() as visitor:
        await visitor.page.route("**/v1/posts", changed)
        await visitor.page.goto("/")
        await expect(visitor.page.get_by_role("link", name="With a picture")).to_have_count(3)
        assert await visitor.page.locator("img").count() == 0
        assert not {*addresses} & {*visitor.requests}


async def test_the_page_cannot_be_framed(site: Site, visit: Visiting) -> None:
    """A page of another site cannot embed it to trick users into clicking."""
    async with visit() as visitor:
        page = visitor.page
        body = f"<iframe src='{site.url}/'></iframe>"
        framing = "http://elsewhere.test/"
        await page.route(framing, lambda route: route.fulfill(content_type="text/html", body=body))
        await page.goto(framing)
        frame = page.frames[1]

        await eventually(lambda: frame.url.startswith("chrome-error:"))
        visitor.errors.clear()  # the refusal counts as an error
