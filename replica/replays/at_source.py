"""Ask the source for replays to this service, as its service account, on behalf of an operator.

Guarantees: only replays to this service are shown and steered; the source's refusals are passed on
where they are about the question or the operator, and what is between the source and this service
(its account, its tokens, the way there) is 503, never a 401 or 403 that an operator would take for
their own. What changes anything carries the operator's own token, by which the source checks them
and names them in its audit log.

Not here: who may ask (``replay_routes``), what a replay sends (the source).
"""

from collections.abc import Mapping
from typing import Any, Final, TypeVar
from uuid import UUID

import httpx
from pydantic import BaseModel, ValidationError

from contracts.sync.replay_limits import PATH, SCOPE
from contracts.sync.replays import NewReplay, PlanBody, ReplayBody, ReplayChange
from replica.context import Context
from replica.replays.bodies import RefusalBody
from replica.source_client import (
    RESPONSE_BYTES_MAX,
    NoResponse,
    NotSetUp,
    not_as_agreed,
    refused,
)
from service_kit.http import problems
from service_kit.http.bearer import invalid_token
from service_kit.http.pagination import Page, cursor_after
from service_kit.http.problems import Problem

SILENCE_SECONDS_MAX: Final = 130.0
"""The source counts for two minutes at most before it responds; with a shorter limit, it would be
unknown whether the replay has started."""

REPLAY_BYTES_MAX: Final = 64 * 1024
"""Of one in a list: with a thousand named users it takes 40 KB."""

ABOUT_THE_QUESTION: Final = {
    code.name: code
    for code in (
        problems.NOT_FOUND,
        problems.LOG_PRUNED,
        problems.REPLAY_FINISHED,
        problems.TOO_MANY_REPLAYS,
        problems.INVALID_REQUEST,
        problems.BUSY,
    )
}
"""Refusals that are passed on."""

ABOUT_THE_OPERATOR: Final = {
    code.name: code for code in (problems.FORBIDDEN, problems.ACCOUNT_DISABLED)
}
"""Refusals that are passed on where the operator's token was shown: the source knows first."""

Told = TypeVar("Told", bound=BaseModel)


async def start(context: Context, wanted: NewReplay, *, user_token: str) -> ReplayBody | PlanBody:
    """Start a replay, or with ``dry_run`` tell what it would send.

    Parameters:
        user_token: the operator's access token.

    Raises:
        Problem: the source refuses, or cannot be asked.
    """
    # What was left out is left to the source's defaults.
    body = {
        "to": context.replica.service,
        **wanted.model_dump(mode="json", exclude_unset=True, exclude_none=True),
    }
    model = PlanBody if wanted.dry_run else ReplayBody
    return await _ask(context, "POST", PATH, model, body, user_token=user_token)


async def page(context: Context, after: UUID | None, limit: int) -> Page[ReplayBody]:
    """A page of the replays to this service, the newest first.

    Raises:
        Problem: the source cannot be asked.
    """
    params = {"consumer": context.replica.service, "limit": limit}
    if after is not None:
        params["cursor"] = cursor_after(after)
    found = await _ask(
        context, "GET", PATH, Page[ReplayBody], params=params, bytes_max=limit * REPLAY_BYTES_MAX
    )
    # A source of an earlier release sends the replays of all consumers.
    found.items = [replay for replay in found.items if replay.consumer == context.replica.service]
    return found


async def show(context: Context, replay_id: UUID) -> ReplayBody:
    """A replay to this service, as far as it has come.

    Raises:
        Problem: there is none, or the source cannot be asked.
    """
    found = await _ask(context, "GET", f"{PATH}/{replay_id}", ReplayBody)
    if found.consumer != context.replica.service:
        raise Problem(problems.NOT_FOUND)
    return found


async def steer(
    context: Context, replay_id: UUID, change: ReplayChange, *, user_token: str
) -> ReplayBody:
    """Pause, resume or cancel a replay to this service.

    Parameters:
        user_token: the operator's access token.

    Raises:
        Problem: there is none, the source refuses, or it cannot be asked.
    """
    await show(context, replay_id)
    path = f"{PATH}/{replay_id}"
    return await _ask(
        context, "PATCH", path, ReplayBody, change.model_dump(), user_token=user_token
    )


async def _ask(
    context: Context,
    method: str,
    path: str,
    model: type[Told],
    body: Any = None,
    *,
    params: Mapping[str, Any] | None = None,
    bytes_max: int = RESPONSE_BYTES_MAX,
    user_token: str | None = None,
) -> Told:
    try:
        if context.source is None:
            raise NotSetUp(context.settings)
        response = await context.source.send(
            method, path, scope=SCOPE, user_token=user_token, params=params, json=body
        )
        content = await context.source.whole(response, bytes_max)
        if not response.is_success:
            raise _refusal(response, content, is_for_a_user=user_token is not None)
        try:
            return model.model_validate_json(content)
        except ValidationError:
            raise not_as_agreed(response) from None
    except NoResponse as error:
        raise Problem(problems.UNAVAILABLE, str(error)) from None


def _refusal(
    response: httpx.Response, content: bytes, *, is_for_a_user: bool
) -> Problem | NoResponse:
    """The source's refusal as this service's, if it is about the question or the operator."""
    try:
        told = RefusalBody.model_validate_json(content)
    except ValidationError:
        return refused(response)
    passed_on = ABOUT_THE_QUESTION | (ABOUT_THE_OPERATOR if is_for_a_user else {})
    code = passed_on.get(told.code)
    if is_for_a_user and told.code == problems.INVALID_SUBJECT_TOKEN.name:
        return invalid_token()
    if code is None or code.status != response.status_code:
        return refused(response)
    return Problem(code, told.detail, errors=told.wrong())
