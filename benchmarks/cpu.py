"""CPU seconds of processes and of the database server.

Other work on the machine makes everything take longer, but hardly changes the CPU time of a
statement. The server must be on this machine.
"""

from collections.abc import Iterable

import psutil
from sqlalchemy import make_url

from benchmarks.stage import Stage, connect


def of_processes(processes: Iterable[psutil.Process]) -> float:
    """Return the CPU seconds that processes have used so far."""
    times = [process.cpu_times() for process in processes]
    return sum(each.user + each.system for each in times)


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
    ended = server.cpu_times()
    return of_processes([server, *server.children()]) + ended.children_user + ended.children_system
