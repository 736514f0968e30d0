"""Measure how fast messages are applied, beside the bare client, FastStream and dramatiq."""

from benchmarks import client, contestants
from benchmarks.contestants import Process
from benchmarks.figures import Figures, Promise, Section, medians
from benchmarks.peers.dramatiq_queue import enqueue
from benchmarks.recording import new_users
from benchmarks.scale import Scale
from benchmarks.stage import Stage
from benchmarks.tables import applied_per_second, until_applied

_HOW = """
The messages wait in the queue before the process starts, and each creates another user. The rate
comes from the rows' `applied_at`, after the first tenth. The client takes the same messages from
the same queue with a prefetch of 500 and `multiple` acks, and discards them. This is unfair to us:
the client neither decodes nor stores them. FastStream takes them from the same queue, with a
handler that has a pydantic model and one version-guarded upsert in a transaction through
SQLAlchemy, acknowledged after the commit, ten at a time. It writes its own log lines (two per
message), as it ships. This is unfair to FastStream where they are switched off. dramatiq has a
message format of its own and a classic queue. It runs eight threads, each with an asyncpg
connection, because the locked packages have no synchronous driver, without SQLAlchemy and without
log lines. This is unfair to us.
"""


async def measure(stage: Stage, scale: Scale) -> Section:
    """Let the bare client, our consumer, FastStream and dramatiq take turns."""
    return Section(
        title="Apply",
        how=_HOW,
        figures=medians([await _round(stage, scale) for _ in range(scale.rounds)]),
        promises=[
            Promise(
                words="apply ÷ the client's own consume rate",
                figure="apply_to_client_ratio",
                at_least=0.8,
            ),
            Promise(
                words="apply ÷ FastStream, one upsert transaction per message",
                figure="apply_to_faststream_ratio",
                at_least=35,
            ),
            Promise(
                words="apply ÷ dramatiq, eight threads",
                figure="apply_to_dramatiq_ratio",
                at_least=11,
            ),
        ],
    )


async def _round(stage: Stage, scale: Scale) -> Figures:
    await stage.empty()
    await client.publish(stage, list(new_users(scale.events)))
    limit = await client.consume(stage, scale.events)
    await client.publish(stage, list(new_users(scale.events)))
    ours = await _applied(stage, contestants.consumer(stage), scale.events)
    await stage.empty()
    await client.publish(stage, list(new_users(scale.faststream_events)))
    faststream = await _applied(
        stage, contestants.faststream_consumer(stage), scale.faststream_events
    )
    await stage.empty()
    enqueue(stage.amqp_url, scale.dramatiq_events)
    dramatiq = await _applied(stage, contestants.dramatiq_consumer(stage), scale.dramatiq_events)
    return {
        "client_consume_events_per_second": limit,
        "apply_events_per_second": ours,
        "faststream_apply_events_per_second": faststream,
        "dramatiq_apply_events_per_second": dramatiq,
        "apply_to_client_ratio": ours / limit,
        "apply_to_faststream_ratio": ours / faststream,
        "apply_to_dramatiq_ratio": ours / dramatiq,
    }


async def _applied(stage: Stage, process: Process, count: int) -> float:
    async with process:
        await until_applied(stage.blog_url, count)
    return await applied_per_second(stage.blog_url)
