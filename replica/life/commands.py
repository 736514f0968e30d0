"""The commands ``users …`` that each service with a replica has: ``life`` and ``find``."""

from contextlib import aclosing
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Final
from uuid import UUID

import typer

from replica.parked.commands import printable, summary_line
from service_kit.database.commands import on_database
from service_kit.process.errors import OperatorError
from service_kit.process.id_lists import argument, user_id
from service_kit.process.id_prefixes import ids_between
from service_kit.process.load import load
from service_kit.process.terminal import AsJson, failing_with_a_sentence, show
from service_kit.process.times import time_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncEngine

    from replica.life.bodies import LifeBody
    from replica.life.find import Found
    from replica.life.model import Life
    from replica.service import Service

HEAD: Final = ("field", "source", "replica")


def users_commands(command: str, own: typer.Typer | None) -> typer.Typer:
    """Make the commands ``users …`` of a service.

    Parameters:
        command: the service's, for examples.
        own: the service's own commands of this group, which come along.
    """
    app = typer.Typer(no_args_is_help=True)
    app.callback()(_group)
    if own is not None:
        app.add_typer(own)
    app.command(
        "life", epilog=f"Example: {command} users life 0b6f1c1e-4a3f-4e43-8a4a-8f0b8b3b4a52"
    )(show_life)
    app.command("find", epilog=f"Example: {command} users find 0b6f1c1e")(find_users)
    return app


def _group() -> None:
    """Show users, and what else the service does about one."""


@failing_with_a_sentence
def show_life(
    context: typer.Context,
    user: Annotated[
        str, typer.Argument(parser=argument(user_id), metavar="ID", help="User to show.")
    ],
    as_json: AsJson = False,
) -> None:
    """Show a user here and at the source side by side, and what a request of theirs would get.

    Also what of them is parked or waits. If the source cannot be asked, its side is missing, and
    the output says why. Nothing is changed. `auth-service users life` shows the source's end.
    """
    from replica.life.at_source import SECONDS_MAX
    from replica.life.bodies import LifeBody
    from replica.life.read import life
    from replica.source_client import Account

    service: Service = context.obj()
    settings, asked = load(service.reconcile), UUID(user)

    async def read(engine: "AsyncEngine") -> "Life":
        if not settings.can_reconcile:
            return await life(service.replica, settings, None, engine, asked)
        async with aclosing(Account(settings, silence_seconds=SECONDS_MAX)) as account:
            return await life(service.replica, settings, account, engine, asked)

    # Not the settings of comparisons, which need a session of their own.
    found = on_database(load(service.database), read)
    if found.is_unknown:
        raise OperatorError("no user has this id, neither here nor at the source")
    body = LifeBody.of(asked, found, shows_addresses=True)
    if as_json:
        print(body.model_dump_json())
    else:
        _print(body)


def _prefix(text: str) -> str:
    if ids_between(text) is None:
        raise typer.BadParameter("give three or more hexadecimal digits of an id")
    return text


@failing_with_a_sentence
def find_users(
    context: typer.Context,
    prefix: Annotated[
        str,
        typer.Argument(parser=_prefix, metavar="PREFIX", help="First digits of the id."),
    ],
    as_json: AsJson = False,
) -> None:
    """Find users here by the first digits of their id.

    At most twenty, also deleted ones. `auth-service users find` finds them by address too.
    """
    from replica.life.find import find

    service: Service = context.obj()

    async def read(engine: "AsyncEngine") -> "Sequence[Found]":
        async with engine.connect() as connection:
            return await find(service.replica, connection, prefix)

    found = on_database(load(service.database), read)
    if as_json:
        show({"items": [asdict(user) for user in found]}, as_json=True)
    elif not found:
        raise OperatorError("no user here has an id that begins like this")
    else:
        for user in found:
            deleted = "" if user.deleted_at is None else f"  deleted {time_text(user.deleted_at)}"
            print(f"{user.id}  version {user.version}{deleted}")


def _print(body: "LifeBody") -> None:
    answer, error = body.answer, body.source_error
    code = "" if answer is None or answer.code is None else f" {answer.code}"
    show(
        {
            "id": str(body.id),
            "differs": f"not compared: {error}" if error else body.differs or "no",
            "unpublished": _text(body.unpublished),
            "applied_at": body.applied_at,
            "a_request_gets": answer and f"{answer.status}{code}: {answer.because}",
            "waiting_messages": body.waiting,
            "parked_messages": len(body.parked),
        },
        as_json=False,
    )
    for each in body.parked:
        print(summary_line(each))
    rows = [(each.field, _text(each.source), _text(each.replica)) for each in body.fields]
    widths = [max(map(len, column)) for column in zip(HEAD, *rows, strict=True)]
    verdicts = (None, *(each.is_equal for each in body.fields))
    for row, is_equal in zip((HEAD, *rows), verdicts, strict=True):
        cells = "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
        print(f"{cells}  differs" if is_equal is False else cells.rstrip())


def _text(value: Any) -> str:
    """A field's value, exact: times with their microseconds, since those can differ."""
    from contracts.events import rfc3339

    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return rfc3339(value)
    if isinstance(value, list):
        return ", ".join(value) or "-"
    return printable(str(value))
