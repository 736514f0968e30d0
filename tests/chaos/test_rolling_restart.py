"""All processes are restarted in turn while users are at work, and no request fails.

Each has two instances, as an orchestrator runs them; the APIs are behind the load balancers of
`docs/deploy-behind-a-proxy.md`, with its configurations.
"""

import asyncio
import time
from pathlib import Path

import pytest

from auth_service.settings import ApiSettings
from local.ports import free_port
from tests.support.eventually import eventually
from tests.support.reverse_proxies import PROXIES, proxied
from tests.support.settled import settled
from tests.support.source import Source
from tests.support.system import COMMANDS, Member, System, at_work
from tests.support.visits import Visits, visited

DELAY_SECONDS = ApiSettings.model_fields["shutdown_delay_seconds"].default
STOP_SECONDS_MAX = 30
"""After that, orchestrators kill."""

REQUESTS_PER_SECOND = 20
"""What one instance can bear while other tests share its cores. Without any core to spare it
answers health checks late, so that a proxy takes out the only instance that is left."""

AWAY_SECONDS = 5
"""While a new release is put in place: longer than HAProxy repeats its attempts to connect."""

SETTINGS = {
    "AUTH_SHUTDOWN_DELAY_SECONDS": DELAY_SECONDS,
    "BLOG_SHUTDOWN_DELAY_SECONDS": DELAY_SECONDS,
    "AUTH_TRUSTED_PROXIES": "127.0.0.1",
    "BLOG_TRUSTED_PROXIES": "127.0.0.1",
}


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
                command, port if command == "auth-service api" else None, **SETTINGS
            )
            for command in COMMANDS
        }
        for port in (first_auth_port, None)
    )
    upstreams = {
        service: [_port(each[f"{service}-service api"]) for each in (first, second)]
        for service in ("auth", "blog")
    }
    async with at_work(*first.values(), *second.values()):
        with proxied(balancer, upstreams, tmp_path) as proxy:
            async with (
                proxy.client("auth.example.org") as auth,
                proxy.client("blog.example.org") as blog,
                visited(auth, blog, per_second=REQUESTS_PER_SECOND) as visits,
            ):
                await _goes_on(visits)
                stops = []
                for instance in (first, second):
                    stops += await asyncio.gather(*map(_restarted, instance.values()))
                await _goes_on(visits)
        await settled(system, source)
        compared = await system.command("blog-service reconcile")

    print(f"{balancer}: {visits.succeeded} requests, {visits.per_second:.0f}/s, {visits.counts}")
    print(f"the slowest took {visits.slowest_seconds:.2f} s; stops: {stops}")
    assert visits.failures == []
    assert all(code == 0 and seconds < STOP_SECONDS_MAX for code, seconds in stops), stops
    assert "0 differ" in compared.stdout


def _port(api: Member) -> int:
    return int(api.url.rpartition(":")[2])


async def _goes_on(visits: Visits, requests: int = 200) -> None:
    """Wait for some more requests, or the first failure."""
    least = visits.succeeded + requests
    await eventually(lambda: visits.succeeded >= least or visits.failures)


async def _restarted(process: Member) -> tuple[int, float]:
    """Replace a process; return its exit code and how many seconds its end took."""
    began = time.monotonic()
    code = await process.stop(within=STOP_SECONDS_MAX)
    seconds = time.monotonic() - began
    await asyncio.sleep(AWAY_SECONDS)
    await process.ready()
    return code, round(seconds, 1)
