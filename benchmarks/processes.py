"""Run a program in a process of its own, for as long as a block or until it has printed a result.

Guarantees: the process ends with the block. Its output is stored under ``.local/bench``, except for
a result. It gets none of the settings of the running system, and no ``.env``.

Not here: which programs there are (``contestants``).
"""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx
import psutil

from benchmarks.memory import Memory
from benchmarks.waiting import TooSlow, until
from local.addresses import url
from local.paths import LOCAL, ROOT

OUTPUT = LOCAL / "bench"

_START_SECONDS_MAX = 120.0
_STOP_SECONDS_MAX = 10.0
_ANSWER_SECONDS_MAX = 900.0
_OURS = ("AUTH_", "BLOG_")


class DidNotStart(Exception):
    """A process ended or took too long before it was ready; the message names its output file."""


class CommandFailed(Exception):
    """A command, or the work it requested, ended otherwise than expected; the message says how."""


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """Return this process's environment with ``settings`` instead of any other settings of ours."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
    return inherited | {"PYTHONPATH": str(ROOT)} | dict(settings)


@asynccontextmanager
async def running(
    name: str,
    command: Sequence[str],
    settings: Mapping[str, str],
    *,
    health_port: int | None = None,
) -> AsyncIterator[psutil.Process]:
    """Run ``command`` inside the block; with a health port, the block starts when it is ready."""
    OUTPUT.mkdir(parents=True, exist_ok=True)
    output = OUTPUT / f"{name}.log"
    with output.open("wb") as file:
        child = await asyncio.create_subprocess_exec(
            *command, cwd=OUTPUT, env=environment(settings), stdout=file, stderr=file
        )
    try:
        if health_port is not None and not await _becomes_ready(
            child, f"{url(health_port)}/readyz"
        ):
            raise DidNotStart(f"{name} does not start; see {output}")
        yield psutil.Process(child.pid)
    finally:
        await _end(child)


async def answer(
    name: str,
    command: Sequence[str],
    settings: Mapping[str, str],
    *,
    memory: Memory | None = None,
) -> dict[str, Any]:
    """Run ``command`` to its end; return the JSON object that it prints.

    Raises:
        CommandFailed: its exit code is not 0.
        TooSlow: it does not end.
    """
    OUTPUT.mkdir(parents=True, exist_ok=True)
    errors = OUTPUT / f"{name}.log"
    with errors.open("wb") as file:
        child = await asyncio.create_subprocess_exec(
            *command,
            cwd=OUTPUT,
            env=environment(settings),
            stdout=asyncio.subprocess.PIPE,
            stderr=file,
        )
    try:
        async with asyncio.timeout(_ANSWER_SECONDS_MAX), AsyncExitStack() as stack:
            if memory is not None:
                await stack.enter_async_context(memory.of({name: psutil.Process(child.pid)}))
            printed, _ = await child.communicate()
    except TimeoutError:
        raise TooSlow(f"{name}: not within {_ANSWER_SECONDS_MAX:g} s; see {errors}") from None
    finally:
        await _end(child)
    if child.returncode != 0:
        errors.write_bytes(printed + errors.read_bytes())
        raise CommandFailed(f"{name} ended with exit code {child.returncode}; see {errors}")
    answered: dict[str, Any] = json.loads(printed)
    return answered


async def _becomes_ready(child: asyncio.subprocess.Process, address: str) -> bool:
    async with httpx.AsyncClient(trust_env=False) as client:

        async def is_settled() -> bool:
            try:
                return child.returncode is not None or (await client.get(address)).is_success
            except httpx.TransportError:
                return False

        try:
            await until(f"{address} answers", is_settled, seconds_max=_START_SECONDS_MAX)
        except TooSlow:
            return False
    return child.returncode is None


async def _end(child: asyncio.subprocess.Process) -> None:
    if child.returncode is not None:
        return
    child.terminate()
    try:
        await asyncio.wait_for(child.wait(), _STOP_SECONDS_MAX)
    except TimeoutError:
        child.kill()
        await child.wait()
