"""The commands ``auth-service outbox …``: the retention of the event log."""

import dataclasses
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from service_kit.database.commands import on_database
from service_kit.process.load import load
from service_kit.process.progress import Progress
from service_kit.process.terminal import AsJson, failing_with_a_sentence, show

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from auth_service.outbox.prune import Pruned

app = typer.Typer(no_args_is_help=True, help="Manage the retention of the event log.")


def _length(text: str) -> timedelta:
    from auth_service.outbox.model import InvalidDuration, parse_duration

    try:
        return parse_duration(text)
    except InvalidDuration as error:
        raise typer.BadParameter(f"{text!r} {error}") from None


@app.command(epilog="Example: auth-service outbox prune --older-than 30d --dry-run")
@failing_with_a_sentence
def prune(
    older_than: Annotated[
        timedelta,
        typer.Option(
            parser=_length,
            metavar="TIME",
            help="Delete events older than this, e.g. 30d, 12h or 90m.",
        ),
    ],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count only; delete nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Delete old events, which replays can then no longer send.

    Unpublished events stay, and so do those that an unfinished replay of the log needs. Users and
    replicas do not change: `replay start --current-state` still sends all users. With
    AUTH_OUTBOX_KEEP_DAYS set, relays prune once an hour.
    """
    from auth_service.outbox import prune as use_case
    from auth_service.settings import DatabaseSettings
    from service_kit.process.actors import operator

    async def work(engine: "AsyncEngine") -> "Pruned":
        return await use_case.prune(
            engine, older_than, actor=operator(), is_dry=dry_run, advance=progress.advance
        )

    progress = Progress("events read")
    try:
        pruned = on_database(load(DatabaseSettings), work)
    finally:
        progress.end()
    show({"dry_run": dry_run, **dataclasses.asdict(pruned)}, as_json=as_json)
