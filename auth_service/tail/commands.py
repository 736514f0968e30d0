"""The commands ``auth-service events …``."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from service_kit.database.follow import LinesAsJson, Types, User, follow
from service_kit.process.load import load
from service_kit.process.terminal import failing_with_a_sentence, instant

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from auth_service.tail.read import OutboxReader

app = typer.Typer(no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Watch events being recorded and published."""


def _time(text: str) -> datetime:
    """Read a time, or how long ago it was."""
    from datetime import UTC

    from auth_service.outbox.model import InvalidDuration, parse_duration

    try:
        return datetime.now(UTC) - parse_duration(text)
    except InvalidDuration:
        return instant(text)


@app.command(epilog="Example: auth-service events tail --type user.deleted --since 10m")
@failing_with_a_sentence
def tail(
    types: Types = [],  # noqa: B006 - Typer's way to say that there may be none
    user: User = None,
    since: Annotated[
        datetime | None,
        typer.Option(
            parser=_time,
            metavar="T",
            help="Begin with events recorded at T or later: a time, or how long ago, e.g. 10m.",
        ),
    ] = None,
    follows: Annotated[
        bool,
        typer.Option("--follow/--no-follow", help="Go on until interrupted, or end with the log."),
    ] = True,
    as_json: LinesAsJson = False,
) -> None:
    """Show events as they are recorded and published, with ids and times, without their content.

    Reads the database alone. Ctrl-C ends it. `SERVICE events tail` of a replica shows how they are
    applied there.
    """
    from auth_service.settings import DatabaseSettings
    from auth_service.tail.read import OutboxReader

    async def start(engine: "AsyncEngine") -> "OutboxReader":
        if since is None:
            return await OutboxReader.start(engine, None)
        return await OutboxReader.since(engine, since)

    follow(load(DatabaseSettings), start, types=types, user=user, as_json=as_json, ends=not follows)
