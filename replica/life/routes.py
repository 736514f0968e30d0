"""The life of one user over HTTP, and finding them by the beginning of their id.

For operators and administrators. Only administrators see addresses: the others learn whether both
sides have the same one.
"""

from typing import Annotated, Final
from uuid import UUID

import structlog
from fastapi import APIRouter, Query

from replica.actors import may_list_users
from replica.caller import OPERATORS_ONLY, OperatorOrAdministrator
from replica.context import RequestContext
from replica.life.bodies import FoundBody, FoundUsersBody, LifeBody
from replica.life.find import find
from replica.life.read import life
from service_kit.http import problems
from service_kit.http.openapi import documented
from service_kit.http.problems import Problem
from service_kit.process.actors import user_actor
from service_kit.process.id_prefixes import ID_LENGTH_MAX, PREFIX_LENGTH_MIN

log = structlog.get_logger()

router = APIRouter(prefix="/v1/sync/users", tags=["operation"])

ABOUT_ONE: Final = (*OPERATORS_ONLY, problems.NOT_FOUND)


@router.get(
    "", summary="Find users by the beginning of their id", responses=documented(*OPERATORS_ONLY)
)
async def get_users(
    _: OperatorOrAdministrator,
    context: RequestContext,
    id_prefix: Annotated[
        str,
        Query(
            min_length=PREFIX_LENGTH_MIN,
            max_length=ID_LENGTH_MAX,
            description="hexadecimal digits; case and dashes do not count",
            examples=["0b6f1c1e"],
        ),
    ],
) -> FoundUsersBody:
    """The first twenty in the order of ids, also deleted ones; none if no id begins like that."""
    async with context.engine.connect() as connection:
        found = await find(context.replica, connection, id_prefix)
    return FoundUsersBody(items=[FoundBody.model_validate(user) for user in found])


@router.get("/{user_id}", summary="Show the life of a user", responses=documented(*ABOUT_ONE))
async def get_life(
    user_id: UUID, caller: OperatorOrAdministrator, context: RequestContext
) -> LifeBody:
    """Their row here beside the source's, what of them waits, and what a request of theirs gets.

    If the source does not respond within ten seconds, its side is missing. Nothing is changed.
    """
    log.info("user.viewed", actor=user_actor(caller.id), user_id=str(user_id))
    found = await life(context.replica, context.settings, context.source, context.engine, user_id)
    if found.is_unknown:
        raise Problem(problems.NOT_FOUND)
    return LifeBody.of(user_id, found, shows_addresses=may_list_users(caller))
