"""pgbouncer before a PostgreSQL server, in transaction mode, as administrators configure it."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy.engine import make_url

from local.debian_programs import debian_program
from local.ports import LOOPBACK, free_port, is_listening
from local.postgres_server import PostgresServer
from local.waiting import wait_until
from tests.support.servers import folder_for_servers

POOL_SIZE = 4
"""Sessions of PostgreSQL, fewer than the clients' connections, so that each serves many."""


class PgBouncer:
    """A running pgbouncer."""

    def __init__(self, port: int) -> None:
        self.port = port

    def url(self, direct: str) -> str:
        """Return the address of the same database through it."""
        parts = make_url(direct)
        return f"postgresql+asyncpg://{parts.username}@{LOOPBACK}:{self.port}/{parts.database}"


@contextmanager
def pgbouncer(server: PostgresServer, *, ignores: str = "") -> Iterator[PgBouncer]:
    """Run one before ``server`` inside the block.

    Parameters:
        ignores: settings of sessions that it drops; it refuses others.
    """
    sockets = Path(str(make_url(server.url("postgres")).query["host"]))
    owner = sockets.stat()
    user: dict[str, Any] = {}
    if os.geteuid() == 0:  # it refuses root, and the sockets have another owner then
        user = {"user": owner.st_uid, "group": owner.st_gid}
    port = free_port()
    with folder_for_servers() as folder:
        folder.chmod(0o755)
        roles = server.execute("SELECT rolname FROM pg_roles WHERE rolcanlogin")
        (folder / "users").write_text("".join(f'"{row["rolname"]}" ""\n' for row in roles))
        (folder / "pgbouncer.ini").write_text(
            f"[databases]\n* = host={sockets}\n"
            "[pgbouncer]\n"
            f"listen_addr = {LOOPBACK}\nlisten_port = {port}\nunix_socket_dir =\n"
            f"auth_type = trust\nauth_file = {folder / 'users'}\n"
            f"pool_mode = transaction\ndefault_pool_size = {POOL_SIZE}\nserver_round_robin = 1\n"
            f"ignore_startup_parameters = {ignores}\n"
        )
        process = subprocess.Popen(
            [debian_program("pgbouncer"), str(folder / "pgbouncer.ini")],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            **user,
        )
        try:
            assert wait_until(lambda: is_listening(port), 20)
            yield PgBouncer(port)
        finally:
            process.kill()
            process.wait(10)
