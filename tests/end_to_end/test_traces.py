"""One trace leads from a request through outbox, relay and broker to the replica's commit."""

import asyncio
import time
from collections.abc import Iterator
from functools import partial

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from contracts.events.names import EXCHANGE
from service_kit.process.tracing.sender import FLUSH_SECONDS_MAX
from tests.end_to_end.conftest import Person, Running, running_on
from tests.support.collector import Collector, Span, collecting
from tests.support.eventually import eventually
from tests.support.inbox import fetch
from tests.support.system import System

CALLERS = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
KINDS = ("SERVER", "PRODUCER", "CLIENT", "CONSUMER")


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as collector:
        yield collector


async def signed_up(running: Running, count: int, **headers: str) -> list[Person]:
    """Sign users up, with these headers, and wait until the blog knows them."""
    running.auth.headers.update(headers)
    people = [await running.sign_up() for _ in range(count)]
    for person in people:
        await eventually(partial(running.me, person, status="active"))
    return people


async def stopped(running: Running) -> None:
    members = (running.auth_api, running.relay, running.blog_api, running.consumer)
    assert set(await asyncio.gather(*(member.stop() for member in members))) == {0}


async def test_every_sign_up_has_one_trace_to_the_commit(
    system: System, collector: Collector, auth_engine: AsyncEngine
) -> None:
    """The message carries what leads to the span in which it was made, and so does the outbox."""
    async with running_on(system, **collector.environment) as running:
        people = await signed_up(running, 10)
        called = await signed_up(running, 1, traceparent=CALLERS)
        await stopped(running)

    rows = await fetch(
        auth_engine, "SELECT event_id, user_id, traceparent FROM outbox_events WHERE version > 0"
    )
    assert {str(row.user_id) for row in rows} == {each.id for each in (*people, *called)}
    for row in rows:
        trace = [span for span in collector.spans if span.trace_id == row.traceparent[3:35]]
        by_kind = {span.kind: span for span in trace}
        assert len(trace) == len(by_kind) == 4, [span.name for span in trace]
        server, create, send, process = (by_kind[kind] for kind in KINDS)
        assert create.path == row.traceparent[:-2]
        assert create.parent_id == server.span_id
        assert {send.parent_id, process.parent_id} == {create.span_id}
        assert send.links == process.links == [(create.trace_id, create.span_id)]
        assert server.began <= create.began <= send.began <= send.ended
        assert create.began <= process.began <= process.ended
        assert_named(server, create, send, process)
        for span in (send, process):
            assert span.attributes["messaging.message.id"] == str(row.event_id)
    roots = {span.parent_id for span in collector.named("POST /v1/signup")}
    assert roots == {"", CALLERS[36:52]}
    for personal in (b"@example", *(each.email.encode() for each in (*people, *called))):
        assert not any(personal in body for body in collector.bodies)


def assert_named(server: Span, create: Span, send: Span, process: Span) -> None:
    """Names, services and attributes are those of OpenTelemetry's conventions."""
    key, queue = "user.created", "blog.users"
    told = [(span.service, span.name) for span in (server, create, send, process)]
    assert told == [
        ("auth-service api", "POST /v1/signup"),
        ("auth-service api", f"create {EXCHANGE}:{key}"),
        ("auth-service relay", f"send {EXCHANGE}:{key}"),
        ("blog-service consumer", f"process {EXCHANGE}:{key}:{queue}"),
    ]
    assert server.attributes == {
        "http.request.method": "POST",
        "url.scheme": "http",
        "http.route": "/v1/signup",
        "http.response.status_code": 201,
    }
    for span, operation, outcome in (
        (create, "create", None),
        (send, "send", "confirmed"),
        (process, "process", "applied"),
    ):
        found = span.attributes
        assert found["messaging.system"] == "rabbitmq"
        assert found["messaging.operation.name"] == operation
        assert found["messaging.operation.type"] == operation
        assert found["messaging.destination.name"] == span.name.partition(" ")[2]
        assert found["messaging.rabbitmq.destination.routing_key"] == key
        assert found.get("usersync.outcome") == outcome
        assert ("server.address" in found) == (operation != "create")
        assert not span.is_error


async def test_what_is_not_sampled_is_not_sent(system: System, collector: Collector) -> None:
    """No span of any process, nor what FastAPI would send, such as exceptions' messages."""
    environment = {
        **collector.environment,
        "OTEL_TRACES_SAMPLER": "parentbased_always_off",
        "FASTAPI_OTEL_AUTO_CONFIGURE": "true",
    }
    async with running_on(system, **environment) as running:
        await signed_up(running, 3)
        await stopped(running)
    assert collector.bodies == []


async def test_a_collector_that_is_away_or_hangs_delays_nothing(
    system: System, collector: Collector
) -> None:
    """Users reach the blog as without traces, the log says so once, and the end is in time."""
    collector.hangs.set()
    async with running_on(system, **collector.environment) as running:
        await signed_up(running, 5)
        began = time.monotonic()
        await stopped(running)
        assert time.monotonic() - began < 10 + FLUSH_SECONDS_MAX
    with collecting() as gone:
        environment = gone.environment
    async with running_on(system, **environment) as running:
        await signed_up(running, 5)
        await eventually(lambda: "traces.not_sent" in running.consumer.log.read_text(), within=30)
        began = time.monotonic()
        await stopped(running)
        assert time.monotonic() - began < 10 + FLUSH_SECONDS_MAX
    for log in (running.consumer.log, running.auth_api.log):
        assert log.read_text().count("traces.not_sent") == 1


async def test_without_the_variables_the_callers_trace_is_followed_and_nothing_sent(
    system: System, collector: Collector, auth_engine: AsyncEngine
) -> None:
    environment = {**collector.environment, "OTEL_TRACES_EXPORTER": "none"}
    async with running_on(system, **environment) as running:
        await signed_up(running, 1, traceparent=CALLERS)
        await stopped(running)
    rows = await fetch(auth_engine, "SELECT traceparent FROM outbox_events WHERE version > 0")
    assert [row.traceparent for row in rows] == [CALLERS]
    assert collector.bodies == []
