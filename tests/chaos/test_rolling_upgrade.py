"""The last release is replaced by this code while users are at work, and no request fails.

As `docs/production.md` says: first the migrations, then one instance after the other, the consumers
first. For a minute, processes of both versions share databases, queues and users.
"""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.postgres_server import PostgresServer
from tests.support.releases import RELEASE, code_of, migrate_both, migrated_by
from tests.support.reverse_proxies import DRAINING, proxied
from tests.support.settled import settled
from tests.support.source import Source
from tests.support.system import COMMANDS, Member, System, at_work, ended
from tests.support.visits import PER_SECOND, visited

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

REQUESTS = 60
"""Before the migrations, and after each step."""

STEPS = (
    ("blog-service consumer",),
    ("auth-service relay", "auth-service api"),
    ("blog-service api",),
)
"""The order of `docs/production.md`."""


@pytest.fixture
def code(tmp_path: Path) -> Path:
    """The folder with the last release's code."""
    return code_of(RELEASE, tmp_path)


@pytest.fixture
def released(code: Path, system: System, postgres: PostgresServer) -> Iterator[System]:
    with migrated_by(code, system, postgres) as released:
        yield released


async def test_a_rolling_upgrade_fails_no_request_and_loses_no_event(
    code: Path, released: System, source: Source, tmp_path: Path
) -> None:
    first, second = (
        {
            command: released.process(command, PYTHONPATH=str(code), **DRAINING)
            for command in COMMANDS
        }
        for _ in range(2)
    )
    upstreams = {
        service: [each[f"{service}-service api"].port for each in (first, second)]
        for service in ("auth", "blog")
    }
    async with at_work(*first.values(), *second.values()):
        with proxied("haproxy", upstreams, tmp_path) as proxy:
            async with (
                proxy.client("auth.example.org") as auth,
                proxy.client("blog.example.org") as blog,
                visited(auth, blog, per_second=PER_SECOND) as visits,
            ):
                await visits.go_on(REQUESTS)
                await asyncio.to_thread(migrate_both, released)
                await visits.go_on(REQUESTS)
                upgraded = await released.with_account(first["auth-service api"].url)
                newer = [
                    {
                        command: upgraded.process(command, member.port, **DRAINING)
                        for command, member in instance.items()
                    }
                    for instance in (first, second)
                ]
                with ended(*newer[0].values(), *newer[1].values()):
                    for step in STEPS:
                        for instance, its_newer in zip((first, second), newer, strict=True):
                            await asyncio.gather(
                                *(_replaced(instance[each], its_newer[each]) for each in step)
                            )
                        await visits.go_on(REQUESTS)
                    visits.stop()
                    await settled(upgraded, source)
                    compared = await upgraded.command("blog-service reconcile")

    print(f"{visits.succeeded} requests, {visits.per_second:.0f}/s, {visits.counts}")
    assert visits.failures == [], (tmp_path / "log").read_text()
    assert "0 differ" in compared.stdout


async def _replaced(process: Member, newer: Member) -> None:
    assert await process.stop() == 0
    await newer.ready()
