"""Measure what keeping the digests adds to applying, to sign-ups, and to filling a replica."""

from collections.abc import Mapping
from typing import Final

from benchmarks import client, contestants, cpu
from benchmarks.accounts import create_account, source_settings
from benchmarks.figures import Figures, Promise, Section, medians
from benchmarks.http import Connection
from benchmarks.recording import make_users, new_users
from benchmarks.scale import Scale
from benchmarks.stage import Stage
from benchmarks.tables import applied, until_applied, until_true
from contracts.events import UserState
from contracts.sync.maintained_digests import TRIGGERS
from local.ports import free_port

_HOW = """
The same work with the triggers on both tables of users enabled and disabled, in turns, which
exchange their order from round to round. The figures are CPU seconds: of the consumer and the
database server per event, of the API and the server per sign-up, of the consumer, the API and the
server for filling an empty replica with {users:,} users. The server's are all of it: folding,
vacuum and checkpoints included. The events wait in the queue: {events:,} users are created, and
then changed once.
"""

_SIGN_UPS: Final = 200
_PASSWORD: Final = "heron lantern gravel sonnet"  # noqa: S105 - not a secret
_FILLED: Final = """
    SELECT EXISTS (SELECT FROM reconcile_runs WHERE verdict = 'in_step' AND compared = $1)
"""

_Source = tuple[Mapping[str, str], int]
"""The replica's account, and the source's port."""

_MILLION: Final = 1e6
"""Microseconds in a second, and a version that is higher than that of a moment before."""


async def measure(stage: Stage, scale: Scale) -> Section:
    """Work with and without the triggers in turns."""
    source = await create_account(stage), free_port()
    rounds = [await _round(stage, scale, source, number) for number in range(scale.rounds)]
    await _count(stage, is_on=True)
    return Section(
        title="Keeping the digests",
        how=_HOW.format(users=scale.filled_users, events=scale.events),
        figures=medians(rounds),
        promises=[
            Promise(
                words="applying a new user with the digests ÷ without (CPU)",
                figure="digests_apply_created_ratio",
                at_most=1.08,
            ),
            Promise(
                words="applying a change likewise",
                figure="digests_apply_updated_ratio",
                at_most=1.08,
            ),
            Promise(words="a sign-up likewise", figure="digests_sign_up_ratio", at_most=1.02),
            Promise(
                words="filling an empty replica likewise",
                figure="digests_bootstrap_ratio",
                at_most=1.1,
            ),
        ],
    )


async def _round(stage: Stage, scale: Scale, source: _Source, number: int) -> Figures:
    found: dict[bool, Figures] = {}
    for is_on in (True, False) if number % 2 else (False, True):
        await _count(stage, is_on=is_on)
        found[is_on] = {
            **await _applying(stage, scale.events),
            "sign_up_ms": await _signing_up(stage),
            "bootstrap_seconds": await _filling(stage, source, scale.filled_users),
        }
    figures: Figures = {}
    for name, value in found[True].items():
        plain = name.rpartition("_")[0]
        figures |= {
            f"digests_{name}": value,
            f"digests_off_{name}": found[False][name],
            f"digests_{plain}_ratio": value / found[False][name],
        }
    return figures


async def _count(stage: Stage, *, is_on: bool) -> None:
    """Have the triggers count what is written, or not; the tables are emptied."""
    await stage.empty()
    for url in (stage.auth_url, stage.blog_url):
        for name in TRIGGERS:
            await stage.run(
                url, f"ALTER TABLE users {'ENABLE' if is_on else 'DISABLE'} TRIGGER {name}"
            )
        await stage.run(url, "TRUNCATE digests, digest_changes")
        await stage.run(url, "VACUUM")
    await stage.run(stage.auth_url, "CHECKPOINT")


async def _applying(stage: Stage, count: int) -> Figures:
    """Return the CPU time per event, in microseconds."""
    created = list(new_users(count))
    updated = [
        each.model_copy(update={"version": each.version + int(_MILLION), "email_verified": False})
        for each in created
    ]
    return {
        "apply_created_us": await _applied(stage, created, "true"),
        "apply_updated_us": await _applied(stage, updated, "NOT email_verified"),
    }


async def _applied(stage: Stage, users: list[UserState], condition: str) -> float:
    await client.publish(stage, users)
    async with contestants.consumer(stage) as consumer:
        ready = await applied(stage.blog_url, condition)
        before = cpu.of_processes([consumer]) + await cpu.of_server(stage)
        await until_applied(stage.blog_url, len(users), condition)
        used = cpu.of_processes([consumer]) + await cpu.of_server(stage) - before
    return _MILLION * used / (len(users) - ready)


async def _signing_up(stage: Stage) -> float:
    """Return the CPU time of one sign-up, in milliseconds."""
    port = free_port()
    async with contestants.api(stage, port) as api:
        async with Connection(port) as connection:

            async def sign_up(number: int) -> None:
                body = {"email": f"user-{number}@example.org", "password": _PASSWORD}
                await connection.post("/v1/signup", body, 201)

            for number in range(10):
                await sign_up(number)
            before = cpu.of_processes([api]) + await cpu.of_server(stage)
            for number in range(_SIGN_UPS):
                await sign_up(10 + number)
        used = cpu.of_processes([api]) + await cpu.of_server(stage) - before
    return 1000 * used / _SIGN_UPS


async def _filling(stage: Stage, source: _Source, users: int) -> float:
    """Return the CPU seconds of filling an empty replica, which its consumer does by itself."""
    await stage.empty()
    await make_users(stage, 1, users)
    account, port = source
    async with (
        contestants.relay(stage),
        contestants.api(stage, port) as api,
        contestants.consumer(stage, source_settings(account, port)) as consumer,
    ):
        before = cpu.of_processes([api, consumer]) + await cpu.of_server(stage)
        await until_true("the replica is filled", stage.blog_url, _FILLED, users)
        return cpu.of_processes([api, consumer]) + await cpu.of_server(stage) - before
