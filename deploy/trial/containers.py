"""The system in containers of its own, by ``docker compose``."""

import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]

PROJECT: Final = "usersync-trial"

AUTH_PORT: Final = 18001
BLOG_PORT: Final = 18002
HTTPS_PORT: Final = 18443

_SETTINGS: Final = {
    "AUTH_PORT": str(AUTH_PORT),
    "BLOG_PORT": str(BLOG_PORT),
    "HTTPS_PORT": str(HTTPS_PORT),
    "HTTP_PORT": "18080",
    "RABBITMQ_MANAGEMENT_PORT": "18672",
    "FRONT_PREFIX": "172.29.9",
    # All people of a trial have one address.
    "AUTH_LIMIT_SIGNUP": "100000/60",
}

START_SECONDS_MAX: Final = 400
"""Images are built before that; three nodes of RabbitMQ take a minute on a busy machine."""


class Failed(Exception):
    """Something that was promised did not hold."""


@dataclass
class Containers:
    """The containers of one profile.

    Parameters:
        name: of the profile, for messages.
        files: compose files beside the main one.
        folder: for passwords.
        settings: further variables of the compose file.
    """

    name: str
    files: tuple[str, ...]
    folder: Path
    settings: dict[str, str] = field(default_factory=dict)
    _since: float = field(default_factory=time.monotonic)

    def say(self, what: str) -> None:
        """Print a step, with the seconds since the start."""
        print(f"[{self.name} {time.monotonic() - self._since:4.0f} s] {what}", flush=True)

    def start(self, *options: str) -> None:
        """Build and start everything from nothing, and wait until it is healthy."""
        self.remove()
        subprocess.run([ROOT / "deploy/make-secrets.sh", self.folder / "secrets"], check=True)
        self.say("build")
        self.compose("build")
        self.say("start from nothing")
        self.bring_up(*options)
        self.say("all is healthy")

    def bring_up(self, *options: str) -> None:
        """Start what does not run, and wait until it is healthy."""
        self.compose(*("up", "--detach", "--wait", f"--wait-timeout={START_SECONDS_MAX}"), *options)

    def remove(self) -> None:
        """Remove containers, networks and data."""
        self.compose("--profile=*", "down", "--volumes", "--remove-orphans", "--timeout=5")

    def compose(self, *arguments: str) -> str:
        """Run ``docker compose``; return what it prints.

        Raises:
            Failed: it ends with an error.
        """
        ended = self.try_compose(*arguments)
        if ended.returncode:
            raise Failed(f"docker compose {' '.join(arguments)}: {ended.stdout}{ended.stderr}")
        return ended.stdout

    def try_compose(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run ``docker compose``, with any exit code."""
        files = ("docker-compose.yml", *self.files)
        return subprocess.run(
            [
                *("docker", "compose", f"--project-name={PROJECT}", "--env-file=/dev/null"),
                *(f"--file={file}" for file in files),
                *arguments,
            ],
            cwd=ROOT,
            env=os.environ
            | _SETTINGS
            | {"SECRETS_FOLDER": str(self.folder / "secrets")}
            | self.settings,
            capture_output=True,
            text=True,
        )

    def operator(self, *command: str) -> str:
        """Run a command of operators, such as ``blog-service reconcile``."""
        return self.compose("run", "--rm", "--no-TTY", "operator", *command)

    def sql(self, database: str, statement: str, *, server: str = "postgres") -> str:
        """Run a statement as the superuser; return its one value."""
        query = ("psql", "--no-psqlrc", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1")
        return self.compose(
            *("exec", "--no-TTY", server, *query, f"--dbname={database}", "-c", statement)
        ).strip()

    def wait(self, what: str, is_so: Callable[[], object], seconds: float = 60) -> float:
        """Wait until something is so; return after how many seconds it was."""
        started = time.monotonic()
        while not is_so():
            if time.monotonic() - started > seconds:
                raise Failed(f"not within {seconds:.0f} s: {what}")
            time.sleep(0.1)
        took = time.monotonic() - started
        self.say(f"{what} ({took:.1f} s)")
        return took


def require(holds: object, what: str) -> None:
    """Raise ``Failed`` unless it holds."""
    if not holds:
        raise Failed(what)
