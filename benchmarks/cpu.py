"""CPU seconds of processes, of the database server and of the broker.

Other work on the machine makes everything take longer, but hardly changes the CPU time of a
statement. Both servers must be on this machine.
"""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit

import psutil
from sqlalchemy import make_url

from benchmarks.figures import Figures
from benchmarks.processes import CommandFailed
from benchmarks.stage import Stage, connect

AMQP_PORT = 5672


def of_processes(processes: Iterable[psutil.Process]) -> float:
    """Return the CPU seconds that processes have used so far."""
    times = [process.cpu_times() for process in processes]
    return sum(each.user + each.system for each in times)


def of_main_thread(process: psutil.Process) -> float:
    """Return the CPU seconds that the main thread of a process has used so far."""
    [main] = [thread for thread in process.threads() if thread.id == process.pid]
    return float(main.user_time + main.system_time)


async def sessions(stage: Stage) -> list[psutil.Process]:
    """Return the server's processes for the sessions of both databases."""
    connection = await connect(stage.auth_url)
    try:
        rows = await connection.fetch(
            "SELECT pid FROM pg_stat_activity WHERE datname = ANY($1) AND pid <> pg_backend_pid()",
            [make_url(url).database for url in (stage.auth_url, stage.blog_url)],
        )
    finally:
        await connection.close()
    return [psutil.Process(row["pid"]) for row in rows]


async def of_server(stage: Stage) -> float:
    """Return the CPU seconds of the whole database server, with sessions that have ended."""
    connection = await connect(stage.auth_url)
    try:
        server = psutil.Process(await connection.fetchval("SELECT pg_backend_pid()")).parent()
    finally:
        await connection.close()
    assert server is not None  # it answered
    while True:
        with suppress(psutil.NoSuchProcess):  # a session ended just now: count it among those
            ended = server.cpu_times()
            running = of_processes([server, *server.children()])
            return running + ended.children_user + ended.children_system


def broker(stage: Stage) -> psutil.Process:
    """Return the process that listens on the broker's port."""
    port = urlsplit(stage.amqp_url).port or AMQP_PORT
    for each in psutil.net_connections("tcp"):
        if (
            each.status == psutil.CONN_LISTEN
            and each.laddr
            and each.laddr.port == port
            and each.pid
        ):
            return psutil.Process(each.pid)
    raise CommandFailed(f"no process of this machine listens on port {port}, the broker's")


@dataclass(frozen=True, slots=True)
class CpuMeter:
    """Measures what events cost, from its start: each process, both servers, and this one."""

    stage: Stage
    processes: Mapping[str, psutil.Process]
    before: Figures

    @classmethod
    async def started(cls, stage: Stage, processes: Mapping[str, psutil.Process]) -> Self:
        """Begin with ``processes``, by name."""
        all_of_them = {**processes, "rabbitmq": broker(stage), "producer": psutil.Process()}
        return cls(stage, all_of_them, await _seconds(stage, all_of_them))

    async def us_per_event(self, events: int) -> Figures:
        """Return the microseconds of each by event since the start."""
        after = await _seconds(self.stage, self.processes)
        return {
            f"{name}_cpu_us_per_event": 1_000_000 * (seconds - self.before[name]) / events
            for name, seconds in after.items()
        }


async def _seconds(stage: Stage, processes: Mapping[str, psutil.Process]) -> Figures:
    spent = {name: of_processes([process]) for name, process in processes.items()}
    return spent | {"postgresql": await of_server(stage)}
