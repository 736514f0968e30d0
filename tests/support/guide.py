"""A page of documentation as its reader uses it: files are written, sessions are typed.

A block of Python begins with the name of its file. In a console session a line after ``$`` is
typed, whatever follows it is shown, and ``…`` stands for anything.
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
_ENDED: Final = "--- ended"
_LOOKS: Final = re.compile(r"curl -s (-D- )?http|psql|python in_step")
"""Commands that change nothing. Like a reader, who sees that it takes a moment, one tries again."""


@dataclass(frozen=True)
class Command:
    """A line to type, and what is shown after it."""

    typed: str
    shown: str


def files_of(page: str) -> dict[str, str]:
    """The files that a page has its reader write."""
    blocks = [text for kind, text in _BLOCK.findall(page) if kind == "python"]
    return {text.partition("\n")[0].removeprefix("# "): text for text in blocks}


def commands_of(page: str) -> list[Command]:
    """What a page has its reader type, in order."""
    sessions = [text for kind, text in _BLOCK.findall(page) if kind == "console"]
    return [
        Command(typed, shown.strip())
        for session in sessions
        for typed, shown in _COMMAND.findall(session)
    ]


class Shell:
    """A shell in which one command is typed after the other."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def type(self, command: str) -> str:
        """What a command shows, errors too."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(f"{command}\necho; echo '{_ENDED}'\n".encode())
        shown = ""
        async with asyncio.timeout(60):
            while not shown.endswith(f"\n{_ENDED}\n"):
                line = await stdout.readline()
                assert line, f"the shell ended after: {command}\n{shown}"
                shown += line.decode()
        return shown.removesuffix(f"\n{_ENDED}\n").strip()

    async def follow(self, command: Command) -> None:
        """Type a command of a page, and see what the page says."""
        pattern = ".*".join(re.escape(part) for part in command.shown.split("…"))

        async def see() -> bool:
            shown = (await self.type(command.typed)).replace("\r", "")
            assert re.fullmatch(pattern, shown, re.DOTALL), (
                f"$ {command.typed}\n{shown}\nbut the page shows\n{command.shown}"
            )
            return True

        if _LOOKS.match(command.typed):
            await eventually(see, every=0.2)
        else:
            await see()


@asynccontextmanager
async def shell_in(folder: Path, environment: Mapping[str, str]) -> AsyncIterator[Shell]:
    """A shell in ``folder``; it is killed afterwards with all that was started in it."""
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
