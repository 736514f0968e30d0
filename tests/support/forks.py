"""Control processes that ``fork_server`` starts, with the methods of ``subprocess``."""

import atexit
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryFile

from tests.support import fork_server

_sending = threading.Lock()


class Fork:
    """A running command.

    Parameters:
        command: the path of an installed Python script, and its arguments.
        environment: all environment variables.
        folder: the working directory.
        streams: the file descriptors of standard input, output and error.
        session: whether it runs in a new session, without a terminal.
    """

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        folder: Path,
        streams: tuple[int, int, int],
        *,
        session: bool = False,
    ) -> None:
        self.args = list(command)
        self.returncode: int | None = None
        self._channel, theirs = socket.socketpair()
        order = {
            "command": self.args,
            "environment": dict(environment),
            "folder": str(folder),
            "session": session,
        }
        with theirs, _sending:
            socket.send_fds(_server(Path(command[0]).name), [b"+"], [*streams, theirs.fileno()])
        self._lines = self._channel.makefile("rw")
        self._lines.write(f"{json.dumps(order)}\n")
        self._lines.flush()
        self.pid = int(self._lines.readline())
        self._looking = threading.Lock()

    def poll(self) -> int | None:
        """Return the exit code, the negative number of a signal, or None while it runs."""
        return self._look(0)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end of the process and return its exit code.

        Raises:
            subprocess.TimeoutExpired: it has not ended within ``timeout`` seconds.
        """
        code = self._look(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def _look(self, timeout: float | None) -> int | None:
        with self._looking:
            if self.returncode is None and select.select([self._channel], [], [], timeout)[0]:
                self.returncode = int(self._lines.readline())
                self._lines.close()
                self._channel.close()
            return self.returncode


def run_forked(
    command: Sequence[str],
    environment: Mapping[str, str],
    folder: Path,
    *,
    typed: bytes = b"",
    timeout: float = 60,
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, with ``typed`` as its standard input."""
    with TemporaryFile() as given, TemporaryFile() as printed, TemporaryFile() as errors:
        given.write(typed)
        given.seek(0)
        streams = (given.fileno(), printed.fileno(), errors.fileno())
        fork = Fork(command, environment, folder, streams)
        try:
            code = fork.wait(timeout)
        finally:
            fork.kill()
        texts = []
        for file in (printed, errors):
            file.seek(0)
            texts.append(file.read().decode())
    return subprocess.CompletedProcess(fork.args, code, *texts)


@cache
def _server(program: str) -> socket.socket:
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-m", fork_server.__name__, str(theirs.fileno()), program],
            env={"PATH": os.environ["PATH"]},
            cwd=Path(__file__).parents[2],
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            start_new_session=True,
        )

    def end() -> None:
        ours.close()
        process.wait(10)

    atexit.register(end)
    return ours
