"""A change by hand in the blog's database is named within seconds, and an operator repairs it."""

from collections.abc import AsyncIterator

import pytest

from tests.support.eventually import eventually
from tests.support.inbox import execute, fetch
from tests.support.system import System
from tests.support.whole import Whole, running

NAMED_WITHIN_SECONDS = 20.0


@pytest.fixture
async def whole(system: System) -> AsyncIterator[Whole]:
    settings = {"AUTH_HEARTBEAT_SECONDS": 1, "BLOG_HEARTBEAT_SECONDS_MAX": 3}
    async with running(system, **settings) as whole:
        yield whole


async def test_a_row_changed_by_hand_is_named_by_the_status(whole: Whole) -> None:
    """In its first line, with kind, id and remedy; after the remedy all is proved again."""
    await eventually(lambda: _is_proved(whole, "equal"))
    [row] = await fetch(whole.blog, "SELECT id FROM users WHERE status = 'active' LIMIT 1")
    await execute(
        whole.blog, f"UPDATE users SET email_verified = NOT email_verified WHERE id = '{row.id}'"
    )

    await eventually(lambda: _is_proved(whole, "differs"), within=NAMED_WITHIN_SECONDS)
    _, shown = await whole.command("blog-service status")
    checked, _ = await whole.command("blog-service status --check")
    repaired, _ = await whole.command("blog-service reconcile --repair")
    await eventually(lambda: _is_proved(whole, "equal"))

    first, named, *_ = shown.splitlines()
    assert first.startswith("proved "), shown
    assert first.endswith(" 1 differ (1 corrupt: blog-service reconcile --repair)"), shown
    assert named.split()[:2] == [str(row.id), "corrupt"]
    assert (checked, repaired) == (1, 0)


async def _is_proved(whole: Whole, state: str) -> bool:
    figures = await whole.figures("blog-service status")
    return bool(figures["proof"]["state"] == state)
