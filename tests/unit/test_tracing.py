"""Spans: when they are recorded, what a message's span says, and what a slow collector costs."""

import time
from collections.abc import Iterator
from uuid import uuid4

import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.trace.v1.trace_pb2 import ScopeSpans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags
from structlog.testing import capture_logs

from contracts.traceparent import is_sampled
from service_kit.broker.tracing import step
from service_kit.process import tracing
from service_kit.process.errors import BadSettings
from service_kit.process.tracing import sender as sending
from service_kit.process.tracing.messages import MessageSpans, instant, new_span_ids
from service_kit.process.tracing.recorder import Recorder
from service_kit.process.tracing.sender import Sender
from service_kit.process.tracing.steps import Step
from tests.support.collector import Collector, collecting
from tests.support.eventually import eventually
from tests.support.programs import python

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
COLLECTOR = "http://127.0.0.1:4318"
ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
CREATED = step("create", "users", "user.created")
SENT = step("send", "users", "user.created", "", "confirmed", False, ("broker.example", 5672))


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    with collecting() as collector:
        for name, value in collector.environment.items():
            monkeypatch.setenv(name, value)
        yield collector


def test_the_standard_variables_turn_traces_on_and_off() -> None:
    for environment, asking in (
        ({}, None),
        ({ENDPOINT: COLLECTOR}, ENDPOINT),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": COLLECTOR}, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, "OTEL_TRACES_EXPORTER"),
        ({ENDPOINT: COLLECTOR, "OTEL_TRACES_EXPORTER": "none"}, None),
        ({ENDPOINT: COLLECTOR, "OTEL_SDK_DISABLED": "true"}, None),
        ({ENDPOINT: ""}, None),
    ):
        assert tracing.asked_by(environment) == asking, environment


def test_what_cannot_be_done_is_refused_with_the_variable() -> None:
    for name, value in (
        ("OTEL_TRACES_EXPORTER", "zipkin"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json"),
    ):
        with pytest.raises(BadSettings, match=name):
            tracing.asked_by({ENDPOINT: COLLECTOR, name: value})

    ended = python(
        "-c",
        "import sys; sys.modules['opentelemetry.sdk'] = None\n"
        "from service_kit.process import tracing\n"
        "try: tracing.begin('test')\nexcept Exception as error: print(error)",
        env={ENDPOINT: COLLECTOR},
    )
    assert "install usersync[otel]" in ended.stdout


def test_nothing_of_the_sdk_is_imported_while_traces_are_off() -> None:
    modules = ("auth_service.app", "auth_service.relay_process", "blog_service.app")
    consumer = "replica.consume"
    shown = python(
        "-c",
        f"import sys, {', '.join(modules)}, {consumer}\n"
        "from service_kit.process import tracing\ntracing.begin('test')\n"
        "print(*[name for name in sys.modules if name.startswith('opentelemetry')])",
        check=True,
    ).stdout.split()
    parts = {name.split(".")[1] for name in shown if "." in name}
    assert not parts & {"sdk", "proto", "exporter"}


@pytest.mark.parametrize(
    "given",
    [
        SENT,
        CREATED,
        step("process", "users", "user.deleted", "blog.users", "parked", True, None),
        step("process", "users", "100%", "%(trace)b", "applied", False, ("::1", 5671)),
    ],
    ids=lambda given: given.operation,
)
def test_rendered_spans_are_what_the_library_would_send(given: Step) -> None:
    """One and several, at first and from the template that was kept."""
    spans = MessageSpans()
    for count in (1, 3):
        span_ids, ids = new_span_ids(count), [uuid4() for _ in range(count)]
        traceparents = [f"00-{uuid4().hex}-{uuid4().hex[:16]}-01" for _ in range(count)]
        began, ended = time.time_ns(), time.time_ns() + 1
        has_id = given.operation != "create"
        rendered = spans.render(
            given, traceparents, ids if has_id else (), span_ids, instant(began), instant(ended)
        )
        expected = [
            expected_span(given, traceparent, str(each), span_id.hex(), began, ended)
            for traceparent, each, span_id in zip(traceparents, ids, batched(span_ids), strict=True)
        ]
        [of_process] = encode_spans(expected).resource_spans
        [of_scope] = of_process.scope_spans
        assert ScopeSpans.FromString(rendered).spans == of_scope.spans


def one_span() -> bytes:
    ids = [uuid4()], new_span_ids(1)
    return MessageSpans().render(SENT, [TRACE], *ids, instant(1), instant(2))


def batched(span_ids: bytes) -> list[bytes]:
    return [span_ids[at : at + 8] for at in range(0, len(span_ids), 8)]


def expected_span(
    given: Step, traceparent: str, message_id: str, span_id: str, began: int, ended: int
) -> ReadableSpan:
    is_remote = given.operation != "create"
    trace_id = int(traceparent[3:35], 16)

    def context(span_id: str, *, is_remote: bool) -> SpanContext:
        return SpanContext(trace_id, int(span_id, 16), is_remote, TraceFlags(TraceFlags.SAMPLED))

    parent = context(traceparent[36:52], is_remote=is_remote)
    attributes: dict[str, str | int] = {
        "messaging.system": "rabbitmq",
        "messaging.operation.name": given.operation,
        "messaging.operation.type": given.operation,
        "messaging.destination.name": given.destination,
        "messaging.rabbitmq.destination.routing_key": given.routing_key,
    }
    if is_remote:
        attributes["messaging.message.id"] = message_id
    if given.server:
        attributes["server.address"], attributes["server.port"] = given.server
    if given.outcome:
        attributes["usersync.outcome"] = given.outcome
    if given.is_error:
        attributes["error.type"] = given.outcome
    kinds = {"create": SpanKind.PRODUCER, "send": SpanKind.CLIENT, "process": SpanKind.CONSUMER}
    return ReadableSpan(
        name=f"{given.operation} {given.destination}",
        context=context(span_id, is_remote=False),
        parent=parent,
        resource=Resource({}),
        attributes=attributes,
        links=[Link(parent)] if is_remote else [],
        kind=kinds[given.operation],
        status=Status(StatusCode.ERROR) if given.is_error else Status(),
        start_time=began,
        end_time=ended,
    )


def test_a_request_continues_the_callers_trace_or_begins_one(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "named by the environment")
    recorder = Recorder("test")
    spans = [recorder.request("GET", "http", callers) for callers in (TRACE, None)]
    children = [recorder.created(CREATED, span.traceparent) for span in spans]
    for span in spans:
        span.end("GET", "/v1/me", 503)
    recorder.end()

    assert [span.traceparent[3:35] == TRACE[3:35] for span in spans] == [True, False]
    served = collector.named("GET /v1/me")
    assert [span.path for span in served] == [span.traceparent[:-2] for span in spans]
    assert [span.parent_id for span in served] == [TRACE[36:52], ""]
    assert {span.service for span in served} == {"named by the environment"}
    assert all(span.is_error and span.attributes["error.type"] == "503" for span in served)
    made = collector.named("create users:user.created")
    assert [span.path for span in made] == [child[:-2] for child in children]


def test_the_sampler_of_the_environment_decides(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the caller's choice or against it; what is not sampled carries that on."""
    unsampled = f"{TRACE[:-2]}00"
    for sampler, sampled in (
        ("always_on", [True, True, True]),
        ("parentbased_always_on", [True, True, False]),
        ("parentbased_always_off", [False, True, False]),
        ("always_off", [False, False, False]),
    ):
        monkeypatch.setenv("OTEL_TRACES_SAMPLER", sampler)
        recorder = Recorder("test")
        found = []
        for callers in (None, TRACE, unsampled):
            span = recorder.request("GET", "http", callers)
            assert recorder.created(CREATED, span.traceparent)[53:] == span.traceparent[53:]
            span.end("GET", None, 200)
            found.append(is_sampled(span.traceparent))
        recorder.end()
        assert found == sampled, sampler
        assert len(collector.spans) == 2 * sum(sampled), sampler
        collector.spans.clear()


async def test_a_collector_that_hangs_costs_spans_and_no_time(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "100")
    monkeypatch.setattr(sending, "FLUSH_SECONDS_MAX", 0.2)
    collector.hangs.set()
    sender, dropped = Sender(Resource({})), sending.counted.labels("dropped")
    before, began = dropped._value.get(), time.monotonic()
    rendered = one_span()
    for _ in range(30):
        sender.put_messages(50, rendered * 50)
    sender.end()
    assert time.monotonic() - began < 1
    assert dropped._value.get() - before >= 30 * 50 - 100 - 100


async def test_what_the_collector_refuses_is_counted_and_said_once(collector: Collector) -> None:
    collector.status = 400
    sender, failed = Sender(Resource({})), sending.counted.labels("failed")
    before = failed._value.get()
    rendered = one_span()
    with capture_logs() as logs:
        for count in (1, 2):
            sender.put_messages(1, rendered)
            await eventually(lambda count=count: failed._value.get() - before == count)  # type: ignore[misc]
        collector.status = 200
        sender.put_messages(1, rendered)
        await eventually(lambda: collector.spans)
        sender.end()
    said = [line["event"] for line in logs]
    assert said.count("traces.not_sent") == 1
    assert said.count("traces.sent_again") == 1
