"""Test that messages dead-lettered because of a limit are retried."""

import asyncio
from typing import Any

from pamqp.commands import Basic
from structlog.testing import capture_logs

from blog_service.replica_of_users import USERS
from local.broker import Broker
from replica.inbox.faults import gave_up_by_limit
from replica.inbox.queue_limits import log_strict_limits
from tests.support.builders import a_state, an_event
from tests.support.eventually import eventually
from tests.support.inbox import Inbox, fetch, parked
from tests.support.settings import having
from tests.support.source import DEAD, LIVE, Source


async def test_a_delivery_limit_loses_nobody(inbox: Inbox, broker: Broker, vhost: str) -> None:
    await inbox.declare()
    policy = {"delivery-limit": 1}
    await asyncio.to_thread(broker.set_policy, vhost, "strict", "^blog.users$", policy)
    events = [an_event(a_state()) for _ in range(40)]
    await inbox.source.publish(*events)
    await inbox.source.publish_raw(b"rubbish")
    for _ in range(3):
        await _give_all_back(inbox.source)
    await inbox.source.has_ready(len(events) + 1, DEAD, within=20)

    async with inbox.consuming():
        await inbox.has_applied(len(events))
        await inbox.has_parked(1)

    assert [row.reason for row in await parked(inbox.engine)] == ["not_a_cloud_event"]
    assert await fetch(inbox.engine, "SELECT * FROM waiting_messages") == []
    assert await inbox.source.ready(DEAD) == 0


async def test_too_strict_a_policy_is_logged(inbox: Inbox, broker: Broker, vhost: str) -> None:
    """At each start, with its limits; a missing management API is logged at info level."""
    await inbox.declare()
    policy = {"delivery-limit": 3, "message-ttl": 60_000}
    await asyncio.to_thread(broker.set_policy, vhost, "strict", "^blog.users$", policy)

    async def logged(url: str) -> list[Any]:
        with capture_logs() as logs:
            settings = having(inbox.settings, rabbitmq_management_url=url)
            await log_strict_limits(USERS.queues, settings)
        return logs

    async def told() -> bool:
        logs = await logged(broker.management_url)
        found = [log for log in logs if log["event"] == "queue.limits_too_strict"]
        assert [(log["queue"], log["limits"]) for log in found] == [(LIVE, policy)]
        return True

    await eventually(told, every=0.5)
    logs = await logged("http://127.0.0.1:9")
    assert [(log["event"], log["log_level"]) for log in logs] == [("queue.limits_unknown", "info")]


def test_the_broker_header_says_who_rejected_a_message() -> None:
    """A limit, by the broker's header, or a person, whose decision stands."""
    cases: list[tuple[dict[str, Any] | None, bool]] = [
        ({"x-death": [{"reason": "delivery_limit", "count": 1}]}, True),
        ({"x-death": [{"reason": "expired"}]}, True),
        ({"x-death": [{"reason": "maxlen"}, {"reason": "rejected"}]}, True),
        ({"x-death": [{"reason": "rejected"}, {"reason": "maxlen"}]}, False),
        ({"x-death": []}, False),
        ({"x-death": "delivery_limit"}, False),
        ({"x-death": ["delivery_limit"]}, False),
        ({}, False),
        (None, False),
    ]
    for headers, by_limit in cases:
        assert gave_up_by_limit(headers) is by_limit, headers


async def _give_all_back(source: Source) -> None:
    channel, last = source.channel, None
    while isinstance(got := (await channel.basic_get(LIVE)).delivery, Basic.GetOk):
        last = got.delivery_tag
    if last:
        await channel.basic_nack(last, multiple=True, requeue=True)
