"""The machine and the versions that the figures belong to."""

import os
import platform
from importlib.metadata import version
from pathlib import Path

import aio_pika
import psutil
from aiormq import Connection

from benchmarks.stage import Stage

_PACKAGES = ("aio-pika", "asyncpg", "sqlalchemy", "uvloop", "faststream", "dramatiq")


async def machine(stage: Stage) -> dict[str, str]:
    """What a reader needs to know to compare; every value as it is shown."""
    memory = psutil.virtual_memory().total / 2**30
    return {
        "CPU": _cpu_model(),
        "cores": str(len(psutil.Process().cpu_affinity() or [])),
        "memory": f"{memory:.0f} GiB",
        "load before": f"{os.getloadavg()[0]:.1f}",
        "Python": platform.python_version(),
        "PostgreSQL": str(stage.postgres.execute("SHOW server_version")[0][0]),
        "RabbitMQ": await _rabbitmq_version(stage.amqp_url),
        **{package: version(package) for package in _PACKAGES},
    }


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())


async def _rabbitmq_version(amqp_url: str) -> str:
    async with await aio_pika.connect(amqp_url) as connection:
        assert connection.transport is not None  # it was connected a moment ago
        underlay = connection.transport.connection
        assert isinstance(underlay, Connection)  # the only implementation there is
        return str(underlay.server_properties["version"])
