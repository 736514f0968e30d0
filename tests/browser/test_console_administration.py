"""Test the console's pages for administrators in Chromium, by keys alone."""

import re
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio
from playwright.async_api import Locator, Page, Route, expect

from auth_service.settings import DatabaseSettings as AuthDatabase
from replica.console import PAGES
from service_kit.database.engines import pooled
from tests.browser.conftest import Visiting
from tests.support.auth_api import PASSWORD
from tests.support.console import console
from tests.support.eventually import eventually
from tests.support.inbox import execute, fetch
from tests.support.site import Site

pytestmark = pytest.mark.asyncio(loop_scope="module")

ROOT = "root@example.org"
OPERATOR = "grace@example.org"
FOR_ADMINISTRATORS = ("services", "keys", "audit", "settings")


@pytest_asyncio.fixture(scope="module", loop_scope="module", autouse=True)
async def people(site: Site) -> None:
    await site.signed_up(ROOT, "admin", "operator")
    await site.signed_up(OPERATOR, "operator")


async def press(button: Locator) -> None:
    await expect(button).to_be_enabled()
    await button.press("Enter")


async def confirm(page: Page, word: str) -> None:
    """Confirm in the dialog that is open."""
    await press(page.get_by_role("dialog").last.get_by_role("button", name=word))


async def until_closed(page: Page) -> None:
    await expect(page.get_by_role("dialog")).to_have_count(0)


async def find(page: Page, text: str) -> Locator:
    await page.locator("#find-user-text").fill(text)
    await page.keyboard.press("Enter")
    return page.locator("#user-acts")


async def in_auth(site: Site, sql: str) -> list[Any]:
    engine = pooled(AuthDatabase(database_url=site.system.auth_url))
    try:
        if sql.startswith("SELECT"):
            return list(await fetch(engine, sql))
        await execute(engine, sql)
        return []
    finally:
        await engine.dispose()


async def test_an_operator_sees_no_administrative_act(visit: Visiting, site: Site) -> None:
    """Nor does the page ask for anything that only administrators get."""
    user = await site.signed_up(f"{uuid4().hex}@example.org")
    async with console(visit, OPERATOR, at="/console/users") as page:
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        pages = page.get_by_role("navigation", name="Pages")
        await expect(pages.get_by_role("link", name="Pipe")).to_be_visible()
        for name in ("Services", "Keys", "Audit log", "Settings"):
            await expect(pages.get_by_role("link", name=name)).to_have_count(0)
        acts = await find(page, user["user"]["id"])
        await expect(page.get_by_role("button", name="Find")).to_be_enabled()
        await expect(acts).to_be_empty()
        for name in FOR_ADMINISTRATORS:
            await page.goto(f"/console/{name}")
            await expect(page.get_by_role("alert")).to_contain_text("the admin role")
            await expect(page.locator("main section")).to_have_count(1)
    forbidden = re.compile(r"/v1/admin/(users/[0-9a-f-]{36}$|services|keys|audit|settings)")
    assert [url for url in asked if forbidden.search(url)] == []


async def test_a_user_is_changed_and_deleted_after_the_password_is_confirmed(
    visit: Visiting, site: Site
) -> None:
    """The password is asked for once; a wrong one does nothing."""
    email = f"{uuid4().hex}@example.org"
    user_id = (await site.signed_up(email))["user"]["id"]
    roles = f"SELECT roles FROM users WHERE id = '{user_id}'"
    async with console(visit, ROOT, at="/console/users") as page:
        await expect(page.get_by_role("heading", name="Users")).to_be_visible()
        await in_auth(site, "UPDATE sessions SET created_at = created_at - interval '11 minutes'")
        await page.reload()
        acts = await find(page, email)
        await acts.get_by_label("moderator").press("Space")
        await press(acts.get_by_role("button", name="Change roles"))
        await expect(page.get_by_role("dialog")).to_contain_text(f"{email} gets moderator.")
        await confirm(page, "Change roles")

        dialog = page.get_by_role("dialog", name="Confirm it is you")
        await expect(dialog.get_by_label("Password")).to_be_focused()
        await page.keyboard.type("not the password")
        await page.keyboard.press("Enter")
        await expect(dialog.get_by_role("alert")).to_have_text("The password is wrong.")
        assert [row.roles for row in await in_auth(site, roles)] == [[]]
        await dialog.get_by_label("Password").fill(PASSWORD)
        await page.keyboard.press("Enter")
        await until_closed(page)
        await expect(acts.get_by_role("status")).to_have_text("Roles changed.")
        assert [row.roles for row in await in_auth(site, roles)] == [["moderator"]]

        await press(acts.get_by_role("button", name="Disable"))
        await confirm(page, "Disable")
        await expect(acts.get_by_role("status")).to_have_text("Disabled.")
        await press(acts.get_by_role("button", name="Enable"))
        await expect(acts.get_by_role("status")).to_contain_text("Enabled.")

        await press(acts.get_by_role("button", name="Delete"))
        delete = page.get_by_role("dialog").get_by_role("button", name="Delete")
        await expect(delete).to_be_disabled()
        await page.keyboard.type(email)
        await page.keyboard.press("Enter")
        await expect(acts.get_by_role("status")).to_have_text("Deleted.")

        await page.goto(f"/console/audit?subject={user_id}")
        actions = page.locator("#entries tbody td:nth-child(2)")
        await expect(actions.first).to_be_visible()
        assert [each for each in await actions.all_text_contents() if each != "user_viewed"] == [
            *("user_deleted", "user_enabled", "user_disabled", "roles_changed")
        ]
        await page.get_by_label("Action").select_option("roles_changed")
        await press(page.get_by_role("button", name="Show", exact=True))
        await expect(actions).to_have_text(["roles_changed"])
        await expect(page.locator("#entries tbody")).to_contain_text('granted ["moderator"]')


async def test_an_act_that_ends_late_does_not_bring_its_user_back(
    visit: Visiting, site: Site
) -> None:
    """The address names the user who is on the page."""
    first, second = [await site.signed_up(f"{uuid4().hex}@example.org") for _ in range(2)]
    held: list[Route] = []

    async def hold(route: Route) -> None:
        if route.request.method == "PATCH":
            held.append(route)
        else:
            await route.continue_()

    async with console(visit, ROOT, at="/console/users") as page:
        await page.route(f"**/v1/admin/users/{first['user']['id']}", hold)
        acts = await find(page, first["user"]["id"])
        await press(acts.get_by_role("button", name="Disable"))
        await confirm(page, "Disable")
        await eventually(lambda: held)
        await page.evaluate("id => { location.hash = id; }", second["user"]["id"])
        await expect(acts).to_contain_text(second["user"]["email"])
        await held[0].continue_()
        await until_closed(page)
        assert second["user"]["email"] in await acts.inner_text()
        life = page.locator("#user-life")
        await expect(life).to_contain_text(second["user"]["email"])


async def test_an_api_key_is_shown_once_and_kept_nowhere(visit: Visiting) -> None:
    """Two keys may be live; revoking one leaves the other."""
    async with console(visit, ROOT, at="/console/services") as page:
        await page.get_by_text("Create a service account").press("Enter")
        await page.get_by_label("Name").fill("importer")
        await page.get_by_label("write posts").press("Space")
        await press(page.get_by_role("button", name="Create"))
        shown = page.get_by_role("dialog", name="The API key of importer").get_by_label("API key")
        key = await shown.inner_text()
        assert key.startswith("usersync_")
        await confirm(page, "I have stored it")
        await until_closed(page)
        await _is_gone(page, key)

        account = page.get_by_role("article", name="importer")
        await account.get_by_text("API keys").press("Enter")
        await expect(account.get_by_role("cell", name="live")).to_have_count(1)
        await press(account.get_by_role("button", name="Issue a key"))
        await confirm(page, "Issue a key")
        await confirm(page, "I have stored it")
        await expect(account.get_by_role("cell", name="live")).to_have_count(2)
        await press(account.get_by_role("button", name="Revoke").first)
        await confirm(page, "Revoke")
        await until_closed(page)
        await expect(account.get_by_role("cell", name="live")).to_have_count(1)
        await press(account.get_by_role("button", name="Delete"))
        await confirm(page, "Delete")
        await expect(account).to_have_count(0)


async def test_a_new_api_key_is_shown_even_if_its_list_cannot_be_read(visit: Visiting) -> None:
    """Nobody could show it again."""
    lists = re.compile(r"/v1/admin/services(/[^/]+/keys)?\?")
    async with console(visit, ROOT, at="/console/services") as page:
        create = page.get_by_role("button", name="Create", exact=True)
        key = page.get_by_role("dialog").get_by_label("API key")
        await page.get_by_text("Create a service account").press("Enter")
        await page.get_by_label("Name").fill("exporter")
        await page.get_by_label("write posts").press("Space")
        await press(create)
        await confirm(page, "I have stored it")
        account = page.get_by_role("article", name="exporter")
        await account.get_by_text("API keys").press("Enter")
        await expect(account.get_by_role("cell", name="live")).to_have_count(1)

        await page.route(lists, lambda route: route.abort())
        await press(account.get_by_role("button", name="Issue a key"))
        await confirm(page, "Issue a key")
        await expect(key).to_have_text(re.compile("^usersync_"))
        await confirm(page, "I have stored it")
        await until_closed(page)
        await expect(account.get_by_role("alert")).to_contain_text("not responding")

        await page.get_by_label("Name").fill("printer")
        await page.get_by_label("write posts").press("Space")
        await press(create)
        await expect(key).to_have_text(re.compile("^usersync_"))
        await confirm(page, "I have stored it")
        await until_closed(page)
        await expect(page.locator("#new-service-problem")).to_contain_text("not responding")


async def test_keys_and_settings_are_shown_and_a_new_key_waits(visit: Visiting) -> None:
    """No secret is on the page."""
    async with console(visit, ROOT, at="/console/keys") as page:
        rows = page.locator("#signing-keys tbody tr")
        await expect(rows).to_have_count(1)
        await expect(page.get_by_role("img", name="Timeline of 1 signing keys")).to_be_visible()
        await press(page.get_by_role("button", name="Generate a key"))
        await confirm(page, "Generate")
        await expect(rows).to_have_count(2)
        await press(page.get_by_role("button", name="Activate").first)
        await confirm(page, "Activate")
        problem = page.get_by_role("dialog").get_by_role("alert")
        await expect(problem).to_contain_text("may be activated from")
        await page.keyboard.press("Escape")
        await press(page.get_by_role("button", name="Retire").first)
        await confirm(page, "Retire")
        await expect(rows.first).to_contain_text("retired")

        await page.get_by_role("link", name="Settings").press("Enter")
        auth, blog = page.locator("#settings-auth"), page.locator("#settings-blog")
        await expect(blog).to_contain_text("BLOG_LIMIT_POSTS")
        await expect(auth.get_by_role("row", name="AUTH_PRIVATE_KEY")).to_contain_text("masked")
        await page.get_by_label("Name or value").fill("auth_issuer")
        await expect(auth.locator("tbody tr")).to_have_count(1)
        await expect(auth.locator("tbody td").last).to_have_text("environment")


async def test_no_page_is_cut_off_on_a_phone(visit: Visiting) -> None:
    """Wide tables scroll by themselves."""
    phone = {"width": 360, "height": 740}
    async with console(visit, ROOT, viewport=phone, color_scheme="dark") as page:
        for path in PAGES:
            await page.goto(path)
            await expect(page.locator("main section").first).to_be_visible()
            assert await page.evaluate("document.documentElement.scrollWidth") == 360, path


async def _is_gone(page: Page, key: str) -> None:
    # A dialog is removed a moment after it has closed.
    await expect(page.locator("html")).not_to_contain_text(key)
    kept = await page.evaluate(
        """() => [document.documentElement.outerHTML, location.href,
            JSON.stringify({ ...localStorage }), JSON.stringify({ ...sessionStorage })].join()"""
    )
    assert key not in kept
