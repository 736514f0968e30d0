"""Enforce what ``policy`` decides: before the write, and again in the SQL that writes."""

from typing import Any, Final

from blog_service.policy import POSTS_WRITE, Action, Actor, Owned, Reach, may, reach
from replica.actors import Service
from service_kit.http import problems
from service_kit.http.bearer import insufficient_scope
from service_kit.http.problems import Problem

IS_REACHED: Final = (
    "(:reaches_any OR author_id = CAST(:acting_user AS uuid)"
    " OR service_id = CAST(:acting_service AS text))"
)
"""SQL condition: the actor may write this row of ``posts``. Takes ``reach_values``."""

IS_REACHED_BY_USER: Final = "(:reaches_any OR author_id = CAST(:acting_user AS uuid))"
"""The same for a table whose rows only users own."""


def require(actor: Actor, action: Action, thing: Owned) -> None:
    """Refuse an action that ``actor`` is not allowed to take on ``thing``.

    Raises:
        Problem: 403; for a service without the scope it names the scope that is needed.
    """
    if may(actor, action, thing):
        return
    if isinstance(actor, Service) and POSTS_WRITE not in actor.scopes:
        raise insufficient_scope(POSTS_WRITE)
    raise Problem(problems.FORBIDDEN)


def reach_values(actor: Actor, action: Action) -> dict[str, Any]:
    """Return the parameters of ``IS_REACHED``: which rows ``actor`` may take this action on."""
    reached = reach(actor, action)
    owner = actor if reached is Reach.OWN else None
    return {
        "reaches_any": reached is Reach.ANY,
        "acting_user": None if owner is None or isinstance(owner, Service) else owner.id,
        "acting_service": owner.id if isinstance(owner, Service) else None,
    }
