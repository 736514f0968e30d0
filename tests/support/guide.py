"""Follow a documentation page as a reader does: write its files, type its commands.

A Python block begins with the name of its file. In a console session, the reader types the text
after ``$``; the next lines are its output, in which ``…`` matches any text.
"""

import asyncio
import os
import re
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.support.eventually import eventually

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_COMMAND = re.compile(r"^\$ ((?:.*\\\n)*.*)\n((?:(?!\$ ).*\n)*)", re.MULTILINE)
COMMAND_SECONDS_MAX: Final = 120
"""For one command; the first start of a whole system takes a third of it on a busy machine."""

_ENDED: Final = "--- ended"
_LOOKS: Final = re.compile(
    r"curl -s (-D- )?http|grep|psql|python newsletter.py (reconcile|status)"
    r"|(auth|blog)-service status|auth-service replay list"
)
"""Commands without side effects: they are retried until the output matches."""


@dataclass(frozen=True)
class Command:
    """A command line and its expected output."""

    typed: str
    shown: str


def files_of(page: str) -> dict[str, str]:
    blocks = [text for kind, text in _BLOCK.findall(page) if kind == "python"]
    return {text.partition("\n")[0].removeprefix("# "): text for text in blocks}


def commands_of(page: str) -> list[Command]:
    sessions = [text for kind, text in _BLOCK.findall(page) if kind == "console"]
    return [
        Command(typed, shown.strip())
        for session in sessions
        for typed, shown in _COMMAND.findall(session)
    ]


class Shell:
    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def type(self, command: str) -> str:
        """Run a command and return its output, including errors."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(f"{command}\necho; echo '{_ENDED}'\n".encode())
        shown = ""
        async with asyncio.timeout(COMMAND_SECONDS_MAX):
            while not shown.endswith(f"\n{_ENDED}\n"):
                line = await stdout.readline()
                assert line, f"the shell ended after: {command}\n{shown}"
                shown += line.decode()
        return shown.removesuffix(f"\n{_ENDED}\n").strip()

    async def follow(self, command: Command) -> None:
        """Run a command of a page and check its output."""
        pattern = ".*".join(re.escape(part) for part in _plain(command.shown).split("…"))

        async def matches() -> bool:
            shown = _plain(await self.type(command.typed))
            assert re.fullmatch(pattern, shown, re.DOTALL), (
                f"$ {command.typed}\n{shown}\nbut the page shows\n{command.shown}"
            )
            return True

        if _LOOKS.match(command.typed):
            await eventually(matches, every=0.2)
        else:
            await matches()


def _plain(shown: str) -> str:
    """Return output without the widths of columns, which other values change."""
    return re.sub(" {2,}", " ", shown.replace("\r", ""))


@asynccontextmanager
async def shell_in(folder: Path, environment: Mapping[str, str]) -> AsyncIterator[Shell]:
    """Run a shell in ``folder``; kill it afterwards, with all its child processes."""
    process = await asyncio.create_subprocess_exec(
        "bash",
        cwd=folder,
        env={"HOME": str(folder), **environment},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        yield Shell(process)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
