"""Run the services' commands as processes, like an operator."""

import asyncio
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from tests.support.eventually import eventually

BIN = Path(sys.executable).parent


class Process:
    """A command such as ``auth-service relay``, running or not."""

    def __init__(self, command: str, environment: Mapping[str, str], log: Path) -> None:
        self.command = command
        self.log = log
        self._environment = {"PATH": os.environ["PATH"], **environment}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the process; append its output to the log."""
        program, *arguments = self.command.split()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [str(BIN / program), *arguments],
                env=self._environment,
                cwd=self.log.parent,
                stdout=log,
                stderr=log,
            )

    @property
    def is_running(self) -> bool:
        """Return whether the process runs."""
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """Send SIGKILL and wait for the end."""
        if self._process:
            self._process.kill()
            self._process.wait(10)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    async def stop(self, within: float = 30.0) -> int:
        """Send SIGTERM; return the exit code."""
        assert self._process is not None
        self._process.terminate()
        return await asyncio.to_thread(self._process.wait, within)

    async def ended(self, within: float = 30.0) -> int:
        """Wait until the process ends by itself; return the exit code."""
        assert self._process is not None
        return await asyncio.to_thread(self._process.wait, within)

    async def is_ready(self, url: str, within: float = 30.0) -> None:
        """Wait until ``url`` responds with 200."""

        def look() -> bool:
            assert self.is_running, f"{self.command} ended:\n{self.log.read_text()[-3000:]}"
            try:
                with urllib.request.urlopen(url, timeout=2) as answer:
                    return bool(answer.status == 200)
            except (urllib.error.URLError, OSError):
                return False

        await eventually(lambda: asyncio.to_thread(look), within=within, every=0.05)


def run(
    command: str, environment: Mapping[str, str], folder: Path
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    program, *arguments = command.split()
    return subprocess.run(
        [str(BIN / program), *arguments],
        env={"PATH": os.environ["PATH"], **environment},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
