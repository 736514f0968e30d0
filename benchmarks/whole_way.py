"""Measure the sustained rate of the whole way: events are recorded, relayed and applied at once."""

import asyncio
import time
from collections import deque
from contextlib import AsyncExitStack
from uuid import UUID

from benchmarks import contestants
from benchmarks.contestants import Process
from benchmarks.cpu import CpuMeter
from benchmarks.figures import Figures, Promise, Section, medians
from benchmarks.memory import Memory
from benchmarks.recording import BATCH, new_users, record_batch
from benchmarks.scale import Scale
from benchmarks.stage import Stage, connect
from benchmarks.tables import applied_per_second, until_applied

_HOW = """
Three processes share the two cores with PostgreSQL and RabbitMQ: the relay, the consumer, and a
producer. The producer records {batch} events in a transaction whenever fewer than {in_flight:,} are
in flight, so neither side waits for work and no queue grows. The rate comes from the replica's
`applied_at`, after the first tenth. The other pipeline has the same producer and the same tables.
Its outbox is polled once a second, and again at once while it finds events; 500 at a time are
published one by one. Its consumer is the FastStream handler of the measurement above. Memory is the
resident set; its growth is from the median of the second tenth of the samples to that of the last.
CPU time is that of each process, from the first event until all have arrived, by event.
"""

_IN_FLIGHT_MAX = 10 * BATCH
_LOOK_SECONDS = 0.05
_MEBIBYTE = 2**20


async def measure(stage: Stage, scale: Scale) -> Section:
    """Let our pipeline and the usual one take turns; then run a million events, if requested."""
    figures = medians([await _round(stage, scale) for _ in range(scale.rounds)])
    words = "memory of {} (MiB)"
    grown = "its growth during the run (MiB)"
    if scale.million:
        figures |= await _ours(stage, count=scale.million)
        words += f" over {scale.million:,} events"
    promises = [
        Promise(
            words="whole way ÷ polled outbox and FastStream",
            figure="whole_way_to_faststream_ratio",
            at_least=22,
        )
    ]
    for name, at_most in (("relay", 15), ("consumer", 38)):
        words_of_cpu = f"CPU of {name} by event (µs)"
        promises += [
            Promise(words=words_of_cpu, figure=f"{name}_cpu_us_per_event", at_most=at_most),
            Promise(words=words.format(name), figure=f"{name}_memory_mib", at_most=120),
            Promise(words=f"{name}: {grown}", figure=f"{name}_memory_growth_mib", at_most=10),
        ]
    return Section(
        title="The whole way",
        how=_HOW.format(batch=BATCH, in_flight=_IN_FLIGHT_MAX),
        figures=figures,
        promises=promises,
    )


async def _round(stage: Stage, scale: Scale) -> Figures:
    ours = await _ours(stage, seconds=scale.whole_way_seconds)
    peers = {
        "polled_relay": contestants.polled_relay(stage),
        "faststream_consumer": contestants.faststream_consumer(stage),
    }
    theirs = await sustained(stage, peers, seconds=scale.whole_way_seconds)
    rate = theirs["events_per_second"]
    return ours | {
        "faststream_whole_way_events_per_second": rate,
        "whole_way_to_faststream_ratio": ours["whole_way_events_per_second"] / rate,
    }


async def _ours(stage: Stage, *, seconds: float = 0.0, count: int = 0) -> Figures:
    processes = {"relay": contestants.relay(stage), "consumer": contestants.consumer(stage)}
    measured = await sustained(stage, processes, seconds=seconds, count=count, meters=True)
    measured["whole_way_events_per_second"] = measured.pop("events_per_second")
    return measured


async def sustained(
    stage: Stage,
    processes: dict[str, Process],
    *,
    seconds: float = 0.0,
    count: int = 0,
    meters: bool = False,
) -> Figures:
    """Run a pipeline for ``seconds`` after the first event arrived, or for ``count`` events.

    Parameters:
        processes: by name; the relay first, because it declares what consumers wait for.
        meters: whether to wait until all events have arrived, and return the CPU time of each.
    """
    spent: Figures = {}
    await stage.empty()
    async with AsyncExitStack() as stack:
        started = {
            name: await stack.enter_async_context(process) for name, process in processes.items()
        }
        memory = Memory()
        await stack.enter_async_context(memory.of(started))
        async with _Producer(stage) as producer:
            await producer.until_first_applied()
            meter = await CpuMeter.started(stage, started)
            end = time.monotonic() + seconds
            while producer.recorded < count or time.monotonic() < end:
                await producer.keep_up()
        if meters:
            await until_applied(stage.blog_url, producer.recorded)
            spent = await meter.us_per_event(producer.recorded)
    figures = {"events_per_second": await applied_per_second(stage.blog_url), **spent}
    for name in started:
        figures[f"{name}_memory_mib"] = memory.peak(name) / _MEBIBYTE
        figures[f"{name}_memory_growth_mib"] = memory.growth(name) / _MEBIBYTE
    return figures


class _Producer:
    """Records events in bulk, as fast as they arrive."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._on_the_way: deque[UUID] = deque()
        self.recorded = 0

    async def __aenter__(self) -> "_Producer":
        self._source = await connect(self._stage.auth_url)
        self._replica = await connect(self._stage.blog_url)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._source.close()
        await self._replica.close()

    async def until_first_applied(self) -> None:
        """Start the pipeline with one batch, and wait until some of it has arrived."""
        await self._record()
        await until_applied(self._stage.blog_url, 1)

    async def keep_up(self) -> None:
        """Refill the backlog; then wait a little."""
        arrived = await self._replica.fetch(
            "SELECT id FROM users WHERE id = ANY($1)", list(self._on_the_way)
        )
        for row in arrived:
            self._on_the_way.remove(row["id"])
        while len(self._on_the_way) * BATCH < _IN_FLIGHT_MAX:
            await self._record()
        await asyncio.sleep(_LOOK_SECONDS)

    async def _record(self) -> None:
        last = await record_batch(self._source, list(new_users(BATCH)))
        self._on_the_way.append(last)
        self.recorded += BATCH
