"""The commands of a service with a replica; the service adds its own.

Commands import what they need when they run, so that help comes at once; a test checks that.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import typer

from replica.certificates.commands import proofs_commands
from replica.life.commands import users_commands
from replica.parked.commands import parked_commands
from replica.reconcile.commands import reconcile
from replica.tail.commands import events_commands
from service_kit.database.commands import on_database
from service_kit.process.load import load
from service_kit.process.program import program
from service_kit.process.setting_commands import setting_commands
from service_kit.process.terminal import (
    AsJson,
    Check,
    checked,
    failing_with_a_sentence,
    health,
    show,
)

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from replica.service import Service
    from replica.settings import ApiSettings
    from service_kit.process.settings import ServiceSettings


def commands(
    name: str,
    load_service: "Callable[[], Service]",
    *,
    prefix: str,
    description: str | None = None,
    users: typer.Typer | None = None,
    api: "Callable[[], type[ApiSettings]] | None" = None,
    creates_tables: bool = False,
) -> typer.Typer:
    """Make a service's commands: ``consumer``, ``status``, ``reconcile`` and those in groups.

    Parameters:
        name: of the command, for examples.
        load_service: imports what the service defines; called when a command runs.
        prefix: of the service's settings, for examples.
        description: the first line of its help.
        users: commands of the service's own for the group ``users``.
        api: imports the settings of the service's API, if it has one.
        creates_tables: whether to add ``create-tables``, for a service without migrations.
    """
    app = program(description, context=load_service)
    app.command(epilog=f"Example: {prefix}AMQP_URL=amqp://localhost/ {name} consumer")(consumer)
    app.command(epilog=f"Example: {name} status --check")(status)
    app.command(epilog=f"Example: {name} reconcile --repair")(reconcile)
    if creates_tables:
        app.command(epilog=f"Example: {name} create-tables")(create_tables)
    app.add_typer(events_commands(name), name="events")
    app.add_typer(parked_commands(name), name="parked")
    app.add_typer(proofs_commands(name), name="proofs")
    app.add_typer(users_commands(name, users), name="users")
    processes: dict[str, Callable[[], type[ServiceSettings]]] = {
        "consumer": lambda: load_service().consumer,
        **({} if api is None else {"api": api}),
    }
    app.add_typer(setting_commands(lambda: load_service().database, processes), name="settings")
    return app


@failing_with_a_sentence
def consumer(context: typer.Context) -> None:
    """Apply user events from the source to the replica."""
    from replica.consume import consume
    from service_kit.processes import start

    service: Service = context.obj()
    consume(service, start(service.consumer, "consumer"))


@failing_with_a_sentence
def create_tables(context: typer.Context) -> None:
    """Create the tables that are missing; run it as their owner."""
    from replica.create_tables import create_tables as create

    service: Service = context.obj()
    on_database(load(service.database), lambda engine: create(service.replica, engine))


@failing_with_a_sentence
def status(context: typer.Context, as_json: AsJson = False, check: Check = False) -> None:
    """Show replica, queue and parked-message status."""
    import logging

    from replica.proof.model import lines_of
    from replica.status.model import needs_attention
    from replica.status.read import status as read_status

    logging.disable()  # failed attempts to reach the broker show as "-" in the figures
    service: Service = context.obj()

    async def read(engine: "AsyncEngine") -> dict[str, Any]:
        async with engine.connect() as connection:
            return await read_status(service.replica, settings, connection, settings.amqp_url)

    with checked(is_asked_for=check):
        settings = load(service.status)
        figures = on_database(settings, read)
        if as_json:
            show(figures, as_json=True)
        else:
            print("\n".join(lines_of(figures["proof"])))
            print(figures["agreement"]["text"])
            several = ("proof", "agreement")
            lines = {name: value for name, value in figures.items() if name not in several}
            show(lines, as_json=False)
    if check:
        raise typer.Exit(health(figures["pipe"], needs_attention=needs_attention(figures)))
