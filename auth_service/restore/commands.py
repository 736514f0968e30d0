"""The command ``auth-service restored``."""

import dataclasses
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Final

import typer

from service_kit.database.commands import on_database
from service_kit.process.errors import OperatorError
from service_kit.process.load import load
from service_kit.process.progress import Progress
from service_kit.process.terminal import AsJson, failing_with_a_sentence, show

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine


STATEMENT_TIMEOUT_MS: Final = 600_000
"""Counting all users takes longer than a request may, and no request uses this database yet."""

EXAMPLE: Final = "Example: auth-service restored --floor 1789000000123456"

_NEXT: Final = """\
All sessions have ended and all earlier access tokens are refused: users must sign in again.
The changes of the lost time are unknown here. Before you start the API, check
  auth-service keys list      a key revoked since the backup is valid again: revoke it again
  auth-service services list  the same for accounts and API keys; ones created since are gone
Passwords, e-mail addresses, roles and disabled accounts are those of the backup.
Then start the relay and the API. When `auth-service status` shows quiet, run
  blog-service reconcile      it lists undone deletions; delete those users again:
  blog-service reconcile --ids undone_deletion | auth-service users erase --yes -"""


def _version(text: str) -> int:
    """Parse a version as ``status`` shows it: with commas, or without them as in JSON."""
    return int(text.replace(",", ""))


@failing_with_a_sentence
def restored(
    floor: Annotated[
        int,
        typer.Option(
            metavar="V",
            parser=_version,
            help="Highest version of any replica (`blog-service status`).",
        ),
    ],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
    as_json: AsJson = False,
) -> None:
    """Run after a restore or asynchronous failover of the auth database.

    Run it before the API and relays start. V is the 'highest version' that `blog-service status`
    shows, of all services the highest. Every user who is not deleted gets a version above V and
    above their own, and an event with their state. Positions and heartbeat numbers move past all
    that were used. So no change of the lost time can win.

    All sessions end, all access tokens are refused, and links in mails are void. Revoke again the
    API keys and signing keys that were revoked since the backup: the command cannot know them.

    After an interruption, run it again: it resumes where it stopped. Running it twice is harmless.
    """
    from auth_service.restore.after_restore import Restored
    from auth_service.restore.after_restore import supersede_lost_versions as use_case
    from auth_service.settings import DatabaseSettings
    from service_kit.process.actors import operator

    # The time limit of requests is too short here.
    settings = load(DatabaseSettings).model_copy(
        update={"statement_timeout_ms": STATEMENT_TIMEOUT_MS}
    )
    _require_plausible(floor, on_database(settings, _now), is_asked=not yes)

    def begin(users: int) -> Callable[[int], None]:
        progress.total = users
        return progress.advance

    async def work(engine: "AsyncEngine") -> Restored:
        return await use_case(engine, floor=floor, actor=operator(), begin=begin)

    progress = Progress("new versions", None)
    try:
        done = on_database(settings, work)
    finally:
        progress.end()
    show(dataclasses.asdict(done), as_json=as_json)
    print(_NEXT, file=sys.stderr)


def _require_plausible(floor: int, now: int, *, is_asked: bool) -> None:
    """Refuse an impossible floor, warn about an unlikely one, and ask for confirmation."""
    from auth_service.restore.model import InvalidFloor, floor_warning

    try:
        doubts = floor_warning(floor, now=now)
    except InvalidFloor as error:
        raise OperatorError(f"{error}; `blog-service status` shows it") from None
    if doubts:
        print(f"warning: {doubts}", file=sys.stderr)
    if is_asked and sys.stdin.isatty():
        typer.confirm("End all sessions and give every user a new version?", abort=True, err=True)


async def _now(engine: "AsyncEngine") -> int:
    """Read PostgreSQL's clock in microseconds, as versions count."""
    from sqlalchemy import select

    from auth_service.users.table import FIRST_VERSION

    async with engine.connect() as connection:
        return int(await connection.scalar(select(FIRST_VERSION)) or 0)
