"""Share one running system and one Chromium per file; each visitor has their own browser context.

Each file sets ``pytestmark = pytest.mark.asyncio(loop_scope="module")`` to share an event loop.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial

import pytest
import pytest_asyncio
from playwright.async_api import Browser, async_playwright, expect

from local.chromium import find_chromium
from tests.support.site import Site, Visit, visiting
from tests.support.system import System, at_work

FLAGS = (
    "--no-sandbox",  # root cannot use the sandbox
    "--disable-gpu",
    "--disable-background-networking",  # request only our own pages
)

expect.set_options(timeout=20_000)  # five seconds by default, too few on a busy machine

POSTS_MAX = 30
"""The limit of posts for one user; enough for all tests except the one about this limit."""

Visiting = Callable[..., AbstractAsyncContextManager[Visit]]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(shared_system: System) -> AsyncIterator[Site]:
    site = await Site.on(shared_system, BLOG_LIMIT_POSTS=f"{POSTS_MAX}/3600")
    async with at_work(*site.members):
        yield site


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chromium() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=find_chromium(), args=list(FLAGS)
        )
        yield browser
        await browser.close()


@pytest.fixture
def visit(site: Site, chromium: Browser) -> Visiting:
    return partial(visiting, chromium, site)
