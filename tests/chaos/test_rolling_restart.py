"""All processes are restarted in turn while users are at work, and no request fails.

Each has two instances, as an orchestrator runs them; the APIs are behind the load balancers of
`docs/deploy-behind-a-proxy.md`, with its configurations.
"""

import asyncio
import time
from pathlib import Path

import pytest

from local.ports import free_port
from tests.support.reverse_proxies import DRAINING, PROXIES, proxied
from tests.support.settled import settled
from tests.support.source import Source
from tests.support.system import COMMANDS, Member, System, at_work
from tests.support.visits import PER_SECOND, visited

STOP_SECONDS_MAX = 30
"""After that, orchestrators kill."""

REQUESTS = 200
"""Before the restarts, and after them."""

AWAY_SECONDS = 5
"""While a new release is put in place: longer than HAProxy repeats its attempts to connect."""


@pytest.mark.slow
@pytest.mark.parametrize("balancer", PROXIES)
async def test_a_rolling_restart_of_all_processes_fails_no_request_and_loses_no_event(
    system: System, source: Source, tmp_path: Path, balancer: str
) -> None:
    """The second instance of each is restarted as soon as the first one is ready again."""
    first_auth_port = free_port()
    system = await system.with_account(f"http://127.0.0.1:{first_auth_port}")
    first, second = (
        {
            command: system.process(
                command, port if command == "auth-service api" else None, **DRAINING
            )
            for command in COMMANDS
        }
        for port in (first_auth_port, None)
    )
    upstreams = {
        service: [each[f"{service}-service api"].port for each in (first, second)]
        for service in ("auth", "blog")
    }
    async with at_work(*first.values(), *second.values()):
        with proxied(balancer, upstreams, tmp_path) as proxy:
            async with (
                proxy.client("auth.example.org") as auth,
                proxy.client("blog.example.org") as blog,
                visited(auth, blog, per_second=PER_SECOND) as visits,
            ):
                await visits.go_on(REQUESTS)
                stops = []
                for instance in (first, second):
                    stops += await asyncio.gather(*map(_restarted, instance.values()))
                await visits.go_on(REQUESTS)
        await settled(system, source)
        compared = await system.command("blog-service reconcile")

    print(f"{balancer}: {visits.succeeded} requests, {visits.per_second:.0f}/s, {visits.counts}")
    print(f"the slowest took {visits.slowest_seconds:.2f} s; stops: {stops}")
    assert visits.failures == []
    assert all(code == 0 and seconds < STOP_SECONDS_MAX for code, seconds in stops), stops
    assert "0 differ" in compared.stdout


async def _restarted(process: Member) -> tuple[int, float]:
    """Replace a process; return its exit code and how many seconds its end took."""
    began = time.monotonic()
    code = await process.stop(within=STOP_SECONDS_MAX)
    seconds = time.monotonic() - began
    await asyncio.sleep(AWAY_SECONDS)
    await process.ready()
    return code, round(seconds, 1)
