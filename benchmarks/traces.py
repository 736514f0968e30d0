"""Measure what traces cost the consumer: off, on with every message sampled, on with none."""

from collections.abc import Mapping
from types import MappingProxyType

from benchmarks import client, contestants, cpu
from benchmarks.figures import Figures, Promise, Section, medians
from benchmarks.recording import new_users
from benchmarks.scale import Scale
from benchmarks.stage import Stage
from benchmarks.tables import applied, applied_per_second, until_applied
from local.addresses import url
from local.ports import free_port

_HOW = """
As for *Apply*, and each message carries a `traceparent`. With traces on, the consumer sends a span
for each sampled message to a collector, which is a process of its own and discards them; its work
takes the two cores from the others, which is unfair to us. CPU time is that of the consumer's
process, all threads included, after the first tenth. A machine that is busy with other work makes
the rates useless and leaves the CPU times.
"""


async def measure(stage: Stage, scale: Scale) -> Section:
    """Let consumers without traces, with every message sampled and with none take turns."""
    return Section(
        title="Traces",
        how=_HOW,
        figures=medians([await _round(stage, scale) for _ in range(scale.rounds)]),
        promises=[
            Promise(
                words="apply with every message traced ÷ traces off",
                figure="apply_traced_to_off_ratio",
                at_least=0.9,
            ),
            Promise(
                words="apply with traces on, nothing sampled ÷ traces off",
                figure="apply_unsampled_to_off_ratio",
                at_least=0.98,
            ),
        ],
    )


async def _round(stage: Stage, scale: Scale) -> Figures:
    port = free_port()
    on = {"OTEL_EXPORTER_OTLP_ENDPOINT": url(port)}
    async with contestants.discarding_collector(port):
        off_rate, off_cpu = await _applied(stage, scale.traced_events, is_sampled=True)
        rate, spent = await _applied(stage, scale.traced_events, is_sampled=True, variables=on)
        unsampled_rate, unsampled_cpu = await _applied(
            stage, scale.traced_events, is_sampled=False, variables=on
        )
    return {
        "apply_off_events_per_second": off_rate,
        "apply_traced_events_per_second": rate,
        "apply_unsampled_events_per_second": unsampled_rate,
        "apply_off_cpu_us_per_event": off_cpu,
        "apply_traced_cpu_us_per_event": spent,
        "apply_unsampled_cpu_us_per_event": unsampled_cpu,
        "apply_traced_to_off_ratio": rate / off_rate,
        "apply_unsampled_to_off_ratio": unsampled_rate / off_rate,
        "apply_traced_to_off_cpu_ratio": spent / off_cpu,
        "apply_unsampled_to_off_cpu_ratio": unsampled_cpu / off_cpu,
    }


async def _applied(
    stage: Stage,
    count: int,
    *,
    is_sampled: bool,
    variables: Mapping[str, str] = MappingProxyType({}),
) -> tuple[float, float]:
    """Return events per second, and microseconds of CPU for each."""
    await stage.empty()
    await client.publish(stage, list(new_users(count)), is_sampled=is_sampled)
    async with contestants.consumer(stage, variables) as consumer:
        await until_applied(stage.blog_url, int(client.WARM_UP * count))
        begun, before = await applied(stage.blog_url), cpu.of_processes([consumer])
        await until_applied(stage.blog_url, count)
        spent = cpu.of_processes([consumer]) - before
    return await applied_per_second(stage.blog_url), spent / (count - begun) * 1e6
