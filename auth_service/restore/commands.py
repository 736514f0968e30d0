"""The command ``auth-service restored``."""

import dataclasses
import sys
from collections.abc import Callable
from typing import Annotated, Final

import typer
from sqlalchemy.ext.asyncio import AsyncEngine

from auth_service.settings import DatabaseSettings
from service_kit.database.commands import on_database
from service_kit.process.errors import OperatorError
from service_kit.process.progress import Progress
from service_kit.process.settings import load
from service_kit.process.terminal import AsJson, failing_with_a_sentence, show

# What the command calls is imported by it: this file is part of every process's start.

STATEMENT_TIMEOUT_MS: Final = 600_000
"""Nobody waits for this database yet, and counting all users takes longer than a request may."""

EXAMPLE: Final = "Example: auth-service restored --floor 1789000000123456"

_NEXT: Final = """\
all users have to sign in again: every session has ended, every access token of before is refused.
What was changed in the lost time cannot be known here. Before the API opens, look through
  auth-service keys list      a signing key that was revoked then is valid again: revoke it again
  auth-service services list  likewise accounts and API keys; what was made then is gone
Passwords, e-mail addresses, roles and disabled accounts are those of the backup.
Then start the relay and the API; when `auth-service status` says quiet, run
  blog-service reconcile      it names the undone deletions: auth-service users erase ID … again"""


def _version(text: str) -> int:
    """A version as ``status`` shows it: with commas, or in JSON without."""
    return int(text.replace(",", ""))


@failing_with_a_sentence
def restored(
    floor: Annotated[
        int,
        typer.Option(
            metavar="V",
            parser=_version,
            help="The highest version that any replica holds: `blog-service status`, 'highest"
            " version'; of several services the highest.",
        ),
    ],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Run once after a restore or an asynchronous failover of the auth database.

    Before its API and relays open. Gives every living user a version above V and above his own,
    records his state, and moves positions and heartbeats past all that were used, so that nothing
    of the lost time can win over it. What was revoked in the lost time must not come back: all
    sessions end, all access tokens are refused, links in mails are void. API keys and signing keys
    that were revoked then have to be revoked again; which, the command cannot know.

    Cut off, run it again: it goes on where it was. Run once more, it does no harm.
    """
    from auth_service.restore.after_restore import Restored
    from auth_service.restore.after_restore import supersede_lost_versions as use_case
    from service_kit.process.actors import operator

    # A request's limit is none here.
    settings = load(DatabaseSettings).model_copy(
        update={"statement_timeout_ms": STATEMENT_TIMEOUT_MS}
    )
    _demand_plausible(floor, on_database(settings, _now), is_asked=not yes)

    def begin(users: int) -> Callable[[int], None]:
        progress.total = users
        return progress.advance

    async def work(engine: AsyncEngine) -> Restored:
        return await use_case(engine, floor=floor, actor=operator(), begin=begin)

    progress = Progress("new versions", None)
    try:
        done = on_database(settings, work)
    finally:
        progress.end()
    show(dataclasses.asdict(done), as_json=as_json)
    print(_NEXT, file=sys.stderr)


def _demand_plausible(floor: int, now: int, *, is_asked: bool) -> None:
    """Refuse a floor that cannot be; ask or warn about one that hardly can."""
    from auth_service.restore.model import InvalidFloor, floor_warning

    try:
        doubts = floor_warning(floor, now=now)
    except InvalidFloor as error:
        raise OperatorError(f"{error}; `blog-service status` shows it") from None
    if doubts:
        print(f"warning: {doubts}", file=sys.stderr)
    if is_asked and sys.stdin.isatty():
        typer.confirm("End all sessions and give every user a new version?", abort=True, err=True)


async def _now(engine: AsyncEngine) -> int:
    """Microseconds of PostgreSQL's clock, from which versions are made."""
    from sqlalchemy import select

    from auth_service.users.table import FIRST_VERSION

    async with engine.connect() as connection:
        return int(await connection.scalar(select(FIRST_VERSION)) or 0)
