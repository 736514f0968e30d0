"""The commands ``SERVICE events …``."""

from typing import TYPE_CHECKING

import typer

from service_kit.database.follow import LinesAsJson, Types, User, follow
from service_kit.process.load import load
from service_kit.process.terminal import failing_with_a_sentence

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from replica.service import Service
    from replica.tail.read import SettledReader


def events_commands(command: str) -> typer.Typer:
    """Make the commands ``events …`` of a service; ``command`` is the service's, for examples."""
    app = typer.Typer(no_args_is_help=True)
    app.callback()(_group)
    app.command(epilog=f"Example: {command} events tail --type user.deleted")(tail)
    return app


def _group() -> None:
    """Watch events being applied."""


@failing_with_a_sentence
def tail(
    context: typer.Context,
    types: Types = [],  # noqa: B006 - Typer's way to say that there may be none
    user: User = None,
    as_json: LinesAsJson = False,
) -> None:
    """Show events as consumers apply, park or set them aside, with ids and times alone.

    Begins a second after the start, when the consumers have noticed it. Ctrl-C ends it.
    `auth-service events tail` shows how they are recorded and published.
    """
    from replica.tail.read import SettledReader

    service: Service = context.obj()

    async def start(engine: "AsyncEngine") -> "SettledReader":
        return await SettledReader.start(engine, None)

    follow(load(service.database), start, types=types, user=user, as_json=as_json)
