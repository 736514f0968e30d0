"""Measure sign-ups and sign-ins a second, beside argon2id alone, and health checks meanwhile."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from itertools import count

from argon2 import PasswordHasher, Type

from auth_service.users.passwords import LANES, MEMORY_KIB, PASSES
from benchmarks import contestants
from benchmarks.figures import Figures, Promise, Section, medians, percentile
from benchmarks.http import Connection
from benchmarks.scale import Scale
from benchmarks.stage import Stage
from local.ports import free_port

_HOW = """
argon2id alone: {threads} threads hash with the service's parameters, and nothing else runs. The
service: one `auth-service api` with its default settings and the kind of key that `make up` creates
(RSA-3072). A load generator on the same cores sends requests over {clients} kept-alive connections
and checks the status of each response. Meanwhile another connection of the same generator requests
`/livez` and `/readyz` in turns, 20 times a second; the generator's own delays count. The promise
concerns the p99 of both; the slowest response is shown too.
"""

_THREADS = 2
_CLIENTS = 16
_PASSWORD = "heron lantern gravel sonnet"  # noqa: S105 - not a secret
_PROBE_SECONDS = 0.05


async def measure(stage: Stage, scale: Scale) -> Section:
    """Let argon2id alone, sign-up and sign-in take turns."""
    return Section(
        title="Passwords",
        how=_HOW.format(threads=_THREADS, clients=_CLIENTS),
        figures=medians([await _round(stage, scale) for _ in range(scale.rounds)]),
        promises=[
            Promise(
                words="sign-up ÷ two threads of argon2id alone",
                figure="sign_up_to_argon2_ratio",
                at_least=0.85,
            ),
            Promise(
                words="sign-in ÷ two threads of argon2id alone",
                figure="sign_in_to_argon2_ratio",
                at_least=0.78,
            ),
            Promise(
                words="health checks meanwhile, p99 (ms)",
                figure="health_check_p99_ms",
                at_most=50,
            ),
        ],
    )


async def _round(stage: Stage, scale: Scale) -> Figures:
    await stage.empty()
    seconds = scale.password_seconds
    argon2 = await asyncio.to_thread(_argon2_per_second, seconds)
    port = free_port()
    async with contestants.api(stage, port), _probed(port) as probes:
        signed_up: list[str] = []
        numbers = count()

        async def sign_up(connection: Connection) -> None:
            email = f"user-{next(numbers)}@example.org"
            await connection.post("/v1/signup", {"email": email, "password": _PASSWORD}, 201)
            signed_up.append(email)

        sign_ups = await _per_second(port, sign_up, seconds)
        known = _repeat(signed_up)

        async def sign_in(connection: Connection) -> None:
            body = {"email": next(known), "password": _PASSWORD}
            await connection.post("/v1/signin", body, 200)

        sign_ins = await _per_second(port, sign_in, seconds)
    return {
        "argon2_hashes_per_second": argon2,
        "sign_ups_per_second": sign_ups,
        "sign_ins_per_second": sign_ins,
        "sign_up_to_argon2_ratio": sign_ups / argon2,
        "sign_in_to_argon2_ratio": sign_ins / argon2,
        "health_check_p99_ms": percentile(probes, 0.99),
        "health_check_max_ms": max(probes),
    }


def _argon2_per_second(seconds: float) -> float:
    hasher = PasswordHasher(PASSES, MEMORY_KIB, LANES, type=Type.ID)
    end = time.perf_counter() + seconds

    def hash_until_the_end(_: int) -> int:
        done = 0
        while time.perf_counter() < end:
            hasher.hash(_PASSWORD)
            done += 1
        return done

    with ThreadPoolExecutor(_THREADS) as threads:
        started = time.perf_counter()
        hashes = sum(threads.map(hash_until_the_end, range(_THREADS)))
        return hashes / (time.perf_counter() - started)


async def _per_second(
    port: int, request: Callable[[Connection], Awaitable[None]], seconds: float
) -> float:
    """Return how many requests get a response per second, all clients together."""
    answered = 0
    started = time.perf_counter()

    async def client() -> None:
        nonlocal answered
        async with Connection(port) as connection:
            while time.perf_counter() < started + seconds:
                await request(connection)
                answered += 1

    await asyncio.gather(*(client() for _ in range(_CLIENTS)))
    return answered / (time.perf_counter() - started)


@asynccontextmanager
async def _probed(port: int) -> AsyncIterator[list[float]]:
    """Request the service's health during the block; yield the milliseconds of each response."""
    answers: list[float] = []

    async def probe() -> None:
        async with Connection(port) as connection:
            while True:
                for path in ("/livez", "/readyz"):
                    asked = time.perf_counter()
                    await connection.get(path, 200)
                    answers.append(1000 * (time.perf_counter() - asked))
                    await asyncio.sleep(_PROBE_SECONDS)

    probing = asyncio.create_task(probe())
    try:
        yield answers
    finally:
        probing.cancel()


def _repeat(emails: list[str]) -> Iterator[str]:
    while True:
        yield from emails
