"""Visit the console's pages."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from playwright.async_api import Page, expect

from tests.support.auth_api import PASSWORD


async def sign_in(
    page: Page, email: str, password: str = PASSWORD, *, at: str = "/console"
) -> None:
    """Open a page of the console and sign in."""
    await page.goto(at)
    # More patient than an action: on a busy machine, the scripts take seconds to load.
    await expect(page.get_by_label("E-mail")).to_be_visible()
    await page.get_by_label("E-mail").fill(email)
    await page.get_by_label("Password").fill(password)
    await page.get_by_role("button", name="Sign in").click()


@asynccontextmanager
async def console(
    visit: Any, email: str, *, at: str = "/console", **options: Any
) -> AsyncIterator[Page]:
    """Visit a page of the console as this user."""
    async with visit(**options) as visitor:
        await sign_in(visitor.page, email, at=at)
        await expect(visitor.page.get_by_role("button", name="Sign out")).to_be_visible()
        yield visitor.page
