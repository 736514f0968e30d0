"""Processes that we started, remembered across runs of this program.

Guarantees: a process is known by its pid and the moment it started, so a pid that the system has
given to somebody else is never taken for ours, and never ended; nor is that of another checkout,
from which the file was copied.
"""

import json
import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

import psutil

from local.waiting import wait_until

_SAME_START_SECONDS = (
    0.1  # both figures come from the same clock ticks; this only forgives rounding
)
_KILL_TIMEOUT_SECONDS = (
    5.0  # SIGKILL cannot be refused; the system needs a moment to take memory back
)


@dataclass(frozen=True)
class StartedProcess:
    """A process that we started; it may have ended since."""

    pid: int
    started: float
    """Seconds from the machine's start to the process's: setting the clock does not move it."""

    @classmethod
    def of(cls, pid: int) -> "StartedProcess":
        """The process that has this pid now. Raises psutil.NoSuchProcess when there is none."""
        return cls(pid, _started(psutil.Process(pid)))

    @classmethod
    def start(
        cls,
        command: Sequence[str],
        environment: Mapping[str, str],
        folder: Path,
        log: IO[bytes],
    ) -> "StartedProcess":
        """Start a command that lives on after us, in a session of its own, writing to `log`."""
        child = subprocess.Popen(
            command,
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        child.returncode = 0  # it outlives us on purpose; else the garbage collector complains
        return cls.of(child.pid)

    @classmethod
    def load(cls, path: Path) -> "StartedProcess | None":
        """The process that was saved there, if any; not that of a file which was copied there."""
        try:
            saved = json.loads(path.read_text())
        except FileNotFoundError:
            return None
        is_ours = saved.pop("file", str(path)) == str(path)
        return cls(**saved) if is_ours else None

    def save(self, path: Path) -> None:
        """Remember it for other runs of this program."""
        path.write_text(json.dumps(asdict(self) | {"file": str(path)}))

    @property
    def name(self) -> str:
        """The name of its program; empty when it has ended."""
        try:
            return psutil.Process(self.pid).name() if self.is_running() else ""
        except psutil.NoSuchProcess:
            return ""

    def is_running(self) -> bool:
        """Whether that very process still runs."""
        # A child of ours that has ended keeps its pid until someone asks for its exit status.
        with suppress(ChildProcessError):
            os.waitpid(self.pid, os.WNOHANG)
        try:
            process = psutil.Process(self.pid)
            return (
                abs(_started(process) - self.started) < _SAME_START_SECONDS
                and process.status() != psutil.STATUS_ZOMBIE
            )
        except psutil.NoSuchProcess:
            return False

    def children(self) -> list["StartedProcess"]:
        """All its descendants at this moment."""
        if not self.is_running():
            return []
        found = []
        for child in psutil.Process(self.pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                found.append(StartedProcess(child.pid, _started(child)))
        return found

    def terminate(self, timeout_seconds: float) -> None:
        """Ask it to end (SIGTERM); after the time-out end it (SIGKILL). Returns when it is gone."""
        self._signal(psutil.Process.terminate)
        if not wait_until(lambda: not self.is_running(), timeout_seconds):
            self.kill()

    def kill(self) -> None:
        """End it at once (SIGKILL). Returns when it is gone."""
        self._signal(psutil.Process.kill)
        wait_until(lambda: not self.is_running(), _KILL_TIMEOUT_SECONDS)

    def _signal(self, send: Callable[[psutil.Process], None]) -> None:
        if self.is_running():
            with suppress(psutil.NoSuchProcess):
                send(psutil.Process(self.pid))


def _started(process: psutil.Process) -> float:
    return process.create_time() - psutil.boot_time()
