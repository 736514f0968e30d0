"""Measure the time from a change of the replica by hand to the user's name in the status."""

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Final
from uuid import UUID, uuid4

import asyncpg

from benchmarks import contestants
from benchmarks.accounts import create_account, source_settings
from benchmarks.changes import Changes
from benchmarks.copying import copy_to_replica
from benchmarks.figures import Figures, Promise, Section, percentile
from benchmarks.processes import CommandFailed, answer
from benchmarks.recording import make_users
from benchmarks.scale import Scale
from benchmarks.stage import Stage, connect
from benchmarks.waiting import until
from local.paths import program
from local.ports import free_port

_HOW = """
{damages} changes of the replica's table by SQL, each at a random moment, while {rate} users a
second change; all services as they are shipped, with a heartbeat every 15 s. In turns: an e-mail
address is changed, a user who does not exist at the source is added, a user is removed. The clock
stops when the proof that names the user is stored, where `blog-service status` reads it, which then
has to show the name; a user who was removed is not named but repaired, so the clock stops when the
row is back.
"""

RATE: Final = 10
USERS: Final = 50_000

_PAUSE_SECONDS_MAX: Final = 15.0
_NAMED_SECONDS_MAX: Final = 60.0
_WAIT_SECONDS_MAX: Final = 120.0

_PROVED: Final = "SELECT EXISTS (SELECT FROM current_proof WHERE proved_at IS NOT NULL)"
_CHANGING: Final = "version % 2 = 0"
_QUIET: Final = "SELECT id FROM users WHERE status = 'active' AND version % 2 = 1 OFFSET $1 LIMIT 1"
"""Users that nothing else changes; the first ones are from before the clock started."""
_NAMED: Final = "SELECT coalesce(findings::text, '') LIKE '%' || $1 || '%' FROM current_proof"
_BACK: Final = "SELECT EXISTS (SELECT FROM users WHERE id = $1::text::uuid)"


@dataclass(frozen=True, slots=True)
class _Damage:
    """A change by hand, the query that is true once it shows, and how it is undone."""

    statement: str
    shows: str
    undo: str | None
    is_new_user: bool = False


_DAMAGES: Final = (
    _Damage(
        "UPDATE users SET email = email || 'x' WHERE id = $1",
        _NAMED,
        "UPDATE users SET email = left(email, -1) WHERE id = $1",
    ),
    _Damage(
        "INSERT INTO users (id, version, email, status, created_at, updated_at)"
        " VALUES ($1, 7, 'nobody@example.org', 'active', now(), now())",
        _NAMED,
        "DELETE FROM users WHERE id = $1",
        is_new_user=True,
    ),
    _Damage("DELETE FROM users WHERE id = $1", _BACK, None),
)


async def measure(stage: Stage, scale: Scale) -> Section:
    """Damage the replica again and again, and wait for each name."""
    await stage.empty()
    await make_users(stage, 1, USERS)
    await copy_to_replica(stage)
    account, port = await create_account(stage), free_port()
    source = source_settings(account, port)
    async with (
        contestants.relay(stage),
        contestants.api(stage, port),
        contestants.consumer(stage, source),
    ):
        changes = Changes(stage, RATE, among=_CHANGING)
        async with changes.going_on():
            seconds = await _damaged(stage, scale.damages)
            changes.require_all_at_work()
    return Section(
        title="From a change by hand to its name",
        how=_HOW.format(damages=scale.damages, rate=RATE),
        figures=_figures(seconds),
        promises=[
            Promise(
                words=f"a change by hand is named, the slowest of {scale.damages} (s)",
                figure="naming_max_seconds",
                at_most=20,
            )
        ],
    )


def _figures(seconds: Sequence[float]) -> Figures:
    return {
        "naming_damages": len(seconds),
        "naming_p50_seconds": percentile(seconds, 0.5),
        "naming_p90_seconds": percentile(seconds, 0.9),
        "naming_max_seconds": max(seconds),
    }


async def _damaged(stage: Stage, damages: int) -> list[float]:
    """Return the seconds until each damage was named or repaired."""
    replica = await connect(stage.blog_url)
    pauses = random.Random(12)  # noqa: S311 - no secret

    async def is_proved() -> bool:
        return bool(await replica.fetchval(_PROVED))

    try:
        await until("the replica is proved", is_proved, seconds_max=_WAIT_SECONDS_MAX)
        found = []
        for number, damage in enumerate(islice(cycle(_DAMAGES), damages)):
            await asyncio.sleep(pauses.uniform(0, _PAUSE_SECONDS_MAX))
            user_id = await replica.fetchval(_QUIET, number)
            found.append(await _named(stage, replica, damage, user_id))
        return found
    finally:
        await replica.close()


async def _named(
    stage: Stage, replica: asyncpg.Connection, damage: _Damage, user_id: UUID
) -> float:
    if damage.is_new_user:
        user_id = uuid4()
    started = time.perf_counter()
    await replica.execute(damage.statement, user_id)

    async def shows() -> bool:
        return bool(await replica.fetchval(damage.shows, str(user_id)))

    await until(f"{user_id} is named", shows, seconds_max=_NAMED_SECONDS_MAX)
    took = time.perf_counter() - started
    if damage.undo is not None:
        settings = {"BLOG_DATABASE_URL": stage.blog_url, "BLOG_AMQP_URL": stage.amqp_url}
        command = [str(program("blog-service")), "status", "--json"]
        status = await answer("status", command, settings)
        if str(user_id) not in {each["user_id"] for each in status["proof"]["findings"]}:
            raise CommandFailed(f"the status does not name {user_id}: {status['proof']}")
        await replica.execute(damage.undo, user_id)
    return took
