"""Measure what a proof costs while nothing differs, however many users there are."""

import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Final
from uuid import UUID

import psutil
from pydantic import SecretStr
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from benchmarks import contestants, cpu
from benchmarks.accounts import create_account
from benchmarks.copying import copy_to_replica
from benchmarks.counting import counting_proxy
from benchmarks.figures import Figures, Promise, Section, medians
from benchmarks.processes import CommandFailed
from benchmarks.recording import make_users
from benchmarks.scale import Scale
from benchmarks.stage import Stage
from blog_service.replica_of_users import USERS
from blog_service.settings import ReconcileSettings
from contracts.sync.digest import DigestKind
from local.ports import LOOPBACK, free_port
from local.progress import say
from replica.proof.current import note_attempt, note_verdict
from replica.proof.prove import prove
from replica.reconcile.source import Source
from service_kit.database.digests.fold import fold
from service_kit.database.engines import pooled

_HOW = """
The same users in both databases, copied in advance, one in ten of them deleted. A proof is what a
consumer does for a heartbeat: note the attempt, read the replica's digests, ask `auth-service api`,
store the verdict. {proofs} of them are made in a row, with one access token. CPU is that of the
process that asks, of the API, and of both databases' sessions, so other work on the machine hardly
changes it. A proxy counts the bytes of another proof on the wire, in both directions, with the
access token, which is signed with RSA-3072.
"""

_PROOFS: Final = 100
_ROUNDS: Final = 5
_MILLION: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class _Prover:
    """What a consumer has at hand for its proofs."""

    settings: ReconcileSettings
    connection: AsyncConnection
    source: Source
    follows: UUID

    async def prove(self) -> None:
        """Make one proof and store it; nobody may differ."""
        async with self.connection.begin():
            await note_attempt(self.connection)
        found = await prove(
            USERS, self.settings, self.connection, self.source, follows=self.follows, heartbeat=1
        )
        if found.comparison is not None:
            raise CommandFailed(f"a proof of equal tables found {found.tally}")
        async with self.connection.begin():
            await note_verdict(self.connection, found.proved, covered=1)


async def measure(stage: Stage, scale: Scale) -> Section:
    """Prove tables of each size."""
    await stage.empty()
    account, port = await create_account(stage), free_port()
    figures: Figures = {}
    async with contestants.api(stage, port) as api, counting_proxy(port) as proxy:
        for before, users in pairwise((0, *scale.proof_users)):
            await _add_users(stage, before, users)
            async with (
                _prover(stage, account, port) as prover,
                _prover(stage, account, proxy.port) as counted,
            ):
                rounds = [await _round(stage, prover, api) for _ in range(_ROUNDS)]
                await counted.prove()  # it fetches the token
                passed = proxy.passed
                await counted.prove()
                size = medians(rounds) | {"wire_bytes": proxy.passed - passed}
                say(f"{users:,} users: {size['cpu_ms']:.1f} ms of CPU")
                figures |= {f"proof_{_name(users)}_{name}": value for name, value in size.items()}
    costs = [figures[f"proof_{_name(users)}_cpu_ms"] for users in scale.proof_users]
    figures["proof_cpu_largest_to_smallest_ratio"] = max(costs) / min(costs)
    return Section(
        title="The proof",
        how=_HOW.format(proofs=_PROOFS),
        figures=figures,
        promises=_promises(scale.proof_users),
    )


def _name(users: int) -> str:
    return f"{users // 1000}k_users"


def _promises(sizes: Sequence[int]) -> list[Promise]:
    each = [
        Promise(
            words=f"a proof that {users:,} users are equal, both sides (ms of CPU)",
            figure=f"proof_{_name(users)}_cpu_ms",
            at_most=25,
        )
        for users in sizes
    ]
    return [
        *each,
        Promise(
            words="the same, the costliest size ÷ the cheapest",
            figure="proof_cpu_largest_to_smallest_ratio",
            at_most=1.2,
        ),
        Promise(
            words="the same, over the wire with the access token (bytes)",
            figure=f"proof_{_name(sizes[-1])}_wire_bytes",
            at_most=1_000,
        ),
    ]


async def _add_users(stage: Stage, before: int, users: int) -> None:
    """Have users from number ``before`` on in both databases."""
    for start in range(before, users, _MILLION):
        await make_users(stage, start + 1, min(start + _MILLION, users))
    await copy_to_replica(stage)
    for url in (stage.auth_url, stage.blog_url):
        await _fold(url)
        await stage.run(url, "VACUUM (ANALYZE)")


async def _fold(database_url: str) -> None:
    engine = create_async_engine(database_url)
    await fold(engine)
    await engine.dispose()


@asynccontextmanager
async def _prover(stage: Stage, account: Mapping[str, str], port: int) -> AsyncIterator[_Prover]:
    settings = ReconcileSettings(
        database_url=stage.blog_url,
        auth_url=f"http://{LOOPBACK}:{port}",
        service_id=account["BLOG_SERVICE_ID"],
        api_key=SecretStr(account["BLOG_API_KEY"]),
    )
    engine = pooled(settings)
    async with engine.connect() as connection, Source(settings) as source:
        answer = await source.digests(DigestKind.STATE, [range(1)])
        yield _Prover(settings, connection, source, answer.source)
    await engine.dispose()


async def _round(stage: Stage, prover: _Prover, api: psutil.Process) -> Figures:
    for _ in range(10):
        await prover.prove()
    sessions = await cpu.sessions(stage)
    parts = {"replica": [psutil.Process()], "api": [api], "databases": sessions}
    before = {name: cpu.of_processes(part) for name, part in parts.items()}
    started = time.perf_counter()
    for _ in range(_PROOFS):
        await prover.prove()
    took = time.perf_counter() - started
    used = {name: cpu.of_processes(part) - before[name] for name, part in parts.items()}
    return {
        "cpu_ms": 1000 * sum(used.values()) / _PROOFS,
        **{f"cpu_{name}_ms": 1000 * seconds / _PROOFS for name, seconds in used.items()},
        "ms": 1000 * took / _PROOFS,
    }
