"""One run's system: its processes, new databases and a new virtual host."""

import asyncio
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from tests.chaos import history
from tests.chaos.machines import Machines
from tests.chaos.schedule import PROCESSES, Schedule
from tests.support.processes import run
from tests.support.proxy import proxy_to
from tests.support.system import Member, System, at_work

HEARTBEAT_SECONDS: Final = 1.0
"""Instead of 15."""

STOP_SECONDS: Final = 10.0
"""After a request to stop, a process is killed, as an orchestrator does after half a minute."""

SETTINGS: Final = {
    "AUTH_HEARTBEAT_SECONDS": HEARTBEAT_SECONDS,
    "BLOG_HEARTBEAT_SECONDS_MAX": 3 * HEARTBEAT_SECONDS,
    "AUTH_RETRY_SECONDS_MAX": 0.5,
    "BLOG_RETRY_SECONDS_MAX": 0.5,
    "AUTH_PUBLISH_TIMEOUT_SECONDS": 2,
    "BLOG_DATABASE_CONNECTIONS_MAX": 5,
}
"""Everything that the product allows to be shorter, so that a run fits in 20 seconds."""


class Stage:
    """The processes by their names in ``schedule.PROCESSES``, and the servers below them."""

    def __init__(self, machines: Machines, system: System, processes: dict[str, Member]) -> None:
        self.machines = machines
        self.system = system
        self.processes = processes
        self._turns = {name: asyncio.Lock() for name in processes}

    async def kill(self, name: str, away_seconds: float) -> None:
        async with self._turns[name]:
            self.processes[name].kill()
            await asyncio.sleep(away_seconds)
            self.processes[name].start()

    async def terminate(self, name: str, away_seconds: float) -> None:
        """Stop a process as an orchestrator does, with a kill if that takes long; start it."""
        async with self._turns[name]:
            process = self.processes[name]
            try:
                await process.stop(within=STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
            await asyncio.sleep(away_seconds)
            process.start()

    async def freeze(self, name: str, seconds: float) -> None:
        """Stop a process for a while; it notices nothing but the time."""
        async with self._turns[name]:
            process = self.processes[name]
            process.signal(signal.SIGSTOP)
            await asyncio.sleep(seconds)
            process.signal(signal.SIGCONT)

    async def command(self, line: str, *, typed: str = "") -> tuple[int, str]:
        """Run an operator's command; return its exit code and output."""
        system = self.system
        done = await asyncio.to_thread(
            run, line, system.environment, system.folder, typed=typed.encode()
        )
        assert "Traceback" not in done.stderr, done.stderr
        return done.returncode, done.stdout

    async def stop(self, prefix: str) -> None:
        """Stop all processes whose names begin so."""
        await asyncio.gather(
            *(each.stop() for name, each in self.processes.items() if name.startswith(prefix))
        )

    async def start(self, prefix: str) -> None:
        """Start all processes whose names begin so, and wait until they are ready."""
        await asyncio.gather(
            *(each.ready() for name, each in self.processes.items() if name.startswith(prefix))
        )


@asynccontextmanager
async def staged(
    machines: Machines, schedule: Schedule, keys: tuple[str, str], folder: Path
) -> AsyncIterator[Stage]:
    """Run the system inside the block, with all processes ready; they are killed afterwards."""
    databases = machines.databases
    machines.restore_links()
    await asyncio.gather(
        machines.broker.renew(),
        *(
            each.renew(standby=schedule.fails_over(f"{name} database"))
            for name, each in databases.items()
        ),
    )
    for name, each in databases.items():
        await history.install(name, each.direct_url)
    system = System(
        databases["auth"].url, databases["blog"].url, machines.broker.url, *keys, folder
    )
    settings = SETTINGS | {
        "AUTH_AMQP_URL": machines.relay_amqp_url,
        "BLOG_AMQP_URL": machines.consumer_amqp_url,
    }
    api = system.process("auth-service api", **settings)
    parts = urlsplit(api.url)
    async with proxy_to(parts.hostname or "127.0.0.1", parts.port or 0) as proxy:
        machines.links["source of the blog"] = proxy
        system = await system.with_account(f"http://127.0.0.1:{proxy.port}")
        processes = {
            name: api if name == "auth-service api" else system.process(_command(name), **settings)
            for name in PROCESSES
        }
        async with at_work(*processes.values()):
            account = {**system.account, **{name: str(each) for name, each in settings.items()}}
            yield Stage(machines, replace(system, account=account), processes)


def _command(name: str) -> str:
    return " ".join(name.split()[:2])
