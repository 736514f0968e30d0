"""Run the services' commands as processes, like an operator.

They are forks of a process that has imported their libraries, unless a test asks for the installed
program itself; `fork_server` says what is the same.
"""

import asyncio
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from tests.support.eventually import eventually
from tests.support.forks import Fork, run_forked
from tests.support.programs import ran

BIN = Path(sys.executable).parent

AuthCommand = Callable[..., Awaitable[subprocess.CompletedProcess[str]]]
"""Takes the arguments, the standard input and more settings (``auth_command`` in the fixtures)."""


class Process:
    """A command such as ``auth-service relay``, running or not.

    Parameters:
        installed: start the installed program, not a fork.
    """

    def __init__(
        self, command: str, environment: Mapping[str, str], log: Path, *, installed: bool = False
    ) -> None:
        self.command = command
        self.log = log
        self._environment = {"PATH": os.environ["PATH"], **environment}
        self._installed = installed
        self._process: subprocess.Popen[bytes] | Fork | None = None

    def start(self) -> None:
        command, folder = words(self.command), self.log.parent
        with self.log.open("ab") as log:
            if self._installed:
                self._process = subprocess.Popen(
                    command, env=self._environment, cwd=folder, stdout=log, stderr=log
                )
            else:
                with Path(os.devnull).open() as nothing:
                    streams = (nothing.fileno(), log.fileno(), log.fileno())
                    self._process = Fork(command, self._environment, folder, streams)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        if self._process:
            self._process.kill()
            self._process.wait(10)

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    async def stop(self, within: float = 30.0) -> int:
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
                with urllib.request.urlopen(url, timeout=2) as response:
                    return bool(response.status == 200)
            except (urllib.error.URLError, OSError):
                return False

        await eventually(lambda: asyncio.to_thread(look), within=within, every=0.05)


@asynccontextmanager
async def running(process: Process, ready_url: str) -> AsyncIterator[None]:
    """Run a process inside the block, which begins when ``ready_url`` responds with 200."""
    process.start()
    try:
        await process.is_ready(ready_url)
        yield
    finally:
        process.kill()


def run(
    command: str | Sequence[str],
    environment: Mapping[str, str],
    folder: Path,
    *,
    typed: bytes = b"",
    installed: bool = False,
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end.

    Parameters:
        command: in words, or as a sequence where an argument has spaces or is empty.
        environment: all variables except ``PATH``.
        folder: its working directory.
        typed: its standard input, which is not a terminal.
        installed: start the installed program, not a fork.
    """
    environment = {"PATH": os.environ["PATH"], **environment}
    if not installed:
        return run_forked(words(command), environment, folder, typed=typed)
    return ran(*words(command), env=environment, cwd=folder, input=typed.decode())


def words(command: str | Sequence[str]) -> list[str]:
    """The path of the installed program, and its arguments."""
    program, *arguments = command.split() if isinstance(command, str) else command
    return [str(BIN / program), *arguments]
