"""Measure how fast the log is replayed, beside the relay, and the effect on live events."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from auth_service.replays.model import State
from benchmarks import contestants
from benchmarks.client import WARM_UP
from benchmarks.figures import Figures, Promise, Section, medians, percentile
from benchmarks.latency import RATE, latencies, replica_notifying
from benchmarks.memory import Memory
from benchmarks.processes import CommandFailed, answer
from benchmarks.recording import fill_log, record_all
from benchmarks.scale import Scale
from benchmarks.stage import Stage, connect
from benchmarks.tables import last_position, published_per_second, until_published
from benchmarks.waiting import until
from blog_service.replica_of_users import USERS
from contracts.sync.replay_limits import RATE_MAX
from local.paths import program

_HOW = """
First {events:,} events are recorded and relayed, as in the measurement of the relay. Then the same
relay process replays the same events from the log, as fast as it can. No consumer runs meanwhile.
Both rates exclude the first tenth. The log has {log:,} other events.

Then the whole log is replayed, as fast as possible, to an empty replica whose consumer applies it,
while {rate} live events a second go the whole way. Their latency is measured as in the measurement
above. The replay is cancelled when they have arrived, and the figures count only if it was still
running. Memory is the resident set; its growth is computed as for the whole way.
"""

_PROCESSES: Final = ("relay", "consumer")
_MEGABYTE: Final = 1e6
_WAIT_SECONDS_MAX: Final = 300.0

_PROGRESS: Final = "SELECT state, published, updated_at, trouble FROM replays WHERE id = $1"


async def measure(stage: Stage, scale: Scale) -> Section:
    """Let relay and replay take turns; then measure live events beside a replay."""
    await stage.empty()
    await fill_log(stage, stage.auth_url, scale.long_log_rows)
    async with replica_notifying(stage):
        figures = medians([await _round(stage, scale) for _ in range(scale.rounds)])
    promises = [
        Promise(
            words="replay from the log ÷ relay of the same events",
            figure="replay_to_relay_ratio",
            at_least=0.9,
        ),
        Promise(
            words=f"commit to commit at {RATE}/s beside a replay, p99 (ms)",
            figure="latency_beside_replay_p99_ms",
            at_most=40,
        ),
    ]
    for name in _PROCESSES:
        figure, words = f"replay_{name}_memory", f"beside a replay, memory of {name}"
        promises += [
            Promise(words=f"{words} (MB)", figure=f"{figure}_mb", at_most=250),
            Promise(
                words=f"{words}: its growth during the run (MB)",
                figure=f"{figure}_growth_mb",
                at_most=10,
            ),
        ]
    return Section(
        title="Replay",
        how=_HOW.format(events=scale.events, log=scale.long_log_rows, rate=RATE),
        figures=figures,
        promises=promises,
    )


async def _round(stage: Stage, scale: Scale) -> Figures:
    await stage.empty_replica()
    before = await last_position(stage.auth_url)
    await record_all(stage.auth_url, scale.events)
    async with contestants.relay(stage):
        await until_published(stage.auth_url)
        replayed = await _replayed_per_second(stage, scale.events, from_position=before + 1)
    relayed = await published_per_second(stage.auth_url, after=before)
    figures = {
        "relayed_events_per_second": relayed,
        "replayed_events_per_second": replayed,
        "replay_to_relay_ratio": replayed / relayed,
    }
    await stage.empty_replica()
    return figures | await _beside_live(stage, scale.latency_seconds)


async def _replayed_per_second(stage: Stage, count: int, *, from_position: int) -> float:
    """Replay ``count`` events to an unused queue; return the rate after the warm-up."""
    replay_id = await _start(stage, "--from-position", str(from_position))
    warm = await _until(stage, replay_id, lambda now: now.published >= WARM_UP * count)
    done = await _until(stage, replay_id, lambda now: now.state == State.DONE)
    return done.per_second_since(warm)


async def _beside_live(stage: Stage, seconds: float) -> Figures:
    memory = Memory()
    async with contestants.relay(stage) as relay, contestants.consumer(stage) as consumer:
        async with memory.of({"relay": relay, "consumer": consumer}):
            replay_id = await _start(stage)
            begin = await _until(stage, replay_id, lambda now: now.published > 0)
            live = await latencies(stage, seconds)
            end = await _progress(stage, replay_id)
        if end.state != State.RUNNING:
            raise CommandFailed("the replay was over before the live events had arrived")
        await _replay_command(stage, "cancel", str(replay_id))
    figures = {
        "latency_beside_replay_p50_ms": percentile(live, 0.5),
        "latency_beside_replay_p99_ms": percentile(live, 0.99),
        "replayed_beside_live_events_per_second": end.per_second_since(begin),
    }
    for name in _PROCESSES:
        figures[f"replay_{name}_memory_mb"] = memory.peak(name) / _MEGABYTE
        figures[f"replay_{name}_memory_growth_mb"] = memory.growth(name) / _MEGABYTE
    return figures


@dataclass(frozen=True, slots=True)
class _Progress:
    """The progress of a replay at ``at``, when it was last recorded; None before that."""

    state: str
    published: int
    at: datetime | None
    trouble: str | None

    def per_second_since(self, before: "_Progress") -> float:
        """Return the rate between two readings; something was published before either."""
        assert self.at is not None  # a published count implies a time
        assert before.at is not None  # likewise
        return (self.published - before.published) / (self.at - before.at).total_seconds()


async def _progress(stage: Stage, replay_id: UUID) -> _Progress:
    connection = await connect(stage.auth_url)
    try:
        row = await connection.fetchrow(_PROGRESS, replay_id)
        assert row is not None  # it was started a moment ago
        return _Progress(*row)
    finally:
        await connection.close()


async def _until(stage: Stage, replay_id: UUID, holds: Callable[[_Progress], bool]) -> _Progress:
    """Read until ``holds``; return what was read then."""
    seen: list[_Progress] = []

    async def look() -> bool:
        seen.append(await _progress(stage, replay_id))
        if seen[-1].trouble is not None:
            raise CommandFailed(f"the replay does not get on: {seen[-1].trouble}")
        return holds(seen[-1])

    await until("the replay is far enough", look, seconds_max=_WAIT_SECONDS_MAX)
    return seen[-1]


async def _start(stage: Stage, *options: str) -> UUID:
    rate = ("--rate", str(RATE_MAX))
    return UUID(
        (await _replay_command(stage, "start", "--to", USERS.service, *rate, *options))["id"]
    )


async def _replay_command(stage: Stage, *arguments: str) -> dict[str, Any]:
    command = [str(program("auth-service")), "replay", *arguments, "--json"]
    return await answer("replay", command, {"AUTH_DATABASE_URL": stage.auth_url})
