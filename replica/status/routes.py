"""The pipe's far end over HTTP, for operators: its figures, how it did, and comparisons.

A consumer makes a comparison; these routes ask for it, and look.
"""

from typing import Annotated, Final
from uuid import UUID

from fastapi import APIRouter, Query, status

from replica.caller import OPERATORS_ONLY, Operator
from replica.context import RequestContext
from replica.reconcile import runs
from replica.reconcile.model import Reason, repairable
from replica.reconcile.run_locks import look_at_locks
from replica.samples.model import KEPT_HOURS
from replica.samples.read import series
from replica.status.bodies import (
    NewRunBody,
    RunBody,
    RunSummaryBody,
    SeriesBody,
    StatusBody,
)
from replica.status.read import status as read_status
from service_kit.http import problems
from service_kit.http.openapi import documented
from service_kit.http.pagination import PAGE_ITEMS_DEFAULT, Limit, Page, UuidCursor, page_of
from service_kit.http.problems import Problem
from service_kit.process.actors import user_actor

WAITING_MAX: Final = 20
"""Comparisons that may wait. Each reads all digests of both sides; one that waits does for all."""

router = APIRouter(prefix="/v1/sync", tags=["operation"])


@router.get("/status", summary="The far end of the pipe", responses=documented(*OPERATORS_ONLY))
async def get_status(_: Operator, context: RequestContext) -> StatusBody:
    """As the command ``status``, with the queues as the consumers saw them a moment ago.

    This process does not speak to the broker.
    """
    async with context.engine.connect() as connection:
        figures = await read_status(context.replica, context.settings, connection)
    return StatusBody.model_validate(figures)


@router.get("/samples", summary="Lag and queues over time", responses=documented(*OPERATORS_ONLY))
async def get_samples(
    _: Operator,
    context: RequestContext,
    minutes: Annotated[int, Query(ge=1, le=KEPT_HOURS * 60, description="how far back")] = 60,
) -> SeriesBody:
    """What the consumers saw: of several the worst latency, the deepest queue, all messages."""
    async with context.engine.connect() as connection:
        return SeriesBody.model_validate(await series(connection, minutes))


@router.post(
    "/reconcile",
    status_code=status.HTTP_202_ACCEPTED,
    summary="Compare the replica with its source",
    responses=documented(*OPERATORS_ONLY),
)
async def post_reconcile(body: NewRunBody, operator: Operator, context: RequestContext) -> RunBody:
    """Asked for; a consumer takes it up within seconds. Look at it by its id."""
    async with context.engine.begin() as connection:
        if await runs.waiting(connection) >= WAITING_MAX:
            raise Problem(
                problems.BUSY, f"{WAITING_MAX} comparisons wait already: is a consumer at work?"
            )
        run_id = await runs.request(
            connection,
            reason=Reason.OPERATOR,
            requested_by=user_actor(operator.id),
            repairs=repairable(repair=body.repair, ahead=body.ahead, orphans=body.orphans),
            deletions_max=body.max_deletions,
            users=body.users,
        )
        seen = await look_at_locks(connection)
        asked = await runs.run_by_id(connection, run_id)
        assert asked is not None  # it was put down in this transaction
        return RunBody.of(asked, seen, command=context.replica.command)


@router.get("/reconcile", summary="List the comparisons", responses=documented(*OPERATORS_ONLY))
async def get_runs(
    _: Operator,
    context: RequestContext,
    cursor: UuidCursor | None = None,
    limit: Limit = PAGE_ITEMS_DEFAULT,
) -> Page[RunSummaryBody]:
    """The newest first, a page at a time; without the users that differed."""
    async with context.engine.connect() as connection:
        seen = await look_at_locks(connection)
        found = await runs.runs_before(connection, cursor, limit + 1)
    return page_of(
        [RunSummaryBody.of(run, seen, command=context.replica.command) for run in found],
        limit,
        key=lambda item: item.id,
    )


@router.get(
    "/reconcile/{run_id}",
    summary="A comparison, as far as it has come",
    responses=documented(*OPERATORS_ONLY, problems.NOT_FOUND),
)
async def get_run(run_id: UUID, _: Operator, context: RequestContext) -> RunBody:
    """The run with this id."""
    async with context.engine.connect() as connection:
        seen = await look_at_locks(connection)
        found = await runs.run_by_id(connection, run_id)
    if found is None:
        raise Problem(problems.NOT_FOUND)
    return RunBody.of(found, seen, command=context.replica.command)
