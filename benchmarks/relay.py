"""Measure how fast the relay publishes, beside its bare client, and beside a long log."""

from benchmarks import client, contestants
from benchmarks.figures import Figures, Promise, Section, medians
from benchmarks.recording import fill_log, new_users, record_all
from benchmarks.scale import Scale
from benchmarks.stage import Stage
from benchmarks.tables import last_position, published_per_second, until_published

_HOW = """
The events are recorded before the relay starts; the rate comes from `published_at`, after the first
tenth. The client publishes the same messages, made beforehand, to the same exchange and queue with
100 confirms in flight and nothing else to do. It neither makes messages nor reads or marks rows, so
the ratio is unfair to the relay. The same number of events is relayed from a log of {short:,} and
from one of {long:,} published rows, each in a database of its own.
"""


async def measure(stage: Stage, scale: Scale) -> Section:
    """Let client, relay and relay beside a long log take turns."""
    await fill_log(stage, stage.long_url, scale.long_log_rows)
    figures = medians([await _round(stage, scale) for _ in range(scale.rounds)])
    return Section(
        title="Relay",
        how=_HOW.format(short=scale.short_log_rows, long=scale.long_log_rows),
        figures=figures,
        promises=[
            Promise(
                words="relay ÷ the same client without a database",
                figure="relay_to_client_ratio",
                at_least=2.2,
            ),
            Promise(
                words="relay with a long log ÷ with a short one",
                figure="relay_long_log_to_short_log_ratio",
                at_least=0.9,
            ),
        ],
    )


async def _round(stage: Stage, scale: Scale) -> Figures:
    await stage.empty()
    limit = await client.publish(stage, list(new_users(scale.events)))
    await stage.empty()
    await fill_log(stage, stage.auth_url, scale.short_log_rows)
    short = await _relayed(stage, stage.auth_url, scale.events)
    await stage.empty()
    long = await _relayed(stage, stage.long_url, scale.events)
    return {
        "client_publish_events_per_second": limit,
        "relay_events_per_second": short,
        "relay_long_log_events_per_second": long,
        "relay_to_client_ratio": short / limit,
        "relay_long_log_to_short_log_ratio": long / short,
    }


async def _relayed(stage: Stage, database_url: str, count: int) -> float:
    before = await last_position(database_url)
    await record_all(database_url, count)
    async with contestants.relay(stage, database_url=database_url):
        await until_published(database_url)
    return await published_per_second(database_url, after=before)
