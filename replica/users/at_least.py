"""The query parameters with which a client waits for a version of a user.

``GET …/{user_id}?at_least=VERSION&wait=SECONDS``: a route that shows a user depends on
``caught_up``.
"""

from typing import Annotated, Final
from uuid import UUID

from fastapi import Query
from pydantic import BaseModel, Field

from contracts.events import VERSION_MAX
from replica.caught_up import WAIT_SECONDS_MAX, TooManyWait
from replica.context import RequestContext
from service_kit.http import problems
from service_kit.http.networks import Network
from service_kit.http.problems import Problem

RETRY_SECONDS: Final = "1"
"""When to ask again. A version that has not arrived in time is late, but usually by seconds."""


class AtLeast(BaseModel):
    """What is waited for; without ``at_least`` nothing is."""

    at_least: int | None = Field(
        None,
        ge=1,
        le=VERSION_MAX,
        description="The version, as the source returned it, that the user must have reached here.",
    )
    wait: float = Field(
        0,
        ge=0,
        le=WAIT_SECONDS_MAX,
        allow_inf_nan=False,
        description="Seconds to wait for it; 0 looks once.",
    )


async def caught_up(
    user_id: UUID, asked: Annotated[AtLeast, Query()], context: RequestContext, network: Network
) -> None:
    """Let the request continue once the user of its path has reached the version.

    Raises:
        Problem: 409 ``not_caught_up``, the version has not arrived in time; 503 ``busy``, too many
            requests wait.
    """
    if asked.at_least is None:
        return
    try:
        is_reached = await context.caught_up.reaches(
            user_id, asked.at_least, seconds=asked.wait, network=network
        )
    except TooManyWait:
        raise Problem(problems.BUSY, headers={"Retry-After": RETRY_SECONDS}) from None
    if not is_reached:
        raise Problem(
            problems.NOT_CAUGHT_UP,
            f"version {asked.at_least} of this user has not arrived here yet",
            headers={"Retry-After": RETRY_SECONDS},
        )
