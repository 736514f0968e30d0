"""The whole system at work, with a blog that may compare itself, and an operator's commands."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncEngine

from auth_service.settings import DatabaseSettings
from blog_service.settings import DatabaseSettings as BlogSettings
from local.compare import compare
from service_kit.database.engines import pooled
from tests.support.eventually import eventually
from tests.support.load import loaded
from tests.support.processes import run
from tests.support.settled import figure
from tests.support.system import COMMANDS, Member, System, at_work

AUTH = ("auth-service api", "auth-service relay")
BLOG = ("blog-service api", "blog-service consumer")


@dataclass
class Whole:
    """The system with its four processes, and connections to both databases."""

    system: System
    processes: dict[str, Member]
    auth: AsyncEngine
    blog: AsyncEngine

    async def command(self, line: str) -> tuple[int, str]:
        """Run an operator's command; return its exit code and output."""
        done = await asyncio.to_thread(run, line, self.system.environment, self.system.folder)
        assert "Traceback" not in done.stderr, done.stderr
        return done.returncode, done.stdout

    async def succeeds(self, line: str) -> str:
        """Run a command that must succeed; return its output."""
        code, printed = await self.command(line)
        assert code == 0, printed
        return printed

    async def figures(self, line: str) -> dict[str, Any]:
        """Return the output of a command with ``--json``."""
        _, printed = await self.command(f"{line} --json")
        figures: dict[str, Any] = json.loads(printed)
        return figures

    async def agrees(self) -> bool:
        """Compare both tables from outside, id by id and field by field."""
        found = await compare(self.system.auth_url, self.system.blog_url)
        assert not found.differences, f"{found}: {found.differences[:3]}"
        return found.users > 0

    async def is_published(self) -> bool:
        """Return whether all changes of users are published; heartbeats do not count."""
        return not await figure(
            self.system.auth_url,
            "SELECT count(*) FROM outbox_events WHERE published_at IS NULL"
            " AND type <> 'sync.heartbeat'",
        )

    async def proof(self) -> dict[str, Any]:
        proof: dict[str, Any] = (await self.figures("blog-service status"))["proof"]
        return proof

    async def is_proved(self) -> bool:
        """Return whether the last proof found both sides equal."""
        proof = await self.proof()
        return (proof["state"], proof["differing"]) == ("equal", 0)

    async def differs(self) -> bool:
        """Return whether the last proof has named users who differ."""
        return bool((await self.proof())["state"] == "differs")

    async def next_heartbeat(self) -> None:
        last = await self._heartbeat()
        await eventually(lambda: self._has_applied(last + 1), every=0.05)

    async def alive(self, deleted: Sequence[UUID]) -> int:
        """Count the users, on both sides, who are alive although they were deleted."""
        ids = ",".join(map(str, deleted))
        query = f"SELECT count(*) FROM users WHERE status <> 'deleted' AND id = ANY('{{{ids}}}')"
        return await figure(self.system.auth_url, query) + await figure(self.system.blog_url, query)

    async def _has_applied(self, number: int) -> bool:
        return await self._heartbeat() >= number

    async def _heartbeat(self) -> int:
        return await figure(self.system.blog_url, "SELECT max(number) FROM heartbeats")

    async def stop(self, *commands: str) -> None:
        """Stop some processes, and close the connections to their databases."""
        await asyncio.gather(*(self.processes[command].stop() for command in commands))
        await self.auth.dispose()
        await self.blog.dispose()

    async def start(self, *commands: str) -> None:
        await asyncio.gather(*(self.processes[command].ready() for command in commands))


@asynccontextmanager
async def running(system: System, **settings: object) -> AsyncIterator[Whole]:
    """Run the four processes inside the block, with about a hundred users on both sides.

    Parameters:
        settings: by name; without any, there are four heartbeats a second.
    """
    settings = {"AUTH_HEARTBEAT_SECONDS": 0.25, "BLOG_RETRY_SECONDS_MAX": 0.5} | settings
    first = system.process(COMMANDS[0], **settings)
    with_account = await system.with_account(first.url)
    others = {name: with_account.process(name, **settings) for name in COMMANDS[1:]}
    processes = {COMMANDS[0]: first, **others}
    auth = pooled(DatabaseSettings(database_url=system.auth_url))
    blog = pooled(BlogSettings(database_url=system.blog_url))
    async with at_work(*processes.values()):
        async with loaded(auth, per_second=200) as load:
            await eventually(lambda: load.changes > 400)
        whole = Whole(with_account, processes, auth, blog)
        await eventually(whole.agrees)
        yield whole
    await auth.dispose()
    await blog.dispose()
