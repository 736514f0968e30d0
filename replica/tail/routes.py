"""The live tail of a replica over HTTP, for operators."""

from functools import partial
from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse

from replica.caller import OPERATORS_ONLY, Operator, require_operator
from replica.context import RequestContext
from service_kit.http.openapi import documented
from service_kit.http.tails.stream import A_STREAM, LastEventId, Types, tail_response
from service_kit.process.tail import Wanted

router = APIRouter(prefix="/v1/sync/events", tags=["operation"])


@router.get(
    "/tail",
    summary="Watch events being applied",
    response_class=StreamingResponse,
    responses={**A_STREAM, **documented(*OPERATORS_ONLY)},
)
async def get_tail(
    request: Request,
    operator: Operator,
    context: RequestContext,
    types: Types = [],  # noqa: B006 - FastAPI copies it
    user: UUID | None = None,
    last_event_id: LastEventId = None,
) -> StreamingResponse:
    """Server-sent events: a message for each event that a consumer applies, parks or sets aside.

    They have ids and times, and no content. The stream ends with the event `end`.
    """
    return await tail_response(
        context.tails,
        request,
        after=last_event_id,
        user_id=operator.id,
        wanted=Wanted(frozenset(types), user),
        may_stay=partial(require_operator, request, context),
    )
