"""The HTTP endpoints of parked messages, for operators.

A message may contain personal data. Responses are not cached (``service_kit.http.middleware``), and
no log entry quotes one.
"""

import time
from collections import Counter
from collections.abc import Mapping
from contextlib import aclosing
from typing import Annotated, Final

import structlog
from fastapi import APIRouter, Path, Query, status

from contracts.events import VERSION_MAX
from contracts.events.envelope import ATTRIBUTE_LENGTH_MAX
from replica.caller import OPERATORS_ONLY, Operator, ReplicaUser
from replica.context import RequestContext
from replica.parked import read
from replica.parked import redrive as redriving
from replica.parked.bodies import (
    DiscardBody,
    GroupBody,
    GroupsBody,
    ParkedBody,
    RedrivenBody,
    RedrivenCountsBody,
    WholeMessageBody,
)
from replica.parked.discard import discard
from replica.parked.model import Redriven
from service_kit.http import problems
from service_kit.http.openapi import documented
from service_kit.http.pagination import (
    PAGE_ITEMS_DEFAULT,
    Limit,
    NumberCursor,
    Page,
    cursor_after,
    page_of,
)
from service_kit.process.actors import user_actor

log = structlog.get_logger()

REDRIVE_SECONDS_MAX: Final = 10.0
"""How long one request redrives; a cursor continues. Proxies wait for half a minute."""

REASON_LENGTH_MAX: Final = 64
"""The existing reasons have up to twenty characters."""

ParkedId = Annotated[int, Path(ge=1, le=VERSION_MAX, description="from the list")]

router = APIRouter(prefix="/v1/sync/parked", tags=["operation"])


@router.get("", summary="List parked messages", responses=documented(*OPERATORS_ONLY))
async def get_list(
    _: Operator,
    context: RequestContext,
    cursor: NumberCursor | None = None,
    reason: Annotated[
        str | None,
        Query(max_length=REASON_LENGTH_MAX, description="only messages with this reason"),
    ] = None,
    event_type: Annotated[
        str | None,
        Query(
            alias="type",
            max_length=ATTRIBUTE_LENGTH_MAX,
            description="only messages that name this type, or none if it is empty, among the"
            " newest 1,000",
        ),
    ] = None,
    limit: Limit = PAGE_ITEMS_DEFAULT,
) -> Page[ParkedBody]:
    """Return a page of parked messages, newest first."""
    async with context.engine.connect() as connection:
        found = await read.parked_list(
            connection, limit=limit + 1, before=cursor, reason=reason, event_type=event_type
        )
    return page_of(
        [ParkedBody.model_validate(message) for message in found], limit, key=lambda item: item.id
    )


@router.get(
    "/groups",
    summary="Count parked messages by reason and type",
    responses=documented(*OPERATORS_ONLY),
)
async def get_groups(_: Operator, context: RequestContext) -> GroupsBody:
    """Return groups of the newest 1,000 messages."""
    async with context.engine.connect() as connection:
        found = await read.parked_groups(connection)
    return GroupsBody(items=[GroupBody.model_validate(group) for group in found])


@router.post(
    "/redrive",
    summary="Redrive all parked messages",
    responses=documented(*OPERATORS_ONLY),
)
async def redrive_all(
    caller: Operator, context: RequestContext, cursor: NumberCursor | None = None
) -> RedrivenCountsBody:
    """Redrive the messages parked at the time of the request, in the order of parking.

    Stops after ten seconds; another request with `next_cursor` continues.
    """
    deadline = time.monotonic() + REDRIVE_SECONDS_MAX
    outcomes: Counter[str] = Counter()
    after = cursor or 0
    _, last = await redriving.parked_now(context.engine, after=after)
    next_cursor = None
    async with aclosing(
        redriving.redrive_all(context.replica, context.engine, after=after, last=last)
    ) as all_of_them:
        async for redriven in all_of_them:
            _note(redriven, caller)
            outcomes[redriven.outcome.value] += 1
            if time.monotonic() >= deadline and redriven.id < last:
                next_cursor = cursor_after(redriven.id)
                break
    return RedrivenCountsBody(**outcomes, next_cursor=next_cursor)


@router.get(
    "/{parked_id}",
    summary="Show a parked message",
    responses=documented(*OPERATORS_ONLY, problems.NOT_FOUND),
)
async def get_message(
    parked_id: ParkedId, _: Operator, context: RequestContext
) -> WholeMessageBody:
    """Return the message as received. Its content may be personal data."""
    async with context.engine.connect() as connection:
        return WholeMessageBody.model_validate(await read.parked_message(connection, parked_id))


@router.post(
    "/{parked_id}/redrive",
    summary="Redrive a parked message",
    responses=documented(*OPERATORS_ONLY, problems.NOT_FOUND),
)
async def redrive(parked_id: ParkedId, caller: Operator, context: RequestContext) -> RedrivenBody:
    """Reprocess the message through the normal handler; it stays parked only if that fails again.

    Use the command for a message parked as `kills_the_process`: it may crash this process too.
    """
    redriven = await redriving.redrive(context.replica, context.engine, parked_id)
    _note(redriven, caller)
    return RedrivenBody.of(redriven)


@router.post(
    "/{parked_id}/discard",
    status_code=status.HTTP_204_NO_CONTENT,
    summary="Discard a parked message",
    responses=documented(*OPERATORS_ONLY, problems.NOT_FOUND),
)
async def post_discard(
    parked_id: ParkedId, body: DiscardBody, caller: Operator, context: RequestContext
) -> None:
    """Delete the message permanently, and record who did it and why, but not its content."""
    actor = user_actor(caller.id)
    ids = await discard(context.engine, parked_id, because=body.because, actor=actor)
    log.info("message.discarded", parked_id=parked_id, actor=actor, **_of_the_event(ids))


def _note(redriven: Redriven, caller: ReplicaUser) -> None:
    log.info(
        "message.redriven",
        parked_id=redriven.id,
        outcome=redriven.outcome.value,
        reason=redriven.failure.reason if redriven.failure else None,
        actor=user_actor(caller.id),
        **_of_the_event(redriven.ids),
    )


def _of_the_event(ids: Mapping[str, str]) -> dict[str, str | None]:
    """Name the event and its user, if only to say that they are unknown.

    Otherwise the line would name the request's user, who is the operator. The trace is the
    request's.
    """
    return {name: ids.get(name) for name in ("event_id", "user_id")}
