"""Test that a consumer that applies nothing is not ready, and says why."""

import time

import pytest
from prometheus_client import REGISTRY
from sqlalchemy.ext.asyncio import AsyncEngine

from blog_service.replica_of_users import USERS
from blog_service.settings import ConsumerSettings
from contracts.events import Beat
from replica.inbox import metrics
from replica.inbox.activity import HEARTBEAT_SECONDS_MAX, Activity, State
from replica.inbox.consumer import Consumer
from replica.inbox.readiness import (
    BATCH_SECONDS_MAX,
    NO_HEARTBEAT_YET,
    BrokerAway,
    NoHeartbeat,
    NothingApplied,
    Stopped,
    why_degraded,
)
from replica.inbox.waiting import MESSAGES_WAIT
from replica.status.metrics import refresh
from tests.support.background import in_background
from tests.support.builders import a_state, an_event
from tests.support.database_sessions import holding
from tests.support.eventually import eventually
from tests.support.inbox import Inbox, apply_events, execute
from tests.support.settings import having


@pytest.fixture
def activity() -> Activity:
    """A consumer that has run long enough to have received a heartbeat."""
    activity = Activity()
    activity.enter(State.CONSUMING)
    activity.consuming_since -= HEARTBEAT_SECONDS_MAX + 1
    return activity


async def test_three_missed_heartbeats(activity: Activity, blog_engine: AsyncEngine) -> None:
    """An old heartbeat is not ready, except right after the start."""
    await apply_events(blog_engine, Beat(number=1))
    assert await why_degraded(activity, blog_engine) is None
    late = f"interval '{HEARTBEAT_SECONDS_MAX + 1} s'"
    await execute(blog_engine, f"UPDATE heartbeats SET applied_at = now() - {late}")
    with pytest.raises(NoHeartbeat):
        await why_degraded(activity, blog_engine)
    activity.enter(State.CONSUMING)
    assert await why_degraded(activity, blog_engine) is None


async def test_a_source_whose_heartbeats_are_rarer(
    activity: Activity, consumer_settings: ConsumerSettings, blog_engine: AsyncEngine
) -> None:
    """The setting allows an age at which the default would call the source silent."""
    rarer = having(consumer_settings, heartbeat_seconds_max=180.0)
    consumer = Consumer(USERS, rarer, blog_engine)
    consumer.activity = activity
    activity.consuming_since -= 180
    await apply_events(blog_engine, Beat(number=1))
    await execute(blog_engine, "UPDATE heartbeats SET applied_at = now() - interval '100 s'")
    assert await consumer.ready() is None
    await execute(blog_engine, "UPDATE heartbeats SET applied_at = now() - interval '181 s'")

    with pytest.raises(NoHeartbeat):
        await consumer.ready()


async def test_before_the_first_heartbeat(activity: Activity, blog_engine: AsyncEngine) -> None:
    """The source may be new, so this is degraded but no alarm."""
    assert await why_degraded(activity, blog_engine) == NO_HEARTBEAT_YET
    activity.enter(State.CONSUMING)
    assert await why_degraded(activity, blog_engine) is None


@pytest.mark.parametrize(
    ("state", "error"), [(State.WAITING, BrokerAway), (State.STOPPED, Stopped)], ids=str
)
async def test_a_consumer_that_is_not_consuming_is_not_ready(
    activity: Activity, blog_engine: AsyncEngine, state: State, error: type[Exception]
) -> None:
    activity.enter(state)
    with pytest.raises(error):
        await why_degraded(activity, blog_engine)


async def test_a_batch_that_takes_too_long(activity: Activity, blog_engine: AsyncEngine) -> None:
    await apply_events(blog_engine, Beat(number=1))
    with activity.busy("replays"), activity.busy("live"):
        assert await why_degraded(activity, blog_engine) is None
        activity.busy_since["live"] = time.monotonic() - BATCH_SECONDS_MAX - 1
        with pytest.raises(NothingApplied):
            await why_degraded(activity, blog_engine)
    assert await why_degraded(activity, blog_engine) is None


async def test_messages_set_aside_make_it_degraded(inbox: Inbox) -> None:
    """A locked row: the consumer works, but the replica is incomplete."""
    state = a_state()
    await apply_events(inbox.engine, state, Beat(number=1))

    async with inbox.consuming() as consumer:
        async with holding(inbox.engine, "SELECT FROM users FOR UPDATE"):
            await inbox.source.publish(an_event(a_state(state.id, 2)))
            await eventually(lambda: _says(consumer.ready(), MESSAGES_WAIT))
        await eventually(lambda: _says(consumer.ready(), None))
        await refresh(USERS, inbox.engine)
        states = shown_states()

    assert states == {"consuming": 1, "waiting": 0, "stopped": 0}
    assert (REGISTRY.get_sample_value("usersync_heartbeat_age_seconds") or 0) > 0


async def test_the_metric_has_a_state_from_the_start(
    consumer_settings: ConsumerSettings, blog_engine: AsyncEngine, unused_port: int
) -> None:
    """Also if the broker is away then."""
    metrics.state.clear()
    away = having(consumer_settings, amqp_url=f"amqp://guest:guest@127.0.0.1:{unused_port}/")
    async with in_background(Consumer(USERS, away, blog_engine).run()):
        await eventually(lambda: shown_states() == {"consuming": 0, "waiting": 1, "stopped": 0})


def shown_states() -> dict[str, float | None]:
    """Return what this process shows of its consumer's state to Prometheus."""
    return {
        state.value: REGISTRY.get_sample_value("usersync_consumer_state", {"state": state.value})
        for state in State
    }


async def _says(asked: object, expected: str | None) -> bool:
    said = await asked  # type: ignore[misc]
    assert said == expected, f"it says {said}"
    return True
