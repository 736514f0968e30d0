"""The commands ``auth-service replay …``."""

import json
import sys
from collections.abc import Awaitable, Iterator
from datetime import datetime
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar
from uuid import UUID

import typer

from auth_service.replays.model import RATE_DEFAULT, Selection, State, TargetState
from contracts.sync.replay_limits import RATE_MAX, TYPES, USERS_MAX
from service_kit.database.commands import on_database
from service_kit.process.errors import OperatorError
from service_kit.process.id_lists import Ids, argument, ids_of, user_id
from service_kit.process.load import load
from service_kit.process.progress import SILENT_SECONDS
from service_kit.process.terminal import AsJson, failing_with_a_sentence, instant, show
from service_kit.process.times import time_text

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from auth_service.replays.bodies import PlanBody, ReplayBody


R = TypeVar("R")

LISTED: Final = 50
"""The newest replays; ``/v1/admin/replays`` has all of them, a page at a time."""

app = typer.Typer(
    no_args_is_help=True,
    help="Send recorded events or current states to one consumer again.",
)


ReplayId = Annotated[UUID, typer.Argument(metavar="ID", help="Id of the replay, from `list`.")]


@app.command(
    epilog="Example: auth-service replay start --to blog --since 2026-01-31T12:00:00Z --dry-run"
)
@failing_with_a_sentence
def start(
    to: Annotated[str, typer.Option(metavar="CONSUMER", help="Consumer to send to, such as blog.")],
    since: Annotated[
        datetime | None,
        typer.Option(
            parser=instant, metavar="T", help="Events recorded at T or later; UTC by default."
        ),
    ] = None,
    until: Annotated[
        datetime | None,
        typer.Option(parser=instant, metavar="T", help="Events recorded before T."),
    ] = None,
    from_position: Annotated[
        int | None, typer.Option(metavar="N", help="Events from this position in the log on.")
    ] = None,
    user: Annotated[
        list[str],
        typer.Option(
            parser=argument(user_id),
            metavar="ID|-",
            help="Events of this user; repeat for more; - reads standard input.",
        ),
    ] = [],  # noqa: B006 - Typer's way to say that there may be none
    event_type: Annotated[
        list[str] | None,
        typer.Option("--type", metavar="T", help=f"{', '.join(TYPES)}; repeat for more."),
    ] = None,
    current_state: Annotated[
        bool, typer.Option("--current-state", help="Current state of users, not the log.")
    ] = False,
    rate: Annotated[
        int, typer.Option(metavar="N", help=f"Events a second at most, 1 to {RATE_MAX:,}.")
    ] = RATE_DEFAULT,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only count what would be sent.")
    ] = False,
    wait: Annotated[
        bool, typer.Option("--wait", help="Start even if the consumer has no queue yet.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Start a replay; the relay process sends it after earlier ones.

    With --user - the ids of users come from standard input, any number of them. Each thousand of
    them is a replay of its own.
    """
    from auth_service.replays import start as use_case
    from auth_service.replays.bodies import PlanBody, ReplayBody
    from auth_service.replays.plan import plan
    from auth_service.replays.require_queue import require_queue
    from auth_service.settings import ReplaySettings
    from service_kit.process.actors import operator

    settings = load(ReplaySettings)

    async def plan_or_start(
        engine: "AsyncEngine", users: tuple[UUID, ...]
    ) -> PlanBody | ReplayBody:
        selection = Selection(
            current_state=current_state,
            since=since,
            until=until,
            from_position=from_position,
            users=users,
            types=tuple(event_type or ()),
        )
        planned = await _reporting(plan(settings, consumer=to, selection=selection, rate=rate))
        if dry_run:
            return PlanBody.of(planned)
        if settings.amqp_url is not None and not wait:
            await require_queue(settings.amqp_url, to)
        return ReplayBody.of(await use_case.start(engine, planned, actor=operator()))

    with ids_of(user, user_id) as users:
        if user and not len(users):
            raise OperatorError("there is no id on standard input: nothing was started")
        for some in _in_replays(users):
            work = partial(plan_or_start, users=some)
            _show(on_database(settings, work), as_json=as_json)
    if dry_run and not as_json:
        print("dry run: nothing was sent", file=sys.stderr)


@app.command("list", epilog="Example: auth-service replay list")
@failing_with_a_sentence
def show_all(as_json: AsJson = False) -> None:
    """Show the newest replays."""
    from auth_service.replays.bodies import ReplayBody
    from auth_service.replays.read import replays_before
    from auth_service.settings import DatabaseSettings

    async def read(engine: "AsyncEngine") -> list[ReplayBody]:
        async with engine.connect() as connection:
            return [ReplayBody.of(each) for each in await replays_before(connection, None, LISTED)]

    found = on_database(load(DatabaseSettings), read)
    if as_json:
        print(json.dumps({"items": [replay.model_dump(mode="json") for replay in found]}))
        return
    for replay in found:
        done = f"{replay.published:,} of {replay.expected:,}"
        begun = time_text(replay.created_at)
        line = f"{replay.id}  {begun}  {replay.consumer}  {replay.state}  {done}"
        print(f"{line}  {replay.trouble}" if replay.trouble else line)


@app.command(
    "show", epilog="Example: auth-service replay show 0b6f1c1e-4a3f-4e43-8a4a-8f0b8b3b4a52"
)
@failing_with_a_sentence
def show_one(replay_id: ReplayId, as_json: AsJson = False) -> None:
    """Show a replay and its progress."""
    from auth_service.replays.bodies import ReplayBody
    from auth_service.replays.read import replay_by_id
    from auth_service.settings import DatabaseSettings

    async def read(engine: "AsyncEngine") -> ReplayBody:
        async with engine.connect() as connection:
            return ReplayBody.of(await replay_by_id(connection, replay_id))

    _show(on_database(load(DatabaseSettings), read), as_json=as_json)


@app.command(epilog="Example: auth-service replay pause 0b6f1c1e-4a3f-4e43-8a4a-8f0b8b3b4a52")
@failing_with_a_sentence
def pause(replay_id: ReplayId, as_json: AsJson = False) -> None:
    """Pause a replay; its events are kept, and other replays continue."""
    _steer(replay_id, State.PAUSED, as_json=as_json)


@app.command(epilog="Example: auth-service replay resume 0b6f1c1e-4a3f-4e43-8a4a-8f0b8b3b4a52")
@failing_with_a_sentence
def resume(replay_id: ReplayId, as_json: AsJson = False) -> None:
    """Resume a paused replay at its checkpoint."""
    _steer(replay_id, State.RUNNING, as_json=as_json)


@app.command(epilog="Example: auth-service replay cancel 0b6f1c1e-4a3f-4e43-8a4a-8f0b8b3b4a52")
@failing_with_a_sentence
def cancel(replay_id: ReplayId, as_json: AsJson = False) -> None:
    """Cancel a replay permanently; events already sent stay sent."""
    _steer(replay_id, State.CANCELLED, as_json=as_json)


def _in_replays(users: Ids[UUID]) -> Iterator[tuple[UUID, ...]]:
    """Yield the users of one replay after the other; once nothing if all users are meant."""
    left = iter(users)
    some = tuple(islice(left, USERS_MAX))
    yield some
    while some := tuple(islice(left, USERS_MAX)):
        yield some


def _steer(replay_id: UUID, target: TargetState, *, as_json: bool) -> None:
    from auth_service.replays.bodies import ReplayBody
    from auth_service.replays.change_state import change_state
    from auth_service.settings import DatabaseSettings
    from service_kit.process.actors import operator

    async def work(engine: "AsyncEngine") -> ReplayBody:
        return ReplayBody.of(await change_state(engine, replay_id, target, actor=operator()))

    _show(on_database(load(DatabaseSettings), work), as_json=as_json)


async def _reporting(counting: Awaitable[R]) -> R:
    """Await a count, whose duration is unknown; print a line once it takes long."""
    import asyncio

    waiting = asyncio.ensure_future(counting)
    if not (await asyncio.wait([waiting], timeout=SILENT_SECONDS))[0]:
        print("counting the events in the log …", file=sys.stderr, flush=True)
    return await waiting


def _show(body: "PlanBody | ReplayBody", *, as_json: bool) -> None:
    if as_json:
        show(body.model_dump(mode="json"), as_json=True)
        return
    figures: dict[str, Any] = body.model_dump()
    counted = figures.pop("by_type", {})
    figures |= {name: ", ".join(map(str, figures[name])) or "all" for name in ("users", "types")}
    show(figures | counted, as_json=False)
