"""Enforce what ``policy`` decides: as an answer, and again in the statement that writes."""

from typing import Any, Final

from blog_service.policy import POSTS_WRITE, Action, Actor, Owned, Reach, Service, may, reach
from service_kit.http import problems
from service_kit.http.bearer import insufficient_scope
from service_kit.http.problems import Problem

IS_REACHED: Final = (
    "(:is_anyones OR author_id = CAST(:acting_user AS uuid)"
    " OR service_id = CAST(:acting_service AS text))"
)
"""SQL: the row of ``posts`` is the actor's to write, with the values of ``reach_values``."""

IS_REACHED_BY_USER: Final = "(:is_anyones OR author_id = CAST(:acting_user AS uuid))"
"""The same for a table whose rows no service keeps."""


def require(actor: Actor, action: Action, thing: Owned) -> None:
    """Refuse what ``actor`` may not do.

    Raises:
        Problem: 403, and which scope would do where a service lacks it.
    """
    if may(actor, action, thing):
        return
    if isinstance(actor, Service) and POSTS_WRITE not in actor.scopes:
        raise insufficient_scope(POSTS_WRITE)
    raise Problem(problems.FORBIDDEN)


def reach_values(actor: Actor, action: Action) -> dict[str, Any]:
    """The values that let a statement reach the rows that ``actor`` may do this with."""
    reached = reach(actor, action)
    owner = actor if reached is Reach.OWN else None
    return {
        "is_anyones": reached is Reach.ANYONES,
        "acting_user": None if owner is None or isinstance(owner, Service) else owner.id,
        "acting_service": owner.id if isinstance(owner, Service) else None,
    }
