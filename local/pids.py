"""Processes started here, remembered across runs of this program.

Guarantees: a process is identified by its pid and start time, so a reused pid is never mistaken for
ours and never killed; neither is a process of another checkout from which the file was copied.
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

_SAME_START_SECONDS = 0.1  # both figures come from the same clock; this only allows for rounding
_KILL_TIMEOUT_SECONDS = (
    5.0  # SIGKILL cannot be refused; the system needs a moment to free the memory
)


@dataclass(frozen=True)
class StartedProcess:
    """A process started here; it may have ended since."""

    pid: int
    started: float
    """Seconds from the machine's boot to the process's start: unaffected by clock changes."""

    @classmethod
    def of(cls, pid: int) -> "StartedProcess":
        """Return the process with this pid. Raises psutil.NoSuchProcess if there is none."""
        return cls(pid, _started(psutil.Process(pid)))

    @classmethod
    def start(
        cls,
        command: Sequence[str],
        environment: Mapping[str, str],
        folder: Path,
        log: IO[bytes],
    ) -> "StartedProcess":
        """Start a command that outlives us, in its own session, with output to `log`."""
        child = subprocess.Popen(
            command,
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        child.returncode = 0  # it outlives us; otherwise the garbage collector warns
        return cls.of(child.pid)

    @classmethod
    def load(cls, path: Path) -> "StartedProcess | None":
        """Load a saved process, if any; ignore a file that was copied there."""
        try:
            saved = json.loads(path.read_text())
        except FileNotFoundError:
            return None
        is_ours = saved.pop("file", str(path)) == str(path)
        return cls(**saved) if is_ours else None

    def save(self, path: Path) -> None:
        """Store it for other runs of this program."""
        path.write_text(json.dumps(asdict(self) | {"file": str(path)}))

    @property
    def name(self) -> str:
        """The program's name; empty if the process has ended."""
        try:
            return psutil.Process(self.pid).name() if self.is_running() else ""
        except psutil.NoSuchProcess:
            return ""

    def is_running(self) -> bool:
        """Return whether this process still runs."""
        # A child that has exited keeps its pid until its exit status is read.
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
        """Return all present descendants."""
        if not self.is_running():
            return []
        found = []
        for child in psutil.Process(self.pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                found.append(StartedProcess(child.pid, _started(child)))
        return found

    def terminate(self, timeout_seconds: float) -> None:
        """Send SIGTERM, after the time-out SIGKILL; return when the process has ended."""
        self._signal(psutil.Process.terminate)
        if not wait_until(lambda: not self.is_running(), timeout_seconds):
            self.kill()

    def kill(self) -> None:
        """Send SIGKILL; return when the process has ended."""
        self._signal(psutil.Process.kill)
        wait_until(lambda: not self.is_running(), _KILL_TIMEOUT_SECONDS)

    def _signal(self, send: Callable[[psutil.Process], None]) -> None:
        if self.is_running():
            with suppress(psutil.NoSuchProcess):
                send(psutil.Process(self.pid))


def _started(process: psutil.Process) -> float:
    return process.create_time() - psutil.boot_time()
