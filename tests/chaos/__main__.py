"""Run seeded schedules of faults: ``make chaos [SEED=n] [SCHEDULES=n] [MINUTES=n]``."""

import argparse
import asyncio
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import rsa

from tests.chaos.machines import machines
from tests.chaos.run import run
from tests.chaos.schedule import drawn
from tests.support.pems import pem

SCHEDULES = 5
"""Without other wishes."""


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--seed", type=int, nargs="+", help="replay these schedules")
    parser.add_argument("--first", type=int, help="the first seed; the next ones follow it")
    parser.add_argument("--schedules", type=int, help="run so many")
    parser.add_argument("--minutes", type=float, help="begin schedules for so long")
    return parser.parse_args()


def _seeds(arguments: argparse.Namespace) -> Iterator[int]:
    if arguments.seed:
        yield from arguments.seed
        return
    first = arguments.first
    if first is None:
        first = random.SystemRandom().randrange(1_000_000)
    number = arguments.schedules or (None if arguments.minutes else SCHEDULES)
    yield from count(first) if number is None else range(first, first + number)


async def _main(arguments: argparse.Namespace) -> int:
    _stop_servers_when_told()
    until = time.monotonic() + 60 * (arguments.minutes or 24 * 60)
    keys, failed = _keys(), []
    logs = Path(tempfile.mkdtemp(prefix="usersync-chaos-"))
    async with machines() as made:
        for seed in _seeds(arguments):
            if time.monotonic() > until:
                break
            folder = logs / str(seed)
            await asyncio.to_thread(folder.mkdir)
            result = await run(made, drawn(seed), keys, folder)
            print(result, flush=True)
            if result.failures:
                failed.append(str(seed))
                print(f"replay it: make chaos SEED={seed}; its logs are in {folder}", flush=True)
                await made.broker.reset()
            else:
                shutil.rmtree(folder)
    if failed:
        print(f"failed: {' '.join(failed)}")
    else:
        shutil.rmtree(logs)
    return bool(failed)


def _stop_servers_when_told() -> None:
    """End at a request to stop like at an interrupt: with the servers stopped."""
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)


def _keys() -> tuple[str, str]:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return pem(key), pem(key.public_key())


if __name__ == "__main__":
    try:
        sys.exit(asyncio.run(_main(_arguments())))
    except asyncio.CancelledError:
        sys.exit(130)
