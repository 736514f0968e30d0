"""The browser reaches both services."""

import pytest

from tests.browser.conftest import Visiting
from tests.support.site import Site

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_both_services_answer_the_browser(site: Site, visit: Visiting) -> None:
    """A page of the blog may ask the auth service, and sees its answer."""
    async with visit() as visitor:
        await visitor.page.goto("/livez")
        status = await visitor.page.evaluate(
            "async url => (await fetch(url, {credentials: 'include'})).status",
            f"{site.auth_api.url}/.well-known/jwks.json",
        )
    assert status == 200
