"""Run the system's own processes in the background.

Guarantees: each outlives the command that starts it and writes to its own log; one that runs with
the right settings is not restarted; only processes started here are stopped.

Not here: which processes there are (`system`).
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx

from local.addresses import url
from local.errors import LocalError
from local.paths import LOCAL, LOGS, ROOT, program
from local.pids import StartedProcess
from local.waiting import wait_until

_RUN = LOCAL / "run"

_STOP_TIMEOUT_SECONDS = 25.0  # above the 20 s that a consumer may need to settle its messages
_READY_TIMEOUT_SECONDS = 60.0  # usually two seconds; the rest is for a busy machine
_RESPONSE_TIMEOUT_SECONDS = 5.0
_LOG_BYTES_MAX = 20_000_000  # a larger log becomes NAME.log.1 at the next start
_TAIL_LINES = 15


@dataclass(frozen=True)
class BackgroundProcess:
    """One process of the system: how to start it, and its state."""

    name: str
    command: tuple[str, ...]
    """A program of the virtual environment, and its arguments."""
    settings: Mapping[str, str]
    port: int
    """The port of /readyz."""

    @property
    def log(self) -> Path:
        """The file with its output."""
        return LOGS / f"{self.name}.log"

    @property
    def pid(self) -> int | None:
        """Its pid while it runs."""
        process = self._process()
        return None if process is None else process.pid

    def is_running(self) -> bool:
        """Return whether it runs; it may not be ready yet."""
        return self._process() is not None

    def start(self) -> bool:
        """Start it unless it runs with these settings; return whether it was started."""
        if self.is_running():
            if self._running_with() == self._fingerprint():
                return False
            self.stop()
        for folder in (_RUN, LOGS):
            folder.mkdir(parents=True, exist_ok=True)
        if self.log.exists() and self.log.stat().st_size > _LOG_BYTES_MAX:
            self.log.rename(self.log.with_suffix(".log.1"))
        with self.log.open("ab") as log:
            process = StartedProcess.start(
                [str(program(self.command[0])), *self.command[1:]],
                os.environ | self.settings,
                ROOT,
                log,
            )
        process.save(self._pid_file)
        self._fingerprint_file.write_text(self._fingerprint())
        return True

    def wait_until_ready(self) -> None:
        """Wait until /readyz returns 200.

        Raises:
            LocalError: it ended or took too long; shows the end of its log.
        """

        def is_settled() -> bool:
            return not self.is_running() or self._answers()

        is_in_time = wait_until(is_settled, _READY_TIMEOUT_SECONDS)
        if not self.is_running() or not is_in_time:
            what = "is not ready in time" if self.is_running() else "ended at once"
            raise LocalError(f"{self.name} {what}; the end of {self.log}:\n{self.tail()}")

    def stop(self) -> None:
        """Send SIGTERM and wait; send SIGKILL if it takes too long."""
        process = self._process()
        if process is not None:
            process.terminate(_STOP_TIMEOUT_SECONDS)

    def kill(self) -> None:
        """Kill it (SIGKILL), like a crash."""
        process = self._process()
        if process is not None:
            process.kill()

    def tail(self) -> str:
        """Return the last lines of its log."""
        try:
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-_TAIL_LINES:])
        except FileNotFoundError:
            return ""

    def _answers(self) -> bool:
        try:
            response = httpx.get(
                f"{url(self.port)}/readyz", trust_env=False, timeout=_RESPONSE_TIMEOUT_SECONDS
            )
        except httpx.HTTPError:
            return False
        return response.status_code == httpx.codes.OK

    def _process(self) -> StartedProcess | None:
        process = StartedProcess.load(self._pid_file)
        return process if process is not None and process.is_running() else None

    def _running_with(self) -> str:
        try:
            return self._fingerprint_file.read_text()
        except FileNotFoundError:
            return ""

    def _fingerprint(self) -> str:
        told = json.dumps([self.command, dict(self.settings)], sort_keys=True)
        return hashlib.sha256(told.encode()).hexdigest()

    @property
    def _pid_file(self) -> Path:
        return _RUN / f"{self.name}.json"

    @property
    def _fingerprint_file(self) -> Path:
        return _RUN / f"{self.name}.settings"
