"""Run commands of the blog in the test's process; starting another one takes a second of CPU."""

import asyncio
import json
import logging
import shlex
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

from structlog.testing import capture_logs
from typer.testing import CliRunner

from blog_service.cli import app


@dataclass(frozen=True)
class Ended:
    returncode: int
    stdout: str
    stderr: str

    @property
    def figures(self) -> dict[str, Any]:
        """The one JSON object that the command printed."""
        assert self.stdout.count("\n") == 1, self.stderr
        figures: dict[str, Any] = json.loads(self.stdout)
        return figures


@dataclass(frozen=True)
class Command:
    """Runs ``blog-service`` with settings.

    Parameters:
        settings: environment variables.
        logs: whether what this process logs appears on the command's standard error.
    """

    settings: dict[str, str]
    logs: bool = True

    def having(self, *, logs: bool = True, **settings: str) -> "Command":
        """Return a command with more settings."""
        return replace(self, settings=self.settings | settings, logs=logs)

    async def __call__(self, arguments: str, typed: str = "", **settings: str) -> Ended:
        """Run a command to its end; ``typed`` is its standard input."""
        environment, words = self.settings | settings, shlex.split(arguments)
        with ExitStack() as stack:
            if not self.logs:
                stack.enter_context(capture_logs())
            ended = await asyncio.to_thread(
                CliRunner().invoke, app, words, input=typed, env=environment
            )
        assert ended.exception is None or isinstance(ended.exception, SystemExit)
        return Ended(ended.exit_code, ended.stdout, ended.stderr)


@contextmanager
def commands_on(database_url: str) -> Iterator[Command]:
    """Yield the command with this database; afterwards logging is on again."""
    yield Command({"BLOG_DATABASE_URL": database_url, "COLUMNS": "200"})
    logging.disable(logging.NOTSET)  # status switches logging off for its process
