"""Debian's PostgreSQL, for what the one of the Python package lacks: it is built without TLS."""

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from local import apt
from local.ports import LOOPBACK, free_port
from local.postgres_server import PostgresServer
from tests.support.servers import folder_for_servers

_OWNER = "postgres"
"""The package's user: PostgreSQL refuses root."""


class DebianPostgres:
    """A server on a port of the loopback interface, whose data are in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "data"
        self.port = free_port()
        self.server = PostgresServer(
            f"postgresql+asyncpg://{_OWNER}@{LOOPBACK}:{self.port}/postgres?ssl=disable"
        )
        folder.chmod(0o755)
        self.folder.mkdir(mode=0o700)
        self.give(self.folder)
        self._run("initdb", "--no-sync", "--auth=trust", "--encoding=UTF8", "--locale=C")

    def start(self, settings: Mapping[str, str]) -> None:
        """Start it with these settings."""
        given = {
            "port": str(self.port),
            "fsync": "off",
            "listen_addresses": LOOPBACK,
            "unix_socket_directories": str(self.folder),
            **settings,
        }
        lines = [f"{name} = '{value}'\n" for name, value in given.items()]
        with (self.folder / "postgresql.conf").open("a") as file:
            file.writelines(lines)
        self._run("pg_ctl", "-w", "-l", str(self.folder / "log"), "start")

    def stop(self) -> None:
        self._run("pg_ctl", "-m", "immediate", "stop", check=False)

    def put(self, file: Path, name: str) -> None:
        """Put a copy of ``file`` among its data, which only the server can read."""
        kept = self.folder / name
        shutil.copy(file, kept)
        kept.chmod(0o600)
        self.give(kept)

    def give(self, path: Path) -> None:
        if os.geteuid() == 0:
            owner = pwd.getpwnam(_OWNER)
            os.chown(path, owner.pw_uid, owner.pw_gid)

    def _run(self, program: str, *arguments: str, check: bool = True) -> None:
        user: dict[str, Any] = {"user": _OWNER, "group": _OWNER} if os.geteuid() == 0 else {}
        subprocess.run(
            [_program(program), "-D", str(self.folder), *arguments],
            cwd=self.folder,
            check=check,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=60,
            **user,
        )


def _program(name: str) -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    if not found and apt.is_possible():
        apt.install("postgresql", otherwise="install postgresql")
        found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    assert found, "no PostgreSQL of Debian found; install postgresql"
    return found[-1]


@contextmanager
def debian_postgres() -> Iterator[DebianPostgres]:
    """Prepare a server inside the block, which may start it; it is stopped in the end."""
    with folder_for_servers() as folder:
        _program("initdb")  # which makes its user, too
        server = DebianPostgres(folder)
        try:
            yield server
        finally:
            server.stop()
