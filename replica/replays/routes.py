"""Replays to this service over HTTP, for operators: ask the source, and pass its response on.

Requests that change a replay carry the operator's own token as well as this service's, so that the
source checks the operator and its audit log names both.
"""

from typing import Annotated, Final
from uuid import UUID

import structlog
from fastapi import APIRouter, Depends, Request, status
from fastapi.responses import JSONResponse

from contracts.sync.replays import NewReplay, PlanBody, ReplayBody, ReplayChange
from replica.caller import OPERATORS_ONLY, Operator
from replica.context import RequestContext
from replica.replays import at_source as replays
from service_kit.http import problems
from service_kit.http.bearer import token_of
from service_kit.http.openapi import documented
from service_kit.http.pagination import PAGE_ITEMS_DEFAULT, Limit, Page, UuidCursor
from service_kit.process.actors import user_actor

log = structlog.get_logger()

router = APIRouter(prefix="/v1/sync/replays", tags=["operation"])

ABOUT_ONE: Final = (*OPERATORS_ONLY, problems.NOT_FOUND)


def _shown_token(request: Request) -> str:
    return token_of(request.headers)


ShownToken = Annotated[str, Depends(_shown_token)]
"""The operator's access token, as it came."""


@router.post(
    "",
    status_code=status.HTTP_201_CREATED,
    summary="Start a replay to this service",
    response_model=ReplayBody,
    responses={
        200: {"model": PlanBody, "description": "What it would send (`dry_run`)"},
        **documented(*OPERATORS_ONLY, problems.LOG_PRUNED, problems.TOO_MANY_REPLAYS),
    },
)
async def post_replay(
    body: NewReplay, operator: Operator, token: ShownToken, context: RequestContext
) -> ReplayBody | JSONResponse:
    """The replay, which the source sends in its turn; the response waits for the source's count."""
    told = await replays.start(context, body, user_token=token)
    if isinstance(told, PlanBody):
        return JSONResponse(told.model_dump(mode="json"))
    log.info("replay.requested", replay=str(told.id), actor=user_actor(operator.id))
    return told


@router.get("", summary="List the replays to this service", responses=documented(*OPERATORS_ONLY))
async def get_replays(
    _: Operator,
    context: RequestContext,
    cursor: UuidCursor | None = None,
    limit: Limit = PAGE_ITEMS_DEFAULT,
) -> Page[ReplayBody]:
    """The newest first, a page at a time, as the source tells."""
    return await replays.page(context, cursor, limit)


@router.get("/{replay_id}", summary="Show a replay", responses=documented(*ABOUT_ONE))
async def get_replay(replay_id: UUID, _: Operator, context: RequestContext) -> ReplayBody:
    """What was asked for, and how far it has come."""
    return await replays.show(context, replay_id)


@router.patch(
    "/{replay_id}",
    summary="Pause, resume or cancel a replay",
    responses=documented(*ABOUT_ONE, problems.REPLAY_FINISHED),
)
async def patch_replay(
    replay_id: UUID,
    body: ReplayChange,
    operator: Operator,
    token: ShownToken,
    context: RequestContext,
) -> ReplayBody:
    """It takes effect within a batch; what was confirmed is not sent again."""
    told = await replays.steer(context, replay_id, body, user_token=token)
    actor = user_actor(operator.id)
    log.info("replay.steered", replay=str(replay_id), state=body.state, actor=actor)
    return told
