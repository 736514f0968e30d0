"""A cluster of three RabbitMQ nodes, whose addresses the services have: one node is killed."""

import asyncio
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from uuid import UUID

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.support.broker_cluster import BrokerCluster, Node, broker_cluster
from tests.support.eventually import eventually
from tests.support.load import loaded, sign_up
from tests.support.settled import figure, grows, published, settled
from tests.support.source import source_on
from tests.support.system import System, at_work

PROGRESS_SECONDS_MAX = 3.0
"""From the death of the node in use until a user who signed up then is in the replica."""

VHOST = "cluster"


@pytest.fixture(scope="module")
def cluster() -> Iterator[BrokerCluster]:
    with broker_cluster() as cluster:
        yield cluster


@pytest.mark.slow
async def test_events_continue_within_seconds_when_the_node_in_use_is_killed(
    system: System, cluster: BrokerCluster, auth_engine: AsyncEngine
) -> None:
    """It also led the queues: their consumer declared them there. Nothing is lost."""
    await cluster.make_vhost(VHOST)
    elsewhere = replace(system, amqp_url=cluster.amqp_urls(VHOST))
    relay = elsewhere.process("auth-service relay")
    consumer = elsewhere.process("blog-service consumer")
    in_use, second, _ = cluster.nodes
    async with at_work(relay, consumer):
        async with loaded(auth_engine, per_second=100):
            await grows(partial(published, system.auth_url), 100)
            await eventually(lambda: _is_used(in_use))
            await asyncio.to_thread(in_use.kill)
            began = time.monotonic()
            async with auth_engine.begin() as connection:
                newest = await sign_up(connection)
            await eventually(lambda: _is_known(system, newest))
            seconds = time.monotonic() - began
        print(f"in the replica {seconds:.2f} s after the node in use was killed")
        async with source_on(second.broker.amqp_url(VHOST), declare=False) as source:
            await settled(system, source)
        status = json.loads((await elsewhere.command("blog-service status --json")).stdout)
        assert status["queue_depth"] == 0
    assert seconds < PROGRESS_SECONDS_MAX


async def _is_used(node: Node) -> bool:
    """Return whether relay and consumer are connected to this node."""
    names = await asyncio.to_thread(node.broker.connections, VHOST)
    return sum(name.endswith(f":{node.ports.amqp}") for name in names) >= 2


async def _is_known(system: System, user_id: UUID) -> bool:
    return bool(await figure(system.blog_url, f"SELECT count(*) FROM users WHERE id = '{user_id}'"))
