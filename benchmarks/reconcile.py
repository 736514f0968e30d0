"""Measure how long a replica takes to compare itself with its source, and to load from it."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final

from benchmarks import contestants
from benchmarks.accounts import create_account, source_settings
from benchmarks.copying import copy_users, table_to_copy_to
from benchmarks.counting import counting_proxy
from benchmarks.figures import Figures, Promise, Section, medians
from benchmarks.memory import Memory
from benchmarks.processes import CommandFailed, answer
from benchmarks.recording import make_users
from benchmarks.scale import Scale
from benchmarks.stage import Stage, connect
from benchmarks.waiting import until
from contracts.sync.digest_sql import computed_sql
from local.paths import program
from local.ports import free_port
from replica.reconcile.model import Verdict

_HOW = """
{users:,} users, one in ten of them deleted; `auth-service api`, relay and consumer run on the
same cores. A bootstrap is `blog-service reconcile --repair` on an empty replica. It is compared
with COPY of the same columns of the same rows from one database to the other: two connections in
one process, binary format, into a table with the same primary key and nothing else. This is unfair
to us: COPY neither checks a row nor proves the result. A comparison is compared with the bare
digest query, first in one database, then in the other, with our settings (no JIT). Seconds are
those between the run's own `started_at` and `finished_at`; the start of the command is shown
separately. A proxy counts the bytes on the wire in both directions, the request for the token
included, without TCP's own headers. For the third promise, one address is overwritten in the
replica's table. Statistics are updated (VACUUM, ANALYZE) before comparisons.

Memory is the resident set, sampled ten times a second, the maximum of all rounds. Its growth is the
difference between {users:,} users and {few:,}. Once with each number, the consumer fills the empty
replica by itself; its memory is measured then.
"""

_PROCESSES: Final = {
    "reconcile": "the reconcile command",
    "consumer": "the consumer that fills its replica",
    "api": "the auth API that is asked",
    "relay": "the relay beside it",
}
_MEGABYTE: Final = 1e6
_WAIT_SECONDS_MAX: Final = 900.0

_VACUUM: Final = "VACUUM (ANALYZE) users"
_DAMAGE: Final = """
    UPDATE users SET email = 'changed@example.org'
    WHERE id = (SELECT id FROM users WHERE deleted_at IS NULL ORDER BY id LIMIT 1)
"""
_ENDED: Final = """
    SELECT verdict, explanation, compared,
           extract(epoch FROM finished_at - started_at)::float8 AS seconds
    FROM reconcile_runs WHERE finished_at IS NOT NULL
"""


@dataclass(frozen=True, slots=True)
class _Pair:
    """Both sides' addresses, and the replica's settings; the source listens on ``port``."""

    stage: Stage
    account: Mapping[str, str]
    port: int


async def measure(stage: Stage, scale: Scale) -> Section:
    """Load the replica and compare it, in turns with COPY and the bare digests."""
    await stage.empty()
    few = scale.users // 10
    with_few, with_all = Memory(), Memory()
    pair = _Pair(stage, await create_account(stage), free_port())
    async with (
        table_to_copy_to(stage),
        contestants.relay(stage) as relay,
        contestants.api(stage, pair.port) as api,
    ):
        services = {"relay": relay, "api": api}
        await make_users(stage, 1, few)
        async with with_few.of(services):
            await _round(pair, with_few, users=few)
            await _filled_by_consumer(pair, with_few, users=few)
        await make_users(stage, few + 1, scale.users)
        async with with_all.of(services):
            rounds = [await _round(pair, with_all, users=scale.users) for _ in range(scale.rounds)]
            alone = await _filled_by_consumer(pair, with_all, users=scale.users)
    figures = medians(rounds) | {"bootstrap_by_consumer_seconds": alone}
    for name in _PROCESSES:
        peak = with_all.peak(name)
        figures[f"bootstrap_{name}_memory_mb"] = peak / _MEGABYTE
        figures[f"bootstrap_{name}_memory_growth_mb"] = (peak - with_few.peak(name)) / _MEGABYTE
    return Section(
        title="Reconcile",
        how=_HOW.format(users=scale.users, few=few),
        figures=figures,
        promises=_promises(),
    )


def _promises() -> list[Promise]:
    promises = [
        Promise(
            words="bootstrap of an empty replica ÷ COPY of the same rows (time)",
            figure="bootstrap_to_copy_ratio",
            at_most=2.8,
        ),
        Promise(
            words="comparing when nothing differs ÷ the bare digests of both sides (time)",
            figure="in_step_to_digests_ratio",
            at_most=2,
        ),
        Promise(words="the same, over the wire (kB)", figure="in_step_wire_kb", at_most=100),
        Promise(
            words="one user differs, found and repaired ÷ nothing differs (time)",
            figure="one_differs_to_in_step_ratio",
            at_most=1.2,
        ),
    ]
    for name, process in _PROCESSES.items():
        figure = f"bootstrap_{name}_memory"
        promises += [
            Promise(words=f"memory of {process} (MB)", figure=f"{figure}_mb", at_most=250),
            Promise(
                words=f"{process}: growth from a tenth of the users to all (MB)",
                figure=f"{figure}_growth_mb",
                at_most=10,
            ),
        ]
    return promises


async def _round(pair: _Pair, memory: Memory, *, users: int) -> Figures:
    stage = pair.stage
    copied = await copy_users(stage)
    await stage.empty_replica()
    async with contestants.consumer(stage), counting_proxy(pair.port) as proxy:
        filled = await _reconciled(pair, memory, repaired={"missing": users})
        await stage.run(stage.blog_url, _VACUUM)
        digests = sum([await _digested(url) for url in (stage.blog_url, stage.auth_url)])
        started = time.perf_counter()
        in_step = await _reconciled(pair, memory, port=proxy.port)
        whole_command = time.perf_counter() - started
        passed = proxy.passed
        await stage.run(stage.blog_url, _DAMAGE)
        one_differs = await _reconciled(pair, memory, port=proxy.port, repaired={"corrupt": 1})
    return {
        "copy_seconds": copied,
        "bootstrap_seconds": filled,
        "bootstrap_to_copy_ratio": filled / copied,
        "bootstrap_users_per_second": users / filled,
        "digests_seconds": digests,
        "in_step_seconds": in_step,
        "in_step_to_digests_ratio": in_step / digests,
        "in_step_wire_kb": passed / 1000,
        "one_differs_seconds": one_differs,
        "one_differs_to_in_step_ratio": one_differs / in_step,
        "one_differs_wire_kb": (proxy.passed - passed) / 1000,
        "reconcile_command_start_seconds": whole_command - in_step,
    }


async def _reconciled(
    pair: _Pair,
    memory: Memory,
    *,
    port: int | None = None,
    repaired: Mapping[str, int] = MappingProxyType({}),
) -> float:
    """Run the command, which must repair ``repaired`` users; return its own seconds."""
    command = [str(program("blog-service")), "reconcile", "--json"]
    run: dict[str, Any] = await answer(
        "reconcile",
        [*command, "--repair"] if repaired else command,
        {
            "BLOG_DATABASE_URL": pair.stage.blog_url,
            **source_settings(pair.account, port or pair.port),
        },
        memory=memory,
    )
    if run["differing"] != repaired or run["repaired"] != repaired:
        raise CommandFailed(f"reconcile found {run['differing']} and repaired {run['repaired']}")
    took = datetime.fromisoformat(run["finished_at"]) - datetime.fromisoformat(run["started_at"])
    return took.total_seconds()


async def _filled_by_consumer(pair: _Pair, memory: Memory, *, users: int) -> float:
    """Let the consumer find the replica empty; return the seconds of its run."""
    stage = pair.stage
    await stage.empty_replica()
    async with (
        contestants.consumer(stage, source_settings(pair.account, pair.port)) as consumer,
        memory.of({"consumer": consumer}),
    ):
        replica = await connect(stage.blog_url)
        try:

            async def has_ended() -> bool:
                return bool(await replica.fetchval(f"SELECT EXISTS ({_ENDED})"))

            await until("the replica is filled", has_ended, seconds_max=_WAIT_SECONDS_MAX)
            run = await replica.fetchrow(_ENDED)
        finally:
            await replica.close()
    assert run is not None  # it has ended
    if run["verdict"] != Verdict.IN_STEP or run["compared"] != users:
        raise CommandFailed(f"the consumer's own run: {run['verdict']} {run['explanation']}")
    return float(run["seconds"])


async def _digested(database_url: str) -> float:
    """Let one database compute the digests of all buckets; return seconds."""
    connection = await connect(database_url)
    try:
        await connection.execute("SET jit = off")
        started = time.perf_counter()
        await connection.fetch(computed_sql("users"))
        return time.perf_counter() - started
    finally:
        await connection.close()
