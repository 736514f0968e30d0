"""Measure an import of users: alone beside COPY of the same rows, and what live events wait."""

import json
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from benchmarks import contestants
from benchmarks.copying import copy_users, table_to_copy_to
from benchmarks.figures import Figures, Promise, Section, medians, percentile
from benchmarks.latency import RATE, latencies, replica_notifying
from benchmarks.processes import CommandFailed, answer, running
from benchmarks.scale import Scale
from benchmarks.stage import Stage, connect
from benchmarks.waiting import until
from local.paths import program

_HOW = """
`auth-service users import` of {users:,} users with ids and bcrypt hashes, as it is shipped. First
with `--at-once` and no relay, beside COPY of the same rows without password hashes, indexes or
events. Then at the pace that is the default, with relay and consumer at work, while {rate} other
users a second sign up: their time is measured from commit to commit, as under Latency, before the
import and during it.
"""

_HASH: Final = "$2b$10$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW"
_CREATED: Final = "2020-01-31T12:00:00Z"

_COUNT: Final = "SELECT count(*) FROM users"
_FIRST_SECONDS_MAX: Final = 60.0
_MORE_THAN_ENOUGH: Final = 10_000
"""Users a second that no import beside live events reaches."""


async def measure(stage: Stage, scale: Scale) -> Section:
    """Import alone, and beside live events."""
    figures = medians([await _round(stage, scale) for _ in range(scale.rounds)])
    return Section(
        title="Import of users",
        how=_HOW.format(users=scale.imported_users, rate=RATE),
        figures=figures,
        promises=[
            Promise(
                words="a million users, imported beside live events (minutes)",
                figure="minutes_for_a_million",
                at_most=5,
            ),
            Promise(
                words=f"commit to commit at {RATE}/s beside an import, p99 (ms)",
                figure="latency_beside_import_p99_ms",
                at_most=100,
            ),
        ],
    )


async def _round(stage: Stage, scale: Scale) -> Figures:
    await stage.empty()
    with _export(scale.imported_users) as file:
        started = time.perf_counter()
        await answer("import", _command(file, "--at-once", "--json"), _settings(stage))
        alone = time.perf_counter() - started
    async with table_to_copy_to(stage):
        copied = await copy_users(stage)
    return {
        "imported_alone_per_second": scale.imported_users / alone,
        "import_to_copy_ratio": alone / copied,
    } | await _beside_live(stage, scale.latency_seconds)


async def _beside_live(stage: Stage, seconds: float) -> Figures:
    await stage.empty()
    async with (
        replica_notifying(stage),
        contestants.relay(stage),
        contestants.consumer(stage),
    ):
        without = await latencies(stage, seconds)
        with _export(int(seconds * _MORE_THAN_ENOUGH)) as file:
            live, rate = await _while_importing(stage, file, seconds)
    return {
        "imported_beside_live_per_second": rate,
        "minutes_for_a_million": 1_000_000 / rate / 60,
        "latency_beside_import_p50_ms": percentile(live, 0.5),
        "latency_beside_import_p99_ms": percentile(live, 0.99),
        "latency_without_import_p50_ms": percentile(without, 0.5),
        "latency_without_import_p99_ms": percentile(without, 0.99),
    }


async def _while_importing(stage: Stage, file: Path, seconds: float) -> tuple[list[float], float]:
    """Return the times of live events in ms, and how many users a second were imported."""
    start = await _count(stage)

    async def has_begun() -> bool:
        return await _count(stage) > start

    async with running("import", _command(file), _settings(stage)) as importing:
        await until("users are imported", has_begun, seconds_max=_FIRST_SECONDS_MAX)
        before, began = await _count(stage), time.perf_counter()
        live = await latencies(stage, seconds)
        rate = (await _count(stage) - before) / (time.perf_counter() - began)
        if not importing.is_running():
            raise CommandFailed("the import was over before the live events had arrived")
    return live, rate


@contextmanager
def _export(count: int) -> Iterator[Path]:
    """Write a file of ``count`` users for the block."""
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as file:
        for _ in range(count):
            user_id = str(uuid4())
            record: dict[str, Any] = {
                "id": user_id,
                "email": f"user-{user_id[:13]}@example.org",
                "email_verified": True,
                "created_at": _CREATED,
                "password_hash": _HASH,
            }
            file.write(f"{json.dumps(record)}\n")
        file.flush()
        yield Path(file.name)


def _command(file: Path, *options: str) -> list[str]:
    return [str(program("auth-service")), "users", "import", str(file), *options]


def _settings(stage: Stage) -> dict[str, str]:
    return {"AUTH_DATABASE_URL": stage.auth_url}


async def _count(stage: Stage) -> int:
    connection = await connect(stage.auth_url)
    try:
        return int(await connection.fetchval(_COUNT))
    finally:
        await connection.close()
