"""Test that the browser reaches both services and no other host."""

import asyncio
from urllib.parse import urlsplit

import pytest
from playwright.async_api import expect

from tests.browser.conftest import Visiting
from tests.support.auth_api import PASSWORD
from tests.support.site import PATIENCE_MS, Site

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_the_browser_reaches_both_services(site: Site, visit: Visiting) -> None:
    async with visit() as visitor:
        await visitor.page.goto("/livez")
        status = await visitor.page.evaluate(
            "async url => (await fetch(url, {credentials: 'include'})).status",
            f"{site.auth_api.url}/.well-known/jwks.json",
        )
    assert status == 200


@pytest.mark.parametrize("service", ["auth_service", "blog_service"])
async def test_the_interactive_documentation_needs_no_internet(
    site: Site, visit: Visiting, service: str
) -> None:
    """Both APIs are shown and can be tried, without a request to another host."""
    member = site.auth_api if service == "auth_service" else site.blog_api
    async with visit() as visitor:
        await visitor.page.goto(f"{member.url}/docs")

        heading = visitor.page.get_by_role("heading", name=service)
        await expect(heading).to_be_visible(timeout=PATIENCE_MS)
        operations = visitor.page.locator(".opblock")
        await expect(operations.first).to_be_visible()
        await operations.first.click()
        await expect(operations.first.get_by_role("button", name="Try it out")).to_be_visible()

    elsewhere = [url for url in visitor.requests if not url.startswith((member.url, "data:"))]
    assert not elsewhere


async def test_passwords_go_to_the_auth_service_and_not_to_its_former_address(
    site: Site, visit: Visiting
) -> None:
    """The issuer is only a name: no page sends anything to the program that took its port."""
    connected = 0

    def note(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connected
        connected += 1
        writer.close()

    stranger = urlsplit(site.former_auth_url)
    async with (
        await asyncio.start_server(note, stranger.hostname, stranger.port),
        visit() as visitor,
    ):
        page = visitor.page
        await page.goto("/#/sign-up")
        await page.get_by_role("main").get_by_label("E-mail address").fill("ada.moved@example.org")
        await page.get_by_role("main").get_by_label("Password", exact=True).fill(PASSWORD)
        await page.get_by_role("main").get_by_role("button", name="Create account").click()
        await expect(page.get_by_role("button", name="Sign out", exact=True)).to_be_visible()
        await page.goto("/console")
        await expect(page.get_by_role("heading", name="Not for this account")).to_be_visible()

    assert f"{site.auth_api.url}/v1/signup" in visitor.requests
    assert connected == 0
