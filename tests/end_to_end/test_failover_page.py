"""``docs/failover.md``, followed to the letter after a failover to an asynchronous standby."""

import os
import sys
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Final

import pytest

from tests.support.eventually import eventually
from tests.support.failing_over import NOTICED_SECONDS_MAX, failing_over
from tests.support.guide import commands_of, shell_in
from tests.support.load import loaded
from tests.support.system import System
from tests.support.whole import AUTH, Whole

PAGE: Final = (Path(__file__).parents[2] / "docs/failover.md").read_text()

BLOG_SECTION = "## The blog's database"
AUTH_SECTION = "## The auth service's database"

HEARTBEAT_SECONDS: Final = 15.0
"""As in production."""

LOSS_SECONDS: Final = 3.0

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


async def _follow(
    whole: Whole, heading: str, ours: Mapping[str, Callable[[], Awaitable[None]]]
) -> None:
    """Type the commands of a section; of some, the test does what they say itself."""
    section = PAGE.partition(f"\n{heading}\n")[2].partition("\n## ")[0]
    assert section, f"{heading} is gone"
    commands = commands_of(section)
    assert ours.keys() <= {command.typed for command in commands}
    environment = {
        **whole.system.environment,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONUNBUFFERED": "1",  # otherwise errors come before what was printed earlier
    }
    async with shell_in(whole.system.folder, environment) as shell:
        for command in commands:
            if command.typed in ours:
                await ours[command.typed]()
            else:
                await shell.follow(command)


@pytest.mark.parametrize("after", [0.0, 4.0, 8.0])
async def test_a_failover_of_the_blogs_database(system: System, after: float) -> None:
    """Three seconds are lost, at several moments after a heartbeat, under traffic before and after.

    All is equal within 20 seconds.
    """
    async with failing_over(system, "blog", heartbeat_seconds=HEARTBEAT_SECONDS) as failing:
        whole = failing.whole
        lost = await failing.fail_over(seconds=LOSS_SECONDS, after=after)
        failed_over = monotonic()
        async with loaded(whole.auth, per_second=100) as load:
            await eventually(lambda: load.changes > 100)
        await eventually(whole.agrees, within=failed_over + NOTICED_SECONDS_MAX - monotonic())
        print(f"lost {lost.kinds}, repaired after {monotonic() - failed_over:.1f} s")

        await _follow(whole, BLOG_SECTION, {})

        assert {"missing", "stale", "undeleted"} == lost.kinds.keys()
        assert await whole.agrees()
        assert not await whole.alive([*lost.deleted, *load.deleted])


async def test_a_failover_of_the_auth_services_database(system: System) -> None:
    """Everything that differs is named within 20 seconds; the page's commands make all equal."""
    async with failing_over(system, "auth", heartbeat_seconds=HEARTBEAT_SECONDS) as failing:
        whole = failing.whole
        lost = await failing.fail_over(seconds=LOSS_SECONDS)
        failed_over = monotonic()
        await eventually(whole.differs, within=NOTICED_SECONDS_MAX)
        print(f"lost {lost.kinds}, named after {monotonic() - failed_over:.1f} s")
        assert (await whole.proof())["kinds"] == lost.kinds

        await _follow(
            whole,
            AUTH_SECTION,
            {
                "docker compose stop auth-api auth-relay": partial(whole.stop, *AUTH),
                "docker compose start auth-api auth-relay": partial(whole.start, *AUTH),
            },
        )

        assert {"orphan", "ahead", "undone_deletion"} == lost.kinds.keys()
        assert await whole.agrees()
        assert not await whole.alive(lost.deleted)
        async with loaded(whole.auth, per_second=100) as load:
            await eventually(lambda: load.changes > 100)
        await eventually(whole.agrees)
