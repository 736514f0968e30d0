"""Measure sign-ups and sign-ins a second, beside argon2id alone, and health checks meanwhile."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from itertools import count

import psutil
from argon2 import PasswordHasher, Type

from auth_service.users.passwords import LANES, MEMORY_KIB, PASSES
from benchmarks import contestants, cpu
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
concerns the p99 of both; the slowest response is shown too. CPU time is that of both cores for one
request, by part: other work distorts it less than the rates.
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
    figures = await asyncio.to_thread(_argon2_alone, seconds)
    port = free_port()
    async with contestants.api(stage, port) as api, _probed(port) as probes:
        signed_up: list[str] = []
        numbers = count()

        async def sign_up(connection: Connection) -> None:
            email = f"user-{next(numbers)}@example.org"
            await connection.post("/v1/signup", {"email": email, "password": _PASSWORD}, 201)
            signed_up.append(email)

        known = _repeat(signed_up)

        async def sign_in(connection: Connection) -> None:
            body = {"email": next(known), "password": _PASSWORD}
            await connection.post("/v1/signin", body, 200)

        for name, request in (("sign_up", sign_up), ("sign_in", sign_in)):
            before = await _cpu_seconds(stage, api)
            began = time.perf_counter()
            answered = await _answered(port, request, seconds)
            rate = answered / (time.perf_counter() - began)
            after = await _cpu_seconds(stage, api)
            figures[f"{name}s_per_second"] = rate
            figures[f"{name}_to_argon2_ratio"] = rate / figures["argon2_hashes_per_second"]
            for part, spent in after.items():
                figures[f"{name}_{part}_cpu_ms"] = 1000 * (spent - before[part]) / answered
    figures["health_check_p99_ms"] = percentile(probes, 0.99)
    figures["health_check_max_ms"] = max(probes)
    return figures


async def _cpu_seconds(stage: Stage, api: psutil.Process) -> Figures:
    """The CPU seconds of all who take part in a request, so far."""
    event_loop = cpu.of_main_thread(api)
    return {
        "hashing": cpu.of_processes([api]) - event_loop,
        "event_loop": event_loop,
        "postgresql": await cpu.of_server(stage),
        "generator": time.process_time(),
    }


def _argon2_alone(seconds: float) -> Figures:
    hasher = PasswordHasher(PASSES, MEMORY_KIB, LANES, type=Type.ID)
    end = time.perf_counter() + seconds

    def hash_until_the_end(_: int) -> int:
        done = 0
        while time.perf_counter() < end:
            hasher.hash(_PASSWORD)
            done += 1
        return done

    with ThreadPoolExecutor(_THREADS) as threads:
        started, spent = time.perf_counter(), time.process_time()
        hashes = sum(threads.map(hash_until_the_end, range(_THREADS)))
        return {
            "argon2_hashes_per_second": hashes / (time.perf_counter() - started),
            "argon2_cpu_ms": 1000 * (time.process_time() - spent) / hashes,
        }


async def _answered(
    port: int, request: Callable[[Connection], Awaitable[None]], seconds: float
) -> int:
    """Return how many requests get a response within some seconds, all clients together."""
    answered = 0
    end = time.perf_counter() + seconds

    async def client() -> None:
        nonlocal answered
        async with Connection(port) as connection:
            while time.perf_counter() < end:
                await request(connection)
                answered += 1

    await asyncio.gather(*(client() for _ in range(_CLIENTS)))
    return answered


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
