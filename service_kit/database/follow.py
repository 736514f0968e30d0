"""Follow a live tail in a terminal: the commands ``SERVICE events tail``.

Guarantees: lines are printed as they are read, one a line, or as one JSON object each. Ctrl-C ends
it like any command. It works while the service's own processes are down, since it reads the
database.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Final
from uuid import UUID

import typer

from service_kit.database.commands import on_database
from service_kit.process.terminal import plain
from service_kit.process.times import time_text

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from service_kit.database.engines import Database
    from service_kit.process.tail import Batch, Line, Reader, Wanted

_WIDTHS: Final = (20, 11, 15, 10, 36, 16, 36)
_HEAD: Final = ("time", "stage", "type", "lag", "user", "version", "event")


def _known_type(text: str) -> str:
    from contracts.events import DATA_OF

    if text not in DATA_OF:
        raise typer.BadParameter(f"not a type of events; they are {', '.join(sorted(DATA_OF))}")
    return text


Types = Annotated[
    list[str],
    typer.Option(
        "--type",
        parser=_known_type,
        metavar="T",
        help="Only events of this type, such as user.updated; repeat for more.",
    ),
]
User = Annotated[UUID | None, typer.Option(metavar="ID", help="Only events of this user.")]
LinesAsJson = Annotated[bool, typer.Option("--json", help="One JSON object a line, for scripts.")]


def follow(
    settings: "Database",
    start: "Callable[[AsyncEngine], Awaitable[Reader]]",
    *,
    types: list[str],
    user: UUID | None,
    as_json: bool,
    ends: bool = False,
) -> None:
    """Print the wanted lines of a reader, until interrupted.

    Parameters:
        start: makes the reader.
        types: of the wanted events; all if empty.
        user: id of the user whose events are wanted.
        ends: whether to end when everything so far is printed.

    Raises:
        OperatorError: the database is away or refuses.
    """
    from service_kit.process.tail import LOOK_EVERY_SECONDS, Wanted

    wanted = Wanted(frozenset(types), user)

    async def work(engine: "AsyncEngine") -> None:
        reader = await start(engine)
        while True:
            batch = await reader.read()
            _print(batch, wanted, as_json=as_json)
            if batch.lines:
                continue
            if ends:
                return
            await asyncio.sleep(LOOK_EVERY_SECONDS)

    if not as_json:
        print(_row(_HEAD))
    on_database(settings, work)


def _print(batch: "Batch", wanted: "Wanted", *, as_json: bool) -> None:
    for line in wanted.of(batch.lines):
        print(json.dumps(_figures(line), default=plain) if as_json else _row(_cells(line)))
    if batch.left_out:
        left_out = {"left_out": batch.left_out}
        print(json.dumps(left_out) if as_json else f"{batch.left_out:,} left out")
    print(end="", flush=True)


def _figures(line: "Line") -> dict[str, Any]:
    return {**asdict(line), "lag_seconds": line.lag_seconds}


def _cells(line: "Line") -> tuple[str, ...]:
    lag = "-" if line.lag_seconds is None else f"{line.lag_seconds:.3f} s"
    others = (line.user_id, line.version, line.event_id)
    ids = ("-" if each is None else str(each) for each in others)
    return time_text(line.at), line.stage, line.type or "-", lag, *ids


def _row(cells: tuple[str, ...]) -> str:
    padded = (f"{cell:<{width}}" for cell, width in zip(cells, _WIDTHS, strict=True))
    return "  ".join(padded).rstrip()
