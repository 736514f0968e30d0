"""Each alert of `deploy/monitoring` fires by the fault it is for, and ends with it.

A real Prometheus scrapes the real processes, and evaluates the rules that operators get on a
shorter scale of time. Each fault raises exactly the alerts that `docs/monitoring.md` lists for it.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import pytest_asyncio

from local.private_rabbitmq import PrivateRabbitMQ
from tests.support.background import in_background
from tests.support.broker_accounts import create_vhost
from tests.support.databases import Databases
from tests.support.eventually import eventually
from tests.support.inbox import execute
from tests.support.load import loaded, sign_up_many
from tests.support.prometheus import Prometheus, dashboard_expressions, prometheus
from tests.support.servers import own_rabbitmq
from tests.support.source import LIVE, source_on
from tests.support.system import System
from tests.support.whole import Whole, running

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.slow]

AUTH_API, RELAY = "auth-service api", "auth-service relay"
BLOG_API, CONSUMER = "blog-service api", "blog-service consumer"
JOBS = {
    "auth-api": AUTH_API,
    "auth-relay": RELAY,
    "blog-api": BLOG_API,
    "blog-consumer": CONSUMER,
}

SETTINGS = {
    "AUTH_HEARTBEAT_SECONDS": 1,
    "BLOG_HEARTBEAT_SECONDS_MAX": 3,
    "AUTH_RETRY_SECONDS_MAX": 0.5,
    "BLOG_RETRY_SECONDS_MAX": 0.5,
    "BLOG_CERTIFICATE_SECONDS": 1,
    "AUTH_WATCHED_QUEUES": LIVE,
}


@dataclass(frozen=True)
class Watched:
    """The system, its broker, and the Prometheus that watches it."""

    whole: Whole
    broker: PrivateRabbitMQ
    prometheus: Prometheus

    async def fires(self, *names: str) -> None:
        """Wait until these alerts are firing, and no others."""

        async def look() -> bool:
            alerts = await self.prometheus.alerts()
            firing = {each["labels"]["alertname"] for each in alerts if each["state"] == "firing"}
            assert firing == {f"Usersync{name}" for name in names}
            return True

        await eventually(look, every=0.2)

    async def is_calm(self) -> None:
        """Wait until no alert is firing or about to."""

        async def look() -> bool:
            alerts = await self.prometheus.alerts()
            assert not alerts, [each["labels"] for each in alerts]
            return True

        await eventually(look, every=0.2)

    async def stop(self, process: str) -> None:
        await self.whole.processes[process].stop()

    async def start(self, process: str) -> None:
        await self.whole.processes[process].ready()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def everything(
    databases: Databases,
    private_pem: str,
    public_pem: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Watched]:
    """The system on a broker of its own, which a test may stop, watched by Prometheus."""
    urls = databases.make("auth"), databases.make("blog")
    with own_rabbitmq() as node:
        create_vhost(node.broker, "watched")
        amqp_url = node.broker.amqp_url("watched")
        system = System(*urls, amqp_url, private_pem, public_pem, tmp_path_factory.mktemp("system"))
        async with (
            running(system, **SETTINGS) as whole,
            watching(whole, tmp_path_factory.mktemp("prometheus")) as watching_it,
        ):
            yield Watched(whole, node, watching_it)
    for url in urls:
        databases.drop(url)


@asynccontextmanager
async def watching(whole: Whole, folder: Path) -> AsyncIterator[Prometheus]:
    targets = {job: urlsplit(whole.processes[command].url).netloc for job, command in JOBS.items()}
    async with prometheus(folder, targets) as watching_it:
        await eventually(partial(watching_it.scrapes, len(targets)), every=0.2)
        yield watching_it


@pytest_asyncio.fixture(loop_scope="module")
async def watched(everything: Watched) -> AsyncIterator[Watched]:
    """The same for each test, which begins and ends without an alert."""
    await everything.is_calm()
    yield everything
    await everything.is_calm()


async def test_every_panel_of_the_dashboard_shows_something(watched: Watched) -> None:
    """On live data: no expression names a metric or a label that does not exist."""
    expressions = dashboard_expressions()

    async def all_have_series() -> bool:
        found = {each: await watched.prometheus.query(each) for each in expressions}
        assert not [each for each, series in found.items() if not series]
        return True

    async with (
        loaded(watched.whole.auth, per_second=20),
        in_background(requesting(watched, "/v1/posts")),
    ):
        await eventually(all_have_series, every=0.5)
    assert len(expressions) > 20


async def test_a_consumer_that_is_stopped(watched: Watched) -> None:
    """Meanwhile more events follow than a busy moment brings."""
    await watched.stop(CONSUMER)
    await sign_up_many(watched.whole.auth, 1_050)
    await watched.fires("ProcessDown", "NothingArrives", "ReplicaNotProved", "QueueBacklog")
    await watched.start(CONSUMER)


async def test_a_relay_that_is_stopped(watched: Watched) -> None:
    await watched.stop(RELAY)
    await sign_up_many(watched.whole.auth, 1)
    await watched.fires("ProcessDown", "EventsNotPublished", "NothingArrives", "ReplicaNotProved")
    await watched.start(RELAY)


async def test_a_broker_that_is_stopped(watched: Watched) -> None:
    await asyncio.to_thread(watched.broker.stop)
    await watched.fires("EventsNotPublished", "NothingArrives", "ReplicaNotProved")
    await asyncio.to_thread(watched.broker.start)


async def test_a_message_that_is_parked(watched: Watched) -> None:
    await publish_rubbish(watched, 1)
    await watched.fires("MessagesParked")
    await discard_all(watched)


async def test_a_consumer_that_gives_up(watched: Watched) -> None:
    """The same code has failed ten times in a row."""
    await publish_rubbish(watched, 10)
    await watched.fires("MessagesParked", "ConsumerStopped", "NothingArrives", "ReplicaNotProved")
    await watched.stop(CONSUMER)
    await watched.start(CONSUMER)
    await discard_all(watched)


async def test_users_who_were_changed_by_hand(watched: Watched) -> None:
    await execute(
        watched.whole.blog,
        "UPDATE users SET email = 'mallory@example.org' WHERE id ="
        " (SELECT id FROM users WHERE deleted_at IS NULL LIMIT 1)",
    )
    await watched.fires("ReplicaDiffers")
    await watched.whole.succeeds("blog-service reconcile --repair")


async def test_requests_that_fail(watched: Watched) -> None:
    """A table is missing, as after an upgrade without its migrations."""
    await execute(watched.whole.blog, "ALTER TABLE posts RENAME TO elsewhere")
    async with in_background(requesting(watched, "/v1/posts")):
        await watched.fires("ServerErrors")
        await execute(watched.whole.blog, "ALTER TABLE elsewhere RENAME TO posts")


async def test_an_auth_api_that_is_stopped(watched: Watched) -> None:
    """A blog that restarts meanwhile has no key to verify tokens with."""
    whole = watched.whole
    auth_url, port = whole.processes[AUTH_API].url, urlsplit(whole.processes[BLOG_API].url).port
    await watched.stop(AUTH_API)
    await watched.fires("ProcessDown", "ReplicaNotProved")
    await watched.stop(BLOG_API)
    jwks_url = f"{auth_url}/.well-known/jwks.json"
    restarted = whole.system.process(
        BLOG_API, port, **SETTINGS, BLOG_JWKS_URL=jwks_url, BLOG_PUBLIC_KEY=None
    )
    restarted.start()
    try:
        await watched.fires("ProcessDown", "ReplicaNotProved", "KeysNotFetched")
        await watched.start(AUTH_API)
        await restarted.ready()
        await watched.is_calm()
    finally:
        await restarted.stop()
        await watched.start(BLOG_API)


async def test_a_signing_key_that_is_old(watched: Watched) -> None:
    await execute(
        watched.whole.auth,
        "UPDATE signing_keys SET activated_at = activated_at - interval '101 days'",
    )
    keys = requesting(watched, "/.well-known/jwks.json", AUTH_API)  # which reads them again
    async with in_background(keys):
        await watched.fires("SigningKeyOld")
        await execute(
            watched.whole.auth,
            "UPDATE signing_keys SET activated_at = activated_at + interval '101 days'",
        )
        await watched.is_calm()


async def requesting(watched: Watched, path: str, process: str = BLOG_API) -> None:
    """Send a request about every 50 ms until cancelled."""
    async with watched.whole.processes[process].client() as client:
        while True:
            await client.get(path)
            await asyncio.sleep(0.05)


async def publish_rubbish(watched: Watched, messages: int) -> None:
    async with source_on(watched.whole.system.amqp_url) as source:
        for number in range(messages):
            await source.publish_raw(f"rubbish {number}".encode())


async def discard_all(watched: Watched) -> None:
    """Discard the parked messages as the runbook says, until no more of them arrive."""
    system = watched.whole.system

    async def is_empty() -> bool:
        listed = await system.command("blog-service parked list --ids")
        if listed.stdout.strip():
            reason = "--because rubbish"
            await system.command(f"blog-service parked discard - {reason}", typed=listed.stdout)
            return False
        async with source_on(system.amqp_url) as source:
            return await source.ready() == 0

    await eventually(is_empty, every=0.5)
