"""Comparisons over HTTP, for operators. A consumer makes the run; these ask for it and look."""

from typing import Final
from uuid import UUID

from fastapi import APIRouter, status

from blog_service.context import Blog
from blog_service.reconcile import runs
from blog_service.reconcile.model import Reason, repairable
from blog_service.sync.bodies import NewRunBody, RunBody, StatusBody
from blog_service.sync.status import status as read_status
from blog_service.users.caller import OPERATORS_ONLY, Operator
from contracts import problems
from contracts.actors import user_actor
from contracts.openapi import documented
from contracts.problems import Problem

WAITING_MAX: Final = 20
"""Comparisons that may wait. Each reads all digests of both sides; one that waits does for all."""

router = APIRouter(prefix="/v1/sync", tags=["operation"])


@router.get("/status", summary="The far end of the pipe", responses=documented(*OPERATORS_ONLY))
async def get_status(_: Operator, blog: Blog) -> StatusBody:
    """As ``blog-service status``, but for the queues: this process does not speak to the broker."""
    async with blog.engine.connect() as connection:
        return StatusBody.model_validate(await read_status(connection, None))


@router.post(
    "/reconcile",
    status_code=status.HTTP_202_ACCEPTED,
    summary="Compare the replica with its source",
    responses=documented(*OPERATORS_ONLY),
)
async def post_reconcile(body: NewRunBody, operator: Operator, blog: Blog) -> RunBody:
    """Asked for; a consumer takes it up within seconds. Look at it by its id."""
    async with blog.engine.begin() as connection:
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
        )
        return RunBody.model_validate(await runs.run_by_id(connection, run_id))


@router.get(
    "/reconcile/{run_id}",
    summary="A comparison, as far as it has come",
    responses=documented(*OPERATORS_ONLY, problems.NOT_FOUND),
)
async def get_run(run_id: UUID, _: Operator, blog: Blog) -> RunBody:
    """The run with this id."""
    async with blog.engine.connect() as connection:
        found = await runs.run_by_id(connection, run_id)
    if found is None:
        raise Problem(problems.NOT_FOUND)
    return RunBody.model_validate(found)
