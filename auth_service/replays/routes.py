"""Replays over HTTP, for operators: parse, call the use case, respond."""

import asyncio
from typing import Annotated, Final
from uuid import UUID

from fastapi import APIRouter, Query, status
from fastapi.responses import JSONResponse

from auth_service.context import Auth
from auth_service.replays.bodies import NewReplay, PlanBody, ReplayBody
from auth_service.replays.change_state import change_state
from auth_service.replays.model import CONSUMER_LENGTH_MAX, TARGET_STATES
from auth_service.replays.operators import OPERATORS_ONLY, Operator
from auth_service.replays.plan import plan
from auth_service.replays.read import replay_by_id, replays_before
from auth_service.replays.start import start
from contracts.sync.replay_limits import PATH
from contracts.sync.replays import ReplayChange
from service_kit.http import problems
from service_kit.http.openapi import documented
from service_kit.http.pagination import PAGE_ITEMS_DEFAULT, Limit, Page, UuidCursor, page_of
from service_kit.http.problems import Problem

COUNTS_AT_ONCE_MAX: Final = 2
"""Counts at the same time: each may load one core of the database for a minute."""

router = APIRouter(prefix=PATH, tags=["administration"])

ABOUT_ONE: Final = documented(*OPERATORS_ONLY, problems.NOT_FOUND)

_counting = asyncio.Semaphore(COUNTS_AT_ONCE_MAX)


@router.post(
    "",
    status_code=status.HTTP_201_CREATED,
    summary="Start a replay",
    response_model=ReplayBody,
    responses={
        200: {"model": PlanBody, "description": "What it would send (`dry_run`)"},
        **documented(*OPERATORS_ONLY, problems.LOG_PRUNED, problems.TOO_MANY_REPLAYS),
    },
)
async def post_replay(body: NewReplay, operator: Operator, auth: Auth) -> ReplayBody | JSONResponse:
    """Count and start a replay, which the relay process sends when its turn has come."""
    if _counting.locked():
        raise Problem(problems.BUSY)
    async with _counting:
        planned = await plan(
            auth.settings, consumer=body.to, selection=body.selection(), rate=body.rate
        )
    if body.dry_run:
        return JSONResponse(PlanBody.of(planned).model_dump(mode="json"))
    return ReplayBody.of(await start(auth.engine, planned, actor=operator.actor, via=operator.via))


@router.get("", summary="List the replays", responses=documented(*OPERATORS_ONLY))
async def get_replays(
    _: Operator,
    auth: Auth,
    cursor: UuidCursor | None = None,
    consumer: Annotated[
        str | None,
        Query(max_length=CONSUMER_LENGTH_MAX, description="only replays to this consumer"),
    ] = None,
    limit: Limit = PAGE_ITEMS_DEFAULT,
) -> Page[ReplayBody]:
    """List all replays, or those to one consumer, newest first, a page at a time."""
    async with auth.engine.connect() as connection:
        found = await replays_before(connection, cursor, limit + 1, consumer=consumer)
    return page_of([ReplayBody.of(replay) for replay in found], limit, key=lambda item: item.id)


@router.get("/{replay_id}", summary="Show a replay", responses=ABOUT_ONE)
async def get_replay(replay_id: UUID, _: Operator, auth: Auth) -> ReplayBody:
    """Show a replay's conditions and progress."""
    async with auth.engine.connect() as connection:
        return ReplayBody.of(await replay_by_id(connection, replay_id))


@router.patch(
    "/{replay_id}",
    summary="Pause, resume or cancel a replay",
    responses=documented(*OPERATORS_ONLY, problems.NOT_FOUND, problems.REPLAY_FINISHED),
)
async def patch_replay(
    replay_id: UUID, body: ReplayChange, operator: Operator, auth: Auth
) -> ReplayBody:
    """Takes effect within one batch; confirmed events are not sent again."""
    target = TARGET_STATES[body.state]
    return ReplayBody.of(
        await change_state(auth.engine, replay_id, target, actor=operator.actor, via=operator.via)
    )
