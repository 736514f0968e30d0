"""The commands ``parked …``: list, show, redrive and discard parked messages."""

import json
import sys
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from service_kit.database.commands import on_database
from service_kit.process.actors import operator
from service_kit.process.errors import OperatorError
from service_kit.process.id_lists import Ids, argument, ids_of, shown
from service_kit.process.load import load
from service_kit.process.progress import Progress
from service_kit.process.terminal import EXIT_FAILED, AsJson, failing_with_a_sentence, show
from service_kit.process.times import time_text

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from replica.parked.bodies import ParkedBody
    from replica.parked.model import ParkedMessage, Redriven, WholeMessage
    from replica.service import Service
    from replica.settings import DatabaseSettings
    from replica.table import Replica


LISTED_MAX: Final = 1_000
"""Per call: more than anyone reads, in little memory."""

LISTED_DEFAULT: Final = 50

ID_MAX: Final = 2**53 - 1


def _parked_id(text: str) -> int:
    """Read the id of a parked message.

    Raises:
        ValueError: it is none.
    """
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:20]) <= ID_MAX):
        raise ValueError(f"{shown(text)} is not a number from 1 to {ID_MAX}")
    return int(text)


ParkedIds = Annotated[
    list[str],
    typer.Argument(
        parser=argument(_parked_id),
        metavar="[ID …|-]",
        help="Ids of messages, from the list; - reads them from standard input.",
    ),
]

ParkedId = Annotated[
    int, typer.Argument(metavar="ID", min=1, max=ID_MAX, help="Id of the message, from the list.")
]


def parked_commands(command: str) -> typer.Typer:
    """Make the commands ``parked …`` of a service.

    Parameters:
        command: the service's, for examples.
    """
    app = typer.Typer(no_args_is_help=True, help="List, redrive and discard parked messages.")
    example = f"Example: {command} parked"
    app.command("list", epilog=f"{example} list --reason unknown_schema")(show_all)
    app.command("show", epilog=f"{example} show 17")(show_one)
    app.command(epilog=f"{example} redrive --all")(redrive)
    app.command(epilog=f'{example} discard 17 --because "sent by a test"')(discard)
    return app


def _service(context: typer.Context) -> "Service":
    service: Service = context.obj()
    return service


def _settings(context: typer.Context) -> "DatabaseSettings":
    return load(_service(context).database)


@failing_with_a_sentence
def show_all(
    context: typer.Context,
    reason: Annotated[
        str | None, typer.Option(help="Only messages with this reason, e.g. invalid_data.")
    ] = None,
    before: Annotated[
        int | None, typer.Option(min=1, max=ID_MAX, help="Only messages parked before this id.")
    ] = None,
    limit: Annotated[
        int, typer.Option(min=1, max=LISTED_MAX, help="Maximum number of messages.")
    ] = LISTED_DEFAULT,
    as_ids: Annotated[
        bool, typer.Option("--ids", help="Ids alone, one a line, of all matching messages.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List parked messages, newest first (metadata only).

    --ids prints what `redrive -` and `discard -` read, without a limit.
    """
    from replica.parked.bodies import ParkedBody
    from replica.parked.read import parked_ids, parked_list

    async def read(engine: "AsyncEngine") -> "Sequence[ParkedMessage]":
        async with engine.connect() as connection:
            return await parked_list(connection, limit=limit + 1, before=before, reason=reason)

    async def print_ids(engine: "AsyncEngine") -> None:
        async with engine.connect() as connection:
            async for parked_id in parked_ids(connection, before=before, reason=reason):
                print(parked_id)

    if as_ids:
        on_database(_settings(context), print_ids)
        return
    found = on_database(_settings(context), read)
    listed, is_all = found[:limit], len(found) <= limit
    if as_json:
        items = [ParkedBody.model_validate(message).model_dump(mode="json") for message in listed]
        print(json.dumps({"items": items, "next_before": None if is_all else listed[-1].id}))
        return
    for message in listed:
        print(summary_line(message))
    if not is_all:
        print(f"more messages: use --before {listed[-1].id}", file=sys.stderr)


@failing_with_a_sentence
def show_one(context: typer.Context, parked_id: ParkedId, as_json: AsJson = False) -> None:
    """Show a message with its body, which may be personal data."""
    from replica.parked.bodies import WholeMessageBody
    from replica.parked.read import parked_message

    async def read(engine: "AsyncEngine") -> "WholeMessage":
        async with engine.connect() as connection:
            return await parked_message(connection, parked_id)

    found = on_database(_settings(context), read)
    if as_json:
        print(json.dumps(WholeMessageBody.model_validate(found).model_dump(mode="json")))
        return
    figures: dict[str, Any] = {
        "id": str(found.id),
        "reason": found.reason,
        "error": found.error,
        "user_id": found.user_id,
        "event_type": printable(found.event_type or "-"),
        "attempts": found.attempts,
        "first_failed_at": found.first_failed_at,
        "last_failed_at": found.last_failed_at,
        "exchange": printable(found.exchange),
        "routing_key": printable(found.routing_key),
    }
    figures |= {printable(name): json.dumps(value) for name, value in found.properties.items()}
    show(figures, as_json=False)
    print("headers")
    for name, value in found.headers.items():
        print(f"    {printable(name)}: {json.dumps(value)}")
    if found.body is None and found.body_bytes is not None:
        print(f"body dropped: {found.body_bytes:,} bytes are too large to store")
        return
    if found.body is None:
        print("body erased: its user was deleted")
        return
    print(f"body ({found.body_encoding}, {found.body_bytes:,} bytes)")
    print(printable(found.body))


@failing_with_a_sentence
def redrive(
    context: typer.Context,
    ids: ParkedIds = [],  # noqa: B006 - Typer's way to say that there may be none
    is_all: Annotated[
        bool, typer.Option("--all", help="All messages parked now, in the order of parking.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Reprocess parked messages; failures stay parked.

    They go through the normal handler. Exit code 0: none of them is parked any more; 1: some are,
    or an id is unknown. A message parked as kills_the_process may crash this command, but nothing
    else; it stays parked then.
    """
    import structlog

    if bool(ids) == is_all:
        raise typer.BadParameter("give either ids or --all")
    # Logs of applied events, such as a heartbeat's suspicion, do not belong in the output.
    structlog.configure(logger_factory=lambda *_: structlog.PrintLogger(sys.stderr))
    replica = _service(context).replica
    with nullcontext() if is_all else ids_of(ids, _parked_id) as given:
        outcomes, unknown = on_database(
            _settings(context), lambda engine: _redrive(replica, engine, given, quietly=as_json)
        )
    show(outcomes, as_json=as_json)
    if outcomes["parked"] or unknown:
        raise typer.Exit(EXIT_FAILED)


@failing_with_a_sentence
def discard(
    context: typer.Context,
    ids: ParkedIds,
    because: Annotated[
        str, typer.Option(help="Reason; stored permanently, so do not name anyone.")
    ],
    as_json: AsJson = False,
) -> None:
    """Delete parked messages permanently, and record who did it and why.

    Their content is not recorded. An unknown id is reported and skipped; the exit code is 1 then.
    """
    from replica.parked.discard import BECAUSE_LENGTH_MAX

    if not because.strip() or len(because) > BECAUSE_LENGTH_MAX or not _is_text(because):
        raise OperatorError(
            f"--because: give a reason of 1 to {BECAUSE_LENGTH_MAX} Unicode characters"
        )
    with ids_of(ids, _parked_id) as given:
        outcomes = on_database(
            _settings(context), lambda engine: _discard(engine, given, because, quietly=as_json)
        )
    if as_json:
        show(outcomes, as_json=True)
    if outcomes["unknown"]:
        raise typer.Exit(EXIT_FAILED)


async def _discard(
    engine: "AsyncEngine", ids: Ids[int], because: str, *, quietly: bool
) -> dict[str, int]:
    """Discard all, print the result of each, and return the number of messages by outcome."""
    from replica.parked.discard import discard as use_case
    from replica.parked.model import NoSuchMessage

    outcomes = {"discarded": 0, "unknown": 0}
    progress = Progress("discarding", len(ids))
    for parked_id in ids:
        progress.end()
        try:
            await use_case(engine, parked_id, because=because, actor=operator())
            outcomes["discarded"] += 1
            if not quietly:
                print(f"{parked_id}  discarded")
        except NoSuchMessage as error:
            print(error, file=sys.stderr)
            outcomes["unknown"] += 1
        progress.advance(1)
    progress.end()
    return outcomes


async def _redrive(
    replica: "Replica", engine: "AsyncEngine", ids: Ids[int] | None, *, quietly: bool
) -> tuple[dict[str, int], bool]:
    """Redrive some messages, or all if ``ids`` is None, and print each result.

    Returns:
        The number of messages by outcome, and whether any id is unknown.
    """
    from contracts.sync.merge import Outcome
    from replica.parked.redrive import parked_now, redrive_all

    outcomes: Counter[str] = Counter()
    is_any_unknown = False
    count, last = await parked_now(engine) if ids is None else (len(ids), 0)
    progress = Progress("redriving", count)
    each = redrive_all(replica, engine, last=last) if ids is None else _each(replica, engine, ids)
    async for redriven in each:
        if redriven is None:
            is_any_unknown = True
            continue
        outcomes[redriven.outcome] += 1
        if not quietly:
            progress.end()
            print(_result_line(redriven))
        progress.advance(1)
    progress.end()
    shown = (outcome for outcome in Outcome if outcome is not Outcome.SET_ASIDE)
    return {outcome.value: outcomes[outcome] for outcome in shown}, is_any_unknown


async def _each(
    replica: "Replica", engine: "AsyncEngine", ids: Ids[int]
) -> "AsyncGenerator[Redriven | None]":
    """Yield the result of each; print an error and yield None for one that is not parked."""
    from replica.parked import redrive as use_case
    from replica.parked.model import NoSuchMessage

    for parked_id in ids:
        try:
            yield await use_case.redrive(replica, engine, parked_id)
        except NoSuchMessage as error:
            print(error, file=sys.stderr)
            yield None


def summary_line(message: "ParkedMessage | ParkedBody") -> str:
    """A message in one line, without its content."""
    parts = (
        f"{message.id:>6}",
        time_text(message.first_failed_at),
        time_text(message.last_failed_at),
        f"{message.attempts}x",
        message.reason,
        printable(message.event_type or "-"),
        str(message.user_id or "-") + (" (erased)" if message.erased else ""),
        message.error,
    )
    return "  ".join(parts)


def _result_line(redriven: "Redriven") -> str:
    if redriven.failure is None:
        return f"{redriven.id}  {redriven.outcome.value}"
    return f"{redriven.id}  parked  {redriven.failure.reason}: {redriven.failure.error}"


def printable(text: str) -> str:
    """Escape control characters, which a terminal would obey; anyone may have sent the text."""
    return "".join(
        letter
        if letter.isprintable() or letter in "\n\t"
        else letter.encode("unicode_escape").decode()
        for letter in text
    )


def _is_text(argument: str) -> bool:
    """Tell whether an argument was valid UTF-8; Python lets invalid bytes pass."""
    try:
        argument.encode()
    except UnicodeEncodeError:
        return False
    return True
