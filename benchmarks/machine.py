"""Describe the machine and the versions that the figures belong to."""

import platform
from importlib.metadata import version
from pathlib import Path

import aio_pika
import psutil
from aiormq import Connection

from benchmarks.stage import Stage

_PACKAGES = ("aio-pika", "asyncpg", "sqlalchemy", "uvloop", "faststream", "dramatiq")


_LOOK_SECONDS = 2.0


async def machine(stage: Stage) -> dict[str, str]:
    """Return what a reader needs for a comparison; every value as it is shown."""
    memory = psutil.virtual_memory().total / 2**30
    return {
        "CPU": _cpu_model(),
        "cores": str(len(psutil.Process().cpu_affinity() or [])),
        "memory": f"{memory:.0f} GiB",
        "Python": platform.python_version(),
        "PostgreSQL": str(stage.postgres.execute("SHOW server_version")[0][0]),
        "RabbitMQ": await _rabbitmq_version(stage.amqp_url),
        **{package: version(package) for package in _PACKAGES},
    }


def other_work() -> float:
    """Return the share of the cores that others use now, in percent, between measurements."""
    return psutil.cpu_percent(_LOOK_SECONDS)


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
