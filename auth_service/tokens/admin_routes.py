"""Signing keys over HTTP, for administrators.

Not here: activating a key before every verifier has it (``auth-service keys activate --force``).
"""

from typing import Annotated

from fastapi import APIRouter, Path, status

from auth_service.context import Auth, Context
from auth_service.problems import KEY_CHANGE_REFUSED
from auth_service.sessions.bearer import ADMINISTRATORS_ONLY, Administrator, Caller
from auth_service.sessions.recent_password import RECENT_ADMINISTRATORS_ONLY, RecentAdministrator
from auth_service.tokens.bodies import KID_PATTERN, KeyChange, SigningKeyBody
from auth_service.tokens.lifecycle import Lifecycle
from service_kit.http import problems
from service_kit.http.openapi import documented
from service_kit.http.pagination import Page

router = APIRouter(prefix="/v1/admin/keys", tags=["administration"])

Kid = Annotated[str, Path(pattern=KID_PATTERN)]


@router.get("", summary="List the signing keys", responses=documented(*ADMINISTRATORS_ONLY))
async def get_keys(caller: Administrator, auth: Auth) -> Page[SigningKeyBody]:
    """All keys that there ever were, oldest first; there are never many."""
    keys = await _lifecycle(auth, caller).keys()
    items = [SigningKeyBody.of(key, keys) for key in keys.keys]
    return Page(items=items, next_cursor=None)


@router.post(
    "",
    status_code=status.HTTP_201_CREATED,
    summary="Generate a signing key",
    responses=documented(*RECENT_ADMINISTRATORS_ONLY, KEY_CHANGE_REFUSED),
)
async def post_key(caller: RecentAdministrator, auth: Auth) -> SigningKeyBody:
    """Generate and publish a key, to be activated once every verifier has fetched it."""
    lifecycle = _lifecycle(auth, caller)
    key = await lifecycle.generate()
    return SigningKeyBody.of(key, await lifecycle.keys())


@router.patch(
    "/{kid}",
    summary="Activate, retire or revoke a signing key",
    responses=documented(*RECENT_ADMINISTRATORS_ONLY, problems.NOT_FOUND, KEY_CHANGE_REFUSED),
)
async def patch_key(
    kid: Kid, body: KeyChange, caller: RecentAdministrator, auth: Auth
) -> SigningKeyBody:
    """The key after the change; a key that is in that state already stays as it is."""
    lifecycle = _lifecycle(auth, caller)
    change = {
        "active": lifecycle.activate,
        "retired": lifecycle.retire,
        "revoked": lifecycle.revoke,
    }[body.state]
    changed = await change(kid)
    return SigningKeyBody.of(changed.key, await lifecycle.keys())


def _lifecycle(auth: Context, caller: Caller) -> Lifecycle:
    return Lifecycle(auth.engine, auth.settings, actor=caller.actor, administrator=caller.user.id)
