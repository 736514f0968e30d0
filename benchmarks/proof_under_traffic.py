"""Measure proofs while users change: how long they take, what they send, and what they find."""

import asyncio
import time
from typing import Final

from benchmarks import contestants
from benchmarks.accounts import create_account, source_settings
from benchmarks.changes import Changes
from benchmarks.copying import copy_to_replica
from benchmarks.counting import CountingProxy, counting_proxy
from benchmarks.figures import Figures, Promise, Section, percentile
from benchmarks.processes import CommandFailed, answer
from benchmarks.recording import make_users
from benchmarks.scale import Scale
from benchmarks.stage import Stage, connect
from benchmarks.waiting import until
from local.paths import program
from local.ports import free_port
from local.progress import say

_HOW = """
{rate} changes a second at the source for {seconds:.0f} s, among {users:,} users, each a
transaction of its own with its event; `auth-service api`, relay and consumer, as they are shipped,
share the cores. The changes are made by SQL: a sign-up over HTTP hashes a password. A heartbeat
comes every {every:g} s in place of 15, for more proofs. A proof's time is what the replica's
database has stored about it, from the attempt to the verdict. The consumer asks through a proxy,
which counts the bytes in both directions, the access token's included. Any user that a proof names
or repairs is a false drift. At the end, `blog-service reconcile` compares all users.
"""

RATE: Final = 300
USERS: Final = 50_000
HEARTBEAT_SECONDS: Final = 5.0

_LOOK_SECONDS: Final = 0.1
_REPORT_SECONDS: Final = 60.0
_WAIT_SECONDS_MAX: Final = 120.0

_LAST: Final = """
    SELECT proved_at, extract(epoch FROM proved_at - tried_at)::float8 AS seconds,
           differing::text <> '{}' AS differs
    FROM current_proof WHERE proved_at IS NOT NULL AND tried_at < proved_at
"""
_COMPARED: Final = "SELECT EXISTS (SELECT FROM reconcile_runs WHERE verdict = 'in_step')"
_FOUND: Final = "SELECT count(*) FROM reconcile_runs WHERE reason = 'proof'"


async def measure(stage: Stage, scale: Scale) -> Section:
    """Let the services run for a while, and look at each proof."""
    await stage.empty()
    await make_users(stage, 1, USERS)
    await copy_to_replica(stage)
    account, port = await create_account(stage), free_port()
    async with (
        contestants.relay(stage, {"AUTH_HEARTBEAT_SECONDS": str(HEARTBEAT_SECONDS)}),
        contestants.api(stage, port),
        counting_proxy(port) as proxy,
    ):
        source = source_settings(account, proxy.port)
        longest = {"BLOG_HEARTBEAT_SECONDS_MAX": str(3 * HEARTBEAT_SECONDS)}
        async with contestants.consumer(stage, source | longest):
            changes = Changes(stage, RATE)
            figures = await _watched(stage, changes, proxy, scale.traffic_seconds)
            settings = {"BLOG_DATABASE_URL": stage.blog_url, **source}
            command = [str(program("blog-service")), "reconcile", "--json"]
            run = await answer("reconcile", command, settings)
    if run["differing"]:
        raise CommandFailed(f"reconcile found {run['differing']}")
    how = _HOW.format(
        rate=RATE, seconds=scale.traffic_seconds, users=USERS, every=HEARTBEAT_SECONDS
    )
    return Section(title="The proof under traffic", how=how, figures=figures, promises=_PROMISES)


_PROMISES: Final = (
    Promise(
        words=f"a proof at {RATE} changes a second (ms)",
        figure="traffic_proof_p50_ms",
        at_most=250,
    ),
    Promise(words="the same, over the wire (kB)", figure="traffic_proof_p50_kb", at_most=100),
    Promise(words="false drifts", figure="traffic_false_drifts", at_most=0),
)


async def _watched(stage: Stage, changes: Changes, proxy: CountingProxy, seconds: float) -> Figures:
    replica = await connect(stage.blog_url)

    async def is_compared() -> bool:
        return bool(await replica.fetchval(_COMPARED))

    try:
        await until("the replica is compared", is_compared, seconds_max=_WAIT_SECONDS_MAX)
        async with changes.going_on():
            await asyncio.sleep(2 * HEARTBEAT_SECONDS)  # warm-up
            last = await replica.fetchrow(_LAST)
            times: list[float] = []
            sizes: list[int] = []
            false_drifts, passed = 0, proxy.passed
            began, made = time.monotonic(), changes.made
            reported = began
            while time.monotonic() < began + seconds:
                await asyncio.sleep(_LOOK_SECONDS)
                changes.require_all_at_work()
                found = await replica.fetchrow(_LAST)
                if found is None or (last is not None and found["proved_at"] <= last["proved_at"]):
                    continue
                last = found
                if time.monotonic() > reported + _REPORT_SECONDS:
                    reported = time.monotonic()
                    say(f"{reported - began:.0f} s: {len(times)} proofs, {false_drifts} false")
                times.append(1000 * found["seconds"])
                sizes.append(proxy.passed - passed)
                passed = proxy.passed
                false_drifts += found["differs"]
            rate = (changes.made - made) / (time.monotonic() - began)
        found_by_runs = await replica.fetchval(_FOUND)
    finally:
        await replica.close()
    # The first one may have begun before the clock did.
    return {
        "traffic_changes_per_second": rate,
        "traffic_proofs": len(times),
        "traffic_false_drifts": max(false_drifts, found_by_runs),
        "traffic_proof_p50_ms": percentile(times[1:], 0.5),
        "traffic_proof_p90_ms": percentile(times[1:], 0.9),
        "traffic_proof_max_ms": max(times[1:]),
        "traffic_proof_p50_kb": percentile(sizes[1:], 0.5) / 1000,
        "traffic_proof_p90_kb": percentile(sizes[1:], 0.9) / 1000,
        "traffic_proof_max_kb": max(sizes[1:]) / 1000,
    }
